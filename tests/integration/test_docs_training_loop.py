"""Every example of docs/training-loop.md runs, in order."""

from __future__ import annotations

import re


def test_the_examples_run(repository, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    page = (repository / "docs" / "training-loop.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "training-loop.md", "exec"), names)
    assert "adapter:in-memory/Network" in capsys.readouterr().out
