"""Seconds for ``bpb-audit --recursive`` over many submissions, start-up included.

The folders are the made-up submissions of fixtures/claims in turn. ``--steps`` makes their logs longer by so many
validation lines, ``--scripts`` leaves the training scripts in.

With ``--below DIR`` the submissions below a folder of yours are audited in their place. Processor seconds are printed
beside the seconds: on a machine that does other things too they tell more. With ``--against CHECKOUT``, another state
of the project, both audit them by turns, ``--rounds`` times, and the least of each are divided.

    python tests/benchmarks/bench_audit.py [--folders 1000] [--steps 0] [--scripts] [--below DIR] [--limit 20]
                                           [--against CHECKOUT] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fixtures.claims.patterns import all_patterns


def write_folders(root: Path, count: int, steps: int, *, scripts: bool) -> int:
    """Write the submissions; returns how many bytes they hold."""
    patterns = all_patterns()
    total = 0
    for number in range(count):
        pattern = patterns[number % len(patterns)]
        folder = root / f"{number:05d}_{pattern.name}"
        folder.mkdir()
        for name, content in pattern.files.items():
            if name.endswith(".py") and not scripts:
                continue
            raw = content if isinstance(content, bytes) else content.encode()
            if name.endswith(".log") and isinstance(content, str):
                raw = "".join(_step_lines(steps)).encode() + raw
            (folder / name).write_bytes(raw)
            total += len(raw)
    return total


def _step_lines(steps: int) -> Iterator[str]:
    for step in range(steps):
        yield f"step:{step}/20000 train_loss:{6.9 - step / steps:.4f} train_time:{43 * step}ms step_avg:43.51ms\n"


def main() -> int:
    """Print what it took, and whether it is within the limit."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folders", type=int, default=1000)
    options.add_argument("--steps", type=int, default=0)
    options.add_argument("--scripts", action="store_true")
    options.add_argument("--below", type=Path)
    options.add_argument("--limit", type=float, default=20.0)
    options.add_argument("--against", type=Path)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        top = given.below or Path(folder)
        if given.below is None:
            size = write_folders(top, given.folders, given.steps, scripts=given.scripts)
            sys.stdout.write(f"{given.folders} folders, {size / 1e6:.1f} MB\n")
        if given.against is not None:
            sides = [(_audited(top, _OWN)[1], _audited(top, given.against)[1]) for _ in range(given.rounds)]
            own, other = (min(side) for side in zip(*sides, strict=True))
            sys.stdout.write(f"{own:.2f} processor seconds, {other:.2f} of the other: {own / other:.3f} of them\n")
            return 0
        seconds, _, code = _audited(top, _OWN)
    return 0 if seconds <= given.limit and code in (0, 1, 3) else 1


_OWN = Path(__file__).resolve().parents[2]


def _audited(top: Path, checkout: Path) -> tuple[float, float, int]:
    """Audit the folders by one state of the project: seconds, processor seconds, the exit code."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "bpb_harness", "audit", str(top.resolve()), "--recursive", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=checkout, env=environment)
    seconds, used = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    sys.stdout.write(f"{done.stdout.splitlines()[-1] if done.stdout else done.stderr}\n")
    processor = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    memory = used.ru_maxrss / 1024
    sys.stdout.write(f"{seconds:.2f} s; {processor:.2f} processor seconds; at most {memory:.0f} MB a process\n")
    return seconds, processor, done.returncode


if __name__ == "__main__":
    sys.exit(main())
