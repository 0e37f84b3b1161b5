"""BPB113 and BPB107: a perplexity per byte beside a score in bits per byte. The one is 2 to the power of the other."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.findings import Finding, Json, Severity
from bpb_harness.units import NATS_PER_BIT

_SAME = 1e-6  # relative; both are printed with all their digits, or with few


def check_byte_perplexity(evidence: Evidence) -> Iterator[Finding]:
    """Hold the score against the perplexity per byte that the same file gives."""
    score, perplexity = evidence.claim.score, evidence.claim.byte_perplexity
    if score is None or perplexity is None:
        return
    facts: dict[str, Json] = {"byte_perplexity": perplexity.value, "file": perplexity.source.file}
    if perplexity.value <= 0.0:
        message = f"a perplexity per byte of {perplexity} at {perplexity.source} is none"
        yield codes.BYTE_PERPLEXITY.finding(message, facts=facts)
        return
    nats = math.log(perplexity.value)
    slack = _SAME * abs(nats) + perplexity.half_unit / perplexity.value
    if abs(score.value * NATS_PER_BIT - nats) <= slack + score.half_unit * NATS_PER_BIT:
        message = f"the score is log2 of the perplexity per byte, {perplexity} at {perplexity.source}"
        yield codes.BYTE_PERPLEXITY.finding(message, severity=Severity.INFORMS, facts=facts)
    elif abs(score.value - nats) <= slack + score.half_unit:
        message = (
            f"the score is in nats per byte: it is ln of the perplexity per byte, {perplexity} at {perplexity.source}, "
            f"and log2 of that is {nats / NATS_PER_BIT:.5f}"
        )
        yield codes.NATS_AS_BITS.finding(message, factor=1.0 / NATS_PER_BIT, facts=facts)
    else:
        message = (
            f"the score and the perplexity per byte, {perplexity} at {perplexity.source}, contradict each other: log2 "
            f"of that is {nats / NATS_PER_BIT:.5f}"
        )
        yield codes.BYTE_PERPLEXITY.finding(message, facts=facts)
