"""A score that a README claims in a plain sentence: ``achieves 0.85 BPB``, ``0.8500 bits per byte on FineWeb``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bpb_harness.claim.printed import Printed, Source, parse_number, with_points
from bpb_harness.claim.record import Readme
from bpb_harness.claim.sections import own_lines

SENTENCE = "Our model achieves 0.8500 bits per byte."
"""A sentence that is read as a claim."""

_FIGURE = r"(?<![\w.,+\u2212\u00b1-])[0-9]\.[0-9]{1,8}(?![0-9A-Za-z%]|[.,][0-9])"
_UNIT = (
    r"(?<![A-Za-z0-9_])(?:(?:(?!train|base|std|delta|gap|pre_)[a-z]{1,12}_){0,4}bpb|bits?[ -]per[ -]byte|bits/byte)"
    r"(?![A-Za-z0-9_/-])"
)
_OF_IT = (
    r"final|overall|official|validation|val|test|held-out|mean|average|avg|averaged|best|full|total|measured|reported"
    r"|claimed|resulting|exact|evaluated|eval|evaluation|official|our|my|the|its|this|a|an"
)
_DETAIL = r"(?: ?\([^()]{0,60}\))?"
_ABOUT = r"(?:(?:about|around|roughly|approximately|just|only|~|\u2248) ?)?"
_BETWEEN = rf"(?: ?[:=~\u2248]| of| is| was| at)? {{0,2}}{_ABOUT}"
# A figure and its unit, whichever stands first.
_PAIR = (
    rf"(?:(?P<before>{_FIGURE}) (?:(?:{_OF_IT}) ){{0,2}}{_UNIT}(?!{_DETAIL}{_BETWEEN}{_FIGURE})"
    rf"|{_UNIT}{_DETAIL}{_BETWEEN}(?P<behind>{_FIGURE}))"
)
_ANY_PAIR = re.compile(_PAIR, re.IGNORECASE)
_SCORE = r"scores?|results?|compression|performance"
_BEGINS = (
    rf"(?:(?:{_OF_IT}) ){{0,3}}(?:(?:{_SCORE}){_DETAIL}(?: ?[:=]| is| was) ?{_ABOUT})?(?:(?:{_OF_IT}) ){{0,3}}{_PAIR}"
)
# "Final val_bpb 0.85", "Score: 0.85 bits per byte": a line of nothing else, and what begins a line or a sentence.
_LABEL_ALONE = re.compile(rf"{_BEGINS}{_DETAIL}[.!]?", re.IGNORECASE)
_LABELLED = re.compile(rf"{_BEGINS}(?:$|[.!]$|[ ,;(].{{0,300}})", re.IGNORECASE)
_THING = (
    rf"(?:model|network|net|lm|transformer|run|runs|submission|record|entry|system|checkpoint|ensemble|approach|method"
    rf"|architecture|project|configuration|recipe|{_SCORE})"
)
_SUBJECT = rf"(?:(?:we|i|it|our|my|this|these)\b|the (?:[\w-]{{1,20}} ){{0,3}}{_THING}\b)"
_ASIDE = r"(?:(?:in|on|after|with|for|using|under|at|by|trained|across|over)\b[^.;:]{1,80}, )?"
_VERB = (
    r"(?:achiev(?:e[sd]?|ing)|reach(?:e[sd]|ing)?|scor(?:e[sd]?|ing)|gets?|got|attain(?:s|ed|ing)?|obtain(?:s|ed)?"
    r"|gives?|gave|yield(?:s|ed|ing)?|hits?|has|had|is|are|was|were|needs?|needed|report(?:s|ed)?|claims?|claimed"
    r"|compress(?:es|ed)?|evaluates?|evaluated|comes?|came|lands?|landed|ends?|ended|finish(?:es|ed)?|with)"
)
_TO_PAIR = rf"(?:[ :]+(?:(?![0-9])[\w'-]{{1,20}}:? ){{0,5}}?){_ABOUT}{_PAIR}"
_SAID = re.compile(rf"{_ASIDE}{_SUBJECT}(?:[^.;:]{{0,100}} )??(?<![\w-]){_VERB}{_TO_PAIR}", re.IGNORECASE)
_SAID_ALONE = re.compile(rf"{_VERB}{_TO_PAIR}", re.IGNORECASE)  # Achieves 0.85 BPB
_NAMED = re.compile(rf"(?:[^.;:]{{0,100}} )??(?<![\w-]){_VERB}{_TO_PAIR}", re.IGNORECASE)  # behind the title's name
_OF_THE_FIRST = re.compile(  # "A tiny network that reaches 0.85 BPB", as the first sentence of all
    rf"(?:[\w.-]{{1,40}} (?:is )?)?an? (?:[^.;:]{{0,150}} )?(?<![\w-]){_VERB}{_TO_PAIR}", re.IGNORECASE
)
# Words by which the number of a sentence is another's, a wish, a condition, a change, or denied.
_NOT_CLAIMED = re.compile(
    r"(?<![a-z])(?:baselines?|stock|organi[sz]ers?|sota|state[ -]of[ -]the[ -]art|leader\w*|leading|builds? on"
    r"|previous\w*|prior|before|means (?:that|an?|one)|defin\w+"
    r"|older|earlier|former\w*|pre-?quant\w*|pre-?ttt|pre-?training|unquanti\w+|ablat\w*|without|improv\w+|deltas?|gains?"
    r"|expect\w*|estimat\w*|project(?:ed|ions?)|predict(?:s|ed)|targets?|targeting|vs|versus|beat\w*"
    r"|from(?! scratch)|merged|current|reference|hop(?:es?|ed|ing)|towards?|aim\w*|goals?|pending|tbd|tba|todo|smoke"
    r"|retract\w*|withdrawn|not|never|neither|nor|no|cannot|fail\w*|unable|far|short of|lack\w*"
    r"|if|unless|would|could|should|might|may|will|can|than|below|under|above|over(?= ?[0-9])|between|within|until"
    r"|less|lower|worse|better|higher|more|differ\w*|drop\w*|reduc\w*|gap|margin|penalty|loses?|lost"
    r"|others?|another|theirs?|someone|published|paper|known|human|shannon|naive|naively|plain|vanilla|ideal|optimal"
    r"|oracle|floor|theor\w*|random|untrained|uniform|unigram|bigram|gzip|xz|zstd|gpt-?[0-9]|llama\w*"
    r"|(?<!trained )on (?:the |its |our |my )?train(?:ing)? (?:text|data|set|split|shards?|tokens|documents)"
    r"|seeds? [0-9]+|steps? ?[:=]? ?[0-9]\w*|[0-9,.]+k? steps|epochs? [0-9]+|checkpoint [0-9]+|train(?:ing)? bpb"
    r"|each|every|thresholds?|cap|budget|bar|cutoff|assum\w*|example|suppose|hypothe\w*|imagine|wrong\w*"
    r"|incorrect\w*|invalid|void|bugs?|buggy|mistake\w*|leak\w*|cheat\w*|contaminat\w*|variants?|instead"
    r"|alternativ\w*|sanity|proxy|dummy|placeholder|plan(?:s|ned)?|next (?:run|step|time)|later|future)(?![a-z])"
    r"|n't|n\u2019t|~~|(?<![a-z0-9.])@[a-z]|#[0-9]{2,5}|->|=>|\u2192|[<>\u2264\u2265\u0394\u00b1?]",
    re.IGNORECASE,
)
_PER = re.compile(r"bits?[ -]per[ -]byte|bits/byte", re.IGNORECASE)
_MARKUP = re.compile(r"[*`\\]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LIST = re.compile(r"\s*(?:[-*+\u2022]|[0-9]{1,2}[.)])\s+(?=\S)")
_FENCE = re.compile(r"\s{0,3}(?:```|~~~)")
_HEADING = re.compile(r"#{1,6}\s+")
_NAME = re.compile(r"(?<![\w-])(?=[a-z0-9-]{0,30}[A-Z])[A-Za-z0-9-]{3,40}(?![\w-])")  # TinyLM, mdLM-2
_NO_PROSE = re.compile(r"\s*(?:$|[>|])|[^|]*\|[^|]*\|")  # blank, quoted, or of a table
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z(\"'])")
_LARGEST_README, _LONGEST_SENTENCE, _MOST = 1 << 18, 400, 200
_LEAST = 0.2  # bits per byte; less is a difference


@dataclass(frozen=True)
class _Words:
    """Words of a README: of a line, a paragraph or a sentence, without their markup.

    Attributes:
        text: the words.
        lines: where in them each line begins, with its number.
        is_title: they are those of a heading.
        is_item: they are an item of a list, or a line by itself, of which the words above it may say whose it is.
    """

    text: str
    lines: tuple[tuple[int, int], ...]
    is_title: bool = False
    is_item: bool = False

    def line_at(self, place: int) -> int:
        return max((begin, number) for begin, number in self.lines if begin <= place)[1]


def plain_claims(readme: Readme) -> list[Printed]:
    """The scores that a README's sentences claim; several that differ, where nothing says which is the claim.

    A sentence of one of a few forms claims one. Numbers of other sentences that no word makes another's stand beside
    it; where none has such a form, none is claimed.
    """
    text = readme.text[:_LARGEST_README]
    if "bpb" not in text.lower() and _PER.search(text) is None:
        return []
    given: list[Printed] = []
    is_claimed, is_first, above, title = False, True, "", ""
    for block in _blocks(text):
        if not block.is_item:
            above = block.text if block.text.endswith(":") else ""
        is_title = block.is_title and not title
        title = block.text if is_title else title
        for sentence in _sentences(block) if not _NOT_CLAIMED.search(above) else ():
            pairs = _pairs(sentence, readme.file)
            given += pairs
            is_claimed = is_claimed or (bool(pairs) and (is_title or _claims(sentence.text, title, is_first=is_first)))
        is_first = is_first and block.is_title
        if len(given) > _MOST:
            break
    return given if is_claimed else []


def _claims(sentence: str, title: str, *, is_first: bool) -> bool:
    """Whether a sentence has the form of a claim; the first of all need not say what it is of."""
    forms = (_LABELLED, _SAID, _SAID_ALONE, *((_OF_THE_FIRST,) if is_first else ()))
    name = _NAME.match(sentence)
    is_of_title = name is not None and name[0] in _NAME.findall(title)
    if name is not None and is_of_title and _NAMED.match(sentence[name.end() :].lstrip()):
        return True
    return any(form.match(sentence) for form in forms)


def _pairs(sentence: _Words, file: str) -> list[Printed]:
    """The figures with their unit in a sentence, unless a word of it makes them another's."""
    if _NOT_CLAIMED.search(_PER.sub("bpb", sentence.text)):
        return []
    found = [*_ANY_PAIR.finditer(sentence.text)]
    numbers = [
        parse_number(each["before"] or each["behind"], Source(file, sentence.line_at(each.start())), "bpb")
        for each in found
    ]
    return [score for score in numbers if score is not None and score.value >= _LEAST]


def _blocks(text: str) -> Iterator[_Words]:
    """Headings, paragraphs, items of lists, and lines that are nothing but a score; no tables, quotes and code."""
    block: _Words | None = None
    is_code = False
    for number, line in enumerate(own_lines(text), 1):
        is_fence = _FENCE.match(line) is not None
        is_code = is_code != is_fence
        is_prose = not (is_fence or is_code or _NO_PROSE.match(line))
        words = _of_line(line, number) if is_prose else None
        is_begun = words is None or words.is_title or words.is_item
        if block is not None and (is_begun or block.is_title):
            yield block
            block = None
        if words is not None and block is not None:
            lines = (*block.lines, (len(block.text) + 1, number))
            block = replace(block, text=f"{block.text} {words.text}", lines=lines)
        elif words is not None:
            block = words
        if block is not None and _LABEL_ALONE.fullmatch(block.text):
            yield block
            block = None
    if block is not None:
        yield block


def _of_line(line: str, number: int) -> _Words:
    heading, item = _HEADING.match(line), _LIST.match(line)
    begin = heading or item
    text = with_points(_MARKUP.sub("", line[begin.end() if begin else 0 :])).strip()
    is_item = item is not None or _LABEL_ALONE.fullmatch(text) is not None
    return _Words(text, ((0, number),), heading is not None, is_item)


def _sentences(block: _Words) -> Iterator[_Words]:
    begin = 0
    for text in _END.split(block.text):
        begin = block.text.find(text, begin)
        if len(text) <= _LONGEST_SENTENCE:
            lines = tuple((max(0, at - begin), number) for at, number in block.lines if at < begin + len(text))
            yield replace(block, text=text, lines=lines)
        begin += len(text)
