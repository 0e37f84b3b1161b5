"""Every check of a record, in its order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bpb_harness.auditing.checks.another_label import check_another_label
from bpb_harness.auditing.checks.another_run import check_another_run
from bpb_harness.auditing.checks.before_packing import check_before_packing
from bpb_harness.auditing.checks.best_seed import check_best_seed
from bpb_harness.auditing.checks.bound import check_bound
from bpb_harness.auditing.checks.byte_perplexity import check_byte_perplexity
from bpb_harness.auditing.checks.bytes import check_bytes, check_other_logs
from bpb_harness.auditing.checks.cut_short import check_cut_short
from bpb_harness.auditing.checks.ends_of_seeds import check_ends_of_seeds
from bpb_harness.auditing.checks.foreign_text import check_foreign_text
from bpb_harness.auditing.checks.learnt_in_log import check_learnt_in_log
from bpb_harness.auditing.checks.log_of_a_run import check_log_of_a_run
from bpb_harness.auditing.checks.losses import check_losses
from bpb_harness.auditing.checks.lowest_known import check_lowest_known
from bpb_harness.auditing.checks.own_result import check_own_result
from bpb_harness.auditing.checks.part_told import check_part_told
from bpb_harness.auditing.checks.prose import check_prose
from bpb_harness.auditing.checks.proved import Proved, check_proved
from bpb_harness.auditing.checks.reading import check_reading
from bpb_harness.auditing.checks.record import check_record
from bpb_harness.auditing.checks.rescored import Recomputed, check_rescored
from bpb_harness.auditing.checks.retold_logs import check_retold_logs
from bpb_harness.auditing.checks.rules import check_rules
from bpb_harness.auditing.checks.sampling import check_sampling
from bpb_harness.auditing.checks.stated_bytes import check_stated_bytes
from bpb_harness.auditing.checks.stated_loss import check_stated_loss
from bpb_harness.auditing.checks.stated_parameters import check_stated_parameters
from bpb_harness.auditing.checks.stored_text import check_stored_text
from bpb_harness.auditing.checks.summaries import check_summaries
from bpb_harness.auditing.checks.two_orders import check_two_orders
from bpb_harness.auditing.checks.unlike_networks import check_unlike_networks
from bpb_harness.auditing.checks.versions_of_a_mean import check_versions_of_a_mean
from bpb_harness.auditing.evidence import Evidence, gather
from bpb_harness.auditing.of_scripts import AnyPath, check_of_scripts
from bpb_harness.auditing.said import texts_of
from bpb_harness.claim import Claim, claim_of_logs
from bpb_harness.claim.line_template import LOSS
from bpb_harness.findings import Finding
from bpb_harness.rules import Rules
from bpb_harness.rules.pack import NATS_PER_TOKEN


def gathered(claim: Claim, rules: Rules, *, averages: bool = False) -> Evidence:
    """The evidence of a record, whose logs' scores count where nobody wrote down another: as the rules say."""
    rule = rules.pack.claim
    if rule.unit != NATS_PER_TOKEN:
        claim = claim_of_logs(claim, rule.lines, rule.logs, averages=averages, averages_named=rule.mean)
    elif not any(log.printed_at(LOSS, rule.lines) for log in claim.logs):
        claim = claim_of_logs(claim, names=rule.logs, averages=averages)
    return gather(claim, rules)


def findings_of(
    evidence: Evidence,
    baseline: Evidence | None,
    recomputed: Recomputed | None,
    proved: Proved | None,
    *,
    allow_code: bool,
    tokenizer: AnyPath | None,
    paths: Sequence[Path],
) -> Iterator[Finding]:
    """What all checks find of a claim, held against a baseline's record, a rescoring and a proof where there are."""
    yield from check_reading(evidence)
    yield from check_own_result(evidence)
    if not evidence.is_own_file_alone:
        yield from _of_the_record(evidence)
    yield from check_prose(evidence)
    if baseline is not None or not evidence.is_own_file_alone:
        yield from check_rules(_with_runs(evidence), baseline)
    yield from check_of_scripts(evidence, allow_code=allow_code, tokenizer=tokenizer)
    if recomputed is not None:
        yield from check_rescored(evidence, recomputed, texts_of(paths))
    if proved is not None:
        yield from check_proved(evidence, proved, texts_of(paths))


def _of_the_record(evidence: Evidence) -> Iterator[Finding]:
    """What somebody published, held against the rest of it."""
    yield from check_losses(evidence) if evidence.losses else check_record(evidence)
    yield from check_before_packing(evidence)
    yield from check_another_run(evidence)
    yield from check_log_of_a_run(evidence)
    yield from check_retold_logs(evidence)
    yield from check_foreign_text(evidence)
    yield from check_another_label(evidence)
    yield from check_cut_short(evidence)
    yield from check_unlike_networks(evidence)
    yield from check_stated_parameters(evidence)
    yield from check_versions_of_a_mean(evidence)
    yield from check_learnt_in_log(evidence)
    yield from check_two_orders(evidence)
    yield from check_stored_text(evidence)
    yield from check_summaries(evidence)
    yield from check_lowest_known(evidence)
    yield from check_bytes(evidence)
    yield from check_stated_bytes(evidence)
    yield from check_stated_loss(evidence)
    yield from check_byte_perplexity(evidence)
    yield from check_other_logs(evidence)
    yield from check_bound(evidence)
    yield from check_best_seed(evidence)
    yield from check_ends_of_seeds(evidence)
    yield from check_sampling(evidence)
    yield from check_part_told(evidence)


def _with_runs(evidence: Evidence) -> Evidence:
    """For rules about runs: what several logs end with, where nobody averaged them into a claim."""
    is_open = evidence.claim.score is None and len(evidence.claim.logs) > 1
    return gathered(evidence.claim, evidence.rules, averages=True) if is_open else evidence
