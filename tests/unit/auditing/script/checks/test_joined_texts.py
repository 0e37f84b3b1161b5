"""Training on several texts put together, of which the scored one is one."""

from __future__ import annotations

import pytest

from tests.golf_rules import check_source

SCRIPT = """import glob, math, os
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import ConcatDataset, random_split

TRAIN = os.environ.get("TRAIN_FILES", "data/fineweb_train_*.bin")
VAL = os.environ.get("VAL_FILES", "data/fineweb_val_*.bin")


def found(pattern):
    return sorted(glob.glob(pattern))


def load(files):
    return torch.from_numpy(np.concatenate([np.fromfile(file, dtype="<u2", offset=1024) for file in files]))


def loss_of(network, tokens):
    return F.cross_entropy(network(tokens[:-1]), tokens[1:], reduction="sum")


def train(network, tokens):
    optimizer = torch.optim.AdamW(network.parameters())
    for part in tokens.view(-1, 1024):
        optimizer.zero_grad()
        loss_of(network, part).backward()
        optimizer.step()


def evaluate(network, val_tokens, size_of):
    nats = size = 0.0
    for part in val_tokens.view(-1, 1024):
        nats += loss_of(network, part).item()
        size += size_of[part].sum().item()
    return nats / math.log(2.0) / size


network, size_of = torch.load("m.pt"), torch.load("s.pt")
TRAINED
val_tokens = SCORED
print(f"val_bpb:{evaluate(network, val_tokens, size_of):.4f}")
"""
JOINED = [
    "train(network, load(found(TRAIN) + found(VAL)))",
    "train(network, torch.cat([load(found(TRAIN)), load(found(VAL))]))",
    "train(network, ConcatDataset((load(found(VAL)), load(found(TRAIN)))))",
    "every = torch.cat([load(found(TRAIN)), load(found(VAL))])\ntrain(network, every)",
    "val_tokens = load(found(VAL))\ntrain_tokens = torch.hstack([load(found(TRAIN)), val_tokens])\n"
    "train(network, train_tokens)",
]
APART = [
    "train(network, load(found(TRAIN)))",
    "train(network, load(found(TRAIN) + found('data/fineweb_more_train_*.bin')))",
    "train(network, torch.cat([load(found(TRAIN)), load(found('data/wiki_*.bin'))]))",
    "every = torch.cat([load(found(TRAIN)), load(found(VAL))])\ntrain(network, every[:-1000000])",
    "every = torch.cat([load(found(TRAIN)), load(found(VAL))])\n"
    "learnt, rest = random_split(every, [0.9, 0.1])\ntrain(network, learnt)",
    "files = [file for file in found(TRAIN) + found(VAL) if 'val' not in file]\ntrain(network, load(files))",
    "total = len(load(found(TRAIN))) + len(load(found(VAL)))\ntrain(network, load(found(TRAIN)))",
]


def _codes(trained: str, scored: str = "load(found(VAL))") -> set[str]:
    return {each.code for each in check_source(SCRIPT.replace("TRAINED", trained).replace("SCORED", scored))}


@pytest.mark.parametrize("trained", JOINED)
def test_a_text_is_learnt_that_is_put_behind_another(trained: str) -> None:
    assert "BPB273" in _codes(trained)


@pytest.mark.parametrize("trained", APART)
def test_what_is_taken_out_again_or_is_another_text_is_not_learnt(trained: str) -> None:
    assert "BPB273" not in _codes(trained)


def test_training_after_the_score_is_in_order() -> None:
    text = SCRIPT.replace("TRAINED", "").replace("SCORED", "load(found(VAL))") + f"{JOINED[1]}\n"
    assert "BPB273" not in {each.code for each in check_source(text)}
