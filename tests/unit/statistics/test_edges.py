"""Standard errors against a second implementation in plain loops, and at the edges where the formulas change."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from bpb_harness.errors import NumericsError, UsageError
from bpb_harness.statistics.differences import paired_gap
from bpb_harness.statistics.standard_errors import (
    Draws,
    between_pass_stderr,
    confidence_interval,
    corpus_stderr,
    grid_stderr_nats,
    mc_stderr_nats,
    unexplained_variance,
)
from tests.oracles import errors as oracle


def sampled(
    num_windows: int,
    num_samples: int,
    *,
    seed: int = 0,
    noise: float = 0.5,
    main: float = 1.0,
    lean: float = 0.0,
    equal: bool = False,
    alike: float = 0.0,
    steps: int | None = None,
    replicates: int = 0,
) -> oracle.Sampled:
    """Windows of various lengths with a curve, a part of their own, a lean of their own, and noise.

    Of the last windows, ``replicates`` are drawn a second time.
    """
    rng = random.Random(seed)
    order = list(range(num_windows))
    rng.shuffle(order)
    draws, difficulty, tokens, num_bytes = [], [], [], []
    second: list[tuple[int, float, float, float]] = []
    own = 0.0
    for w in range(num_windows):
        length = 10 if equal else rng.randint(5, 15)
        inside = (order[w] + rng.random()) / num_windows
        hard = rng.gauss(0.0, 1.0)
        own = alike * own + math.sqrt(1 - alike**2) * rng.gauss(0.0, main)
        slope = rng.gauss(0.0, lean)
        places = [(k + (1 - inside if k % 2 else inside)) / num_samples for k in range(num_samples)]
        places += [rng.random()] * (w >= num_windows - replicates)
        of_window = []
        for v in places:
            level = v if steps is None else math.ceil(v * steps) / steps
            rate = 3 + 2 * level + level**3 + hard * (0.3 + 0.2 * level) + own + slope * (2 * level - 1)
            of_window.append((v, level, length * (rate + rng.gauss(0.0, noise))))
        second += [(w, *draw) for draw in of_window[num_samples:]]
        draws.append(of_window[:num_samples])
        difficulty.append(length * (4.0 if equal else 4.0 + hard))
        tokens.append(length)
        num_bytes.append(2 * length + (0 if equal else rng.randint(0, 6)))
    return oracle.Sampled(draws, difficulty, tokens, num_bytes, second)


def product(plain: oracle.Sampled, *, shuffled: bool = True) -> Draws:
    """The same as arrays, its rows in another order."""
    rows = [(w, k, *draw) for w, draws in enumerate(plain.draws) for k, draw in enumerate(draws)]
    if shuffled:
        random.Random(99).shuffle(rows)
    draws = _draws(plain, rows)
    if not plain.replicates:
        return draws
    second = [(w, len(plain.draws[w]), *draw) for w, *draw in plain.replicates]
    return replace(draws, replicates=_draws(plain, second[::-1] if shuffled else second))


def _draws(plain: oracle.Sampled, rows: list[tuple[float, ...]]) -> Draws:
    window, sample, v, level, nats = map(np.array, zip(*rows, strict=True))
    return Draws(
        window=window, sample=sample, v=v, value_nats=nats, difficulty=np.array(plain.difficulty),
        num_tokens=np.array(plain.num_tokens), num_bytes=np.array(plain.num_bytes), level=level,
    )  # fmt: skip


CASES = {
    "one draw, few windows": sampled(15, 1),
    "one draw, 16 windows": sampled(16, 1, seed=3, alike=0.9),
    "one draw, like neighbours": sampled(80, 1, seed=1, noise=0.3, alike=0.7),
    "one draw, nothing but like neighbours": sampled(120, 1, seed=2, noise=0.01, alike=0.999),
    "one draw, unlike neighbours": sampled(60, 1, seed=9),
    "one draw, some drawn again": sampled(60, 1, seed=22, replicates=25),
    "one draw, all drawn again, and alike": sampled(40, 1, seed=23, noise=0.2, replicates=40),
    "one draw, drawn again with nothing in common": sampled(50, 1, seed=24, main=0.0, replicates=20),
    "one draw and hardly any noise, drawn again": sampled(40, 1, seed=25, noise=0.01, replicates=30),
    "12 draws on a grid, some drawn again": sampled(12, 1, seed=26, steps=12, replicates=5),
    "two draws, of which drawing again says nothing new": sampled(60, 2, replicates=10),
    "two draws": sampled(60, 2),
    "two draws that lean": sampled(150, 2, seed=4, noise=0.1, main=0.1, lean=1.0),
    "two draws, no difficulty": sampled(50, 2, seed=5, equal=True),
    "three draws that lean": sampled(80, 3, seed=6, noise=0.3, lean=1.0),
    "five draws": sampled(40, 5, seed=7, noise=0.2, lean=0.5),
    "four draws that only lean": sampled(80, 4, seed=10, noise=0.02, lean=2.0),
    "two windows": sampled(2, 2),
    "11 draws": sampled(11, 1, seed=17),
    "12 draws, of which difficulty is fitted": sampled(12, 1, seed=18),
    "17 draws": sampled(17, 1, seed=19),
    "18 draws, of which its square is fitted": sampled(18, 1, seed=20),
    "9 pairs": sampled(9, 2, seed=21),
    "a grid of 12 steps": sampled(90, 1, seed=8, steps=12),
    "mirrored pairs on a grid": sampled(70, 2, seed=8, steps=12),
    "three draws on a grid": sampled(50, 3, seed=8, steps=20),
}
every_case = pytest.mark.parametrize("plain", CASES.values(), ids=CASES.keys())


@every_case
def test_what_the_fit_leaves_is_the_plain_one(plain):
    assert unexplained_variance(product(plain)) == pytest.approx(oracle.mc_variance(plain), rel=2e-8)


@every_case
def test_corpus_stderr_is_the_plain_one(plain):
    assert corpus_stderr(product(plain)) == pytest.approx(oracle.corpus_stderr(plain), rel=1e-8, abs=1e-12, nan_ok=True)


def test_windows_with_different_numbers_of_draws():
    plain = sampled(40, 3, seed=11)
    plain.draws[7] = plain.draws[7][:2]
    plain.draws[9] = plain.draws[9][:1]
    assert mc_stderr_nats(product(plain)) == pytest.approx(math.sqrt(oracle.mc_variance(plain)), rel=1e-8)
    assert corpus_stderr(product(plain)) == pytest.approx(oracle.corpus_stderr(plain), rel=1e-8)


def test_the_position_serves_where_there_is_no_level():
    plain = sampled(60, 2, seed=12)
    draws = product(plain)
    assert mc_stderr_nats(replace(draws, level=None)) == mc_stderr_nats(draws)


@pytest.mark.parametrize("num_samples", [1, 2, 3, 5, 6])
def test_a_single_level_tells_nothing_whatever_it_is(num_samples):
    """A bound of one step: nothing but the windows and their difficulty explains the draws."""
    draws = product(sampled(60, num_samples, seed=30, lean=1.0))
    errors = {mc_stderr_nats(replace(draws, level=np.full(len(draws.v), level))) for level in (0.5, 0.999, 0.7, 1.0)}
    assert max(errors) == pytest.approx(min(errors), rel=1e-9)


@pytest.mark.parametrize("num_samples", [1, 2, 3])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_levels_that_roundings_part_are_one(num_samples, steps):
    draws = product(sampled(60, num_samples, seed=31, steps=steps, lean=0.5))
    assert draws.level is not None
    rounded = draws.level * (1.0 - 1e-12 * np.random.default_rng(0).random(len(draws.v)))
    for error in (mc_stderr_nats, corpus_stderr):
        assert error(replace(draws, level=rounded)) == pytest.approx(error(draws), rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("num_samples", [1, 2, 3])
def test_arrays_of_narrow_types_are_summed_in_float64(num_samples):
    draws = product(sampled(60, num_samples, seed=16, noise=0.1, lean=1.0))
    names = ("v", "level", "value_nats", "difficulty", "num_tokens", "num_bytes")
    narrow = replace(draws, **{name: getattr(draws, name).astype(np.float32) for name in names})
    wide = replace(draws, **{name: getattr(narrow, name).astype(np.float64) for name in names})
    for error in (mc_stderr_nats, corpus_stderr):
        assert error(narrow) == pytest.approx(error(wide), rel=1e-13, nan_ok=True)
    counts = {name: getattr(draws, name).astype(np.int8) for name in ("num_tokens", "num_bytes")}
    for error in (mc_stderr_nats, corpus_stderr):
        assert error(replace(draws, **counts)) == pytest.approx(error(draws), rel=1e-13, nan_ok=True)


@pytest.mark.parametrize("num_samples", [1, 2, 3])
@pytest.mark.parametrize("lean", [0.0, 1.0])
def test_the_unit_of_length_does_not_matter(num_samples, lean):
    draws = product(sampled(60, num_samples, seed=32, noise=0.2, lean=lean))
    small = replace(
        draws, num_tokens=draws.num_tokens / 1e3, value_nats=draws.value_nats / 1e3, difficulty=draws.difficulty / 1e3
    )
    for error in (mc_stderr_nats, corpus_stderr):
        assert error(small) == pytest.approx(error(draws) / 1e3, rel=1e-9, nan_ok=True)


def test_one_draw_of_one_window_tells_nothing_of_its_error():
    with pytest.raises(UsageError) as caught:
        mc_stderr_nats(product(sampled(1, 1)))
    expected = "expected two draws or more; pass --samples 2 or more text"
    assert str(caught.value) == f"sampling error of one draw of one window: {expected}"


@pytest.mark.parametrize("count", [2, 3, 7, 8, 100, 101, 250, 275])
def test_corpus_stderr_of_exact_scores(count):
    rng = random.Random(count)
    draws = [[(0.5, 0.5, 30 + rng.gauss(0, 3))] for _ in range(count)]
    plain = oracle.Sampled(draws, [1.0] * count, [10] * count, [rng.randint(10, 30) for _ in range(count)])
    assert corpus_stderr(product(plain, shuffled=False)) == pytest.approx(oracle.corpus_stderr(plain), rel=1e-9)


@pytest.mark.parametrize("nodes", [3, 4, 5, 7, 8, 9, 16])
@pytest.mark.parametrize("windows", [1, 6])
@pytest.mark.parametrize("with_level", [True, False])
def test_grid_stderr_is_the_plain_one(nodes, windows, with_level):
    rng = random.Random(nodes)
    levels = sorted(rng.random() for _ in range(nodes))
    values = [[rng.gauss(3.0, 1.0) for _ in levels] for _ in range(windows)]
    weights = [[rng.random() for _ in levels] for _ in range(windows)]
    v = np.tile(levels, windows)
    draws = Draws(
        window=np.repeat(np.arange(windows), nodes), sample=np.tile(np.arange(nodes), windows),
        v=v**2 if with_level else v, value_nats=np.array(values).ravel(), difficulty=np.ones(windows),
        num_tokens=np.ones(windows), num_bytes=np.ones(windows), level=v if with_level else None,
    )  # fmt: skip
    expected = math.sqrt(oracle.grid_variance(values, weights))
    assert grid_stderr_nats(draws, np.array(weights).ravel()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_grid_of_one_or_two_nodes_counts_what_difficulty_does_not_explain(nodes):
    plain = sampled(30, nodes, seed=13)
    draws = product(plain, shuffled=False)
    weight = np.linspace(0.5, 1.0, 30 * nodes)
    residual, *_ = oracle.regression(plain)
    tokens = [plain.num_tokens[w] for w, *_ in plain.rows()]
    expected = math.sqrt(math.fsum((m * r * n) ** 2 for m, r, n in zip(weight, residual, tokens, strict=True)))
    assert grid_stderr_nats(draws, weight) == pytest.approx(expected, rel=1e-8)


def test_window_nats_are_means_over_draws():
    draws = Draws(
        window=np.array([2, 0, 2, 1]), sample=np.array([0, 0, 1, 0]), v=np.full(4, 0.5),
        value_nats=np.array([1.0, 5.0, 4.0, 7.0]), difficulty=np.ones(3), num_tokens=np.ones(3), num_bytes=np.ones(3),
    )  # fmt: skip
    assert draws.num_windows == 3
    assert draws.window_nats.tolist() == [5.0, 7.0, 2.5]
    assert draws.window_nats.dtype == np.float64


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_draws_that_are_no_numbers(bad):
    draws = product(sampled(5, 1))
    values = draws.value_nats.copy()
    values[3] = bad
    with pytest.raises(NumericsError) as caught:
        replace(draws, value_nats=values)
    assert str(caught.value) == "values of draws: got NaN or infinity, expected finite nats"


@pytest.mark.parametrize("name", ["window", "sample", "v", "value_nats", "difficulty", "num_tokens", "num_bytes"])
def test_arrays_of_other_lengths_are_a_programmers_mistake(name):
    draws = product(sampled(5, 2))
    with pytest.raises(AssertionError):
        replace(draws, **{name: getattr(draws, name)[:-1]})


class TestPairedGap:
    def test_the_gap_and_its_error_are_those_of_the_differences(self):
        mc, other = sampled(60, 2, seed=14), sampled(60, 2, seed=15)
        plain = oracle.Sampled(
            [
                [(v, v, b - a) for (v, _, a), (_, _, b) in zip(*both, strict=True)]
                for both in zip(mc.draws, other.draws, strict=True)
            ],
            mc.difficulty, mc.num_tokens, mc.num_bytes,
        )  # fmt: skip
        ours = product(mc)
        discrete = replace(ours, value_nats=product(plain).value_nats + ours.value_nats)
        gap, stderr = paired_gap(discrete, ours)
        sums = [sum(nats for _, _, nats in draws) / 2 for draws in plain.draws]
        assert gap == pytest.approx(math.fsum(sums), rel=1e-12)
        assert stderr == pytest.approx(math.sqrt(oracle.mc_variance(plain)), rel=1e-8)

    def test_replicates_are_compared_too(self):
        mc, other = sampled(60, 1, seed=14, replicates=30), sampled(60, 1, seed=15, replicates=30)
        ours, theirs = product(mc), product(other)
        assert ours.replicates is not None
        assert theirs.replicates is not None
        second = replace(theirs.replicates, v=ours.replicates.v, level=ours.replicates.v)
        discrete = replace(theirs, v=ours.v, level=ours.v, replicates=second)
        away = replace(
            ours, value_nats=discrete.value_nats - ours.value_nats,
            replicates=replace(ours.replicates, value_nats=second.value_nats - ours.replicates.value_nats),
        )  # fmt: skip
        assert paired_gap(discrete, ours)[1] == pytest.approx(mc_stderr_nats(away), rel=1e-12)

    @pytest.mark.parametrize("change", ["none", "v", "fewer"])
    def test_replicates_at_other_places_are_refused(self, change):
        draws = product(sampled(40, 1, replicates=20))
        second = draws.replicates
        rows = slice(0, 10) if change == "fewer" else slice(None)
        columns = {name: getattr(second, name)[rows] for name in ("window", "sample", "v", "value_nats", "level")}
        columns |= {"v": second.v[::-1]} if change == "v" else {}
        other = replace(draws, replicates=None if change == "none" else replace(second, **columns))
        with pytest.raises(UsageError, match="not measured with the same draws"):
            paired_gap(other, draws)

    @pytest.mark.parametrize("name", ["window", "sample", "v"])
    def test_draws_at_other_places_are_refused(self, name):
        draws = product(sampled(20, 2))
        with pytest.raises(UsageError) as caught:
            paired_gap(replace(draws, **{name: getattr(draws, name)[::-1]}), draws)
        assert str(caught.value) == "the two bounds were not measured with the same draws; pass --compare"

    def test_other_numbers_of_draws_are_refused(self):
        draws = product(sampled(20, 2))
        rows = {name: getattr(draws, name)[:-1] for name in ("window", "sample", "v", "value_nats", "level")}
        with pytest.raises(UsageError):
            paired_gap(replace(draws, **rows), draws)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 2.0])
def test_a_confidence_level_lies_between_0_and_1(level):
    with pytest.raises(AssertionError):
        confidence_interval(0.0, 1.0, level)


def test_intervals_by_level_and_degrees_of_freedom():
    assert confidence_interval(1.0, 2.0, 0.9) == pytest.approx((1 - 2 * 1.6448536, 1 + 2 * 1.6448536), abs=1e-6)
    assert confidence_interval(0.0, 1.0, 0.9, degrees_of_freedom=1)[1] == pytest.approx(6.3137515, abs=1e-6)


def test_errors_between_two_passes():
    assert between_pass_stderr([1.0, 4.0]) == pytest.approx(1.5)
    assert math.isnan(between_pass_stderr([]))
