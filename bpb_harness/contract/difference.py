"""Two answers to what should be one question, and how far those of an honest network lie apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

BITS_PER_NAT = 1.0 / math.log(2.0)


@final
@dataclass(frozen=True)
class Tolerance:
    """How far two answers of an honest network lie apart.

    Batch size and shape pick other kernels, which add in another order. In float32 the log-probabilities of the
    transformers tested here then differ by up to 2e-5 at logits of about 20; deep networks lose another digit, hence
    1e-4 per unit of spread (five to fifty times what was seen). In bfloat16 one step is 1/256 of a logit, and a few
    steps pile up over the layers. What such rounding cannot do is to favour the true token on average: hence the second
    test, a mean change of the code length beyond six standard errors of its own scatter.

    Attributes:
        per_spread: largest change of a log-probability per unit of spread of the logits.
        mean_nats: change of the mean code length per token that is never an alarm, in nats.
    """

    per_spread: float
    mean_nats: float

    @staticmethod
    def of(dtype: torch.dtype, device: torch.device) -> Tolerance:
        """That of a network's arithmetic."""
        if dtype == torch.float64:
            return Tolerance(1e-9, 1e-9)
        if dtype == torch.float32:
            # TensorFloat-32 products keep ten bits.
            coarse = device.type == "cuda" and torch.get_float32_matmul_precision() != "highest"
            return Tolerance(1e-2, 1e-3) if coarse else Tolerance(1e-4, 1e-5)
        return Tolerance(1e-1, 1e-3)


@final
@dataclass(frozen=True)
class Answer:
    """What a network says where a question counts.

    Attributes:
        places: row and position of each, (n, 2) int64.
        nats: the price of the token there, (n,) float64.
        spread: the largest log-probability in absolute value, of those seen.
        log_probs: all log-probabilities at some of the places, (m, V), or None.
        sampled: which of the places those are, (m,) int64.
        mask_mass: what of the mass the mask gets at each place, (n,), where there is a column for it.
    """

    places: Tensor
    nats: Tensor
    spread: float
    log_probs: Tensor | None = None
    sampled: Tensor | None = None
    mask_mass: Tensor | None = None

    def of_rows(self, rows: list[int]) -> Answer:
        """The prices of some rows alone, as of a batch that consists of them in this order."""
        here = [self.places[:, 0] == row for row in rows]
        places = [
            torch.stack((torch.full_like(self.places[of, 1], index), self.places[of, 1]), dim=-1)
            for index, of in enumerate(here)
        ]
        return Answer(torch.cat(places), torch.cat([self.nats[of] for of in here]), self.spread)


@final
@dataclass(frozen=True)
class Difference:
    """Between two answers to what should be one question.

    Attributes:
        largest: the largest change of a log-probability, in nats.
        row: where.
        position: where.
        mean_nats: mean change of the price of a token.
        stderr_nats: standard error of that mean, by its own scatter.
        spread: of the first answer.
        identical: whether nothing moved at all.
    """

    largest: float
    row: int
    position: int
    mean_nats: float
    stderr_nats: float
    spread: float
    identical: bool

    @staticmethod
    def between(first: Answer, second: Answer) -> Difference:
        """How far two answers at the same places lie apart."""
        moved = _moved(first.nats, second.nats)
        if first.log_probs is not None and second.log_probs is not None and first.sampled is not None:
            everywhere = _moved(first.log_probs, second.log_probs).amax(dim=-1).double()
            moved[first.sampled] = torch.maximum(moved[first.sampled], everywhere)
        worst = int(moved.argmax())
        row, position = first.places[worst].tolist()
        change = second.nats - first.nats
        change = change[torch.isfinite(change)]
        mean, stderr = 0.0, 0.0
        if len(change) > 1:
            mean, stderr = float(change.mean()), float(change.std()) / math.sqrt(len(change))
        return Difference(
            largest=float(moved[worst]),
            row=row,
            position=position,
            mean_nats=mean,
            stderr_nats=stderr,
            spread=first.spread,
            identical=not bool(moved.any()),
        )

    def exceeds(self, tolerance: Tolerance) -> bool:
        """Whether an honest network's answers never lie so far apart."""
        biased = abs(self.mean_nats) > tolerance.mean_nats + 6.0 * self.stderr_nats
        return biased or not self.largest <= tolerance.per_spread * max(1.0, self.spread)

    def __str__(self) -> str:
        return (
            f"a log-probability that moved by {self.largest:.3g} at row {self.row}, position {self.position}; "
            f"mean code length moved by {self.mean_nats * BITS_PER_NAT:+.3g} bits/token"
        )


def _moved(before: Tensor, after: Tensor) -> Tensor:
    moved = (after - before).abs()
    # Infinite on both sides is no change; NaN on either is one.
    return moved.masked_fill(before == after, 0.0).nan_to_num(nan=torch.inf)
