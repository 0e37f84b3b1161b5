"""Plain values: numbers, text, None, and lists and dictionaries of them, of bounded depth and size; JSON too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bpb_harness.checkpoints.torch_pickle import ForeignObject
from bpb_harness.errors import CheckpointError, UnsafeCheckpointError
from bpb_harness.foreign_files import KeyGivenTwiceError, load_once

_LARGEST_JSON = 16 << 20
_LARGEST_TOKENIZER = 64 << 20
_DEEPEST = 64
_MAX_VALUES = 2_000_000


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
        CheckpointError: if it is not JSON, or a key has two values.
    """
    if len(text) > largest:
        raise UnsafeCheckpointError(what, seen=f"{len(text)} characters", expected=f"at most {largest}")
    try:
        content = load_once(text)
    except RecursionError:
        raise UnsafeCheckpointError(f"{what} is nested too deeply", expected=f"at most {_DEEPEST} levels") from None
    except KeyGivenTwiceError as error:
        raise CheckpointError(f"{what}: {error}", expected="each key once", hint="leave one of them out") from None
    except ValueError as error:
        raise CheckpointError(f"{what} is not JSON", seen=error) from None
    # JSON cannot share its parts, so its size bounds its values.
    return _PlainCopy(drop=False, most=len(text) + 1).copy(content)[0]


def plain_values(value: Any, *, drop_objects: bool = False, silent: re.Pattern[str] | None = None) -> Any:
    """A copy of nested dictionaries and lists that holds only numbers, text and None.

    Args:
        value: what to copy.
        drop_objects: leave foreign objects out instead of refusing them; one with attributes or items becomes the
            dictionary of them. A tensor of one number becomes that number, any other a text that says so, for whoever
            accounts for the values to meet it.
        silent: names under which tensors say nothing, such as those of optimizers, and are left out.

    Raises:
        UnsafeCheckpointError: if it is nested beyond 64 levels, or has more than two million values if unfolded.
        CheckpointError: for anything else inside.
    """
    return _PlainCopy(drop=drop_objects, most=_MAX_VALUES, silent=silent).copy(value)[0]


_DROPPED = object()


class _PlainCopy:
    """Copies each container once and counts as if it were unfolded: sixty lists of a pickle can share 2^60 values."""

    def __init__(self, *, drop: bool, most: int, silent: re.Pattern[str] | None = None) -> None:
        self._drop, self._most, self._silent = drop, most, silent
        self._done: dict[tuple[int, bool], tuple[Any, int, int]] = {}

    def copy(self, value: Any, depth: int = 0, *, is_silent: bool = False) -> tuple[Any, int, int]:
        """The copy, the values in it if unfolded, and its levels; tensors are left out where it is silent."""
        if isinstance(value, str | int | float | bool | None):
            return value, 1, 0
        if isinstance(value, Tensor) and self._drop:
            return (_DROPPED if is_silent else _in_words(value)), 1, 0
        done = self._done.get((id(value), is_silent))
        if done is None:
            self._require(depth <= _DEEPEST)
            done = self._done[id(value), is_silent] = self._container(value, depth, is_silent)
        self._require(depth + done[2] <= _DEEPEST and done[1] <= self._most)
        return done

    def _require(self, holds: bool) -> None:
        if not holds:
            raise UnsafeCheckpointError(
                "values of the checkpoint",
                seen="nesting or sharing without end",
                expected=f"at most {_DEEPEST} levels and {self._most} values",
            )

    def _container(self, value: Any, depth: int, is_silent: bool) -> tuple[Any, int, int]:
        if isinstance(value, ForeignObject) and self._drop:
            inner, size, levels = self.copy(_inside(value), depth + 1, is_silent=is_silent)
            return inner, size, levels + 1
        if isinstance(value, Mapping):
            parts = [
                (str(key), self.copy(item, depth + 1, is_silent=is_silent or self._says_nothing(key)))
                for key, item in value.items()
            ]
            copied: Any = {key: part[0] for key, part in parts if part[0] is not _DROPPED}
            counts = [part for _, part in parts]
        elif isinstance(value, list | tuple):
            counts = [self.copy(item, depth + 1, is_silent=is_silent) for item in value]
            copied = [part[0] for part in counts if part[0] is not _DROPPED]
        elif self._drop:
            return _DROPPED, 1, 0
        else:
            raise CheckpointError("a value of the checkpoint", seen=type(value).__name__, expected="a number or text")
        size = 1 + sum(part[1] for part in counts)
        return copied, size, 1 + max((part[2] for part in counts), default=0)

    def _says_nothing(self, key: Any) -> bool:
        return self._silent is not None and isinstance(key, str) and bool(self._silent.fullmatch(key))


def _in_words(tensor: Tensor) -> Any:
    """The number of a tensor of one; of any other what it is."""
    number = tensor.item() if tensor.numel() == 1 else None
    return number if isinstance(number, int | float) else f"a tensor of {list(tensor.shape)}"


def _inside(value: ForeignObject) -> Any:
    """What of a foreign object is plain: a configuration's content, else its attributes, else its items."""
    if value.name == "tokenizers.Tokenizer" and isinstance(value.state, bytes):
        return {"added_tokens": _added_tokens(value.state)}
    if isinstance(value.state, dict):
        if value.name.startswith("omegaconf."):
            # A node keeps its value in _val or its children in _content; _parent would lead round in circles.
            return value.state["_val"] if "_val" in value.state else value.state.get("_content")
        return value.state
    if value.items and all(isinstance(item, tuple) and len(item) == 2 for item in value.items):
        return {str(key): item for key, item in value.items}
    return _DROPPED


def _added_tokens(tokenizer_json: bytes) -> dict[str, int]:
    """Ids of added tokens, the mask among them, of a tokenizer that was pickled as its file; none of a damaged one."""
    try:
        content = parse_json(
            tokenizer_json.decode("utf-8", errors="replace"), what="tokenizer", largest=_LARGEST_TOKENIZER
        )
    except CheckpointError:
        return {}
    added = content.get("added_tokens") if isinstance(content, dict) else None
    entries = [entry for entry in added if isinstance(entry, dict)] if isinstance(added, list) else []
    return {str(entry.get("content")): entry["id"] for entry in entries if type(entry.get("id")) is int}
