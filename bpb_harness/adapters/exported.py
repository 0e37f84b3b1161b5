"""``exported``: a network as a ``torch.export`` program, so that any architecture is scored without its code.

From a trainer, three lines::

    from bpb_harness.adapters.exported import export_model

    export_model(model, "model.pt2", schedule="loglinear[0.001]")

writes ``model.pt2`` and ``model.json`` beside it: vocabulary size, mask id, context length, conditioning, schedule.
``model`` is any :class:`~bpb_harness.denoiser.Denoiser` or :class:`~bpb_harness.denoiser.CausalLM` that torch can
trace.

A ``.pt2`` file can carry pickles and expressions; it is rewritten without them before it is loaded
(:mod:`bpb_harness.adapters._exported_check`). Where that is refused, --allow-code loads it as it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from bpb_harness.adapters._exported_check import harmless_archive
from bpb_harness.adapters._network import autocast
from bpb_harness.adapters._registry import AdaptedModel
from bpb_harness.checkpoint import Checkpoint
from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.errors import CheckpointError, UnsafeCheckpointError, UsageError
from bpb_harness.schedule import NoiseLevel, parse_schedule
from bpb_harness.whole_file import write_whole

FORMAT = "bpb-harness-exported"
_LARGEST_BATCH = 1 << 16


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
        UsageError: for another suffix or an unknown schedule.
        CheckpointError: if the network lacks what a denoiser or a causal model has, or torch cannot trace it with a
            variable batch and length.
    """
    path = Path(path)
    if path.suffix != ".pt2":
        raise UsageError("suffix of an exported program", seen=repr(path.suffix), expected=".pt2")
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
    denoiser = isinstance(model, Denoiser)
    description = {
        "format": FORMAT,
        "format_version": 1,
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
    text = json.dumps(description, indent=2) + "\n"
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
        ) from error
    return buffer.getvalue()


def _example_inputs(denoiser: bool, context_length: int) -> tuple[Tensor, ...]:
    """An example whose sizes differ from each other and from 0 and 1, which torch would take for constants."""
    x = torch.zeros(2, min(3, context_length), dtype=torch.int64)
    half = torch.full((2,), 0.5, dtype=torch.float64)
    return (x, half, half.clone(), -half) if denoiser else (x,)


@final
class _Exported:
    """A loaded program with the attributes that both kinds share."""

    def __init__(self, program: nn.Module, config: dict[str, Any], device: torch.device, dtype: torch.dtype) -> None:
        self.program, self.config, self._device, self._dtype = program, config, device, dtype

    @torch.no_grad()
    def run(self, *arguments: Tensor) -> Tensor:
        # A batch of one is what torch treats as a constant: it is fed twice.
        single = len(arguments[0]) == 1
        fed = tuple(torch.cat((value, value)) for value in arguments) if single else arguments
        with autocast(self._device, self._dtype):
            logits: Tensor = self.program(*fed)
        return logits[:1] if single else logits


@final
class ExportedDenoiser:
    """A denoiser whose network is a program."""

    def __init__(self, exported: _Exported) -> None:
        config, self._exported = exported.config, exported
        self.vocab_size: int = config["vocab_size"]
        self.mask_token_id: int = config["mask_token_id"]
        self.context_length: int = config["context_length"]
        self.time_conditioned: bool = config["time_conditioned"]

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        return self._exported.run(xt, level.t, level.alpha_t, level.dalpha_t)


@final
class ExportedCausalLM:
    """A causal model whose network is a program."""

    def __init__(self, exported: _Exported) -> None:
        config, self._exported = exported.config, exported
        self.vocab_size: int = config["vocab_size"]
        self.context_length: int = config["context_length"]

    def logits(self, x: Tensor) -> Tensor:
        return self._exported.run(x)


@final
class ExportedAdapter:
    """``.pt2`` files with their JSON."""

    name = "exported"

    def fits(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.layout == "exported"

    def load(self, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        config = _checked_config(checkpoint)
        example = _example_inputs(config["kind"] == "denoiser", config["context_length"])
        archive = harmless_archive(checkpoint.path, example)
        return _load(checkpoint, archive, device=device, dtype=dtype, notes=())

    def load_with_code(self, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        """Like ``load``; a file that is refused there is loaded as it is."""
        try:
            return self.load(checkpoint, device=device, dtype=dtype)
        except UnsafeCheckpointError:
            pass
        notes = ("the exported program was loaded unchecked, as permitted",)
        return _load(checkpoint, io.BytesIO(checkpoint.path.read_bytes()), device=device, dtype=dtype, notes=notes)


def _load(
    checkpoint: Checkpoint, archive: io.BytesIO, *, device: torch.device, dtype: torch.dtype, notes: tuple[str, ...]
) -> AdaptedModel:
    from torch.export.passes import move_to_device_pass  # slow, and needed here alone

    config = _checked_config(checkpoint)
    try:
        with warnings.catch_warnings(), _quiet_logger("torch.export"):
            warnings.simplefilter("ignore")
            program = torch.export.load(archive)
            program = move_to_device_pass(program, device)
            module = program.module()
    except Exception as error:  # a damaged graph fails anywhere in the library
        line = str(error).strip().splitlines()
        raise CheckpointError(
            f"{checkpoint.path.name}: torch.export cannot load it",
            seen=f"{type(error).__name__}: {line[0] if line else ''}",
            hint=f"written by torch {config.get('torch_version', 'of unknown version')}, this is {torch.__version__}",
        ) from error
    exported = _Exported(module, config, device, dtype)
    schedule = None if checkpoint.schedule is None else parse_schedule(checkpoint.schedule)
    if config["kind"] == "causal":
        return AdaptedModel(ExportedCausalLM(exported), "exported", None, notes)
    return AdaptedModel(ExportedDenoiser(exported), "exported", schedule, notes)


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


def _checked_config(checkpoint: Checkpoint) -> dict[str, Any]:
    config = dict(checkpoint.config)
    denoiser = config.get("kind") == "denoiser"
    wanted: dict[str, tuple[type, ...]] = {"vocab_size": (int,), "context_length": (int,), "kind": (str,)}
    if denoiser:
        wanted |= {"mask_token_id": (int,), "time_conditioned": (bool,)}
    for key, kinds in wanted.items():
        if type(config.get(key)) not in kinds:
            raise CheckpointError(
                f"{checkpoint.path.with_suffix('.json').name}: {key}",
                seen=repr(config.get(key)),
                expected=kinds[0].__name__,
            )
    if config["kind"] not in ("denoiser", "causal"):
        raise CheckpointError(f"{checkpoint.path.name}: kind", seen=repr(config["kind"]), expected="denoiser or causal")
    stated = config.get("sha256")
    if stated is not None and stated != checkpoint.digest:
        raise CheckpointError(
            f"{checkpoint.path.with_suffix('.json').name} describes another file",
            seen=f"sha256 {checkpoint.digest[:8]}",
            expected=str(stated)[:8],
            hint="export again",
        )
    return config
