"""From a score to bits: the spans are chosen, coded, and priced under further draws of the shared randomness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness._version import __version__
from bpb_harness.evaluation.job import Job
from bpb_harness.proof.batches import Batches
from bpb_harness.proof.choice import Choice
from bpb_harness.proof.codes import Code, code_of
from bpb_harness.proof.decoding import name_of
from bpb_harness.proof.header import Header, code_of_loader, digest_of
from bpb_harness.proof.range_coder import Encoder
from bpb_harness.proof.symbols import Known
from bpb_harness.result import Signature
from bpb_harness.text.spans import Spans

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FURTHER_DRAWS = 3


def num_codings(code: Code) -> int:
    """How often spans are priced: once for the file, and again where the length varies with the shared randomness."""
    return 1 + (FURTHER_DRAWS if code.is_drawn else 0)


@final
@dataclass(frozen=True)
class Encoded:
    """What goes into a file, and what it cost.

    Attributes:
        header: of the file.
        given: contexts, one after another.
        bits: of the targets.
        targets: the tokens, one span after another.
        spans: where they lie.
        coded_nats: of each span, (N,).
        further_nats: under further draws, (D, N).
    """

    header: Header
    given: Ints
    bits: bytes
    targets: Ints
    spans: Spans
    coded_nats: Floats
    further_nats: Floats


def encode(job: Job, choice: Choice, count: int, advance: Callable[[int], None]) -> Encoded:
    """Code ``count`` spans of a score.

    Args:
        job: what was scored.
        choice: settles which spans, and the shared randomness.
        count: how many.
        advance: called with the targets done, of each draw.

    Raises:
        UsageError: for a method that has no code here.
        NumericsError: if the network gives no numbers.
    """
    windows = choice.spans(len(job.spans), count)
    spans, corpus = job.spans.take(windows), job.text.corpus
    batches = Batches.of(
        windows, spans, batch_tokens=job.settings.tokens_per_batch(job.device), vocab_size=job.model.vocab_size
    )
    given = [corpus.read(int(a), int(b)) for a, b in zip(spans.context_starts, spans.starts, strict=True)]
    targets = [corpus.read(int(a), int(b)) for a, b in zip(spans.starts, spans.ends, strict=True)]

    def priced(draw: int, encoder: Encoder | None) -> Floats:
        ends: list[tuple[Ints, Known]] = []

        def known(places: Ints) -> Known:
            ends.append((places, Known(np.stack([targets[place] for place in places]), encoder)))
            return ends[-1][1]

        code = code_of(job.estimators[0], choice.streams, draw)
        batches.follow(code, job.model, given, known, device=job.device, advance=advance)
        nats = np.zeros(len(windows))
        for places, end in ends:
            nats[places] = end.nats
        return nats

    encoder = Encoder()
    coded = priced(0, encoder)
    further = num_codings(code_of(job.estimators[0], choice.streams)) - 1
    others = [priced(draw, None) for draw in range(1, further + 1)]
    every = np.concatenate(targets)
    return Encoded(
        _header(job, choice, batches, every, coded), np.concatenate(given), encoder.finish(), every, spans, coded,
        np.array(others).reshape(further, len(windows)),
    )  # fmt: skip


def _header(job: Job, choice: Choice, batches: Batches, targets: Ints, coded: Floats) -> Header:
    settings, device = job.settings, job.device
    assert job.source is not None
    load = job.source.load
    estimator = job.estimators[0]
    return Header(
        harness=__version__,
        torch=str(torch.__version__),
        device=device.type,
        device_name=name_of(device),
        dtype=settings.dtype,
        threads=torch.get_num_threads(),
        precision=torch.get_float32_matmul_precision(),
        adapter=load["adapter"],
        weights=load["weights"],
        block_size=load["block_size"],
        stated=list(load["stated"]),
        runs_code=bool(load["allow_code"]),
        code=code_of_loader(load["model_loader"]),
        model=choice.model_digest,
        data=choice.data_digest,
        tokenizer=job.text.tokenizer.digest,
        score=choice.score,
        num_spans=len(job.spans),
        method=settings.method,
        num_steps=getattr(estimator, "num_steps", None),
        order=settings.order,
        tokens_per_step=settings.tokens_per_step,
        seed=int(Signature.parse(choice.score).seed or 0),  # of a code that draws nothing, none is stated
        schedule=None if job.schedule is None else str(job.schedule),
        vocab_size=job.model.vocab_size,
        windows=batches.windows.tolist(),
        contexts=batches.contexts.tolist(),
        lengths=batches.lengths.tolist(),
        batches=[places.tolist() for places in batches.batches],
        digest=digest_of(targets),
        network_bits=float(coded.sum() / np.log(2.0)),
    )
