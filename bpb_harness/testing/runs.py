"""One denoiser, the estimates made on it, and what they say about the estimator's mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.testing.evidence import combine, evidence_too_high, evidence_too_low
from bpb_harness.testing.formula import bound, mean_excess_of_independent_times
from bpb_harness.testing.known_mistakes import Setting
from bpb_harness.testing.probes import Probe, make_probes
from bpb_harness.testing.watch import WatchedDenoiser

Floats = npt.NDArray[np.float64]
Estimator = Callable[[Callable[..., Tensor], Tensor, torch.Generator], Tensor]

BATCH = 31
"""Windows in a batch: a prime, so that an estimator that pads batches for its workers has to show it."""

ROUNDING = 1e-4
"""Relative, of an estimate computed in float32."""


@final
@dataclass(frozen=True)
class ProbeResult:
    """What was measured on one denoiser.

    Attributes:
        denoiser: what it charges for.
        exact_nats: the bound, by enumeration of all masks, mean over the windows.
        mean_nats: mean of the estimates.
        stderr_nats: its standard error, from the spread of the means of independent calls.
        skewness: of the mean: that of a call over the square root of their number.
    """

    denoiser: str
    exact_nats: float
    mean_nats: float
    stderr_nats: float
    skewness: float = 0.0

    @classmethod
    def measured(cls, denoiser: str, exact_nats: float, per_call: Floats, *, is_constant: bool = False) -> ProbeResult:
        """From the mean of every call, (calls,)."""
        mean, spread = float(per_call.mean()), float(per_call.std(ddof=1))
        if is_constant or spread == 0.0:
            return cls(denoiser, exact_nats, mean, 0.0)
        root = math.sqrt(len(per_call))
        return cls(denoiser, exact_nats, mean, spread / root, float(np.mean(((per_call - mean) / spread) ** 3)) / root)

    @property
    def ratio(self) -> float:
        """Mean of the estimates over the exact bound."""
        return self.mean_nats / self.exact_nats

    @property
    def z(self) -> float:
        """Deviation in standard errors. Heavy tails spoil its law: read it, do not test it."""
        gap = self.mean_nats - self.exact_nats
        if self.stderr_nats > 0:
            return gap / max(self.stderr_nats, 0.25 * ROUNDING * self.exact_nats)
        return 0.0 if abs(gap) <= ROUNDING * self.exact_nats else math.copysign(math.inf, gap)

    @property
    def z_of_skewed(self) -> float:
        """z with Johnson's correction for skewness (JASA 73, 1978), 0 where the gap may be rounding."""
        if math.isinf(self.z):
            return self.z
        if abs(self.mean_nats - self.exact_nats) <= ROUNDING * self.exact_nats:
            return 0.0
        return self.z + self.skewness * (1.0 + 2.0 * self.z**2) / 6.0


@final
class Run:
    """One denoiser, the estimates made on it, and what they say."""

    def __init__(self, setting: Setting, probe: Probe) -> None:
        self.setting, self.probe = setting, probe
        self.denoise = WatchedDenoiser(probe)
        means = bound(setting.schedule, setting.length, setting.vocab_size, setting.num_steps).mean_nats(probe)
        self.exact = means[: probe.num_judged]
        self.estimates: Floats = np.zeros((0, len(self.exact)))
        self.failure: str | None = None

    def draw(self, estimate_nats: Estimator, calls: int, generator: torch.Generator) -> None:
        """Call the estimator; stop at the first answer that is no answer."""
        rows: list[Floats] = []
        for _ in range(calls):
            self.denoise.begin_estimate()
            answer = estimate_nats(self.denoise, self.probe.x0.clone(), generator)
            self.failure = unusable(answer, len(self.probe.x0))
            if self.failure is not None:
                return
            rows.append(answer.detach().double().cpu().numpy()[: len(self.exact)])
        self.estimates = np.stack(rows)

    def scaled(self, factor: float) -> Run:
        """The same run, as if every estimate had been so many times what it was."""
        other = copy(self)
        for derived in ("is_constant", "is_constant_and_wrong", "batch_evidence", "row_evidence"):
            vars(other).pop(derived, None)
        other.estimates = self.estimates * factor
        return other

    @property
    def result(self) -> ProbeResult:
        per_call, exact = self.estimates.mean(axis=1), float(self.exact.mean())
        return ProbeResult.measured(self.probe.name, exact, per_call, is_constant=self.is_constant)

    @cached_property
    def is_constant(self) -> bool:
        """Whether there is no randomness in the estimates."""
        if not self.estimates.any():
            return False  # a mask that a whole batch shares may miss those that cost anything, call after call
        return bool(np.ptp(self.estimates, axis=0).max() <= 1e-6 * self.exact.max())

    @cached_property
    def is_constant_and_wrong(self) -> bool:
        """Then the estimate is the mean, up to the rounding of float32, and one look decides."""
        return self.is_constant and bool((np.abs(self.estimates[0] - self.exact) > ROUNDING * self.exact).any())

    @cached_property
    def batch_evidence(self) -> tuple[Floats, Floats]:
        """Logarithms of e-values for the mean of the batch, too high and too low, (bets, 1) each."""
        batch_mean, exact_mean = self.estimates.mean(axis=1, keepdims=True), self.exact.mean(keepdims=True)
        # The first quarter of the calls tells how high a call goes; the bets are placed on the rest.
        first, rest = np.split(batch_mean, [len(batch_mean) // 4])
        ceiling = (self.setting.length + 2.0) * exact_mean
        if self.probe.is_rare:  # one count for the batch may hit with many rows at once
            ceiling = 2.0 * ceiling
        top = np.clip(1.5 * first.max(axis=0), 1.5 * exact_mean, ceiling)
        # A mean of B rows exceeds its top when one row alone does, by B times as much: one big jump. Rows that are all
        # the same draw are one row.
        jump = len(self.exact) * (top - exact_mean)
        if bool((np.ptp(self.estimates, axis=1) == 0.0).all()):
            jump = top
        lost = self._lost(np.broadcast_to(jump, self.exact.shape)).mean(keepdims=True)
        return evidence_too_high(batch_mean, exact_mean), evidence_too_low(rest, exact_mean, top, lost)

    @cached_property
    def row_evidence(self) -> tuple[Floats, Floats]:
        """Logarithms of e-values for every row by itself, too high and too low, (bets, B) each."""
        # Times drawn by another law go higher: the first quarter of the calls tells how high, as for the batch.
        first, rest = np.split(self.estimates, [len(self.estimates) // 4])
        least = self.setting.length + 4.0
        top = np.clip(1.5 * (first / self.exact).max(), least, 5.0 * least) * self.exact
        high = evidence_too_high(self.estimates, self.exact)
        return high, evidence_too_low(rest, self.exact, top, self._lost(top))

    def _lost(self, top: Floats) -> Floats:
        setting = self.setting
        excess = mean_excess_of_independent_times(self.probe, setting.schedule, setting.num_steps, top)
        return 2.0 * excess + 0.002 * self.exact


def unusable(answer: object, batch: int) -> str | None:
    """Why an answer is no batch of estimates, in words; None if it is one."""
    if not isinstance(answer, Tensor):
        return f"the estimator returned {type(answer).__name__}, not a tensor of shape ({batch},)"
    if tuple(answer.shape) != (batch,):
        hint = ""
        if answer.dim() == 1 and len(answer) > batch:
            hint = ": more numbers than windows, as where a distributed sampler pads its batches and scores duplicates"
        if answer.numel() == 1 and batch > 1:
            hint = ": one number for the batch, a sum or a mean over it; each window needs the sum over its own tokens"
        return f"the estimator returned shape {tuple(answer.shape)} for {batch} windows, not ({batch},){hint}"
    if not math.isfinite(float(answer.detach().double().sum())) and not bool(torch.isfinite(answer).all()):
        bad = float(answer[~torch.isfinite(answer)][0])
        return f"the estimator returned {bad}: a weight at t = 0 or t = 1, or the logarithm of a zero"
    return None


def make_runs(
    setting: Setting, *, special_ids: tuple[int, ...], mask_column: bool, generator: torch.Generator
) -> list[Run]:
    """The denoisers of one check, with nothing drawn yet."""
    probes = make_probes(
        vocab_size=setting.vocab_size, length=setting.length, batch=BATCH, special_ids=special_ids,
        time_conditioned=setting.time_conditioned, mask_column=mask_column, generator=generator,
    )  # fmt: skip
    return [Run(setting, probe) for probe in probes]


def evidence_of_runs(runs: list[Run]) -> float:
    """Logarithm of one e-value for all that was drawn: infinite where an estimate without randomness is wrong."""
    if any(run.is_constant_and_wrong for run in runs):
        return math.inf
    random = [run for run in runs if not run.is_constant]
    if not random:
        return 0.0
    groups = [group for run in random for group in (*run.batch_evidence, *run.row_evidence)]
    # Draws on different denoisers are independent: the product of their e-values is one too, and sees a small deviation
    # that all of them share.
    groups += [np.sum([run.batch_evidence[side] for run in random], axis=0) for side in (0, 1)]
    return combine(groups)
