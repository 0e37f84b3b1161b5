"""Scores that stand in logs which are byte for byte those of another author's submission, in one batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bpb_harness.auditing import AuditReport, audit, audit_folders
from bpb_harness.auditing.twin_logs import twin_logs
from bpb_harness.cli.audit import app
from fixtures.claims.patterns import SP1024, bpb, log, submission

NATS = 2.0312
SCRIPT = 'print(f"final_int8_zlib_roundtrip val_loss:{loss:.4f} val_bpb:{score:.4f}")\n'
OTHER = SCRIPT + "DISPERSION = 0.1\n"


def _log(seed: int = 1, nats: float = NATS, code: int = len(SCRIPT)) -> str:
    steps = "".join(
        f"step:{step}/900 train_loss:{2.9 - step / 900:.4f} train_time:{step * 41}ms\n" for step in range(20)
    )
    return f"{steps}Code size: {code} bytes\n{log(nats, SP1024, seed=seed)}"


def _submit(folder: Path, logs: dict[str, str], script: str, **named: object) -> None:
    folder.mkdir(parents=True)
    scores = [bpb(NATS + seed / 1000, SP1024) for seed in range(len(logs))]
    (folder / "submission.json").write_text(submission(val_bpb=round(sum(scores) / len(scores), 8), **named))
    for name, text in {**logs, "train_gpt.py": script}.items():
        (folder / name).write_text(text)


def _reports(root: Path) -> dict[str, AuditReport]:
    return {report.name: report for report in audit_folders(root)}


ANN, BOB = {"author": "Ann B.", "github_id": "ann-b"}, {"author": "Bob", "github_id": "bob"}
NOBODY = {"author": ""}


def _two(
    root: Path, script: str = OTHER, theirs: Mapping[str, object] = ANN, ours: Mapping[str, object] = BOB
) -> AuditReport:
    """The report on the second of two submissions with one log."""
    _submit(root / "a", {"train.log": _log()}, SCRIPT, **theirs)
    _submit(root / "b", {"train_1.log": _log()}, script, **ours)
    return _reports(root)["b"]


def test_a_log_of_another_authors_script(tmp_path: Path) -> None:
    report = _two(tmp_path)
    (found,) = report.with_code("BPB454")
    assert found.message == (
        "train_1.log, which the score stands in, is byte for byte train.log of a, which names another author, and "
        f"states a code size of {len(SCRIPT)} bytes, which a script there has and none here has: the score is that of "
        "a run of another script than is submitted here"
    )
    assert (report.verdict, report.judgement.reason) == ("unverifiable", found.message)
    assert "a log that the script beside it wrote" in report.judgement.missing
    first = _reports(tmp_path)["a"]
    assert (first.verdict, first.with_code("BPB454"), first.with_code("BPB455")) == ("consistent", [], [])
    assert audit(tmp_path / "b").verdict == "consistent"  # by itself nothing tells


@pytest.mark.parametrize("changed", [lambda t: t + "\n", lambda t: t.replace("\n", "\r\n"), lambda t: "\n" + t])
def test_a_log_that_differs_in_blanks_alone(tmp_path: Path, changed: Callable[[str], str]) -> None:
    _submit(tmp_path / "a", {"train.log": _log()}, SCRIPT, **ANN)
    _submit(tmp_path / "b", {"train_1.log": changed(_log())}, OTHER, **BOB)
    (found,) = _reports(tmp_path)["b"].with_code("BPB454")
    assert "is but for blanks and ends of lines train.log of a, which names another author" in found.message


def test_a_log_with_another_number_is_another(tmp_path: Path) -> None:
    _submit(tmp_path / "a", {"train.log": _log()}, SCRIPT, **ANN)
    _submit(tmp_path / "b", {"train_1.log": _log().replace("train_time:41ms", "train_time:42ms")}, OTHER, **BOB)
    assert _reports(tmp_path)["b"].with_code("BPB454") == []


def test_a_log_and_a_script_of_another_author(tmp_path: Path) -> None:
    report = _two(tmp_path, SCRIPT)
    (found,) = report.with_code("BPB455")
    assert found.message == (
        "train_1.log, which the score stands in, is byte for byte train.log of a, which names another author, and so "
        "is every script here: both show one run of one script"
    )
    assert (report.verdict, report.with_code("BPB454")) == ("consistent", [])
    (tmp_path / "b" / "prepare.py").write_text("print(1)\n")
    assert _reports(tmp_path)["b"].with_code("BPB455") == []


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (ANN, ANN),
        (ANN, {"author": "Somebody", "github_id": "Ann-B"}),
        (ANN, NOBODY),
        (NOBODY, BOB),
        ({"author": "Ann"}, {"author": "Ann B."}),
        ({"author": "Ann B.", "github_id": ""}, {"author": "ann b", "github_id": "bob"}),
        (ANN, {"author": "A. B.", "github_id": "https://github.com/ann-b/"}),
        (ANN, {"author": "A. B.", "github_id": "@Ann-B"}),
        ({"author": "A. B.", "github_id": 1234567}, ANN),
        ({"author": "Ann B., Bob Ray"}, {"author": "Bob Ray and Ann B."}),
        ({"author": ["Ann B.", "Bob Ray"]}, {"author": ["Bob Ray", "Ann B."]}),
        ({"author": "ann-b"}, {"author": "A. Beth", "github_id": "ann-b"}),
        (ANN, {"author": "Bob Ray & Ann B.", "github_id": "bob"}),
        (ANN, {"author": "Ann B.", "github_id": "renamed"}),
        (ANN, {"author": {"name": "A. Beth", "github": "ann-b"}}),
        ({"author": "Bob Ray (@ann-b)", "github_id": "bob"}, ANN),
        ({"author": "Carl"}, BOB),
        ({"author": "Carl"}, {"author": "", "github_id": "bob"}),
    ],
    ids=[
        *("one", "one account", "nobody here", "nobody there", "short name", "one name", "address", "handle"),
        *("number", "swapped", "list", "account as name", "one of two", "renamed", "object", "handle in the name"),
        *("account of one alone", "name against account"),
    ],
)
def test_versions_of_one_submission_share_their_logs(
    tmp_path: Path, theirs: Mapping[str, object], ours: Mapping[str, object]
) -> None:
    report = _two(tmp_path, theirs=theirs, ours=ours)
    assert report.verdict == "consistent"
    assert report.with_code("BPB454") == report.with_code("BPB455") == []


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"author": "", "github_id": "ann-b"}, BOB),
        ({"author": "Ann B."}, {"author": "Bob and Carl"}),
        ({"author": "Ann B.", "github_id": 17}, {"author": "Bob", "github_id": 18}),
        (
            {"author": "Ann B.", "github_id": "https://github.com/ann-b"},
            {"author": "Carl", "github_id": "github.com/bob"},
        ),
        ({"author": "Ann B. <ann@example.org>", "github_id": "ann-b"}, {**BOB, "author": "Bob <b@example.org>"}),
    ],
    ids=["accounts", "names", "numbers", "addresses", "mail"],
)
def test_two_authors(tmp_path: Path, theirs: Mapping[str, object], ours: Mapping[str, object]) -> None:
    assert len(_two(tmp_path, theirs=theirs, ours=ours).with_code("BPB454")) == 1


def test_a_version_whose_logs_somebody_copied(tmp_path: Path) -> None:
    _two(tmp_path, SCRIPT)
    _submit(tmp_path / "c", {"train.log": _log()}, OTHER, **ANN)
    reports = _reports(tmp_path)
    assert [reports["c"].with_code(code) for code in ("BPB454", "BPB455")] == [[], []]
    assert len(reports["b"].with_code("BPB455")) == 1


def test_a_reproduction_that_shows_one_of_theirs_beside_its_own(tmp_path: Path) -> None:
    _submit(tmp_path / "a", {"train.log": _log()}, SCRIPT, **ANN)
    own = _log(2, NATS + 0.001, len(OTHER))
    _submit(tmp_path / "b", {"train_1.log": _log(), "train_2.log": own}, OTHER, **BOB)
    report = _reports(tmp_path)["b"]
    assert report.verdict == "consistent"
    assert report.with_code("BPB454") == report.with_code("BPB455") == []


def test_all_logs_of_a_mean_of_theirs(tmp_path: Path) -> None:
    logs = {"train_1.log": _log(1), "train_2.log": _log(2, NATS + 0.001)}
    _submit(tmp_path / "a", logs, SCRIPT, **ANN)
    _submit(tmp_path / "b", logs, OTHER, **BOB)
    (found,) = _reports(tmp_path)["b"].with_code("BPB454")
    assert found.message.startswith(
        "train_1.log, train_2.log, which the score stands in, are byte for byte those of a, which names another "
        "author, and state a code size of "
    )
    assert found.evidence["other"] == "a"


def test_a_log_of_theirs_that_nothing_is_claimed_of(tmp_path: Path) -> None:
    _submit(tmp_path / "a", {"train.log": _log()}, SCRIPT, **ANN)
    _submit(tmp_path / "b", {"train.log": _log(7, code=len(OTHER))}, OTHER, **BOB)
    (tmp_path / "b" / "baseline.log").write_text(_log())
    report = _reports(tmp_path)["b"]
    assert (report.verdict, report.with_code("BPB454")) == ("consistent", [])


def test_a_code_size_that_neither_has(tmp_path: Path) -> None:
    for name, script, who in (("a", SCRIPT + "\n\n\n", ANN), ("b", OTHER, BOB)):
        _submit(tmp_path / name, {"train.log": _log()}, script, **who)
    report = _reports(tmp_path)["b"]
    assert (report.with_code("BPB455"), report.with_code("BPB454"), report.verdict) == ([], [], "consistent")


def test_the_command_finds_them(tmp_path: Path) -> None:
    _two(tmp_path)
    done = CliRunner().invoke(app, [str(tmp_path), "--recursive", "--format", "json"])
    audits = {each["name"]: each for each in json.loads(done.stdout)["audits"]}
    assert "BPB454" in {finding["code"] for finding in audits["b"]["findings"]}


def test_logs_of_one_size_are_no_twins(tmp_path: Path) -> None:
    for name, letter in (("a", "x"), ("b", "y"), ("c", "x")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.log").write_text(letter * 2000)
        (tmp_path / name / "short.log").write_text("x" * 999)
    found = twin_logs([(name, tmp_path / name) for name in "abc"])
    assert {folder.name: [twin.name for twin in twins] for folder, twins in found.items()} == {"a": ["c"], "c": ["a"]}
    assert twin_logs([("gone", tmp_path / "gone")]) == {}


NETWORK = """# A network

It has a gate:

```python
class Gate(nn.Module):
    def forward(self, x):
        return x
```
"""


def _described(root: Path, readme: str, script: str = SCRIPT, theirs: str = "# A network\n") -> AuditReport:
    """The report on a submission whose log and script are another's, and whose README is its own."""
    _submit(root / "a", {"train.log": _log(code=len(script))}, script, **ANN)
    _submit(root / "b", {"train_1.log": _log(code=len(script))}, script, **BOB)
    (root / "a" / "README.md").write_text(theirs)
    (root / "b" / "README.md").write_text(readme)
    return _reports(root)["b"]


def test_a_network_that_no_program_has_beside_another_authors_run(tmp_path: Path) -> None:
    report = _described(tmp_path, NETWORK)
    (found,) = report.with_code("BPB455")
    assert found.message == (
        "train_1.log, which the score stands in, is byte for byte train.log of a, which names another author, and so "
        "is every script here: both show one run of one script; README.md shows a class of a network (Gate) that "
        "stands in no program of the record: nothing shows that it was ever run"
    )
    assert (report.verdict, report.judgement.reason) == ("unverifiable", found.message)
    assert "a log and a script of the network that README.md shows" in report.judgement.missing
    assert audit(tmp_path / "b").verdict == "consistent"  # by itself nothing tells whose run it is


@pytest.mark.parametrize(
    ("readme", "script", "theirs"),
    [
        ("# A network\n", SCRIPT, ""),
        (NETWORK.replace("```python", "").replace("```", ""), SCRIPT, ""),  # no code
        (NETWORK.replace("class Gate(nn.Module)", "class Gate"), SCRIPT, ""),  # of no base
        (NETWORK.replace("(nn.Module)", "(Exception)"), SCRIPT, ""),
        (NETWORK, SCRIPT + "class Gate(nn.Module):\n    pass\n", ""),
        (NETWORK, SCRIPT + "# Gate\n", ""),
        (NETWORK + NETWORK.replace("Gate", "Block"), SCRIPT + "class Block(nn.Module):\n    pass\n", ""),
        (NETWORK, SCRIPT, NETWORK),  # theirs is described so, too
    ],
    ids=["nothing shown", "prose", "a class", "an error", "there", "named", "one there", "theirs too"],
)
def test_a_network_that_may_be_the_one_that_ran(tmp_path: Path, readme: str, script: str, theirs: str) -> None:
    report = _described(tmp_path, readme, script, theirs)
    (found,) = report.with_code("BPB455")
    assert (report.verdict, "network" in found.message) == ("consistent", False)
