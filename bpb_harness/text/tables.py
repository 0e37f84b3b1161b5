"""Documents in Parquet and Arrow: columns of texts, in the order of their rows, a batch at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bpb_harness.errors import CorpusError, HarnessError
from bpb_harness.findings import first_of
from bpb_harness.text.fields import Record, TextField, label_of, pass_flag, require_text
from bpb_harness.text.files import require_regular
from bpb_harness.units import counted

_BATCH_ROWS = 256
_BUFFER_BYTES = 1 << 20
_LARGEST_STATE = 2**20
_LARGEST_CHUNK = 8 * 2**30  # bytes of a column in one row group, unpacked
_COLUMNS_SHOWN = 8
_PART_OF = re.compile(r"-(\d{5})-of-(\d{5})$")


def parquet_documents(path: Path, fields: Sequence[TextField], *, largest: int) -> Iterator[Record]:
    """The texts of a Parquet file, in the order of its rows.

    Args:
        path: the file.
        fields: the columns.
        largest: UTF-8 bytes of the longest text.

    Raises:
        CorpusError: no such column, another type, a row without text (with its number) or with an empty one where it
            must not be, a damaged file.
    """

    def batches() -> Iterator[Any]:
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            for field in fields:
                _require_column(path, file.schema_arrow, field, fields)
                _require_moderate(path, file.metadata, field)
        names = [field.name for field in fields]
        # A repeated text stays one entry of a dictionary: otherwise a batch could take any number of its copies.
        with parquet.ParquetFile(
            path, read_dictionary=names, pre_buffer=False, buffer_size=_BUFFER_BYTES, memory_map=False
        ) as file:
            yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=names)

    yield from _records(path, fields, batches, largest)


def arrow_documents(path: Path, fields: Sequence[TextField], *, largest: int) -> Iterator[Record]:
    """The texts of an Arrow stream or file, likewise."""

    def batches() -> Iterator[Any]:
        import pyarrow
        from pyarrow import ipc

        with pyarrow.memory_map(str(path)) as source:
            is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            with (ipc.open_file if is_file else ipc.open_stream)(source) as reader:
                for field in fields:
                    _require_column(path, reader.schema, field, fields)
                if is_file:
                    for number in range(reader.num_record_batches):
                        yield reader.get_batch(number)
                else:
                    yield from reader

    yield from _records(path, fields, batches, largest)


def _records(
    path: Path, fields: Sequence[TextField], batches: Callable[[], Iterator[Any]], largest: int
) -> Iterator[Record]:
    import pyarrow

    row = 0
    try:
        for batch in batches():
            columns = [_values(batch.column(batch.schema.get_field_index(field.name))) for field in fields]
            for texts in zip(*columns, strict=True):
                where = f"{path}: row {row} (from 0)"
                read = (_text(where, field, text, largest) for field, text in zip(fields, texts, strict=True))
                yield Record(where, tuple(read))
                row += 1
    except HarnessError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError, NotImplementedError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise CorpusError(
            f"{path}: a table that cannot be read", seen=lines[0], hint="it is truncated or damaged: fetch it again"
        ) from error


def _values(column: Any) -> Iterator[str | None]:
    import pyarrow

    column.validate(full=True)  # offsets of a damaged file may point anywhere
    return _decoded(column) if pyarrow.types.is_dictionary(column.type) else iter(column.to_pylist())


def _decoded(column: Any) -> Iterator[str | None]:
    # The dictionary may be that of all rows: only the entries of these are made Python's.
    values = column.dictionary
    return (None if index is None else values[index].as_py() for index in column.indices.to_pylist())


def _text(where: str, field: TextField, text: object, largest: int) -> str:
    if field.is_label:
        text, found = label_of(text), "NaN or infinity"
    else:
        found = "null"
    if text is None:
        raise CorpusError(f"{where} has no {field.noun}", seen=f"{found} under {field.name!r}", expected="a text")
    assert isinstance(text, str)
    if len(text) > largest or len(text.encode()) > largest:
        raise CorpusError(f"{where} is longer than {largest} bytes")
    require_text(where, field, text)
    return text


def _require_column(path: Path, schema: Any, field: TextField, fields: Sequence[TextField]) -> None:
    import pyarrow

    found = schema.get_all_field_indices(field.name)
    if len(found) != 1:
        raise CorpusError(
            f"{path}: no {field.noun} column" if not found else f"{path}: {len(found)} columns of that name",
            seen=f"the columns {first_of([*map(repr, schema.names)], _COLUMNS_SHOWN)}",
            expected=repr(field.name),
            hint=_other_column(schema, field, fields),
        )
    kind = schema.field(found[0]).type
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    if not (_is_text(kind) or (field.is_label and _is_scalar(kind))):
        raise CorpusError(
            f"{path}: the column {field.name!r} holds no {field.noun if field.is_label else 'text'}", seen=kind,
            expected="strings, numbers or booleans" if field.is_label else "string",
            hint=_other_column(schema, field, fields),
        )  # fmt: skip


def _is_text(kind: Any) -> bool:
    import pyarrow

    is_view = getattr(pyarrow.types, "is_string_view", lambda _: False)
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or is_view(kind))


def _is_scalar(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    return any(bool(of(kind)) for of in (types.is_integer, types.is_floating, types.is_boolean, types.is_null))


def _other_column(schema: Any, field: TextField, fields: Sequence[TextField]) -> str:
    return pass_flag(field, [column.name for column in schema if _is_text(column.type)], fields)


def _require_moderate(path: Path, metadata: Any, field: TextField) -> None:
    """Refuse a row group that says it is larger unpacked than any that a writer makes."""
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for index in range(row_group.num_columns):
            column = row_group.column(index)
            if column.path_in_schema == field.name and column.total_uncompressed_size > _LARGEST_CHUNK:
                raise CorpusError(
                    f"{path}: row group {group} swells beyond measure",
                    seen=f"{column.total_uncompressed_size} bytes",
                    expected=f"at most {_LARGEST_CHUNK}",
                )


# Folders of the datasets library


def is_dataset_folder(folder: Path) -> bool:
    """Whether the datasets library wrote a folder: `save_to_disk`, or its cache."""
    names = ("dataset_dict.json", "state.json", "dataset_info.json")
    return any((folder / name).is_file() for name in names) and (
        (folder / "dataset_dict.json").is_file() or any(folder.glob("*.arrow"))
    )


def arrow_files(folder: Path) -> list[Path]:
    """The Arrow files of one data set of the datasets library, in the order of its rows.

    Raises:
        CorpusError: several splits, a file that is missing, rows in another order than the files have them.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(inner.name for inner in folder.iterdir() if inner.is_dir())
        raise CorpusError(
            f"{folder}: a DatasetDict, several data sets in one folder",
            seen=f"the splits {', '.join(splits)}" if splits else "no split",
            expected="one of them",
            hint=f"give {folder / (_validation_of(splits) or 'SPLIT')}",
        )
    state = folder / "state.json"
    return _files_of_state(folder, state) if state.is_file() else _files_of_cache(folder)


def _validation_of(splits: list[str]) -> str | None:
    likely = [name for name in splits if name.startswith(("val", "dev", "eval", "test"))]
    return next(iter(likely or splits), None)


def _files_of_state(folder: Path, state: Path) -> list[Path]:
    what = f"{state}: not written by the datasets library"
    if require_regular(state) > _LARGEST_STATE:
        raise CorpusError(what, seen=f"{state.stat().st_size} bytes", expected=f"at most {_LARGEST_STATE}")
    try:
        record = json.loads(state.read_bytes())
        names = [entry["filename"] for entry in record["_data_files"]]
        indices = record.get("_indices_data_files") or record.get("_indices_files")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise CorpusError(what, seen=f"{type(error).__name__}: {error}", expected="_data_files") from error
    if indices:
        raise CorpusError(
            f"{folder}: its rows stand in another order than in its files", seen="an index of rows",
            hint="write it again with flatten_indices() and save_to_disk()",
        )  # fmt: skip
    sound = all(isinstance(name, str) and name == Path(name).name and name for name in names)
    if not names or not sound or len(set(names)) < len(names):
        raise CorpusError(what, seen=repr(names)[:80], expected="names of files in the folder, each once")
    files = [folder / name for name in names]
    missing = next((path for path in files if not path.is_file()), None)
    if missing is not None:
        raise CorpusError(
            f"{folder}: a part of the data set is missing", seen=f"no {missing.name}", expected=f"{len(files)} files"
        )
    return files


def _files_of_cache(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.glob("*.arrow") if not path.name.startswith("cache-"))
    stems = sorted({_PART_OF.sub("", path.stem) for path in files})
    if len(stems) != 1:
        raise CorpusError(
            f"{folder}: several data sets in one folder", seen=", ".join(stems) or "none", expected="one of them",
            hint=f"give its files: {folder / (stems[0] if stems else '')}*.arrow",
        )  # fmt: skip
    parts = [match for path in files if (match := _PART_OF.search(path.stem))]
    expected = int(parts[0][2]) if parts else 1
    if len(files) != expected:
        raise CorpusError(
            f"{folder}: a part of the data set is missing", seen=counted(len(files), "file"), expected=str(expected)
        )
    return files
