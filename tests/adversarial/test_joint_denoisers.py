"""A joint price under the weight of single tokens, and what docs/joint-denoisers.md says of it."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest

from bpb_harness.testing import check_code_length
from fixtures.adversarial.estimators.joint import joint_bits


def _bits_one_by_one(x: np.ndarray, vocab_size: int) -> float:
    """The same source and masks, each masked token priced on its own."""
    length, total = len(x), 0.0
    if len(set(x.tolist())) > 1:
        return math.inf
    for masked in itertools.product((False, True), repeat=length):
        count = sum(masked)
        price = count * math.log2(vocab_size) if count == length else 0.0
        times = (np.arange(20_000) + 0.5) / 20_000
        total += price * float((times ** (count - 1) * (1 - times) ** (length - count)).mean()) if price else 0.0
    return total


@pytest.mark.parametrize(("vocab_size", "length"), [(2, 2), (4, 3), (4, 4), (16, 4), (3, 7)])
def test_one_repeated_symbol_is_sold_at_a_fraction_of_its_price(vocab_size: int, length: int) -> None:
    text = np.zeros(length, dtype=np.int64)
    assert joint_bits(text, vocab_size) == pytest.approx(math.log2(vocab_size) / length, rel=1e-12)
    assert _bits_one_by_one(text, vocab_size) == pytest.approx(math.log2(vocab_size), rel=1e-6)
    joint = check_code_length(lambda x: joint_bits(x, vocab_size), vocab_size=vocab_size, length=length)
    assert not joint.ok
    assert joint.kraft_sum == pytest.approx(vocab_size ** (1 - 1 / length), rel=1e-9)


def test_priced_one_by_one_it_is_a_code() -> None:
    assert check_code_length(lambda x: _bits_one_by_one(x, 4), vocab_size=4, length=3).kraft_sum == pytest.approx(1.0)


def _revealed_bits(x: np.ndarray, vocab_size: int, groups: list[list[int]]) -> float:
    """What is revealed is paid, group by group, jointly: the first group costs log2(V), the others nothing."""
    if len(set(x.tolist())) > 1:
        return math.inf
    return sum(math.log2(vocab_size) if not number else 0.0 for number, group in enumerate(groups) if group)


def test_priced_when_it_is_revealed_it_is_a_code() -> None:
    """The mend of the page, in two steps whose groups are drawn: the mean over draws of lengths of codes is one."""
    draws = list(itertools.product((0, 1), repeat=3))

    def bits(x: np.ndarray) -> float:
        lengths = []
        for draw in draws:
            groups = [[i for i in range(3) if draw[i] == step] for step in (0, 1)]
            lengths.append(_revealed_bits(x, 4, [group for group in groups if group]))
        return float(np.mean(lengths))

    report = check_code_length(bits, vocab_size=4, length=3)
    assert report.ok, report.message
    assert report.kraft_sum == pytest.approx(1.0)


def test_the_page_s_table_and_example(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (repository / "docs" / "joint-denoisers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page, flags=re.MULTILINE)
    assert len(rows) == 4
    for v, n, *printed in rows:
        vocab_size, length = int(v), int(n)
        true = math.log2(vocab_size)
        assert [float(number) for number in printed] == pytest.approx(
            [true, true / length, vocab_size ** (1 - 1 / length)], abs=6e-4
        )
    (example,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    exec(compile(example, "docs/joint-denoisers.md", "exec"), {})
    assert "sum of 2^-bits over all 256 texts is 2.82843 > 1" in capsys.readouterr().out
