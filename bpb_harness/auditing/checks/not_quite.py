"""BPB117: bytes per token that are nearly the text's, and none that an evaluation of all of it can have.

Every token once, with its own bytes, gives one number to all printed digits. What honest evaluations do otherwise
moves it by a known step, the tokens that stand before documents left out, or by less than ``QUITE``: whole windows
leave a tail over. Of 2,538 logs of the public record with six digits or more, 2,513 keep to that. In the others windows
of short documents ran on into the next ones, or a view of the text had the wrong strides, or 10,000 documents were
scored; or lines of one run divide by different numbers, as no program would. A loss that is a mean over batches of
other sizes shows no bytes at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence, Ratio, ratio_of
from bpb_harness.claim import ScoreLine
from bpb_harness.findings import Finding
from bpb_harness.rules.denominators import LARGEST_TAIL, Denominator

QUITE = 2e-4  # relative; what rounding and dropped tails leave between a ratio and its own text's
_OF_DOCUMENTS = 2e-5  # relative; documents that are scored one by one leave no tail over


def not_quite(evidence: Evidence, row: Denominator) -> Finding | None:
    """What is wrong with bytes per token that are near a text's; None where nothing is, or nothing can be told.

    Args:
        evidence: the claim and its record.
        row: the text whose bytes per token are near.
    """
    rows = _loaded(evidence, row)
    counted = next((each for each in rows if each.num_bytes is not None), None)
    if counted is None:
        return None
    honest = [each for held in rows for each in _honest(evidence, held)]
    pairs = [(ratio, line) for line in evidence.lines or evidence.siblings if (ratio := ratio_of(line)) is not None]
    off = [pair for pair in pairs if not any(each.holds(pair[0]) for each in honest)]
    if not off:
        return None
    ratio, line = max(off, key=lambda pair: abs(pair[0].value - counted.bytes_per_token))
    return _finding(evidence, counted, line, ratio, honest)


def _loaded(evidence: Evidence, row: Denominator) -> list[Denominator]:
    """The texts that the logs load, as far as the table knows them, the one that is near first; all if none is told."""
    sizes = {size for log in evidence.claim_logs for size in log.split_tokens}
    rows = [each for each in evidence.rules.table.rows if each.is_whole and each.tokenizer == row.tokenizer]
    loaded = [each for each in rows if not sizes or any(each.holds(size) for size in sizes)]
    return sorted(loaded, key=lambda each: each != row)


@dataclass(frozen=True)
class _Honest:
    """Bytes per token of a whole text, by what was scored of it, and how far an evaluation may be off them."""

    what: str
    bytes_per_token: float
    slack: float

    def holds(self, ratio: Ratio) -> bool:
        return abs(ratio.value / self.bytes_per_token - 1.0) <= self.slack + ratio.uncertainty


def _honest(evidence: Evidence, row: Denominator) -> Iterator[_Honest]:
    rounding = row.ratio_rounding
    yield _Honest(str(row), row.bytes_per_token, max(QUITE, LARGEST_TAIL / row.num_tokens) + rounding)
    documents = next((text.documents for text in evidence.rules.pack.texts if text.name == row.dataset), None)
    if documents is not None and row.num_bytes is not None and documents < row.num_tokens:
        without = row.num_bytes / (row.num_tokens - documents)
        yield _Honest(f"{row} without the token before each document", without, _OF_DOCUMENTS + rounding)


def _finding(evidence: Evidence, row: Denominator, line: ScoreLine, ratio: Ratio, honest: Sequence[_Honest]) -> Finding:
    off, right = ratio.value / row.bytes_per_token - 1.0, next(each for each in honest if each.what == str(row))
    num_bytes = round(row.num_tokens * ratio.value) - (row.num_bytes or 0)
    others = {f"{each.bytes_per_token:.5f}": each for each in reversed(honest)}
    far = [
        each
        for each in reversed(others.values())
        if abs(each.bytes_per_token / row.bytes_per_token - 1.0) > right.slack
    ]
    nor = "".join(f"; nor is it the {each.bytes_per_token:.5f} of {each.what}" for each in far)
    message = (
        f"{line.bpb.source} divides by {ratio.value:.5f} bytes per token, {abs(off):.3%} "
        f"{'above' if off > 0.0 else 'below'} the {row.bytes_per_token:.5f} of {row}: {abs(num_bytes):,} bytes too "
        f"{'many' if off > 0.0 else 'few'} over the whole of it. The printed digits leave {ratio.uncertainty:.1g} of "
        f"it open, and a tail that fills no window {right.slack:.2%}{nor}. So not every token was scored once, by "
        f"its own bytes, or the loss is no mean over the scored tokens{_elsewhere(evidence, line, right)}"
    )
    return codes.BYTES_NOT_QUITE.finding(
        message,
        bytes_per_token=ratio.value,
        expected=row.bytes_per_token,
        tokenizer=row.tokenizer,
        num_bytes_off=num_bytes,
        places=[str(line.bpb.source)],
        missing="the number of tokens that were scored, and of bytes that were counted, printed by what scored them",
    )


def _elsewhere(evidence: Evidence, line: ScoreLine, right: _Honest) -> str:
    """The line with most digits of the same run that divides by the right number, in words."""
    run = evidence.run_of(line)
    pairs = [(ratio, other) for other in run if other.same_estimator and (ratio := ratio_of(other)) is not None]
    near = [pair for pair in pairs if pair[0].uncertainty < right.slack and right.holds(pair[0])]
    if not near:
        return ""
    ratio, other = min(near, key=lambda pair: pair[0].uncertainty)
    return f", or the line is not the program's: {other.bpb.source} divides by {ratio.value:.5f}"
