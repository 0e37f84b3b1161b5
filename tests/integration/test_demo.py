"""``bpb-eval --demo``: the checkpoint and the text that come with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.cli import eval
from bpb_harness.cli._demo import DEMO_CHECKPOINT
from fixtures.build import DEMO, DEMO_MIN_BYTES, VALIDATION
from fixtures.build import DEMO_CHECKPOINT as BUILT
from tests.commands import run_here
from tests.own_json import own_json


def test_it_scores_what_comes_with_the_package(tmp_path: Path) -> None:
    words = ("--method", "mc", "--samples", "1", "--no-contract", "--format", "json", "--quiet")
    done = run_here(eval.main, "--demo", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    score = own_json(done.stdout)
    assert "|data:demo_val@" in score["signature"]
    assert score["num_bytes"] >= DEMO_MIN_BYTES
    assert 0.66 < score["bits_per_byte"] < 1.1
    for command, environment in (([DEMO_CHECKPOINT], {}), (["--demo"], {"BPB_DATA": str(VALIDATION)})):
        again = own_json(run_here(eval.main, *command, *words, cwd=tmp_path, environment=environment).stdout)
        assert (again["signature"], again["nats"]) == (score["signature"], score["nats"])
    assert list(tmp_path.iterdir()) == []


def test_it_is_small_and_made_by_the_program_that_makes_fixtures() -> None:
    assert BUILT == DEMO_CHECKPOINT
    files = sorted(DEMO.iterdir())
    assert [path.name for path in files] == ["demo.pt", "demo_val_000000.bin", "demo_val_000000.source.json"]
    assert sum(path.stat().st_size for path in files) < 400_000
    shard = (DEMO / "demo_val_000000.bin").read_bytes()[1024:]
    assert VALIDATION.read_bytes()[1024:].startswith(shard), "the first documents of the validation shard"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--demo", "other.pt"], "--demo: got CHECKPOINT other.pt too, expected one of them; leave one out"),
        ([], "Missing argument 'CHECKPOINT'; see bpb-eval --help"),
    ],
)
def test_a_checkpoint_or_the_demo(words: list[str], line: str) -> None:
    done = run_here(eval.main, *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"bpb-eval: {line}\n")
