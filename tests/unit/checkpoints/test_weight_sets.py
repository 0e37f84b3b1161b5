"""Names with words of wrappers in them, dictionaries around the weights, and files that are none."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bpb_harness import evaluate
from bpb_harness.adapters import choose_adapter, load_model
from bpb_harness.checkpoints import digest_of, read_checkpoint
from bpb_harness.denoiser import CausalLM
from bpb_harness.errors import CheckpointError, UsageError
from tests.tiny_checkpoints import make_golf_gpt, make_golf_mdlm, make_mdlm_parameters, mdlm_state_dict

_CPU: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}
_WEIGHTS = make_golf_gpt(num_blocks=2)
_TOKENS = torch.tensor([[3, 1, 4, 1, 5]])


def write(path: Path, content: dict[Any, Any]) -> Path:
    torch.save(content, path)
    return path


def logits_of(path: Path, **flags: Any) -> Tensor:
    model = load_model(path, adapter="golf-gpt", **_CPU, **flags)[1].model
    assert isinstance(model, CausalLM)
    return model.logits(_TOKENS)


def refusal(path: Path, **flags: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(path, adapter="golf-gpt", **_CPU, **flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    return logits_of(write(tmp_path_factory.mktemp("plain") / "plain.pt", dict(_WEIGHTS)))


class TestWordsOfWrappers:
    @pytest.mark.parametrize(
        "prefix",
        [
            "module.", "_orig_mod.", "net.", "model.", "module._orig_mod.", "_orig_mod.module.", "module.module.",
            "model.net.", "net.model.module._orig_mod.", "model._orig_mod.module.net.", "_fsdp_wrapped_module.model.",
            "_forward_module.", "_forward_module.module.",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
    def test_before_every_name(self, tmp_path: Path, right: Tensor, prefix: str, suffix: str) -> None:
        named = {prefix + name: value.contiguous() for name, value in _WEIGHTS.items()}
        path = tmp_path / f"x{suffix}"
        if suffix == ".pt":
            write(path, {"model": named})
        else:
            save_file(named, path)
        assert torch.equal(logits_of(path), right)

    @pytest.mark.parametrize("word", ["_orig_mod", "module", "_checkpoint_wrapped_module", "_orig_mod.module"])
    @pytest.mark.parametrize("blocks", [(0,), (0, 1)])
    @pytest.mark.parametrize("prefix", ["", "module.", "model."])
    def test_inside_names(self, tmp_path: Path, right: Tensor, word: str, blocks: tuple[int, ...], prefix: str) -> None:
        named = {f"{prefix}{name}": value for name, value in _WEIGHTS.items()}
        for block in blocks:
            place = f"blocks.{block}."
            named = {name.replace(place, f"{place}{word}."): value for name, value in named.items()}
        named = {name.replace(".attn.", ".attn._orig_mod."): value for name, value in named.items()}
        assert torch.equal(logits_of(write(tmp_path / "x.pt", named)), right)

    @pytest.mark.parametrize(
        "names",
        [
            ("_orig_mod.skip_weights", "skip_weights"),
            ("blocks.0._orig_mod.attn_scale", "blocks.0.attn_scale"),
            ("module._orig_mod.skip_weights", "_orig_mod.module.skip_weights"),
        ],
    )
    def test_two_tensors_under_one_name(self, tmp_path: Path, names: tuple[str, str]) -> None:
        others = {name: value for name, value in _WEIGHTS.items() if not names[0].endswith(name)}
        if names[0].startswith("module."):
            others = {f"module.{name}": value for name, value in others.items()}
        both = {**others, names[0]: torch.ones(1, 24), names[1]: torch.zeros(1, 24)}
        said = refusal(write(tmp_path / "x.pt", both))
        if "module._orig_mod" in names[0]:
            assert "module.skip_weights" in said or "two tensors" in said
        else:
            assert "two tensors" in said
            assert all(name in said for name in names)

    def test_two_networks_under_two_words(self, tmp_path: Path) -> None:
        both = {f"{word}.{name}": value for word in ("model", "net") for name, value in _WEIGHTS.items()}
        said = refusal(write(tmp_path / "x.pt", both))
        assert "two tensors" in said
        assert "net.skip_weights" in said
        assert "model.skip_weights" in said

    def test_one_name_with_the_word_and_the_same_without(self, tmp_path: Path) -> None:
        said = refusal(write(tmp_path / "x.pt", {**_WEIGHTS, "model.skip_weights": torch.ones(1, 24)}))
        assert "does not use: got model.skip_weights" in said

    def test_a_word_that_the_network_itself_uses_stays(self, tmp_path: Path) -> None:
        save_file({"model.embed.weight": torch.ones(2), "model.norm.weight": torch.ones(2)}, tmp_path / "x.safetensors")
        assert set(read_checkpoint(tmp_path / "x.safetensors").tensors) == {"model.embed.weight", "model.norm.weight"}
        # The last word is the tensor's own, whatever it is.
        write(tmp_path / "y.pt", {"a.module": torch.ones(2), "_orig_mod": torch.ones(3)})
        assert set(read_checkpoint(tmp_path / "y.pt").tensors) == {"a.module", "_orig_mod"}

    def test_other_adapters_too(self, tmp_path: Path) -> None:
        write(tmp_path / "a.pt", {f"model.{name}": value for name, value in make_golf_mdlm().items()})
        assert load_model(tmp_path / "a.pt", adapter="golf-mdlm", **_CPU)[1].adapter == "golf-mdlm"
        state = {
            name.replace("backbone.", "model.backbone._orig_mod."): value
            for name, value in mdlm_state_dict(make_mdlm_parameters()).items()
        }
        stated = {"parameterization": "subs", "time_conditioning": False, "model": {"length": 8}}
        data, noise = {"tokenizer_name_or_path": "gpt2"}, {"type": "loglinear"}
        config = {"config": {**stated, "data": data, "noise": noise}}
        shadow = [torch.zeros_like(value) for value in make_mdlm_parameters().values()]
        content = {"state_dict": state, "hyper_parameters": config, "ema": {"shadow_params": shadow}}
        adapted = load_model(write(tmp_path / "b.ckpt", content), adapter="mdlm", **_CPU)[1]
        assert "moving average" in adapted.notes[0]
        assert isinstance(adapted.model, torch.nn.Module)
        assert not any(value.any() for value in adapted.model.parameters())


class TestDictionariesAroundTheWeights:
    @pytest.mark.parametrize(
        "content",
        [
            {"state_dict": _WEIGHTS},
            {"model_state_dict": _WEIGHTS, "epoch": 3, "optimizer_state_dict": {0: {"exp_avg": torch.ones(2)}}},
            {"model": {"state_dict": _WEIGHTS}},
            {"net": _WEIGHTS, "acc": 91.5, "epoch": 200},
            {"network": {"model": {"state_dict": _WEIGHTS}}, "step": 1},
            {"module": _WEIGHTS, "dp_world_size": 8, "mp_world_size": 1, "ds_version": "0.14", "optimizer": None},
            {"module": _WEIGHTS, "lr_scheduler": {"x": torch.ones(2)}, "ds_config": {"fp16": {"enabled": True}}},
            {"model": _WEIGHTS, "loss": torch.tensor(2.5), "rng_state": torch.zeros(8, dtype=torch.uint8)},
            {"model": _WEIGHTS, "cuda_rng_states": [torch.zeros(8)], "scaler": {"scale": torch.ones(1)}},
            {"model": _WEIGHTS, "trainer": {"optimizers": [{"exp_avg": torch.ones(2)}], "step": 2}},
            {"params": _WEIGHTS, "config": {}, "args": None},
        ],
    )  # fmt: skip
    def test_one_set_under_a_key_that_says_so(self, tmp_path: Path, right: Tensor, content: dict[str, Any]) -> None:
        assert torch.equal(logits_of(write(tmp_path / "x.pt", content)), right)

    @pytest.mark.parametrize("key", ["model_ema", "ema", "ema_state_dict", "state_dict_ema"])
    def test_an_average_alone_is_taken_and_named(self, tmp_path: Path, right: Tensor, key: str) -> None:
        path = write(tmp_path / "x.pt", {key: _WEIGHTS})
        assert torch.equal(logits_of(path), right)
        adapted = load_model(path, adapter="golf-gpt", **_CPU)[1]
        assert adapted.notes[-1] == f"weights: those under {key!r}, the only ones in the file"
        assert adapted.adapter == "golf-gpt"

    @pytest.mark.parametrize(
        ("keys", "content"),
        [
            (("model", "ema"), {"model": _WEIGHTS, "ema": _WEIGHTS}),
            (("state_dict", "state_dict_ema"), {"state_dict": _WEIGHTS, "state_dict_ema": _WEIGHTS}),
            (("model", "discriminator"), {"model": _WEIGHTS, "discriminator": {"w": torch.ones(2)}}),
            (("model", "ema"), {"model": _WEIGHTS, "ema": {"decay": 0.9, "shadow_params": [torch.ones(2)]}}),
            (("model.student", "model.teacher"), {"model": {"student": _WEIGHTS, "teacher": _WEIGHTS}}),
            (("state", "swa"), {"state": {"deep": _WEIGHTS}, "swa": [{"deeper": (torch.ones(2),)}]}),
        ],
    )  # fmt: skip
    def test_two_sets_are_for_the_user_to_choose(
        self, tmp_path: Path, keys: tuple[str, str], content: dict[str, Any]
    ) -> None:
        said = refusal(write(tmp_path / "x.pt", content))
        assert f"tensors under {keys[0]} and under {keys[1]}" in said
        assert said.endswith(f"pass --weights {keys[0]} or --weights {keys[1]}")

    @pytest.mark.parametrize(
        ("chosen", "held"),
        [
            ("ema", {"decay": 0.999, "num_updates": 3, "module": _WEIGHTS}),
            ("ema.module", {"decay": 0.999, "num_updates": 3, "module": _WEIGHTS}),
            ("ema", {"state_dict": {"module": _WEIGHTS}, "updates": torch.tensor(3)}),
            ("ema", {"n_averaged": torch.tensor(3), **{f"module.{name}": value for name, value in _WEIGHTS.items()}}),
        ],
    )
    def test_the_one_set_in_what_is_chosen(
        self, tmp_path: Path, right: Tensor, chosen: str, held: dict[str, Any]
    ) -> None:
        path = write(tmp_path / "x.pt", {"model": {}, "other": {"w": torch.ones(2)}, "ema": held})
        assert torch.equal(logits_of(path, weights=chosen), right)
        path = write(tmp_path / "x.pt", {"ema": held})
        assert torch.equal(logits_of(path), right)

    def test_a_decay_of_the_network_is_no_average(self, tmp_path: Path) -> None:
        for content in ({"model": _WEIGHTS, "decay": 0.9}, {"model": {"net": _WEIGHTS, "decay": 0.9}}):
            assert "does not know: got decay = 0.9" in refusal(write(tmp_path / "x.pt", content))

    def test_a_chosen_average_without_names(self, tmp_path: Path) -> None:
        content = {"model": _WEIGHTS, "ema": {"decay": 0.9, "shadow_params": list(_WEIGHTS.values())}}
        assert refusal(write(tmp_path / "x.pt", content), weights="ema") == (
            "x.pt holds its tensors under 'ema.shadow_params' without names: got a list, expected a state dict: "
            "tensors by name; load them into the network with the code that trained it, and save its state_dict()"
        )

    def test_tensors_beside_a_set(self, tmp_path: Path) -> None:
        said = refusal(write(tmp_path / "x.pt", {"model": _WEIGHTS, "extra_head": torch.ones(2, 2)}))
        assert "tensors under model, and 1 beside them (extra_head)" in said
        assert said.endswith("pass --weights model")

    def test_a_set_inside_a_state_dict(self, tmp_path: Path) -> None:
        said = refusal(write(tmp_path / "x.pt", {**_WEIGHTS, "quant_state": {"absmax": torch.ones(2)}}))
        assert "tensors under quant_state, and " in said

    def test_a_key_that_does_not_say_so(self, tmp_path: Path, right: Tensor) -> None:
        path = write(tmp_path / "x.pt", {"stuff": {"inner": _WEIGHTS}, "step": 3})
        said = refusal(path)
        assert "holds its tensors under 'stuff', a key that does not say" in said
        path = write(tmp_path / "x.pt", {"model": {"inner": _WEIGHTS}, "step": 3})
        said = refusal(path)
        assert "pass --weights model.inner, or save them alone: torch.save(torch.load('x.pt')['model']['inner']" in said
        assert torch.equal(logits_of(path, weights="model.inner"), right)

    def test_levels_under_such_a_key(self, tmp_path: Path) -> None:
        levels = {
            "a.q": torch.ones(2, dtype=torch.int8),
            "a.scale": torch.ones(2),
            "b.q": torch.ones(1, dtype=torch.uint8),
        }
        said = refusal(write(tmp_path / "x.pt", {"w": levels, "m": {"a": "int6"}}))
        assert "holds quantised weights under 'w'" in said
        assert "got 2 tensors of 8-bit levels (a.q), whose scales its own program alone applies; multiply" in said

    @pytest.mark.parametrize("value", [[torch.ones(2)], (torch.ones(2), torch.ones(3)), [{"w": torch.ones(2)}]])
    def test_a_list_of_tensors_is_no_state_dict(self, tmp_path: Path, value: Any) -> None:
        said = refusal(write(tmp_path / "x.pt", {"model": value}))
        assert f"holds its tensors under 'model': got a {type(value).__name__}, expected a state dict" in said
        assert "torch.save(network.state_dict(), 'x_weights.pt')" in said

    @pytest.mark.parametrize(
        "content", [{"step": 3}, {"optimizer": {"state": torch.ones(3)}}, {}, {"rng_state": torch.ones(3)}]
    )
    def test_no_weights(self, tmp_path: Path, content: dict[str, Any]) -> None:
        said = refusal(write(tmp_path / "x.pt", content))
        assert "holds no tensors" in said
        assert "torch.save(network.state_dict(), ...)" in said

    def test_a_tensor_without_a_name(self, tmp_path: Path) -> None:
        assert "a tensor under the key 3" in refusal(write(tmp_path / "x.pt", {**_WEIGHTS, 3: torch.ones(2)}))

    def test_dictionaries_that_hold_themselves_end(self, tmp_path: Path) -> None:
        inner: dict[str, Any] = {"optimizer": {"a": torch.ones(2)}}
        inner["model"] = inner
        assert "holds no tensors" in refusal(write(tmp_path / "x.pt", inner))
        inner = {"list": [torch.ones(2)]}
        inner["model"] = inner
        assert "more than one set" in refusal(write(tmp_path / "y.pt", inner))
        content: dict[str, Any] = _WEIGHTS
        for _ in range(12):
            content = {"model": content}
        assert "got more than 8 dictionaries around them" in refusal(write(tmp_path / "z.pt", content))


class TestChoosing:
    def test_each_set_is_what_is_scored(self, tmp_path: Path, right: Tensor) -> None:
        other = make_golf_gpt(num_blocks=2, seed=7)
        path = write(
            tmp_path / "x.pt", {"model": {"state_dict": _WEIGHTS}, "ema": other, "step": 5, "tables": [torch.ones(2)]}
        )
        assert torch.equal(logits_of(path, weights="model.state_dict"), right)
        expected = logits_of(write(tmp_path / "other.pt", other))
        assert torch.equal(logits_of(path, weights="ema"), expected)
        assert not torch.equal(expected, right)

    def test_the_choice_stands_in_notes_and_signature(self, tmp_path: Path) -> None:
        path = write(tmp_path / "x.pt", {"model": _WEIGHTS, "my|ema": _WEIGHTS})
        adapted = load_model(path, adapter="golf-gpt", weights="my|ema", **_CPU)[1]
        assert adapted.notes[-1] == "weights: those under 'my|ema', as chosen by --weights"
        assert adapted.adapter == "golf-gpt/my_ema"

    @pytest.mark.parametrize("weights", ["nothing", "model.nothing", "step", "", "model."])
    def test_no_such_set(self, tmp_path: Path, weights: str) -> None:
        path = write(tmp_path / "x.pt", {"model": _WEIGHTS, "ema": _WEIGHTS, "step": 3})
        said = refusal(path, weights=weights)
        assert f"has no weights under {weights!r}" in said
        assert said.endswith("expected --weights model or ema")

    def test_where_there_is_nothing_to_choose(self, tmp_path: Path) -> None:
        said = refusal(write(tmp_path / "x.pt", dict(_WEIGHTS)), weights="model")
        assert "expected no --weights: the file is one state dict" in said
        save_file({name: value.contiguous() for name, value in _WEIGHTS.items()}, tmp_path / "x.safetensors")
        assert "holds one set of weights: got --weights model; leave it out" in refusal(
            tmp_path / "x.safetensors", weights="model"
        )

    def test_not_with_a_loader_of_ones_own(self, tmp_path: Path) -> None:
        path = write(tmp_path / "x.pt", dict(_WEIGHTS))
        with pytest.raises(UsageError, match="--model and --weights exclude each other"):
            load_model(path, model_loader="a.py:load", allow_code=True, weights="model")

    def test_the_python_interface_takes_it(self, tmp_path: Path) -> None:
        path = write(tmp_path / "x.pt", {"model": _WEIGHTS, "ema": _WEIGHTS})
        with pytest.raises(CheckpointError, match="has no weights under 'neither'"):
            evaluate(path, adapter="golf-gpt", method="ar", weights="neither")


class TestWhatIsNoFile:
    @pytest.mark.parametrize("suffix", ["", ".pt", ".pt2", ".safetensors"])
    def test_pipes_and_sockets_are_not_opened(self, tmp_path: Path, suffix: str) -> None:
        os.mkfifo(tmp_path / f"pipe{suffix}")
        (tmp_path / f"link{suffix}").symlink_to(tmp_path / f"pipe{suffix}")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tmp_path / f"s{suffix}"))
            for name, kind in (("pipe", "a pipe"), ("link", "a pipe"), ("s", "a socket")):
                for read in (read_checkpoint, digest_of):
                    with pytest.raises(CheckpointError, match=f"got {kind}, expected a regular file or a folder"):
                        read(tmp_path / f"{name}{suffix}")

    def test_devices_are_not_read(self) -> None:
        with pytest.raises(CheckpointError, match="got a device"):
            read_checkpoint(Path("/dev/zero"))

    def test_names_that_lead_nowhere(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        for path in (tmp_path / "none", tmp_path / "file" / "below", tmp_path / "loop", Path("a\0b"), Path("x" * 5000)):
            with pytest.raises(CheckpointError, match="no checkpoint at"):
                read_checkpoint(path)


def test_an_adapter_is_offered_for_the_names_behind_the_wrappers(tmp_path: Path) -> None:
    path = write(tmp_path / "x.pt", {f"model.{name}": value for name, value in _WEIGHTS.items()})
    with pytest.raises(CheckpointError, match="those that fit: golf-gpt; pass --adapter NAME"):
        choose_adapter(read_checkpoint(path), None)


@pytest.mark.parametrize("prefix", ["base_model.model.", "module.base_model.model.", "_orig_mod.base_model.model."])
def test_a_network_inside_a_model_of_peft(tmp_path: Path, prefix: str) -> None:
    said = refusal(write(tmp_path / "x.pt", {prefix + name: value for name, value in _WEIGHTS.items()}))
    assert "holds a network inside a model of peft" in said
    assert "save merge_and_unload() of that model" in said


def test_an_adapter_that_refuses_is_not_said_to_fit(tmp_path: Path) -> None:
    for content, says in (
        (dict(_WEIGHTS), "those that fit: golf-gpt; pass --adapter NAME"),
        ({**_WEIGHTS, "role_emb.weight": torch.ones(2, 4)}, "golf-gpt comes closest and refuses it: .*role_emb"),
    ):
        with pytest.raises(CheckpointError, match=says):
            load_model(write(tmp_path / "x.pt", content), **_CPU)
