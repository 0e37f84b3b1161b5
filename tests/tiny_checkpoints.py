"""Random checkpoints of foreign layouts, small enough for a second forward pass in plain Python."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MDLM_VOCAB_SIZE, MDLM_WIDTH, MDLM_HEADS, MDLM_COND, MDLM_BLOCKS = 37, 24, 3, 16, 2


def make_golf_mdlm(
    *, vocab_size: int = 64, width: int = 24, num_heads: int = 3, num_blocks: int = 2, context: int = 32, seed: int = 0
) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    rows, head, conditioning, num_freqs = vocab_size + 64, width // num_heads, 16, 8

    def draw(*shape: int, scale: float = 0.3) -> Tensor:
        return torch.randn(*shape, generator=g) * scale

    angle = torch.outer(torch.arange(float(context)), 10_000.0 ** (-torch.arange(head // 2) / (head // 2)))
    tensors = {
        "cos": angle.cos()[None, :, None, :],
        "sin": angle.sin()[None, :, None, :],
        "wte.weight": draw(rows, width, scale=1.0),
        "sigma_map.freqs": torch.exp(-torch.arange(num_freqs) / num_freqs * math.log(100.0)),
        "sigma_map.mlp.0.weight": draw(40, 2 * num_freqs),
        "sigma_map.mlp.0.bias": draw(40),
        "sigma_map.mlp.2.weight": draw(conditioning, 40),
        "sigma_map.mlp.2.bias": draw(conditioning),
        "head.weight": draw(rows, width),
    }
    for i in range(num_blocks):
        for name in ("c_q", "c_k", "c_v", "c_proj"):
            tensors[f"blocks.{i}.attn.{name}.weight"] = draw(width, width)
        for name in ("adaln_attn", "adaln_mlp"):
            tensors[f"blocks.{i}.{name}.proj.weight"] = draw(2 * width, conditioning)
            tensors[f"blocks.{i}.{name}.proj.bias"] = draw(2 * width)
        tensors[f"blocks.{i}.mlp_fc.weight"] = draw(3 * width, width)
        tensors[f"blocks.{i}.mlp_proj.weight"] = draw(width, 3 * width)
    return tensors


def make_golf_gpt(
    *, vocab_size: int = 50, width: int = 24, num_heads: int = 4, kv_heads: int = 2, num_blocks: int = 5, seed: int = 0
) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 0.3) -> Tensor:
        return torch.randn(*shape, generator=g) * scale

    num_skips = min(num_blocks // 2, num_blocks - num_blocks // 2)
    tensors = {
        "skip_weights": 1 + draw(num_skips, width),
        "tok_emb.weight": draw(vocab_size, width, scale=1.0),
    }
    for i in range(num_blocks):
        tensors |= {
            f"blocks.{i}.attn_scale": 1 + draw(width),
            f"blocks.{i}.mlp_scale": 1 + draw(width),
            f"blocks.{i}.resid_mix": 0.5 + draw(2, width),
            f"blocks.{i}.attn.q_gain": 1.5 + draw(num_heads),
            f"blocks.{i}.attn.c_q.weight": draw(width, width),
            f"blocks.{i}.attn.c_k.weight": draw(kv_heads * width // num_heads, width),
            f"blocks.{i}.attn.c_v.weight": draw(kv_heads * width // num_heads, width),
            f"blocks.{i}.attn.proj.weight": draw(width, width),
            f"blocks.{i}.mlp.fc.weight": draw(2 * width, width),
            f"blocks.{i}.mlp.proj.weight": draw(width, 2 * width),
        }
    return tensors


def make_golf_prefix(*, num_steps: int = 8, seed: int = 0, **sizes: int) -> dict[str, Tensor]:
    """The tables of steps and roles are as large as the tokens', so that a wrong row shows."""
    tensors = make_golf_gpt(seed=seed, **sizes)
    g = torch.Generator().manual_seed(seed + 1000)
    width = tensors["tok_emb.weight"].shape[1]
    return tensors | {
        "time_emb.weight": torch.randn(num_steps + 1, width, generator=g),
        "role_emb.weight": torch.randn(2, width, generator=g),
    }


def make_golf_ddit(
    *, vocab_size: int = 50, width: int = 24, num_heads: int = 4, kv_heads: int = 2, num_blocks: int = 2, seed: int = 0
) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    kv_width, conditioning = kv_heads * width // num_heads, 10

    def draw(*shape: int, scale: float = 0.3) -> Tensor:
        return torch.randn(*shape, generator=g) * scale

    tensors = {"vocab_embed.weight": draw(vocab_size + 1, width, scale=1.0).bfloat16()}
    for name, inside, outside in (
        ("sigma_map.mlp.0", 12, conditioning), ("sigma_map.mlp.2", conditioning, conditioning),
        ("output_layer.linear", width, vocab_size + 1), ("output_layer.adaLN_modulation", conditioning, 2 * width),
    ):  # fmt: skip
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = draw(outside, inside), draw(outside)
    for i in range(num_blocks):
        for name, outside in (("c_q", width), ("c_k", kv_width), ("c_v", kv_width), ("proj", width)):
            tensors[f"blocks.{i}.attn.{name}.weight"] = draw(outside, width)
        for name, inside, outside in (
            ("mlp.fc", width, 3 * width), ("mlp.proj", 3 * width, width), ("adaLN_modulation", conditioning, 6 * width)
        ):  # fmt: skip
            tensors[f"blocks.{i}.{name}.weight"], tensors[f"blocks.{i}.{name}.bias"] = (
                draw(outside, inside),
                draw(outside),
            )
    return tensors


def make_mdlm_parameters(
    *, causal: bool = False, seed: int = 0, vocab_size: int = MDLM_VOCAB_SIZE
) -> dict[str, Tensor]:
    """In the order in which that code's modules are made."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 0.2) -> Tensor:
        return torch.randn(*shape, generator=g) * scale

    rows = vocab_size + 1
    made = {"vocab_embed.embedding": draw(rows, MDLM_WIDTH, scale=1.0)}
    if not causal:
        made |= {
            "sigma_map.mlp.0.weight": draw(MDLM_COND, 256),
            "sigma_map.mlp.0.bias": draw(MDLM_COND),
            "sigma_map.mlp.2.weight": draw(MDLM_COND, MDLM_COND),
            "sigma_map.mlp.2.bias": draw(MDLM_COND),
        }
    for i in range(MDLM_BLOCKS):
        block = {
            "norm1.weight": 1 + draw(MDLM_WIDTH),
            "attn_qkv.weight": draw(3 * MDLM_WIDTH, MDLM_WIDTH),
            "attn_out.weight": draw(MDLM_WIDTH, MDLM_WIDTH),
            "norm2.weight": 1 + draw(MDLM_WIDTH),
            "mlp.0.weight": draw(4 * MDLM_WIDTH, MDLM_WIDTH),
            "mlp.0.bias": draw(4 * MDLM_WIDTH),
            "mlp.2.weight": draw(MDLM_WIDTH, 4 * MDLM_WIDTH),
            "mlp.2.bias": draw(MDLM_WIDTH),
        }
        if not causal:
            block |= {
                "adaLN_modulation.weight": draw(6 * MDLM_WIDTH, MDLM_COND),
                "adaLN_modulation.bias": draw(6 * MDLM_WIDTH),
            }
        made |= {f"blocks.{i}.{name}": value for name, value in block.items()}
    made |= {
        "output_layer.norm_final.weight": 1 + draw(MDLM_WIDTH),
        "output_layer.linear.weight": draw(rows, MDLM_WIDTH),
        "output_layer.linear.bias": draw(rows),
    }
    if not causal:
        made |= {
            "output_layer.adaLN_modulation.weight": draw(2 * MDLM_WIDTH, MDLM_COND),
            "output_layer.adaLN_modulation.bias": draw(2 * MDLM_WIDTH),
        }
    return made


def mdlm_state_dict(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the prefix of the Lightning module, and with the rotary buffer where it stands in that code."""
    state = {}
    for name, value in parameters.items():
        if name == "blocks.0.norm1.weight":
            head = MDLM_WIDTH // MDLM_HEADS
            state["backbone.rotary_emb.inv_freq"] = 10_000.0 ** (-torch.arange(0, head, 2) / head)
        state[f"backbone.{name}"] = value
    return state


def make_golf_record(
    *, seed: int = 0, gated: bool = False, mixed: bool = False, projected: bool = True, value_layers: int = 2,
    **sizes: int,
) -> dict[str, Tensor]:  # fmt: skip
    """The baseline's tensors and what the contest's records added to them."""
    tensors = make_golf_gpt(seed=seed, **sizes)
    g = torch.Generator().manual_seed(seed + 1)

    def draw(*shape: int, scale: float = 0.5) -> Tensor:
        return torch.randn(shape, generator=g) * scale

    vocab, width = tensors["tok_emb.weight"].shape
    num_heads = len(tensors["blocks.0.attn.q_gain"])
    kv_width = len(tensors["blocks.0.attn.c_k.weight"])
    pair, value = (7, 5) if projected else (width, kv_width)
    tensors |= {
        "bigram.embed.weight": draw(19, pair), "bigram.scale": draw(), "smear.gate": draw(width),
        "ve_shared.embed.weight": draw(vocab, value), "ve_shared.scale": 1 + draw(),
    }  # fmt: skip
    if projected:
        tensors |= {"bigram.proj.weight": draw(width, pair), "ve_shared.proj.weight": draw(kv_width, value)}
    tensors |= {f"ve_layer_scales.{i}": 1 + draw(1) for i in range(value_layers)}
    for i in range(sum(name.endswith("q_gain") for name in tensors)):
        if gated:
            tensors |= {
                f"blocks.{i}.attn.attn_gate.weight": draw(num_heads, width),
                f"blocks.{i}.attn.attn_gate.bias": draw(num_heads),
                f"blocks.{i}.dtg_gate.weight": draw(1, width), f"blocks.{i}.dtg_gate.bias": draw(1),
            }  # fmt: skip
        if mixed:
            tensors[f"blocks.{i}.attn.vr_lambda"] = 0.5 + draw(2)
    return tensors


def in_banks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with the matrices of all blocks stacked."""
    num_blocks = sum(name.endswith("q_gain") for name in tensors)
    banks = {
        "qo_bank": ("attn.c_q", "attn.proj"), "kv_bank": ("attn.c_k", "attn.c_v"), "mlp_up_bank": ("mlp.fc",),
        "mlp_down_bank": ("mlp.proj",),
    }  # fmt: skip
    left = dict(tensors)
    for bank, parts in banks.items():
        left[bank] = torch.stack([left.pop(f"blocks.{i}.{part}.weight") for part in parts for i in range(num_blocks)])
    return left
