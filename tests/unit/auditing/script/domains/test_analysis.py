"""What the checks share of a program's scores."""

from __future__ import annotations

import ast

from bpb_harness.auditing.script.context import ScriptContext
from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script

SCORE = """
import torch.nn.functional as F
logits = model(x)
loss = F.cross_entropy(logits, y)
print(f"val_bpb: {loss / 0.6931 / 2.5}")
"""


def test_what_a_score_is_computed_from_is_paid_for_each_time() -> None:
    analysis = Analysis(Program([Script("train.py", SCORE, ast.parse(SCORE))]), ScriptContext())
    (score,) = [score for _, _, score in analysis.scores()]
    left = [analysis.program.work_left]
    first = analysis.behind(score)
    left.append(analysis.program.work_left)
    assert analysis.behind(score) is first
    left.append(analysis.program.work_left)
    assert left[0] - left[1] == left[1] - left[2] == len(first) > 3
    analysis.program.work_left = 1
    assert analysis.behind(score) == []
