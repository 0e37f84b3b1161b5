"""BPB426: lines that no run prints: a clock that goes back, or steps as even as no clock measures them, one size to the
byte of networks that differ, losses or times that the logs of two seeds share, and numbers that are guessed or have
digits left open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.shared_losses import shared_lines
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import texts_of_scripts
from bpb_harness.claim import Printed
from bpb_harness.claim.clock import ClockBack
from bpb_harness.claim.even_steps import EvenSteps
from bpb_harness.findings import Finding

# Two networks of the same shape may be packed into as many bytes by chance, once in some ten thousand pairs.
_FEWEST_OF_ONE_SIZE = 3
_BLOCK = 512  # bytes, up to a multiple of which a file may have been filled


def check_log_of_a_run(evidence: Evidence) -> Iterator[Finding]:
    """All that is found of the claim's own logs, in one finding."""
    runs = {(line.bpb.source.file, line.run) for line in evidence.lines}
    backs = [back for log in evidence.claim_logs for back in log.clock_back if (log.file, back.run) in runs][:1]
    told = [_told(back) for back in backs]
    places = [str(place) for back in backs for place in (back.earlier, back.later)]
    sizes = _of_one_size(evidence)
    if sizes:
        told.append(
            f"{len(sizes)} logs of other seeds, trainings and scores have one packed size to the byte, "
            f"{sizes[0].value:,.0f} ({', '.join(str(size.source) for size in sizes)})"
        )
        places += [str(size.source) for size in sizes]
    if (shared := shared_lines(evidence)) is not None:
        told.append(shared[0])
        places += shared[1]
    whose = "are of several runs, or were changed" if told else "were written by hand, or changed"
    written = [each for log in evidence.claim_logs for each in log.written if not _is_in_a_script(evidence, each[1])][
        :1
    ]
    rows = [row for log in evidence.claim_logs for row in log.even_steps if (log.file, row.run) in runs][:1]
    places += [str(place) for row in rows for place in (row.first, row.last)]
    told += [f"{place} has {words!r}, which no program prints for a number" for place, words in written]
    places += [str(place) for place, _ in written]
    if told or rows:
        clock = " by one clock" if backs and len(told) == 1 else ""  # which the other signs have nothing to do with
        said = [f"{'; '.join(told)}: no run prints this{clock}; the lines {whose}"] if told else []
        message = ". ".join([*said, *map(_told_of_row, rows)])
        missing = "the logs as the runs printed them"
        yield codes.NO_RUN_PRINTS.finding(message, places=[*places], missing=missing)


def _is_in_a_script(evidence: Evidence, words: str) -> bool:
    """Whether a script of the record writes a guess so itself: f"step:~{step}"."""
    names = {found[0] for found in _GUESSED.finditer(words)}
    texts = texts_of_scripts(evidence.claim.scripts) if names else ()
    return any(name in text.lower() for text in texts for name in names)


_GUESSED = re.compile(r"[a-z_]{1,20}[:=] ?~")


def _told(back: ClockBack) -> str:
    what = "stops the training" if back.is_stop else "goes on"
    return f"{back.later} {what} at {back.behind:,.0f} ms, and {back.earlier} is at {back.at:,.0f} ms already"


def _told_of_row(row: EvenSteps) -> str:
    return (
        f"{row.count} times in a row {row.steps:,} steps take {row.milliseconds:,} ms to the millisecond, from "
        f"{row.first} to {row.last}, where half of the run's other times for as many lie {row.deviation:,.3g} ms or "
        f"more from their median: the chance that times which scatter so have such a row is below one in a million, "
        "and it is not what a clock gives"
    )


def _of_one_size(evidence: Evidence) -> list[Printed]:
    """The sizes that the logs of a mean pack their networks into, where all are one and the networks are not."""
    logs = evidence.claim_logs if evidence.how == "mean" else ()
    sizes, seeds, losses = [], set(), set()
    for log in logs:
        trained = [line.bpb for line in log.lines if line.is_training_step]  # none in a log of an evaluation alone
        packed = [
            size
            for size in log.packed
            if trained and size.decimals == 0 and (size.source.line or 0) > (trained[-1].source.line or 0)
        ]
        if not packed or log.seed is None:
            return []
        sizes.append(packed[-1])
        seeds.add(log.seed)
        losses.add(trained[-1].value)
    differ = len(seeds) == len(losses) == len(sizes) >= _FEWEST_OF_ONE_SIZE
    is_one = len({size.value for size in sizes}) == 1
    return sizes if differ and is_one and sizes[0].value % _BLOCK else []
