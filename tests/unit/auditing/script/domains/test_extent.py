"""What bounds the text that is scored, in scripts as people write them; and what looks like a bound and is none."""

# ruff: noqa: E501 - lines of scripts, as they are
from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from bpb_harness.auditing.script import ScriptContext
from tests.golf_rules import GOLF, check_source

SCRIPT = """
import argparse, glob, itertools, math, os, random, sys
import numpy as np
import torch
import torch.nn.functional as F
parser = argparse.ArgumentParser()
parser.add_argument("--max-windows", type=int, default=200)
parser.add_argument("--limit", type=int, default=0)
parser.add_argument("--cap", type=int)
args = parser.parse_args()
L, V = 1024, 1024
rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))

def load(pattern):
    files = sorted(glob.glob(pattern))
    return torch.from_numpy(np.concatenate([np.fromfile(f, dtype=np.uint16, offset=1024) for f in files]).astype(np.int64))

def cost(model, x, y):
    return F.cross_entropy(model(x).view(-1, V), y.view(-1), reduction="sum")

FUNCTIONS
def evaluate(model, tokens, size_of):
    nats, num_bytes, count = 0.0, 0, 0
BODY
    return nats / math.log(2) / num_bytes

model, size_of = torch.jit.load("m.pt"), torch.load("sizes.pt")
tokens = load("data/fineweb_val_*.bin")
BEFORE
val_bpb = evaluate(model, tokens, size_of)
print(f"val_bpb:{val_bpb:.6f}")
"""
X_Y = "x, y = tokens[i : i + L], tokens[i + 1 : i + L + 1]"
LOCAL = "local = tokens[s * L : min(s + 8, n) * L + 1]\nx, y = local[:-1], local[1:]"
ALL = "for i in range(0, len(tokens) - L, L):"
LIST = "starts = list(range(0, len(tokens) - L, L))"
GENERATOR = """
def loader(tokens):
    for i in range(0, len(tokens) - L, L):
        yield tokens[i : i + L], tokens[i + 1 : i + L + 1]
"""
DRAWING = """
def get_batch(tokens):
    ix = torch.randint(len(tokens) - L - 1, (8,))
    return torch.stack([tokens[i : i + L] for i in ix]), torch.stack([tokens[i + 1 : i + L + 1] for i in ix])
"""
LOADER = """
class Loader:
    def __init__(self, pattern):
        self.tokens, self.pos = load(pattern), 0

    def next_batch(self, b, t):
        buf = self.tokens[self.pos : self.pos + b * t + 1]
        self.pos += b * t
        return buf[:-1].view(b, t), buf[1:].view(b, t)
"""


def _loop(head: str, inside: str = X_Y, first: str = "", *, adds: bool = True) -> str:
    """A loop that adds up the score, with what stands before it."""
    added = "nats += cost(model, x, y).item()\nnum_bytes += int(size_of[y].sum())" if adds else ""
    lines = [*first.splitlines(), head, *(f"    {line}" for line in [*inside.splitlines(), *added.splitlines()])]
    return "\n".join(f"    {line}" for line in lines)


def _script(body: str = _loop(ALL), before: str = "", functions: str = "") -> str:
    return SCRIPT.replace("BODY", body).replace("BEFORE", before).replace("FUNCTIONS", functions)


PARTS: dict[str, tuple[str, int | None]] = {  # with the tokens that they hold, where that can be told
    "a slice": (_script(before="tokens = tokens[:200 * 1024]"), 204_800),
    "a slice of a name": (_script(before="n, seq_len = 200, 1024\ntokens = tokens[: n * seq_len]"), 204_800),
    "the environment": (_script(before="tokens = tokens[:int(os.environ.get('VAL_TOKENS', 100000))]"), 100_000),
    "an option": (_script(before="if args.max_windows:\n    tokens = tokens[: args.max_windows * L]"), 204_800),
    "a choice": (_script(before="cap = 5000 if len(tokens) > 5000 else len(tokens)\ntokens = tokens[:cap]"), 5_000),
    "starts": (_script(_loop("for i in starts[:200]:", first=LIST)), 204_800),
    "starts, an option": (_script(_loop("for i in starts[:args.max_windows]:", first=LIST)), 204_800),
    "a range": (_script(_loop("for i in range(0, 200 * 1024, 1024):")), 204_800),
    "a minimum": (_script(_loop("for j in range(min(len(tokens) // 1024, 200)):", "i = j * L\n" + X_Y)), 204_800),
    "cut down": (
        _script(_loop("for j in range(n):", "i = j * L\n" + X_Y, "n = len(tokens) // L\nif n > 100:\n    n = 100")),
        102_400,
    ),
    "a comprehension": (
        _script("    nats = sum(cost(model, tokens[i * L : i * L + L], tokens[i * L + 1 : i * L + L + 1]).item() for i in range(min(n, 200)))\n"
                "    num_bytes = int(size_of[tokens].sum())", before="n = len(tokens) // L"),
        204_800,
    ),
    "pairs": (
        _script(_loop("for x, y in pairs:", "pass", "pairs = [(tokens[i : i + L], tokens[i + 1 : i + L + 1]) "
                      "for i in range(0, min(len(tokens) - L, 102400), L)]")),
        102_400,
    ),
    "a break": (_script(_loop(ALL, f"{X_Y}\ncount += 1\nif count > 200:\n    break")), 204_800),
    "a break by number": (
        _script(_loop("for n, i in enumerate(range(0, len(tokens) - L, L)):", f"if n >= 200:\n    break\n{X_Y}")),
        204_800,
    ),
    "a break by place": (_script(_loop(ALL, f"if i >= 200 * L:\n    break\n{X_Y}")), 204_800),
    "a break by place, in batches": (
        _script(_loop("for s in range(0, n, 8):", f"if s >= 25 * 8:\n    break\n{LOCAL}", "n = (len(tokens) - 1) // L")),
        None,  # a batch more than that, at most
    ),
    "a break by batch": (
        _script(_loop("for s in range(0, n, 8):", f"if s // 8 >= 25:\n    break\n{LOCAL}", "n = (len(tokens) - 1) // L")),
        None,
    ),
    "batches, the last less": (_script(_loop("for s in range(0, 500, 64):", LOCAL.replace("8, n", "64, 512"))), 524_288),
    "a break by tokens": (_script(_loop(ALL, f"{X_Y}\ncount += y.numel()\nif count >= 1_000_000:\n    break")), 1_000_000),
    "a break by losses": (
        _script(_loop(ALL, f"{X_Y}\nlosses.append(cost(model, x, y).item())\nif len(losses) == 100:\n    break",
                      "losses = []")),
        102_400,
    ),
    "islice": (_script(_loop("for x, y in itertools.islice(loader(tokens), 200):", "pass"), functions=GENERATOR), None),
    "next": (_script(_loop("for _ in range(200):", "x, y = next(it)", "it = loader(tokens)"), functions=GENERATOR), None),
    "a zip": (_script(_loop("for _, i in zip(range(200), range(0, len(tokens) - L, L)):")), 204_800),
    "random places": (_script(_loop("for _ in range(100):", "x, y = get_batch(tokens)"), functions=DRAWING), 819_200),
    "random starts": (_script(_loop("for i in np.random.randint(0, len(tokens) - L, size=200):")), 204_800),
    "a sample": (_script(_loop("for i in random.sample(range(0, len(tokens) - L, L), 200):")), 204_800),
    "documents": (
        _script(_loop("for doc in docs.take(200):", "ids = torch.tensor(sp.encode(doc['text']))\nx, y = ids[:-1], ids[1:]",
                      "docs = load_dataset('fineweb', split='validation')")),
        None,
    ),
    "selected documents": (
        _script(_loop("for doc in docs.select(range(200)):", "ids = sp.encode(doc)\nx, y = ids[:-1], ids[1:]",
                      "docs = load_dataset('fineweb', split='validation')")),
        None,
    ),
    "a map of a file": (_script(before="tokens = np.memmap('v.bin', dtype=np.uint16, shape=(204800,))"), 204_800),
    "the count of a file": (_script(before="tokens = np.fromfile('v.bin', dtype=np.uint16, count=204800)"), 204_800),
    "while": (_script(_loop("while pos + L < 204_800:", "i = pos\n" + X_Y + "\npos += L", "pos = 0")), None),
    "while, a break": (_script(_loop("while True:", f"if i >= 204_800:\n    break\n{X_Y}\ni += L", "i = 0")), None),
    "rows": (
        _script(_loop("for row in rows[:200]:", "x, y = row[:-1], row[1:]", "rows = tokens[: len(tokens) // L * L].view(-1, L)")),
        204_800,
    ),
    "one call": (
        _script("    x, y = tokens[: 100 * L].view(100, L), tokens[1 : 100 * L + 1].view(100, L)\n"
                "    nats, num_bytes = cost(model, x, y).item(), int(size_of[y].sum())"),
        102_400,
    ),
    "batches": (
        _script(_loop("for x, y in itertools.islice(torch.utils.data.DataLoader(Data(tokens), batch_size=8), 20):", "pass")),
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_what_bounds_the_scored_text_is_followed_to_where_it_is_written(name: str) -> None:
    text, tokens = PARTS[name]
    (found,) = [finding for finding in check_source(text) if finding.code == "BPB350"]
    told = found.evidence.get("num_tokens")
    assert tokens is None or (isinstance(told, int) and tokens <= told <= tokens + 1025)  # with the last window's end


WHOLE = {
    "all": _script(),
    "whole windows": _script(before="usable = ((tokens.numel() - 1) // L) * L\ntokens = tokens[: usable + 1]"),
    "batches": _script(
        _loop("for i in range(0, n, 32):", "local = tokens[i * L : min(i + 32, n) * L + 1]\nx, y = local[:-1], local[1:]",
              "n = (len(tokens) - 1) // L")
    ),
    "ranks": _script(
        _loop("for i in range(n * rank // world, n * (rank + 1) // world):",
              "local = tokens[i * L : (i + 1) * L + 1]\nx, y = local[:-1], local[1:]", "n = (len(tokens) - 1) // L")
    ),
    "every rank's": _script(_loop("for i in starts[rank::world]:", first=LIST)),
    "a limit of 0": _script(before="if args.limit > 0:\n    tokens = tokens[:args.limit]"),
    "no limit": _script(before="if args.cap is not None:\n    tokens = tokens[:args.cap]"),
    "a slice to None": _script(before="tokens = tokens[:args.cap]"),
    "0 or all": _script(before="n = args.limit or len(tokens)\ntokens = tokens[:n]"),
    "a break that is off": _script(
        _loop("for n, i in enumerate(range(0, len(tokens) - L, L)):", f"if args.limit and n >= args.limit:\n    break\n{X_Y}")
    ),
    "one left out": _script(_loop("for n, i in enumerate(range(0, len(tokens) - L, L)):", f"if n == 3:\n    continue\n{X_Y}")),
    "every so many": _script(
        _loop("for n, i in enumerate(range(0, len(tokens) - L, L)):", f"if n % 100 == 99:\n    break_ = 1\n    continue\n{X_Y}")
    ),
    "a limit of -1": _script(before="cap = int(os.environ.get('CAP', '-1'))\nif cap != -1:\n    tokens = tokens[:cap]"),
    "debugging": _script(before="DEBUG = False\nif DEBUG:\n    tokens = tokens[:10_000]"),
    "a smoke test": _script(before="if '--smoke' in sys.argv:\n    tokens = tokens[:10_000]"),
    "more than the text": _script(before="tokens = tokens[:100_000_000]"),
    "a warm-up": _script(f"    for i in range(10):\n        model(tokens[i * L : i * L + L])\n{_loop(ALL)}"),
    "a quick evaluation beside": _script()
    + "print(f'quick val_bpb:{evaluate(model, tokens[:102400], size_of)}')\n"
    + "final_bpb = evaluate(model, tokens, size_of)\nprint(f'final val_bpb:{final_bpb}')\n",
    "several samples": _script(
        _loop("for k in range(16):", f"{ALL}\n    {X_Y}\n    nats += cost(model, x, y).item() / 16", adds=False)
    ),
    "several samples of a window": _script(
        _loop(ALL, f"{X_Y}\nfor k in range(16):\n    nats += cost(model, x, y).item() / 16", adds=False)
    ),
    "parts of a window": _script(
        _loop(ALL, f"{X_Y}\nfor j in range(0, 1024, 128):\n    nats += cost(model, x, y[j : j + 128]).item()", adds=False)
    ),
    "while": _script(_loop("while i + L < len(tokens):", f"{X_Y}\ni += L", "i = 0")),
    "while, by ends": _script(
        _loop("while pos < n:", "end = min(pos + L, n)\nx, y = tokens[pos:end], tokens[pos + 1 : end + 1]\npos = end",
              "pos, n = 0, len(tokens) - 1")
    ),
    "a header": _script(
        before="num = int(np.fromfile('v.bin', dtype=np.int32, count=256)[2])\n"
        "tokens = np.fromfile('v.bin', dtype=np.uint16, count=num, offset=1024)"
    ),
    "a split by numbers": _script(before="tokens = np.memmap('enwik8', dtype=np.uint8)[90_000_000:95_000_000]"),
    "a split by a share": _script(before="tokens = tokens[int(0.9 * len(tokens)):]"),
    "documents": _script(
        _loop("for a, b in zip(bos[:-1], bos[1:]):", "x, y = tokens[a : b - 1], tokens[a + 1 : b]",
              "bos = (tokens == 1).nonzero().flatten().tolist() + [len(tokens)]")
    ),
    "as many batches as there are": _script(
        _loop("for _ in range(len(loader.tokens) // (8 * L)):", "x, y = loader.next_batch(8, L)", "loader = Loader('v')"),
        functions=LOADER,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_what_scores_the_whole_text_is_bounded_by_nothing(name: str) -> None:
    text = WHOLE[name].replace("    return nats /", "    dist.all_reduce(nats)\n    return nats /")
    assert "BPB350" not in {finding.code for finding in check_source(text)}


SLIDING = _script("""    starts = [s for s in range(0, len(tokens) - 1, 64) if min(s + L, len(tokens) - 1) - s >= 64 or s == 0]
    for b in range(0, len(starts), 32):
        batch = starts[b : b + 32]
        x_batch, y_batch = torch.zeros(len(batch), L, dtype=torch.int64), torch.zeros(len(batch), L, dtype=torch.int64)
        for n, s in enumerate(batch):
            end = min(s + L, len(tokens) - 1)
            chunk = tokens[s : end + 1]
            x_batch[n, : end - s], y_batch[n, : end - s] = chunk[:-1], chunk[1:]
        nll = F.cross_entropy(model(x_batch).transpose(1, 2), y_batch, reduction="none")
        nats += nll[:, -64:].sum().item()
        num_bytes += int(size_of[y_batch[:, -64:]].sum())""")


def test_windows_that_slide_over_the_text_score_all_of_it_or_as_much_as_their_starts_reach() -> None:
    assert "BPB350" not in {finding.code for finding in check_source(SLIDING)}
    cut = SLIDING.replace("range(0, len(starts), 32)", "range(0, 64, 32)").replace("starts = [", "starts = all_ = [")
    assert "BPB350" in {finding.code for finding in check_source(cut)}


@pytest.mark.parametrize(("text_tokens", "found"), [(None, True), (204_800, False), (62_000_000, True)])
def test_a_bound_that_the_text_does_not_reach_is_none(text_tokens: int | None, found: bool) -> None:
    text = _script(before="tokens = tokens[:204_800]")
    codes = {each.code for each in check_source(text, ScriptContext(rules=GOLF, text_tokens=text_tokens))}
    assert ("BPB350" in codes) is found


WALK = ast.walk


def _walked(monkeypatch: pytest.MonkeyPatch, num_lines: int) -> int:
    """How many nodes an audit walks over, of a loop that has so many ways to set what is scored."""
    walked = 0

    def counting(node: ast.AST) -> Iterator[ast.AST]:
        nonlocal walked
        for part in WALK(node):
            walked += 1
            yield part

    ways = "\n".join(f"if V > {k}: x = y = tokens[i + {k} : i + L + {k}]" for k in range(num_lines))
    script = _script(_loop(ALL, ways + "\nif i >= 200: break"))
    with monkeypatch.context() as patch:
        patch.setattr(ast, "walk", counting)
        check_source(script)
    return walked


def test_a_loop_is_walked_over_once_however_often_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = _walked(monkeypatch, 10), _walked(monkeypatch, 40)
    assert many < 6 * few


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("documents", "At most 200 windows, batches or documents are scored"),
        ("starts", "At most 200 windows of 1,024 tokens each (L), 204,800 tokens, are scored"),
        ("a slice", "At most the first 204,800 tokens"),
    ],
)
def test_a_bound_is_told_with_what_it_counts(name: str, said: str) -> None:
    (found,) = [finding for finding in check_source(PARTS[name][0]) if finding.code == "BPB350"]
    assert said in found.message
