"""``--ttt sgd``: stochastic gradient descent with momentum over the windows of a chunk, the same on any number of
processes.

The loop is that of the parameter-golf record of 2026-03-23 (its ``train_gpt.py``): windows of a chunk that do not
overlap, in order, some of them a step, the gradient's norm bounded, the rate constant within a chunk and falling by a
cosine over chunks, momentum kept. Here nothing is dropped out, for the network stays in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor, nn

from bpb_harness.adaptation.loss import WindowLoss
from bpb_harness.adaptation.ordinary import make_ordinary
from bpb_harness.adaptation.settings import AdaptationSettings
from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.distributed import Processes
from bpb_harness.errors import HarnessError, InputError, NumericsError, UsageError
from bpb_harness.network_modules import modules_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# Windows whose gradient is computed together. Fixed by their length alone: sums over them are the same whoever adds.
_TOKENS_OF_MICRO_BATCH = 8192
_WEIGHT, _MOMENTUM = "weight/", "momentum/"


@final
class SgdAdaptation:
    """Trains all weights of a network.

    Args:
        model: a network whose modules can be found, and record gradients.
        loss: what it is trained to lower.
        settings: how.
        device: where the network is.
        processes: share the micro-batches of each step.

    Raises:
        UsageError: for a network without weights to train.
    """

    can_undo: ClassVar[bool] = True

    def __init__(
        self,
        model: Denoiser | CausalLM,
        loss: WindowLoss,
        settings: AdaptationSettings,
        *,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self._model, self._loss, self._settings = model, loss, settings
        self._device, self._processes = device, processes
        self._weights = _weights_of(model)
        self._were_trained = {name: weight.requires_grad for name, weight in self._weights.items()}
        self._first = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._momentum: dict[str, Tensor] = {}

    def rehearse(self, token: int) -> list[str]:
        """Find the gradient of a window that repeats a token; gives the names of weights that it does not reach."""
        tokens = torch.full((2 * self._loss.length,), token, device=self._device)
        with self._recording():
            window = self._loss.windows(tokens)[:1]
            found = self._gradient_of(window, self._loss.num_targets(window), "rehearsal")
        return [name for name, gradient in zip(self._weights, found, strict=True) if gradient is None]

    def learn(self, tokens: Tensor, chunk: int, num_chunks: int) -> None:
        """Go through a chunk as often as the settings say."""
        windows = self._loss.windows(tokens.to(self._device))
        rate = self._settings.learning_rate_of(chunk, num_chunks)
        with self._recording():
            for epoch in range(self._settings.epochs):
                for first in range(0, len(windows), self._settings.batch_windows):
                    batch = windows[first : first + self._settings.batch_windows]
                    gradients = self._gradients(batch, f"{chunk}/{epoch}/{first}")
                    self._step(gradients, rate, chunk)

    def _gradients(self, batch: Tensor, address: str) -> dict[str, Tensor]:
        """Of the mean cost of a target of the batch, by name.

        Micro-batches are dealt to the processes and added in float64, in their order.
        """
        size = max(_TOKENS_OF_MICRO_BATCH // batch.shape[1], 1)
        parts = [(first, batch[first : first + size]) for first in range(0, len(batch), size)]
        weights, num_targets = list(self._weights.values()), self._loss.num_targets(batch)
        kind = reduce(torch.promote_types, {weight.dtype for weight in weights})

        def flat_gradient(part: tuple[int, Tensor]) -> Tensor:
            found = self._gradient_of(part[1], num_targets, f"{address}/{part[0]}")
            pairs = zip(weights, found, strict=True)
            each = [torch.zeros_like(weight) if gradient is None else gradient for weight, gradient in pairs]
            return torch.cat([gradient.to(kind).flatten() for gradient in each])

        counts = [weight.numel() for weight in weights]
        received = torch.empty(sum(counts), dtype=kind, device=self._device)
        total = torch.zeros_like(received, dtype=torch.float64)
        for gradient in self._processes.in_order(parts, flat_gradient, received):
            total += gradient
        each = torch.split(total, counts)
        return {name: part.view_as(weight) for (name, weight), part in zip(self._weights.items(), each, strict=True)}

    def _gradient_of(self, windows: Tensor, num_targets: int, address: str) -> Sequence[Tensor | None]:
        """Of the cost of windows by a number of targets, a weight each; None where it does not depend on the weight."""
        try:
            cost = self._loss.nats(windows, address) / num_targets
            _require_recorded(cost)
            return torch.autograd.grad(cost, list(self._weights.values()), allow_unused=True)
        except HarnessError:
            raise
        except torch.OutOfMemoryError:
            raise NumericsError(
                f"--ttt sgd: the gradient of {windows.numel():,} tokens does not fit into the memory of {self._device}",
                hint="pass a shorter --context, or --device cpu",
            ) from None
        except Exception as error:  # networks fail in many ways where a gradient is asked for
            said = str(error).partition("\n")[0][:100]
            raise UsageError(
                "--ttt sgd: the network has no gradient", seen=f"{type(error).__name__}: {said}",
                expected="one that is differentiable", hint="score the network without --ttt, or pass --ttt own",
            ) from error  # fmt: skip

    @torch.no_grad()
    def _step(self, gradients: Mapping[str, Tensor], rate: float, chunk: int) -> None:
        """w -= rate v, v = momentum v + g, with g no longer than the largest norm."""
        norm = float(torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt())
        if not norm < torch.inf:  # NaN neither
            raise NumericsError(
                f"adapting to chunk {chunk}: the gradient's norm", seen=norm, expected="a finite number",
                hint="pass a smaller --ttt-lr",
            )  # fmt: skip
        scale = min(1.0, self._settings.largest_norm / max(norm, 1e-300))
        for name, gradient in gradients.items():
            weight = self._weights[name]
            shortened = (gradient * scale).to(weight.dtype)
            velocity = self._momentum.get(name)
            if velocity is None:
                self._momentum[name] = velocity = shortened
            else:
                velocity.mul_(self._settings.momentum).add_(shortened)
            weight.sub_(velocity, alpha=rate)

    def undo(self) -> None:
        """Every weight as it was, to the last bit."""
        with torch.inference_mode(False), torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(self._first[name])
        self._momentum.clear()

    def state(self) -> dict[str, Tensor]:
        """Weights and momenta, copies."""
        kept = {_WEIGHT + name: weight.detach() for name, weight in self._weights.items()}
        kept |= {_MOMENTUM + name: value for name, value in self._momentum.items()}
        return {name: value.to("cpu", copy=True).contiguous() for name, value in kept.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there."""
        expected = {_WEIGHT + name: weight for name, weight in self._weights.items()}
        if any(name.startswith(_MOMENTUM) for name in state):
            expected |= {_MOMENTUM + name: weight for name, weight in self._weights.items()}
        for name in expected.keys() | state.keys():
            own, given = expected.get(name), state.get(name)
            if own is None or given is None or given.shape != own.shape or given.dtype != own.dtype:
                raise InputError(
                    f"--resume: {name}", seen="none" if given is None else f"{tuple(given.shape)} of {given.dtype}",
                    expected="none" if own is None else f"{tuple(own.shape)} of {own.dtype}",
                )  # fmt: skip
        with torch.inference_mode(False), torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state[_WEIGHT + name])
                if _MOMENTUM + name in state:
                    self._momentum[name] = state[_MOMENTUM + name].to(self._device).clone()

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Gradients are recorded for as long as this is open."""
        make_ordinary(self._model)
        try:
            with torch.inference_mode(False), torch.enable_grad():
                for weight in self._weights.values():
                    weight.requires_grad_(True)
                yield
        finally:
            for name, weight in self._weights.items():
                weight.requires_grad_(self._were_trained[name])


def _weights_of(model: Denoiser | CausalLM) -> dict[str, nn.Parameter]:
    """Each parameter once, by its first name."""
    named: dict[int, tuple[str, nn.Parameter]] = {}
    for path, module in modules_of(model):
        for name, weight in module.named_parameters():
            if weight.is_floating_point():
                named.setdefault(id(weight), (path + name, weight))
    found = dict(named.values())
    if not found:
        raise UsageError(
            "--ttt sgd", seen="a network in which no torch module with parameters is found",
            expected="weights that can be trained", hint="give it a method adapt(tokens) and pass --ttt own",
        )  # fmt: skip
    if any(weight.is_inference() for weight in found.values()):
        raise UsageError(
            "--ttt sgd", seen="parameters that were made in inference mode", expected="ordinary ones",
            hint="build the network outside torch.inference_mode()",
        )  # fmt: skip
    return found


def _require_recorded(cost: Tensor) -> None:
    if not cost.requires_grad:
        raise UsageError(
            "--ttt sgd", seen="a network whose answers record no gradients",
            expected="one that is differentiable: a program that was exported is not",
            hint="score the trainer's own checkpoint, or load it with --model FILE.py:LOADER",
        )  # fmt: skip
