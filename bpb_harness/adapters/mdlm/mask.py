"""Which id masks a token: the tokenizer's own, or one that is appended behind its vocabulary."""

from __future__ import annotations

from bpb_harness.adapters.mdlm.settings import MdlmSettings
from bpb_harness.errors import CheckpointError

# Tokenizers with a mask of their own; for the others that code appends one id, the last.
_MASK_IDS = {"bert-base-uncased": 103, "bert-base-cased": 103, "text8": 4}


def mask_token_id_of(settings: MdlmSettings, rows: int) -> int:
    """The id of the mask in an embedding of so many rows.

    Raises:
        CheckpointError: if it has no row.
    """
    mask_token_id = _MASK_IDS.get(settings.tokenizer_name.rsplit("/", 1)[-1], rows - 1)
    if mask_token_id >= rows:
        raise CheckpointError(
            f"mask id of {settings.tokenizer_name}", seen=mask_token_id, expected=f"below {rows} rows"
        )
    return mask_token_id


def mask_reason(settings: MdlmSettings) -> str:
    """Why it is that id, for a note beside the score."""
    name = settings.tokenizer_name or "gpt2"
    if name.rsplit("/", 1)[-1] in _MASK_IDS:
        return f"the mask of {name}"
    known = "has none of its own" if name.startswith("gpt2") else "is taken to have none of its own"
    return f"appended, since the tokenizer {name} {known}"
