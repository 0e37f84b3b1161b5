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
from bpb_harness.testing.suspicions import FITTED, NONLINEAR, Suspicions
from bpb_harness.testing.watch import WatchedDenoiser

Floats = npt.NDArray[np.float64]

RARE_COST = 40.0
"""Nats of a token in costs that are to be large: more than log(p + 1e-10) or a cap on losses lets through, less than
the 87 at which float32 probabilities lose digits."""

SMALL_BATCHES = {5: 6, 61: 9}
"""Rows of a batch, and calls for each usual one: what is fitted to a batch's own draws, or to 64 of them, is off by
about one over their number."""

_SHARED = 0.02  # correlation between the rows of a batch


@final
@dataclass
class CloserLook:
    """What the extra draws say.

    Attributes:
        runs: denoisers whose masks can be enumerated, with the estimates on them.
        long: what was measured on long windows, if they were tried.
        evidence: logarithm of an e-value for all extra draws together.
        diagnosis: the property that chose the denoiser with the strongest evidence, in words, or None.
        notes: what could not be tried.
    """

    runs: list[Run] = field(default_factory=list)
    long: ProbeResult | None = None
    evidence: float = 0.0
    diagnosis: str | None = None
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
    if suspicions.bounded is not None:
        evidence = _run_long(look, estimate_nats, setting, runs, special_ids, generator)
        found.append((evidence, suspicions.bounded.in_words))
    if found:
        look.evidence = combine([np.array([[evidence]]) for evidence, _ in found])
        look.diagnosis = max(found, key=lambda item: item[0])[1]
    return look


def nonlinear_probes(like: Probe) -> Iterator[Probe]:
    """Costs of 40 nats: on about one mask in ten, on one in forty, on all."""
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
    length = like.x0.shape[1]
    nearest = sorted(range(1, length + 1), key=lambda count: abs(count - (length + 1) / 2))
    middle = nearest[: max(1, length // 2)]
    for batch, times in SMALL_BATCHES.items():
        probe = CountProbe(
            name=f"numbers of masked tokens near the middle, in batches of {batch}",
            x0=like.x0[:1].repeat(batch, 1), vocab_size=like.vocab_size, mask_column=like.mask_column,
            counts=frozenset(middle),
        )  # fmt: skip
        yield probe, times * usual


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
        run.draw(estimate_nats, calls, generator)
        if run.failure is not None:  # a fit to four other draws may be singular: no estimate, and no wrong one
            look.notes.append(f"not judged on {probe.name}: {run.failure}")
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
) -> float:
    if rows_share_their_draws(runs):
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
    per_call = estimates.mean(axis=1)
    stderr = float(per_call.std(ddof=1) / math.sqrt(len(per_call)))
    look.long = ProbeResult(long.probe.name, long.exact_nats, float(per_call.mean()), stderr)
    return combine(long.evidence(estimates))


def rows_share_their_draws(runs: list[Run]) -> bool:
    """Whether the estimates of a batch go up and down together: one time, or one mask, for several rows."""
    for run in runs:
        bounded = np.minimum(run.estimates, 3.0 * run.exact) if not run.is_constant else np.zeros((0, 0))
        if bounded.size == 0:
            continue
        batch, each = bounded.shape[1], float(bounded.var(axis=0, ddof=1).mean())
        together = float(bounded.mean(axis=1).var(ddof=1)) * batch / each if each > 0 else 1.0
        if (together - 1.0) / (batch - 1.0) > _SHARED:
            return True
    return False
