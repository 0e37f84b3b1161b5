"""``bpb_harness.metric``: its sums, its error, processes, memory, refusals."""

from __future__ import annotations

import gc
import itertools
import json
import math
import pickle
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from bpb_harness.errors import NumericsError, UsageError
from tests.oracles import Markov, OracleDenoiser, Uniform
from tests.tiers import thorough, times
from tests.two_processes import run_in_two

V, L = 3, 4


@pytest.fixture(scope="module", autouse=True)
def _imported():
    """Here, not above: it takes seconds, of every worker that only collects these tests."""
    pytest.importorskip("torchmetrics")
    global BitsPerByte, batches, score, metric_module  # noqa: PLW0603
    import bpb_harness.metric as metric_module
    from bpb_harness.metric import BitsPerByte
    from tests.score_batches import batches, score


def network(kind=None):
    return OracleDenoiser(kind or Markov.random(V, seed=2))


def values(metric):
    return {key: value.item() for key, value in metric.compute().items()}


def test_a_uniform_network_costs_what_a_token_costs_and_nothing_is_left_to_chance():
    metric = BitsPerByte(schedule="loglinear[0.2]")
    for text in torch.randint(V, (3, 2, L), generator=torch.Generator().manual_seed(1)):
        metric.update(network(Uniform(V)), text, 5)
    assert list(values(metric)) == [
        "bits_per_byte", "stderr", "bits_per_token", "num_bytes", "num_tokens", "num_rows", "num_batches",
    ]  # fmt: skip
    bits = 24 * math.log2(V)
    expected = {
        "bits_per_byte": bits / 15, "stderr": 0.0, "bits_per_token": math.log2(V), "num_bytes": 15, "num_tokens": 24,
        "num_rows": 6, "num_batches": 3,
    }  # fmt: skip
    assert values(metric) == pytest.approx(expected, abs=1e-7)
    assert {value.dtype for value in metric.compute().values()} == {torch.float64}


def test_sums_and_error_are_those_of_the_batches(monkeypatch):
    """Against equation (20), written out, of what nelbo gave."""
    seen, real = [], metric_module.nelbo

    def watched(*words, **settings):
        seen.append(real(*words, **settings))
        return seen[-1]

    monkeypatch.setattr(metric_module, "nelbo", watched)
    metric = BitsPerByte(schedule="cosine-md4[0.1]", num_samples=2, num_steps=3)
    of_rows = [torch.tensor([3, 0, 4]), 9, torch.tensor(2), torch.tensor([1, 1])]
    for i, num_bytes in enumerate(of_rows):
        size = (3, 2, 1, 2)[i]
        text = torch.full((size, L), i % V)
        metric.update(network(), text, num_bytes, context_lengths=[1] * size)
    nats = np.array([float(found.nats.sum()) for found in seen])
    num_bytes = np.array([7, 9, 2, 2])
    ratio = nats.sum() / 20
    stderr = math.sqrt(4 / 3 * np.sum((nats - ratio * num_bytes) ** 2)) / 20
    found = values(metric)
    assert found["bits_per_byte"] == pytest.approx(ratio / math.log(2), rel=1e-12)
    assert found["stderr"] == pytest.approx(stderr / math.log(2), rel=1e-9)
    assert found["bits_per_token"] == pytest.approx(nats.sum() / (8 * (L - 1)) / math.log(2), rel=1e-12)
    assert [found[key] for key in ("num_bytes", "num_tokens", "num_rows", "num_batches")] == [20, 24, 8, 4]
    assert {len(each.draw_nats) for each in seen} == {2}
    assert {(str(each.bound.schedule), each.bound.num_steps) for each in seen} == {("cosine-md4[0.1]", 3)}
    assert not torch.equal(seen[1].mask_rate, seen[3].mask_rate)  # as many rows: other tokens, other masks


def test_masks_follow_from_the_seed_and_the_tokens_alone():
    all_at_once = score(slice(None))
    torch.manual_seed(3)
    assert score(slice(None, None, -1)) == pytest.approx(all_at_once, rel=1e-12)

    def one(seed, text, dtype=torch.int64):
        metric = BitsPerByte(schedule="loglinear", seed=seed)
        metric.update(network(), text.to(dtype), 1)
        return values(metric)["bits_per_byte"]

    text = torch.zeros(6, L, dtype=torch.int64)
    assert one(0, text) == one(0, text, torch.int32) != one(1, text)
    metric = BitsPerByte(schedule="loglinear")
    metric.update(network(), text, 1)
    assert math.isnan(values(metric)["stderr"])  # of a single batch


@thorough(everyday="integration/test_metric.py::test_sums_and_error_are_those_of_the_batches")
def test_two_processes_are_one(repository):
    if not dist.is_available():
        pytest.skip("torch without torch.distributed")
    (done,) = run_in_two("tests.score_batches", [[]], cwd=repository)
    assert done.codes == [0, 0], done.stderr
    found = [json.loads(line) for line in done.stdout]
    assert found[0] == found[1]
    assert found[0] == pytest.approx(score(slice(None)), rel=1e-12)
    assert found[0]["num_batches"] == len(batches(9)) == 9


def test_many_updates_leave_nothing_behind():
    """No tensor more than after 100, not half an object an update, and the metric itself is no larger.

    What the allocator counts is no measure: torch and the interpreter keep some 70 bytes an update, now and then.
    """
    more = times(300, thorough=1000)

    class Fast:
        vocab_size = mask_token_id = V
        context_length, time_conditioned, schedule = L, False, "loglinear"
        weight = torch.nn.Parameter(torch.zeros(V))

        def logits(self, xt, level):
            return self.weight.expand(*xt.shape, V)

    metric, generator = BitsPerByte(), torch.Generator().manual_seed(1)

    def update(count):
        for _ in range(count):
            metric.update(Fast(), torch.randint(V, (2, L), generator=generator), 3)
        gc.collect()
        objects = gc.get_objects()
        return sum(isinstance(each, torch.Tensor) for each in objects), len(objects), len(pickle.dumps(metric))

    update(50)  # what others have left is collected
    tensors, objects, size = update(50)
    tensors_after, objects_after, size_after = update(more)
    assert tensors_after <= tensors
    assert objects_after - objects < more / 2
    assert size_after - size < more  # a number that is kept takes nine bytes
    assert not metric.sums.requires_grad
    assert values(metric)["num_batches"] == 100 + more


@thorough(everyday="integration/test_metric.py::test_sums_and_error_are_those_of_the_batches")
def test_the_error_holds():
    """The variance of 100 scores of 12 batches against what they state: 0.5 to 1.9, more than 4 errors each way."""
    generator, model, scores, stated = torch.Generator().manual_seed(4), network(), [], []
    rng = np.random.default_rng(3)
    texts = torch.tensor(list(itertools.product(range(V), repeat=L)))
    for repeat in range(100):
        metric = BitsPerByte(schedule="loglinear", seed=repeat)
        for _ in range(12):
            rows = texts[torch.randint(len(texts), (int(rng.integers(1, 4)),), generator=generator)]
            metric.update(model, rows, 4 * len(rows) + int(rows.sum()))
        found = values(metric)
        scores.append(found["bits_per_byte"])
        stated.append(found["stderr"] ** 2)
    assert 0.5 < np.mean(stated) / np.var(scores, ddof=1) < 1.9


def test_inference_mode_resets_and_pickles():
    metric, text = BitsPerByte(schedule="loglinear"), torch.zeros(2, L, dtype=torch.int64)
    with torch.inference_mode():
        metric.update(network(), text, 4)
    metric.update(network(), text + 1, 4)
    before = values(metric)
    assert values(pickle.loads(pickle.dumps(metric))) == before
    with torch.inference_mode():
        metric.reset()
    assert metric.counts.tolist() == [0, 0, 0, 0]
    metric.update(network(), text, 4)
    metric.update(network(), text + 1, 4)
    assert values(metric) == before
    of_batch = metric(network(), text, 4)  # forward: of this batch alone, and added
    assert int(of_batch["num_batches"]) == 1
    assert values(metric)["num_batches"] == 3


@pytest.mark.parametrize(
    "convert",
    [
        lambda metric: metric.set_dtype(torch.float16),
        lambda metric: metric.to(torch.float16),
        lambda metric: torch.nn.ModuleList([metric]).to(torch.bfloat16),
        lambda metric: torch.nn.ModuleList([metric]).half(),
    ],
)
def test_sums_keep_their_type(convert):
    """In float16 the bytes of 50 batches are infinitely many, and the score 0."""
    metric, text = BitsPerByte(schedule="loglinear"), torch.zeros(2, L, dtype=torch.int64)
    metric.update(network(), text, 2001)
    before = values(metric)
    convert(metric)
    assert (metric.sums.dtype, metric.counts.dtype) == (torch.float64, torch.int64)
    metric.reset()
    for _ in range(50):
        metric.update(network(), text, 2001)
    assert values(metric)["bits_per_byte"] == pytest.approx(before["bits_per_byte"], rel=1e-12)
    assert values(metric)["num_bytes"] == 50 * 2001


def test_many_bytes_are_counted_and_too_many_refused():
    metric, text = BitsPerByte(schedule="loglinear"), torch.zeros(2, L, dtype=torch.int64)
    for _ in range(2):
        metric.update(network(), text, (1 << 40) - 1)
    assert values(metric)["num_bytes"] == 2 * ((1 << 40) - 1)
    assert values(metric)["stderr"] == pytest.approx(0.0, abs=1e-12)


WHOLE = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


@pytest.mark.parametrize("name", WHOLE)
def test_bytes_of_rows_may_be_of_any_whole_type(name):
    metric, kind = BitsPerByte(schedule="loglinear"), getattr(torch, name)
    for count in (torch.tensor([100, 120]), torch.tensor(7)):
        metric.update(network(), torch.zeros(2, L, dtype=torch.int64), count.to(kind))
    assert values(metric)["num_bytes"] == 227


@pytest.mark.parametrize(
    ("num_bytes", "seen"),
    [
        (torch.tensor([-1, 1 << 62]).to(torch.uint64), "(2,) of torch.uint64"),
        (1 << 40, "1099511627776"), (torch.tensor([1, 1 << 40]), "(2,) of torch.int64"),
        (2.0, "2.0"), (True, "True"), (-1, "-1"), (torch.tensor([1, 2, 3]), "(3,) of torch.int64"),
        (torch.tensor([1.0, 2.0]), "(2,) of torch.float32"), (torch.tensor([1, -2]), "(2,) of torch.int64"),
    ],
)  # fmt: skip
def test_bytes_that_are_none(num_bytes, seen):
    metric = BitsPerByte(schedule="loglinear")
    with pytest.raises(UsageError, match="BitsPerByte: num_bytes") as caught:
        metric.update(network(), torch.zeros(2, L, dtype=torch.int64), num_bytes)
    assert seen in str(caught.value)
    assert metric.counts.tolist() == [0, 0, 0, 0]


def test_what_nelbo_refuses_is_refused():
    with pytest.raises(UsageError, match="nelbo: x0"):
        BitsPerByte(schedule="loglinear").update(network(), [[1, 2]], 3)
    with pytest.raises(UsageError, match="noise schedule"):
        BitsPerByte().update(network(), torch.zeros(1, L, dtype=torch.int64), 3)
    with pytest.raises(UsageError, match="BitsPerByte: seed"):
        BitsPerByte(seed=0.5)


def test_no_number_is_an_error():
    class Broken(OracleDenoiser):
        def logits(self, xt, level):
            return super().logits(xt, level) * math.nan

    metric, text = BitsPerByte(schedule="loglinear"), torch.zeros(2, L, dtype=torch.int64)
    metric.update(network(), text, 0)
    with pytest.raises(NumericsError, match="bytes of the batches so far"):
        metric.compute()
    metric.update(Broken(Uniform(V)), text, 4)
    with pytest.raises(NumericsError, match="the bound of the batches so far"):
        metric.compute()


def test_without_torchmetrics_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(ModuleNotFoundError, match="needs torchmetrics: pip install torchmetrics"):
        runpy.run_path(str(Path(metric_module.__file__)))
