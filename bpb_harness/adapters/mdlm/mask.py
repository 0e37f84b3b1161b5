"""Which id masks a token: the tokenizer's own, or one that is appended behind its vocabulary.

That code asks its tokenizer, and pickles it into the checkpoint. So the record of it decides, then its name; where
neither says whether it has a mask, none is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bpb_harness.adapters.mdlm.settings import MdlmSettings
from bpb_harness.errors import CheckpointError

# Tokenizers with a mask of their own; for those without that code appends one id, the last.
_BERTS = r"bert-(base|large)-(un)?cased | bert-base-multilingual-(un)?cased | distilbert-base-(un)?cased"
_WITH_A_MASK = (
    (re.compile(_BERTS, re.VERBOSE), 103),
    (re.compile(r"text8"), 4),
    (re.compile(r"(distil)?roberta-(base|large)"), 50264),
)
_WITHOUT = re.compile(
    r"(distil)?gpt2(-\w+)? | gpt-(neo|neox|j)-\w+(\.\w+)? | pythia-.* | (meta-|tiny)?llama[-_][23v].* | mistral-.*",
    re.VERBOSE | re.IGNORECASE,
)
_RECORD = ("hyper_parameters", "tokenizer")
# Where versions of transformers keep the ids of single pieces.
_IDS = ("_vocab_str_to_int", "_added_tokens_encoder", "added_tokens_encoder", "added_tokens", "vocab")
_PIECES = ("_added_tokens_decoder", "added_tokens_decoder")


def mask_token_id_of(settings: MdlmSettings, rows: int) -> int:
    """The id of the mask in an embedding of so many rows.

    Raises:
        CheckpointError: if it has no row, or nothing says which it is.
    """
    own = _own_mask(settings)
    mask_token_id = rows - 1 if own is None else own
    if mask_token_id >= rows:
        raise CheckpointError(
            f"mask id of {settings.tokenizer_name}", seen=mask_token_id, expected=f"below {rows} rows"
        )
    return mask_token_id


def mask_reason(settings: MdlmSettings) -> str:
    """Why it is that id, for a note beside the score."""
    name = settings.tokenizer_name or "gpt2"
    if _own_mask(settings) is None:
        return f"appended, since the tokenizer {name} has none of its own"
    return f"the mask of {name}"


def _own_mask(settings: MdlmSettings) -> int | None:
    """The id of the tokenizer's own mask; None where it has none.

    Raises:
        CheckpointError: if nothing says whether it has, or which id it is.
    """
    # The published folders are all GPT-2's.
    name, record = "gpt2" if settings.is_folder else settings.tokenizer_name, settings.record_of(*_RECORD)
    says, piece = _recorded_mask(record)
    if says and piece is None:
        return None
    known = next((number for names, number in _WITH_A_MASK if names.fullmatch(name.rsplit("/", 1)[-1])), None)
    found = _recorded_id(record, piece) if piece is not None else None
    if found is not None or known is not None:
        return known if found is None else found
    if piece is None and _WITHOUT.fullmatch(name.rsplit("/", 1)[-1]):
        return None
    seen = f"the tokenizer {name!r}" + (f", whose mask is {piece!r}" if piece else ", of which no mask is known")
    raise settings.refuse("mask id", seen, "a tokenizer of which it is known: GPT-2's, BERT's, text8's, or one whose "
                          "record in the checkpoint says so")  # fmt: skip


def _recorded_mask(record: Mapping[str, Any]) -> tuple[bool, str | None]:
    """Whether the pickled tokenizer says what its mask is, and the piece; None where it has none."""
    places = [record, *(record.get(key) for key in ("_special_tokens_map", "special_tokens_map", "init_kwargs"))]
    held = [place for place in places if isinstance(place, Mapping)]
    said = [_text(place[key]) for place in held for key in ("_mask_token", "mask_token") if key in place]
    return bool(said), next((piece for piece in said if piece is not None), None)


def _recorded_id(record: Mapping[str, Any], piece: str) -> int | None:
    inner = (record.get(key) for key in ("init_kwargs", "_tokenizer"))
    for place in (record, *(each for each in inner if isinstance(each, Mapping))):
        for key in _IDS:
            ids = place.get(key)
            if isinstance(ids, Mapping) and isinstance(ids.get(piece), int):
                return int(ids[piece])
        for key in _PIECES:
            pieces = place.get(key)
            for number, entry in pieces.items() if isinstance(pieces, Mapping) else ():
                if _text(entry) == piece and str(number).isdecimal():
                    return int(number)
    return None


def _text(piece: Any) -> str | None:
    """A piece as text, or as the record of an added token."""
    content = piece.get("content") if isinstance(piece, Mapping) else piece
    return content if isinstance(content, str) and content else None
