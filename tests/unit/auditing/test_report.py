"""What a reader sees: names, each reason once, equal digits everywhere, and lines that tell what to do next."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bpb_harness.auditing import Verdict, audit, audit_folders, unread_folders
from bpb_harness.auditing.report import (
    AuditReport,
    _cell,
    _markdown,
    _short,
    claimed_to_text,
    corrected_to_text,
    detail_of,
    in_order,
    overall,
    summary_to_dict,
    summary_to_markdown,
    unread_to_text,
)
from bpb_harness.auditing.report_text import summary_to_text
from bpb_harness.auditing.told import grouped, meaning_of, sentence, settles
from bpb_harness.auditing.verdict import Judgement
from bpb_harness.claim import read_claim
from bpb_harness.cli.audit import app
from bpb_harness.errors import ClaimError
from bpb_harness.findings import CODES, Finding, Json, Severity
from bpb_harness.report.audit import audit_page
from bpb_harness.terminal.screen import Screen
from fixtures.claims.build import HERE
from fixtures.claims.patterns import SP1024, log, submission
from tests.audited import audited, audited_together
from tests.printed import words_of

SUBMISSIONS = HERE / "submissions"


@pytest.mark.parametrize(
    "name", ["empty.log", "empty.json", "submission.json", "x.claim.json", "README.md", "train.py"]
)
def test_a_file_without_a_byte_is_bad_input(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ClaimError, match="empty"):
        audit(tmp_path / name)


def test_an_empty_file_beside_a_good_record_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    for name in ("stderr.txt", "notes.json", "README.md"):
        (tmp_path / name).touch()
    report = audit(tmp_path)
    assert report.verdict is Verdict.CONSISTENT
    (tmp_path / "submission.json").touch()
    assert audit(tmp_path).verdict is Verdict.UNVERIFIABLE


def test_a_folder_of_empty_files_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "train.log").touch()
    with pytest.raises(ClaimError, match="can be read"):
        audit(tmp_path)


def test_a_folder_of_folders_is_told_of_recursive(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/submission.json").write_text(submission(val_bpb=1.2))
    with pytest.raises(ClaimError, match="--recursive"):
        audit(tmp_path)
    # Folders of logs alone, or of claim files, are claims of their own as well.
    for number in (1, 2):
        (tmp_path / f"c/{number}").mkdir(parents=True)
        (tmp_path / f"c/{number}/train.log").write_text(log(2.0312, SP1024))
    (tmp_path / "d/1").mkdir(parents=True)
    (tmp_path / "d/1/x.claim.json").write_text('{"format": "bpb-claim/1", "claimed_bpb": 1.2}')
    for folder in ("c", "d"):
        with pytest.raises(ClaimError, match="--recursive"):
            audit(tmp_path / folder)
    # One folder of logs beside one of code is a submission's.
    (tmp_path / "e/logs").mkdir(parents=True)
    (tmp_path / "e/logs/train.log").write_text(log(2.0312, SP1024))
    (tmp_path / "e/src").mkdir()
    (tmp_path / "e/src/train.py").write_text("print(1)")
    assert audit(tmp_path / "e").verdict is Verdict.CONSISTENT
    (tmp_path / "b").mkdir()
    with pytest.raises(ClaimError) as caught:
        audit(tmp_path / "b")
    assert "--recursive" not in str(caught.value)


def test_a_claim_without_its_format_is_asked_for_it(tmp_path: Path) -> None:
    path = tmp_path / "what_i_know.json"
    path.write_text('{"claimed_bpb": 1}')
    with pytest.raises(ClaimError, match='add "format": "bpb-claim/1"'):
        audit(path)


def test_a_submission_may_have_a_key_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text('{"claimed_bpb": 1.2, "val_bpb": 1.2}')
    assert read_claim(tmp_path).score is not None


def test_the_name_of_a_claim_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "x.claim.json"
    path.write_text('{"format": "bpb-claim/1", "name": "Run | 7\\u001b[2J", "claimed_bpb": 1.5}')
    report = audit(path)
    assert report.to_text().startswith('Audit of "Run | 7[2J": UNVERIFIABLE')
    assert report.to_markdown().startswith('### Audit of "Run \\| 7\\[2J": **unverifiable**')
    assert report.to_dict()["title"] == "Run | 7\x1b[2J"


@pytest.mark.parametrize("folder", sorted(path.name for path in SUBMISSIONS.iterdir()))
def test_what_is_missing_does_not_begin_with_or(folder: str) -> None:
    report = audited(f"submissions/{folder}")
    assert not any(item.startswith("or ") for item in report.judgement.missing)
    assert bool(report.judgement.missing) == (report.verdict is not Verdict.CONFIRMED)


@pytest.mark.parametrize("folder", sorted(path.name for path in SUBMISSIONS.iterdir()))
def test_a_reason_is_given_once(folder: str) -> None:
    report = audited(f"submissions/{folder}")
    for text in (report.to_text(), report.to_markdown()):
        flat = " ".join(text.replace("\\", "").replace("&lt;", "<").split()).casefold()
        assert flat.count(" ".join(report.judgement.reason.split()).casefold()) == 1, text


def test_corrected_has_the_same_digits_everywhere() -> None:
    folder = SUBMISSIONS / "wrong_space_twice"
    report = audit(folder)
    assert report.corrected_bpb is not None
    shown = f"{report.corrected_bpb:.4f}"
    assert f"corrected  {shown} bits" in report.to_text()
    assert f"- corrected: {shown} bits per byte" in report.to_markdown()
    assert f"  {shown} " in summary_to_text([report])
    assert f"| {shown} |" in summary_to_markdown([report])


@pytest.fixture(scope="module")
def reports() -> list[AuditReport]:
    """Of all submissions."""
    return audited_together()


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_the_table_gives_whole_reasons_at_any_width(reports: list[AuditReport], width: int) -> None:
    text = summary_to_text(reports, Screen(width))
    assert all(len(line) <= width or " " not in line.strip() for line in text.splitlines())
    heads = " ".join(text.split()).replace("codes: ", "codes ")
    assert heads.startswith("name verdict claimed corrected codes reason ") or width == 40
    for report in reports:
        assert report.name in text
        assert all(word in text for word in report.judgement.reason.split())
        if width != 120:  # in one column at 200, over the whole width below 100
            assert report.judgement.reason in " ".join(text.split())
    whole = json.loads(json.dumps(summary_to_dict(reports)))
    assert [row["reason"] for row in whole["audits"]] == [report.judgement.reason for report in reports]


@pytest.mark.parametrize("width", [80, 120])
def test_colour_marks_verdicts_and_changes_no_word(reports: list[AuditReport], width: int) -> None:
    for show in (lambda screen: summary_to_text(reports, screen), reports[0].to_text):
        coloured, plain = show(Screen(width, has_colour=True)), show(Screen(width))
        assert "\x1b[" in coloured
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == plain.split()


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"weight": "1/(1-t)", "method": "mc"}, "BPB212"),
        ({"steps_table": {"8": 3.0, "16": 1.5, "32": 1.3}}, "BPB208"),
        ({"nats_per_token": 2.2001, "claimed_bpb": 3.1741, "tokenizer": "sp1024"}, "BPB108"),
    ],
)
def test_what_speaks_against_a_number_comes_before_what_is_missing(
    tmp_path: Path, keys: dict[str, object], code: str
) -> None:
    path = tmp_path / "x.claim.json"
    path.write_text(json.dumps({"format": "bpb-claim/1", "claimed_bpb": 1.3, **keys}))
    report = audit(path)
    assert report.with_code("BPB402")
    assert report.judgement.reason == report.with_code(code)[0].message


@pytest.fixture
def tabulated(tmp_path: Path) -> Path:
    """One submission, and folders with scores in tables alone."""
    (tmp_path / "good").mkdir()
    (tmp_path / "good/train.log").write_text(log(2.0312, SP1024))
    (tmp_path / "good/curve.jsonl").write_text('{"val_bpb": 1.2}\n')  # beside a log
    for name in ("lines", "deep/below"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "metrics.jsonl").write_text('{"loss": 2.0}\n' * 20_000 + '{"val_bpb": 1.2}\n')
    (tmp_path / "commas").mkdir()
    (tmp_path / "commas/scores.csv").write_text("step,val_bpb\n1,1.2\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/texts.jsonl").write_text('{"text": "words"}\n')  # no score in it
    (tmp_path / "leaderboard.csv").write_text("name,bpb\ngood,1.2\n")  # a list of the submissions below
    return tmp_path


def test_folders_with_scores_in_tables_alone_are_named(tabulated: Path) -> None:
    unread = unread_folders(tabulated)
    assert unread == ["commas", "deep/below", "lines"]
    reports = list(audit_folders(tabulated))
    assert [report.name for report in reports] == ["good"]
    said = (
        "3 folders or files not audited, which speak of bits per byte and belong to no submission: a folder has no "
        "log, submission.json or claim file, and a file lies above submissions: commas, deep/below, lines"
    )
    assert words_of(summary_to_text(reports, unread=unread)).endswith(f" {said}")
    assert summary_to_markdown(reports, unread).splitlines()[-2:] == ["", said]
    assert summary_to_dict(reports, unread)["unread"] == unread
    assert "not audited" not in summary_to_text(reports) + summary_to_markdown(reports)
    assert all("2 claims:" in show([*reports[:1], *reports[:1]]) for show in (summary_to_text, summary_to_markdown))
    assert all("1 claim:" in show(reports[:1]) for show in (summary_to_text, summary_to_markdown))


def test_the_command_names_folders_with_scores_in_tables_alone(tabulated: Path) -> None:
    done = CliRunner().invoke(app, [str(tabulated), "--recursive"])
    assert done.exit_code == 0
    assert "3 folders or files not audited" in done.stdout.split("\n\n")[-1]
    nothing = CliRunner().invoke(app, [str(tabulated / "lines"), "--recursive"])
    assert "1 folder or file not audited, which speaks of bits per byte and belongs to no" in str(nothing.exception)


@pytest.mark.parametrize(
    ("files", "row"),
    [
        ({"history.jsonl": '{"val_bpb": 1.2}\n', "train.py": "x = 1\n"}, True),
        ({"results.tsv": "seed\tval_bpb\n1\t1.2\n", "train.py": "x = 1\n"}, True),
        ({"history.jsonl": '{"loss": 1.2}\n', "train.py": "print('val_bpb')\n"}, False),
        ({"train.py": "print('val_bpb')\n"}, False),
        ({"README.md": "Of bits per byte.\n"}, False),
        ({"README.md": "val_bpb: 1.2\n", "train.py": "x = 1\n"}, True),
    ],
)
def test_what_is_audited_alone_has_a_row_among_many_or_is_named(
    tmp_path: Path, files: dict[str, str], row: bool
) -> None:
    (tmp_path / "one").mkdir()
    for name, text in files.items():
        (tmp_path / "one" / name).write_text(text)
    alone = audit(tmp_path / "one")
    rows = list(audit_folders(tmp_path))
    assert [(report.name, report.verdict, report.findings) for report in rows] == (
        [("one", alone.verdict, alone.findings)] if row else []
    )
    assert unread_folders(tmp_path) == ([] if row else ["one"])


@pytest.mark.parametrize(
    ("files", "empty"),
    [
        ({"submission.json": '{"name": "a", "val_bpb": null}'}, True),
        ({"submission.json": '{"name": "a", "val_bpb": "pending"}', "README.md": "# A plan\n"}, True),
        ({"submission.json": '{"name": "a"}', "train.log": "step:1/2 train_loss:3.1\n"}, True),
        ({"submission.json": '{"val_bpb": null, "smoke": {"val_bpb": 2.9}}'}, False),
        ({"submission.json": '{"val_bpb": null}', "README.md": "val_bpb: 1.12\n"}, False),
        ({"submission.json": '{"val_bpb": null}', "train.log": "final val_bpb:1.12\n"}, False),
        ({"submission.json": '{"val_bpb": null}', "a.csv": "run,val_bpb\na,1.12\n"}, False),
        ({"submission.json": '{"val_bpb": 1.12}'}, False),
        ({"eval_results.json": '{"epoch": 1.0, "eval_loss": 2.1}'}, False),
    ],
)
def test_records_that_give_no_score_at_all_are_counted_apart(
    tmp_path: Path, files: dict[str, str], empty: bool
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    report = audit(tmp_path)
    assert (report.verdict, report.exit_code, report.gives_no_score) == (Verdict.UNVERIFIABLE, 3, empty)
    which = "1 gives none at all" if empty else "1 gives numbers that it does not call the score"
    said = f"1 unverifiable (of these 1 claims no score: {which})"
    is_unclaimed = report.claimed_bpb is None
    for show in (summary_to_text, summary_to_markdown):
        assert (said in " ".join(show([report]).split())) is is_unclaimed
    told = summary_to_dict([report])
    assert (told["without_claim"], told["without_score"]) == (int(is_unclaimed), int(empty))
    if not empty and "val_bpb" in files.get("submission.json", "null") and "null" in files["submission.json"]:
        assert "gives scores" in report.judgement.reason or "does not call the score" in report.judgement.reason


def test_how_many_records_claim_nothing_is_one_line_of_every_summary(tmp_path: Path) -> None:
    texts = ["null", '"pending"', "null", "1.12", "null"]
    for number, value in enumerate(texts):
        folder = tmp_path / f"r{number}"
        folder.mkdir()
        (folder / "submission.json").write_text(f'{{"val_bpb": {value}}}')
        if number in (2, 4):
            (folder / "README.md").write_text("val_bpb: 1.12\n")
    reports = [*audit_folders(tmp_path)]
    said = "5 unverifiable (of these 4 claim no score: 2 give none at all, 2 give numbers that they "
    said += "do not call the score)"
    for shown in (summary_to_text(reports), summary_to_markdown(reports), audit_page(reports)):
        assert said in " ".join(shown.split())
    told = summary_to_dict(reports)
    assert (told["without_claim"], told["without_score"]) == (4, 2)
    (read,) = [report for report in reports if report.claimed_bpb is not None]
    assert "claim no score" not in summary_to_text([read])


def test_only_the_first_of_many_unread_folders_are_named() -> None:
    assert unread_to_text([f"f{i}" for i in range(9)]).endswith(": f0, f1, f2, f3, f4 and 4 more")  # type: ignore[union-attr]


def test_a_frame_has_a_row_for_each_finding(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(log(2.0312, SP1024 * 1.16714))
    report = audit(tmp_path)
    columns = ["name", "verdict", "claimed_bpb", "corrected_bpb", "code", "severity", "message", "factor"]
    frame = report.to_frame()
    assert list(frame.columns) == columns
    for row, finding in zip(frame.to_dict("records"), report.findings, strict=True):
        told = (row["code"], row["severity"], row["message"])
        assert told == (finding.code, finding.severity.value, finding.message)
        assert (row["name"], row["verdict"]) == (tmp_path.name, "refuted")
        assert (row["claimed_bpb"], row["corrected_bpb"]) == (report.claimed_bpb, report.corrected_bpb)
        assert row["factor"] == finding.factor or finding.factor is None


@pytest.mark.parametrize(
    ("value", "corrected", "claimed"),
    [
        *((None, "-", "-"), (1.2, "1.2000", "1.2"), (1.234567, "1.2346", "1.23457"), (2.0, "2.0000", "2")),
        *((999.9999, "999.9999", "999.9999"), (1000.0, "1000", "1000"), (123456.0, "1.2346e+05", "1.2346e+05")),
        *((0.00000035, "0.0000", "0.00000035"), (0.000012, "0.0000", "0.000012"), (0.0, "0.0000", "0")),
        *((1e-30, "0.0000", "1e-30"), (0.00123, "0.0012", "0.00123"), (0.00004, "0.0000", "0.00004")),
    ],
)
def test_digits_of_a_score(value: float | None, corrected: str, claimed: str) -> None:
    assert corrected_to_text(value) == corrected
    assert claimed_to_text(value) == claimed


def test_findings_are_ordered_by_weight_then_code_and_said_once() -> None:
    def found(code: str, severity: Severity, message: str = "x") -> Finding:
        return Finding(code, severity, message)

    informs, confirms = found("BPB304", Severity.INFORMS), found("BPB401", Severity.CONFIRMS)
    warns, refutes = found("BPB402", Severity.WARNS), found("BPB501", Severity.REFUTES)
    other, last = found("BPB402", Severity.WARNS, "y"), found("BPB403", Severity.WARNS)
    given = [informs, last, confirms, warns, warns, refutes, other]
    assert in_order(given) == (refutes, warns, other, last, confirms, informs)


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        *((["confirmed"], "confirmed"), ([], "confirmed"), (["confirmed", "unverifiable"], "unverifiable")),
        *((["confirmed", "consistent"], "consistent"), (["consistent", "unverifiable"], "unverifiable")),
        *((["unverifiable", "refuted", "confirmed"], "refuted"), (["refuted"], "refuted")),
    ],
)
def test_many_claims_are_as_good_as_the_worst(verdicts: list[str], whole: str) -> None:
    reports = [AuditReport("x", Judgement(Verdict(v), "", (), None, None), None, None, ()) for v in verdicts]
    assert overall(reports).value == whole
    summary = summary_to_dict(reports)
    assert summary["verdict"] == whole
    assert summary["counts"] == {v.value: verdicts.count(v.value) for v in Verdict}


def test_a_finding_that_is_the_reason_is_not_told_again() -> None:
    def detail(**evidence: Any) -> str:
        return detail_of(Finding("BPB401", Severity.WARNS, "so it is", evidence), "so it is")

    assert detail_of(Finding("BPB401", Severity.WARNS, "so it is"), "another") == "so it is"
    meant = CODES["BPB401"].summary.rstrip(".")
    assert detail() == meant
    assert detail(places=["a:1", "b:2"]) == f"{meant} (a:1, b:2)"
    assert detail(place="a:1", file="f") == f"{meant} (a:1)"
    assert detail(file="f") == f"{meant} (f)"
    assert detail(file="f", line=7) == f"{meant} (f:7)"


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abc..."),
        ("ab  cdefg", 6, "ab..."),
        ("abcdefg", 2, "..."),
        ("a\nb", 3, "a b"),
    ],
)
def test_long_texts_are_cut(text: str, width: int, short: str) -> None:
    assert _short(text, width) == short


def test_details_below_a_table_are_those_of_doubtful_claims_and_bounded() -> None:
    honest, wrong = audit(SUBMISSIONS / "honest_single_seed"), audit(SUBMISSIONS / "wrong_constant")
    assert "###" not in summary_to_markdown([honest, wrong])
    told = summary_to_markdown([honest, wrong], with_details=True)
    assert told.startswith(summary_to_markdown([honest, wrong]).rstrip())
    assert told.endswith(f"\n\n{wrong.to_markdown()}")
    assert told.count("###") == 1
    many = summary_to_markdown([wrong] * 53, with_details=True)
    assert many.count("###") == 50
    assert many.endswith("\n\n3 more are in the table alone.\n")


# What readers of a thread took for something else, or did not understand.
_UNCLEAR = re.compile(
    r"\b(?:un)?paid\b|specimen|shown to be the length|bound on work|recoverable|stands? behind the number|\bnobody\b"
    r"|proof in bits|to be confirmed|plain validation|no number of bytes per token",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")  # words of a record's author


@pytest.mark.parametrize("folder", sorted(path.name for path in SUBMISSIONS.iterdir()))
def test_a_report_can_be_read_by_itself(folder: str) -> None:
    report = audited(f"submissions/{folder}")
    text, markdown = report.to_text(), report.to_markdown()
    said = words_of(_QUOTED.sub("", text))
    assert not _UNCLEAR.search(said), said
    for shown in (text, markdown):
        settles = shown[shown.index("What would settle it") :]
        assert len(settles.splitlines()) > 1
        assert not re.search(r"BPB[0-9]{3} ", settles), "what would settle it comes last"
    assert f"verdict {report.verdict.value}: {meaning_of(report)}" in words_of(text)
    assert report.judgement.rests_on or "does not decide" in meaning_of(report)
    if report.verdict is Verdict.REFUTED:
        known = "the right score is another one, given below"
        assert (known in meaning_of(report)) == (report.corrected_bpb is not None)
    assert set(report.judgement.rests_on) <= {finding.code for finding in report.findings}
    assert text.splitlines()[1].strip()[0] not in "abcdefghijklmnopqrstuvwxyz" or "." in text.splitlines()[1].split()[0]


def test_no_code_is_explained_in_words_of_this_project() -> None:
    assert not [rule.code for rule in CODES.values() if _UNCLEAR.search(f"{rule.name} {rule.summary}")]


@pytest.mark.parametrize("folder", sorted(path.name for path in SUBMISSIONS.iterdir()))
def test_a_corrected_score_is_the_verdicts_alone(folder: str) -> None:
    """A finding knows its factor, not what else is wrong: where the verdict withholds a score, no finding has it."""
    report = audited(f"submissions/{folder}")
    said = " ".join(finding.message for finding in report.findings)
    assert not re.search(r"\bscore (?:times|x) [0-9]|should be|would be [0-9]\.[0-9]+ bits per byte", said)
    factors = [finding.factor for finding in report.findings if finding.factor is not None]
    if report.claimed_bpb is not None and report.corrected_bpb is None:
        for factor in factors:
            assert f"{report.claimed_bpb * factor:.4f}" not in said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a `x = y * z[0]` b", "a `x = y * z[0]` b"),
        ("a_b `c_d`", "a\\_b `c_d`"),
        ("`<img src=x>`", "`<img src=x>`"),
        ("`open <b>", "\\`open &lt;b>"),
        ("``<b>``", "\\``<b>`\\`"),
        ("a | `b | c`", "a \\| `b | c`"),
    ],
)
def test_code_stays_code_in_markdown_and_nothing_else_is_read_there(text: str, shown: str) -> None:
    assert _markdown(text) == shown
    assert "`" not in _cell(text).replace("\\`", "")


def test_a_rule_that_is_broken_stands_below_the_reason_and_changes_no_verdict() -> None:
    report = audit(SUBMISSIONS / "honest_over_cap")
    assert report.verdict is Verdict.CONSISTENT
    broken = "Besides, the entry breaks a rule of its contest: the artifact is larger than the rules allow (BPB501)."
    for shown in (report.to_text(), report.to_markdown()):
        assert words_of(shown).index(broken) < words_of(shown).index("verdict")
    assert "Besides" not in audit(SUBMISSIONS / "honest_single_seed").to_text()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the score is low", "The score is low."),
        ("train.log loads it", "train.log loads it."),
        ("f(u) rises?", "f(u) rises?"),
        ("One. Two.", "One. Two."),
        ("3 logs", "3 logs."),
        ("x", "X."),
    ],
)
def test_a_sentence_begins_and_ends_as_one(text: str, shown: str) -> None:
    assert sentence(text) == shown


LINE = "total_nats += (weights[step] * losses[step]).sum().item()  # one line that is wider than a screen is"


def _with_quotes(*findings: Finding) -> AuditReport:
    judgement = Judgement(Verdict.REFUTED, "it is wrong", ("a run",), None, None, (findings[0].code,))
    return AuditReport("x", judgement, 1.0, "here", findings)


def _quoting(code: str, *lines: tuple[str, int, str], severity: Severity | None = None) -> Finding:
    quoted: list[Json] = [{"file": file, "line": line, "code": text} for file, line, text in lines]
    said = f"{code} is what it is, at great length, so that the sentence is broken on any screen (train.py:7)"
    return CODES[code].finding(said, severity=severity, file="train.py", line=7, quoted=quoted)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_quoted_line_stands_whole_on_a_line_of_its_own(width: int) -> None:
    report = _with_quotes(_quoting("BPB257", ("train.py", 7, LINE), ("other.py", 9, "x = 1\ty = \x1b[31m2")))
    lines = report.to_text(Screen(width)).splitlines()
    assert f"        line 7: {LINE}" in lines
    assert "        other.py:9: x = 1   y = <U+001B>[31m2" in lines
    markdown = report.to_markdown().splitlines()
    at = markdown.index("  ```text")
    assert markdown[at + 1 : at + 4] == [f"  line 7: {LINE}", "  other.py:9: x = 1   y = <U+001B>[31m2", "  ```"]


def test_a_fence_within_a_quoted_line_ends_no_code() -> None:
    report = _with_quotes(_quoting("BPB257", ("train.py", 7, "```"), ("train.py", 8, "<img> @someone ~~~")))
    lines = report.to_markdown().splitlines()
    assert [line for line in lines if line.strip().startswith("```")] == ["  ```text", "  ```"]


def test_a_line_is_quoted_once_and_many_are_counted() -> None:
    first = _quoting("BPB257", ("train.py", 7, "a = 1"))
    again = _quoting("BPB350", ("train.py", 7, "a = 1"), *(("train.py", 10 + n, f"b = {n}") for n in range(8)))
    text = _with_quotes(first, again).to_text(Screen(80))
    assert text.count("a = 1") == 1
    quoted = [line.strip() for line in text.splitlines() if "line 1" in line]
    assert quoted == [f"line {10 + n}: b = {n}" for n in range(6)]
    assert "and: 2 more lines" in text


@pytest.mark.parametrize(
    ("fault", "doubt", "is_part"),
    [
        ("BPB151", "BPB154", True), ("BPB151", "BPB156", True), ("BPB154", "BPB156", True), ("BPB152", "BPB155", True),
        ("BPB257", "BPB154", False), ("BPB102", "BPB156", False), ("BPB150", "BPB109", True),
        ("BPB257", "BPB109", False),
        ("BPB272", "BPB414", True), ("BPB257", "BPB414", False), ("BPB151", "BPB350", False),
    ],
)  # fmt: skip
def test_what_is_part_of_a_proven_fault_is_no_doubt(fault: str, doubt: str, is_part: bool) -> None:
    found = CODES[fault].finding("proven", severity=Severity.REFUTES)
    report = _with_quotes(found, CODES[doubt].finding("said", severity=Severity.WARNS))
    heading = next(group.heading for group in grouped(report) if doubt in {each.code for each in group.findings})
    assert heading == ("What refutes the score" if is_part else "Doubts")


def test_the_title_says_what_stands_behind_a_verdict_that_is_no_fault() -> None:
    for verdict, said in {
        Verdict.CONSISTENT: " (no fault found; not verified)",
        Verdict.CONFIRMED: " (computed a second time)",
        Verdict.REFUTED: "",
        Verdict.UNVERIFIABLE: "",
    }.items():
        report = AuditReport("x", Judgement(verdict, "so it is", (), None, None), 1.2, "a.log", ())
        assert report.to_text().splitlines()[0] == f"Audit of x: {verdict.value.upper()}{said}"
        assert report.to_markdown().splitlines()[0] == f"### Audit of x: **{verdict.value}**{said}"


def test_what_a_consistent_score_rests_on_is_no_remark() -> None:
    found = (CODES["BPB401"].finding("logged"), CODES["BPB206"].finding("two"), CODES["BPB304"].finding("one"))
    for verdict, behind in ((Verdict.CONSISTENT, ["BPB401", "BPB206"]), (Verdict.UNVERIFIABLE, ["BPB401"])):
        judged = Judgement(verdict, "so it is", (), None, None, ("BPB401", "BPB206"))
        groups = {group.heading: group.findings for group in grouped(AuditReport("x", judged, 1.2, "a", found))}
        assert [each.code for each in groups["What agrees with the score"]] == behind
        assert {each.code for each in groups["Remarks"]} == {"BPB206", "BPB304"} - set(behind)


def test_parts_of_a_fault_are_told_beside_what_the_verdict_rests_on() -> None:
    fault = CODES["BPB272"].finding("last", severity=Severity.REFUTES)
    judged = Judgement(Verdict.REFUTED, "last", (), None, None, ("BPB272",))
    alone = AuditReport("x", judged, 1.2, "a", (fault,))
    assert meaning_of(alone).endswith(". The verdict rests on BPB272")
    low = AuditReport("x", judged, 1.2, "a", (fault, CODES["BPB414"].finding("low")))
    assert meaning_of(low).endswith(". The verdict rests on BPB272; BPB414 is part of the same fault")
    both = AuditReport("x", judged, 1.2, "a", (fault, *(CODES[code].finding("low") for code in ("BPB414", "BPB420"))))
    assert meaning_of(both).endswith("BPB272; BPB414 and BPB420 are part of the same fault")


def test_the_same_code_on_several_lines_is_shown_once() -> None:
    twice = _quoting("BPB150", ("t.py", 7, "x = 1"), ("t.py", 9, "x = 1"), ("u.py", 9, "x = 1"))
    text = _with_quotes(twice).to_text()
    assert "        t.py:7 and 9: x = 1\n" in text
    assert "        u.py:9: x = 1\n" in text


def test_what_was_not_checked_is_told(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    bare = audit(tmp_path)
    assert bare.unchecked == ("how the score was computed", _LEARNT)  # it divides by the whole split's bytes, exactly
    assert f"  unchecked  how the score was computed; {_LEARNT}\n" in bare.to_text()
    (tmp_path / "train.py").write_text("print(1)\n")
    scripted = audit(tmp_path)
    assert scripted.unchecked == ("how the score was computed", _LEARNT)  # nothing in it is known to report a score
    assert scripted.to_dict()["unchecked"] == [*scripted.unchecked]
    uncalled = "def evaluate(loss):\n    print(f'val_bpb: {loss / 0.69 / 2.4}')\n"
    (tmp_path / "train.py").write_text(f"{uncalled}def main():\n    print(1)\nmain()\n")
    (said,) = audit(tmp_path).with_code("BPB954")  # a report stands there, which a run of the script does not reach
    assert "no report of bits per byte is recognised in what a run of the script reaches" in said.message
    claimed = tmp_path / "claimed"
    claimed.mkdir()
    (claimed / "README.md").write_text("val_bpb: 1.2031\n")
    (claimed / "train.py").write_text("print(1)\n")
    assert "how the score was computed" in audit(claimed).unchecked
    for folder, is_open in {"open_no_log": True, "open_slice_disclosed": False}.items():
        assert ("how much of the text was scored" in audit(SUBMISSIONS / folder).unchecked) is is_open
    (tmp_path / "submission.json").write_text('{"val_bpb": null}')
    assert audit(tmp_path).unchecked == ()  # nothing is claimed


_LEARNT = "that the text was not trained on"


def test_an_entry_over_the_cap_is_told_what_keeps_it() -> None:
    for severity, is_told in ((Severity.WARNS, True), (Severity.INFORMS, False)):
        found = (CODES["BPB501"].finding("large", severity=severity),)
        items = settles(AuditReport("x", Judgement(Verdict.CONSISTENT, "r", ("a log",), None, None), 1.2, "a", found))
        kept = "for the rules of the contest: an artifact within the cap, and its score (BPB501)"
        assert [*items] == ["a log", kept][: 1 + is_told]


def test_a_byte_bug_can_be_worked_out_from_the_printed_numbers() -> None:
    (found,) = [each for each in audit(SUBMISSIONS / "wrong_space_twice").findings if each.code == "BPB102"]
    shown = re.search(r"loss / ln 2 / score: ([\d.]+) / ln 2 / ([\d.]+) by train\.log:9\)", found.message)
    assert shown, found.message
    loss, score = map(float, shown.groups())
    assert loss / math.log(2.0) / score == pytest.approx(found.evidence["bytes_per_token"], rel=1e-12)
