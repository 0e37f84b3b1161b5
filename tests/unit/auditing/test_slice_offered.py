"""A part of the text is offered as what explains a ratio only where some part has one so far off."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from tests.golf_rules import GOLF

WHOLE = GOLF.table.full_split("sp1024")


@pytest.mark.parametrize(("off", "is_offered"), [(0.6, False), (0.84, False), (0.88, True), (0.95, True), (1.3, False)])
def test_where_no_part_is_so_far_off_none_is_offered(tmp_path: Path, off: float, is_offered: bool) -> None:
    assert WHOLE is not None
    loss = 1.21 * WHOLE.bytes_per_token * off * math.log(2.0)
    record = {"val_bpb": 1.21, "val_loss": round(loss, 8), "tokenizer": "sp1024"}
    (tmp_path / "submission.json").write_text(json.dumps(record).replace("1.21", "1.21000000"))
    report = audit(tmp_path)
    (found,) = report.with_code("BPB104")
    assert ("part of the split" in found.message) is is_offered
    assert "slice" not in report.to_text()
