"""Bits by position in the window: every token once, errors over windows."""

import math

import numpy as np
import pandas as pd
import pytest

from bpb_harness.report.by_position import bits_by_position


def tables(bits, *, starts=None, context=None, documents=None):
    """One window a row of bits."""
    lengths = [len(row) for row in bits]
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if starts is None else np.array(starts)
    tokens = pd.DataFrame(
        {
            "position": np.concatenate([a + np.arange(n) for a, n in zip(first, lengths, strict=True)]),
            "document": np.repeat(np.arange(len(bits)) if documents is None else documents, lengths),
            "window": np.repeat(np.arange(len(bits)), lengths),
            "share_bits": np.concatenate([np.asarray(row, float) for row in bits]),
        }
    )
    windows = pd.DataFrame({"window": np.arange(len(bits)), "start": first})
    if context is not None:
        windows["num_context"] = context
    return tokens, windows


def test_each_position_is_the_mean_over_windows():
    found = bits_by_position(*tables([[1, 2, 3], [3, 4, 5], [8, 0]]))
    assert [(each.first, each.last, each.num_tokens) for each in found] == [(0, 0, 3), (1, 1, 3), (2, 2, 2)]
    assert [each.bits_per_token for each in found] == [4.0, 2.0, 4.0]
    # deviations -3, -1, 4 over three windows; -1, 1 over two
    assert found[0].stderr == pytest.approx(math.sqrt(26 * 3 / 2) / 3)
    assert found[2].stderr == pytest.approx(math.sqrt(2 * 2 / 1) / 2)


def test_long_windows_are_cut_into_stretches_that_have_every_token_once():
    rng = np.random.default_rng(0)
    bits = [rng.exponential(size=200) for _ in range(7)] + [rng.exponential(size=60)]
    found = bits_by_position(*tables(bits))
    assert len(found) == 40
    assert (found[0].first, found[0].last, found[0].num_tokens) == (0, 4, 40)
    assert (found[-1].first, found[-1].last, found[-1].num_tokens) == (195, 199, 35)
    assert sum(each.num_tokens for each in found) == 1460
    total = sum(each.num_tokens * each.bits_per_token for each in found)
    assert total == pytest.approx(sum(row.sum() for row in bits), rel=1e-12)


def test_tokens_of_one_window_are_not_counted_as_independent():
    """Stretches of five tokens that are all alike within their window: the error is that of the windows."""
    rng = np.random.default_rng(1)
    level = rng.normal(size=50)
    found = bits_by_position(*tables([np.full(240, each) for each in level]))
    expected = level.std(ddof=1) / math.sqrt(50)
    assert all(each.stderr == pytest.approx(expected) for each in found)


def test_a_context_moves_the_positions_and_one_window_has_no_error():
    found = bits_by_position(*tables([[1, 2], [3, 4]], context=[0, 2]))
    assert [(each.first, each.bits_per_token, each.stderr) for each in found] == [
        (0, 1.0, None), (1, 2.0, None), (2, 3.0, None), (3, 4.0, None),
    ]  # fmt: skip


def test_of_answers_the_position_is_that_in_the_answer():
    """An answer of two spans goes on where the first ends; prompts lie between answers."""
    tokens, _ = tables([[1, 2], [3], [5, 6, 7]], starts=[4, 6, 20], documents=[0, 0, 1])
    found = bits_by_position(tokens, None)
    assert [(each.first, each.num_tokens, each.bits_per_token) for each in found] == [
        (0, 2, 3.0),
        (1, 2, 4.0),
        (2, 2, 5.0),
    ]
