"""What a score is: numbers that cannot be told apart from the settings that made them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self, final

from bpb_harness.errors import UsageError
from bpb_harness.units import CodeLength, nats_to_bits

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from bpb_harness.costs import ScoreCosts

EXACT, UPPER_BOUND, ESTIMATED_BOUND = "=", "<=", "~<="  # an unbiased estimate of a bound, the last


FORMAT = "bpb-result/1"  # of the JSON
MAX_SAMPLES = MAX_PASSES = 10_000  # draws a window, and passes over the text, that a score takes
UNTRUSTED_ERROR = "error.not-to-be-trusted"  # the code of a remark
WORSE_THAN_UNIFORM, WORSE_THAN_UNIGRAM = "score.worse-than-uniform", "score.worse-than-unigram"


def _entry(
    key: str, default: str | None = None, *, number: bool = False, alone: bool = True, later: bool = False
) -> Any:
    """A field of the signature.

    Args:
        key: in the text.
        default: the value that goes without saying.
        number: it is a whole number, or a word in its place.
        alone: the default means something whatever is scored; else it stands for a choice that there may not be.
        later: files of results from before it are read too, so that it is left out of them where it is None.
    """
    return field(default=default, metadata={"key": key, "number": number, "alone": alone, "later": later})


@final
@dataclass(frozen=True)
class Signature:
    """Everything that a score depends on, in one line of text; ``Signature.parse(str(s)) == s``.

    Values are text without ``|``. Fields that are None, or at the value that goes without saying, are not printed.
    """

    method: str | None = _entry("method")
    num_steps: str | None = _entry("T", number=True)
    schedule: str | None = _entry("sched")
    num_samples: str | None = _entry("K", number=True)
    passes: str | None = _entry("passes", number=True)
    order: str | None = _entry("order")
    stride: str | None = _entry("stride", number=True)
    block_size: str | None = _entry("block", number=True)
    unpaid_prefix: str | None = _entry("prefix", "0", number=True)
    given: str | None = _entry("given")
    told: str | None = _entry("told", "window-rate", alone=False)
    enumeration: str | None = _entry("enum", "short", alone=False)
    byte_rule: str | None = _entry("bytes")
    data: str | None = _entry("data")
    tokenizer: str | None = _entry("tok")
    separator: str | None = _entry("sep")
    context_length: str | None = _entry("ctx", number=True)
    tail: str | None = _entry("tail", "score")
    model: str | None = _entry("model")
    adapter: str | None = _entry("adapter", "reference")
    contract: str | None = _entry("contract", "checked")
    dtype: str | None = _entry("dtype")
    seed: str | None = _entry("seed", number=True)
    adaptation: str | None = _entry("ttt", later=True)
    version: str | None = _entry("version")

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value is not None and (not value or not re.fullmatch(r"[^|\s]+", value)):
                raise UsageError(f"signature field {entry.metadata['key']}", seen=repr(value), expected="no | or space")

    def __str__(self) -> str:
        parts = ["bpb"]
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value is not None and value != entry.default:
                parts.append(f"{entry.metadata['key']}:{value}")
        return "|".join(parts)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a signature back; anything after the first white space (the score itself) is ignored.

        Raises:
            UsageError: if it does not start with ``bpb|`` or has an unknown or repeated field.
        """
        parts = text.strip().split()[0].split("|") if text.strip() else [""]
        if parts[0] != "bpb":
            raise UsageError("signature", seen=repr(text[:60]), expected="a line that starts with bpb|")
        names = {entry.metadata["key"]: entry.name for entry in fields(cls)}
        values: dict[str, str] = {}
        for part in parts[1:]:
            key, colon, value = part.partition(":")
            if not colon or key not in names or names[key] in values:
                raise UsageError(
                    "signature field", seen=repr(part), expected=f"each of {', '.join(names)} at most once"
                )
            values[names[key]] = value
        return cls(**values)

    def typed(self) -> dict[str, int | str | None]:
        """Its entries but the version, by field: whole numbers as such, and what goes without saying said.

        Raises:
            UsageError: for a number that is none.
        """
        typed = {
            entry.name: _typed(entry, getattr(self, entry.name)) for entry in fields(self) if entry.name != "version"
        }
        later = {entry.name for entry in fields(self) if entry.metadata["later"]}
        return {name: value for name, value in typed.items() if value is not None or name not in later}


def _typed(entry: Field[Any], value: str | None) -> int | str | None:
    default: Any = entry.default
    if value is None or value == default:
        value = default if entry.metadata["alone"] else None
    if value is None or not entry.metadata["number"] or value in _WORDS_FOR_NUMBERS.get(entry.name, ()):
        return value
    if not re.fullmatch(r"0|[1-9][0-9]{0,19}", value):
        raise UsageError(f"signature field {entry.metadata['key']}", seen=repr(value), expected="a whole number")
    return int(value)


_WORDS_FOR_NUMBERS = {"num_samples": ("all",)}


@final
@dataclass(frozen=True)
class Expectation:
    """What ``--expect`` asked of a score, in bits per byte.

    Attributes:
        bits_per_byte: the score that was expected.
        within: how far from it the score may be.
    """

    bits_per_byte: float
    within: float

    def is_met(self, bits_per_byte: float) -> bool:
        """Whether a score is near enough."""
        return abs(bits_per_byte - self.bits_per_byte) <= self.within


@final
@dataclass(frozen=True)
class Versions:
    """What computed a score, beside the harness, whose version the signature gives; None: not known."""

    torch: str | None = None
    python: str | None = None


@final
@dataclass(frozen=True)
class Remark:
    """Something that a reader of the score should know, and that does not make it meaningless.

    Attributes:
        code: stable name, such as "contract.mask-mass".
        message: one line.
        evidence: numbers and positions.
    """

    code: str
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_warning(self) -> bool:
        """Whether the score is probably not what it is taken for."""
        return self.message.startswith("WARNING: ")


@final
@dataclass(frozen=True)
class Comparison:
    """Both bounds on the same windows, with the same v, target and noise in each draw.

    Attributes:
        discrete: bits per byte of the T-step bound.
        mc: bits per byte of the continuous bound.
        gap_bits_per_byte: discrete minus mc.
        gap_stderr: standard error of the gap, from the coupled draws.
        predicted_gap_bits_per_byte: what the measured f(u) implies: (f(u_max) - f(0)) u_max / (2 T) for a uniform grid.
        predicted_gap_stderr: its standard error.
        consistent: whether the two gaps agree within ``threshold`` standard errors; None where too few masks
            differ to judge.
        threshold: how many.
        t_curve: bits per byte of the T-step bound that f implies, by T; the last row is T = infinity.
        f_curve: mean masked cross-entropy in bits per token, by mask rate.
    """

    discrete: float
    mc: float
    gap_bits_per_byte: float
    gap_stderr: float
    predicted_gap_bits_per_byte: float
    predicted_gap_stderr: float
    consistent: bool | None
    threshold: float
    t_curve: tuple[tuple[float, float], ...]
    f_curve: tuple[tuple[float, float, float], ...]

    def sentence(self) -> str:
        """The verdict in plain words."""
        gap = f"the gap between the bounds is {self.gap_bits_per_byte:+.4f} (se {self.gap_stderr:.4f}) bits per byte"
        law = f"{self.predicted_gap_bits_per_byte:+.4f} (se {self.predicted_gap_stderr:.4f}) follows from f(u)"
        verdict = {
            True: "the two bounds are consistent with each other",
            False: "the two bounds are NOT consistent: one of them, or the network's conditioning, is wrong",
            None: "too few draws whose masks differ to say whether the two bounds are consistent",
        }[self.consistent]
        return f"{gap}; {law}; {verdict}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values; T = infinity is written as null."""
        plain = asdict(self)
        plain["t_curve"] = [
            {"steps": None if steps == float("inf") else int(steps), "bits_per_byte": value}
            for steps, value in self.t_curve
        ]
        plain["f_curve"] = [
            {"move_chance": rate, "bits_per_token": value, "stderr": error} for rate, value, error in self.f_curve
        ]
        return plain


OFFICIAL_NOT_EXACT = "bytes.official-not-exact"
BELOW_SOURCE = "score.below-source"
# The first token of a text is given to an autoregressive model, which costs the source some of these.
_BITS_OF_LUCK, _ROUNDING = 20.0, 1e-6


@final
@dataclass(frozen=True)
class SourceFloor:
    """What the text costs under the very source that produced it, where that is known.

    Attributes:
        description: which source.
        entropy_bits_per_byte: its entropy rate.
        code_length_bits_per_byte: its own code length of the whole text that is scored from.
        code_length_bits: the same in bits.
        num_bytes: of that text, by the official rule.
    """

    description: str
    entropy_bits_per_byte: float
    code_length_bits_per_byte: float
    code_length_bits: float
    num_bytes: int

    def bits_below(self, bits: float, stderr_bits: float) -> float:
        """How far a score of the whole text lies below what chance, rounding and luck explain; 0 if it does not.

        Nobody who does not know the text can send it in 20 bits less than the source does, but with probability 2^-20;
        four standard errors are the sampling's, and a millionth of the bits is the rounding of logarithms in float32.

        Args:
            bits: the score.
            stderr_bits: its standard error; 0 for an exact code length.
        """
        slack = 4.0 * stderr_bits + _BITS_OF_LUCK + _ROUNDING * self.code_length_bits
        return max(self.code_length_bits - slack - bits, 0.0)


@final
@dataclass(frozen=True)
class ReferenceMarks:
    """What the same tokens cost those who have learnt nothing beforehand, in bits per `unit` of the result.

    :mod:`bpb_harness.evaluation.reference_marks` says which codes these are.

    Attributes:
        uniform: every token at the same price.
        unigram: a code that learns how often each token occurs, as it goes.
        bigram: one that learns what follows each token, as it goes.
        xz: the bytes of the text, packed by ``xz -6``; None for a text that is long, or that tokens do not give back.
        num_clean_tokens: how many ids a token may have.
    """

    uniform: float
    unigram: float
    bigram: float
    xz: float | None
    num_clean_tokens: int


@final
@dataclass(frozen=True)
class AnswerSummary:
    """How answers were scored, each given its prompt and its number of tokens.

    Attributes:
        num_answers: how many.
        num_sampled: of how many masks, or noise levels, were drawn; of the others nothing was.
        num_prompts_cut: prompts of which a part was not visible.
        num_borders_moved: documents in which last tokens of the prompt are paid for with the answer.
    """

    num_answers: int
    num_sampled: int
    num_prompts_cut: int
    num_borders_moved: int


@final
@dataclass(frozen=True)
class SliceScore:
    """The score of the documents whose field has one value; rates and errors per `unit` of the result.

    Attributes:
        slice: the value; numbers, true, false and null as JSON writes them.
        num_documents: how many there are, as far as they were scored.
        num_tokens: that were paid for.
        num_bytes: of them; None where no bytes are counted.
        bits: what they cost.
        mc_stderr: standard error from the sampling of masks; 0 where none is drawn, None where draws do not show it.
        documents_stderr: standard error over the choice of documents, the noise of their masks in it; None of one.
    """

    slice: str
    num_documents: int
    num_tokens: int
    num_bytes: int | None
    bits: float
    mc_stderr: float | None
    documents_stderr: float | None

    @property
    def bits_per_unit(self) -> float | None:
        """Bits per byte, or per token where no bytes are counted; None of a slice without a byte."""
        units = self.num_tokens if self.num_bytes is None else self.num_bytes
        return self.bits / units if units else None


@final
@dataclass(frozen=True)
class BpbResult:
    """A score in bits per byte, or in bits per token where no bytes are counted (`--bytes none`).

    Attributes:
        length: total nats, tokens, bytes and windows.
        relation: ``=`` an exact code length, ``<=`` a bound, ``~<=`` an unbiased estimate of a bound.
        terms_nats: prior, diffusion and reconstruction; for code lengths that have no terms, empty.
        mc_stderr: standard error of the bound from the sampling of masks, in bits per byte (as all errors here: per
            `unit`); 0 where none is drawn, None where one draw of each answer tells nothing of it.
        corpus_stderr: standard error, in bits per byte, over the choice of windows; None where it cannot be estimated.
        ci95: 95 % interval of the bound on this corpus (``mc_stderr`` alone); None where that is not known.
        signature: the settings.
        num_forward_tokens: tokens that went through the network in this run; 0 where all draws were kept from another.
        seconds: wall clock of the scoring, without loading.
        device: where it ran, in words.
        peak_memory_bytes: the most GPU memory that was held at once, on one device; None on a CPU.
        remarks: what a reader should know.
        comparison: with ``compare``, both bounds.
        source: the floor, where the whole of a text of a known source was scored.
        separator_id: the token that was put before each document, or that sets documents off in the shards; None: none
            is named or found.
        num_documents: documents of the text, or answers that were scored; None where a part of a text was, or nothing
            says where documents end.
        answers: how answers were scored; None where text was.
        versions: of torch and Python.
        expectation: what ``--expect`` asked; None where nothing was.
        reference_marks: what simple codes need for the same tokens; None in processes that do not print.
        seconds_by_phase: wall clock of all that was done for the score, "scoring" among it; they add up to the whole.
        windows: one row a window, or an answer, where it was asked for.
        tokens: one row a token, where it was asked for.
        documents: one row a document, where it was asked for.
        slices: the score by the values of a field, the largest first; None where none was named.
        costs: what a comparison needs of it, where it was asked for.
        span_nats: of each span that was scored, (N,): windows, or parts of answers.
    """

    length: CodeLength
    relation: str
    terms_nats: Mapping[str, float]
    mc_stderr: float | None
    corpus_stderr: float | None
    ci95: tuple[float, float] | None
    signature: Signature
    num_forward_tokens: int
    seconds: float
    device: str
    remarks: tuple[Remark, ...] = ()
    peak_memory_bytes: int | None = None
    comparison: Comparison | None = None
    source: SourceFloor | None = None
    separator_id: int | None = None
    num_documents: int | None = None
    answers: AnswerSummary | None = None
    versions: Versions = Versions()
    expectation: Expectation | None = None
    reference_marks: ReferenceMarks | None = None
    seconds_by_phase: Mapping[str, float] = field(default_factory=dict, compare=False)
    windows: pd.DataFrame | None = field(default=None, compare=False, repr=False)
    tokens: pd.DataFrame | None = field(default=None, compare=False, repr=False)
    documents: pd.DataFrame | None = field(default=None, compare=False, repr=False)
    slices: tuple[SliceScore, ...] | None = None
    costs: ScoreCosts | None = field(default=None, compare=False, repr=False)
    span_nats: npt.NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    @property
    def bits_per_byte(self) -> float | None:
        """Total bits over total bytes; None where no bytes are counted."""
        return self.length.bits_per_byte if self.length.num_bytes else None

    @property
    def bits_per_document(self) -> float | None:
        """Total bits over the documents; None where their number is not known."""
        return self.length.bits / self.num_documents if self.num_documents else None

    @property
    def unit(self) -> str:
        """What errors and intervals are per: "byte", or "token" where no bytes are counted."""
        return "byte" if self.length.num_bytes else "token"

    @property
    def is_below_source(self) -> bool:
        """Whether the score lies below what the text costs under its own source, by more than error and luck."""
        if self.source is None:
            return False
        stderr_bits = (self.mc_stderr or 0.0) * self.length.num_units
        return self.source.bits_below(nats_to_bits(self.length.nats), stderr_bits) > 0.0

    def below_source(self) -> str:
        """What such a score means, in one line."""
        assert self.source is not None
        bits = nats_to_bits(self.length.nats)
        return (
            f"the score of {bits:,.0f} bits is below what the text costs under its own source, "
            f"{self.source.code_length_bits:,.0f} bits, by more than 4 standard errors and 20 bits: the network has "
            "learnt this text by heart, or the score is wrong"
        )

    @property
    def bits_per_token(self) -> float:
        """Total bits over total tokens."""
        return self.length.bits_per_token

    def __str__(self) -> str:
        """The line of the score; below it a line for each finding that is a warning."""
        return "\n".join([self.line, *(each.message for each in self.remarks if each.is_warning)])

    @property
    def line(self) -> str:
        """Signature, score, errors and sizes in one line."""
        doubt = ", not to be trusted" if any(remark.code == UNTRUSTED_ERROR for remark in self.remarks) else ""
        sampling = "n/a" if self.mc_stderr is None else f"{self.mc_stderr:.4f}"
        errors = [] if self.relation != ESTIMATED_BOUND else [f"mc se {sampling}{doubt}"]
        errors.append("corpus se n/a" if self.corpus_stderr is None else f"corpus se {self.corpus_stderr:.4f}")
        if self.bits_per_byte is None:
            per_token = f"{self.bits_per_token:.4f} bits/token"
            size = f"{self.length.num_tokens:,} tokens, bytes not counted"
            return f"{self.signature} {self.relation} {per_token} ({', '.join(errors)}; {size})"
        rate = f"{self.length.bytes_per_token:.3f} bytes/token"
        size = f"{self.length.num_tokens:,} tokens, {self.length.num_bytes:,} bytes"
        return f"{self.signature} {self.relation} {self.bits_per_byte:.4f} ({', '.join(errors)}; {rate}; {size})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the keys that ``--format json`` prints."""
        plain: dict[str, Any] = {
            "format": FORMAT,
            "bits_per_byte": self.bits_per_byte,
            "relation": self.relation,
            "method": self.signature.method,
            "mc_stderr": self.mc_stderr,
            "corpus_stderr": self.corpus_stderr,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "bits_per_token": self.bits_per_token,
            "bytes_per_token": self.length.bytes_per_token if self.length.num_bytes else None,
            "num_tokens": self.length.num_tokens,
            "num_bytes": self.length.num_bytes or None,
            "num_windows": self.length.num_windows,
            "nats": self.length.nats,
            "terms_nats": dict(self.terms_nats),
            "signature": str(self.signature),
            **self.signature.typed(),
            "versions": {"bpb_harness": self.signature.version} | asdict(self.versions),
            "expectation": self._met_expectation(),
            "num_forward_tokens": self.num_forward_tokens,
            "seconds": self.seconds,
            "forward_tokens_per_second": (self.num_forward_tokens / self.seconds or None) if self.seconds > 0 else None,
            "device": self.device,
            "peak_memory_bytes": self.peak_memory_bytes,
            "findings": [{"code": remark.code, "message": remark.message} for remark in self.remarks],
        }
        if self.separator_id is not None:
            plain["separator_id"] = self.separator_id
        if self.answers is not None:
            plain["answers"] = asdict(self.answers)
        if self.bits_per_byte is None or self.answers is not None:
            plain |= {"bits_per_document": self.bits_per_document, "num_documents": self.num_documents}
        if self.slices is not None:
            plain["slices"] = [asdict(each) | {"bits_per_unit": each.bits_per_unit} for each in self.slices]
        if self.source is not None:
            plain["source"] = asdict(self.source)
        if self.seconds_by_phase:
            plain["seconds_by_phase"] = dict(self.seconds_by_phase)
        if self.reference_marks is not None:
            plain["reference_marks"] = asdict(self.reference_marks)
        if self.comparison is not None:
            plain["comparison"] = self.comparison.to_dict()
        return plain

    def _met_expectation(self) -> dict[str, Any] | None:
        """What was expected, and whether it is met."""
        if self.expectation is None or self.bits_per_byte is None:
            return None
        return asdict(self.expectation) | {"met": self.expectation.is_met(self.bits_per_byte)}

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON text; NaN is never written."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_log(self, prefix: str = "bpb/") -> dict[str, float]:
        """Numbers alone, under keys that stay, for what draws curves: wandb, trackio, Lightning's ``log_dict``.

        Args:
            prefix: stands before each key.

        Returns:
            ``bits_per_byte``, ``bits_per_token``, ``mc_stderr``, ``corpus_stderr``, ``ci95_low``, ``ci95_high``,
            ``num_bytes``, ``num_tokens``, ``num_windows``, ``seconds``; without those that this score has not. The
            settings are :attr:`signature`: text, for a run's configuration.
        """
        low, high = self.ci95 or (None, None)
        values = {
            "bits_per_byte": self.bits_per_byte, "bits_per_token": self.bits_per_token, "mc_stderr": self.mc_stderr,
            "corpus_stderr": self.corpus_stderr, "ci95_low": low, "ci95_high": high,
            "num_bytes": self.length.num_bytes or None, "num_tokens": self.length.num_tokens,
            "num_windows": self.length.num_windows, "seconds": self.seconds,
        }  # fmt: skip
        return {prefix + key: float(value) for key, value in values.items() if value is not None}

    def to_frame(self) -> pd.DataFrame:
        """One row with the scalar entries of :meth:`to_dict`."""
        import pandas as pd

        flat = {key: value for key, value in self.to_dict().items() if not isinstance(value, dict | list)}
        low, high = (None, None) if self.ci95 is None else self.ci95
        return pd.DataFrame([flat | {"ci95_low": low, "ci95_high": high}])
