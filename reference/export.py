"""Write a compressed artifact: ``python -m reference.export ckpt.pt --out model.ptz --bits 6``.

Every matrix is rounded to integer levels, each row with a step of its own; the rest stays as it is. Levels are stored a
byte each, whatever ``--bits`` says, and the whole is compressed by xz: its entropy coder finds that six-bit levels of
bell-shaped weights hold about 5.3 bits, which packing them six to six would hide from it. The harness scores the
artifact as it is: ``bpb-eval model.ptz``.
"""

from __future__ import annotations

import io
import lzma
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import torch
import typer
from torch import Tensor

from bpb_harness.checkpoints import FORMAT, FORMAT_VERSION, Checkpoint, read_checkpoint
from bpb_harness.checkpoints.names import require_weights
from bpb_harness.cli._run import run as run_command
from bpb_harness.errors import CheckpointError, NumericsError, UsageError
from bpb_harness.whole_file import write_whole

CAP_BYTES = 16_000_000
BITS = (8, 6)
# A step a little below max / levels clips the largest weights of a row and rounds all others finer.
_SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        num_bytes: size of the file.
        num_parameters: of the network.
        relative_error: root mean square of the rounding error over that of the weights.
    """

    num_bytes: int
    num_parameters: int
    relative_error: float


def quantize_rows(weights: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Round a matrix to 2^bits - 1 levels, with the step of each row that rounds it best among a few.

    Args:
        weights: (R, C), finite.
        bits: 8 or fewer.

    Returns:
        levels, (R, C) int8, and steps, (R,) float16: their product is the matrix, roughly.
    """
    largest_level = 2 ** (bits - 1) - 1
    weights = weights.float()
    whole = weights.abs().amax(dim=1) / largest_level
    best_error = torch.full_like(whole, torch.inf)
    best_step = whole.half()
    for shrink in _SHRINKS:
        step = (whole * shrink).half()  # as it is stored, so that levels fit the step that they will meet
        error = (_levels(weights, step, largest_level) * step.float()[:, None] - weights).square().sum(dim=1)
        better = error < best_error
        best_error, best_step = torch.where(better, error, best_error), torch.where(better, step, best_step)
    return _levels(weights, best_step, largest_level).to(torch.int8), best_step


def _levels(weights: Tensor, step: Tensor, largest_level: int) -> Tensor:
    safe = torch.where(step > 0, step, 1.0).float()[:, None]  # a row of zeros, or one too small for float16
    return (weights / safe).round().clamp(-largest_level, largest_level)


def compress(checkpoint: Checkpoint, *, bits: int, keep_data: bool) -> bytes:
    """The artifact's bytes; the same checkpoint gives the same bytes.

    Args:
        checkpoint: a native one.
        bits: 8 or 6.
        keep_data: whether the record of validation data still holds, which is relative to the file's folder.
    """
    matrices = {name: tensor for name, tensor in checkpoint.tensors.items() if tensor.ndim == 2}
    rounded = {name: quantize_rows(tensor, bits) for name, tensor in matrices.items()}
    tokenizer = checkpoint.tokenizer
    content: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "adapter": checkpoint.adapter,
        "config": dict(checkpoint.config),
        "schedule": checkpoint.schedule,
        "data": dict(checkpoint.data) if keep_data and checkpoint.data else None,
        "tokenizer": None if tokenizer is None else torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8),
        "quantized": {name: levels for name, (levels, _) in rounded.items()},
        "scales": {name: step for name, (_, step) in rounded.items()},
        "tensors": {name: tensor for name, tensor in checkpoint.tensors.items() if name not in matrices},
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return lzma.compress(buffer.getvalue(), preset=6)


def export(source: Path, out: Path, *, bits: int = 8, cap_bytes: int = CAP_BYTES) -> Export:
    """Write a compressed artifact and read it back.

    Args:
        source: a checkpoint of the trainer's.
        out: ends in ``.ptz``; replaced only by a file that fits and that the harness reads.
        bits: 8 or 6.
        cap_bytes: the largest size.

    Raises:
        UsageError: for another suffix or number of bits.
        CheckpointError: if the source is not a native checkpoint, weights are NaN or infinite, or the artifact is
            larger than the cap.
        NumericsError: if rounded weights are not finite, as those of rows whose step is beyond float16.
    """
    if out.suffix != ".ptz":
        raise UsageError("--out", seen=repr(out.name), expected="a name that ends in .ptz")
    if bits not in BITS:
        raise UsageError("--bits", seen=bits, expected=" or ".join(map(str, BITS)))
    checkpoint = read_checkpoint(source)
    if checkpoint.layout != "native":
        raise CheckpointError(f"{source.name}", seen=f"layout {checkpoint.layout}", expected="a trainer's checkpoint")
    for tensor_name, tensor in checkpoint.tensors.items():
        require_weights(tensor, f"{source.name}: tensor {tensor_name!r}")
    same_folder = out.resolve().parent == source.resolve().parent
    packed = compress(checkpoint, bits=bits, keep_data=same_folder)
    num_parameters = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    if len(packed) > cap_bytes:
        hint = "pass --bits 6" if bits > min(BITS) else "train a smaller network"
        seen = f"{len(packed):,} bytes for {num_parameters:,} parameters in {bits} bits"
        raise CheckpointError("the artifact is too large", seen=seen, expected=f"at most {cap_bytes:,}", hint=hint)
    errors: list[float] = []

    def read_back(artifact: Path) -> None:
        error = _relative_error(checkpoint.tensors, read_checkpoint(artifact).tensors)
        if not math.isfinite(error):
            raise NumericsError(
                f"{source.name}: relative rounding error", seen=error, expected="a finite number",
                hint="its weights are beyond what steps of 16 bits can hold: train it again with smaller ones",
            )  # fmt: skip
        errors.append(error)

    write_whole(out, lambda file: file.write(packed), check=read_back)
    return Export(len(packed), num_parameters, errors[0])


def _relative_error(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    assert before.keys() == after.keys()
    differences = sum(float((after[name].double() - before[name].double()).square().sum()) for name in before)
    if not differences:  # of zeros too
        return 0.0
    return float((differences / sum(float(tensor.double().square().sum()) for tensor in before.values())) ** 0.5)


def command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of reference.train.")],
    out: Annotated[Path, typer.Option(help="Artifact to write, .ptz.")],
    bits: Annotated[int, typer.Option(help="Of a weight: 8 or 6.")] = 8,
    cap_bytes: Annotated[int, typer.Option(help="Refuse to write more.", min=1)] = CAP_BYTES,
) -> None:
    """Compress a checkpoint into an artifact that bpb-eval scores."""
    done = export(checkpoint, out, bits=bits, cap_bytes=cap_bytes)
    typer.echo(
        f"{out}: {done.num_bytes:,} bytes for {done.num_parameters:,} parameters in {bits} bits, "
        f"relative rounding error {done.relative_error:.2%}",
        err=True,
    )


def main() -> NoReturn:
    """The command line: an error of input is one line on stderr and exit code 2, nothing half-written."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(command)
    run_command(app, prog_name="python -m reference.export")


if __name__ == "__main__":
    main()
