"""The numbers that the README shows are those that its command prints.

The program that made them is the command itself:
``bpb-eval fixtures/checkpoints/mdlm-tiny.pt --method discrete --compare``.
"""

import re

import pytest

import bpb_harness


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, " ".join(text.split()))
    assert found, pattern
    return float(found[1].replace(",", ""))


def test_the_demo_prints_what_the_readme_shows(repository):
    shown = (repository / "README.md").read_text(encoding="utf-8")
    result = bpb_harness.evaluate(
        repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt", method="discrete", compare=True, device="cpu",
        check_contract=False,
    )  # fmt: skip
    both = result.comparison
    # Rounding differs between processors and versions of torch, in the fifth digit at most.
    for pattern, value in (
        (r"~<= (\d\.\d+) bits per byte", result.bits_per_byte),
        (r"95 % interval (\d\.\d+) ", result.ci95[0]),
        (r"masks standard error (\d\.\d+)", result.mc_stderr),
        (r"other text standard error (\d\.\d+)", result.corpus_stderr),
        (r"marks uniform (\d\.\d+)", result.reference_marks.uniform),
        (r"unigram (\d\.\d+)", result.reference_marks.unigram),
        (r"bigram (\d\.\d+)", result.reference_marks.bigram),
        (r"xz (\d\.\d+)", result.reference_marks.xz),
        (r"discrete (\d\.\d+), mc", both.discrete),
        (r", mc (\d\.\d+) bits per byte", both.mc),
        (r"the bounds is \+(\d\.\d+)", both.gap_bits_per_byte),
        (r"; \+(\d\.\d+) \(se \d\.\d+\) follows", both.predicted_gap_bits_per_byte),
        (r"\b8: (\d\.\d+)", both.t_curve[0][1]),
        (r"needs (\d\.\d+) bits per byte", result.source.code_length_bits_per_byte),
    ):
        assert number(pattern, shown) == pytest.approx(value, abs=2e-4), pattern
    assert number(r"([\d,]+) tokens, [\d,]+ bytes", shown) == result.length.num_tokens
    assert number(r"[\d,]+ tokens, ([\d,]+) bytes", shown) == result.length.num_bytes
