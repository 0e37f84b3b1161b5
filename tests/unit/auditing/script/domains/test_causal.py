"""Whether a network predicts each token from those before it, by how its attention is written."""

from __future__ import annotations

import ast

import pytest

from bpb_harness.auditing.script.context import ScriptContext
from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.domains.causal import is_causal
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script


@pytest.mark.parametrize("beside", ["", "# \u00e9t\u00e9\n"])
@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ("attend(q, k, v, is_causal=True)", True),
        ("Attention(d, causal = True)", True),
        ("attend(q, k, v, IS_CAUSAL =\n TRUE)", True),
        ("mask = torch.tril(torch.ones(t, t))", True),
        ("mask = np.triu_indices(t)", True),
        ("attend(q, k, v, is_causal=False)", False),
        ("attend(q, k, v, noncausal=True)", False),
        ("attend(q, k, v, was_is_causal=True)", False),
        ("attend(q, k, v, not_causal=True)", False),
        ("matril(x)", False),
        ("tril = 1", False),
    ],
)
def test_attention_is_causal_by_its_argument_or_by_a_triangle(text: str, is_told: bool, beside: str) -> None:
    program = Program([Script("s.py", beside + text, ast.parse(beside + text))])
    assert is_causal(Analysis(program, ScriptContext())) is is_told
