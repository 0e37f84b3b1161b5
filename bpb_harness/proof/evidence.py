"""What a proof shows of a claim: a file of bits is decoded and, where the text is there, held against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt

from bpb_harness.auditing import Proved
from bpb_harness.byte_count import Rule, Tokenizer
from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.evaluation.inputs import EvaluationText
from bpb_harness.evaluation.layout import lay_spans
from bpb_harness.evaluation.settings import Settings
from bpb_harness.formats.scored_again import is_of_answers
from bpb_harness.proof.header import Header
from bpb_harness.proof.reading import MAX_SECONDS, Opened, open_proof, read_file
from bpb_harness.proof.score_line import ScoreLine
from bpb_harness.proof.settings_of_score import settings_of
from bpb_harness.proof.spelling import tokenizer_of
from bpb_harness.text.corpus import load_shards
from bpb_harness.text.separators import find_separators, own_folder
from bpb_harness.text.shards import ShardFormat
from bpb_harness.text.spans import Spans, span_bytes

AnyPath = str | PathLike[str]
Ints = npt.NDArray[np.int64]


def examine(
    proof: AnyPath, checkpoint: AnyPath | None, tokenizer: AnyPath | None, data: Sequence[AnyPath] = (), *,
    shard_format: str = "auto", seconds: float = MAX_SECONDS, progress: Callable[[int, int], None] | None = None,
) -> Proved:  # fmt: skip
    """Decode a file of bits, and say what follows for the score that it is a part of.

    Args:
        proof: the file.
        checkpoint: of the network.
        tokenizer: that of the score; None: the one that the checkpoint carries.
        data: token shards, to compare what comes back with the text; none: it is not compared.
        shard_format: how they are laid out.
        seconds: how long decoding may take.
        progress: called with (tokens decoded, tokens in all).

    Raises:
        HarnessError: a file that is none, another checkpoint, tokenizer or text than it is of, a network of code.
    """
    if checkpoint is None:
        raise UsageError(
            "--proof without --checkpoint", seen="bits alone", expected="the network of the score",
            hint="give --checkpoint too",
        )  # fmt: skip
    file = Path(proof)
    header, given, _ = read_file(file)
    if header.runs_code:
        raise UsageError(
            f"{file.name} was written by a network that is code", expected="a network of the harness",
            hint="decode it with bpb-prove --decode FILE CHECKPOINT --tokenizer MODEL --model FILE.py:LOADER "
            "--allow-code",
        )  # fmt: skip
    path = None if tokenizer is None else Path(tokenizer)
    spelling, line = tokenizer_of(header, Path(checkpoint), path), ScoreLine.read(header.score)
    targets, num_bytes = None, None
    if data:
        text = _text(header, line, spelling, own_folder(path or Path(checkpoint)), data, shard_format)
        spans = _spans(text, line)
        targets = _targets(header, line, text, spans, given)
        num_bytes = _bytes(line, text, spans)
    opened = open_proof(
        file, Path(checkpoint), model=None, allow_code=False, seconds=seconds, progress=progress, tokenizer=spelling
    )
    shown = _shown(opened, line)
    if not data:
        return shown
    came = opened.is_same and targets is not None and np.array_equal(np.concatenate(opened.decoded.spans), targets)
    return replace(shown, is_the_text=came, bytes_of_text=num_bytes)


def _text(
    header: Header, line: ScoreLine, tokenizer: Tokenizer, folders: Sequence[Path], data: Sequence[AnyPath],
    shard_format: str,
) -> EvaluationText:  # fmt: skip
    """The shards, if they are the text of the score."""
    if is_of_answers(line.signature):
        raise UsageError(
            "--data with a proof of answers", seen="token shards", expected="no text",
            hint="leave out --data: the answers that come back are written by bpb-prove --decode --text",
        )  # fmt: skip
    form = cast("ShardFormat", shard_format)
    corpus = load_shards([Path(each) for each in data], vocab_size=tokenizer.vocab_size, shard_format=form)
    if corpus.digest != header.data:
        raise UsageError(
            "--data is another text than that of the proof", seen=corpus.digest[:8],
            expected=f"{header.data[:8]}, {line.data_name}", hint="pass the shards that the score names",
        )  # fmt: skip
    separators = None
    for chosen in (None, line.signature.separator):
        separators = find_separators(tokenizer, folders, chosen=chosen)
        if separators.in_signature() == line.signature.separator:
            break
    assert separators is not None
    return EvaluationText(corpus, separators.apply(tokenizer), "--data", separators=separators)


def _spans(text: EvaluationText, line: ScoreLine) -> Spans | None:
    """Those of the score, by its own settings; None where there are none such."""
    settings = Settings(**settings_of(line.signature))
    context = settings.context_length
    assert context is not None
    try:
        documents = None
        if settings.per_document:
            borders = text.require_borders()
            documents = borders.first_given() if settings.method == "ar" else borders.starts
        spans = lay_spans(settings, text.corpus.num_tokens, context, documents)
    except (CorpusError, UsageError):
        return None
    if line.part is None:
        return spans
    return spans.take(slice(line.part[0])) if line.part[1] == len(spans) else None


def _targets(header: Header, line: ScoreLine, text: EvaluationText, spans: Spans | None, given: Ints) -> Ints | None:
    """What is to come back; None where the file's windows are not the score's."""
    if spans is None or len(spans) != header.num_spans or spans.num_tokens != line.num_tokens:
        return None
    chosen = spans.take(np.array(header.windows))
    if chosen.lengths.tolist() != header.lengths or chosen.context_lengths.tolist() != header.contexts:
        return None
    before = [text.corpus.read(int(a), int(b)) for a, b in zip(chosen.context_starts, chosen.starts, strict=True)]
    if not np.array_equal(np.concatenate(before), given):
        return None
    return np.concatenate([
        text.corpus.read(int(a), int(b)) for a, b in zip(chosen.starts, chosen.ends, strict=True)
    ])  # fmt: skip


def _bytes(line: ScoreLine, text: EvaluationText, spans: Spans | None) -> int | None:
    rule = line.signature.byte_rule
    if spans is None or rule not in get_args(Rule) or text.tokenizer.uncountable:
        return None
    return int(span_bytes(text.corpus, spans, text.counter, cast("Rule", rule)).sum())


def _shown(opened: Opened, line: ScoreLine) -> Proved:
    header, signature, cashed = opened.header, line.signature, opened.cashed
    lost: str | None = None
    if cashed is None:
        lost = opened.decoded.lost or "the tokens are others, by the digest in the file"
    costs: dict[str, Any] = {"rate": 0.0, "claimed": line.rate, "stderr": float("inf"), "unit": line.unit}
    costs |= {"exceeds": False, "falls_below": False}
    if cashed is not None:
        costs = {name: getattr(cashed, name) for name in ("rate", "claimed", "stderr", "unit")}
        costs |= {"exceeds": cashed.exceeds_score(), "falls_below": cashed.falls_below()}
    return Proved(
        score=line.text,
        relation=line.relation,
        bits_per_byte=line.rate if line.num_bytes is not None else None,
        mc_stderr=line.mc_stderr,
        is_trusted=line.is_trusted,
        is_checked=signature.contract in {None, "checked"},
        method=signature.method,
        num_steps=line.stated("num_steps"),
        context_length=line.stated("context_length"),
        data_name=line.data_name,
        part=line.part,
        num_tokens=line.num_tokens,
        num_bytes=line.num_bytes,
        num_proved=len(header.windows),
        num_spans=header.num_spans,
        num_bits=opened.num_bits,
        lost=lost,
        differences=tuple(opened.differences),
        is_the_text=None,
        bytes_of_text=None,
        held=f"in a process of its own, {opened.decoded.in_words}",
        **costs,
    )
