"""The contest's causal transformer a second time: float64, one row, one head at a time, explicit attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rms(x: Tensor) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()


def linear(x: Tensor, tensors: dict[str, Tensor], name: str) -> Tensor:
    y = x @ tensors[f"{name}.weight"].double().T
    return y + tensors[f"{name}.bias"].double() if f"{name}.bias" in tensors else y


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs (j, j + d/2) of (L, d) by tables (L, d/2), clockwise."""
    half = x.shape[-1] // 2
    pairs = torch.complex(x[:, :half], x[:, half:]) * torch.complex(cos, -sin)
    return torch.cat([pairs.real, pairs.imag], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Tensor:
    scores = q @ k.T / math.sqrt(q.shape[-1])
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
    return scores.softmax(-1) @ v


def golf_gpt_logits(tensors: dict[str, Tensor], tokens: list[int], added: Tensor | float = 0.0) -> Tensor:
    """(L, V) for one row; ``added`` to its embedding, (L, D)."""
    t = {name: value.double() for name, value in tensors.items()}
    width = t["tok_emb.weight"].shape[1]
    num_heads = len(t["blocks.0.attn.q_gain"])
    head, num_blocks = width // num_heads, sum(name.endswith("q_gain") for name in t)
    groups = num_heads // (t["blocks.0.attn.c_k.weight"].shape[0] // head)
    angle = torch.outer(torch.arange(len(tokens)).double(), 10_000.0 ** (-torch.arange(0, head, 2).double() / head))
    x = x0 = rms(t["tok_emb.weight"][tokens] + added)
    stack: list[Tensor] = []
    for i in range(num_blocks):
        later = i - num_blocks // 2
        if later >= 0 and stack:
            x = x + t["skip_weights"][later] * stack.pop()
        x = t[f"blocks.{i}.resid_mix"][0] * x + t[f"blocks.{i}.resid_mix"][1] * x0
        q, k, v = (linear(rms(x), t, f"blocks.{i}.attn.{name}") for name in ("c_q", "c_k", "c_v"))
        out = []
        for h in range(num_heads):
            mine, shared = slice(h * head, (h + 1) * head), slice(h // groups * head, (h // groups + 1) * head)
            query = turn(rms(q[:, mine]), angle.cos(), angle.sin()) * t[f"blocks.{i}.attn.q_gain"][h]
            key = turn(rms(k[:, shared]), angle.cos(), angle.sin())
            out.append(attend(query, key, v[:, shared], causal=True))
        x = x + t[f"blocks.{i}.attn_scale"] * linear(torch.cat(out, -1), t, f"blocks.{i}.attn.proj")
        hidden = linear(rms(x), t, f"blocks.{i}.mlp.fc").clamp(min=0) ** 2
        x = x + t[f"blocks.{i}.mlp_scale"] * linear(hidden, t, f"blocks.{i}.mlp.proj")
        if later < 0:
            stack.append(x)
    unembedding = t.get("lm_head.weight", t["tok_emb.weight"])
    return 30 * torch.tanh(rms(x) @ unembedding.T / 30)
