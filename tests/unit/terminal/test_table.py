"""Tables: nothing is cut, whatever does not fit stands below its row."""

from __future__ import annotations

import pytest

from bpb_harness.terminal.page import Page
from bpb_harness.terminal.screen import Screen
from bpb_harness.terminal.table import Column, add_table

COLUMNS = (Column("name", 12), Column("bytes", is_number=True), Column("codes", 14), Column("reason"))
REASON = "the score is a sum of many words that must be read whole"
ROWS = [("short", "7", "BPB101", REASON), ("a/name/of/20/letters", "1,234", "BPB101, BPB102, BPB103", REASON)]


def table(width: int, **options) -> list[str]:
    page = Page(Screen(width), 13)
    add_table(page, COLUMNS, ROWS, **options)
    return str(page).splitlines()


def test_all_stand_beside_each_other_where_there_is_room():
    assert table(73) == [
        "name          bytes  codes           reason",
        "short             7  BPB101          the score is a sum of many words",
        "                                     that must be read whole",
        "a/name/of/20/letters",
        "              1,234  BPB101,         the score is a sum of many words",
        "                     BPB102, BPB103  that must be read whole",
    ]


def test_sentences_stand_below_where_there_is_none():
    assert table(60) == [
        "name          bytes  codes",
        "    reason",
        "short             7  BPB101",
        f"    {REASON}",
        "a/name/of/20/letters",
        "              1,234  BPB101,",
        "                     BPB102, BPB103",
        f"    {REASON}",
    ]
    assert table(30)[:3] == ["name          bytes", "    codes: reason", "short             7"]


def test_a_table_of_numbers_keeps_its_last_column_whole():
    columns = (Column("bytes"), Column("", is_number=True))
    page = Page(Screen(40), 13)
    add_table(page, columns, [("official", "130,160"), ("raw", "7")], has_prose=False)
    assert str(page).splitlines() == ["bytes", "official  130,160", "raw             7"]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_style_is_of_one_cell_and_heads_are_dim(width):
    page = Page(Screen(width, has_colour=True), 13)
    add_table(page, COLUMNS, ROWS, styles=["bold red", "bold green"], styled=1)
    text = str(page)
    assert "\x1b[1;31m    7\x1b[0m" in text
    assert "\x1b[1;32m1,234\x1b[0m" in text
    assert "\x1b[2mname" in text
