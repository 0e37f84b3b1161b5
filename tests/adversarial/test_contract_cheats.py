"""Every network that cheats is caught, by the error that names its way."""

from __future__ import annotations

import pytest
import torch

from bpb_harness.contract import Witness, check_causal_lm, check_denoiser, examine
from bpb_harness.errors import ContractError, StatefulError, StateMutatedError
from bpb_harness.schedule import LogLinear
from fixtures.adversarial.models import cheats
from tests.tiers import some_of

_SCHEDULE = LogLinear(1e-3)


def _windows(seed: int, *, rows: int = 4, length: int = 128, vocab_size: int = 64) -> torch.Tensor:
    return torch.randint(vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", cheats.CHEATING_DENOISERS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("seed", some_of([0, 1, 2], everyday=1))
def test_a_cheating_denoiser_is_caught_by_its_own_error(kind: type[cheats.HonestDenoiser], seed: int) -> None:
    with pytest.raises(ContractError) as caught:
        check_denoiser(kind(), _windows(seed), schedule=_SCHEDULE, seed=seed)
    assert type(caught.value) is kind.error, str(caught.value)
    assert "\n" not in str(caught.value)
    has_numbers = any(character.isdigit() for character in str(caught.value))
    assert has_numbers or kind is cheats.DecidesWhatItsLogitsMean, "the evidence has numbers"


@pytest.mark.parametrize("kind", cheats.CHEATING_CAUSAL_LMS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("seed", some_of([0, 1, 2], everyday=1))
def test_a_cheating_causal_model_is_caught_by_its_own_error(kind: type[cheats.HonestCausalLM], seed: int) -> None:
    with pytest.raises(ContractError) as caught:
        check_causal_lm(kind(), _windows(seed), seed=seed)
    assert type(caught.value) is kind.error, str(caught.value)


@pytest.mark.parametrize(("kind", "rows", "length"), cheats.CHEATS_IN_LARGE_RUNS)
def test_what_a_run_really_asks_is_what_is_tested(kind: type, rows: int, length: int) -> None:
    """Batches of as many rows as the run's, and whole windows."""
    windows = _windows(0, rows=8, length=length)
    schedule = _SCHEDULE if issubclass(kind, cheats.HonestDenoiser) else None
    with pytest.raises(ContractError) as caught:
        examine(kind(64, 512), windows, schedule=schedule, batch_rows=rows, num_rows=150)
    assert type(caught.value) is kind.error, str(caught.value)
    fewer = windows[:, :256] if length > 256 else windows
    examine(kind(64, 512), fewer, schedule=schedule, batch_rows=min(rows, 32), num_rows=150)  # where it is honest


def test_the_witness_asks_as_many_rows_as_the_run_does() -> None:
    """A network that is honest for some calls, and later whenever two rows or fewer are asked."""
    model, windows = cheats.RemembersFromItsTwentiethCallOn(), _windows(0)
    examination = examine(model, windows, schedule=_SCHEDULE, batch_rows=8)
    assert model.calls < 20
    model.calls = 0
    examination.witness.check()
    model.calls = 20
    with pytest.raises(StatefulError, match="scoring the corpus changed"):
        examination.witness.check()


def test_the_witness_sees_weights_that_changed_meanwhile() -> None:
    model = cheats.HonestDenoiser()
    examination = examine(model, _windows(0), schedule=_SCHEDULE)
    examination.witness.check()
    model.network.out.bias[3] += 1e-7  # no answer moves beyond rounding
    with pytest.raises(StateMutatedError, match=r"the network's own network\.out\.bias: got 1 of \d+ tensors"):
        examination.witness.check()


def test_a_bias_smaller_than_rounding_is_seen_on_average() -> None:
    """Each log-probability moves by less than an honest network's may; all of them move the right way."""

    class Whispers(cheats.RemembersItsRow):
        def logits(self, xt, level):
            honest = cheats.HonestDenoiser.logits(self, xt, level)
            return honest + (super().logits(xt, level) - honest) * 5e-5

    with pytest.raises(StatefulError, match=r"mean code length moved by -0\.000"):
        check_denoiser(Whispers(), _windows(0, length=128), schedule=_SCHEDULE)


def test_the_shape_that_is_expected_is_written_like_a_shape() -> None:
    class LosesItsWidth(cheats.HonestDenoiser):
        def logits(self, xt, level):
            return super().logits(xt, level)[..., 0]

    with pytest.raises(
        ContractError, match=r"got \(4, 128\) of .*, expected \(4, 128, W\) of a floating type, W >= 64"
    ):
        check_denoiser(LosesItsWidth(), _windows(0), schedule=_SCHEDULE)


def test_nan_is_reported_with_its_position() -> None:
    with pytest.raises(ContractError, match=r"row 0, position 97, column 0.*nan"):
        check_denoiser(cheats.NanAtOnePosition(), _windows(0), schedule=_SCHEDULE)


def test_the_mask_among_the_data_is_an_error() -> None:
    windows = _windows(0)
    model = cheats.HonestDenoiser()
    windows[2, 5] = model.mask_token_id
    with pytest.raises(ContractError, match="first in window 2 at position 5"):
        check_denoiser(model, windows, schedule=_SCHEDULE)


def test_windows_longer_than_the_context_are_an_error() -> None:
    with pytest.raises(ContractError, match=r"got 129 tokens.*at most 128"):
        check_denoiser(cheats.HonestDenoiser(), _windows(0, length=129), schedule=_SCHEDULE)


def test_the_witness_sees_a_memory_that_starts_late() -> None:
    """A network that behaves for its first hundred calls and then changes passes every check made before."""

    class StartsLate(cheats.HonestDenoiser):
        calls = 0

        def logits(self, xt, level):
            self.calls += 1
            return super().logits(xt, level) * (1.0 if self.calls < 100 else 1.5)

    model, windows = StartsLate(), _windows(0)
    check_denoiser(model, windows, schedule=_SCHEDULE)
    witness = Witness(model, windows, schedule=_SCHEDULE)
    witness.check()
    level = _SCHEDULE.level(torch.full((4,), 0.5))
    for _ in range(100):
        model.logits(windows, level)
    with pytest.raises(StatefulError, match="scoring the corpus changed"):
        witness.check()
