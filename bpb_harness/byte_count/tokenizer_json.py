"""`tokenizer.json` of the tokenizers library, and the pair `vocab.json` and `merges.txt`, which says less."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Iterator
from typing import Any

from bpb_harness.byte_count.guarded import guarded
from bpb_harness.byte_count.library_tokenizer import UNKNOWN_NAMES, LibraryTokenizer
from bpb_harness.byte_count.tokenizer import Tokenizer
from bpb_harness.errors import TokenizerError
from bpb_harness.foreign_files import load_once

# Parts that cut a text at white space, or at a character, and keep neither.
_DROPPING_PARTS = ("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "CharDelimiterSplit")
# Some of every class of characters that patterns tell apart, white space in every place.
_PROBE = (
    f" a B1 {string.punctuation}\n\n \t x...\r\n don't 4.5e-10 _y_ $%  na\u00efve e\u0301 \u00a0\u3000"
    "\u0416\u0438\u0437\u043d\u044c \u4f60\u597d \u0661 \u20ac\U0001f600\u200d  "
)
_MAX_SHOWN = 12


def read_tokenizer_json(document: dict[str, Any], model_bytes: bytes, name: str) -> Tokenizer:
    """A tokenizer of the library; one whose bytes cannot be counted says so in `uncountable`.

    Args:
        document: the parsed file.
        model_bytes: the file.
        name: for messages.

    Raises:
        TokenizerError: if the library refuses it.
    """
    import tokenizers

    model = document["model"]
    written = model_bytes.decode("utf-8", errors="replace")
    if model.get("dropout"):  # which leaves merges out at random, for training
        written = json.dumps({**document, "model": {**model, "dropout": None}})
    tokenizer = guarded(f"{name}: the tokenizers library refuses it", lambda: tokenizers.Tokenizer.from_str(written))
    _require_an_id_each(document, tokenizer, name)
    before, normalizers = _parts(document.get("pre_tokenizer")), _parts(document.get("normalizer"))
    prefix = any(part.get("type") == "ByteLevel" and part.get("add_prefix_space", False) for part in before)
    in_letters = any(part.get("type") == "ByteLevel" for part in normalizers)
    is_byte_level = in_letters or any(
        part.get("type") == "ByteLevel" for part in [*before, *_parts(document.get("decoder"))]
    )
    model_type, unknown = str(model.get("type", "BPE")), model.get("unk_token")
    merged = frozenset(_merged(model.get("merges")))
    unknown = unknown if isinstance(unknown, str) else None
    if is_byte_level:
        found = LibraryTokenizer(
            model_bytes, name, tokenizer, "byte_level_bpe", add_prefix_space=prefix, merged=merged, unknown=unknown,
            normalizes_to_letters=in_letters,
        )  # fmt: skip
        found.loses = _dropped(before, tokenizer)
        return found
    if model_type == "WordLevel" and is_characters(list(tokenizer.get_vocab(with_added_tokens=False))):
        found = LibraryTokenizer(model_bytes, name, tokenizer, "characters", unknown=unknown)
        found.loses = _dropped(before, tokenizer)
        return found
    why = f"model type {model_type} without a ByteLevel part"
    return LibraryTokenizer(model_bytes, name, tokenizer, model_type, merged=merged, unknown=unknown, uncountable=why)


def read_vocabulary_and_merges(vocabulary: bytes, merges: bytes, name: str) -> Tokenizer:
    """Byte-level BPE as GPT-2 published it: the pair says neither how a text is cut nor which tokens are special.

    It is read as GPT-2's own: a text is cut by the pattern of the library's ByteLevel.

    Raises:
        TokenizerError: if the files are not what they should be, or their pieces are not written in GPT-2's letters.
    """
    try:
        pieces = load_once(vocabulary)
        lines = merges.decode("utf-8").splitlines()
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{name}: neither vocab.json nor merges.txt may hold anything else: {error}") from error
    if not isinstance(pieces, dict) or not all(type(token) is int and token >= 0 for token in pieces.values()):
        raise TokenizerError(
            f"{name}: vocab.json", seen="JSON of another shape", expected="an object from pieces to ids"
        )
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    broken = next((pair for pair in pairs if len(pair) != 2), None)
    if broken is not None:
        raise TokenizerError(f"{name}: a line of merges.txt", seen=repr(" ".join(broken)), expected="two pieces")
    spelled_in_letters = any("\u0120" in piece for piece in pieces)  # how GPT-2 writes a space
    ends_words = any(piece.endswith("</w>") for piece in pieces)
    if ends_words or not spelled_in_letters:
        raise TokenizerError(
            f"{name}: a vocab.json and merges.txt of another kind than GPT-2's",
            seen="pieces that end in </w>" if ends_words else "no piece with a space as GPT-2 writes it",
            expected="byte-level BPE",
            hint="give the tokenizer.json of the same tokenizer",
        )
    unknown = next((piece for piece in UNKNOWN_NAMES if piece in pieces), None)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    document: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": unknown, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": pieces, "merges": pairs,
        },
    }  # fmt: skip
    # Written out, so that one file serves a checkpoint, another process and the digest.
    model_bytes = json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode()
    found = read_tokenizer_json(document, model_bytes, name)
    found.notes = (f"{name}: read as GPT-2's byte-level BPE, which is what vocab.json and merges.txt do not say",)
    return found


def _require_an_id_each(document: dict[str, Any], tokenizer: Any, name: str) -> None:
    """Refuse ids that stand for two pieces: which of them a token is, the library leaves to chance.

    Raises:
        TokenizerError: with the id, and both of its pieces.
    """
    vocabulary = document["model"].get("vocab")
    taken: dict[int, str] = {}
    for piece, token in vocabulary.items() if isinstance(vocabulary, dict) else ():
        if token in taken:
            raise TokenizerError(
                f"{name}: two pieces of id {token}", seen=f"{taken[token]!r} and {piece!r}", expected="an id each",
                hint="fetch or write it again",
            )  # fmt: skip
        taken[token] = piece
    for entry in document.get("added_tokens") or ():
        given = tokenizer.token_to_id(entry["content"])
        if given is not None and given != entry["id"]:  # as where another piece has that id
            raise TokenizerError(
                f"{name}: the added token {entry['content']!r}", seen=f"id {entry['id']}",
                expected=f"{given}, which is what the tokenizers library gives it", hint="fetch or write it again",
            )  # fmt: skip


def _dropped(parts: Iterable[dict[str, Any]], tokenizer: Any) -> str | None:
    """What the pre-tokenizer leaves out of a text, in words; None where a probe with some of everything comes whole."""
    for part in parts:
        if part.get("type") in _DROPPING_PARTS or (part.get("behavior") == "Removed" and not part.get("invert")):
            return f"its pre-tokenizer {part['type']} drops what it cuts a text at"
    if tokenizer.pre_tokenizer is None:
        return None
    pieces = guarded("the pre-tokenizer fails", lambda: tokenizer.pre_tokenizer.pre_tokenize_str(_PROBE))
    kept = {place for _, (start, stop) in pieces for place in range(start, stop)}
    dropped = "".join(dict.fromkeys(letter for place, letter in enumerate(_PROBE) if place not in kept))
    return f"its pre-tokenizer drops {dropped[:_MAX_SHOWN]!r}" if dropped else None


def _parts(component: Any) -> list[dict[str, Any]]:
    """The component itself, or the members of a Sequence."""
    if not isinstance(component, dict):
        return []
    for key in ("pretokenizers", "decoders", "normalizers"):
        members = component.get(key)
        if isinstance(members, list):
            return [part for member in members for part in _parts(member)]
    return [component]


def _merged(merges: Any) -> Iterator[str]:
    """The pieces that merges make: each is a pair, or in older files two pieces with a space between."""
    for pair in merges if isinstance(merges, list) else []:
        parts = pair.split(" ") if isinstance(pair, str) else pair
        if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
            yield "".join(parts)


def is_characters(pieces: list[str]) -> bool:
    """Whether a vocabulary is one of characters, beside a few marks."""
    return sum(len(piece) == 1 for piece in pieces) * 2 > len(pieces)
