"""Prompts and answers of arbitrary text: no tokenizer lets a context tell of the answer, or bytes be counted twice."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpb_harness.errors import CorpusError
from bpb_harness.text.answers import answer_fields, load_answers
from tests.property.test_byte_count_spells_text import SENTENCES, TRAININGS, USER_SYMBOLS, trained
from tests.tiers import times

FIELDS = answer_fields("prompt", "answer", docs=True)
WORDS = [word for sentence in SENTENCES[:4] for word in sentence.split(" ")] + USER_SYMBOLS
PARTS = st.lists(st.sampled_from([*WORDS, " ", "  ", "\n", "\u2581", "e", "\u0301", "\ufb01", "\u4e00"]), max_size=6)
TEXTS = st.one_of(PARTS.map("".join), PARTS.map(" ".join), st.text(st.characters(codec="utf-8"), max_size=12))


@pytest.mark.parametrize("training", TRAININGS, ids=str)
@settings(
    max_examples=times(8, thorough=40), deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(prompt=TEXTS, answer=TEXTS.filter(bool), cut=st.integers(0, 3))
def test_every_border(training, prompt, answer, cut):
    tokenizer, counter, _ = trained(training)
    prompt, answer = prompt + answer[:cut], answer[cut:] or answer  # often inside a word
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "qa.jsonl"
        path.write_text(json.dumps({"prompt": prompt, "answer": answer}))
        try:
            corpus, answers = load_answers([path], tokenizer, FIELDS)
        except CorpusError as error:
            said = str(error)
            corpus = None
    if corpus is None:
        assert "adds no token" in said
        return
    whole, alone = tokenizer.encode(prompt + answer), tokenizer.encode(prompt) if prompt else []
    tokens = corpus.read(0, corpus.num_tokens)[int(tokenizer.bos_id is not None) :]
    border = int(answers.target_starts[0]) - int(tokenizer.bos_id is not None)
    assert tokens.tolist() == whole.tolist()
    assert tokens[:border].tolist() == list(alone[:border])
    spelled = counter.per_token(whole, rule="exact")
    of_prompt = int(counter.per_token(alone, rule="exact").sum()) if len(alone) else 0
    assert int(spelled[:border].sum()) <= of_prompt, "the context spells no more than the prompt"
    written = len(answer.encode())
    for rule in ("official", "exact", "raw"):
        assert 0 <= answers.num_bytes[rule][0] <= written
    keeps_all = training.normaliser == "identity" and not training.remove_extra_whitespaces and training.byte_fallback
    if keeps_all and "\u2581" not in prompt + answer:
        assert answers.num_bytes["exact"][0] == written
        assert int(spelled[border:].sum()) >= written, "what is paid for spells the answer, and may spell more"
