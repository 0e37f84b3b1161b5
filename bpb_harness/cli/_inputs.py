"""What a command reads without having been told each file: in folders, beside a checkpoint, from the environment."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Role = Literal["checkpoint", "data", "docs", "tokenizer", "record", "file"]
_TOKENIZERS = (".json", ".model", ".pkl", ".tiktoken", ".txt")
# By role, which files of a folder are read.
_IN_FOLDERS: Mapping[Role, tuple[str, ...]] = {
    "checkpoint": (".bin", ".json", ".model", ".pkl", ".py", ".safetensors", ".tiktoken", ".txt"),
    "data": (".bin", ".npy", ".source.json"),
    "docs": (".jsonl", ".txt", ".ndjson", ".jsonlines", ".parquet", ".arrow", ".gz", ".zst"),
    "tokenizer": _TOKENIZERS,
}
# How reports begin that a command of ours wrote.
_OURS = re.compile(rb'\{\n  "format": "bpb-|Audit of |name +verdict |::')
_LONGEST_BEGINNING = 200
_DEFAULT_DATA = "data/datasets/fineweb10B_sp1024"


@dataclass(frozen=True)
class Inputs:
    """What a command was given to read, by what it is.

    Attributes:
        checkpoint, data, docs, tokenizer: files, folders and patterns.
        record: what is audited.
        file: files of any other kind.
        finds_data: without data and docs the text is looked for.
    """

    checkpoint: tuple[Path, ...] = ()
    data: tuple[Path, ...] = ()
    docs: tuple[Path, ...] = ()
    tokenizer: tuple[Path, ...] = ()
    record: tuple[Path, ...] = ()
    file: tuple[Path, ...] = ()
    finds_data: bool = False

    @classmethod
    def of(cls, *, finds_data: bool = False, **named: object) -> Inputs:
        """Of options as they were given: a path, a list of them, or None, by role."""
        return cls(finds_data=finds_data, **{role: tuple(_paths(given)) for role, given in named.items()})

    def reads(self, output: Path) -> str | None:
        """Why a file must not be written, in words: it is read, now or the next time; None where it is not."""
        whole = without_links(output)
        for role, path in self._named():
            if whole in _stands_for(path):
                return "which is read"
            if _would_stand_for(path, whole):
                return f"one of the files that {path} stands for"
            if path.is_dir() and _is_of_folder(role, without_links(path), whole):
                return f"one of the files that are read of the folder {path}"
        if self.finds_data and not self.data and not self.docs and self._lies_beside_a_checkpoint(whole):
            return "which lies beside the checkpoint, as the data that it may name"
        return None

    def _lies_beside_a_checkpoint(self, file: Path) -> bool:
        is_data = file.is_file() and file.name.lower().endswith(_IN_FOLDERS["data"])
        return is_data and any(without_links(path).parent in file.parents for path in self.checkpoint)

    def _named(self) -> Iterator[tuple[Role, Path]]:
        for role in get_args(Role):
            yield from ((role, path) for path in getattr(self, role))
        for path in self.data[:1]:
            if path.name:  # which the working folder itself has not
                yield "file", path.with_suffix(".source.json")
        for path in self.checkpoint:
            if path.suffix == ".pt2":
                yield "file", path.with_suffix(".json")
        if self.finds_data and not self.data and not self.docs:
            yield from (("data", Path(part)) for part in os.environ.get("BPB_DATA", "").split(os.pathsep) if part)
            yield "data", Path(_DEFAULT_DATA)


def inputs_of(given: Mapping[str, object], *, checkpoint: object, file: object = ()) -> Inputs:
    """What a command that scores reads.

    Args:
        given: its settings.
        checkpoint: one or several.
        file: whatever else it reads.
    """
    files = [*_paths(file), *_paths(given["resume"])]
    named = {role: given[role] for role in ("data", "docs", "tokenizer")}
    return Inputs.of(finds_data=True, checkpoint=checkpoint, file=files, **named)


def without_links(path: Path | str) -> Path:
    """The whole path; where links lead to each other it is as named, for whoever opens it to refuse."""
    return Path(os.path.realpath(path))


def _paths(given: object) -> Iterator[Path]:
    for each in given if isinstance(given, list | tuple) else [given]:
        if each is not None and str(each):
            yield Path(str(each))


def _stands_for(path: Path) -> set[Path]:
    """The file itself, and what it matches as a pattern."""
    return {without_links(name) for name in (str(path), *glob.glob(str(path)))}  # noqa: PTH207 - as they are read


def _would_stand_for(path: Path, file: Path) -> bool:
    """Whether a pattern matches a file once it is there."""
    return glob.has_magic(str(path)) and not path.exists() and file.match(str(without_links(path)))


def _is_of_folder(role: Role, folder: Path, file: Path) -> bool:
    if role == "record":
        return folder in file.parents and _is_of_record(file)
    return file.parent == folder and file.name.lower().endswith(_IN_FOLDERS.get(role, ()))


def _is_of_record(file: Path) -> bool:
    """Whether a file is one of those that an audit reads, or would be read as one by the next."""
    from bpb_harness.claim.listing import is_claim_name, kind_by_name  # deferred: of audits alone

    kind = kind_by_name(file)
    if kind is None:
        return False
    if file.is_file():
        with file.open("rb") as stream:
            if not _OURS.match(stream.read(_LONGEST_BEGINNING)):
                return True
    if kind == "json":  # ours is passed over
        return is_claim_name(file)
    others = (other for other in file.parent.iterdir() if other.name != file.name and other.is_file())
    return any(kind_by_name(other) == "log" or is_claim_name(other) for other in others)
