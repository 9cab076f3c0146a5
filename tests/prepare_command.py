"""Runs the command `prepare` in this process, as a user would, and reads what it says."""

import json

from agegender.prepare import main


def prepare(*arguments, code=0):
    assert main([*map(str, arguments), "--out", "faces.parquet"]) == code


def document(capsys, *arguments):
    prepare(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


def refusal(capsys, *arguments):
    prepare(*arguments, code=2)
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if line.startswith("agegender prepare: ")]
    assert len(lines) == 1
    assert "Traceback" not in said.err
    return lines[0]
