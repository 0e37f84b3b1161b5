"""Whether the signatures that a record states are of what the harness scored: by digests, method, T and windows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bpb_harness.errors import UsageError
from bpb_harness.result import Signature

_SIGNATURE = re.compile(r"(?<![\w|])bpb\|[^\s\"'`<>\\]{3,2000}")
_MAX_SIGNATURES = 100  # of one file


def other_files(stated: Signature, scored: Signature) -> Iterator[tuple[str, str | None, str | None]]:
    """The files of which two signatures state different digests: what each is, and both."""
    for what, claimed, here in (
        ("model", stated.model, scored.model),
        ("text", _text_of(stated), _text_of(scored)),
        ("tokenizer", stated.tokenizer, scored.tokenizer),
    ):
        if claimed != here:
            yield what, claimed, here


def other_signature(scored: str, said: Mapping[str, str]) -> str | None:
    """What the signatures that a record states, and what was scored, do not share, in words.

    None where one of them fits, or the record states none: it may speak of other scores beside its own.

    Args:
        scored: the signature of what was scored.
        said: the record's texts, by the names of their files.
    """
    files = sorted(said, key=lambda name: (name.rpartition("/")[2] != "submission.json", name))
    stated = [(file, each) for file in files if not file.endswith(".py") for each in _signatures_in(said[file])]
    if not stated or not scored.startswith("bpb|"):
        return None
    here = Signature.parse(scored)
    found = []
    for file, signature in stated:
        other = next(_differences(signature, here), None)
        if other is None:
            return None
        found.append(f"{file} states a signature of {other[0]} {other[1]}, the harness scored {other[2]}")
    return found[0]


def _signatures_in(text: str) -> Iterator[Signature]:
    for number, match in enumerate(_SIGNATURE.finditer(text)):
        if number == _MAX_SIGNATURES:
            return
        try:
            yield Signature.parse(match[0].rstrip(".,;:)]}"))
        except UsageError:  # some other line that begins so
            continue


def _differences(stated: Signature, scored: Signature) -> Iterator[tuple[str, str, str]]:
    """What two signatures state otherwise; what one of them leaves out differs from nothing."""
    settings = (
        ("method", stated.method, scored.method),
        ("T =", stated.num_steps, scored.num_steps),
        ("windows of", stated.context_length, scored.context_length),
    )
    for what, claimed, here in (*other_files(stated, scored), *settings):
        if claimed and here and claimed != here:
            yield what, claimed, here


def _text_of(signature: Signature) -> str:
    """Name and digest of the text, without which part of it was scored."""
    return (signature.data or "").partition("[")[0]
