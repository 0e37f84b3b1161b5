"""What MDLM's checkpoints and its successors' state of themselves: read in both places, or refused by name."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from bpb_harness.adapters import AdaptedModel, load_model
from bpb_harness.adapters.mdlm import MdlmDenoiser
from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.errors import CheckpointError
from bpb_harness.schedule import CosineMdlm, Geometric, LogLinear, NoiseSchedule
from tests.tiny_checkpoints import make_mdlm_parameters, mdlm_state_dict

_CPU: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}
_LENGTH = 16
_WEIGHTS, _AVERAGE = make_mdlm_parameters(seed=0), make_mdlm_parameters(seed=1)
_CAUSAL = make_mdlm_parameters(causal=True)
_XT = torch.tensor([[1, 37, 3, 37, 9]])

_TRAINING = {
    "loader": {"batch_size": 8, "eval_batch_size": "${.global_batch_size}"},
    "sampling": {"steps": 128, "semi_ar": False},
    "optim": {"lr": 3e-4, "eps": 1e-8},
    "trainer": {"precision": "bf16", "max_steps": 10},
    "wandb": {"project": "p", "tags": ["${noise.type}"]},
    "checkpointing": {"save_dir": "${cwd:}"},
    "callbacks": {"checkpoint_monitor": {"mode": "min"}},
    "strategy": {"_target_": "lightning.pytorch.strategies.DDPStrategy"},
    "lr_scheduler": {"num_warmup_steps": 2500},
    "hydra": {"job": {"chdir": True}},
    "mode": "train",
    "seed": 1,
    "training": {"ema": 0.9999, "antithetic_sampling": True, "sampling_eps": 1e-3},
    "eval": {"disable_ema": False, "perplexity_batch_size": 8},
    "data": {"tokenizer_name_or_path": "gpt2", "wrap": True},
}
_MODEL = {
    "name": "tiny", "type": "ddit", "hidden_size": 24, "cond_dim": 16, "length": _LENGTH, "n_blocks": 2, "n_heads": 3,
    "scale_by_sigma": True, "dropout": 0.1, "tie_word_embeddings": False,
}  # fmt: skip
_OF_MDLM = {
    **_TRAINING,
    "diffusion": "absorbing_state", "backbone": "dit", "parameterization": "subs", "time_conditioning": True, "T": 0,
    "subs_masking": False, "model": _MODEL, "noise": {"type": "loglinear", "sigma_min": 1e-4, "sigma_max": 20},
}  # fmt: skip
_ALGO = {
    "name": "mdlm", "backbone": "dit", "parameterization": "subs", "time_conditioning": True, "T": 0,
    "causal_attention": False, "ignore_bos": False,
}  # fmt: skip
_OF_BD3LM = {
    **_TRAINING,
    "diffusion": "absorbing_state", "block_size": "${model.length}",
    "algo": {
        **_ALGO, "dropout": 0.0, "cross_attn": False, "var_min": False, "clip_search_delta": 0.05,
        "clip_search_widths": [], "fix_clipping": False, "sampler": "semi_ar", "mdlm_loss_scale": False,
    },
    "model": {**_MODEL, "adaln": False, "attn_backend": "flash_attn"},
    "noise": {"type": "loglinear", "sigma_min": 1e-4, "sigma_max": 20},
}  # fmt: skip
_OF_DUO = {
    **_TRAINING,
    "algo": {**_ALGO, "subs_masking": False, "loss_type": "elbo"},
    "model": {**_MODEL, "vocab_lookup": True},
    "noise": {"type": "log-linear", "eps": 1e-3},
    "prior": {"type": "none", "latent_width": 0, "latent_height": 0},
}
_OF_ALL = {"mdlm": _OF_MDLM, "bd3lm": _OF_BD3LM, "duo": _OF_DUO}


def changed(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """With values at dotted places; ``__`` stands for the dot, None takes the entry out."""
    config = copy.deepcopy(config)
    for place, value in changes.items():
        *sections, name = place.split("__")
        inside = config
        for section in sections:
            inside = inside.setdefault(section, {})
        if value is None:
            inside.pop(name, None)
        else:
            inside[name] = value
    return config


def write(path: Path, config: dict[str, Any], weights: dict[str, Tensor] = _WEIGHTS, **more: Any) -> Path:
    content = {
        "state_dict": mdlm_state_dict(weights),
        "hyper_parameters": {"config": config, "tokenizer": {"vocab_file": "x"}},
        "pytorch-lightning_version": "2.2.1",
        "epoch": 3,
        "loops": {"fit_loop": {"epoch_progress": {"current": {"completed": 3}}}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(3.1)}},
        **more,
    }
    torch.save(content, path)
    return path


def load(path: Path, config: dict[str, Any], weights: dict[str, Tensor] = _WEIGHTS, **more: Any) -> AdaptedModel:
    return load_model(write(path / "x.ckpt", config, weights, **more), adapter="mdlm", **_CPU)[1]


def refusal(path: Path, config: dict[str, Any], weights: dict[str, Tensor] = _WEIGHTS, **more: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path, config, weights, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def logits_of(adapted: AdaptedModel, t: float = 0.6) -> Tensor:
    assert isinstance(adapted.model, Denoiser)
    return adapted.model.logits(_XT, LogLinear(1e-3).level(torch.tensor([t])))


class TestThreePlaces:
    @pytest.mark.parametrize("lineage", ["bd3lm", "duo"])
    @pytest.mark.parametrize("time_conditioning", [True, False])
    def test_settings_under_algo_make_the_same_network(
        self, tmp_path: Path, lineage: str, time_conditioning: bool
    ) -> None:
        top = load(tmp_path, changed(_OF_MDLM, time_conditioning=time_conditioning))
        under = load(tmp_path, changed(_OF_ALL[lineage], algo__time_conditioning=time_conditioning))
        assert isinstance(under.model, MdlmDenoiser)
        assert under.model.time_conditioned is time_conditioning
        assert torch.equal(logits_of(top), logits_of(under))
        assert under.model.context_length == _LENGTH

    @pytest.mark.parametrize("lineage", _OF_ALL)
    def test_time_conditioning_is_not_left_out(self, tmp_path: Path, lineage: str) -> None:
        place = "time_conditioning" if lineage == "mdlm" else "algo__time_conditioning"
        told = load(tmp_path, changed(_OF_ALL[lineage], **{place: True}))
        untold = load(tmp_path, changed(_OF_ALL[lineage], **{place: False}))
        assert not torch.allclose(logits_of(told, 0.9), logits_of(told, 0.2))
        assert torch.equal(logits_of(untold, 0.9), logits_of(untold, 0.2))
        assert "time_conditioning: got none stated" in refusal(tmp_path, changed(_OF_ALL[lineage], **{place: None}))
        assert "time_conditioning: got 'yes', expected true or" in refusal(
            tmp_path, changed(_OF_ALL[lineage], **{place: "yes"})
        )

    def test_both_places_may_agree(self, tmp_path: Path) -> None:
        load(
            tmp_path, changed(_OF_MDLM, algo__name="mdlm", algo__parameterization="subs", algo__time_conditioning=True)
        )

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("parameterization", "d3pm"), ("time_conditioning", False), ("T", 1000), ("backbone", "dimamba"),
            ("subs_masking", True), ("T", False),
        ],
    )  # fmt: skip
    def test_or_contradict_each_other(self, tmp_path: Path, name: str, value: Any) -> None:
        said = refusal(tmp_path, changed(_OF_MDLM, **{f"algo__{name}": value}))
        assert f"contradict each other: got {name} = {_OF_MDLM[name]!r}, algo.{name} = {value!r}, expected one" in said

    @pytest.mark.parametrize(
        ("algorithm", "kind"),
        [
            ("bd3lm", "block diffusion"), ("sedd", "a score network"), ("duo", "uniform-state diffusion"),
            ("duo_base", "uniform-state"), ("distillation", "uniform-state"), ("ot-finetune", "uniform-state"),
            ("d3pm", "D3PM"), ("flow", "no algorithm that this adapter knows"), (3, "no algorithm"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("lineage", ["bd3lm", "duo"])
    def test_other_algorithms_are_named(self, tmp_path: Path, lineage: str, algorithm: Any, kind: str) -> None:
        said = refusal(tmp_path, changed(_OF_ALL[lineage], algo__name=algorithm))
        assert f"x.ckpt: algo.name: got {algorithm!r}, {kind}" in said
        assert "expected mdlm or ar" in said
        step = "pass --adapter bd3lm" if algorithm == "bd3lm" else "loader of your own (--model FILE.py:LOADER"
        assert f"the adapter 'mdlm' has nothing that scores it; {step}" in said.replace("score it through a ", "")

    @pytest.mark.parametrize("value", ["sedd", "score", "mean", "x0", 1])
    @pytest.mark.parametrize("lineage", _OF_ALL)
    def test_other_parameterizations_are_named(self, tmp_path: Path, lineage: str, value: Any) -> None:
        place = "parameterization" if lineage == "mdlm" else "algo__parameterization"
        said = refusal(tmp_path, changed(_OF_ALL[lineage], **{place: value}))
        assert f"parameterization: got {value!r}, expected subs or d3pm" in said
        assert "parameterization: got none stated" in refusal(tmp_path, changed(_OF_ALL[lineage], **{place: None}))


class TestOtherModels:
    @pytest.mark.parametrize(
        ("changes", "line"),
        [
            ({"diffusion": "uniform"}, "diffusion: got 'uniform', expected absorbing_state"),
            ({"backbone": "dimamba"}, "backbone: got 'dimamba', expected dit or ar"),
            ({"backbone": "hf_dit"}, "backbone: got 'hf_dit'"),
            ({"model__type": "unet"}, "model.type: got 'unet', expected ddit"),
            ({"model__causal": True}, "causal attention: got True, expected False"),
            ({"algo__causal_attention": True}, "causal attention: got True"),
            ({"model__causal_attention": "no"}, "causal_attention: got 'no', expected true or false"),
            ({"algo__cross_attn": True}, "algo.cross_attn: got True, expected false: no block diffusion"),
            ({"block_size": 4}, "block_size: got 4, block diffusion, expected 16"),
            ({"block_size": 17}, "block_size: got 17, block diffusion"),
            ({"block_size": "${seed}"}, "block_size: got 1, block diffusion"),
            ({"block_size": "${model.n_heads}"}, "block_size: got 3, block diffusion"),
            ({"algo__block_size": 8}, "block_size: got 8, block diffusion"),
            ({"model__block_size": 8}, "block_size: got 8, block diffusion"),
            ({"prior__type": "gaussian"}, "prior.type: got 'gaussian', expected none"),
            ({"data__num_classes": 10}, "data.num_classes: got 10, expected none"),
            ({"subs_masking": "no"}, "subs_masking: got 'no', expected true or false"),
            ({"model__length": "long"}, "model.length: got 'long', expected a positive integer"),
            ({"model__length": True}, "model.length: got True"),
            ({"model__length": 0}, "model.length: got 0"),
        ],
    )  # fmt: skip
    def test_are_named(self, tmp_path: Path, changes: dict[str, Any], line: str) -> None:
        assert line in refusal(tmp_path, changed(_OF_MDLM, **changes))

    @pytest.mark.parametrize("lineage", _OF_ALL)
    @pytest.mark.parametrize(
        "place",
        ["rope_scaling", "model__mlp_act", "model__n_kv_heads", "noise__warp", "prior__scale", "attention__window"],
    )
    def test_settings_that_nobody_knows_are_named(self, tmp_path: Path, lineage: str, place: str) -> None:
        said = refusal(tmp_path, changed(_OF_ALL[lineage], **{place: 2}))
        assert f"does not know: got hyper_parameters.config.{place.replace('__', '.')} = 2; " in said
        if lineage != "mdlm":
            said = refusal(tmp_path, changed(_OF_ALL[lineage], algo__mixing=0.5))
            assert "does not know: got hyper_parameters.config.algo.mixing = 0.5" in said

    def test_hyper_parameters_beside_the_configuration(self, tmp_path: Path) -> None:
        said = refusal(tmp_path, {}, hyper_parameters={"config": _OF_MDLM, "scale": 2})
        assert "does not know: got hyper_parameters.scale = 2" in said
        assert "has no hyper-parameters" in refusal(tmp_path, {}, hyper_parameters={"cfg": _OF_MDLM})

    @pytest.mark.parametrize(("name", "size"), [("hidden_size", 24), ("cond_dim", 16), ("n_blocks", 2), ("n_heads", 3)])
    def test_sizes_are_compared_with_the_tensors(self, tmp_path: Path, name: str, size: int) -> None:
        for wrong in (size + 1, 2 * size, True):
            said = refusal(tmp_path, changed(_OF_MDLM, **{f"model__{name}": wrong}))
            assert f"model.{name}: got {wrong!r}, expected {size}, as the tensors are" in said

    def test_another_rotary_base(self, tmp_path: Path) -> None:
        state = mdlm_state_dict(_WEIGHTS)
        state["backbone.rotary_emb.inv_freq"] = 500_000.0 ** (-torch.arange(0, 8, 2) / 8)
        said = refusal(tmp_path, _OF_MDLM, state_dict=state)
        assert "backbone.rotary_emb.inv_freq is another than the adapter 'mdlm' computes" in said

    @pytest.mark.parametrize("name", ["label_embed.weight", "noise.rate", "ema_backbone.x", "backbone.blocks.0.gate"])
    def test_tensors_beside_the_network(self, tmp_path: Path, name: str) -> None:
        said = refusal(tmp_path, _OF_MDLM, state_dict={**mdlm_state_dict(_WEIGHTS), name: torch.ones(2)})
        assert f"does not use: got {name}; " in said

    def test_counts_of_metrics_and_ranges_of_rates_are_no_part_of_it(self, tmp_path: Path) -> None:
        beside = {"valid_metrics.nll.weight": torch.ones(()), "sampling_eps_min": torch.tensor(0.1)}
        load(tmp_path, _OF_MDLM, state_dict={**mdlm_state_dict(_WEIGHTS), **beside})


class TestTheCausalBaseline:
    @pytest.mark.parametrize("lineage", _OF_ALL)
    def test_in_each_place(self, tmp_path: Path, lineage: str) -> None:
        if lineage == "mdlm":
            changes: dict[str, Any] = {"parameterization": "ar", "backbone": "ar", "model__causal": True}
            changes |= {"noise__type": "ar", "noise__scale": 6.0}
        else:
            changes = {"algo__name": "ar", "algo__parameterization": "ar", "algo__causal_attention": True}
            changes |= {"algo__time_conditioning": False}
        adapted = load(tmp_path, changed(_OF_ALL[lineage], **changes), _CAUSAL)
        assert isinstance(adapted.model, CausalLM)
        assert not isinstance(adapted.model, Denoiser)
        assert adapted.schedule is None

    def test_of_blocks_of_one(self, tmp_path: Path) -> None:
        changes = {"algo__name": "ar", "algo__parameterization": "ar", "algo__causal_attention": True, "block_size": 1}
        assert isinstance(load(tmp_path, changed(_OF_BD3LM, **changes), _CAUSAL).model, CausalLM)
        said = refusal(tmp_path, changed(_OF_BD3LM, **changes, model__adaln=True), _CAUSAL)
        assert "model.adaln: got True, expected false in a causal network" in said

    @pytest.mark.parametrize(
        ("changes", "weights"),
        [
            ({"algo__parameterization": "ar"}, _WEIGHTS),
            ({"algo__name": "ar"}, _WEIGHTS),
            ({"algo__name": "ar", "algo__parameterization": "ar"}, _WEIGHTS),
            ({"algo__name": "ar"}, _CAUSAL),
            ({"algo__parameterization": "ar"}, _CAUSAL),
            ({}, _CAUSAL),
        ],
    )
    def test_settings_and_tensors_that_contradict_each_other(
        self, tmp_path: Path, changes: dict[str, Any], weights: dict[str, Tensor]
    ) -> None:
        said = refusal(tmp_path, changed(_OF_DUO, **changes), weights)
        assert "settings and tensors contradict each other: got algo.name '" in said
        assert ("it has no sigma_map" in said) == (weights is _CAUSAL)


class TestNoise:
    @pytest.mark.parametrize(
        ("config", "schedule"),
        [
            (_OF_MDLM, LogLinear(1e-3)),
            (changed(_OF_MDLM, noise__eps=1e-3), LogLinear(1e-3)),
            (changed(_OF_MDLM, noise__type="cosine"), CosineMdlm(1e-3)),
            (changed(_OF_MDLM, noise={"type": "geometric", "sigma_min": 1e-3, "sigma_max": 7}), Geometric(1e-3, 7.0)),
            (_OF_DUO, LogLinear(1e-3)),
            (changed(_OF_DUO, noise__eps=0.02), LogLinear(0.02)),
            (changed(_OF_DUO, noise__eps=None), LogLinear(1e-3)),
            (changed(_OF_DUO, noise__type="loglinear"), LogLinear(1e-3)),
            (_OF_BD3LM, LogLinear(0.0)),
            (changed(_OF_BD3LM, algo__mdlm_loss_scale=True), LogLinear(1e-3)),
            (changed(_OF_BD3LM, algo__mdlm_loss_scale=None), LogLinear(1e-3)),
        ],
    )
    def test_each_code_s_own(self, tmp_path: Path, config: dict[str, Any], schedule: NoiseSchedule) -> None:
        assert load(tmp_path, config).schedule == schedule

    def test_the_largest_sigma_of_blocks(self, tmp_path: Path) -> None:
        """Where the mask rate is t itself, sigma would be infinite at t = 1; that code stops at the rate 0.999."""
        own = load(tmp_path, _OF_BD3LM)
        assert isinstance(own.model, MdlmDenoiser)
        assert own.model.largest_sigma == pytest.approx(math.log(1000))
        everything_masked = own.model.logits(_XT, LogLinear(0.0).level(torch.tensor([1.0])))
        nearly = own.model.logits(_XT, LogLinear(0.0).level(torch.tensor([0.999])))
        torch.testing.assert_close(everything_masked, nearly)
        assert everything_masked.isfinite().all()
        other = load(tmp_path, _OF_MDLM).model
        assert isinstance(other, MdlmDenoiser)
        assert other.largest_sigma == math.inf

    @pytest.mark.parametrize(
        ("config", "line"),
        [
            (changed(_OF_MDLM, noise__type="linear"), "got 'linear', expected loglinear, log-linear, cosine or geo"),
            (changed(_OF_MDLM, noise__type="cosinesqr"), "noise.type: got 'cosinesqr'"),
            (changed(_OF_MDLM, noise__type="polynomial"), "noise.type: got 'polynomial'"),
            (changed(_OF_MDLM, noise__type=3), "noise.type: got 3"),
            (changed(_OF_MDLM, noise__type=None), "noise.type: got none stated, expected the name of a noise schedule"),
            (changed(_OF_MDLM, noise__eps=0.01), "noise.eps of 'loglinear': got 0.01, expected 0.001, the constant"),
            (changed(_OF_MDLM, noise__type="cosine", noise__eps=0.01), "noise.eps of 'cosine': got 0.01"),
            (changed(_OF_DUO, noise__type="cosine"), "got 'cosine' under algo: Duo's 1 - cos(pi (1 - t) / 2)"),
            (changed(_OF_BD3LM, noise__type="cosine"), "or BD3-LM's (1 - eps) cos(pi t / 2), expected loglinear"),
            (changed(_OF_BD3LM, noise__type="square_root"), "noise.type: got 'square_root'"),
            (changed(_OF_DUO, noise={"type": "geometric", "sigma_max": 2}), "noise.type: got 'geometric'"),
            (changed(_OF_DUO, noise__eps="small"), "noise.eps: got 'small', expected a number"),
            (changed(_OF_DUO, noise__eps=True), "noise.eps: got True, expected a number"),
            (changed(_OF_DUO, noise__eps=math.inf), "noise.eps: got inf, expected a number"),
            (changed(_OF_MDLM, noise={"type": "geometric", "sigma_min": 1}), "sigma_max: got None, expected a number"),
            (changed(_OF_BD3LM, algo__mdlm_loss_scale=1), "mdlm_loss_scale: got 1, expected true or false"),
        ],
    )  # fmt: skip
    def test_others_are_named(self, tmp_path: Path, config: dict[str, Any], line: str) -> None:
        assert line in refusal(tmp_path, config)


class TestWhichWeights:
    _EMA: ClassVar = {"decay": 0.9999, "num_updates": 10, "shadow_params": list(_AVERAGE.values())}

    def weights_of(self, adapted: AdaptedModel) -> str:
        assert isinstance(adapted.model, MdlmDenoiser)
        value = adapted.model.output_layer.linear.bias
        for name, weights in (("trained", _WEIGHTS), ("average", _AVERAGE)):
            if torch.equal(value, weights["output_layer.linear.bias"]):
                return name
        return "neither"

    @pytest.mark.parametrize("lineage", _OF_ALL)
    def test_the_average_as_its_own_evaluator(self, tmp_path: Path, lineage: str) -> None:
        adapted = load(tmp_path, _OF_ALL[lineage], ema=self._EMA)
        assert self.weights_of(adapted) == "average"
        assert adapted.notes[0] == "weights: the moving average (EMA), as its own evaluator uses"
        for off in ({"eval__disable_ema": True}, {"training__ema": 0}):
            adapted = load(tmp_path, changed(_OF_ALL[lineage], **off), ema=self._EMA)
            assert self.weights_of(adapted) == "trained"
            assert adapted.notes[0] == "weights as trained (no moving average)"

    def test_or_those_that_the_user_chose(self, tmp_path: Path) -> None:
        for config in (_OF_MDLM, changed(_OF_MDLM, eval__disable_ema=True)):
            path = write(tmp_path / "x.ckpt", config, ema=self._EMA)
            for key, name in (("state_dict", "trained"), ("ema", "average")):
                adapted = load_model(path, adapter="mdlm", weights=key, **_CPU)[1]
                assert self.weights_of(adapted) == name
                assert adapted.adapter == f"mdlm/{key}"
                assert f"as chosen by --weights {key}" in adapted.notes[0]

    @pytest.mark.parametrize(
        ("ema", "line"),
        [
            ({"shadow_params": [*_AVERAGE.values()][:-1]}, "moving average: got 29 tensors, expected 30"),
            ({"shadow_params": [*_AVERAGE.values(), torch.ones(2)]}, "moving average: got 31 tensors, expected 30"),
            ({"shadow_params": [*_AVERAGE.values()][::-1]}, "moving average of vocab_embed.embedding: got"),
            ({"shadow_params": [3, *_AVERAGE.values()][:-1]}, r"ema.shadow_params\[0\]: got int, expected a tensor"),
            ({"shadow_params": [value * torch.nan for value in _AVERAGE.values()]}, "nan or infinite"),
            (_AVERAGE, "tensors beside its state dict, .* got ema; pass --weights state_dict, or --weights ema"),
            ({"shadow_params": _AVERAGE}, "tensors beside its state dict"),
        ],
    )
    def test_an_average_that_is_none(self, tmp_path: Path, ema: Any, line: str) -> None:
        with pytest.raises(CheckpointError, match=line):
            load(tmp_path, _OF_MDLM, ema=ema)

    @pytest.mark.parametrize(
        "more",
        [
            {"state_dict_ema": mdlm_state_dict(_AVERAGE)},
            {"callbacks": {"EMACallback": {"weights": [torch.ones(3)]}}},
            {"hyper_parameters": {"config": _OF_MDLM, "start": {"w": torch.ones(3)}}},
        ],
    )
    def test_a_second_set_of_weights(self, tmp_path: Path, more: dict[str, Any]) -> None:
        said = refusal(tmp_path, _OF_MDLM, **more)
        assert f"got {next(iter(more))}; pass --weights state_dict" in said
        path = write(tmp_path / "x.ckpt", _OF_MDLM, **more)
        assert self.weights_of(load_model(path, adapter="mdlm", weights="state_dict", **_CPU)[1]) == "trained"

    def test_a_named_set_can_be_chosen(self, tmp_path: Path) -> None:
        for key in ("ema", "state_dict_ema"):
            path = write(tmp_path / "x.ckpt", _OF_MDLM, **{key: mdlm_state_dict(_AVERAGE)})
            adapted = load_model(path, adapter="mdlm", weights=key, **_CPU)[1]
            assert self.weights_of(adapted) == "average"
            assert adapted.notes[-1] == f"weights: those under {key!r}, as chosen by --weights"

    def test_nothing_else_inside_the_state_dict(self, tmp_path: Path) -> None:
        state = {**mdlm_state_dict(_WEIGHTS), "teacher": {"w": torch.ones(2)}}
        assert "state_dict: got more than tensors under teacher" in refusal(tmp_path, _OF_MDLM, state_dict=state)


def test_notes(tmp_path: Path) -> None:
    notes = load(tmp_path, changed(_OF_BD3LM, algo__T=64, algo__ignore_bos=True, algo__parameterization="d3pm")).notes
    assert any("trained for T = 64 steps" in note for note in notes)
    assert any("draws t from [0.001, 1] only" in note for note in notes)
    assert any("probability of the mask is removed" in note for note in notes)
    assert any("neither masks nor pays the first token" in note for note in notes)
    notes = load(tmp_path, changed(_OF_MDLM, training__sampling_eps=None)).notes
    assert notes[1:] == ("mask id 37 of 38 rows: appended, since the tokenizer gpt2 has none of its own",)


class TestWhatTheNetworkWasTold:
    """With a change of variables that code tells its network t in the place of sigma."""

    def test_another_time_is_refused(self, tmp_path: Path) -> None:
        said = refusal(tmp_path, changed(_OF_MDLM, training__change_of_variables=True))
        assert "x.ckpt: training.change_of_variables: got True, expected false in a network that is told" in said

    @pytest.mark.parametrize("lineage", ["bd3lm", "duo"])
    def test_its_successors_state_it_and_never_read_it(self, tmp_path: Path, lineage: str) -> None:
        load(tmp_path, changed(_OF_ALL[lineage], training__change_of_variables=True))

    def test_where_none_is_told_it_decides_nothing(self, tmp_path: Path) -> None:
        plain = load(tmp_path, changed(_OF_MDLM, time_conditioning=False))
        other = load(tmp_path, changed(_OF_MDLM, time_conditioning=False, training__change_of_variables=True))
        assert torch.equal(logits_of(other), logits_of(plain))
        load(tmp_path, changed(_OF_MDLM, training__change_of_variables=False))


class TestWhichMask:
    """The tokenizer says, as its record in the checkpoint has it, or its name; where neither does, none is guessed."""

    def mask(self, path: Path, name: str | None, record: dict[str, Any] | None, rows: int = 38) -> int:
        weights = make_mdlm_parameters(vocab_size=rows - 1)
        config = changed(_OF_MDLM, data__tokenizer_name_or_path=name)
        adapted = load(path, config, weights, hyper_parameters={"config": config, "tokenizer": record})
        assert isinstance(adapted.model, Denoiser)
        return adapted.model.mask_token_id

    @pytest.mark.parametrize(
        ("name", "record", "mask"),
        [
            ("gpt2", None, 37),
            ("openai-community/gpt2-medium", {"vocab_file": "x"}, 37),
            ("EleutherAI/gpt-neox-20b", {}, 37),
            ("someone/own", {"_special_tokens_map": {"bos_token": "<s>", "mask_token": None}}, 37),
            ("someone/own", {"_mask_token": None, "init_kwargs": {}}, 37),
            ("someone/own", {"_mask_token": "<m>", "_added_tokens_decoder": {7: {"content": "<m>"}}}, 7),
            ("someone/own", {"_mask_token": {"content": "<m>"}, "_added_tokens_encoder": {"<s>": 3, "<m>": 9}}, 9),
            (
                "someone/own",
                {"init_kwargs": {"mask_token": "<m>", "added_tokens_decoder": {"5": {"content": "<m>"}}}},
                5,
            ),
            ("someone/own", {"_mask_token": "<m>", "_tokenizer": {"added_tokens": {"<s>": 0, "<m>": 8}}}, 8),
            ("text8", {"_mask_token": "[MASK]", "_vocab_str_to_int": {"[CLS]": 0, "[MASK]": 4}}, 4),
            ("text8", None, 4),
            ("bert-base-uncased", {"_mask_token": "[MASK]", "vocab": {"[PAD]": 0, "[MASK]": 6}}, 6),
        ],
    )
    def test_is_known(self, tmp_path: Path, name: str, record: dict[str, Any] | None, mask: int) -> None:
        assert self.mask(tmp_path, name, record) == mask

    @pytest.mark.parametrize("name", ["google-bert/bert-large-uncased", "distilbert-base-uncased", "bert-base-cased"])
    def test_of_berts(self, tmp_path: Path, name: str) -> None:
        assert self.mask(tmp_path, name, {"_special_tokens_map": {"mask_token": "[MASK]"}}, rows=120) == 103
        assert self.mask(tmp_path, name, None, rows=120) == 103

    @pytest.mark.parametrize(
        ("name", "record", "line"),
        [
            ("answerdotai/ModernBERT-base", None, "the tokenizer 'answerdotai/ModernBERT-base', of which no mask is"),
            (None, None, "the tokenizer '', of which no mask is known, expected"),
            ("someone/own", {"vocab_file": "x"}, "the tokenizer 'someone/own', of which no mask is known, expected"),
            ("someone/own", {"_mask_token": "<m>"}, "the tokenizer 'someone/own', whose mask is '<m>', expected a tok"),
            ("gpt2", {"_special_tokens_map": {"mask_token": "<m>"}}, "the tokenizer 'gpt2', whose mask is '<m>'"),
        ],
    )
    def test_is_not_guessed(self, tmp_path: Path, name: str | None, record: dict[str, Any] | None, line: str) -> None:
        with pytest.raises(CheckpointError) as caught:
            self.mask(tmp_path, name, record)
        assert f"x.ckpt: mask id: got {line}" in str(caught.value)
        assert "--model FILE.py:LOADER" in str(caught.value)


class TestFolders:
    def folder(self, path: Path, **changes: Any) -> AdaptedModel:
        from safetensors.torch import save_file

        save_file(mdlm_state_dict(_WEIGHTS), path / "model.safetensors")
        config = {
            "architectures": ["MDLM"], "auto_map": {"AutoConfig": "x.Y"}, "model_type": "mdlm", "model_length": _LENGTH,
            "hidden_dim": 24, "cond_dim": 16, "n_blocks": 2, "n_heads": 3, "vocab_size": 38, "dropout": 0.1,
            "time_conditioning": False, "torch_dtype": "float32", "return_dict": False,
        }  # fmt: skip
        (path / "config.json").write_text(json.dumps({**config, **changes}))
        return load_model(path, adapter="mdlm", **_CPU)[1]

    def test_as_published(self, tmp_path: Path) -> None:
        adapted = self.folder(tmp_path)
        assert isinstance(adapted.model, MdlmDenoiser)
        assert (adapted.model.context_length, adapted.schedule) == (_LENGTH, LogLinear(1e-3))
        assert torch.equal(logits_of(adapted), logits_of(load(tmp_path, changed(_OF_MDLM, time_conditioning=False))))

    @pytest.mark.parametrize(
        ("changes", "line"),
        [
            ({"model_type": "bd3lm"}, "does not fit the adapter 'mdlm'"),
            ({"block_size": 4}, "block_size: got 4, block diffusion, expected 16"),
            ({"cross_attn": True}, "cross_attn: got True"),
            ({"n_heads": 6}, "n_heads: got 6, expected 3"),
            ({"hidden_dim": 25}, "hidden_dim: got 25, expected 24"),
            ({"vocab_size": 37}, "vocab_size: got 37, expected 38"),
            ({"rope_theta": 10}, "does not know: got rope_theta = 10"),
            ({"parameterization": "sedd"}, "parameterization: got 'sedd'"),
            ({"time_conditioning": None}, "time_conditioning: got none stated"),
            ({"model_length": None}, "model_length: got None, expected a positive integer"),
        ],
    )
    def test_others(self, tmp_path: Path, changes: dict[str, Any], line: str) -> None:
        with pytest.raises(CheckpointError, match=line):
            self.folder(tmp_path, **changes)
