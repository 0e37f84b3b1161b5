"""A score that no loss stands beside: which files print none, and where a loss is that is of another line."""

from __future__ import annotations

from bpb_harness.auditing.checks.possible_kinds import possible_kinds
from bpb_harness.auditing.evidence import Evidence, ratio_of
from bpb_harness.claim import Printed, ScoreLine
from bpb_harness.units import nats_to_bits

_SLACK = 1.01  # of what rounding can have hidden


def no_loss_beside(evidence: Evidence) -> str:
    """In words: no loss stands beside the score, and what the one may tell that stands elsewhere."""
    claim = evidence.claim
    assert claim.score is not None
    file = claim.score.source.file
    logs = [log.file for log in claim.logs if log.file != file] if claim.claimed_in != "log" else []
    what, divided = "loss in nats per token beside the score", "by how many bytes per token it was divided"
    who = f"{file} prints no" if not logs else f"neither {logs[0] if len(logs) == 1 else 'a log'} nor {file} prints a"
    kinds = possible_kinds(evidence)
    return f"{who} {what}, so nothing shows {divided}{kinds or _elsewhere(evidence, claim.score)}"


def loss_of_same_number(evidence: Evidence) -> ScoreLine | None:
    """The last line of the logs with a loss beside the very number that is claimed; None where there is none."""
    score, logs = evidence.claim.score, evidence.claim_logs or evidence.claim.logs
    lines = [line for log in logs for line in log.lines if line.nats_per_token is not None]
    return next((line for line in reversed(lines) if score is not None and line.bpb.value == score.value), None)


def told_of_same_number(evidence: Evidence, beside: ScoreLine) -> str:
    """In words: the score's own line prints no loss, and what one divides by that prints the same number with one."""
    own = next((f" ({line.bpb.source})" for line in evidence.lines if line is not beside), "")
    ratio, full = ratio_of(beside) if beside.same_estimator else None, evidence.full
    message = (
        f"the line of the score{own} prints no loss; {beside.bpb.source} prints one, {beside.nats_per_token}, beside "
        f"the same number, {beside.bpb}"
    )
    if ratio is None:
        return message
    message += f", which divides by {ratio.value:.4f} bytes per token"
    if full is None:
        return message
    off = ratio.value / full.bytes_per_token - 1.0
    than = f"{'more' if off > 0 else 'fewer'} than the {full.bytes_per_token:.5f} of {full}"
    return f"{message}, {100 * abs(off):.1f} % {than}"


def _elsewhere(evidence: Evidence, score: Printed) -> str:
    logs = evidence.claim_logs or evidence.claim.logs
    beside = [line for log in logs for line in log.lines if line.nats_per_token is not None]
    if beside:
        return _of_another_line(beside[-1])
    alone = [log.loss_alone for log in logs if log.loss_alone is not None]
    if not alone:
        return ""
    loss = alone[-1]
    return f"; {loss.source} prints a loss, {loss}, on a line without a score{_what_it_makes(evidence, loss, score)}"


def _of_another_line(line: ScoreLine) -> str:
    ratio = ratio_of(line) if line.same_estimator else None
    divides = "" if ratio is None else f", which divides by {ratio.value:.4f} bytes per token"
    return f"; {line.bpb.source} prints a loss, {line.nats_per_token}, beside another score, {line.bpb}{divides}"


def _what_it_makes(evidence: Evidence, loss: Printed, score: Printed) -> str:
    """What the loss is as a score: the claim itself, or in which unit the claim would be."""
    if _is(score, loss.value, loss.half_unit):
        return ": that is the number that is claimed, which would then be nats per token and no bits per byte"
    if evidence.full is None:
        return ""
    per_byte = loss.value / evidence.full.bytes_per_token
    half_unit = loss.half_unit / evidence.full.bytes_per_token
    by = f"by the {evidence.full.bytes_per_token:.5f} bytes per token of {evidence.full}"
    if _is(score, per_byte, half_unit):
        return f": {by} that is {per_byte:.4f} nats per byte, the number that is claimed, and so no bits per byte"
    if _is(score, nats_to_bits(loss.value), nats_to_bits(loss.half_unit)):
        return ": that is the claimed number in bits per token, which is no number of bits per byte"
    return f"; {by} that would be {nats_to_bits(per_byte):.4f} bits per byte"


def _is(score: Printed, value: float, half_unit: float) -> bool:
    return abs(score.value - value) <= (score.half_unit + half_unit) * _SLACK
