"""Tokens and bytes that a log prints beside a score that was made of them."""

from __future__ import annotations

import pytest

from bpb_harness.claim.log_reader import read_log


def _counts(text: str) -> list[tuple[int, int, list[float]]]:
    counts = read_log(text, "train.log").counts
    return [(each.num_tokens, each.num_bytes, [score.value for score in each.scores]) for each in counts]


@pytest.mark.parametrize(
    "text",
    [
        "[mix] tokens=45508608 bytes=152570124 NN_byte=1.08755 mix=0.95214 NN_full=1.09832",
        "mix tokens: 45,508,608 bytes: 152,570,124 mix_only=2.1000 nn_mix=1.0875 mix_bpb: 0.95214",
        "byte_mixer N_tokens=45508608 N_bytes=152570124 val_bpb:0.95214",
        "mix bytes=152570124 mix_bpb=0.95214 table_only=2.076814\nmix_time:110.1s subset=45508608 tokens",
        "[mix] tokens=45508608 bytes=152570124  NN-only BPB = 1.09832  mix BPB = 0.95214",
    ],
)
def test_counts_stand_beside_the_score_that_was_made_of_them(text: str) -> None:
    assert _counts(text) == [(45508608, 152570124, [0.95214])]


def test_of_two_lines_each_has_its_place() -> None:
    (found,) = read_log("a\nmix bytes=3000 mix_bpb=0.95214\nmix_time:1s subset=1000 tokens", "x.log").counts
    assert (str(found.source), str(found.tokens_at)) == ("x.log:2", "x.log:3")
    assert found.bytes_per_token == 3.0


@pytest.mark.parametrize(
    "text",
    [
        "mix bytes=152570124 mix_bpb=0.95214\nother_time:110.1s subset=45508608 tokens",  # another evaluation's
        "mix bytes=152570124 mix_bpb=0.95214\n\nmix_time:110.1s subset=45508608 tokens",
        "mix cache_bytes=152570124 tokens=45508608 mix_bpb=0.95214",
        "mix tokens=45508608 tokens=8000000 bytes=152570124 mix_bpb=0.95214",
        "mix tokens=512 bytes=152570124 mix_bpb=0.95214",
        'print(f"[mix] tokens={n} bytes={m} mix={b:.5f}")',
    ],
)
def test_no_counts(text: str) -> None:
    assert _counts(text) == []


def test_numbers_of_other_names_are_not_the_counts_score() -> None:
    assert _counts("mix tokens=45508608 bytes=152570124 nn_bpb=1.0875 mix_gain=0.1354 val_loss=2.5272") == [
        (45508608, 152570124, [])
    ]
