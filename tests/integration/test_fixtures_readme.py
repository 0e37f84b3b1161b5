"""The way from nothing to a score that fixtures/README.md prints: draw text, train on it, score it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.text.corpus import load_documents, load_shards
from fixtures import build
from tests.commands import run_line_here

_REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The page's commands that name a file below /tmp, in a folder of their own."""
    folder = tmp_path_factory.mktemp("readme")
    text = (_REPOSITORY / "fixtures" / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^    ((?:python|bpb-eval) .*/tmp/.*)$", text, flags=re.MULTILINE)
    return [line.replace("/tmp/", f"{folder}/") for line in found]


def test_the_commands_lead_to_a_score(lines: list[str]) -> None:
    """As printed, but for the amounts: a few documents, a few steps."""
    assert len(lines) == 3
    assert lines[-1].startswith("bpb-eval ")
    for line in lines:
        # The shell makes this of a pattern with one match.
        short = line.replace("tiny_train_*.bin", "tiny_train_000000.bin")
        short = short.replace("--documents 10000", "--documents 60").replace("--minutes 1 ", "--steps 4 ")
        short += " --limit 8" if line is lines[-1] else ""
        done = run_line_here(short, cwd=_REPOSITORY)
        assert done.returncode == 0, f"{short}\n{done.stderr}"
    assert "size         1,024 tokens, " in done.stdout


def test_training_text_is_the_stream_that_the_checkpoint_was_trained_on(tmp_path: Path) -> None:
    build.build_training(tmp_path, 50)
    tokenizer = load_tokenizer(build.TOKENIZER)
    shard = load_shards([tmp_path / "tiny_train_000000.bin"], vocab_size=tokenizer.vocab_size)
    assert load_documents([tmp_path / "tiny_train_docs.jsonl"], tokenizer).digest == shard.digest
    longer = load_shards([build.training_shard(tmp_path, min_bytes=60_000)])
    assert longer.num_tokens > shard.num_tokens
    assert longer.read(0, shard.num_tokens).tolist() == shard.read(0, shard.num_tokens).tolist()
    texts = {
        path.name: {json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()}
        for path in (tmp_path / "tiny_train_docs.jsonl", build.DOCUMENTS)
    }
    train, validation = texts.values()
    assert len(train) == 50
    assert not train & validation


def test_the_folder_belongs_to_training_alone(tmp_path: Path) -> None:
    application = typer.Typer()
    application.command()(build.main)
    tokenizer = build.TOKENIZER.read_bytes()
    folder = str(tmp_path / "x")
    for words in (["training"], ["tokenizer", "--out", folder], ["training", "--documents", "0", "--out", folder]):
        assert CliRunner().invoke(application, words).exit_code == 2
    assert list(tmp_path.iterdir()) == []
    assert build.TOKENIZER.read_bytes() == tokenizer
    assert CliRunner().invoke(application, ["training", "--documents", "3", "--out", folder]).exit_code == 0
    assert len((tmp_path / "x" / "tiny_train_docs.jsonl").read_text(encoding="utf-8").splitlines()) == 3
