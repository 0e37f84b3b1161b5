"""BPB41x: a score's own file. What contradicts itself was not written by a command of ours as it stands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim.own_result import OwnResult
from bpb_harness.findings import Finding, Rule
from bpb_harness.formats.scored_again import command_of
from bpb_harness.result import ESTIMATED_BOUND, EXACT, UNTRUSTED_ERROR

_RULES: dict[str, Rule] = {
    "arithmetic": codes.RESULT_ARITHMETIC,
    "signature": codes.RESULT_SIGNATURE,
    "relation": codes.RESULT_RELATION,
}
_MEANINGS = {ESTIMATED_BOUND: "an estimate of a bound", EXACT: "an exact code length"}


def check_own_result(evidence: Evidence) -> Iterator[Finding]:
    """Hold a result's file against itself; that it agrees is no evidence, for anybody can write what agrees."""
    own = evidence.claim.result
    if own is None:
        return
    for found in own.contradictions:
        yield _RULES[found.kind].finding(
            f"{own.file}: {found}", file=own.file, key=found.place, seen=found.seen, expected=found.expected
        )
    yield from _doubts(own)
    if not own.contradictions:
        result = own.result
        size = f"{result.length.num_tokens:,} tokens"
        what = _MEANINGS.get(result.relation, "a bound")
        message = (
            f"{own.file} agrees with itself: {what}, of {size}, by {result.signature}; that alone confirms nothing"
        )
        yield codes.RESULT_CONSISTENT.finding(message, file=own.file, signature=str(result.signature))


def _doubts(own: OwnResult) -> Iterator[Finding]:
    """What keeps a score from being trusted, however well its file agrees with itself."""
    result = own.result
    if result.signature.contract == "off":
        message = f"{own.file}: the network's behaviour was not checked (--no-contract)"
        yield codes.RESULT_DOUBTFUL.finding(message, missing="a score without --no-contract")
    if result.is_below_source:
        yield codes.RESULT_DOUBTFUL.finding(f"{own.file}: {result.below_source()}")
    if any(remark.code == UNTRUSTED_ERROR for remark in result.remarks):
        message = f"{own.file} says itself that the error of its score is not to be trusted"
        yield codes.RESULT_DOUBTFUL.finding(message, missing="a score of more samples")


def missing_of(own: OwnResult, *, is_rescored: bool, is_proved: bool = False) -> list[str]:
    """What would confirm it, as commands.

    Args:
        own: the file.
        is_rescored: whether the harness has scored the checkpoint already, and that did not settle it.
        is_proved: whether a proof was decoded, and that did not settle it.
    """
    command = command_of(own.result)
    if command is None:
        return ["the network, saved as a checkpoint: this one was in memory, and nobody else can ask it"]
    text, source = own.result.signature.data, "--docs" if own.result.answers is not None else "--data"
    proof = f"a proof: bpb-prove CHECKPOINT {source} TEXT --score {shlex.quote(own.file)} --proof FILE"
    learns = own.result.signature.adaptation is not None  # and so has no proof
    if is_rescored:
        return [] if learns else [proof]
    if is_proved:
        return [f"the score anew, of {text}: the same without --proof, with --checkpoint and --data; or: {command}"]
    anew = f"the checkpoint and the text ({text}), to score it anew, here with --checkpoint and --data, or: {command}"
    return [anew] if learns else [anew, f"or {proof}"]
