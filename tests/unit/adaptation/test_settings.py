"""Settings of ``--ttt``: what is refused, and what stands in the signature."""

import json
import math

import pytest

from bpb_harness.adaptation.settings import AdaptationSettings
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.settings import Settings


def test_each_number_stands_in_the_text():
    plain = AdaptationSettings("sgd", 64)
    assert str(plain) == "sgd[lr=0.002,momentum=0.9,epochs=3,chunk=64,batch=32,clip=1.0]"
    others = [
        AdaptationSettings("sgd", 65), AdaptationSettings("sgd", 64, learning_rate=0.1 + 0.2),
        AdaptationSettings("sgd", 64, momentum=0.5), AdaptationSettings("sgd", 64, epochs=1),
        AdaptationSettings("sgd", 64, batch_windows=1), AdaptationSettings("sgd", 64, largest_norm=math.inf),
        AdaptationSettings("own", 64),
    ]  # fmt: skip
    assert len({str(plain), *map(str, others)}) == len(others) + 1
    assert str(others[-1]) == "own[chunk=64]"
    for each in others:  # as they travel to the fresh process
        assert AdaptationSettings(**json.loads(json.dumps(each.to_plain()))) == each


def test_the_rate_falls_by_a_cosine_from_the_first_chunk_to_the_last():
    rates = [AdaptationSettings("sgd", 1, learning_rate=2.0).learning_rate_of(index, 5) for index in range(5)]
    assert rates == pytest.approx([2.0, 1.0 + math.sqrt(0.5), 1.0, 1.0 - math.sqrt(0.5), 0.0])
    assert AdaptationSettings("sgd", 1).learning_rate_of(0, 1) == 0.002


@pytest.mark.parametrize(
    ("flag", "settings"),
    [
        ("--ttt-lr", {"ttt": "sgd", "ttt_lr": 0.0}),
        ("--ttt-lr", {"ttt": "sgd", "ttt_lr": math.nan}),
        ("--ttt-lr", {"ttt": "sgd", "ttt_lr": math.inf}),
        ("--ttt-momentum", {"ttt": "sgd", "ttt_momentum": 1.0}),
        ("--ttt-momentum", {"ttt": "sgd", "ttt_momentum": -0.1}),
        ("--ttt-clip", {"ttt": "sgd", "ttt_clip": 0.0}),
        ("--ttt-clip", {"ttt": "sgd", "ttt_clip": math.nan}),
        ("--ttt-epochs", {"ttt": "sgd", "ttt_epochs": 0}),
        ("--ttt-batch", {"ttt": "sgd", "ttt_batch": 0}),
        ("--ttt-chunk", {"ttt": "sgd", "ttt_chunk": 0}),
        ("--ttt: got 'adam'", {"ttt": "adam"}),
        ("--ttt-lr: got no --ttt", {"ttt_lr": 0.1}),
        ("--ttt-chunk: got no --ttt", {"ttt_chunk": 5}),
        ("--ttt-epochs with --ttt own", {"ttt": "own", "ttt_epochs": 1}),
        ("--tolerance with --ttt", {"ttt": "sgd", "tolerance": 0.1}),
        ("--surprisal with --ttt", {"ttt": "sgd", "with_tokens": True, "surprisal": True}),
        ("--unpaid-prefix with --ttt", {"ttt": "sgd", "unpaid_prefix": 3}),
        ("--resume with --ttt", {"ttt": "own", "resume": "f"}),
        ("--ttt: got --method exact", {"ttt": "sgd", "method": "exact"}),
        ("--target-field with --ttt", {"ttt": "sgd", "docs": "d.jsonl", "context_field": "a", "target_field": "b"}),
        ("--resume: got --method ar", {"method": "ar", "resume": "f"}),
    ],
)
def test_what_has_no_meaning_is_refused_by_its_flag(flag, settings):
    with pytest.raises(UsageError) as caught:
        Settings(**settings)
    assert str(caught.value).startswith(flag)


def test_without_ttt_nothing_adapts():
    assert Settings().adaptation is None
    assert Settings(method="ar", ttt="sgd", resume="f").adaptation == AdaptationSettings("sgd", 32_768)
    assert Settings(method="ar", ttt="own", ttt_chunk=7).adaptation == AdaptationSettings("own", 7)
