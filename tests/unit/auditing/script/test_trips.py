"""A fault inside the analysis of a script: the script is not understood, and there is no verdict from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from bpb_harness.auditing.script import ScriptContext, check
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.frontend import program
from bpb_harness.findings import Severity
from fixtures.claims.patterns import SP1024, log, submission
from tests.golf_rules import GOLF, check_source

SCRIPTS = Path(__file__).parents[4] / "fixtures" / "scripts"
WRONG = (SCRIPTS / "wrong_constant_named.py").read_text("utf-8")


def _trips(*_: object) -> None:
    raise ZeroDivisionError("by a hostile script")


@pytest.mark.parametrize("where", ["Program", "Analysis", "_weighed", "decode_source"])
def test_a_fault_is_said_and_gives_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    (tmp_path / "submission.json").write_text(submission(val_loss=2.0312, val_bpb=1.202991))
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    (tmp_path / "train_gpt.py").write_text(WRONG)
    assert "BPB150" in {finding.code for finding in audit(tmp_path).findings}
    monkeypatch.setattr(check, where, _trips)
    report = audit(tmp_path)
    assert report.verdict == "consistent"  # the log and the record alone
    said = report.with_code("BPB950")
    assert said
    assert all("ZeroDivisionError" in finding.message for finding in said)
    assert not {finding.code for finding in report.findings} & {"BPB150"}


def test_half_a_check_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(analysis: Analysis) -> Iterator[Hit]:
        yield from check.check_byte_constants(analysis)
        _trips()

    assert any(finding.severity is Severity.REFUTES for finding in check_source(WRONG))
    monkeypatch.setattr(check, "CHECKS", {half: "half of it"})
    assert [finding.code for finding in check.check_source(WRONG, ScriptContext(rules=GOLF))] == ["BPB950"]


def test_what_was_not_looked_at_whole_refutes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from bpb_harness.auditing.script.frontend import program

    whole = check_source(WRONG, ScriptContext(rules=GOLF))
    assert any(finding.severity is Severity.REFUTES for finding in whole)
    for bound in (20, 60, 150, 400):
        monkeypatch.setattr(program, "MAX_WORK", bound)
        assert all(
            finding.severity is not Severity.REFUTES for finding in check_source(WRONG, ScriptContext(rules=GOLF))
        )


def test_scripts_beyond_the_bound_on_memory_are_named_and_nothing_is_refuted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"{letter}.py" for letter in "abcdefg"]
    for number, file in enumerate(files):
        file.write_text(WRONG if number == 0 else f"x = {'1 + ' * 200}{number}\n")
    context = ScriptContext(rules=GOLF)
    whole = check.check_scripts(files, context)
    assert any(finding.severity is Severity.REFUTES for finding in whole)
    assert "BPB950" not in {finding.code for finding in whole}
    monkeypatch.setattr(check, "MAX_PROGRAM", len(WRONG) + 1_000)  # the second fits, the third to the last do not
    findings = check.check_scripts(files, context)
    (said,) = (finding for finding in findings if finding.code == "BPB950")
    assert said.message.startswith(", ".join(str(file) for file in files[2:6]) + " and 1 more: not read")
    assert {finding.code for finding in whole} == {finding.code for finding in findings} - {"BPB950"}
    assert all(finding.severity is not Severity.REFUTES for finding in findings)


def test_a_script_beyond_the_bound_on_work_is_read_in_part_and_refutes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the slowest script takes is bounded by expressions that are looked at, whatever it is made of."""
    assert any(found.severity is Severity.REFUTES for found in check_source(WRONG))
    for work in (1, 30, 100, 200):
        monkeypatch.setattr(program, "MAX_WORK", work)
        found = check_source(WRONG)
        (part,) = [each for each in found if each.code == "BPB952"]
        assert "so that a fault may have been overlooked" in part.message
        assert not [each for each in found if each.severity is Severity.REFUTES]


def test_functions_are_run_that_lie_on_the_path_even_where_checks_use_up_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text(WRONG)
    given: list[set[str]] = []
    monkeypatch.setattr(check, "check_scores_by_running", lambda _scripts, _tok, on_path, *_: given.append(on_path))
    monkeypatch.setattr(check, "check_table_by_running", lambda *_: [])
    monkeypatch.setattr(check, "weigh", lambda findings, _: findings)

    def uses_up(analysis: Analysis) -> Iterator[Hit]:
        analysis.program.spend(program.MAX_WORK)
        yield from ()

    for checks in (check.CHECKS, {uses_up: "all"}):
        monkeypatch.setattr(check, "CHECKS", checks)
        check.check_scripts([tmp_path / "train.py"], ScriptContext(), tokenizer=tmp_path / "x.model", allow_code=True)
    assert given[0] == given[1]
    assert "<module>" in given[1]
    assert len(given[1]) > 1
