"""What a reader of a score should know about its bytes, and what the score itself gives away."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
from torch import nn

from bpb_harness.byte_count import (
    PieceKind,
    encode_again,
    lost_by_tokenizer,
    lost_in_documents,
    lost_in_tokens,
)
from bpb_harness.byte_count.tokenizer import SPACE_SYMBOL
from bpb_harness.byte_count.validity import LONGEST_RUN, silent_runs
from bpb_harness.denoiser import Denoiser, num_clean_tokens
from bpb_harness.errors import CorpusError, TokenizerError
from bpb_harness.evaluation.document_table import MIN_PASSES
from bpb_harness.evaluation.job import Job
from bpb_harness.network_modules import modules_of
from bpb_harness.result import (
    BELOW_SOURCE,
    EXACT,
    OFFICIAL_NOT_EXACT,
    WORSE_THAN_UNIFORM,
    WORSE_THAN_UNIGRAM,
    BpbResult,
    Remark,
)
from bpb_harness.sampling.design import MIN_WINDOWS_REPLICATED
from bpb_harness.statistics.standard_errors import FEW_DRAWS
from bpb_harness.text.spans import span_documents
from bpb_harness.units import counted

_NO_ERROR_OF_DOCUMENTS = (
    f"errors of single documents and slices take {MIN_PASSES} passes or more, {{}}: the draws of one pass share their "
    "mask rates, and show the error of the total alone"
)
_MORE_PASSES = "which --tolerance makes (a smaller one makes more)"
_NUM_EXCERPTS = 64
_DIVIDES = {
    "official": "--bytes exact divides by those",
    "exact": "this score divides by those",
    "raw": "this score divides by neither, but by the bytes that the documents have",
}
_LITERAL_COUNTS = {
    "official": "counts 1 byte instead of 3",
    "exact": "counts 1 byte instead of 3",
    "raw": "counts its 3 bytes, of which no token tells",
    "none": "is paid for as a space",
}
# As a share of a score: a record of the contest whose rule it is must win by 0.005 nats a token, which at 2.436 bytes
# a token are 0.00296 of its 1.2 bits a byte. Both rules count the same bytes for that contest's own tokenizers.
_SHARE_OF_A_RECORD = 0.0025
_UNIFORM_TOLERANCE = 1.01  # an untrained network lies a little above
_STDERRS = 4.0
_LEAST_EXCESS_BITS = 20.0  # of a single token that a network did not expect nothing follows


def score_remarks(job: Job, result: BpbResult) -> list[Remark]:
    """What the score itself gives away."""
    clean = num_clean_tokens(job.model) if isinstance(job.model, Denoiser) else job.model.vocab_size
    uniform = math.log2(clean)
    remarks: list[Remark] = []
    if _exceeds(result, uniform * _UNIFORM_TOLERANCE, result.length.num_tokens):
        remarks.append(
            Remark(
                WORSE_THAN_UNIFORM,
                f"WARNING: {result.bits_per_token:.2f} bits per token are more than guessing blindly costs "
                f"({uniform:.2f}): {_why_so_dear(job)}",
            )
        )
    elif (marks := result.reference_marks) is not None and _exceeds(result, marks.unigram, result.length.num_units):
        score = result.length.bits / result.length.num_units
        remarks.append(
            Remark(
                WORSE_THAN_UNIGRAM,
                f"WARNING: {score:.4f} bits per {result.unit} are more than counting tokens costs (unigram "
                f"{marks.unigram:.4f}): {_why_so_dear(job)}",
            )
        )
    if (other := _row_for_a_mask(job)) is not None:
        remarks.append(other)
    if result.is_below_source:
        remarks.append(Remark(BELOW_SOURCE, f"WARNING: {result.below_source()}"))
    return remarks


def _exceeds(result: BpbResult, mark: float, num_units: int) -> bool:
    """Whether a score lies above a mark by more than the sampling of its masks, or a surprising word or two, explains.

    Args:
        result: the score.
        mark: bits per unit.
        num_units: of the text: what the mark is a rate of.
    """
    excess = result.length.bits - mark * num_units
    return excess > _LEAST_EXCESS_BITS + _STDERRS * (result.mc_stderr or 0.0) * result.length.num_units


def _why_so_dear(job: Job) -> str:
    """What makes a trained network worse than a code that knows nothing."""
    at = "token i" if isinstance(job.model, Denoiser) else "token i + 1"
    why = (
        "the tokenizer, the adapter, the mask id or the schedule is probably not this network's, its logits are "
        f"shifted (those at i must be of {at}), its attention is causal where it was trained otherwise, or not causal "
        "where it was"
    )
    match job.settings.adaptation:
        case None:
            return f"{why}, or it is not trained"
        case learnt:
            rate = "--ttt-lr is probably too large" if learnt.method == "sgd" else "its adapt(tokens) is not sound"
            return f"{rate}, so that learning diverged, or {why}"


def _row_for_a_mask(job: Job) -> Remark | None:
    """A row of the embedding right behind the last piece, where the mask is said to be a piece."""
    pieces = job.text.tokenizer.pieces
    if not isinstance(job.model, Denoiser) or not 0 <= (mask := job.model.mask_token_id) < len(pieces):
        return None
    rows = {
        part.num_embeddings
        for _, network in modules_of(job.model)
        for part in network.modules()
        if isinstance(part, nn.Embedding)
    }
    if len(pieces) + 1 not in rows:
        return None
    return Remark(
        "mask.row-behind-pieces",
        f"the mask is id {mask}, the piece {pieces[mask]!r}, and the network has a row behind the {len(pieces):,} "
        f"pieces, id {len(pieces)}, as for a mask: if it was trained with that one, mask_token_id is {len(pieces)}",
    )


def sampling_remarks(job: Job, num_windows: int, num_replicates: int, num_passes: int) -> list[Remark]:
    """What so few draws mean for the error, and second ones for the number of forward tokens."""
    if not job.bounds or job.answers is not None:
        return []
    num_samples = job.bounds[0].num_samples
    if num_samples == 1 and num_replicates:
        twice = f"{num_replicates:,} of {num_windows:,} windows were drawn twice, for the error alone"
        return [Remark("replicates", twice)]
    if num_passes > 1:
        return []
    if num_samples == "all":
        num_samples = len(job.bounds[0].nodes()[0])
    if num_samples == 1 and num_windows < MIN_WINDOWS_REPLICATED:
        drawn, more = f"one draw of each of {counted(num_windows, 'window')} tells", 2
    elif num_samples * num_windows < FEW_DRAWS:
        drawn, more = f"{num_samples * num_windows} draws in all tell", -(-FEW_DRAWS // num_windows)
    else:
        return []
    little = "little of the error, which is stated too large where a network's costs are typical, and too small where"
    missed = f"masks that were not drawn cost far more; pass --samples {more} or more"
    return [Remark("few-draws", f"{drawn} {little} {missed}")]


def layout_remarks(job: Job, result: BpbResult) -> list[Remark]:
    """What is given and not paid for, where that is more than the tokens before each span."""
    remarks = [Remark("given.prefix", _said_of_prefixes(job))] if job.settings.unpaid_prefix else []
    if job.settings.wants_documents and job.bounds and job.answers is None and _few_passes(result):
        how = _MORE_PASSES if job.settings.ttt is None else "and --ttt makes one"
        remarks.append(Remark("documents.no-error", _NO_ERROR_OF_DOCUMENTS.format(how)))
    if job.is_given_lengths:
        remarks.append(Remark("given.lengths", _said_of_lengths(job, result)))
    return remarks


def _few_passes(result: BpbResult) -> bool:
    return int(result.signature.passes or 1) < MIN_PASSES


def _said_of_prefixes(job: Job) -> str:
    """How many tokens are visible for nothing, and how many are not scored because a window has no others."""
    spans, settings = job.spans, job.settings
    begins, first = np.unique(spans.context_starts, return_index=True)
    given = int((spans.starts[first] - begins).sum())
    said = f"{given:,} tokens, the first of {len(begins):,} windows, are visible, not paid for and not counted"
    stop = job.text.corpus.num_tokens if settings.limit is None and settings.tail == "score" else int(spans.ends[-1])
    left_out = stop - spans.num_tokens - given if settings.tail == "score" else 0
    if not left_out:
        return said
    return f"{said}; {left_out:,} tokens of windows that are no longer than {settings.unpaid_prefix} are left out"


def _said_of_lengths(job: Job, result: BpbResult) -> str:
    """What it would take to send the lengths of the documents that are scored."""
    spans, starts = job.spans, job.text.borders.starts
    scored = np.unique(span_documents(starts, spans)[:, 0])
    lengths = np.diff(starts, append=job.text.corpus.num_tokens)[scored]
    lengths[-1] = spans.ends[-1] - starts[scored[-1]]  # of the last, as far as it is scored
    rate = sum(map(_elias_delta_bits, lengths.tolist())) / max(result.length.num_units, 1)
    what = "an exact code length" if result.relation == EXACT else "a bound"
    return (
        f"{what} given the lengths of {len(lengths):,} documents, which nobody pays for; to send them too (Elias delta "
        f"code) adds {rate:.4f} bits per {result.unit}"
    )


def _elias_delta_bits(number: int) -> int:
    """Length of the Elias delta code of a whole number from 1 on (Elias 1975), a code of numbers without a limit."""
    digits = number.bit_length()
    return digits + 2 * (digits.bit_length() - 1)


def tokenizer_remarks(job: Job, num_foreign: int) -> list[Remark]:
    """Whether the network's token ids mean what the tokenizer says.

    Args:
        job: the evaluation.
        num_foreign: ids that spell something else by the tokenizer inside the checkpoint.

    Raises:
        TokenizerError: if there are any.
    """
    if not num_foreign:
        return []
    what, seen = "the tokenizer is not the one inside the checkpoint", f"{num_foreign:,} ids that spell something else"
    if job.settings.check_contract:
        raise TokenizerError(
            what, seen=seen, expected="none",
            hint="leave out --tokenizer; --no-contract scores all the same, and the signature says so",
        )  # fmt: skip
    return [Remark("bytes.not-its-tokenizer", f"WARNING: {what}: {seen}")]


def separator_remarks(job: Job) -> list[Remark]:
    """Which token sets documents off, where that matters to the score."""
    separators = job.text.separators
    if separators is None:
        return []
    remarks = []
    if job.settings.docs:
        remarks.append(Remark("text.separator", separators.sentence()))
    elif job.settings.per_document or separators.chosen:
        remarks.append(Remark("text.separator", str(job.text.borders)))
    for name in separators.silenced:
        silent = f"{name} spells no byte, though the tokenizer's own file takes it for text: it sets documents off"
        remarks.append(Remark("text.separator-is-no-text", f"{silent} ({name.where})"))
    return remarks


def padding_remarks(job: Job) -> list[Remark]:
    """Tokens that are paid for and spell nothing, beyond the one between documents.

    Raises:
        CorpusError: shards that are padded.
    """
    corpus, tokenizer = job.text.corpus, job.text.tokenizer
    if job.settings.docs:
        empty = 0 if corpus.raw_bytes_per_document is None else int((corpus.raw_bytes_per_document == 0).sum())
        said = f"{empty:,} of {len(corpus.document_starts()):,} documents are empty: what stands before each is paid"
        return [Remark("text.empty-documents", said)] if empty else []
    found = silent_runs(corpus, tokenizer.piece_kinds == PieceKind.CONTROL, int(job.spans.ends[-1]))
    if not found.longest:
        return []
    piece = f"{tokenizer.pieces[found.token]!r} (id {found.token})"
    run = f"{found.longest:,} times {piece} in a row from token {found.start}"
    if found.is_padding and job.settings.check_contract:
        raise CorpusError(
            f"{corpus.name} is padded: tokens that are paid for and have no byte",
            seen=run,
            expected=f"at most {LONGEST_RUN} in a row",
            hint="write the shards without padding; --no-contract scores all the same, and the signature says so",
        )
    kind = "padding" if found.is_padding else "padding or empty documents"
    said = f"{found.repeated:,} tokens that are paid for and have no byte follow one of their own id ({kind}): {run}"
    return [Remark("text.padding", f"WARNING: {said}" if found.is_padding else said)]


def loss_remarks(job: Job, documents: Iterable[str] | None) -> list[Remark]:
    """Whether the tokens give the text back: a code that loses text has no length per byte of it.

    Args:
        job: the evaluation.
        documents: the texts that were encoded; None: shards were read.

    Returns:
        With `--bytes none`, why there are no bits per byte; and where documents hold what the tokens give back as a
        space.

    Raises:
        TokenizerError: if bits per byte are asked for, and text is lost.
    """
    corpus, tokenizer, stop = job.text.corpus, job.text.tokenizer, int(job.spans.ends[-1])
    literal: list[int] = []
    if documents is not None:
        starts = job.text.borders.starts
        scored = islice(documents, int(np.searchsorted(starts, stop)))  # those that start before it
        seen = _noting_literal_symbols(scored, literal) if tokenizer.spaces.escapes else scored
        why = lost_in_documents(tokenizer, corpus, starts, seen, stop)
    else:
        why = lost_by_tokenizer(tokenizer) or lost_in_tokens(tokenizer, corpus, stop)
    remarks = [] if not literal else [
        Remark(
            "bytes.literal-symbol",
            f"documents that hold a literal U+2581: {len(literal):,}, first document {literal[0]:,} (from 0); the "
            f"tokens cannot tell it from a space: it {_LITERAL_COUNTS[job.settings.byte_rule]} (BPB176 of bpb-bytes)",
        )
    ]  # fmt: skip
    if job.settings.byte_rule == "none":
        none = Remark("bytes.none", f"no bits per byte are given: {why or '--bytes none counts no bytes'}")
        return [none, *remarks]
    if why is not None:
        raise TokenizerError(
            f"{tokenizer.name}: the tokens do not give the text back, so the score has no bits per byte",
            seen=why,
            expected="every letter of it",
            hint="pass --bytes none for bits per token and per document",
        )
    return remarks


def _noting_literal_symbols(documents: Iterable[str], found: list[int]) -> Iterator[str]:
    """The documents as they are; the numbers of those with the symbol that pieces have for a space go to a list."""
    for number, text in enumerate(documents):
        if SPACE_SYMBOL in text:
            found.append(number)
        yield text


def byte_remarks(job: Job) -> list[Remark]:
    """Whether the tokenizer belongs to the shards, and whether the official rule counts what the pieces spell.

    Raises:
        TokenizerError: if another tokenizer wrote the shards, as far as encoding again can tell.
    """
    corpus, tokenizer = job.text.corpus, job.text.tokenizer
    remarks = []
    counts_bytes = job.settings.byte_rule != "none"
    # Documents were encoded here, with this very tokenizer.
    if not job.settings.docs and (counts_bytes or lost_by_tokenizer(tokenizer) is None):
        belonging = encode_again(corpus, job.text.borders.starts, tokenizer, num_excerpts=_NUM_EXCERPTS)
        if job.settings.check_contract:
            belonging.require_hope(
                hint="pass the --tokenizer that wrote the shards; --no-contract scores all the same, and the signature "
                "says so"
            )
        if belonging.belongs is False:
            remarks.append(
                Remark(
                    "bytes.foreign-tokenizer",
                    f"WARNING: the tokenizer may not belong to these shards: only {belonging}; the number of bytes, "
                    "and with it the score, would be wrong",
                )
            )
    if not counts_bytes:
        return remarks
    counter = job.text.counter
    with ThreadPoolExecutor(1) as beside:
        other = beside.submit(counter.total, corpus, "official")
        exact, official = counter.total(corpus, "exact"), other.result()
    if official != exact:
        remarks.append(
            Remark(
                OFFICIAL_NOT_EXACT,
                f"the official rule counts {official:,} bytes where the pieces of the whole text spell {exact:,}; "
                f"{_DIVIDES[job.settings.byte_rule]}, bpb-bytes explains the difference",
            )
        )
    return remarks


def warned_of_bytes(job: Job, result: BpbResult, remarks: Iterable[Remark]) -> list[Remark]:
    """The remarks of a text, of which that on the official rule becomes a warning where it moves the score too far."""
    if job.settings.byte_rule != "official":
        return [*remarks]
    return [
        _of_official_rule(job, result, remark) if remark.code == OFFICIAL_NOT_EXACT else remark for remark in remarks
    ]


def _of_official_rule(job: Job, result: BpbResult, note: Remark) -> Remark:
    """What the official rule does to a score: a warning beyond what a record must win by, the note as it is below."""
    length, exact = result.length, job.num_exact_bytes
    share = exact / length.num_bytes - 1.0  # of the score, too low below 0
    if abs(share) < _SHARE_OF_A_RECORD:
        return note
    return Remark(
        OFFICIAL_NOT_EXACT,
        f"WARNING: by the bytes that its pieces spell this score is {length.bits / exact:.4f}, not "
        f"{length.bits_per_byte:.4f}, which is {abs(share):.1%} too {'low' if share < 0.0 else 'high'}: the official "
        f"rule counts {length.num_bytes:,} bytes where they spell {exact:,}; {_DIVIDES['official']}, bpb-bytes "
        "explains the difference",
    )
