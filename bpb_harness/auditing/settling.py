"""What would settle a claim that is not settled, in words that a reader of a thread can act on."""

from __future__ import annotations

from collections.abc import Sequence

from bpb_harness.auditing.learnt import WITHOUT_MIXING, doubts_of_learning, instead_of, is_of_any_cause
from bpb_harness.findings import Finding, Severity, listed, place_in_script

SCORED_AGAIN = (
    "the checkpoint (the trained network's file), scored by somebody other than its author: `bpb-audit FOLDER "
    "--checkpoint FILE --data FILE --tokenizer FILE`"
)
A_PROOF = "a file of bits that decodes to the text (`bpb-prove` writes one, `bpb-audit --proof` checks it)"


_BYTES, _SPACE = "with the bytes of the text in place of a constant", "with each leading space counted once"
_RATES = "with mask rates drawn uniformly from (0, 1], or at the midpoints of equal cells of it"
_OF_MIXING = frozenset(["BPB267", "BPB274", "BPB275", "BPB276"])
# Faults of a byte count that only warn, for what they cost depends on the text; a run has to be without them too.
_MENDED_TOO = frozenset({"BPB103", "BPB150", "BPB154", "BPB156"})
# What a record without a log that shows the division lacks.
_UNLOGGED = frozenset({"BPB106", "BPB402"})
_LOGGED = "; with a log of it, in which the loss in nats per token, the tokens and the bytes stand beside the score"
# What is done about a fault, by its code.
REMEDIES = {
    "BPB103": _BYTES, "BPB150": _BYTES, "BPB151": _SPACE, "BPB153": _SPACE,
    "BPB152": "with the character U+2581 taken for the space that it stands for",
    "BPB202": _RATES, "BPB257": _RATES,
    "BPB254": "with the weight 1/u on the losses of the masked tokens, u being their mask rate",
    "BPB205": "with every token masked and counted", "BPB255": "with every token masked and counted",
    "BPB154": "with each byte token counted as one byte",
    "BPB156": "with tokens that stand for no text counted as no byte",
    **dict.fromkeys(("BPB267", "BPB274", "BPB275", "BPB276"), "with probabilities that add up to 1 over all tokens"),
    "BPB213": "of a network that has not learnt the text",
    "BPB272": "with each part scored before it is learnt", "BPB273": "with each part scored before it is learnt",
}  # fmt: skip


def settling(
    refuting: Sequence[Finding], findings: Sequence[Finding], expected: Sequence[float], *, of_part: bool,
    is_recomputed: bool,
) -> tuple[str, ...]:  # fmt: skip
    """What would settle a refuted score: a run without the fault, or somebody else's.

    Args:
        refuting: the findings that refute it, the leading one first.
        findings: all of them: what only doubts may have to be mended too.
        expected: the corrected score, in bits per byte, and that of the part that was scored; as many as are known.
        of_part: whether that is one of a part of the text.
        is_recomputed: whether the harness has scored the checkpoint itself: then nothing is open.
    """
    if is_recomputed:
        return ()
    is_mixed = all(finding.code in _OF_MIXING for finding in refuting)
    learnt = [REMEDIES["BPB273"]] if is_mixed and not is_of_any_cause(doubts_of_learning(findings)) else []
    faults = [*refuting, *(finding for finding in findings if _is_mended_too(finding))]
    places = dict.fromkeys(place for finding in faults if (place := place_in_script(finding)) is not None)
    about = " to ".join(f"{score:.4f}" for score in sorted(expected))
    near = f", which should print about {about} bits per byte" if about else ""
    if near and of_part:
        near += " if the text that was not scored is like the part that was"
    remedies = dict.fromkeys(REMEDIES[finding.code] for finding in faults if finding.code in REMEDIES)
    how = listed(dict.fromkeys([*(remedies or ["without the fault"]), *learnt]))
    whole = "on the whole text, " if of_part else ""
    unlogged = _LOGGED if any(finding.code in _UNLOGGED for finding in findings) else ""
    run = f"the evaluation run again, {whole}{how}{_at(list(places))}{near}{unlogged}"
    doubts = doubts_of_learning(findings)
    other = instead_of(doubts) if doubts else SCORED_AGAIN
    if is_mixed and is_of_any_cause(doubts):
        other = WITHOUT_MIXING
    return (run, f"instead of that: {other}")


def _is_mended_too(finding: Finding) -> bool:
    return finding.code in _MENDED_TOO and finding.severity is Severity.WARNS


def _at(places: Sequence[str]) -> str:
    return f" ({', '.join(places)})" if places else ""
