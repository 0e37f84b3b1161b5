"""Which files of a model folder hold the weights, and what they hold together.

The library's own order decides: ``model.safetensors``, its index, ``pytorch_model.bin``, its index; else the only other
set of files there is. An index is taken at its word: all of its files, exactly its tensors. Whatever else looks like
weights must hold the same numbers, or nobody knows which are meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bpb_harness.checkpoints import load_safetensors, names_in_safetensors, read_checkpoint, read_json
from bpb_harness.errors import CheckpointError
from bpb_harness.findings import first_of

_ORDER = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_INDEX = re.compile(r"(model|pytorch_model)(\.\w+)?\.(safetensors|bin)\.index(\.\w+)?\.json")
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d+)-of-(?P<total>\d+)(?P<rest>(\.\w+)?\.(safetensors|bin))")
# What trainers leave in a folder beside the weights, as tensors but not as weights.
_NO_WEIGHTS = re.compile(r"(optimizer|scheduler|random_states|rng_state|training_args)")
_MAX_NAMED = 4
_ONE_MEANT = "leave only the one that is meant in the folder"


@dataclass(frozen=True)
class _WeightsSet:
    """Files that hold one network together.

    Attributes:
        name: how it is called: its only file, its index, or the first of its numbered files.
        files: all of them.
        places: by the index, which file holds which tensor.
        stated_bytes: by the index, how many bytes all tensors take.
    """

    name: str
    files: tuple[Path, ...]
    places: Mapping[str, str] | None = None
    stated_bytes: object = None

    @property
    def is_safe(self) -> bool:
        return self.files[0].suffix == ".safetensors"

    def names(self) -> set[str]:
        """Names of its tensors, without reading them where the format allows that."""
        if self.places is not None:
            return set(self.places)
        if not self.is_safe:
            return set(self.read()[0])
        return {name for file in self.files for name in names_in_safetensors(file)}

    def read(self) -> tuple[dict[str, Tensor], list[str]]:
        """All tensors, and what the reading of a file is worth saying.

        Raises:
            CheckpointError: damaged files, a name in two files, or tensors that are not those of the index, by their
                names or by their size.
        """
        whole: dict[str, Tensor] = {}
        notes: list[str] = []
        for file in self.files:
            if self.is_safe:
                part = load_safetensors(file)[0]
            else:
                content = read_checkpoint(file)
                part = dict(content.tensors)
                notes += content.notes
            twice = whole.keys() & part.keys()
            if twice:
                raise CheckpointError(f"{min(twice)} is in two of the files of {self.name}", hint=_ONE_MEANT)
            self._require_indexed(file, part)
            whole |= part
        size = sum(tensor.nbytes for tensor in whole.values())
        # A .bin may share memory between tensors, which programs count once or twice.
        if self.is_safe and self.stated_bytes is not None and self.stated_bytes != size:
            raise CheckpointError(
                f"{self.name}: total_size", seen=self.stated_bytes,
                expected=f"{size}, the bytes of the tensors of its files",
                hint="copy the folder again, whole; if its files are right, mend the number",
            )  # fmt: skip
        return whole, notes

    def _require_indexed(self, file: Path, part: Mapping[str, Tensor]) -> None:
        if self.places is None:
            return
        stated = {name for name, place in self.places.items() if place == file.name}
        for names, what in (
            (stated - part.keys(), f"{file.name} lacks a tensor that {self.name} says it holds"),
            (part.keys() - stated, f"{file.name} holds a tensor that {self.name} does not name"),
        ):
            if names:
                raise CheckpointError(what, seen=min(names), hint="copy the folder again, whole")


def read_weights(folder: Path, files: Sequence[Path]) -> tuple[dict[str, Tensor], list[str]]:
    """Read the weights of a model folder.

    Args:
        folder: only named in messages.
        files: the files in it.

    Returns:
        The tensors by name, and a sentence on every file that was passed over.

    Raises:
        CheckpointError: none there, some missing, or more than one set of weights that are not the same.
    """
    sets = _find_sets(files)
    if not sets:
        others = [
            file.name for file in files if file.suffix in (".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".npz")
        ]
        raise CheckpointError(
            f"no weights in the folder {folder.name}",
            seen=", ".join(others[:4]) or "no such file",
            expected="model.safetensors or pytorch_model.bin, or their index and its files",
        )
    ranked = sorted((one for one in sets if one.name in _ORDER), key=lambda one: _ORDER.index(one.name))
    if not ranked and len(sets) > 1:
        raise CheckpointError(
            f"{folder.name}: more than one file of weights",
            seen=first_of([one.name for one in sets], _MAX_NAMED),
            hint=_ONE_MEANT,
        )
    chosen = ranked[0] if ranked else sets[0]
    tensors, notes = chosen.read()
    return tensors, [*notes, *(_passed_over(chosen, tensors, other) for other in sets if other is not chosen)]


def _find_sets(files: Sequence[Path]) -> list[_WeightsSet]:
    weights = {
        file.name: file
        for file in files
        if (file.suffix == ".safetensors" or (file.suffix == ".bin" and file.name.startswith("pytorch_model")))
        and not _NO_WEIGHTS.match(file.name)
    }
    indices = [_read_index(file, weights) for file in files if _INDEX.fullmatch(file.name)]
    left = {name for name in weights if not any(name in one.places.values() for one in indices if one.places)}
    numbered: dict[tuple[str, str, str], dict[int, str]] = {}
    for name in sorted(left):
        if match := _SHARD.fullmatch(name):
            group = numbered.setdefault((match["stem"], match["total"], match["rest"]), {})
            group[int(match["number"])] = name
            left.discard(name)
    sets = [*indices, *(_WeightsSet(name, (weights[name],)) for name in sorted(left))]
    for (stem, total, rest), group in numbered.items():
        first = group[min(group)]
        for one in indices:
            if one.files[0].suffix == Path(first).suffix and one.name.startswith(stem):
                raise CheckpointError(f"{first} is not among the files that {one.name} names", hint=_ONE_MEANT)
        missing = [number for number in range(1, int(total) + 1) if number not in group]
        if missing:
            lacking = f"{stem}-{missing[0]:0{len(total)}d}-of-{total}{rest}"
            raise CheckpointError(f"{lacking} is missing beside {first}", hint="copy the folder again, whole")
        sets.append(_WeightsSet(first, tuple(weights[group[number]] for number in sorted(group))))
    return sets


def _read_index(file: Path, weights: Mapping[str, Path]) -> _WeightsSet:
    content = read_json(file)
    places, metadata = content.get("weight_map"), content.get("metadata")
    if not isinstance(places, dict) or not places or not all(isinstance(place, str) for place in places.values()):
        raise CheckpointError(
            f"{file.name}: weight_map", seen=type(places).__name__, expected="names of tensors and of their files"
        )
    names = sorted(set(places.values()))
    missing = [name for name in names if name not in weights]
    if missing:
        raise CheckpointError(
            f"{file.name} names {missing[0]}, which is no file of weights in the folder",
            hint="copy the folder again, whole",
        )
    stated = metadata.get("total_size") if isinstance(metadata, dict) else None
    return _WeightsSet(file.name, tuple(weights[name] for name in names), places, stated)


def _passed_over(chosen: _WeightsSet, tensors: Mapping[str, Tensor], other: _WeightsSet) -> str:
    """Why another set of weights is not read; an error where it is not the same as the chosen one."""
    taken = f"weights of {chosen.name}; {other.name} beside it"
    try:
        names = other.names()
        shared = sorted(names & tensors.keys())
        beside = other.read()[0] if shared else {}
    except CheckpointError:
        return f"{taken} cannot be read as data and was not compared"
    different = next((name for name in shared if not _same(tensors[name], beside[name])), None)
    if different is not None:
        raise CheckpointError(f"{chosen.name} and {other.name} hold different weights", seen=different, hint=_ONE_MEANT)
    foreign = sorted(names - tensors.keys())
    if foreign and other.is_safe and chosen.places is None and not _is_other_layout(other, shared):
        raise CheckpointError(
            f"{other.name} holds tensors that {chosen.name} does not",
            seen=first_of(foreign, _MAX_NAMED),
            hint=_ONE_MEANT,
        )
    return f"{taken} holds the same" if shared else f"{taken} was not read: its tensors have other names"


def _is_other_layout(other: _WeightsSet, shared: Sequence[str]) -> bool:
    """The same network once more, under the names of its authors' own code, as Mistral and Meta publish it."""
    return other.name.startswith("consolidated") and not shared


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal, or one is the other rounded to a shorter type."""
    if one.shape != other.shape:
        return False
    return torch.equal(one.to(other.dtype), other) or torch.equal(other.to(one.dtype), one)
