"""What the README's command prints, in numbers: made by the command's own evaluation of the whole text.

    python -m tests.golden.demo

writes them beside this file. `make test` holds the README against them, `make thorough` both against the evaluation,
which takes as long as twenty tests; what it computes is pinned on fewer windows by :mod:`tests.golden.scores`.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

import bpb_harness

STORED = Path(__file__).with_suffix(".json")
_CHECKPOINT = Path(__file__).resolve().parents[2] / "fixtures" / "checkpoints" / "mdlm-tiny.pt"


def numbers() -> dict[str, float]:
    """``bpb-eval fixtures/checkpoints/mdlm-tiny.pt --method discrete --compare``, by the words beside each number."""
    result = bpb_harness.evaluate(_CHECKPOINT, method="discrete", compare=True, device="cpu", check_contract=False)
    both, marks = result.comparison, result.reference_marks
    assert both is not None
    assert marks is not None
    assert result.source is not None
    return {
        r"~<= (\d\.\d+) bits per byte": result.bits_per_byte,
        r"95 % interval (\d\.\d+) ": result.ci95[0],
        r"masks standard error (\d\.\d+)": result.mc_stderr,
        r"other text standard error (\d\.\d+)": result.corpus_stderr,
        r"marks uniform (\d\.\d+)": marks.uniform,
        r"unigram (\d\.\d+)": marks.unigram,
        r"bigram (\d\.\d+)": marks.bigram,
        r"xz (\d\.\d+)": marks.xz,
        r"discrete (\d\.\d+), mc": both.discrete,
        r", mc (\d\.\d+) bits per byte": both.mc,
        r"the bounds is \+(\d\.\d+)": both.gap_bits_per_byte,
        r"; \+(\d\.\d+) \(se \d\.\d+\) follows": both.predicted_gap_bits_per_byte,
        r"\b8: (\d\.\d+)": both.t_curve[0][1],
        r"needs (\d\.\d+) bits per byte": result.source.code_length_bits_per_byte,
        r"([\d,]+) tokens, [\d,]+ bytes": result.length.num_tokens,
        r"[\d,]+ tokens, ([\d,]+) bytes": result.length.num_bytes,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    STORED.write_text(json.dumps(numbers(), indent=1) + "\n", encoding="utf-8")
