"""Text that is changed for good before it is made tokens, and changes that can be undone or are of something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script.context import LoggedScore, ScriptContext
from bpb_harness.findings import Severity
from tests.golf_rules import check_source

SCRIPT = """import hashlib, math, os, re, unicodedata
from collections import Counter
import numpy as np
import torch
import torch.nn.functional as F

enc, network = load_tokenizer(), torch.load("m.pt")
text = open("val.txt").read()
num_bytes = len(text.encode("utf-8"))
ALPHABET = "abcdefghijklmnopqrstuvwxyz .,"
table = {c: n for n, c in enumerate(ALPHABET)}
chars = sorted(set(text))
own = {c: n for n, c in enumerate(chars)}
HELPER


def evaluate(tokens):
    nats = 0.0
    for start in range(0, len(tokens) - 1, 1024):
        w = tokens[start : start + 1025]
        nats += F.cross_entropy(network(w[:-1]), w[1:], reduction="sum").item()
    return nats / math.log(2.0) / num_bytes


TOKENS
print(f"val_bpb:{evaluate(ids):.5f}")
"""


def _told(tokens: str, helper: str = "") -> list[str]:
    findings = check_source(SCRIPT.replace("TOKENS", tokens).replace("HELPER", helper))
    assert [each.message for each in findings if each.code == "BPB950"] == []
    changed = [each for each in findings if each.code == "BPB166"]
    assert {each.severity for each in changed} <= {Severity.WARNS}
    return [each.message for each in changed]


FOLD = "def fold(t):\n    return t.strip().lower()"
LOOP = """def tokens_of(t):
    found = []
    for c in t:
        low = c.lower()
        if low in own:
            found.append(own[low])
        else:
            found.extend([own["?"]] * len(c.encode("utf-8")))
    return found"""
MARKED = """def tokens_of(t):
    found = []
    for c in t:
        if TEST:
            found.append(own["^"])
        found.append(own[c.lower()])
    return found"""
FILTER = """def tokens_of(t):
    found = []
    for c in t:
        if c in table:
            found.append(table[c])
    return found"""
BY_SCRIPT = "ids = torch.tensor(tokens_of(text))"


@pytest.mark.parametrize(
    ("tokens", "helper", "what"),
    [
        ("ids = torch.tensor(enc.encode(text.lower()))", "", "Letters are folded to one case"),
        ("ids = torch.tensor(enc.encode(text.casefold())).long()", "", "Letters are folded"),
        ("ids = torch.tensor(enc.encode(str.lower(text)))", "", "Letters are folded to one case"),
        ("ids = []\nfor t in map(str.lower, text.split('.')): ids.extend(enc.encode(t))", "", "Letters are folded"),
        ("ids = torch.tensor([own[c] for c in map(str.lower, text)])", "", "Letters are folded"),
        ("ids = torch.tensor(enc.encode(fold(text)))", FOLD, "Letters are folded"),
        ("low = fold(text)\nids = torch.tensor(enc.encode(low))[:100_000]", FOLD, "Letters are folded"),
        ("ids = torch.tensor([own[c] for c in text.lower()])", "", "Letters are folded"),
        ("ids = torch.tensor([own[c.lower()] for c in text])", "", "Letters are folded"),
        (BY_SCRIPT, LOOP, "Letters are folded"),
        ("b = text.lower().encode()\nids = torch.from_numpy(np.frombuffer(b, np.uint8))", "", "Letters are folded"),
        ("ids = []\nfor line in text.lower().split('.'):\n    ids.extend(enc.encode(line))", "", "Letters are folded"),
        (
            "ids = torch.tensor(enc.encode(re.sub(r'[^A-Za-z ]', '', text)))", "",
            "What matches '[^A-Za-z ]' is replaced by ''",
        ),
        (
            "ids = torch.tensor(enc.encode(DIGITS.sub('0', text)))", "DIGITS = re.compile('[1-9]')",
            "What matches '[1-9]' is replaced by '0'",
        ),
        ("ids = torch.tensor(enc.encode(re.sub(r'\\s+', ' ', text)))", "", "What matches"),
        ("ids = torch.tensor(enc.encode(unicodedata.normalize('NFKC', text)))", "", "Characters are made one by NFKC"),
        (
            "ids = torch.tensor(enc.encode(text.encode('ascii', 'ignore').decode()))", "",
            "Characters that ASCII lacks are dropped",
        ),
        (
            "b = text.encode('ascii', errors='replace')\nids = torch.tensor(list(b))", "",
            "Characters that ASCII lacks are made one",
        ),
        ("ids = torch.tensor([table.get(c, 0) for c in text])", "", "All characters that table lacks are made one"),
        ("ids = torch.tensor([table[c] for c in text if c in table])", "", "Characters that table lacks are dropped"),
        (BY_SCRIPT, FILTER, "Characters that table lacks are dropped"),
        (
            "ids = torch.tensor(enc.encode(text).ids)", "enc.normalizer = Sequence([NFD(), Lowercase()])",
            "Letters are folded to one case",
        ),
    ],
)  # fmt: skip
def test_a_change_that_loses_something_is_a_doubt(tokens: str, helper: str, what: str) -> None:
    (message,) = _told(tokens, helper)
    assert message.startswith(what)
    assert "these tokens are the scored ones" in message
    assert "<script>:" in message


@pytest.mark.parametrize(
    ("tokens", "helper"),
    [
        ("ids = torch.tensor(enc.encode(text))", FOLD),  # defined, and not used
        *((BY_SCRIPT, MARKED.replace("TEST", test)) for test in ("c.isupper()", "c != c.lower()", "'A' <= c <= 'Z'")),
        ("caps = [c.isupper() for c in text]\nids = torch.tensor(enc.encode(fold(text)))", "def fold(t):\n"
         "    marks = case_marks(t)\n    return marks + t.lower()"),
        ("mode = os.environ['MODE'].lower()\nids = torch.tensor(enc.encode(text) if mode == 'bpe' else own[mode])", ""),
        ("if os.environ.get('FOLD'):\n    text = text.lower()\nids = torch.tensor(enc.encode(text))", ""),
        ("ids = torch.tensor(enc.encode(text.lower() if FOLDS else text))", "FOLDS = bool(int(os.environ['FOLDS']))"),
        ("ids = torch.tensor(enc.encode(fold(text, False)))", "def fold(t, yes):\n    if not yes:\n        return t\n"
         "    return t.lower()"),
        ("print(len(enc.encode(text.lower())))\nids = torch.tensor(enc.encode(text))", ""),
        ("seen = Counter(enc.encode(text.lower()))\nids = torch.tensor(enc.encode(text))", ""),
        ("ids = torch.tensor(enc.encode(text))\nprompt = 'Once'\nnp.save('val', enc.encode(prompt.lower()))", ""),
        ("names = sorted(map(str.lower, own))\nids = torch.tensor(enc.encode(text))", ""),
        ("hints = [hash(str.lower(w)) % 1024 for w in text.split()]\nids = torch.tensor(enc.encode(text))", ""),
        ("hints = [hash(w.lower()) % 1024 for w in text.split()]\nids = torch.tensor(enc.encode(text))", ""),
        ("kinds = [w.lower() in chars for w in text.split()]\nids = torch.tensor(enc.encode(text))", ""),
        ("ids = torch.tensor([own.get(c, 0) for c in text])", ""),  # its alphabet is the text's
        ("ids = torch.tensor([own[c] for c in text if c in own])", ""),
        (
            "ids = torch.tensor([stored[c] for c in text if c in stored])",
            "stored = {c: n for n, c in enumerate(open('alphabet_of_the_text.txt').read())}",
        ),
        ("ids = torch.tensor([table.get(c) or enc.encode(c)[0] for c in text])", ""),
        ("ids = torch.tensor(enc.encode(text).ids)", "other.normalizer = Lowercase()"),
        ("print('of text8')\nids = torch.tensor([own[c] for c in text.lower()])", ""),  # which has no capitals
        ("import sentencepiece as spm\nids = torch.tensor(enc.encode(unicodedata.normalize('NFKC', text)))", ""),
        ("import sentencepiece as spm\nids = torch.tensor(enc.encode(re.sub(r'\\s+', ' ', text)))", ""),
        ("ids = torch.tensor(enc.encode(re.sub(r'([A-Z])', r'^\\1', text)))", ""),
        ("ids = torch.tensor(list(text.encode('utf-8', errors='replace')))", ""),
        ("train_tokenizer(line.lower() for line in open('train.txt'))\nids = torch.tensor(enc.encode(text))", ""),
        ("print(hashlib.sha256(text.lower().encode()).hexdigest())\nids = torch.tensor(enc.encode(text))", ""),
    ],
)  # fmt: skip
def test_what_loses_nothing_of_the_scored_text(tokens: str, helper: str) -> None:
    assert _told(tokens, helper) == []


WRITER = """import numpy as np
import sys

TABLE = {c: n for n, c in enumerate(open("alphabet.txt").read())}


class Folding:
    @classmethod
    def load(cls, path):
        return cls()

    def encode(self, text):
        return [TABLE[c] for c in text.lower()]


def write_shard(path, tokens):
    with open(path, "wb") as file:
        file.write(np.array(tokens, dtype=np.uint16).astype("<u2").tobytes())


def main(enc, docs):
    ids = []
    for doc in docs:
        ids.extend(CALL)
    SAVED


if __name__ == "__main__":
    main(load_tokenizer(), open(sys.argv[1]))
"""
SAVED = "write_shard('val_000.bin', ids)"


@pytest.mark.parametrize(
    ("call", "saved", "is_told"),
    [
        ("enc.encode(doc.lower())", SAVED, True),
        ("enc.encode(doc.lower())", "np.array(ids).tofile('fineweb_val.bin')", True),
        ("enc.encode(doc.lower())", "np.save('valid.npy', np.array(ids))", True),
        ("enc.encode(doc.lower())", "m = np.memmap('val.bin')\n    m[: len(ids)] = ids", True),
        ("Folding.load('t.json').encode(doc)", SAVED, True),
        ("Folding().encode(doc)", SAVED, True),
        ("enc.encode(doc)", SAVED, False),  # another tokenizer than the one that folds
        ("enc.encode(doc.lower())", "print(sum(ids), 'val')", False),
        ("enc.encode(doc.lower())", "open('val.txt', 'w').write(str(len(ids)))", False),
        ("enc.encode(doc.lower())", "np.save('lengths.npy', np.array(ids))", False),  # of no validation
    ],
)
def test_tokens_that_are_written_for_a_validation(call: str, saved: str, is_told: bool) -> None:
    findings = check_source(WRITER.replace("CALL", call).replace("SAVED", saved))
    told = [each.message for each in findings if each.code == "BPB166"]
    assert ["written to a file beside those of a validation" in each for each in told] == ([True] if is_told else [])


SCORER = """import math
import torch
import torch.nn.functional as F

TABLE = {c: n for n, c in enumerate(open("alphabet.txt").read())}


class Folding:
    @classmethod
    def load(cls, path):
        return cls()

    def encode(self, text):
        return [TABLE[c] for c in text.lower()]

    def bytes_of(self):
        return torch.ones(len(TABLE))


def evaluate(args, network, tokens):
MADE
    nats = F.cross_entropy(network(tokens[:-1]), tokens[1:], reduction="sum").item()
    return nats / math.log(2.0) / size_of[tokens[1:]].sum().item()


if __name__ == "__main__":
    args = parse()
    print(f"val_bpb:{evaluate(args, torch.load('m.pt'), torch.load('val.pt')):.5f}")
"""


@pytest.mark.parametrize(
    ("made", "is_told"),
    [
        ("    size_of = Folding.load(args.tokenizer).bytes_of()", True),
        ("    tokenizer = Folding()\n    size_of = tokenizer.bytes_of()", True),
        ("    size_of = torch.load('sizes.pt')", False),
        (
            "    if args.tokenizer.endswith('.json'):\n        size_of = Folding.load(args.tokenizer).bytes_of()\n"
            "    else:\n        size_of = torch.load('sizes.pt')",
            False,  # nothing shows which of them ran
        ),
    ],
)
def test_the_tokenizer_of_the_script_that_scores(made: str, is_told: bool) -> None:
    told = [each.message for each in check_source(SCORER.replace("MADE", made)) if each.code == "BPB166"]
    assert ["has its tokenizer from there (Folding)" in each for each in told] == ([True] if is_told else [])


@pytest.mark.parametrize(
    ("line", "is_told"),
    [("tokenizer:folding of t.json", True), ("tokenizer:pieces of t.model", False), ("tokenizer:folding", False)],
)
def test_which_of_two_tokenizers_a_log_shows(tmp_path: Path, line: str, is_told: bool) -> None:
    made = (
        "    if args.tokenizer.endswith('.json'):\n        size_of = Folding.load(args.tokenizer).bytes_of()\n"
        "        print(f'tokenizer:folding of {args.tokenizer}')\n"
        "    else:\n        size_of = torch.load('sizes.pt')\n        print(f'tokenizer:pieces of {args.tokenizer}')"
    )
    log = tmp_path / "train.log"
    log.write_text(f"{line}\nval_bpb:1.2\n")
    context = ScriptContext(logged=(LoggedScore(log, "train.log", 2),), claimed_labels=("val_bpb",))
    assert ["BPB166" in {each.code for each in check_source(SCORER.replace("MADE", made), context)}] == [is_told]


@pytest.mark.parametrize(("default", "value", "is_told"), [("0", "1", True), ("1", "0", False)])
def test_an_option_that_a_command_sets(default: str, value: str, is_told: bool) -> None:
    tokens = (
        f"if int(os.environ.get('FOLD', '{default}')):\n    text = text.lower()\nids = torch.tensor(enc.encode(text))"
    )
    script = SCRIPT.replace("TOKENS", tokens).replace("HELPER", "")
    codes = {each.code for each in check_source(script, ScriptContext(settings={"FOLD": value}))}
    assert codes >= ({"BPB166", "BPB953"} if is_told else set())
    assert is_told or codes.isdisjoint({"BPB166", "BPB953"})


def test_many_changes_leave_work_for_the_checks_that_follow() -> None:
    helper = "t = text\n" + "t = t.lower()\n" * 900
    findings = check_source(SCRIPT.replace("TOKENS", "ids = enc.encode(text)").replace("HELPER", helper))
    assert [each.message for each in findings if each.code == "BPB952"] == []
