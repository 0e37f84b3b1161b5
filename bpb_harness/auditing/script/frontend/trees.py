"""Trees of scripts; in a batch functions and classes are parsed once, for most of them stand in hundreds of scripts.

A text is cut before the functions and classes at its left margin. A piece that is parsed by itself, or between two
statements of a text that is, has the same tree wherever it stands, but for the numbers of its lines; so a text whose
pieces are all parsed is parsed, and any other one is parsed whole. A piece belongs to one program at a time, and its
lines are numbered as they stand there.
"""

from __future__ import annotations

import ast
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from weakref import ref

from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.newer_strings import parse_newer
from bpb_harness.auditing.script.frontend.plain_calls import make_calls_plain

MAX_PARSED = 2 * 2**20  # a longer text is no script; the parser's memory is bounded with it
_KEPT = 4  # trees: a submission's scripts are unwrapped and analysed
_MAX_KEPT = 2**19  # a longer text's tree is not kept
# The look behind comes last: a pattern that begins with a letter is looked for ten times as fast.
_BEGINS = re.compile(r"\n(?=(?:async )?def |class |@)(?<!\\\n)")
_ODD = ("\r", "barry_as_FLUFL")  # an end of a line that is not counted here, and what changes how the rest is read
_MOST_SHARED = 3_000_000  # characters, some 50 bytes of trees each


class Lease:
    """Holds pieces as long as a program lives.

    Attributes:
        trees: what was parsed for it, by the text: of two scripts that are the same there is one tree.
    """

    def __init__(self) -> None:
        self.trees: dict[str, ast.Module] = {}


def parse(text: str, lease: Lease | None = None) -> ast.Module | None:
    """Parse Python source; None where it is no Python, too long, or too deeply nested.

    Args:
        text: the source.
        lease: of a program whose nodes nobody changes, and which holds the lease as long as it holds a node: then the
            tree may be one that is shared.
    """
    if len(text) > MAX_PARSED:
        return None
    if lease is not None and text in lease.trees:
        return lease.trees[text]
    try:
        tree = kept_tree(text) if lease is None else tree_for(lease, text)
    except _UNPARSED:
        return None
    if lease is not None:
        lease.trees[text] = tree
    return tree


def tree_for(lease: Lease, text: str) -> ast.Module:
    """The tree of a text, its pieces shared in a batch.

    Raises:
        SyntaxError: and what else a parser raises; `parse` gives None in their place.
    """
    trees: SharedTrees | None = getattr(_used, "trees", None)
    if trees is not None and not any(odd in text for odd in _ODD):
        with suppress(*_UNPARSED):  # it cannot be cut, or cannot be parsed
            return trees.parse(text, lease)
    return kept_tree(text)


_UNPARSED = (SyntaxError, ValueError, RecursionError, MemoryError)
_used = threading.local()  # two threads may not be given one piece


def kept_tree(text: str) -> ast.Module:
    """The tree of a text, kept for a while.

    Raises:
        SyntaxError: and what else a parser raises; `parse` gives None in their place.
    """
    return _kept_tree(text) if len(text) <= _MAX_KEPT else _parsed(text)


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = parse_newer(text)
    make_calls_plain(tree.body, text)
    return tree


_kept_tree = lru_cache(maxsize=_KEPT)(_parsed)


@dataclass(eq=False, slots=True)
class _Piece:
    body: list[ast.stmt]
    line: int  # that it begins at, as its nodes have it
    lease: ref[Lease]
    nodes: Sequence[ast.AST] | None = None  # that have lines, once they had to be changed

    def move(self, line: int) -> None:
        """Number its lines from another one on."""
        by = line - self.line
        if not by:
            return
        if self.nodes is None:
            inside = (node for statement in self.body for node in nodes_within(statement))
            self.nodes = [node for node in inside if hasattr(node, "lineno")]
        for node in self.nodes:
            node.lineno += by  # type: ignore[attr-defined]
            node.end_lineno += by  # type: ignore[attr-defined]
        self.line = line


class SharedTrees:
    """What the programs of a batch share: pieces by their text, of which those go that nobody asked for longest."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Piece] = OrderedDict()
        self._size = 0

    def use(self) -> None:
        """From now on what is parsed for programs of this thread shares these trees."""
        _used.trees = self

    @contextmanager
    def used(self) -> Iterator[None]:
        """The same for a while."""
        before = getattr(_used, "trees", None)
        self.use()
        try:
            yield
        finally:
            _used.trees = before

    def parse(self, text: str, lease: Lease) -> ast.Module:
        """The tree of a text, its pieces held by a lease.

        Raises:
            SyntaxError: and what else a parser raises, where the text cannot be parsed or cannot be cut.
        """
        body: list[ast.stmt] = []
        missing: list[tuple[str, int]] = []
        line = 1
        for piece in _cut(text):
            known = self._taken(piece, line, lease)
            if known is None:
                missing.append((piece, line))
            else:
                body += self._parsed(missing, lease)
                body += known.body
                missing.clear()
            line += piece.count("\n")
        body += self._parsed(missing, lease)
        return ast.Module(body, [])

    def _taken(self, text: str, line: int, lease: Lease) -> _Piece | None:
        """The piece of a text, for a program; None where there is none, or it belongs to one, this one or another."""
        piece = self._kept.get(text)
        if piece is None or piece.lease() is not None:
            return None
        self._kept.move_to_end(text)
        piece.lease = ref(lease)
        piece.move(line)
        return piece

    def _parsed(self, pieces: Sequence[tuple[str, int]], lease: Lease) -> list[ast.stmt]:
        """The statements of pieces that follow each other; each piece is kept that ends between two of them."""
        if not pieces:
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Strings that another Python writes are read in whole scripts.
            source = "".join(text for text, _ in pieces)
            body = ast.parse("\n" * (pieces[0][1] - 1) + source).body
        make_calls_plain(body, source)
        left = iter(body)
        statement, end = next(left, None), 0
        for text, line in pieces:
            behind, own, is_whole = line + text.count("\n") + (not text.endswith("\n")), list[ast.stmt](), end < line
            while statement is not None and _first_line(statement) < behind:
                own.append(statement)
                end = max(end, statement.end_lineno or behind)
                statement = next(left, None)
            if is_whole and end < behind and text not in self._kept:
                self._keep(text, _Piece(own, line, ref(lease)))
        return body

    def _keep(self, text: str, piece: _Piece) -> None:
        self._kept[text] = piece
        self._size += len(text)
        while self._size > _MOST_SHARED:
            self._size -= len(self._kept.popitem(last=False)[0])


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(each.lineno for each in decorators)])


def _cut(text: str) -> Iterator[str]:
    """The pieces of a text: what stands before the first function or class, and each with what stands behind it."""
    begins = [0]
    is_decorated = text.startswith("@")
    for found in _BEGINS.finditer(text):
        if not is_decorated:
            begins.append(found.end())
        is_decorated = text[found.end()] == "@"
    for begin, end in pairwise([*begins, len(text)]):
        yield text[begin:end]
