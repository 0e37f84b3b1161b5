"""docs/record.md: its commands are ones that the command line takes, its adapters exist, its arithmetic is right."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

import pytest
import typer

from bpb_harness.adapters import available_adapters
from bpb_harness.cli import audit
from bpb_harness.cli import eval as evaluation
from bpb_harness.cli._settings import as_settings
from bpb_harness.evaluation.settings import FLAGS, Settings

_PAGE = (Path(__file__).parents[2] / "docs" / "record.md").read_text("utf-8")
_BLOCKS = re.findall(r"^    ```\n(.*?)^    ```$", _PAGE, flags=re.MULTILINE | re.DOTALL)  # inside list items
_COMMANDS = [line.strip() for block in _BLOCKS for line in block.replace("\\\n", " ").splitlines()]


def words_of(command: str) -> list[str]:
    return shlex.split(command)[1:]


def settings_of(words: list[str]) -> Settings:
    """What bpb-eval makes of them; the command line's error or the harness's own where it makes nothing."""
    context = typer.main.get_command(evaluation.app).make_context("bpb-eval", words)
    return Settings(**as_settings({name: value for name, value in context.params.items() if name in FLAGS}))


def test_there_is_a_command_for_each_row() -> None:
    assert len(_COMMANDS) == 6
    assert all(command.startswith("bpb-eval ") for command in _COMMANDS)
    typer.main.get_command(audit.app).make_context("bpb-audit", ["submission_folder"])


@pytest.mark.parametrize("command", _COMMANDS)
def test_commands_are_taken(command: str) -> None:
    settings = settings_of(words_of(command))
    assert settings.adapter in available_adapters()
    assert settings.method in {"ar", "discrete", "chain"}


def test_presets_are_those_of_the_adapters() -> None:
    from bpb_harness.adapters.golf_ddit import STATED
    from bpb_harness.adapters.golf_record.settings import PRESETS

    known = {"golf-gpt": PRESETS, "golf-ddit": STATED.presets}
    named = [settings_of(words_of(command)) for command in _COMMANDS]
    with_preset = [each for each in named if each.golf_preset is not None]
    assert len(with_preset) == 2
    assert all(each.golf_preset in known[str(each.adapter)] for each in with_preset)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("--no-such-option", "No such option: --no-such-option"),
        ("--method nll", "--method: got 'nll'"),
        ("--unpaid-prefix 1 --stride 4", "--unpaid-prefix is of windows by themselves"),
        ("--tail perhaps", "--tail: got 'perhaps'"),
    ],
)
def test_a_wrong_command_would_be_noticed(wrong: str, said: str) -> None:
    with pytest.raises(Exception, match=said):
        settings_of(["x.pt", *wrong.split()])


_NUMBER = r"\(*(?:\d[\d,]*(?:\.\d+)?|ln 2)\)*"
_EQUATION = re.compile(rf"({_NUMBER}(?:\s[-+x/]\s{_NUMBER})+)\s=\s(\d[\d,]*(?:\.\d+)?)")


def equations(text: str) -> list[tuple[str, str]]:
    return _EQUATION.findall(" ".join(text.split()))


def value_of(expression: str) -> float:
    plain = expression.replace(",", "").replace("ln 2", repr(math.log(2))).replace(" x ", " * ")
    assert re.fullmatch(r"[-+*/(). \d]+", plain)
    return float(eval(plain))


def holds(left: str, right: str) -> bool:
    decimals = len(right.partition(".")[2])
    return abs(value_of(left) - float(right.replace(",", ""))) <= 0.5000001 * 10**-decimals


@pytest.mark.parametrize(("left", "right"), equations(_PAGE))
def test_the_arithmetic_is_right(left: str, right: str) -> None:
    assert holds(left, right), f"{left} is {value_of(left):.6f}"


def test_the_arithmetic_is_found() -> None:
    found = dict(equations(_PAGE))
    assert len(found) >= 18
    assert found["1.1465 x 4.3 / 2.43593"] == "2.0238"
    assert found["1.1465 x 4.3 / 2.40774"] == "2.0475"
    assert "(1.11922988 + 1.11888882 + 1.12002032) / 3" in found
    assert not holds("1.1465 x 4.3 / 2.43593", "2.0239")


def test_every_row_has_its_section_and_every_section_its_five_answers() -> None:
    sections = re.split(r"^## ", _PAGE, flags=re.MULTILINE)[1:]
    rows = re.findall(r"^\| \[[^\]]+\]\(#[\w-]+\)", _PAGE, flags=re.MULTILINE)
    assert len(sections) == len(rows) == 5
    for section in sections:
        for answer in ("**Relation:**", "**Audit: ", "**Score a checkpoint:**", "**Unknown:**"):
            assert section.count(answer) == 1, section[:20]
