"""Files of bits that an honest network codes, under a line of a score that nobody got."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bpb_harness.cli import prove
from bpb_harness.evaluation.settings import Settings
from bpb_harness.proof.prove import write_proof
from bpb_harness.result import BpbResult
from tests.commands import run_here
from tests.one_block import one_block_of
from tests.printed import without_progress

TINY = one_block_of("mdlm-tiny.pt")
MODEL = "fixtures/tokenizers/tiny_512_bpe.model"

pytestmark = pytest.mark.usefixtures("forked_decoding")


def written(repository: Path, file: Path, monkeypatch, pattern: str, lie: str) -> Path:
    """A file whose windows and shared randomness follow from the edited line, as those of any score do."""
    honest = BpbResult.line
    with monkeypatch.context() as patched:
        patched.setattr(BpbResult, "line", property(lambda self: re.sub(pattern, lie, honest.fget(self))))
        settings = Settings(num_steps=4, context_length=32, limit=12, device="cpu", check_contract=True)
        write_proof(repository / TINY, settings, file, num_windows=4)
    return file


def opened(repository: Path, file: Path):
    return run_here(prove.main, "--decode", file, repository / TINY, "--tokenizer", repository / MODEL)


@pytest.mark.parametrize(
    ("number", "error", "said"),
    [
        ("0.1000", "n/a", "the score knows no error from masks that can be trusted"),
        ("0.1000", "0.3000", "the score's own error, 0.3000, is more than a quarter of its number"),
        ("0.1000", "0.0100", " bits per byte more than it, and are too few to call that chance or not"),
    ],
)
def test_a_low_number_is_not_proved_by_a_large_error(repository, tmp_path, monkeypatch, number, error, said):
    lie = f"<= {number} (mc se {error},"
    file = written(repository, tmp_path / "a.bits", monkeypatch, r"<= \d\.\d{4} \(mc se \S+,", lie)
    done = opened(repository, file)
    assert f"the score says ~<= {number}" in done.stdout, done
    assert "which is the same" not in done.stdout
    if done.returncode == 1:  # four errors of so few windows may show it
        assert done.stdout.splitlines()[-1].startswith("not proved: ")
        return
    assert done.returncode == 3, done
    assert done.stdout.splitlines()[-1].startswith("decoded, not proved: 4 of ")
    assert said in done.stdout.splitlines()[-1]


def test_a_network_that_is_read_in_another_way_than_the_score_says_is_refused(repository, tmp_path, monkeypatch):
    file = written(repository, tmp_path / "a.bits", monkeypatch, r"\|dtype:", "|adapter:reference/ema|dtype:")
    done = opened(repository, file)
    assert done.returncode == 2
    assert "reads the network in another way than its score: got reference, expected reference/ema" in done.stderr
    assert len(without_progress(done.stderr).splitlines()) == 1
