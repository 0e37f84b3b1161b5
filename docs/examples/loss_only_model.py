"""Scoring a model class that returns a loss instead of logits."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional


class TheirModel(nn.Module):
    """Stands for the class in your training script: its forward pass ends in a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(513, 16)  # 512 tokens and the mask
        self.mix = nn.Linear(16, 16)
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, xt: Tensor, targets: Tensor) -> Tensor:
        hidden = torch.tanh(self.mix(self.embed(xt)))
        logits = functional.linear(hidden, self.embed.weight)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Denoiser:
    """What the harness needs: four facts, and logits. The loss, its weights and its masks stay outside."""

    vocab_size = 512  # clean tokens 0 .. 511
    mask_token_id = 512
    context_length = 128
    time_conditioned = False
    schedule = "loglinear[0.001]"

    def __init__(self, model: TheirModel) -> None:
        self.model = model

    def logits(self, xt: Tensor, level: object) -> Tensor:
        """The forward pass again, up to the logits."""
        del level  # a time-conditioned model reads level.t, level.alpha_t or level.sigma
        hidden = torch.tanh(self.model.mix(self.model.embed(xt)))
        return functional.linear(hidden, self.model.embed.weight)


def load(checkpoint_path: Path, device: torch.device) -> Denoiser:
    """What --model names."""
    model = TheirModel()
    model.load_state_dict(torch.load(checkpoint_path, map_location="cpu", weights_only=True))
    return Denoiser(model.to(device).eval())


if __name__ == "__main__":  # the last line of the training script: python loss_only_model.py their_model.pt
    torch.save(TheirModel().state_dict(), sys.argv[1])
