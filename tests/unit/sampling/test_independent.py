"""The independent design: uniform, no draw tells of another, and every draw can be made again alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bpb_harness.errors import UsageError
from bpb_harness.sampling.design import IndependentDesign, mask_bits
from bpb_harness.sampling.streams import RandomStreams, words_of_many


def test_draws_are_uniform_and_independent_of_each_other():
    """4,000 spans of 4 draws; correlations and the mean within 4.5 of their errors: false alarm 1e-4 in all."""
    positions = IndependentDesign(RandomStreams(3), 4000, 4).positions
    assert positions.shape == (4000, 4)
    assert ((positions > 0.0) & (positions <= 1.0)).all()
    assert abs(positions.mean() - 0.5) < 4.5 * math.sqrt(1 / 12 / 16_000)
    deciles = np.bincount((positions.ravel() * 10).astype(int).clip(max=9))
    assert ((deciles - 1600) ** 2 / 1600).sum() < 40.0
    together = np.corrcoef(positions.T)
    assert np.abs(together[np.triu_indices(4, 1)]).max() < 4.5 / math.sqrt(4000)
    beside = np.corrcoef(positions[:-1, 0], positions[1:, 0])[0, 1]
    assert abs(beside) < 4.5 / math.sqrt(4000)


def test_a_draw_depends_on_the_seed_its_span_and_its_number_alone():
    few, many = IndependentDesign(RandomStreams(1), 3, 2), IndependentDesign(RandomStreams(1), 50, 7)
    assert (few.positions == many.positions[:3, :2]).all()
    assert not np.isin(few.positions, IndependentDesign(RandomStreams(2), 50, 7).positions).any()
    assert len(np.unique(many.positions)) == 350
    assert not len(few.replicated)
    assert not len(few.replicate_positions)
    assert few.positions[2, 1] == pytest.approx(IndependentDesign(RandomStreams(1), 3, 2).positions[2, 1], abs=0)


def test_positions_are_part_of_what_a_seed_means():
    """First word of NumPy's Philox, key (7, 8), counter (0, span, draw, 0): the purpose is number 8."""
    for span, draw in ((0, 0), (2, 0), (2, 3)):
        philox = np.random.Philox(key=np.array([7, 8], np.uint64), counter=np.array([0, span, draw, 0], np.uint64))
        raw = int(philox.random_raw()) >> 11
        assert IndependentDesign(RandomStreams(7), 3, 4).positions[span, draw] == raw * 2.0**-53 + 2.0**-54
        assert int(words_of_many((7, 8), np.array([span]), draw, 1)[0, 0]) >> 11 == raw


def test_no_draw_is_no_design():
    with pytest.raises(UsageError, match="number of samples K: got 0, expected 1 or more; pass --samples 2"):
        IndependentDesign(RandomStreams(0), 3, 0)


def test_masks_written_as_numbers():
    assert mask_bits(np.array([1, 6]), 3).tolist() == [[True, False, False], [False, True, True]]
