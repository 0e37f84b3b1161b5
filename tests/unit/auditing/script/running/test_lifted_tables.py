"""Loops of main that fill byte tables become functions; what else stands in main stays where it is."""

from __future__ import annotations

import ast

import pytest

from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.running.lifted_tables import lift_tables

MAIN = """import torch
SIZE = 1024
def main():
    sp = load_tokenizer()
    args = Settings()
    table = torch.zeros(args.size)
    marks = []
    for i in range(args.size):
        table[i] = len(sp.id_to_piece(i))
        marks.append(sp.is_control(i))
    table = table.to(args.device)
    model = Net(SIZE)
    print(score(model, table, marks))
"""


def _lifted(text: str) -> str:
    script = Script("train.py", text, ast.parse(text))
    lift_tables([script])
    return ast.unparse(script.tree)


def test_the_statements_from_the_tables_to_the_loop_become_a_function() -> None:
    text = _lifted(MAIN)
    assert "def table_in_main_at_line_8(args, sp):" in text
    assert "return (table, marks)" in text
    assert "table, marks = table_in_main_at_line_8(args, sp)\n    table = table.to(args.device)" in text
    assert text.count("id_to_piece") == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("len(sp.id_to_piece(i))", "i"),  # looks at no piece
        ("    marks = []\n", ""),  # made somewhere else
        ("    marks = []\n", "    marks = []\n    loss.backward()\n"),  # learns on the way
        ("    marks = []\n", "    marks = []\n    import torch\n"),
    ],
)
def test_what_is_no_table_of_its_own_stays(old: str, new: str) -> None:
    changed = MAIN.replace(old, new)
    assert changed != MAIN
    assert "table_in_" not in _lifted(changed)


def test_a_loop_of_a_function_that_is_called_is_lifted_out_of_it_too() -> None:
    text = MAIN.replace("def main():", "def build(sp):").replace("    sp = load_tokenizer()\n", "")
    assert "def table_in_build_at_line_7(args, sp):" in _lifted(text)
