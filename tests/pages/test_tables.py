from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agegender.audit.estimates import Estimate
from agegender.pages.page_writing import _environment
from agegender.pages.tables import Column, Row, Table, table_of_frame

TABLE = Table(
    "ages",
    "Ages",
    (Column("group", "Group"), Column("n", "Photos", 0), Column("gap", "Gap, years", 1, is_signed=True)),
    (
        Row({"group": "a & b", "n": 1200, "gap": Estimate(-0.26, -1.0, 0.5)}, address="#faces-a"),
        Row({"group": "few", "n": 3, "gap": Estimate(np.nan)}, is_small=True),
    ),
)
GOLDEN = """
<tr> <th scope="row" data-sort="a &amp; b"><a href="#faces-a">a &amp; b</a></th>
<td class="n" data-sort="1200">1,200</td>
<td class="n" data-sort="-0.26">−0.3<span class="ends">(−1.0 to +0.5)</span></td></tr>
<tr class="few"> <th scope="row" data-sort="few">few</th>
<td class="n" data-sort="3">3</td>
<td class="n" data-sort="">–</td></tr>
"""


def squeezed(text: str) -> str:
    return re.sub(r"\s+(?=<)|(?<=>)\s+", "", text).strip()


def test_table_becomes_exactly_this_html():
    macros = _environment().get_template("macros.html").module
    html = str(macros.table(TABLE))
    body = html[html.index("<tbody>") + 7 : html.index("</tbody>")]
    assert squeezed(body) == squeezed(GOLDEN)


def test_downloads_spread_intervals_over_three_columns_and_leave_the_unknown_empty():
    assert TABLE.csv_text().splitlines() == [
        "group,n,gap,gap_low,gap_high",
        "a & b,1200,-0.26,-1.0,0.5",
        "few,3,,,",
    ]
    assert TABLE.records()[0]["gap_high"] == 0.5


def test_rows_too_many_for_the_page_are_in_the_downloads():
    table = Table("t", "T", TABLE.columns, TABLE.rows[:1], hidden_rows=TABLE.rows[1:])
    assert len(table.records()) == 2


@given(st.text(min_size=1, max_size=20))
def test_no_text_is_ever_a_formula_in_a_spreadsheet(name):
    table = Table("t", "T", (Column("group", "Group"),), (Row({"group": name}),))
    cell = table.csv_text().split("\r\n", 1)[1].lstrip('"')
    assert not cell.startswith(("=", "+", "-", "@", "\t"))


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (pd.NA, "–"), (float("inf"), "–"), (-0.01, "0.0"), (2.25, "+2.2")]
)
def test_numbers_are_written_as_people_write_them(value, text):
    assert Column("x", "X", 1, is_signed=True).text(value) == text


def test_any_frame_can_be_shown():
    frame = pd.DataFrame({"name": ["a"], "share_lost": [0.125], "count": [3], "is_kept": [True]})
    table = table_of_frame("t", "T", frame)
    assert [column.text(table.rows[0].values[column.key]) for column in table.columns] == ["a", "0.12", "3", "True"]
