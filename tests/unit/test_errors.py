"""Error messages: one line with what, the value seen, the value expected, the next step."""

import inspect

import pytest

from bpb_harness import errors
from bpb_harness.errors import ContractError, HarnessError, NumericsError


def test_a_message_holds_all_four_parts_in_order():
    line = str(HarnessError("shard a.bin", seen="magic 7", expected="magic 20240520", hint="pass a token shard"))
    assert line == "shard a.bin: got magic 7, expected magic 20240520; pass a token shard"


def test_a_hostile_value_neither_breaks_the_line_nor_floods_it():
    line = str(HarnessError("name", seen="a\nb\r\nc" + "x" * 10_000))
    assert "\n" not in line
    assert "\r" not in line
    assert len(line) <= 600


def all_errors():
    return [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HarnessError)]


@pytest.mark.parametrize("kind", all_errors())
def test_exit_codes(kind):
    # A NaN is bad input wherever it is met, before the score or during it.
    behaviour = issubclass(kind, ContractError) and not issubclass(kind, NumericsError)
    assert kind.exit_code == (4 if behaviour else 2)


@pytest.mark.parametrize("kind", all_errors())
def test_the_tree_at_the_top_of_the_file_names_every_error(kind):
    assert kind.__name__ in errors.__doc__
