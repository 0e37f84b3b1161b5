"""The script that a log holds, against the one that lies beside it: the same, another version, another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb

NATS = 2.0312
SCORE = f"final_exact val_loss:{NATS} val_bpb:{bpb(NATS, SP1024):.8f}\n"
SCRIPT = (
    '"""A trainer."""\nimport math\n\nSTRIDE = 64\n\n\n'
    + "".join(f"def helper_{number}(x):\n    return x * {number}  # goes on\n\n\n" for number in range(30))
    + "def main():\n    print(f'final_exact val_loss:{helper_1(1.0)} val_bpb:{helper_2(2.0)}')\n\n\n"
    + "if __name__ == '__main__':\n    main()\n"
)
RULE = "=" * 100 + "\n"
WROTE = "that the script wrote the log"


def _report(folder: Path, held: str, beside: str = SCRIPT, **more: str) -> AuditReport:
    (folder / "submission.json").write_text(json.dumps({"val_bpb": round(bpb(NATS, SP1024), 8)}))
    for name, text in {"train.log": f"{held}{RULE}{SCORE}", "train_gpt.py": beside, **more}.items():
        (folder / name.replace("__", ".")).write_text(text)
    report = audit(folder)
    assert report.verdict == "consistent"
    assert not any("wrote the log" in each for each in report.unchecked)
    return report


OTHER = SCRIPT.replace("x * 7", "x * 8").replace("STRIDE = 64", "STRIDE = 32")


@pytest.mark.parametrize(
    "beside",
    [
        SCRIPT,
        SCRIPT.replace("\n", "\r\n"),
        SCRIPT.replace("  # goes on", "").replace("A trainer", "The trainer of this run"),
        SCRIPT.replace("def main():\n", 'def main():\n    """All of it."""\n'),
        SCRIPT.replace("x * 3", "(x  *  3)"),
        SCRIPT + "\n\ndef later(x):\n    return x\n",  # what the log holds may be cut
    ],
    ids=["alike", "ends of lines", "comments", "a docstring", "layout", "more in it"],
)
def test_a_log_that_holds_the_script_beside_it(tmp_path: Path, beside: str) -> None:
    assert _report(tmp_path, SCRIPT, beside).with_code("BPB430") == []


def test_a_log_that_holds_another_version_is_read_in_its_place(tmp_path: Path) -> None:
    (found,) = _report(tmp_path, SCRIPT, OTHER).with_code("BPB430")
    assert found.message == (
        "train.log holds the script that wrote it, which was read; train_gpt.py is another, which differs in "
        "`helper_7` (train.log:35, train_gpt.py:35) and 1 statement outside of functions and classes"
    )
    assert found.severity == "info"


@pytest.mark.parametrize(
    ("held", "beside", "differing"),
    [
        ("LOW = 1; HIGH = 2\n", "LOW = 1; HIGH = 3\n", 1),
        ("LOW = 1; HIGH = 2\n", "LOW = 1\nHIGH = 2\n", 0),
        ("FIRST, LAST = 1, 2; LAST, FIRST = 1, 2\n", "LAST, FIRST = 1, 2; FIRST, LAST = 1, 2\n", 0),
        ("@cache\ndef kept(x):\n    return x\n", "@lru_cache\ndef kept(x):\n    return x\n", 1),
        (
            "if DEBUG:\n    def shown(x):\n        'Says x.'\n        print(x)\n",
            "if DEBUG:\n    def shown(x): print(x)\n",
            0,
        ),
    ],
)
def test_statements_are_told_apart_by_their_trees(tmp_path: Path, held: str, beside: str, differing: int) -> None:
    found = _report(tmp_path, SCRIPT.replace("STRIDE = 64\n", held), SCRIPT.replace("STRIDE = 64\n", beside))
    assert len(found.with_code("BPB430")) == differing


def test_a_function_that_the_script_beside_the_log_lacks(tmp_path: Path) -> None:
    beside = SCRIPT.replace("def helper_7(x):\n    return x * 7  # goes on\n\n\n", "")
    (found,) = _report(tmp_path, SCRIPT, beside).with_code("BPB430")
    assert "differs in `helper_7` (train.log:35, not there)" in found.message


def test_a_script_that_is_no_version_of_the_one_in_the_log(tmp_path: Path) -> None:
    other = "import math\n\n\ndef prepare(x):\n    return x\n\n\ndef write(x):\n    return x\n"
    (found,) = _report(tmp_path, SCRIPT, other).with_code("BPB430")
    assert found.message.endswith("no script beside it is a version of that")


FIXTURES = Path(__file__).parents[3] / "fixtures" / "scripts"
COUNTS = (FIXTURES / "honest_ar_tables.py").read_text()


def test_remarks_are_on_the_script_that_the_log_holds(tmp_path: Path) -> None:
    report = _report(tmp_path, COUNTS, SCRIPT)
    assert [each.evidence["file"] for each in report.with_code("BPB162")] == ["train.log"]
    assert _report(tmp_path, SCRIPT, COUNTS).with_code("BPB162") == []  # of another script than the one that ran


def test_of_two_scripts_of_one_name_the_one_that_has_a_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "readable").mkdir()
    (tmp_path / "readable" / "train_gpt.py").write_text(COUNTS)
    (tmp_path / "train_gpt.py").write_text("import os\nexec(open(os.devnull).read())\n")
    (tmp_path / "train.log").write_text(SCORE)
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": round(bpb(NATS, SP1024), 8)}))
    (counted,) = audit(tmp_path).with_code("BPB162")
    assert "(readable/train_gpt.py:" in counted.message
    assert counted.evidence["file"] == "readable/train_gpt.py"


def test_what_the_script_beside_the_log_shows_is_not_taken_back(tmp_path: Path) -> None:
    wrong = (FIXTURES / "wrong_control_counted.py").read_text()
    for name, text in {"train.log": f"{COUNTS}{RULE}{SCORE}", "train_gpt.py": wrong}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": round(bpb(NATS, SP1024), 8)}))
    report = audit(tmp_path)
    faults = [each for each in report.findings if each.severity != "info" and each.evidence.get("file")]
    assert {each.evidence["file"] for each in faults} == {"train_gpt.py"}
    assert {each.evidence["file"] for each in report.with_code("BPB162")} == {"train.log"}


def test_what_the_script_in_the_log_imports_is_read_with_it(tmp_path: Path) -> None:
    for name, is_read in (("helper", True), ("other", False)):
        report = _report(tmp_path, f"import helper\n{SCRIPT}", OTHER, **{f"{name}__py": COUNTS})
        assert bool(report.with_code("BPB162")) is is_read
        (tmp_path / f"{name}.py").unlink()


@pytest.mark.parametrize(
    ("ends", "is_read"),
    [
        (SCORE, True),
        (SCORE.replace("final_exact", "final"), False),
        (SCORE.replace(f"{NATS}", "2.0313"), False),
        (f"Code size: 123 bytes\n{SCORE}", False),
    ],
    ids=["the same run", "another line", "another loss", "another size"],
)
def test_a_log_without_its_script_gives_way_to_one_of_the_same_run(tmp_path: Path, ends: str, is_read: bool) -> None:
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": round(bpb(NATS, SP1024), 8)}))
    (tmp_path / "train_gpt.py").write_text(SCRIPT)
    (tmp_path / "train.log").write_text(f"Code size: 99 bytes\n{SCORE}")
    size = "Code size: 99 bytes\n" if is_read else ""
    (tmp_path / "raw_train.log").write_text(f"{OTHER}{RULE}{size}{ends}")
    found = audit(tmp_path).with_code("BPB430")
    assert bool(found) is is_read
    assert all(each.message.startswith("raw_train.log holds the script that wrote it, which was") for each in found)


def test_logs_that_hold_different_scripts_decide_nothing(tmp_path: Path) -> None:
    for number, held in enumerate((SCRIPT, OTHER)):
        loss = NATS + 0.001 * number
        score = f"seed:{number}\nfinal_exact val_loss:{loss:.4f} val_bpb:{bpb(loss, SP1024):.8f}\n"
        (tmp_path / f"run_{number}.log").write_text(f"{held}{RULE}{score}")
    mean = sum(bpb(NATS + 0.001 * number, SP1024) for number in range(2)) / 2
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": round(mean, 8)}))
    (tmp_path / "train_gpt.py").write_text(SCRIPT)
    report = audit(tmp_path)
    assert report.with_code("BPB430") == []
    assert WROTE in report.unchecked


EARLIER = f"{OTHER}{RULE}step:9/9 train_loss:2.9\n"


def test_of_several_scripts_in_a_log_the_last_before_the_score_counts(tmp_path: Path) -> None:
    assert _report(tmp_path, f"{EARLIER}{RULE}{SCRIPT}").with_code("BPB430") == []
    assert _report(tmp_path, f"{EARLIER}{RULE}{SCRIPT.replace('  # goes on', '')}").with_code("BPB430") == []
    (found,) = _report(tmp_path, f"{SCRIPT}{RULE}step:9/9 train_loss:2.9\n{RULE}{OTHER}").with_code("BPB430")
    line = f"{SCRIPT}{RULE}step:9/9 train_loss:2.9\n{RULE}".count("\n") + 35
    assert f"which differs in `helper_7` (train.log:{line}, train_gpt.py:35)" in found.message


@pytest.mark.parametrize("held", [SCRIPT, SCRIPT.replace("  # goes on", "")])
def test_a_script_behind_the_score_is_another_runs(tmp_path: Path, held: str) -> None:
    text = f"{held}{RULE}{SCORE}{RULE}{OTHER}{RULE}step:9/9 val_loss:2.9 val_bpb:{bpb(2.9, SP1024):.4f}\n"
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": round(bpb(NATS, SP1024), 8)}))
    for name, written in {"train.log": text, "train_gpt.py": SCRIPT}.items():
        (tmp_path / name).write_text(written)
    assert audit(tmp_path).with_code("BPB430") == []


def test_remarks_are_on_the_last_script_before_the_score(tmp_path: Path) -> None:
    (found,) = _report(tmp_path, f"{EARLIER}{RULE}{COUNTS}", SCRIPT).with_code("BPB162")
    assert found.evidence["file"] == "train.log"
    assert _report(tmp_path, f"{COUNTS}{RULE}step:9/9 train_loss:2.9\n{RULE}{OTHER}").with_code("BPB162") == []


def _with(added: str) -> str:
    return SCRIPT.replace("import math\n", f"import math\n{added}")


@pytest.mark.parametrize(
    ("added", "there", "said"),
    [
        ("import zlib\nDEPTH = 3\n", "", "1 statement and 1 import outside of functions and classes"),
        ("import zlib\nimport gzip\nDEPTH = 3\n", "", "1 statement and 2 imports outside of functions and classes"),
        ("import zlib\nDEPTH = 3\n", "import zlib\n", "1 statement outside of functions and classes"),
    ],
)
def test_imports_that_differ_are_counted(tmp_path: Path, added: str, there: str, said: str) -> None:
    (found,) = _report(tmp_path, _with(added), _with(there)).with_code("BPB430")
    assert found.message.endswith(said)


@pytest.mark.parametrize("called", ["load_dotenv()", "dotenv.load_dotenv()", "load_dotenv(override=True)"])
def test_settings_that_a_file_beside_the_run_may_have_given_are_told(tmp_path: Path, called: str) -> None:
    (found,) = _report(tmp_path, _with(f"import dotenv\n{called}\n"), SCRIPT).with_code("BPB430")
    assert found.message.endswith("; the script in the log takes settings from a .env file, and the record holds none")
    (tmp_path / ".env").write_text("DEPTH=3\n")
    (found,) = audit(tmp_path).with_code("BPB430")
    assert ".env" not in found.message
