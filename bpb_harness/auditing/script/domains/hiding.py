"""What a draw chooses: tokens and their costs, or something of a network's own."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.trace import comes_from
from bpb_harness.auditing.script.frontend.index import children
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import FUNCTIONS, Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_CHOOSING = frozenset([
    "where", "masked_fill", "masked_fill_", "masked_select", "masked_scatter", "masked_scatter_", "lerp", "lerp_",
    "putmask", "place", "copyto", "select", "choose", "compress", "extract", "index_put", "index_put_", "einsum",
    "average", "mul", "mul_", "multiply", "dot", "filterfalse",
])  # fmt: skip
# What a tensor says of itself whatever it holds.
_OF_ANY = frozenset(["shape", "size", "device", "dtype", "ndim", "numel", "dim", "layout"])
_MAX_FOLLOWED = 400  # places that a draw is handed on to
_MAX_TRACED = 300


def hides_tokens(program: Program, draw: ast.AST) -> bool:
    """Whether a draw chooses tokens or their costs: by ``where``, a test or an index, in a blend, or times a cost.

    It is followed to wherever it is handed on: through names, attributes, calls, what they return, and what else
    leaves a mask a mask. What is only multiplied by something else, as what a network drops or draws for its own
    weights is, chooses none; of what cannot be followed to its end, that is not known.
    """
    return _Draw(program).chooses(draw)


class _Draw:
    """A draw on its way through a program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.waiting: list[ast.AST] = []
        self.blended: dict[ast.AST, ast.AST] = {}  # sums, by which of their sides was come from first

    def chooses(self, draw: ast.AST) -> bool:
        self.waiting, seen = [draw], {draw}
        for node in self.waiting:  # grows on the way
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
                return True
            if isinstance(above, ast.Attribute) and above.attr in _OF_ANY:
                return False
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
                    return True
                if is_cross_entropy(above):
                    return False
                if self._hand_over(above, child):
                    return False
            elif isinstance(above, ast.BinOp) and isinstance(above.op, ast.Mult | ast.MatMult | ast.Div | ast.Pow):
                other = above.right if child is above.left else above.left
                if not isinstance(other, ast.Constant):
                    return isinstance(above.op, ast.Mult) and (self._is_cost(other) or self._is_blend(above, other))
            elif isinstance(above, ast.Return | ast.Yield):
                return self._returned(self.program.scope(above))
            elif isinstance(above, ast.Lambda) and self._is_argument(above):
                return True  # whoever calls it
            elif isinstance(above, ast.stmt):
                return self._stated(above)
            child = above
        return False

    def _is_asked_for_another(self, node: ast.AST) -> bool:
        """``model.cap`` of a model into which a draw went: an attribute that is read, not called."""
        above = self.program.parent(node)
        if not isinstance(node, ast.Name) or not isinstance(above, ast.Attribute):
            return False
        call = self.program.parent(above)
        return not (isinstance(call, ast.Call) and call.func is above)

    def _stated(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Mult):
            return self._is_cost(statement.target)
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
                self.waiting += self._uses(part.id, statement)
            elif isinstance(part, ast.Attribute):
                self.waiting += self._attributes(part.attr)

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
            self.waiting += loads
            return bool(loads)
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            self.waiting += self._uses(call.func.value.id, call)
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
        self.waiting += calls
        return not calls

    def _is_argument(self, node: ast.AST) -> bool:
        return isinstance(self.program.parent(node), ast.Call | ast.keyword)

    def _is_cost(self, other: ast.expr) -> bool:
        return comes_from(self.program, other, Frame.at(self.program, other), is_cross_entropy, _MAX_TRACED)

    def _is_blend(self, product: ast.BinOp, other: ast.expr) -> bool:
        """x * (1 - m) + MASK * m, or x + m * (MASK - x)."""
        total = self.program.parent(product)
        if not isinstance(total, ast.BinOp) or not isinstance(total.op, ast.Add | ast.Sub):
            return False
        if self.blended.setdefault(total, product) is not product:
            return True
        rest = total.right if product is total.left else total.left
        return isinstance(other, ast.BinOp) and isinstance(other.op, ast.Sub) and bool(_names(other) & _names(rest))


_BY_THE_OBJECT = frozenset(["__call__", "forward"])


def _value_of(argument: ast.AST) -> ast.AST:
    return argument.value if isinstance(argument, ast.keyword) else argument


def _names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return {f"self.{node.attr}"}  # what one object holds is not the same for that
    own = {node.id} if isinstance(node, ast.Name) else set()
    return own.union(*(_names(child) for child in children(node)))
