"""How often does ``check_elbo`` fail a correct estimator? Prints the table that docs/testing-kit.md quotes.

    python -m tests.statistical.false_alarm [--checks 1000]

A check, every closer look included, is repeated with many seeds on simulated draws: each shape of estimator is called
once with all rows of a check, which for shapes whose calls are independent is the same as many small calls, and far
quicker. For a correct estimator the mean of the e-values must be at most 1; an alarm is an e-value of 20,000.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bpb_harness.schedule import LogLinear, NoiseSchedule, Polynomial
from bpb_harness.testing import FALSE_ALARM_RATE
from bpb_harness.testing.closer_look import (
    evidence_one_by_one,
    nonlinear_probes,
    small_batch_probes,
    smallest_batch_probes,
)
from bpb_harness.testing.elbo import evidence_of_both
from bpb_harness.testing.evidence import combine
from bpb_harness.testing.known_mistakes import Setting
from bpb_harness.testing.long_windows import CALLS, LongWindows
from bpb_harness.testing.probes import OutlyingRowProbe, Probe
from bpb_harness.testing.runs import BATCH, Run, evidence_of_runs, make_runs

V, L = 3, 4
Shape = Callable[[Probe, int, torch.Generator], Tensor]


def _costs(probe: Probe, x0: Tensor, masked: Tensor, t: Tensor) -> Tensor:
    logits = probe.logits(torch.where(masked, V, x0), t).double()
    nats = -torch.log_softmax(logits, dim=-1).gather(-1, x0.unsqueeze(-1)).squeeze(-1)
    return (nats * masked).sum(dim=-1)


def _uniform(*shape: int, generator: torch.Generator) -> Tensor:
    return 1.0 - torch.rand(*shape, generator=generator, dtype=torch.float64)


def _with_times(probe: Probe, x0: Tensor, t: Tensor, schedule: NoiseSchedule, generator: torch.Generator) -> Tensor:
    level = schedule.level(t)
    masked = _uniform(*x0.shape, generator=generator) <= level.mask_rate.unsqueeze(-1)
    return level.loss_weight * _costs(probe, x0, masked, t)


def independent_times(probe: Probe, calls: int, generator: torch.Generator) -> Tensor:
    x0 = probe.x0.repeat(calls, 1)
    return _with_times(probe, x0, _uniform(len(x0), generator=generator), LogLinear(), generator)


def square_root_schedule(probe: Probe, calls: int, generator: torch.Generator) -> Tensor:
    x0 = probe.x0.repeat(calls, 1)
    return _with_times(probe, x0, _uniform(len(x0), generator=generator), Polynomial(0.5), generator)


def one_time_for_the_batch(probe: Probe, calls: int, generator: torch.Generator) -> Tensor:
    t = _uniform(calls, generator=generator).repeat_interleave(len(probe.x0))
    return _with_times(probe, probe.x0.repeat(calls, 1), t, LogLinear(), generator)


def stratified_times(probe: Probe, calls: int, generator: torch.Generator) -> Tensor:
    batch = len(probe.x0)
    strata = torch.rand(calls, batch, generator=generator).argsort(dim=-1)
    t = (strata + _uniform(calls, batch, generator=generator)).reshape(-1) / batch
    return _with_times(probe, probe.x0.repeat(calls, 1), t, LogLinear(), generator)


def fixed_count(probe: Probe, calls: int, generator: torch.Generator) -> Tensor:
    x0 = probe.x0.repeat(calls, 1)
    count = torch.randint(1, L + 1, (len(x0), 1), generator=generator)
    masked = torch.rand(x0.shape, generator=generator).argsort(dim=-1).argsort(dim=-1) < count
    return L / count.squeeze(-1) * _costs(probe, x0, masked, count.squeeze(-1) / L)


def one_count_for_the_batch(probe: Probe, calls: int, generator: torch.Generator) -> Tensor:
    x0 = probe.x0.repeat(calls, 1)
    count = torch.randint(1, L + 1, (calls,), generator=generator).repeat_interleave(len(probe.x0)).unsqueeze(-1)
    masked = torch.rand(x0.shape, generator=generator).argsort(dim=-1).argsort(dim=-1) < count
    return L / count.squeeze(-1) * _costs(probe, x0, masked, count.squeeze(-1) / L)


SHAPES: dict[str, tuple[Shape, NoiseSchedule]] = {
    "independent times, weight 1/t": (independent_times, LogLinear()),
    "independent times, alpha = 1 - sqrt(t)": (square_root_schedule, Polynomial(0.5)),
    "one time for the batch": (one_time_for_the_batch, LogLinear()),
    "stratified times": (stratified_times, LogLinear()),
    "fixed count": (fixed_count, LogLinear()),
    "one count for the batch": (one_count_for_the_batch, LogLinear()),
}


ONE_DRAW_A_ROW = ("independent times, weight 1/t", "independent times, alpha = 1 - sqrt(t)")
"""Shapes that are drawn on long windows as well."""


def e_values(name: str, checks: int, *, num_draws: int = 20_000, first_seed: int = 0) -> np.ndarray:
    """e-values of ``checks`` independent checks of one shape."""
    return np.array([_one_check(name, num_draws, seed) for seed in range(first_seed, first_seed + checks)])


def _one_check(name: str, num_draws: int, seed: int) -> float:
    shape, schedule = SHAPES[name]
    setting, calls = Setting(schedule, None, V, L), num_draws // BATCH
    generator = torch.Generator().manual_seed(seed)
    first = make_runs(setting, special_ids=(), mask_column=False, generator=generator)
    like = first[0].probe
    rare = [(Run(setting, probe), calls) for probe in nonlinear_probes(like)]
    small = [(OutlyingRowProbe.beside(like, 0), calls), *small_batch_probes(like, calls)]
    fitted = [(Run(setting, probe), most) for probe, most in small]
    sized = [(Run(setting, probe), most) for probe, most in smallest_batch_probes(like, calls)]
    for run, most in (*((run, calls) for run in first), *rare, *fitted, *sized):
        estimates = shape(run.probe, most, generator).reshape(most, len(run.probe.x0))
        run.estimates = estimates[:, : len(run.exact)].double().numpy()
    closer = [evidence_one_by_one([run for run, _ in group]) for group in (rare, fitted, sized)]
    if name in ONE_DRAW_A_ROW:
        closer.append(_long_windows(setting, generator))
    evidence = evidence_of_both(evidence_of_runs(first), combine([np.array([[one]]) for one in closer]))
    return math.exp(min(evidence, 700.0))


def _long_windows(setting: Setting, generator: torch.Generator) -> float:
    """Independent times on windows of some hundred tokens, by the chance that a single one is masked."""
    long = LongWindows(setting, (), mask_column=False)
    batch, length = long.probe.x0.shape
    level = setting.schedule.level(_uniform(CALLS * batch, generator=generator))
    rate = level.mask_rate
    pays = _uniform(CALLS * batch, generator=generator) <= length * rate * (1.0 - rate) ** (length - 1)
    nats = torch.where(pays, level.loss_weight * math.log(V), 0.0)
    return combine(long.evidence(nats.reshape(CALLS, batch).numpy()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'correct estimator':40} {'checks':>7} {'alarms':>7} {'mean e':>8} {'largest e':>10}   alarm at")
    for name in SHAPES:
        e = e_values(name, arguments.checks)
        alarms = int((e >= 1.0 / FALSE_ALARM_RATE).sum())
        print(f"{name:40} {len(e):7} {alarms:7} {e.mean():8.3f} {e.max():10.3g}   {1 / FALSE_ALARM_RATE:.0f}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
