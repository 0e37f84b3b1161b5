"""``exported``: a network as a ``torch.export`` program, so that any architecture is scored without its code.

From a trainer, three lines::

    from bpb_harness.adapters.exported import export_model

    export_model(model, "model.pt2", schedule="loglinear[0.001]")

writes ``model.pt2`` and ``model.json`` beside it: vocabulary size, mask id, context length, conditioning, schedule.
``model`` is any :class:`~bpb_harness.denoiser.Denoiser` or :class:`~bpb_harness.denoiser.CausalLM` that torch can
trace.

A ``.pt2`` file can carry pickles, expressions and operators that open files. It is not loaded by torch: its graph is
read as data, operator by operator of a closed list, and built anew (:mod:`bpb_harness.adapters.exported.check`). Where
that is refused, --allow-code loads it as it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.adapters.exported.archive import read_archive, require_known_layout
from bpb_harness.adapters.exported.check import ExportedProgram, check_program
from bpb_harness.adapters.exported.description import (
    Description,
    describe,
    read_description,
    require_no_other_json,
)
from bpb_harness.adapters.exported.memory import bytes_beyond, memory_of
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.denoiser import CausalLM, Denoiser, own_block_size
from bpb_harness.errors import (
    CheckpointError,
    ContextLengthError,
    HarnessError,
    StatefulError,
    UnsafeCheckpointError,
    UsageError,
)
from bpb_harness.networks.layers import autocast
from bpb_harness.schedule import NoiseLevel, parse_schedule
from bpb_harness.whole_file import write_whole

_LARGEST_BATCH = 1 << 16
_FROM_LENGTH_ONE = (
    "every length from 1 token on must work: where the network leaves the last token out, x[:, :-1], let it pad first, "
    "functional.pad(x, (1, 0))[:, :-1]"
)


class _DenoiserProgram(nn.Module):
    """What is traced: the noise level comes as its three tensors."""

    def __init__(self, model: Denoiser) -> None:
        super().__init__()
        self.model = model

    def forward(self, xt: Tensor, t: Tensor, alpha_t: Tensor, dalpha_t: Tensor) -> Tensor:
        return self.model.logits(xt, NoiseLevel(t, alpha_t, dalpha_t))


class _CausalProgram(nn.Module):
    def __init__(self, model: CausalLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.logits(x)


def export_model(model: Denoiser | CausalLM, path: str | Path, *, schedule: str | None = None) -> None:
    """Write a network as ``PATH.pt2`` and ``PATH.json``, each complete or not at all.

    Args:
        model: the network, in float32; an ``nn.Module`` is put into evaluation mode for the export and put back.
        path: ends in ``.pt2``.
        schedule: name of the noise schedule, such as "loglinear[0.001]"; None for autoregressive models.

    Raises:
        UsageError: for another suffix, an unknown schedule, or a ``PATH.json`` that no export has written.
        CheckpointError: if the network lacks what a denoiser or a causal model has, or has more (contexts, blocks), or
            torch cannot trace it with a variable batch and length, or this torch writes a layout that is not read.
    """
    path = Path(path)
    if path.suffix != ".pt2":
        raise UsageError("suffix of an exported program", seen=repr(path.suffix), expected=".pt2")
    require_no_other_json(path.with_suffix(".json"))
    if schedule is not None:
        parse_schedule(schedule)
    _require_protocol(model, denoiser=schedule is not None)
    training = isinstance(model, nn.Module) and model.training
    if isinstance(model, nn.Module):
        model.eval()
    try:
        packed = _export(model)
    finally:
        if isinstance(model, nn.Module):
            model.train(training)
    require_known_layout(packed)
    denoiser = isinstance(model, Denoiser)
    values = {
        "kind": "denoiser" if denoiser else "causal",
        "vocab_size": model.vocab_size,
        "mask_token_id": model.mask_token_id if isinstance(model, Denoiser) else None,
        "context_length": model.context_length,
        "time_conditioned": model.time_conditioned if isinstance(model, Denoiser) else None,
        "schedule": schedule,
        "sha256": hashlib.sha256(packed).hexdigest(),
        "torch_version": torch.__version__,
    }
    write_whole(path, lambda file: file.write(packed))
    text = json.dumps(describe(values), indent=2) + "\n"
    write_whole(path.with_suffix(".json"), lambda file: file.write(text.encode()))


_CAUSAL_NAMES = ("vocab_size", "context_length", "logits")
_DENOISER_NAMES = ("vocab_size", "mask_token_id", "context_length", "time_conditioned", "logits")


def _require_protocol(model: object, *, denoiser: bool) -> None:
    """Refuse a network without the attributes of its kind; a schedule, or a mask, says that it is a denoiser."""
    is_causal = all(hasattr(model, name) for name in _CAUSAL_NAMES) and not hasattr(model, "mask_token_id")
    needed = _CAUSAL_NAMES if is_causal and not denoiser else _DENOISER_NAMES
    missing = [name for name in needed if not hasattr(model, name)]
    if missing or not callable(getattr(model, "logits", None)):
        raise CheckpointError(
            f"{type(model).__name__} is no denoiser",
            seen=f"no {', '.join(missing) or 'method logits'}",
            expected=f"{', '.join(_DENOISER_NAMES[:-1])} and the method logits(xt, level); for an autoregressive model "
            "vocab_size, context_length and logits(x), and no schedule",
            hint="wrap the network in an nn.Module that has them (docs/adapters.md, exported)",
        )
    size = own_block_size(model)
    if size is not None or callable(getattr(model, "logits_given", None)):
        raise CheckpointError(
            f"{type(model).__name__} reads contexts or blocks, which an exported program does not",
            seen=f"blocks of {size} tokens" if size is not None else "the method logits_given",
            expected="a denoiser that has logits alone, and one block",
            hint="score it through a loader of your own (--model FILE.py:LOADER --allow-code)",
        )


def _export(model: Denoiser | CausalLM) -> bytes:
    batch = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    length = torch.export.Dim("length", min=1, max=model.context_length)
    device = (
        next((p.device for p in model.parameters()), torch.device("cpu")) if isinstance(model, nn.Module) else "cpu"
    )
    denoiser = isinstance(model, Denoiser)
    arguments = tuple(value.to(device) for value in _example_inputs(denoiser, model.context_length))
    program = _DenoiserProgram(model) if isinstance(model, Denoiser) else _CausalProgram(model)
    shapes = ({0: batch, 1: length}, *[{0: batch}] * 3) if denoiser else ({0: batch, 1: length},)
    buffer = io.BytesIO()
    from torch.export.passes import move_to_device_pass  # slow, and needed here alone

    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = torch.export.export(program, arguments, dynamic_shapes=shapes, strict=False)
            # Devices are written into a program; on the CPU it loads everywhere.
            traced = move_to_device_pass(traced, "cpu")
            torch.export.save(traced, buffer)
    except Exception as error:  # tracing fails in as many ways as there are networks
        line = str(error).strip().splitlines()
        raise CheckpointError(
            f"torch.export cannot trace {type(model).__name__}",
            seen=f"{type(error).__name__}: {line[0] if line else ''}",
            hint=_FROM_LENGTH_ONE if "Constraints violated (length" in str(error) else None,
        ) from error
    return buffer.getvalue()


def _example_inputs(denoiser: bool, context_length: int) -> tuple[Tensor, ...]:
    """An example whose sizes differ from each other and from 0 and 1, which torch would take for constants."""
    x = torch.zeros(2, min(3, context_length), dtype=torch.int64)
    half = torch.full((2,), 0.5, dtype=torch.float64)
    return (x, half, half.clone(), -half) if denoiser else (x,)


@final
class CheckedProgram:
    """A program that was built from its graph, with what is looked at in every call."""

    def __init__(self, name: str, program: ExportedProgram, device: torch.device) -> None:
        self._name, self._rules, self._module, self._device = name, program.rules, program.module, device
        self._weights = list(program.module.buffers())
        self._versions = [weight._version for weight in self._weights]
        self._fitting: set[tuple[int, ...]] = set()

    def __call__(self, *inputs: Tensor) -> Tensor:
        # Of their own memory: a view of a longer text would let a program look beyond its window.
        fed = [value.to(dtype, copy=True) for value, dtype in zip(inputs, self._rules.dtypes, strict=True)]
        if not torch.compiler.is_compiling():
            self._check_sizes(fed)
        logits = self._module(*fed)
        if not torch.compiler.is_compiling() and self._versions != [weight._version for weight in self._weights]:
            raise StatefulError(f"{self._name} changes its own weights", hint="export it in evaluation mode")
        if not isinstance(logits, Tensor):
            raise TypeError(f"{self._name} gives {type(logits).__name__}, not a tensor")
        return logits

    def _check_sizes(self, inputs: Sequence[Tensor]) -> None:
        """Refuse windows that the program was not made for, and tensors that no memory holds, before it runs."""
        shape = tuple(inputs[0].shape)
        if shape in self._fitting:
            return
        if (wanted := self._rules.why_not(inputs)) is not None:
            raise ContextLengthError(
                f"{self._name} was not made for {shape[0]} windows of {shape[1]} tokens",
                expected=wanted,
                hint="export it with a variable batch and length, as bpb_harness.adapters.exported.export_model does",
            )
        self.require_memory(inputs)
        self._fitting.add(shape)

    def require_memory(self, inputs: Sequence[Tensor]) -> None:
        """Refuse what needs more memory for such inputs than there is.

        Raises:
            UnsafeCheckpointError: with the bytes that it needs.
        """
        shape, most = inputs[0].shape, memory_of(self._device)
        if (needed := bytes_beyond(self._module, inputs, most)) is not None:
            raise UnsafeCheckpointError(
                f"{self._name} asks for more memory than there is, for {shape[0]} windows of {shape[1]} tokens",
                seen=f"{needed:,} bytes",
                expected=f"at most {most:,}",
                hint="pass a shorter --context, or export it again",
            )


@final
class _Exported:
    """A loaded program with the attributes that both kinds share."""

    def __init__(
        self, program: Callable[..., Tensor], description: Description, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.program, self.description, self._device, self._dtype = program, description, device, dtype

    @torch.no_grad()
    def run(self, *arguments: Tensor) -> Tensor:
        # A batch of one is what torch treats as a constant: it is fed twice.
        single = len(arguments[0]) == 1
        fed = tuple(torch.cat((value, value)) for value in arguments) if single else arguments
        try:
            with autocast(self._device, self._dtype):
                logits = self.program(*fed)
        except (HarnessError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # an operator fails in as many ways as there are operators
            shape = tuple(arguments[0].shape)
            raise ContextLengthError(
                f"the network fails on {shape[0]} windows of {shape[1]} tokens",
                seen=f"{type(error).__name__}: {error}",
                expected=f"logits, as for any length up to its context of {self.description.context_length}",
            ) from error
        return logits[:1] if single else logits


@final
class ExportedDenoiser:
    """A denoiser whose network is a program."""

    def __init__(self, exported: _Exported) -> None:
        description, self._exported = exported.description, exported
        self.vocab_size = description.vocab_size
        self.mask_token_id = description.mask_token_id
        self.context_length = description.context_length
        self.time_conditioned = description.time_conditioned

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        return self._exported.run(xt, *level.parts)


@final
class ExportedCausalLM:
    """A causal model whose network is a program."""

    def __init__(self, exported: _Exported) -> None:
        description, self._exported = exported.description, exported
        self.vocab_size = description.vocab_size
        self.context_length = description.context_length

    def logits(self, x: Tensor) -> Tensor:
        return self._exported.run(x)


@final
class ExportedAdapter:
    """``.pt2`` files with their JSON."""

    name = "exported"

    def fits(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.layout == "exported"

    def load(self, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        description = read_description(checkpoint)
        example = _example_inputs(description.is_denoiser, description.context_length)
        checked = check_program(read_archive(checkpoint.path), num_inputs=len(example), device=device)
        program = CheckedProgram(checkpoint.path.name, checked, device)
        program.require_memory(example)
        return _adapted(checkpoint, _Exported(program, description, device, dtype), notes=())

    def load_with_code(self, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        """Like ``load``; a file that is refused there is loaded as it is."""
        try:
            return self.load(checkpoint, device=device, dtype=dtype)
        except UnsafeCheckpointError:
            pass
        description = read_description(checkpoint)
        program = _load_unchecked(checkpoint, description, device)
        notes = ("the exported program was loaded unchecked, as permitted",)
        return _adapted(checkpoint, _Exported(program, description, device, dtype), notes=notes)


def _adapted(checkpoint: Checkpoint, exported: _Exported, *, notes: tuple[str, ...]) -> AdaptedModel:
    if not exported.description.is_denoiser:
        return AdaptedModel(ExportedCausalLM(exported), "exported", None, notes)
    schedule = None if checkpoint.schedule is None else parse_schedule(checkpoint.schedule)
    return AdaptedModel(ExportedDenoiser(exported), "exported", schedule, notes)


def _load_unchecked(checkpoint: Checkpoint, description: Description, device: torch.device) -> nn.Module:
    from torch.export.passes import move_to_device_pass  # slow, and needed here alone

    try:
        with warnings.catch_warnings(), _quiet_logger("torch.export"):
            warnings.simplefilter("ignore")
            program = torch.export.load(io.BytesIO(checkpoint.path.read_bytes()))
            return move_to_device_pass(program, device).module()
    except Exception as error:  # a damaged graph fails anywhere in the library
        line = str(error).strip().splitlines()
        raise CheckpointError(
            f"{checkpoint.path.name}: torch.export cannot load it",
            seen=f"{type(error).__name__}: {line[0] if line else ''}",
            hint=f"written by torch {description.torch_version}, this is {torch.__version__}",
        ) from error


@contextmanager
def _quiet_logger(name: str) -> Iterator[None]:
    """torch logs a traceback before it raises; the error that follows says it in one line."""
    logger = logging.getLogger(name)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
