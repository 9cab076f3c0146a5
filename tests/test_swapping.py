"""Files and folders change together: killed before the journal all is old, killed after it all becomes new."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agegender import swapping
from agegender.errors import OutputError
from agegender.swapping import finish_swaps, replaced_folder, replaced_set
from agegender.writing import check_space, replaced_file


class Killed(BaseException):
    """What stands for kill -9: nothing is cleaned up after it."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A model and its page, both of an old run."""
    (tmp_path / "models" / "first").mkdir(parents=True)
    (tmp_path / "models" / "first" / "model.json").write_text("old")
    (tmp_path / "reports" / "first").mkdir(parents=True)
    (tmp_path / "reports" / "first" / "index.html").write_text("old")
    (tmp_path / "reports" / "first" / "mine.txt").write_text("mine")
    return tmp_path


def write_new(root: Path) -> None:
    with replaced_set() as swap:
        swap.stage(root / "reports" / "first" / "index.html").write_text("new")
        model = swap.stage(root / "models" / "first")
        model.mkdir()
        (model / "model.json").write_text("new")
        swap.remove(root / "models" / "first.unfinished")


def found(root: Path) -> set[str]:
    places = ("models/first/model.json", "reports/first/index.html")
    assert (root / "reports/first/mine.txt").read_text() == "mine"
    return {(root / place).read_text() for place in places if (root / place).exists()}


def hidden(root: Path) -> list[str]:
    return [path.name for path in root.rglob(".*")]


def steps_until_done(root: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int) -> bool:
    """Write a new set, and be killed at one of the renames and removals; return whether it got to the end."""
    count = 0

    def counted(call):
        def run(*arguments, **keywords):
            nonlocal count
            count += 1
            if count == kill_at:
                raise Killed
            return call(*arguments, **keywords)

        return run

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", counted(Path.replace))
        patched.setattr(Path, "mkdir", counted(Path.mkdir))
        patched.setattr(swapping.shutil, "rmtree", counted(swapping.shutil.rmtree))
        patched.setattr(swapping.Swap, "close", lambda self: [os.close(handle) for handle in self._handles])
        try:
            write_new(root)
        except Killed:
            return False
    return True


@pytest.mark.parametrize("kill_at", range(1, 16))
def test_killed_at_any_step_a_set_becomes_old_or_new_as_a_whole(
    old: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    (old / "models" / "first.unfinished").mkdir()
    is_done = steps_until_done(old, monkeypatch, kill_at)
    finish_swaps(old / "models", old / "reports" / "first")
    assert found(old) in ({"old"}, {"new"})
    assert (old / "models" / "first.unfinished").exists() == (found(old) == {"old"})
    assert found(old) == {"new"} or not is_done
    assert hidden(old) == []


@pytest.mark.parametrize("kill_at", range(1, 16))
def test_it_is_no_matter_which_folder_is_mended_first(old: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int) -> None:
    steps_until_done(old, monkeypatch, kill_at)
    finish_swaps(old / "reports" / "first")
    finish_swaps(old / "models")
    assert found(old) in ({"old"}, {"new"})
    assert hidden(old) == []


def test_what_fails_leaves_everything_as_it_was(old: Path) -> None:
    def fail() -> None:
        with replaced_set() as swap:
            swap.stage(old / "models" / "first").mkdir()
            swap.stage(old / "pages" / "deep" / "index.html").write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert found(old) == {"old"}
    assert hidden(old) == []
    assert not (old / "pages").exists()


def test_who_is_still_writing_is_left_in_peace(old: Path) -> None:
    with replaced_folder(old / "models" / "second") as new, replaced_file(old / "models" / "table.parquet") as table:
        (new / "model.json").write_text("half")
        finish_swaps(old / "models")
        assert (new / "model.json").read_text() == "half"
        assert table.exists()
    assert (old / "models" / "second" / "model.json").read_text() == "half"


def test_what_a_killed_process_left_is_removed_and_nothing_else(old: Path) -> None:
    (old / "models" / ".table.parquet.abcd1234.agegender-new.parquet").write_text("half")
    (old / "models" / ".first.abcd1234.agegender-new").mkdir()
    (old / "models" / ".mine.abcd1234").write_text("mine")
    finish_swaps(old / "models")
    assert hidden(old) == [".mine.abcd1234"]


def test_a_journal_from_elsewhere_moves_nothing_out_of_its_folder(old: Path, tmp_path: Path) -> None:
    stage = old / "models" / ".x.abcd1234.agegender-new"
    (stage / "new").mkdir(parents=True)
    (stage / "new" / "index.html").write_text("evil")
    (stage / "swap.json").write_text('{"moves": [["../../reports/first", "index.html", true], [".", "../x", true]]}')
    linked = old / "models" / ".y.abcd1234.agegender-new"
    linked.mkdir()
    (linked / "new").symlink_to(old / "reports" / "first")
    (linked / "swap.json").write_text('{"moves": [[".", "index.html", true], [".", "mine.txt", true]]}')
    finish_swaps(old / "models")
    assert found(old) == {"old"}
    assert sorted(path.name for path in (old / "models").iterdir()) == ["first"]


def test_space_that_is_not_there_is_asked_for_beforehand(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "yet", 1, "this run")
    with pytest.raises(OutputError, match=r"this run needs about 1,000,000,000,000 MB in .* MB are free there"):
        check_space(tmp_path, 1e18, "this run")
    assert list(tmp_path.iterdir()) == []
