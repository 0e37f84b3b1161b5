"""What a value is computed from: all the way, one step, and what a name stands for as a whole."""

from __future__ import annotations

import ast

import pytest

from bpb_harness.auditing.script.domains.trace import assigned, comes_from, trace
from bpb_harness.auditing.script.domains.values import hold
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.frontend.walker import Frame

TEXT = """
DEBUG = False
def scaled(x, by=2):
    if DEBUG:
        return drawn(x)
    return x * by
class Config:
    width: int = 512
table = {}
table[place()] = held()
first, second = one(), two()
third, fourth = pair()
xs = [start()]
xs.append(added())
total = scaled(first) + Config().width
if DEBUG:
    total = unused()
for each in xs:
    total += each
"""


def _program(looked_at: str) -> tuple[Program, ast.expr, Frame]:
    text = TEXT + looked_at
    program = Program([Script("train.py", text, ast.parse(text))])
    statement = program.scripts[0].tree.body[-1]
    assert isinstance(statement, ast.Expr)
    return program, statement.value, Frame.at(program, statement)


def _is_called(name: str, part: ast.AST) -> bool:
    return isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == name


@pytest.mark.parametrize(
    ("looked_at", "names"),
    [
        ("total", {"scaled", "one", "Config", "start", "added"}),
        ("first", {"one"}),
        ("table", {"place", "held"}),
        ("scaled(second)", {"scaled", "two"}),
    ],
)
def test_a_value_comes_from_what_it_is_computed_from_in_the_branches_that_are_taken(
    looked_at: str, names: set[str]
) -> None:
    program, node, frame = _program(looked_at)
    every = {"scaled", "drawn", "one", "two", "Config", "start", "added", "unused", "place", "held"}
    found = {name for name in every if comes_from(program, node, frame, lambda part, n=name: _is_called(n, part))}  # type: ignore[misc]
    assert found == names


def test_no_more_expressions_are_visited_than_is_asked_for() -> None:
    program, node, frame = _program("total")
    assert len(list(trace(program, node, frame, 5))) == 5
    assert not comes_from(program, node, frame, lambda part: _is_called("added", part), 5)


@pytest.mark.parametrize(
    ("looked_at", "values"),
    [
        ("first", ["one()"]),
        ("total", ["scaled(first) + Config().width"]),
        ("third", []),
        ("each", []),
        ("first + second", []),
    ],
)
def test_what_a_name_was_assigned_as_a_whole(looked_at: str, values: list[str]) -> None:
    program, node, frame = _program(looked_at)
    assert [ast.unparse(origin.node) for origin in assigned(program, node, frame)] == values


HANDED = """
def score(x, m=None):
    return network(x, m)


a = score(tokens)
b = score(tokens, noise())
c = score(*given)
"""


@pytest.mark.parametrize(("name", "meets"), [("a", False), ("b", True), ("c", True)])
def test_a_call_that_leaves_a_parameter_out_is_given_no_other_calls(name: str, meets: bool) -> None:
    program = Program([Script("a.py", HANDED, ast.parse(HANDED))])
    (value,) = (
        each.value for each in program.scopes[0].definitions[name] if each.kind == "assign" and each.value is not None
    )
    met = [part for part, _ in trace(program, value, Frame.at(program, value))]
    assert any(isinstance(part, ast.Call) and ast.unparse(part) == "noise()" for part in met) is meets


LAMBDAS = """
three = (lambda made: (0, third(made)))(4)
def measured(made):
    result = made()
    return result
one = measured(lambda: first(1))
two = measured(lambda: second(2))
"""


@pytest.mark.parametrize(
    ("looked_at", "own", "other"), [("one", "first", "second"), ("two", "second", "first"), ("three", "third", "first")]
)
def test_of_functions_that_are_handed_over_the_one_of_the_call_is_followed(
    looked_at: str, own: str, other: str
) -> None:
    program, node, frame = _program(f"{LAMBDAS}{looked_at}\n")
    parts = [part for part, _ in trace(program, node, frame)]
    assert any(_is_called(own, part) for part in parts)
    assert not any(_is_called(other, part) for part in parts)


def test_what_a_name_stands_for_hangs_on_the_call_alone_that_gives_it_its_value() -> None:
    handed = "scaled(first), scaled(second), run(lambda: one()), run(lambda: two())"
    program, node, _ = _program(f"def run(g):\n    return g()\n{handed}")
    assert isinstance(node, ast.Tuple)
    found = []
    for call in [*node.elts, *node.elts]:  # what was followed once is followed from elsewhere as well
        parts = [part for part, _ in trace(program, call, Frame.at(program, call))]
        found.append({name for name in ("one", "two") if any(_is_called(name, part) for part in parts)})
    assert found == [{"one"}, {"two"}] * 4


def test_a_branch_that_turns_out_to_be_taken_is_followed_though_it_was_not_before() -> None:
    program, node, frame = _program("total")
    assert not comes_from(program, node, frame, lambda part: _is_called("unused", part))
    test = next(part.test for part in program.scripts[0].tree.body if isinstance(part, ast.If))
    assert hold(program, {test: True})
    assert comes_from(program, node, frame, lambda part: _is_called("unused", part))


def test_a_parameter_that_a_call_leaves_out_is_not_what_other_calls_give_it() -> None:
    program, node, _ = _program("def last(x, y=None):\n    return y\nlast(two(), one()), last(two())")
    assert isinstance(node, ast.Tuple)
    (result,) = program.functions["last"][0].returns
    found = [
        comes_from(program, each, Frame.at(program, each), lambda part: _is_called("one", part))
        for each in (result, *node.elts[::-1], result)
    ]
    assert found == [True, False, True, True]
