"""``reference``: checkpoints that ``reference.train`` wrote."""

from __future__ import annotations

from typing import final

import torch

from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CheckpointError
from bpb_harness.networks.reference import ReferenceConfig, adapt, build_network
from bpb_harness.schedule import parse_schedule


@final
class ReferenceAdapter:
    """Checkpoints that ``reference.train`` wrote; the network refuses settings and tensors that are not its own."""

    name = "reference"

    def fits(self, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint says that it is one."""
        return checkpoint.adapter == self.name

    def load(self, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        """Build the network.

        Raises:
            CheckpointError: if config and tensors do not belong together, or weights are not finite; it names the file.
            UsageError: if the schedule's name is unknown.
        """
        try:
            network = build_network(ReferenceConfig.from_mapping(checkpoint.config), checkpoint.tensors).to(device)
        except CheckpointError as error:  # the network knows no file, and of two checkpoints it may be either
            what = f"{checkpoint.path.name}: {error.what}"
            raise CheckpointError(what, seen=error.seen, expected=error.expected, hint=error.hint) from None
        schedule = parse_schedule(checkpoint.schedule) if checkpoint.schedule else None
        return AdaptedModel(model=adapt(network, dtype), adapter=self.name, schedule=schedule)
