"""Spreads over seeds that a README gives: which number, by which name, and what is none."""

from __future__ import annotations

import pytest

from bpb_harness.claim.printed import Printed, Source
from bpb_harness.claim.readme_reader import read_readme
from bpb_harness.claim.stated_spread import spread_told

SCORE = Printed(1.1933, 4, Source("submission.json"), "val_bpb")


@pytest.mark.parametrize(
    ("line", "value", "num_seeds", "is_named"),
    [
        ("std: 0.0005", "0.0005", None, True),
        ("- Sample standard deviation: `0.00071667`", "0.00071667", None, True),
        ("**val_bpb: 1.1931** (3-seed mean, std 0.0005)", "0.0005", 3, True),
        ("**Mean: 1.1233 | Std: 0.0005** | Submitted: seed 1337 (best)", "0.0005", None, True),
        ("Std (sample): **0.00102882**", "0.00102882", None, True),
        ("| **Std** | 0.0009 |", "0.0009", None, True),
        ("| Mean +/- Std | 1.1933 +/- 0.0001 |", "0.0001", None, True),
        ("1.1933 \u00b1 0.0011 over 4 runs", "0.0011", 4, False),
        ("| **Std** | 5 | **0.0007** | **0.0005** |", None, None, True),
    ],
)
def test_what_is_a_spread(line: str, value: str | None, num_seeds: int | None, is_named: bool) -> None:
    found = spread_told(read_readme(f"# Runs\n\n{line}\n", "README.md"), SCORE)
    assert found is not None
    assert (str(found.source), None if found.value is None else str(found.value)) == ("README.md:3", value)
    assert (found.num_seeds, found.is_named) == (num_seeds, is_named)


@pytest.mark.parametrize(
    "line",
    [
        "Tied embeddings, SVD-scaled init (std=0.005)",
        "mean val_loss 1.9583 (std: 0.00203)",
        "std: 0.5",
        "std: 0.09 %",
        "another network, 1.4116 \u00b1 0.013",
        "standardised, by 0.0005",
        "lr 0.0005",
        "val_bpb 1.1933; learned rate noise std 0.003 over 3 runs of the search",
        "Step times vary by std 0.0016 s",
        "The public seeds of the upstream repo gave 1.1941 +- 0.0005 with 5 runs.",
        "1.1933 +- 0.0005 (95 % bootstrap interval over documents)",
        "| **Mean** | **20,000** | **1.1971** | **1.1960 (std 0.0004)** |",
        "20K steps: mean 1.1960, std 0.0004",
        "1.2060 +- 0.0004 after 20K steps",
        "20K steps: mean val_bpb 1.2060, standard error 0.0003",
    ],
)
def test_what_is_none(line: str) -> None:
    assert spread_told(read_readme(line, "README.md"), SCORE) is None


@pytest.mark.parametrize(
    "line",
    [
        "best 1.1933; mean of all 1.1960, std 0.0004",  # which of them is meant, nothing says
        "mean 1.1950, std 0.0004",  # of 20 runs one may be so far off
        "mean 1.1960 +- 0.0004",  # where that is the error of a mean of 20 runs
        "| 1.1960 | std 0.0004 |",  # of another cell's score
        "After 20K steps 1.1960. Over seeds val_bpb has std 0.0004",
    ],
)
def test_what_may_be_the_spread_of_the_score(line: str) -> None:
    assert spread_told(read_readme(line, "README.md"), SCORE) is not None


def test_a_line_with_the_score_comes_first() -> None:
    text = "1.2010 val_bpb, std 0.0020\n1.1933 val_bpb, std 0.0030\n"
    found = spread_told(read_readme(text, "README.md"), SCORE)
    assert found is not None
    assert str(found.source) == "README.md:2"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("Standard error of the mean: `0.00041377`", "0.00041377"),
        ("Mean of 3 seeds: val_bpb 1.1933, std (of the mean): 0.0004, 3 seeds", "0.0004"),
        ("Mean over 3 seeds: 1.1933 \u00b1 0.0004 (standard error)", "0.0004"),
        ("- 3-seed std = 0.00025, standard error 0.00014", "0.00014"),
        ("| Std err | 0.0004 |", "0.0004"),
        ("SEM bpb, SEM = 0.0000826", "0.0000826"),
    ],
)
def test_what_is_a_standard_error(line: str, value: str) -> None:
    found = spread_told(read_readme(line, "README.md"), SCORE)
    assert found is not None
    assert (str(found.value), found.is_named, found.is_error) == (value, False, True)


def test_a_deviation_is_no_error() -> None:
    found = spread_told(read_readme("mean 1.1933, std 0.0005", "README.md"), SCORE)
    assert found is not None
    assert (found.is_named, found.is_error) == (True, False)
