"""With many folders nothing that claims a score is lost: it has a row, is read by one, or is named as unread."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bpb_harness.auditing import Verdict, audit_folders, unread_folders
from bpb_harness.auditing.report import unread_to_text
from bpb_harness.claim import find_submissions, find_unread, submission_of
from bpb_harness.claim.listing import list_files
from bpb_harness.cli.audit import app

_REFUTED = (
    '{"name": "bad", "val_loss": 2.0312345, "val_bpb": 0.68150045, "dataset": "fineweb_val", "tokenizer": "sp1024"}'
)
_REFUTED_CLAIM = (
    '{"format": "bpb-claim/1", "name": "bad", "claimed_bpb": 0.68150045, "nats_per_token": 2.0312345, '
    '"tokenizer": "sp1024", "dataset": "fineweb_val"}'
)
_README = "# A run\n\nval_bpb: 1.0500\n"
_RESULTS = '{"results": {"wikitext": {"bits_per_byte,none": 0.848}}, "configs": {}, "versions": {}}'
# What may lie in a folder, by what it is; the first file is the one that claims a score or bears one out.
_CLAIMS = {
    "nothing": {"notes.md": "x\n"},
    "submission": {"submission.json": '{"val_bpb": 1.2}'},
    "submission that is none": {"submission.json": '{"verdict": "pass"}'},
    "submission with a README": {"submission.json": '{"val_bpb": 1.2}', "README.md": _README},
    "claim file": {"claim.json": '{"format": "bpb-claim/1", "name": "c", "claimed_bpb": 1.3}'},
    "another claim.json": {"claim.json": '{"candidate": "x"}'},
    "Trainer's state": {"trainer_state.json": '{"log_history": [{"eval_bpb": 1.25, "step": 2}], "global_step": 2}'},
    "report of nanochat": {"report.md": "# nanochat training report\n\n- Minimum validation bpb: 0.8123\n"},
    "table of Lightning": {"metrics.csv": "epoch,step,val_bpb\n0,1,1.5\n"},
    "log": {"train.log": "val_loss:2.2 val_bpb:1.2\n"},
    "script and README": {"README.md": _README, "train.py": "x = 1\n"},
    "results of lm-eval": {"results.json": _RESULTS},
    "results of Trainer": {"all_results.json": '{"eval_bpb": 1.3, "eval_loss": 2.0, "epoch": 1.0}'},
    "summary of wandb": {"wandb-summary.json": '{"val_bpb": 1.3, "_step": 3}'},
    "score of ours": {"out.json": '{"format": "bpb-result/1", "bits_per_byte": 1.3}'},
    "claim of another name": {"known.json": '{"format": "bpb-claim/1", "claimed_bpb": 1.3}'},
}
_OF_ITS_OWN = ("submission", "submission that is none", "submission with a README", "claim file")
_NO_CLAIM = ("nothing", "another claim.json")
_OF_LEAVES = (*_OF_ITS_OWN, "another claim.json", "log", "script and README", "results of lm-eval")


def _write(folder: Path, what: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _CLAIMS[what].items():
        (folder / name).write_text(text)
    return folder / next(iter(_CLAIMS[what]))


@pytest.mark.parametrize("top", _CLAIMS)
def test_what_claims_a_score_is_in_a_submission_or_named(tmp_path: Path, top: str) -> None:
    for number, (middle, leaf) in enumerate(product(_CLAIMS, _OF_LEAVES)):
        root = tmp_path / str(number)
        tree = {root: top, root / "mid": middle, root / "mid/leaf": leaf}
        files = {_write(folder, what): what for folder, what in tree.items()}
        rows, unread = find_submissions(root), find_unread(root)
        read = {row: {path for path, _ in list_files(row).files} for row in rows}
        for file, what in files.items():
            told = (top, middle, leaf, file.relative_to(root))
            owner = next((folder for folder in file.parents if folder in rows), None)
            is_named = any(place == file or place in file.parents for place in unread)
            assert submission_of(file, root) == owner, told
            assert owner is not None or is_named or what in _NO_CLAIM, told
            if what in _OF_ITS_OWN:
                assert [row for row in rows if file.resolve() in read[row]] == [owner] == [file.parent], told


# What is beside it, above it or below it is of another record, and may neither bear it out nor speak against it.
_TREES = [("mid/leaf", "mid", beside) for beside in ("nothing", "claim file", "Trainer's state", "log")]
_ALSO_BELOW = [("mid", "mid/leaf", beside) for beside in ("nothing", "submission", "claim file", "report of nanochat")]


@pytest.mark.parametrize("above", _CLAIMS)
@pytest.mark.parametrize(
    ("name", "text", "trees"),
    [("submission.json", _REFUTED, [*_TREES, *_ALSO_BELOW]), ("x.claim.json", _REFUTED_CLAIM, _TREES)],
)
def test_what_is_refuted_alone_is_refuted_among_many(
    tmp_path: Path, above: str, name: str, text: str, trees: list[tuple[str, str, str]]
) -> None:
    for number, (place, elsewhere, beside) in enumerate(trees):
        root = tmp_path / str(number) / "all"
        _write(root, above)
        _write(root / elsewhere, beside)
        (root / place).mkdir(exist_ok=True)
        (root / place / name).write_text(text)
        verdicts = {report.name: report.verdict for report in audit_folders(root)}
        assert verdicts[place] is Verdict.REFUTED, (place, beside, verdicts)


def test_files_above_submissions_are_named_and_lists_of_others_scores_are_not(tmp_path: Path) -> None:
    root = tmp_path / "all"
    for folder in ("one", "x/two", "y/three", "z/four"):
        _write(root / folder, "submission")
    honest = {
        "README.md": "# Runs\n\n| run | val_bpb |\n|---|---|\n| one | 1.2143 |\n| two | 1.3018 |\n",
        "plot.py": "print('val_bpb')\n",
        "leaderboard.csv": "name,val_bpb\none,1.2\n", "board.json": '[{"name": "one", "val_bpb": 1.2}]',
        "audits.json": '{"format": "bpb-audits/1", "val_bpb": 1.2}', "requirements.txt": "bpb", "todo.txt": "later\n",
    }  # fmt: skip
    for name, text in honest.items():
        (root / name).write_text(text)
    assert find_unread(root) == []
    _write(root / "x", "log")
    (root / "x/old.log.gz").write_bytes(b"")
    _write(root / "y", "results of lm-eval")
    _write(root / "z", "script and README")
    (root / "z/README.md").write_text("# A run\n\nOur model achieves 1.0500 bits per byte.\n")
    (root / "z/spare").mkdir()
    (root / "z/spare/train.py").write_text("print('val_bpb')\n")
    named = ["x/old.log.gz", "x/train.log", "y/results.json", "z/README.md", "z/spare"]
    assert unread_folders(root) == named
    assert [report.name for report in audit_folders(root)] == ["one", "x/two", "y/three", "z/four"]
    done = CliRunner().invoke(app, [str(root), "--recursive", "--format", "json"])
    assert json.loads(done.stdout)["unread"] == named
    assert unread_to_text(named[:1]) == (
        "1 folder or file not audited, which speaks of bits per byte and belongs to no submission: a folder has no "
        "log, submission.json or claim file, and a file lies above submissions: x/old.log.gz"
    )


def test_what_is_read_with_the_logs_above_it_is_not_named(tmp_path: Path) -> None:
    file = _write(tmp_path / "run", "log").parent / "code/plot.py"
    file.parent.mkdir()
    file.write_text("print('val_bpb')\n")
    assert file.resolve() in {path for path, _ in list_files(tmp_path / "run").files}
    assert find_unread(tmp_path) == []


@pytest.mark.parametrize("above", ["claim file", "Trainer's state", "report of nanochat", "table of Lightning"])
def test_the_command_audits_the_submission_that_the_file_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, above: str
) -> None:
    _write(tmp_path / "subs", above)
    (tmp_path / "subs/bad").mkdir()
    (tmp_path / "subs/bad/submission.json").write_text(_REFUTED)
    monkeypatch.chdir(tmp_path)
    options = ["--allow-unverifiable", "--format", "json"]
    done = CliRunner().invoke(app, ["--containing", "subs/bad/submission.json", *options])
    assert done.exit_code == 1
    assert [each["name"] for each in json.loads(done.stdout)["audits"]] == ["subs/bad"]
    done = CliRunner().invoke(app, ["subs", "--recursive", *options])
    assert done.exit_code == 1
    assert [each["name"] for each in json.loads(done.stdout)["audits"]] == ["subs", "bad"]
