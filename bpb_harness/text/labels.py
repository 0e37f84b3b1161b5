"""What documents are called, and which slice of the text each belongs to: fields beside their text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from bpb_harness.byte_count import Tokenizer
from bpb_harness.errors import CorpusError
from bpb_harness.text.corpus import LARGEST_DOCUMENT_BYTES, Corpus
from bpb_harness.text.documents import DEFAULT_FIELD, find_documents, find_records
from bpb_harness.text.fields import TextField, Written
from bpb_harness.text.separators import Borders

KEY_CHARACTERS = 80
MAX_SLICES = 1_000  # more than anybody reads
_LONGEST_CHARACTER = 4  # bytes in UTF-8; hardly a token spells nothing


@final
@dataclass(frozen=True)
class DocumentLabels:
    """Labels of all documents of a text, in its order.

    Attributes:
        keys: what each is called: its key field, or the first 80 characters of its text.
        slices: which slice each belongs to; None where none were asked for.
    """

    keys: tuple[str, ...]
    slices: tuple[str, ...] | None = None


def load_labels(
    paths: Sequence[Path], text_fields: Sequence[TextField], *, key_field: str | None, slice_field: str | None
) -> DocumentLabels:
    """The labels of documents, read beside their texts.

    Args:
        paths: as for :func:`bpb_harness.text.corpus.load_documents`.
        text_fields: fields of the texts; of a prompt and its answer both; none: `text`, or plain text.
        key_field: the field that names a document; None: its text does.
        slice_field: the field by which documents are sliced.

    Raises:
        UsageError: a field of plain text.
        CorpusError: a field that is not there, or holds no label; more than 1,000 slices; what reading texts raises.
    """
    key, part = key_field is not None, slice_field is not None
    fields = [TextField(key_field, "--key-field", "key", is_label=True)] if key_field is not None else []
    fields += [TextField(slice_field, "--slice", "slice", is_label=True)] if slice_field is not None else []
    if fields or text_fields:
        found = [*fields, *(text_fields or [TextField(DEFAULT_FIELD)])]
        files = find_records(paths, found, largest=LARGEST_DOCUMENT_BYTES)
    else:
        files = find_documents(paths, largest=LARGEST_DOCUMENT_BYTES)
    keys, slices = [], []
    for record in (record for file in files for record in file.records()):
        keys.append(record.texts[0] if key else "".join(record.texts[len(fields) :])[:KEY_CHARACTERS])
        if part:
            slices.append(record.texts[len(fields) - 1])
    if (count := len(set(slices))) > MAX_SLICES:
        raise CorpusError(
            f"--slice {slice_field}", seen=f"{count:,} values", expected=f"at most {MAX_SLICES:,}",
            hint="name a field that many documents share; --key-field names documents in --document-table",
        )  # fmt: skip
    _require_told_apart(slices, slice_field)
    return DocumentLabels(tuple(keys), tuple(map(str, slices)) if part else None)


def _require_told_apart(slices: Sequence[str], name: str | None) -> None:
    """Refuse a text that reads as another value of the field: both would be one slice."""
    written = {str(value) for value in slices if isinstance(value, Written)}
    alike = sorted(written.intersection(value for value in slices if not isinstance(value, Written)))
    if alike:
        raise CorpusError(
            f"--slice {name}", seen=f"{alike[0]} and the text {json.dumps(alike[0])}, which would be one slice",
            expected="values that are told apart", hint="write the field's values in one way",
        )  # fmt: skip


def keys_of_tokens(corpus: Corpus, tokenizer: Tokenizer, borders: Borders, numbers: Sequence[int]) -> list[str | None]:
    """The first 80 characters that the tokens of some documents spell; None where nothing tells what tokens spell."""
    if tokenizer.uncountable is not None:
        return [None] * len(numbers)
    ends = np.append(borders.starts[1:], corpus.num_tokens)
    keys: list[str | None] = []
    for number in numbers:
        start = int(borders.starts[number])
        stop = min(int(ends[number]), start + _LONGEST_CHARACTER * KEY_CHARACTERS)
        keys.append(tokenizer.decode(corpus.read(start, stop)).decode("utf-8", "replace")[:KEY_CHARACTERS])
    return keys
