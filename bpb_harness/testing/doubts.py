"""What is suspicious about an estimator that is not proved wrong, and what to run next."""

from __future__ import annotations

from bpb_harness.testing.closer_look import CloserLook
from bpb_harness.testing.runs import ProbeResult, Run

DOUBTFUL_P = 0.01
"""A correct estimator gets as small a p in one call of a hundred at most (Markov's inequality, as for alarms)."""

DOUBTFUL_Z = 4.5
"""Standard errors, corrected for skewness. No theorem: measured on correct estimators of six shapes."""


def doubts(runs: list[Run], look: CloserLook, p_value: float, *, num_draws: int, seed: int) -> tuple[str, ...]:
    """Sentences with z and the next step; none where nothing is to be said."""
    found = []
    results = [run.result for run in (*runs, *look.runs)]
    worst = max(results, key=lambda result: abs(result.z_of_skewed))
    if p_value <= DOUBTFUL_P or abs(worst.z_of_skewed) >= DOUBTFUL_Z:
        found.append(_of_the_mean(worst, runs, num_draws, seed))
    if look.bounded is not None:
        largest, reached = look.bounded.largest, look.bounded.reached
        text = (
            f"no weight above {largest:.4g} was drawn, where independent times would have had eight or more above "
            f"{reached:.4g}: are weights clipped, or times kept away from 0?"
        )
        if look.long is not None:
            text += f" z = {look.long.z:+.1f} on {look.long.denoiser}, which cannot tell."
        found.append(text + " Run check_loss_weight on your weight as a function of t, on all of (0, 1)")
    if look.failed:
        found.append(
            f"no estimates on {look.failed[0]}. Run it on batches of that size yourself: no text depends on them"
        )
    return tuple(found)


def _of_the_mean(worst: ProbeResult, runs: list[Run], num_draws: int, seed: int) -> str:
    rows = max(run.denoise.num_rows / max(run.estimates.size, 1) for run in runs)
    text = f"z = {worst.z:+.1f} ({worst.z_of_skewed:+.1f} corrected for skewness) on the denoiser that charges for "
    text += f"{worst.denoiser}, {worst.ratio:.4g} times the bound. "
    text += f"Run it again with num_draws={10 * num_draws:_}, seed={seed + 1}"
    if worst.z < 0 and rows > 1.5:
        text += (
            f"; and with one draw a call where it now makes {rows:.0f}, since no finite number of draws tells a low "
            "mean from one with a rare and huge part"
        )
    return text
