"""How often does ``check_elbo`` find each mistake of the gallery, at each size? Writes a table of docs/testing-kit.md.

    python -m tests.statistical.power [--checks 10] [--workers 2] [--write]

Every estimator is checked with as many seeds; "wrong" counts those that fail, "suspicious" others whose report
says so. The estimators of ``CORRECT`` are checked too: none may fail.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, get_args

import torch

from bpb_harness.testing import FALSE_ALARM_RATE, check_elbo
from bpb_harness.testing.elbo import Size
from fixtures.adversarial.estimators import CORRECT, GALLERY

START, END = "<!-- power: start -->\n", "<!-- power: end -->"
PAGE = Path(__file__).parents[2] / "docs" / "testing-kit.md"
SIZES: tuple[Size, ...] = get_args(Size)


class Outcome(NamedTuple):
    """What one check said."""

    found: bool
    suspicious: bool
    seconds: float  # of one core


class Job(NamedTuple):
    """One check."""

    name: str
    is_correct: bool
    size: Size
    seed: int


def one_check(job: Job) -> Outcome:
    """Run it; a looser bound that is said to be one is found."""
    torch.set_num_threads(1)
    if job.is_correct:
        estimate, settings = CORRECT[job.name]
    else:
        item = next(item for item in GALLERY if item.name == job.name)
        estimate, settings = item.estimate_nats, item.settings
    given = {name: value for name, value in settings.items() if name != "num_draws"}
    begun = time.process_time()
    report = check_elbo(estimate, **given, size=job.size, seed=job.seed)
    return Outcome(report.verdict != "correct", bool(report.suspicions), time.process_time() - begun)


def jobs(checks: int) -> Iterator[Job]:
    """The slow ones first."""
    for size in reversed(SIZES):
        for seed in range(checks):
            yield from (Job(item.name, False, size, seed) for item in GALLERY if item.estimate_nats is not None)
            yield from (Job(name, True, size, seed) for name in CORRECT)


def table(outcomes: dict[Job, Outcome], checks: int) -> str:
    """Markdown."""
    heads = " | ".join(f"{size}: wrong | suspicious" for size in SIZES)
    rows = [f"| estimator | {heads} | also found by |", "|---|" + "---|" * (2 * len(SIZES) + 1)]
    other = {"weights": "`check_loss_weight`", "kraft": "`check_code_length`"}
    for item in GALLERY:
        if item.estimate_nats is not None:
            also = ", ".join(other[check] for check in item.caught_by if check in other)
            rows.append(f"| {item.name} | {_shares(outcomes, item.name, False, checks)} | {also} |")
    correct = {name: _counts(outcomes, name, True, checks) for name in CORRECT}
    sums = [sum(counts[column] for counts in correct.values()) for column in range(2 * len(SIZES))]
    shares = " | ".join(f"{number} of {checks * len(correct)}" for number in sums)
    rows.append(f"| {len(correct)} correct estimators | {shares} | |")
    times = []
    for size in SIZES:
        each = sorted(outcome.seconds for job, outcome in outcomes.items() if job.size == size and job.is_correct)
        times.append(f"{size}: median {each[len(each) // 2]:.1f} s, at most {each[-1]:.1f} s")
    rows += [
        "",
        f"{checks} checks each, an alarm is p <= {FALSE_ALARM_RATE:g}. Seconds of one core for correct estimators:",
    ]
    rows += ["; ".join(times) + "."]
    return "\n".join(rows) + "\n"


def _counts(outcomes: dict[Job, Outcome], name: str, is_correct: bool, checks: int) -> list[int]:
    counts = []
    for size in SIZES:
        each = [outcomes[Job(name, is_correct, size, seed)] for seed in range(checks)]
        counts += [sum(one.found for one in each), sum(one.suspicious and not one.found for one in each)]
    return counts


def _shares(outcomes: dict[Job, Outcome], name: str, is_correct: bool, checks: int) -> str:
    return " | ".join(f"{count} of {checks}" if count else "-" for count in _counts(outcomes, name, is_correct, checks))


def written(page: str, lines: str) -> str:
    """A page with its table made anew."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    assert start, "the page has no place for the table"
    assert end, "the page has no end of the table"
    return before + start + lines + end + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write the table into docs/testing-kit.md")
    arguments = parser.parse_args()
    todo = list(jobs(arguments.checks))
    with get_context("spawn").Pool(arguments.workers) as pool:
        outcomes = dict(zip(todo, pool.imap(one_check, todo), strict=True))
    lines = table(outcomes, arguments.checks)
    print(lines)
    if arguments.write:
        PAGE.write_text(written(PAGE.read_text("utf-8"), lines), "utf-8")


if __name__ == "__main__":
    main()
