"""Which pack a record is held against: the one that was asked for, or the one that the record belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from os import PathLike
from pathlib import Path
from typing import Self

from bpb_harness.claim import Claim
from bpb_harness.claim.names import PLAIN_NAMES, PUBLIC_TEXTS, FieldNames
from bpb_harness.claim.reading import Reading
from bpb_harness.errors import UsageError
from bpb_harness.rules.denominators import DenominatorTable, own_rows
from bpb_harness.rules.pack import NO_PACK, RulePack
from bpb_harness.rules.pack_file import read_pack, shipped_names, shipped_pack

AnyPath = str | PathLike[str]


@dataclass(frozen=True)
class Candidates:
    """The packs that a record may be held against.

    Attributes:
        packs: them.
        asked: the user named them.
    """

    packs: tuple[RulePack, ...]
    asked: bool = False

    def of(self, pack: RulePack) -> Candidates:
        """The one of them that a record was found to belong to; all of them where it belongs to none."""
        return self if pack is NO_PACK else Candidates((pack,), asked=True)

    @property
    def reading(self) -> Reading:
        """What is looked for in a record, before it is known whose it is."""
        names = reduce(FieldNames.and_then, [*(pack.names for pack in self.packs), PLAIN_NAMES])
        lines = dict.fromkeys(line for pack in self.packs for line in pack.templates)
        return Reading(
            names, tuple(lines), tuple(dict.fromkeys(name for pack in self.packs for name in pack.tokenizers))
        )


_ASSUMED = "the record names no text: assumed"


@dataclass(frozen=True)
class Rules:
    """What a record is held against.

    Attributes:
        pack: the pack; `NO_PACK` where there is none.
        why: how it was chosen.
        table: known denominators, the user's own first.
    """

    pack: RulePack = NO_PACK
    why: str = "none was asked for"
    table: DenominatorTable = field(default_factory=DenominatorTable)

    @property
    def is_assumed(self) -> bool:
        """Whether nothing in the record says that it is held against these."""
        return self.why == _ASSUMED

    @property
    def is_by_a_name_alone(self) -> bool:
        """Whether a file's name chose them, of a record that names no text and no tokenizer: any contest's may."""
        return self.why.endswith(_OF_ANOTHER_TEXT)

    @classmethod
    def of(cls, pack: RulePack, why: str = "as asked") -> Self:
        """A pack, and the user's own denominators."""
        return cls(pack, why, DenominatorTable((*own_rows(), *pack.denominators)))

    @property
    def names(self) -> FieldNames:
        """Keys of records in JSON: the contest's, and those that any record may have."""
        return self.pack.names.and_then(PLAIN_NAMES)

    def __str__(self) -> str:
        name = self.pack.name if self.pack.file is None else f"{self.pack.name} of {self.pack.file}"
        return f"{name} ({self.why})"


def candidates_of(named: AnyPath | Sequence[AnyPath] | Candidates | None) -> Candidates:
    """The packs that a user names.

    Args:
        named: names of packs, or paths of files that end in .toml; ``none`` alone; None: every pack that is shipped.

    Raises:
        UsageError: for a name that no pack has, ``none`` beside another, or two packs of one name.
        InputError: for a file that is no pack.
    """
    if isinstance(named, Candidates):
        return named
    if named is None:
        return Candidates(tuple(map(shipped_pack, shipped_names())))
    listed = [named] if isinstance(named, str | PathLike) else _listed(named)
    if not listed:
        return candidates_of(None)
    if NO_PACK.name in map(str, listed):
        if len(listed) > 1:
            raise UsageError("--rules none", seen=f"{len(listed)} packs", expected="none alone", hint="leave it out")
        return Candidates((), asked=True)
    packs = tuple(map(_named, listed))
    names = [pack.name for pack in packs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError("--rules", seen=f"two packs called {twice}", expected="a name each")
    return Candidates(packs, asked=True)


def _listed(named: Sequence[AnyPath]) -> list[AnyPath]:
    """Several names; what is given may be anything."""
    is_list = isinstance(named, Iterable) and not isinstance(named, bytes | bytearray | Mapping)
    listed = list(named) if is_list else []
    others = [each for each in listed if not isinstance(each, str | PathLike)] if is_list else [named]
    if others:
        seen = type(others[0]).__name__
        raise UsageError("--rules", seen=seen, expected="names of packs, or files that end in .toml")
    return listed


def _named(named: AnyPath) -> RulePack:
    name = str(named)
    if name in shipped_names():
        return shipped_pack(name)
    if name.lower().endswith(".toml") and "\0" not in name:  # no path holds a NUL
        return read_pack(Path(named))
    expected = f"{', '.join((*shipped_names(), NO_PACK.name))}, or a file that ends in .toml"
    raise UsageError("--rules", seen=repr(name[:80]), expected=expected)


def rules_for(claim: Claim, candidates: Candidates, paths: Sequence[Path]) -> Rules:
    """What a claim is held against: the only candidate that was asked for, or else the one that it belongs to.

    Args:
        claim: what was read.
        candidates: the packs.
        paths: what was audited, for the names of its folders.
    """
    pack, why = _chosen(_Record(claim, paths), candidates)
    return Rules.of(pack, why)


def _chosen(record: _Record, candidates: Candidates) -> tuple[RulePack, str]:
    packs = candidates.packs
    if candidates.asked and len(packs) <= 1:
        return (packs[0] if packs else NO_PACK), "as asked"
    fitting: Sequence[RulePack] = packs
    found: list[str] = []
    for mark in _MARKS:
        marked = [(pack, why) for pack in fitting if (why := mark(pack, record)) is not None]
        if len(marked) == 1:
            pack, why = marked[0]
            other = _other_text(packs, record.claim) if mark is _by_file else None
            if other is not None:
                return NO_PACK, f"no pack knows the text {other}"
            is_told = mark is not _by_file or record.claim.score is None or _names_its_text(pack, record.claim)
            return pack, why if is_told else f"{why} alone; {_OF_ANOTHER_TEXT}"
        if marked:
            fitting, found = [pack for pack, _ in marked], [why for _, why in marked]
    if found:
        chosen = _by_folder(fitting, record)
        if chosen is not None:
            pack, why = chosen
            return pack, f"{found[0]}, {why}"
        return NO_PACK, f"{' and '.join(pack.name for pack in fitting)} fit alike, {found[0]}; --rules says which"
    if record.claim.dataset is not None:
        return NO_PACK, f"no pack knows the text {record.claim.dataset[:60]}"
    if record.claim.written_by is not None:
        return NO_PACK, f"{record.claim.written_by} wrote it, of no text that a pack knows"
    if not _speaks_of_scores(record.claim):
        return NO_PACK, "the record names no text, and no score in bits per byte"
    other = _other_text(packs, record.claim)
    if other is not None:
        return NO_PACK, f"no pack knows the text {other}"
    assumed = [pack for pack in packs if pack.marks.otherwise]
    if len(assumed) == 1:
        is_named = _words_name_its_text(assumed[0], record.claim)
        return assumed[0], "its words name a text of it" if is_named else _ASSUMED
    return NO_PACK, "the record names no text that a pack knows"


@dataclass(frozen=True)
class _Record:
    """What was read, and where it lies."""

    claim: Claim
    paths: Sequence[Path]


_Mark = Callable[[RulePack, _Record], str | None]


def _by_folder(fitting: Sequence[RulePack], record: _Record) -> tuple[RulePack, str] | None:
    """Of packs that a record's contents fit alike: the one whose folder it lies in, or else the one of no folder.

    A folder's name alone chooses nothing: it says where somebody put a record, not what it is of.
    """
    parts = {part for path in record.paths for part in path.resolve().parts}
    inside = [(pack, name) for pack in fitting for name in pack.marks.folders if name in parts]
    if inside:
        return (inside[0][0], f"in its folder {inside[0][1]}") if len({pack.name for pack, _ in inside}) == 1 else None
    anywhere = [pack for pack in fitting if not pack.marks.folders]
    return (anywhere[0], "in no folder of another's") if len(anywhere) == 1 < len(fitting) else None


def _by_file(pack: RulePack, record: _Record) -> str | None:
    """A file's name, which says less of what a record is of than a data set that it names: another's outranks it."""
    dataset = record.claim.dataset
    if dataset is not None and pack.texts and not any(text.is_named_in(dataset) for text in pack.texts):
        return None
    names = {file.rpartition("/")[2].lower() for file in record.claim.files}
    named = next((name for name in pack.marks.files if name in names), None)
    return None if named is None else f"by its {named}"


_OF_ANOTHER_TEXT = "of another text: --rules none, or a record that names its data set"


def _other_text(packs: Sequence[RulePack], claim: Claim) -> str | None:
    """The public text that a record's words or logs name, where they name none of a pack's, and no tokenizer of one."""
    if claim.dataset is not None or any(claim.tokenizer in pack.marks.tokenizers for pack in packs):
        return None
    words = [
        claim.readme.text if claim.readme is not None else "",
        claim.title or "",
        *(said for _, said in claim.said),
        *(given for log in claim.logs for given in log.data),
    ]
    found = [text[0] for each in words for text in PUBLIC_TEXTS.finditer(each)]
    rest = [PUBLIC_TEXTS.sub(" ", each) for each in (*words, *(log.dataset or "" for log in claim.logs))]
    is_of_pack = any(text.is_named_in(each) for pack in packs for text in pack.texts for each in rest)
    return found[0] if found and not is_of_pack else None


def _names_its_text(pack: RulePack, claim: Claim) -> bool:
    """Whether anything that was read names a text of the pack, or a tokenizer: else it may be of any text."""
    if claim.dataset is not None or claim.tokenizer is not None or not pack.texts:
        return True
    return _words_name_its_text(pack, claim)


def _words_name_its_text(pack: RulePack, claim: Claim) -> bool:
    prose = claim.readme.text if claim.readme is not None else ""
    named = [prose, claim.title or "", *(log.dataset or "" for log in claim.logs)]
    return any(text.is_named_in(each) for text in pack.texts for each in named)


def _by_line(pack: RulePack, record: _Record) -> str | None:
    for log in record.claim.logs:
        for found in log.found:
            if found.template in pack.marks.lines:
                return f"by a line of {log.file}"
    return None


def _by_text(pack: RulePack, record: _Record) -> str | None:
    name = record.claim.dataset
    if name is None or not any(text.is_meant_by(name) for text in pack.texts):
        return None
    return f"by its data set {pack.text_called(name)}"


def _by_tokenizer(pack: RulePack, record: _Record) -> str | None:
    claim = record.claim
    is_free = claim.dataset is None and claim.tokenizer in pack.marks.tokenizers
    where = f", named in {claim.tokenizer_source}" if claim.tokenizer_source is not None else ""
    return f"by its tokenizer {claim.tokenizer}{where}" if is_free else None


def _speaks_of_scores(claim: Claim) -> bool:
    return claim.score is not None or bool(claim.other_scores) or any(log.lines for log in claim.logs)


_MARKS: tuple[_Mark, ...] = (_by_file, _by_line, _by_text, _by_tokenizer)
