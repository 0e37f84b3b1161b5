"""The mean measured again where an estimator's single draws look unusual: other denoisers, batches and windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.testing.evidence import combine
from bpb_harness.testing.known_mistakes import Setting
from bpb_harness.testing.long_windows import CALLS as LONG_CALLS
from bpb_harness.testing.long_windows import LongWindows
from bpb_harness.testing.probes import CountProbe, OutlyingRowProbe, Probe
from bpb_harness.testing.runs import Estimator, ProbeResult, Run, unusable
from bpb_harness.testing.suspicions import (
    FITTED,
    NONLINEAR,
    SIZED,
    BoundedWeight,
    SingleWeights,
    Suspicions,
    bounded_weight,
    rows_go_together,
)
from bpb_harness.testing.watch import WatchedDenoiser

Floats = npt.NDArray[np.float64]

RARE_COST = 80.0
"""Nats of a token in costs that are to be large: more than log(p + 1e-30) or a cap on losses lets through, less than
the 87 at which float32 probabilities lose digits."""

SMALL_BATCHES = {5: 6, 61: 9}
"""Rows of a batch, and calls for each usual one: what is fitted to a batch's own draws, or to 64 of them, is off by
about one over their number."""

PAIRS = 4
"""Calls with two rows for each usual one."""

LONG_FROM = 600
"""Calls for a denoiser from which on long windows are tried without a reason."""


@final
@dataclass
class CloserLook:
    """What the extra draws say.

    Attributes:
        runs: denoisers whose masks can be enumerated, with the estimates on them.
        long: what was measured on long windows, if they were tried.
        evidence: logarithm of an e-value for all extra draws together.
        diagnosis: the property that chose the denoiser with the strongest evidence, in words, or None.
        bounded: the largest weight, where weights are bounded and the mean on long windows does not say whether that is
            a mistake.
        failed: denoisers on which it gave no estimates, and why.
        notes: what could not be tried.
    """

    runs: list[Run] = field(default_factory=list)
    long: ProbeResult | None = None
    evidence: float = 0.0
    diagnosis: str | None = None
    bounded: BoundedWeight | None = None
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def look_closer(
    estimate_nats: Estimator,
    suspicions: Suspicions,
    setting: Setting,
    runs: list[Run],
    *,
    special_ids: tuple[int, ...],
    calls: int,
    generator: torch.Generator,
) -> CloserLook:
    """Draw again where ``suspicions`` points.

    Args:
        estimate_nats: the estimator under test.
        suspicions: what its single draws look like.
        setting: what it is meant to estimate.
        runs: the denoisers on which it has been run.
        special_ids: ids with which windows begin.
        calls: calls for a denoiser with the usual batch.
        generator: of the draws.
    """
    look = CloserLook()
    found: list[tuple[float, str]] = []
    if suspicions.nonlinear:
        probes = [(probe, calls) for probe in nonlinear_probes(runs[0].probe)]
        found.append((_run_all(look, estimate_nats, setting, probes, generator), NONLINEAR))
    if suspicions.dependent:
        num_special = len(setting.special_positions)
        probes = [
            (OutlyingRowProbe.beside(runs[0].probe, num_special), calls),
            *small_batch_probes(runs[0].probe, calls),
        ]
        found.append((_run_all(look, estimate_nats, setting, probes, generator), FITTED))
    elif suspicions.coupled:
        probes = list(smallest_batch_probes(runs[0].probe, calls))
        found.append((_run_all(look, estimate_nats, setting, probes, generator), SIZED))
    if suspicions.bounded is not None or (suspicions.unbounded and calls >= LONG_FROM):
        evidence = _run_long(look, estimate_nats, setting, runs, special_ids, generator, suspicions.bounded)
        found.append((evidence, look.bounded.in_words if look.bounded else ""))
    if found:
        look.evidence = combine([np.array([[evidence]]) for evidence, _ in found])
        look.diagnosis = max(found, key=lambda item: item[0])[1] or None
    return look


def nonlinear_probes(like: Probe) -> Iterator[Probe]:
    """Costs of 80 nats: on about one mask in ten, on one in forty, on all."""
    length = like.x0.shape[1]
    count = min(2, length - 1)  # small times, where weights are large, hardly mask two tokens: the tail is light
    masks = math.comb(length, count)
    numbers = sorted({max(1, round(masks * length / share)) for share in (10, 40)}, reverse=True)
    for most in numbers:
        yield CountProbe(
            name=f"{most} of the {masks} masks of {count} tokens, {RARE_COST:g} nats a token",
            x0=like.x0, vocab_size=like.vocab_size, mask_column=like.mask_column,
            counts=frozenset([count]), tilt=RARE_COST, most_masks=most,
        )  # fmt: skip
    yield CountProbe(
        name=f"every masked token alike, {RARE_COST:g} nats", x0=like.x0, vocab_size=like.vocab_size,
        mask_column=like.mask_column, counts=frozenset(range(1, length + 1)), tilt=RARE_COST,
    )  # fmt: skip


def small_batch_probes(like: Probe, usual: int) -> Iterator[tuple[Probe, int]]:
    """Numbers of masked tokens near the middle, where a line fitted to a batch's own draws is too high; and calls."""
    for batch, times in SMALL_BATCHES.items():
        yield (
            _in_batches(like, _middle(like.x0.shape[1]), "numbers of masked tokens near the middle", batch),
            times * usual,
        )


def smallest_batch_probes(like: Probe, usual: int) -> Iterator[tuple[Probe, int]]:
    """One masked token, where weights are largest, all of them, and the middle, in pairs of rows; and calls."""
    length = like.x0.shape[1]
    for counts, name in (
        ([1], "a single masked token"),
        ([length], f"all {length} tokens masked"),
        (_middle(length), "numbers of masked tokens near the middle"),
    ):
        yield _in_batches(like, counts, name, 2), PAIRS * usual


def _middle(length: int) -> list[int]:
    nearest = sorted(range(1, length + 1), key=lambda count: abs(count - (length + 1) / 2))
    return nearest[: max(1, length // 2)]


def _in_batches(like: Probe, counts: list[int], name: str, batch: int) -> Probe:
    return CountProbe(
        name=f"{name}, in batches of {batch}", x0=like.x0[:1].repeat(batch, 1), vocab_size=like.vocab_size,
        mask_column=like.mask_column, counts=frozenset(counts),
    )  # fmt: skip


def _run_all(
    look: CloserLook,
    estimate_nats: Estimator,
    setting: Setting,
    probes: list[tuple[Probe, int]],
    generator: torch.Generator,
) -> float:
    drawn: list[Run] = []
    for probe, calls in probes:
        run = Run(setting, probe)
        try:
            run.draw(estimate_nats, calls, generator)
        except Exception as error:  # an estimator for batches of one size is none for others, and not wrong by that
            look.failed.append(f"{probe.name}: {type(error).__name__}: {error}")
            continue
        if run.failure is not None:  # a fit to four other draws may be singular: no estimate, and no wrong one
            look.failed.append(f"{probe.name}: {run.failure}")
            continue
        drawn.append(run)
    look.runs += drawn
    return evidence_one_by_one(drawn)


def evidence_one_by_one(runs: list[Run]) -> float:
    """Logarithm of the average of the e-values of each denoiser, without their product."""
    if any(run.is_constant_and_wrong for run in runs):
        return math.inf
    groups = [group for run in runs if not run.is_constant for group in (*run.batch_evidence, *run.row_evidence)]
    return combine(groups) if groups else 0.0


def _run_long(
    look: CloserLook,
    estimate_nats: Estimator,
    setting: Setting,
    runs: list[Run],
    special_ids: tuple[int, ...],
    generator: torch.Generator,
    bounded: BoundedWeight | None,
) -> float:
    look.bounded = bounded
    if rows_go_together(runs) > 0:
        if bounded:
            look.notes.append("rows of a batch go up and down together: whether weights are clipped was not looked for")
        return 0.0
    long = LongWindows(setting, special_ids, mask_column=runs[0].probe.mask_column)
    denoise = WatchedDenoiser(long.probe)
    rows = []
    for _ in range(LONG_CALLS):
        try:
            answer = estimate_nats(denoise, long.probe.x0.clone(), generator)
        except Exception as error:  # an estimator for windows of one length is none for others, and not wrong by that
            look.notes.append(f"clipped weights not looked for on {long.probe.name}: {type(error).__name__}: {error}")
            return 0.0
        failure = unusable(answer, len(long.probe.x0))
        if failure is not None:
            look.notes.append(f"clipped weights not looked for on {long.probe.name}: {failure}")
            return 0.0
        rows.append(answer.detach().double().cpu().numpy())
    estimates = np.stack(rows)
    look.long = ProbeResult.measured(long.probe.name, long.exact_nats, estimates.mean(axis=1))
    rows_per_estimate = max(denoise.num_rows / estimates.size, 1.0)
    weights = SingleWeights(long.weights(estimates) * rows_per_estimate, rows_per_estimate)
    look.bounded = bounded or bounded_weight(setting, weights, long.length)
    if look.bounded and long.is_too_high_for_clipped(look.long, look.bounded.largest):
        look.bounded = None  # times drawn by another law, with the weights that belong to them
    return combine(long.evidence(estimates))
