"""One claim through every check: what the checks of scripts are given, which scripts, and what a report is made of."""

from __future__ import annotations

import base64
import json
import lzma
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bpb_harness
from bpb_harness.argument_names import named_as_arguments
from bpb_harness.auditing import AuditReport, audit, audit_folders, audit_one_of_many, of_many, of_scripts, script
from bpb_harness.auditing import Verdict as AuditVerdict
from bpb_harness.auditing.script import ReadOnce, ScriptContext
from bpb_harness.claim import Claim, LogRecord, Source
from bpb_harness.errors import ClaimError, UsageError
from bpb_harness.findings import Finding, Severity
from bpb_harness.rules import candidates_of
from fixtures.claims.patterns import SP1024, claim, log, submission
from tests.golf_rules import GOLF

SCRIPT = "".join(f"x{i} = {i}\n" for i in range(40))


class _Checked:
    """Stands for the checks of scripts: keeps what it is given, and finds one thing in each script."""

    def __init__(self) -> None:
        self.scripts: list[Path] = []
        self.context = ScriptContext()
        self.options: dict[str, Any] = {}

    def __call__(
        self, scripts: Sequence[Path], context: ScriptContext, *, shared: ReadOnce, **options: Any
    ) -> Iterator[Finding]:
        self.scripts, self.context, self.options = list(scripts), context, options
        for path in scripts:
            evidence = {"file": str(path), "line": 3, "about": f"in {path}"}
            yield Finding("BPB150", Severity.INFORMS, f"{path}:3 says so of {path}", evidence)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> _Checked:
    made = _Checked()
    monkeypatch.setattr(script, "check_scripts", made)
    return made


def test_checks_of_scripts_are_given_what_is_known(tmp_path: Path, checked: _Checked) -> None:
    stated = claim(
        claimed_bpb=1.25, tokenizer="sp1024", schedule_eps=0.001, num_steps=64, num_windows=32, context_length=128
    )
    (tmp_path / "x.claim.json").write_text(stated)
    (tmp_path / "train.py").write_text(SCRIPT)
    row = GOLF.table.full_split("sp1024")
    assert row is not None
    audit(tmp_path)
    assert checked.context == ScriptContext(
        num_windows=32, num_tokens=4096, text_tokens=row.num_tokens, bytes_per_token=row.bytes_per_token, text=str(row),
        named_in="x.claim.json (tokenizer)", vocab_size=1024, claimed=1.25, tokenizer_is_certain=True,
        rules=replace(GOLF, why="by its tokenizer sp1024, named in x.claim.json (tokenizer)"),
    )  # fmt: skip
    assert (checked.scripts, checked.options) == ([tmp_path / "train.py"], {"tokenizer": None, "allow_code": False})
    tokenizer = tmp_path / "tokenizer.model"
    audit(tmp_path, allow_code=True, tokenizer=str(tokenizer))
    assert checked.options == {"tokenizer": tokenizer, "allow_code": True}


def test_what_is_not_known_is_not_given(tmp_path: Path, checked: _Checked) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "submission.json").write_text('{"val_bpb": null}')
    report = audit(tmp_path)
    assert checked.context == ScriptContext(rules=replace(GOLF, why="by its submission.json"))
    (found,) = report.with_code("BPB150")
    assert found.message == "train.py:3 says so of train.py"
    assert found.evidence == {"file": "train.py", "line": 3, "about": f"in {tmp_path / 'train.py'}"}


@pytest.mark.parametrize(("num_lines", "is_checked"), [(29, False), (30, True)])
def test_a_script_in_a_log_is_checked_where_it_is_one(
    tmp_path: Path, checked: _Checked, num_lines: int, is_checked: bool
) -> None:
    code = "import os\n" + "x = 1\n" * (num_lines - 2) + "if __name__ == '__main__':\n"
    (tmp_path / "a.log").write_text("nothing\n")
    (tmp_path / "b.log").write_text(code + log(2.0312, SP1024))
    audit(tmp_path)
    assert checked.scripts == ([tmp_path / "b.log"] if is_checked else [])
    if is_checked:  # a script of its own comes first
        (tmp_path / "train.py").write_text(SCRIPT)
        audit(tmp_path)
        assert checked.scripts == [tmp_path / "train.py"]


def test_the_tokenizer_may_be_named_by_its_file_or_by_a_script(tmp_path: Path) -> None:
    unnamed = Claim("x", scripts=(tmp_path / "gone.py", tmp_path / "none.py", tmp_path / "one.py"))
    (tmp_path / "none.py").write_text("sp1024 = 1\nsp8192 = 2\n")
    (tmp_path / "one.py").write_text("PATH = 'fineweb_8192_bpe.model'\n")
    found = of_scripts.with_tokenizer(unnamed, None)
    assert (found.tokenizer, found.tokenizer_source) == ("sp8192", Source("one.py", 1))
    given = of_scripts.with_tokenizer(unnamed, tmp_path / "fineweb_1024_bpe.model")
    assert (given.tokenizer, given.tokenizer_source) == ("sp1024", Source(str(tmp_path / "fineweb_1024_bpe.model")))
    assert of_scripts.with_tokenizer(unnamed, "any.model") == found
    named = Claim("x", tokenizer="sp4096", scripts=unnamed.scripts)
    assert of_scripts.with_tokenizer(named, tmp_path / "fineweb_1024_bpe.model") is named
    assert of_scripts.with_tokenizer(Claim("x", logs=(LogRecord("a.log"),)), None).tokenizer is None


def test_scripts_that_name_no_tokenizer_or_two_leave_it_unnamed(tmp_path: Path) -> None:
    """Nothing of them is taken for the name: neither by themselves nor beside a script that names one."""
    texts = {"none.py": "x = 1\n", "two.py": "sp1024 = 1\nsp8192 = 2\n", "one.py": "sp8192 = 2\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    for name in ("none.py", "two.py", "gone.py"):
        assert of_scripts._tokenizer_of(tmp_path / name) is None
        alone = Claim("x", scripts=(tmp_path / name,))
        assert of_scripts.with_tokenizer(alone, None) is alone
        found = of_scripts.with_tokenizer(replace(alone, scripts=(*alone.scripts, tmp_path / "one.py")), None)
        assert (found.tokenizer, found.tokenizer_source) == ("sp8192", Source("one.py", 1))
    differ = Claim("x", scripts=(tmp_path / "one.py", tmp_path / "other.py"))
    (tmp_path / "other.py").write_text("\nsp1024 = 2\n")
    assert of_scripts.with_tokenizer(differ, None) is differ


def test_a_packed_script_names_its_tokenizer_without_a_line(tmp_path: Path) -> None:
    """Lines of what was unpacked are none of the file's."""
    packed = tmp_path / "packed.py"
    payload = base64.b85encode(lzma.compress(b"import os\nPATH = 'fineweb_8192_bpe.model'\n"))
    packed.write_text(f"import base64, lzma\nexec(lzma.decompress(base64.b85decode({payload!r})))\n")
    assert of_scripts._tokenizer_of(packed) == ("sp8192", Source("packed.py", None))


def test_code_is_run_on_a_tokenizer_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        audit(tmp_path, allow_code=True)
    assert str(caught.value) == "--allow-code runs the script's byte table on a tokenizer; give --tokenizer FILE too"
    with pytest.raises(UsageError):
        audit_one_of_many(tmp_path, "x", allow_code=True)


def test_every_folder_is_audited_with_what_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, dict[str, Any]]] = []

    def audited(path: Any, **options: Any) -> AuditReport:
        given.append((path, options))
        raise ClaimError("not today")

    for name in ("b", "a/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "submission.json").write_text("{}")
    monkeypatch.setattr(of_many, "audited", audited)
    reports = list(audit_folders(tmp_path, baseline="base", allow_code=True, tokenizer="t.model", rules="none"))
    options = {
        "baseline": "base",
        "allow_code": True,
        "tokenizer": "t.model",
        "rules": candidates_of("none"),
        "beside": (),
    }
    assert given == [(tmp_path / "a/c", options), (tmp_path / "b", options)]
    assert [report.name for report in reports] == ["a/c", "b"]
    assert [report.name for report in audit_folders(tmp_path / "b")] == ["b"]
    (first, _) = reports
    assert first.verdict is AuditVerdict.UNVERIFIABLE
    assert (first.judgement.reason, first.judgement.missing) == ("not today", ("a record that can be read",))
    (finding,) = first.findings
    assert (finding.code, finding.message, finding.evidence) == (
        "BPB901", "not today", {"missing": "a record that can be read"},
    )  # fmt: skip


def test_a_fault_of_the_program_is_said_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_: Any, **__: Any) -> AuditReport:
        raise KeyError("lost")

    monkeypatch.setattr(of_many, "audited", faulty)
    report = audit_one_of_many(tmp_path, "folder")
    assert report.judgement.reason == "folder could not be audited: a fault of this program, KeyError: 'lost'"


def test_a_folder_whose_claims_cannot_be_told_apart_gets_its_own_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(_: Path) -> list[Path]:
        raise OSError("gone")

    (tmp_path / "a.claim.json").write_text('{"format": "bpb-claim/1", "claimed_bpb": 1.2}')
    monkeypatch.setattr(of_many, "separate_claims", faulty)
    (report,) = audit_folders(tmp_path)
    assert (report.name, report.claimed_bpb) == (tmp_path.name, 1.2)


def test_what_a_report_is_made_of(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=1.202991, val_loss=2.0312, name="A run"))
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    report = audit(tmp_path)
    assert (report.name, report.title) == (tmp_path.name, "A run")
    assert (report.claimed_bpb, report.claimed_in) == (1.202991, "submission.json (val_bpb)")
    assert report.files == ("submission.json", "train.log")
    assert audit([tmp_path / "submission.json", tmp_path / "train.log"]).findings == report.findings
    assert json.loads(json.dumps(report.to_dict()))["files"] == ["submission.json", "train.log"]


def test_a_folder_that_claims_nothing_tells_of_the_submissions_below_it(tmp_path: Path) -> None:
    (tmp_path / "mk.py").write_text('print("val_bpb", 1.2)\n')
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "submission.json").write_text('{"val_bpb": 1.2}')
    report = audit(tmp_path)
    assert report.judgement.reason == (
        "the record claims no score; 2 submissions lie below it, audited with bpb-audit --recursive"
    )
    assert report.judgement.missing == (
        "`bpb-audit FOLDER --recursive`, for a report on each submission below the folder",
    )
    for name in ("a", "b"):
        (tmp_path / name / "submission.json").unlink()
    assert "--recursive" not in audit(tmp_path).judgement.reason


@pytest.mark.parametrize(
    ("readme", "is_alone"),
    [
        ("# GPT on Python sources\n\n512-token SentencePiece.\n", True),
        ("# A GPT\n\nTrained on FineWeb.\n", False),
        ("# A GPT\n\nTrained on fineweb10B_sp1024.\n", False),
    ],
)
def test_rules_by_a_files_name_alone_say_what_to_do_of_another_text(
    tmp_path: Path, readme: str, is_alone: bool
) -> None:
    (tmp_path / "submission.json").write_text('{"val_loss": 1.9, "val_bpb": 0.72}')
    (tmp_path / "README.md").write_text(readme)
    rules = audit(tmp_path).rules
    assert rules is not None
    assert ("alone; of another text: --rules none" in rules.why) is is_alone


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"paths": None}, "what is audited: got NoneType, expected a folder or a file, or a list of them"),
        ({"paths": 3}, "what is audited: got int, expected"),
        ({"paths": b"a"}, "what is audited: got bytes, expected"),
        ({"paths": [3]}, "what is audited: got list, expected"),
        ({"baseline": 3}, "what is audited: got int, expected"),
        ({"recomputed": {"bits_per_byte": 1.0}}, "recomputed: got dict, expected what bpb_harness.evaluate(...) gives"),
        ({"recomputed": 1.2}, "recomputed: got float, expected"),
        ({"allow_code": "no", "tokenizer": "a.model"}, "allow_code: got 'no', expected True or False"),
    ],
)
def test_what_an_audit_cannot_be_of_is_refused_in_one_line(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2}')
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        bpb_harness.audit(**({"paths": tmp_path} | given))


def test_several_folders_are_several_claims(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "three", "four")]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / "submission.json").write_text(f'{{"val_bpb": 1.{number}}}')
    with pytest.raises(UsageError) as refused:
        bpb_harness.audit(folders)
    assert str(refused.value) == (
        f"what is audited: got 4 folders, {folders[0]}, {folders[1]}, {folders[2]} and 1 more, expected one "
        "submission's folder, or files of one claim; audit them one by one: [bpb_harness.audit(folder) for folder in "
        "folders]"
    )
    with pytest.raises(UsageError, match=r"^what is audited: got 2 folders"):
        bpb_harness.audit([folders[0], folders[1], folders[0] / "submission.json"])


def test_one_folder_may_be_named_twice_and_beside_files_and_a_baseline(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    for folder in (first, second):
        folder.mkdir()
        (folder / "submission.json").write_text('{"val_bpb": 1.2}')
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    assert bpb_harness.audit([first, tmp_path / "two" / ".." / "one"]).claimed_bpb == 1.2
    assert bpb_harness.audit([first, tmp_path / "train.log"], baseline=[second]).files == (
        "submission.json",
        "train.log",
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"allow_code": True}, "allow_code runs the script's byte table on a tokenizer; give tokenizer=FILE too"),
        ({"rules": "nobody's"}, 'rules: got "nobody\'s", expected modded-nanogpt, '),
        ({"rules": ["none", "nanochat"]}, "rules='none': got 2 packs, expected none alone; leave it out"),
        ({"proof": "score.bits"}, "proof without checkpoint: got bits alone, expected the network of the score; "),
        ({"checkpoint": "a.pt"}, "checkpoint and data without proof; pass proof=FILE, or recomputed=evaluate(...)"),
    ],
)
def test_who_calls_it_from_python_is_told_of_arguments(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2}')
    with pytest.raises(UsageError, match=f"^{re.escape(message)}") as refused:
        bpb_harness.audit(tmp_path, **given)
    assert "--" not in str(refused.value)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("give --tokenizer FILE too", "give tokenizer=FILE too"),
        ("--data and --docs", "data and --docs"),
        ("run bpb-eval --data FILE", "run bpb-eval --data FILE"),
        ("leave out --data: bpb-prove --decode writes it", "leave out --data: bpb-prove --decode writes it"),
    ],
)
def test_commands_and_options_of_no_argument_stay(said: str, heard: str) -> None:
    with pytest.raises(UsageError) as refused, named_as_arguments(("data", "tokenizer")):
        raise UsageError("data", hint=said)
    assert str(refused.value) == f"data; {heard}"
