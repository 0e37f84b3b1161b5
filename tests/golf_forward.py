"""The contest's causal transformer a second time: float64, one row, one head at a time, explicit attention."""

from __future__ import annotations

import math
from itertools import pairwise

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


def record_logits(tensors: dict[str, Tensor], tokens: list[int], settings: dict) -> Tensor:
    """(L, V) for one row of the contest's records, one head and one position at a time where that is plainer."""
    t = {name: value.double() for name, value in tensors.items()}
    width, length = t["tok_emb.weight"].shape[1], len(tokens)
    num_heads = len(t["blocks.0.attn.q_gain"])
    head, num_blocks = width // num_heads, sum(name.endswith("q_gain") for name in t)
    groups = num_heads // (t["blocks.0.attn.c_k.weight"].shape[0] // head)
    rotated = settings["rope_dims"] or head
    steps = torch.arange(0, rotated, 2).double() / rotated
    if settings["train_seq_len"] <= 1024:
        frequency = (10_000.0**-steps).bfloat16().double()
    else:
        frequency = (10_000.0 * (settings["train_seq_len"] / 1024) ** (rotated / (rotated - 2))) ** -steps
    angle = torch.outer(torch.arange(length).double(), frequency)
    embedded = t["tok_emb.weight"][tokens]
    if "bigram.embed.weight" in t:
        rows = t["bigram.embed.weight"]
        places = [len(rows) - 1]
        for before, here in pairwise(tokens):
            places.append((36313 * here ^ 27191 * before) % (len(rows) - 1))
        pairs = linear(rows[places], t, "bigram.proj") if "bigram.proj.weight" in t else rows[places]
        embedded = embedded + t["bigram.scale"] * pairs
    x = rms(embedded)
    if "smear.gate" in t:
        share = t["smear.gate"].sigmoid()
        x = torch.stack([(1 - share) * x[i] + (share * x[i - 1] if i else 0.0) for i in range(length)])
    x0, first, stack = x, {}, []
    for i in range(num_blocks):
        later, name = i - num_blocks // 2, f"blocks.{i}"
        if later >= 0 and stack:
            x = x + t["skip_weights"][later] * stack.pop()
        x = into = t[f"{name}.resid_mix"][0] * x + t[f"{name}.resid_mix"][1] * x0
        scale = (i + 1) ** -0.5 if settings["ln_scale"] else 1.0
        h = rms(x) * scale
        q, k, v = (linear(h, t, f"{name}.attn.{part}") for part in ("c_q", "c_k", "c_v"))
        if i in settings["ve_layers"]:
            row = t["ve_shared.embed.weight"][tokens]
            row = linear(row, t, "ve_shared.proj") if "ve_shared.proj.weight" in t else row
            v = v + row * t["ve_shared.scale"] * t[f"ve_layer_scales.{settings['ve_layers'].index(i)}"]
        first.setdefault("v", v)
        if f"{name}.attn.vr_lambda" in t and i:
            v = t[f"{name}.attn.vr_lambda"][0] * first["v"] + t[f"{name}.attn.vr_lambda"][1] * v
        out = []
        for number in range(num_heads):
            mine = slice(number * head, (number + 1) * head)
            shared = slice(number // groups * head, (number // groups + 1) * head)

            query, key = (
                torch.cat([turn(z[:, :rotated], angle.cos(), angle.sin()), z[:, rotated:]], -1)
                for z in (rms(q[:, mine]), rms(k[:, shared]))
            )
            y = attend(query * t[f"{name}.attn.q_gain"][number], key, v[:, shared], causal=True)
            if i >= num_blocks - settings["xsa_last_n"]:
                own = v[:, shared]
                y = y - (y * own).sum(-1, keepdim=True) / own.pow(2).sum(-1, keepdim=True) * own
            if f"{name}.attn.attn_gate.weight" in t:
                y = y * linear(h, t, f"{name}.attn.attn_gate")[:, number].sigmoid()[:, None]
            out.append(y)
        x = x + t[f"{name}.attn_scale"] * linear(torch.cat(out, -1), t, f"{name}.attn.proj")
        z = linear(rms(x) * scale, t, f"{name}.mlp.fc")
        z = torch.where(z > 0, z, z * (0.5 if settings["activation"] == "leaky_relu" else 0.0)) ** 2
        x = x + t[f"{name}.mlp_scale"] * linear(z, t, f"{name}.mlp.proj")
        if f"{name}.dtg_gate.weight" in t:
            x = into + linear(into, t, f"{name}.dtg_gate").sigmoid() * (x - into)
        if later < 0:
            stack.append(x)
    unembedding = t.get("lm_head.weight", t["tok_emb.weight"])
    return 30 * torch.tanh(rms(x) @ unembedding.T / 30)


def ddit_logits(
    tensors: dict[str, Tensor], tokens: list[int], sigma: float, num_heads: int, base: float = 1e4
) -> Tensor:
    """(L, V + 1) for one row of the contest's masked-diffusion entry #820; its rotary tables are bfloat16."""
    t = {name: value.double() for name, value in tensors.items()}
    width = t["vocab_embed.weight"].shape[1]
    head = width // num_heads
    groups = num_heads // (t["blocks.0.attn.c_k.weight"].shape[0] // head)
    frequency = torch.tensor([base ** (-2 * j / head) for j in range(head // 2)]).bfloat16().double()
    angle = torch.arange(len(tokens)).double()[:, None] * frequency
    cos, sin = angle.cos().bfloat16().double(), angle.sin().bfloat16().double()
    half = t["sigma_map.mlp.0.weight"].shape[1] // 2
    waves = torch.tensor([sigma * 10_000.0 ** (-j / half) for j in range(half)]).double()
    c = linear(torch.cat([waves.cos(), waves.sin()]), t, "sigma_map.mlp.0")
    c = linear(c * c.sigmoid(), t, "sigma_map.mlp.2")
    c = c * c.sigmoid()
    x = t["vocab_embed.weight"][tokens]
    for i in range(sum(name.endswith("c_q.weight") for name in t)):
        shift1, scale1, gate1, shift2, scale2, gate2 = linear(c, t, f"blocks.{i}.adaLN_modulation").view(6, width)
        h = rms(x) * (1 + scale1) + shift1
        q, k, v = (linear(h, t, f"blocks.{i}.attn.{name}") for name in ("c_q", "c_k", "c_v"))
        out = []
        for number in range(num_heads):
            mine = slice(number * head, (number + 1) * head)
            shared = slice(number // groups * head, (number // groups + 1) * head)
            query, key = turn(rms(q[:, mine]), cos, sin), turn(rms(k[:, shared]), cos, sin)
            out.append(attend(query, key, v[:, shared], causal=False))
        x = x + gate1 * linear(torch.cat(out, -1), t, f"blocks.{i}.attn.proj")
        h = rms(x) * (1 + scale2) + shift2
        x = x + gate2 * linear(linear(h, t, f"blocks.{i}.mlp.fc").clamp(min=0) ** 2, t, f"blocks.{i}.mlp.proj")
    shift, scale = linear(c, t, "output_layer.adaLN_modulation").view(2, width)
    return linear(rms(x) * (1 + scale) + shift, t, "output_layer.linear")
