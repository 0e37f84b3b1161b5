"""nanochat's ``report.md``, as a claim: what it says of the base model's bits per byte.

A section a stage (``## Base model training``), a line a number (``- Minimum validation bpb: 0.7450``), and at the end
of some sections text that the model made, in which anything may stand: of a heading and of a key the first counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.claim.printed import Printed, Source, parse_number
from bpb_harness.claim.record import Claim, Note, NoteKind

BEGINS = "# nanochat training report"
# The leaderboard gives the first of these; the others are of the finished model, or on more of the text.
_SCORES = (
    ("Base model training", "Minimum validation bpb"),
    ("Base model training", "Final validation bpb"),
    ("Base model evaluation", "val bpb"),
    ("Base model loss", "val bpb"),
)
_LONGEST_LINE = 300


def is_nanochat_report(text: str) -> bool:
    """Whether a text begins as every such report does."""
    return text.lstrip("\ufeff").startswith(BEGINS)


def read_nanochat_report(text: str, file: str) -> Claim:
    """A claim from a report; of several scores of the base model the leaderboard's is taken, and the others are told.

    Args:
        text: the file's.
        file: its name, for sources.
    """
    scores = [*_scores(text, file)]
    if not scores:
        return Claim(file)  # of a run that ended early, or of conversations alone
    score, *others = scores
    notes: tuple[Note, ...] = ()
    if others:
        told = ", ".join(f"{other.name} {other}" for other in others)
        message = f"{file} gives several scores of the base model: {score.name} {score} is taken; the others are {told}"
        notes = (Note(NoteKind.CHOICE, message, score.source),)
    return Claim(file, score=score, claimed_in="submission", other_scores=tuple(others), notes=notes)


def _scores(text: str, file: str) -> Iterator[Printed]:
    lines = [line[:_LONGEST_LINE] for line in text.split("\n")]
    for section, key in _SCORES:
        start = next((at for at, line in enumerate(lines) if line.strip() == f"## {section}"), None)
        if start is None:
            continue
        for number, line in enumerate(lines[start + 1 :], start + 2):
            if line.startswith("## "):
                break
            if line.startswith(f"- {key}: "):
                source = Source(file, number)
                score = parse_number(line.removeprefix(f"- {key}: "), source, f"{key} of {section}")
                if score is not None and score.value > 0.0:
                    yield score
                break
