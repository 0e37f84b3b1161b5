"""Formatted strings as Python 3.12 writes them, for a Python that cannot read them.

Since PEP 701 an expression in a formatted string may hold the string's own quotes, and backslashes; a
minifier writes ``f"{d["a"]}"``. What a script says must not depend on the Python that reads it, so such expressions are
cut out, the rest is parsed with names in their places, and each expression, parsed by itself, takes its place
again. Lines stay what they are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_MAX_NESTED = 8  # strings within strings
_NAME = "_expression_{}_"
# A comment, or where a string starts; and what ends plain ones, raw or not: a backslash takes its next character along.
_START = re.compile(r"#[^\n]*|(?:(?<!\w)([rRbBuUfF]{1,2}))?('''|\"\"\"|'|\")")
_REST = {
    quote: re.compile(rf"(?:[^\\\n{quote}]|\\.)*{quote}" if len(quote) == 1 else rf"(?:[^\\]|\\.)*?{quote}", re.DOTALL)
    for quote in ("'", '"', "'''", '"""')
}
# What an older Python says of such strings; of a log that ends a script it says other things, and often.
_SAID_OF_THEM = ("f-string", "unexpected character after line continuation")
_NAMED = re.compile(r"\\N\{[^}\n]*\}")  # a character by its name, whose braces are none of an expression
_CONVERSION = re.compile(r"\s*(?:!\s*\w+\s*)?")
_INSIDE = re.compile(r"[#\"'()\[\]{}:!=\n]")  # what decides within an expression
_OPENS, _CLOSES = "([{", ")]}"


class _OddError(Exception):
    """A text that is none of these strings, or one that this module does not follow."""


@dataclass(frozen=True)
class _Cut:
    """An expression that was cut out: its text, and lines of the script before it."""

    text: str
    line: int


@dataclass
class _Scan:
    """One pass through a script: the text anew, and what was cut out of it, by the names that stand there now."""

    text: str
    cuts: dict[str, _Cut] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    kept_from: int = 0

    def run(self) -> str:
        """The script with names for expressions that an older Python does not read.

        Raises:
            _OddError: a string has no end, or an expression is written in a way that is not followed.
        """
        at = 0
        while (start := _START.search(self.text, at)) is not None:
            at = self.past(start)
        return "".join((*self.written, self.text[self.kept_from :]))

    def past(self, start: re.Match[str], *, cut: bool = True, nested: int = 0) -> int:
        """Where a comment or a string that starts there ends; expressions are cut only out of outermost strings."""
        prefix, quote = start.groups()
        if quote is None:
            return start.end()
        if nested > _MAX_NESTED:
            raise _OddError
        kind = (prefix or "").lower()
        if "f" in kind:
            return self._formatted(start.end(), quote, is_raw="r" in kind, cut=cut, nested=nested)
        end = _REST[quote].match(self.text, start.end())
        if end is None:
            raise _OddError
        return end.end()

    def _formatted(self, at: int, quote: str, *, is_raw: bool, cut: bool, nested: int) -> int:
        """Where a formatted string ends whose text starts there."""
        while at < len(self.text):
            if self.text.startswith(quote, at):
                return at + len(quote)
            if self.text[at] == "\n" and len(quote) == 1:
                break
            if self.text[at] == "\\":
                named = None if is_raw else _NAMED.match(self.text, at)
                # A raw string's backslash stands before a brace that opens an expression all the same.
                at = named.end() if named else at + (1 if self.text[at + 1 : at + 2] in ("{", "}") else 2)
            elif self.text.startswith(("{{", "}}"), at):
                at += 2
            elif self.text[at] == "{":
                at = self._replaced(at + 1, quote, cut=cut, nested=nested)
            else:
                at += 1
        raise _OddError

    def _replaced(self, start: int, quote: str, *, cut: bool, nested: int) -> int:
        """Where a replacement field ends whose expression starts there: behind its closing brace."""
        end = self._expression(start, nested=nested)
        at = end
        shows_itself = self.text[at] == "="  # f"{x=}": what is printed begins with how the expression is written
        if cut and re.search(r"[\\\"']", self.text[start:end]):
            if shows_itself:
                raise _OddError
            self._cut_out(start, end)
        at += shows_itself
        conversion = _CONVERSION.match(self.text, at)
        at = conversion.end() if conversion else at
        if self.text[at : at + 1] == ":":
            at += 1
            while self.text[at : at + 1] not in ("", "}"):
                if self.text.startswith(quote, at):
                    raise _OddError
                at = self._replaced(at + 1, quote, cut=cut, nested=nested) if self.text[at] == "{" else at + 1
        if self.text[at : at + 1] != "}":
            raise _OddError
        return at + 1

    def _expression(self, at: int, *, nested: int) -> int:
        """Where an expression ends: at the brace, the colon or the mark behind it."""
        depth = 0
        while (met := _INSIDE.search(self.text, at)) is not None:
            sign = met.group()
            # A quote may have a prefix before it, which the search for what decides has passed.
            if sign in "\"'":
                prefix = re.search(r"(?<!\w)[rRbBuUfF]{1,2}$", self.text[max(0, met.start() - 3) : met.start()])
                begins = met.start() - (len(prefix.group()) if prefix else 0)
                string = _START.match(self.text, begins)
                if string is None:
                    raise _OddError
                at = self.past(string, cut=False, nested=nested + 1)
                continue
            if sign in "#\n":  # its lines could not be kept
                raise _OddError
            if depth == 0 and (sign in "}:" or self._is_mark(met.start())):
                return met.start()
            depth += (sign in _OPENS) - (sign in _CLOSES)
            at = met.end() + (sign in "!=" and self.text[met.end() : met.end() + 1] == "=")
        raise _OddError

    def _is_mark(self, at: int) -> bool:
        """Whether a sign is a conversion's or the one for "and how it is written", and none of a comparison."""
        if self.text[at] == "!":
            return self.text[at + 1] != "="
        return self.text[at] == "=" and self.text[at + 1] != "=" and self.text[at - 1] not in "<>=!:"

    def _cut_out(self, start: int, end: int) -> None:
        name = _NAME.format(len(self.cuts))
        self.cuts[name] = _Cut(self.text[start:end].strip(), self.text.count("\n", 0, start))
        self.written += (self.text[self.kept_from : start], name)
        self.kept_from = end


class _PutBack(ast.NodeTransformer):
    """Puts expressions where the names stand that took their places."""

    def __init__(self, cuts: Mapping[str, _Cut], nested: int) -> None:
        self.cuts = cuts
        self.nested = nested

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The expression in whose place the name stands."""
        cut = self.cuts.get(node.id)
        if cut is None:
            return node
        statement = parse_newer(f"({cut.text})", nested=self.nested + 1).body[0]
        if not isinstance(statement, ast.Expr):
            raise SyntaxError(f"no expression: {cut.text}")
        ast.increment_lineno(statement, cut.line)
        return statement.value


def parse_newer(text: str, *, nested: int = 0) -> ast.Module:
    """Parse a script whose formatted strings may be of Python 3.12 or newer.

    Source: PEP 701, Syntactic formalization of f-strings.

    Raises:
        SyntaxError: it is no Python, or such a string is written in a way that is not followed: over several lines,
            with a comment, or ``{x=}`` of an expression that holds quotes.
    """
    if nested > _MAX_NESTED:
        raise SyntaxError("f-string: nested too deeply")
    try:
        return ast.parse(text)
    except SyntaxError as error:
        if not str(error.msg).startswith(_SAID_OF_THEM) or _NAME.format(0) in text:
            raise
        scan = _Scan(text)
        try:
            rewritten = scan.run()
        except _OddError:
            raise error from None
        if not scan.cuts:
            raise
        tree: ast.Module = _PutBack(scan.cuts, nested).visit(ast.parse(rewritten))
        return tree
