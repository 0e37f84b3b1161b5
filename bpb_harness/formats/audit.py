"""``bpb-audit/1``: the verdict on one claim; ``bpb-audits/1``: those on several."""

from __future__ import annotations

from bpb_harness.findings import Severity
from bpb_harness.formats.kinds import Anything, Key, ListOf, Named, Number, Record, Text, Whole, maybe

AUDIT_FORMAT, AUDITS_FORMAT = "bpb-audit/1", "bpb-audits/1"
_VERDICTS = ("confirmed", "consistent", "refuted", "unverifiable")
_BPB = "bits per byte"

FINDING = Record((
    Key("code", Text(pattern="BPB[0-9]{3}", what="text like `BPB401`"), "Its code; docs/audit.md lists them."),
    Key("severity", Text(tuple(each.value for each in Severity)), "What it does to the verdict."),
    Key("message", Text(), "What was found."),
    Key("evidence", Named(Anything()), "Files, places and numbers; their keys are those of the code."),
    Key("factor", Number(), "Multiply the claimed score by this to correct it.", is_optional=True),
))  # fmt: skip

RULES = Record((
    Key("name", Text(), "The pack: one that is shipped, one of the user's, or `none`."),
    Key("file", maybe(Text()), "The user's file; null where the pack is shipped."),
    Key("chosen", Text(), "How it was chosen."),
))  # fmt: skip

AUDIT = Record((
    Key("format", Text((AUDIT_FORMAT,)), "This format; the first key."),
    Key("name", Text(), "Folder or file of the claim."),
    Key("title", maybe(Text()), "What the claimant calls it."),
    Key("verdict", Text(_VERDICTS), "The verdict."),
    Key("claimed_bpb", maybe(Number()), "The claimed score; null where nothing is claimed.", _BPB),
    Key("claimed_in", maybe(Text()), "Where the claim stands."),
    Key("corrected_bpb", maybe(Number()), "What the score should have been; null where none can be given.", _BPB),
    Key("corrected_from", maybe(Text()), "How that was derived, or why it cannot be."),
    Key("reason", Text(), "The verdict's reason."),
    Key("missing", ListOf(Text()), "What would settle it; empty where the score was computed anew."),
    Key("findings", ListOf(FINDING), "Refuting ones first, then doubts, evidence for, remarks."),
    Key("files", ListOf(Text()), "Files that were read."),
    Key("unchecked", ListOf(Text()), "What stays open of the claimed score, whatever the verdict."),
    Key("rules", maybe(RULES), "The rules that it was held against; null where nothing could be read."),
))  # fmt: skip

AUDITS = Record((
    Key("format", Text((AUDITS_FORMAT,)), "This format, of several claims; the first key."),
    Key("verdict", Text(_VERDICTS), "Of all the worst: refuted, unverifiable, consistent, confirmed."),
    Key("counts", Record(tuple(Key(word, Whole(), f"Claims that are {word}.") for word in _VERDICTS)),
        "Claims by verdict."),
    Key("without_claim", Whole(), "Of the unverifiable those whose record does not say which score it claims."),
    Key("without_score", Whole(), "Of these those whose record gives no score at all: nothing to audit."),
    Key("audits", ListOf(AUDIT), "A `bpb-audit/1` for each claim."),
    Key("unread", ListOf(Text()), "What was passed over though it speaks of scores: folders without a log or a claim, "
        "files above submissions."),
))  # fmt: skip
