"""Which tensors of a model folder go where, which may be missing, and ties that the library would overwrite."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bpb_harness.adapters.huggingface import network as building
from bpb_harness.adapters.huggingface.rotary_settings import require_agreeing
from bpb_harness.adapters.huggingface.tensors import Places, account, require_shapes
from bpb_harness.adapters.huggingface.unneeded import is_unneeded, may_be_unneeded
from bpb_harness.adapters.huggingface.unneeded_settings import is_unneeded as says_nothing
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CheckpointError

FOLDER = Checkpoint(Path("/x/folder"), "folder", "0", {})


class _Network(nn.Module):
    """A weight, and buffers that files may lack."""

    base_model_prefix = "model"

    def __init__(self, **buffers: Tensor) -> None:
        super().__init__()
        self.config = SimpleNamespace(rope_theta=100.0)
        self.head = nn.Linear(2, 3, bias=False)
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)


def _said(ask: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        ask(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("buffer", "value", "may_lack"),
    [
        ("position_ids", torch.arange(4)[None], True),
        ("position_ids", torch.zeros(1, 4), False),
        ("token_type_ids", torch.zeros(1, 4), True),
        ("token_type_ids", torch.ones(1, 4), False),
        ("inv_freq", 100.0 ** -torch.tensor([0.0, 0.5]), True),
        ("inv_freq", 101.0 ** -torch.tensor([0.0, 0.9]), False),
        ("own_table", torch.arange(4), False),
        ("empty_table", torch.zeros(0), True),
    ],
)
def test_only_what_holds_what_its_name_promises_may_be_missing(buffer: str, value: Tensor, may_lack: bool) -> None:
    network = _Network(**{buffer: value})
    tensors = {"head.weight": network.head.weight.detach().clone()}
    if may_lack:
        account(FOLDER, tensors, [], network, masked=False)
    else:
        assert _said(account, FOLDER, tensors, [], network, masked=False).startswith(
            f"folder lacks the tensor {buffer}: got 1 missing; "
        )


def test_what_the_library_changed_or_left_out_is_refused() -> None:
    network = _Network()
    other = {"head.weight": network.head.weight.detach() + 1.0}
    assert _said(account, FOLDER, other, [], network, masked=False) == (
        "folder: transformers does not keep head.weight as the file has it: got other values in head.weight, expected "
        "the file's, which two tensors under one name or a tie may overwrite; load it with transformers, "
        "save_pretrained() into a new folder and score that"
    )
    assert _said(account, FOLDER, {}, [], network, masked=False).startswith("folder lacks the tensor head.weight: ")
    more = {"head.weight": network.head.weight.detach(), "extra": torch.ones(2)}
    said = _said(account, FOLDER, more, [], network, masked=False)
    assert said.startswith("folder has tensors that the network does not use: got extra; ")
    with torch.device("meta"):
        unfilled = _Network()
    assert _said(account, FOLDER, {}, [], unfilled, masked=False).startswith("folder lacks the tensor head.weight: ")


def test_what_is_called_unneeded_is_looked_at() -> None:
    network = _Network()
    tensors = {"head.weight": network.head.weight.detach()}
    for value, is_one in ((torch.ones(1, 1, 3, 3).tril(), True), (torch.ones(1, 1, 3, 3), False)):
        folder = Checkpoint(Path("/x/folder"), "folder", "0", {**tensors, "h.0.attn.bias": value})
        if is_one:
            account(folder, tensors, ["h.0.attn.bias"], network, masked=False)
        else:
            assert _said(account, folder, tensors, ["h.0.attn.bias"], network, masked=False) == (
                "folder: h.0.attn.bias is not what the network makes itself: got other values, expected the buffer "
                "that old versions of transformers saved, by the settings in config.json; config.json and the weights "
                "are not of one model: copy both again"
            )


OWN = torch.tensor([1.0, 0.3, 0.017])  # scaled: no base makes these


@pytest.mark.parametrize(
    ("value", "unneeded"),
    [
        (OWN.clone(), True),
        (OWN.to(torch.bfloat16), True),
        (OWN * 1.01, False),
        (OWN[:2], False),
        (100.0 ** -(torch.arange(0, 6, 2) / 6), True),
        ((100.0 ** -(torch.arange(0, 6, 2) / 6)).half(), True),
        (10.0 ** -(torch.arange(0, 6, 2) / 6), False),
        (torch.tensor([1.0, float("nan"), 0.017]), False),
    ],
)
def test_rotary_frequencies_are_the_networks_own_scaled_or_not(value: Tensor, unneeded: bool) -> None:
    network = _Network(inv_freq=OWN)
    assert is_unneeded("layers.0.rotary_emb.inv_freq", value, network) is unneeded


@pytest.mark.parametrize(
    ("name", "masked", "listed"),
    [
        *(("h.0.attn.bias", False, True), ("h.0.attn.masked_bias", False, True), ("h.0.mlp.bias", False, False)),
        *(("embeddings.position_ids", False, True), ("pooler.dense.weight", True, True), ("attn.biases", False, False)),
        *(
            ("pooler.dense.weight", False, False),
            ("cls.seq_relationship.bias", True, True),
            ("my_inv_freq", True, False),
        ),
    ],
)
def test_names_of_what_may_be_unneeded(name: str, masked: bool, listed: bool) -> None:
    assert may_be_unneeded(name, masked=masked) is listed


def test_tensors_of_another_kind_or_shape_are_refused() -> None:
    network = _Network()
    places = Places(network)
    require_shapes(FOLDER, {"head.weight": torch.ones(3, 2), "elsewhere": torch.ones(1, dtype=torch.int8)}, places)
    for name in ("head.weight", "model.head.weight"):
        assert _said(require_shapes, FOLDER, {name: torch.ones(3, 2, dtype=torch.int8)}, places) == (
            f"folder: {name} holds integers where the network has weights, as quantised files do: got torch.int8, "
            "expected floating-point numbers; dequantize() it with transformers, then save_pretrained() into a new "
            "folder"
        )
    assert _said(require_shapes, FOLDER, {"head.weight": torch.ones(2, 3)}, places) == (
        "folder: head.weight: got [2, 3], expected [3, 2], by its config.json; config.json and the weights are not of "
        "one model: copy both again"
    )


def test_a_place_is_found_with_and_without_the_prefix_and_under_old_endings() -> None:
    inner = nn.Module()
    inner.norm = nn.LayerNorm(2)
    network = _Network()
    network.model = inner
    places = Places(network)
    for name in ("model.norm.weight", "norm.weight", "norm.gamma", "model.norm.gamma"):
        assert places.of(name) == "model.norm.weight"
    assert places.of("model.head.weight") == places.of("head.weight") == "head.weight"
    assert places.of("norm.beta") == "model.norm.bias"
    assert places.of("other.weight") is None


class TestTies:
    """The file holds two tensors that the library ties to each other."""

    TIES = (("head.weight", "embedding.weight"),)

    def _filled(self, monkeypatch: pytest.MonkeyPatch, *keeps: bool, info: dict[str, Any] | None = None) -> list[bool]:
        tied: list[bool] = []
        answers = iter(keeps)
        config = SimpleNamespace(tie_word_embeddings=True)

        def made(kind: Any, config: Any, tensors: Any) -> tuple[Any, dict[str, Any]]:
            tied.append(config.tie_word_embeddings)
            return _Network(), info or {}

        monkeypatch.setattr(building, "_from_state_dict", made)
        monkeypatch.setattr(building, "_keeps", lambda *_: next(answers))
        building._filled(FOLDER, _Network, config, {}, list(self.TIES), masked=False)
        return tied

    def test_they_are_tied_where_the_library_keeps_both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self._filled(monkeypatch, True) == [True]

    def test_and_untied_where_it_would_overwrite_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self._filled(monkeypatch, False, True) == [True, False]

    def test_or_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert _said(self._filled, monkeypatch, False, False) == (
            "folder: config.json ties head.weight to embedding.weight, and the file holds two that differ; set "
            "tie_word_embeddings to false in config.json if both are meant, or remove one of them"
        )

    def test_what_the_library_says_it_left_out_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._filled(monkeypatch, True, info={"missing_keys": ["a.position_ids"]})
        for info, said in (
            ({"missing_keys": ["b", "a"]}, "folder lacks the tensor a: got 2 missing: a, b; "),
            ({"unexpected_keys": ["u"]}, "folder has tensors that the network does not use: got u; "),
            ({"unexpected_keys": ["u"], "missing_keys": ["m"]},
             "folder has tensors that the network does not use, and lacks m: got u; "),
            ({"mismatched_keys": [("s", 1, 2)]},
             "folder: s does not have the shape that config.json gives it: got 1 such tensors; "),
        ):  # fmt: skip
            assert _said(self._filled, monkeypatch, True, info=info).startswith(said)


@pytest.mark.parametrize(
    ("key", "value", "settings", "nothing"),
    [
        *(("layer_types", ["full_attention"] * 2, {}, True), ("layer_types", ["full_attention", "other"], {}, False)),
        *(("layer_types", "full_attention", {}, False), ("num_key_value_heads", 4, {"num_attention_heads": 4}, True)),
        ("num_key_value_heads", 2, {"num_attention_heads": 4}, False),
        ("head_dim", 8, {"num_attention_heads": 4, "hidden_size": 32}, True),
        ("head_dim", 16, {"num_attention_heads": 4, "hidden_size": 32}, False),
        ("head_dim", 8, {"num_attention_heads": 4}, False),
        ("head_dim", 8, {"hidden_size": 32}, False),
        ("sliding_window", 8, {"use_sliding_window": False}, True),
        ("sliding_window", 8, {"use_sliding_window": True}, False),
        ("sliding_window", 8, {}, False),
        ("max_window_layers", 8, {"use_sliding_window": False}, True),
        ("window", 8, {"use_sliding_window": False}, False),
        *(("logit_scale", 1, {}, True), ("logit_scale", 1.0, {}, True), ("logit_scale", 2, {}, False)),
        *(("logit_scale", True, {}, False), ("anything", None, {}, True), ("anything", "", {}, True)),
        *(("anything", [], {}, True), ("anything", False, {}, True), ("anything", 0, {}, True)),
        *(("use_rope", False, {}, False), ("scale_attn_weights", False, {}, False), ("norm_first", 0, {}, False)),
        *(("d_model", 16, {}, True), ("d_model", 17, {}, False), ("anything", 1, {}, False)),
    ],
)
def test_settings_that_say_nothing_new(key: str, value: Any, settings: dict[str, Any], nothing: bool) -> None:
    taken = SimpleNamespace(hidden_size=16)
    assert says_nothing(key, value, {key: value, **settings}, taken, {"hidden_size"}) is nothing


@pytest.mark.parametrize("key", ["rope_theta", "rotary_emb_base"])
def test_a_rotary_base_that_the_library_passed_over_is_refused(key: str) -> None:
    """Where nothing but that name states it: what the library made is what is scored."""
    taken = SimpleNamespace(rope_parameters={"rope_type": "default", "rope_theta": 1e4})
    require_agreeing("folder", {key: 1e4}, taken)
    require_agreeing("folder", {key: 5e5}, SimpleNamespace())
    assert _said(require_agreeing, "folder", {key: 5e5}, taken) == (
        f"folder: config.json says two things of its rotary positions: got {key} 500000.0, expected 10000.0, as "
        "rope_theta in transformers; take the one out that the network was not trained with"
    )
