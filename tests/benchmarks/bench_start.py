"""From command to number: a small score on a CPU against the import of torch alone, as ratios in one run.

    python -m tests.benchmarks.bench_start [--repeats 5]

Each row is the least of several attempts, taken in turn: seconds by the clock, and seconds of processors (all processes
of the command together), each over those of ``python -c "import torch"``. The second table holds the checks against the
scoring of the same network: what they take, and how long the score takes for as many as 100,000 tokens.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import bpb_harness

CHECKPOINT = Path(__file__).resolve().parents[2] / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
_SCORE = (sys.executable, "-m", "bpb_harness", "eval", str(CHECKPOINT), "--limit", "8", "--device", "cpu")
_TOKENS = 100_000


def seconds_of(command: list[str]) -> tuple[float, float]:
    """By the clock, and of processors."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def bench_commands(repeats: int) -> None:
    commands = {
        "import torch": [sys.executable, "-c", "import torch"],
        "8 windows, --no-contract": [*_SCORE, "--no-contract"],
        "8 windows": [*_SCORE],
    }
    attempts = [{name: seconds_of(command) for name, command in commands.items()} for _ in range(repeats)]
    least = {name: [min(row) for row in zip(*(each[name] for each in attempts), strict=True)] for name in commands}
    print(f"{'':26}{'seconds':>9}{'ratio':>7}{'of processors':>15}{'ratio':>7}")
    for name, (wall, cpu) in least.items():
        base = least["import torch"]
        print(f"{name:26}{wall:9.2f}{wall / base[0]:7.2f}{cpu:15.2f}{cpu / base[1]:7.2f}")


def bench_contract(repeats: int) -> None:
    """Seconds of checks, marks left out, beside those of scoring, of the whole text of the fixture."""
    rows = []
    for check_contract in [False, True] * repeats:
        result = bpb_harness.evaluate(CHECKPOINT, device="cpu", check_contract=check_contract)
        seconds = result.seconds_by_phase
        per_token = seconds["scoring"] / result.num_forward_tokens
        rows.append((check_contract, seconds["checks"], per_token * _TOKENS))
    without, with_checks = (min(checks for checked, checks, _ in rows if checked is which) for which in (False, True))
    scoring = min(seconds for *_, seconds in rows)
    print(f"\nchecks {with_checks - without:.2f} s, scoring of {_TOKENS:,} tokens {scoring:.2f} s: ", end="")
    print(f"{(with_checks - without) / scoring:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    bench_commands(options.repeats)
    bench_contract(max(options.repeats // 2, 1))


if __name__ == "__main__":
    main()
