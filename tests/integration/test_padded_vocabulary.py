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
from tests.tiny_checkpoints import make_golf_mdlm
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


@pytest.mark.usefixtures("forked_second_look")
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


def test_rows_of_which_no_file_says_how_many_are_tokens(tmp_path: Path) -> None:
    """The mask of golf-mdlm stands behind the vocabulary: where the tokenizer has another size, that is another row."""
    weights = make_golf_mdlm(vocab_size=320)
    byte_tokenizer(tmp_path / "257.json")
    byte_tokenizer(tmp_path / "320.json", *(f"<|{i}|>" for i in range(63)))
    (tmp_path / "docs.jsonl").write_text(json.dumps({"text": TEXT}) + "\n")
    torch.save(weights, tmp_path / "x.pt")
    scoring = {
        "adapter": "golf-mdlm", "method": "mc", "docs": [tmp_path / "docs.jsonl"], "context_length": 32, "device": "cpu"
    }  # fmt: skip
    with pytest.raises(TokenizerError) as caught:
        bpb_harness.evaluate(tmp_path / "x.pt", tokenizer=tmp_path / "257.json", **scoring)
    assert str(caught.value) == (
        "x.pt does not say how many of its rows are tokens, and which is the mask: got a tokenizer of 257 pieces, "
        "expected 320, the usual number for so many rows; pass the --tokenizer that it was trained with; if its mask "
        "is 320 all the same, say so beside the weights: torch.save({'model': weights, 'mask_token_id': 320}, "
        "'model.pt'); else score it through a loader of your own (--model FILE.py:LOADER --allow-code)"
    )
    known = bpb_harness.evaluate(tmp_path / "x.pt", tokenizer=tmp_path / "320.json", **scoring)
    torch.save({"model": weights, "mask_token_id": 320}, tmp_path / "model.pt")  # the next step that the error names
    stated = bpb_harness.evaluate(tmp_path / "model.pt", tokenizer=tmp_path / "257.json", **scoring)
    assert stated.length.nats == pytest.approx(known.length.nats)
