"""Which files of a folder belong to a submission, and which folders are submissions. Links out of it are not followed.

Everything that goes through a folder goes through `_entries`: what is neither a folder nor a regular file is told
apart there, by its name alone, before anything opens it.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from bpb_harness.claim.claim_file import is_claim_file, lacks_format
from bpb_harness.claim.nanochat_report import is_nanochat_report
from bpb_harness.claim.own_result import is_result
from bpb_harness.claim.packed_file import without_packing
from bpb_harness.claim.readme_reader import headline, read_readme
from bpb_harness.claim.record import Readme
from bpb_harness.claim.score_table import SUFFIXES
from bpb_harness.claim.text_file import read_text
from bpb_harness.claim.tolerant_json import parse_json
from bpb_harness.claim.trainer_results import is_lightning_table
from bpb_harness.claim.untrusted_file import kind_in_folder, open_regular, require_regular, resolved
from bpb_harness.claim.wandb_summary import NAME as SUMMARY
from bpb_harness.errors import ClaimError

LARGEST_JSON = 4 << 20
DEEPEST_LOG = 4  # folders below the submission's own in which logs are looked for
_LARGEST_README = 1 << 20  # of one that is looked at for a score
_MAX_FILES = 300
_MAX_ENTRIES = 20_000  # of one folder
_MAX_FOLDERS = 2_000  # of one submission
_MAX_SKIPPED = 20
_NO_LOG = re.compile(r"requirements.*\.txt|licen[cs]e.*|.*vocab.*\.txt|cmakelists\.txt", re.IGNORECASE)
_LOG_SUFFIXES = (".log", ".txt", ".out")
_PROSE_SUFFIXES = (".md", ".markdown", ".rst", ".adoc")
_OF_TRAINERS = {"report.md": "report", "metrics.csv": "metrics"}  # nanochat's, Lightning's
_OF_A_RUN = {**_OF_TRAINERS, SUMMARY: "summary"}
NOTEBOOK = ".ipynb"
# Of programs in whatever language; one without a suffix may be one too.
_OF_PROGRAMS = frozenset([
    "", ".py", NOTEBOOK, ".sh", ".bash", ".zsh", ".pl", ".rb", ".lua", ".jl", ".js", ".ts", ".go", ".rs", ".java",
    ".swift", ".zig", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".m", ".mm", ".metal", ".bak", ".yaml", ".yml",
])  # fmt: skip
_STATE = "trainer_state.json"  # Hugging Face's Trainer's
_LOOKED_AT = 1 << 16  # bytes at either end of such a file


@dataclass(frozen=True)
class Listing:
    """The files of a submission.

    Attributes:
        files: real paths, no link in them, with the path that a report shows: below the submission's folder, or, of a
            file that somebody named, the path that was named.
        skipped: what looks like a file of the record but is none that may be read: its path below the folder and why.
    """

    files: Sequence[tuple[Path, Path]] = ()
    skipped: Sequence[tuple[Path, str]] = ()


@dataclass(frozen=True)
class Entry:
    """Something in a folder: a folder, a regular file (perhaps through a link inside ``root``), or neither."""

    path: Path  # real
    shown: Path
    is_folder: bool
    wrong: str | None  # why it may not be read


def kind_by_name(path: Path) -> str | None:
    """What a file is by its name: json, readme, script, log, report, metrics, summary, table; None for any other."""
    name = path.name.lower()
    if name in _OF_A_RUN:
        return _OF_A_RUN[name]
    if name.endswith(".json"):
        return "json"
    if name.startswith("readme"):
        return "readme"
    if name.endswith(".py"):
        return "script"
    if name.endswith(SUFFIXES):
        return "table"
    return "log" if _is_log_name(name) else None


def is_claim_name(path: Path) -> bool:
    """Whether a file's name says that it holds a claim: submission.json, claim.json, x.claim.json."""
    return path.name.lower() == "submission.json" or path.name.lower().endswith("claim.json")


def list_files(path: Path) -> Listing:
    """The files behind a path that somebody named: a folder's, or the file itself.

    Raises:
        ClaimError: if there is no such path, or it is a link to something outside the folder that holds the link.
    """
    try:
        exists = path.exists() or path.is_symlink()
    except (OSError, ValueError) as problem:
        raise ClaimError(f"{str(path)[:200]!r} cannot be read", seen=type(problem).__name__) from problem
    if not exists:
        raise ClaimError(f"{path} does not exist", hint="name a submission's folder, or its files")
    real = resolved(path)
    if real.is_dir():
        return _of_folder(real)
    require_regular(real, str(path))
    return Listing(((real, path),))


def holds_folders(path: Path) -> bool:
    """Whether a folder holds folders."""
    real = resolved(path)
    return real.is_dir() and any(entry.is_folder for entry in _entries(real, real))


def programs_below(folder: Path) -> list[Path]:
    """The programs of a submission, in whatever language and folder of it: more than those that are analysed."""
    root = resolved(folder)
    here = _entries(root, root)
    below = [entry for each in here if each.is_folder for _, entry in _branch(each.path, root)]
    files = [entry for entry in (*here, *below) if not entry.is_folder and entry.wrong is None]
    return [entry.path for entry in files if entry.path.suffix.lower() in _OF_PROGRAMS][:_MAX_FILES]


def prose_below(folder: Path) -> list[tuple[Path, Path]]:
    """The prose of a submission but for its READMEs, of its own folder and those right below it."""
    root = resolved(folder)
    here = _entries(root, root)
    below = [entry for each in here if each.is_folder for depth, entry in _branch(each.path, root) if depth == 1]
    files = [entry for entry in (*here, *below) if not entry.is_folder and entry.wrong is None]
    prose = (entry for entry in files if entry.shown.name.lower().endswith(_PROSE_SUFFIXES))
    kept = (entry for entry in prose if kind_by_name(entry.shown) in (None, "report") and not _is_of_a_trainer(entry))
    return [(entry.path, entry.shown) for entry in islice(kept, _MAX_FILES)]


def find_submissions(root: Path) -> list[Path]:
    """Every folder at or below ``root`` that looks like a submission: a submission.json or a claim file, or logs.

    So does one whose README speaks for the logs in its folders, where none of these speaks for itself. A folder with
    logs and with folders, and without such a README, is one where no record lies in these: pictures do, say.

    Folders inside a submission are part of it, but for one with a submission.json or a claim file of its own. Links are
    not followed.

    Raises:
        ClaimError: if ``root`` is no folder.
    """
    return sorted(folder for folder, _, is_submission in folders_below(root) if is_submission)


def submission_of(file: Path, root: Path) -> Path | None:
    """The folder among those of `find_submissions(root)` that holds ``file``, which need not be there any more.

    Args:
        file: a path below ``root``, spelled from there on as it lies there: without ``..``.
        root: a folder.
    """
    names = file.relative_to(root).parts[:-1]
    found: Path | None = None
    is_inside = False
    for depth in range(len(names) + 1):
        folder = root.joinpath(*names[:depth])
        if (depth and (folder.is_symlink() or folder.name.startswith("."))) or not folder.is_dir():
            break
        real = resolved(folder)
        is_submission, is_inside = _judged(_entries(real, real), is_inside)
        if is_submission:
            found = folder
    return found


def _entries(folder: Path, root: Path) -> list[Entry]:
    """What a folder holds, in order, hidden things left out; bounded, and nothing is opened."""
    try:
        with os.scandir(folder) as scan:
            found = sorted(islice(scan, _MAX_ENTRIES), key=lambda entry: entry.name)
    except OSError:
        return []
    return [_entry(Path(entry.path), root) for entry in found if not entry.name.startswith(".")]


def _entry(path: Path, root: Path) -> Entry:
    shown = path.relative_to(root)
    try:
        if not path.is_symlink():
            kind = kind_in_folder(path.lstat().st_mode)
            is_folder = kind == "a folder"
            return Entry(path, shown, is_folder, None if is_folder else kind)
        path.stat()  # the kernel gives up a long chain of links; resolving follows it, from each of its links
        target = path.resolve(strict=True)
        if not target.is_relative_to(root):
            return Entry(path, shown, False, "a link out of the folder")
        kind = kind_in_folder(target.lstat().st_mode)
        # A folder inside the submission is listed where it lies.
        return Entry(target, shown, False, f"a link to {kind}" if kind else None)
    except (OSError, RuntimeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else "a link that leads nowhere"
        return Entry(path, shown, False, reason)


@dataclass
class _Collected:
    files: list[tuple[Path, Path]] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    def take(self, entry: Entry, kinds: Sequence[str]) -> None:
        if entry.wrong is not None:
            leads_out = entry.wrong == "a link out of the folder"  # of a folder of logs, say
            if (leads_out or kind_by_name(entry.shown) in kinds) and len(self.skipped) < _MAX_SKIPPED:
                self.skipped.append((entry.shown, entry.wrong))
        elif kind_by_name(entry.shown) in kinds and len(self.files) < _MAX_FILES:
            self.files.append((entry.path, entry.shown))


_EVERY_KIND = ("json", "readme", "script", "log", "table", *_OF_A_RUN.values())


def _of_folder(root: Path) -> Listing:
    """Files of a submission: its own, those one folder down, and logs further down, but no other submission's."""
    found = _Collected()
    below: list[Path] = []
    for entry in _entries(root, root):
        if entry.is_folder:
            below.append(entry.path)
        else:
            found.take(entry, _EVERY_KIND)
    branches = [_branch(folder, root) for folder in below]
    holds_tables_alone = all(kind_by_name(shown) == "table" for _, shown in found.files)
    if holds_tables_alone and sum(any(_is_evidence(entry) for _, entry in branch) for branch in branches) > 1:
        return Listing((), tuple(found.skipped))  # a folder of submissions, not one
    for branch in branches:
        for depth, entry in branch:
            found.take(entry, _EVERY_KIND if depth == 1 else ("log", "table", "metrics", "summary"))
    return Listing(tuple(found.files), tuple(found.skipped))


def _branch(folder: Path, root: Path) -> list[tuple[int, Entry]]:
    """What lies in a folder of a submission and below it, with its depth; a submission of its own is left out."""
    taken: list[tuple[int, Entry]] = []
    waiting = deque([(1, folder)])
    for _ in range(_MAX_FOLDERS):
        if not waiting:
            break
        depth, here = waiting.popleft()
        entries = _entries(here, root)
        if _is_inner_submission(entries):
            continue
        taken += [(depth, entry) for entry in entries if not entry.is_folder]
        if depth < DEEPEST_LOG:
            waiting.extend((depth + 1, entry.path) for entry in entries if entry.is_folder)
    return taken


def folders_below(root: Path) -> Iterator[tuple[Path, list[Entry], bool]]:
    """Every folder with its entries and whether it is a submission; of what a submission holds, inner ones alone."""
    if not root.is_dir():
        raise ClaimError(f"{root} is no folder", hint="drop --recursive to audit a file")
    stack = [(root, resolved(root), False)]
    while stack:
        folder, real, is_inside = stack.pop()
        entries = _entries(real, real)
        is_submission, is_held = _judged(entries, is_inside)
        if is_submission or not is_inside:
            yield folder, entries, is_submission
        stack.extend((folder / entry.shown.name, entry.path, is_held) for entry in _folders_of(entries))


def _judged(entries: Sequence[Entry], is_inside: bool) -> tuple[bool, bool]:
    """Whether a folder with these entries is a submission, and whether what lies below it is inside one."""
    is_submission = _is_inner_submission(entries) if is_inside else _is_submission(entries)
    is_held = is_inside or any(is_claim_name(entry.shown) for entry in entries)
    is_held = is_held or (is_submission and any(_holds_evidence(entry.path) for entry in _folders_of(entries)))
    return is_submission, is_held


def _folders_of(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.is_folder]


def _is_submission(entries: Sequence[Entry]) -> bool:
    """Whether a folder with these entries is one: it holds a claim; or logs, or a script beside a README that states a
    score or beside a table of scores, and no folder with a record of its own; or a README that speaks for all the logs
    in its folders.
    """
    if any(is_claim_name(entry.shown) or _is_of_a_trainer(entry) for entry in entries):
        return True
    if any(_holds_evidence(entry.path) for entry in _folders_of(entries)):
        return _speaks_for_itself(entries) and _is_bare_below(entries)
    return any(_is_log_name(entry.shown.name.lower()) for entry in entries) or (
        has_script(entries) and (_states_score(entries) or any(_tabulates_scores(entry) for entry in entries))
    )


def _is_inner_submission(entries: Sequence[Entry]) -> bool:
    """Whether a folder of a submission is one of its own, for nothing of it is read as the other's."""
    return any(_holds_claim(entry) for entry in entries)


def _holds_claim(entry: Entry) -> bool:
    """Whether a file is a submission.json, whatever it holds, or a claim file: other programs have a claim.json too."""
    if entry.is_folder or not is_claim_name(entry.shown):
        return False
    if entry.shown.name.lower() == "submission.json" or entry.wrong is not None:
        return True
    try:
        name = str(entry.shown)
        value = parse_json(read_text(entry.path, name, LARGEST_JSON).text, name).value
    except ClaimError:
        return True  # the report on it says what is wrong
    return is_claim_file(value) or lacks_format(value) or is_result(value)


def _speaks_for_itself(entries: Sequence[Entry]) -> bool:
    """Whether a README is of what lies below it: it gives a score as its own, or lies beside the script that ran."""
    has_readme = any(kind_by_name(entry.shown) == "readme" for entry in entries)
    return has_readme and (has_script(entries) or _states_score(entries))


def _is_bare_below(entries: Sequence[Entry]) -> bool:
    """Whether no folder below holds a record of its own, and all logs lie where those of a submission are read."""
    waiting = deque((1, entry.path) for entry in _folders_of(entries))
    for _ in range(_MAX_FOLDERS):
        if not waiting:
            return True
        depth, folder = waiting.popleft()
        here = _entries(folder, folder)
        if any(is_claim_name(entry.shown) or _is_of_a_trainer(entry) for entry in here):
            return False
        if any(_is_evidence(entry) for entry in here) and depth > DEEPEST_LOG:
            return False
        if _speaks_for_itself(here) and _holds_evidence(folder):
            return False
        waiting.extend((depth + 1, entry.path) for entry in _folders_of(here))
    return False


def has_script(entries: Sequence[Entry]) -> bool:
    """Whether a folder with these entries holds a script."""
    files = (entry for entry in entries if not entry.is_folder and entry.wrong is None)
    return any(kind_by_name(entry.shown) == "script" for entry in files)


def _states_score(entries: Sequence[Entry]) -> bool:
    """Whether a README gives a score as its own."""
    readme = readme_of(entries)
    return readme is not None and headline(readme) is not None


def readme_of(entries: Sequence[Entry]) -> Readme | None:
    """The first README of a folder with these entries; None where it has none that can be read."""
    files = [entry for entry in entries if not entry.is_folder and entry.wrong is None]
    readme = next((entry for entry in files if kind_by_name(entry.shown) == "readme"), None)
    if readme is None:
        return None
    try:
        text = read_text(readme.path, readme.shown.name, _LARGEST_README).text
    except ClaimError:
        return None
    return read_readme(text, readme.shown.name)


def _holds_evidence(folder: Path, depth: int = 1) -> bool:
    """Whether a record lies in a folder of a folder, not too far down: pictures of a run do not make it two."""
    entries = _entries(folder, folder)
    if any(_is_evidence(entry) for entry in entries):
        return True
    return depth < DEEPEST_LOG and any(_holds_evidence(entry.path, depth + 1) for entry in _folders_of(entries))


def _is_log_name(name: str) -> bool:
    name = without_packing(name)
    return name.endswith(_LOG_SUFFIXES) and not _NO_LOG.fullmatch(name)


def _is_of_a_trainer(entry: Entry) -> bool:
    """Whether a file is what a trainer writes of a run: by its name, and by its beginning where others are named so."""
    name = entry.shown.name.lower()
    if entry.is_folder or entry.wrong is not None or name not in (*_OF_TRAINERS, _STATE):
        return False
    if name == _STATE:
        return True
    try:
        with open_regular(entry.path) as file:
            begins = file.read(_LOOKED_AT).decode("utf-8", "replace")
    except (OSError, ClaimError):
        return False
    return is_nanochat_report(begins) if name == "report.md" else is_lightning_table(begins)


def _is_evidence(entry: Entry) -> bool:
    if entry.is_folder or entry.wrong is not None:
        return False
    if _is_of_a_trainer(entry):
        return True
    return is_claim_name(entry.shown) or kind_by_name(entry.shown) == "log"


def _tabulates_scores(entry: Entry) -> bool:
    """Whether a file is a table by its name, and speaks of bits per byte."""
    return kind_by_name(entry.shown) == "table" and speaks_of_scores(entry)


def speaks_of_scores(entry: Entry, kinds: Sequence[str] = ("table", "script", "readme")) -> bool:
    """Whether a file of one of these kinds speaks of bits per byte, at its beginning or its end."""
    if entry.wrong or entry.is_folder or kind_by_name(entry.shown) not in kinds:
        return False
    try:
        with open_regular(entry.path) as file:
            words = file.read(_LOOKED_AT)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOOKED_AT))
            words += file.read(_LOOKED_AT)
    except (OSError, ClaimError):
        return False
    return re.search(rb"bpb|bits[ _]per[ _]byte", words, re.IGNORECASE) is not None
