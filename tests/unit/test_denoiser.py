"""The one place where a network is called: normalising, carrying over, gathering, spreading; against plain Python."""

from __future__ import annotations

import math

import pytest
import torch

from bpb_harness.adapters.exported import ExportedDenoiser
from bpb_harness.adapters.huggingface import HuggingFaceDenoiser
from bpb_harness.adapters.user_code import _UserDenoiser
from bpb_harness.denoiser import (
    clean_log_probs,
    is_stateless,
    masked_nll,
    masked_token_nll,
    num_clean_tokens,
    packed_nll,
    require_finite,
    states_of,
    unpack_nats,
)
from bpb_harness.schedule import LogLinear

V = 5
LEVEL = LogLinear().level(torch.tensor([0.25, 0.75], dtype=torch.float64))
X0 = torch.tensor([[4, 1, 0], [2, 2, 4]])
MASKED = torch.tensor([[True, False, True], [False, True, False]])


class Network:
    """Random logits of (token, position, rate); what it was asked is kept."""

    vocab_size, context_length, time_conditioned = V, 3, True

    def __init__(self, mask_token_id: int, width: int = V + 2, dtype: torch.dtype = torch.float64) -> None:
        self.mask_token_id, self.dtype = mask_token_id, dtype
        generator = torch.Generator().manual_seed(3)
        self.table = torch.randn((V + 1, 3, width), generator=generator, dtype=torch.float64)
        self.asked = None

    def logits(self, xt, level):
        self.asked = xt
        rows = torch.where(xt == self.mask_token_id, V, xt)
        logits = self.table[rows, torch.arange(xt.shape[1])] * (1.0 + level.mask_rate[:, None, None])
        return logits.to(self.dtype)


class Factored(Network):
    """The same logits through hidden states that are twice as large."""

    def hidden(self, xt, level):
        return 2.0 * self.logits(xt, level)

    def head(self, hidden):
        self.unembedded = tuple(hidden.shape)
        return hidden / 2.0


def plain_nll(network: Network, row: int, position: int, token: int) -> float:
    """-log softmax over the clean tokens, one position at a time."""
    xt = [network.mask_token_id if hidden else value for hidden, value in zip(MASKED[row], X0[row], strict=True)]
    shown = V if xt[position] == network.mask_token_id else int(xt[position])
    rate = 1.0 + float(LEVEL.mask_rate[row])
    logits = {
        v: float(network.table[shown, position, v]) * rate for v in range(V) if v != network.mask_token_id
    }  # columns from V on are padding
    return math.log(math.fsum(math.exp(value) for value in logits.values())) - logits[token]


@pytest.mark.parametrize(("mask", "clean"), [(-1, 5), (0, 4), (3, 4), (4, 4), (5, 5), (7, 5)])
def test_a_mask_inside_the_vocabulary_is_no_clean_token(mask, clean):
    assert num_clean_tokens(Network(mask)) == clean


class TestCleanLogProbs:
    @pytest.mark.parametrize("mask", [0, 2, 4])
    def test_the_mask_gets_no_mass_and_the_others_all_of_it(self, mask):
        logits = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 90.0]], dtype=torch.float64)
        log_probs = clean_log_probs(logits, vocab_size=V, mask_token_id=mask)
        assert log_probs.shape == (1, V)
        assert float(log_probs[0, mask]) == -math.inf
        total = math.fsum(math.exp(v + 1) for v in range(V) if v != mask)
        for v in set(range(V)) - {mask}:
            assert float(log_probs[0, v]) == pytest.approx(v + 1 - math.log(total), abs=1e-14)

    @pytest.mark.parametrize("mask", [-1, 5, 6])
    def test_a_mask_outside_takes_no_column(self, mask):
        log_probs = clean_log_probs(torch.zeros((2, V), dtype=torch.float64), vocab_size=V, mask_token_id=mask)
        torch.testing.assert_close(log_probs, torch.full((2, V), -math.log(V), dtype=torch.float64))

    def test_the_networks_logits_are_left_as_they_are(self):
        logits = torch.arange(5.0, dtype=torch.float32).expand(2, V).clone()
        before = logits.clone()
        clean_log_probs(logits, vocab_size=V, mask_token_id=1)
        assert torch.equal(logits, before)

    @pytest.mark.parametrize(
        ("given", "wide"),
        [
            (torch.float16, torch.float32),
            (torch.bfloat16, torch.float32),
            (torch.float32, torch.float32),
            (torch.float64, torch.float64),
        ],
    )
    def test_it_normalises_in_float32_or_better(self, given, wide):
        logits = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]).to(given)
        log_probs = clean_log_probs(logits, vocab_size=V, mask_token_id=-1)
        assert log_probs.dtype == wide
        assert float(log_probs.double().exp().sum()) == pytest.approx(1.0, abs=1e-6)


class TestPacking:
    def test_states_are_the_logits_or_the_trunks(self):
        plain, factored = Network(5), Factored(5)
        logits = plain.logits(X0, LEVEL)
        picked = torch.tensor([5, 0, 3])
        assert torch.equal(states_of(plain, X0, LEVEL, picked), logits.reshape(6, V + 2)[picked])
        assert torch.equal(states_of(factored, X0, LEVEL, picked), 2.0 * logits.reshape(6, V + 2)[picked])

    def test_a_trunk_without_a_head_is_not_asked_for(self):
        network = Factored(5)
        network.head = None
        assert torch.equal(states_of(network, X0, LEVEL, torch.arange(6)), network.logits(X0, LEVEL).reshape(6, V + 2))

    @pytest.mark.parametrize("splits", [True, False])
    def test_a_network_that_picks_is_asked_for_the_positions_alone(self, splits):
        """If it splits: what it hands over is a trunk's, which its head makes logits of."""
        network, asked = Factored(5), []
        if not splits:
            network.head = None

        def hidden_at(xt, level, positions):
            asked.append(positions.tolist())
            return network.hidden(xt, level).flatten(0, 1)[positions]

        network.hidden_at = hidden_at
        expected = (2.0 if splits else 1.0) * network.logits(X0, LEVEL).reshape(6, V + 2)[[5, 0]]
        assert torch.equal(states_of(network, X0, LEVEL, torch.tensor([5, 0])), expected)
        assert asked == ([[5, 0]] if splits else [])

    @pytest.mark.parametrize("kind", [Network, Factored])
    def test_nll_of_some_positions(self, kind):
        network = kind(5)
        states = states_of(network, torch.where(MASKED, 5, X0), LEVEL, torch.tensor([4, 0, 2]))
        nll = packed_nll(network, states, torch.tensor([2, 4, 0]))
        expected = [plain_nll(network, 1, 1, 2), plain_nll(network, 0, 0, 4), plain_nll(network, 0, 2, 0)]
        assert nll.shape == (3,)
        assert nll.tolist() == pytest.approx(expected, rel=1e-12)
        if kind is Factored:
            assert network.unembedded == (3, V + 2)  # the picked positions alone

    @pytest.mark.parametrize("mask", [1, 3])
    def test_nll_over_a_vocabulary_with_the_mask_inside(self, mask):
        network = Network(mask)
        states = states_of(network, torch.where(MASKED, mask, X0), LEVEL, torch.tensor([0]))
        nll = packed_nll(network, states, torch.tensor([4]))
        assert float(nll[0]) == pytest.approx(plain_nll(network, 0, 0, 4), rel=1e-12)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_unpacked_values_lie_where_they_belong(self, dtype):
        dense = unpack_nats(torch.tensor([1.5, 2.5], dtype=dtype), torch.tensor([5, 1]), (2, 3))
        assert dense.dtype == torch.float64
        assert dense.tolist() == [[0.0, 2.5, 0.0], [0.0, 0.0, 1.5]]

    def test_they_stay_on_the_networks_device(self):
        values, positions = torch.zeros(2, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta")
        assert unpack_nats(values, positions, (2, 3)).device.type == "meta"


class TestMaskedNll:
    @pytest.mark.parametrize("kind", [Network, Factored])
    @pytest.mark.parametrize("mask", [3, 5, 8])
    def test_masked_tokens_pay_and_visible_ones_do_not(self, kind, mask):
        network = kind(mask)
        nats = masked_token_nll(network, X0, MASKED, LEVEL)
        assert nats.dtype == torch.float64
        assert nats.shape == (2, 3)
        for row in range(2):
            for position in range(3):
                pays = bool(MASKED[row, position])
                token = int(X0[row, position])
                expected = plain_nll(network, row, position, token) if pays else 0.0
                assert float(nats[row, position]) == pytest.approx(expected, rel=1e-12)
        torch.testing.assert_close(masked_nll(network, X0, MASKED, LEVEL), nats.sum(dim=1))

    def test_the_network_sees_the_mask_in_place_of_what_it_must_predict(self):
        network = Network(8)
        masked_nll(network, X0, MASKED, LEVEL)
        assert network.asked.tolist() == [[8, 1, 8], [2, 8, 4]]

    def test_nothing_masked_costs_nothing(self):
        nats = masked_nll(Network(8), X0, torch.zeros_like(MASKED), LEVEL)
        assert nats.tolist() == [0.0, 0.0]

    def test_sums_are_float64_whatever_the_network_gives(self):
        half = masked_token_nll(Network(8, dtype=torch.bfloat16), X0, MASKED, LEVEL)
        full = masked_token_nll(Network(8), X0, MASKED, LEVEL)
        assert half.dtype == torch.float64
        torch.testing.assert_close(half, full, rtol=0.0, atol=0.05)


def test_finite_numbers_pass_unchanged():
    nats = torch.tensor([0.0, -3.0, 1e300], dtype=torch.float64)
    assert require_finite(nats, what="nats") is nats


@pytest.mark.parametrize("kind", [ExportedDenoiser, HuggingFaceDenoiser, _UserDenoiser])
def test_networks_of_unknown_code_do_not_promise_to_keep_nothing(kind):
    assert not is_stateless(kind)
    kind_that_says_so = type("Stateless", (), {"is_stateless": True})
    assert is_stateless(kind_that_says_so)
