"""Loops that write, by anything but an optimizer, to what their steps learn: each round may begin anew."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import arguments, elements
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name

_MAX_ALIASES = 60
_SAME = frozenset(
    [
        *("parameters", "named_parameters", "modules", "named_modules", "children", "buffers", "state_dict", "values"),
        *("items", "keys", "get", "view", "view_as", "reshape", "detach", "flatten", "squeeze", "unsqueeze", "t"),
    ]
)  # of an object: what they give is a part of it, or the same memory
_HOLDING = frozenset(["zip", "list", "tuple", "enumerate", "reversed", "sorted", "iter", "next", "chain", "getattr"])
_ORDINARY = re.compile(
    r"(?:zero_grad|backward|step|train|eval|print\w*|log\w*|append|extend|clip_grad_norm_?|clip_grad_value_?|"
    r"requires_grad_|synchronize|empty_cache|collect|barrier|all_reduce|unscale_|wait|close|write|flush)"
)
_SETTINGS = frozenset(["lr", "weight_decay", "momentum", "betas", "base_lr", "initial_lr"])


def is_put_back(program: Program, loop: ast.AST, steps: Sequence[ast.Call]) -> bool:
    """Whether a loop may write to what it learns by other means than its steps: then no round need go on with it.

    Args:
        program: the scripts.
        loop: the loop.
        steps: its calls of step().
    """
    learnt = _held_by(program, steps)
    calls = (node for node in nodes_within(loop) if isinstance(node, ast.Call))
    if any(program.callee(call) is not None and _is_dropped(program, call) for call in calls):
        return True  # a function of the script may change what it has not been handed
    return any(_may_be(program, each, learnt) for each in _written(program, loop, learnt))


def _held_by(program: Program, steps: Sequence[ast.Call]) -> frozenset[str]:
    """The names of optimizers, and of what these are made of."""
    stepped = [call.func.value for call in steps if isinstance(call.func, ast.Attribute)]
    names = [part for part in stepped if isinstance(part, ast.Name)]
    made = [each.value for name in names for each in program.reaching(name) if each.value is not None]
    parts = [part for value in made for part in ast.walk(value) if isinstance(part, ast.Name)]
    return frozenset(part.id for part in [*names, *parts] if program.reaching(part))  # a module is none


def _written(program: Program, loop: ast.AST, learnt: frozenset[str]) -> Iterator[ast.expr]:
    """What a loop gives a value, changes in place, or hands to something that may."""
    networks, added = _networks(program, loop), dict[str, ast.expr]()
    for node in nodes_within(loop):
        if isinstance(node, ast.Assign):
            for target in (each for held in node.targets for each in elements(held)):
                if not isinstance(target, ast.Name) or target.id in learnt | networks:
                    yield target
        elif isinstance(node, ast.AugAssign) and not isinstance(node.target, ast.Name):
            yield node.target
        elif isinstance(node, ast.AugAssign):
            added.setdefault(getattr(node.target, "id", ""), node.target)
        elif isinstance(node, ast.Call) and _may_change(program, node):
            yield from _handed(node)
    for name, target in added.items():  # often to one name: where that has its values from is asked once
        given = [each for each in program.scope(target).definitions.get(name, []) if each.kind in ("assign", "loop")]
        is_own = bool(given) and name not in learnt | networks
        yield from [each.value for each in given if each.value is not None] if is_own else [target]


def _networks(program: Program, loop: ast.AST) -> set[str]:
    """The names that a function was given and a loop calls, or hands on by a keyword: networks, adapters."""
    calls = [node for node in nodes_within(loop) if isinstance(node, ast.Call)]
    used = [part for call in calls for part in (_base(call.func), *(each.value for each in call.keywords))]
    return {
        part.id for part in used if isinstance(part, ast.Name)
        if any(each.kind == "parameter" for each in program.scope(part).definitions.get(part.id, []))
    }  # fmt: skip


def _base(node: ast.expr) -> ast.expr:
    return _base(node.value) if isinstance(node, ast.Attribute) else node


def _may_change(program: Program, call: ast.Call) -> bool:
    """Whether a call may change what it is handed: by its name, or since nothing is done with what it gives."""
    name = last_name(call.func)
    is_in_place = name.endswith("_") and not name.endswith("__") and not _ORDINARY.fullmatch(name)
    return is_in_place or _is_dropped(program, call)


def _is_dropped(program: Program, call: ast.Call) -> bool:
    """Whether nothing is done with what a call gives, and it is none of those that change no weights."""
    above = program.parent(call)
    names = [getattr(each, "id", "") for each in above.targets] if isinstance(above, ast.Assign) else []
    is_dropped = isinstance(above, ast.Expr) or (bool(names) and set(names) == {"_"})
    return is_dropped and not _ORDINARY.fullmatch(last_name(call.func))


def _handed(call: ast.Call) -> Iterator[ast.expr]:
    yield from arguments(call)
    if isinstance(call.func, ast.Attribute):
        yield call.func.value


def _may_be(program: Program, node: ast.expr, learnt: frozenset[str]) -> bool:
    """Whether something may be what is learnt, or a part of it: under whatever name, and where it is not known."""
    if _is_setting(node):
        return False
    behind: list[ast.expr] = [node]
    for each in behind:  # grows on the way
        if len(behind) > _MAX_ALIASES:
            return True
        if isinstance(each, ast.Name):
            if each.id in learnt:
                return True
            given = [made for made in program.reaching(each) if made.kind not in ("augment", "mutation")]
            if any(made.value is None or made.kind == "parameter" for made in given):
                return True
            behind += [made.value for made in given if made.value is not None and made.value not in behind]
        elif isinstance(each, ast.Attribute):
            behind += [] if each.attr in ("grad", "grads") else [each.value]
        elif isinstance(each, ast.Subscript | ast.Starred | ast.NamedExpr):
            behind.append(each.value)
        else:
            behind += _parts_of_same(each)
    return False


def _is_setting(node: ast.expr) -> bool:
    """group["lr"]: a setting of an optimizer."""
    key = node.slice if isinstance(node, ast.Subscript) else None
    return isinstance(key, ast.Constant) and key.value in _SETTINGS


def _parts_of_same(node: ast.expr) -> list[ast.expr]:
    """What a value is a part of, or holds, if it is not made anew."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and last_name(node.func) in _SAME:
            return [node.func.value]
        return arguments(node) if last_name(node.func) in _HOLDING else []
    if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        return [node.elt, *(each.iter for each in node.generators)] if not _is_fresh(node.elt) else []
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    return list(node.elts) if isinstance(node, ast.Tuple | ast.List) else []


def _is_fresh(node: ast.expr) -> bool:
    """Whether it is a number, or what a call gives that makes something new."""
    return isinstance(node, ast.Constant | ast.BinOp) or (isinstance(node, ast.Call) and not _parts_of_same(node))
