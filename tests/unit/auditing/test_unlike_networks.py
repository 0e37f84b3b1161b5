"""A mean over networks that differ in their number of parameters is the score of none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

NATS = (2.0312, 2.0343, 2.0284, 2.0355)


def _report(
    folder: Path, sizes: list[int | None], claimed: float | None = None, form: str = "model_params:{:d}"
) -> AuditReport:
    """The report on a mean over logs of networks of these sizes."""
    scores = [bpb(nats, SP1024) for nats in NATS[: len(sizes)]]
    for number, (nats, size) in enumerate(zip(NATS, sizes, strict=False)):
        said = "" if size is None else form.format(size)
        text = log(nats, SP1024, seed=number).replace("model_params:17059912", said)
        (folder / f"train_v{number}.log").write_text(text)
    mean = sum(scores) / len(scores) if claimed is None else claimed
    (folder / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    return audit(folder)


FORMS = [
    "model_params:{:d}", "model_params:{:,d}", "model_params: {:d} (tied)", "Number of parameters: {:,d}",
    "Total number of parameters = {:d}", "Model params: {:,d}", "total parameters: {:d}",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_mean_over_networks_of_other_sizes_is_held_back(tmp_path: Path, form: str) -> None:
    report = _report(tmp_path, [17_059_912, 16_849_992, 17_059_912], form=form)
    (found,) = report.with_code("BPB428")
    assert report.verdict == "unverifiable"
    assert "17,059,912 by train_v0.log:" in found.message
    assert "16,849,992 by train_v1.log:" in found.message


def test_millions_are_no_number_to_the_last(tmp_path: Path) -> None:
    assert not _report(tmp_path, [17, 16, 17], form="Number of parameters: {:d}M").with_code("BPB428")


@pytest.mark.parametrize("sizes", [[17_059_912] * 3, [17_059_912, None, None], [None] * 3])
def test_one_network_is_no_doubt(tmp_path: Path, sizes: list[int | None]) -> None:
    report = _report(tmp_path, sizes)
    assert not report.with_code("BPB428")
    assert report.verdict == "consistent"


def test_another_network_whose_score_leaves_the_mean_where_it_is_is_no_doubt(tmp_path: Path) -> None:
    of_three = sum(bpb(nats, SP1024) for nats in NATS[:3]) / 3
    for number, nats in enumerate((*NATS[:3], (of_three + 1e-4) / bpb(1.0, SP1024))):
        size = 17_059_912 if number < 3 else 19_000_000
        text = log(nats, SP1024, seed=number).replace("model_params:17059912", f"model_params:{size}")
        (tmp_path / f"train_v{number}.log").write_text(text)
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(of_three, 4)))
    report = audit(tmp_path)
    assert len(report.with_code("BPB401")[0].evidence["places"]) == 4  # type: ignore[arg-type]
    assert not report.with_code("BPB428")


def test_the_score_of_one_of_them_is_no_mean(tmp_path: Path) -> None:
    assert not _report(tmp_path, [17_059_912, 16_849_992], round(bpb(NATS[1], SP1024), 8)).with_code("BPB428")
