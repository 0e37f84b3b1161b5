"""Every example of docs/training-loop.md runs, in order; one of a framework where that is installed."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest

_FRAMEWORKS = {"lightning": "import lightning", "transformers": "from transformers import"}


def _blocks(repository) -> list[str]:
    page = (repository / "docs" / "training-loop.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def _run(block: str, names: dict[str, Any]) -> None:
    exec(compile(block, "training-loop.md", "exec"), names)


@pytest.fixture(scope="module")
def names(repository) -> dict[str, Any]:
    """What the examples define that need torch and torchmetrics alone, and what they print."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        printed: list[Any] = []
        names: dict[str, Any] = {"print": lambda *words: printed.append(words), "printed": printed}
        own = [block for block in _blocks(repository) if not any(line in block for line in _FRAMEWORKS.values())]
        assert len(own) == 5
        for block in own:
            if "bpb_harness.metric" in block:
                pytest.importorskip("torchmetrics")
            _run(block, names)
    return names


def test_the_examples_run(names):
    printed = names["printed"]
    assert any("adapter:in-memory/Network" in " ".join(map(str, words)) for words in printed)
    (validated,) = [words[0] for words in printed if "val/bits_per_byte" in str(words)]
    assert validated["val/num_rows"] == 64
    assert validated["val/num_tokens"] == 2048
    assert 3.0 < validated["val/bits_per_byte"] < 5.0  # untrained: 9 bits a token of 2.8 bytes
    assert 0.0 < validated["val/stderr"] < 0.5
    (logged,) = [words[0] for words in printed if "bpb/bits_per_byte" in str(words)]
    assert logged["bpb/num_windows"] == 8


@pytest.mark.parametrize("framework", _FRAMEWORKS)
def test_the_examples_of_frameworks_run(framework, names, repository, monkeypatch):
    pytest.importorskip(framework)
    if framework == "transformers":
        pytest.importorskip("accelerate")
    (block,) = [block for block in _blocks(repository) if _FRAMEWORKS[framework] in block]
    monkeypatch.chdir(repository)
    before = set(repository.iterdir())
    printed: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, of few workers, few devices, what they will change
        _run(block, {**names, "print": printed.append})
    assert 2.0 < float(printed[0]) < 5.0
    assert set(repository.iterdir()) == before


def test_callbacks_are_short(repository):
    """Each is a class or a function of some ten lines."""
    page = "\n".join(_blocks(repository))
    found = re.findall(r"^(?:class BoundCallback|def validate).*\n(?:(?: .*)?\n)*", page, re.MULTILINE)
    assert len(found) == 3
    assert all(len([line for line in each.splitlines() if line]) <= 10 for each in found)
