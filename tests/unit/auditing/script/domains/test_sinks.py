"""Which place of a script prints a log's line."""

from __future__ import annotations

import ast

import pytest

from bpb_harness.auditing.script.domains.sinks import Sink, find_sinks
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script


@pytest.mark.parametrize(
    ("printed", "label", "is_it"),
    [
        ("final_exact val_bpb:", "final_exact", True),
        ("final_exact val_bpb:", "final", False),
        ("final_window_ngram # _exact val_bpb:", "final_window_ngram7_exact", True),
        ("final_window_ngram # _exact val_bpb:", "final_window_ngram12_exact", True),
        ("final_window_ngram # _exact val_bpb:", "final_window_ngram7", False),  # that of another line
        ("final_window_ngram # _exact val_bpb:", "final_window_exact", False),
        ("final_window_ngram # _partial_exact val_bpb:", "final_window_ngram7_exact", False),
        ("final_ngram # _of # _exact val_bpb:", "final_ngram7_of9_exact", True),
        ("final_window # _exact val_bpb:", "final_window+slot8steps_exact", True),
        ("final_window # _exact val_bpb:", "final_window+slot8+more_exact", False),
        ("final_ngram  #  _exact val_bpb:", "final_ngram7_exact", False),  # blanks stand around the value
        ("n # _exact val_bpb:", "n7_exact", False),  # too little to tell
    ],
)
def test_a_value_inside_of_a_word_is_what_the_log_has_there(printed: str, label: str, is_it: bool) -> None:
    assert Sink(ast.Constant(1.0), "val_bpb", True, printed).is_printed_as(label) is is_it


def test_several_joined_words_are_one_value_where_nothing_else_prints_the_line() -> None:
    sink = Sink(ast.Constant(1.0), "val_bpb", True, "final_window_ # _exact val_bpb:")
    assert sink.is_printed_as("final_window_backoff2to7_exact")
    assert not sink.is_printed_as("final_window_ngram_backoff2to7_exact")
    assert sink.is_printed_as("final_window_ngram_backoff2to7_exact", loosely=True)
    assert not sink.is_printed_as("final_window_ngram_backoff2to7", loosely=True)


@pytest.mark.parametrize(
    ("held", "is_it"),
    [
        ('"final_exact"', True),
        ('"final_partial" if limit > 0 else "final_exact"', True),
        ('"a" if limit > 0 else "b" if limit else "final_exact"', True),
        ('"final_exact" if limit > 0 else name', False),  # whatever name is
        ('"final_partial_exact"', False),
        ('f"final_{limit}"', False),
        ("1.0", False),
        ("kept", False),  # a name of a name is not followed
        ('"final_exact"\ntag += "_of_a_part"', False),
    ],
)
def test_a_name_that_holds_texts_alone_is_what_a_line_begins_with(held: str, is_it: bool) -> None:
    line = 'print(f"{tag} val_loss:{score:.4f} val_bpb:{score:.8f}")'
    text = f'limit, name, score = 0, "x", 1.0\nkept = "final_exact"\ntag = {held}\n{line}'
    (sink,) = find_sinks(Program([Script("a.py", text, ast.parse(text))]))
    assert sink.is_printed_as("final_exact") is is_it


def test_a_name_that_is_handed_over_says_nothing_of_a_line() -> None:
    text = 'def show(tag, score):\n    print(f"{tag} val_bpb:{score:.8f}")\nshow("final_exact", 1.0)'
    (sink,) = find_sinks(Program([Script("a.py", text, ast.parse(text))]))
    assert not sink.variants
