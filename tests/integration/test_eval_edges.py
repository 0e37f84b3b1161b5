"""Scores at the edges: a grid that is not uniform, text that spells nothing."""

import numpy as np
import pytest

import bpb_harness.evaluate as evaluation
from bpb_harness.errors import CorpusError
from bpb_harness.statistics import Draws, corpus_stderr
from bpb_harness.units import NATS_PER_BIT

FAST = {"device": "cpu", "check_contract": False}


def test_corpus_error_of_every_step_weighs_the_steps_as_the_bound_does(repository):
    """On T = 4 of a steep schedule a plain mean over steps is far from the bound."""
    tiny = repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
    result = evaluation.evaluate(
        tiny, schedule="polynomial[4]", num_samples="all", num_steps=4, limit=12, with_windows=True, **FAST
    )
    table, index = result.windows, np.arange(12)
    alone = Draws(
        window=index, sample=0 * index, v=np.full(12, 0.5), value_nats=table["bits"].to_numpy() * NATS_PER_BIT,
        difficulty=np.ones(12), num_tokens=table["num_tokens"].to_numpy(), num_bytes=table["num_bytes"].to_numpy(),
    )  # fmt: skip
    assert result.corpus_stderr == pytest.approx(corpus_stderr(alone), rel=1e-9)


@pytest.mark.parametrize("method", ["discrete", "mc", "chain", "exact"])
def test_text_without_bytes_is_refused(repository, method):
    """The first token of the text starts a document and spells nothing."""
    tiny = repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
    with pytest.raises(CorpusError, match="spells no bytes"):
        evaluation.evaluate(tiny, method=method, context_length=1, limit=1, **FAST)
