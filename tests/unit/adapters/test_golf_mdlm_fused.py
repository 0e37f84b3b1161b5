"""The fused form of golf-mdlm says what the network says, and is not taken for any other network or shape."""

import pytest
import torch

from bpb_harness.adapters import fused_forms, golf_mdlm, golf_mdlm_fused
from bpb_harness.adapters.accounting.account import Account
from bpb_harness.adapters.fused_forms import fused_form
from bpb_harness.adapters.golf_mdlm_fused import FusedGolfMdlm
from bpb_harness.checkpoints import read_checkpoint
from bpb_harness.kernels import query_key, specialising, squared_relu
from bpb_harness.kernels.loading import has_descriptors
from bpb_harness.schedule import LogLinear
from tests.tiny_checkpoints import make_golf_mdlm

CPU = torch.device("cpu")
LENGTH = 24
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or not has_descriptors(), reason="needs a CUDA device and triton"
)


def network(folder, device=CPU, **sizes):
    torch.save(make_golf_mdlm(**sizes), folder / "m.pt")
    model = golf_mdlm.GolfMdlm(Account(read_checkpoint(folder / "m.pt"), "golf-mdlm"), torch.bfloat16)
    golf_mdlm.ready(model, device)
    return model


def question(model, length, device=CPU):
    generator = torch.Generator().manual_seed(0)
    xt = torch.randint(0, model.vocab_size + 1, (3, length), generator=generator)
    positions = torch.randperm(3 * length, generator=generator)[: 2 * length].sort().values
    level = LogLinear(1e-3).level(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    level = type(level)(*(part.to(device) for part in (level.t, level.alpha_t, level.dalpha_t)))
    return xt.to(device), level, torch.cat((positions, torch.zeros(5, dtype=torch.int64))).to(device)


def require_alike(model, form, asked, most):
    with torch.inference_mode():
        expected, seen = model.hidden_at(*asked), form.hidden_at(*asked)
        assert seen.shape == expected.shape
        assert (seen.double() - expected.double()).norm() / expected.double().norm() < most
        logits, expected_logits = form.head(seen), model.head(expected)
        assert logits.shape == expected_logits.shape
        assert (logits.double() - expected_logits.double()).norm() / expected_logits.double().norm() < most


@pytest.mark.parametrize("num_blocks", [1, 2, 3])
@pytest.mark.parametrize("length", [LENGTH, 32])  # shorter than the rotary tables, and as long
def test_the_fused_form_says_what_the_network_says(tmp_path, num_blocks, length):
    model = network(tmp_path, num_blocks=num_blocks)
    # Both round to bfloat16 at the same places; a sum in another order is rounded to the neighbour now and then.
    require_alike(model, FusedGolfMdlm(model, length), question(model, length), 2e-2)


@pytest.mark.parametrize(
    "tensor", ["blocks.1.adaln_mlp.proj.bias", "blocks.0.adaln_attn.proj.weight", "blocks.1.attn.c_v.weight"]
)
def test_every_weight_decides(tmp_path, tensor):
    model = network(tmp_path)
    form, asked = FusedGolfMdlm(model, LENGTH), question(model, LENGTH)
    with torch.no_grad():
        dict(model.named_parameters())[tensor].mul_(-1.0)
    with pytest.raises(AssertionError):
        require_alike(model, form, asked, 2e-2)
    require_alike(model, FusedGolfMdlm(model, LENGTH), asked, 2e-2)


def test_programs_run_every_kernel_that_scoring_runs(tmp_path, monkeypatch):
    """With the same options: those are what a kernel is compiled for."""
    model = network(tmp_path)
    form = FusedGolfMdlm(model, LENGTH)
    called = []
    for name in ("turn", "attend_by_powers", "square_of_relu", "add_and_normalise", "nll_of_logits"):
        function = getattr(golf_mdlm_fused, name)

        def noted(*given, _name=name, _function=function, **options):
            kinds = tuple(sorted(key for key, value in options.items() if value is not None and key != "in_place"))
            told = len([value for value in given if value is not None])
            widths = tuple(value.shape[1:] for value in given if isinstance(value, torch.Tensor))
            called.append((_name, told, kinds, widths))
            return _function(*given, **options)

        monkeypatch.setattr(golf_mdlm_fused, name, noted)
    with torch.inference_mode():
        for program in form.programs():
            program()
        ahead = set(called)
        called.clear()
        form.hidden_at(*question(model, LENGTH))
    assert len(set(called)) == 8
    assert set(called) <= ahead


@pytest.fixture
def on_card(monkeypatch):
    """As if there were a card with kernels."""
    monkeypatch.setattr(query_key, "is_available", lambda device: True)
    monkeypatch.setattr(squared_relu, "is_available", lambda: True)
    monkeypatch.setattr(specialising, "_given_up", False)


SIZES = {"width": 256, "num_heads": 4, "num_blocks": 1, "context": 128}


@pytest.mark.parametrize(
    ("sizes", "dtype", "length", "serves"),
    [
        (SIZES, torch.bfloat16, 128, True), (SIZES, torch.float32, 128, False), (SIZES, torch.bfloat16, 100, False),
        (SIZES | {"num_heads": 8}, torch.bfloat16, 128, False), (SIZES | {"width": 192}, torch.bfloat16, 128, False),
        (SIZES | {"vocab_size": 20_000}, torch.bfloat16, 128, False),
    ],
)  # fmt: skip
def test_kernels_serve_only_what_they_can_cut_up(tmp_path, on_card, sizes, dtype, length, serves):
    form = fused_form(network(tmp_path, **sizes), device=CPU, dtype=dtype, length=length)
    assert (form is not None) is serves


def test_kernels_that_have_failed_are_not_taken_again(tmp_path, on_card, monkeypatch):
    monkeypatch.setattr(specialising, "_given_up", True)
    assert fused_form(network(tmp_path, **SIZES), device=CPU, dtype=torch.bfloat16, length=128) is None


def test_there_is_none_without_a_gpu(tmp_path):
    assert fused_form(network(tmp_path, **SIZES), device=CPU, dtype=torch.bfloat16, length=128) is None


def test_a_network_that_is_another_class_has_no_fused_form(tmp_path, on_card):
    """It may say anything in its own methods, which the kernels would not ask."""
    model = network(tmp_path, **SIZES)
    model.__class__ = type("Other", (golf_mdlm.GolfMdlm,), {})
    assert fused_forms.fused_form(model, device=CPU, dtype=torch.bfloat16, length=128) is None


@needs_gpu
@pytest.mark.parametrize("num_blocks", [1, 3])
def test_the_kernels_say_what_the_network_says(tmp_path, num_blocks, monkeypatch):
    monkeypatch.setattr(specialising, "_given_up", False)
    device = torch.device("cuda")
    model = network(tmp_path, device, **SIZES | {"num_blocks": num_blocks, "context": 256})
    form = fused_form(model, device=device, dtype=torch.bfloat16, length=256)
    assert form is not None
    require_alike(model, form, question(model, 256, device), 1e-2)
    with torch.inference_mode():
        for program in form.programs():
            program()
    torch.cuda.synchronize()
