"""Fixtures shared by every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return _ROOT


@pytest.fixture(scope="session")
def lab() -> Path:
    """The laboratory: real text, tokenizers and foreign checkpoints, which are no part of the project."""
    path = Path(os.environ.get("BPB_LAB", _ROOT.parent / "shared" / "lab"))
    if not path.is_dir():
        pytest.skip(f"no laboratory at {path}; set BPB_LAB")
    return path
