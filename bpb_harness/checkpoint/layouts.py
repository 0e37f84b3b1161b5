"""Layouts of ``torch.save``: native, the contest's int8 files, Lightning, state dicts bare or wrapped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from bpb_harness.checkpoint.compressed import XZ_MAGIC, inflate, unpack_xz
from bpb_harness.checkpoint.names import tensors_of
from bpb_harness.checkpoint.native import from_native
from bpb_harness.checkpoint.plain import plain_values
from bpb_harness.checkpoint.quantized import dequantize
from bpb_harness.checkpoint.record import EMA_PREFIX, FORMAT, Checkpoint
from bpb_harness.errors import CheckpointError, UnsafeCheckpointError
from bpb_harness.torch_file import TorchFile, is_torch_zip, read_bare_pickle, read_torch_zip

_LARGEST_BARE_PICKLE = 1 << 20
_WRAPPERS = ("state_dict", "model_state_dict", "model")

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


def read_torch_file(path: Path, file: BinaryIO, digest: str) -> Checkpoint:
    """Read what ``torch.save`` wrote, compressed or not.

    Raises:
        CheckpointError: if it is no such file, or none of a known layout.
        UnsafeCheckpointError: a pickle with a global outside the allow-list, or sizes that contradict the file's.
    """
    head = file.read(16)
    if is_torch_zip(head):
        return _from_content(path, read_torch_zip(file, path), digest)
    if head.startswith(XZ_MAGIC):
        file.seek(0)
        return _from_content(path, read_torch_zip(unpack_xz(file, path), path), digest)
    if head[:1] == b"\x78":
        file.seek(0)
        return _from_content(path, read_torch_zip(inflate(file, path), path), digest)
    if head[:1] == b"\x80":
        file.seek(0)
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
        expected="torch.save (.pt), safetensors, torch.export (.pt2), zlib or xz of torch.save (.ptz) or a folder",
    )


def _from_content(path: Path, file: TorchFile, digest: str) -> Checkpoint:
    content = file.content
    lightning = isinstance(content, dict) and "state_dict" in content and _has_lightning_marks(content)
    for name in file.foreign_globals:
        if not (lightning and _INERT.fullmatch(name)):
            raise _refusal(path, name)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name}", seen=type(content).__name__, expected="a dictionary of tensors")
    if content.get("format") == FORMAT:
        return from_native(path, content, digest)
    if "quantized" in content and "passthrough" in content:
        return Checkpoint(path, "golf-int8", digest, dequantize(content, path))
    if lightning:
        config = plain_values({key: value for key, value in content.items() if key != "state_dict"}, drop_tensors=True)
        tensors = tensors_of(content["state_dict"], path)
        tensors |= {f"{EMA_PREFIX}{i}": value for i, value in enumerate(_shadow_parameters(content))}
        return Checkpoint(path, "lightning", digest, tensors, config=config)
    for key in _WRAPPERS:
        inner = content.get(key)
        if isinstance(inner, dict) and any(isinstance(value, Tensor) for value in inner.values()):
            rest = plain_values({k: v for k, v in content.items() if k != key}, drop_tensors=True)
            return Checkpoint(path, "tensors", digest, tensors_of(inner, path), config=rest)
    tensors = tensors_of(content, path)
    if not tensors:
        raise CheckpointError(
            f"{path.name} holds no tensors",
            seen=f"keys {', '.join(map(str, list(content)[:8]))}",
            expected="a native checkpoint or a state dict",
        )
    return Checkpoint(path, "tensors", digest, tensors)


def _refusal(path: Path, name: str) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f"{path.name} asks for {name}, which is not on the list of what a checkpoint may name",
        hint="nothing was run; save the weights alone: torch.save(model.state_dict(), ...) or safetensors",
    )


def _has_lightning_marks(content: dict[Any, Any]) -> bool:
    return any(key in content for key in ("pytorch-lightning_version", "hyper_parameters", "loops"))


def _shadow_parameters(content: dict[Any, Any]) -> list[Tensor]:
    ema = content.get("ema")
    shadow = ema.get("shadow_params") if isinstance(ema, dict) else None
    return [value for value in shadow if isinstance(value, Tensor)] if isinstance(shadow, list | tuple) else []
