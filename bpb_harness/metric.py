"""Bits per byte of a validation set as a ``torchmetrics.Metric``, for training loops that have their batches already.

Needs torchmetrics: the extra ``torchmetrics``, or ``pip install torchmetrics``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, final

import torch
from torch import Tensor

from bpb_harness.denoiser import Denoiser
from bpb_harness.errors import NumericsError, UsageError
from bpb_harness.estimators.nelbo import Nelbo, nelbo
from bpb_harness.schedule import NoiseSchedule
from bpb_harness.units import nats_to_bits

try:
    from torchmetrics import Metric
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "bpb_harness.metric needs torchmetrics: pip install torchmetrics", name=error.name
    ) from error

_MAX_BYTES = 1 << 40  # of a batch: what is more is no number of bytes, and 2^23 such batches can be counted


@final
class BitsPerByte(Metric):
    """The bound of :func:`bpb_harness.nelbo` over all batches, in bits per byte.

    Masks depend on the seed and on the batch's own tokens alone: a batch has the same ones in every epoch and in
    whichever process it lands. Scores of two epochs so differ by what was learnt, and less by luck.

    Every state is a sum, so that processes add up; they stay in float64 whatever they are converted to. The network is
    called as it is, in the mode that it is in. Nothing is kept of a batch but its sums.

    Args:
        schedule: the noise schedule or its name; None: the network's own ``schedule``.
        num_steps: T of the discrete bound; None: the continuous bound.
        num_samples: K, calls of the network a batch.
        seed: of the masks.
        **settings: of ``torchmetrics.Metric``.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    sums: Tensor  # nats; over batches: nats^2, nats bytes, bytes^2
    counts: Tensor  # bytes, tokens, rows, batches

    def __init__(
        self, *, schedule: str | NoiseSchedule | None = None, num_steps: int | None = None, num_samples: int = 1,
        seed: int = 0, **settings: Any,
    ) -> None:  # fmt: skip
        super().__init__(**settings)
        if not isinstance(seed, Integral) or isinstance(seed, bool):
            raise UsageError("BitsPerByte: seed", seen=repr(seed), expected="a whole number")
        self.schedule: str | NoiseSchedule | None = schedule
        self.num_steps: int | None = num_steps
        self.num_samples: int = num_samples
        self.seed: int = seed
        self.add_state("sums", torch.zeros(4, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        network: Denoiser,
        x0: Tensor,
        num_bytes: int | Tensor,
        context_lengths: Tensor | Sequence[int] | None = None,
    ) -> None:
        """Add a batch.

        Args:
            network: a Denoiser, without a wrapper such as DistributedDataParallel.
            x0: clean tokens, (B, L).
            num_bytes: bytes that the tokens which are paid for spell: of the batch, or of each row, (B,).
            context_lengths: how many tokens of each row, the first, are visible and not paid for, (B,).

        Raises:
            UsageError: for anything that is not as described here.
        """
        total = _whole_sum(num_bytes, len(x0) if isinstance(x0, Tensor) and x0.ndim else 0)
        found: Nelbo = nelbo(
            network, x0, schedule=self.schedule, num_steps=self.num_steps, num_samples=self.num_samples,
            context_lengths=context_lengths, seed=_seed_of(x0, self.seed),
        )  # fmt: skip
        nats = found.nats.sum().to(self.sums)
        # Not in place: states may be inference tensors, which nothing may write to outside inference mode.
        self.sums = self.sums + torch.stack([nats, nats * nats, nats * total, torch.full_like(nats, float(total) ** 2)])
        self.counts = self.counts + torch.tensor([total, int(found.num_tokens.sum()), len(x0), 1]).to(self.counts)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> BitsPerByte:
        """Moves states between devices and never to another type: in less than float64 they would be another score."""

        def moved(value: Tensor) -> Tensor:
            there = fn(value)
            return there if there.dtype == value.dtype else value.to(there.device)

        super()._apply(moved, exclude_state)
        return self

    def compute(self) -> dict[str, Tensor]:
        """The score of all batches of all processes, float64 numbers each.

        Returns:
            ``bits_per_byte``; ``stderr``, its standard error over masks and over the text, bits per byte, NaN of a
            single batch; ``bits_per_token``; ``num_bytes``, ``num_tokens``, ``num_rows``, ``num_batches``. The error
            takes batches for independent pieces of the text (MATHS.md, equation 20, with batches for windows).

        Raises:
            NumericsError: if the bound is not a number, or there were no bytes.
        """
        nats, square, cross, square_bytes = self.sums.tolist()
        num_bytes, num_tokens, num_rows, num_batches = self.counts.tolist()
        if not math.isfinite(nats):
            raise NumericsError(
                "BitsPerByte: the bound of the batches so far", seen=nats, expected="a finite number",
                hint="the network's logits hold NaN or infinity, or give a token of the text no mass at all",
            )  # fmt: skip
        if num_bytes == 0:
            raise NumericsError("BitsPerByte: bytes of the batches so far", seen=0, expected="1 or more")
        ratio, stderr = nats / num_bytes, math.nan
        if num_batches > 1:
            spread = max(square - 2.0 * ratio * cross + ratio * ratio * square_bytes, 0.0)
            stderr = math.sqrt(spread * num_batches / (num_batches - 1)) / num_bytes
        values = {
            "bits_per_byte": nats_to_bits(ratio), "stderr": nats_to_bits(stderr),
            "bits_per_token": nats_to_bits(nats / num_tokens), "num_bytes": num_bytes, "num_tokens": num_tokens,
            "num_rows": num_rows, "num_batches": num_batches,
        }  # fmt: skip
        return {key: torch.tensor(float(value), dtype=torch.float64) for key, value in values.items()}


def _seed_of(x0: Tensor, seed: int) -> int:
    """A seed of its own for each batch, the same wherever and whenever the batch is seen."""
    if not isinstance(x0, Tensor):
        return 0  # nelbo refuses it
    content = f"{seed}/{tuple(x0.shape)}/".encode() + x0.detach().to("cpu", torch.int64).numpy().tobytes()
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")


def _whole_sum(num_bytes: int | Tensor, batch: int) -> int:
    """The bytes of a batch."""
    if isinstance(num_bytes, Tensor):
        seen = f"{tuple(num_bytes.shape)} of {num_bytes.dtype}"
        is_whole = not num_bytes.is_floating_point() and not num_bytes.is_complex() and num_bytes.dtype != torch.bool
        num_bytes = num_bytes.to(torch.int64)  # narrower types hold no limit to be compared with, nor a sum
        is_right = is_whole and num_bytes.shape in ((), (batch,)) and bool((num_bytes >= 0).all())
        is_right = is_right and bool((num_bytes < _MAX_BYTES).all())
    else:
        is_right = isinstance(num_bytes, Integral) and not isinstance(num_bytes, bool) and 0 <= num_bytes < _MAX_BYTES
        seen = repr(num_bytes)[:80]
    if not is_right:
        raise UsageError(
            "BitsPerByte: num_bytes", seen=seen, expected=f"a whole number of the batch, or of each of {batch} rows",
            hint="bpb_harness.byte_count counts what tokens spell",
        )  # fmt: skip
    return int(num_bytes.sum()) if isinstance(num_bytes, Tensor) else int(num_bytes)
