"""Names that tell files apart."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from bpb_harness.distinct_names import distinct_names


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a/x.log", "b/y.log"], ["x.log", "y.log"]),
        (["a/x.log", "b/x.log", "b/y.log"], ["a/x.log", "b/x.log", "y.log"]),
        (["r/a/s/x", "r/b/s/x", "r/c/t/x"], ["a/s/x", "b/s/x", "t/x"]),
        (["x", "b/x"], ["x", "b/x"]),
        (["/x", "/b/x"], ["/x", "b/x"]),
        (["../x", "x"], ["../x", "x"]),
        (["a/x", "b/x", "a/x"], ["a/x", "b/x", "a/x"]),
        (["b/x", "c/x", "q/b/y", "r/b/y"], ["b/x", "c/x", "q/b/y", "r/b/y"]),
        ([], []),
    ],
)
def test_no_more_of_a_path_than_tells_it_apart(paths: list[str], expected: list[str]) -> None:
    assert distinct_names([PurePath(path) for path in paths]) == expected


def test_a_name_of_its_own_is_kept_until_another_has_it() -> None:
    paths = [PurePath(path) for path in ("a/m.pt", "b/m.score", "c/n.pt")]
    assert distinct_names(paths, ["m", "m", "n"]) == ["m.pt", "m.score", "n"]
    assert distinct_names(paths, ["m", "k", "n"]) == ["m", "k", "n"]


def test_names_are_never_the_same_for_two_paths_even_where_ends_meet_names() -> None:
    paths = [PurePath(path) for path in ("a/b/m", "c/b/m", "d/e")]
    assert distinct_names(paths, ["m", "m", "b/m"]) == ["a/b/m", "c/b/m", "d/e"]


def test_the_same_path_again_makes_no_name_longer() -> None:
    paths = [PurePath(path) for path in ("r/s/a/m", "r/s/b/m", "r/s/a/m")]
    assert distinct_names(paths) == ["a/m", "b/m", "a/m"]
    assert distinct_names([paths[0], paths[2]]) == ["m", "m"]
