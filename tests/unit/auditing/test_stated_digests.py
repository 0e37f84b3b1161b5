"""BPB514: digests that a README gives of the files beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from bpb_harness.findings import Finding

LOG = "step:9 train_loss:2.9\nfinal_exact val_loss:2.03186 val_bpb:1.20340000\n"
OWN = hashlib.sha256(LOG.encode()).hexdigest()
OTHER = hashlib.sha256(b"another").hexdigest()


def _found(folder: Path, readme: str) -> list[Finding]:
    (folder / "train.log").write_text(LOG)
    (folder / "copy.log").write_text(LOG)
    (folder / "README.md").write_text(f"# A run\n\n{readme}\n")
    (folder / "submission.json").write_text(json.dumps({"val_bpb": 1.2034}))
    return audit(folder).with_code("BPB514")


def test_a_digest_that_is_not_the_files(tmp_path: Path) -> None:
    (found,) = _found(tmp_path, f"- `train.log`: the run; sha256 `{OTHER}`")
    assert found.severity == "info"
    assert found.message == (
        f"the README gives another SHA-256 than the file's of train.log (README.md:3: {OTHER[:12]}..., the file's: "
        f"{OWN[:12]}...)"
    )


@pytest.mark.parametrize(
    "readme",
    [
        f"`train.log`: {OWN}",
        f"`train.log`: {OWN.upper()}",
        f"`train.log`: {hashlib.sha256(LOG.replace(chr(10), chr(13) + chr(10)).encode()).hexdigest()}",  # as by git
        f"`absent.log`: {OTHER}",
        f"`train.log` and `copy.log`: {OTHER}",
        f"`train.log`, {OTHER}, {OWN}",
        f"`train.log`, unpacked: {OTHER}",
        f"`train.log`: {OTHER}f",
    ],
)
def test_what_is_the_files_or_of_something_else(tmp_path: Path, readme: str) -> None:
    assert _found(tmp_path, readme) == []
