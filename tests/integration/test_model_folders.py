"""Folders of transformers: what scores, and that it scores what an independent forward pass gives."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bpb_harness.errors import CheckpointError
from bpb_harness.schedule import LogLinear
from tests.tiny_folders import (
    CAUSAL,
    CONTEXT,
    MASK,
    MASKED,
    adapted,
    change_config,
    change_tensors,
    network,
    require_same_score,
    save,
)

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("kind", [*CAUSAL, *MASKED])
def test_a_folder_scores_what_its_network_gives(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    built = network(kind)
    save(tmp_path, built)
    capfd.readouterr()
    found = adapted(tmp_path)
    assert capfd.readouterr() == ("", ""), "the library's own reports and progress bars are not the user's"
    require_same_score(built, found.model)
    if kind in MASKED:
        assert found.model.mask_token_id == MASK
        assert found.model.context_length == CONTEXT - (2 if kind in ("roberta", "esm") else 0)
    assert found.context_is_open == (kind == "mamba")
    assert not found.context_is_guess


@pytest.mark.parametrize("kind", ["mixtral", "qwen2-moe", "qwen3-moe"])
@pytest.mark.parametrize("joined", [False, True], ids=["one by one", "joined"])
def test_experts_as_both_versions_save_them(kind: str, joined: bool, tmp_path: Path) -> None:
    built = network(kind)
    save(tmp_path, built)
    experts = {name: value.clone() for name, value in built.state_dict().items() if ".experts." in name}
    if not any(name.endswith("gate_up_proj") for name in experts):
        pytest.skip("this version of the library has no joined experts")

    def one_by_one(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        rest = {name: value for name, value in tensors.items() if ".experts." not in name}
        parts = ("w1", "w3", "w2") if kind == "mixtral" else ("gate_proj", "up_proj", "down_proj")
        for name, value in experts.items():
            where = name.rsplit(".", 1)[0]
            old = where.replace("mlp.experts", "block_sparse_moe.experts") if kind == "mixtral" else where
            for expert, matrix in enumerate(value):
                pieces = matrix.chunk(2) if name.endswith("gate_up_proj") else (matrix,)
                names = parts[:2] if len(pieces) == 2 else parts[2:]
                rest |= {f"{old}.{expert}.{part}.weight": piece for part, piece in zip(names, pieces, strict=True)}
        if kind == "mixtral":
            rest = {name.replace("mlp.gate.", "block_sparse_moe.gate."): value for name, value in rest.items()}
        return rest

    change_tensors(tmp_path, (lambda _: dict(built.state_dict())) if joined else one_by_one)
    require_same_score(built, adapted(tmp_path).model)


def test_gpt2_as_the_hub_has_it(tmp_path: Path) -> None:
    """No prefix, and the causal masks that old versions saved."""
    built = network("gpt2")
    save(tmp_path, built)

    def old(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        bare = {name.removeprefix("transformer."): value for name, value in tensors.items()}
        for layer in range(2):
            bare[f"h.{layer}.attn.bias"] = torch.ones(CONTEXT, CONTEXT).tril()[None, None]
            bare[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
        return bare

    change_tensors(tmp_path, old)
    require_same_score(built, adapted(tmp_path).model)


def test_bert_as_the_hub_has_it(tmp_path: Path) -> None:
    """gamma and beta, positions, and the heads over sentences."""
    built = network("bert")
    save(tmp_path, built)

    def old(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        named = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
            for name, value in tensors.items()
        }
        named["bert.embeddings.position_ids"] = torch.arange(CONTEXT)[None]
        named["bert.pooler.dense.weight"], named["bert.pooler.dense.bias"] = torch.randn(16, 16), torch.randn(16)
        named["cls.seq_relationship.weight"], named["cls.seq_relationship.bias"] = torch.randn(2, 16), torch.randn(2)
        return named

    change_tensors(tmp_path, old)
    require_same_score(built, adapted(tmp_path).model)


def test_gpt_neox_as_the_hub_has_it(tmp_path: Path) -> None:
    """Byte masks and rotary frequencies in 16 bits."""
    built = network("gpt-neox")
    save(tmp_path, built)
    frequencies = built.gpt_neox.rotary_emb.inv_freq

    def old(tensors: dict[str, Tensor]) -> None:
        for layer in range(2):
            at = f"gpt_neox.layers.{layer}.attention."
            tensors[at + "bias"] = torch.ones(CONTEXT, CONTEXT).tril()[None, None].bool()
            tensors[at + "masked_bias"] = torch.tensor(-1e9)
            tensors[at + "rotary_emb.inv_freq"] = frequencies.half()

    change_tensors(tmp_path, old)
    require_same_score(built, adapted(tmp_path).model)


@pytest.mark.parametrize(
    ("where", "prefix"),
    [
        ("", "module."),
        ("", "_orig_mod."),
        ("", "_orig_mod.module."),
        ("", "module._orig_mod."),
        ("layers.0.", "_orig_mod."),
    ],
)
def test_names_with_what_wrappers_put_into_them(where: str, prefix: str, tmp_path: Path) -> None:
    built = network("llama")
    save(tmp_path, built)

    def wrap(name: str) -> str:
        return name.replace(where, where + prefix) if where else prefix + name

    change_tensors(tmp_path, lambda tensors: {wrap(name): value for name, value in tensors.items()})
    require_same_score(built, adapted(tmp_path).model)


@pytest.mark.parametrize("kind", ["gpt2", "llama-tied", "qwen3-tied"])
def test_a_head_that_went_its_own_way_is_used(kind: str, tmp_path: Path) -> None:
    built = network(kind)
    save(tmp_path, built)
    head = built.get_output_embeddings().weight.detach() * 1.5
    change_tensors(tmp_path, lambda tensors: tensors | {"lm_head.weight": head})
    own = copy.deepcopy(built)
    own.lm_head.weight = torch.nn.Parameter(head)
    found = adapted(tmp_path)
    require_same_score(own, found.model)
    assert any("ties" in note and "lm_head.weight" in note for note in found.notes)


def test_a_head_that_is_the_embedding_twice_is_one(tmp_path: Path) -> None:
    built = network("llama-tied")
    save(tmp_path, built)
    change_tensors(tmp_path, lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"].clone()})
    found = adapted(tmp_path)
    require_same_score(built, found.model)
    assert found.notes == ()


def test_a_head_of_bert_that_went_its_own_way_is_used(tmp_path: Path) -> None:
    built = network("bert")
    save(tmp_path, built)
    head = built.bert.embeddings.word_embeddings.weight.detach() * 1.5
    change_tensors(tmp_path, lambda tensors: tensors | {"cls.predictions.decoder.weight": head})
    own = copy.deepcopy(built)
    own.cls.predictions.decoder.weight = torch.nn.Parameter(head)
    require_same_score(own, adapted(tmp_path).model)


def test_settings_that_name_code_are_not_passed_on(tmp_path: Path) -> None:
    built = network("llama")
    save(tmp_path, built)
    change_config(tmp_path, attn_implementation="somebody/kernel", _attn_implementation="flash_attention_9")
    change_config(tmp_path, dtype="load", return_dict=False, transformers_weights="../other.safetensors")
    require_same_score(built, adapted(tmp_path).model)


def test_settings_of_generation_do_not_matter(tmp_path: Path) -> None:
    built = network("gpt2")
    save(tmp_path, built)
    change_config(tmp_path, n_ctx=CONTEXT, task_specific_params={"text-generation": {"do_sample": True}}, top_k=3)
    require_same_score(built, adapted(tmp_path).model)


def test_no_stated_length_of_windows(tmp_path: Path) -> None:
    built = network("llama")
    save(tmp_path, built)
    change_config(tmp_path, max_position_embeddings=None)
    found = adapted(tmp_path)
    assert found.context_is_guess
    require_same_score(built, found.model)


def test_what_the_library_would_pass_over_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its classes have patterns of names that it never reports."""
    save(tmp_path, network("llama"))
    kind = transformers.LlamaForCausalLM
    monkeypatch.setattr(kind, "_keys_to_ignore_on_load_unexpected", [r"later\."], raising=False)
    change_tensors(tmp_path, lambda tensors: tensors | {"model.later.weight": torch.ones(3)})
    with pytest.raises(CheckpointError, match=r"tensors that the network does not use: got model\.later\.weight"):
        adapted(tmp_path)
    monkeypatch.setattr(kind, "_keys_to_ignore_on_load_missing", [r"q_proj"], raising=False)
    gone = "model.layers.1.self_attn.q_proj.weight"
    change_tensors(tmp_path, lambda t: {n: v for n, v in t.items() if n not in ("model.later.weight", gone)})
    with pytest.raises(CheckpointError, match=rf"lacks the tensor {gone}"):
        adapted(tmp_path)


def test_a_pickle_of_the_same_weights(tmp_path: Path) -> None:
    built = network("mixtral")
    save(tmp_path, built)
    (tmp_path / "model.safetensors").unlink()
    torch.save(built.state_dict(), tmp_path / "pytorch_model.bin")
    require_same_score(built, adapted(tmp_path).model)


def test_shards_with_their_index(tmp_path: Path) -> None:
    built = network("qwen2")
    built.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    require_same_score(built, adapted(tmp_path).model)


def test_float8_with_scales(tmp_path: Path) -> None:
    built = network("llama")
    save(tmp_path, built)
    plain = dict(built.state_dict())

    def quantize(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if "_proj" in name]:
            rows, columns = -(-tensors[name].shape[0] // 5), -(-tensors[name].shape[1] // 3)
            scales = torch.rand(rows, columns) + 0.5
            factors = scales.repeat_interleave(5, 0).repeat_interleave(3, 1)
            factors = factors[: tensors[name].shape[0], : tensors[name].shape[1]]
            tensors[name] = (tensors[name] / factors).to(torch.float8_e4m3fn)
            tensors[name + "_scale_inv"] = scales
            plain[name] = tensors[name].float() * factors

    change_tensors(tmp_path, quantize)
    change_config(tmp_path, quantization_config={"quant_method": "fp8", "weight_block_size": [5, 3]})
    built.load_state_dict(plain)
    found = adapted(tmp_path)
    require_same_score(built, found.model)
    assert any("float8" in note for note in found.notes)


def test_a_mask_that_every_model_of_a_class_has_states_no_schedule(tmp_path: Path) -> None:
    assert adapted(save(tmp_path / "esm", network("esm"))).schedule is None
    folder = save(tmp_path / "bert", network("bert"))
    change_config(folder, mask_token_id=MASK)
    assert adapted(folder).schedule == LogLinear()


def test_the_mask_is_one_of_the_network(tmp_path: Path) -> None:
    save(tmp_path, network("bert"))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"id": 50, "content": "<mask>"}]}))
    with pytest.raises(CheckpointError, match=r"mask id: got 50, expected below 50"):
        adapted(tmp_path)
    change_config(tmp_path, mask_token_id=47)
    with pytest.raises(CheckpointError, match=r"two mask ids: got 47 in config\.json, 50 \('<mask>'\)"):
        adapted(tmp_path)


def test_one_tensor_under_two_names(tmp_path: Path) -> None:
    save(tmp_path, network("gpt2"))
    name = "transformer.h.0.mlp.c_fc.weight"
    change_tensors(tmp_path, lambda t: t | {name.removeprefix("transformer."): t[name] + 1})
    with pytest.raises(CheckpointError, match=r"does not (keep|use).* (transformer\.)?h\.0\.mlp\.c_fc\.weight"):
        adapted(tmp_path)


def test_two_safetensors_of_one_network_need_an_index(tmp_path: Path) -> None:
    save(tmp_path, network("llama"))
    save_file({"model.norm.weight": torch.zeros(16)}, tmp_path / "z_later.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors and z_later\.safetensors hold different weights"):
        adapted(tmp_path)
