"""Counts in hashed tables, looked up for the target alone: a quotient that is no distribution over the vocabulary.

Of N pairs in B slots each slot holds N/B counts of others. A context that came n times has the count n + N/B, and its V
targets together n + V N/B: docs/script-checks.md says what that does to the usual mixtures.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import partial

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.bearing import bears_on, is_needed
from bpb_harness.auditing.script.domains.said_of_run import HASHED_COUNTS, said_of_another
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import FUNCTIONS, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_MAX_TRACED = 400
_HASHING = (ast.Mod, ast.BitAnd, ast.BitXor)
_ADDING = ("at", "index_add_", "scatter_add_", "put_")
# Calls of which one operand is a value, the others are sizes or places; and what no count comes out of.
_SHAPING = IDENTITY | {"gather", "index_select", "take", "clone", "copy", "clip", "clamp"}
_NO_VALUE = frozenset(["log", "log2", "log10", "log1p", "len", "range", "size", "numel"]).union(
    ["softmax", "log_softmax", "cross_entropy", "logsumexp", "linear", "embedding"],
    ["zeros", "ones", "empty", "zeros_like", "ones_like", "empty_like"],
)
_NO_COUNT = ("sqrt", "exp", "softmax", "norm", "matmul", "dot", "sum", "mean")  # an optimizer, a network, a whole
_HASHES = frozenset(
    ["hash", "crc32", "adler32", "murmurhash", "xxh32", "xxh64", "remainder", "fmod", "bitwise_xor", "bitwise_and"]
)


def check_hashed_counts(analysis: Analysis) -> Iterator[Hit]:
    """counts[hash(context, target)] / counts[hash(context)] on the path to a score.

    Targets that collide share a count, so that the quotients over the vocabulary add up to more than 1; nothing that
    is priced by them is the length of a code.
    """
    counted = _counted_up(analysis.program)
    read = [*_read_in(analysis.program, counted)]
    if read:
        analysis.switch_by_logs(read)
    if not read or not any(_looked_up(node) in counted for node, _ in analysis.claimed_path):
        return  # what a quotient of the path is made of is on the path too
    for node, frame in analysis.claimed_path:
        quotient = _quotient(node)
        if quotient is None or node not in analysis.claimed_values or _is_left_before(analysis.program, node, frame):
            continue
        above = _hashed_entries(analysis.program, quotient[0], frame, counted)
        below = _hashed_entries(analysis.program, quotient[1], frame, counted) if above else {}
        if not below or _is_weight(analysis.program, node) or _are_of_one_place(quotient, above, below):
            continue
        of_target = [place for place in above if ast.dump(place) not in map(ast.dump, below)] or above
        if _is_of_all_tokens(analysis.program, quotient[0], frame, above) or _is_owned(
            analysis, node, of_target, counted
        ):
            continue
        of_contexts = {*below.values()} - {*above.values()}  # whose sum is none over tokens
        if _is_divided_by_all(analysis, node, frame, counted - of_contexts):
            continue
        if _is_count(analysis.program, quotient[1], frame, counted):
            divided = _divided(analysis.program, quotient, frame, {*above.values()}, {*below.values()})
            tables = ", ".join(sorted({*above.values(), *below.values()}))
            other, evidence = said_of_another(analysis, HASHED_COUNTS, node)
            said = f"{divided}, so this is no probability, and a score made of it is too low (too good){other}"
            yield analysis.hit(codes.HASHED_COUNTS, said, node, evidence={"tables": tables, **evidence})
            return


def _is_left_before(program: Program, node: ast.AST, frame: Frame) -> bool:
    """Whether a function has returned before it comes to a node, by a test that the settings of the run decide."""
    child, above = node, program.parent(node)
    while above is not None and not isinstance(child, FUNCTIONS):
        body = _body(above)
        before = body[: body.index(child)] if child in body else []
        tests = (each.test for each in before if isinstance(each, ast.If) and isinstance(each.body[-1], ast.Return))
        if any(Evaluator(program).all_hold(((test, True),), frame) for test in tests):
            return True
        child, above = above, program.parent(above)
    return False


def _body(node: ast.AST) -> list[ast.AST]:
    body = getattr(node, "body", ())
    return body if isinstance(body, list) else []


def _divided(
    program: Program, quotient: tuple[ast.expr, ast.expr], frame: Frame, above: set[str], below: set[str]
) -> str:
    """What a count is divided by, in words, with what that does to the sum over all tokens."""
    over, under = quotient
    if ast.dump(over) in map(ast.dump, _addends(under)):
        return _OF_ITSELF
    parts = (part for part in _written_out(program, over) if isinstance(part, ast.Call))
    is_cut = any(last_name(part.func) in _BOUNDING for part in parts) or _is_cut_before(
        program, over, frame, above, below
    )
    with_prior, by_prior = _prior(program, over, under)
    comma = "," if is_cut or with_prior else ""
    cut = _CUT if is_cut else ""
    by = f"{_OF_CONTEXT}{by_prior}"
    return f"A count of a hashed context with its target{cut}{with_prior}{comma} is divided by {by}{_FOR_ONE}"


def _prior(program: Program, over: ast.expr, under: ast.expr) -> tuple[str, str]:
    """What is added to a count, and to that of its context, in words: of (n + c p) / (m + c) a price times c, and c."""
    above, below = (_summands(program.only_value(each) or each) for each in (over, under))
    added = {ast.dump(each) for each in below}
    products = [each for each in above if isinstance(each, ast.BinOp) and isinstance(each.op, ast.Mult)]
    if any(ast.dump(side) in added for each in products for side in (each.left, each.right)):
        return ", plus c times another price", " plus c"
    return ", plus another number" if len(above) > 1 else "", " plus another number" if len(below) > 1 else ""


def _summands(node: ast.expr) -> list[ast.expr]:
    """What is added up, behind a bound on it: of np.maximum(n + 1024, 1) these two."""
    if isinstance(node, ast.Call) and last_name(node.func) in _RAISING | _BOUNDING | IDENTITY and operands(node):
        return _summands(operands(node)[0])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_summands(node.left), *_summands(node.right)]
    return [node]


def _is_cut_before(program: Program, over: ast.expr, frame: Frame, above: set[str], below: set[str]) -> bool:
    """Whether a count is the lesser of its table's and the context's wherever it is looked up on the way to a value."""
    cuts: list[ast.AST] = []

    def opened(part: ast.AST) -> Iterable[ast.AST]:
        if isinstance(part, ast.Call) and last_name(part.func) in _BOUNDING and _bounds(part):
            cuts.append(part)
            return ()
        return () if _is_entry(program, part, above | below) else _values(program, part)

    def _bounds(call: ast.Call) -> bool:
        given = [*operands(call), *(each.value for each in call.keywords)]
        tables = [{name for name, _, _ in _tables(program, each, frame, above | below)} for each in given]
        return any(one & above and not one & below for one in tables) and any(one & below for one in tables)

    uncut = [part for part, _ in trace(program, over, frame, _MAX_TRACED, opened, values_alone=True)]
    return bool(cuts) and not any(_is_entry(program, part, above) for part in uncut)


def _are_of_one_place(
    quotient: tuple[ast.expr, ast.expr], above: Mapping[ast.expr, str], below: Mapping[ast.expr, str]
) -> bool:
    """Whether two tables are looked up at the same place: then neither knows more of the target than the other.

    How many different tokens a context was followed by, over how often it was met, is a weight.
    """
    if ast.dump(quotient[0]) in map(ast.dump, _addends(quotient[1])):
        return False  # a count over itself and a constant
    places = {ast.dump(index) for index in below}
    return all(ast.dump(index) in places for index in above)


def _is_weight(program: Program, node: ast.AST) -> bool:
    """Whether a quotient is what prices are weighed by, and no price: what it leaves to 1 weighs another one."""
    own = [part for part in nodes_within(program.scope(node).node) if isinstance(part, ast.BinOp | ast.Name)]
    written = ast.dump(node)
    if any(_is_rest(part) and ast.dump(part.right) == written for part in own if isinstance(part, ast.BinOp)):
        return True
    statement = program.parent(node)
    while isinstance(statement, ast.expr):
        statement = program.parent(statement)
    names = {target.id for target in getattr(statement, "targets", ()) if isinstance(target, ast.Name)}
    if not isinstance(statement, ast.stmt) or not names:
        return False
    loads = (part for part in own if isinstance(part, ast.Name) and part.id in names and isinstance(part.ctx, ast.Load))
    uses = (use for use in loads if any(each.statement is statement for each in program.reaching(use)))
    return any(_leaves_a_rest(program, use) for use in uses)


def _leaves_a_rest(program: Program, use: ast.expr) -> bool:
    """Whether of what a name holds, or of entries of it, the rest to 1 is taken, or a difference is weighed by it."""
    here, above = use, program.parent(use)
    while isinstance(above, ast.Subscript) and above.value is here:
        here, above = above, program.parent(above)
    if isinstance(above, ast.BinOp) and isinstance(above.op, ast.Mult):
        other = above.right if above.left is here else above.left
        return isinstance(other, ast.BinOp) and isinstance(other.op, ast.Sub) and not _is_rest(other)
    return _is_rest(above)


def _is_rest(node: ast.AST | None) -> bool:
    """Whether a node is 1 - x."""
    is_difference = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)
    return (
        isinstance(node, ast.BinOp) and is_difference and isinstance(node.left, ast.Constant) and node.left.value == 1
    )


def _addends(node: ast.expr) -> list[ast.expr]:
    """The summands of a divisor, behind a bound on it: of np.maximum(n + 1024, 1)."""
    if isinstance(node, ast.Call) and last_name(node.func) in _RAISING:
        return [each for operand in operands(node) for each in _addends(operand)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_addends(node.left), *_addends(node.right)]
    return [node]


_RAISING = frozenset(["maximum", "max", "clamp", "clamp_min", "clip", "float"])
_BOUNDING = frozenset(["minimum", "min", "fmin", "clamp", "clamp_max", "clip"])
_CUT = ", limited to that of the context"
_OF_CONTEXT = "the count of the context"
_FOR_ONE = ", for the target alone: targets that collide add up to more than 1"
_OF_ITSELF = (
    "A count of a hashed context with its target is divided by itself and a constant, for the target alone: over all "
    "tokens such quotients do not add up to 1"
)


def _read_in(program: Program, tables: set[str]) -> Iterator[ast.Subscript]:
    """Where the program looks anything up in one of some tables."""
    for node in program.nodes.get(ast.Subscript, []):
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Store) and _looked_up(node) in tables:
            yield node


def _quotient(node: ast.AST) -> tuple[ast.expr, ast.expr] | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return node.left, node.right
    if isinstance(node, ast.Call) and last_name(node.func) in _DIVIDING and len(given := operands(node)) == 2:
        return given[0], given[1]
    return None


_DIVIDING = frozenset(["divide", "true_divide", "div", "div_", "divide_"])


def _division(node: ast.AST) -> tuple[ast.expr, ast.expr] | None:
    """What is divided, and by what, also where it is multiplied by 1 / z, z ** -1 or z.reciprocal()."""
    sides = [node.left, node.right] if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) else []
    for side, other in zip(sides, reversed(sides), strict=True):
        if (inverted := _inverted(side)) is not None:
            return other, inverted
    return _quotient(node)


def _inverted(node: ast.expr) -> ast.expr | None:
    if isinstance(node, ast.Call) and last_name(node.func) == "reciprocal":
        return next(iter(operands(node)), None)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        power = node.right.operand if isinstance(node.right, ast.UnaryOp) and isinstance(node.right.op, ast.USub) else 0
        return node.left if isinstance(power, ast.Constant) and power.value == 1 else None
    is_one = isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant) and node.left.value == 1
    return node.right if is_one and isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) else None


def _is_count(program: Program, below: ast.expr, frame: Frame, counted: set[str]) -> bool:
    """Whether a divisor is the count of one place for the target alone, and no sum over several, root or norm.

    What weighs one of two places is a share of both counts; what is divided by the sum over a table adds up to 1, and
    what is divided by a column has every token of the vocabulary in its rows.
    """
    if any(isinstance(part, ast.Subscript) and _is_column(part.slice) for part in ast.walk(below)):
        return False
    if any(isinstance(part, ast.Call) and last_name(part.func) in _NO_COUNT for part in _written_out(program, below)):
        return False
    addends = [below]
    while isinstance(first := addends[0], ast.BinOp) and isinstance(first.op, ast.Add):
        addends[:1] = [first.left, first.right]
    return sum(bool(_tables(program, addend, frame, counted)) for addend in addends) <= 1


def _is_column(index: ast.expr) -> bool:
    """Whether an index is ``[:, None]``: a dimension more, to divide rows by."""
    return isinstance(index, ast.Tuple) and any(
        (isinstance(each, ast.Constant) and each.value is None) or last_name(each) == "newaxis" for each in index.elts
    )


def _written_out(program: Program, node: ast.expr) -> Iterator[ast.AST]:
    """The parts of an expression, its names replaced by what they were assigned, once; without indices.

    A hash may be a sum over a context: how a place is found says nothing of what is looked up there.
    """
    for part in _without_indices(node):
        yield part
        if isinstance(part, ast.Name):
            for definition in program.reaching(part):
                if definition.kind == "assign" and definition.value is not None:
                    yield from _without_indices(definition.value)


def _without_indices(node: ast.AST) -> Iterator[ast.AST]:
    waiting = [node]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += [part.value] if isinstance(part, ast.Subscript) else ast.iter_child_nodes(part)


def _hashed_entries(program: Program, node: ast.expr, frame: Frame, counted: set[str]) -> dict[ast.expr, str]:
    """The hashed places at which a value is looked up in tables of counts, and the names of those."""
    entries = _tables(program, node, frame, counted)
    return {index: name for name, index, where in entries if _is_hashed(program, index, where)}


def _is_of_all_tokens(program: Program, node: ast.expr, frame: Frame, above: Iterable[ast.expr]) -> bool:
    """Whether a quotient is of all tokens, which may be made to add up to 1 behind it, and none is taken out before."""

    def values(part: ast.AST) -> Iterable[ast.AST]:  # what is put side by side with a place is no part of it
        return () if isinstance(part, ast.Tuple | ast.List) else _values(program, part)

    if any(_is_call(part, _TAKING) for part, _ in trace(program, node, frame, _MAX_TRACED, values)):
        return False
    places = (part for index in above for part, _ in trace(program, index, frame, _MAX_TRACED, values))
    return any(_is_call(part, ("arange",)) for part in places)


def _is_owned(analysis: Analysis, quotient: ast.AST, places: Iterable[ast.expr], counted: set[str]) -> bool:
    """Whether it hangs on whose a slot is that a count is read of: owner[b] == key, where a count is full[b]."""
    program = analysis.program
    path = {last_name(part) for part, _ in analysis.claimed_path if isinstance(part, ast.Name | ast.Attribute)}
    for place in places:
        written = ast.dump(place)
        for node in nodes_within(program.scope(place).node):
            sides = _compared(node)
            for side, other in zip(sides, reversed(sides), strict=True):
                held = program.only_value(side) or side
                is_of_place = isinstance(held, ast.Subscript) and ast.dump(held.slice) == written
                is_asked = is_of_place and _looked_up(held) not in counted and not _is_no_key(program, other)
                if is_asked and bears_on(program, node, quotient, path) and _is_condition(program, node, counted):
                    return True
    return False


def _is_condition(program: Program, asked: ast.AST, counted: set[str]) -> bool:
    """Whether a count is read where a slot is the asker's alone, or is empty: not where it is, or was met often."""

    def is_harmless(other: ast.expr, wanted: bool) -> bool:
        """Another slot's owner == key, or an entry that is 0, or free; where it is not wanted, that it is not."""
        if isinstance(other, ast.UnaryOp) and isinstance(other.op, ast.Not | ast.Invert):
            return is_harmless(other.operand, not wanted)
        sides = _compared(other)
        if sides and _is_equation(other) is wanted:
            held = [program.only_value(side) or side for side in sides]
            named = {_looked_up(each) for each in held if isinstance(each, ast.Subscript)}
            return bool(named) and (any(_is_no_key(program, side) for side in sides) or not counted & named)
        if not isinstance(other, ast.Compare) or len(other.ops) != 1:
            return False
        bound = program.only_value(other.comparators[0]) or other.comparators[0]
        return isinstance(bound, ast.Constant) and (
            (bound.value == 0 and isinstance(other.ops[0], ast.LtE if wanted else ast.Gt))
            or (bound.value == 1 and isinstance(other.ops[0], ast.Lt if wanted else ast.GtE))
        )

    return not isinstance(asked, ast.expr) or is_needed(program, asked, is_harmless, wanted=_is_equation(asked))


def _is_equation(node: ast.AST) -> bool:
    """Whether two sides are held to be equal, not unlike."""
    if isinstance(node, ast.Compare):
        return isinstance(node.ops[0], ast.Eq)
    return isinstance(node, ast.Call) and last_name(node.func) in ("eq", "equal")


def _is_no_key(program: Program, node: ast.expr) -> bool:
    """Whether a slot is asked whether it is free: 0, -1, a name for one."""
    written = program.only_value(node) or node
    return isinstance(written.operand if isinstance(written, ast.UnaryOp) else written, ast.Constant)


def _compared(node: ast.AST) -> list[ast.expr]:
    """The two sides of an equation, or of a test that two are unlike."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq | ast.NotEq):
        return [node.left, node.comparators[0]]
    if isinstance(node, ast.Call) and last_name(node.func) in ("eq", "ne", "equal", "not_equal"):
        return operands(node) if len(operands(node)) == 2 else []
    return []


def _is_divided_by_all(analysis: Analysis, node: ast.AST, frame: Frame, counted: set[str]) -> bool:
    """Whether a quotient, or what it goes into, is divided by a sum over tokens, or is part of such a sum.

    Then what comes of it adds up to 1 over all tokens.
    """
    program = analysis.program

    def holds(value: ast.expr, where: Frame) -> bool:
        return any(part is node for part, _ in trace(program, value, where, _MAX_TRACED, values_alone=True))

    for each, where in analysis.claimed_path:
        quotient = _division(each)
        if quotient is None or not _is_sum_of_counts(program, quotient[1], where, counted, each):
            continue
        if each is node or holds(quotient[0], where) or holds(quotient[1], where):
            return True
    for target, by in _divided_in_place(program, node):
        is_meant = last_name(target) in _assigned_from(program, node) or holds(by, frame)
        if is_meant and _is_sum_of_counts(program, by, frame, counted, node):
            return True
    return False


def _divided_in_place(program: Program, node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """q and z of q /= z and q.div_(z), in the function in which a node stands."""
    scope = program.scope(node)
    for each in program.nodes.get(ast.AugAssign, []):
        if isinstance(each, ast.AugAssign) and isinstance(each.op, ast.Div) and program.scope(each) is scope:
            yield each.target, each.value
    for call in (call for name in ("div_", "divide_") for call in program.calls.get(name, ())):
        if program.scope(call) is scope and len(given := operands(call)) == 2:
            yield given[0], given[1]


def _assigned_from(program: Program, node: ast.AST) -> set[str]:
    targets = getattr(program.statement(node), "targets", ())
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _is_sum_of_counts(program: Program, below: ast.expr, frame: Frame, counted: set[str], node: ast.AST) -> bool:
    """Whether a divisor is a sum over entries of a table of counts, by a call or by a loop that is done before."""
    for part, where in trace(program, below, frame, _MAX_TRACED, partial(_values, program), values_alone=True):
        if isinstance(part, ast.Call) and last_name(part.func) in _SUMMING:
            if any(_has_entries(program, each, where, counted) for each in operands(part)):
                return True
        elif isinstance(part, ast.Name) and _is_added_up(program, part, where, counted, node):
            return True
    return False


_SUMMING = frozenset(["sum", "nansum", "fsum"])


def _has_entries(program: Program, node: ast.expr, frame: Frame, counted: set[str]) -> bool:
    element = node.elt if isinstance(node, ast.GeneratorExp | ast.ListComp) else node
    return bool(_tables(program, element, frame, counted))


def _is_added_up(program: Program, name: ast.Name, frame: Frame, counted: set[str], node: ast.AST) -> bool:
    """total += full[place(t)] in a loop of its own: not in that in which what is divided is added up, or looked up."""
    above = _quotient(node)
    divided = {part.id for part in nodes_within(above[0]) if isinstance(part, ast.Name)} if above else set[str]()
    around = {*program.ancestors(node)}
    for definition in program.reaching(name):
        loop = next((each for each in program.ancestors(definition.statement) if isinstance(each, ast.For)), None)
        if loop is None or loop in around or definition.value is None:
            continue
        is_sum = definition.kind == "augment" and isinstance(definition.operator, ast.Add)
        is_sum = is_sum or (definition.kind == "assign" and _adds_to_itself(definition.value, name.id))
        stored = {
            part.id for part in nodes_within(loop) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
        }
        if is_sum and not divided & stored and _tables(program, definition.value, frame, counted):
            return True
    return False


def _adds_to_itself(value: ast.expr, name: str) -> bool:
    return (
        any(isinstance(each, ast.Name) and each.id == name for each in _summands(value)) and len(_summands(value)) > 1
    )


def _is_call(node: ast.AST, names: Container[str]) -> bool:
    return isinstance(node, ast.Call) and last_name(node.func) in names


_TAKING = ("gather", "take", "take_along_axis", "index_select")


def _tables(program: Program, node: ast.expr, frame: Frame, counted: set[str]) -> list[tuple[str, ast.expr, Frame]]:
    """Look-ups in tables of counts on the way to a value: the table's name, the place, the frame."""
    found = []

    def opened(part: ast.AST) -> Iterable[ast.AST]:  # how an entry's place is found is long, and no entry
        return () if _is_entry(program, part, counted) else _values(program, part)

    for part, where in trace(program, node, frame, _MAX_TRACED, opened, values_alone=True):
        if isinstance(part, ast.Subscript) and _is_entry(program, part, counted):
            found.append((str(_looked_up(part)), part.slice, where))
    return found


def _is_entry(program: Program, node: ast.AST, counted: set[str]) -> bool:
    """Whether a node looks something up in a table of counts, not in what was looked up in one and is called so too."""
    if _looked_up(node) not in counted or not isinstance(node, ast.Subscript):
        return False
    held = program.reaching(node.value) if isinstance(node.value, ast.Name) else ()
    values = (each.value for each in held if each.kind == "assign" and each.value is not None)
    return not any(_looked_up(part) in counted for value in values for part in nodes_within(value))


def _values(program: Program, part: ast.AST) -> Iterable[ast.AST]:
    """The parts of an expression whose values it has: of x[k].reshape(n, m) those of x, not the sizes or the place."""
    if isinstance(part, ast.Subscript):
        return [part.value]
    if isinstance(part, ast.Attribute):
        return [part.value]
    if not isinstance(part, ast.Call):
        return () if isinstance(part, ast.List | ast.Tuple) and _is_constant(part) else program.parts(part)
    name = last_name(part.func)
    if name in _NO_VALUE or program.callee(part) is not None:
        return ()  # what a function of the script returns is followed to what it is given
    if name == "where" and len(operands(part)) == 3:
        return operands(part)[1:]
    return operands(part)[:1] if name in _SHAPING else program.parts(part)


def _is_constant(node: ast.List | ast.Tuple) -> bool:
    return all(isinstance(each, ast.Constant) for each in node.elts)


def _looked_up(node: ast.AST) -> str | None:
    """The table that an entry is looked up in: of table[k], table[order][k]."""
    if not isinstance(node, ast.Subscript) or isinstance(node.slice, ast.Slice | ast.Constant):
        return None
    return last_name(node.value) or (last_name(node.value.value) if isinstance(node.value, ast.Subscript) else None)


def _counted_up(program: Program) -> set[str]:
    """The tables to whose entries the program adds: table[k] += 1, np.add.at(table, k, 1)."""
    tables: list[ast.expr] = []
    for node in program.nodes.get(ast.AugAssign, []):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and isinstance(node.target, ast.Subscript):
            tables.append(node.target)
    for call in (call for name in _ADDING for call in program.calls.get(name, [])):
        tables += [*call.args[:1], *([call.func.value] if isinstance(call.func, ast.Attribute) else [])]
    for node in program.nodes.get(ast.AugAssign, []):  # whole: table += np.bincount(keys)
        if (
            isinstance(node, ast.AugAssign)
            and isinstance(node.op, ast.Add)
            and isinstance(node.target, ast.Name | ast.Attribute)
        ):
            tables += [node.target] if "bincount" in program.scope(node).mentions else []
    handed = [given for table in tables for given in _handed_as(program, table)]
    return {_base(table) for table in (*tables, *handed)} - {""}


def _handed_as(program: Program, table: ast.expr) -> Sequence[ast.expr]:
    """What a helper is handed over as the table that it adds to."""
    scope, name = program.scope(table), _base(table)
    return program.arguments(scope, name) if name in scope.parameters else ()


def _base(node: ast.expr) -> str:
    while isinstance(node, ast.Subscript):
        node = node.value
    return last_name(node)


def _is_hashed(program: Program, index: ast.expr, frame: Frame) -> bool:
    """Whether a place in a table is worked out by multiplying and folding, not taken as an id.

    A column for each token (of counts[h, y], counts[h * V + y]) is no fold: over a row nothing collides.
    """
    if isinstance(index, ast.Tuple):
        return bool(index.elts) and _is_hashed(program, index.elts[-1], frame)
    values = partial(_values, program)
    parts = [part for part, _ in trace(program, index, frame, _MAX_TRACED, values)]
    if _is_row_and_column(program, index, frame):
        return False
    if any(isinstance(part, ast.Call) and last_name(part.func) in _HASHES for part in parts):
        return True
    folded = any(isinstance(part, ast.BinOp) and isinstance(part.op, _HASHING) for part in parts)
    folded = folded or _is_folded_in_place(program, index)
    mixed = any(
        isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mult | ast.BitXor | ast.LShift) for part in parts
    )
    return folded and (mixed or any(_is_mixed_in_place(program, part) for part in parts if isinstance(part, ast.Name)))


def _is_mixed_in_place(program: Program, name: ast.Name) -> bool:
    """Whether something is mixed into what a name holds: h.bitwise_xor_(x), h[:, 1:].bitwise_xor_(x)."""
    calls = (call for each in _MIXING_IN_PLACE for call in program.calls.get(each, ()))
    bases = (_base(call.func.value) for call in calls if _is_in_scope_of(program, call, name))  # type: ignore[attr-defined]
    return name.id in bases


def _is_in_scope_of(program: Program, call: ast.Call, name: ast.Name) -> bool:
    return isinstance(call.func, ast.Attribute) and program.scope(call) is program.scope(name)


_MIXING_IN_PLACE = ("bitwise_xor_", "mul_", "multiply_")


def _is_row_and_column(program: Program, index: ast.expr, frame: Frame) -> bool:
    """Whether the last step to a place is a sum, h * V + y, and nothing is folded after it."""
    if _is_folded_in_place(program, index):
        return False

    def opened(part: ast.AST) -> Iterable[ast.AST]:
        return () if isinstance(part, ast.BinOp) else _values(program, part)

    first = [part for part, _ in trace(program, index, frame, _MAX_TRACED, opened) if isinstance(part, ast.BinOp)]
    return bool(first) and all(isinstance(part.op, ast.Add) for part in first)


def _is_folded_in_place(program: Program, index: ast.expr) -> bool:
    """Whether a name is folded where it stands: h %= size."""
    defined = program.reaching(index) if isinstance(index, ast.Name) else ()
    return any(each.kind == "augment" and isinstance(each.operator, _HASHING) for each in defined)
