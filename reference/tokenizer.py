"""The tokenizer of a training run: read, checked, and asked whether it wrote the shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sentencepiece

from bpb_harness.byte_count import encode_again, load_tokenizer
from bpb_harness.corpus import find_shards, load_shards
from bpb_harness.errors import TokenizerError

_NUM_EXCERPTS = 64


def read_tokenizer(path: Path) -> bytes:
    """The serialized SentencePiece model at ``path``, checked."""
    try:
        model = path.read_bytes()
        sentencepiece.SentencePieceProcessor(model_proto=model)
    except (OSError, RuntimeError) as error:
        raise TokenizerError(f"cannot read tokenizer {path}", seen=type(error).__name__) from None
    return model


def require_writer(paths: Sequence[Path], model: bytes) -> None:
    """Refuse a tokenizer that did not write the first of some shards: the network would be told wrong bytes.

    Raises:
        TokenizerError: if what their tokens spell is written with other tokens.
        CorpusError: if the shard cannot be read.
    """
    tokenizer = load_tokenizer(model, name="the training tokenizer")
    corpus = load_shards([find_shards(paths)[0]], vocab_size=tokenizer.vocab_size)
    starts = corpus.document_starts(tokenizer.bos_id)
    encode_again(corpus, starts, tokenizer, num_excerpts=_NUM_EXCERPTS).require_hope(
        hint="pass the --tokenizer that wrote the shards; --no-check-tokenizer trains all the same"
    )
