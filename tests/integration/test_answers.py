"""Answers given their prompts, as a user scores them: contract, second look, tables, files of draws, refusals."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.cli.eval import main as eval_main
from tests.commands import run_here
from tests.printed import signature_line, words_of
from tests.tiny_checkpoints import make_golf_gpt

FIELDS = ("--context-field", "question", "--target-field", "reply")


@pytest.fixture(scope="module")
def folder(repository, tmp_path_factory):
    """Questions and replies from the fixture's text, one of them cut inside a token."""
    path = tmp_path_factory.mktemp("answers")
    lines = (repository / "fixtures" / "corpora" / "tiny_val_docs.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [text for line in lines if len(text := json.loads(line)["text"]) > 60][:9]
    rows = [{"id": i, "question": text[:30], "reply": text[30 : 33 + 3 * i]} for i, text in enumerate(texts)]
    (path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def evaluate(repository, folder, *words, checkpoint=None, method="mc"):
    """Run bpb-eval."""
    model = checkpoint or repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
    given = ("--docs", "qa.jsonl", "--method", method, "--device", "cpu", "--seed", "0")
    return run_here(eval_main, str(model), *given, *map(str, words), cwd=folder)


def test_a_score_of_answers_with_its_checks_and_tables(repository, folder):
    words = (*FIELDS, "--samples", "3", "--windows", "w.parquet")
    done = evaluate(repository, folder, *words, "--tokens", "t.parquet")
    assert done.returncode == 0, done.stderr
    assert "|K:3|given:prompts+lengths|" in signature_line(done.stdout)
    printed = words_of(done.stdout)
    assert " bits per answer" in printed
    assert "needs at most that for these answers, each given its prompt and its length" in printed
    assert "9 answers, each given its prompt and its number of tokens" in printed
    assert "documents the prompt does not end where a token does" in printed
    frame, tokens = pd.read_parquet(folder / "w.parquet"), pd.read_parquet(folder / "t.parquet")
    rows = [json.loads(line) for line in (folder / "qa.jsonl").read_text().splitlines()]
    assert frame.num_bytes.tolist() == [len(row["reply"].encode()) for row in rows]
    assert frame.source.tolist() == [f"qa.jsonl: line {number}" for number in range(1, 10)]
    assert tokens.groupby("document").share_bits.sum().tolist() == pytest.approx(frame.bits.tolist())
    assert len(tokens) == frame.num_tokens.sum()
    tokenizer = load_tokenizer(repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model")
    for number, row in enumerate(rows):
        spelled = tokenizer.decode(tokens.token[tokens.document == number].to_numpy())
        assert spelled.endswith(row["reply"].lstrip().encode())

    assert evaluate(repository, folder, *words, "--resume", "kept.draws", "--no-contract").returncode == 0
    again = evaluate(repository, folder, *words, "--resume", "kept.draws", "--no-contract", "--format", "json")
    assert again.returncode == 0, again.stderr
    plain = json.loads(again.stdout)
    assert plain["num_forward_tokens"] == 0, "every draw was kept, drawn or not"
    assert f"~<= {plain['bits_per_byte']:.4f}" in done.stdout
    assert plain["bits_per_document"] == pytest.approx(frame.bits.sum() / 9)
    assert 0 < plain["answers"]["num_sampled"] < plain["answers"]["num_answers"] == 9


def test_a_causal_network_pays_for_the_same_tokens(repository, folder):
    state = make_golf_gpt(vocab_size=512)
    torch.save(state, folder / "gpt.pt")
    tokenizer = repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model"
    words = ("--adapter", "golf-gpt", "--tokenizer", tokenizer, "--format", "json")
    done = evaluate(repository, folder, *FIELDS, *words, checkpoint=folder / "gpt.pt", method="ar")
    assert done.returncode == 0, done.stderr
    masked = evaluate(repository, folder, *FIELDS, "--samples", "1", "--format", "json")
    assert json.loads(done.stdout)["num_tokens"] == json.loads(masked.stdout)["num_tokens"]
    assert json.loads(done.stdout)["relation"] == "="


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--context-field", "prompt", "--target-field", "reply"), "expected 'prompt'; pass --context-field question"),
        (
            ("--target-field", "reply"),
            "--target-field reply: got no --context-field, expected the fields of prompt and",
        ),
        ((*FIELDS, "--text-field", "x"), "--text-field with --target-field: got both"),
        ((*FIELDS, "--context", "2"), "the answer is longer than the network takes: got 5 tokens, expected at most 2"),
        (("--no-enumerate",), "--no-enumerate: got no --target-field"),
    ],
)
def test_what_is_wrong_is_one_line(repository, folder, words, said):
    done = evaluate(repository, folder, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
