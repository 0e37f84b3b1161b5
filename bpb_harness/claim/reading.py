"""What is looked for in a record, beyond what any record may hold: the names and lines of a contest."""

from __future__ import annotations

from dataclasses import dataclass

from bpb_harness.claim.line_template import LineTemplate
from bpb_harness.claim.names import PLAIN_NAMES, FieldNames


@dataclass(frozen=True)
class Reading:
    """What a reader knows beforehand.

    Attributes:
        names: keys of records in JSON.
        templates: lines of logs.
        tokenizers: names of tokenizers, which a record's own key may hold.
    """

    names: FieldNames = PLAIN_NAMES
    templates: tuple[LineTemplate, ...] = ()
    tokenizers: tuple[str, ...] = ()


PLAIN = Reading()
