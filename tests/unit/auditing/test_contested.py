"""A setting that two commands of a README give otherwise: nothing is refuted that one of its values does not show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from bpb_harness.auditing import CODES, AuditReport, audit
from bpb_harness.auditing.contested import with_contested
from bpb_harness.claim.settings import Contested
from bpb_harness.findings import Finding, Severity
from fixtures.claims.patterns import SP1024, bpb, log, submission
from tests.unit.auditing.script.test_what_ran import CHOSEN


def _report(folder: Path, readme: str, script: str = CHOSEN) -> AuditReport:
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(2.0312, SP1024), 8), tokenizer="sp1024"))
    (folder / "train.log").write_text(log(2.0312, SP1024))
    (folder / "train.py").write_text(script)
    (folder / "README.md").write_text(f"# A run\n\n{readme}")
    return audit(folder)


def _commands(*commands: str) -> str:
    return "".join(f"```bash\n{command}\n```\n\nand\n\n" for command in commands)


_BY_RATE = "MASKED_EVAL=1 EVAL_RATE={} python train.py"


@pytest.mark.parametrize(
    ("commands", "verdict"),
    [
        (["MASKED_EVAL=1 python train.py"], "refuted"),
        (["MASKED_EVAL=0 python train.py"], "consistent"),
        (["MASKED_EVAL=1 python train.py", "MASKED_EVAL=0 python train.py"], "unverifiable"),
        (["MASKED_EVAL=1 SEED=1 python train.py", "MASKED_EVAL=1 SEED=2 python train.py"], "refuted"),
        ([_BY_RATE.format(rate) for rate in (0.1, 0.2)], "refuted"),
        ([_BY_RATE.format(rate) for rate in (0.1, 1.0)], "unverifiable"),
        ([_BY_RATE.format(f"0.{k}") for k in range(10, 24)], "unverifiable"),
        (["MASKED_EVAL=1 python train.py", "# smoke test\nMASKED_EVAL=0 python train.py"], "refuted"),
    ],
    ids=["one value", "the other", "both", "two seeds", "two rates", "a rate of 1", "too many", "a trial"],
)
def test_what_refutes_has_to_do_so_with_each_value(tmp_path: Path, commands: list[str], verdict: str) -> None:
    report = _report(tmp_path, _commands(*commands))
    assert report.verdict == verdict, report.judgement.reason


def test_it_is_said(tmp_path: Path) -> None:
    report = _report(tmp_path, _commands("MASKED_EVAL=1 python train.py", "MASKED_EVAL=0 python train.py"))
    (found,) = report.with_code("BPB264")
    assert found.message.endswith("(not with every value that commands of the README give MASKED_EVAL)")
    (told,) = report.with_code("BPB953")
    assert "`MASKED_EVAL=1 or 0`, and which of them made the score was not established" in told.message


def _shown(settings: Mapping[str, str], flags: Mapping[tuple[str, str], str]) -> list[Finding]:
    """A script that is wrong where MODE is a, whatever SEED is, and more so by a flag."""
    given = {**settings, **{flag: value for (_, flag), value in flags.items()}}
    asked = {name: value for name, value in given.items() if name not in ("OTHER", "TTT")}
    found = [CODES["BPB953"].finding("read", settings={**asked}), CODES["BPB350"].finding("a part")]
    found += [CODES["BPB264"].finding("one rate", file="a.py", line=1)] if given.get("MODE") != "b" else []
    found += [CODES["BPB250"].finding("a weight", file="a.py", line=2)] if given.get("--wide") in ("1", "2") else []
    found += [CODES["BPB273"].finding("learnt", file="a.py", line=3)] if given.get("TTT") == "1" else []
    found += [CODES["BPB301"].finding(said) for said in ("a limit", "another limit")]
    return found


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("1", "0"), ["learnt (not with every value that commands of the README give TTT)"]),
        (("0", "2"), []),
        (("1", "1"), ["learnt"]),
    ],
    ids=["of two", "of none", "of both"],
)
def test_a_doubt_that_one_value_raises_stands(values: tuple[str, str], said: list[str]) -> None:
    found = with_contested(_shown, {"MODE": "b", "TTT": Contested(*values)}, {})
    assert [each.message for each in found if each.code == "BPB273"] == said
    assert [each.message for each in found if each.code == "BPB301"] == ["a limit", "another limit"]


@pytest.mark.parametrize(("name", "refutes"), [("SEED", False), ("OTHER", True)])
def test_values_beyond_those_that_are_tried_matter_where_they_are_asked_for(name: str, refutes: bool) -> None:
    found = with_contested(_shown, {name: Contested(*map(str, range(20)))}, {})
    assert any(each.code == "BPB264" and each.severity is Severity.REFUTES for each in found) is refutes


@pytest.mark.parametrize(
    ("settings", "flags", "refutes"),
    [
        ({"MODE": "a"}, {}, ["BPB264"]),
        ({"MODE": Contested("a", "c")}, {}, ["BPB264"]),
        ({"MODE": Contested("a", "b")}, {}, []),
        ({"MODE": Contested("a", "b"), "SEED": Contested("1", "2")}, {}, []),
        ({"SEED": Contested("1", "2")}, {}, ["BPB264"]),
        ({"MODE": "b"}, {("a.py", "--wide"): Contested("1", "2")}, ["BPB250"]),
        ({"MODE": "b"}, {("a.py", "--wide"): Contested("1", "0")}, []),
    ],
    ids=[
        "known",
        "both",
        "one of them",
        "beside one that does not matter",
        "that alone",
        "a flag",
        "a flag by one value",
    ],
)
def test_of_several_settings_each_value_is_tried(
    settings: dict[str, str], flags: dict[tuple[str, str], str], refutes: list[str]
) -> None:
    found = with_contested(_shown, settings, flags)
    assert [each.code for each in found if each.severity is Severity.REFUTES] == refutes
    assert {"BPB953", "BPB350"} <= {each.code for each in found}
    doubted = {each.code for each in found if each.severity is Severity.WARNS} - {"BPB350", "BPB301"}
    assert bool(doubted) is (not refutes)
    assert all(each.factor is None for each in found if each.code in doubted)


def test_what_no_script_looks_up_is_not_tried() -> None:
    """A script that never asks for a setting shows the same whatever it is: it is looked at once."""
    looks: list[str | None] = []

    def shown(settings: Mapping[str, str], flags: Mapping[tuple[str, str], str]) -> list[Finding]:
        looks.append(settings.get("MODE"))
        return []

    seeds = Contested("1", "2")
    with_contested(shown, {"MODE": Contested("a", "b"), "SEED": seeds}, {("a.py", "--seed"): seeds})
    assert [isinstance(each, Contested) for each in looks] == [True, False, False]
    assert looks[1:] == ["a", "b"]
