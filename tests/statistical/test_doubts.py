"""What ``check_elbo`` says of estimators that it cannot call wrong, and of rows that are treated differently."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from bpb_harness.errors import UsageError
from bpb_harness.schedule import LogLinear
from bpb_harness.testing import check_elbo
from bpb_harness.testing.batch_rows import TIED, TIED_OTHERWISE, tied_rows
from bpb_harness.testing.closer_look import CloserLook
from bpb_harness.testing.doubts import DOUBTFUL_P, doubts
from bpb_harness.testing.known_mistakes import Setting
from bpb_harness.testing.long_windows import LongWindows
from bpb_harness.testing.runs import ProbeResult, Run, make_runs
from bpb_harness.testing.suspicions import rows_go_together
from fixtures.adversarial.estimators.correct import (
    fixed_count,
    independent_times,
    several_draws,
    shared_time,
    stratified_times,
)
from tests.tiers import some_of, thorough

V = 3


def _masked_nats(denoise, x0, t, generator):
    masked = torch.rand(x0.shape, generator=generator, dtype=torch.float64) < t[:, None]
    logits = denoise(torch.where(masked, V, x0), t)
    nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
    return masked, (nats * masked).sum(1)


def _times(batch, generator):
    return 1 - torch.rand(batch, generator=generator, dtype=torch.float64)


def _clipped_late(most):
    def estimate(denoise, x0, generator):
        t = _times(len(x0), generator)
        return _masked_nats(denoise, x0, t, generator)[1] * (1 / t).clamp(max=most)

    return estimate


def _kept_above(least):
    def estimate(denoise, x0, generator):
        t = least + (1 - least) * _times(len(x0), generator)
        return (1 - least) * _masked_nats(denoise, x0, t, generator)[1] / t

    return estimate


# The other one stands in the gallery as well, with 0.002: tests/adversarial/test_gallery.py.
ENDING = [pytest.param(_clipped_late(500.0), id="clipped at 500"), pytest.param(_kept_above(0.001), id="above 0.001")]


@pytest.mark.parametrize("estimate", some_of(ENDING, everyday=1))
def test_weights_that_end_where_sampling_proves_nothing_are_suspicious(estimate) -> None:
    report = check_elbo(estimate)
    assert report.verdict == "correct"
    assert report.ok
    (said,) = report.suspicions
    assert re.search(r"no weight above \d+(\.\d)? was drawn", said), said
    assert re.search(r"z = -\d+\.\d on windows of 512 tokens", said), said
    assert "check_loss_weight" in said
    assert report.message.startswith("SUSPICIOUS, and not proved wrong")


@thorough(everyday="statistical/test_doubts.py::test_a_mean_on_long_windows_tells_a_warped_law_from_a_clipped_weight")
def test_weights_that_end_rightly_are_not_suspicious() -> None:
    """t = v^3 with weight 3 / v: bounded by comparison, and its mean on long windows is the bound."""

    calls = []

    def warped(denoise, x0, generator):
        calls.append(x0.shape)
        v = _times(len(x0), generator)
        return _masked_nats(denoise, x0, v**3, generator)[1] * 3 / v

    report = check_elbo(warped)
    assert report.verdict == "correct"
    assert report.suspicions == ()
    assert "windows of 512 tokens" in report.message, "it was looked at"
    assert sum(shape == (31, 4) for shape in calls) >= 6 * 645, "the full size"
    assert any(shape[1] == 512 for shape in calls)


def test_a_mean_on_long_windows_tells_a_warped_law_from_a_clipped_weight() -> None:
    long = LongWindows(Setting(LogLinear(), None, V, 4), (), mask_column=False)
    exact = long.exact_nats
    assert long.is_too_high_for_clipped(ProbeResult("", exact, exact, 0.02 * exact), 100.0)
    assert not long.is_too_high_for_clipped(ProbeResult("", exact, exact, 0.5 * exact), 100.0)  # says nothing
    assert not long.is_too_high_for_clipped(ProbeResult("", exact, 0.2 * exact, 0.02 * exact), 100.0)
    assert not long.is_too_high_for_clipped(ProbeResult("", exact, 0.9 * exact, 0.02 * exact), 100.0)  # z = -5


def _median_of_means(denoise, x0, generator):
    groups = [torch.stack([fixed_count(denoise, x0, generator) for _ in range(4)]).mean(0) for _ in range(3)]
    return torch.stack(groups).median(0).values


@thorough(everyday="statistical/test_doubts.py::test_several_draws_a_call_that_are_low_are_told_to_make_one")
def test_a_low_mean_of_several_draws_is_suspicious_and_told_what_to_run() -> None:
    report = check_elbo(_median_of_means, num_draws=3100)
    assert report.ok
    assert re.match(r"z = -\d+\.\d \(-\d+\.\d corrected for skewness\) on the denoiser", report.suspicions[0])
    assert "num_draws=31_000, seed=1" in report.suspicions[0]
    assert "one draw a call where it now makes 12" in report.suspicions[0]


def _runs_with(means, *, skew: bool = False) -> list[Run]:
    """Runs whose estimates are given: 400 calls with a spread of 0.1 a call, normal or with a heavy upper tail."""
    rng = np.random.default_rng(0)
    runs = make_runs(
        Setting(LogLinear(), None, V, 4), special_ids=(), mask_column=False, generator=torch.Generator().manual_seed(0)
    )
    for run, mean in zip(runs, means, strict=True):
        noise = rng.pareto(2.0, size=(400, 1)) - 1.0 if skew else rng.normal(size=(400, 1))
        noise = (noise - noise.mean()) / noise.std() * 0.1
        run.estimates = run.exact * (mean + noise)
    return runs


def test_z_decides_what_is_suspicious_and_p_as_well() -> None:
    right = _runs_with([1.0] * 6)
    assert doubts(right, CloserLook(), 1.0, num_draws=100, seed=3) == ()
    (by_z,) = doubts(_runs_with([1.0, 1.0, 0.97, 1.0, 1.0, 1.0]), CloserLook(), 1.0, num_draws=100, seed=3)
    assert re.match(
        r"z = -6\.0 \(-[56]\.\d corrected for skewness\) on the denoiser that charges for only windows with 3", by_z
    )
    assert by_z.endswith("Run it again with num_draws=1_000, seed=4")
    assert len(doubts(right, CloserLook(), DOUBTFUL_P, num_draws=100, seed=3)) == 1
    assert doubts(right, CloserLook(failed=["three rows: nan"]), 1.0, num_draws=100, seed=3)[0].startswith(
        "no estimates on three rows: nan"
    )


def test_several_draws_a_call_that_are_low_are_told_to_make_one() -> None:
    runs = _runs_with([1.0, 1.0, 0.97, 1.0, 1.0, 1.0])
    for run in runs:
        run.denoise.num_rows = 4 * run.estimates.size
    assert "one draw a call where it now makes 4" in doubts(runs, CloserLook(), 1.0, num_draws=100, seed=0)[0]


def test_a_skewed_mean_is_not_taken_for_a_low_one() -> None:
    """The same z of -5: with a heavy upper tail, a sample mean is often low and its standard error with it."""
    assert doubts(_runs_with([0.975] + [1.0] * 5), CloserLook(), 1.0, num_draws=100, seed=0)
    assert not doubts(_runs_with([0.975] + [1.0] * 5, skew=True), CloserLook(), 1.0, num_draws=100, seed=0)


def test_rounding_is_no_deviation() -> None:
    result = ProbeResult("", 1.0, 1.0 + 1e-6, 1e-12)
    assert abs(result.z) < 0.1
    assert result.z_of_skewed == 0.0
    assert math.isinf(ProbeResult("", 1.0, 1.1, 0.0).z_of_skewed)


# --- rows of a batch -----------------------------------------------------------------------------------------------


def _tied(order):
    def estimate(denoise, x0, generator):
        batch = len(x0)
        strata = torch.arange(batch) if order is None else order(batch)
        t = (strata + 1 - torch.rand(batch, generator=generator, dtype=torch.float64)) / batch
        return _masked_nats(denoise, x0, t, generator)[1] / t

    return estimate


def _golden(batch):
    """Strata in the order of multiples of the golden ratio: no trend along the batch, the same in every call."""
    return ((torch.arange(batch) * 0.6180339887) % 1).argsort()


@pytest.mark.parametrize(("order", "said"), [(None, TIED), (_golden, TIED_OTHERWISE)], ids=["in order", "golden ratio"])
def test_strata_tied_to_rows_are_shown_by_row_means_and_mended_in_words(order, said: str) -> None:
    report = check_elbo(_tied(order), num_draws=3100)
    assert report.diagnosis == said
    rows = [line.split() for line in report.evidence if re.match(r"\s+\d+\s", line)]
    assert len(rows) == 5
    masked, ratio = [float(row[1]) for row in rows], [float(row[2]) for row in rows]
    assert min(masked) < 0.4
    assert max(masked) > 3.6
    assert max(ratio) > 2 * min(ratio), "estimates of equal windows differ by row"
    assert "torch.randperm" in report.evidence[-1]
    assert "(i / B + u) % 1" in report.evidence[-1]
    assert all(line in report.message for line in report.evidence)


@thorough(everyday="statistical/test_false_alarm.py::test_e_values_of_correct_estimators")
def test_the_mends_in_words_are_right() -> None:
    def shifted(denoise, x0, generator):
        batch = len(x0)
        t = (torch.arange(batch) / batch + torch.rand(1, generator=generator, dtype=torch.float64)) % 1
        t = t.clamp(min=1e-9)
        return _masked_nats(denoise, x0, t, generator)[1] / t

    for estimate in (shifted, stratified_times):
        report = check_elbo(estimate, num_draws=3100)
        assert report.verdict == "correct", report.message
        assert report.evidence == ()


def test_rows_of_right_estimators_are_alike() -> None:
    for estimate in (independent_times(), stratified_times, several_draws):
        runs = _drawn(estimate, 60)
        assert tied_rows(runs) is None


def _drawn(estimate, calls: int) -> list[Run]:
    generator = torch.Generator().manual_seed(0)
    runs = make_runs(Setting(LogLinear(), None, V, 4), special_ids=(), mask_column=False, generator=generator)
    for run in runs:
        run.draw(estimate, calls, generator)
    return runs


def test_strata_and_normalised_weights_go_against_each_other() -> None:
    def normalised(denoise, x0, generator):
        t = _times(len(x0), generator)
        masked, nats = _masked_nats(denoise, x0, t, generator)
        return nats / t * x0.shape[1] / (masked.sum(1) / t).mean().clamp(min=1e-9)

    assert rows_go_together(_drawn(normalised, 300)) != 0
    assert rows_go_together(_drawn(independent_times(), 300)) == 0


def test_an_estimator_for_one_size_of_batch_is_not_wrong_by_that() -> None:
    def for_31(denoise, x0, generator):
        if len(x0) < 31:
            raise ValueError("31 rows or more")
        return shared_time(denoise, x0, generator)

    report = check_elbo(for_31, size="quick")
    assert report.ok
    assert "in batches of 2: ValueError: 31 rows or more" in report.suspicions[0]


# --- sizes ---------------------------------------------------------------------------------------------------------


def test_the_quick_size_is_of_few_draws_and_without_long_windows() -> None:
    """The full one is counted above, where weights that end rightly are not suspicious."""
    calls = []

    def estimate(denoise, x0, generator):
        calls.append(x0.shape)
        return independent_times()(denoise, x0, generator)

    assert check_elbo(estimate, size="quick").verdict == "correct"
    assert 6 * 200 <= sum(shape == (31, 4) for shape in calls) < 6 * 645
    assert not any(shape[1] > 4 for shape in calls)
    with pytest.raises(UsageError, match="size"):
        check_elbo(independent_times(), size="tiny")
