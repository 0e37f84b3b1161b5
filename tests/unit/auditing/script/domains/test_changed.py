"""What is added to a byte count, under which conditions, with which sign and factor: statements as expressions."""

# ruff: noqa: E501 - lines of scripts, as they are

from __future__ import annotations

import pytest

from tests.golf_rules import check_source

HEAD = """import math
import numpy as np
import torch
import torch.nn.functional as F
import sentencepiece as spm
V = 1024
sp = spm.SentencePieceProcessor(model_file="./data/tokenizers/fineweb_1024_bpe.model")
model, tokens, valid = torch.load("m.pt"), torch.load("v.pt"), torch.load("valid.pt")
FAST = torch.cuda.is_available()


def tables(keep):
    size, spaced, bound = np.zeros(V, dtype=np.int16), np.zeros(V, dtype=bool), np.ones(V, dtype=bool)
    for i in range(sp.vocab_size()):
        if sp.is_control(i) or sp.is_unknown(i):
            continue
        bound[i] = False
        if sp.is_byte(i):
            size[i] = 1
            continue
        piece = sp.id_to_piece(i)
        spaced[i] = piece.startswith("\\u2581")
        size[i] = len(piece.replace("\\u2581", "").encode("utf-8"))
    return torch.tensor(size), torch.tensor(spaced), torch.tensor(bound)


size, spaced, bound = tables(False)
whole = torch.tensor([
    0 if sp.is_control(i) else 1 if sp.is_byte(i) else len(sp.id_to_piece(i).replace("\\u2581", " ").encode())
    for i in range(V)
])
letters = torch.tensor([
    0 if sp.is_control(i) else 1 if sp.is_byte(i) else len(sp.id_to_piece(i).replace("\\u2581", "").encode())
    for i in range(V)
])


def of_pair(a, b):
    if spaced[b] and not bound[a]:
        return size[b] + 1
    return size[b]


def never_of_pair(a, b):
    if spaced[b] and bound[a]:
        return size[b] + 1
    return size[b]


"""
EVALUATION = """nats, count = 0.0, 0
for x, y in zip(tokens[:-1].split(512), tokens[1:].split(512)):
    nats += F.cross_entropy(model(x[None])[0].float(), y, reduction="sum").item()
    COUNTED
val_bpb = nats / math.log(2) / count
print(f"val_bpb:{val_bpb:.6f}")
"""


def _pairs(*lines: str) -> str:
    return "for a, b in zip(x.tolist(), y.tolist()):\n" + "\n".join("        " + line for line in lines)


RIGHT = {
    "one test": _pairs("count += size[b]", "if spaced[b] and not bound[a]:", "    count += 1"),
    "nested": _pairs("count += size[b]", "if spaced[b]:", "    if not bound[a]:", "        count += 1"),
    "nested the other way": _pairs("count += size[b]", "if not bound[a]:", "    if spaced[b]:", "        count += 1"),
    "continue": _pairs("count += size[b]", "if bound[a]:", "    continue", "if spaced[b]:", "    count += 1"),
    "a count of the pair": _pairs("n = size[b]", "if spaced[b]:", "    if not bound[a]:", "        n += 1", "count += n"),
    "by a function": _pairs("count += of_pair(a, b)"),
    "overwritten": _pairs("n = size[b]", "if spaced[b] and not bound[a]:", "    n = size[b] + 1", "count += n"),
    "narrowed": _pairs("extra = spaced[b]", "extra &= not bound[a]", "count += size[b] + extra"),
    "taken back": _pairs("count += size[b] + spaced[b]", "if bound[a] and spaced[b]:", "    count -= 1"),
    "taken back inside": _pairs("count += size[b]", "if spaced[b]:", "    count += 1", "    if bound[a]:", "        count -= 1"),
    "taken back, as a product": _pairs("count += size[b] + spaced[b]", "count -= spaced[b] * bound[a]"),
    "else": _pairs("if spaced[b] and not bound[a]:", "    count += size[b] + 1", "else:", "    count += size[b]"),
    "else, nested": _pairs("if spaced[b]:", "    if bound[a]:", "        count += size[b]", "    else:",
                           "        count += size[b] + 1", "else:", "    count += size[b]"),
    "choices in choices": _pairs("count += size[b] + ((1 if not bound[a] else 0) if spaced[b] else 0)"),
    "a choice of sums": _pairs("count += size[b] + 1 if spaced[b] and not bound[a] else size[b]"),
    "product": _pairs("count += size[b] + spaced[b] * (1 - bound[a])"),
    "halved": _pairs("count += (2 * size[b] + 2 * (spaced[b] and not bound[a])) / 2"),
    "tensors": "count += (size[y].int() + (spaced[y] & ~bound[x]).int()).sum().item()",
    "tensors, taken back": "count += (size[y] + spaced[y].int()).sum()\n    count -= (bound[x] & spaced[y]).sum()",
    "tensors, a difference": "count += (size[y] + spaced[y].int() - (spaced[y] & bound[x]).int()).sum()",
    "tensors, named difference": "more = spaced[y] & bound[x]\n    count += (size[y] + spaced[y]).sum() - more.sum()",
    "tensors, times one": "count += (size[y] * 1 + (spaced[y] & ~bound[x])).sum()",
    "tensors, a product": "count += (size[y] + spaced[y] * (1 - bound[x].int())).sum()",
    "tensors, where of sums": "count += torch.where(spaced[y] & ~bound[x], size[y] + 1, size[y]).sum()",
    "tensors, where": "count += (size[y] + torch.where(spaced[y] & ~bound[x], 1, 0)).sum()",
    "tensors, where in where": "count += (size[y] + torch.where(spaced[y], torch.where(bound[x], 0, 1), 0)).sum()",
    "tensors, masked after": "count += ((size[y] + (spaced[y] & ~bound[x])) * valid).sum()",
    "tensors, selected": "count += (size[y] + (spaced[y] & ~bound[x]))[valid].sum()",
    "tensors, in place": "n = size[y].clone()\n    n += (spaced[y] & ~bound[x]).to(n.dtype)\n    count += n.sum()",
    "tensors, taken back in place": "n = size[y] + spaced[y]\n    n -= (spaced[y] & bound[x]).to(n.dtype)\n    count += n.sum()",
    "tensors, add_": "n = size[y].clone()\n    n.add_(spaced[y] & ~bound[x])\n    count += n.sum()",
    "tensors, sub_": "n = size[y] + spaced[y]\n    n.sub_(spaced[y] & bound[x])\n    count += n.sum()",
    "tensors, sub": "count += torch.sub(size[y] + spaced[y], spaced[y] & bound[x]).sum()",
    "tensors, mul": "count += size[y].sum() + torch.mul(spaced[y], 1 - bound[x].int()).sum()",
    "tensors, narrowed": "more = spaced[y]\n    more &= ~bound[x]\n    count += size[y].sum() + more.sum()",
    "one table": "count += (whole[y] - (spaced[y] & bound[x])).sum()",
    "either table": "if FAST:\n        n = whole[y] - (spaced[y] & bound[x])\n    else:\n        n = size[y] + (spaced[y] & ~bound[x])\n    count += n.sum()",
    "either table, in one line": "n = whole[y] if FAST else size[y] + (spaced[y] & ~bound[x])\n    count += n.sum()",
    "either table, added": "if FAST:\n        n = whole[y].sum()\n    else:\n        n = (letters[y] + (spaced[y] & ~bound[x])).sum()\n    count += n",
    "a check beside it": "count += whole[y].sum()\n    assert whole[y].sum() == (size[y] + (spaced[y] & ~bound[x])).sum()",
}  # fmt: skip
# The space twice, never, or something that is no known mistake and yet not right.
WRONG = {
    "BPB151": {
        "counted twice": _pairs("count += size[b]", "if spaced[b] and not bound[a]:", "    count += 2"),
        "and once more": _pairs("count += size[b] + spaced[b]", "if spaced[b]:", "    if not bound[a]:", "        count += 1"),
        "of the whole piece": _pairs("count += whole[b]", "if spaced[b]:", "    if not bound[a]:", "        count += 1"),
        "of the whole piece, else": _pairs("if spaced[b] and not bound[a]:", "    count += whole[b] + 1", "else:",
                                           "    count += whole[b]"),
        "tensors, doubled": "count += (size[y] + 2 * (spaced[y] & ~bound[x])).sum()",
        "tensors, where": "count += (size[y] + spaced[y] + torch.where(spaced[y] & ~bound[x], 1, 0)).sum()",
        "tensors, whole": "count += torch.where(spaced[y] & ~bound[x], whole[y] + 1, whole[y]).sum()",
        "tensors, a double negation": "count += (size[y] + spaced[y] - -(spaced[y] & ~bound[x]).int()).sum()",
        "in both ways": "n = whole[y] + (spaced[y] & ~bound[x]) if FAST else whole[y] + spaced[y]\n    count += n.sum()",
    },
    "BPB153": {
        "at the wrong condition": _pairs("count += size[b]", "if spaced[b]:", "    if bound[a]:", "        count += 1"),
        "by a function": _pairs("count += never_of_pair(a, b)"),
        "left out": _pairs("count += size[b]", "if not bound[a]:", "    continue", "if spaced[b]:", "    count += 1"),
        "overwritten": _pairs("n = whole[b]", "if spaced[b] and not bound[a]:", "    n = size[b]", "count += n"),
        "taken back": _pairs("count += size[b] + spaced[b]", "if not bound[a]:", "    if spaced[b]:", "        count -= 1"),
        "a choice": _pairs("count += size[b] + ((1 if bound[a] else 0) if spaced[b] else 0)"),
        "tensors": "count += size[y].sum()",
        "tensors, a product": "count += (size[y] + spaced[y] * bound[x]).sum()",
        "tensors, a difference": "count += (size[y] + spaced[y].int() - (spaced[y] & ~bound[x]).int()).sum()",
        "tensors, where": "count += (size[y] + torch.where(spaced[y] & bound[x], 1, 0)).sum()",
        "tensors, narrowed": "more = spaced[y]\n    more &= bound[x]\n    count += size[y].sum() + more.sum()",
    },
    None: {
        "of other words": _pairs("count += size[b]", "if not spaced[b]:", "    if not bound[a]:", "        count += 1"),
        "taken away": _pairs("count += size[b]", "if spaced[b] and not bound[a]:", "    count -= 1"),
        "taken away, as it stands": _pairs("count += size[b]", "count -= spaced[b] and not bound[a]"),
        "twice the table": _pairs("count += 2 * size[b] + (spaced[b] and not bound[a])"),
        "words alone": _pairs("if spaced[b] and not bound[a]:", "    count += 1", "else:", "    count += size[b]"),
        "words left out": _pairs("if spaced[b]:", "    continue", "count += size[b]"),
        "tensors, twice the table": "count += (2 * size[y] + (spaced[y] & ~bound[x])).sum()",
        "tensors, halved": "count += ((size[y] + (spaced[y] & ~bound[x])) / 2).sum()",
        "tensors, taken away": "count += size[y].sum()\n    count -= (spaced[y] & ~bound[x]).sum()",
        "tensors, taken away in place": "n = size[y].clone()\n    n -= (spaced[y] & ~bound[x]).to(n.dtype)\n    count += n.sum()",
        "tensors, sub_": "n = size[y].clone()\n    n.sub_(spaced[y] & ~bound[x])\n    count += n.sum()",
        "tensors, turned round": "count += torch.where(spaced[y] & ~bound[x], size[y], size[y] + 1).sum()",
        "tensors, less one each": "count += (size[y] + (spaced[y] & ~bound[x])).sum() - y.numel()",
        "one of two, nobody says which": "n = whole[y] if FAST else size[y]\n    count += n.sum()",
        "one of two branches": "if FAST:\n        n = whole[y].sum()\n    else:\n        n = letters[y].sum()\n    count += n",
    },
}  # fmt: skip
_JUDGED = {"BPB151", "BPB152", "BPB153", "BPB154", "BPB156", "BPB162"}


def _codes(counted: str) -> set[str]:
    return {found.code for found in check_source(HEAD + EVALUATION.replace("COUNTED", counted))} & _JUDGED


@pytest.mark.parametrize("name", RIGHT)
def test_a_count_that_is_right_is_said_to_be(name: str) -> None:
    assert _codes(RIGHT[name]) == {"BPB162"}


@pytest.mark.parametrize(("code", "name"), [(code, name) for code, shapes in WRONG.items() for name in shapes])
def test_a_count_that_is_wrong_gets_its_name_or_none(code: str | None, name: str) -> None:
    assert _codes(WRONG[code][name]) == ({code} if code else set())


CALLERS = """

def evaluate(model, tokens, table):
    nats, count = 0.0, 0
    for x, y in zip(tokens[:-1].split(512), tokens[1:].split(512)):
        nats += F.cross_entropy(model(x[None])[0].float(), y, reduction="sum").item()
        count += table[y].sum().item()
    val_bpb = nats / math.log(2) / count
    print(f"val_bpb:{val_bpb:.6f}")


"""


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (["whole"], {"BPB162"}),
        (["letters"], {"BPB153"}),
        (["whole", "whole.cuda()"], {"BPB162"}),
        (["letters", "letters.cuda()"], {"BPB153"}),
        (["whole", "letters"], set()),
        (["letters", "size"], {"BPB153"}),
        (["whole", "torch.load('table.pt')"], set()),  # what a file holds is not told
        (["letters", "whole - spaced"], set()),
    ],
)
def test_tables_of_several_callers_are_not_added_up(calls: list[str], expected: set[str]) -> None:
    text = HEAD + CALLERS + "".join(f"evaluate(model, tokens, {table})\n" for table in calls)
    assert {found.code for found in check_source(text)} & _JUDGED == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [(["whole", "whole"], {"BPB162"}), (["letters", "letters"], {"BPB153"}), (["whole", "letters"], set())],
)
def test_counts_of_several_callers_are_not_added_up_either(counts: list[str], expected: set[str]) -> None:
    lines = """def report(nats, count):
    print(f"val_bpb:{nats / math.log(2) / count:.6f}")


nats = F.cross_entropy(model(tokens[None])[0].float(), tokens, reduction="sum").item()
"""
    text = HEAD + lines + "".join(f"report(nats, {table}[tokens].sum().item())\n" for table in counts)
    assert {found.code for found in check_source(text)} & _JUDGED == expected
