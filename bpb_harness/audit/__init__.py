"""Checks of a published bits-per-byte score, from records and bytes alone: no network is ever run here.

auditor.py         a claim through every check
finding.py         Finding, Rule and the registry of codes; codes.py holds the codes of record checks
evidence.py        what the record amounts to: the claim's log lines, its bytes per token
denominators.py    known bytes per token and the factors of known byte bugs (data/*.csv)
check_bytes.py     BPB1xx the denominator
check_bound.py     BPB2xx the numerator
check_prose.py     BPB213 what a README says of its own score
check_sampling.py  BPB3xx coverage, seeds, errors
check_record.py    BPB4xx the record against itself
check_rules.py     BPB5xx artifact size, significance
check_rescored.py  BPB6xx against the harness's own score
check_reading.py   BPB9xx broken files
script/            static checks of scripts
verdict.py         from findings to a verdict and a corrected score
report.py          text, Markdown, JSON, pandas
"""

from bpb_harness._callable_module import make_callable
from bpb_harness.audit.auditor import audit, audit_folders, audit_one_of_many, unread_folders
from bpb_harness.audit.check_rescored import Recomputed
from bpb_harness.audit.finding import CODES, Finding, Rule, Severity
from bpb_harness.audit.report import AuditReport
from bpb_harness.audit.verdict import Verdict

__all__ = [
    "CODES",
    "AuditReport",
    "Finding",
    "Recomputed",
    "Rule",
    "Severity",
    "Verdict",
    "audit",
    "audit_folders",
    "audit_one_of_many",
    "unread_folders",
]

make_callable(__name__)
