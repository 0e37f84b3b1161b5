"""Results on a disk that is full: one line that names the file, and nothing half-written."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bpb_harness.checkpoints import save_checkpoint
from bpb_harness.cli import eval as bpb_eval
from bpb_harness.cli.eval import main as eval_main
from bpb_harness.errors import OutputError
from bpb_harness.whole_file import require_writable, write_whole
from tests.printed import without_progress
from tests.tiers import some_of

MAX_BYTES = 100  # what a file may hold, as on a full disk


def run(folder: Path, command: str, *words: object, full: bool = True, **more) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "bpb_harness", command, *map(str, words)],
        text=True, stderr=subprocess.PIPE, check=False, cwd=folder, env=environment, timeout=300,
        **{
            "stdout": subprocess.PIPE,
            "preexec_fn": (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_BYTES,) * 2)) if full else None,
            **more,
        },
    )  # fmt: skip
    done.stderr = without_progress(done.stderr or "")
    return done


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """While open, no file of this process may grow beyond ``MAX_BYTES``."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)  # modules imported meanwhile would leave half of theirs
        resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_BYTES, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def words(repository: Path) -> tuple[object, ...]:
    fixtures = repository / "fixtures"
    shard, tokenizer = fixtures / "corpora" / "tiny_val_000000.bin", fixtures / "tokenizers" / "tiny_512_bpe.model"
    return "--data", shard, "--tokenizer", tokenizer


def test_a_report_that_does_not_fit_leaves_the_old_one(tmp_path, words):
    out = tmp_path / "report.json"
    out.write_text("the old one")
    done = run(tmp_path, "bytes", *words, "--format", "json", "--output", out)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{out} cannot be written: got File too large" in done.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.json", "the old one")]


@pytest.mark.parametrize("flag", ["--windows", "--output"])
def test_a_score_that_does_not_fit(tmp_path, repository, monkeypatch, flag):
    out = tmp_path / "result.parquet"
    checkpoint = repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
    flags = ("--limit", "2", "--no-contract", "--device", "cpu", flag, str(out))
    monkeypatch.setattr(sys, "argv", ["bpb-eval", str(checkpoint), *flags])
    stdout, stderr = io.StringIO(), io.StringIO()  # not files, which would be full as well
    with (
        contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), full_disk(),
        pytest.raises(SystemExit) as ended,
    ):  # fmt: skip
        eval_main()
    assert (ended.value.code, stdout.getvalue()) == (2, "")
    assert f"{out} cannot be written: got File too large" in stderr.getvalue()
    assert stderr.getvalue().count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("flags", [(), ("--output", "/dev/full")], ids=["stdout", "output"])
def test_a_full_device_is_named_and_stays_a_device(tmp_path, words, flags):
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a stream for the child
        done = run(tmp_path, "bytes", *words, *flags, full=False, stdout=full)
    assert done.returncode == 2
    assert f"{'/dev/full' if flags else 'standard output'} cannot be written: got No space left" in done.stderr
    assert done.stderr.count("\n") == 1
    assert Path("/dev/full").is_char_device()


def test_what_is_no_regular_file_is_written_to_and_stays(tmp_path, words):
    done = run(tmp_path, "bytes", *words, "--format", "json", "--output", "/dev/stdout", full=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{")
    assert list(tmp_path.iterdir()) == []


def test_the_file_behind_a_link_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_whole(link, lambda file: file.write(b"new"))
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def fails(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "out", fails)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="out cannot be written: got No such file or directory"):
        write_whole(tmp_path / "no" / "out", lambda file: file.write(b"x"))


@pytest.mark.parametrize("where", ["file/out", "o" * 300, "/proc/out", "closed/out"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch, where):
    """Permissions do not tell: root may write anywhere, and nothing into /proc. What cannot be made is refused."""
    (tmp_path / "file").write_text("a file, no folder")
    (tmp_path / "closed").mkdir()
    real = tempfile.mkstemp

    def refusing(*args, **named):
        if named["dir"] == tmp_path / "closed":  # tests may run as root
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(*args, **named)

    monkeypatch.setattr(tempfile, "mkstemp", refusing)
    monkeypatch.setattr(bpb_eval, "_score", lambda *_: pytest.fail("scored"))
    monkeypatch.setattr(sys, "argv", ["bpb-eval", "no.pt", "--output", str(tmp_path / where)])
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr), pytest.raises(SystemExit) as ended:
        eval_main()
    assert ended.value.code == 2
    assert stderr.getvalue().count("\n") == 1
    assert str(tmp_path / where) in stderr.getvalue()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["closed", "file"]


def test_a_file_that_can_be_written_stays_as_it_was(tmp_path):
    old, pipe = tmp_path / "old", tmp_path / "pipe"
    old.write_text("old")
    os.mkfifo(pipe)
    for path in (old, pipe, tmp_path / "new"):
        require_writable(path)
    assert old.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "pipe"]


def test_a_pipe_whose_reader_goes_away_before_all_is_written_is_an_error(tmp_path):
    """Unlike standard output, which `| head` cuts: whoever named the file wants the whole of it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def leave(file):
        os.close(reading)
        file.write(b"x")

    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OutputError, match="pipe cannot be written: got Broken pipe"):
        write_whole(pipe, leave)


def test_what_torch_says_of_a_full_disk_is_named(tmp_path):
    out = tmp_path / "model.pt"
    with full_disk(), pytest.raises(OutputError, match=f"{out} cannot be written"):
        save_checkpoint(out, tensors={"x": torch.zeros(10_000)}, adapter="reference", config={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("closed", "words", "code", "said"),
    some_of(
        [
            (1, [], 2, "bpb-audit: standard output cannot be written: got it is closed; pass --output FILE\n"),
            (1, ["--output", "o.txt"], 1, ""),
            (2, [], 1, ""),
            (2, ["--format", "none"], 2, ""),
        ],
        everyday=2,
    ),
)
def test_a_stream_that_is_closed(tmp_path, repository, closed, words, code, said):
    """No file gets its number either, in which it would hold what libraries print."""
    done = run(
        repository, "audit", "fixtures/claims/submissions/wrong_constant", *words[:1],
        *(tmp_path / word if word == "o.txt" else word for word in words[1:]),
        full=False, preexec_fn=lambda: os.close(closed),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, said)
    assert bool(done.stdout) is (closed == 2 and code == 1)


def test_the_number_of_a_closed_stream_is_held(repository):
    text = "import os, sys; from bpb_harness.cli._run import _hold_standard_streams as hold; hold(); hold(); "
    text += "sys.exit(os.open('README.md', os.O_RDONLY))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {text}"], cwd=repository,
        check=False, preexec_fn=lambda: (os.close(0), os.close(1)), stderr=subprocess.PIPE, text=True, timeout=600,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "")
