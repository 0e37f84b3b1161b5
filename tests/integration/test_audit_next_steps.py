"""What bpb-audit prints as what would settle a score's own file: the commands run once their places are filled in."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpb_harness.cli.audit import main as audit_main
from bpb_harness.cli.eval import main as eval_main
from bpb_harness.cli.prove import main as prove_main
from bpb_harness.formats import read_result
from bpb_harness.formats.scored_again import command_of, settings_of
from tests.commands import run_here
from tests.forked_servers import start_forked
from tests.tiny_checkpoints import make_golf_mdlm

_REPOSITORY = Path(__file__).parents[2]
_TINY = _REPOSITORY / "fixtures/checkpoints/mdlm-tiny.pt"
_DOCS = _REPOSITORY / "fixtures/corpora/tiny_val_docs.jsonl"
_PLACES = {
    "TEXT": _REPOSITORY / "fixtures/corpora/tiny_val_000000.bin",
    "TOKENIZER": _REPOSITORY / "fixtures/tokenizers/tiny_512_bpe.model",
    "FILE.py:LOADER": f"{_REPOSITORY / 'docs/examples/loss_only_model.py'}:load",
    "PROMPT": "question",
    "ANSWER": "reply",
    "FILE": "proof.bits",
}
_TOKENIZER = ("--tokenizer", _PLACES["TOKENIZER"])
_OWN_CODE = ("--model", _PLACES["FILE.py:LOADER"], "--allow-code", *_TOKENIZER)
_SHARDS, _CPU = ("--data", _PLACES["TEXT"]), ("--device", "cpu")
_ANSWERS = ("--docs", "qa.jsonl", "--context-field", "question", "--target-field", "reply")
_QUICK = ("--method", "chain", "--context", "8", "--limit", "4")
# How a score is made: its checkpoint, its flags, what stands for TEXT, and whether bpb-audit rescores it by itself.
_MADE: dict[str, tuple[str, tuple[object, ...], object, bool]] = {
    "own code": ("mine.pt", (*_OWN_CODE, *_SHARDS, *_QUICK), _PLACES["TEXT"], False),
    "own code on documents": ("mine.pt", (*_OWN_CODE, "--docs", _DOCS, *_QUICK), _DOCS, False),
    "documents": (str(_TINY), ("--docs", _DOCS, *_QUICK), _DOCS, False),
    "answers": (str(_TINY), (*_ANSWERS, "--method", "chain", "--limit", "3"), "qa.jsonl", False),
    "no tokenizer inside": (
        "golf.pt", (*_SHARDS, *_TOKENIZER, *_QUICK, "--adapter", "golf-mdlm"), _PLACES["TEXT"], True,
    ),
    "one of two sets of weights": (
        "two.pt", (*_SHARDS, *_TOKENIZER, *_QUICK, "--adapter", "golf-mdlm", "--weights", "ema"), _PLACES["TEXT"], True,
    ),
    "blocks": (
        str(_TINY), (*_SHARDS, "--context", "24", "--block-size", "8", "--steps", "3", "--limit", "2"),
        _PLACES["TEXT"], True,
    ),
    "a separator": (str(_TINY), (*_SHARDS, *_QUICK, "--separator", "2"), _PLACES["TEXT"], True),
    "bits per token": ("mine.pt", (*_OWN_CODE, *_SHARDS, *_QUICK, "--bytes", "none"), _PLACES["TEXT"], False),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints, questions and replies."""
    path = tmp_path_factory.mktemp("steps")
    torch.manual_seed(0)
    weights = {"embed.weight": torch.randn(513, 16), "mix.weight": torch.randn(16, 16), "mix.bias": torch.randn(16)}
    torch.save(weights, path / "mine.pt")
    golf = make_golf_mdlm(vocab_size=512)
    torch.save(golf, path / "golf.pt")
    torch.save({"model": golf, "ema": make_golf_mdlm(vocab_size=512, seed=1)}, path / "two.pt")
    texts = [json.loads(line)["text"] for line in _DOCS.read_text(encoding="utf-8").splitlines()]
    rows = [{"question": text[:30], "reply": text[30:36]} for text in texts if len(text) > 60][:9]
    (path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _filled_in(step: str, places: dict[str, object]) -> list[object]:
    """The words of the command in a step, its places filled in."""
    (command,) = re.findall(r"bpb-\w+ CHECKPOINT .*", step)
    return [places.get(word, word) for word in shlex.split(command)][1:]


def _flags_here(anew: str, places: dict[str, object]) -> list[object]:
    """The flags by which bpb-audit is said to score it itself, with what is filled in; none where it is not said."""
    flags = re.search("here with (.*), or:", anew)
    words: list[object] = []
    for flag in re.findall(r"--\w+", flags[1] if flags else ""):
        words += [flag, places[{"--data": "TEXT"}.get(flag, flag.removeprefix("--").upper())]]
    return words


@pytest.mark.parametrize("how", _MADE)
def test_what_is_printed_runs(how: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, flags, text, is_scored_here = _MADE[how]
    words = (checkpoint, *flags, *_CPU, "--format", "json", "--output", "my score.json", "--quiet")
    done = run_here(eval_main, *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    done = run_here(audit_main, "my score.json", "--format", "json", cwd=folder)
    (anew, proof), places = json.loads(done.stdout)["missing"], _PLACES | {"CHECKPOINT": checkpoint, "TEXT": text}

    done = run_here(eval_main, *_filled_in(anew, places), *_CPU, cwd=folder)
    assert done.returncode == 0, done.stderr

    monkeypatch.setattr("bpb_harness.proof.decoding.Server", SimpleNamespace(start=start_forked))
    done = run_here(prove_main, *_filled_in(proof, places), *_CPU, "--num-windows", "2", cwd=folder)
    assert done.returncode == 0, done

    here = _flags_here(anew, places)
    assert bool(here) == is_scored_here
    if here:
        done = run_here(audit_main, "my score.json", *here, cwd=folder)
        assert done.returncode == 0, done
        assert "the score was computed a second time" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("entries", "limit"),
    [
        ({}, 2),
        ({"order": "per-document"}, None),
        ({"unpaid_prefix": "2"}, None),
        ({"stride": "4"}, None),
        ({"data": "x@01[0:7/99]"}, None),
    ],
)
def test_windows_of_blocks_are_told_where_all_are_as_long(folder: Path, entries: dict[str, Any], limit: int) -> None:
    words = (
        _TINY,
        *_SHARDS,
        "--context",
        "24",
        "--block-size",
        "8",
        "--steps",
        "3",
        "--limit",
        "2",
        "--format",
        "json",
    )
    done = run_here(eval_main, *words, *_CPU, "--output", "blocks.json", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    result = read_result(folder / "blocks.json")
    other = replace(result, signature=replace(result.signature, **entries))
    assert settings_of(other.signature).get("limit") == limit
    assert f"--limit {limit or 'WINDOWS'} " in str(command_of(other))
