"""A file that one command wrote is given to another, which does not read it: one line says who does."""

from __future__ import annotations

import pytest

from tests.commands import run_line_here

FILES = {
    "a file of --score-file": b'{"format": "bpb-score/1", "signature": "x"}\n',
    "a file of --resume": b'{"format": "bpb-harness draws", "format_version": 1}\n',
    "a file of bits": b"bpb-harness proof\n\0\1\2",
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    ("line", "start"),
    [("bpb-audit it", "bpb-audit: it"), ("bpb-prove a.pt --score it --proof p", "bpb-prove: --score it")],
)
def test_the_line_says_who_reads_it(tmp_path, kind, line, start):
    (tmp_path / "it").write_bytes(FILES[kind])
    done = run_line_here(line, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{start}: got {kind}, expected ")
    assert ("bpb-compare reads it" in done.stderr) == (kind != "a file of bits")
    assert len(done.stderr.splitlines()) == 1


CHECKPOINTS = {
    "a zip archive": b"PK\x03\x04\0\0\x08\x08",
    "a pickle": b"\x80\x02}q\0.",
    "tensors of safetensors": (20).to_bytes(8, "little") + b'{"__metadata__":{}  }',
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
@pytest.mark.parametrize("name", ["it.pt", "train.log", "it"])
def test_a_checkpoint_is_no_record(tmp_path, kind, name):
    (tmp_path / name).write_bytes(CHECKPOINTS[kind])
    done = run_line_here(f"bpb-audit {name}", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"bpb-audit: {name}: got {kind}, as checkpoints are, expected what somebody published"
    )
    assert done.stderr.rstrip().endswith(f"`bpb-eval {name}` scores a checkpoint")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("content", [*CHECKPOINTS.values(), *FILES.values()])
def test_one_that_changed_in_a_submission_only_tells_which_that_is(tmp_path, content):
    (tmp_path / "entry").mkdir()
    (tmp_path / "entry" / "submission.json").write_text('{"val_bpb": 1.2}')
    (tmp_path / "entry" / "it").write_bytes(content)
    done = run_line_here("bpb-audit --containing entry/it", cwd=tmp_path)
    assert done.returncode == 3
    assert "got" not in done.stderr


def test_a_result_without_costs_is_not_compared(tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{\n  "format": "bpb-result/1"\n}')
    done = run_line_here("bpb-compare a.json b.json", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("bpb-compare: a.json: got a score as JSON, without the costs of its documents")
    assert "--score-file FILE" in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bpb-eval a.pt --within 0.1", "--within: got no --expect"),
        ("bpb-eval a.pt --surprisal-draws 8", "--surprisal-draws: got no --surprisal, expected both, or neither"),
        ("bpb-compare a.pt b.pt --surprisal", "No such option: --surprisal"),
        (
            "bpb-prove a.pt --proof p --decode q",
            "--proof and --decode: got both, expected one of the two; leave out one",
        ),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(tmp_path, line, said):
    done = run_line_here(line, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
