"""The JSON Schemas that are shipped, made of the declarations: ``python -m docs.formats_table`` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bpb_harness.formats.kinds import Record

FOLDER = Path(__file__).parents[1] / "schemas"


def schema_of(name: str, record: Record) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a format."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": name} | record.schema()


def file_of(name: str) -> Path:
    """Where it is shipped: ``bpb-result/1`` in ``bpb-result-1.json``."""
    return FOLDER / f"{name.replace('/', '-')}.json"


def text_of(name: str, record: Record) -> str:
    """What that file holds."""
    return json.dumps(schema_of(name, record), indent=2) + "\n"
