"""What scripts can print: every literal text of theirs as a template, with places for what is formatted into it.

Read from the text, not from the syntax tree: it takes a tenth of the time, and scripts of other languages and broken
ones have literals too. All of it errs to the side of more that can be printed: a template need not end where a line
does, nor begin there, and any text may come in a place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from bpb_harness.claim.figure_lines import NUMBER_PLACE, FigureLine, names_figure, names_score

# Comments are passed over. A literal that does not end is one up to where it must: no text takes quadratic time.
_LITERAL = re.compile(
    r"#[^\n]*"
    r"|'''([^'\\]*(?:(?:\\.?|'(?!''))[^'\\]*)*)(?:'''|\Z)"
    r'|"""([^"\\]*(?:(?:\\.?|"(?!""))[^"\\]*)*)(?:"""|\Z)'
    r"|'([^'\\\n]*(?:\\.?[^'\\\n]*)*)'?"
    r'|"([^"\\\n]*(?:\\.?[^"\\\n]*)*)"?',
    re.DOTALL,
)
# {loss:.4f}, {x['a']}, %d, %.4lf, %(loss).4f, $name, ${name}, and escapes other than ends of lines.
_PLACE = re.compile(
    r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}"
    r"|%(?:\(\w+\))?[-+ #0]*[0-9*]*(?:\.[0-9*]+)?(?:hh|h|ll|l|z|t|L)?[sdifgeuxXcprEG]"
    r"|\$\([^()]*\)|\$\w+|\$(?=\{)|\\.|\{[^{}]*\Z",
    re.DOTALL,
)
_NAMED_IN_PLACE = re.compile(r"\{(['\"])([^'\"{}]*)\1(?::[^{}]*)?\}")  # {'loss:':<20}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PREFIXES = frozenset(["", "f", "F", "r", "R", "b", "rf", "fr", "u"])  # between two literals that are one text
_NO_LETTERS = re.compile(r"[^A-Za-z0-9]+")
_FEWEST_LETTERS = 4  # letters and digits; a template with less is in every line
_INDEXED = 3  # characters by which templates are looked up
_LONG, _LEAST_BLANKS, _MOST_NESTED = 2000, 0.02, 3  # of a literal that is a program, or a payload
_MOST_WORDS = 4  # of prose before a template; times, names of processes and modules, levels are none
_PROSE = re.compile(r"[A-Za-z]*[a-z][A-Za-z]*[.,:;]?(?= |\Z)")
_FEWEST_FIGURES, _MOST_TEMPLATES = 4, 20_000  # ten times what a folder's scripts have
# f"{name}: {value}", in a loop over names that nobody knows: any line that is names and numbers alone.
_NAMED_BY_PLACE = re.compile(rf"\W*{NUMBER_PLACE} ?[:=] ?{NUMBER_PLACE}")
_PAIR = r"[\w./@%-]+ ?[:=] ?[-+]?[0-9][\w./%+-]*"
_PAIRS = re.compile(rf"(?:{_PAIR}[ ,|]+)*{_PAIR}\Z")
# Libraries with a loop of training of their own, which print losses, sizes and times in their own words.
_TRAINERS = re.compile(
    r"^\s*(?:import|from)\s+(?:composer|deepspeed|fairseq|fastai|ignite|keras|lightning|litgpt|megatron|nemo|"
    r"pytorch_lightning|tensorflow|torchtitan|torchtune|trl)\b|^\s*from\s+transformers\b[^\n]*\bimport\b[^\n]*Trainer",
    re.MULTILINE,
)
# Words, with what is glued to them, of scores in bits per byte and of networks that are packed and submitted.
_OF_NO_LIBRARY = re.compile(
    r"[\w+]*(?:bpb|submission|artifact|roundtrip|code size|int[0-9]|zlib|zstd|lzma|brotli)[\w+]*"
)
_ADDED = frozenset(["", "train", "val", "eval", "test", "epoch", "step"])  # by libraries, to names of metrics
_WORD = re.compile(r"(?:^|(?<=[ \]])|(?<=\]:))(?=\S)")


class Printable:
    """The lines that some scripts can print.

    Args:
        texts: the scripts' sources.

    Attributes:
        is_known: whether they tell enough: no packed payload is in them, and they print figures and a score; modules
            that are not there may print what else a log holds.
        has_trainer: whether a library that trains is imported, which prints lines in its own words.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        templates: dict[str, None] = {}
        num_packed = sum(not _take_literals(text, templates, 0) for text in texts)
        self._begin: dict[str, list[tuple[str, tuple[str, ...], bool]]] = {}
        self._anywhere: list[tuple[str, ...]] = []
        self._names_by_place, num_figures, has_score = False, 0, False
        for template in islice(templates, _MOST_TEMPLATES):
            self._names_by_place = self._names_by_place or _NAMED_BY_PLACE.match(template) is not None
            if len(_NO_LETTERS.sub("", template)) >= _FEWEST_LETTERS:
                plain = " ".join(template.split())
                num_figures += names_figure(plain)
                has_score = has_score or names_score(plain)
                self._enter([part.strip() for part in plain.split(NUMBER_PLACE)])
        self.has_trainer = any(map(_TRAINERS.search, texts))
        self._words = "\n".join(texts).lower() if self.has_trainer else ""
        is_whole = num_packed == 0 and len(templates) <= _MOST_TEMPLATES
        self.is_known = is_whole and has_score and num_figures >= _FEWEST_FIGURES

    def _enter(self, parts: Sequence[str]) -> None:
        first, *others = parts
        rest = tuple(part for part in others if part)
        if len(first) < _INDEXED:
            self._anywhere.append((first, *rest) if first else rest)
            return
        is_word = not others and first.isidentifier()  # a key of a dictionary, say: it begins a line or none
        self._begin.setdefault(first[:_INDEXED], []).append((first, rest, is_word))

    def holds(self, line: FigureLine) -> bool:
        """Whether some template is in a line: at its beginning, or behind some words that are no figures."""
        text = line.text
        for place, num_words in _beginnings(line):
            if self._names_by_place and num_words == 0 and _PAIRS.match(text, place):
                return True
            for first, rest, is_word in self._begin.get(text[place : place + _INDEXED], ()):
                if text.startswith(first, place) and not (is_word and place) and _in_turn(text, place, rest):
                    return True
        return any(_in_turn(text, 0, parts) for parts in self._anywhere)

    def may_be_of_library(self, line: FigureLine) -> bool:
        """Whether a library that trains may have printed a line: it knows words of bits per byte from scripts alone."""
        found = _OF_NO_LIBRARY.findall(line.text.lower()) if self.has_trainer else []
        parts = {part for word in found for part in re.split(r"[_+]", word)} - _ADDED
        return self.has_trainer and all(part in self._words for part in parts)


def _beginnings(line: FigureLine) -> Iterator[tuple[int, int]]:
    """Where a template may begin in a line, and the number of words of prose before."""
    num_words = 0
    for word in _WORD.finditer(line.text):
        place = word.start()
        if num_words > _MOST_WORDS or (place and place > line.figure_at):
            return
        yield place, num_words
        num_words += _PROSE.match(line.text, place) is not None


def _in_turn(text: str, place: int, parts: Sequence[str]) -> bool:
    """Whether a text holds some parts one behind the other, from a place on."""
    for part in parts:
        place = text.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True


def _take_literals(source: str, templates: dict[str, None], depth: int) -> bool:
    """Enter the literals of a program, a template a line; False where one of them is a payload that is packed."""
    parts: list[str] = []
    is_whole, end = True, 0
    for found in _LITERAL.finditer(source):
        between = source[end : found.start()].strip() if found.start() - end < _LONG else source
        if found.lastindex is None:  # a comment
            end = found.end() if not between else end
            continue
        literal = found[found.lastindex]
        if between not in _PREFIXES:
            templates.update(dict.fromkeys("".join(parts).split("\n")))
            parts = []
        end = found.end()
        if len(literal) > _LONG:
            is_whole = _is_readable(literal, templates, depth) and is_whole
            continue
        parts.append(_template(literal))
    templates.update(dict.fromkeys("".join(parts).split("\n")))
    return is_whole


def _is_readable(literal: str, templates: dict[str, None], depth: int) -> bool:
    """Whether a long literal is words, and not a packed program; a program in it prints what it prints."""
    if literal.count(" ") < _LEAST_BLANKS * len(literal):
        return False
    templates.update(dict.fromkeys(_template(literal).split("\n")))
    if depth >= _MOST_NESTED:
        return False
    return _take_literals(_ESCAPED.sub(_unescaped, literal), templates, depth + 1)


def _unescaped(found: re.Match[str]) -> str:
    return {"n": "\n", "t": " "}.get(found[1], found[1])


def _template(literal: str) -> str:
    """A literal with ``NUMBER_PLACE`` for what is formatted into it, and its lines as lines."""
    if "\\" in literal:
        literal = literal.replace("\\n", "\n").replace("\\r", "\n").replace("\\t", " ")
    if "{'" in literal or '{"' in literal:
        literal = _NAMED_IN_PLACE.sub(r"\2", literal)
    if "{{" in literal or "}}" in literal:
        literal = literal.replace("{{", "\2").replace("}}", "\3")
    return _PLACE.sub(NUMBER_PLACE, literal).replace("\2", "{").replace("\3", "}")
