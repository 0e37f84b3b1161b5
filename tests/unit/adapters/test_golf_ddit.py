"""The contest's masked diffusion of #820: a second forward pass, its bound, what must be stated, what is refused."""

from __future__ import annotations

import io
import math
from itertools import pairwise, product
from pathlib import Path

import pyarrow
import pytest
import torch
from torch import Tensor

from bpb_harness.adapters import AdaptedModel, load_model
from bpb_harness.adapters.golf_ddit import GolfDdit
from bpb_harness.checkpoints import save_checkpoint
from bpb_harness.contract import check_denoiser
from bpb_harness.denoiser import PickingDenoiser
from bpb_harness.errors import HarnessError, UsageError
from bpb_harness.estimators.exact import ExactBound
from bpb_harness.schedule import LogLinear
from tests.golf_forward import ddit_logits
from tests.stateless import assert_keeps_nothing
from tests.tiny_checkpoints import make_golf_ddit, make_golf_prefix

SETTINGS = {"num_heads": 4, "train_seq_len": 600, "time_conditioning": 1}


def stated(**changes: object) -> list[str]:
    return [f"{name}={value}" for name, value in (SETTINGS | changes).items() if value is not None]


def loaded(folder: Path, tensors: object, words: list[str], dtype: torch.dtype = torch.float32) -> AdaptedModel:
    torch.save(tensors, folder / "x.pt")
    return load_model(folder / "x.pt", adapter="golf-ddit", stated=words, device="cpu", dtype=dtype)[1]


def refusal(folder: Path, tensors: object, words: list[str]) -> str:
    with pytest.raises(HarnessError) as caught:
        loaded(folder, tensors, words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("sizes", "changes"),
    [
        ({}, {}),
        ({"num_heads": 2, "kv_heads": 2, "num_blocks": 1}, {"num_heads": 2, "rope_base": 500}),
        ({"num_heads": 3, "kv_heads": 1, "num_blocks": 3}, {"num_heads": 3, "time_conditioning": 0}),
    ],
)
def test_it_equals_an_independent_forward_pass(tmp_path, sizes, changes):
    tensors = make_golf_ddit(**sizes)
    adapted = loaded(tmp_path, tensors, stated(**changes))
    model, heads = adapted.model, changes.get("num_heads", 4)
    assert isinstance(model, GolfDdit)
    assert isinstance(model, PickingDenoiser)
    assert (model.vocab_size, model.mask_token_id, model.context_length) == (50, 50, 600)
    assert model.time_conditioned == bool(changes.get("time_conditioning", 1))
    assert adapted.schedule == LogLinear(1e-3)
    xt = torch.randint(51, (3, 13), generator=torch.Generator().manual_seed(1))
    level = LogLinear(1e-3).level(torch.tensor([0.1, 0.5, 1.0]))
    logits = model.logits(xt, level)
    for row in range(3):
        sigma = float(level.sigma[row]) if model.time_conditioned else 0.0
        expected = ddit_logits(tensors, xt[row].tolist(), sigma, heads, changes.get("rope_base", 1e4))
        torch.testing.assert_close(logits[row].double(), expected, atol=2e-4, rtol=2e-4)
    hidden = model.hidden(xt, level)
    torch.testing.assert_close(model.head(hidden), logits)
    for positions in (torch.tensor([3, 17, 17, 38]), torch.arange(39)):
        torch.testing.assert_close(model.hidden_at(xt, level, positions), hidden.flatten(0, 1)[positions])
    assert_keeps_nothing(model, model)


def test_positions_beyond_256_are_told_apart_and_frequencies_are_rounded(tmp_path):
    """Its script's lines, run without compilation, would give 257 the angle of 256."""
    tensors = make_golf_ddit(num_blocks=1, num_heads=1, kv_heads=1)
    model = loaded(tmp_path, tensors, stated(num_heads=1)).model
    xt = torch.randint(51, (1, 600), generator=torch.Generator().manual_seed(2))
    level = LogLinear(1e-3).level(torch.tensor([0.7]))
    expected = ddit_logits(tensors, xt[0].tolist(), float(level.sigma[0]), 1)
    torch.testing.assert_close(model.logits(xt, level)[0].double(), expected, atol=2e-4, rtol=2e-4)
    assert not torch.equal(model.cos[256], model.cos[257])
    exact = torch.outer(torch.arange(600.0), 10_000.0 ** -(torch.arange(0, 24, 2) / 24)).cos()
    assert (model.cos - exact).abs().max() > 0.1


def subs_nats(tensors: dict[str, Tensor], seen: list[int], sigma: float, clean: tuple[int, ...]) -> float:
    """What the masked tokens cost, the mask's own probability taken out."""
    logits = ddit_logits(tensors, seen, sigma, 4)
    mask = logits.shape[1] - 1
    prices = -torch.log_softmax(logits[:, :mask], -1)
    return sum(float(prices[i, clean[i]]) for i, token in enumerate(seen) if token == mask)


def test_its_discrete_bound_is_that_of_its_own_evaluator_in_expectation(tmp_path):
    """All masks: alpha(1) L ln V + the sum over steps of (a_(i-1) - a_i) / (1 - a_i) E[C], as its script has it."""
    tensors, clean, steps = make_golf_ddit(vocab_size=5), (3, 0, 4), 4
    alphas = [1.0] + [1.0 - 0.999 * i / steps for i in range(1, steps + 1)]
    wanted = alphas[-1] * len(clean) * math.log(5)
    for before, alpha in pairwise(alphas):
        for hidden in product((False, True), repeat=len(clean)):
            count = sum(hidden)
            chance = (1 - alpha) ** count * alpha ** (len(clean) - count)
            seen = [5 if is_hidden else token for is_hidden, token in zip(hidden, clean, strict=True)]
            cost = subs_nats(tensors, seen, -math.log(alpha), clean) if count else 0.0
            wanted += (before - alpha) / (1 - alpha) * chance * cost
    model = loaded(tmp_path, tensors, stated()).model
    assert isinstance(model, GolfDdit)
    found = ExactBound(LogLinear(1e-3), num_steps=steps).window_nats(model, torch.tensor([clean]))
    assert float(found[0]) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("conditioned", [0, 1])
def test_it_keeps_the_contract(tmp_path, conditioned, dtype):
    model = loaded(tmp_path, make_golf_ddit(), stated(time_conditioning=conditioned), dtype).model
    windows = torch.randint(50, (4, 20), generator=torch.Generator().manual_seed(3))
    findings = check_denoiser(model, windows, schedule=LogLinear(1e-3), seed=1, dtype=dtype)
    assert {finding.code for finding in findings} <= {"contract.mask-mass"}


def test_every_tensor_and_every_setting_decides(tmp_path):
    tensors = make_golf_ddit()
    xt = torch.randint(51, (2, 9), generator=torch.Generator().manual_seed(4))
    level = LogLinear(1e-3).level(torch.tensor([0.3, 0.9]))
    plain = loaded(tmp_path, tensors, stated())
    before = plain.model.logits(xt, level)
    for name, value in tensors.items():
        moved = value + 0.1 * value.abs().mean() * torch.randn_like(value)
        after = loaded(tmp_path, {**tensors, name: moved}, stated()).model
        assert not torch.allclose(before, after.logits(xt, level)), name
    for change in ({"num_heads": 2}, {"time_conditioning": 0}, {"rope_base": 500}):
        other = loaded(tmp_path, tensors, stated(**change))
        assert not torch.allclose(before, other.model.logits(xt, level)), change
        assert other.adapter != plain.adapter
    assert loaded(tmp_path, tensors, stated(train_seq_len=64)).model.context_length == 64


def test_gradients_reach_every_tensor(tmp_path):
    """As --ttt needs."""
    model = loaded(tmp_path, make_golf_ddit(), stated()).model
    assert isinstance(model, GolfDdit)
    model.requires_grad_(True)
    level = LogLinear(1e-3).level(torch.tensor([0.3, 0.9]))
    model.logits(torch.tensor([[50, 1, 2], [50, 50, 7]]), level).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in model.parameters())


def test_bfloat16_is_close_and_not_equal(tmp_path):
    xt = torch.randint(51, (2, 19), generator=torch.Generator().manual_seed(1))
    level = LogLinear(1e-3).level(torch.tensor([0.1, 0.5]))
    exact, rough = (
        loaded(tmp_path, make_golf_ddit(), stated(), dtype).model.logits(xt, level)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert 0 < (exact - rough).abs().max() < 0.2 * exact.abs().max()


def test_what_stands_in_no_tensor_is_said_and_stands_in_the_signature(tmp_path):
    tensors = make_golf_ddit(width=32, num_heads=8, kv_heads=4)
    adapted = loaded(tmp_path, tensors, ["golf_preset=2026-03-25"])
    assert adapted.adapter == "golf-ddit[num_heads=8,train_seq_len=512,time_conditioning=1,rope_base=10000]"
    assert adapted.adapter == loaded(tmp_path, tensors, stated(num_heads=8, train_seq_len=512)).adapter
    assert adapted.notes == (
        "vocabulary of 50 and mask id 50, the row behind it",
        "what stands in no tensor comes from --golf-preset 2026-03-25 and --golf-setting: num_heads=8, "
        "train_seq_len=512, time_conditioning=1, rope_base=10000",
        "no tensor says, and the contest's are taken: squared ReLU, norms without weights, rotation behind the norms "
        "of queries and keys; a network that has others is scored as another one",
    )
    assert not adapted.context_is_guess
    path = tmp_path / "native.pt"
    save_checkpoint(path, tensors=tensors, adapter="golf-ddit", config={}, schedule="loglinear[0.01]")
    assert load_model(path, stated=["golf_preset=2026-03-25"])[1].schedule == LogLinear(0.01)


def test_the_int6_file_of_its_code_is_read(tmp_path):
    """int8 levels in steps of 4, a float16 scale a row; small tensors in float16; zstd around it."""
    tensors = make_golf_ddit()
    parts: dict[str, dict[str, object]] = {
        part: {} for part in ("quantized", "scales", "dtypes", "passthrough", "passthrough_orig_dtypes", "qmeta")
    }
    wanted = {}
    for name, value in tensors.items():
        dtype = str(value.dtype).removeprefix("torch.")
        if value.ndim == 2 and "blocks" in name:
            scale = (value.abs().amax(1) / 127).half()
            levels = ((value / scale.float()[:, None] / 4).round() * 4).clamp(-128, 124).to(torch.int8)
            parts["quantized"][name], parts["scales"][name], parts["dtypes"][name] = levels, scale, dtype
            parts["qmeta"][name] = {"scheme": "per_row", "axis": 0}
            wanted[name] = levels.float() * scale.float()[:, None]
        else:
            parts["passthrough"][name], parts["passthrough_orig_dtypes"][name] = value.half(), dtype
            wanted[name] = value.half().to(value.dtype).float()
    buffer = io.BytesIO()
    torch.save({"__quant_format__": "int8_clean_per_row_v1", **parts}, buffer)
    path = tmp_path / "final_model.int8.ptz"
    path.write_bytes(pyarrow.Codec("zstd").compress(buffer.getvalue(), asbytes=True))
    model = load_model(path, adapter="golf-ddit", stated=stated())[1].model
    assert isinstance(model, GolfDdit)
    held = model.state_dict()
    assert held.keys() == wanted.keys()
    assert all(torch.equal(held[name], value) for name, value in wanted.items())


def test_it_is_named_where_no_adapter_is(tmp_path):
    torch.save(make_golf_ddit(), tmp_path / "x.pt")
    for adapter in (None, "golf-mdlm"):
        with pytest.raises(HarnessError) as caught:
            load_model(tmp_path / "x.pt", adapter=adapter)
        assert "golf-ddit comes closest and refuses it: x.pt: a masked-diffusion entry" in str(caught.value)
    torch.save(make_golf_prefix(), tmp_path / "y.pt")
    with pytest.raises(UsageError, match="expected a file for the adapter 'golf-gpt' or 'golf-ddit'; leave them out"):
        load_model(tmp_path / "y.pt", adapter="golf-prefix", stated=stated())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no tensor says num_heads, train_seq_len, time_conditioning; pass --golf-preset 2026-03-25, or --golf-s"),
        (stated(num_heads=None), "no tensor says num_heads; pass"),
        (["golf_preset=2026-03-23"], "--golf-preset: got '2026-03-23', expected one of 2026-03-25"),
        (stated(xsa_last_n=1), "expected one of num_heads, train_seq_len, time_conditioning, rope_base"),
        (stated(time_conditioning=2), "--golf-setting time_conditioning: got '2', expected 0 or 1"),
        (stated(train_seq_len=0), "--golf-setting train_seq_len: got '0', expected a whole number"),
        (stated(rope_base=-1), "--golf-setting rope_base: got '-1', expected a positive number"),
        (["golf_preset=2026-03-25"], "sizes: got 51 rows of vocab_embed, width 24, num_heads 8, key width 12"),
        (stated(num_heads=5), "num_heads 5, key width 12"),
        (stated(num_heads=1), "num_heads 1, key width 12"),
        (stated(num_heads=24), "num_heads 24, key width 12"),
        (stated(num_heads=99), "num_heads 99, key width 12"),
    ],
)
def test_what_is_not_stated_or_does_not_fit_is_refused(tmp_path, words, said):
    assert said in refusal(tmp_path, make_golf_ddit(num_blocks=1), words)


def test_key_heads_that_do_not_divide_the_heads_are_refused(tmp_path):
    tensors = make_golf_ddit(num_blocks=1, num_heads=3, kv_heads=2)
    assert "num_heads 3, key width 16" in refusal(tmp_path, tensors, stated(num_heads=3))


def test_every_tensor_is_needed_in_its_shape_and_no_other(tmp_path):
    tensors = make_golf_ddit(num_blocks=1)
    for name, value in tensors.items():
        refusal(tmp_path, {other: kept for other, kept in tensors.items() if other != name}, stated())
        refusal(tmp_path, {**tensors, name: torch.cat((value, value))}, stated())
        assert name in refusal(tmp_path, {**tensors, name: torch.full_like(value, math.nan)}, stated())


VARIANTS = {
    "gain": ({"blocks.0.attn.q_gain": torch.ones(4)}, {}, "does not use: got blocks.0.attn.q_gain"),
    "norm": ({"blocks.0.norm1.weight": torch.ones(24)}, {}, "does not use: got blocks.0.norm1.weight"),
    "no bias": ({"blocks.0.attn.c_q.bias": torch.ones(24)}, {}, "does not use: got blocks.0.attn.c_q.bias"),
    "narrow": ({"vocab_embed.weight": torch.ones(2, 24)}, {}, "sizes: got 2 rows of vocab_embed"),
    "odd waves": ({"sigma_map.mlp.0.weight": torch.ones(10, 11)}, {}, "11 features of sigma"),
    "heads": ({}, {"num_heads": 2}, "x.pt: args.num_heads: got 2, expected 4, as the adapter 'golf-ddit' builds it"),
    "vocabulary": ({}, {"vocab_size": 51}, "x.pt: args.vocab_size: got 51, expected 50"),
    "noise": ({}, {"noise_eps": 0.1}, "x.pt: args.noise_eps: got 0.1, expected 0.001"),
    "untimed": ({}, {"time_conditioning": False}, "x.pt: args.time_conditioning: got False, expected True"),
    "causal": ({}, {"causal": True}, "x.pt: args.causal: got True, expected False"),
    "unknown": ({}, {"self_conditioning": 1}, "has settings that the adapter 'golf-ddit' does not know"),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_refused_by_name(tmp_path, name):
    changed, config, words = VARIANTS[name]
    tensors = {**make_golf_ddit(num_blocks=1), **changed}
    assert words in refusal(tmp_path, {"model": tensors, "args": config} if config else tensors, stated())
