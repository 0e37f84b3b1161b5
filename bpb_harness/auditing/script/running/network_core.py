"""The network inside a script's model, taken out, so that an oracle can stand in its place.

What a public script calls a model is a network and code around it: code that forbids the mask token, carries visible
tokens over, prices targets. The code around it is what is to be tested, so it runs as it stands; only what turns
tokens into logits is replaced, method by method:

- a method that uses layers and prices nothing is the network: it becomes a call of the oracle;
- a method that uses layers and prices what they give loses the statements that the layers' output runs through, and the
  logits are the oracle's;
- a method that uses no layers is code around the network, and is left as it is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence

from bpb_harness.auditing.script.frontend.nodes import names_in
from bpb_harness.auditing.script.frontend.scopes import last_name

ORACLE = "__oracle__"
"""Name of the oracle in the namespace that the script runs in: takes ids (B, L), returns logits."""

_PRICES = frozenset(["cross_entropy", "log_softmax", "logsumexp", "nll_loss", "CrossEntropyLoss"])
# Strip these from what is priced to come to the name of the logits.
_AROUND_LOGITS = frozenset([
    "float", "double", "view", "reshape", "flatten", "transpose", "permute", "contiguous", "to", "squeeze", "detach",
])  # fmt: skip
_MAKES = re.compile(r"^_*(init|reset|load|set|configure|make|build|from|quant|save)", re.IGNORECASE)


def without_networks(node: ast.ClassDef, weightless: set[str]) -> ast.ClassDef:
    """The class with its network replaced by the oracle, in place; a class without an embedding is left alone.

    Args:
        node: the class.
        weightless: classes of the program that hold no weights, such as noise schedules: what is made of them is no
            layer.
    """
    layers, embeddings = _layers(node, weightless)
    if not embeddings:
        return node
    methods = [method for method in node.body if isinstance(method, ast.FunctionDef) and _takes_tokens(method)]
    # Parts of the network: what uses layers and prices nothing. What puts two of them together is the network too;
    # what calls one alone, the whole of it, is code around it.
    parts = {method.name for method in methods if _uses(method, layers) and _first_price(method.body) is None}
    parts |= {method.name for method in methods if len(_used(method, parts)) > 1 and _first_price(method.body) is None}
    for method in methods:
        within = layers | (parts if len(_used(method, parts)) > 1 else set())
        if not _uses(method, within):
            continue
        priced = _first_price(method.body)
        if priced is None:
            _ask_oracle(method)
        else:
            _cut(method, priced, within, embeddings)
    return node


def _takes_tokens(method: ast.FunctionDef) -> bool:
    """Whether the method may be given tokens: not what makes, fills or loads weights."""
    is_special = method.name.startswith("__") and method.name != "__call__"
    return not is_special and len(method.args.args) > 1 and not _MAKES.search(method.name)


def _used(method: ast.FunctionDef, parts: set[str]) -> set[str]:
    return {part for part in parts if part != method.name and _uses(method, {part})}


def weightless_classes(classes: Iterable[ast.ClassDef]) -> set[str]:
    """The names of classes that make no layer and no weight of torch."""
    return {
        node.name
        for node in classes
        if not any(
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Attribute)
            and last_name(part.func.value) == "nn"
            and part.func.attr[:1].isupper()
            for part in ast.walk(node)
        )
    }


def _layers(node: ast.ClassDef, weightless: set[str]) -> tuple[set[str], set[str]]:
    """Attributes of the class that hold layers or weights, and those of them that embed tokens."""
    layers: set[str] = set()
    embeddings: set[str] = set()
    for part in ast.walk(node):
        if not isinstance(part, ast.Assign | ast.AnnAssign) or not isinstance(part.value, ast.Call | ast.IfExp):
            continue
        targets = part.targets if isinstance(part, ast.Assign) else [part.target]
        made = {last_name(call.func) for call in ast.walk(part.value) if isinstance(call, ast.Call)}
        for target in targets:
            if not (isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name)):
                continue
            if target.value.id != "self":
                continue
            if any(name[:1].isupper() and name not in weightless for name in made):
                layers.add(target.attr)
            if "Embedding" in made:
                embeddings.add(target.attr)
    return layers, embeddings


def _uses(node: ast.AST, layers: set[str]) -> bool:
    return any(
        isinstance(part, ast.Attribute)
        and isinstance(part.value, ast.Name)
        and part.value.id == "self"
        and part.attr in layers
        for part in ast.walk(node)
    )


def _first_price(body: Sequence[ast.stmt]) -> int | None:
    for position, statement in enumerate(body):
        if any(isinstance(part, ast.Call) and last_name(part.func) in _PRICES for part in ast.walk(statement)):
            return position
    return None


def _ask_oracle(method: ast.FunctionDef) -> None:
    """def f(self, ...): return oracle(all arguments): the oracle finds the ids, and the masks if they come apart."""
    names = [argument.arg for argument in (*method.args.posonlyargs, *method.args.args)][1:]
    names += [argument.arg for argument in method.args.kwonlyargs]
    call = ast.Call(ast.Name(ORACLE, ast.Load()), [ast.Name(name, ast.Load()) for name in names], [])
    method.body = [ast.copy_location(ast.Return(call), method.body[0])]


def _cut(method: ast.FunctionDef, priced: int, layers: set[str], embeddings: set[str]) -> None:
    """Drop what the layers' output runs through, and ask the oracle for the logits before they are priced."""
    logits = _logits_name(method.body[priced])
    ids = _embedded(method, embeddings)
    if logits is None or ids is None:
        method.body = [_refusal(method, "where its network ends cannot be told")]
        return
    tainted: set[str] = set()
    kept: list[ast.stmt] = []
    for statement in method.body[:priced]:
        reads = names_in(statement)
        if _uses(statement, layers) or reads & tainted:
            tainted |= set(_stored(statement))
        else:
            kept.append(statement)
    ask = ast.Call(ast.Name(ORACLE, ast.Load()), [ids], [])
    asked = ast.copy_location(ast.Assign([ast.Name(logits, ast.Store())], ask), method.body[priced])
    rest = [statement for statement in method.body[priced:] if not _in_training_alone(statement)]
    method.body = [*kept, asked, *rest]


def _logits_name(statement: ast.stmt) -> str | None:
    for part in ast.walk(statement):
        if isinstance(part, ast.Call) and last_name(part.func) in _PRICES and part.args:
            here: ast.expr = part.args[0]
            while not isinstance(here, ast.Name):
                if isinstance(here, ast.Call) and isinstance(here.func, ast.Attribute):
                    if here.func.attr not in _AROUND_LOGITS:
                        return None
                    here = here.func.value
                elif isinstance(here, ast.Subscript):
                    here = here.value
                else:
                    return None
            return here.id
    return None


def _embedded(method: ast.FunctionDef, embeddings: set[str]) -> ast.expr | None:
    """What the method embeds: the ids that the network sees; its first argument where another method embeds."""
    for part in ast.walk(method):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in embeddings:
            return part.args[0] if part.args else None
        if isinstance(part, ast.Call) and last_name(part.func) == "embedding" and part.args:
            return part.args[0]
    names = [argument.arg for argument in method.args.args]
    return ast.Name(names[1], ast.Load()) if len(names) > 1 else None


def _stored(statement: ast.stmt) -> Iterator[str]:
    for part in ast.walk(statement):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            is_list = part.func.attr in ("append", "extend", "insert")
            if is_list and isinstance(part.func.value, ast.Name):
                yield part.func.value.id


def _in_training_alone(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and not statement.orelse and any(
        isinstance(part, ast.Attribute) and part.attr == "training" for part in ast.walk(statement.test)
    ) and not any(isinstance(part, ast.Not) for part in ast.walk(statement.test))  # fmt: skip


def _refusal(method: ast.FunctionDef, why: str) -> ast.stmt:
    raised = ast.Call(ast.Name("NotImplementedError", ast.Load()), [ast.Constant(f"{method.name}: {why}")], [])
    return ast.copy_location(ast.Raise(raised), method.body[0])
