"""Write a submission folder: ``python -m reference.submission model.ptz --data VAL.bin --out FOLDER``.

The score is the harness's. The folder holds ``submission.json``, the training log with the evaluation at its end, a
README, and the artifact; ``bpb-audit FOLDER --checkpoint FOLDER/model.ptz --data VAL.bin`` scores it anew.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import reference
from bpb_harness.cli._run import run as run_command
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.api import evaluate
from bpb_harness.networks import reference as network
from bpb_harness.result import BpbResult
from reference.export import CAP_BYTES
from reference.training_log import require_log_of, require_unseen

_ESTIMATORS = {
    "discrete": "discrete ELBO, prior term included",
    "mc": "continuous NELBO by Monte Carlo, prior term included",
    "ar": "autoregressive code length",
}


def code_bytes() -> int:
    """Size of the program that trains and runs the network: the trainer's files and the network's."""
    files = [*Path(reference.__file__).parent.glob("*.py"), Path(network.__file__)]
    return sum(file.stat().st_size for file in files)


def record(result: BpbResult, *, name: str, author: str, model_bytes: int, seed: int | None) -> dict[str, Any]:
    """The content of ``submission.json``."""
    signature, length = result.signature, result.length
    content: dict[str, Any] = {
        "author": author,
        "name": name,
        "val_loss": round(length.nats / length.num_tokens, 8),
        "val_bpb": round(length.bits_per_byte, 8),
        "val_bpb_estimator": _ESTIMATORS[str(signature.method)],
        "bytes_total": model_bytes + code_bytes(),
        "bytes_model": model_bytes,
        "bytes_code": code_bytes(),
        "dataset": (signature.data or "").partition("@")[0],  # or the contest's own would be taken for it
        "scored_tokens": length.num_tokens,
        "scored_bytes": length.num_bytes,
        "signature": str(signature),
    }
    if result.relation == "~<=" and result.mc_stderr is not None:
        content["val_bpb_stderr"] = round(result.mc_stderr, 8)
    if signature.num_steps is not None:
        content["diffusion_num_steps"] = int(signature.num_steps)
    if seed is not None:
        content["seeds"] = [seed]
    return content


def log_lines(content: dict[str, Any], artifact: str) -> str:
    """The end of the log: what was scored, and the score, in the form that leaderboards print."""
    return (
        f"evaluation of {artifact}: {content['signature']}\n"
        f"tokens:{content['scored_tokens']} bytes:{content['scored_bytes']}\n"
        f"final_eval_exact val_loss:{content['val_loss']:.8f} val_bpb:{content['val_bpb']:.8f}\n"
        f"Total submission size: {content['bytes_total']} bytes\n"
    )


def readme(content: dict[str, Any], result: BpbResult, artifact: str) -> str:
    """The README: what the number is, and how to get it again."""
    method, steps = result.signature.method, content.get("diffusion_num_steps")
    flags = f"--method {method}" + (f" --steps {steps}" if steps else "")
    error = f" +- {1.96 * content['val_bpb_stderr']:.4f} (95 %, sampling)" if "val_bpb_stderr" in content else ""
    return f"""# {content["name"]}

val_bpb: {content["val_bpb"]:.8f}{error}, {content["val_bpb_estimator"]}{f", T = {steps}" if steps else ""}.

{content["scored_tokens"]:,} tokens and {content["scored_bytes"]:,} bytes were scored: every token is paid for, bytes
are counted piece by piece. The artifact is {content["bytes_model"]:,} bytes, the code {content["bytes_code"]:,}.

To get the number again:

    bpb-eval {artifact} --data VALIDATION.bin {flags}
    bpb-audit . --checkpoint {artifact} --data VALIDATION.bin

`train.log` is the log of the training run, with the evaluation at its end. Signature of the score:

    {content["signature"]}
"""


def write_submission(
    checkpoint: Path,
    out: Path,
    *,
    data: list[Path],
    tokenizer: Path | None = None,
    log: Path | None = None,
    name: str = "reference masked diffusion model",
    author: str = "unnamed",
    seed: int | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Score a checkpoint and write the folder, all of it or nothing.

    Args:
        checkpoint: what is submitted: an artifact, or a checkpoint small enough.
        out: a folder that does not exist yet.
        data: validation shards.
        tokenizer: none: the one inside the checkpoint.
        log: the training log; none: ``CHECKPOINT.log`` if there is one.
        name: of the submission.
        author: of the submission.
        seed: of the training run.
        **settings: fields of :class:`bpb_harness.evaluation.api.Settings`.

    Returns:
        The content of ``submission.json``.

    Raises:
        HarnessError: for a folder that exists, an artifact above the cap, the log of another run, text that its log
            says was trained on, or what cannot be scored.
    """
    if out.exists():
        raise UsageError("--out", seen=str(out), expected="a folder that does not exist yet")
    if log is not None and not log.is_file():
        raise UsageError("--log", seen=str(log), expected="the log of the training run")
    beside = checkpoint.with_name(checkpoint.name + ".log")
    chosen_log = log or (beside if beside.is_file() else None)
    training = chosen_log.read_text(encoding="utf-8") if chosen_log else ""
    require_log_of(training, checkpoint)
    require_unseen(training, data)
    result = evaluate(checkpoint, data=data, tokenizer=tokenizer, **settings)
    if result.signature.method not in _ESTIMATORS:
        raise UsageError("--method", seen=result.signature.method, expected=", ".join(_ESTIMATORS))
    content = record(result, name=name, author=author, model_bytes=checkpoint.stat().st_size, seed=seed)
    if content["bytes_total"] > CAP_BYTES:
        seen, hint = f"{content['bytes_total']:,} bytes with code", "compress it: python -m reference.export"
        raise UsageError(f"{checkpoint.name} is too large to submit", seen=seen, expected=f"{CAP_BYTES:,}", hint=hint)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        folder = Path(temporary) / out.name
        folder.mkdir()
        shutil.copy(checkpoint, folder / checkpoint.name)
        (folder / "submission.json").write_text(json.dumps(content, indent=2) + "\n")
        (folder / "train.log").write_text(training + log_lines(content, checkpoint.name))
        (folder / "README.md").write_text(readme(content, result, checkpoint.name))
        folder.rename(out)
    return content


def command(
    checkpoint: Annotated[Path, typer.Argument(help="The artifact to submit.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    data: Annotated[list[Path], typer.Option(help="Validation shards.")],
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer, if not the one inside.")] = None,
    method: Annotated[str, typer.Option(help="discrete, mc or ar.")] = "discrete",
    steps: Annotated[int | None, typer.Option(help="T of the discrete bound, 128 by default.")] = None,
    samples: Annotated[int | None, typer.Option(help="K, draws a window.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    log: Annotated[Path | None, typer.Option(help="Training log; CHECKPOINT.log by default.")] = None,
    name: Annotated[str, typer.Option(help="Of the submission.")] = "reference masked diffusion model",
    author: Annotated[str, typer.Option(help="Of the submission.")] = "unnamed",
    seed: Annotated[int | None, typer.Option(help="Of the training run.")] = None,
) -> None:
    """Score an artifact and write the folder to submit."""
    content = write_submission(
        checkpoint, out, data=data, tokenizer=tokenizer, log=log, name=name, author=author, seed=seed,
        method=method, num_steps=steps, num_samples=samples, dtype=dtype, device=device,
    )  # fmt: skip
    typer.echo(f"{out}: val_bpb {content['val_bpb']:.4f}, {content['bytes_total']:,} bytes", err=True)


def main() -> NoReturn:
    """The command line: an error of input is one line on stderr and exit code 2, nothing half-written."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(command)
    run_command(app, prog_name="python -m reference.submission")


if __name__ == "__main__":
    main()
