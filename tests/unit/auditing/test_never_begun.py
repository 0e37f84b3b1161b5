"""A title that names a technique which would have begun behind the last step of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

SCRIPT = """import os


def train(args, model, mean, log0):
    log0(f"ema_start_frac:{args.ema_start_frac}")
    for step in range(args.iterations):
        model(step)
        if step >= max(1, int(args.iterations * args.ema_start_frac)):
            mean(model)
"""
TOLD = "train_batch_tokens:524288 iterations:20000\nema_enabled:1 ema_start_frac:0.8\n"
README = "# A run\n"
TITLE = "Baseline + EMA (Non-Record)"


def _report(
    folder: Path,
    title: str = TITLE,
    script: str = SCRIPT,
    told: str = TOLD,
    last: int = 8000,
    readme: str = "# A run\n",
) -> AuditReport:
    score = round(bpb(2.0312, SP1024), 8)
    (folder / "submission.json").write_text(submission(val_bpb=score, tokenizer="sp1024", name=title))
    steps = f"step:{last}/20000 train_loss:2.1000 train_time:600000ms\n"
    (folder / "train.log").write_text(told + steps + log(2.0312, SP1024))
    (folder / "train.py").write_text(script)
    (folder / "README.md").write_text(readme)
    return audit(folder)


def test_a_technique_that_would_have_come_later_is_a_doubt(tmp_path: Path) -> None:
    report = _report(tmp_path)
    (found,) = report.with_code("BPB452")
    assert found.message == (
        f"the title names EMA ({TITLE!r}), which begins at step 16,000 by the log's settings (`ema_start_frac:0.8` of "
        "`iterations:20000`, train.log:2), and the run ended at step 8,000: it never began"
    )
    assert report.verdict == "unverifiable"


BY_A_CLOCK = "\n\ndef late(args, share):\n    return share >= args.ema_start_frac\n"


@pytest.mark.parametrize(
    ("title", "script", "told", "last", "readme"),
    [
        (TITLE, SCRIPT, TOLD, 16000, README),
        (TITLE, SCRIPT, TOLD + "ema:start step:3000\n", 8000, README),
        ("Baseline + SWA", SCRIPT, TOLD, 8000, README),
        ("Baseline without EMA", SCRIPT, TOLD, 8000, README),
        (TITLE, SCRIPT, TOLD, 8000, "# A run\n\nEMA was never reached.\n"),
        (TITLE, SCRIPT, TOLD.replace("0.8", "0.1"), 8000, README),
        (TITLE, SCRIPT, TOLD.replace(" iterations:20000", ""), 8000, README),
        (
            TITLE,
            SCRIPT + "\n\ndef late(args, share):\n    return share >= args.ema_start_frac\n",
            TOLD,
            8000,
            "# A run\n",
        ),
        (TITLE, SCRIPT.replace("step >= ", "clock >= "), TOLD, 8000, README),
        (TITLE, SCRIPT, "step:7000/20000 train_loss:2.2\n" + TOLD.replace("0.8", "0.42"), 8000, README),
        (TITLE, SCRIPT.replace("    for", "    args.iterations = 9000\n    for"), TOLD, 8000, README),
    ],
    ids=[
        "it came",
        "told",
        "another",
        "denied",
        "owned up",
        "early",
        "no steps",
        "by a clock too",
        "of a clock",
        "before the next line",
        "other steps",
    ],
)
def test_the_honest_neighbours(tmp_path: Path, title: str, script: str, told: str, last: int, readme: str) -> None:
    assert not _report(tmp_path, title, script, told, last, readme).with_code("BPB452")


LAST_TWENTIETH = """import os


def train(h, model, mean, log):
    for step in range(h.iterations):
        model(step)
        if h.swa_enabled and step >= int(h.iterations * (1.0 - h.swa_window_frac)) and step % 50 == 0:
            mean(model)
"""
OF_THE_END = "  iterations: 20000\n  swa_blend: 0.5\n  swa_enabled: True\n  swa_window_frac: 0.05\n"
BLENDED = "[Non-record] Stack + SWA blend - replication + ablation"


@pytest.mark.parametrize(
    "script",
    [
        LAST_TWENTIETH,
        LAST_TWENTIETH.replace("(1.0 - h.swa_window_frac)", "(1 - h.swa_window_frac)"),
        LAST_TWENTIETH.replace("int(h.", "h.").replace("frac)) and", "frac) and"),
    ],
)
@pytest.mark.parametrize("title", [BLENDED, "Stack + SWA"])
def test_a_share_at_the_end_is_one_from_where_it_begins(tmp_path: Path, script: str, title: str) -> None:
    (found,) = _report(tmp_path, title, script, OF_THE_END).with_code("BPB452")
    assert found.message == (
        f"the title names SWA ({title!r}), which begins at step 19,000 by the log's settings (the last "
        "`swa_window_frac:0.05` of `iterations:20000`, train.log:4), and the run ended at step 8,000: it never began"
    )


@pytest.mark.parametrize(
    ("title", "script", "told", "last", "readme"),
    [
        (BLENDED, LAST_TWENTIETH, OF_THE_END, 19000, README),
        (BLENDED, LAST_TWENTIETH, OF_THE_END.replace("0.05", "0.65"), 8000, README),
        (BLENDED, LAST_TWENTIETH, OF_THE_END + "swa: blending 7 snapshots into the mean\n", 8000, README),
        (BLENDED, LAST_TWENTIETH, OF_THE_END.replace("True", "False"), 8000, README),
        (BLENDED, LAST_TWENTIETH, OF_THE_END.replace("  swa_enabled: True\n", ""), 8000, README),
        (BLENDED, LAST_TWENTIETH, OF_THE_END, 8000, "# A run\n\nThe run ended before SWA began.\n"),
        (BLENDED, LAST_TWENTIETH.replace("(1.0 - h", "(2.0 - h"), OF_THE_END, 8000, README),
        (BLENDED, LAST_TWENTIETH.replace("step >=", "step <"), OF_THE_END, 8000, README),
        (BLENDED, LAST_TWENTIETH + BY_A_CLOCK.replace("ema_start_frac", "swa_window_frac"), OF_THE_END, 8000, README),
        ("Stack - a study of averages", LAST_TWENTIETH, OF_THE_END, 8000, README),
    ],
    ids=["came", "wide", "told", "off", "open", "owned_up", "sum", "until", "clock", "unnamed"],
)
def test_the_honest_neighbours_of_a_share_at_the_end(
    tmp_path: Path, title: str, script: str, told: str, last: int, readme: str
) -> None:
    assert not _report(tmp_path, title, script, told, last, readme).with_code("BPB452")
