"""Systems against the first of them: differences, their errors, what follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from bpb_harness.comparison.contest import ContestRule, contest_rule
from bpb_harness.comparison.mask_error import mask_error, shared_variance
from bpb_harness.comparison.result import ComparedPair, ComparedSystem, Expectation, SystemComparison
from bpb_harness.comparison.same_text import PairedUnits, pair_units
from bpb_harness.comparison.systems import System, find_costs, is_scored_now, names_of, require_costs
from bpb_harness.comparison.text_error import TextError, holm, holm_or_less
from bpb_harness.comparison.verdict import Side, TextEvidence, judge
from bpb_harness.costs import ScoreCosts
from bpb_harness.errors import UsageError
from bpb_harness.result import EXACT, Signature
from bpb_harness.units import nats_to_bits


def compare(
    systems: Sequence[System],
    settings: Sequence[Mapping[str, Any]],
    *,
    better_by: float | None = None,
    level: float = 0.05,
    num_baseline_runs: int | None = None,
) -> SystemComparison:
    """Compare systems with the first of them.

    Args:
        systems: two or more.
        settings: of each; those of a checkpoint, empty for any other.
        better_by: what each is expected to be better by, in bits per byte; None: nothing is expected.
        level: below which a p shows a difference.
        num_baseline_runs: so many systems, the first, are runs of the baseline, and all others of one candidate: the
            contest's rule is applied in the place of pairs.

    Raises:
        HarnessError: for what is no system, cannot be scored, or is no score of the same bytes.
    """
    require_expectations(len(systems), better_by, level, num_baseline_runs)
    for system, its_own in zip(systems, settings, strict=True):
        require_costs(system)
        if its_own and not is_scored_now(system):
            raise UsageError(
                "settings of a score that is there already", seen=", ".join(its_own), hint="leave them out"
            )
    names = names_of(systems)
    costs = [find_costs(system, its_own) for system, its_own in zip(systems, settings, strict=True)]
    paired = [pair_units((names[0], name), costs[0], other) for name, other in zip(names[1:], costs[1:], strict=True)]
    unit = "byte" if costs[0].counts_bytes else "token"
    shown = tuple(_shown(name, each) for name, each in zip(names, costs, strict=True))
    if num_baseline_runs is not None:
        return SystemComparison(shown, (), unit, level, contest=_contest(names, costs, num_baseline_runs))
    texts = [_text_error(units, costs[0], other) for units, other in zip(paired, costs[1:], strict=True)]
    p_values = [text.p_other() for text in texts]
    better = [None] * len(texts) if better_by is None else holm([text.p_below(-better_by) for text in texts])
    pairs = tuple(
        _pair((names[0], name), (costs[0], other), units, text, p_holm, or_less, p_better, level, unit, len(texts))
        for name, other, units, text, p_holm, or_less, p_better in zip(
            names[1:], costs[1:], paired, texts, holm(p_values), holm_or_less(p_values), better, strict=True
        )
    )
    expectation = None
    if better_by is not None:
        holds = all(p is not None and p < level for p in better)
        expectation = Expectation(better_by, level, holds, of_bounds=costs[0].relation != EXACT)
    return SystemComparison(shown, pairs, unit, level, expectation)


def require_expectations(
    num_systems: int, better_by: float | None, level: float, num_baseline_runs: int | None
) -> None:
    """Refuse what cannot be asked, before anything is scored.

    Raises:
        UsageError: naming the flag.
    """
    if num_systems < 2:
        hint = "name a checkpoint twice to compare its settings: --steps 8 --steps 128"
        raise UsageError("systems to compare", seen=num_systems, expected="two or more", hint=hint)
    for name, value in (("--level", level), ("--expect-better", 0.0 if better_by is None else better_by)):
        if not isinstance(value, Real) or isinstance(value, bool):
            raise UsageError(name, seen=repr(value), expected="a number")
    if not 0.0 < level < 1.0:
        raise UsageError("--level", seen=level, expected="more than 0 and less than 1")
    if better_by is not None and not 0.0 <= better_by < math.inf:
        raise UsageError("--expect-better", seen=better_by, expected="0 or more bits per byte")
    if num_baseline_runs is None:
        return
    if better_by is not None:
        raise UsageError("--expect-better with --contest-rule", expected="one of the two")
    if not 2 <= num_baseline_runs <= num_systems - 2:
        raise UsageError(
            "--contest-rule", seen=f"{num_baseline_runs} of {num_systems} systems",
            expected="how many of them, the first, are runs of the baseline: two or more, and two or more others",
        )  # fmt: skip


def _shown(name: str, costs: ScoreCosts) -> ComparedSystem:
    stderr = costs.stderr_nats
    return ComparedSystem(
        name, nats_to_bits(costs.nats) / costs.num_units, costs.relation,
        None if stderr is None else nats_to_bits(stderr) / costs.num_units, costs.num_tokens, costs.num_units,
        costs.warning, costs.signature,
    )  # fmt: skip


def _contest(names: Sequence[str], costs: Sequence[ScoreCosts], count: int) -> ContestRule:
    """Over nats per token, which only the same tokens have in common."""
    for name, each in zip(names[1:], costs[1:], strict=True):
        if each.tokens != costs[0].tokens or each.num_tokens != costs[0].num_tokens:
            raise UsageError(
                "--contest-rule: nats per token of the same tokens", seen=f"{each.num_tokens:,} tokens of {name}",
                expected=f"the {costs[0].num_tokens:,} tokens of {names[0]}",
            )  # fmt: skip
    rates = [each.nats / each.num_tokens for each in costs]
    return contest_rule(rates[:count], rates[count:])


def _text_error(units: PairedUnits, one: ScoreCosts, other: ScoreCosts) -> TextError:
    """Blocks hold ten windows or more, which few of them share."""
    shared = shared_variance(one, other) * nats_to_bits(1.0) ** 2 if units.kind == "documents" else 0.0
    return TextError.of(units.differences, units.sizes, shared)


def _pair(
    names: tuple[str, str],
    costs: tuple[ScoreCosts, ScoreCosts],
    units: PairedUnits,
    text: TextError,
    p_holm: float | None,
    or_less: bool,
    p_better: float | None,
    level: float,
    unit: str,
    num_compared: int,
) -> ComparedPair:
    scale = nats_to_bits(1.0) / units.total
    delta = units.difference_nats * scale
    masks = mask_error(*costs)
    mask_interval = masks.interval(delta, scale)
    each = "document" if units.kind == "documents" else "block"
    counted = f"{text.num_units:,} {each}{'s' if text.num_units != 1 else ''}"
    if text.num_units < len(units.sizes):
        counted += f" of neighbouring {units.kind}"
    corrected = f", corrected for {num_compared} comparisons" if num_compared > 1 else ""
    evidence = TextEvidence(p_holm, level, counted, text.ratio * delta > 0.0, corrected, or_less)
    baseline, system = (_side(name, of, units.total) for name, of in zip(names, costs, strict=True))
    verdict = judge(baseline, system, delta, mask_interval, evidence, unit)
    notes = list(units.notes)
    if masks.why:
        notes.append(f"{names[0]} and {names[1]} saw other masks ({masks.why}): their errors add in squares")
    if masks.jumps:
        notes.append(
            "bounds of different --steps see equal masks at mask rates that are rounded in different ways: the error "
            "of their difference from masks comes out somewhat too large rather than too small"
        )
    least = text.least_p
    if least is not None and least >= level:
        notes.append(f"{counted} can show no p below {least:.2g}, however alike they are; more text can")
    warnings = [f"WARNING: {name}: {of.warning}" for name, of in zip(names, costs, strict=True) if of.warning]
    return ComparedPair(
        system=names[1], baseline=names[0], delta=delta,
        mask_stderr=None if masks.stderr_nats is None else masks.stderr_nats * scale, mask_ci95=mask_interval,
        masks=masks.masks, masks_differ_in=masks.why, text_stderr=text.stderr, text_ci95=text.interval(),
        units=units.kind, num_units=text.num_units, p=text.p_other(), p_holm=p_holm, p_by=text.way, p_better=p_better,
        conclusion=verdict.conclusion, winner=verdict.winner, sentence=verdict.sentence, notes=(*notes, *warnings),
    )  # fmt: skip


def _side(name: str, costs: ScoreCosts, total: float) -> Side:
    signature = Signature.parse(costs.signature)
    order = ""
    if signature.method == "ar":
        order = "left to right"
    elif signature.method == "chain":
        order = f"in the order {signature.order}"
    return Side(name, costs.relation, nats_to_bits(costs.nats) / total, order, costs.is_trusted)
