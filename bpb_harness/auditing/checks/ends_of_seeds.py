"""BPB406: a score that a record lists for a seed, where the log of that seed ends with another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence, mean_of_seeds
from bpb_harness.claim import LogRecord, Printed, ScoreLine
from bpb_harness.findings import Finding, Severity

_TELLING, _SLIP = 3, 5e-5  # decimals of a listed score; bits per byte by which one is written down wrongly


def check_ends_of_seeds(evidence: Evidence) -> Iterator[Finding]:
    """A remark for each listed seed whose own log prints another score at its end, and no log the listed one.

    Nothing is said unless the log of another seed prints what is listed for that one, and both end with the same line:
    else the list is of another evaluation, the logs are of other runs, or one of them was cut short. A seed of several
    logs may have been run again, and an evaluation may have a log of its own.
    """
    score = evidence.claim.score
    for name, seeds in evidence.claim.seed_scores.items():
        if score is None or not (name == score.name or score.agrees_with(mean_of_seeds(seeds))):
            continue  # of another number than the one that logs end with
        ends = {seed: end for seed in seeds if (end := _end_of(evidence, seed)) is not None}
        printed = {seed for seed, (log, _) in ends.items() if _prints(log, seeds[seed])}
        labels = {ends[seed][1].label for seed in printed}
        others = [
            seed
            for seed, (_, end) in ends.items()
            if (seeds[seed].decimals or 0) >= _TELLING
            and end.label in labels
            and not any(_prints(log, seeds[seed]) for log in evidence.claim.logs)
        ]
        if printed and others:
            yield _told(seeds, {seed: ends[seed][1] for seed in others})
            return


def _told(seeds: Mapping[str, Printed], ends: Mapping[str, ScoreLine]) -> Finding:
    said = [
        f"{seeds[seed].source.file} gives {seeds[seed]} for seed {seed}, and {end.bpb.source.file}, the log of that "
        f"seed, ends with {end.bpb} ({end.bpb.source})"
        for seed, end in ends.items()
    ]
    return codes.SEEDS_CONTRADICT.finding(
        "; ".join(said),
        severity=Severity.INFORMS,
        seeds={seed: seeds[seed].value for seed in ends},
        logged={seed: end.bpb.value for seed, end in ends.items()},
    )


def _end_of(evidence: Evidence, seed: str) -> tuple[LogRecord, ScoreLine] | None:
    """The only log of a seed, with its last line that is none of a training step."""
    logs = [log for log in evidence.claim.logs if log.seed == seed and log.lines]
    if len(logs) != 1 or logs[0].lines[-1].run != logs[0].lines[0].run or logs[0].lines[-1].is_training_step:
        return None
    return logs[0], logs[0].lines[-1]


def _prints(log: LogRecord, score: Printed) -> bool:
    """Whether a log prints a score, whatever it is called and however it is rounded."""
    printed = [*(line.bpb for line in log.lines), *log.unread]
    return any(score.agrees_with(each.value, each.half_unit) for each in printed) or any(
        abs(value - score.value) <= max(2.0 * score.half_unit, _SLIP)
        for value in {*log.numbers_beside_bpb, *(each.value for each in printed)}
    )
