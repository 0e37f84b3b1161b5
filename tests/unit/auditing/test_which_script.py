"""Remarks on the one of several scripts that wrote the claim's logs."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb

NATS = 2.0312
SCORE = f"legal_exact val_loss:{NATS} val_bpb:{bpb(NATS, SP1024):.8f}\n"
TABLE = """
def build_luts(sp, size):
    table = [0] * size
    for piece_id in range(size):
        if sp.is_byte(piece_id):
            table[piece_id] = 1
    return table

def main(log, loss, score, ms):
    log(f"step:{1} train_loss:{loss} train_time:{ms}ms")
    log(f"step:{1} val_loss:{loss} val_bpb:{score} train_time:{ms}ms")
    log(f"peak memory allocated: {ms} MiB")
    log(f"Code size: {ms} bytes")
    log(f"final_exact val_loss:{loss} val_bpb:{score}")
"""
SCORES = """
import sys
exec(sys.stdin.read())
def main(log, loss, score):
    log(f"legal_exact val_loss:{loss} val_bpb:{score}")
"""


def _report(folder: Path, log: str = SCORE, **scripts: str) -> AuditReport:
    (folder / "submission.json").write_text(json.dumps({"val_bpb": round(bpb(NATS, SP1024), 8)}))
    (folder / "train.log").write_text(log)
    for name, text in scripts.items():
        (folder / f"{name}.py").write_text(text)
    return audit(folder)


def _remarked(report: AuditReport) -> set[str]:
    """The scripts that remarks speak of."""
    told = " ".join(each.message for each in report.findings if each.code in ("BPB162", "BPB950", "BPB951"))
    return {name for name in ("eval_it.py", "train_gpt.py") if name in told}


def _packed(text: str) -> str:
    payload = base64.b85encode(zlib.compress(text.encode())).decode()
    return f"import base64, zlib\nexec(zlib.decompress(base64.b85decode({payload!r})).decode())\n"


@pytest.mark.parametrize(
    ("log", "scores", "trains", "remarked"),
    [
        (SCORE, SCORES, _packed(TABLE), {"eval_it.py"}),  # which alone can print the line
        (SCORE, SCORES + "# of train_gpt\n", _packed(TABLE), {"eval_it.py", "train_gpt.py"}),
        (SCORE, SCORES + "from train_gpt import main\n", _packed(TABLE), {"eval_it.py", "train_gpt.py"}),
        (SCORE, SCORES + "P = 'records/a/train_gpt.py'\n", _packed(TABLE), {"eval_it.py"}),  # another one
        (SCORE, SCORES, _packed(TABLE.replace("final_exact", "legal_exact")), {"eval_it.py", "train_gpt.py"}),
        (SCORE, SCORES, _packed(TABLE + "NAMES = ['legal']\nprint(f'{1} val_loss:{2} val_bpb:{3}')\n"),
         {"eval_it.py", "train_gpt.py"}),
        (f"Code size: {len(SCORES)} bytes\n{SCORE}", SCORES, _packed(TABLE.replace("final_exact", "legal_exact")),
         {"eval_it.py"}),
        (f"Code size: {len(_packed(TABLE))} bytes\n{SCORE}", SCORES, _packed(TABLE),
         {"eval_it.py", "train_gpt.py"}),  # of that script, but the line is not
        (f"Code size: 77 bytes\n{SCORE}", SCORES, _packed(TABLE), {"eval_it.py", "train_gpt.py"}),
    ],
    ids=["line", "named", "imported", "a path", "both print", "may print", "size", "size of another", "no size"],
)  # fmt: skip
def test_remarks_are_on_the_script_that_wrote_the_log(
    tmp_path: Path, log: str, scores: str, trains: str, remarked: set[str]
) -> None:
    assert _remarked(_report(tmp_path, log, eval_it=scores, train_gpt=trains)) == remarked


def test_what_stands_against_a_score_stays_whoever_wrote_the_log(tmp_path: Path) -> None:
    both = _report(tmp_path, SCORE, eval_it=SCORES + "# of train_gpt\n", train_gpt=_packed(TABLE))
    alone = _report(tmp_path, SCORE, eval_it=SCORES, train_gpt=_packed(TABLE))
    stands = [[each.code for each in report.findings if each.severity.value != "info"] for report in (both, alone)]
    assert stands[0] == stands[1]
