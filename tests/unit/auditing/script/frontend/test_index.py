"""Which statements give a name its value: one that is overlooked leaves an older value standing."""

from __future__ import annotations

import ast

import pytest

from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.index import Index
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.frontend.walker import Frame


def _script(text: str) -> Script:
    return Script("train.py", text, ast.parse(text))


def _defined(text: str) -> dict[str, list[tuple[str, str, tuple[int, ...]]]]:
    """Of each name of the module: how, from what and from which part of it it gets its values."""
    definitions = Index([_script(text)]).scopes[0].definitions
    return {
        name: [(each.kind, ast.unparse(each.value) if each.value is not None else "", each.index) for each in found]
        for name, found in definitions.items()
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = f()", {"x": [("assign", "f()", ())]}),
        ("x: int = f()", {"x": [("assign", "f()", ())]}),
        ("x: int", {}),
        ("print(x := f())", {"x": [("assign", "f()", ())]}),
        ("x += f()", {"x": [("augment", "f()", ())]}),
        ("for x, y in f(): pass", {"x": [("loop", "f()", (0,))], "y": [("loop", "f()", (1,))]}),
        ("with f() as x: pass", {"x": [("assign", "f()", ())]}),
        ("with f(): pass", {}),
        (
            "with f() as (x, y), g(), h() as x: pass",
            {"x": [("assign", "f()", (0,)), ("assign", "h()", ())], "y": [("assign", "f()", (1,))]},
        ),
        ("with f() as x[0]: pass", {"x": [("mutation", "f()", ())]}),
        ("x.append(f())", {"x": [("mutation", "f()", ())]}),
    ],
)
def test_what_gives_a_name_its_value(text: str, expected: dict[str, list[tuple[str, str, tuple[int, ...]]]]) -> None:
    assert _defined(text) == expected


def test_what_a_with_statement_opens_may_be_an_attribute() -> None:
    (value,) = Index([_script("with f() as x.y: pass")]).attributes["y"]
    assert ast.unparse(value) == "f()"


@pytest.mark.parametrize(
    "statement",
    [
        "x = f()", "x: float = f()", "x, y = f()", "(x := f())", "x += f()", "for x in f(): pass",
        "with f() as x: pass", "with f(), g() as (y, x): pass",
    ],
)  # fmt: skip
def test_a_name_that_gets_another_value_is_no_constant(statement: str) -> None:
    program = Program([_script(f"x = 1.0\n{statement}\nx")])
    last = program.scripts[0].tree.body[-1]
    assert isinstance(last, ast.Expr)
    assert Evaluator(program).number(last.value, Frame(program.scope(last))) is None


def test_a_with_statement_that_names_nothing_changes_no_constant() -> None:
    program = Program([_script("x = 1.0\nwith f(x): pass\nx")])
    last = program.scripts[0].tree.body[-1]
    assert isinstance(last, ast.Expr)
    assert Evaluator(program).number(last.value, Frame(program.scope(last))) == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("self.a, self.b = f(), g()", {"a": ["f()"], "b": ["g()"]}),
        ("self.a, self.b = f()", {}),  # which of it, nothing says
        ("self.a, (self.b, self.c) = f(), (g(), h())", {"a": ["f()"]}),
        ("self.a = self.b = f()", {"a": ["f()"], "b": ["f()"]}),
    ],
)
def test_attributes_that_are_set_together_get_each_its_own(text: str, expected: dict[str, list[str]]) -> None:
    found = Index([_script(text)]).attributes
    assert {name: [ast.unparse(each) for each in values] for name, values in found.items()} == expected
