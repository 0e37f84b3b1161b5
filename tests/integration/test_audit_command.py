"""The command bpb-audit: exit codes, formats, and no torch."""

from __future__ import annotations

import base64
import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures.claims.build import HERE
from tests.own_json import own_json
from tests.tiers import some_of
from tests.workflow_commands import read_commands

SUBMISSIONS = HERE / "submissions"
# One process for all: it never has torch, sentencepiece or tokenizers, which an audit of records does not need, so a
# command that imports one of them, or a module of ours that does, ends with code 70 whatever ran before.
SERVER = """
import json, sys
from pathlib import Path

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "sentencepiece", "tokenizers"):
            raise RuntimeError(f"{name} is not to be imported here")

sys.meta_path.insert(0, Forbid())
from bpb_harness.cli.audit import main
from tests.commands import run_here

for line in sys.stdin:
    words, cwd = json.loads(line)
    done = run_here(main, *words, cwd=Path(cwd))
    print(json.dumps([done.returncode, done.stdout, done.stderr]), flush=True)
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(repository: Path) -> Iterator[Run]:
    """Runs the command in the process without torch; looks like a finished process."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BPB_")}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment | {"PYTHONPATH": str(repository)},
    ) as process:  # fmt: skip
        requests, answers = process.stdin, process.stdout
        assert requests is not None
        assert answers is not None

        def ask(*arguments: object, cwd: Path = SUBMISSIONS) -> subprocess.CompletedProcess[str]:
            words = [str(argument) for argument in arguments]
            requests.write(json.dumps([words, str(cwd)]) + "\n")
            requests.flush()
            return subprocess.CompletedProcess(words, *json.loads(answers.readline()))

        yield ask
        requests.close()
        assert process.wait(timeout=600) == 0


def test_what_is_forbidden_is_noticed(run: Run) -> None:
    """Scoring anew needs torch: the process without it cannot."""
    done = run("honest_single_seed", "--checkpoint", "x.pt", "--data", "x.bin")
    assert done.returncode == 70
    assert "is not to be imported here" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["honest_single_seed"], 0),
        (["wrong_space_twice"], 1),
        (["open_no_log"], 3),
        (["nonsuch"], 2),
        (["honest_single_seed", "open_no_log"], 3),
        (["honest_single_seed", "open_no_log", "wrong_constant"], 1),
        (["wrong_script_space_twice"], 1),
    ],
)
def test_exit_codes(run: Run, arguments: list[str], code: int) -> None:
    done = run(*arguments, cwd=SUBMISSIONS)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert (code == 2) == (done.stdout == "")


def test_help_and_version_import_no_torch(run: Run) -> None:
    assert run("--help").returncode == 0
    assert run("--version").stdout.startswith("bpb-harness ")


def test_json_of_one(run: Run) -> None:
    report = own_json(run(SUBMISSIONS / "wrong_constant", "--format", "json").stdout)
    assert set(report) >= {"verdict", "claimed_bpb", "corrected_bpb", "corrected_from", "findings"}
    assert report["verdict"] == "refuted"
    assert {"code", "severity", "message", "evidence"} <= set(report["findings"][0])


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with submissions of three verdicts; test_annotations_of_many has all."""
    folder = tmp_path_factory.mktemp("few")
    for name in ("honest_single_seed", "wrong_constant", "open_no_log"):
        shutil.copytree(SUBMISSIONS / name, folder / name)
    return folder


def test_json_of_many(run: Run, few: Path) -> None:
    report = own_json(run(few, "--recursive", "--format", "json").stdout)
    assert report["verdict"] == "refuted"
    assert sum(report["counts"].values()) == len(report["audits"]) == 3


def test_a_table_of_many(run: Run, tmp_path: Path) -> None:
    for folder in {SUBMISSIONS / "wrong_constant", *sorted(SUBMISSIONS.iterdir())[::9]}:
        shutil.copytree(folder, tmp_path / folder.name)
    done = run(tmp_path, "--recursive")
    assert done.returncode == 1
    rows = done.stdout.splitlines()
    assert rows[0].split() == ["name", "verdict", "claimed", "corrected", "codes"]
    assert rows[1].strip() == "reason"
    assert any(row.startswith("wrong_constant ") and "refuted" in row and "BPB103" in row for row in rows)


def test_markdown(run: Run) -> None:
    done = run(SUBMISSIONS / "wrong_constant", "--format", "markdown")
    assert done.stdout.startswith('### Audit of "a made-up submission": **refuted**')


def test_output_to_a_file(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    done = run(SUBMISSIONS / "open_no_log", "--format", "json", "--output", target)
    assert done.returncode == 3
    assert done.stdout == ""
    assert own_json(target.read_text())["verdict"] == "unverifiable"
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["honest_single_seed", "--format", "xml"],
        ["honest_single_seed", "--data", "x.bin"],
        ["honest_single_seed", "wrong_constant", "--checkpoint", "x.pt"],
        ["honest_single_seed", "wrong_constant", "wrong_constant/train.log"],
        ["honest_single_seed/train.log", "--recursive"],
        ["honest_single_seed", "--baseline", "nonsuch"],
        ["."],
        ["honest_single_seed", os.devnull],
        ["honest_single_seed", "--adapter", "mdlm"],
        ["honest_with_script", "--allow-code"],
        ["honest_single_seed", "--output", "no/such/folder/x"],
        ["--no-such-flag"],
        ["--containing", "wrong_constant"],
        ["--containing", "../build.py"],
        ["--containing", "--recursive", "."],
        ["--containing", "honest_single_seed/train.log", "--checkpoint", "x.pt", "--data", "x.bin"],
    ],
)
def test_bad_usage_is_one_line(run: Run, arguments: list[str]) -> None:
    done = run(*arguments, cwd=SUBMISSIONS)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_nothing_of_a_submission_is_executed(run: Run, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2}')
    for name in ("train.py", "conftest.py", "sitecustomize.py", "json.py"):
        (tmp_path / name).write_text(f"import pathlib\npathlib.Path({str(mark)!r}).write_text('ran')\nval_bpb = 1.2\n")
    assert run(tmp_path).returncode == 3
    assert not mark.exists()


def test_annotations_of_many(run: Run, tmp_path: Path) -> None:
    """Line for line what the runner obeys, at files that are there, with the exit code of any other format."""
    for folder in sorted(SUBMISSIONS.iterdir())[::3]:
        shutil.copytree(folder, tmp_path / folder.name)
    done = run(tmp_path, "--recursive", "--format", "github")
    assert done.returncode == 1
    found = read_commands(done.stdout)
    assert len(found) == len(done.stdout.splitlines())
    assert {each.name for each in found} == {"error", "warning", "notice"}
    assert all((tmp_path / each.properties["file"]).exists() for each in found)
    verdicts = [each.properties["title"] for each in found if each.properties["title"] in ("consistent", "refuted")]
    assert verdicts.count("consistent") == sum(path.name.startswith("honest_") for path in tmp_path.iterdir())
    assert verdicts.count("refuted") == sum(path.name.startswith("wrong_") for path in tmp_path.iterdir())


def test_the_submissions_that_hold_files(run: Run) -> None:
    files = ["wrong_constant/gone.log", "honest_single_seed/train.log", "wrong_constant/claim.json"]
    done = run("--containing", *files, "--format", "json")
    assert done.returncode == 1
    assert [each["name"] for each in own_json(done.stdout)["audits"]] == ["honest_single_seed", "wrong_constant"]
    told = run("--containing", "--format", "markdown", "--", *files)
    assert "| wrong\\_constant | refuted |" in told.stdout
    assert "- record: wrong\\_constant" in told.stdout
    assert "- record: honest" not in told.stdout, "what is consistent is in the table alone"
    inside = run("--containing", "claim.json", "--format", "json", cwd=SUBMISSIONS / "wrong_constant")
    assert [each["name"] for each in own_json(inside.stdout)["audits"]] == ["wrong_constant"]


@pytest.mark.parametrize(("files", "what"), [(["facts.py"], "that file"), (["a", "b/c"], "any of these 2 files")])
@pytest.mark.parametrize("form", ["text", "json", "markdown", "github"])
def test_files_of_no_submission_are_passed_over(
    run: Run, tmp_path: Path, files: list[str], what: str, form: str
) -> None:
    done = run("--containing", *files, "--format", form, "--output", tmp_path / "out", cwd=HERE)
    line = f"bpb-audit: nothing audited: no submission holds {what}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("folders", "code"), [(["open_no_log"], 0), (["honest_single_seed"], 0), (["open_no_log", "wrong_constant"], 1)]
)
def test_what_is_unverifiable_may_be_allowed(run: Run, folders: list[str], code: int) -> None:
    assert run(*folders, "--allow-unverifiable").returncode == code


def test_facts_of_one_claim_say_nothing_of_another(run: Run, tmp_path: Path) -> None:
    names = ("pr0549.claim.json", "pr1106.claim.json")
    folder = tmp_path / "two"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((HERE / "facts" / name).read_bytes())
    alone = {name: own_json(run(folder / name, "--format", "json").stdout) for name in names}
    done = run(folder)
    said = "two claims in one folder: pr0549 and pr1106; audit them one by one, or with bpb-audit --recursive"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"bpb-audit: {said}\n")
    assert run(*(folder / name for name in names)).returncode == 2
    for words in (["two", "--recursive"], [".", "--recursive"], ["--containing", f"two/{names[0]}"]):
        done = run(*words, "--format", "json", cwd=tmp_path)
        audits = {each.pop("name"): each for each in own_json(done.stdout)["audits"]}
        assert (done.returncode, [*audits]) == (1, [f"two/{name}" for name in names])
        for name, audit in audits.items():
            assert audit == {key: held for key, held in alone[name.partition("/")[2]].items() if key != "name"}
        assert [audit["verdict"] for audit in audits.values()] == ["unverifiable", "refuted"]


def test_the_published_facts_are_as_many_claims_as_files(run: Run) -> None:
    audits = own_json(run("facts", "--recursive", "--format", "json", cwd=HERE).stdout)["audits"]
    assert [each["name"] for each in audits] == [f"facts/{path.name}" for path in sorted((HERE / "facts").iterdir())]


def test_a_submission_with_another_score_does_not_refute_a_claim_file(run: Run, tmp_path: Path) -> None:
    refuted = SUBMISSIONS / "wrong_script_constant"
    assert run(refuted).returncode == 1
    own = {"format": "bpb-claim/1", "claimed_bpb": 1.9, "tokenizer": "sp1024"}
    (tmp_path / "other.json").write_text(json.dumps(own))
    done = run(refuted, tmp_path / "other.json", "--format", "json")
    codes = {each["code"] for each in own_json(done.stdout)["findings"]}
    assert (done.returncode, codes & {"BPB906", "BPB150"}) == (3, {"BPB906"})


def test_a_proof_is_of_a_claim_that_is_named(run: Run) -> None:
    decoding = ("--proof", "score.bits", "--checkpoint", "x.pt", "--tokenizer", "t.model")
    done = run("--containing", "honest_single_seed/train.log", *decoding)
    line = "bpb-audit: --proof is of one claim: got a search for submissions, expected one folder\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_a_script_that_cannot_be_unpacked_is_named_and_not_called_silent(run: Run, tmp_path: Path) -> None:
    """What it speaks of is not known: the report says that, with the reason."""
    bomb = base64.b85encode(lzma.compress(b"#" * (1 << 26))).decode()
    (tmp_path / "train.py").write_text(f"import lzma, base64\nexec(lzma.decompress(base64.b85decode({bomb!r})))\n")
    for path in (tmp_path, tmp_path / "train.py"):
        done = run(path)
        assert done.returncode == 3
        assert "decompression bomb" in done.stdout
        assert "nothing to audit in" not in done.stderr


PACKED = (
    b"import lzma, base64\nexec(lzma.decompress(base64.b85decode(%r)))\n"
    % base64.b85encode(lzma.compress(b"import torch\nloss = 1.0\nprint('val_bpb', loss)\n" * 9)).decode()
)
NOISE = bytes((7 * number * number + 11 * number) % 256 for number in range(1, 5000))


@pytest.mark.parametrize(
    ("name", "content", "seen"),
    [
        ("weights.dat", NOISE, "weights.dat, which is no text"),
        ("README.md", NOISE, "README.md, which is no text"),
        ("train.py", NOISE, "train.py, which is no text"),
        ("notes.txt", b"To do: write the paper.\n", "notes.txt, which speaks of no score and no loss"),
        ("README.md", b"# A project\n\nHello.\n", "README.md, which speaks of no score and no loss"),
        ("package.json", b'{"name": "x", "version": "1.0"}', "package.json, which speaks of no score and no loss"),
        ("hello.py", b"print('hello')\n", "hello.py, which speaks of no score and no loss"),
    ],
)
def test_what_holds_nothing_to_audit_is_refused_by_name(
    run: Run, tmp_path: Path, name: str, content: bytes, seen: str
) -> None:
    """A whole report would say of it, at length, that it claims no score."""
    (tmp_path / name).write_bytes(content)
    folders = [] if name == "weights.dat" else [tmp_path]  # in a folder it is passed over by its name
    for path in (tmp_path / name, *folders):
        done = run(path)
        assert (done.returncode, done.stdout) == (2, "")
        expected = "submission.json, a log, a README, a script or a claim file that speaks of a score"
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"bpb-audit: nothing to audit in {path}: got {seen}, expected {expected}; name the ")


def test_of_many_files_without_a_word_of_scores_the_first_are_named(run: Run, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("nothing\n")
    done = run(tmp_path)
    assert done.returncode == 2
    assert "got 0.txt, which speaks of no score and no loss; 1.txt, which" in done.stderr
    assert "2.txt, which speaks of no score and no loss; 2 more, expected" in done.stderr
    assert "3.txt" not in done.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("submission.json", b'{"name": "x"}'),
        ("train.log", b"step 1 loss 3.2\n"),
        ("train.log", "step 1 loss 3.2\n".encode("utf-16")),
        ("eval.py", b"import torch.nn.functional as F\nF.cross_entropy(x, y)\n"),
        ("README.md", b"# Plan\n\nThe bits per byte will stand here.\n"),
        ("train.py", PACKED),
    ],
)
def test_a_record_without_a_score_still_gets_its_report(run: Run, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "LICENSE.md").write_text("As is.\n")
    done = run(tmp_path)
    assert done.returncode == 3
    assert "BPB409" in done.stdout


def test_one_of_many_that_holds_nothing_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("nothing\n")
    done = run(SUBMISSIONS / "honest_single_seed", tmp_path)
    assert done.returncode == 3
    assert "consistent" in done.stdout


def test_claims_of_one_name_are_told_apart_by_their_folders(run: Run, tmp_path: Path) -> None:
    for place in ("p/one", "p/two", "q/one"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "train.log").write_text("final val_loss:2.07269931 val_bpb:1.22436570\n")
    for words in (["p/one", "p/two", "q/one"], ["p", "q", "--recursive"], ["p", "q/one", "--recursive"]):
        audits = own_json(run(*words, "--format", "json", cwd=tmp_path).stdout)["audits"]
        assert [audit["name"] for audit in audits] == ["p/one", "two", "q/one"]
        for words_of_format in ([], ["--format", "markdown"]):
            shown = run(*words, *words_of_format, cwd=tmp_path).stdout
            assert all(name in shown for name in ("p/one", "two", "q/one"))


def test_files_of_one_name_that_are_named_for_one_claim_are_told_apart(run: Run, tmp_path: Path) -> None:
    for place, score in (("p", "1.22436570"), ("q", "1.23999999")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "train.log").write_text(f"final val_loss:2.07269931 val_bpb:{score}\n")
    shown = run("p/train.log", "q/train.log", cwd=tmp_path).stdout
    assert "read       p/train.log, q/train.log;" in shown
    assert "1.23999999 (q/train.log:1)" in " ".join(shown.split())
    assert "read       train.log;" in run("p/train.log", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("folder", "code"),
    some_of([("wrong_space_twice", 1), ("open_no_log", 3), ("honest_single_seed", 0)], everyday=1),
)
def test_a_reader_that_goes_away_leaves_the_verdict_as_it_is(repository: Path, folder: str, code: int) -> None:
    """`bpb-audit FOLDER | head -1` under pipefail said that all was well."""
    readers, writers = os.pipe()
    os.close(readers)
    command = [sys.executable, "-m", "bpb_harness", "audit", str(SUBMISSIONS / folder)]
    with os.fdopen(writers, "wb") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, cwd=repository, check=False)
    assert (done.returncode, done.stderr) == (code, "")


def test_of_several_folders_one_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    folders = [SUBMISSIONS / "open_no_log", SUBMISSIONS / "honest_single_seed", tmp_path / "nowhere"]
    done = run(*folders)
    assert (done.returncode, done.stderr) == (
        2, f"bpb-audit: {tmp_path}/nowhere does not exist; name submissions' folders\n"
    )  # fmt: skip
