"""Making a ``torch.export`` archive harmless before the library loads it.

``torch.export.load`` unpickles (sample inputs, some weights), evaluates expressions (shapes, guards) and looks names
up. This module reads the archive as data and writes a new one that holds only what a network needs: operators of
``torch.ops.aten``, integer arithmetic on shapes, and raw weights whose sizes are really there. Everything else
(metadata, guards, sample inputs) is left out; what is unknown is refused by name, and the user may then pass
--allow-code.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bpb_harness.checkpoint import parse_json
from bpb_harness.errors import CheckpointError, UnsafeCheckpointError
from bpb_harness.torch_file import open_stored_archive, read_record

_LARGEST_GRAPH = 64 << 20
_HINT = "export it again with bpb_harness.adapters.exported.export_model, or pass --allow-code if you trust the file"
_TARGET = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+"
    r"|_operator\.(add|sub|mul|floordiv|mod|neg|eq|ne|lt|le|gt|ge|getitem|and_|or_|not_)"
    r"|math\.(ceil|floor|sqrt)|torch\.sym_(int|float|max|min|not|ite)"
)
# Shapes as torch prints them, parsed with an evaluator, hence the lists. Powers only of a size, by one digit: a tower
# of powers takes forever to evaluate.
_SYMBOL = r"Symbol\('[su]\d+'(, \w+=True)*\)"
_POWER = re.compile(rf"Pow\({_SYMBOL}, Integer\(-?\d\)\)")
_WORD = re.compile(
    r"[su]\d{1,6}|Symbol|Integer|Add|Mul|Max|Min|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|Eq|Equality|Ne|Unequality|Lt|Le|Gt|Ge"
    r"|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|And|Or|Not|positive|negative|nonnegative|nonzero|integer"
    r"|True|False|true|false"
)
_NAME = re.compile(r"[\w.:+\- ]{0,400}")
_SPEC_TYPES = frozenset(["builtins.tuple", "builtins.list", "builtins.dict", None])


def harmless_archive(path: Path, example_inputs: tuple[Tensor, ...]) -> io.BytesIO:
    """A copy of the archive in memory that is safe to hand to ``torch.export.load``.

    Args:
        path: the ``.pt2`` file.
        example_inputs: take the place of the pickled ones.

    Raises:
        CheckpointError: if it is damaged or of another layout.
        UnsafeCheckpointError: if it asks for anything but tensor operators, or its sizes contradict each other.
    """
    with path.open("rb") as file, open_stored_archive(file, path) as archive:
        records = {record.filename.split("/", 1)[-1]: record for record in archive.infolist()}
        for name in ("models/model.json", "data/weights/model_weights_config.json", "archive_version"):
            if name not in records:
                raise UnsafeCheckpointError(
                    f"{path.name} is not laid out as this version of torch.export does",
                    seen=f"no {name}",
                    hint=_HINT,
                )
        kept: dict[str, bytes] = {
            name: read_record(archive, records[name], path)
            for name in (".data/version", "version", "archive_version", "archive_format", "byteorder")
            if name in records
        }
        graph = _json(read_record(archive, records["models/model.json"], path, most=_LARGEST_GRAPH), path)
        kept["models/model.json"] = json.dumps(_clean_graph(graph, path)).encode()
        for kind, config_name in (("weights", "model_weights_config"), ("constants", "model_constants_config")):
            config_record = records.get(f"data/{kind}/{config_name}.json")
            config = {"config": {}} if config_record is None else _json(read_record(archive, config_record, path), path)
            kept[f"data/{kind}/{config_name}.json"] = json.dumps(config).encode()
            for payload in _raw_payloads(config, path):
                record = records.get(f"data/{kind}/{payload}")
                if record is None:
                    raise CheckpointError(f"{path.name} lacks the record", seen=f"data/{kind}/{payload}")
                kept[f"data/{kind}/{payload}"] = read_record(archive, record, path)
            _check_sizes(config, kept, kind, path)
    example = io.BytesIO()
    torch.save((example_inputs, {}), example)
    kept["data/sample_inputs/model.pt"] = example.getvalue()
    return _pack(kept)


def _json(data: bytes, path: Path) -> dict[str, Any]:
    content = parse_json(data.decode("utf-8", errors="replace"), what=path.name, largest=_LARGEST_GRAPH)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name}: a table of the archive", seen=type(content).__name__, expected="an object")
    return content


def _refuse(path: Path, what: str, seen: object) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(f"{path.name}: {what}", seen=repr(seen)[:120], hint=_HINT)


def _clean_graph(graph: dict[str, Any], path: Path) -> dict[str, Any]:
    """Drop what is not needed, then hold every remaining string against a list: names end up in generated code."""
    cleaned = {**graph, "guards_code": []}
    for node in _objects(cleaned, "metadata"):
        node["metadata"] = {}
    for node in _objects(cleaned, "target"):
        target = node["target"]
        # A parameter's "target" is its name; only a node with inputs calls something.
        if "inputs" in node and not (isinstance(target, str) and _TARGET.fullmatch(target)):
            raise _refuse(path, "an operation that is not a tensor operator", target)
    for key in ("as_custom_obj", "as_graph", "as_operator", "custom_obj"):
        for node in _objects(cleaned, key):
            raise _refuse(path, f"an argument of kind {key}", node[key])
    _check_strings(cleaned, path)
    return cleaned


def _check_strings(value: Any, path: Path, key: str = "") -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            if not (_NAME.fullmatch(name) or _is_arithmetic(name)):
                raise _refuse(path, "a name with more than letters in it", name)
            _check_strings(item, path, name)
    elif isinstance(value, list):
        for item in value:
            _check_strings(item, path, key)
    elif isinstance(value, str):
        if key in ("in_spec", "out_spec"):
            _check_spec(value, path)
        elif not (_is_arithmetic(value) if key == "expr_str" else _NAME.fullmatch(value)):
            what = "a shape that is not arithmetic" if key == "expr_str" else f"a {key or 'text'} that is no plain name"
            raise _refuse(path, what, value)


def _is_arithmetic(text: str) -> bool:
    if len(text) > 2000:
        return False
    text = _POWER.sub("Integer(1)", text)
    plain = re.sub(r"'([su]\d{1,6})'", r"\1", text)
    return (
        re.fullmatch(r"[\w\s()*/+\-,<>=]*", plain) is not None
        and "**" not in plain
        and all(_WORD.fullmatch(word) for word in re.findall(r"[A-Za-z_]\w*", plain))
        and all(len(digits) < 20 for digits in re.findall(r"\d+", plain))
    )


def _check_spec(text: str, path: Path) -> None:
    """How arguments are packed: tuples, lists and dictionaries only; other types would be looked up by name."""
    spec = parse_json(text, what=f"{path.name}: packing of arguments") if text else []
    for node in _objects(spec, "type"):
        if node["type"] not in _SPEC_TYPES:
            raise _refuse(path, "arguments packed in a type of their own", node["type"])
        context = node.get("context")
        names = parse_json(context, what=f"{path.name}: names of arguments") if isinstance(context, str) else None
        if names is not None and not (isinstance(names, list) and all(_is_name(name) for name in names)):
            raise _refuse(path, "arguments with names that are none", context)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _objects(value: Any, key: str) -> Iterator[dict[str, Any]]:
    """Every object with the key, depth first; parse_json bounded the depth."""
    if isinstance(value, dict):
        if key in value:
            yield value
        for item in value.values():
            yield from _objects(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item, key)


def _raw_payloads(config: dict[str, Any], path: Path) -> list[str]:
    entries = config.get("config")
    payloads: dict[str, None] = {}
    for name, entry in (entries if isinstance(entries, dict) else {}).items():
        if not isinstance(entry, dict) or entry.get("use_pickle") or not isinstance(entry.get("tensor_meta"), dict):
            raise _refuse(path, f"{name} is stored as a pickle", entry)
        payload = entry.get("path_name")
        if not isinstance(payload, str) or not re.fullmatch(r"(weight|tensor)_\d+", payload):
            raise _refuse(path, f"{name} lies in a record of another kind", payload)
        payloads[payload] = None
    return list(payloads)


def _check_sizes(config: dict[str, Any], kept: dict[str, bytes], kind: str, path: Path) -> None:
    """No tensor may reach beyond its record: element counts times one byte at least."""
    for name, entry in config.get("config", {}).items():
        meta, available = entry["tensor_meta"], len(kept[f"data/{kind}/{entry['path_name']}"])
        sizes = [size.get("as_int") for size in meta.get("sizes", [])]
        strides = [stride.get("as_int") for stride in meta.get("strides", [])]
        offset = (meta.get("storage_offset") or {}).get("as_int")
        counts = [*sizes, *strides, offset]
        if len(sizes) != len(strides) or not all(type(n) is int and 0 <= n < 1 << 62 for n in counts):
            raise _refuse(path, f"{name}: shape", meta.get("sizes"))
        numel = 1
        for size in sizes:
            numel *= size
        last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True)) + 1 if numel else 0
        if max(numel, last) > available:
            raise UnsafeCheckpointError(
                f"{path.name}: {name} of shape {sizes}",
                seen=f"{available} bytes",
                expected=f"{max(numel, last)} elements",
            )


def _pack(records: dict[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in records.items():
            archive.writestr(zipfile.ZipInfo(f"model/{name}"), data)
    buffer.seek(0)
    return buffer
