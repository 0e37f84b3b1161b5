"""The way in, :func:`read_checkpoint`, and whose layout a file of ``torch.save`` has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from bpb_harness.checkpoints.compressed import UNPACKERS
from bpb_harness.checkpoints.names import split_tensors, without_wrappers
from bpb_harness.checkpoints.native import from_native
from bpb_harness.checkpoints.plain import plain_values
from bpb_harness.checkpoints.quantized import dequantize, dequantize_mixed, holds_mixed_levels
from bpb_harness.checkpoints.record import EMA_PREFIX, FORMAT, Checkpoint, digest_of, is_folder
from bpb_harness.checkpoints.safetensors_file import read_exported, read_safetensors
from bpb_harness.checkpoints.torch_pickle import TorchFile, is_torch_zip, read_bare_pickle, read_torch_zip
from bpb_harness.checkpoints.weight_sets import NO_WEIGHTS, find_weights, holds_weights
from bpb_harness.errors import CheckpointError, UnsafeCheckpointError

CHECKPOINT_FORMATS = "torch.save (.pt), safetensors, torch.export (.pt2), zlib, xz or zstd of it (.ptz) or a folder"
_LARGEST_BARE_PICKLE = 1 << 20
_ANY_NAME = re.compile(".*", re.DOTALL)

# What trainers pickle into Lightning checkpoints beside tensors: configuration, tokenizers, bookkeeping. These become
# inert records too; any other name means that the file wants something a checkpoint has no business with.
_INERT = re.compile(
    r"""omegaconf\.(\w+\.)*\w+ | (lightning|pytorch_lightning|lightning_fabric|lightning_utilities)\.(\w+\.)*[A-Z]\w+
    | transformers\.(\w+\.)*(tokenization|configuration)_\w+\.\w+ | transformers\.(\w+\.)*AddedToken
    | tokenizers\.(\w+\.)*[A-Z]\w+ | dataloader\.Text8Tokenizer
    | typing\.[A-Z]\w+ | collections\.(defaultdict|deque) | pathlib\.\w*Path | argparse\.Namespace
    | datetime\.(datetime|timedelta|date) | torch\.(optim|nn)\.(\w+\.)*[A-Z]\w+
    | numpy\.(_?core\.multiarray\.(scalar|_reconstruct)|dtype|ndarray)
    | (builtins|__builtin__)\.(int|long|float|str|unicode|bool|list|dict|tuple|bytes|complex|object|frozenset|type)
    """,
    re.VERBOSE,
)


def read_checkpoint(path: Path, weights: str | None = None) -> Checkpoint:
    """Read a checkpoint of any supported layout without running anything that it names.

    Args:
        path: file or folder.
        weights: the key of the set of weights to take, where a file holds several; with dots where it lies deeper.

    Raises:
        CheckpointError: no such file, an unknown layout, a damaged file, several sets of weights and no choice.
        UnsafeCheckpointError: a pickle with a global outside the allow-list, or sizes that contradict the file's.
    """
    path = Path(path)
    if is_folder(path):
        from bpb_harness.checkpoints.model_folder import read_folder

        require_no_choice(path, weights)
        return read_folder(path)
    try:
        digest = digest_of(path)
        if path.suffix in (".pt2", ".safetensors"):
            require_no_choice(path, weights)
            return (read_exported if path.suffix == ".pt2" else read_safetensors)(path, digest)
        with path.open("rb") as file:
            return read_torch_file(path, file, digest, weights)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}", seen=error.strerror or error) from None


def read_torch_file(path: Path, file: BinaryIO, digest: str, weights: str | None = None) -> Checkpoint:
    """Read what ``torch.save`` wrote, compressed or not.

    Args:
        path: its name.
        file: open at its start.
        digest: of the file.
        weights: the key of the set of weights to take, where there are several.

    Raises:
        CheckpointError: if it is no such file, or none of a known layout.
        UnsafeCheckpointError: a pickle with a global outside the allow-list, or sizes that contradict the file's.
    """
    head = file.read(16)
    file.seek(0)
    unpack = next((unpack for magic, unpack in UNPACKERS.items() if head.startswith(magic)), None)
    if unpack is not None or is_torch_zip(head):
        archive = file if unpack is None else unpack(file, path)
        return _from_content(path, read_torch_zip(archive, path), digest, weights)
    if head[:1] == b"\x80":
        # Only to say what it asks for: what torch.save wrote before 1.6 starts with a pickle of a magic number.
        foreign = read_bare_pickle(file.read(_LARGEST_BARE_PICKLE), path).foreign_globals
        if foreign:
            raise _refusal(path, foreign[0])
        raise CheckpointError(
            f"{path.name} is a bare pickle, or of torch.save before version 1.6",
            hint="load it with weights_only=True and save it again as a state dict",
        )
    raise CheckpointError(
        f"{path.name} is no checkpoint of a known format",
        seen=f"first bytes {head[:8]!r}" if head else "an empty file",
        expected=CHECKPOINT_FORMATS,
    )


def _from_content(path: Path, file: TorchFile, digest: str, weights: str | None) -> Checkpoint:
    content = file.content
    lightning = isinstance(content, dict) and "state_dict" in content and _has_lightning_marks(content)
    for name in file.foreign_globals:
        if not (lightning and _INERT.fullmatch(name)):
            raise _refusal(path, name)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name}", seen=type(content).__name__, expected="a dictionary of tensors")
    if content.get("format") == FORMAT:
        require_no_choice(path, weights)
        return from_native(path, content, digest)
    if "quantized" in content and "passthrough" in content:
        require_no_choice(path, weights)
        tensors, settings = dequantize(content, path)
        return Checkpoint(path, "golf-int8", digest, tensors, config=_settings(settings))
    if holds_mixed_levels(content):
        require_no_choice(path, weights)
        return Checkpoint(path, "golf-int6", digest, dequantize_mixed(content["w"], content["m"], path))
    if lightning and (weights in (None, "state_dict") or (weights == "ema" and _shadow_parameters(content, path))):
        return _from_lightning(path, content, digest, weights)
    found = find_weights(content, path, weights)
    config = _settings(found.rest)
    tensors = without_wrappers(found.tensors, path)
    layout = "lightning" if lightning else "tensors"
    return Checkpoint(
        path, layout, digest, tensors, config=config, weights=found.key, weights_chosen=weights is not None
    )


def _settings(beside: dict[Any, Any]) -> Any:
    """What stands beside the weights, for an adapter to account for; tensors of optimizers and the like left out."""
    return plain_values(beside, drop_objects=True, silent=NO_WEIGHTS)


def require_no_choice(path: Path, weights: str | None) -> None:
    """Refuse a choice among sets of weights where the layout has one.

    Raises:
        CheckpointError: if there was a choice.
    """
    if weights is not None:
        raise CheckpointError(f"{path.name} holds one set of weights", seen=f"--weights {weights}", hint="leave it out")


def _from_lightning(path: Path, content: dict[Any, Any], digest: str, weights: str | None) -> Checkpoint:
    """A Lightning checkpoint: its state dict, and the moving average that a list of tensors beside it may hold."""
    shadow = [] if weights == "state_dict" else _shadow_parameters(content, path)
    known = {"state_dict", "ema"} if weights == "state_dict" or shadow else {"state_dict"}
    others = [key for key, value in content.items() if key not in known and holds_weights(key, value)]
    if others and weights is None:
        raise CheckpointError(
            f"{path.name} holds tensors beside its state dict, and which ones the score is of is for you to say",
            seen=", ".join(map(str, others[:6])),
            hint=f"pass --weights state_dict, or --weights {others[0]} where those are a state dict",
        )
    tensors, rest = split_tensors(content["state_dict"], f"{path.name}: state_dict")
    nested = [str(name) for name, value in rest.items() if holds_weights(name, value)]
    if nested:
        raise CheckpointError(f"{path.name}: state_dict", seen=f"more than tensors under {nested[0]}")
    tensors = without_wrappers(tensors, path)
    tensors |= {f"{EMA_PREFIX}{i}": value for i, value in enumerate(shadow)}
    beside = {**rest, **{key: value for key, value in content.items() if key not in known}}
    config = _settings({key: value for key, value in beside.items() if key not in others})
    # Tensors that the user did not choose.
    config |= plain_values({key: beside[key] for key in others}, drop_objects=True, silent=_ANY_NAME)
    return Checkpoint(
        path, "lightning", digest, tensors, config=config, weights=weights or "", weights_chosen=weights is not None
    )


def _refusal(path: Path, name: str) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f"{path.name} asks for {name}, which is not on the list of what a checkpoint may name",
        hint="nothing was run; save the weights alone: torch.save(model.state_dict(), ...) or safetensors",
    )


def _has_lightning_marks(content: dict[Any, Any]) -> bool:
    return any(key in content for key in ("pytorch-lightning_version", "hyper_parameters", "loops"))


def _shadow_parameters(content: dict[Any, Any], path: Path) -> list[Tensor]:
    """The tensors of a moving average that is kept as a list, in order of parameters; none where there is no list."""
    ema = content.get("ema")
    shadow = ema.get("shadow_params") if isinstance(ema, dict) else None
    if not isinstance(shadow, list | tuple):
        return []
    for i, value in enumerate(shadow):
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path.name}: ema.shadow_params[{i}]", seen=type(value).__name__, expected="a tensor of the average"
            )
    return list(shadow)
