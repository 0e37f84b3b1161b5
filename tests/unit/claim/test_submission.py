"""submission.json in the shapes that people give it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.claim import NoteKind, read_claim
from bpb_harness.claim.submission import read_submission
from bpb_harness.claim.tolerant_json import parse_json
from bpb_harness.errors import ClaimError


def read(record: Any) -> Any:
    return read_submission(parse_json(json.dumps(record), "f").value, "submission.json")


@pytest.mark.parametrize(
    ("record", "score"),
    [
        ({"val_bpb": 1.2}, 1.2),
        ({"val_bpb": "1.2"}, 1.2),
        ({"val_bpb": "1.2 (mean of 3)"}, 1.2),
        ({"mean_val_bpb": 1.2}, 1.2),
        ({"val_bpb_mean": 1.2}, 1.2),
        ({"val_var_bpb": 1.2}, 1.2),
        ({"score": 1.2}, 1.2),
        ({"score": 99.5}, None),
        ({"bpb": 1.2}, 1.2),
        ({"val_bpb": {"mean": 1.2, "std": 0.1}}, 1.2),
        ({"results": {"val_bpb": 1.2}}, 1.2),
        ({"metrics": {"mean_val_bpb": 1.2}}, 1.2),
        ({"seed_results": {"1": {"val_bpb": 1.1}, "2": {"val_bpb": 1.3}}}, 1.2),
        ({"seed_results": [{"seed": 1, "val_bpb": 1.1}, {"seed": 2, "val_bpb": 1.3}]}, 1.2),
        ({"seeds": {"1": {"val_bpb": 1.1}, "2": {"val_bpb": 1.3}}}, 1.2),
        ({"metric_name": "pll_bpb", "pll_bpb": 1.2}, 1.2),
        ({"val_bpb": None}, None),
        ({"val_bpb": True}, None),
        ({"val_bpb": "soon"}, None),
        ({"val_bpb": -1.2}, None),
        ({"val_bpb": [1.2]}, None),
        ({"official_eval_val_bpb": None, "proxy_bpb": 0.8}, None),
        ([1, 2], None),
        ({}, None),
    ],
)
def test_the_score(record: Any, score: float | None) -> None:
    found = read(record).score
    assert (found.value if found else None) == (pytest.approx(score) if score else None)


def test_a_null_is_said() -> None:
    notes = read({"official_eval_val_bpb": None, "proxy_bpb": 0.8}).notes
    assert [note.kind for note in notes] == [NoteKind.NOT_A_NUMBER]
    assert "official_eval_val_bpb is null" in notes[0].message


def test_loss_and_score_of_two_estimators() -> None:
    assert not read({"val_loss": 2.6553, "val_var_bpb": 1.6252}).same_estimator
    assert read({"val_loss": 2.6553, "val_bpb": 1.6252}).same_estimator
    assert read({"pll_loss": 2.6553, "metric_name": "pll_bpb", "pll_bpb": 1.6252}).nats_per_token.value == 2.6553


def test_seeds_and_their_scores() -> None:
    claim = read({"val_bpb": 1.2, "seeds": [1, 2], "val_bpb_seeds": {"1": 1.1, "2": 1.3}})
    assert claim.seeds == ("1", "2")
    assert {seed: score.value for seed, score in claim.seed_scores["val_bpb"].items()} == {"1": 1.1, "2": 1.3}


def test_sizes_aside_are_not_the_submissions() -> None:
    claim = read({"val_bpb": 1.2, "bytes_total": 5, "supplemental": {"artifact_bytes": 7}, "model_bytes": 9})
    assert [size.value for size in claim.artifact_bytes] == [5]


def test_a_table_over_steps() -> None:
    claim = read({"val_bpb": 1.1, "val_bpb_T64": 1.2, "val_bpb_T512": 1.1})
    assert {steps: score.value for steps, score in claim.steps_table.items()} == {64: 1.2, 512: 1.1}


def test_a_claim_file_names_what_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "x.claim.json").write_text('{"format": "bpb-claim/1", "claimed_bpd": 1.2}')
    with pytest.raises(ClaimError, match="claimed_bpd"):
        read_claim(tmp_path)


@pytest.mark.parametrize(
    "keys",
    [
        {"claimed_bpb": "1.2"},
        {"claimed_bpb": -1},
        {"claimed_bpb": True},
        {"u_range": [0.9, 0.1]},
        {"u_range": 3},
        {"seeds": "1"},
        {"seeds": [True]},
        {"num_steps": 1.5},
        {"num_steps": 0},
        {"steps_table": {"x": 1.2}},
        {"steps_table": {"0": 1.2}},
        {"steps_table": [1.2]},
        {"bytes_per_token_is_constant": "yes"},
        {"tokenizer": ""},
        {"artifact_bytes": ["many"]},
        {"format": "bpb-claim/2"},
    ],
)
def test_a_claim_file_is_strict(tmp_path: Path, keys: dict[str, Any]) -> None:
    path = tmp_path / "x.claim.json"
    path.write_text(json.dumps({"format": "bpb-claim/1", **keys}))
    with pytest.raises(ClaimError) as caught:
        read_claim(path)
    assert "x.claim.json" in str(caught.value)


def test_a_folder_with_nothing(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="nothing to audit"):
        read_claim(tmp_path)
    with pytest.raises(ClaimError, match="does not exist"):
        read_claim(tmp_path / "nonsuch")


def test_what_is_no_regular_file_is_left_alone(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "train.log")
    with pytest.raises(ClaimError):
        read_claim(tmp_path / "train.log")


def test_a_large_log_is_read_at_both_ends(tmp_path: Path) -> None:
    from bpb_harness.claim.text_file import read_text

    path = tmp_path / "train.log"
    path.write_text("seed:7\n" + "x" * 100_000 + "\nfinal val_bpb:1.2\n")
    read = read_text(path, "train.log", limit=4096)
    assert read.text.startswith("seed:7")
    assert read.text.endswith("final val_bpb:1.2\n")
    assert [note.kind for note in read.notes] == [NoteKind.TRUNCATED]
