"""Many audits in a few processes: the order of the reports, and audits that end their process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit_each, unreadable
from bpb_harness.auditing.in_processes import audit_in_processes, searched_rarely
from bpb_harness.auditing.script.frontend.trees import Lease, parse
from tests.forked_servers import FORKS, no_main_module

SCRIPTS = Path(__file__).parents[3] / "fixtures" / "scripts"


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processes have imported what an audit needs, as those of a command have, which has not imported torch."""
    monkeypatch.setattr("bpb_harness.auditing.in_processes._context", lambda: FORKS)
    with no_main_module():
        yield


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


def _thresholds() -> list[AuditReport]:
    return [unreadable("", str(gc.get_threshold()))]


def test_garbage_is_searched_for_as_often_as_before_once_the_audits_are_done() -> None:
    before = gc.get_threshold()
    (report,) = audit_in_processes([_thresholds], _given_up, processes=1)
    assert report.judgement.reason == "(2000000, 20, 100)"
    assert gc.get_threshold() == before
    with pytest.raises(OSError, match="full"), searched_rarely():
        raise OSError("full")
    assert gc.get_threshold() == before


@pytest.mark.usefixtures("forked")
def test_an_audit_that_ends_its_process_has_a_report_and_the_others_have_theirs() -> None:
    reports = list(audit_in_processes([partial(_ends, number) for number in range(12)], _given_up, processes=2))
    ended = {3, 10}
    assert [report.name for report in reports] == [f"{n} given up" if n in ended else str(n) for n in range(12)]
    assert all("ended before it had a report" in reports[number].judgement.reason for number in ended)


@pytest.mark.usefixtures("forked")
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


@pytest.mark.usefixtures("forked")
def test_reports_depend_neither_on_the_order_of_the_folders_nor_on_the_processes(tmp_path: Path) -> None:
    """What an audit leaves behind in its process (trees, texts, tables) tells the next one nothing."""
    audits = []
    for script in sorted(SCRIPTS.glob("*.py"))[::12]:
        for name, more in ((script.stem, ""), (f"{script.stem}_copied", "\n\n\nSEED = 1\n")):
            folder = tmp_path / name
            folder.mkdir()
            (folder / "submission.json").write_text('{"val_bpb": 1.2}')
            (folder / "train_gpt.py").write_text(f"{more}{script.read_text()}")
            audits.append(partial(audit_each, folder, name))
    here, again, apart = (
        {report.name: report.to_dict() for report in audit_in_processes(ordered, _given_up, processes=processes)}
        for ordered, processes in ((audits, 1), (audits[::-1], 1), (audits[::-1], 2))
    )
    assert here == again == apart
    assert len(here) == len(audits) > 8


def test_a_process_that_looks_at_no_script_knows_the_codes_of_scripts() -> None:
    """A page or a table of reports that others made names their findings."""
    program = (
        "from bpb_harness.auditing.in_processes import audit_in_processes; from bpb_harness.findings import CODES; "
        "before = 'BPB150' in CODES; list(audit_in_processes([], None, processes=2)); print(before, 'BPB150' in CODES)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"


def _shares() -> list[AuditReport]:
    one, other = parse("def f():\n    pass\n", Lease()), parse("x = 1\ndef f():\n    pass\n", Lease())
    return [unreadable("", str(one is not None and other is not None and one.body[-1] is other.body[-1]))]


@pytest.mark.usefixtures("forked")
def test_the_audits_of_each_process_share_trees() -> None:
    assert [report.judgement.reason for report in _shares()] == ["False"]
    for processes in (1, 2):
        reports = audit_in_processes([_shares] * 4, _given_up, processes=processes)
        assert [report.judgement.reason for report in reports] == ["True"] * 4
    assert [report.judgement.reason for report in _shares()] == ["False"]


def _records(root: Path) -> list[Path]:
    """Folders whose scripts share functions: at the same lines and further down, twice in one folder, cut off."""
    folders = []
    for number, script in enumerate(sorted(SCRIPTS.glob("wrong_*.py"))[::29]):
        text = script.read_text(encoding="utf-8")
        further = "# A comment.\n\n" + text
        for name, texts in {
            "a": {"train.py": text},
            "b": {"train.py": further},
            "c": {"one.py": text, "two.py": further},
            "d": {"one.py": text, "two.py": text},
            "e": {"a.py": text, **{f"b{each}.py": f"x = {each}\n" for each in range(5)}, "c.py": text},
            "f": {"train.py": text + "\ndef unfinished(x:\n"},
        }.items():
            folder = root / f"{name}{number}"
            folder.mkdir()
            for file, content in texts.items():
                (folder / file).write_text(content, encoding="utf-8")
            (folder / "submission.json").write_text('{"val_bpb": 1.2, "name": "x"}', encoding="utf-8")
            folders.append(folder)
    return folders


def test_a_report_is_the_same_alone_and_in_a_batch_whatever_was_audited_before(tmp_path: Path) -> None:
    folders = _records(tmp_path)
    alone = {folder.name: [report.to_dict() for report in audit_each(folder, folder.name)] for folder in folders}
    assert len({str(reports) for reports in alone.values()}) == len(alone)
    for order in (folders, folders[::-1]):
        audits = [partial(audit_each, folder, folder.name) for folder in order]
        found = [report.to_dict() for report in audit_in_processes(audits, _given_up, processes=1)]
        assert found == [report for folder in order for report in alone[folder.name]]
