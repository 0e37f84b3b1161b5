"""Evaluation and verification of bits-per-byte scores of masked diffusion language models.

:func:`evaluate` scores a checkpoint, :func:`compare` compares several, :func:`nelbo` bounds a batch inside a training
loop, :func:`audit` checks a published claim, ``bpb_harness.testing`` holds what other projects import into their own
tests. Importing the package imports none of what they need.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bpb_harness._version import __version__
from bpb_harness.evaluation.flags import AnyPath, shows
from bpb_harness.evaluation.settings import Settings

if TYPE_CHECKING:
    import torch

    from bpb_harness.auditing import AuditReport
    from bpb_harness.comparison.result import SystemComparison
    from bpb_harness.comparison.systems import System
    from bpb_harness.denoiser import Denoiser
    from bpb_harness.estimators.nelbo import Nelbo
    from bpb_harness.evaluation.flags import Scorable
    from bpb_harness.result import BpbResult
    from bpb_harness.schedule import NoiseSchedule

__all__ = ["__version__", "audit", "compare", "evaluate", "nelbo"]


def __dir__() -> list[str]:
    return sorted({*globals(), "testing"})


def __getattr__(name: str) -> Any:
    if name == "testing":
        return importlib.import_module(f"{__name__}.testing")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@shows(Settings)
def evaluate(checkpoint: Scorable, **settings: Any) -> BpbResult:
    """Score a checkpoint or a network in memory, in bits per byte.

    Args:
        checkpoint: a file or a folder; or a :class:`~bpb_harness.denoiser.Denoiser` or
            :class:`~bpb_harness.denoiser.CausalLM`, which is scored where it is, in evaluation mode, and left as it
            was. It brings no tokenizer, data or schedule (but for an attribute ``schedule``): pass those.
            docs/training-loop.md has an example.
        **settings: those below; also ``progress``, called with (tokens done, tokens in all), whose method ``doing``, if
            it has one, is called with a word for what is begun; and
            ``name`` of a network in memory, which stands in the signature, and for a digest where it has no parameters.

    Raises:
        HarnessError: for anything that cannot be scored, a network that lacks something by its name; one line.
        TypeError: for a setting that there is not, with the nearest that there is.
    """
    from bpb_harness.evaluation import api  # deferred: imports torch

    return api.evaluate(checkpoint, **settings)


def nelbo(
    model: Denoiser,
    x0: torch.Tensor,
    *,
    schedule: str | NoiseSchedule | None = None,
    num_steps: int | None = None,
    num_samples: int = 1,
    context_lengths: torch.Tensor | Sequence[int] | None = None,
    differentiable: bool = False,
    generator: torch.Generator | None = None,
    seed: int | None = None,
) -> Nelbo:
    """Estimate the bound of each row of a batch of token windows, as inside a training loop.

    Unbiased for every row by itself. Masks are size-biased; mask rates are spread evenly over the rows of a call, in
    random order. The network is called ``num_samples`` times, as it is: in the mode that it is in.

    Args:
        model: a :class:`~bpb_harness.denoiser.Denoiser`; an ``nn.Module`` may be one.
        x0: clean tokens, (B, L) of a whole type on the network's device; on a CPU they are looked at, on a GPU not.
        schedule: the noise schedule or its name, ``--schedule`` of the command; None: the network's own ``schedule``.
        num_steps: T of the discrete bound, ``--steps``; None: the continuous bound.
        num_samples: K, calls of the network with one draw a row each, ``--samples``.
        context_lengths: how many tokens of each row, the first, are visible and not paid for, (B,).
        differentiable: record gradients, so that ``.nats_per_token.backward()`` trains.
        generator: of all randomness, on any device; None and no seed: torch's own generator of the CPU.
        seed: instead of a generator.

    Returns:
        Nats of each row, their errors and terms.

    Raises:
        UsageError: for anything that is not as described here, an object that lacks something by its name.
        ContractError: if the network's answer is not what it should be.
    """
    from bpb_harness.estimators import nelbo as inside  # deferred: imports torch

    return inside.nelbo(
        model, x0, schedule=schedule, num_steps=num_steps, num_samples=num_samples, context_lengths=context_lengths,
        differentiable=differentiable, generator=generator, seed=seed,
    )  # fmt: skip


def compare(
    *systems: System, better_by: float | None = None, level: float = 0.05, runs_of_baseline: int | None = None,
    **settings: Any,
) -> SystemComparison:  # fmt: skip
    """Compare systems with the first of them: which is better, by how much, how sure that is.

    Args:
        *systems: two or more: checkpoints, files of ``--score-file``, or results of :func:`evaluate` that were asked
            for ``with_costs=True``.
        better_by: what each is expected to be better by than the first, in bits per byte.
        level: below which a p shows a difference.
        runs_of_baseline: so many systems, the first, are runs of the baseline, all others of one candidate; the
            contest's rule is then applied, ``--contest-rule``.
        **settings: of :func:`evaluate`, for every checkpoint. For settings of its own, pass a checkpoint's result.

    Returns:
        Differences in bits per byte, system less baseline, with their errors, and what follows in words.

    Raises:
        HarnessError: for what cannot be scored, or systems that are no scores of the same bytes; one line.
        TypeError: for a setting that there is not.
    """
    from bpb_harness.comparison import compare as inside  # deferred: imports scipy
    from bpb_harness.comparison.systems import is_scored_now

    settings = {name: _kept(value) for name, value in settings.items()}
    scored = [is_scored_now(system) for system in systems]
    each = [settings if is_so or not any(scored) else {} for is_so in scored]  # refused where no checkpoint takes them
    return inside.compare(systems, each, better_by=better_by, level=level, num_baseline_runs=runs_of_baseline)


def audit(
    paths: AnyPath | Sequence[AnyPath],
    *,
    baseline: AnyPath | Sequence[AnyPath] | None = None,
    recomputed: Any | None = None,
    proof: AnyPath | None = None,
    checkpoint: AnyPath | None = None,
    data: AnyPath | Sequence[AnyPath] = (),
    allow_code: bool = False,
    tokenizer: AnyPath | None = None,
    rules: AnyPath | Sequence[AnyPath] | None = None,
) -> AuditReport:
    """Audit one claimed score from its record.

    Args:
        paths: a submission's folder, files that belong to one claim, or such a folder and files; not several folders,
            each of which is a claim of its own.
        baseline: the claim that this one says it beats: folders or files.
        recomputed: a `BpbResult` of the claim's checkpoint, or a `Recomputed`.
        proof: a file of bits of `bpb-prove`, of some windows of the score; needs ``checkpoint``.
        checkpoint: of ``proof``, the network that decodes it.
        data: of ``proof``, the token shards that its windows are compared with; none: that is said to be open.
        allow_code: run the script's byte table and scoring functions, alone, in limited processes; nothing else is
            ever run.
        tokenizer: the tokenizer's file, for the byte table and for ``proof`` (of which, if none is given, the one that
            the checkpoint carries serves); its name tells the tokenizer where the record does not.
        rules: names of packs of rules, or paths of .toml files that hold one: of several the one that the record
            belongs to counts; ``none``: none; None: of those that are shipped, the one that it belongs to.

    Raises:
        ClaimError: if there is nothing to read, or a claim file is wrong.
        UsageError: for several folders, ``allow_code`` without a tokenizer, a proof without a network, or the other
            way round.
        InputError: for a proof that is none, or of another checkpoint; for a pack that is none.
        TokenizerError: if the tokenizer's file is needed and cannot be read.
    """
    from bpb_harness.argument_names import named_as_arguments
    from bpb_harness.auditing import auditor

    proved = None
    with named_as_arguments(("allow_code", "baseline", "checkpoint", "data", "proof", "rules", "tokenizer")):
        if proof is not None:
            from bpb_harness.evaluation.settings import as_paths
            from bpb_harness.proof import evidence  # deferred: imports torch

            proved = evidence.examine(proof, checkpoint, tokenizer, as_paths(data))
        elif checkpoint is not None or data:
            from bpb_harness.errors import UsageError

            raise UsageError("checkpoint and data without proof", hint="pass proof=FILE, or recomputed=evaluate(...)")
        return auditor.audit(
            _kept(paths), baseline=_kept(baseline), recomputed=recomputed, proved=proved, allow_code=allow_code,
            tokenizer=tokenizer, rules=rules,
        )  # fmt: skip


def _kept(given: Any) -> Any:
    """What can be gone through once, such as ``Path.glob``, as a list: it is asked for more than once."""
    return list(given) if isinstance(given, Iterator) else given
