"""Which statements give a name its value: one that is overlooked leaves an older value standing."""

from __future__ import annotations

import ast
import inspect

import pytest

from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.index import Index, names_within, nodes_within
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
        ("self.a, self.b = f()", {"a": ["f()[0]"], "b": ["f()[1]"]}),
        ("self.a, self.b = c", {}),  # which of it, nothing says
        ("self.a, (self.b, self.c) = f(), (g(), h())", {"a": ["f()"]}),
        ("self.a = self.b = f()", {"a": ["f()"], "b": ["f()"]}),
    ],
)
def test_attributes_that_are_set_together_get_each_its_own(text: str, expected: dict[str, list[str]]) -> None:
    found = Index([_script(text)]).attributes
    assert {name: [ast.unparse(each) for each in values] for name, values in found.items()} == expected


EVERY_KIND = """
import a, b as c
from d import e as f
@g(1)
async def h(i: int, /, j, *k, l=2, **m) -> n:
    global o
    async with p as q, r: await s
    async for t in u: yield v
    else: pass
    return [w async for w in x if y]
class A(B, metaclass=C):
    D: int = 3
    def E(self): nonlocal F; yield from G
for H, (I, *J) in K: continue
while not L: break
else: M += 1
if N: del O, P[0]
elif Q: raise R from S
with T() as U: assert V, W
try: X
except (Y, Z) as aa: ...
try: pass
except* cc: pass
else: dd
finally: ee
match ff:
    case {"gg": 1, **hh} if ii: jj
    case [kk, *ll] | mm(nn, oo=2): pp
    case None | _: qq
rr = lambda ss, tt=1: {uu: vv, **ww}, {xx, yy}, zz[1:2:3, ...], -1 ** +2 // ~3 @ 4
ab = (ac := ad if ae else af) and ag or ah < ai is not aj not in ak
al = f"{am!r:>{an}} ao" "ap"; {ar: as_ for ar, as_ in at if au}; (av for av in aw); {ax for ax in ay}
"""


@pytest.mark.parametrize("text", [EVERY_KIND, inspect.getsource(ast)])
def test_the_nodes_within_are_those_of_a_walk(text: str) -> None:
    left_out = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)
    tree = ast.parse(text)
    assert nodes_within(tree) == [node for node in ast.walk(tree) if not isinstance(node, left_out)]


@pytest.mark.parametrize("text", [EVERY_KIND, inspect.getsource(ast)])
def test_names_and_attributes_within_are_those_of_a_walk_in_its_order(text: str) -> None:
    tree = ast.parse(text)
    names, attributes = names_within(tree)
    walked = [*ast.walk(tree)]
    for name in {node.id for node in walked if isinstance(node, ast.Name)} | {*names}:
        assert names[name] == [node for node in walked if isinstance(node, ast.Name) and node.id == name]
    for name in {node.attr for node in walked if isinstance(node, ast.Attribute)} | {*attributes}:
        assert attributes[name] == [node for node in walked if isinstance(node, ast.Attribute) and node.attr == name]


def test_names_and_attributes_of_several_scripts_are_met_in_the_order_of_these() -> None:
    scripts = [_script(text) for text in ("x.y = a\n", "z.y = x\n", "def f(): return x.y\n")]
    program = Program(scripts)
    assert [program.scope(node).file for node in program.names("x")] == [0, 1, 2]
    assert [program.scope(node).file for node in program.attributes_named("y")] == [0, 1, 2]
    assert not [*program.names("y"), *program.attributes_named("x")]


def test_every_node_has_the_one_above_it_for_its_parent() -> None:
    script = _script(EVERY_KIND)
    parents = Index([script]).parents
    nodes = {*nodes_within(script.tree)}
    for node in nodes:
        assert all(parents[child] is node for child in ast.iter_child_nodes(node) if child in nodes)
