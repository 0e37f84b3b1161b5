"""A scored loss that weighs each token by its place in the window, or by what it costs: no code has such a length.

A loss of training may do so, to learn more from some tokens than from others. Where the evaluation sums what the same
`forward` gives, and nothing there asks whether the network is being trained, the score is made of it: with weights
below one a part of what the tokens cost is left out, while all bytes are counted. A mask of 0 and 1 leaves whole tokens
out, as windows that overlap have to; weights that are looked up for a token are nothing that a script shows.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.algebra import Term
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.in_evaluation import tests_of
from bpb_harness.auditing.script.domains.shown_in_logs import output_of
from bpb_harness.auditing.script.domains.values import (
    IDENTITY,
    UNKNOWN_ERRORS,
    Evaluator,
    UnknownValueError,
    is_later,
    real,
)
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import names_in, position, stored_in
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Path, operands
from bpb_harness.claim.settings_told import is_same_setting
from bpb_harness.findings import Severity

_LOSSES = frozenset(["cross_entropy", "nll_loss"])
_TIMES = frozenset(["mul", "multiply", "mul_", "dot", "inner", "vdot"])
_MOST_FACTORS, _DEEPEST = 12, 24
_MOST_PLACES = 65_536
_PLACES = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181, 6765, 10946, 17711, 28657)
_SHARES = (1e-4, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999)  # probabilities of a token
_LONGEST_LINE = 4_000  # of a log's that settings are looked for in
_LEAST = 1e-3  # by which weights differ


@dataclass(frozen=True)
class _Weighing:
    """How a sum or mean of a scored loss weighs tokens.

    Attributes:
        total: the sum or mean.
        price: the cross-entropy, one number a token.
        weight: the factor that is not one weight for all.
        frame: where its names are read.
        low: its smallest value that was met.
        high: its largest.
        by_place: whether it hangs on the place in the window; else on what the token costs.
        is_too_low: whether no token can count for more than it costs, and each for one in what is divided by.
    """

    total: ast.Call
    price: ast.AST
    weight: ast.expr
    frame: Frame
    low: float
    high: float
    by_place: bool
    is_too_low: bool


def check_weighed_losses(analysis: Analysis) -> Iterator[Hit]:
    """return (ce * (place / 256).clamp(0, 1)).mean(), return ((1 - torch.exp(-ce)) ** 2 * ce).mean().

    Of plain prices of tokens, where everything that is summed to the claimed score is weighed so, and known to be.
    """
    if analysis.masks:
        return
    scores: dict[int, list[tuple[Term, Factor]]] = {}
    for number, term, score in analysis.scores():
        scores.setdefault(number, []).append((term, score))
    known: dict[tuple[ast.AST, ast.AST, Frame], _Weighing | None] = {}
    found: dict[int, _Weighing] = {}
    for number, scored in scores.items():
        weighed = [_weighing(analysis, score, known) for _, score in scored]
        if all(each is not None for each in weighed) and weighed[0] is not None and not _is_shared_out(weighed):
            found[number] = weighed[0]
    claimed = analysis.claimed & scores.keys()
    if claimed or found.keys() == scores.keys():
        yield from (_hit(analysis, number, each) for number, each in found.items() if number in (claimed or found))


def _is_shared_out(weighed: Sequence[_Weighing | None]) -> bool:
    """Whether one price is in several sums, whose weights may add up to 1: (ce * w).mean() + (ce * (1 - w)).mean()."""
    sums = {(each.price, each.total) for each in weighed if each is not None}
    return len(sums) > len({price for price, _ in sums})


def _hit(analysis: Analysis, number: int, found: _Weighing) -> Hit:
    by = "its place in the window" if found.by_place else "what it costs"
    written = " ".join(ast.unparse(found.weight).split())
    said = f"The loss that is scored weighs each token by {by} (`{written[:120]}`: {found.low:.3g} to {found.high:.3g})"
    evidence = {"lowest_weight": found.low, "highest_weight": found.high}
    shown = (found.weight, found.total)
    if not found.is_too_low:
        said += (
            ": that is not what the tokens cost, and a score of it may be too low or too high; nobody can tell by how "
            "much from the record"
        )
        return analysis.hit(
            codes.WEIGHED_LOSS, said, found.total, number, shown=shown, severity=Severity.WARNS, evidence=evidence
        )
    said += ", and divides by all tokens: part of what they cost is left out, so that the score is too low"
    told = _is_told(analysis, found)
    said += "" if told else "; that the run was set so, its log does not tell"
    severity = Severity.REFUTES if told else Severity.WARNS
    return analysis.hit(
        codes.WEIGHED_LOSS, said, found.total, number, shown=shown, severity=severity, evidence=evidence
    )


def _weighing(
    analysis: Analysis, score: Factor, known: dict[tuple[ast.AST, ast.AST, Frame], _Weighing | None]
) -> _Weighing | None:
    """How the innermost sum of a scored loss weighs tokens; None where it does not, or that is not known."""
    total = score.sums[0] if score.sums else None
    is_priced = isinstance(score.node, ast.Call) and last_name(score.node.func) in _LOSSES
    if not isinstance(total, ast.Call) or not is_priced or total is score.node:
        return None
    program = analysis.program
    frame = score.frame if program.scope(total) is score.frame.scope else Frame.at(program, total)
    key = (total, score.node, frame)
    if key not in known:
        is_scored = tests_of(analysis, total, frame) == []
        known[key] = _Product(analysis, score.node).weighing(total, frame) if is_scored else None
    return known[key]


class _UnknownFactorsError(Exception):
    """What a loss is multiplied by hangs on something that is not known."""


class _Product:
    """The factors of what is summed: the prices of tokens, and what each is multiplied by.

    Args:
        analysis: the program and its scores.
        price: the cross-entropy, one number a token.
    """

    def __init__(self, analysis: Analysis, price: ast.AST) -> None:
        self._analysis, self._program, self._price = analysis, analysis.program, price
        self._left = _MOST_FACTORS * _DEEPEST

    def weighing(self, total: ast.Call, frame: Frame) -> _Weighing | None:
        """How a sum or mean weighs tokens; None where nothing shows that it does."""
        name, stored = last_name(total.func), stored_in(self._program.statement(total))
        if not stored.isdisjoint(_changed_in_place(self._program, self._program.scope(total))):
            return None
        summed = operands(total)[: 2 if name in _TIMES else 1]
        try:
            factors = [each for operand in summed for each in self._factors(operand, frame)]
        except _UnknownFactorsError:
            return None
        prices = [power for node, _, power in factors if node is self._price]
        if prices != [1] or len(factors) > _MOST_FACTORS:
            return None
        others = [each for each in factors if each[0] is not self._price]
        values = [_Weights(self._program, self._price).values(node, where) for node, where, _ in others]
        telling = [
            (each, of_it) for each, of_it in zip(others, values, strict=True) if of_it and _is_weight(of_it.numbers)
        ]
        if not telling:
            return None
        (weight, where, _), shown = telling[0]
        is_below_one = all(
            of_it is not None and power > 0 and min(of_it.numbers) >= 0.0 and max(of_it.numbers) <= 1.0
            for (_, _, power), of_it in zip(others, values, strict=True)
        )
        is_too_low = is_below_one and self._is_mean_of_all(total)
        low, high = min(shown.numbers), max(shown.numbers)
        return _Weighing(total, self._price, weight, where, low, high, shown.by_place, is_too_low)

    def _factors(
        self, node: ast.expr, frame: Frame, power: int = 1, depth: int = 0
    ) -> Iterator[tuple[ast.expr, Frame, int]]:
        """The factors of a product with the powers that they have in it.

        Raises:
            _UnknownFactorsError: if they hang on a choice that nobody can evaluate.
        """
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST or isinstance(node, ast.IfExp):
            raise _UnknownFactorsError
        if node is self._price:
            yield node, frame, power
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
            yield from self._factors(node.left, frame, power, depth + 1)
            yield from self._factors(node.right, frame, -power if isinstance(node.op, ast.Div) else power, depth + 1)
        elif isinstance(node, ast.Call) and last_name(node.func) in _TIMES and len(operands(node)) == 2:
            for operand in operands(node):
                yield from self._factors(operand, frame, power, depth + 1)
        elif isinstance(node, ast.Call) and last_name(node.func) in IDENTITY and operands(node):
            yield from self._factors(operands(node)[0], frame, power, depth + 1)
        elif isinstance(node, ast.Call) and (only := Evaluator(self._program).only_origin(node, frame)) is not None:
            if only.path or tests_of(self._analysis, only.node, only.frame) != []:
                raise _UnknownFactorsError
            yield from self._factors(only.node, only.frame, power, depth + 1)
        elif isinstance(node, ast.Name) and frame.given(self._program, node) is None:
            yield from self._of_name(node, frame, power, depth)
        else:
            yield node, frame, power

    def _of_name(self, node: ast.Name, frame: Frame, power: int, depth: int) -> Iterator[tuple[ast.expr, Frame, int]]:
        """The factors of what a name was given last, and of what multiplied it since."""
        reaching = [*self._program.reaching(node)]
        if node.id in _changed_in_place(self._program, self._program.scope(node)):
            raise _UnknownFactorsError
        if not reaching or any(each.kind == "parameter" for each in reaching):
            yield node, frame, power
            return
        if any(is_later(each, node) for each in reaching):
            raise _UnknownFactorsError
        for each in sorted(reaching, key=lambda each: position(each.statement), reverse=True):
            if not self._is_made(each, frame):
                continue
            if each.kind == "assign" and not each.index and each.value is not None:
                yield from self._factors(each.value, frame, power, depth + 1)
                return
            if each.kind != "augment" or each.value is None or not isinstance(each.operator, ast.Mult | ast.Div):
                raise _UnknownFactorsError
            way = power if isinstance(each.operator, ast.Mult) else -power
            yield from self._factors(each.value, frame, way, depth + 1)
        raise _UnknownFactorsError

    def _is_made(self, definition: Definition, frame: Frame) -> bool:
        """Whether a definition is come to in an evaluation.

        Raises:
            _UnknownFactorsError: if that is not known.
        """
        tests = tests_of(self._analysis, definition.statement, frame)
        if tests:
            raise _UnknownFactorsError
        return tests is not None

    def _is_mean_of_all(self, total: ast.Call) -> bool:
        """Whether a network's function gives back a sum over the number of tokens, and nothing else is done to it."""
        if not self._program.scope(total).owner:
            return False
        above, here = self._program.parent(total), "mean" if last_name(total.func) == "mean" else "sum"
        if here == "sum":
            is_mean = isinstance(above, ast.BinOp) and isinstance(above.op, ast.Div) and above.left is total
            if not is_mean or not isinstance(above, ast.BinOp) or not _is_number_of_tokens(above.right):
                return False
            above = self._program.parent(above)
        return isinstance(above, ast.Return)


def _is_number_of_tokens(node: ast.expr) -> bool:
    """ce.numel(), targets.numel(), len(ce)."""
    return isinstance(node, ast.Call) and last_name(node.func) in ("numel", "len")


@once
def _changed_in_place(program: Program, scope: Scope) -> frozenset[str]:
    """The names of a function of what it changes behind their assignment, and those that this was made of, or is of.

    w.clamp_(1.0), w[:] = 1.0, w.data = other, ones_(w), torch.clamp(w, 1.0, out=w): also where v is w.view(-1).
    """
    changed: set[str] = set()
    for part in nodes_within(scope.node):
        if isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store):
            changed |= names_in(part.value)
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and _IN_PLACE.search(part.func.attr):
            changed |= names_in(part.func.value, *part.args[:1])
        elif isinstance(part, ast.Call) and isinstance(program.parent(part), ast.Expr):
            given = (
                [*part.args, *(each.value for each in part.keywords)] if last_name(part.func) not in _LOOKING else []
            )
            changed |= {each.id for each in given if isinstance(each, ast.Name)}
        elif isinstance(part, ast.keyword) and part.arg == "out":
            changed |= names_in(part.value)
    made = [each for name in changed for each in scope.definitions.get(name, []) if each.kind == "assign"]
    return frozenset(changed.union(*(names_in(each.value) for each in made)))


_IN_PLACE = re.compile(r"[a-z]_$")
_LOOKING = frozenset(["append", "print", "log"])


@dataclass(frozen=True)
class _Values:
    """What a factor is at all places of a window, or for all prices of a token."""

    numbers: Sequence[float]
    by_place: bool


def _is_weight(numbers: Sequence[float]) -> bool:
    """Whether numbers are no mask, all of one value or 0, but differ otherwise."""
    others = [each for each in numbers if abs(each) > 0.0]
    return bool(others) and max(others) - min(others) > _LEAST * max(map(abs, others))


class _Weights(Evaluator):
    """Evaluates a factor at places of a window, of whatever length, and for prices of a token."""

    remembers: ClassVar[bool] = False

    def __init__(self, program: Program, price: ast.AST, point: Mapping[int, float] | None = None) -> None:
        super().__init__(program, point)
        self._price = price
        self.asked: dict[str, str] = {}

    def values(self, node: ast.expr, frame: Frame) -> _Values | None:
        """What a factor is, where it is known; of a plain number that alone."""
        first = self.number(node, frame)
        if first is None or len(self.leaves) > 1:
            return None
        if not self.leaves:
            return _Values([first], by_place=False)
        ((key, leaf),) = self.leaves.items()
        if leaf.kind == "index":
            last = min(leaf.length or _MOST_PLACES, _MOST_PLACES) - 1
            points: list[float] = [*(place for place in _PLACES if place < last), last]
        elif leaf.node is self._price:
            points = [*_SHARES]
        else:
            return None
        numbers = [_Weights(self.program, self._price, {key: point}).number(node, frame) for point in points]
        known = [each for each in numbers if each is not None]
        return _Values(known, leaf.kind == "index") if len(known) == len(points) else None

    def look(self, node: ast.expr, frame: Frame, path: Path) -> object:
        """The price of a token is -log of a share that is given from outside."""
        if isinstance(node, ast.Name) and node.id in _changed_in_place(self.program, self.program.scope(node)):
            raise UnknownValueError
        return -math.log(self._uniform(node)) if node is self._price else super().look(node, frame, path)

    def _ifexp(self, node: ast.IfExp, frame: Frame, path: Path) -> object:
        """Of a choice the part that is known to be taken: which one an unknown test takes, nobody guesses."""
        self.visit(node.test, frame)
        return super()._ifexp(node, frame, path)

    def _setting(self, node: ast.Call, frame: Frame) -> object:
        value, name = super()._setting(node, frame), self.setting_asked(node, frame)
        if name is not None:
            self.asked[name] = str(value)
        return value

    def _grid(self, node: ast.Call, name: str, frame: Frame) -> object:
        """Of ``torch.arange(t)`` the places, however many there are."""
        if name != "arange" or len(node.args) != 1:
            return super()._grid(node, name, frame)
        try:
            length: int | None = int(real(Evaluator(self.program).visit(node.args[0], frame)))
        except UNKNOWN_ERRORS:
            length = None
        if length is not None and length < 1:
            return self.unknown(node, frame)
        return float(self._index(node, length))


def _is_told(analysis: Analysis, found: _Weighing) -> bool:
    """Whether the logs of the claim tell what a weight, and the tests above it, ask the environment for; or nothing."""
    program = analysis.program
    asking = _Weights(program, found.price)
    asking.number(found.weight, found.frame)
    for test, _ in (*program.tests_above(found.total), *program.tests_above(found.weight)):
        asking.number(test, found.frame)
    logged = analysis.context.logged
    return not asking.asked or (bool(logged) and all(_tells(program, score, asking.asked) for score in logged))


def _tells(program: Program, score: LoggedScore, asked: Mapping[str, str]) -> bool:
    """Whether a log tells each setting in front of its score, and with no other value than it has here.

    Its name may say that it is of the loss, so that lines that speak of losses count too.
    """
    lines = [line[:_LONGEST_LINE] for _, line in output_of(program, score)]
    for name, value in asked.items():
        told = re.compile(rf"(?<![\w.-]){re.escape(name)}[\"']?\s?[:=]\s?[\"']?([^\s,;)}}\"']+)", re.IGNORECASE)
        found = [match[1] for line in lines for match in told.finditer(line)]
        if not found or not all(is_same_setting(value, each) for each in found):
            return False
    return True
