"""Flags about the reading of texts that do not go together with what is given; alike for every command."""

from __future__ import annotations

from bpb_harness.errors import UsageError
from bpb_harness.text.shards import ShardFormat, require_format


def require_text_flags(
    *, docs: bool, text_field: str | None, shard_format: str, data: bool | None = None
) -> ShardFormat:
    """Refuse a flag that would have no effect.

    Args:
        docs: documents are given.
        text_field: the value of --text-field.
        shard_format: the value of --shard-format.
        data: shards are given; None: where no documents are.

    Returns:
        The format of shards.

    Raises:
        UsageError: --text-field without --docs, --shard-format without shards, a format that is none.
    """
    form = require_format(shard_format)
    if text_field is not None and (not docs or not text_field):
        raise UsageError("--text-field", seen=repr(text_field), expected="the key of the text in --docs")
    if form != "auto" and not (not docs if data is None else data):
        raise UsageError(f"--shard-format {form}", seen="no shards", expected="--data SHARDS")
    return form
