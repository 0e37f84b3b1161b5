"""What to do about a finding, of whichever code: the last paragraph of ``--explain``."""

from __future__ import annotations

from bpb_harness.auditing.settling import REMEDIES
from bpb_harness.findings import Rule, Severity

_COUNT = "count the bytes of the very text, bpb-bytes --tokenizer FILE --data FILE, and divide by those"
_SCORE_AGAIN = "have the checkpoint scored: bpb-audit FOLDER --checkpoint FILE --data FILE --tokenizer FILE"
_SCRIPT = "look at the file and line that the finding names"
_FIRST_OF_SCRIPTS, _TEXTS = 30, range(70, 90)
# By the first digit; scripts have 30 to 99 of each hundred, texts and tokenizers 70 to 89 of the first.
_OF_RECORDS = {
    "1": f"{_COUNT}; docs/bytes.md says how they are counted",
    "2": f"score with a bound whose weights belong to its masks, as bpb-eval --method mc does; or {_SCORE_AGAIN}",
    "3": "score the whole split (bpb-eval without --limit), and publish every seed with its standard error",
    "4": "make record, README and logs say one score, and add the log that printed it; docs/audit.md says what counts",
    "5": "bpb-audit FOLDER --rules NAME names what the rules ask for; docs/rules.md has every rule",
    "6": "docs/record.md shows how a checkpoint is scored again; bpb-eval CHECKPOINT --data FILE does it",
    "9": "mend the file that the finding names and audit again; docs/audit.md says which files are read, and how",
}
_OF_ONE = {
    "BPB409": "claim one score, as val_bpb in submission.json or in one sentence of the README (Our model achieves "
    "0.8500 bits per byte); docs/audit.md says where a claim is read",
    "BPB213": "score without what the record says of its score: with a bound whose weights belong to its masks, as "
    f"bpb-eval --method mc does, of a network that has not learnt the text; or {_SCORE_AGAIN}",
}
_OF_SCRIPTS = {
    "1": f"{_SCRIPT}; {_COUNT}",
    "2": f"{_SCRIPT}, mend it and run the evaluation again; or {_SCORE_AGAIN}",
    "3": f"{_SCRIPT}, and score the whole split",
    "4": "add the script that wrote the log, and the log as the run printed it; docs/audit.md says how they are read",
    "9": f"docs/script-checks.md says what is read of a script; what was not read is yours to read, or {_SCORE_AGAIN}",
}
_OF_TEXTS = "bpb-bytes --tokenizer FILE --data FILE shows it on your text; docs/bytes.md says what each rule counts"
_PAGES = {  # by the first word of a score's code
    "adaptation": "docs/adaptation.md", "adapter": "docs/adapters.md", "answers": "docs/answers.md",
    "batch-halved": "docs/speed.md", "bytes": "docs/bytes.md", "compiled": "docs/speed.md",
    "context": "docs/settings.md", "contract": "docs/adapters.md", "data": "docs/texts.md",
    "documents": "docs/errors.md", "draws": "docs/speed.md", "error": "docs/errors.md", "few-draws": "docs/errors.md",
    "fused": "docs/speed.md", "given": "docs/spans.md", "mask": "docs/your-model.md", "method": "docs/settings.md",
    "not-compiled": "docs/speed.md", "not-fused": "docs/speed.md",
    "not-specialised": "docs/speed.md", "pilot": "docs/errors.md", "replicates": "docs/errors.md",
    "score": "docs/your-model.md", "text": "docs/texts.md", "tokenizer": "docs/bytes.md", "tolerance": "docs/errors.md",
}  # fmt: skip


def after_audit(rule: Rule) -> str:
    """The next step for a finding of an audit, or of a count of bytes."""
    hundred, number = rule.code[3], int(rule.code[4:])
    if rule.severity is Severity.CONFIRMS:
        return f"nothing is to be mended; who wants more than that can {_SCORE_AGAIN}."
    if rule.code in _OF_ONE:
        return f"{_OF_ONE[rule.code]}."
    if rule.code in REMEDIES:
        where = f"{_SCRIPT}, and run" if number >= _FIRST_OF_SCRIPTS else "run"
        return f"{where} the evaluation again {REMEDIES[rule.code]}; or {_SCORE_AGAIN}."
    if hundred == "1" and number in _TEXTS:
        return f"{_OF_TEXTS}."
    return f"{(_OF_SCRIPTS if number >= _FIRST_OF_SCRIPTS else _OF_RECORDS)[hundred]}."


def after_score(code: str) -> str:
    """The next step for a finding of a score: where more is said of its kind."""
    return f"{_PAGES[code.partition('.')[0]]} says more of it, and what can be done."
