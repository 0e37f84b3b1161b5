"""What a job refuses before any number is computed, how its bytes are shared among windows, and how it signs itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.errors import CorpusError, HarnessError, TokenizerError, UsageError
from bpb_harness.evaluation import job as job_module
from bpb_harness.evaluation import layout as layout_module
from bpb_harness.evaluation.inputs import EvaluationText, require_same_vocabulary
from bpb_harness.evaluation.job import Job, ModelIdentity
from bpb_harness.evaluation.methods import either, names
from bpb_harness.evaluation.settings import Settings
from bpb_harness.sampling import bigram
from bpb_harness.schedule import LogLinear
from bpb_harness.text.corpus import load_shards
from bpb_harness.text.spans import Spans
from tests.spans import end_to_end
from tests.threads_as_processes import run_together

_SCHEDULE = LogLinear()


class Masked:
    """A masked network that nobody calls."""

    vocab_size, mask_token_id, context_length, time_conditioned = 512, 512, 16, False

    def logits(self, xt, level):
        raise AssertionError


class Causal:
    """An autoregressive network that nobody calls."""

    vocab_size, context_length = 512, 16

    def logits(self, x):
        raise AssertionError


@pytest.fixture(scope="module")
def text(repository):
    tokenizer = load_tokenizer(repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model")
    corpus = load_shards([repository / "fixtures" / "corpora" / "tiny_val_000000.bin"], vocab_size=512)
    return EvaluationText(corpus, tokenizer, "--data")


def job(text: Any, model: Any = None, *, schedule: Any = _SCHEDULE, **settings: Any) -> Job:
    chosen = Settings(**{"device": "cpu", "method": "mc", "limit": 4} | settings)
    return Job(model or Masked(), text, chosen, schedule, ModelIdentity("0123456789"))


def refusal(call: Any, kind: type[HarnessError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_a_method_that_is_not_the_networks(text):
    causal = {"model": Causal(), "schedule": None}
    job(text, method="ar", **causal).require_scorable()
    for method in ("discrete", "mc", "chain", "exact"):
        assert refusal(job(text, method=method, **causal).require_scorable, UsageError) == (
            f"--method {method}: got an autoregressive model, expected --method ar"
        )
    assert refusal(job(text, method="ar").require_scorable, UsageError) == (
        f"--method ar: got a masked denoiser, expected --method {either(names(lambda row: not row.is_causal))}"
    )
    assert refusal(job(text, schedule=None).require_scorable, UsageError) == (
        "the checkpoint names no noise schedule; pass --schedule 'loglinear[0.001]'"
    )


def test_the_enumeration_of_masks_has_limits(text):
    job(text, method="exact", context_length=12).require_scorable()
    message = refusal(job(text, method="exact", context_length=13).require_scorable, UsageError)
    assert message.startswith("--method exact: got windows of 13 tokens, expected at most 12; pass --context 12")
    drawn = {"method": "exact", "context_length": 12, "num_samples": 3}
    message = refusal(job(text, **drawn).require_scorable, UsageError)
    assert message == (
        "--samples with --method exact: got a network that is not told the noise level, whose bound needs no draws, "
        "expected a network that is told it; leave out --samples"
    )
    told = Masked()
    told.time_conditioned = True  # type: ignore[misc]
    job(text, told, **drawn).require_scorable()


def test_windows_longer_than_the_networks_own(text):
    assert job(text).context_length == 16
    assert job(text, context_length=16).context_length == 16
    assert job(text, context_length=5).context_length == 5
    assert refusal(lambda: job(text, context_length=17).context_length, UsageError) == (
        "--context: got 17, expected at most 16, the network's context length"
    )


@pytest.mark.parametrize("place", [0, 63, 64, 150, 199])
def test_a_token_that_the_network_does_not_have_is_looked_for_in_all_of_the_text(monkeypatch, place):
    monkeypatch.setattr(job_module, "_CHUNK_TOKENS", 64)
    tokens = np.full(200, 511)
    corpus = SimpleNamespace(num_tokens=200, read=lambda start, stop: tokens[start:stop])
    tokenizer = SimpleNamespace(vocab_size=600, num_unnamed=88)
    text: Any = SimpleNamespace(corpus=corpus, tokenizer=tokenizer, answers=None)
    for model, schedule, method in ((Masked(), LogLinear(), "mc"), (Causal(), None, "ar")):
        tokens[place] = 511
        job(text, model, schedule=schedule, method=method).require_scorable()
        tokens[place] = 512
        assert refusal(job(text, model, schedule=schedule, method=method).require_scorable, TokenizerError) == (
            "the text holds a token that the network does not have: got 512, expected 0..511; pass the --tokenizer and "
            "--data that it was trained with"
        )


@pytest.mark.parametrize(
    ("pieces", "unnamed", "vocab_size", "clean", "is_own", "fits"),
    [
        (512, 0, 512, 511, False, True),
        (511, 0, 512, 511, False, True),
        (513, 0, 512, 511, False, False),
        (600, 88, 512, 512, False, True),
        (600, 87, 512, 512, False, False),
        (600, 87, 512, 512, True, False),
        (100, 0, 50_000, 50_000, True, True),
        (100, 0, 50_000, 50_000, False, False),
    ],
)
def test_a_tokenizer_of_another_vocabulary(pieces, unnamed, vocab_size, clean, is_own, fits):
    tokenizer: Any = SimpleNamespace(vocab_size=pieces, num_unnamed=unnamed)

    def require() -> None:
        require_same_vocabulary(tokenizer, vocab_size, clean, is_own=is_own)

    if fits:
        require()
        return
    assert refusal(require, TokenizerError) == (
        f"the tokenizer does not belong to this checkpoint: got a tokenizer of {pieces - unnamed} pieces, expected "
        f"{vocab_size}, the network's vocabulary; pass the --tokenizer that it was trained with"
    )


def test_targets_in_several_blocks_of_a_network_of_blocks_are_refused(text):
    class OfBlocks(Masked):
        block_size = 4

    job(text, OfBlocks()).require_scorable()
    assert refusal(job(text, OfBlocks(), stride=8).require_scorable, UsageError).startswith(
        "a network that predicts blocks of 4 tokens, each given the blocks before it: got 16 targets in several"
    )


def test_nothing_to_score_is_an_error(text, monkeypatch):
    empty = Spans.without_context(*(np.zeros(0, dtype=np.int64),) * 2)
    monkeypatch.setattr(layout_module, "sliding", lambda *_, **__: empty)
    causal = job(text, Causal(), schedule=None, method="ar", tail="drop")
    assert refusal(causal.lay_out, CorpusError) == (
        f"nothing is left to score: got {text.corpus.num_tokens:,} tokens, windows of 16, tail drop; pass more text, "
        "or --tail score"
    )
    causal = job(text, Causal(), schedule=None, method="ar")  # which scores the tail already
    assert refusal(causal.lay_out, CorpusError).endswith("tail score; pass more text")
    silent = job(text)
    monkeypatch.setattr(job_module, "span_bytes", lambda corpus, windows, *_: np.zeros(len(windows), np.int64))
    assert refusal(silent.lay_out, CorpusError) == (
        f"{text.corpus.name}: what is left to score spells no bytes: got 64 tokens, 0 bytes; pass more text"
    )


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("settings", [{}, {"byte_rule": "exact", "num_samples": 1}, {"byte_rule": "none"}])
def test_processes_that_count_parts_of_a_text_know_all_of_it(text, monkeypatch, count, settings):
    alone = job(text, limit=None, **settings).lay_out()
    monkeypatch.setattr(bigram, "_CHUNK_TOKENS", 3000)
    calls, span_bytes = [], job_module.span_bytes
    monkeypatch.setattr(job_module, "span_bytes", lambda *asked: calls.append(asked) or span_bytes(*asked))
    jobs = [job(text, limit=None, **settings) for _ in range(count)]
    layouts = run_together(monkeypatch, count, lambda processes: jobs[processes.rank].lay_out(processes))
    for laid, each in zip(layouts, jobs, strict=True):
        assert laid.num_units.tolist() == each.num_units.tolist() == alone.num_units.tolist()
        assert laid.difficulty.tolist() == alone.difficulty.tolist()
        assert laid.bigrams.pairs.tolist() == alone.bigrams.pairs.tolist()
        assert (laid.bigrams.firsts.tolist(), laid.bigrams.last) == (alone.bigrams.firsts.tolist(), alone.bigrams.last)
        assert laid.num_in_corpus == alone.num_in_corpus
    counted = sum(len(spans) for _, spans, *_ in calls)
    assert counted == (0 if settings.get("byte_rule") == "none" else len(alone))  # each span by one process


def test_what_one_process_cannot_count_all_refuse(text, monkeypatch):
    monkeypatch.setattr(job_module, "span_bytes", lambda corpus, spans, *_: np.zeros(len(spans), np.int64))
    jobs = [job(text) for _ in range(2)]
    with pytest.raises(CorpusError, match="spells no bytes: got 64 tokens"):
        run_together(monkeypatch, 2, lambda processes: jobs[processes.rank].lay_out(processes))


def test_raw_bytes_are_of_whole_documents_alone(text, monkeypatch):
    needs = (
        "--bytes raw needs the original documents, whole: got {}; pass --docs FILE.jsonl without --limit and "
        "--tail drop"
    )
    whole = {"byte_rule": "raw", "limit": None, "context_length": 16}
    assert refusal(job(text, **whole).lay_out, UsageError) == needs.format("shards alone")
    exact = np.array([3, 0, 5])

    class Raw:
        num_raw_bytes, num_tokens, raw_bytes_per_document = 13, 48, None

    raw_text: Any = SimpleNamespace(corpus=Raw(), tokenizer=text.tokenizer, counter=None, answers=None)
    three = end_to_end([16] * 3, begin=1)

    def spelt(corpus, windows, counter, rule):
        assert rule == "exact"
        return exact if len(windows) == 3 else np.array([1])

    monkeypatch.setattr(job_module, "span_bytes", spelt)
    shared = job(raw_text, **whole)._bytes_of_spans(three, 3)
    assert shared.tolist() == [5, 0, 7]  # twelve, in shares of 3, 0 and 5; the first token's own is not paid
    for settings, found in (({}, "3 of 4 windows"), ({"tail": "drop"}, "3 of 3 windows")):
        total = 4 if not settings else 3
        part = job(raw_text, **whole | settings)
        assert refusal(lambda part=part, total=total: part._bytes_of_spans(three, total), UsageError) == needs.format(
            found
        )


@pytest.mark.parametrize(("raw", "is_known"), [(9, True), (13, False), (8, False)])
def test_raw_bytes_of_tokens_that_are_paid_for(text, monkeypatch, raw, is_known):
    """Known where the normaliser leaves a text alone; else the prefixes' share of what it changed is not."""
    raw_text: Any = SimpleNamespace(
        corpus=SimpleNamespace(num_raw_bytes=raw, num_tokens=48, raw_bytes_per_document=None),
        tokenizer=text.tokenizer, counter=None, answers=None,
    )  # fmt: skip
    monkeypatch.setattr(job_module, "span_bytes", lambda _, spans, *__: np.array([3, 0, 5] if len(spans) == 3 else [1]))
    part = job(raw_text, byte_rule="raw", limit=None, context_length=16, unpaid_prefix=1)
    three = end_to_end([16] * 3, begin=1)
    if is_known:
        assert part._bytes_of_spans(three, 3).tolist() == [3, 0, 5]
        return
    assert refusal(lambda: part._bytes_of_spans(three, 3), UsageError) == (
        "--bytes raw with --unpaid-prefix: nobody knows which of the original bytes are paid for: got "
        f"{raw} of them, of which the normaliser makes 9, expected a text that its normaliser leaves alone; pass "
        "--bytes exact"
    )


def test_the_signature_names_what_is_left_out(text):
    of = job(text, limit=3, num_samples=1)
    layout = of.lay_out()
    signature = of.signature(layout)
    assert signature.data == f"{text.corpus.name}@{text.corpus.digest[:8]}[0:3/{layout.num_in_corpus}]"
    assert (signature.model, signature.adapter, signature.passes) == ("01234567", None, None)
    assert (signature.num_steps, signature.num_samples, signature.seed) == (None, "1", "0")
    assert of.signature(layout, 2).passes == "2"
    everything = job(text, limit=None)
    whole = everything.lay_out()
    assert everything.signature(whole).data == f"{text.corpus.name}@{text.corpus.digest[:8]}"
    assert text.borders.are_known
    assert everything.num_documents(whole) == len(text.borders.starts)
    for part in ({"unpaid_prefix": 1}, {"tail": "drop"}):
        other = job(text, limit=None, **part)
        assert other.num_documents(other.lay_out()) is None
    assert of.num_documents(layout) is None
    discrete = job(text, method="discrete", num_steps=8)
    assert discrete.signature(layout).num_steps == "8"
    assert job(text, method="exact", context_length=8, num_steps=4).signature(layout).num_steps == "4"


@pytest.mark.parametrize(
    ("settings", "draws"),
    [
        ({"method": "mc"}, True),
        ({"method": "discrete", "num_samples": "all", "num_steps": 4}, True),  # a mask of every step is drawn
        ({"method": "chain"}, False),
        ({"method": "chain", "order": "confidence"}, False),
        ({"method": "chain", "order": "random"}, True),
        ({"method": "chain", "ttt": "sgd"}, True),  # it learns from masks
        ({"method": "exact", "context_length": 8}, False),
        ({"method": "exact", "context_length": 8, "num_steps": 4}, False),
        ({"method": "ar"}, False),
        ({"method": "ar", "ttt": "sgd"}, False),
    ],
)
def test_a_seed_is_in_the_signature_of_what_is_drawn_alone(text, settings, draws):
    """Two scores of different signatures are different quantities: what draws nothing is one, whatever the seed."""
    network = {"model": Causal(), "schedule": None} if settings["method"] == "ar" else {}
    made = job(text, **network, **settings, seed=5)
    assert made.signature(made.lay_out()).seed == ("5" if draws else None)


def test_noise_levels_that_are_drawn_have_their_seed_in_the_signature(text):
    class Told(Masked):
        time_conditioned = True

    for steps, seed in ((None, "5"), (4, None)):
        made = job(text, Told(), method="exact", context_length=8, num_steps=steps, seed=5)
        assert made.signature(made.lay_out()).seed == seed


@pytest.mark.parametrize(
    ("is_causal", "separator", "tail", "is_given"),
    [
        (False, 1, "score", True),  # a masked network is told where a document's last window ends
        (True, 1, "score", False),  # the token between documents is paid for
        (True, 0, "score", False),
        (True, None, "score", True),  # where there is one
        (True, 1, "drop", True),  # and scored
    ],
)
def test_who_is_given_the_lengths_of_documents(is_causal, separator, tail, is_given):
    for per_document in (True, False):
        job = SimpleNamespace(
            method=SimpleNamespace(is_causal=is_causal), text=SimpleNamespace(separator_id=separator),
            settings=SimpleNamespace(per_document=per_document, tail=tail),
        )  # fmt: skip
        assert Job.is_given_lengths.fget(job) is (per_document and is_given)  # type: ignore[attr-defined]
