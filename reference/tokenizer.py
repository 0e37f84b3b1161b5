"""Whether the tokenizer of a run wrote its shards: otherwise the network would be told wrong bytes."""

from __future__ import annotations

from bpb_harness.byte_count import Tokenizer, encode_again
from bpb_harness.text.corpus import Corpus

_NUM_EXCERPTS = 64


def require_writer(corpus: Corpus, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that did not write a text.

    Raises:
        TokenizerError: if what its tokens spell is written with other tokens.
    """
    starts = corpus.document_starts(tokenizer.bos_id)
    encode_again(corpus, starts, tokenizer, num_excerpts=_NUM_EXCERPTS).require_hope(
        hint="pass the --tokenizer that wrote the shards; --no-check-tokenizer trains all the same"
    )
