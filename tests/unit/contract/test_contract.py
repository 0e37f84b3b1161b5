"""The contract in small: questions, differences, decisions and their words; networks of a few tokens."""

from __future__ import annotations

import itertools
import math
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bpb_harness import errors
from bpb_harness.contract import (
    Witness,
    causality,
    check_causal_lm,
    check_denoiser,
    examine,
    own_state,
    precision_finding,
    subject,
)
from bpb_harness.contract import batch as batches
from bpb_harness.contract.difference import Answer, Difference, Tolerance
from bpb_harness.contract.memory import check_repeats
from bpb_harness.contract.own_state import OwnState
from bpb_harness.contract.probe import Probe, causal_probe, concatenated, denoiser_probe, replaced, revealed
from bpb_harness.contract.subject import Subject
from bpb_harness.schedule import LogLinear, NoiseLevel

V, L = 6, 8
CPU = torch.device("cpu")
SCHEDULE = LogLinear(1e-3)
WINDOWS = torch.randint(V, (5, L), generator=torch.Generator().manual_seed(0))


class Net:
    """Logits of a token and of the mean over its row, in float64; what it was asked is kept."""

    vocab_size = mask_token_id = V
    context_length, time_conditioned = L, True
    width = V + 1

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.own, self.others = torch.randn(2, V + 1, self.width, generator=generator, dtype=torch.float64)
        self.asked: list[tuple[int, int]] = []

    def plain(self, xt, level):
        self.asked.append(tuple(xt.shape))
        told = level.mask_rate[:, None, None] if self.time_conditioned else 0.5
        return self.own[xt] + self.others[xt].mean(dim=1, keepdim=True) * (1.0 + told)

    def logits(self, xt, level):
        return self.plain(xt, level)


class Causal:
    vocab_size, context_length = V, L

    def __init__(self) -> None:
        self.net, self.asked = Net(), []

    def plain(self, x):
        self.asked.append(tuple(x.shape))
        seen = self.net.others[x].cumsum(dim=1) / torch.arange(1, x.shape[1] + 1)[:, None]
        return self.net.own[x] + seen

    def logits(self, x):
        return self.plain(x)


def network(kind, change):
    """A network whose logits are ``change(self, plain logits, tokens, level)``."""

    class Changed(kind):
        def logits(self, x, level=None):
            plain = self.plain(x) if level is None else self.plain(x, level)
            return change(self, plain, x, level)

    return Changed()


def examined(model, windows=WINDOWS, **settings):
    schedule = SCHEDULE if hasattr(model, "mask_token_id") else None
    return examine(model, windows, schedule=schedule, **({"dtype": torch.float64} | settings))


def refused(model, windows=WINDOWS, **settings) -> tuple[type, str]:
    with pytest.raises(errors.HarnessError) as caught:
        examined(model, windows, **settings)
    return type(caught.value), str(caught.value)


MOVED = (
    r"got a log-probability that moved by [\d.e+-]+ at row \d, position \d; mean code length moved by [+-][\d.e+-]+ "
)
MOVED += r"bits/token, expected "


def spoiled(y):
    y = y.clone()
    y[1, 3, 2] = math.nan
    return y


def count(self) -> int:
    return len(self.asked)


# What a network does, the error, and its words up to the evidence and behind it.
CASES = {
    "nan": (
        Net,
        lambda s, y, x, t: spoiled(y),
        errors.NonFiniteLogitsError,
        "logits at row 1, position 3, column 2: got nan (1 of 192 such), expected finite numbers; look for NaN "
        "among the weights, and at the adapter",
    ),
    "probabilities": (
        Net,
        lambda s, y, x, t: y.softmax(-1),
        errors.LogitsScaleError,
        "~the network returns probabilities: got every one of [0-9]+ rows sums to 1 as such, expected logits, or log p "
        "to base e; return their logarithm",
    ),
    "probabilities of the clean tokens alone, in bfloat16": (
        Net,
        lambda s, y, x, t: torch.cat((y[..., :6].softmax(-1).bfloat16().float(), y[..., 6:]), -1),
        errors.LogitsScaleError,
        "the network returns probabilities: got",
    ),
    "probabilities where it is asked": (
        Net,
        lambda s, y, x, t: torch.where((x == V)[..., None], y.softmax(-1), y),
        errors.LogitsScaleError,
        "the network returns probabilities: got",
    ),
    "surprisals": (
        Net,
        lambda s, y, x, t: -y.log_softmax(-1),
        errors.LogitsScaleError,
        "the network returns negative log-probabilities: got",
    ),
    "log2": (
        Net,
        lambda s, y, x, t: y.log_softmax(-1) / math.log(2.0),
        errors.LogitsScaleError,
        "the network returns log2 of probabilities: got",
    ),
    "log10": (
        Net,
        lambda s, y, x, t: y.log_softmax(-1) / math.log(10.0),
        errors.LogitsScaleError,
        "the network returns log10 of probabilities: got",
    ),
    "over positions": (
        Net,
        lambda s, y, x, t: y.log_softmax(-2),
        errors.LogitsScaleError,
        "the network returns log-probabilities that sum to one over the positions",
    ),
    "infinite": (
        Net,
        lambda s, y, x, t: torch.cat((y[..., :5], y[..., 5:] + math.inf), -1),
        errors.NonFiniteLogitsError,
        "logits at row 0, position 0, column 5: got inf (32 of 192 such), expected",
    ),
    "narrow": (
        Net,
        lambda s, y, x, t: y[..., :5],
        errors.LogitsWidthError,
        "logits are too narrow: got 5 columns, expected 6, the clean tokens, or more",
    ),
    "drifts": (
        Net,
        lambda s, y, x, t: torch.cat((y[..., :1] + 1e-12 * count(s), y[..., 1:]), -1),
        errors.DriftError,
        r"~the same input gives an answer that moves with every one of 8 calls: got log-probabilities off by "
        r"[\d.e-]+, then [\d.e-]+, \.\.\. [\d.e-]+, expected the same answer",
    ),
    "settles": (
        Net,
        lambda s, y, x, t: y * (2.0 if count(s) == 1 else 1.0),
        errors.StatefulError,
        r"~the second answer to the same input differs from the first, later ones do not: "
        + MOVED
        + r"the same answer; is the network in evaluation mode\?",
    ),
    "scatters": (
        Net,
        lambda s, y, x, t: y * (1.0 + 0.1 * (count(s) % 2)),
        errors.NondeterministicError,
        r"~the same input gives different answers in 8 calls: "
        + MOVED
        + r"the same answer; is the network in evaluation mode\?",
    ),
    "remembers": (
        Net,
        lambda s, y, x, t: y * (1.0 if count(s) < 3 else 1.1),
        errors.StatefulError,
        r"~calls with other inputs in between change the answer to the same input: "
        + MOVED
        + "an answer that depends on its input alone",
    ),
    "counts rows": (
        Net,
        lambda s, y, x, t: y * (1.0 + 0.1 * len(x)),
        errors.BatchSizeError,
        r"~row 3 alone and in a batch of 4 copies get different answers: "
        + MOVED
        + "an answer that does not depend on the number of rows",
    ),
    "counts many rows": (
        Net,
        lambda s, y, x, t: y * (1.0 + 0.1 * (len(x) > 4)),
        errors.BatchSizeError,
        r"~row 0 alone and in a batch of 9 copies get different answers: " + MOVED,
    ),
    "looks across": (
        Net,
        lambda s, y, x, t: y + y.mean(0),
        errors.RowDependenceError,
        r"~row 3 gets another answer when the other 3 rows of its batch change: "
        + MOVED
        + "an answer that depends on its own row alone",
    ),
    "looks across many": (
        Net,
        lambda s, y, x, t: y + (y.mean(0) - y) * (len(x) > 4),
        errors.RowDependenceError,
        r"~row 0 gets another answer when the other 8 rows of its batch change: " + MOVED,
    ),
    "predicts the mask": (
        Net,
        lambda s, y, x, t: torch.cat((y[..., :6], y[..., 6:] + 9.0), -1),
        errors.MaskMassError,
        r"~the network predicts the mask, id 6: got 0\.\d+ of the mass on average, (0\.\d+|1) at row \d, position \d, "
        "expected most mass on clean tokens; the mask id or the order of the columns is probably wrong",
    ),
    "fails": (
        Net,
        lambda s, y, x, t: y[:, :: x.shape[1] // 8],
        errors.ContextLengthError,
        "the network fails on 4 windows of 1 tokens: got ValueError: slice step cannot be zero, expected logits, "
        "as for any length up to its context of 8",
    ),
    "reads ahead": (
        Causal,
        lambda s, y, x, t: y + 3.0 * nn.functional.one_hot(x.roll(-1, 1), V + 1),
        errors.CausalityError,
        r"~the network says that it is causal; tokens behind position \d change its answer at or before it: "
        + MOVED
        + "no change",
    ),
    "reads ahead in many": (
        Causal,
        lambda s, y, x, t: y + 3.0 * nn.functional.one_hot(x.roll(-1, 1), V + 1) * (len(x) > 4),
        errors.BatchSizeError,
        r"~row \d alone and in a batch of 9 copies get different answers: " + MOVED,
    ),
    "causal, looks across": (
        Causal,
        lambda s, y, x, t: y + (y.mean(0) - y) * (len(x) > 4),
        errors.RowDependenceError,
        r"~row \d gets another answer when the other 8 rows of its batch change: " + MOVED,
    ),
    "causal, counts rows": (
        Causal,
        lambda s, y, x, t: y * (1.0 + 0.1 * len(x)),
        errors.BatchSizeError,
        r"~row 3 alone and in a batch of 4 copies get different answers: " + MOVED,
    ),
    "causal, remembers": (
        Causal,
        lambda s, y, x, t: y * (1.0 if count(s) < 3 else 1.1),
        errors.StatefulError,
        "calls with other inputs in between",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_refused_and_in_which_words(name):
    kind, change, error, words = CASES[name]
    seen, line = refused(network(kind, change), batch_rows=9)
    assert seen is error, line
    if words.startswith("~"):
        assert re.match(words[1:], line), line
    else:
        assert line.startswith(words)


@pytest.mark.parametrize("kind", [Net, Causal])
@pytest.mark.parametrize("length", [1, 2, L])
def test_an_honest_network_passes(kind, length):
    model = kind()
    done = examined(model, WINDOWS[:, :length], batch_rows=9)
    assert {finding.code for finding in done.findings} <= {"contract.mask-mass"}
    done.witness.check()
    assert model.asked[-1] == (9, length)  # as many as a batch of the run


@pytest.mark.parametrize(
    "change",
    [
        lambda s, y, x, t: y.log_softmax(-1),
        lambda s, y, x, t: y[..., :6].log_softmax(-1),
        lambda s, y, x, t: y.log_softmax(-1) + 3.0,
        lambda s, y, x, t: y.softmax(-1).log2() * math.log(2.0),
        lambda s, y, x, t: y * 0.0 + 1.0 / (V + 1),  # uniform, whatever it was taken for
        lambda s, y, x, t: torch.sigmoid(y),
        lambda s, y, x, t: torch.where((x == V)[..., None], y, y.softmax(-1)),  # where nothing is asked
    ],
)
def test_logits_and_log_probabilities_pass(change):
    assert {found.code for found in examined(network(Net, change)).findings} <= {
        "contract.mask-mass",
        "contract.time-conditioning-unused",
    }


def test_mask_and_context_are_refused_first():
    model = Net()
    model.mask_token_id = -1
    assert refused(model) == (errors.MaskTokenError, "mask id: got -1, expected 0 or more")
    model.mask_token_id = int(WINDOWS[0, 0])
    times = int((WINDOWS[0, 0] == WINDOWS).sum())
    assert refused(model)[1] == (
        f"the mask id {WINDOWS[0, 0]} is a token of the data: got {times} times, first in window 0 at position 0, "
        "expected an id that no text uses; check the adapter's mask id and that the tokenizer belongs to the shards"
    )
    model.context_length = 7
    assert refused(model) == (
        errors.ContextLengthError,
        "windows: got 8 tokens, expected at most 7, the network's context",
    )
    model.mask_token_id, model.context_length = 0, 8
    assert examined(model, WINDOWS.clamp(min=1)).findings == examined(model, WINDOWS.clamp(min=1)).findings


def test_findings_that_do_not_stop_a_score():
    unused = network(Net, lambda s, y, x, t: s.own[x])
    unused.own = unused.own.clone()
    unused.own[:, 6] = -20.0
    (found,) = examined(unused).findings
    assert found.code == "contract.time-conditioning-unused"
    assert found.message == (
        "the network says that it depends on the noise level, and its answer is the same at u = 0.05 and 0.95"
    )
    model = network(Net, lambda s, y, x, t: torch.cat((y[..., :6], y[..., :1] * 0 - 2.0), -1))
    (found,) = examined(model).findings
    assert found.code == "contract.mask-mass"
    assert "of the mass on average" in found.message
    assert found.message.endswith("; the harness removed it, which lowers the score")
    assert 1e-3 < found.evidence["mean"] < found.evidence["largest"] < 0.5
    assert examined(network(Net, lambda s, y, x, t: y[..., :6])).findings == []  # no column for the mask
    model = network(Net, lambda s, y, x, t: y[..., :6] + 1e-13 * (count(s) % 3) * torch.arange(6))
    (found,) = examined(model).findings
    assert found.code == "contract.not-bit-identical"
    assert found.message.startswith(
        "answers to the same input differ in the last digits: a log-probability that moved by"
    )
    assert 0 < found.evidence["largest"] < 1e-11


def test_the_level_is_looked_at_from_both_ends():
    model = Net()
    model.time_conditioned = False
    assert "contract.time-conditioning-unused" not in {finding.code for finding in examined(model).findings}
    seen = []
    low, high = 0.2, 0.9
    schedule = SimpleNamespace(min_mask_rate=low, max_mask_rate=high, level_at=SCHEDULE.level_at)
    told = network(Net, lambda s, y, x, t: seen.append(t.mask_rate) or y)
    examine(told, WINDOWS, schedule=schedule, dtype=torch.float64)
    few, elsewhere = seen[0], seen[-2]
    is_high = few > (low + high) / 2
    assert is_high.tolist() == [False, False, True, True]
    assert elsewhere.tolist() == pytest.approx([low + 0.7 * (0.05 if far else 0.95) for far in is_high.tolist()])
    for threshold in (0.2, 0.8):  # of the rows' own levels, none lies so low, none so high
        steps = network(Net, lambda s, y, x, t, at=threshold: y * (1.0 + 0.1 * (t.mask_rate > at))[:, None, None])
        steps.time_conditioned = False
        seen, line = refused(steps)
        assert seen is errors.TimeConditioningError
        assert line.startswith(
            "the network says that it ignores the noise level, and its answer depends on it: got a log-pro"
        )
        assert line.endswith("expected the same answer at every noise level")


@pytest.mark.parametrize(
    ("factor", "picked", "words"),
    [
        (2.0, 1.0, "head(hidden(xt)) and logits(xt) give different answers: got "),
        (1.0, 2.0, "hidden_at(xt) gives other answers at fewer positions: got "),
    ],
)
def test_trunk_and_head_are_the_network(factor, picked, words):
    class Split(Net):
        def hidden(self, xt, level):
            return self.plain(xt, level)

        def head(self, hidden):
            return hidden * factor

        def hidden_at(self, xt, level, positions):
            states = self.plain(xt, level).flatten(0, 1)[positions]
            return states * (picked if len(positions) < xt.numel() else 1.0)

    seen, line = refused(Split())
    assert seen is errors.FactoringError
    assert line.startswith(words)
    assert line.endswith("expected the same answer")


def test_a_head_that_writes_into_its_states_is_told_so():
    class Split(Net):
        def hidden(self, xt, level):
            return self.plain(xt, level)

        def head(self, hidden):
            return hidden.mul_(1.0).add_(1.0)

    assert refused(Split())[0] is errors.InputMutatedError


# How much is asked


def asked_rows(model, **settings) -> list[int]:
    examined(model, **settings)
    return [rows for rows, length in model.asked if length == L]


def test_a_denoiser_is_asked_few_rows_and_one_batch_of_the_run():
    # First, again, other text, revealed, after it; the last alone; the batch; another level.
    assert asked_rows(Net(), batch_rows=9) == [4, 4, 4, 4, 4, 1, 9, 4]
    assert asked_rows(Net(), batch_rows=9, num_rows=64) == [4, 4, 4, 4, 4, 1, 9, 4]
    assert asked_rows(Net(), batch_rows=9, num_rows=63) == [2, 2, 2, 2, 2, 1, 9, 2]
    assert asked_rows(Net(), batch_rows=3) == [3, 3, 3, 3, 3, 1, 3, 3]
    assert asked_rows(Net(), batch_rows=1) == [2, 2, 2, 2, 2, 1, 3, 2]


def test_a_causal_model_is_asked_a_cut_at_every_position_as_far_as_the_run_affords_it():
    assert asked_rows(Causal(), batch_rows=3) == [3, 3, 3, 3, 1, 3, 3, 1]  # seven cuts in three batches
    assert asked_rows(Causal(), batch_rows=20) == [4, 4, 4, 4, 1, 20]
    assert asked_rows(Causal(), batch_rows=3, num_rows=12) == [2, 2, 2, 2, 1, 3, 1]  # 35 % of twelve: four
    assert asked_rows(Causal(), batch_rows=3, num_rows=1) == [2, 2, 2, 2, 1, 3]  # one batch at least


@pytest.mark.parametrize("kind", [Net, Causal])
@pytest.mark.parametrize("widest", [None, (3, 12)])
def test_each_check_is_told_with_its_number_and_the_last_is_all_of_them(kind, widest):
    told = []
    examined(kind(), batch_rows=9, widest=widest, tell=told.append)
    count = {Net: 8, Causal: 5}[kind] + (widest is not None)
    assert [each.partition(":")[0] for each in told] == [f"checks {n} of {count}" for n in range(1, count + 1)]
    assert told[0].endswith(": the same question again")
    assert told[-1].endswith(": the shortest window")


@pytest.mark.parametrize(("num_rows", "again"), [(None, 9), (1000, 9), (72, 9), (40, 5), (8, 2)])
def test_the_witness_asks_an_eighth_of_the_run_at_most(num_rows, again):
    model = Net()
    witness = examined(model, batch_rows=9, num_rows=num_rows).witness
    witness.check()
    assert model.asked[-1] == (again, L)


@pytest.mark.parametrize("length", [2, 3, L])
def test_cuts_hide_something_everywhere(length):
    cuts = causality._cuts(length, torch.Generator().manual_seed(0)).tolist()
    assert sorted(cuts) == list(range(length - 1))
    assert cuts[0] == 0
    assert cuts[:2][-1] == length - 2
    assert causality._cuts(1, torch.Generator()).tolist() == [0]


def test_a_batch_that_does_not_fit_is_halved():
    tried = []

    def ask(rows):
        tried.append(rows)
        if rows > 5:
            raise torch.OutOfMemoryError
        return rows

    assert batches.largest_that_fits(21, ask) == 3
    assert tried == [21, 11, 6, 3]
    with pytest.raises(torch.OutOfMemoryError):
        batches.largest_that_fits(4, lambda rows: ask(9))


def test_the_rows_that_are_compared_stand_among_what_they_hide():
    few = denoiser_probe(WINDOWS[:3], SCHEDULE, torch.Generator().manual_seed(0), Net())
    others = denoiser_probe(WINDOWS, SCHEDULE, torch.Generator().manual_seed(1), Net())
    around, places = batches._around(few, others, 7)
    assert places == [6, 3, 0]
    for index, place in enumerate(places):
        assert torch.equal(around.counted[place], few.counted[index])
        assert torch.equal(around.level.t[place], few.level.t[index])
    assert torch.equal(around.counted[1], others.counted[0])
    assert torch.equal(around.counted[5], others.counted[3])
    around, places = batches._around(few, others, 3)
    assert places == [2, 0]
    assert torch.equal(around.counted[1], others.counted[0])


# The witness


def test_the_witness_tells_memory_from_the_order_of_rows():
    model = Net()
    model.factor = 1.0
    changing = network(Net, lambda s, y, x, t: y * getattr(s, "factor", 1.0))
    witness = examined(changing).witness
    changing.factor = 1.1
    with pytest.raises(
        errors.StatefulError,
        match=r"^scoring the corpus changed the network's answer to an input from before: got .* the same",
    ):
        witness.check()
    ordered = network(
        Net, lambda s, y, x, t: y * (1.0 + 0.1 * torch.arange(len(x))[:, None, None] * getattr(s, "on", 0))
    )
    ordered.on = 0
    witness = Witness(ordered, WINDOWS, schedule=SCHEDULE, dtype=torch.float64)
    witness.check()
    ordered.on = 1
    witness = Witness(ordered, WINDOWS, schedule=SCHEDULE, dtype=torch.float64)
    with pytest.raises(
        errors.RowDependenceError, match=r"turned round: got .*, expected an answer that depends on its own row"
    ):
        witness.check()


def test_a_witness_of_a_causal_model():
    model = network(Causal, lambda s, y, x, t: y * getattr(s, "factor", 1.0))
    witness = Witness(model, WINDOWS, dtype=torch.float64)
    witness.check()
    model.factor = 1.1
    with pytest.raises(errors.StatefulError):
        witness.check()


# Differences


def test_tolerances_follow_the_arithmetic():
    assert Tolerance.of(torch.float64, CPU) == Tolerance(1e-9, 1e-9)
    assert Tolerance.of(torch.float32, CPU) == Tolerance(1e-4, 1e-5)
    assert Tolerance.of(torch.bfloat16, CPU) == Tolerance(1e-1, 1e-3)
    gpu = torch.device("cuda")
    assert Tolerance.of(torch.float32, gpu) == Tolerance(1e-4, 1e-5)
    torch.set_float32_matmul_precision("high")
    try:
        assert Tolerance.of(torch.float32, gpu) == Tolerance(1e-2, 1e-3)
        assert Tolerance.of(torch.float32, CPU) == Tolerance(1e-4, 1e-5)
    finally:
        torch.set_float32_matmul_precision("highest")


PLACES = torch.tensor([[0, 2], [0, 5], [1, 1]])


def answer(nats, log_probs=None, sampled=None, spread=2.0) -> Answer:
    return Answer(PLACES, torch.tensor(nats, dtype=torch.float64), spread, log_probs, sampled)


def test_a_difference_names_the_worst_place():
    seen = Difference.between(answer([1.0, 2.0, 3.0]), answer([1.5, 2.0, 2.0]))
    assert (seen.largest, seen.row, seen.position, seen.spread) == (1.0, 1, 1, 2.0)
    assert seen.mean_nats == pytest.approx(-0.5 / 3)
    assert seen.stderr_nats == pytest.approx(torch.tensor([0.5, 0.0, -1.0]).std().item() / 3**0.5)
    assert not seen.identical
    assert str(seen) == (
        "a log-probability that moved by 1 at row 1, position 1; mean code length moved by -0.24 bits/token"
    )
    some = torch.tensor([1])
    seen = Difference.between(
        answer([1.0, 2.0, 3.0], torch.tensor([[-1.0, -2.0]]), some),
        answer([1.0, 2.0, 3.1], torch.tensor([[-1.0, -4.0]]), some),
    )
    assert (seen.largest, seen.row, seen.position) == (2.0, 0, 5)
    same = Difference.between(answer([1.0, 2.0, math.inf]), answer([1.0, 2.0, math.inf]))
    assert same.identical
    assert same.largest == same.mean_nats == same.stderr_nats == 0.0
    assert Difference.between(answer([1.0, 2.0, 3.0]), answer([1.0, math.nan, 3.0])).largest == math.inf
    assert Difference.between(answer([1.0, 2.0, 3.0]), answer([1.0, math.inf, 4.0])).mean_nats == 0.5


def test_what_rounding_does_not_do():
    def exceeds(largest=0.0, mean=0.0, stderr=0.0, spread=4.0) -> bool:
        return Difference(largest, 0, 0, mean, stderr, spread, False).exceeds(Tolerance(0.1, 0.01))

    assert not exceeds(0.4)
    assert exceeds(0.41)
    assert not exceeds(0.1, spread=0.5)
    assert exceeds(0.11, spread=0.5)
    assert exceeds(math.nan)
    assert not exceeds(mean=-0.01)
    assert exceeds(mean=-0.011)
    assert exceeds(mean=0.011)
    assert not exceeds(mean=0.069, stderr=0.01)
    assert exceeds(mean=0.071, stderr=0.01)


def test_rows_of_an_answer_are_renumbered():
    some = answer([1.0, 2.0, 3.0]).of_rows([1, 0])
    assert some.places.tolist() == [[0, 1], [1, 2], [1, 5]]
    assert some.nats.tolist() == [3.0, 1.0, 2.0]
    assert some.spread == 2.0


# Questions


def test_masks_of_a_question_leave_something_to_see_and_to_guess():
    probe = denoiser_probe(WINDOWS, SCHEDULE, torch.Generator().manual_seed(0), Net())
    assert probe.counted.any(dim=1).all()
    assert (~probe.counted).any(dim=1).all()
    rates = (probe.level.mask_rate - 1e-3) / (1.0 - 2e-3)
    expected = torch.arange(5) / 5  # up to both ends, lest a network that is told the rate knows a question by it
    assert ((rates > expected - 0.01) & (rates < expected + 0.21)).all()
    assert denoiser_probe(WINDOWS[:, :1], SCHEDULE, torch.Generator(), Net()).counted.all()
    many = denoiser_probe(torch.zeros(400, 50, dtype=torch.int64), SCHEDULE, torch.Generator().manual_seed(0), Net())
    assert 0.1 < many.counted[:100].double().mean() < 0.3
    assert 0.7 < many.counted[-100:].double().mean() < 0.9
    shown = revealed(many, torch.Generator().manual_seed(1))
    assert not (shown.counted & many.counted).any()
    assert 0.08 < shown.counted[~many.counted].double().mean() < 0.12
    assert shown.level is many.level


def test_questions_are_put_together_and_repeated():
    probe = denoiser_probe(WINDOWS[:2], SCHEDULE, torch.Generator().manual_seed(0), Net())
    both = concatenated([probe, probe[1:]])
    assert both.x0.tolist() == [*WINDOWS[:2].tolist(), WINDOWS[1].tolist()]
    assert both.level.t.tolist() == [*probe.level.t.tolist(), float(probe.level.t[1])]
    assert both.level.alpha_t[2] == probe.level.alpha_t[1]
    assert both.level.dalpha_t.shape == (3,)
    assert probe.repeated(3).counted.tolist() == [probe.counted[i].tolist() for i in (0, 1, 0)]
    causal = causal_probe(WINDOWS)
    assert concatenated([causal, causal]).level is None
    assert causal.counted.all()
    assert causal.counted.dtype == torch.bool
    assert causal.targets[:, :-1].equal(WINDOWS[:, 1:])
    assert causal.targets[:, -1].equal(WINDOWS[:, 0])


def test_other_tokens_stand_everywhere_and_never_the_mask():
    model, generator = Net(), torch.Generator().manual_seed(0)
    windows = torch.randint(V, (50, L), generator=generator)
    other = replaced(windows, model, generator)
    assert (other != windows).all()
    assert set(other.flatten().tolist()) == set(range(V))
    model.mask_token_id = 3
    windows = windows.masked_fill(windows == 3, 1)
    assert not (replaced(windows, model, generator) == 3).any()
    assert (replaced(windows, Causal(), generator) == 3).any()
    model.vocab_size = 1
    assert replaced(windows, model, generator) is windows


def test_an_answer_is_put_together_from_pieces(monkeypatch):
    probe = denoiser_probe(WINDOWS, SCHEDULE, torch.Generator().manual_seed(0), Net())
    model = Net()
    whole = Subject(model, torch.float64, CPU).ask(probe)
    monkeypatch.setattr(subject, "_LOGITS_AT_ONCE", 7 * V)
    monkeypatch.setattr(subject, "_SAMPLED_PLACES", 4)
    pieces = Subject(model, torch.float64, CPU).ask(probe)
    assert torch.equal(whole.nats, pieces.nats)
    assert torch.equal(whole.mask_mass, pieces.mask_mass)
    count = len(whole.nats)
    assert pieces.sampled.tolist()[0] == 0
    assert pieces.sampled.tolist()[-1] == count - 1
    assert len(pieces.sampled) == 4
    assert torch.equal(pieces.log_probs, whole.log_probs[pieces.sampled])
    assert pieces.spread == pytest.approx(float(pieces.log_probs.abs().max()))
    xt = WINDOWS.masked_fill(probe.counted, V)
    log_probs = torch.log_softmax(model.plain(xt, probe.level)[..., :V], -1)
    expected = -log_probs.gather(-1, WINDOWS[..., None])[..., 0]
    assert torch.allclose(whole.nats, expected[probe.counted])
    assert torch.allclose(Subject(model, torch.float64, CPU).price(probe, 1.0).nats, whole.nats)
    mass = torch.softmax(model.plain(xt, probe.level).float(), -1)[..., V]
    assert torch.allclose(whole.mask_mass, mass[probe.counted])
    assert torch.equal(whole.places, probe.counted.nonzero())
    causal = Subject(Causal(), torch.float64, CPU)
    part = Probe(WINDOWS, probe.counted, WINDOWS.roll(-1, 1), None)
    assert torch.allclose(causal.ask(part).nats, causal.price(part, 3.0).nats)
    assert causal.price(part, 3.0).spread == 3.0
    assert causal.ask(part).mask_mass is None


# Own state


@pytest.mark.parametrize("kind", [Net, Causal])
def test_a_network_that_counts_among_its_buffers_is_refused(kind):
    def counting(self, plain, x, level):
        self.module.calls += 1
        return plain

    model = network(kind, counting)
    model.module = nn.Module()
    model.module.register_buffer("calls", torch.tensor(0))
    seen, line = refused(model)
    assert seen is errors.StateMutatedError
    assert line.startswith("a call changes the network's own module.calls: got 1 of 1 tensors")
    assert len(model.asked) == 1  # under its own name, before memory is looked for


def with_state(change, kind):
    """A network that answers alike always, and does something to what it keeps."""

    def changing(self, plain, x, level):
        change(self)
        return plain

    model = network(kind, changing)
    model.module = nn.Module()
    model.module.register_buffer("seen", torch.arange(6.0))
    model.module.register_buffer("late", torch.zeros(2), persistent=False)
    model.module.weight = nn.Parameter(torch.ones(2, 2))
    model.module.other = nn.Parameter(torch.zeros(2, 2))
    model.kept = torch.zeros(2)
    return model


def swaps(self):
    self.module.weight, self.module.other = self.module.other, self.module.weight


def swaps_values(self):
    self.module.seen.copy_(self.module.seen.flip(0))


@torch.no_grad()
def learns(self):
    self.module.weight[1, 1] += 1e-7


CHANGES = {
    "buffer": (lambda self: self.module.seen[5:].add_(1.0), "seen: got 1 of 3"),
    "parameter": (learns, "weight: got 1 of 3"),
    "parameter through data": (lambda self: self.module.weight.data.neg_(), "weight: got 1 of 3"),
    "places": (swaps_values, "seen: got 1 of 3"),
    "two tensors swapped": (swaps, "(weight|other): got 2 of 3"),
    "a buffer let go": (lambda self: self.module.__delattr__("seen"), "seen: got 1 of 3"),
}


@pytest.mark.parametrize("kind", [Net, Causal])
@pytest.mark.parametrize("name", CHANGES)
def test_a_network_that_changes_what_it_was_loaded_with_is_refused(kind, name):
    change, words = CHANGES[name]
    seen, line = refused(with_state(change, kind))
    assert seen is errors.StateMutatedError
    assert re.match(rf"a call changes the network's own module\.{words} tensors that are others than before", line)


@pytest.mark.parametrize("kind", [Net, Causal])
@pytest.mark.parametrize(
    "change",
    [
        lambda self: None,
        lambda self: self.kept.add_(1.0),  # its own attribute: what it is used for shows in answers alone
        lambda self: self.module.late.add_(1.0),
        lambda self: self.module.seen.mul_(1.0),
        lambda self: self.module.register_buffer("seen", self.module.seen.clone()),
    ],
    ids=["nothing", "attribute", "not kept in files", "the same values", "the same in other memory"],
)
def test_a_network_that_leaves_alone_what_it_was_loaded_with_passes(kind, change):
    assert examined(with_state(change, kind)).findings == examined(kind()).findings


@pytest.mark.parametrize("kind", [Net, Causal])
def test_a_tensor_among_plain_attributes_that_moves_answers_is_refused_by_the_answers(kind):
    def drifting(self, plain, x, level):
        self.kept = getattr(self, "kept", torch.zeros(())) + 1.0
        return plain * (1.0 + self.kept)

    seen, _ = refused(network(kind, drifting))
    assert seen is not errors.StateMutatedError
    assert issubclass(seen, errors.ContractError)


def tensors(module: nn.Module) -> OwnState:
    return OwnState(SimpleNamespace(inner=SimpleNamespace(networks=[{"a": module}])))


def changed(state: OwnState) -> str | None:
    try:
        state.require_unchanged()
    except errors.StateMutatedError as error:
        return str(error)
    return None


def test_every_bit_of_the_own_state_counts():
    module = nn.Linear(3, 2)
    module.register_buffer("calls", torch.tensor(0, dtype=torch.int8))
    module.register_buffer("table", torch.zeros(2), persistent=False)
    module.register_buffer("phase", torch.ones(2, dtype=torch.complex64))
    state = tensors(module)
    assert changed(state) is None
    module.table += 1  # filled when it is first needed
    assert changed(state) is None
    module.calls += 1
    assert changed(state) == (
        "a call changes the network's own inner.networks.0.a.calls: got 1 of 4 tensors that are others than before, "
        "expected parameters and buffers that stay as they were loaded; is it in evaluation mode, and nothing in it "
        "learns or counts?"
    )
    module.calls -= 1
    with torch.no_grad():
        module.weight[0, 0] = -module.weight[0, 0]
        module.phase[1] += 1j
    assert "weight: got 2 of 4 tensors" in changed(state)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.flip(0), lambda x: x.clone(), lambda x: x.view(2, 2), lambda x: x.double(), lambda x: None,
        lambda x: x.view(torch.int32),  # the same bits
    ],
)  # fmt: skip
def test_order_shape_and_type_of_the_own_state_count_too(change):
    module = nn.Module()
    module.register_buffer("a", torch.tensor([1.0, 2.0, 3.0, 4.0]))
    state = OwnState(module)
    changed_to = change(module.a)
    is_same = (
        changed_to is not None and changed_to.tolist() == [1.0, 2.0, 3.0, 4.0] and changed_to.dtype == torch.float32
    )
    module.a = changed_to
    assert (changed(state) is None) is is_same


def test_what_has_no_values_yet_or_none_of_its_own_is_passed_over():
    module = nn.Sequential(nn.LazyLinear(3))
    module.register_buffer("sparse", torch.eye(3).to_sparse())
    loop = SimpleNamespace(module=module, buffer=torch.zeros(2))
    loop.self = loop
    state = OwnState(loop)
    loop.buffer += 1  # an answer handed out, say
    assert changed(state) is None
    assert changed(OwnState(object())) is None


def of(value: torch.Tensor) -> tuple[int, ...]:
    return tuple(own_state._sums(value).tolist())


DTYPES = [
    torch.bool, torch.int8, torch.uint8, torch.float8_e4m3fn, torch.int16, torch.bfloat16, torch.float16, torch.int32,
    torch.float32, torch.int64, torch.float64, torch.complex64, torch.complex128,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_bit_or_two_elements_of_any_type_that_change_places_are_noticed(dtype, monkeypatch):
    monkeypatch.setitem(own_state._WORDS_AT_ONCE, "cpu", 3)
    size = torch.empty((), dtype=dtype).element_size()
    for count in (1, 2, 7, 20):
        octets = torch.randint(2, (count * size + 3 * size,), generator=torch.Generator().manual_seed(count))
        octets = (octets if dtype == torch.bool else octets * 37).to(torch.uint8)
        value = octets.view(dtype)[3:]  # its memory begins within a word
        before, bits = of(value), octets[3 * size :]
        assert of(value.clone()) == before
        if dtype != torch.bool:
            for place in range(0, 8 * len(bits), 5 if size < 8 else 13):  # every place within a byte, and every word
                changed_bits = bits.clone()
                changed_bits[place // 8] ^= 1 << place % 8
                assert of(changed_bits.view(dtype)) != before, place
        rows = bits.view(count, size)
        for first, second in itertools.product(range(0, count, 5), range(count)):
            order = torch.arange(count)
            order[first], order[second] = second, first
            swapped = rows[order]
            assert (of(swapped.flatten().view(dtype)) == before) is torch.equal(swapped, rows), (first, second)


def test_a_swap_is_noticed_however_the_numbers_and_the_places_divide():
    """Powers of two apart, where products of 64 bits would wrap to nothing; in lower and in upper halves of words."""
    for half in (0, 1):
        seen = set()
        for place in [0, *(1 << power for power in range(1, 18))]:
            swapped = torch.ones(1 << 18)
            swapped[half + place] = 2.0
            seen.add(of(swapped))
        assert len(seen) == 18
    one, other = torch.tensor([1 + 2j, 0, 2 + 1j, 0]), torch.tensor([2 + 1j, 0, 1 + 2j, 0])
    assert of(one) != of(other)
    assert of(one.to(torch.complex128)) != of(other.to(torch.complex128))


def test_bytes_behind_the_last_whole_word_have_places_of_their_own():
    values = torch.arange(26, dtype=torch.int8)  # three words and two bytes
    for first, second in ((0, 24), (8, 25), (0, 25), (24, 25)):
        order = torch.arange(26)
        order[first], order[second] = second, first
        assert of(values[order]) != of(values)


def test_views_without_memory_in_a_row_and_single_numbers_are_summed_up_too():
    square = torch.arange(15.0).view(3, 5)
    assert of(square.T) == of(square.T.clone())
    assert of(square.T) != of(square)
    assert of(square[:, 1]) == of(square[:, 1].clone())
    assert of(torch.tensor(2.0).expand(3)) == of(torch.full((3,), 2.0))
    assert of(torch.tensor(2.0)) == of(torch.tensor([2.0])) != of(torch.tensor(-2.0))
    assert of(torch.zeros(0)) == (0, 0, 0)
    assert of(square[:1, 1]) == of(torch.tensor([1.0]))  # one number, a stride of 5
    phase = torch.tensor([1 + 2j])
    assert of(phase.conj()) == of(torch.tensor([1 - 2j]))
    assert of(phase.conj().imag) == of(torch.tensor([-2.0]))
    assert of(torch._neg_view(torch.tensor([1.0, 2.0]))) == of(torch.tensor([-1.0, -2.0]))


def test_what_has_a_shape_and_no_values_is_passed_over():
    assert changed(OwnState(nn.Linear(2, 2, device="meta"))) is None


def test_a_second_answer_that_neither_the_first_nor_the_later_ones_give_is_no_memory():
    def restless(self, plain, x, level):
        self.calls = getattr(self, "calls", 0) + 1
        return plain * {1: 1.0, 2: 1.5}.get(self.calls, 2.0)

    subject, probe = Subject(network(Causal, restless), torch.float64, CPU), causal_probe(WINDOWS)
    with pytest.raises(errors.NondeterministicError):
        check_repeats(subject, probe, subject.ask(probe))


def test_replaced_tokens_follow_the_seed():
    first, again, other = (replaced(WINDOWS, Net(), torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_low_precision_is_compared_on_the_same_masks():
    model, off = Net(), network(Net, lambda s, y, x, t: y * 1.5)
    assert precision_finding(model, model, WINDOWS, schedule=SCHEDULE, stderr_bits_per_token=0.0) is None
    found = precision_finding(off, model, WINDOWS, schedule=SCHEDULE, stderr_bits_per_token=1e-3)
    assert found.code == "contract.precision"
    assert "bits/token on a sample, more than the sampling error of 0.001; pass --dtype float32" in found.message
    probe = denoiser_probe(WINDOWS, SCHEDULE, torch.Generator().manual_seed(0), Net())
    nats = [Subject(each, torch.float64, CPU).price(probe, 1.0).nats.mean() for each in (off, model)]
    assert found.evidence["bits_per_token"] == pytest.approx(float(nats[0] - nats[1]) / math.log(2))
    assert f"by {found.evidence['bits_per_token']:+.4g} bits" in found.message
    size = abs(found.evidence["bits_per_token"])
    assert precision_finding(off, model, WINDOWS, schedule=SCHEDULE, stderr_bits_per_token=size * 1.01) is None


def test_the_two_short_ways_in():
    assert check_causal_lm(Causal(), WINDOWS, dtype=torch.float64) == []
    with pytest.raises(errors.BatchSizeError, match="in a batch of 8 copies"):
        check_causal_lm(network(Causal, lambda s, y, x, t: y * (1.0 + (len(x) == 8))), WINDOWS)
    with pytest.raises(errors.BatchSizeError, match="in a batch of 8 copies"):
        check_denoiser(network(Net, lambda s, y, x, t: y * (1.0 + (len(x) == 8))), WINDOWS, schedule=SCHEDULE)
    level = NoiseLevel(*(torch.zeros(1, dtype=torch.float64),) * 3)
    assert Net().logits(WINDOWS[:1], level).shape == (1, L, V + 1)
