"""Where a draw goes: what cannot be followed to its end may hide tokens."""

from __future__ import annotations

import ast

import pytest

from bpb_harness.auditing.script.domains.hiding import hides_tokens
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script

DRAW = "torch.rand(8) < 0.3"
LONG = "".join(f"b{i} = m.view(-1)\n" for i in range(500))


@pytest.mark.parametrize(
    ("text", "hides"),
    [
        (f"def draw():\n    return {DRAW}\n", True),  # whoever calls it
        (f"def draw():\n    return {DRAW}\n\nm = draw()\n", False),
        (f"xs = sorted(xs, key=lambda t: {DRAW})\n", True),
        (f"draw = lambda: {DRAW}\n", False),
        (f"def hide(x, m={DRAW}):\n    return x\n", True),
        (f"xt = [t for t in x0 if {DRAW}]\n", True),
        (f"xt = [t for t in ({DRAW})]\n", False),
        (f"while {DRAW}:\n    n += 1\n", True),
        (f"m = {DRAW}\n{LONG}", True),  # too many places
        (f"m = {DRAW}\n{LONG[:300]}", False),
        (f"w = torch.ones(8) * ({DRAW})\nx[w]\n", False),
        (f"w = 2 * ({DRAW})\nx[w]\n", True),
        (f"m = ({DRAW})[0]\n", False),
        (f"n = x.sum() + ({DRAW})\nx[n]\n", True),
        (f"m = {DRAW}\nce = F.cross_entropy(m, y)\nx[ce]\n", False),
        (f"m = {DRAW}\nnet = Net(m)\nif net.cap:\n    y = net.cap\n", False),  # a setting of what was given it
        (f"class Net:\n    def __init__(self, m):\n        self.m = m\n\n\nnet = Net({DRAW})\nx[net]\n", False),
        (f"class Net:\n    def __init__(self, m):\n        self.m = m\n\n\nnet = Net({DRAW})\nx[net.m]\n", True),
        (f"m = {DRAW}\nn = m.shape[0]\nx[n]\n", False),
        (f"m = {DRAW}\nif m is not None:\n    n = 1\n", False),  # whether there is one
        (f"m = {DRAW}\nx = a if m is None else b\n", False),
        (f"m = {DRAW}\nx = b if m else a\n", True),
        (f"m = {DRAW}\nif m is not None:\n    x0[m] = MASK\n", True),
        (f"masks = []\nmasks.append({DRAW})\nx[masks]\n", True),
        # Two parts of a network beside each other are no text in which a mask stands.
        (f"m = {DRAW}\nh = h + m * (y - z)\n", False),
        (f"m = {DRAW}\nh = h - (y - z) * m.float()\n", False),
        (f"m = {DRAW}\nh = h + m * y\n", False),
        (f"m = {DRAW}\nh = self.f(h) + m * (self.bias - 1.0)\n", False),
        (f"m = {DRAW}\nh = self.x.long() + m * (self.mask - self.x)\n", True),
        (f"m = {DRAW}\nh = h + m * (MASK - h)\n", True),
        (f"m = {DRAW}\nh = h * (1 - m) + MASK * m\n", True),
    ],
)
def test_a_draw_is_followed_as_far_as_it_goes(text: str, hides: bool) -> None:
    tree = ast.parse(text)
    program = Program([Script("a.py", text, tree)])
    (draw,) = (node for node in ast.walk(tree) if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt))
    assert hides_tokens(program, draw) is hides
