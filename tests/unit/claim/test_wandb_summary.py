"""What wandb keeps of a run, as evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import audit
from bpb_harness.claim import read_claim, read_record
from bpb_harness.claim.wandb_summary import is_wandb_summary, read_wandb_summary
from bpb_harness.errors import ClaimError
from bpb_harness.findings import Severity

SUMMARY = {
    "_step": 6500, "_timestamp": 1.77e9, "_runtime": 7802.3, "_wandb": {"runtime": 7802}, "val_bpb": 1.20301843,
    "val_loss": 2.0312461, "train_loss": 1.9, "train_bpb": 1.1, "lr": 4e-4, "nested": {"lr": 9.0},
}  # fmt: skip


def _summary(folder: Path, run: str = "", **changes: object) -> Path:
    file = folder / "wandb" / f"run-1{run}" / "files" / "wandb-summary.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(SUMMARY | changes))
    return file


def _submission(folder: Path, score: float = 1.20301843) -> None:
    (folder / "submission.json").write_text(json.dumps({"val_bpb": score, "tokenizer": "sp1024"}))


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        (SUMMARY, True),
        ({"_step": 1, "_runtime": 2}, True),
        ({"_step": 1}, True),
        ({"_runtime": 1}, True),
        ({"val/bpb": 1.2}, True),
        ({"val": {"bpb": 1.2}}, True),
        ({"val_bpb": {"min": 1.2}}, True),
        ({"lr": 1e-3}, False),
        ([], False),
    ],
)
def test_it_is_known_by_what_every_run_has(value: object, is_one: bool) -> None:
    assert is_wandb_summary(value) is is_one


def test_each_score_has_the_loss_of_its_name_beside_it() -> None:
    metrics = {
        "_step": 1,
        "_runtime": 1,
        "val/bpb": 1.25,
        "val/loss": 2.1,
        "ema_bpb": 1.2,
        "test_bpb": 1.3,
        "loss": 3.0,
    }
    record = read_wandb_summary(metrics, "wandb-summary.json")
    pairs = [(line.label, line.bpb.value, line.nats_per_token and line.nats_per_token.value) for line in record.lines]
    assert pairs == [("val/bpb", 1.25, 2.1), ("ema_bpb", 1.2, None), ("test_bpb", 1.3, None)]
    assert str(record.lines[0].bpb.source) == "wandb-summary.json (val/bpb)"


def test_what_is_nested_has_the_name_of_its_groups() -> None:
    metrics = {
        "val": {"bpb": 1.25, "loss": 2.1, "bpb_table": {"_type": "table-file", "bpb": 7.0}},
        "ema_bpb": {"max": 3.0, "last": 1.21, "mean": 1.5, "min": 1.2, "first": float("nan")},
        "test_bpb": 1.3,
        "train": {"bpb": 1.1},
        "run": {"train": {"bpb": 1.1}},
    }
    record = read_wandb_summary(metrics, "wandb-summary.json")
    lines = [(line.label, line.bpb.value, line.nats_per_token and line.nats_per_token.value) for line in record.lines]
    kept = [("ema_bpb", 1.2, None), ("ema_bpb", 1.21, None)]
    assert sorted(lines[:3]) == sorted([("val/bpb", 1.25, 2.1), *kept])
    assert lines[3:] == [("test_bpb", 1.3, None)]  # what is not nested is what the run ends with
    assert [line.bpb.value for line in record.lines if line.label == "ema_bpb"] == [1.2, 1.21]
    assert {str(line.bpb.source) for line in record.lines} >= {"wandb-summary.json (val.bpb)"}
    assert record.spoilt_at is None


def test_what_is_nested_is_read_to_a_depth_and_a_number() -> None:
    deep: dict[str, Any] = {"bpb": 1.25}
    for level in range(7):
        deep = {f"g{level}": deep}
    assert len(read_wandb_summary(deep, "f").lines) == 1
    assert not read_wandb_summary({"g": deep}, "f").lines
    wide = {"a": {str(number): {"bpb": 1.0} for number in range(6_000)}, "val_bpb": 1.25}
    lines = read_wandb_summary(wide, "f").lines
    assert (len(lines), lines[-1].bpb.value) == (5_000, 1.25)


def test_what_stands_below_a_submission_is_evidence_for_its_score(tmp_path: Path) -> None:
    _summary(tmp_path)
    _submission(tmp_path)
    report = audit(tmp_path)
    (found,) = report.with_code("BPB401")
    assert found.evidence["places"] == ["wandb-summary.json (val_bpb)"]
    assert "wandb-summary.json" in report.files
    (divided,) = report.with_code("BPB101")
    assert divided.evidence["bytes_per_token"] == pytest.approx(2.43593, abs=1e-4)


def test_a_log_that_prints_the_score_goes_first(tmp_path: Path) -> None:
    _summary(tmp_path)
    _submission(tmp_path)
    (tmp_path / "train.log").write_text("final val_loss:2.00000000 val_bpb:1.20301843\n")
    assert audit(tmp_path).with_code("BPB401")[0].evidence["places"] == ["train.log:1"]
    (tmp_path / "train.log").write_text("step 1\n")  # nothing in it: the summary's number stands behind the claim
    assert audit(tmp_path).with_code("BPB401")[0].evidence["places"] == ["wandb-summary.json (val_bpb)"]


def test_two_runs_are_two(tmp_path: Path) -> None:
    for run, score in (("a", 1.18), ("b", 1.19)):
        _summary(tmp_path, run, val_bpb=score, val_loss=None)
    _submission(tmp_path, 1.185)
    (found,) = audit(tmp_path).with_code("BPB401")
    assert found.evidence["how"] == "mean"


def test_alone_it_claims_what_it_ends_with_as_a_log_does(tmp_path: Path) -> None:
    claim = read_claim(_summary(tmp_path))
    assert claim.score is not None
    assert (claim.score.value, claim.claimed_in) == (1.20301843, "log")


def test_nan_is_said_and_no_score(tmp_path: Path) -> None:
    for held in ("NaN", float("nan"), float("inf")):
        record = read_wandb_summary(SUMMARY | {"val_bpb": held}, "wandb-summary.json")
        assert (record.lines, str(record.spoilt_at)) == ((), "wandb-summary.json (val_bpb)")
    assert read_wandb_summary(SUMMARY | {"val_bpb": "soon"}, "f").spoilt_at is None


@pytest.mark.parametrize("held", ["NaN", "Infinity", "-Infinity", "null", '"NaN"', "1e999", "1" + "0" * 400])
def test_nan_as_it_stands_in_the_file_is_said_and_no_score(tmp_path: Path, held: str) -> None:
    file = tmp_path / "wandb-summary.json"
    file.write_text(f'{{"_step": 1, "_runtime": 2, "val_bpb": {held}}}')
    (log,) = read_record(file).logs
    assert (log.lines, str(log.spoilt_at)) == ((), "wandb-summary.json (val_bpb)")


def test_what_is_odd_about_its_json_is_said(tmp_path: Path) -> None:
    file = tmp_path / "wandb-summary.json"
    file.write_text('{"_step": 1, "_runtime": 2, "val_bpb": 1.25, "val_bpb": 1.15,}')
    said = [note.message for note in read_record(file).notes]
    assert any("holds 'val_bpb' more than once, as 1.25 and 1.15" in message for message in said)
    assert any("is not valid JSON" in message for message in said)


def test_another_json_of_that_name_is_none(tmp_path: Path) -> None:
    _submission(tmp_path)
    (tmp_path / "wandb-summary.json").write_text('{"learning_rate": 1.20301843}')
    assert not read_record(tmp_path).logs
    with pytest.raises(ClaimError, match="a summary of wandb"):
        read_record(tmp_path / "wandb-summary.json")


def test_it_makes_no_submission_of_its_folder(tmp_path: Path) -> None:
    from bpb_harness.claim import find_submissions

    _summary(tmp_path)
    assert find_submissions(tmp_path) == []
    (tmp_path / "train.log").write_text("final val_bpb:1.2\n")
    assert find_submissions(tmp_path) == [tmp_path]


@pytest.mark.parametrize("marks", [{}, {"_step": 3000}, {"_runtime": 1.0}, {"_step": 1, "_timestamp": 2.0}])
@pytest.mark.parametrize("log", [None, "step 1\n"])
def test_one_that_contradicts_is_named_whatever_its_digits_and_marks(
    tmp_path: Path, marks: dict[str, float], log: str | None
) -> None:
    for loss in (2.06, 2.06012345):
        claimed = {"val_bpb": 1.17001305, "val_loss": loss}
        (tmp_path / "submission.json").write_text(json.dumps(claimed))
        (tmp_path / "wandb-summary.json").write_text(json.dumps(claimed | {"val_bpb": 1.22001305} | marks))
        if log is not None:
            (tmp_path / "train.log").write_text(log)
        report = audit(tmp_path)
        found = [*report.with_code("BPB403"), *report.with_code("BPB404")]
        assert "wandb-summary.json" in report.files
        assert found
        assert found[0].severity in (Severity.WARNS, Severity.REFUTES)
        assert all(each in found[0].message for each in ("wandb-summary.json", "1.22001305", "1.17001305"))
        assert not report.with_code("BPB402")
        assert "the log's own" not in report.to_text()


def test_the_report_speaks_of_a_summary_and_of_no_log(tmp_path: Path) -> None:
    _summary(tmp_path)
    _submission(tmp_path)
    report = audit(tmp_path)
    assert report.with_code("BPB401")[0].message.startswith("the score is in wandb's summary: 'val_bpb' at")
    assert report.judgement.reason.startswith("wandb's summary gives the score")
    assert "log prints" not in report.to_text()


LOG = "step:1000/6500 val_loss:2.20000000 val_bpb:1.30294815\nfinal val_loss:2.03124610 val_bpb:1.20301843\n"


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ([{}], None),  # the claim itself
        ([{"val_bpb": 1.30294815}], None),  # an earlier line of the log
        ([{"val_bpb": 1.203}], None),  # with fewer digits
        ([{"val_bpb": 1.25}], None),  # the README has it
        ([{"val_bpb": 1.41}], "warning"),
        ([{"val_bpb": None}], "warning"),
        ([{"val/bpb": 1.41, "val_bpb": 1.30294815}], "warning"),  # that run, and another end
        ([{"ema_bpb": 1.41}], None),  # that run, and a score of another name
        ([{"val_bpb": 1.41}, {"val_bpb": 1.42}], "warning"),
        ([{"val_bpb": 1.41}, {}], "info"),  # whose it is, nothing says
    ],
)
def test_a_summary_that_contradicts_the_log_is_named(
    tmp_path: Path, kept: list[dict[str, float]], said: str | None
) -> None:
    for number, changes in enumerate(kept):
        _summary(tmp_path, str(number), **changes)
    _submission(tmp_path)
    (tmp_path / "README.md").write_text("# A record\n\nval_bpb 1.2030. Before rounding the weights it was 1.2500.\n")
    (tmp_path / "train.log").write_text(LOG)
    report = audit(tmp_path)
    assert [str(found.severity) for found in report.with_code("BPB424")] == ([said] if said else [])
    assert report.verdict == ("unverifiable" if said == "warning" else "consistent")


@pytest.mark.parametrize(
    ("kept", "at"),
    [
        ({"val": {"bpb": 1.41}}, "val.bpb"),
        ({"final": {"val": {"bpb": 1.41}}}, "final.val.bpb"),
        ({"val_bpb": {"min": 1.41}}, "val_bpb.min"),
        ({"val_bpb": {"min": 1.41, "last": 1.42, "max": 1.20301843}}, "val_bpb.last"),
        ({"val": {"bpb": {"min": 1.41}}}, "val.bpb.min"),
        ({"bpb": {"val": 1.41}}, "bpb.val"),
        ({"val": {"bpb": None}}, "val.bpb"),
        ({"val_bpb": {"min": "NaN"}}, "val_bpb.min"),
        ({"val": {"bpb": 1.20301843}}, None),
        ({"val": {"bpb": 1.41}, "val_loss": 2.0, "val_bpb": 1.30294815}, "val.bpb"),  # that run, and another end
        ({"val_bpb": {"min": 1.20301843, "mean": 1.4, "max": 4.1}}, None),
        ({"val_bpb": {"min": 1.19, "last": 1.20301843}}, None),  # between two lines of the log it was lower
        ({"val_bpb": {"min": 1.20301843, "last": 1.41}}, None),  # the best is claimed
        ({"val_bpb": {"mean": 1.41}}, None),
        ({"train": {"bpb": 1.1}}, None),
    ],
)
def test_a_nested_score_contradicts_as_one_that_is_not(tmp_path: Path, kept: dict[str, Any], at: str | None) -> None:
    (tmp_path / "wandb-summary.json").write_text(json.dumps({"_step": 6500, "_runtime": 7802.3} | kept))
    _submission(tmp_path)
    (tmp_path / "train.log").write_text(LOG)
    report = audit(tmp_path)
    found = report.with_code("BPB424")
    assert bool(found) is (at is not None)
    assert report.verdict == ("unverifiable" if found else "consistent")
    if at is not None:
        assert f"({at})" in found[0].message
        has_number = any(digits in found[0].message for digits in ("1.41", "1.42"))
        assert ("gives no finite number" in found[0].message) is not has_number
        assert ("which no log prints" in found[0].message) is has_number


@pytest.mark.parametrize(("kept", "is_doubted"), [(1.409932, False), (1.4103, True)])
def test_a_summary_has_more_digits_than_a_line_that_only_speaks_of_bpb(
    tmp_path: Path, kept: float, is_doubted: bool
) -> None:
    _summary(tmp_path, val_bpb=kept)
    _submission(tmp_path)
    (tmp_path / "train.log").write_text("before averaging, in bpb, there were 1.4099 on the same text\n" + LOG)
    assert bool(audit(tmp_path).with_code("BPB424")) is is_doubted


@pytest.mark.parametrize("seeds", [{"7": {"val_bpb": 1.41}, "8": {"val_bpb": 1.2}}, {"7": 1.41}, {"7": 1.3}])
def test_a_summary_of_a_seed_that_the_record_names_contradicts_nothing(tmp_path: Path, seeds: dict[str, Any]) -> None:
    _summary(tmp_path, val_bpb=1.41)
    claimed = {"val_bpb": 1.20301843, "tokenizer": "sp1024", "seed_results": seeds}
    (tmp_path / "submission.json").write_text(json.dumps(claimed))
    (tmp_path / "train.log").write_text(LOG)
    assert bool(audit(tmp_path).with_code("BPB424")) is (seeds == {"7": 1.3})


def test_nothing_is_held_against_a_score_that_no_log_prints(tmp_path: Path) -> None:
    _summary(tmp_path, val_bpb=1.41)
    _submission(tmp_path)
    (tmp_path / "train.log").write_text(LOG.replace("1.20301843", "1.20400000"))
    report = audit(tmp_path)
    assert not report.with_code("BPB424")
    assert report.with_code("BPB403") or report.with_code("BPB404")
