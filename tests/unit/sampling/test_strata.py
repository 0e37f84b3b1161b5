"""Random halving: a permutation, uniform, and even at every scale."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from bpb_harness.statistics.random_halving import num_depths, random_halving_ranks


def _random_ranks(count: int, rng: np.random.Generator) -> np.ndarray:
    return random_halving_ranks(count, lambda _: rng.integers(2, size=count))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 64, 693])
def test_it_is_a_permutation(count: int) -> None:
    ranks = _random_ranks(count, np.random.default_rng(count))
    assert sorted(ranks) == list(range(count))


def test_four_windows_by_hand() -> None:
    """Pairs (0, 1) and (2, 3): coins 1 and 0 send windows 1 and 2 down; coins 0 and 1 then order the halves."""
    tossed = {0: [1, 0, 0, 0], 1: [0, 1, 0, 0], 2: [0, 0, 0, 0]}
    assert random_halving_ranks(4, lambda depth: np.array(tossed[depth])).tolist() == [3, 0, 1, 2]


def _halve(members: list[int], ranks: list[int], tossed: dict[int, list[int]], depth: int = 0) -> dict[int, int]:
    """The same, written as a recursion that takes the coins of its depth from the front."""
    if len(members) == 1:
        return {members[0]: ranks[0]}
    down, up = [], []
    for one, other in zip(members[::2], members[1::2], strict=False):
        low, high = (other, one) if tossed[depth].pop(0) else (one, other)
        down.append(low)
        up.append(high)
    up += members[-1:] if len(members) % 2 else []
    below = _halve(down, ranks[: len(down)], tossed, depth + 1)
    return below | _halve(up, ranks[len(down) :], tossed, depth + 1)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 64, 101])
def test_it_is_the_recursion(count: int) -> None:
    tossed = np.random.default_rng(count).integers(2, size=(12, count))
    ranks = _halve(list(range(count)), list(range(count)), dict(enumerate(tossed.tolist())))
    assert random_halving_ranks(count, lambda depth: tossed[depth]).tolist() == [ranks[i] for i in range(count)]


def test_every_run_of_neighbours_is_spread_over_every_scale() -> None:
    """2^s neighbours, aligned, put one window into each 2^-s of the ranks: a stratified sample of its own."""
    ranks = _random_ranks(256, np.random.default_rng(0))
    for pair in ranks.reshape(-1, 2) // 128:
        assert sorted(pair) == [0, 1]
    for quarter in range(4):
        inside = np.flatnonzero(ranks // 64 == quarter)
        # One of each four neighbours, wherever the coins put it: never two of one pair, never none of eight.
        assert len(set(inside // 2)) == 64
        assert np.diff(inside).max() < 16


@pytest.mark.parametrize("count", [8, 7])
def test_ranks_are_uniform_after_a_shift(count: int) -> None:
    """Chi-square over 1,500 permutations with a fixed seed; false alarm 1e-4 a window."""
    rng = np.random.default_rng(12)
    shifts = rng.integers(count, size=1500)
    ranks = np.array([(_random_ranks(count, rng) + shift) % count for shift in shifts])
    for window in range(count):
        assert stats.chisquare(np.bincount(ranks[:, window], minlength=count)).pvalue > 1e-4


def test_windows_that_are_no_neighbours_are_uncorrelated() -> None:
    """Correlation of ranks over 1,500 permutations of 32; false alarm 1e-4 in all. Neighbours are opposed instead."""
    rng = np.random.default_rng(3)
    ranks = np.array([_random_ranks(32, rng) for _ in range(1500)])
    correlation = np.corrcoef(ranks.T)
    for a, b in itertools.combinations(range(32), 2):
        if a // 2 == b // 2:
            assert correlation[a, b] < -0.5
        elif b - a > 8:
            assert abs(correlation[a, b]) < 5.5 / np.sqrt(1500)


def _by_recursion(
    members: list[int], first: int, depth: int, offsets: dict[int, int], tossed: dict, ranks: dict
) -> None:
    """The same permutation group by group; the groups of a depth take its coins from left to right."""
    if len(members) == 1:
        ranks[members[0]] = first
        return
    half = len(members) // 2
    start = offsets.get(depth, 0)
    offsets[depth] = start + half
    low, high = [], []
    for pair in range(half):
        two = members[2 * pair : 2 * pair + 2]
        coin = tossed[depth][start + pair]
        low.append(two[coin])
        high.append(two[1 - coin])
    _by_recursion(low, first, depth + 1, offsets, tossed, ranks)
    _by_recursion(high + members[2 * half :], first + half, depth + 1, offsets, tossed, ranks)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 13, 32, 100, 4097])
def test_every_group_has_coins_of_its_own(count: int) -> None:
    """Of 4,097 windows, what a depth does to their number is made anew and not kept."""
    rng = np.random.default_rng(count)
    tossed = {depth: rng.integers(2, size=count) for depth in range(num_depths(count))}
    ranks: dict[int, int] = {}
    _by_recursion(list(range(count)), 0, 0, {}, tossed, ranks)
    assert random_halving_ranks(count, lambda depth: tossed[depth]).tolist() == [ranks[i] for i in range(count)]
