"""What may be opened: regular files, reached without a link; every refusal names the path and what it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpb_harness.claim.untrusted_file import kind_in_folder, open_regular, require_regular, resolved
from bpb_harness.errors import ClaimError

HINT = "name a folder, a JSON file, a log or a script"
NO_FILE = "no file that can be read: got {kind}, expected a regular file; " + HINT


def _num_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def things(tmp_path: Path) -> Path:
    """A file, a folder, a pipe, a link to each of the first two, one that leads nowhere, one to itself."""
    (tmp_path / "file").write_bytes(b"here")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").write_bytes(b"inner")
    os.mkfifo(tmp_path / "pipe")
    for name, target in {"to_file": "file", "to_folder": "folder", "nowhere": "nonsuch", "circle": "circle"}.items():
        (tmp_path / name).symlink_to(target)
    return tmp_path


@pytest.mark.parametrize("name", ["file", "folder/inner"])
def test_a_regular_file_is_opened(things: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _num_open()
    with open_regular(things / name) as stream:
        assert stream.read() == (things / name).read_bytes()
    monkeypatch.chdir(things)
    with open_regular(Path(name)) as stream:
        assert stream.read() == Path(name).read_bytes()
    assert _num_open() == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", "is " + NO_FILE.format(kind="a folder")),
        ("pipe", "is " + NO_FILE.format(kind="a named pipe")),
        ("to_file", "is " + NO_FILE.format(kind="a link")),
        ("to_folder/inner", "cannot be read: got Not a directory"),
        ("file/inner", "cannot be read: got Not a directory"),
        ("nonsuch", "cannot be read: got No such file or directory"),
        ("nul\0", "cannot be read: got ValueError"),
    ],
)
def test_anything_else_is_refused_and_nothing_stays_open(things: Path, name: str, said: str) -> None:
    before = _num_open()
    with pytest.raises(ClaimError) as caught:
        open_regular(things / name)
    assert str(caught.value) == f"{things / name} {said}"
    with pytest.raises(ClaimError) as caught:
        open_regular(things / name, "shown")
    assert str(caught.value) == f"shown {said}"
    assert _num_open() == before


def test_the_root_is_no_file() -> None:
    with pytest.raises(ClaimError, match="a folder"):
        open_regular(Path("/"))


def test_names_are_shown_shortened(things: Path) -> None:
    for refuse in (open_regular, require_regular):
        with pytest.raises(ClaimError) as caught:
            refuse(things / "nonsuch", "n" * 500)
        assert str(caught.value) == "n" * 200 + " cannot be read: got No such file or directory"


@pytest.mark.parametrize(("name", "kind"), [("folder", "a folder"), ("pipe", "a named pipe"), ("to_file", "a link")])
def test_what_is_no_regular_file_is_known_before_it_is_opened(things: Path, name: str, kind: str) -> None:
    require_regular(things / "file", "shown")
    with pytest.raises(ClaimError) as caught:
        require_regular(things / name, "shown")
    assert str(caught.value) == "shown is " + NO_FILE.format(kind=kind)
    assert kind_in_folder((things / name).lstat().st_mode) == kind
    assert kind_in_folder((things / "file").lstat().st_mode) is None


def test_links_above_a_path_are_followed_and_one_that_stays_in_its_folder(things: Path) -> None:
    real = things.resolve()
    assert resolved(things / "file") == real / "file"
    assert resolved(things / "to_file") == real / "file"
    assert resolved(things / "to_folder") == real / "folder"
    assert resolved(things / "to_folder" / "inner") == real / "folder" / "inner"
    assert resolved(things / "nonsuch") == real / "nonsuch"


def test_a_link_out_of_its_folder_is_refused(things: Path) -> None:
    link = things / "folder" / "away"
    link.symlink_to("../file")
    with pytest.raises(ClaimError) as caught:
        resolved(link)
    assert str(caught.value) == (
        f"{link} is a link out of its folder: got a link to {things.resolve() / 'file'}, "
        "expected a file or folder, or a link to one beside it; name what it leads to, if that is to be read"
    )


@pytest.mark.parametrize(("name", "seen"), [("nowhere", "No such file or directory"), ("nul\0", "ValueError")])
def test_a_link_that_leads_nowhere_is_refused(things: Path, name: str, seen: str) -> None:
    with pytest.raises(ClaimError) as caught:
        resolved(things / name)
    assert str(caught.value) == f"{things / name} cannot be read: got {seen}"


def test_a_link_to_itself_is_refused(things: Path) -> None:
    with pytest.raises(ClaimError, match="circle cannot be read: got "):
        resolved(things / "circle")
