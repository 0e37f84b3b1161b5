"""What a log tells beside scores: its data, the part that is gone over, gates of hints, the packed network's size.

``val_doc_fraction: 0.02``, ``eval_max_windows: 512``, ``scored 512 of 60568 windows``, ``starting eval on 1000 docs``,
``chunks=2 chunk_tokens=32768``, ``hints total=47851520 token_gate=628130 within_gate=9866847 word_gate=2891588``, and
``Serialized model int8+zlib: 13279699 bytes``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from bpb_harness.claim.printed import Printed, Source, parse_number

_LARGEST = 18  # digits of a count


@dataclass(frozen=True)
class PartTold:
    """A line that says how much of the text an evaluation goes over; one of the four is told.

    Attributes:
        words: its words for it.
        source: where it stands.
        run: which run of the log.
        fraction: of the text's documents, windows or tokens.
        count: of units, counted or the most that are scored.
        unit: ``tokens``, ``windows``, ``documents``, ``batches``, ``bytes``.
        tokens: the most tokens that there can be: chunks times their tokens, windows times their stride.
        may_be_held_out: whether a fraction may be what was held out of one's own text to be scored, and whole.
        is_counted: whether it is what an evaluation counted, and no setting.
    """

    words: str
    source: Source
    run: int
    fraction: float | None = None
    count: int | None = None
    unit: str | None = None
    tokens: int | None = None
    may_be_held_out: bool = False
    is_counted: bool = False


@dataclass(frozen=True)
class GatesTold:
    """A line that counts hints by the gate that let them through.

    Attributes:
        words: its words for those that are open or shut by where a word begins.
        source: where it stands.
        run: which run of the log.
        num_within: hints within words and at their beginnings.
    """

    words: str
    source: Source
    run: int
    num_within: int


_UNIT = r"(?:doc|document|token|window|seq|sequence|batch|subset)(?:e?s)?"
# A share of validation data alone, ``val_frac``, may be what was split off of one's own data, and whole.
_FRACTION = re.compile(
    r"(?<![a-z_])(?:(?:[a-z0-9]{1,12}_)?ttt_|final_|full_)?"  # of train_eval_frac, proxy_eval_frac it is another score
    rf"(?:(?:val|validation)_{_UNIT}|(?P<bare>(?:eval|evaluation)(?:_{_UNIT})?))_frac(?:tion)?[\"']?\s?[:=]\s?"
    r"(?P<fraction>[01]?\.[0-9]{1,9}|[01](?:\.0{1,9})?)(?![0-9.%])",
    re.IGNORECASE,
)
_DOCUMENTS = re.compile(
    r"(?<![a-z])(?:eval(?:uat\w{1,4})?|scor(?:e|es|ing)) (?:on|over) (?P<count>[0-9][0-9,]{0,20}) doc(?:ument)?s\b",
    re.IGNORECASE,
)
# A count of progress ends near the whole; what its last line leaves below half of it was left out.
_SHARE = re.compile(
    r"(?<![a-z])(?:scored|scoring|evaluat(?:ed|ing)(?: on)?) (?P<count>[0-9][0-9,]{0,20}) (?:out )?of (?:the )?"
    r"(?P<of>[0-9][0-9,]{0,20}) (?:(?:val|valid|validation|eval|test) )?(?:token|window|sequence|document|doc)s\b",
    re.IGNORECASE,
)
_MOST_LEFT_TO_COME = 0.5
# On the line of a score, of what was scored: so many, or so many of all. By a bare name only behind the score.
_BESIDE_SCORE = re.compile(
    r"(?<![A-Za-z0-9_])(?P<named>(?:num_)?(?:scored|eval)_)?(?:val_|num_)?"
    r"(?P<unit>tokens|windows|seqs|sequences|docs|documents|batches)(?P<scored>_scored)?\s?[:=]\s?"
    r"(?P<count>[0-9][0-9,]{0,20})(?:\s?(?:/|of)\s?(?P<of>[0-9][0-9,]{0,20}))?(?![0-9.A-Za-z_%])"
)
_UNITS = {
    **dict.fromkeys(("token", "tokens"), "tokens"),
    **dict.fromkeys(("windows", "seqs", "sequences", "samples", "examples"), "windows"),  # of one, its length is told
    **dict.fromkeys(("doc", "docs", "document", "documents"), "documents"),
    **dict.fromkeys(("batches", "chunks"), "batches"),
}
_OF_SCORES = frozenset({"eval", "evaluation", "val", "valid", "validation", "scoring", "score"})
_OF_LIMITS = frozenset({"max", "maximum", "limit", "cap", "subset", "first"})
# Of training, of other evaluations, and of other quantities.
_OF_OTHER_LIMITS = frozenset(
    (
        *("train", "training", "proxy", "warmup", "calib", "calibration", "smoke", "quick", "mid", "every", "gen"),
        *("len", "length", "order", "time", "size", "per", "rank", "local", "batch", "chunk", "stride", "cache"),
    )
)
_SETTING = re.compile(
    r"(?<![A-Za-z0-9_.])(?P<name>[A-Za-z][A-Za-z0-9_]{2,60})[\"']?\s?[:=]\s?(?P<count>[1-9][0-9,_]{0,17})(?![0-9.A-Za-z%])"
)
_LENGTH = re.compile(
    r"(?:seq(?:uence)?_len(?:gth)?|block_size|context_len(?:gth)?|ctx_len)[\"']?\s?[:=]\s?(?P<length>[1-9][0-9]{0,8})(?![0-9.])",
    re.IGNORECASE,
)
_BY = r"\s?[:=]\s?"
_LOADED = re.compile(rf"(?<![a-z_])val_loader\S{{0,80}}?:bytes{_BY}(?P<count>[0-9][0-9,]{{0,20}})(?![0-9.A-Za-z])")
_CHUNKS = re.compile(
    rf"(?<![a-z_])(?:num_)?chunks{_BY}(?P<count>[0-9]{{1,9}})[,;]? chunk_(?:tokens|size){_BY}(?P<each>[0-9]{{1,9}})\b",
    re.IGNORECASE,
)
_WINDOWS = re.compile(
    rf"(?<![a-z_])total_windows{_BY}(?P<count>[0-9]{{1,9}})[,;]? stride{_BY}(?P<each>[0-9]{{1,9}})\b", re.IGNORECASE
)
# Lines of one process of several or of one document, and of what is no evaluation of the text.
_OF_ANOTHER = re.compile(
    r"(?<![a-z_])(?:rank|gpu|worker|device|process|doc|document)[ :=#_]{0,3}[0-9]"
    r"|(?<![a-z])per[-_ ](?:rank|gpu|worker|doc)|calib|gptq|hessian"
    r"|(?<![a-z])(?:warm[-_ ]?up|smoke|dry[-_ ]run|bench\w{0,8}|(?<!time[-_ ])train(?:ing)?)(?![a-z])",
    re.IGNORECASE,
)
_GATES = re.compile(
    rf"(?<![a-z_])(?P<words>(?:within|word)_gate{_BY}(?P<count>[0-9]{{1,18}}))(?![0-9.])", re.IGNORECASE
)
_SIZE = r"(?P<size>[0-9][0-9,]{0,18}(?:\.[0-9]{1,9})?)\s?(?P<unit>bytes|mb|mib)\b(?! of )"
_PACKED = re.compile(
    r"(?<![a-z])(?:(?:zlib|zstd|lzma|xz|bz2|gzip|brotli|r?ans|huffman|lz4)(?![a-z])"
    r"|(?:compressed|packed)[ _](?:artifact|model|network|weights|checkpoint|submission|size)(?![a-z]))"
    rf"[^:=]{{0,40}}[:=]\s?{_SIZE}"
)
_ARTIFACT = re.compile(
    rf"(?:[Tt]otal submission size[^:]{{0,60}}|(?<![A-Za-z_])[Aa]rtifact(?:[ _]size)?)\s?:\s?{_SIZE}", re.IGNORECASE
)
_ARTIFACT_BYTES = re.compile(  # a field of an object
    r"[\"'](?:(?:total|final|compressed|packed|submission)_)?artifact(?:_size)?_bytes[\"']\s?:\s?"
    r"(?P<size>[1-9][0-9]{0,18})(?![0-9A-Za-z._])"
)
_UNITS_OF_SIZE = {"bytes": 1, "mb": 10**6, "mib": 2**20}
# Sizes that are planned, or of what is not packed.
_NO_SIZE = re.compile(
    r"(?<![a-z])(?:est(?:\.|imated?)?|predicted|expected|projected|limit|cap|budget|headroom|raw)(?![a-z])"
)
# What else is packed, and what has the network in it all the same: "Code size (zlib)", "Total size code+int8 zlib".
_OTHER_THAN_A_NETWORK = re.compile(r"(?<![a-z])(?:code|script|source|shard|data|dataset|tokenizer|corpus)s?(?![a-z])")
_WITH_A_NETWORK = re.compile(r"model|network|weight|artifact|submission|total")


def part_told(line: str, low: str, source: Source, run: int) -> PartTold | None:
    """How much of the text a line of a log says that an evaluation goes over; None where it says nothing of that.

    Args:
        line: the line.
        low: it in small letters.
        source: where it stands.
        run: which run of the log.
    """
    if "frac" in low and (found := _FRACTION.search(line)):
        of_own = found["bare"] is not None
        return PartTold(found[0], source, run, fraction=float(found["fraction"]), may_be_held_out=of_own)
    for found in _SETTING.finditer(line) if any(word in low for word in ("max", "limit", "cap", "subset")) else ():
        if (unit := limited_by(found["name"])) is not None:
            return PartTold(found[0], source, run, count=_count(found["count"]), unit=unit)
    if _OF_ANOTHER.search(line):
        return None
    if " of " in low and (found := _SHARE.search(line)):
        share = _count(found["count"]) / max(_count(found["of"]), 1)
        return PartTold(found[0], source, run, fraction=share if share < _MOST_LEFT_TO_COME else 1.0, is_counted=True)
    if " doc" in low and (found := _DOCUMENTS.search(line)):
        return PartTold(found[0], source, run, count=_count(found["count"]), unit="documents", is_counted=True)
    if "val_loader" in low and (found := _LOADED.search(line)):
        return PartTold(found[0], source, run, count=_count(found["count"]), unit="bytes")
    shape = _CHUNKS if "chunks" in low else _WINDOWS if "total_windows" in low else None
    if shape is not None and (found := shape.search(line)):
        return PartTold(found[0], source, run, tokens=_count(found["count"]) * _count(found["each"]))
    return None


def limited_by(name: str, *, is_told: bool = False) -> str | None:
    """What a setting counts that says how much an evaluation scores at most: ``windows`` of ``EVAL_MAX_WINDOWS``.

    Args:
        name: the setting's.
        is_told: its name need not call it a limit: ``VAL_TOKENS`` given to a command.
    """
    words = re.split(r"[_-]+", name.lower())
    units = [_UNITS[word] for word in words if word in _UNITS]
    is_limit = not _OF_LIMITS.isdisjoint(words) or (is_told and {*words} <= {*_UNITS, *_OF_SCORES, "num", "n"})
    is_of_score = not _OF_SCORES.isdisjoint(words) and _OF_OTHER_LIMITS.isdisjoint(words)
    return units[0] if len(units) == 1 and is_limit and is_of_score else None


def counted_beside(line: str, behind: int, source: Source, run: int) -> PartTold | None:
    """What the line of a score counts of what was scored: ``tokens:1048576``, ``windows:512/60568``.

    Args:
        line: the line.
        behind: where in it the score ends; names that say nothing of scoring count behind that alone.
        source: where it stands.
        run: which run of the log.
    """
    for found in _BESIDE_SCORE.finditer(line):
        count, unit = _count(found["count"]), _UNITS[found["unit"]]
        is_named = (found["named"] or found["scored"]) is not None
        if not is_named and (found.start() < behind or _OF_ANOTHER.search(line)):
            continue
        if found["of"] is not None:
            return PartTold(found[0], source, run, fraction=count / max(_count(found["of"]), 1), is_counted=True)
        if unit in ("tokens", "documents"):
            return PartTold(found[0], source, run, count=count, unit=unit, is_counted=True)
    return None


def window_told(line: str) -> int:
    """The longest window that a line of a log tells, in tokens; 0 where it tells none."""
    return max((int(found["length"]) for found in _LENGTH.finditer(line)), default=0)


def gates_told(line: str, source: Source, run: int) -> GatesTold | None:
    """How many hints of words a line of a log counts, open or shut by where a word begins; None where it counts none.

    Args:
        line: the line.
        source: where it stands.
        run: which run of the log.
    """
    found = list(_GATES.finditer(line))
    if not found:
        return None
    return GatesTold(" ".join(each["words"] for each in found), source, run, sum(int(each["count"]) for each in found))


def packed_told(line: str, low: str, source: Source) -> Printed | None:
    """The size of a network that was packed, in bytes; None where the line says nothing of that.

    Args:
        line: the line.
        low: it in small letters.
        source: where it stands.
    """
    found = _PACKED.search(low)
    if found is None:
        return None
    words = low[: found.start("size")]
    if _OTHER_THAN_A_NETWORK.search(words) and not _WITH_A_NETWORK.search(words):
        return None
    size = _size_of(found, source, line[: found.end()].strip())
    return size if size is None or size.value >= _SMALLEST_PACKED else None


def artifact_told(line: str, source: Source) -> Printed | None:
    """The size of the whole submission, in bytes; None where the line says nothing of that."""
    if "_bytes" in line and (found := _ARTIFACT_BYTES.search(line)):
        return parse_number(found["size"], source, "artifact bytes")
    found = _ARTIFACT.search(line)
    if found is None or (found["unit"].lower() != "bytes" and _NO_SIZE.search(line[: found.start("size")].lower())):
        return None
    return _size_of(found, source, "artifact bytes")


_SMALLEST_PACKED = 1000  # bytes


def _size_of(found: re.Match[str], source: Source, name: str) -> Printed | None:
    """A size in bytes, with what rounding may have hidden of it: 13.28 MB is 13,280,000 to half of 10,000."""
    number, unit = parse_number(found["size"].replace(",", ""), source, name), _UNITS_OF_SIZE[found["unit"].lower()]
    if number is None or number.decimals is None or unit == 1:
        return number
    hidden = number.decimals - round(math.log10(unit))
    return replace(number, value=float(round(number.value * unit)), decimals=hidden)


def _count(digits: str) -> int:
    return int(re.sub("[,_]", "", digits)[:_LARGEST])


# What a run was given for its text: ``dataset: text8``, ``data_path=data/enwik8/val.bin``, ``loaded dataset enwik8``.
_DATA = re.compile(
    r"(?<![A-Za-z])(?:data|data[_ ]?set|corpus)(?:[_ ](?:name|path|dir|root|file))?['\"]?(?:\s{0,3}[:=]\s{0,3}|\s)"
    r"['\"]?(?P<value>[^\s,;'\"]{1,160})",
    re.IGNORECASE,
)
_OF_NO_SCORE = re.compile(r"(?:calib\w*|distil\w*)[_ ]{1,2}$", re.IGNORECASE)


def data_told(line: str) -> list[str]:
    """What a line gives for the data of its run."""
    line = line[:_LONGEST_DATA_LINE]
    return [found["value"] for found in _DATA.finditer(line) if not _OF_NO_SCORE.search(line[: found.start()])]


_LONGEST_DATA_LINE = 1_000
