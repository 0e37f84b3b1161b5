"""The text whose tokens an evaluation hides, and what of the program sees it hidden or in the clear."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis, MaskDraw
from bpb_harness.auditing.script.domains.masked_where import where_masks
from bpb_harness.auditing.script.domains.trace import comes_from, origins, trace
from bpb_harness.auditing.script.domains.values import IDENTITY
from bpb_harness.auditing.script.frontend.nodes import keyword
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Source, operands

_MAX_TRACED = 600
_MAX_NAMES = 40
_PICKING = frozenset(["gather", "take_along_dim", "take_along_axis"])
# What tells the shape or the place of a text, not its tokens.
_SHAPES = frozenset([
    "shape", "device", "dtype", "ndim", "size", "numel", "dim", "len", "ones_like", "zeros_like", "full_like",
    "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones", "new_full",
])  # fmt: skip


class HiddenText:
    """The places where the masks of one draw hide tokens of a text.

    Args:
        analysis: the program.
        draw: the masks.

    Attributes:
        places: ids of the expressions that hide tokens: where(m, MASK, x), x.masked_fill(m, MASK).
        texts: what is hidden in each, in the clear.
        calls: the same expressions, with the frames in which their names are read.
    """

    def __init__(self, analysis: Analysis, draw: MaskDraw) -> None:
        self._analysis, self._program = analysis, analysis.program
        self._draw = draw.node
        self.places: set[int] = set()
        self.texts: list[Source] = []
        self.calls: list[tuple[ast.AST, Frame]] = []
        for node, frame in trace(self._program, prediction(draw.score.node), draw.score.frame, 1_500):
            clear = self._hidden_in(node, frame, draw)
            if clear is not None:
                self.places.add(id(node))
                self.calls.append((node, frame))
                self.texts.append((clear, frame))
        self.roots = {root_of(self._program, *text) for text in self.texts}

    def _hidden_in(self, node: ast.AST, frame: Frame, draw: MaskDraw) -> ast.expr | None:
        if not isinstance(node, ast.Call):
            return None
        name = last_name(node.func)
        if name == "where" and len(node.args) == 3:
            test, clear = node.args[0], node.args[2 if where_masks(self._program, node) else 1]
        elif name in ("masked_fill", "masked_fill_") and len(operands(node)) == 3:
            clear, test, _ = operands(node)
        else:
            return None
        return clear if comes_from(self._program, test, frame, draw.is_at, 60) else None

    def is_hidden_in(self, node: ast.expr, frame: Frame) -> bool:
        """Whether an expression is computed from the text with its tokens hidden."""
        return comes_from(self._program, node, frame, lambda part: id(part) in self.places, _MAX_TRACED)

    def is_of_masks(self, node: ast.AST) -> bool:
        """Whether a node is where the masks are drawn, or hide tokens."""
        return node is self._draw or id(node) in self.places

    def is_clear_in(self, node: ast.expr, frame: Frame) -> bool:
        """Whether an expression is computed from tokens of the text that are not hidden."""
        return any(
            isinstance(part, ast.Name) and root_of(self._program, part, where) in self.roots
            for part, where in self.seen_by(node, frame)
        )

    def seen_by(self, node: ast.expr, frame: Frame) -> Iterator[tuple[ast.AST, Frame]]:
        """What an expression is computed from, without what is hidden, compared, counted or only used as an index."""
        return trace(self._program, node, frame, _MAX_TRACED, self._opened)

    def _opened(self, node: ast.AST) -> Iterable[ast.AST]:
        if id(node) in self.places or isinstance(node, ast.Compare):
            return ()
        if isinstance(node, ast.Attribute) and node.attr in _SHAPES:
            return ()
        if isinstance(node, ast.Subscript):
            return (node.value,)
        if isinstance(node, ast.Call):
            name = last_name(node.func)
            if name in _SHAPES:
                return ()
            if name in _PICKING or (is_cross_entropy(node) and node.args):
                return operands(node)[:1]
            callee = self._program.callee(node)
            if callee is not None and callee.returns:
                return ()  # its results are looked into, with what was handed over
        return self._program.parts(node)


def prediction(score: ast.expr) -> ast.expr:
    """What a cross-entropy prices its targets by."""
    if not isinstance(score, ast.Call):
        return score
    given = keyword(score, "input")
    return given or next(iter(operands(score)), score)


def root_of(program: Program, node: ast.expr, frame: Frame) -> object:
    """What two names of one tensor share: the definition that it goes back to, through casts, shapes and calls."""
    for _ in range(_MAX_NAMES):
        if isinstance(node, ast.Call) and last_name(node.func) in IDENTITY and operands(node):
            node = operands(node)[0]
            continue
        if not isinstance(node, ast.Name):
            break
        found = origins(program, node, frame)
        only = found[0] if len(found) == 1 else None
        if only is None or only.path or (only.definition is not None and only.definition.kind not in _PASSED):
            return frozenset(id(definition) for definition in program.reaching(node)) or node.id
        node, frame = only.node, only.frame
    return id(node)


_PASSED = ("assign", "parameter")
