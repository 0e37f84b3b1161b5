"""A network that gives NaN is refused in the same words by every method, which name the window."""

import re

import numpy as np
import pytest
import torch

from bpb_harness.distributed import Processes
from bpb_harness.errors import NumericsError
from bpb_harness.estimators import AutoregressiveCode, ChainRule, ContinuousBound
from bpb_harness.evaluation.batches import DrawSource
from bpb_harness.evaluation.draws import plan_draws, run_draws
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.evaluation.span_scores import score_spans
from bpb_harness.sampling.design import StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear
from bpb_harness.text.corpus import load_shards
from bpb_harness.text.spans import sliding
from tests.shards import write_shard
from tests.spans import windows_of

SCHEDULE, CPU, L, V = LogLinear(1e-3), torch.device("cpu"), 8, 5
WORDS = (
    r"the network's score of window \d+( \(mask rate 0\.\d{4}\))?: got nan nats, expected a finite number; the "
    "network's logits hold NaN or infinity, or give a token of the text no mass at all"
)


class Broken:
    """NaN for whatever it is asked."""

    vocab_size, mask_token_id, context_length, time_conditioned = V, V, L, False

    def logits(self, xt, level=None):
        return torch.full((*xt.shape, V + 1), torch.nan)


def sampled(corpus, windows):
    bound = ContinuousBound(SCHEDULE, 2)
    plan = plan_draws(bound, len(windows), StratifiedDesign(RandomStreams(0), np.arange(len(windows)), 2))
    source, runner = DrawSource(corpus, windows, SCHEDULE), MaskedNllRunner(Broken(), CPU)
    run_draws(runner, source, plan, RandomStreams(0), device=CPU, batch_tokens=2 * L)


def chain(corpus, windows):
    estimator = ChainRule(SCHEDULE, RandomStreams(0), "left-to-right", 1)
    score_spans(estimator, Broken(), corpus, windows, device=CPU, batch_tokens=2 * L, processes=Processes())


def autoregressive(corpus, windows):
    spans, estimator = sliding(0, corpus.num_tokens, L, L, given=1), AutoregressiveCode()
    score_spans(estimator, Broken(), corpus, spans, device=CPU, batch_tokens=2 * L, processes=Processes(), advance=None)


@pytest.mark.parametrize("score", [sampled, chain, autoregressive])
def test_every_method_refuses_nan_in_the_same_words(tmp_path, score):
    corpus = load_shards([write_shard(tmp_path / "a.bin", np.random.default_rng(0).integers(0, V, 5 * L + 3))])
    with pytest.raises(NumericsError) as caught:
        score(corpus, windows_of(corpus, L))
    assert re.fullmatch(WORDS, str(caught.value))
