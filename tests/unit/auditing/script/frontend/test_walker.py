"""The walk that all domains share: what a name goes back to, and where a walk ends."""

from __future__ import annotations

import ast
from typing import ClassVar

import pytest

from bpb_harness.auditing.script.domains.algebra import Algebra
from bpb_harness.auditing.script.domains.byte_counts import Counter
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend import walker
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.frontend.walker import DEEPEST_INLINED, Frame, Path, Walker, element_of, operands


def _program(text: str) -> Program:
    return Program([Script("train.py", text, ast.parse(text))])


def _last(program: Program) -> tuple[ast.expr, Frame]:
    """The value of the last statement of the first script, and the module's frame."""
    statement = program.scripts[0].tree.body[-1]
    assert isinstance(statement, ast.Assign | ast.Expr)
    return statement.value, Frame(program.scope(statement))


class Sizes(Walker[int]):
    """How many nodes of arithmetic an expression has; -1 for what lies beyond the bounds."""

    deepest: ClassVar[int] = 5
    most_steps: ClassVar[int] = 12

    def _binop(self, node: ast.BinOp, frame: Frame, _path: Path) -> int:
        sides = (self.visit(node.left, frame), self.visit(node.right, frame))
        return -1 if -1 in sides else 1 + sum(sides)

    def unknown(self, _node: ast.expr, _frame: Frame, _path: Path = (), /) -> int:
        return 0

    def stopped(self, _node: ast.expr, _frame: Frame, _path: Path, /) -> int:
        return -1


def test_each_kind_of_node_has_its_method() -> None:
    program = _program("1 + 2 * x")
    assert Sizes(program).visit(*_last(program)) == 2


@pytest.mark.parametrize(("nested", "size"), [(5, 5), (6, -1)])
def test_a_walk_ends_at_its_depth(nested: int, size: int) -> None:
    program = _program("(" * nested + "x" + " + 1)" * nested)
    assert Sizes(program).visit(*_last(program)) == size


def test_a_walk_ends_at_its_steps() -> None:
    program = _program("(a + b + c + d) + (e + f + g)")
    counted = Sizes(program)
    assert counted.visit(*_last(program)) == -1
    assert counted.steps == 13


def test_all_walkers_spend_the_work_of_one_program() -> None:
    program = _program("1 + 2")
    before = program.work_left
    Sizes(program).visit(*_last(program))
    Evaluator(program).visit(*_last(program))
    assert program.work_left == before - 6
    program.work_left = 1
    assert Sizes(program).visit(*_last(program)) == -1


def test_an_error_leaves_the_depth_as_it_was() -> None:
    program = _program("1 / 0 + 1")
    evaluator = Evaluator(program)
    assert evaluator.number(*_last(program)) is None
    assert evaluator.depth == 0


def test_beyond_its_bounds_each_domain_says_that_it_does_not_know() -> None:
    deep = 90
    program = _program("-" * deep + "x")
    node, frame = _last(program)
    assert Evaluator(program).number(node, frame) is None
    (term,) = Algebra(program).visit(node, frame)
    assert [type(factor.node) for factor in term.factors] == [ast.UnaryOp]
    counted = Counter(program, [])
    counted.deepest = 3  # type: ignore[misc]
    program = _program("not not not not not not x")
    with pytest.raises(RecursionError):
        counted.visit(*_last(program))


CALLED = """
def f(u, eps):
    u = u * 2
    return u + eps
f(r, 0.5)
"""


def test_a_parameter_is_what_the_call_hands_over() -> None:
    program = _program(CALLED)
    call, frame = _last(program)
    assert isinstance(call, ast.Call)
    callee = program.callee(call)
    assert callee is not None
    inner = frame.inside(program, callee, call)
    (result,) = callee.returns
    assert isinstance(result, ast.BinOp)
    assert isinstance(result.left, ast.Name)
    assert isinstance(result.right, ast.Name)
    assert inner.given(program, result.left) is None  # assigned anew
    given = inner.given(program, result.right)
    assert given is not None
    assert ast.unparse(given[0]) == "0.5"
    assert given[1] is frame
    assert inner.depth == 1


def test_a_parameter_without_a_call_is_what_all_callers_hand_over() -> None:
    program = _program("def f(u):\n    return u\ndef g(r):\n    return f(r)\nf(1)")
    (f,) = program.functions["f"]
    (definition,) = f.definitions["u"]
    handed = Frame(f).handed(program, definition)
    assert sorted(ast.unparse(value) for value, _ in handed) == ["1", "r"]
    assert {frame.scope.name for _, frame in handed} == {"g", "<module>"}
    assert {frame.depth for _, frame in handed} == {1}
    assert Frame(f, depth=walker.DEEPEST_CALL).handed(program, definition) == []


@pytest.mark.parametrize(
    ("call", "worked_on"),
    [("torch.sum(x)", ["x"]), ("x.sum()", ["x"]), ("x.view(1, 2)", ["x", "1", "2"]), ("f(x)", ["x"]),
     ("np.random.rand(3)", ["3"]), ("f(x).sum(0)", ["f(x)", "0"])],
)  # fmt: skip
def test_operands_are_arguments_after_the_object(call: str, worked_on: list[str]) -> None:
    node = ast.parse(call, mode="eval").body
    assert isinstance(node, ast.Call)
    assert [ast.unparse(operand) for operand in operands(node)] == worked_on


ORIGINS = """
def f(u, v=3):
    if False:
        return 0
    w = v
    return u, w
class A:
    @property
    def size(self):
        return 7
a = A()
a.width = 5
x, y = (1, 2), f(4)
xs = [8]
xs.append(9)
table = {"k": 6, "l": 7}
table["m"] = 10
for z in xs:
    pass
"""


@pytest.mark.parametrize(
    ("looked_at", "path", "origins"),
    [
        ("x", (), {"(1, 2)": ()}),
        ("x", (1,), {"2": ()}),
        ("y", (1,), {"f(4)": (1,)}),
        ("f(4)", (0,), {"(u, w)": (0,)}),
        ("a.width", (), {"5": ()}),
        ("a.size", (), {"7": ()}),
        ("xs", (0,), {"8": (), "9": ()}),
        ("table", ("k",), {"6": ()}),
        ("table", ("m",), {'{"k": 6, "l": 7}': ("m",), "10": ()}),
        ("table['l']", (), {"table": ("l",)}),
        ("table[True]", (), {}),  # a mask of everything, not the second element
        ("z", (), {"xs": ()}),
        ("x if y else z", (), {"x": (), "z": ()}),
        ("(x, y)", (-1,), {"y": ()}),
        ("x + y", (), {}),
        ("len(x)", (), {}),
    ],
)
def test_one_step_back(looked_at: str, path: Path, origins: dict[str, Path]) -> None:
    program = _program(ORIGINS + looked_at)
    found = Evaluator(program).origins(*_last(program), path)
    assert {ast.unparse(origin.node): origin.path for origin in found} == {
        ast.unparse(ast.parse(text)): way for text, way in origins.items()
    }


def test_a_function_that_calls_itself_is_followed_to_an_end() -> None:
    program = _program("def f(x):\n    return f(x)\nf(1)")
    node, frame = _last(program)
    frames = set()
    while (origins := Evaluator(program).origins(node, frame)) and len(frames) < 100:
        node, frame = origins[0].node, origins[0].frame
        frames.add(frame)
    assert len(frames) == DEEPEST_INLINED


@pytest.mark.parametrize(("walker_of", "default"), [(Algebra, ["3"]), (Evaluator, [])])
def test_a_parameter_goes_back_to_its_callers_and_else_to_its_default(
    walker_of: type[Algebra | Evaluator], default: list[str]
) -> None:
    program = _program("def f(u, v=3):\n    return u, v\nf(1)\nf(2)")
    (f,) = program.functions["f"]
    (result,) = f.returns
    assert isinstance(result, ast.Tuple)
    found = [[ast.unparse(o.node) for o in walker_of(program).origins(name, Frame(f))] for name in result.elts]
    assert found == [["1", "2"], default]


def test_an_element_is_looked_for_as_far_as_it_is_written_out() -> None:
    node = ast.parse("({'a': (1, f())}, 2)", mode="eval").body
    element, rest = element_of(node, (0, "a", 1, 0))
    assert (ast.unparse(element), rest) == ("f()", (0,))
