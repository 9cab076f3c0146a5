"""What beginners get wrong: one line that says what was meant, and one that says where help is; nothing heavy loads."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from bad_photos import encoded
from dataset_layouts import write_utkface
from PIL import Image

from agegender.__main__ import COMMANDS, main
from agegender.console import _CALLED_ELSEWHERE
from agegender.data.sources.recognising import recognised_source
from agegender.errors import FolderError
from agegender.photos.finding import named_photos


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("trian", "there is no command 'trian'. Did you mean train?"),
        ("help trian", "Did you mean train?"),
        ("photo.jpg", "`agegender predict photo.jpg` predicts a photo"),
        ("--data faces train", "come after a command"),
        ("train --epoch 3", "there is no option --epoch. Did you mean --epochs?"),
        ("train --batch_size=8", "Did you mean --batch-size?"),
        ("train -epochs 3", "there is no option -epochs. Did you mean --epochs?"),
        ("train --lr 0.1", "It is --learning-rate here"),
        ("train --gpu", "It is --device cuda here"),
        ("train --seed 1.5", "--seed 1.5: expected a whole number."),
        ("train --learning-rate quick", "--learning-rate quick: expected a number."),
        ("train --size smal", "there are tiny, small, medium, large. Did you mean small?"),
        ("train --size", "--size needs a value after it: tiny, small"),
        ("train --heads", "--heads needs a value after it: NAME"),
        ("train faces", "faces belongs to no option. Write the option before it, such as --data faces."),
        ("evaluate --split tets", "Did you mean test?"),
        ("explain --segments slick", "Did you mean slic?"),
        ("predict", "PHOTO (a photo, a folder of photos, a pattern in quotes, or - for a list on stdin) is missing"),
        ("predict --photo a.jpg", "Photos are named without an option: agegender predict PHOTO"),
        ("prepare --source utkface --data x", "--out (the faces table to write (Parquet)) is missing"),
        ("report --model a --predictions b", "exclude each other"),
    ],
)
def test_a_slip_is_one_line_and_one_more_says_where_help_is(capsys, line, said):
    words = line.split()
    try:
        code = main(words)
    except SystemExit as stopped:
        code = stopped.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    what, where = err.splitlines()
    assert said in what
    assert where.startswith("help: agegender ")
    assert where.endswith("--help")


def test_help_of_a_command_can_be_asked_for_in_words(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["help", "train"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("usage: agegender train")


def test_what_other_programs_call_an_option_leads_to_one_that_is_there():
    parsers = [importlib.import_module(f"agegender.{command}").build_parser() for command in COMMANDS]
    known = {name for parser in parsers for name in parser._option_string_actions}
    assert {ours.partition(" ")[0] for ours in _CALLED_ELSEWHERE.values()} <= known
    assert not known & set(_CALLED_ELSEWHERE)


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """Work in a folder with a small dataset in UTKFace's layout, called `faces`."""
    write_utkface(tmp_path / "faces")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "faces"


WITHOUT_TORCH = """
import sys
from agegender.__main__ import main
code = main(sys.argv[1:])
heavy = {"torch", "fastai", "timm", "skimage"} & set(sys.modules)
assert not heavy, f"{heavy} was loaded before this was found out"
raise SystemExit(code)
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train --source utkfaces --data faces", "Did you mean utkface?"),
        ("train --data facs", "there is no folder at facs. Did you mean faces?"),
        ("train --data faces.zip", "faces.zip is an archive: unpack it first"),
        ("train --data faces --faces faces.parquet", "give either --faces or --data"),
        ("train --faces face.parquet", "there is no faces table at face.parquet. Did you mean faces.parquet?"),
        ("train --faces faces", "--faces faces is a folder"),
        ("train --data faces --weights nosuch.pth", "--weights nosuch.pth: there is no such file"),
        ("train --data faces --weights imagnet", "Did you mean imagenet?"),
        ("train --data faces --weights faces", "is no model folder"),
        ("train --data faces --device gpu", "--device gpu: there is no such device. Did you mean cuda?"),
        ("train --data faces --image-size 9000", "--image-size 9000 is too large; at most 2048"),
        ("train --faces faces.parquet --balance colour", "cannot balance by colour"),
        ("train --faces faces.parquet --balance ethnicty", "Did you mean ethnicity?"),
        ("train --faces faces.parquet --weigh colour", "cannot weigh by colour"),
        ("train --faces faces.parquet --oversample ethnicty", "Did you mean ethnicity?"),
        ("train --faces faces.parquet --oversample gender --balance ethnicity", "give one of them"),
        ("train --faces faces.parquet --oversample gender --augmentation none", "--augmentation none changes none"),
        ("train --faces faces.parquet --weigh gender --balance gender", "would both make up for rare groups of gender"),
        ("train --weigh-cap 3", "say by which columns they are, with --weigh"),
        ("train --weigh gender --weigh-cap 1", "--weigh-cap 1 is out of range; it must be above 1"),
        ("train --faces faces.parquet --auxiliary age", "age_years has a head already, which is stored"),
        ("train --faces faces.parquet --auxiliary ethnicity", "say --sensitive-head"),
        ("train --faces faces.parquet --auxiliary ethnicty", "Did you mean ethnicity?"),
        ("train --faces faces.parquet --heads age --auxiliary gender --loss-weight gender=0", "it helps nothing"),
        ("train --faces faces.parquet --relabel height:1=2", "there is no head 'height'. There are age, gender."),
        ("train --faces faces.parquet --relabel age:60-58=59", "no age lies from 60 to 58 and becomes 59"),
        ("train --faces faces.parquet --relabel age:fifty=60", "expected age:LOW-HIGH=NEW"),
        ("train --faces faces.parquet --relabel gender:male=man", "OLD=NEW of the classes male, female"),
        ("train --faces faces.parquet --relabel gender:male=female", "leaves one label of gender to learn"),
        ("train --faces faces.parquet --loss gender=focal:gamma=-1", "gamma of focal is -1; it must be 0 to 10"),
        ("train --faces faces.parquet --loss age=focal", "the head 'age' has no loss 'focal'"),
        ("train --loss gender=focal:gama=1", "Did you mean gamma?"),
        ("train --faces faces.parquet --loss height=l1", "There are age, gender; --heads names others."),
        ("train --faces faces.parquet --heads gender --loss age=l1", "no head 'age' to set a loss or a weight of"),
        ("train --faces faces.parquet --loss-weight gendr=2", "Did you mean gender?"),
        ("train --faces faces.parquet --loss age=l3", "it has soft-labels, smooth-l1, l1, mse, huber"),
        ("train --loss height=l1", "no head 'height' to set a loss or a weight of"),
        ("report --predictions theirs.csv --columns predicted_age=pred", "Did you mean predicted_age_years?"),
        ("report --predictions theirs.csv --columns predicted_age_years=prd", "Did you mean pred?"),
        ("train --faces faces.parquet --heads gendr", "Did you mean gender?"),
        ("train --faces faces.parquet --heads age age", "the head 'age' is named twice"),
        ("train --faces faces.parquet --heads age:regresion", "Did you mean regression?"),
        ("evaluate --source utkfaces --data faces", "Did you mean utkface?"),
        ("evaluate --data faces --split test", "has no splits; leave --split out"),
        ("evaluate --faces face.parquet", "Did you mean faces.parquet?"),
        ("evaluate --model model", "there is no model folder model"),
        ("explain potrait.jpg", "there is no photo potrait.jpg. Did you mean portrait.jpg?"),
        ("explain --random 3 --group ethnicity", "expected COLUMN=VALUE"),
        ("predict potrait.jpg", "Did you mean portrait.jpg?"),
        ("predict portrait.jpg --device gpu", "Did you mean cuda?"),
        ("predict portrait.jpg --models-dir models", "there is no model in models. `agegender train` makes one"),
        ("prepare --source utkfaces --data faces --out o.parquet", "Did you mean utkface?"),
        ("prepare --data facs --out o.parquet", "Did you mean faces?"),
        ("prepare --data faces.zip --out o.parquet", "unpack it first"),
        ("prepare --data faces --out o.csv", "a faces table is a Parquet file. Write --out o.parquet."),
        ("prepare --data faces --out .", "it is a folder. Name a file in it."),
        ("prepare --data faces --out o.parquet --report o.pdf", "Write --report o.html."),
        ("prepare --data faces --out o.parquet --combine gendr ethnicity", "Did you mean gender?"),
    ],
)
def test_what_needs_no_photo_is_found_out_before_anything_heavy_is_loaded(faces, line, said, prepared, tmp_path):
    shutil.copy(prepared, "faces.parquet")
    (tmp_path / "faces.zip").write_bytes(b"PK")
    (tmp_path / "theirs.csv").write_text("path,age_years,pred\na.jpg,30,31\n")
    Image.new("RGB", (64, 64)).save("portrait.jpg")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *line.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert said in done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A faces table of a small dataset."""
    root = tmp_path_factory.mktemp("prepared")
    data = str(write_utkface(root / "data"))
    assert main(["prepare", "--data", data, "--out", str(root / "faces.parquet"), "--cache", str(root / "hashes")]) == 0
    return root / "faces.parquet"


WITHOUT_CAPTUM = f"""
import agegender.explanation
agegender.explanation.find_spec = lambda name: None
{WITHOUT_TORCH}
"""


def test_second_opinions_without_captum_are_refused_before_anything_heavy_is_loaded(faces):
    Image.new("RGB", (64, 64)).save("portrait.jpg")
    words = ["explain", "portrait.jpg", "--second-opinions"]
    done = subprocess.run([sys.executable, "-c", WITHOUT_CAPTUM, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert 'pip install "agegender[explain]", or leave --second-opinions out' in done.stderr.splitlines()[-1]


def test_a_body_that_is_not_there_is_found_out_before_photos_are_read(faces, capsys, monkeypatch):
    monkeypatch.setattr("agegender.data.preparing.clean", lambda *_, **__: pytest.fail("photos were read"))
    assert main(["train", "--data", "faces", "--body", "resnet35"]) == 2
    assert "there is no body called 'resnet35'. Did you mean resnet34?" in capsys.readouterr().err
    assert main(["train", "--data", "faces", "--device", "cuda:63"]) == 2
    assert "device cuda:63 was asked for" in capsys.readouterr().err


def test_a_layout_is_recognised_and_said(faces, capsys):
    assert main(["prepare", "--data", "faces", "--out", "o.parquet", "--cache", "hashes"]) == 0
    assert "faces looks like utkface and is read so" in capsys.readouterr().err


def test_a_layout_that_nobody_knows_lists_those_that_are_known(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(FolderError, match="is empty"):
        recognised_source(tmp_path / "photos")
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(FolderError, match=r"none of the layouts that are known here: utkface, .* --source csv"):
        recognised_source(tmp_path / "photos")


def test_two_layouts_alike_are_asked_about(tmp_path):
    write_utkface(tmp_path / "faces")
    (tmp_path / "faces" / "labels.csv").write_text("file,age\n25_0_1_20170116174525125.jpg,25\n")
    with pytest.raises(FolderError, match="could be utkface or csv: say which with --source utkface"):
        recognised_source(tmp_path / "faces")


def test_folders_named_by_age_are_recognised(tmp_path, capsys):
    (tmp_path / "male_30-39").mkdir()
    (tmp_path / "male_30-39" / "a.jpg").write_bytes(b"x")
    assert recognised_source(tmp_path) == "folder"
    assert "looks like folder" in capsys.readouterr().err


def test_a_photo_named_twice_is_taken_once_and_what_is_passed_over_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "photos"
    inside.mkdir()
    photo = encoded(Image.fromarray(np.zeros((8, 8, 3), np.uint8)), "JPEG")
    for name in ("a.jpg", "b.jpg"):
        (inside / name).write_bytes(photo)
    (tmp_path / "outside.jpg").write_bytes(photo)
    (inside / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (inside / b"caf\xe9.jpg".decode("utf-8", "surrogateescape")).write_bytes(photo)
    found = named_photos(["photos/a.jpg", "photos"])
    assert [path.name for path in found] == ["a.jpg", "b.jpg"]
    said = capsys.readouterr().err
    assert "1 of the photos is named twice" in said
    assert "passed over 2 in photos (1 malformed name, 1 escapes the folder), first caf\\xe9.jpg" in said


def test_a_folder_whose_photos_are_all_passed_over_says_so(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(FolderError, match="that can be used"):
        named_photos([tmp_path / "photos"])
    assert "1 escapes the folder" in capsys.readouterr().err
