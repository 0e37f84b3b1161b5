"""What a draw chooses: tokens and their costs, or something of a network's own."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.embedded import OF_ANY, EmbeddedText
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator
from bpb_harness.auditing.script.frontend.index import children
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import FUNCTIONS, Scope, dotted, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_CHOOSING = frozenset([
    "where", "masked_fill", "masked_fill_", "masked_select", "masked_scatter", "masked_scatter_", "lerp", "lerp_",
    "putmask", "place", "copyto", "select", "choose", "compress", "extract", "index_put", "index_put_", "einsum",
    "average", "mul", "mul_", "multiply", "dot", "filterfalse",
])  # fmt: skip
# What makes numbers of a network: layers, and what is done between them.
_LAYERS = frozenset([
    "Linear", "Embedding", "EmbeddingBag", "Parameter", "ParameterList", "ModuleList", "ModuleDict", "Sequential",
    "LayerNorm", "RMSNorm", "MultiheadAttention", "embedding", "linear", "layer_norm", "rms_norm", "conv1d", "matmul",
    "bmm", "scaled_dot_product_attention", "gelu", "relu", "silu", "sigmoid", "tanh", "softmax", "softplus", "dropout",
])  # fmt: skip
# What makes tokens again of a network's numbers, or tells a shape alone.
_OF_TOKENS = frozenset(["argmax", "multinomial", "topk", "randint", "full_like", "new_full", "zeros_like", "ones_like"])
_MAX_FOLLOWED = 400  # places that a draw is handed on to
_MAX_TRACED = 300
_DEEPEST = 8  # of frames of functions that a draw is handed over to


def hides_tokens(
    program: Program, draw: ast.AST, scores: Mapping[ast.AST, Frame] | None = None, frame: Frame | None = None
) -> bool:
    """Whether a draw chooses tokens or their costs: by ``where``, a test or an index, in a blend, or times a cost.

    It is followed to wherever it is handed on: through names, attributes, calls, what they return, and what else
    leaves a mask a mask. What is only multiplied by something else, as what a network drops or draws for its own
    weights is, chooses none, and what chooses between a network's own numbers (layers that are skipped, gates, drop
    paths) none either, but for the vectors of the scored tokens themselves (see `EmbeddedText`); of what cannot be
    followed to its end, that is not known.

    Args:
        program: the program.
        draw: the draw.
        scores: the cross-entropies that are scored, with their frames; None: any of the program.
        frame: where the names of the draw are read; None: whoever calls.
    """
    return _Draw(program, scores, draw, frame or Frame.at(program, draw)).chooses(draw)


class _Draw:
    """A draw on its way through a program."""

    def __init__(self, program: Program, scores: Mapping[ast.AST, Frame] | None, draw: ast.AST, frame: Frame) -> None:
        self.program = program
        self.is_score = is_cross_entropy if scores is None else scores.__contains__
        self.text = EmbeddedText(program, (scores or {}).items(), (draw, frame))
        self.frame = frame
        self.waiting: list[tuple[ast.AST, Frame]] = []
        self.blended: dict[ast.AST, ast.AST] = {}  # sums, by which of their sides was come from first

    def chooses(self, draw: ast.AST) -> bool:
        self.waiting = [(draw, self.frame)]
        seen = {*self.waiting}
        for node, frame in self.waiting:  # grows on the way
            self.frame = frame
            if len(seen) > _MAX_FOLLOWED:
                return True
            before = len(self.waiting)
            if self._chooses_at(node):
                return True
            self.waiting[before:] = [each for each in dict.fromkeys(self.waiting[before:]) if each not in seen]
            seen.update(self.waiting[before:])
        return False

    def _chooses_at(self, node: ast.AST) -> bool:
        """Whether what holds a place chooses by it; where it is handed on instead, that waits for its turn."""
        child = node
        for above in self.program.ancestors(node):
            if isinstance(above, ast.Subscript) and child is above.slice:
                return self._are_tokens([above.value]) or self._hides_where_set(above)
            if isinstance(above, ast.Attribute) and above.attr in OF_ANY:
                return False
            if isinstance(above, ast.Compare) and isinstance(above.ops[0], ast.Is | ast.IsNot):
                return False  # if m is not None: whether there is one
            if isinstance(above, ast.IfExp | ast.If | ast.While) and child is above.test:
                # A setting of a network that was given the draw says nothing of the draw.
                return not self._is_asked_for_another(node)
            if isinstance(above, ast.comprehension):
                if any(child is test for test in above.ifs):
                    return True
                self._named([above.target], above)
                return False
            if isinstance(above, ast.Call) and child is not above.func:
                if last_name(above.func) in _CHOOSING:
                    others = [each for each in self._operands(above) if each is not _value_of(child)]
                    if not all(map(self._is_number, others)) or not others:
                        return self._are_tokens(others) or self.text.is_hidden(above, others, self._frame_of(above))
                elif is_cross_entropy(above) or self._hand_over(above, child):
                    return False
            elif isinstance(above, ast.BinOp) and isinstance(above.op, ast.Mult | ast.MatMult | ast.Div | ast.Pow):
                other = above.right if child is above.left else above.left
                if not isinstance(other, ast.Constant):
                    return isinstance(above.op, ast.Mult) and self._is_chosen_by_product(above, other)
            elif isinstance(above, ast.Return | ast.Yield):
                return self._returned(self.program.scope(above))
            elif isinstance(above, ast.Lambda) and isinstance(self.program.parent(above), ast.Call | ast.keyword):
                return True  # whoever calls it
            elif isinstance(above, ast.stmt):
                return self._stated(above)
            child = above
        return False

    def _hides_where_set(self, place: ast.Subscript) -> bool:
        """h[m] = vector."""
        statement = self.program.parent(place)
        if not isinstance(statement, ast.Assign):
            return False
        return self.text.is_hidden(place, [place.value, statement.value], self._frame_of(place))

    def _is_chosen_by_product(self, product: ast.BinOp, other: ast.expr) -> bool:
        if self._is_cost(other) or self._is_blend(product, other):
            return True
        return self.text.is_hidden(product, [other], self._frame_of(product))

    def _is_asked_for_another(self, node: ast.AST) -> bool:
        """``model.cap`` of a model into which a draw went: an attribute that is read, not called."""
        above = self.program.parent(node)
        if not isinstance(node, ast.Name) or not isinstance(above, ast.Attribute):
            return False
        call = self.program.parent(above)
        return not (isinstance(call, ast.Call) and call.func is above)

    def _stated(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Mult):
            target = statement.target
            return self._is_cost(target) or self.text.is_hidden(statement, [target], self._frame_of(statement))
        if isinstance(statement, ast.Assign):
            self._named(statement.targets, statement)
        elif isinstance(statement, ast.AnnAssign | ast.AugAssign | ast.For | ast.AsyncFor):
            self._named([statement.target], statement)
        elif isinstance(statement, FUNCTIONS):
            return True  # a default, a decorator
        return False

    def _named(self, targets: list[ast.expr], statement: ast.AST) -> None:
        """What is given a draw: names, attributes, entries of either."""
        for part in (part for target in targets for part in ast.walk(target)):
            if isinstance(part, ast.Name):
                self._go_on_at(self._uses(part.id, statement))
            elif isinstance(part, ast.Attribute):
                self._go_on_at(self._attributes(part.attr))

    def _go_on_at(self, nodes: Iterable[ast.AST], frame: Frame | None = None) -> None:
        """Places that a draw is handed on to: in a frame, in this one, or in that of whoever calls."""
        for node in nodes:
            scope = self.program.scope(node)
            here = self.frame if scope is self.frame.scope else Frame.at(self.program, node)
            self.waiting.append((node, here if frame is None else frame))

    def _uses(self, name: str, statement: ast.AST) -> Iterator[ast.AST]:
        """Where what a statement assigns to a name is used in its scope."""
        for part in ast.walk(self.program.scope(statement).node):
            if not isinstance(part, ast.Name) or not isinstance(part.ctx, ast.Load) or part.id != name:
                continue
            if any(definition.statement is statement for definition in self.program.reaching(part)):
                yield part

    def _attributes(self, name: str) -> Iterator[ast.AST]:
        for part in (part for script in self.program.scripts for part in ast.walk(script.tree)):
            if isinstance(part, ast.Attribute) and part.attr == name and isinstance(part.ctx, ast.Load):
                yield part

    def _hand_over(self, call: ast.Call, child: ast.AST) -> bool:
        """To a function of the program, out of which it comes as that returns it; or into masks of masks.append(m)."""
        callee = self.program.callee(call) or self._made_by(call)
        if callee is not None:
            wanted = {name for name, value in self.program.bind(callee, call).items() if value is _value_of(child)}
            # What stands in a starred argument may be any of them.
            loads = [load for name in wanted or callee.parameters for load in self._loads(callee, name)]
            inside = self.frame.depth < _DEEPEST and self.program.scope(call) is self.frame.scope
            self._go_on_at(loads, self.frame.inside(self.program, callee, call) if inside else None)
            return bool(loads)
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            self._go_on_at(self._uses(call.func.value.id, call))
        return False

    def _made_by(self, call: ast.Call) -> Scope | None:
        """What makes an object keeps the draw as it says; not all that is asked of the object is the draw."""
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        return self.program.classes.get(name, {}).get("__init__")

    def _loads(self, scope: Scope, name: str) -> Iterator[ast.AST]:
        for part in ast.walk(scope.node):
            if isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Load):
                yield part

    def _returned(self, scope: Scope) -> bool:
        """A draw that is returned goes on where the function is called; where nothing is seen to call it, anywhere."""
        names = {scope.name, *([scope.owner] if scope.owner and scope.name in _BY_THE_OBJECT else [])}
        calls = [call for name in names for call in self.program.calls.get(name, [])]
        calls = [call for call in calls if self.program.callee(call) is scope]
        self._go_on_at(calls)
        return not calls

    def _operands(self, call: ast.Call) -> list[ast.expr]:
        return [*operands(call), *(keyword.value for keyword in call.keywords)]

    def _is_number(self, node: ast.expr) -> bool:
        """1.0, 1 / 0.9, zeros_like(x): what is chosen between such is a mask again."""
        return Evaluator(self.program).number(node, Frame.at(self.program, node)) in _OF_MASKS or (
            isinstance(node, ast.Constant) and isinstance(node.value, float)
        )

    def _are_tokens(self, chosen: Iterable[ast.expr]) -> bool:
        """Whether what is chosen may be tokens or their costs: whether it is not a network's own numbers."""
        every = [*chosen]
        return any(map(self._is_cost, every)) or not any(map(self._is_of_network, every))

    def _is_cost(self, other: ast.expr) -> bool:
        return any(self.is_score(part) for part, _ in self._behind(other))

    def _is_of_network(self, node: ast.expr) -> bool:
        return any(_is_layer(part) or self._is_held_layer(part) for part, _ in self._behind(node))

    def _is_held_layer(self, node: ast.AST) -> bool:
        """``self.gate(x)`` in a network, where no function of the program is meant."""
        func = node.func if isinstance(node, ast.Call) else None
        if not isinstance(func, ast.Attribute) or not isinstance(func.value, ast.Name) or func.value.id != "self":
            return False
        owner = next((above for above in self.program.ancestors(func) if isinstance(above, ast.ClassDef)), None)
        methods = self.program.classes.get(owner.name, {}) if owner is not None else {}
        return "forward" in methods and func.attr not in methods

    def _behind(self, node: ast.expr) -> Iterator[tuple[ast.AST, Frame]]:
        return trace(self.program, node, self._frame_of(node), _MAX_TRACED, self._opened)

    def _frame_of(self, node: ast.AST) -> Frame:
        return self.frame if self.program.scope(node) is self.frame.scope else Frame.at(self.program, node)

    def _opened(self, node: ast.AST) -> Iterable[ast.AST]:
        """What a value is made of, without what says on which device it lies, of which type or shape."""
        if isinstance(node, ast.Attribute) and node.attr in OF_ANY:
            return ()
        if isinstance(node, ast.Call):
            name = last_name(node.func)
            if name in _OF_TOKENS or ((callee := self.program.callee(node)) is not None and callee.returns):
                return ()
            if name in IDENTITY:
                return operands(node)[:1]
        return self.program.parts(node)

    def _is_blend(self, product: ast.BinOp, other: ast.expr) -> bool:
        """x * (1 - m) + MASK * m, or x + m * (MASK - x)."""
        total = self.program.parent(product)
        if not isinstance(total, ast.BinOp) or not isinstance(total.op, ast.Add | ast.Sub):
            return False
        rest = total.right if product is total.left else total.left
        if self.blended.setdefault(total, product) is not product:
            return self._are_tokens([product, rest])
        names = isinstance(other, ast.BinOp) and isinstance(other.op, ast.Sub) and _names(other) & _names(rest)
        return bool(names) and self._are_tokens([other, rest])


_OF_MASKS = (0.0, 1.0)
_BY_THE_OBJECT = frozenset(["__call__", "forward"])


def _value_of(argument: ast.AST) -> ast.AST:
    return argument.value if isinstance(argument, ast.keyword) else argument


def _names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return {f"self.{node.attr}"}  # what one object holds is not the same for that
    own = {node.id} if isinstance(node, ast.Name) else set()
    return own.union(*(_names(child) for child in children(node)))


def _is_layer(node: ast.AST) -> bool:
    """A layer of a network, or what is done between layers."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.MatMult)
    if not isinstance(node, ast.Call):
        return False
    return last_name(node.func) in _LAYERS or dotted(node.func).startswith(("nn.", "torch.nn."))
