"""Whether a record tells that another text than the split, or a larger one, was scored.

Such a text has tokens and bytes of its own, and what follows of the split's bytes says nothing of it. Words are read
more widely than they need be: where they are another text's, or of another evaluation, no more than a doubt is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing.evidence import SCATTER, Evidence
from bpb_harness.auditing.said import text_of_log
from bpb_harness.claim.names import PUBLIC_TEXTS

_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n")
_LONGEST = 1_000
_WHERE = r"(?:valid(?:ation)?|val|eval(?:uation)?|test|held[-_ ]?out|scored)"
_SCORED = re.compile(
    rf"(?<![A-Za-z]){_WHERE}[-_ ]?(?:set|split|texts?|data(?:set)?|doc(?:ument)?s?|corpus|shards?|bytes|tokens)"
    r"(?![A-Za-z])",
    re.IGNORECASE,
)
_BEHIND = re.compile(rf"[-_ ]{{1,3}}{_WHERE}(?![a-z])", re.IGNORECASE)
_BEFORE = re.compile(
    r"(?<![a-z])(?:validat|evaluat|test|scor)(?:e|ed|es|ion|ing|s)?(?: (?:set|split|text|data|corpus))?"
    r"(?: (?:is|are|was|were|on|of|from|over))*:?(?: the)? $",
    re.IGNORECASE,
)
_LARGER = re.compile(
    r"\b(?:larger|longer|bigger|extended|enlarged|additional|plus|different|another|other than|instead of|custom|"
    r"(?:more|extra|own) (?:text|data|documents|docs|split|validation))\b",
    re.IGNORECASE,
)
_DOCUMENTS = re.compile(
    r"(?<![\w.,-])([0-9][0-9,_.]{0,14})\s?([km]?)[- ](?:\w{1,20} )?doc(?:ument)?s?\b", re.IGNORECASE
)
_SIZE = re.compile(r"(?<![\w.,-])([0-9][0-9,_.]{0,14})\s?(mb|gb|mib|gib|million bytes|bytes)\b", re.IGNORECASE)
_TIMES = {"": 1.0, "k": 1e3, "m": 1e6, "bytes": 1.0, "mb": 1e6, "million bytes": 1e6, "mib": 2.0**20, "gb": 1e9}
_TIMES["gib"] = 2.0**30
_NUM_DOCUMENTS = 50_000
_FOLDER = re.compile(r"([\w.-]{1,200})/[\w.*-]{0,80}val[\w.*-]{0,80}\.bin\b", re.IGNORECASE)
_OF_A_FOLDER = re.compile(r"fineweb(?:10b)?|val|data|datasets?|sp[0-9]{2,6}|bpe|unigram", re.IGNORECASE)
_NUMBER_OF_WORD = re.compile(r"[^a-z0-9]+")


def names_another_text(evidence: Evidence) -> bool:
    """Whether the README or submission.json names, as what was validated on, a public text that is not the split's."""
    return any(
        _BEHIND.match(sentence, found.end()) or _BEFORE.search(sentence[: found.start()])
        for sentence in _sentences(evidence)
        for found in PUBLIC_TEXTS.finditer(sentence)
    )


def may_be_more_text(evidence: Evidence, num_bytes: int, model: str) -> bool:
    """Whether a record's words, or the folder of the shards that its logs load, may be of more than the split.

    Args:
        evidence: the claim and its record.
        num_bytes: of the split.
        model: the file of the tokenizer's model: what else a folder is called tells of another text.
    """
    if names_another_text(evidence) or any(_tells_of_more(each, num_bytes) for each in _sentences(evidence)):
        return True
    own = {*_words(model)}
    lines = [line for log in evidence.claim_logs for line in text_of_log(log).split("\n") if ".bin" in line]
    folders = {found[1] for line in lines for found in _FOLDER.finditer(line[:_LONGEST])}
    return any(word not in own and not _OF_A_FOLDER.fullmatch(word) for each in folders for word in _words(each))


def _sentences(evidence: Evidence) -> Iterator[str]:
    claim = evidence.claim
    readme = claim.readme.text if claim.readme is not None else ""
    for text in (readme, claim.title or "", *(said for _, said in claim.said), *(text for _, text in evidence.notes)):
        yield from (sentence[:_LONGEST] for sentence in _SENTENCE.split(text))


def _tells_of_more(sentence: str, num_bytes: int) -> bool:
    is_of_scored = _SCORED.search(sentence) is not None
    if is_of_scored and _LARGER.search(sentence):
        return True
    if is_of_scored and any(abs(each / num_bytes - 1.0) > SCATTER + 0.001 for each in _numbers(_SIZE, sentence)):
        return True
    is_of_training = "train" in sentence.lower() and not is_of_scored
    return not is_of_training and any(each != _NUM_DOCUMENTS for each in _numbers(_DOCUMENTS, sentence))


def _numbers(pattern: re.Pattern[str], sentence: str) -> Iterator[float]:
    for found in pattern.finditer(sentence):
        digits = re.sub(r"[,_]", "", found[1]).rstrip(".")
        if digits.count(".") <= 1:
            yield float(digits) * _TIMES[found[2].lower()]


def _words(name: str) -> list[str]:
    return [word for word in _NUMBER_OF_WORD.split(name.lower()) if word]
