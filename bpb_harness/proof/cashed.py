"""What decoded windows cost, beside what the score says of the whole.

Windows that a hash chooses are a sample of all windows, so their rate estimates the whole's, with the error of a ratio
over sampled units. That error holds the spread of windows and that of the shared randomness; few windows have a wide
one, and one window has none that is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, final, get_args

import numpy as np
import numpy.typing as npt

from bpb_harness.byte_count import ByteCounter, Rule, Tokenizer
from bpb_harness.estimators.orders import SCORES
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.proof.batches import split
from bpb_harness.proof.header import Header
from bpb_harness.proof.score_line import HALF_UNIT, ScoreLine
from bpb_harness.proof.verdict import ROUNDING_NATS_A_TOKEN, SHARE_OF_ORDERS, four_errors
from bpb_harness.text.separators import find_separators
from bpb_harness.units import NATS_PER_BIT

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DOUBTFUL_ERRORS, _LARGEST_ERROR = 3.0, 0.25  # of the score's own error, as a share of its number
_COARSE = 0.025  # of the number: what reaches further tells two scores of one text hardly apart
_SHARE_OF_CODER, _BITS_OF_CODER = 1e-3, 64.0  # what the coder adds at most, of a stream


@final
@dataclass(frozen=True)
class Cashed:
    """Of the windows of one file.

    Attributes:
        line: the score.
        num_bits: of the file, of targets.
        span_bits: of each window by the network, while they were decoded, (N,).
        span_units: bytes of each, or tokens, (N,).
        counts_bytes: which of the two.
        slack: how many more bytes there may be in all: what a space before a window's first token counts.
        order_share: how much more than in the score they may cost, as a share: see :class:`Costs`.
        share_left: of a code that draws nothing, what share of all windows is not in the file; 1 of the others.
        rounding_bits: what other batches may change.
    """

    line: ScoreLine
    num_bits: int
    span_bits: Floats
    span_units: Ints
    counts_bytes: bool
    slack: int = 0
    order_share: float = 0.0
    share_left: float = 1.0
    rounding_bits: float = 0.0

    @property
    def unit(self) -> str:
        """What rates are per."""
        return "byte" if self.counts_bytes else "token"

    @property
    def claimed(self) -> float:
        """The rate of the score, per the same."""
        return self.line.rate * self._units_of_score

    @property
    def _units_of_score(self) -> float:
        """What the score is per, of what is counted here: its bytes of a token, where tokens are."""
        return 1.0 if self.counts_bytes else self.line.num_units / self.line.num_tokens

    @property
    def num_units(self) -> int:
        """Bytes, or tokens."""
        return int(self.span_units.sum())

    @property
    def rate(self) -> float:
        """Bits of the file per unit."""
        return self.num_bits / max(self.num_units, 1)

    @property
    def stderr(self) -> float:
        """Of the rate, as an estimate of the whole's; infinite where it is not known."""
        count = len(self.span_bits)
        if not self.share_left:
            return 0.0
        if count < 2 or not self.num_units:
            return math.inf
        network = math.fsum(self.span_bits) / self.num_units
        residuals = self.span_bits - network * self.span_units
        variance = count / (count - 1) * math.fsum(residuals**2) * self.share_left
        return math.sqrt(variance) / self.num_units

    @property
    def tolerance(self) -> float:
        """How far four errors of both reach, and rounding; Student's quantile, for few windows."""
        windows, sampling = self.stderr, self.line.stderr * self._units_of_score
        if not math.isfinite(windows + sampling):
            return math.inf
        total = math.hypot(windows, sampling)
        if total == 0.0:
            return self._rounding
        degrees = (len(self.span_bits) - 1) * (total / windows) ** 4 if windows else math.inf
        return four_errors(min(degrees, 1e9)) * total + self._rounding

    def exceeds_score(self) -> bool:
        """Whether the windows cost more than the score says, by more than that."""
        bits = max(math.fsum(self.span_bits), self.num_bits - self._coder_bits)
        rate = bits / max(self.num_units + self.slack, 1)
        return rate - self.claimed * (1.0 + self.order_share) > self.tolerance

    def doubt(self) -> str | None:
        """Why the windows leave open whether the number of the score holds; None where they do not.

        The score's error is the word of whoever wrote the file: a large one, or a single window, would let any number
        pass.
        """
        sampling, windows = self.line.stderr * self._units_of_score, self.stderr
        if not self.line.is_trusted or not math.isfinite(sampling):
            return "the score knows no error from masks that can be trusted"
        if sampling > _LARGEST_ERROR * self.claimed:
            return f"the score's own error, {sampling:.4f}, is more than a quarter of its number"
        if not math.isfinite(windows):
            return "one window alone shows no spread, and so no error"
        above = self.rate - self.claimed * (1.0 + self.order_share)
        slack = self._rounding + self._coder_bits / max(self.num_units, 1)
        if above > _DOUBTFUL_ERRORS * math.hypot(windows, sampling) + slack:
            return (
                f"they cost {above:.4f} bits per {self.unit} more than it, and are too few to call that chance or not"
            )
        return None

    @property
    def _rounding(self) -> float:
        """How far rounding reaches: of the printed number, and of sums in other batches."""
        return HALF_UNIT * self._units_of_score + self.rounding_bits / max(self.num_units, 1)

    @property
    def _coder_bits(self) -> float:
        """What the coder may have added to the file."""
        return _SHARE_OF_CODER * self.num_bits + _BITS_OF_CODER

    def falls_below(self) -> bool:
        """Whether they cost less than the score says, by more than that: they are not like the rest of its text."""
        return self.claimed - self.rate > self.tolerance

    def __str__(self) -> str:
        error, count = self.stderr, len(self.span_bits)
        size = f"{self.num_units:,} {self.unit}s"
        if self.slack:
            size += f" (up to {self.slack:,} more by the text before the windows, which is not in the file)"
        spread = f"se {error:.4f} over the choice of windows" if math.isfinite(error) else "one alone tells no error"
        if not self.share_left:
            spread = "the whole of the score"
        return (
            f"{self.num_bits:,} bits for {size}, {self.rate:.4f} bits per {self.unit} ({spread}, "
            f"{count:,} of them); the score says {self.line.relation} {self.claimed:.4f}{self._agreement()}"
        )

    def _agreement(self) -> str:
        """Whether the two are the same as far as errors tell; nothing where they do not."""
        if not math.isfinite(self.tolerance):
            return ""
        if self.exceeds_score():
            return ", by more than 4 errors of both less"
        if self.falls_below():
            return ", by more than 4 errors of both more"
        if self.tolerance > _COARSE * self.claimed:
            few = f", by Student's t for {len(self.span_bits):,} windows," if self.stderr else ""
            return f"; hardly told apart: 4 errors of both{few} reach {self.tolerance:.4f} bits per {self.unit}"
        return ", which is the same within 4 errors"


def cash(
    header: Header, line: ScoreLine, *, given: Ints, tokens: Sequence[Ints], nats: Floats, num_bits: int,
    tokenizer: Tokenizer,
) -> Cashed:  # fmt: skip
    """What decoded windows cost, per byte where their bytes can be counted from their tokens.

    Bytes of documents (``--bytes raw``) and of answers, of which a token may spell a part, cannot: those are per token.

    Args:
        header: of the file.
        line: its score.
        given: contexts, one after another.
        tokens: of each window.
        nats: what each cost by the network, (N,).
        num_bits: of the file.
        tokenizer: that of the score.

    Raises:
        TokenizerError: if the score sets documents off by a token that the tokenizer lacks.
        CorpusError: a token that it lacks.
    """
    rule = line.signature.byte_rule
    is_of_tokens = line.num_bytes is None or "prompts" in (line.signature.given or "") or tokenizer.uncountable
    if is_of_tokens or rule not in get_args(Rule):
        return cashed_of(header, line, nats, num_bits, np.array(header.lengths), counts_bytes=False)
    counter = ByteCounter(_set_off(tokenizer, line.signature.separator))
    contexts = split(given, header.contexts)
    counts = [
        int(counter.per_token(row, rule=cast("Rule", rule), previous=before if len(before) else None).sum())
        for row, before in zip(tokens, contexts, strict=True)
    ]
    alone = sum(not len(before) for before in contexts)
    slack = alone if rule == "official" else 2 * len(contexts)
    return cashed_of(header, line, nats, num_bits, np.array(counts), counts_bytes=True, slack=slack)


def cashed_of(
    header: Header, line: ScoreLine, nats: Floats, num_bits: int, units: Ints, *, counts_bytes: bool, slack: int = 0
) -> Cashed:
    """The same, of bytes or tokens that are counted already."""
    method = METHODS[header.method]
    return Cashed(
        line,
        num_bits,
        np.asarray(nats / NATS_PER_BIT),
        units,
        counts_bytes,
        slack,
        order_share=SHARE_OF_ORDERS if method.goes_in_order and header.order in SCORES else 0.0,
        share_left=1.0 if method.samples or method.enumerates else 1.0 - len(header.windows) / header.num_spans,
        rounding_bits=ROUNDING_NATS_A_TOKEN[header.dtype] / NATS_PER_BIT * sum(header.lengths),
    )


def _set_off(tokenizer: Tokenizer, separator: str | None) -> Tokenizer:
    """The tokenizer whose separators spell nothing: as its own file says, or as the score does."""
    chosen = "none" if separator == "none" else None
    found = find_separators(tokenizer, chosen=chosen).apply(tokenizer)
    silent = [int(part) for part in (separator or "").split("+") if part.isdigit()]
    return found.set_off_by(found.bos_id, *silent) if silent else found
