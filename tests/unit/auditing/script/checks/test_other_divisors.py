"""BPB150 to 156 where a faulty count is no divisor of the score: a share of each token, a rate, a number beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bpb_harness.auditing.script import ScriptContext
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

HEAD = """
import json
import math
import numpy as np
import sentencepiece as spm
import torch
import torch.nn.functional as F

MARK = "\\u2581"
DATA = "./data/datasets/fineweb10B_sp1024"


def table(sp):
    lengths = np.zeros(1024, dtype=np.int32)
    for i in range(1024):
        piece = sp.id_to_piece(i)
        lengths[i] = COUNTED
    return lengths

"""
SCORE = """
def score(targets, losses, sp, num_bytes):
    lengths = table(sp)
    USE
    return float(nats / math.log(2.0) / OFFICIAL)


def main(num_bytes):
    sp = spm.SentencePieceProcessor(model_file="fineweb_1024_bpe.model")
    tokens = torch.load("tokens.pt")
    losses = F.cross_entropy(model(tokens), tokens[1:], reduction="none").cpu().numpy()
    targets = tokens[1:].cpu().numpy()
    val_bpb = score(targets, losses, sp, num_bytes)
    print(f"final_exact val_bpb:{val_bpb:.8f}")


main(int(open("bytes.txt").read()))
"""
FAULTY = {
    "BPB151": 'len(piece.replace(MARK, " ").encode()) + int(piece.startswith(MARK))',
    "BPB152": "len(piece.encode())",
    "BPB153": 'len(piece.replace(MARK, "").encode())',
    "BPB154": 'len(piece.replace(MARK, " ").encode())',
    "BPB155": "len(sp.decode([i]).encode())",
    "BPB156": '1 if sp.is_byte(i) else len(piece.replace(MARK, " ").encode())',
}
REFUTING = [code for code in FAULTY if code != "BPB156"]  # the last one is a doubt by itself
CODES = {"BPB150", *FAULTY}
EACH, ALL = "lengths[targets]", "lengths[targets].sum()"
OFFICIAL = [
    'json.load(open("val_meta.json"))["num_bytes"]',
    "count_official(targets)",
    'float(np.load("per_token.npy")[targets].sum())',
    "num_bytes",
    "151_080_363",
    'len(open("val.txt", "rb").read())',
]
SHARES = {
    "repeated": "shares = losses / EACH\n    nats = np.repeat(shares, EACH).sum()",
    "named": "each = EACH\n    shares = losses / each\n    spread = np.repeat(shares, each)\n    nats = spread.sum()",
    "guarded": "each = np.maximum(EACH, 1)\n    shares = losses / each\n    nats = np.repeat(shares, each).sum()",
    "looped": "nats = 0.0\n    for loss, t in zip(losses, targets):\n        share = loss / lengths[t]\n"
    "        for _ in range(lengths[t]):\n            nats += share",
    "mean": "shares = losses / EACH\n    nats = shares.mean() * num_bytes",
}
RATES = {
    "listed": "rates, sizes = [], []\n    for a in range(0, len(losses), 1000):\n"
    "        chunk = lengths[targets[a : a + 1000]].sum()\n        rates.append(losses[a : a + 1000].sum() / chunk)\n"
    "        sizes.append(chunk)\n    nats = np.dot(rates, sizes)",
}
ASIDE = {
    "taken back": "shares = losses / EACH\n    nats = (shares * EACH).sum()",
    "chunk length": "size = int(ALL) // 100\n    nats = 0.0\n    for a in range(0, len(losses), size):\n"
    "        nats += losses[a : a + size].sum()",
    "weight": "w = EACH / EACH.mean()\n    print('weighted', (losses * w).sum())\n    nats = losses.sum()",
    "histogram": "hist = np.bincount(EACH, weights=losses)\n    print('by length', hist)\n    nats = losses.sum()",
    "printed": "print('nats per byte', (losses / EACH).mean())\n    nats = losses.sum()",
    "rough": "rough = losses.sum() / math.log(2.0) / ALL\n    print(f'by_spelling bpb:{rough:.4f}')\n"
    "    nats = losses.sum()",
}
LABELS = [(), ("final_exact",)]


def _script(code: str, use: str, official: str, body: str = SCORE) -> str:
    counted = FAULTY.get(code, "1")
    if code == "BPB150":
        use = use.replace("lengths[targets[a : a + 1000]].sum()", "2.47").replace("lengths[t]", "2.47")
        use = use.replace("ALL", "(len(targets) * 2.47)").replace("EACH.mean()", "2.47").replace("EACH", "2.47")
    text = (HEAD + body).replace("COUNTED", counted).replace("USE", use).replace("OFFICIAL", official)
    return text.replace("ALL", ALL).replace("EACH", EACH)


def _found(text: str, labels: tuple[str, ...] = ()) -> list[Finding]:
    context = ScriptContext(rules=GOLF, claimed_labels=labels, bytes_per_token=2.4359)
    return [finding for finding in check_source(text, context) if finding.code in CODES]


def _errors(text: str, labels: tuple[str, ...] = ()) -> list[str]:
    return [finding.code for finding in _found(text, labels) if finding.severity is Severity.REFUTES]


def _uses() -> Iterator[tuple[str, str]]:
    uses = [*SHARES.values(), *RATES.values(), *ASIDE.values()]
    yield from ((use, OFFICIAL[0]) for use in uses)
    # The bytes are taken out of the shares, or put in the place of others, by what is multiplied.
    yield SHARES["repeated"] + " * inverse_size(targets)", "1.0"
    yield "nats = losses.sum() / ALL * byte_ratio(targets)", "1.0"
    yield from ((SHARES["repeated"], official) for official in OFFICIAL[1:])
    yield from ((RATES["listed"], official) for official in OFFICIAL[1:])


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("code", sorted(CODES))
@pytest.mark.parametrize(("use", "official"), [*_uses()])
def test_a_count_that_does_not_divide_the_score_refutes_nothing(
    use: str, official: str, code: str, labels: tuple[str, ...]
) -> None:
    assert _errors(_script(code, use, official), labels) == []


@pytest.mark.parametrize("code", sorted(CODES))
def test_of_two_divisors_it_is_a_doubt_without_a_factor(code: str) -> None:
    found = [each for each in _found(_script(code, RATES["listed"], OFFICIAL[0])) if each.code == code]
    assert {(each.severity, each.factor) for each in found} == {(Severity.WARNS, None)}


GUILTY = [
    ("nats = losses.sum()", ALL),
    ("nats = losses.mean() * len(losses)", ALL),
    ("nats = losses.sum()", "max(float(ALL), 1.0)"),
    ("nats = losses.sum() / len(targets)", "EACH.mean()"),
    ("count = 0\n    for t in targets:\n        count += 1\n    nats = losses.sum() / count * len(losses)", ALL),
    ("print('per token', (losses / EACH).mean())\n    nats = losses.sum()", ALL),
]


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("code", REFUTING)
@pytest.mark.parametrize(("use", "total"), GUILTY)
def test_its_total_below_the_score_refutes(use: str, total: str, code: str, labels: tuple[str, ...]) -> None:
    wanted = "BPB153" if code == "BPB155" else code  # what decodes single ids loses the spaces too
    assert _errors(_script(code, use, total), labels) == [wanted]


@pytest.mark.parametrize(
    ("use", "total"),
    [
        ("nats = losses.sum()", "(len(targets) * 2.47)"),
        ("nats = losses.mean()", "2.47"),
        ("nats = losses.sum() / targets.size", "2.47"),
        ("count = 0\n    for t in targets:\n        count += 1\n    nats = losses.sum() / count", "2.47"),
    ],
)
def test_so_does_a_constant_beside_counts_of_tokens(use: str, total: str) -> None:
    assert _errors(_script("BPB150", use, total)) == ["BPB150"]


BESIDE = """
def main():
    sp = spm.SentencePieceProcessor(model_file="fineweb_1024_bpe.model")
    lengths, tokens = table(sp), torch.load("tokens.pt")
    losses = F.cross_entropy(model(tokens), tokens[1:], reduction="none").cpu().numpy()
    targets = tokens[1:].cpu().numpy()
    rate = losses.sum() / math.log(2.0) / ALL
    print(f"by_spelling bpb:{rate:.4f}")
    score = OFFICIAL
    print(f"scored bpb:{score:.8f}")


main()
"""


@pytest.mark.parametrize("labels", [(), ("scored",)])
@pytest.mark.parametrize("code", sorted(CODES))
def test_a_number_beside_a_score_that_is_computed_elsewhere_refutes_nothing(code: str, labels: tuple[str, ...]) -> None:
    body = BESIDE.replace("ALL", "(len(targets) * 2.47)") if code == "BPB150" else BESIDE
    found = _found(_script(code, "", "official_score(losses, targets)", body), labels)
    assert {each.severity for each in found if each.code == code} == {Severity.WARNS}


@pytest.mark.parametrize("code", REFUTING)
def test_the_claimed_number_does_though_another_is_computed_elsewhere(code: str) -> None:
    text = _script(code, "", "official_score(losses, targets)", BESIDE)
    assert _errors(text, ("by_spelling",)) == ["BPB153" if code == "BPB155" else code]
