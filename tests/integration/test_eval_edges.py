"""Scores at the edges: a grid that is not uniform, text that spells nothing."""

import json

import numpy as np
import pytest

from bpb_harness.errors import CorpusError
from bpb_harness.evaluation import api as evaluation
from bpb_harness.statistics.standard_errors import Draws, corpus_stderr
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
    with pytest.raises(CorpusError, match=r"^tiny_val: what is left to score spells no bytes"):
        evaluation.evaluate(tiny, method=method, context_length=1, limit=1, **FAST)


def test_an_empty_text_is_refused_by_name(repository, tmp_path):
    tiny = repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
    (tmp_path / "nothing.txt").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"nothing\.txt: what is left to score spells no bytes: got 1 token, 0 bytes"):
        evaluation.evaluate(tiny, docs=tmp_path / "nothing.txt", **FAST)


def test_raw_bytes_leave_out_the_token_that_an_autoregressive_model_is_given(tmp_path):
    """Without a BOS that is the first character of the text: not paid for, so not counted."""
    (tmp_path / "letters.json").write_text(json.dumps(list("ab\u00e9")))
    (tmp_path / "text.txt").write_text("\u00e9abba", encoding="utf-8")
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "class Net:\n"
        "    vocab_size, context_length = 3, 4\n"
        "    def logits(self, x):\n"
        "        return torch.zeros(*x.shape, 3)\n"
        "def load(path, device):\n"
        "    return Net()\n"
    )
    bits = {}
    for rule in ("official", "exact", "raw"):
        result = evaluation.evaluate(
            tmp_path / "letters.json", model=f"{tmp_path / 'net.py'}:load", allow_code=True, method="ar",
            docs=tmp_path / "text.txt", tokenizer=tmp_path / "letters.json", byte_rule=rule, **FAST,
        )  # fmt: skip
        assert result.length.num_tokens == 4
        bits[rule] = result.bits_per_byte
    assert bits == pytest.approx(dict.fromkeys(bits, np.log2(3)))
