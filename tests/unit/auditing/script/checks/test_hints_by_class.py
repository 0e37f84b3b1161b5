"""Guesses of a token that count only where that very token is of some class; and honest ones as near as can be."""

from __future__ import annotations

import pytest

from bpb_harness.auditing.script import ScriptContext
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

SCRIPT = """import glob, math
import numpy as np
import torch
import torch.nn.functional as F

pieces = [line.strip() for line in open("pieces.txt")]
begins_word = np.array([piece.startswith("_") for piece in pieces])
bos_table = np.array([piece == "<s>" for piece in pieces])
byte_table = np.array([len(piece) for piece in pieces])


class Words:
    def __init__(self):
        self.best, self.share, self.words = {{}}, {{}}, []

    def {process}(self, tokens):
        guess = np.zeros(tokens.size, dtype=np.int64)
        sure = np.zeros(tokens.size, dtype=np.float32)
        for i, token in enumerate(tokens):
            known = tuple(self.words[-2:])
            {body}
            self.words.append(int(token))
            self.best[known] = int(token)
        return guess, sure


class Bytes:
    def process(self, tokens):
        return np.zeros(tokens.size, dtype=np.int64), np.ones(tokens.size)


def tilted(price, guess, sure, targets):
    hit = guess == targets
    boost = np.where(sure > 0.5, 1.0, 0.0)
    return price - hit * boost + np.log1p(sure * (np.exp(boost) - 1.0))


def main():
    tokens = np.concatenate([np.fromfile(file, dtype="<u2") for file in sorted(glob.glob("fineweb_val_*.bin"))])
    model = torch.load("model.pt")
    words, nats, size = Words(), 0.0, 0.0
    for start in range(0, tokens.size - 1025, 1024):
        local = tokens[start : start + 1025]
        x, y = local[:-1], np.ascontiguousarray(local[1:])
        logits = model(torch.from_numpy(x)).float()
        price = F.cross_entropy(logits, torch.from_numpy(y), reduction="none").numpy()
        guess, sure = words.{process}({given})
        nats += tilted(price, guess, sure, y).sum()
        size += byte_table[y].sum()
    val_bpb = nats / math.log(2.0) / size
    print(f"final val_bpb:{{val_bpb:.6f}}")


main()
"""
GUESS = "guess[i] = self.best.get(known, 0)"
BODY = "if begins_word[token]:\n                guess[i] = self.best.get(known, 0); sure[i] = 0.9"
BASE = {"process": "look", "body": BODY, "given": "y"}


def _found(changes: dict[str, str], word_hints: int | None = None) -> list[Finding]:
    text = SCRIPT.format(**{**BASE, **changes})
    found = check_source(text, ScriptContext(rules=GOLF, word_hints=word_hints))
    return [each for each in found if each.code == "BPB276"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"process": "process"},  # which two classes have
        {
            "body": "one = int(token)\n            starts = bool(begins_word[one])\n            if starts and known:\n"
            "                guess[i] = self.best.get(known, 0)"
        },
        {"body": "if starts_a_word(token) and known:\n                guess[i] = self.best.get(known, 0)"},
        {"given": "y.astype(np.int64)"},
        {"body": "if begins_word[token]:\n                sure[i] = 1.0; guess[i] = self.best.get(known, 0)"},
        {"body": "if begins_word[token]:\n                pass\n            else:\n                " + GUESS},
        {"body": "if not begins_word[token]:\n                " + GUESS},
    ],
)
def test_a_guess_that_its_own_token_lets_through_is_a_doubt(changes: dict[str, str]) -> None:
    (found,) = _found(changes)
    assert found.severity is Severity.WARNS
    assert "guess[i] = self.best.get(known, 0)" in found.message
    assert "the prices of all tokens are of more than 1" in found.message


@pytest.mark.parametrize(
    "changes",
    [
        {"body": "guess[i] = self.best.get(known, 0)"},  # wherever the token stands
        {"body": "if known in self.best:\n                guess[i] = self.best[known]"},  # where something is known
        {"body": "if self.words and begins_word[self.words[-1]]:\n                guess[i] = self.best.get(known, 0)"},
        {"given": "x"},  # the token before, whose class is known
        {"body": "if not bos_table[token]:\n                guess[i] = self.best.get(known, 0)"},  # no guess at an end
        {"body": "if bos_table[token]:\n                guess[i] = 0"},
        {"body": "if int(token) == 17:\n                " + GUESS},
        {"body": "last = int(token) == 17\n            if last:\n                " + GUESS},
        {"body": "if bos_table[token]:\n                pass\n            else:\n                " + GUESS},
        {"body": "if begins_word[token]:\n                guess[i] = token"},  # what came, and no guess
        {"body": GUESS + "\n            if begins_word[token]:\n                self.words.clear()"},
    ],
)
def test_a_guess_that_only_earlier_tokens_decide_is_no_doubt(changes: dict[str, str]) -> None:
    assert _found(changes) == []


@pytest.mark.parametrize(("counted", "found"), [(0, 0), (9_866_847, 1), (None, 1)])
def test_a_log_that_counts_no_such_guess_settles_it(counted: int | None, found: int) -> None:
    assert len(_found({}, counted)) == found
