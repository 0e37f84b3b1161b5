"""What a reader of a score should know about its bytes; bpb-bytes says it at length."""

from __future__ import annotations

from bpb_harness.byte_count import ByteCounter, encode_again
from bpb_harness.evaluate.job import Job

_NUM_EXCERPTS = 64


def byte_remarks(job: Job, *, from_shards: bool) -> list[tuple[str, str]]:
    """Whether the tokenizer belongs to the shards, and whether the official rule counts what the pieces spell.

    Args:
        job: the evaluation.
        from_shards: the tokens were read, not encoded here with this very tokenizer.

    Returns:
        (code, message) of each remark.
    """
    corpus, tokenizer = job.text.corpus, job.text.tokenizer
    remarks = []
    if from_shards:
        starts = corpus.document_starts(tokenizer.bos_id)
        belonging = encode_again(corpus, starts, tokenizer, num_excerpts=_NUM_EXCERPTS)
        if belonging.belongs is False:
            share = f"{belonging.num_identical} of {belonging.num_excerpts}"
            remarks.append(
                (
                    "bytes.foreign-tokenizer",
                    f"WARNING: the tokenizer does not belong to these shards: {share} excerpts come back when what "
                    "they spell is encoded again; the number of bytes, and with it the score, is wrong",
                )
            )
    counter = ByteCounter(tokenizer)
    official, exact = counter.total(corpus, "official"), counter.total(corpus, "exact")
    if official != exact:
        remarks.append(
            (
                "bytes.official-not-exact",
                f"the official rule counts {official:,} bytes where the pieces of the whole text spell {exact:,}; "
                "--bytes exact divides by those, bpb-bytes explains the difference",
            )
        )
    return remarks
