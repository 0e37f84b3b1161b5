"""BPB458: a loss that a record gives beside its score, which is none of the line that prints the score.

A number of another evaluation, or one that was made up: nothing follows for the score, which its log prints with a loss
of its own. The score itself under the name of a loss, as one public record in thirty has it, is no loss.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.findings import Finding
from bpb_harness.units import bits_to_nats, nats_to_bits

_APART = 1e-3  # relative; means over batches and over tokens differ by less
_FEWEST_DECIMALS = 3


def check_stated_loss(evidence: Evidence) -> Iterator[Finding]:
    """Hold the loss beside the claimed score against those of the lines that print it."""
    claim, lines = evidence.claim, evidence.lines
    loss, score = claim.nats_per_token, claim.score
    if loss is None or score is None or not lines or claim.claimed_in != "submission" or not claim.same_estimator:
        return
    printed = [line.nats_per_token for line in lines if line.nats_per_token is not None and line.same_estimator]
    if len(printed) < len(lines) or (loss.decimals or 0) < _FEWEST_DECIMALS:
        return
    own = statistics.fmean(each.value for each in printed)
    rounding = loss.half_unit + printed[0].half_unit
    if score.agrees_with(loss.value, rounding) or math.isclose(loss.value, own, rel_tol=_APART, abs_tol=rounding):
        return
    if any(math.isclose(loss.value, each, rel_tol=_APART) for each in (nats_to_bits(own), bits_to_nats(score.value))):
        return  # in bits, or of a byte
    its = "the line that prints the score has" if len(lines) == 1 else "the lines whose mean it is have a mean of"
    place = f" ({printed[0].source})" if len(lines) == 1 else ""
    shown = str(printed[0]) if len(lines) == 1 else f"{own:.{min(printed[0].decimals or 4, 6)}f}"
    message = (
        f"the {loss.name} of {loss.source.file}, {loss}, is not the loss of its score: {its} {shown}{place}; with "
        f"{loss} it would be of {nats_to_bits(loss.value) / score.value:.5f} bytes per token"
    )
    yield codes.LOSS_BESIDE.finding(message, stated=loss.value, logged=own)
