"""Tables of scores: what their rows say."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.claim import read_claim
from bpb_harness.claim.score_table import read_score_table
from bpb_harness.errors import ClaimError


@pytest.mark.parametrize(
    ("file", "text", "rows"),
    [
        ("a.csv", "seed,val_loss,val_bpb\n1,2.0312,1.2031\n2,2.04,1.21\n", [(2, 1.2031, 2.0312), (3, 1.21, 2.04)]),
        ("a.tsv", "run\tval bpb\tnote\nx y\t1.2031\tbest so far, bpb\n", [(2, 1.2031, None)]),
        ("a.csv", "lauf;val_loss;val_bpb\na;2,0312;1,2031\n", [(2, 1.2031, 2.0312)]),
        ("a.csv", 'run,bpb\n"two\nlines",1.21\nb,1.22\n', [(3, 1.21, None), (4, 1.22, None)]),
        ("a.jsonl", '{"seed": 1, "val_loss": 2.03, "val_bpb": 1.2031}\n\n{"x": 1}\n', [(1, 1.2031, 2.03)]),
        ("a.csv", "run,val_bpb,val_bpb_std,delta_bpb\na,1.21,0.001,-0.01\n", [(2, 1.21, None)]),
        ("a.csv", "run,loss\na,1.21\n", []),
        ("a.csv", "run,val_bpb\na,\nb,nan\nc,n/a\nd\n", []),
        ("a.csv", "", []),
        ("a.csv", "val_bpb: 1.21\n", []),  # no table at all
        ("a.csv", "a,val_bpb\n" + "x" * 200_000 + ",1.21\n", []),  # no csv file that is read
    ],
)
def test_rows_with_scores(file: str, text: str, rows: list[tuple[int, float, float | None]]) -> None:
    read = read_score_table(text, file)
    seen = [(s.bpb.source.line, s.bpb.value, s.nats_per_token.value if s.nats_per_token else None) for s in read.lines]
    assert seen == rows
    assert all(line.bpb.source.file == file for line in read.lines)


def test_rows_of_training_are_told_apart() -> None:
    read = read_score_table("step,val_bpb\n100,1.3\n200,1.25\n,1.26\n", "a.csv")
    assert [(line.bpb.value, line.is_training_step) for line in read.lines] == [
        (1.3, True),
        (1.25, True),
        (1.26, False),
    ]


def test_a_table_claims_nothing(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("run,val_bpb\na,1.21\n")
    with pytest.raises(ClaimError, match="nothing to audit"):
        read_claim(tmp_path)
    (tmp_path / "README.md").write_text("# Notes\n")
    claim = read_claim(tmp_path)
    assert (claim.score, [table.file for table in claim.tables], claim.logs) == (None, ["scores.csv"], ())
    named = read_claim(tmp_path / "scores.csv")  # whoever names it means its last score, as of any file
    assert named.score is None or named.claimed_in == "log"
