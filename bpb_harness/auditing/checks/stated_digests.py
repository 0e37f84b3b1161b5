"""BPB514: a README gives a file of its folder a SHA-256 that is not the file's."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim.listing import list_files
from bpb_harness.claim.untrusted_file import open_regular
from bpb_harness.errors import HarnessError
from bpb_harness.findings import Finding, first_of

_DIGEST = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{64}(?![0-9A-Za-z])")
_NAME = re.compile(r"`(?P<name>[\w./-]{1,100}\.[A-Za-z0-9]{1,8})`")
# Of what a file is made of or was, and of somebody else's.
_OF_ANOTHER = re.compile(
    r"pack|compress|source|raw|original|upstream|before|after|without|previous|earlier|strip|normali[sz]|canonical",
    re.IGNORECASE,
)
_LONGEST, _LARGEST, _MAX_SHOWN = 1_000, 64 << 20, 3


def check_stated_digests(evidence: Evidence, folders: Sequence[Path]) -> Iterator[Finding]:
    """Name the files of a folder whose digest is another than the README's, on a line that names one file alone."""
    readme = evidence.claim.readme
    if readme is None or len(folders) != 1 or _DIGEST.search(readme.text) is None:
        return
    files = {str(shown): path for path, shown in list_files(folders[0]).files}
    wrong = []
    for number, line in enumerate(readme.text.split("\n"), 1):
        stated = _stated(line[:_LONGEST])
        path = files.get(stated[0]) if stated is not None else None
        if stated is not None and path is not None and (own := _digests(path)) and stated[1].lower() not in own:
            wrong.append(f"{stated[0]} ({readme.file}:{number}: {stated[1][:12]}..., the file's: {own[0][:12]}...)")
    if wrong:
        message = f"the README gives another SHA-256 than the file's of {first_of(wrong, _MAX_SHOWN)}"
        yield codes.OTHER_DIGEST.finding(message, num_files=len(wrong))


def _stated(line: str) -> tuple[str, str] | None:
    """The one file that a line names, and the one digest; None where it has more, or speaks of what the file was."""
    digests, names = _DIGEST.findall(line), {found["name"] for found in _NAME.finditer(line)}
    if len(digests) != 1 or len(names) != 1 or _OF_ANOTHER.search(line):
        return None
    return names.pop(), digests[0]


def _digests(path: Path) -> list[str]:
    """Of a file as it lies there, and with other ends of its lines; none where it is not read."""
    try:
        with open_regular(path, str(path)) as file:
            data = file.read(_LARGEST + 1)
    except (HarnessError, OSError):
        return []
    if len(data) > _LARGEST:
        return []
    plain = data.replace(b"\r\n", b"\n")
    kinds = (data, plain, plain.replace(b"\n", b"\r\n"), plain.rstrip(b"\n"), plain.rstrip(b"\n") + b"\n")
    return [hashlib.sha256(each).hexdigest() for each in kinds]
