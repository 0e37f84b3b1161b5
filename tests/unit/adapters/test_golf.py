"""The contest's two architectures against forward passes written a second time: float64, explicit attention."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bpb_harness.adapters import choose_adapter, load_model
from bpb_harness.adapters.accounting.trainer_settings import CANONICAL
from bpb_harness.adapters.registry import choose_reading
from bpb_harness.checkpoints import read_checkpoint
from bpb_harness.denoiser import CausalLM, Denoiser, FactoredDenoiser, PickingDenoiser
from bpb_harness.errors import CheckpointError, UsageError
from bpb_harness.schedule import LogLinear
from tests.golf_forward import attend, golf_gpt_logits, linear, rms, turn
from tests.stateless import assert_keeps_nothing
from tests.tiny_checkpoints import make_golf_gpt, make_golf_mdlm

_MAKE = {"golf-mdlm": make_golf_mdlm, "golf-gpt": make_golf_gpt}
_CPU = {"device": torch.device("cpu"), "dtype": torch.float32}


def golf_mdlm_logits(tensors: dict[str, Tensor], tokens: list[int], sigma: float) -> Tensor:
    """(L, rows) for one row."""
    L, width = len(tokens), tensors["wte.weight"].shape[1]
    cos, sin = (tensors[name][0, :L, 0].double() for name in ("cos", "sin"))
    head = 2 * cos.shape[-1]
    angle = sigma * tensors["sigma_map.freqs"].double()
    c = linear(torch.cat([angle.sin(), angle.cos()]), tensors, "sigma_map.mlp.0")
    c = linear(c * c.sigmoid(), tensors, "sigma_map.mlp.2")
    c = c * c.sigmoid()
    x = tensors["wte.weight"].double()[tokens]
    for i in range(sum(name.endswith("mlp_fc.weight") for name in tensors)):
        scale, shift = linear(c, tensors, f"blocks.{i}.adaln_attn.proj").split(width)
        h = rms(x) * (1 + scale) + shift
        q, k, v = (linear(h, tensors, f"blocks.{i}.attn.{name}") for name in ("c_q", "c_k", "c_v"))
        out = []
        for start in range(0, width, head):
            part = slice(start, start + head)
            turned = (rms(turn(t[:, part], cos, sin)) for t in (q, k))
            out.append(attend(*turned, v[:, part], causal=False))
        x = x + linear(torch.cat(out, -1), tensors, f"blocks.{i}.attn.c_proj")
        scale, shift = linear(c, tensors, f"blocks.{i}.adaln_mlp.proj").split(width)
        h = linear(rms(x) * (1 + scale) + shift, tensors, f"blocks.{i}.mlp_fc").clamp(min=0) ** 2
        x = x + linear(h, tensors, f"blocks.{i}.mlp_proj")
    return linear(rms(x), tensors, "head")


@pytest.mark.parametrize(
    ("width", "num_heads", "num_blocks", "vocab_size"), [(24, 3, 2, 64), (16, 1, 1, 128), (32, 4, 3, 192)]
)
def test_golf_mdlm_equals_an_independent_forward_pass(
    tmp_path: Path, width: int, num_heads: int, num_blocks: int, vocab_size: int
) -> None:
    tensors = make_golf_mdlm(vocab_size=vocab_size, width=width, num_heads=num_heads, num_blocks=num_blocks)
    torch.save(tensors, tmp_path / "x.pt")
    _, adapted = load_model(tmp_path / "x.pt", adapter="golf-mdlm", **_CPU)
    model = adapted.model
    assert isinstance(model, FactoredDenoiser)
    assert (model.vocab_size, model.mask_token_id, model.context_length) == (vocab_size, vocab_size, 32)
    assert model.time_conditioned
    assert adapted.schedule == LogLinear(1e-3)
    xt = torch.randint(vocab_size + 1, (3, 17), generator=torch.Generator().manual_seed(1))
    level = LogLinear(1e-3).level(torch.tensor([0.1, 0.5, 0.97]))
    logits = model.logits(xt, level)
    for row in range(3):
        expected = golf_mdlm_logits(tensors, xt[row].tolist(), float(level.sigma[row]))
        torch.testing.assert_close(logits[row].double(), expected, atol=1e-4, rtol=1e-4)
    hidden = model.hidden(xt, level)
    torch.testing.assert_close(model.head(hidden[0]), logits[0])
    assert isinstance(model, PickingDenoiser)
    for positions in (torch.tensor([50, 3, 17, 3]), torch.arange(51)):
        torch.testing.assert_close(model.hidden_at(xt, level, positions), hidden.flatten(0, 1)[positions])
    assert isinstance(model, torch.nn.Module)
    assert_keeps_nothing(model, model)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("num_heads", "kv_heads", "num_blocks"), [(4, 2, 4), (4, 4, 5), (2, 1, 1), (3, 1, 2)])
def test_golf_gpt_equals_an_independent_forward_pass(
    tmp_path: Path, num_heads: int, kv_heads: int, num_blocks: int, tied: bool
) -> None:
    tensors = make_golf_gpt(num_heads=num_heads, kv_heads=kv_heads, num_blocks=num_blocks)
    if not tied:
        tensors["lm_head.weight"] = torch.randn(50, 24, generator=torch.Generator().manual_seed(2))
    torch.save(tensors, tmp_path / "x.pt")
    _, adapted = load_model(tmp_path / "x.pt", adapter="golf-gpt", **_CPU)
    model = adapted.model
    assert isinstance(model, CausalLM)
    assert not isinstance(model, Denoiser)
    assert (model.vocab_size, model.context_length) == (50, 1024)
    assert adapted.schedule is None
    x = torch.randint(50, (2, 19), generator=torch.Generator().manual_seed(1))
    logits = model.logits(x)
    for row in range(2):
        torch.testing.assert_close(
            logits[row].double(), golf_gpt_logits(tensors, x[row].tolist()), atol=1e-4, rtol=1e-4
        )


def test_bfloat16_is_close_and_not_equal(tmp_path: Path) -> None:
    torch.save(make_golf_gpt(), tmp_path / "gpt.pt")
    torch.save(make_golf_mdlm(), tmp_path / "mdlm.pt")
    x = torch.randint(50, (2, 19), generator=torch.Generator().manual_seed(1))
    level = LogLinear(1e-3).level(torch.tensor([0.1, 0.5]))
    for name, adapter, arguments in (("gpt", "golf-gpt", (x,)), ("mdlm", "golf-mdlm", (x, level))):
        exact, rough = (
            load_model(tmp_path / f"{name}.pt", adapter=adapter, device=torch.device("cpu"), dtype=dtype)[
                1
            ].model.logits(*arguments)
            for dtype in (torch.float32, torch.bfloat16)
        )
        difference = (exact - rough).abs().max()
        assert 0 < difference < 0.2 * exact.abs().max()


def test_what_no_tensor_shows_is_said(tmp_path: Path) -> None:
    """A variant of the same tensors (another activation, heads, norms) is another network, and nothing can tell."""
    taken = "no tensor says, and the contest's are taken: {}; a network that has others is scored as another one"
    norms = "norms without weights, rotation behind the norms of queries and keys"
    tensors = make_golf_mdlm()
    head_width = 2 * tensors["cos"].shape[-1]
    num_heads = tensors["wte.weight"].shape[1] // head_width
    mdlm = (
        f"heads of {head_width}, all of which is rotated, rotation before the norms of queries and keys, squared ReLU, "
        "norms without weights"
    )
    for content, adapter, said in (
        (tensors, "golf-mdlm", taken.format(f"{num_heads} {mdlm}")),
        (make_golf_gpt(), "golf-gpt", taken.format(f"squared ReLU, {norms}")),
    ):
        torch.save(content, tmp_path / "x.pt")
        assert load_model(tmp_path / "x.pt", adapter=adapter, **_CPU)[1].notes[1] == said


def test_a_context_that_the_file_does_not_state_is_no_note(tmp_path: Path) -> None:
    """The length of rotary tables is only the longest window; with --context there is nothing to say of it."""
    torch.save(make_golf_mdlm(), tmp_path / "mdlm.pt")
    torch.save(make_golf_gpt(), tmp_path / "gpt.pt")
    mdlm, gpt = (load_model(tmp_path / f"{n}.pt", adapter=f"golf-{n}", **_CPU)[1] for n in ("mdlm", "gpt"))
    assert mdlm.context_is_guess
    assert not any("context" in note for note in mdlm.notes)
    assert not gpt.context_is_guess


def test_no_adapter_is_guessed(tmp_path: Path) -> None:
    torch.save(make_golf_mdlm(), tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"does not name its adapter; those that fit: golf-mdlm; pass --adapter"):
        load_model(tmp_path / "x.pt", **_CPU)
    with pytest.raises(CheckpointError, match=r"does not fit the adapter 'golf-gpt'; those that fit: golf-mdlm"):
        load_model(tmp_path / "x.pt", adapter="golf-gpt", **_CPU)
    with pytest.raises(UsageError, match=r"adapter: got 'nope', expected one of reference, golf-mdlm"):
        load_model(tmp_path / "x.pt", adapter="nope", **_CPU)
    torch.save({"w": torch.ones(2)}, tmp_path / "y.pt")
    with pytest.raises(CheckpointError, match=r"no adapter fits its layout 'tensors' \(first tensors: w\); export it"):
        load_model(tmp_path / "y.pt", **_CPU)


def test_the_adapter_that_is_asked_for_or_that_the_file_names_is_chosen(tmp_path: Path) -> None:
    torch.save(make_golf_mdlm(), tmp_path / "x.pt")
    checkpoint = read_checkpoint(tmp_path / "x.pt")
    assert choose_adapter(checkpoint, "golf-mdlm").name == "golf-mdlm"
    assert choose_adapter(replace(checkpoint, adapter="golf-mdlm"), None).name == "golf-mdlm"
    with pytest.raises(CheckpointError, match="does not fit the adapter 'golf-gpt'"):
        choose_adapter(replace(checkpoint, adapter="golf-mdlm"), "golf-gpt")
    # Wrappers put words in front of the names.
    torch.save({f"model.{name}": value for name, value in make_golf_mdlm().items()}, tmp_path / "x.pt")
    chosen, reading = choose_reading(read_checkpoint(tmp_path / "x.pt"), "golf-mdlm")
    assert (chosen.name, set(reading.tensors)) == ("golf-mdlm", set(make_golf_mdlm()))


@pytest.mark.parametrize("make", [make_golf_mdlm, make_golf_gpt], ids=["golf-mdlm", "golf-gpt"])
def test_every_tensor_is_needed_in_its_shape_and_no_other(tmp_path: Path, make) -> None:
    tensors = make(num_blocks=2)  # one before the middle, one behind it
    adapter = "golf-mdlm" if make is make_golf_mdlm else "golf-gpt"
    for name, value in tensors.items():
        without = {other: kept for other, kept in tensors.items() if other != name}
        torch.save(without, tmp_path / "x.pt")
        with pytest.raises(CheckpointError):
            load_model(tmp_path / "x.pt", adapter=adapter, **_CPU)
        torch.save({**tensors, name: torch.cat((value, value), dim=-1)}, tmp_path / "x.pt")
        with pytest.raises(CheckpointError):
            load_model(tmp_path / "x.pt", adapter=adapter, **_CPU)
    torch.save({**tensors, "surplus": torch.ones(2)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="surplus"):
        load_model(tmp_path / "x.pt", adapter=adapter, **_CPU)


@pytest.mark.lab
def test_golf_mdlm_parity_with_the_original_code(lab: Path) -> None:
    _, adapted = load_model(lab / "foreign" / "pr1106_small.pt", adapter="golf-mdlm", **_CPU)
    with np.load(lab / "foreign" / "pr1106_small_parity.npz") as parity:
        xt, sigma, expected = (torch.from_numpy(parity[name]) for name in ("xt", "sigma", "logits"))
    level = LogLinear(1e-3).level_at(-torch.expm1(-sigma.double()))
    assert isinstance(adapted.model, Denoiser)
    logits = adapted.model.logits(xt, level)[..., :1025]
    assert float((logits - expected).abs().max()) < 2e-3


@pytest.mark.lab
def test_golf_gpt_int8_is_the_same_model_roughly(lab: Path) -> None:
    x = torch.from_numpy(
        np.fromfile(lab / "text" / "lab_val_000000.bin", dtype="<u2", offset=1024, count=257).astype(np.int64)
    )
    nats = {}
    for name in ("base_gpt.pt", "base_gpt.int8.ptz"):
        checkpoint = read_checkpoint(lab / "foreign" / name)
        model = choose_adapter(checkpoint, "golf-gpt").load(checkpoint, **_CPU).model
        assert isinstance(model, CausalLM)
        nats[name] = float(torch.nn.functional.cross_entropy(model.logits(x[None, :-1])[0], x[1:]))
    assert 0 < abs(nats["base_gpt.pt"] - nats["base_gpt.int8.ptz"]) < 0.05


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"blocks.0.attn.q_gain": (5,)}, "width 24, 5 heads, key width 12, 5 blocks, 2 skips"),
        ({"blocks.0.attn.q_gain": (8,)}, "width 24, 8 heads, key width 12, 5 blocks, 2 skips"),
        ({"blocks.0.attn.c_k.weight": (13, 24)}, "width 24, 4 heads, key width 13, 5 blocks, 2 skips"),
        ({"blocks.0.attn.c_k.weight": (18, 24)}, "width 24, 4 heads, key width 18, 5 blocks, 2 skips"),
        ({"skip_weights": (3, 24)}, "width 24, 4 heads, key width 12, 5 blocks, 3 skips"),
    ],
)
def test_sizes_of_no_golf_gpt(tmp_path: Path, changes: dict[str, tuple[int, ...]], seen: str) -> None:
    torch.save(make_golf_gpt() | {name: torch.ones(shape) for name, shape in changes.items()}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "x.pt", adapter="golf-gpt", **_CPU)
    expected = "heads that divide the width, key heads that divide the heads, skips for half the blocks"
    assert str(caught.value) == f"x.pt: sizes: got {seen}, expected {expected}"


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"wte.weight": (64, 24)}, "64 rows of wte, width 24, head width 8"),
        ({"cos": (1, 32, 1, 5)}, "128 rows of wte, width 24, head width 10"),
    ],
)
def test_sizes_of_no_golf_mdlm(tmp_path: Path, changes: dict[str, tuple[int, ...]], seen: str) -> None:
    torch.save(make_golf_mdlm() | {name: torch.ones(shape) for name, shape in changes.items()}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "x.pt", adapter="golf-mdlm", **_CPU)
    assert str(caught.value) == (f"x.pt: sizes: got {seen}, expected more than 64 rows and a width that heads divide")


_FACTS: dict[str, dict[str, Any]] = {
    "golf-gpt": {
        "vocab_size": 50, "num_blocks": 5, "width": 24, "num_heads": 4, "num_kv_heads": 2, "mlp_ratio": 2.0,
        "mlp_width": 48, "tied": True, "rotary_base": 10000.0, "logit_cap": 30.0, "causal": True, "bias": False,
    },
    "golf-mdlm": {
        "vocab_size": 64, "mask_token_id": 64, "num_blocks": 2, "width": 24, "num_heads": 3, "num_kv_heads": 3,
        "mlp_ratio": 3.0, "mlp_width": 72, "time_conditioned": True, "schedule": "loglinear", "noise_eps": 0.001,
        "tied": False, "causal": False,
    },
}  # fmt: skip


@pytest.mark.parametrize(("adapter", "fact"), [(name, fact) for name, facts in _FACTS.items() for fact in facts])
def test_whatever_a_file_states_of_the_network_is_compared(tmp_path: Path, adapter: str, fact: str) -> None:
    tensors, spelling = _MAKE[adapter](), next(name for name, known in CANONICAL.items() if known == fact)
    value = _FACTS[adapter][fact]
    torch.save({"model": tensors, "config": {spelling: value}}, tmp_path / "x.pt")
    load_model(tmp_path / "x.pt", adapter=adapter, **_CPU)
    other = not value if isinstance(value, bool) else "cosine" if isinstance(value, str) else value + 1
    torch.save({"model": tensors, "config": {spelling: other}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "x.pt", adapter=adapter, **_CPU)
    assert str(caught.value) == (
        f"x.pt: config.{spelling}: got {other}, expected {value}, as the adapter {adapter!r} builds it; the network is "
        "a variant that this adapter does not know; score it through a loader of your own "
        "(--model FILE.py:LOADER --allow-code)"
    )


@pytest.mark.parametrize("stated", [0, -1, 33, True, 16.0, "16"])
def test_a_context_beyond_the_rotary_tables_is_refused(tmp_path: Path, stated: object) -> None:
    torch.save({"model": make_golf_mdlm(), "config": {"context_length": stated}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "x.pt", adapter="golf-mdlm", **_CPU)
    assert str(caught.value) == (
        f"x.pt: context length: got {stated!r}, expected at most 32, the length of the rotary tables"
    )


@pytest.mark.parametrize("stated", [1, 32])
def test_a_context_within_them_is_taken(tmp_path: Path, stated: int) -> None:
    torch.save({"model": make_golf_mdlm(), "config": {"context_length": stated}}, tmp_path / "x.pt")
    _, adapted = load_model(tmp_path / "x.pt", adapter="golf-mdlm", **_CPU)
    assert (adapted.model.context_length, adapted.context_is_guess) == (stated, False)
