"""The written list of sources: every name loads, and misspelt ones are helped."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from agegender.data.sources import DESCRIPTIONS, choices, find_source, source_name
from agegender.errors import UsageError


@pytest.mark.parametrize("name", [name for name in DESCRIPTIONS if find_spec(f"agegender.data.sources.{name}")])
def test_every_source_has_a_read_function(name):
    assert callable(find_source(name))


def test_hyphens_underscores_and_capitals_are_alike():
    assert {source_name(name) for name in ("all-age-faces", "all_age_faces", "All-Age-Faces", "aaf")} == {
        "all_age_faces"
    }
    assert [source_name(name) for name in choices()] == list(DESCRIPTIONS)


def test_a_misspelt_source_is_met_with_the_nearest_one():
    with pytest.raises(UsageError, match="Did you mean utkface"):
        find_source("utk-faces")


def test_the_list_costs_no_heavy_import():
    code = (
        "import sys; from agegender.data.sources import choices; choices(); "
        "print({'pandas', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
