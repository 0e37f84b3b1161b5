"""submission.json in the shapes that people give it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.claim import Claim, Note, NoteKind, Printed, Protocol, Source, read_claim
from bpb_harness.claim.submission import read_submission
from bpb_harness.claim.tolerant_json import parse_json
from bpb_harness.errors import ClaimError
from tests.golf_rules import READING


def read(record: Any) -> Any:
    return read_submission(parse_json(json.dumps(record), "f").value, "submission.json", READING)


@pytest.mark.parametrize(
    ("record", "score"),
    [
        ({"val_bpb": 1.2}, 1.2),
        ({"val_bpb": "1.2"}, 1.2),
        ({"val_bpb": "1.2 (mean of 3)"}, 1.2),
        ({"mean_val_bpb": 1.2}, 1.2),
        ({"val_bpb_mean": 1.2}, 1.2),
        ({"val_var_bpb": 1.2}, 1.2),
        ({"score": 1.2}, 1.2),
        ({"score": 99.5}, None),
        ({"bpb": 1.2}, 1.2),
        ({"val_bpb": {"mean": 1.2, "std": 0.1}}, 1.2),
        ({"results": {"val_bpb": 1.2}}, 1.2),
        ({"metrics": {"mean_val_bpb": 1.2}}, 1.2),
        ({"seed_results": {"1": {"val_bpb": 1.1}, "2": {"val_bpb": 1.3}}}, 1.2),
        ({"seed_results": [{"seed": 1, "val_bpb": 1.1}, {"seed": 2, "val_bpb": 1.3}]}, 1.2),
        ({"seeds": {"1": {"val_bpb": 1.1}, "2": {"val_bpb": 1.3}}}, 1.2),
        ({"metric_name": "pll_bpb", "pll_bpb": 1.2}, 1.2),
        ({"val_bpb": None}, None),
        ({"val_bpb": True}, None),
        ({"val_bpb": "soon"}, None),
        ({"val_bpb": -1.2}, None),
        ({"val_bpb": [1.2]}, None),
        ({"official_eval_val_bpb": None, "proxy_bpb": 0.8}, None),
        ([1, 2], None),
        ({}, None),
    ],
)
def test_the_score(record: Any, score: float | None) -> None:
    found = read(record).score
    assert (found.value if found else None) == (pytest.approx(score) if score else None)


def test_a_null_is_said() -> None:
    notes = read({"official_eval_val_bpb": None, "proxy_bpb": 0.8}).notes
    assert [note.kind for note in notes] == [NoteKind.NOT_A_NUMBER]
    assert "official_eval_val_bpb is null" in notes[0].message


def test_loss_and_score_of_two_estimators() -> None:
    assert not read({"val_loss": 2.6553, "val_var_bpb": 1.6252}).same_estimator
    assert read({"val_loss": 2.6553, "val_bpb": 1.6252}).same_estimator
    assert read({"pll_loss": 2.6553, "metric_name": "pll_bpb", "pll_bpb": 1.6252}).nats_per_token.value == 2.6553


def test_seeds_and_their_scores() -> None:
    claim = read({"val_bpb": 1.2, "seeds": [1, 2], "val_bpb_seeds": {"1": 1.1, "2": 1.3}})
    assert claim.seeds == ("1", "2")
    assert {seed: score.value for seed, score in claim.seed_scores["val_bpb"].items()} == {"1": 1.1, "2": 1.3}


SEEDS = {"1337": {"val_loss": 1.93, "val_bpb": 1.1431}, "42": {"val_loss": 1.932, "val_bpb": 1.1443}}


@pytest.mark.parametrize("key", ["val_bpb", "mean_val_bpb"])
@pytest.mark.parametrize("seeds", [SEEDS, [{"seed": int(seed), **held} for seed, held in SEEDS.items()]])
def test_the_losses_of_seeds_stand_beside_the_mean_of_their_scores(key: str, seeds: Any) -> None:
    claim = read({key: 1.1437, "seed_results": seeds})
    assert claim.nats_per_token.value == pytest.approx(1.931)
    assert str(claim.nats_per_token.source) == "submission.json (mean over seed_results)"
    assert claim.same_estimator


@pytest.mark.parametrize(
    "record",
    [
        {"val_bpb": 1.1431, "seed_results": SEEDS},  # one of them
        {"val_bpb": 1.1437, "seed_results": {**SEEDS, "7": {"val_bpb": 1.1437}}},  # one has no loss
        {"val_bpb": 1.1437, "seed_results": {"1": 1.1437}},
        {"val_bpb": 1.1437, "seed_results": {}},
        {"val_bpb": 1.1, "seed_results": {seed: {"val_loss": 1.93, "ttt_bpb": 1.1} for seed in ("1", "2")}},
    ],
)
def test_the_losses_of_other_seeds_do_not(record: Any) -> None:
    assert read(record).nats_per_token is None


def test_a_loss_of_its_own_comes_before_the_seeds() -> None:
    assert read({"val_bpb": 1.1437, "val_loss": 1.95, "seed_results": SEEDS}).nats_per_token.value == 1.95


def test_sizes_aside_are_not_the_submissions() -> None:
    claim = read({"val_bpb": 1.2, "bytes_total": 5, "supplemental": {"artifact_bytes": 7}, "model_bytes": 9})
    assert [size.value for size in claim.artifact_bytes] == [5]


def test_a_table_over_steps() -> None:
    claim = read({"val_bpb": 1.1, "val_bpb_T64": 1.2, "val_bpb_T512": 1.1})
    assert {steps: score.value for steps, score in claim.steps_table.items()} == {64: 1.2, 512: 1.1}


def test_a_claim_file_names_what_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "x.claim.json").write_text('{"format": "bpb-claim/1", "claimed_bpd": 1.2}')
    with pytest.raises(ClaimError, match="claimed_bpd"):
        read_claim(tmp_path)


@pytest.mark.parametrize(
    "keys",
    [
        {"claimed_bpb": "1.2"},
        {"claimed_bpb": -1},
        {"claimed_bpb": True},
        {"u_range": [0.9, 0.1]},
        {"u_range": 3},
        {"seeds": "1"},
        {"seeds": [True]},
        {"num_steps": 1.5},
        {"num_steps": 0},
        {"steps_table": {"x": 1.2}},
        {"steps_table": {"0": 1.2}},
        {"steps_table": [1.2]},
        {"bytes_per_token_is_constant": "yes"},
        {"tokenizer": ""},
        {"artifact_bytes": ["many"]},
        {"format": "bpb-claim/2"},
    ],
)
def test_a_claim_file_is_strict(tmp_path: Path, keys: dict[str, Any]) -> None:
    path = tmp_path / "x.claim.json"
    path.write_text(json.dumps({"format": "bpb-claim/1", **keys}))
    with pytest.raises(ClaimError) as caught:
        read_claim(path)
    assert "x.claim.json" in str(caught.value)


def test_a_folder_with_nothing(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="nothing to audit"):
        read_claim(tmp_path)
    with pytest.raises(ClaimError, match="does not exist"):
        read_claim(tmp_path / "nonsuch")


def test_what_is_no_regular_file_is_left_alone(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "train.log")
    with pytest.raises(ClaimError):
        read_claim(tmp_path / "train.log")


def test_a_large_log_is_read_at_both_ends(tmp_path: Path) -> None:
    from bpb_harness.claim.text_file import read_text

    path = tmp_path / "train.log"
    path.write_text("seed:7\n" + "x" * 100_000 + "\nfinal val_bpb:1.2\n")
    read = read_text(path, "train.log", limit=4096)
    assert read.text.startswith("seed:7")
    assert read.text.endswith("final val_bpb:1.2\n")
    assert [note.kind for note in read.notes] == [NoteKind.TRUNCATED]


def _at(key: str) -> Source:
    return Source("submission.json", key=key)


def test_a_whole_record() -> None:
    record = {
        "name": "a run",
        "estimator": "nelbo, 8 draws",
        "results": {"val_bpb": 1.5, "val_loss": 2.5},
        "val_bpb_std": 0.01,
        "seed_results": [{"val_bpb": 1.4, "val_loss": 2.4}, {"seed": 9, "val_bpb": 1.6, "gap_bpb": 0.1}],
        "val_bpb_T64": 1.7,
        "T": 512,
        "scored_tokens": "65,536",
        "eval_windows": 64,
        "eval_slice": "the first 64",
        "dataset": " WikiText ",
        "tokenizer_path": "./fineweb_1024_bpe.model",
        "bytes_total": 100,
        "note": "Small. This is not an official score, yet. Fast.",
    }
    seeds = {"0": ("seed_results.0.val_bpb", 1.4), "9": ("seed_results.9.val_bpb", 1.6)}
    assert read(record) == Claim(
        name="submission.json",
        title="a run",
        score=Printed(1.5, 1, _at("results.val_bpb"), "val_bpb"),
        claimed_in="submission",
        nats_per_token=Printed(2.5, 1, _at("val_loss"), "val_loss"),
        same_estimator=True,
        std=Printed(0.01, 2, _at("val_bpb_std"), "val_bpb_std"),
        seeds=("0", "9"),
        seed_scores={"val_bpb": {s: Printed(value, 1, _at(key), "val_bpb") for s, (key, value) in seeds.items()}},
        other_scores=(
            Printed(1.4, 1, _at("seed_results.0.val_bpb"), "seed_results.0.val_bpb"),
            Printed(1.6, 1, _at("seed_results.1.val_bpb"), "seed_results.1.val_bpb"),
            Printed(1.7, 1, _at("val_bpb_T64"), "val_bpb_T64"),
        ),
        steps_table={64: Printed(1.7, 1, _at("val_bpb_T64"), "val_bpb_T64")},
        protocol=Protocol(
            method="mc",
            num_steps=512,
            scored_tokens=65536,
            num_windows=64,
            slice_text="the first 64",
            estimator_text="nelbo, 8 draws",
        ),
        tokenizer="sp1024",
        tokenizer_source=_at("tokenizer"),
        dataset="wikitext",
        artifact_bytes=(Printed(100.0, 0, _at("bytes_total"), "bytes_total"),),
        says_unofficial="This is not an official score, yet",
        said=(
            (_at("estimator"), "The score is nelbo, 8 draws"),
            (_at("eval_slice"), "the first 64"),
            (_at("dataset"), " WikiText "),
            (_at("note"), "Small. This is not an official score, yet. Fast."),
        ),
    )


def test_a_record_of_nothing() -> None:
    assert read({}) == Claim("submission.json", tokenizer_source=Source("submission.json"))
    message = "submission.json holds no JSON object, so it claims nothing"
    note = Note(NoteKind.NOT_A_NUMBER, message, Source("submission.json"))
    assert read([1.2]) == Claim("submission.json", notes=(note,))


@pytest.mark.parametrize(
    ("record", "notes"),
    [
        ({"val_bpb": None}, [("val_bpb", "val_bpb is null")]),
        ({"val_bpb": "soon"}, [("val_bpb", "val_bpb is 'soon'")]),
        ({"val_bpb": 0, "bpb": "x" * 99}, [("val_bpb", "val_bpb is 0"), ("bpb", "bpb is '" + "x" * 59)]),
        ({"results": {"bpb": True}}, [("results.bpb", "results.bpb is True")]),
        ({"val_bpb": 1000.0}, [("val_bpb", "val_bpb is 1000.0")]),
        ({"own_bpb": None, "own_bpb_std": None, "lr": None}, [("own_bpb", "own_bpb is null")]),
        ({"val_bpb": {"median": 1.2}}, []),
        ({"score": 10.5}, []),
    ],
)
def test_a_score_that_is_no_number_is_said_and_no_other_is_sought(
    record: dict[str, Any], notes: list[tuple[str, str]]
) -> None:
    claim = read(record)
    assert claim.score is None
    assert claim.notes == tuple(
        Note(NoteKind.NOT_A_NUMBER, f"submission.json: {said}", _at(key)) for key, said in notes
    )


@pytest.mark.parametrize("key", ["val_bpb", "own_bpb"])
@pytest.mark.parametrize(
    ("held", "said"),
    [
        *(("null", "null"), ("NaN", "NaN"), ("Infinity", "Infinity"), ("-Infinity", "-Infinity"), ("1e400", "1e400")),
        *(("-1e999", "-1e999"), ("1" * 30, "1" * 30)),
        ("7" * 5000, "777777777777..., a number of 5,000 characters"),
    ],
)
def test_what_is_no_finite_number_is_told_as_it_is_written(key: str, held: str, said: str) -> None:
    value = parse_json(f'{{"{key}": {held}, "mean_of_seeds_bpb": 1.2}}', "f").value
    claim = read_submission(value, "submission.json", READING)
    assert (claim.score, [note.message for note in claim.notes]) == (None, [f"submission.json: {key} is {said}"])


@pytest.mark.parametrize("key", ["mean", "value", "avg", "average"])
def test_a_score_may_be_an_object_with_its_mean(key: str) -> None:
    assert read({"val_bpb": {key: 1.2, "std": 0.1}}).score == Printed(1.2, 1, _at("val_bpb"), "val_bpb")


@pytest.mark.parametrize(
    ("record", "taken"),
    [
        ({"mixer_bpb": 1.2}, "mixer_bpb"),
        ({"mixer_bpb": 1.2, "base_bpb": 1.3, "bpb_T64": 1.4, "val_bpb_seeds": 1.5, "old_bpb": 1.6}, "mixer_bpb"),
        ({"bpb_average": 1.25, "mixer_bpb": 1.45}, "bpb_average"),
        ({"mean_own_bpb": 1.25, "mixer_bpb": 1.45}, "mean_own_bpb"),
        ({"own_bpb_avg": 1.25, "mixer_bpb": 1.45}, "own_bpb_avg"),
        ({"mixer_bpb": 1.2345, "sliding_bpb": 1.23}, "mixer_bpb"),
        ({"mixer_bpb": 1.25, "sliding_bpb": 1.45}, None),
        ({"mixer_bpb": True}, None),
        ({"mixer_bpb": 0}, None),
        ({"mixer_bpb": 1000}, None),
        ({"pre_bpb": 1.2}, None),
        ({"per_seed": 1.2, "parts": 1.1}, None),
    ],
)
def test_a_score_of_another_name_is_taken_where_it_is_the_only_one(record: dict[str, Any], taken: str | None) -> None:
    claim = read(record)
    notes = ()
    if taken is not None:
        notes = (Note(NoteKind.CHOICE, f"submission.json gives its score as {taken}", _at(taken)),)
    assert (claim.score.source.key if claim.score else None, claim.notes) == (taken, notes)


def test_the_mean_of_the_seeds_is_taken_where_there_is_no_other() -> None:
    claim = read({"per_seed": {"seed_1": {"val_bpb": 1.25}, "seed-2": {"val_bpb": "1.350"}}})
    place = _at("mean of val_bpb over seeds")
    message = "submission.json gives no score of its own: the mean of its seeds is taken"
    assert claim.score == Printed(pytest.approx(1.3), 3, place, "val_bpb")
    assert (claim.seeds, claim.notes) == (("1", "2"), (Note(NoteKind.CHOICE, message, place),))


def test_a_metric_of_its_own_counts_where_it_is_text() -> None:
    assert read({"metric_name": "loss_of_words", "loss_of_words": 1.2}).score.name == "loss_of_words"
    for no_name in (None, 1, ["bpb"], {"bpb": 1}):
        assert read({"metric_name": no_name, "null": 1.2}).score is None


@pytest.mark.parametrize(
    ("record", "loss"),
    [
        ({"val_bpb": 1.2, "val_loss": 2.1}, 2.1),
        ({"val_var_bpb": 1.2, "val_loss": 2.1, "val_var_loss": 2.2}, 2.2),
        ({"bits_per_byte": 1.2, "loss": 2.2, "val_loss": 2.1}, 2.2),
        ({"val_bpb": 1.2, "mean_val_loss": 2.1}, 2.1),
        ({"val_bpb": 1.2, "val_loss": 0, "val_loss_mean": 2.1}, 2.1),
        ({"val_bpb": 1.2, "val_loss": -2.1}, None),
        ({"val_bpb": 1.2, "train_loss": 2.1}, None),
        ({"results": {"val_bpb": 1.2}, "val_loss": 2.1}, None),
        ({"val_loss": 2.1}, None),
    ],
)
def test_the_loss_is_the_one_beside_the_score(record: dict[str, Any], loss: float | None) -> None:
    found = read(record).nats_per_token
    assert (found.value if found else None) == loss
    assert found is None or found.source == _at(found.name)


@pytest.mark.parametrize(
    ("record", "seeds", "scores"),
    [
        ({"seeds": [1, 2, 1, "x"]}, ("1", "2", "x"), {}),
        ({"seed": 7}, ("7",), {}),
        ({"seed": 1.5}, (), {}),
        ({"seeds": [1, 1.5]}, (), {}),
        ({"seed_scores": {"seed7": 1.2, "seed_8": 1.3}}, ("7", "8"), {"val_bpb": {"7": 1.2, "8": 1.3}}),
        ({"seed_results": [1.2, {"bpb": 1.3}]}, ("0", "1"), {"val_bpb": {"0": 1.2}, "bpb": {"1": 1.3}}),
        ({"seeds": [{"seed": 5, "val_bpb": 1.2}]}, ("5",), {"val_bpb": {"5": 1.2}}),
        ({"seeds": {"5": {"val_bpb": 1.2, "lr": 0.1}}}, ("5",), {"val_bpb": {"5": 1.2}}),
        ({"val_bpb_seeds": [1.2, 0, 1000, None]}, ("0",), {"val_bpb": {"0": 1.2}}),
        ({"per_seed": "many"}, (), {}),
    ],
)
def test_seeds_in_every_shape(record: dict[str, Any], seeds: tuple[str, ...], scores: dict[str, Any]) -> None:
    claim = read({"val_bpb": 1.25, **record})
    assert claim.seeds == seeds
    found = {key: {seed: score.value for seed, score in held.items()} for key, held in claim.seed_scores.items()}
    assert found == scores


def test_other_scores_are_those_of_every_depth_but_the_claim() -> None:
    record = {
        "val_bpb": 1.25,
        "alt_bpb": {"k256": 1.3, "words": "1.4", "on": True},
        "list": [{"bpb": 1.5}],
        "zero_bpb": 0,
        "huge_bpb": 1000,
        "bpb_gap": 0.2,
    }
    others = read(record).other_scores
    assert [(score.name, score.value) for score in others] == [("alt_bpb.k256", 1.3), ("list.0.bpb", 1.5)]
    assert [score.source for score in others] == [_at("alt_bpb.k256"), _at("list.0.bpb")]


@pytest.mark.parametrize(
    ("record", "sizes"),
    [
        ({"artifact_bytes": 5, "submission_bytes": "1000"}, [5, 1000]),
        ({"sizes": {"total_bytes": 5}}, [5]),
        ({"artifact_bytes_seeds": {"1": 5, "2": 6}}, [5, 6]),
        *(({aside: {"artifact_bytes": 5}}, []) for aside in ("ablation_a", "alternatives", "others", "supplement")),
        ({"model_bytes": 5, "artifact_bytes": None}, []),
        *(
            ({earlier: {"42": {"artifact_bytes": 6}}, "seeds": {"42": {"artifact_bytes": 5}}}, [5])
            for earlier in ("superseded_seeds_v1_0", "previous", "old_seeds", "earlierRuns", "seeds_prior")
        ),
        *(({name: {"42": {"artifact_bytes": 6}}}, [6]) for name in ("folds", "household", "seeds_v1_0", "goldRuns")),
    ],
)
def test_sizes_of_the_artifact(record: dict[str, Any], sizes: list[float]) -> None:
    assert [size.value for size in read(record).artifact_bytes] == sizes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("A. It is unofficial. B.", "It is unofficial"),
        ("not official", "not official"),
        ("First. An approximate bound on bpb", "An approximate bound on bpb"),
        ("official", None),
        ("x" * 2000 + " unofficial", None),
    ],
)
def test_its_own_words_that_it_is_not_official(text: str, sentence: str | None) -> None:
    assert read({"note": text}).says_unofficial == sentence


@pytest.mark.parametrize(
    ("record", "tokenizer", "place"),
    [
        ({"tokenizer": "sp1024"}, "sp1024", _at("tokenizer")),
        ({"tokenizer_name": "fineweb_1024_bpe", "note": "not sp8192"}, "sp1024", _at("tokenizer")),
        ({"note": "with sp8192"}, "sp8192", Source("submission.json")),
        ({"tokenizer": "our own", "a": ["with sp8192"]}, "sp8192", Source("submission.json")),
        ({"note": "sp1024 or sp8192"}, None, Source("submission.json")),
    ],
)
def test_the_tokenizer(record: dict[str, Any], tokenizer: str | None, place: Source) -> None:
    claim = read(record)
    assert (claim.tokenizer, claim.tokenizer_source) == (tokenizer, place)


@pytest.mark.parametrize(
    ("record", "method"),
    [
        ({"val_var_bpb": 1.2}, "discrete"),
        ({"val_bpb": 1.2, "estimator": "chain rule"}, "chain"),
        ({"val_var_bpb": 1.2, "eval_method": "by hand"}, "discrete"),
        ({"estimator": "nelbo"}, "mc"),
        ({"val_bpb": 1.2}, None),
    ],
)
def test_the_estimator_is_stated_or_in_the_name_of_the_score(record: dict[str, Any], method: str | None) -> None:
    assert read(record).protocol.method == method


def test_the_text_it_was_scored_on() -> None:
    assert read({"dataset": "FineWeb 10B"}).dataset == "fineweb 10b"
    assert read({"eval_dataset": " Mine " + "x" * 90}).dataset == "mine " + "x" * 55


@pytest.mark.parametrize(
    ("named", "tokenizer"), [("Frog-512", "frog-512"), ("frog", None), ("frog-512 of ours", None), ("sp1024", "sp1024")]
)
def test_a_tokenizer_that_the_rules_know_is_named_by_a_key_of_its_own(named: str, tokenizer: str | None) -> None:
    known = replace(READING, tokenizers=("frog-512", "toad"))
    claim = read_submission({"val_bpb": 1.2, "tokenizer": named}, "submission.json", known)
    assert claim.tokenizer == tokenizer
    assert (claim.tokenizer_source == Source("submission.json", key="tokenizer")) is (tokenizer is not None)


@pytest.mark.parametrize(
    ("table", "rows", "sizes"),
    [
        ("curve", {"int6": (1.1012, 27), "int3": (1.2012, 15)}, [15]),  # variants, one of which is what is claimed
        ("curve", {"int6": (1.1012, 27), "int3": (1.3012, 15)}, [27, 15]),  # none of them is
        ("curve", {"int6": (1.2012, 27), "int3": (1.2012, 15)}, [27, 15]),  # both are
        ("curve", {"int6": (None, 27), "int3": (1.2012, 15)}, [27, 15]),
        ("curve", {"42": (1.1012, 27), "7": (1.2012, 15)}, [27, 15]),  # seeds
        ("curve", {"seed_42": (1.1012, 27), "seed_7": (1.2012, 15)}, [27, 15]),
        ("per_run", {"a": (1.1012, 27), "b": (1.2012, 15)}, [27, 15]),
    ],
)
def test_sizes_of_variants_are_not_what_is_submitted(table: str, rows: dict[str, Any], sizes: list[int]) -> None:
    held = {name: {"artifact_bytes": size} | ({} if score is None else {"val_bpb": score}) for name, (score, size) in
            rows.items()}  # fmt: skip
    assert [size.value for size in read({"val_bpb": 1.2012, table: held}).artifact_bytes] == sizes
