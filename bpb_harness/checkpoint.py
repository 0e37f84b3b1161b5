"""Checkpoints as plain data: read safely, named by a digest, written in the native format.

The native format is a file of ``torch.save`` (``.pt``) that holds one dictionary of tensors and plain values, or a
``.safetensors`` file with the same plain values as one JSON entry of its metadata::

    {"format": "bpb-harness", "format_version": 1, "adapter": .., "config": {..}, "schedule": ..,
     "tokenizer": the tokenizer file's bytes as a uint8 tensor, "data": {..}, "tensors": {name: tensor}}

A compressed artifact (``.ptz``) is that dictionary in an xz stream, with most matrices as ``"quantized"``: int8 levels,
and ``"scales"``: what a level of each row is worth.

Nothing in a checkpoint is ever executed: see :mod:`bpb_harness.torch_file`.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, final

import torch
from torch import Tensor

from bpb_harness.errors import CheckpointError, UnsafeCheckpointError
from bpb_harness.torch_file import ForeignObject, TorchFile, is_torch_zip, read_bare_pickle, read_torch_zip

FORMAT = "bpb-harness"
FORMAT_VERSION = 1
# A Lightning checkpoint's moving averages join its tensors under this prefix, numbered in order of parameters.
EMA_PREFIX = "ema.shadow_params."

_LARGEST_JSON = 16 << 20
LARGEST_TOKENIZER = 64 << 20
_LARGEST_BARE_PICKLE = 1 << 20
_DEEPEST = 64
_MOST_VALUES = 2_000_000
_MODEL_SUFFIXES = (".json", ".safetensors", ".bin", ".model", ".txt", ".py")
# int8 weights hardly shrink under zlib; a bomb shrinks a thousandfold.
_INFLATION = 8
_INFLATION_FLOOR = 16 << 20
_XZ_MAGIC = b"\xfd7zXZ\x00"
_XZ_MEMORY = 128 << 20  # a decoder's dictionary; the strongest preset takes half of it


@final
@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says, as tensors on the CPU and plain values.

    Attributes:
        path: the file or folder.
        layout: how it is laid out: "native", "native-int8" (a compressed artifact), "tensors" (a bare state dict),
            "lightning", "golf-int8", "exported", "folder".
        digest: sha256 of the file, or of the folder's files in order of name, as hex.
        tensors: the state dict.
        adapter: the adapter that a native file names.
        config: plain values: numbers, text, lists and dictionaries of them.
        schedule: the noise schedule's name, such as "loglinear[0.001]".
        tokenizer: the tokenizer file's bytes, if the checkpoint carries them.
        data: where its validation data lie, relative to the checkpoint's folder, and what is known about them.
    """

    path: Path
    layout: str
    digest: str
    tensors: Mapping[str, Tensor] = field(repr=False)
    adapter: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    schedule: str | None = None
    tokenizer: bytes | None = field(default=None, repr=False)
    data: Mapping[str, Any] | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of any supported layout without running anything that it names.

    Raises:
        CheckpointError: no such file, an unknown layout, a damaged file.
        UnsafeCheckpointError: a pickle with a global outside the allow-list, or sizes that contradict the file's.
    """
    path = Path(path)
    if path.is_dir():
        from bpb_harness.model_folder import read_folder

        return read_folder(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}", hint="pass the path of a file or folder that exists")
    try:
        with path.open("rb") as file:
            return _read_file(path, file, digest_of(path))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}", seen=error.strerror or error) from None


def digest_of(path: Path) -> str:
    """sha256 of a file, or of a folder's model files with their names, as hex.

    Raises:
        CheckpointError: if there is no such file or folder, or it cannot be read.
    """
    if not path.exists():
        raise CheckpointError(f"no checkpoint at {path}", hint="pass the path of a file or folder that exists")
    try:
        if not path.is_dir():
            return _file_digest(path).hex()
        whole = hashlib.sha256()
        for file in sorted(path.iterdir()):
            if file.is_file() and file.suffix in _MODEL_SUFFIXES:
                whole.update(file.name.encode(errors="surrogateescape") + b"\0" + _file_digest(file))
        return whole.hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}", seen=error.strerror or error) from None


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _read_file(path: Path, file: BinaryIO, digest: str) -> Checkpoint:
    head = file.read(16)
    if path.suffix == ".pt2":
        return _read_exported(path, digest)
    if path.suffix == ".safetensors":
        return _read_safetensors(path, digest)
    if is_torch_zip(head):
        return _from_content(path, read_torch_zip(file, path), digest)
    if head.startswith(_XZ_MAGIC):
        file.seek(0)
        return _from_content(path, read_torch_zip(_unpack_xz(file, path), path), digest)
    if head[:1] == b"\x78":
        file.seek(0)
        return _from_content(path, read_torch_zip(_inflate(file, path), path), digest)
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


def _inflate(file: BinaryIO, path: Path) -> BinaryIO:
    """Decompress zlib, after counting what it inflates to without keeping it."""
    data = file.read()
    most = max(_INFLATION * len(data), _INFLATION_FLOOR)
    inflater, tail, inflated = zlib.decompressobj(), data, 0
    try:
        while not inflater.eof and inflated <= most:
            piece = inflater.decompress(tail, 1 << 20)
            inflated, tail = inflated + len(piece), inflater.unconsumed_tail
            if not piece and not tail and not inflater.eof:
                raise CheckpointError(f"{path.name} is truncated", hint="copy the file again")
        if inflated > most:
            raise UnsafeCheckpointError(
                f"{path.name} inflates to more than {most} bytes",
                seen=f"{len(data)} compressed bytes",
                expected=f"at most {_INFLATION} times as many",
            )
        return io.BytesIO(zlib.decompress(data))
    except zlib.error as error:
        raise CheckpointError(f"{path.name} is damaged", seen=error, hint="copy the file again") from None


def _unpack_xz(file: BinaryIO, path: Path) -> BinaryIO:
    """Decompress xz in pieces, in bounded memory."""
    data = file.read()
    most = max(_INFLATION * len(data), _INFLATION_FLOOR)
    decoder, unpacked = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), io.BytesIO()
    try:
        piece = decoder.decompress(data, 1 << 20)
        while piece or not decoder.eof:
            if not piece and decoder.needs_input:
                raise CheckpointError(f"{path.name} is truncated", hint="copy the file again")
            unpacked.write(piece)
            if unpacked.tell() > most:
                raise UnsafeCheckpointError(
                    f"{path.name} unpacks to more than {most} bytes",
                    seen=f"{len(data)} compressed bytes",
                    expected=f"at most {_INFLATION} times as many",
                )
            piece = b"" if decoder.eof else decoder.decompress(b"", 1 << 20)
    except (lzma.LZMAError, MemoryError) as error:
        raise CheckpointError(f"{path.name} is damaged", seen=error, hint="copy the file again") from None
    unpacked.seek(0)
    return unpacked


# Layouts of torch.save

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("_orig_mod.", "module.")

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


def _from_content(path: Path, file: TorchFile, digest: str) -> Checkpoint:
    content = file.content
    lightning = isinstance(content, dict) and "state_dict" in content and _has_lightning_marks(content)
    for name in file.foreign_globals:
        if not (lightning and _INERT.fullmatch(name)):
            raise _refusal(path, name)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name}", seen=type(content).__name__, expected="a dictionary of tensors")
    if content.get("format") == FORMAT:
        return _from_native(path, content, digest)
    if "quantized" in content and "passthrough" in content:
        return Checkpoint(path, "golf-int8", digest, _dequantize(content, path))
    if lightning:
        config = plain_values({key: value for key, value in content.items() if key != "state_dict"}, drop_tensors=True)
        tensors = _tensors(content["state_dict"], path)
        tensors |= {f"{EMA_PREFIX}{i}": value for i, value in enumerate(_shadow_parameters(content))}
        return Checkpoint(path, "lightning", digest, tensors, config=config)
    for key in _WRAPPERS:
        inner = content.get(key)
        if isinstance(inner, dict) and any(isinstance(value, Tensor) for value in inner.values()):
            rest = plain_values({k: v for k, v in content.items() if k != key}, drop_tensors=True)
            return Checkpoint(path, "tensors", digest, _tensors(inner, path), config=rest)
    tensors = _tensors(content, path)
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


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, without the prefixes that torch.compile and DDP put before every name."""
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name}: state dict", seen=type(content).__name__, expected="a dictionary")
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _from_native(path: Path, content: Mapping[str, Any], digest: str) -> Checkpoint:
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path.name}: version of the native format",
            seen=version,
            expected=FORMAT_VERSION,
            hint="update bpb-harness",
        )
    tokenizer = content.get("tokenizer")
    if isinstance(tokenizer, Tensor):
        if tokenizer.dtype != torch.uint8 or tokenizer.numel() > LARGEST_TOKENIZER:
            raise CheckpointError(
                f"{path.name}: tokenizer", seen=f"{tokenizer.numel()} x {tokenizer.dtype}", expected="bytes of a file"
            )
        tokenizer = tokenizer.contiguous().numpy().tobytes()
    kinds: dict[str, type | tuple[type, ...]] = {
        "adapter": str,
        "config": dict,
        "schedule": (str, type(None)),
        "data": (dict, type(None)),
    }
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):
            raise CheckpointError(f"{path.name}: {key!r}", seen=type(content.get(key)).__name__, expected=f"{kind}")
    data = content.get("data")
    tensors, quantized = _tensors(content.get("tensors"), path), content.get("quantized")
    if quantized is not None:
        rows = _rows_times_scales(_tensors(quantized, path), _tensors(content.get("scales"), path), path)
        if rows.keys() & tensors.keys():
            raise CheckpointError(f"{path.name}: tensor both quantized and not", seen=min(rows.keys() & tensors.keys()))
        tensors |= rows
    return Checkpoint(
        path,
        "native" if quantized is None else "native-int8",
        digest,
        tensors,
        adapter=content["adapter"],
        config=plain_values(content["config"]),
        schedule=content.get("schedule"),
        tokenizer=tokenizer,
        data=None if data is None else _checked_data(plain_values(data), path),
    )


def _checked_data(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Refuse paths that leave the checkpoint's folder, links included."""
    folder = path.parent.resolve()
    paths = data.get("paths", [])
    if not (isinstance(paths, list) and all(isinstance(item, str) for item in paths)):
        raise CheckpointError(f"{path.name}: paths of its data", seen=paths, expected="a list of relative paths")
    for item in paths:
        if "\x00" in item or Path(item).is_absolute() or not (folder / item).resolve().is_relative_to(folder):
            raise UnsafeCheckpointError(
                f"{path.name} names data outside its folder", seen=repr(item), hint="pass the data with --data"
            )
    return data


def _dequantize(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Weights of the contest's int8 files: int8 rows times their scales, and the rest passed through."""
    quantized, passthrough = _tensors(content["quantized"], path), _tensors(content["passthrough"], path)
    scales, dtypes = _tensors(content.get("scales"), path), content.get("dtypes") or {}
    originals = content.get("passthrough_orig_dtypes") or {}
    tensors: dict[str, Tensor] = {}
    for name, rows in _rows_times_scales(quantized, scales, path).items():
        tensors[name] = rows.to(_dtype(dtypes.get(name), rows=torch.float32))
    for name, value in passthrough.items():
        tensors[name] = value.to(_dtype(originals.get(name), rows=value.dtype))
    return tensors


def _rows_times_scales(quantized: Mapping[str, Tensor], scales: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Float32 tensors from integer levels and the worth of a level in each row, or in all."""
    tensors: dict[str, Tensor] = {}
    for name, rows in quantized.items():
        scale = scales.get(name)
        if scale is None or scale.ndim > min(1, rows.ndim) or (scale.ndim == 1 and scale.shape[0] != rows.shape[0]):
            raise CheckpointError(
                f"{path.name}: scales of {name}",
                seen=None if scale is None else list(scale.shape),
                expected="one a row",
            )
        factor = scale.float().reshape(-1, *[1] * (rows.ndim - 1)) if scale.ndim else scale.float()
        tensors[name] = rows.float() * factor
    return tensors


def _dtype(name: Any, *, rows: torch.dtype) -> torch.dtype:
    known = {str(d).removeprefix("torch."): d for d in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}
    return known.get(str(name).removeprefix("torch."), rows)


# safetensors and torch.export


def _read_safetensors(path: Path, digest: str) -> Checkpoint:
    tensors, metadata = load_safetensors(path)
    if FORMAT not in metadata:
        if not tensors:
            raise CheckpointError(f"{path.name} holds no tensors")
        return Checkpoint(path, "tensors", digest, tensors)
    content = parse_json(metadata[FORMAT], what=f"metadata of {path.name}")
    if not isinstance(content, dict):
        raise CheckpointError(f"metadata of {path.name}", seen=type(content).__name__, expected="an object")
    content["tokenizer"] = tensors.pop(_TOKENIZER_TENSOR, None)
    return _from_native(path, {**content, "tensors": tensors}, digest)


def load_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        CheckpointError: if it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError, OverflowError) as error:
        raise CheckpointError(f"{path.name} is no sound safetensors file", seen=error, hint="copy it again") from None


def _read_exported(path: Path, digest: str) -> Checkpoint:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise CheckpointError(
            f"no {beside.name} beside {path.name}", hint="export with bpb_harness.adapters.exported.export_model"
        )
    config = read_json(beside)
    schedule = config.get("schedule")
    if not isinstance(schedule, str | None):
        raise CheckpointError(f"{beside.name}: schedule", seen=repr(schedule), expected="a name or null")
    return Checkpoint(path, "exported", digest, {}, adapter="exported", config=config, schedule=schedule)


# Plain values


def read_json(path: Path, *, largest: int = _LARGEST_JSON) -> dict[str, Any]:
    """An object from a JSON file of bounded size and depth.

    Raises:
        CheckpointError: if it is too large, too deep, not JSON, or not an object.
    """
    size = path.stat().st_size
    if size > largest:
        raise UnsafeCheckpointError(f"{path.name}", seen=f"{size} bytes", expected=f"at most {largest}")
    content = parse_json(path.read_bytes().decode("utf-8", errors="replace"), what=path.name, largest=largest)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name}", seen=type(content).__name__, expected="a JSON object")
    return content


def parse_json(text: str, *, what: str, largest: int = _LARGEST_JSON) -> Any:
    """JSON of bounded size and depth.

    Raises:
        UnsafeCheckpointError: above ``largest`` characters or nested beyond 64 levels.
        CheckpointError: if it is not JSON.
    """
    if len(text) > largest:
        raise UnsafeCheckpointError(what, seen=f"{len(text)} characters", expected=f"at most {largest}")
    try:
        content = json.loads(text)
    except RecursionError:
        raise UnsafeCheckpointError(f"{what} is nested too deeply", expected=f"at most {_DEEPEST} levels") from None
    except ValueError as error:
        raise CheckpointError(f"{what} is not JSON", seen=error) from None
    # JSON cannot share its parts, so its size bounds its values.
    return _PlainCopy(drop=False, most=len(text) + 1).copy(content)[0]


def plain_values(value: Any, *, drop_tensors: bool = False) -> Any:
    """A copy of nested dictionaries and lists that holds only numbers, text and None.

    Args:
        value: what to copy.
        drop_tensors: leave tensors and foreign objects out instead of refusing them; a foreign object with attributes
            or items becomes the dictionary of them.

    Raises:
        UnsafeCheckpointError: if it is nested beyond 64 levels, or has more than two million values if unfolded.
        CheckpointError: for anything else inside.
    """
    return _PlainCopy(drop=drop_tensors, most=_MOST_VALUES).copy(value)[0]


_DROPPED = object()


class _PlainCopy:
    """Copies each container once and counts as if it were unfolded: sixty lists of a pickle can share 2^60 values."""

    def __init__(self, *, drop: bool, most: int) -> None:
        self._drop, self._most = drop, most
        self._done: dict[int, tuple[Any, int, int]] = {}

    def copy(self, value: Any, depth: int = 0) -> tuple[Any, int, int]:
        """The copy, the values in it if unfolded, and its levels."""
        if isinstance(value, str | int | float | bool | None):
            return value, 1, 0
        done = self._done.get(id(value))
        if done is None:
            self._require(depth <= _DEEPEST)
            done = self._done[id(value)] = self._container(value, depth)
        self._require(depth + done[2] <= _DEEPEST and done[1] <= self._most)
        return done

    def _require(self, holds: bool) -> None:
        if not holds:
            raise UnsafeCheckpointError(
                "values of the checkpoint",
                seen="nesting or sharing without end",
                expected=f"at most {_DEEPEST} levels and {self._most} values",
            )

    def _container(self, value: Any, depth: int) -> tuple[Any, int, int]:
        if isinstance(value, ForeignObject) and self._drop:
            inner, size, levels = self.copy(_inside(value), depth + 1)
            return inner, size, levels + 1
        if isinstance(value, Mapping):
            parts = [(str(key), self.copy(item, depth + 1)) for key, item in value.items()]
            copied: Any = {key: part[0] for key, part in parts if part[0] is not _DROPPED}
            counts = [part for _, part in parts]
        elif isinstance(value, list | tuple):
            counts = [self.copy(item, depth + 1) for item in value]
            copied = [part[0] for part in counts if part[0] is not _DROPPED]
        elif self._drop:
            return _DROPPED, 1, 0
        else:
            raise CheckpointError("a value of the checkpoint", seen=type(value).__name__, expected="a number or text")
        size = 1 + sum(part[1] for part in counts)
        return copied, size, 1 + max((part[2] for part in counts), default=0)


def _inside(value: ForeignObject) -> Any:
    """What of a foreign object is plain: a configuration's content, else its attributes, else its items."""
    if isinstance(value.state, dict):
        if value.name.startswith("omegaconf."):
            # A node keeps its value in _val or its children in _content; _parent would lead round in circles.
            return value.state["_val"] if "_val" in value.state else value.state.get("_content")
        return value.state
    if value.items and all(isinstance(item, tuple) and len(item) == 2 for item in value.items):
        return {str(key): item for key, item in value.items}
    return _DROPPED


# Writing

_TOKENIZER_TENSOR = "bpb_harness.tokenizer"


def save_checkpoint(
    path: Path,
    *,
    tensors: Mapping[str, Tensor],
    adapter: str,
    config: Mapping[str, Any],
    schedule: str | None = None,
    tokenizer: bytes | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write the native format; the same content gives the same bytes.

    Args:
        path: ends in ``.pt`` or ``.safetensors``; replaced only when the new file is complete.
        tensors: the state dict.
        adapter: name of the adapter that loads it.
        config: plain values.
        schedule: name of the noise schedule; None for autoregressive models.
        tokenizer: the tokenizer file's bytes.
        data: where validation data lie, relative to the checkpoint's folder: ``{"paths": [...], ...}``.

    Raises:
        CheckpointError: for another suffix, or values that are not plain.
    """
    path = Path(path)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "adapter": adapter,
        "config": plain_values(config),
        "schedule": schedule,
        "data": None if data is None else _checked_data(plain_values(data), path),
    }
    # Copies, so that views neither drag their base along nor share memory, which safetensors refuses.
    owned = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    token_bytes = None if tokenizer is None else torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8)
    if path.suffix == ".pt":
        content = {**header, "tokenizer": token_bytes, "tensors": owned}
        write_replacing(path, lambda file: torch.save(content, file))
    elif path.suffix == ".safetensors":
        from safetensors.torch import save

        if token_bytes is not None:
            owned[_TOKENIZER_TENSOR] = token_bytes
        packed = save(owned, metadata={FORMAT: json.dumps(header, sort_keys=True)})
        write_replacing(path, lambda file: file.write(packed))
    else:
        raise CheckpointError("suffix of a checkpoint", seen=repr(path.suffix), expected=".pt or .safetensors")


def write_replacing(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that appears only when it is complete: a temporary one beside it, then a rename."""
    with _temporary_beside(path) as temporary:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        # mkstemp gives 0600; a checkpoint gets what any new file gets.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
