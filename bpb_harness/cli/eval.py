"""``bpb-eval``: score a checkpoint in bits per byte.

Nothing here imports torch before the arguments are known to be well-formed: ``--help`` should not wait for it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpb_harness._version import __version__
from bpb_harness.cli._output import require_folder, write_output, write_parquet
from bpb_harness.cli._progress import progress_bar
from bpb_harness.cli._run import interrupted_afterwards, run
from bpb_harness.errors import ContractError, HarnessError, UsageError

if TYPE_CHECKING:
    from bpb_harness.result import BpbResult

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_TEXT, _JSON = "text", "json"
EXIT_EXPECTATION_MISSED = 1


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"bpb-harness {__version__}")
        raise typer.Exit


def _print_adapters(value: bool) -> None:
    if value:
        from bpb_harness.adapters import available_adapters

        for name in sorted(available_adapters()):
            typer.echo(name)
        raise typer.Exit


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Checkpoint: a file or a folder.")],
    method: Annotated[str, typer.Option(help="discrete, mc, chain, ar or exact.")] = "discrete",
    steps: Annotated[int | None, typer.Option(help="T of the discrete bound (128 if not given).")] = None,
    samples: Annotated[
        str | None,
        typer.Option(help="K draws a window (2, or 1 with --tolerance), or 'all'; of --method exact, levels a mask."),
    ] = None,
    order: Annotated[str, typer.Option(help="Of --method chain: left-to-right, random, confidence.")] = "left-to-right",
    tokens_per_step: Annotated[int, typer.Option(help="Of --method chain: positions revealed together.")] = 1,
    stride: Annotated[int | None, typer.Option(help="Of --method ar: tokens paid for in each sliding window.")] = None,
    per_document: Annotated[bool, typer.Option(help="Of --method ar: windows end at document borders.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Both bounds on the same draws, and their gap.")] = False,
    schedule: Annotated[str | None, typer.Option(help="NAME[eps], where the checkpoint carries none.")] = None,
    tail: Annotated[str, typer.Option(help="score or drop the last, shorter window.")] = "score",
    no_contract: Annotated[bool, typer.Option("--no-contract", help="Skip the checks of the network.")] = False,
    data: Annotated[list[Path] | None, typer.Option(help="Token shard, folder or glob; may be repeated.")] = None,
    docs: Annotated[list[Path] | None, typer.Option(help="Documents instead of shards; may be repeated.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer file, where the checkpoint has none.")] = None,
    text_field: Annotated[str | None, typer.Option(help="Of --docs: the text's key or column ('text').")] = None,
    shard_format: Annotated[
        str, typer.Option(help="Of --data: auto, v1, v1-uint32, v7, npy, uint16 or uint32 (no header).")
    ] = "auto",
    separator: Annotated[
        str | None, typer.Option(help="Between documents: bos, eos, none, an id or a piece (what files name).")
    ] = None,
    byte_rule: Annotated[str, typer.Option("--bytes", help="official, exact, raw, or none.")] = "official",
    context: Annotated[int | None, typer.Option(help="Tokens a window (the network's own if not given).")] = None,
    limit: Annotated[int | None, typer.Option(help="Score only the first so many windows.")] = None,
    adapter: Annotated[str | None, typer.Option(help="How to read the checkpoint; see --list-adapters.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Key of the weights to score, where the file holds several sets: model, ema.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="FILE.py:LOADER, your own code; needs --allow-code.")] = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Run code that comes with the checkpoint.")] = False,
    seed: Annotated[int, typer.Option(help="Of all randomness.")] = 0,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="As many passes as pilot draws say that half a 95 % interval of this many bits per byte takes."
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Keep finished draws in this file, and go on from those that it holds.")
    ] = None,
    expect: Annotated[float | None, typer.Option(help="Exit 1 unless the score is this many bits per byte.")] = None,
    within: Annotated[float, typer.Option(help="How far from --expect it may be.")] = 0.005,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    batch_tokens: Annotated[int | None, typer.Option(help="Forward tokens a call; never changes the score.")] = None,
    no_compile: Annotated[bool, typer.Option("--no-compile", help="Run the network as it is on a GPU too.")] = False,
    output_format: Annotated[str, typer.Option("--format", help="text or json.")] = _TEXT,
    output: Annotated[Path | None, typer.Option(help="Write the result here instead of stdout.")] = None,
    windows: Annotated[Path | None, typer.Option(help="Write one row a window to this .parquet file.")] = None,
    tokens: Annotated[Path | None, typer.Option(help="Write one row a token to this .parquet file.")] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    _list_adapters: Annotated[
        bool, typer.Option("--list-adapters", callback=_print_adapters, is_eager=True, help="Print the adapters.")
    ] = False,
) -> None:
    """Score a checkpoint in bits per byte, with the error of the score and everything it depends on.

    The relation in the result is part of it: '=' an exact code length, '<=' a bound, '~<=' an unbiased estimate of a
    bound.
    """
    if output_format not in {_TEXT, _JSON}:
        raise UsageError("--format", seen=repr(output_format), expected="text or json")
    if not 0 <= within < math.inf:
        raise UsageError("--within", seen=within, expected="0 or more")
    if expect is not None and not math.isfinite(expect):
        raise UsageError("--expect", seen=expect, expected="a number of bits per byte")
    if expect is not None and byte_rule == "none":
        raise UsageError("--expect is in bits per byte", seen="--bytes none", expected="a rule that counts bytes")
    for flag, path in (("--windows", windows), ("--tokens", tokens)):
        if path is not None and path.suffix.lower() != ".parquet":
            raise UsageError(flag, seen=repr(path.name), expected="a file name that ends in .parquet")
    written = [path.absolute() for path in (output, windows, tokens) if path is not None]
    if len(set(written)) < len(written):
        raise UsageError("--output, --windows and --tokens", seen="the same file twice", expected="files of their own")
    for path in (output, windows, tokens, resume):
        require_folder(path)
    settings: dict[str, Any] = {
        "method": method, "num_steps": steps, "num_samples": parse_samples(samples), "compare": compare, "order": order,
        "tokens_per_step": tokens_per_step, "stride": stride, "per_document": per_document, "byte_rule": byte_rule,
        "context_length": context, "limit": limit, "tail": tail, "seed": seed, "device": device, "dtype": dtype,
        "batch_tokens": batch_tokens, "tolerance": tolerance, "resume": resume,
        "compile_network": False if no_compile else None, "check_contract": not no_contract,
        "with_windows": windows is not None, "with_tokens": tokens is not None,
    }  # fmt: skip
    with interrupted_afterwards():
        from bpb_harness.evaluation.api import evaluate as score
        from bpb_harness.evaluation.settings import Settings

    with _quiet_unless_first(), progress_bar(shown=_is_first_process()) as progress:
        Settings(**settings)  # refuses bad flags before any file is opened
        result = score(
            checkpoint, data=data or [], docs=docs or [], tokenizer=tokenizer, text_field=text_field,
            shard_format=shard_format, separator=separator, schedule=schedule, adapter=adapter, model=model,
            allow_code=allow_code, weights=weights, progress=progress, **settings,
        )  # fmt: skip
    if not _is_first_process():
        return
    for frame, path in ((result.windows, windows), (result.tokens, tokens)):
        if path is not None:
            write_parquet(frame, path)
    write_output(result.to_json() if output_format == _JSON else describe(result), output)
    missed = False
    if expect is not None and result.bits_per_byte is not None and not abs(result.bits_per_byte - expect) <= within:
        missed = True
        typer.echo(
            f"bpb-eval: expected {expect} +- {within} bits per byte, got {result.bits_per_byte:.4f} "
            f"({result.bits_per_byte - expect:+.4f})",
            err=True,
        )
    if result.is_below_source:
        typer.echo(f"bpb-eval: WARNING: {result.below_source()}", err=True)
        raise typer.Exit(ContractError.exit_code)
    if missed:
        raise typer.Exit(EXIT_EXPECTATION_MISSED)


def describe(result: BpbResult) -> str:
    """The result as text: the line that glues the score to its settings, then what a reader should know."""
    low, high = result.ci95
    rates = [f"{result.bits_per_token:.4f} bits/token"]
    if result.bits_per_byte is None:
        number = result.bits_per_document
        rates = ["bits/document not known" if number is None else f"{number:,.2f} bits/document"]
    if result.mc_stderr:
        rates.append(f"95 % interval {low:.4f} .. {high:.4f} bits per {result.unit}")
    lines = [str(result), "  " + "; ".join(rates)]
    if result.terms_nats:
        total = result.length.nats
        lines.append("  " + ", ".join(f"{name} {100 * nats / total:.2f} %" for name, nats in result.terms_nats.items()))
    if result.source is not None:
        lines.append(
            f"  the source itself ({result.source.description}) needs {result.source.code_length_bits_per_byte:.4f} "
            f"bits per byte for the whole of this text (entropy rate {result.source.entropy_bits_per_byte:.4f})"
        )
    if result.comparison is not None:
        both = result.comparison
        lines += [
            f"  discrete {both.discrete:.4f}, mc {both.mc:.4f} bits per byte: {both.sentence()}",
            "  T-curve from f(u): "
            + ", ".join(f"{'inf' if steps == float('inf') else int(steps)}: {bpb:.4f}" for steps, bpb in both.t_curve),
        ]
    lines += [f"  note: {remark.message}" for remark in result.remarks]
    forward = f"{result.num_forward_tokens:,}" if result.num_forward_tokens else "no"
    lines.append(f"  {forward} forward tokens in {result.seconds:.1f} s on {result.device}")
    return "\n".join(lines)


def parse_samples(text: str | None) -> Any:
    """The value of --samples: a number, ``all``, or None.

    Raises:
        UsageError: for anything else.
    """
    if text is None or text == "all":
        return text
    try:
        return int(text)
    except ValueError:
        raise UsageError("--samples", seen=repr(text), expected="a number, or 'all'") from None


def _is_first_process() -> bool:
    """Whether this process is the one that prints, among those that torchrun may have started."""
    from bpb_harness.distributed import is_first_process

    return is_first_process()


@contextlib.contextmanager
def _quiet_unless_first() -> Iterator[None]:
    """All processes meet the same bad input; one of them says so."""
    try:
        yield
    except HarnessError as error:
        if _is_first_process():
            raise
        raise typer.Exit(error.exit_code) from None


def main() -> None:
    """Entry point of the ``bpb-eval`` command."""
    run(app, "bpb-eval")
