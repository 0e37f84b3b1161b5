"""BPE by ranks, as tiktoken does it: `*.tiktoken` files and nanochat's pickled encoding.

A vocabulary is an object from bytes to ranks, which are the ids. A text is cut by a pattern, and in each part the two
neighbours whose joint bytes have the lowest rank are joined, the leftmost first, until no two have one.
"""

from __future__ import annotations

import base64
import binascii
import heapq
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count.guarded import guarded
from bpb_harness.byte_count.library_tokenizer import BOS_NAMES
from bpb_harness.byte_count.plain_pickle import Named
from bpb_harness.byte_count.tokenizer import (
    LARGEST_VOCABULARY,
    PieceKind,
    SpaceHabit,
    Tokenizer,
    not_a_tokenizer,
)
from bpb_harness.errors import TokenizerError

_ENCODINGS = ("tiktoken.core.Encoding", "tiktoken.Encoding")
MAX_UNNAMED = 256  # special tokens that a rank file has room for: LLaMA 3 has as many
_MAX_CACHED = 1 << 18  # parts of a text whose tokens are remembered


class RankTokenizer(Tokenizer):
    """A vocabulary of ranks.

    Args:
        model_bytes: the file.
        name: for messages.
        ranks: bytes -> id.
        special: name -> id of the special tokens; None where the file does not say, and then ids behind the last rank
            are special ones without a name.
        pattern: the regular expression that cuts a text; None where the file does not say.
    """

    kind = "rank_bpe"

    def __init__(
        self,
        model_bytes: bytes,
        name: str,
        ranks: Mapping[bytes, int],
        special: Mapping[str, int] | None,
        pattern: str | None,
    ) -> None:
        self._ranks, self._cache = dict(ranks), dict[str, list[int]]()
        top = max([*ranks.values(), *(special or {}).values()], default=-1) + 1
        self.num_unnamed = MAX_UNNAMED if special is None else 0
        size = top + self.num_unnamed
        if not 0 < top <= LARGEST_VOCABULARY or min(ranks.values(), default=-1) < 0:
            raise TokenizerError(
                f"{name}: not a usable vocabulary",
                seen=f"largest id {top - 1}",
                expected=f"0 to {LARGEST_VOCABULARY - 1}",
            )
        pieces, kinds, spelled = [""] * size, [PieceKind.UNUSED] * size, [b""] * size
        for written, token in ranks.items():
            pieces[token], kinds[token] = written.decode("utf-8", errors="replace"), PieceKind.TEXT
            spelled[token] = written
        named = {f"special {token}": token for token in range(top, size)} if special is None else special
        for piece, token in named.items():
            if kinds[token] is not PieceKind.UNUSED:
                raise TokenizerError(f"{name}: two pieces of one id", seen=token)
            pieces[token], kinds[token] = piece, PieceKind.CONTROL
        self._set(model_bytes, name, pieces, kinds, spelled)
        self.bos_id = next((named[mark] for mark in ("<|bos|>", *BOS_NAMES) if mark in named), None)
        self.spaces = SpaceHabit(escapes=False)
        missing = sum(bytes([byte]) not in self._ranks for byte in range(256))
        self._splitter = self._of_byte = None
        if not missing and len(self._ranks) == 256:  # bytes alone: however a text is cut, nothing is joined
            self._of_byte = np.array([self._ranks[bytes([byte])] for byte in range(256)], dtype=np.int64)
        elif pattern is None:
            self.unwritable = "a rank file does not say how a text is cut"
        elif missing:
            self.unwritable = f"{missing} of the 256 bytes have no rank"
        else:
            self._splitter = _splitter(pattern, name)

    def encode(self, text: str) -> NDArray[np.int64]:
        if self._of_byte is not None:
            return self._of_byte[np.frombuffer(text.encode(), dtype=np.uint8)]
        if self._splitter is None:
            raise TokenizerError(
                f"{self.name}: a text cannot be encoded with it",
                seen=self.unwritable,
                hint="pass token shards with --data, or the same tokenizer as tokenizer.json",
            )
        splitter = self._splitter
        parts = (
            guarded(f"{self.name}: the text cannot be encoded", lambda: splitter.pre_tokenize_str(text)) if text else []
        )
        return np.array([token for part, _ in parts for token in self._encode_part(part)], dtype=np.int64)

    def normalize(self, text: str) -> str:
        return text

    def _encode_part(self, part: str) -> list[int]:
        known = self._cache.get(part)
        if known is None:
            known = merge_by_rank(part.encode(), self._ranks)
            if len(self._cache) < _MAX_CACHED:
                self._cache[part] = known
        return known


def merge_by_rank(part: bytes, ranks: Mapping[bytes, int]) -> list[int]:
    """The tokens of one part of a text; every single byte must have a rank."""
    if part in ranks:
        return [ranks[part]]
    # Pieces are named by where they start; `after` leads from each to the next, `before` back.
    after, before = list(range(1, len(part) + 1)), list(range(-1, len(part)))
    waiting: list[tuple[int, int, int]] = []  # (rank, start, end) of two neighbours together

    def consider(start: int) -> None:
        if start >= 0 and after[start] < len(part):
            end = after[after[start]]
            rank = ranks.get(part[start:end])
            if rank is not None:
                heapq.heappush(waiting, (rank, start, end))

    for start in range(len(part)):
        consider(start)
    gone = bytearray(len(part) + 1)
    while waiting:
        _, start, end = heapq.heappop(waiting)
        middle = after[start]
        if gone[start] or middle >= len(part) or after[middle] != end:
            continue
        gone[middle] = 1
        after[start], before[end] = end, start
        consider(start)
        consider(before[start])
    tokens, start = [], 0
    while start < len(part):
        tokens.append(ranks[part[start : after[start]]])
        start = after[start]
    return tokens


def read_rank_file(model_bytes: bytes, name: str) -> Tokenizer:
    """A `.tiktoken` file: a line a piece, its bytes in base64 and its rank.

    Raises:
        TokenizerError: for a line of another kind.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(model_bytes.splitlines(), start=1):
        if not line:
            continue
        try:
            written, rank = line.split(b" ")
            piece = base64.b64decode(written, validate=True)
            known = ranks.setdefault(piece, int(rank))
        except (ValueError, binascii.Error) as error:
            raise TokenizerError(
                f"{name}: line {number} of a rank file", seen=repr(line[:40]), expected="bytes in base64 and a rank"
            ) from error
        if known != int(rank) or not piece or int(rank) > LARGEST_VOCABULARY:
            raise TokenizerError(f"{name}: line {number} of a rank file", seen=repr(line[:40]), expected="a new piece")
    if len(set(ranks.values())) < len(ranks):
        raise TokenizerError(f"{name}: a rank file with two pieces of one rank")
    found = RankTokenizer(model_bytes, name, ranks, None, None)
    top = found.vocab_size - found.num_unnamed
    found.notes = (f"{name}: a rank file names no special tokens; ids from {top:,} on are taken to be such",)
    return found


def read_encoding(content: Named, model_bytes: bytes, name: str) -> Tokenizer:
    """A pickled encoding of tiktoken, as nanochat keeps it.

    Raises:
        TokenizerError: for an object of another kind, or without ranks of its own.
    """
    state = content.state
    if content.name not in _ENCODINGS:
        raise not_a_tokenizer(name, seen=f"a pickle of {content.name[:100]}")
    if isinstance(state, str):
        raise TokenizerError(
            f"{name}: a pickle that names an encoding of tiktoken and holds none",
            seen=repr(state[:40]),
            expected="its ranks",
            hint="give the .tiktoken file, or the same tokenizer as tokenizer.json",
        )
    parts = state if isinstance(state, dict) else {}
    ranks, special, pattern = (parts.get(key) for key in ("mergeable_ranks", "special_tokens", "pat_str"))
    shapes = _is_table(ranks, bytes), _is_table(special, str), isinstance(pattern, str)
    if not all(shapes):
        raise not_a_tokenizer(name, seen="an encoding of tiktoken of another shape")
    assert ranks is not None
    assert special is not None
    if len(set(ranks.values())) < len(ranks):
        raise TokenizerError(f"{name}: an encoding with two pieces of one rank")
    return RankTokenizer(model_bytes, name, ranks, special, pattern)


def _is_table(table: Any, key_kind: type) -> bool:
    return isinstance(table, dict) and all(
        isinstance(key, key_kind) and key and type(value) is int and 0 <= value <= LARGEST_VOCABULARY
        for key, value in table.items()
    )


def _splitter(pattern: str, name: str) -> Any:
    """Cuts a text where the pattern does; tiktoken drops what it does not match, so here that must be nothing."""
    from tokenizers import Regex, pre_tokenizers

    return guarded(
        f"{name}: the pattern that cuts a text is none that the tokenizers library knows",
        lambda: pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True),
    )
