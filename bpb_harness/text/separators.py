"""The tokens between documents: which ones a tokenizer's files name, and which one a stream of tokens has.

A folder of the transformers library names them in several files. The first of these that does so is believed:
tokenizer_config.json, special_tokens_map.json, what tokenizer.json itself puts around a text, the ids of a
SentencePiece model, config.json, generation_config.json. The name of a piece alone is a guess, and is called one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, final

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count import PieceKind, Tokenizer
from bpb_harness.byte_count.tokenizer import SPACE_SYMBOL
from bpb_harness.errors import TokenizerError, UsageError
from bpb_harness.foreign_files import load_once
from bpb_harness.text.files import require_regular

Role = Literal["bos", "eos"]

_LARGEST_JSON = 64 * 2**20
_NAMING_FILES = ("tokenizer_config.json", "special_tokens_map.json")
_NUMBERING_FILES = ("config.json", "generation_config.json")
# The files of a tokenizer that has a folder of its own: beside another file a config.json may be anything's.
_FOLDER_NAMES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "merges.txt",
)

_BRACKETED = re.compile(r"<.{2,}>|\[.{2,}\]|\|.{2,}\|", re.DOTALL)


@final
@dataclass(frozen=True)
class Named:
    """A token between documents.

    Attributes:
        token: its id.
        piece: how the vocabulary writes it.
        where: what names it, in words.
    """

    token: int
    piece: str
    where: str

    def __str__(self) -> str:
        return f"{self.piece!r} (id {self.token})"


@final
@dataclass(frozen=True)
class Separators:
    """The tokens between documents.

    Attributes:
        bos: the token before each document, where one is named.
        eos: the token behind each document, likewise.
        taken: what is put before each document that is read as text; None: nothing is.
        why: why that one, in words.
        chosen: it was chosen by --separator.
        silent: those that spell nothing in this text: in shards all of them, in documents that are encoded here the
            one that is put between them (the others are there only where a text spells them).
        silenced: those of them that the tokenizer's own file takes for text.
    """

    bos: Named | None
    eos: Named | None
    taken: Named | None
    why: str
    chosen: bool = False
    silent: tuple[Named, ...] = ()
    silenced: tuple[Named, ...] = ()

    def apply(self, tokenizer: Tokenizer) -> Tokenizer:
        """The tokenizer whose documents they set off: they spell no byte."""
        taken = _id(self.taken)
        return tokenizer.set_off_by(taken, *(name.token for name in self.silent if name.token != taken))

    @property
    def named(self) -> tuple[Named, ...]:
        """All that may set documents off, each token once."""
        found = {name.token: name for name in (self.eos, self.bos, self.taken) if name is not None}
        return tuple(found.values())

    def in_signature(self) -> str | None:
        """What a signature says of them: None where it follows from the tokenizer's own file."""
        if self.chosen:
            return "none" if self.taken is None else str(self.taken.token)
        return "+".join(str(name.token) for name in self.silenced) or None

    def sentence(self) -> str:
        """What is put before documents that are read as text, in words."""
        if self.taken is None:
            return f"nothing stands between documents: {self.why}"
        return f"{self.taken} stands before each document: {self.why}"


def own_folder(tokenizer: Path) -> list[Path]:
    """The folder of a tokenizer's file, where the files beside it speak of it."""
    if tokenizer.is_dir():
        return [tokenizer]
    return [tokenizer.parent] if tokenizer.name in _FOLDER_NAMES else []


def find_separators(
    tokenizer: Tokenizer, folders: Sequence[Path] = (), *, chosen: str | None = None, for_documents: bool = False
) -> Separators:
    """The tokens that set documents off, by the tokenizer's own files.

    Args:
        tokenizer: as it was loaded.
        folders: where files of the transformers library may speak of it.
        chosen: `bos`, `eos`, `none`, an id or a piece, by which the user says it; None: what the files say.
        for_documents: documents are to be encoded: then a BOS that is named must be in the vocabulary.

    Raises:
        TokenizerError: a file that is damaged, or names a BOS that the vocabulary lacks.
        UsageError: a choice that is no token.
    """
    sources = _Sources(tokenizer, folders, strict=for_documents and chosen is None)
    bos, eos = next(sources.named("bos"), None), next(sources.named("eos"), None)
    found = _by_files(bos, eos, sources) if chosen is None else _choose(tokenizer, bos, eos, chosen, sources)
    found = replace(found, why="; ".join([found.why, *sources.outside]))
    silent = tuple(name for name in found.named if not for_documents or name.token == _id(found.taken))
    silenced = tuple(name for name in silent if tokenizer.piece_kinds[name.token] != PieceKind.CONTROL)
    return replace(found, silent=silent, silenced=silenced)


def _by_files(bos: Named | None, eos: Named | None, sources: _Sources) -> Separators:
    if bos is not None and eos is not None and bos.token != eos.token and sources.adds_bos is False:
        return Separators(bos, eos, eos, f"{eos.where}; add_bos_token is false there, so {bos} is not put")
    if bos is not None:
        return Separators(bos, eos, bos, bos.where)
    if eos is not None:
        return Separators(None, eos, eos, f"{eos.where}; no BOS is named")
    guess = sources.guess()
    if guess is not None:
        return Separators(guess, None, guess, f"{guess.where}; no file names a BOS or EOS, --separator does")
    return Separators(None, None, None, "no file names a BOS or EOS, --separator does")


def _id(name: Named | None) -> int | None:
    return None if name is None else name.token


def _choose(tokenizer: Tokenizer, bos: Named | None, eos: Named | None, chosen: str, sources: _Sources) -> Separators:
    why = f"--separator {chosen}"
    if chosen == "none":
        return Separators(bos, eos, None, why, chosen=True)
    if chosen in ("bos", "eos"):
        named = bos if chosen == "bos" else eos
        if named is None:
            raise UsageError(why, seen=f"no file that names one of {tokenizer.name}", expected="an id or a piece")
        return Separators(bos, eos, named, f"{why}, {named.where}", chosen=True)
    token = int(chosen) if chosen.isdecimal() else _id_of(tokenizer, chosen)
    if token is None or token >= tokenizer.vocab_size:
        raise UsageError(
            "--separator", seen=repr(chosen), expected=f"bos, eos, none, an id below {tokenizer.vocab_size} or a piece"
        )
    if not sources.may_separate(token):
        seen = f"{tokenizer.pieces[token]!r}, which text is written with"
        raise UsageError(why, seen=seen, expected="a token that no text is written with")
    return Separators(bos, eos, Named(token, tokenizer.pieces[token], why), why, chosen=True)


class _Sources:
    """What the files of a tokenizer say of the tokens around a text."""

    def __init__(self, tokenizer: Tokenizer, folders: Sequence[Path], *, strict: bool) -> None:
        self._tokenizer, self._strict = tokenizer, strict
        self.outside: list[str] = []  # ids that the vocabulary does not have
        self._naming = list(_read_all(folders, _NAMING_FILES))
        self._numbering = list(_read_all(folders, _NUMBERING_FILES))

    @property
    def adds_bos(self) -> bool | None:
        """Whether the folder says that the tokenizer puts its BOS before a text."""
        said = (content.get("add_bos_token") for _, content in self._naming)
        return next((value for value in said if isinstance(value, bool)), None)

    def guess(self) -> Named | None:
        """The piece that the name of a BOS suggests, where no text is written with it."""
        token = self._tokenizer.bos_id
        if token is None or not self.may_separate(token):
            return None
        return Named(token, self._tokenizer.pieces[token], "by its name alone")

    def named(self, role: Role) -> Iterator[Named]:
        """Those that are named, the most telling first."""
        tokenizer, key = self._tokenizer, f"{role}_token"
        for name, content in self._naming:
            value = content.get(key)
            piece = value.get("content") if isinstance(value, Mapping) else value
            if isinstance(piece, str) and piece:
                token = _id_of(tokenizer, piece)
                if token is None or not self.may_separate(token):
                    if self._strict and role == "bos":
                        raise self._unusable(f"{name}: {key}", piece, token)
                    continue
                yield Named(token, piece, f"{key} in {name}")
        if tokenizer.kind == "sentencepiece":
            own = tokenizer.bos_id if role == "bos" else tokenizer.eos_id
            if own is not None:
                yield Named(own, tokenizer.pieces[own], f"the {role.upper()} of the SentencePiece model")
        elif (around := _template(self._own_json, tokenizer.vocab_size, role)) is not None:
            yield Named(around, tokenizer.pieces[around], "the post-processor of tokenizer.json puts it there")
        for name, content in self._numbering:
            value = content.get(f"{key}_id")
            number = value[0] if isinstance(value, list) and value else value
            if not isinstance(number, int) or isinstance(number, bool):
                continue
            if not 0 <= number < tokenizer.vocab_size:
                said = f"{key}_id {number} in {name} is passed over: the tokenizer has ids below {tokenizer.vocab_size}"
                self.outside += [said] if said not in self.outside else []
            if self.may_separate(number):
                yield Named(number, tokenizer.pieces[number], f"{key}_id in {name}")

    def may_separate(self, token: int) -> bool:
        """Whether a token can stand between documents: not where the encoder writes text with it.

        So an id in a network's configuration is not believed where transformers wrote its defaults (1, 2 or 50256),
        whatever the tokenizer. Text is written with a user-defined symbol too, but not often with one like <this>.
        """
        tokenizer = self._tokenizer
        if not 0 <= token < tokenizer.vocab_size or tokenizer.piece_kinds[token] == PieceKind.BYTE:
            return False
        is_text = tokenizer.piece_kinds[token] == PieceKind.TEXT
        if not is_text or token in self._added or _BRACKETED.fullmatch(tokenizer.pieces[token]):
            return True
        if tokenizer.unwritable is not None or tokenizer.uncountable is not None:  # which cannot be asked
            return False
        try:
            text = tokenizer.piece_bytes[token].decode().replace(SPACE_SYMBOL, " ")
        except UnicodeDecodeError:
            return False
        return token not in tokenizer.encode(text)

    def _unusable(self, what: str, piece: str, token: int | None) -> TokenizerError:
        name = self._tokenizer.name
        why = f"is not in the vocabulary of {name}" if token is None else "is a piece that text is written with"
        return TokenizerError(
            f"{what} {why}", seen=repr(piece), expected="a token that sets documents off",
            hint="pass --separator ID, or the tokenizer that goes with it",
        )  # fmt: skip

    @cached_property
    def _own_json(self) -> Mapping[str, Any]:
        """The tokenizer.json that the tokenizer was made from; empty for any other."""
        if self._tokenizer.kind == "sentencepiece":
            return {}
        try:
            content = json.loads(self._tokenizer.model_bytes)
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    @cached_property
    def _added(self) -> frozenset[int]:
        """Ids of the added tokens of a tokenizer.json: never merged from others."""
        entries = self._own_json.get("added_tokens")
        ids = [entry.get("id") for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
        return frozenset(token for token in ids if isinstance(token, int))


def _id_of(tokenizer: Tokenizer, piece: str) -> int | None:
    return tokenizer.pieces.index(piece) if piece in tokenizer.pieces else None


def _template(content: Mapping[str, Any], vocab_size: int, role: Role) -> int | None:
    """The token that the post-processor of a tokenizer.json puts before or behind a text."""
    processor = content.get("post_processor")
    several = processor.get("processors") if isinstance(processor, Mapping) else None
    for part in several if isinstance(several, list) else [processor]:
        token = _around(part, role) if isinstance(part, Mapping) else None
        if token is not None and 0 <= token < vocab_size:
            return token
    return None


def _around(processor: Mapping[str, Any], role: Role) -> int | None:
    try:
        if processor["type"] in ("BertProcessing", "RobertaProcessing"):
            return int(processor["cls" if role == "bos" else "sep"][1])
        if processor["type"] == "TemplateProcessing":
            first = processor["single"][0 if role == "bos" else -1]
            if "SpecialToken" in first:
                ids = processor["special_tokens"][first["SpecialToken"]["id"]]["ids"]
                return int(ids[0]) if len(ids) == 1 else None
    except (KeyError, IndexError, TypeError, ValueError):  # another version's form: nothing is known
        return None
    return None


def _read_all(folders: Sequence[Path], names: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in names:
        for folder in folders:
            if (folder / name).exists():
                yield name, _read_json(folder / name)


def _read_json(path: Path) -> Mapping[str, Any]:
    what = f"{path}: says nothing of the tokenizer"
    if require_regular(path) > _LARGEST_JSON:
        raise TokenizerError(what, seen=f"{path.stat().st_size} bytes", expected=f"at most {_LARGEST_JSON}")
    try:
        content = load_once(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(what, seen=f"{type(error).__name__}: {error}", expected="a JSON object") from error
    if not isinstance(content, dict):
        raise TokenizerError(what, seen=type(content).__name__, expected="a JSON object")
    return content


# What a stream has


class TokenStream(Protocol):
    """What is asked for the tokens between its documents: a corpus."""

    @property
    def num_tokens(self) -> int:
        """N."""

    @property
    def known_document_starts(self) -> NDArray[np.int64] | None:
        """Where documents start, where that is known without looking at the tokens."""

    def positions(self, tokens: Sequence[int]) -> tuple[NDArray[np.int64], ...]:
        """Where each of some tokens stands, ascending."""


@final
@dataclass(frozen=True)
class Borders:
    """Where the documents of a stream lie.

    Attributes:
        starts: (documents,) int64, position of each document's first token, its BOS included.
        place: where the token between documents stands: "before" each, "behind" each; "none": there is none.
        token: which it is.
    """

    starts: NDArray[np.int64]
    place: Literal["before", "behind", "none"]
    token: Named | None = None

    @property
    def are_known(self) -> bool:
        """Whether anything says where documents end."""
        return self.place != "none"

    def first_given(self) -> NDArray[np.int64]:
        """(documents,) position of what a model is given before each document's text: its BOS, the EOS before it."""
        if self.place != "behind":
            return self.starts
        return np.maximum(self.starts - 1, 0)

    def __str__(self) -> str:
        if self.token is None:
            return "documents known from their text" if self.are_known else "nothing sets documents off"
        return f"{self.token} {self.place} each document"


def find_borders(stream: TokenStream, separators: Separators) -> Borders:
    """Where documents lie in a stream: those that were read as text know it, in shards a token says it.

    In shards a BOS before each document counts, or else an EOS behind each; a BOS that opens the whole stream alone,
    where EOS follow, does not. A token that is both stands behind if it closes the stream and does not open it.
    """
    if stream.known_document_starts is not None:
        return Borders(stream.known_document_starts, "before", separators.taken)
    bos = separators.taken if separators.chosen else separators.bos
    eos = separators.eos
    if separators.chosen and separators.taken is None:
        return Borders(np.zeros(1, np.int64), "none")
    names = [name for name in (bos, eos) if name is not None]
    found = dict(zip((name.token for name in names), stream.positions([name.token for name in names]), strict=True))
    last = stream.num_tokens - 1
    at_bos = found[bos.token] if bos is not None else np.zeros(0, np.int64)
    at_eos = found[eos.token] if eos is not None and not separators.chosen else np.zeros(0, np.int64)
    if bos is not None and len(at_bos):
        is_both = separators.chosen or eos is None or eos.token == bos.token
        opens_alone = len(at_bos) == 1 and at_bos[0] == 0 and len(at_eos) > 1
        if is_both and at_bos[0] != 0 and at_bos[-1] == last:
            return Borders(_behind(at_bos, last), "behind", bos)
        if not opens_alone:
            return Borders(_before(at_bos), "before", bos)
    if len(at_eos):
        opens = at_eos[0] == 0 and at_eos[-1] != last
        return Borders(_before(at_eos) if opens else _behind(at_eos, last), "before" if opens else "behind", eos)
    return Borders(np.zeros(1, np.int64), "none")


def _before(at: NDArray[np.int64]) -> NDArray[np.int64]:
    return at if len(at) and at[0] == 0 else np.concatenate([np.zeros(1, np.int64), at])


def _behind(at: NDArray[np.int64], last: int) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), at[at < last] + 1])
