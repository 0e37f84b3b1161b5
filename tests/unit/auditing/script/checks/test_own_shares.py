"""Shares of the text that processes score each for itself, and those that are added up."""

from __future__ import annotations

import pytest

from bpb_harness.findings import Finding, Severity
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


CUT = """    share = val_tokens[len(val_tokens) * rank // world : len(val_tokens) * (rank + 1) // world + 1]
    most = MOST
    share = share[: min(len(share), most + 1)]
    for i in range(0, len(share), LENGTH):
        w = share[i : i + LENGTH + 1].to(device)"""


def _cut(most: str, shared: str = CUT) -> Finding | None:
    text = SCRIPT.replace("SHARED", shared.replace("MOST", most)).replace("ADDED", ADDED[0])
    return next((each for each in check_source(text) if each.code == "BPB350"), None)


def test_the_beginnings_of_shares_are_not_that_of_the_text() -> None:
    found = _cut("max(1_000_000 // max(world, 1), LENGTH)")
    assert found is not None
    assert found.message.startswith(
        "Of each process's share of the text the beginning alone is scored, together about 1,000,00"
    )
    assert "not the whole split" in found.message
    assert found.evidence["is_first"] is False


def test_a_limit_of_each_share_is_said_to_be_one() -> None:
    found = _cut("1_000_000")
    assert found is not None
    assert "Of each process's share of the text at most the first 1,000,00" in found.message
    assert "num_tokens" not in found.evidence


def test_shares_that_may_hold_no_more_than_their_limit_are_the_whole() -> None:
    assert _cut("20_000_000") is None


@pytest.mark.parametrize("placed", ["", ".to(torch.device(f'cuda:{RANK}'))", ".to(device, non_blocking=True)"])
def test_the_beginning_of_a_text_that_is_dealt_out_afterwards_is_one(placed: str) -> None:
    text = f"    val = val_tokens{placed}\n    val = val[:1_000_000]\n"
    for shared in (
        "    for i in range(rank, len(val) // LENGTH, world):\n        w = val[i * LENGTH : (i + 1) * LENGTH + 1]",
        "    share = val[len(val) * rank // world : len(val) * (rank + 1) // world + 1]\n"
        "    for i in range(0, len(share), LENGTH):\n        w = share[i : i + LENGTH + 1]",
    ):
        found = _cut("", text + shared)
        assert found is not None
        assert found.message.startswith("At most the first 1,000,000 tokens")
