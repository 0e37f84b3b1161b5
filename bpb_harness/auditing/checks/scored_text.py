"""Whether the text that the harness scored is the claim's: by its names, its tokens and its bytes per token.

A score of another text confirms nothing and refutes nothing, however near or far it is. So whatever a record says of
its text has to fit what was scored; where it says nothing at all, nothing is held against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Protocol as StructuralType

from bpb_harness.auditing.evidence import SCATTER, WHOLE_SPLIT, Evidence
from bpb_harness.rules.denominators import Denominator

PART_SPREAD = 0.03  # relative; bytes per token, and scores, of parts of a thousand windows are so far off the whole's
# Texts that language models are scored on, as READMEs, scripts and logs call them.
_KNOWN = re.compile(
    r"(?<![a-z0-9])(fineweb|wikitext|openwebtext|enwik[89]|text8|lm1b|c4|slimpajama|redpajama|tinystories|lambada|"
    r"penn[ _-]?treebank|pg-?19|dclm|the[ _]pile)(?![a-z])",
    re.IGNORECASE,
)
# The validation split of one of them, as scripts name its files.
_VALIDATED = re.compile(rf"{_KNOWN.pattern}[a-z0-9_]{{0,40}}_(?:val|valid|validation|test)(?![a-z])", re.IGNORECASE)
_ANY_SPLIT = re.compile(r"(?:val|valid|validation|test|eval|data|tokens|text|corpus)?[_0-9-]*")
_TOKENS = re.compile(r"(?<![0-9.,_])([0-9][0-9,_]{2,15})[ \u00a0](?:validation |val |scored )?tokens\b", re.IGNORECASE)
_OF_EVALUATION = re.compile(r"\bval|eval|scored", re.IGNORECASE)
_TOO_COMMON = frozenset({"valid", "validation", "train", "corpus", "dataset", "tokens"})


class Scored(StructuralType):
    """What the harness scored; see ``Recomputed``."""

    @property
    def data_name(self) -> str | None: ...
    @property
    def num_windows(self) -> int | None: ...
    @property
    def context_length(self) -> int | None: ...
    @property
    def num_tokens(self) -> int | None: ...
    @property
    def bytes_per_token(self) -> float | None: ...


def misfit(evidence: Evidence, scored: Scored, said: Mapping[str, str], *, has_same_loss: bool = False) -> str | None:
    """What the record says of its text and does not fit what was scored, in words; None where all of it fits.

    Args:
        evidence: the claim and its record.
        scored: what the harness scored.
        said: the record's texts, by the names of their files.
        has_same_loss: the same loss per token came of it: then other bytes per token are a fault of the count.
    """
    found = _other_loaded(evidence, scored) or _other_size(evidence, scored) or _other_split(evidence, scored)
    found = found or _other_validated(scored, said)
    if found is not None or _is_shown(evidence, scored):
        return found
    return (None if has_same_loss else _other_ratio(evidence, scored)) or _other_name(scored, said)


def _other_loaded(evidence: Evidence, scored: Scored) -> str | None:
    """A text that a log's loader names; the one text that all of them name is the claim's own, held elsewhere."""
    loaded = {log.dataset.lower(): log.file for log in evidence.claim.logs if log.dataset}
    if not loaded or scored.data_name is None or evidence.claim.dataset is not None:
        return None
    name, file = next(iter(loaded.items()))
    return None if scored.data_name.lower() in loaded else f"{file} loads {name}, the harness scored {scored.data_name}"


def _counts(evidence: Evidence) -> Iterator[tuple[str, set[int]]]:
    """Numbers of tokens that the record gives for what was scored, and who gives them."""
    if evidence.scored_tokens is not None:
        yield "the claim", {evidence.scored_tokens}
    else:
        sizes = {size for log in evidence.claim_logs or evidence.claim.logs for size in log.split_tokens}
        if sizes:
            yield "the log", sizes
    readme = evidence.claim.readme
    lines = [line for line in readme.text.splitlines() if _OF_EVALUATION.search(line)] if readme is not None else []
    stated = {int(re.sub(r"[,_]", "", number)) for line in lines for number in _TOKENS.findall(line)}
    if readme is not None and stated:
        yield readme.file, stated


def _other_size(evidence: Evidence, scored: Scored) -> str | None:
    if scored.num_tokens is None:
        return None
    for who, counts in _counts(evidence):
        if not any(_fits(count, scored, scored.num_tokens) for count in counts):
            told = " or ".join(f"{count:,}" for count in sorted(counts))
            return f"{who} says {told} tokens, the harness scored {_text(scored)}"
    return None


def _fits(count: int, scored: Scored, num_tokens: int) -> bool:
    """Whether a number of tokens is that of the text that was scored: a tail may be dropped, a part is no longer."""
    slack = max(scored.context_length or 1, (1.0 - WHOLE_SPLIT) * count)
    return num_tokens - count <= slack and (scored.num_windows is not None or count - num_tokens <= slack)


def _other_split(evidence: Evidence, scored: Scored) -> str | None:
    """The split that the record's tokenizer and text stand for, by the table's bytes per token and tokens."""
    full: Denominator | None = evidence.full
    if scored.bytes_per_token is None:
        return None
    if full is None:
        if evidence.tokenizer is None or evidence.ratio is not None or _is_shown(evidence, scored):
            return None
        return f"the claim is under {evidence.tokenizer}, and nothing shows that the harness scored {_text(scored)} so"
    off = abs(scored.bytes_per_token / full.bytes_per_token - 1.0)
    # Of a claim that names a part of its own, that part's number of tokens was held against what was scored.
    is_short = (
        scored.num_tokens is not None
        and not _is_of_part(evidence, scored)
        and not _fits(full.num_tokens, scored, scored.num_tokens)
    )
    if off <= (PART_SPREAD if _is_of_part(evidence, scored) else SCATTER) and not is_short:
        return None
    told = f"{full}, {full.num_tokens:,} tokens of {full.bytes_per_token:.3f} bytes"
    return f"the record is taken to be about {told}; the harness scored {_text(scored)}"


def _is_of_part(evidence: Evidence, scored: Scored) -> bool:
    protocol = evidence.claim.protocol
    return any(each is not None for each in (scored.num_windows, protocol.tokens, protocol.num_windows))


def _is_shown(evidence: Evidence, scored: Scored) -> bool:
    """Whether numbers that fit show the text: its tokens, which a fault of the byte count leaves as they are."""
    if scored.num_tokens is None or scored.num_windows is not None:
        return False
    told = [count for _, counts in _counts(evidence) for count in counts]
    told += [evidence.full.num_tokens] if evidence.full is not None else []
    return any(WHOLE_SPLIT <= count / scored.num_tokens <= 1.0 / WHOLE_SPLIT for count in told)


def _other_ratio(evidence: Evidence, scored: Scored) -> str | None:
    """Bytes per token behind the claim, or stated, against those of what was scored."""
    own, readme = scored.bytes_per_token, evidence.claim.readme
    if own is None:
        return None
    length, tokens = scored.context_length or 0, scored.num_tokens or 1
    slack = min(PART_SPREAD, SCATTER + length / tokens) if scored.num_windows is None else PART_SPREAD
    ratio = evidence.ratio
    if ratio is not None and ratio.same_estimator and not ratio.is_near(own, slack):
        told = f"the claim's loss and score give {ratio.value:.3f} bytes per token"
        return f"{told}, the harness scored {_text(scored)}: it is another text, another tokenizer or a wrong count"
    stated = evidence.claim.protocol.bytes_per_token or (readme.bytes_per_token if readme is not None else None)
    if stated is not None and abs(stated.value / own - 1.0) > max(slack, stated.half_unit / own):
        return f"the record states {stated} bytes per token, the harness scored {_text(scored)}"
    return None


def _other_validated(scored: Scored, said: Mapping[str, str]) -> str | None:
    """A known text whose validation split a script names, where what was scored bears the name of none or another.

    Numbers of tokens that fit do not outweigh it: a record can print what it likes. A name such as ``val_000000`` tells
    of no text.
    """
    name = (scored.data_name or "").lower()
    if not name or _ANY_SPLIT.fullmatch(name):
        return None
    for file, text in said.items():
        named = [found[0] for found in _VALIDATED.finditer(text)] if file.lower().endswith(".py") else []
        known = {_plain(found[0]) for each in named for found in _KNOWN.finditer(each)}
        if named and name not in text.lower() and not any(found in _plain(name) for found in known):
            return f"{file} names {named[0]}, the harness scored {_text(scored)}"
    return None


def _other_name(scored: Scored, said: Mapping[str, str]) -> str | None:
    """A text that the record's files name, none of which is what was scored."""
    name = (scored.data_name or "").lower()
    if not name:
        return None
    named = {_plain(found): (file, found) for file, text in said.items() for found in _KNOWN.findall(text)}
    literal = re.compile(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z])", re.IGNORECASE)
    is_named = len(name) > 4 and name not in _TOO_COMMON and any(map(literal.search, said.values()))
    if not named or is_named or any(found in _plain(name) for found in named):
        return None
    file, found = next(iter(named.values()))
    return f"{file} names {found}, the harness scored {_text(scored)}"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _text(scored: Scored) -> str:
    tokens = "" if scored.num_tokens is None else f", {scored.num_tokens:,} tokens"
    ratio = "" if scored.bytes_per_token is None else f" of {scored.bytes_per_token:.3f} bytes"
    return f"{scored.data_name or 'a text without a name'}{tokens}{ratio if tokens else ''}"
