"""What is checked around a score: causal models too, and every token of the text for the mask."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.errors import BatchSizeError, CausalityError, CorpusError, DriftError, MaskTokenError, StatefulError
from bpb_harness.evaluation import api, trust
from bpb_harness.evaluation import score as score_module
from bpb_harness.evaluation.api import LoadedCheckpoint
from bpb_harness.evaluation.inputs import EvaluationText
from bpb_harness.evaluation.job import Job, ModelIdentity
from bpb_harness.evaluation.run_size import RunSize
from bpb_harness.evaluation.score import score
from bpb_harness.evaluation.settings import Settings
from bpb_harness.evaluation.trust import Contract, sample_windows
from bpb_harness.schedule import LogLinear
from bpb_harness.text.corpus import load_shards
from fixtures.adversarial.models import block_cheats, cheats


class Causal:
    """Logits of each token alone, or of a later one as well."""

    vocab_size, context_length = 512, 16

    def __init__(self, ahead: int = 0):
        self.ahead = ahead
        self.table = torch.cos(torch.arange(512.0)[:, None] * 0.37 + torch.arange(512.0))

    def logits(self, x):
        logits = self.table[x]
        if self.ahead:
            later = torch.cat((x[:, self.ahead :], x[:, : self.ahead] * 0), dim=1)
            logits = logits + 5.0 * torch.nn.functional.one_hot(later, 512)
        return logits


class Denoising:
    """Logits of a position alone; with ``learns`` they move a little with every call after ``quiet`` of them."""

    vocab_size, mask_token_id, context_length, time_conditioned = 512, 512, 16, False

    def __init__(self, quiet: int | None = None):
        self.quiet, self.calls = quiet, 0
        self.table = torch.cos(torch.arange(16.0)[:, None] + torch.arange(512.0))

    def logits(self, xt, level):
        self.calls += 1
        late = self.quiet is not None and self.calls > self.quiet
        return self.table[: xt.shape[1]].expand(*xt.shape, -1) * (1.5 if late else 1.0)


class Conditioned(Denoising):
    """Told the noise level."""

    time_conditioned = True


@pytest.fixture(scope="module")
def text(repository):
    tokenizer = load_tokenizer(repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model")
    corpus = load_shards([repository / "fixtures" / "corpora" / "tiny_val_000000.bin"], vocab_size=512)
    return EvaluationText(corpus, tokenizer, "--data")


def job(model: Any, text: EvaluationText, **settings: Any) -> Job:
    schedule = None if isinstance(model, Causal) else LogLinear()
    chosen = Settings(device="cpu", method="mc" if schedule else "ar", limit=6, **settings)
    return Job(model, text, chosen, schedule, ModelIdentity("0" * 64))


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_a_causal_model_is_checked_before_it_is_scored(text, ahead):
    """Its score would be far below that of a model that sees no later token."""
    with pytest.raises(CausalityError):
        score(job(Causal(ahead), text))
    untested = score(job(Causal(ahead), text, check_contract=False))
    assert score(job(Causal(), text)).length.nats > untested.length.nats * (1.0 if ahead == 1 else 0.5)


@pytest.mark.parametrize("kind", [block_cheats.SeesItsOwnCleanBlock, block_cheats.SeesNoisedEarlierBlocks])
def test_a_network_of_blocks_is_checked_by_the_call_that_scores(text, kind):
    with pytest.raises(kind.error):
        score(job(kind(512, 16), text))
    rows = Settings(device="cpu", method="chain", limit=2)  # a call a block: what is wrong with the other is not asked
    score(Job(kind(512, 16), text, rows, LogLinear(), ModelIdentity("0" * 64)))


def test_so_many_windows_as_a_batch_has(text):
    asked: list[int] = []

    class Kept(block_cheats.HonestBlockDenoiser):
        def block_logits(self, xt, x0, level):
            asked.append(len(xt))
            return super().block_logits(xt, x0, level)

    of_blocks = job(Kept(512, 16), text, batch_tokens=16 * 5, num_samples=3)
    assert RunSize.of(of_blocks) == RunSize(batch_rows=5, num_rows=18)
    Contract(of_blocks).check_again()
    assert max(asked) == 5
    by_rows = replace(of_blocks, settings=replace(of_blocks.settings, method="chain", num_samples=None))
    assert RunSize.of(by_rows) == RunSize(batch_rows=5, num_rows=24 * 4, widest=(4, 6))


def test_the_checks_are_told_what_the_run_is(text, monkeypatch):
    asked: dict[str, Any] = {}

    def examine(model, windows, **given):
        asked.update(given)
        return SimpleNamespace(witness=None, findings=["a remark"])

    monkeypatch.setattr(trust, "examine", examine)
    contract = Contract(job(Denoising(), text, batch_tokens=16 * 4, num_samples=5, seed=3))
    assert contract.remarks == ["a remark"]
    assert asked.pop("tell")
    assert asked == {
        "schedule": LogLinear(), "seed": 3, "batch_rows": 4, "num_rows": 6 * 5, "dtype": torch.float32,
        "by_blocks": False, "widest": None,
    }  # fmt: skip


def test_a_network_is_asked_again_after_its_score(text):
    counted = Denoising()
    Contract(job(counted, text))
    before = counted.calls
    with pytest.raises((DriftError, StatefulError)):
        score(job(Denoising(before), text))
    score(job(Denoising(), text))


@pytest.mark.parametrize(
    ("changes", "is_beside"),
    [({}, True), ({"device": "cpu"}, False), ({"source": None}, False), ({"allow_code": True}, False)],
)
def test_precisions_are_compared_beside_the_second_look_of_a_gpu(text, monkeypatch, changes, is_beside):
    """Not where that look asks the same network, nor with code that is the user's."""
    given = {"device": "cuda", "source": "a file", "allow_code": False, **changes}
    contract, may_end, asked = Contract(job(Denoising(), text)), threading.Event(), []
    contract._job = SimpleNamespace(
        device=torch.device(given["device"]), source=given["source"],
        settings=SimpleNamespace(allow_code=given["allow_code"]),
    )  # fmt: skip

    def compare(result):
        assert may_end.wait(60)
        asked.append((result, threading.current_thread() is threading.main_thread()))
        return ["a remark"]

    monkeypatch.setattr(contract, "compare_precision", compare)
    found = contract.precision_beside("a result")
    may_end.set()
    if not is_beside:
        assert asked == []
    assert found() == ["a remark"]
    assert asked == [("a result", not is_beside)]


@pytest.mark.parametrize("position", [0, 63, 64, 130, 199])
def test_the_mask_is_looked_for_in_all_of_the_text(monkeypatch, position):
    monkeypatch.setattr(trust, "_CHUNK_TOKENS", 64)
    tokens = np.full(200, 3)
    tokens[[position, 199]] = 7
    read = []

    def part(start, stop):
        read.append((start, stop))
        return tokens[start:stop]

    corpus: Any = SimpleNamespace(num_tokens=200, read=part)
    for mask, vocab_size in ((8, 9), (7, 7), (-1, 9)):  # no id of the text, or outside the vocabulary
        trust._require_mask_free(SimpleNamespace(mask_token_id=mask, vocab_size=vocab_size), corpus)  # type: ignore[arg-type]
    assert read == [(0, 64), (64, 128), (128, 192), (192, 200)]
    with pytest.raises(MaskTokenError) as caught:
        trust._require_mask_free(SimpleNamespace(mask_token_id=7, vocab_size=9), corpus)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"the mask token occurs in the data: got id 7 at position {position}, expected a mask id that no text uses; "
        "the tokenizer, the shards and the checkpoint do not belong together"
    )


def test_the_mask_is_looked_for_before_a_score(text):
    model: Any = Denoising()
    model.mask_token_id = int(text.corpus.read(5, 6)[0])
    with pytest.raises(MaskTokenError, match="occurs in the data"):
        Contract(job(model, text))


@pytest.mark.parametrize(
    ("count", "which"), [(1, [0]), (2, [0, 1]), (4, [0, 1, 2, 3]), (5, [0, 2, 4]), (16, [0, 4, 8, 12])]
)
def test_four_windows_at_most_are_compared_in_both_precisions(count, which):
    contract = Contract.__new__(Contract)
    contract._windows = torch.arange(count)[:, None]
    assert contract._some_windows()[:, 0].tolist() == which


@pytest.mark.parametrize("model", [Denoising(), Causal()])
@pytest.mark.parametrize(
    ("limit", "which"),
    [(1, [0, 0]), (2, [0, 1]), (16, [*range(16)]), (31, [*range(0, 31, 2)]), (301, [*range(0, 301, 20)])],
)
def test_windows_that_are_looked_at_are_spread_over_what_is_scored(text, model, limit, which):
    scored = job(model, text)
    chosen = sample_windows(replace(scored, settings=replace(scored.settings, limit=limit)))
    assert chosen.tolist() == [text.corpus.read(16 * index, 16 * index + 16).tolist() for index in which]


@pytest.mark.parametrize(("stderr", "per_token"), [(0.01, 0.03), (None, 0.0)])
def test_what_low_precision_changes_is_held_against_the_error_per_token(text, monkeypatch, stderr, per_token):
    asked: dict[str, Any] = {}
    monkeypatch.setattr(trust, "load_model", lambda **_: (None, SimpleNamespace(model="in float32")))
    monkeypatch.setattr(trust, "Denoiser", object)
    monkeypatch.setattr(trust, "precision_finding", lambda *networks, **given: asked.update(given, networks=networks))
    contract = Contract.__new__(Contract)
    contract._windows = torch.arange(8)[:, None]
    contract._job = job(Denoising(), text, dtype="bfloat16", seed=7)
    contract._job = replace(contract._job, source=SimpleNamespace(load={}))  # type: ignore[arg-type]
    result = SimpleNamespace(mc_stderr=stderr, length=SimpleNamespace(num_units=300, num_tokens=100))
    assert contract.compare_precision(result) == []  # type: ignore[arg-type]
    assert asked.pop("stderr_bits_per_token") == pytest.approx(per_token)
    networks = asked.pop("networks")
    assert networks[:2] == (contract._job.model, "in float32")
    assert networks[2][:, 0].tolist() == [0, 2, 4, 6]
    assert asked == {"schedule": LogLinear(), "seed": 7}
    contract._job = replace(contract._job, source=None)
    assert contract.compare_precision(result) == []  # type: ignore[arg-type]
    assert asked == {"schedule": LogLinear(), "seed": 7}, "a network in memory has no other precision"


class AnswersCrowdsOtherwise(Denoising):
    """Cheap where more rows come together than a batch of whole windows has."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def logits(self, xt, level):
        return super().logits(xt, level) * (1.0 if len(xt) <= self.most else 0.1)


@pytest.mark.parametrize(
    ("layout", "widest"),
    [
        ({"block_size": 4, "num_samples": 3}, (4, 18)),
        ({"block_size": 4, "num_samples": 1}, (4, 6)),
        ({"method": "chain", "block_size": 2}, (2, 6)),
        ({"stride": 4}, None),
        ({"block_size": 16}, None),
    ],
)
def test_short_rows_are_tried_in_batches_as_wide_as_theirs(text, layout, widest):
    settings = Settings(device="cpu", limit=6, batch_tokens=80, **({"method": "mc"} | layout))
    honest = Job(Denoising(), text, settings, LogLinear(), ModelIdentity("0" * 64))
    size = RunSize.of(honest)
    assert (size.batch_rows, size.widest) == (5, widest)
    Contract(honest).check_again()
    if widest is not None:
        with pytest.raises(BatchSizeError):
            Contract(replace(honest, model=AnswersCrowdsOtherwise(most=5)))


@pytest.mark.parametrize(
    ("model", "settings", "told"),
    [
        (Denoising(), {"stride": 4}, None),
        (Conditioned(), {"stride": 4}, "target-rate"),
        (Conditioned(), {"method": "discrete", "unpaid_prefix": 1}, "target-rate"),
        (Conditioned(), {}, None),
        (cheats.HonestContextDenoiser(512, 16), {"method": "chain"}, "revealed-as-context"),
        (cheats.HonestContextDenoiser(512, 16), {"method": "chain", "order": "random"}, None),
        (Causal(), {"method": "ar", "stride": 4}, None),
    ],
)
def test_what_a_network_is_told_stands_in_the_signature(text, model, settings, told):
    schedule = None if isinstance(model, Causal) else LogLinear()
    chosen = Settings(device="cpu", limit=3, **({"method": "mc"} | settings))
    signed = Job(model, text, chosen, schedule, ModelIdentity("0" * 64))
    assert signed.signature(signed.lay_out()).told == told


class Told(cheats.HonestContextDenoiser):
    """Logits that tell the length of the context, of every token of a row."""

    def __init__(self) -> None:
        super().__init__(512, 16)
        self.told: set[int] = set()

    def logits_given(self, xt, level, context_lengths):
        self.told |= set(context_lengths.tolist())
        return super().logits_given(xt, level, context_lengths)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"method": "mc", "stride": 4}, {0, 12}),
        ({"method": "discrete", "block_size": 8}, {0, 8}),
        ({"method": "exact", "block_size": 8}, {0, 8}),
        ({"method": "exact", "stride": 4, "num_steps": 2, "context_length": 8}, {0, 4}),
        ({"method": "chain", "order": "random", "unpaid_prefix": 5}, {5}),
        ({"method": "chain", "order": "entropy", "stride": 8}, {0, 8}),
        ({"method": "chain", "order": "left-to-right", "unpaid_prefix": 5}, set(range(5, 16))),
        ({"method": "chain", "order": "left-to-right", "tokens_per_step": 4}, {0, 4, 8, 12}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_network_is_told_the_same_contexts_when_it_is_asked_again(text, settings, told):
    """The second look compares what such a network says then, and would find another length."""
    network = Told()
    settings = Settings(device="cpu", limit=3, **settings)
    scored = Job(network, text, replace(settings, check_contract=False), LogLinear(), ModelIdentity("0" * 64))
    total = score(scored).length.nats
    assert network.told == told
    again = score(replace(scored, settings=settings))
    assert again.length.nats == pytest.approx(total, rel=1e-9)


def unsound() -> None:
    raise CorpusError("the text is not sound")


def test_what_is_wrong_with_the_text_is_said_before_what_is_wrong_with_the_network(text):
    with pytest.raises(CorpusError):
        score(job(Causal(1), text), unsound)
    with pytest.raises(CausalityError):
        score(job(Causal(1), text), lambda: None)


@pytest.mark.parametrize(("device", "done"), [("cuda", ["kernels", "programs"]), ("cpu", [])])
def test_kernels_are_imported_before_a_thread_asks_for_them(monkeypatch, device, done):
    seen = []
    monkeypatch.setattr(score_module, "load_kernels", lambda place: seen.append("kernels"))
    monkeypatch.setattr(score_module, "start_programs", lambda job: seen.append("programs"))
    monkeypatch.setattr(score_module, "_wants_costs", lambda job: False)
    settings = SimpleNamespace(check_contract=False)
    given = SimpleNamespace(device=torch.device(device), settings=settings, require_scorable=lambda: None)
    score_module._checked(given)
    assert seen == done


def test_whoever_interrupts_the_checks_does_not_wait_for_the_text(text, monkeypatch):
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(score_module, "_checked", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score(job(Denoising(), text), lambda: pytest.fail("was waited for"))


@pytest.mark.parametrize("check_contract", [True, False])
def test_a_text_that_is_not_sound_is_not_scored(text, monkeypatch, check_contract):
    monkeypatch.setattr(score_module, "_score_and_check", lambda *_: pytest.fail("was scored"))
    with pytest.raises(CorpusError):
        score(job(Denoising(), text, check_contract=check_contract), unsound)


@pytest.mark.parametrize(
    ("changes", "is_beside"),
    [({}, True), ({"device": "cpu"}, False), ({"source": None}, False), ({"allow_code": True}, False)],
)
def test_a_text_is_looked_at_beside_the_checks_of_a_gpu(monkeypatch, changes, is_beside):
    given = {"device": "cuda", "source": "a file", "allow_code": False, **changes}
    threads, phases = [], []

    class Clock:
        @contextlib.contextmanager
        def phase(self, name):
            phases.append(name)
            yield

    monkeypatch.setattr(LoadedCheckpoint, "job", lambda *_: SimpleNamespace(device=torch.device(given["device"])))
    monkeypatch.setattr(
        api, "_remarks_before", lambda *_: threads.append(threading.current_thread().name) or ["of the text"]
    )
    monkeypatch.setattr(api, "score", lambda _, require_sound_text: [*require_sound_text(), "of the score"])
    monkeypatch.setattr(api, "score_remarks", lambda *_: ["at last"])
    monkeypatch.setattr(api, "warned_of_bytes", lambda _job, _result, remarks: remarks)
    monkeypatch.setattr(api, "with_remarks", lambda result, *remarks: (result, remarks))
    loaded = LoadedCheckpoint(None, None, given["source"], Clock())
    _, result = loaded.score(SimpleNamespace(allow_code=given["allow_code"]))
    assert result == (["of the text", "of the score"], ("of the text", "at last"))
    (thread,) = threads
    assert thread.startswith("text") == is_beside
    assert phases == ([] if is_beside else ["bytes"])
