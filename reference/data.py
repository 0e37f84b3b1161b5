"""Training windows: random places in token shards, chosen by (seed, step) alone so that a resumed run sees the same.

And whether the tokenizer of a run wrote its shards: otherwise the network would be told wrong bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.byte_count import Tokenizer, encode_again
from bpb_harness.errors import CorpusError
from bpb_harness.text.corpus import Corpus, find_shards, map_shard
from bpb_harness.units import counted

_FOR_WINDOWS, _FOR_MASKS, _FOR_DROPOUT = 0, 1, 2  # keeps the streams of a step apart
_NUM_EXCERPTS = 64
_EXCERPT_TOKENS = 1024  # of each, in a fingerprint


def step_seed(seed: int, step: int) -> int:
    """Seed of a step's masks: 32 bits, for torch's generator on a CPU keeps no more."""
    return int(_raw(seed, step, _FOR_MASKS, 1)[0] >> np.uint64(32))


def dropout_seed(seed: int, step: int, process: int) -> int:
    """Seed of what a step leaves out in one of the processes that share it."""
    return int(_raw(seed, step, _FOR_DROPOUT + process, 1)[0] >> np.uint64(32))


def _raw(seed: int, step: int, purpose: int, size: int) -> npt.NDArray[np.uint64]:
    key, counter = np.array([seed, step], dtype=np.uint64), np.array([0, purpose, 0, 0], dtype=np.uint64)
    return np.asarray(np.random.Philox(key=key, counter=counter).random_raw(size), dtype=np.uint64)


@final
@dataclass(frozen=True)
class Shard:
    """A file of tokens, mapped, not read.

    Attributes:
        path: the file.
        tokens: (N,), whole numbers.
    """

    path: Path
    tokens: npt.NDArray[np.integer]

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of its length and of excerpts that are spread over it: alike for a copy, whatever its name."""
        whole = hashlib.sha256(str(len(self.tokens)).encode())
        last = max(len(self.tokens) - _EXCERPT_TOKENS, 0)
        for start in np.unique(np.linspace(0, last, _NUM_EXCERPTS).astype(np.int64)):
            whole.update(np.asarray(self.tokens[start : start + _EXCERPT_TOKENS], dtype="<u4").tobytes())
        return whole.hexdigest()[:16]


def map_shards(paths: Sequence[Path], *, vocab_size: int | None = None) -> list[Shard]:
    """The shards of files, folders of them, or patterns, in their order.

    Raises:
        CorpusError: if a file is missing or malformed, or holds a token beyond the vocabulary.
    """
    return [Shard(path, map_shard(path, vocab_size=vocab_size)) for path in find_shards(paths)]


class TokenShards:
    """Tokens of several shards.

    Args:
        paths: shard files, folders of them, or patterns.
        window_length: tokens of the longest training window.
        vocab_size: tokens must be below it.

    Attributes:
        files: the shards, in their order.

    Raises:
        CorpusError: if a file is missing, malformed, shorter than a window, or holds a token beyond the vocabulary.
    """

    def __init__(self, paths: Sequence[Path], *, window_length: int, vocab_size: int) -> None:
        self.files = map_shards(paths, vocab_size=vocab_size)
        self._shards = [shard.tokens for shard in self.files]
        self._window_length = window_length
        for shard in self.files:
            if len(shard.tokens) < window_length:
                seen, expected = counted(len(shard.tokens), "token"), f"at least one window of {window_length}"
                raise CorpusError(f"shard {shard.path} is too short", seen=seen, expected=expected)

    @property
    def num_tokens(self) -> int:
        """Tokens of all shards."""
        return sum(len(shard) for shard in self._shards)

    def batch(self, *, seed: int, step: int, num_windows: int, window_length: int | None = None) -> Tensor:
        """Windows, by default of the longest kind, at uniformly random places; (num_windows, window_length) int64."""
        length = window_length or self._window_length
        raw = _raw(seed, step, _FOR_WINDOWS, num_windows)
        ends = np.cumsum([len(shard) - length + 1 for shard in self._shards])
        places = (raw % np.uint64(ends[-1])).astype(np.int64)
        owners = np.searchsorted(ends, places, side="right")
        windows = np.empty((num_windows, length), dtype=np.int64)
        for row, (owner, place) in enumerate(zip(owners, places, strict=True)):
            start = place - (ends[owner - 1] if owner else 0)
            windows[row] = self._shards[owner][start : start + length]
        return torch.from_numpy(windows)


def require_writer(corpus: Corpus, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that did not write a text.

    Raises:
        TokenizerError: if what its tokens spell is written with other tokens.
    """
    starts = corpus.document_starts(tokenizer.bos_id)
    encode_again(corpus, starts, tokenizer, num_excerpts=_NUM_EXCERPTS).require_hope(
        hint="pass the --tokenizer that wrote the shards; --no-check-tokenizer trains all the same"
    )
