"""BPB1xx: what did the record divide by, and is it what its text has?

The known exceptions are honest and must stay so: two estimators behind loss and score; an older export of the
split; a part of the split, whose ratio is its own; a tokenizer that the table does not know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.loss_elsewhere import loss_of_same_number, no_loss_beside, told_of_same_number
from bpb_harness.auditing.checks.more_than_the_text import LARGEST_SLICE_SPREAD, has_one_ratio, more_than_the_text
from bpb_harness.auditing.checks.not_quite import QUITE, not_quite
from bpb_harness.auditing.checks.possible_kinds import BUG_FITS, bugs_near, candidates, possible_units
from bpb_harness.auditing.checks.printed_counts import counted_otherwise
from bpb_harness.auditing.checks.round_constants import ShownConstant, constant_shown
from bpb_harness.auditing.checks.said_of_sentinels import said_of_sentinels
from bpb_harness.auditing.evidence import SCATTER, WHOLE_SPLIT, Evidence, Ratio, gather, ratio_of
from bpb_harness.claim import Claim, LogRecord, Printed, Protocol, ScoreLine
from bpb_harness.findings import Finding, Json, Severity
from bpb_harness.rules.byte_factors import ByteFactor
from bpb_harness.rules.denominators import (
    FULL,
    LARGEST_TAIL,
    OLDER_EXPORT,
    PREFIX,
    TABLE_VARIABLE,
    TAIL_DROPPED,
    Denominator,
)
from bpb_harness.units import NATS_PER_BIT, bits_to_nats

# Of 3,527 public logs over the whole split 3,395 agree with the table to this; nearly all the others are bugs.
AGREES = SCATTER
# Where nothing names the tokenizer, a ratio can fit one of several rows by chance: then it has to fit better.
AGREES_UNNAMED = 5e-4
BUG_FITS_PROSE = 1e-4  # where only prose names the tokenizer
BUG_FITS_UNNAMED = 2e-5
# The smallest known bug, byte pieces by their spelling, makes 1 % more bytes: a print that cannot tell a ratio from it
# is no evidence for the ratio. Losses and scores of three digits and more are precise enough.
SMALLEST_BUG = 0.01
PRECISE = 2 * AGREES
SLICE_SPREAD = 0.03  # of large parts of the split
UNEVEN = 0.01  # relative; what the lines of one run divide by differs by less, whatever counts the bytes
_MAX_SOURCES = 4
_TELLING_DECIMALS = 6  # of a loss that two lines do not share by chance
_COUNTED = "the bytes and the tokens that were scored, printed by what counted them"
_LOSS_BESIDE = (
    "the loss in nats per token beside the score (val_loss in the log or in submission.json), which tells by how many "
    "bytes per token it was divided, or the script that counted them"
)
_HOW = "loss / ln 2 / score"  # what a log that prints both divided by
_BESIDE = 0.05  # relative; every bug with a factor of its own moves a score by more
# Of an untrained loss, where the vocabulary's size is inferred from bytes per token: bits for nats would be 44 % off.
_UNTRAINED_SLACK = 0.15


def check_bytes(evidence: Evidence) -> Iterator[Finding]:
    """Hold the record's bytes per token against the table of denominators and the known bugs."""
    yield from _stated_constant(evidence)
    ratio = evidence.ratio
    if evidence.claim.score is None:
        return
    yield from _folded(evidence)
    if (counted := counted_otherwise(evidence)) is not None:
        yield counted
        return
    other = None if ratio is None else _loss_of_another_line(evidence)
    if (ratio is None or other is not None) and (beside := _right_beside(evidence, other)) is not None:
        yield beside
        return
    if ratio is None:
        same = loss_of_same_number(evidence)
        missing = _LOSS_BESIDE if same is None else _COUNTED
        message = no_loss_beside(evidence) if same is None else told_of_same_number(evidence, same)
        yield codes.BYTES_UNKNOWN.finding(message, missing=missing)
        return
    if not ratio.same_estimator:
        return  # check_bound explains two estimators
    yield from _judge(evidence, ratio)


def _loss_of_another_line(evidence: Evidence) -> str | None:
    """Whose loss stands beside a claim in its file, where the score's lines print none: that of other lines, by digits.

    It says nothing of what the score was divided by. In words; None where it is not known to be another's.
    """
    loss = evidence.claim.nats_per_token
    if loss is None or not evidence.lines or any(line.nats_per_token is not None for line in evidence.lines):
        return None
    if (loss.decimals or 0) < _TELLING_DECIMALS:
        return None
    of_label: dict[str, dict[tuple[str, int], ScoreLine]] = {}
    for line, run in _beside(evidence):
        if not any(_is_same_score(line, own) for own in evidence.lines):
            of_label.setdefault(line.label, {})[run] = line
    for label, found in of_label.items():
        losses = [line.nats_per_token.value for line in found.values() if line.nats_per_token is not None]
        if abs(math.fsum(losses) / len(losses) - loss.value) <= loss.half_unit * 1.01:
            places = ", ".join(str(line.bpb.source) for line in found.values())
            return f"the loss {loss} in {loss.source.file} is that of {label!r} ({places})"
    return None


def _beside(evidence: Evidence) -> Iterator[tuple[ScoreLine, tuple[str, int]]]:
    """Lines with a loss, in the runs of the claimed score."""
    runs = {(line.bpb.source.file, line.run) for line in evidence.lines}
    for log in evidence.claim_logs:
        for line in log.lines:
            if line.nats_per_token is not None and (log.file, line.run) in runs:
                yield line, (log.file, line.run)


def _is_same_score(one: ScoreLine, other: ScoreLine) -> bool:
    return abs(one.bpb.value - other.bpb.value) <= max(one.bpb.half_unit, other.bpb.half_unit) * 1.01


def _right_beside(evidence: Evidence, loss_of_another: str | None = None) -> Finding | None:
    """What the other lines of the score's own runs divide by, where the score's line prints no loss.

    Each run must have such a line near the score: a bug of the final evaluation's own would move it away from them.
    """
    full = evidence.full
    nearest: list[ScoreLine] = []
    for line in evidence.lines:
        run = evidence.run_of(line)
        pairs = [(other, ratio) for other in run if other.same_estimator and (ratio := ratio_of(other)) is not None]
        if not pairs or full is None or not all(ratio.is_near(full.bytes_per_token, AGREES) for _, ratio in pairs):
            return None
        nearest.append(min((other for other, _ in pairs), key=lambda other: abs(other.bpb.value - line.bpb.value)))
        if abs(nearest[-1].bpb.value / line.bpb.value - 1.0) > _BESIDE:
            return None
    if not nearest or full is None:
        return None
    places = [f"{other.bpb.source} ({other.bpb})" for other in nearest]
    another = "" if loss_of_another is None else f", and {loss_of_another}"
    message = (
        f"the score's line prints no loss{another}; the other lines of its run divide by the "
        f"{full.bytes_per_token:.5f} bytes per token of {full}, and the nearest, "
        f"{', '.join(places[:_MAX_SOURCES])}, lies within {_BESIDE:.0%} of it"
    )
    return codes.BYTES_BESIDE.finding(
        message, expected=full.bytes_per_token, tokenizer=full.tokenizer, places=[*places]
    )


def _folded(evidence: Evidence) -> Iterator[Finding]:
    """A text whose letters were folded to one case is another text: its case is left out of the score."""
    log = next((log for log in evidence.claim_logs or evidence.claim.logs if log.folded is not None), None)
    if log is not None:
        message = (
            f"{log.file} names {log.folded}: letters were folded to one case before the text was scored, which cannot "
            "be undone; the score leaves out what the case of the text would cost"
        )
        yield codes.TEXT_FOLDED.finding(
            message,
            place=log.file,
            named=log.folded,
            missing="a score of the text as it is, or of a reversible transform",
        )


def _judge(evidence: Evidence, ratio: Ratio) -> Iterator[Finding]:
    rows = _rows(evidence)
    has_name = _constant(evidence, ratio) is not None or _known_bug(evidence, ratio, rows) is not None
    shown = None if has_name or _uneven(evidence) else constant_shown(evidence, ratio, rows)
    if (slip := _bits_per_token(evidence, ratio) or _repeated(evidence, ratio)) is not None:
        yield slip
        return
    if shown is not None:
        yield _shown_constant(evidence, ratio, shown)
        return
    if not any(row.is_whole for row in rows):
        yield _of_bytes(evidence, ratio) or _no_row(evidence, ratio)
        return
    if _uneven(evidence):
        message = (
            "the lines behind the claimed score divide by different numbers of bytes per token: "
            f"{_by_source(evidence, evidence.lines, rows)}"
        )
        yield codes.BYTES_OFF.finding(message, bytes_per_token=ratio.value, places=list(ratio.places))
        return
    partial = _is_part(evidence)
    tolerance = AGREES if evidence.tokenizer_is_named else AGREES_UNNAMED
    whole = min((row for row in rows if row.is_whole), key=lambda row: abs(ratio.value / row.bytes_per_token - 1.0))
    if ratio.is_near(whole.bytes_per_token, tolerance) and _loads_another_size(evidence, ratio, rows, tolerance):
        yield _unexplained(evidence, ratio, whole, partial)
    elif ratio.is_near(whole.bytes_per_token, tolerance):
        files = {log.file for log in evidence.claim_logs}
        named = _own_row(evidence, ratio, rows, files, tolerance) or whole
        yield from (
            _near(evidence, ratio, named, partial)
            if _is_telling(evidence, ratio, whole)
            else [_too_coarse(ratio, named)]
        )
    elif _prefix_of(ratio, rows) is None and (others := _right_elsewhere(evidence, whole)):
        yield _unit_slip(evidence, ratio, others) or _other_evaluation(evidence, ratio, others, rows)
    elif not _is_held_against_a_text(evidence):
        yield _unexplained(evidence, ratio, whole, partial)
    elif (bug := _known_bug(evidence, ratio, rows)) is not None and not partial:
        yield _bug_finding(evidence, ratio, *bug)
    elif not partial and (said := said_of_sentinels(evidence, ratio)) is not None:
        yield said
    elif not partial and (unit := _unit_slip(evidence, ratio)) is not None:
        yield unit
    elif (constant := _constant(evidence, ratio)) is not None:
        yield _constant_finding(evidence, ratio.value, constant, ratio.places)
    else:
        yield _unexplained(evidence, ratio, whole, partial)


def _near(evidence: Evidence, ratio: Ratio, row: Denominator, partial: bool) -> Iterator[Finding]:
    """The right bytes per token, or what stands against it where they are only nearly right."""
    doubt = None if partial else not_quite(evidence, row)
    right = _right(evidence, ratio, row)
    yield right if doubt is None else replace(right, severity=Severity.INFORMS)
    if doubt is not None:
        yield doubt
    elif row.scope == OLDER_EXPORT and not partial and ratio.is_near(row.bytes_per_token, QUITE):
        yield from _of_an_older_text(evidence, row)


def _of_an_older_text(evidence: Evidence, row: Denominator) -> Iterator[Finding]:
    """The remark that what was scored is not the split as it is now."""
    now = evidence.rules.table.full_split(row.tokenizer, row.dataset)
    loaded = {size for log in evidence.claim_logs for size in log.split_tokens}
    if now is None or now.num_bytes is None or not any(row.holds(size) for size in loaded):
        return
    num_bytes = row.num_bytes or round(row.num_tokens * row.bytes_per_token)
    message = (
        f"the score is of text of an older export of {row.dataset}, which has about {num_bytes / 1e6:.1f} MB, not of "
        f"the split as it is, of {now.num_bytes:,} bytes: another text, whose scores are none of this one"
    )
    yield codes.OLDER_TEXT.finding(message, num_bytes=num_bytes, expected=now.num_bytes, tokenizer=row.tokenizer)


def _of_bytes(evidence: Evidence, ratio: Ratio) -> Finding | None:
    """One byte a token, where the tokens are bytes: right under every text, whether or not the table knows it."""
    is_byte = evidence.tokenizer == "byte" and evidence.tokenizer_is_certain
    sizes = {size for log in evidence.claim_logs for size in log.split_tokens}
    if sizes & {row.num_bytes for row in evidence.rules.table.rows}:
        return None  # nothing stands before a document: another export of the text
    if not is_byte or ratio.uncertainty > BUG_FITS or not ratio.is_near(1.0, AGREES_UNNAMED):
        return None
    message = f"the record divides by {ratio.value:.5f} bytes per token; its tokens are bytes, one each"
    return codes.BYTES_RIGHT.finding(
        message, bytes_per_token=ratio.value, expected=1.0, tokenizer="byte", places=list(ratio.places)
    )


def _no_row(evidence: Evidence, ratio: Ratio) -> Finding:
    """The table knows nothing of this text, or nothing of it under this tokenizer."""
    text = evidence.claim.dataset or "a text that the record does not name"
    named = text if evidence.tokenizer is None else f"{text} under {evidence.tokenizer}"
    message = (
        f"the record divides by {ratio.value:.5g} bytes per token, and the table of denominators has no row for "
        f"{named} to hold it against{_of_the_split(evidence)}"
    )
    return codes.BYTES_UNKNOWN.finding(
        message,
        bytes_per_token=ratio.value,
        tokenizer=evidence.tokenizer,
        dataset=evidence.claim.dataset,
        missing=f"the bytes per token of {named}: {_ROW_OF_ONES_OWN}",
    )


_ROW_OF_ONES_OWN = (
    "count them (`bpb-bytes --tokenizer FILE --data FILE`), write them as a row of a CSV file, let the environment "
    f'variable {TABLE_VARIABLE} name that file, and audit again (docs/rules.md, "Denominators of your own")'
)


def _of_the_split(evidence: Evidence) -> str:
    """What the loaded tokens times the ratio are of the split's bytes, in words; nothing where that is not known."""
    times, score = evidence.share_of_bytes, evidence.claim.score
    if times is None or score is None:
        return ""
    size = max(size for log in evidence.claim_logs for size in log.split_tokens)
    num_bytes = next(row.num_bytes for row in evidence.rules.table.rows if row.dataset == evidence.claim.dataset) or 0
    said = (
        f"; {size:,} tokens x bytes per token = {times * num_bytes / 1e6:.1f} MB, the split has "
        f"{num_bytes / 1e6:.2f} MB: {times:.4g} times the bytes that are there"
    )
    if times < 1.0 - AGREES:
        said += ", unless only a part was loaded"
    return said


def _rows(evidence: Evidence) -> list[Denominator]:
    rows = [
        row
        for row in evidence.rules.table.rows
        if evidence.tokenizer in (None, row.tokenizer) and evidence.claim.dataset in (None, row.dataset)
    ]
    own = evidence.full  # of the size that the log loads, where the table has no such row
    return rows if own is None or own in rows else [own] if evidence.tokenizer is None else [own, *rows]


def _is_held_against_a_text(evidence: Evidence) -> bool:
    """Whether the right number is known well enough to refute another.

    Where the table does not know the tokenizer, a loss in bits would look like too many bytes: the log must show that
    the loss is in nats per token.
    """
    by_size = (
        evidence.full is not None
        and evidence.rules.table.full_split(evidence.tokenizer, evidence.claim.dataset) is None
    )
    return not by_size or _loss_is_in_nats_per_token(evidence)


def _loads_another_size(evidence: Evidence, ratio: Ratio, rows: Sequence[Denominator], tolerance: float) -> bool:
    """Whether nothing but the ratio names the tokenizer, and the log loads another number of tokens than it implies."""
    sizes = {size for log in evidence.claim_logs for size in log.split_tokens}
    if evidence.tokenizer_is_named or not sizes:
        return False
    near = [row for row in rows if row.is_whole and ratio.is_near(row.bytes_per_token, tolerance)]
    return not any(row.holds(size) for row in near for size in sizes)


def _is_telling(evidence: Evidence, ratio: Ratio, row: Denominator) -> bool:
    """Whether the printed digits leave no room for a known bug, or another tokenizer, beside the right number."""
    if not evidence.tokenizer_is_named:
        return ratio.uncertainty < 2 * AGREES_UNNAMED
    off = abs(ratio.value / row.bytes_per_token - 1.0)
    return ratio.uncertainty < PRECISE or off + ratio.uncertainty < SMALLEST_BUG


def _too_coarse(ratio: Ratio, row: Denominator) -> Finding:
    lowest, highest = _interval(ratio)
    message = (
        f"the record divides by {ratio.value:.5f} bytes per token, somewhere between {lowest:.4f} and {highest:.4f} by "
        f"the digits that are printed; the {row.bytes_per_token:.5f} of {row} lies between them, and so do other "
        "numbers"
    )
    return codes.BYTES_COARSE.finding(
        message,
        bytes_per_token=ratio.value,
        lowest=lowest,
        highest=highest,
        expected=row.bytes_per_token,
        tokenizer=row.tokenizer,
        places=list(ratio.places),
        missing="loss and score with more digits",
    )


def _is_part(evidence: Evidence) -> bool:
    scored, full = evidence.scored_tokens, evidence.full
    if evidence.claim.protocol.slice_text is not None and not evidence.siblings:
        return True
    return scored is not None and (full is None or scored < WHOLE_SPLIT * full.num_tokens)


def _uneven(evidence: Evidence) -> bool:
    ratios = [found for line in evidence.lines if (found := ratio_of(line)) is not None]
    return any(not one.agrees_with(other, 2e-3) for one, other in combinations(ratios, 2))


def _right_elsewhere(evidence: Evidence, whole: Denominator) -> list[ScoreLine]:
    """Other lines of the claim's own log that divide by the right number: a byte bug spoils all of them."""
    others = [line for log in evidence.claim_logs for line in log.lines if line not in evidence.lines]
    pairs = [(line, ratio_of(line)) for line in others if line.same_estimator]
    return [line for line, found in pairs if found is not None and found.is_near(whole.bytes_per_token, AGREES)]


def _own_row(
    evidence: Evidence, ratio: Ratio, rows: Sequence[Denominator], files: Collection[str], tolerance: float
) -> Denominator | None:
    """The text that a ratio belongs to: the one that its own files load, or else the nearest; None if none is near."""
    near = [row for row in rows if row.is_whole and ratio.is_near(row.bytes_per_token, tolerance)]
    sizes = [size for log in evidence.claim.logs if log.file in files for size in log.split_tokens]
    loaded = [row for row in near if any(row.holds(size) for size in sizes)]
    # The same split without its tail has the same ratio to seven digits: it takes no name of its own.
    return min(
        loaded or near,
        key=lambda row: (row.scope == TAIL_DROPPED, abs(ratio.value / row.bytes_per_token - 1.0)),
        default=None,
    )


def _by_source(evidence: Evidence, lines: Sequence[ScoreLine], rows: Sequence[Denominator]) -> str:
    """What lines divide by, in words: for each file and text the last of its lines, with its own place and number."""
    last: dict[tuple[str, Denominator | None], str] = {}
    for line in lines:
        ratio = ratio_of(line)
        if ratio is not None:
            row = _own_row(evidence, ratio, rows, {line.bpb.source.file}, AGREES)
            of = f" ({row} has {row.bytes_per_token:.5f})" if row is not None else ""
            last[line.bpb.source.file, row] = f"{line.bpb.source} by {ratio.value:.5f}{of}"
    shown = [*last.values()][-_MAX_SOURCES:]
    return "; ".join(shown) + (f"; and {len(last) - len(shown)} more" if len(last) > len(shown) else "")


def _other_evaluation(
    evidence: Evidence, ratio: Ratio, others: Sequence[ScoreLine], rows: Sequence[Denominator]
) -> Finding:
    expected = ratio_of(others[-1])
    assert expected is not None
    row = _own_row(evidence, expected, rows, {others[-1].bpb.source.file}, AGREES)
    message = (
        f"the claimed score divides by {ratio.value:.5f} bytes per token ({', '.join(ratio.places)}), other lines "
        f"of its log by the right number: {_by_source(evidence, others, rows)}; the score is another evaluation's "
        "than the loss beside it, or was made of it in another way"
    )
    facts: dict[str, Json] = {
        "bytes_per_token": ratio.value,
        "expected": row.bytes_per_token if row else expected.value,
        "tokenizer": row.tokenizer if row else None,
        "scope": row.scope if row else None,
    }
    return codes.BYTES_OFF.finding(message, facts=facts, places=list(ratio.places))


def _right(evidence: Evidence, ratio: Ratio, row: Denominator) -> Finding:
    named = "" if evidence.tokenizer_is_named else "; the tokenizer is inferred from this number alone"
    what = "the log, where it shows that other score," if evidence.siblings else "the record"
    by_bytes = _whole_windows_of_bytes(evidence, ratio, row)
    message = by_bytes or (
        f"{what} divides by {ratio.value:.5f} bytes per token; {_has(evidence, row)} {row.bytes_per_token:.5f} "
        f"({_apart(ratio, row)}){_or_another(evidence, ratio, row)}{_left_over(evidence, row)}{named}"
    )
    return codes.BYTES_RIGHT.finding(
        message,
        bytes_per_token=ratio.value,
        expected=row.bytes_per_token if by_bytes is None else 1.0,
        tokenizer=row.tokenizer,
        scope=row.scope,
        inferred=not evidence.tokenizer_is_named,
        uncertainty=ratio.uncertainty,
        places=list(ratio.places),
        facts={"is_near": True} if _is_not_its_own(evidence, ratio, row) else {},
    )


def _apart(ratio: Ratio, row: Denominator) -> str:
    """How far a ratio is from a row's, in percent; in words where the printed digits do not tell."""
    off = ratio.value / row.bytes_per_token - 1.0
    shown, which = (
        ("equal within its digits", "which")
        if abs(off) <= ratio.uncertainty
        else (f"{_signed(off * 100)} %", "the printed digits")
    )
    return shown + (f", {which} leave {ratio.uncertainty * 100:.2f} % open" if ratio.uncertainty > 1e-3 else "")


def _has(evidence: Evidence, row: Denominator) -> str:
    """A row, in words that its bytes per token can follow: of a count of the log's, what they are made of."""
    if not _is_of_the_log(evidence, row):
        return f"{row}{f', {row.num_tokens:,} tokens,' if row.scope == PREFIX else ''} has"
    return f"{row}, its {row.num_bytes:,} bytes over the {row.num_tokens:,} tokens that the log loads, has"


def _is_of_the_log(evidence: Evidence, row: Denominator) -> bool:
    return row not in evidence.rules.table.rows and row.num_bytes is not None


def _left_over(evidence: Evidence, row: Denominator) -> str:
    """What a count of whole windows leaves out, in words."""
    if not _is_of_the_log(evidence, row) or row.num_tokens % _WINDOW:
        return ""
    return "; the true ratio is slightly lower: the tokens behind the last whole window are not in that count"


def _whole_windows_of_bytes(evidence: Evidence, ratio: Ratio, row: Denominator) -> str | None:
    """What says how much was scored, where each token is a byte: one byte a token holds of any text.

    As many tokens as the split has bytes, but for a tail, are bytes; with a token before each document there are more.
    """
    left = (row.num_bytes or 0) - row.num_tokens
    if not _is_of_the_log(evidence, row) or not 0 < left < LARGEST_TAIL or not ratio.is_near(1.0, _OF_BYTES):
        return None
    return (
        f"the record divides by {ratio.value:.5f} bytes per token: its tokens are bytes, one each, as of any text. Of "
        f"the {row.num_bytes:,} bytes of {row.dataset} the log loads {row.num_tokens:,}; the {left:,} others, which "
        "fill no whole window, are not scored"
    )


_WINDOW = 128  # tokens; windows are of a multiple
_OF_BYTES = 1e-5  # relative


def _or_another(evidence: Evidence, ratio: Ratio, row: Denominator) -> str:
    """The other text that bytes per token as near may be of, where they are not quite the nearer one's."""
    if _is_not_its_own(evidence, ratio, row):
        of = row.tokenizer if row.tokenizer.startswith("another ") else f"another {row.tokenizer}"
        return f"; that is not its number to the digit: of {of}, or of not quite every token"
    if row.scope == PREFIX or ratio.is_near(row.bytes_per_token, QUITE):
        return ""
    rows = [other for other in _rows(evidence) if other.is_whole and other.tokenizer == row.tokenizer]
    rivals = [other for other in rows if ratio.is_near(other.bytes_per_token, AGREES)]
    far = [other for other in rivals if abs(other.bytes_per_token / row.bytes_per_token - 1.0) > QUITE]
    if not far:
        return ""
    other = min(far, key=lambda each: abs(ratio.value / each.bytes_per_token - 1.0))
    off = _signed((ratio.value / other.bytes_per_token - 1.0) * 100)
    whose = f"that of {other}" if ratio.is_near(other.bytes_per_token, QUITE) else "neither's"
    return f", {other} {other.bytes_per_token:.5f} ({off} %): it is {whose} to the digit"


def _is_not_its_own(evidence: Evidence, ratio: Ratio, row: Denominator) -> bool:
    """Whether bytes per token are near a text's that no log names by its size, and further off than tails leave."""
    off = abs(ratio.value / row.bytes_per_token - 1.0)
    is_counted = row.scope == FULL and row.num_bytes is not None and not row.ratio_rounding
    return (
        is_counted
        and _TAILS + ratio.uncertainty < off <= QUITE
        and not any(log.split_tokens for log in evidence.claim_logs)
    )


_TAILS = 1e-4  # relative


def _signed(percent: float) -> str:
    """With three digits and its sign; none of a zero."""
    shown = f"{percent:+.3f}"
    return shown[1:] if float(shown) == 0.0 else shown


def _known_bug(evidence: Evidence, ratio: Ratio, rows: list[Denominator]) -> tuple[ByteFactor, Denominator] | None:
    """The bug whose factor explains the ratio, if it is the only explanation."""
    named = evidence.tokenizer_is_named
    certain = evidence.tokenizer_is_certain
    tolerance = BUG_FITS if certain else BUG_FITS_PROSE if named else BUG_FITS_UNNAMED
    if ratio.uncertainty > tolerance:
        return None
    fits = [
        (abs(ratio.value / (row.bytes_per_token * bug.lowest) - 1.0), bug, row)
        for row in rows
        # An approximate row cannot carry an inference to five digits.
        if row.is_whole and (named or row.num_bytes is not None)
        for bug in evidence.rules.pack.byte_factors
        if bug.is_point and ratio.is_near(row.bytes_per_token * bug.lowest, tolerance)
    ]
    if not fits:
        return None
    _, bug, row = min(fits, key=lambda fit: fit[0])
    return bug, row


def _worked_out(evidence: Evidence) -> str:
    """What gives the bytes per token, with the numbers of the first line that prints both."""
    for line in evidence.lines:
        if (loss := line.nats_per_token) is not None:
            return f"{_HOW}: {loss.value:.10g} / ln 2 / {line.bpb.value:.10g} by {loss.source}"
    return _HOW


def _bug_finding(evidence: Evidence, ratio: Ratio, bug: ByteFactor, row: Denominator) -> Finding:
    whole = evidence.rules.table.full_split(row.tokenizer, row.dataset) or row
    expected = row.bytes_per_token
    inferred = (
        ""
        if evidence.tokenizer_is_named
        else f"; README, JSON and logs do not name the tokenizer: {row.tokenizer} is inferred from the number, for "
        f"{expected:.5f} x {bug.lowest} = {expected * bug.lowest:.5f}"
    )
    page = f" (`{bug.name}` in docs/bytes.md)" if evidence.rules.pack.file is None else ""
    by = (
        f"by {ratio.value:.6f} bytes per token ({_worked_out(evidence)}), where {row} has {expected:.5f}. That factor "
        f"is the one of a known mistake{page}: {bug.story}{inferred}"
    )
    message = (
        f"the score is too low (too good), for it divides by {ratio.value / expected:.5f} times too many bytes: {by}"
        if ratio.value > expected
        else "the score is too high (worse than it is), for it divides by only "
        f"{ratio.value / expected:.5f} of the bytes: {by}"
    )
    return codes.BYTES_BUG.finding(
        message,
        factor=ratio.value / expected,
        bug=bug.name,
        bug_factor=bug.lowest,
        bytes_per_token=ratio.value,
        expected=expected,
        tokenizer=row.tokenizer,
        inferred=not evidence.tokenizer_is_named,
        num_bytes_claimed=round(whole.num_tokens * ratio.value),
        num_bytes=whole.num_bytes,
        places=list(ratio.places),
    )


def _unit_slip(evidence: Evidence, ratio: Ratio, right: Sequence[ScoreLine] = ()) -> Finding | None:
    """Nats for bits and tokens for bytes: only where the tokenizer is known, because bytes can be tokens.

    Lines of the same log that divide by the right number show the unit of a loss near theirs.
    """
    full = evidence.full
    if full is None or ratio.uncertainty > BUG_FITS:
        return None
    expected = full.bytes_per_token
    for target, rule, what in (
        (
            expected / NATS_PER_BIT,
            codes.NATS_AS_BITS,
            "the score is in nats per byte: the loss was not divided by ln 2",
        ),
        (expected * NATS_PER_BIT, codes.NATS_AS_BITS, "the loss was divided by ln 2 twice"),
        (1.0, codes.PER_TOKEN_AS_PER_BYTE, "the score is in bits per token: it was not divided by bytes per token"),
        # A loss field may merely repeat the score, which is careless: the log of the untrained network tells.
        (1.0 / NATS_PER_BIT, codes.PER_TOKEN_AS_PER_BYTE, _LOSS_ITSELF),
        (_of_exponential(evidence, ratio), codes.PER_TOKEN_AS_PER_BYTE, _EXPONENTIAL),
    ):
        if target is not None and ratio.is_near(target, BUG_FITS):
            message = f"{what} (loss / ln 2 / score is {ratio.value:.5f}, where {full} has {expected:.5f})"
            proven = _has_a_loss_near(evidence.lines, right) if right else _loss_is_in_nats_per_token(evidence)
            if not proven:
                message += "; unless it is the loss that is in another unit, which nothing in the record excludes"
            return rule.finding(
                message,
                factor=ratio.value / expected if proven else None,
                severity=None if proven else Severity.WARNS,
                bytes_per_token=ratio.value,
                expected=expected,
                tokenizer=full.tokenizer,
                places=list(ratio.places),
            )
    return None


def _has_a_loss_near(lines: Sequence[ScoreLine], right: Sequence[ScoreLine]) -> bool:
    """Whether each line's loss is about that of another that is in nats per token: no other unit is so near."""
    losses = [other.nats_per_token.value for other in right if other.nats_per_token is not None]
    own = [line.nats_per_token.value for line in lines if line.nats_per_token is not None]
    return bool(own) and all(any(abs(loss / other - 1.0) <= _SAME_UNIT for other in losses) for loss in own)


_SAME_UNIT = 0.1  # relative; bits are 44 % more than nats
_LOSS_ITSELF = "the score is the loss itself, in nats per token: it was divided neither by ln 2 nor by bytes per token"
_EXPONENTIAL = "the score is e to the power of the loss, a perplexity per token and no bits per byte"


def _of_exponential(evidence: Evidence, ratio: Ratio) -> float | None:
    """What loss / ln 2 / score would be, if the score were e to the power of the loss; None where it cannot be."""
    score = evidence.claim.score
    if score is None or score.value <= 1.0:
        return None
    loss = bits_to_nats(ratio.value * score.value)
    is_power = abs(loss / math.log(score.value) - 1.0) <= max(BUG_FITS, ratio.uncertainty)
    return ratio.value if is_power else None


def _repeated(evidence: Evidence, ratio: Ratio) -> Finding | None:
    """A loss that is the score itself, where nothing tells how many bytes a token has."""
    if evidence.full is not None or ratio.uncertainty > SMALLEST_BUG or not ratio.is_near(1.0 / NATS_PER_BIT, BUG_FITS):
        return None
    message = (
        "the loss beside the score is the same number: it repeats the score, or the score is a loss in nats per token; "
        "by how many bytes it was divided, it does not tell"
    )
    return codes.BYTES_UNKNOWN.finding(
        message, bytes_per_token=ratio.value, places=list(ratio.places), missing="the loss in nats per token"
    )


def _bits_per_token(evidence: Evidence, ratio: Ratio) -> Finding | None:
    """A score that is loss / ln 2 to the digit, where nothing tells how many bytes a token has."""
    of_bytes = re.search("byte|char", evidence.tokenizer or "", re.IGNORECASE)
    if evidence.full is not None or of_bytes or ratio.uncertainty > SMALLEST_BUG or not ratio.is_near(1.0, BUG_FITS):
        return None
    message = (
        f"the score is the loss / ln 2 (the two agree to {ratio.value:.5f}), which is bits per token: it looks as if "
        "it was never divided by bytes per token; only where each token is one byte is it bits per byte too, and the "
        "record does not say so"
    )
    return codes.PER_TOKEN_AS_PER_BYTE.finding(
        message,
        severity=Severity.WARNS,
        bytes_per_token=ratio.value,
        tokenizer=evidence.tokenizer,
        places=list(ratio.places),
        missing="the tokenizer, which tells how many bytes a token has",
    )


def _loss_is_in_nats_per_token(evidence: Evidence) -> bool:
    """Whether the log shows it: before training the loss of a token is about ln V nats, whatever the text."""
    if evidence.full is None:
        return False
    vocabulary = evidence.rules.table.bits_of_untrained(evidence.tokenizer, evidence.full.bytes_per_token)
    if vocabulary is None:
        return False
    untrained = bits_to_nats(vocabulary)
    slack = 0.05 if evidence.tokenizer else _UNTRAINED_SLACK
    first = [line for log in evidence.claim_logs if (line := log.untrained) is not None]
    return any(
        line.nats_per_token is not None
        and line.same_estimator
        and abs(line.nats_per_token.value / untrained - 1.0) < slack
        for line in first
    )


def _constant(evidence: Evidence, ratio: Ratio) -> float | None:
    if ratio.uncertainty > 5e-6:
        return None
    return next((constant for constant in evidence.rules.pack.constants if ratio.is_near(constant, 5e-6)), None)


def _stated_constant(evidence: Evidence) -> Iterator[Finding]:
    """A constant that a claim file, or a README, states."""
    protocol, readme = evidence.claim.protocol, evidence.claim.readme
    stated = protocol.bytes_per_token
    if stated is not None and protocol.bytes_per_token_is_constant:
        yield _constant_finding(evidence, stated.value, stated.value, (str(stated.source),))
        return
    stated = stated or (readme.bytes_per_token if readme else None)
    if stated is None or evidence.full is None or (evidence.ratio is not None and evidence.ratio.same_estimator):
        return  # what the numbers themselves say outweighs what is said about them
    if not _states_right(stated, evidence):
        message = (
            f"{stated.source} states {stated} bytes per token, where {evidence.full} has "
            f"{evidence.full.bytes_per_token:.4f}: a score that is divided by that is too "
            f"{'low (too good)' if stated.value > evidence.full.bytes_per_token else 'high (worse than it is)'}"
        )
        yield codes.BYTES_STATED.finding(message, stated=stated.value, expected=evidence.full.bytes_per_token)


def _states_right(stated: Printed, evidence: Evidence) -> bool:
    return any(
        stated.agrees_with(row.bytes_per_token) or abs(stated.value / row.bytes_per_token - 1.0) < SLICE_SPREAD
        for row in _rows(evidence)
    )


def _constant_finding(evidence: Evidence, value: float, constant: float, places: tuple[str, ...]) -> Finding:
    full = evidence.full
    if full is None:
        message = (
            f"the bits were divided by a constant, {constant:g} bytes per token, instead of the bytes of the text; "
            "no tokenizer that the rules know is named, so the right number is not known"
        )
        return codes.BYTES_CONSTANT.finding(message, constant=constant, places=list(places))
    message = (
        f"the bits were divided by a constant, {constant:g} bytes per token, where {full} has "
        f"{full.bytes_per_token:.5f}: held against that, the score is too "
        f"{'low' if value > full.bytes_per_token else 'high'}"
    )
    prefix = _prefix_ratio(evidence)
    return codes.BYTES_CONSTANT.finding(
        message,
        factor=value / full.bytes_per_token,
        constant=constant,
        expected=full.bytes_per_token,
        tokenizer=full.tokenizer,
        prefix_bytes_per_token=prefix.bytes_per_token if prefix else None,
        places=list(places),
    )


def _shown_constant(evidence: Evidence, ratio: Ratio, shown: ShownConstant) -> Finding:
    """A constant that the digits show, or words and number together; a doubt where the right number is not known."""
    finding = _constant_finding(evidence, ratio.value, shown.value, ratio.places)
    message = f"{finding.message}. {shown.why[0].upper()}{shown.why[1:]}"
    facts = {**finding.evidence, "bytes_per_token": ratio.value, "chance": shown.chance}
    full = evidence.full
    if shown.refutes and evidence.tokenizer_is_named and full is not None and full.num_bytes is not None:
        return replace(finding, message=message, evidence=facts)
    facts["missing"] = _COUNTED
    return replace(finding, message=message, severity=Severity.WARNS, factor=None, evidence=facts)


def _prefix_ratio(evidence: Evidence) -> Denominator | None:
    """The table's row for a prefix of about the size that was scored."""
    scored = evidence.scored_tokens
    if scored is None:
        return None
    return next(
        (row for row in _rows(evidence) if row.scope == PREFIX and abs(row.num_tokens / scored - 1.0) < 0.05), None
    )


def _prefix_of(ratio: Ratio, rows: list[Denominator]) -> Denominator | None:
    near = [row for row in rows if row.scope == PREFIX and ratio.is_near(row.bytes_per_token, 5e-4)]
    return min(near, key=lambda row: abs(ratio.value / row.bytes_per_token - 1.0), default=None)


def _unexplained(evidence: Evidence, ratio: Ratio, whole: Denominator, partial: bool) -> Finding:
    """A ratio that fits nothing: a slice, a bug without a fixed factor, or simply the wrong bytes."""
    whole = evidence.full or whole
    off = ratio.value / whole.bytes_per_token
    prefix = _prefix_of(ratio, _rows(evidence))
    facts: dict[str, Json] = {
        "bytes_per_token": ratio.value,
        "expected": whole.bytes_per_token,
        "tokenizer": whole.tokenizer,
    }
    if prefix is not None and partial and ratio.uncertainty < PRECISE and _is_of_size(evidence, prefix):
        return _right(evidence, ratio, prefix)
    if prefix is not None and not partial:
        message = (
            f"the record divides by {ratio.value:.5f} bytes per token, which is not the whole split's "
            f"{whole.bytes_per_token:.5f} but that of a prefix of about {prefix.num_tokens:,} tokens "
            f"({prefix.bytes_per_token:.5f}): a part of the split was scored, and the record does not say so"
        )
        return codes.SLICE_INFERRED.finding(
            message, facts=facts, prefix_tokens=prefix.num_tokens, places=list(ratio.places)
        )
    if not partial and _must_be_whole_split(evidence, ratio, off):
        message = (
            f"every score line divides by {ratio.value:.5f} bytes per token ({_HOW}), while the log loads the whole "
            f"split, which has {whole.bytes_per_token:.5f} under {whole.tokenizer}"
            f"{_of_the_split(evidence) or f': {off:.4f} times the bytes that are there'}{candidates(evidence, off)}"
        )
        return codes.BYTES_WRONG.finding(message, factor=off, facts=facts, places=list(ratio.places))
    if not partial and (impossible := more_than_the_text(evidence, ratio)) is not None:
        return impossible
    other = next(
        (row for row in evidence.rules.table.rows if row.is_whole and ratio.is_near(row.bytes_per_token, 1e-3)), None
    )
    unnamed = "" if evidence.tokenizer_is_named else " nearest row of the table,"
    message = (
        f"the record divides by {ratio.value:.5f} bytes per token{_by_its_digits(ratio)};{unnamed} {whole} has "
        f"{whole.bytes_per_token:.5f} ({(off - 1.0) * 100:+.2f} %)"
    )
    is_far, uneven = abs(off - 1.0) > LARGEST_SLICE_SPREAD, None
    if other is not None and other.tokenizer != whole.tokenizer:
        is_it = "is" if ratio.uncertainty <= PRECISE else "may be"
        message += f"; it {is_it} the ratio of {other}: does the record name another tokenizer than it used?"
    elif partial and (evidence.share_of_bytes or 0.0) > 1.0 + AGREES:
        message += _of_the_split(evidence)
    elif partial:
        what = f"{evidence.scored_tokens:,} tokens were" if evidence.scored_tokens else "only a slice was"
        own = "no part is known to be so far off" if is_far else "a part of the split has a ratio of its own"
        message += f"; {what} scored, and {own}"
    elif abs(off - 1.0) <= SLICE_SPREAD:
        facts["may_be_of_a_part"] = True  # `explained` says what the record tells of that
    elif (uneven := _of_its_run(evidence)) is not None:
        message += uneven
    elif evidence.tokenizer_is_named:
        small = "" if is_far else "; a small part of the split could, and the record names none"
        message += candidates(evidence, off) or f"; no known bug has this factor{small}"
    if not partial and prefix is None and uneven is None:
        message += _of_the_split(evidence)
    if not partial:
        message += possible_units(evidence, ratio, _rows(evidence))
    if ratio.uncertainty > PRECISE:
        facts["missing"] = "loss and score with more digits"
    return codes.BYTES_OFF.finding(message, facts=facts, candidates=[bug.name for bug in bugs_near(evidence, off)])


def _by_its_digits(ratio: Ratio) -> str:
    """Between which numbers the bytes per token lie, where the digits leave room for more than one count."""
    if ratio.uncertainty <= PRECISE:
        return ""
    lowest, highest = _interval(ratio)
    return f", somewhere between {lowest:.4f} and {highest:.4f} by the digits that are printed"


def _interval(ratio: Ratio) -> tuple[float, float]:
    return ratio.value * (1.0 - ratio.uncertainty), ratio.value * (1.0 + ratio.uncertainty)


def _of_its_run(evidence: Evidence) -> str | None:
    """What the lines of the score's runs divide by, in words, where that is not one number as under any byte count."""
    runs = {(line.bpb.source.file, line.run) for line in evidence.lines}
    lines = [line for log in evidence.claim_logs for line in log.lines if (log.file, line.run) in runs]
    ratios = [found for line in lines if line.same_estimator and (found := ratio_of(line)) is not None]
    told = sorted(found.value for found in ratios if found.uncertainty < UNEVEN / 10)
    if not told or told[-1] / told[0] - 1.0 <= UNEVEN:
        return None
    return (
        f"; the lines of its run divide by {told[0]:.4f} to {told[-1]:.4f}: the score is another quantity than the "
        "loss beside it, as that of a mixture is, or of other tokens"
    )


def _is_of_size(evidence: Evidence, part: Denominator) -> bool:
    """Whether as many tokens were scored as a part of the table has."""
    return evidence.scored_tokens is not None and abs(part.num_tokens / evidence.scored_tokens - 1.0) < 0.05


def _must_be_whole_split(evidence: Evidence, ratio: Ratio, off: float) -> bool:
    """Whether no honest reading is left: the tokenizer is certain, and no part of the split is this far off.

    The log must load a split of exactly this tokenizer's size, and keep one ratio while the loss itself changes a
    lot: two estimators would not.
    """
    if evidence.full is None or abs(off - 1.0) <= LARGEST_SLICE_SPREAD:
        return False
    if not _is_held_against_a_text(evidence):
        return False
    if not evidence.claim_logs or not evidence.lines:
        return False
    sizes = {size for log in evidence.claim_logs for size in log.split_tokens}
    if not sizes or any(not evidence.full.holds(size) for size in sizes):
        return False
    return has_one_ratio(evidence, ratio)


def check_other_logs(evidence: Evidence) -> Iterator[Finding]:
    """Logs that are not the claim's own but lie beside it, with a byte bug in them: named, not held against it."""
    if not evidence.lines or evidence.claim.claimed_in == "log":
        return
    faulty: dict[str, list[LogRecord]] = {}
    ratios: dict[str, float] = {}
    for log in evidence.claim.logs:
        final = log.final
        if log in evidence.claim_logs or final is None:
            continue
        alone = gather(_log_alone(evidence, log), evidence.rules)
        ratio = alone.ratio
        if ratio is None or not ratio.same_estimator:
            continue
        bug = _known_bug(alone, ratio, _rows(alone))
        if bug is not None and not _is_part(alone):
            faulty.setdefault(bug[0].name, []).append(log)
            ratios[bug[0].name] = ratio.value
    for name, logs in faulty.items():
        bug_of = next(bug for bug in evidence.rules.pack.byte_factors if bug.name == name)
        files = [log.file for log in logs]
        message = (
            f"{', '.join(files)}: not behind the claim, but faulty: "
            f"{'it divides' if len(files) == 1 else 'they divide'} by {ratios[name]:.5f} bytes per token, "
            f"{bug_of.lowest} times the right number; {bug_of.story}"
        )
        yield codes.OTHER_LOGS_FAULTY.finding(
            message, files=[*files], bug=name, bug_factor=bug_of.lowest, bytes_per_token=ratios[name]
        )


def _log_alone(evidence: Evidence, log: LogRecord) -> Claim:
    """What the log alone would claim."""
    final = log.final
    assert final is not None
    return replace(
        evidence.claim,
        score=final.bpb,
        claimed_in="log",
        nats_per_token=final.nats_per_token,
        same_estimator=final.same_estimator,
        logs=(log,),
        protocol=Protocol(),
        seed_scores={},
    )
