"""BPB102 where the tokenizer's own model in the folder has no piece for a space alone.

Such a space is spelt by the three byte pieces of U+2581, each of which counts one byte: three in place of one. How many
spaces are hangs on the vocabulary, so the log's own bytes have to be more than the split's by as much as that can be,
the script's byte table has to count the three so, and nothing may tell of another text, or of more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.more_than_the_text import has_one_ratio
from bpb_harness.auditing.checks.other_text_told import may_be_more_text
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim.untrusted_file import open_regular, resolved
from bpb_harness.errors import HarnessError
from bpb_harness.findings import Finding

_BUG = "space_counts_three"
_MARK = "\u2581"
_SPELT = frozenset({"<0xE2>", "<0x96>", "<0x81>"})
_OF_A_SPELT_SPACE = "bytes of <0xE2>, <0x96>, <0x81>"  # in BPB162, as the checks of scripts write it
_LARGEST = 16 << 20  # bytes of a model


def check_bare_space(evidence: Evidence, folders: Sequence[Path], findings: Sequence[Finding]) -> Iterator[Finding]:
    """Refute a record whose tokens, times the bytes that it divides each by, are too many, where the model says why.

    Args:
        evidence: the claim and its record.
        folders: the folders that are audited.
        findings: what else was found, of the script's byte table among it.
    """
    ratio, times = evidence.ratio, evidence.share_of_bytes
    bug = next((each for each in evidence.rules.pack.byte_factors if each.name == _BUG), None)
    if ratio is None or times is None or bug is None or not bug.lowest <= times <= bug.highest or len(folders) != 1:
        return
    models = {name for log in evidence.claim_logs for name in log.models}
    if len(models) != 1 or not has_one_ratio(evidence, ratio) or not _counts_three(findings):
        return
    (name,) = models
    pieces = _pieces(resolved(folders[0]) / name, name)
    if pieces is None or _MARK in pieces or not pieces >= _SPELT:
        return
    size = max(size for log in evidence.claim_logs for size in log.split_tokens)
    num_bytes = round(size * ratio.value / times)
    if may_be_more_text(evidence, num_bytes, name):
        return
    message = (
        f"the score is too low (too good), for it divides by {times:.4f} times too many bytes: {size:,} tokens x "
        f"{ratio.value:.5f} bytes per token = {size * ratio.value / 1e6:.1f} MB, the split has {num_bytes / 1e6:.2f} "
        f"MB. {name}, the tokenizer that the log names, has no piece for a space alone: {bug.story}, which makes "
        f"{bug.lowest:g} to {bug.highest:g} times the bytes"
    )
    yield codes.BYTES_BUG.finding(
        message,
        factor=times,
        bug=bug.name,
        bytes_per_token=ratio.value,
        expected=num_bytes / size,
        tokenizer=name,
        read=name,
        places=list(ratio.places),
    )


def _counts_three(findings: Sequence[Finding]) -> bool:
    """Whether every byte table of the scripts that was followed counts a byte for each of the three, and one was."""
    tables = [each for each in findings if any(key.startswith("counted for ") for key in each.evidence)]
    counted = [each.evidence.get(_OF_A_SPELT_SPACE) for each in tables]
    return bool(counted) and all(each == [1, 1, 1] for each in counted)


def _pieces(path: Path, name: str) -> frozenset[str] | None:
    """The pieces of a SentencePiece model; None where it cannot be read."""
    from bpb_harness.byte_count.sentencepiece_model import SentencePieceTokenizer  # deferred: few records need it

    try:
        with open_regular(path, name) as file:
            data = file.read(_LARGEST + 1)
        return None if len(data) > _LARGEST else frozenset(SentencePieceTokenizer(data, name).pieces)
    except (HarnessError, OSError, ImportError):
        return None
