"""A log that no script beside it wrote as it lies there: by the score's line, its settings, the size of the code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb

NATS = 2.0312
SCORE = f"final_exact val_loss:{NATS} val_bpb:{bpb(NATS, SP1024):.8f}\n"
SETTINGS = "".join(f"  setting_{number}: {number}\n" for number in range(30))
SCRIPT = (
    "".join(f"setting_{number} = {number}\n" for number in range(30))
    + """
def main(print0, loss, score, ms):
    print0(f"step:{1} train_loss:{loss} train_time:{ms}ms")
    print0(f"step:{1} val_loss:{loss} val_bpb:{score} train_time:{ms}ms")
    print0(f"peak memory allocated: {ms} MiB")
    print0(f"Code size: {ms} bytes")
    print0(f"final_exact val_loss:{loss} val_bpb:{score}")
"""
)
SIZE = f"Code size: {len(SCRIPT)} bytes\n"


def _report(folder: Path, log: str, script: str = SCRIPT, **more: str) -> AuditReport:
    (folder / "submission.json").write_text(json.dumps({"val_bpb": round(bpb(NATS, SP1024), 8)}))
    for name, text in {"train.log": log, "train_gpt.py": script, **more}.items():
        (folder / name).write_text(text)
    report = audit(folder)
    assert report.verdict == "consistent"
    return report


WROTE = "that the script wrote the log"
VERSION = "how the version of the script that wrote the log computed the score"
OTHER_SCORE = SCORE.replace("final_exact", "final_quantised")


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (OTHER_SCORE, "the line of the score, `final_quantised val_loss:2.0312 val_bpb:"),
        (
            f"Hyperparameters:\n{SETTINGS}  caseops_enabled: True\n  other: 2\n{SCORE}",
            "of the settings that it lists, `caseops_enabled` (train.log:32) and `other` (train.log:33) are in none",
        ),
        (
            f"Code size: 54,284 bytes\n{SCORE}",
            f"it states 54,284 bytes of code, where the nearest script has {len(SCRIPT):,}",
        ),
        (f"Code size: 500 bytes\n{SCORE}", f"the nearest script has {len(SCRIPT):,}, unless that was packed"),
        (f"Code size: {len(SCRIPT) - 5} bytes\n{SCORE}", f"has {len(SCRIPT):,}"),
    ],
    ids=["the line", "settings", "a larger size", "a packed size", "a size that is near"],
)
def test_a_log_of_another_version(tmp_path: Path, log: str, said: str) -> None:
    report = _report(tmp_path, log)
    (found,) = report.with_code("BPB431")
    assert said in found.message
    assert found.message.startswith("no script of the record wrote train.log as it lies here: ")
    assert found.message.endswith("unless that was packed") is ("unless" in said)
    assert VERSION in report.unchecked
    assert WROTE not in report.unchecked


@pytest.mark.parametrize(
    ("log", "more"),
    [
        (SCORE, {}),
        (f"{SIZE}{SCORE}", {}),
        (f"{SIZE}{OTHER_SCORE}", {}),  # of that very script
        (f"Code size: {len(SCRIPT) + 11} bytes\n{SCORE}", {"helper.py": "print('x')\n"}),  # of both
        (f"Code size: {len(SCRIPT) + 9} bytes\n{SCORE}", {"run.sh": "echo run\n"}),  # of both
        ("Code size: 31 bytes\n" + SCORE, {"train_gpt.py.txt": "x" * 31}),
        ("Code size: 54284 bytes\n" + SCORE, {"seed7.txt": f"import torch\n{SCRIPT}{'=' * 99}\nrun\n"}),
        (f"Code size: 54,284 bytes\n{SCORE}", {"train_gpt.cu": "int main() {}\n"}),
        (OTHER_SCORE, {"train_gpt.cpp": "int main() {}\n"}),
        (f"Hyperparameters:\n{SETTINGS}{SCORE}", {}),
        (f"Hyperparameters:\n{SETTINGS.upper()}{SCORE}", {}),
        (f"Hyperparameters:\n{SETTINGS[:400]}\n\n  caseops_enabled: True\n{SCORE}", {}),  # behind the list
        (f"Hyperparameters:\n{SETTINGS}resume_pack: from a file\n{SCORE}", {}),  # at another margin
        (f"Hyperparameters:\n  caseops_enabled: True\n  other: 2\n{SCORE}", {}),  # too few to be its list
        (f"Hyperparameters:\n{''.join(SETTINGS.splitlines(keepends=True)[:10])}  caseops_enabled: True\n{SCORE}", {}),
    ],
    ids=[
        *(
            "no sign",
            "its size",
            "its size, another line",
            "two files",
            "with a launcher",
            "a copy",
            "a log with a script",
            "CUDA",
            "C++",
            "settings",
            "no names",
            "behind",
        ),
        *("a margin", "a few", "one of a few"),
    ],
)
def test_a_log_that_the_script_may_have_written(tmp_path: Path, log: str, more: dict[str, str]) -> None:
    report = _report(tmp_path, log, **more)
    assert report.with_code("BPB431") == []
    assert WROTE in report.unchecked


CLASS = "class Settings:\n" + "".join(f"    setting_{number} = {number}\n" for number in range(30))
LISTS = "\n\nprint(vars(Settings))\n"


@pytest.mark.parametrize(
    ("more", "without", "is_lacked"),
    [
        ("    window: int = 3\n    _own = 4\n", "", True),
        ("    window, other = 3, 4\n", "", True),
        ("    window: int\n    _own = 4\n", "", False),  # nothing is set
        ("    window: int = 3\n", LISTS, False),  # the script need not list all of it
        ("    window: int = 3\n\nx = [n for n in vars(Settings) if n not in SOME]\n", LISTS, False),
        ("".join(f"    more_{number} = 1\n" for number in range(20)), "", False),  # the list is one of a few
    ],
    ids=["one more", "two more", "none", "no list", "a list of some", "a few"],
)
def test_settings_that_the_list_in_the_log_lacks(tmp_path: Path, more: str, without: str, is_lacked: bool) -> None:
    script = f"{CLASS}{more}{LISTS.replace(without, '')}{SCRIPT.split('def main')[1].join(['def main', ''])}"
    report = _report(tmp_path, f"Hyperparameters:\n{SETTINGS}\nCode size: 999999 bytes\n{SCORE}", script)
    (found,) = report.with_code("BPB431")
    assert ("its list of settings lacks `window` (train_gpt.py:32)" in found.message) is is_lacked


@pytest.mark.parametrize(
    ("command", "size", "more", "is_found"),
    [
        ("WINDOW=7 torchrun train_gpt.py", 999999, "", True),
        ("WINDOW=7 torchrun train_gpt.py", 999999, "  length: 3\n", True),
        ("WINDOW=7 torchrun train_gpt.py", 999999, "  eval_window: 3\n", False),
        ("WINDOW=0 torchrun train_gpt.py", 999999, "", False),
        ("SETTING_3=7 torchrun train_gpt.py", 999999, "", False),
        ("WINDOW=7 torchrun train_gpt.py\nSETTING_3=7 torchrun train_gpt.py", 999999, "", False),
        ("WINDOW=7 torchrun train_gpt.py", None, "", False),
    ],
    ids=["one", "beside another", "by another name", "off", "a listed one", "not each command", "the very script"],
)
def test_a_setting_that_the_logs_version_did_not_know(
    tmp_path: Path, command: str, size: int | None, more: str, is_found: bool
) -> None:
    script = f"{CLASS}    window: int = 3\n{LISTS}{SCRIPT.split('def main')[1].join(['def main', ''])}"
    log = f"Hyperparameters:\n{SETTINGS}{more}\nCode size: {size or len(script)} bytes\n{SCORE}"
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": round(bpb(NATS, SP1024), 8)}))
    files = {"train.log": log, "train_gpt.py": script, "README.md": f"# A run\n\n```\n{command}\n```\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    report = audit(tmp_path)
    assert [each.message for each in report.with_code("BPB451")] == [
        "README.md runs the script with `WINDOW=7`, which train_gpt.py lists with its other settings (line 32), and "
        "the list in train.log has no such setting: the score is of a version of the script that did not know it"
    ] * is_found
    assert report.verdict == ("unverifiable" if is_found else "consistent")


def test_each_log_of_a_mean_has_to_show_it(tmp_path: Path) -> None:
    for number, text in enumerate((f"seed:1\nCode size: 5 bytes\n{SCORE}", f"seed:2\n{SIZE}{SCORE}")):
        (tmp_path / f"{number}.log").write_text(text.replace("2.0312", f"2.031{number}"))
    report = _report(tmp_path, f"seed:3\nCode size: 5 bytes\n{SCORE}")
    assert len(report.with_code("BPB431")) == (1 if report.with_code("BPB401")[0].evidence["how"] == "line" else 0)


@pytest.mark.parametrize(("off", "said"), [(2, "2 more than"), (-4, "4 fewer than")])
def test_a_size_that_is_a_few_bytes_off_is_no_other_version(tmp_path: Path, off: int, said: str) -> None:
    report = _report(tmp_path, f"Code size: {len(SCRIPT) + off} bytes\n{SCORE}")
    assert WROTE in report.unchecked  # as of any log that states no size
    assert VERSION not in report.unchecked
    (found,) = report.with_code("BPB431")
    assert found.message == (
        f"train.log is not to the byte of a script of the record: it states {len(SCRIPT) + off:,} bytes of code, "
        f"{said} the nearest script as it lies here, {len(SCRIPT):,}"
    )
    log = f"Code size: {len(SCRIPT) + off} bytes\n{OTHER_SCORE}"  # and another line of the score
    report = _report(tmp_path, log)
    assert VERSION in report.unchecked
    (found,) = report.with_code("BPB431")
    assert found.message.startswith("no script of the record wrote train.log as it lies here: the line of the score,")


PACKS = "resume_pack: loading checkpoint final.pt\nresume_pack: forced loop active\n"


@pytest.mark.parametrize("size", ["", SIZE])
def test_lines_with_a_label_that_no_script_has(tmp_path: Path, size: str) -> None:
    near = _report(tmp_path, f"{PACKS}Code size: {len(SCRIPT) + 2} bytes\n{SCORE}").with_code("BPB431")[0].message
    assert near.startswith("no script of the record wrote train.log as it lies here: it states")
    (found,) = _report(tmp_path, PACKS + size + SCORE).with_code("BPB431")
    assert found.message == (
        "no script of the record wrote train.log as it lies here: `resume_pack: loading checkpoint final.pt` "
        "(train.log:1) and 1 more line begin with `resume_pack:`, which is in none of them"
    )


@pytest.mark.parametrize(
    ("lines", "more"),
    [
        (PACKS.split("\n")[0] + "\n", {}),  # once, by hand or by a library
        ("run_name: first\nrun_host: here\n", {}),
        ("torch_dist: set up it\ntorch_dist: set up that\n", {}),
        ("warning: a b\nwarning: c d\n", {}),
        (PACKS, {"pack.sh": "echo resume_pack: loading checkpoint final.pt\n"}),
        (PACKS, {"pack.py": "def resume_pack():\n    pass\n"}),
        (PACKS, {"train_gpt.py": SCRIPT + "    print0(f'{ms}: {loss} {score} {ms}')\n"}),  # any label
        (PACKS, {"train_gpt.py": SCRIPT + "    print0(f'resume_{ms}:{loss} is')\n"}),
        (PACKS, {"train_gpt.py": SCRIPT + "RESUME_PACK = 1\n"}),
        (PACKS, {"train_gpt.py": SCRIPT.partition("def main")[0]}),  # what it prints is not there
        (PACKS, {"train_gpt.py": SCRIPT + "from transformers import Trainer\n"}),
        (
            PACKS,
            {"train_gpt.py": SCRIPT + "".join(f"    print0('resume_' '{line[7:]}')\n" for line in PACKS.split("\n"))},
        ),
        (PACKS.replace("loading", "l\u00e4dt").replace("forced", "erzw\u00fcngen"), {}),
    ],
    ids=[
        *("once", "settings", "a library", "a plain word", "a shell script", "a name", "any label", "built"),
        *("a constant", "no prints", "a trainer", "joined", "another language"),
    ],
)
def test_labels_that_may_be_anybodys(tmp_path: Path, lines: str, more: dict[str, str]) -> None:
    assert not _report(tmp_path, lines + SCORE, **more).with_code("BPB431")
