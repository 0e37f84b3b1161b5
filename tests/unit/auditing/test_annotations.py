"""Annotations of a workflow: GitHub's escapes, the file and line of each finding, and nothing that a record adds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bpb_harness.auditing import CODES, AuditReport, Verdict, audit, audit_one_of_many
from bpb_harness.auditing.annotations import annotations_of, workflow_command
from bpb_harness.auditing.verdict import Judgement
from fixtures.claims.build import HERE
from tests.workflow_commands import WorkflowCommand, read_commands

SUBMISSIONS = HERE / "submissions"


def report(*findings: object, folder: Path, files: tuple[str, ...] = ("submission.json", "train.log")) -> AuditReport:
    judgement = Judgement(Verdict.REFUTED, "because", (), 1.25, "so")
    return AuditReport(
        "name", judgement, 1.0, "submission.json (val_bpb)", findings, files, paths=(str(folder),)  # type: ignore[arg-type]
    )  # fmt: skip


def commands(*reports: AuditReport, workspace: Path) -> list[WorkflowCommand]:
    output = annotations_of(reports, workspace)
    read = read_commands(output)
    assert len(read) == len(output.splitlines()), "nothing else is printed"
    return read


@pytest.mark.parametrize(
    "text", ["plain", "100 %", "two\r\nlines", "a:b,c=d::e", "%0A is no line, %25 no per cent", "::error::again"]
)
def test_what_github_reads_is_what_was_meant(text: str) -> None:
    line = workflow_command("warning", text, {"file": text, "line": 3, "title": None})
    assert "\n" not in line
    assert "\r" not in line
    assert read_commands(line) == [WorkflowCommand("warning", {"file": text, "line": "3"}, text)]


def test_the_very_line() -> None:
    assert workflow_command("error", "50%: a, b\nc", {"file": "a,b:c.log", "line": 9, "title": "x"}) == (
        "::error file=a%2Cb%3Ac.log,line=9,title=x::50%25: a, b%0Ac"
    )
    assert workflow_command("notice", "m", {"file": None}) == "::notice::m"


def test_a_fixture_s_findings_are_at_their_lines() -> None:
    found = commands(audit(SUBMISSIONS / "wrong_space_twice"), workspace=SUBMISSIONS)
    assert [(each.name, each.properties) for each in found] == [
        ("error", {"file": "wrong_space_twice/submission.json", "line": "6", "title": "refuted"}),
        ("error", {"file": "wrong_space_twice/train.log", "line": "9", "title": "BPB102 known-byte-bug"}),
    ]
    assert found[0].message == "wrong_space_twice: refuted; claimed 1.03072 bits per byte, corrected 1.2030"
    assert found[1].message.startswith(
        "the score is too low (too good), for it divides by 1.16714 times too many bytes: "
    )


@pytest.mark.parametrize(
    ("evidence", "file", "line"),
    [
        ({"places": ["train.log:9", "submission.json:3"]}, "train.log", "9"),
        ({"place": "train.log (x)"}, "train.log", None),
        ({"file": "train.log", "line": 12}, "train.log", "12"),
        ({"files": ["logs/a.log", "train.log"]}, "logs/a.log", None),
        ({"place": "gone.log:2", "places": ["train.log:7"]}, "train.log", "7"),
        ({"place": "train.log2:9"}, "submission.json", None),
        ({"place": "train.log (copy):3"}, "train.log (copy)", "3"),
        ({"place": "train.log.old:9"}, "submission.json", None),
        ({"place": "train.log:4 (a.b) and more"}, "train.log", "4"),
        ({"place": "../train.log:9"}, "submission.json", None),
        ({"place": 3, "places": [4]}, "submission.json", None),
        ({"file": "broken.json"}, "broken.json", None),
        ({}, "submission.json", None),
    ],
)
def test_the_place_of_a_finding(tmp_path: Path, evidence: dict[str, object], file: str, line: str | None) -> None:
    (tmp_path / "logs").mkdir()
    files = ("submission.json", "train.log", "train.log (copy)", "logs/a.log", "log")
    for name in (*files, "broken.json"):
        (tmp_path / name).touch()
    finding = CODES["BPB102"].finding("words", facts=evidence)  # type: ignore[arg-type]
    (_, found) = commands(report(finding, folder=tmp_path, files=files), workspace=tmp_path)
    assert (found.properties["file"], found.properties.get("line")) == (file, line)


def test_levels_and_what_is_left_out(tmp_path: Path) -> None:
    findings = [CODES[code].finding(code) for code in ("BPB102", "BPB402", "BPB401", "BPB304")]
    found = commands(report(*findings, folder=tmp_path), workspace=tmp_path)
    assert [(each.name, each.message) for each in found] == [
        ("error", "name: refuted: because; claimed 1 bits per byte, corrected 1.2500"),
        ("error", "BPB102"),
        ("warning", "BPB402"),
    ]


def test_verdicts_have_levels_of_their_own() -> None:
    names = ("honest_single_seed", "open_no_log", "wrong_constant")
    found = commands(*(audit(SUBMISSIONS / name) for name in names), workspace=SUBMISSIONS)
    verdicts = [(each.name, each.properties["title"]) for each in found if "BPB" not in each.properties["title"]]
    assert verdicts == [("notice", "consistent"), ("warning", "unverifiable"), ("error", "refuted")]
    assert any("; what would settle it: " in each.message for each in found)


def test_a_record_adds_no_command(tmp_path: Path) -> None:
    hostile = "x\n::add-mask::secret\r\n##[error]y, %0A::stop-commands::z"
    judgement = Judgement(Verdict.UNVERIFIABLE, hostile, (hostile,), None, None)
    finding = CODES["BPB402"].finding(f"said {hostile}", place=hostile, file=hostile)
    made = AuditReport(hostile, judgement, 1.0, hostile, (finding,), (hostile,), paths=(str(tmp_path),))
    found = commands(made, workspace=tmp_path)
    assert [each.name for each in found] == ["warning", "warning"]
    assert "::add-mask::secret" in found[1].message
    assert re.search(r"[\r\n]", found[1].message) is None


def test_files_are_named_from_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "submission.json").touch()
    made = report(folder=Path("b"))
    monkeypatch.chdir(tmp_path / "a")
    assert commands(made, workspace=tmp_path)[0].properties["file"] == "a/b/submission.json"
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert "file=a/b/submission.json" in annotations_of([made])
    monkeypatch.delenv("GITHUB_WORKSPACE")
    assert "file=b/submission.json" in annotations_of([made])
    outside = (tmp_path / "other").as_posix()
    assert commands(made, workspace=Path(outside))[0].properties["file"] == f"{folder.as_posix()}/submission.json"


def test_loose_files_and_what_cannot_be_read(tmp_path: Path) -> None:
    log = SUBMISSIONS / "wrong_log_alone" / "train.log"
    found = commands(audit([log]), workspace=SUBMISSIONS)
    assert {each.properties["file"] for each in found} == {"wrong_log_alone/train.log"}
    (tmp_path / "empty").mkdir()
    (first, second) = commands(audit_one_of_many(tmp_path / "empty", "empty"), workspace=tmp_path)
    assert (first.name, first.properties) == ("warning", {"file": "empty", "title": "unverifiable"})
    assert second.properties["title"] == "BPB901 unreadable-file"


@pytest.mark.parametrize(
    ("key", "line"), [("val_bpb", "3"), ("seeds.7.loss", "5"), ("twice", None), ("bpb", None), ("gone", None)]
)
def test_a_key_is_at_its_line_if_one_alone_has_it(tmp_path: Path, key: str, line: str | None) -> None:
    written = '{\n"twice": 1,\n"val_bpb": 1,\n"seeds": {"7": {\n"loss": 1,\n"twice": 2}}}\n'
    (tmp_path / "submission.json").write_text(written)
    finding = CODES["BPB102"].finding("words", place=f"submission.json ({key})")
    (_, found) = commands(report(finding, folder=tmp_path), workspace=tmp_path)
    assert (found.properties["file"], found.properties.get("line")) == ("submission.json", line)


def test_no_key_is_looked_for_outside(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"val_bpb": 1}')
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / "submission.json").symlink_to(tmp_path / "other.json")
    (found,) = commands(report(folder=tmp_path / "record"), workspace=tmp_path)
    assert found.properties == {"file": "record/submission.json", "title": "refuted"}
