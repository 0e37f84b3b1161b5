"""Where a README's settings are not those that the claim's own log tells, the script is read with the log's."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from bpb_harness.claim.settings import Logged
from fixtures.claims.patterns import SP1024, bpb, log, submission
from tests.unit.auditing.script.test_what_ran import CHOSEN

COMMAND = "```bash\nMASKED_EVAL={} EVAL_RATE={} python train.py\n```\n"


def _report(folder: Path, readme: str, told: str) -> AuditReport:
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(2.0312, SP1024), 8), tokenizer="sp1024"))
    (folder / "train.log").write_text(f"{told}\n{log(2.0312, SP1024)}")
    (folder / "train.py").write_text(CHOSEN)
    (folder / "README.md").write_text(f"# A run\n\n{readme}")
    return audit(folder)


@pytest.mark.parametrize(
    ("given", "told", "verdict"),
    [
        ("1", "masked_eval:1", "refuted"),
        ("1", "masked_eval:0", "consistent"),
        ("1", "masked_eval: False", "consistent"),
        ("0", "masked_eval:True", "refuted"),
        ("1", "masked_eval:0 of 3 parts", "refuted"),
        ("1", "masked_eval:0\nmasked_eval:1", "refuted"),  # it tells both, of which nothing follows
        ("1", "masked_eval:off", "refuted"),
    ],
)
def test_the_log_knows_better(tmp_path: Path, given: str, told: str, verdict: str) -> None:
    report = _report(tmp_path, COMMAND.format(given, "0.4"), told)
    assert report.verdict == verdict, report.judgement.reason


def test_words_are_held_against_no_switch(tmp_path: Path) -> None:
    report = _report(tmp_path, COMMAND.format("1", "0.4"), "masked_eval:off")
    assert "`MASKED_EVAL=1` among that; what holds with the defaults" in report.with_code("BPB953")[0].message


def test_a_script_in_the_log_tells_nothing(tmp_path: Path) -> None:
    script = "import os\nclass S:\n    masked_eval = 0\nif __name__ == '__main__':\n    main()\n====================\n"
    assert _report(tmp_path, COMMAND.format("1", "0.4"), script).verdict == "refuted"


def test_what_the_log_tells_behind_the_claim_is_of_something_else(tmp_path: Path) -> None:
    _report(tmp_path, COMMAND.format("1", "0.4"), "")
    with (tmp_path / "train.log").open("a") as file:
        file.write("masked_eval:0\n")
    assert audit(tmp_path).verdict == "refuted"


def test_it_is_said(tmp_path: Path) -> None:
    report = _report(tmp_path, COMMAND.format("1", "0.4"), "masked_eval:False")
    (told,) = report.with_code("BPB953")
    assert told.message == (
        "The claim's own log tells other settings than the README, and counts: `MASKED_EVAL=0` by train.log:1, where "
        "commands in the README give 1"
    )


def test_a_report_with_such_values_comes_from_another_process(tmp_path: Path) -> None:
    report = _report(tmp_path, COMMAND.format("1", "0.4"), "masked_eval:False")
    assert pickle.loads(pickle.dumps(report)) == report
    value = Logged("0", place="train.log:1", instead="1")
    for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert (type(again), again, again.place, again.instead) == (Logged, "0", "train.log:1", "1")


def test_of_values_that_commands_give_otherwise_the_log_tells_which(tmp_path: Path) -> None:
    both = COMMAND.format("1", "0.4") + "\nand\n\n" + COMMAND.format("0", "0.4")
    assert _report(tmp_path, both, "masked_eval:1").verdict == "refuted"
    report = _report(tmp_path, both, "masked_eval:0")
    assert report.verdict == "consistent"
    assert (
        "`MASKED_EVAL=0` by train.log:1, where commands in the README give 1 or 0"
        in report.with_code("BPB953")[0].message
    )


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (("masked_eval:0", "masked_eval:0"), "consistent"),
        (("masked_eval:0", "masked_eval:1"), "refuted"),
        (("masked_eval:0", ""), "refuted"),
    ],
    ids=["both", "one otherwise", "one alone"],
)
def test_all_logs_of_a_mean_have_to_tell_it(tmp_path: Path, told: tuple[str, str], verdict: str) -> None:
    nats = (2.0312, 2.0412)
    mean = sum(bpb(each, SP1024) for each in nats) / 2
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(mean, 8), tokenizer="sp1024"))
    for seed, words in enumerate(told):
        (tmp_path / f"train_{seed}.log").write_text(f"{words}\n{log(nats[seed], SP1024, seed=seed)}")
    (tmp_path / "train.py").write_text(CHOSEN)
    (tmp_path / "README.md").write_text(COMMAND.format("1", "0.4"))
    report = audit(tmp_path)
    assert report.verdict == verdict, report.judgement.reason
