"""Networks whose vocabulary is larger than the tokenizer's, and what a window is where nothing states it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import bpb_harness
from bpb_harness.errors import TokenizerError, UsageError
from bpb_harness.evaluation.inputs import require_same_vocabulary
from tests.tiny_folders import network, save

pytest.importorskip("transformers")
TEXT = "Once upon a midnight dreary, while I pondered, weak and weary. " * 2


def byte_tokenizer(path: Path, *added: str) -> Tokenizer:
    """Every byte is a token, and no two are ever joined."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({"<|endoftext|>": 0, **{c: i + 1 for i, c in enumerate(alphabet)}}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>", *added])
    tokenizer.save(str(path))
    return tokenizer


def test_any_padding_behind_the_checkpoints_own_tokenizer(tmp_path: Path) -> None:
    built = network("llama", vocab_size=1200, bos_token_id=0, eos_token_id=0)
    save(tmp_path, built)
    tokenizer = byte_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "docs.jsonl").write_text(json.dumps({"text": TEXT}) + "\n")
    scoring = {"adapter": "huggingface", "method": "ar", "docs": [tmp_path / "docs.jsonl"], "device": "cpu"}
    result = bpb_harness.evaluate(tmp_path, context_length=32, **scoring)
    ids = torch.tensor([0, *tokenizer.encode(TEXT, add_special_tokens=False).ids])
    nats = 0.0
    for end in range(32, len(ids) + 31, 32):
        stop = min(end, len(ids) - 1)
        window = ids[max(0, stop - 32) : stop]
        with torch.no_grad():
            log_probs = built(input_ids=window[None]).logits[0].double().log_softmax(-1)
        paid = stop - (end - 32)
        nats -= log_probs[-paid:].gather(1, ids[stop + 1 - paid : stop + 1, None]).sum().item()
    assert result.bits_per_byte == pytest.approx(nats / math.log(2) / len(TEXT), rel=1e-5)
    byte_tokenizer(tmp_path / "other.json", "<|other|>")
    with pytest.raises(TokenizerError, match=r"got a tokenizer of 258 pieces, expected 1200"):
        bpb_harness.evaluate(tmp_path, context_length=32, tokenizer=tmp_path / "other.json", **scoring)


def test_networks_without_a_longest_window_need_context(tmp_path: Path) -> None:
    save(tmp_path, network("mamba", vocab_size=257))
    byte_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "docs.jsonl").write_text(json.dumps({"text": TEXT}) + "\n")
    scoring = {"adapter": "huggingface", "method": "ar", "docs": [tmp_path / "docs.jsonl"], "device": "cpu"}
    with pytest.raises(UsageError, match=r"states no context length; pass --context L"):
        bpb_harness.evaluate(tmp_path, **scoring)
    assert bpb_harness.evaluate(tmp_path, context_length=16, **scoring).signature.context_length == "16"


@pytest.mark.parametrize(
    ("pieces", "rows", "clean", "is_own", "fits"),
    [
        (320, 320, 320, False, True),
        (320, 321, 320, False, True),  # the mask is the row behind the pieces
        (320, 320, 319, False, True),  # the mask is one of the pieces
        (320, 620, 620, False, True),
        (320, 831, 831, False, True),
        (320, 832, 832, False, False),
        (320, 50_304, 50_304, True, True),
        (1024, 2048, 2048, False, False),
        (50_295, 51_200, 51_200, False, True),  # Phi-2
        (151_669, 152_064, 152_064, False, True),  # Qwen
        (200_019, 201_088, 201_088, False, True),  # gpt-oss
        (32_000, 128_256, 128_256, False, False),
        (321, 320, 320, True, False),
        (50_257, 32_000, 32_000, True, False),
    ],
)
def test_how_many_rows_are_padding(pieces: int, rows: int, clean: int, is_own: bool, fits: bool) -> None:
    tokenizer = SimpleNamespace(vocab_size=pieces, num_unnamed=0)
    if fits:
        require_same_vocabulary(tokenizer, rows, clean, is_own=is_own)
        return
    with pytest.raises(TokenizerError, match=rf"got a tokenizer of {pieces} pieces, expected {rows}"):
        require_same_vocabulary(tokenizer, rows, clean, is_own=is_own)
