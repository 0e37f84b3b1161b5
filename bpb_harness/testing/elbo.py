"""``check_elbo``: does an estimator of the bound have the bound as its mean?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.errors import UsageError
from bpb_harness.schedule import LogLinear, NoiseSchedule, parse_schedule
from bpb_harness.testing.evidence import combine, evidence_too_high, evidence_too_low
from bpb_harness.testing.formula import bound, mean_excess_of_independent_times
from bpb_harness.testing.known_mistakes import KnownMistake, Setting, known_mistakes
from bpb_harness.testing.probes import Probe, make_probes
from bpb_harness.testing.watch import WatchedDenoiser

Floats = npt.NDArray[np.float64]
Estimator = Callable[[Callable[..., Tensor], Tensor, torch.Generator], Tensor]

FALSE_ALARM_RATE = 5e-5
"""A correct estimator fails one call of :func:`check_elbo` in 20,000 at most; MATHS.md, equation 22."""

BATCH = 31
"""Windows in a batch: a prime, so that an estimator that pads batches for its workers has to show it."""

_MAX_LENGTH = 8
_MIN_CALLS = 100
_WORST_FIT = 4.5  # standard errors
_ROUNDING = 1e-4  # relative, of an estimate computed in float32


@final
@dataclass(frozen=True)
class ProbeResult:
    """What was measured on one denoiser.

    Attributes:
        denoiser: what it charges for.
        exact_nats: the bound, by enumeration of all masks, mean over the windows.
        mean_nats: mean of the estimates.
        stderr_nats: its standard error, from the spread of the means of independent calls.
    """

    denoiser: str
    exact_nats: float
    mean_nats: float
    stderr_nats: float

    @property
    def ratio(self) -> float:
        """Mean of the estimates over the exact bound."""
        return self.mean_nats / self.exact_nats

    @property
    def z(self) -> float:
        """Deviation in standard errors. Heavy tails spoil its law: read it, do not test it."""
        gap = self.mean_nats - self.exact_nats
        if self.stderr_nats > 0:
            return gap / self.stderr_nats
        return 0.0 if abs(gap) <= _ROUNDING * self.exact_nats else math.copysign(math.inf, gap)


@final
@dataclass(frozen=True)
class ElboReport:
    """The outcome of :func:`check_elbo`.

    Attributes:
        verdict: "correct" (nothing speaks against it), "looser" (a valid bound above the one asked for), or "wrong".
        diagnosis: the known mistake that explains the measurements, or None.
        p_value: bound on the chance that a correct estimator looks at least this wrong.
        probes: what was measured on each denoiser; the last has arbitrary conditionals.
        notes: what is worth knowing and no reason to fail.
        message: all of it, for a person.
    """

    verdict: Literal["correct", "looser", "wrong"]
    diagnosis: str | None
    p_value: float
    probes: tuple[ProbeResult, ...]
    notes: tuple[str, ...]
    message: str

    @property
    def ok(self) -> bool:
        """True unless the estimator is wrong; a looser bound is a valid one."""
        return self.verdict != "wrong"

    @property
    def ratio(self) -> float:
        """Mean estimate over exact bound on the denoiser with arbitrary conditionals."""
        return self.probes[-1].ratio if self.probes else math.nan

    @property
    def z_max(self) -> float:
        """Largest deviation on any denoiser, in standard errors, without sign."""
        return max((abs(probe.z) for probe in self.probes), default=math.nan)


def check_elbo(
    estimate_nats: Estimator,
    *,
    vocab_size: int = 3,
    length: int = 4,
    schedule: NoiseSchedule | str | None = None,
    num_steps: int | None = None,
    special_ids: tuple[int, ...] = (),
    time_conditioned: bool = False,
    mask_column: bool = False,
    num_draws: int = 20_000,
    seed: int = 0,
) -> ElboReport:
    """Test that an estimator's mean is the bound, on denoisers whose bound is known exactly.

    The estimator is run on small denoisers: some charge only for windows with k of L tokens masked, which reads off one
    coefficient of the estimator each; one has arbitrary conditionals. The mean of every row of the batch is compared
    with the bound found by enumerating all masks. A correct estimator is failed at most once in 20,000 calls
    (:data:`FALSE_ALARM_RATE`), independent times with 1/t weights and their infinite variance included, if its upper
    tail is at most twice as heavy as theirs. At the default ``num_draws`` a deviation of 2 % (independent times: 6 %)
    that all denoisers share is found, and one of 15 to 20 % on masks of one size alone.

    It cannot see errors below that resolution (an epsilon of 1e-6 inside a weight: use
    :func:`~bpb_harness.testing.check_loss_weight`), nor anything outside the function that it is given, such as the
    number of bytes, or documents that are scored twice.

    Args:
        estimate_nats: ``estimate_nats(denoise, x0, generator) -> (B,)`` nats of each window, under test. ``x0`` is
            (B, L) int64; ``denoise(xt, t) -> (B, L, V)`` takes tokens with V at masked positions and times t, (B,), and
            returns float32 logits; ``generator`` is the ``torch.Generator`` from which everything random must come.
            It may call ``denoise`` any number of times, with any number of rows.
        vocab_size: V, clean tokens 0 .. V - 1.
        length: L, at most 8.
        schedule: the noise schedule or its name; loglinear, alpha = 1 - t, if not given. With alpha(1) > 0 the estimate
            must hold the prior term alpha(1) L ln V, with alpha(0) < 1 the reconstruction term.
        num_steps: T for the bound of the T-step model; None for the continuous one.
        special_ids: ids such as BOS with which the windows then begin. They are part of the text: they must be paid.
        time_conditioned: let the denoiser with arbitrary conditionals depend on t, the schedule's time.
        mask_column: hand out (B, L, V + 1) logits, the mask's own column last, as networks do.
        num_draws: estimates for each denoiser.
        seed: of the denoisers, the windows and the generator.

    Returns:
        A report. It is not an exception: see :func:`assert_elbo`.

    Raises:
        UsageError: for settings that cannot be tested.
    """
    the_schedule = parse_schedule(schedule) if isinstance(schedule, str) else schedule or LogLinear()
    _require_settings(vocab_size, length, num_steps, special_ids, num_draws)
    special_positions = tuple(range(min(len(special_ids), length)))
    setting = Setting(the_schedule, num_steps, vocab_size, length, special_positions, time_conditioned)
    generator = torch.Generator().manual_seed(seed)
    runs = make_runs(setting, special_ids=special_ids, mask_column=mask_column, generator=generator)
    for done, run in enumerate(runs):
        run.draw(estimate_nats, max(_MIN_CALLS, num_draws // BATCH), generator)
        if run.failure is not None:
            return _report_failure(run.failure, runs[:done], run)
    return _judge(setting, runs, _notes(estimate_nats, runs[-1].probe, seed))


def assert_elbo(
    estimate_nats: Estimator,
    *,
    allow_looser: bool = True,
    vocab_size: int = 3,
    length: int = 4,
    schedule: NoiseSchedule | str | None = None,
    num_steps: int | None = None,
    special_ids: tuple[int, ...] = (),
    time_conditioned: bool = False,
    mask_column: bool = False,
    num_draws: int = 20_000,
    seed: int = 0,
) -> ElboReport:
    """:func:`check_elbo` for a test, with the same arguments: raise where the estimator is wrong.

    ``allow_looser=False`` also refuses a valid bound that is above the one asked for.

    Raises:
        AssertionError: with the report's message.
    """
    __tracebackhide__ = True
    report = check_elbo(
        estimate_nats, vocab_size=vocab_size, length=length, schedule=schedule, num_steps=num_steps,
        special_ids=special_ids, time_conditioned=time_conditioned, mask_column=mask_column, num_draws=num_draws,
        seed=seed,
    )  # fmt: skip
    if not report.ok or (report.verdict == "looser" and not allow_looser):
        raise AssertionError(report.message)
    return report


def _require_settings(
    vocab_size: int, length: int, num_steps: int | None, special_ids: tuple[int, ...], num_draws: int
) -> None:
    if vocab_size < 2:
        raise UsageError("vocab_size", seen=vocab_size, expected="2 or more")
    if not 2 <= length <= _MAX_LENGTH:
        raise UsageError("length", seen=length, expected=f"2 .. {_MAX_LENGTH}", hint="all 2^L masks are enumerated")
    if num_steps is not None and num_steps < 1:
        raise UsageError("num_steps", seen=num_steps, expected="1 or more, or None for the continuous bound")
    if num_draws < 1:
        raise UsageError("num_draws", seen=num_draws, expected="1 or more")
    if any(not 0 <= special < vocab_size for special in special_ids) or len(special_ids) >= length:
        raise UsageError("special_ids", seen=special_ids, expected=f"fewer than L ids within 0 .. {vocab_size - 1}")


def make_runs(
    setting: Setting, *, special_ids: tuple[int, ...], mask_column: bool, generator: torch.Generator
) -> list[Run]:
    """The denoisers of one check, with nothing drawn yet."""
    probes = make_probes(
        vocab_size=setting.vocab_size, length=setting.length, batch=BATCH, special_ids=special_ids,
        time_conditioned=setting.time_conditioned, mask_column=mask_column, generator=generator,
    )  # fmt: skip
    return [Run(setting, probe) for probe in probes]


@final
class Run:
    """One denoiser, the estimates made on it, and what they say."""

    def __init__(self, setting: Setting, probe: Probe) -> None:
        self.setting, self.probe = setting, probe
        self.denoise = WatchedDenoiser(probe)
        self.exact = bound(setting.schedule, setting.length, setting.vocab_size, setting.num_steps).mean_nats(probe)
        self.estimates: Floats = np.zeros((0, len(probe.x0)))
        self.failure: str | None = None

    def draw(self, estimate_nats: Estimator, calls: int, generator: torch.Generator) -> None:
        """Call the estimator; stop at the first answer that is no answer."""
        rows: list[Floats] = []
        for _ in range(calls):
            self.denoise.begin_estimate()
            answer = estimate_nats(self.denoise, self.probe.x0.clone(), generator)
            self.failure = _unusable(answer, len(self.probe.x0))
            if self.failure is not None:
                return
            rows.append(answer.detach().double().cpu().numpy())
        self.estimates = np.stack(rows)

    @property
    def result(self) -> ProbeResult:
        per_call = self.estimates.mean(axis=1)
        stderr = 0.0 if self.is_constant else float(per_call.std(ddof=1) / math.sqrt(len(per_call)))
        return ProbeResult(self.probe.name, float(self.exact.mean()), float(per_call.mean()), stderr)

    @cached_property
    def is_constant(self) -> bool:
        """Whether there is no randomness in the estimates."""
        return bool(np.ptp(self.estimates, axis=0).max() <= 1e-6 * self.exact.max())

    @cached_property
    def is_constant_and_wrong(self) -> bool:
        """Then the estimate is the mean, up to the rounding of float32, and one look decides."""
        return self.is_constant and bool((np.abs(self.estimates[0] - self.exact) > _ROUNDING * self.exact).any())

    @cached_property
    def batch_evidence(self) -> tuple[Floats, Floats]:
        """Logarithms of e-values for the mean of the batch, too high and too low, (bets, 1) each."""
        batch_mean, exact_mean = self.estimates.mean(axis=1, keepdims=True), self.exact.mean(keepdims=True)
        # The first quarter of the calls tells how high a call goes; the bets are placed on the rest.
        first, rest = np.split(batch_mean, [len(batch_mean) // 4])
        top = np.clip(1.5 * first.max(axis=0), 1.5 * exact_mean, (self.setting.length + 2.0) * exact_mean)
        # A mean of B rows exceeds its top when one row alone does, by B times as much: one big jump.
        jump = len(self.exact) * (top - exact_mean)
        lost = self._lost(np.broadcast_to(jump, self.exact.shape)).mean(keepdims=True)
        return evidence_too_high(batch_mean, exact_mean), evidence_too_low(rest, exact_mean, top, lost)

    @cached_property
    def row_evidence(self) -> tuple[Floats, Floats]:
        """Logarithms of e-values for every row by itself, too high and too low, (bets, B) each."""
        top = (self.setting.length + 4.0) * self.exact
        high = evidence_too_high(self.estimates, self.exact)
        return high, evidence_too_low(self.estimates, self.exact, top, self._lost(top))

    def _lost(self, top: Floats) -> Floats:
        setting = self.setting
        excess = mean_excess_of_independent_times(self.probe, setting.schedule, setting.num_steps, top)
        return 2.0 * excess + 0.002 * self.exact


def _unusable(answer: object, batch: int) -> str | None:
    if not isinstance(answer, Tensor):
        return f"the estimator returned {type(answer).__name__}, not a tensor of shape ({batch},)"
    if tuple(answer.shape) != (batch,):
        hint = ""
        if answer.dim() == 1 and len(answer) > batch:
            hint = ": more numbers than windows, as where a distributed sampler pads its batches and scores duplicates"
        return f"the estimator returned shape {tuple(answer.shape)} for {batch} windows, not ({batch},){hint}"
    if not bool(torch.isfinite(answer).all()):
        bad = float(answer[~torch.isfinite(answer)][0])
        return f"the estimator returned {bad}: a weight at t = 0 or t = 1, or the logarithm of a zero"
    return None


def _notes(estimate_nats: Estimator, probe: Probe, seed: int) -> tuple[str, ...]:
    """Reproducibility: the same generator must give the same numbers."""
    answers = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(seed)
        answers.append(estimate_nats(WatchedDenoiser(probe), probe.x0.clone(), generator))
    if torch.equal(answers[0], answers[1]):
        return ()
    return ("two calls with equal generators gave different numbers: not all draws come from `generator`",)


def _report_failure(failure: str, done: list[Run], failed: Run) -> ElboReport:
    problem = next((run.denoise.problem for run in (*done, failed) if run.denoise.problem), None)
    diagnosis = "contract: " + (problem or failure)
    return ElboReport("wrong", diagnosis, 0.0, tuple(run.result for run in done), (), f"WRONG: {failure}.")


def _judge(setting: Setting, runs: list[Run], notes: tuple[str, ...]) -> ElboReport:
    p_value = math.exp(-max(evidence_of_runs(runs), 0.0))
    results = tuple(run.result for run in runs)
    problem = next((run.denoise.problem for run in runs if run.denoise.problem), None)
    verdict: Literal["correct", "looser", "wrong"] = "correct"
    diagnosis = None
    if problem is not None:
        verdict, diagnosis = "wrong", f"contract: {problem}"
    elif p_value <= FALSE_ALARM_RATE:
        mistake = _structure(setting, runs) or _best_fit(setting, runs)
        diagnosis = mistake.diagnosis if mistake else None
        verdict = "looser" if mistake and mistake.looser else "wrong"
    message = _message(verdict, diagnosis, p_value, results, notes)
    return ElboReport(verdict, diagnosis, p_value, results, notes, message)


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


def _structure(setting: Setting, runs: list[Run]) -> KnownMistake | None:
    """Mistakes that the masks themselves give away."""

    def found(diagnosis: str) -> KnownMistake:
        return KnownMistake(diagnosis, lambda probe: np.full(len(probe.x0), math.nan))

    if all(np.ptp(run.estimates, axis=1).max() == 0.0 for run in runs):
        return found("every window of a batch is given the same number: a mean over the batch is no score of a window")
    never = ~torch.stack([run.denoise.ever_masked for run in runs]).any(dim=0)
    if setting.special_positions and bool(never[list(setting.special_positions)].all()) and not bool(never.all()):
        return found("special tokens never masked and never paid")
    codes = runs[-1].denoise.codes
    if len(codes) < 2:
        return None
    if (
        max(len(np.unique(codes[:, row])) for row in range(codes.shape[1]))
        <= setting.length + 1
        < len(np.unique(codes))
    ):
        return found(
            "each row meets the same few nested masks in every call: its noise does not come from `generator` "
            "(a hash of the position, such as the sine hash, is no random number)"
        )
    bits = (codes[:, :, None] >> np.arange(setting.length)) & 1
    num_masked = bits.sum(axis=2).mean(axis=0)
    if num_masked.std() > 0 and abs(np.corrcoef(np.arange(len(num_masked)), num_masked)[0, 1]) > 0.95:
        return found("a stratum of t tied to the batch row: row i always gets times near i / B")
    return None


def _best_fit(setting: Setting, runs: list[Run]) -> KnownMistake | None:
    """The known mistake whose means fit the measured ones best, if any fits and the right means do not."""
    if max(abs(run.result.z) for run in runs) < _WORST_FIT:
        return None
    best: tuple[float, KnownMistake] | None = None
    for mistake in known_mistakes(setting):
        misfit = [_misfit(mistake, run) for run in runs]
        if max(misfit) < _WORST_FIT and (best is None or sum(m * m for m in misfit) < best[0] - 1e-9):
            best = (sum(m * m for m in misfit), mistake)
    return best[1] if best else None


def _misfit(mistake: KnownMistake, run: Run) -> float:
    result = run.result
    predicted = float(mistake.mean_nats(run.probe).mean())
    if mistake.diverges and predicted > 3.0 * result.exact_nats and result.mean_nats > 1.3 * result.exact_nats:
        return 1.0  # an infinite mean cannot be measured, only seen to be far too high
    slack = math.hypot(result.stderr_nats, 0.002 * predicted + _ROUNDING * result.exact_nats)
    return abs(result.mean_nats - predicted) / slack


def _message(
    verdict: str,
    diagnosis: str | None,
    p_value: float,
    results: tuple[ProbeResult, ...],
    notes: tuple[str, ...],
) -> str:
    worst = max(results, key=lambda result: abs(result.z))
    head = {
        "correct": "CORRECT as far as can be seen: the mean of the estimates is the bound",
        "looser": "LOOSER: a valid bound, but above the one asked for",
        "wrong": "WRONG: the mean of the estimates is not the bound",
    }[verdict]
    lines = [f"{head} (p {_p(p_value)}; a correct estimator fails with p <= {FALSE_ALARM_RATE:g})."]
    if verdict != "correct":
        lines.append(f"Diagnosis: {diagnosis or 'none of the known mistakes fits'}.")
        lines.append(f"Worst on the denoiser that charges for {worst.denoiser}: {worst.ratio:.4g} times the bound.")
    lines.append("  mean / bound      z   denoiser")
    for result in results:
        spread = result.stderr_nats / result.exact_nats
        lines.append(f"  {result.ratio:6.3f} +- {spread:5.3f} {result.z:+6.1f}   {result.denoiser}")
    lines += [f"Note: {note}." for note in notes]
    return "\n".join(lines)


def _p(p_value: float) -> str:
    return f"= {p_value:.2g}" if p_value > 1e-12 else "< 1e-12"
