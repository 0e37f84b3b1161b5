"""The numbers that the README shows are those that its command prints.

The program that made them is the command itself:
``bpb-eval fixtures/checkpoints/mdlm-tiny.pt --method discrete --compare``.
"""

import json
import re

import pytest

from tests.golden.demo import STORED, numbers
from tests.tiers import some_of


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, " ".join(text.split()))
    assert found, pattern
    return float(found[1].replace(",", ""))


WAYS = [pytest.param(False, id="as stored"), pytest.param(True, id="as computed")]


@pytest.mark.parametrize("computed", some_of(WAYS, everyday=1))
def test_the_demo_prints_what_the_readme_shows(repository, computed):
    """Every day against what the program that stands beside it has stored; the code behind it by test_scores."""
    shown = (repository / "README.md").read_text(encoding="utf-8")
    printed = numbers() if computed else json.loads(STORED.read_text(encoding="utf-8"))
    assert len(printed) == 16
    # Rounding differs between processors and versions of torch, in the fifth digit at most.
    for pattern, value in printed.items():
        assert number(pattern, shown) == pytest.approx(value, abs=2e-4), pattern
