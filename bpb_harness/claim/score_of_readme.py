"""The score that a README claims where nothing else of a record does: in its title, its prose, its tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bpb_harness.claim.plain_claims import plain_claims
from bpb_harness.claim.printed import Printed
from bpb_harness.claim.readme_reader import headline, headlines, stated_scores
from bpb_harness.claim.record import Claim, Note, NoteKind, Readme
from bpb_harness.findings import first_of

Chosen = tuple[Printed, Printed | None, bool, str]
"""A score, its loss, whether both are of one estimator, and where it is claimed."""

_MAX_VALUES_SHOWN, _MAX_KEYS_SHOWN = 5, 3
_TELLING = 4  # decimals of a number that is known again


def score_of_readme(claim: Claim, notes: list[Note]) -> Chosen | None:
    """The score that a README claims; None where it claims none, or several: then a note says so.

    Args:
        claim: what the other files of the record say.
        notes: remarks, which grow.
    """
    readme = claim.readme
    if readme is None:
        return None
    score, why_not = _chosen(claim, readme)
    if why_not is not None:
        notes.append(why_not)
    if score is None:
        return None
    chosen = f"the score audited is {score}, of {score.source}: {_why(claim, score)}"
    notes.append(Note(NoteKind.CHOICE, chosen, score.source))
    return score, None, False, "readme"


def _chosen(claim: Claim, readme: Readme) -> tuple[Printed | None, Note | None]:
    """The score of a README, or why none of several is taken; neither where it gives none."""
    stated = stated_scores(readme)
    if _differ(stated):
        return None, _unchosen(f"{readme.file} states several scores", stated)
    score = _finest(stated) or _called_a_loss_too(claim) or _final_instead(claim, readme, headline(readme))
    is_aside = score is None or any(score == row.score for row in readme.rows)
    if score is None:
        said = plain_claims(readme)
        if _differ(said) and not any(log.lines for log in claim.logs):
            return None, _unchosen(f"{readme.file} gives several scores in its sentences", said)
        score = None if _differ(said) else _finest(said)
    if score is None and readme.rows:
        message = f"{readme.file} gives several scores in tables, {_NOT_SAID}"
        return None, Note(NoteKind.AMBIGUOUS, message, readme.rows[0].score.source)
    others = claim.other_scores if is_aside else ()
    if score is not None and others and not any(score.agrees_with(each.value) for each in others):
        message = f"{readme.file} and {others[0].source.file} give scores, and no one that both give"
        return None, Note(NoteKind.AMBIGUOUS, message, score.source)
    return score, None


_NOT_SAID = "and does not say which is claimed"


def _finest(given: Sequence[Printed]) -> Printed | None:
    return max(given, key=lambda each: each.decimals or 0, default=None)


def _differ(given: Sequence[Printed]) -> bool:
    """Whether places give several scores, and not one that is rounded here and there."""
    finest = _finest(given)
    return finest is not None and any(not finest.agrees_with(other.value, other.half_unit) for other in given)


def _unchosen(what: str, given: Sequence[Printed]) -> Note:
    which = ", ".join(f"{score} ({score.source})" for score in given[:_MAX_VALUES_SHOWN])
    return Note(NoteKind.AMBIGUOUS, f"{what}, {_NOT_SAID}: {which}", given[0].source)


def _called_a_loss_too(claim: Claim) -> Printed | None:
    """Of the scores in a README's prose the one that the record gives, to enough digits, and calls a loss."""
    loss = claim.called_a_loss
    if loss is None or claim.readme is None or (loss.decimals or 0) < _TELLING:
        return None
    alike = (each for each in headlines(claim.readme) if each.agrees_with(loss.value, loss.half_unit))
    return min(alike, key=lambda each: abs(each.value - loss.value), default=None)


def _final_instead(claim: Claim, readme: Readme, score: Printed | None) -> Printed | None:
    """A score of a README, or the one that JSON calls final beside it, where the README gives that too.

    Beside it: in the same object of a run, under another name (``quant_bpb``). Of several finals none is meant.
    """
    named = (
        None if score is None else next((each for each in claim.other_scores if score.agrees_with(each.value)), None)
    )
    if score is None or named is None or _FINAL.search(named.source.key or ""):
        return score
    run = (named.source.key or "").rpartition(".")[0]
    finals = [each for each in claim.other_scores if _FINAL.search(each.source.key or "")]
    own = [each for each in finals if (each.source.key or "").rpartition(".")[0] == run]
    others = [each for each in finals if each not in own and not _OF_ANOTHER.search(each.source.key or "")]
    given = [*readme.scores, *(row.score for row in readme.rows)]
    alike = [
        each for final in own for each in given if (each.decimals or 0) >= _TELLING and each.agrees_with(final.value)
    ]
    return alike[0] if len(own) == 1 and not others and alike else score


_FINAL = re.compile(r"(?:^|[._])final_(?:val_)?bpb$")
_OF_ANOTHER = re.compile(r"reference|baseline|parent|previous|base(?![a-z])|other", re.IGNORECASE)


def _why(claim: Claim, score: Printed) -> str:
    """Why the README's score is the one that is audited."""
    loss = claim.called_a_loss
    if loss is not None and score.agrees_with(loss.value, loss.half_unit):
        return f"{loss.source} gives {loss}, and calls it a loss"
    if not claim.other_scores:
        return "no submission.json, claim file or result claims one"
    keys = first_of([f"{each.source.key or each}" for each in claim.other_scores], _MAX_KEYS_SHOWN)
    return f"{claim.other_scores[0].source.file} gives {keys}, and does not say which of its scores is claimed"
