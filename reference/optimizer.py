"""Optimizers, their learning rates, and the moving average of the weights.

Matrices inside the blocks are trained by Muon, everything else by AdamW. Muon orthogonalises the momentum of a matrix
(Jordan et al. 2024, "Muon: an optimizer for hidden layers"); embedding and head are left out, as its authors advise.

``torch.optim.Muon`` (torch 2.9) takes one matrix after another, thousands of small kernels a step. The one below takes
all matrices of a shape at once and is otherwise the same: a test holds it against torch's.

Normalised, the iteration is Polar Express (Amsel et al. 2025, arXiv 2505.16932), which ends nearer to 1; every row of
an update is divided by the root of its mean square over past steps, and the whole brought back to its size (NorMuon, Li
et al. 2025, arXiv 2510.05491); and a weight decays where its update has its sign (Chen et al. 2025, arXiv 2510.12402).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from bpb_harness.networks.reference import Attention, ReferenceTransformer

WARM_UP = 0.02  # of the run, rising linearly
DECAY = 0.6  # of the run, falling linearly to zero

_NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5  # Jordan's quintic: steep at 0, near 1 on the rest of (0, 1]
# The best quintic for what the ones before it leave, each a little damped, for singular values from 0.001 on.
_POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
_POLAR_EXPRESS_MARGIN = 1.02  # it diverges soon beyond 1
_ROW_SQUARES_DECAY = 0.95


def learning_rate_factor(progress: float) -> float:
    """Factor on every learning rate at ``progress`` in [0, 1]: warm-up, plateau, linear decay to 0."""
    return max(0.0, min(1.0, (progress + 1e-3) / WARM_UP, (1.0 - progress) / DECAY))


def orthogonalised(matrices: Tensor, *, polar_express: bool = False) -> Tensor:
    """U V^T of each matrix U S V^T, roughly: singular values come out between 0.7 and 1.2; (n, R, C)."""
    # Where bfloat16 products are fast, their rounding is far below the iteration's own error.
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    x = x / _POLAR_EXPRESS_MARGIN if polar_express else x
    for a, b, c in _POLAR_EXPRESS if polar_express else _NEWTON_SCHULZ:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


@dataclass(frozen=True)
class _Share:
    """What parameters of one shape and group contribute to a batch: their momenta, (n, R, C)."""

    group: dict[str, Any]
    parameters: list[nn.Parameter]
    ahead: Tensor

    @property
    def stands(self) -> bool:
        """Whether the matrices are higher than wide."""
        return self.ahead.shape[1] > self.ahead.shape[2]


class Muon(Optimizer):
    """Nesterov momentum, orthogonalised, all matrices of a shape in one batch, lying or standing.

    Args:
        params: matrices, or groups of them; a group's ``num_matrices`` says how many lie stacked in each.
        lr: times sqrt(max(1, rows / columns)), the spectral norm of an update.
        weight_decay: decoupled.
        momentum: of the gradient's moving average.
        normalised: whether rows are brought to one size, and weights decay where their update has their sign.
    """

    def __init__(
        self, params: Iterable[Any], *, lr: float, weight_decay: float, momentum: float = 0.95, num_matrices: int = 1,
        normalised: bool = False,
    ) -> None:  # fmt: skip
        self._normalised = normalised
        super().__init__(
            params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "num_matrices": num_matrices}
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            if "pieces" in group:  # what a saved run of before calls it
                group["num_matrices"] = group.pop("pieces")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        assert closure is None
        batches: dict[tuple[int, ...], list[_Share]] = {}
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for parameters in by_shape.values():
                ahead = self._momentum(parameters, group["momentum"], group["num_matrices"])
                lying = tuple(sorted(ahead.shape[1:]))
                batches.setdefault(lying, []).append(_Share(group, parameters, ahead))
        for shares in batches.values():
            self._update(shares)

    def _update(self, shares: list[_Share]) -> None:
        """Orthogonalise matrices of one shape together, those that stand higher than wide transposed, and apply."""
        lying = [share.ahead.mT if share.stands else share.ahead for share in shares]
        done = orthogonalised(torch.cat(lying) if len(lying) > 1 else lying[0], polar_express=self._normalised)
        for share, batch in zip(shares, torch.split(done, [len(each) for each in lying]), strict=True):
            group, parameters = share.group, list[Tensor](share.parameters)
            updates = batch.mT if share.stands else batch
            lr = group["lr"] * math.sqrt(max(1.0, updates.shape[1] / updates.shape[2]))
            decay = group["lr"] * group["weight_decay"]
            if self._normalised:
                updates = self._rows_of_one_size(parameters[0], updates)
            each = list(updates.reshape(-1, *parameters[0].shape))
            if self._normalised:
                shrunk = [(update * weight > 0) * weight for update, weight in zip(each, parameters, strict=True)]
                torch._foreach_add_(parameters, shrunk, alpha=-decay)
            else:
                torch._foreach_mul_(parameters, 1.0 - decay)
            torch._foreach_add_(parameters, each, alpha=-lr)

    def _rows_of_one_size(self, first: Tensor, updates: Tensor) -> Tensor:
        """(n, R, C) divided by what their rows have been; the mean squares of a share are kept with its first."""
        squares, state = updates.square().mean(dim=2, keepdim=True), self.state[first]
        past: Tensor = state.setdefault("row_squares", torch.zeros_like(squares))
        past.lerp_(squares, 1.0 - _ROW_SQUARES_DECAY)
        even = updates * torch.rsqrt(past + 1e-10)
        size: Tensor = updates.norm(dim=(1, 2), keepdim=True) / even.norm(dim=(1, 2), keepdim=True).clamp(min=1e-10)
        return even * size

    def _momentum(self, parameters: list[nn.Parameter], momentum: float, num_matrices: int) -> Tensor:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        averages = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            averages.append(state["momentum_buffer"])
        torch._foreach_lerp_(averages, gradients, 1.0 - momentum)
        ahead = torch.stack(torch._foreach_lerp(gradients, averages, momentum))
        return ahead.view(len(parameters) * num_matrices, -1, ahead.shape[-1])


def make_optimizers(
    network: ReferenceTransformer, *, lr: float, muon_lr: float, weight_decay: float, normalised: bool = False
) -> list[Optimizer]:
    """AdamW for embedding, head and what conditions on time; Muon for the matrices inside the blocks.

    Each group remembers its ``initial_lr``.

    Args:
        network: whose parameters they update.
        lr: of AdamW.
        muon_lr: of Muon; 0 leaves everything to AdamW.
        weight_decay: decoupled, of the matrices inside the blocks.
        normalised: whether Muon's updates are; see :class:`Muon`.
    """
    inside = [parameter for parameter in network.blocks.parameters() if parameter.ndim == 2]
    chosen = {id(parameter) for parameter in inside}
    outside = [parameter for parameter in network.parameters() if id(parameter) not in chosen]
    groups: list[dict[str, Any]] = [{"params": outside, "weight_decay": 0.0}]
    optimizers: list[Optimizer] = []
    if muon_lr > 0.0:
        # Queries, keys and values share a matrix for speed; they are three maps all the same.
        joint = [module.qkv.weight for module in network.modules() if isinstance(module, Attention)]
        threefold = {id(parameter) for parameter in joint}
        single = [parameter for parameter in inside if id(parameter) not in threefold]
        split = [{"params": joint, "num_matrices": 3}, {"params": single, "num_matrices": 1}]
        optimizers.append(Muon(split, lr=muon_lr, weight_decay=weight_decay, normalised=normalised))
    else:
        groups.append({"params": inside, "weight_decay": weight_decay})
    fused = outside[0].device.type == "cuda"
    optimizers.append(AdamW(groups, lr=lr, betas=(0.9, 0.95), eps=1e-10, fused=fused))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


class MovingAverage:
    """Exponential moving average of a network's weights: what is scored and shipped.

    Args:
        network: whose weights are averaged; the average starts as a copy of them.
        decay: weight of the past at every step, reached gradually so that the first weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._names = [name for name, _ in network.named_parameters()]
        self._live = list[Tensor](network.parameters())
        self._average = [parameter.detach().clone() for parameter in self._live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number ``step``, counted from 1."""
        decay = min(self.decay, step / (step + 10.0))
        torch._foreach_lerp_(self._average, self._live, 1.0 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The average, under the network's names."""
        return dict(zip(self._names, self._average, strict=True))

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved average."""
        for name, tensor in zip(self._names, self._average, strict=True):
            tensor.copy_(state[name])
