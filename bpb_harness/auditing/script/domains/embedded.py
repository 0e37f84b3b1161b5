"""Whether what hides embeddings hides the text that is scored: the tokens' own vectors, each in its place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence

from bpb_harness.auditing.script.domains.trace import LIMIT, trace
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator, is_random
from bpb_harness.auditing.script.frontend.nodes import elements
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

# What a tensor says of itself whatever it holds.
OF_ANY = frozenset(["shape", "size", "device", "dtype", "ndim", "numel", "dim", "layout"])
_OF_A_SHAPE = frozenset(["rand_like", "zeros_like", "ones_like", "full_like", "empty_like", "randn_like"])
_EMBEDDING = re.compile(r"(^|_)(emb|embs|embed|embedding|embeddings|wte|embed_tokens)(_|$)", re.IGNORECASE)
# What is done to each vector where it stands.
_IN_PLACE = frozenset(["layer_norm", "rms_norm", "normalize", "dropout"])
_MOVING = frozenset(["roll", "pad", "flip", "gather", "shift"])
_DEEPEST = 12  # of steps back

Text = tuple[str, frozenset[int]]  # the name of token ids and the places that define it


class EmbeddedText:
    """The vectors of scored tokens, which a draw may hide.

    Only where all of this is seen is it the text that is hidden: a network's embedding of the ids that are the targets
    too, in the same places; a draw of one number per token, outside of a network; and no other way by which the ids get
    into the scores. What a network draws for itself, and what is done to hidden states, is none of it.

    Args:
        program: the program.
        scores: the cross-entropies that are scored, each with the frame in which its names are read.
        draw: the draw, with its frame.
    """

    def __init__(self, program: Program, scores: Iterable[tuple[ast.AST, Frame]], draw: tuple[ast.AST, Frame]) -> None:
        self.program = program
        self.draw = draw
        self.steps_back = Evaluator(program)
        self.scores = [(node, frame) for node, frame in scores if isinstance(node, ast.Call)]

    def is_hidden(self, place: ast.AST, chosen: Sequence[ast.expr], frame: Frame) -> bool:
        """Whether a draw that chooses between values at a place hides by it the text that is scored."""
        if any(map(self._is_in_network, self._around_the_draw())) or any(
            map(self._is_in_branch, (self.draw[0], place))
        ):
            return False
        return any(self._is_hidden_from(score, place, chosen, frame) for score in self.scores)

    def _is_hidden_from(
        self, score: tuple[ast.Call, Frame], place: ast.AST, chosen: Sequence[ast.expr], frame: Frame
    ) -> bool:
        node, where = score
        target = self._target(node, where)
        logits = _argument(node, 0, ("input", "logits", "log_probs"))
        text = None if target is None else self._text(target, where)
        if text is None or logits is None:
            return False
        vectors = [vector for each in chosen for vector in self._vectors(each, frame, text)]
        others = [each for each in chosen if not [*self._vectors(each, frame, text)]]
        if not vectors or not self._is_per_token(text) or any(self._shows(each, frame, text, ()) for each in others):
            return False
        closed = (place,) if _changed(place) is None else (place, *vectors)
        return not self._shows(logits, where, text, closed) and not self._is_kept(place)

    def _target(self, score: ast.Call, frame: Frame) -> ast.expr | None:
        """The ids whose costs are asked for: cross_entropy(logits, x), log_softmax(logits, -1).gather(-1, x)."""
        if last_name(score.func) != "log_softmax":
            return _argument(score, 1, ("target", "targets", "labels", "y"))
        for call in self.program.calls.get("gather", []):
            if self.program.scope(call) is self.program.scope(score) and operands(call):
                behind = trace(self.program, operands(call)[0], frame, _DEEPEST)
                if any(part is score for part, _ in behind):
                    return operands(call)[-1] if len(operands(call)) > 1 else _argument(call, 2, ("index",))
        return None

    def _text(self, node: ast.expr, frame: Frame) -> Text | None:
        """What token ids are, wherever they are handed on to as they are; None of anything that is computed."""
        found = None
        for _ in range(_DEEPEST):
            node = _as_it_is(node)
            if not isinstance(node, ast.Name):
                return found
            definitions = self.program.reaching(node)
            found = (node.id, frozenset(id(each) for each in definitions))
            origin = self.steps_back.only_origin(node, frame)
            kind = origin.definition.kind if origin is not None and origin.definition is not None else "parameter"
            if origin is None or origin.path or kind not in ("assign", "parameter"):
                return found
            node, frame = origin.node, origin.frame
        return None

    def _vectors(self, node: ast.expr, frame: Frame, text: Text, depth: int = 0) -> Iterator[ast.AST]:
        """Where tokens are embedded of which a value is made, each where it stands."""
        node = _as_it_is(node)
        if depth > _DEEPEST:
            return
        if self._is_embedding(node, frame, text):
            yield node
        elif isinstance(node, ast.BinOp) and not isinstance(node.op, ast.MatMult):
            for one, other in ((node.left, node.right), (node.right, node.left)):
                if not self._shows(other, frame, text, ()):
                    yield from self._vectors(one, frame, text, depth + 1)
        elif isinstance(node, ast.Call) and last_name(node.func) in _IN_PLACE:
            yield from self._vectors(operands(node)[0], frame, text, depth + 1) if operands(node) else ()
        elif isinstance(node, ast.Name | ast.Call):
            for origin in self.steps_back.origins(node, frame):
                if not origin.path and (origin.definition is None or origin.definition.kind in ("assign", "parameter")):
                    yield from self._vectors(origin.node, origin.frame, text, depth + 1)

    def _is_embedding(self, node: ast.AST, frame: Frame, text: Text) -> bool:
        """emb(x), F.embedding(x, w), w[x], one_hot(x) @ w."""
        if isinstance(node, ast.Subscript):
            return self._text(node.slice, frame) == text
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            left = _as_it_is(node.left)
            is_one_hot = isinstance(left, ast.Call) and last_name(left.func) == "one_hot" and bool(left.args)
            return is_one_hot and isinstance(left, ast.Call) and self._text(left.args[0], frame) == text
        if not isinstance(node, ast.Call) or not node.args or self._text(node.args[0], frame) != text:
            return False
        return self.program.callee(node) is None and self._is_embedding_module(node.func)

    def _is_embedding_module(self, func: ast.expr) -> bool:
        values = self.program.values_of(func) if isinstance(func, ast.Attribute) else []
        made = [last_name(value.func) for value in values if isinstance(value, ast.Call)]
        return "Embedding" in made if made else bool(_EMBEDDING.search(last_name(func)))

    def _shows(self, node: ast.expr, frame: Frame, text: Text, closed: Sequence[ast.AST]) -> bool:
        """Whether a value depends on the ids by a way that is open, or stands elsewhere than they, or may."""

        def opened(part: ast.AST) -> Iterable[ast.AST]:
            if part in closed or _tells_a_shape(part) or (isinstance(part, ast.Call) and called(part) in around):
                return ()
            return self.program.parts(part)

        called, around = self.program.callee, [self.program.scope(place) for place in closed[:1]]
        behind = [*trace(self.program, node, frame, LIMIT, opened, lambda part: part not in closed)]
        named = (self._text(part, where) for part, where in behind if isinstance(part, ast.Name))
        shown = any(found is not None and found[1] & text[1] for found in named)
        return shown or len(behind) >= LIMIT or any(_moves(part) for part, _ in behind)

    def _is_kept(self, place: ast.AST) -> bool:
        """Whether what is hidden in place was read before that, by another name."""
        target = _changed(place)
        if not isinstance(target, ast.Name):
            return False
        nodes = ast.walk(self.program.scope(place).node)
        same = (node for node in nodes if isinstance(node, ast.Name) and node.id == target.id and node is not target)
        return any(isinstance(node.ctx, ast.Load) and node.lineno <= target.lineno for node in same)

    def _is_per_token(self, text: Text) -> bool:
        """Whether one number is drawn for each token: not for each text, nor for each of a vector's numbers."""
        node, frame = self.draw
        if not isinstance(node, ast.expr):
            return False

        def opened(part: ast.AST) -> Iterable[ast.AST]:
            return () if is_random(part) else self.program.parts(part)

        drawn = trace(self.program, node, frame, LIMIT, opened)
        return any(self._is_shaped(part, where, text) for part, where in drawn if isinstance(part, ast.Call))

    def _is_shaped(self, call: ast.Call, frame: Frame, text: Text) -> bool:
        name = last_name(call.func)
        if name in _OF_A_SHAPE:
            return bool(call.args) and self._text(call.args[0], frame) == text
        if not is_random(call) and name not in ("full", "ones", "zeros", "empty"):
            return False
        given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "size")]
        given = given[:1] if name in ("full", "ones", "zeros", "empty") and _is_shape(given[:1]) else given
        dims = [dim for each in given for dim in elements(each)]
        whole = [dim for dim in dims if self._is_whole_shape(dim, frame, text)]
        if whole:
            return all(isinstance(dim, ast.Constant) and dim.value in (0, 1) for dim in dims if dim not in whole)
        if len(dims) == 3 and _is_one(dims[2]):
            dims = dims[:2]
        return len(dims) == 2 and not any(isinstance(dim, ast.Constant | ast.Starred) for dim in dims)

    def _is_whole_shape(self, node: ast.expr, frame: Frame, text: Text) -> bool:
        node = node.value if isinstance(node, ast.Starred) else node
        if isinstance(node, ast.Name) and (origin := self.steps_back.only_origin(node, frame)) is not None:
            node, frame = origin.node, origin.frame
        if isinstance(node, ast.Call) and not node.args:
            node = node.func
        is_shape = isinstance(node, ast.Attribute) and node.attr in ("shape", "size")
        return is_shape and isinstance(node, ast.Attribute) and self._text(node.value, frame) == text

    def _is_in_branch(self, node: ast.AST) -> bool:
        """Whether a function comes by a place only where something holds: in training, say."""
        for above in self.program.ancestors(node):
            if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef):
                return False
            if isinstance(above, ast.If | ast.IfExp | ast.While | ast.Try):
                return True
        return False

    def _around_the_draw(self) -> Iterator[ast.AST]:
        """The function that draws, and those that call it."""
        node, frame = self.draw
        yield node
        frames = [frame]
        for each in frames:  # grows on the way
            yield each.scope.node
            frames += [caller for _, caller in each.bindings.values() if caller not in frames]

    def _is_in_network(self, node: ast.AST) -> bool:
        owner = next((above for above in self.program.ancestors(node) if isinstance(above, ast.ClassDef)), None)
        return owner is not None and not {"forward", "__call__"}.isdisjoint(self.program.classes.get(owner.name, {}))


def _argument(call: ast.Call, place: int, names: Sequence[str]) -> ast.expr | None:
    if len(call.args) > place:
        return call.args[place]
    return next((keyword.value for keyword in call.keywords if keyword.arg in names), None)


def _as_it_is(node: ast.expr) -> ast.expr:
    """Without what changes but how numbers are laid out."""
    while True:
        if isinstance(node, ast.Call) and last_name(node.func) in IDENTITY and operands(node):
            node = operands(node)[0]
        elif isinstance(node, ast.Subscript) and _takes_all(node.slice):
            node = node.value
        else:
            return node


def _takes_all(index: ast.expr) -> bool:
    """x[..., None], x[:]."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    whole = (isinstance(part, ast.Slice) and not (part.lower or part.upper or part.step) for part in parts)
    return all(
        is_whole or (isinstance(part, ast.Constant) and part.value in (None, ...))
        for part, is_whole in zip(parts, whole, strict=True)
    )


def _changed(place: ast.AST) -> ast.expr | None:
    """h of h[m] = vector, h *= keep, h.masked_fill_(m, 0); None where nothing is changed in place."""
    if isinstance(place, ast.Subscript):
        return place.value
    if isinstance(place, ast.AugAssign):
        return place.target
    is_method = isinstance(place, ast.Call) and isinstance(place.func, ast.Attribute) and place.func.attr.endswith("_")
    return operands(place)[0] if is_method and isinstance(place, ast.Call) else None


def _is_shape(given: Sequence[ast.expr]) -> bool:
    return any(isinstance(each, ast.Attribute | ast.Tuple | ast.List | ast.Name | ast.Call) for each in given)


def _is_one(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1


def _tells_a_shape(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in OF_ANY
    return isinstance(node, ast.Call) and last_name(node.func) in _OF_A_SHAPE


def _moves(node: ast.AST) -> bool:
    """x[:, :-1], x[1:], roll, pad: what stands elsewhere than it did."""
    if isinstance(node, ast.Call):
        return last_name(node.func) in _MOVING
    cuts = ast.walk(node.slice) if isinstance(node, ast.Subscript) else ()
    return any(
        isinstance(cut, ast.Slice) and cut.step is None and (_is_one(cut.lower) or _is_below(cut)) for cut in cuts
    )


def _is_below(cut: ast.Slice) -> bool:
    return isinstance(cut.upper, ast.UnaryOp) and isinstance(cut.upper.op, ast.USub)
