"""When the gap between both bounds is called consistent with the curve, and in what units everything is said."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bpb_harness.estimators import DiscreteBound
from bpb_harness.evaluation import compare
from bpb_harness.evaluation.layout import Layout
from bpb_harness.result import Comparison
from bpb_harness.schedule import LogLinear
from bpb_harness.text.spans import Spans

BITS = 1.0 / math.log(2.0)
TOKENS, BYTES = 100, 250


class Curve:
    """A gap of 0.5 +- 0.01 nats a token at 8 steps, less at more, and no f(u) to speak of."""

    def riemann_gap(self, nodes, widths, low, high):
        assert (low, high) == (LogLinear().min_mask_rate, LogLinear().max_mask_rate)
        assert len(nodes) == len(widths)
        return 4.0 / len(nodes), 0.01

    def at(self, rates):
        return rates * 2.0, rates * 3.0


def compared(
    monkeypatch: pytest.MonkeyPatch, gap: float, *, stderr: float = 3.0, different: int = 48, steps: int = 8
) -> Comparison:
    lengths = np.full(10, TOKENS // 10)
    windows = Spans.without_context(np.arange(10) * 10, np.arange(10) * 10 + lengths)
    layout = Layout(windows, 10, np.full(10, BYTES // 10), counts_bytes=True, difficulty=np.zeros(10, np.int64))
    bound = DiscreteBound(LogLinear(), 1, steps)
    masked, plan = np.full(100, 4), SimpleNamespace(num_weighed=90)  # the last ten, which all differ, are replicates
    more = masked + np.concatenate([np.ones(different), np.zeros(90 - different), np.ones(10)])
    discrete: Any = SimpleNamespace(
        bound=bound, layout=layout, nats=300.0, draws="draws", passes=[None] * 3,
        table=SimpleNamespace(plan=plan, num_masked=more),
    )  # fmt: skip
    continuous: Any = SimpleNamespace(
        layout=layout, nats=250.0, draws="other draws", table=SimpleNamespace(plan=plan, num_masked=masked)
    )

    def paired(one, other, num_passes):
        assert (one, other, num_passes) == (discrete.draws, continuous.draws, 3)
        return gap, stderr

    def fit(one, other):
        assert (one, other) == (discrete, continuous)
        return Curve()

    monkeypatch.setattr(compare, "_fit", fit)
    monkeypatch.setattr(compare, "paired_gap", paired)
    return compare.compare_bounds(discrete, continuous)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize(("stderr", "combined"), [(3.0, math.hypot(3.0, 1.0)), (0.0, 1.0), (20.0, math.hypot(20, 1))])
def test_four_standard_errors_of_gap_and_curve_together_are_the_limit(monkeypatch, sign, stderr, combined):
    """The curve's error is a token's: over 100 tokens it is 1 nat."""
    for times, agrees in ((0.0, True), (3.99, True), (4.01, False), (100.0, False)):
        both = compared(monkeypatch, 50.0 + sign * times * combined, stderr=stderr)
        assert both.consistent is agrees
    assert both.threshold == 4.0


def test_too_few_draws_of_different_masks_give_no_verdict(monkeypatch):
    for gap in (50.0, 500.0):
        for different in (0, 24, 47):
            assert compared(monkeypatch, gap, different=different).consistent is None


def test_everything_is_said_in_bits_per_byte(monkeypatch):
    both = compared(monkeypatch, 55.0)
    per_byte = BITS / BYTES
    assert both.discrete == pytest.approx(300.0 * per_byte)
    assert both.mc == pytest.approx(250.0 * per_byte)
    assert both.gap_bits_per_byte == pytest.approx(55.0 * per_byte)
    assert both.gap_stderr == pytest.approx(3.0 * per_byte)
    assert both.predicted_gap_bits_per_byte == pytest.approx(50.0 * per_byte)
    assert both.predicted_gap_stderr == pytest.approx(1.0 * per_byte)
    steps, values = zip(*both.t_curve, strict=True)
    assert steps == (8, 16, 32, 64, 128, 256, 512, 1024, math.inf)
    gaps = [50.0 * 8.0 / step for step in steps[:-1]] + [0.0]
    assert list(values) == pytest.approx([(250.0 + gap) * per_byte for gap in gaps])
    assert [row[0] for row in both.f_curve] == [0.001, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999]
    assert [row[1:] for row in both.f_curve] == [
        pytest.approx((2.0 * rate * BITS, 3.0 * rate * BITS)) for rate, *_ in both.f_curve
    ]


def test_the_curve_of_a_schedule_that_ends_early_ends_there(monkeypatch):
    assert compare._f_table(Curve(), LogLinear(0.2)) == tuple(  # type: ignore[arg-type]
        pytest.approx((rate, 2.0 * rate * BITS, 3.0 * rate * BITS)) for rate in (0.001, 0.05, 0.1, 0.25, 0.5, 0.75)
    )


def test_the_curve_is_fitted_to_the_draws_of_both(monkeypatch):
    """Replicates are left out, and a rate is of a window of its length."""
    heard: list[Any] = []
    monkeypatch.setattr(compare.MaskedEntropyCurve, "fit", lambda *asked: heard.append(asked))

    def sampled(first: int) -> Any:
        window, rates = np.array([0, 1, 1]), np.array([0.1, 0.2, 0.3]) + first
        plan = SimpleNamespace(window=window, mask_rate=rates, num_weighed=2)
        table = SimpleNamespace(plan=plan, nats_per_masked=10.0 * rates)
        return SimpleNamespace(table=table, layout=SimpleNamespace(lengths=np.array([7, 9])))

    compare._fit(sampled(0), sampled(1))
    ((rates, nats, lengths, window),) = heard
    assert rates.tolist() == [0.1, 0.2, 1.1, 1.2]
    assert nats.tolist() == pytest.approx([1.0, 2.0, 11.0, 12.0])
    assert lengths.tolist() == [7.0, 9.0, 7.0, 9.0]
    assert window.tolist() == [0, 1, 0, 1]
