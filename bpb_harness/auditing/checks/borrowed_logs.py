"""BPB454 and BPB455: the score stands in logs that are, byte for byte, those of another author's submission."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.programs import Programs
from bpb_harness.auditing.twin_logs import Twin
from bpb_harness.claim import LogRecord
from bpb_harness.claim.listing import kind_by_name, list_files
from bpb_harness.claim.text_file import read_text
from bpb_harness.claim.tolerant_json import parse_json
from bpb_harness.errors import HarnessError
from bpb_harness.findings import Finding, Json, Severity, first_of

_MAX_NAMES = 3
_MAX_PEOPLE = 50  # that one value names
_NAMES = ("author", "authors", "author_name")
_ACCOUNTS = ("github_id", "github", "github_username", "github_user", "github_handle", "github_url")
_LETTERS = re.compile(r"[^\W_]+")
_BETWEEN = re.compile(r"[,;&+/()<>\[\]|]|\s(?:and|with|und|et|y)\s", re.IGNORECASE)
# A mail's address, and what stands before the account in a page's.
_ADDRESS = re.compile(r"[\w.+-]{1,100}@[\w-]{1,100}\.[\w.-]+|(?:https?://)?(?:www\.)?github\.com/", re.IGNORECASE)


# A class of a network, by its base, and what a README shows as code.
_NETWORK = re.compile(r"^[ \t]*class[ \t]+(\w+)[ \t]*\([^()\n]*\bModule\b[^()\n]*\)", re.MULTILINE)
_FENCED = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*\n(.*?)^[ \t]*(?:```|~~~)", re.MULTILINE | re.DOTALL)


def check_borrowed_logs(evidence: Evidence, twins: Sequence[Twin], folders: Sequence[Path]) -> Iterator[Finding]:
    """All logs that the score stands in are another's too: whose script ran, the size of its code may tell.

    Versions of one submission share their logs, so nothing is said where another of the same author holds them too, or
    of one that names nobody; nor of logs that somebody shows beside a script of his own. Whose run it was changes no
    number, unless the README shows a network of its own that no program has: that one was never run, for all we know.

    Args:
        evidence: the claim and its record.
        twins: logs of the record that other submissions of the batch hold too.
        folders: of the record.
    """
    logs = [log for log in evidence.claim_logs if log.path is not None]
    if len(folders) != 1 or not logs:
        return
    holding = [
        found for other in dict.fromkeys(twin.folder for twin in twins) if (found := _all_of(logs, twins, other))
    ]
    own = _author(folders[0])
    if all(own.is_other_than(_author(found[0].folder)) for found in holding):
        programs = Programs(evidence.claim, folders)
        told = (_finding(evidence, logs, found, programs) for found in holding)
        yield from islice((each for each in told if each is not None), 1)


def _all_of(logs: Sequence[LogRecord], twins: Sequence[Twin], other: Path) -> list[Twin]:
    """The logs as another submission holds them; none where it does not hold all."""
    of_other = {twin.path: twin for twin in twins if twin.folder == other}
    found = [of_other[log.path] for log in logs if log.path in of_other]
    return found if len(found) == len(logs) else []


def _finding(
    evidence: Evidence, logs: Sequence[LogRecord], twins: Sequence[Twin], programs: Programs
) -> Finding | None:
    names = first_of([log.file for log in logs], _MAX_NAMES)
    how = "byte for byte" if all(twin.is_exact for twin in twins) else "but for blanks and ends of lines"
    are = f"{'are' if len(logs) > 1 else 'is'} {how} {_shown(logs, twins)}of {twins[0].name}"
    are = f"{names}, which the score stands in, {are}, which names another author"
    facts: Mapping[str, Json] = {"logs": [log.file for log in logs], "other": twins[0].name}
    size = _code_of_other(evidence, logs[0], twins[0])
    if size is not None:
        message = (
            f"{are}, and {'state' if len(logs) > 1 else 'states'} a code size of {size:,} bytes, which a script there "
            "has and none here has: the score is that of a run of another script than is submitted here"
        )
        missing = "a log that the script beside it wrote"
        return codes.LOG_OF_ANOTHER_SUBMISSION.finding(message, code_size=size, missing=missing, facts=facts)
    if not _has_scripts_of(evidence, twins[0]):
        return None
    message = f"{are}, and so is every script here: both show one run of one script"
    readme, shown = evidence.claim.readme, _networks_nowhere(evidence, twins[0], programs)
    if readme is None or not shown:
        return codes.LOG_SHARED.finding(message, facts=facts)
    message += (
        f"; {readme.file} shows {'a class' if len(shown) == 1 else 'classes'} of a network "
        f"({first_of(shown, _MAX_NAMES)}) that {'stands' if len(shown) == 1 else 'stand'} in no program of the record: "
        "nothing shows that it was ever run"
    )
    missing = f"a log and a script of the network that {readme.file} shows"
    return codes.LOG_SHARED.finding(message, severity=Severity.WARNS, missing=missing, classes=[*shown], facts=facts)


def _networks_nowhere(evidence: Evidence, twin: Twin, programs: Programs) -> list[str]:
    """Classes of networks that the README shows in code, if none of them is named in a program, or by the other's."""
    readme = evidence.claim.readme
    code = "\n".join(_FENCED.findall(readme.text)) if readme is not None else ""
    shown = [*dict.fromkeys(_NETWORK.findall(code))]
    if not shown or not programs.texts:
        return []
    try:
        theirs = [read_text(path, path.name).text for path, _ in list_files(twin.folder).files if _is_prose(path)]
    except HarnessError:
        return []
    named = re.compile(rf"\b(?:{'|'.join(map(re.escape, shown))})\b")
    return [] if any(named.search(text) for text in (*programs.texts, *theirs)) else shown


def _is_prose(path: Path) -> bool:
    return path.suffix.lower() in (".md", ".rst", ".txt") and kind_by_name(path) != "log"


def _shown(logs: Sequence[LogRecord], twins: Sequence[Twin]) -> str:
    """What the logs are called there, where that is not the same."""
    names = [twin.shown for twin in twins]
    if names == [log.file for log in logs]:
        return f"{'those' if len(logs) > 1 else 'that'} "
    return f"{first_of(names, _MAX_NAMES)} "


def _code_of_other(evidence: Evidence, log: LogRecord, twin: Twin) -> int | None:
    """The code size that a log states, where a script of the other submission has it and none here."""
    from bpb_harness.auditing.script import foreign_code_size  # deferred: most records share no log

    if log.path is None or not evidence.claim.scripts:
        return None
    try:
        text = read_text(log.path, log.file).text
        scripts = [path for path, _ in list_files(twin.folder).files if kind_by_name(path) == "script"]
        size = foreign_code_size(text, evidence.claim.scripts)
        return size if scripts and foreign_code_size(text, scripts, exactly=True) is None else None
    except HarnessError:
        return None


def _has_scripts_of(evidence: Evidence, twin: Twin) -> bool:
    """Whether each script of the record, one at the least, is byte for byte one of the other submission."""
    try:
        theirs = {path.read_bytes() for path, _ in list_files(twin.folder).files if kind_by_name(path) == "script"}
        return bool(evidence.claim.scripts) and all(path.read_bytes() in theirs for path in evidence.claim.scripts)
    except (HarnessError, OSError):
        return False


@dataclass(frozen=True)
class _Author:
    """Whom `submission.json` names: letters and digits alone, in lower case; nobody where both are empty."""

    names: frozenset[str]
    accounts: frozenset[str]

    def is_other_than(self, other: _Author) -> bool:
        """Whether two are named and none is of both: by accounts of one kind, or by names where neither has accounts.

        A number says nothing of a word, nor a name of an account; one name may be the beginning of another.
        """
        if self.all & other.all or any(one in two or two in one for one in self.names for two in other.names):
            return False
        if self.accounts and other.accounts:
            return len({each.isdecimal() for each in self.accounts | other.accounts}) == 1
        return not self.accounts and not other.accounts and bool(self.names and other.names)

    @property
    def all(self) -> frozenset[str]:
        """Names and accounts: many give one in place of the other."""
        return self.names | self.accounts


def _author(folder: Path) -> _Author:
    try:
        value = parse_json(read_text(folder / "submission.json", "submission.json").text, "submission.json").value
    except HarnessError:
        value = None
    named = value if isinstance(value, dict) else {}
    names, accounts = (
        frozenset(chain.from_iterable(_people(named.get(key)) for key in keys)) for keys in (_NAMES, _ACCOUNTS)
    )
    return _Author(names, accounts)


def _people(value: Json) -> Iterator[str]:
    """The people that a value names: a text of several, a number, a list, or the values of an object."""
    if isinstance(value, dict):
        value = [each for each in value.values() if isinstance(each, str)]
    if isinstance(value, list):
        yield from chain.from_iterable(_people(each) for each in value[:_MAX_PEOPLE])
    elif isinstance(value, str | int) and not isinstance(value, bool):
        for part in _BETWEEN.split(_ADDRESS.sub("", str(value)))[:_MAX_PEOPLE]:
            if name := "".join(_LETTERS.findall(part.lower())):
                yield name
