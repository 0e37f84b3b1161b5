"""Reading a ``torch.export`` archive as data: the graph as JSON, and every tensor from its own bytes.

``torch.export.load`` is not called: it unpickles, evaluates expressions and trusts the sizes that it reads. Pickles in
the archive (sample inputs) are left where they are; a weight that is one is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from bpb_harness.checkpoints import parse_json
from bpb_harness.checkpoints.torch_pickle import open_stored_archive, read_record
from bpb_harness.errors import CheckpointError, UnsafeCheckpointError

LARGEST_GRAPH = 64 << 20
_HINT = "export it again with bpb_harness.adapters.exported.export_model, or pass --allow-code if you trust the file"
MODEL = "models/model.json"
_PAYLOAD = re.compile(r"(weight|tensor)_\d{1,9}")
STRIDED = 7
DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
}


@final
@dataclass(frozen=True)
class ExportedArchive:
    """What an archive holds.

    Attributes:
        name: of the file.
        graph: its ``model.json``.
        weights: parameters and buffers that are part of the state dict.
        constants: buffers that are not, and constants.
    """

    name: str
    graph: Mapping[str, Any] = field(repr=False)
    weights: Mapping[str, Tensor] = field(repr=False)
    constants: Mapping[str, Tensor] = field(repr=False)


def refusal(file: str, what: str, seen: object = None, expected: object = None) -> UnsafeCheckpointError:
    """What is said of a program that is not understood, with the way that works."""
    short = None if seen is None else repr(seen)[:120]
    return UnsafeCheckpointError(f"{file}: {what}", seen=short, expected=expected, hint=_HINT)


def read_archive(path: Path) -> ExportedArchive:
    """The graph and the tensors of a ``.pt2`` file.

    Raises:
        CheckpointError: if it is damaged.
        UnsafeCheckpointError: if it is laid out otherwise, holds pickled weights, or tensors that leave their bytes.
    """
    with path.open("rb") as file, open_stored_archive(file, path) as archive:
        records = _by_name(archive, path)
        order = records.get("byteorder")
        if order is not None and read_record(archive, order, path).strip() != b"little":
            raise refusal(path.name, "order of bytes", read_record(archive, order, path)[:20], "little")
        graph = parse_object(read_record(archive, records[MODEL], path, most=LARGEST_GRAPH), path.name)
        tensors = [_tensors(archive, records, kind, path) for kind in ("weights", "constants")]
    return ExportedArchive(path.name, graph, tensors[0], tensors[1])


def require_known_layout(packed: bytes) -> None:
    """Refuse to write what cannot be read again: versions of torch lay their programs out in different ways.

    Raises:
        CheckpointError: if this torch has another way than the one that is read.
    """
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        names = [name.split("/", 1)[-1] for name in archive.namelist()]
    if MODEL not in names:
        raise CheckpointError(
            f"torch {torch.__version__} lays out exported programs in a way that is not read",
            seen=f"no {MODEL}",
            hint="export with a newer torch; this one can score what that writes",
        )


def _by_name(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Records by their name below the archive's folder; each once."""
    records: dict[str, zipfile.ZipInfo] = {}
    for record in archive.infolist():
        name = record.filename.split("/", 1)[-1]
        if name in records:
            raise refusal(path.name, "a record that is there twice", name)
        records[name] = record
    for name in (MODEL, "data/weights/model_weights_config.json", "archive_version"):
        if name not in records:
            raise UnsafeCheckpointError(
                f"{path.name} is not laid out as this version of torch.export does", seen=f"no {name}", hint=_HINT
            )
    models = [name for name in records if name.startswith("models/") and name != MODEL]
    if models:
        raise refusal(path.name, "a second program", models[0], "one")
    return records


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object of bounded depth in which no key stands twice.

    Raises:
        CheckpointError: if it is none.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise CheckpointError(f"{what}: a key that is there twice", seen=repr(twice)[:80], hint="export it again")
        return content

    text = data.decode("utf-8", errors="replace")
    content = parse_json(text, what=what, largest=LARGEST_GRAPH)  # for its bounds
    if not isinstance(content, dict):
        raise CheckpointError(f"{what}: a table of the archive", seen=type(content).__name__, expected="an object")
    checked: dict[str, Any] = json.loads(text, object_pairs_hook=once)
    return checked


def _tensors(
    archive: zipfile.ZipFile, records: Mapping[str, zipfile.ZipInfo], kind: str, path: Path
) -> dict[str, Tensor]:
    """The tensors that one table names. Tensors of one record share its memory, as they did when they were saved."""
    record = records.get(f"data/{kind}/model_{kind}_config.json")
    config = {"config": {}} if record is None else parse_object(read_record(archive, record, path), path.name)
    entries = config.get("config")
    if not isinstance(entries, dict):
        raise refusal(path.name, f"table of {kind}", entries)
    memories: dict[str, Tensor] = {}
    tensors: dict[str, Tensor] = {}
    for name, entry in entries.items():
        label = repr(name)[:80]
        if not isinstance(entry, dict) or entry.get("use_pickle") or not isinstance(entry.get("tensor_meta"), dict):
            raise refusal(path.name, f"{label} is stored as a pickle", entry)
        payload = entry.get("path_name")
        if not isinstance(payload, str) or not _PAYLOAD.fullmatch(payload):
            raise refusal(path.name, f"{label} lies in a record of another kind", payload)
        if payload not in memories:
            payload_record = records.get(f"data/{kind}/{payload}")
            if payload_record is None:
                raise CheckpointError(f"{path.name} lacks the record", seen=f"data/{kind}/{payload}")
            data = bytearray(read_record(archive, payload_record, path))
            memories[payload] = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
        tensors[name] = _tensor(entry["tensor_meta"], memories[payload], label, path.name)
    return tensors


def _tensor(meta: Mapping[str, Any], memory: Tensor, label: str, file: str) -> Tensor:
    """A tensor cut from its record, whose bytes its sizes, strides and offset must not leave."""
    dtype = DTYPES.get(meta["dtype"]) if type(meta.get("dtype")) is int else None
    if dtype is None or meta.get("layout") != STRIDED:
        raise refusal(file, f"{label} of a type or layout that is not read", [meta.get("dtype"), meta.get("layout")])
    sizes, strides = ([_number(size) for size in meta.get(key) or []] for key in ("sizes", "strides"))
    offset = _number(meta.get("storage_offset"))
    counts = [*sizes, *strides, offset]
    if len(sizes) != len(strides) or not all(type(n) is int and 0 <= n < 1 << 62 for n in counts):
        raise refusal(file, f"{label}: shape", meta.get("sizes"))
    numel = 1
    for size in sizes:
        numel *= size
    last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True)) + 1 if numel else 0
    if max(numel, last) * dtype.itemsize > memory.numel():
        raise UnsafeCheckpointError(
            f"{file}: {label} of shape {sizes}",
            seen=f"{memory.numel()} bytes",
            expected=f"{max(numel, last)} elements of {dtype.itemsize} bytes",
            hint="the file is damaged or hostile; copy it again",
        )
    whole = memory[: memory.numel() // dtype.itemsize * dtype.itemsize].view(dtype)
    return torch.as_strided(whole, sizes, strides, offset if numel else 0)


def _number(size: object) -> Any:
    return size.get("as_int") if isinstance(size, dict) else None
