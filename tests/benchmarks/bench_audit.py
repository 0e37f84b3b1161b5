"""Seconds for ``bpb-audit --recursive`` over many submissions, start-up included.

The folders are the made-up submissions of fixtures/claims in turn. ``--steps`` makes their logs longer by so many
validation lines, ``--scripts`` leaves the training scripts in.

With ``--below DIR`` the submissions below a folder of yours are audited in their place. Processor seconds are printed
beside the seconds: on a machine that does other things too they tell more.

    python tests/benchmarks/bench_audit.py [--folders 1000] [--steps 0] [--scripts] [--below DIR] [--limit 20]
"""

from __future__ import annotations

import argparse
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
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        top = given.below or Path(folder)
        if given.below is None:
            size = write_folders(top, given.folders, given.steps, scripts=given.scripts)
            sys.stdout.write(f"{given.folders} folders, {size / 1e6:.1f} MB\n")
        begin = time.perf_counter()
        command = [sys.executable, "-m", "bpb_harness", "audit", str(top), "--recursive", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    sys.stdout.write(f"{done.stdout.splitlines()[-1] if done.stdout else done.stderr}\n")
    processor, memory = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    sys.stdout.write(f"{seconds:.2f} s; {processor:.2f} processor seconds; at most {memory:.0f} MB a process\n")
    return 0 if seconds <= given.limit and done.returncode in (0, 1, 3) else 1


if __name__ == "__main__":
    sys.exit(main())
