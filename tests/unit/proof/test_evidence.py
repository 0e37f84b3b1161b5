"""What is to come back from a file of bits, where the text is there: only what the file's header and contexts fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bpb_harness.proof.evidence import _targets
from bpb_harness.text.spans import sliding

TOKENS = np.arange(100, 160)
SPANS = sliding(0, len(TOKENS), context_length=16, stride=4, given=0, tail="score")
CHOSEN = [1, 5]  # targets 16 .. 19 and 32 .. 35, each behind 12 tokens


def targets(**changes: Any) -> Any:
    """Of two spans that see twelve tokens each; what the header, the line or the file says may be changed."""
    found = {
        "num_spans": len(SPANS), "windows": CHOSEN, "lengths": [4, 4], "contexts": [12, 12],
        "num_tokens": len(TOKENS), "given": np.concatenate([TOKENS[4:16], TOKENS[20:32]]),
    } | changes  # fmt: skip
    text = SimpleNamespace(corpus=SimpleNamespace(read=lambda start, end: TOKENS[start:end]))
    given = found.pop("given")
    line = SimpleNamespace(num_tokens=found.pop("num_tokens"))
    return _targets(SimpleNamespace(**found), line, text, SPANS, given)  # type: ignore[arg-type]


def test_the_targets_are_those_of_the_text():
    assert targets().tolist() == [*TOKENS[16:20], *TOKENS[32:36]]


@pytest.mark.parametrize(
    "changes",
    [
        {"num_spans": len(SPANS) + 1},
        {"num_tokens": len(TOKENS) - 1},
        {"lengths": [4, 3]},
        {"contexts": [12, 11]},
        {"given": np.concatenate([TOKENS[4:16], TOKENS[20:31], TOKENS[32:33]])},  # which tells the first target
        {"given": np.concatenate([TOKENS[20:32], TOKENS[4:16]])},
    ],
)
def test_other_windows_or_other_tokens_before_them_are_no_proof_of_this_text(changes):
    assert targets(**changes) is None


def test_no_spans_by_the_settings_of_the_score():
    assert _targets(SimpleNamespace(), SimpleNamespace(), SimpleNamespace(), None, TOKENS) is None  # type: ignore[arg-type]
