"""``--method exact``: both bounds by enumeration of all masks, for spans of at most 12 targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.denoiser import Denoiser, masked_token_nll, num_clean_tokens
from bpb_harness.errors import UsageError
from bpb_harness.estimators.bound import all_nodes_of_grid, prior_nats
from bpb_harness.result import ESTIMATED_BOUND, UPPER_BOUND
from bpb_harness.sampling.design import mask_bits
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import NoiseSchedule

MAX_EXACT_LENGTH = 12


SpanKind = Literal["windows", "spans", "blocks", "answers"]

_WAYS_OUT: Mapping[SpanKind, str] = {
    "windows": "pass --context 12 or less",
    "spans": "pass --context 12 or less",  # of a stride, whose first one is a window
    "blocks": "pass --block-size 12 or less",
    "answers": "leave such answers out",
}


def require_enumerable(length: int, kind: SpanKind = "windows") -> None:
    """Refuse windows, or whatever is scored by itself, of which there are too many masks.

    Raises:
        UsageError: if they are longer than 12 tokens.
    """
    if length > MAX_EXACT_LENGTH:
        raise UsageError(
            "--method exact", seen=f"{kind} of {length} tokens", expected=f"at most {MAX_EXACT_LENGTH}",
            hint=f"{_WAYS_OUT[kind]}, or use --method chain for an exact code length",
        )  # fmt: skip


ROWS_PER_CALL = 4096

Floats = npt.NDArray[np.float64]


@final
@dataclass(frozen=True)
class EnumeratedBound:
    """The bound of some windows, over all their masks.

    Attributes:
        nats: (B,) float64; an estimate where noise levels were drawn.
        variance: (B,) float64, of that estimate, nats squared; 0 where none were drawn.
        squared_variances: (B,) float64, the sum of the squares of what single masks add to ``variance``.
        token_nats: (B, L) float64, what each target adds to ``nats``.
        token_variance: (B, L) float64, of these.
    """

    nats: Floats
    variance: Floats
    squared_variances: Floats
    token_nats: Floats
    token_variance: Floats


@final
@dataclass(frozen=True)
class ExactBound:
    """The bound of a window over all its 2^L masks.

    The mask rate of the T-step bound takes T values, and a network that is not told it needs none: both bounds are then
    a finite sum. The continuous bound of a network that is told the rate is an integral of a function that nobody has
    seen; each mask is then asked about at K rates drawn from the density that its size has in the bound, a truncated
    Beta (MATHS.md, equations 23 and 24): unbiased for every network, one that rounds its time included.

    Attributes:
        schedule: the noise schedule.
        num_steps: T for the bound of the T-step model; None for the continuous one.
        num_samples: K, rates drawn for each mask where they are drawn.
        streams: where they come from.
    """

    schedule: NoiseSchedule
    num_steps: int | None = None
    num_samples: int = 2
    streams: RandomStreams = RandomStreams(0)  # noqa: RUF009 (frozen)

    method: ClassVar[str] = "exact"

    def __post_init__(self) -> None:
        if self.num_steps is not None and self.num_steps < 1:
            raise UsageError("--steps", seen=self.num_steps, expected="1 or more", hint="pass --steps 128")
        if self.num_samples < 2:
            raise UsageError(
                "--samples with --method exact", seen=self.num_samples, expected="2 or more",
                hint="one draw of a mask tells nothing of its own error",
            )  # fmt: skip

    def draws_levels(self, *, time_conditioned: bool) -> bool:
        """Whether noise levels are drawn: of the continuous bound of a network that is told them."""
        return self.num_steps is None and time_conditioned

    def relation(self, *, time_conditioned: bool) -> str:
        """``~<=`` where noise levels are drawn, else ``<=``."""
        return ESTIMATED_BOUND if self.draws_levels(time_conditioned=time_conditioned) else UPPER_BOUND

    def passes(self, length: int, *, time_conditioned: bool) -> int:
        """Windows that go through the network for one of ``length`` tokens."""
        asked = 1
        if time_conditioned and self.num_steps is not None:
            asked = len(self.nodes()[0])
        elif time_conditioned:
            asked = self.num_samples + (self.schedule.min_mask_rate > 0)
        return ((1 << length) - 1) * asked

    def span_bounds(
        self, denoiser: Denoiser, x0: Tensor, windows: npt.NDArray[np.int64], *, context_length: int = 0
    ) -> EnumeratedBound:
        """The bound of each span.

        Args:
            denoiser: the network.
            x0: context and targets, (B, C + L) int64, L at most 12.
            windows: index in the corpus of each row, (B,): it addresses the drawn noise levels.
            context_length: C, tokens that are never masked and not paid for.

        Raises:
            UsageError: if there are more than 12 targets.
        """
        length = x0.shape[1] - context_length
        require_enumerable(length)
        prior = prior_nats(self.schedule, length, num_clean_tokens(denoiser))
        rows = [
            self._enumerate(denoiser, row, int(window), all_masks(length, context_length).to(x0.device))
            for row, window in zip(x0, windows, strict=True)
        ]
        sums, variances, squares = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
        token_nats = sums[:, 1:] + prior / length
        return EnumeratedBound(sums[:, 0] + prior, variances[:, 0], squares, token_nats, variances[:, 1:])

    def window_nats(self, denoiser: Denoiser, x0: Tensor) -> Tensor:
        """The bound of windows (B, L) that are the first of their corpus, (B,) float64 nats."""
        return torch.from_numpy(self.span_bounds(denoiser, x0, np.arange(len(x0))).nats)

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Every mask rate of the T-step bound and its weight, which sum to u_max; (n,) float64 each.

        Raises:
            UsageError: for the continuous bound, which has no finite set of nodes.
        """
        if self.num_steps is None:
            raise UsageError("the continuous bound has no finite set of nodes", hint="pass --steps T")
        return all_nodes_of_grid(self.schedule.grid(self.num_steps))

    def _enumerate(self, denoiser: Denoiser, tokens: Tensor, index: int, masks: Tensor) -> tuple[Floats, Floats, float]:
        """A span's bound without its prior, in all and of each target, (1 + L,); the variances; the sum of squares."""
        # 1. How many of the L targets each of the 2^L - 1 masks hides; the last mask hides all of them.
        count = masks.sum(dim=-1).cpu().numpy()
        length = int(count[-1])
        known = np.zeros(1 + length)
        # 2. The T-step bound is a finite sum.
        if self.num_steps is not None:
            return self._on_grid(denoiser, tokens, masks, count), known, 0.0
        # 3. The continuous one integrates each mask's probability, for a network that is not told the rate.
        low = self.schedule.min_mask_rate
        weight = size_weights(count, length, low, self.schedule.max_mask_rate)
        at_low = low ** np.maximum(count, 1.0) * (1.0 - low) ** (length - count)
        if not denoiser.time_conditioned:
            # Told a rate of its own with each mask: should the network be told wrongly that it ignores it, no single
            # rate decides the number.
            nats = self._masked_nll(denoiser, tokens, masks, self._rates(count, length, index, 0))
            return ((weight + at_low) * nats).sum(axis=-1), known, 0.0
        # 4. For one that is told, rates are drawn for each mask; u_0 itself is a single rate.
        reconstruction = known
        if low > 0:
            at_low_nats = self._masked_nll(denoiser, tokens, masks, np.full(len(masks), low))
            reconstruction = (at_low * at_low_nats).sum(axis=-1)
        drawn = np.stack(
            [
                weight * self._masked_nll(denoiser, tokens, masks, self._rates(count, length, index, sample))
                for sample in range(self.num_samples)
            ]
        )
        # Masks and draws are independent of one another: each mask's own spread, (25).
        variance = drawn.var(axis=0, ddof=1) / self.num_samples
        sums = reconstruction + drawn.mean(axis=0).sum(axis=-1)
        return sums, variance.sum(axis=-1), float((variance[0] ** 2).sum())

    def _on_grid(self, denoiser: Denoiser, tokens: Tensor, masks: Tensor, count: npt.NDArray[Any]) -> Floats:
        """Sum over steps of weight * sum over M of u^(|M| - 1) (1 - u)^(L - |M|) C(x, M; t(u)), (1 + L,)."""
        total, nats = np.zeros(1 + int(count[-1])), None
        for mask_rate, weight in zip(*(part.tolist() for part in self.nodes()), strict=True):
            if nats is None or denoiser.time_conditioned:
                nats = self._masked_nll(denoiser, tokens, masks, np.full(len(masks), mask_rate))
            chance = mask_rate ** (count - 1.0) * (1.0 - mask_rate) ** (count[-1] - count)
            # A mask that never comes (at u_T = 1 all but the last) costs nothing, were its text impossible under it.
            counted = np.where((chance == 0.0) & np.isposinf(nats), 0.0, nats)
            total += weight * (chance * counted).sum(axis=-1)
        return total

    def _rates(self, count: npt.NDArray[Any], length: int, window: int, sample: int) -> Floats:
        """A mask rate for each mask, from the density of its size in the bound, (2^L - 1,)."""
        uniform = self.streams.level_noise(window, sample, len(count))
        low, high = self.schedule.min_mask_rate, self.schedule.max_mask_rate
        return truncated_beta(uniform, count, length, low, high)

    def _masked_nll(self, denoiser: Denoiser, tokens: Tensor, masks: Tensor, rates: Floats) -> Floats:
        """C(x, M; t(u)) of every mask at its rate, then what each target adds to it, (1 + L, 2^L - 1) float64 nats."""
        parts, length = [], int(masks[-1].sum())
        for start in range(0, len(masks), ROWS_PER_CALL):
            some = slice(start, start + ROWS_PER_CALL)
            part, level = masks[some], self.schedule.level_at(torch.from_numpy(rates[some])).to(tokens.device)
            contexts = torch.full((len(part),), len(tokens) - length, device=tokens.device)
            rows = tokens.expand(len(part), -1)
            nll = masked_token_nll(denoiser, rows, part, level, context_lengths=contexts)
            parts.append(torch.cat([nll.sum(dim=-1, keepdim=True), nll[:, -length:]], dim=-1).cpu().numpy())
        return np.ascontiguousarray(np.concatenate(parts).T)


def size_weights(count: npt.NDArray[Any], length: int, low: float, high: float) -> Floats:
    """What a mask of each size k of L weighs in the bound: the integral of u^(k-1) (1 - u)^(L-k) over (low, high).

    Source: MATHS.md, equation (23).
    """
    from scipy import special  # deferred: takes a fifth of a second to import

    share = special.betainc(count, length - count + 1.0, high) - special.betainc(count, length - count + 1.0, low)
    return np.asarray(special.beta(count, length - count + 1.0) * share, dtype=np.float64)


def truncated_beta(uniform: Floats, count: npt.NDArray[Any], length: int, low: float, high: float) -> Floats:
    """Draws of Beta(k, L - k + 1) given that they lie in (low, high), by inversion of uniform numbers; elementwise."""
    from scipy import special  # deferred: takes a fifth of a second to import

    first, second = np.asarray(count, dtype=np.float64), length - count + 1.0
    below, upto = special.betainc(first, second, low), special.betainc(first, second, high)
    return np.clip(special.betaincinv(first, second, below + uniform * (upto - below)), low, high)


def all_masks(length: int, context_length: int = 0) -> Tensor:
    """Every non-empty mask of the L targets behind a context of C tokens, (2^L - 1, C + L) bool; the last hides all."""
    masks = torch.from_numpy(mask_bits(np.arange(1, 1 << length), length))
    return torch.nn.functional.pad(masks, (context_length, 0))
