"""A search: what may be searched, what trials come to, and that it goes on after a kill as if there had been none."""

from __future__ import annotations

import html
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from coded_faces import coded_faces

import agegender as ag
from agegender import train
from agegender.data.faces_table import FacesTable
from agegender.errors import CardError, MissingExtraError, TableError, UsageError, WeightsError
from agegender.model import search_space, searching, teaching
from agegender.model.search_space import Dimension, keywords_of, parse_objective, parse_space
from agegender.model.training import Fit

pytest.importorskip("optuna")
SMALL: dict[str, Any] = {
    "body": "test_resnet", "weights": "none", "image_size": 32, "batch_size": 16, "precision": "fp32", "epochs": 1,
}  # fmt: skip
RATES = {"learning_rate": "1e-4..1e-2:log"}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ag.Faces:
    root = tmp_path_factory.mktemp("coded")
    return ag.Faces.from_frame(coded_faces(root).table, root=root)


def test_ranges_and_lists_are_read_as_their_settings_are() -> None:
    space = parse_space(
        {
            "learning-rate": "1e-4..1e-2:log", "batch_size": "8..64", "ema": "none,0.99",
            "weigh": "gender+age_group,none",
            "progressive": "48:1,96:2;none", "size": ["small", "medium"],
        }
    )  # fmt: skip
    assert space[0] == Dimension("learning_rate", 1e-4, 1e-2, is_log=True)
    assert space[1] == Dimension("batch_size", 8, 64, is_whole=True)
    assert [one.values for one in space[2:]] == [
        (None, 0.99), ("gender+age_group", ""), ("48:1,96:2", ""), ("small", "medium"),
    ]  # fmt: skip
    assert keywords_of({"weigh": "gender+age_group", "ema": None}) == {"weigh": ("gender", "age_group"), "ema": None}
    assert keywords_of({"weigh": ""}) == {"weigh": ()}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("lerning_rate=1..2", "Did you mean learning_rate"),
        ("learning_rate=1e-2..1e-4", "from a lower number to a higher"),
        ("learning_rate=0..1", "must be above 0"),
        ("l1=0..1:log", "begins above 0"),
        ("learning_rate=a..b", "no range of numbers"),
        ("learning_rate=1..2..3", "no range of numbers"),
        ("learning_rate=nan..1", "lower number"),
        ("epochs=1.5..3", "no range of whole numbers"),
        ("ema=0.9,2", "too large; at most 0.99999"),
        ("image_size=8,64", "too small"),
        ("batch_size=8", "at least two values"),
        ("batch_size=8,8", "each once"),
        ("schedule=cosine,onecycle", "choose of"),
        ("schedule=a..b", "is no number"),
        ("seed=1,2", "the same in all trials"),
        ("track=none,wandb", "there is no such setting"),
        ("size=small,larg", "Did you mean large"),
        ("progressive=48:0;none", "no PIXELS:EPOCHS"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_in_a_line(
    given: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--search", given, "--trials", "3"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--search ema=none,0.9", "--search and --trials"),
        ("--trials 3", "--search and --trials"),
        ("--search ema=none,0.9 --trials 0", "too small"),
        ("--search ema=none,0.9 ema=0.9,0.99 --trials 3", "twice"),
        ("--search body=resnet18,resnet34 size=small,large --trials 3", "by another name"),
        ("--search learning_rate=1e-4..1e-2 --learning-rate 1e-3 --trials 3", "leave one out"),
        ("--search size=small,large --body resnet18 --trials 3", "--body fixes what --search size varies"),
        ("--search ema=none,0.9 --trials 3 --folds 5", "is of one run"),
        ("--search ema=none,0.9 --trials 3 --track wandb", "--search leaves none"),
        ("--search ema=none,0.9 --trials 3 --objective age.mea", "Did you mean mae"),
        ("--search relabel=age:58-59=60;none --trials 3", "in other units and class weights"),
    ],
)
def test_a_search_that_contradicts_itself_is_refused(
    options: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(options.split()) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("name", "values"), [("weighting", "fixed,uncertainty"), ("auxiliary", "age_class,none")])
def test_what_trials_learn_by_does_not_change_what_they_are_judged_by(name: str, values: str) -> None:
    search_space.check_space(parse_space({name: values}), parse_objective("loss"))


def test_refusing_a_space_loads_no_torch() -> None:
    program = (
        "import sys; from agegender import train; code = train.main(['--search', 'emu=0.9,0.99', '--trials', '3']); "
        "sys.exit(code if not {'torch', 'optuna'} & set(sys.modules) else 77)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Did you mean ema?" in done.stderr


def test_a_missing_optuna_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_space, "find_spec", lambda _: None)
    assert importlib.util.find_spec("optuna") is not None
    with pytest.raises(MissingExtraError, match=r'pip install "agegender\[search\]"'):
        search_space.check_search_extra()


def test_measures_have_their_directions_and_heads() -> None:
    assert [parse_objective(name).direction for name in ("loss", "age.mae", "gender.accuracy")] == [
        "minimize", "minimize", "maximize",
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"give age\.mae"):
        search_space.check_measured(parse_objective("age.accuracy"), {"age": True})
    with pytest.raises(UsageError, match="no head aeg is trained"):
        search_space.check_measured(parse_objective("aeg.mae"), {"age": True})


def test_a_search_that_was_killed_goes_on_to_what_it_would_have_found(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = ag.Model.search(faces, RATES, trials=3, folder=tmp_path / "whole.search", objective="age.mae", **SMALL)
    assert at_once.table["state"].tolist() == ["complete"] * 3
    assert at_once.value == at_once.table["value"].min()
    assert 1e-4 <= at_once.best["learning_rate"] <= 1e-2

    with monkeypatch.context() as patch:
        patch.setattr(searching, "fit", _killed_in_fit(2, searching.fit))
        with pytest.raises(KeyboardInterrupt):
            ag.Model.search(faces, RATES, trials=3, folder=tmp_path / "legs.search", objective="age.mae", **SMALL)
    in_legs = ag.Model.search(faces, RATES, trials=3, folder=tmp_path / "legs.search", objective="age.mae", **SMALL)
    pd.testing.assert_frame_equal(in_legs.table.drop(columns="seconds"), at_once.table.drop(columns="seconds"))
    # Nothing more is trained where all are finished.
    monkeypatch.setattr(searching, "fit", _killed_in_fit(1, searching.fit))
    again = ag.Model.search(faces, RATES, trials=2, folder=tmp_path / "legs.search", objective="age.mae", **SMALL)
    assert again.best == at_once.best
    for changed, words in (
        ({"space": {"learning_rate": "1e-4..1e-1:log"}}, "began with other space"),
        ({"epochs": 3}, r"began with other epochs \(1; now 3\)"),
        ({"objective": "loss"}, "began with other objective"),
        ({"faces": _without_a_photo(faces)}, r"began with other faces\."),
    ):
        usual = {"faces": faces, "space": RATES, "objective": "age.mae", **SMALL} | changed
        with pytest.raises(UsageError, match=words):
            ag.Model.search(trials=3, folder=tmp_path / "legs.search", **usual)


def _killed_in_fit(count: int, fit: Callable[..., Any]) -> Callable[..., Any]:
    calls = iter(range(1, 100))

    def killed(*arguments: Any, **keywords: Any) -> Any:
        if next(calls) == count:
            raise KeyboardInterrupt
        return fit(*arguments, **keywords)

    return killed


def _without_a_photo(faces: ag.Faces) -> ag.Faces:
    return ag.Faces.from_frame(faces.table.iloc[1:], root=faces.root)


def test_the_test_photos_are_not_looked_at(faces: ag.Faces, tmp_path: Path) -> None:
    table = faces.table.copy()
    table.loc[[1, 2, 3], ["path", "split"]] = [[f"gone-{number}.png", "test"] for number in range(3)]
    moved = ag.Faces.from_frame(table, root=faces.root)
    found = ag.Model.search(moved, {"ema": [None, 0.9]}, trials=1, folder=tmp_path / "a.search", **SMALL)
    assert found.table["state"].tolist() == ["complete"]


def test_a_trial_that_does_worse_is_ended_and_recorded(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "STARTUP_TRIALS", 1)
    monkeypatch.setattr(searching.PruneTrial, "after_epoch", _planted(searching.PruneTrial.after_epoch))
    found = ag.Model.search(faces, RATES, trials=3, folder=tmp_path / "a.search", **SMALL | {"epochs": 3})
    assert found.table["state"].tolist() == ["complete", "pruned", "pruned"]
    assert found.table["epochs"].tolist() == [3, 2, 2]
    assert found.table["why"].str.contains("median").tolist()[1:] == [True, True]
    found.save(tmp_path / "drawn")
    assert (tmp_path / "drawn" / "search.svg").read_text().startswith("<?xml")
    assert len(pd.read_csv(tmp_path / "drawn" / "search.csv")) == 3


def _planted(after_epoch: Callable[[Any], None]) -> Callable[[Any], None]:
    """Have each trial do worse than those before."""

    def planted(self: Any) -> None:
        self.learn.epoch_recorder.rows[-1]["valid_loss"] = 1.0 + self.trial.number - 0.1 * self.epoch
        after_epoch(self)

    return planted


@pytest.mark.parametrize(
    ("space", "asked"), [({"teacher_weight": "0.1..0.9"}, 1), ({"auxiliary": ["side", "none"]}, 2)]
)
def test_a_teacher_of_all_trials_is_asked_once(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: dict[str, Any], asked: int
) -> None:
    calls = []

    def answers(_: Path, training: FacesTable, __: str) -> tuple[pd.DataFrame, dict[str, Any]]:
        calls.append(len(training.table))
        return training.table[["path"]].assign(predicted_age_years=30.0), {"name": "a teacher"}

    monkeypatch.setattr(teaching, "_answers", answers)
    sides = faces.table["gender"].map({"male": "a", "female": "b"})
    grouped = ag.Faces.from_frame(faces.table.assign(side=sides), root=faces.root)
    found = ag.Model.search(grouped, space, trials=2, folder=tmp_path / "a.search", teacher=str(tmp_path), **SMALL)
    assert found.table["state"].tolist() == ["complete"] * 2
    assert calls == [24] * asked


def test_a_plan_that_cannot_be_trained_is_a_finding(faces: ag.Faces, tmp_path: Path) -> None:
    space = {"schedule": ["cosine", "constant"], "step_size": [1, 2]}  # which are of another schedule
    with pytest.raises(UsageError, match=r"none of the 2 trials came to a value.*--step-size says something"):
        ag.Model.search(faces, space, trials=2, folder=tmp_path / "a.search", **SMALL)


@pytest.mark.parametrize("error", [WeightsError("no weights."), TableError("no column.")])
def test_weights_or_columns_that_a_trial_lacks_end_that_trial_alone(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    first, fit = iter([True]), searching.fit

    def refused(*arguments: Any, **keywords: Any) -> Any:
        if next(first, False):
            raise error
        return fit(*arguments, **keywords)

    monkeypatch.setattr(searching, "fit", refused)
    found = ag.Model.search(faces, RATES, trials=2, folder=tmp_path / "a.search", **SMALL)
    assert found.table["state"].tolist() == ["pruned", "complete"]
    assert found.table["why"][0] == str(error)


def test_a_measure_that_is_no_number_is_said(faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"epoch": 1, "valid_loss": float("nan"), "seconds": 1.0}
    monkeypatch.setattr(searching, "fit", lambda *_, **__: Fit(pd.DataFrame([row]), best_epoch=1))
    with pytest.raises(UsageError, match=r"The first one: loss of epoch 1 is no number\. Search"):
        ag.Model.search(faces, RATES, trials=1, folder=tmp_path / "a.search", **SMALL)


def test_a_damaged_study_is_named(faces: ag.Faces, tmp_path: Path) -> None:
    (tmp_path / "a.search").mkdir()
    (tmp_path / "a.search" / "trials.db").write_bytes(b"no data base at all" * 300)
    with pytest.raises(CardError, match=r"trials\.db is no study"):
        ag.Model.search(faces, RATES, trials=1, folder=tmp_path / "a.search", **SMALL)


def test_a_search_is_written_nowhere_but_into_its_folder(faces: ag.Faces, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no question mark"):
        ag.Model.search(faces, RATES, trials=1, folder=tmp_path / "what?" / "a.search", **SMALL)
    assert not any(tmp_path.iterdir())


def test_the_command_says_what_mattered_and_how_to_train_the_best(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    faces.save("my faces.parquet")
    options = [
        "--faces",
        "my faces.parquet",
        *["--body", "test_resnet", "--weights", "none", "--image-size", "32", "--epochs", "1"],
    ]
    options += ["--name", "mine", "--no-faces", "--objective", "gender.accuracy", "--trials", "4"]
    options += ["--search", "learning_rate=1e-4..1e-2:log", "ema=none,0.9", "--json"]
    assert train.main(options) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["direction"] == "maximize"
    assert len(document["trials"]) == 4
    rate = document["best"]["learning_rate"]
    begin = "agegender train --faces 'my faces.parquet' "
    assert document["command"].startswith(begin)
    assert "--no-faces" in document["command"]
    assert "--show-faces" not in document["command"]
    parsed = train.build_parser().parse_args(["--faces", "x", *document["command"][len(begin) :].split()])
    assert (parsed.learning_rate, parsed.ema) == (rate, document["best"]["ema"])
    assert (parsed.search, parsed.trials, parsed.epochs, parsed.name) == ([], None, 1, "mine")
    assert sorted(path.name for path in Path("models").iterdir()) == ["mine.search"]
    assert sorted(path.name for path in Path("reports/mine-search").iterdir()) == [
        "search.csv", "search.html", "search.svg",
    ]  # fmt: skip
    page = Path(document["page"]).read_text(encoding="utf-8")
    assert "4 short trainings" in page
    assert "ended early" in page
    assert html.escape(document["command"], quote=True).replace("&#x27;", "&#39;") in page
    assert train.main([*options[:-1], "--learning-rate", "1e-3"]) == 2
    assert "leave one out" in capsys.readouterr().err
