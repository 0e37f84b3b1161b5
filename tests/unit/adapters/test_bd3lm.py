"""Block diffusion's checkpoints: the network against a second forward pass, what is read, what is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bpb_harness import evaluate
from bpb_harness.adapters import AdaptedModel, load_model
from bpb_harness.adapters.bd3lm.network import Bd3lmDenoiser
from bpb_harness.denoiser import (
    BlockDenoiser,
    Denoiser,
    FactoredBlockDenoiser,
    block_token_nll,
    masked_token_nll,
    num_blocks,
)
from bpb_harness.errors import CheckpointError, UsageError
from bpb_harness.evaluation.job import Job
from bpb_harness.schedule import LogLinear
from tests.oracles import block_diffusion as oracle
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

V, LENGTH, SIZE = MDLM_VOCAB_SIZE, 12, 4
CPU: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}
WEIGHTS, AVERAGE = make_mdlm_parameters(seed=0), make_mdlm_parameters(seed=1)
UNMODULATED = make_mdlm_parameters(causal=True)
X0 = torch.randint(V, (3, LENGTH), generator=torch.Generator().manual_seed(5))
MASKED = torch.rand(3, LENGTH, generator=torch.Generator().manual_seed(6)) < 0.6
XT = X0.masked_fill(MASKED, V)
CONFIG: dict[str, Any] = {
    "diffusion": "absorbing_state", "block_size": SIZE, "mode": "train", "seed": 1,
    "algo": {
        "name": "bd3lm", "backbone": "dit", "parameterization": "subs", "time_conditioning": False, "T": 0,
        "causal_attention": False, "dropout": 0.0, "ignore_bos": True, "cross_attn": True, "var_min": True,
        "clip_search_delta": 0.05, "clip_search_widths": [0.5, 0.6], "fix_clipping": False, "sampler": "semi_ar",
        "mdlm_loss_scale": False,
    },
    "model": {
        "name": "tiny", "type": "ddit", "hidden_size": MDLM_WIDTH, "cond_dim": MDLM_COND, "length": LENGTH,
        "n_blocks": MDLM_BLOCKS, "n_heads": MDLM_HEADS, "scale_by_sigma": True, "dropout": 0.1,
        "tie_word_embeddings": True, "adaln": False, "attn_backend": "flex",
    },
    "noise": {"type": "loglinear", "sigma_min": 1e-4, "sigma_max": 20},
    "data": {"tokenizer_name_or_path": "gpt2", "wrap": True, "insert_train_special": False},
    "sampling": {"first_hitting": True, "kv_cache": False, "nucleus_p": 1.0, "var_length": False},
    "training": {
        "ema": 0.9999, "antithetic_sampling": True, "sampling_eps": 1e-3, "resample": True, "sampling_eps_min": 1e-3,
        "sampling_eps_max": 1.0, "from_pretrained": None, "eval_nll": True, "coeff_clip": -1.0,
    },
    "eval": {"disable_ema": False, "generate_samples": False},
    "loader": {"batch_size": 8}, "optim": {"lr": 3e-4}, "trainer": {"precision": "bf16"}, "wandb": None,
    "checkpointing": {"save_dir": "${cwd:}"}, "lr_scheduler": {"num_warmup_steps": 2500}, "hydra": {"job": {}},
}  # fmt: skip
FOLDER: dict[str, Any] = {
    "architectures": ["BD3LM"], "auto_map": {"AutoConfig": "x.Y"}, "model_type": "bd3lm", "_name_or_path": "x/y",
    "adaln": True, "attn_backend": "flex", "block_size": SIZE, "causal": False, "cond_dim": MDLM_COND,
    "cross_attn": True, "dropout": 0.1, "hidden_dim": MDLM_WIDTH, "model_length": LENGTH, "n_blocks": MDLM_BLOCKS,
    "n_heads": MDLM_HEADS, "return_dict": False, "sampling_eps_max": 0.95, "sampling_eps_min": 0.45,
    "time_conditioning": False, "torch_dtype": "float32", "transformers_version": "4.49.0", "var_min": True,
    "vocab_size": V + 1,
}  # fmt: skip


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """With values at dotted places; ``...`` takes an entry out."""
    config = copy.deepcopy(config)
    for place, value in changes.items():
        *sections, name = place.split(".")
        inside = config
        for section in sections:
            inside = inside.setdefault(section, {})
        inside[name] = value
        if value is ...:
            del inside[name]
    return config


def lightning(
    folder: Path, changes: dict[str, Any] | None = None, *, weights: dict[str, Tensor] = WEIGHTS,
    average: dict[str, Tensor] | None = None, adapter: str | None = "bd3lm",
) -> AdaptedModel:  # fmt: skip
    """A checkpoint as that code saves it, and loaded."""
    state = mdlm_state_dict(weights)
    state |= {"sampling_eps_min": torch.tensor(0.45), "sampling_eps_max": torch.tensor(0.95)}
    content = {
        "state_dict": state,
        "hyper_parameters": {"config": changed(CONFIG, changes or {}), "tokenizer": {"vocab_file": "x"}},
        "pytorch-lightning_version": "2.5.0.post0", "epoch": 3, "global_step": 10,
        "loops": {"fit_loop": {"epoch_progress": {"current": {"completed": 3}}}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        "sampling_eps_min": torch.tensor(0.45), "sampling_eps_max": torch.tensor(0.95),
        "sampler": {"random_state": None}, "callbacks": {}, "lr_schedulers": [],
    }  # fmt: skip
    if average is not None:
        content["ema"] = {"decay": 0.9999, "num_updates": 10, "shadow_params": list(average.values())}
    torch.save(content, folder / "x.ckpt")
    return load_model(folder / "x.ckpt", adapter=adapter, **CPU)[1]


def published(
    folder: Path, changes: dict[str, Any] | None = None, weights: dict[str, Tensor] = WEIGHTS
) -> AdaptedModel:
    """A folder as its authors publish it, and loaded."""
    state = mdlm_state_dict(weights)
    state |= {"sampling_eps_min": torch.tensor(0.45), "sampling_eps_max": torch.tensor(0.95)}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(changed(FOLDER, changes or {})))
    return load_model(folder, adapter="bd3lm", **CPU)[1]


def blocks_of(adapted: AdaptedModel) -> BlockDenoiser:
    assert isinstance(adapted.model, BlockDenoiser)
    return adapted.model


def level_of(count: int, seed: int = 0) -> Any:
    rates = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return LogLinear().level_at(0.1 + 0.8 * rates)


def expected(nodes: list[oracle.Node], weights: dict[str, Tensor], sigma: float = 0.0) -> Tensor:
    made = oracle.logits(weights, nodes, num_heads=MDLM_HEADS, num_layers=MDLM_BLOCKS, sigma=sigma)
    return torch.from_numpy(made)


class TestTheNetwork:
    @pytest.mark.parametrize("size", [1, 4, 6, 12])
    @pytest.mark.parametrize("length", [12, 10, 3, 1])
    def test_both_halves_in_one_call(self, tmp_path: Path, size: int, length: int) -> None:
        model = blocks_of(lightning(tmp_path, {"block_size": size}))
        assert (model.block_size, model.context_length, model.vocab_size, model.mask_token_id) == (size, LENGTH, V, V)
        xt, x0 = XT[:, :length], X0[:, :length]
        logits = model.block_logits(xt, x0, level_of(3 * num_blocks(length, size)))
        assert logits.shape == (3, length, V + 1)
        for row in range(3):
            nodes = oracle.nodes_of_halves(xt[row].tolist(), x0[row].tolist(), size)
            torch.testing.assert_close(logits[row].double(), expected(nodes, WEIGHTS)[:length], rtol=0, atol=1e-4)

    @pytest.mark.parametrize("size", [1, 4, 6, 12])
    @pytest.mark.parametrize("length", [12, 10, 3, 1])
    def test_a_row_whose_last_block_is_noised(self, tmp_path: Path, size: int, length: int) -> None:
        model = blocks_of(lightning(tmp_path, {"block_size": size}))
        start = (length - 1) // size * size
        rows = torch.cat((X0[:, :start], XT[:, start:length]), dim=1)
        logits = model.logits(rows, level_of(3))
        for row in range(3):
            nodes = oracle.nodes_of_row(rows[row].tolist(), size)
            torch.testing.assert_close(logits[row].double(), expected(nodes, WEIGHTS), rtol=0, atol=1e-4)

    @pytest.mark.parametrize("size", [1, 3, 4, 12])
    @pytest.mark.parametrize("length", [12, 11])
    def test_one_call_is_a_call_a_block(self, tmp_path: Path, size: int, length: int) -> None:
        model, K = blocks_of(lightning(tmp_path, {"block_size": size})), num_blocks(length, size)
        x0, masked, level = X0[:, :length], MASKED[:, :length], level_of(3 * K)
        together = block_token_nll(model, x0, masked, level)
        for k in range(K):
            start, stop = k * size, min((k + 1) * size, length)
            here = torch.cat((torch.zeros(3, start, dtype=torch.bool), masked[:, start:stop]), dim=1)
            of_blocks = level[torch.arange(3) * K + k]
            alone = masked_token_nll(model, x0[:, :stop], here, of_blocks)
            # In float32: logits of about 10, whose last digit is 1e-6; each bound is of 36 tokens of 3.6 nats or more.
            torch.testing.assert_close(together[:, start:stop], alone[:, start:], rtol=1e-6, atol=2e-6)

    def test_one_that_splits_is_the_same(self, tmp_path: Path) -> None:
        model, level = blocks_of(lightning(tmp_path)), level_of(9)
        assert isinstance(model, FactoredBlockDenoiser)
        assert torch.equal(model.head(model.block_hidden(XT, X0, level)), model.block_logits(XT, X0, level))

    def test_it_keeps_nothing_of_a_call(self, tmp_path: Path) -> None:
        model = blocks_of(lightning(tmp_path))
        assert isinstance(model, torch.nn.Module)
        assert_keeps_nothing(model, model)  # type: ignore[arg-type]

    def test_bfloat16_runs_the_same_weights(self, tmp_path: Path) -> None:
        full = blocks_of(lightning(tmp_path)).block_logits(XT, X0, level_of(9))
        low = load_model(tmp_path / "x.ckpt", adapter="bd3lm", device="cpu", dtype=torch.bfloat16)[1].model
        assert isinstance(low, BlockDenoiser)
        coarse = low.block_logits(XT, X0, level_of(9))
        assert coarse.dtype == torch.bfloat16
        assert 1e-3 < (coarse.float() - full).abs().max() < 0.5

    def test_without_modulation(self, tmp_path: Path) -> None:
        model = blocks_of(published(tmp_path, {"adaln": False}, UNMODULATED))
        assert model.time_conditioned is False
        logits = model.block_logits(XT, X0, level_of(9))
        nodes = oracle.nodes_of_halves(XT[1].tolist(), X0[1].tolist(), SIZE)
        torch.testing.assert_close(logits[1].double(), expected(nodes, UNMODULATED)[:LENGTH], rtol=0, atol=1e-4)


class TestTheNoiseItIsTold:
    def test_none_as_published(self, tmp_path: Path) -> None:
        model = blocks_of(lightning(tmp_path))
        assert model.time_conditioned is False
        assert torch.equal(model.block_logits(XT, X0, level_of(9)), model.block_logits(XT, X0, level_of(9, seed=1)))
        assert torch.equal(model.logits(XT, level_of(3)), model.logits(XT, level_of(3, seed=1)))

    def test_each_row_its_own_and_no_call_for_all_blocks(self, tmp_path: Path) -> None:
        adapted = lightning(tmp_path, {"algo.time_conditioning": True})
        model = adapted.model
        assert isinstance(model, Denoiser)
        assert isinstance(model, Bd3lmDenoiser)
        assert not isinstance(model, BlockDenoiser)
        assert (model.time_conditioned, model.block_size) == (True, SIZE)
        level = LogLinear().level_at(torch.tensor([0.3, 0.8, 1.0], dtype=torch.float64))
        rows = torch.cat((X0[:, :8], XT[:, 8:]), dim=1)
        logits = model.logits(rows, level)
        for row, sigma in enumerate([0.35667494, 1.60943791, 6.90775528]):  # -ln(0.7), -ln(0.2), -ln(0.001)
            nodes = oracle.nodes_of_row(rows[row].tolist(), SIZE)
            torch.testing.assert_close(logits[row].double(), expected(nodes, WEIGHTS, sigma), rtol=0, atol=1e-4)

    def test_one_block_has_one_level(self, tmp_path: Path) -> None:
        model = blocks_of(lightning(tmp_path, {"algo.time_conditioning": True, "block_size": LENGTH}))
        level = level_of(3)
        torch.testing.assert_close(model.block_logits(XT, X0, level), model.logits(XT, level), rtol=0, atol=1e-5)


class TestAScore:
    """As a user gets it: the command's own way from a file to a number."""

    def score(self, folder: Path, repository: Path, **settings: Any) -> Any:
        weights = make_mdlm_parameters(vocab_size=512)
        lightning(folder, weights=weights)
        given = {
            "adapter": "bd3lm", "data": [repository / "fixtures" / "corpora" / "tiny_val_000000.bin"],
            "tokenizer": repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model", "device": "cpu", "limit": 2,
        }  # fmt: skip
        return weights, evaluate(folder / "x.ckpt", **given | settings)

    @pytest.mark.parametrize("prefix", [0, 1, 5])
    def test_the_chain_rule_within_blocks(self, tmp_path: Path, repository: Path, prefix: int) -> None:
        settings = {"block_size": SIZE, "unpaid_prefix": prefix, "check_contract": not prefix}
        weights, result = self.score(tmp_path, repository, method="chain", **settings)
        tokens = np.fromfile(repository / "fixtures" / "corpora" / "tiny_val_000000.bin", dtype="<u2")[512:][:24]
        nats = 0.0
        for i, token in enumerate(tokens.tolist()):
            start, row = i // LENGTH * LENGTH, i % LENGTH
            if row < prefix:
                continue
            seen = [*tokens[start:i].tolist(), *[512] * (SIZE - row % SIZE)]
            nodes = oracle.nodes_of_row(seen, SIZE)
            scores = oracle.logits(weights, nodes, num_heads=MDLM_HEADS, num_layers=MDLM_BLOCKS)[row, :512]
            nats += float(np.log(np.exp(scores).sum()) - scores[token])
        assert result.relation == "="
        assert result.length.num_tokens == 2 * (LENGTH - prefix)
        assert result.length.nats == pytest.approx(nats, rel=1e-5)
        assert "|block:4|" in str(result)

    @pytest.mark.parametrize("prefix", [1, 5])
    def test_what_is_not_paid_for(
        self, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, prefix: int
    ) -> None:
        settings = {"method": "mc", "unpaid_prefix": prefix, "num_samples": 2, "check_contract": False}
        _, together = self.score(tmp_path, repository, **settings)
        monkeypatch.setattr(Job, "one_call_block_size", None)
        _, single = self.score(tmp_path, repository, **settings)
        assert together.length.nats == pytest.approx(single.length.nats, rel=1e-6)
        assert together.length.num_tokens == 2 * (LENGTH - prefix)
        assert f"|prefix:{prefix}|" in str(together)
        said = f"{2 * prefix} tokens, the first of 2 windows, are visible, not paid for and not counted"
        assert said in [remark.message for remark in together.remarks]

    @pytest.mark.parametrize("method", ["mc", "discrete"])
    def test_one_call_of_all_blocks_is_a_call_a_block(
        self, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, method: str
    ) -> None:
        _, together = self.score(tmp_path, repository, method=method)
        assert "|block:4|" in str(together)  # its own blocks, if nobody names a layout
        monkeypatch.setattr(Job, "one_call_block_size", None)
        _, single = self.score(tmp_path, repository, method=method)
        assert together.length.nats == pytest.approx(single.length.nats, rel=1e-6)
        assert (together.num_forward_tokens, single.num_forward_tokens) == (2 * 2 * 24, 2 * 2 * (4 + 8 + 12))

    @pytest.mark.parametrize("is_told", [False, True])
    def test_in_memory_it_is_scored_as_its_file_is(self, tmp_path: Path, repository: Path, is_told: bool) -> None:
        adapted = lightning(tmp_path, {"algo.time_conditioning": is_told}, weights=make_mdlm_parameters(vocab_size=512))
        given = {
            "data": [repository / "fixtures" / "corpora" / "tiny_val_000000.bin"], "method": "mc", "device": "cpu",
            "tokenizer": repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model", "limit": 2,
        }  # fmt: skip
        from_file = evaluate(tmp_path / "x.ckpt", adapter="bd3lm", **given)
        here = evaluate(adapted.model, schedule=str(adapted.schedule), name="x", **given)
        assert (here.length.nats, here.signature.block_size) == (from_file.length.nats, "4")
        assert here.num_forward_tokens == from_file.num_forward_tokens

    @pytest.mark.parametrize("layout", [{"block_size": 12}, {"stride": 6}, {"block_size": 2}])
    def test_other_layouts_are_refused_and_the_flag_is_named(
        self, tmp_path: Path, repository: Path, layout: dict[str, int]
    ) -> None:
        with pytest.raises(
            UsageError, match=r"blocks of 4 tokens.*: got \d+ targets in (several|a part) .*; pass --block-size 4$"
        ):
            self.score(tmp_path, repository, method="mc", **layout)


class TestWhatIsRead:
    def test_the_average_as_its_own_evaluator(self, tmp_path: Path) -> None:
        plain, level = blocks_of(lightning(tmp_path)).logits(XT, level_of(3)), level_of(3)
        averaged = lightning(tmp_path, average=AVERAGE)
        of_average = blocks_of(lightning(tmp_path, weights=AVERAGE)).logits(XT, level)
        assert torch.equal(blocks_of(lightning(tmp_path, average=AVERAGE)).logits(XT, level), of_average)
        assert averaged.notes[0] == "weights: the moving average (EMA), as its own evaluator uses"
        off = lightning(tmp_path, {"eval.disable_ema": True}, average=AVERAGE)
        assert torch.equal(blocks_of(off).logits(XT, level), plain)
        chosen = load_model(tmp_path / "x.ckpt", adapter="bd3lm", weights="ema", **CPU)[1]
        assert torch.equal(blocks_of(chosen).logits(XT, level), of_average)
        assert off.notes[0] == "weights as trained (no moving average)"

    @pytest.mark.parametrize("scale", [False, True, ...])
    def test_the_mask_rate_is_t_itself(self, tmp_path: Path, scale: Any) -> None:
        adapted = lightning(tmp_path, {"algo.mdlm_loss_scale": scale})
        assert adapted.schedule == (LogLinear(1e-3) if scale is True else LogLinear(0.0))

    def test_a_published_folder_is_the_same_network(self, tmp_path: Path) -> None:
        adapted = published(tmp_path)
        model = blocks_of(adapted)
        assert (model.block_size, model.context_length, adapted.schedule) == (SIZE, LENGTH, LogLinear(0.0))
        own, level = blocks_of(lightning(tmp_path)), level_of(9)
        assert torch.equal(model.block_logits(XT, X0, level), own.block_logits(XT, X0, level))

    @pytest.mark.parametrize("crosses", [True, False])
    def test_one_block_is_an_ordinary_denoiser(self, tmp_path: Path, crosses: bool) -> None:
        changes = {"block_size": LENGTH, "cross_attn": crosses}
        model = blocks_of(published(tmp_path, changes))
        nodes = [oracle.Node(token, i, tuple(range(LENGTH))) for i, token in enumerate(XT[0].tolist())]
        torch.testing.assert_close(
            model.logits(XT, level_of(3))[0].double(), expected(nodes, WEIGHTS), rtol=0, atol=1e-4
        )

    def test_notes(self, tmp_path: Path) -> None:
        assert lightning(tmp_path).notes[1:] == (
            "mask id 37 of 38 rows: appended, since the tokenizer gpt2 has none of its own",
            "blocks of 4 tokens, 3 of them a window",
            "its own evaluator averages over mask rates from 0.001 to 1, and does not pay for position 0 of a window "
            "(--unpaid-prefix 1 leaves it out); nor was that ever masked in training",
        )
        assert published(tmp_path, {"block_size": LENGTH}).notes[2:] == (
            "blocks of 12 tokens, one block is all of a window",
            "its own evaluator averages over mask rates from 0.001 to 1, and does not pay for position 0 of a window "
            "(--unpaid-prefix 1 leaves it out)",
        )

    def test_a_reference_to_the_window(self, tmp_path: Path) -> None:
        assert blocks_of(lightning(tmp_path, {"block_size": "${model.length}"})).block_size == LENGTH


OWN_LOADER = "the adapter 'bd3lm' has nothing that scores it; score it through a loader of your own (--model FILE.py:"


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("changes", "line"),
        [
            ({"algo.name": "mdlm"}, "x.ckpt: algo.name: got 'mdlm', expected bd3lm; the adapter 'bd3lm' has nothing "
             "that scores it; pass --adapter mdlm"),
            ({"algo.name": "ar"}, "expected bd3lm; the adapter 'bd3lm' has nothing that scores it; pass --adapter mdl"),
            ({"algo.name": ...}, "algo.name: got none stated, expected bd3lm"),
            ({"algo.name": "sedd"}, f"algo.name: got 'sedd', a score network, expected bd3lm; {OWN_LOADER}"),
            ({"algo.name": "flow"}, "algo.name: got 'flow', expected bd3lm"),
            ({"algo.parameterization": "sedd"}, "parameterization: got 'sedd', expected subs: networks that predict "
             f"the clean token; {OWN_LOADER}"),
            ({"algo.parameterization": "ar"}, "parameterization: got 'ar'"),
            ({"algo.parameterization": "d3pm"}, "parameterization: got 'd3pm'"),
            ({"algo.parameterization": ...}, "parameterization: got none stated"),
            ({"algo.backbone": "hf_dit"}, "backbone: got 'hf_dit', expected dit"),
            ({"algo.backbone": "dimamba"}, "backbone: got 'dimamba', expected dit"),
            ({"diffusion": "uniform"}, "diffusion: got 'uniform', expected absorbing_state"),
            ({"model.type": "unet"}, "model.type: got 'unet', expected ddit"),
            ({"algo.causal_attention": True}, "causal attention: got True, expected False: within a block both sides"),
            ({"model.causal_attention": True}, "two settings contradict each other"),
            ({"algo.cross_attn": False}, "cross_attn: got False with block_size 4: noised blocks that see each other, "
             "expected true, or one block of 12, the window"),
            ({"algo.cross_attn": ...}, "cross_attn: got none stated, expected true or false"),
            ({"algo.cross_attn": 1}, "cross_attn: got 1, expected true or false"),
            ({"algo.time_conditioning": ...}, "time_conditioning: got none stated"),
            ({"block_size": 5}, "x.ckpt: block_size: got 5, expected a divisor of 12, the window"),
            ({"block_size": 24}, "block_size: got 24"),
            ({"block_size": 0}, "block_size: got 0"),
            ({"block_size": True}, "block_size: got True"),
            ({"block_size": "four"}, "block_size: got 'four'"),
            ({"block_size": ...}, "block_size: got none stated, expected a divisor of 12"),
            ({"model.block_size": 6}, "two settings contradict each other: got block_size = 4, model.block_size = 6"),
            ({"model.length": ...}, "model.length: got None, expected a positive integer"),
            ({"model.n_heads": 6}, "model.n_heads: got 6, expected 3, as the tensors are"),
            ({"noise.type": "square"}, "noise.type: got 'square', expected loglinear"),
            ({"noise.type": "cosine"}, "noise.type: got 'cosine' under algo"),
            ({"noise.type": ...}, "noise.type: got none stated"),
            ({"noise.eps": 0.01}, "noise.eps of 'loglinear': got 0.01, expected 0.001"),
            ({"data.num_classes": 10}, "data.num_classes: got 10, expected none"),
            ({"algo.gating": True}, "settings that the adapter 'bd3lm' does not know: got hyper_parameters.config.alg"),
            ({"model.rope_base": 5}, "does not know: got hyper_parameters.config.model.rope_base = 5"),
        ],
    )  # fmt: skip
    def test_settings_of_another_network(self, tmp_path: Path, changes: dict[str, Any], line: str) -> None:
        with pytest.raises(CheckpointError) as caught:
            lightning(tmp_path, changes)
        assert line in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("changes", "line"),
        [
            ({"model_type": "mdlm"}, "does not fit the adapter 'bd3lm'"),
            ({"causal": True}, "causal attention: got True, expected False"),
            ({"cross_attn": False}, "cross_attn: got False with block_size 4"),
            ({"cross_attn": ...}, "cross_attn: got none stated"),
            ({"adaln": False}, "adaln: got False, expected True, as the tensors are"),
            ({"block_size": ...}, "block_size: got none stated"),
            ({"time_conditioning": ...}, "time_conditioning: got none stated"),
            ({"hidden_dim": 25}, "hidden_dim: got 25, expected 24, as the tensors are"),
            ({"rope_theta": 10}, "does not know: got rope_theta = 10"),
        ],
    )
    def test_folders(self, tmp_path: Path, changes: dict[str, Any], line: str) -> None:
        with pytest.raises(CheckpointError) as caught:
            published(tmp_path, changes)
        assert line in str(caught.value)

    def test_a_lightning_file_without_the_embedding_of_the_noise(self, tmp_path: Path) -> None:
        with pytest.raises(
            CheckpointError, match=r"lacks the tensor backbone\.sigma_map\.mlp\.0\.weight: expected a n"
        ):
            lightning(tmp_path, weights=UNMODULATED)

    def test_tensors_that_nothing_uses(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"tensors that the adapter 'bd3lm' does not use: got backbone\.gate"):
            published(tmp_path, weights={**WEIGHTS, "gate": torch.ones(2)})

    def test_the_older_adapter_names_this_one(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"algo\.name: got 'bd3lm', block diffusion.*; pass --adapter bd3lm$"):
            lightning(tmp_path, adapter="mdlm")
        with pytest.raises(CheckpointError, match="does not name its adapter; those that fit: bd3lm; pass --adapter"):
            lightning(tmp_path, adapter=None)
