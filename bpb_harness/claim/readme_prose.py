"""Sentences of a README that would void the score if they mean what they say.

A closed list of plain statements. Prose denies, compares, quotes and speaks of training, so a sentence counts only
where nothing of the kind is near: it is better to overlook one than to hold an honest author's words against him. What
is found here can raise a doubt, never refute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from bpb_harness.claim.printed import Source
from bpb_harness.claim.voiding_statements import (
    FITTED,
    LEARNT_BEFORE,
    STATEMENTS,
    STORED,
    TRAINED_ON_IT,
)
from bpb_harness.claim.word_classes import closed, words

_LARGEST_PROSE = 1 << 18  # characters
_LONGEST_SENTENCE = 500
_MAX_SENTENCES = 5


@dataclass(frozen=True)
class VoidingSentence:
    """A sentence that would void the score.

    Attributes:
        sentence: the author's words.
        meaning: what they say of the score.
        source: where they stand.
        technique: the name in a title or heading that is all of the statement; None of a sentence.
    """

    sentence: str
    meaning: str
    source: Source
    technique: str | None = field(default=None, compare=False)


# What a submission is called after, in its title or over a section of its README.
_TECHNIQUES = (
    (
        closed(
            r"\bpre-?quant(?:i[sz]ation)?[\s_-]{0,2}(?:[a-z]{3,8}[\s_-])?(?:ttt|test[- ]time[- ]training)\b"
            r"(?![\s_-]*(?:bpb|val|score|loss|delta|baseline|only))"
        ),
        LEARNT_BEFORE,
    ),
    (closed(r"\bpaid[\s_-]?prefix"), STORED),
    (
        closed(r"\b(?:pre-?)?(?:train|fine-?tun)(?:ed|ing)[\s_-]on[\s_-](?:the[\s_-])?val(?:idation)?\b"),
        TRAINED_ON_IT,
    ),
    (re.compile(r"(?<![Cc]ausal[ _-])(?<![Cc]ontext[ _-])(?<![A-Za-z])SLOT(?![a-z])"), FITTED),
)
_VAL_ONLY = closed(r"\bval(?:idation)?[- ]only\b(?! eval)")


# In front of a statement these deny it; behind it only a verb does ("is not what we do"), for "at a single rate, not
# over all of them" affirms.
_NOT = r"n['\u2019]t\b"
_DENIED_BEFORE = closed(
    words(
        "not no nor never none nothing nobody neither without instead rather unlike cannot opposed contrary far hardly",
        "nicht kein keine nie ohne pas jamais sans nunca",
        r"avoid\w* refus\w* stop\w* ceas\w* prevent\w*",
    )
    + f"|{_NOT}|[\u4e0d\u672a\u6ca1\u975e]"
)
_DENIED_BEHIND = closed(
    r"\b(?:is|are|was|were|do|does|did|has|have|had|will|can) (?:not|never|no longer)\b|\b(?:cannot|never|avoid\w*)\b|"
    r"\b(?:is|are|was|were) (?:\w+ )?(?:forbidden|prohibited|disallowed|banned|illegal|against the rules)\b|" + _NOT
)
_CONTRASTED = closed(r"\b(?:not|rather than|instead of)\b")  # "at one rate, not over all of them" names the others
_NEXT_CLAUSE = closed(r"[,;(]|\b(?:which|and|so)\b")  # "..., which is not official" affirms too
# Another time, another model, another purpose, or no statement at all.
_OF_SOMETHING_ELSE = closed(
    words(
        r"train\w* pretrain\w* pre calibrat\w* warm\w* debug\w* smoke sanity quick\w* ablat\w* adapt\w* ttt gptq",
        r"tuned tuning early during while intermediate preliminary initial\w* other others another previous\w* earlier",
        r"prior former\w* version versions old older original\w* baseline\w* leaderboard people some many they pr prs",
        r"issue if whether would could should might may must when once unless until wrong\w* invalid\w* void\w* bug\w*",
        r"mistake\w* error errors fix\w* repair\w* correct\w* myth claim\w* accus\w* alleg\w* example hypothetical\w*",
        r"compar\w* versus vs also additional\w* separate\w* besides diagnostic\w* proxy appendix illustrat\w*",
        r"you your longer todo future plan\w* hessian replac\w* tried abandon\w* reject\w*",
    )
    + r"|\b(?:a|any) (?:score|bound|number|model) (?:that|which|whose)\b|~~|#[0-9]|\?"
)
_TRAINING_WORDS = closed(r"\b(?:pre)?train\w*\b|\b(?:also|they|you)\b")
_ADAPTING_WORDS = closed(
    r"\b(?:train\w*|adapt\w*|ttt|calibrat\w*|temperature|tun(?:ed|ing)|fix\w*|post|additional\w*|other|also)\b"
)
_DENYING_HEADING = closed(
    words(
        r"not no never avoid\w* without pitfalls? mistakes? wrong bugs? fix\w* invalid myths? related prior previous",
        r"history changelog baselines? other ablations? training debug\w* faq todo future dont",
    )
    + f"|{_NOT}"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)")
# Not within names such as val_bpb, and not within what is set as code: a*b_*.bin is a name of files there.
_EMPHASIS = re.compile(r"`([^`]{1,200})`|`|\*(?! )|(?<! )\*|(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])")
_ITEM = re.compile(r"\s{0,12}(?:[-*+]|[0-9]{1,3}[.)])\s+")


@lru_cache(maxsize=2)  # of a claim, its bytes per token are asked for as well as its prose
def voiding_sentences(text: str, file: str) -> tuple[VoidingSentence, ...]:
    """The sentences of a README that say plainly what would void its score, in order; bounded.

    Args:
        text: the README.
        file: its name, for sources.
    """
    found: list[VoidingSentence] = []
    for number, paragraph in _paragraphs(text[:_LARGEST_PROSE]):
        behind = ""  # the sentence before, where nothing was found in it
        for sentence in _SENTENCE_END.split(paragraph):
            is_short = len(sentence) <= _LONGEST_SENTENCE
            meaning, said = _meaning_of(sentence) if is_short else None, sentence.strip()
            if meaning is None and is_short and behind:
                meaning, said = _meaning_of_two(behind, said), f"{behind} {said}"
            behind = sentence.strip() if meaning is None and is_short else ""
            if meaning is not None and len(found) < _MAX_SENTENCES:
                found.append(VoidingSentence(said, meaning, Source(file, number)))
    return tuple(found)


def _written_out(mark: re.Match[str]) -> str:
    """What stands in the place of a mark: what is set as code, as it is, else nothing."""
    return mark[1] or ""


def _meaning_of_two(first: str, second: str) -> str | None:
    """What two sentences mean together, where the second speaks of something that the first names.

    They are read as one, and the second with what its pronoun may stand for in its place: the subject of the first, or
    what the first counts. Neither means anything by itself.
    """
    if _POINTS_BACK.search(second) is None or len(first) + len(second) >= _LONGEST_SENTENCE:
        return None
    meaning = _meaning_of(f"{first} {second}")
    if meaning is not None or _OF_SOMETHING_ELSE.search(first):
        return meaning
    subject, units = _SUBJECT.match(first), _COUNTED.findall(first)
    if subject is not None:
        meaning = _meaning_of(_POSSESSIVE.sub(rf"The \g<1> of {_escaped(subject[1])}", second, count=1))
        meaning = meaning or _meaning_of(_PRONOUN.sub(_escaped(subject[1]), second, count=1))
    if meaning is None and units:
        meaning = _meaning_of(_OF_THEM.sub(f"of the {units[-1]}", second, count=1))
    return meaning


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\")


_POINTS_BACK = closed(r"\b(?:it|its|they|them|their|these|those|(?:at|of|on|for) that)\b")
_SUBJECT = re.compile(
    r"([A-Z`][^.,;:!?]{2,60}?) (?=(?:is|are|was|were|has|have|had|begins?|comes?|uses?|takes?|stays?|gets?|will)\b)"
)
_PRONOUN = re.compile(r"^(?:It|They|These|This|Those|All of (?:it|them|these))(?= )")
_POSSESSIVE = re.compile(r"^(?:Its|Their) (\w+)")
_COUNTED = closed(r"\b(windows|sequences|batches|chunks|documents|docs|tokens)\b")
_OF_THEM = closed(r"\b(?:of )?(?:them|these|those)\b")


def first_trained_document(text: str, file: str) -> tuple[int, Source] | None:
    """After how many documents of the text a README says that its training shards begin, and where it says so.

    ``the 80 training shards match the default val_docs=10000 output``: of several such numbers the largest.

    Args:
        text: the README.
        file: its name, for sources.
    """
    for number, paragraph in _paragraphs(text[:_LARGEST_PROSE]):
        for sentence in _SENTENCE_END.split(paragraph):
            counts = [int(re.sub("[,_]", "", digits)) for digits in _VAL_DOCUMENTS.findall(sentence)]
            if counts and _TRAINING_SHARDS.search(sentence) and not _DENIED_BEFORE.search(sentence):
                return max(counts), Source(file, number)
    return None


_VAL_DOCUMENTS = closed(r"\bval[-_]docs\s?[=:]?\s?([0-9][0-9_,]{2,12})\b")
_TRAINING_SHARDS = closed(r"\btrain(?:ing)? shards?\b")


def word_hints(text: str, file: str) -> Source | None:
    """Where a README tells of hints within words and at their beginnings that it does not say to be shut or mended.

    Which of the two is used asks whether a word begins; that it is not asked of the scored token, a README that knows
    of it says.

    Args:
        text: the README.
        file: its name, for sources.
    """
    text = text[:_LARGEST_PROSE]
    told = _without_denied(text)
    within, begins = _WITHIN_WORDS.search(told), _WORD_BEGINS.search(told)
    if within is None or begins is None or _HINTS_SHUT.search(text) or not _NGRAM.search(text):
        return None
    return Source(file, told.count("\n", 0, min(within.start(), begins.start())) + 1)


def _without_denied(text: str) -> str:
    """A README with those lines left empty that deny something, or stand below a heading or an introduction that does.

    What is left stands in the lines in which it stood.
    """
    kept, below, behind = list[str](), False, False
    for line in text.split("\n"):
        is_denied = _DENYING_HEADING.search(line) is not None
        if line.startswith("#"):
            below, behind = is_denied, False
        elif line.rstrip().endswith(":"):
            behind = is_denied
        elif line.strip() and not line.lstrip().startswith(("-", "*", "+")):
            behind = False
        kept.append("" if below or behind or _NO_HINTS.search(line) else line)
    return "\n".join(kept)


_NO_HINTS = closed(r"\b(?:no|not|never|without|unlike|(?:turned|switched) off|reject\w*|abandon\w*|tried)\b")
_OF_HINTS = r"(?:hints?|experts?|continuations?|channels?|boosts?)"
_WITHIN_WORDS = closed(rf"\bwithin[- ]word(?: (?:bpe|subword))? {_OF_HINTS}\b")
_WORD_BEGINS = closed(rf"\bword[- ](?:start|initial|level)(?: (?:first-token|n-?gram))? {_OF_HINTS}\b")
_NGRAM = closed(r"\bn-?grams?\b")
_HINTS_SHUT = closed(
    r"\bdisabl\w*|\btoken-only\b|\bcausality[- ](?:bug|fix\w*|violation)"
    r"|\bprefix-only gat\w*|\bis_bnd\b|\bWITHIN_(?:TAU|BOOST|BETA)\b"
    r"|\bgates?\b[^.;\n]{0,40}\bthe prefix (?:only|alone)\b"
    r"|\b(?:chosen|decided|gated?|gates?) (?:by|on|from) the (?:previous|preceding|last)\b"
    r"|\bwithin_gate ?= ?0\b|\b(?:removed|dropped|without) (?:the )?within\b"
)


def numbers_in(sentence: str) -> list[float]:
    """The numbers of a sentence, without those that are part of a word or of a longer number."""
    return [float(text) for text in _A_NUMBER.findall(sentence)]


_A_NUMBER = re.compile(r"(?<![\w.,])[0-9]{1,6}(?:\.[0-9]{1,8})?(?![\w]|[.,][0-9])")


def voiding_title(title: str, file: str) -> VoidingSentence | None:
    """A title that says what would void the score: of a run on the validation split alone, as such runs are called."""
    if _DENIED_BEFORE.search(title):
        return None
    alone = _VAL_ONLY.search(title)
    meaning, _, name = _technique_of(title) if alone is None else (TRAINED_ON_IT, "", alone[0])
    return None if meaning is None else VoidingSentence(title[:_LONGEST_SENTENCE], meaning, Source(file), name)


def voiding_headings(text: str, file: str) -> tuple[VoidingSentence, ...]:
    """Headings of a README that name a technique which voids the score; none below one that denies or compares."""
    found: list[VoidingSentence] = []
    denied_below, in_code = 0, False  # the level of the heading that denies what stands below it; 0: none
    for number, line in enumerate(text[:_LARGEST_PROSE].split("\n"), 1):
        in_code ^= line.lstrip().startswith(("```", "~~~"))
        level = len(line) - len(line.lstrip("#"))
        if in_code or not 1 <= level <= 6:
            continue
        heading = line.strip("# \r\t*")
        if denied_below and level > denied_below:
            continue
        meaning, rest, name = _technique_of(heading)
        is_denied = level > 1 and (_DENYING_HEADING.search(rest) or _REJECTED.search(rest)) is not None
        denied_below = level if is_denied else 0
        if is_denied or _DENIED_BEFORE.search(rest):
            continue
        if meaning is not None and len(found) < _MAX_SENTENCES:
            found.append(VoidingSentence(heading[:_LONGEST_SENTENCE], meaning, Source(file, number), name))
    return tuple(found)


_REJECTED = closed(r"\b(?:remov\w*|fail\w*|reject\w*|tried|attempt\w*|compar\w*|versus|vs|negative|illegal|credits?)\b")


def _technique_of(words: str) -> tuple[str | None, str, str | None]:
    """What a technique that is named means for the score, the other words, and its name."""
    for pattern, meaning in _TECHNIQUES:
        if (found := pattern.search(words)) is not None:
            return meaning, pattern.sub(" ", words), found[0]
    return None, words, None


def _meaning_of(sentence: str) -> str | None:
    low = sentence.lower() if sentence.isascii() else None  # beyond ASCII, letters have more cases than two
    for statement in STATEMENTS:
        if low is not None and not statement.may_be_in(low):
            continue
        stated = statement.pattern.search(sentence)
        if stated is None:
            continue
        between = " ".join(filter(None, stated.groups()))
        before, behind = f"{sentence[: stated.start()]} {between}", sentence[stated.end() :]
        if _DENIED_BEFORE.search(before) or _DENIED_BEHIND.search(_NEXT_CLAUSE.split(behind, 1)[0]):
            continue
        around = f"{before} {behind}"
        around = _TRAINING_WORDS.sub(" ", around) if statement.of_training else around
        around = _ADAPTING_WORDS.sub(" ", around) if statement.of_adapting else around
        affirmed = sentence[: stated.end()] + _CONTRASTED.split(behind, 1)[0]
        if _OF_SOMETHING_ELSE.search(around) or (statement.unless and statement.unless.search(affirmed)):
            continue
        return statement.meaning
    return None


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Paragraphs and list items with their first line; no code, quotation, table, or section that denies its text."""
    paragraph: list[str] = []
    start, in_code, denied, intro_denies = 1, False, False, False
    for number, raw in enumerate([*text.split("\n"), ""], 1):
        line = raw.strip()
        fence, heading, item = line.startswith(("```", "~~~")), line.startswith("#"), _ITEM.match(raw)
        if paragraph and (not line or fence or heading or item or in_code):
            whole = " ".join(paragraph)
            if not denied and not intro_denies:
                yield start, whole
            if whole.endswith(":"):  # it introduces the list that follows
                intro_denies = intro_denies or _DENYING_HEADING.search(whole) is not None
            elif not item and not line.startswith(("-", "*", "+")) and line:
                intro_denies = False
            paragraph = []
        if fence:
            in_code = not in_code
        elif heading and not in_code:
            denied, intro_denies = _DENYING_HEADING.search(line) is not None, False
        elif line and not in_code and not line.startswith((">", "|", "<")):
            if not paragraph:
                start = number
                intro_denies = intro_denies and item is not None
            words = raw[item.end() :] if item is not None else raw
            paragraph.append(_EMPHASIS.sub(_written_out, words.strip()))
