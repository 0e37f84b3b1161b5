"""Logs of two trainings that print the same losses behind them, line for line: what they share was written twice.

Of the 509 public means over logs of several seeds two have such logs; in no other do two logs share a tenth of their
losses, but for files into which the logs of all seeds were put together, which have many more than any of these. Logs
of one training that was evaluated several times share its lines too, and are honest.
"""

from __future__ import annotations

import re
from itertools import combinations

from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim import LogRecord
from bpb_harness.claim.text_file import read_text
from bpb_harness.errors import ClaimError

_LOSS = re.compile(r"(?:loss|bl|bpb)\s?[:=]\s?[0-9]{1,3}\.[0-9]{3}")
_OF_TRAINING = re.compile(r"train_loss|\bstep\s?[:=]?\s?[0-9]|\biter")
_FEWEST_STEPS, _FEWEST, _SHARE = 3, 20, 0.8
_ONE_TRAINING = 0.2  # two begin alike, at most


def shared_losses(evidence: Evidence) -> tuple[str, tuple[str, str]] | None:
    """What is shared, in words, and the two logs; None where no two logs of the claim's mean share so much."""
    logs = [log for log in evidence.claim_logs if log.seed is not None and log.path is not None and evidence.lines]
    texts = {log.file: _lines_of(log) for log in logs} if len(logs) > 1 else {}
    for one, other in combinations(logs, 2):
        first, second = texts[one.file], texts[other.file]
        if one.seed == other.seed or one.digest == other.digest:
            continue
        of_training, shared = _losses_in(first & second)
        if shared < _FEWEST:
            continue
        counts = _losses_in(first), _losses_in(second)
        steps, most = min(steps for steps, _ in counts), max(behind for _, behind in counts)
        if steps >= _FEWEST_STEPS and of_training <= _ONE_TRAINING * steps and shared >= _SHARE * most:
            said = f"{one.file} of seed {one.seed} and {other.file} of seed {other.seed} share {shared:,} of {most:,}"
            return f"{said} lines with losses behind two trainings, digit for digit", (one.file, other.file)
    return None


def _losses_in(lines: frozenset[str]) -> tuple[int, int]:
    """Lines with losses of steps of training, and others."""
    found = [_OF_TRAINING.search(line) is not None for line in lines if _LOSS.search(line)]
    return sum(found), len(found) - sum(found)


def _lines_of(log: LogRecord) -> frozenset[str]:
    assert log.path is not None
    try:
        return frozenset(read_text(log.path, log.file).text.split("\n"))
    except ClaimError:
        return frozenset()
