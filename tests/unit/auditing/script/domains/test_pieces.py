"""What byte-counting code is read to count for single tokens."""

from __future__ import annotations

import ast

import pytest

from bpb_harness.auditing.script.domains.pieces import WORD, find_byte_loops
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script

COUNTS = """import sentencepiece as spm
def n_bytes(sp, tok, prev):
    piece = sp.id_to_piece(tok)
    if {test}:
        return len(piece[1:].encode()) + 1
    return len(piece.encode())
"""


@pytest.mark.parametrize(
    "test",
    ["piece[0] == '\u2581'", "piece[0] is '\u2581'", "not piece[0] != '\u2581'", "not piece[0] is not '\u2581'",
     "piece[:1] in ('\u2581', ' ')", "0 < len(piece) <= 4 and piece[0] == '\u2581'"],
)  # fmt: skip
def test_the_marker_is_recognised_however_it_is_compared(test: str) -> None:
    text = COUNTS.format(test=test)
    (loop,) = find_byte_loops(Program([Script("train.py", text, ast.parse(text))]))
    assert loop.outcomes[WORD.name].writes["<return>"] == 4
