"""BD3-LM's transformer once more, in NumPy: a token is a node that says where it stands and which others it sees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Node:
    """One token of the input.

    Attributes:
        token: its id.
        position: where it stands in the window.
        sees: indices of the nodes that it attends to, itself among them.
    """

    token: int
    position: int
    sees: tuple[int, ...]


def nodes_of_row(tokens: Sequence[int], block_size: int) -> list[Node]:
    """Clean blocks, then the one that is being denoised: each token sees its block and those before it."""
    return [
        Node(token, i, tuple(j for j in range(len(tokens)) if j // block_size <= i // block_size))
        for i, token in enumerate(tokens)
    ]


def nodes_of_halves(noised: Sequence[int], clean: Sequence[int], block_size: int) -> list[Node]:
    """The noised window, then the clean one.

    A noised token sees the noised ones of its block and the clean ones before that block; a clean token sees the clean
    ones up to the end of its own block.
    """
    n, block = len(noised), [i // block_size for i in range(len(noised))]
    first = []
    for i, token in enumerate(noised):
        own = [j for j in range(n) if block[j] == block[i]]
        earlier = [n + j for j in range(n) if block[j] < block[i]]
        first.append(Node(token, i, tuple(own + earlier)))
    second = [Node(token, i, tuple(n + j for j in range(n) if block[j] <= block[i])) for i, token in enumerate(clean)]
    return first + second


def logits(
    parameters: Mapping[str, Any], nodes: Sequence[Node], *, num_heads: int, num_layers: int, sigma: float = 0.0
) -> Floats:
    """(nodes, rows) float64; norms are modulated where there is an embedding of the noise."""
    p = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}
    condition = _condition(p, sigma) if "sigma_map.mlp.0.weight" in p else None
    x = np.stack([p["vocab_embed.embedding"][node.token] for node in nodes])
    width = x.shape[1]
    for layer in range(num_layers):
        name = f"blocks.{layer}"
        if condition is None:
            shift1 = scale1 = shift2 = scale2 = np.zeros(width)
            gate1 = gate2 = np.ones(width)
        else:
            parts = _linear(p, f"{name}.adaLN_modulation", condition).reshape(6, width)
            shift1, scale1, gate1, shift2, scale2, gate2 = parts
        h = _norm(x, p[f"{name}.norm1.weight"]) * (1 + scale1) + shift1
        x = x + gate1 * _linear(p, f"{name}.attn_out", _attend(_linear(p, f"{name}.attn_qkv", h), nodes, num_heads))
        h = _norm(x, p[f"{name}.norm2.weight"]) * (1 + scale2) + shift2
        x = x + gate2 * _linear(p, f"{name}.mlp.2", _gelu(_linear(p, f"{name}.mlp.0", h)))
    x = _norm(x, p["output_layer.norm_final.weight"])
    if condition is not None:
        shift, scale = _linear(p, "output_layer.adaLN_modulation", condition).reshape(2, width)
        x = x * (1 + scale) + shift
    return _linear(p, "output_layer.linear", x)


def _attend(qkv: Floats, nodes: Sequence[Node], num_heads: int) -> Floats:
    """One node and one head at a time."""
    width = qkv.shape[1] // 3
    head = width // num_heads
    out = np.zeros((len(nodes), width))
    for h in range(num_heads):
        queries, keys, values = (qkv[:, part * width + h * head :][:, :head] for part in range(3))
        queries = np.stack([_turn(q, node.position) for q, node in zip(queries, nodes, strict=True)])
        keys = np.stack([_turn(k, node.position) for k, node in zip(keys, nodes, strict=True)])
        for i, node in enumerate(nodes):
            seen = list(node.sees)
            weights = np.exp(keys[seen] @ queries[i] / math.sqrt(head))
            out[i, h * head : (h + 1) * head] = weights @ values[seen] / weights.sum()
    return out


def _turn(vector: Floats, position: int) -> Floats:
    """Rotary positions: pair j is entries j and j + d / 2, turned by position / 10000^(2 j / d)."""
    half = len(vector) // 2
    turned = np.empty_like(vector)
    for j in range(half):
        angle = position / 10_000.0 ** (2 * j / len(vector))
        a, b = vector[j], vector[j + half]
        turned[j], turned[j + half] = (
            a * math.cos(angle) - b * math.sin(angle),
            a * math.sin(angle) + b * math.cos(angle),
        )
    return turned


def _condition(p: Mapping[str, Floats], sigma: float) -> Floats:
    half = p["sigma_map.mlp.0.weight"].shape[1] // 2
    angles = [sigma * 10_000.0 ** (-j / half) for j in range(half)]
    features = np.array([math.cos(angle) for angle in angles] + [math.sin(angle) for angle in angles])
    return _silu(_linear(p, "sigma_map.mlp.2", _silu(_linear(p, "sigma_map.mlp.0", features))))


def _linear(p: Mapping[str, Floats], name: str, x: Floats) -> Floats:
    return x @ p[f"{name}.weight"].T + p.get(f"{name}.bias", 0.0)


def _norm(x: Floats, weight: Floats) -> Floats:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight


def _silu(x: Floats) -> Floats:
    return x / (1 + np.exp(-x))


def _gelu(x: Floats) -> Floats:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
