"""Whether compiling pays, by the size of a run and the widths of a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bpb_harness.distributed import Processes
from bpb_harness.evaluation import compile_choice, passes
from bpb_harness.evaluation.api import load_job
from bpb_harness.evaluation.compile_choice import pays, total_width
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.evaluation.score import score
from bpb_harness.evaluation.settings import Settings
from tests.one_block import one_block_of
from tests.tiers import some_of


def network(layers: int, width: int) -> nn.Module:
    block = [nn.Linear(width, width) for _ in range(4)] + [nn.Linear(width, 3 * width), nn.Linear(3 * width, width)]
    with torch.device("meta"):
        return nn.Sequential(nn.Embedding(50_000, width), *block * layers)


class Wrapped:
    def __init__(self, inside: object) -> None:
        self.inside = inside


def test_an_embedding_counts_its_width_and_biases_nothing():
    assert total_width(nn.Sequential(nn.Embedding(1000, 8), nn.Linear(8, 24))) == 16
    assert total_width(Wrapped(nn.Linear(8, 24))) == 8
    assert total_width(object()) == 0


RUN = {"device": torch.device("cuda"), "dtype": torch.bfloat16, "length": 2048}


@pytest.mark.parametrize(
    ("layers", "width", "num_tokens", "compiled", "fused"),
    [
        (11, 512, 62_000_000, True, True),
        (11, 512, 10_000_000, True, True),
        (11, 512, 5_500_000, False, True),
        (11, 512, 3_000_000, False, False),
        (4, 256, 62_000_000, True, True),
        (4, 256, 25_000_000, False, True),
        (4, 256, 10_000_000, False, False),
        (4, 64, 2_048, False, False),
    ],
)
def test_what_a_faster_form_saves_decides(monkeypatch, layers, width, num_tokens, compiled, fused):
    many = Wrapped(nn.ModuleList(network(1, width) for _ in range(layers)))
    assert pays(many, num_tokens, **RUN) is compiled
    asked = []
    monkeypatch.setattr(compile_choice, "has_fused_form", lambda which, **run: asked.append((which, run)) or True)
    assert pays(many, num_tokens, **RUN) is fused
    assert asked == [(many, RUN)]


def test_a_network_that_cannot_be_looked_into_is_compiled_as_before():
    assert pays(object(), 1, **RUN)


@pytest.fixture
def compiling(monkeypatch):
    """A score that takes its CPU for a GPU that compiles, and the number of times that it was made to."""
    times: list[int] = []
    own = Settings.compiles
    monkeypatch.setattr(
        Settings, "compiles", lambda self, device, **more: own(self, torch.device("cuda", device.index or 0), **more)
    )
    monkeypatch.setattr(MaskedNllRunner, "warm_up", lambda self, prepared: times.append(len(prepared)))
    return times


def run(repository, **settings):
    path = one_block_of("mdlm-tiny.pt")
    given = {"limit": 64, "context_length": 16, "num_samples": 1, "check_contract": False, "device": "cpu"} | settings
    return score(load_job(path, Settings(**given)))


def test_a_small_run_is_not_compiled_unless_that_is_asked_for(repository, compiling):
    run(repository)
    assert compiling == []
    run(repository, compile_network=True)
    assert len(compiling) == 1


@pytest.mark.parametrize(("enough", "expected"), some_of([(2, 1), (1_000_000, 0), (1, 1)], everyday=2))
def test_passes_that_a_tolerance_takes_are_counted_once_they_are_known(
    repository, compiling, monkeypatch, enough, expected
):
    one_pass = 64 * 16
    monkeypatch.setattr(passes, "pays", lambda _, num_tokens, **run: num_tokens > enough * one_pass)
    assert run(repository, tolerance=0.06).signature.passes is not None
    assert len(compiling) == expected


@pytest.mark.parametrize("is_worth_it", [True, False])
def test_processes_compile_by_the_whole_text_and_wait_for_each_other(repository, compiling, monkeypatch, is_worth_it):
    """Or a total would hang on how many share it, and the clock of a pass on the slowest compiler."""
    asked, waited = [], []
    monkeypatch.setattr(
        passes, "pays", lambda _, num_tokens, **run: asked.append((num_tokens, run["length"])) or is_worth_it
    )
    monkeypatch.setattr(Processes, "wait", lambda self: waited.append(list(compiling)))
    path = repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
    job = load_job(path, Settings(limit=64, context_length=16, num_samples=1, device="cpu"))
    sampler = passes._Sampler(job, job.lay_out(), Processes(1, 4))
    sampler.batch_tokens = 512
    sampler.warm_up(num_passes=3)
    assert asked == [(3 * 64 * 16, 16)]
    assert waited == ([[512 // 16]] if is_worth_it else [])
