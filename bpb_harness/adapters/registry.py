"""The registry of adapters and the choice among them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import torch

from bpb_harness.adapters.accounting.account import AccountedAdapter
from bpb_harness.adapters.adapter import AdaptedModel, Adapter, CodeAdapter
from bpb_harness.adapters.user_code import load_user_model
from bpb_harness.checkpoints import Checkpoint, read_checkpoint, read_json
from bpb_harness.checkpoints.names import require_distinct, shorter_names
from bpb_harness.checkpoints.record import unchanged
from bpb_harness.errors import CheckpointError, HarnessError, UsageError

ENTRY_POINT_GROUP = "bpb_harness.adapters"

# name -> module and class under this package
_BUILT_IN: Mapping[str, str] = {
    "reference": "reference:ReferenceAdapter",
    "golf-mdlm": "golf_mdlm:GolfMdlmAdapter",
    "golf-gpt": "golf_gpt:GolfGptAdapter",
    "golf-prefix": "golf_prefix:GolfPrefixAdapter",
    "golf-ddit": "golf_ddit:GolfDditAdapter",
    "mdlm": "mdlm:MdlmAdapter",
    "bd3lm": "bd3lm:Bd3lmAdapter",
    "huggingface": "huggingface:HuggingFaceAdapter",
    "exported": "exported:ExportedAdapter",
}


@cache
def _built_in(name: str) -> Adapter:
    module, _, kind = _BUILT_IN[name].partition(":")
    adapter: Adapter = getattr(import_module(f"bpb_harness.adapters.{module}"), kind)()
    return adapter


@cache
def available_adapters() -> dict[str, Adapter]:
    """Every adapter by name: those of this package, then those of entry points ``bpb_harness.adapters``.

    Raises:
        UsageError: if an entry point cannot be imported, is no adapter, or takes a name that is taken.
    """
    adapters = {name: _built_in(name) for name in _BUILT_IN}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        source = f"the adapter {point.name!r} of {point.dist.name if point.dist else point.value}"
        if point.name in adapters:
            raise UsageError(f"{source} takes a name that is taken", hint="uninstall one of the two packages")
        try:
            found = point.load()
            adapter = found() if isinstance(found, type) else found
        except Exception as error:  # a third party's import may fail in any way
            raise UsageError(f"{source} cannot be imported", seen=f"{type(error).__name__}: {error}") from error
        if not isinstance(adapter, Adapter):
            raise UsageError(source, seen=type(adapter).__name__, expected="an object with name, fits and load")
        adapters[point.name] = adapter
    return adapters


def fitting_adapters(checkpoint: Checkpoint) -> list[str]:
    """Names of the adapters whose layout the checkpoint has."""
    return [name for name, adapter in available_adapters().items() if reading_for(adapter, checkpoint) is not None]


def reading_for(adapter: Adapter, checkpoint: Checkpoint) -> Checkpoint | None:
    """The checkpoint with its tensors under the names that the adapter knows; None where it does not fit.

    The names as they are come first; only then names without the words of wrappers (``model.``, ``net.``, ``module.``).

    Raises:
        CheckpointError: if two tensors would go by one name.
    """
    if adapter.fits(checkpoint):
        return checkpoint
    for pairs in shorter_names(checkpoint.tensors):
        tensors = {short: checkpoint.tensors[name] for short, name in pairs}
        reading = replace(checkpoint, tensors=tensors)
        if adapter.fits(reading):
            require_distinct(pairs, checkpoint.path)
            return reading
    return None


def choose_adapter(checkpoint: Checkpoint, name: str | None) -> Adapter:
    """The adapter to load a checkpoint with: the one asked for, else the one that the checkpoint names.

    Raises:
        UsageError: for an unknown name.
        CheckpointError: if neither names one, or the tensors do not fit it; the message lists those that fit.
    """
    return choose_reading(checkpoint, name)[0]


def choose_reading(checkpoint: Checkpoint, name: str | None) -> tuple[Adapter, Checkpoint]:
    """The adapter as :func:`choose_adapter` gives it, and the checkpoint under the names that it knows."""
    wanted = name or checkpoint.adapter
    # Of this package's, only the one that is asked for is imported.
    adapter = _built_in(wanted) if wanted in _BUILT_IN else available_adapters().get(wanted) if wanted else None
    if adapter is not None and (reading := reading_for(adapter, checkpoint)) is not None:
        return adapter, reading
    fitting = fitting_adapters(checkpoint)
    hint = _fitting_hint(checkpoint, fitting) if fitting else _no_fit_hint(checkpoint)
    if wanted is None:
        raise CheckpointError(f"{checkpoint.path.name} does not name its adapter", hint=hint)
    if adapter is None:
        kind = UsageError if name else CheckpointError
        raise kind("adapter", seen=repr(wanted), expected=f"one of {', '.join(available_adapters())}", hint=hint)
    raise CheckpointError(f"{checkpoint.path.name} does not fit the adapter {wanted!r}", hint=hint)


def _fitting_hint(checkpoint: Checkpoint, fitting: list[str]) -> str:
    """The adapters that take the checkpoint whole; where none does, why the first refuses it."""
    refusals = {name: _refusal_of(available_adapters()[name], checkpoint) for name in fitting}
    whole = [name for name, refusal in refusals.items() if refusal is None]
    if whole:
        return f"those that fit: {', '.join(whole)}; pass --adapter NAME"
    return f"{fitting[0]} comes closest and refuses it: {refusals[fitting[0]]}"


def _refusal_of(adapter: Adapter, checkpoint: Checkpoint) -> str | None:
    """Why an adapter that accounts for every tensor refuses a checkpoint; None if it does not, or cannot be asked."""
    reading = reading_for(adapter, checkpoint)
    if reading is None or not isinstance(adapter, AccountedAdapter):
        return None
    try:
        adapter.load(reading, device=torch.device("cpu"), dtype=torch.float32)
    except HarnessError as error:
        return str(error)
    return None


def _no_fit_hint(checkpoint: Checkpoint) -> str:
    if checkpoint.layout == "tensors" and _is_of_a_model_folder(checkpoint.path):
        return f"it is of a model folder, whose config.json says what it is: pass {checkpoint.path.parent}"
    keys = ", ".join(list(checkpoint.tensors)[:6])
    raw = [name for name, value in checkpoint.tensors.items() if value.itemsize == 1 and value.dtype != torch.bool]
    if raw:
        keys += f"; among them quantised weights, whose scales only their own code knows to apply: {', '.join(raw[:2])}"
    return (
        f"no adapter fits its layout {checkpoint.layout!r} (first tensors: {keys or 'none'}); "
        "export it (docs/adapters.md, exported) or pass --model FILE.py:LOADER --allow-code"
    )


def _is_of_a_model_folder(path: Path) -> bool:
    try:
        return isinstance(read_json(path.parent / "config.json").get("model_type"), str)
    except (HarnessError, OSError):
        return False


def load_model(
    path: Path | str,
    *,
    adapter: str | None = None,
    model_loader: str | None = None,
    allow_code: bool = False,
    weights: str | None = None,
    block_size: int | None = None,
    stated: Sequence[str] = (),
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Checkpoint, AdaptedModel]:
    """Read a checkpoint and build its network.

    Args:
        path: file or folder.
        adapter: name of an adapter; needed where the checkpoint names none.
        model_loader: ``FILE.py:LOADER``, the user's own function ``LOADER(checkpoint_path, device)``.
        allow_code: the user's permission to run code that is not this package's.
        weights: key of the set of weights to take, where the file holds several, such as ``model`` or ``ema``.
        block_size: tokens of a block, where the network is to be asked block by block and the file does not state it.
        stated: settings that the file does not hold, ``NAME=VALUE`` each.
        device: where the network runs.
        dtype: float32 or bfloat16.

    Returns:
        (checkpoint, adapted): the checkpoint as it was read; and what is known of its network, which is
        ``adapted.model``.

    Raises:
        UsageError: flags that do not go together, an unknown adapter, code without permission.
        CheckpointError: the checkpoint cannot be read or does not fit, or is written to meanwhile.
    """
    path, device = Path(path), torch.device(device)
    with unchanged(path):
        if model_loader is not None:
            for flag, given in (("--adapter", adapter), ("--weights", weights), ("--golf-setting", stated or None)):
                if given is not None:
                    raise UsageError(f"--model and {flag} exclude each other")
            return load_user_model(path, model_loader, allow_code=allow_code, device=device, dtype=dtype)
        checkpoint = read_checkpoint(path, weights)
        if stated:
            checkpoint = replace(checkpoint, stated=_by_name(stated))
        chosen, checkpoint = choose_reading(checkpoint, adapter)
        if stated and not (isinstance(chosen, AccountedAdapter) and chosen.takes_stated(checkpoint)):
            raise UsageError(
                "--golf-preset and --golf-setting", seen=f"{checkpoint.path.name} for the adapter {chosen.name!r}",
                expected="a file for the adapter 'golf-gpt' or 'golf-ddit'", hint="leave them out",
            )  # fmt: skip
        if allow_code and isinstance(chosen, CodeAdapter):
            adapted = chosen.load_with_code(checkpoint, device=device, dtype=dtype)
        else:
            adapted = chosen.load(checkpoint, device=device, dtype=dtype)
        if adapted.of_blocks is not None:
            adapted = replace(adapted, model=adapted.of_blocks(block_size), of_blocks=None)
        adapted = replace(adapted, notes=(*checkpoint.notes, *adapted.notes))
        return checkpoint, _naming_its_weights(adapted, checkpoint) if checkpoint.weights else adapted


def _by_name(stated: Sequence[str]) -> dict[str, str]:
    """Settings of ``NAME=VALUE``."""
    found: dict[str, str] = {}
    for text in stated:
        name, equals, value = text.partition("=")
        name = name.strip().lower()
        if not equals or not name or name in found:
            raise UsageError("--golf-setting", seen=repr(text), expected="NAME=VALUE, each name once")
        found[name] = value.strip()
    return found


def _naming_its_weights(adapted: AdaptedModel, checkpoint: Checkpoint) -> AdaptedModel:
    """Say which weights a score is of, where the file's key says that they are an average, or the user chose."""
    key = checkpoint.weights
    if checkpoint.weights_chosen:
        # The signature must tell the sets of one file apart: the file's digest does not.
        note = f"weights: those under {key!r}, as chosen by --weights"
        plain_key = re.sub(r"[^\w.-]", "_", key)
        return replace(adapted, adapter=f"{adapted.adapter}/{plain_key}", notes=(*adapted.notes, note))
    if re.search("ema|average", key, re.IGNORECASE):
        return replace(adapted, notes=(*adapted.notes, f"weights: those under {key!r}, the only ones in the file"))
    return adapted
