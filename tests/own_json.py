"""JSON that a command of ours wrote: valid by the schema of the format that it names first."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema

from bpb_harness.formats.schemas import file_of


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(file_of(name).read_text("utf-8")))


def own_json(text: str) -> dict[str, Any]:
    """The object that a command printed."""
    plain: dict[str, Any] = json.loads(text)
    first = next(iter(plain))
    assert first == "format"
    _validator(plain[first]).validate(plain)
    return plain
