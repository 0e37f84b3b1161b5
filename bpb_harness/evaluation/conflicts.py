"""Settings that do not go together, refused before anything is loaded. Nothing here imports torch before it must."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter

from bpb_harness.errors import UsageError
from bpb_harness.evaluation.methods import METHODS, either, names
from bpb_harness.evaluation.settings import DEFAULTS, FLAGS, Settings, as_paths

_OF_ERRORS = ("--tolerance", "--samples all")
_OF_SGD = ("ttt_lr", "ttt_momentum", "ttt_epochs", "ttt_batch", "ttt_clip")
_SAMPLES = attrgetter("samples")


def require_no_conflict(settings: Settings) -> None:
    """Refuse settings of which one contradicts another, or says nothing without it.

    Raises:
        UsageError: naming the two.
    """
    _require_adaptation(settings)
    if settings.resume is not None and settings.kept_costs and settings.ttt is None:
        of_documents = "--document-table" if settings.with_documents else "--slice"
        raise UsageError(
            "--resume keeps sums of windows, not of tokens",
            seen="--tokens" if settings.with_tokens else of_documents,
            expected="one of the two",
            hint=None if settings.with_tokens else "pass --per-document, whose windows tell what documents cost",
        )
    _require_labels(settings)
    if settings.surprisal and not settings.with_tokens:
        raise UsageError("--surprisal", seen="no --tokens", expected="--tokens FILE.parquet, in which it stands")
    if settings.surprisal_draws % 2:
        raise UsageError("--surprisal-draws", seen=settings.surprisal_draws, expected="an even number")
    if settings.byte_rule == "none":
        _require_bytes(settings)
    if settings.compare:
        _require_compared(settings)
    if settings.stride is not None:
        _require_layout(settings)
    if settings.scores_answers:
        _require_answers(settings)
    elif not settings.enumerate_short:
        raise UsageError("--no-enumerate", seen="no --target-field", expected="--context-field and --target-field")
    if settings.num_samples is not None and not METHODS[settings.method].samples:
        _require_samples_of_enumeration(settings)


def _require_adaptation(settings: Settings) -> None:
    """Refuse settings of ``--ttt`` without it, and what has no meaning for a network that learns on the way."""
    if settings.ttt is None:
        if settings.resume is not None:
            replace(FLAGS["resume"], of=_SAMPLES).require_method(settings.method)
        changed = [name for name in ("ttt_chunk", *_OF_SGD) if getattr(settings, name) != DEFAULTS[name]]
        if changed:
            raise UsageError(FLAGS[changed[0]].name, seen="no --ttt", expected="--ttt sgd")
        return
    changed = [name for name in _OF_SGD if getattr(settings, name) != DEFAULTS[name]]
    if settings.ttt == "own" and changed:
        raise UsageError(
            f"{FLAGS[changed[0]].name} with --ttt own", seen="both", expected="--ttt sgd",
            hint="how the network learns is its own; leave it out",
        )  # fmt: skip
    for flag, is_given, hint in (
        ("--tolerance", settings.tolerance is not None, "pass --samples K for smaller errors"),
        ("--surprisal", settings.surprisal, "the network has learnt the text by then; leave it out"),
        ("--target-field", settings.scores_answers, "answers are scored each by itself"),
        ("--unpaid-prefix", settings.unpaid_prefix > 0, "its tokens are not paid for, and must not be learnt from"),
        ("--resume", settings.resume is not None and settings.ttt == "own", "what it learnt lies where only it knows"),
    ):
        if is_given:
            raise UsageError(f"{flag} with --ttt", seen="both", expected="one of the two", hint=hint)
    _ = settings.adaptation  # refuses numbers out of range


def _require_labels(settings: Settings) -> None:
    """Refuse fields of what has none, and a name for rows of a table that nobody asked for."""
    for flag, name in (("--key-field", settings.key_field), ("--slice", settings.slice_field)):
        if name is not None and (not name or not as_paths(settings.docs)):
            raise UsageError(
                f"{flag} {name}".rstrip(), seen="no --docs" if name else "no name",
                expected="a field of --docs FILE.jsonl; token shards have none",
                hint="pass the documents with --docs in place of --data",
            )  # fmt: skip
    if settings.key_field is not None and not settings.with_documents:
        raise UsageError("--key-field", seen="no --document-table", expected="both, or neither")


def _require_bytes(settings: Settings) -> None:
    """Refuse flags whose numbers are bits per byte where no bytes are counted."""
    for flag, given in (("--tolerance", settings.tolerance is not None), ("--compare", settings.compare)):
        if given:
            raise UsageError(
                f"{flag} is in bits per byte", seen="--bytes none", expected="a rule that counts bytes",
                hint=f"leave out {flag}",
            )  # fmt: skip


def _require_compared(settings: Settings) -> None:
    """Refuse to compare what has no other bound, or no draws."""
    if METHODS[settings.method].other is None or settings.num_samples == "all":
        raise UsageError(
            "--compare couples sampled draws of the two bounds",
            seen=f"--method {settings.method}" + (" --samples all" if settings.num_samples == "all" else ""),
            expected=f"--method {either(names(attrgetter('other')))}, and a number of samples",
        )


def _require_layout(settings: Settings) -> None:
    """Refuse a second layout beside a stride."""
    if settings.block_size is not None:
        raise UsageError(
            "--stride and --block-size", seen="both", expected="one of the two",
            hint="--block-size gives each block the blocks before it as context",
        )  # fmt: skip
    if settings.unpaid_prefix:
        raise UsageError(
            "--unpaid-prefix is of windows by themselves", seen="--stride", expected="one of the two",
            hint="leave out --unpaid-prefix: with --stride every token but the first window's has a context",
        )  # fmt: skip


def _require_answers(settings: Settings) -> None:
    """Refuse what has no meaning for answers, each of which is scored by itself."""
    from bpb_harness.text.answers import answer_fields  # deferred: imports numpy

    answer_fields(settings.context_field, settings.target_field, docs=bool(as_paths(settings.docs)))
    for flag, is_given in (
        ("--text-field", settings.text_field is not None),
        ("--per-document", settings.per_document),
        ("--unpaid-prefix", settings.unpaid_prefix != DEFAULTS["unpaid_prefix"]),
        ("--tail drop", settings.tail != DEFAULTS["tail"]),
        ("--compare", settings.compare),
        ("--tolerance", settings.tolerance is not None),
        ("--samples all", settings.num_samples == "all"),
    ):
        if is_given:
            raise UsageError(
                f"{flag} with --target-field", seen="both", expected="answers, each scored by itself",
                hint="pass --samples K for smaller errors" if flag in _OF_ERRORS else f"leave out {flag}",
            )  # fmt: skip


def _require_samples_of_enumeration(settings: Settings) -> None:
    """An enumeration draws noise levels for the continuous bound alone, two a mask or more."""
    row = METHODS[settings.method]
    if not row.enumerates or settings.num_steps is not None:
        sampled, enumerated = names(_SAMPLES), names(attrgetter("enumerates"))
        raise UsageError(
            "--samples",
            seen=f"--method {settings.method}" + (" --steps" if row.enumerates else ""),
            expected=f"--method {either(sampled)}, or {either(enumerated)} without --steps",
        )
    if settings.num_samples == "all":
        raise UsageError(
            f"--samples all with --method {row.name}", expected="a number", hint="the integral has no last node"
        )
    from bpb_harness.schedule import LogLinear  # deferred: imports torch

    settings.estimators(LogLinear())  # refuses what is too few
