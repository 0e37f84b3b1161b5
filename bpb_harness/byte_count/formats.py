"""Which file is which tokenizer: told by its content, not by its name.

JSON with a `model`           tokenizer_json.py
other JSON                    characters.py
a pickle                      characters.py (`stoi` and `itos`), ranks.py (an encoding of tiktoken)
lines of base64 and a rank    ranks.py
vocab.json and merges.txt     tokenizer_json.py: the one place where two files are one tokenizer
anything else                 sentencepiece_model.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bpb_harness.byte_count.characters import read_characters
from bpb_harness.byte_count.plain_pickle import Named, read_plain_pickle
from bpb_harness.byte_count.ranks import read_encoding, read_rank_file
from bpb_harness.byte_count.sentencepiece_model import SentencePieceTokenizer
from bpb_harness.byte_count.tokenizer import Tokenizer, not_a_tokenizer
from bpb_harness.byte_count.tokenizer_json import read_tokenizer_json, read_vocabulary_and_merges
from bpb_harness.errors import TokenizerError
from bpb_harness.foreign_files import KeyGivenTwiceError, kind_of, load_once
from bpb_harness.units import counted

LARGEST_MODEL_BYTES = 64 * 2**20  # the largest public vocabularies (256k pieces) take about 35 MiB
VOCABULARY, MERGES = "vocab.json", "merges.txt"
# Files of a folder that may be its tokenizer, the most telling first.
_NAMES = (
    "tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "sentencepiece.model", VOCABULARY,
    "tokenizer.pkl", "meta.pkl", "meta.json",
)  # fmt: skip
_PATTERNS = ("*.tiktoken", "*.model")
_RANK_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} [0-9]{1,9}\r?\n?")  # as a file of ranks begins
_NEXT = "save it as tokenizer.json, or give the SentencePiece .model that it was made from"
_NO_BYTES_HINT = "bpb-eval --bytes none scores in bits per token without bytes"
_FROM_SENTENCEPIECE = "give the SentencePiece .model that it was made from"
_NEVER_SENTENCEPIECE = ("WordPiece", "WordLevel")


def load_tokenizer(source: Path | str | bytes, *, name: str | None = None, needs_bytes: bool = True) -> Tokenizer:
    """Read a tokenizer.

    Args:
        source: a file, a folder that holds one, or the bytes of a file.
        name: how messages call it; by default the path.
        needs_bytes: refuse one whose pieces do not say what they spell. Otherwise it says so in `uncountable`.

    Returns:
        The tokenizer.

    Raises:
        TokenizerError: the file is missing, no regular file, too large, or of no format that is known.
    """
    if isinstance(source, bytes):
        return _countable(_from_bytes(source, name or "tokenizer"), needs_bytes)
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, name or str(path), needs_bytes)
    return _countable(_from_file(path, name or str(path)), needs_bytes)


def load_again(
    model_bytes: bytes, name: str, set_off_by: tuple[int | None, *tuple[int, ...]] | None = None
) -> Tokenizer:
    """What a pickled tokenizer is made from."""
    tokenizer = load_tokenizer(model_bytes, name=name, needs_bytes=False)
    return tokenizer if set_off_by is None else tokenizer.set_off_by(*set_off_by)


def tokenizer_files(folder: Path) -> list[Path]:
    """Files of a folder that may be its tokenizer, the most telling first."""
    named = [folder / name for name in _NAMES]
    others = sorted(path for pattern in _PATTERNS for path in folder.glob(pattern))
    found = [path for path in [*named, *others] if path.is_file()]
    return [path for path in dict.fromkeys(found) if path.name != VOCABULARY or (folder / MERGES).is_file()]


def tokenizer_bytes_in(folder: Path) -> bytes | None:
    """The bytes of the tokenizer that a folder holds: of the first file that can be counted.

    Where none can be, those of the first, so that whoever needs it hears why; None where there is no such file.

    Raises:
        TokenizerError: the first file cannot be read.
    """
    files = tokenizer_files(folder)
    if len(files) > 1 or VOCABULARY in (path.name for path in files):  # which is half a tokenizer
        try:
            return _from_folder(folder, folder.name, needs_bytes=False).model_bytes
        except TokenizerError:
            pass
    return _bytes_of(files[0], f"{folder.name}/{files[0].name}") if files else None


def _from_folder(folder: Path, name: str, needs_bytes: bool) -> Tokenizer:
    """The first file that can be taken; why others were not is told with it."""
    files, passed_over = tokenizer_files(folder), list[str]()
    uncountable: Tokenizer | None = None
    for path in files:
        try:
            found = _from_file(path, f"{name}/{path.name}")
        except TokenizerError as error:
            passed_over.append(str(error))
            continue
        if found.uncountable is None:
            found.notes = (*found.notes, *(f"{path.name} was taken: {why}" for why in passed_over))
            return found
        uncountable = uncountable or found
        passed_over.append(f"{path.name}: {found.uncountable}")
    if uncountable is not None:
        return _countable(uncountable, needs_bytes)
    if passed_over:
        raise TokenizerError(f"{name}: no tokenizer in the folder can be used: {'; '.join(passed_over)}")
    raise TokenizerError(
        f"{name}: no tokenizer in the folder",
        expected="tokenizer.json, tokenizer.model, vocab.json with merges.txt, tokenizer.pkl or *.tiktoken",
        hint="give --tokenizer the file",
    )


def _countable(tokenizer: Tokenizer, needs_bytes: bool) -> Tokenizer:
    if needs_bytes and tokenizer.uncountable is not None:
        made_elsewhere = tokenizer.kind in _NEVER_SENTENCEPIECE
        raise TokenizerError(
            f"{tokenizer.name}: a tokenizer.json whose bytes cannot be counted exactly",
            seen=tokenizer.uncountable,
            expected="byte-level BPE or a vocabulary of single characters",
            hint=_NO_BYTES_HINT if made_elsewhere else f"{_FROM_SENTENCEPIECE}; {_NO_BYTES_HINT}",
        )
    return tokenizer


def _from_file(path: Path, name: str) -> Tokenizer:
    pair = _pair(path)
    if pair is not None:
        vocabulary, merges = (_bytes_of(file, f"{name}: {file.name}" if file != path else name) for file in pair)
        return read_vocabulary_and_merges(vocabulary, merges, name)
    return _from_bytes(_bytes_of(path, name), name)


def _pair(path: Path) -> tuple[Path, Path] | None:
    """vocab.json and merges.txt, whichever is given; other names that end so (`gpt2-vocab.json`) go together too."""
    for own, other in ((VOCABULARY, MERGES), (MERGES, VOCABULARY)):
        if path.name.endswith(own):
            beside = path.with_name(path.name.removesuffix(own) + other)
            if beside.is_file():
                return (path, beside) if own == VOCABULARY else (beside, path)
    return None


def _from_bytes(model_bytes: bytes, name: str) -> Tokenizer:
    if len(model_bytes) > LARGEST_MODEL_BYTES:
        raise TokenizerError(
            f"{name}: too large for a tokenizer",
            seen=counted(len(model_bytes), "byte"),
            expected=f"at most {LARGEST_MODEL_BYTES}",
        )
    if not model_bytes:
        raise not_a_tokenizer(name, seen="an empty file")
    if model_bytes[:1] == b"\x80":
        content = read_plain_pickle(model_bytes, name)
        read = read_encoding if isinstance(content, Named) else read_characters
        return read(content, model_bytes, name)
    if _RANK_LINE.match(model_bytes):
        return read_rank_file(model_bytes, name)
    foreign = _foreign_format(model_bytes)
    if foreign is not None:
        seen, hint = foreign
        raise not_a_tokenizer(name, seen=seen, hint=hint)
    if model_bytes.lstrip()[:1] in (b"{", b"["):
        return _from_json(model_bytes, name)
    return SentencePieceTokenizer(model_bytes, name)


def _from_json(model_bytes: bytes, name: str) -> Tokenizer:
    try:
        document: Any = load_once(model_bytes)
    except KeyGivenTwiceError as error:
        raise TokenizerError(f"{name}: {error}", expected="each key once", hint="fetch or write it again") from error
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{name}: neither a SentencePiece model nor valid JSON: {error}") from error
    if isinstance(document, dict) and isinstance(document.get("model"), dict):
        return read_tokenizer_json(document, model_bytes, name)
    return read_characters(document, model_bytes, name)


def _foreign_format(model_bytes: bytes) -> tuple[str, str] | None:
    """What a file is that is no tokenizer, and what to do; None where it may be a SentencePiece model."""
    if model_bytes.startswith(b"PK\x03\x04"):
        return "a ZIP archive", "give the tokenizer's own file, as it was before torch.save or zip"
    if model_bytes.startswith(b"\x1f\x8b"):
        return "a file compressed with gzip", "unpack it"
    if model_bytes.startswith(b"#version"):
        return "merges.txt without vocab.json beside it", "put vocab.json into the same folder"
    if model_bytes.startswith(b"GGUF"):
        return "a GGUF file", _NEXT
    if model_bytes.startswith((b"[PAD]", b"[UNK]", b"[unused")):
        return "a list of WordPiece pieces (vocab.txt)", f"save it as tokenizer.json; {_NO_BYTES_HINT}"
    return None


def _bytes_of(path: Path, name: str) -> bytes:
    try:
        if path.exists() and kind_of(path.stat().st_mode) is not None:
            raise TokenizerError(f"{name}: not a regular file", hint="give --tokenizer a model file")
        with path.open("rb") as file:
            return file.read(LARGEST_MODEL_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise TokenizerError(f"{name}: cannot be read: {why}", hint="give --tokenizer a model file") from error
