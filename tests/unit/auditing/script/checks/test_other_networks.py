"""Steps on a network that has nothing to do with the scored one teach that nothing."""

from __future__ import annotations

import pytest

from tests.golf_rules import check_source

SCRIPT = """import copy, math, os
import torch
import torch.nn.functional as F


class Probe(torch.nn.Module):
    def __init__(self, width=8, beside=None):
        super().__init__()
        self.head = torch.nn.Linear(width, 1024)
        self.beside = beside

    def forward(self, ids):
        return self.head(ids)


def evaluate(network, documents, size_of, {given}):
    nats, size = 0.0, 0.0
    {made}
    for document in documents:
        chunks = document.split(256)
        for epoch in range(3):
            for chunk in chunks:
                cost = F.cross_entropy({scored}.float(), chunk[1:])
                if epoch == 2:
                    nats += cost.item() * (len(chunk) - 1)
                    size += float(size_of[chunk[1:]].sum())
                {learns}
                loss.backward()
                optimizer.step()
    return nats / math.log(2.0) / size


network = torch.load("m.pt")
other = Probe()
val_bpb = evaluate(network, torch.load("d.pt"), torch.load("s.pt"), {handed})
print(f"val_bpb:{{val_bpb:.6f}}")
"""
SGD = "optimizer = torch.optim.SGD(probe.parameters(), lr=0.1)"
OWN = "loss = F.cross_entropy(probe(chunk[:-1]), chunk[1:])"
APART = {
    "given": "rate=0.1", "made": f"probe = Probe(); {SGD}", "scored": "network(chunk[:-1])", "learns": OWN,
    "handed": "0.1",
}  # fmt: skip
PLAIN = APART | {"made": "optimizer = torch.optim.SGD(network.parameters(), lr=0.1)", "learns": "loss = cost"}


def _is_found(changes: dict[str, str], base: dict[str, str] = APART) -> bool:
    return "BPB272" in [each.code for each in check_source(SCRIPT.format(**base | changes))]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"made": f"probe = copy.deepcopy(network); {SGD}"},
        {"made": f"probe = torch.nn.Linear(8, 9); {SGD}"},
        {"made": f"probe = Probe(16).to('cuda'); probe.train(); {SGD}"},
        {"made": "probe = Probe(); held = [p for p in probe.parameters() if p.requires_grad]\n"
                 "    optimizer = torch.optim.SGD(held, lr=0.1)"},
        {"learns": "loss = cost"},  # whose gradient the probe has none of
        {"given": "probe", "made": SGD, "handed": "copy.deepcopy(network)"},
        {"given": "probe", "made": SGD, "handed": "other"},
        {"given": "probe", "made": SGD, "handed": "probe=other"},
        {"given": "optimizer", "made": "pass", "learns": "loss = cost",
         "handed": "torch.optim.SGD(other.parameters(), lr=0.1)"},
    ],
)  # fmt: skip
def test_steps_on_a_network_apart_teach_the_scored_one_nothing(changes: dict[str, str]) -> None:
    assert not _is_found(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"made": f"probe = network; {SGD}"},
        {"made": f"probe = network.head; {SGD}"},
        {"made": f"probe = Probe(beside=network); {SGD}"},  # which has it as a part
        {"made": f"inner = network.body; probe = Probe(8, inner); {SGD}", "scored": "network(inner(chunk[:-1]))"},
        {"made": f"probe = Probe(); network.head = probe; {SGD}"},
        {"made": f"probe = Probe(); network.attach(probe); {SGD}"},
        {"made": f"probe = Probe(); holding = [probe]; {SGD}"},
        {"made": f"probe = Probe(); {SGD}\n    def hook(*_): return probe(_[0])"},
        {"made": f"probe = build(network); {SGD}"},
        {"made": f"probe = Probe(); {SGD}", "scored": "network(chunk[:-1], probe)"},
        {"made": f"probe = Probe(); {SGD}", "scored": "(network(chunk[:-1]) + probe(chunk[:-1]))"},
        {"given": "probe", "made": SGD, "handed": "network"},
        {"given": "probe", "made": SGD, "handed": "network.head"},
        {"given": "probe", "made": f"network.head = probe; {SGD}", "handed": "other"},
        {"given": "optimizer", "made": "pass", "handed": "made_elsewhere()"},
        {"given": "probe, optimizer", "made": "pass",
         "handed": "other, torch.optim.SGD(network.parameters(), lr=0.1)"},
        {"made": f"probe = Probe(); {SGD}; second = torch.optim.SGD(network.parameters(), lr=0.1)",
         "learns": f"second.step(); {OWN}"},
    ],
)  # fmt: skip
def test_steps_that_may_be_on_the_scored_network_are_a_doubt(changes: dict[str, str]) -> None:
    learns = f"{changes.get('learns', OWN)}; loss = loss + cost"
    assert _is_found(changes | {"learns": learns})
    assert _is_found({}, PLAIN)
