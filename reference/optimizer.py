"""Optimizers and their learning rates.

Matrices inside the blocks are trained by Muon where torch has it (2.9 and later), everything else by AdamW. Muon
orthogonalises the momentum of a matrix (Jordan et al. 2024, "Muon: an optimizer for hidden layers"); embedding and
head are left out, as its authors advise.
"""

from __future__ import annotations

import torch
from torch.optim import AdamW, Optimizer

from bpb_harness.adapters.reference import ReferenceTransformer

WARM_UP = 0.02  # of the run, rising linearly
DECAY = 0.6  # of the run, falling linearly to zero


def learning_rate_factor(progress: float) -> float:
    """Factor on every learning rate at ``progress`` in [0, 1]: warm-up, plateau, linear decay to 0."""
    return max(0.0, min(1.0, (progress + 1e-3) / WARM_UP, (1.0 - progress) / DECAY))


def make_optimizers(
    network: ReferenceTransformer, *, lr: float, muon_lr: float, weight_decay: float
) -> list[Optimizer]:
    """AdamW, and Muon where torch has it; each group remembers its ``initial_lr``.

    Args:
        network: whose parameters they update.
        lr: of AdamW.
        muon_lr: of Muon; 0 leaves everything to AdamW.
        weight_decay: decoupled, of the matrices inside the blocks.
    """
    inside = [parameter for parameter in network.blocks.parameters() if parameter.ndim == 2]
    chosen = {id(parameter) for parameter in inside}
    outside = [parameter for parameter in network.parameters() if id(parameter) not in chosen]
    fused = outside[0].device.type == "cuda"
    groups = [{"params": outside, "weight_decay": 0.0}]
    optimizers: list[Optimizer] = []
    muon = getattr(torch.optim, "Muon", None)
    if muon is not None and muon_lr > 0.0:
        optimizers.append(muon(inside, lr=muon_lr, weight_decay=weight_decay, momentum=0.95, nesterov=True))
    else:
        groups.append({"params": inside, "weight_decay": weight_decay})
    optimizers.append(AdamW(groups, lr=lr, betas=(0.9, 0.95), eps=1e-10, fused=fused))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers
