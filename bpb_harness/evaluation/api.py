"""Corpus x denoiser x estimator -> result: ``bpb_harness.evaluate("checkpoint.pt", method="discrete")``."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from bpb_harness.adapters import load_model
from bpb_harness.distributed import is_first_process
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.inputs import find_text, num_foreign_pieces
from bpb_harness.evaluation.job import Job, ModelIdentity, Progress
from bpb_harness.evaluation.remarks import (
    byte_remarks,
    loss_remarks,
    padding_remarks,
    score_remarks,
    separator_remarks,
    tokenizer_remarks,
)
from bpb_harness.evaluation.score import score, with_remarks
from bpb_harness.evaluation.settings import Settings
from bpb_harness.result import BpbResult, Remark
from bpb_harness.schedule import parse_schedule
from bpb_harness.second_look import ModelSource, start_ahead
from bpb_harness.text.corpus import iterate_documents
from bpb_harness.text.shards import DEFAULT_FORM

AnyPath = str | PathLike[str]


def evaluate(
    checkpoint: AnyPath,
    *,
    data: AnyPath | Sequence[AnyPath] = (),
    docs: AnyPath | Sequence[AnyPath] = (),
    tokenizer: AnyPath | None = None,
    text_field: str | None = None,
    shard_format: str = "auto",
    separator: str | int | None = None,
    schedule: str | None = None,
    adapter: str | None = None,
    model: str | None = None,
    allow_code: bool = False,
    weights: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> BpbResult:
    """Score a checkpoint in bits per byte.

    Args:
        checkpoint: file or folder of the network.
        data: token shards to score; none: see :func:`bpb_harness.evaluation.api.find_text`.
        docs: documents instead of shards: JSON lines, plain text, Parquet, Arrow; docs/texts.md lists what is read.
        tokenizer: the tokenizer's file; none: the one inside the checkpoint.
        text_field: the key or column of the documents' text; none: ``text``.
        shard_format: how the shards are laid out: ``auto`` (what their first bytes prove), ``v1``, ``v1-uint32``,
            ``v7``, ``npy``, ``uint16`` or ``uint32``.
        separator: the token between documents, where it is not the one that the tokenizer's files name: ``bos``,
            ``eos``, ``none``, an id or a piece.
        schedule: noise schedule, where the checkpoint carries none, for example ``loglinear[0.001]``.
        adapter: how to read a checkpoint that is not in the native format.
        model: ``FILE.py:LOADER``, your own code that loads the network; needs ``allow_code``.
        allow_code: run code that comes with the checkpoint.
        weights: key of the set of weights to score, where the file holds several, such as ``model`` or ``ema``.
        progress: called with (tokens done, tokens in all).
        **settings: fields of :class:`Settings`: method, num_steps, num_samples, compare, seed, ...

    Returns:
        The score with its errors and its signature.

    Raises:
        HarnessError: for anything that cannot be scored; its text is one line.
    """
    chosen = Settings(**settings)
    source = ModelSource(
        {
            "path": str(checkpoint),
            "adapter": adapter,
            "model_loader": model,
            "allow_code": allow_code,
            "weights": weights,
        },
        chosen.torch_device(),
        chosen.dtype,
    )
    loaded, adapted = load_model(**source.load, device=source.device, dtype=chosen.torch_dtype())
    if adapted.context_is_open and chosen.context_length is None:
        raise UsageError(
            f"{loaded.path.name} states no context length", hint="pass --context L, the tokens of a window"
        )
    text = find_text(
        loaded,
        data=_paths(data),
        docs=_paths(docs),
        tokenizer=None if tokenizer is None else Path(tokenizer),
        text_field=text_field,
        shard_format=shard_format,
        separator=None if separator is None else str(separator),
        needs_bytes=chosen.byte_rule != "none",
    )
    if chosen.check_contract and is_first_process():  # what can be refused before, is
        start_ahead()
    job = Job(
        adapted.model,
        text,
        chosen,
        schedule=adapted.schedule if schedule is None else parse_schedule(schedule),
        identity=ModelIdentity(loaded.digest, adapted.adapter),
        progress=progress,
        tokenizer_is_own=text.tokenizer.model_bytes == loaded.tokenizer,
        source=source,
    )
    form = "" if text.corpus.form == DEFAULT_FORM else f" ({text.corpus.form})"
    remarks = [Remark("data", f"scored {text.corpus.name}{form}, found through {text.origin}")]
    remarks += separator_remarks(job, from_shards=not docs)
    remarks += [Remark("adapter", note) for note in adapted.notes]
    remarks += [Remark("tokenizer", note) for note in text.tokenizer.notes]
    if adapted.context_is_guess and chosen.context_length is None:
        guess = f"windows of {job.context_length} tokens are the longest the network takes, not known to be what it was"
        remarks.append(Remark("context", f"{guess} trained on; pass --context to score others"))
    job.require_scorable()
    remarks += tokenizer_remarks(job, num_foreign_pieces(loaded, text))
    remarks += padding_remarks(job, from_shards=not docs)
    documents = iterate_documents(_paths(docs), text_field=text_field) if docs else None
    remarks += loss_remarks(job, documents)
    remarks += byte_remarks(job, from_shards=not docs)
    result = score(job)
    return with_remarks(result, *remarks, *score_remarks(job, result))


def _paths(given: AnyPath | Sequence[AnyPath]) -> list[Path]:
    many = [given] if isinstance(given, str | PathLike) else given
    return [Path(path) for path in many]
