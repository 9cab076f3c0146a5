"""What beginners get wrong: one line that says what was meant, and one that says where help is; nothing heavy loads."""

from __future__ import annotations

import importlib

import pytest

from agegender.__main__ import COMMANDS, main
from agegender.console import _CALLED_ELSEWHERE


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
        ("train faces", "faces belongs to no option"),
        ("evaluate --split tets", "Did you mean test?"),
        ("explain --segments slick", "Did you mean slic?"),
        ("predict", "PHOTO (a photo, or a folder of photos) is missing"),
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
