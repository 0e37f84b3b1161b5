"""Which place of a script prints a log's line."""

from __future__ import annotations

import ast

import pytest

from bpb_harness.auditing.script.domains.sinks import Sink


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
