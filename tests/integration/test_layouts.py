"""Spans as a user scores them: what is paid for, what the signature says, and that nothing else moves the number."""

from __future__ import annotations

import numpy as np
import pytest

import bpb_harness
from bpb_harness.byte_count import ByteCounter, load_tokenizer
from bpb_harness.cli.eval import main as eval_main
from bpb_harness.errors import UsageError
from bpb_harness.text.corpus import load_documents, load_shards
from tests.commands import run_here

CONTEXT, NOT_TOLD = 32, {"method": "mc", "num_samples": 2}
# settings, entries of the signature, first visible token and targets of each of the first spans, how many of all
LAYOUTS = [
    ({"limit": 3}, "", [(0, 0, 32), (32, 32, 64), (64, 64, 96)], 3),
    ({"stride": 8, "limit": 3}, "stride:8", [(0, 0, 32), (8, 32, 40), (16, 40, 48)], 3),
    ({"stride": 32, "limit": 3}, "stride:32", [(0, 0, 32), (32, 32, 64), (64, 64, 96)], 3),
    ({"block_size": 16, "limit": 2}, "block:16", [(0, 0, 16), (0, 16, 32), (32, 32, 48), (32, 48, 64)], 4),
    ({"unpaid_prefix": 3, "limit": 2}, "prefix:3", [(0, 3, 32), (32, 35, 64)], 2),
    (
        {"block_size": 16, "unpaid_prefix": 3, "limit": 2}, "block:16|prefix:3",
        [(0, 3, 16), (0, 16, 32), (32, 35, 48), (32, 48, 64)], 4,
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(one_block):
    return one_block


def score(checkpoint, **settings):
    return bpb_harness.evaluate(checkpoint, context_length=CONTEXT, device="cpu", check_contract=False, **settings)


@pytest.mark.parametrize(("layout", "entries", "spans", "count"), LAYOUTS, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("method", [NOT_TOLD, {"method": "chain", "tokens_per_step": 8}], ids=["mc", "chain"])
def test_what_is_paid_for(repository, checkpoint, layout, entries, spans, count, method):
    result = score(checkpoint, with_windows=True, with_tokens=True, **layout, **method)
    table, tokens = result.windows, result.tokens
    seen = table["num_context"] if "num_context" in table else 0 * table["start"]
    found = zip(table["start"] - seen, table["start"], table["start"] + table["num_tokens"], strict=True)
    assert [tuple(map(int, row)) for row in found] == spans
    assert len(table) == result.length.num_windows == count
    signature = str(result.signature)
    layouts = [part for part in signature.split("|") if part.split(":")[0] in {"stride", "block", "prefix", "given"}]
    assert "|".join(layouts) == entries
    assert f"[0:{count}/" in signature
    # Every target once, its bytes counted once, whatever it saw.
    targets = np.concatenate([np.arange(start, end) for _, start, end in spans])
    assert tokens["position"].tolist() == targets.tolist()
    corpus = load_shards([repository / "fixtures" / "corpora" / "tiny_val_000000.bin"])
    counter = ByteCounter(load_tokenizer(repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model"))
    spelled = counter.span(corpus, 0, 96, "official")
    assert result.length.num_bytes == spelled[targets].sum()
    assert table["bits"].sum() == pytest.approx(result.length.bits, rel=1e-12)
    assert tokens.groupby("window")["share_bits"].sum().tolist() == pytest.approx(table["bits"].tolist(), rel=1e-9)
    codes = {remark.code for remark in result.remarks}
    assert ("given.prefix" in codes) == ("prefix" in entries)
    assert "given.lengths" not in codes


@pytest.mark.parametrize("layout", [{"stride": 8, "limit": 9}, {"block_size": 16, "limit": 9}])
def test_no_batch_moves_the_number(checkpoint, layout):
    totals = [score(checkpoint, batch_tokens=size, **layout, **NOT_TOLD).length.nats for size in (1, 500, 10_000)]
    assert totals == pytest.approx([totals[0]] * 3, rel=1e-6)


def test_documents_by_themselves_are_given_their_lengths(checkpoint):
    result = score(checkpoint, per_document=True, limit=40, with_windows=True, **NOT_TOLD)
    assert "|order:per-document|given:lengths|" in str(result.signature)
    table = result.windows
    assert (table["first_document"] == table["last_document"]).all()
    lengths = table.groupby("first_document")["num_tokens"].sum().tolist()
    # Elias delta, digit by digit: the number's own digits but the first, behind the gamma code of how many there are.
    bits = sum(len(f"{n:b}") - 1 + 2 * len(f"{len(f'{n:b}'):b}") - 1 for n in lengths)
    (said,) = [remark.message for remark in result.remarks if remark.code == "given.lengths"]
    assert said == (
        f"a bound given the lengths of {len(lengths)} documents, which nobody pays for; to send them too "
        f"(Elias delta code) adds {bits / result.length.num_bytes:.4f} bits per byte"
    )
    whole = score(checkpoint, per_document=True, limit=40, unpaid_prefix=1, block_size=8, **NOT_TOLD)
    assert "|order:per-document|block:8|prefix:1|given:lengths|" in str(whole.signature)


@pytest.mark.parametrize("rest", [0, 1, 2, 3])
def test_written_bytes_of_a_prefix_are_not_counted(repository, checkpoint, tmp_path, rest):
    """Also where a last window would be nothing but its prefix, and is left out."""
    docs = tmp_path / "a.txt"
    docs.write_text((CONTEXT * "the cat sat on the mat ")[: 23 * 12])
    tokenizer = load_tokenizer(repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model")
    settings = {"docs": docs, "byte_rule": "raw", "method": "mc", "num_samples": 1}
    while (corpus := load_documents([docs], tokenizer.set_off_by(1))).num_tokens % CONTEXT != rest:
        docs.write_text(docs.read_text() + "q")
    result = score(checkpoint, unpaid_prefix=2, **settings)
    spelled = ByteCounter(tokenizer.set_off_by(1)).span(corpus, 0, corpus.num_tokens, "exact")
    given = spelled[np.arange(corpus.num_tokens) % CONTEXT < 2].sum()
    assert result.length.num_bytes == corpus.num_raw_bytes - given


def test_draws_of_another_layout_are_refused(checkpoint, tmp_path):
    kept = tmp_path / "kept.draws"
    score(checkpoint, resume=kept, stride=8, limit=4, **NOT_TOLD)
    for other in ({"stride": 16}, {"block_size": 8}, {"unpaid_prefix": 1}, {}):
        with pytest.raises(UsageError, match="belong"):
            score(checkpoint, resume=kept, limit=4, **other, **NOT_TOLD)
    again = score(checkpoint, resume=kept, stride=8, limit=4, **NOT_TOLD)
    assert again.num_forward_tokens == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--stride", "40"), "--stride: got 40, expected 1 .. 32, the context length"),
        (("--block-size", "5"), "--block-size: got 5, expected a divisor of 32, the tokens of a window"),
        (("--unpaid-prefix", "32"), "--unpaid-prefix: got 32, expected 0 .. 31"),
        (("--method", "exact", "--stride", "13"), "--method exact: got "),
    ],
)
def test_what_does_not_fit_is_one_line(checkpoint, words, said):
    done = run_here(eval_main, str(checkpoint), "--context", "32", "--device", "cpu", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"bpb-eval: {said}")
    assert done.stderr.count("\n") == 1


def test_exact_takes_short_targets_behind_any_context(checkpoint):
    exact = score(checkpoint, method="exact", block_size=8, limit=2)
    sampled = score(checkpoint, method="mc", num_samples=64, block_size=8, limit=2)
    assert exact.relation == "<="
    assert abs(sampled.length.bits_per_byte - exact.length.bits_per_byte) < 4.5 * sampled.mc_stderr
