"""Claimed scores of weights that were never packed, and honest ones as near to them as can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext, check_scripts
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF

SCRIPT = """import copy, io, math, os, zlib
import torch
import torch.nn.functional as F


class Linear(torch.nn.Linear):
    def forward(self, x):
        w = self.weight
        {rounded}
        return F.linear(x, w)


class GPT(torch.nn.Module):
    def forward(self, ids, targets):
        logits = self.head(self.body(self.embed(ids)))
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1), reduction="mean")


def fake_quantize(w):
    return torch.round(w * 31.0) / 31.0


def seen(w):
    return w + (torch.round(w * 31.0) / 31.0 - w).detach()


def quantize(state):
    return {{k: torch.round(v * 31.0).to(torch.int8) for k, v in state.items()}}


def dequantize(packed):
    return {{k: v.float() / 31.0 for k, v in packed.items()}}


def put_in(network, state):
    network.load_state_dict(state)


def swap_weights(network, state):
    for k, p in network.named_parameters():
        p.data.copy_(state[k])


def eval_val(network, tokens, byte_lut, stride=1024):
    nats, size = 0.0, 0.0
    for i in range(0, tokens.numel() - 1, stride):
        x, y = tokens[i : i + 1024], tokens[i + 1 : i + 1025]
        nats += network(x, y).item() * y.numel()
        size += float(byte_lut[y].sum())
    return nats / math.log(2.0) / size


def eval_sliding(network, tokens, byte_lut, stride=64):
    {opening}
    return eval_val(network, tokens, byte_lut, stride)


def main():
    tokens, byte_lut = torch.load("val.pt"), torch.load("lut.pt")
    base = GPT()
    model = torch.compile(base)
    ema = {{k: v.detach().clone() for k, v in base.state_dict().items()}}
    optimizer = torch.optim.SGD(base.parameters(), lr=0.1)

    def average():
        if ema is not None:
            print(f"using the mean of weights (decay={{0.997}})")
            return {{k: v.to(torch.bfloat16) for k, v in ema.items()}}
        return None

    for step in range(1000):
        model(*next(loader)).backward()
        optimizer.step()
        for k, v in base.state_dict().items():
            ema[k].mul_(0.997).add_(v, alpha=0.003)
    mean = average()
    if mean is not None:
        base.load_state_dict(mean)
    torch.save(base.state_dict(), "final.pt")
    state = {{k: v.detach().cpu() for k, v in base.state_dict().items()}}
    print(f"Code size: {{len(open(__file__).read())}} bytes")
    buffer = io.BytesIO()
    torch.save(quantize(state), buffer)
    with open("final.int6.z", "wb") as f:
        f.write(zlib.compress(buffer.getvalue()))
    with open("final.int6.z", "rb") as f:
        packed = torch.load(io.BytesIO(zlib.decompress(f.read())))
    {unpacked}
    rt_bpb = eval_val({read_back}, tokens, byte_lut)
    print(f"final_roundtrip val_bpb:{{rt_bpb:.6f}}")
    {behind}
    bpb = eval_sliding({scored}, tokens, byte_lut)
    print(f"final_sliding val_bpb:{{bpb:.6f}}")


if __name__ == "__main__":
    main()
"""
ANOTHER = {
    "rounded": "w = fake_quantize(w) if self.training and w.numel() > 9 else w", "opening": "network.eval()",
    "unpacked": "unpacked = GPT(); unpacked.load_state_dict(dequantize(packed))", "read_back": "unpacked",
    "behind": "del unpacked, packed", "scored": "base",
}  # fmt: skip
AGAIN = ANOTHER | {
    "unpacked": "base.load_state_dict(dequantize(packed))", "read_back": "model",
    "behind": "mean = average()\n    if mean is not None:\n        base.load_state_dict(mean)", "scored": "base",
}  # fmt: skip
USING = "using the mean of weights (decay=0.997)"
LOG = [USING, "Code size: {size} bytes", "final_roundtrip val_bpb:1.164700", USING, "final_sliding val_bpb:1.141600"]
UNCONDITIONAL = {"behind": "base.load_state_dict(average())"}


def _findings(folder: Path, script: str, log: list[str] = LOG) -> list[Finding]:
    (folder / "train.py").write_text(script)
    lines = [line.replace("{size}", str(len(script))) for line in log]
    (folder / "train.log").write_text("\n".join(lines) + "\n")
    scores = [(n, float(line.split(":")[1])) for n, line in enumerate(lines, 1) if "bpb" in line]
    logged = LoggedScore(folder / "train.log", "train.log", scores[-1][0], 0, tuple(scores[:-1]))
    context = ScriptContext(rules=GOLF, claimed_labels=("final_sliding val_bpb",), logged=(logged,))
    return [each for each in check_scripts([folder / "train.py"], context) if each.code == "BPB279"]


def test_another_network_than_the_one_that_was_read_back(tmp_path: Path) -> None:
    (found,) = _findings(tmp_path, SCRIPT.format(**ANOTHER))
    assert found.severity is Severity.WARNS
    assert found.message.startswith(
        "The claimed score is of weights that were never packed (train.log:5): what is read back from the packed file "
        "goes into `unpacked` (line 88), and `eval_sliding` is given `base`, the trained network. What was read back "
        "scores 1.1647 (train.log:3), and nothing says what it scores by `eval_sliding` ("
    )
    assert found.evidence["round_trip_at"] == "train.log:3"
    assert found.evidence["missing"] == "a score of the packed network, read back from its file, by `eval_sliding`"
    assert [each["code"][:6] for each in found.evidence["quoted"]] == ["unpack", "bpb = "]  # type: ignore[index,union-attr]


def test_trained_weights_that_are_loaded_again_behind_the_round_trip(tmp_path: Path) -> None:
    (found,) = _findings(tmp_path, SCRIPT.format(**AGAIN))
    assert (
        "behind the round trip the trained weights are loaded into `base` again (line 93, as train.log:4 shows), and "
        "`eval_sliding` is given these" in found.message
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"unpacked": "unpacked = copy.deepcopy(base)\n    unpacked.load_state_dict(dequantize(packed))"},
        {"unpacked": "unpacked = GPT(); put = dequantize(packed); unpacked.load_state_dict(put, strict=True)",
         "read_back": "torch.compile(unpacked)", "scored": "model"},
        {"behind": "print(sum(p.numel() for p in base.parameters()))\n    base.eval()"},
        {"behind": "again = eval_val(base, tokens, byte_lut)\n    print(f'float val_bpb:{again}')"},
        {"rounded": "if not self.training:\n            return F.linear(x, w)\n        w = fake_quantize(w)"},
    ],
)  # fmt: skip
def test_other_networks_by_other_ways(tmp_path: Path, changes: dict[str, str]) -> None:
    assert len(_findings(tmp_path, SCRIPT.format(**ANOTHER | changes))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        UNCONDITIONAL,
        {"behind": "base.load_state_dict(torch.load('final.pt'))"},
        {"behind": "base.load_state_dict(ema)"},
        {"behind": "unpacked = base\n    base.load_state_dict({k: v.float() for k, v in ema.items()})"},
        {"behind": "if mean is not None:\n        print(f'using the weights of step {step}')\n        "
                   "base.load_state_dict(ema)"},
    ],
)  # fmt: skip
def test_weights_from_before_by_other_ways(tmp_path: Path, changes: dict[str, str]) -> None:
    log = [*LOG[:3], "using the weights of step 999", LOG[-1]]
    assert len(_findings(tmp_path, SCRIPT.format(**AGAIN | changes), log)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"unpacked": "unpacked = torch.compile(base); unpacked.load_state_dict(dequantize(packed))"},  # the same one
        {"behind": "put_in(base, unpacked.state_dict())"},
        {"unpacked": "unpacked = GPT()\n    for each in (unpacked, base): each.load_state_dict(dequantize(packed))"},
        {"behind": "base.load_state_dict(unpacked.state_dict())"},
        {"behind": "base.load_state_dict(dequantize(packed))"},
        {"behind": "put_in(base, dequantize(packed))"},
        {"behind": "swap_weights(base, dequantize(packed))"},
        {"behind": "base = unpacked"},
        {"behind": "base.head = unpacked.head"},
        {"behind": "for k, p in base.named_parameters():\n        p.data.copy_(packed[k])"},
        {"behind": "if packed is not None:\n        base.load_state_dict(dequantize(packed))"},
        {"behind": "def restore():\n        base.load_state_dict(dequantize(packed))\n    restore()"},
        {"behind": "def restore():\n        put_in(base, dequantize(packed))\n    restore()"},
        {"behind": "with swapped(base, packed):\n        pass"},
        {"behind": "library.load_quantized(base, packed)"},
        {"behind": "base.unpack(packed)"},
        {"behind": "library.restore([base], packed)"},
        {"unpacked": "unpacked = GPT()\n    if step:\n        unpacked.load_state_dict(dequantize(packed))"},
        {"behind": "both = [base, unpacked]\n    both[0].load_state_dict(ema)"},
        {"behind": "chosen = base if tokens else unpacked\n    chosen.load_state_dict(ema)"},
        {"behind": "third = GPT()\n    third.eval()\n    third.parameters()", "scored": "third"},
        {"behind": "own = eval_val(base, tokens, byte_lut)\n    print(f'final_roundtrip val_bpb:{own:.6f}')"},
        {"behind": "base.head.weight.data = packed['head']"},
        {"scored": "unpacked", "behind": "pass"},
        {"scored": "unpacked if packed else base", "behind": "pass"},
        {"opening": "network.load_state_dict(torch.load('final.int6.z'))"},  # inside
        {"rounded": "w = fake_quantize(w)"},  # what is packed is what it computes
        {"rounded": "w = seen(w)"},
        {"read_back": "unpacked, tokens, byte_lut) if packed else eval_val(base"},
        {"unpacked": "unpacked = GPT(); unpacked.load_state_dict(torch.load('final.pt'))"},  # nothing was packed
    ],
)  # fmt: skip
def test_networks_that_may_hold_what_was_read_back(tmp_path: Path, changes: dict[str, str]) -> None:
    assert _findings(tmp_path, SCRIPT.format(**ANOTHER | changes)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"behind": "pass"},
        {"behind": "kept = copy.deepcopy(base.state_dict())\n    base.load_state_dict(kept)"},
        {"behind": "base.load_state_dict(average())\n    base.load_state_dict(dequantize(packed))"},
        {"behind": "ema = dequantize(packed)\n    base.load_state_dict(ema)"},
        {"behind": "for k, v in packed.items():\n        ema[k].copy_(v)\n    base.load_state_dict(ema)"},
        {"behind": "base.load_state_dict(average())\n    swap_weights(base, dequantize(packed))"},
        {"behind": "base.load_state_dict(other_weights(ema))"},  # a library's, of which nothing is known
        {"behind": "if os.environ.get('FLOAT', '1') == '1':\n        base.load_state_dict(ema)"},  # and no line says so
    ],
)  # fmt: skip
def test_weights_that_may_have_been_read_back_too(tmp_path: Path, changes: dict[str, str]) -> None:
    assert _findings(tmp_path, SCRIPT.format(**AGAIN | changes)) == []


@pytest.mark.parametrize(
    ("script", "log"),
    [
        (ANOTHER, [LOG[1], LOG[-1]]),  # no round trip
        (ANOTHER, ["Code size: 12 bytes", LOG[2], LOG[-1]]),  # another script
        (ANOTHER, [LOG[2], "step:10 train_loss:3.1416", LOG[-1]]),  # and so, by a line that this one cannot print
        (AGAIN, [*LOG[:3], LOG[-1]]),  # nothing is loaded again, by the log
        (AGAIN, [*LOG[:2], USING, LOG[2], LOG[-1]]),  # it is the line of the first time
        (ANOTHER | {"read_back": "base"}, LOG),  # its score is no round trip's
    ],
)
def test_what_the_log_does_not_show(tmp_path: Path, script: dict[str, str], log: list[str]) -> None:
    assert _findings(tmp_path, SCRIPT.format(**script), log) == []


def test_a_log_without_the_size_of_its_code_is_the_scripts_if_this_can_print_its_lines(tmp_path: Path) -> None:
    assert len(_findings(tmp_path, SCRIPT.format(**ANOTHER), [*LOG[:1], *LOG[2:]])) == 1


def test_the_size_of_a_script_in_which_a_default_was_changed_since(tmp_path: Path) -> None:
    script = SCRIPT.format(**ANOTHER)
    log = [LOG[0], f"Code size: {len(script) + 2} bytes", *LOG[2:]]
    (found,) = _findings(tmp_path, script, log)
    assert (
        f"The log states a code size of {len(script) + 2:,} bytes, and that script has {len(script):,}."
        in found.message
    )


def test_a_score_that_is_printed_where_it_is_made(tmp_path: Path) -> None:
    script = SCRIPT.format(**ANOTHER | {"opening": "network.eval()"}).replace(
        "    return eval_val(network, tokens, byte_lut, stride)\n",
        '    inner = eval_val(network, tokens, byte_lut, stride)\n    print(f"sliding:done val_bpb={inner:.6f}")\n'
        "    return inner\n",
    )
    assert len(_findings(tmp_path, script)) == 1


def test_a_network_that_may_have_been_quantized_in_place(tmp_path: Path) -> None:
    copied = "{k: v.detach().cpu() for k, v in base.state_dict().items()}"
    script = SCRIPT.format(**ANOTHER)
    assert copied in script
    assert _findings(tmp_path, script.replace(copied, "base.state_dict()")) == []


def test_a_network_that_a_list_may_hold(tmp_path: Path) -> None:
    script = SCRIPT.format(**ANOTHER | {"behind": "both[0].load_state_dict(ema)"})
    assert _findings(tmp_path, script.replace("compile(base)\n", "compile(base)\n    both = [base]\n", 1)) == []


def test_of_several_logs_it_says_how_many_show_it(tmp_path: Path) -> None:
    script = SCRIPT.format(**ANOTHER)
    (tmp_path / "train.py").write_text(script)
    logged = []
    for name, last in (("a.log", 3), ("b.log", 3), ("c.log", 2)):
        lines = [f"Code size: {len(script)} bytes", *LOG[2:last], LOG[-1]]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        before = ((2, 1.1647),) if last == 3 else ()
        logged.append(LoggedScore(tmp_path / name, name, len(lines), 0, before))
    context = ScriptContext(rules=GOLF, claimed_labels=("final_sliding val_bpb",), logged=tuple(logged))
    (found,) = (each for each in check_scripts([tmp_path / "train.py"], context) if each.code == "BPB279")
    assert found.message.startswith("Of the 3 scores whose mean is claimed, 2 are of weights that were never packed")
