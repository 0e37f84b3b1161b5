"""BPB425: the score of a network before it was packed, where the log scores nothing of what was packed there or behind.

A record that says so is held back too: what is submitted, and counted in bytes, is another network than the scored one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.found_in_log import label_of, nearly_that
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import text_of_log
from bpb_harness.claim import LogRecord, Printed, ScoreLine
from bpb_harness.findings import Finding, Severity, first_of

_NOT_PACKED = re.compile(r"pre[-_ ]?quant|post[-_ ]?ema", re.IGNORECASE)
_TO_BE_PACKED = re.compile(r"pre[-_ ]?quant", re.IGNORECASE)
_LONGEST, _BEFORE = 1_000, 60  # characters of a line that are looked at, and of those before a size
_OF_PACKED = re.compile(r"round[-_ ]?trip|post[-_ ]?quant|(?<![a-z])quantized|int[0-9]|packed", re.IGNORECASE)


_SAVED = re.compile(  # "model.bin has 15,815,847 bytes", "the saved weights: 15.8 MB"
    r"(?:(?<![a-z])(?:model|weights|checkpoint|artifact|submission|file)(?![a-z])"
    r"|[a-z0-9]\.(?:bin|pt|pth|ptz|npz|safetensors|xz|zst)(?![a-z]))"
    r"[`*]{0,3}(?: (?:size|file|on disk|itself|alone))?[`*]{0,3}(?: (?:has|have|is|are|was|takes|weighs|of)|\s?[:=(])"
    r"[*`]{0,3}\s?(?:(?:only|about|exactly|just|around) )?~?[*`]{0,3}"
    r"(?:(?P<bytes>[0-9]{1,3}(?:,[0-9]{3}){2,3}|[0-9]{7,9})\s?(?:bytes|B)|(?P<mb>[0-9]{1,3}\.[0-9]{1,6})\s?MB)(?![a-z])",
    re.IGNORECASE,
)
_WISHED = re.compile(r"(?<![a-z])(?:if|limit|cap|budget|max\w{0,4}|target|must|should|would)(?![a-z])", re.IGNORECASE)
_ROUND_TRIP = re.compile(r"round[-_ ]?trip|re-?load|read back|de-?quanti", re.IGNORECASE)
_NO_CHANGE = re.compile(
    r"bit[- ](?:for[- ]bit|exact|identical|equal)|(?<![a-z])(?:identical|unchanged|loss-?less)(?![a-z])"
    r"|(?<![a-z])no (?:change|loss|difference)(?![a-z])|(?<![a-z])diff\w{0,8}\s?[:=]\s?0(?:\.0{1,12})?(?![0-9.e])",
    re.IGNORECASE,
)


def check_before_packing(evidence: Evidence) -> Iterator[Finding]:
    """A score of a network that is packed behind it, or that its name says is still to be, and is not scored again."""
    if evidence.how != "line":
        return
    (line,) = evidence.lines
    log = evidence.log_of(line)
    place = line.bpb.source
    if log is None or place.line is None:
        return
    if not (line.is_training_step or _NOT_PACKED.search(line.label)):
        yield from _packed_behind(evidence, line, log)
        return
    if any(other.bpb.source == place and _OF_PACKED.search(other.bpb.name) for other in log.lines):
        return
    packed = [size for size in log.packed if (size.source.line or 0) > place.line]
    behind = [other for other in log.lines if (other.bpb.source.line or 0) > place.line]
    if any(not _is_before(other, packed[0] if packed else None) for other in behind):
        yield from _scored_behind(evidence, line, behind)
        return
    if behind and not packed and not line.is_training_step:
        return
    missing = "a score of the packed network, read back from its file"
    so = "and does not tell what the packed network scores"
    if _says_unchanged(text_of_log(log)):
        return
    if packed:
        size = f"{packed[-1].source}: {packed[-1].name!r}"
        then = f"the network was packed after it ({size}); the log prints no score behind that, {so}"
    elif _TO_BE_PACKED.search(line.label):
        then = f"the log ends with neither the size nor a score of a packed network, {so}"
    elif line.is_training_step and _has_no_artifact(evidence):
        cap, pack = evidence.rules.pack.largest_artifact, evidence.rules.pack.name
        then = (
            f"the log tells of no packed network, by a size or a score, there or behind it: what {pack} asks for is "
            f"one of at most {cap:,} bytes, and its score"
        )
        missing += "; of a record of no such contest: --rules none"
    else:
        yield from _skipped(evidence, line, log)
        return
    message = f"the score is {nearly_that(evidence)} of {label_of(line)!r} at {place}, and {then}"
    yield codes.BEFORE_PACKING.finding(
        message,
        place=str(place),
        packed_at=str(packed[-1].source) if packed else None,
        missing=missing,
    )


def _skipped(evidence: Evidence, line: ScoreLine, log: LogRecord) -> Iterator[Finding]:
    """The remark that a log says itself that the packed network was not scored, of a score of the one in training."""
    at = line.bpb.source.line or 0
    rows = enumerate(text_of_log(log).split("\n"), 1)
    said = next(((number, row.strip()) for number, row in rows if number > at and _SKIPS.match(row)), None)
    if said is not None:
        message = (
            f"the score is {nearly_that(evidence)} of {label_of(line)!r} at {line.bpb.source}, of the network as it "
            "was trained, and the log says that the packed one was not scored: "
            f"`{said[1][:_BEFORE]}` ({log.file}:{said[0]})"
        )
        yield codes.BEFORE_PACKING.finding(message, severity=Severity.INFORMS, place=str(line.bpb.source))


_SKIPS = re.compile(
    r"\s{0,8}(?:skip(?:s|ped|ping)?[ _][a-z0-9_]{0,40}round_?trip[a-z_]{0,20}(?:\s?[:=]\s?(?:1|true)|\s?)"
    r"|[a-z0-9_]{0,40}round[-_ ]?trip[a-z_]{0,20}:? skipped(?![a-z])[^\n]{0,60})\s{0,8}\Z",
    re.IGNORECASE,
)


def _scored_behind(evidence: Evidence, line: ScoreLine, behind: Sequence[ScoreLine]) -> Iterator[Finding]:
    """The remark that a log scores the packed network too, behind the score of it before that is claimed."""
    score = evidence.claim.score
    packed = [each for each in behind if _OF_PACKED.search(each.label) and not _NOT_PACKED.search(each.label)]
    packed = [each for each in packed if each.run == line.run]
    if score is None or not packed or not _NOT_PACKED.search(line.label):
        return
    if _OF_PACKED.search(_NOT_PACKED.sub("", re.sub(r"pre[-_ ]?quanti\w*", "", line.label, flags=re.IGNORECASE))):
        return  # "post_ema_int6": of what was averaged, packed
    if any(score.agrees_with(each.bpb.value, each.bpb.half_unit) for each in packed):
        return
    shown = first_of([f"{each.bpb} of {each.label!r} ({each.bpb.source})" for each in packed], _MOST_SHOWN)
    message = (
        f"the score is {nearly_that(evidence)} of {line.label!r} at {line.bpb.source}, of the network before it was "
        f"packed, and is none of the packed one's, which the log prints behind it: {shown}"
    )
    yield codes.BEFORE_PACKING.finding(message, severity=Severity.INFORMS, place=str(line.bpb.source))


def _packed_behind(evidence: Evidence, line: ScoreLine, log: LogRecord) -> Iterator[Finding]:
    """The remark that all that a log tells of a packed network stands behind the score, the packed one's score too."""
    run = [each for each in log.lines if each.run == line.run]
    at, score = line.bpb.source.line or 0, evidence.claim.score
    packed = [size for size in log.packed if (size.source.line or 0) < (run[-1].bpb.source.line or 0)]
    again = [each for each in run if _OF_PACKED.search(each.label) and not each.is_training_step]
    if score is None or not packed or not again or len({each.run for each in log.lines}) > 1:
        return
    first = packed[0].source.line or 0
    if _OF_PACKED.search(line.label) or at > first or any((each.bpb.source.line or 0) < first for each in again):
        return
    if any(abs(score.value - each.bpb.value) < _SAME_NETWORK for each in again):
        return
    shown = first_of([f"{each.bpb} of {each.label!r} ({each.bpb.source})" for each in again[-1:]], _MOST_SHOWN)
    message = (
        f"the score is {nearly_that(evidence)} of {label_of(line)!r} at {line.bpb.source}, which stands before all "
        f"that the log tells of a packed network ({packed[0].source}); behind that it prints {shown}"
    )
    yield codes.BEFORE_PACKING.finding(message, severity=Severity.INFORMS, place=str(line.bpb.source))


_SAME_NETWORK = 0.05  # bits per byte; what packing, or scoring in another way, may change
_MOST_SHOWN = 2


def _has_no_artifact(evidence: Evidence) -> bool:
    """Whether rules that cap an artifact are the record's own, which states no size of one, nor do its logs."""
    claim, rules = evidence.claim, evidence.rules
    is_own = claim.claimed_in != "log" or claim.readme is not None
    if {line.bpb.source.file for line in evidence.lines} & {table.file for table in claim.tables}:
        return False  # a row of a table need not be one of the training
    if rules.pack.largest_artifact is None or rules.is_assumed or rules.is_by_a_name_alone or not is_own:
        return False
    if claim.artifact_bytes or any(log.artifact_bytes or log.packed for log in claim.logs):
        return False
    return claim.readme is None or not _tells_of_the_saved(claim.readme.text, rules.pack.largest_artifact)


def _says_unchanged(text: str) -> bool:
    return any(_NO_CHANGE.search(line) for line in text.split("\n") if _ROUND_TRIP.search(line[:_LONGEST]))


def _tells_of_the_saved(text: str, cap: int) -> bool:
    """Whether a README gives the size of what is saved, which is none of the cap's, or says that it comes back so."""
    for line in text.split("\n"):
        for found in _SAVED.finditer(line[:_LONGEST]):
            before = line[max(0, found.start() - _BEFORE) : found.start()]
            size = float(found["bytes"].replace(",", "")) if found["bytes"] else float(found["mb"]) * 1e6
            if size != cap and not _WISHED.search(before + found[0]):
                return True
    return _says_unchanged(text)


def _is_before(line: ScoreLine, packed: Printed | None) -> bool:
    """Whether a score is of the network in training too, before it is packed."""
    if packed is None:
        return line.is_training_step
    if (line.bpb.source.line or 0) > (packed.source.line or 0):
        return False
    return line.is_training_step or _NOT_PACKED.search(line.label) is not None
