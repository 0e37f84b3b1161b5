"""Shards and documents -> one stream of tokens; what of it is scored is laid out in `bpb_harness.text.spans`.

The formats of both are read in `bpb_harness.text`. Shards are memory-mapped: a corpus costs no memory but the pages
that are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count import Tokenizer
from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.foreign_files import stamp_of
from bpb_harness.freed_memory import let_go
from bpb_harness.text.documents import DocumentFile, find_documents
from bpb_harness.text.files import corpus_name, find_files, named_paths
from bpb_harness.text.shards import (
    HEADER_BYTES,
    SHARD_MAGIC,
    SHARD_VERSION,
    Shard,
    ShardFormat,
    map_file,
    require_format,
)

__all__ = [
    "HEADER_BYTES",
    "SHARD_MAGIC",
    "SHARD_VERSION",
    "Corpus",
    "find_shards",
    "iterate_documents",
    "load_documents",
    "load_shards",
    "map_shard",
]

LARGEST_DOCUMENT_BYTES = 256 * 2**20
_CHUNK_TOKENS = 1 << 20
_MANY_TOKENS = 1 << 15  # who reads so many goes through the text: their pages are let go of


@dataclass(frozen=True)
class Corpus:
    """A stream of tokens, and what is known of the text behind it.

    Attributes:
        name: short, for the signature.
        digest: sha256 (hex) over the token values as little-endian uint32; independent of how they are cut into shards.
        num_tokens: N.
        raw_bytes_per_document: (documents,) int64, UTF-8 bytes of each original document; None for shards.
        known_document_starts: (documents,) int64 for documents that were read as text; None for shards.
        form: what was read, in words: "token shards", "gzip-compressed JSON lines".
        raw_digest: sha256 (hex) over the original documents, each after its number of bytes; empty for shards.
    """

    name: str
    digest: str
    num_tokens: int
    raw_bytes_per_document: NDArray[np.int64] | None = None
    known_document_starts: NDArray[np.int64] | None = field(default=None, repr=False)
    _parts: tuple[NDArray[np.integer], ...] = field(default=(), repr=False)
    _offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64), repr=False)
    _stamps: tuple[tuple[int, int, int] | None, ...] = field(default=(), repr=False, compare=False)
    form: str = ""
    raw_digest: str = ""

    def read(self, start: int, stop: int) -> NDArray[np.int64]:
        """Tokens start .. stop - 1 as int64, across the borders of shards.

        Raises:
            IndexError: the range does not lie within the corpus.
        """
        if not 0 <= start <= stop <= self.num_tokens:
            raise IndexError(f"tokens {start}..{stop} of a corpus of {self.num_tokens}")
        tokens = np.empty(stop - start, np.int64)
        part = int(np.searchsorted(self._offsets, start, side="right")) - 1
        done = start
        while done < stop:
            offset, end = int(self._offsets[part]), int(self._offsets[part + 1])
            upto = min(stop, end)
            stored = self._parts[part][done - offset : upto - offset]
            tokens[done - start : upto - start] = stored
            if len(stored) >= _MANY_TOKENS:
                let_go(stored)
            done, part = upto, part + 1
        return tokens

    def stored(self, start: int, stop: int) -> Iterator[NDArray[np.integer]]:
        """Tokens start .. stop - 1 as the shards hold them, in pieces of a million at most; nothing is copied."""
        for offset, part in zip(self._offsets[:-1].tolist(), self._parts, strict=True):
            begin, end = max(start - offset, 0), min(stop - offset, len(part))
            for at in range(begin, end, _CHUNK_TOKENS):
                stored = part[at : min(at + _CHUNK_TOKENS, end)]
                yield stored
                let_go(stored)

    def let_go(self) -> None:
        """Let go of pages of shards that were read here and there: a window brings some of its neighbours along."""
        for part in self._parts:
            let_go(part)

    def require_unchanged(self) -> None:
        """Make sure, once it has been read, that shards hold what they held when their digest was taken.

        Raises:
            CorpusError: if somebody has written to one. What replaces a file leaves the one that is read as it is.
        """
        stamps = tuple(_stamp(part) for part in self._parts)
        if stamps == self._stamps or not any(stamps):
            return
        are_whole = all(_is_whole(part) for part in self._parts)
        if not are_whole or _digest_of(self._parts) != self.digest:
            raise CorpusError(
                f"{self.name}: its shards were written to while they were scored",
                hint="score it again, or copies that nothing writes to",
            )

    def document_starts(self, bos_id: int | None = None) -> NDArray[np.int64]:
        """Position of the first token of each document (its BOS, where there is one), ascending, int64.

        Documents that were read as text know their starts. In shards each token `bos_id` starts one; tokens before the
        first belong to a document of their own. Without a `bos_id` a shard is one document.
        """
        if self.known_document_starts is not None:
            return self.known_document_starts
        if bos_id is None:
            return np.zeros(1, np.int64)
        (starts,) = self.positions([bos_id])
        return starts if len(starts) and starts[0] == 0 else np.concatenate([np.zeros(1, np.int64), starts])

    def positions(self, tokens: Sequence[int]) -> tuple[NDArray[np.int64], ...]:
        """Where each of some tokens stands, ascending int64, in one pass over the corpus."""
        found: list[list[NDArray[np.int64]]] = [[] for _ in tokens]
        for start in range(0, self.num_tokens, _CHUNK_TOKENS):
            chunk = self.read(start, min(start + _CHUNK_TOKENS, self.num_tokens))
            for token, places in zip(tokens, found, strict=True):
                places.append(np.flatnonzero(chunk == token).astype(np.int64) + start)
        return tuple(np.concatenate(places) for places in found)

    @property
    def num_raw_bytes(self) -> int | None:
        """UTF-8 bytes of the original documents; None for shards."""
        return None if self.raw_bytes_per_document is None else int(self.raw_bytes_per_document.sum())


def load_shards(
    paths: Sequence[Path | str], *, vocab_size: int | None = None, shard_format: ShardFormat = "auto"
) -> Corpus:
    """Map token shards, in the order of their names.

    Args:
        paths: files, folders (their `*.bin`, or `*.npy`) or glob patterns.
        vocab_size: V; every token is checked to be below it.
        shard_format: how they are laid out; `auto` takes what the first bytes of each prove.

    Returns:
        The corpus.

    Raises:
        CorpusError: nothing found, a file twice, not a shard, a length that does not fit the header, a token out of
            range, no tokens.
        UsageError: no such format.
    """
    files = find_shards(paths, shard_format=shard_format)
    shards = [map_file(path, form=shard_format, vocab_size=vocab_size) for path in files]
    if not any(len(shard.tokens) for shard in shards):
        raise CorpusError(
            f"{named_paths(files)}: an empty corpus", seen="0 tokens", expected="at least 1",
            hint="pass a shard that holds tokens",
        )  # fmt: skip
    return _corpus(corpus_name(files), [shard.tokens for shard in shards], form=_words(shards))


def find_shards(paths: Sequence[Path | str], *, shard_format: ShardFormat = "auto") -> list[Path]:
    """The shard files that files, folders (their `*.bin`, or `*.npy`) and glob patterns stand for, in the order given.

    Raises:
        CorpusError: if one of them stands for nothing, or for no regular file, or for one that was named before.
    """
    if shard_format == "npy":
        return find_files(paths, (".npy",))
    folders = [Path(path) for path in paths if Path(path).is_dir()]
    has_none = bool(folders) and not any(entry.suffix == ".bin" for folder in folders for entry in folder.iterdir())
    has_arrays = has_none and any(entry.suffix == ".npy" for folder in folders for entry in folder.iterdir())
    return find_files(paths, (".npy",) if has_arrays and shard_format == "auto" else (".bin",))


def load_documents(
    paths: Sequence[Path | str],
    tokenizer: Tokenizer,
    *,
    text_field: str | None = None,
    track: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> Corpus:
    """Tokenize text, in the order of the file names; BOS before each document where the tokenizer has one.

    Args:
        paths: JSON lines ({"text": ..} a line), plain UTF-8 text (a document each), either compressed; Parquet, Arrow;
            folders, patterns.
        tokenizer: encodes each document on its own; its `bos_id` stands before each.
        text_field: the key or column of the text; None: `text`.
        track: wraps the documents as they are read, to show progress.

    Returns:
        The corpus; it knows its documents' starts and raw bytes.

    Raises:
        CorpusError: nothing found, a format that is not read, a line that is not JSON or has no text, invalid UTF-8, a
            document that is itself written with the token between documents, no documents.
        UsageError: a key for plain text.
    """
    files = find_documents(paths, field=text_field, largest=LARGEST_DOCUMENT_BYTES)
    bos = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    kind = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    encoded: list[NDArray[np.integer]] = []
    raw_bytes: list[int] = []
    raw = hashlib.sha256()
    for text in track(text for file in files for text in file.read()):
        tokens = tokenizer.encode(text)
        if bos and (tokens == bos[0]).any():
            raise CorpusError(
                f"{files[0].path.name}: document {len(encoded)} (from 0) is itself written with the token between "
                "documents",
                seen=repr(tokenizer.pieces[bos[0]]),
                expected="a token that no text is written with",
                hint="take that out of the text, or name another token with --separator",
            )
        encoded.append(np.concatenate([np.array(bos, np.int64), tokens]).astype(kind))
        content = text.encode()
        raw_bytes.append(len(content))
        raw.update(len(content).to_bytes(8, "little") + content)
    if not encoded:
        raise CorpusError(f"{files[0].path}: no documents", expected='lines of {"text": ..} or plain text')
    corpus = corpus_of_documents(files, encoded, raw_bytes, vocab_size=tokenizer.vocab_size)
    return replace(corpus, raw_digest=raw.hexdigest())


def corpus_of_documents(
    files: Sequence[DocumentFile], encoded: Sequence[NDArray[np.integer]], raw_bytes: Sequence[int], *, vocab_size: int
) -> Corpus:
    """The corpus of documents that were encoded one by one.

    Args:
        files: what they were read from.
        encoded: tokens of each, at least one.
        raw_bytes: UTF-8 bytes of each.
        vocab_size: V; tokens are kept in as few bytes as it takes.

    Raises:
        CorpusError: no tokens.
    """
    lengths = np.array([len(tokens) for tokens in encoded], np.int64)
    return _corpus(
        corpus_name([file.path for file in files]),
        [np.concatenate(encoded).astype(np.uint16 if vocab_size <= 2**16 else np.uint32, copy=False)],
        raw_bytes_per_document=np.array(raw_bytes, np.int64),
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)[:-1]]),
        form=_words(files),
    )


def iterate_documents(paths: Sequence[Path | str], *, text_field: str | None = None) -> Iterator[str]:
    """The documents of files of any format that is read, one after the other.

    Raises:
        CorpusError: a format that is not read, a line that is not JSON or has no text (with its number), invalid UTF-8
            (with its offset).
        UsageError: a key for plain text.
    """
    for file in find_documents(paths, field=text_field, largest=LARGEST_DOCUMENT_BYTES):
        yield from file.read()


def _corpus(
    name: str,
    parts: list[NDArray[np.integer]],
    raw_bytes_per_document: NDArray[np.int64] | None = None,
    starts: NDArray[np.int64] | None = None,
    form: str = "",
) -> Corpus:
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(tokens) for tokens in parts], dtype=np.int64)])
    if not offsets[-1]:
        raise CorpusError(f"{name}: an empty corpus", seen="0 tokens", expected="at least 1")
    stamps = tuple(_stamp(tokens) for tokens in parts)
    digest = _digest_of(parts)
    for array in (offsets, raw_bytes_per_document, starts):
        if array is not None:
            array.setflags(write=False)
    return Corpus(name, digest, int(offsets[-1]), raw_bytes_per_document, starts, tuple(parts), offsets, stamps, form)


def _digest_of(parts: Iterable[NDArray[np.integer]]) -> str:
    """sha256 of token values as little-endian uint32; hex."""
    digest = hashlib.sha256()
    for tokens in parts:
        for start in range(0, len(tokens), _CHUNK_TOKENS):
            stored = tokens[start : start + _CHUNK_TOKENS]
            digest.update(np.ascontiguousarray(stored, dtype="<u4").data)
            let_go(stored)
    return digest.hexdigest()


def _stamp(tokens: NDArray[np.integer]) -> tuple[int, int, int] | None:
    """What changes of a mapped file when it is written to; None of what lies in memory, or is a file no more."""
    if not isinstance(tokens, np.memmap) or tokens.filename is None:
        return None
    try:
        return stamp_of(Path(tokens.filename))
    except OSError:
        return None


def _is_whole(tokens: NDArray[np.integer]) -> bool:
    """Whether a mapped file is still as long as what was mapped: reading behind its end ends the process."""
    mapped = getattr(tokens, "_mmap", None)
    return mapped is None or bool(mapped.size() >= len(mapped))


def map_shard(path: Path, *, vocab_size: int | None = None, shard_format: ShardFormat = "auto") -> NDArray[np.integer]:
    """The tokens of one shard, memory-mapped, (N,).

    Args:
        path: the file.
        vocab_size: V; every token is checked to be below it.
        shard_format: how it is laid out; see `bpb_harness.text.shards`.

    Raises:
        CorpusError: not a shard, a length that does not fit the header, a token out of range.
    """
    return map_file(path, form=shard_format, vocab_size=vocab_size).tokens


def _words(parts: Iterable[Shard | DocumentFile]) -> str:
    return " and ".join(dict.fromkeys(part.words for part in parts))


def require_text_flags(
    *, docs: bool, text_field: str | None, shard_format: str, data: bool | None = None
) -> ShardFormat:
    """Refuse a flag that would have no effect.

    Args:
        docs: documents are given.
        text_field: the value of --text-field.
        shard_format: the value of --shard-format.
        data: shards are given; None: where no documents are.

    Returns:
        The format of shards.

    Raises:
        UsageError: --text-field without --docs, --shard-format without shards, a format that is none.
    """
    form = require_format(shard_format)
    if text_field is not None and (not docs or not text_field):
        hint = None if docs else "give the documents as --docs FILE; tokens of --data have no keys"
        raise UsageError("--text-field", seen=repr(text_field), expected="the key of the text in --docs", hint=hint)
    if form != "auto" and not (not docs if data is None else data):
        raise UsageError(f"--shard-format {form}", seen="no shards", expected="--data SHARDS")
    return form
