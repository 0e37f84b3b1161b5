"""Where a value goes: what is made of a text, from function to function, as long as it stays the text or its tokens.

The other way round than `trace`, which asks what a value is computed from. What something else is made of is left
behind: a length, a count, a comparison, a hash.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import FUNCTIONS, Scope, last_name

_MAX_STEPS = 600  # that one value is followed through


class Form(IntEnum):
    """What a value is by now."""

    TEXT = 0
    PART = 1  # what a loop goes over: a character, a word, a document
    BYTES = 2  # of which nothing says that they are tokens
    TOKENS = 3


class Place(NamedTuple):
    """An expression that a value has come to."""

    node: ast.AST
    form: Form


# What makes tokens of a text.
ENCODERS = frozenset([
    "encode", "Encode", "encode_as_ids", "EncodeAsIds", "encode_ordinary", "encode_ordinary_batch", "encode_batch",
    "encode_ids", "tokenize", "text_to_ids", "text_to_tokens",
])  # fmt: skip
_OF_TEXT = frozenset([
    "strip", "lstrip", "rstrip", "lower", "upper", "casefold", "replace", "translate", "expandtabs", "format", "split",
    "splitlines", "join",
])  # fmt: skip
_OF_TOKENS = frozenset([
    "astype", "tolist", "tobytes", "numpy", "copy", "clone", "long", "int", "to", "cpu", "cuda", "flatten", "ravel",
    "reshape", "view", "squeeze", "unsqueeze", "contiguous", "pin_memory",
])  # fmt: skip
# What has the same elements as what it is given.
_SAME = frozenset([
    "list", "tuple", "iter", "array", "asarray", "ascontiguousarray", "fromiter", "concatenate", "hstack", "cat",
    "stack", "tensor", "as_tensor", "LongTensor", "IntTensor", "from_numpy", "enumerate", "zip", "chain", "map",
    "from_iterable", "imap", "partial", "reversed", "str", "int", "int32", "int64", "uint16", "uint32",
    "asanyarray", "result",
])  # fmt: skip
_OF_BYTES = frozenset(["frombuffer", "bytearray", "fromstring", "list", "tensor", "array", "fromiter"])
_ADDING = frozenset(["append", "extend", "insert", "put"])


def handed_on(
    program: Program, start: ast.expr, form: Form = Form.TEXT, may_follow: Callable[[Place], bool] | None = None
) -> Iterator[Place]:
    """The expressions that a value comes to, itself first: each once a form, as far as the bound goes.

    Args:
        program: the scripts.
        start: where it is first.
        form: what it is there.
        may_follow: whether it is followed through a place; None: through all.
    """
    waiting, seen = [Place(start, form)], set[Place]()
    for place in waiting:  # grows on the way
        if place in seen:
            continue
        seen.add(place)
        if len(seen) > _MAX_STEPS or not program.spend():
            return
        further = [*_next(program, place)]  # most texts of a script are settings, and go nowhere
        is_at_end = not further and place.form is not Form.TOKENS
        if not is_at_end and (may_follow is None or may_follow(place)):
            yield place
            waiting.extend(further)


def uses_of(program: Program, name: str, statement: ast.AST, scope: Scope) -> list[ast.Name]:
    """Where a name is read that a statement, or a parameter's function, gives its value."""
    return _by_statement(program, name, scope).get(statement, [])


@once
def _by_statement(program: Program, name: str, scope: Scope) -> dict[ast.AST, list[ast.Name]]:
    given: dict[ast.AST, list[ast.Name]] = {}
    for use in _loads(program, scope).get(name, []):
        for made in dict.fromkeys(each.statement for each in program.reaching(use)):
            given.setdefault(made, []).append(use)
    return given


@once
def _loads(_program: Program, scope: Scope) -> dict[str, list[ast.Name]]:
    loads: dict[str, list[ast.Name]] = {}
    body = scope.node.body if isinstance(scope.node.body, list) else [scope.node.body]
    skips = FUNCTIONS if isinstance(scope.node, ast.Module) else ()
    for node in (each for part in body if not isinstance(part, skips) for each in nodes_within(part)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            loads.setdefault(node.id, []).append(node)
    return loads


def _next(program: Program, place: Place) -> Iterator[Place]:
    """One step on."""
    node, form = place
    above = program.parent(node)
    if isinstance(above, ast.Attribute):
        yield from _of_attribute(program, above, form)
    elif isinstance(above, ast.Call) and node is not above.func:
        yield from _handed_to(program, above, node, form)
    elif isinstance(above, ast.keyword):
        call = program.parent(above)
        yield from _handed_to(program, call, node, form) if isinstance(call, ast.Call) else ()
    elif isinstance(above, ast.Subscript):
        yield from _of_element(above, node, form)
    elif isinstance(above, ast.Return | ast.Yield | ast.YieldFrom):
        yield from (Place(call, form) for call in callers(program, program.scope(above)))
    elif isinstance(above, _STORING) and node is above.value:
        for target in above.targets if isinstance(above, ast.Assign) else [above.target]:
            yield from _named(program, target, above, form)
    elif isinstance(above, ast.For | ast.AsyncFor | ast.comprehension):
        if node is above.iter:
            yield from _named(program, above.target, above, _PARTS[form])
    elif isinstance(above, _HOLDING) and not (isinstance(above, ast.IfExp) and node is above.test):
        yield Place(above, form)


_PARTS = {Form.TEXT: Form.PART, Form.PART: Form.PART, Form.BYTES: Form.TOKENS, Form.TOKENS: Form.TOKENS}
_STORING = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)
_HOLDING = (
    ast.ListComp, ast.GeneratorExp, ast.IfExp, ast.BoolOp, ast.Tuple, ast.List, ast.Starred, ast.FormattedValue,
    ast.JoinedStr, ast.BinOp, ast.Await, ast.Lambda,
)  # fmt: skip


def _of_element(above: ast.Subscript, node: ast.AST, form: Form) -> Iterator[Place]:
    """tokens[a:b], and table[character], which is a token."""
    if node is not above.slice:
        yield Place(above, form)
    elif form is Form.PART and isinstance(above.ctx, ast.Load):
        yield Place(above, Form.TOKENS)


def _of_attribute(program: Program, attribute: ast.Attribute, form: Form) -> Iterator[Place]:
    """text.strip(), text.encode(), tokens.astype(..), encoding.ids."""
    call = program.parent(attribute)
    if not isinstance(call, ast.Call) or call.func is not attribute:
        yield from [Place(attribute, form)] if attribute.attr in ("ids", "input_ids") else []
    elif form <= Form.PART and attribute.attr == "encode":
        yield Place(call, Form.BYTES)
    elif attribute.attr in (_OF_TEXT if form <= Form.PART else _OF_TOKENS):
        yield Place(call, form)


def _handed_to(program: Program, call: ast.Call, node: ast.AST, form: Form) -> Iterator[Place]:
    """f(text), encode(text), table.get(character), ids.extend(tokens)."""
    name, callee = last_name(call.func), program.callee(call)
    if name in _ADDING and isinstance(call.func, ast.Attribute):
        yield from _named(program, call.func.value, call, form)
    if callee is not None:
        given = [each for each, value in program.bind(callee, call).items() if value is node]
        yield from (Place(use, form) for each in given for use in uses_of(program, each, callee.node, callee))
        return
    becomes: Form | None = form if name in _SAME else None
    if form <= Form.PART:
        is_looked_up = form is Form.PART and name == "get" and node is call.args[0]
        of_text = name in ("join", "normalize") or (name in ("sub", "subn") and node in call.args[-2:])
        becomes = Form.TOKENS if is_looked_up or name in ENCODERS else form if of_text else becomes
    elif form is Form.BYTES and name in _OF_BYTES:
        becomes = Form.TOKENS
    if becomes is not None:
        yield Place(call, becomes)


def _named(program: Program, target: ast.expr, statement: ast.AST, form: Form) -> Iterator[Place]:
    """Where what was stored in a name, an attribute or an element is read."""
    while isinstance(target, ast.Subscript):
        target = target.value
    if isinstance(target, ast.Tuple | ast.List):
        for each in target.elts:
            yield from _named(program, each, statement, form)
    elif isinstance(target, ast.Name):
        scope = program.scope(statement)
        yield from (Place(use, form) for use in uses_of(program, target.id, statement, scope))
    elif isinstance(target, ast.Attribute) and form is Form.TOKENS:  # what a writer gathers; of texts, mostly settings
        yield from (Place(each, form) for each in _attributes(program).get(target.attr, []) if each is not target)


@once
def _attributes(program: Program) -> dict[str, list[ast.Attribute]]:
    """Where attributes of self are read."""
    found: dict[str, list[ast.Attribute]] = {}
    for node in (each for script in program.scripts for each in nodes_within(script.tree)):
        is_own = isinstance(node, ast.Attribute) and last_name(node.value) == "self"
        if is_own and isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found.setdefault(node.attr, []).append(node)
    return found


def callers(program: Program, scope: Scope) -> list[ast.expr]:
    """The calls that a function may be meant by; of a method that has an encoder's name, on what is of its class."""
    calls = program.calls.get(scope.name, [])
    if scope.owner is None or scope.name not in ENCODERS:
        handed = [call for call in calls if last_name(call.func) != scope.name]  # f.remote(text)
        mapped = [call for call in program.calls.get("map", []) if call.args and last_name(call.args[0]) == scope.name]
        return [*(call for call in calls if program.callee(call) is scope), *handed, *mapped]
    owner = scope.owner
    return [call for call in calls if isinstance(call.func, ast.Attribute) and _is_of(program, call.func.value, owner)]


def _is_of(program: Program, node: ast.expr, owner: str, depth: int = 0) -> bool:
    """Whether something is what a class makes: Class(..), Class.load(..), a name or an attribute of that, or self."""
    if isinstance(node, ast.Name) and node.id == "self":
        return any(isinstance(up, ast.ClassDef) and up.name == owner for up in program.ancestors(node))
    if isinstance(node, ast.Call):
        return owner in (last_name(node.func), *_receiver(node))
    if depth > _MAX_NAMES:
        return False
    if isinstance(node, ast.Attribute):
        return any(_is_of(program, value, owner, depth + 1) for value in program.values_of(node))
    for each in program.reaching(node) if isinstance(node, ast.Name) else ():
        values = [each.value] if each.value is not None else []
        if each.kind == "parameter":
            scope = program.scope(each.statement)
            values += program.arguments(scope, each.name)
            if owner in map(last_name, _annotated(scope, each.name)):
                return True
        if any(_is_of(program, value, owner, depth + 1) for value in values):
            return True
    return False


_MAX_NAMES = 4


def _receiver(call: ast.Call) -> list[str]:
    return [last_name(call.func.value)] if isinstance(call.func, ast.Attribute) else []


def _annotated(scope: Scope, name: str) -> list[ast.expr]:
    arguments = scope.node.args if not isinstance(scope.node, ast.Module) else None
    every = [] if arguments is None else [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [each.annotation for each in every if each.arg == name and each.annotation is not None]
