"""The settings of an evaluation, checked as far as they can be before anything is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import torch

from bpb_harness.distributed import DEVICES, pick_device
from bpb_harness.errors import UsageError
from bpb_harness.estimators import (
    AutoregressiveCode,
    Bound,
    ChainRule,
    ContinuousBound,
    DiscreteBound,
    ExactBound,
)
from bpb_harness.estimators.chain import Order
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear, NoiseSchedule

Method = Literal["discrete", "mc", "chain", "ar", "exact"]
METHODS: tuple[Method, ...] = ("discrete", "mc", "chain", "ar", "exact")
DEFAULT_STEPS, DEFAULT_SAMPLES = 128, 2
# Far beyond what changes a score: at a million steps the bounds of a real model differ by 1e-6 bits a byte.
MAX_STEPS, MAX_SAMPLES = 1_000_000, 10_000
MAX_STEPS_OF_ALL = 10_000  # every one of them is a draw of every window
_CPU_BATCH_TOKENS = 8_192
# Of a GPU: of a full batch every multiprocessor gets the same number of tiles of 128 tokens; none waits for a last few.
_BATCH_TOKENS_OF_MULTIPROCESSOR = 1_024


@final
@dataclass(frozen=True)
class Settings:
    """What of, and how, a checkpoint is scored; every default is what the command takes.

    Attributes:
        method: discrete, mc, chain, ar or exact.
        num_steps: T of the discrete bound; with ``exact`` None means the continuous bound.
        num_samples: K draws a window, or "all" nodes of the grid; None is 2, and 1 a pass with ``tolerance``. With
            ``exact``, for the continuous bound of a network that is told the noise level: K levels a mask, 2 or more.
        compare: run both bounds on coupled draws.
        order: of the chain rule.
        tokens_per_step: of the chain rule.
        stride: of sliding autoregressive windows.
        per_document: autoregressive windows end at document borders.
        byte_rule: official, exact or raw; none counts no bytes and scores in bits per token.
        context_length: tokens a window; None is the network's own.
        limit: score only the first so many windows.
        tail: score or drop the last, shorter window.
        seed: of all randomness.
        device: auto, cpu or cuda.
        dtype: float32 or bfloat16.
        batch_tokens: forward tokens a call of the network; None chooses. It never changes the score.
        tolerance: as many passes as pilot draws say that half a 95 % interval of this many bits per byte takes.
        resume: keep finished draws in this file, and take those that it holds already.
        compile_network: compile the network of a sampled bound; None means on a GPU.
        check_contract: test the network's behaviour before its score is trusted.
        with_windows: also make a table with one row a window.
        with_tokens: also make a table with one row a token.
    """

    method: Method = "discrete"
    num_steps: int | None = None
    num_samples: int | Literal["all"] | None = None
    compare: bool = False
    order: Order = "left-to-right"
    tokens_per_step: int = 1
    stride: int | None = None
    per_document: bool = False
    byte_rule: Literal["official", "exact", "raw", "none"] = "official"
    context_length: int | None = None
    limit: int | None = None
    tail: Literal["score", "drop"] = "score"
    seed: int = 0
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    batch_tokens: int | None = None
    tolerance: float | None = None
    resume: Path | None = None
    compile_network: bool | None = None
    check_contract: bool = True
    with_windows: bool = False
    with_tokens: bool = False

    def __post_init__(self) -> None:
        _one_of("--method", self.method, METHODS)
        _one_of("--bytes", self.byte_rule, ("official", "exact", "raw", "none"))
        _one_of("--tail", self.tail, ("score", "drop"))
        _one_of("--device", self.device, DEVICES)
        _one_of("--dtype", self.dtype, ("float32", "bfloat16"))
        for flag, value in (
            ("--steps", self.num_steps),
            ("--samples", None if self.num_samples == "all" else self.num_samples),
            ("--context", self.context_length),
            ("--limit", self.limit),
            ("--batch-tokens", self.batch_tokens),
        ):
            if value is not None and not (isinstance(value, int) and value >= 1):
                raise UsageError(flag, seen=repr(value), expected="a whole number, 1 or more")
        draws_all = self.num_samples == "all"
        for flag, given, most in (
            ("--steps", self.num_steps, MAX_STEPS),
            ("--steps with --samples all", self.num_steps if draws_all else 0, MAX_STEPS_OF_ALL),
            ("--samples", self.num_samples, MAX_SAMPLES),
        ):
            if isinstance(given, int) and given > most:
                raise UsageError(flag, seen=f"{given:,}", expected=f"at most {most:,}")
        RandomStreams(self.seed)
        self._check_sampling()
        self._check_bytes()
        if self.compare and (self.method not in {"discrete", "mc"} or self.num_samples == "all"):
            raise UsageError(
                "--compare couples sampled draws of the two bounds",
                seen=f"--method {self.method}" + (" --samples all" if self.num_samples == "all" else ""),
                expected="--method discrete or mc, and a number of samples",
            )
        for flag, given, method in (
            ("--stride", self.stride is not None, "ar"),
            ("--per-document", self.per_document, "ar"),
            ("--order", self.order != "left-to-right", "chain"),
            ("--tokens-per-step", self.tokens_per_step != 1, "chain"),
        ):
            if given and self.method != method:
                raise UsageError(flag, seen=f"--method {self.method}", expected=f"--method {method}")
        if self.num_steps is not None and self.method not in {"discrete", "exact"} and not self.compare:
            raise UsageError("--steps", seen=f"--method {self.method}", expected="--method discrete or exact")
        if self.num_samples is not None and self.method not in {"discrete", "mc"}:
            self._check_samples_of_enumeration(self.num_samples)

    def _check_samples_of_enumeration(self, num_samples: int | Literal["all"]) -> None:
        """``exact`` draws noise levels for the continuous bound alone, two a mask or more."""
        if self.method != "exact" or self.num_steps is not None:
            seen = f"--method {self.method}" + (" --steps" if self.method == "exact" else "")
            raise UsageError("--samples", seen=seen, expected="--method discrete or mc, or exact without --steps")
        if num_samples == "all":
            raise UsageError(
                "--samples all with --method exact", expected="a number", hint="the integral has no last node"
            )
        ExactBound(LogLinear(), None, num_samples)  # refuses what is too few

    def _check_bytes(self) -> None:
        """Refuse flags whose numbers are bits per byte where no bytes are counted."""
        for flag, given in (("--tolerance", self.tolerance is not None), ("--compare", self.compare)):
            if given and self.byte_rule == "none":
                raise UsageError(
                    f"{flag} is in bits per byte", seen="--bytes none", expected="a rule that counts bytes",
                    hint=f"leave out {flag}",
                )  # fmt: skip

    def _check_sampling(self) -> None:
        """Refuse flags of sampled bounds where nothing is sampled."""
        if self.tolerance is not None and not 0.0 < self.tolerance < math.inf:
            raise UsageError("--tolerance", seen=self.tolerance, expected="bits per byte, more than 0")
        for flag, given in (("--tolerance", self.tolerance), ("--resume", self.resume)):
            if given is not None and self.method not in {"discrete", "mc"}:
                raise UsageError(flag, seen=f"--method {self.method}", expected="--method discrete or mc")
        if self.resume is not None and self.with_tokens:
            raise UsageError(
                "--resume keeps sums of windows, not of tokens", seen="--tokens", expected="one of the two"
            )

    def bounds(self, schedule: NoiseSchedule) -> tuple[Bound, ...]:
        """The sampled bounds to run, the headline first; empty for the other methods."""
        default = DEFAULT_SAMPLES if self.tolerance is None else 1
        samples = default if self.num_samples is None else self.num_samples
        steps = self.num_steps or DEFAULT_STEPS
        wanted = {"discrete": ("discrete", "mc"), "mc": ("mc", "discrete")}.get(self.method, ())
        made: list[Bound] = []
        for method in wanted if self.compare else wanted[:1]:
            made.append(
                DiscreteBound(schedule, samples, steps) if method == "discrete" else ContinuousBound(schedule, samples)
            )
        return tuple(made)

    def window_estimator(self, schedule: NoiseSchedule | None) -> ExactBound | ChainRule | AutoregressiveCode:
        """The estimator of a method that does not sample masks."""
        if self.method == "ar":
            return AutoregressiveCode(self.stride)
        assert schedule is not None
        if self.method == "chain":
            return ChainRule(schedule, RandomStreams(self.seed), self.order, self.tokens_per_step)
        samples = DEFAULT_SAMPLES if self.num_samples is None else self.num_samples
        assert samples != "all"
        return ExactBound(schedule, self.num_steps, samples, RandomStreams(self.seed))

    def order_in_signature(self) -> str | None:
        """How tokens are ordered, where the method leaves a choice."""
        if self.method == "chain":
            return self.order + (f"/{self.tokens_per_step}" if self.tokens_per_step > 1 else "")
        return "per-document" if self.per_document else None

    def torch_device(self) -> torch.device:
        """The device to run on.

        Raises:
            UsageError: if cuda is asked for and there is none.
        """
        return pick_device(self.device)

    def compiles(self, device: torch.device) -> bool:
        """Whether the network is compiled."""
        return device.type == "cuda" if self.compile_network is None else self.compile_network

    def torch_dtype(self) -> torch.dtype:
        """The network's arithmetic."""
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.dtype]

    def tokens_per_batch(self, device: torch.device) -> int:
        """Forward tokens a call."""
        if self.batch_tokens:
            return self.batch_tokens
        if device.type != "cuda":
            return _CPU_BATCH_TOKENS
        return _BATCH_TOKENS_OF_MULTIPROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count


def _one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(flag, seen=repr(value), expected=" or ".join(allowed))


def describe_device(device: torch.device, num_processes: int = 1) -> str:
    """The device in words, for the result."""
    if device.type == "cuda":
        name = f"cuda ({torch.cuda.get_device_name(device)})"
    else:
        name = f"cpu ({torch.get_num_threads()} threads)"
    return (f"{num_processes} x " if num_processes > 1 else "") + f"{name}, torch {torch.__version__}"
