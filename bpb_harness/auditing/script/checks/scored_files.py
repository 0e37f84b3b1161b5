"""The files that the scored tokens are read from: where they are those of training, another text is scored."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.scored_tokens import behind_target, scored_tokens

_TRAINED = re.compile(r"(?:^|[^a-z])train(?:ing)?(?:[^a-z]|$)", re.IGNORECASE)
_HELD_OUT = re.compile(r"(?:^|[^a-z])(?:val|valid|validation|test|dev|eval|held_?out)(?:[^a-z]|$)", re.IGNORECASE)
_FILE = re.compile(r"[^\s]*(?:\*|\.(?:bin|npy|npz|pt|parquet|jsonl|txt))[^\s]*")


def check_scored_files(analysis: Analysis) -> Iterator[Hit]:
    """val_files = os.path.join(data_path, "fineweb_train_000001.bin"), of a record of a text that is held out.

    Only where all files that the scored tokens come from are named as those of training, and nothing else is.
    """
    known = analysis.denominator
    text = known[1].partition(", ")[0] if known is not None else ""
    if not _HELD_OUT.search(text):
        return
    for tokens in scored_tokens(analysis):
        parts = behind_target(analysis, tokens)
        files = [
            part
            for part, _ in parts
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and _FILE.fullmatch(part.value)
        ]
        names = [str(part.value) for part in files]
        if not files or not all(map(_TRAINED.search, names)) or any(map(_HELD_OUT.search, names)):
            continue
        said = (
            f"The tokens that are scored are read from {names[0]!r}, which is named as text to train on, not from the "
            f"text that the record is of, {text}"
        )
        yield analysis.hit(codes.TRAINING_FILE, said, files[0], tokens.sink)
