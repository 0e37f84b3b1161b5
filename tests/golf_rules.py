"""The rules of the contest that most public records are of, for tests of what is held against them."""

from __future__ import annotations

from bpb_harness.auditing.script import ScriptContext, check
from bpb_harness.findings import Finding
from bpb_harness.rules import Candidates, Rules, shipped_pack

GOLF = Rules.of(shipped_pack("parameter-golf"))
READING = Candidates((GOLF.pack,)).reading


def check_source(text: str, context: ScriptContext | None = None) -> list[Finding]:
    """What is found in a script under these rules; a check that breaks off finds nothing, which is no answer."""
    found = check.check_source(text, context or ScriptContext(rules=GOLF))
    broken = [each.message for each in found if "could not be carried out" in each.message]
    assert not broken, broken
    return found
