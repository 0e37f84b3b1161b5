"""Whatever a script holds, the checks return findings; and names do not matter."""

from __future__ import annotations

import ast
import builtins
import json
import keyword
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpb_harness.auditing.script import extract_embedded
from bpb_harness.auditing.script.frontend.source import decode_text
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import check_source
from tests.tiers import some_of, times

SCRIPTS = Path(__file__).resolve().parents[2] / "fixtures" / "scripts"
EXPECTED: dict[str, dict[str, list[str]]] = json.loads((SCRIPTS / "expected.json").read_text("utf-8"))
TEXTS = {name: (SCRIPTS / name).read_text("utf-8") for name in EXPECTED if "packed" not in name}
QUIET = settings(
    max_examples=times(6, thorough=60), deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def _sound(findings: list[Finding]) -> None:
    assert all(isinstance(found, Finding) for found in findings)
    assert not [found.message for found in findings if "could not be carried out" in found.message]
    json.dumps([found.to_dict() for found in findings])


@QUIET
@given(st.text(max_size=400))
def test_arbitrary_text(text: str) -> None:
    _sound(check_source(text))
    decode_text(text)
    extract_embedded(text)


_WORDS = ["val_bpb", "torch", "rand", "where", "cross_entropy", "sum", "mean", "x", "t", "mask", "id_to_piece", "range"]
_EXPRESSIONS = st.recursive(
    st.sampled_from(_WORDS) | st.integers(-3, 5).map(str) | st.just("'\u2581'") | st.floats(0, 9).map(repr),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/%&|<@"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(st.sampled_from(_WORDS), st.lists(inner, max_size=3)).map(lambda p: f"{p[0]}({', '.join(p[1])})"),
        st.tuples(inner, st.sampled_from(_WORDS)).map(lambda p: f"({p[0]}).{p[1]}()"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]})[{p[1]}]"),
        inner.map(lambda p: f"[{p} for x in {p}]"),
        inner.map(lambda p: f"(lambda t: {p})(x)"),
    ),
    max_leaves=12,
)
_STATEMENTS = st.recursive(
    st.one_of(
        st.tuples(st.sampled_from(_WORDS), st.sampled_from(["=", "+=", "/=", "*="]), _EXPRESSIONS).map(" ".join),
        _EXPRESSIONS.map(lambda e: f"print(f'val_bpb: {{{e}}}')".replace("'\u2581'", "x")),
        _EXPRESSIONS.map(lambda e: f"x[{e}] = {e}"),
        _EXPRESSIONS,
    ),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(_WORDS), _EXPRESSIONS, inner).map(
            lambda p: f"for {p[0]} in {p[1]}:\n    " + p[2].replace("\n", "\n    ")
        ),
        st.tuples(_EXPRESSIONS, inner, inner).map(
            lambda p: (
                f"if {p[0]}:\n    " + p[1].replace("\n", "\n    ") + "\nelse:\n    " + p[2].replace("\n", "\n    ")
            )
        ),
        st.tuples(st.sampled_from(_WORDS), inner, _EXPRESSIONS).map(
            lambda p: f"def {p[0]}(x, t=1):\n    " + p[1].replace("\n", "\n    ") + f"\n    return {p[2]}"
        ),
    ),
    max_leaves=4,
)


@QUIET
@given(st.lists(_STATEMENTS, min_size=1, max_size=6))
def test_arbitrary_programs(statements: list[str]) -> None:
    """Names that define themselves, functions that call themselves, scores made of anything."""
    _sound(check_source("\n".join(statements)))


@QUIET
@given(st.sampled_from(sorted(TEXTS)), st.data())
def test_mutated_scripts(name: str, data: st.DataObject) -> None:
    lines = TEXTS[name].split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["drop", "double", "swap", "cut", "splice"]))
        if kind == "drop":
            del lines[at]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == "cut":
            lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
        else:
            lines[at] += data.draw(st.text(max_size=8))
        lines = lines or [""]
    text = "\n".join(lines)
    _sound(check_source(text))
    extract_embedded(text)


@QUIET
@given(st.sampled_from(sorted(TEXTS)), st.data())
def test_broken_expressions(name: str, data: st.DataObject) -> None:
    """Expressions put in the place of others: programs that parse and mean nothing."""
    tree = ast.parse(TEXTS[name])
    spots = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp | ast.Call | ast.Compare)]
    for _ in range(data.draw(st.integers(1, 3))):
        here, there = (data.draw(st.sampled_from(spots)) for _ in range(2))
        if isinstance(here, ast.BinOp):
            here.left = ast.parse(ast.unparse(there), mode="eval").body
        elif isinstance(here, ast.Call) and here.args:
            here.args[0] = ast.parse(ast.unparse(there), mode="eval").body
    _sound(check_source(ast.unparse(ast.fix_missing_locations(tree))))


class _Renamer(ast.NodeTransformer):
    """Gives every variable, parameter and function of a script a new name."""

    def __init__(self, tree: ast.Module) -> None:
        own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)} - {"self"}
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        own |= {node.name for node in functions if not isinstance(parents[node], ast.ClassDef)}
        fields = {
            n.target.id for n in ast.walk(tree) if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
        }
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        fields |= {
            target.id
            for node in classes
            for statement in node.body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        own -= fields | attributes | set(dir(builtins)) | set(keyword.kwlist)
        self.names = {name: f"v{number}" for number, name in enumerate(sorted(own))}

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.arg = self.names.get(node.arg, node.arg)
        node.annotation = None
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.keyword:
        self.generic_visit(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.name = self.names.get(node.name, node.name)
        self.generic_visit(node)
        return node


RENAMED = [
    "wrong_constant_tokens_times.py", "wrong_constant_named.py", "wrong_constant_reciprocal.py", "wrong_elbo_script.py",
    "wrong_space_twice_table.py", "wrong_space_twice_list.py", "wrong_space_twice_spelling.py",
    "wrong_marker_question_mark.py", "wrong_space_never.py", "wrong_weight_dsigma.py", "wrong_weight_one_minus_t.py",
    "wrong_weight_twice.py", "wrong_weight_twice_discrete.py", "wrong_weight_and_count.py", "wrong_rates_cut.py",
    "wrong_single_rate.py", "wrong_two_passes.py", "wrong_last_step_dropped.py", "wrong_cleaner_end.py",
    "wrong_other_schedule.py", "honest_discrete.py", "honest_continuous.py", "honest_ar_tables.py",
    "honest_any_order.py", "honest_decoded_text.py", "honest_training_weights.py",
]  # fmt: skip


@pytest.mark.parametrize("name", some_of(RENAMED[::2] + RENAMED[1::2], everyday=13))
def test_names_do_not_matter(name: str) -> None:
    tree = ast.parse(TEXTS[name])
    renamer = _Renamer(tree)
    assert len(renamer.names) > 5
    text = ast.unparse(ast.fix_missing_locations(renamer.visit(tree)))
    refuting = {found.code for found in check_source(text) if found.severity is Severity.REFUTES}
    assert refuting == set(EXPECTED[name]["refutes"])  # as of the script itself: test_audit_script_fixtures
