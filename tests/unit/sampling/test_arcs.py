"""Arcs of a circle: each target hidden in one that is its own, and every other target there with probability u."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness.sampling.arcs import arcs, num_arcs
from bpb_harness.sampling.streams import RandomStreams

RATES = [1e-12, 0.01, 0.125, 0.3, 1 / 3, 0.5, 0.7, 1.0]


@pytest.mark.parametrize("rate", RATES)
def test_each_target_has_one_arc_that_hides_it(rate):
    for sample in range(20):
        within, places = RandomStreams(3).circle(5, sample, 12)
        assert 0.0 < within <= 1.0
        hidden, own = arcs(places, rate)
        assert own.sum(axis=0).tolist() == [1] * 12
        assert (hidden >= own).all()
        assert own.any(axis=1).all()
        assert len(own) == num_arcs(places, rate) <= min(12, 1 / rate + 1)


def test_a_place_at_a_border_is_in_its_own_arc():
    places = np.array([0.0, 0.1, 0.2, 0.3, 0.6, 0.7, 0.9, 1.0 - 2.0**-53])
    for rate in (0.1, 0.3, 0.7, 1 / 3):
        hidden, own = arcs(places, rate)
        assert (hidden >= own).all()
        assert own.sum() == len(places)


@pytest.mark.parametrize("rate", [0.15, 0.4, 0.75])
def test_others_are_hidden_with_the_mask_rate_whatever_the_own_place(rate):
    """3,000 rounds of 6 targets; each share within 4.5 standard errors: a false alarm once in 30,000 runs."""
    shares = {"early": [0, 0], "late": [0, 0]}
    pairs = np.zeros((2, 2))
    for sample in range(3_000):
        _, places = RandomStreams(1).circle(0, sample, 6)
        hidden, own = arcs(places, rate)
        mask = hidden[np.argmax(own[:, 0])]
        kept = shares["late" if places[0] > 1.0 - rate / 2 else "early"]
        kept[0] += int(mask[1])
        kept[1] += 1
        pairs[int(mask[1]), int(mask[2])] += 1
    for hits, count in shares.values():
        assert abs(hits / count - rate) < 4.5 * np.sqrt(rate * (1 - rate) / count)
    both = rate * rate
    assert abs(pairs[1, 1] / pairs.sum() - both) < 4.5 * np.sqrt(both * (1 - both) / pairs.sum())
