"""Vocabularies of characters: a list, an object from characters to ids, or nanoGPT's `stoi` and `itos`."""

from __future__ import annotations

from typing import Any

from bpb_harness.byte_count.library_tokenizer import UNKNOWN_NAMES, LibraryTokenizer
from bpb_harness.byte_count.tokenizer import Tokenizer, not_a_tokenizer
from bpb_harness.byte_count.tokenizer_json import is_characters
from bpb_harness.errors import TokenizerError


def read_characters(document: Any, model_bytes: bytes, name: str) -> Tokenizer:
    """Read a vocabulary of characters; entries of several characters (`[CLS]`, `<unk>`) are special tokens.

    Args:
        document: plain values: a list of pieces, an object from pieces to ids, or one with `stoi`.
        model_bytes: the file that they were read from.
        name: for messages.

    Raises:
        TokenizerError: for values of another shape.
    """
    if isinstance(document, dict) and {"stoi", "itos"} & document.keys():
        document = _stoi(document, name)
    if isinstance(document, list):
        document = {piece: token for token, piece in enumerate(document)} if _all_strings(document) else None
    if not isinstance(document, dict) or not _all_strings(list(document)) or not document:
        raise not_a_tokenizer(name, seen="values of another shape")
    broken = next((piece for piece in document if any("\ud800" <= character <= "\udfff" for character in piece)), None)
    if broken is not None:
        raise TokenizerError(
            f"{name}: an entry of the vocabulary is no Unicode text", seen=ascii(broken), expected="no half of a pair"
        )
    if sorted(map(str, document.values())) != sorted(map(str, range(len(document)))):
        raise TokenizerError(f"{name}: the ids of a character vocabulary must be 0..{len(document) - 1}, each once")
    vocabulary = {piece: int(token) for piece, token in document.items()}
    if not is_characters(list(vocabulary)):
        raise TokenizerError(
            f"{name}: not a character vocabulary",
            seen="mostly entries of several characters",
            expected="single characters beside a few special tokens",
            hint="a byte-level BPE vocabulary comes as tokenizer.json, or as vocab.json with merges.txt beside it",
        )
    if all(vocabulary.get(chr(byte)) == byte for byte in range(256)):
        raise TokenizerError(
            f"{name}: a vocabulary of characters that looks like one of bytes",
            seen="chr(0) to chr(255), each with its own number",
            expected="the characters of a text; above 127 the two spell other bytes",
            hint="for tokens that are raw bytes give a rank file of 256 lines: docs/bytes.md has it",
        )
    return LibraryTokenizer(model_bytes, name, _one_by_one(vocabulary), "characters")


def _stoi(document: dict[Any, Any], name: str) -> dict[Any, Any]:
    """The object from characters to ids, which `itos` must agree with."""
    stoi, itos = document.get("stoi"), document.get("itos")
    if isinstance(itos, list):
        itos = dict(enumerate(itos))
    inverse = None
    if isinstance(itos, dict):
        inverse = {piece: str(token) for token, piece in itos.items() if isinstance(piece, str)}
    if stoi is None:
        stoi = inverse
    if not isinstance(stoi, dict) or not stoi:
        raise not_a_tokenizer(name, seen="stoi of another shape")
    if inverse is not None and {piece: str(token) for piece, token in stoi.items()} != inverse:
        raise TokenizerError(f"{name}: stoi and itos contradict each other", expected="each other's inverse")
    return stoi


def _one_by_one(vocabulary: dict[str, int]) -> Any:
    import tokenizers
    from tokenizers import models, pre_tokenizers

    unknown = next((piece for piece in UNKNOWN_NAMES if piece in vocabulary), "")
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), behavior="isolated")
    return tokenizer


def _all_strings(values: list[Any]) -> bool:
    return all(isinstance(value, str) and value for value in values)
