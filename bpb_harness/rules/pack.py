"""A pack of rules: what one contest adds to the arithmetic of an audit, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from bpb_harness.claim.line_template import LineTemplate
from bpb_harness.claim.names import FieldNames
from bpb_harness.rules.byte_factors import ByteFactor
from bpb_harness.rules.denominators import Denominator

BITS_PER_BYTE, NATS_PER_TOKEN = "bits per byte", "nats per token"


@dataclass(frozen=True)
class Text:
    """A text that a contest scores, and how its records call it.

    Attributes:
        name: as the denominators call it.
        also: words by which a record means it too, in lower case.
        but_not: words that say that it is another text after all.
        documents: its documents, before each of which stands a token that spells nothing; None where not known.
    """

    name: str
    also: tuple[str, ...] = ()
    but_not: tuple[str, ...] = ()
    documents: int | None = None

    def is_meant_by(self, name: str) -> bool:
        """Whether a record that names its text so means this one."""
        low = name.lower()
        if low == self.name.lower():
            return True
        return any(word in low for word in self.also) and not any(word in low for word in self.but_not)

    def is_named_in(self, name: str) -> bool:
        """Whether a name speaks of this text, or of a part of what it is taken from (``fineweb_train``)."""
        low = name.lower()
        return self.name.lower() in low or any(word in low for word in self.also)


@dataclass(frozen=True)
class Marks:
    """By what a record is taken for one of the contest; the first kind that tells packs apart decides, folders last.

    Attributes:
        folders: names of folders in the path that was given; they tell apart what fits a record alike otherwise.
        files: names of files.
        lines: lines of its logs.
        tokenizers: names of tokenizers.
        otherwise: whether a record that names no text at all is taken for one.
    """

    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    lines: tuple[LineTemplate, ...] = ()
    tokenizers: tuple[str, ...] = ()
    otherwise: bool = False


@dataclass(frozen=True)
class ClaimRule:
    """What is claimed, and where it stands.

    Attributes:
        unit: ``bits per byte`` or ``nats per token``.
        logs: file names of the logs that carry the claim, the best first; none, or none that fits: every log.
        mean: whether the claim is the mean of what several of these logs end with.
        lines: of each log, the last line of each of these together is the claim; none: the last score of a log.
        num_tokens: of nats per token, the tokens of the text, which every claim shares; None: not fixed.
        tokens_lines: lines that say how many tokens were scored.
        text: of nats per token, what the tokens are of, in words.
    """

    unit: str = BITS_PER_BYTE
    logs: tuple[LineTemplate, ...] = ()
    mean: bool = False
    lines: tuple[LineTemplate, ...] = ()
    num_tokens: int | None = None
    tokens_lines: tuple[LineTemplate, ...] = ()
    text: str | None = None


@dataclass(frozen=True)
class GainRule:
    """By what a claim must beat the one before it: Welch's one-sided test over runs.

    Attributes:
        more_than: what is tested, in nats per token.
        p_below: the level that p must lie below.
    """

    more_than: float
    p_below: float


@dataclass(frozen=True)
class TargetRule:
    """What the mean over runs must reach: Student's one-sided test.

    Attributes:
        at_most: in the claim's unit.
        p_below: the level that p must lie below.
        waived: for which entries the test is waived, in words that follow "waived".
    """

    at_most: float
    p_below: float
    waived: str | None = None


@dataclass(frozen=True)
class TimeRule:
    """How long a run may take.

    Attributes:
        train_seconds: for training; None: no limit.
        evaluate_seconds: for the evaluation.
        slack: fraction of a limit by which runs end late and are accepted all the same.
        lines: lines that print a time.
        tracks: words, one of which the record's track must hold for the limits to apply; none: they always do.
    """

    train_seconds: float | None = None
    evaluate_seconds: float | None = None
    slack: float = 0.0
    lines: tuple[LineTemplate, ...] = ()
    tracks: tuple[str, ...] = ()


@dataclass(frozen=True)
class DoubtedBelow:
    """Of a text, the score below which a record is not taken at its word.

    Attributes:
        bits_per_byte: that score.
        lowest_accepted: the lowest that stands after review, as far as is known.
        as_of: when that was so.
    """

    bits_per_byte: float
    lowest_accepted: float
    as_of: str

    @property
    def why(self) -> str:
        """Why it is not, in one clause."""
        lowest = f"{self.lowest_accepted:g} ({self.as_of})"
        return f"the lowest score of the public record that stands after review is {lowest}"


@dataclass(frozen=True)
class RulePack:
    """What a contest adds.

    Attributes:
        name: its name on the command line.
        title: one line.
        sources: where its facts were read.
        file: the file that it came from, where it did not come with the harness.
        texts: what is scored.
        marks: by what its records are known.
        claim: what is claimed, and where it stands.
        denominators: known bytes per token.
        byte_factors: by what known byte bugs multiply the bytes of its text.
        constants: constants that its entrants have multiplied numbers of tokens with.
        doubted_below: of a text, what no record is believed below.
        largest_artifact: bytes.
        least_runs: runs that a claim must rest on.
        gain: by what a claim must beat the one before it.
        target: what the mean over runs must reach.
        time: how long a run may take.
        names: keys of its records in JSON.
        remarks: sentences that a reader of any of its claims should know.
    """

    name: str
    title: str = ""
    sources: tuple[str, ...] = ()
    file: str | None = None
    texts: tuple[Text, ...] = ()
    marks: Marks = field(default_factory=Marks)
    claim: ClaimRule = field(default_factory=ClaimRule)
    denominators: tuple[Denominator, ...] = ()
    byte_factors: tuple[ByteFactor, ...] = ()
    constants: tuple[float, ...] = ()
    doubted_below: Mapping[str, DoubtedBelow] = field(default_factory=dict)
    largest_artifact: int | None = None
    least_runs: int | None = None
    gain: GainRule | None = None
    target: TargetRule | None = None
    time: TimeRule = field(default_factory=TimeRule)
    names: FieldNames = field(default_factory=FieldNames)
    remarks: tuple[str, ...] = ()

    def text_called(self, name: str | None) -> str | None:
        """The text that a record means, by the name that the pack gives it; the record's own, where it has none."""
        if name is None:
            return None
        return next((text.name for text in self.texts if text.is_meant_by(name)), name)

    @cached_property
    def tokenizers(self) -> tuple[str, ...]:
        """The tokenizers that it knows, by name."""
        return tuple(dict.fromkeys((*self.marks.tokenizers, *(row.tokenizer for row in self.denominators))))

    @cached_property
    def templates(self) -> tuple[LineTemplate, ...]:
        """Every line that it looks for in logs."""
        wanted = (*self.marks.lines, *self.claim.lines, *self.claim.tokens_lines, *self.time.lines)
        return tuple(dict.fromkeys(wanted))

    def factor_of(self, bug: str) -> float | None:
        """By what a byte bug multiplies the bytes, at least; None where that is not known."""
        return next((factor.lowest for factor in self.byte_factors if factor.name == bug), None)


NO_PACK = RulePack("none", "arithmetic alone")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")


def is_pack_name(name: str) -> bool:
    """Whether a pack may be called so."""
    return _NAME.fullmatch(name) is not None and name != NO_PACK.name
