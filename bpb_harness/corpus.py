"""Shards, text and JSON lines -> one stream of tokens -> windows; every token is in exactly one window.

A shard is 256 little-endian int32 (20240520, 1, number of tokens, zeros), then that many little-endian uint16 tokens.
Shards are memory-mapped: a corpus costs no memory but the pages that are read.
"""

from __future__ import annotations

import glob
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count import ByteCounter, Rule, Tokenizer
from bpb_harness.errors import CorpusError, UsageError

SHARD_MAGIC, SHARD_VERSION = 20240520, 1
HEADER_BYTES = 256 * 4
LARGEST_DOCUMENT_BYTES = 256 * 2**20
_CHUNK_TOKENS = 1 << 20
_NO_SHARD_HINT = "give token shards here, and text as --docs"


@dataclass(frozen=True)
class Corpus:
    """A stream of tokens, and what is known of the text behind it.

    Attributes:
        name: short, for the signature.
        digest: sha256 (hex) over the token values as little-endian uint32; independent of how they are cut into shards.
        num_tokens: N.
        raw_bytes_per_document: (documents,) int64, UTF-8 bytes of each original document; None for shards.
        known_document_starts: (documents,) int64 for documents that were read as text; None for shards.
    """

    name: str
    digest: str
    num_tokens: int
    raw_bytes_per_document: NDArray[np.int64] | None = None
    known_document_starts: NDArray[np.int64] | None = field(default=None, repr=False)
    _parts: tuple[NDArray[np.integer], ...] = field(default=(), repr=False)
    _offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64), repr=False)

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
            tokens[done - start : upto - start] = self._parts[part][done - offset : upto - offset]
            done, part = upto, part + 1
        return tokens

    def document_starts(self, bos_id: int | None = None) -> NDArray[np.int64]:
        """Position of the first token of each document (its BOS, where there is one), ascending, int64.

        Documents that were read as text know their starts. In shards each token `bos_id` starts one; tokens before the
        first belong to a document of their own. Without a `bos_id` a shard is one document.
        """
        if self.known_document_starts is not None:
            return self.known_document_starts
        if bos_id is None:
            return np.zeros(1, np.int64)
        found = [np.flatnonzero(tokens == bos_id) + start for start, tokens in self._chunks()]
        starts = np.concatenate(found).astype(np.int64)
        return starts if len(starts) and starts[0] == 0 else np.concatenate([np.zeros(1, np.int64), starts])

    @property
    def num_raw_bytes(self) -> int | None:
        """UTF-8 bytes of the original documents; None for shards."""
        return None if self.raw_bytes_per_document is None else int(self.raw_bytes_per_document.sum())

    def _chunks(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        for start in range(0, self.num_tokens, _CHUNK_TOKENS):
            yield start, self.read(start, min(start + _CHUNK_TOKENS, self.num_tokens))


@dataclass(frozen=True)
class Windows:
    """Where the windows of a corpus lie.

    Attributes:
        starts: (N,) int64, position of each window's first token.
        lengths: (N,) int64, its number of tokens.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def num_tokens(self) -> int:
        """Tokens in all windows."""
        return int(self.lengths.sum())


def load_shards(paths: Sequence[Path | str], *, vocab_size: int | None = None) -> Corpus:
    """Map token shards, in the order of their names.

    Args:
        paths: files, folders (their `*.bin`) or glob patterns.
        vocab_size: V; every token is checked to be below it.

    Returns:
        The corpus.

    Raises:
        CorpusError: nothing found, not a shard, a length that does not fit the header, a token out of range, no tokens.
    """
    files = find_shards(paths)
    return _corpus(_name(files), [map_shard(path, vocab_size=vocab_size) for path in files])


def find_shards(paths: Sequence[Path | str]) -> list[Path]:
    """The shard files that files, folders (their `*.bin`) and glob patterns stand for, in the order given.

    Raises:
        CorpusError: if one of them stands for nothing.
    """
    return _files(paths, (".bin",))


def load_documents(
    paths: Sequence[Path | str], tokenizer: Tokenizer, *, track: Callable[[Iterable[str]], Iterable[str]] = iter
) -> Corpus:
    """Tokenize text, in the order of the file names; BOS before each document where the tokenizer has one.

    Args:
        paths: `.jsonl` files ({"text": ..} a line), other files (plain UTF-8 text, a document each), folders, patterns.
        tokenizer: encodes each document on its own.
        track: wraps the documents as they are read, to show progress.

    Returns:
        The corpus; it knows its documents' starts and raw bytes.

    Raises:
        CorpusError: nothing found, a line that is not JSON or has no text, invalid UTF-8, no documents.
    """
    files = _files(paths, (".jsonl", ".txt"))
    bos = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    kind = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    encoded, raw_bytes = [], []
    for text in track(iterate_documents(files)):
        encoded.append(np.concatenate([np.array(bos, np.int64), tokenizer.encode(text)]).astype(kind))
        raw_bytes.append(len(text.encode()))
    if not encoded:
        raise CorpusError(f"{files[0]}: no documents", expected='lines of {"text": ..} or plain text')
    lengths = np.array([len(tokens) for tokens in encoded], np.int64)
    return _corpus(
        _name(files),
        [np.concatenate(encoded)],
        raw_bytes_per_document=np.array(raw_bytes, np.int64),
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)[:-1]]),
    )


def iterate_documents(paths: Sequence[Path | str]) -> Iterator[str]:
    """The documents of text and JSON-lines files, one after the other.

    Raises:
        CorpusError: a line that is not JSON or has no text (with its number), invalid UTF-8 (with its offset).
    """
    for path in _files(paths, (".jsonl", ".txt")):
        if path.suffix == ".jsonl":
            yield from _json_lines(path)
        else:
            yield _decode(path, _read(path), offset=0)


def corpus_windows(
    corpus: Corpus, context_length: int, *, tail: Literal["score", "drop"] = "score", limit: int | None = None
) -> Windows:
    """Cut a corpus into windows, each token in exactly one.

    Args:
        corpus: N tokens.
        context_length: L, the length of every window but perhaps the last.
        tail: `score` keeps the last, shorter window; `drop` leaves it out, as the official evaluator does.
        limit: at most this many windows, from the start.

    Raises:
        UsageError: a length or limit below 1.
        CorpusError: no window remains.
    """
    if context_length < 1:
        raise UsageError("--context must be at least 1", seen=context_length)
    if limit is not None and limit < 1:
        raise UsageError("--limit must be at least 1", seen=limit)
    starts = np.arange(0, corpus.num_tokens, context_length, dtype=np.int64)
    lengths = np.minimum(corpus.num_tokens - starts, context_length)
    if tail == "drop":
        starts, lengths = starts[lengths == context_length], lengths[lengths == context_length]
    if not len(starts):
        raise CorpusError(
            f"{corpus.name}: no whole window", seen=f"{corpus.num_tokens} tokens", expected=f"at least {context_length}"
        )
    return Windows(starts[:limit], lengths[:limit])


def window_bytes(corpus: Corpus, windows: Windows, counter: ByteCounter, rule: Rule = "official") -> NDArray[np.int64]:
    """Bytes of the tokens in each window, every token in the context of the whole stream; (N,) int64."""
    sums = np.empty(len(windows), np.int64)
    for first, last in _batches(windows):
        start = int(windows.starts[first])
        stop = int(windows.starts[last - 1] + windows.lengths[last - 1])
        counted = np.concatenate([[0], np.cumsum(counter.span(corpus, start, stop, rule))])
        begins = windows.starts[first:last] - start
        sums[first:last] = counted[begins + windows.lengths[first:last]] - counted[begins]
    return sums


def window_documents(corpus: Corpus, windows: Windows, bos_id: int | None = None) -> NDArray[np.int64]:
    """The first and the last document that each window touches; (N, 2) int64, documents counted from 0."""
    starts = corpus.document_starts(bos_id)
    first = np.searchsorted(starts, windows.starts, side="right") - 1
    last = np.searchsorted(starts, windows.starts + windows.lengths - 1, side="right") - 1
    return np.stack([first, last], axis=1).astype(np.int64)


def document_bytes(
    corpus: Corpus, counter: ByteCounter, rule: Rule = "official", bos_id: int | None = None
) -> NDArray[np.int64]:
    """Bytes of the tokens of each document; (documents,) int64."""
    starts = corpus.document_starts(bos_id)
    stops = np.append(starts[1:], corpus.num_tokens)
    return window_bytes(corpus, Windows(starts, stops - starts), counter, rule)


def _batches(windows: Windows) -> Iterator[tuple[int, int]]:
    """Runs of windows that lie one after the other and are worth one read."""
    first = 0
    for index in range(1, len(windows) + 1):
        if index == len(windows) or int(windows.starts[index] - windows.starts[first]) >= _CHUNK_TOKENS:
            yield first, index
            first = index


def _corpus(
    name: str,
    parts: list[NDArray[np.integer]],
    raw_bytes_per_document: NDArray[np.int64] | None = None,
    starts: NDArray[np.int64] | None = None,
) -> Corpus:
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(tokens) for tokens in parts], dtype=np.int64)])
    if not offsets[-1]:
        raise CorpusError(f"{name}: an empty corpus", seen="0 tokens", expected="at least 1")
    digest = hashlib.sha256()
    for tokens in parts:
        for start in range(0, len(tokens), _CHUNK_TOKENS):
            digest.update(np.ascontiguousarray(tokens[start : start + _CHUNK_TOKENS], dtype="<u4").data)
    for array in (offsets, raw_bytes_per_document, starts):
        if array is not None:
            array.setflags(write=False)
    return Corpus(name, digest.hexdigest(), int(offsets[-1]), raw_bytes_per_document, starts, tuple(parts), offsets)


def map_shard(path: Path, *, vocab_size: int | None = None) -> NDArray[np.integer]:
    """The tokens of one shard, memory-mapped, (N,).

    Args:
        path: the file.
        vocab_size: V; every token is checked to be below it.

    Raises:
        CorpusError: not a shard, a length that does not fit the header, a token out of range.
    """
    tokens = _map_shard(path)
    if vocab_size is not None:
        _check_range(path, tokens, vocab_size)
    return tokens


def _map_shard(path: Path) -> NDArray[np.integer]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = np.frombuffer(file.read(HEADER_BYTES), dtype="<i4", count=-1 if size >= HEADER_BYTES else 0)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from error
    if len(header) < 256:
        raise CorpusError(
            f"{path}: not a token shard",
            seen=f"{size} bytes",
            expected=f"a header of {HEADER_BYTES}",
            hint=_NO_SHARD_HINT if size else "the file is empty: write or fetch it again",
        )
    if header[0] != SHARD_MAGIC:
        raise CorpusError(
            f"{path}: not a token shard: wrong magic number",
            seen=header[0],
            expected=SHARD_MAGIC,
            hint=_NO_SHARD_HINT,
        )
    if header[1] != SHARD_VERSION:
        raise CorpusError(f"{path}: unknown version of a token shard", seen=header[1], expected=SHARD_VERSION)
    count = int(header[2])
    if count < 0 or size != HEADER_BYTES + 2 * count:
        raise CorpusError(
            f"{path}: the file does not have the length that its header gives",
            seen=f"{size} bytes",
            expected=f"{HEADER_BYTES} + 2 x {count} = {HEADER_BYTES + 2 * count}",
            hint="it is truncated or damaged: fetch it again",
        )
    if count == 0:
        return np.zeros(0, np.uint16)
    return np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES, shape=(count,))


def _check_range(path: Path, tokens: NDArray[np.integer], vocab_size: int) -> None:
    for start in range(0, len(tokens), _CHUNK_TOKENS):
        chunk = tokens[start : start + _CHUNK_TOKENS]
        if int(chunk.max()) >= vocab_size:
            position = start + int(np.argmax(chunk >= vocab_size))
            raise CorpusError(
                f"{path}: token {position} lies outside the vocabulary",
                seen=int(tokens[position]),
                expected=f"0..{vocab_size - 1}",
                hint="the tokenizer does not belong to this shard",
            )


def _json_lines(path: Path) -> Iterator[str]:
    offset = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LARGEST_DOCUMENT_BYTES + 1), b""), start=1):
                if len(line) > LARGEST_DOCUMENT_BYTES:
                    raise CorpusError(f"{path}: line {number} is longer than {LARGEST_DOCUMENT_BYTES} bytes")
                decoded = _decode(path, line, offset)
                offset += len(line)
                if decoded.strip("\ufeff \t\r\n"):
                    yield _document(path, number, decoded)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from error


def _document(path: Path, number: int, line: str) -> str:
    where = f"{path}: line {number}"
    try:
        row = json.loads(line.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where} is not JSON: {error}") from error
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise CorpusError(f"{where} has no text", seen=type(row).__name__, expected='{"text": "..."}')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(f"{where}: a lone surrogate at character {error.start} is no text") from error
    return text


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from error
    if len(text) > LARGEST_DOCUMENT_BYTES:
        raise CorpusError(
            f"{path}: too long for one document",
            expected=f"at most {LARGEST_DOCUMENT_BYTES} bytes",
            hint='cut it into documents, one {"text": ...} a line of a .jsonl file',
        )
    return text


def _decode(path: Path, raw: bytes, offset: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        is_shard = offset == 0 and raw.startswith(SHARD_MAGIC.to_bytes(4, "little"))
        raise CorpusError(
            f"{path}: invalid UTF-8 at byte {offset + error.start}",
            seen=f"0x{raw[error.start]:02X}",
            expected="text",
            hint="this is a token shard: pass it with --data" if is_shard else "convert the file to UTF-8",
        ) from error


def _files(paths: Sequence[Path | str], suffixes: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            matches = sorted(entry for entry in path.iterdir() if entry.suffix in suffixes)
        elif path.exists():
            matches = [path]
        else:
            matches = sorted(Path(match) for match in glob.glob(str(given)))  # noqa: PTH207 - patterns may be absolute
        if not matches:
            wanted = " or ".join(suffixes)
            if path.is_dir():
                raise CorpusError(f"{given}: the folder holds no {wanted} file", hint=_look_below(path, suffixes))
            raise CorpusError(f"{given}: no such file", hint=f"give a file, a folder of {wanted} files or a pattern")
        found += matches
    if not found:
        raise CorpusError("no data given", hint="give a file, a folder or a pattern")
    return found


def _look_below(folder: Path, suffixes: tuple[str, ...]) -> str:
    """The next step where a folder has none of the wanted files itself."""
    below = sorted(inner for inner in folder.iterdir() if inner.is_dir())
    for inner in below:
        if any(entry.suffix in suffixes for entry in inner.iterdir()):
            return f"there are some in {inner}: give that folder"
    return "give a file, another folder or a pattern"


def _name(files: Sequence[Path]) -> str:
    """`lab_val` from lab_val_000000.bin; characters that a signature uses itself become `_`."""
    stems = [re.sub(r"_\d{6}$", "", path.name.removesuffix(path.suffix)) for path in files]
    names = list(dict.fromkeys(re.sub(r"[^A-Za-z0-9._-]+", "_", stem) or "data" for stem in stems))
    return names[0] if len(names) == 1 else f"{names[0]}+{len(names) - 1}"
