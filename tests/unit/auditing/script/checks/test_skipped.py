"""Scoring loops that leave out text between their windows, or behind a time; and honest ones as near to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext
from tests.golf_rules import GOLF, check_source

SCRIPT = """import glob, math, os, time
import numpy as np
import torch
import torch.nn.functional as F

T = int(os.environ.get("SEQ_LEN", 1024))
STRIDE = int(os.environ.get("EVAL_STRIDE", 64))
rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 8))
BUDGET = float(os.environ.get("BUDGET", 300.0))


def evaluate(model, val_tokens, sizes, length=None):
    nats, size, started = 0.0, 0, time.time()
    {before}
    for {index} in {rounds}:
        {first}
        x, y = {x}, {y}
        nats += F.cross_entropy(model(x).float(), y, reduction="sum").item()
        size += int(sizes[y].sum())
        {then}
    return nats / math.log(2.0) / size


val_tokens = torch.cat([torch.from_numpy(np.fromfile(f, dtype="<u2")) for f in sorted(glob.glob("fineweb_val_*.bin"))])
for step in range(100):
    {training}
val_bpb = evaluate(torch.load("model.pt"), val_tokens, torch.load("sizes.pt"))
print(f"final val_bpb:{{val_bpb:.8f}}")
"""
BASE = {
    "index": "i", "rounds": "range(0, len(val_tokens) - 1, T)", "x": "val_tokens[i : i + T]", "first": "pass",
    "y": "val_tokens[i + 1 : i + T + 1]", "before": "pass", "then": "pass", "training": "pass",
}  # fmt: skip
LISTED = {"index": "at", "x": "val_tokens[at : at + T]", "y": "val_tokens[at + 1 : at + 1 + T]",
          "before": "places = [*range(0, len(val_tokens) - 1, T)]", "rounds": "places"}  # fmt: skip


def _said(**changes: str) -> list[str]:
    found = check_source(SCRIPT.format(**{**BASE, **changes}), ScriptContext(rules=GOLF))
    return [each.message for each in found if each.code == "BPB350"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rounds": "range(0, len(val_tokens) - 1, 2 * T)"}, "50 % of its tokens, windows of 1,024 every 2,048"),
        ({"rounds": "range(0, len(val_tokens) - 1, T * 4)"}, "25 % of its tokens"),
        ({"rounds": "range(0, len(val_tokens) - 1, 4096)"}, "25 % of its tokens"),
        ({"rounds": "range(0, len(val_tokens) - 1, 2 * length)", "x": "val_tokens[i : i + length]",
          "y": "val_tokens[i + 1 : i + length + 1]"}, "windows of length every 2 * length"),
        (LISTED | {"rounds": "places[::2]"}, "one in 2 of its windows"),
        (LISTED | {"rounds": "places[1::3]"}, "one in 3 of its windows"),
        ({"index": "n, i", "rounds": "enumerate(range(0, len(val_tokens) - 1, T))", "first": "if n % 4 != 0: continue"},
         "one in 4 of its rounds"),
        ({"index": "n, i", "rounds": "enumerate(range(0, len(val_tokens) - 1, T))", "first": "if n % 10: continue"},
         "one in 10 of its rounds"),
        ({"index": "n, i", "rounds": "enumerate(range(0, len(val_tokens) - 1, T))", "first": "if n % 3 == 1: continue"},
         "2 in 3 of its rounds"),
        ({"first": "if time.time() - started > BUDGET: break"}, "before a time is up"),
        ({"then": "if time.time() - started > BUDGET:\n            late = True\n            break"},
         "before a time is up"),
        ({"then": "elapsed = time.perf_counter() - started\n        if elapsed >= 60.0: break"}, "before a time is up"),
    ],
)  # fmt: skip
def test_text_that_is_left_out_is_found(changes: dict[str, str], told: str) -> None:
    (message,) = _said(**changes)
    assert told in message


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rounds": "range(0, len(val_tokens) - 1, STRIDE)"},  # windows that overlap
        # the other processes have the rest
        {"rounds": "range(rank * T, len(val_tokens) - 1, world_size * T)", "then": "dist.all_reduce(nats)"},
        LISTED | {"rounds": "places[rank::world_size]", "then": "dist.all_reduce(nats)"},
        LISTED | {"rounds": "places[::-1]"},
        LISTED | {"rounds": "places[::1]"},
        {"index": "n, i", "rounds": "enumerate(range(0, len(val_tokens) - 1, T))",
         "first": "if n % world_size != rank: continue"},
        {"index": "n, i", "rounds": "enumerate(range(0, len(val_tokens) - 1, T))",
         "then": "if n % 100 == 0: print(n)"},
        {"first": "if os.environ.get('QUICK', '0') == '1' and time.time() - started > BUDGET: break"},
        {"training": "if time.time() > 600: break"},  # the time of training
        {"then": "if time.time() - started > BUDGET:\n            nats = float('nan')\n            break"},
        {"then": "if time.time() - started > BUDGET:\n            nats = math.nan\n            break"},
        {"then": "if time.time() - started > BUDGET:\n            raise TimeoutError"},
        {"then": "if time.time() - started > BUDGET: print('slow')"},
        {"first": "if time.time() - started > BUDGET:\n            for j in range(i, len(val_tokens) - 1, T):\n"
         "                nats += price(val_tokens[j : j + T])\n            break"},  # the rest, another way
        {"rounds": "range(0, len(val_tokens) - 1, T)", "y": "val_tokens[i + 1 : i + T + 1][::1]"},
        {"rounds": "range(0, len(val_tokens) - 1, T + 1)"},  # windows that share no token
    ],
)  # fmt: skip
def test_what_leaves_nothing_out_is_free(changes: dict[str, str]) -> None:
    assert _said(**changes) == []


def test_loops_that_begin_at_several_places_leave_nothing_out() -> None:
    text = SCRIPT.format(**BASE | {"rounds": "range(offset, len(val_tokens) - 1, 2 * T)"})
    text = text.replace(
        "def evaluate(model, val_tokens, sizes, length=None)", "def evaluate(model, val_tokens, sizes, offset=0)"
    )
    assert not [each for each in check_source(text, ScriptContext(rules=GOLF)) if each.code == "BPB350"]


def test_rounds_that_end_behind_the_score_are_scored() -> None:
    script = """import math, torch
import torch.nn.functional as F

model, size, val = torch.load("m.pt"), torch.load("s.pt"), torch.load("val_tokens.pt")


def evaluate():
    nats, count = 0.0, 0
    for n, i in enumerate(range(0, len(val) - 1, 1024)):
        {before}
        y = val[i + 1 : i + 1025]
        nats += F.cross_entropy(model(val[i : i + 1024]), y, reduction="sum").item()
        count += size[y].sum().item()
        {behind}
        print(n)
    return nats / math.log(2) / count


print(f"val_bpb:{{evaluate():.6f}}")
"""
    skips = "if n % 10: continue"
    assert [each.code for each in check_source(script.format(before=skips, behind=""))] == ["BPB350"]
    assert check_source(script.format(before="", behind=skips)) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("if n % 2: continue", "if n % 2 == 0: continue"),
        ("if n % 3: continue", "if n % 3 == 0: continue"),
    ],
)
def test_what_one_loop_leaves_to_another_is_scored(one: str, other: str) -> None:
    """What the second of two loops scores is not worked out: two that leave something out tell nothing."""
    loop = """    for n, i in enumerate(range(0, len(val) - 1, 1024)):
        {skips}
        y = val[i + 1 : i + 1025]
        nats += F.cross_entropy(model(val[i : i + 1024]), y, reduction="sum").item()
        count += size[y].sum().item()
"""
    script = """import math, torch
import torch.nn.functional as F

model, size, val = torch.load("m.pt"), torch.load("s.pt"), torch.load("val_tokens.pt")


def evaluate():
    nats, count = 0.0, 0
{loops}    return nats / math.log(2) / count


print(f"val_bpb:{{evaluate():.6f}}")
"""
    first, second = loop.format(skips=one), loop.format(skips=other)
    assert check_source(script.format(loops=first + second)) == []
    assert [each.code for each in check_source(script.format(loops=first))] == ["BPB350"]


TIMED = "if time.time() - started > {limit}: break"
SLOW = "waited = 1000.0 * (time.time() - started)\n        if waited > 300000.0: break"


def _said_beside(folder: Path, first: str, *lines: str) -> list[str]:
    (folder / "train.log").write_text("\n".join(lines) + "\n")
    numbers = [n for n, line in enumerate(lines, 1) if line.startswith("final val_bpb:")]
    logged = tuple(LoggedScore(folder / "train.log", "train.log", n, value=1.2) for n in numbers)
    context = ScriptContext(rules=GOLF, claimed_labels=("final val_bpb",), logged=logged)
    found = check_source(SCRIPT.format(**{**BASE, "first": first}), context)
    return [each.message for each in found if each.code == "BPB350"]


AT = "final val_bpb:1.2 eval_time:{}ms"


@pytest.mark.parametrize(
    ("limit", "lines"),
    [
        ("BUDGET", [AT.format("257631")]),
        ("570.0", [AT.format("569999")]),
        ("BUDGET", ["final_rounded val_bpb:1.2 eval_time:257631ms", "final val_bpb:1.2"]),
        ("BUDGET", [AT.format("257631"), AT.format("299000")]),
        ("BUDGET", ["final val_bpb:1.2 eval_time:257.6s"]),
    ],
)
def test_of_an_evaluation_that_took_less_nothing_was_left_out(tmp_path: Path, limit: str, lines: list[str]) -> None:
    assert _said_beside(tmp_path, TIMED.format(limit=limit), *lines) == []


@pytest.mark.parametrize(
    ("first", "lines"),
    [
        (TIMED.format(limit="BUDGET"), [AT.format("300001")]),
        (TIMED.format(limit="BUDGET"), ["final val_bpb:1.2"]),
        (
            TIMED.format(limit="BUDGET"),
            ["earlier val_bpb:1.3 eval_time:2000ms", "step 2", "step 3", "final val_bpb:1.2"],
        ),
        (TIMED.format(limit="BUDGET"), [AT.format("257631"), AT.format("301000")]),  # one of two runs
        (TIMED.format(limit="unknown()"), [AT.format("257631")]),
        (SLOW, [AT.format("257631")]),  # of a clock in other units
        (TIMED.format(limit="BUDGET or late"), [AT.format("2576")]),
    ],
)
def test_where_the_log_does_not_tell_that_it_took_less_it_is_said(tmp_path: Path, first: str, lines: list[str]) -> None:
    assert len(_said_beside(tmp_path, first, *lines)) == 1
