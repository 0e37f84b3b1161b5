"""``--resume FILE`` with ``--ttt``: what the chunks so far cost, and the network as they have left it.

A safetensors file, which is written whole or not at all; an interrupted evaluation goes on with the chunk after the
last one in it. Its metadata say what is scored, and a file of another evaluation is refused. A checksum finds damage.
Whoever changes weights can write its checksum too: a score that is to convince others is computed without it.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.adaptation.chunks import Chunk
from bpb_harness.adaptation.learner import Learner
from bpb_harness.distributed import Processes
from bpb_harness.errors import CheckpointError, InputError, UsageError
from bpb_harness.evaluation.draw_file import is_draw_file
from bpb_harness.evaluation.resumed import ADAPTATION, SAME_FLAGS, require_same
from bpb_harness.whole_file import write_whole

Arrays = Mapping[str, npt.NDArray[Any]]

FORMAT, FORMAT_VERSION = ADAPTATION, 1
_SECONDS_BETWEEN = 10.0
KEPT, NOT_KEPT = "kept", "not kept"  # costs of single tokens
_STATE, _PART = "state/", "part/"
_TOKENS = "tokens"  # of the header
_HINT = "name a new file, or the copy of this one that bpb-eval wrote"
_KINDS = (torch.float64, torch.int64)


@final
class AdaptationFile:
    """The file of one evaluation; nothing without ``--resume``.

    Args:
        path: None without it.
        header: what the file belongs to: the signature, full digests of model and data, and which costs are kept.
        processes: the first of which reads and writes.
        learner: whose state it keeps.
    """

    def __init__(self, path: Path | None, header: Mapping[str, str], processes: Processes, learner: Learner) -> None:
        self._path, self._header, self._processes, self._learner = path, header, processes, learner
        self._not_written: tuple[list[Arrays], dict[str, Tensor]] | None = None
        self._since = -math.inf

    @property
    def is_there(self) -> bool:
        """Whether finished chunks are kept by now."""
        return self._path is not None and self._path.exists()

    def open(self, chunks: Sequence[Chunk]) -> list[Arrays]:
        """What the first of these chunks cost, as far as it holds them; the learner goes on where they ended.

        Raises:
            UsageError: if the file belongs to another evaluation.
            InputError: if it is no such file, or damaged.
        """
        path = self._path
        if path is None:
            return []
        found = self._processes.together(lambda: self._read(path, chunks) if self._processes.is_first else None)[0]
        if found is None:
            return []
        parts, state = found
        self._learner.load_state(state)
        return list(parts)

    def keep(self, parts: list[Arrays]) -> None:
        """Take what there is by now; it is written if the last time is a while ago, or else when this is closed.

        Raises:
            OutputError: if there is no room.
        """
        if self._path is None or not self._processes.is_first:
            return
        self._not_written = list(parts), self._learner.state()
        if time.monotonic() - self._since >= _SECONDS_BETWEEN:
            self.close()

    def close(self) -> None:
        """Write what is not written yet.

        Raises:
            OutputError: if there is no room.
        """
        if self._path is None or self._not_written is None:
            return
        from safetensors.torch import save  # deferred: what is kept is rare

        parts, state = self._not_written
        tensors = {_STATE + name: value for name, value in state.items()}
        for index, part in enumerate(parts):
            for name, value in part.items():
                tensors[f"{_PART}{index}/{name}"] = torch.from_numpy(np.ascontiguousarray(value))
        stated = {"format": FORMAT, "format_version": FORMAT_VERSION, "chunks": len(parts), **self._header}
        written = save(tensors, {"bpb": json.dumps(stated | {"check": _checksum(stated, tensors)})})
        write_whole(self._path, lambda file: file.write(written))
        self._not_written, self._since = None, time.monotonic()

    def _read(
        self, path: Path, chunks: Sequence[Chunk]
    ) -> tuple[list[dict[str, npt.NDArray[Any]]], dict[str, Tensor]] | None:
        from bpb_harness.checkpoints.safetensors_file import load_safetensors

        if not path.exists():
            return None
        what = f"--resume {path}"
        if is_draw_file(path):
            raise UsageError(f"{what} is of an evaluation without --ttt", hint=SAME_FLAGS)
        try:
            tensors, metadata = load_safetensors(path)
            content = json.loads(metadata["bpb"])
            check, number = content.pop("check"), content["chunks"]
            is_one = (content["format"], content["format_version"]) == (FORMAT, FORMAT_VERSION)
        except (CheckpointError, AttributeError, KeyError, ValueError, TypeError, RecursionError):
            is_one = False
        if not is_one:
            raise InputError(f"{what}: not a file of a score with --ttt, or a damaged one", hint=_HINT)
        others = {name: value for name, value in self._header.items() if name != _TOKENS}
        require_same(what, content, others)
        if content.get(_TOKENS) != self._header[_TOKENS]:
            how = "without" if self._header[_TOKENS] == KEPT else "with"
            raise UsageError(
                f"{what} was begun {how} costs of tokens (--score-file, --tokens)",
                hint="repeat the flags that it was begun with, or name a new file",
            )
        if check != _checksum(content, tensors):
            raise InputError(f"{what} is damaged or was changed", seen="another checksum", hint=_HINT)
        if type(number) is not int or not 0 < number <= len(chunks):
            raise InputError(f"{what}: chunks", seen=number, expected=f"1 .. {len(chunks)}", hint=_HINT)
        parts: list[dict[str, npt.NDArray[Any]]] = [{} for _ in range(number)]
        state = {}
        for name, value in tensors.items():
            if name.startswith(_STATE):
                state[name.removeprefix(_STATE)] = value
                continue
            index, _, own = name.removeprefix(_PART).partition("/")
            if value.dtype not in _KINDS or not index.isdecimal() or int(index) >= number:
                raise InputError(f"{what}: {name}", expected="costs of a chunk", hint=_HINT)
            parts[int(index)][own] = value.numpy()
        for chunk, part in zip(chunks, parts, strict=False):
            if bool(part) != (chunk.stop > chunk.first):
                raise InputError(f"{what}: chunk {chunk.index}", expected="the costs of its spans", hint=_HINT)
        return parts, state


def _checksum(stated: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    whole = hashlib.sha256(json.dumps(stated, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        whole.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        whole.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()
