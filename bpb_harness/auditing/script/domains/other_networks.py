"""Steps on networks that have nothing to do with the scored one: a copy, a probe, that are made and used apart."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator, Sequence

from bpb_harness.auditing.script.domains.trace import made_by
from bpb_harness.auditing.script.domains.ways import opened_by
from bpb_harness.auditing.script.frontend.nodes import keyword, names_in
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, dotted, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_MOST_NAMES = 12
_WEIGHTS = frozenset(["parameters", "named_parameters"])
# What may be asked of a network without another one coming to hold a part of it.
_ASKED = _WEIGHTS | {"train", "eval", "zero_grad", "requires_grad_"}
_COPYING = "deepcopy"


def are_of_others(program: Program, steps: Sequence[ast.Call], frame: Frame, scored: Container[str]) -> bool:
    """Whether steps are surely of other networks than the scored one, which come to no part of it.

    Args:
        program: the scripts.
        steps: all calls of step() that count.
        frame: where their names are read.
        scored: the names that the score is computed from.
    """
    roots = [root for step in steps for root in _learnt_by(program, step, frame)]
    return bool(roots) and all(root is not None and _is_apart(program, *root, scored) for root in roots)


def _learnt_by(program: Program, step: ast.Call, frame: Frame) -> Iterator[tuple[ast.Name, Frame] | None]:
    """The names of the networks whose weights an optimizer is made of; None for anything else that it has."""
    receiver = step.func.value if isinstance(step.func, ast.Attribute) else None
    stepped = step.args[0] if step.args else receiver
    made = made_by(program, stepped, frame) if isinstance(stepped, ast.Name) else []
    if not made:
        yield None
    for call, where in made:
        weights = None
        if isinstance(call, ast.Call):
            weights = next(iter(operands(call)), None) or keyword(call, "params")
        yield None if weights is None else _networks_of(program, weights, where)


def _networks_of(program: Program, weights: ast.expr, frame: Frame) -> tuple[ast.Name, Frame] | None:
    """The network of network.parameters(), of a list of these, or of a name for either."""
    for _ in range(_MOST_NAMES):
        value = program.only_value(weights) if isinstance(weights, ast.Name) else None
        if isinstance(value, ast.expr):
            weights = value
        elif isinstance(weights, ast.Call) and last_name(weights.func) in ("list", "filter") and weights.args:
            weights = weights.args[-1]
        elif isinstance(weights, ast.ListComp | ast.GeneratorExp) and len(weights.generators) == 1:
            weights = weights.generators[0].iter
        elif isinstance(weights, ast.Call) and isinstance(weights.func, ast.Attribute):
            network = weights.func.value
            return (network, frame) if weights.func.attr in _WEIGHTS and isinstance(network, ast.Name) else None
        else:
            return None
    return None


def _is_apart(program: Program, name: ast.Name, frame: Frame, scored: Container[str]) -> bool:
    """Whether a network is made anew, and nothing but calls of it and its optimizer ever has it."""
    handed: ast.AST | None = None
    for _ in range(_MOST_NAMES):
        if name.id in scored or not _is_used_apart(program, name, handed):
            return False
        made = program.reaching(name)
        if not made or any(each.kind != "parameter" for each in made):
            return bool(made) and all(each.kind == "assign" and _is_anew(program, each, scored) for each in made)
        given, opened = frame.given(program, name), opened_by(program, frame)
        if given is None or opened is None:
            elsewhere = frame.handed(program, made[0])
            given = elsewhere[0] if len(elsewhere) == 1 else None
        if given is None:
            return False
        handed = opened[0] if opened is not None else _call_around(program, given[0])
        network, frame = given
        if not isinstance(network, ast.Name):
            return _is_made_anew(program, network, scored)
        name = network
    return False


def _call_around(program: Program, node: ast.AST) -> ast.AST | None:
    return next((up for up in program.ancestors(node) if isinstance(up, ast.Call)), None)


def _is_anew(program: Program, made: Definition, scored: Container[str]) -> bool:
    return not made.index and made.value is not None and _is_made_anew(program, made.value, scored)


def _is_made_anew(program: Program, value: ast.expr, scored: Container[str]) -> bool:
    """Whether a value is a copy, or a network of a class of the script that is given no part of the scored one."""
    while isinstance(value, ast.Call) and last_name(value.func) in ("to", "cuda", "float", "train", "eval"):
        if not isinstance(value.func, ast.Attribute):
            return False
        value = value.func.value  # Probe(256).to(device)
    if not isinstance(value, ast.Call):
        return False
    if last_name(value.func) == _COPYING:
        return True
    is_class = last_name(value.func) in program.classes or dotted(value.func).startswith(("nn.", "torch.nn."))
    return is_class and not any(name in scored for name in names_in(*operands(value), *_named(value)))


def _named(call: ast.Call) -> list[ast.expr]:
    return [each.value for each in call.keywords]


def _is_used_apart(program: Program, name: ast.Name, handed: ast.AST | None) -> bool:
    """Whether a name is used in its scope to call it, and to ask for its weights, alone.

    Args:
        program: the scripts.
        name: of a network.
        handed: the one call that it is handed to, which is looked into by itself.
    """
    scope = program.scope(name)
    for use in ast.walk(scope.node):
        if not isinstance(use, ast.Name) or use.id != name.id or isinstance(use.ctx, ast.Store):
            continue
        above = program.parent(use)
        is_asked = isinstance(above, ast.Attribute) and above.attr in _ASKED
        is_called = isinstance(above, ast.Call) and above.func is use
        above = program.parent(above) if isinstance(above, ast.keyword) else above
        if program.scope(use) is not scope or not (is_asked or is_called or (handed is not None and above is handed)):
            return False
    return True
