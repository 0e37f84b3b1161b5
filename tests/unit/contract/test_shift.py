"""Logits that are shifted by a position are named; those of honest networks, trained or not, are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from bpb_harness.adapters import load_model
from bpb_harness.contract import check_causal_lm, check_denoiser
from bpb_harness.schedule import LogLinear
from bpb_harness.text.corpus import load_shards

V, L = 12, 24
STARTS = torch.arange(4).unsqueeze(1) * 5
WINDOWS = (STARTS + torch.arange(L)) % V  # each token is the one before it, and one more
FIRST = torch.randint(V, (4, L), generator=torch.Generator().manual_seed(0))


class Next:
    """Expects the token that follows the one it has read; shifted, the one that it has read."""

    vocab_size, context_length = V, L

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead

    def logits(self, x):
        return 4.0 * functional.one_hot((x + self.ahead) % V, V).double()


class Placed:
    """Knows which token stands where; shifted, which stands beside it."""

    vocab_size = mask_token_id = V
    context_length, time_conditioned = L, False

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def logits(self, xt, level):
        del level
        told = (torch.arange(xt.shape[1]) + self.offset) % V
        return 4.0 * functional.one_hot(told, V).double().expand(*xt.shape, V)


class Untrained:
    """Logits of a random network."""

    vocab_size, context_length = V, L

    def __init__(self) -> None:
        self.table = torch.randn(V + 1, V, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def logits(self, xt, level=None):
        del level
        return self.table[xt]


class UntrainedMasked(Untrained):
    mask_token_id, time_conditioned = V, False


def of_denoiser(model, windows=WINDOWS):
    found = check_denoiser(model, windows, schedule=LogLinear(), batch_rows=4)
    return [remark for remark in found if remark.code == "contract.shifted"]


def of_causal(model, windows=WINDOWS):
    return [remark for remark in check_causal_lm(model, windows, batch_rows=4) if remark.code == "contract.shifted"]


def test_a_causal_network_that_expects_what_it_has_read():
    assert of_causal(Next(1)) == []
    (found,) = of_causal(Next(0))
    assert found.message == (
        "WARNING: at 88 places the network gives the token before the one that belongs there 0.265 bits, and that one "
        "6.04: either its logits are shifted by a position (try logits.roll(-1, 1) in their place), or it is hardly "
        "trained"
    )
    assert of_causal(Next(3)) == []  # wrong, and not of a neighbour
    assert of_causal(Next(0), WINDOWS[:, :4]) == []  # too few places to tell
    surprised = Next(1)
    surprised.logits = lambda x: -200.0 * (functional.one_hot((x + 1) % V, V) * (x == 7)[..., None]).double()
    assert of_causal(surprised) == []  # a few tokens that it knows to be impossible


@pytest.mark.parametrize(("offset", "where"), [(1, "behind"), (-1, "before")])
def test_a_masked_network_that_predicts_its_neighbours(offset, where):
    rows = torch.arange(L).expand(4, L) % V
    (found,) = of_denoiser(Placed(offset), rows)
    assert f"the token {where} the one" in found.message
    assert f"logits.roll({offset}, 1)" in found.message
    assert found.evidence["offset"] == offset
    assert of_denoiser(Placed(0), rows) == []
    assert of_denoiser(Placed(2), rows) == []


def test_random_networks_and_repeated_tokens_say_nothing():
    for windows in (WINDOWS, FIRST, torch.zeros_like(WINDOWS)):
        assert of_denoiser(UntrainedMasked(), windows) == []
        assert of_causal(Next(0), torch.zeros_like(windows)) == []
        assert of_causal(Untrained(), windows) == []


@pytest.mark.parametrize(("name", "roll", "is_named"), [("ar", 0, 0), ("ar", 1, 1), ("mdlm", 0, 0), ("mdlm", 1, 1)])
def test_a_trained_network_and_its_shifted_self(repository: Path, name, roll, is_named):
    path = repository / "fixtures" / "checkpoints" / f"{name}-tiny.pt"
    _, adapted = load_model(path, device=torch.device("cpu"), dtype=torch.float32)
    corpus = load_shards([repository / "fixtures" / "corpora" / "tiny_val_000000.bin"], vocab_size=512)
    windows = torch.as_tensor(corpus.read(0, 4 * 128)).view(4, 128)

    class Rolled:
        vocab_size, context_length, time_conditioned = adapted.model.vocab_size, 128, True

        def logits(self, *given):
            logits = adapted.model.logits(*given)
            return torch.cat((logits[:, :1],) * roll + (logits[:, : logits.shape[1] - roll],), dim=1)

    if name == "ar":
        found = of_causal(Rolled(), windows)
    else:
        Rolled.mask_token_id = adapted.model.mask_token_id
        found = of_denoiser(Rolled(), windows)
    assert len(found) == is_named
