"""Networks that are told where the context of a row ends: who is told, what, and through which door."""

from __future__ import annotations

import dataclasses
import os
import threading

import numpy as np
import pytest
import torch

from bpb_harness.adapters.user_code import _wrap
from bpb_harness.denoiser import (
    ContextDenoiser,
    denoiser_logits,
    masked_nll,
    masked_token_nll,
    network_states,
    packed_nll,
    splits,
    states_of,
)
from bpb_harness.errors import AnswerTypeError, InputMutatedError, LogitsShapeError
from bpb_harness.schedule import LogLinear
from bpb_harness.second_look.asking import AnsweringProcess, ModelSource, ask_here
from bpb_harness.second_look.fresh_process import serve
from bpb_harness.second_look.messages import Channel
from bpb_harness.second_look.questions import Question

V, L = 4, 5
LEVEL = LogLinear().level(torch.tensor([0.25, 0.75], dtype=torch.float64))
X0 = torch.tensor([[3, 1, 0, 2, 2], [2, 2, 3, 0, 1]])
MASKED = torch.tensor([[0, 0, 1, 0, 1], [0, 0, 0, 0, 1]]).bool()
CONTEXTS = torch.tensor([1, 3])


class Unaware:
    vocab_size, mask_token_id, context_length, time_conditioned = V, V, L, False

    def logits(self, xt, level):
        return torch.zeros(*xt.shape, V, dtype=torch.float64)


class Aware(Unaware):
    """The logit of token 0 is the length of the context; what it was told is kept."""

    def __init__(self) -> None:
        self.told: list[list[int]] = []

    def logits(self, xt, level):
        raise AssertionError("asked without a context")

    def logits_given(self, xt, level, context_lengths):
        assert context_lengths.dtype == torch.int64
        self.told.append(context_lengths.tolist())
        logits = torch.zeros(*xt.shape, V, dtype=torch.float64)
        logits[..., 0] = context_lengths[:, None]
        return logits


class AwareAndFactored(Aware):
    def hidden(self, xt, level):
        raise AssertionError("asked for its trunk")

    def hidden_at(self, xt, level, positions):
        raise AssertionError("asked for its trunk")

    def head(self, hidden):
        raise AssertionError("asked for its head")


def price(token: int, context: int) -> float:
    return float(np.log(np.exp(context) + V - 1)) - (context if token == 0 else 0.0)


@pytest.mark.parametrize("kind", [Aware, AwareAndFactored])
@pytest.mark.parametrize("contexts", [CONTEXTS, None])
def test_every_way_in_tells_a_copy_of_the_contexts(kind, contexts):
    network, told = kind(), [0, 0] if contexts is None else [1, 3]
    logits = denoiser_logits(network, X0, LEVEL, context_lengths=contexts)
    assert logits[:, 0, 0].tolist() == told
    states = states_of(network, X0, LEVEL, torch.tensor([2, 7]), context_lengths=contexts)
    assert states[:, 0].tolist() == told
    assert network_states(network, X0, LEVEL, torch.tensor([2, 7]), contexts)[:, 0].tolist() == told
    nats = masked_token_nll(network, X0, MASKED, LEVEL, context_lengths=contexts)
    expected = [[0, 0, price(0, told[0]), 0, price(2, told[0])], [0, 0, 0, 0, price(1, told[1])]]
    torch.testing.assert_close(nats, torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(masked_nll(network, X0, MASKED, LEVEL, context_lengths=contexts), nats.sum(dim=1))
    assert network.told == [told] * 5
    assert CONTEXTS.tolist() == [1, 3]


def test_others_do_not_get_them():
    network = Unaware()
    assert not isinstance(network, ContextDenoiser)
    for contexts in (CONTEXTS, None):
        assert not denoiser_logits(network, X0, LEVEL, context_lengths=contexts).any()
        assert not states_of(network, X0, LEVEL, torch.tensor([2]), context_lengths=contexts).any()
        assert masked_nll(network, X0, MASKED, LEVEL, context_lengths=contexts).tolist() == pytest.approx(
            [2 * np.log(V), np.log(V)]
        )


def test_one_that_is_told_is_asked_whole():
    class Factored(Unaware):
        def hidden(self, xt, level): ...

        def head(self, hidden): ...

    assert splits(Factored())
    assert not splits(AwareAndFactored())
    assert not splits(Aware())
    assert not splits(Unaware())
    states = torch.zeros(1, V, dtype=torch.float64)
    assert float(packed_nll(AwareAndFactored(), states, torch.tensor([1]))[0]) == pytest.approx(np.log(V))


@pytest.mark.parametrize(
    "ask",
    [
        lambda network: denoiser_logits(network, X0, LEVEL, context_lengths=CONTEXTS),
        lambda network: states_of(network, X0, LEVEL, torch.tensor([2]), context_lengths=CONTEXTS),
        lambda network: masked_nll(network, X0, MASKED, LEVEL, context_lengths=CONTEXTS),
    ],
)
def test_what_it_does_to_its_copy_is_refused_and_what_it_answers_is_looked_at(ask):
    class Spoils(Aware):
        def logits_given(self, xt, level, context_lengths):
            answer = super().logits_given(xt, level, context_lengths)
            context_lengths += 1
            return answer

    class TooShort(Aware):
        def logits_given(self, xt, level, context_lengths):
            return super().logits_given(xt, level, context_lengths)[:, 1:]

    class NoTensor(Aware):
        def logits_given(self, xt, level, context_lengths):
            return super().logits_given(xt, level, context_lengths).tolist()

    for kind, error in ((Spoils, InputMutatedError), (TooShort, LogitsShapeError), (NoTensor, AnswerTypeError)):
        with pytest.raises(error):
            ask(kind())
    assert CONTEXTS.tolist() == [1, 3]


def test_a_network_of_the_users_own_code_is_told_if_it_asks_for_it():
    own = Aware()
    wrapped = _wrap(own, "it", torch.float32)
    assert isinstance(wrapped, ContextDenoiser)
    masked_nll(wrapped, X0, MASKED, LEVEL, context_lengths=CONTEXTS)
    assert own.told == [[1, 3]]
    assert not isinstance(_wrap(Unaware(), "it", torch.float32), ContextDenoiser)


# The second look

QUESTION = Question(
    "a mask", np.array([2, 1, 4]), (0.5, 0.5, -1.0), np.array([2]), np.array([0]), np.ones(1, dtype=bool),
    price(0, 2), context_length=2,
)  # fmt: skip


@pytest.mark.parametrize("kind", [Aware, AwareAndFactored])
def test_the_network_at_hand_is_told_the_context_of_the_question(kind):
    network = kind()
    without = dataclasses.replace(QUESTION, context_length=0)
    answers = ask_here(network, torch.device("cpu"), [QUESTION, without])
    assert network.told == [[2], [0]]
    assert [float(answer.nats[0]) for answer in answers] == pytest.approx([price(0, 2), price(0, 0)])


USER_MODEL = """
import torch

class Model:
    vocab_size, mask_token_id, context_length, time_conditioned, schedule = 4, 4, 8, False, "loglinear"
    def logits(self, xt, level):
        return self.logits_given(xt, level, torch.zeros(len(xt)))
    def logits_given(self, xt, level, context_lengths):
        logits = torch.zeros(*xt.shape, 4)
        logits[..., 0] = context_lengths[:, None]
        return logits

def load(path, device):
    return Model()
"""


def _source(tmp_path) -> ModelSource:
    (tmp_path / "model.py").write_text(USER_MODEL)
    (tmp_path / "weights.bin").write_bytes(b"weights")
    load = {
        "path": str(tmp_path / "weights.bin"), "model_loader": f"{tmp_path / 'model.py'}:load", "allow_code": True
    }  # fmt: skip
    return ModelSource(load, torch.device("cpu"), "float32")


def test_a_fresh_process_is_told_it_too(tmp_path):
    process = AnsweringProcess(_source(tmp_path))
    answers = process.ask([QUESTION, dataclasses.replace(QUESTION, context_length=1)])
    process.close()
    assert [float(answer.nats[0]) for answer in answers] == pytest.approx([price(0, 2), price(0, 1)], abs=1e-6)


def test_a_context_that_is_not_sent_is_not_guessed(tmp_path):
    """Both ends are of one version: a message without it is an error, not a context of 0."""
    to_it, from_it = os.pipe(), os.pipe()
    mine, its = Channel(from_it[0], to_it[1]), Channel(to_it[0], from_it[1])
    mine.send({
        "load": _source(tmp_path).from_anywhere(), "device": "cpu", "dtype": "float32",
        "threads": torch.get_num_threads(), "precision": "highest",
    })  # fmt: skip
    mine.send({"level": [0.5, 0.5, -1.0]}, tokens=QUESTION.tokens, positions=QUESTION.positions)
    thread = threading.Thread(target=serve, args=(its,))
    thread.start()
    assert "digest" in mine.receive()[0]
    assert "context_length" in mine.receive()[0]["error"]
    thread.join()
    for end in (*to_it, *from_it):
        os.close(end)
