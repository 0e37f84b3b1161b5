"""One interface to the tokenizers whose bytes can be counted.

The counting rules need three things of a tokenizer: what each piece is (`PieceKind`), what text it spells, and what
is done to a document before it is cut into pieces. None of them is read from the model's protobuf: the pieces come from
the library's stable calls, and the normaliser's habits (`SpaceHabit`) are seen from what it does to a few probe
strings. So versions of the libraries whose offset calls or message classes differ give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpb_harness.errors import TokenizerError

SPACE_SYMBOL = "\u2581"  # how SentencePiece writes a space inside its pieces
LARGEST_MODEL_BYTES = 64 * 2**20  # the largest public vocabularies (256k pieces) take about 35 MiB
LARGEST_VOCABULARY = 2**21


class PieceKind(IntEnum):
    """What a token is, which decides what it spells.

    TEXT covers normal and user-defined pieces: both stand in the text as they are written.
    """

    TEXT = 0
    BYTE = 1  # one byte of a character that the vocabulary lacks
    CONTROL = 2  # never part of a text: BOS, EOS, padding, special tokens
    UNKNOWN = 3  # stands for text that cannot be recovered from the id
    UNUSED = 4  # reserved; an encoder never emits it


@dataclass(frozen=True)
class SpaceHabit:
    """What the normaliser does about spaces.

    Attributes:
        escapes: a space is written as U+2581 inside pieces, so that U+2581 in a piece means one byte of text.
        dummy_prefix: a space that is not text is put before each document.
        dummy_suffix: the same behind each document (SentencePiece's treat_whitespace_as_suffix).
    """

    escapes: bool
    dummy_prefix: bool = False
    dummy_suffix: bool = False


class Tokenizer(ABC):
    """A vocabulary and the encoder that goes with it; immutable, pickled by its model's bytes.

    Attributes:
        name: for messages.
        kind: `sentencepiece`, `byte_level_bpe` or `characters`.
        model_bytes: the file.
        digest: sha256 of the file, hexadecimal.
        vocab_size: V.
        bos_id: the token before each document; None where the tokenizer has none. It is what the tokenizer's own file
            says or suggests: `set_off_by` takes what other files say of it.
        eos_id: the token behind each document, where the file itself names one.
        piece_kinds: (V,) uint8, values of `PieceKind`.
        pieces: V strings as the vocabulary writes them.
        piece_bytes: V byte strings, what each piece contributes to its document: escaped spaces still as E2 96 81,
            one byte for BYTE, nothing for CONTROL and UNKNOWN.
        spaces: what the normaliser does about spaces.
    """

    kind: str
    name: str
    model_bytes: bytes
    digest: str
    vocab_size: int
    bos_id: int | None
    piece_kinds: NDArray[np.uint8]
    pieces: tuple[str, ...]
    piece_bytes: tuple[bytes, ...]
    spaces: SpaceHabit
    eos_id: int | None = None
    _set_off_by: tuple[int | None, *tuple[int, ...]] | None = None  # what `set_off_by` was told

    @abstractmethod
    def encode(self, text: str) -> NDArray[np.int64]:
        """The tokens of one document, without BOS; (N,) int64."""

    @abstractmethod
    def normalize(self, text: str) -> str:
        """The text that the tokens of `text` are meant to spell: spaces as spaces, without a dummy prefix."""

    def decode(self, tokens: NDArray[np.int64]) -> bytes:
        """The bytes that tokens spell, by the exact rule; unknown tokens spell nothing, a control token starts a text.

        Unlike the libraries' own decoding it strips nothing and puts no U+FFFD: it may end inside a character.
        """
        controls = np.flatnonzero(self.piece_kinds[tokens] == PieceKind.CONTROL)
        return b"".join(map(self._decode_text, np.split(tokens, controls)))

    def _decode_text(self, tokens: NDArray[np.int64]) -> bytes:
        spelled = b"".join([self.piece_bytes[token] for token in tokens.tolist()])
        if self.spaces.escapes:
            spelled = spelled.replace(SPACE_SYMBOL.encode(), b" ")
        if self.spaces.dummy_prefix:
            spelled = spelled.removeprefix(b" ")
        if self.spaces.dummy_suffix:
            spelled = spelled.removesuffix(b" ")
        return spelled

    def set_off_by(self, token: int | None, *others: int) -> Tokenizer:
        """The same tokenizer, whose documents `token` sets off: it spells nothing, whatever its own file says of it.

        Args:
            token: the new `bos_id`; None: nothing stands between documents.
            others: tokens that spell nothing either, such as the one behind documents.

        Raises:
            TokenizerError: an id outside the vocabulary.
        """
        named = others if token is None else (token, *others)
        for outside in (one for one in named if not 0 <= one < self.vocab_size):
            raise TokenizerError(
                f"{self.name}: the token between documents", seen=outside, expected=f"0..{self.vocab_size - 1}"
            )
        other: Tokenizer = object.__new__(type(self))
        vars(other).update(vars(self))
        other.bos_id, other._set_off_by = token, (token, *others)
        changed = [one for one in named if self.piece_kinds[one] != PieceKind.CONTROL]
        if changed:
            kinds, spelled = self.piece_kinds.copy(), list(self.piece_bytes)
            for one in changed:
                kinds[one], spelled[one] = PieceKind.CONTROL, b""
            kinds.setflags(write=False)
            other.piece_kinds, other.piece_bytes = kinds, tuple(spelled)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        return _reload, (self.model_bytes, self.name, self._set_off_by)

    def _set_model(self, model_bytes: bytes, name: str) -> None:
        self.name, self.model_bytes = name, model_bytes
        self.digest = hashlib.sha256(model_bytes).hexdigest()

    def _set_pieces(self, pieces: list[str], kinds: list[PieceKind], spelled: list[bytes]) -> None:
        self.pieces, self.piece_bytes = tuple(pieces), tuple(spelled)
        self.piece_kinds = np.asarray(kinds, dtype=np.uint8)
        self.piece_kinds.setflags(write=False)
        self.vocab_size = len(pieces)


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece `.model`: BPE, unigram, characters or words, with or without byte fallback."""

    kind = "sentencepiece"

    def __init__(self, model_bytes: bytes, name: str) -> None:
        sentencepiece = _import_sentencepiece()
        try:
            processor = sentencepiece.SentencePieceProcessor(model_proto=model_bytes)
            size = int(processor.vocab_size())
        except (RuntimeError, OSError, ValueError) as error:
            raise _not_a_tokenizer(name) from error
        if not 0 < size <= LARGEST_VOCABULARY:
            raise TokenizerError(
                f"{name}: not a usable vocabulary", seen=f"{size} pieces", expected=f"1 to {LARGEST_VOCABULARY}"
            )
        self._processor = processor
        self._set_model(model_bytes, name)
        try:
            pieces = [str(processor.id_to_piece(i)) for i in range(size)]
            kinds = [_sentencepiece_kind(processor, i) for i in range(size)]
            spelled = [_sentencepiece_bytes(piece, kind) for piece, kind in zip(pieces, kinds, strict=True)]
            self.spaces = _space_habit(processor.normalize)
        except ValueError as error:  # a piece, or a rule of the normaliser, that is not UTF-8
            raise TokenizerError(f"{name}: a damaged SentencePiece model: {error}") from error
        self._set_pieces(pieces, kinds, spelled)
        bos = int(processor.bos_id())
        self.bos_id = bos if bos >= 0 else None
        eos = int(processor.eos_id())
        self.eos_id = eos if eos >= 0 else None

    def encode(self, text: str) -> NDArray[np.int64]:
        # add_bos and the rest are off by default, but a caller's processor may have been told otherwise: say so.
        ids = self._processor.encode(text, out_type=int, add_bos=False, add_eos=False, reverse=False)
        return np.asarray(ids, dtype=np.int64)

    def normalize(self, text: str) -> str:
        normal = str(self._processor.normalize(text))
        if self.spaces.escapes:
            normal = normal.replace(SPACE_SYMBOL, " ")
        if self.spaces.dummy_prefix:
            normal = normal.removeprefix(" ")
        if self.spaces.dummy_suffix:
            normal = normal.removesuffix(" ")
        return normal


class LibraryTokenizer(Tokenizer):
    """A `tokenizer.json` of the tokenizers library, byte-level BPE or characters; built by the two functions below."""

    def __init__(self, model_bytes: bytes, name: str, tokenizer: Any, kind: str, add_prefix_space: bool) -> None:
        self.kind = kind
        self._tokenizer = tokenizer
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # A special token's name in a document is text like any other.
        tokenizer.encode_special_tokens = True
        self._set_model(model_bytes, name)
        self._set_pieces(*_library_pieces(tokenizer, kind, name))
        self.bos_id = next((i for i in map(tokenizer.token_to_id, _BOS_NAMES) if i is not None), None)
        self.spaces = SpaceHabit(escapes=False, dummy_prefix=add_prefix_space)

    def encode(self, text: str) -> NDArray[np.int64]:
        try:
            return np.asarray(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)
        except Exception as error:  # the library raises bare Exception
            raise TokenizerError(f"{self.name}: the text cannot be encoded: {error}") from error

    def normalize(self, text: str) -> str:
        normalizer = self._tokenizer.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))


def load_tokenizer(source: Path | str | bytes, *, name: str | None = None) -> Tokenizer:
    """Read a tokenizer: a SentencePiece model, a byte-level `tokenizer.json`, or a character vocabulary in JSON.

    A character vocabulary is a list of characters, or an object from characters to ids; entries of several characters
    (`[CLS]`, `<unk>`) are special tokens.

    Args:
        source: a path, or the bytes of the file.
        name: how messages call it; by default the path.

    Returns:
        The tokenizer.

    Raises:
        TokenizerError: the file is missing, too large, or none of the three.
    """
    if isinstance(source, bytes):
        model_bytes, name = source, name or "tokenizer"
    else:
        path = Path(source)
        name = name or str(path)
        model_bytes = _read_model(path, name)
    if len(model_bytes) > LARGEST_MODEL_BYTES:
        raise TokenizerError(
            f"{name}: too large for a tokenizer",
            seen=f"{len(model_bytes)} bytes",
            expected=f"at most {LARGEST_MODEL_BYTES}",
        )
    if not model_bytes:
        raise _not_a_tokenizer(name, seen="an empty file")
    if model_bytes.lstrip()[:1] in (b"{", b"["):
        return _json_tokenizer(model_bytes, name)
    return SentencePieceTokenizer(model_bytes, name)


def _reload(model_bytes: bytes, name: str, set_off_by: tuple[int | None, *tuple[int, ...]] | None = None) -> Tokenizer:
    tokenizer = load_tokenizer(model_bytes, name=name)
    return tokenizer if set_off_by is None else tokenizer.set_off_by(*set_off_by)


def _read_model(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_MODEL_BYTES + 1)
    except OSError as error:
        raise TokenizerError(
            f"{name}: cannot be read: {error.strerror}", hint="give --tokenizer a model file"
        ) from error


def _not_a_tokenizer(name: str, seen: str | None = None) -> TokenizerError:
    return TokenizerError(
        f"{name}: not a tokenizer that can be counted",
        seen=seen,
        expected="a SentencePiece model, a byte-level tokenizer.json or a character vocabulary in JSON",
    )


# --- SentencePiece -----------------------------------------------------------------------------------------------


def _import_sentencepiece() -> Any:
    # Version 0.2.1 warns while it sets up its own types, and crashes later where warnings are errors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import sentencepiece
    return sentencepiece


def _sentencepiece_kind(processor: Any, token: int) -> PieceKind:
    if processor.is_unknown(token):
        return PieceKind.UNKNOWN
    if processor.is_control(token):
        return PieceKind.CONTROL
    if processor.is_unused(token):
        return PieceKind.UNUSED
    return PieceKind.BYTE if processor.is_byte(token) else PieceKind.TEXT


def _sentencepiece_bytes(piece: str, kind: PieceKind) -> bytes:
    if kind in (PieceKind.CONTROL, PieceKind.UNKNOWN):
        return b""
    if kind is PieceKind.BYTE:
        return bytes([int(piece[3:5], 16)])  # <0x0A>
    return piece.encode("utf-8", errors="surrogatepass")


def _space_habit(normalize: Any) -> SpaceHabit:
    # Letters that a normaliser might drop or a user-defined symbol might claim: the first that survives decides.
    for letter in ("a", "m", "0", "\u4e00", "\u0436"):
        once, twice = normalize(letter), normalize(f"{letter} {letter}")
        if once.strip(SPACE_SYMBOL + " ") != letter or twice.count(letter) != 2:
            continue
        escapes = SPACE_SYMBOL in twice
        space = SPACE_SYMBOL if escapes else " "
        return SpaceHabit(escapes, dummy_prefix=once.startswith(space), dummy_suffix=once.endswith(space))
    return SpaceHabit(escapes=True)


# --- the tokenizers library ---------------------------------------------------------------------------------------

_BOS_NAMES = ("<|begin_of_text|>", "<|endoftext|>", "<s>", "<bos>", "[BOS]", "[CLS]", "<|bos|>")
_UNKNOWN_NAMES = ("<unk>", "[UNK]", "<|unk|>", "<UNK>")


def _json_tokenizer(model_bytes: bytes, name: str) -> Tokenizer:
    try:
        document = json.loads(model_bytes)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{name}: neither a SentencePiece model nor valid JSON: {error}") from error
    if isinstance(document, dict) and isinstance(document.get("model"), dict):
        return _from_tokenizer_json(document, model_bytes, name)
    return _from_character_vocabulary(document, model_bytes, name)


def _from_tokenizer_json(document: dict[str, Any], model_bytes: bytes, name: str) -> Tokenizer:
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_str(model_bytes.decode("utf-8"))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library raises bare Exception, and its panics are no Exception
        raise TokenizerError(f"{name}: the tokenizers library refuses it: {error}") from error
    byte_level = [part for part in _parts(document.get("pre_tokenizer")) if part.get("type") == "ByteLevel"]
    decodes_bytes = any(part.get("type") == "ByteLevel" for part in _parts(document.get("decoder")))
    model_type = document["model"].get("type", "BPE")
    if byte_level or decodes_bytes:
        prefix = any(part.get("add_prefix_space", False) for part in byte_level)
        return LibraryTokenizer(model_bytes, name, tokenizer, "byte_level_bpe", prefix)
    if model_type == "WordLevel" and _is_characters(list(tokenizer.get_vocab(with_added_tokens=False))):
        return LibraryTokenizer(model_bytes, name, tokenizer, "characters", add_prefix_space=False)
    raise TokenizerError(
        f"{name}: a tokenizer.json whose bytes cannot be counted exactly",
        seen=f"model type {model_type} without a ByteLevel part",
        expected="byte-level BPE or a vocabulary of single characters",
        hint="give the SentencePiece .model that it was made from",
    )


def _from_character_vocabulary(document: Any, model_bytes: bytes, name: str) -> Tokenizer:
    import tokenizers
    from tokenizers import models, pre_tokenizers

    if isinstance(document, list):
        document = {piece: token for token, piece in enumerate(document)} if _all_strings(document) else None
    if not isinstance(document, dict) or not _all_strings(list(document)) or not document:
        raise _not_a_tokenizer(name, seen="JSON of another shape")
    broken = next((piece for piece in document if any("\ud800" <= character <= "\udfff" for character in piece)), None)
    if broken is not None:
        raise TokenizerError(
            f"{name}: an entry of the vocabulary is no Unicode text", seen=ascii(broken), expected="no half of a pair"
        )
    if sorted(map(str, document.values())) != sorted(map(str, range(len(document)))):
        raise TokenizerError(f"{name}: the ids of a character vocabulary must be 0..{len(document) - 1}, each once")
    vocabulary = {piece: int(token) for piece, token in document.items()}
    if not _is_characters(list(vocabulary)):
        raise TokenizerError(
            f"{name}: not a character vocabulary",
            seen="mostly entries of several characters",
            expected="single characters beside a few special tokens",
            hint="a byte-level BPE vocabulary comes as tokenizer.json",
        )
    unknown = next((piece for piece in _UNKNOWN_NAMES if piece in vocabulary), None)
    model = models.WordLevel(vocabulary, unknown) if unknown else models.WordLevel(vocabulary, "")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), behavior="isolated")
    return LibraryTokenizer(model_bytes, name, tokenizer, "characters", add_prefix_space=False)


def _parts(component: Any) -> list[dict[str, Any]]:
    """The component itself, or the members of a Sequence."""
    if not isinstance(component, dict):
        return []
    for key in ("pretokenizers", "decoders"):
        members = component.get(key)
        if isinstance(members, list):
            return [part for member in members for part in _parts(member)]
    return [component]


def _all_strings(values: list[Any]) -> bool:
    return all(isinstance(value, str) and value for value in values)


def _is_characters(pieces: list[str]) -> bool:
    return sum(len(piece) == 1 for piece in pieces) * 2 > len(pieces)


def _library_pieces(tokenizer: Any, kind: str, name: str) -> tuple[list[str], list[PieceKind], list[bytes]]:
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    added = {int(i): token for i, token in tokenizer.get_added_tokens_decoder().items()}
    size = max(vocabulary.values(), default=-1) + 1
    if not 0 < size <= LARGEST_VOCABULARY:
        raise TokenizerError(
            f"{name}: not a usable vocabulary", seen=f"largest id {size - 1}", expected=f"0 to {LARGEST_VOCABULARY - 1}"
        )
    pieces, kinds, spelled = [""] * size, [PieceKind.UNUSED] * size, [b""] * size
    alphabet = _byte_alphabet()
    for piece, token in vocabulary.items():
        pieces[token] = piece
        if token in added:
            kinds[token] = PieceKind.CONTROL if added[token].special else PieceKind.TEXT
            spelled[token] = b"" if added[token].special else piece.encode()
        elif kind == "byte_level_bpe" and all(character in alphabet for character in piece):
            kinds[token], spelled[token] = PieceKind.TEXT, bytes(alphabet[character] for character in piece)
        elif kind == "characters" and len(piece) == 1:
            kinds[token], spelled[token] = PieceKind.TEXT, piece.encode()
        else:
            kinds[token] = PieceKind.CONTROL
        if piece in _UNKNOWN_NAMES:
            kinds[token], spelled[token] = PieceKind.UNKNOWN, b""
    return pieces, kinds, spelled


def _byte_alphabet() -> dict[str, int]:
    """The printable stand-ins of the 256 bytes in a byte-level vocabulary, as GPT-2 chose them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
