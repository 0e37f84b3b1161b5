"""Lines that a script prints, wherever its functions stand."""

from __future__ import annotations

import ast

import pytest

from bpb_harness.auditing.script.domains.printed_lines import printed_lines

FUNCTION = "def f{n}():\n    print(f'line {n}: {{x:.4f}}')\n"


def _function(n: int, indent: int) -> str:
    return "".join(" " * indent + line + "\n" for line in FUNCTION.format(n=n).splitlines())


SCRIPT = (
    f"class A:\n{_function(0, 4)}    class B:\n{_function(1, 8)}"
    f"if x:\n{_function(2, 4)}elif y:\n{_function(3, 4)}else:\n{_function(4, 4)}"
    f"try:\n{_function(5, 4)}except E:\n{_function(6, 4)}else:\n    if x:\n{_function(7, 8)}finally:\n{_function(8, 4)}"
    f"for i in y:\n{_function(9, 4)}else:\n{_function(10, 4)}while x:\n{_function(11, 4)}"
    f"with x as y:\n{_function(12, 4)}match x:\n    case 1:\n{_function(13, 8)}    case _:\n{_function(14, 8)}"
    f"def g():\n    if x:\n{_function(15, 8)}    async def h():\n{_function(16, 8)}{_function(17, 0)}"
)


def test_functions_are_met_wherever_they_stand_and_outside_in() -> None:
    tree = ast.parse(SCRIPT)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(tree) if isinstance(node, kinds) and node.name.startswith("f")]
    lines = printed_lines(tree)
    assert [line.line for line in lines] == [function.lineno + 1 for function in functions]
    assert len(lines) == 18


TIMED = (
    "def saved():\n    t = time.time()\n    print(f'saved in: {time.time() - t:.1f}s')\n"
    "def main():\n    t = time.time()\n    saved()\n    for step in range(9):\n        if step % 3 == 0:\n"
    "            print(f'step: {step} loss: {loss:.4f}')\n    print(f'took all: {time.time() - t:.1f}s')\n"
)


@pytest.mark.parametrize(
    ("logs", "heads"),
    [
        (None, ["saved in:", "step:", "took all:"]),
        (["step: 0 loss: 1.0000\n", "it took all: 2.0s"], ["step:", "took all:"]),
        (["took all : 2.0s\nSTEP: 0"], []),
        ([], []),
    ],
)
def test_of_logs_the_same_lines_are_asked_for_that_begin_as_something_in_them(
    logs: list[str] | None, heads: list[str]
) -> None:
    tree = ast.parse(TIMED)
    every = {line.head: line for line in printed_lines(tree)}
    lines = printed_lines(tree, logs)
    assert [line.head for line in lines] == heads
    assert lines == [every[head] for head in heads]
    assert all(line.encloses for line in lines if line.head == "took all:")
