"""What of a script was not followed is said: by a remark, and in the report beside what else is unchecked."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import ScriptContext, check_scripts
from bpb_harness.auditing.script.followed import BYTES, SCORE, TEXT
from fixtures.claims.patterns import submission
from tests.golf_rules import GOLF
from tests.unit.auditing.script.domains.test_byte_counts import EVALUATION, LOOKED_UP, OPENED, TABLES
from tests.unit.auditing.test_checks import audit_of

FOLLOWED = OPENED + TABLES + EVALUATION.replace("COUNTED", LOOKED_UP)
UNKNOWN = """
import math
import torch.nn.functional as F

def evaluate(model, loader, size_of):
    nats, num_bytes = 0.0, 0
    while loader.has_more():
        x, y = loader.next_batch()
        nats += F.cross_entropy(model(x), y, reduction="sum").item()
        num_bytes += size_of(y)
    return nats / math.log(2.0) / num_bytes

print(f"val_bpb:{evaluate(*everything()):.4f}")
"""


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (FOLLOWED, []),
        (UNKNOWN, [TEXT, BYTES]),
        ("import matplotlib.pyplot as plt\nplt.plot([1, 2])\n", [SCORE]),
        ("this is no Python", [SCORE]),
    ],
)
def test_what_was_not_followed_is_named(tmp_path: Path, text: str, parts: list[str]) -> None:
    script = tmp_path / "train_gpt.py"
    script.write_text(text, "utf-8")
    findings = [each for each in check_scripts([script], ScriptContext(rules=GOLF)) if each.code == "BPB954"]
    assert [part for each in findings for part in each.evidence["parts"]] == parts
    report = audit_of(tmp_path, submission__json=submission(val_bpb=1.2, tokenizer="sp1024"), train_gpt__py=text)
    assert [part for part in report.unchecked if part in (TEXT, BYTES, SCORE)] == parts
    assert ("that the script printed the score" in report.unchecked) is (SCORE not in parts)
