"""What a claim's record amounts to, worked out once for every check: its log lines, its tokenizer, its ratio.

The log-only invariant: loss in nats / ln 2 / score = bytes per token that the record really divided by. It holds
where both numbers come from one estimator.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bpb_harness.auditing.held_script import HeldScript, held_script
from bpb_harness.claim import Claim, LogRecord, Printed, ScoreLine, logs_called
from bpb_harness.claim.line_template import LOSS
from bpb_harness.claim.names import vocabulary_of
from bpb_harness.claim.own_result import CLAIMED_IN
from bpb_harness.claim.prose_files import notes_on
from bpb_harness.claim.readme_reader import seeds_of_tables
from bpb_harness.rules import Rules
from bpb_harness.rules.denominators import Denominator, DenominatorTable
from bpb_harness.rules.pack import NATS_PER_TOKEN
from bpb_harness.units import nats_to_bits

SCATTER = 3e-3  # relative; what right ratios of public logs differ from the table by
# A mean of seeds was rounded by less than this, or than this part of their spread.
ROUNDED_MEAN, ROUNDED_SPREAD = 5e-5, 0.1
# Relative; bytes per token of unlike vocabularies of as many pieces, of the text with its case folded too, lie closer.
# On two halves of the public record it decides three records, all of the first half; 1 to 20 % decide them alike.
UNUSUAL = 0.08
_TELLING_DECIMALS = 6  # of score and loss together
_TELLING_ROW = 5  # decimals by which a row of a table is told from its neighbours
_NEARLY = 0.01  # relative; by which a score that is no rounding of a line's number may be off
_DECIMALS_OF_MEAN = 3  # of a mean whose seeds are listed, at the least; JSON drops a last zero
_MAX_SEEDS = 20  # of a mean within one log
_EXACT, _EXACT_WITHIN = "_exact", 2  # how a score is called that is printed again with more digits; lines behind it
_EXACT_FROM = 6  # decimals of a score that was not rounded by hand
# Other numbers in a label tell stages apart (int6 and int8), whose mean is nobody's score.
_NUMBER_OF_RUN = re.compile(r"(?P<run>(?:seed|run|trial|fold|rep(?:eat)?|s)[ _:=#-]{0,2})[0-9]+", re.IGNORECASE)
_INFERRED = 5e-4  # relative; by which a ratio alone may tell a tokenizer
MOST_BYTES_OF_A_TOKEN = 8.0  # on average, of text under any vocabulary
WHOLE_SPLIT = 0.99  # fraction of its tokens; a dropped tail is less than a percent


@dataclass(frozen=True)
class Ratio:
    """Bytes per token that a record divided by.

    Attributes:
        value: bytes per token.
        uncertainty: relative; what the rounding of the printed numbers can hide.
        same_estimator: the names say that loss and score come from one estimator.
        places: where the numbers stand.
    """

    value: float
    uncertainty: float
    same_estimator: bool
    places: tuple[str, ...]

    def is_near(self, target: float, tolerance: float) -> bool:
        """Whether it is ``target``, to a relative tolerance or the rounding of the print, whichever is wider."""
        return abs(self.value / target - 1.0) <= max(tolerance, self.uncertainty)

    def agrees_with(self, other: Ratio, tolerance: float) -> bool:
        """Whether two ratios are one, to a relative tolerance or the rounding of both prints, whichever is wider."""
        return abs(self.value / other.value - 1.0) <= max(tolerance, self.uncertainty + other.uncertainty)


@dataclass(frozen=True)
class LoggedLoss:
    """What a log ends with, by the rules of a contest whose claims are in nats per token.

    Attributes:
        loss: nats per token.
        log: the log.
        num_tokens: tokens that it says were scored; several where it contradicts itself, none where it is silent.
    """

    loss: Printed
    log: LogRecord
    num_tokens: tuple[int, ...]


@dataclass(frozen=True)
class Evidence:
    """A claim and what follows from its record.

    Attributes:
        claim: the claim.
        lines: the log lines that carry the claimed score: one, or one a seed whose mean it is.
        how: how ``lines`` give the score: ``line``, ``mean``; None where no line does.
        siblings: log lines that carry another score that the record gives for one of its seeds.
        ratio: bytes per token behind the claim; None where the record cannot tell.
        tokenizer: its tokenizer, named or implied by the number of tokens of the split.
        tokenizer_is_named: the record names it or its split's size.
        tokenizer_is_certain: it is named by a path in a log, by its size, or by a key of its own, not by prose alone.
        full: the whole split under that tokenizer, or cut into as many tokens as the log loads; None where neither is
            known.
        scored_tokens: tokens that the record says were scored.
        scored_by: what says so, in words; None where nothing does.
        losses: of a claim in nats per token, what each of its logs ends with.
        rules: the contest's.
    """

    claim: Claim
    lines: tuple[ScoreLine, ...]
    how: str | None
    siblings: tuple[ScoreLine, ...]
    ratio: Ratio | None
    tokenizer: str | None
    tokenizer_is_named: bool
    tokenizer_is_certain: bool
    full: Denominator | None
    scored_tokens: int | None
    scored_by: str | None
    losses: tuple[LoggedLoss, ...]
    rules: Rules

    @property
    def is_own_file_alone(self) -> bool:
        """Whether the claim is a score's own file, and there is no log beside it."""
        claim = self.claim
        return claim.result is not None and claim.claimed_in in (CLAIMED_IN, None) and not claim.logs

    @cached_property
    def notes(self) -> list[tuple[str, str]]:
        """The notes beside the README that speak of the claim, by name, with their texts."""
        return notes_on(self.claim, [line.bpb.source.file for line in self.lines]) if self.claim.prose else []

    @cached_property
    def held_script(self) -> HeldScript | None:
        """The script that the claim's logs hold, held against those beside them; None where they hold none."""
        return held_script(self.claim.logs, self.lines, self.claim.scripts)

    @cached_property
    def printed(self) -> float | None:
        """What the claim's lines print: the one's number, or the mean of several; None where there are none."""
        return statistics.fmean(line.bpb.value for line in self.lines) if self.lines else None

    @cached_property
    def is_nearly(self) -> bool:
        """Whether what the claim's lines print is not rounded to the claim: cut off, or off by a last digit."""
        score = self.claim.score
        half = max((line.bpb.half_unit for line in self.lines), default=0.0)
        return score is not None and self.printed is not None and not rounds_to(score, self.printed, half)

    @property
    def share_of_bytes(self) -> float | None:
        """The tokens that the logs load, times what the record divides by, over the bytes of the split."""
        sizes = {size for log in self.claim_logs for size in log.split_tokens}
        num_bytes = next((row.num_bytes for row in self.rules.table.rows if row.dataset == self.claim.dataset), None)
        if len(sizes) != 1 or num_bytes is None or self.ratio is None:
            return None
        return sizes.pop() * self.ratio.value / num_bytes

    @property
    def bytes_of_split(self) -> int | None:
        """Of the text that is named; of the smallest that the rules know, where none is."""
        named = self.claim.dataset
        rows = [row for row in self.rules.table.rows if row.is_whole and named in (None, row.dataset)]
        return min((row.num_bytes for row in rows if row.num_bytes is not None), default=None)

    def share_of_split(self, num_tokens: int) -> float | None:
        """What so many tokens are of the split, at most; None where no split is known that the claim could be of."""
        if self.full is not None:
            return num_tokens / self.full.num_tokens
        of_own = self.ratio is not None and self.ratio.same_estimator
        most = self.ratio.value if self.ratio is not None and of_own else MOST_BYTES_OF_A_TOKEN
        return None if self.bytes_of_split is None else num_tokens * most / self.bytes_of_split

    @cached_property
    def claim_logs(self) -> tuple[LogRecord, ...]:
        """The logs that carry the claim."""
        files = {line.bpb.source.file for line in (*self.lines, *self.siblings)}
        return tuple(log for log in self.claim.logs if log.file in files)

    def log_of(self, line: ScoreLine) -> LogRecord | None:
        """The claim's log that a line stands in."""
        return next((log for log in self.claim_logs if line in log.lines), None)

    def run_of(self, line: ScoreLine) -> list[ScoreLine]:
        """All lines of the run that a line is of, in its log; none where it stands in no log of the claim's."""
        log = self.log_of(line)
        return [] if log is None else [other for other in log.lines if other.run == line.run]


def gather(claim: Claim, rules: Rules) -> Evidence:
    """Work out the evidence of a claim, under a contest's rules."""
    claim, table = replace(claim, dataset=rules.pack.text_called(claim.dataset)), rules.table
    called = {log.file for log in logs_called(claim.logs, rules.pack.claim.logs)}
    first = tuple(sorted(claim.logs, key=lambda log: log.file not in called))  # of several that print a score
    lines, how = _lines_of_claim(replace(claim, logs=first))
    if not lines and claim.tables and not _ends_otherwise(claim):
        lines, how = _rows_of_claim(claim)
        files = {line.bpb.source.file for line in lines}
        claim = replace(claim, logs=(*claim.logs, *(table for table in claim.tables if table.file in files)))
    siblings = () if lines else tuple(_siblings(claim))
    logs = [log for log in claim.logs if any(line in log.lines for line in (*lines, *siblings))] or list(claim.logs)
    split_sizes = [size for log in logs for size in log.split_tokens]
    implied = {table.tokenizer_of_split(size) for size in split_sizes}
    of_size = implied.pop() if len(implied) == 1 else None
    tokenizer = claim.tokenizer or of_size
    where = claim.tokenizer_source
    by_name = where is not None and (where.key is not None or where.file in {log.file for log in claim.logs})
    ratio = _ratio_of_claim(claim, lines, siblings)
    if tokenizer is not None and not by_name and ratio is not None and _is_of_another(table, tokenizer, ratio):
        tokenizer = of_size
    elif tokenizer is not None and (variant := _variant_used(claim, table, tokenizer, ratio, of_size)) is not None:
        tokenizer = variant
    bits = _bits_of_vocabulary(tokenizer, logs)
    full = _whole_split(table, tokenizer, claim.dataset, {*split_sizes}, ratio, bits)
    by_size = full is not None and full != table.full_split(tokenizer, claim.dataset)
    saying = next((line for line in lines if line.scored_tokens), None)
    scored, scored_by = claim.protocol.tokens, "the record says so"
    if saying is not None:
        scored, scored_by = saying.scored_tokens, f"{(saying.counted or saying.bpb).source} says so"
    elif scored is None and full is not None and split_sizes and max(split_sizes) < WHOLE_SPLIT * full.num_tokens:
        scored = max(split_sizes)  # only so much of the split was loaded
        scored_by = f"{next(log.file for log in logs if scored in log.split_tokens)} loads no more"
    return Evidence(
        claim=claim,
        lines=lines,
        how=how,
        siblings=siblings,
        ratio=ratio,
        tokenizer=tokenizer,
        tokenizer_is_named=tokenizer is not None or by_size,
        tokenizer_is_certain=by_size or (tokenizer is not None and (by_name or of_size == tokenizer)),
        full=full,
        scored_tokens=scored,
        scored_by=scored_by if scored is not None else None,
        losses=() if claim.score is not None else tuple(_losses(claim, rules)),
        rules=rules,
    )


def _losses(claim: Claim, rules: Rules) -> Iterator[LoggedLoss]:
    rule = rules.pack.claim
    if rule.unit != NATS_PER_TOKEN:
        return
    called = logs_called(claim.logs, rule.logs)
    copies = {log.digest: log for log in reversed(called)}  # a copy of a log is no second run
    for log in reversed(copies.values()):
        loss = log.printed_at(LOSS, rule.lines)
        if loss is not None and loss.value > 0.0:
            sizes = {size for found in log.found if found.template in rule.tokens_lines for size in found.distinct}
            yield LoggedLoss(loss, log, tuple(sorted(sizes)))


def _whole_split(
    table: DenominatorTable,
    tokenizer: str | None,
    dataset: str | None,
    sizes: Collection[int],
    ratio: Ratio | None,
    bits_of_vocabulary: float | None,
) -> Denominator | None:
    """The whole split: the table's row, or the split cut into as many tokens as the log loads.

    The latter where the table rounds its number of tokens, and where those tokens, times what the record divides by,
    are all the bytes of the split (or more, under a tokenizer that the table does not know): a part of it has fewer.
    Where there are more, the tokens must be as many as a vocabulary of that size makes of the split: a shard that was
    cut after a round number of tokens is another text, or more of it.
    """
    row = table.full_split(tokenizer, dataset)
    if len(sizes) != 1:
        return row
    (size,) = sizes
    known = [other for other in table.rows if other.is_whole and other.tokenizer == tokenizer and other.holds(size)]
    if row is not None and row.holds(size) and row.rounding and row.num_tokens != size:
        return table.split_of_size(size, dataset, row.tokenizer) or row
    if known or ratio is None:
        return row
    other_than = "" if tokenizer is None else f"another {tokenizer} than the table's" if row is not None else tokenizer
    own = table.split_of_size(size, dataset, other_than or "a vocabulary of its own")
    if own is None or ratio.value < own.bytes_per_token * (1.0 - SCATTER - ratio.uncertainty):
        return row
    usual = None if bits_of_vocabulary is None else table.usual_bytes_per_token(bits_of_vocabulary)
    is_near = ratio.is_near(own.bytes_per_token, SCATTER)
    if usual is not None and not is_near and abs(own.bytes_per_token / usual - 1.0) > UNUSUAL:
        return row
    # More bytes than there are, under a tokenizer of the table: of that one, or of another? Nothing says.
    return own if row is None or is_near else row


def _is_of_another(table: DenominatorTable, tokenizer: str, ratio: Ratio) -> bool:
    """Whether prose names a tokenizer that the table does not know, and the ratio is that of one which it knows."""
    if any(row.tokenizer == tokenizer for row in table.rows):
        return False
    return any(row.is_whole and ratio.is_near(row.bytes_per_token, _INFERRED) for row in table.rows)


def _variant_used(
    claim: Claim, table: DenominatorTable, tokenizer: str, ratio: Ratio | None, of_size: str | None
) -> str | None:
    """The variant of a tokenizer that was used where only its plain name was read: ``sp8192-caseops`` of ``sp8192``.

    Its size tells, or the ratio together with the variant's name in the title or the README.
    """
    if of_size is not None and of_size.startswith(f"{tokenizer}-"):
        return of_size
    if ratio is None or of_size is not None:
        return None
    words = f"{claim.title or ''} {claim.readme.text if claim.readme is not None else ''}".lower()
    plain = words.replace("_", "").replace("-", "")
    near = {row.tokenizer for row in table.rows if row.is_whole and ratio.is_near(row.bytes_per_token, _INFERRED)}
    return next((name for name in near if name.startswith(f"{tokenizer}-") and name.partition("-")[2] in plain), None)


def _bits_of_vocabulary(tokenizer: str | None, logs: Sequence[LogRecord]) -> float | None:
    """log2 of the number of pieces: as the tokenizer's name tells it, or else the loss of a token before training."""
    bits = bits_of_vocabulary(tokenizer)
    untrained = (log.untrained for log in logs)
    first = next((line.nats_per_token for line in untrained if line is not None), None)
    return bits if bits is not None or first is None else nats_to_bits(first.value)


def ratio_of(line: ScoreLine) -> Ratio | None:
    """Bytes per token that one line divided by; None where it prints no loss."""
    return None if line.nats_per_token is None else ratio_of_pair(line.nats_per_token, line.bpb, line.same_estimator)


def ratio_of_pair(nats_per_token: Printed, bpb: Printed, same_estimator: bool) -> Ratio | None:
    """Bytes per token behind a loss and a score that were published side by side."""
    if nats_per_token.value <= 0.0 or bpb.value <= 0.0:
        return None
    uncertainty = nats_per_token.half_unit / nats_per_token.value + bpb.half_unit / bpb.value
    value = nats_to_bits(nats_per_token.value) / bpb.value
    return Ratio(value, uncertainty, same_estimator, tuple({str(nats_per_token.source): 0, str(bpb.source): 0}))


def _ratio_of_claim(claim: Claim, lines: Sequence[ScoreLine], siblings: Sequence[ScoreLine]) -> Ratio | None:
    own = lines or siblings
    ratios = [ratio for line in own if (ratio := ratio_of(line)) is not None]
    if not ratios:
        again = [_printed_again(claim.logs, line) or _rounded_before(claim.logs, line) for line in own]
        found = [ratio_of(line) for line in again if line is not None]
        ratios = [ratio for ratio in found if ratio is not None] if len(found) == len(own) else []
    if ratios:
        value = sum(ratio.value for ratio in ratios) / len(ratios)
        places = tuple(place for ratio in ratios for place in ratio.places)
        return Ratio(
            value,
            max(r.uncertainty for r in ratios),
            all(r.same_estimator for r in ratios),
            tuple(dict.fromkeys(places)),
        )
    if claim.nats_per_token is not None and claim.score is not None:
        return ratio_of_pair(claim.nats_per_token, claim.score, claim.same_estimator)
    return None


def _printed_again(logs: Sequence[LogRecord], line: ScoreLine) -> ScoreLine | None:
    """The line before or behind one that prints the same score with more digits, and the loss that it is made of."""
    number = line.bpb.source.line
    near = (each for log in logs if number is not None and line in log.lines for each in log.lines)
    return next(
        (
            each
            for each in near
            if each.bpb.source.file == line.bpb.source.file
            and abs((each.bpb.source.line or 0) - (number or 0)) == 1
            and (each.run, each.is_training_step) == (line.run, line.is_training_step)
            and each.nats_per_token is not None
            and each.same_estimator
            and (each.bpb.decimals or 0) > (line.bpb.decimals or 0) >= _DECIMALS_OF_MEAN
            and rounds_to(line.bpb, each.bpb.value)
        ),
        None,
    )


def _rounded_before(logs: Sequence[LogRecord], line: ScoreLine) -> ScoreLine | None:
    """The line in front of an exact one without a loss that prints the same score with fewer digits, and a loss."""
    within = next((log for log in logs if line in log.lines), None)
    return next(
        (
            other
            for other in (within.lines if within is not None else ())
            if other.nats_per_token is not None and other.same_estimator and _is_exact_of(line, other)
        ),
        None,
    )


def _lines_of_claim(claim: Claim) -> tuple[tuple[ScoreLine, ...], str | None]:
    score = claim.score
    if score is None:
        return (), None
    if claim.claimed_in == "log":
        ruled = [log for log in claim.logs if log.claimed is not None]
        finals = tuple(log.final for log in ruled or claim.logs if log.final is not None)
        return finals, "line" if len(finals) == 1 else "mean"
    means = list(_means_by_label(claim.logs))
    single = [
        line
        for log in sorted(claim.logs, key=_num_runs)  # of copies of a line, that in the log of one run
        for line in log.lines
        if is_or_nearly(score, line.bpb.value, line.bpb.half_unit) and not _is_told_exactly(line, log, score)
    ]
    if not _is_exact(single, score) and (listed := _listed_seeds(claim, score, means)) is not None:
        return tuple(listed), "mean"
    # Several seeds: their mean comes before a single line that happens to agree.
    is_rounded = any(
        rounds_to(score, line.bpb.value, line.bpb.half_unit) for line in single if not line.is_training_step
    )
    # One that is rounded to the score comes before one that nearly is.
    for group in sorted(means, key=lambda group: not rounds_to(score, _mean_of(group))):
        mean = _mean_of(group)
        half = max(line.bpb.half_unit for line in group)
        # A mean that is not rounded to the score gives way to a line that is.
        is_nearest = rounds_to(score, mean, half) or not is_rounded
        if len(claim.seeds) != 1 and is_or_nearly(score, mean, half) and is_nearest and not _is_exact(single, score):
            return tuple(group), "mean"
    if single and not _is_exact(single, score) and (seeds := _mean_of_named_seeds(claim, score, single)) is not None:
        return tuple(seeds), "mean"
    if single and all(line.is_training_step for line in single):
        for group in _seeds_of(claim, score):
            return tuple(group), "mean"
    if single:
        sizes = {size.value for size in claim.artifact_bytes}
        own = {log.file for log in claim.logs if any(size.value in sizes for size in log.artifact_bytes)}
        # The claim's own digits, where the line in front has the loss, go before those of another line with a loss.
        told = [line for line in single if _is_exact([line], score) and _rounded_before(claim.logs, line) is not None]
        return (max(told or single, key=lambda line: _standing(line, score, own)),), "line"
    for group in means:
        if len(claim.seeds) != 1 and is_rounded_mean(score, [line.bpb.value for line in group]):
            return tuple(group), "mean"
    for group in _seeds_of(claim, score):
        return tuple(group), "mean"
    return (), None


def _num_runs(log: LogRecord) -> int:
    """How many scores a log prints under one name, at most: several runs', of one that is made of several logs."""
    ends = {(line.label, line.bpb.value) for line in log.lines if not line.is_training_step}
    return max(Counter(label for label, _ in ends).values(), default=0)


def _seeds_of(claim: Claim, score: Printed) -> Iterator[list[ScoreLine]]:
    """Lines of seeds, of the record's own or of one log, whose mean is the score."""
    for group in (*_seeds_in_logs(claim, score), *_means_within_logs(claim.logs)):
        half = max(line.bpb.half_unit for line in group)
        if score.agrees_with(sum(line.bpb.value for line in group) / len(group), half) and (score.decimals or 0) >= 4:
            yield group


def _listed_seeds(claim: Claim, score: Printed, means: Sequence[Sequence[ScoreLine]]) -> Sequence[ScoreLine] | None:
    """Of seeds that the record lists, each of which ends a run, where the score is their mean rounded: those lines.

    None where it is that of all logs: there may be more of them than seeds, of runs that were made again. Of a log with
    the runs of several seeds that mean has the last alone: the listed seeds are more then, with these among them. And
    where every log tells its seed, those of the listed seeds are the claim's: of others the record lists none.
    """
    of_logs = [g for g in means if rounds_to(score, _mean_of(g), max(line.bpb.half_unit for line in g))]
    in_tables = seeds_of_tables(claim.readme) if claim.readme is not None else ()
    tables = [seeds for seeds, mean in in_tables if score.agrees_with(mean.value, mean.half_unit)]
    for scores in (*claim.seed_scores.values(), *tables):
        for as_listed in (False, True):
            found = _ends_of_seeds(claim, scores, as_listed=as_listed)
            are_told = _are_told_seeds(claim, scores, found)
            if not all(_runs(group) < _runs(found) or (are_told and _runs(found) < _runs(group)) for group in of_logs):
                break
            if len(found) >= 2 and rounds_to(score, _mean_of(found)) and (score.decimals or 0) >= _DECIMALS_OF_MEAN:
                return found
    return None


def _are_told_seeds(claim: Claim, scores: Mapping[str, Printed], lines: Sequence[ScoreLine]) -> bool:
    """Whether scores are of all seeds that the record names, each of which the log of its line tells."""
    seeds = {log.file: log.seed for log in claim.logs}
    told = sorted(seeds.get(line.bpb.source.file) or "" for line in lines)
    return told == sorted(scores) and set(claim.seeds) <= set(scores)


def _runs(lines: Sequence[ScoreLine]) -> set[tuple[str, int]]:
    return {(line.bpb.source.file, line.run) for line in lines}


def _mean_of(lines: Sequence[ScoreLine]) -> float:
    return sum(line.bpb.value for line in lines) / len(lines)


def _ends_of_seeds(claim: Claim, scores: Mapping[str, Printed], *, as_listed: bool = False) -> list[ScoreLine]:
    """For each score of a seed a final line that prints it, in a log of no other seed; none where one has none.

    As listed: with those digits. The mean of rounded scores may round otherwise than that of whole ones.
    """
    found: list[ScoreLine] = []
    for name, seed in scores.items():
        ends = [
            line
            for log in claim.logs
            for line in log.lines
            if (not name.isdigit() or log.seed in (None, name) or line.run < log.lines[-1].run)
            and not line.is_training_step
            and (seed.decimals or 0) >= 4
            and rounds_to(seed, line.bpb.value)
            and (line.bpb.decimals == seed.decimals or not as_listed)
        ]
        # What a log prints twice stands where it does last.
        printed = {(line.bpb.source.file, line.label, *line.score_and_loss): line for line in ends}
        found += [max(printed.values(), key=lambda line: _standing(line, seed))] if printed else []
    is_whole = len(found) == len(scores) == len({line.bpb.source for line in found})
    return found if is_whole and len({line.label for line in found}) == 1 else []


def _mean_of_named_seeds(claim: Claim, score: Printed, single: Sequence[ScoreLine]) -> list[ScoreLine] | None:
    """Final lines within one log, as many as the record names seeds, whose mean is nearer to the score than any line.

    Such a line agrees by chance: seeds lie near their mean.
    """
    nearest = min(abs(line.bpb.value - score.value) for line in single)
    for group in _means_within_logs(claim.logs):
        mean = sum(line.bpb.value for line in group) / len(group)
        is_mean = abs(mean - score.value) < min(nearest, score.half_unit)
        if is_mean and len(group) == len(claim.seeds) and group[0].label == group[-1].label:
            return group
    return None


def _ends_otherwise(claim: Claim) -> bool:
    """Whether some log ends with a score that the record names nowhere: then a table beside it decides nothing."""
    named = [*claim.other_scores, *(seed for scores in claim.seed_scores.values() for seed in scores.values())]
    finals = ([line.bpb for line in log.lines if not line.is_training_step] for log in claim.logs)
    return any(
        scores and not any(each.agrees_with(scores[-1].value, scores[-1].half_unit) for each in named)
        for scores in finals
    )


def _rows_of_claim(claim: Claim) -> tuple[tuple[ScoreLine, ...], str | None]:
    """Rows of tables that carry the claim, by digits enough that no row of many agrees by chance."""
    score = claim.score
    if score is None or (score.decimals or 0) < _TELLING_ROW:
        return (), None
    tables = [
        replace(table, lines=tuple(line for line in table.lines if (line.bpb.decimals or 0) >= _TELLING_ROW))
        for table in claim.tables
    ]
    return _lines_of_claim(replace(claim, logs=tuple(tables)))


def _seeds_in_logs(claim: Claim, score: Printed) -> Iterator[list[ScoreLine]]:
    """Where the score is the mean of the seeds that the record lists, and each of these ends a run: those lines."""
    for scores in claim.seed_scores.values():
        if len(scores) < 2 or not score.agrees_with(mean_of_seeds(scores)):
            continue
        found = []
        for seed in scores.values():
            ends = [
                line
                for log in claim.logs
                for line in log.lines
                if not line.is_training_step and (seed.decimals or 0) >= 4 and seed.agrees_with(line.bpb.value)
            ]
            found += [max(ends, key=lambda line: _standing(line, seed))] if ends else []
        if len(found) == len(scores) == len({line.bpb.source for line in found}):
            yield found


def _means_within_logs(logs: Sequence[LogRecord]) -> Iterator[list[ScoreLine]]:
    """Equally labelled final lines of one log, each of a run or a seed of its own; not too many, or some mean fits."""
    for log in logs:
        by_label: dict[str, list[ScoreLine]] = {}
        for line in log.lines:
            if not line.is_training_step:
                by_label.setdefault(_NUMBER_OF_RUN.sub(r"\g<run>#", line.label), []).append(line)
        for group in by_label.values():
            each = _each_run_once(group)
            if 2 <= len(each) <= _MAX_SEEDS:
                yield each


def rounds_to(score: Printed, value: float, half_unit: float = 0.0) -> bool:
    """Whether a score is a value, rounded to its digits; half_unit is what the value's own rounding may have hidden."""
    return abs(score.value - value) <= max(score.half_unit, half_unit) * (1.0 + 1e-9) + 1e-12


def is_or_nearly(score: Printed, value: float, half_unit: float = 0.0) -> bool:
    """Whether a score is a value rounded or cut off to its digits, or off by a last one that is not much of it."""
    is_cut_off = 0.0 < value - score.value < 2.0 * score.half_unit * (1.0 - 1e-9)
    is_small = abs(score.value - value) <= _NEARLY * abs(value)
    return score.agrees_with(value, half_unit) and (is_small or is_cut_off or rounds_to(score, value, half_unit))


def is_rounded_mean(score: Printed, values: Sequence[float]) -> bool:
    """Whether a score is the mean of seeds as people round it: 1.07876 given as 1.0788, and then as 1.07880."""
    if len(values) < 2:
        return False
    slack = max(ROUNDED_MEAN, ROUNDED_SPREAD * statistics.stdev(values))
    return abs(score.value - sum(values) / len(values)) <= slack + 1e-12


def _is_told_exactly(line: ScoreLine, log: LogRecord, score: Printed) -> bool:
    """Whether the next lines print what a line prints with more digits: of a score with as many, those decide."""
    return (score.decimals or 0) >= _EXACT_FROM and any(_is_exact_of(other, line) for other in log.lines)


def _is_exact_of(exact: ScoreLine, line: ScoreLine) -> bool:
    """Whether a line prints, right behind another one, what that prints with fewer digits."""
    return (
        0 < (exact.bpb.source.line or 0) - (line.bpb.source.line or 0) <= _EXACT_WITHIN
        and exact.label == f"{line.label}{_EXACT}"
        and exact.run == line.run
        and (exact.bpb.decimals or 0) > (line.bpb.decimals or 0)
        and rounds_to(line.bpb, exact.bpb.value)
    )


def _is_exact(lines: Sequence[ScoreLine], score: Printed) -> bool:
    """Whether a line prints the very digits of a score that has enough of them to be no coincidence."""
    return (score.decimals or 0) >= 6 and any(abs(line.bpb.value - score.value) < 1e-9 for line in lines)


def _standing(line: ScoreLine, score: Printed, own: Collection[str] = ()) -> tuple[bool, bool, bool, bool, bool, float]:
    """How well a line stands for a score; own are the logs that print the size of what is submitted."""
    return (
        not line.is_training_step,
        line.nats_per_token is not None,
        (line.bpb.decimals or 0) > 5,
        rounds_to(score, line.bpb.value, line.bpb.half_unit),
        line.bpb.source.file in own,
        -abs(line.bpb.value - score.value),
    )


def _means_by_label(logs: Sequence[LogRecord]) -> Iterator[list[ScoreLine]]:
    """Groups of equally labelled final lines, the last of each log, where two or more logs have one."""
    by_label: dict[str, dict[str, ScoreLine]] = {}
    for log in logs:
        for line in log.lines:
            if not line.is_training_step:
                by_label.setdefault(line.label, {})[log.file] = line
    telling = {log.file: _telling(log) for log in logs}
    groups = [each for group in by_label.values() if len(each := _each_run_once(group.values(), telling)) >= 2]
    # More digits and a loss beside the score first: the same mean is often printed twice.
    yield from sorted(groups, key=lambda g: (g[0].nats_per_token is None, -(g[0].bpb.decimals or 0)))


def _each_run_once(lines: Iterable[ScoreLine], telling: Mapping[str, object] | None = None) -> list[ScoreLine]:
    """Without the lines of a log that is a copy of another one: no two runs share score and loss to the last digit.

    Of four digits each they may, for one follows from the other: what the logs print beside them decides then.
    """
    once: dict[object, ScoreLine] = {}
    for line in lines:
        loss = line.nats_per_token
        decimals = (line.bpb.decimals or 0, loss.decimals or 0 if loss is not None else 0)
        key: object = line.score_and_loss
        if max(decimals) < _TELLING_DECIMALS and telling is not None:
            key = (key, telling.get(line.bpb.source.file))
        once.setdefault(key if sum(decimals) >= _TELLING_DECIMALS else line.bpb.source, line)
    return [*once.values()]


def _telling(log: LogRecord) -> object:
    """What tells one run from another with few digits: a line of more, or else a validation behind the beginning."""
    exact = [line for line in log.lines if (line.bpb.decimals or 0) >= _TELLING_DECIMALS]
    steps = [line for line in log.lines if line.is_training_step]
    return next((line.bpb.value for line in (*exact[-1:], *steps[1:2])), None)


def _siblings(claim: Claim) -> Iterator[ScoreLine]:
    """Lines that print another score which the record gives for the same seed."""
    for scores in claim.seed_scores.values():
        for seed, score in scores.items():
            for log in claim.logs:
                if log.seed == seed and (score.decimals or 0) >= 4:
                    matching = [
                        line
                        for line in log.lines
                        if not line.is_training_step and score.agrees_with(line.bpb.value, line.bpb.half_unit)
                    ]
                    if matching:
                        yield max(matching, key=lambda line: _standing(line, score))


def mean_of_seeds(scores: Mapping[str, Printed]) -> float:
    """The mean score over seeds."""
    return sum(score.value for score in scores.values()) / len(scores)


def bits_of_vocabulary(tokenizer: str | None) -> float | None:
    """log2 V of a tokenizer whose name tells V; None where it does not."""
    pieces = vocabulary_of(tokenizer)
    return math.log2(pieces) if pieces else None
