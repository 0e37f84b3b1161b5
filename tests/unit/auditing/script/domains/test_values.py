"""What an expression stands for: worked out once, and told to all who ask as if it had been worked out for them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

import fixtures.scripts
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.answers import ASKER, Answers
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.frontend.walker import Frame

SCRIPTS = sorted(Path(next(iter(fixtures.scripts.__path__))).glob("honest_*.py"))


class Forgetful(Evaluator):
    """Works everything out again."""

    remembers = False

    def _elsewhere(self, moved: Mapping[int, float] | None = None) -> Evaluator:
        return Forgetful(self.program, {**self.point, **(moved or {})}, self.depth)


def _program(text: str, settings: Mapping[str, str] | None = None) -> Program:
    return Program([Script("train.py", text, ast.parse(text))], settings)


def _last(program: Program) -> tuple[ast.expr, Frame]:
    statement = program.scripts[0].tree.body[-1]
    assert isinstance(statement, ast.Expr)
    return statement.value, Frame.at(program, statement.value)


def _met(
    program: Program, kind: type[Evaluator], node: ast.expr, point: dict[int, float], places: Mapping[int, int]
) -> object:
    """What an evaluation gives, and the leaves and comparisons that it meets."""
    evaluator = kind(program, point)
    value = evaluator.number(node, Frame.at(program, node))
    leaves = {places.get(key): (leaf.kind, leaf.length, leaf.high) for key, leaf in evaluator.leaves.items()}
    return value, leaves, evaluator.compared


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_memory_changes_no_value_of_a_script(path: Path) -> None:
    """Asked in any order, at no point and at several, with what was worked out for others at hand."""
    text = path.read_text(encoding="utf-8")
    program, other = _program(text), _program(text)
    asked = [node for node in ast.walk(program.scripts[0].tree) if isinstance(node, ast.expr)]
    twins = [node for node in ast.walk(other.scripts[0].tree) if isinstance(node, ast.expr)]
    places = [{id(node): n for n, node in enumerate(nodes)} for nodes in (asked, twins)]
    for share in (None, 0.25):
        points = [
            {id(node): share for node in nodes if share is not None and isinstance(node, ast.Call)}
            for nodes in (asked, twins)
        ]
        for number in range(0, len(asked), 1 if share is None else 3):
            found = _met(program, Evaluator, asked[number], points[0], places[0])
            plain = _met(other, Forgetful, twins[number], points[1], places[1])
            assert found == plain, ast.unparse(asked[number])


def test_a_value_that_many_names_share_is_worked_out_once() -> None:
    """Without memory it would be asked for 2^40 times, and the bound on work would end it."""
    names = "x0 = 1\n" + "".join(f"x{i + 1} = x{i} + x{i} if x{i} > 0 else x{i}\n" for i in range(15))
    program = _program(f"{names}x15")
    before = program.work_left
    assert Evaluator(program).number(*_last(program)) == 2.0**15
    assert before - program.work_left < 2_000


def test_what_is_asked_for_on_the_way_to_itself_is_not_known() -> None:
    """It ends at once, and what does not hang on it is known all the same."""
    branches = [f"    if {a} and {b}:\n        {a} = {b}" for a, b in ("xy", "yz", "zx", "xz")]
    text = "\n".join(["x, y, z = True, True, True", "while step():", *branches, "deep = 5 if x else 4", "deep"])
    program = _program(text)
    before = program.work_left
    assert Evaluator(program).number(*_last(program)) == 5.0
    assert before - program.work_left < 2_000


def test_leaves_are_told_again_and_give_the_value_at_each_point() -> None:
    program = _program("t = rand()\nu = 1 - t\nv = u * 2\nv")
    node, frame = _last(program)
    first = Evaluator(program)
    assert first.number(node, frame) == 1.0
    (leaf,) = first.leaves
    for value in (0.25, 0.75):
        at = Evaluator(program, {leaf: value})
        assert at.number(node, frame) == 2.0 * (1.0 - value)
        assert [*at.leaves] == [leaf]
    again = Evaluator(program)
    assert again.visit(node, frame) == 1.0
    assert [*again.leaves] == [leaf]


def test_a_comparison_is_told_again() -> None:
    program = _program("m = 1 < 2\nn = m\nn")
    node, frame = _last(program)
    for _ in range(2):
        evaluator = Evaluator(program)
        assert evaluator.visit(node, frame) is True
        assert evaluator.compared


def test_a_setting_is_noted_by_all_who_ask() -> None:
    """A check may take back what it noted; the next one notes it again."""
    program = _program('size = int(os.environ.get("SIZE", 4))\nsize', {"SIZE": "8"})
    node, frame = _last(program)
    for _ in range(2):
        program.taken = {}
        assert Evaluator(program).visit(node, frame) == 8
        assert program.taken == {"SIZE": "8"}


def test_what_is_cut_off_by_a_bound_is_asked_for_again() -> None:
    program = _program("x = 3\ny = x\ny")
    node, frame = _last(program)
    left, program.work_left = program.work_left, 1
    assert Evaluator(program).number(node, frame) is None
    program.memo.clear()
    program.work_left = left
    assert Evaluator(program).number(node, frame) == 3.0


def test_answers_that_hang_on_an_open_question_are_not_kept() -> None:
    answers: Answers[int] = Answers()
    outer = answers.begin("outer")
    inner = answers.begin("inner")
    assert answers.is_open("outer")
    assert not answers.end("inner", inner)
    alone = answers.begin("alone")
    assert answers.end("alone", alone)
    assert answers.end("outer", outer)  # nothing around it is open: it hangs on itself alone
    last = answers.begin("last")
    answers.hangs_on = ASKER
    assert not answers.end("last", last)


FOUND = """
def first(n):
    for k in range(n):
        if asked(k):
            continue
        return 1
    return 0
def plain(n):
    if n:
        return 2
    return 0
"""


@pytest.mark.parametrize(("asked", "value"), [("first(3)", None), ("plain(3)", 2.0), ("plain(0)", 0.0)])
def test_what_a_loop_may_return_is_not_all_that_a_function_returns(asked: str, value: float | None) -> None:
    program = _program(f"{FOUND}{asked}\n")
    assert Evaluator(program).number(*_last(program)) == value


MAPPED = """
import os
from dataclasses import dataclass


@dataclass
class Config:
    order: int = 2
    mixing: str = "plain"


def config_from(env=None):
    source = env if env is not None else {}
    return Config(order=int(source.get("ORDER", "7")), mixing=source.get("MIXING", "plain"))


def cache_from(env):
    return Cache(config_from(env))


class Cache:
    def __init__(self, config):
        self.config = config

    def asked(self):
        return ASKED


cache_from(dict(os.environ)).asked()
"""


@pytest.mark.parametrize(
    ("asked", "settings", "value"),
    [
        ("self.config.order", {}, 7),  # by the constructor's call, not by the field's default
        ("self.config.order", {"ORDER": "5"}, 5),
        ("1 if self.config.mixing == 'dirichlet' else 0", {}, 0),
        ("1 if self.config.mixing == 'dirichlet' else 0", {"MIXING": "dirichlet"}, 1),
    ],
)
def test_a_setting_that_is_read_through_a_mapping_of_the_environment_is_one(
    asked: str, settings: dict[str, str], value: float
) -> None:
    program = _program(MAPPED.replace("ASKED", asked), settings)
    (returned,) = program.classes["Cache"]["asked"].returns
    assert Evaluator(program).number(returned, Frame.at(program, returned)) == value
    assert program.taken == settings


def test_a_mapping_that_is_none_of_the_environment_holds_no_setting() -> None:
    text = MAPPED.replace("ASKED", "self.config.order").replace("dict(os.environ)", '{"ORDER": "3"}')
    program = _program(text, {"ORDER": "5"})
    (returned,) = program.classes["Cache"]["asked"].returns
    assert Evaluator(program).number(returned, Frame.at(program, returned)) != 5
    assert program.taken == {}


@pytest.mark.parametrize(
    ("calls", "value"),
    [
        ('Sizes(width=int(os.getenv("WIDTH", "4")))', 4), ("Sizes()", 2),
        ('Sizes(width=int(os.getenv("WIDTH", "4"))), Sizes()', None), ('Sizes(depth=os.getenv("DEPTH", 1))', 2),
        ('[Sizes(width=int(os.environ.get("WIDTH", "4"))) for _ in "ab"]', 4), ("print()", 2),
        ("Sizes(width=how_wide)", 2),  # no setting: what a function made, and hands on
    ],
)  # fmt: skip
def test_a_field_has_the_setting_that_its_class_is_made_with(calls: str, value: float | None) -> None:
    text = f"class Sizes:\n    width: int = 2\n    depth: int = 3\n\n\nsizes = {calls}\nsizes.width\n"
    program = _program(text)
    node, frame = _last(program)
    assert Evaluator(program).number(node, frame) == value
