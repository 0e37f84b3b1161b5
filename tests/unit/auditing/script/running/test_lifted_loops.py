"""Evaluation loops of a main as functions: what is lifted, with which parameters, and what stays."""

from __future__ import annotations

import ast

import pytest

from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.frontend.trees import parse
from bpb_harness.auditing.script.running.lifted_loops import lift_loops

TEXT = """import math
import torch
import torch.nn.functional as F
SEQ = 128


def bits(model, x):
    return F.cross_entropy(model(x[:-1]), x[1:], reduction="sum") / math.log(2)


def main():
    val = torch.load("val.pt")
    model = build()
    for step in range(100):
        loss = F.cross_entropy(model(val[:8]), val[1:9])
        loss.backward()
    {before}
    total, count = 0.0, 0
    n = len(val) // SEQ
    with torch.no_grad():
        for i in range({rounds}):
            x = val[i * SEQ : (i + 1) * SEQ]
            {price}
            count += len(x) - 1
            if i % 10 == 0:
                print(f"at {{i}}: bpb {{total / count:.3f}}")
    {behind}
    print(f"val_bpb: {{{printed}}}")


if __name__ == "__main__":
    main()
"""
PARTS = {
    "before": "shift = 1.0", "rounds": "n", "price": "total += bits(model, x) * shift", "behind": "bpb = total / count",
    "printed": "bpb",
}  # fmt: skip


def _lifted(**changes: str) -> tuple[list[str], ast.Module]:
    tree = parse(TEXT.format(**{**PARTS, **changes}))
    assert tree is not None
    names = lift_loops([Script("evaluate.py", "", tree)])
    return names, tree


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    (found,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return found


def _parameters(function: ast.FunctionDef) -> set[str]:
    return {argument.arg for argument in function.args.args}


def test_the_loop_becomes_a_function_of_what_it_reads() -> None:
    (name,), tree = _lifted()
    function = _function(tree, name)
    assert name == "evaluation_in_main_at_line_20"  # where the block of the loop begins
    assert _parameters(function) == {"val", "model"}
    source = ast.unparse(function)
    assert source.endswith("return bpb")
    assert "total, count = (0.0, 0)" in source
    assert "shift = 1.0" in source
    assert "print" not in source
    (call,) = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]
    assert ast.unparse(call) == f"{name}(val=val, model=model)"
    assert tree.body.index(function) < len(tree.body) - 1  # before main is started
    compile(tree, "evaluate.py", "exec")


def test_what_is_printed_may_be_an_expression() -> None:
    (name,), tree = _lifted(behind="pass", printed="total / count / 4.3")
    assert ast.unparse(_function(tree, name)).endswith("return total / count / 4.3")


def test_a_function_inside_main_goes_along() -> None:
    (name,), tree = _lifted(before="def price(x): return bits(model, x)", price="total += price(x)")
    function = _function(tree, name)
    assert "def price(x):" in ast.unparse(function)
    assert _parameters(function) == {"val", "model"}


def test_what_is_read_from_a_file_stays_outside() -> None:
    (name,), tree = _lifted(before="rate = torch.load('rate.pt')", price="total += bits(model, x) * rate")
    assert _parameters(_function(tree, name)) == {"val", "model", "rate"}


@pytest.mark.parametrize(
    "changes",
    [
        {"price": "loss = bits(model, x); loss.backward(); total += loss.item()"},  # it learns as it scores
        {"price": "total += len(x)"},  # it asks no network
        {"behind": "torch.save(model, 'm.pt'); bpb = total / count"},  # and a file is written before it is printed
        {"behind": "bpb = read_result()"},  # what is printed is not what the loop adds up
    ],
)
def test_other_loops_stay(changes: dict[str, str]) -> None:
    names, tree = _lifted(**changes)
    assert names == []
    assert not any(isinstance(node, ast.FunctionDef) and node.name.startswith("evaluation") for node in tree.body)


def test_a_loop_of_the_module_reads_its_names() -> None:
    text = TEXT.format(**PARTS)
    head, main = text.split("def main():\n")
    body = "\n".join(line[4:] for line in main.split("\n\n\nif")[0].split("\n"))
    tree = parse(head + body + "\n")
    assert tree is not None
    (name,) = lift_loops([Script("evaluate.py", "", tree)], (), {"val", "model"}.__contains__)
    assert name.startswith("evaluation_in_the_module_at_line_")
    assert _parameters(_function(tree, name)) == {"val", "model"}


def test_the_loop_of_a_function_that_can_be_called_stays() -> None:
    tree = parse(TEXT.format(**PARTS))
    assert tree is not None
    assert lift_loops([Script("evaluate.py", "", tree)], ["main"]) == []


def test_two_scores_of_one_loop_are_one_function() -> None:
    (name,), tree = _lifted(behind='bpb = total / count; print(f"early val_bpb: {bpb:.2f}"); bpb = bpb + 0.0')
    assert ast.unparse(_function(tree, name)).endswith("return bpb")
    (name,), tree = _lifted(behind='print(f"early val_bpb: {total / count / 2:.2f}"); bpb = total / count')
    assert ast.unparse(_function(tree, name)).endswith("return (total / count / 2, bpb)")
