"""``check_elbo``: does an estimator of the bound have the bound as its mean?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch

from bpb_harness.errors import UsageError
from bpb_harness.schedule import LogLinear, NoiseSchedule, parse_schedule, sound
from bpb_harness.testing.batch_rows import FIX, TIED, TIED_OTHERWISE, tied_rows
from bpb_harness.testing.closer_look import CloserLook, look_closer
from bpb_harness.testing.doubts import doubts
from bpb_harness.testing.known_mistakes import KnownMistake, Setting, known_mistakes
from bpb_harness.testing.probes import Probe
from bpb_harness.testing.resolution import Resolution, resolution_of
from bpb_harness.testing.runs import BATCH, ROUNDING, Estimator, ProbeResult, Run, evidence_of_runs, make_runs
from bpb_harness.testing.suspicions import FITTED, NONLINEAR, find_suspicions, is_nonlinear, rows_depend
from bpb_harness.testing.watch import WatchedDenoiser

FALSE_ALARM_RATE = 5e-5
"""A correct estimator fails one call of :func:`check_elbo` in 20,000 at most; MATHS.md, equation 22."""

Size = Literal["quick", "full"]
DRAWS: dict[Size, int] = {"quick": 6_200, "full": 20_000}
"""Estimates for each denoiser."""

_MAX_LENGTH = 8
MIN_CALLS = 100
"""Calls for each denoiser, however few draws are asked for: the same number in all of them has no chance in it."""
_WORST_FIT = 4.5  # standard errors
_NEAR = 0.25  # relative: what is no mean over a batch lies farther from one
_CLOSER_SHARE = 0.1  # of the evidence: the closer look needs ten times as much, and the first draws lose a tenth


@final
@dataclass(frozen=True)
class ElboReport:
    """The outcome of :func:`check_elbo`.

    Attributes:
        verdict: "correct" (nothing speaks against it), "looser" (a valid bound above the one asked for), or "wrong".
        diagnosis: the known mistake that explains the measurements, or None.
        p_value: bound on the chance that a correct estimator looks at least this wrong.
        probes: what was measured on each denoiser; the last has arbitrary conditionals.
        suspicions: of an estimator that is not proved wrong: what is unusual, with z, and what to run next.
        evidence: of a known mistake, where its means alone are hard to believe: a table, line by line.
        notes: what is worth knowing and no reason to fail.
        message: all of it, for a person.
        resolution: how large an error of an estimator that is "correct" would have been found in its own draws; None of
            another one, and where there is no chance in its estimates.
    """

    verdict: Literal["correct", "looser", "wrong"]
    diagnosis: str | None
    p_value: float
    probes: tuple[ProbeResult, ...]
    notes: tuple[str, ...]
    message: str
    suspicions: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    resolution: Resolution | None = None

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
    size: Size = "full",
    num_draws: int | None = None,
    seed: int = 0,
) -> ElboReport:
    """Test that an estimator's mean is the bound, on denoisers whose bound is known exactly.

    The estimator is run on small denoisers: some charge only for windows with k of L tokens masked, which reads off one
    coefficient of the estimator each; one has arbitrary conditionals. The mean of every row of the batch is compared
    with the bound found by enumerating all masks. A correct estimator is failed at most once in 20,000 calls
    (:data:`FALSE_ALARM_RATE`), independent times with 1/t weights and their infinite variance included, if its upper
    tail is at most twice as heavy as theirs. At the full size a deviation of 2 % (independent times: 6 %) that all
    denoisers share is found, and one of 15 to 20 % on masks of one size alone; what the draws of a check would have
    shown stands in ``resolution``. What is not enough to call an estimator wrong, and unusual for a right one, stands
    in ``suspicions``.

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
        size: "full", or "quick" for unit tests: 6,200 draws in place of 20,000, and long windows only where weights
            look clipped on short ones. The false-alarm rate is the same. Independent times that are 10 % off are found
            by the quick size, 5 % by the full one; docs/testing-kit.md says what each finds.
        num_draws: estimates for each denoiser, in place of the size's.
        seed: of the denoisers, the windows and the generator.

    Returns:
        A report. It is not an exception: see :func:`assert_elbo`.

    Raises:
        UsageError: for settings that cannot be tested.
    """
    the_schedule = parse_schedule(schedule) if isinstance(schedule, str) else sound(schedule or LogLinear())
    if size not in DRAWS:
        raise UsageError("size", seen=size, expected=" or ".join(DRAWS))
    num_draws = DRAWS[size] if num_draws is None else num_draws
    _require_settings(vocab_size, length, num_steps, special_ids, num_draws)
    special_positions = tuple(range(min(len(special_ids), length)))
    setting = Setting(the_schedule, num_steps, vocab_size, length, special_positions, time_conditioned)
    generator = torch.Generator().manual_seed(seed)
    runs = make_runs(setting, special_ids=special_ids, mask_column=mask_column, generator=generator)
    for done, run in enumerate(runs):
        run.draw(estimate_nats, max(MIN_CALLS, num_draws // BATCH), generator)
        if run.failure is not None:
            return _report_failure(run.failure, runs[:done], run)
    look = CloserLook()
    if not any(run.denoise.problem for run in runs) and not _is_enough(evidence_of_both(evidence_of_runs(runs), 0.0)):
        suspicions = find_suspicions(estimate_nats, setting, runs, seed)
        look = look_closer(
            estimate_nats, suspicions, setting, runs, special_ids=special_ids,
            calls=len(runs[0].estimates), generator=generator,
        )  # fmt: skip
    notes = (*_notes(estimate_nats, runs[-1].probe, seed), *look.notes)
    return _judge(estimate_nats, setting, runs, look, notes, num_draws=num_draws, seed=seed)


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
    size: Size = "full",
    num_draws: int | None = None,
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
        special_ids=special_ids, time_conditioned=time_conditioned, mask_column=mask_column, size=size,
        num_draws=num_draws, seed=seed,
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


def _notes(estimate_nats: Estimator, probe: Probe, seed: int) -> tuple[str, ...]:
    """Reproducibility: the same generator must give the same numbers."""
    answers = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(seed)
        answers.append(estimate_nats(WatchedDenoiser(probe), probe.x0.clone(), generator))
    if torch.equal(answers[0], answers[1]):
        return ()
    return ("two calls with equal generators gave different numbers: not all draws come from `generator`",)


def evidence_of_both(first: float, closer: float) -> float:
    """Logarithm of one e-value from those of the first draws and of the closer look, 0 where there was none.

    Whatever the first draws are, the mean of the second e-value given them is at most 1: so is that of the average.
    """
    return float(np.logaddexp(math.log1p(-_CLOSER_SHARE) + first, math.log(_CLOSER_SHARE) + closer))


def _is_enough(evidence: float) -> bool:
    return math.exp(-max(evidence, 0.0)) <= FALSE_ALARM_RATE


def _report_failure(failure: str, done: list[Run], failed: Run) -> ElboReport:
    problem = next((run.denoise.problem for run in (*done, failed) if run.denoise.problem), None)
    diagnosis = "contract: " + (problem or failure)
    return ElboReport("wrong", diagnosis, 0.0, tuple(run.result for run in done), (), f"WRONG: {failure}.")


def _judge(
    estimate_nats: Estimator,
    setting: Setting,
    runs: list[Run],
    look: CloserLook,
    notes: tuple[str, ...],
    *,
    num_draws: int,
    seed: int,
) -> ElboReport:
    first_evidence = evidence_of_runs(runs)
    p_value = math.exp(-max(evidence_of_both(first_evidence, look.evidence), 0.0))
    *first, last = (run.result for run in runs)
    closer = [run.result for run in look.runs] + ([look.long] if look.long else [])
    results = (*first, *closer, last)
    problem = next((run.denoise.problem for run in runs if run.denoise.problem), None)
    verdict: Literal["correct", "looser", "wrong"] = "correct"
    diagnosis = None
    suspicions: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    resolution: Resolution | None = None
    if problem is not None:
        verdict, diagnosis = "wrong", f"contract: {problem}"
    elif p_value <= FALSE_ALARM_RATE:
        in_first = _is_enough(evidence_of_both(first_evidence, 0.0))
        mistake = _known_mistake(estimate_nats, setting, runs, look, seed) if in_first or look.runs else None
        if mistake and mistake.diagnosis in (TIED, TIED_OTHERWISE):
            evidence = _evidence_of_rows(runs)
        diagnosis = mistake.diagnosis if mistake else look.diagnosis
        verdict = "looser" if mistake and mistake.looser else "wrong"
    else:
        suspicions = doubts(runs, look, p_value, num_draws=num_draws, seed=seed)
        resolution = resolution_of(runs, lambda first: _is_enough(evidence_of_both(first, 0.0)))
    message = _message(verdict, diagnosis, p_value, results, notes, suspicions, evidence, resolution)
    return ElboReport(verdict, diagnosis, p_value, results, notes, message, suspicions, evidence, resolution)


def _known_mistake(
    estimate_nats: Estimator, setting: Setting, runs: list[Run], look: CloserLook, seed: int
) -> KnownMistake | None:
    """What explains a wrong mean: the masks, the other rows, the means of a known mistake, in this order."""
    if look.runs:
        return _best_fit(setting, [*runs, *look.runs]) if look.diagnosis != FITTED else None
    found = _structure(setting, runs)
    if found is None and rows_depend(estimate_nats, runs[-1].probe, len(setting.special_positions), seed):
        found = _named(FITTED)  # every mean of a known mistake is that of a row by itself
    found = found or _best_fit(setting, runs)
    if found is None and is_nonlinear(estimate_nats, runs[0].probe, seed):
        found = _named(NONLINEAR)
    return found


def _named(diagnosis: str) -> KnownMistake:
    """A mistake that predicts no mean."""
    return KnownMistake(diagnosis, lambda probe: np.full(len(probe.x0), math.nan))


def _evidence_of_rows(runs: list[Run]) -> tuple[str, ...]:
    tied = tied_rows(runs)
    return (*tied.lines, f"{FIX}.") if tied else ()


def _structure(setting: Setting, runs: list[Run]) -> KnownMistake | None:
    """Mistakes that the masks themselves give away."""
    if all(np.ptp(run.estimates, axis=1).max() == 0.0 for run in runs):
        return _named(_of_the_batch(runs))
    never = ~torch.stack([run.denoise.ever_masked for run in runs]).any(dim=0)
    if setting.special_positions and bool(never[list(setting.special_positions)].all()) and not bool(never.all()):
        return _named("special tokens never masked and never paid")
    codes = runs[-1].denoise.codes
    if len(codes) < 2:
        return None
    if (
        max(len(np.unique(codes[:, row])) for row in range(codes.shape[1]))
        <= setting.length + 1
        < len(np.unique(codes))
    ):
        return _named(
            "each row meets the same few nested masks in every call: its noise does not come from `generator` "
            "(a hash of the position, such as the sine hash, is no random number)"
        )
    tied = tied_rows(runs)
    return _named(tied.diagnosis) if tied else None


def _of_the_batch(runs: list[Run]) -> str:
    """What number all windows of a batch share, by its ratio to the bound, which is 1 for a mean and B for a sum."""
    ratio = sum(run.result.mean_nats for run in runs) / sum(run.result.exact_nats for run in runs)
    batch = len(runs[0].probe.x0)
    what = "a sum or a mean"
    if abs(ratio - 1.0) < _NEAR:
        what = "a mean"
    elif abs(ratio / batch - 1.0) < _NEAR:
        what = "a sum"
    return (
        f"every window of a batch of {batch} is given the same number, {ratio:.3g} times the bound: {what} over the "
        "batch is no score of a window, which is the sum over its own tokens"
    )


def _best_fit(setting: Setting, runs: list[Run]) -> KnownMistake | None:
    """The known mistake whose means fit the measured ones best, if any fits and the right means do not."""
    if max(abs(run.result.z) for run in runs) < _WORST_FIT:
        return None
    best: tuple[float, KnownMistake] | None = None
    for mistake in known_mistakes(setting):
        misfit = _total_misfit(mistake, runs)
        if misfit is not None and (best is None or misfit < best[0] - 1e-9):
            best = (misfit, mistake)
    return best[1] if best else None


def _total_misfit(mistake: KnownMistake, runs: list[Run]) -> float | None:
    """Sum of squares over the denoisers; None, without the rest of them, where one does not fit."""
    total = 0.0
    for run in runs:
        misfit = _misfit(mistake, run)
        if not misfit < _WORST_FIT:
            return None
        total += misfit * misfit
    return total


def _misfit(mistake: KnownMistake, run: Run) -> float:
    result = run.result
    predicted = float(mistake.mean_nats(run.probe)[: len(run.exact)].mean())
    if mistake.diverges and predicted > 3.0 * result.exact_nats and result.mean_nats > 1.3 * result.exact_nats:
        return 1.0  # an infinite mean cannot be measured, only seen to be far too high
    slack = math.hypot(result.stderr_nats, 0.002 * predicted + ROUNDING * result.exact_nats)
    return abs(result.mean_nats - predicted) / slack


def _message(
    verdict: str,
    diagnosis: str | None,
    p_value: float,
    results: tuple[ProbeResult, ...],
    notes: tuple[str, ...],
    suspicions: tuple[str, ...],
    evidence: tuple[str, ...],
    resolution: Resolution | None,
) -> str:
    worst = max(results, key=lambda result: abs(result.z))
    head = {
        "correct": "CORRECT as far as can be seen: the mean of the estimates is the bound",
        "looser": "LOOSER: a valid bound, but above the one asked for",
        "wrong": "WRONG: the mean of the estimates is not the bound",
    }[verdict]
    if suspicions:
        head = "SUSPICIOUS, and not proved wrong"
    lines = [f"{head} (p {_p(p_value)}; a correct estimator fails with p <= {FALSE_ALARM_RATE:g})."]
    lines += [] if resolution is None else [f"Resolution: {resolution}."]
    lines += [f"Suspicious: {text}." for text in suspicions]
    if verdict != "correct":
        lines.append(f"Diagnosis: {diagnosis or 'none of the known mistakes fits'}.")
        lines += evidence
        lines.append(f"Worst on the denoiser that charges for {worst.denoiser}: {worst.ratio:.4g} times the bound.")
    lines.append("  mean / bound      z   denoiser")
    for result in results:
        spread = result.stderr_nats / result.exact_nats
        lines.append(f"  {result.ratio:6.3f} +- {spread:5.3f} {result.z:+6.1f}   {result.denoiser}")
    lines += [f"Note: {note}." for note in notes]
    return "\n".join(lines)


def _p(p_value: float) -> str:
    return f"= {p_value:.2g}" if p_value > 1e-12 else "< 1e-12"
