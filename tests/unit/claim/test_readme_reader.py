"""READMEs: what stands in their tables and prose, and which of it is the claim."""

from __future__ import annotations

import pytest

from bpb_harness.claim.printed import Printed, Source
from bpb_harness.claim.readme_reader import headline, read_readme, stated_scores, steps_table, title_of
from bpb_harness.claim.record import Readme, TableRow

FILE = "README.md"


def _score(value: float, decimals: int, line: int, name: str = "val_bpb") -> Printed:
    return Printed(value, decimals, Source(FILE, line), name)


def test_prose_is_read_with_its_place() -> None:
    text = (
        "# Diffusion with sp1024\n\nIt reaches **val_bpb**: 1.2345, and final_bpb = ~`1.250`.\n"
        "2.44 bytes per token; before: 2.5 bytes/token.\ndelta_bpb: 0.012, target bpb: 1.1x, loss: 2.031\n"
    )
    assert read_readme(text, FILE) == Readme(
        FILE,
        rows=(),
        scores=(_score(1.2345, 4, 3), _score(1.25, 3, 3, "final_bpb")),
        bytes_per_token=Printed(2.44, 2, Source(FILE, 4), "bytes per token"),
        tokenizers=("sp1024",),
        text=text,
        numbers=((1.2345, 0.00005), (1.25, 0.0005), (0.012, 0.0005), (2.031, 0.0005)),
    )


@pytest.mark.parametrize(
    ("prose", "values"),
    [
        *(("val_bpb: 99.9", [99.9]), ("val_bpb: 100", []), ("val_bpb: 0", []), ("val_bpb: -1.2", [])),
        *(("val_bpb: 12%", []), ("val_bpb: 1.2.3", []), ("val_bpb: 1.2x", []), ("val_bpb 1.2", []), ("loss: 1.2", [])),
        *(
            ("BPB=1.2", [1.2]),
            ("a bpb_exact: 1.2 b", [1.2]),
            ("baseline_bpb: 1.2", []),
            ("bpb: 1.2 bpb: 1.3", [1.2, 1.3]),
        ),
    ],
)
def test_which_prose_holds_a_score(prose: str, values: list[float]) -> None:
    assert [score.value for score in read_readme(prose, FILE).scores] == values


@pytest.mark.parametrize(
    ("prose", "stated"),
    [
        *(("2.44 bytes per token", 2.44), ("**2.44** UTF-8 bytes/token", 2.44), ("bytes per token: 2.44", 2.44)),
        *(
            ("bytes_per_token = 2.44", 2.44),
            ("Bytes / token is 2.44", 2.44),
            ("2 bytes per token", None),
            ("2.44", None),
        ),
    ],
)
def test_bytes_per_token(prose: str, stated: float | None) -> None:
    found = read_readme(prose, FILE).bytes_per_token
    assert (found.value if found else None) == stated


def test_columns_of_scores() -> None:
    head = "| run | T | val_bpb |\n|:---|---|--:|\n"
    text = head + "| a | 64 | **1.25** |\n| b | x | ~1.30 (3 seeds) |\n| c | 5 | n/a |\n\n| d | 7 | 1.4 |\n"
    assert read_readme(text, FILE).rows == (
        TableRow({"run": "a", "T": "64", "val_bpb": "1.25"}, _score(1.25, 2, 3), 64),
        TableRow({"run": "b", "T": "x", "val_bpb": "~1.30 (3 seeds)"}, _score(1.3, 2, 4), None),
    )


def test_tables_of_keys_and_values() -> None:
    text = "| metric | value |\n|---|---|\n| val_bpb | 1.25 |\n| val_loss | 2.03 |\n| bpb (T=128) | 1.31 |\n| bpb | |\n"
    assert read_readme(text, FILE).rows == (
        TableRow({"metric": "val_bpb", "value": "1.25"}, _score(1.25, 2, 3), None),
        TableRow({"metric": "bpb (T=128)", "value": "1.31"}, _score(1.31, 2, 5, "bpb (T=128)"), 128),
    )


@pytest.mark.parametrize(
    "text",
    [
        "|---|---|\n| val_bpb | 1.25 |\n",  # a rule with nothing above it
        "val_bpb\n|---|\n| 1.25 |\n",  # what is above it is no row
        "| a | val_bpb |\n| b | 1.25 |\n",  # no rule
        "| val_bpb |\n|---|\nprose\n| 1.25 |\n",  # the table has ended
        "| val_bpb |\n|---|\n| 100 |\n| 0 |\n| -1 |\n| v1.2 |\n",
        "| a | b | c |\n|---|---|---|\n| val_bpb |\n",
    ],
)
def test_what_is_no_row_of_a_score(text: str) -> None:
    assert read_readme(text, FILE).rows == ()


@pytest.mark.parametrize("column", ["T", "t", "num_steps", "eval steps", "diffusion_steps", "steps (T)", "T (steps)"])
def test_columns_of_steps(column: str) -> None:
    text = f"| {column} | val_bpb |\n|---|---|\n| 64 | 1.25 |\n"
    assert steps_table(read_readme(text, FILE)) == {64: _score(1.25, 2, 3)}
    assert steps_table(read_readme(text.replace("64", "1234567"), FILE)) == {}


@pytest.mark.parametrize("column", ["steps", "training steps", "lr", "Top"])
def test_columns_of_other_things(column: str) -> None:
    assert steps_table(read_readme(f"| {column} | val_bpb |\n|---|---|\n| 64 | 1.25 |\n", FILE)) == {}


def test_a_number_of_steps_with_two_scores_is_left_out() -> None:
    text = "| T | val_bpb |\n|---|---|\n| 512 | 1.21 |\n| 64 | 1.25 |\n| 512 | 1.22 |\n| 32 | 1.3 |\n| 0 | 1.9 |\n"
    table = steps_table(read_readme(text, FILE))
    assert list(table.items()) == [(32, _score(1.3, 1, 6)), (64, _score(1.25, 2, 4))]


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        ("val_bpb: 1.2\nval_bpb: 1.3\n", 1.2),
        ("Baseline val_bpb: 1.2\nval_bpb: 1.3\n", 1.3),
        ("Previous val_bpb: 1.2\n", None),
        ("A new record, val_bpb: 1.2\n", 1.2),
        ("val_bpb: 1.2 (baseline, made again)\n", 1.2),
        ("On top of the SOTA (val_bpb=1.14276)\nval_bpb: TBD\n", None),
        ("Pre-quant val_bpb: 1.2 (beats the baseline)\nPost-quant val_bpb: 1.3 (does not beat the baseline)\n", 1.3),
        ("Expected val_bpb: 1.2\n\n| val_bpb |\n|---|\n| 1.3 |\n", 1.3),
        ("step:7458/20000 val_loss:2.03 val_bpb:1.2\nval_bpb: 1.3\n", 1.3),
        ("| val_bpb |\n|---|\n| 1.1 |\n\nbpb: 1.3\n", 1.3),
        ("| val_bpb |\n|---|\n| 1.1 |\n", 1.1),
        ("| val_bpb |\n|---|\n| 1.10 |\n| 1.35 |\n", None),
        ("| val_bpb |\n|---|\n| 1.2345 |\n| 1.23 |\n", 1.23),
        ("| run | val_bpb |\n|---|---|\n| mean | 1.10 |\n| 2 | 1.35 |\n", 1.1),
        ("| run | val_bpb |\n|---|---|\n| mean | 1.10 |\n| avg | 1.35 |\n", None),
        ("nothing\n", None),
    ],
)
def test_the_headline(text: str, claimed: float | None) -> None:
    found = headline(read_readme(text, FILE))
    assert (found.value if found else None) == claimed


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("# Wider layers (1.2066 BPB)\n\nval_bpb: 1.21\n", [1.2066]),
        ("\n# Record: wider layers: val_bpb 1.1194 (3 seeds)\n", [1.1194]),
        ("# Wider, val_bpb (mean): **1.1194**\n", [1.1194]),
        ("# 11L_Wider_1.1147\n", [1.1147]),
        ("# A name \u2014 1.1195\n", [1.1195]),
        ("# Wider: 1.21 post-quant bits per byte\n", [1.21]),
        ("# Breit: 1,2066 bpb\n", [1.2066]),
        ("# 1.21 BPB in 600 s, 1.19 BPB in an hour\n", [1.21, 1.19]),
        ("# Wider\n\nIt reaches **1.1234 bpb** on the split.\n", [1.1234]),
        ("# Wider\n\n**BPB: 1.1234** and **1.1234 BPB**\n", [1.1234, 1.1234]),
        ("# Wider\n\n## Others\n\n**1.1234 bpb**\n", []),
        ("# Wider\n\nBaseline: **1.1234 bpb**\n\n**1.1234 bpb** of #1413\n", []),
        ("Wider layers (1.2066 BPB)\n====\n\nval_bpb: 1.21\n", [1.2066]),
        ("Wider: expected 1.12 BPB\n====\n", []),
        ("# Wider\n\nOthers\n======\n\n**1.1234 bpb**\n", []),
        ("# Wider: expected 1.12 BPB\n", []),
        ("# Wider: -0.070 BPB\n", []),
        ("# Wider helps by 0.05 BPB\n", []),
        ("# Wider: 1.12 BPB vs 1.2244\n", []),
        ("# Version 1.2.3 of 1.5\n", []),
        ("# ~~1.1234 BPB~~\n", []),
        ("It reaches 1.1234 BPB\n", []),
        ("# Wider bpb runs 1.12x faster\n", []),
        ("# Wider\n\n**val_loss: 1.7843 val_bpb: 1.0563**\n", [1.0563]),
        ("# Wider: val_loss 1.7843 val_bpb 1.0563\n", [1.0563]),
        ("# Wider: 1.7843 nats and bpb 1.0563\n", [1.0563]),
        ("# Wider: 1.7843 nats a token at bpb of a byte\n", []),
        ("# Wider: train_bpb 1.0563\n", []),
        ("# Wider: val\\_bpb 1.0563\n", [1.0563]),
        ("# Wider: val_bpb \u2248 1.0563\n", [1.0563]),
        ("# val_loss 1.9876\n", []),
        ("# val_loss: 1.9876\n", []),
        ("# seed_1.2345\n", []),
        ("# A learning rate of 0.9500\n", []),
        ("# Wider: \u22120.2513 BPB\n", []),
        ("# Wider: \u0394 0.2513 BPB\n", []),
        ("# Wider helps by 0.25 BPB\n", []),
        ("# Wider: 0.25 BPB lower\n", []),
        ("# Below 1.10 BPB, <1.10 BPB\n", []),
        ("# Towards 1.05 BPB\n", []),
        ("# BPB 1.2244 -> 1.1234\n", []),
        ("# BPB ~1.1230-1.1240\n", []),
        ("# 1.2244 BPB \u2192 1.1234 BPB\n", [1.1234]),
        ("# 1.2244 -> 1.1234 BPB\n", [1.1234]),
        ("", []),
    ],
)
def test_what_a_title_or_bold_words_state(text: str, stated: list[float]) -> None:
    assert [score.value for score in stated_scores(read_readme(text, FILE))] == stated


def test_what_is_read_is_bounded() -> None:
    readme = read_readme("\n".join(["bpb: 1.2345 1.2345"] * 11_000) + "\n" + " " * 2000 + "bytes per token: 2.44", FILE)
    assert (len(readme.scores), len(readme.numbers), readme.bytes_per_token) == (500, 20_000, None)


@pytest.mark.parametrize(
    ("table", "value"),
    [
        (
            "| Seed | Base val_bpb | TTT val_bpb |\n|---|---|---|\n| **Mean** | 1.1507 | 1.1180 |\n",
            1.118,
        ),
        (
            "| Metric | Value |\n|---|---|\n| Pre-quantization bpb | 1.1497 |\n| Post-quantization bpb | 1.3936 |\n",
            1.3936,
        ),
        ("| Seed | bpb | other bpb |\n|---|---|---|\n| mean | 1.15 | 1.12 |\n", None),
        ("| Seed | Base bpb |\n|---|---|\n| mean | 1.15 |\n", 1.15),
        ("| Seed | Preview bpb | basement bpb |\n|---|---|---|\n| mean | 1.15 | 1.12 |\n", None),
    ],
    ids=["before adapting", "before quantising", "two that could be", "the only one", "other words"],
)
def test_columns_of_earlier_stages_are_not_the_claim(table: str, value: float | None) -> None:
    found = headline(read_readme(f"# A run\n\n{table}", "README.md"))
    assert (found.value if found is not None else None) == value


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# A run\n\nwords\n", "A run"),
        ("\n\n#  **Bold** `code` #\n", "Bold code"),
        ("A run\n=====\n\nwords\n", "A run"),
        ("\n**A** run\r\n=\r\nwords\n", "A run"),
        ("A run\n-----\n", None),
        ("A run\n\n=====\n", None),
        ("A run\n===== =\n", None),
        ("=====\nwords\n", None),
        ("A run", None),
        ("## A section\n", None),
        ("words\n# Later\n", None),
        ("# \n", None),
        ("", None),
    ],
)
def test_the_title_is_the_heading_that_it_begins_with(text: str, title: str | None) -> None:
    assert title_of(Readme("README.md", text=text)) == title
