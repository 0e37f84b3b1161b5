"""Names that people give to things: scores, losses, tokenizers. One place for every spelling."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache


@dataclass(frozen=True)
class FieldNames:
    """Keys of a record in JSON, by what they hold; of several that are there the first counts.

    Attributes:
        score: the claim.
        inside: objects that may hold the claim one level down.
        seeds: what holds the scores of single seeds.
        spread: the spread over seeds, or a standard error.
        artifact_bytes: the size of what was submitted.
        num_steps: diffusion steps T.
        scored_tokens: tokens scored.
        num_windows: windows scored.
        estimator: words that name the estimator.
        track: the part of a contest that it is entered for.
    """

    score: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    spread: tuple[str, ...] = ()
    artifact_bytes: tuple[str, ...] = ()
    num_steps: tuple[str, ...] = ()
    scored_tokens: tuple[str, ...] = ()
    num_windows: tuple[str, ...] = ()
    estimator: tuple[str, ...] = ()
    track: tuple[str, ...] = ()

    def and_then(self, other: FieldNames) -> FieldNames:
        """These names, and behind them what only ``other`` has."""
        both = {
            field.name: tuple(dict.fromkeys((*getattr(self, field.name), *getattr(other, field.name))))
            for field in fields(self)
        }
        return FieldNames(**both)


# What anybody would call it. A contest's own names come from its pack of rules.
PLAIN_NAMES = FieldNames(
    score=("bits_per_byte", "val_bpb", "bpb"),
    inside=("results", "metrics"),
    seeds=("seed_results", "per_seed"),
    spread=("std", "stderr"),
    scored_tokens=("scored_tokens", "num_scored_tokens"),
    num_windows=("num_windows",),
    estimator=("estimator", "method"),
)
# Names of a score of the whole split.
FULL_SPLIT = re.compile(r"full[-_ ]?(?:val|split|set)|whole[-_ ]?(?:val|split)", re.IGNORECASE)

# A number beside "bpb" that is no score: a difference, a spread, somebody else's.
_NO_SCORE = frozenset(
    (
        *("delta", "gap", "diff", "difference", "gain", "improve", "improved", "improvement", "improves"),
        *("std", "stderr", "se", "sem", "target", "baseline", "threshold", "sota", "record"),
    )
)


def is_score_name(name: str) -> bool:
    """Whether a name announces a score in bits per byte."""
    low = name.lower()
    if "bpb" not in low and "bits_per_byte" not in low and "bits per byte" not in low:
        return False
    return _NO_SCORE.isdisjoint(re.split(r"[^a-z]+", low))


_TRAINING = re.compile(r"(?:^|[^a-z])train(?:ing)?[^a-z]{1,3}(?:[a-z]{1,20}[_ ])?(?:bpb|bits_per_byte)", re.IGNORECASE)
_BEFORE_OR_AFTER = re.compile(r"post|after|pre|time|ttt", re.IGNORECASE)


def is_of_training(name: str) -> bool:
    """Whether a metric's name says that it is of the text that was learnt: ``train_loss``, ``train/bpb``.

    Not a score after training: ``post_training_bpb``, ``test_time_training_bpb``.
    """
    low = name.lower()
    if "train" not in low:
        return False
    return (
        "loss" in low
        or "nats_per_token" in low
        or (_TRAINING.search(low) is not None and not _BEFORE_OR_AFTER.search(low))
    )


@lru_cache(maxsize=256)  # a log has few names, and thousands of lines
def stem(name: str) -> str:
    """The estimator's part of a metric's name: ``val`` of ``val_bpb`` and ``vl``, ``val_var`` of ``val_var_bpb``."""
    if name.lower() == "vl":
        return "val"
    bare = re.sub(r"bits_per_byte|nats_per_token|bpb|loss", "", name.lower()).replace("exact", "")
    return re.sub(r"valid(?:ation)?", "val", bare).strip("_ ./-")


def same_estimator(loss_name: str, bpb_name: str) -> bool:
    """Whether two names say that a loss and a score come from one estimator.

    ``val_loss`` beside ``val_var_bpb`` are two; a bare ``bpb`` beside ``val_loss`` is taken for one.
    """
    loss, bpb = stem(loss_name), stem(bpb_name)
    return loss == bpb or "" in (loss, bpb)


# Behind the number: a vocabulary of the same size, made for a text whose case is spelt otherwise.
_VARIANT = r"(?:[_-][a-z0-9]{1,20}){0,6}?[_-](caseops|case_?fold|lower_?case|uncased|nocase)"
_TOKENIZER = (
    r"(?:fineweb_([0-9]{3,6})_bpe|fineweb10b_sp([0-9]{3,6})|(?<![a-z0-9])sp[-_ ]?([0-9]{3,6})(?![0-9]))"
    rf"(?:{_VARIANT})?"
)
_BYTE_LEVEL = r"(?<![a-z0-9])byte(?:[-_ ]?level|260|256)(?![a-z0-9])"
_IN_ANY_CASE = re.compile(_TOKENIZER, re.IGNORECASE), re.compile(_BYTE_LEVEL, re.IGNORECASE)
_IN_LOWER_CASE = re.compile(_TOKENIZER), re.compile(_BYTE_LEVEL)  # several times faster


def tokenizers_in(text: str) -> tuple[str, ...]:
    """Tokenizers that a text names, in order, each once: ``sp1024``, ``sp8192``, ``sp8192-caseops``, ``byte``."""
    tokenizer, byte_level = _IN_LOWER_CASE if text.isascii() else _IN_ANY_CASE
    low = text.lower() if text.isascii() else text
    found = [
        f"sp{a or b or c}" + (f"-{variant.lower().replace('_', '')}" if variant else "")
        for a, b, c, variant in tokenizer.findall(low)
    ]
    if byte_level.search(low):
        found.append("byte")
    return tuple(dict.fromkeys(found))


def the_one(names: Iterable[str]) -> str | None:
    """The only name of several mentions, or None where they differ or there are none.

    Who names a variant somewhere means it where the variant is left out.
    """
    mentioned = set(names)
    variants = {name.partition("-")[0] for name in mentioned if "-" in name}
    distinct = mentioned - variants
    return distinct.pop() if len(distinct) == 1 else None


def vocabulary_of(tokenizer: str | None) -> int | None:
    """How many pieces a tokenizer has, where its name tells it."""
    found = re.fullmatch(r"sp([0-9]{3,6})(?:-[a-z]+)?", tokenizer or "")
    return int(found[1]) if found else None


# Public texts that language models are scored on. Of a record in whose words one of these stands, and none of a
# contest's, nobody knows that it is of the contest's text: "Trained and evaluated on enwik8" beside a score alone.
PUBLIC_TEXTS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?i:text8|enwik[89]|open[ -]?web[ -]?text|wiki[ -]?text(?:[ -]?(?:2|103))?|lm1b|fine[ -]?web[ -]?edu|climbmix|"
    r"dclm|tiny[ -]?stories|(?:slim|red)[ -]?pajama|the[ -]pile|penn[ -]treebank|book[ -]?corpus|tiny[ -]?shakespeare|"
    r"shakespeare_char|one[ -]billion[ -]words?|lambada)|PTB|C4)(?![A-Za-z0-9])"
)
