"""The bound of a batch of token windows, inside a training loop: ``bpb_harness.nelbo``.

The same estimate as that of ``--method mc`` and ``discrete``, of the same definitions (:mod:`~.bound`), without what
makes a score of a whole text sharper or safer: no control variate, no difficulty, no checks of the network's behaviour.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from numbers import Integral
from typing import Any, Literal, final

import torch
from torch import Tensor

from bpb_harness.denoiser import Denoiser, num_clean_tokens, own_block_size, packed_nll, states_of, unpack_nats
from bpb_harness.errors import UsageError
from bpb_harness.estimators.bound import Bound, prior_nats
from bpb_harness.estimators.discrete import DiscreteBound
from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.network_call import InputWatch
from bpb_harness.network_object import denoiser_of, kind_of, require_network
from bpb_harness.sampling.design import size_biased_masks
from bpb_harness.schedule import NoiseLevel, NoiseSchedule, parse_schedule, sound, stated_schedule

_VISIBLE = 1.0  # noise that no mask rate exceeds
_ROUNDING = 1e-6  # relative

TermName = Literal["prior", "reconstruction", "diffusion"]


@final
@dataclass(frozen=True, eq=False)
class Nelbo:
    """An estimate of the bound of each row of a batch, in nats.

    Attributes:
        nats: of each row, unbiased, (B,) float64; with gradients if they were asked for.
        num_tokens: targets of each row, (B,) int64.
        draw_nats: each draw's own unbiased estimate of its row, (K, B) float64, without gradients. Draws of one row are
            independent of each other.
        mask_rate: at which each draw looked, (K, B) float64.
        position: v of each draw, (K, B) float64; of each call one in every B-th of (0, 1].
        bound: which one; it says which draws belong to the reconstruction.
        prior_nats: of each row, (B,) float64; part of ``nats``.
    """

    nats: Tensor
    num_tokens: Tensor
    draw_nats: Tensor = field(repr=False)
    mask_rate: Tensor = field(repr=False)
    position: Tensor = field(repr=False)
    bound: Bound = field(repr=False)
    prior_nats: Tensor = field(repr=False)

    @property
    def nats_per_token(self) -> Tensor:
        """Of the whole batch, a number; what a training step minimises."""
        return self.nats.sum() / self.num_tokens.sum()

    @property
    def stderr(self) -> Tensor:
        """Standard error of ``nats.mean()`` over masks and over the choice of rows, a float64.

        NaN for one row, and where all draws of all rows agree.

        Rows are taken for independent pieces of a text. Of each call, rows are put in the order of v; the mean squared
        difference of neighbours holds what rows and masks vary by, and not what v does, which the strata integrate.
        """
        count, calls = self.draw_nats.shape[1], self.draw_nats.shape[0]
        if count == 1:
            return torch.full_like(self.draw_nats[0, 0], torch.nan)
        return self._variance_of_mean(count, calls).sqrt().masked_fill(_agree(self.draw_nats.flatten()), torch.nan)

    def _variance_of_mean(self, count: int, calls: int) -> Tensor:
        in_order = self.draw_nats.gather(1, self.position.argsort(dim=1).to(self.draw_nats.device))
        one_call = in_order.diff(dim=1).square().mean() / (2.0 * count)
        if calls == 1:
            return one_call
        # Calls share their rows: only what masks vary by is divided by their number.
        within = self.draw_nats.var(dim=0).mean() / calls
        between = (self.draw_nats.mean(dim=0).var() - within).clamp(min=0.0) / count
        return one_call / calls + between * (1.0 - 1.0 / calls)

    @property
    def row_stderr(self) -> Tensor | None:
        """Standard error of each row's ``nats`` over masks, (B,) float64; None of one draw a row.

        NaN of a row whose draws agree: they may have met one mask, or masks of one cost, and say nothing of others.
        """
        calls = len(self.draw_nats)
        if calls == 1:
            return None
        return (self.draw_nats.var(dim=0) / calls).sqrt().masked_fill(_agree(self.draw_nats), torch.nan)

    @property
    def terms(self) -> dict[TermName, Tensor]:
        """The three terms of each row's ``nats``, (B,) float64 each, without gradients."""
        drawn = (self.draw_nats - self.prior_nats) / len(self.draw_nats)
        at_the_end = self.bound.is_reconstruction(self.mask_rate).to(drawn.device)
        return {
            "prior": self.prior_nats,
            "reconstruction": drawn.masked_fill(~at_the_end, 0.0).sum(dim=0),
            "diffusion": drawn.masked_fill(at_the_end, 0.0).sum(dim=0),
        }


def _agree(draw_nats: Tensor) -> Tensor:
    """Which columns hold one number, but for rounding; nothing waits for a device."""
    return draw_nats.amax(dim=0) - draw_nats.amin(dim=0) <= _ROUNDING * draw_nats.abs().amax(dim=0)


def nelbo(
    model: Denoiser,
    x0: Tensor,
    *,
    schedule: str | NoiseSchedule | None = None,
    num_steps: int | None = None,
    num_samples: int = 1,
    context_lengths: Tensor | Sequence[int] | None = None,
    differentiable: bool = False,
    generator: torch.Generator | None = None,
    seed: int | None = None,
) -> Nelbo:
    """Estimate the bound of each row; :func:`bpb_harness.nelbo` says what the arguments are."""
    require_network(model, "nelbo: the network", "a Denoiser (bpb_harness.denoiser)", is_masked=True)
    network, tokens = denoiser_of(model), _tokens(x0, model)
    batch, length = tokens.shape
    contexts = _contexts(context_lengths, batch, length)
    _require_one_block(model, contexts, length)
    num_samples = _count("num_samples", num_samples)
    num_steps = None if num_steps is None else _count("num_steps", num_steps)
    noise = _schedule_of(model, schedule)
    # A schedule of the caller's own may not be hashable; its bound is made anew each time.
    make_bound = _bound_of if isinstance(noise, Hashable) else _bound_of.__wrapped__
    bound = make_bound(noise, num_samples, num_steps)
    random = _generator_of(generator, seed)
    position = _positions(num_samples, batch, random)
    mask_rate, lengths = bound.mask_rate(position), length - contexts
    prior = prior_nats(bound.schedule, 1, num_clean_tokens(network)) * lengths.double().to(tokens.device)
    draws = []
    with nullcontext() if differentiable else torch.no_grad():
        for rate in mask_rate:
            level = bound.schedule.level_at(rate)
            masked = draw_masks(level, contexts, length, random)
            draws.append(prior + draw_nats(network, tokens, masked, level, contexts, bound.draw_weight * num_samples))
        nats = torch.stack(draws).mean(dim=0) if num_samples > 1 else draws[0]
    if differentiable:
        _require_gradient(model, nats)
    return Nelbo(
        nats,
        lengths.to(tokens.device),
        torch.stack([draw.detach() for draw in draws]),
        mask_rate,
        position,
        bound,
        prior,
    )


def draw_masks(level: NoiseLevel, context_lengths: Tensor, length: int, generator: torch.Generator | None) -> Tensor:
    """Size-biased masks of the targets, on the CPU.

    Args:
        level: noise level of each row, (B,).
        context_lengths: tokens of each row that stay visible, (B,) int64.
        length: N, tokens of a row.
        generator: of the randomness; None: torch's own.

    Returns:
        (B, N) bool; at least one target of each row is masked, and nothing of its context.
    """
    batch, device = len(level), None if generator is None else generator.device
    noise = torch.rand(batch, length, dtype=torch.float64, generator=generator, device=device).cpu()
    chosen = torch.rand(batch, dtype=torch.float64, generator=generator, device=device).cpu()
    if bool(context_lengths.any()):
        noise = noise.masked_fill(torch.arange(length) < context_lengths.unsqueeze(-1), _VISIBLE)
    target = context_lengths + (chosen * (length - context_lengths)).long()
    return size_biased_masks(noise, target, level)


def draw_nats(
    network: Denoiser, x0: Tensor, masked: Tensor, level: NoiseLevel, context_lengths: Tensor, weight: float
) -> Tensor:
    """What one size-biased mask says of each row's bound, but for the prior: weight L C / |M| (MATHS.md, equation 7).

    Args:
        network: the denoiser.
        x0: context and targets, (B, N) int64.
        masked: (B, N) bool, on the CPU.
        level: noise level of each row, (B,).
        context_lengths: tokens of each row that are context, (B,) int64, on the CPU.
        weight: of a draw that is alone, u_max.

    Returns:
        (B,) float64, with gradients where they are recorded.
    """
    device = x0.device
    # Found on the host: a GPU would be waited for.
    places = masked.flatten().nonzero().squeeze(-1).to(device, non_blocking=True)
    xt = x0.masked_fill(masked.to(device, non_blocking=True), network.mask_token_id)
    told = context_lengths.to(device, non_blocking=True)
    # Not asked whether inputs were kept where that waits for a GPU: what is paid for are copies.
    states = states_of(network, xt, level.to(device), places, context_lengths=told, watch=InputWatch())
    nll = packed_nll(network, states, x0.flatten().index_select(0, places))
    weights = weight * (masked.shape[1] - context_lengths).double() / masked.sum(dim=-1)
    return weights.to(device) * unpack_nats(nll, places, masked.shape).sum(dim=-1)


def _positions(num_samples: int, batch: int, generator: torch.Generator | None) -> Tensor:
    """v of each draw, (K, B) in (0, 1]: of each call one in every B-th, in random order.

    A row's v is uniform by itself, so that its estimate is unbiased; and its K of them are independent.
    """
    device = None if generator is None else generator.device
    jitter = torch.rand(num_samples, batch, dtype=torch.float64, generator=generator, device=device)
    order = [torch.randperm(batch, generator=generator, device=device) for _ in range(num_samples)]
    return ((torch.stack(order) + 1.0 - jitter) / batch).cpu()


@lru_cache(maxsize=16)
def _bound_of(schedule: NoiseSchedule, num_samples: int, num_steps: int | None) -> Bound:
    if num_steps is None:
        return ContinuousBound(schedule, num_samples)
    return DiscreteBound(schedule, num_samples, num_steps)


def _schedule_of(model: object, given: str | NoiseSchedule | None) -> NoiseSchedule:
    schedule = parse_schedule(given) if isinstance(given, str) else given
    schedule = stated_schedule(model) if schedule is None else schedule
    if schedule is None:
        raise UsageError(
            f"nelbo: nothing says the noise schedule of {kind_of(model)}",
            hint="pass schedule='loglinear[0.001]', or another, or give the network an attribute schedule",
        )
    if not isinstance(schedule, NoiseSchedule):
        raise UsageError("nelbo: schedule", seen=kind_of(schedule), expected="a name or a NoiseSchedule")
    return sound(schedule)


def _generator_of(generator: torch.Generator | None, seed: int | None) -> torch.Generator | None:
    if generator is not None and not isinstance(generator, torch.Generator):
        raise UsageError(
            "nelbo: generator", seen=kind_of(generator), expected="a torch.Generator", hint="or pass seed="
        )
    if seed is None:
        return generator
    if generator is not None:
        raise UsageError("nelbo: generator and seed", seen="both", expected="one of the two")
    if not _is_whole(seed) or not -(1 << 63) <= seed < 1 << 64:
        raise UsageError("nelbo: seed", seen=repr(seed), expected="a whole number of 64 bits")
    return torch.Generator().manual_seed(int(seed))


def _is_whole(value: object) -> bool:
    """Whether it is a whole number, of any type that is one; True is none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _count(name: str, value: Any) -> int:
    if not _is_whole(value) or value < 1:
        raise UsageError(f"nelbo: {name}", seen=repr(value), expected="a whole number, 1 or more")
    return int(value)


def _is_dense(given: Tensor) -> bool:
    """Whether a tensor holds its numbers one by one: neither sparse nor nested, nor quantized."""
    return given.layout is torch.strided and not (given.is_nested or given.is_quantized)


def _is_of_whole(given: Tensor) -> bool:
    """Whether a tensor is dense, and of a whole type."""
    is_whole = not given.is_floating_point() and not given.is_complex() and given.dtype != torch.bool
    return _is_dense(given) and is_whole


def _in_words(given: Tensor) -> str:
    """What a tensor is, for a message."""
    if not _is_dense(given):
        how = f"layout {given.layout}" if given.layout is not torch.strided else "quantized numbers"
        return "nested tensors" if given.is_nested else f"a tensor of {how}"
    return f"{tuple(given.shape)} of {given.dtype}"


def _tokens(x0: Any, model: Any) -> Tensor:
    """The windows as int64; on a CPU it is looked at whether they are clean tokens."""
    if not isinstance(x0, Tensor) or not _is_of_whole(x0) or x0.ndim != 2 or not x0.numel():
        seen = _in_words(x0) if isinstance(x0, Tensor) else kind_of(x0)
        raise UsageError("nelbo: x0", seen=seen, expected="clean tokens, (B, L) of a whole type, B and L 1 or more")
    if x0.shape[1] > model.context_length:
        raise UsageError(
            "nelbo: x0", seen=f"windows of {x0.shape[1]}", expected=f"at most {model.context_length}, the network's"
        )
    tokens: Tensor = x0.long()
    if tokens.device.type == "cpu":
        bad = (tokens < 0) | (tokens >= model.vocab_size) | (tokens == model.mask_token_id)
        if bool(bad.any()):
            row, place = bad.nonzero()[0].tolist()
            raise UsageError(
                f"nelbo: x0[{row}, {place}]", seen=int(tokens[row, place]),
                expected=f"a clean token, 0 .. {model.vocab_size - 1} and not the mask {model.mask_token_id}",
            )  # fmt: skip
    return tokens


def _shown(given: Tensor) -> object:
    """Its numbers; in words what has none, or none that can be shown."""
    return given.tolist() if _is_dense(given) and not given.is_meta else _in_words(given)


def _contexts(given: Tensor | Sequence[int] | None, batch: int, length: int) -> Tensor:
    if given is None:
        return torch.zeros(batch, dtype=torch.int64)
    try:
        contexts = torch.as_tensor(given).cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError):  # what torch makes of other objects
        contexts = torch.empty(0)
    contexts = contexts.long() if _is_of_whole(contexts) else torch.full((batch,), -1)
    if contexts.shape != (batch,) or not bool(((contexts >= 0) & (contexts < length)).all()):
        seen = repr(_shown(given) if isinstance(given, Tensor) else given)
        expected = f"{batch} whole numbers, 0 .. {length - 1}"
        raise UsageError("nelbo: context_lengths", seen=seen[:80], expected=expected)
    return contexts


def _require_one_block(model: object, contexts: Tensor, length: int) -> None:
    """Refuse targets in several blocks of a network that predicts each given the blocks before it."""
    size = own_block_size(model)
    if size is not None and bool((contexts // size != (length - 1) // size).any()):
        raise UsageError(
            f"nelbo: {kind_of(model)} predicts blocks of {size} tokens, each given the blocks before it",
            seen=f"{length - int(contexts.min())} targets in several of its blocks",
            expected=f"{size} or fewer, in one block",
            hint="pass windows that end with the block, and context_lengths",
        )


def _require_gradient(model: Any, nats: Tensor) -> None:
    if not nats.requires_grad:
        seen = "torch.no_grad() around the call" if not torch.is_grad_enabled() else "an answer without gradients"
        raise UsageError(
            f"nelbo: differentiable=True, {kind_of(model)}",
            seen=seen,
            expected="logits that depend on parameters that are trained",
            hint="is a method under torch.no_grad(), or everything frozen?",
        )
