"""What a GPU will run is compiled, or fetched from the compiler's cache, while the text is counted and checks run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from bpb_harness.adapters.fused_forms import FusedForm, fused_form
from bpb_harness.denoiser import Denoiser
from bpb_harness.evaluation.compile_choice import pays
from bpb_harness.evaluation.compiler import import_compiler
from bpb_harness.evaluation.job import Job

_AT_ONCE = 8


def start_programs(job: Job) -> None:
    """Begin with the programs of a job, on a thread beside; whoever needs one first makes it all the same."""
    if job.device.type != "cuda" or not job.bounds or not isinstance(job.model, Denoiser):
        return
    num_tokens = int(job.spans.input_lengths.sum())  # of a pass of one sample: more of them pay all the more
    length, dtype = int(job.spans.input_lengths.max()), job.settings.torch_dtype()
    is_worth_it = pays(job.model, num_tokens, device=job.device, dtype=dtype, length=length)
    if not job.settings.compiles(job.device, pays=is_worth_it):
        return
    form = fused_form(job.model, device=job.device, dtype=dtype, length=length)
    work = import_compiler if form is None else lambda: _run_all(form)
    threading.Thread(target=work, name="programs", daemon=True).start()


def _run_all(form: FusedForm) -> None:
    """Run each kernel of a form once, several at a time: most of a compilation leaves the interpreter free."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="program") as pool:
        for done in [pool.submit(_run, program) for program in form.programs()]:
            done.result()


def _run(program: Callable[[], object]) -> None:
    """What fails here fails again where it is needed, and is dealt with there."""
    try:
        with torch.inference_mode():
            program()
    except Exception:  # noqa: S110 - of compilers, drivers and memory
        pass
