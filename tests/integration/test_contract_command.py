"""A cheat on the command line: exit 4 and one line; --no-contract scores it and says so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bpb_harness.cli.eval import main
from tests.commands import run_here
from tests.printed import words_of


def _bpb_eval(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    fixtures = repository / "fixtures"
    return run_here(
        main, fixtures / "checkpoints" / "mdlm-tiny.pt",
        "--data", fixtures / "corpora" / "tiny_val_000000.bin",
        "--tokenizer", fixtures / "tokenizers" / "tiny_512_bpe.model",
        "--device", "cpu", "--limit", "2", "--steps", "4", "--samples", "1", *words,
    )  # fmt: skip


@pytest.mark.parametrize("loader", ["load_remembers", "load_drifts"])
def test_a_cheat_is_not_scored(repository: Path, loader: str) -> None:
    cheat = f"{repository / 'fixtures' / 'adversarial' / 'models' / 'cheats.py'}:{loader}"
    done = _bpb_eval(repository, "--model", cheat, "--allow-code")
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("bpb-eval: ")


def test_without_the_contract_the_signature_says_so(repository: Path) -> None:
    cheat = f"{repository / 'fixtures' / 'adversarial' / 'models' / 'cheats.py'}:load_drifts"
    done = _bpb_eval(repository, "--model", cheat, "--allow-code", "--no-contract")
    assert done.returncode == 0, done.stderr
    assert "|contract:off|" in done.stdout
    assert "its behaviour was not checked" in words_of(done.stdout)
    assert "code that was permitted" in words_of(done.stdout)
