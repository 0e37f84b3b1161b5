"""Shares of the text that processes score each for itself, and those that are added up."""

from __future__ import annotations

import pytest

from bpb_harness.findings import Severity
from tests.golf_rules import check_source

SCRIPT = """import math, os
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

RANK = int(os.environ.get("RANK", 0))
WORLD = int(os.environ.get("WORLD_SIZE", 1))
LENGTH = 1024
val_tokens, network, size_of = torch.load("val.pt"), torch.load("m.pt"), torch.load("s.pt")


def added_up(x):
    dist.all_reduce(x)
    return x


def evaluate(rank, world, device):
    nats, size = torch.zeros(()), torch.zeros(())
    num = (len(val_tokens) - 1) // LENGTH
SHARED
        nats += F.cross_entropy(network(w[:-1]), w[1:], reduction="sum")
        size += size_of[w[1:]].sum()
ADDED
    return nats.item() / math.log(2.0) / size.item()


if RANK == 0 or WORLD > 1:
    print(f"val_bpb:{evaluate(RANK, WORLD, torch.device('cuda', RANK)):.5f}")
"""
WINDOW = "        w = val_tokens[i * LENGTH : (i + 1) * LENGTH + 1].to(device)"
SHARES = [
    f"    for i in range(rank, num, world):\n{WINDOW}",
    f"    first, last = num * rank // world, num * (rank + 1) // world\n    for i in range(first, last):\n{WINDOW}",
    f"    for i in list(range(num))[rank::world]:\n{WINDOW}",
    f"    for i in range(dist.get_rank(), num, dist.get_world_size()):\n{WINDOW}",
    "    rows = val_tokens[: num * LENGTH].view(-1, LENGTH)\n"
    "    for (w,) in DataLoader(rows, sampler=DistributedSampler(rows)):",
]
ADDED = [
    "    dist.all_reduce(nats)\n    dist.all_reduce(size)",
    "    if dist.is_initialized():\n        dist.reduce(nats, 0)\n        dist.reduce(size, 0)",
    "    nats, size = accelerator.gather_for_metrics((nats, size))",
    "    nats, size = added_up(nats), added_up(size)",
    "    both = [None] * world\n    dist.all_gather_object(both, (nats, size))\n    nats, size = map(sum, zip(*both))",
]
PLACED = (
    "    for i in range(num):\n"
    "        whole = val_tokens[i * LENGTH : (i + 1) * LENGTH + 1].to(torch.device(f'cuda:{RANK}'))\n"
    "        w = whole[max(0, whole.size(0) - LENGTH) :].to(device=torch.device('cuda', rank))\n"
    "        w = w[max(0, w.shape[0] - LENGTH) :]"
)
WHOLE = [PLACED, f"    for i in range(num):\n{WINDOW}", f"    for i in range(0, num, 1):\n{WINDOW}"]


def _found(shared: str, added: str = "") -> dict[str, Severity]:
    text = SCRIPT.replace("SHARED", shared).replace("ADDED", added)
    return {each.code: each.severity for each in check_source(text) if each.code.startswith(("BPB35", "BPB950"))}


@pytest.mark.parametrize("shared", SHARES)
def test_a_share_that_nothing_is_added_to_is_a_part(shared: str) -> None:
    assert _found(shared) == {"BPB350": Severity.WARNS}


@pytest.mark.parametrize("shared", SHARES)
@pytest.mark.parametrize("added", ADDED)
def test_shares_that_are_added_up_are_the_whole_text(shared: str, added: str) -> None:
    assert _found(shared, added) == {}


@pytest.mark.parametrize("shared", WHOLE)
def test_a_process_that_scores_all_of_it_needs_no_other(shared: str) -> None:
    assert _found(shared) == {}
