"""What a GPU will run is made beside the checks: all of it, once, and nothing where nothing is compiled."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bpb_harness.evaluation import compiler, programs_ahead


class Network:
    """A denoiser by its attributes."""

    vocab_size = mask_token_id = 8
    context_length, time_conditioned = 16, False

    def logits(self, xt, level):
        raise AssertionError("the network itself is not asked")


def job(*, device="cuda", bounds=("a bound",), model=None, compiles=True):
    return SimpleNamespace(
        device=torch.device(device),
        bounds=bounds,
        model=model or Network(),
        spans=SimpleNamespace(input_lengths=np.array([16, 16, 7])),
        settings=SimpleNamespace(
            compiles=lambda device, *, pays: compiles and pays, torch_dtype=lambda: torch.bfloat16
        ),
    )


@pytest.fixture
def done(monkeypatch):
    """What was done, once all threads are through."""
    seen = []
    monkeypatch.setattr(programs_ahead, "pays", lambda model, num_tokens, **run: seen.append(num_tokens) or True)
    monkeypatch.setattr(compiler.importlib, "import_module", seen.append)

    def finish():
        for thread in [each for each in threading.enumerate() if each.name == "programs"]:
            thread.join()
        return seen

    return finish


def form_of(monkeypatch, programs):
    form = SimpleNamespace(programs=lambda: programs)
    asked = []
    monkeypatch.setattr(programs_ahead, "fused_form", lambda network, **kind: asked.append(kind) or form)
    return asked


def test_every_program_of_a_fused_form_is_run_even_where_one_fails(monkeypatch, done):
    ran = []

    def program(name):
        def run():
            assert torch.is_inference_mode_enabled()
            ran.append(name)
            if name == 1:
                raise RuntimeError("no compiler")

        return run

    asked = form_of(monkeypatch, [program(name) for name in range(12)])
    programs_ahead.start_programs(job())
    assert done() == [39]  # and the compiler is not imported
    assert sorted(ran) == list(range(12))
    assert asked == [{"device": torch.device("cuda"), "dtype": torch.bfloat16, "length": 16}]


def test_the_compiler_is_imported_for_a_network_without_one(done):
    programs_ahead.start_programs(job())
    assert done() == [39, "torch._dynamo", "torch._inductor.compile_fx"]


@pytest.mark.parametrize(
    "given",
    [{"device": "cpu"}, {"bounds": ()}, {"model": object()}, {"compiles": False}],
    ids=["device", "bounds", "model", "compiles"],
)
def test_nothing_is_made_where_nothing_is_compiled(monkeypatch, done, given):
    monkeypatch.setattr(programs_ahead, "fused_form", lambda *_, **__: pytest.fail("asked"))
    programs_ahead.start_programs(job(**given))
    assert [each for each in done() if each != 39] == []
