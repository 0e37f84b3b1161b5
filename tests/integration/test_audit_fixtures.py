"""The made-up submissions and the published facts: every verdict as expected, every folder as its script makes it."""

from __future__ import annotations

import filecmp
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import Verdict, audit_folders
from bpb_harness.auditing.verdict import Verdict as SameVerdict
from fixtures.claims.build import HERE, build
from tests.audited import audited

EXPECTED: dict[str, dict[str, Any]] = json.loads((HERE / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_verdict(name: str) -> None:
    expected = EXPECTED[name]
    report = audited(name)
    found = {finding.code for finding in report.findings}
    assert report.verdict.value == expected["verdict"], report.to_text()
    assert set(expected["codes"]) <= found
    assert not set(expected["without"]) & found
    if expected["corrected_bpb"] is None:
        assert report.corrected_bpb is None
    else:
        assert report.corrected_bpb == pytest.approx(expected["corrected_bpb"], abs=3e-4)


def test_names_tell_the_verdict() -> None:
    # No honest folder is refuted, and every wrong one is: by name, so that no expectation can slip.
    for name, expected in EXPECTED.items():
        kind = name.removeprefix("submissions/").split("_")[0]
        if kind in ("wrong", "honest", "open"):
            assert expected["verdict"] == {"wrong": "refuted", "honest": "consistent", "open": "unverifiable"}[kind]


def test_every_record_code_has_a_submission() -> None:
    seen = {code for name in EXPECTED for code in {finding.code for finding in audited(name).findings}}
    from bpb_harness.auditing import codes

    record = {rule.code for rule in vars(codes).values() if hasattr(rule, "code")}
    # Tested elsewhere: they need a baseline, a rescored checkpoint, or a file too large or too broken to keep.
    elsewhere = {"BPB503", "BPB504", "BPB505", "BPB601", "BPB602", "BPB603", "BPB904", "BPB905", "BPB908"}
    elsewhere |= {"BPB109", "BPB114", "BPB115", "BPB215", "BPB216", "BPB218", "BPB305", "BPB406", "BPB408"}
    elsewhere |= {"BPB415", "BPB416", "BPB417", "BPB418", "BPB419"}  # a score's own file
    elsewhere |= {"BPB424"}  # a summary of wandb
    elsewhere |= {"BPB454", "BPB455"}  # logs of another submission
    elsewhere |= {"BPB456", "BPB457"}  # a script beside commands, and without a module
    elsewhere |= {"BPB429"}  # a log that ends in a traceback
    elsewhere |= {"BPB452"}  # a script beside a title
    elsewhere |= {"BPB427", "BPB430", "BPB431", "BPB432"}  # a script beside a log that it did not write
    elsewhere |= {"BPB453", "BPB459"}  # sizes of the code in a log, of several versions or in no sum
    elsewhere |= {"BPB512"}  # parameters that a log does not print
    elsewhere |= {"BPB514"}  # a README that states a digest of a file beside it
    elsewhere |= {"BPB509"}  # a rule that no shipped pack has
    elsewhere |= {"BPB604", "BPB605", "BPB606", "BPB607"}  # a proof
    assert record - seen == elsewhere


def test_the_script_that_made_them_makes_them_again(tmp_path: Path) -> None:
    build(tmp_path)
    for name in ("expected.json", "submissions", "facts"):
        _same(tmp_path / name, HERE / name)


def _same(new: Path, old: Path) -> None:
    if new.is_file():
        assert filecmp.cmp(new, old, shallow=False), f"{old} is not what fixtures/claims/build.py makes"
        return
    assert sorted(path.name for path in new.iterdir()) == sorted(path.name for path in old.iterdir())
    for path in new.iterdir():
        _same(path, old / path.name)


def test_many_folders_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    shutil.copytree(HERE / "submissions/honest_single_seed", tmp_path / "a/good")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/x.claim.json").write_text('{"format": "bpb-claim/9"}')
    shutil.copytree(HERE / "submissions/wrong_constant", tmp_path / "c")
    reports = list(audit_folders(tmp_path))
    assert [(report.name, report.verdict) for report in reports] == [
        ("a/good", Verdict.CONSISTENT),
        ("b", Verdict.UNVERIFIABLE),
        ("c", SameVerdict.REFUTED),
    ]
