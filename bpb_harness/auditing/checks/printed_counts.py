"""BPB104 by the tokens and bytes that a log prints beside the claimed score: what the score was divided by.

Where a mixture is scored, the loss beside it is another quantity's, and tells nothing of its bytes. Honest counts are
off the table's by less than what any of these rules asks for: of documents without the token before each, with the
newline behind each, without the tail that fills no window. A part of the text has bytes per token of its own; it is
held against other lines of the log where these score the very same tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.other_text_told import names_another_text
from bpb_harness.auditing.checks.possible_kinds import bugs_near, candidates
from bpb_harness.auditing.evidence import SCATTER, Evidence, Ratio, ratio_of, rounds_to
from bpb_harness.claim import ScoreLine
from bpb_harness.claim.printed_counts import PrintedCounts
from bpb_harness.findings import Finding, Json
from bpb_harness.rules.denominators import Denominator

_NEAR = 3  # lines between a score and what prints its counts
_TELLING_LABEL = 4  # letters by which a line without the score is of the same evaluation
_SAME_RATIO = 1e-3  # relative
_WHOLE = 2e-3  # relative; tokens before documents, and tails, that an evaluation of all of the text leaves out
_TAIL = 1e-3  # relative; tokens of a part that fill no window
_OF_PARTS = 0.03  # relative; by as much the bytes per token of large parts differ from the whole text's
_MOST = 1.5  # times the bytes: beyond, two counts of different things stand side by side
_WIDTHS, _AS_STORED = (2, 4, 8), 1e-5  # bytes of a number; relative, of a token more and of shards' headers
_FEWEST = 2  # lines that tell what the same part divides by


@dataclass(frozen=True)
class Counted:
    """What a claimed score was divided by, as its log prints it.

    Attributes:
        counts: of the first of the claim's lines.
        is_whole: whether the tokens are all of the text.
        times: the bytes over those that the text has; of a part, over those by which other lines of the same tokens
            divide; None where nothing tells those.
        beside: one of these lines.
    """

    counts: PrintedCounts
    is_whole: bool
    times: float | None
    beside: ScoreLine | None = None

    @property
    def is_off(self) -> bool:
        """Whether these are more bytes than there are, beyond what honest counts differ by."""
        return self.times is not None and 1.0 + SCATTER < self.times <= _MOST


def counted_of(evidence: Evidence) -> Counted | None:
    """What the lines of the claim were divided by; None where one of them has no counts, or two of them differ.

    Nor is anything told of a record that names another text as the one that it is validated on.
    """
    found = [_counts_of(evidence, line) for line in evidence.lines]
    counts = [each for each in found if each is not None]
    full = evidence.full
    if full is None or full.num_bytes is None or not counts or len(counts) < len(found) or names_another_text(evidence):
        return None
    first = counts[0]
    if any(abs(each.bytes_per_token / first.bytes_per_token - 1.0) > _SAME_RATIO for each in counts):
        return None
    if _is_whole(full, first.num_tokens):
        return Counted(first, True, first.num_bytes / full.num_bytes)
    same = _of_the_same_part(evidence, evidence.lines[0], first)
    if same is None:
        return Counted(first, False, None)
    line, ratio = same
    return Counted(first, False, first.bytes_per_token / ratio.value, line)


def counted_otherwise(evidence: Evidence) -> Finding | None:
    """The doubt that a score was divided by more bytes than there are; None where its loss tells what it was."""
    counted, full, ratio = counted_of(evidence), evidence.full, evidence.ratio
    if counted is None or full is None:
        return None
    own = counted.counts.bytes_per_token
    if ratio is not None and ratio.same_estimator:
        if ratio.is_near(full.bytes_per_token, SCATTER):
            return None  # the score is another than that of these counts
        if (counted.times is None or counted.is_whole) and ratio.is_near(own, _SAME_RATIO):
            return None  # loss and score say the same
    if counted.is_off:
        return _off(evidence, counted, full)
    is_far = 1.0 + _OF_PARTS < own / full.bytes_per_token <= _MOST
    return _of_a_part(counted, full) if counted.times is None and is_far else None


def _counts_of(evidence: Evidence, line: ScoreLine) -> PrintedCounts | None:
    """The one pair of counts near a line that prints its very score, or that begins as it does and prints none."""
    log, number = evidence.log_of(line), line.bpb.source.line
    if log is None or number is None:
        return None
    near = [each for each in log.counts if abs((each.source.line or 0) - number) <= _NEAR and not _is_of_storage(each)]
    found = [
        each for each in near if any(rounds_to(score, line.bpb.value, line.bpb.half_unit) for score in each.scores)
    ]
    return next(iter(found or [each for each in near if _begins_alike(each, line, number)]), None)


def _is_of_storage(counts: PrintedCounts) -> bool:
    """Whether the bytes are those that the tokens take up themselves, as numbers in a buffer or in shards."""
    return any(abs(counts.bytes_per_token / width - 1.0) <= _AS_STORED for width in _WIDTHS)


def _begins_alike(counts: PrintedCounts, line: ScoreLine, number: int) -> bool:
    words = line.label.strip(" [(").split()
    is_next = abs((counts.source.line or 0) - number) == 1 and not counts.scores
    return is_next and len(counts.label) >= _TELLING_LABEL and bool(words) and words[0].strip("])") == counts.label


def _is_whole(full: Denominator, num_tokens: int) -> bool:
    return full.holds(num_tokens) or abs(num_tokens / full.num_tokens - 1.0) <= _WHOLE


def _of_the_same_part(evidence: Evidence, line: ScoreLine, counts: PrintedCounts) -> tuple[ScoreLine, Ratio] | None:
    """A line of the score's run, and what all others divide by, where the log loads as many tokens as were counted."""
    log = evidence.log_of(line)
    sizes = {*log.split_tokens} if log is not None else set()
    if len(sizes) != 1 or not 0.0 <= 1.0 - counts.num_tokens / max(sizes) <= _TAIL:
        return None
    pairs = [
        (other, ratio)
        for other in evidence.run_of(line)
        if other.same_estimator
        and not rounds_to(other.bpb, line.bpb.value, line.bpb.half_unit)
        and (ratio := ratio_of(other)) is not None
        and ratio.uncertainty <= _SAME_RATIO
    ]
    if len(pairs) < _FEWEST or not all(ratio.is_near(pairs[-1][1].value, SCATTER) for _, ratio in pairs):
        return None
    return min(pairs, key=lambda pair: pair[1].uncertainty)


def _told(counts: PrintedCounts) -> str:
    """Where the counts stand, and what they are, in words."""
    tokens_at = "" if counts.tokens_at == counts.source else f" ({counts.tokens_at})"
    return (
        f"{counts.source} prints, beside the claimed score, {counts.num_bytes:,} bytes for {counts.num_tokens:,} tokens"
        f"{tokens_at}, {counts.bytes_per_token:.5f} bytes per token"
    )


def _off(evidence: Evidence, counted: Counted, full: Denominator) -> Finding:
    counts, times = counted.counts, counted.times or 1.0
    if counted.beside is None:
        against = (
            f"{times:.5f} times the {full.num_bytes:,} bytes that {full} has; divided by those, the score is too low "
            f"(too good){candidates(evidence, times)}"
        )
    else:
        against = (
            f"{times:.4f} times the {counts.bytes_per_token / times:.5f} by which the other lines of its run divide "
            f"({counted.beside.bpb.source}), which score the very same tokens: the log loads no more. One of the two "
            "counts is wrong; if it is the first, the score that is divided by it is too low (too good)"
        )
    bugs = bugs_near(evidence, times) if counted.is_whole else []
    facts = _facts(counts, counts.bytes_per_token / times, full)
    return codes.BYTES_OFF.finding(f"{_told(counts)}: {against}", facts=facts, candidates=[bug.name for bug in bugs])


def _of_a_part(counted: Counted, full: Denominator) -> Finding:
    counts = counted.counts
    off = counts.bytes_per_token / full.bytes_per_token - 1.0
    message = (
        f"{_told(counts)}; {full} has {full.bytes_per_token:.5f} ({100 * off:+.2f} %), and a part of the split has a "
        "ratio of its own, which nothing in the record tells"
    )
    return codes.BYTES_OFF.finding(message, facts=_facts(counts, full.bytes_per_token, full), candidates=[])


def _facts(counts: PrintedCounts, expected: float, full: Denominator) -> dict[str, Json]:
    return {
        "bytes_per_token": counts.bytes_per_token,
        "expected": expected,
        "tokenizer": full.tokenizer,
        "num_tokens": counts.num_tokens,
        "num_bytes": counts.num_bytes,
        "printed_counts": True,
        "places": [*dict.fromkeys((str(counts.source), str(counts.tokens_at)))],
    }
