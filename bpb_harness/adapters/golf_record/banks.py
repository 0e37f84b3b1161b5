"""Matrices of all blocks stacked into four tensors, as some records train and save them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from bpb_harness.adapters.accounting.account import Account
from bpb_harness.errors import CheckpointError

# bank -> the matrices that it holds, first those of one name for every block, then those of the next
BANKS: Mapping[str, tuple[str, ...]] = {
    "qo_bank": ("attn.c_q", "attn.proj"),
    "kv_bank": ("attn.c_k", "attn.c_v"),
    "mlp_up_bank": ("mlp.fc",),
    "mlp_down_bank": ("mlp.proj",),
}


def is_banked(tensors: Mapping[str, Tensor]) -> bool:
    """Whether matrices are stacked."""
    return all(name in tensors for name in BANKS)


def taken_apart(account: Account, num_blocks: int) -> dict[str, Tensor]:
    """The matrices of each block under the names that files without banks have; none of a file without banks.

    Raises:
        CheckpointError: for a bank of another number of matrices than the blocks have.
    """
    if not is_banked(account.checkpoint.tensors):
        return {}
    matrices: dict[str, Tensor] = {}
    for bank, parts in BANKS.items():
        rows = account.take(bank)
        if rows.ndim != 3 or len(rows) != len(parts) * num_blocks:
            raise CheckpointError(
                f"{account.checkpoint.path.name}: {bank}", seen=list(rows.shape),
                expected=f"{len(parts) * num_blocks} matrices, {len(parts)} for each of {num_blocks} blocks",
            )  # fmt: skip
        for part, name in enumerate(parts):
            for block in range(num_blocks):
                matrices[f"blocks.{block}.{name}.weight"] = rows[part * num_blocks + block]
    return matrices
