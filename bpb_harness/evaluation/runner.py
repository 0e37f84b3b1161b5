"""The device's side: prepared batches in, nats of each draw out.

One path serves every device. On a GPU the network takes its fused form, if it has one, or is compiled once, for any
number of rows; a batch that does not fit is halved; a network that cannot be compiled, or whose faster form disagrees
with its plain one, runs as it is.
"""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import final

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from bpb_harness.adapters.fused_forms import FusedForm, fused_form
from bpb_harness.denoiser import (
    BlockDenoiser,
    Denoiser,
    block_states_function,
    head_of,
    is_stateless,
    is_told_contexts,
    nll_of_states,
    states_function,
    unpack_nats,
)
from bpb_harness.errors import HarnessError
from bpb_harness.evaluation.batches import FittingBatches, PreparedBatch
from bpb_harness.evaluation.compiler import import_compiler
from bpb_harness.kernels.specialising import give_up_specialising
from bpb_harness.kernels.token_nll import nll_of_logits
from bpb_harness.network_call import InputWatch, call_network
from bpb_harness.networks.layers import autocast
from bpb_harness.result import Remark
from bpb_harness.schedule import NoiseLevel

# Predictions of one call of the head: its logits are held in float32, and a few times over where nothing is fused.
_BYTES_PER_LOGIT = 12
_HEAD_BYTES = {"cpu": 1 << 26, "cuda": 1 << 30}
# Packed positions are padded to a multiple of this: fewer shapes, and whole tiles of a matrix product.
_PACKING = 1024
_COMPARED_ROWS = 4
# A compiled network may differ by rounding, summed over thousands of tokens. More is a fault of the compiler.
_LARGEST_DIFFERENCE = {torch.float32: 1e-4, torch.bfloat16: 5e-3}
_SHARE_OF_FREE_MEMORY = 0.7
_STREAMS_OF_A_GPU = 2


@final
class MaskedNllRunner:
    """Runs a denoiser on prepared batches.

    Args:
        denoiser: the network, on ``device``.
        device: where it runs.
        dtype: its arithmetic, for the comparison of the compiled network with the plain one.
        compiled: take its fused form, or else compile it.

    Attributes:
        watch: of all calls so far. A network that overwrites what it is given overwrites copies: the scores are right
            all the same.
    """

    def __init__(
        self, denoiser: Denoiser, device: torch.device, *, dtype: torch.dtype = torch.float32, compiled: bool = False
    ) -> None:
        self._denoiser, self._device, self._dtype = denoiser, device, dtype
        self._ask_rows, self._head_of_rows = states_function(denoiser), head_of(denoiser)
        self._ask_blocks = block_states_function(denoiser) if isinstance(denoiser, BlockDenoiser) else None
        self._head_of_blocks = head_of(denoiser, by_blocks=True)
        # How it is asked as it is written, and the costs of what it says: by rows, and by blocks.
        self._plain: dict[bool, tuple[Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
            False: (self._states_by_rows, self._packed_by_rows), True: (self._states_by_blocks, self._packed_by_blocks)
        }  # fmt: skip
        self._states, self._packed = self._plain[False]
        self._fused: FusedForm | None = None
        self._is_compiled = False
        self._compiled_shape = (0, False)
        self._wants_compilation = compiled
        self._fitting = FittingBatches(device)
        self.watch = InputWatch()
        self._compiler_remarks: list[Remark] = []

    @property
    def remarks(self) -> list[Remark]:
        """What a reader of the score should know."""
        return self._compiler_remarks + self._fitting.remarks

    @property
    def num_streams(self) -> int:
        """How many batches may be in the network at once: several on a GPU alone; one from when memory was short."""
        several = self._device.type == "cuda" and is_stateless(self._denoiser) and not self._fitting.is_tight
        return _STREAMS_OF_A_GPU if several else 1

    def runs_alone(self, prepared: PreparedBatch) -> bool:
        """Whether a batch should be the only one in the network: one that a compiled network takes as it is written.

        Its matrix products are small and ragged, and cuBLAS promises the same bits only where one stream is active.
        """
        return self._is_compiled and not self._runs_compiled(prepared)

    def _runs_compiled(self, prepared: PreparedBatch) -> bool:
        return self._is_compiled and self._shape_of(prepared) == self._compiled_shape and len(prepared) > 1

    def row_nats(self, prepared: PreparedBatch) -> Tensor:
        """C(x, M; t) of each draw, (R,) float64 on the device."""
        return self.token_nats(prepared).sum(dim=-1)

    def token_nats(self, prepared: PreparedBatch) -> Tensor:
        """Negative log-likelihood of every masked token, 0 at visible ones, a row a draw, (R, N) float64."""
        with torch.inference_mode(), fastest_attention(self._device):
            parts = self._fitting.run(len(prepared), lambda rows: self._token_nll(prepared.part(rows.start, rows.stop)))
            return torch.cat(parts)

    def _token_nll(self, prepared: PreparedBatch) -> Tensor:
        """The same of a part that is tried in one go."""
        x0 = prepared.x0.to(self._device, non_blocking=True)
        positions = prepared.positions.to(self._device, non_blocking=True)
        targets = x0.flatten().index_select(0, positions)
        inputs = self._inputs(prepared, x0, positions)
        if self._runs_compiled(prepared):
            try:
                nll = self._compiled_nll(inputs, targets, by_blocks=prepared.block_size is not None)
                return prepared.by_draw(unpack_nats(nll, positions, x0.shape))
            except (HarnessError, torch.OutOfMemoryError):
                raise
            except Exception as error:  # compilers fail in many ways
                self._give_up_compiling(f"{type(error).__name__}: {_first_line(error)}")
                if self._is_compiled:
                    return self._token_nll(prepared)
        ask, pack = self._plain[prepared.block_size is not None]
        nll = self._in_chunks(pack, call_network(ask, *inputs, watch=self.watch), targets)
        return prepared.by_draw(unpack_nats(nll, positions, x0.shape))

    def _inputs(self, prepared: PreparedBatch, x0: Tensor, positions: Tensor) -> list[Tensor | NoiseLevel]:
        """What the network is handed, all of it on the device, in the order in which it takes it."""
        masked = prepared.masked.to(self._device, non_blocking=True)
        level = prepared.level.each(lambda part: part.to(self._device, non_blocking=True))
        # Not torch.where, which copies its number to the device and waits for all that runs there.
        xt = x0.masked_fill(masked, self._denoiser.mask_token_id)
        if prepared.block_size is not None:
            return [xt, x0, level, positions]
        if is_told_contexts(self._denoiser):
            return [xt, level, positions, prepared.context_lengths.to(self._device, non_blocking=True)]
        return [xt, level, positions]

    @staticmethod
    def _shape_of(prepared: PreparedBatch) -> tuple[int, bool]:
        """What a compiled network is compiled for: tokens of a row, and whether rows are taken block by block."""
        return prepared.x0.shape[1], prepared.block_size is not None

    def warm_up(self, prepared: PreparedBatch) -> None:
        """Compile on a first batch, and compare with the plain network on a few of its rows."""
        if not self._wants_compilation or len(prepared) < 2:
            return
        few = prepared.part(0, _COMPARED_ROWS)
        expected = float(self.row_nats(few).sum())
        begin = time.perf_counter()
        if self._fuse(self._shape_of(prepared)):
            self._compare(prepared, few, expected, begin)
        if not self._is_compiled:
            with _same_programs_everywhere():
                self._compile(self._shape_of(prepared))
                self._compare(prepared, few, expected, begin)
        if self.num_streams > 1:  # batches will not run on this stream, for which its memory is kept
            torch.cuda.empty_cache()

    def _compare(self, prepared: PreparedBatch, few: PreparedBatch, expected: float, begin: float) -> None:
        """Run a batch through the faster form, and leave that where it says something else than the plain network."""
        while self._is_compiled:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the compiler, about itself
                seen = float(self.row_nats(prepared)[: len(few.rows)].sum())
            if not self._is_compiled:
                break
            difference = abs(seen - expected) / max(abs(expected), 1e-300)
            if difference <= _LARGEST_DIFFERENCE.get(self._dtype, 1e-4):
                seconds = time.perf_counter() - begin
                differs = f"differs from the plain network by {difference:.1e}, relative"
                remark = Remark("compiled", f"compiled in {seconds:.1f} s; {differs}")
                if self._fused is not None:
                    remark = Remark("fused", f"kernels ready in {seconds:.1f} s; {differs}")
                self._compiler_remarks.append(remark)
                break
            self._give_up_compiling(f"it gave {seen:.6g} nats where the plain network gives {expected:.6g}")

    def rows_that_fit(self, prepared: PreparedBatch, most: int) -> int:
        """How many rows go into a batch, by the memory that a few of them take in the plain network."""
        if self._device.type != "cuda":
            return most
        few = prepared.part(0, 2)
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        self.row_nats(few)
        torch.cuda.synchronize(self._device)
        taken = max(torch.cuda.max_memory_allocated(self._device) - before, 1) / len(few)
        free, _ = torch.cuda.mem_get_info(self._device)
        free += torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return max(min(most, int(_SHARE_OF_FREE_MEMORY * free / taken / self.num_streams)), 1)

    def _fuse(self, shape: tuple[int, bool]) -> bool:
        """Take the network's fused form, if it has one for this shape."""
        length, by_blocks = shape
        if by_blocks:
            return False
        self._fused = fused_form(self._denoiser, device=self._device, dtype=self._dtype, length=length)
        self._compiled_shape, self._is_compiled = shape, self._fused is not None
        return self._is_compiled

    def _compile(self, shape: tuple[int, bool]) -> None:
        # Rows of a batch and packed positions are marked dynamic: one program for every batch.
        ask, pack = self._plain[shape[1]]
        self._states, self._packed = torch.compile(ask), torch.compile(pack)
        self._compiled_shape = shape
        self._is_compiled = True

    def _give_up_compiling(self, why: str) -> None:
        """Compile the network as it is written, without the adapters' faster forms; failing that, do not compile it."""
        if self._fused is not None:
            self._fused, self._is_compiled = None, False
            self._compiler_remarks.append(Remark("not-fused", f"the network's own kernels are not used: {why}"))
            return
        if give_up_specialising():
            self._compiler_remarks.append(
                Remark("not-specialised", f"compiled as it is written, which is slower: {why}")
            )
            torch._dynamo.reset()
            self._compile(self._compiled_shape)
            return
        self._is_compiled = False
        self._compiler_remarks.append(Remark("not-compiled", f"the network runs uncompiled, which is slower: {why}"))

    def _compiled_nll(self, inputs: Sequence[Tensor | NoiseLevel], targets: Tensor, *, by_blocks: bool) -> Tensor:
        """The compiled path: padded positions, and dimensions marked so that no batch needs a program of its own."""
        at = 3 if by_blocks else 2
        positions = inputs[at]
        assert isinstance(positions, Tensor)
        padding = -len(positions) % _PACKING
        padded, padded_targets = functional.pad(positions, (0, padding)), functional.pad(targets, (0, padding))
        ask: Callable[..., Tensor] = self._states_dynamic if self._fused is None else self._fused.hidden_at
        pack = self._packed_dynamic if self._fused is None else self._packed_by_kernel
        states = call_network(ask, *inputs[:at], padded, *inputs[at + 1 :], watch=self.watch)
        return self._in_chunks(pack, states, padded_targets)[: len(positions)]

    def _states_dynamic(self, *inputs: Tensor | NoiseLevel) -> Tensor:
        from torch._dynamo import maybe_mark_dynamic

        # The copies that the network is handed; a mark does not outlive a clone.
        for given in inputs:
            for tensor in (given,) if isinstance(given, Tensor) else given.parts:
                maybe_mark_dynamic(tensor, 0)
        with self._autocast():
            return self._states(*inputs)

    def _autocast(self) -> AbstractContextManager[object]:
        """Entered around what is compiled, for networks that would enter it inside: ``networks.layers.autocast``."""
        is_whole = getattr(self._denoiser, "autocasts", False) is True
        return autocast(self._device, self._dtype) if is_whole else nullcontext()

    def _packed_dynamic(self, states: Tensor, targets: Tensor) -> Tensor:
        from torch._dynamo import maybe_mark_dynamic

        for tensor in (states, targets):
            maybe_mark_dynamic(tensor, 0)
        with self._autocast():
            return self._packed(states, targets)

    def _packed_by_kernel(self, states: Tensor, targets: Tensor) -> Tensor:
        assert self._fused is not None
        logits, denoiser = self._fused.head(states), self._denoiser
        return nll_of_logits(logits, targets, denoiser.vocab_size, denoiser.mask_token_id)

    # Methods, not partial functions: what is compiled has code of its own.

    def _states_by_rows(self, xt: Tensor, level: NoiseLevel, positions: Tensor, *contexts: Tensor) -> Tensor:
        return self._ask_rows(xt, level, positions, *contexts)

    def _packed_by_rows(self, states: Tensor, targets: Tensor) -> Tensor:
        return nll_of_states(self._head_of_rows, self._denoiser, states, targets)

    def _states_by_blocks(self, xt: Tensor, x0: Tensor, level: NoiseLevel, positions: Tensor) -> Tensor:
        assert self._ask_blocks is not None
        return self._ask_blocks(xt, x0, level, positions)

    def _packed_by_blocks(self, states: Tensor, targets: Tensor) -> Tensor:
        return nll_of_states(self._head_of_blocks, self._denoiser, states, targets)

    def _in_chunks(self, packed: Callable[[Tensor, Tensor], Tensor], states: Tensor, targets: Tensor) -> Tensor:
        """The head on a bounded number of positions at a time, so that wide vocabularies fit."""
        most = _HEAD_BYTES[self._device.type] // (_BYTES_PER_LOGIT * self._denoiser.vocab_size)
        size = max(most // _PACKING, 1) * _PACKING
        chunks = [
            packed(states[start : start + size], targets[start : start + size])
            for start in range(0, len(targets), size)
        ]
        return chunks[0] if len(chunks) == 1 else torch.cat(chunks)


def _same_programs_everywhere() -> AbstractContextManager[object]:
    """Let the compiler choose no order of a sum by the clock: another process, or day, may choose another."""
    import_compiler()  # deferred: a second or two, and perhaps begun on a thread beside
    from torch._inductor import config

    return config.patch(deterministic=True) if hasattr(config, "deterministic") else nullcontext()


def fastest_attention(device: torch.device) -> AbstractContextManager[object]:
    """Prefer cuDNN's attention, which outruns torch's flash kernel on recent cards; others serve where it cannot."""
    if device.type != "cuda" or "set_priority" not in inspect.signature(sdpa_kernel).parameters:
        return nullcontext()
    order = (
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    )
    return sdpa_kernel(list(order), set_priority=True)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else "no message"
