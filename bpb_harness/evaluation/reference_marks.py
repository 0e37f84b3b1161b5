"""What the scored tokens cost those who have learnt nothing beforehand: the marks that a score is read against.

Each mark is the length of a code that a receiver can decode: nothing of it is fitted on the text without being paid
for. With n tokens, of an alphabet of V, in the order in which they stand in the text:

uniform
    n log2 V: every token at the same price.
unigram
    the sequential code of Krichevsky and Trofimov (1981): the next token is a with probability (n_a + 1/2) / (n + V/2),
    after n tokens of which n_a were a.
bigram
    method D of Howard (1993) at order one, without exclusion: after a token b that was followed n_b > 0 times by t_b
    different ones, the next is an a that has followed it c > 0 times with probability (c - 1/2) / n_b; else an escape
    is sent, with probability t_b / (2 n_b), and a by the unigram code of all that was sent so. A b that nothing has
    followed yet escapes for sure. An a seen behind b could be sent either way: the code wastes the second, and is never
    too short.
xz
    what ``xz`` makes of the bytes of the same text at its usual level, 6.

The probabilities of the first two multiply, whatever the order of the tokens, to a function of how often each token,
and each pair of neighbours, occurs in all: factorials of half numbers. So they are counted, not coded.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from bpb_harness.byte_count import Tokenizer
from bpb_harness.denoiser import Denoiser, num_clean_tokens
from bpb_harness.evaluation.beside import Beside
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.layout import Layout
from bpb_harness.result import ReferenceMarks
from bpb_harness.sampling.bigram import in_threads
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import Spans, runs_of
from bpb_harness.torchrun import is_first_process
from bpb_harness.units import nats_to_bits

Ints = npt.NDArray[np.int64]

LARGEST_XZ_BYTES = 4 * 2**20  # some 2 s of one core
_XZ_DICTIONARY = 8 * 2**20  # of level 6
_LARGEST_TABLE, _TABLES_AT_ONCE = 1 << 22, 4  # pairs that are counted in place; more are sorted


def reference_marks(
    corpus: Corpus, spans: Spans, tokenizer: Tokenizer | None, *, vocab_size: int, num_clean: int, num_units: int
) -> ReferenceMarks:
    """The marks of exactly the tokens that are paid for.

    Args:
        corpus: the token stream.
        spans: what of it is scored, in the order of their targets, at least one token.
        tokenizer: spells the text, for xz; None where tokens do not give the text back.
        vocab_size: above every token.
        num_clean: V, how many ids a token may have.
        num_units: what rates are over: bytes, or tokens where none are counted.
    """
    unigram, bigram = adaptive_bits(corpus, spans, vocab_size, num_clean)
    is_short = num_units <= LARGEST_XZ_BYTES
    packed = xz_bits(corpus, spans, tokenizer) if is_short and tokenizer is not None else None
    return ReferenceMarks(
        uniform=spans.num_tokens * math.log2(num_clean) / num_units,
        unigram=unigram / num_units,
        bigram=bigram / num_units,
        xz=None if packed is None else packed / num_units,
        num_clean_tokens=num_clean,
    )


def adaptive_bits(corpus: Corpus, spans: Spans, vocab_size: int, num_clean: int) -> tuple[float, float]:
    """Bits of all targets by the unigram and by the bigram code.

    The token before a target is one that is given or was paid for: of the span's own context, or the target before it.
    Where it is neither, a mark that is no token stands for it.

    Args:
        corpus: the token stream.
        spans: what of it is scored, in the order of their targets.
        vocab_size: above every token.
        num_clean: V.
    """
    pairs, counts = _count_pairs(corpus, spans, vocab_size)
    before, after = np.divmod(pairs, vocab_size)
    followed = np.bincount(before, weights=counts).astype(np.int64)  # by how many tokens; by how many kinds of them
    kinds = np.bincount(before)
    nats = (
        _log_factorials(followed, 0.0)
        - _log_factorials(counts, 0.5)
        - _log_factorials(kinds, 0.0)
        + math.log(2.0) * float(np.maximum(kinds - 1, 0).sum())
    )
    tokens = np.bincount(after, weights=counts).astype(np.int64)
    return _adaptive(tokens, num_clean), nats_to_bits(nats) + _adaptive(np.bincount(after), num_clean)


def xz_bits(corpus: Corpus, spans: Spans, tokenizer: Tokenizer) -> int:
    """Bits of what xz makes of the text of the targets."""
    gaps = np.flatnonzero(spans.starts[1:] != spans.ends[:-1])
    starts, ends = spans.starts[np.append(0, gaps + 1)], spans.ends[np.append(gaps, len(spans) - 1)]
    runs = zip(starts.tolist(), ends.tolist(), strict=True)
    text = b"".join(tokenizer.decode(corpus.read(start, end)) for start, end in runs)
    # The dictionary of a small text is as small, which changes no byte, but for the one that states its size: one of
    # the 8 MiB that is usual takes longer to set up than a small text to compress.
    size = min(_XZ_DICTIONARY, max(len(text), 4096))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": lzma.PRESET_DEFAULT, "dict_size": size}]
    return 8 * len(lzma.compress(text, filters=filters))


def _adaptive(counts: Ints, num_clean: int) -> float:
    """Bits of a sequence with these counts of its tokens, by the unigram code."""
    total, half = int(counts.sum()), num_clean / 2
    return nats_to_bits(math.lgamma(total + half) - math.lgamma(half) - _log_factorials(counts + 1, 0.5))


def _log_factorials(counts: Ints, less: float) -> float:
    """The sum over counts c of ln((1 - less) (2 - less) ... (c - 1 - less)); 0 for c = 0 and 1."""
    values, times = np.unique(counts[counts > 1], return_counts=True)
    first = math.lgamma(1.0 - less)
    return math.fsum(
        many * (math.lgamma(count - less) - first) for count, many in zip(values.tolist(), times.tolist(), strict=True)
    )


def _count_pairs(corpus: Corpus, spans: Spans, vocab_size: int) -> tuple[Ints, Ints]:
    """Which pairs of a token and a target behind it there are, and how often each: two of (pairs,) int64.

    A pair is before * V + after; a V before stands for no token.
    """
    follows = np.append(False, spans.starts[1:] == spans.ends[:-1]) | (spans.starts > spans.context_starts)
    num_pairs = (vocab_size + 1) * vocab_size
    pairs_of = partial(_pairs, corpus, spans, follows, vocab_size)
    if num_pairs <= _LARGEST_TABLE:
        table, runs = np.zeros(num_pairs, np.int64), runs_of(spans)
        for some in range(0, len(runs), _TABLES_AT_ONCE):
            for counted in in_threads(
                lambda run: np.bincount(pairs_of(run), minlength=num_pairs), runs[some : some + _TABLES_AT_ONCE]
            ):
                table += counted
        return np.flatnonzero(table), table[table > 0]
    kind = np.uint32 if num_pairs <= 1 << 32 else np.int64  # the smaller are sorted in half the time
    parts = in_threads(lambda run: np.unique(pairs_of(run).astype(kind), return_counts=True), runs_of(spans))
    pairs, places = np.unique(np.concatenate([each for each, _ in parts]), return_inverse=True)
    counts = np.bincount(places, weights=np.concatenate([each for _, each in parts]))
    return pairs.astype(np.int64), counts.astype(np.int64)


def _pairs(corpus: Corpus, spans: Spans, follows: npt.NDArray[np.bool_], vocab_size: int, run: slice) -> Ints:
    """The pair of each target of a run of spans, (targets,) int64.

    Args:
        corpus: the token stream.
        spans: all of them.
        follows: whether there is a token before each.
        vocab_size: V.
        run: which spans.
    """
    spans, follows = spans.take(run), follows[run]
    begin, end = int(spans.starts[0]), int(spans.ends[-1])
    lead = min(begin, 1)  # the token before the first target, if there is one
    tokens = corpus.read(begin - lead, end)
    before = np.append(np.full(1 - lead, vocab_size), tokens)[:-1]
    before[spans.starts[~follows] - begin] = vocab_size
    pairs = before * vocab_size + tokens[lead:]
    if spans.num_tokens == end - begin:
        return pairs
    covered = np.zeros(end - begin + 1, np.int8)
    covered[spans.starts - begin] += 1
    covered[spans.ends - begin] -= 1
    return pairs[np.cumsum(covered[:-1], dtype=np.int8) > 0]


def marks_beside(job: Job, layout: Layout) -> Callable[[], ReferenceMarks]:
    """What gives the marks: found by a thread while a GPU compiles and scores; on a CPU, which is busy, afterwards."""
    model, text = job.model, job.text
    work = partial(
        reference_marks, text.corpus, layout.spans, None if job.settings.byte_rule == "none" else text.tokenizer,
        vocab_size=max(model.vocab_size, text.tokenizer.vocab_size),
        num_clean=num_clean_tokens(model) if isinstance(model, Denoiser) else model.vocab_size,
        num_units=layout.total_units,
    )  # fmt: skip
    marks = Beside(work, "marks")
    if job.device.type == "cuda" and is_first_process():
        marks.start()
    return marks.result
