"""What the checks share: the program, the reported scores unfolded into terms, and the masks of the evaluation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from bpb_harness.auditing.script.context import ScriptContext
from bpb_harness.auditing.script.domains.algebra import Algebra, Term, is_cross_entropy
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.hiding import hides_tokens
from bpb_harness.auditing.script.domains.masked_where import masked_where_true
from bpb_harness.auditing.script.domains.ranked import ranked_noise, width_of
from bpb_harness.auditing.script.domains.sinks import Sink, find_sinks
from bpb_harness.auditing.script.domains.switches_in_logs import switch_by_logs
from bpb_harness.auditing.script.domains.trace import LIMIT, trace, trace_all
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator, Leaf, draws_numbers, is_random
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import elements
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Source, operands
from bpb_harness.findings import Json, Rule, Severity
from bpb_harness.rules.denominators import Denominator

INFERRED = "inferred from the vocabulary alone"
_TOKENIZER = re.compile(r"fineweb10B_sp(\d+)|\bsp(\d{4,5})\b|fineweb_(\d{4,5})_bpe", re.IGNORECASE)
_MAX_BEHIND = 1_500  # expressions that one score is followed through
_MOST_SINKS = 8  # that a path is followed from
_QUADRATURES = ("trapz", "trapezoid", "simpson", "simps", "cumulative_trapezoid")


@dataclass(frozen=True)
class Hit:
    """What a check met, before it is weighed against the other reported scores.

    Attributes:
        rule: the code.
        message: one sentence or two.
        node: the place.
        sink: which reported score it lies on the path of; None where that does not matter.
        factor: multiply the score by this to correct it.
        severity: where this case weighs more or less than the rule.
        evidence: numbers.
        quoted: the nodes whose lines a report quotes.
    """

    rule: Rule
    message: str
    node: ast.AST
    sink: int | None = None
    factor: float | None = None
    severity: Severity | None = None
    evidence: dict[str, Json] = field(default_factory=dict)
    quoted: tuple[ast.AST, ...] = ()


@dataclass(frozen=True, eq=False)
class MaskDraw:
    """A draw of masks that the evaluated cross-entropies come from.

    Attributes:
        node: the comparison with uniform noise, or the call of bernoulli.
        rate: the expression that the noise is compared with.
        frame: where its names are read.
        masks_where_true: whether `rate` is that of masked tokens; False where it is that of visible ones.
        term: the scored term that it belongs to.
        sink: the reported score that it belongs to.
        score: the cross-entropies.
        width: of masks of so many tokens, how many tokens there are.
    """

    node: ast.expr
    rate: ast.expr
    frame: Frame
    masks_where_true: bool
    term: Term
    sink: int
    score: Factor
    width: float = 1.0

    def is_at(self, node: ast.AST) -> bool:
        """Whether a node is where the masks are drawn."""
        return node is self.node


def agreed(judged: list[list[Hit] | None]) -> list[Hit]:
    """The hits of a group of draws: none where one of them is in order, warnings where one could not be judged.

    Args:
        judged: for each draw its hits; empty where it is in order, None where it could not be judged.
    """
    if any(hits == [] for hits in judged):
        return []
    unsure = any(hits is None for hits in judged)
    found = [hit for hits in judged for hit in hits or []]
    if unsure or len({tuple(hit.rule.code for hit in hits or []) for hits in judged}) > 1:
        return [replace(hit, severity=Severity.WARNS) for hit in found]
    return found


def doubted(hit: Hit, why: str) -> Hit:
    """What is a doubt at most, for a reason that its sentence ends with; information stays as it is."""
    if (hit.severity or hit.rule.severity) is Severity.INFORMS:
        return hit
    return replace(hit, message=f"{hit.message} {why}", factor=None, severity=Severity.WARNS)


def beside_the_claim(hit: Hit) -> Hit:
    """What is counted wrong for a printed number that need not be the claimed score."""
    return doubted(hit, "That is the divisor of a number which is printed beside a score that could not be followed.")


# Comparisons by name, and whether they ask for what lies below.
_COMPARING = {
    "lt": True, "le": True, "less": True, "less_equal": True,
    "gt": False, "ge": False, "greater": False, "greater_equal": False,
}  # fmt: skip


def _is_selection(node: ast.AST) -> TypeGuard[ast.Subscript | ast.Call]:
    """x0[m], x0.masked_select(m), m.nonzero()."""
    if isinstance(node, ast.Call):
        return last_name(node.func) in ("masked_select", "nonzero", "where", "flatnonzero")
    return isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Constant)


def _compared(node: ast.AST) -> tuple[ast.expr, ast.expr, bool] | None:
    """The sides of r < u, r.lt(u), torch.less(r, u), and whether the left one is to lie below; else None."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], _ORDERING):
        return node.left, node.comparators[0], isinstance(node.ops[0], ast.Lt | ast.LtE)
    sides = operands(node) if isinstance(node, ast.Call) and last_name(node.func) in _COMPARING else []
    if len(sides) != 2 or not isinstance(node, ast.Call):
        return None
    return sides[0], sides[1], _COMPARING[last_name(node.func)]


_ORDERING = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_MAY_DRAW = frozenset([ast.Compare, ast.Call])


def _is_drawn_here(left: ast.expr, right: ast.expr) -> bool:
    """Whether the right side alone is a draw itself."""
    return is_random(right) and not is_random(left)


def _is_per_token(draw: ast.Call) -> bool:
    """Whether a call draws a matrix, as far as its sizes tell; of one column it draws a number a row."""
    name, made = last_name(draw.func), draw
    if name == "uniform_":  # torch.empty(x.shape).uniform_()
        filled = next(iter(operands(draw)), None)
        if not isinstance(filled, ast.Call):
            return False
        name, made = last_name(filled.func), filled
    if name.endswith("_like"):
        return True
    given = [*made.args[2 if name == "uniform" else 0 :], *(each.value for each in made.keywords if each.arg == "size")]
    sizes = [part for size in given for part in elements(size)]
    if any(isinstance(part, ast.Constant) and part.value == 1 for part in sizes):
        return False
    return len(sizes) >= 2 or any(isinstance(part, ast.Attribute | ast.Starred) for part in sizes)


class Analysis:
    """A program with its reported scores.

    Args:
        program: the scripts.
        context: what the record says.
    """

    def __init__(self, program: Program, context: ScriptContext) -> None:
        self.program, self.context = program, context
        self.algebra = Algebra(program)
        self._behind: dict[Source, list[tuple[ast.AST, Frame]]] = {}
        self._hold_what_was_printed()

    @cached_property
    def sinks(self) -> list[Sink]:
        """The places that report the score."""
        return find_sinks(self.program, self.context.claimed_labels)[:24]

    @cached_property
    def claimed(self) -> set[int]:
        """The sinks that print what the claim's lines in the logs begin with; none where no label tells."""
        places = self._places_of_labels(loosely=False)
        if not any(places):
            places = self._places_of_labels(loosely=True)
        found = set[int]().union(*places)
        # Several lines carry the claim. What one place alone prints is the claim, and so is what prints the same.
        sure = {self._value_of(number) for at in places if len(at) == 1 for number in at}
        return {number for number in found if self._value_of(number) in sure} or found

    def _places_of_labels(self, *, loosely: bool) -> list[set[int]]:
        """For each of the claim's labels the sinks that may have printed it."""
        return [
            {number for number, sink in enumerate(self.sinks) if sink.is_printed_as(label, loosely=loosely)}
            for label in self.context.claimed_labels
        ]

    def _hold_what_was_printed(self) -> None:
        """A line that a log holds was printed: the branches that print it were taken, whatever a default says.

        So were those that train, where lines of the log tell which way their tests went.
        """
        held: dict[ast.expr, set[bool]] = {}
        for number in self.claimed:
            for test, wanted in self.program.tests_above(self.sinks[number].node):
                held.setdefault(test, set()).add(wanted)
        self.program.held.update({test: wanted.pop() for test, wanted in held.items() if len(wanted) == 1})
        for call in self.program.calls.get("backward", []):
            switch_by_logs(self.program, call, self.context.logged)

    @cached_property
    def terms(self) -> list[list[Term]]:
        """For each sink, the score as a list of products."""
        return [self.algebra.terms(sink) for sink in self.sinks]

    @cached_property
    def informative(self) -> set[int]:
        """The sinks whose score could be unfolded as far as a quotient."""
        return {
            number
            for number, terms in enumerate(self.terms)
            if any(factor.power < 0 for term in terms for factor in term.factors)
        }

    @property
    def memo(self) -> dict[object, Any]:
        """What was worked out about the program."""
        return self.program.memo

    @cached_property
    def path(self) -> list[tuple[ast.AST, Frame]]:
        """All expressions that some reported score is computed from, with their frames."""
        starts = self._starts(range(len(self.sinks)))
        return list(trace_all(self.program, starts, LIMIT * len(starts)))

    def _value_of(self, sink: int) -> tuple[Scope, str]:
        """What a sink prints, as it is written in its function."""
        node = self.sinks[sink].node
        return self.program.scope(node), ast.dump(node)

    def prints_same(self, one: int, two: int) -> bool:
        """Whether two sinks print one name that is given its value at the same places: rounded, and in full."""
        nodes = self.sinks[one].node, self.sinks[two].node
        if one == two or not all(isinstance(node, ast.Name) for node in nodes):
            return one == two
        reached = [{*self.program.reaching(node)} for node in nodes if isinstance(node, ast.Name)]
        return self._value_of(one) == self._value_of(two) and reached[0] == reached[1]

    def is_beside_the_claim(self, number: int) -> bool:
        """Whether a sink may be no score that is claimed, for what prints that one, or may, cannot be looked into."""
        if number in self.claimed or self.claimed & self.informative:
            return False  # they are weighed against each other
        if self.claimed:
            return not any(self.prints_same(number, each) for each in self.claimed)
        others = (each for each in range(len(self.sinks)) if each not in self.informative)
        return any(self._is_of_elsewhere(each) for each in others)

    def _is_of_elsewhere(self, sink: int) -> bool:
        """Whether a score is what a function gives that the scripts do not hold, and is told something."""
        factors = (factor.node for term in self.terms[sink] for factor in term.factors)
        return any(isinstance(node, ast.Call) and bool(node.args) and not is_cross_entropy(node) for node in factors)

    @cached_property
    def claimed_path(self) -> list[tuple[ast.AST, Frame]]:
        """What the claimed score is computed from; where that is not known, what any reported one is."""
        if not self.claimed or self.claimed == set(range(len(self.sinks))):
            return self.path
        starts = self._starts(sorted(self.claimed))
        found = list(trace_all(self.program, starts, LIMIT * _MOST_SINKS))  # as far as the others would go
        return found if any(is_cross_entropy(node) for node, _ in found) else self.path

    @property
    def has_followed(self) -> bool:
        """Whether it was asked already what the claimed score is computed from."""
        return "claimed_path" in self.__dict__

    @cached_property
    def claimed_values(self) -> set[ast.AST]:
        """The expressions of the claimed path that are values: not other elements of tuples, nor places of entries.

        Where no label tells which score is claimed, those of scores that no setting may leave out.
        """
        sure = [number for number, sink in enumerate(self.sinks) if not self._is_left_open(sink)]
        starts = self._starts(sorted(self.claimed) or sure)
        return {node for node, _ in trace_all(self.program, starts, LIMIT * _MOST_SINKS, values_alone=True)}

    def _is_left_open(self, sink: Sink) -> bool:
        """Whether a score is not printed, or a setting that nothing tells decides on it."""
        frame, evaluator = Frame.at(self.program, sink.node), Evaluator(self.program)
        tests = self.program.tests_above(sink.node)
        held = {test: evaluator.all_hold(((test, wanted),), frame) for test, wanted in tests}
        unknown = (part for test, holds in held.items() if holds is None for part in nodes_within(test))
        return False in held.values() or any(isinstance(part, ast.Attribute) for part in unknown)

    def _starts(self, sinks: Sequence[int]) -> list[Source]:
        nodes = [self.sinks[number].node for number in sinks][:_MOST_SINKS]
        return [(node, Frame.at(self.program, node)) for node in nodes]

    def switch_by_logs(self, nodes: Iterable[ast.AST]) -> None:
        """Take the branches around some nodes as the claim's logs show them, and follow the scores again if they do."""
        scopes = {frame.scope for _, frame in self.claimed_path}
        within = [node for node in nodes if self.program.scope(node) in scopes]
        if any([switch_by_logs(self.program, node, self.context.logged) for node in within]):  # noqa: C419 all of them
            for followed in ("path", "claimed_path", "claimed_values", "path_nodes", "_called"):
                self.__dict__.pop(followed, None)

    def calls(self, *names: str) -> bool:
        """Whether some reported score is computed through a function of one of these names."""
        return not self._called.isdisjoint(names)

    @cached_property
    def _called(self) -> set[str]:
        return {last_name(node.func) for node, _ in self.path if isinstance(node, ast.Call)}

    @property
    def has_quadrature(self) -> bool:
        """Whether a library integrates over the mask rates: then each has the interval between its neighbours."""
        return self.calls(*_QUADRATURES)

    @property
    def quadrature(self) -> ast.Call | None:
        """The first call of such a library."""
        called = (node for node, _ in self.path if isinstance(node, ast.Call))
        return next((node for node in called if last_name(node.func) in _QUADRATURES), None)

    @cached_property
    def masks(self) -> list[MaskDraw]:
        """The draws of masks that stand behind the scored cross-entropies."""
        found: list[MaskDraw] = []
        if not self._has_draws():
            return found
        seen: set[tuple[int, int, frozenset[int]]] = set()
        for number, term, score in self.scores():
            for draw in self._masks_of(score, term, number):
                key = (id(draw.node), number, frozenset(id(factor.node) for factor in term.factors if factor.power > 0))
                if key not in seen:
                    seen.add(key)
                    found.append(draw)
        return found[:32]

    def _has_draws(self) -> bool:
        """Whether the program compares anything with noise at all: most programs that score do not."""
        places: list[ast.AST] = [*self.program.calls.get("bernoulli", [])]
        if draws_numbers(self.program):
            places += self.program.nodes.get(ast.Compare, [])
            places += [call for name in _COMPARING for call in self.program.calls.get(name, [])]
        return any(map(self.draws_masks, places))

    @cached_property
    def draw_groups(self) -> list[list[MaskDraw]]:
        """The draws that hide tokens, by the cross-entropy that they stand behind.

        What a network draws for itself, to skip a layer or to open a gate, has no place in them. Where one
        cross-entropy goes back to several draws or weights (a loop over pairs, a choice), pairs are formed that the
        program never forms: a check may refute only what holds for all of a group.
        """
        groups: dict[tuple[int, int], list[MaskDraw]] = {}
        hiding: dict[tuple[ast.AST, Frame], bool] = {}
        for draw in self.masks:
            key = (draw.node, draw.frame)
            if key not in hiding:
                hiding[key] = hides_tokens(self.program, draw.node, self.scored, draw.frame)
            if hiding[key]:
                groups.setdefault((draw.sink, id(draw.score.node)), []).append(draw)
        return list(groups.values())

    def behind(self, score: Factor) -> list[tuple[ast.AST, Frame]]:
        """All expressions that a score is computed from, with their frames: followed once, and paid for each time."""
        start = (score.node, score.frame)
        if start not in self._behind:
            self._behind[start] = list(trace(self.program, *start, _MAX_BEHIND))
        elif not self.program.spend(len(self._behind[start])):
            return []
        return self._behind[start]

    def _masks_of(self, score: Factor, term: Term, sink: int) -> Iterator[MaskDraw]:
        for node, frame in self.behind(score):
            draw = self._draw(node)
            if draw is not None:
                rate, positive = draw
                yield MaskDraw(node, rate, frame, positive, term, sink, score)  # type: ignore[arg-type]
            elif (counted := self._counted(node, frame)) is not None:
                count, positive, width = counted
                yield MaskDraw(node, count, frame, positive, term, sink, score, width)  # type: ignore[arg-type]

    def draws_masks(self, node: ast.AST) -> bool:
        """Whether a node compares noise with a rate, or asks for draws of such."""
        if node.__class__ not in _MAY_DRAW:
            return False
        if self._draw(node) is not None:
            return True
        is_compared = _compared(node) is not None  # most are not
        return is_compared and self._counted(node, Frame.at(self.program, node)) is not None

    def _draw(self, node: ast.AST) -> tuple[ast.expr, bool] | None:
        """The rate of a draw and whether it is the rate of masked tokens; None where a node is no draw."""
        compared = _compared(node)
        if compared is not None and isinstance(node, ast.expr):
            left, right, below = compared
            noise_left, noise_right = self._noise_rank(left), self._noise_rank(right)
            if max(noise_left, noise_right) < 1:
                return None
            # Of two draws alike the one with a name is the rate: t > torch.rand(size).
            if noise_left > noise_right or (noise_left == noise_right and not _is_drawn_here(left, right)):
                rate, true_below = right, below
            else:
                rate, true_below = left, not below
            return rate, true_below is masked_where_true(self.program, node)
        if isinstance(node, ast.Call) and last_name(node.func) == "bernoulli" and node.args:
            return node.args[0], masked_where_true(self.program, node)
        return None

    def _counted(self, node: ast.AST, frame: Frame) -> tuple[ast.expr, bool, float] | None:
        """The number of a draw of so many tokens, whether they are the masked ones, and the tokens there are."""
        compared = _compared(node)
        if compared is None or not isinstance(node, ast.expr):
            return None
        left, right, below = compared
        for ranks, count, true_below in ((left, right, below), (right, left, not below)):
            noise = ranked_noise(self.program, ranks)
            width = None if noise is None else width_of(self.program, noise, frame)
            if width is not None:
                return count, true_below is masked_where_true(self.program, node), width
        return None

    def _noise_rank(self, node: ast.expr, depth: int = 0) -> int:
        """How much an expression looks like noise of one draw per token: 0 not at all, 2 for a matrix of draws."""
        if depth > 4:
            return 0
        if is_random(node) and isinstance(node, ast.Call):
            return 2 if _is_per_token(node) else 1
        if isinstance(node, ast.Call) and last_name(node.func) in IDENTITY:
            return max((self._noise_rank(inner, depth + 1) for inner in operands(node)[:1]), default=0)
        found = self.program.reaching(node) if isinstance(node, ast.Name) else ()
        values = (each.value for each in found if each.kind == "assign" and not each.index)
        return max((self._noise_rank(value, depth + 1) for value in values if value is not None), default=0)

    def number(self, node: ast.expr, frame: Frame | None = None) -> float | None:
        """The value of an expression, in a frame or where it stands; None where it is not known."""
        return Evaluator(self.program).number(node, frame or Frame.at(self.program, node))

    def scores(self) -> Iterator[tuple[int, Term, Factor]]:
        """The cross-entropies that are scored, each with its term and the number of its sink."""
        for number, terms in enumerate(self.terms):
            for term in terms:
                yield from ((number, term, score) for score in term.cross_entropies())

    @cached_property
    def scored(self) -> Mapping[ast.AST, Frame]:
        """The cross-entropies that are scored, wherever they stand, each with a frame to read it in."""
        return {score.node: score.frame for _, _, score in self.scores()}

    def hit(
        self, rule: Rule, said: str, node: ast.AST, sink: int | None = None, *, shown: Sequence[ast.AST] = (),
        severity: Severity | None = None, evidence: Mapping[str, Json] | None = None,
    ) -> Hit:  # fmt: skip
        """A hit whose report quotes the line that it is met in, or those of other nodes."""
        return Hit(rule, said, node, sink, None, severity, dict(evidence or {}), tuple(shown) or (node,))

    # -- the noise level --------------------------------------------------------------------------

    def rate_at(self, draw: MaskDraw, point: dict[int, float]) -> float | None:
        """The mask rate of a draw at a point of its leaves."""
        value = Evaluator(self.program, point).number(draw.rate, draw.frame)
        if value is None:
            return None
        share = value / draw.width
        return share if draw.masks_where_true else 1.0 - share

    def leaf_of(self, draw: MaskDraw) -> Leaf | None:
        """The free quantity that a mask rate depends on: a grid where there is one, else a uniform draw."""
        evaluator = Evaluator(self.program)
        if evaluator.number(draw.rate, draw.frame) is None:
            return None
        leaves, grids = list(evaluator.leaves.values()), evaluator.grids
        if len(grids) > 1 or (not grids and len(leaves) > 1):
            return None
        return grids[0] if grids else leaves[0] if leaves else None

    def is_mask_count(self, factor: Factor) -> bool:
        """Whether a factor is a number of masked tokens: a sum over the very draw that made the masks."""
        if factor.power > 0:
            return False
        node, frame = factor.node, factor.frame
        evaluator = Evaluator(self.program)
        if evaluator.number(node, frame) is not None and not evaluator.compared:
            return False
        counting = {*_COMPARING, "bernoulli", "count_nonzero", "logical_and", "sum", "nansum", "mean"}
        if isinstance(node, ast.Call) and last_name(node.func) in ("len", "numel"):
            return self._is_of_selected(node, frame)  # m.numel() is the number of all tokens
        is_row = isinstance(node, ast.Subscript | ast.Name) and evaluator.compared  # m[b], a row of a mask
        if (is_row or isinstance(node, ast.Compare)) and not factor.total:
            return False  # entry by entry, as in nan_to_num(ce / (m * t), posinf=0.0)
        if not (is_row or isinstance(node, ast.Compare | ast.BinOp | ast.UnaryOp)) and not (
            isinstance(node, ast.Call) and last_name(node.func) in counting
        ):
            return False
        parts = [part for part, _ in trace(self.program, node, frame, 200)]
        # Of scores it is a number of scores, not of tokens.
        return (is_row or not any(map(is_cross_entropy, parts))) and any(map(self.draws_masks, parts))

    def _is_of_selected(self, call: ast.Call, frame: Frame) -> bool:
        """Whether it is asked how many of something a draw selects: len(x0[m]), x0[m].numel()."""
        parts = [*trace(self.program, operands(call)[0], frame, 200)] if operands(call) else []
        selections = [(part, where) for part, where in parts if _is_selection(part)]
        return not any(is_cross_entropy(part) for part, _ in parts) and any(
            self.draws_masks(behind)
            for part, where in selections
            for chooser in (part.args if isinstance(part, ast.Call) else [part.slice])
            for behind, _ in trace(self.program, chooser, where, 200)
        )

    # -- the tokenizer ----------------------------------------------------------------------------

    @cached_property
    def denominator(self) -> tuple[float, str] | None:
        """The right number of bytes per token and where it is known from; None where it is not."""
        if self.context.bytes_per_token:
            text = [self.context.text] if self.context.text else []
            where = f"named in {self.context.named_in}" if self.context.named_in else "which the record names"
            return self.context.bytes_per_token, ", ".join([*text, where])
        if self.named_row is None:
            return None
        row, how = self.named_row
        return row.bytes_per_token, f"{row}, {how}"

    @cached_property
    def named_row(self) -> tuple[Denominator, str] | None:
        """The text under the tokenizer that the scripts name, and how they do; None where they do not name one."""
        places: dict[str, str] = {}
        for script in self.program.scripts:
            for found in _TOKENIZER.finditer(script.text):
                line = "" if script.layers else f":{script.text.count(chr(10), 0, found.start()) + 1}"
                places.setdefault("sp" + next(part for part in found.groups() if part), f"{script.path}{line}")
        if len(places) == 1:
            ((name, place),) = places.items()
            named = self.context.rules.table.full_split(name)
            return None if named is None else (named, f"named in {Path(place).name}")
        if places:
            return None
        sizes = {self.context.vocab_size} if self.context.vocab_size else self.vocab_sizes()
        table = self.context.rules.table
        rows = [row for size in sizes if (row := table.full_split(f"sp{size}")) is not None]
        return (rows[0], INFERRED) if len(rows) == 1 else None

    def named_values(self, pattern: str) -> Iterator[ast.expr]:
        """Every value that a name is plainly assigned, attributes and command-line defaults included.

        Args:
            pattern: of the name, in letters of either case.
        """
        program, is_meant = self.program, re.compile(pattern, re.IGNORECASE).fullmatch
        yield from (value for name, values in program.attributes.items() if is_meant(name) for value in values)
        yield from (value for name, value in program.options.items() if is_meant(name))
        for scope in program.scopes:
            for definition in (each for name, all_ in scope.definitions.items() if is_meant(name) for each in all_):
                if definition.value is not None and definition.kind in ("assign", "parameter") and not definition.index:
                    yield definition.value

    def vocab_sizes(self) -> set[int]:
        """Values of names such as vocab_size."""
        sizes = set()
        for value in self.named_values(r"(n_?)?vocab(_?size)?"):
            number = self.number(value)
            if number is not None:
                sizes.add(int(number))
        return sizes
