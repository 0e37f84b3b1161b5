"""What speaks of scores below a folder and is of none of its submissions: nobody audits it, so it is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bpb_harness.claim.claim_file import is_claim_file
from bpb_harness.claim.found_files import read_json_claim
from bpb_harness.claim.listing import (
    LARGEST_JSON,
    Entry,
    folders_below,
    has_script,
    kind_by_name,
    readme_of,
    speaks_of_scores,
)
from bpb_harness.claim.own_result import is_own_file, is_result
from bpb_harness.claim.packed_file import without_packing
from bpb_harness.claim.plain_claims import plain_claims
from bpb_harness.claim.reading import PLAIN
from bpb_harness.claim.readme_reader import headline, stated_scores
from bpb_harness.claim.record import Readme
from bpb_harness.claim.text_file import read_text
from bpb_harness.claim.tolerant_json import parse_json
from bpb_harness.claim.wandb_summary import is_wandb_summary, read_wandb_summary
from bpb_harness.errors import HarnessError


def find_unread(root: Path) -> list[Path]:
    """Folders at or below ``root`` that are no submissions and speak of bits per byte, and files above submissions.

    Such a folder has a table, a script or a README that speaks of them, or JSON that gives a score. Which of a table's
    rows is the claim, nothing says; what scripts compute, or a README tells, need be nobody's score. Those below one
    that is among them do not count, nor those right below a submission, which are read with it. Of a folder with a
    submission below it, where a table or a README is a list of others' scores, it is files: its logs and its JSON with
    scores, and a README that gives one as its own beside a script.

    Raises:
        ClaimError: if ``root`` is no folder.
    """
    speaking: list[Path] = []
    loose: dict[Path, list[Path]] = {}
    submissions: set[Path] = set()
    for folder, entries, is_submission in folders_below(root):
        if is_submission:
            submissions.add(folder)
            continue
        files = [folder / entry.shown.name for entry in _loose(entries)]
        if files or any(speaks_of_scores(entry) for entry in entries):
            speaking.append(folder)
            loose[folder] = files
    above = {parent for found in submissions for parent in found.parents}
    bare = {folder for folder in speaking if folder not in above and folder.parent not in submissions}
    files = [file for folder in speaking if folder in above for file in loose[folder]]
    return sorted([*(folder for folder in bare if bare.isdisjoint(folder.parents)), *files])


def _loose(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Files that would be a submission, or a claim, by themselves."""
    readme = readme_of(entries) if has_script(entries) else None
    for entry in entries:
        kind = None if entry.is_folder or entry.wrong is not None else kind_by_name(entry.shown)
        if kind == "readme":
            is_loose = readme is not None and _claims_score(readme)
        elif kind == "log":
            is_packed = without_packing(entry.shown.name) != entry.shown.name
            is_loose = is_packed or speaks_of_scores(entry, ("log",))
        else:
            is_loose = kind in ("json", "summary") and _gives_score(entry)
        if is_loose:
            yield entry


def _claims_score(readme: Readme) -> bool:
    """Whether a README gives a score as its own, in any of the ways in which an audit of it would take one."""
    return headline(readme) is not None or bool(stated_scores(readme) or plain_claims(readme))


def _gives_score(entry: Entry) -> bool:
    """Whether a JSON file claims a score, or is a run's summary with one; what commands of ours write claims none."""
    if not speaks_of_scores(entry, ("json", "summary")):
        return False
    name = entry.shown.name
    try:
        value = parse_json(read_text(entry.path, name, LARGEST_JSON).text, name).value
        if kind_by_name(entry.shown) == "summary":
            return is_wandb_summary(value) and bool(read_wandb_summary(value, name).lines)
        if is_own_file(value) or is_claim_file(value):
            return is_result(value) or is_claim_file(value)
        return read_json_claim(value, name, PLAIN).score is not None
    except HarnessError:
        return False
