"""Scripts made to exhaust or fool whoever reads them: bounded work, a finding, never an exception."""

from __future__ import annotations

import base64
import gzip
import lzma
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from bpb_harness.auditing.script import extract_embedded
from bpb_harness.auditing.script.frontend.source import MAX_BYTES, MAX_LAYERS, decode_text
from tests.bounded import count_calls, require_an_end
from tests.golf_rules import check_source

MIB = 2**20


def _wrapped(raw: bytes, packer: str, pack: Callable[[bytes], bytes]) -> str:
    return f"import base64, {packer}\nexec({packer}.decompress(base64.b85decode({base64.b85encode(pack(raw))!r})))\n"


@pytest.mark.parametrize(
    ("packer", "pack"), [("zlib", zlib.compress), ("gzip", gzip.compress), ("lzma", lzma.compress)]
)
def test_decompression_bombs_are_stopped(packer: str, pack: Callable[[bytes], bytes]) -> None:
    bomb = _wrapped(b"#" * (MAX_BYTES + MIB), packer, pack)
    tracemalloc.start()
    source = decode_text(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert source.layers == 0
    assert "decompression bomb" in source.problems[0]
    assert peak < 3 * MAX_BYTES


def test_a_bomb_inside_a_bomb() -> None:
    inner = zlib.compress(b"x = 1\n" * (64 * MIB // 6), 9)
    outer = _wrapped(inner, "zlib", zlib.compress)
    assert len(outer) < 100_000
    assert decode_text(outer).layers <= 1


def test_a_payload_of_very_many_parts_is_put_together_once() -> None:
    """28 names, each twice the one before it: some 10^8 ways to the first."""
    names = "".join(f"a{i} = a{i - 1} + a{i - 1}\n" for i in range(1, 29))
    source = decode_text(f"a0 = ''\n{names}exec(a28.strip())\n")
    assert (source.text, source.layers) == ("", 1)


def test_endless_layers_end() -> None:
    text = "print(1)\n"
    for _ in range(MAX_LAYERS + 3):
        text = _wrapped(text.encode(), "zlib", zlib.compress)
    source = decode_text(text)
    assert source.layers == MAX_LAYERS
    assert "more than 8" in source.problems[0]


def test_a_script_that_unfolds_to_itself() -> None:
    text = "s = 'exec(s)'\nexec(s)\n"
    assert decode_text(text).layers <= MAX_LAYERS


def test_a_payload_named_by_itself() -> None:
    assert decode_text("a = b\nb = a\nexec(a)\n").problems
    assert decode_text("a = a + a\nexec(a)\n").problems


def test_a_dictionary_size_from_a_hostile_header() -> None:
    header = bytes([0x5D]) + (0xFFFFFFFF).to_bytes(4, "little") + b"\xff" * 8 + b"\x00" * 32
    text = f"import lzma, base64\nexec(lzma.decompress(base64.b64decode({base64.b64encode(header)!r})))\n"
    assert decode_text(text).problems


HOSTILE_SYNTAX = [
    "(" * 5_000 + ")" * 5_000,
    "-" * 20_000 + "1",
    "x = " + " + ".join(["1"] * 3_000),
    "x = " + "[" * 90 + "]" * 90,
    "print('val_bpb', " + "f(" * 80 + "1" + ")" * 80 + ")",
    "print('val_bpb', x" + "[0]" * 900 + ")",
    "print('val_bpb', " + " * ".join(["x"] * 900) + ")",
    "if 1:\n" + "".join(" " * k + "if 1:\n" for k in range(1, 90)) + " " * 90 + "pass",
    "\x00" * 100,
    "print('val_bpb', 9 ** 9 ** 9 ** 9 / 4.3)",
    "print('val_bpb', x / (10 ** 400))",
    "print('val_bpb', 'a' * 10 ** 12)",
    "lambda: (yield)",
    "\ufeff\ufeff#",
]


def test_hostile_syntax_comes_to_an_end() -> None:
    printed = require_an_end(
        "from bpb_harness.auditing.script import check_source\n"
        f"for text in {HOSTILE_SYNTAX!r}:\n"
        "    print([found.message for found in check_source(text) if 'could not be carried out' in found.message])\n"
    )
    assert printed.split("\n") == ["[]"] * len(HOSTILE_SYNTAX) + [""]


def test_names_that_go_round_in_circles() -> None:
    script = """
def f(x):
    return g(x) / f(x) + h
def g(x):
    return f(g(x))
h = lambda: h() + f(h)
a = b
b = a * f(a)
class M:
    def forward(self, x):
        self.y = self.y + self.forward(self.y)
        return self.y
m = M()
m = m(m)
while a:
    a, b = b / a, a + m(b)
    print(f"val_bpb {a} {f(b)} {m(a)}")
"""
    findings = check_source(script)
    assert not [found.message for found in findings if "could not be carried out" in found.message]


def test_work_does_not_explode_with_alternatives() -> None:
    """Eighteen levels of three references each would be 400 million products."""
    lines = ["v0 = one()"]
    lines += [f"v{k + 1} = (v{k} + v{k} * 2) / (v{k} - w{k})" for k in range(18)]
    lines += ["print('val_bpb', v18)"]
    require_an_end(f"from bpb_harness.auditing.script import check_source; check_source({chr(10).join(lines)!r})")


GROWING = {
    "powers of powers": ["x0 = 9", *(f"x{k + 1} = x{k} * x{k}" for k in range(30)), "w = x30 if x30 > 0 else 1"],
    "pairs of pairs": [
        "x0, y0 = (1, 2), (1, 2)",
        *(f"x{k + 1} = (x{k}, x{k})\ny{k + 1} = (y{k}, y{k})" for k in range(30)),
        "w = 1 if x30 == y30 else 2",
    ],
    "many draws many times": [
        "x0 = " + " + ".join(["rand()"] * 4_000), "x1 = " + " + ".join(["x0"] * 4_000), "w = x1 if x1 > 0 else 1",
    ],
}  # fmt: skip


@pytest.mark.parametrize("lines", GROWING.values(), ids=GROWING)
def test_what_is_kept_of_values_does_not_explode(lines: list[str]) -> None:
    """Each value holds the one before twice: worked out once a name, nothing but its size would bound it.

    The bound on work is no help, and a tenth of it shows that as well.
    """
    text = "\n".join(["from torch import rand", *lines, "print('val_bpb', F.cross_entropy(model(x), y) / 2 * w)"])
    require_an_end(
        "from bpb_harness.auditing.script import check_source\n"
        "from bpb_harness.auditing.script.frontend import program\n"
        f"program.MAX_WORK //= 10; check_source({text!r})"
    )


_TABLE = """import torch, numpy as np, sentencepiece as spm, torch.nn.functional as F
def filled(sp):
    size = np.zeros(4)
    for i in range(4):
        size[i] = len(sp.id_to_piece(i))
    return size
"""
_CHOICES = "".join(f"    if c == {k}: return f{{0}}(c)\n" for k in range(4))


def test_a_table_is_looked_for_within_the_bound_on_work() -> None:
    """Fourteen functions of four results each would be 10^8 ways back to the table; a tenth of the bound shows it."""
    calls = [f"def f{k + 1}(c):\n{_CHOICES.format(k)}" for k in range(15)]
    score = "print('val_bpb', F.cross_entropy(model(x), y).sum() / f15(torch.load('c'))[y].sum())"
    text = "\n".join([_TABLE + "def f0(c):\n    return torch.zeros(3)", *calls, score])
    require_an_end(
        "from bpb_harness.auditing.script import check_source\n"
        "from bpb_harness.auditing.script.frontend import program\n"
        f"program.MAX_WORK //= 10; check_source({text!r})"
    )


def test_many_tests_for_the_last_pass_are_looked_through_once() -> None:
    """Each going through a loop of 30,000 expressions would be 10^8 of them."""
    tests = "            if e == E - 1: nats += loss\n" * 3_000
    text = f"""import torch.nn.functional as F
def evaluate(model, opt, x, E):
    nats = 0
    for e in range(E):
        loss = F.cross_entropy(model(x), x)
        for part in x:
            loss.backward(); opt.step()
{tests}    return nats
print(f"val_bpb {{evaluate(1, 2, 3, 4)}}")
"""
    count_calls(lambda: check_source(text), 6_000_000)


def test_many_scripts_in_one_log_are_bounded() -> None:
    log = "\n".join(["import broken(", "from x import y z"] * 20_000)
    found: list[Any] = []
    count_calls(lambda: found.append(extract_embedded(log)), 4_000_000)
    assert found == [None]


ROUND_A_LOOP = {
    "a list made of itself": """
import numpy as np, torch.nn.functional as F
def evaluate(model, data):
    for x, y in data:
        bits = list(bits)
        score = np.average(bits, weights=bits) * F.cross_entropy(model(x), y) / bits[0]
    print(f"val_bpb: {score / 0.69 / 2.5}")
evaluate(1, 2)
""",
    "a mask made of itself": """
import torch, torch.nn.functional as F
def evaluate(model, x):
    for t in (0.25, 0.5, 0.75):
        free = ~free & free
        move = (torch.rand_like(x) < t) & free
        loss = F.cross_entropy(model(torch.where(move, 1024, x)), x)
    print(f"val_bpb: {loss / 0.69 / 2.5}")
evaluate(1, 2)
""",
    "a last pass that is the last": """
import torch.nn.functional as F
def evaluate(model, x, opt):
    total = 0.0
    for epoch in range(3):
        loss = F.cross_entropy(model(x), x)
        last = last and epoch == 2
        if last:
            total += loss
        loss.backward()
        opt.step()
    print(f"val_bpb: {total / 0.69 / 2.5}")
evaluate(1, 2, 3)
""",
}


@pytest.mark.parametrize("text", ROUND_A_LOOP.values(), ids=ROUND_A_LOOP)
def test_what_is_made_of_itself_round_a_loop_is_followed_to_an_end(text: str) -> None:
    assert "BPB950" not in {finding.code for finding in check_source(text)}
