"""Whether greedy decoding would give an answer, token for token."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.denoiser import CausalLM, Denoiser, causal_logits, clean_log_probs, denoiser_logits
from bpb_harness.estimators import ChainRule
from bpb_harness.evaluation.batches import consecutive, stack_spans
from bpb_harness.evaluation.job import Job
from bpb_harness.sampling.streams import RandomStreams

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def are_greedy(job: Job) -> Bools:
    """Of each answer of a job, (N,): every token is the likeliest one given its prompt and the answer before it.

    A masked network decodes left to right, one token a call, all later ones masked: the chain rule's order, and what it
    tells the network.
    """
    assert job.answers is not None
    spans, model = job.spans, job.model
    agrees = np.ones(len(spans), dtype=bool)
    inputs = spans.input_lengths if isinstance(model, Denoiser) else spans.input_lengths - 1
    batches = consecutive(inputs, job.settings.tokens_per_batch(job.device), spans.context_lengths)
    with torch.inference_mode():
        for rows, _ in batches:
            x0 = stack_spans(job.text.corpus, spans, rows).to(job.device)
            if isinstance(model, Denoiser):
                agrees[rows] = _of_masked(job, model, x0, int(spans.context_lengths[rows[0]]))
            else:
                agrees[rows] = _of_causal(model, x0, spans.lengths[rows])
    return np.asarray(job.answers.of_spans((~agrees).astype(np.float64)) == 0.0)


def _of_causal(model: CausalLM, x0: Tensor, lengths: Ints) -> Any:
    """Of each row, (B,) bool: its last ``lengths`` tokens are those that the network finds likeliest."""
    likeliest = _likeliest(model, causal_logits(model, x0[:, :-1]))
    places = torch.arange(x0.shape[1] - 1, device=x0.device)
    is_target = places >= x0.shape[1] - 1 - torch.from_numpy(lengths).to(x0.device)[:, None]
    return ((likeliest == x0[:, 1:]) | ~is_target).all(dim=1).cpu().numpy()


def _of_masked(job: Job, model: Denoiser, x0: Tensor, context_length: int) -> Any:
    """Of each row, (B,) bool: its tokens behind the context are those that the network finds likeliest one by one."""
    assert job.schedule is not None
    rule = ChainRule(job.schedule, RandomStreams(job.settings.seed))
    batch, length = len(x0), x0.shape[1] - context_length
    agrees = torch.ones(batch, dtype=torch.bool, device=x0.device)
    for done in range(length):
        place = context_length + done
        xt = x0.clone()
        xt[:, place:] = model.mask_token_id
        context, level = rule.told(model, length - done, length, context_length, batch)
        logits = denoiser_logits(model, xt, level.to(x0.device), context_lengths=context.to(x0.device))
        agrees &= _likeliest(model, logits[:, place]) == x0[:, place]
    return agrees.cpu().numpy()


def _likeliest(model: Denoiser | CausalLM, logits: Tensor) -> Tensor:
    mask = model.mask_token_id if isinstance(model, Denoiser) else -1
    return clean_log_probs(logits, vocab_size=model.vocab_size, mask_token_id=mask).argmax(dim=-1)
