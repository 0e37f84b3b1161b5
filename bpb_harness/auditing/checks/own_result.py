"""BPB41x: a score's own file. What contradicts itself was not written by a command of ours as it stands."""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim.own_result import OwnResult
from bpb_harness.findings import Finding, Rule
from bpb_harness.formats.scored_again import (
    command_of,
    command_of_proof,
    is_of_documents,
    is_of_own_code,
    names_tokenizer,
)
from bpb_harness.result import ESTIMATED_BOUND, EXACT, UNTRUSTED_ERROR, BpbResult

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
    proof = f"a proof: {command_of_proof(own.result, own.file)}"
    learns = own.result.signature.adaptation is not None  # and so has no proof
    if is_rescored:
        return [] if learns else [proof]
    text, here = own.result.signature.data, _flags_of_rescoring(own.result)
    if is_proved:
        same = "" if here is None else f": the same without --proof, with {here}; or"
        return [f"the score anew, of {text}{same}: {command}"]
    anew = (
        f"{_what_is_needed(own.result)}, to score it anew{'' if here is None else f', here with {here}, or'}: {command}"
    )
    return [anew] if learns else [anew, f"or {proof}"]


def _what_is_needed(result: BpbResult) -> str:
    """The files of a score, in words."""
    files = ["the checkpoint"]
    if is_of_own_code(result.signature):
        files.append("the code that loads it")
    if names_tokenizer(result.signature):
        files.append(f"the tokenizer ({result.signature.tokenizer})")
    return f"{', '.join(files)} and the text ({result.signature.data})"


def _flags_of_rescoring(result: BpbResult) -> str | None:
    """What bpb-audit rescores by itself; None where it does not: code of a user, documents, bits per token."""
    if is_of_own_code(result.signature) or is_of_documents(result) or result.bits_per_byte is None:
        return None
    return "--checkpoint, --data and --tokenizer" if names_tokenizer(result.signature) else "--checkpoint and --data"
