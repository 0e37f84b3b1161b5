"""BPB215 and 216: what a log shows of a text that is learnt, or of targets that are looked at, before it is scored."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.learnt import FITTED
from bpb_harness.claim import LogRecord, ScoreLine
from bpb_harness.claim.readme_prose import word_hints
from bpb_harness.findings import Finding

_EARLY = re.compile(r"pre[-_ ]?quant|pre[-_ ]?ttt|diagnostic", re.IGNORECASE)
_OFF = r"(?:off|disabled|none|false|0(?![0-9.]))"
_WITHOUT = re.compile(
    r"(?<![a-z])(?:(?:no|non|not|pre|before|without|sans|wo|w/o)[-_ /]{0,2}(?:(?:causal|final|eval|sliding)[-_ ])?"
    rf"(?:slot|etlb|ttt)|(?:slot(?:[-_](?:eval|sliding))?|etlb)[-_ :=]{{1,3}}{_OFF}(?![a-z]))",
    re.IGNORECASE,
)
# Names of a score by which the whole text was scored once more, behind the training on it.
_SCORED_AGAIN = re.compile(
    r"(?<![a-z])(?:post|after)[-_ ]?ttt(?![a-z])[a-z0-9_ -]{0,24}(?<![a-z])re[-_ ]?(?:scor|eval)"
    r"|(?<![a-z])re[-_ ]?(?:scor|eval)[a-z]{0,8}[-_ ](?:after|post)[-_ ]?ttt(?![a-z])",
    re.IGNORECASE,
)
# What is fitted in front of each score, by the name of it; "slot" alone is a place too, so as the last word of a name.
_FITTED = re.compile(
    r"(?<![a-z])(?P<slot>slot[-_]?[1-9][0-9]{0,3}[-_]?steps?|(?:causal|final|eval|quantized|sliding)[-_+]slot"
    r"|slot[-_](?:eval|sliding))(?![a-z])|(?<![a-z])(?P<bias>etlb)(?![a-z])",
    re.IGNORECASE,
)


def check_learnt_in_log(evidence: Evidence) -> Iterator[Finding]:
    """Doubts that the lines of a log raise about the score that it prints; each once."""
    of_logs = [
        (line, log)
        for line in evidence.lines or evidence.siblings
        for log in evidence.claim_logs
        if line in log.lines and not _EARLY.search(line.label)
    ]
    for check in (_epochs, _again, _fitted):
        yield from [found for line, log in of_logs if (found := check(line, log)) is not None][:1]
    gated = next((found for line, log in of_logs if (found := _gated(line, log)) is not None), None)
    is_counted = any(log.gates for _, log in of_logs)
    gated = gated if is_counted else _told_by_readme(evidence)
    yield from [gated] if gated is not None else ()


def _epochs(line: ScoreLine, log: LogRecord) -> Finding | None:
    """Test-time training that goes over the text epoch by epoch, before the score is printed, in the same run."""
    place = line.bpb.source.line
    before = [each for each in log.adaptations if each.run == line.run and place is not None and each.last_line < place]
    if not before:
        return None
    each = before[-1]
    message = (
        f"{log.file}:{each.first_line} to {each.last_line} show {each.epochs} epochs of test-time training "
        f"({each.label!r}) before the score at {line.bpb.source}: if they are on the text that is scored, it was "
        "learnt before it is scored, and the score does not pay for what was learnt of it"
    )
    return codes.LEARNT_BEFORE.finding(
        message,
        place=f"{log.file}:{each.first_line}",
        epochs=each.epochs,
        missing="a look into the script that made the score: is any token learnt before it is scored?",
    )


def _again(line: ScoreLine, _log: LogRecord) -> Finding | None:
    """A score that is called one of the text again, after the training on it."""
    if not _SCORED_AGAIN.search(line.label) or _WITHOUT.search(line.label):
        return None
    message = (
        f"{line.bpb.source} calls the score {line.label!r}: if the whole text was scored again by the network that was "
        "trained on it, it was learnt before it is scored, and the score does not pay for what was learnt of it"
    )
    return codes.LEARNT_BEFORE.finding(
        message,
        place=str(line.bpb.source),
        missing="the score of the first pass, in which each token is scored before anything is trained on it",
    )


def _fitted(line: ScoreLine, _log: LogRecord) -> Finding | None:
    """A score by whose name a vector was fitted in front of it."""
    found = _FITTED.search(line.label)
    if found is None or _WITHOUT.search(line.label):
        return None
    what = "a bias of the logits" if found["bias"] else "a vector that is added to the network's states"
    message = (
        f"{line.bpb.source} calls the score {line.label!r}: by that name {what} is fitted to the text while it is "
        "scored. If it is fitted to tokens that are scored with it, or is one for a batch of windows that overlap, in "
        "which what one window is scored on is the context to which it was fitted for the next, the score does not pay "
        "for what was learnt of it"
    )
    return codes.LEARNT_BEFORE.finding(
        message,
        place=str(line.bpb.source),
        label=line.label,
        facts={FITTED: True},
        missing=(
            "a look into the script that made the score: is what a window is scored with fitted to tokens alone that "
            "were scored before it, of that window?"
        ),
    )


def _told_by_readme(evidence: Evidence) -> Finding | None:
    """Hints of words that a README tells of, where no log counts them."""
    readme = evidence.claim.readme
    place = None if readme is None or evidence.claim.score is None else word_hints(readme.text, readme.file)
    if place is None:
        return None
    message = (
        f"{place} tells of hints within words and at their beginnings: if the token that is being scored decides which "
        "of them is used, by beginning a word or not, the hint tells of it, and the probabilities of all tokens add up "
        "to more than 1"
    )
    return codes.HINT_GATED.finding(message, place=str(place), missing=_WHO_DECIDES)


_WHO_DECIDES = (
    "a look into the script that made the hints: does the class of the scored token decide which are used? Or a score "
    "without them (within_gate=0 word_gate=0)"
)


def _gated(line: ScoreLine, log: LogRecord) -> Finding | None:
    """Hints that a log counts by where words begin, the last such count of the run in front of the score."""
    place = line.bpb.source.line
    if place is None or line.is_training_step:
        return None
    before = [each for each in log.gates if each.run == line.run and (each.source.line or 0) < place]
    if not before or before[-1].num_within == 0:
        return None
    last = before[-1]
    message = (
        f"{last.source} counts {last.num_within:,} hints that are let through by where a word begins or goes on "
        f"({last.words}): if that is asked of the token that is being scored, the hint tells of it, and the "
        "probabilities of all tokens add up to more than 1"
    )
    return codes.HINT_GATED.finding(
        message,
        place=str(last.source),
        num_hints=last.num_within,
        missing=_WHO_DECIDES,
    )
