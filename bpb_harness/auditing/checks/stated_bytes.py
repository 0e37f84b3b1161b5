"""BPB115 and 116: bytes per token that a record states, or gives to a command, held against its loss and score."""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import SCATTER, Evidence, Ratio, ratio_of, ratio_of_pair
from bpb_harness.claim import Printed, ScoreLine
from bpb_harness.claim.stated_bytes import given_bytes
from bpb_harness.findings import Finding, Json, Severity

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


def check_given_bytes(evidence: Evidence) -> Iterator[Finding]:
    """Say of bytes per token that a README's command gives whether the record divides by them."""
    readme, score = evidence.claim.readme, evidence.claim.score
    if readme is None or score is None:
        return
    given = next(iter(given_bytes(readme.text, readme.file)), None)
    if given is None:
        return
    ratio = evidence.ratio if evidence.ratio is not None and evidence.ratio.same_estimator else None
    told = f"{given.source} gives {given.name}, a number of bytes per token, to a command"
    facts: dict[str, Json] = {"stated": given.value, "place": str(given.source)}
    if ratio is None:
        message = (
            f"{told}; if the score was divided by it, it is no count of bytes, and no loss is printed that would tell"
        )
        missing = "a loss in nats per token beside the score"
        yield codes.BYTES_GIVEN.finding(message, severity=Severity.WARNS, facts=facts, missing=missing)
    elif ratio.is_near(given.value, _SAME):
        message = (
            f"{told}, and loss / ln 2 / score is {ratio.value:.5f}: the score was divided by what the command says"
        )
        is_right = evidence.full is not None and abs(given.value / evidence.full.bytes_per_token - 1.0) <= SCATTER
        severity = Severity.INFORMS if is_right else Severity.WARNS
        yield codes.BYTES_GIVEN.finding(message, severity=severity, facts=facts, implied_ratio=ratio.value)
    else:
        message = (
            f"{told}, while loss / ln 2 / score is {ratio.value:.5f} ({', '.join(ratio.places[:_MAX_PLACES])}): the "
            "command that made this log did not use it, or it divides something else"
        )
        yield codes.BYTES_GIVEN.finding(message, facts=facts, implied_ratio=ratio.value)


def _alone(evidence: Evidence, line: ScoreLine) -> Printed | None:
    """What lines of nothing else state in the log of a score; bytes and tokens, only right before or behind it."""
    said = [each for log in evidence.claim_logs if line in log.lines for each in log.bytes_per_token]
    told = [each for each in said if each.source.key is None or _is_next_to(each, line.bpb)]
    return told[0] if len({each.value for each in told}) == 1 else None


def _is_next_to(one: Printed, other: Printed) -> bool:
    first, second = one.source, other.source
    return first.line is not None and second.line is not None and abs(first.line - second.line) == 1
