"""What training minimises: the same bound that ``bpb-eval --method mc`` scores, in nats per token.

The bound's identity (MATHS.md, equation 7) turns the weight -dalpha/(1 - alpha) of the *sum* of masked cross-entropies
into a bounded one: with u = u_max v, v uniform, one position masked for certain and the others with probability u,

    NELBO / L = alpha(1) ln V + u_max E[ C(x, M; t(u)) / |M| ].

The plain form has infinite variance: rare, almost clean windows get weights up to 1/u. Here every window weighs the
same, and its masked tokens share that weight. The times of a batch are stratified: one in each of B equal cells.

About half of all positions are masked. Only these go through the head, and through what follows the last block's
attention, gathered into a tensor of a fixed number of rows: what is compiled then sees one shape, and nothing waits for
the device to say how many they are.

Rates may be drawn by another law than the uniform one (:data:`MASK_RATES`), and a share of a step's windows may learn
next tokens causally instead; what is said of the objective stays the bound.

In a network of blocks each block is a window in this sense, with a time of its own and everything before it as context.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bpb_harness.estimators.bound import Bound, prior_nats
from bpb_harness.networks.reference import GatheredPositions, ReferenceTransformer, Sight
from bpb_harness.sampling.design import size_biased_masks
from bpb_harness.schedule import NoiseLevel

_SIGMAS = 8  # positions beyond the capacity would be lost: once in 1e14 batches

HeadNll = Callable[[nn.Module, Tensor, Tensor, Tensor, int], Tensor]

MASK_RATES = ("uniform", "low", "bell")
_BELL = 0.6  # v = 1/2 is drawn (1 + _BELL) / (1 - _BELL) times as often as the ends


def draw_masks(
    shape: Sequence[int], bound: Bound, generator: torch.Generator, device: torch.device | str = "cpu", *,
    law: str = "uniform",
) -> tuple[Tensor, NoiseLevel, Tensor]:  # fmt: skip
    """Size-biased masks of a batch at stratified times.

    Returns:
        masked, (B, L) bool, the noise level of each row, (B,), and its weight in a mean that is the bound, (B,).
    """
    num_windows, length = shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device, dtype=torch.float64)

    cell = torch.arange(num_windows, device=device, dtype=torch.float64)
    v, weight = drawn_by_law(law, (cell + 1.0 - uniform(num_windows)) / num_windows)  # in (0, 1]
    level = bound.schedule.level_at(bound.mask_rate(v))
    target = torch.randint(length, (num_windows,), generator=generator, device=device)
    return size_biased_masks(uniform(num_windows, length), target, level), level, weight


def drawn_by_law(law: str, w: Tensor) -> tuple[Tensor, Tensor]:
    """v = g(w) of w uniform on (0, 1], and g'(w): a mean over w with that weight is a mean over a uniform v.

    ``low``: v = w^2, more low rates. ``bell``: more near 1/2, density 1 / (1 + 0.6 cos 2 pi w).
    """
    if law == "low":
        return w.square(), 2.0 * w
    if law == "bell":
        return w + _BELL / math.tau * (math.tau * w).sin(), 1.0 + _BELL * (math.tau * w).cos()
    return w, torch.ones_like(w)


def draw_block_masks(
    shape: Sequence[int], size: int, bound: Bound, generator: torch.Generator, device: torch.device | str = "cpu", *,
    law: str = "uniform",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Masks of every block of a batch, as :func:`draw_masks` of so many windows, (B, L) bool, and weights, (B, L / S).

    Neighbouring cells of the times go to different windows: no window, and no process's share, has the high ones alone.
    """
    num_windows, length = shape
    masked, _, weight = draw_masks((num_windows * length // size, size), bound, generator, device, law=law)
    masked = masked.view(length // size, num_windows, size).transpose(0, 1).reshape(num_windows, length)
    return masked, weight.view(-1, num_windows).t()


def gather_capacity(num_windows: int, length: int, bound: Bound, num_shares: int = 1) -> int:
    """Rows that hold the masked positions of a batch whose times are stratified.

    Args:
        num_windows: B, in this process's share.
        length: L.
        bound: its schedule gives u_0 and u_max.
        num_shares: processes that a batch is dealt to, row by row.
    """
    low, high = bound.schedule.min_mask_rate, bound.schedule.max_mask_rate
    # A share's cells may all lie above those of the others, by at most one cell of the whole batch each.
    mean_rate = low + (high - low) * (0.5 + 0.5 / num_windows * (num_shares > 1))
    # Rows' counts given their rates, the rates inside their cells, and the forced position of each row.
    deviation = math.sqrt(num_windows * length / 4 + length**2 / (12 * num_windows))
    capacity = num_windows * (length * mean_rate + 1) + _SIGMAS * deviation
    return min(num_windows * length, 256 * math.ceil(capacity / 256))


@dataclass(frozen=True)
class Gathered:
    """Masked positions of a batch, in their order, padded to n rows.

    Attributes:
        positions: index into the flattened batch, (n,) int64.
        targets: the clean token there, (n,) int64.
        weights: 1 / (|M| B) of its row, 0 for padding, (n,) float32; or (2, n), those of the value and its gradient.
        slots: the row of every position of the batch, (B L,) int64; n for those that are visible or lost.
    """

    positions: Tensor
    targets: Tensor
    weights: Tensor
    slots: Tensor


def gather_masked(x0: Tensor, masked: Tensor, capacity: int, row_weights: Tensor | None = None) -> Gathered:
    """Gather masked positions without asking the device how many there are.

    Args:
        x0: clean tokens, (B, L) int64.
        masked: (B, L) bool, at least one in every row.
        capacity: n; masked positions beyond it are lost, see :func:`gather_capacity`.
        row_weights: of each row in the value, and in its gradient, (2, B); None: 1.
    """
    flat = masked.flatten()
    slot = (flat.cumsum(0) - 1).clamp(max=capacity)
    # Visible positions write into a row that is dropped. Not torch.where, which copies its number to the device.
    slot = slot.masked_fill(~flat, capacity)
    place = torch.arange(len(flat), device=flat.device)
    positions = torch.zeros(capacity + 1, dtype=torch.int64, device=flat.device).scatter_(0, slot, place)[:capacity]
    share = (1.0 if row_weights is None else row_weights) / (masked.sum(dim=1) * len(masked)).float()
    filled = torch.arange(capacity, device=flat.device) < flat.sum()
    weights = share.index_select(-1, positions // masked.shape[1]) * filled
    return Gathered(positions, x0.flatten().index_select(0, positions), weights, slot)


def head_nll(head: nn.Module, states: Tensor, targets: Tensor, weights: Tensor, vocab_size: int) -> Tensor:
    """Weighted sum of -ln p(target) at positions of the normalised stream, float32 scalar.

    Args:
        head: unembedding, D to W >= vocab_size.
        states: end of the residual stream, (n, D).
        targets: (n,) int64.
        weights: those of :class:`Gathered`, (n,) or (2, n) float32.
        vocab_size: V; columns from V on get no mass.
    """
    normalised = functional.rms_norm(states, (states.shape[-1],))
    nll_nats = functional.cross_entropy(head(normalised)[:, :vocab_size].float(), targets, reduction="none")
    # Not a product of vectors, which autocast rounds to bfloat16, as it does its result.
    sums = (nll_nats * weights.to(nll_nats.dtype)).sum(dim=-1)
    return sums if weights.ndim == 1 else with_gradient_of(sums[1], value=sums[0])


def with_gradient_of(x: Tensor, *, value: Tensor) -> Tensor:
    """A value whose gradient is that of x."""
    return value.detach() + x - x.detach()


def mdlm_objective(
    network: ReferenceTransformer,
    x0: Tensor,
    masked: Tensor,
    level: NoiseLevel,
    bound: Bound,
    *,
    capacity: int | None = None,
    head_nll: HeadNll = head_nll,
    row_weights: Tensor | None = None,
) -> Tensor:
    """One draw of NELBO / L, averaged over the batch, in nats per token.

    Args:
        network: whose head runs at masked positions alone.
        x0: clean tokens, (B, L) int64.
        masked: size-biased masks, (B, L) bool; at least one in every row.
        level: noise level of each row, (B,).
        bound: a bound with one sample; gives the weight u_max.
        capacity: rows to gather masked positions into; None: enough for any mask.
        head_nll: that function, or its compiled form.
        row_weights: of each row in the value, and in its gradient, (2, B); None: 1.

    Returns:
        Scalar float32; its gradient is an unbiased gradient of the bound where its weights are those of the value.
    """
    config = network.config
    gathered = gather_masked(x0, masked, capacity or masked.numel(), row_weights)
    xt = x0.masked_fill(masked, config.mask_token_id)
    at_masked = GatheredPositions(gathered.positions, gathered.slots)
    states = network.trunk(xt, level.sigma if config.time_conditioned else None, at_masked)
    diffusion = head_nll(network.head, states, gathered.targets, gathered.weights, config.vocab_size)
    return bound.draw_weight * diffusion + prior_nats(bound.schedule, 1, config.vocab_size)


def block_objective(
    network: ReferenceTransformer,
    x0: Tensor,
    masked: Tensor,
    bound: Bound,
    *,
    causal_weight: float = 0.0,
    capacity: int | None = None,
    head_nll: HeadNll = head_nll,
    row_weights: Tensor | None = None,
    sight: Sight | None = None,
) -> Tensor:
    """:func:`mdlm_objective` of a network of blocks, which divide its windows.

    Args:
        network: whose head runs at masked positions alone.
        x0: clean tokens, (B, L) int64.
        masked: size-biased masks of blocks, (B, L) bool; at least one in every block.
        bound: a bound with one sample; gives the weight u_max.
        causal_weight: of the cross-entropy of the token behind each clean one, which the clean copy is asked for then.
        capacity: rows to gather masked positions into; None: enough for any mask.
        head_nll: that function, or its compiled form.
        row_weights: of each block in the value, and in its gradient, (2, B L / S); None: 1.
        sight: what attention reads; None: a table.

    Returns:
        Scalar float32, one draw of NELBO / L whatever ``causal_weight`` is: that adds to the gradient alone.
    """
    config, size, (num_windows, length) = network.config, network.config.block_size, x0.shape
    assert size is not None
    gathered = gather_masked(x0.reshape(-1, size), masked.reshape(-1, size), capacity or masked.numel(), row_weights)
    num_noised = len(gathered.positions)
    xt = x0.masked_fill(masked, config.mask_token_id)
    states = network.block_trunk(xt, x0, _of_both_halves(gathered, num_windows, length, causal_weight > 0.0), sight)
    diffusion = head_nll(network.head, states[:num_noised], gathered.targets, gathered.weights, config.vocab_size)
    nats = bound.draw_weight * diffusion + prior_nats(bound.schedule, 1, config.vocab_size)
    if not causal_weight:
        return nats
    causal = _next_token_nats(network, states[num_noised:], x0, head_nll)
    return with_gradient_of(nats + causal_weight * causal, value=nats)


def _next_token_nats(network: ReferenceTransformer, states: Tensor, x0: Tensor, head_nll: HeadNll) -> Tensor:
    """Mean cross-entropy of the token behind each but the last, in nats; states (B L, D) of windows (B, L)."""
    num_windows, length = x0.shape
    weights = torch.full((num_windows, length), 1.0 / (num_windows * (length - 1)), device=x0.device)
    weights[:, -1] = 0.0  # nothing is behind the last
    behind = x0.roll(-1, dims=1).flatten()
    return head_nll(network.head, states, behind, weights.flatten(), network.config.vocab_size)


def with_causal_rows(
    network: ReferenceTransformer, nats: Tensor, x: Tensor, share: float, *, head_nll: HeadNll = head_nll
) -> Tensor:
    """The objective ``nats``, a share of whose gradient is that of next tokens in windows x, (B, L), read causally."""
    causal = _next_token_nats(network, network.trunk(x, causal=True).flatten(0, 1), x, head_nll)
    return with_gradient_of((1.0 - share) * nats + share * causal, value=nats)


def _of_both_halves(gathered: Gathered, num_windows: int, length: int, with_clean: bool) -> GatheredPositions:
    """Masked positions of the noised half, in windows of 2 L, and all of the clean half behind them if asked for."""
    place = torch.arange(num_windows * length, device=gathered.slots.device)
    num_noised, window = len(gathered.positions), place // length
    num_rows = num_noised + (len(place) if with_clean else 0)
    positions = gathered.positions + (gathered.positions // length + 1) * length
    clean = torch.full_like(place, num_rows)
    if with_clean:
        positions = torch.cat((positions, place + window * length))
        clean = num_noised + place
    noised = gathered.slots.masked_fill(gathered.slots >= num_noised, num_rows)
    slots = torch.stack((clean.view(num_windows, length), noised.view(num_windows, length)), dim=1)
    return GatheredPositions(positions, slots.flatten())


def causal_objective(network: ReferenceTransformer, x: Tensor, *, head_nll: HeadNll = head_nll) -> Tensor:
    """Mean cross-entropy of tokens 1 .. L given those before, in nats per token; x is (B, L + 1)."""
    targets = x[:, 1:].flatten()
    weights = torch.full(targets.shape, 1.0 / len(targets), device=x.device)
    states = network.trunk(x[:, :-1].contiguous(), causal=True).flatten(0, 1)
    return head_nll(network.head, states, targets, weights, network.config.vocab_size)
