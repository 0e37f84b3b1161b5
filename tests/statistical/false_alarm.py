"""How often does ``check_elbo`` fail a correct estimator? Prints the table that docs/testing-kit.md quotes.

    python -m tests.statistical.false_alarm [--checks 1000]

A check is repeated with many seeds on simulated draws: each shape of estimator is called once with all rows of a check,
which for shapes whose calls are independent is the same as many small calls, and far quicker. For a correct estimator
the mean of the e-values must be at most 1; an alarm is an e-value of 20,000.
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
from bpb_harness.testing.elbo import BATCH, evidence_of_runs, make_runs
from bpb_harness.testing.known_mistakes import Setting
from bpb_harness.testing.probes import Probe

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
    masked = _uniform(*x0.shape, generator=generator) <= level.move_chance.unsqueeze(-1)
    return level.loss_weight * _costs(probe, x0, masked, t)


def independent_times(probe: Probe, calls: int, generator: torch.Generator) -> Tensor:
    x0 = probe.x0.repeat(calls, 1)
    return _with_times(probe, x0, _uniform(len(x0), generator=generator), LogLinear(), generator)


def square_root_schedule(probe: Probe, calls: int, generator: torch.Generator) -> Tensor:
    x0 = probe.x0.repeat(calls, 1)
    return _with_times(probe, x0, _uniform(len(x0), generator=generator), Polynomial(0.5), generator)


def one_time_for_the_batch(probe: Probe, calls: int, generator: torch.Generator) -> Tensor:
    t = _uniform(calls, generator=generator).repeat_interleave(BATCH)
    return _with_times(probe, probe.x0.repeat(calls, 1), t, LogLinear(), generator)


def stratified_times(probe: Probe, calls: int, generator: torch.Generator) -> Tensor:
    strata = torch.rand(calls, BATCH, generator=generator).argsort(dim=-1)
    t = (strata + _uniform(calls, BATCH, generator=generator)).reshape(-1) / BATCH
    return _with_times(probe, probe.x0.repeat(calls, 1), t, LogLinear(), generator)


def fixed_count(probe: Probe, calls: int, generator: torch.Generator) -> Tensor:
    x0 = probe.x0.repeat(calls, 1)
    count = torch.randint(1, L + 1, (len(x0), 1), generator=generator)
    masked = torch.rand(x0.shape, generator=generator).argsort(dim=-1).argsort(dim=-1) < count
    return L / count.squeeze(-1) * _costs(probe, x0, masked, count.squeeze(-1) / L)


def one_count_for_the_batch(probe: Probe, calls: int, generator: torch.Generator) -> Tensor:
    x0 = probe.x0.repeat(calls, 1)
    count = torch.randint(1, L + 1, (calls,), generator=generator).repeat_interleave(BATCH).unsqueeze(-1)
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


def e_values(name: str, checks: int, *, num_draws: int = 20_000, first_seed: int = 0) -> np.ndarray:
    """e-values of ``checks`` independent checks of one shape."""
    shape, schedule = SHAPES[name]
    found = []
    for seed in range(first_seed, first_seed + checks):
        generator = torch.Generator().manual_seed(seed)
        runs = make_runs(Setting(schedule, None, V, L), special_ids=(), mask_column=False, generator=generator)
        calls = num_draws // BATCH
        for run in runs:
            run.estimates = shape(run.probe, calls, generator).reshape(calls, BATCH).numpy()
        found.append(math.exp(min(evidence_of_runs(runs), 700.0)))
    return np.array(found)


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
