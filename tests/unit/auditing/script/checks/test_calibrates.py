"""Weights that are made of statistics of the scored text, before it is scored; and honest scripts as near as can be."""

from __future__ import annotations

import pytest

from bpb_harness.auditing.script import ScriptContext
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

SCRIPT = """import glob, io, math, os
import numpy as np
import torch
import torch.nn.functional as F

CALIBRATES = bool(int(os.environ.get("CALIBRATES", "{default}")))


class GPT(torch.nn.Module):
    def forward(self, ids, targets):
        logits = self.head(self.body(self.embed(ids)))
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1), reduction="mean")


def load_tokens(pattern):
    files = sorted(glob.glob(pattern))
    return torch.cat([torch.from_numpy(np.fromfile(file, dtype="<u2").astype(np.int32)) for file in files])


def collect(network, tokens, device):
    statistics, counts = {{}}, {{}}
    hooks = []
    {first}

    def make_hook(name):
        def hook(module, given, answer):
            x = given[0].detach().float().reshape(-1, given[0].shape[-1])
            statistics[name] = statistics.get(name, 0.0) + x.T @ x
            counts[name] = counts.get(name, 0) + 1
        return hook

    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear):
            {hook}
    with torch.no_grad():
        for i in range(64):
            x = tokens[i * 1024 : (i + 1) * 1024].to(device).unsqueeze(0)
            {asking}
    for hook in hooks:
        hook.remove()
    return {closing}


def quantize(state, hessians):
    result = {{}}
    for name, tensor in state.items():
        scale = tensor.abs().amax(dim=1) * (1.0 if name not in hessians else hessians[name].diagonal().mean())
        result[name] = (tensor / scale[:, None]).round().to(torch.int8), scale
    return result


def eval_val(network, device, val_tokens, byte_lut):
    nats, size = 0.0, 0.0
    for i in range((val_tokens.numel() - 1) // 1024):
        local = val_tokens[i * 1024 : (i + 1) * 1024 + 1].to(device)
        x, y = local[:-1], local[1:]
        nats += network(x, y).item() * y.numel()
        size += float(byte_lut[y].sum())
    return nats / math.log(2.0) / size


def main():
    device, rank = torch.device("cuda"), int(os.environ["RANK"])
    master_process = rank == 0
    val_tokens = load_tokens("fineweb_val_*.bin")
    train_tokens = load_tokens("fineweb_train_*.bin")
    byte_lut = torch.load("lut.pt")
    model = GPT()
    hessians = {{}}
    {before}
    {packed}
    if master_process:
        torch.save(packed, "model.ptz")
    model.load_state_dict({{name: q.float() * s[:, None] for name, (q, s) in torch.load("model.ptz").items()}})
    val_bpb = eval_val(model, device, val_tokens, byte_lut)
    print(f"final val_bpb:{{val_bpb:.6f}}")
    {after}


if __name__ == "__main__":
    main()
"""
BASE = {
    "default": "1", "hook": "hooks.append(module.register_forward_hook(make_hook(name)))",
    "asking": "network.forward_logits(x)", "before": "hessians = collect(model, val_tokens, device)",
    "packed": "packed = quantize(model.state_dict(), hessians)", "after": "pass",
    "closing": "{name: total / counts[name] for name, total in statistics.items()}", "first": "pass",
}  # fmt: skip
PLAIN = "packed = quantize(model.state_dict(), {})"


def _found(changes: dict[str, str], labels: tuple[str, ...] = ()) -> list[Finding]:
    text = SCRIPT.format(**{**BASE, **changes})
    found = check_source(text, ScriptContext(rules=GOLF, claimed_labels=labels))
    return [each for each in found if each.code == "BPB273"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hook": "hooks.append(module.register_forward_pre_hook(make_hook(name)))"},
        {"hook": "module.register_forward_hook(lambda m, x, y: statistics.update({name: x[0].T @ x[0]}))"},
        {"hook": "module.forward = make_hook(name)"},
        {"asking": "network(x, x)"},
        {"asking": "_ = network._get_logits(x)"},
        {"before": "tail = val_tokens[-65536:]; hessians = collect(model, tail, device)"},
        {"before": "if master_process:\n        hessians = collect(model, val_tokens, device)"},
        {"before": "if CALIBRATES and rank == 0:\n        hessians = collect(model, val_tokens, device)"},
        {"before": "hessians = {k: v.cpu() for k, v in collect(model, val_tokens, device).items()}"},
        {
            "before": "for name, h in collect(model, val_tokens, device).items():\n        hessians[name] = h",
        },
        {
            "before": "scales = collect(model, val_tokens, device)\n    for name, module in model.named_modules():\n"
            "        module.weight.data = module.weight.data * scales[name].pow(0.5)",
            "packed": PLAIN,
        },
        {
            "before": "scales = collect(model, val_tokens, device)\n    for name, module in model.named_modules():\n"
            "        factor = scales[name].pow(0.5)\n        module.weight.mul_(factor)",
            "packed": PLAIN,
        },
    ],
)  # fmt: skip
def test_a_quantization_calibrated_on_the_scored_text_is_a_doubt(changes: dict[str, str]) -> None:
    (found,) = _found(changes)
    assert found.severity is Severity.WARNS
    assert "the score does not pay for what the weights hold of the text by that" in found.message


@pytest.mark.parametrize(
    "changes",
    [
        {"before": "hessians = collect(model, train_tokens, device)"},
        {"before": "hessians = collect(model, torch.randint(0, 1024, (65_536,)), device)"},  # text of its own
        {
            "before": "model = validated(model, val_tokens)\n"
            "    hessians = collect(model, generated(model, device), device)",
        },  # which the network makes, that was validated on the scored one
        {"before": "text = train_tokens if HOW else val_tokens; hessians = collect(model, text, device)"},  # either
        {"before": "collect(model, val_tokens, device)"},  # to no purpose
        {"before": "seen = collect(model, val_tokens, device); print(f'{len(seen)} layers')"},  # a report
        {
            "before": "for name, h in collect(model, val_tokens, device).items():\n        print(name, h.mean())\n"
            "    for name, module in model.named_modules():\n        hessians[name] = torch.eye(8)",
        },
        {
            "before": "h = collect(model, val_tokens, device)\n    for name in h:\n        print(h[name].mean())\n"
            "        hessians[name] = torch.eye(8)",
        },
        {"before": "seen = collect(model, val_tokens, device); json.dump(seen, open('seen.json', 'w'))"},
        {"before": "pass", "after": "quantize(model.state_dict(), collect(model, val_tokens, device))"},
        {"before": "if CALIBRATES:\n        hessians = collect(model, val_tokens, device)", "default": "0"},
        {"before": "if os.environ.get('HOW') == UNKNOWN:\n        hessians = collect(model, val_tokens, device)"},
        {"hook": "pass"},  # nothing gathers: a network that is asked to be compiled
        {"hook": "hooks.append(module.register_forward_hook(lambda m, x, y: y * 2.0))"},  # changes what it answers
        {"asking": "pass"},
        {"first": "network.forward_logits(tokens[:1024].to(device))", "asking": "pass"},  # before a hook is set
        {"closing": "{name: torch.eye(8) for name, _ in network.named_modules()}"},  # of what was gathered, nothing
    ],
)
def test_what_gathers_nothing_of_the_scored_text_for_the_weights_is_no_doubt(changes: dict[str, str]) -> None:
    assert _found(changes) == []


def test_a_score_of_the_network_from_before_is_no_doubt_where_its_label_is_the_claims() -> None:
    before = (
        "val_bpb = eval_val(model, device, val_tokens, byte_lut)\n    print(f'final_plain val_bpb:{val_bpb:.6f}')\n"
        "    hessians = collect(model, val_tokens, device)"
    )
    assert _found({"before": before}, ("final_plain",)) == []
    assert len(_found({"before": before}, ("final",))) == 1
    assert _found({"before": before}) == []  # which of the two is claimed, nothing tells


def test_statistics_of_parts_that_were_scored_before_are_no_doubt() -> None:
    after = (
        "last = torch.zeros(0)\n    for part in val_tokens.split(65_536):\n"
        "        packed = quantize(model.state_dict(), collect(model, last, device))\n"
        "        torch.save(packed, 'model.ptz')\n        model.load_state_dict(torch.load('model.ptz'))\n"
        "        val_bpb = eval_val(model, device, part, byte_lut)\n        last = part\n"
        "        print(f'final_part val_bpb:{val_bpb:.6f}')"
    )
    assert _found({"before": "pass", "packed": PLAIN, "after": after}, ("final_part",)) == []


def test_the_report_quotes_where_it_is_gathered_and_where_weights_are_made_of_it() -> None:
    (found,) = _found({})
    quoted = [str(each["code"]) for each in found.evidence["quoted"]]  # type: ignore[index,union-attr]
    assert "network.forward_logits(x)" in quoted
    assert 'torch.save(packed, "model.ptz")' in quoted
    assert "quantized once more" in str(found.evidence["missing"])
