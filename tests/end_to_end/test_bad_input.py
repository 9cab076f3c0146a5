"""What goes wrong in real life is one line on stderr and exit code 2, and nothing half-written stays."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from bad_photos import write_bad_photos

from agegender import evaluate, predict, report, train
from agegender.model.epochs import EpochRecorder

from .conftest import QUICK, Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]


def refused(capsys: pytest.CaptureFixture[str], command: ModuleType, *arguments: str, code: int = 2) -> str:
    """Run a command that must fail, and return its one line."""
    assert command.main(list(arguments)) == code
    out, err = capsys.readouterr()
    assert out == ""
    last = err.strip().splitlines()[-1].split("\r")[-1]
    assert last.startswith("agegender ")
    assert "Traceback" not in err
    return last


def training(data: Path, root: Path, *more: str) -> list[str]:
    places = [word for kind in ("models", "reports", "runs") for word in (f"--{kind}-dir", str(root / kind))]
    return ["--source", "utkface", "--data", str(data), "--weights", "none", "--name", "m", *QUICK, *places, *more]


def test_a_folder_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "absent" in refused(capsys, train, *training(tmp_path / "absent", tmp_path))


def test_an_empty_folder_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(capsys, train, *training(tmp_path / "empty", tmp_path))
    assert not list((tmp_path / "models").iterdir())


def test_a_folder_without_a_readable_photo_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    for number in range(5):
        (tmp_path / "faces" / f"{20 + number}_0_0_2017010912345678{number}.jpg").write_bytes(b"")
    assert "readable" in refused(capsys, train, *training(tmp_path / "faces", tmp_path))


def test_bad_photos_are_counted_losses(capsys: pytest.CaptureFixture[str], tmp_path: Path, drawn_folder: Path) -> None:
    data = tmp_path / "faces"
    data.mkdir()
    for photo in sorted(drawn_folder.glob("*.jpg"))[:40]:
        shutil.copy(photo, data)
    for number, photo in enumerate(write_bad_photos(tmp_path / "bad").values()):
        shutil.copy(photo, data / f"30_0_0_201701091234567{number:02}.jpg")
    assert train.main(training(data, tmp_path, "--no-report")) == 0
    assert "unreadable" in capsys.readouterr().err


def test_options_out_of_range_are_refused_before_any_work(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for wrong in (["--epochs", "0"], ["--learning-rate", "-1"], ["--image-size", "8"], ["--name", "../up"]):
        assert wrong[0] in refused(capsys, train, *training(tmp_path, tmp_path, *wrong))
    assert "source" in refused(capsys, train, "--data", str(tmp_path), "--models-dir", str(tmp_path / "m"))


def test_imagenet_weights_that_cannot_be_had_are_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    words = training(drawn_folder, tmp_path, "--weights", "imagenet", "--body", "resnet18")
    assert "--weights none" in refused(capsys, train, *words)
    assert not list((tmp_path / "models").iterdir())


def test_an_output_folder_that_cannot_be_written_fails_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, drawn_folder: Path
) -> None:
    (tmp_path / "models").write_text("a file, not a folder")
    assert "cannot write" in refused(capsys, train, *training(drawn_folder, tmp_path))


def test_a_full_disk_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    assert "No space left" in refused(capsys, train, *training(drawn_folder, tmp_path, "--limit", "40"))
    assert not list((tmp_path / "models").iterdir())


def test_ctrl_c_in_mid_epoch_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: EpochRecorder) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(EpochRecorder, "after_batch", interrupt)
    line = refused(capsys, train, *training(drawn_folder, tmp_path, "--limit", "40"), code=130)
    assert "interrupted" in line
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.parametrize("lacking", ["weights.safetensors", "model.json"])
def test_a_model_folder_that_lacks_a_file_says_which(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, trained: Run, lacking: str
) -> None:
    model = shutil.copytree(trained.model, tmp_path / "m")
    (model / lacking).unlink()
    photo = str(next(trained.faces.glob("*.jpg")))
    assert lacking in refused(capsys, predict, photo, "--model", str(model))
    assert lacking in refused(capsys, evaluate, "--model", str(model))


def test_no_model_at_all_says_how_to_get_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"never read")
    for command, photos in ((predict, [str(tmp_path / "x.jpg")]), (evaluate, []), (report, [])):
        assert "agegender train" in refused(capsys, command, *photos, "--models-dir", str(tmp_path))


def test_photos_that_cannot_be_read_at_all_are_an_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, trained: Run
) -> None:
    np.save(tmp_path / "numbers.npy", np.zeros(3))
    model = ["--model", str(trained.model)]
    refused(capsys, predict, str(tmp_path / "numbers.npy"), str(tmp_path / "absent.jpg"), *model)
    refused(capsys, predict, str(tmp_path / "absent folder"), *model)
