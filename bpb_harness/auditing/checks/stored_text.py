"""BPB218: tokens of the scored text that a log says are stored beside the network, and cost nothing in the score.

The bytes that hold them may be part of the artifact: the score has no part of them. With these bytes paid, it is the
length of a code again; divided by the bytes of what was priced, it is the score of that other text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim import ScoreLine
from bpb_harness.claim.stored_text import StoredText
from bpb_harness.findings import Finding

_WITHOUT = re.compile(
    r"unpaid|(?<![a-z])(?:no|not|without|sans|un|wo|w/o)[-_ /]{0,2}(?:paid[-_ ]?)?prefix", re.IGNORECASE
)


def check_stored_text(evidence: Evidence) -> Iterator[Finding]:
    """The last line of the run, in front of a score of the claim, that tells of stored tokens."""
    for line in evidence.lines or evidence.siblings:
        log, place = evidence.log_of(line), line.bpb.source.line
        told = log.stored if log is not None and place is not None and not _WITHOUT.search(line.label) else ()
        before = [each for each in told if each.run == line.run and (each.source.line or 0) < (place or 0)]
        if before and _may_be_part(evidence, before[-1]):
            yield _finding(evidence, line, before[-1])
            return


def _may_be_part(evidence: Evidence, told: StoredText) -> bool:
    """Whether so many tokens may be stored of a text that is scored: not all of it, and more than a cache of a few."""
    share = evidence.share_of_split(told.num_tokens)
    return share is None or _LEAST_SHARE <= share < 1.0


_LEAST_SHARE = 1e-4  # what is less changes no score that is given to four decimals


def _finding(evidence: Evidence, line: ScoreLine, told: StoredText) -> Finding:
    """The doubt, with what the score would be if what is stored were paid, as far as that is known."""
    share, whole = evidence.share_of_split(told.num_tokens), evidence.bytes_of_split
    whole = whole if evidence.full is None else evidence.full.num_bytes or whole
    part = "" if evidence.full is None or share is None else f", {share:.2%} of its tokens"
    paid, bound = "", None
    if told.num_bytes is not None and whole is not None and evidence.full is not None:
        bound = line.bpb.value + 8.0 * told.num_bytes / whole
        paid = (
            f". With the {told.num_bytes:,} bytes that hold them paid, over the {whole:,} bytes of the text, it is "
            f"{bound:.4f} bits per byte; what was priced is the rest of the text, which has fewer bytes"
        )
    message = (
        f"{told.source} says that {told.num_tokens:,} tokens are stored beside the network ({told.words!r}): if they "
        f"are of the text that is scored{part}, the network does not price them, and they cost nothing in the "
        f"{line.bpb.value:.4f} at {line.bpb.source}{paid}"
    )
    return codes.TEXT_STORED.finding(
        message,
        place=str(told.source),
        num_tokens=told.num_tokens,
        num_bytes=told.num_bytes,
        share=share if part else None,
        with_stored_bytes=bound,
        missing="the score of the whole text by the network alone, with nothing of it stored beside it",
    )
