"""The table of documents and the scores of slices, on networks whose every conditional is known."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest

from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.evaluation import document_table
from bpb_harness.evaluation.inputs import EvaluationText
from bpb_harness.evaluation.job import Job, ModelIdentity
from bpb_harness.evaluation.score import score
from bpb_harness.evaluation.settings import Settings
from bpb_harness.schedule import parse_schedule
from bpb_harness.text.corpus import load_documents
from bpb_harness.text.fields import TextField
from bpb_harness.text.labels import load_labels
from tests.answers import TOKENIZER, answers_job, ids
from tests.oracles.conditionals import Markov, Table
from tests.oracles.denoisers import MarkovCausalLM, OracleDenoiser

DOCUMENTS = ["abca", "b", "cabbac", "", "ccab", "ab"]
KINDS: list[Any] = ["x", "y", "x", "x", 7, None]
FLAT = "".join(DOCUMENTS)
STARTS = np.cumsum([0] + [len(each) for each in DOCUMENTS])
# Every method on a layout whose windows hold parts of several documents, and on one whose windows do not.
SAMPLED = {"method": "mc", "num_samples": 2}
METHODS: dict[str, dict[str, Any]] = {
    "mc": SAMPLED,
    "discrete": {"method": "discrete", "num_samples": 3, "num_steps": 4},
    "all": {"method": "discrete", "num_samples": "all", "num_steps": 4},
    "exact": {"method": "exact"},
    "exact steps": {"method": "exact", "num_steps": 3},
    "chain": {"method": "chain"},
    "random": {"method": "chain", "order": "random"},
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "windows": {},
    "stride": {"stride": 2},
    "blocks": {"block_size": 2, "context_length": 4},
    "prefix": {"unpaid_prefix": 1},
    "limit": {"limit": 2},
    "documents": {"per_document": True},
}


def job_of(tmp_path: Any, model: Any = None, *, told: bool = False, **settings: Any) -> Job:
    path = tmp_path / "docs.jsonl"
    rows = [
        {"text": text, "kind": kind, "id": number}
        for number, (text, kind) in enumerate(zip(DOCUMENTS, KINDS, strict=True))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"docs": path, "device": "cpu", "check_contract": False, "with_documents": True, "slice_field": "kind"}
    chosen = Settings(**given | {"context_length": 5} | settings)
    labels = load_labels([path], (), key_field=chosen.key_field, slice_field=chosen.slice_field)
    text = EvaluationText(load_documents([path], TOKENIZER), TOKENIZER, "--docs", labels=labels)
    network = model or OracleDenoiser(Table(3, seed=1, time_conditioned=told))
    named = None if chosen.method == "ar" else parse_schedule("loglinear[0.1]")
    return Job(network, text, chosen, named, ModelIdentity("0123456789"))


def refusal(call: Any, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


PAIRS = [(method, "windows") for method in METHODS] + [("mc", layout) for layout in list(LAYOUTS)[1:]]


@pytest.mark.parametrize(("method", "layout"), [*PAIRS, ("chain", "blocks"), ("exact", "documents")])
def test_documents_and_slices_add_up_to_the_score(tmp_path, method, layout):
    result = score(job_of(tmp_path, with_tokens=True, **METHODS[method] | LAYOUTS[layout]))
    table, tokens, slices = result.documents, result.tokens, result.slices
    assert math.fsum(table["bits"]) == pytest.approx(result.length.bits, rel=1e-9)
    assert table["num_tokens"].sum() == result.length.num_tokens
    assert table["num_bytes"].sum() == result.length.num_bytes
    shares = tokens.groupby("document").share_bits.sum()
    assert table["document"].tolist() == shares.index.tolist()
    assert table["bits"].tolist() == pytest.approx(shares.tolist(), rel=1e-9, abs=1e-12)
    assert table["key"].tolist() == [DOCUMENTS[number] for number in table["document"]]
    assert table["slice"].tolist() == [{None: "null", 7: "7"}.get(KINDS[n], KINDS[n]) for n in table["document"]]
    rates = table["bits"] / table["num_bytes"]
    assert table["bits_per_byte"].tolist() == pytest.approx(rates.tolist())
    # Slices are sums over the documents of a value.
    assert math.fsum(each.bits for each in slices) == pytest.approx(result.length.bits, rel=1e-9)
    for each in slices:
        rows = table[table["slice"] == each.slice]
        assert (each.num_documents, each.num_tokens) == (len(rows), rows["num_tokens"].sum())
        assert each.num_bytes == rows["num_bytes"].sum()
        assert each.bits == pytest.approx(rows["bits"].sum())
        if len(rows) == 1:
            assert each.documents_stderr is None
            continue
        residual = rows["bits"] - each.bits_per_unit * rows["num_bytes"]
        expected = math.sqrt((residual**2).sum() * len(rows) / (len(rows) - 1)) / each.num_bytes
        assert each.documents_stderr == pytest.approx(expected)
    assert [each.num_bytes for each in slices] == sorted((each.num_bytes for each in slices), reverse=True)
    drawn = METHODS[method]["method"] in {"mc", "discrete"}
    assert table["stderr_bits"].isna().all() == drawn
    assert drawn or (table["stderr_bits"] == 0.0).all()
    assert {each.mc_stderr for each in slices} == ({None} if drawn else {0.0})
    assert ("documents.no-error" in {remark.code for remark in result.remarks}) == drawn
    if layout == "documents":
        assert (table["num_shared_windows"] == 0).all()


def test_what_a_document_was_scored_with(tmp_path):
    table = score(job_of(tmp_path, stride=2, **SAMPLED)).documents
    # Windows of 5 that move by 2 over abca b cabbac ccab ab: targets 0..4, 5..6, 7..8, 9..10 and so on
    assert table["document"].tolist() == [0, 1, 2, 4, 5]
    assert table["num_windows"].tolist() == [1, 1, 3, 2, 1]
    assert table["longest_context"].tolist() == [0, 0, 3, 3, 3]
    assert table["num_shared_windows"].tolist() == [1, 1, 2, 2, 1]  # one of cabbac's lies within it


def test_what_an_autoregressive_network_pays(tmp_path):
    markov = Markov.random(3, seed=2)
    result = score(job_of(tmp_path, MarkovCausalLM(markov), method="ar", with_tokens=True))
    nats = [-math.log(markov.transition[a][b]) for a, b in zip(ids(FLAT), ids(FLAT)[1:], strict=False)]
    owner = [number for number, text in enumerate(DOCUMENTS) for _ in text][1:]
    expected = [
        sum(value for value, whose in zip(nats, owner, strict=True) if whose == number) for number in (0, 1, 2, 4, 5)
    ]
    assert (result.documents["bits"] * math.log(2)).tolist() == pytest.approx(expected)
    assert (result.documents["stderr_bits"] == 0).all()


def test_a_chain_pays_for_each_token_in_its_document(tmp_path):
    table = Table(3, seed=1)
    result = score(job_of(tmp_path, method="chain"))
    nats = []
    for start in range(0, len(FLAT), 5):
        window = ids(FLAT[start : start + 5])
        nats += [
            -table.log_probs(window[:place] + (None,) * (len(window) - place), 0.5)[place][window[place]]
            for place in range(len(window))
        ]
    expected = [sum(nats[STARTS[number] : STARTS[number + 1]]) for number in (0, 1, 2, 4, 5)]
    assert (result.documents["bits"] * math.log(2)).tolist() == pytest.approx(expected)


def test_an_enumeration_knows_each_token(tmp_path):
    """Of the T-step bound: step i reveals with chance (u_i - u_{i-1}) / u_i, so a token's share is that of its C."""
    table, steps = Table(3, seed=1), 3
    result = score(job_of(tmp_path, method="exact", num_steps=steps))
    nats: list[float] = []
    rates = [0.9 * step / steps for step in range(steps + 1)]
    for start in range(0, len(FLAT), 5):
        window = ids(FLAT[start : start + 5])
        nats += [0.1 * math.log(3) + share for share in shares_of_grid(table, window, rates)]
    expected = [sum(nats[STARTS[number] : STARTS[number + 1]]) for number in (0, 1, 2, 4, 5)]
    assert (result.documents["bits"] * math.log(2)).tolist() == pytest.approx(expected)


def shares_of_grid(table: Table, window: tuple[int, ...], rates: list[float]) -> list[float]:
    shares = [0.0] * len(window)
    for number in range(1, 1 << len(window)):
        mask = [bool(number >> place & 1) for place in range(len(window))]
        rows = table.log_probs(
            tuple(None if hidden else token for token, hidden in zip(window, mask, strict=True)), 0.5
        )
        for before, rate in itertools.pairwise(rates):
            chance = rate ** sum(mask) * (1 - rate) ** (len(mask) - sum(mask))
            for place, hidden in enumerate(mask):
                if hidden:
                    shares[place] += (rate - before) / rate * chance * -rows[place][window[place]]
    return shares


# Errors


def test_passes_show_the_error_of_each_document_and_of_sums_of_them(tmp_path, monkeypatch):
    seen = []
    found = document_table.document_costs_of_sampled

    def keep(*given):
        seen.append(found(*given))
        return seen[-1]

    monkeypatch.setattr("bpb_harness.evaluation.score.document_costs_of_sampled", keep)
    result = score(job_of(tmp_path, method="mc", tolerance=0.2, with_tokens=True))
    (costs,) = seen
    count = int(result.signature.passes)
    assert count >= 8
    assert costs.by_pass.shape == (count, 5)
    assert costs.by_pass.mean(axis=0).tolist() == pytest.approx(costs.nats.tolist())
    expected = costs.by_pass.std(axis=0, ddof=1) / math.sqrt(count) / math.log(2)
    assert result.documents["stderr_bits"].tolist() == pytest.approx(expected.tolist())
    for each in result.slices:
        rows = np.flatnonzero((result.documents["slice"] == each.slice).to_numpy())
        spread = costs.by_pass[:, rows].sum(axis=1).std(ddof=1) / math.sqrt(count) / math.log(2)
        assert each.mc_stderr == pytest.approx(spread / each.num_bytes)
    assert "documents.no-error" not in {remark.code for remark in result.remarks}


def test_windows_of_passes_tell_the_same_where_they_end_with_documents(tmp_path):
    settings: dict[str, Any] = {"method": "mc", "tolerance": 0.5, "per_document": True}
    by_window, by_token = (score(job_of(tmp_path, with_tokens=tokens, **settings)) for tokens in (False, True))
    for column in ("bits", "stderr_bits"):
        assert by_window.documents[column].tolist() == pytest.approx(by_token.documents[column].tolist())


def test_drawn_levels_tell_the_error_of_documents_that_share_no_window(tmp_path):
    result = score(job_of(tmp_path, told=True, method="exact", per_document=True, with_tokens=True))
    assert (result.documents["stderr_bits"] > 0).all()
    total = math.sqrt((result.documents["stderr_bits"] ** 2).sum()) / result.length.num_bytes
    assert total == pytest.approx(result.mc_stderr)
    shared = score(job_of(tmp_path, told=True, method="exact"))
    assert shared.documents["stderr_bits"].isna().tolist() == [True] * 4 + [False]  # the last window is of one alone
    assert [each.mc_stderr is None for each in shared.slices] == [True, True, False, True]


def test_answers_have_their_own_errors(tmp_path):
    rows = [("ab", "c"), ("", "ba"), ("cab", "abcab"), ("a", "cc")]
    made = answers_job(
        tmp_path, rows, OracleDenoiser(Table(3, seed=1)), method="mc", num_samples=3, with_documents=True
    )
    result = score(made)
    assert result.documents["bits"].tolist() == pytest.approx(result.windows["bits"].tolist())
    assert result.documents["stderr_bits"].tolist() == pytest.approx(result.windows["stderr_bits"].tolist())
    assert result.documents["num_bytes"].tolist() == result.windows["num_bytes"].tolist()


# Fields


def labels(tmp_path, rows, *, name="d.jsonl", texts=(), **fields):
    path = tmp_path / name
    if name.endswith(".parquet"):
        import pandas as pd

        pd.DataFrame(rows).to_parquet(path)
    elif name.endswith(".txt"):
        path.write_text("some text")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_labels([path], texts, **{"key_field": None, "slice_field": None} | fields)


ROWS = [
    {"text": "x" * 79 + "yz", "n": 1, "b": True, "f": 1.5, "s": "a"},
    {"text": "two", "n": 2, "b": False, "f": 2.0, "s": "b"},
]


@pytest.mark.parametrize("name", ["d.jsonl", "d.parquet"])
def test_labels_are_texts_numbers_and_truth_values(tmp_path, name):
    found = labels(tmp_path, ROWS, name=name)
    assert (found.keys, found.slices) == (("x" * 79 + "y", "two"), None)
    for field, expected in {"n": ("1", "2"), "b": ("true", "false"), "f": ("1.5", "2.0"), "s": ("a", "b")}.items():
        found = labels(tmp_path, ROWS, name=name, key_field=field, slice_field=field)
        assert found.keys == found.slices == expected
    assert labels(tmp_path, ROWS, name=name, key_field="text", slice_field="s").keys[1] == "two"
    both = labels(tmp_path, ROWS, name=name, texts=[TextField("s"), TextField("text")], slice_field="n")
    assert both.keys[1] == "btwo"


def test_null_is_a_slice_of_its_own(tmp_path):
    rows = [{"text": "a", "s": None}, {"text": "b", "s": "x"}]
    for name in ("d.jsonl", "d.parquet"):
        assert labels(tmp_path, rows, name=name, slice_field="s").slices == ("null", "x")


def test_fields_that_are_not_there_are_refused_by_name(tmp_path):
    said = refusal(lambda: labels(tmp_path, ROWS, slice_field="sorce"), CorpusError)
    assert "line 1 has no slice: got the keys 'text', 'n', 'b', 'f', 's'" in said
    said = refusal(lambda: labels(tmp_path, ROWS, name="d.parquet", key_field="idd"), CorpusError)
    assert "no key column" in said
    assert "--key-field" in said
    for value in (1, 1.5, True, None):
        rows = [{"text": "a", "s": value}, {"text": "b", "s": json.dumps(value)}]
        said = refusal(lambda rows=rows: labels(tmp_path, rows, slice_field="s"), CorpusError)
        written = json.dumps(value)
        assert said == (
            f'--slice s: got {written} and the text "{written}", which would be one slice, expected values that are '
            "told apart; write the field's values in one way"
        )
        assert labels(tmp_path, rows, key_field="s").keys == (written, written)
    said = refusal(lambda: labels(tmp_path, [{"text": "a", "s": ["x"]}], slice_field="s"), CorpusError)
    assert "line 1 has no slice: got list under 's', expected a text, a number, true, false or null" in said
    said = refusal(lambda: labels(tmp_path, [{"text": "a", "s": [1]}], name="d.parquet", slice_field="s"), CorpusError)
    assert "the column 's' holds no slice" in said
    said = refusal(lambda: labels(tmp_path, [], name="d.txt", slice_field="s"), UsageError)
    assert "--slice s" in said
    assert "plain text" in said
    assert labels(tmp_path, [], name="d.txt").keys == ("some text",)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"slice_field": "s"}, "--slice s: got no --docs"),
        ({"key_field": "s", "with_documents": True}, "--key-field s: got no --docs"),
        ({"slice_field": "", "docs": "d"}, "--slice: got no name"),
        ({"key_field": "s", "docs": "d"}, "--key-field: got no --document-table"),
        (
            {"with_documents": True, "resume": "f"},
            "--resume keeps sums of windows, not of tokens: got --document-table",
        ),
        ({"slice_field": "s", "docs": "d", "resume": "f"}, "not of tokens: got --slice"),
    ],
)
def test_settings_that_make_no_table_are_refused(settings, expected):
    assert expected in refusal(lambda: Settings(**settings), UsageError)


def test_windows_that_end_with_documents_may_be_resumed():
    assert Settings(with_documents=True, resume="f", per_document=True).kept_costs is None
    assert Settings(with_documents=True).kept_costs == "tokens"


def test_more_slices_than_anybody_reads_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("bpb_harness.text.labels.MAX_SLICES", 1)
    said = refusal(lambda: labels(tmp_path, ROWS, slice_field="n"), CorpusError)
    assert "--slice n: got 2 values, expected at most 1" in said


@pytest.mark.parametrize(("fewest", "is_known"), [(10_000, False), (2, True)])
def test_few_passes_show_no_error_of_documents(tmp_path, monkeypatch, fewest, is_known):
    monkeypatch.setattr("bpb_harness.evaluation.document_table.MIN_PASSES", fewest)
    monkeypatch.setattr("bpb_harness.evaluation.remarks.MIN_PASSES", fewest)
    result = score(job_of(tmp_path, method="mc", tolerance=0.8))
    assert int(result.signature.passes) >= 2
    assert result.documents["stderr_bits"].notna().all() == is_known
    assert all((each.mc_stderr is not None) == is_known for each in result.slices)
    assert ("documents.no-error" in {remark.code for remark in result.remarks}) != is_known
