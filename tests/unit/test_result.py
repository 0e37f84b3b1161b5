"""Results and signatures."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpb_harness.errors import UsageError
from bpb_harness.result import BpbResult, Comparison, Remark, Signature
from bpb_harness.units import CodeLength, bits_to_nats

WORDS = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"], exclude_characters="|"), min_size=1)


@given(st.fixed_dictionaries({}, optional={entry.name: WORDS for entry in fields(Signature)}))
def test_a_signature_reads_back_from_its_text(values):
    signature = Signature(**values)
    assert Signature.parse(str(signature)) == signature


def test_the_text_of_a_signature():
    signature = Signature(
        method="discrete", num_steps="128", schedule="loglinear[0.001]", num_samples="2", byte_rule="official",
        data="val@1a2b3c4d[0:96/693]", tokenizer="5e6f7a8b", context_length="2048", model="9c0d1e2f", dtype="float32",
        seed="0", version="0.1.0",
    )  # fmt: skip
    line = (
        "bpb|method:discrete|T:128|sched:loglinear[0.001]|K:2|bytes:official|data:val@1a2b3c4d[0:96/693]|tok:5e6f7a8b"
        "|ctx:2048|model:9c0d1e2f|dtype:float32|seed:0|version:0.1.0"
    )
    assert str(signature) == line
    assert Signature.parse(line + " ~<= 1.9639 (mc se 0.0011)") == signature


@pytest.mark.parametrize("text", ["", "  ", "bleu|x:1", "bpb|colour:red", "bpb|T:1|T:2", "bpb|T", "bpb|T:"])
def test_what_is_no_signature_is_refused(text):
    with pytest.raises(UsageError):
        Signature.parse(text)


@pytest.mark.parametrize("value", ["a|b", "a b", ""])
def test_values_that_would_not_read_back_are_refused(value):
    with pytest.raises(UsageError):
        Signature(data=value)


def result(**changes) -> BpbResult:
    values = {
        "length": CodeLength(bits_to_nats(4000.0), 1000, 2000, 10),
        "relation": "~<=",
        "terms_nats": {"prior": 1.0, "diffusion": 2.0, "reconstruction": 0.0},
        "mc_stderr": 0.01,
        "corpus_stderr": 0.02,
        "ci95": (1.98, 2.02),
        "signature": Signature(method="discrete"),
        "num_forward_tokens": 2000,
        "seconds": 2.0,
        "device": "cpu",
        "remarks": (Remark("data", "scored x"),),
    }
    return BpbResult(**(values | changes))


def test_the_line_glues_the_score_to_its_settings():
    assert str(result()) == (
        "bpb|method:discrete ~<= 2.0000 (mc se 0.0100, corpus se 0.0200; 2.000 bytes/token; 1,000 tokens, 2,000 bytes)"
    )
    assert str(result(relation="=", corpus_stderr=None)) == (
        "bpb|method:discrete = 2.0000 (corpus se n/a; 2.000 bytes/token; 1,000 tokens, 2,000 bytes)"
    )


def test_what_is_printed_has_the_warnings_below_the_line():
    plain, doubted = result(), result(remarks=(Remark("data", "scored x"), Remark("a.b", "WARNING: too dear")))
    assert str(plain) == plain.line == doubted.line
    assert str(doubted) == f"{plain.line}\nWARNING: too dear"
    assert Signature.parse(str(doubted)) == plain.signature


def test_how_a_network_learnt_is_a_key_only_where_it_did():
    learnt = result(signature=Signature(method="mc", adaptation="sgd[lr=0.1]"))
    assert json.loads(learnt.to_json())["adaptation"] == "sgd[lr=0.1]"
    assert "|ttt:sgd[lr=0.1]" in str(learnt)


def test_json_has_the_stable_keys():
    plain = json.loads(result().to_json())
    assert list(plain) == [
        "format", "bits_per_byte", "relation", "method", "mc_stderr", "corpus_stderr", "ci95", "bits_per_token",
        "bytes_per_token",
        "num_tokens", "num_bytes", "num_windows", "nats", "terms_nats", "signature",
        *(entry.name for entry in fields(Signature) if entry.name not in ("method", "version", "adaptation")),
        "versions", "expectation", "num_forward_tokens", "seconds",
        "forward_tokens_per_second", "device", "peak_memory_bytes", "findings",
    ]  # fmt: skip
    assert plain["bits_per_byte"] == pytest.approx(2.0)
    assert plain["forward_tokens_per_second"] == 1000.0


def test_infinity_in_a_t_curve_is_written_as_null():
    both = Comparison(
        discrete=2.0, mc=1.9, gap_bits_per_byte=0.1, gap_stderr=0.01, predicted_gap_bits_per_byte=0.1,
        predicted_gap_stderr=0.01, consistent=True, threshold=4.0, t_curve=((8.0, 2.0), (float("inf"), 1.9)),
        f_curve=((0.5, 3.0, 0.1),),
    )  # fmt: skip
    plain = json.loads(result(comparison=both).to_json())["comparison"]
    assert plain["t_curve"] == [{"steps": 8, "bits_per_byte": 2.0}, {"steps": None, "bits_per_byte": 1.9}]
    assert "consistent" in both.sentence()


def test_a_log_has_numbers_alone_under_stable_keys():
    logged = result().to_log()
    assert list(logged) == [
        f"bpb/{key}"
        for key in (
            "bits_per_byte", "bits_per_token", "mc_stderr", "corpus_stderr", "ci95_low", "ci95_high", "num_bytes",
            "num_tokens", "num_windows", "seconds",
        )
    ]  # fmt: skip
    plain = result().to_dict()
    assert (logged["bpb/ci95_low"], logged["bpb/ci95_high"]) == tuple(plain["ci95"])
    assert all(type(value) is float for value in logged.values())
    assert all(plain[key] == logged[f"bpb/{key}"] for key in ("bits_per_byte", "mc_stderr", "num_tokens", "num_bytes"))
    unknown = result(ci95=None, mc_stderr=None)
    assert not {"ci95_low", "ci95_high", "mc_stderr"} & set(unknown.to_log(""))


def test_a_frame_has_one_row_of_scalars():
    frame = result().to_frame()
    assert len(frame) == 1
    assert frame["bits_per_byte"].item() == pytest.approx(2.0)
    assert frame["ci95_low"].item() == 1.98


@pytest.mark.parametrize(
    ("consistent", "words"), [(True, "are consistent"), (False, "NOT consistent"), (None, "too few draws")]
)
def test_a_comparison_says_its_verdict_in_words(consistent, words):
    both = Comparison(2.0, 1.9, 0.1, 0.01, 0.1, 0.01, consistent, 4.0, (), ())
    assert words in both.sentence()
