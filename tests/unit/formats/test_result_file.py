"""A score read back from its file: what was written, and nothing that anybody could have made up."""

import copy
import json
import math
from dataclasses import fields, replace

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpb_harness.errors import InputError
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.formats.contradictions import RELATIONS, contradictions
from bpb_harness.formats.result import RESULT
from bpb_harness.formats.result_file import read_result, result_of
from bpb_harness.formats.schemas import schema_of
from bpb_harness.result import (
    AnswerSummary,
    BpbResult,
    Comparison,
    Expectation,
    ReferenceMarks,
    Remark,
    Signature,
    SliceScore,
    SourceFloor,
    Versions,
)
from bpb_harness.units import CodeLength, bits_to_nats
from tests.tiers import times

SCHEMA = jsonschema.Draft202012Validator(schema_of("bpb-result/1", RESULT))
SETTINGS = {
    "method": "discrete", "num_steps": "8", "schedule": "loglinear[0.001]", "num_samples": "2", "byte_rule": "official",
    "data": "val@1a2b3c4d[0:10/693]", "tokenizer": "5e6f7a8b", "context_length": "128", "model": "9c0d1e2f",
    "dtype": "float32", "seed": "0", "version": "0.1.0",
}  # fmt: skip


def result(**changes) -> BpbResult:
    nats = bits_to_nats(4000.0)
    values = {
        "length": CodeLength(nats, 1000, 2000, 10),
        "relation": "~<=",
        "terms_nats": {"prior": 1.0, "diffusion": nats - 1.0, "reconstruction": 0.0},
        "mc_stderr": 0.01,
        "corpus_stderr": 0.02,
        "ci95": (2.0 - 0.01 * 1.959963984540054, 2.0 + 0.01 * 1.959963984540054),
        "signature": Signature(**SETTINGS),
        "num_forward_tokens": 2000,
        "seconds": 2.0,
        "device": "cpu (1 threads), torch 2.6",
        "remarks": (Remark("data", "scored x"),),
        "versions": Versions("2.6", "3.11.7"),
    }
    return BpbResult(**(values | changes))


def signed(method: str, **changes: str | None) -> Signature:
    steps = {"num_steps": None, "num_samples": None} if method not in ("discrete", "mc") else {}
    steps |= {"num_steps": None} if method == "mc" else {}
    return Signature(**(SETTINGS | {"method": method} | steps | changes))


EXACTLY = {"terms_nats": {}, "mc_stderr": 0.0, "ci95": (2.0, 2.0)}
BOTH = Comparison(
    discrete=2.0, mc=1.9, gap_bits_per_byte=2.0 - 1.9, gap_stderr=0.01, predicted_gap_bits_per_byte=0.1,
    predicted_gap_stderr=0.01, consistent=True, threshold=4.0, t_curve=((8.0, 2.0), (math.inf, 1.9)),
    f_curve=((0.5, 3.0, 0.1),),
)  # fmt: skip
KINDS = {
    "sampled": result(),
    "passes": result(signature=signed("mc", passes="3"), ci95=(1.97, 2.03)),
    "all steps": result(signature=signed("discrete", num_samples="all")),
    "compared": result(comparison=BOTH),
    "expected": result(expectation=Expectation(2.001, 0.005)),
    "missed": result(expectation=Expectation(2.1, 0.005)),
    "chain": result(relation="=", signature=signed("chain", order="random/4"), **EXACTLY),
    "ar": result(relation="=", signature=signed("ar", schedule=None), num_forward_tokens=0, **EXACTLY),
    "enumerated": result(relation="<=", signature=signed("exact", num_steps="4"), **EXACTLY),
    "enumerated at drawn levels": result(signature=signed("exact", num_samples="3"), terms_nats={}),
    "no bytes": result(
        length=CodeLength(bits_to_nats(4000.0), 2000, 0, 16), num_documents=3,
        signature=signed("discrete", byte_rule="none", data="val@1a2b3c4d"),
    ),
    "answers": result(answers=AnswerSummary(10, 2, 0, 1), num_documents=10, mc_stderr=None, ci95=None),
    "answers enumerated": result(
        answers=AnswerSummary(10, 0, 0, 0), num_documents=10, relation="<=", mc_stderr=0.0, ci95=(2.0, 2.0),
        signature=signed("discrete", given="prompts+lengths"),
    ),
    "source": result(source=SourceFloor("words", 0.5, 0.5, 1000.0, 2000), separator_id=1, corpus_stderr=None),
    "marks": result(reference_marks=ReferenceMarks(4.5, 4.0, 3.0, None, 512)),
    "slices": result(
        slices=(SliceScore("a", 3, 900, 1900, 3900.0, 0.1, None), SliceScore("b", 1, 100, 100, 100.0, 0.0, 0.2))
    ),
    "from Python alone": result(versions=Versions(), device="cpu"),
}  # fmt: skip


def plain(kind: str = "sampled") -> dict:
    return json.loads(KINDS[kind].to_json())


def found(held: dict) -> list[str]:
    return [f"{each.kind} {each.place}" for each in contradictions(held, result_of(held, "r.json"))]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_back(kind, tmp_path):
    file = tmp_path / "r.json"
    file.write_text(KINDS[kind].to_json())
    again = read_result(file)
    assert again.to_dict() == KINDS[kind].to_dict()
    assert str(again) == str(KINDS[kind])
    SCHEMA.validate(json.loads(file.read_text()))
    assert next(iter(json.loads(file.read_text()))) == "format"


def test_fields_are_those_of_the_signature():
    held = plain("chain")
    assert held["num_steps"] is None
    assert held["seed"] == 0
    assert held["context_length"] == 128
    assert (held["tail"], held["unpaid_prefix"], held["adapter"], held["contract"]) == (
        "score",
        0,
        "reference",
        "checked",
    )
    assert (held["told"], held["enumeration"]) == (None, None)
    assert plain("all steps")["num_samples"] == "all"
    assert held["versions"] == {"bpb_harness": "0.1.0", "torch": "2.6", "python": "3.11.7"}
    assert set(held) >= {entry.name for entry in fields(Signature)} - {
        "version",
        "adaptation",
    }  # that one only where a network learnt


def test_whether_an_expectation_is_met_is_written():
    assert plain("expected")["expectation"] == {"bits_per_byte": 2.001, "within": 0.005, "met": True}
    assert plain("missed")["expectation"]["met"] is False
    assert plain()["expectation"] is None


def test_methods_are_those_that_there_are():
    assert RELATIONS.keys() == METHODS.keys()
    for row in METHODS.values():
        assert ("~<=" in RELATIONS[row.name]) == (row.samples or row.enumerates)


CHANGES = [
    ("sampled", {"bits_per_byte": 1.9}, "arithmetic bits_per_byte"),
    ("sampled", {"bits_per_byte": None}, "arithmetic bits_per_byte"),
    ("sampled", {"bits_per_token": 4.1}, "arithmetic bits_per_token"),
    ("sampled", {"bytes_per_token": 2.1}, "arithmetic bytes_per_token"),
    ("sampled", {"num_bytes": 2001}, "arithmetic bits_per_byte"),
    ("sampled", {"num_tokens": 1001}, "arithmetic bits_per_token"),
    ("sampled", {"nats": 2772.0}, "arithmetic nats"),
    ("sampled", {"terms_nats": {}}, "arithmetic terms_nats"),
    ("chain", {"terms_nats": {"prior": 4000.0 * math.log(2)}}, "arithmetic terms_nats"),
    ("sampled", {"mc_stderr": 0.02}, "arithmetic ci95"),
    ("sampled", {"mc_stderr": 0.011}, "arithmetic ci95"),
    ("sampled", {"mc_stderr": 0.001}, "arithmetic ci95"),
    ("sampled", {"num_windows": 9, "signature": str(KINDS["sampled"].signature)}, "arithmetic data"),
    ("answers", {"answers": {**plain("answers")["answers"], "num_sampled": 11}}, "arithmetic answers.num_sampled"),
    ("answers", {"answers": {**plain("answers")["answers"], "num_answers": 9}}, "arithmetic data"),
    ("chain", {"comparison": plain("compared")["comparison"]}, "arithmetic comparison"),
    ("sampled", {"mc_stderr": None}, "arithmetic ci95"),
    ("sampled", {"ci95": None}, "arithmetic ci95"),
    ("sampled", {"ci95": [2.0, 2.04]}, "arithmetic ci95"),
    ("chain", {"mc_stderr": 0.1, "ci95": [1.8, 2.2]}, "arithmetic mc_stderr"),
    ("sampled", {"num_steps": 9}, "signature num_steps"),
    ("sampled", {"num_samples": None}, "signature num_samples"),
    ("sampled", {"seed": 1}, "signature seed"),
    ("sampled", {"tail": "drop"}, "signature tail"),
    ("sampled", {"method": "mc"}, "signature method"),
    ("sampled", {"data": "val@1a2b3c4d"}, "signature data"),
    ("sampled", {"versions": {"bpb_harness": "0.2", "torch": "2.6", "python": "3"}}, "signature versions.bpb_harness"),
    ("sampled", {"versions": {"bpb_harness": "0.1.0", "torch": "2.7", "python": "3"}}, "arithmetic versions.torch"),
    ("sampled", {"relation": "="}, "relation relation"),
    ("sampled", {"relation": "<=", "mc_stderr": 0.0, "ci95": [2.0, 2.0]}, "relation relation"),
    ("answers enumerated", {"relation": "~<="}, "relation relation"),
    ("chain", {"relation": "<="}, "relation relation"),
    ("enumerated", {"relation": "="}, "relation relation"),
    ("enumerated", {"relation": "~<="}, "relation relation"),
    ("enumerated at drawn levels", {"relation": "<=", "mc_stderr": 0.0, "ci95": [2.0, 2.0]}, "relation relation"),
    (
        "marks",
        {"reference_marks": {**plain("marks")["reference_marks"], "uniform": 4.4}},
        "arithmetic reference_marks.uniform",
    ),
    ("slices", {"slices": plain("slices")["slices"][:1]}, "arithmetic slices"),
    ("slices", {"slices": [{**each, "bits": 1.0} for each in plain("slices")["slices"]]}, "arithmetic slices"),
    ("sampled", {"num_windows": 9}, "arithmetic data"),
    ("no bytes", {"num_windows": 15}, "arithmetic num_tokens"),
    ("no bytes", {"num_windows": 2001}, "arithmetic num_tokens"),
    ("no bytes", {"num_documents": 4}, "arithmetic bits_per_document"),
    (
        "expected",
        {"expectation": {"bits_per_byte": 2.001, "within": 0.005, "met": False}},
        "arithmetic expectation.met",
    ),
    ("sampled", {"forward_tokens_per_second": 900.0}, "arithmetic forward_tokens_per_second"),
    ("ar", {"forward_tokens_per_second": 1.0}, "arithmetic forward_tokens_per_second"),
    ("sampled", {"bits_per_document": 4.0}, "arithmetic bits_per_document"),
    ("answers", {"num_documents": 9}, "arithmetic num_documents"),
    (
        "source",
        {"source": {**plain("source")["source"], "num_bytes": 1999}},
        "arithmetic source.code_length_bits_per_byte",
    ),
    (
        "compared",
        {"comparison": {**plain("compared")["comparison"], "discrete": 2.1}},
        "arithmetic comparison.discrete",
    ),
    (
        "compared",
        {"comparison": {**plain("compared")["comparison"], "mc": 1.8}},
        "arithmetic comparison.gap_bits_per_byte",
    ),
]


@pytest.mark.parametrize(
    ("kind", "change", "expected"), CHANGES, ids=[each[2] + str(n) for n, each in enumerate(CHANGES)]
)
def test_what_contradicts_the_rest_is_found(kind, change, expected, tmp_path):
    held = plain(kind) | change
    assert expected in found(held)
    file = tmp_path / "r.json"
    file.write_text(json.dumps(held))
    with pytest.raises(InputError, match=r"r\.json: .*; take a file that bpb-eval"):
        read_result(file)


def test_answers_in_several_parts_are_counted_as_answers():
    answers = replace(KINDS["answers"], length=replace(KINDS["answers"].length, num_windows=12))
    assert found(json.loads(answers.to_json())) == []


def test_a_key_that_belongs_there_is_missed():
    held = plain("no bytes")
    del held["bits_per_document"]
    assert found(held) == ["arithmetic bits_per_document"]


def test_a_part_of_the_text_is_no_larger_than_it():
    signature = signed("discrete", data="val@1a2b3c4d[0:10/9]")
    assert found(json.loads(replace(KINDS["sampled"], signature=signature).to_json())) == ["arithmetic data"]


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("discrete", {"num_steps": None}),
        ("mc", {"num_samples": None}),
        ("mc", {"num_steps": "4"}),
        ("ar", {"num_samples": "2"}),
    ],
)
def test_a_method_states_the_numbers_that_it_has(method, changes):
    base = KINDS["sampled"] if method in ("discrete", "mc") else KINDS["ar"]
    places = found(json.loads(replace(base, signature=signed(method, **changes)).to_json()))
    assert places == [f"relation {next(iter(changes))}"]


def test_another_method_is_none():
    assert found(json.loads(replace(KINDS["chain"], signature=signed("guess")).to_json())) == ["relation method"]


@pytest.mark.parametrize("place", ["bits_per_byte", "ci95", "nats", "bits_per_token"])
def test_a_number_that_was_written_with_all_its_digits_need_not_have_the_last(place):
    held = plain()
    numbers = held[place] if isinstance(held[place], list) else [held[place]]
    near = [float(f"{number:.14g}") for number in numbers]
    assert found(held | {place: near if isinstance(held[place], list) else near[0]}) == []


WRONG = [
    ({"format": "bpb-result/2"}, "format: got 'bpb-result/2', expected bpb-result/1"),
    ({"format": "bpb-audit/1"}, "format: got 'bpb-audit/1', expected bpb-result/1"),
    ({"format": None}, "format: got no format, expected bpb-result/1"),
    ({"format": ["bpb-result/1"]}, r"format: got \['bpb-result/1'\], expected"),
    ({"bits_per_bit": 1.0}, "bits_per_bit: got a key that is not known, expected none of that name"),
    ({"nats": "2772"}, "nats: got '2772', expected a finite number"),
    ({"nats": 1e301}, r"nats: got 1e\+301, expected a finite number"),
    ({"nats": True}, "nats: got true, expected a finite number"),
    ({"num_tokens": 1000.0}, "num_tokens: got 1000.0, expected a whole number >= 1"),
    ({"num_tokens": 0}, "num_tokens: got 0, expected a whole number >= 1"),
    ({"num_tokens": True}, "num_tokens: got true, expected a whole number >= 1"),
    ({"num_bytes": -1}, "num_bytes: got -1, expected whole number >= 1 or null"),
    ({"seed": 1 << 64}, "seed: got a number that is too large, expected whole number >= 0 or null"),
    ({"mc_stderr": -0.1}, "mc_stderr: got -0.1, expected number >= 0 or null"),
    ({"ci95": [1.0]}, "ci95: got "),
    ({"ci95": [1.0, "2"]}, r"ci95\[1\]: got '2', expected a finite number"),
    ({"relation": "<"}, "relation: got '<', expected = or <= or ~<="),
    ({"signature": "bleu|x"}, r"signature: got 'bleu\|x', expected a line bpb"),
    ({"signature": "bpb|colour:red"}, "signature field: got 'colour:red', expected each of"),
    ({"signature": "bpb|T:1|T:2"}, "signature field: got 'T:2', expected each of"),
    ({"signature": "bpb|method:discrete|T:eight"}, "signature field T: got 'eight', expected a whole number"),
    ({"signature": "bpb|method:mc ~<= 2.0"}, "signature: got "),
    ({"findings": [{"code": "x"}]}, r"findings\[0\].message: got nothing, expected text"),
    ({"versions": {}}, "versions.bpb_harness: got nothing, expected text or null"),
    ({"terms_nats": {"dust": 1.0}}, "terms_nats.dust: got a key that is not known"),
    (
        {"expectation": {"bits_per_byte": 2.0, "within": -1, "met": True}},
        "expectation.within: got -1, expected a number",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[each[1][:30] for each in WRONG])
def test_what_the_format_does_not_have_is_refused_by_name(change, message, tmp_path):
    held = {key: value for key, value in (plain() | change).items() if value is not None or key not in change}
    file = tmp_path / "r.json"
    file.write_text(json.dumps(held))
    with pytest.raises(InputError, match=f"^r.json: {message}"):
        read_result(file)


@pytest.mark.parametrize("key", [key.name for key in RESULT.keys if not key.is_optional and key.name != "format"])
def test_a_key_that_is_missing_is_named(key, tmp_path):
    held = plain()
    del held[key]
    with pytest.raises(InputError, match=rf"^r\.json: {key}: got nothing, expected "):
        result_of(held, "r.json")


HOSTILE = [
    ("", "is not JSON"),
    ("[]", "JSON that is no object"),
    ("nonsense", "is not JSON"),
    ('{"nats": NaN}', "got NaN, expected finite numbers"),
    ('{"nats": -Infinity}', "got -Infinity, expected finite numbers"),
    ('{"nats": 1e999}', "got the number 1e999, expected finite numbers"),
    ('{"nats": ' + "9" * 10_000 + "}", "got a number of 10,000 digits"),
    ('{"nats": 1, "nats": 1}', "got the key 'nats' twice in one object"),
    ('{"a": {"b": 1, "b": 2}}', "got the key 'b' twice in one object"),
    ("[" * 100_000, "more than 32 levels of nesting"),
    ('{"a":' * 50 + "1" + "}" * 50, "more than 32 levels of nesting"),
    ('{"a": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}', "format: got no format"),
    ('\ufeff{"format": "bpb-result/1"}', "is not JSON"),
    ('{"format": "bpb-result/1"} {}', "is not JSON"),
]


@pytest.mark.parametrize(("text", "message"), HOSTILE, ids=[each[0][:20] for each in HOSTILE])
def test_hostile_files_get_one_line(text, message, tmp_path):
    file = tmp_path / "r.json"
    file.write_bytes(text.encode())
    with pytest.raises(InputError) as caught:
        read_result(file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_of_text_is_refused(tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{}")
    for name, message in (("none.json", "cannot be read"), ("bytes.json", "is no text"), (".", "got a folder")):
        with pytest.raises(InputError, match=message):
            read_result(tmp_path / name)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@settings(max_examples=times(10, thorough=200), deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_what_is_read_is_valid_by_the_schema(kind, data):
    """One declaration makes both; the reader is the stricter."""
    held = copy.deepcopy(plain(kind))
    place = data.draw(st.sampled_from(sorted(held)))
    inner = held[place]
    if isinstance(inner, dict) and inner and data.draw(st.booleans()):
        inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(VALUES)
    else:
        held[place] = data.draw(VALUES)
    try:
        result_of(held, "r.json")
    except InputError:
        return
    SCHEMA.validate(held)
