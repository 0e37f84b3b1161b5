"""The tokenizer of a proof: the one that is named, or else the one that the checkpoint carries, as in scoring."""

from __future__ import annotations

from pathlib import Path

from bpb_harness.byte_count import Tokenizer, load_tokenizer
from bpb_harness.checkpoints import Checkpoint, read_checkpoint
from bpb_harness.checkpoints.model_folder import tokenizer_of as tokenizer_in
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.inputs import own_tokenizer
from bpb_harness.proof.decoding import require_same_checkpoint
from bpb_harness.proof.header import Header
from bpb_harness.proof.score_line import ScoreLine

_HINT = "pass --tokenizer MODEL, that of the score"


def tokenizer_of(header: Header, checkpoint: Path, path: Path | None, *, spells: bool = False) -> Tokenizer:
    """What turns the tokens of a proof into bytes.

    Args:
        header: of the file of bits.
        checkpoint: of its network.
        path: of the tokenizer, if one is named.
        spells: whether tokens are to be spelled, also where the score counts no bytes.

    Raises:
        UsageError: if none is named, and the checkpoint carries none, or another one than the score's.
        InputError: for another checkpoint than the file's.
        HarnessError: if one of them cannot be read.
    """
    needs_bytes = spells or ScoreLine.read(header.score).signature.byte_rule != "none"
    if path is not None:
        return load_tokenizer(path, needs_bytes=needs_bytes)
    own = _carrying(header, checkpoint)
    if own is None:
        raise UsageError("no --tokenizer", seen=f"none inside {checkpoint.name}", hint=_HINT)
    tokenizer = own_tokenizer(own, needs_bytes=needs_bytes)
    if tokenizer.digest != header.tokenizer:
        raise UsageError(
            f"no --tokenizer, and the one inside {checkpoint.name} is not the score's", seen=tokenizer.digest[:16],
            expected=header.tokenizer[:16], hint=_HINT,
        )  # fmt: skip
    return tokenizer


def _carrying(header: Header, path: Path) -> Checkpoint | None:
    """The checkpoint, without its tensors; None where it carries no tokenizer."""
    if header.code is not None:  # only that code knows what the file is
        return None
    require_same_checkpoint(header, path)
    if path.is_dir():  # whose weights need not be read for it
        model_bytes = tokenizer_in(path)
        return None if model_bytes is None else Checkpoint(path, "folder", header.model, {}, tokenizer=model_bytes)
    checkpoint = read_checkpoint(path, header.weights)
    return None if checkpoint.tokenizer is None else checkpoint
