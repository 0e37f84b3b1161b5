"""BPB406: a score that a record lists for a seed, where the log of that seed ends with another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence, mean_of_seeds
from bpb_harness.claim import LogRecord, Printed, ScoreLine
from bpb_harness.findings import Finding, Severity

_TELLING, _SLIP = 3, 5e-5  # decimals of a listed score; bits per byte by which one is written down wrongly


def check_ends_of_seeds(evidence: Evidence) -> Iterator[Finding]:
    """A remark for each listed seed whose own log prints another score at its end, and nowhere the listed one.

    Nothing is said unless the log of another seed prints what is listed for that one: else the list is of another
    evaluation, or the logs are of other runs. A seed of several logs may have been run again.
    """
    score = evidence.claim.score
    for name, seeds in evidence.claim.seed_scores.items():
        if score is None or not (name == score.name or score.agrees_with(mean_of_seeds(seeds))):
            continue  # of another number than the one that logs end with
        ends = {seed: end for seed in seeds if (end := _end_of(evidence, seed)) is not None}
        printed = {seed for seed, (log, _) in ends.items() if _prints(log, seeds[seed])}
        others = [seed for seed in ends if seed not in printed and (seeds[seed].decimals or 0) >= _TELLING]
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
    """Whether a log prints a score, whatever it is called."""
    values = {*(line.bpb.value for line in log.lines), *log.numbers_beside_bpb, *(each.value for each in log.unread)}
    return any(abs(value - score.value) <= max(2.0 * score.half_unit, _SLIP) for value in values)
