"""An empty path is the folder that one is in: whatever lies there would be read in the place of what was meant."""

from __future__ import annotations

from importlib import import_module

import pytest

import bpb_harness
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.settings import Settings
from reference import train
from tests.commands import run_here

LINES = [
    ("eval", ["m.pt", "--docs", ""], "--docs"),
    ("eval", ["m.pt", "--docs="], "--docs"),
    ("eval", ["m.pt", "--data", "a.bin", ""], "an argument"),
    ("eval", [""], "an argument"),
    ("eval", ["m.pt", "--data", "a", "--tokenizer", ""], "--tokenizer"),
    ("eval", ["m.pt", "--limit", ""], "--limit"),
    ("compare", ["a.score", ""], "an argument"),
    ("compare", ["a.score", "b.score", "--output="], "--output"),
    ("audit", [""], "an argument"),
    ("audit", ["--recursive", ""], "--recursive"),
    ("audit", ["x", "--baseline", ""], "--baseline"),
    ("bytes", ["--tokenizer", "", "--data", "x"], "--tokenizer"),
    ("bytes", ["--tokenizer", "x", "--data="], "--data"),
    ("prove", ["m.pt", "--proof", ""], "--proof"),
]


@pytest.mark.parametrize(("command", "words", "what"), LINES)
def test_an_empty_value_is_refused(tmp_path, monkeypatch, command, words, what):
    """An unset variable, `--docs "$DOCS"`, scored the text files that lay about."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("lies about")
    done = run_here(import_module(f"bpb_harness.cli.{command}").main, *words)
    said = f"bpb-{command}: {what}: got an empty text, expected a value; is a variable of the shell unset?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_the_trainer_refuses_it_too():
    done = run_here(train.main, "--data", "", "--tokenizer", "t", "--out", "m.pt")
    assert done.returncode == 2
    assert "--data: got an empty text" in done.stderr


@pytest.mark.parametrize(
    "call",
    [
        lambda: bpb_harness.evaluate(""),
        lambda: bpb_harness.evaluate("m.pt", data=""),
        lambda: bpb_harness.evaluate("m.pt", docs=["a", ""]),
        lambda: bpb_harness.evaluate("m.pt", data="x", tokenizer=""),
        lambda: bpb_harness.audit(""),
        lambda: bpb_harness.audit(["a", ""]),
        lambda: bpb_harness.audit("train.log", baseline=""),
        lambda: bpb_harness.compare("", "a.score"),
    ],
)
def test_nor_is_it_taken_from_python(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.log").write_text("final val_loss:2.07269931 val_bpb:1.22436570\n")
    with pytest.raises(
        UsageError, match=r"a path: got an empty text, expected a file or a folder; '\.' is this folder"
    ):
        call()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"limit": True}, "--limit: got True, expected a whole number, 1 or more"),
        ({"stride": True}, "--stride: got True, expected a whole number, 1 or more"),
        ({"unpaid_prefix": False}, "--unpaid-prefix: got False, expected a whole number, 0 or more"),
        ({"seed": True}, "--seed: got True, expected a number"),
        ({"seed": 1.0}, "seed: got 1.0, expected 0 .. 2^64 - 1; pass --seed 0"),
        ({"seed": "1"}, "seed: got '1', expected 0 .. 2^64 - 1; pass --seed 0"),
        ({"seed": None}, "seed: got None, expected 0 .. 2^64 - 1; pass --seed 0"),
        ({"check_contract": "no"}, "--no-contract: got 'no', expected True or False"),
        ({"compare": "yes"}, "--compare: got 'yes', expected True or False"),
        ({"allow_code": "false"}, "--allow-code: got 'false', expected True or False"),
        ({"per_document": 1}, "--per-document: got 1, expected True or False"),
    ],
)
def test_a_value_of_another_kind_is_not_taken_for_one(settings, said):
    """`allow_code="false"` ran code, and a seed of 1.0 was another one than 1."""
    with pytest.raises(UsageError) as caught:
        Settings(**settings)
    assert str(caught.value) == said
