"""Audits of the fixtures' submissions, each made once in a process: nobody who reads a report changes it."""

from __future__ import annotations

from functools import cache

from bpb_harness.auditing import AuditReport, audit, audit_folders
from fixtures.claims.build import HERE


@cache
def audited(name: str) -> AuditReport:
    """Of one folder or file below fixtures/claims."""
    return audit(HERE / name)


@cache
def audited_together() -> list[AuditReport]:
    """Of all submissions, by one call."""
    return list(audit_folders(HERE / "submissions"))
