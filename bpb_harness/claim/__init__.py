"""What somebody else published about a score, read from the messy files that they published.

    record.py         the record: Claim and its parts
    folder.py         a folder or loose files -> one Claim; found_files.py goes through them
    listing.py        which files belong to a submission; untrusted_file.py opens them, and nothing else; unread.py
                      names those with scores that belong to none
    separate.py       claim files of different claims, which are never merged
    submission.py     submission.json in every shape; runs_beside.py runs of other seeds anywhere in it
    nanochat_report.py, trainer_results.py, lm_eval_results.py  what others' programs write
    claim_file.py     our own claim file; own_result.py a score that a command of ours wrote
    stated_bytes.py   bytes per token that JSON and log lines state of the scored text
    printed_counts.py tokens and bytes that log lines print beside a score that was made of them
    log_reader.py     score lines of logs; embedded_code.py tells them from the script in the log
    told_by_log.py    what else a log's lines tell; adaptation.py epochs over the text, clock.py a time that goes back,
                      even_steps.py one that is too even, scoring_order.py in which orders documents are gone through
    line_shapes.py    columns, tables and JSON of logs, written as names and values
    figure_lines.py   of each shape of a log's lines with figures the first
    settings.py       settings that a README's commands give; stated_settings.py those of its own run, in lists and
                      tables too, worded_settings.py in words, settings_told.py what a log tells, sections.py which
                      lines are of the run
    line_template.py  lines that a contest's logs have; reading.py what else is looked for
    readme_reader.py  tables and prose of READMEs; readme_prose.py what would void the score, plainly said,
                      voiding_statements.py in which words, trains_on_it.py by which setting, stated_spread.py spreads
                      over seeds
    score_of_readme.py  which score a README claims; plain_claims.py those of its sentences
    tolerant_json.py  broken JSON, repaired where only one reading is possible
    text_file.py      bounded reading of files in unknown encodings
    printed.py        numbers with the digits that were printed
    names.py          spellings of scores, losses and tokenizers; methods.py those of estimators

Nothing here judges, and nothing here runs or imports what it reads.
"""

from bpb_harness.claim.folder import claim_of_logs, logs_called, read_claim, read_record
from bpb_harness.claim.listing import find_submissions, submission_of
from bpb_harness.claim.printed import Printed, Source
from bpb_harness.claim.record import Claim, LogRecord, Note, NoteKind, Protocol, Readme, ScoreLine, TableRow
from bpb_harness.claim.separate import separate_claims
from bpb_harness.claim.unread import find_unread

__all__ = [
    "Claim",
    "LogRecord",
    "Note",
    "NoteKind",
    "Printed",
    "Protocol",
    "Readme",
    "ScoreLine",
    "Source",
    "TableRow",
    "claim_of_logs",
    "find_submissions",
    "find_unread",
    "logs_called",
    "read_claim",
    "read_record",
    "separate_claims",
    "submission_of",
]
