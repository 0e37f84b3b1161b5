"""Every error message of the core, word for word: users read them, search for them and act on them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tokenizers
import torch
from tokenizers import models

from bpb_harness.byte_count import ByteCounter, formats, library_tokenizer, load_tokenizer
from bpb_harness.denoiser import clean_log_probs, require_finite
from bpb_harness.errors import CorpusError, NumericsError, TokenizerError, UsageError
from bpb_harness.estimators import ChainRule, ContinuousBound, DiscreteBound, ExactBound
from bpb_harness.sampling.design import StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import SCHEDULES, LogLinear, parse_schedule
from bpb_harness.units import CodeLength

SCHEDULE, STREAMS = LogLinear(), RandomStreams(0)
ANY_TOKENIZER = (
    "a SentencePiece model, a byte-level tokenizer.json, vocab.json with merges.txt, a tiktoken file or a vocabulary "
    "of characters"
)
NO_TOKENIZER = "it: not a tokenizer that can be counted"
KNOWN = ", ".join(SCHEDULES)


def said(call) -> tuple[type[Exception], str]:
    """The class and the text of what a call raises."""
    with pytest.raises(Exception) as caught:
        call()
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: CodeLength(math.nan, 1, 1, 1), "total code length: got nan, expected a finite number"),
        (lambda: CodeLength(-math.inf, 1, 1, 1), "total code length: got -inf, expected a finite number"),
        (lambda: CodeLength(1.0, -1, 1, 1), "num_tokens: got -1, expected 0 or more"),
        (lambda: CodeLength(1.0, 1, -2, 1), "num_bytes: got -2, expected 0 or more"),
        (lambda: CodeLength(1.0, 1, 1, -3), "num_windows: got -3, expected 0 or more"),
        (lambda: CodeLength(1.0, 1, 0, 1).bits_per_byte, "a rate per byte: got num_bytes = 0, expected 1 or more"),
        (lambda: CodeLength(1.0, 0, 1, 1).bits_per_token, "a rate per token: got num_tokens = 0, expected 1 or more"),
        (lambda: CodeLength(1.0, 0, 1, 1).bytes_per_token, "a rate per token: got num_tokens = 0, expected 1 or more"),
        (
            lambda: clean_log_probs(torch.zeros(1, 2, 3), vocab_size=4, mask_token_id=0),
            "logits are too narrow: got 3 columns, expected 4 or more",
        ),
        (
            lambda: require_finite(torch.tensor([1.0, math.nan, math.inf, 2.0]), lambda row: f"the score of row {row}"),
            "the score of row 1: got nan nats, expected a finite number; the network's logits hold NaN or "
            "infinity, or give a token of the text no mass at all",
        ),
    ],
)
def test_numbers(call, text):
    assert said(call) == (NumericsError, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cosine", "schedule 'cosine' names two schedules; say cosine-mdlm[eps] or cosine-md4[eps]"),
        ("Triangular", f"schedule: got 'triangular', expected one of {KNOWN}"),
        ("loglinear[", f"schedule: got 'loglinear[', expected NAME or NAME[eps]; NAME is one of {KNOWN}"),
        ("loglinear[abc]", "schedule loglinear: got [abc], expected numbers between the brackets"),
        ("loglinear[0.1,0.2]", "schedule loglinear: got 2 parameters, expected at most eps"),
        ("geometric[1,2,3]", "schedule geometric: got 3 parameters, expected at most sigma_min, sigma_max"),
        ("loglinear[1]", "schedule parameter eps: got 1.0, expected 0 <= eps < 1"),
        ("cosine-mdlm[1]", "schedule parameter eps: got 1.0, expected 0 <= eps < 1"),
        ("cosine-mdlm[-0.1]", "schedule parameter eps: got -0.1, expected 0 <= eps < 1"),
        ("cosine-md4[0.5]", "schedule parameter eps: got 0.5, expected 0 <= eps < 0.5"),
        ("cosine-md4[-0.1]", "schedule parameter eps: got -0.1, expected 0 <= eps < 0.5"),
        ("polynomial[0]", "schedule parameter power: got 0.0, expected 0 < power < 100"),
        ("polynomial[100]", "schedule parameter power: got 100.0, expected 0 < power < 100"),
        ("polynomial[2,0.5]", "schedule parameter eps: got 0.5, expected 0 <= eps < 0.5"),
        ("polynomial[2,-0.1]", "schedule parameter eps: got -0.1, expected 0 <= eps < 0.5"),
        (
            "geometric[2,1]",
            "schedule parameter sigma range: got (2.0, 1.0), expected 0 < sigma_min < sigma_max < 700",
        ),
        (
            "geometric[1,1]",
            "schedule parameter sigma range: got (1.0, 1.0), expected 0 < sigma_min < sigma_max < 700",
        ),
        (
            "geometric[0,1]",
            "schedule parameter sigma range: got (0.0, 1.0), expected 0 < sigma_min < sigma_max < 700",
        ),
        (
            "geometric[1,700]",
            "schedule parameter sigma range: got (1.0, 700.0), expected 0 < sigma_min < sigma_max < 700",
        ),
    ],
)
def test_schedules(name, text):
    assert said(lambda: parse_schedule(name)) == (UsageError, text)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: SCHEDULE.grid(0), "number of steps T: got 0, expected 1 or more; pass --steps 128"),
        (lambda: RandomStreams(-1), "seed: got -1, expected 0 .. 2^64 - 1; pass --seed 0"),
        (
            lambda: StratifiedDesign(STREAMS, np.arange(3), 0),
            "number of samples K: got 0, expected 1 or more; pass --samples 2",
        ),
        (
            lambda: DiscreteBound(SCHEDULE, 0),
            "number of samples K: got 0, expected 1 or more, or 'all'; pass --samples 2",
        ),
        (lambda: DiscreteBound(SCHEDULE, 1, 0), "--steps: got 0, expected 1 or more; pass --steps 128"),
        (
            lambda: ContinuousBound(SCHEDULE, "all"),
            "--samples all with --method mc: expected a number; the integral has no last node",
        ),
        (
            lambda: ContinuousBound(SCHEDULE).nodes(),
            "the continuous bound has no finite set of nodes; use --method discrete --samples all",
        ),
        (lambda: ExactBound(SCHEDULE, 0), "--steps: got 0, expected 1 or more; pass --steps 128"),
        (
            lambda: ExactBound(SCHEDULE).window_nats(None, torch.zeros((1, 13), dtype=torch.int64)),
            "--method exact: got windows of 13 tokens, expected at most 12; pass --context 12 or less, or use "
            "--method chain for an exact code length",
        ),
        (
            lambda: ChainRule(SCHEDULE, STREAMS, order="backwards"),
            "--order: got backwards, expected left-to-right or random or confidence or entropy or margin",
        ),
        (lambda: ChainRule(SCHEDULE, STREAMS, tokens_per_step=0), "--tokens-per-step: got 0, expected 1 or more"),
    ],
)
def test_settings(call, text):
    assert said(call) == (UsageError, text)


def word_level_of_words() -> bytes:
    model = models.WordLevel({"[UNK]": 0, "hello": 1, "world": 2}, "[UNK]")
    return tokenizers.Tokenizer(model).to_str().encode()


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (b"", f"it: not a tokenizer that can be counted: got an empty file, expected {ANY_TOKENIZER}"),
        (
            b"not a model",
            f"{NO_TOKENIZER}: got a file that starts with b'not a mo', expected {ANY_TOKENIZER}; "
            "save it as tokenizer.json",
        ),
        (b"{}", f"it: not a tokenizer that can be counted: got values of another shape, expected {ANY_TOKENIZER}"),
        (b"[]", f"it: not a tokenizer that can be counted: got values of another shape, expected {ANY_TOKENIZER}"),
        (
            b'["a", 1]',
            f"it: not a tokenizer that can be counted: got values of another shape, expected {ANY_TOKENIZER}",
        ),
        (
            b'["a", ""]',
            f"it: not a tokenizer that can be counted: got values of another shape, expected {ANY_TOKENIZER}",
        ),
        (b'{"a": 0, "b": 5}', "it: the ids of a character vocabulary must be 0..1, each once"),
        (
            b'{"hello": 0, "world": 1}',
            "it: not a character vocabulary: got mostly entries of several characters, expected single characters "
            "beside a few special tokens; a byte-level BPE vocabulary comes as tokenizer.json, or as vocab.json "
            "with merges.txt beside it",
        ),
        (
            b'{"model": {"vocab": {"a": 0}, "merges": []}}',
            "it: a tokenizer.json whose bytes cannot be counted exactly: got model type BPE without a ByteLevel part, "
            "expected byte-level BPE or a vocabulary of single characters; give the SentencePiece .model that it was "
            "made from; bpb-eval --bytes none scores in bits per token without bytes",
        ),
        (
            b"[PAD]\n[UNK]\nthe\n",
            "it: not a tokenizer that can be counted: got a list of WordPiece pieces (vocab.txt), expected a "
            "SentencePiece model, a byte-level tokenizer.json, vocab.json with merges.txt, a tiktoken file or a "
            "vocabulary of characters; save it as tokenizer.json; bpb-eval --bytes none scores in bits per token "
            "without bytes",
        ),
        (
            word_level_of_words(),
            "it: a tokenizer.json whose bytes cannot be counted exactly: got model type WordLevel without a ByteLevel "
            "part, expected byte-level BPE or a vocabulary of single characters; bpb-eval --bytes none scores in bits "
            "per token without bytes",
        ),
    ],
)
def test_files_that_are_no_tokenizer(model, text):
    assert said(lambda: load_tokenizer(model, name="it")) == (TokenizerError, text)


@pytest.mark.parametrize(
    ("call", "start"),
    [
        (lambda: load_tokenizer(b"{", name="it"), "it: neither a SentencePiece model nor valid JSON: Expecting"),
        (
            lambda: load_tokenizer(b'{"model": {"type": "BPE", "vocab": 3}}', name="it"),
            "it: the tokenizers library refuses it: invalid type: integer `3`",
        ),
        (
            lambda: load_tokenizer(b'["a"]', name="it").encode("b"),
            "it: the text cannot be encoded: WordLevel error",
        ),
    ],
)
def test_what_a_library_said_follows_what_we_say(call, start):
    kind, text = said(call)
    assert kind is TokenizerError
    assert text.startswith(start)


def test_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "none.model"
    text = f"{path}: cannot be read: No such file or directory; give --tokenizer a model file"
    assert said(lambda: load_tokenizer(path)) == (TokenizerError, text)
    assert said(lambda: load_tokenizer(str(path), name="it"))[1].startswith("it: cannot be read")


def test_a_model_without_a_name_is_called_tokenizer():
    assert said(lambda: load_tokenizer(b""))[1].startswith("tokenizer: not a tokenizer")


def test_a_model_of_more_bytes_than_any_public_one(monkeypatch):
    monkeypatch.setattr(formats, "LARGEST_MODEL_BYTES", 9)
    assert load_tokenizer(b'["a","b"]').vocab_size == 2  # 9 bytes are allowed
    text = "it: too large for a tokenizer: got 10 bytes, expected at most 9"
    assert said(lambda: load_tokenizer(b'["a", "b"]', name="it")) == (TokenizerError, text)


def test_a_vocabulary_of_more_pieces_than_any_public_one(monkeypatch):
    monkeypatch.setattr(library_tokenizer, "LARGEST_VOCABULARY", 2)
    assert load_tokenizer(b'["a", "b"]').vocab_size == 2
    text = "it: not a usable vocabulary: got largest id 2, expected 0 to 1"
    assert said(lambda: load_tokenizer(b'["a", "b", "c"]', name="it")) == (TokenizerError, text)


@pytest.mark.parametrize(("tokens", "worst"), [([0, 5, 9, 1], 9), ([0, 5, -3], -3), ([2], 2)])
@pytest.mark.parametrize("rule", ["official", "exact"])
def test_a_token_outside_the_vocabulary(tokens, worst, rule):
    counter = ByteCounter(load_tokenizer(b'["a", "b"]'))
    text = (
        f"a token id outside the tokenizer's vocabulary: got {worst}, expected 0..1; "
        "the tokenizer does not belong to these tokens"
    )
    assert said(lambda: counter.per_token(np.array(tokens), rule=rule)) == (CorpusError, text)
    assert said(lambda: counter.total(np.array(tokens), rule)) == (CorpusError, text)
