"""What a network is to the harness, and the one place where it is called, by way of :mod:`bpb_harness.network_call`.

A network hands over logits, nothing else. The harness removes the mask column, normalises in float32 or better, carries
visible tokens over and gathers the targets (the SUBS parameterization of MDLM, arXiv 2406.07524, section 3.2.3), so
that no adapter can win bits with probabilities that do not sum to one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor

from bpb_harness.errors import NumericsError
from bpb_harness.network_call import InputWatch, call_network, require_logits, require_places, require_plain
from bpb_harness.schedule import NoiseLevel


@runtime_checkable
class Denoiser(Protocol):
    """A masked-diffusion network: from a partly masked window to logits over the clean tokens.

    Attributes:
        vocab_size: V; clean tokens are the ids 0 .. V - 1, except ``mask_token_id`` where that lies inside.
        mask_token_id: the absorbing state; never a clean token.
        context_length: the longest window it takes.
        time_conditioned: False if the logits do not depend on the noise level.
    """

    vocab_size: int
    mask_token_id: int
    context_length: int
    time_conditioned: bool

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Map (B, L) int64 tokens at a noise level of (B,) to (B, L, W) logits, W >= V."""
        ...


@runtime_checkable
class FactoredDenoiser(Denoiser, Protocol):
    """A denoiser that splits: ``logits = head(hidden)``, so that only masked positions are unembedded."""

    def hidden(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Map (B, L) int64 tokens at a noise level of (B,) to (B, L, D) hidden states."""
        ...

    def head(self, hidden: Tensor) -> Tensor:
        """Map (n, D) hidden states to (n, W) logits, W >= V."""
        ...


@runtime_checkable
class PickingDenoiser(FactoredDenoiser, Protocol):
    """A factored denoiser that leaves out, at positions nobody asks for, what no other position reads."""

    def hidden_at(self, xt: Tensor, level: NoiseLevel, positions: Tensor) -> Tensor:
        """``hidden(xt, level).flatten(0, 1)[positions]``, (n, D), for (n,) int64 positions of the flattened batch.

        They ascend, but for padding at the end, any position repeated, whose rows may hold any finite numbers.
        """
        ...


@runtime_checkable
class ContextDenoiser(Denoiser, Protocol):
    """A denoiser that must be told where the context of a row ends, for it reads context and targets differently.

    Wherever it is scored it is asked by ``logits_given``, of whole windows with a context of 0, and by nothing else: a
    trunk and head that it may have besides do not know of contexts.
    """

    def logits_given(self, xt: Tensor, level: NoiseLevel, context_lengths: Tensor) -> Tensor:
        """Map (B, L) int64 tokens at a noise level of (B,) to (B, L, W) logits, W >= V.

        The first ``context_lengths[row]`` tokens of a row, (B,) int64 on the device of ``xt``, are its context: all
        visible, none of them asked for. The level is that of the targets behind them. ``logits(xt, level)`` is the
        same with contexts of 0.
        """
        ...


@runtime_checkable
class BlockDenoiser(Denoiser, Protocol):
    """A denoiser of blocks one after another, which takes all blocks of a window in one call.

    ``logits`` of a row that ends in block k, with the blocks before k clean, is in block k what ``block_logits`` is.
    Source: block diffusion, BD3-LM (Arriola et al. 2025, arXiv 2503.09573).

    Attributes:
        block_size: tokens of a block; the first begins where a row does, the last of a row may be shorter.
    """

    block_size: int

    def block_logits(self, xt: Tensor, x0: Tensor, level: NoiseLevel) -> Tensor:
        """Map noised windows, (B, L) int64, and the same windows clean to (B, L, W) logits, W >= V.

        In block k they may depend on tokens of ``x0`` in the blocks before k, on tokens of ``xt`` in block k, and on
        the level of block k alone. There is one level a block, row by row: (B * ceil(L / block_size),).
        """
        ...


@runtime_checkable
class FactoredBlockDenoiser(BlockDenoiser, Protocol):
    """A denoiser of blocks that splits: ``block_logits = head(block_hidden)``."""

    def block_hidden(self, xt: Tensor, x0: Tensor, level: NoiseLevel) -> Tensor:
        """Map what ``block_logits`` takes to (B, L, D) hidden states."""
        ...

    def head(self, hidden: Tensor) -> Tensor:
        """Map (n, D) hidden states to (n, W) logits, W >= V."""
        ...


@runtime_checkable
class CausalLM(Protocol):
    """An autoregressive network: position i sees tokens up to i and predicts token i + 1."""

    vocab_size: int
    context_length: int

    def logits(self, x: Tensor) -> Tensor:
        """Map (B, L) int64 tokens to (B, L, W) logits, W >= V."""
        ...


def num_clean_tokens(denoiser: Denoiser) -> int:
    """How many ids a clean token may have: V, or V - 1 where the mask id lies inside the vocabulary."""
    return denoiser.vocab_size - (0 <= denoiser.mask_token_id < denoiser.vocab_size)


def is_stateless(denoiser: Denoiser) -> bool:
    """Whether two batches may be in a network at once, each on a stream of its own.

    Only a network that says so itself, ``is_stateless = True``: many keep a table of angles, or the like, that one call
    makes and later ones read, and a second stream would read it before the first has written it.
    """
    return getattr(denoiser, "is_stateless", False) is True


# Of what is a denoiser already, and at each call: ``isinstance`` looks all of a protocol up, as long as a small network
# computes.


def is_told_contexts(denoiser: Denoiser) -> TypeGuard[ContextDenoiser]:
    """``isinstance(denoiser, ContextDenoiser)`` of a denoiser."""
    return getattr(denoiser, "logits_given", None) is not None


def splits(denoiser: Denoiser) -> TypeGuard[FactoredDenoiser]:
    """Whether a denoiser is asked by its trunk and head; one that is told of contexts is asked whole."""
    offers_both = all(getattr(denoiser, part, None) is not None for part in ("hidden", "head"))
    return offers_both and not is_told_contexts(denoiser)


def denoiser_logits(
    denoiser: Denoiser, xt: Tensor, level: NoiseLevel, *, context_lengths: Tensor | None = None
) -> Tensor:
    """What a denoiser says of every position, (B, L, W); it is handed copies.

    The answer may be a buffer of the network's own: use it up before the next call, or clone it.

    Args:
        denoiser: the network.
        xt: partly masked windows, (B, L) int64.
        level: noise level of each row, (B,).
        context_lengths: how many tokens of each row are context, (B,) int64 on the device of ``xt``, for networks that
            are told so (:class:`ContextDenoiser`; None tells them 0); others do not get it.

    Raises:
        ContractError: if the answer is not what it should be, or an input was overwritten.
    """
    if is_told_contexts(denoiser):
        logits = call_network(denoiser.logits_given, xt, level, _or_no_contexts(context_lengths, xt))
    else:
        logits = call_network(denoiser.logits, xt, level)
    require_logits(logits, tuple(xt.shape), denoiser.vocab_size)
    return logits


def causal_logits(model: CausalLM, x: Tensor) -> Tensor:
    """What a causal model says of the token behind each, (B, L, W); otherwise as :func:`denoiser_logits`."""
    logits = call_network(model.logits, x)
    require_logits(logits, tuple(x.shape), model.vocab_size)
    return logits


def clean_log_probs(logits: Tensor, *, vocab_size: int, mask_token_id: int) -> Tensor:
    """Normalise logits over the clean tokens.

    Args:
        logits: (..., W) with W >= vocab_size, any floating type.
        vocab_size: V; columns from V on are padding and get no mass.
        mask_token_id: gets no mass (zero masking probability).

    Returns:
        (..., V) log-probabilities in float32, or float64 for float64 logits; -inf at the mask.
    """
    if logits.shape[-1] < vocab_size:
        raise NumericsError(
            "logits are too narrow", seen=f"{logits.shape[-1]} columns", expected=f"{vocab_size} or more"
        )
    wide = logits[..., :vocab_size]
    wide = wide if wide.dtype == torch.float64 else wide.float()
    if 0 <= mask_token_id < vocab_size:
        wide = wide.clone()
        wide[..., mask_token_id] = -torch.inf
    return torch.log_softmax(wide, dim=-1)


def states_of(
    denoiser: Denoiser, xt: Tensor, level: NoiseLevel, positions: Tensor, *, context_lengths: Tensor | None = None,
    watch: InputWatch | None = None,
) -> Tensor:  # fmt: skip
    """What a network says of some positions of a batch: (n, D) hidden states, or (n, W) logits.

    A factored denoiser stops before its head, so that :func:`packed_nll` unembeds the picked positions alone.

    Args:
        denoiser: the network; it is handed copies.
        xt: partly masked windows, (B, L) int64.
        level: noise level of each row, (B,).
        positions: of the flattened batch, (n,) int64, ascending but for padding at the end.
        context_lengths: how many tokens of each row are context, (B,) int64 on the device of ``xt``, for networks that
            are told so (:class:`ContextDenoiser`; None tells them 0); others do not get it.
        watch: looks later whether the network changed a copy; None looks at once.

    Raises:
        ContractError: if the answer is not what it should be, or an input was overwritten.
    """
    inputs: tuple[Tensor | NoiseLevel, ...] = (xt, level, positions)
    if is_told_contexts(denoiser):
        inputs = (*inputs, _or_no_contexts(context_lengths, xt))
    return call_network(partial(network_states, denoiser), *inputs, watch=watch)


def network_states(
    denoiser: Denoiser, xt: Tensor, level: NoiseLevel, positions: Tensor, context_lengths: Tensor | None = None
) -> Tensor:
    """:func:`states_of` behind its door; its arguments are the network's to keep."""
    contexts = () if context_lengths is None else (context_lengths,)
    return states_function(denoiser)(xt, level, positions, *contexts)


def states_function(denoiser: Denoiser) -> Callable[..., Tensor]:
    """What answers for :func:`network_states`: of the ways to ask a network, the one that it offers.

    It is chosen before anything is compiled: how Python 3.12 looks a protocol up is more than compilers can follow.
    """
    if is_told_contexts(denoiser):
        return partial(_states_given, denoiser)
    if splits(denoiser):
        hidden_at = getattr(denoiser, "hidden_at", None)  # of a PickingDenoiser
        if hidden_at is not None:
            return partial(_picked_states, hidden_at)
        return partial(_all_states, denoiser.hidden, "hidden states")
    return partial(_all_states, denoiser.logits, "logits")


def _states_given(
    denoiser: ContextDenoiser, xt: Tensor, level: NoiseLevel, positions: Tensor, contexts: Tensor | None = None
) -> Tensor:
    def given(xt: Tensor, level: NoiseLevel) -> Tensor:
        return denoiser.logits_given(xt, level, _or_no_contexts(contexts, xt))

    return _all_states(given, "logits", xt, level, positions)


def _picked_states(
    hidden_at: Callable[..., Tensor], xt: Tensor, level: NoiseLevel, positions: Tensor, *_contexts: Tensor
) -> Tensor:
    count, device = positions.shape[0], xt.device  # read before the network can resize them
    states = hidden_at(xt, level, positions)
    require_plain(states, device)
    require_places(states, (count,), "hidden states")
    return states


def _all_states(
    trunk: Callable[..., Tensor], what: str, xt: Tensor, level: NoiseLevel, positions: Tensor, *_contexts: Tensor
) -> Tensor:
    batch, length, device = xt.shape[0], xt.shape[1], xt.device
    states = trunk(xt, level)
    require_plain(states, device)
    require_places(states, (batch, length), what)
    return states.flatten(0, 1).index_select(0, positions)


def _or_no_contexts(context_lengths: Tensor | None, xt: Tensor) -> Tensor:
    """The lengths of contexts, or 0 for each row where none are given."""
    if context_lengths is not None:
        return context_lengths
    return torch.zeros(xt.shape[0], dtype=torch.int64, device=xt.device)


def packed_nll(denoiser: Denoiser, states: Tensor, targets: Tensor, *, by_blocks: bool = False) -> Tensor:
    """Negative log-likelihood of tokens at picked positions, in nats.

    Args:
        denoiser: the network.
        states: of these positions, from :func:`states_of`.
        targets: the clean token at each of them, (n,) int64.
        by_blocks: the states are those of :func:`block_states_of`.

    Returns:
        (n,) float32, or float64 for float64 logits; memory of its own.
    """
    return nll_of_states(head_of(denoiser, by_blocks=by_blocks), denoiser, states, targets)


def nll_of_states(
    head: Callable[[Tensor], Tensor] | None, denoiser: Denoiser, states: Tensor, targets: Tensor
) -> Tensor:
    """:func:`packed_nll` with a head that is chosen already, before anything is compiled."""
    logits = states
    if head is not None:
        # Not copied: a head sees states that its own trunk made, each piece of them once, and neither tokens nor
        # targets.
        logits = head(states)
        require_plain(logits, targets.device)
        require_places(logits, (targets.shape[0],), "logits")
    log_probs = clean_log_probs(logits, vocab_size=denoiser.vocab_size, mask_token_id=denoiser.mask_token_id)
    return -log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def head_of(denoiser: Denoiser, *, by_blocks: bool = False) -> Callable[[Tensor], Tensor] | None:
    """What is still to be done to states of a trunk; None where they are logits."""
    if by_blocks:
        return denoiser.head if isinstance(denoiser, FactoredBlockDenoiser) else None
    return denoiser.head if splits(denoiser) else None


def unpack_nats(nll: Tensor, positions: Tensor, shape: tuple[int, int] | torch.Size) -> Tensor:
    """Spread packed values over a batch, 0 elsewhere; (B, L) float64.

    Positions are distinct, so this writes each cell at most once: sums over the rows of the result run in a fixed
    order, which an atomic scatter-add on a GPU does not.
    """
    dense = torch.zeros(shape[0] * shape[1], dtype=torch.float64, device=nll.device)
    return dense.scatter_(0, positions, nll.double()).view(shape[0], shape[1])


def masked_token_nll(
    denoiser: Denoiser, x0: Tensor, masked: Tensor, level: NoiseLevel, *, context_lengths: Tensor | None = None
) -> Tensor:
    """Negative log-likelihood of every masked token, in nats; 0 at visible ones.

    Args:
        denoiser: the network.
        x0: clean tokens, (B, L) int64.
        masked: which positions the network does not see, (B, L) bool.
        level: noise level of each row, (B,).
        context_lengths: how many tokens of each row are context, (B,) int64 on the device of ``xt``, for networks that
            are told so (:class:`ContextDenoiser`; None tells them 0); others do not get it.

    Returns:
        (B, L) float64. NaN or infinite where the network is: callers check their sums with :func:`require_finite`.
    """
    positions = masked.flatten().nonzero().squeeze(-1)
    xt = x0.masked_fill(masked, denoiser.mask_token_id)
    states = states_of(denoiser, xt, level, positions, context_lengths=context_lengths)
    nll = packed_nll(denoiser, states, x0.flatten().index_select(0, positions))
    return unpack_nats(nll, positions, masked.shape)


def masked_nll(
    denoiser: Denoiser, x0: Tensor, masked: Tensor, level: NoiseLevel, *, context_lengths: Tensor | None = None
) -> Tensor:
    """C(x, M; t), the sum over masked positions of -log p(x_i | visible tokens; t), in nats, (B,) float64."""
    return masked_token_nll(denoiser, x0, masked, level, context_lengths=context_lengths).sum(dim=-1)


def own_block_size(model: object) -> int | None:
    """B of a denoiser that predicts a window block by block, each given the blocks before it; None of any other.

    The one answer to whether a network is one of blocks. It says so by ``block_size``, a whole number below its context
    length: with one block a window, or a number of that name that is the context length itself, it is an ordinary
    denoiser. A causal model has no blocks, whatever its attributes are called.
    """
    if not isinstance(model, Denoiser):
        return None
    given: Any = getattr(model, "block_size", None)
    try:
        size = 0 if isinstance(given, bool) else operator.index(given)
    except TypeError:
        return None
    return size if 0 < size < model.context_length else None


def num_blocks(length: int, block_size: int) -> int:
    """Blocks of a window, the last of which may be shorter."""
    return -(-length // block_size)


def block_states_of(
    denoiser: BlockDenoiser, xt: Tensor, x0: Tensor, level: NoiseLevel, positions: Tensor, *,
    watch: InputWatch | None = None,
) -> Tensor:  # fmt: skip
    """What a network of blocks says of some positions, all blocks in one call: (n, D) hidden states, or (n, W) logits.

    Args:
        denoiser: the network; it is handed copies.
        xt: partly masked windows, (B, L) int64.
        x0: the same windows clean, (B, L) int64.
        level: noise level of each block, row by row, (B * num_blocks(L, block_size),).
        positions: of the flattened batch, (n,) int64, ascending but for padding at the end.
        watch: looks later whether the network changed a copy; None looks at once.

    Raises:
        ContractError: if the answer is not what it should be, or an input was overwritten.
    """
    assert len(level) == xt.shape[0] * num_blocks(xt.shape[1], denoiser.block_size)
    return call_network(partial(network_block_states, denoiser), xt, x0, level, positions, watch=watch)


def network_block_states(
    denoiser: BlockDenoiser, xt: Tensor, x0: Tensor, level: NoiseLevel, positions: Tensor
) -> Tensor:
    """:func:`block_states_of` behind its door; its arguments are the network's to keep."""
    return block_states_function(denoiser)(xt, x0, level, positions)


def block_states_function(denoiser: BlockDenoiser) -> Callable[..., Tensor]:
    """What answers for :func:`network_block_states`; see :func:`states_function`."""
    if isinstance(denoiser, FactoredBlockDenoiser):
        return partial(_block_states, denoiser.block_hidden, "hidden states")
    return partial(_block_states, denoiser.block_logits, "logits")


def _block_states(
    trunk: Callable[..., Tensor], what: str, xt: Tensor, x0: Tensor, level: NoiseLevel, positions: Tensor
) -> Tensor:
    batch, length, device = xt.shape[0], xt.shape[1], xt.device
    states = trunk(xt, x0, level)
    require_plain(states, device)
    require_places(states, (batch, length), what)
    return states.flatten(0, 1).index_select(0, positions)


def block_token_nll(denoiser: BlockDenoiser, x0: Tensor, masked: Tensor, level: NoiseLevel) -> Tensor:
    """Negative log-likelihood of every masked token given its own block's visible ones and all earlier blocks, in nats.

    Args:
        denoiser: the network.
        x0: clean tokens, (B, L) int64.
        masked: which positions are masked in the noised copy, (B, L) bool.
        level: noise level of each block, row by row, (B * num_blocks(L, block_size),).

    Returns:
        (B, L) float64; 0 at visible ones. NaN or infinite where the network is, as of :func:`masked_token_nll`.
    """
    positions = masked.flatten().nonzero().squeeze(-1)
    states = block_states_of(denoiser, x0.masked_fill(masked, denoiser.mask_token_id), x0, level, positions)
    nll = packed_nll(denoiser, states, x0.flatten().index_select(0, positions), by_blocks=True)
    return unpack_nats(nll, positions, masked.shape)


def require_finite(nats: Tensor, what: str | Callable[[int], str]) -> Tensor:
    """Pass ``nats`` through unless a value is NaN or infinite.

    Args:
        nats: what a network gave, (N,).
        what: names them in a message, or names the offending row of them.

    Raises:
        NumericsError: naming the first offending row.
    """
    bad = (~torch.isfinite(nats)).nonzero()
    if len(bad):
        row = int(bad[0, 0])
        raise NumericsError(
            what if isinstance(what, str) else what(row),
            seen=f"{float(nats[row])} nats",
            expected="a finite number",
            hint="the network's logits hold NaN or infinity, or give a token of the text no mass at all",
        )
    return nats
