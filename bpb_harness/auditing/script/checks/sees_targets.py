"""A network that predicts each token from the one before it, and whose attention is over the whole window."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.layers import Place, path_through_layers
from bpb_harness.auditing.script.domains.layout import ALONG_PLACES, Layout
from bpb_harness.auditing.script.domains.scored_tokens import behind_target, scored_tokens
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import dotted, last_name

_ATTENTION = "scaled_dot_product_attention"
_FUNCTIONAL = "torch.nn.functional"
_MASK = 3  # where the mask stands among the arguments
_MODULES = frozenset(["TransformerEncoder", "TransformerEncoderLayer", "MultiheadAttention", "Transformer"])
_OTHERS = _MODULES | frozenset(["flex_attention", "flash_attn_func", "flash_attn_varlen_func", "flash_attn_3_func"])


def check_sees_targets(analysis: Analysis) -> Iterator[Hit]:
    """F.scaled_dot_product_attention(q, k, v) with no mask and no is_causal, in a network that is scored on y = x[1:].

    Only where no attention on the way to the claimed score has a mask, each is among the places of one input of its
    layer, and the targets are the inputs, moved by one.
    """
    program = analysis.program
    if analysis.masks or _ATTENTION not in program.calls or not _OTHERS.isdisjoint(program.calls):
        return
    if not _are_next_tokens(analysis):
        return
    found = list[ast.Call]()
    for node, is_open in _attention(analysis):
        if is_open is not True:  # most networks are causal: the first attention says so
            return
        found.append(node)
    if found and _is_of_torch(program):
        said = (
            "The attention of the network that is scored goes over the whole window (no mask, and not causal), and "
            "each place is scored on the next token, which it sees: a decoder does not have it yet"
        )
        yield analysis.hit(codes.LOOKS_AHEAD, said, found[0])


def _attention(analysis: Analysis) -> Iterator[tuple[ast.Call, bool | None]]:
    """Calls of attention on the way to the claimed score, and whether each sees the whole window; None: not known."""
    seen: set[ast.AST] = set()
    for node, frame in path_through_layers(analysis):
        if not isinstance(node, ast.Call) or node in seen:
            continue
        seen.add(node)
        if last_name(node.func) == _ATTENTION:
            is_open = _is_open(analysis.program, (node, frame), "attn_mask", _MASK)
            yield node, is_open and (_is_along_places(analysis.program, node) or None)


def _is_of_torch(program: Program) -> bool:
    """Whether all that is called so is torch's: by the imports, and nothing else has that name or its module's."""
    names, modules = set[str](), set[str]()
    bound: list[str] = []
    nodes = [node for script in program.scripts for node in ast.walk(script.tree)]
    for node in nodes:
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            whole = f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
            held = alias.asname or (alias.name if isinstance(node, ast.ImportFrom) else alias.name.split(".")[0])
            if whole == f"{_FUNCTIONAL}.{_ATTENTION}" and held == _ATTENTION:
                names.add(held)
            elif whole == _FUNCTIONAL and alias.asname is None and isinstance(node, ast.Import):
                modules.add(_FUNCTIONAL)
            elif whole == _FUNCTIONAL:
                modules.add(held)
            elif whole == "torch.nn":
                modules.add(f"{held if alias.asname or isinstance(node, ast.ImportFrom) else whole}.functional")
            elif whole != "torch" or held != "torch":
                bound.append(held)
        bound += _bound(node)
    modules |= {_FUNCTIONAL}
    calls = program.calls[_ATTENTION]
    known = {*names, *(f"{module}.{_ATTENTION}" for module in modules)}
    roots = {_ATTENTION, "torch", *(module.split(".")[0] for module in modules)}
    mentions = sum(_is_mention(node) for node in nodes)
    return all(dotted(call.func) in known for call in calls) and mentions == len(calls) and roots.isdisjoint(bound)


def _is_mention(node: ast.AST) -> bool:
    name = getattr(node, "attr", None) or getattr(node, "id", None)
    return name == _ATTENTION or (isinstance(node, ast.Constant) and node.value == _ATTENTION)


def _bound(node: ast.AST) -> list[str]:
    """The names that a node gives another meaning."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.arg):
        return [node.arg]
    return [node.id] if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load) else []


def _is_along_places(program: Program, call: ast.Call) -> bool:
    """Whether queries, keys and values are of (batch, heads, places, ..), all made of one input of the layer."""
    if len(call.args) < _MASK:
        return False
    layout = Layout(program)
    found = [layout.of(each) for each in call.args[:_MASK]]
    return found[0] is not None and found[0][0] == ALONG_PLACES and all(each == found[0] for each in found)


def _is_open(program: Program, place: Place, keyword: str, number: int) -> bool | None:
    """Whether a call is given neither a mask nor that it is causal, as it is written there."""
    call, frame = place
    assert isinstance(call, ast.Call)
    if any(each.arg is None for each in call.keywords) or any(isinstance(each, ast.Starred) for each in call.args):
        return None
    given = {each.arg: each.value for each in call.keywords}
    masks = [given[name] for name in (keyword, "attn_mask", "src_mask", "mask") if name in given]
    masks += call.args[number : number + 1]
    if any(not (isinstance(mask, ast.Constant) and mask.value is None) for mask in masks):
        return None
    causal = given.get("is_causal")
    if causal is None:
        return len(call.args) <= number + 1
    value = Evaluator(program).number(causal, frame)
    return None if value is None else value == 0.0


def _are_next_tokens(analysis: Analysis) -> bool:
    """Whether all scored targets are local[1:] of what the network is given as local[:-1]."""
    tokens = scored_tokens(analysis)
    return bool(tokens) and all(
        any(_is_moved(analysis.program, part) for part, _ in behind_target(analysis, each)) for each in tokens
    )


def _is_moved(program: Program, node: ast.AST) -> bool:
    """local[1:] of targets, where local[:-1] stands beside it, or [:, 1:] and [:, :-1]."""
    if not isinstance(node, ast.Subscript) or (cut := _last_slice(node)) is None or cut.upper is not None:
        return False
    if not (isinstance(cut.lower, ast.Constant) and cut.lower.value == 1):
        return False
    base, scope = ast.dump(node.value), program.scope(node)
    beside = (
        other for other in program.nodes.get(ast.Subscript, [])
        if isinstance(other, ast.Subscript) and _is_up_to_last(_last_slice(other)) and program.scope(other) is scope
    )  # fmt: skip
    return any(ast.dump(other.value) == base for other in beside)


def _last_slice(node: ast.Subscript) -> ast.Slice | None:
    last = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
    return last if isinstance(last, ast.Slice) else None


def _is_up_to_last(cut: ast.Slice | None) -> bool:
    upper = cut.upper if cut is not None and cut.lower is None else None
    return (
        isinstance(upper, ast.UnaryOp) and isinstance(upper.op, ast.USub)
        and isinstance(upper.operand, ast.Constant) and upper.operand.value == 1
    )  # fmt: skip
