"""Which way a test went, by the lines of the claim's log."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bpb_harness.auditing.script.context import LoggedScore, ScriptContext
from bpb_harness.auditing.script.domains.switches_in_logs import switch_by_logs
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script
from tests.golf_rules import check_source

TEXT = """
import os
def score(args, tokens):
    use_cache = bool(int(os.environ.get("CACHE", "0")))
    print(f"settings: plain={args.plain} cached={use_cache} of={len(tokens)}")
    if use_cache:
        table = {}
        print(f"cache: enabled with {len(table)} entries")
    for token in tokens:
        if use_cache:
            total = looked_up(token)
        if args.plain:
            total = looked_up(token)
    use_cache = other()
    if use_cache:
        total = looked_up(tokens)
    print(f"either way {total}")
"""


def _switched(tmp_path: Path, lines: str, place: int) -> bool | None:
    """Which way the test above a call went, by a log's lines before its score."""
    log = tmp_path / "train.log"
    log.write_text(f"{lines}\nfinal val_bpb:1.1\ncache: enabled with 3 entries\n")
    program = Program([Script("train.py", TEXT, ast.parse(TEXT))])
    call = sorted(program.calls["looked_up"], key=lambda each: each.lineno)[place]
    number = log.read_text().split("\n").index("final val_bpb:1.1") + 1
    is_new = switch_by_logs(program, call, (LoggedScore(log, "train.log", number),))
    (found,) = [program.held.get(test) for test, _ in program.tests_above(call)]
    assert is_new is (found is not None)
    return found


@pytest.mark.parametrize(
    ("lines", "place", "went"),
    [
        ("cache: enabled with 0 entries", 0, True),  # the branch's own line
        ("cache: enabled with [0, 1] entries", 0, True),
        ("cache: enabled", 0, None),
        ("settings: plain=False cached=True of=[9, 9]", 0, True),
        ("settings: plain=False cached=True of=9", 0, True),  # the value itself
        ("settings: plain=False cached=False of=9", 0, False),
        ("settings: plain=1 cached=0 of=9", 1, True),
        ("settings: plain=off cached=0 of=9", 1, None),  # no value that is known
        ("step 1", 0, None),  # that it is printed behind the score shows nothing of it
        ("either way 3", 0, None),
        ("cache: enabled with 0 entries", 2, None),  # the name has another value there
        ("settings: plain=False cached=False of=9\ncache: enabled with 0 entries", 0, None),  # they disagree
    ],
)
def test_a_line_of_the_log_shows_which_way_a_test_went(
    tmp_path: Path, lines: str, place: int, went: bool | None
) -> None:
    assert _switched(tmp_path, lines, place) is went


SCRIPT = """
import math, os
import numpy as np
MASK = (1 << 22) - 1


def score(p_net, tokens):
    use_cache = bool(int(os.environ.get("CACHE", "0")))
    ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)
    if use_cache:
        print(f"cache: {MASK} slots")
    nats = 0.0
    for i in range(2, len(tokens)):
        q = p_net[i]
        if use_cache:
            a = (int(tokens[i - 1]) * 36313) & MASK
            b = (a ^ (int(tokens[i]) * 65537)) & MASK
            q = 0.7 * q + 0.3 * full[b] / max(ctx[a], 1)
            ctx[a] += 1
            full[b] += 1
        nats -= math.log(q)
    return nats


val_bpb = score(np.load("p.npy"), np.load("t.npy")) / math.log(2.0) / 10
print(f"final val_bpb: {val_bpb:.5f}")
"""


@pytest.mark.parametrize(("line", "found"), [("cache: 4194303 slots", True), ("no cache", False)])
def test_counts_that_the_log_shows_to_have_been_used_are_found(tmp_path: Path, line: str, found: bool) -> None:
    log = tmp_path / "train.log"
    log.write_text(f"{line}\nfinal val_bpb: 1.1\n")
    context = ScriptContext(logged=(LoggedScore(log, "train.log", 2),), claimed_labels=("final val_bpb",))
    assert ("BPB267" in {each.code for each in check_source(SCRIPT, context)}) is found
