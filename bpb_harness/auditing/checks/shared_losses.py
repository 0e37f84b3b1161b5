"""Logs of two trainings that print the same losses behind them, line for line, or the same times: written twice.

Of the 509 public means over logs of several seeds two have such logs; in no other do two logs share a tenth of their
losses, but for files into which the logs of all seeds were put together, which have many more than any of these. Logs
of one training that was evaluated several times share its lines too, and are honest.

Of times of 100 s and more, to a tenth, no two public logs of two trainings share more than two; of three records, in
which they share losses too or are copies with noise, they share five to seven.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise

from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import text_of_log
from bpb_harness.findings import first_of

_LOSS = re.compile(r"(?:loss|bl|bpb)\s?[:=]\s?[0-9]{1,3}\.[0-9]{3}")
_OF_TRAINING = re.compile(r"train_loss|\bstep\s?[:=]?\s?[0-9]|\biter")
_FEWEST_STEPS, _FEWEST, _SHARE = 3, 20, 0.8
# What no training decides: counts of the text alone, numbers of others, points that are tried.
_OF_NO_TRAINING = re.compile(r"gram|\border\b|reference|baseline|prior|previous|public|leader|\bgrid\b", re.IGNORECASE)
_ONE_TRAINING = 0.2  # two begin alike, at most
_TIME = re.compile(r"(?<![0-9.])([0-9]{3,6}\.[0-9]{1,6}) ?s(?:ec(?:onds)?)?\b")
_OF_A_STEP = re.compile(r"train_loss|training[ _]loss", re.IGNORECASE)
_EVEN = 0.05  # of the time from one to the next
_FEWEST_TIMES, _SHARE_OF_TIMES = 5, 0.5


def shared_lines(evidence: Evidence) -> tuple[str, tuple[str, str]] | None:
    """What is shared, in words, and the two logs; None where no two logs of the claim's mean share so much."""
    logs = [log for log in evidence.claim_logs if log.seed is not None and log.path is not None and evidence.lines]
    texts = {log.file: text_of_log(log).split("\n") for log in logs} if len(logs) > 1 else {}
    for one, other in combinations(logs, 2):
        first, second = frozenset(texts[one.file]), frozenset(texts[other.file])
        if one.seed == other.seed or one.digest == other.digest:
            continue
        of_training, shared = _losses_in(first & second)
        counts = _losses_in(first), _losses_in(second)
        steps, most = min(steps for steps, _ in counts), max(behind for _, behind in counts)
        if steps < _FEWEST_STEPS or of_training > _ONE_TRAINING * steps:
            continue
        said = f"{one.file} of seed {one.seed} and {other.file} of seed {other.seed}"
        if shared >= _FEWEST and shared >= _SHARE * most:
            said += f" share {shared:,} of {most:,} lines with losses behind two trainings, digit for digit"
            return said, (one.file, other.file)
        behind = _times_in(_behind_training(texts[one.file])), _times_in(_behind_training(texts[other.file]))
        times = sorted(_times_in(first & second) & behind[0] & behind[1], key=float)
        fewest = min(len(_times_in(first)), len(_times_in(second)))
        if _are_even(times):
            continue
        if len(times) >= _FEWEST_TIMES and len(times) >= _SHARE_OF_TIMES * fewest:
            shown = first_of([f"{time} s" for time in times], _FEWEST_TIMES)
            said += f" give {len(times)} of {fewest} times of 100 s and more alike to the last digit ({shown}), "
            return f"{said}in two trainings", (one.file, other.file)
    return None


def _behind_training(lines: Sequence[str]) -> Sequence[str]:
    """The lines behind the last step of training: in front of it a schedule tells times that its settings give."""
    last = max((number for number, line in enumerate(lines) if _OF_A_STEP.search(line)), default=-1)
    return lines[last + 1 :]


def _are_even(times: Sequence[str]) -> bool:
    """Whether times are those of something that tells them again and again, so many seconds apart."""
    apart = [float(later) - float(earlier) for earlier, later in pairwise(times)]
    return bool(apart) and all(abs(each / min(apart) - round(each / min(apart))) <= _EVEN for each in apart)


def _times_in(lines: Iterable[str]) -> set[str]:
    """Times of 100 s and more that no setting gives: with decimals, in seconds."""
    return {found[1] for line in lines for found in _TIME.finditer(line) if found[1].rstrip("0")[-1] != "."}


def _losses_in(lines: frozenset[str]) -> tuple[int, int]:
    """Lines with losses of steps of training, and others that hang on it."""
    kept = (line for line in lines if _LOSS.search(line) and not _OF_NO_TRAINING.search(line))
    found = [_OF_TRAINING.search(line) is not None for line in kept]
    return sum(found), len(found) - sum(found)
