"""Folders of transformers, built in the test by the real library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bpb_harness.adapters import load_model
from bpb_harness.contract import check_causal_lm, check_denoiser
from bpb_harness.denoiser import CausalLM, Denoiser, num_clean_tokens
from bpb_harness.errors import CheckpointError, UsageError
from bpb_harness.schedule import LogLinear

transformers = pytest.importorskip("transformers")

_CPU = {"device": torch.device("cpu"), "dtype": torch.float32}
_SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def _bert(folder: Path) -> torch.nn.Module:
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=50, max_position_embeddings=32, initializer_range=0.5, **_SIZES)
    network = transformers.BertForMaskedLM(config).eval()
    network.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(str, range(45))]))
    (folder / "tokenizer_config.json").write_text(json.dumps({"mask_token": "[MASK]"}))
    return network


def test_bert_style(tmp_path: Path) -> None:
    network = _bert(tmp_path)
    checkpoint, adapted = load_model(tmp_path, adapter="huggingface", **_CPU)
    assert checkpoint.layout == "folder"
    model = adapted.model
    assert isinstance(model, Denoiser)
    assert (model.vocab_size, model.mask_token_id, model.context_length) == (50, 4, 32)
    assert num_clean_tokens(model) == 49
    assert not model.time_conditioned
    assert adapted.schedule is None, "a BERT states no schedule"
    x = torch.randint(5, 50, (3, 12), generator=torch.Generator().manual_seed(1))
    x[:, ::3] = 4
    level = LogLinear().level(torch.full((3,), 0.5))
    with torch.no_grad():
        expected = network(input_ids=x, attention_mask=torch.ones_like(x)).logits
    torch.testing.assert_close(model.logits(x, level), expected, atol=1e-4, rtol=1e-4)
    windows = torch.randint(5, 50, (4, 32), generator=torch.Generator().manual_seed(2))
    # Random weights give the mask its share, which is worth a line and no error.
    assert {finding.code for finding in check_denoiser(model, windows, schedule=LogLinear())} == {"contract.mask-mass"}


def test_roberta_positions_start_behind_the_padding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.RobertaConfig(vocab_size=50, max_position_embeddings=34, pad_token_id=1, **_SIZES)
    network = transformers.RobertaForMaskedLM(config).eval()
    network.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"id": 49, "content": "<mask>"}]}))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"mask_token": {"content": "<mask>"}}))
    model = load_model(tmp_path, adapter="huggingface", **_CPU)[1].model
    assert isinstance(model, Denoiser)
    assert (model.mask_token_id, model.context_length) == (49, 32)
    x = torch.randint(2, 49, (1, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(input_ids=x).logits
    torch.testing.assert_close(model.logits(x, LogLinear().level(torch.tensor([0.5]))), expected, atol=1e-4, rtol=1e-4)


def _llama(folder: Path, **changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50, max_position_embeddings=32, initializer_range=0.5, num_key_value_heads=1, **_SIZES
    )
    network = transformers.LlamaForCausalLM(config).eval()
    network.save_pretrained(folder)
    stored = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**stored, **changes}))
    return network


def test_causal_and_a_contract_that_it_keeps(tmp_path: Path) -> None:
    network = _llama(tmp_path)
    model = load_model(tmp_path, adapter="huggingface", **_CPU)[1].model
    assert isinstance(model, CausalLM)
    assert not isinstance(model, Denoiser)
    x = torch.randint(50, (4, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(input_ids=x).logits
    torch.testing.assert_close(model.logits(x), expected, atol=1e-4, rtol=1e-4)
    assert check_causal_lm(model, x) == []


def test_a_mask_in_the_config_makes_a_denoiser_of_a_causal_architecture(tmp_path: Path) -> None:
    """LLaDA's way: its architecture is called causal, sees both sides, and config.json names the mask."""
    config = transformers.BertConfig(vocab_size=50, max_position_embeddings=32, mask_token_id=47, **_SIZES)
    transformers.BertLMHeadModel(config).save_pretrained(tmp_path)
    _, adapted = load_model(tmp_path, adapter="huggingface", **_CPU)
    assert isinstance(adapted.model, Denoiser)
    assert adapted.model.mask_token_id == 47
    assert adapted.schedule == LogLinear()


def test_tied_embeddings_and_pickled_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=50, n_positions=32, n_embd=24, n_layer=2, n_head=2)
    network = transformers.GPT2LMHeadModel(config).eval()
    network.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    model = load_model(tmp_path, adapter="huggingface", **_CPU)[1].model
    assert isinstance(model, CausalLM)
    assert model.context_length == 32
    x = torch.randint(50, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(input_ids=x).logits
    torch.testing.assert_close(model.logits(x), expected, atol=1e-4, rtol=1e-4)


def test_a_missing_weight_is_an_error_and_not_a_random_one(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    _bert(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(name for name in tensors if "query.weight" in name)
    tensors.pop(name)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"lacks the tensor {name}"):
        load_model(tmp_path, adapter="huggingface", **_CPU)


def test_code_in_the_folder_needs_permission(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    _bert(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "homemade", "auto_map": {"AutoConfig": "code.C", "AutoModelForMaskedLM": "code.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text(
        "import pathlib\n"
        f"pathlib.Path({str(canary)!r}).touch()\n"
        "from transformers import BertConfig, BertForMaskedLM\n"
        "class C(BertConfig):\n    model_type = 'homemade'\n"
        "class M(BertForMaskedLM):\n    config_class = C\n"
    )
    with pytest.raises(UsageError, match=r"brings its own code.*--allow-code"):
        load_model(tmp_path, adapter="huggingface", **_CPU)
    assert not canary.exists()


def test_no_mask_token_is_an_error(tmp_path: Path) -> None:
    _bert(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match="no mask token"):
        load_model(tmp_path, adapter="huggingface", **_CPU)
