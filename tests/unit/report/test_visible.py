"""Text of strangers: what has no shape of its own is shown by its number."""

import pytest

from bpb_harness.report.visible import cut, visible

HOSTILE = "</style><script>alert(1)</script>\x00\x1b[31m\u202eright\u202c\u200b\ud800\ufeff\u2028\x85\U000e0041"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("a\x00b\x1b[31m\x7f\x85", "a<U+0000>b<U+001B>[31m<U+007F><U+0085>"),
        ("\u202eabc\u2066", "<U+202E>abc<U+2066>"),
        ("\u200b\u200d\ufeff\xad", "<U+200B><U+200D><U+FEFF><U+00AD>"),
        ("\ud800", "<U+D800>"),
        ("\u2028\u2029", "<U+2028><U+2029>"),
        ("\ue000\U000e0041\uffff", "<U+E000><U+E0041><U+FFFF>"),
        ("שלום \u3042 e\u0301 \xa0", "שלום \u3042 e\u0301 \xa0"),
    ],
)
def test_what_has_no_shape_is_shown(text, shown):
    assert visible(text) == shown


def test_a_text_is_cut_and_says_by_how_much():
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcdef ... (1 more characters)"
    assert cut("a" * 5_000, 10).endswith("a ... (4,990 more characters)")
