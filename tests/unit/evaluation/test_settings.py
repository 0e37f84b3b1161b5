"""Settings that would never come to an end are refused before anything is loaded; each is known in one place."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import typer.main

import bpb_harness
from bpb_harness.cli import audit, bytes, eval
from bpb_harness.cli._settings import as_settings
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.flags import flags_of
from bpb_harness.evaluation.methods import METHODS, either, names
from bpb_harness.evaluation.settings import DEFAULTS, FLAGS, Settings, as_paths
from bpb_harness.result import Signature
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear, NoiseSchedule
from reference.settings import Training

# A method to come stands in every message that lists those that take an option.
SAMPLING = either(names(attrgetter("samples")))
SAMPLED = f"--method {SAMPLING}"
STEPPED = either(names(attrgetter("takes_steps")))
MASKED = either(names(lambda method: not method.is_causal))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"num_steps": 1_000_001}, "--steps: got 1,000,001, expected at most 1,000,000"),
        ({"num_samples": 10_001}, "--samples: got 10,001, expected at most 10,000"),
        (
            {"num_steps": 10_001, "num_samples": "all"},
            "--steps with --samples all: got 10,001, expected at most 10,000",
        ),
        ({"num_samples": 0}, "--samples: got 0, expected a whole number, 1 or more"),
        ({"num_samples": "every"}, "--samples: got 'every', expected a whole number, 1 or more"),
        ({"limit": 2.5}, "--limit: got 2.5, expected a whole number, 1 or more"),
        ({"method": "nelbo"}, f"--method: got 'nelbo', expected {' or '.join(METHODS)}"),
        ({"byte_rule": None}, "--bytes: got None, expected official or exact or raw or none"),
        ({"dtype": "fp8"}, "--dtype: got 'fp8', expected float32 or bfloat16"),
        ({"tolerance": 0.0}, "--tolerance: got 0.0, expected bits per byte, more than 0"),
        ({"tolerance": 0.1, "method": "chain"}, f"--tolerance: got --method chain, expected {SAMPLED}"),
        ({"resume": "f", "method": "exact"}, f"--resume: got --method exact, expected {SAMPLED}"),
        (
            {"resume": "f", "with_tokens": True},
            "--resume keeps sums of windows, not of tokens: got --tokens, expected one of the two",
        ),
        ({"seed": -1}, "seed: got -1, expected 0 .. 2^64 - 1; pass --seed 0"),
        (
            {"order": "backwards", "method": "chain"},
            "--order: got 'backwards', expected left-to-right or random or confidence or entropy or margin",
        ),
        ({"order": "random"}, "--order: got --method discrete, expected --method chain"),
        ({"tokens_per_step": 2, "method": "ar"}, "--tokens-per-step: got --method ar, expected --method chain"),
        ({"stride": 0}, "--stride: got 0, expected a whole number, 1 or more"),
        ({"block_size": 0}, "--block-size: got 0, expected a whole number, 1 or more"),
        ({"unpaid_prefix": -1}, "--unpaid-prefix: got -1, expected a whole number, 0 or more"),
        (
            {"block_size": 4, "method": "ar"},
            f"--block-size: got --method ar, expected --method {MASKED}",
        ),
        (
            {"unpaid_prefix": 1, "method": "ar"},
            f"--unpaid-prefix: got --method ar, expected --method {MASKED}",
        ),
        (
            {"stride": 4, "block_size": 4},
            "--stride and --block-size: got both, expected one of the two; "
            "--block-size gives each block the blocks before it as context",
        ),
        (
            {"unpaid_prefix": 1, "stride": 4},
            "--unpaid-prefix is of windows by themselves: got --stride, expected one of the two; "
            "leave out --unpaid-prefix: with --stride every token but the first window's has a context",
        ),
        ({"num_steps": 4, "method": "mc"}, f"--steps: got --method mc, expected --method {STEPPED}"),
        (
            {"num_samples": 2, "method": "chain"},
            f"--samples: got --method chain, expected {SAMPLED}, or exact without --steps",
        ),
        (
            {"num_samples": 2, "num_steps": 4, "method": "exact"},
            f"--samples: got --method exact --steps, expected {SAMPLED}, or exact without --steps",
        ),
        (
            {"num_samples": "all", "method": "exact"},
            "--samples all with --method exact: expected a number; the integral has no last node",
        ),
        (
            {"num_samples": 1, "method": "exact"},
            "--samples with --method exact: got 1, expected 2 or more; "
            "one draw of a mask tells nothing of its own error",
        ),
        (
            {"compare": True, "method": "chain"},
            "--compare couples sampled draws of the two bounds: got --method chain, "
            "expected --method discrete or mc, and a number of samples",
        ),
        (
            {"compare": True, "byte_rule": "none"},
            "--compare is in bits per byte: got --bytes none, expected a rule that counts bytes; leave out --compare",
        ),
    ],
)
def test_what_does_not_go_is_refused(settings, text):
    with pytest.raises(UsageError) as caught:
        Settings(**settings)
    assert str(caught.value) == text


def test_the_most_is_taken():
    assert Settings(num_steps=1_000_000, num_samples=10_000).num_steps == 1_000_000
    assert Settings(num_steps=10_000, num_samples="all").num_samples == "all"
    assert Settings(method="mc", compare=True, num_steps=4).num_steps == 4  # T of the other bound


@pytest.mark.parametrize(("tolerance", "samples"), [(None, 2), (0.1, 1)])
def test_draws_of_a_window_by_default(tolerance, samples):
    assert Settings(tolerance=tolerance).samples == samples
    assert Settings(tolerance=tolerance, num_samples=7).samples == 7


def options(app) -> list:
    return [param for param in typer.main.get_command(app).params if param.param_type_name == "option"]


def test_every_setting_is_an_option_of_the_command_and_an_argument_of_the_function():
    shown = {param.opts[0]: param for param in options(eval.app)}
    parameters = inspect.signature(bpb_harness.evaluate).parameters
    assert [*parameters] == ["checkpoint", *FLAGS, "progress", "name"]
    for name, flag in FLAGS.items():
        assert shown[flag.name].help == flag.help, name
        assert parameters[name].default == DEFAULTS[name], name
        assert parameters[name].annotation is not inspect.Parameter.empty, name
        assert f"    {name}: {flag.help}" in bpb_harness.evaluate.__doc__
    in_order = [param.opts[0] for param in options(eval.app)]
    names = [flag.name for flag in FLAGS.values()]
    assert [each for each in in_order if each in names] == names
    at = in_order.index("--device")
    assert in_order[at - 3 : at] == ["--expect", "--within", "--devices"]


def test_what_is_not_given_at_the_command_leaves_the_default():
    given = {param.name: param.default for param in options(eval.app) if param.name in FLAGS}
    assert given.keys() == FLAGS.keys()
    read = {name: tuple(value) if name in {"data", "docs"} else value for name, value in as_settings(given).items()}
    assert Settings(**read) == Settings()


def test_commands_that_share_options_tell_their_own_defaults():
    rescoring = {param.opts[0]: param for param in options(audit.app)}
    assert rescoring["--device"].help == "auto (if not given), cpu or cuda."
    assert rescoring["--batch-tokens"].help == FLAGS["batch_tokens"].help
    assert [rescoring[name].default for name in ("--device", "--tail", "--method", "--steps")] == [None] * 4
    counting = {param.opts[0]: param for param in options(bytes.app)}
    assert counting["--tokenizer"].required
    assert not rescoring["--tokenizer"].required
    assert (counting["--shard-format"].default, counting["--separator"].help) == ("auto", FLAGS["separator"].help)


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ("2", "num_samples", 2),
        ("all", "num_samples", "all"),
        (True, "check_contract", False),
        (False, "check_contract", True),
        (True, "compile_network", False),
        (False, "compile_network", None),
        (None, "with_windows", False),
        ("w.parquet", "with_tokens", True),
        (None, "data", ()),
        ([], "docs", ()),
        ([Path("a"), Path("b")], "docs", [Path("a"), Path("b")]),
    ],
)
def test_what_an_option_says_is_read_as_a_setting(given, field, value):
    assert as_settings({field: given}) == {field: value}


@pytest.mark.parametrize(
    ("keyword", "nearest"),
    [
        ("sampels", "num_samples"),
        ("steps", "num_steps"),
        ("bytes", "byte_rule"),
        ("sede", "seed"),
        ("qqq", None),
        ("T", "num_steps"),
        ("K", "num_samples"),
        ("sched", "schedule"),
        ("tok", "tokenizer"),
        ("nam", "name"),
        ("no_contract", "check_contract"),
        ("contracts", "check_contract"),
        ("orders", "order"),
        ("dataset", "data"),
    ],
)
def test_an_unknown_argument_is_named_with_the_nearest(keyword, nearest):
    with pytest.raises(TypeError) as caught:
        bpb_harness.evaluate("x.pt", **{keyword: 1})
    hint = f"; did you mean {nearest!r}?" if nearest else "; docs/settings.md lists what there is"
    assert str(caught.value) == f"evaluate() got an unexpected keyword argument {keyword!r}{hint}"


def test_keys_are_those_of_the_signature():
    entries = {entry.metadata["key"]: entry.name for entry in dataclasses.fields(Signature)}
    assert {flag.key for flag in FLAGS.values()} - {""} <= entries.keys()
    stated = Settings(method="ar", stride=8, per_document=True, seed=3, dtype="bfloat16").in_signature()
    assert {"method": "ar", "stride": "8", "order": "per-document", "seed": "3", "dtype": "bfloat16"}.items() <= (
        stated.items()
    )
    assert Signature(**Settings(limit=3, tolerance=0.1, docs="d").in_signature()).method == "discrete"
    assert Settings(method="chain", order="random", tokens_per_step=2).in_signature()["order"] == "random/2"
    assert Settings().in_signature()["order"] is None


def test_the_documentation_has_the_table_as_it_is(repository):
    spec = importlib.util.spec_from_file_location("settings_table", repository / "docs" / "settings_table.py")
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    text = writer.PAGE.read_text("utf-8")
    assert writer.page(text) == text, "run python docs/settings_table.py"
    assert "| `--stride` | `stride` | `None` | 1 .. | all | `stride` |" in text


def test_rows_of_the_registry_make_what_they_say():
    from bpb_harness.estimators import Bound
    from bpb_harness.schedule import LogLinear

    for name, row in METHODS.items():
        (estimator,) = Settings(method=name).estimators(LogLinear())
        assert (row.name, estimator.method, isinstance(estimator, Bound)) == (name, name, row.samples)
        if row.other is not None:
            assert METHODS[row.other].other == name
            both = Settings(method=name, compare=True).estimators(LogLinear())
            assert [each.method for each in both] == [name, row.other]


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        ({"method": "discrete", "num_steps": 9, "num_samples": 3}, {"num_steps": 9, "num_samples": 3}),
        ({"method": "discrete"}, {"num_steps": 128, "num_samples": 2}),
        ({"method": "mc", "num_samples": 5}, {"num_samples": 5}),
        ({"method": "chain", "order": "random", "tokens_per_step": 3}, {"order": "random", "tokens_per_step": 3}),
        ({"method": "exact", "num_steps": 6}, {"num_steps": 6}),
        ({"method": "exact", "num_samples": 4}, {"num_steps": None, "num_samples": 4}),
    ],
)
def test_an_estimator_is_made_from_the_settings(settings, made):
    from bpb_harness.schedule import LogLinear

    estimator = Settings(seed=8, **settings).estimators(LogLinear())[0]
    assert {name: getattr(estimator, name) for name in made} == made
    assert getattr(estimator, "streams", RandomStreams(8)) == RandomStreams(8)


@pytest.mark.parametrize(("words", "text"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")])
def test_words_to_choose_from(words, text):
    assert either(words) == text


@pytest.mark.parametrize(
    ("alone", "needs"),
    [
        ({"key_field": "k"}, "--docs"), ({"slice_field": "s"}, "--docs"), ({"surprisal": True}, "--tokens"),
        ({"surprisal_draws": 3}, "an even number"), ({"ttt_chunk": 5}, "--ttt sgd"), ({"ttt_lr": 0.1}, "--ttt sgd"),
        ({"ttt_momentum": 0.5}, "--ttt sgd"), ({"ttt_epochs": 1}, "--ttt sgd"), ({"ttt_batch": 4}, "--ttt sgd"),
        ({"ttt_clip": 2.0}, "--ttt sgd"), ({"enumerate_short": False}, "--target-field"),
        ({"context_field": "p"}, "--target-field"), ({"target_field": "t"}, "--context-field"),
        ({"num_samples": 4, "method": "exact", "num_steps": 3}, "--steps"),
        ({"resume": "f", "method": "ar"}, "--method"),
        ({"compare": True, "num_samples": "all"}, "--samples all"), ({"stride": 4, "block_size": 2}, "one of the two"),
        ({"stride": 4, "unpaid_prefix": 2}, "one of the two"),
        ({"byte_rule": "none", "tolerance": 0.1}, "counts bytes"),
    ],
)  # fmt: skip
def test_no_setting_that_needs_or_contradicts_another_goes_by(alone, needs):
    with pytest.raises(UsageError, match=needs):
        Settings(**alone)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, None),
        ({"with_windows": True}, None),
        ({"with_documents": True, "per_document": True}, None),
        ({"with_costs": True}, "stretches"),
        ({"with_costs": True, "with_windows": True}, "stretches"),
        ({"with_costs": True, "with_tokens": True}, "tokens"),
        ({"with_costs": True, "with_documents": True}, "tokens"),
        ({"with_costs": True, "with_documents": True, "per_document": True}, "stretches"),
        ({"with_costs": True, "ttt": "sgd"}, "tokens"),
        ({"with_costs": True, "ttt": "sgd", "resume": "f"}, "tokens"),
        ({"with_costs": True, "resume": "f"}, None),
        ({"with_tokens": True}, "tokens"),
        ({"with_documents": True}, "tokens"),
    ],
)
def test_costs_of_single_tokens_are_kept_where_those_of_stretches_would_not_do(options, kept):
    assert Settings.of(options).kept_costs == kept


def test_what_can_be_gone_through_once_is_kept(tmp_path: Path) -> None:
    """Looked at a second time ``Path.glob`` is empty, and the checkpoint's own text was scored in its place."""
    for name in ("a.npy", "b.npy"):
        (tmp_path / name).touch()
    once: dict[str, Any] = {"data": tmp_path.glob("?.npy"), "golf_setting": iter(["a=1"])}
    given = Settings(**once, adapter="golf-gpt")
    for _ in range(2):
        assert sorted(as_paths(given.data)) == [tmp_path / "a.npy", tmp_path / "b.npy"]
        assert list(given.golf_setting) == ["a=1"]
    for nothing in ([], tmp_path.glob("*.bin")):
        with pytest.raises(UsageError, match=r"^--docs: got an empty list, expected a path or more; no file fits it"):
            bpb_harness.evaluate("a.pt", docs=nothing)  # type: ignore[arg-type]
    assert as_paths(Settings(data=()).data) == as_paths(Settings(data=[]).data) == []  # the default, in JSON too


def test_checkpoints_and_audits_take_what_can_be_gone_through_once(repository: Path, tmp_path: Path) -> None:
    fixtures = repository / "fixtures"
    own = np.fromfile(fixtures / "corpora" / "tiny_val_000000.bin", "<u2", offset=1024)
    np.save(tmp_path / "a.npy", own[512:1024])
    checkpoint = fixtures / "checkpoints" / "mdlm-tiny.pt"
    quick: dict[str, Any] = {"limit": 2, "check_contract": False}
    result = bpb_harness.evaluate(checkpoint, data=tmp_path.glob("*.npy"), **quick)  # type: ignore[arg-type]
    assert str(result.signature.data).startswith("a@")
    pair = bpb_harness.compare(checkpoint, checkpoint, data=tmp_path.glob("*.npy"), **quick).systems
    assert [Signature.parse(each.signature).data for each in pair] == [result.signature.data] * 2
    record = fixtures / "claims" / "facts"
    said = bpb_harness.audit(sorted(record.iterdir())[:1]).to_dict()
    assert bpb_harness.audit(iter(sorted(record.iterdir())[:1])).to_dict() == said  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("limit", np.int64(4), 4), ("seed", np.uint32(7), 7), ("num_samples", np.int16(3), 3),
        ("tolerance", np.float32(0.5), 0.5), ("schedule", LogLinear(0.001), "loglinear[0.001]"),
    ],
)  # fmt: skip
def test_numbers_and_schedules_of_other_types_are_what_they_say(name: str, given: object, kept: object) -> None:
    found = getattr(Settings.of({name: given}), name)
    assert (found, type(found)) == (kept, type(kept))


class Own(NoiseSchedule):
    name = "own"
    mask_rate = dmask_rate = time = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("tolerance", "0.5", "--tolerance: got '0.5', expected a number"),
        ("limit", np.float64(4.0), "--limit: got 4.0, expected a whole number, 1 or more"),
        ("schedule", Own(), "--schedule: got Own, expected a name, such as 'loglinear[0.001]'; a schedule of your own"),
        ("schedule", 0.001, "--schedule: got float, expected a name"),
        ("data", np.zeros(3, np.int64), "a path: got ndarray, expected a file, a folder, or a list of them, in the "
         "text's order; write tokens to a file: numpy.save('tokens.npy', ids)"),
        ("docs", b"a.txt", "a path: got bytes, expected a file, a folder, or a list"),
        ("docs", {"a.txt"}, "a path: got set, expected a file, a folder, or a list of them, in"),
        ("data", [3], "a path: got int, expected a file or a folder"),
        ("tokenizer", object(), "a path: got object, expected"),
        ("adapter", 3, "--adapter: got int, expected text"),
        ("progress", 5, "progress: got 5, expected a function of tokens done and in all"),
        ("name", 5, "name: got 5, expected text"),
    ],
)  # fmt: skip
def test_values_of_other_kinds_are_refused_in_one_line(name: str, given: object, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        Settings.of({name: given})


@pytest.mark.parametrize("settings", [Settings, Training])
def test_true_is_no_number_and_no_text(settings: type) -> None:
    """Python takes True for 1 wherever a number is asked for."""
    needed = {"data": (Path("d"),), "tokenizer": Path("t"), "out": Path("m.pt"), "steps": 1}
    given = needed if settings is Training else {}
    hints = get_type_hints(settings)
    others = [name for name in flags_of(settings) if bool not in (hints[name], *get_args(hints[name]))]
    assert len(others) > 25
    for name in others:
        for value in (True, False):
            with pytest.raises(UsageError, match=f"^{flags_of(settings)[name].name}: got {value}, expected"):
                settings(**(given | {name: value}))
