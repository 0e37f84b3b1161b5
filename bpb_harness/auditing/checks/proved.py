"""BPB604 to 607: the claimed score against a file of bits, from which windows of it came back, or did not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.rescored import (
    COARSEST_AGREEMENT,
    MIN_WINDOWS,
    NUMERICS,
    STANDARD_ERRORS,
    other_dataset,
    other_files,
    other_settings,
)
from bpb_harness.auditing.checks.stated_signatures import other_signature
from bpb_harness.auditing.evidence import SCATTER, Evidence
from bpb_harness.findings import Finding, Json

_HALF_UNIT = 5e-5  # of the number in the score's line
_SHARE_OF_TOKENS = 0.01  # a dropped tail, a first token that is given


@dataclass(frozen=True)
class Proved:
    """What decoding a file of bits showed.

    Attributes:
        score: the line of the score that the file is a part of.
        relation: of that score.
        bits_per_byte: its number; None where it counts no bytes.
        mc_stderr: its error from the sampling of masks; None where it does not know it.
        is_trusted: whether it does not itself call that error not to be trusted.
        is_checked: whether its network kept the contract, as it says.
        method: its method.
        num_steps: its T; None for other methods.
        context_length: its tokens a window.
        data_name: name of its text.
        part: of how many windows it is the score of the first so many; None of the whole.
        num_tokens: that it paid for.
        num_bytes: that they spell; None where it counts none.
        num_proved: windows in the file.
        num_spans: windows of the score.
        num_bits: of the windows in the file.
        lost: why they did not come back; None where they did.
        differences: how this machine differs from the one that wrote the file.
        rate: bits of the file per unit.
        claimed: what the score says, per the same.
        stderr: of the rate as an estimate of the whole's, by the choice of windows; infinite where it is not known.
        unit: "byte" or "token".
        exceeds: the windows cost more than the score says, by more than four errors of both.
        falls_below: less.
        is_the_text: whether they are those of the text; None where it was not there to be compared.
        bytes_of_text: what the targets of the score spell, counted; None likewise, or where tokens do not tell it.
        held: what was out of reach of the process that decoded, in words.
    """

    score: str
    relation: str
    bits_per_byte: float | None
    mc_stderr: float | None
    is_trusted: bool
    is_checked: bool
    method: str | None
    num_steps: int | None
    context_length: int | None
    data_name: str | None
    part: tuple[int, int] | None
    num_tokens: int
    num_bytes: int | None
    num_proved: int
    num_spans: int
    num_bits: int
    lost: str | None
    differences: tuple[str, ...]
    rate: float
    claimed: float
    stderr: float
    unit: str
    exceeds: bool
    falls_below: bool
    is_the_text: bool | None
    bytes_of_text: int | None
    held: str


def check_proved(evidence: Evidence, proved: Proved, said: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Judge a claim by a proof: does the text come back, is it the claim's score, and what is not established?

    Args:
        evidence: the claim and its record.
        proved: what decoding showed.
        said: the record's texts, by the names of their files: they may name what was scored.
    """
    facts = _facts(evidence, proved)
    these = f"{proved.num_proved:,} of {proved.num_spans:,} windows"
    said = said or {}
    other = _other_score(evidence, proved, said)
    if other is not None:  # whatever became of it, it says nothing of the claim
        yield codes.PROOF_OTHER.finding(other, facts=facts)
        return
    if proved.lost is not None and proved.differences:
        message = f"{these} did not come back from their bits, but the numerics differ: {'; '.join(proved.differences)}"
        yield codes.PROOF_SHORT.finding(message, facts=facts, missing="decoding where the proof was written, or alike")
        return
    numbers = (
        f"{these}, chosen by a hash of the score, came back from {proved.num_bits:,} bits, {proved.rate:.4f} bits per "
        f"{proved.unit}; the score says {proved.relation} {proved.claimed:.4f} of the whole"
    )
    failure = _failure(proved, these, numbers)
    if failure is not None:
        yield codes.PROOF_FAILS.finding(failure, facts=facts)
        return
    message = f"{numbers}; decoded {proved.held}"
    gaps = list(_gaps(evidence, proved))
    if not gaps:
        yield codes.PROVED.finding(message, facts=facts)
        return
    says, missing = "; ".join(says for says, _ in gaps), "; ".join(missing for _, missing in gaps)
    yield codes.PROOF_SHORT.finding(f"{message}; not established: {says}", facts=facts, missing=missing)


def _failure(proved: Proved, these: str, numbers: str) -> str | None:
    """Why the proof is none; None where it is one."""
    if proved.lost is not None:
        return f"{these} did not come back from their bits: {proved.lost}"
    if proved.is_the_text is False:
        return f"what came back from the bits is not {these} of the text"
    if proved.bytes_of_text is not None and proved.bytes_of_text != proved.num_bytes:
        return f"the proof's score divides by {proved.num_bytes:,} bytes, its text has {proved.bytes_of_text:,}"
    return f"{numbers}: they cost more, by more than 4 errors of both" if proved.exceeds else None


def _facts(evidence: Evidence, proved: Proved) -> dict[str, Json]:
    score = evidence.claim.score
    return {
        "claimed": None if score is None else score.value,
        "score": proved.score,
        "windows": proved.num_proved,
        "windows_of_score": proved.num_spans,
        "bits": proved.num_bits,
        "cashed": proved.rate if proved.lost is None else None,
        "unit": proved.unit,
        "stderr": proved.stderr if math.isfinite(proved.stderr) else None,
        "isolation": proved.held,
        "text_compared": proved.is_the_text is not None,
    }


def _other_score(evidence: Evidence, proved: Proved, said: Mapping[str, str]) -> str | None:
    """Why the proof's score is not the claimed one, in words; None where it is, as far as the claim says."""
    score, own = evidence.claim.score, evidence.claim.result
    if own is not None and evidence.is_own_file_alone and proved.score != str(own.result):
        # A score's own file says all that a score depends on: model, text, seed. Another's number may be near.
        return f"the proof is of the score {proved.score}, {own.file} holds {own.result}"
    if score is None:
        return "nothing is claimed to hold the proof against"
    if proved.bits_per_byte is None:
        return "the proof is of a score in bits per token, the claim is in bits per byte"
    signature = proved.score.partition(" ")[0]
    elsewhere = other_files(evidence, signature) or other_dataset(evidence, proved.data_name)
    if elsewhere is None and not evidence.is_own_file_alone:
        elsewhere = other_signature(signature, said)
    if elsewhere is not None:
        return elsewhere
    difference = score.value - proved.bits_per_byte
    rounding = score.half_unit + _HALF_UNIT + NUMERICS
    if abs(difference) > STANDARD_ERRORS * (proved.mc_stderr or 0.0) + rounding:
        settings = other_settings(evidence, proved)
        beside = "" if settings is None else f" ({settings})"
        return f"the proof is of a score of {proved.bits_per_byte:.4f}, the claim is {score.value}{beside}"
    tokens = evidence.scored_tokens
    if tokens is not None and abs(tokens / proved.num_tokens - 1.0) > _SHARE_OF_TOKENS:
        return f"the claim is about {tokens:,} tokens, the proof's score about {proved.num_tokens:,}"
    ratio = evidence.ratio
    if ratio is not None and ratio.same_estimator and proved.num_bytes is not None:
        here = proved.num_bytes / proved.num_tokens
        if not ratio.is_near(here, SCATTER):
            return f"the claim divides by {ratio.value:.5g} bytes per token, the proof's score by {here:.5g}"
    return None


def _gaps(evidence: Evidence, proved: Proved) -> Iterator[tuple[str, str]]:
    """What the proof leaves open, and what would close it."""
    if proved.is_the_text is None:
        yield "that these tokens are the text's", "the text, to compare the windows with it (--data)"
    elif proved.bytes_of_text is None:
        yield "the bytes of the text, which its tokens do not tell", "a score by --bytes official"
    if proved.part is not None and proved.part[0] != evidence.claim.protocol.num_windows:
        yield f"anything beyond the first {proved.part[0]:,} of {proved.part[1]:,}", "a score of the whole, no --limit"
    if not proved.is_checked:
        yield "that the network keeps its contract", "a score without --no-contract"
    if proved.mc_stderr is None or not proved.is_trusted:
        yield "the error of the score, which it does not trust itself", "a score with more --samples"
    if proved.falls_below:
        yield (
            "that these windows are like the others: they cost less than the score says, by more than 4 errors",
            "a proof of other windows (another --seed)",
        )
    coarse = _too_coarse(proved)
    if coarse is not None:
        yield coarse


def _too_coarse(proved: Proved) -> tuple[str, str] | None:
    """Why the windows do not show the number closely enough, and what would; None where they do."""
    sampling, most = proved.mc_stderr or 0.0, COARSEST_AGREEMENT * proved.claimed / STANDARD_ERRORS
    stderr, enough = math.hypot(proved.stderr, sampling), min(MIN_WINDOWS, proved.num_spans)
    if stderr <= most and proved.num_proved >= enough:
        return None
    if stderr <= most or not math.isfinite(stderr):
        these = f"{proved.num_proved:,} window{'s' if proved.num_proved > 1 else ''}"
        says = f"the number: {these} are fewer than {enough}, and do not tell how much the others differ"
        return says.replace("window are", "window is"), _a_proof_of(proved, enough)
    says = (
        f"the number, to better than its error ({stderr:.4f}): {STANDARD_ERRORS:g} of it are more than "
        f"{COARSEST_AGREEMENT:.1%} of the number"
    )
    if sampling >= most:
        return says, "a score with a smaller error of its own (more --samples), and a proof of that one"
    needed = max(enough, _windows_needed(proved, most**2 - sampling**2))
    if needed > proved.num_spans:
        return says, (
            f"a score of more windows (about {needed:,}; this one has {proved.num_spans:,}), and a proof of that one"
        )
    return says, _a_proof_of(proved, needed)


def _a_proof_of(proved: Proved, count: int) -> str:
    all_of_them = "all " if count == proved.num_spans else ""
    about = f"{all_of_them}{count:,}" if all_of_them else f"about {count:,} of the {proved.num_spans:,}"
    return f"a proof of {about} windows of the same score (`bpb-prove --num-windows {count}`)"


def _windows_needed(proved: Proved, variance: float) -> int:
    """How many windows have so small a variance, if the others differ as these do; a fifth more, for they may not.

    Of a score that draws nothing, windows that are in the file have no error: a sample without replacement of all.
    """
    count, every = proved.num_proved, proved.num_spans
    if proved.relation != "=":
        return math.ceil(1.2 * proved.stderr**2 * count / variance)
    single = proved.stderr**2 * count / (1.0 - count / every)
    return min(every, math.ceil(1.2 * single / (variance + single / every)))
