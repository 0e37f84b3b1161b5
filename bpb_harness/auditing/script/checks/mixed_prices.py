"""Prices of several experts made one: a mixture is a probability only if what is mixed, and how, knows no target.

An expert that names the same price for every token, made of the network's distribution (its entropy, its maximum), adds
up to more than 1 over the vocabulary; the uniform one, 1 / V, adds up to 1. And of two prices of a token none may be
chosen by looking at what they say of the target.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator, Sequence

from bpb_harness.auditing.learnt import SHOWN_BY_ITS_LOG
from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.mixer_in_logs import is_entropy, mixer_shown_at
from bpb_harness.auditing.script.domains.said_of_run import ENTROPY_EXPERT, said_of_another
from bpb_harness.auditing.script.domains.taken_out import is_among, is_weighed
from bpb_harness.auditing.script.domains.token_prices import Kinds, kinds_of
from bpb_harness.auditing.script.domains.trace import LIMIT, origins, trace
from bpb_harness.auditing.script.domains.values import IDENTITY
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Source, operands
from bpb_harness.findings import Json

_JOINING = ("stack", "cat", "concat", "concatenate", "hstack", "vstack", "column_stack", "array")
_MIXING = ("logsumexp", "logaddexp", "log")
_NETWORK = ("softmax", "log_softmax")
_BOUNDING = frozenset(["clamp", "clamp_min", "clip", "maximum", "max", "clamp_", "nan_to_num"])
_CHOOSING = frozenset(
    ["minimum", "maximum", "fmin", "fmax", "min", "max", "amin", "amax", "argmin", "argmax", "topk", "kthvalue"]
)
_SORTING = frozenset(["sort", "msort", "sorted"])
_ORDERING = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_COMPARING = frozenset(["lt", "le", "gt", "ge", "less", "less_equal", "greater", "greater_equal"])
_LARGEST, _SMALLEST = (
    10.0,
    1e-4,
)  # nats and probabilities beyond which a bound keeps numbers finite, and decides nothing


# -- an expert without a target -----------------------------------------------------------------------


def check_experts(analysis: Analysis) -> Iterator[Hit]:
    """Of the prices that are mixed for a token, one that is made of the whole distribution and knows no target."""
    program = analysis.program
    if not any(_is_whole(program, call) for name in _WHOLE for call in program.calls.get(name, ())):
        return
    for call, prices, lacking in _with_one_lacking(program):
        if call not in analysis.claimed_values:
            continue
        is_mixed = _is_mixed_in(analysis, call, prices, lacking)
        if is_mixed is False:
            continue
        if is_mixed is None:
            yield _left_open(analysis, prices, lacking)
            return
        said = (
            f"Of {len(prices)} prices that are mixed for a token, one (`{ast.unparse(lacking)[:60]}`) is made of the "
            "network's whole distribution and is the same whatever the token is: over all tokens it adds up to more "
            "than 1, so the mixture is no probability, and a score made of it is too low (too good)"
        )
        shown = [*_definitions(program, lacking), lacking]
        other, seen = said_of_another(analysis, ENTROPY_EXPERT, shown[0])
        said += other
        place = mixer_shown_at(analysis, lacking) if is_entropy(program, shown[0]) else None
        if place is not None:
            said += f". That the run mixed them, {place} shows, in a log that states the size of this very script"
            seen = {**seen, SHOWN_BY_ITS_LOG: place}
        evidence: dict[str, Json] = {"is_of_claimed_line": bool(analysis.claimed), **seen}
        yield analysis.hit(codes.EXPERT_WITHOUT_TARGET, said, shown[0], shown=shown, evidence=evidence)
        return


def _left_open(analysis: Analysis, prices: Sequence[ast.expr], lacking: ast.expr) -> Hit:
    said = (
        f"Of {len(prices)} prices that stand side by side for a token, one (`{ast.unparse(lacking)[:60]}`) is made of "
        "the network's whole distribution and is the same whatever the token is: no probability is mixed of it. "
        "Whether it is among those that are mixed, and has a weight, was not followed"
    )
    shown = [*_definitions(analysis.program, lacking), lacking]
    return analysis.hit(codes.EXPERT_WITHOUT_TARGET, said, shown[0], shown=shown)


def _is_mixed_in(analysis: Analysis, call: ast.Call, prices: Sequence[ast.expr], lacking: ast.expr) -> bool | None:
    """Whether the price that knows no target is one of those that are mixed; None where that is not known."""
    program, index = analysis.program, next(place for place, each in enumerate(prices) if each is lacking)
    if last_name(call.func) not in _JOINING:
        factors = [lacking.left, lacking.right] if isinstance(lacking, ast.BinOp) else []
        is_product = isinstance(lacking, ast.BinOp) and isinstance(lacking.op, ast.Mult)
        return not (is_product and any(analysis.number(factor) == 0.0 for factor in factors))
    own = {part for part, _ in trace(program, call, Frame.at(program, call))}
    told: set[bool | None] = set()
    for parts in _mixtures_of(analysis, prices):
        among = is_among(program, parts, call, index, len(prices))
        weights = [(part, frame) for part, frame in parts if part not in own]
        told.add(among if among is not True or is_weighed(program, weights, index, len(prices)) else None)
    return True if True in told else None if None in told else False


def _with_one_lacking(program: Program) -> Iterator[tuple[ast.Call, list[ast.expr], ast.expr]]:
    """Calls that put prices together of which one knows no target: the call, the prices, and that one."""
    for call, prices, frame in _together(program):
        kinds = [kinds_of(program, price, frame, through_sums=True) for price in prices]
        lacking = next((price for price, of in zip(prices, kinds, strict=True) if of.is_without_target), None)
        if lacking is not None and any(of.is_of_target for of in kinds):
            yield call, prices, lacking


_WHOLE = ("sum", "max", "amax", "entropy", "topk")


def _is_whole(program: Program, call: ast.Call) -> bool:
    """Whether a call sums over a distribution of the network, or takes its maximum: as written, cheaply."""
    if last_name(call.func) == "entropy":
        return True
    for operand in operands(call)[:1]:
        for part in nodes_within(operand):
            if isinstance(part, ast.Call) and last_name(part.func) in _NETWORK:
                return True
            for definition in program.reaching(part) if isinstance(part, ast.Name) else ():
                held = nodes_within(definition.value) if definition.value is not None else ()
                if any(isinstance(each, ast.Call) and last_name(each.func) in _NETWORK for each in held):
                    return True
    return False


def _calls(analysis: Analysis, names: Sequence[str]) -> Iterator[tuple[ast.Call, Frame]]:
    """Calls of some names on the way to a score."""
    for node, frame in analysis.claimed_path:
        if isinstance(node, ast.Call) and last_name(node.func) in names:
            yield node, frame


def _together(program: Program) -> Iterator[tuple[ast.Call, list[ast.expr], Frame]]:
    """What calls put side by side, each with the frame to read it in: displays, what is added in a logarithm."""
    for name in (*_JOINING, "logaddexp", "log"):
        for call in program.calls.get(name, ()):
            frame = Frame.at(program, call)
            if name == "log":
                yield from ((call, summands, where) for summands, where in _added(program, call, frame))
            elif name == "logaddexp":
                yield call, operands(call)[:2], frame
            else:
                displays = (each for each in operands(call)[:1] if isinstance(each, ast.List | ast.Tuple))
                yield from ((call, display.elts, frame) for display in displays if len(display.elts) > 1)


def _are_mixed(analysis: Analysis, prices: Sequence[ast.expr]) -> bool:
    """Whether a sum of exponentials, or the logarithm of a sum, is made of what stands side by side."""
    return any(True for _ in _mixtures_of(analysis, prices))


def _mixtures_of(analysis: Analysis, prices: Sequence[ast.expr]) -> Iterator[list[tuple[ast.AST, Frame]]]:
    """What each mixture of prices that stand side by side is made of, as far as the networks."""
    for call, frame in _calls(analysis, _MIXING):
        parts = [*trace(analysis.program, call, frame, _FAR, _as_far_as_networks)]
        if any(part is prices[0] for part, _ in parts):
            yield parts


_FAR = 8 * LIMIT  # the weights come first, and may be made of much of a script


def _as_far_as_networks(node: ast.AST) -> Sequence[ast.AST]:
    if isinstance(node, ast.Call) and last_name(node.func) in _NETWORK:
        return ()
    return [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr | ast.keyword)]


def _added(program: Program, call: ast.Call, frame: Frame) -> Iterator[tuple[list[ast.expr], Frame]]:
    """The summands of what a logarithm is taken of."""
    for operand in operands(call)[:1]:
        for node, where in _bare(program, operand, frame):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
                yield _summands(node), where


def _summands(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_summands(node.left), *_summands(node.right)]
    return [node]


def _bare(program: Program, node: ast.expr, frame: Frame, depth: int = 0) -> Iterator[Source]:
    """An expression behind names, casts and bounds."""
    if depth > 4:
        return
    if isinstance(node, ast.Name):
        for origin in origins(program, node, frame):
            yield from _bare(program, origin.node, origin.frame, depth + 1)
    elif isinstance(node, ast.Call) and last_name(node.func) in IDENTITY | _BOUNDING:
        for operand in operands(node):
            yield from _bare(program, operand, frame, depth + 1)
    else:
        yield node, frame


def _definitions(program: Program, node: ast.expr) -> list[ast.expr]:
    found = program.reaching(node) if isinstance(node, ast.Name) else ()
    return [each.value for each in found if each.kind == "assign" and each.value is not None][:1]


# -- chosen by the target -----------------------------------------------------------------------------


def check_choice(analysis: Analysis) -> Iterator[Hit]:
    """Which price a token pays is decided by the prices of that very token: by the smaller, or by a bound on one."""
    program = analysis.program
    if not analysis.has_followed and not any(_prices_compared(analysis, None)):
        return  # no way is followed for nothing: a reader would be told of the settings that it was followed with
    on_path = dict(analysis.claimed_path)
    above = {test for node in on_path if isinstance(node, ast.expr) for test, _ in program.tests_above(node)}
    decided = {part for test in above for part in nodes_within(test)}
    named = [part for part in decided if isinstance(part, ast.Name)]  # unsure of if unsure
    decided |= {part for name in named for value in _given(program, name) for part in nodes_within(value)}
    asked = on_path.keys() | decided  # of other places prices decide nothing of the score
    for place, said in [*_prices_compared(analysis, asked)]:
        is_mask = place in on_path and (isinstance(place, ast.Call) or _meets_a_price(program, place, on_path[place]))
        if is_mask or place in decided:
            other, seen = said_of_another(analysis, None, place)
            evidence: dict[str, Json] = {
                "better_of_two": said is _THE_SMALLER,
                "is_of_claimed_line": bool(analysis.claimed),
                **seen,
            }
            message = f"{said}{_SO_NO_CODE if said is _THE_SMALLER else _SO_NO_SUM}{other}"
            if said is _THE_SMALLER and _is_of_more(program, place):
                message = message.replace(_OF_TWO, _OF_SEVERAL)
            yield analysis.hit(codes.CHOSEN_BY_TARGET, message, place, evidence=evidence)
            return


def _prices_compared(analysis: Analysis, asked: Container[ast.AST] | None) -> Iterator[tuple[ast.expr, str]]:
    """Where a token's prices decide something, and what that means: at the places that are asked about; None: all."""
    yield from _tests_of_prices(analysis, asked)
    yield from _smaller_of_prices(analysis.program, asked)


def _tests_of_prices(analysis: Analysis, asked: Container[ast.AST] | None) -> Iterator[tuple[ast.expr, str]]:
    """Comparisons of a token's price with another or with a bound, and what they mean."""
    program = analysis.program
    places = [
        *program.nodes.get(ast.Compare, ()),
        *(call for name in _COMPARING for call in program.calls.get(name, ())),
    ]
    for test in places:
        if not isinstance(test, ast.expr) or not _is_comparison(test) or not (asked is None or test in asked):
            continue
        frame, sides = Frame.at(program, test), _sides(test)
        kinds = [kinds_of(program, side, frame) for side in sides]
        if all(of.is_of_target for of in kinds) or any(_is_gain(program, side, frame) for side in sides):
            yield test, _THE_SMALLER
        elif any(of.is_of_target for of in kinds) and not _is_bound_of_numbers(analysis, sides, kinds, frame):
            yield test, _BY_ITSELF


def _given(program: Program, name: ast.Name) -> list[ast.expr]:
    """The values that a name is given, where all of them are assigned."""
    defined = program.reaching(name)
    return (
        [each.value for each in defined if each.value is not None] if all(_is_plain(each) for each in defined) else []
    )


def _is_plain(definition: Definition) -> bool:
    return definition.kind == "assign" and not definition.index


def _is_gain(program: Program, side: ast.expr, frame: Frame) -> bool:
    """Whether something is by how much one price of a token is smaller than another: old - new > 0."""
    values = _given(program, side) if isinstance(side, ast.Name) else [side]
    return bool(values) and all(
        isinstance(value, ast.BinOp)
        and isinstance(value.op, ast.Sub)
        and all(kinds_of(program, each, frame).is_of_target for each in (value.left, value.right))
        for value in values
    )


def _smaller_of_prices(program: Program, asked: Container[ast.AST] | None) -> Iterator[tuple[ast.expr, str]]:
    """Calls that take the smaller, or the larger, of two prices of a token."""
    sorting = (call for name in _SORTING for call in program.calls.get(name, ()) if _is_first_taken(program, call))
    for call in (*(call for name in _CHOOSING for call in program.calls.get(name, ())), *sorting):
        if asked is not None and call not in asked:
            continue
        chosen, frame = _chosen_of(program, call), Frame.at(program, call)
        is_choice = len(chosen) > 1 and not _is_for_an_exponential(program, call)
        if is_choice and all(kinds_of(program, each, frame).is_of_target for each in chosen):
            yield call, _THE_SMALLER


def _is_of_more(program: Program, place: ast.expr) -> bool:
    """Whether a price is chosen among more than two, as far as is known: of a list, or of the best one so far."""
    sides = _chosen_of(program, place) if isinstance(place, ast.Call) and not _is_comparison(place) else _sides(place)
    if len(sides) != 2:
        return True
    above = [each for each in program.ancestors(place) if isinstance(each, ast.For | ast.While | ast.Assign)]
    own = {name for side in sides if (name := _name_of(side)) is not None}
    for loop in (each for each in above if not isinstance(each, ast.Assign)):
        given = [part for part in nodes_within(loop) if isinstance(part, ast.Assign)]
        for name in own:
            of_name = [part for part in given if any(_name_of(target) == name for target in part.targets)]
            kept = [part for part in of_name if part in above or _is_kept(program, part, own, place)]
            if kept and len(kept) == len(of_name):
                return True
    return False


def _is_kept(program: Program, part: ast.Assign, own: set[str], place: ast.expr) -> bool:
    """Whether an assignment keeps the better of two prices: under their comparison, by a mask, or made of both."""
    is_under = any(isinstance(each, ast.If) and place in nodes_within(each.test) for each in program.ancestors(part))
    read = {each.id for each in nodes_within(part.value) if isinstance(each, ast.Name)}
    return is_under or isinstance(part.targets[0], ast.Subscript) or (len(own) > 1 and own <= read)


def _name_of(node: ast.expr) -> str | None:
    """The name of a value, or of what an entry is looked up in: best in best[i].item()."""
    while not isinstance(node, ast.Name):
        held = node.func if isinstance(node, ast.Call) and not node.args else node
        if not isinstance(held, ast.Subscript | ast.Attribute):
            return None
        node = held.value
    return node.id


def _is_first_taken(program: Program, call: ast.Call) -> bool:
    """Whether of what is sorted one is taken: x.sort(0).values[0], x.sort(0)[0][0], np.sort(x, 0)[0]."""
    looked_up = 0
    here: ast.AST = call
    for above in program.ancestors(call):
        is_part = (isinstance(above, ast.Subscript) and above.value is here) or (
            isinstance(above, ast.Attribute) and above.attr in ("values", "indices")
        )
        if not is_part:
            break
        looked_up, here = looked_up + 1, above
    is_tuple = isinstance(call.func, ast.Attribute) and last_name(call.func.value) not in ("np", "numpy")
    return looked_up > (last_name(call.func) == "sort" and is_tuple)


_OF_TWO, _OF_SEVERAL = "Of two prices", "Of several prices"
_THE_SMALLER = f"{_OF_TWO} of a token the script takes the one that is better for the token that came"
_BY_ITSELF = "Which price a token pays is decided by what the network says of the very token that is priced"
_SO_NO_SUM = (
    ", which nobody knows who has yet to read it: over all tokens such prices need not add up to 1, so a score made of "
    "them is no code length"
)
_SO_NO_CODE = (
    ", which nobody knows who has yet to read it: over all tokens such prices are of more than 1, and a score made of "
    "them is too low (too good)"
)


def _meets_a_price(program: Program, node: ast.expr, frame: Frame, depth: int = 0) -> bool:
    """Whether a mask is put on prices of tokens: by where, as an index or as a factor.

    Args:
        program: where names are looked up.
        node: the mask, or what is made of it.
        frame: where names are read.
        depth: how many names it was handed on by.
    """
    here = node
    for above in program.ancestors(node):
        beside: list[ast.expr] = []
        if isinstance(above, ast.BinOp):
            beside = [above.right if here is above.left else above.left]
        elif isinstance(above, ast.Call):
            beside = operands(above) if last_name(above.func) in _MASKING else []
        elif isinstance(above, ast.Subscript):
            beside = [above.value] if here is not above.value else []
        if any(kinds_of(program, each, frame).is_of_target for each in beside if each is not here):
            return True
        if isinstance(above, ast.stmt):
            names = {target.id for target in getattr(above, "targets", ()) if isinstance(target, ast.Name)}
            if not names or depth > 1:
                return False
            scope = program.scope(above)
            uses = (use for use in nodes_within(scope.node) if isinstance(use, ast.Name) and use.id in names)
            loads = [use for use in uses if isinstance(use.ctx, ast.Load)]
            return any(_meets_a_price(program, use, frame, depth + 1) for use in loads[:8])
        if isinstance(above, ast.expr):
            here = above
    return False


_MASKING = frozenset(["where", "masked_fill", "masked_fill_", "masked_select", "lerp", "mul", "compress"])


def _is_comparison(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return len(node.ops) == 1 and isinstance(node.ops[0], _ORDERING)
    return isinstance(node, ast.Call) and last_name(node.func) in _COMPARING and len(operands(node)) == 2


def _sides(test: ast.expr) -> list[ast.expr]:
    return [test.left, test.comparators[0]] if isinstance(test, ast.Compare) else operands(test)  # type: ignore[arg-type]


def _is_bound_of_numbers(analysis: Analysis, sides: list[ast.expr], kinds: list[Kinds], frame: Frame) -> bool:
    """Whether a price is held against a number beyond which it would be none: 0, infinity, the smallest float."""
    other = next(side for side, of in zip(sides, kinds, strict=True) if not of.is_of_target)
    if any(
        isinstance(part, ast.Constant) and str(part.value).strip("+-").lower().startswith("inf")
        for part in nodes_within(other)
    ):
        return True
    bound = analysis.number(other, frame)
    return bound is not None and not _SMALLEST < abs(bound) < _LARGEST


def _chosen_of(program: Program, call: ast.Call) -> list[ast.expr]:
    """The two tensors that an elementwise minimum is of, or those of a display whose minimum is taken."""
    worked_on = operands(call)
    if len(worked_on) == 2 and not isinstance(worked_on[1], ast.Constant) and not _is_negative(worked_on[1]):
        return worked_on
    held = worked_on[0] if worked_on else None
    if isinstance(held, ast.Name):
        values = [each.value for each in program.reaching(held) if each.kind == "assign" and each.value is not None]
        held = values[0] if len(values) == 1 else None
    if isinstance(held, ast.Call) and last_name(held.func) in _JOINING and held.args:
        held = held.args[0]
        return held.elts if isinstance(held, ast.List | ast.Tuple) else []
    return []


def _is_negative(node: ast.expr) -> bool:
    """Whether an argument is a number with a sign, such as the dimension -1."""
    return isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)


def _is_for_an_exponential(program: Program, call: ast.Call) -> bool:
    """Whether a maximum is what is taken out of a sum of exponentials: m + log(exp(a - m) + exp(b - m))."""
    above = [*program.ancestors(call)]
    statement = next((each for each in above if isinstance(each, ast.stmt)), None)
    if statement is None:
        return False
    own = {*above, *nodes_within(call)}
    beside = (part for part in nodes_within(statement) if isinstance(part, ast.Call) and part not in own)
    if any(last_name(part.func) in _EXPONENTIALS for part in beside):
        return True
    names = {target.id for target in getattr(statement, "targets", ()) if isinstance(target, ast.Name)}
    uses = (use for name in _EXPONENTIALS for use in program.calls.get(name, ()))
    held = (part for use in uses if program.scope(use) is program.scope(call) for part in nodes_within(use))
    return any(isinstance(part, ast.Name) and part.id in names for part in held)


_EXPONENTIALS = ("exp", "log1p", "expm1", "softplus")


# -- mixed at all -------------------------------------------------------------------------------------


def is_mixed(analysis: Analysis) -> bool:
    """Whether a reported score is one of a mixture: nothing else here shows that its probabilities add up to 1."""
    program = analysis.program
    candidates = {call for name in ("log", "log1p", "logaddexp", "logsumexp") for call in program.calls.get(name, ())}
    candidates = {call for call in candidates if _mixes(program, call)}
    if candidates and any(node in candidates for node, _ in analysis.claimed_path):
        return True
    return bool(program.calls.get("logsumexp")) and any(
        call in analysis.claimed_values and _are_mixed(analysis, prices)
        for call, prices, frame in _together(program)
        if last_name(call.func) in _JOINING and any(kinds_of(program, each, frame).is_of_target for each in prices)
    )


def _mixes(program: Program, call: ast.Call) -> bool:
    """Whether a call is of a mixture, as written: log(w p + v q), a sum of exponentials of log-probabilities."""
    name, frame = last_name(call.func), Frame.at(program, call)
    if name == "logaddexp":
        return True
    inner = operands(call)[:1]
    if name == "log1p":
        return any(isinstance(part, ast.Call) and last_name(part.func) == "exp" for each in inner for part in [each])
    if name == "logsumexp":
        joined = (part for each in inner for part, _ in trace(program, each, frame, 40))
        return any(isinstance(part, ast.Call) and last_name(part.func) in _JOINING for part in joined)
    for summands, _ in _added(program, call, frame):
        weighed = [each for each in summands if isinstance(each, ast.BinOp) and isinstance(each.op, ast.Mult)]
        exponentials = [each for each in summands if isinstance(each, ast.Call) and last_name(each.func) == "exp"]
        if len(weighed) > 1 or len(exponentials) > 1:
            return True
    return False
