"""Where the official rule counts other bytes than are spelled: what bpb-eval says of its score, and how loudly."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.cli.eval import main as eval_main
from tests.commands import run_here

_PROSE = ["the cat sat on the mat", "the rat ate the cat in the hat", "a mat for the cat"] * 4
_CODE = ["def f(x):\n    if x:\n        return x", "for y in z:\n    pass  # the cat"] * 4
# Settings of a tokenizer, the text, and what the official rule makes of its score.
_KINDS: dict[str, tuple[dict[str, Any], list[str], str | None]] = {
    "plain": ({}, _PROSE, None),
    "unigram": ({"model_type": "unigram", "vocab_size": 30, "byte_fallback": False}, _PROSE, None),
    "spaces behind": ({"treat_whitespace_as_suffix": True}, _PROSE, "low"),
    "runs of spaces in one piece": ({"user_defined_symbols": ["\u2581" * 4]}, _CODE, "low"),
    "the same without runs": ({"user_defined_symbols": ["\u2581" * 4]}, _PROSE, None),
    "a dummy prefix with nothing before it": ({"bos_id": -1, "eos_id": -1}, _PROSE, "low"),
    "a dummy prefix of long documents": ({"bos_id": -1, "eos_id": -1}, [" ".join(_PROSE * 3)] * 2, "note"),
    "spaces at the start": ({"add_dummy_prefix": False}, [f" {text}" for text in _PROSE], "high"),
}


def _tokenizer(folder: Path, texts: list[str], **settings: Any) -> Path:
    model = io.BytesIO()
    given: dict[str, Any] = {"model_type": "bpe", "vocab_size": 290, "byte_fallback": True}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 4), model_writer=model, hard_vocab_limit=False, num_threads=1, minloglevel=2,
        remove_extra_whitespaces=False, normalization_rule_name="identity", **(given | settings),
    )  # fmt: skip
    path = folder / "t.model"
    path.write_bytes(model.getvalue())
    return path


def _score(folder: Path, tokenizer: Path, documents: list[Any], *words: object) -> dict[str, Any]:
    """Of a network that gives every token the same mass."""
    size = load_tokenizer(tokenizer).vocab_size
    (folder / "net.py").write_text(
        "import torch\nclass Net:\n"
        f"    vocab_size, context_length = {size}, 8\n"
        f"    def logits(self, x):\n        return torch.zeros(*x.shape, {size})\n"
        "def load(path, device):\n    return Net()\n"
    )
    rows = [{"text": each} if isinstance(each, str) else each for each in documents]
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "x.pt").write_bytes(b"")
    done = run_here(
        eval_main, "x.pt", "--model", "net.py:load", "--allow-code", "--docs", "docs.jsonl", "--tokenizer", tokenizer,
        "--method", "ar", "--device", "cpu", "--format", "json", "--quiet", "--no-contract", *words, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    scored: dict[str, Any] = json.loads(done.stdout)
    return scored


def _said(scored: dict[str, Any]) -> list[str]:
    return [found["message"] for found in scored["findings"] if found["code"] == "bytes.official-not-exact"]


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("part", [(), ("--limit", "3")], ids=["whole", "part"])
def test_a_score_that_the_rule_moves_is_warned_of(kind: str, part: tuple[str, ...], tmp_path: Path) -> None:
    settings, texts, moved = _KINDS[kind]
    tokenizer = _tokenizer(tmp_path, texts, **settings)
    official = _score(tmp_path, tokenizer, texts, *part)
    exact = _score(tmp_path, tokenizer, texts, *part, "--bytes", "exact")
    said = _said(official)
    assert len(said) == (0 if moved is None else 1)
    assert [message.startswith("WARNING") for message in _said(exact)] == [False] * len(said)
    ratio = official["bits_per_byte"] / exact["bits_per_byte"]
    if moved is None:
        assert ratio == 1.0
        return
    is_moved = abs(ratio - 1.0) >= 0.0025
    assert said[0].startswith("WARNING") == is_moved
    if part:
        return  # how much a part is moved is its own affair
    assert is_moved == (moved != "note")
    if is_moved:
        right, printed = f"{exact['bits_per_byte']:.4f}", f"{official['bits_per_byte']:.4f}"
        assert f"this score is {right}, not {printed}" in said[0]
        share = re.search(r"which is ([0-9.]+)% too (low|high)", said[0])
        assert share is not None
        assert share[2] == moved
        assert float(share[1]) == pytest.approx(100 * abs(ratio - 1.0), abs=0.051)
        assert f"counts {official['num_bytes']:,} bytes where they spell {exact['num_bytes']:,}" in said[0]


def test_answers_are_warned_of_by_their_own_bytes(tmp_path: Path) -> None:
    tokenizer = _tokenizer(tmp_path, _PROSE, add_dummy_prefix=False)
    rows = [{"question": "the cat", "reply": " sat  on"}, {"question": "a mat", "reply": " a"}]
    words = ("--context-field", "question", "--target-field", "reply")
    official, exact = (_score(tmp_path, tokenizer, rows, *words, "--bytes", rule) for rule in ("official", "exact"))
    assert len(_said(official)) == len(_said(exact))
    for message in _said(official):
        is_moved = abs(official["bits_per_byte"] / exact["bits_per_byte"] - 1.0) >= 0.0025
        assert message.startswith("WARNING") == is_moved
        assert not is_moved or f"this score is {exact['bits_per_byte']:.4f}, not" in message
