"""A README that gives the claimed score for another network or training than the log that prints it tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

SCORE = round(bpb(2.0312, SP1024), 8)
TOLD = (
    "tie_embeddings:True matrix_lr:0.04 scalar_lr:0.04\ntrain_batch_tokens:524288 train_seq_len:1024 iterations:20000\n"
)
OF_THE_SCORE = f"val_bpb: {SCORE}\n\n"


def _report(folder: Path, readme: str, told: str = TOLD, text: str | None = None) -> AuditReport:
    (folder / "submission.json").write_text(submission(val_bpb=SCORE, tokenizer="sp1024"))
    (folder / "train.log").write_text(told + (text or log(2.0312, SP1024)))
    (folder / "README.md").write_text(f"# A run\n\n{readme}")
    return audit(folder)


def _table(*rows: str) -> str:
    return "| Parameter | Value |\n|---|---|\n" + "".join(f"| {row} |\n" for row in rows)


@pytest.mark.parametrize(
    "stated",
    [
        "- Batching: `TRAIN_BATCH_TOKENS=524288 TRAIN_SEQ_LEN=2048`\n",
        "```\nTRAIN_SEQ_LEN=2048 torchrun train.py\n```\n",
        _table("train_seq_len | 4096", "iterations | 13137"),
        _table("matrix_lr | 0.06", "scalar_lr | 0.06"),
        _table("train_batch_tokens | 786,432", "scalar_lr | 0.06"),
    ],
    ids=["a list", "a command", "a table", "two of the training", "a batch and a rate"],
)
def test_another_run_is_a_doubt(tmp_path: Path, stated: str) -> None:
    report = _report(tmp_path, OF_THE_SCORE + stated)
    assert len(report.with_code("BPB451")) == 1
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    "readme",
    [
        OF_THE_SCORE + _table("train_seq_len | 1024", "matrix_lr | 0.04"),
        OF_THE_SCORE + _table("matrix_lr | 0.06"),  # one rate may be a slip
        OF_THE_SCORE + _table("iterations | 9000", "max_wallclock_seconds | 590", "train_log_every | 50"),
        OF_THE_SCORE + _table("eval_seq_len | 2048", "val_batch_tokens | 4096"),
        "val_bpb: 1.1911\n\n" + _table("train_seq_len | 4096"),  # of another score
        f"val_bpb: {SCORE:.3f}\n\n" + _table("train_seq_len | 4096"),  # of one that may be another
        OF_THE_SCORE + "## Baseline\n\n" + _table("train_seq_len | 4096"),
        OF_THE_SCORE + "## Colab\n\n" + _table("train_seq_len | 4096"),
        _table("train_seq_len | 4096") + "\n## A longer run\n\n" + OF_THE_SCORE,
        OF_THE_SCORE + _table("train_seq_len | 4096") + "\nThe first phase had `TRAIN_SEQ_LEN=1024`.\n",
        OF_THE_SCORE + "```\nTRAIN_SEQ_LEN=4096 python train.py\nTRAIN_SEQ_LEN=1024 python train.py\n```\n",
        OF_THE_SCORE + "## Default settings\n\n" + _table("train_seq_len | 4096"),
        OF_THE_SCORE + "Defaults of the script:\n\n" + _table("train_seq_len | 4096"),
        OF_THE_SCORE + _table("train_batch_tokens | 4194304", "matrix_lr | 0.06"),
    ],
    ids=[
        "the same", "one rate", "a clock", "an evaluation", "another score", "three decimals", "the baseline's",
        "another machine's", "the score of another run",
        "both lengths", "two commands", "a heading of defaults", "words of defaults", "parts of the processes",
    ],
)  # fmt: skip
def test_the_honest_neighbours(tmp_path: Path, readme: str) -> None:
    report = _report(tmp_path, readme)
    assert report.with_code("BPB451") == []
    assert report.verdict == "consistent", report.judgement.reason


@pytest.mark.parametrize(
    ("told", "is_found"),
    [
        ("model_params:1 layers:9 dim:512 heads:8\n", True),
        ("num_layers: 9\n", True),
        ("num_layers: 10\n", False),
        ("num_layers: 9\nphysical_layers: 10\n", False),  # two things that layers may be
        ("gptq:done layers=9 time:3s\n", False),
    ],
)
def test_the_network_in_words(tmp_path: Path, told: str, is_found: bool) -> None:
    readme = f"{OF_THE_SCORE}## Config\n\n- 10 layers, 512 dim, 8 heads\n"
    assert bool(_report(tmp_path, readme, told).with_code("BPB451")) is is_found
    assert _report(tmp_path, f"{readme}\nOf these 9 layers are trained.\n", told).with_code("BPB451") == []


@pytest.mark.parametrize(
    ("item", "is_found"),
    [
        ("9 layers, 128-dim bigram embedding", False),
        ("9 layers, 64-dim heads", False),
        ("9 layers, 1024 dim MLP", False),
        ("9 layers, 640-dim", True),
        ("18 layers, 512 dim", True),
        ("18 layers, 512 dim\n\nThe blocks are looped twice.", False),
        ("8 layers, 512 dim\n\nThe blocks are looped twice.", True),
        ("5 layers, 512 dim, input\n- 4 layers, 512 dim, output", False),
        ("11 layers, 512 dim (9 + 2 output layers)", False),
        ("8 layers, 512 dim, attention\n- 1 layer of another kind", False),
        ("8 layers, 512 dim, attention\n- 2 layers of another kind", True),
    ],
)
def test_the_width_of_a_part_and_layers_in_effect(tmp_path: Path, item: str, is_found: bool) -> None:
    report = _report(tmp_path, f"{OF_THE_SCORE}- {item}\n", "model_params:1 layers:9 dim:512 heads:8\n")
    assert bool(report.with_code("BPB451")) is is_found


def test_a_length_that_grows_or_that_a_shell_script_sets(tmp_path: Path) -> None:
    readme = f"{OF_THE_SCORE}```\nTRAIN_SEQ_LEN=2048 torchrun train.py\n```\n"
    (tmp_path / "train.py").write_text("import os\n")
    assert _report(tmp_path, readme).with_code("BPB451")
    assert not _report(tmp_path, readme, f"{TOLD}curriculum: seq_len:1024 -> 2048 at step 500\n").with_code("BPB451")
    for name, text in (
        ("run.sh", "TRAIN_SEQ_LEN=1024 torchrun train.py\n"),
        ("job.slurm", "export TRAIN_SEQ_LEN=1024\ntorchrun train.py\n"),
        ("launch.py", "import os\nos.environ['TRAIN_SEQ_LEN'] = '1024'\n"),
    ):
        (tmp_path / name).write_text(text)
        assert not _report(tmp_path, readme).with_code("BPB451")
        (tmp_path / name).unlink()
    (tmp_path / "train.py").write_text("import os\nlength = int(os.environ.get('TRAIN_SEQ_LEN', 1024))\n")
    assert _report(tmp_path, readme).with_code("BPB451")


@pytest.mark.parametrize(
    ("item", "is_found"),
    [
        ("10 layers, 512 dim, 12 heads, 4 KV heads (GQA)", True),
        ("10 layers, 512 dim, 12 attention heads", True),
        ("10 layers, 512 dim, 8 heads, 4 KV heads", False),
        ("10 layers, 512 dim, 4 KV heads", False),
        ("10 layers, 512 dim, 64 head dim", False),
        ("10 layers, 512 dim, 2 heads output", False),
        ("10 layers, 512 dim, 12 heads\n- a baseline of 8 query heads", False),
    ],
)
def test_heads_in_words(tmp_path: Path, item: str, is_found: bool) -> None:
    report = _report(tmp_path, f"{OF_THE_SCORE}- {item}\n", f"attention_mode:gqa num_heads:8 num_kv_heads:4\n{TOLD}")
    assert bool(report.with_code("BPB451")) is is_found


LISTED = "  ema_decay: 0.997\n  muon_momentum: 0.99\n  qk_gain_init: 5.0\n  warmdown_frac: 0.667\n  muon_wd: 0.095\n"


@pytest.mark.parametrize(
    ("stack", "is_found"),
    [
        ("5. **Muon 0.97** momentum\n6. **QK-Gain 5.25**\n8. **EMA 0.9965, WD 0.095**\n", True),
        ("- Muon momentum = 0.97, warmdown 0.72, QK_GAIN_INIT=5.25\n", True),
        ("5. **Muon 0.97** momentum\n6. **QK-Gain 5.25**\n8. **EMA 0.997, WD 0.095**\n", False),
        ("5. **Muon 0.97** momentum\n6. **QK-Gain 5.25**\n8. **EMA 0.9965**\n\nThe base has 0.997.\n", False),
        ("Muon 0.97 momentum, QK-Gain 5.25 and EMA 0.9965 did worse.\n", False),
        ("## Related work\n\n- Muon 0.97, QK-Gain 5.25, EMA 0.9965\n", False),
        ("- Muon 0.97x, QK-Gain 5.25%, EMA 0.9965-like\n", False),
        ("- The previous record (Muon 0.97, QK-Gain 5.25, EMA 0.9965): 1.081\n", False),
        ("- PR #1493 (Muon 0.97, QK-Gain 5.25, EMA 0.9965): 1.081\n", False),
        ("- We tried Muon 0.97, QK-Gain 5.25, EMA 0.9965\n", False),
        ("- Teacher Muon 0.97, head QK-Gain 5.25, embed EMA 0.9965\n", False),
    ],
    ids=[
        "three",
        "in one item",
        "two",
        "the log's value",
        "prose",
        "another heading",
        "other numbers",
        "the record before",
        "another record",
        "a trial",
        "of something else",
    ],
)
def test_several_settings_in_words(tmp_path: Path, stack: str, is_found: bool) -> None:
    report = _report(
        tmp_path, f"{OF_THE_SCORE}## Stack\n\nThe base of another. Key components:\n\n{stack}", LISTED + TOLD
    )
    assert bool(report.with_code("BPB451")) is is_found
    if is_found:
        assert "`muon_momentum:0.99` (train.log:2)" in report.with_code("BPB451")[0].message


@pytest.mark.parametrize(
    ("command", "told", "is_found"),
    [
        ("CSA_DIM=96 CSA_TOPK=24", "csa_eval:targets=all dim:160 topk:40\n", True),
        ("CSA_DIM=96 CSA_TOPK=24", "csa:dim=160 topk=40\n", True),
        ("CSA_DIM=96 CSA_TOPK=24 CSA_RANK=8", "csa:dim=160 topk=40 rank=8\n", True),
        ("CSA_DIM=96 CSA_TOPK=40", "csa_eval:targets=all dim:160 topk:40\n", False),
        ("CSA_DIM=96 CSA_TOPK=24", "moe_eval:targets=all dim:160 topk:40\n", False),
        ("CSA_DIM=96 CSA_TOPK=24", "csa_warm: dim:96 topk:24\ncsa_eval: dim:160 topk:40\n", False),
        ("CSA_DIM=96 CSA_TOPK=24", "csa_chunk: dim:150 topk:30\ncsa_chunk: dim:160 topk:40\n", False),
        ("CSA_DIM=96 CSA_TOPK=24 torchrun train.py\nCSA_DIM=160 CSA_TOPK=40", "csa:dim=160 topk=40\n", False),
        ("CSA_DIM=96 CSA_TOPK=24", "csa_embed:dim=160 topk=40\n", False),
        ("CSA_DIM=96 CSA_TOPK=24", "csa:dim=12 topk=3\n", False),
        ("CSA_DIM=96 CSA_TOPK=24", "csa:embed dim=160 topk=40\n", False),
    ],
    ids=[
        "two",
        "a bare label",
        "two of three",
        "one",
        "another label",
        "told so too",
        "of a schedule",
        "one of the commands",
        "of a part",
        "an eighth for each process",
        "of a part behind the label",
    ],
)
def test_settings_under_a_label(tmp_path: Path, command: str, told: str, is_found: bool) -> None:
    report = _report(tmp_path, f"{OF_THE_SCORE}```\n{command} torchrun train.py\n```\n", TOLD + told)
    assert bool(report.with_code("BPB451")) is is_found


def test_switches_count_with_what_else_differs(tmp_path: Path) -> None:
    command = "```\nMIN_LR=0.1 GATE_ENABLED=1 torchrun train.py\n```\n"
    found = _report(tmp_path, OF_THE_SCORE + command, "  min_lr: 0.0\n  gate_enabled: False\n").with_code("BPB451")
    assert len(found) == 1
    beside = OF_THE_SCORE + command + "\n| | theirs | ours |\n|---|---|---|\n| MIN_LR | 0.0 | 0.1 |\n"
    assert len(_report(tmp_path, beside, "  min_lr: 0.0\n  gate_enabled: False\n").with_code("BPB451")) == 1
    assert _report(tmp_path, OF_THE_SCORE + command, "  min_lr: 0.1\n  gate_enabled: False\n").with_code("BPB451") == []


def test_a_log_of_an_evaluation_alone_tells_nothing_of_the_training(tmp_path: Path) -> None:
    lines = [line for line in log(2.0312, SP1024).split("\n") if not line.startswith("step:")]
    report = _report(tmp_path, OF_THE_SCORE + _table("train_seq_len | 4096"), text="\n".join(lines))
    assert report.with_code("BPB451") == []


def test_it_names_both_lines(tmp_path: Path) -> None:
    (found,) = _report(tmp_path, OF_THE_SCORE + _table("train_seq_len | 4096", "matrix_lr | 0.06")).with_code("BPB451")
    assert found.message == (
        "README.md gives the claimed score with `train_seq_len 4096` (line 7) and `matrix_lr 0.06` (line 8), and the "
        "log that prints it tells `train_seq_len:1024` (train.log:2) and `matrix_lr:0.04` (train.log:1): by the "
        "record's own words the score is of other settings than those that the README describes"
    )
