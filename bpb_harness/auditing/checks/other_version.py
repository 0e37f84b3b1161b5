"""BPB431: a log that none of the scripts beside it wrote as they lie there, by its own words.

Another version of the script wrote it, as did a third of the public logs, or a hand: nothing follows for the score, but
what was read of the script is no reading of what made it. Each sign is sure: the line of the score is none that any of
the scripts can print, the settings that the log lists at its head have names that are in none of them, or the code has
another size. The last alone is that of the same script too, where it was packed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterator, Sequence
from itertools import combinations
from pathlib import Path

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.programs import Programs
from bpb_harness.claim import LogRecord, ScoreLine
from bpb_harness.claim.figure_lines import FigureLine, figure_line
from bpb_harness.claim.listing import kind_by_name
from bpb_harness.claim.settings import settings_of_every_command
from bpb_harness.claim.text_file import read_text
from bpb_harness.errors import ClaimError
from bpb_harness.findings import Finding, listed

_HEAD = re.compile(
    r"\s*(?:hyper-?parameters|hparams|config(?:uration)?|arguments|args|settings)\s*:?\s*\Z", re.IGNORECASE
)
_LISTED = re.compile(r"(\s{0,8})([a-z][a-z0-9_]{2,60})\s?[:=](?:\s|\Z)")
_WORD = re.compile(r"[A-Za-z_]\w*")
_MOST_LISTED, _FEWEST_LISTED, _KNOWN = 400, 20, 0.8  # settings in a list; the share of them that scripts have too
_MAX_SHOWN, _LONGEST_SHOWN, _MOST_FILES = 3, 90, 6
_MOST_CODE = 12  # files of code, in whatever language, of which sums are formed
# Of languages that networks are trained in too, whose printing is not read.
_OTHER_TONGUES = frozenset([
    ".c", ".cc", ".cpp", ".cu", ".cuh", ".go", ".h", ".hpp", ".java", ".jl", ".js", ".lua", ".m", ".metal", ".mm",
    ".rs", ".swift", ".ts", ".zig",
])  # fmt: skip
_FEW_BYTES, _NEARLY = 4, "the nearest script as it lies here,"
_PACKED = 0.9  # of its size; what is packed is smaller than that


def check_other_version(evidence: Evidence, programs: Programs) -> Iterator[Finding]:
    """Name the signs by which no script of the record wrote the claim's log, where each of its logs has one.

    Nothing is said where a program in another language lies there, where another log holds a script, or where the size
    is that of several files of code.
    """
    scripts = evidence.claim.scripts
    logs = {line.bpb.source.file: (evidence.log_of(line), line) for line in evidence.lines}
    if not scripts or not programs.folders or not logs or evidence.held_script is not None:
        return
    if any(log.holds_script for log in evidence.claim.logs):  # which may have written the others too
        return
    files, texts = programs.every, programs.texts
    if not texts or any(file.suffix.lower() in _OTHER_TONGUES for file in files):
        return
    files = [*files, *_copies(programs.folders, {file.resolve() for file in files})]
    words = set(_WORD.findall("\n".join(texts)))
    signs = [_signs(log, line, files, texts, words) for log, line in logs.values()]
    if all(signs):
        file = next(iter(logs))
        is_near = len(signs[0]) == 1 and _NEARLY in signs[0][0]
        none = (
            f"{file} is not to the byte of a script of the record"
            if is_near
            else (f"no script of the record wrote {file} as it lies here")
        )
        message = f"{none}: {'; '.join(signs[0])}"
        yield codes.OTHER_VERSION.finding(message, log=file, logs=[*logs], is_near=is_near)
        yield from _set_by_the_readme_alone(evidence, [log for log, _ in logs.values() if log is not None], files)


def _set_by_the_readme_alone(
    evidence: Evidence, logs: Sequence[LogRecord], programs: Sequence[Path]
) -> Iterator[Finding]:
    """A setting that each command of the README gives, and the script lists, but no list of the logs has: BPB451."""
    readme = evidence.claim.readme
    given = {} if readme is None else settings_of_every_command(readme.text)
    lacking = [_lacking(_settings_of(log), programs) for log in logs if given]
    for name, values in given.items():
        places = [next((held for held in each if name.lower() in held[1]), None) for each in lacking]
        if readme is None or not places or None in places or not _OFF.isdisjoint(values):
            continue
        if any(_has_another_name(name.lower(), log, programs) for log in logs):
            continue
        file, lines = places[0] or (Path(), {})
        message = (
            f"{readme.file} runs the script with `{name}={' or '.join(values)}`, which {file.name} lists with its "
            f"other settings (line {lines[name.lower()]}), and the list in {logs[0].file} has no such setting: the "
            "score is of a version of the script that did not know it"
        )
        missing = "the log of a run of the script with what the README sets, or the script and the settings of the run"
        yield codes.ANOTHER_RUN.finding(message, file=readme.file, setting=name, missing=missing)
        return


def _has_another_name(name: str, log: LogRecord, programs: Sequence[Path]) -> bool:
    """Whether a list in a log has a setting that no program lists, and that shares a word with another one's name."""
    known = {each for file in programs for each in _settings_of_class(file)}
    others = {each for _, each in _settings_of(log) if each not in known}
    return any({*name.split("_")} & {*each.split("_")} for each in others)


def _settings_of(log: LogRecord) -> list[tuple[int, str]]:
    try:
        return [*_listed_settings(read_text(log.path, log.file).text.split("\n"))] if log.path is not None else []
    except ClaimError:
        return []


def _copies(folders: Sequence[Path], known: Container[Path]) -> list[Path]:
    """Scripts that lie in a record as text: train_gpt.py.txt."""
    found = [each for folder in folders if folder.is_dir() for each in sorted(folder.glob("*.py.txt"))[:_MOST_CODE]]
    return [each for each in found if each.is_file() and not each.is_symlink() and each.resolve() not in known]


def _signs(
    log: LogRecord | None, line: ScoreLine, programs: Sequence[Path], texts: Sequence[str], words: set[str]
) -> list[str]:
    """What tells in a log that none of some programs wrote it; nothing where it holds one, or cannot be read."""
    from bpb_harness.auditing.script import stated_code_sizes  # deferred: most records come without a script

    if log is None or log.path is None or log.holds_script or kind_by_name(log.path) != "log":
        return []
    try:
        text = read_text(log.path, log.file).text
        settings = [*_listed_settings(text.split("\n"))]
        sizes = [*_by_size(text, programs)]
        found = [*_by_settings(log, settings, words), *(_by_lack(settings, programs) if sizes else ()), *sizes]
        # The size of the very script settles it: nothing of what it prints need be gone through.
        of_line = [] if not found and stated_code_sizes(text) else [*_by_line(line, text, texts)]
        return [*of_line, *found, *_by_labels(log, text, texts, words)]
    except (ClaimError, OSError):
        return []


def _by_line(line: ScoreLine, text: str, texts: Sequence[str]) -> Iterator[str]:
    from bpb_harness.auditing.script import Printable  # deferred, as above

    printable = Printable(texts)
    number = line.bpb.source.line
    lines = text.split("\n")
    if number is None or number > len(lines) or not printable.is_known or printable.has_trainer:
        return
    printed = figure_line(lines[number - 1], number)
    if (
        printed is None
        or printable.holds(printed)
        or any(each.isalpha() and not each.isascii() for each in printed.text)
    ):
        return
    shown = printed.text if len(printed.text) <= _LONGEST_SHOWN else f"{printed.text[:_LONGEST_SHOWN]}.."
    yield f"the line of the score, `{shown}` ({line.bpb.source}), is none that any of them can print"


def _by_labels(log: LogRecord, text: str, texts: Sequence[str], words: set[str]) -> Iterator[str]:
    """Lines that begin with a label of several words that stands in no program: ``resume_pack: loading it``."""
    from bpb_harness.auditing.script import Printable  # deferred, as above

    found: dict[str, list[tuple[int, str]]] = {}
    for number, line in enumerate(text.split("\n"), 1) if "_" in text else ():
        begun = _LABEL.match(line) if ":" in line else None
        if begun is not None and begun[1] not in words and begun[1].upper() not in words and line.isascii():
            found.setdefault(begun[1], []).append((number, " ".join(line.split())))
    several = {label: lines for label, lines in found.items() if len(lines) >= _FEWEST_OF_A_LABEL}
    printable = Printable(texts) if several else None
    if printable is None or not printable.is_known or printable.has_trainer:
        return
    for label, lines in several.items():
        strange = [row for row in lines[:_MOST_OF_A_LABEL] if not printable.holds(FigureLine(*row, len(row[1])))]
        if strange and not any(_builds(text, label) for text in texts):
            number, line = strange[0]
            shown = line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}.."
            more = len(lines) - 1
            yield (
                f"`{shown}` ({log.file}:{number}) and {more} more line{'s' if more > 1 else ''} begin with `{label}:`, "
                "which is in none of them"
            )
            return


def _builds(text: str, label: str) -> bool:
    """Whether a program has a text that begins with something of its own, and could be a label: ``f"{name}: .."``."""
    return any(label.startswith(found["head"]) for found in _BUILT.finditer(text))


_BUILT = re.compile(
    r"""[fF]["']{1,3}(?P<head>[a-z0-9_]{0,60})\{[^{}\n]{1,80}\}[a-z0-9_]{0,60}(?:\{[^{}\n]{1,80}\})?:"""
)
_LABEL = re.compile(
    r"(?!(?:torch|nccl|cuda|nvidia|nvrtc|wandb|slurm|modal|pip|hf|dist|gloo|aten|inductor|triton)_)"
    r"([a-z]{2,20}(?:_[a-z0-9]{2,20}){1,4}):\s?(?=\S+\s+\S)"
)
_FEWEST_OF_A_LABEL, _MOST_OF_A_LABEL = 2, 20


def _by_settings(log: LogRecord, settings: Sequence[tuple[int, str]], words: set[str]) -> Iterator[str]:
    unknown = [(number, name) for number, name in settings if name not in words and name.upper() not in words]
    if unknown and len(settings) >= _FEWEST_LISTED and len(unknown) <= (1.0 - _KNOWN) * len(settings):
        shown = [f"`{name}` ({log.file}:{number})" for number, name in unknown[:_MAX_SHOWN]]
        more = len(unknown) - len(shown)
        shown += [f"{more} more"] if more else []
        yield f"of the settings that it lists, {listed(shown)} {_is(unknown)} in none"


def _lacking(settings: Sequence[tuple[int, str]], programs: Sequence[Path]) -> list[tuple[Path, dict[str, int]]]:
    """Settings of a script that lists all of its class, which the list in a log lacks; of each script that has one."""
    listed_ones = {name for _, name in settings}
    lacking: list[tuple[Path, dict[str, int]]] = []
    for file in programs:
        held = _settings_of_class(file)
        missing = {name: line for name, line in held.items() if name not in listed_ones}
        if len(held) >= _FEWEST_LISTED:
            if not 0 < len(missing) <= (1.0 - _KNOWN) * len(held):
                return []
            lacking.append((file, missing))
    return lacking


def _by_lack(settings: Sequence[tuple[int, str]], programs: Sequence[Path]) -> Iterator[str]:
    lacking = _lacking(settings, programs)
    if lacking:
        file, missing = lacking[0]
        shown = [f"`{name}` ({file.name}:{line})" for name, line in missing.items()][:_MAX_SHOWN]
        more = len(missing) - len(shown)
        shown += [f"{more} more"] if more else []
        yield f"its list of settings lacks {listed(shown)}, which the script lists with the others"


def _settings_of_class(file: Path) -> dict[str, int]:
    """The settings of the largest class of a script that lists its own, with their lines; none of one that does not."""
    from bpb_harness.auditing.script import decode_source  # deferred, as above

    text = decode_source(file).text
    if file.suffix != ".py" or not _LISTS_ITS_OWN.search(text) or _LEAVES_OUT.search(text):
        return {}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    classes = [_assigned(node) for node in tree.body if isinstance(node, ast.ClassDef)]
    return max(classes, key=len, default={})


def _assigned(held: ast.ClassDef) -> dict[str, int]:
    found: dict[str, int] = {}
    for statement in held.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        for target in targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            found |= {each.id: each.lineno for each in names if isinstance(each, ast.Name) and each.id[:1] != "_"}
    return found


_OFF = frozenset({"0", "0.0", "False", "false", "off", ""})
_LISTS_ITS_OWN = re.compile(r"__dict__|\bvars\(|\bdir\(")
# A list of some of them: `if name not in HIDDEN`.
_LEAVES_OUT = re.compile(
    r"(?:__dict__|\bvars\(|\bdir\()[^\n]{0,200}(?:\n[^\n]{0,200}){0,2}?"
    r"(?:\bnot in\b|\bin [({\[]|endswith\(|isinstance\(|[!=]=)"
)


def _is(found: Sequence[object]) -> str:
    return "is" if len(found) == 1 else "are"


def _listed_settings(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The settings that a log lists below a heading, each with its line."""
    head = next((number for number, line in enumerate(lines) if _HEAD.match(line[:60])), None)
    if head is None:
        return
    margin: str | None = None
    for number, line in enumerate(lines[head + 1 : head + 1 + _MOST_LISTED], head + 2):
        found = _LISTED.match(line)
        if found is None or margin not in (None, found[1]):
            return
        margin = found[1]
        yield number, found[2]


def _by_size(text: str, programs: Sequence[Path]) -> Iterator[str]:
    from bpb_harness.auditing.script import foreign_code_size  # deferred, as above

    stated = foreign_code_size(text, programs)
    if stated is None:
        return
    sizes = [file.stat().st_size for file in programs if file.suffix == ".py"]
    every = [file.stat().st_size for file in programs]
    if not sizes or len(sizes) > _MOST_FILES or len(every) > _MOST_CODE:
        return
    if stated in (sum(some) for count in range(1, len(every) + 1) for some in combinations(every, count)):
        return
    nearest = min(sizes, key=lambda size: abs(size - stated))
    off = stated - nearest
    if abs(off) <= _FEW_BYTES:
        more = "more" if off > 0 else "fewer"
        yield f"it states {stated:,} bytes of code, {abs(off)} {more} than {_NEARLY} {nearest:,}"
        return
    packed = ", unless that was packed" if stated < _PACKED * nearest else ""
    yield f"it states {stated:,} bytes of code, where the nearest script has {nearest:,}{packed}"
