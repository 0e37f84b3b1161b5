"""Lines of a proof on a terminal."""

from __future__ import annotations

import re

import pytest

from bpb_harness.terminal.lines import laid_out
from bpb_harness.terminal.screen import Screen
from tests.printed import words_of

SCORE = "bpb|method:mc|data:val@0123abcd ~<= 0.9 (" + "a word " * 20 + ")"
TEXT = f"{SCORE}\n  claim: {'some words ' * 12}end\n  of the score {SCORE}\nproved: {'so it is ' * 12}"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_are_broken_between_words_and_a_score_is_never(width):
    lines = laid_out(TEXT, Screen(width)).splitlines()
    assert lines[0] == SCORE
    assert f"  of the score {SCORE}" in lines
    assert lines[1].startswith("  claim: some words")
    assert lines[2].startswith("    ")
    assert not lines[2].startswith("     ")
    assert all(len(line) <= width for line in lines if "bpb|" not in line)
    assert words_of(" ".join(lines)) == words_of(TEXT)


def test_the_verdict_is_bold():
    coloured = laid_out(TEXT, Screen(80, has_colour=True))
    assert "\x1b[1mproved: so it is" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == laid_out(TEXT, Screen(80))
