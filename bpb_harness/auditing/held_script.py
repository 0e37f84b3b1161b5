"""The script that a log holds, held against those that lie beside it: which of them wrote the log.

Many trainers print their own source first. Where what lies beside the log is another script, by its syntax tree and not
by comments or layout, the one in the log is what made the score: it is read too, and remarks are on that one.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bpb_harness.claim import LogRecord, ScoreLine
from bpb_harness.claim.text_file import read_text
from bpb_harness.errors import ClaimError
from bpb_harness.findings import listed
from bpb_harness.units import counted

_MOST_CHARACTERS = 2**20
_LEAST = 1_000  # characters of a script that stands in a log as it is
_ALIKE = 0.5  # of the names in a script; with fewer it is no other version of the one in the log
_Part = tuple[str, str, int]  # name, tree, line
_Known = dict[tuple[str, int, int, int], str]  # trees by what is written


@dataclass(frozen=True)
class HeldScript:
    """The script in a log.

    Attributes:
        log: the log.
        same: a script beside it that is the same one, up to comments and layout; None where there is none.
        nearest: the script beside it that has most of its parts; None where none has half of their names.
        differing: functions, classes and other statements that differ, each with its line in the log and in that
            script, where it stands in them.
        num_parts: how many the script in the log has.
        others: scripts beside it that it imports, and that are no other version of it.
        num_imports: how many of its imports the nearest one does not have.
        reads_env: whether it alone takes settings from a .env file, and none lies beside it.
    """

    log: LogRecord
    same: Path | None
    nearest: Path | None
    differing: tuple[tuple[str, int | None, int | None], ...]
    num_parts: int
    others: tuple[Path, ...]
    num_imports: int = 0
    reads_env: bool = False

    @property
    def scripts(self) -> tuple[Path, ...]:
        """What to read as the script that ran: the log, and what that script imports; nothing where it lies beside."""
        return (self.log.path, *self.others) if self.same is None and self.log.path is not None else ()


def held_script(logs: Sequence[LogRecord], lines: Sequence[ScoreLine], scripts: Sequence[Path]) -> HeldScript | None:
    """The script that each log of a claim holds; None where one holds none, or what lies beside cannot be read.

    A log without its script gives way to another of the same run that holds it.

    Args:
        logs: of the record.
        lines: that carry the claim.
        scripts: beside the logs.
    """
    files = {line.bpb.source.file for line in lines}
    own = [log for log in logs if log.file in files]
    if not own or len(own) < len(files) or not scripts:
        return None
    own = [log if log.holds_script else _same_with_script(log, logs, lines) or log for log in own]
    if not all(log.holds_script for log in own):
        return None
    found = [_held(log, scripts, score_line(log, lines)) for log in {log.code_digest: log for log in own}.values()]
    first = found[0]
    is_one_answer = len({each is not None and each.same is not None for each in found}) == 1
    return first if is_one_answer and None not in found else None


def _same_with_script(log: LogRecord, logs: Sequence[LogRecord], lines: Sequence[ScoreLine]) -> LogRecord | None:
    """Another log that prints the claimed lines of a log digit by digit, states the same code size, and holds one."""
    own = [_digits(line) for line in lines if line.bpb.source.file == log.file]
    alike = (
        other
        for other in logs
        if other.holds_script and other is not log and set(own) <= {_digits(line) for line in other.lines}
    )
    is_told = all((line.bpb.decimals or 0) >= _TELLING for line in lines)
    return next((other for other in alike if _states_the_same(log, other)), None) if own and is_told else None


_TELLING = 6  # decimals of a score that no other run has


def _digits(line: ScoreLine) -> tuple[str, float, float | None]:
    return line.label, line.bpb.value, line.nats_per_token.value if line.nats_per_token is not None else None


def _states_the_same(log: LogRecord, other: LogRecord) -> bool:
    """Whether two logs state one size of the code, or the first states none."""
    from bpb_harness.auditing.script import stated_code_sizes  # deferred, as below

    try:
        texts = [read_text(each.path, each.file).text if each.path is not None else "" for each in (log, other)]
    except ClaimError:
        return False
    sizes = [set(stated_code_sizes(text)) for text in texts]
    return not sizes[0] or not sizes[0].isdisjoint(sizes[1])


def score_line(log: LogRecord, lines: Sequence[ScoreLine]) -> int | None:
    """Where a log prints the last of the lines that carry a claim, or one of another log digit by digit."""
    claimed = {_digits(line) for line in lines}
    found = [line.bpb.source.line for line in log.lines if line in lines or _digits(line) in claimed]
    return max((number for number in found if number is not None), default=None)


def differs(held: HeldScript) -> str:
    """How the script in the log and the one beside it differ, in words."""
    if held.nearest is None:
        return "no script beside it is a version of that"
    named = {name: (line, there) for name, line, there in reversed(held.differing) if name}
    rest = sum(not name for name, _, _ in held.differing)
    shown = [
        f"`{name}` ({held.log.file}:{line}, {f'{held.nearest.name}:{there}' if there else 'not there'})"
        for name, (line, there) in [*named.items()][::-1][:_MAX_SHOWN]
    ]
    more = len(named) - len(shown)
    shown += [f"{more} more"] if more else []
    outside = [counted(rest, "statement")] if rest else []
    outside += [counted(held.num_imports, "import")] if held.num_imports else []
    shown += [f"{' and '.join(outside)} outside of functions and classes"] if outside else []
    env = "; the script in the log takes settings from a .env file, and the record holds none" if held.reads_env else ""
    return f"{held.nearest.name} is another, which differs in {listed(shown)}{env}"


_MAX_SHOWN = 3


def script_that_ran(
    logs: Sequence[LogRecord], scripts: Sequence[Path], lines: Sequence[ScoreLine] = ()
) -> LogRecord | None:
    """A log of a claim that holds the script of all its logs and states its size, where none beside has its text."""
    from bpb_harness.auditing.script import decode_source  # deferred, as below

    holds_one = len({log.code_digest for log in logs}) == 1 and all(log.holds_script for log in logs)
    if not scripts or not holds_one:
        return None
    try:
        held = script_of_its_size(logs[0], lines)
        is_another = held is not None and all(decode_source(each).text.strip() != held.strip() for each in scripts)
    except ClaimError:
        return None
    return logs[0] if is_another else None


def script_of_its_size(log: LogRecord, lines: Sequence[ScoreLine] = ()) -> str | None:
    """The script that a log holds, the last before the score, if the log states its size: that one wrote it.

    Its lines keep the numbers that they have in the log.

    Raises:
        ClaimError: if the log cannot be read.
    """
    from bpb_harness.auditing.script import extract_embedded, stated_code_sizes  # deferred, as below

    if log.path is None or not log.holds_script:
        return None
    text = read_text(log.path, log.path.name).text
    held = extract_embedded(text, score_line(log, lines))
    if held is None or held.layers:
        return None
    size = len(held.text.strip("\n").encode())
    is_its_own = not {size + breaks for breaks in range(_MOST_BREAKS + 1)}.isdisjoint(stated_code_sizes(text))
    return held.text if is_its_own else None


_MOST_BREAKS = 2  # that a script may end with


def _held(log: LogRecord, scripts: Sequence[Path], before: int | None) -> HeldScript | None:
    from bpb_harness.auditing.script import decode_source, extract_embedded  # deferred: most logs hold no script

    try:
        text = read_text(log.path, log.file).text if log.path is not None else ""
        plain = text.replace("\r\n", "\n")
        for script in scripts:  # as in most cases: nothing has to be parsed
            written = read_text(script, script.name).text.replace("\r\n", "\n").strip()
            if len(written) >= _LEAST and written in plain and _is_last(written, plain, before):
                return HeldScript(log, script, script, (), 0, ())
        source = extract_embedded(text, before) if len(text) <= 8 * _MOST_CHARACTERS else None
        beside = [(script, decode_source(script)) for script in scripts]
    except ClaimError:
        return None
    if source is None or source.problems or any(other.problems for _, other in beside):
        return None
    known: _Known = {}
    own = _parts(source.text, known)
    trees = [(script, _parts(other.text, known)) for script, other in beside]
    if not own or any(parts is None for _, parts in trees):
        return None
    imported = {name for found in _IMPORTED.finditer(source.text) for name in re.findall(r"\w+", found[0])}
    held = _compared(log, own, [(script, parts or []) for script, parts in trees], imported)
    if held.same is not None or held.nearest is None:
        return held
    there = next(other.text for script, other in beside if script == held.nearest)
    return replace(
        held,
        num_imports=sum((_imports(source.text) - _imports(there)).values()),
        reads_env=_reads_env(source.text) and not _reads_env(there) and not (held.nearest.parent / ".env").exists(),
    )


def _imports(text: str) -> Counter[str]:
    """What a script imports outside of functions and classes, by what is written."""
    return Counter(ast.dump(each) for each in ast.parse(text).body if isinstance(each, ast.Import | ast.ImportFrom))


def _reads_env(text: str) -> bool:
    """Whether a script takes settings from a file outside of functions and classes: load_dotenv()."""
    calls = (each.value for each in ast.parse(text).body if isinstance(each, ast.Expr))
    return any(isinstance(each, ast.Call) and ast.unparse(each.func).endswith("load_dotenv") for each in calls)


def _is_last(written: str, log: str, before: int | None) -> bool:
    """Whether no other script stands in a log between one that it holds and a line."""
    from bpb_harness.auditing.script import extract_embedded  # deferred, as above

    if before is None:
        return True
    until = "\n".join(log.split("\n", before)[:before])
    at = until.rfind(written)
    return at >= 0 and extract_embedded(until[at + len(written) :]) is None


_IMPORTED = re.compile(r"^[ \t]*(?:import|from)[ \t][^\n]{1,300}", re.MULTILINE)


def _compared(
    log: LogRecord, own: list[_Part], beside: list[tuple[Path, list[_Part]]], imported: set[str]
) -> HeldScript:
    names = {name for name, _, _ in own}
    versions = [(script, parts) for script, parts in beside if _is_version(names, parts)]
    others = tuple(script for script, parts in beside if script.stem in imported and not _is_version(names, parts))
    best: tuple[Path, list[_Part], list[_Part]] | None = None
    for script, parts in versions:
        left = _without(own, parts)
        if not left:  # all that the log holds; where the log is cut, there is more of it in the script
            return HeldScript(log, script, script, (), len(own), others)
        if best is None or len(left) < len(best[2]):
            best = script, parts, left
    if best is None:
        return HeldScript(log, None, None, (), len(own), others)
    script, parts, left = best
    there = {name: line for name, _, line in reversed(_without(parts, own))}
    differing = [(name, line, there.get(name)) for name, _, line in left]
    return HeldScript(log, None, script, tuple(differing), len(own), others)


def _is_version(names: set[str], parts: list[_Part]) -> bool:
    other = {name for name, _, _ in parts}
    return len(names & other) >= _ALIKE * min(len(names), len(other))


def _without(parts: list[_Part], others: list[_Part]) -> list[_Part]:
    """The parts that are not among some others."""
    left = Counter(tree for _, tree, _ in others)
    found = []
    for part in parts:
        left[part[1]] -= 1
        if left[part[1]] < 0:
            found.append(part)
    return found


def _parts(text: str, known: _Known) -> list[_Part] | None:
    """The functions, classes and other statements of a script; None where it cannot be read.

    Args:
        text: the script.
        known: trees by what is written, which most parts of several scripts share.
    """
    if len(text) > _MOST_CHARACTERS:
        return None
    try:
        return [*_statements(ast.parse(text), text.split("\n") if "\r" not in text else None, known)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _statements(tree: ast.Module, lines: list[str] | None, known: _Known) -> Iterator[_Part]:
    """The parts of a tree, with the lines that it was parsed from; None where they are not counted at line feeds."""
    for statement in tree.body[1:] if _is_text(tree.body) else tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        is_named = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        key = None if lines is None else _written(statement, lines)
        dumped = known.get(key) if key is not None else None
        if dumped is None:
            _drop_texts(statement)
            dumped = ast.dump(statement)
            if key is not None:
                known[key] = dumped
        yield getattr(statement, "name", "") if is_named else "", dumped, statement.lineno


def _written(statement: ast.stmt, lines: Sequence[str]) -> tuple[str, int, int, int]:
    """All that a statement's tree hangs on: the lines that it is in, and where in them it begins and ends."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(each.lineno for each in decorators)])
    last, end = statement.end_lineno or statement.lineno, statement.end_col_offset or 0
    return "\n".join(lines[first - 1 : last]), statement.lineno - first, statement.col_offset, end


def _drop_texts(statement: ast.stmt) -> None:
    """Leave out the docstrings in a statement."""
    waiting: list[ast.AST] = [statement]
    for node in waiting:  # grows on the way
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and _is_text(node.body):
            node.body = node.body[1:]
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, name, ())


def _is_text(body: list[ast.stmt]) -> bool:
    """Whether a body begins with a docstring."""
    first = body[0] if body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
