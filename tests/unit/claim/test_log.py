"""Score lines of logs, in the shapes that people print."""

from __future__ import annotations

import math

import pytest

from bpb_harness.claim.log_reader import read_log
from fixtures.claims.patterns import EMBEDDED_SCRIPT
from tests.bounded import require_an_end


@pytest.mark.parametrize(
    ("line", "label", "nats", "score", "step"),
    [
        ("final_int8_exact val_loss:2.65530960 val_bpb:1.62519980", "final_int8_exact", 2.6553096, 1.6251998, False),
        (
            "ttt_sliding:done val_loss=1.889768 val_bpb=1.119230 elapsed=409s",
            "ttt_sliding:done",
            1.889768,
            1.11923,
            False,
        ),
        ("step:5/10 val_loss: 2.1 val_bpb: 1.2", "step:5/10", 2.1, 1.2, True),
        ("4000/20000 val_loss: 2.8741 val_bpb: 1.1127", "4000/20000", 2.8741, 1.1127, True),
        ("VARIATIONAL BPB: 1.1567", "VARIATIONAL", None, 1.1567, False),
        ("Quantized BPB (no XSA): 1.026927", "Quantized (no XSA)", None, 1.026927, False),
        ("  EMA BPB:       1.018060", "EMA", None, 1.01806, False),
        ("pll_loss:3.2108 pll_bpb:1.8587 scored_tokens:32736", "", 3.2108, 1.8587, False),
        ("[rank0]: final val_loss:2.1 val_bpb:1.2", "final", 2.1, 1.2, False),
        ("2026-03-20 10:11:12,345 - INFO - final val_loss:2.1 val_bpb:1.2", "final", 2.1, 1.2, False),
        ("\x1b[1mfinal\x1b[0m val_loss:2.1 val_bpb:1.2", "final", 2.1, 1.2, False),
        ('{"step": 5, "val_loss": 2.1, "val_bpb": 1.2}', 'step": 5', 2.1, 1.2, True),
        ('{"event": "final", "tokenizer": "sp1024", "val_loss": 2.1, "val_bpb": 1.2}', None, 2.1, 1.2, False),
        ("train_loss:3.0 val_loss:2.1 val_bpb:1.2", "", 2.1, 1.2, False),
        ("val_loss 2.031 | val_bpb 1.203", "", 2.031, 1.203, False),
        ("val_loss 2.031, val_bpb 1.203, time 3.1s", "", 2.031, 1.203, False),
        ("val_loss 2.031 val_bpb   1.203", "", 2.031, 1.203, False),
        ("val_bpb 1.203", "", None, 1.203, False),
        ("final val_loss 2.031 | val_bpb 1.203 | done", "final", 2.031, 1.203, False),
        ("step 100 | train_loss 3.0 | val_loss 2.031 | val_bpb 1.203", "step 100", 2.031, 1.203, True),
        ("100/2000 val_loss 2.031 val_bpb 1.203", "100/2000", 2.031, 1.203, True),
    ],
)
def test_shapes(line: str, label: str | None, nats: float | None, score: float, step: bool) -> None:
    (found,) = read_log(line, "f.log").lines
    assert (found.bpb.value, found.is_training_step) == (score, step)
    assert label is None or found.label == label
    assert (found.nats_per_token.value if found.nats_per_token else None) == nats


@pytest.mark.parametrize(
    "line",
    [
        'log0(f"final val_loss:{loss:.4f} val_bpb:{bpb:.4f}")',
        'print("val_bpb: 1.2")',
        "# val_bpb: 1.2",
        "val_bpb: nan",
        "val_bpb: inf",
        "val_bpb: 1e999",
        "val_bpb: 0.0",
        "val_bpb: -1.2",
        "val_bpb: 12%",
        "val_bpb: 1.2.3",
        "val_bpb: 1,2030",
        "val_bpb: \u0661.\u0662",
        "delta_bpb: 0.012",
        "baseline_bpb: 1.2244",
        "val_bpb_std: 0.001",
        "target bpb: 1.1",
        "val_bpb 1,203",
        "val_bpb 1.2 is what we hope for",
        "improved val_bpb 1.2",
        "target_bpb 1.1 | val_loss 2.0",
        "a val_loss 2.0 and val_bpb 1.2 were seen before",
        "val_bpb 12%",
        "val_bpb 1.2.3",
        "val_bpb nan",
        "val_bpb",
        "",
    ],
)
def test_what_is_no_score(line: str) -> None:
    assert read_log(line, "f.log").lines == ()


def test_the_script_in_the_log_is_not_the_log() -> None:
    record = read_log(EMBEDDED_SCRIPT + "step:0/9 val_loss:6.9 val_bpb:4.1\nfinal val_loss:2.1 val_bpb:1.2\n", "f.log")
    assert [line.bpb.value for line in record.lines] == [4.1, 1.2]
    assert record.embedded_code_lines > 10


def test_the_final_score_is_the_last_that_is_no_step_with_its_digits() -> None:
    exact = "final_exact val_loss:2.07269931 val_bpb:1.22436570"
    text = f"step:9/9 val_bpb:1.30\nfinal val_bpb:1.2244\n{exact}\nfinal val_bpb:1.2244\n"
    final = read_log(text, "f.log").final
    assert final is not None
    assert final.bpb.value == 1.2243657


def test_the_last_of_two_runs() -> None:
    text = "seed:1\nfinal_exact val_bpb:1.30\nseed:2\nfinal_exact val_bpb:1.20\n"
    record = read_log(text, "f.log")
    assert [line.run for line in record.lines] == [0, 1]
    assert record.seed == "2"
    assert record.final is not None
    assert record.final.bpb.value == 1.2


def test_settings() -> None:
    text = (
        "val_loader:shards pattern=./d/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632\n"
        "val_var_bpb:enabled var_eval_steps:32\nSerialized model: 1 bytes\n"
        "Total submission size: 67272625 bytes\nTotal submission size int8+zlib: 15863489 bytes\n"
    )
    record = read_log(text, "train_seed42.log")
    assert record.split_tokens == (62021632,)
    assert record.tokenizers == ("sp1024",)
    assert record.dataset == "fineweb_val"
    assert record.num_steps == 32
    assert record.seed == "42"
    assert [size.value for size in record.artifact_bytes] == [67272625, 15863489]


def test_names_say_whether_loss_and_score_are_one_estimator() -> None:
    (same,) = read_log("val_loss:2.1 val_bpb:1.2", "f").lines
    (other,) = read_log("val_loss:2.1 val_var_bpb:1.2", "f").lines
    assert same.same_estimator
    assert not other.same_estimator


def test_line_numbers_count_newlines_only() -> None:
    (line,) = read_log("a\x0cb\u2028c\x85d\r\nprogress 1\rprogress 2\nval_bpb:1.2\n", "f").lines
    assert line.bpb.source.line == 3


def test_the_ratio_is_that_of_the_line() -> None:
    (line,) = read_log("final_exact val_loss:2.07269931 val_bpb:1.22436570", "f").lines
    assert line.nats_per_token is not None
    assert math.isclose(line.nats_per_token.value / math.log(2) / line.bpb.value, 2.4423, rel_tol=1e-5)


HOSTILE_LINES = [
    "a" * 1990 + "bpb", "bpb" * 660, "val_bpb " * 240, "loss:1 bpb:" * 170, " " * 1990 + "|bpb", "|" * 1990 + "bpb",
    "val_loader" + "x" * 1980, "2026-03-20 " * 180 + "bpb", ":" * 1990 + "bpb", "bpb" + " " * 1990, "bpb(" * 480,
    "bpb 1 " * 330 + "x", "bpb 1|" * 150, "bpb:1|" * 150, "bpb" + " 1" * 990, "a 1e1 " * 330 + "bpb",
    "bpb 1" + "0" * 1980 + "x",
]  # fmt: skip


def test_hostile_lines_come_to_an_end() -> None:
    require_an_end(
        "from bpb_harness.claim.log_reader import read_log\n"
        "from bpb_harness.claim.readme_reader import read_readme\n"
        f"for line in {HOSTILE_LINES!r}:\n"
        "    text = '\\n'.join([line] * 20)\n"
        "    read_log(text, 'f.log')\n"
        "    read_readme(text, 'README.md')\n"
    )
