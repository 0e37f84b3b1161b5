"""BPB115: bytes per token that a record states, held against its loss and score."""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence, Ratio, ratio_of, ratio_of_pair
from bpb_harness.claim import Printed, ScoreLine
from bpb_harness.findings import Finding

# Relative, beside what the digits leave open: a stated number may be of a text with or without its last tokens.
_SAME = 0.01


def check_stated_bytes(evidence: Evidence) -> Iterator[Finding]:
    """Doubt a record whose loss, score and bytes per token contradict each other, whichever of them is wrong."""
    if evidence.claim.protocol.bytes_per_token_is_constant:
        return  # BPB103 speaks of it
    for stated, ratio in _pairs(evidence):
        rounding = stated.half_unit / stated.value
        if not ratio.same_estimator or ratio.is_near(stated.value, _SAME + rounding + ratio.uncertainty):
            continue
        message = (
            f"{stated.source} states {stated} bytes per token, while loss / ln 2 / score is {ratio.value:.5f} "
            f"({', '.join(ratio.places[:_MAX_PLACES])}): the three contradict each other, and which of them is wrong, "
            "the record does not tell"
        )
        yield codes.BYTES_CONTRADICT.finding(
            message,
            stated=stated.value,
            implied_ratio=ratio.value,
            places=[str(stated.source), *ratio.places],
            missing="the bytes and the tokens that were scored, printed by what scored them",
        )
        return


_MAX_PLACES = 4


def _pairs(evidence: Evidence) -> Iterator[tuple[Printed, Ratio]]:
    """Each statement with the loss and score that it stands beside: of the claim's file, then of its log lines."""
    claim = evidence.claim
    stated, loss, score = claim.protocol.bytes_per_token, claim.nats_per_token, claim.score
    if stated is not None and loss is not None and score is not None:
        own = ratio_of_pair(loss, score, claim.same_estimator)
        yield from () if own is None else ((stated, own),)
    if evidence.ratio is not None:
        yield from ((each, evidence.ratio) for each in _in_tables(evidence))
    for line in evidence.lines:
        ratio = ratio_of(line)
        if ratio is None:
            continue
        for each in (line.bytes_per_token, _alone(evidence, line), stated):
            if each is not None:
                yield each, ratio


def _in_tables(evidence: Evidence) -> Iterator[Printed]:
    """What tables of the README state beside the claimed score."""
    readme, score = evidence.claim.readme, evidence.claim.score
    for row in readme.rows if readme is not None and score is not None else ():
        stated, shown = row.bytes_per_token, row.score
        is_telling = (shown.decimals or 0) >= _TELLING_DECIMALS  # 1.3 is rounded from any score
        if stated is not None and is_telling and score is not None and score.agrees_with(shown.value, shown.half_unit):
            yield stated


_TELLING_DECIMALS = 3


def _alone(evidence: Evidence, line: ScoreLine) -> Printed | None:
    """What lines of nothing else state in the log of a score; bytes and tokens, only right before or behind it."""
    said = [each for log in evidence.claim_logs if line in log.lines for each in log.bytes_per_token]
    told = [each for each in said if each.source.key is None or _is_next_to(each, line.bpb)]
    return told[0] if len({each.value for each in told}) == 1 else None


def _is_next_to(one: Printed, other: Printed) -> bool:
    first, second = one.source, other.source
    return first.line is not None and second.line is not None and abs(first.line - second.line) == 1
