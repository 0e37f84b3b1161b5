"""The denoisers that an estimator is shown.

Every correct estimator is linear in the costs -log p(x_i | visible tokens): its mean is a fixed sum of them. So it is
enough to look at denoisers that charge for one kind of mask only, which read off one coefficient each, and at one with
arbitrary conditionals, which mixes all of them.

A denoiser here maps (B, L) tokens, V standing for the mask, and (B,) times to (B, L, V) logits. What it says about
visible positions is wrong on purpose: a correct estimator does not look there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float64]
Costs = Literal["exact", "bfloat16", "mask column", "softmax twice", "joint", "joint pairs"]

# A logit so far above the others that its token costs nothing: log1p((V - 1) exp(-40)) is 0 in float32.
CERTAIN = 40.0
# A softmax does not see these logits' common offset, but bfloat16, whose steps are 2 there, sees 300.9 as 300 and 301.1
# as 302: a token that costs log(1 + (V - 1) e^0.2) is charged log(1 + (V - 1) e^2).
_OFFSET, _TILT = 301.1, 0.2
# Logit of the mask's own column, relative to the total of the clean ones: leaving it in costs log(1 + e^-1) a token.
_MASK_LOGIT = -1.0


@dataclass(frozen=True, eq=False)
class Probe(ABC):
    """One denoiser and the windows on which an estimator is to be run.

    Attributes:
        name: what it charges for, in words.
        x0: clean windows, (B, L) int64.
        vocab_size: V.
        mask_column: whether logits have a column V for the mask itself, as a network's have.
    """

    name: str
    x0: Tensor
    vocab_size: int
    mask_column: bool

    @abstractmethod
    def clean_logits(self, xt: Tensor, t: Tensor) -> Tensor:
        """(B, L) tokens and (B,) times -> (B, L, V) float64 logits."""

    @property
    def time_conditioned(self) -> bool:
        """Whether the logits depend on t."""
        return False

    @property
    def num_judged(self) -> int:
        """How many rows, from the first, are compared with their bound."""
        return len(self.x0)

    @property
    def is_rare(self) -> bool:
        """Whether few masks cost anything, so that many draws in a row may rightly be 0."""
        return False

    def logits(self, xt: Tensor, t: Tensor) -> Tensor:
        """What the estimator under test receives, (B, L, V) or with the mask's column (B, L, V + 1), float32."""
        return self._handed_out(self.clean_logits(xt, t))

    def _handed_out(self, logits: Tensor) -> Tensor:
        if self.mask_column:
            own = torch.logsumexp(logits, dim=-1, keepdim=True) + _MASK_LOGIT
            logits = torch.cat([logits, own], dim=-1)
        return logits.float()

    def masked_costs(self, times: Floats, costs: Costs = "exact") -> Floats:
        """C(x, M; t) of every window, mask and time, (J, B, 2^L) nats; J is 1 where the time does not matter.

        Args:
            times: (J,).
            costs: "exact", or as a log-softmax in bfloat16, of a softmax, or one that includes the mask's column would
                have it; or masked tokens (or those of a pair of neighbours) one after the other, given those before
                them.
        """
        used = times if self.time_conditioned else np.zeros(1)
        key = (costs, used.tobytes())
        if key not in self._known_costs:
            # Windows that hold the same text cost the same: one row stands for all.
            texts = self.x0[:1] if bool((self.x0 == self.x0[0]).all()) else self.x0
            table = self._enumerate(texts, used, costs)
            self._known_costs[key] = np.broadcast_to(table, (len(used), len(self.x0), table.shape[-1]))
        return self._known_costs[key]

    @cached_property
    def _known_costs(self) -> dict[tuple[Costs, bytes], Floats]:
        return {}

    def _enumerate(self, texts: Tensor, used: Floats, costs: Costs) -> Floats:
        batch, length = texts.shape
        masks = all_masks(length)
        table = np.empty((len(used), batch, len(masks)))
        xt = torch.where(masks.unsqueeze(0), self.vocab_size, texts.unsqueeze(1)).reshape(-1, length)
        target = texts.unsqueeze(1).expand(-1, len(masks), -1).reshape(-1, length, 1)
        for row, time in enumerate(used):
            logits = self.clean_logits(xt, torch.full((len(xt),), float(time), dtype=torch.float64))
            nll = -self._log_softmax(logits, costs).gather(-1, target).squeeze(-1)
            nats = nll.reshape(batch, len(masks), length)
            if costs in ("joint", "joint pairs"):
                nats = torch.gather(nats, 1, _codes_left(length, length if costs == "joint" else 2).expand_as(nats))
            table[row] = (nats * masks).sum(dim=-1).double().numpy()
        return table

    def _log_softmax(self, logits: Tensor, costs: Costs) -> Tensor:
        if costs == "bfloat16":
            return torch.log_softmax(logits.float().bfloat16(), dim=-1).double()
        if costs == "softmax twice":
            return torch.log_softmax(torch.softmax(logits, dim=-1), dim=-1)
        if costs == "mask column":
            own = torch.zeros_like(logits[..., :1])  # an estimator that pads the vocabulary itself pads with zeros
            if self.mask_column:
                own = torch.logsumexp(logits, dim=-1, keepdim=True) + _MASK_LOGIT
            return torch.log_softmax(torch.cat([logits, own], dim=-1), dim=-1)
        return torch.log_softmax(logits, dim=-1)


@dataclass(frozen=True, eq=False)
class MaskProbe(Probe):
    """Sees only one text, so that the mask says all, and answers out of a table."""

    @property
    @abstractmethod
    def logits_of_mask(self) -> Tensor:
        """The answer to every mask, (2^L, L, V) float64."""

    def clean_logits(self, xt: Tensor, t: Tensor) -> Tensor:  # noqa: ARG002 (it ignores the time)
        return self.logits_of_mask[codes_of_masks(xt == self.vocab_size)]

    def logits(self, xt: Tensor, t: Tensor) -> Tensor:  # noqa: ARG002 (it ignores the time)
        return self._answers[codes_of_masks(xt == self.vocab_size)]

    @cached_property
    def _answers(self) -> Tensor:
        return self._handed_out(self.logits_of_mask)


@final
@dataclass(frozen=True, eq=False)
class CountProbe(MaskProbe):
    """Charges the same for every masked token where their number lies in a set, and nothing elsewhere.

    It knows the one text on which it is used, which a table of conditionals may.

    Attributes:
        counts: numbers of masked tokens that it charges for.
        offset: added to all logits; a softmax does not see it.
        tilt: how far the true token's logit lies below the others, where it charges.
        most_masks: of the masks with such a number, charge for the first so many alone; None for all.
    """

    counts: frozenset[int]
    offset: float = 0.0
    tilt: float = 0.0
    most_masks: int | None = None

    @property
    def is_rare(self) -> bool:
        return self.most_masks is not None

    @cached_property
    def logits_of_mask(self) -> Tensor:
        text = self.x0[0]
        masks = all_masks(len(text))
        of_count = torch.isin(masks.sum(dim=-1), torch.tensor(sorted(self.counts)))
        if self.most_masks is not None:
            of_count &= of_count.cumsum(dim=0) <= self.most_masks
        charged = of_count.unsqueeze(-1) & masks
        answer = torch.where(masks, text, (text + 1) % self.vocab_size)  # wrong where it is not asked
        target = torch.nn.functional.one_hot(answer, self.vocab_size).double()
        return torch.where(charged.unsqueeze(-1), -self.tilt * target, CERTAIN * target) + self.offset


@final
@dataclass(frozen=True, eq=False)
class OutlyingRowProbe(Probe):
    """Expects one text, whatever the mask. The first row has another one, and pays 40 nats where the others pay none.

    Attributes:
        expected: (L,) the text.
    """

    expected: Tensor

    @classmethod
    def beside(cls, like: Probe, num_special: int) -> OutlyingRowProbe:
        """The text of ``like`` in the first row, the next id at every position that is not special in all others."""
        others = like.x0[0].clone()
        others[num_special:] = (others[num_special:] + 1) % like.vocab_size
        x0 = others.repeat(len(like.x0), 1)
        x0[0] = like.x0[0]
        return cls("one row of the batch, at 40 nats a token", x0, like.vocab_size, like.mask_column, expected=others)

    @property
    def num_judged(self) -> int:
        return 1

    def clean_logits(self, xt: Tensor, t: Tensor) -> Tensor:  # noqa: ARG002 (it ignores the time)
        wrong = torch.where(xt == self.vocab_size, self.expected, (xt + 1) % self.vocab_size)
        return torch.nn.functional.one_hot(wrong, self.vocab_size).double() * CERTAIN


@final
@dataclass(frozen=True, eq=False)
class ArbitraryProbe(Probe):
    """Conditionals that no joint distribution has: every context changes every position's logits.

    One that depends on the time changes its mind with it, and is the surer the later it is: an estimator that tells
    it a wrong time gets another mean.

    Attributes:
        embedding: (L, V + 1, D), summed over positions and sent through a sine.
        readout: (D, L * V).
        clock: (D,), zero for a denoiser that ignores the time.
    """

    embedding: Tensor
    readout: Tensor
    clock: Tensor

    @classmethod
    def random(
        cls, x0: Tensor, vocab_size: int, *, mask_column: bool, time_conditioned: bool, generator: torch.Generator
    ) -> ArbitraryProbe:
        """Draw one; its logits have a standard deviation of about 1.5 nats."""
        length, width = x0.shape[1], 24

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        clock = normal(width) * 2.0 if time_conditioned else torch.zeros(width, dtype=torch.float64)
        return cls(
            name="arbitrary conditionals" + (", changing with t" if time_conditioned else ""),
            x0=x0, vocab_size=vocab_size, mask_column=mask_column,
            embedding=normal(length, vocab_size + 1, width) * 1.2,
            readout=normal(width, length * vocab_size) * (1.5 * math.sqrt(2.0 / width)),
            clock=clock,
        )  # fmt: skip

    @property
    def time_conditioned(self) -> bool:
        return self._has_clock

    @cached_property
    def _has_clock(self) -> bool:
        return bool((self.clock != 0).any())

    def clean_logits(self, xt: Tensor, t: Tensor) -> Tensor:
        length = xt.shape[1]
        time = t.double().unsqueeze(-1)
        state = self.embedding[torch.arange(length), xt].sum(dim=1) + time * self.clock
        sharpness = 0.25 + 2.0 * time if self.time_conditioned else 1.0
        logits = sharpness * (torch.sin(state) @ self.readout)
        return logits.reshape(-1, length, self.vocab_size)


def all_masks(length: int) -> Tensor:
    """Every mask of a window, the empty one first, (2^L, L) bool."""
    return (torch.arange(1 << length).unsqueeze(-1) >> torch.arange(length)) & 1 == 1


def _codes_left(length: int, group: int) -> Tensor:
    """What is left of each mask when the masked tokens before a position in its group are revealed, (2^L, L)."""
    position = torch.arange(length)
    before = (1 << position) - (1 << (position - position % group))
    return torch.arange(1 << length).unsqueeze(-1) & ~before


def codes_of_masks(masked: Tensor) -> Tensor:
    """The place of each mask in :func:`all_masks`, (..., L) bool -> (...)."""
    return (masked * _bits(masked.shape[-1])).sum(dim=-1)


@cache
def _bits(length: int) -> Tensor:
    """What a masked token adds to the place of a mask, (L,)."""
    return 1 << torch.arange(length)


def make_probes(
    *,
    vocab_size: int,
    length: int,
    batch: int,
    special_ids: tuple[int, ...],
    time_conditioned: bool,
    mask_column: bool,
    generator: torch.Generator,
) -> list[Probe]:
    """The denoisers of one check: a few groups of mask counts, all of them at large logits, arbitrary conditionals.

    Windows begin with the special ids, as a document begins with its separator; the rest are clean ids.
    """
    texts = torch.randint(vocab_size, (batch, length), generator=generator)
    # Every id occurs in the one text of the count probes where it is long enough.
    one_text = torch.randperm(vocab_size, generator=generator).repeat(-(-length // vocab_size))[:length]
    for position, special in enumerate(special_ids[:length]):
        texts[:, position] = special
        one_text[position] = special
    probes: list[Probe] = [
        CountProbe(
            name=f"only windows with {_in_words(group)} of {length} tokens masked",
            x0=one_text.expand(batch, length).contiguous(), vocab_size=vocab_size, mask_column=mask_column,
            counts=frozenset(group),
        )
        for group in count_groups(length)
    ]  # fmt: skip
    probes.append(
        CountProbe(
            name="every masked token alike, with logits near 300",
            x0=one_text.expand(batch, length).contiguous(), vocab_size=vocab_size, mask_column=mask_column,
            counts=frozenset(range(1, length + 1)), offset=_OFFSET, tilt=_TILT,
        )
    )  # fmt: skip
    probes.append(
        ArbitraryProbe.random(
            texts, vocab_size, mask_column=mask_column, time_conditioned=time_conditioned, generator=generator
        )
    )
    return probes


def count_groups(length: int) -> list[list[int]]:
    """Numbers of masked tokens in at most five groups; 1 and L always stand alone."""
    if length <= 5:
        return [[count] for count in range(1, length + 1)]
    inner = np.array_split(np.arange(2, length), 3)
    return [[1], *[group.tolist() for group in inner], [length]]


def _in_words(group: list[int]) -> str:
    return str(group[0]) if len(group) == 1 else f"{group[0]} to {group[-1]}"
