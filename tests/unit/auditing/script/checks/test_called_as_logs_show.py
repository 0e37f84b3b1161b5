"""Text that was learnt before its score, by a function that prints nothing while it trains: what is printed beside it.

A line from where the training is called says that it was called; that it came to a step, its rounds have to say.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

SCRIPT = """import copy, glob, math, os
import numpy as np
import torch
import torch.nn.functional as F


class Settings:
    val_files = "./data/fineweb10B_sp1024/fineweb_val_*.bin"
    train_files = "./data/fineweb10B_sp1024/fineweb_train_*.bin"
    seq_len = int(os.environ.get("SEQ_LEN", 1024))
    adapts = bool(int(os.environ.get("ADAPTS", "1")))
    adapt_epochs = int(os.environ.get("ADAPT_EPOCHS", 3))


class GPT(torch.nn.Module):
    def forward(self, ids, targets):
        logits = self.head(self.body(self.embed(ids)))
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1), reduction="mean")


def load_tokens(pattern):
    files = sorted(glob.glob(pattern))
    return torch.cat([torch.from_numpy(np.fromfile(file, dtype="<u2").astype(np.int32)) for file in files])


def passes(s, network, optimizer, epochs, device, tokens):
    for _ in range(epochs):
        for i in range((tokens.numel() - 1) // s.seq_len):
            local = tokens[i * s.seq_len : (i + 1) * s.seq_len + 1].to(device)
            loss = network(local[:-1], local[1:])
            {gradient}
            optimizer.step()
            optimizer.zero_grad()
        {told}


def adapt(s, network, device, tokens, log=print):
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    {each}passes(s, network, optimizer, {epochs}, device, tokens)


def eval_val(s, network, device, val_tokens, byte_lut):
    nats, size = 0.0, 0.0
    for i in range((val_tokens.numel() - 1) // s.seq_len):
        local = val_tokens[i * s.seq_len : (i + 1) * s.seq_len + 1].to(device)
        x, y = local[:-1], local[1:]
        nats += network(x, y).item() * y.numel()
        size += float(byte_lut[y].sum())
    return nats / math.log(2.0) / size


def main():
    s = Settings()
    device = torch.device("cuda")
    val_tokens = load_tokens(s.val_files)
    train_tokens = load_tokens(s.train_files)
    byte_lut = torch.load("lut.pt")
    base = GPT().to(device)
    ema = {{k: v.clone() for k, v in base.state_dict().items()}}
    {early}
    if s.adapts:
        {before}
        {call}
        {behind}
    {later}
    val_bpb = eval_val(s, base, device, val_tokens, byte_lut)
    print(f"final val_bpb:{{val_bpb:.6f}}")


if __name__ == "__main__":
    main()
"""
STARTS = 'print(f"adapting: {s.adapt_epochs} epochs")'
ENDS = 'print(f"adapted in {clock():.1f}s")'
CALL = "adapt(s, base, device, val_tokens)"
BASE = {
    "gradient": "loss.backward()", "told": "pass", "epochs": "s.adapt_epochs", "early": "pass", "before": STARTS,
    "call": CALL, "behind": ENDS, "later": "pass", "each": "",
}  # fmt: skip
LOG = """step:1000/1000 val_loss:2.0900 val_bpb:1.2345
adapting: 3 epochs
adapted in 41.2s
final val_bpb:1.051234
"""


def _found(folder: Path, changes: dict[str, str], log: str = LOG, script: str = SCRIPT) -> list[Finding]:
    path = folder / "train.log"
    path.write_text(log)
    last = next(number for number, line in enumerate(log.split("\n"), 1) if line.startswith("final"))
    logged = (LoggedScore(path, "train.log", last, 0, ((1, 1.2345),)),)
    context = ScriptContext(rules=GOLF, claimed_labels=("final val_bpb:",), logged=logged)
    return [each for each in check_source(script.format(**{**BASE, **changes}), context) if each.code == "BPB273"]


RANKED = 'if rank == 0:\n            print(f"adapting: {s.adapt_epochs} epochs")'


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, 2),
        ({"before": RANKED}, 2),  # of one process
        ({"epochs": "3", "before": "pass"}, 3),  # written out, and printed behind it
        ({"before": "pass", "early": 'print(f"adapting: {s.adapt_epochs} epochs")'}, 3),  # how many, elsewhere
        ({"early": "soup = GPT().to(device)\n    if s.unknown: adapt(s, soup, device, val_tokens)"}, 2),
    ],
    ids=["before", "of one process", "behind", "told elsewhere", "one of two calls"],
)
def test_a_line_from_where_it_is_called_shows_it(tmp_path: Path, changes: dict[str, str], line: int) -> None:
    (found,) = _found(tmp_path, changes)
    assert found.severity is Severity.REFUTES
    assert f"train.log:{line} is printed where this training is called, and nowhere else" in found.message
    assert "before the claimed score in line 4. The last score printed before that (its windows" in found.message
    assert found.evidence["line_of_log"] == line


@pytest.mark.parametrize(
    ("changes", "log"),
    [
        ({}, LOG.replace("3 epochs", "0 epochs")),  # no round of it
        ({"before": "pass"}, LOG),  # how many rounds, no line tells
        ({"before": 'print(f"adapting at {s.lr}")'}, LOG.replace("3 epochs", "at 0.1")),
        ({"behind": "pass", "before": "pass", "early": STARTS}, LOG),  # printed whether it is called or not
        ({"behind": "pass", "before": "pass", "later": STARTS}, LOG),
        ({"behind": "pass", "call": f"if s.unknown: {CALL}"}, LOG),  # it may be left out behind the line
        ({"behind": "pass", "call": f"if s.unknown: return\n        {CALL}"}, LOG),
        ({"behind": "pass", "call": f"try:\n            {CALL}\n        except RuntimeError: pass"}, LOG),
        ({"behind": "pass", "early": STARTS.replace("print", "if s.unknown: print")}, LOG),  # two print it
        ({"behind": "pass", "epochs": "3", "early": STARTS}, LOG),  # two print it, and the rounds are known
        ({"behind": "pass", "call": f"for _ in s.parts: {CALL}"}, LOG),  # of no rounds, it may be
        ({"each": "for part in s.parts: "}, LOG),
        ({"gradient": "if s.unknown: loss.backward()"}, LOG),  # the rounds may be without a step
        ({}, LOG.replace("adapting", "final val_bpb:1.2\nadapting").replace("final val_bpb:1.05", "later:1.05")),
        ({}, LOG.replace("adapting: 3 epochs\nadapted", "adapted")),
    ],
    ids=[
        "no rounds", "rounds not told", "another number", "before the test", "behind the test", "left out",
        "returned from", "given up", "two lines alike", "two lines alike, rounds known", "called in a loop",
        "in a loop of the training", "no step", "behind the score", "of another run",
    ],
)  # fmt: skip
def test_without_its_call_and_its_rounds_it_is_a_doubt(tmp_path: Path, changes: dict[str, str], log: str) -> None:
    assert all(found.severity is Severity.WARNS for found in _found(tmp_path, changes, log))


@pytest.mark.parametrize(
    "changes",
    [
        {"call": "adapt(s, base, device, train_tokens)"},  # of training text
        {"behind": f"{ENDS}; base.load_state_dict(ema)"},  # and put back
    ],
)
def test_what_is_in_order_is_in_order_whatever_is_printed_beside_it(tmp_path: Path, changes: dict[str, str]) -> None:
    assert _found(tmp_path, changes) == []


ALL_AT_ONCE = """    for _ in range(epochs):
        loss = network(tokens[:-1], tokens[1:])
        loss.backward()
        optimizer.step()


def adapt("""


@pytest.mark.parametrize(("before", "severity"), [(STARTS, Severity.REFUTES), ("pass", Severity.WARNS)])
def test_the_one_loop_of_a_training_is_told_or_may_be_of_no_rounds(
    tmp_path: Path, before: str, severity: Severity
) -> None:
    start = SCRIPT.index("    for _ in range(epochs)")
    script = SCRIPT[:start] + ALL_AT_ONCE + SCRIPT[SCRIPT.index("def adapt(") + len("def adapt(") :]
    (found,) = _found(tmp_path, {"before": before}, script=script)
    assert found.severity is severity


TOLD = {"told": 'print(f"round of loss {loss.item():.4f}")'}


@pytest.mark.parametrize(
    ("log", "severity"),
    [
        (LOG.replace("adapted", "round of loss 2.0100\nadapted"), Severity.REFUTES),
        (LOG, Severity.WARNS),  # another function trained, or another version of it
        ("round of loss 2.0100\n" + LOG.replace("adapted", "done"), Severity.WARNS),  # those of another call
    ],
    ids=["there", "missing", "before the call"],
)
def test_what_its_rounds_print_has_to_be_there_too(tmp_path: Path, log: str, severity: Severity) -> None:
    either = "soup = GPT().to(device)\n    if s.unknown: adapt(s, soup, device, val_tokens)"  # either call prints it
    (found,) = _found(tmp_path, {**TOLD, "early": either}, log)
    assert found.severity is severity


def test_a_copy_that_learns_is_not_what_is_scored(tmp_path: Path) -> None:
    found = _found(tmp_path, {"call": "adapt(s, copy.deepcopy(base), device, val_tokens)"})
    assert all(each.severity is Severity.WARNS for each in found)


def test_weights_that_are_read_again_behind_the_call_leave_a_doubt(tmp_path: Path) -> None:
    (found,) = _found(tmp_path, {"later": "base.load_state_dict(torch.load('other.pt'))"})
    assert found.severity is Severity.WARNS
    assert "not followed" in found.message
