"""``--method exact`` end to end, for networks that are told the noise level and for those that are not."""

import math
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import torch

from bpb_harness.errors import TimeConditioningError, UsageError
from bpb_harness.evaluation.inputs import find_text
from bpb_harness.evaluation.job import Job, ModelIdentity
from bpb_harness.evaluation.methods import either, names
from bpb_harness.evaluation.score import score
from bpb_harness.evaluation.settings import Settings
from bpb_harness.evaluation.trust import Contract
from bpb_harness.schedule import parse_schedule
from bpb_harness.terminal.score import describe
from tests.printed import words_of

SAMPLING = either(names(attrgetter("samples")))
SHORT = {"method": "exact", "context_length": 5, "limit": 6, "device": "cpu", "check_contract": False}


class Network:
    """A small table of logits by number of visible tokens, colder or warmer with the rate, in steps if it rounds."""

    vocab_size, mask_token_id, context_length = 512, 512, 128

    def __init__(self, time_conditioned: bool = True, steps: int | None = None, depends: bool = True) -> None:
        self.time_conditioned, self.steps, self.depends = time_conditioned, steps, depends
        self.table = torch.randn(129, 512, generator=torch.Generator().manual_seed(1))

    def logits(self, xt, level):
        heat = level.mask_rate.float()
        if self.steps is not None:
            heat = torch.round(heat * self.steps) / self.steps
        rows = self.table[(xt != 512).sum(dim=-1)]
        rows = rows * (1.0 + heat if self.depends else torch.ones_like(heat))[:, None]
        return rows[:, None, :].expand(*xt.shape, 512)


@pytest.fixture(scope="module")
def text(repository):
    from bpb_harness.adapters import load_model

    loaded, _ = load_model(Path(repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"))
    shard = repository / "fixtures" / "corpora" / "tiny_val_000000.bin"
    return find_text(loaded, Settings(data=shard))


def job(text, network, schedule="loglinear", **settings):
    return Job(network, text, Settings(**(SHORT | settings)), parse_schedule(schedule), ModelIdentity("0" * 64))


@pytest.mark.parametrize(("steps", "schedule"), [(None, "loglinear"), (2, "loglinear[0.3]"), (20, "cosine-md4[0.1]")])
def test_a_network_that_is_told_the_rate_gets_an_estimate(text, schedule, steps):
    """Its bound by plain sampling, 200 draws a window, within 5 of both errors: false alarm 6e-7 each."""
    network = Network(steps=steps)
    found = score(job(text, network, schedule))
    assert (found.relation, found.signature.num_samples, found.signature.seed) == ("~<=", "2", "0")
    asked_at_u_0 = schedule.startswith("cosine")
    assert found.num_forward_tokens == 6 * 5 * (2**5 - 1) * (2 + asked_at_u_0)
    printed = words_of(describe(found))
    assert f"standard error {found.mc_stderr:.4f}. The interval covers this alone: which noise levels were" in printed
    low, high = found.ci95
    assert (low + high) / 2 == pytest.approx(found.bits_per_byte)
    assert 1.96 * 2 * found.mc_stderr < high - low < 4 * 2 * found.mc_stderr
    sampled = score(job(text, network, schedule, method="mc", num_samples=200))
    error = math.hypot(sampled.mc_stderr, found.mc_stderr)
    assert abs(sampled.bits_per_byte - found.bits_per_byte) < 5 * error < 0.2 * found.bits_per_byte


def test_more_levels_a_mask_are_more_precise_and_stand_in_the_signature(text):
    few, many = (score(job(text, Network(), num_samples=k)) for k in (2, 32))
    assert (many.signature.num_samples, many.num_forward_tokens) == ("32", 16 * few.num_forward_tokens)
    assert many.mc_stderr < few.mc_stderr / 2.5
    assert score(job(text, Network(), num_samples=2)).length == few.length  # --samples 2 goes without saying
    assert score(job(text, Network(), seed=1)).length != few.length


def test_other_bounds_stay_exact(text):
    told, blind = Network(), Network(False, depends=False)
    for network, steps, calls in ((blind, None, 1), (blind, 7, 1), (told, 7, 7)):
        found = score(job(text, network, num_steps=steps))
        assert (found.relation, found.mc_stderr, found.signature.num_samples) == ("<=", 0.0, None)
        assert found.ci95 == (found.bits_per_byte, found.bits_per_byte)
        assert found.num_forward_tokens == 6 * 5 * (2**5 - 1) * calls
    assert score(job(text, blind, seed=9)).bits_per_byte == pytest.approx(score(job(text, blind)).bits_per_byte)


def test_who_says_falsely_that_it_is_not_told_is_refused(text):
    with pytest.raises(TimeConditioningError):
        Contract(job(text, Network(False), check_contract=True))


def test_and_is_told_a_rate_a_mask_all_the_same(text):
    """Unchecked, its number is still near its own bound: no single rate decides it."""
    liar, told = score(job(text, Network(False))), score(job(text, Network(), num_samples=32))
    assert liar.bits_per_byte == pytest.approx(told.bits_per_byte, rel=0.02)


@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [
        (
            Network(False, depends=False),
            {"num_samples": 4},
            r"--samples with --method exact: got a network that is not told the noise level, whose bound needs no "
            r"draws, expected a network that is told it; leave out --samples",
        ),
        (
            Network(),
            {"num_samples": 1},
            r"--samples with --method exact: got 1, expected 2 or more; one",
        ),
        (Network(), {"num_samples": "all"}, r"--samples all with --method exact: expected a number; the integral"),
        (
            Network(),
            {"num_samples": 4, "num_steps": 3},
            f"--samples: got --method exact --steps, expected --method {SAMPLING}, or exact without --steps",
        ),
        (
            Network(),
            {"num_samples": 4, "method": "chain"},
            f"--samples: got --method chain, expected --method {SAMPLING}, or exact without --steps",
        ),
    ],
)
def test_samples_that_would_not_be_drawn_are_refused(text, network, settings, message):
    with pytest.raises(UsageError, match=message):
        score(job(text, network, **settings))


def test_the_corpus_error_leaves_the_drawn_levels_out(text):
    few, many = (score(job(text, Network(), num_samples=k, limit=40)) for k in (2, 32))
    assert few.corpus_stderr == pytest.approx(many.corpus_stderr, rel=0.25)
    assert np.isfinite(few.corpus_stderr)
