"""Whether a call asks the environment for a setting: by itself, or through a mapping that is handed on from it."""

from __future__ import annotations

import ast
import re

from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import dotted, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Source

_FROM_ENVIRONMENT = frozenset(["os.environ.get", "os.getenv", "environ.get", "getenv"])
_ENVIRONMENTS = frozenset(["os.environ", "environ"])
_COPYING = frozenset(["dict", "copy"])
_SETTING = re.compile(r"[A-Z][A-Z0-9_]*")
_MOST_STEPS = 24  # names and calls that a mapping goes by


def asks_environment(program: Program, node: ast.Call, frame: Frame) -> bool:
    """os.environ.get("N", d), os.getenv("N"), and source.get("N", d) where source was made of os.environ.

    Args:
        program: the scripts.
        node: the call.
        frame: where its names are read.
    """
    if dotted(node.func) in _FROM_ENVIRONMENT:
        return True
    func, name = node.func, node.args[0] if node.args else None
    is_setting = isinstance(name, ast.Constant) and isinstance(name.value, str) and _SETTING.fullmatch(name.value)
    is_asked = isinstance(func, ast.Attribute) and func.attr == "get" and isinstance(func.value, ast.Name)
    if not is_setting or not is_asked or not isinstance(func, ast.Attribute):
        return False
    key = (asks_environment, func.value, frame)
    if key not in program.memo:
        program.memo[key] = _is_environment(program, func.value, frame)
    found: bool = program.memo[key]
    return found


def _is_environment(program: Program, node: ast.expr, frame: Frame) -> bool:
    """Whether a mapping is the environment, or a copy of it, on each way on which it is anything but an empty one."""
    waiting: list[Source] = [(node, frame)]
    steps, is_met = 0, False
    while waiting and steps < _MOST_STEPS:
        steps += 1
        here, where = waiting.pop()
        if dotted(here) in _ENVIRONMENTS:
            is_met = True
        elif not _is_nothing(here):
            behind = _behind(program, here, where)
            if not behind:
                return False
            waiting += behind
    return is_met and not waiting


def _behind(program: Program, node: ast.expr, frame: Frame) -> list[Source]:
    """What a mapping has its entries from, one step back; nothing where that is not known."""
    if isinstance(node, ast.IfExp):
        return [(node.body, frame), (node.orelse, frame)]
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return [(each, frame) for each in node.values]
    if isinstance(node, ast.Call) and last_name(node.func) in _COPYING and not node.keywords:
        copied = node.func.value if isinstance(node.func, ast.Attribute) else next(iter(node.args), None)
        return [(copied, frame)] if copied is not None else []
    found = program.reaching(node) if isinstance(node, ast.Name) else ()
    behind: list[Source] = []
    for each in found:
        if each.kind == "parameter":
            behind += frame.handed(program, each) or ([(each.value, frame)] if each.value is not None else [])
        elif each.kind == "assign" and not each.index and each.value is not None:
            behind.append((each.value, frame))
        else:
            return []
    return behind


def _is_nothing(node: ast.expr) -> bool:
    """{} and None."""
    return (isinstance(node, ast.Dict) and not node.keys) or (isinstance(node, ast.Constant) and node.value is None)
