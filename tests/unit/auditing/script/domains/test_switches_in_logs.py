"""Which way a test went, by the lines of the claim's log."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bpb_harness.auditing.script.context import LoggedScore, ScriptContext
from bpb_harness.auditing.script.domains.switches_in_logs import against_the_logs, switch_by_logs
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
    print(f"fit: start {len(tokens)} of:{tokens.size}{f' lr:{args.lr}' if args.fits else ''}")
    if args.fits:
        total = looked_up(tokens)
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
        ("fit: start 9 of:9 lr:0.1", 2, True),  # of two texts of which a test within it takes one
        ("fit: start 9 of:9", 2, False),
        ("fit: start 9 of:9 lr:0.1 steps:3", 2, None),
        ("cache: enabled with 0 entries", 3, None),  # the name has another value there
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


OTHERWISE = """
import math, os
import numpy as np
MASK = (1 << 22) - 1
ORDER = int(os.environ.get("ORDER", "2"))


def plain(p_net, tokens):
    return sum(-math.log(p_net[i]) for i in range(2, len(tokens)))


def cached(p_net, tokens):
    ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)
    nats = 0.0
    for i in range(2, len(tokens)):
        a = (int(tokens[i - 1]) * 36313) & MASK
        b = (a ^ (int(tokens[i]) * 65537)) & MASK
        nats -= math.log(0.7 * p_net[i] + 0.3 * full[b] / max(ctx[a], 1))
        ctx[a] += 1
        full[b] += 1
    return nats


if ORDER >= 2:
    print(f"cache: order {ORDER}")
    nats = cached(np.load("p.npy"), np.load("t.npy"))
else:
    print(f"plain: order {ORDER}")
    nats = plain(np.load("p.npy"), np.load("t.npy"))
print(f"final val_bpb: {nats / math.log(2.0) / 10:.5f}")
"""


@pytest.mark.parametrize(
    ("line", "given", "default", "found"),
    [
        ("cache: order 2", {"ORDER": "0"}, "2", True),  # the command is of another run
        ("plain: order 0", {"ORDER": "0"}, "2", False),
        ("no line", {"ORDER": "0"}, "2", False),
        ("cache: order 4", {"ORDER": "4"}, "0", True),
        ("cache: order 4", {"ORDER": "0"}, "0", False),  # by its default neither: nothing tells what was set
        ("cache: order 2", {"OTHER": "0"}, "2", True),
    ],
)
def test_what_a_command_sets_is_not_taken_against_the_log(
    tmp_path: Path, line: str, given: dict[str, str], default: str, found: bool
) -> None:
    log = tmp_path / "train.log"
    log.write_text(f"{line}\nfinal val_bpb: 1.1\n")
    logged = (LoggedScore(log, "train.log", 2),)
    text = OTHERWISE.replace('"ORDER", "2"', f'"ORDER", "{default}"')
    context = ScriptContext(logged=logged, claimed_labels=("final val_bpb",), settings=given, uncontested=given)
    assert ("BPB267" in {each.code for each in check_source(text, context)}) is found


def test_a_command_counts_where_one_of_two_logs_is_of_it(tmp_path: Path) -> None:
    logged = []
    for name, line in (("a.log", "cache: order 2"), ("b.log", "plain: order 0")):
        (tmp_path / name).write_text(f"{line}\nfinal val_bpb: 1.1\n")
        logged.append(LoggedScore(tmp_path / name, name, 2))
    script = [Script("train.py", OTHERWISE, ast.parse(OTHERWISE))]
    assert against_the_logs(script, {"ORDER": "0"}, (logged[0],)) == {"ORDER"}
    assert against_the_logs(script, {"ORDER": "0"}, tuple(logged)) == set()
    text = OTHERWISE.replace('"ORDER", "2"', '"ORDER", "0"')  # by its own default it would print none of it either
    assert against_the_logs([Script("train.py", text, ast.parse(text))], {"ORDER": "1"}, (logged[0],)) == set()


@pytest.mark.parametrize(
    "printed",
    [
        "for i in range(N):\n    if N <= 20 or (i + 1) % 10 == 0:\n        print(f'warm-up: {i}')",
        "def told(i):\n    if N <= 20 or (i + 1) % 10 == 0:\n        print(f'warm-up: {i}')\n\n\n"
        "for i in range(N):\n    told(i)",
    ],
)
def test_a_line_of_some_rounds_shows_nothing_of_a_command(tmp_path: Path, printed: str) -> None:
    log = tmp_path / "train.log"
    log.write_text("warm-up: 9\nfinal val_bpb: 1.1\n")
    text = f"import os\nN = int(os.environ.get('WARMUP', '20'))\n{printed}\n"
    script = [Script("train.py", text, ast.parse(text))]
    assert against_the_logs(script, {"WARMUP": "100"}, (LoggedScore(log, "train.log", 2),)) == set()
