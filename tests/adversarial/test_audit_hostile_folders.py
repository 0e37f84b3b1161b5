"""Folders that lead an audit astray: pipes, devices, sockets, and links to what lies outside the folder."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from bpb_harness.auditing import audit, audit_folders, audit_one_of_many
from bpb_harness.claim import Claim, read_claim
from bpb_harness.claim.record import ScoreLine
from bpb_harness.claim.untrusted_file import open_regular
from bpb_harness.errors import ClaimError
from fixtures.claims.patterns import SP1024, log, submission

SECRET = "seed:7\nfinal_exact val_loss:2.00000000 val_bpb:1.18451380\n"
NAMES = ("submission.json", "train.log", "README.md", "train_gpt.py")


@pytest.fixture
def honest(tmp_path: Path) -> Path:
    """A record that is right, to put something strange beside."""
    folder = tmp_path / "honest"
    folder.mkdir()
    (folder / "submission.json").write_text(submission(val_loss=2.0312, val_bpb=1.202991))
    (folder / "train.log").write_text(log(2.0312, SP1024))
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What must never be read."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.log").write_text(SECRET)
    (folder / "submission.json").write_text(json.dumps({"val_bpb": 1.1}))
    return folder


def _everything_read(claim: Claim) -> str:
    return repr(claim)


def _make(kind: str, path: Path, outside: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket is short
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(here)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "broken":
        path.symlink_to(path.parent / "nowhere")
    elif kind == "circle":
        path.symlink_to(path.name)
    else:
        path.symlink_to(outside / "secret.log")


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link", "broken", "circle"])
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_one_thing_that_is_no_file_is_refused_by_name(
    tmp_path: Path, outside: Path, kind: str, name: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    _make(kind, folder / name, outside)
    with pytest.raises(ClaimError, match=f"nothing to audit.*{name} is ") as caught:
        read_claim(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link", "broken"])
def test_beside_a_record_it_is_passed_over_and_named(honest: Path, outside: Path, kind: str) -> None:
    (honest / "logs").mkdir()
    for name in ("second.log", "README.md", "helpers.py"):
        _make(kind, honest / "logs" / name, outside)
    report = audit(honest)
    assert report.verdict == "consistent"
    skipped = [finding.message for finding in report.with_code("BPB901")]
    assert [message.split(" ")[0] for message in skipped] == ["logs/README.md", "logs/helpers.py", "logs/second.log"]
    assert not {"second.log", "helpers.py"} & set(report.files)


def test_a_submission_that_is_a_link_out_of_its_folder_claims_nothing(honest: Path, outside: Path) -> None:
    (honest / "submission.json").unlink()
    (honest / "submission.json").symlink_to(outside / "submission.json")
    report = audit(honest)
    assert report.verdict == "unverifiable"
    assert report.claimed_bpb != 1.1
    assert report.with_code("BPB901")


def test_a_linked_folder_is_not_entered(honest: Path, outside: Path) -> None:
    (outside / "submission.json").unlink()
    (honest / "logs").symlink_to(outside, target_is_directory=True)
    claim = read_claim(honest)
    assert "1.18451380" not in _everything_read(claim)
    assert [note.message.split(" ")[0] for note in claim.notes] == ["logs"]


def test_links_that_stay_inside_are_read_once(honest: Path) -> None:
    (honest / "final.log").symlink_to("train.log")
    (honest / "latest").symlink_to(".", target_is_directory=True)
    report = audit(honest)
    assert report.verdict == "consistent"
    assert len([name for name in report.files if name.endswith(".log")]) == 1


@pytest.mark.parametrize("name", ["train.log", "submission.json", "train_gpt.py", "README.md"])
def test_a_link_that_is_named_itself_must_stay_in_its_folder(tmp_path: Path, outside: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).symlink_to(outside / "secret.log")
    with pytest.raises(ClaimError, match="is a link out of its folder"):
        audit(folder / name)
    (folder / "away").symlink_to(outside, target_is_directory=True)
    with pytest.raises(ClaimError, match="is a link out of its folder"):
        audit(folder / "away")


def test_a_link_beside_what_it_leads_to_may_be_named(honest: Path) -> None:
    (honest.parent / "latest").symlink_to(honest.name, target_is_directory=True)
    assert audit(honest.parent / "latest").verdict == "consistent"
    (honest / "last.log").symlink_to("train.log")
    assert audit(honest / "last.log").claimed_bpb == pytest.approx(1.202991, abs=1e-6)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_named_and_no_file_is_refused(tmp_path: Path, outside: Path, kind: str, name: str) -> None:
    _make(kind, tmp_path / name, outside)
    with pytest.raises(ClaimError, match="is no file that can be read"):
        audit(tmp_path / name)


def test_what_takes_a_files_place_is_not_opened(tmp_path: Path, outside: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "train.log"
    path.write_text("val_bpb:1.2\n")
    with open_regular(path) as stream:
        assert stream.read() == b"val_bpb:1.2\n"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ClaimError, match="a named pipe"):
        open_regular(path)
    path.unlink()
    path.symlink_to(outside / "secret.log")
    with pytest.raises(ClaimError):
        open_regular(path)
    path.unlink()
    folder.rmdir()
    folder.symlink_to(outside, target_is_directory=True)
    with pytest.raises(ClaimError):
        open_regular(folder / "secret.log")


def test_many_folders_get_their_reports_whatever_one_holds(
    honest: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = honest.parent
    for kind in ("pipe", "link"):
        (root / kind).mkdir()
        _make(kind, root / kind / "submission.json", outside)
    reports = {report.name: report for report in audit_folders(root)}
    assert reports["honest"].verdict == "consistent"
    assert reports["pipe"].verdict == reports["link"].verdict == "unverifiable"

    from bpb_harness.auditing import all_checks

    def trips(_: object) -> None:
        raise ValueError("not enough values to unpack")

    monkeypatch.setattr(all_checks, "check_bytes", trips)
    report = audit_one_of_many(honest, "honest")
    assert report.verdict == "unverifiable"
    assert "honest" in report.judgement.reason
    assert "ValueError" in report.judgement.reason


def test_a_folder_without_end_is_bounded(honest: Path) -> None:
    deep = honest
    for number in range(12):
        deep = deep / f"d{number}"
        deep.mkdir()
        (deep / "other.log").write_text("nothing\n")
    assert sum(name.endswith("other.log") for name in audit(honest).files) == 4


def test_a_log_of_many_equal_lines_is_no_square_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    is_equal = ScoreLine.__eq__

    def counted(one: ScoreLine, other: object) -> bool:
        nonlocal compared
        compared += 1
        return is_equal(one, other)

    lines = 500
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2244}')
    (tmp_path / "train.log").write_text(lines * "final val_loss:2.0727 val_bpb:1.2244\n")
    monkeypatch.setattr(ScoreLine, "__eq__", counted)
    audit(tmp_path)
    assert compared < 20 * lines
