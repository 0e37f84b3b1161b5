"""All script checks, and how a hit becomes a finding.

A pattern refutes only where it lies on the path of *every* score that the program reports: a script may print an
estimate beside the number that it claims. On the path of some of them it is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.checks.byte_constants import check_byte_constants
from bpb_harness.auditing.script.checks.byte_tables import check_byte_tables
from bpb_harness.auditing.script.checks.changed_text import check_changed_text
from bpb_harness.auditing.script.checks.constant_totals import check_constant_totals
from bpb_harness.auditing.script.checks.coverage import check_coverage
from bpb_harness.auditing.script.checks.hashed_counts import check_hashed_counts
from bpb_harness.auditing.script.checks.hints_by_class import check_hints_by_class
from bpb_harness.auditing.script.checks.joint_prices import check_joint_prices
from bpb_harness.auditing.script.checks.last_pass import check_last_pass
from bpb_harness.auditing.script.checks.learns_first import check_calibrates, check_learns_first
from bpb_harness.auditing.script.checks.log_lacks import check_log_lacks
from bpb_harness.auditing.script.checks.looks_ahead import check_looks_ahead
from bpb_harness.auditing.script.checks.mask_rates import check_mask_rates
from bpb_harness.auditing.script.checks.mixed_prices import check_choice, check_experts
from bpb_harness.auditing.script.checks.own_counters import check_own_counters
from bpb_harness.auditing.script.checks.own_packed import check_own_packed
from bpb_harness.auditing.script.checks.own_shares import check_own_shares
from bpb_harness.auditing.script.checks.precision import check_precision
from bpb_harness.auditing.script.checks.reads_all import check_reads_all
from bpb_harness.auditing.script.checks.rescaled_losses import check_rescaled_losses
from bpb_harness.auditing.script.checks.rounded_counts import check_rounded_counts
from bpb_harness.auditing.script.checks.scaled_bits import check_scaled_bits
from bpb_harness.auditing.script.checks.scored_again import check_scored_again
from bpb_harness.auditing.script.checks.scored_files import check_scored_files
from bpb_harness.auditing.script.checks.searched_weights import check_searched_weights
from bpb_harness.auditing.script.checks.searches import check_searches
from bpb_harness.auditing.script.checks.sees_targets import check_sees_targets
from bpb_harness.auditing.script.checks.special_tokens import check_special_tokens
from bpb_harness.auditing.script.checks.two_passes import check_two_passes
from bpb_harness.auditing.script.checks.unpacked_weights import check_unpacked_weights
from bpb_harness.auditing.script.checks.unpaid_tokens import check_unpaid_tokens
from bpb_harness.auditing.script.checks.weighed_losses import check_weighed_losses
from bpb_harness.auditing.script.checks.weights import check_weights
from bpb_harness.auditing.script.context import ScriptContext
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.switches_in_logs import against_the_logs
from bpb_harness.auditing.script.followed import SCORE, check_followed, not_followed
from bpb_harness.auditing.script.frontend.index import Scripts
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.frontend.source import SourceText, decode_source, extract_embedded
from bpb_harness.auditing.script.frontend.trees import Lease, parse
from bpb_harness.auditing.script.running.run_byte_table import check_table_by_running
from bpb_harness.auditing.script.running.run_scoring import check_scores_by_running
from bpb_harness.auditing.script.running.weighing import weigh
from bpb_harness.claim.packed_file import without_packing
from bpb_harness.claim.settings import Contested, Logged
from bpb_harness.errors import HarnessError
from bpb_harness.findings import UNPACKED, Finding, Json, Severity, first_of, listed
from bpb_harness.units import counted

# Each check, and what it is about: for the report of a script that could not be followed to its end.
CHECKS: dict[Callable[[Analysis], Iterator[Hit]], str] = {
    check_byte_constants: "constants in place of a byte count",
    check_scaled_bits: "constants that scale the loss or the bits",
    check_rescaled_losses: "constants that scale losses of a part of the tokens",
    check_unpaid_tokens: "tokens that the loss leaves out",
    check_weighed_losses: "weights of tokens in the loss",
    check_scored_files: "the files that are scored",
    check_constant_totals: "constants in place of what was scored",
    check_byte_tables: "the byte count",
    check_own_counters: "byte counts of the claimed score's own",
    check_weights: "the weights of the masked tokens",
    check_mask_rates: "the mask rates",
    check_special_tokens: "tokens that are never masked",
    check_looks_ahead: "what a place of a window is told of all of it",
    check_reads_all: "what learnt vectors tell a place of a window",
    check_sees_targets: "attention over the whole window",
    check_two_passes: "two passes that show each other's tokens",
    check_joint_prices: "joint probabilities of several tokens",
    check_hashed_counts: "n-gram counts as probabilities",
    check_experts: "prices that are mixed and depend on no token",
    check_choice: "prices that are chosen by the token that came",
    check_hints_by_class: "guesses that their own token lets through",
    check_last_pass: "training on the text before it is scored",
    check_rounded_counts: "rounded numbers of masked tokens",
    check_precision: "the precision of the sums",
    check_coverage: "how much of the text is scored",
    check_own_shares: "parts of the text that processes score each for itself",
    check_changed_text: "changes of the text before it is made tokens",
    check_learns_first: "whole passes of training on the text before it is scored",
    check_searches: "settings that are chosen by the scored text",
    check_searched_weights: "weights that are changed by the scored text behind their packing",
    check_calibrates: "statistics of the text that become weights before it is scored",
    check_scored_again: "passes that score the text again behind training on it",
    check_log_lacks: "lines that the log lacks",
    check_unpacked_weights: "weights that are scored before they are packed",
    check_own_packed: "networks that processes pack each for itself",
}
MAX_PROGRAM = 2**20  # characters of scripts that are read as one program: some hundred MB of trees
_MAX_NAMES = 4
_LOG_SUFFIXES = (".log", ".txt", ".out")


@dataclass
class ReadOnce:
    """What checks of the same files share, with one setting or another: they are read, and walked through, once.

    Attributes:
        read: the scripts, what was odd about them, and the names of those that were left out; None until it is known.
        against: settings that the claim's own logs show to have been left alone; None until that is known.
    """

    read: tuple[Sequence[Script], list[Finding], list[str]] | None = None
    against: frozenset[str] | None = None


def check_scripts(
    files: Sequence[Path],
    context: ScriptContext,
    *,
    tokenizer: Path | None = None,
    allow_code: bool = False,
    shared: ReadOnce | None = None,
) -> list[Finding]:
    """Check the scripts of one submission.

    Args:
        files: Python files of the submission, read as one program; logs are searched for an embedded script.
        context: what the record says.
        tokenizer: a SentencePiece model, for `allow_code`.
        allow_code: run the byte-table function and the scoring functions, alone and in limited processes, on the
            tokenizer. Without it nothing of the scripts is executed.
        shared: with other checks of these files whose contexts differ in `settings` and `flags` alone.

    Returns:
        Findings, the refuting ones first. Files that cannot be read or parsed are findings, never exceptions.
    """
    runs = allow_code and tokenizer is not None
    shared = ReadOnce() if shared is None or runs else shared  # what is run is changed for that
    if shared.read is None:
        shared.read = _read(files, None if runs else Lease(), context.score_lines)
    scripts, odd, left_out = shared.read
    findings = [*odd]
    if left_out:
        findings.append(_left_out(left_out))
    if scripts:
        checked, on_path = _checked(scripts, context, shared, is_whole=not left_out, runs=runs, tells_what_is_open=True)
        findings.extend(checked)
        if runs and tokenizer is not None:
            behaviour = check_scores_by_running(
                scripts, tokenizer, on_path, context.rules.pack, context.settings, context.flags
            )
            findings = weigh(findings, behaviour)
            findings.extend(check_table_by_running([*scripts], tokenizer, on_path))
    elif findings:  # there are scripts, and none of them could be read
        findings.append(not_followed([SCORE], ", ".join(map(str, files))))
    order = list(Severity)
    return sorted(findings, key=lambda found: order.index(found.severity))


def check_source(text: str, context: ScriptContext | None = None, name: str = "<script>") -> list[Finding]:
    """Check one script that is already text; nothing of it is executed."""
    scripts, findings = _parsed(name, SourceText(text))
    return findings + (_checked(scripts, context or ScriptContext(), ReadOnce())[0] if scripts else [])


def _read(
    files: Sequence[Path], lease: Lease | None, score_lines: Mapping[Path, int]
) -> tuple[Sequence[Script], list[Finding], list[str]]:
    """The parsed scripts, what was odd about them, and the names of those that the bound on memory leaves out."""
    scripts: list[Script] = []
    findings: list[Finding] = []
    left_out: list[str] = []
    size = 0
    for file in files:
        try:
            source = decode_source(file)
            if without_packing(file.name).lower().endswith(_LOG_SUFFIXES):
                found = extract_embedded(source.text, score_lines.get(file))
                if found is None:
                    continue
                source = found
            if scripts and size + len(source.text) > MAX_PROGRAM:
                left_out.append(str(file))
                continue
            size += len(source.text)
            parsed, problems = _parsed(str(file), source, lease)
        except HarnessError as error:
            findings.append(codes.NOT_READ.finding(str(error), file=str(file)))
            continue
        except Exception as error:
            findings.append(_not_understood(str(file), "the script could not be read", error))
            continue
        scripts.extend(parsed)
        findings.extend(problems)
    return scripts if lease is None else Scripts(scripts), findings, left_out


def _left_out(names: Sequence[str]) -> Finding:
    """Scripts beyond the bound on memory: a submission of one run has none, a folder of a hundred experiments may."""
    shown = first_of(names, _MAX_NAMES)
    message = (
        f"{shown}: not read, for the scripts of the folder hold more than {MAX_PROGRAM:,} characters together, and the "
        "others come first"
    )
    return codes.NOT_READ.finding(message, num_files=len(names))


def _parsed(name: str, source: SourceText, lease: Lease | None = None) -> tuple[list[Script], list[Finding]]:
    findings = [codes.NOT_READ.finding(f"{name}: {problem}", file=name) for problem in source.problems]
    if source.layers:
        was = "was" if source.layers == 1 else "were"
        message = f"{name} unpacks itself; {counted(source.layers, 'layer')} {was} decoded as data"
        findings.append(codes.UNWRAPPED.finding(message, file=name, layers=source.layers))
    tree = parse(source.text, lease)
    if tree is None:
        findings.append(codes.NOT_READ.finding(f"{name} is no Python that can be parsed", file=name))
        return [], findings
    return [Script(name, source.text, tree, source.layers, lease)], findings


def _checked(
    scripts: Sequence[Script],
    context: ScriptContext,
    shared: ReadOnce,
    *,
    is_whole: bool = True,
    runs: bool = False,
    tells_what_is_open: bool = False,
) -> tuple[list[Finding], set[str]]:
    """The findings and, where functions are to be run, the names of those that the reported scores come from."""
    names = ", ".join(script.path for script in scripts)
    try:
        context = _as_the_logs_show(scripts, context, shared)
        analysis = Analysis(Program(scripts, context.settings, context.flags), context)
        informative = analysis.informative
        # The path is long, and few checks need it; what they leave of the work may not do for it.
        on_path = {frame.scope.name for _, frame in analysis.path} if runs else set()
    except Exception as error:  # a script is hostile input: what cannot be taken apart is not understood
        return [_not_understood(names, "the scripts could not be analysed", error), not_followed([SCORE], names)], set()
    findings: list[Finding] = []
    stumbled: list[Finding] = []
    partial: list[str] = []  # what is looked for in vain, where what would show it may lie beyond the limit
    for check, about in CHECKS.items():
        try:
            # All hits of a check or none: half a check may have missed what speaks for the script.
            findings.extend(_weighed(analysis, list(check(analysis)), informative))
        except Exception as error:
            stumbled.append(_not_understood(names, f"{check.__name__} could not be carried out", error))
        if analysis.program.work_left <= 0:
            partial.append(about)
    try:
        stumbled.extend(check_followed(analysis, findings, names) if tells_what_is_open else ())
    except Exception as error:
        stumbled.append(_not_understood(names, "what was followed is not known", error))
    if partial:
        stumbled.append(_read_in_part(names, [about for about in CHECKS.values() if about not in partial], partial))
    if analysis.program.taken:
        stumbled.append(_read_with(analysis.program.taken))
    if analysis.program.work_left <= 0 or not is_whole:
        findings = [_doubted(finding) for finding in findings]
    return findings + stumbled, on_path


def _as_the_logs_show(scripts: Sequence[Script], context: ScriptContext, shared: ReadOnce) -> ScriptContext:
    """What commands set but for what the claim's own logs show to have been left alone: it is of another run."""
    if shared.against is None:
        shared.against = against_the_logs(scripts, context.uncontested, context.logged)
    against = shared.against
    settings = {name: context.settings[name] for name in context.settings if name not in against} if against else {}
    return replace(context, settings=settings) if against else context


def _read_in_part(names: str, whole: Sequence[str], partial: Sequence[str]) -> Finding:
    """What could be followed to its end before the limit on the analysis was reached, and what could not."""
    followed = f" Looked for to the end: {', '.join(whole)}." if whole else ""
    message = (
        f"{names} is too long to be followed to its end.{followed} Not looked for to the end, so that a fault may have "
        f"been overlooked: {', '.join(partial)}"
    )
    return codes.READ_IN_PART.finding(message, file=names, whole=[*whole], partial=[*partial])


def _read_with(taken: Mapping[str, str]) -> Finding:
    """What the README's commands set, which nothing but the README shows to have been set, or a log otherwise."""
    shown, contested, logged = list[str](), list[str](), list[str]()
    for name, value in sorted(taken.items()):
        setting = f"`{name} {value}".rstrip() + "`" if name.startswith("--") else f"`{name}={value}`"
        if isinstance(value, Logged):
            logged.append(f"{setting} by {value.place}, where commands in the README give {value.instead}")
        else:
            (contested if isinstance(value, Contested) else shown).append(setting)
    parts = [
        "The script was read with what commands in the README set, not with its own defaults, "
        f"{first_of(shown, _MAX_NAMES)} among that; what holds with the defaults alone was not looked for"
    ][: len(shown)]
    parts += [
        f"Commands in the README give {first_of(contested, _MAX_NAMES)}, and which of them made the score was "
        "not established: what hangs on that was left as unknown"
    ][: len(contested)]
    parts += [f"The claim's own log tells other settings than the README, and counts: {first_of(logged, _MAX_NAMES)}"][
        : len(logged)
    ]
    message = ". ".join(parts)
    return codes.WITH_SETTINGS.finding(message, settings=dict(sorted(taken.items())))


def _not_understood(names: str, what: str, error: Exception) -> Finding:
    why = "nested too deeply" if isinstance(error, RecursionError) else type(error).__name__
    return codes.NOT_READ.finding(f"{names}: {what} ({why}): not understood, and not judged", file=names)


def _doubted(finding: Finding) -> Finding:
    """A finding of a program that was not looked at whole: it may hold what takes the finding back."""
    if finding.severity is not Severity.REFUTES:
        return finding
    message = f"{finding.message} (not all of the script was looked at)"
    return replace(finding, severity=Severity.WARNS, message=message, factor=None)


def _weighed(analysis: Analysis, hits: list[Hit], informative: set[int]) -> list[Finding]:
    """One finding per code and line, and one for lines of which the same is said.

    They refute only where every reported score shows the code.
    """
    sinks: dict[str, set[int]] = {}
    for hit in hits:
        if hit.sink is not None:
            sinks.setdefault(hit.rule.code, set()).add(hit.sink)
    weighed: dict[tuple[str, str, int], tuple[Hit, Severity, str | None]] = {}
    for hit in hits:
        severity = hit.severity or hit.rule.severity
        others, beside = _scores_without(analysis, informative, sinks.get(hit.rule.code, set())), None
        if severity is Severity.REFUTES and hit.sink is not None and others:
            severity = Severity.WARNS
            beside = analysis.sinks[min(others)].label.strip() or "another"
        key = (hit.rule.code, analysis.program.script(hit.node).path, _line_of(hit))
        known = weighed.get(key)
        if known is None or (known[1] is not Severity.REFUTES and severity is Severity.REFUTES):
            weighed[key] = hit, severity, beside
    alike: dict[tuple[str, str, str, Severity, str | None], list[Hit]] = {}
    for (code, path, _), (hit, severity, beside) in weighed.items():
        alike.setdefault((code, path, hit.message, severity, beside), []).append(hit)
    return [_finding_of(analysis, same, severity, beside) for (*_, severity, beside), same in alike.items()]


def _scores_without(analysis: Analysis, informative: set[int], with_it: set[int]) -> set[int]:
    """The reported scores without a fault: of those that the claim's lines are printed by, where a label tells."""
    claimed = analysis.claimed & informative
    return (claimed or informative) - with_it


def _line_of(hit: Hit) -> int:
    return int(getattr(hit.node, "lineno", 0))


def _finding_of(analysis: Analysis, same: Sequence[Hit], severity: Severity, beside: str | None) -> Finding:
    """The finding of hits of which the same is said, with all of their lines; `beside`: the score that does without."""
    hit, lines = same[0], [_line_of(each) for each in same]
    script = analysis.program.script(hit.node)
    place = f"{script.path}:{listed(map(str, lines))}{UNPACKED if script.layers else ''}"
    message = _at(hit.message, place) if lines[0] else hit.message
    evidence: dict[str, Json] = {
        "file": script.path,
        "line": lines[0],
        "source": script.line(hit.node),
        **({"lines": [*lines]} if len(lines) > 1 else {}),
        **({"is_unpacked": True} if script.layers else {}),
        **hit.evidence,
        "quoted": _quoted(analysis, same),
    }
    if beside is not None:
        evidence["another_score"] = beside
        message += f" Another reported score ({beside}) does without it, and the script does not say which is claimed."
    return hit.rule.finding(message, factor=hit.factor, severity=severity, facts=evidence)


def _quoted(analysis: Analysis, same: Sequence[Hit]) -> list[Json]:
    """The lines of the scripts that a report quotes, each once, in their order."""
    lines: dict[tuple[str, int], str] = {}
    for node in (node for hit in same for node in hit.quoted or (hit.node,)):
        script, first = analysis.program.script(node), int(getattr(node, "lineno", 0))
        # Of what has a body, such as a loop, the line that it begins with.
        last = first if hasattr(node, "body") else int(getattr(node, "end_lineno", None) or first)
        for number in range(first, min(last, first + _MAX_OF_ONE - 1) + 1):
            lines[script.path, number] = script.line_at(number)
    return [{"file": path, "line": number, "code": code} for (path, number), code in sorted(lines.items()) if code]


_MAX_OF_ONE = 3  # lines of one expression


def _at(message: str, place: str) -> str:
    """A message with its place, before the full stop."""
    return f"{message[:-1]} ({place})." if message.endswith(".") else f"{message} ({place})"
