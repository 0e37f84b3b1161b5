"""A constant in place of bytes per token, where nothing but the size of a vocabulary suggests the tokenizer."""

from __future__ import annotations

import pytest

from bpb_harness.findings import Severity
from fixtures.claims.build import HERE
from tests.golf_rules import check_source

SCRIPT = (HERE.parent / "scripts" / "wrong_constant_divides_bits.py").read_text(encoding="utf-8")
RATIO = 2.43593  # of a known tokenizer with 1,024 pieces


@pytest.mark.parametrize(
    ("constant", "severity"),
    [(2.2, Severity.WARNS), (2.75, Severity.WARNS), (2.85, Severity.REFUTES), (4.3, Severity.REFUTES)],
)
def test_no_score_is_corrected_by_a_tokenizer_that_is_inferred(constant: float, severity: Severity) -> None:
    """Another one of as many pieces has another ratio; but none a seventh above that of a known one."""
    assert (constant / RATIO > 1.15) == (severity is Severity.REFUTES)
    script = SCRIPT.replace("bits_tok / 3.67", f"bits_tok / {constant}")
    (found,) = [each for each in check_source(script) if each.code == "BPB150"]
    assert (found.severity, found.factor) == (severity, None)
    assert "inferred from the vocabulary alone" in found.message


def test_one_that_the_script_names_gives_the_factor() -> None:
    named = SCRIPT.replace("L = 512", 'L = 512\nDATA = "fineweb10B_sp1024"')
    (found,) = [each for each in check_source(named) if each.code == "BPB150"]
    assert found.severity is Severity.REFUTES
    assert found.factor == pytest.approx(3.67 / RATIO, rel=1e-4)


@pytest.mark.parametrize(("constant", "effect"), [(4.87186, "50.0 % too low"), (1.949, "25.0 % too high")])
def test_how_far_off_the_score_is_by_it(constant: float, effect: str) -> None:
    """Twice the bytes per token are half the score."""
    named = SCRIPT.replace("L = 512", 'L = 512\nDATA = "fineweb10B_sp1024"')
    script = named.replace("bits_tok / 3.67", f"bits_tok / {constant}")
    (found,) = [each for each in check_source(script) if each.code == "BPB150"]
    assert f"by that alone the score is {effect} (" in found.message
