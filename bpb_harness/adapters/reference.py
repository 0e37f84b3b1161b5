"""``reference``: checkpoints that ``reference.train`` wrote."""

from __future__ import annotations

from typing import final

import torch

from bpb_harness.adapters.accounting.account import Account, AccountedAdapter
from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.networks.reference import ReferenceConfig, adapt, build_network


@final
class ReferenceAdapter(AccountedAdapter):
    """Checkpoints that ``reference.train`` wrote."""

    name = "reference"

    def fits(self, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint says that it is one."""
        return checkpoint.adapter == self.name

    def build(self, account: Account, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        """Build the network.

        Raises:
            CheckpointError: if config and tensors do not belong together.
            UsageError: if the schedule's name is unknown.
        """
        checkpoint = account.checkpoint
        config = ReferenceConfig.from_mapping(checkpoint.config)
        account.set_settings_aside(".*")  # an unknown one was refused
        network = build_network(config, checkpoint.tensors).to(device)
        account.set_aside(".*")  # so was a tensor that does not belong
        return AdaptedModel(model=adapt(network, dtype), adapter=self.name, schedule=account.schedule())
