"""The files that the scored tokens are read from: where they are those of training, another text is scored."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.scored_tokens import ScoredTokens, behind_target, scored_tokens
from bpb_harness.auditing.script.frontend.scopes import last_name

_TRAINED = re.compile(r"(?:^|[^a-z])train(?:ing)?(?:[^a-z]|$)", re.IGNORECASE)
_HELD_OUT = re.compile(r"(?:^|[^a-z])(?:val|valid|validation|test|dev|eval|held_?out)(?:[^a-z]|$)", re.IGNORECASE)
_IS_HELD_OUT = re.compile(
    r"(?:val|valid|validation|test|dev|eval|held_?out)_(?:tok|data|ids|file|path|shard)", re.IGNORECASE
)
_FILE = re.compile(r"[^\s]*(?:\*|\.(?:bin|npy|npz|pt|parquet|jsonl|txt))[^\s]*")


def check_scored_files(analysis: Analysis) -> Iterator[Hit]:
    """val_files = os.path.join(data_path, "fineweb_train_000001.bin"), of a record of a text that is held out.

    Only where all files that the scored tokens come from are named as those of training, and nothing else is.
    """
    known = analysis.denominator
    text = known[1].partition(", ")[0] if known is not None else ""
    if not _HELD_OUT.search(text):
        return
    read = [(tokens, _training_files(analysis, tokens)) for tokens in scored_tokens(analysis)]
    if not all(files for _, files in read):
        return
    for tokens, files in read:
        said = (
            f"The tokens that are scored are read from {files[0].value!r}, which is named as text to train on, not "
            f"from the text that the record is of, {text}"
        )
        yield analysis.hit(codes.TRAINING_FILE, said, files[0], tokens.sink)


def _training_files(analysis: Analysis, tokens: ScoredTokens) -> list[ast.Constant]:
    """The files that tokens which are called held-out come from, where all are named as those of training."""
    parts = [part for part, _ in behind_target(analysis, tokens)]
    names = (last_name(part) for part in parts if isinstance(part, ast.Name | ast.Attribute))
    files = [part for part in parts if isinstance(part, ast.Constant) and _FILE.fullmatch(str(part.value))]
    is_trained = all(_TRAINED.search(str(file.value)) and not _HELD_OUT.search(str(file.value)) for file in files)
    return files if is_trained and any(_IS_HELD_OUT.match(name) for name in names) else []
