"""What would settle a claim that is not settled, in words that a reader of a thread can act on."""

from __future__ import annotations

from collections.abc import Sequence

from bpb_harness.findings import Finding

SCORED_AGAIN = (
    "the checkpoint (the file of the trained network), scored by somebody else than its author: `bpb-audit FOLDER "
    "--checkpoint FILE --data FILE --tokenizer FILE`"
)
A_PROOF = "a file of bits that decodes to the text (`bpb-prove` writes one, `bpb-audit --proof` checks it)"


def settling(refuting: Sequence[Finding], expected: float | None, *, is_recomputed: bool) -> tuple[str, ...]:
    """What would settle a refuted score: a run without the fault, or somebody else's.

    Args:
        refuting: the findings that refute it.
        expected: the corrected score, in bits per byte; None where none can be given.
        is_recomputed: whether the harness has scored the checkpoint itself: then nothing is open.
    """
    if is_recomputed:
        return ()
    places = dict.fromkeys(place for finding in refuting if (place := _place_in_script(finding)) is not None)
    near = f", which should print about {expected:.4f} bits per byte" if expected is not None else ""
    run = f"the evaluation run again, on the whole text and without the fault{_at(list(places))}{near}"
    return (run, f"instead of that: {SCORED_AGAIN}")


def _at(places: Sequence[str]) -> str:
    return f" ({', '.join(places)})" if places else ""


def _place_in_script(finding: Finding) -> str | None:
    file, line = finding.evidence.get("file"), finding.evidence.get("line")
    return f"{file}:{line}" if isinstance(file, str) and isinstance(line, int) else None
