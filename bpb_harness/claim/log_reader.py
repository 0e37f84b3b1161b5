"""Logs of training runs: the score lines in them, and the few settings that say what was scored.

Understood, among others::

    final_int8_zlib_roundtrip_exact val_loss:2.07269931 val_bpb:1.22436570
    ttt_sliding:done val_loss=1.889768 val_bpb=1.119230 elapsed=409.8s
    step:5/10 val_loss: 2.1 val_bpb: 1.2
    4000/20000 val_loss: 2.8741 val_bpb: 1.1127
    VARIATIONAL BPB: 1.1567
    Quantized BPB (no XSA): 1.026927
    val_loss 2.0720 | val_bpb 1.2243
    val_loader:shards pattern=./data/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632
    Total submission size int8+zlib: 15863489 bytes
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import final

from bpb_harness.claim.adaptation import EpochLine, adaptations, epoch_of
from bpb_harness.claim.clock import Clock
from bpb_harness.claim.embedded_code import is_code, is_statement
from bpb_harness.claim.line_shapes import Columns, entry_of, with_colons
from bpb_harness.claim.line_template import LineTemplate, found_lines
from bpb_harness.claim.names import is_of_training, is_score_name, same_estimator, stem, tokenizers_in
from bpb_harness.claim.placeholders import placeholders_in
from bpb_harness.claim.printed import NUMBER, Printed, Source, parse_number, with_points
from bpb_harness.claim.printed_counts import CountReader, PrintedCounts
from bpb_harness.claim.record import LogRecord, ScoreLine
from bpb_harness.claim.scoring_order import ScoringOrder
from bpb_harness.claim.stated_bytes import stated_alone, stated_in_line
from bpb_harness.claim.stored_text import StoredText, stored_told
from bpb_harness.claim.told_by_log import (
    GatesTold,
    PartTold,
    artifact_told,
    counted_beside,
    data_told,
    gates_told,
    packed_told,
    part_told,
    window_told,
)

_LONGEST_LINE = 2000
_MAX_SCORE_LINES = 200_000
# A number, and nothing glued to it that would make it something else: 1.2x, 1.2.3, 1.2%.
_END = r"(?![0-9A-Za-z_%]|[.,][0-9])"

# From the start of a word only, and bounded: no long line of a hostile log takes quadratic time.
_WORD = r"(?<![A-Za-z0-9_])[A-Za-z0-9_]{0,60}?"
# A validation's loss, right before its score.
_SHORT = rf"(?<![A-Za-z0-9_.])vl(?=\s?[:=]\s?{NUMBER}[\s,;|]{{1,4}}(?:val_)?(?:bpb|BPB)\s?[:=])"
_FIRST_METRIC = re.compile(rf"{_WORD}(?:loss|nats_per_token|bpb|BPB|bits[ _]per)|{_SHORT}")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LEVEL = r"(?:(?:[-|]?\s*\[?[A-Za-z_][\w.]{0,40}\]?\s*[-|]?\s*)?\[?INFO\]?\s*[-|:]?\s*)?"  # and a logger's name
_PREFIX = re.compile(
    r"^\s*(?:\[?rank[ _]?[0-9]+\]?:?\s+"
    rf"|\[?[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ][0-9:.,]+Z?\]?\s*[-|]?\s*{_LEVEL}"
    rf"|\[?[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:[.,][0-9]{{1,6}})?\]?\s+{_LEVEL}"
    r"|I[0-9]{4,8} [0-9:.]{8,15}\s+[0-9]{1,10} [\w.]{1,40}:[0-9]{1,6}\]\s)+"
)
_PREFIXED = frozenset("[rI0123456789")  # what a prefix begins with, behind blanks
_BLANKS = frozenset(" \t")
_SCORE = re.compile(
    rf"(?P<name>{_WORD}(?:bpb|BPB|Bpb|bits[ _]per[ _]byte)[A-Za-z0-9_]{{0,60}})(?P<detail> ?\([^()]{{0,40}}\))?"
    rf"[\"']?\s{{0,20}}[:=]\s{{0,20}}(?P<number>{NUMBER}){_END}"
)
_SPOILT = re.compile(
    rf"(?P<name>{_WORD}(?:bpb|BPB|Bpb|bits[ _]per[ _]byte)[A-Za-z0-9_]{{0,60}})[\"']?\s{{0,20}}[:=]\s{{0,20}}"
    r"[-+]?(?:nan|inf|infinity)\b",
    re.IGNORECASE,
)
_LOSS = re.compile(
    rf"(?P<name>{_WORD}(?:loss|nats_per_token)|{_SHORT})[\"']?\s{{0,20}}[:=]\s{{0,20}}(?P<number>{NUMBER}){_END}"
)
_STEP = re.compile(
    r"(?:^|[\s\"'{,])(?:epochs?|(?P<step>step|iter|iteration)s?)[\"']?\s?[:= ]\s?(?P<number>[0-9]{1,9})"
    r"|^\s*(?P<of>[0-9]{1,9})\s?/\s?[0-9]+\s",
    re.IGNORECASE,
)
# A running value over the text so far: i of n chunks, windows, documents; a bar. It is no score, not even at n of n.
_OF = r"[\s:=#]{0,3}[\[(]?\s?[0-9]{1,12}\s?(?:/|of)\s?[0-9]{1,12}(?![0-9.])"
_PARTS = (
    r"(?:micro)?batch|chunk|window|doc(?:ument)?|seq(?:uence)?|sample|segment|shard|block|span|example|piece|slice|part"
    r"|article|token|file|progress"
)
_PROGRESS = re.compile(
    rf"(?:(?<![A-Za-z])|_)(?:{_PARTS})(?:e?s)?{_OF}"
    rf"|(?<![0-9.])[0-9]{{1,12}}\s?/\s?[0-9]{{1,12}}\s?(?:{_PARTS})(?:e?s)?(?![A-Za-z])"
    r"|[0-9]{1,3}%\s?\||[0-9]{1,3}(?:\.[0-9]{1,3})?\s?% (?:done|of|complete)|\brunning[_ ](?:val_)?bpb\b",
    re.IGNORECASE,
)
_ENDS = re.compile(
    r"\bfinal|final\b|_exact\b|\bdone\b|\btotal\b", re.IGNORECASE
)  # "final (1893/1893 chunks) val_bpb:1.2"
_OF_THE_END = re.compile(r"final_|round_?trip_", re.IGNORECASE)  # in a summary that counts the run's steps, too
_LONGEST_LABEL = 300
_NUM_STEPS = re.compile(
    r"(?:\bT|\bvar_eval_steps|\bnum_diffusion_steps|\bdiffusion_steps|\beval_steps|\bnum_timesteps)\s?[:=]\s?([0-9]{1,6})\b"
)
_SPLIT = re.compile(r"(?:\bval_tokens|\bval_loader\S*.{0,300}?\btokens)\s?[:=]\s?([0-9][0-9,]*)")
_DATASET = re.compile(r"([A-Za-z0-9]+)_val_(?:[A-Za-z]{1,20}_)?[*?0-9\[]")
_NUMBER = re.compile(r"(?<![\w.])[0-9]{1,2}\.[0-9]{3,12}(?![\w.])")
_LONGEST_NUMBER_LINE = 1000
_MOST_UNREAD = 10_000
_MOST_TOLD = 10_000
_MOST_DATA = 100  # things that settings of data give; a run has few, and names them first
_PART_WORDS = (
    "loader:bytes",
    "frac",
    " docs",
    " documents",
    "chunks",
    "total_windows",
    "max",
    "limit",
    "_cap",
    "subset",
)
_OF_A_NUMBER = re.compile(r" of (?:the )?[0-9]")
# Paths of a text or a tokenizer that say that letters were folded, which nothing can undo.
_FOLDED = re.compile(
    r"case[-_]?fold(?:ed)?|lower[-_]?cased?|(?<![a-z])uncased|nocase|case[-_]?insensitive", re.IGNORECASE
)
# Training shards behind a validation loader, and texts that are known by their folder alone.
_TRAINING_SHARDS = re.compile(r"([A-Za-z0-9]+)_train_[*?0-9\[]")
_FOLDER_OF_VAL = re.compile(r"([A-Za-z][A-Za-z0-9]*)_[A-Za-z0-9]+/[^/\s]*val[^/\s]*\.bin", re.IGNORECASE)
_MODEL = re.compile(r"(?<![\w.-])[\w.-]{1,100}\.model(?![\w.])")
_PARAMETERS = re.compile(
    r"^\s{0,20}(?:(?:model|total|num|n)[_ ]param(?:eter)?s"
    r"|(?:total |model )?(?:number|num) of (?:model )?param(?:eter)?s)"
    r"\s?[:=]\s?([1-9][0-9,]{0,15})(?![0-9.]|\s?[kmb]\b)"
)
_SEED = re.compile(r"^\s*seed\s?[:=]\s?([0-9]{1,10})\b", re.IGNORECASE)
_SEED_IN_NAME = re.compile(r"seed[-_]?([0-9]{1,10})", re.IGNORECASE)
_STEP_OF_TRAINING = re.compile(
    r"\b(?:step|iter(?:ation)?)[\"']?\s?[:= ]\s?([0-9]{1,9})\b|^\s*([0-9]{1,9})\s?/\s?[0-9]+\s"
)
_NO_TRAINING = ("val", "ttt_", "calib")
_FIRST_STEP = re.compile(r"^\s*(?:step:)?0/[0-9]+ ")


def read_log(text: str, file: str, templates: Sequence[LineTemplate] = ()) -> LogRecord:
    """Read a log.

    Args:
        text: its text, already bounded in size and decoded.
        file: its name, for sources.
        templates: lines that are looked for beside those that any log may have.

    Returns:
        What it says; a log without any score has no ``lines``.
    """
    numbered = [
        (number, cleaned(part))  # a progress bar rewrites its line after each carriage return
        for number, line in enumerate(text.split("\n"), 1)
        for part in (line.split("\r") if "\r" in line else (line,))
        if part
    ]
    code = is_code([line for _, line in numbered])
    lines = [(number, line, is_script) for (number, line), is_script in zip(numbered, code, strict=True)]
    said = _Said(file)
    placeholder = _placeholder(lines, file)
    for number, line, is_script in lines:
        if not is_script:
            said.by_line(number, line)
    seed_in_name = _SEED_IN_NAME.search(file)
    return LogRecord(
        file=file,
        lines=() if placeholder else tuple(_with_losses_around(_with_counts(_without_series(said.scores)), lines)),
        seed=said.seed or (seed_in_name[1] if seed_in_name else None),
        split_tokens=tuple(dict.fromkeys(said.split_tokens)),
        artifact_bytes=tuple(said.artifacts),
        parameters=tuple(said.parameters),
        packed=tuple(said.packed),
        tokenizers=tuple(said.tokenizers),
        models=tuple(said.models),
        num_steps=said.num_steps,
        num_steps_at=said.num_steps_at,
        dataset=said.dataset,
        data=tuple(said.data),
        folded=said.folded,
        adaptations=adaptations(said.epochs),
        first_loss=said.first_loss,
        loss_alone=said.loss_alone,
        last_steps=said.last_steps,
        parts=_of_all_ranks(said.parts, text),
        gates=tuple(said.gates),
        stored=tuple(said.stored),
        written=tuple(said.written),
        clock_back=tuple(said.clock.back),
        even_steps=tuple(said.clock.step_times.even()),
        orders=tuple(said.order.told()),
        window=said.window or None,
        numbers_beside_bpb=frozenset(said.numbers),
        unread=tuple(said.unread),
        bytes_per_token=tuple(said.bytes_per_token),
        counts=tuple(said.counts),
        placeholder=placeholder,
        spoilt_at=said.spoilt,
        embedded_code_lines=sum(code),
        found=tuple(found_lines(templates, lines, text, file)),
        digest=hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(),
        code_digest=_digest(line for _, line, is_script in lines if is_script),
    )


def _of_all_ranks(parts: Sequence[PartTold], text: str) -> tuple[PartTold, ...]:
    """Without what one process of several counts of its own share, by the mark in front of its line."""
    lines = text.split("\n") if parts else []
    return tuple(
        part
        for part in parts
        if (part.fraction is not None and not part.is_counted)
        or part.source.line is None
        or not _RANKED.match(lines[part.source.line - 1])
    )


_RANKED = re.compile(r"\s{0,20}\[?rank[ _]?[0-9]", re.IGNORECASE)


def _placeholder(lines: Sequence[tuple[int, str, bool]], file: str) -> Source | None:
    """Where a file says, at its beginning, that the log is still to be put in its place."""
    first = [(number, line) for number, line, is_script in lines[:_MOST_BEFORE] if line.strip() and not is_script]
    found = next((number for number, line in first[:_FIRST_SAID] if _IS_PLACEHOLDER.match(line)), None)
    return None if found is None else Source(file, found)


# Blank lines, and lines that say something, in front of which a placeholder says so.
_MOST_BEFORE, _FIRST_SAID = 20, 3
_IS_PLACEHOLDER = re.compile(
    r"[\W_]{0,20}(?:placeholder(?:\s*[:.\u2014]|[\W_]*$|\W+(?:(?:train(?:ing)?|run|seed|for|the|a|real)\W+){0,4}(?:log|file)\b)"
    r"|replace th(?:is|e) (?:file|placeholder|log)\b)",
    re.IGNORECASE,
)


@final
@dataclass
class _Said:
    """What a log's lines have said so far, those of code left out."""

    file: str
    scores: list[ScoreLine] = field(default_factory=list)
    split_tokens: list[int] = field(default_factory=list)
    artifacts: list[Printed] = field(default_factory=list)
    parameters: list[Printed] = field(default_factory=list)
    packed: list[Printed] = field(default_factory=list)
    tokenizers: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    numbers: set[float] = field(default_factory=set)
    epochs: list[EpochLine] = field(default_factory=list)
    first_loss: Printed | None = None
    loss_alone: Printed | None = None
    last_steps: dict[int, int] = field(default_factory=dict)
    parts: list[PartTold] = field(default_factory=list)
    gates: list[GatesTold] = field(default_factory=list)
    stored: list[StoredText] = field(default_factory=list)
    written: list[tuple[Source, str]] = field(default_factory=list)
    window: int = 0
    run: int = 0
    seed: str | None = None
    num_steps: int | None = None
    num_steps_at: Source | None = None
    dataset: str | None = None
    data: list[str] = field(default_factory=list)
    folded: str | None = None
    spoilt: Source | None = None
    bytes_per_token: list[Printed] = field(default_factory=list)
    columns: Columns | None = None
    unread: list[Printed] = field(default_factory=list)
    counts: list[PrintedCounts] = field(default_factory=list)
    clock: Clock = field(init=False)
    order: ScoringOrder = field(init=False)
    count_reader: CountReader = field(init=False)

    def __post_init__(self) -> None:
        self.clock, self.order = Clock(self.file), ScoringOrder(self.file)
        self.count_reader = CountReader(self.file)

    def by_line(self, number: int, line: str) -> None:
        """Take one more line."""
        low = line.lower()
        if self.scores or "seed" in low:
            self._begin_run(line, low)
        if "bpb" in low and len(self.numbers) < _MAX_SCORE_LINES:
            self.numbers.update(float(text) for text in _NUMBER.findall(line[:_LONGEST_NUMBER_LINE]))
        speaks = "bpb" in low or ("bit" in low and ("byte" in low or "octet" in low))
        if speaks and not is_statement(line):
            self._take_scores(line, low, Source(self.file, number))
        if speaks or self.columns is not None:
            self._take_row(line, Source(self.file, number))
        if "epoch" in low and len(self.epochs) < _MAX_SCORE_LINES:
            epoch = epoch_of(line, number, self.run)
            self.epochs += [] if epoch is None else [epoch]
        if "resum" in low:
            self.clock.begin_anew()
        if "loss" in low or "train" in low:
            self._take_step(low, Source(self.file, number))
            if not speaks and (loss := _loss_of_a_text(line, Source(self.file, number))) is not None:
                self.loss_alone = loss
            if "train_time:" in low:
                self.clock.take(low, number, self.run)
        if _tells_of_a_part(low) and len(self.parts) < _MOST_TOLD:
            part = part_told(line, low, Source(self.file, number), self.run)
            self.parts += [] if part is None else [part]
        if "_len" in low or "block_size" in low:
            self.window = max(self.window, window_told(low))
        if "_gate" in low and len(self.gates) < _MOST_TOLD:
            gates = gates_told(line, Source(self.file, number), self.run)
            self.gates += [] if gates is None else [gates]
        if ("stored" in low or "prefix" in low or "memori" in low) and len(self.stored) < _MOST_TOLD:
            stored = stored_told(low, Source(self.file, number), self.run)
            self.stored += [] if stored is None else [stored]
        if (":~" in low or "=~" in low or "xx" in low or "~ " in low) and len(self.written) < _MOST_TOLD:
            words = placeholders_in(low)
            self.written += [] if words is None else [(Source(self.file, number), words)]
        if "hint" in low or self.order.has_hints:
            self.order.take(low, number, self.run)
        if self.dataset is None and "val" in low and ".bin" in low:
            self.dataset = _dataset_of(line)
        if ("data" in low or "corpus" in low) and len(self.data) < _MOST_DATA:
            self.data += [each for each in data_told(line) if each not in self.data]
        if self.folded is None and ("val_loader" in low or "tokenizer" in low) and (named := _FOLDED.search(line)):
            self.folded = next((word for word in line.split() if named[0] in word), named[0])[:200]
        if "tokens" in low and (found := _SPLIT.search(line)):
            self.split_tokens.append(_count(found[1]))
        if "param" in low and len(self.parameters) < _MOST_TOLD and (found := _PARAMETERS.search(low)):
            size = parse_number(found[1].replace(",", ""), Source(self.file, number))
            self.parameters += [] if size is None else [size]
        if (counts := self.count_reader.take(line, low, number)) is not None and len(self.counts) < _MOST_TOLD:
            self.counts.append(counts)
        if "bytes" in low or "mb" in low or "mib" in low:
            self._take_bytes(line, low, Source(self.file, number))
        if "size" in low or "artifact" in low:
            size = artifact_told(line, Source(self.file, number))
            self.artifacts += [] if size is None else [size]
        if ("sp" in low and _MAY_NAME_A_TOKENIZER.search(low)) or "_bpe" in low or "byte260" in line:
            self.tokenizers.extend(name for name in _tokenizers_of_output(line) if name not in self.tokenizers)
        if "tokenizer" in low and ".model" in low and len(self.models) < _MOST_DATA:
            self.models.extend(name for name in _MODEL.findall(line) if name not in self.models)

    def _begin_run(self, line: str, low: str) -> None:
        """A seed, or step 0, begins another run where this one has scores already."""
        if "seed" in low and (found := _SEED.match(line)):
            self.run += self._has_scores
            self.seed = found[1]
        elif self._has_scores and _FIRST_STEP.match(line) and not self.scores[-1].is_training_step:
            self.run += 1

    def _take_bytes(self, line: str, low: str, source: Source) -> None:
        """Bytes per token of the text, or the size of the packed network."""
        if "token" in low and (stated := stated_alone(line, source)) is not None:
            self.bytes_per_token.append(stated)
        elif len(self.packed) < _MOST_TOLD and (size := packed_told(line, low, source)) is not None:
            self.packed.append(size)

    def _take_step(self, low: str, source: Source) -> None:
        """A step of training, on a line that tells no validation."""
        found = None if any(word in low for word in _NO_TRAINING) else _STEP_OF_TRAINING.search(low)
        if found is not None:
            step = int(found[1] or found[2])
            if not self.last_steps and step <= 1 and (loss := _LOSS.search(low)) is not None:
                self.first_loss = parse_number(loss["number"], source)
            self.last_steps[self.run] = max(step, self.last_steps.get(self.run, 0))

    @property
    def _has_scores(self) -> bool:
        return bool(self.scores) and self.scores[-1].run == self.run

    def _take_row(self, line: str, source: Source) -> None:
        """A row of a table within the log, or the header of one."""
        row = self.columns.row(line) if self.columns is not None else None
        if row is None:
            self.columns = Columns.of(line)
        elif row and len(self.scores) < _MAX_SCORE_LINES:
            self.scores += _scores_of(row, source, self.run)

    def _take_scores(self, line: str, low: str, source: Source) -> None:
        if len(self.scores) < _MAX_SCORE_LINES:
            scores = list(_scores_of(line, source, self.run))
            self.scores += scores
            self.spoilt = None if scores else source if _is_spoilt(low) else self.spoilt
            if not scores and len(self.unread) < _MOST_UNREAD:
                numbers = (parse_number(text, source) for text in _NUMBER.findall(line[:_LONGEST_NUMBER_LINE]))
                self.unread += [number for number in numbers if number is not None]
        if self.num_steps is None and (found := _NUM_STEPS.search(line)) and not _STEP.search(line):
            self.num_steps, self.num_steps_at = int(found[1]), source


def _without_series(scores: Sequence[ScoreLine]) -> Iterator[ScoreLine]:
    """The scores, without running values: lines of one label but for a counter that goes up by equal steps."""
    series: dict[tuple[int, str], list[int]] = {}
    for score in scores:
        if not score.is_training_step and (counted := _counted(score.label)) is not None:
            series.setdefault((score.run, counted[0]), []).append(counted[1])
    running = {key for key, counts in series.items() if _counts_up(counts)}
    for score in scores:
        counted = None if score.is_training_step or not running else _counted(score.label)
        if counted is None or (score.run, counted[0]) not in running:
            yield score


def _with_counts(scores: Iterable[ScoreLine]) -> Iterator[ScoreLine]:
    """The scores; one that is printed twice in a row, once rounded, with what either line counts."""
    told = [*scores]
    for place, score in enumerate(told):
        beside = [*told[max(0, place - 1) : place], *told[place + 1 : place + 2]]
        counted = next((each for each in beside if each.counted is not None and _is_printed_again(score, each)), None)
        if score.counted is not None or score.scored_tokens is not None or counted is None:
            yield score
        else:
            yield replace(score, counted=counted.counted, scored_tokens=counted.scored_tokens)


def _is_printed_again(one: ScoreLine, other: ScoreLine) -> bool:
    same = abs(one.bpb.value - other.bpb.value) <= max(one.bpb.half_unit, other.bpb.half_unit) * (1.0 + 1e-9)
    return same and one.run == other.run and not (one.is_training_step or other.is_training_step)


def _with_losses_around(scores: Iterable[ScoreLine], lines: Sequence[tuple[int, str, bool]]) -> Iterator[ScoreLine]:
    """The scores; one alone on its line with the loss of its estimator on the lines around it, each of one number."""
    place: dict[int, int] = {}
    for score in scores:
        at = score.bpb.source.line
        if score.nats_per_token is not None or at is None:
            yield score
            continue
        place = place or {number: index for index, (number, _, _) in enumerate(lines)}
        loss = _loss_around(score, place[at], lines)
        yield score if loss is None else replace(score, nats_per_token=loss, same_estimator=True)


def _loss_around(score: ScoreLine, index: int, lines: Sequence[tuple[int, str, bool]]) -> Printed | None:
    own = entry_of(lines[index][1])
    if own is None or not is_score_name(own[0]):
        return None
    found: list[Printed] = []
    for step in (-1, 1):
        seen = {own[0]}
        for near in range(index + step, index + step * _FARTHEST, step):
            is_next = 0 <= near < len(lines) and lines[near][0] - lines[near - step][0] == step  # no blank line between
            entry = entry_of(lines[near][1]) if is_next and not lines[near][2] else None
            if entry is None or entry[0] in seen:
                break  # another block, or the same of another evaluation
            seen.add(entry[0])
            if _IS_LOSS.search(entry[0]) and not is_of_training(entry[0]) and stem(entry[0]) == stem(own[0]):
                loss = parse_number(entry[1], Source(score.bpb.source.file, lines[near][0]), entry[0])
                found += [loss] if loss is not None and loss.value > 0.0 else []
    return found[0] if len(found) == 1 else None


_FARTHEST = 12
_IS_LOSS = re.compile(r"(?:loss|nats_per_token)$", re.IGNORECASE)


def _counted(label: str) -> tuple[str, int] | None:
    """A label without its numbers, and the last of them; None where that is no counter, or counts runs and settings."""
    label = label[-_LONGEST_LABEL:]
    last = max(_COUNTER.finditer(label), key=re.Match.end, default=None)
    if last is None or _OF_RUNS.search(last["name"]):
        return None
    return _ANY_NUMBER.sub("#", label), int(last["count"])


def _counts_up(counts: Sequence[int]) -> bool:
    """Whether a counter goes up by equal steps: for a while, once or, in several evaluations, from the start again."""
    steps = Counter(later - earlier for earlier, later in pairwise(counts) if later > earlier)
    return max(steps.values(), default=0) >= _SHORTEST_SERIES - 1


_SHORTEST_SERIES = 4
_COUNTER = re.compile(r"(?P<name>[A-Za-z_]{0,40})(?:\s?[:=]\s?|\s)(?P<count>[0-9]{1,9})(?![0-9.])(?:/[0-9]{1,9})?")
_ANY_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_OF_RUNS = re.compile(
    r"seed|run|trial|fold|exp|model|variant|config|layer|stride|rank|^[TKk]$|steps$|ctx|context", re.IGNORECASE
)


def _digest(code: Iterable[str]) -> str | None:
    """Of a script, whatever its blank lines."""
    whole = "\n".join([kept for line in code if (kept := line.rstrip())])
    return hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest() if whole else None


def cleaned(line: str) -> str:
    """A line of a log as the script printed it: without colours, and what a logger or a launcher puts before it."""
    line = line[:_LONGEST_LINE]
    if "\x1b" in line:
        line = _ESCAPES.sub("", line)
    first = line[:1]
    if first in _BLANKS:
        first = line.lstrip()[:1]
    return _PREFIX.sub("", line) if first in _PREFIXED else line


def _count(digits: str) -> int:
    return int(digits.replace(",", "")[:18])


def _tells_of_a_part(low: str) -> bool:
    """Whether a line may say how much of the text was scored; plain words are looked for, for every line is asked."""
    for word in _PART_WORDS:
        if word in low:
            return True
    return " of " in low and _OF_A_NUMBER.search(low) is not None


# What every name of a tokenizer with a number begins with; most words with these letters are others.
_MAY_NAME_A_TOKENIZER = re.compile(r"sp[-_ ]?[0-9]")


def _tokenizers_of_output(line: str) -> tuple[str, ...]:
    # Paths and settings name the tokenizer in use; "byte" alone is too common a word in a log.
    return tuple(name for name in tokenizers_in(line) if name != "byte" or "byte260" in line)


def _dataset_of(line: str) -> str | None:
    """The text that a line about validation shards names, such as ``fineweb_val``."""
    if found := _DATASET.search(line):
        return f"{found[1].lower()}_val"
    if "val_loader" in line.lower() and (found := _TRAINING_SHARDS.search(line)):
        return f"{found[1].lower()}_train"
    if (found := _FOLDER_OF_VAL.search(line)) and not found[1].lower().startswith("fineweb"):
        return f"{found[1].lower()}_val"
    return None


def _is_spoilt(line: str) -> bool:
    """Whether a line says that a score, and no running value, is NaN or infinite."""
    found = _SPOILT.search(line) if "nan" in line or "inf" in line else None
    return found is not None and is_score_name(found["name"]) and not _is_progress(line[:_LONGEST_LABEL])


def _is_progress(line: str) -> bool:
    marked = "/" in line or "%" in line or "of" in line or "unning" in line
    return marked and _PROGRESS.search(line) is not None


# What qualifies a name before it: a path, or the name of a part of the data.
_QUALIFIED = re.compile(
    r"(?:(?:[A-Za-z0-9_-]{1,40}[/.]){1,4}|\b(?:train(?:ing)?|val(?:id(?:ation)?)?|eval(?:uation)?|test|dev)[ -])$",
    re.IGNORECASE,
)
_QUALIFIES = frozenset(" -/.")
_PATH = re.compile(r"(?<![\w/.-])(?:[A-Za-z0-9_-]{1,40}[/.]){1,4}$")
_LONGEST_QUALIFIER = 80


def _whole_name(line: str, found: re.Match[str]) -> str:
    """A metric's name with what qualifies it: ``train/loss``, ``val loss``."""
    start = found.start("name")
    mark = line[start - 1 : start]
    if mark not in _QUALIFIES or (mark in " -" and not line[start - 2 : start - 1].isalpha()):
        return found["name"]  # most lines: a number stands before it
    before = _QUALIFIED.search(line[max(0, start - _LONGEST_QUALIFIER) : start])
    return (before[0] if before else "") + found["name"]


def _loss_beside(line: str, score: re.Match[str], losses: Sequence[re.Match[str]]) -> re.Match[str] | None:
    """The loss of a line that a score goes with: the nearest of its estimator, or else the first."""
    name = _whole_name(line, score)
    own = [loss for loss in losses if same_estimator(_whole_name(line, loss), name)]
    return min(own, key=lambda loss: abs(loss.start() - score.start()), default=losses[0] if losses else None)


def _loss_of_a_text(line: str, source: Source) -> Printed | None:
    """A loss that its name says to be of a text that was not learnt."""
    for found in _LOSS.finditer(line[:_LONGEST_NUMBER_LINE]) if _OF_A_TEXT.search(line) else ():
        loss = parse_number(found["number"], source, found["name"])
        if _OF_A_TEXT.search(found["name"]) and not is_of_training(_whole_name(line, found)) and loss is not None:
            return loss if loss.value > 0.0 else None
    return None


_OF_A_TEXT = re.compile(r"(?<![a-z])(?:val|valid|validation|eval|test|final)_?(?:loss|nats)", re.IGNORECASE)


def _number_of(step: re.Match[str] | None) -> int | None:
    """The number of a step; None of an epoch, which may be counted from 0 behind its training."""
    number = None if step is None else step["of"] or (step["number"] if step["step"] else None)
    return None if number is None else int(number)


def _scores_of(line: str, source: Source, run: int) -> Iterator[ScoreLine]:
    line = with_points(line)
    if "{" in line or _SCORE.search(line) is None:
        line = with_colons(line)
    losses = [found for found in _LOSS.finditer(line) if not is_of_training(_whole_name(line, found))]
    steps = _NUM_STEPS.search(line)
    first = _FIRST_METRIC.search(line)
    step = _STEP.search(line)
    is_step = step is not None
    if _is_progress(line[:_LONGEST_LABEL]) and not _ENDS.search(line[: first.start() if first else 0]):
        return
    for found in _SCORE.finditer(line):
        name = found["name"]
        start = min(first.start() if first else found.start(), found.start())
        label = _PATH.sub("", line[:start]).strip(" \t:|,-{\"'") + (found["detail"] or "")
        whole = _whole_name(line, found)
        if not is_score_name(f"{label[-40:].rpartition(' ')[2]} {name}") or is_of_training(whole):
            continue
        bpb = parse_number(found["number"], source, name)
        if bpb is None or not 0.0 < bpb.value < 1000.0:
            continue
        loss = _loss_beside(line, found, losses)
        nats = parse_number(loss["number"], source, loss["name"]) if loss else None
        if nats is not None and nats.value <= 0.0:
            nats = None
        stated, tokens = stated_in_line(line, source, is_step=is_step)
        counted = counted_beside(line, len(line) if is_step else found.end(), source, run)
        yield ScoreLine(
            label=label,
            bpb=bpb,
            nats_per_token=nats,
            same_estimator=loss is not None and same_estimator(_whole_name(line, loss), whole),
            is_training_step=is_step and "final" not in label.lower() and not _OF_THE_END.match(name),
            step=_number_of(step),
            run=run,
            scored_tokens=counted.count if counted is not None and counted.unit == "tokens" else tokens,
            counted=counted,
            num_steps=int(steps[1]) if steps else None,
            bytes_per_token=stated,
        )
