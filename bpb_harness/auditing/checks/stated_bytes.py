"""BPB115: bytes per token that a record states, held against its own loss and score."""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence, Ratio, ratio_of, ratio_of_pair
from bpb_harness.claim import Printed
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
    for line in evidence.lines:
        ratio = ratio_of(line)
        if ratio is None:
            continue
        of_log = [log.bytes_per_token for log in evidence.claim_logs if line in log.lines]
        alone = of_log[0] if of_log and len({each.value for each in of_log[0]}) == 1 else ()
        for each in (line.bytes_per_token, *alone[:1], stated):
            if each is not None:
                yield each, ratio
