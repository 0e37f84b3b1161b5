"""In which orders a log goes through the documents."""

from __future__ import annotations

import pytest

from bpb_harness.claim.log_reader import read_log

HINTS = "ngram_tilt:hints total=47851520 gated=628130 token_gate=628130"
TRAINED = "ttpp: phase:1/1 pd:1424 gd:1000 t:234.7s"
RANGES = ("7534-8350", "6104-6447", "5097-5309", "4142-4283", "900-900", "27-900")
FINAL = "quantized_ttt_phased val_loss:2.0 val_bpb:1.18"


def batches(*ranges: str) -> list[str]:
    return [f"ttp: b{number}/782 bl:2.2488 bb:1.0662 dl:{each} gd:0" for number, each in enumerate(ranges)]


def _told(*lines: str) -> list[tuple[int | None, ...]]:
    found = read_log("\n".join([*lines, FINAL]), "train.log").orders
    return [(x.hints.line, x.num_hints, x.num_targets, x.first.line, x.trained.line, x.last.line) for x in found]


SCORED = batches(*RANGES)


def test_hints_and_then_documents_by_length() -> None:
    assert _told(HINTS, *SCORED[:2], TRAINED, *SCORED[2:]) == [(1, 628_130, 47_851_520, 2, 4, 8)]


def test_the_shortest_first_is_an_order_of_lengths_too() -> None:
    up = SCORED[::-1]
    assert len(_told(HINTS, up[0], TRAINED, *up[1:])) == 1


def test_other_words_for_the_same() -> None:
    hints = "ngram_tilt:precompute n_tok=40540161 hints=9560451 (23.58%)"
    for words in (" dl=", " doclen:", " doc_len: "):
        scored = [line.replace(" dl:", words) for line in SCORED]
        for trained in (TRAINED, TRAINED.replace("ttpp: phase:", "ttt_phase:")):
            assert [told[1:3] for told in _told(hints, *scored[:2], trained, *scored[2:])] == [(9_560_451, 40_540_161)]


MIXED = batches("60-900", "80-8350", "27-6447", "90-5309", "30-4283", "20-700")


@pytest.mark.parametrize(
    "lines",
    [
        [*SCORED[:2], TRAINED, *SCORED[2:]],
        [HINTS, *SCORED],
        [HINTS, *SCORED[:2], TRAINED.replace("gd:1000", "gd:0"), *SCORED[2:]],
        [HINTS.replace("gated=628130", "gated=0"), *SCORED[:2], TRAINED, *SCORED[2:]],
        [HINTS, *MIXED[:2], TRAINED, *MIXED[2:]],
        [HINTS, *SCORED[:2], TRAINED, *SCORED[2:5]],
        [*SCORED[:2], HINTS, TRAINED, *SCORED[2:]],
        [HINTS, *SCORED, TRAINED],
        [HINTS, TRAINED, *SCORED],
        [HINTS, *batches("64-64")[:1] * 2, TRAINED, *batches("64-64") * 6],
        [HINTS, *SCORED[:2], TRAINED, *SCORED[2:4], FINAL, "seed: 2", *SCORED[4:]],
    ],
    ids=["no hints", "frozen", "trained on none", "no hint is used", "as they come", "few", "hints behind the first",
         "trained at the end", "trained before", "one length", "two runs"],
)  # fmt: skip
def test_logs_of_one_order(lines: list[str]) -> None:
    assert _told(*lines) == []
