"""The contest's prefix-conditioned diffusion: against a second forward pass, its step, its window, its refusals."""

from __future__ import annotations

import io
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bpb_harness.adapters import load_model
from bpb_harness.adapters.golf_prefix import GolfPrefix
from bpb_harness.checkpoints import save_checkpoint
from bpb_harness.contract import check_denoiser
from bpb_harness.denoiser import ContextDenoiser, denoiser_logits, masked_nll, num_clean_tokens
from bpb_harness.errors import CheckpointError
from bpb_harness.evaluation.api import evaluate
from bpb_harness.schedule import LogLinear, NoiseLevel
from tests.golf_forward import golf_gpt_logits
from tests.tiny_checkpoints import make_golf_gpt, make_golf_prefix

_CPU = {"device": torch.device("cpu"), "dtype": torch.float32}
MASK = 2


def loaded(folder: Path, tensors: dict[str, Tensor] | None = None, dtype=torch.float32, **config) -> GolfPrefix:
    content = make_golf_prefix() if tensors is None else tensors
    torch.save({"model": content, "args": config} if config else content, folder / "x.pt")
    model = load_model(folder / "x.pt", adapter="golf-prefix", device=torch.device("cpu"), dtype=dtype)[1].model
    assert isinstance(model, GolfPrefix)
    return model


def refusal(folder: Path, tensors: dict[str, Tensor] | None = None, **config) -> str:
    with pytest.raises(CheckpointError) as caught:
        loaded(folder, tensors, **config)
    return str(caught.value)


def prefix_logits(tensors: dict[str, Tensor], tokens: list[int], step: int, context: int) -> Tensor:
    """(L, V) for one row, a second time."""
    times, roles = tensors["time_emb.weight"].double(), tensors["role_emb.weight"].double()
    added = torch.stack([times[step] + roles[0 if i < context else 1] for i in range(len(tokens))])
    backbone = {name: value for name, value in tensors.items() if "time_emb" not in name and "role_emb" not in name}
    return golf_gpt_logits(backbone, tokens, added)


def rate(*u: float) -> NoiseLevel:
    return LogLinear().level_at(torch.tensor(u, dtype=torch.float64))


@pytest.mark.parametrize(
    ("sizes", "num_steps", "untied"),
    [({}, 8, False), ({"num_blocks": 1, "num_heads": 2, "kv_heads": 2}, 3, True), ({"num_blocks": 4}, 1, False)],
)
def test_it_equals_an_independent_forward_pass(tmp_path, sizes, num_steps, untied):
    tensors = make_golf_prefix(num_steps=num_steps, **sizes)
    if untied:
        tensors["lm_head.weight"] = torch.randn(50, 24, generator=torch.Generator().manual_seed(5))
    model = loaded(tmp_path, tensors)
    assert (model.vocab_size, model.mask_token_id, model.num_steps) == (50, MASK, num_steps)
    assert num_clean_tokens(model) == 49
    assert model.time_conditioned
    assert isinstance(model, ContextDenoiser)
    xt = torch.randint(50, (4, 13), generator=torch.Generator().manual_seed(1))
    level, contexts = rate(1 / num_steps, 1.0, 1.0, 0.5), torch.tensor([0, 4, 12, 13])
    steps = [1, num_steps, num_steps, {8: 4, 3: 2, 1: 1}[num_steps]]
    given, plain = model.logits_given(xt, level, contexts), model.logits(xt, level)
    for row in range(4):
        for logits, context in ((given, int(contexts[row])), (plain, 0)):
            expected = prefix_logits(tensors, xt[row].tolist(), steps[row], context)
            torch.testing.assert_close(logits[row].double(), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(given[0], plain[0])
    assert not torch.allclose(given[1], plain[1])


def chain_nats(tensors: dict[str, Tensor], tokens: list[int], first: int) -> list[float]:
    """Left to right, a second time: the rest is masked, its prefix given, the last step told; the mask gets no mass."""
    nats = []
    for p in range(first, len(tokens)):
        seen = tokens[:p] + [MASK] * (len(tokens) - p)
        logits = prefix_logits(tensors, seen, len(tensors["time_emb.weight"]) - 1, p)[p].tolist()
        total = math.fsum(math.exp(value) for token, value in enumerate(logits) if token != MASK)
        nats.append(math.log(total) - logits[tokens[p]])
    return nats


def left_to_right(model: ContextDenoiser, windows: Tensor, first: int) -> Tensor:
    """The same by way of the harness: a row a position, contexts that grow, u = 1; (N, L - first)."""
    length = windows.shape[1]
    places = torch.arange(first, length)
    level = rate(*[1.0] * len(places))
    rows = []
    for window in windows:
        x0, at = window.expand(len(places), -1), places.unsqueeze(1)
        xt = x0.masked_fill(torch.arange(length) >= at, model.mask_token_id)
        only = torch.arange(length) == at
        logits = denoiser_logits(model, xt, level, context_lengths=places)
        logits[..., model.mask_token_id] = -torch.inf
        rows.append(-torch.log_softmax(logits[only], -1).gather(1, window[places].unsqueeze(1))[:, 0])
    return torch.stack(rows)


@pytest.mark.parametrize("num_steps", [1, 8])
def test_left_to_right_with_what_is_paid_as_context(tmp_path, num_steps):
    """Position 0 is neither paid nor counted; every step is told u = 1."""
    tensors = make_golf_prefix(num_steps=num_steps)
    model = loaded(tmp_path, tensors)
    windows = torch.randint(3, 50, (2, 9), generator=torch.Generator().manual_seed(2))
    expected = [chain_nats(tensors, window.tolist(), 1) for window in windows]
    found = left_to_right(model, windows, 1)
    torch.testing.assert_close(found.double(), torch.tensor(expected, dtype=torch.float64), atol=1e-4, rtol=1e-5)
    # One position after another: what is masked behind it and its price there.
    x0, masked = windows[:1], torch.arange(9).unsqueeze(0) == 8
    last = masked_nll(model, x0, masked, rate(1.0), context_lengths=torch.tensor([8]))
    assert float(last[0]) == pytest.approx(expected[0][-1], abs=1e-4)


@pytest.mark.parametrize("num_steps", [1, 3, 8])
def test_the_step_is_that_of_the_nearest_rate_and_at_least_one(tmp_path, num_steps):
    model = loaded(tmp_path, make_golf_prefix(num_steps=num_steps, num_blocks=1))
    trained = [step / num_steps for step in range(1, num_steps + 1)]
    for step, u in enumerate(trained, 1):
        for off in (0.0, 1e-9, -1e-9, 0.4 / num_steps, -0.4 / num_steps):
            assert model.steps(rate(min(u + off, 1.0))).tolist() == [step]
        for schedule in (LogLinear(1e-3), LogLinear()):  # what is told is the rate, whatever the time
            level = schedule.level_at(torch.tensor([min(u, schedule.max_mask_rate)], dtype=torch.float64))
            assert model.steps(level).tolist() == [step]
        assert model.steps(rate(max(u - 0.5 / num_steps, 1e-12))).tolist() == [step]  # of two as near, the noisier
    assert model.steps(rate(0.0, 1e-6, 0.01)).tolist() == [1, 1, 1]  # step 0 was never trained
    assert model.steps(rate(0.5)).dtype == torch.int64


def test_rows_have_steps_of_their_own(tmp_path):
    tensors = make_golf_prefix()
    model = loaded(tmp_path, tensors)
    xt = torch.randint(50, (1, 7), generator=torch.Generator().manual_seed(3)).expand(3, -1)
    logits = model.logits_given(xt, rate(0.25, 0.5, 1.0), torch.tensor([3, 3, 3]))
    for row, step in enumerate((2, 4, 8)):
        expected = prefix_logits(tensors, xt[row].tolist(), step, 3)
        torch.testing.assert_close(logits[row].double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seed", range(3))
def test_it_keeps_the_contract(tmp_path, seed, dtype):
    model = loaded(tmp_path, make_golf_prefix(seed=seed), dtype=dtype)
    windows = torch.randint(3, 50, (4, 20), generator=torch.Generator().manual_seed(seed))
    findings = check_denoiser(model, windows, schedule=LogLinear(), seed=seed, dtype=dtype)
    assert {finding.code for finding in findings} <= {"contract.mask-mass"}


def test_every_tensor_decides(tmp_path):
    tensors = make_golf_prefix(num_blocks=2)
    xt = torch.randint(50, (9, 7), generator=torch.Generator().manual_seed(4))
    level, contexts = rate(*[step / 8 for step in range(9)]), torch.full((9,), 3)
    before = loaded(tmp_path, tensors).logits_given(xt, level, contexts)
    for name, value in tensors.items():
        after = loaded(tmp_path, {**tensors, name: value + 0.1 * value.abs().mean() * torch.randn_like(value)})
        assert not torch.allclose(before, after.logits_given(xt, level, contexts)), name


def test_bfloat16_is_close_and_not_equal(tmp_path):
    xt = torch.randint(50, (2, 19), generator=torch.Generator().manual_seed(1))
    exact, rough = (
        loaded(tmp_path, dtype=dtype).logits_given(xt, rate(0.5, 1.0), torch.tensor([3, 9]))
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert 0 < (exact - rough).abs().max() < 0.2 * exact.abs().max()


def test_what_stands_in_no_file_is_said(tmp_path):
    torch.save(make_golf_prefix(), tmp_path / "x.pt")
    _, adapted = load_model(tmp_path / "x.pt", adapter="golf-prefix", **_CPU)
    assert adapted.adapter == "golf-prefix"
    assert adapted.schedule == LogLinear()
    assert not adapted.context_is_guess
    assert (adapted.window_length, adapted.model.context_length) == (512, 1024)
    assert adapted.notes == (
        "mask id 2, inside the vocabulary, is the contest entry's; rotary base 10000 and logit cap 30 are the "
        "contest's",
        "at mask rate u of the targets the network is told the nearest of its steps 1 to 8, round(8 u)",
        "no tensor says, and the contest's are taken: squared ReLU, norms without weights, rotation behind the norms "
        "of queries and keys; a network that has others is scored as another one",
        "windows are 512 tokens unless --context says otherwise (at most 1024): the file does not say what it was "
        "trained on",
    )
    stated = {"seq_len": 64, "diffusion_mask_token_id": 7, "diffusion_num_steps": 8, "diffusion_enabled": True}
    stated |= {"diffusion_min_prefix": 16, "diffusion_eval_max_seqs": 4, "model_dim": 24, "seed": 1}
    torch.save({"model": make_golf_prefix(), "args": stated}, tmp_path / "y.pt")
    _, adapted = load_model(tmp_path / "y.pt", adapter="golf-prefix", **_CPU)
    assert (adapted.model.context_length, adapted.window_length, adapted.model.mask_token_id) == (64, None, 7)
    assert adapted.notes[0].startswith("mask id 7, inside the vocabulary, is stated;")
    assert len(adapted.notes) == 3


def test_a_native_file_names_its_schedule(tmp_path):
    path = tmp_path / "x.pt"
    save_checkpoint(path, tensors=make_golf_prefix(), adapter="golf-prefix", config={}, schedule="loglinear[0.001]")
    assert load_model(path, **_CPU)[1].schedule == LogLinear(1e-3)


def test_the_int8_file_of_its_code_is_read(tmp_path):
    tensors = make_golf_prefix()
    stored = {
        "quantized": {},
        "scales": {},
        "dtypes": {},
        "passthrough": {},
        "passthrough_orig_dtypes": {},
        "qmeta": {},
    }
    for name, value in tensors.items():
        if value.ndim == 2 and "blocks" in name and "resid" not in name:
            scale = value.abs().amax(1) / 127
            stored["quantized"][name] = (value / scale[:, None]).round().to(torch.int8)
            stored["scales"][name], stored["dtypes"][name] = scale, "float32"
            stored["qmeta"][name] = {"scheme": "per_row", "axis": 0}
        else:
            stored["passthrough"][name] = value
    buffer = io.BytesIO()
    torch.save({"__quant_format__": "int8_clean_per_row_v1", **stored}, buffer)
    (tmp_path / "x.int8.ptz").write_bytes(zlib.compress(buffer.getvalue()))
    model = load_model(tmp_path / "x.int8.ptz", adapter="golf-prefix", **_CPU)[1].model
    assert isinstance(model, GolfPrefix)
    assert torch.equal(model.time_emb.weight, tensors["time_emb.weight"])
    assert 0 < (model.blocks[0].attn.c_q.weight - tensors["blocks.0.attn.c_q.weight"]).abs().max() < 0.01


def test_it_is_not_taken_for_the_autoregressive_baseline(tmp_path):
    torch.save(make_golf_prefix(), tmp_path / "x.pt")
    for adapter in (None, "golf-gpt"):
        with pytest.raises(CheckpointError, match="those that fit: golf-prefix; pass --adapter NAME"):
            load_model(tmp_path / "x.pt", adapter=adapter, **_CPU)
    torch.save(make_golf_gpt(), tmp_path / "y.pt")
    with pytest.raises(CheckpointError, match="does not fit the adapter 'golf-prefix'; those that fit: golf-gpt"):
        load_model(tmp_path / "y.pt", adapter="golf-prefix", **_CPU)


def test_every_tensor_is_needed_in_its_shape_and_no_other(tmp_path):
    tensors = make_golf_prefix(num_blocks=2)
    for name, value in tensors.items():
        refusal(tmp_path, {other: kept for other, kept in tensors.items() if other != name})
        refusal(tmp_path, {**tensors, name: torch.cat((value, value), dim=-1)})
        assert name in refusal(tmp_path, {**tensors, name: torch.full_like(value, math.nan)})
    assert "surplus" in refusal(tmp_path, {**tensors, "surplus": torch.ones(2)})


REFUSALS = {
    "one step": ({"time_emb.weight": torch.ones(1, 24)}, {}, "x.pt: time_emb.weight: got 1 row, expected 2 or more"),
    "three roles": (
        {"role_emb.weight": torch.ones(3, 24)}, {}, "x.pt: role_emb.weight: got 3 rows, expected 2: prefix and suffix"
    ),
    "narrow steps": ({"time_emb.weight": torch.ones(9, 8)}, {}, "x.pt: time_emb.weight: got [9, 8], expected [9, 24]"),
    "other steps": ({}, {"diffusion_num_steps": 16}, "x.pt: args.diffusion_num_steps: got 16, expected 8, as the"),
    "no diffusion": ({}, {"diffusion_enabled": False}, "x.pt: args.diffusion_enabled: got False, expected True"),
    "mask behind": ({}, {"mask_token_id": 50}, "x.pt: mask id: got 50, expected an id below 50, the rows of tok_emb"),
    "mask below": ({}, {"mask_token_id": -1}, "x.pt: mask id: got -1, expected an id below 50"),
    "mask no id": ({}, {"mask_id": "[MASK]"}, "x.pt: mask id: got '[MASK]', expected an id below 50"),
    "mask a truth": ({}, {"mask_id": True}, "x.pt: mask id: got True, expected an id below 50"),
    "window": ({}, {"seq_len": 0}, "x.pt: context length: got 0, expected a positive integer"),
    "untimed": ({}, {"time_conditioning": False}, "x.pt: args.time_conditioning: got False, expected True"),
    "both ways": ({}, {"causal": False}, "x.pt: args.causal: got False, expected True"),
    "other base": ({}, {"rope_base": 500.0}, "x.pt: args.rope_base: got 500.0, expected 10000.0"),
    "unknown": ({}, {"diffusion_remask": 0.5}, "has settings that the adapter 'golf-prefix' does not know"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_what_it_does_not_understand_is_refused_by_name(tmp_path, name):
    changed, stated, words = REFUSALS[name]
    assert words in refusal(tmp_path, {**make_golf_prefix(num_blocks=2), **changed}, **stated)


def test_a_vocabulary_without_the_mask_is_refused(tmp_path):
    assert "mask id: got 2, expected an id below 2" in refusal(tmp_path, make_golf_prefix(vocab_size=2))


def test_windows_are_its_own_unless_others_are_asked_for(tmp_path):
    folder = Path("fixtures")
    torch.save(make_golf_prefix(vocab_size=512, num_blocks=1), tmp_path / "x.pt")
    settings = {
        "adapter": "golf-prefix", "data": folder / "corpora" / "tiny_val_000000.bin", "method": "discrete",
        "tokenizer": folder / "tokenizers" / "tiny_512_bpe.model", "num_steps": 8, "limit": 1, "device": "cpu",
        "check_contract": False,
    }  # fmt: skip
    result = evaluate(tmp_path / "x.pt", **settings)
    assert result.signature.context_length == "512"
    assert any("windows are 512 tokens unless" in remark.message for remark in result.remarks)
    assert evaluate(tmp_path / "x.pt", **settings, context_length=32).signature.context_length == "32"


@pytest.mark.lab
def test_its_own_score_of_a_few_tokens(lab: Path) -> None:
    """The golden number of 4,088 tokens is chain's; these are its first 40, against a second forward pass."""
    _, adapted = load_model(lab / "foreign" / "pr905_small.pt", adapter="golf-prefix", **_CPU)
    raw = torch.load(lab / "foreign" / "pr905_small.pt", weights_only=True, map_location="cpu")
    tokens = np.fromfile(lab / "text" / "lab_val_000000.bin", dtype="<u2", offset=1024, count=41).astype(np.int64)
    assert isinstance(adapted.model, ContextDenoiser)
    found = left_to_right(adapted.model, torch.from_numpy(tokens)[None], 1)
    assert found[0].tolist() == pytest.approx(chain_nats(raw, tokens.tolist(), 1), abs=2e-4)
