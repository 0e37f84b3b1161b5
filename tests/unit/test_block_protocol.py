"""Networks of blocks: what they are asked in one call, through which door, and what is made of the answer."""

from __future__ import annotations

import math

import pytest
import torch

from bpb_harness.adapters.user_code import _wrap
from bpb_harness.denoiser import (
    BlockDenoiser,
    ContextDenoiser,
    FactoredBlockDenoiser,
    block_states_of,
    block_token_nll,
    num_blocks,
    packed_nll,
)
from bpb_harness.errors import AnswerTypeError, InputMutatedError, LogitsShapeError, UsageError
from bpb_harness.schedule import LogLinear, NoiseLevel

V, B, L, SIZE = 4, 2, 5, 2
RATES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
LEVEL = LogLinear().level(torch.tensor(RATES, dtype=torch.float64))
X0 = torch.tensor([[3, 1, 0, 2, 2], [2, 2, 3, 0, 1]])
MASKED = torch.tensor([[1, 0, 1, 0, 1], [0, 0, 1, 1, 1]]).bool()


class Blocks:
    """The logit of token 0 is the rate of the block, that of token 1 the clean tokens of the block before."""

    vocab_size, mask_token_id, context_length, time_conditioned, block_size = V, V, L, True, SIZE

    def logits(self, xt, level):
        raise AssertionError("asked a block")

    def block_logits(self, xt, x0, level):
        assert torch.equal(xt == V, MASKED)
        assert torch.equal(x0, X0)
        logits = torch.zeros(*xt.shape, V, dtype=torch.float64)
        for row in range(B):
            for i in range(L):
                block = i // SIZE
                logits[row, i, 0] = level.mask_rate[row * 3 + block]
                if block:
                    logits[row, i, 1] = x0[row, (block - 1) * SIZE : block * SIZE].sum()
        return logits


class Factored(Blocks):
    def block_logits(self, xt, x0, level):
        raise AssertionError("asked whole")

    def block_hidden(self, xt, x0, level):
        return Blocks.block_logits(self, xt, x0, level)[..., :2]

    def head(self, hidden):
        self.num_unembedded = len(hidden)
        return torch.cat((hidden, torch.zeros_like(hidden)), dim=-1)


class HalfFactored(Blocks):
    """Its trunk knows no blocks, and so its head has no part in them."""

    def hidden(self, xt, level):
        raise AssertionError("asked for its trunk")

    def head(self, hidden):
        raise AssertionError("asked for its head")


def expected() -> list[list[float]]:
    nats = [[0.0] * L for _ in range(B)]
    for row, i in MASKED.nonzero().tolist():
        block = i // SIZE
        before = float(X0[row, (block - 1) * SIZE : block * SIZE].sum()) if block else 0.0
        scores = [RATES[row * 3 + block], before, 0.0, 0.0]
        nats[row][i] = math.log(sum(map(math.exp, scores))) - scores[int(X0[row, i])]
    return nats


@pytest.mark.parametrize("kind", [Blocks, Factored, HalfFactored])
def test_every_masked_token_is_priced_at_the_level_of_its_block(kind):
    network = kind()
    nats = block_token_nll(network, X0, MASKED, LEVEL)
    assert nats.dtype == torch.float64
    torch.testing.assert_close(nats, torch.tensor(expected(), dtype=torch.float64))
    assert not nats[~MASKED].any()
    if kind is Factored:
        assert network.num_unembedded == int(MASKED.sum())


def test_states_of_some_positions_are_priced_alike():
    xt, positions = X0.masked_fill(MASKED, V), torch.tensor([2, 7])
    for kind in (Blocks, Factored):
        states = block_states_of(kind(), xt, X0, LEVEL, positions)
        nats = packed_nll(kind(), states, X0.flatten()[positions], by_blocks=True)
        assert nats.tolist() == pytest.approx([expected()[0][2], expected()[1][2]])


def test_the_last_block_may_be_shorter():
    assert [num_blocks(length, 4) for length in (1, 3, 4, 5, 8, 9)] == [1, 1, 1, 2, 2, 3]
    with pytest.raises(AssertionError):
        block_token_nll(Blocks(), X0, MASKED, LEVEL[:4])


def test_who_offers_what():
    assert isinstance(Blocks(), BlockDenoiser)
    assert not isinstance(Blocks(), FactoredBlockDenoiser)
    assert not isinstance(HalfFactored(), FactoredBlockDenoiser)
    assert isinstance(Factored(), FactoredBlockDenoiser)

    class WithoutSize:
        vocab_size, mask_token_id, context_length, time_conditioned = V, V, L, True
        logits, block_logits = Blocks.logits, Blocks.block_logits

    assert not isinstance(WithoutSize(), BlockDenoiser)


@pytest.mark.parametrize("which", range(3))
def test_it_is_handed_copies_and_told_when_it_writes_over_them(which):
    class Writes(Blocks):
        def block_logits(self, xt, x0, level):
            answer = super().block_logits(xt, x0, level)
            (xt, x0, level.t)[which].zero_()
            return answer

    x0, level = X0.clone(), NoiseLevel(LEVEL.t.clone(), LEVEL.alpha_t.clone(), LEVEL.dalpha_t.clone())
    with pytest.raises(InputMutatedError):
        block_token_nll(Writes(), x0, MASKED, level)
    assert torch.equal(x0, X0)
    assert torch.equal(level.t, LEVEL.t)


def test_answers_of_another_kind_are_refused():
    class Answers(Blocks):
        def __init__(self, answer):
            self.answer = answer

        def block_logits(self, xt, x0, level):
            return self.answer

    for answer, error in (
        (torch.zeros(B, L + 1, V), LogitsShapeError),
        (torch.zeros(B, 2 * L, V), LogitsShapeError),
        (torch.zeros(B, L, V, dtype=torch.int64), LogitsShapeError),
        (torch.nn.Parameter(torch.zeros(B, L, V)), AnswerTypeError),
    ):
        with pytest.raises(error):
            block_token_nll(Answers(answer), X0, MASKED, LEVEL)


class TestYourOwnLoader:
    @pytest.mark.parametrize("is_told", [False, True])
    def test_blocks_pass_through(self, is_told):
        class Own(Blocks):
            pass

        if is_told:
            Own.logits_given = lambda self, xt, level, context_lengths: torch.zeros(*xt.shape, V)
        network = _wrap(Own(), "load", torch.float32)
        assert isinstance(network, BlockDenoiser)
        assert isinstance(network, ContextDenoiser) is is_told
        assert network.block_size == SIZE
        torch.testing.assert_close(
            block_token_nll(network, X0, MASKED, LEVEL), torch.tensor(expected(), dtype=torch.float64)
        )

    @pytest.mark.parametrize(
        ("size", "seen"), [(None, "none"), (0, "0"), (-1, "-1"), (L + 1, "6"), (2.0, "2.0"), (True, "True")]
    )
    def test_with_a_size_that_is_none(self, size, seen):
        class Own(Blocks):
            block_size = size

        with pytest.raises(UsageError) as caught:
            _wrap(Own(), "load", torch.float32)
        assert str(caught.value) == (
            f"load returned Own, which has block_logits: block_size: got {seen}, expected a number of tokens from 1 "
            "to its context of 5"
        )

    def test_a_yes_is_no_block_of_one_token(self):
        class Own(Blocks):
            context_length, block_size = 1, True

        with pytest.raises(UsageError, match="block_size: got True, expected a number of tokens from 1 to its context"):
            _wrap(Own(), "load", torch.float32)
