"""MDLM's Lightning checkpoints, against a forward pass written a second time in float64."""

from __future__ import annotations

import json
import math
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bpb_harness.adapters import load_model
from bpb_harness.denoiser import CausalLM, Denoiser, FactoredDenoiser
from bpb_harness.errors import CheckpointError
from bpb_harness.schedule import CosineMdlm, LogLinear
from tests.stateless import assert_keeps_nothing
from tests.tiny_checkpoints import (
    MDLM_BLOCKS,
    MDLM_COND,
    MDLM_HEADS,
    MDLM_VOCAB_SIZE,
    MDLM_WIDTH,
    make_mdlm_parameters,
    mdlm_state_dict,
)

_CPU = {"device": torch.device("cpu"), "dtype": torch.float32}
_V, _WIDTH, _HEADS, _COND, _BLOCKS, _LENGTH = MDLM_VOCAB_SIZE, MDLM_WIDTH, MDLM_HEADS, MDLM_COND, MDLM_BLOCKS, 16
_HIDDEN_CONFIG: dict[str, Any] = {
    "backbone": "dit",
    "parameterization": "subs",
    "time_conditioning": True,
    "T": 0,
    "noise": {"type": "loglinear"},
    "model": {"length": "${data.length}"},
    "data": {"tokenizer_name_or_path": "gpt2", "length": _LENGTH},
    "training": {"ema": 0.9999, "sampling_eps": 1e-3},
    "eval": {"disable_ema": False},
}


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def _gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _expected_logits(parameters: dict[str, Tensor], tokens: list[int], sigma: float | None) -> Tensor:
    """(L, rows) for one row; sigma None is the autoregressive baseline."""
    p = {name: value.double() for name, value in parameters.items()}

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ p[f"{name}.weight"].T + p.get(f"{name}.bias", torch.zeros(()).double())

    c = torch.zeros(_COND).double()
    if sigma is not None:
        angle = sigma * torch.tensor([10_000.0 ** (-j / 128) for j in range(128)]).double()
        c = linear(torch.cat([angle.cos(), angle.sin()]), "sigma_map.mlp.0")
        c = linear(c * c.sigmoid(), "sigma_map.mlp.2")
        c = c * c.sigmoid()
    L, head = len(tokens), _WIDTH // _HEADS
    angle = torch.outer(torch.arange(L).double(), 10_000.0 ** (-torch.arange(0, head, 2).double() / head))
    turn = torch.polar(torch.ones_like(angle), angle)
    x = p["vocab_embed.embedding"][tokens]
    for i in range(_BLOCKS):
        shift1, scale1, gate1, shift2, scale2, gate2 = (0, 0, 1, 0, 0, 1)
        if sigma is not None:
            shift1, scale1, gate1, shift2, scale2, gate2 = linear(c, f"blocks.{i}.adaLN_modulation").split(_WIDTH)
        qkv = linear(_norm(x, p[f"blocks.{i}.norm1.weight"]) * (1 + scale1) + shift1, f"blocks.{i}.attn_qkv")
        out = []
        for h in range(_HEADS):
            q, k, v = (qkv[:, part * _WIDTH + h * head :][:, :head] for part in range(3))
            turned = []
            for t in (q, k):
                pairs = torch.complex(t[:, : head // 2], t[:, head // 2 :]) * turn
                turned.append(torch.cat([pairs.real, pairs.imag], -1))
            scores = turned[0] @ turned[1].T / math.sqrt(head)
            if sigma is None:
                scores = scores.masked_fill(torch.ones(L, L).triu(1).bool(), -math.inf)
            out.append(scores.softmax(-1) @ v)
        x = x + gate1 * linear(torch.cat(out, -1), f"blocks.{i}.attn_out")
        h = linear(_norm(x, p[f"blocks.{i}.norm2.weight"]) * (1 + scale2) + shift2, f"blocks.{i}.mlp.0")
        x = x + gate2 * linear(_gelu(h), f"blocks.{i}.mlp.2")
    x = _norm(x, p["output_layer.norm_final.weight"])
    if sigma is not None:
        shift, scale = linear(c, "output_layer.adaLN_modulation").split(_WIDTH)
        x = x * (1 + scale) + shift
    return linear(x, "output_layer.linear")


@pytest.fixture
def omegaconf() -> Iterator[dict[str, type]]:
    """Stand-ins for OmegaConf's classes, importable while a checkpoint is written and gone afterwards."""
    places = {"DictConfig": "dictconfig", "AnyNode": "nodes", "ContainerMetadata": "base"}
    classes = {}
    sys.modules["omegaconf"] = types.ModuleType("omegaconf")
    for name, place in places.items():
        module = sys.modules.setdefault(f"omegaconf.{place}", types.ModuleType(f"omegaconf.{place}"))
        classes[name] = type(name, (), {"__module__": f"omegaconf.{place}"})
        setattr(module, name, classes[name])
    yield classes
    for name in [name for name in sys.modules if name.split(".")[0] == "omegaconf"]:
        del sys.modules[name]


def _wrap(value: Any, classes: dict[str, type], parent: Any = None) -> Any:
    """As OmegaConf keeps it: nodes that hold _content or _val, a _parent that leads back, metadata."""
    node = classes["DictConfig" if isinstance(value, dict) else "AnyNode"]()
    node.__dict__ |= {"_metadata": classes["ContainerMetadata"](), "_parent": parent}
    if isinstance(value, dict):
        node.__dict__["_content"] = {key: _wrap(item, classes, node) for key, item in value.items()}
    else:
        node.__dict__["_val"] = value
    return node


def _write(
    path: Path,
    classes: dict[str, type],
    *,
    parameters: dict[str, Tensor],
    average: dict[str, Tensor] | None = None,
    changes: dict[str, Any] | None = None,
) -> None:
    config = {**_HIDDEN_CONFIG, **(changes or {})}
    content = {
        "epoch": 3,
        "global_step": 1000,
        "pytorch-lightning_version": "2.2.1",
        "state_dict": mdlm_state_dict(parameters),
        "loops": {"fit_loop": {"epoch_progress": {"current": {"completed": 3}}}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        "hyper_parameters": {"config": _wrap(config, classes), "tokenizer": None},
    }
    if average is not None:
        content["ema"] = {"decay": 0.9999, "num_updates": 10, "shadow_params": list(average.values())}
    torch.save(content, path)
    for name in [name for name in sys.modules if name.split(".")[0] == "omegaconf"]:
        del sys.modules[name]


@pytest.mark.parametrize("time_conditioning", [True, False])
def test_logits_of_the_moving_average(tmp_path: Path, omegaconf: dict[str, type], time_conditioning: bool) -> None:
    trained, average = make_mdlm_parameters(seed=0), make_mdlm_parameters(seed=1)
    changes = {"time_conditioning": time_conditioning}
    _write(tmp_path / "x.ckpt", omegaconf, parameters=trained, average=average, changes=changes)
    checkpoint, adapted = load_model(tmp_path / "x.ckpt", adapter="mdlm", **_CPU)
    assert checkpoint.layout == "lightning"
    assert "omegaconf" not in sys.modules, "nothing was imported"
    model = adapted.model
    assert isinstance(model, FactoredDenoiser)
    assert isinstance(model, torch.nn.Module)
    assert_keeps_nothing(model, model)
    assert (model.vocab_size, model.mask_token_id, model.context_length) == (_V, _V, _LENGTH)
    assert model.time_conditioned is time_conditioning
    assert adapted.schedule == LogLinear(1e-3)
    assert "moving average" in adapted.notes[0]
    xt = torch.randint(_V + 1, (3, 13), generator=torch.Generator().manual_seed(2))
    level = LogLinear(1e-3).level(torch.tensor([0.05, 0.5, 0.99]))
    logits = model.logits(xt, level)
    for row in range(3):
        sigma = float(level.sigma[row]) if time_conditioning else 0.0
        expected = _expected_logits(average, xt[row].tolist(), sigma)
        torch.testing.assert_close(logits[row].double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("averaged", [False, True])
def test_trained_weights_where_there_is_no_average_or_it_is_switched_off(
    tmp_path: Path, omegaconf: dict[str, type], averaged: bool
) -> None:
    trained = make_mdlm_parameters(seed=0)
    average = make_mdlm_parameters(seed=1) if averaged else None
    changes = {"eval": {"disable_ema": averaged}}
    _write(tmp_path / "x.ckpt", omegaconf, parameters=trained, average=average, changes=changes)
    _, adapted = load_model(tmp_path / "x.ckpt", adapter="mdlm", **_CPU)
    assert isinstance(adapted.model, Denoiser)
    assert "no moving average" in adapted.notes[0]
    level = LogLinear(1e-3).level(torch.tensor([0.5]))
    expected = _expected_logits(trained, [1, _V, 3], float(level.sigma[0]))
    logits = adapted.model.logits(torch.tensor([[1, _V, 3]]), level)[0].double()
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_the_autoregressive_baseline(tmp_path: Path, omegaconf: dict[str, type]) -> None:
    parameters = make_mdlm_parameters(causal=True)
    _write(tmp_path / "x.ckpt", omegaconf, parameters=parameters, changes={"parameterization": "ar", "backbone": "ar"})
    model = load_model(tmp_path / "x.ckpt", adapter="mdlm", **_CPU)[1].model
    assert isinstance(model, CausalLM)
    assert not isinstance(model, Denoiser)
    tokens = [5, 1, 36, 0, 7]
    expected = _expected_logits(parameters, tokens, None)
    torch.testing.assert_close(model.logits(torch.tensor([tokens]))[0].double(), expected, atol=1e-4, rtol=1e-4)


def test_cosine_noise_and_a_tokenizer_with_its_own_mask(tmp_path: Path, omegaconf: dict[str, type]) -> None:
    changes = {"noise": {"type": "cosine"}, "data": {"tokenizer_name_or_path": "text8", "length": _LENGTH}, "T": 1000}
    _write(tmp_path / "x.ckpt", omegaconf, parameters=make_mdlm_parameters(), changes=changes)
    _, adapted = load_model(tmp_path / "x.ckpt", adapter="mdlm", **_CPU)
    assert adapted.schedule == CosineMdlm(1e-3)
    assert isinstance(adapted.model, Denoiser)
    assert (adapted.model.mask_token_id, adapted.model.vocab_size) == (4, _V + 1)
    assert any("T = 1000" in note for note in adapted.notes)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"parameterization": "sedd"}, "got 'sedd', expected subs or d3pm"),
        ({"model": {"length": "long"}}, r"model\.length: got 'long'"),
        ({"model": {"length": "${model.length}"}}, r"model\.length"),
    ],
)
def test_hyper_parameters_that_do_not_do(
    tmp_path: Path, omegaconf: dict[str, type], changes: dict[str, Any], line: str
) -> None:
    _write(tmp_path / "x.ckpt", omegaconf, parameters=make_mdlm_parameters(), changes=changes)
    with pytest.raises(CheckpointError, match=line):
        load_model(tmp_path / "x.ckpt", adapter="mdlm", **_CPU)


def test_an_average_of_another_network_is_refused(tmp_path: Path, omegaconf: dict[str, type]) -> None:
    average = make_mdlm_parameters()
    average.pop("output_layer.linear.bias")
    _write(tmp_path / "x.ckpt", omegaconf, parameters=make_mdlm_parameters(), average=average)
    with pytest.raises(CheckpointError, match="moving average: got 29 tensors, expected 30"):
        load_model(tmp_path / "x.ckpt", adapter="mdlm", **_CPU)


def test_a_published_folder(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    parameters = make_mdlm_parameters()
    save_file(mdlm_state_dict(parameters), tmp_path / "model.safetensors")
    config = {"model_type": "mdlm", "model_length": _LENGTH, "time_conditioning": False, "vocab_size": _V + 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    _, adapted = load_model(tmp_path, adapter="mdlm", **_CPU)
    assert isinstance(adapted.model, Denoiser)
    level = LogLinear(1e-3).level(torch.tensor([0.7]))
    expected = _expected_logits(parameters, [1, _V, 3], 0.0)
    logits = adapted.model.logits(torch.tensor([[1, _V, 3]]), level)[0].double()
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
