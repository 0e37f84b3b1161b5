"""BPB512: parameters that the record states and its log does not print, and what an honest author may state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from bpb_harness.findings import Finding

LOG = "model_params:27092057\nfinal val_loss:2.03186 val_bpb:1.20340000\n"


def _found(folder: Path, log: str = LOG, readme: str = "", **keys: object) -> list[Finding]:
    (folder / "train.log").write_text(log)
    (folder / "README.md").write_text(f"# A network\n\n{readme}\n")
    (folder / "submission.json").write_text(json.dumps({"val_bpb": 1.2034, **keys}))
    return audit(folder).with_code("BPB512")


def test_a_number_that_the_log_does_not_print(tmp_path: Path) -> None:
    (found,) = _found(tmp_path, model_params=26_829_913)
    assert (found.severity, found.message) == (
        "info",
        "submission.json (model_params) gives 26,829,913 parameters, and the log of the score prints 27,092,057 "
        "(train.log:1)",
    )
    (found,) = _found(tmp_path, readme="| Model params | 26,829,913 |")
    assert found.message.startswith("README.md:3 gives 26,829,913 parameters, and")
    for own in ("| val_bpb | 1.2034 |\n", "| val_bpb | 1.2033 |\n", "| val_bpb | 1.203 |\n| baseline bpb | 1.2244 |\n"):
        (found,) = _found(tmp_path, readme=f"{own}| Model params | 26,829,913 |\n\nA baseline: val_bpb 1.2244")
        assert "gives 26,829,913 parameters" in found.message


@pytest.mark.parametrize("stated", [20_000_003, 35_000_001, 27_092_058])
def test_a_number_near_or_far_of_one_kind(tmp_path: Path, stated: int) -> None:
    assert len(_found(tmp_path, model_params=stated)) == 1


@pytest.mark.parametrize(
    "key",
    [
        *("model_params", "num_params", "n_params", "total_params", "num_parameters", "model_parameters"),
        "param_count",
    ],
)
def test_a_number_under_each_name_that_says_so(tmp_path: Path, key: str) -> None:
    assert len(_found(tmp_path, **{key: 26_829_913})) == 1
    assert _found(tmp_path, **{f"{key}_of_teacher": 26_829_913}) == []


def test_a_few_parameters_are_none_of_a_network(tmp_path: Path) -> None:
    log = LOG.replace("27092057", "120000")
    assert _found(tmp_path, log, model_params=99_999) == []
    assert len(_found(tmp_path, log, model_params=100_001)) == 1


def test_scores_of_another_paragraph_tell_no_other_run(tmp_path: Path) -> None:
    for readme in (
        "| Model params | 26,829,913 |\n\nA baseline: val_bpb 1.2244",
        "bpb 1.2244\n\nModel params: 26829913",
    ):
        assert len(_found(tmp_path, readme=readme)) == 1


def test_a_record_without_a_readme(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(LOG)
    for keys, number in (({"model_params": 26_829_913}, 1), ({"num_params": 26_829_913}, 1), ({}, 0)):
        (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.2034, **keys}))
        assert len(audit(tmp_path).with_code("BPB512")) == number


SECOND = "model_params:27092057\n"


@pytest.mark.parametrize(
    ("second", "more", "number"),
    [
        (SECOND, "", 1),
        ("", "", 0),  # which prints none
        ("model_params:9092057\n", "", 0),  # another network
        (f"{SECOND}teacher of 26829913\n", "", 0),
        (SECOND, "model_params:26829913\ndebug_run val_loss:2.5 val_bpb:1.5\n", 0),  # a log of none of the runs
    ],
    ids=["both", "one", "unlike", "in one of them", "elsewhere"],
)
def test_a_mean_over_runs(tmp_path: Path, second: str, more: str, number: int) -> None:
    for seed, head, score in ((1, SECOND, 1.2024), (2, second, 1.2044)):
        (tmp_path / f"seed{seed}.log").write_text(f"{head}final val_loss:2.03186 val_bpb:{score:.8f}\n")
    if more:
        (tmp_path / "debug.log").write_text(more)
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.2034}))
    (tmp_path / "README.md").write_text("# A network\n\n| val_bpb | 1.2034 |\n| Model params | 26,829,913 |\n")
    assert len(audit(tmp_path).with_code("BPB512")) == number


@pytest.mark.parametrize(
    ("log", "readme", "keys"),
    [
        (LOG, "", {"model_params": 27_092_057}),
        (LOG, "", {"model_params": 27_090_000}),  # rounded
        (LOG, "", {"model_params": 27}),  # in millions
        (LOG, "", {"model_params": 3_744_892}),  # of what is trained, say
        (LOG, "", {"model_params": 41_744_892}),
        (LOG, "", {"model_params": 15_000_001}),
        (LOG, "", {"params_of_teacher": 99_000_001}),
        (f"trainable: 26829913 of all\n{LOG}", "", {"model_params": 26_829_913}),
        (LOG.partition("\n")[2], "", {"model_params": 26_829_913}),  # the log prints none
        (LOG, "Model params: 27,092,057", {}),
        (LOG, "| Model params | 26,829,913 | 30,000,001 |", {}),  # of several networks
        (LOG, "Model params: 26,829,913\nModel params: 30,000,001", {}),
        (LOG, "Model params: 26,829,913\n\nThe larger one has 30,000,001 parameters.", {}),
        (LOG, "| **int6_bpb** | **1.13867894** |\n| model_params | 26,829,913 |", {}),  # of another run
        (LOG, "bpb 1.2036\nModel params: 26,829,913", {}),
        (LOG, "```\nmodel_params:26829913\ndiagnostic val_loss:2.33 val_bpb:1.06471733\n```", {}),
        (LOG, "A baseline with model params 26,829,913 and more", {}),
        (LOG.replace("1.2034", "1.1034"), "", {"model_params": 26_829_913}),  # no log of the score
    ],
)
def test_what_is_no_other_number(tmp_path: Path, log: str, readme: str, keys: dict[str, object]) -> None:
    assert _found(tmp_path, log, readme, **keys) == []
