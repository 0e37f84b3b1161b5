"""What a table of denominators tells of a text whose tokenizer it does not know, and what it does not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bpb_harness.rules.denominators import FULL, OLDER_EXPORT, PREFIX, Denominator, DenominatorTable

POND = Denominator("pond", "sp1024", FULL, 1000, 2400, 2.4)
FINER = replace(POND, tokenizer="sp2048", num_tokens=800, bytes_per_token=3.0)
LAKE = replace(POND, dataset="lake", num_bytes=9900, bytes_per_token=9.9)


def test_the_bytes_of_a_split_are_those_of_its_whole_rows() -> None:
    """Not of another text's, and not of a part of it or another export."""
    parts = [replace(POND, scope=scope, num_bytes=1200) for scope in (PREFIX, OLDER_EXPORT)]
    found = DenominatorTable((*parts, LAKE, POND, FINER)).split_of_size(600, "pond", "frogs")
    assert found == Denominator("pond", "frogs", FULL, 600, 2400, 4.0)
    assert DenominatorTable((LAKE, *parts)).split_of_size(600, "pond", "frogs") is None
    assert DenominatorTable((POND, replace(FINER, num_bytes=2401))).split_of_size(600, "pond", "frogs") is None
    assert DenominatorTable((replace(POND, num_bytes=None),)).split_of_size(600, "pond", "frogs") is None


@pytest.mark.parametrize(
    ("num_tokens", "ratio"),
    [(0, None), (299, None), (300, 8.0), (2399, 2400 / 2399), (2400, None), (2401, 2400 / 2401), (2667, None)],
)
def test_a_number_of_tokens_that_cannot_be_the_splits(num_tokens: int, ratio: float | None) -> None:
    """Eight bytes a token at most, 0.9 at least, and as many tokens as bytes is another export."""
    found = DenominatorTable((POND,)).split_of_size(num_tokens, "pond", "frogs")
    assert (None if found is None else found.bytes_per_token) == ratio


def test_the_loss_of_an_untrained_network_lies_on_the_line_between_two_vocabularies() -> None:
    two, one = DenominatorTable((FINER, POND)), DenominatorTable((POND,))
    assert two.bits_of_untrained("sp4096", 99.0) == 12.0
    assert two.bits_of_untrained(None, 2.7) == pytest.approx(10.5)
    assert two.bits_of_untrained(None, 3.3) == pytest.approx(11.5)
    assert two.usual_bytes_per_token(10.25) == pytest.approx(2.55)
    assert one.bits_of_untrained(None, 2.4) is None
    third = replace(POND, tokenizer="sp8192", num_tokens=600, bytes_per_token=4.0)
    assert DenominatorTable((third, FINER, POND)).bits_of_untrained(None, 2.4) == math.log2(1024)
    assert DenominatorTable((third, FINER, POND)).bits_of_untrained(None, 3.5) == pytest.approx(12.0)
