"""A network gets copies, and hands back plain tensors; what it does to the copies is seen and moves no score."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bpb_harness.denoiser import causal_logits, denoiser_logits, masked_token_nll, network_states, packed_nll, states_of
from bpb_harness.errors import (
    AnswerTypeError,
    HarnessError,
    InputMutatedError,
    LogitsShapeError,
    LogitsWidthError,
    UsageError,
)
from bpb_harness.estimators import AutoregressiveCode, ChainRule, ExactBound
from bpb_harness.evaluation.batches import PreparedBatch
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.network_call import InputWatch, call_network, require_logits, require_places, require_plain
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear, NoiseLevel

V, L = 5, 4
SCHEDULE = LogLinear(1e-3)
X0 = torch.tensor([[0, 1, 2, 3], [4, 3, 2, 1], [1, 1, 0, 4]])
MASKED = torch.tensor([[True, False, True, False], [True, True, True, True], [False, True, False, False]])
LEVEL = SCHEDULE.level(torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64))


class Uniform:
    """log V nats a token, for both kinds of network."""

    vocab_size = mask_token_id = V
    context_length, time_conditioned = L, True

    def logits(self, x, level=None):
        return torch.zeros(*x.shape, V)


class Factored(Uniform):
    def hidden(self, xt, level):
        return torch.zeros(*xt.shape, V)

    def head(self, hidden):
        return hidden


class Picking(Factored):
    def hidden_at(self, xt, level, positions):
        return torch.zeros(len(positions), V)


class Causal:
    vocab_size, context_length = V, L

    def logits(self, x):
        return torch.zeros(*x.shape, V)


# What a call may do to what it is handed: to its tokens, its positions, its levels.


def overwrites(values):
    values.fill_(3)


def overwrites_one(values):
    values.view(-1)[-1] += 1


def overwrites_its_data(values):
    values.data.fill_(2)


def overwrites_through_numpy(values):
    values.numpy()[...] = 1


def shortens(values):
    values.resize_(1)


SPOILERS = [overwrites, overwrites_one, overwrites_its_data, overwrites_through_numpy, shortens]


def spoiling(kind, spoil, which):
    """A network of a kind that answers as it should and then spoils one of its arguments."""

    class Spoiling(kind):
        def _spoil(self, answer, *arguments):
            named = dict(zip(("x", "level", "positions"), arguments, strict=False))
            spoil(named["x"] if which == "x" else named["positions"] if which == "positions" else named["level"].t)
            return answer

        def logits(self, *arguments):
            return self._spoil(super().logits(*arguments), *arguments)

        if hasattr(kind, "hidden"):

            def hidden(self, *arguments):
                return self._spoil(super().hidden(*arguments), *arguments)

        if hasattr(kind, "hidden_at"):

            def hidden_at(self, *arguments):
                return self._spoil(super().hidden_at(*arguments), *arguments)

    return Spoiling()


def kept():
    """Inputs of a score, and what must be left of them."""
    x0, level = X0.clone(), NoiseLevel(LEVEL.t.clone(), LEVEL.alpha_t.clone(), LEVEL.dalpha_t.clone())

    def unchanged():
        return torch.equal(x0, X0) and torch.equal(level.t, LEVEL.t) and torch.equal(level.alpha_t, LEVEL.alpha_t)

    return x0, level, unchanged


@pytest.mark.parametrize("spoil", SPOILERS)
@pytest.mark.parametrize(
    ("kind", "which"), [(Uniform, "x"), (Uniform, "level"), (Factored, "x"), (Picking, "x"), (Picking, "positions")]
)
def test_a_denoiser_that_spoils_its_input_is_refused_and_the_input_is_whole(kind, which, spoil):
    x0, level, unchanged = kept()
    positions = torch.arange(X0.numel())
    with pytest.raises(
        InputMutatedError,
        match=r"overwrites its input: got \d+ tokens, positions, noise levels or context lengths that a call changed, "
        "expected none",
    ) as caught:
        states_of(spoiling(kind, spoil, which), x0, level, positions)
    assert unchanged()
    assert torch.equal(positions, torch.arange(X0.numel()))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("spoil", SPOILERS)
@pytest.mark.parametrize(
    "score",
    [
        lambda network, x0, level: masked_token_nll(network, x0, MASKED, level),
        denoiser_logits,
        lambda network, x0, level: ChainRule(SCHEDULE, RandomStreams(0)).token_nats(network, x0, [0, 1, 2]),
        lambda network, x0, level: ExactBound(SCHEDULE).window_nats(network, x0),
    ],
    ids=["masked", "logits", "chain", "exact"],
)
def test_no_way_of_scoring_lets_a_denoiser_touch_the_text(spoil, score):
    x0, level, unchanged = kept()
    with pytest.raises(InputMutatedError):
        score(spoiling(Uniform, spoil, "x"), x0, level)
    assert unchanged()


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_causal_model_cannot_overwrite_its_targets(spoil):
    """Inputs and targets are two views of one row of tokens."""
    tokens = X0.clone()
    with pytest.raises(InputMutatedError):
        AutoregressiveCode().token_nats(spoiling(Causal, spoil, "x"), tokens[:, :-1], tokens[:, 1:])
    assert torch.equal(tokens, X0)


@pytest.mark.parametrize("kind", [Uniform, Factored, Picking])
def test_the_runner_sees_it_too(kind):
    batch = PreparedBatch(
        torch.arange(3).numpy(), X0, torch.zeros(3, dtype=torch.int64), MASKED, LEVEL,
        MASKED.flatten().nonzero()[:, 0], MASKED.sum(-1).numpy(), torch.zeros(3).numpy(),
    )  # fmt: skip
    runner = MaskedNllRunner(kind(), torch.device("cpu"))
    torch.testing.assert_close(runner.row_nats(batch), MASKED.sum(-1) * math.log(V), check_dtype=False)
    runner.watch.check()
    with pytest.raises(InputMutatedError):
        MaskedNllRunner(spoiling(kind, overwrites, "x"), torch.device("cpu")).row_nats(batch)


def test_an_honest_network_sees_equal_tensors_that_share_no_memory():
    seen = []

    def network(x, level, positions):
        seen.append((x, level, positions))
        return torch.zeros(1)

    row = X0[:1].expand(3, -1)  # one row of memory
    positions = torch.tensor([2, 3])
    call_network(network, row, LEVEL, positions)
    ((x, level, given),) = seen
    for own, copy in ((row, x), (LEVEL.t, level.t), (LEVEL.alpha_t, level.alpha_t), (positions, given)):
        assert torch.equal(own, copy)
        assert own.untyped_storage().data_ptr() != copy.untyped_storage().data_ptr()
    assert torch.equal(LEVEL.dalpha_t, level.dalpha_t)
    assert x.is_contiguous()
    assert type(level) is NoiseLevel


def test_a_watch_on_a_cpu_refuses_at_once_and_a_later_look_finds_nothing():
    watch = InputWatch()
    watch.note((X0,), (X0.clone(),))
    watch.check()
    with pytest.raises(InputMutatedError):
        watch.note((X0, X0), (X0.clone(), X0 + 1))
    watch.check()


def test_what_was_noted_before_is_summed_up_and_refused_once():
    watch = InputWatch()
    watch._num_changed = [torch.tensor(1), torch.tensor(0), torch.tensor(2)]
    with pytest.raises(InputMutatedError, match="got 3 tokens"):
        watch.check()
    watch.check()


def test_a_shape_without_values_is_not_looked_at():
    watch, shape = InputWatch(), torch.zeros(2, device="meta")
    watch.note((shape,), (shape.clone(),))
    watch.check()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU is looked at later")
def test_a_watch_on_a_gpu_looks_later_and_once():
    watch, x = InputWatch(), X0.cuda()
    watch.note((x,), (x.clone(),))
    watch.check()
    watch.note((x,), (x + 1,))
    watch.note((x,), (x.clone(),))
    with pytest.raises(InputMutatedError):
        watch.check()
    watch.check()


class Liar(torch.Tensor):
    """A subclass says what an operation on it gives."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        out = super().__torch_function__(function, types, args, kwargs or {})
        return out * 0.01 if function is torch.log_softmax else out


@pytest.mark.parametrize(
    "dress",
    [lambda x: x.as_subclass(Liar), nn.Parameter, lambda x: x.tolist(), lambda x: x.numpy(), lambda x: None],
    ids=["subclass", "parameter", "list", "array", "none"],
)
@pytest.mark.parametrize("kind", [Uniform, Factored, Picking])
def test_an_answer_is_a_plain_tensor(kind, dress):
    class Dressed(kind):
        def logits(self, xt, level):
            return dress(super().logits(xt, level))

        if hasattr(kind, "hidden"):

            def hidden(self, xt, level):
                return dress(super().hidden(xt, level))

        if hasattr(kind, "hidden_at"):

            def hidden_at(self, xt, level, positions):
                return dress(super().hidden_at(xt, level, positions))

    with pytest.raises(AnswerTypeError, match=r"no plain tensor: got .*, expected torch.Tensor itself"):
        masked_token_nll(Dressed(), X0, MASKED, LEVEL)
    if kind is Uniform:
        with pytest.raises(AnswerTypeError):
            denoiser_logits(Dressed(), X0, LEVEL)


@pytest.mark.parametrize("dress", [lambda x: x.as_subclass(Liar), nn.Parameter])
def test_so_are_a_causal_model_s_answer_and_a_head_s(dress):
    class Dressed(Causal):
        def logits(self, x):
            return dress(super().logits(x))

    class DressedHead(Factored):
        def head(self, hidden):
            return dress(hidden)

    with pytest.raises(AnswerTypeError):
        causal_logits(Dressed(), X0)
    with pytest.raises(AnswerTypeError):
        packed_nll(DressedHead(), torch.zeros(2, V), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_an_answer_is_of_a_floating_type(dtype):
    with pytest.raises(LogitsShapeError, match=r"got \(2,\) of torch\..*, expected logits of a floating type"):
        require_plain(torch.zeros(2, dtype=dtype), torch.device("cpu"))


def test_an_answer_is_where_its_question_is():
    with pytest.raises(AnswerTypeError, match="on another device: got meta, expected cpu"):
        require_plain(torch.zeros(2, device="meta"), torch.device("cpu"))


@pytest.mark.parametrize("shape", [(3, L), (3, L, V, 1), (2, L, V), (3, L - 1, V), (3 * L, V)])
def test_logits_have_the_shape_that_was_asked_for(shape):
    class Shaped(Uniform):
        def logits(self, xt, level=None):
            return torch.zeros(shape)

    with pytest.raises(LogitsShapeError, match=r"of the wrong shape: got \("):
        states_of(Shaped(), X0, LEVEL, torch.tensor([0, 1]))
    with pytest.raises(LogitsShapeError, match=r"expected \(3, 4, W\) of a floating type, W >= 5"):
        denoiser_logits(Shaped(), X0, LEVEL)
    with pytest.raises(LogitsShapeError):
        causal_logits(type("C", (Causal,), {"logits": lambda self, x: torch.zeros(shape)})(), X0)


def test_logits_cover_the_clean_tokens():
    with pytest.raises(LogitsWidthError, match="got 4 columns, expected 5"):
        require_logits(torch.zeros(3, L, V - 1), (3, L), V)
    require_logits(torch.zeros(3, L, V), (3, L), V)


@pytest.mark.parametrize("shape", [(3, V), (2, 2, V), (2,)])
def test_states_at_positions_have_one_row_each(shape):
    class Shaped(Picking):
        def hidden_at(self, xt, level, positions):
            return torch.zeros(shape)

    class ShapedHead(Picking):
        def head(self, hidden):
            return torch.zeros(shape)

    with pytest.raises(LogitsShapeError, match=r"hidden states of the wrong shape: got .*, expected \(2, width\)"):
        states_of(Shaped(), X0, LEVEL, torch.tensor([0, 1]))
    with pytest.raises(LogitsShapeError, match="logits of the wrong shape"):
        packed_nll(ShapedHead(), torch.zeros(2, V), torch.zeros(2, dtype=torch.int64))


def test_a_buffer_that_the_next_call_overwrites_moves_nothing():
    class Reuses(Uniform):
        """One buffer for all answers; what is asked second is answered sharply."""

        def __init__(self):
            self.buffer, self.calls = torch.zeros(3, L, V), 0

        def logits(self, xt, level):
            self.calls += 1
            self.buffer.fill_(0.0)
            self.buffer[..., 0] = 10.0 * (self.calls - 1)
            return self.buffer

    network = Reuses()
    first = masked_token_nll(network, X0, MASKED, LEVEL)
    second = masked_token_nll(network, X0, MASKED, LEVEL)
    torch.testing.assert_close(first, MASKED * math.log(V), check_dtype=False)
    assert not torch.allclose(first, second)


@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="its compiler fails at subclasses made inside")
def test_what_is_compiled_is_looked_at_too():
    class Dressed(Uniform):
        def logits(self, xt, level):
            return torch.zeros(*xt.shape, V).as_subclass(Liar)

    compiled = torch.compile(network_states, backend="eager")
    with pytest.raises(AnswerTypeError):
        compiled(Dressed(), X0, LEVEL, torch.tensor([0, 1]))


def integers():
    return require_plain(torch.zeros(2, 3, dtype=torch.int64), torch.device("cpu"))


# What is refused, and the whole line.
LINES = {
    "subclass": (
        lambda: require_plain(nn.Parameter(torch.zeros(1)), torch.device("cpu")),
        "the network's answer is no plain tensor: got torch.nn.parameter.Parameter, expected torch.Tensor itself, not "
        "a subclass of it; return x.detach() of a parameter, x.as_subclass(torch.Tensor) of another subclass",
    ),
    "no tensor": (
        lambda: require_plain([1.0], torch.device("cpu")),
        "the network's answer is no plain tensor: got builtins.list, expected torch.Tensor itself, not a subclass of "
        "it; return a tensor of logits",
    ),
    "device": (
        lambda: require_plain(torch.zeros(1, device="meta"), torch.device("cpu")),
        "the network's answer is on another device: got meta, expected cpu",
    ),
    "integers": (
        integers,
        "logits of the wrong shape: got (2, 3) of torch.int64, expected logits of a floating type",
    ),
    "places": (
        lambda: require_places(torch.zeros(2, 3, 7), (2, 4), "states"),
        "states of the wrong shape: got (2, 3, 7), expected (2, 4, width)",
    ),
    "fewer axes": (
        lambda: require_logits(torch.zeros(2, 3), (2, 3), 5),
        "logits of the wrong shape: got (2, 3) of torch.float32, expected (2, 3, W) of a floating type, W >= 5",
    ),
    "narrow": (
        lambda: require_logits(torch.zeros(2, 3, 4), (2, 3), 5),
        "logits are too narrow: got 4 columns, expected 5, the clean tokens, or more",
    ),
    "overwritten": (
        lambda: InputWatch().note((torch.zeros(5),), (torch.tensor([0.0, 1.0, 0.0, -0.0, 2.0]),)),
        "the network overwrites its input: got 3 tokens, positions, noise levels or context lengths that a call "
        "changed, expected none; "
        "let it work on a copy, x.clone(), and export it again if it is a program",
    ),
}


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (SimpleNamespace(logits=torch.zeros(1)), "return the logits themselves: output.logits"),
        ((torch.zeros(1), None), "return the logits themselves: output[0], if that is where they are"),
        (None, "return a tensor of logits"),
        (nn.Parameter(torch.zeros(1)), "return x.detach() of a parameter"),
    ],
)
def test_what_networks_mostly_return_in_place_of_logits_is_known(answer, hint):
    with pytest.raises(HarnessError) as caught:
        require_plain(answer, torch.device("cpu"))
    assert f"; {hint}" in str(caught.value)


@pytest.mark.parametrize("name", LINES)
def test_a_refusal_says_all_of_it(name):
    refuse, line = LINES[name]
    with pytest.raises(HarnessError) as caught:
        refuse()
    assert str(caught.value) == line


@pytest.mark.parametrize(
    "after", [torch.zeros(2, 3), torch.zeros(6, dtype=torch.float64), torch.zeros(6, device="meta"), torch.zeros(1)]
)
def test_another_shape_type_or_device_alone_is_a_change_of_all_values(after):
    with pytest.raises(InputMutatedError, match="got 6 tokens"):
        InputWatch().note((torch.zeros(6),), (after,))


def test_with_a_watch_nothing_is_looked_at_that_waits():
    """The caller decides when its watch waits for a GPU."""
    watch = InputWatch()
    watch._num_changed.append(torch.tensor(2))
    call_network(lambda x: x.float(), X0, watch=watch)
    with pytest.raises(InputMutatedError, match="got 2 tokens"):
        watch.check()


@pytest.mark.parametrize("batch", [torch.arange(4)[None].expand(3, 4), torch.arange(12).view(4, 3).T])
def test_a_batch_however_it_lies_in_memory_becomes_rows_of_their_own(batch):
    def network(x):
        assert x.is_contiguous()
        assert len({part.data_ptr() for part in x}) == 3
        return x.float()

    assert call_network(network, batch).tolist() == batch.tolist()


@pytest.mark.parametrize(("code", "seen"), [((), ""), ((0,), "0"), (("bye",), "'bye'")])
def test_a_network_that_ends_the_program_is_refused(code, seen):
    class Leaving(Causal):
        def logits(self, x):
            sys.exit(*code)

    with pytest.raises(UsageError) as caught:
        causal_logits(Leaving(), torch.zeros(1, L, dtype=torch.int64))
    expected = "expected code that returns, or raises an error"
    assert str(caught.value) == f"a call of the network ends the program: got sys.exit({seen}), {expected}"
