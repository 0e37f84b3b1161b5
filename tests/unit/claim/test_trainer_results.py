"""Reports of nanochat, states of Hugging Face's Trainer and tables of Lightning, read as claims."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.claim import Claim, find_submissions, read_claim
from bpb_harness.errors import ClaimError
from fixtures.claims.other_contests import lightning_table, nanochat_report, trainer_state


def _read(folder: Path, **files: str) -> Claim:
    for name, text in files.items():
        path = folder / name.replace("__", ".").replace("_in_", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return read_claim(folder)


@pytest.mark.parametrize(
    ("report", "score", "others"),
    [
        (nanochat_report(), 0.7450, [0.7451, 0.7466]),
        (nanochat_report(evaluated=None), 0.7450, [0.7451]),
        (nanochat_report(minimum="None", final="None"), 0.7466, []),
        (nanochat_report(minimum="None", final="None", evaluated=None), None, []),  # of conversations alone
        (nanochat_report().replace("evaluation\n", "loss\n"), 0.7450, [0.7451, 0.7466]),
        # What a later section says is not the base model's.
        (nanochat_report(final="None", evaluated=None).replace("- Minimum validation bpb: 0.7450\n", ""), None, []),
    ],
)
def test_a_report_of_nanochat(tmp_path: Path, report: str, score: float | None, others: list[float]) -> None:
    claim = _read(tmp_path, report__md=report)
    assert (claim.score.value if claim.score else None) == score
    assert [other.value for other in claim.other_scores] == others
    if score == 0.7450:
        assert str(claim.score.source if claim.score else "") == "report.md:12"


def test_another_report_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("# My week\n\n- val bpb: 0.5\n")
    assert find_submissions(tmp_path) == []
    with pytest.raises(ClaimError, match=r"report\.md is no record that is read: expected a nanochat report"):
        read_claim(tmp_path / "report.md")
    (tmp_path / "metrics.csv").write_text("name,val_bpb\na,1.1\n")
    with pytest.raises(ClaimError, match=r"metrics\.csv is no record that is read: expected a metrics\.csv of"):
        read_claim(tmp_path / "metrics.csv")


@pytest.mark.parametrize(
    ("state", "score", "said"),
    [
        (trainer_state({"eval_bpb": 1.3}, {"eval_bpb": 1.1}), 1.1, "2 evaluations: the last is taken (step 1000)"),
        (trainer_state({"eval_bits_per_byte": 1.3}), 1.3, None),
        (trainer_state({"eval_loss": 2.5, "eval_bpb": 1.3}), 1.3, "no bytes per token are read off the two"),
        (trainer_state({"eval_loss": 2.5}, {"eval_loss": 2.4}), None, None),
        (trainer_state({"eval_accuracy": 0.5}), None, None),
        (trainer_state({"eval_bpb": 1.3, "eval_wiki_bpb": 1.1}), None, "gives several scores, eval_bpb, eval_wiki_bpb"),
        (trainer_state({"eval_bpb": 1.3, "train_bpb": 0.9}), 1.3, None),
        (trainer_state({"eval_bpb": "NaN"}), None, None),
        (trainer_state({"eval_bpb": 1.3}).replace('"step": 500', '"step": 1e999'), 1.3, None),
        (trainer_state({"eval_bpb": 1.3}, {"eval_bpb": float("nan")}), None, "the last eval_bpb is no finite number"),
        (trainer_state({"eval_bpb": 1.3}, {"eval_bpb": float("inf")}), None, "is no finite number (step 1000)"),
        (trainer_state({"eval_bpb": float("nan")}, {"eval_bpb": 1.3}), 1.3, None),
        (
            trainer_state({"eval_bpb": 1.1}, {"eval_bpb": 1.3}, best_metric=1.1, best_model_checkpoint="c-500"),
            None,
            "which is claimed, it does not say",
        ),
        (trainer_state({"eval_bpb": 1.1}, {"eval_bpb": 1.3}, best_metric=1.1), 1.3, "the last is taken"),
        (
            trainer_state({"eval_bpb": 1.3}, {"eval_bpb": 1.1}, best_metric=1.1, best_model_checkpoint="c-1000"),
            1.1,
            "the last is taken",
        ),
        (
            trainer_state({"eval_bpb": 1.3, "eval_accuracy": 0.6}, best_metric=0.6, best_model_checkpoint="c-500"),
            1.3,
            None,
        ),
    ],
)
def test_a_state_of_the_trainer(tmp_path: Path, state: str, score: float | None, said: str | None) -> None:
    claim = _read(tmp_path, trainer_state__json=state)
    assert (claim.score.value if claim.score else None) == score
    assert claim.nats_per_token is None
    assert (said or "") in " ".join(note.message for note in claim.notes)
    assert bool(claim.notes) is (said is not None)


def test_a_loss_alone_says_what_would_make_a_score_of_it(tmp_path: Path) -> None:
    claim = _read(tmp_path, trainer_state__json=trainer_state({"eval_loss": 2.4137}))
    assert claim.loss_alone is not None
    assert (claim.loss_alone.name, claim.loss_alone.value, claim.score) == ("eval_loss", 2.4137, None)


@pytest.mark.parametrize("key", ["eval_runtime", "epoch"])
def test_results_of_the_trainer(tmp_path: Path, key: str) -> None:
    results: dict[str, Any] = {"eval_loss": 2.4, "perplexity": 11.0, key: 3}
    claim = _read(tmp_path, eval_results__json=json.dumps(results))
    assert (claim.score, claim.loss_alone.value if claim.loss_alone else None) == (None, 2.4)
    claim = _read(tmp_path, eval_results__json=json.dumps(results | {"eval_bpb": 1.2}))
    assert claim.score is not None
    assert str(claim.score.source) == "eval_results.json (eval_bpb)"


def test_of_a_run_and_its_checkpoints_the_run_counts(tmp_path: Path) -> None:
    early, late = trainer_state({"eval_bpb": 1.3}), trainer_state({"eval_bpb": 1.3}, {"eval_bpb": 1.2})
    for name, state in (("checkpoint-500", early), ("checkpoint-1000", late)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text(state)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "trainer_state.json").write_text(trainer_state({"eval_bpb": 1.25}))
    claim = read_claim(tmp_path)
    assert claim.score is not None
    assert claim.score.value == 1.25
    (tmp_path / "trainer_state.json").unlink()
    claim = read_claim(tmp_path)
    assert (claim.score.value if claim.score else None) == 1.2
    assert find_submissions(tmp_path) == [tmp_path / "checkpoint-1000", tmp_path / "checkpoint-500"]


def test_beside_a_submission_it_is_an_output_of_its_authors(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.1}')
    (tmp_path / "trainer_state.json").write_text(trainer_state({"eval_bpb": 1.2}))
    (tmp_path / "metrics.csv").write_text(lightning_table(("val_bpb",), (1.3,)))
    (tmp_path / "report.md").write_text(nanochat_report())
    claim = read_claim(tmp_path)
    assert (claim.score.value if claim.score else None) == 1.1
    assert claim.files == ("submission.json",)
    for name, score in (("trainer_state.json", 1.2), ("metrics.csv", 1.3), ("report.md", 0.745)):
        named = read_claim(tmp_path / name)
        assert named.score is not None
        assert named.score.value == score


@pytest.mark.parametrize(
    ("table", "score", "place"),
    [
        (lightning_table(("val/bpb", "val/loss"), (1.3, 2.5), (1.2, 2.4)), 1.2, "metrics.csv:5 (val/bpb)"),
        (lightning_table(("val_bpb_step", "val_bpb_epoch"), (1.9, 1.3)), 1.3, "metrics.csv:3 (val_bpb_epoch)"),
        (lightning_table(("val_loss",), (2.5,)), None, ""),
        (lightning_table(("val_bpb", "test_bpb"), (1.3, 1.2)), None, ""),
        (lightning_table(("val_bpb",), ("nan",)), None, ""),
        (lightning_table(("val_bpb",), ("",)), None, ""),
        (lightning_table(("val_bpb",), (1.3,), ("nan",)), None, ""),
        (lightning_table(("val_bpb",), (1.3,), ("-inf",)), None, ""),
        (lightning_table(("val_bpb",), ("nan",), (1.3,)), 1.3, "metrics.csv:5 (val_bpb)"),
        (lightning_table(("val_bpb",), (1.3,)) + "1,200\n", 1.3, "metrics.csv:3 (val_bpb)"),  # cells that are not there
        (lightning_table(("val_bpb", "val/bpb"), (1.3, 1.1)), None, ""),
        (lightning_table(("val_bpb", "val_bpb"), (1.3, 1.1)), None, ""),
        (lightning_table(("val_bpb",), (1.3,)) + 200_000 * "x", None, ""),
        ("epoch,step\n1", None, ""),
    ],
)
def test_a_table_of_lightning(tmp_path: Path, table: str, score: float | None, place: str) -> None:
    claim = _read(tmp_path, metrics__csv=table)
    assert (claim.score.value if claim.score else None) == score
    assert (str(claim.score.source) if claim.score else "") == place
    assert find_submissions(tmp_path) == [tmp_path]


def test_a_run_beside_its_log(tmp_path: Path) -> None:
    claim = _read(tmp_path, metrics__csv=lightning_table(("val_bpb",), (1.25,)), train__log="final val_bpb:1.2500\n")
    assert claim.score is not None
    assert (claim.score.value, len(claim.logs)) == (1.25, 1)
    (tmp_path / "metrics.csv").write_text(lightning_table(("val_loss",), (2.5,)))
    claim = read_claim(tmp_path)
    assert (claim.score.value if claim.score else None, claim.claimed_in) == (1.25, "log")


def test_a_table_of_lightning_lies_where_lightning_writes_it(tmp_path: Path) -> None:
    run = tmp_path / "lightning_logs" / "version_0"
    run.mkdir(parents=True)
    (run / "metrics.csv").write_text(lightning_table(("val_bpb",), (1.3,)))
    claim = read_claim(tmp_path)
    assert claim.score is not None
    assert (claim.score.value, claim.score.source.file) == (1.3, "metrics.csv")
    assert find_submissions(tmp_path) == [run]
    other = run.with_name("version_1")
    other.mkdir()
    (other / "metrics.csv").write_text(lightning_table(("val_bpb",), (1.05,)))
    assert "two claimed scores" in read_claim(tmp_path).notes[-1].message  # of two runs: said, whichever goes first
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.25}')
    claim = read_claim(tmp_path)  # beside a submission it is left alone
    assert (claim.score.value if claim.score else None, claim.notes) == (1.25, ())
