"""When the marks that a score is read against are found: beside scoring, where that leaves the processor idle."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from bpb_harness.denoiser import Denoiser, num_clean_tokens
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.reference_marks import reference_marks
from bpb_harness.result import ReferenceMarks
from bpb_harness.torchrun import is_first_process


def marks_beside(job: Job, layout: Layout) -> Callable[[], ReferenceMarks]:
    """What gives the marks: found by a thread while a GPU compiles and scores; on a CPU, which is busy, afterwards."""
    find = partial(_marks_of, job, layout.total_units)
    if job.device.type != "cuda" or not is_first_process():
        return find
    beside = ThreadPoolExecutor(1, thread_name_prefix="marks")
    found = beside.submit(find)
    beside.shutdown(wait=False)  # when it is done
    return found.result


def _marks_of(job: Job, num_units: int) -> ReferenceMarks:
    """What simple codes need for the same tokens."""
    model, text = job.model, job.text
    return reference_marks(
        text.corpus, job.spans, None if job.settings.byte_rule == "none" else text.tokenizer,
        vocab_size=max(model.vocab_size, text.tokenizer.vocab_size),
        num_clean=num_clean_tokens(model) if isinstance(model, Denoiser) else model.vocab_size,
        num_units=num_units,
    )  # fmt: skip
