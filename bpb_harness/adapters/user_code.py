"""``--model FILE.py:LOADER --allow-code``: the user's own function builds the network.

This is the one place where code that is not this package's runs, and only with the user's permission. The function gets
the checkpoint's path and the device, and returns a :class:`~bpb_harness.denoiser.Denoiser` or
:class:`~bpb_harness.denoiser.CausalLM`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from inspect import isfunction
from pathlib import Path
from types import CodeType
from typing import Any, final

import torch
from torch import Tensor, nn

from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.checkpoints import Checkpoint, digest_of
from bpb_harness.checkpoints.record import unchanged
from bpb_harness.denoiser import own_block_size
from bpb_harness.errors import UsageError
from bpb_harness.network_object import required_block_size, takes
from bpb_harness.networks.layers import autocast
from bpb_harness.schedule import NoiseLevel, stated_schedule

MODULE_NAME = "bpb_user_model"  # of the file, among those that are imported
ADAPTER_NAME = "user-code"


def load_user_model(
    path: Path, loader: str, *, allow_code: bool, device: torch.device, dtype: torch.dtype
) -> tuple[Checkpoint, AdaptedModel]:
    """Build a network with the user's function.

    Args:
        path: the checkpoint's file or folder; only its digest is read here.
        loader: ``FILE.py:LOADER``.
        allow_code: whether the user said so.
        device: passed on to the function.
        dtype: bfloat16 runs ``logits`` under autocast.

    Raises:
        UsageError: without permission; no such file or function; the function fails or returns something else.
        CheckpointError: no such checkpoint; the file of the function is written to meanwhile.
    """
    if not allow_code:
        raise UsageError(
            f"--model {loader} runs code of yours",
            hint="read it, then pass --allow-code as well to permit it (allow_code=True as an argument)",
        )
    file_name, colon, function_name = loader.rpartition(":")
    if not colon or not function_name.isidentifier():
        raise UsageError("--model", seen=repr(loader), expected="FILE.py:LOADER, the name of a function in that file")
    file = Path(file_name)
    if not file.is_file():
        raise UsageError("--model", seen=f"no file {file}", expected="FILE.py:LOADER")
    checkpoint = Checkpoint(Path(path), "user-code", digest_of(Path(path)), {})
    with unchanged(file):  # or the digest would be of other code than ran
        function = _import_function(file, function_name)
        model = _guarded(lambda: function(Path(path), device), f"{file.name}:{function_name}", file)
        code_digest = hashlib.sha256(file.read_bytes()).hexdigest()
    adapted = _wrap(model, f"{file.name}:{function_name}", dtype)
    note = f"the network was built by {file.name}:{function_name} (sha256 {code_digest[:8]}), code that was permitted"
    # The score depends on the code as much as on the weights: the signature names both.
    name = f"{ADAPTER_NAME}@{code_digest[:8]}/{function_name}"
    return checkpoint, AdaptedModel(adapted, name, stated_schedule(model), (note,))


class _AsWritten(SourceFileLoader):
    """Runs the text of the file, of which the signature says the digest, and never bytecode kept of an earlier one."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002  # as the base class has it
        return self.source_to_code(self.get_data(self.path), self.path)


def _import_function(file: Path, function_name: str) -> Callable[[Path, torch.device], Any]:
    spec = importlib.util.spec_from_file_location(MODULE_NAME, file.resolve())
    if spec is None or spec.loader is None:
        raise UsageError("--model", seen=str(file), expected="a Python file, FILE.py")
    if isinstance(spec.loader, SourceFileLoader):
        spec.loader = _AsWritten(spec.name, str(file.resolve()))
    module = importlib.util.module_from_spec(spec)
    # Registered, because dataclasses look their own module up; its folder, because it may import its neighbours.
    sys.modules[spec.name] = module
    sys.path.insert(0, str(file.resolve().parent))
    execute = spec.loader.exec_module
    try:
        _guarded(lambda: execute(module), file.name, file)
    finally:
        sys.path.remove(str(file.resolve().parent))
    function = getattr(module, function_name, None)
    if not callable(function):
        own = [name for name, value in vars(module).items() if isfunction(value) and value.__module__ == spec.name]
        raise UsageError(
            f"{file.name} has no function",
            seen=function_name,
            expected=f"one of its own: {', '.join(own)}" if own else "LOADER(checkpoint_path, device)",
            hint=f"pass --model {file}:{own[-1]}" if len(own) == 1 else "docs/adapters.md has a worked example",
        )
    found: Callable[[Path, torch.device], Any] = function
    return found


def _guarded(call: Callable[[], Any], what: str, file: Path) -> Any:
    """Run the user's code; what it raises becomes one line that names the place in their file."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        own = str(file.resolve())
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
        if isinstance(error, SyntaxError):
            lines.append(error.lineno)
        place = f" at line {lines[-1]}" if lines else ""
        raise UsageError(f"{what} failed{place}", seen=f"{type(error).__name__}: {error}") from error


def _wrap(model: Any, what: str, dtype: torch.dtype) -> Any:
    missing = [name for name in ("logits", "vocab_size", "context_length") if not hasattr(model, name)]
    if missing or not callable(model.logits):
        raise UsageError(
            f"{what} returned {type(model).__name__}",
            seen=f"no {', '.join(missing) or 'method logits'}",
            expected="a Denoiser or CausalLM (docs/adapters.md has a worked example)",
        )
    _require_whole_numbers(model, what)
    if isinstance(model, nn.Module):
        model.eval()
    wrapped = _wrapped(model, what, dtype)
    if takes(model, "adapt", 1):
        wrapped.adapt = model.adapt
    return wrapped


def _require_whole_numbers(model: Any, what: str) -> None:
    """Refuse sizes, and the id of a mask, that are no whole numbers; 32.0 is one."""
    for name in ("vocab_size", "context_length", "mask_token_id"):
        value = getattr(model, name, 1)
        try:
            is_whole = not isinstance(value, bool) and int(value) == float(value) >= 0
        except (TypeError, ValueError, OverflowError):
            is_whole = False
        if not is_whole or (name != "mask_token_id" and int(value) == 0):
            raise UsageError(
                f"{what} returned {type(model).__name__}", seen=f"{name} {value!r}", expected="a whole number"
            )


def _wrapped(model: Any, what: str, dtype: torch.dtype) -> Any:
    if not hasattr(model, "mask_token_id"):
        return _UserCausalLM(model, dtype)
    if not hasattr(model, "time_conditioned"):
        raise UsageError(
            f"{what} returned {type(model).__name__}", seen="no time_conditioned", expected="True or False"
        )
    is_told, has_blocks = (callable(getattr(model, name, None)) for name in ("logits_given", "block_logits"))
    if has_blocks:
        required_block_size(model, f"{what} returned {type(model).__name__}")
        return (_UserContextBlockDenoiser if is_told else _UserBlockDenoiser)(model, dtype)
    return (_UserContextDenoiser if is_told else _UserDenoiser)(model, dtype)


class _UserDenoiser:
    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        self.vocab_size, self.context_length = int(model.vocab_size), int(model.context_length)
        self.mask_token_id, self.time_conditioned = int(model.mask_token_id), bool(model.time_conditioned)
        if (size := own_block_size(model)) is not None:
            self.block_size = size
        self._model, self._dtype = model, dtype

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        with autocast(xt.device, self._dtype):
            logits: Tensor = self._model.logits(xt, level)
            return logits


class _UserContextDenoiser(_UserDenoiser):
    def logits_given(self, xt: Tensor, level: NoiseLevel, context_lengths: Tensor) -> Tensor:
        with autocast(xt.device, self._dtype):
            logits: Tensor = self._model.logits_given(xt, level, context_lengths)
            return logits


class _UserBlockDenoiser(_UserDenoiser):
    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        super().__init__(model, dtype)
        self.block_size = int(model.block_size)

    def block_logits(self, xt: Tensor, x0: Tensor, level: NoiseLevel) -> Tensor:
        with autocast(xt.device, self._dtype):
            logits: Tensor = self._model.block_logits(xt, x0, level)
            return logits


@final
class _UserContextBlockDenoiser(_UserContextDenoiser, _UserBlockDenoiser):
    """Told of contexts, and of blocks in one call."""


@final
class _UserCausalLM:
    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        self.vocab_size, self.context_length = int(model.vocab_size), int(model.context_length)
        self._model, self._dtype = model, dtype

    def logits(self, x: Tensor) -> Tensor:
        with autocast(x.device, self._dtype):
            logits: Tensor = self._model.logits(x)
            return logits
