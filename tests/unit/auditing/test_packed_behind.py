"""BPB425, the remark: a score in front of all that its log tells of a packed network, which scores another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from bpb_harness.findings import Finding

SCORE = "final_sliding val_loss:2.03186 val_bpb:1.2034\n"
PACKED = "Serialized model int8+zlib: 15990000 bytes\n"
AGAIN = "final_int8_zlib_roundtrip_exact val_loss:2.2205 val_bpb:1.31510076\n"


def _found(folder: Path, log: str) -> list[Finding]:
    (folder / "train.log").write_text(f"step:9 train_loss:2.9\n{log}")
    (folder / "submission.json").write_text(json.dumps({"val_bpb": 1.2034}))
    return audit(folder).with_code("BPB425")


def test_a_score_before_the_packing_beside_one_behind_it(tmp_path: Path) -> None:
    (found,) = _found(tmp_path, f"{SCORE}{PACKED}{AGAIN}")
    assert found.severity == "info"
    assert found.message == (
        "the score is that of 'final_sliding' at train.log:2, which stands before all that the log tells of a packed "
        "network (train.log:3); behind that it prints 1.31510076 of 'final_int8_zlib_roundtrip_exact' (train.log:4)"
    )


@pytest.mark.parametrize(
    "log",
    [
        f"{PACKED}{SCORE}{AGAIN}",
        f"{SCORE}{PACKED}",
        f"{SCORE}{AGAIN}",
        f"{SCORE}{PACKED}{AGAIN.replace('1.31510076', '1.22510076')}",  # as the same network may, scored in another way
        f"{SCORE.replace('sliding', 'int8_sliding')}{PACKED}{AGAIN}",
    ],
)
def test_what_may_be_the_packed_networks_score(tmp_path: Path, log: str) -> None:
    assert _found(tmp_path, log) == []
