"""The record of a claim: what a submission's files say, before anybody judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from bpb_harness.claim.adaptation import Adaptation
from bpb_harness.claim.clock import ClockBack
from bpb_harness.claim.even_steps import EvenSteps
from bpb_harness.claim.line_template import FoundLines, LineTemplate
from bpb_harness.claim.printed import Printed, Source
from bpb_harness.claim.printed_counts import PrintedCounts
from bpb_harness.claim.scoring_order import OrdersTold
from bpb_harness.claim.stored_text import StoredText
from bpb_harness.claim.told_by_log import GatesTold, PartTold

if TYPE_CHECKING:
    from bpb_harness.claim.own_result import OwnResult


_SHORTEST_SCRIPT = 30  # lines


class NoteKind(StrEnum):
    """What went wrong, or was decided, while reading."""

    UNREADABLE = "unreadable"  # a file that could not be read at all
    REPAIRED = "repaired"  # broken JSON with one possible reading
    ENCODING = "encoding"  # a byte-order mark, UTF-16
    UNDECODABLE = "undecodable"  # bytes that are no text
    SKIPPED = "skipped"  # no regular file of the folder: a link out of it, a pipe, a device, a socket
    TRUNCATED = "truncated"  # too large: only a part was read
    AMBIGUOUS = "ambiguous"  # two values where one belongs
    NOT_A_NUMBER = "not-a-number"  # a score that is null, text, NaN or infinite
    IMPLAUSIBLE = "implausible"  # a score that no text model can have
    CHOICE = "choice"  # which of several numbers was taken as the claim


@dataclass(frozen=True)
class Note:
    """One remark about the reading of a file."""

    kind: NoteKind
    message: str
    source: Source


@dataclass(frozen=True)
class ScoreLine:
    """One line of a log that prints bits per byte.

    Attributes:
        label: what the line is about, such as ``final_int8_zlib_roundtrip_exact``; empty if nothing precedes the score.
        bpb: the printed bits per byte.
        nats_per_token: the loss on the same line, in nats per token; None where there is none.
        byte_perplexity: a perplexity per byte beside the score.
        same_estimator: the names say that both come from one estimator (``val_loss`` and ``val_bpb``).
        is_training_step: a validation during training, not a final score.
        step: the number of that step, where the line tells it.
        run: which run of the log, counted from 0; a log may hold several.
        scored_tokens: tokens that the line says were scored.
        counted: what it counts of what was scored.
        num_steps: diffusion steps T that the line names.
        bytes_per_token: of the scored text, as the line states it, or its bytes over its tokens.
    """

    label: str
    bpb: Printed
    nats_per_token: Printed | None = None
    same_estimator: bool = False
    is_training_step: bool = False
    step: int | None = None
    run: int = 0
    scored_tokens: int | None = None
    counted: PartTold | None = None
    num_steps: int | None = None
    bytes_per_token: Printed | None = None

    @property
    def score_and_loss(self) -> tuple[float, float | None]:
        """What tells a run's line from another's: bits per byte, and nats per token where it prints them."""
        return self.bpb.value, None if self.nats_per_token is None else self.nats_per_token.value


@dataclass(frozen=True)
class LogRecord:
    """What one log says.

    Attributes:
        file: its name in the folder.
        lines: every printed score, in order.
        seed: the seed of its last run, from a line or else from the file's name.
        split_tokens: sizes of the validation split that it prints (loaded, not necessarily scored).
        artifact_bytes: sizes of the whole submission that it prints, the compressed one last.
        parameters: numbers of parameters of networks.
        packed: sizes on lines that name a compressor; each is called by its line's words.
        tokenizers: tokenizer names that its output mentions, such as ``sp1024``.
        models: names of the files of tokenizers' models that its output mentions.
        num_steps: diffusion steps of its evaluation, where a setting names them.
        num_steps_at: the line that names them.
        embedded_code_lines: lines that are the training script, not output.
        dataset: the split that its data loader names, such as ``fineweb_val``.
        data: what settings of its data give, such as ``text8``; ``dataset`` is the split of them.
        folded: the path of its text or tokenizer, where that says that letters were folded to one case.
        numbers_beside_bpb: every number of three decimals or more on a line that speaks of bpb, read as a score or not.
        unread: such numbers on lines of which no score was read.
        adaptations: epochs of test-time training over a whole text.
        first_loss: of training, at its first step.
        loss_alone: the last one of a text that was not learnt, on a line without a score.
        last_steps: for each run the highest step of training that a line without a score tells.
        parts: lines that say how much of the text an evaluation goes over.
        gates: lines that count hints by the gate that let them through.
        clock_back: lines of training between which its time gets shorter.
        even_steps: lines of training between which too many times are alike to the millisecond.
        stored: lines that tell of tokens that are stored beside the network.
        written: lines whose numbers no program formats, with those.
        orders: runs whose hints and scores go through the documents in two orders.
        window: the longest window of tokens that it tells.
        found: lines of the templates that were looked for.
        claimed: what the rules of a contest take for its score.
        bytes_per_token: what lines of nothing else state.
        counts: tokens and bytes that lines print beside a score that was made of them.
        placeholder: the line by which it calls itself a placeholder for a log; then it has no ``lines``.
        spoilt_at: the last line that prints NaN or an infinity as a score, where no score comes after it.
        code_digest: of the script in it; None where it holds none.
        digest: of all of its text.
        path: the file itself.
    """

    file: str
    lines: tuple[ScoreLine, ...] = ()
    seed: str | None = None
    split_tokens: tuple[int, ...] = ()
    artifact_bytes: tuple[Printed, ...] = ()
    parameters: tuple[Printed, ...] = ()
    packed: tuple[Printed, ...] = ()
    tokenizers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    num_steps: int | None = None
    num_steps_at: Source | None = None
    embedded_code_lines: int = 0
    dataset: str | None = None
    data: tuple[str, ...] = ()
    folded: str | None = None
    numbers_beside_bpb: frozenset[float] = frozenset()
    unread: tuple[Printed, ...] = ()
    adaptations: tuple[Adaptation, ...] = ()
    first_loss: Printed | None = None
    loss_alone: Printed | None = None
    last_steps: Mapping[int, int] = field(default_factory=dict)
    parts: tuple[PartTold, ...] = ()
    gates: tuple[GatesTold, ...] = ()
    clock_back: tuple[ClockBack, ...] = ()
    even_steps: tuple[EvenSteps, ...] = ()
    stored: tuple[StoredText, ...] = ()
    written: tuple[tuple[Source, str], ...] = ()
    orders: tuple[OrdersTold, ...] = ()
    window: int | None = None
    found: tuple[FoundLines, ...] = ()
    claimed: ScoreLine | None = None
    bytes_per_token: tuple[Printed, ...] = ()
    counts: tuple[PrintedCounts, ...] = ()
    placeholder: Source | None = None
    spoilt_at: Source | None = None
    code_digest: str | None = None
    digest: str = field(default="", compare=False, repr=False)
    path: Path | None = None

    @property
    def holds_script(self) -> bool:
        """Whether it holds the script that wrote it; less code is a stray traceback."""
        return self.embedded_code_lines >= _SHORTEST_SCRIPT

    def printed_at(self, place: str, lines: Sequence[LineTemplate]) -> Printed | None:
        """The number at a place of the last of some lines; of several that have the place, the first template's."""
        for template in lines:
            for found in self.found:
                if found.template == template and place in found.last:
                    return found.last[place]
        return None

    def ends_spoilt(self, lines: Sequence[LineTemplate]) -> Source | None:
        """Where it ends with no number in the place of its score: of some lines, or, with none, of any score."""
        if not lines:
            return self.spoilt_at
        return next((found.spoilt_at for found in self.found if found.template in lines and found.spoilt_at), None)

    @property
    def untrained(self) -> ScoreLine | None:
        """Its first validation, where no more than one step of training stands before it."""
        first = next((line for line in self.lines[:1] if line.is_training_step), None)
        return first if first is not None and first.step is not None and first.step <= 1 else None

    @property
    def final(self) -> ScoreLine | None:
        """The score that the log ends with: what the rules take for it, or the last line of its last run that is no
        training step.

        A value printed twice, once rounded, is taken with more digits; with the same digits, the last of them.
        """
        if self.claimed is not None:
            return self.claimed
        candidates = [line for line in self.lines if not line.is_training_step] or list(self.lines)
        if not candidates:
            return None
        last = candidates[-1]
        rounding = last.bpb.half_unit * (1.0 + 1e-9) + 1e-12
        same = [
            line for line in candidates if line.run == last.run and abs(line.bpb.value - last.bpb.value) <= rounding
        ]
        finest = max((line.bpb.decimals or 0, line.nats_per_token is not None) for line in same)
        return next(
            line for line in reversed(same) if (line.bpb.decimals or 0, line.nats_per_token is not None) == finest
        )


@dataclass(frozen=True)
class TableRow:
    """A row of a README table that holds a score.

    Attributes:
        cells: the row's text by column name.
        score: the score in it.
        num_steps: diffusion steps T of the row, where a column gives them.
        bytes_per_token: what its own cells state, or those of its table where that has a name and a value a row.
    """

    cells: Mapping[str, str]
    score: Printed
    num_steps: int | None = None
    bytes_per_token: Printed | None = None


@dataclass(frozen=True)
class Readme:
    """What a README says.

    Attributes:
        file: its name.
        rows: rows of tables that hold a score.
        scores: scores in prose.
        bytes_per_token: a number of bytes per token that it states.
        tokenizers: tokenizers that it names.
        text: all of it.
        numbers: every number of three decimals or more in it, with half of its last digit.
    """

    file: str
    rows: tuple[TableRow, ...] = ()
    scores: tuple[Printed, ...] = ()
    bytes_per_token: Printed | None = None
    tokenizers: tuple[str, ...] = ()
    text: str = field(default="", repr=False)
    numbers: tuple[tuple[float, float], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Protocol:
    """How a score was made, as far as somebody states it; None where nobody does.

    Attributes:
        method: ``discrete``, ``mc``, ``chain``, ``ar``, ``exact``, ``pseudo-likelihood``, ``two-pass``; free text
            where a record, not a claim file, names it.
        num_steps: diffusion steps T.
        num_samples: Monte-Carlo samples a window.
        schedule: noise schedule, such as ``loglinear`` or ``cosine``.
        schedule_eps: eps of the loglinear schedule.
        u_range: mask rates that an integral or a grid spans, (lowest, highest).
        weight: the weight of the masked cross-entropy, in words: ``1/t``, ``1/t^2``, ``none``.
        bytes_per_token: what the bits were divided by, as it is stated, or bytes over tokens of the scored text.
        bytes_per_token_is_constant: it is a constant and not a count.
        unpaid_tokens: tokens that are neither masked nor paid for, in words, such as ``document boundaries``.
        priced_jointly: masked tokens or parts of tokens that have one price together, in words.
        num_windows: windows scored.
        context_length: tokens a window.
        scored_tokens: tokens scored.
        slice_text: words that disclose a slice of the split.
        estimator_text: words that name the estimator.
    """

    method: str | None = None
    num_steps: int | None = None
    num_samples: int | None = None
    schedule: str | None = None
    schedule_eps: float | None = None
    u_range: tuple[float, float] | None = None
    weight: str | None = None
    bytes_per_token: Printed | None = None
    bytes_per_token_is_constant: bool = False
    unpaid_tokens: str | None = None
    priced_jointly: str | None = None
    num_windows: int | None = None
    context_length: int | None = None
    scored_tokens: int | None = None
    slice_text: str | None = None
    estimator_text: str | None = None

    @property
    def tokens(self) -> int | None:
        """Tokens scored, stated or as windows times their length."""
        if self.scored_tokens is not None:
            return self.scored_tokens
        if self.num_windows is not None and self.context_length is not None:
            return self.num_windows * self.context_length
        return None


@dataclass(frozen=True)
class Claim:
    """What somebody published about one score.

    Attributes:
        name: the folder's or file's name.
        title: what the claimant calls it; None where nobody names it.
        score: the claimed bits per byte; None where nothing claims one.
        claimed_in: ``submission``, ``claim file``, ``result``, ``log`` or ``readme``: where the score comes from.
        nats_per_token: the loss published beside the score, in nats per token.
        perplexity: a claimed perplexity per token, of a claim file; it stands for the score where no bytes are known.
        loss_alone: a loss that a trainer wrote where it gives no score.
        called_a_loss: what a submission that gives no score calls its loss.
        same_estimator: the names say that both come from one estimator.
        std: the published spread over seeds, or standard error, in bits per byte.
        seeds: seeds that the record names.
        seed_scores: per metric name, the score of each seed.
        runs_beside: by seed, scores of runs that its JSON lists elsewhere, the claim's one of them.
        other_scores: further published scores: other estimators, slices, stages.
        steps_table: claimed bits per byte by number of diffusion steps T.
        protocol: how the score was made, as far as it is stated.
        tokenizer: such as ``sp1024``; None where nothing names it or the record names several.
        tokenizer_source: where the tokenizer's name was read.
        dataset: name of the evaluated split, where stated.
        track: the part of a contest that it is entered for, in the record's own words.
        artifact_bytes: sizes of the submitted artifact.
        packing_bytes: sizes with code, under names of the record's own: of one network packed in several ways.
        parameters: of its network, under a name of JSON that says so.
        whole_numbers: those of a thousand and more in its JSON, whatever they are called.
        written_by: the program that wrote the claim, where that is no contest's.
        says_unofficial: the record's own words that this is no official score.
        says_mean: its own words that the score is the mean of several seeds.
        said: what its JSON says in words, with the place: sentences, and one of what the estimator is called.
        logs: the logs.
        tables: tables of scores, whose rows can carry a score that is claimed elsewhere.
        readme: the README.
        prose: notes beside the README, by name: whether they speak of this claim is asked where they are read.
        scripts: scripts beside the record, for static checks.
        result: a score's own file, where the claim is one or holds one.
        notes: remarks about the reading.
        files: every file that was read.
    """

    name: str
    title: str | None = None
    score: Printed | None = None
    claimed_in: str | None = None
    nats_per_token: Printed | None = None
    perplexity: Printed | None = None
    byte_perplexity: Printed | None = None
    loss_alone: Printed | None = None
    called_a_loss: Printed | None = None
    same_estimator: bool = True
    std: Printed | None = None
    seeds: tuple[str, ...] = ()
    seed_scores: Mapping[str, Mapping[str, Printed]] = field(default_factory=dict)
    runs_beside: Mapping[str, Printed] = field(default_factory=dict)
    other_scores: tuple[Printed, ...] = ()
    steps_table: Mapping[int, Printed] = field(default_factory=dict)
    protocol: Protocol = field(default_factory=Protocol)
    tokenizer: str | None = None
    tokenizer_source: Source | None = None
    dataset: str | None = None
    track: str | None = None
    artifact_bytes: tuple[Printed, ...] = ()
    packing_bytes: tuple[Printed, ...] = ()
    parameters: tuple[Printed, ...] = ()
    whole_numbers: frozenset[int] = frozenset()
    written_by: str | None = None
    says_unofficial: str | None = None
    says_mean: str | None = None
    said: tuple[tuple[Source, str], ...] = ()
    logs: tuple[LogRecord, ...] = ()
    tables: tuple[LogRecord, ...] = ()
    readme: Readme | None = None
    prose: tuple[tuple[str, Path], ...] = ()
    scripts: tuple[Path, ...] = ()
    result: OwnResult | None = None
    notes: tuple[Note, ...] = ()
    files: tuple[str, ...] = ()
