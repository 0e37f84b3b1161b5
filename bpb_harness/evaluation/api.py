"""Corpus x denoiser x estimator -> result: ``bpb_harness.evaluate("checkpoint.pt", method="discrete")``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

from bpb_harness.adapters import AdaptedModel, load_model
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.denoiser import Denoiser
from bpb_harness.distributed import pick_device
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.answers import answer_remarks
from bpb_harness.evaluation.beside import Beside
from bpb_harness.evaluation.device_ahead import start_device
from bpb_harness.evaluation.in_memory import InMemory, require_no_name
from bpb_harness.evaluation.inputs import find_text, num_foreign_pieces, require_guessed_vocabulary
from bpb_harness.evaluation.job import Job, ModelIdentity
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.evaluation.phase_clock import PhaseClock
from bpb_harness.evaluation.remarks import (
    byte_remarks,
    loss_remarks,
    padding_remarks,
    score_remarks,
    separator_remarks,
    tokenizer_remarks,
    warned_of_bytes,
)
from bpb_harness.evaluation.score import score, with_remarks
from bpb_harness.evaluation.settings import Settings, as_path, as_paths
from bpb_harness.kernels.loading import load_kernels
from bpb_harness.result import BpbResult, Remark
from bpb_harness.schedule import parse_schedule, sound
from bpb_harness.second_look.asking import ModelSource
from bpb_harness.second_look.waiting import start_ahead
from bpb_harness.text.answers import answer_fields, iterate_answered
from bpb_harness.text.corpus import iterate_documents
from bpb_harness.text.shards import DEFAULT_FORM
from bpb_harness.torchrun import is_first_process
from bpb_harness.whole_file import require_writable

if TYPE_CHECKING:
    from bpb_harness.evaluation.flags import AnyPath, Scorable

# Settings that say how a checkpoint is read, and where it runs: those of `_load`.
OF_LOADING = (
    "adapter", "model", "allow_code", "weights", "block_size", "golf_preset", "golf_setting", "device", "dtype",
)  # fmt: skip


def evaluate(checkpoint: Scorable, **options: Any) -> BpbResult:
    """Score a checkpoint, or a network in memory, in bits per byte.

    Args:
        checkpoint: file or folder of the network, or the network itself.
        **options: fields of :class:`bpb_harness.evaluation.settings.Settings`; docs/settings.md lists them.

    Returns:
        The score with its errors and its signature.

    Raises:
        HarnessError: for anything that cannot be scored; its text is one line.
        TypeError: for an option that there is not.
    """
    chosen = Settings.of(options | {"method_is_open": "method" not in options})
    if not isinstance(checkpoint, str | PathLike):
        _try_to_keep(chosen)
        network = InMemory(checkpoint, chosen)
        with network.evaluated():
            chosen = replace(chosen, device=network.device)
            clock = PhaseClock(chosen.progress)
            return LoadedCheckpoint(network.checkpoint, network.adapted, None, clock).score(chosen)[1]
    return score_checkpoint(checkpoint, chosen)[1]


def score_checkpoint(checkpoint: AnyPath, chosen: Settings) -> tuple[Job, BpbResult]:
    """Score a file or folder; gives what was scored beside the result.

    Raises:
        HarnessError: as :func:`evaluate`.
    """
    _try_to_keep(chosen)
    return LoadedCheckpoint.load(checkpoint, chosen).score(chosen)


def _try_to_keep(chosen: Settings) -> None:
    """Whether ``--resume`` could be written, before anything is loaded or learnt whose costs it is to keep."""
    if chosen.resume is not None:
        require_writable(Path(chosen.resume))


def load_job(checkpoint: AnyPath, chosen: Settings) -> Job:
    """What :func:`score_checkpoint` would score.

    Raises:
        HarnessError: as :func:`evaluate`.
    """
    return LoadedCheckpoint.load(checkpoint, chosen).job(chosen)


@final
@dataclass(frozen=True)
class LoadedCheckpoint:
    """A network that is loaded once, and scored on one text or on several.

    Attributes:
        checkpoint: as it was read; the network has copies of its tensors.
        adapted: the network.
        source: how another process builds it; None for one that exists in this process alone.
        clock: where the seconds go.
    """

    checkpoint: Checkpoint
    adapted: AdaptedModel
    source: ModelSource | None
    clock: PhaseClock

    @classmethod
    def load(cls, checkpoint: AnyPath, chosen: Settings) -> Self:
        """Load a file or folder; of the settings, ``OF_LOADING`` say how it is read, and where it runs.

        Raises:
            HarnessError: if it cannot be loaded.
        """
        path = as_path(checkpoint)
        if chosen.name is not None:
            require_no_name(chosen)
        source = ModelSource(
            {
                "path": str(path),
                "adapter": chosen.adapter,
                "model_loader": chosen.model,
                "allow_code": chosen.allow_code,
                "weights": chosen.weights,
                "block_size": chosen.block_size,
                "stated": chosen.stated,
            },
            pick_device(chosen.device),
            chosen.dtype,
        )
        clock = PhaseClock(chosen.progress)
        with clock.phase("loading"):
            load_kernels(source.device)  # by this thread, before there are others
            if source.device.type == "cuda":
                start_device(source.device, chosen.torch_dtype())
            read, adapted = load_model(**source.load, device=source.device, dtype=chosen.torch_dtype())
        return cls(replace(read, tensors={}), adapted, source, clock)

    def window_length(self, chosen: Settings) -> int:
        """Tokens of a window: those that the settings say, or else the checkpoint."""
        return chosen.context_length or self.adapted.window_length or self.adapted.model.context_length

    def score(self, chosen: Settings) -> tuple[Job, BpbResult]:
        """Score it; of the settings ``OF_LOADING`` none may have changed.

        Raises:
            HarnessError: as :func:`evaluate`.
        """
        job = self.job(chosen)
        remarks = Beside(partial(_remarks_before, job, self.checkpoint, self.adapted), "text")
        if job.device.type == "cuda" and not chosen.allow_code and self.source is not None:
            remarks.start()  # while the GPU is asked whether the network behaves
        else:
            with self.clock.phase("bytes"):
                remarks.result()
        result = score(job, remarks.result)
        return job, with_remarks(result, *warned_of_bytes(job, result, remarks.result()), *score_remarks(job, result))

    def job(self, chosen: Settings) -> Job:
        """What :meth:`score` scores.

        Raises:
            HarnessError: as :func:`evaluate`.
        """
        checkpoint, adapted = self.checkpoint, self.adapted
        chosen = chosen.for_network(is_causal=not isinstance(adapted.model, Denoiser))
        if adapted.context_is_open and chosen.context_length is None:
            raise UsageError(
                f"{checkpoint.path.name} states no context length", hint="pass --context L, the tokens of a window"
            )
        if chosen.context_length is None and adapted.window_length is not None:
            chosen = replace(chosen, context_length=adapted.window_length)
        schedule = adapted.schedule if chosen.schedule is None else parse_schedule(chosen.schedule)
        with self.clock.phase("loading"):
            text = find_text(checkpoint, chosen)
        if self.source is not None and chosen.check_contract and is_first_process():  # what can be refused before, is
            start_ahead()
        return Job(
            adapted.model,
            text,
            chosen,
            schedule=None if schedule is None else sound(schedule),
            identity=ModelIdentity(checkpoint.digest, adapted.adapter),
            progress=chosen.progress,
            tokenizer_is_own=text.tokenizer.model_bytes == checkpoint.tokenizer,
            source=self.source,
            clock=self.clock,
        )


def _remarks_before(job: Job, checkpoint: Checkpoint, adapted: AdaptedModel) -> list[Remark]:
    """What a reader should know of the text, the tokenizer and the network, whatever the score.

    Raises:
        HarnessError: for what cannot be scored.
    """
    text, chosen = job.text, job.settings
    docs = as_paths(chosen.docs)
    form = "" if text.corpus.form == DEFAULT_FORM else f" ({text.corpus.form})"
    remarks = [Remark("data", f"scored {text.corpus.name}{form}, found through {text.origin}")]
    remarks += separator_remarks(job)
    if job.answers is not None:
        remarks += answer_remarks(job)
    if chosen.method_is_open and METHODS[chosen.method].is_causal:
        said = f"an autoregressive model, scored by --method {chosen.method}: none was given"
        remarks.append(Remark("method", said))
    remarks += [Remark("adapter", note) for note in adapted.notes]
    remarks += [Remark("tokenizer", note) for note in text.tokenizer.notes]
    if adapted.context_is_guess and chosen.context_length is None:
        guess = f"windows of {job.context_length} tokens are the longest the network takes, not known to be what it was"
        remarks.append(Remark("context", f"{guess} trained on; pass --context to score others"))
    job.require_scorable()
    if adapted.vocabulary_is_guess:
        require_guessed_vocabulary(text.tokenizer, job.model.vocab_size, checkpoint.path.name)
    if chosen.wants_documents:
        text.require_borders("--document-table" if chosen.with_documents else "--slice")
    if not job.tokenizer_is_own and checkpoint.tokenizer is not None:
        remarks += tokenizer_remarks(job, num_foreign_pieces(checkpoint, text))
    remarks += padding_remarks(job)
    documents = _documents(docs, chosen) if docs else None
    remarks += loss_remarks(job, documents)
    remarks += byte_remarks(job)
    return remarks


def _documents(docs: list[Path], settings: Settings) -> Iterator[str]:
    """The texts that were encoded."""
    if settings.scores_answers:
        return iterate_answered(docs, answer_fields(settings.context_field, settings.target_field, docs=True))
    return iterate_documents(docs, text_field=settings.text_field)
