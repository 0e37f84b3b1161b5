"""BPB452: a title that names a technique which would have begun behind the last step of the run, by its own settings.

``EMA`` from ``ema_start_frac:0.8`` of ``iterations:20000`` on does not come where a clock stops the run at step 3,807.
It is said where the log tells both settings, and the one place of the programs that asks for the share holds the step
against that many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.title_alone import Technique, title_with
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.of_the_run import lines_of_the_run, settings_of_the_run
from bpb_harness.auditing.programs import Programs
from bpb_harness.claim.settings_told import SettingTold, quantity
from bpb_harness.findings import Finding

_NAMES = ("ema", "qat", "swa", "lawa")
_SHARES = ("start_frac", "start_fraction")
_STEPS = "iterations"
_MOST_CHARACTERS = 2**22


def check_never_begun(evidence: Evidence, programs: Programs) -> Iterator[Finding]:
    """Name the first technique of the title that its run had no step for."""
    last = _last_step(evidence)
    for name in _NAMES if last is not None else ():
        of_title = re.compile(rf"(?<![A-Za-z]){name.upper()}(?![A-Za-z])")
        title = title_with(evidence, Technique(name, of_title, re.compile(name)))
        told = settings_of_the_run(evidence, [_STEPS, *(f"{name}_{share}" for share in _SHARES)]) if title else {}
        start = next((told[f"{name}_{share}"] for share in _SHARES if f"{name}_{share}" in told), None)
        first = _first_step(start, told.get(_STEPS))
        if (
            start is None
            or first is None
            or last is None
            or last + _apart(evidence) > first
            or _has_begun(evidence, name)
        ):
            continue
        if not _is_compared(programs.texts_of(programs.files, _MOST_CHARACTERS), start):
            continue
        message = (
            f"the title names {name.upper()} ({title!r}), which begins at step {first:,} by the log's settings "
            f"(`{start.words}` of `{told[_STEPS].words}`, {start.source}), and the run ended at step {last:,}: it "
            "never began"
        )
        missing = "a run that comes to what the title names, or a title of what ran"
        yield codes.TITLE_ALONE.finding(message, title=title, technique=name, missing=missing)
        return


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


def _first_step(start: SettingTold | None, steps: SettingTold | None) -> int | None:
    share = quantity(start.value) if start is not None else None
    whole = quantity(steps.value) if steps is not None else None
    return None if share is None or whole is None or not 0.0 < share <= 1.0 else int(whole * share)


def _has_begun(evidence: Evidence, name: str) -> bool:
    """Whether a line of the run tells that it did: ``ema:start step:7``."""
    begun = re.compile(
        rf"(?<![a-z/_-]){name}[ :_]{{1,3}}(?:start(?!_)|begin|began|appl|load|swap|using|activ|on\b|step|averag)",
        re.IGNORECASE,
    )
    return any(begun.search(line) for log in evidence.claim_logs for _, line in lines_of_the_run(evidence, log))


def _is_compared(texts: Sequence[str], start: SettingTold) -> bool:
    """Whether programs ask for a share once, and hold a step against so many of all steps there."""
    name = re.split(r"[:=]", start.words)[0].strip().lower()
    asked = [found for text in texts for found in re.finditer(rf"(?<!\{{)\b\w+\.{name}\b", text)]
    held = rf"\bstep >=? (?:max\([01], ?)?(?:int\()?\w+\.{_STEPS} \* \w+\.{name}\b"
    if any(re.search(rf"\.{_STEPS}\s?(?:[-+*/|]{{0,2}}=(?!=)|\s?:\s?\w+\s?=)", text) for text in texts):
        return False  # so many steps, or others
    return len(asked) == 1 and sum(len(re.findall(held, text)) for text in texts) == 1
