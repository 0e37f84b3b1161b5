"""Signatures that a record states, beside the signature of what was scored."""

from __future__ import annotations

import json

import pytest

from bpb_harness.auditing.checks.stated_signatures import other_signature

SCORED = (
    "bpb|method:discrete|T:128|sched:loglinear[0.001]|K:2|bytes:official|data:tiny_val@14a5f5de|tok:f8f5752f|ctx:128"
    "|model:09bf593a|dtype:float32|seed:0|version:0.1.0"
)


def _of(old: str = "", new: str = "") -> str:
    assert old in SCORED
    return SCORED.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("model:09bf593a", "model:00000000", "model 00000000, the harness scored 09bf593a"),
        ("14a5f5de", "ffffffff", "text tiny_val@ffffffff, the harness scored tiny_val@14a5f5de"),
        ("tok:f8f5752f", "tok:11111111", "tokenizer 11111111, the harness scored f8f5752f"),
        ("T:128", "T:8", "T = 8, the harness scored 128"),
        ("ctx:128", "ctx:64", "windows of 64, the harness scored 128"),
        ("method:discrete|T:128", "method:mc", "method mc, the harness scored discrete"),
    ],
)
@pytest.mark.parametrize("file", ["submission.json", "runs/submission.json", "README.md", "train.log"])
def test_a_signature_of_something_else_is_named(file: str, old: str, new: str, told: str) -> None:
    stated = _of(old, new)
    text = json.dumps({"signature": stated}) if file.endswith(".json") else f"Scored as `{stated}` = 0.8025.\n"
    assert other_signature(SCORED, {file: text}) == f"{file} states a signature of {told}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("seed:0", "seed:7"),
        ("K:2", "K:16"),
        ("dtype:float32", "dtype:bfloat16"),
        ("14a5f5de", "14a5f5de[0:8/30]"),  # a part of it, which is judged by the windows
        ("|model:09bf593a", ""),  # not stated
        ("|ctx:128", ""),
    ],
)
def test_other_draws_and_what_is_not_stated_are_no_difference(old: str, new: str) -> None:
    assert other_signature(SCORED, {"README.md": f"({_of(old, new)})."}) is None


def test_a_record_may_speak_of_other_scores_beside_its_own() -> None:
    other = _of("model:09bf593a", "model:00000000")
    assert other_signature(SCORED, {"README.md": f"{other} = 0.9\n{SCORED} = 0.8\n"}) is None
    assert other_signature(SCORED, {"README.md": other, "train.log": SCORED}) is None
    assert "submission.json states" in str(other_signature(SCORED, {"README.md": other, "submission.json": other}))


@pytest.mark.parametrize("text", ["", "bpb|", "bpb|nonsense", "| bpb | bytes |", "bpb|T:1|T:2", "xbpb|model:00000000"])
def test_what_is_no_signature_states_nothing(text: str) -> None:
    assert other_signature(SCORED, {"README.md": text}) is None


def test_scripts_state_none_and_a_score_without_a_signature_has_none() -> None:
    other = _of("model:09bf593a", "model:00000000")
    assert other_signature(SCORED, {"train.py": f"# {other}"}) is None
    assert other_signature("chain of one block", {"README.md": other}) is None
