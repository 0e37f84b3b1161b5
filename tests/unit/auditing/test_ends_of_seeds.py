"""A score that a record lists for a seed, where the log of that seed ends with another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import audit
from bpb_harness.findings import Severity
from fixtures.claims.patterns import SP1024, bpb

LOSSES = {"7": 2.0312, "42": 2.0322, "1337": 2.0332}
SCORES = {seed: bpb(loss, SP1024) for seed, loss in LOSSES.items()}


def _log(seed: str, loss: float, *, label: str = "final_exact") -> str:
    end = f"{label} val_loss:{loss} val_bpb:{bpb(loss, SP1024):.8f}"
    return f"seed: {seed}\nstep:100 val_loss:2.5000 val_bpb:1.4806\n{end}\n"


def _said(folder: Path, listed: dict[str, float], logs: dict[str, str], **more: Any) -> list[str]:
    mean = round(sum(listed.values()) / len(listed), 4)
    seeds = {seed: {"val_bpb": round(score, 4)} for seed, score in listed.items()}
    (folder / "submission.json").write_text(json.dumps({"val_bpb": mean, "tokenizer": "sp1024", "seeds": seeds} | more))
    for name, text in logs.items():
        (folder / name).write_text(text)
    found = audit(folder).with_code("BPB406")
    assert all(each.severity is Severity.INFORMS for each in found)
    return [each.message for each in found]


def _logs(**losses: float) -> dict[str, str]:
    return {
        f"train_seed{seed}.log": _log(seed, loss)
        for seed, loss in (LOSSES | {k[1:]: v for k, v in losses.items()}).items()
    }


def test_a_seed_whose_log_ends_with_another_score_is_named(tmp_path: Path) -> None:
    (said,) = _said(tmp_path, SCORES, _logs(s1337=2.0432))
    assert said == (
        f"submission.json gives {SCORES['1337']:.4f} for seed 1337, and train_seed1337.log, the log of that seed, ends "
        f"with {bpb(2.0432, SP1024):.8f} (train_seed1337.log:3)"
    )


def test_a_seed_whose_log_prints_what_is_listed_is_not(tmp_path: Path) -> None:
    assert not _said(tmp_path, SCORES, _logs())


@pytest.mark.parametrize(
    "of_1337",
    [
        _log("1337", LOSSES["1337"]) + _log("1337", 2.0432, label="final_other"),  # behind it another evaluation
        f"seed: 1337\nval_loss:2.0332 bpb was {SCORES['1337']:.4f}\nfinal_exact val_loss:2.0432 val_bpb:1.2101\n",
        f"seed: 1337\nfinal_exact val_loss:2.0332 val_bpb:{SCORES['1337'] + 3e-5:.8f}\n",  # a slip of the pen
        f"seed: 1337\nfinal_exact val_bpb:{SCORES['1337'] + 4e-4:.3f}\n",  # rounded otherwise than the list
        _log("1337", 2.0432, label="final_roundtrip"),  # cut off before the line that the others end with
        "seed: 1337\n",
        "seed: 1337\nstep:100 train_bpb:1.4806\n",
    ],
    ids=["printed before the end", "in other words", "nearly", "rounded", "cut off", "no score", "a training score"],
)
def test_other_logs_contradict_nothing(tmp_path: Path, of_1337: str) -> None:
    assert not _said(tmp_path, SCORES, _logs() | {"train_seed1337.log": of_1337})


def test_a_seed_that_was_run_again_has_two_logs(tmp_path: Path) -> None:
    logs = _logs(s1337=2.0432) | {"again_seed1337.log": _log("1337", 2.0532)}
    assert not _said(tmp_path, SCORES, logs)


def test_an_evaluation_may_have_a_log_of_its_own(tmp_path: Path) -> None:
    evaluated = f"final_exact val_loss:2.0332 val_bpb:{SCORES['1337']:.8f}\n"
    assert not _said(tmp_path, SCORES, _logs(s1337=2.0432) | {"eval_final.log": evaluated})


def test_of_a_list_that_no_log_prints_nothing_is_said(tmp_path: Path) -> None:
    """The logs are then of another evaluation, or of other runs, and other findings say so."""
    assert not _said(tmp_path, SCORES, _logs(s7=2.0412, s42=2.0422, s1337=2.0432))


def test_a_list_of_another_number_is_not_held_against_the_ends(tmp_path: Path) -> None:
    mean = round(sum(SCORES.values()) / 3, 4)
    seeds = {
        seed: {"val_bpb": round(each, 4), "post_ema_bpb": 1.4806 if seed == "7" else 1.5}
        for seed, each in SCORES.items()
    }
    assert not _said(tmp_path, SCORES, _logs(), seeds=seeds, val_bpb=mean)
