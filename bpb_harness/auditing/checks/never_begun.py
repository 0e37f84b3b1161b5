"""BPB452: a title that names a technique which would have begun behind the last step of the run, by its own settings.

``EMA`` from ``ema_start_frac:0.8`` of ``iterations:20000`` on does not come where a clock stops the run at step 3,807,
and neither does ``SWA`` in the last ``swa_window_frac: 0.05`` of them.
It is said where the log tells both settings, and the one place of the programs that asks for the share holds the step
against that many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.title_alone import Technique, denies_anything, listing_title, title_with, titles_of
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.of_the_run import lines_of_the_run, settings_of_the_run
from bpb_harness.auditing.programs import Programs
from bpb_harness.claim.settings_told import SettingTold, quantity
from bpb_harness.findings import Finding

_NAMES = ("ema", "qat", "swa", "lawa")
_SHARES = ("start_frac", "start_fraction")
_STEPS = "iterations"
_MOST_CHARACTERS = 2**22
# What a README says that owns up to it, in a line with the technique's name.
_OWNS_UP = (
    r"(?<![a-z])(?:never|not (?:\w{{1,12}} )?(?:reach|beg[iu]n|start|trigger|activ|fire|kick|run|ran|appl|engag|collect"
    r"|take|took|happen|used|come|came)|too (?:late|early|short)|ended|stopped (?:early|before)|unused|no-?op|inert"
    r"|(?:before|no|without|zero|skip\w{{0,5}}|disabl\w{{1,4}}) {name})|n't(?![a-z])"
    r"|{name}\W{{0,3}}(?:off|disabled|inactive|skipped)"
)


def check_never_begun(evidence: Evidence, programs: Programs) -> Iterator[Finding]:
    """Name the first technique of the title that its run had no step for."""
    last = _last_step(evidence)
    texts = programs.texts_of(programs.files, _MOST_CHARACTERS) if last is not None else []
    for name in _NAMES if last is not None else ():
        title = _titled_with(evidence, name)
        start = _start(evidence, texts, name) if title is not None else None
        if (
            title is None
            or start is None
            or last is None
            or last + _apart(evidence) > start.step
            or _has_begun(evidence, name)
        ):
            continue
        message = (
            f"the title names {name.upper()} ({title!r}), which begins at step {start.step:,} by the log's settings "
            f"({start.words}), and the run ended at step {last:,}: it never began"
        )
        missing = "a run that comes to what the title names, or a title of what ran"
        yield codes.TITLE_ALONE.finding(message, title=title, technique=name, missing=missing)
        return


def _titled_with(evidence: Evidence, name: str) -> str | None:
    """The title that names a technique as its own; where the log tells it to be on, one of a study of it may."""
    if (title := title_with(evidence, _called(name))) is not None:
        return title
    titles, readme = titles_of(evidence), evidence.claim.readme
    listed = listing_title(titles, _called(name, rf"{name.upper()} (?:[Bb]lend|[Aa]verag)(?:e|ing)?"))
    if listed is None or any(map(denies_anything, titles)):
        return None
    switch = f"{name}_enabled"
    told = settings_of_the_run(evidence, [switch]).get(switch)
    if told is None or quantity(told.value) != 1.0:
        return None
    owns_up = re.compile(_OWNS_UP.format(name=name), re.IGNORECASE)
    lines = [*(words for _, words in evidence.claim.said), *(readme.text.splitlines() if readme is not None else ())]
    if any(name in line.lower() and owns_up.search(line) for line in lines):
        return None
    return listed


def _called(name: str, other: str | None = None) -> Technique:
    plain = rf"(?<![A-Za-z]){name.upper()}(?![A-Za-z])"
    return Technique(name, re.compile(f"(?:{other}|{plain})" if other else plain), re.compile(name))


class _Start(NamedTuple):
    """From which step on a technique is at work, and the log's words for it."""

    step: int
    words: str


def _start(evidence: Evidence, texts: Sequence[str], name: str) -> _Start | None:
    """The step from which on the programs do what a technique is, by two settings that the log tells."""
    last_part = _share_of_the_end(texts, name)
    names = [last_part] if last_part is not None else [f"{name}_{share}" for share in _SHARES]
    told = settings_of_the_run(evidence, [_STEPS, *names])
    share = next((told[each] for each in names if each in told), None)
    whole = told.get(_STEPS)
    if share is None or whole is None or not _is_compared(texts, share, of_the_end=last_part is not None):
        return None
    part, steps = quantity(share.value), quantity(whole.value)
    if part is None or steps is None or not 0.0 < part <= 1.0:
        return None
    first = steps * (1.0 - part) if last_part is not None else steps * part
    words = f"{'the last ' if last_part is not None else ''}`{share.words}` of `{whole.words}`, {share.source}"
    return _Start(int(first), words)


def _share_of_the_end(texts: Sequence[str], name: str) -> str | None:
    """The setting of a technique that programs take from 1: step >= int(iterations * (1 - swa_window_frac))."""
    held = re.compile(_HELD.format(share=_OF_THE_END.format(name=rf"({name}_\w{{1,40}})")))
    found = {each for text in texts for each in held.findall(text)}
    return found.pop() if len(found) == 1 else None


def _last_step(evidence: Evidence) -> int | None:
    """The last step of all runs that carry the claim; None where one of them tells none."""
    steps: list[int] = []
    for line in evidence.lines:
        log = evidence.log_of(line)
        told = [other.step for other in evidence.run_of(line) if other.is_training_step and other.step is not None]
        told += [log.last_steps[line.run]] if log is not None and line.run in log.last_steps else []
        if not told:
            return None
        steps.append(max(told))
    return max(steps, default=None)


_STEP = re.compile(r"(?<![a-z])step\s?[:=]?\s?([0-9]{1,9})(?![0-9.])", re.IGNORECASE)


def _apart(evidence: Evidence) -> int:
    """How many steps may have come behind the last that is told: as many as lie between the two last ones, but one."""
    apart = [1]
    for log in evidence.claim_logs:
        steps = {
            int(found[1]) for _, line in lines_of_the_run(evidence, log) for found in _STEP.finditer(line[:_LONGEST])
        }
        told = sorted({0, *steps})
        apart.append(told[-1] - told[-2] if len(told) > 1 else 1)
    return max(apart)


_LONGEST = 400


def _has_begun(evidence: Evidence, name: str) -> bool:
    """Whether a line of the run tells that it did: ``ema:start step:7``."""
    begun = re.compile(
        rf"(?<![a-z/_-]){name}[ :_]{{1,3}}(?:start(?!_)|begin|began|appl|load|swap|using|activ|on\b|step|averag"
        r"|blend(?:ing|ed))",
        re.IGNORECASE,
    )
    return any(begun.search(line) for log in evidence.claim_logs for _, line in lines_of_the_run(evidence, log))


# Held against the step: so many of all of them.
_HELD = r"\bstep >=? (?:max\([01], ?)?(?:int\()?\w+\.iterations \* {share}"
_OF_THE_END = r"\(1(?:\.0?)? ?- ?\w+\.{name}\)"


def _is_compared(texts: Sequence[str], start: SettingTold, *, of_the_end: bool) -> bool:
    """Whether programs ask for a share once, and hold a step against so many of all steps there."""
    name = re.split(r"[:=]", start.words)[0].strip().lower()
    asked = [found for text in texts for found in re.finditer(rf"(?<!\{{)\b\w+\.{name}\b", text)]
    held = _HELD.format(share=_OF_THE_END.format(name=name) if of_the_end else rf"\w+\.{name}\b")
    if any(re.search(rf"\.{_STEPS}\s?(?:[-+*/|]{{0,2}}=(?!=)|\s?:\s?\w+\s?=)", text) for text in texts):
        return False  # so many steps, or others
    return len(asked) == 1 and sum(len(re.findall(held, text)) for text in texts) == 1
