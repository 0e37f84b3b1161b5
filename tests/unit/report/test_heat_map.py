"""A document in colours: every byte once, at its token's price, and nothing that acts."""

import pytest

from bpb_harness.excerpt import Excerpt, Piece
from bpb_harness.report.heat_map import UNPAID, Run, heat_runs


def runs(*pieces):
    return heat_runs(Excerpt(0, tuple(Piece(*piece) for piece in pieces), 0))


def test_a_token_s_bits_are_spread_over_its_bytes():
    assert runs((b"abcd", 8.0), (b"ef", 0.2), (b"g", 0.2)) == [Run("abcd", 4), Run("efg", 0)]


@pytest.mark.parametrize(
    ("bits", "level"),
    [(-3.0, 0), (0.0, 0), (0.249, 0), (0.25, 1), (0.5, 2), (1.0, 3), (2.0, 4), (4.0, 5), (8.0, 6), (1e9, 6)],
)
def test_levels(bits, level):
    assert runs((b"x", bits)) == [Run("x", level)]


def test_a_character_of_several_tokens_costs_the_mean_of_its_bytes():
    assert runs((b"\xc3", 6.0), (b"\xa9!", 1.0)) == [Run("\u00e9", 4), Run("!", 2)]


def test_what_was_given_has_no_price():
    assert runs((b"given ", None), (b"\xc3", None), (b"\xa9", 3.0)) == [Run("given ", UNPAID), Run("\u00e9", 4)]


def test_tokens_that_spell_nothing_are_marks_of_their_own():
    found = runs((b"", 5.0, "<s>"), (b"ab", 1.0), (b"", 0.1, ""), (b"", None, "</s>"))
    assert found == [Run("<s>", 5, is_mark=True), Run("ab", 2), Run("</s>", UNPAID, is_mark=True)]


def test_bytes_that_are_no_utf_8_and_new_lines_are_shown():
    assert runs((b"a\xffb\n\xe2\x82", 0.0)) == [Run("a<\\xFF>b\u21b5\n<\\xE2><\\x82>", 0)]


def test_a_mark_inside_a_character_stands_before_it():
    assert runs((b"\xc3", 1.0), (b"", 9.0, "<s>"), (b"\xa9", 1.0)) == [Run("<s>", 6, is_mark=True), Run("\u00e9", 3)]


def test_an_empty_excerpt_has_no_runs():
    assert runs() == []
