"""Scoring functions run in the limited process: right ones pass, each mistake is named, hostile ones say nothing.

Many functions share a process. The means are of a fixed seed. A right function is called wrong
only where a probe misses every bound by 9 standard errors and by 2 % (Student's t with 11 degrees of freedom: 2e-6 a
probe) and a mistake fits all the same: far below one in 10,000.
"""

# ruff: noqa: E501 - lines of scripts, as they are
from __future__ import annotations

import ctypes
import subprocess
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bpb_harness.auditing.script import ScriptContext, check_scripts
from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.frontend.trees import parse
from bpb_harness.auditing.script.running import run_scoring as running
from bpb_harness.auditing.script.running.judged_scores import judge_scores
from bpb_harness.auditing.script.running.known_means import LENGTH, PROBES
from bpb_harness.auditing.script.running.scored_texts import choose_texts
from bpb_harness.auditing.script.running.scoring_function import ScoringFunction, find_scoring_functions
from bpb_harness.auditing.script.running.weighing import Behaviour, Passed, weigh
from bpb_harness.byte_count import load_tokenizer
from bpb_harness.findings import CODES, Finding, Severity
from tests.official_table import FILLED
from tests.script_network import NETWORK

SHOWN = 3_072  # rows of one probe: enough for most functions
TOKENIZER = Path(__file__).resolve().parents[2] / "fixtures" / "tokenizers" / "tiny_512_bpe.model"

FLAT = """
import torch
import torch.nn as nn
import torch.nn.functional as F
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Embedding(513, 8)
        self.head = nn.Linear(8, 512)
    def forward(self, z):
        return self.head(self.inner(z))
@torch.no_grad()
def score_bpb(model, tokens, seq_len=128, draws=4):
    rows = tokens[: len(tokens) // seq_len * seq_len].view(-1, seq_len)
    total = 0.0
    for _ in range(draws):
        t = torch.rand(rows.size(0), 1).clamp(min=1e-5)
        hidden = torch.rand(rows.shape) < t
        nats = F.cross_entropy(model(torch.where(hidden, 512, rows)).transpose(1, 2), rows, reduction="none")
        total += (nats * hidden / t).double().sum().item()
    return total / draws / rows.numel()
def main():
    model = Net()
    print("val_loss:", score_bpb(model, torch.load("val.pt")))
main()
"""

MASKED = """
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
eps = 0.0
"""
MASKED += NETWORK
MASKED += """\
def nelbo(model, x, num_steps):
    total = torch.zeros(len(x), dtype=torch.float64)
    for i in range(1, num_steps + 1):
        t, s = (1 - eps) * i / num_steps, (1 - eps) * (i - 1) / num_steps
        hidden = torch.rand(x.shape) < t
        logits = model(torch.where(hidden, MASK, x)).float()
        logits[..., MASK] = -1e9
        nats = F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").view(x.shape)
        total += ((t - s) / t * nats * hidden).sum(1).double()
    return total + eps * x.shape[1] * math.log(V)
def main():
    model = Net()
    print("val_bpb", nelbo(model, load("val.bin"), 8).sum() / 0.6931 / count)
main()
"""

CAUSAL = """
import math
import numpy as np
import sentencepiece as spm
import torch
import torch.nn as nn
import torch.nn.functional as F
class Settings:
    seq_len = 1024
    val_batch = 4096
    vocab_size = 512
    tokenizer_path = "t.model"
class GPT(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.emb = nn.Embedding(args.vocab_size, 16)
        self.block = nn.Linear(16, 16)
        self.head = nn.Linear(16, args.vocab_size)
    def forward(self, ids, targets):
        h = self.block(self.emb(ids))
        logits = self.head(h).reshape(-1, 512)
        return F.cross_entropy(logits.float(), targets.reshape(-1))
def luts(sp, size):
    base, lead, edge = np.zeros(size, np.int16), np.zeros(size, bool), np.ones(size, bool)
"""
CAUSAL += FILLED
CAUSAL += """\
    return torch.tensor(base), torch.tensor(lead), torch.tensor(edge)
def eval_val(args, model, rank, world_size, device, val_tokens, base, lead, edge):
    nats, count, size = 0.0, 0, 0.0
    n = (val_tokens.numel() - 1) // args.seq_len
    for first in range(0, n, 4):
        chunk = val_tokens[first * args.seq_len : min(first + 4, n) * args.seq_len + 1].to(device)
        x, y = chunk[:-1].reshape(-1, args.seq_len), chunk[1:].reshape(-1, args.seq_len)
        nats += model(x, y).item() * y.numel()
        count += y.numel()
        added = base[y] + (lead[y] & ~edge[x])
        size += added.double().sum().item()
    return nats / count, nats / math.log(2) / size
def main():
    args = Settings()
    device = torch.device("cuda")
    sp = spm.SentencePieceProcessor(model_file=args.tokenizer_path)
    base, lead, edge = luts(sp, args.vocab_size)
    model = GPT(args).to(device)
    compiled = torch.compile(model)
    val_loss, val_bpb = eval_val(args, compiled, 0, 1, device, load("val.bin"), base, lead, edge)
    print("val_bpb", val_bpb)
main()
"""

COUNTING = """
import numpy as np
import torch
class Scorer:
    def __init__(self, network, seed):
        self.network, self.rng = network, np.random.default_rng(seed)
        self.nats, self.tokens = 0.0, 0
    def add(self, tokens):
        x = torch.as_tensor(tokens)[None]
        for stratum in range(8):
            level = (stratum + self.rng.random()) / 8
            hidden = torch.from_numpy(self.rng.random(x.shape)) < level
            log_p = self.network(x.masked_fill(hidden, 512))[..., :512].float().log_softmax(-1)
            self.nats += (-log_p.gather(-1, x[..., None])[..., 0] * hidden).sum().item() / level / 8
        self.tokens += x.numel()
def main():
    scorer = Scorer(torch.jit.load("m.pt"), 7)
    scorer.add(load("val.bin"))
    print("val_bpb", scorer.nats / 0.6931 / count)
main()
"""


@dataclass(frozen=True)
class Case:
    """A script made of another by replacements, and what running it must say."""

    base: str
    changes: tuple[tuple[str, str], ...]
    code: str
    says: str

    @property
    def text(self) -> str:
        text = self.base
        for old, new in self.changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        return text


LOOP = (
    "    for i in range(1, num_steps + 1):\n        t, s = (1 - eps) * i / num_steps, (1 - eps) * (i - 1) / num_steps\n"
)
PRICE = "((t - s) / t * nats * hidden).sum(1).double()"
CASES = {
    "right": Case(MASKED, (), "BPB269", "the bound of 8 steps"),
    "right with prior": Case(MASKED, (("eps = 0.0", "eps = 0.1"),), "BPB269", "the bound of 8 steps"),
    "right, one rate a row": Case(MASKED, (
        (LOOP, "    for _ in range(1):\n        t = 1 - torch.rand(len(x), 1)\n"), (PRICE, "(nats * hidden / t).sum(1).double()"),
    ), "BPB269", "the continuous bound"),
    "right, the network prices": Case(MASKED, (
        ("    def forward(self, z):\n        return self.out(self.emb(z))\n",
         "    def forward(self, z, y):\n        logits = self.out(self.emb(z))\n        logits = 30 * torch.tanh(logits / 30)\n"
         "        return F.cross_entropy(logits.float().transpose(1, 2), y, reduction='none')\n"),
        ("        logits = model(torch.where(hidden, MASK, x)).float()\n        logits[..., MASK] = -1e9\n", ""),
        ("F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction=\"none\").view(x.shape)", "model(torch.where(hidden, MASK, x), x)"),
    ), "BPB269", "the bound of 8 steps"),
    "right, parts and wrappers": Case(MASKED, (
        ("    def forward(self, z):\n        return self.out(self.emb(z))\n",
         "    def hidden(self, z):\n        return self.emb(z)\n    def heads(self, h):\n        return self.out(h)\n"
         "    def logits_of(self, z):\n        return self.heads(self.hidden(z))\n    def log_probs(self, z):\n"
         "        logits = self.logits_of(z)\n        logits[..., MASK] = -1e9\n        return logits - torch.logsumexp(logits, -1, keepdim=True)\n"),
        ("        logits = model(torch.where(hidden, MASK, x)).float()\n        logits[..., MASK] = -1e9\n", "        logits = model.log_probs(torch.where(hidden, MASK, x))\n"),
    ), "BPB269", "the bound of 8 steps"),
    "right, a seed of its own": Case(MASKED, (
        ("    total = torch.zeros(", "    g = torch.Generator().manual_seed(1234)\n    total = torch.zeros("), ("torch.rand(x.shape) < t", "torch.rand(x.shape, generator=g) < t"),
    ), "BPB269", "the bound of 8 steps"),
    "right, one window at a time": Case(COUNTING, (), "BPB269", "the continuous bound in nats a window"),
    "1/t twice": Case(MASKED, ((PRICE, PRICE + " / t"),), "BPB270", "the weight 1/t applied twice"),
    "no weight": Case(MASKED, (("(t - s) / t *", "(t - s) *"),), "BPB270", "no weight"),
    "mean of the masked": Case(MASKED, ((PRICE, "((t - s) / t * nats * hidden).sum(1).double() / hidden.sum(1).clamp(min=1)"),), "BPB270", "on a mean over the masked"),
    "last step dropped": Case(MASKED, (("range(1, num_steps + 1)", "range(1, num_steps)"),), "BPB270", "the steps but the last"),
    "cleaner end": Case(MASKED, (("torch.rand(x.shape) < t", "torch.rand(x.shape) < s"),), "BPB270", "its cleaner end"),
    "prior missing": Case(MASKED, (("eps = 0.0", "eps = 0.2"), (" + eps * x.shape[1] * math.log(V)", "")), "BPB270", "without its prior"),
    "rates cut": Case(MASKED, (
        (LOOP, "    for t in (0.3, 0.5, 0.7):\n"), (PRICE, "(nats * hidden / 3).sum(1).double() / t"),
    ), "BPB270", "integral"),
    "trapezoids": Case(MASKED, (
        (LOOP, "    grid = [0.15, 0.3, 0.5, 0.7, 0.85]\n    for t, w in zip(grid, [0.075, 0.175, 0.2, 0.175, 0.075]):\n"),
        (PRICE, "(w / t * nats * hidden).sum(1).double()"),
    ), "BPB270", "trapezoids on 5 mask rates 0.15 to 0.85"),
    "single rate": Case(MASKED, (
        (LOOP, "    for _ in range(4):\n        t = 0.5\n"), (PRICE, "(nats * hidden).sum(1).double() / t / 4"),
    ), "BPB270", "pseudo-log-likelihood at the one mask rate"),
    "boundary unpaid": Case(MASKED, (("torch.rand(x.shape) < t", "(torch.rand(x.shape) < t) & (x != 1)"),), "BPB270", "never hides a boundary"),
    "same masks": Case(MASKED, (("torch.rand(x.shape) < t", "(torch.sin(torch.arange(x.numel()) * 12.9 + i) * 43758.5 % 1).reshape(x.shape) < t"),), "BPB271", "the same in every call"),
    "unknown": Case(MASKED, ((PRICE, "(nats * hidden).sum(1).double().sqrt()"),), "BPB271", "no bound and no mistake that is known"),
    "a token forced": Case(MASKED, (
        (LOOP, "    for t in torch.linspace(0.001, 1.0, num_steps).tolist():\n"),
        ("torch.rand(x.shape) < t", "(torch.rand(x.shape) < t) | ((torch.arange(x.shape[1]) == 0) & (t < 0.01))"),
        (PRICE, "(nats * hidden / t).sum(1).double() / num_steps"),
    ), "BPB271", "hides one of each window all the same"),
    "parts of tokens": Case(MASKED, (
        ("        hidden = torch.rand(x.shape) < t\n        logits = model(torch.where(hidden, MASK, x)).float()\n",
         "        parts = torch.stack((x // 32 + 200, x % 32 + 300), -1).flatten(1)\n        held = torch.rand(parts.shape) < t\n"
         "        hidden = held.unflatten(1, (-1, 2)).any(-1)\n"
         "        logits = model(torch.where(held, MASK, parts)).unflatten(1, (-1, 2)).mean(2).float()\n"),
    ), "BPB271", "is given 2 ids for each token, parts of it, which is a joint price"),
    "a second network": Case(MASKED, (
        ("def nelbo(", "class Scorer:\n    def __init__(self, model):\n        self.model, self.decoder = model, torch.jit.load('d.pt')\ndef nelbo("),
        ("model(torch.where(hidden, MASK, x)).float()\n", "scorer.decoder(scorer.model(torch.where(hidden, MASK, x)), x.roll(1, 1)).float()\n"),
        ("def nelbo(model, x, num_steps)", "def nelbo(scorer, x, num_steps)"), ("nelbo(model, load", "nelbo(Scorer(model), load"),
    ), "BPB271", "a second network is given what the first makes of the hidden tokens, which is a joint price"),
    "one window at a time, one rate": Case(COUNTING, (
        ("level = (stratum + self.rng.random()) / 8", "level = 0.5"), ("in range(8)", "in range(4)"), ("x = torch.as_tensor(tokens)[None]", "x = torch.as_tensor(tokens)[None].repeat(4, 1)"),
        (".item() / level / 8", ".item() / level / 4 / 4"),
    ), "BPB270", "pseudo-log-likelihood at the one mask rate 0.5"),
    "logits for words alone": Case(CAUSAL, (
        ("    val_batch = 4096\n", "    val_batch = 4096\n    mask_id = 512\n"),
        ("nats += model(x, y).item()", "nats += F.cross_entropy(model.logits(x).reshape(-1, args.vocab_size), y.reshape(-1)).item()"),
        ("    def forward(self, ids, targets):\n", "    def logits(self, ids):\n        return self.head(self.block(self.emb(ids)))\n    def forward(self, ids, targets):\n"),
    ), "BPB164", "3.9479 bytes per token"),
    "a table filled in main": Case(CAUSAL, (
        ("    base, lead, edge = luts(sp, args.vocab_size)\n",
         "    base = torch.zeros(args.vocab_size)\n    lead = torch.zeros(args.vocab_size, dtype=torch.bool)\n    edge = torch.ones(args.vocab_size, dtype=torch.bool)\n"
         "    for i in range(args.vocab_size):\n        if sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i):\n            continue\n"
         "        edge[i] = False\n        if sp.is_byte(i):\n            base[i] = 1\n            continue\n        piece = sp.id_to_piece(i)\n"
         "        lead[i] = piece.startswith(chr(0x2581))\n        base[i] = len(piece.lstrip(chr(0x2581)).encode())\n    base = base.to(device)\n"),
    ), "BPB164", "3.9479 bytes per token"),
    "causal": Case(CAUSAL, (), "BPB164", "3.9479 bytes per token"),
    "space twice": Case(CAUSAL, (("base[i] = len(piece.encode(\"utf-8\"))", "base[i] = len(piece.encode(\"utf-8\")) + int(lead[i])"),), "BPB163", "+ 1 again in the loop"),
    "space twice, a network of another file": Case(CAUSAL, (
        ("base[i] = len(piece.encode(\"utf-8\"))", "base[i] = len(piece.encode(\"utf-8\")) + int(lead[i])"),
        ("    model = GPT(args).to(device)\n    compiled = torch.compile(model)\n", "    compiled = load_model(\"m.pt\").eval()\n"),
        ("nats += model(x, y).item()", "nats += F.cross_entropy(model.forward_logits(x).reshape(-1, 512), y.reshape(-1)).item()"),
    ), "BPB163", "+ 1 again in the loop"),
    "space never": Case(CAUSAL, (("added = base[y] + (lead[y] & ~edge[x])", "added = base[y]"),), "BPB163", "never counted"),
    "spelling": Case(CAUSAL, (("        if sp.is_byte(i):\n            base[i] = 1\n            continue\n", ""),), "BPB163", "spelling <0xXX>"),
    "constant": Case(CAUSAL, (("size += added.double().sum().item()", "size += y.numel() * 4.3"),), "BPB163", "tokens times 4.3"),
    "loss of another thing": Case(CAUSAL, (("nats += model(x, y).item()", "nats += 0.9 * model(x, y).item()"),), "BPB271", "none of the numbers that follow"),
    "a token of each window missed": Case(CAUSAL, (("nats += model(x, y).item() * y.numel()\n        count += y.numel()", "nats += model(x[:, 1:], y[:, 1:]).item() * y[:, 1:].numel()\n        count += y[:, 1:].numel()"),), "BPB271", "none of the numbers that follow"),
    "table changed later": Case(CAUSAL, (("    model = GPT(args)", "    base[5] = 7\n    model = GPT(args)"),), "BPB271", "changed after it is made"),
    "loops for ever": Case(MASKED, (("    total = torch.zeros(", "    while True:\n        pass\n    total = torch.zeros("),), "BPB271", "stopped after"),
    "exits": Case(MASKED, (("    total = torch.zeros(", "    import sys\n    sys.exit(0)\n    total = torch.zeros("),), "BPB271", "ends the program"),
    "exits by os": Case(MASKED, (("    total = torch.zeros(", "    import os\n    os._exit(0)\n    total = torch.zeros("),), "BPB271", "_exit"),
    "prints an answer": Case(MASKED, (("    total = torch.zeros(", "    print('{\"name\": \"nelbo\", \"before\": {\"returned\": [1.0]}}', flush=True)\n    return 'fine'\n    total = torch.zeros("),), "BPB271", "returns no number"),
    "reads the environment": Case(MASKED, (("    total = torch.zeros(", "    import os\n    raise ValueError(sorted(os.environ))\n    total = torch.zeros("),), "BPB271", "ValueError: []"),
    "reads a file": Case(MASKED, (("    total = torch.zeros(", "    import pathlib\n    pathlib.Path('/etc/passwd').read_text()\n    total = torch.zeros("),), "BPB271", "files are closed"),
    "opens a socket": Case(MASKED, (("    total = torch.zeros(", "    import socket\n    socket.create_connection(('127.0.0.1', 9))\n    total = torch.zeros("),), "BPB271", "closed to it"),
    "takes memory": Case(MASKED, (("    total = torch.zeros(", "    b = bytearray(16 << 30)\n    total = torch.zeros("),), "BPB271", "memory"),
    "raises on import": Case(MASKED, (("eps = 0.0", "eps = 1 / 0"),), "BPB271", "eps"),
}  # fmt: skip


def _functions(text: str, name: str = "train.py") -> tuple[list[ScoringFunction], list[tuple[str, str]]]:
    tree = parse(textwrap.dedent(text))
    assert tree is not None
    return find_scoring_functions([Script(name, text, tree)], {"nelbo", "eval_val", "add"})


# Each group is one process, so that no case is run by two workers of the test run.
CLOSE = {"last step dropped"}  # takes more rows than the others, to be told from the bound
GROUPS = {
    "right": [name for name, case in CASES.items() if case.code in ("BPB269", "BPB164")],
    "wrong": [name for name, case in CASES.items() if case.code in ("BPB270", "BPB163") and name not in CLOSE],
    "wrong by little": sorted(CLOSE),
    "not run": [name for name, case in CASES.items() if case.code == "BPB271"],
}


@pytest.mark.parametrize("group", GROUPS)
def test_a_function_is_what_it_computes(group: str, request: pytest.FixtureRequest) -> None:
    if group != "not run":  # what attacks the process gets the one that users have
        request.getfixturevalue("forked_running")
    functions, owners = [], []
    said: dict[str, Sequence[Finding]] = {}
    for name in GROUPS[group]:
        found, reasons = _functions(CASES[name].text)
        if not found:
            said[name] = [Finding("BPB271", Severity.INFORMS, reason) for _, reason in reasons]
        functions += found
        owners += [name for _ in found]
    tokenizer = load_tokenizer(TOKENIZER)
    texts = choose_texts(tokenizer)
    shown = 2 * SHOWN if group == "wrong by little" else SHOWN
    seconds = 1.0 if group == "not run" else 4.0  # one of them loops for ever
    replies = running.run_scoring(functions, TOKENIZER, texts, shown=shown, calls=12, seconds=seconds)
    for name, function, reply in zip(owners, functions, replies, strict=True):
        said[name] = judge_scores([function], [reply], texts, tokenizer, {"nelbo", "eval_val", "add"}).findings
    for name in GROUPS[group]:
        case, findings = CASES[name], said[name]
        assert any(found.code == case.code and case.says in found.message for found in findings), (name, findings)
        for found in findings:
            assert found.severity is CODES[found.code].severity, name
            assert found.severity is not Severity.REFUTES or found.code == case.code, name


# --- what running says against what is read --------------------------------------------------------------------------


def _audited(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch, *, allow_code: bool = True) -> list[Finding]:
    monkeypatch.setattr(running, "SHOWN", SHOWN)
    monkeypatch.setattr(running, "CALLS", 12)
    file = tmp_path / "train.py"
    file.write_text(text, "utf-8")
    return check_scripts([file], ScriptContext(), tokenizer=TOKENIZER, allow_code=allow_code)


def test_nothing_runs_without_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "exchanged", lambda *_: pytest.fail("a process was started"))
    codes = {found.code for found in _audited(tmp_path, CASES["1/t twice"].text, monkeypatch, allow_code=False)}
    assert not codes & {"BPB163", "BPB164", "BPB269", "BPB270", "BPB271"}


@pytest.mark.usefixtures("forked_running")
def test_what_is_read_explains_what_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both findings stand, and the one from running names the line of the other."""
    findings = {found.code: found for found in _audited(tmp_path, CASES["1/t twice"].text, monkeypatch)}
    line = findings["BPB251"].evidence["line"]
    assert findings["BPB251"].severity is Severity.REFUTES
    assert f"What does it: BPB251, line {line}" in findings["BPB270"].message


@pytest.mark.usefixtures("forked_running")
def test_a_script_that_knows_the_probe_gains_a_warning_at_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right on short windows, wrong on long ones, on one line: what reads as an error stays in the way."""
    weight = (
        ("        total += ", "        w = (t - s) / t\n        total += "),
        ("((t - s) / t * nats", "(w * nats / (t if x.shape[1] > 64 else 1)"),
    )
    findings = _audited(tmp_path, Case(MASKED, weight, "", "").text, monkeypatch)
    assert any(found.code == "BPB269" for found in findings)
    (read,) = [found for found in findings if found.code == "BPB251"]
    assert read.severity is Severity.WARNS
    assert "demoted" in read.message


RIGHT = Passed("nelbo", {"train.py": frozenset({7, 8})}, frozenset({"BPB251"}))
READ = Finding("BPB251", Severity.REFUTES, "The weight 1/t is applied twice.", {"file": "train.py", "line": 8}, 0.5)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Severity.REFUTES, Severity.WARNS), (Severity.WARNS, Severity.INFORMS), (Severity.INFORMS, Severity.INFORMS),
    ],
)  # fmt: skip
def test_a_finding_that_running_contradicts_weighs_one_step_less(before: Severity, after: Severity) -> None:
    (found,) = weigh([replace(READ, severity=before)], Behaviour((), (RIGHT,)))
    assert found.severity is after
    if before is not after:
        assert found.factor is None
        assert "nelbo, run alone on a short text, passes through this line and does not do that" in found.message


@pytest.mark.parametrize(
    "other",
    [
        replace(READ, evidence={"file": "train.py", "line": 9}),  # a line that was not passed through
        replace(READ, evidence={"file": "eval.py", "line": 8}),  # of another file
        replace(READ, code="BPB255"),  # a mistake that was not excluded
    ],
)
def test_a_finding_of_another_line_or_mistake_stands(other: Finding) -> None:
    assert weigh([other], Behaviour((), (RIGHT,))) == [other]


def test_two_findings_of_one_fault_of_the_bytes_do_not_multiply() -> None:
    read = Finding("BPB151", Severity.REFUTES, "The space is counted twice.", {"file": "train.py", "line": 8}, 1.16714)
    run = Finding("BPB163", Severity.REFUTES, "It divides by more.", {}, 1.16714)
    first, second = weigh([read], Behaviour((run,)))
    assert first == read
    assert second.severity is Severity.INFORMS
    assert second.factor is None
    assert "BPB151" in second.message


@pytest.mark.usefixtures("forked_running")
def test_a_right_function_beside_a_wrong_one_makes_it_a_warning() -> None:
    """Which of them is claimed is not known."""
    both = MASKED.replace(
        "def main():", "def nelbo_twice(model, x, num_steps):\n    return 2 * nelbo(model, x, num_steps)\ndef main():"
    )
    both = both.replace(
        ", 8).sum() / 0.6931 / count)", ", 8).sum() / 0.6931 / count, nelbo_twice(model, load('val.bin'), 8))"
    )
    wrong = both.replace("return 2 * nelbo(model, x, num_steps)", "\n    ".join([
        "total = torch.zeros(len(x))", "for t in (0.05, 0.2, 0.4, 0.6, 0.8, 0.95):", "    hidden = torch.rand(x.shape) < t",
        "    logits = model(torch.where(hidden, MASK, x)).float()",
        "    nats = F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction='none').view(x.shape)",
        "    total += (nats * hidden).sum(1) / t / t / 6", "return total",
    ]))  # fmt: skip
    tree = parse(wrong)
    assert tree is not None
    functions, _ = find_scoring_functions([Script("train.py", wrong, tree)], {"nelbo", "nelbo_twice"})
    tokenizer = load_tokenizer(TOKENIZER)
    texts = choose_texts(tokenizer)
    replies = running.run_scoring(functions, TOKENIZER, texts, shown=SHOWN, calls=12)
    both_on_path = judge_scores(functions, replies, texts, tokenizer, {"nelbo", "nelbo_twice"})
    severities = {found.code: found.severity for found in both_on_path.findings}
    assert severities == {"BPB269": Severity.CONFIRMS, "BPB270": Severity.WARNS}
    neither = judge_scores(functions, replies, texts, tokenizer, set())
    assert all(found.severity is not Severity.REFUTES for found in neither.findings)


@pytest.mark.usefixtures("forked_running")
def test_two_files_with_a_function_of_one_name_are_two_functions() -> None:
    """The older file's is wrong and the newer one's is right: which was run is not known."""
    functions = []
    for name, case in (("old.py", CASES["1/t twice"]), ("new.py", CASES["right"])):
        functions += _functions(case.text, name)[0]
    tokenizer = load_tokenizer(TOKENIZER)
    texts = choose_texts(tokenizer)
    replies = running.run_scoring(functions, TOKENIZER, texts, shown=SHOWN, calls=12)
    findings = judge_scores(functions, replies, texts, tokenizer, {"nelbo"}).findings
    assert [(found.code, found.severity) for found in findings] == [
        ("BPB270", Severity.WARNS), ("BPB269", Severity.CONFIRMS),
    ]  # fmt: skip


def test_what_libraries_do_in_c_is_forbidden_by_the_kernel(tmp_path: Path) -> None:
    """No audit hook sees them: a file emptied by torch, a program started without subprocess, a signal."""
    library = ctypes.CDLL(None)
    if library.syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint32(1)) < 6:
        pytest.skip("a kernel without Landlock, or an older one")
    kept, made = tmp_path / "kept", tmp_path / "made"
    kept.write_text("as it was")
    parent = subprocess.Popen(["/bin/sleep", "3600"])
    attack = f"""
    if not hasattr(torch, "tried"):
        torch.tried = True
        for file in ({str(kept)!r}, {str(made)!r}):
            try:
                torch._C.PyTorchFileWriter(file)
            except Exception:
                pass
        r, w = torch.os.pipe()
        start = [m for m in list(torch.sys.modules.values()) if getattr(m, "__name__", "") == "_posixsubprocess"][0]
        try:
            start.fork_exec([b"touch", {str(made)!r}.encode()], (b"/bin/touch", b"/usr/bin/touch"), True, (w,), None,
                            None, -1, -1, -1, -1, -1, -1, r, w, True, True, -1, None, None, None, -1, None, False)
        except Exception:
            pass
        try:
            torch.sys.modules["signal"].pidfd_send_signal(torch.os.pidfd_open({parent.pid}), 9)
        except Exception:
            pass
"""
    case = Case(MASKED, (("    total = torch.zeros(", attack + "    total = torch.zeros("),), "", "")
    functions, _ = _functions(case.text)
    tokenizer = load_tokenizer(TOKENIZER)
    (reply,) = running.run_scoring(functions, TOKENIZER, choose_texts(tokenizer), shown=1_000, calls=12)
    try:
        assert kept.read_text() == "as it was"
        assert not made.exists()
        assert parent.poll() is None
        assert "masks" in reply, reply
    finally:
        parent.kill()
        parent.wait()


@pytest.mark.usefixtures("forked_running")
def test_a_process_that_dies_takes_no_other_result_with_it() -> None:
    """The first function's line is out before the second kills the process; the third is said not to have run."""
    functions = []
    kill = (("    total = torch.zeros(", "    torch.os.kill(torch.os.getpid(), 9)\n    total = torch.zeros("),)
    for text in (MASKED, Case(MASKED, kill, "", "").text, MASKED):
        functions += _functions(text)[0]
    exits = functions[1]
    tokenizer = load_tokenizer(TOKENIZER)
    texts = choose_texts(tokenizer)
    replies = running.run_scoring([functions[0], exits, functions[2]], TOKENIZER, texts, shown=1_000, calls=12)
    assert "masks" in replies[0]
    assert all("not_run" in reply for reply in replies[1:2])


def _masks(*, calls: int = 1, rows: int = 16, clean: int = 512) -> dict[str, object]:
    """A reply of the limited process's shape, of numbers that it never gives."""
    run = {"returned": [[1.0], [2.0]] * 6, "rows": rows, "calls": calls, "rates": [], "spread": 0.0, "dispersion": 1.0,
           "tokens_a_call": 64, "ever": [True] * LENGTH}  # fmt: skip
    return {
        "masks": [{"probe": probe, **run} for probe in PROBES], "vocabulary": 512, "clean": clean, "rotation": 0,
        "levels": [], "masks_seen": 15,
    }  # fmt: skip


def test_answers_that_the_function_writes_itself_are_not_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON that Python's reader cannot follow, and a reason that is no line."""
    reason = b'{"not_run": "\\u001b[31m\\n::error::' + 400_000 * b"boo " + b'"}'
    for answer in (200_000 * b"[", reason):
        monkeypatch.setattr(running, "exchanged", lambda *_, answer=answer: answer + b"\n")
        (found,) = [one for one in _audited(tmp_path, MASKED, monkeypatch) if one.code == "BPB271"]
        assert found.message.isprintable()
        assert len(found.message) < 500


@pytest.mark.usefixtures("forked_running")
def test_a_length_that_is_a_default_is_the_probes() -> None:
    """Nobody passes it: the window's length stands in the function's own signature."""
    functions, reasons = _functions(FLAT)
    assert not reasons
    tokenizer = load_tokenizer(TOKENIZER)
    texts = choose_texts(tokenizer)
    replies = running.run_scoring(functions, TOKENIZER, texts, shown=2 * SHOWN, calls=12)
    (found, *_) = judge_scores(functions, replies, texts, tokenizer, {"score_bpb"}).findings
    assert found.code == "BPB269", found.message


def test_answers_of_another_shape_are_not_understood() -> None:
    """The answer comes from a process that ran foreign code: whatever it holds, nothing is raised, nothing follows."""
    functions, _ = _functions(MASKED)
    tokenizer = load_tokenizer(TOKENIZER)
    texts = choose_texts(tokenizer)
    odd: list[dict[str, object]] = [
        {}, {"masks": []}, {"masks": 3}, {"before": {"returned": ["x"]}}, {"before": None, "vocabulary": 512},
        {"masks": [{"probe": "count 1", "returned": [[float("nan")]]}], "vocabulary": 512},
        {"before": {"returned": [1e400, -1.0]}, "vocabulary": -3}, {"before": {"returned": []}, "vocabulary": 1 << 60},
        {"before": {"returned": [10**400]}, "vocabulary": 512}, _masks(calls=10**12), _masks(rows=0), _masks(clean=0),
    ]  # fmt: skip
    for reply in odd:
        (found,) = judge_scores(functions, [reply], texts, tokenizer, {"nelbo"}).findings
        assert found.code == "BPB271", reply
