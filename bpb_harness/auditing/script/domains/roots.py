"""What a tensor of a network was at first: embedded tokens, or learnt vectors; place by place, through its layers."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_MOST_STEPS = 600
_LIBRARIES = frozenset(["F", "functional", "torch", "nn"])
# What may put places elsewhere, or mix them: none of its operands is the tensor that it was.
_OTHER = frozenset(["cat", "stack", "roll", "gather", "index_select", "scatter", "pad", "flip", "cumsum", "where"])


def roots(program: Program, node: ast.expr, frame: Frame) -> list[ast.expr]:
    """The calls of an embedding and the learnt vectors that a tensor is made of along its residual stream.

    Sums are followed by both of their sides, layers by what they are first given, slices not at all: some of the places
    are another tensor.
    """
    waiting, seen, found = [(node, frame)], set[tuple[ast.AST, Frame]](), list[ast.expr]()
    while waiting and len(seen) < _MOST_STEPS:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        if is_embedded(program, here[0]) or is_learnt(program, here[0]):
            found.append(here[0])
            continue
        waiting += _behind(program, *here)
    return found


def is_embedded(program: Program, node: ast.expr) -> bool:
    """self.tok_emb(ids)."""
    return isinstance(node, ast.Call) and "Embedding" in _made_by(program, node.func)


def is_learnt(program: Program, node: ast.expr) -> bool:
    """self.slots, where it is set to nn.Parameter(..)."""
    return "Parameter" in _made_by(program, node)


def _made_by(program: Program, node: ast.expr) -> set[str]:
    values = program.values_of(node) if isinstance(node, ast.Attribute) else []
    return {last_name(value.func) for value in values if isinstance(value, ast.Call)}


def _behind(program: Program, node: ast.expr, frame: Frame) -> Iterator[tuple[ast.expr, Frame]]:
    if isinstance(node, ast.Name):
        yield from _given(program, node, frame)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield from ((node.left, frame), (node.right, frame))
    elif isinstance(node, ast.BinOp):
        yield node.left, frame
    elif isinstance(node, ast.Subscript) and _keeps_all(node.slice):
        yield node.value, frame
    elif isinstance(node, ast.Call):
        yield from _worked_on(program, node, frame)


def _given(program: Program, name: ast.Name, frame: Frame) -> Iterator[tuple[ast.expr, Frame]]:
    given = frame.given(program, name)
    if given is not None:
        yield given
        return
    for each in program.reaching(name):
        if each.kind == "assign" and each.value is not None and each.index in ((), (0,)):
            yield each.value, frame
        if each.kind == "parameter":
            yield from frame.handed(program, each)


def _worked_on(program: Program, call: ast.Call, frame: Frame) -> Iterator[tuple[ast.expr, Frame]]:
    """What a layer is first given, what a method is one of, what a method of the network itself gives back."""
    func, name = call.func, last_name(call.func)
    callee = program.callee(call)
    if callee is not None and callee.name != "forward":
        inside = frame.inside(program, callee, call)
        yield from ((each, inside) for each in callee.returns)
    elif name in _OTHER:
        return
    elif callee is None and isinstance(func, ast.Attribute) and last_name(func.value) not in (*_LIBRARIES, "self"):
        yield func.value, frame
    elif call.args:
        yield call.args[0], frame


def _keeps_all(index: ast.expr) -> bool:
    """[None, :, :], [:, None]: dimensions are added, and none is cut."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    return all(
        (isinstance(part, ast.Slice) and part.lower is None and part.upper is None and part.step is None)
        or (isinstance(part, ast.Constant) and part.value is None)
        for part in parts
    )
