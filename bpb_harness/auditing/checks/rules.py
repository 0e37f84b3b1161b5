"""BPB5xx: the contest's rules. They concern the entry, not the number, and never refute a score."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.network_alone import is_network_alone
from bpb_harness.auditing.checks.packed_code import PackedCode, is_said, with_packed_code
from bpb_harness.auditing.checks.packed_over_cap import check_packed_over_cap, own_runs
from bpb_harness.auditing.checks.several_packings import of_several_packings
from bpb_harness.auditing.checks.size_in_no_log import check_size_in_no_log
from bpb_harness.auditing.evidence import Evidence, LoggedLoss
from bpb_harness.auditing.said import text_of_log
from bpb_harness.claim import LogRecord, Printed, Source
from bpb_harness.claim.line_template import SECONDS, LineTemplate
from bpb_harness.findings import Finding, Severity
from bpb_harness.rules.pack import NATS_PER_TOKEN, GainRule
from bpb_harness.units import bits_to_nats


def check_rules(evidence: Evidence, baseline: Evidence | None) -> Iterator[Finding]:
    """Artifact size, time, runs, and with a baseline the rule of significance: as far as the pack has one."""
    yield from _remarks(evidence)
    yield from _artifact(evidence)
    if evidence.rules.pack.largest_artifact is not None:
        yield from check_size_in_no_log(evidence)
    yield from _time(evidence)
    yield from _runs(evidence)
    yield from _target(evidence)
    if baseline is not None and evidence.claim.score is not None:
        yield from _significance(evidence, baseline)


def _remarks(evidence: Evidence) -> Iterator[Finding]:
    pack = evidence.rules.pack
    for remark in pack.remarks:
        yield codes.RULES_REMARK.finding(remark, rules=pack.name)


def _with_code(evidence: Evidence, size: Printed) -> Printed:
    """The total that a log prints behind the packed network, where the stated size is that of the network alone.

    What code a log counts need not be what was submitted, packed: of sizes below the cap `_submitted` asks for more.
    """
    for log in evidence.claim_logs:
        packed = next((each.source.line for each in log.packed if each.value == size.value), None)
        if packed is None:
            continue
        behind = [each for each in log.artifact_bytes if 0 < (each.source.line or 0) - packed <= _MOST_BETWEEN]
        if behind and size.value < behind[0].value <= size.value + _MOST_CODE:
            return behind[0]
    return size


def _submitted(evidence: Evidence, size: Printed, cap: int) -> Printed:
    """The size with the code; of one below the cap only where all that the record says of code takes it over."""
    total = _with_code(evidence, size)
    if size.value > cap or total.value <= cap:
        return total if size.value > cap else size
    return total if is_said(evidence, total) or is_network_alone(evidence, size, cap) else size


_MOST_BETWEEN, _MOST_CODE = 3, 1_000_000  # lines from one size to the other; bytes of code


def _artifact(evidence: Evidence) -> Iterator[Finding]:
    cap = evidence.rules.pack.largest_artifact
    if cap is None:
        return
    stated = [_submitted(evidence, size, cap) for size in evidence.claim.artifact_bytes]
    sizes = stated or [*_sizes_in_logs(evidence)]
    if not sizes:
        yield _no_size(evidence, cap)
        return
    over = [size for size in dict.fromkeys(sizes) if size.value - size.half_unit > cap]
    if stated and (not over or len(evidence.claim_logs) > 1):
        yield from check_packed_over_cap(evidence, stated, cap)
    packed = {size: with_code for size in over if (with_code := with_packed_code(evidence, size)) is not None}
    within = [with_code for with_code in packed.values() if with_code.total <= cap]
    over = [size for size in over if size not in packed or packed[size].total > cap]
    if within:
        yield _of_packed_code(within[0], cap)
    aside = None if stated else of_several_packings(evidence, over, cap)
    if aside is not None:
        yield aside
    elif over:
        by_file: dict[str, list[str]] = {}
        for size in over[:4]:
            place = size.source.key or f"line {size.source.line}"
            if size in packed:
                place += f"; {packed[size].total:,} with {packed[size].script} as it is packed"
            by_file.setdefault(size.source.file, []).append(f"{size.value:,.0f} ({place})")
        listed = "; ".join(f"by {file} {', '.join(sizes)}" for file, sizes in by_file.items())
        message = f"the artifact is over the cap of {cap:,} bytes: {listed}{_of_the_network(evidence, stated, cap)}"
        yield codes.OVER_CAP.finding(message, cap=cap, sizes=[size.value for size in over])


def _of_the_network(evidence: Evidence, stated: Sequence[Printed], cap: int) -> str:
    """In words, a stated size that is the packed network's alone, where the total behind it stands in its place."""
    pairs = zip(evidence.claim.artifact_bytes, stated, strict=False)
    alone = next((size for size, shown in pairs if shown is not size and size.value <= cap), None)
    return "" if alone is None else f"; {alone.value:,.0f}, of {alone.source}, is the packed network without its code"


def _no_size(evidence: Evidence, cap: int) -> Finding:
    """No size of the whole artifact; of the packed network alone there may be one."""
    logs = evidence.claim_logs or evidence.claim.logs
    packed = min((size for log in logs for size in log.packed[-1:]), key=lambda size: size.value, default=None)
    what, alone = "no artifact size", ""
    if packed is not None:
        what = "no size of the whole artifact, with its code,"
        alone = f"; a network is packed into {packed.value:,.0f} bytes ({packed.source})"
    message = f"{what} is recognised in what was read{alone}; the cap is {cap:,} bytes"
    return codes.NO_SIZE.finding(message, cap=cap)


def _of_packed_code(code: PackedCode, cap: int) -> Finding:
    """A log's size over the cap that is none with the script as it lies there."""
    message = (
        f"{code.size.source} prints {code.size.value:,.0f} bytes for the artifact, which is over the cap of {cap:,}; "
        f"{code.counted:,} of these are code, and {code.script}, which unpacks itself, has {code.packed:,}: with that "
        f"it is {code.total:,}"
    )
    return codes.OVER_CAP.finding(message, severity=Severity.INFORMS, cap=cap, sizes=[code.total])


def _sizes_in_logs(evidence: Evidence) -> Iterator[Printed]:
    # A log prints the size before and after compression; what is submitted is the smaller.
    for log in evidence.claim_logs or evidence.claim.logs:
        runs = own_runs(evidence, log)
        own = [size for size in log.artifact_bytes if any(a < (size.source.line or 0) < b for a, b in runs)]
        if own or log.artifact_bytes:
            yield min(own or log.artifact_bytes, key=lambda size: size.value)


def _time(evidence: Evidence) -> Iterator[Finding]:
    """The largest time that the claim's own logs print, of training and of the evaluation."""
    rule, track = evidence.rules.pack.time, (evidence.claim.track or "").lower()
    if rule.tracks and not any(word in track for word in rule.tracks):
        return
    for part, limit in (("train", rule.train_seconds), ("evaluate", rule.evaluate_seconds)):
        times = [*_times(evidence, part)]
        if limit is None or not times:
            continue
        seconds, printed = max(times, key=lambda time: time[0])
        if seconds > limit * (1.0 + rule.slack):
            what = "training" if part == "train" else "the evaluation"
            message = f"{what} took {seconds:,.1f} s ({printed.source}); the limit is {limit:,g} s"
            yield codes.OVER_TIME.finding(message, seconds=seconds, limit=limit, place=str(printed.source))


def _times(evidence: Evidence, part: str) -> Iterator[tuple[float, Printed]]:
    lines = evidence.rules.pack.time.lines
    for log in evidence.claim_logs or evidence.claim.logs:
        runs = own_runs(evidence, log)
        for found in log.found:
            if found.template in lines:
                for name, printed in found.largest.items():
                    if name.startswith(f"{part}_"):
                        own = printed if _is_of(runs, printed) else _largest_in(log, found.template, name, runs)
                        if own is not None:
                            yield own.value * SECONDS[name], own


def _is_of(runs: Sequence[tuple[float, float]], printed: Printed) -> bool:
    """Whether a number stands in one of some runs of its log."""
    return any(before < (printed.source.line or 0) < after for before, after in runs)


def _largest_in(
    log: LogRecord, template: LineTemplate, name: str, runs: Sequence[tuple[float, float]]
) -> Printed | None:
    """The largest number at a template's place in some runs of a log that holds others, too."""
    lines = text_of_log(log).split("\n")
    places = (Source(log.file, number) for number in range(1, len(lines) + 1))
    found = (template.find(line, place) for line, place in zip(lines, places, strict=True))
    own = [held[name] for held in found if held is not None and _is_of(runs, held[name])]
    return max(own, key=lambda printed: printed.value, default=None)


def _runs(evidence: Evidence) -> Iterator[Finding]:
    least, claim = evidence.rules.pack.least_runs, evidence.claim
    if least is None or (claim.score is None and not evidence.losses):
        return
    runs = len(evidence.losses) or max(
        len(claim.seeds), len(evidence.lines), *(len(scores) for scores in claim.seed_scores.values()), 1
    )
    if runs < least:
        message = f"the claim rests on {runs} run{'' if runs == 1 else 's'}; the rules ask for {least}"
        yield codes.FEW_RUNS.finding(message, num_runs=runs, least=least)


def _target(evidence: Evidence) -> Iterator[Finding]:
    """Student's one-sided test that the mean over the runs of one script is at most what the rules ask for."""
    rule, unit = evidence.rules.pack.target, evidence.rules.pack.claim.unit
    if rule is None:
        return
    asked = f"at most {rule.at_most:g} {unit} at p < {rule.p_below:g} is asked for"
    waived = f"; waived {rule.waived}" if rule.waived else ""
    if unit == NATS_PER_TOKEN and not evidence.losses:
        if (score := evidence.claim.score) is not None:
            message = f"the claim is {score} bits per byte, which is no loss in {unit}; {asked}{waived}"
            yield codes.TARGET_OPEN.finding(message, at_most=rule.at_most)
        return
    groups = [*_runs_of_one_script(evidence)] if evidence.losses else [("", _scores_of_seeds(evidence))]
    alone = [values[0] for _, values in groups if len(values) == 1]
    for which, values in groups:
        if len(values) < 2:
            continue
        mean, p = math.fsum(values) / len(values), target_p_value(values, rule.at_most)
        is_shown = p < rule.p_below
        found = codes.TARGET_SHOWN if is_shown else codes.TARGET_OPEN
        message = (
            f"{len(values)} runs{which} have a mean of {mean:.5f} {unit}, p = {p:.2g} that it is more than "
            f"{rule.at_most:g}; {asked}{'' if is_shown else waived}"
        )
        yield found.finding(message, mean=mean, num_runs=len(values), at_most=rule.at_most, p_value=p)
    if alone:
        shown = ", ".join(f"{value:.5g}" for value in alone[:_MAX_SHOWN])
        of = "one run" if len(alone) == 1 else f"one run each of {len(alone)} scripts"
        message = f"{of} ({shown} {unit}), and a test needs two or more of one; {asked}{waived}"
        yield codes.TARGET_OPEN.finding(message, values=[*alone], at_most=rule.at_most)


_MAX_SHOWN = 5


def _runs_of_one_script(evidence: Evidence) -> Iterator[tuple[str, list[float]]]:
    """Losses of the logs that hold one script, and whose they are where there are several scripts."""
    groups: dict[str, list[LoggedLoss]] = {}
    for each in evidence.losses:
        groups.setdefault(each.log.code_digest or each.log.file, []).append(each)
    for group in groups.values():
        others = f" of the script in {group[0].log.file}" if len(groups) > 1 else ""
        yield others, [each.loss.value for each in group]


def _scores_of_seeds(evidence: Evidence) -> list[float]:
    """Bits per byte of each run: those of the claim's log lines, else of the record's own list of seeds."""
    score = evidence.claim.score
    if score is None:
        return []
    if len(evidence.lines) >= 2:
        return [line.bpb.value for line in evidence.lines]
    scores = evidence.claim.seed_scores.get(score.name, {})
    return [printed.value for printed in scores.values()] if len(scores) >= 2 else [score.value]


def target_p_value(values: Sequence[float], at_most: float) -> float:
    """One-sided p-value of Student's test that the mean of ``values``, two or more, lies below ``at_most``."""
    if len(set(values)) == 1:
        return 0.0 if values[0] < at_most else 1.0
    from scipy import stats

    return float(stats.ttest_1samp(values, at_most, alternative="less").pvalue)


def _significance(evidence: Evidence, baseline: Evidence) -> Iterator[Finding]:
    """Welch's one-sided test that the gain in nats per token is more than the rules ask for."""
    mine, theirs = nats_of_seeds(evidence), nats_of_seeds(baseline)
    names, rule = f"{evidence.claim.name} against {baseline.claim.name}", evidence.rules.pack.gain
    if rule is None:
        message = f"{names}: the rules ({evidence.rules.pack.name}) do not say by how much one must beat the other"
        yield codes.SIGNIFICANCE_UNTESTABLE.finding(message, num_seeds=len(mine), num_baseline_seeds=len(theirs))
        return
    if len(mine) < 2 or len(theirs) < 2:
        message = f"{names}: {len(mine)} and {len(theirs)} seeds with a known loss; the test needs two or more of each"
        yield codes.SIGNIFICANCE_UNTESTABLE.finding(message, num_seeds=len(mine), num_baseline_seeds=len(theirs))
        return
    yield _tested(names, mine, theirs, rule)


def _tested(names: str, mine: Sequence[float], theirs: Sequence[float], rule: GainRule) -> Finding:
    gain = math.fsum(theirs) / len(theirs) - math.fsum(mine) / len(mine)
    p, asked = welch_p_value(mine, theirs, rule.more_than), f"{rule.more_than:g}"
    numbers = (
        f"{gain:+.5f} nats per token, p = {p:.2g} that it is {asked} or less ({len(mine)} and {len(theirs)} seeds)"
    )
    found = codes.SIGNIFICANT if p < rule.p_below else codes.NOT_SIGNIFICANT
    said = (
        "beats the baseline significantly" if p < rule.p_below else "does not beat the baseline by the contest's rule"
    )
    return found.finding(f"{names}: {said}: {numbers}", gain_nats=gain, p_value=p, required_gain_nats=rule.more_than)


def nats_of_seeds(evidence: Evidence) -> list[float]:
    """Nats per token of each seed: from the claim's log lines, else scores of the seeds times bytes per token."""
    losses = [
        line.nats_per_token.value for line in evidence.lines if line.nats_per_token is not None and line.same_estimator
    ]
    if len(losses) >= 2:
        return losses
    score = evidence.claim.score
    full = evidence.full
    if score is None or full is None:
        return losses
    tables = evidence.claim.seed_scores
    scores = tables.get(score.name) or next(
        (table for table in tables.values() if score.agrees_with(sum(p.value for p in table.values()) / len(table))), {}
    )
    if len(scores) >= 2:
        return [bits_to_nats(printed.value) * full.bytes_per_token for printed in scores.values()]
    if len(evidence.lines) >= 2:
        return [bits_to_nats(line.bpb.value) * full.bytes_per_token for line in evidence.lines]
    return losses


def welch_p_value(mine: Sequence[float], theirs: Sequence[float], required_gain: float) -> float:
    """One-sided p-value of Welch's test that ``mean(theirs) - mean(mine)`` is more than ``required_gain``.

    Args:
        mine: losses of the claim, two or more.
        theirs: losses of the baseline, two or more.
        required_gain: in the same unit.
    """
    gain = math.fsum(theirs) / len(theirs) - math.fsum(mine) / len(mine) - required_gain
    if len(set(mine)) == 1 and len(set(theirs)) == 1:
        return 0.0 if gain > 0.0 else 1.0
    from scipy import stats

    shifted = [loss + required_gain for loss in mine]
    return float(stats.ttest_ind(theirs, shifted, equal_var=False, alternative="greater").pvalue)
