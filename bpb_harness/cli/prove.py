"""``bpb-prove``: turn a score into a file of bits, and get the text back from it.

Nothing here imports torch before the arguments are known to be well-formed.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpb_harness.cli._inputs import inputs_of
from bpb_harness.cli._options import Quiet, Version
from bpb_harness.cli._output import require_outputs, write_output
from bpb_harness.cli._own_files import require_no_other
from bpb_harness.cli._progress import progress_bar
from bpb_harness.cli._run import interrupted_afterwards, run, torch_imports
from bpb_harness.cli._settings import as_settings, explicit, takes
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.settings import DEFAULTS, FLAGS, Settings
from bpb_harness.terminal.lines import laid_out
from bpb_harness.terminal.screen import Screen
from bpb_harness.whole_file import write_whole

if TYPE_CHECKING:
    from bpb_harness.proof.prove import Proof
    from bpb_harness.proof.reading import Opened

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_FORMATS = ("text", "json")
_OF_DECODING = ("tokenizer", "model", "allow_code")
_OF_TABLES = {"with_windows", "with_tokens", "with_documents", "with_costs"}
_OF_TABLES |= {"key_field", "slice_field", "surprisal", "surprisal_draws"}
_TAKEN = tuple(name for name in FLAGS if name not in _OF_TABLES)
_REFUSED = tuple(name for name in _TAKEN if name == "compare" or name.startswith("ttt"))


@app.command()
@takes(*_TAKEN, hidden=_REFUSED)
def prove(
    context: typer.Context,
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Checkpoint: a file or a folder.")],
    proof: Annotated[Path | None, typer.Option(help="Score, and write the bits of some windows here.")] = None,
    score: Annotated[
        Path | None, typer.Option(help="Of --proof: take this score, of bpb-eval --format json, and score nothing.")
    ] = None,
    num_windows: Annotated[
        int | None, typer.Option(help="How many windows (as many as take about a minute, at least 4).")
    ] = None,
    decode: Annotated[Path | None, typer.Option(help="Get the tokens back from this file of bits.")] = None,
    text: Annotated[Path | None, typer.Option(help="Of --decode: write the text here.")] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(help="Seconds that decoding may take (3600; of --proof, 120 and 20 times what coding took)."),
    ] = None,
    output_format: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    output: Annotated[Path | None, typer.Option(help="Write what came of it here instead of stdout.")] = None,
    quiet: Quiet = False,
    _version: Version = False,
    **given: Any,
) -> None:
    """Prove a score by decoding: some of its windows become a file of bits, from which a fresh process gets them back.

    Exit codes: 0 proved; 1 decoded to something else, or it costs more than the claim; 2 bad input; 3 decoded, but not
    isolated, or the score's number is left open; 4 the network breaks its contract.
    """
    if (proof is None) == (decode is None):
        seen, hint = ("neither", "pass --proof FILE") if proof is None else ("both", "leave out one")
        raise UsageError("--proof and --decode", seen=seen, expected="one of the two", hint=hint)
    if proof is not None and text is not None:
        raise UsageError("--text with --proof", expected="--decode FILE", hint="leave out --text")
    if output_format not in _FORMATS:
        raise UsageError("--format", seen=repr(output_format), expected=" or ".join(_FORMATS))
    outputs = {"--proof": proof, "--text": text, "--output": output}
    require_outputs(outputs, inputs_of(given, checkpoint=checkpoint, file=[score, decode]))
    if time_limit is not None and not 0.0 < time_limit < math.inf:
        raise UsageError("--time-limit", seen=time_limit, expected="seconds, above 0")
    if score is not None:
        require_no_other([score], what="--score ", expected="a score as JSON")
    settings = as_settings(given)
    if decode is not None:
        if num_windows is not None:
            raise UsageError("--num-windows with --decode", hint="leave it out: the file holds what it holds")
        if score is not None:
            raise UsageError("--score with --decode", hint="leave it out: the file holds the line of its score")
        opened = _decode(checkpoint, decode, text, time_limit, settings, quiet=quiet)
        _write(opened, decode, output_format, output)
        raise typer.Exit(opened.exit_code)
    assert proof is not None
    if num_windows is not None and num_windows < 1:
        raise UsageError("--num-windows", seen=num_windows, expected="1 or more")
    chosen = Settings(**settings) if score is None else _settings_of(score, settings, context)
    more: dict[str, Any] = {"num_windows": num_windows, "time_limit": time_limit, "score": score}
    outcome: Any = None
    with progress_bar("bpb-prove", shown=not quiet) as progress:
        progress.doing("imports")
        with torch_imports():
            from bpb_harness.proof.contained import needs_containing, prove_contained
            from bpb_harness.proof.prove import prove as prove_here

        progress.doing("coding")
        if needs_containing(chosen):
            outcome = prove_contained(checkpoint, chosen, proof, progress=progress, **more)
        if outcome is None:
            outcome = prove_here(checkpoint, chosen, proof, progress=progress, **more)
    _write(outcome, proof, output_format, output)
    raise typer.Exit(outcome.exit_code)


def _settings_of(score: Path, settings: dict[str, Any], context: typer.Context) -> Settings:
    with interrupted_afterwards():
        from bpb_harness.formats import read_result
        from bpb_harness.proof.taken_score import settings_beside

    return settings_beside(read_result(score), settings, explicit(context, settings))


def _decode(
    checkpoint: Path, file: Path, text: Path | None, time_limit: float | None, settings: dict[str, Any], *, quiet: bool
) -> Opened:
    for name, value in settings.items():
        is_given = value not in ([], DEFAULTS[name])
        if name not in _OF_DECODING and is_given:
            raise UsageError(
                f"{FLAGS[name].name} with --decode", expected="--tokenizer, --model and --allow-code alone",
                hint="leave it out: the file says how it was made",
            )  # fmt: skip
    with progress_bar("bpb-prove", shown=not quiet) as progress:
        progress.doing("imports")
        with torch_imports():
            import numpy as np

            from bpb_harness.proof.reading import MAX_SECONDS, open_proof, read_file
            from bpb_harness.proof.spelling import tokenizer_of

        tokenizer = tokenizer_of(read_file(file)[0], checkpoint, settings["tokenizer"], spells=text is not None)
        progress.doing("decoding")
        opened = open_proof(
            file, checkpoint, model=settings["model"], allow_code=settings["allow_code"],
            seconds=time_limit or MAX_SECONDS, progress=progress, tokenizer=tokenizer,
        )  # fmt: skip
    if text is not None and opened.is_same:
        spelled = b"\n".join(tokenizer.decode(np.asarray(span)) for span in opened.decoded.spans)
        write_whole(text, lambda out: out.write(spelled))
    return opened


def _write(outcome: Proof | Opened, file: Path, output_format: str, output: Path | None) -> None:
    """Print lines, as they are or laid out for a terminal, or JSON; or write them."""
    if output_format == "json":
        from bpb_harness.proof.plain import plain_of  # deferred: imports torch

        write_output(json.dumps(plain_of(outcome, file.stat().st_size), indent=2, allow_nan=False), output)
        return
    text = str(outcome)
    on_screen = output is None and sys.stdout is not None and sys.stdout.isatty()
    write_output(laid_out(text, Screen.of(sys.stdout)) if on_screen else text, output)


def main() -> None:
    """Entry point of the ``bpb-prove`` command."""
    run(app, "bpb-prove")
