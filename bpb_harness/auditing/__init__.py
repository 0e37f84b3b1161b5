"""Checks of a published bits-per-byte score, from records and bytes alone: no network is ever run here.

auditor.py         a claim through every check; all_checks.py these, of_scripts.py what its scripts show
of_many.py         the claims of many folders; in_processes.py in a few processes; nothing.py what is no record at all
twin_logs.py       logs that several of them share
contested.py       settings that commands of a README give otherwise; of_the_run.py those that the claim's log tells
held_script.py     BPB430 the script that a log holds, against those beside it, and whether it made the score;
                   which_script.py the one of several that wrote the claim's logs
programs.py        all programs of a record, each read once
evidence.py        what the record amounts to: log lines, bytes per token; parts.py of a part of the text,
                   said.py the record's files as text
codes.py           the codes of record checks
checks/            one file a family of codes:
    bytes.py       BPB1xx the denominator; byte_perplexity.py BPB107 and 113 a perplexity per byte beside it,
                   stated_bytes.py BPB115 what the record itself states, round_constants.py BPB103 by digits,
                   printed_counts.py BPB104 by the tokens and bytes that a log prints beside the score,
                   said_of_sentinels.py BPB102 by a README's words, bare_space.py by the tokenizer's own model,
                   other_text_told.py whether words tell of another text than the split, or of more,
                   not_quite.py BPB117 by digits, more_than_the_text.py BPB105 whatever the tokenizer,
                   loss_elsewhere.py BPB106 where the loss stands, possible_kinds.py what a factor or a unit may come of
    bound.py       BPB2xx the numerator
    learnt_in_log.py  BPB215 and 216 what a log shows to be learnt, or seen, before it is scored
    two_orders.py  BPB217 a log that goes through the documents in two orders
    stored_text.py BPB218 tokens of the text that are stored beside the network
    prose.py       BPB213 what a README says of its own score
    sampling.py    BPB3xx coverage, errors; part_told.py BPB301 by a log's or a command's words, best_seed.py BPB305
    record.py      BPB4xx the record against itself; found_in_log.py BPB401 how its logs give the score, written_out.py
                   BPB402 lines that are constants of a script, absent_logs.py logs that a README names alone,
                   before_packing.py BPB425 a score of no artifact, log_of_a_run.py and shared_losses.py BPB426 lines
                   that no run prints, retold_logs.py that were put together later, another_label.py BPB407 a score that
                   the README calls a sliding window's, own_result.py a score's own file, lowest_known.py what nobody
                   has reached, losses.py claims in nats per token, summaries.py what wandb kept of the run,
                   log_origin.py BPB427 a log that no script beside it can have written, unlike_its_script.py BPB432
                   that none prints as it is, lines_of_its_script.py by the size of one, foreign_text.py with words of
                   others in a line, other_version.py BPB431 that none wrote as it lies there, unlike_networks.py BPB428
                   a mean over other networks, versions_of_a_mean.py BPB453 over versions of a script,
                   listed_settings.py or of other settings, sizes_add_up.py BPB459 a total that is no sum, cut_short.py
                   BPB429 a search's candidate, another_run.py BPB451 a README of another run than the log's,
                   title_alone.py BPB452 a title that nothing bears out, never_begun.py whose technique would have come
                   later than the run ended, unread_settings.py BPB456 what commands set and nothing reads,
                   modules_elsewhere.py BPB457 what scripts import and nothing holds, guarded_imports.py under which
                   settings, stated_loss.py BPB458 a loss that is not of the score beside it, borrowed_logs.py BPB454
                   and 455 logs of another author's submission, ends_of_seeds.py BPB406 a seed's score by its own log
    rules.py       BPB5xx the contest's rules: size, time, runs, significance; packed_over_cap.py a size by the log,
                   network_alone.py without the code, several_packings.py one of several,
                   packed_code.py with the script as it is packed, size_in_no_log.py BPB511 in none of its logs,
                   stated_parameters.py BPB512 a number of parameters that no log has, stated_digests.py BPB514 digests
                   of files
    rescored.py    BPB6xx against the harness's own score, scored_text.py whether it is of the claim's text,
                   stated_signatures.py whether it is of what the record's signatures state
    proved.py      BPB604 to 607 against windows that were decoded from bits
    reading.py     BPB9xx broken files
script/            static checks of scripts: frontend/ reads, domains/ says what expressions stand for, checks/ judge
verdict.py         from findings to a verdict; correction.py what the score should be, settling.py what would tell,
                   learnt.py what says that the text was learnt, which no scoring lifts,
                   explained.py what explains a ratio that fits nothing,
                   parts.py what is known of the part that was scored, unchecked.py what was not looked at
report.py          text, Markdown, JSON, pandas; told.py the words of all of these, report_text.py those of a terminal
annotations.py     annotations of a workflow on GitHub
"""

from bpb_harness.auditing.auditor import audit
from bpb_harness.auditing.checks.proved import Proved
from bpb_harness.auditing.checks.rescored import Recomputed
from bpb_harness.auditing.of_many import (
    audit_each,
    audit_folders,
    audit_one_of_many,
    submissions_below,
    unread_folders,
    unreadable,
)
from bpb_harness.auditing.report import AuditReport
from bpb_harness.auditing.verdict import Verdict
from bpb_harness.findings import CODES, Finding, Rule, Severity

__all__ = [
    "CODES",
    "AuditReport",
    "Finding",
    "Proved",
    "Recomputed",
    "Rule",
    "Severity",
    "Verdict",
    "audit",
    "audit_each",
    "audit_folders",
    "audit_one_of_many",
    "submissions_below",
    "unread_folders",
    "unreadable",
]
