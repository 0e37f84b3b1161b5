"""Trees that the scripts of a batch share: the same as those of the scripts by themselves, wherever a piece stands."""

from __future__ import annotations

import ast
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpb_harness.auditing.script.frontend import trees
from bpb_harness.auditing.script.frontend.trees import Lease, SharedTrees, parse
from tests.tiers import times

SCRIPTS = sorted((Path(__file__).parents[5] / "fixtures" / "scripts").glob("[hmw]*.py"))[::3]
ONE, TWO = "def one(x):\n    return x + 1\n\n\n", "class Two:\n    a: int = 2\n"
DECORATED = """@first
@second(
    3,
)
def three():
    match x:
        case [1, *y]:
            return f'{y!r}'
"""
ASYNC = """async def four():
    '''
def none():
'''
    import a as b
    try:
        await b
    except E as e:
        pass
"""


@pytest.fixture(autouse=True)
def _shared() -> Iterator[None]:
    with SharedTrees().used():
        yield


def _dump(tree: ast.Module | None) -> str | None:
    return None if tree is None else ast.dump(tree, include_attributes=True)


def _alone(text: str) -> str | None:
    """The tree of a text that shares nothing, with its places."""
    try:
        return _dump(ast.parse(text))
    except (SyntaxError, ValueError):
        return None


def _variants(text: str, draws: random.Random) -> Iterator[str]:
    """A script, and scripts that have its functions and classes in another order, at other lines, or without some."""
    pieces = [*trees._cut(text)]
    yield text
    yield f"import os\n\n# x\n{text}" if "from __future__" not in text else text
    for _ in range(2):
        kept = draws.sample(pieces[1:], k=draws.randint(0, len(pieces) - 1))
        yield pieces[0] + "\n" * draws.randint(0, 4) + "".join(kept)


def test_a_script_has_the_same_tree_whatever_was_read_before_it() -> None:
    for seed in range(times(1, thorough=2)):
        draws = random.Random(seed)
        texts = [each for path in SCRIPTS for each in _variants(path.read_text(encoding="utf-8"), draws)]
        draws.shuffle(texts)
        with SharedTrees().used():
            for text in texts:
                lease = Lease()
                assert _dump(parse(text, lease)) == _alone(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        ONE,
        f"x = 1\n{ONE}{TWO}{DECORATED}{ASYNC}",
        f"{DECORATED}{DECORATED}{ONE}",
        f"@first\n{TWO}y = 2",
        f"{ASYNC}if x:\n    pass\n{ONE}else:\n    pass\n",  # no Python
        f"{ONE}x = '''\n{TWO}'''\n{ONE}",
        f"x = '''\n{ONE}'''; y = '''\n{TWO}'''\n",
        f"x = (\n{ONE})\n{TWO}",  # no Python
        f"x = 1\n\\\n{ONE}{TWO}",
        f"x = 1 \\\n{ONE}",
        f"{ONE}x = 1\n\\\n",
        f"{ONE}\r{TWO}",
        f"{ONE}\f\n{TWO}\fx = 3\n",
        f"from __future__ import barry_as_FLUFL\n{ONE}x = 1 <> 2\n{TWO}",
        f"{TWO}if x:\n",
        f"{ONE}@first\n",
        f"@first\n# def\n{ONE}@second\n\n{TWO}",
        f"{ONE}x\0\n{TWO}",
        f"\ufeff{ONE}",
        f"{ONE}    y = 2\n",
        f"x = 1;\n{ONE}; y = 2\n",
    ],
)
def test_what_cannot_be_cut_is_parsed_whole(text: str) -> None:
    known = Lease()
    for piece in (ONE, TWO, DECORATED, ASYNC, f"x = 1\n{ONE}", f"y = 1\n\n{TWO}z = 2\n{DECORATED}"):
        parse(piece, known)
    del known
    for before in ("", "y = 1\n\n", "", ONE):
        lease = Lease()
        assert _dump(parse(before + text, lease)) == _alone(before + text)
    for piece in trees._cut(text):  # none is taken for more than it is by itself
        assert _dump(parse(piece, Lease())) == _alone(piece)


def _functions(tree: ast.Module | None) -> list[ast.stmt]:
    assert tree is not None
    return [each for each in tree.body if isinstance(each, ast.FunctionDef | ast.ClassDef)]


def test_a_piece_belongs_to_one_program_at_a_time() -> None:
    first, second = Lease(), Lease()
    (one, same) = _functions(parse(ONE + ONE, first))
    assert one is not same  # two of one program, at two places
    (other,) = _functions(parse(f"x = 1\n{ONE}", second))
    assert other is not one
    assert (one.lineno, same.lineno, other.lineno) == (1, 5, 2)
    (again,) = _functions(parse(f"y = 1\n{ONE}", first))
    assert again is not one  # another script of the program
    assert one.lineno == 1
    assert parse(ONE + ONE, first) is parse(ONE + ONE, first)
    del first
    third = Lease()
    moved, _ = _functions(parse(f"\n{ONE}{TWO}", third))
    assert moved is one  # the first program is done with it
    assert (moved.lineno, moved.end_lineno) == (2, 3)


def test_nothing_is_shared_without_a_lease_or_outside_of_a_batch_or_with_another_thread() -> None:
    lease = Lease()
    (one,) = _functions(parse(ONE, lease))
    del lease
    assert _functions(parse(f"{ONE}\n"))[0] is not one
    found: list[ast.stmt] = []
    other = threading.Thread(target=lambda: found.extend(_functions(parse(ONE + TWO, Lease()))))
    other.start()
    other.join()
    assert found[0] is not one
    with SharedTrees().used():
        assert _functions(parse(ONE + TWO, Lease()))[0] is not one
    assert _functions(parse(ONE + TWO, Lease()))[0] is one


def test_the_pieces_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "_MOST_SHARED", len(ONE) + len(TWO))
    one, two = _functions(parse(ONE + TWO, Lease()))
    assert _functions(parse(ONE, Lease()))[0] is one  # asked for later than the other
    parse("x = 1\n", Lease())
    assert _functions(parse(ONE, Lease()))[0] is one
    assert _functions(parse(TWO, Lease()))[0] is not two
