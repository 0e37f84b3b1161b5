"""A network with the two ways to ask it; what it raises becomes a contract error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar, final

import torch
from torch import Tensor

from bpb_harness.contract.difference import Answer, Difference, Tolerance
from bpb_harness.contract.probe import Probe
from bpb_harness.contract.scale import ScaleWatch
from bpb_harness.denoiser import (
    BlockDenoiser,
    CausalLM,
    Denoiser,
    FactoredBlockDenoiser,
    block_states_of,
    causal_logits,
    clean_log_probs,
    denoiser_logits,
    packed_nll,
    splits,
    states_of,
)
from bpb_harness.errors import ContextLengthError, ContractError, HarnessError, NonFiniteLogitsError
from bpb_harness.network_call import call_network, require_logits

_LOGITS_AT_ONCE = 1 << 25
_SAMPLED_PLACES = 1024
_T = TypeVar("_T")


@final
class Subject:
    """A network under examination.

    Args:
        model: the network.
        dtype: what it computes in.
        device: where it runs.
    """

    def __init__(self, model: Denoiser | CausalLM, dtype: torch.dtype, device: torch.device) -> None:
        self.model, self.device = model, device
        self.tolerance = Tolerance.of(dtype, device)
        self.mask_token_id = model.mask_token_id if isinstance(model, Denoiser) else -1
        self._scale_is_open = True  # one answer tells

    def noised(self, probe: Probe) -> Tensor:
        """What a denoiser sees of a question."""
        return probe.x0.masked_fill(probe.counted, self.mask_token_id)

    @torch.no_grad()
    def ask(self, probe: Probe) -> Answer:
        """Ask for every position; prices where the probe counts, and all log-probabilities at some of those places.

        Raises:
            ContractError: for logits of another shape, too few of them, or any that is NaN or +inf.
        """
        return self._guarded(probe, lambda: self._answer(probe, self._all_logits(probe)))

    @torch.no_grad()
    def ask_whole(self, probe: Probe) -> Answer:
        """The same through ``logits``, where a network has another way as well: trunk and head, ``logits_given``.

        Of all blocks in one call, through ``block_logits``.
        """

        def ask() -> Answer:
            logits = self._whole_logits(probe)
            return self._answer(probe, _chunks(logits.flatten(0, 1), self.model.vocab_size))

        return self._guarded(probe, ask)

    def _whole_logits(self, probe: Probe) -> Tensor:
        model, xt = self.model, self.noised(probe)
        assert isinstance(model, Denoiser)
        assert probe.level is not None
        if probe.by_blocks:
            assert isinstance(model, BlockDenoiser)
            logits = call_network(model.block_logits, xt, _clean_half(probe), probe.level.flatten())
        else:
            logits = call_network(model.logits, xt, probe.level)
        require_logits(logits, tuple(probe.x0.shape), model.vocab_size)
        return logits

    @torch.no_grad()
    def price(self, probe: Probe, spread: float) -> Answer:
        """Prices alone, by the very calls that score: only masked positions are asked for.

        Args:
            probe: the question.
            spread: of the logits, from an answer to :meth:`ask`.
        """
        return Answer(probe.counted.nonzero(), self._guarded(probe, lambda: self._prices(probe)), spread)

    def require_same(
        self, first: Answer, second: Answer, failure: type[ContractError], what: str, expected: str
    ) -> Difference:
        """Refuse two answers that lie too far apart.

        Raises:
            ContractError: ``failure``.
        """
        difference = Difference.between(first, second)
        if difference.exceeds(self.tolerance):
            raise failure(what, seen=difference, expected=expected)
        return difference

    def differ(self, first: Answer, second: Answer) -> bool:
        """Whether two answers lie too far apart."""
        return Difference.between(first, second).exceeds(self.tolerance)

    def _guarded(self, probe: Probe, ask: Callable[[], _T]) -> _T:
        try:
            return ask()
        except (HarnessError, KeyboardInterrupt, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise ContextLengthError(
                f"the network fails on {len(probe)} windows of {probe.x0.shape[1]} tokens",
                seen=f"{type(error).__name__}: {error}",
                expected=f"logits, as for any length up to its context of {self.model.context_length}",
                hint=self._hint_for(error),
            ) from error

    def _hint_for(self, error: Exception) -> str | None:
        """What such an error mostly is, where it is not the length of the windows."""
        if isinstance(error, IndexError) and isinstance(self.model, Denoiser):
            mask = self.model.mask_token_id
            return f"has its embedding a row for the mask, id {mask}? that is a token of its input too"
        if "Inplace update to inference tensor" in str(error):  # of one in memory, which is called outside that mode
            return "it overwrites what it is given, whatever the length: let it work on a copy, x.clone()"
        if isinstance(error, TypeError):
            return "logits takes (xt, level) of a masked denoiser, (x) of a causal network"
        return None

    def _all_logits(self, probe: Probe) -> Iterator[Tensor]:
        """Logits of all positions, in chunks of a bounded size, by way of trunk and head where there are two."""
        model = self.model
        if not isinstance(model, Denoiser):
            return _chunks(causal_logits(model, probe.x0).flatten(0, 1), model.vocab_size)
        assert probe.level is not None
        everywhere = torch.arange(probe.x0.numel(), device=probe.x0.device)
        if probe.by_blocks:
            if not isinstance(model, FactoredBlockDenoiser):
                return _chunks(self._whole_logits(probe).flatten(0, 1), model.vocab_size)
            head = model.head
        elif not splits(model):
            xt = self.noised(probe)
            logits = denoiser_logits(model, xt, probe.level, context_lengths=probe.context_lengths)
            return _chunks(logits.flatten(0, 1), model.vocab_size)
        else:
            head = model.head
        states = self._states(model, probe, everywhere)
        return (_head(head, chunk, model.vocab_size) for chunk in _chunks(states, model.vocab_size))

    def _states(self, model: Denoiser, probe: Probe, positions: Tensor) -> Tensor:
        """What the network says of some positions, by the very calls that score."""
        assert probe.level is not None
        xt = self.noised(probe)
        if probe.by_blocks:
            assert isinstance(model, BlockDenoiser)
            return block_states_of(model, xt, _clean_half(probe), probe.level.flatten(), positions)
        return states_of(model, xt, probe.level, positions, context_lengths=probe.context_lengths)

    def _answer(self, probe: Probe, logits: Iterator[Tensor]) -> Answer:
        counted = probe.counted.flatten().nonzero().squeeze(-1)
        few = _spread_over(len(counted), counted.device)
        sampled, targets = counted[few], probe.targets.flatten()
        nats, mass, kept, spread, start = [], [], [], 0.0, 0
        rows, length = probe.x0.shape
        scale = ScaleWatch(self.model.vocab_size, (rows, length)) if self._scale_is_open else None
        for chunk in logits:
            stop = start + len(chunk)
            self._check_finite(chunk, start, probe.x0.shape[1])
            if scale is not None:
                scale.note(chunk, probe.counted.flatten()[start:stop], start)
            log_probs = clean_log_probs(chunk, vocab_size=self.model.vocab_size, mask_token_id=self.mask_token_id)
            nats.append(-log_probs.gather(-1, targets[start:stop].unsqueeze(-1)).squeeze(-1).double())
            if 0 <= self.mask_token_id < chunk.shape[-1]:
                mass.append(torch.softmax(chunk.float(), dim=-1)[:, self.mask_token_id])
            here = sampled[(sampled >= start) & (sampled < stop)] - start
            # Picked, and so memory of its own: a network may hand out the same buffer again.
            kept.append(log_probs[here])
            if len(here):
                spread = max(spread, float(kept[-1].masked_fill(torch.isinf(kept[-1]), 0.0).abs().amax()))
            start = stop
        if scale is not None:
            scale.check()
            self._scale_is_open = False
        return Answer(
            probe.counted.nonzero(), torch.cat(nats)[counted], spread, torch.cat(kept), few,
            torch.cat(mass)[counted] if mass else None,
        )  # fmt: skip

    def _prices(self, probe: Probe) -> Tensor:
        model, counted = self.model, probe.counted.flatten().nonzero().squeeze(-1)
        targets = probe.targets.flatten().index_select(0, counted)
        if isinstance(model, Denoiser):
            states, by_blocks = self._states(model, probe, counted), probe.by_blocks
            chunks = zip(_chunks(states, model.vocab_size), _chunks(targets, model.vocab_size), strict=True)
            return torch.cat([packed_nll(model, *chunk, by_blocks=by_blocks).double() for chunk in chunks])
        logits = causal_logits(model, probe.x0).flatten(0, 1).index_select(0, counted)
        nats = []
        for chunk, target in zip(_chunks(logits, model.vocab_size), _chunks(targets, model.vocab_size), strict=True):
            log_probs = clean_log_probs(chunk, vocab_size=model.vocab_size, mask_token_id=-1)
            nats.append(-log_probs.gather(-1, target.unsqueeze(-1)).squeeze(-1).double())
        return torch.cat(nats)

    def _check_finite(self, logits: Tensor, start: int, length: int) -> None:
        clean = logits[:, : self.model.vocab_size]
        bad = torch.isnan(clean) | torch.isposinf(clean)
        if bool(bad.any()):
            place, column = bad.nonzero()[0].tolist()
            row, position = divmod(start + place, length)
            raise NonFiniteLogitsError(
                f"logits at row {row}, position {position}, column {column}",
                seen=f"{float(clean[place, column])} ({int(bad.sum())} of {bad.numel()} such)",
                expected="finite numbers",
                hint="look for NaN among the weights, and at the adapter",
            )


def _head(head: Callable[[Tensor], Tensor], states: Tensor, vocab_size: int) -> Tensor:
    # Copies here too, which scoring spares: a head that changes its states is told so.
    logits = call_network(head, states)
    require_logits(logits, (len(states),), vocab_size)
    return logits


def _clean_half(probe: Probe) -> Tensor:
    return probe.x0 if probe.clean is None else probe.clean


def _chunks(values: Tensor, vocab_size: int) -> Iterator[Tensor]:
    """Along the first dimension, so many that their logits stay small."""
    return iter(torch.split(values, max(_LOGITS_AT_ONCE // vocab_size, 1)))


def _spread_over(count: int, device: torch.device) -> Tensor:
    """Some of ``count`` places, the first and the last among them."""
    if count <= _SAMPLED_PLACES:
        return torch.arange(count, device=device)
    return torch.linspace(0, count - 1, _SAMPLED_PLACES, dtype=torch.float64, device=device).round().to(torch.int64)
