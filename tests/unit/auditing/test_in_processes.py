"""Many audits in a few processes: the order of the reports, and audits that end their process."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from bpb_harness.auditing import AuditReport, audit_each, unreadable
from bpb_harness.auditing.in_processes import audit_in_processes


def _reports(number: int) -> list[AuditReport]:
    """As many reports as the number's last digit says."""
    return [unreadable(f"{number}.{each}", f"process {os.getpid()}") for each in range(number % 3)]


def _ends(number: int) -> list[AuditReport]:
    if number % 7 == 3:
        os._exit(9)
    return [unreadable(str(number), "read")]


def _given_up(number: int, why: str) -> AuditReport:
    return unreadable(f"{number} given up", why)


def test_the_reports_come_in_the_order_of_the_audits() -> None:
    audits = [partial(_reports, number) for number in range(100)]
    expected = [f"{number}.{each}" for number in range(100) for each in range(number % 3)]
    for processes in (1, 2):
        reports = list(audit_in_processes(audits, _given_up, processes=processes))
        assert [report.name for report in reports] == expected
        here = {f"process {os.getpid()}"}
        assert ({report.judgement.reason for report in reports} == here) is (processes == 1)


def test_an_audit_that_ends_its_process_has_a_report_and_the_others_have_theirs() -> None:
    reports = list(audit_in_processes([partial(_ends, number) for number in range(12)], _given_up, processes=2))
    ended = {3, 10}
    assert [report.name for report in reports] == [f"{n} given up" if n in ended else str(n) for n in range(12)]
    assert all("ended before it had a report" in reports[number].judgement.reason for number in ended)


def test_reports_are_those_of_one_process(tmp_path: Path) -> None:
    audits = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "submission.json").write_text(f'{{"val_bpb": 1.{number}}}')
        audits.append(partial(audit_each, folder, folder.name))
    apart, here = ([r.to_dict() for r in audit_in_processes(audits, _given_up, processes=n)] for n in (2, 1))
    assert apart == here
    assert len(here) == 4


def test_a_process_that_looks_at_no_script_knows_the_codes_of_scripts() -> None:
    """A page or a table of reports that others made names their findings."""
    program = (
        "from bpb_harness.auditing.in_processes import audit_in_processes; from bpb_harness.findings import CODES; "
        "before = 'BPB150' in CODES; list(audit_in_processes([], None, processes=2)); print(before, 'BPB150' in CODES)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"
