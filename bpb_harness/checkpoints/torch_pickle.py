"""Reading files of ``torch.save`` as data: no unpickler, no import, nothing called that a file names.

A pickle is a program. :mod:`bpb_harness.pickle_machine` interprets its opcodes; this module adds a short list of
recipes (a tensor from a storage, an ordered dictionary), and any other global becomes an inert
:class:`ForeignObject`, which remembers a name and its arguments. The caller decides which names to refuse. Sizes are
checked against the bytes that are really there before anything is allocated.

``torch.load(weights_only=True)`` is the model of what is accepted; it is not used here because it lets a file of a few
bytes allocate without limit (``bytearray(10**12)``, a tensor larger than its storage, deflated records).
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, final

import torch
from torch import Tensor

from bpb_harness.errors import CheckpointError, UnsafeCheckpointError
from bpb_harness.pickle_machine import DAMAGES, PickleMachine

_LARGEST_PICKLE = 64 << 20
_MAX_RECORDS = 200_000
_LARGEST_COUNT = 1 << 62
_MAX_SHARING = 16

_STORAGE_DTYPES: dict[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}


@final
@dataclass
class ForeignObject:
    """What a pickle wanted to build from a global that is not on the list: its name and ingredients, never the thing.

    Attributes:
        name: ``module.attribute`` as the file spells it.
        args: what would have been its arguments.
        state: what would have been its attributes.
        items: what would have been set or appended, pairs or single values.
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)


@final
@dataclass(frozen=True)
class _Global:
    """A name on the pickle's stack; called only if it is one of the recipes below."""

    name: str


@final
@dataclass(frozen=True)
class _Storage:
    """Raw memory that tensors are cut from."""

    dtype: torch.dtype
    memory: Tensor  # (bytes,) uint8


@final
@dataclass(frozen=True)
class TorchFile:
    """The content of a file of ``torch.save``.

    Attributes:
        content: nested dictionaries, lists, tuples, numbers, text, tensors and :class:`ForeignObject`.
        foreign_globals: names of the globals outside the list, in order of appearance.
    """

    content: Any
    foreign_globals: tuple[str, ...]


def is_torch_zip(head: bytes) -> bool:
    """Whether a file starts like a ZIP archive."""
    return head[:4] == b"PK\x03\x04"


def read_torch_zip(file: BinaryIO, path: Path) -> TorchFile:
    """Read an archive of ``torch.save`` (torch 1.6 and later).

    Raises:
        CheckpointError: if it is not such an archive, or damaged.
        UnsafeCheckpointError: if its sizes contradict each other.
    """
    with open_stored_archive(file, path) as archive:
        records = archive.infolist()
        pickles = [record for record in records if record.filename.split("/")[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise CheckpointError(
                f"{path.name} is a ZIP archive but not of torch.save", seen=f"{len(pickles)} data.pkl", expected="one"
            )
        root = pickles[0].filename[: -len("data.pkl")]
        by_name = {record.filename: record for record in records}
        byteorder = by_name.get(root + "byteorder")
        if byteorder is not None and read_record(archive, byteorder, path).strip() == b"big":
            raise CheckpointError(f"{path.name} has big-endian tensors", hint="save it on a little-endian machine")
        memories: dict[str, Tensor] = {}

        def memory(key: str) -> Tensor:
            if key not in memories:
                record = by_name.get(f"{root}data/{key}")
                if record is None:
                    raise CheckpointError(f"{path.name} lacks the record of a storage", seen=repr(key))
                # A bytearray, because torch wants writable memory; frombuffer refuses an empty one.
                data = bytearray(read_record(archive, record, path))
                memories[key] = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
            return memories[key]

        return _Interpreter(path, memory).read(read_record(archive, pickles[0], path, most=_LARGEST_PICKLE))


def read_bare_pickle(data: bytes, path: Path) -> TorchFile:
    """Read a pickle that stands alone, without storages.

    Raises:
        CheckpointError: if it is damaged or refers to storages (``torch.save`` before 1.6).
        UnsafeCheckpointError: if it is larger than 64 MiB.
    """

    def memory(key: str) -> Tensor:
        raise CheckpointError(
            f"{path.name} is a file of torch.save before version 1.6",
            seen=f"storage {key!r} behind the pickle",
            hint="load it with weights_only=True and save it again",
        )

    if len(data) > _LARGEST_PICKLE:
        raise UnsafeCheckpointError(f"{path.name}: a bare pickle", seen=f"{len(data)} bytes", expected="a .pt archive")
    return _Interpreter(path, memory).read(data)


def open_stored_archive(file: BinaryIO, path: Path) -> zipfile.ZipFile:
    """Open a ZIP archive whose records are stored as they are and do not overlap.

    Raises:
        CheckpointError: if it is damaged.
        UnsafeCheckpointError: if records are compressed or promise more than the file holds.
    """
    size = file.seek(0, io.SEEK_END)
    try:
        archive = zipfile.ZipFile(file)
        _check_records(archive.infolist(), size, path)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path.name} is a damaged archive", seen=error, hint="copy the file again") from None
    return archive


def _check_records(records: list[zipfile.ZipInfo], size: int, path: Path) -> None:
    if len(records) > _MAX_RECORDS:
        raise UnsafeCheckpointError(f"{path.name}: records", seen=len(records), expected=f"at most {_MAX_RECORDS}")
    for record in records:
        if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
            raise UnsafeCheckpointError(
                f"{path.name}: record {record.filename!r} is compressed",
                seen=f"{record.compress_size} bytes that promise {record.file_size}",
                expected="records as torch.save stores them",
                hint="save the checkpoint again with torch.save",
            )
    total = sum(record.file_size for record in records)
    if total > size:
        raise UnsafeCheckpointError(
            f"{path.name}: records overlap", seen=f"{total} bytes promised", expected=f"at most {size}, the file's size"
        )


def read_record(archive: zipfile.ZipFile, record: zipfile.ZipInfo, path: Path, most: int | None = None) -> bytes:
    """Bytes of a record.

    Raises:
        CheckpointError: if it is damaged.
        UnsafeCheckpointError: if it is larger than ``most``.
    """
    if most is not None and record.file_size > most:
        raise UnsafeCheckpointError(
            f"{path.name}: {record.filename!r}", seen=f"{record.file_size} bytes", expected=f"at most {most}"
        )
    try:
        return archive.read(record)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path.name} is a damaged archive", seen=error, hint="copy the file again") from None


class _Interpreter(PickleMachine):
    """One run over the opcodes of one pickle."""

    def __init__(self, path: Path, memory: Callable[[str], Tensor]) -> None:
        super().__init__()
        self._path, self._memory = path, memory
        self._foreign: dict[str, None] = {}
        # Tensors may share a storage (tied weights), but not without limit: a network is built from copies of them.
        self._tensor_bytes = 0
        self._storage_bytes: dict[int, int] = {}

    def read(self, data: bytes) -> TorchFile:
        try:
            content = self.run(data)
        except DAMAGES as error:
            raise self._damaged(str(error) or type(error).__name__) from None
        self._check_sharing()
        return TorchFile(content, tuple(self._foreign))

    def _check_sharing(self) -> None:
        stored = sum(self._storage_bytes.values())
        if self._tensor_bytes > _MAX_SHARING * stored + 1024:
            raise UnsafeCheckpointError(
                f"{self._path.name}: tensors share their storage",
                seen=f"{self._tensor_bytes} bytes of tensors in {stored} bytes of storage",
                expected=f"at most {_MAX_SHARING} times as many",
            )

    def _damaged(self, why: str) -> CheckpointError:
        return CheckpointError(f"{self._path.name} holds a damaged pickle", seen=why, hint="copy the file again")

    def refused(self, opcode: str) -> Exception:
        return UnsafeCheckpointError(
            f"{self._path.name} uses the pickle opcode {opcode}",
            expected="only what torch.save writes",
            hint="save the weights again with torch.save or as safetensors",
        )

    def extend(self, target: Any, values: Iterable[Any]) -> None:
        super().extend(target.items if isinstance(target, ForeignObject) else target, values)

    def put(self, target: Any, key: Any, value: Any) -> None:
        if isinstance(target, ForeignObject):
            target.items.append((key, value))
        elif isinstance(target, dict) and not isinstance(key, str | int | float | bool | bytes | None):
            # Hashing nested tuples that share their parts takes exponential time; repr of a class is enough.
            target[f"<{type(key).__name__} {len(target)}>"] = value
        else:
            super().put(target, key, value)

    def named(self, name: str) -> _Global:
        name = name[:200]
        if name not in _RECIPES and not _is_storage(name) and not _is_plain_torch_name(name):
            self._foreign[name] = None
        return _Global(name)

    def called(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        if isinstance(function, ForeignObject):  # the result of something foreign, called again
            return ForeignObject(function.name, (function, *arguments))
        if not isinstance(function, _Global):
            raise self._damaged(f"a call of {type(function).__name__}")
        recipe = _RECIPES.get(function.name)
        return recipe(self, arguments) if recipe is not None else ForeignObject(function.name, arguments)

    def given_state(self, value: Any, state: Any) -> None:
        if isinstance(value, ForeignObject):
            value.state = state
        # An OrderedDict's attributes (state_dict's _metadata) and a parameter's are of no use here.

    def referred(self, identity: Any) -> _Storage:
        match identity:
            case ("storage", _Global(name=name), str(key), _, int(), *_) if _is_storage(name):
                return _Storage(_STORAGE_DTYPES[name.rsplit(".", 1)[-1]], self._memory(key))
        raise self._damaged("a reference to something that is no storage")

    # Recipes

    def _tensor(self, args: tuple[Any, ...]) -> Tensor:
        match args:
            case (_Storage() as storage, int(offset), tuple(shape), tuple(stride), *rest):
                pass
            case _:
                raise self._damaged("a tensor without storage, offset, shape and stride")
        # _rebuild_tensor_v3 names the type apart from an untyped storage.
        dtype = storage.dtype
        named = next((part.name for part in rest if isinstance(part, _Global) and part.name.startswith("torch.")), None)
        if named is not None:
            found = getattr(torch, named.removeprefix("torch."), None)
            if not isinstance(found, torch.dtype):
                raise self._damaged(f"a tensor of type {named}")
            dtype = found
        counts = (offset, *shape, *stride)
        if len(shape) != len(stride) or not all(type(n) is int and 0 <= n < _LARGEST_COUNT for n in counts):
            raise UnsafeCheckpointError(f"{self._path.name}: a tensor of shape", seen=f"{shape} and stride {stride}")
        available = storage.memory.numel() // dtype.itemsize
        numel = math.prod(shape)
        last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) if numel else 0
        if numel > available or last >= max(available, 1):
            raise UnsafeCheckpointError(
                f"{self._path.name}: a tensor of shape {list(shape)}",
                seen=f"a storage of {available} elements",
                expected=f"{max(numel, last + 1)} elements",
                hint="the file is damaged or hostile; copy it again",
            )
        self._tensor_bytes += numel * dtype.itemsize
        self._storage_bytes[id(storage.memory)] = storage.memory.numel()
        whole = storage.memory[: available * dtype.itemsize].view(dtype)
        return torch.as_strided(whole, shape, stride, offset)

    def _parameter(self, args: tuple[Any, ...]) -> Any:
        return args[0]

    def _dictionary(self, args: tuple[Any, ...]) -> Any:
        result: dict[Any, Any] = {}
        if args and isinstance(args[0], list):
            for pair in args[0]:
                self.set_items(result, list(pair))
        return result

    def _sequence(self, args: tuple[Any, ...]) -> Any:
        return list(args[0]) if args and isinstance(args[0], list | tuple) else []

    def _encoded(self, args: tuple[Any, ...]) -> bytes:
        match args:
            case (str(text), "latin1" | "latin-1"):
                return text.encode("latin-1")
        raise self._damaged("bytes in an unknown encoding")

    def _text(self, args: tuple[Any, ...]) -> str:
        return ":".join(str(part) for part in args if isinstance(part, str | int))


_RECIPES: dict[str, Callable[[_Interpreter, tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _Interpreter._tensor,
    "torch._utils._rebuild_tensor_v2": _Interpreter._tensor,
    "torch._utils._rebuild_tensor_v3": _Interpreter._tensor,
    "torch._utils._rebuild_parameter": _Interpreter._parameter,
    "torch._utils._rebuild_parameter_with_state": _Interpreter._parameter,
    "collections.OrderedDict": _Interpreter._dictionary,
    "collections.Counter": _Interpreter._dictionary,
    "torch.Size": _Interpreter._sequence,
    "torch.device": _Interpreter._text,
    "builtins.set": _Interpreter._sequence,
    "__builtin__.set": _Interpreter._sequence,
    "_codecs.encode": _Interpreter._encoded,
}


def _is_storage(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    return module in ("torch", "torch.cuda", "torch.storage") and attribute in _STORAGE_DTYPES


def _is_plain_torch_name(name: str) -> bool:
    """Types and layouts, which occur as values: torch.float32, torch.strided."""
    module, _, attribute = name.rpartition(".")
    return module == "torch" and isinstance(getattr(torch, attribute, None), torch.dtype | torch.layout)
