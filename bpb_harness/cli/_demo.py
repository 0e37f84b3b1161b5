"""``--demo``: a small checkpoint with its text, which every installation has."""

from __future__ import annotations

from pathlib import Path

import typer

import bpb_harness

DEMO_CHECKPOINT = Path(bpb_harness.__file__).with_name("demo") / "demo.pt"
DEMO_DATA = DEMO_CHECKPOINT.with_name("demo_val_000000.bin")


def take_demo(context: typer.Context, value: bool) -> bool:
    """The callback of ``--demo``, which is asked before CHECKPOINT is missed: what that is where nothing is given."""
    if value:
        context.default_map = {**(context.default_map or {}), "checkpoint": str(DEMO_CHECKPOINT)}
    return value
