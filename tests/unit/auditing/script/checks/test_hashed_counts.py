"""Counts of hashed contexts as probabilities, in the idioms of published caches; counts that are none."""

# ruff: noqa: E501 - lines of scripts, as they are
from __future__ import annotations

import pytest

from bpb_harness.auditing.script import ScriptContext
from bpb_harness.auditing.script import check_source as check_of_text
from bpb_harness.findings import Severity
from tests.golf_rules import GOLF, check_source

SCRIPT = """
import math
import numpy as np
MASK = (1 << 22) - 1
FREE = -1


def score(p_net, tokens, num_bytes):
    {tables}
    nats = 0.0
    for i in range(2, len(tokens)):
        prev, here = int(tokens[i - 1]), int(tokens[i])
        {lookup}
        nats -= math.log(0.7 * p_net[i] + 0.3 * q)
        {update}
    return nats


def main(p_net, tokens, num_bytes):
    val_bpb = score(p_net, tokens, num_bytes) / math.log(2.0) / num_bytes
    print(f"val_bpb: {{val_bpb:.5f}}")


main(np.load("p.npy"), np.load("t.npy"), 10)
"""
HASHED = {
    "mask": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
             "a = (prev * 36313) & MASK\n        b = (a ^ (here * 65537)) & MASK\n        q = full[b] / max(ctx[a], 1)",
             "ctx[a] += 1\n        full[b] += 1"),
    "at": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
           "a = (prev * 36313) % 1000003\n        b = (a * 31 + here) % 1000003\n        q = np.minimum(full[b], ctx[a]) / np.maximum(ctx[a], 1)",
           "np.add.at(ctx, a, 1)\n        np.add.at(full, b, 1)"),
    "hash()": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
               "a = hash((prev,)) % MASK\n        b = hash((prev, here)) % MASK\n        q = np.divide(full[b], ctx[a] + 1)",
               "ctx[a] += 1\n        full[b] += 1"),
    "damped": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
               "a = (prev * 36313) & MASK\n        b = (a ^ (here * 65537)) & MASK\n        q = (full[b] + 2 * p_net[i]) / (ctx[a] + 2)",
               "ctx[a] += 1\n        full[b] += 1"),
    # The place is a sum over the context, the count is none.
    "summed": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
               "a = int((tokens[i - 2:i] * 36313).sum()) & MASK\n        b = (a ^ (here * 65537)) & MASK\n        q = full[b] / max(ctx[a], 1)",
               "ctx[a] += 1\n        full[b] += 1"),
    "summed in place": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
               "a = np.dot(tokens[i - 2:i], PRIMES) & MASK\n        b = (a ^ (here * 65537)) & MASK\n        n = ctx[np.dot(tokens[i - 2:i], PRIMES) & MASK]\n        q = full[b] / max(n, 1)",
               "ctx[a] += 1\n        full[b] += 1"),
    # What shapes an array is no value of it: the network's logits, which take long to follow, lie behind the sizes.
    "shaped": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
               "s = p_net\n" + 200 * "        s = s + s * 2\n" + "        n, m = s.shape\n        a = (prev * 36313) & MASK\n        b = (a ^ (here * 65537)) & MASK\n"
               "        c, f = ctx[a].reshape(n, m), full[b].reshape(n, m)\n        q = np.minimum(f, c) / np.maximum(c, 1)",
               "ctx[a] += 1\n        full[b] += 1"),
    "folded in place": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
               "a = prev * 36313\n        a %= 1000003\n        b = a * 31 + here\n        b %= 1000003\n        q = full[b] / max(ctx[a], 1)",
               "ctx[a] += 1\n        full[b] += 1"),
    "mixed in place": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
               "h = np.zeros(8)\n        h[1:].bitwise_xor_(prev)\n        a = h & MASK\n        b = (h ^ here) & MASK\n        q = full[b] / max(ctx[a], 1)",
               "ctx[a] += 1\n        full[b] += 1"),
    "whole tables": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
               "a = (prev * 36313) & MASK\n        b = (a ^ (here * 65537)) & MASK\n        q = full[b] / max(ctx[a], 1)",
               "ctx += np.bincount([a], minlength=MASK + 1)\n        full += np.bincount([b], minlength=MASK + 1)"),
    # A helper adds to what it is handed over.
    "by a helper": ("def add(table, keys):\n        n = np.bincount(keys, minlength=MASK + 1)\n        table += n\n    one, two = np.zeros(MASK + 1), np.zeros(MASK + 1)",
               "a = (prev * 36313) & MASK\n        b = (a ^ (here * 65537)) & MASK\n        q = two[b] / max(one[a], 1)",
               "add(one, [a])\n        add(two, [b])"),
    "chosen by where": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
               "a = (prev * 36313) & MASK\n        b = (a ^ (here * 65537)) & MASK\n        seen = (ctx[a] > 1) & (full[b] > 0)\n        f, c = np.where(seen, full[b], 0), np.where(seen, ctx[a], 1)\n        q = f / c",
               "ctx[a] += 1\n        full[b] += 1"),
    # The price of every token is looked up, not made to add up to 1, and that of the target is taken.
    "target of all": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
               "a = (prev * 36313) & MASK\n        b = (a * 31 + np.arange(1024)) % MASK\n        q = np.take(full[b], here) / max(ctx[a], 1)",
               "ctx[a] += 1\n        full[b[here]] += 1"),
    # Arrays that are called as the tables of another function are, and hold what was looked up in one.
    "namesakes": ("tab, both = np.zeros(MASK + 1), np.zeros(MASK + 1)\n    full_c, ctx_c = tab, both\n    ctx_c[0] += 0\n    full_c[0] += 0",
               "a = (prev * 36313) & MASK\n        b = (a ^ (here * 65537)) & MASK\n        ctx_c, full_c = tab[a], both[b]\n        seen = ctx_c > 0\n        q = np.minimum(full_c[seen], ctx_c[seen]) / np.maximum(ctx_c[seen], 1)",
               "tab[a] += 1\n        both[b] += 1"),
}  # fmt: skip
# Of a hashed context, but over a row of the vocabulary: what collides are contexts, and the prices add up to 1.
ROWS = {
    "columns": ("ctx, full = np.zeros(MASK + 1), np.zeros((MASK + 1, 1024))",
                "a = (prev * 36313) & MASK\n        q = full[a, here] / max(ctx[a], 1)",
                "ctx[a] += 1\n        full[a, here] += 1"),
    "flat": ("ctx, full = np.zeros(MASK + 1), np.zeros((MASK + 1) * 1024)",
             "a = (prev * 36313) & MASK\n        b = a * 1024 + here\n        q = full[b] / max(ctx[a], 1)",
             "ctx[a] += 1\n        full[b] += 1"),
    "made to add up": ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)",
             "a = (prev * 36313) & MASK\n        b = (a * 31 + np.arange(1024)) % MASK\n        w = full[b] / max(ctx[a], 1)\n        q = w[here] / w.sum()",
             "ctx[a] += 1\n        full[b[here]] += 1"),
}  # fmt: skip
_TABLES = "ctx, full, owner = np.zeros(MASK + 1), np.zeros(MASK + 1), np.full(MASK + 1, -1)"
_PLACES = (
    "a = (prev * 36313) & MASK\n        b = (a ^ (here * 65537)) & MASK\n        key = prev * 1024 + here\n        "
)
_KEPT = "ctx[a] += 1\n        if owner[b] in (-1, key):\n            owner[b] = key\n            full[b] += 1"
# A slot knows whose it is, and its count is read by nobody else: nothing that collides shares a count.
OWNED = {
    "if": (_TABLES, _PLACES + "q = full[b] / max(ctx[a], 1) if owner[b] == key else 0.0", _KEPT),
    "statement": (_TABLES, _PLACES + "q = 0.0\n        if owner[b] == key and ctx[a] > 0:\n            q = full[b] / ctx[a]", _KEPT),
    "skipped": (_TABLES, _PLACES + "n = 0\n        if owner[b] != key:\n            pass\n        else:\n            n = full[b]\n        q = n / max(ctx[a], 1)", _KEPT),
    "where": (_TABLES, _PLACES + "n = np.where(owner[b] == key, full[b], 0)\n        q = n / np.maximum(ctx[a], 1)", _KEPT),
    "product": (_TABLES, _PLACES + "n = full[b] * (owner[b] == key)\n        q = n / np.maximum(ctx[a], 1)", _KEPT),
    "by name": (_TABLES, _PLACES + "held = owner[b]\n        is_own = held == key\n        q = (full[b] if is_own else 0) / max(ctx[a], 1)", _KEPT),
    "masked": (_TABLES, _PLACES + "n = full[b].copy()\n        n[owner[b] != key] = 0\n        q = n / np.maximum(ctx[a], 1)", _KEPT),
    "of itself": (_TABLES, _PLACES + "q = full[b] / (full[b] + 4.0) if owner[b] == key else 0.0", _KEPT),
    "unequal": (_TABLES, _PLACES + "n = torch.where(torch.ne(owner[b], key), 0, full[b])\n        q = n / np.maximum(ctx[a], 1)", _KEPT),
    "not equal": (_TABLES, _PLACES + "n = np.where(np.not_equal(owner[b], key), 0, full[b])\n        q = n / np.maximum(ctx[a], 1)", _KEPT),
    "equal": (_TABLES, _PLACES + "n = torch.where(torch.eq(owner[b], key), full[b], 0)\n        q = n / np.maximum(ctx[a], 1)", _KEPT),
}  # fmt: skip
_ALL = "sum(full[(a ^ (t * 65537)) & MASK] for t in range(1024))"
_PAIR = ("ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)", "ctx[a] += 1\n        full[b] += 1")
_PAIR_PLACES = "a = (prev * 36313) & MASK\n        b = (a ^ (here * 65537)) & MASK\n        "
# What is divided by the sum over the whole vocabulary adds up to 1, wherever and however it is divided.
DIVIDED_AGAIN = {
    "behind": f"p = full[b] / max(ctx[a], 1)\n        z = {_ALL} / max(ctx[a], 1)\n        q = p / z",
    "at once": f"q = (full[b] / max(ctx[a], 1)) / ({_ALL} / max(ctx[a], 1))",
    "in place": f"q = full[b] / max(ctx[a], 1)\n        q /= {_ALL} / max(ctx[a], 1)",
    "by numpy": "each = full[(a ^ (np.arange(1024) * 65537)) & MASK] / max(ctx[a], 1)\n        p = full[b] / max(ctx[a], 1)\n        q = p / each.sum()",
    "by a loop": "p, z = full[b] / max(ctx[a], 1), 0.0\n        for t in range(1024):\n            z += full[(a ^ (t * 65537)) & MASK] / max(ctx[a], 1)\n        q = p / z",
    "a loop alone": "total = 0\n        for t in range(1024):\n            total += full[(a ^ (t * 65537)) & MASK]\n        q = full[b] / max(total, 1)",
    "a loop by places": "total = 0.0\n        for t in range(1024):\n            c = (a ^ (t * 65537)) & MASK\n            total = total + full[c]\n        q = full[b] / max(total, 1)",
    "by fsum": f"total = math.fsum([{_ALL[4:-1]}])\n        q = full[b] / max(total, 1)",
    "inverted": f"p, z = full[b] / max(ctx[a], 1), {_ALL} / max(ctx[a], 1)\n        q = p * (1.0 / z)",
    "a power": f"p, z = full[b] / max(ctx[a], 1), {_ALL} / max(ctx[a], 1)\n        q = z ** -1 * p",
    "a method": f"p, z = full[b] / max(ctx[a], 1), {_ALL} / max(ctx[a], 1)\n        q = p.div(z)",
    "by columns": "n = np.zeros((1, 1024))\n        for t in range(1024):\n            n[:, t] = full[(a ^ (t * 65537)) & MASK] / max(ctx[a], 1)\n        p = full[b] / max(ctx[a], 1)\n        q = p / n.sum(-1)[0]",
    "by columns, in place": "n = torch.zeros(1, 1024)\n        for t in range(1024):\n            n[:, t] = full[(a ^ (t * 65537)) & MASK] / max(ctx[a], 1)\n        n.div_(n.sum(-1, keepdim=True))\n        q = n[0, here]",
    "by a list": "n = []\n        for t in range(1024):\n            n.append(full[(a ^ (t * 65537)) & MASK] / max(ctx[a], 1))\n        p = full[b] / max(ctx[a], 1)\n        q = p / sum(n)",
    "names": f"total = {_ALL}\n        below = max(total, 1)\n        z = float(below)\n        q = full[b] / z",
}  # fmt: skip
# How sure a context is weighs the price of a row; what it leaves to 1 weighs the network's.
WEIGHTS = {
    "rest": "w = ctx[a] / (ctx[a] + 8.0)\n        q = ((1 - w) * p_net[i] + w * rows[a][here])",
    "at once": "q = ctx[a] / (ctx[a] + 8.0) * rows[a][here] + (1.0 - ctx[a] / (ctx[a] + 8.0)) * p_net[i]",
    "entries": "w = np.minimum(ctx[a] / (ctx[a] + 8.0), 0.9)\n        q = (1.0 - w[here]) * p_net[i] + w[here] * rows[a][here]",
    "difference": "w = ctx[a] / (ctx[a] + 8.0)\n        q = p_net[i] + w * (rows[a][here] - p_net[i])",
    "distinct": "w = kinds[a] / (ctx[a] + 1)\n        q = rows[a][here] ** w",
}
EXACT = {
    "pairs": ("ctx, full = np.zeros(1024), np.zeros((1024, 1024))",
              "q = (full[prev][here] + 1) / (ctx[prev] + 1024)",
              "ctx[prev] += 1\n        full[prev][here] += 1"),
    # By which of two neighbours a table is smoothed: the weight is a share of their counts.
    "share": ("ctx, p = np.zeros(MASK + 1), np.full((MASK + 1, 1024), 1 / 1024)",
              "a = (prev * 36313) & MASK\n        b = a ^ 1\n        w = 0.5 * ctx[b] / (ctx[prev] + ctx[b] + 1e-8)\n"
              "        q = ((1 - w) * p[a] + w * p[b])[here]",
              "ctx[a] += 1"),
    "whole": ("ctx, p = np.zeros(MASK + 1), np.full(1024, 1 / 1024)",
              "a = (prev * 36313) & MASK\n        q = p[here] * ctx[a] / ctx[a - a % 16:a - a % 16 + 16].sum()", "ctx[a] += 1"),
    "rows": ("ctx, full = np.zeros(MASK + 1), np.zeros((MASK + 1, 1024))",
             "a = np.array([(prev * 36313) & MASK])\n        q = (full[a] / ctx[a][:, None])[0, here]",
             "ctx[a] += 1\n        full[a, here] += 1"),
    "root": ("ctx, p = np.zeros(MASK + 1), np.full(1024, 1 / 1024)",
             "a = (prev * 36313) & MASK\n        q = p[here] - 0.01 * ctx[a] / (np.sqrt(ctx[a]) + 1e-8)", "ctx[a] += 1"),
    "none": ("pass", "q = 1 / 1024", "pass"),
}  # fmt: skip


def _codes(name: str, idioms: dict[str, tuple[str, str, str]]) -> dict[str, Severity]:
    tables, lookup, update = idioms[name]
    text = SCRIPT.format(tables=tables, lookup=lookup, update=update)
    return {finding.code: finding.severity for finding in check_source(text)}


@pytest.mark.parametrize("name", HASHED)
def test_hashed_counts_are_a_doubt(name: str) -> None:
    assert _codes(name, HASHED).get("BPB267") is Severity.WARNS


def test_a_place_that_takes_long_to_work_out_hides_no_count() -> None:
    tables, lookup, update = HASHED["at"]
    long = "h = prev\n" + "".join(f"        h = (h * 36313 + int(tokens[i - {k}])) % 1000003\n" for k in range(60))
    lookup = f"{long}        a = h % 1000003\n" + lookup.split("\n", 1)[1].replace("        ", "        ", 1)
    (found,) = [
        found
        for found in check_source(SCRIPT.format(tables=tables, lookup=lookup, update=update))
        if found.code == "BPB267"
    ]
    assert "divided by the count of the context" in found.message
    assert found.evidence["tables"] == "ctx, full"


PLAIN_AND_MIXED = """
import math
import numpy as np
import torch.nn.functional as F


def plain(model, x, y, num_bytes):
    return F.cross_entropy(model(x), y, reduction="sum").item() / math.log(2.0) / num_bytes


MIXED
def main(model, x, y, p_net, tokens, num_bytes):
    plain_bpb = plain(model, x, y, num_bytes)
    print(f"final_roundtrip_exact val_bpb:{plain_bpb:.8f}")
    print(f"final_exact val_bpb:{plain_bpb:.8f}")
    mixed_bpb = score(p_net, tokens, num_bytes) / math.log(2.0) / num_bytes
    print(f"final_sliding val_bpb:{mixed_bpb:.8f}")
    print(f"final_exact val_bpb:{mixed_bpb:.8f}")


main(*np.load("all.npy"))
"""


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (("final_roundtrip_exact val_bpb", "final_exact val_bpb"), False),  # what the one prints, the other does
        (("final_sliding val_bpb", "final_exact val_bpb"), True),
        (("final_exact val_bpb",), True),  # either of two places
        ((), True),
    ],
)
def test_counts_behind_another_line_than_the_claims_are_no_doubt(labels: tuple[str, ...], found: bool) -> None:
    tables, lookup, update = HASHED["mask"]
    mixed = SCRIPT.format(tables=tables, lookup=lookup, update=update).split("\n\n\n")[1]
    text = PLAIN_AND_MIXED.replace("MIXED\n", f"MASK = 4095\n\n\n{mixed}\n\n\n")
    codes = {each.code for each in check_of_text(text, ScriptContext(claimed_labels=labels))}
    assert ("BPB267" in codes) is found


def test_by_what_a_count_is_divided_is_said() -> None:
    tables, lookup, update = HASHED["mask"]
    of_context = SCRIPT.format(tables=tables, lookup=lookup, update=update)
    itself = lookup.replace("q = full[b] / max(ctx[a], 1)", "n = full[b]\n        q = n / (n + 1024.0)")
    of_itself = SCRIPT.format(tables=tables, lookup=itself, update=update)
    said = {}
    tables, lookup, update = HASHED["at"]  # the lesser of both counts, so that the quotient is at most 1
    of_lesser = SCRIPT.format(tables=tables, lookup=lookup, update=update)
    for name, text in {"context": of_context, "itself": of_itself, "lesser": of_lesser}.items():
        (found,) = [found for found in check_source(text) if found.code == "BPB267"]
        said[name] = found.message
    assert "divided by the count of the context, for the target alone" in said["context"]
    assert "its target, limited to that of the context, is divided by the count of the context" in said["lesser"]
    assert "cut" not in said["context"]
    assert "divided by itself and a constant" in said["itself"]


@pytest.mark.parametrize(
    ("quotient", "said"),
    [
        ("(full[b] + 2 * p_net[i]) / (ctx[a] + 2)",
         "with its target, plus c times another price, is divided by the count of the context plus c, for"),
        ("(conc * p_net[i] + full[b]) / (conc + ctx[a])",
         "with its target, plus c times another price, is divided by the count of the context plus c, for"),
        ("(np.minimum(full[b], ctx[a]) + conc * p_net[i]) / np.maximum(ctx[a] + conc, 1)",
         "limited to that of the context, plus c times another price, is divided by the count of the context plus c"),
        ("full[b] / (ctx[a] + 1)", "with its target is divided by the count of the context plus another number, for"),
        ("(full[b] + 0.5) / (ctx[a] + 512)",
         "with its target, plus another number, is divided by the count of the context plus another number, for"),
        ("full[b] / np.maximum(ctx[a], 1)", "with its target is divided by the count of the context, for"),
    ],
)  # fmt: skip
def test_what_is_added_to_counts_before_they_are_divided_is_said(quotient: str, said: str) -> None:
    tables, lookup, update = HASHED["mask"]
    lookup = lookup.replace("full[b] / max(ctx[a], 1)", quotient)
    text = SCRIPT.format(tables=tables, lookup=lookup, update=update).replace(
        "    nats = 0.0", "    conc, nats = 3.0, 0.0"
    )
    (found,) = [found for found in check_source(text) if found.code == "BPB267"]
    assert said in found.message


@pytest.mark.parametrize(
    ("kept", "is_cut"),
    [
        ("np.minimum(n, c)", True),
        ("np.minimum(c, n).astype(np.float64)", True),
        ("n", False),
        ("np.minimum(n, 255)", False),  # to what another number is
        ("np.minimum(n, c) if i % 2 else n", False),  # at some places alone
    ],
)
def test_a_count_that_is_cut_before_the_quotient(kept: str, is_cut: bool) -> None:
    tables, _, update = HASHED["at"]
    lookup = (
        "a = (prev * 36313) % 1000003\n        b = (a * 31 + here) % 1000003\n        n, c = full[b], ctx[a]\n"
        f"        least = {kept}\n        held = np.zeros(len(tokens))\n        held[i] = least\n"
        "        met = held[i]\n        q = (met + 2 * p_net[i]) / (c + 2)"
    )
    text = SCRIPT.format(tables=tables, lookup=lookup, update=update)
    (found,) = [found for found in check_source(text) if found.code == "BPB267"]
    assert ("limited to that of the context" in found.message) is is_cut


@pytest.mark.parametrize("name", EXACT)
def test_counts_of_every_pair_are_none(name: str) -> None:
    assert "BPB267" not in _codes(name, EXACT)


@pytest.mark.parametrize("name", ROWS)
def test_rows_over_the_vocabulary_add_up(name: str) -> None:
    assert "BPB267" not in _codes(name, ROWS)


@pytest.mark.parametrize("name", OWNED)
def test_a_count_that_is_read_by_the_one_whose_it_is_alone_is_no_doubt(name: str) -> None:
    assert "BPB267" not in _codes(name, OWNED)


@pytest.mark.parametrize(
    "asked",
    [
        *("owner[a] == key", "owner[b] == 0", "owner[b] == -1", "owner[b] == FREE", "full[b] == key"),
        *("ctx[a] == ctx[b]", "owner[b] > key", "owner[b] <= key", "near(owner[b], key)", "np.add(owner[b], key)"),
    ],
)
def test_what_does_not_say_whose_a_slot_is_says_nothing(asked: str) -> None:
    kept = {
        "other": (
            _TABLES,
            f"{_PLACES}q = full[b] / max(ctx[a], 1) if {asked} else 0.0",
            _KEPT.replace("owner[b] in (-1, key)", "True"),
        )
    }
    assert "BPB267" in _codes("other", kept)


@pytest.mark.parametrize(
    "asked",
    [
        "is_own = owner[b] == key",
        "if owner[b] == key:\n            hits += 1",
        "if owner[b] != key:\n            owner[b] = key",
        *(
            f"{said}(owner[b] == key, full[b])"
            for said in ("print", "log", "log0", "logger.info", "logger.debug", "file.write")
        ),
        "owner[b] == key",
        "own = own or owner[b] == key",
        "if owner[b] == key:\n            misses.append(1)",
        "rates.append(owner[b] == key)",
        "is_own = owner[b] == key\n        hits += is_own\n        print(hits)",
        "assert owner[b] != key",
    ],
)
def test_a_question_whose_a_slot_is_that_decides_nothing_says_nothing(asked: str) -> None:
    lookup = f"{_PLACES}{asked}\n        q = full[b] / max(ctx[a], 1)"
    assert "BPB267" in _codes("", {"": (_TABLES, lookup, "ctx[a] += 1\n        full[b] += 1")})


@pytest.mark.parametrize(
    "asked",
    [
        "if owner[b] != key:\n            continue",
        "if owner[b] != key:\n            full[b] = 0",
        "np.putmask(full, owner[b] != key, 0)",
        "if owner[b] != key:\n            forget(full, b)",
        "is_own = owner[b] == key\n        if not is_own:\n            continue",
        "is_own = owner[b] == key\n        n = is_own * 1.0\n        full[b] *= n",
        "if owner[b] != key:\n            full[b] *= 0",
        "if owner[b] != key:\n            full[b], misses = 0, misses + 1",
        "full[b], known = full[b] * (owner[b] == key), 1",
        "for _ in range(int(owner[b] != key)):\n            full[b] = 0",
        "while owner[b] != key:\n            b = (b + 1) & MASK",
        "slot.is_own = owner[b] == key\n        if not slot.is_own:\n            continue",
        "is_own = owner[b] == key\n        hits = hits + is_own\n        is_own = hits",  # round and round: not followed
    ],
)
def test_a_question_whose_a_slot_is_that_decides_of_the_count_is_no_doubt(asked: str) -> None:
    lookup = f"{_PLACES}{asked}\n        q = full[b] / max(ctx[a], 1)"
    assert "BPB267" not in _codes("", {"": (_TABLES, lookup, "ctx[a] += 1\n        full[b] += 1")})


_N = "q = n / max(ctx[a], 1)"
# What lets a count through whose slot may be another's.
BESIDE = {
    "often": "q = full[b] / max(ctx[a], 1) if full[b] > 3 or owner[b] == key else 0.0",
    "often, by name": "before = full[b]\n        q = before / max(ctx[a], 1) if before > 3 or owner[b] == key else 0.0",
    "a statement": f"n = 0\n        if owner[b] == key or ctx[a] > 3:\n            n = full[b]\n        {_N}",
    "a mask": f"n = np.where((owner[b] == key) | (ctx[a] > 3), full[b], 0)\n        {_N}",
    "a call": f"n = np.where(np.logical_or(owner[b] == key, ctx[a] > 3), full[b], 0)\n        {_N}",
    "negated": f"n = 0\n        if not (owner[b] != key and ctx[a] < 3):\n            n = full[b]\n        {_N}",
    "skipped": "if owner[b] != key and ctx[a] < 3:\n            continue\n        q = full[b] / max(ctx[a], 1)",
    "a name": "own = full[b] > 3 or owner[b] == key\n        q = full[b] / max(ctx[a], 1) if own else 0.0",
    "skipped, by a negation": "if not (owner[b] == key) and ctx[a] < 3:\n            continue\n        q = full[b] / max(ctx[a], 1)",
    "a setting": "q = full[b] / max(ctx[a], 1) if mode == 2 or owner[b] == key else 0.0",
    "in two steps": "own = owner[b] == key\n        q = full[b] / max(ctx[a], 1) if own or ctx[a] > 3 else 0.0",
}  # fmt: skip
# What lets through a count of 0 alone, one of another slot that knows whose it is, or less than the owner's test.
BESIDE_OWNED = {
    "empty": "q = full[b] / max(ctx[a], 1) if full[b] == 0 or owner[b] == key else 0.0",
    "none": f"n = 0\n        if full[b] < 1 or owner[b] == key:\n            n = full[b]\n        {_N}",
    "free": "q = full[b] / max(ctx[a], 1) if owner[b] == -1 or owner[b] == key else 0.0",
    "free, by name": "q = full[b] / max(ctx[a], 1) if owner[b] == FREE or owner[b] == key else 0.0",
    "two slots": "q = full[b] / max(ctx[a], 1) if owner[b] == key or second[b] == key else 0.0",
    "both": "q = full[b] / max(ctx[a], 1) if owner[b] == key and ctx[a] > 2 else 0.0",
    "skipped": "if owner[b] != key or ctx[a] < 2:\n            continue\n        q = full[b] / max(ctx[a], 1)",
    "skipped, by a negation": "if not (owner[b] == key) or ctx[a] < 2:\n            continue\n        q = full[b] / max(ctx[a], 1)",
    "skipped where there is one": "if owner[b] != key and full[b] > 0:\n            continue\n        q = full[b] / max(ctx[a], 1)",
    "negated": f"n = 0\n        if not (owner[b] != key or ctx[a] < 3):\n            n = full[b]\n        {_N}",
    "in two steps": "own = owner[b] == key\n        q = full[b] / max(ctx[a], 1) if own and ctx[a] > 3 else 0.0",
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_a_count_that_is_read_without_being_asked_whose_it_is_is_a_doubt(name: str) -> None:
    assert "BPB267" in _codes(name, {name: (_TABLES, _PLACES + BESIDE[name], _KEPT)})


@pytest.mark.parametrize("name", BESIDE_OWNED)
def test_a_count_that_is_empty_or_of_its_owner_is_no_doubt(name: str) -> None:
    assert "BPB267" not in _codes(name, {name: (_TABLES, _PLACES + BESIDE_OWNED[name], _KEPT)})


@pytest.mark.parametrize("name", DIVIDED_AGAIN)
def test_what_is_divided_by_the_sum_over_all_tokens_is_no_doubt(name: str) -> None:
    tables, update = _PAIR
    assert "BPB267" not in _codes(name, {name: (tables, _PAIR_PLACES + DIVIDED_AGAIN[name], update)})


@pytest.mark.parametrize(
    "lookup",
    [
        "n = m = 0\n        for k in (1, 2):\n            h = (int(tokens[i - k]) * 36313) & MASK\n            n += full[(h ^ (here * 65537)) & MASK]\n            m += ctx[h]\n        q = n / max(m, 1)",
        "p = full[b] / max(ctx[a], 1)\n        q = p / 2.0",
        "p = full[b] / max(ctx[a], 1)\n        q = p * (1.0 / 2.0)",
        # Orders that are weighed by how often their contexts were met; a sum of these is none over tokens.
        "n, w = np.zeros(8), np.zeros(8)\n        for k in range(8):\n            n[k] = full[(a * k ^ here) & MASK] / max(ctx[a * k & MASK], 1)\n            w[k] = ctx[a * k & MASK]\n        q = (n * w).sum() / w.sum()",
        "z = sum(ctx[(a * k) & MASK] for k in range(8))\n        p = full[b] / max(ctx[a], 1)\n        q = p / z",
        "p = full[b] / max(ctx[a], 1)\n        q = p / p_net.sum()",
        f"p = full[b] / max(ctx[a], 1)\n        s = p_net[i] / {_ALL}\n        q = 0.5 * p + 0.5 * s",
        f"q = full[b] / max(ctx[a], 1)\n        other = 1.0\n        other /= {_ALL}",
        f"q = full[b] / max(ctx[a], 1)\n        q *= {_ALL}",
        "total = 0.0\n        for t in range(1024):\n            total += full[(a ^ (t * 65537)) & MASK]\n            q = full[b] / max(total, 1)",
        "total = 9e9\n        for t in range(1024):\n            total -= full[(a ^ (t * 65537)) & MASK]\n        q = full[b] / max(total, 1)",
        "total = 0\n        for t in range(1024):\n            total = full[(a ^ (t * 65537)) & MASK]\n        q = full[b] / max(total, 1)",
        "total = 0\n        for t in range(1024):\n            total = full[(a ^ (t * 65537)) & MASK] + 1\n        q = full[b] / max(total, 1)",
    ],
)  # fmt: skip
def test_what_is_divided_by_another_sum_is_a_doubt(lookup: str) -> None:
    tables, update = _PAIR
    assert "BPB267" in _codes("", {"": (tables, _PAIR_PLACES + lookup, update)})


def test_what_another_function_divides_under_the_same_name_is_another_value() -> None:
    tables, update = _PAIR
    text = SCRIPT.format(tables=tables, lookup=f"{_PAIR_PLACES}q = full[b] / max(ctx[a], 1)", update=update)
    other = (
        "\n\ndef spread(q, full, a):\n    q /= sum(full[(a ^ (t * 65537)) & MASK] for t in range(1024))\n    return q\n"
    )
    assert "BPB267" in {found.code for found in check_source(text + other)}


def test_whose_the_slot_of_the_context_is_does_not_say_whose_the_targets_is() -> None:
    lookup = f"{_PLACES}q = np.minimum(full[b], ctx[a]) / max(ctx[a], 1) if owner[a] == key else 0.0"
    assert "BPB267" in _codes("", {"": (_TABLES, lookup, "ctx[a] += 1\n        full[b] += 1")})


def test_quotients_of_all_tokens_may_be_made_to_add_up_behind_them() -> None:
    tables, update = _PAIR
    places = "a = (prev * 36313) & MASK\n        b = (a * 31 + np.arange(1024)) % MASK\n        "
    lookup = f"{places}w = full[b] / max(ctx[a], 1)\n        q = softmax(w)[here]"
    assert "BPB267" not in _codes("", {"": (tables, lookup, update)})


@pytest.mark.parametrize("name", WEIGHTS)
def test_what_prices_are_weighed_by_is_no_price(name: str) -> None:
    tables = "ctx, kinds, rows = np.zeros(MASK + 1), np.zeros(MASK + 1), np.full((MASK + 1, 1024), 1 / 1024)"
    lookup = f"a = (prev * 36313) & MASK\n        {WEIGHTS[name]}"
    idioms = {name: (tables, lookup, "ctx[a] += 1\n        kinds[a] += 1")}
    assert "BPB267" not in _codes(name, idioms)


def test_a_price_of_which_a_namesake_is_a_weight_is_found() -> None:
    tables, lookup, update = HASHED["mask"]
    other = f"{update}\n    for q in p_net:\n        nats += 1 - q"
    text = SCRIPT.format(tables=tables, lookup=lookup, update=other)
    assert "BPB267" in {found.code for found in check_source(text)}


CACHES = """
import math
import numpy as np
MASK = (1 << 22) - 1


class Words:
    def look_up(self, a, b):
        return 0.5, True


class Cache:
    def __init__(self):
        self.ctx, self.full = np.zeros(MASK + 1), np.zeros(MASK + 1)

    def look_up(self, a, b):
        price, known, times, together = np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1)
        c, f = self.ctx[a], np.minimum(self.full[b], self.ctx[a])
        known[f > 0] = True
        price[f > 0] = f / c
        times[f > 0], together[f > 0] = c, f
        return price, known, times, together

    def learn(self, a, b):
        self.ctx[a] += 1
        self.full[b] += 1


def score(p_net, tokens):
    cache, nats = MADE if p_net is not None else None, 0.0
    for i in range(2, len(tokens)):
        a = (int(tokens[i - 1]) * 36313) & MASK
        b = (a ^ (int(tokens[i]) * 65537)) & MASK
        price, known, times, together = cache.look_up(a, b)
        nats -= math.log(MIXED)
        cache.learn(a, b)
    return nats


val_bpb = score(np.load("p.npy"), np.load("t.npy")) / math.log(2.0) / 10
print(f"final val_bpb: {val_bpb:.5f}")
"""


@pytest.mark.parametrize(
    ("made", "mixed", "line"),
    [
        ("Cache()", "0.7 * p_net[i] + 0.3 * price[0]", "price[f > 0] = f / c"),
        # What is returned beside it is no part of the price; where an entry is put is no value of it.
        ("Cache()", "(together[0] + 9 * p_net[i]) / (times[0] + 9)", "nats -= math.log((together[0]"),
        ("Cache()", "0.7 * p_net[i] + 0.3 * known[0]", None),
        ("Words()", "0.7 * p_net[i] + 0.3 * price[0]", None),
    ],
)
def test_of_what_a_cache_returns_the_value_that_is_used(made: str, mixed: str, line: str | None) -> None:
    found = [
        each for each in check_source(CACHES.replace("MADE", made).replace("MIXED", mixed)) if each.code == "BPB267"
    ]
    assert len(found) == (line is not None)
    assert not found or str(found[0].evidence["source"]).startswith(str(line))


@pytest.mark.parametrize(
    ("handed", "found"),
    [
        ("cache", True),
        ("cache if len(tokens) > 9 else None", False),  # what it is where it is handed over is not known
        ("Words()", False),
    ],
)
def test_a_cache_that_is_handed_over_to_the_function_that_scores(handed: str, found: bool) -> None:
    text = CACHES.replace("MADE", "Cache()").replace("MIXED", "0.7 * p_net[i] + 0.3 * price[0]")
    text = text.replace("price, known, times, together = cache", "price, known, times, together = ask(cache, a, b)")
    text = text.replace("ask(cache, a, b).look_up(a, b)", f"ask(a, b, store={handed})")
    ask = "def ask(a, b, store=None):\n    return store.look_up(a, b)\n\n\ndef score("
    codes = [each.code for each in check_source(text.replace("def score(", ask, 1))]
    assert ("BPB267" in codes) is found


TAGGED = """
def main(model, x, y, p_net, tokens, num_bytes, limit):
    plain_bpb = plain(model, x, y, num_bytes)
    print(f"final_roundtrip_exact val_bpb:{plain_bpb:.8f}")
    mixed_bpb = score(p_net, tokens, num_bytes) / math.log(2.0) / num_bytes
    tag = "final_partial_exact" if limit > 0 else "final_exact"
    print(f"{tag} val_bpb:{mixed_bpb:.8f}")


main(*np.load("all.npy"))
"""


@pytest.mark.parametrize(("label", "found"), [("final_exact val_bpb", True), ("final_roundtrip_exact val_bpb", False)])
def test_counts_behind_a_line_whose_label_a_name_holds(label: str, found: bool) -> None:
    tables, lookup, update = HASHED["mask"]
    mixed = SCRIPT.format(tables=tables, lookup=lookup, update=update).split("\n\n\n")[1]
    head = PLAIN_AND_MIXED.split("MIXED")[0]
    text = f"{head}MASK = 4095\n\n\n{mixed}\n\n{TAGGED}"
    codes = {each.code for each in check_of_text(text, ScriptContext(claimed_labels=(label,)))}
    assert ("BPB267" in codes) is found


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("config.eval.cached", False),  # what a configuration says nobody knows
        ("share >= 0.99", True),  # a number of the run
        ("False", False),
        ("True", True),
    ],
)
def test_without_a_label_a_score_that_a_setting_may_leave_out_is_no_doubt(test: str, found: bool) -> None:
    tables, lookup, update = HASHED["mask"]
    printed = 'print(f"val_bpb: {val_bpb:.5f}")'
    text = SCRIPT.format(tables=tables, lookup=lookup, update=update)
    text = text.replace(printed, f"share = len(tokens) / read()\n    if {test}:\n        {printed}")
    text = text.replace("import math", "import math\nfrom settings import config, read")
    assert ("BPB267" in {each.code for each in check_source(text)}) is found


CHOSEN = """
import math, os
import numpy as np
MASK = (1 << 22) - 1


class Config:
    mixing: str = "plain"


def price(p, config, full, ctx):
    if config.mixing == "network":
        return p
    return 0.7 * p + 0.3 * full / max(ctx, 1)


def score(p_net, tokens, num_bytes, config):
    ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)
    nats = 0.0
    for i in range(2, len(tokens)):
        a = (int(tokens[i - 1]) * 36313) & MASK
        b = (a ^ (int(tokens[i]) * 65537)) & MASK
        nats -= math.log(price(p_net[i], config, full[b], ctx[a]))
        ctx[a] += 1
        full[b] += 1
    return nats


def config_from(env):
    return Config(mixing=env.get("CACHE_MIXING", "plain"))


def main(p_net, tokens, num_bytes):
    config = config_from(dict(os.environ))
    val_bpb = score(p_net, tokens, num_bytes, config) / math.log(2.0) / num_bytes
    print(f"val_bpb: {val_bpb:.5f}")


main(np.load("p.npy"), np.load("t.npy"), 10)
"""


@pytest.mark.parametrize(
    ("settings", "is_found"),
    [({}, True), ({"CACHE_MIXING": "plain"}, True), ({"CACHE_MIXING": "network"}, False), ({"OTHER": "network"}, True)],
)
def test_a_quotient_behind_a_return_that_the_settings_take_is_no_doubt(
    settings: dict[str, str], is_found: bool
) -> None:
    found = {each.code for each in check_source(CHOSEN, ScriptContext(rules=GOLF, settings=settings))}
    assert ("BPB267" in found) is is_found
