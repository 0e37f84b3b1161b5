"""Claim files of different claims: which these are, and where a folder holds several.

What one claim file knows is a fact of its own claim alone. Merged with another's score, it would refute that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from bpb_harness.claim.claim_file import is_claim_file, read_claim_file
from bpb_harness.claim.listing import LARGEST_JSON, is_claim_name, kind_by_name, list_files
from bpb_harness.claim.record import Claim
from bpb_harness.claim.text_file import read_text
from bpb_harness.claim.tolerant_json import parse_json
from bpb_harness.errors import ClaimError


def two_claims(claims: Sequence[Claim]) -> tuple[str, str] | None:
    """The names of the first two claim files that are of different claims; None where all may be of one.

    Args:
        claims: one claim a file, as `read_claim_file` reads it.
    """
    for first, second in combinations(claims, 2):
        if _differ(first, second):
            if first.title and second.title and first.title != second.title:
                return first.title, second.title
            return first.name, second.name
    return None


def _differ(first: Claim, second: Claim) -> bool:
    """Whether they have different names, or claim different things: a file that claims nothing adds to any."""
    if first.title and second.title and first.title != second.title:
        return True
    scores = [(first.score, second.score), (first.perplexity, second.perplexity)]
    of_both = [(one, other) for one, other in scores if one is not None and other is not None]
    if not of_both:  # one in bits per byte, the other a perplexity: nothing says that they are of one network
        return _claims_something(first) and _claims_something(second)
    return not all(one.agrees_with(other.value, other.half_unit) for one, other in of_both)


def _claims_something(claim: Claim) -> bool:
    return claim.score is not None or claim.perplexity is not None


def separate_claims(folder: Path) -> list[Path]:
    """The paths to audit one by one in a submission's folder: itself, or its claim files if they are of several claims.

    Beside claim files of several claims, a record (submission.json, logs) could be any one's or none's: then the folder
    is among the paths too, and `read_claim` refuses it.

    Raises:
        ClaimError: if there is no such folder.
    """
    claims: list[Claim] = []
    of_claims: list[Path] = []
    holds_a_record = False
    seen: set[Path] = set()
    for file, shown in list_files(folder).files:
        if file in seen:
            continue  # through a link
        seen.add(file)
        kind = kind_by_name(shown)
        holds_a_record |= kind == "log" or shown.name.lower() == "submission.json"
        if kind != "json":
            continue
        try:
            value = parse_json(read_text(file, str(shown), LARGEST_JSON).text, str(shown)).value
            if not is_claim_file(value):
                continue
            claims.append(read_claim_file(value, str(shown)))
        except ClaimError:
            if not is_claim_name(shown):
                continue
        of_claims.append(file if (folder / shown).is_symlink() else folder / shown)
    if two_claims(claims) is None:
        return [folder]
    return [*of_claims, folder] if holds_a_record else of_claims
