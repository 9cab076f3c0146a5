"""A training that is stopped, killed or out of space goes on to the weights that it would have had."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from photo_scenes import noisy_photos
from safetensors.torch import load_file

import agegender as ag
from agegender import train
from agegender.data.faces_table import make_table
from agegender.errors import CardError, DivergedError, OutputError, TrainingStopped, UsageError
from agegender.model import run_state, training, training_speed
from agegender.model.model_folder import newest_model, read_card

TINY = {"body": "test_resnet", "weights": "none", "image_size": 32, "batch_size": 16, "epochs": 4, "device": "cpu"}
TINY |= {"precision": "fp32", "heads": ["age", "gender"]}
OPTIONS = "--body test_resnet --weights none --image-size 32 --batch-size 16 --epochs 4 --device cpu --precision fp32"

# Killed by itself in the middle of the third epoch, without a chance to clean up.
KILLED = """
import os, signal, sys
import agegender as ag
from agegender.model.epochs import EpochRecorder
after_batch = EpochRecorder.after_batch
def kill(self):
    after_batch(self)
    if self.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
EpochRecorder.after_batch = kill
faces = ag.Faces.load(sys.argv[1])
ag.Model.train(faces, name="first", models_dir=sys.argv[2], **eval(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ag.Faces:
    """96 photos, light for the old."""
    root = tmp_path_factory.mktemp("coded")
    rows = []
    for number, name in enumerate(noisy_photos(root, 96, brighter=2)):
        row = {"path": name, "source": "coded", "age_years": number // 2}
        row |= {"gender": ("male", "female")[number // 4 % 2], "ethnicity": ("Asian", "Black")[number % 2]}
        rows.append(row | {"split": ("train", "train", "valid", "test")[number % 4]})
    return ag.Faces.from_frame(make_table(rows), root=root)


@pytest.fixture(scope="module")
def whole(faces: ag.Faces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("models") / "first"
    return ag.Model.train(faces, name="first", **TINY).save(folder)


def difference(first: Path, second: Path) -> float:
    one, other = (load_file(folder / "weights.safetensors") for folder in (first, second))
    assert one.keys() == other.keys()
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


def stopped(faces: ag.Faces, models: Path, epochs: int = 1, **keywords: object) -> Path:
    with pytest.raises(TrainingStopped, match=rf"stopped after epoch {epochs} of 4"):
        ag.Model.train(faces, name="first", models_dir=models, stop_after=epochs, **TINY, **keywords)
    return models / "first.unfinished"


def test_fp16_goes_on_with_the_scale_of_its_loss(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_speed, "FIRST_CPU_SCALE", 2.0**20)  # halved in each of the first steps
    settings = {**TINY, "precision": "fp16", "epochs": 2}
    whole = ag.Model.train(faces, name="whole", **settings).save(tmp_path / "whole")
    with pytest.raises(TrainingStopped):
        ag.Model.train(faces, name="parts", models_dir=tmp_path, stop_after=1, **settings)
    scale = run_state.read_state(tmp_path / "parts.unfinished" / "state.safetensors").facts["scaler"]["scale"]
    assert 1 < scale < 2.0**20
    parts = ag.Model.resume(tmp_path / "parts").save(tmp_path / "parts")
    assert difference(whole, parts) == 0
    assert read_card(parts)["precision"] == "fp16"


def test_killed_in_mid_epoch_it_goes_on_to_the_same_weights(faces: ag.Faces, whole: Path, tmp_path: Path) -> None:
    faces.save(tmp_path / "faces.parquet")
    words = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path / "faces.parquet"), str(tmp_path), repr(TINY)]
    assert subprocess.run(words, capture_output=True, check=False).returncode == -signal.SIGKILL
    kept = {path.name for path in (tmp_path / "first.unfinished").iterdir()}
    assert kept == {"faces.parquet", "lock", "run.json", "state.safetensors"}
    model = ag.Model.resume(tmp_path / "first")
    assert difference(whole, model.save(tmp_path / "first")) <= 1e-5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.parquet", "first"]
    first, second = (
        pd.read_csv(folder / "history.csv").drop(columns="seconds") for folder in (whole, tmp_path / "first")
    )
    pd.testing.assert_frame_equal(first, second)


def test_four_legs_are_one_training(faces: ag.Faces, whole: Path, tmp_path: Path) -> None:
    run = stopped(faces, tmp_path)
    run_id = json.loads((run / "run.json").read_text())["run_id"]
    for epoch in (2, 3):
        np.random.seed(epoch)  # whatever another process has drawn before
        torch.manual_seed(epoch)
        with pytest.raises(TrainingStopped, match=f"epoch {epoch} of 4"):
            ag.Model.resume(run, minutes=0)
    model = ag.Model.resume(run, minutes=0)  # the last epoch ends the training, not a leg
    assert difference(whole, model.save(tmp_path / "first")) <= 1e-5
    assert model.card["run_id"] == run_id
    assert model.card["seconds"] > 0


MITIGATED: dict[str, object] = {
    "weighting": "uncertainty",
    "auxiliary": ["ethnicity"],
    "allows_sensitive": True,
    "weigh": "ethnicity",
    "oversample": "gender",
    "relabel": ["age:46-47=45"],
    "losses": {"age": "dldl-v2", "gender": "focal:balanced=0.5", "ethnicity": "cross-entropy:smoothing=0.1"},
}


def test_learned_weights_helping_heads_and_repeated_photos_go_on_as_they_were(faces: ag.Faces, tmp_path: Path) -> None:
    whole = ag.Model.train(faces, name="first", **TINY, **MITIGATED)
    run = stopped(faces, tmp_path, epochs=2, **MITIGATED)
    torch.manual_seed(77)
    model = ag.Model.resume(run)
    assert difference(whole.save(tmp_path / "whole"), model.save(tmp_path / "first")) == 0.0
    first, second = (one.history.drop(columns="seconds") for one in (whole, model))
    assert {"log_variance_age", "log_variance_ethnicity", "train_loss_ethnicity"} <= set(first)
    pd.testing.assert_frame_equal(first, second)
    for name in ("log_variances", "relabelled", "auxiliary_heads", "class_counts"):
        assert whole.card[name] == model.card[name]


def test_all_epochs_done_and_nothing_stored_it_only_stores(faces: ag.Faces, whole: Path, tmp_path: Path) -> None:
    model = ag.Model.train(faces, name="first", models_dir=tmp_path, **TINY)
    model._run.close()  # as if killed before `save`
    assert not (tmp_path / "first").exists()
    again = ag.Model.resume(tmp_path / "first.unfinished")
    assert difference(whole, again.save(tmp_path / "first")) == 0
    assert len(again.history) == 4


def test_other_commands_say_how_to_go_on(faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = stopped(faces, Path("models"))
    for folder in (run, Path("models/first")):
        with pytest.raises(CardError, match="agegender train --resume first"):
            read_card(folder)
    with pytest.raises(CardError, match=r"no model in models.*agegender train --resume first"):
        newest_model(Path("models"))
    with pytest.raises(CardError, match=r"unfinished are first"):
        ag.Model.resume("models/second")


def test_a_state_cut_in_half_is_said_and_stays(faces: ag.Faces, tmp_path: Path) -> None:
    state = stopped(faces, tmp_path) / "state.safetensors"
    data = state.read_bytes()
    for damaged in (data[: len(data) // 2], b"", data[:-1], b"\xff" * 100, data[:8] + b"X" + data[9:]):
        state.write_bytes(damaged)
        with pytest.raises(CardError, match="damaged or cut short"):
            ag.Model.resume(tmp_path / "first")
        assert state.read_bytes() == damaged


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("run.json", "{", "cannot be read"),
        ("run.json", "[]", "cannot be"),
        ("run.json", '{"plan": {"name": "first"}}', "cannot be understood"),
        ("faces.parquet", "PAR1", "not a Parquet file|cannot be read"),
    ],
)
def test_a_damaged_run_is_one_line(faces: ag.Faces, tmp_path: Path, name: str, text: str, message: str) -> None:
    run = stopped(faces, tmp_path)
    (run / name).write_text(text)
    with pytest.raises(ag.errors.AgeGenderError, match=message):
        ag.Model.resume(run)
    assert (run / "state.safetensors").is_file()


def test_state_and_plan_of_two_runs_do_not_mix(faces: ag.Faces, tmp_path: Path) -> None:
    run = stopped(faces, tmp_path)
    facts = json.loads((run / "run.json").read_text())
    facts["plan"]["heads"] = ["age"]
    (run / "run.json").write_text(json.dumps(facts))
    with pytest.raises(CardError, match="does not fit the plan"):
        ag.Model.resume(run)


def test_other_faces_are_refused(faces: ag.Faces, tmp_path: Path) -> None:
    run = stopped(faces, tmp_path)
    ag.Faces.from_frame(faces.table.iloc[:40], root=faces.root).save(run / "faces.parquet")
    with pytest.raises(CardError, match="not the faces table that this run began with"):
        ag.Model.resume(run)


def test_a_full_disk_in_a_later_epoch_keeps_the_one_before(
    faces: ag.Faces, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, count = run_state.write_tensors, 0

    def full(tensors: dict, path: Path, metadata: dict) -> None:
        nonlocal count
        count += 1
        if count == 3:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(tensors, path, metadata)

    with monkeypatch.context() as patched:
        patched.setattr(run_state, "write_tensors", full)
        with pytest.raises(OutputError, match=r"epoch 3 could not be kept.*Epoch 2 is kept.*--resume first"):
            ag.Model.train(faces, name="first", models_dir=tmp_path, **TINY)
    assert len(list((tmp_path / "first.unfinished").iterdir())) == 4
    model = ag.Model.resume(tmp_path / "first")
    assert len(model.history) == 4
    assert difference(whole, model.save(tmp_path / "first")) <= 1e-5


def test_a_run_that_would_not_fit_is_refused_with_numbers(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("agegender.writing.shutil.disk_usage", lambda place: usage)
    with pytest.raises(OutputError, match=r"this training needs about \d+ MB in .*, and 0 MB are free"):
        ag.Model.train(faces, name="first", models_dir=tmp_path, **TINY)
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_one_run_s_at_a_time(faces: ag.Faces, tmp_path: Path) -> None:
    model = ag.Model.train(faces, name="first", models_dir=tmp_path, **{**TINY, "epochs": 1})
    with pytest.raises(UsageError, match=rf"is being trained by process {os.getpid()} on"):
        ag.Model.resume(tmp_path / "first")
    with pytest.raises(UsageError, match="is being trained by process"):
        ag.Model.train(faces, name="first", models_dir=tmp_path, **TINY)
    model._run.close()
    # Nobody is at work on it, but what it keeps is not thrown away either.
    with pytest.raises(UsageError, match=r"keeps epochs of an unfinished run.*--resume first.*delete"):
        ag.Model.train(faces, name="first", models_dir=tmp_path, **TINY)
    assert (tmp_path / "first.unfinished" / "state.safetensors").is_file()


def test_on_another_kind_of_processor_it_goes_on_and_says_so(
    faces: ag.Faces, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "ELSEWHERE")
        run = stopped(faces, tmp_path)
    facts = json.loads((run / "run.json").read_text())
    facts["plan"]["training"] |= {"device": "cuda:7", "precision": "fp16"}  # which are not here
    (run / "run.json").write_text(json.dumps(facts))
    capsys.readouterr()
    model = ag.Model.resume(run, precision="fp32", device="cpu")
    assert "processor ELSEWHERE then and" in (said := capsys.readouterr().err)
    assert "not be bit-equal" in said
    assert len(model.history) == 4


def test_a_device_that_is_gone_is_replaced() -> None:
    from agegender.model.precision import here
    from agegender.training_settings import TrainingSettings

    gone = TrainingSettings(device="cuda:99", precision="fp32")
    assert (here(gone, "auto", "auto").device, here(gone, "auto", "auto").precision) == ("auto", "fp32")
    assert here(TrainingSettings(device="cpu", precision="fp16"), "auto", "auto").precision == "fp16"
    assert here(TrainingSettings(device="cuda:99", precision="fp16"), "auto", "auto").precision == "auto"
    with pytest.raises(UsageError, match="cuda:99"):
        here(gone, "cuda:99", "auto")


def test_a_loss_that_is_no_number_leaves_no_run(faces: ag.Faces, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="stopped being a number"):
        ag.Model.train(faces, name="first", models_dir=tmp_path, learning_rate=1e30, **TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), TypeError("cannot pickle it")])
def test_the_learner_s_export_can_fail_without_costing_the_training(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(learner: object, path: Path) -> None:
        raise error

    monkeypatch.setattr(training, "export_learner", fail)
    folder = ag.Model.load(whole, device="cpu").save(tmp_path / "copy")
    assert "learner.pkl is left out" in capsys.readouterr().err
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in whole.iterdir()} - {"learner.pkl"}
    assert difference(whole, folder) == 0


def test_a_full_disk_at_the_end_leaves_old_model_and_old_pages(
    faces: ag.Faces, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ag.Model.train(faces, name="first", models_dir=tmp_path / "models", **{**TINY, "epochs": 1})
    for folder, name in (("models", "model.json"), ("reports", "lime.html")):
        (tmp_path / folder / "first").mkdir(parents=True)
        (tmp_path / folder / "first" / name).write_text("old")

    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ag.Model, "_explanations", lambda *arguments, **keywords: [])
    with monkeypatch.context() as patched:
        patched.setattr(training, "save_weights", full)
        with pytest.raises(OutputError, match="No space left"):
            model.save(tmp_path / "models" / "first", reports=tmp_path / "reports" / "first")
    assert [path.name for path in (tmp_path / "models" / "first").iterdir()] == ["model.json"]
    assert [path.name for path in (tmp_path / "reports" / "first").iterdir()] == ["lime.html"]
    assert (tmp_path / "models" / "first.unfinished" / "state.safetensors").is_file()
    model.save(tmp_path / "models" / "first", reports=tmp_path / "reports" / "first")
    pages = {path.name for path in (tmp_path / "reports" / "first").iterdir()}
    assert pages == {"index.html", "bias.html", "card.html", "MODEL_CARD.md", "report.json"}  # lime.html was another's
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["first"]


def test_what_belongs_together_says_so(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ag.Model.load(whole, device="cpu")
    run_id = model.card["run_id"]
    assert len(run_id) == 16
    assert model.predictions.attrs["run_id"] == model.predict(model.faces).attrs["run_id"] == run_id
    pages = model.report(tmp_path / "first", explains=False)
    assert all(f"training run {run_id}" in page.read_text() for page in pages.values())
    settings = json.loads((tmp_path / "first" / "report.json").read_text())
    assert settings["run_id"] == run_id
    (tmp_path / "first" / "report.json").write_text(json.dumps(settings | {"run_id": "f" * 16}))
    capsys.readouterr()
    model.report(tmp_path / "first", explains=False)
    assert f"are of another training run ({'f' * 16}, not {run_id}): they are replaced" in capsys.readouterr().err


def run_command(words: str) -> int:
    return train.main(words.split())


def test_the_command_stops_and_goes_on(
    faces: ag.Faces, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    faces.save("faces.parquet")
    assert run_command(f"--faces faces.parquet --name first {OPTIONS} --no-report --stop-after 3 --json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"unfinished": "models/first.unfinished", "epochs_done": 3, "epochs": 4}
    for options, message in (
        ("--epochs 5", "--epochs 5 contradicts the run first, which began with 4"),
        ("--body resnet34", "--body resnet34 contradicts"),
        ("--loss age=l1", "--loss"),
        ("--layer-rates 1 --dropout 0.1 --seed 8", "contradicts the run first"),
        ("--vote soft --batch-size 1", "--batch-size 1 is too small"),
        ("--vote hard", "--vote hard contradicts the run first, which began with soft"),
        ("--faces faces.parquet", "the run's own faces table"),
    ):
        assert run_command(f"--resume first {options}") == 2
        assert message in capsys.readouterr().err
    assert run_command(f"--resume first {OPTIONS}") == 0
    assert not Path("reports").exists()  # it began with --no-report
    assert difference(whole, Path("models/first")) <= 1e-5
    assert [path.name for path in Path("models").iterdir()] == ["first"]
