"""Model folders of transformers, tiny and random, and what an independent forward pass says of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bpb_harness.adapters import load_model
from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.schedule import LogLinear

CPU = {"device": torch.device("cpu"), "dtype": torch.float32}
VOCABULARY, MASK, CONTEXT = 50, 49, 32
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 1,
}
_GPT2 = {"vocab_size": VOCABULARY, "n_positions": CONTEXT, "n_embd": 16, "n_layer": 2, "n_head": 2}
_EXPERTS = {"num_key_value_heads": 1, "num_experts_per_tok": 2}
_QWEN_EXPERTS = {"num_experts": 4, "moe_intermediate_size": 12, "shared_expert_intermediate_size": 12}
# name: class without its last word, settings that differ from _SIZES
CAUSAL: Mapping[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", _GPT2),
    "llama": ("Llama", {"num_key_value_heads": 1}),
    "llama-tied": ("Llama", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {"num_key_value_heads": 1, "tie_word_embeddings": False}),
    "qwen3-tied": ("Qwen3", {"num_key_value_heads": 1, "head_dim": 8, "tie_word_embeddings": True}),
    "gpt-neox": ("GPTNeoX", {}),
    "mixtral": ("Mixtral", {"num_local_experts": 4, **_EXPERTS}),
    "qwen2-moe": ("Qwen2Moe", {**_EXPERTS, **_QWEN_EXPERTS}),
    "qwen3-moe": ("Qwen3Moe", {"head_dim": 4, **_EXPERTS, "num_experts": 4, "moe_intermediate_size": 12}),
    "mamba": ("Mamba", {"state_size": 4}),
    "opt": ("OPT", {"word_embed_proj_dim": 16, "ffn_dim": 24}),
    "gemma2": ("Gemma2", {"num_key_value_heads": 1, "head_dim": 8, "sliding_window": 8}),
    "phi": ("Phi", {}),
}
MASKED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {}),
    "bert-untied": ("Bert", {"tie_word_embeddings": False}),
    "roberta": ("Roberta", {}),
    "modernbert": ("ModernBert", {"local_attention": 8, "global_attn_every_n_layers": 2}),
    "distilbert": ("DistilBert", {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2}),
    "electra": ("Electra", {"embedding_size": 8}),
    "esm": ("Esm", {"mask_token_id": MASK}),
}


def network(kind: str, **changes: object) -> Any:
    """One of the kinds above, with weights that are large enough to tell networks apart."""
    import transformers

    stem, own = {**CAUSAL, **MASKED}[kind]
    config_class = getattr(transformers, stem + "Config")
    settings = {**({} if stem == "GPT2" else _SIZES), **own, **changes}
    known = {*vars(config_class()), *config_class.attribute_map}
    config = config_class(
        **{key: value for key, value in settings.items() if key in known or key in own or key in changes}
    )
    head = "ForMaskedLM" if kind in MASKED else "LMHeadModel" if stem == "GPT2" else "ForCausalLM"
    torch.manual_seed(0)
    built = getattr(transformers, stem + head)(config).eval()
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.3)
    return built


def save(folder: Path, built: Any) -> Path:
    """The folder as save_pretrained writes it, with a mask token for masked models."""
    built.save_pretrained(folder)
    if type(built).__name__.endswith("ForMaskedLM"):
        (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"id": MASK, "content": "<mask>"}]}))
        (folder / "special_tokens_map.json").write_text(json.dumps({"mask_token": "<mask>"}))
    return folder


def change_config(folder: Path, **changes: object) -> None:
    """Set entries of config.json; None takes one out."""
    config = {**json.loads((folder / "config.json").read_text()), **changes}
    config = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor] | None]) -> None:
    """Rewrite the weights; the change may work in place or give other tensors."""
    tensors = load_file(folder / "model.safetensors")
    changed = change(tensors)
    content = tensors if changed is None else changed
    save_file({name: value.contiguous() for name, value in content.items()}, folder / "model.safetensors")


def adapted(folder: Path) -> AdaptedModel:
    """The folder through the adapter."""
    return load_model(folder, adapter="huggingface", **CPU)[1]


def nats(logits: Tensor, x: Tensor, *, causal: bool) -> Tensor:
    """Of each token, (rows, columns), or of each but the first where the network is causal."""
    logits, targets = (logits[:, :-1], x[:, 1:]) if causal else (logits, x)
    return -logits.double().log_softmax(-1).gather(-1, targets[..., None])[..., 0]


def require_same_score(built: Any, model: Any) -> None:
    """To 1e-4 nats a token, on a whole window and on part of one."""
    causal = not hasattr(model, "mask_token_id")
    for length in (min(model.context_length, CONTEXT), 7):
        x = torch.randint(5, MASK, (2, length), generator=torch.Generator().manual_seed(length))
        shown = x if causal else torch.where(torch.arange(length) % 3 == 0, MASK, x)
        with torch.no_grad():
            told = {} if causal else {"attention_mask": torch.ones_like(x)}
            expected = nats(built(input_ids=shown, **told).logits, x, causal=causal)
        logits = model.logits(x) if causal else model.logits(shown, LogLinear().level(torch.full((2,), 0.5)))
        torch.testing.assert_close(nats(logits, x, causal=causal), expected, atol=1e-4, rtol=0)
