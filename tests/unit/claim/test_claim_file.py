"""Our own claim file: every key lands in its field with its digits and its place, and what is wrong is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bpb_harness.claim.claim_file import is_claim_file, lacks_format, read_claim_file
from bpb_harness.claim.printed import Printed, Source
from bpb_harness.claim.record import Claim, Protocol
from bpb_harness.claim.tolerant_json import parse_json
from bpb_harness.errors import ClaimError

FILE = "x.claim.json"
EVERY_KEY = """{
    "format": "bpb-claim/1", "note": "how I came by it", "source": "a page",
    "name": "a run", "claimed_bpb": 1.1450, "nats_per_token": 2.03, "same_estimator": false, "stderr": 0.002,
    "seeds": [7, 8], "seed_bpb": {"7": 1.14, "8": 1.150}, "other_bpb": {"sliding": 1.1},
    "steps_table": {"64": 1.2, "512": 1.145}, "tokenizer": " sp1024 ", "dataset": "fineweb_val",
    "artifact_bytes": [100, 2000], "says_unofficial": "not official", "method": " MC ", "num_steps": 512,
    "num_samples": 8, "schedule": "loglinear", "schedule_eps": 1e-3, "u_range": [0, 0.95], "weight": "1/t",
    "bytes_per_token": 2.44, "bytes_per_token_is_constant": true, "unpaid_tokens": "BOS",
    "priced_jointly": "pairs", "claimed_perplexity": 7.61,
    "num_windows": 64,
    "context_length": 1024, "scored_tokens": 65536, "slice_text": "the first 64", "estimator_text": "by sampling"
}"""


def _read(**keys: Any) -> Claim:
    return read_claim_file(parse_json(json.dumps({"format": "bpb-claim/1", **keys}), FILE).value, FILE)


def _at(key: str) -> Source:
    return Source(FILE, key=key)


def test_an_error_that_a_program_wrote_as_nan_is_not_known_and_a_score_is_refused() -> None:
    assert _read(claimed_bpb=1.2, stderr=float("nan")).std is None
    for key in ("claimed_bpb", "claimed_perplexity"):
        with pytest.raises(ClaimError, match=f"{key}: got NaN, expected a number above 0"):
            _read(**{key: float("nan")})


def test_every_key_lands_in_its_field() -> None:
    assert read_claim_file(parse_json(EVERY_KEY, FILE).value, FILE) == Claim(
        name=FILE,
        title="a run",
        score=Printed(1.145, 4, _at("claimed_bpb"), "claimed_bpb"),
        claimed_in="claim file",
        nats_per_token=Printed(2.03, 2, _at("nats_per_token"), "nats_per_token"),
        perplexity=Printed(7.61, 2, _at("claimed_perplexity"), "claimed_perplexity"),
        same_estimator=False,
        std=Printed(0.002, 3, _at("stderr"), "stderr"),
        seeds=("7", "8"),
        seed_scores={
            "val_bpb": {
                "7": Printed(1.14, 2, _at("seed_bpb.7"), "seed_bpb.7"),
                "8": Printed(1.15, 3, _at("seed_bpb.8"), "seed_bpb.8"),
            }
        },
        other_scores=(Printed(1.1, 1, _at("other_bpb.sliding"), "sliding"),),
        steps_table={
            64: Printed(1.2, 1, _at("steps_table.64"), "steps_table.64"),
            512: Printed(1.145, 3, _at("steps_table.512"), "steps_table.512"),
        },
        protocol=Protocol(
            method="mc",
            num_steps=512,
            num_samples=8,
            schedule="loglinear",
            schedule_eps=1e-3,
            u_range=(0.0, 0.95),
            weight="1/t",
            bytes_per_token=Printed(2.44, 2, _at("bytes_per_token"), "bytes_per_token"),
            bytes_per_token_is_constant=True,
            unpaid_tokens="BOS",
            priced_jointly="pairs",
            num_windows=64,
            context_length=1024,
            scored_tokens=65536,
            slice_text="the first 64",
            estimator_text="by sampling",
        ),
        tokenizer="sp1024",
        tokenizer_source=_at("tokenizer"),
        dataset="fineweb_val",
        artifact_bytes=(
            Printed(100.0, 0, _at("artifact_bytes"), "artifact_bytes"),
            Printed(2000.0, 0, _at("artifact_bytes"), "artifact_bytes"),
        ),
        says_unofficial="not official",
    )


def test_what_it_leaves_out_or_leaves_open_is_not_known() -> None:
    nothing = Claim(FILE)
    assert _read() == nothing
    assert _read(claimed_bpb=None, tokenizer=None, method=None, seeds=None, u_range=None) == nothing


def test_one_size_needs_no_list() -> None:
    (size,) = _read(artifact_bytes=2000).artifact_bytes
    assert size == Printed(2000.0, 0, _at("artifact_bytes"), "artifact_bytes")


@pytest.mark.parametrize("ends", [[0, 1], [0.5, 0.5], [0, 0], [1, 1]])
def test_a_range_may_be_all_or_one_rate(ends: list[float]) -> None:
    assert _read(u_range=ends).protocol.u_range == tuple(ends)


def test_long_words_are_cut() -> None:
    assert _read(weight="w" * 5000).protocol.weight == "w" * 2000


_ABOVE_0 = "expected a number above 0"
_WHOLE = "expected a whole number above 0"
_METHOD = "expected one of discrete, mc, chain, ar, exact, pseudo-likelihood, two-pass"
_RANGE = "expected [lowest, highest] in [0, 1]"


@pytest.mark.parametrize(
    ("key", "held", "place", "expected"),
    [
        *(("claimed_bpb", held, "claimed_bpb", _ABOVE_0) for held in ("1.2", 0, 0.0, -1, True, [1.2], {"a": 1})),
        ("nats_per_token", "two", "nats_per_token", _ABOVE_0),
        ("stderr", 0, "stderr", _ABOVE_0),
        ("schedule_eps", -0.1, "schedule_eps", _ABOVE_0),
        ("seed_bpb", {"7": 0}, "seed_bpb.7", _ABOVE_0),
        ("other_bpb", {"sliding": "1.1"}, "other_bpb.sliding", _ABOVE_0),
        *(("num_steps", held, "num_steps", _WHOLE) for held in (0, 1.5, -1, "512", True)),
        ("artifact_bytes", [5, 0], "artifact_bytes", _WHOLE),
        *(("tokenizer", held, "tokenizer", "expected text") for held in ("", " ", 1024, ["sp1024"])),
        *(("method", held, "method", _METHOD) for held in ("elbo", 3, "")),
        *(("same_estimator", held, "same_estimator", "expected true or false") for held in ("yes", 1, 0)),
        *(
            ("u_range", held, "u_range", _RANGE)
            for held in ([0.9, 0.1], [0, 1.5], [-0.1, 1], [0], [0, 0.5, 1], "all", [True, 1], [None, 1], [0, None])
        ),
        *(("seeds", held, "seeds", "expected a list of whole numbers") for held in ("1", [True], [1.5], ["1"])),
        *(("seed_bpb", held, "seed_bpb", "expected an object") for held in ([1.2], 1.2, "1.2")),
        *(
            ("steps_table", {steps: 1.2}, "steps_table", "expected numbers of steps as keys")
            for steps in ("x", "0", "-1", "1.5", "\u0661", "000000000")
        ),
    ],
)
def test_what_is_of_the_wrong_kind_is_named_with_its_value(key: str, held: Any, place: str, expected: str) -> None:
    with pytest.raises(ClaimError) as caught:
        _read(**{"claimed_bpb": 1.2, **{key: held}})
    said = str(caught.value)
    assert said.startswith(f"{FILE}: {place}: got ")
    assert said.endswith(expected)
    assert "\n" not in said


def test_an_unknown_key_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(ClaimError, match=rf"^{FILE}: unknown key: got 'claimed_bpd', expected one of artifact_bytes,"):
        _read(claimed_bpd=1.2)


@pytest.mark.parametrize(
    ("record", "seen"),
    [({"format": "bpb-claim/2"}, "'bpb-claim/2'"), ({"claimed_bpb": 1.2}, "a claim file without it")],
)
def test_another_format_is_refused(record: dict[str, Any], seen: str) -> None:
    with pytest.raises(ClaimError) as caught:
        read_claim_file(record, FILE)
    assert str(caught.value) == (
        f'{FILE}: format of the claim file: got {seen}, expected bpb-claim/1; add "format": "bpb-claim/1"'
    )


def test_values_are_shown_shortened() -> None:
    with pytest.raises(ClaimError) as caught:
        _read(claimed_bpb="9" * 1000)
    assert len(str(caught.value)) < 150
    with pytest.raises(ClaimError) as caught:
        _read(**{"k" * 300: 1})
    assert "k" * 60 not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "is_one", "lacks"),
    [
        ({"format": "bpb-claim/1"}, True, False),
        ({"format": "bpb-claim/9", "claimed_bpb": 1}, True, False),
        ({"claimed_bpb": 1}, False, True),
        ({"format": "other", "claimed_bpb": 1}, False, False),
        ({"val_bpb": 1}, False, False),
        ({}, False, False),
        (["format", "claimed_bpb"], False, False),
        ("claimed_bpb", False, False),
    ],
)
def test_which_json_is_a_claim_file(value: object, is_one: bool, lacks: bool) -> None:
    assert is_claim_file(value) is is_one
    assert lacks_format(value) is lacks


def test_a_perplexity_is_a_loss_with_the_digits_that_it_leaves_certain() -> None:
    claim = _read(claimed_perplexity=15.36)
    assert claim.score is None
    assert claim.claimed_in is None
    assert claim.nats_per_token is not None
    assert claim.nats_per_token.value == pytest.approx(2.7317668, abs=1e-7)  # ln 15.36
    # 15.355 to 15.365 is 2.73144 to 2.73209: three digits are certain to half a unit, four are not.
    assert claim.nats_per_token.decimals == 3


@pytest.mark.parametrize("held", [1, 1.0, 0.5, 0, -3, "15.36", None])
def test_a_perplexity_is_above_1(held: object) -> None:
    if held is None:
        assert _read(claimed_perplexity=None).perplexity is None
        return
    with pytest.raises(ClaimError, match="claimed_perplexity"):
        _read(claimed_perplexity=held)


@pytest.mark.parametrize(
    ("nats", "agrees"),
    [
        (2.7318, True), (2.731, True), (2.74, True), (2.76, False), (2.6, False),
        # A whole unit of the perplexity, 0.01, is 0.00065 of its logarithm.
        (2.7323, True), (2.7325, False), (2.7312, True), (2.7311, False),
    ],
)  # fmt: skip
def test_a_loss_beside_a_perplexity_must_be_its_logarithm(nats: float, agrees: bool) -> None:
    if agrees:
        claim = _read(claimed_perplexity=15.36, nats_per_token=nats)
        assert claim.nats_per_token is not None
        assert claim.nats_per_token.value == nats
        return
    with pytest.raises(ClaimError, match=r"the logarithm of a perplexity of 15\.36"):
        _read(claimed_perplexity=15.36, nats_per_token=nats)
