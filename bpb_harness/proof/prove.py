"""From a checkpoint to a proof: score, choose, code, decode, compare."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from bpb_harness.errors import UsageError
from bpb_harness.estimators.orders import SCORES
from bpb_harness.evaluation.api import score_checkpoint
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.evaluation.settings import Settings
from bpb_harness.proof.bit_file import write_bits
from bpb_harness.proof.choice import Choice
from bpb_harness.proof.claim import claim_again
from bpb_harness.proof.codes import code_of
from bpb_harness.proof.decoding import Decoded, decode
from bpb_harness.proof.encoding import FURTHER_DRAWS, Encoded, encode
from bpb_harness.proof.reading import read_file
from bpb_harness.proof.verdict import PROVED, REFUTED, SHARE_OF_ORDERS, UNPROVED, Costs
from bpb_harness.result import BpbResult

_NATS_OF_BIT = float(np.log(2.0))
_SECONDS, _LEAST_WINDOWS = 60.0, 4
# What the decoding process may take: it makes the calls of one coding, after it has imported and built everything.
_LEAST_SECONDS, _TIMES_ENCODING = 120.0, 20.0


@final
@dataclass(frozen=True)
class Proof:
    """A proof that was tried.

    Attributes:
        result: the score.
        encoded: what was written.
        costs: what it cost.
        decoded: what came out of the file again.
        num_bytes: of the text of these spans; None where bytes are not counted.
        checkpoint_bytes: of the checkpoint.
        file_bytes: of the whole file.
        is_contained: whether nothing that ran in this process can have reached the one that decoded, but by the file.
    """

    result: BpbResult
    encoded: Encoded
    costs: Costs
    decoded: Decoded
    num_bytes: int | None
    checkpoint_bytes: int
    file_bytes: int
    is_contained: bool = False

    @property
    def num_wrong(self) -> int:
        """Tokens that came back as others, or not at all."""
        if self.decoded.lost is not None:
            return len(self.encoded.targets)
        return int((np.concatenate(self.decoded.spans) != self.encoded.targets).sum())

    @property
    def exit_code(self) -> int:
        """0 proved, 1 refuted, 3 decoded, by code that was not isolated or a network whose contract nobody checked."""
        if self.num_wrong or self.costs.exceeds_claim() or self.costs.exceeds_score():
            return REFUTED
        return PROVED if self.is_alone and self.is_checked else UNPROVED

    @property
    def is_alone(self) -> bool:
        """Whether what decoded could reach nothing else, or was no foreign code."""
        return not self.encoded.header.runs_code or (self.decoded.is_isolated and self.is_contained)

    @property
    def is_checked(self) -> bool:
        """Whether the network kept its contract: one that reads other rows of a batch decodes what it coded, too."""
        return self.result.signature.contract != "off"

    def sentence(self) -> str:
        """What follows, in one sentence."""
        count, bits = len(self.encoded.header.windows), 8 * len(self.encoded.bits)
        these = f"{count:,} of {self.encoded.header.num_spans:,} windows, chosen by a hash of the score,"
        if self.decoded.lost is not None:
            return f"not proved: the text did not come back: {self.decoded.lost}"
        if self.num_wrong:
            total = len(self.encoded.targets)
            return f"not proved: {self.num_wrong:,} of {total:,} tokens came back as others"
        if self.costs.exceeds_claim():
            return f"not proved: {these} cost more than the claim for them by more than 4 errors"
        if self.costs.exceeds_score():
            return f"not proved: {these} cost more than they did in the score by more than 4 errors"
        if not self.is_alone:
            return f"decoded, not isolated: {these} came back from {bits:,} bits, by code that could reach other files"
        if not self.is_checked:
            return f"decoded, not checked: {these} came back from {bits:,} bits; leave out --no-contract for a proof"
        given = sum(self.encoded.header.contexts)
        beside = f", given {given:,} tokens before them" if given else ""
        return f"proved: {these} came back, token by token, from {bits:,} bits{beside}"

    def __str__(self) -> str:
        costs, bits = self.costs, 8 * len(self.encoded.bits)
        drawn = ""
        if costs.claim.num_draws:
            drawn = f" +- {costs.claim_stderr_bits:,.1f} (independent rates, K = {costs.claim.num_draws})"
        spread = f"; such a draw varies by {costs.draw_stderr_bits:,.1f}" if len(costs.further_nats) else ""
        unit = "byte" if self.num_bytes else "token"
        rate = bits / (self.num_bytes or len(self.encoded.targets))
        around = self.file_bytes - len(self.encoded.bits)
        overhead = 100.0 * (bits / costs.coded_bits - 1.0) if costs.coded_bits else 0.0
        size = "" if not self.num_bytes else f", {self.num_bytes:,} bytes"
        return "\n".join([
            str(self.result),
            f"  claim for these windows, estimated again: {costs.claimed_bits:,.1f} bits{drawn}",
            f"  coded: {costs.coded_bits:,.1f} bits by the network{spread}",
            f"  file: {len(self.encoded.bits):,} bytes of bits, and {around:,} of header and given tokens",
            f"  cashed: {rate:.4f} bits per {unit} ({overhead:+.2f} % above the network's own)",
            f"  decoded in a process of its own, {self.decoded.in_words}",
            f"  text of {len(self.encoded.targets):,} tokens{size}; checkpoint of {self.checkpoint_bytes:,} bytes, "
            "which may know the text by heart",
            self.sentence(),
        ])  # fmt: skip


def prove(
    checkpoint: Path, settings: Settings, file: Path, *, num_windows: int | None,
    progress: Callable[[int, int], None] | None = None, is_contained: bool = False,
    time_limit: float | None = None,
) -> Proof:  # fmt: skip
    """Score a checkpoint, code some of its windows into a file, and get them back from it.

    Args:
        checkpoint: what is scored.
        settings: how.
        file: where the bits go.
        num_windows: how many windows; None: as many as take about a minute, at least 4.
        progress: called with (tokens coded, tokens in all).
        time_limit: seconds that decoding may take; None: some times what coding took.
        is_contained: whether this process leaves nothing behind (:mod:`bpb_harness.proof.scoring_process`).

    Raises:
        HarnessError: for anything that cannot be scored, coded or decoded.
    """
    _require_known(settings)
    job, result = score_checkpoint(checkpoint, replace(settings, with_windows=True))
    assert job.source is not None
    assert result.windows is not None
    count = _count(job, result, num_windows)
    choice = Choice(job.identity.digest, job.text.corpus.digest, str(result))
    draws = 1 + (FURTHER_DRAWS if job.bounds else 0)
    lengths = job.spans.lengths[choice.spans(len(job.spans), count)]
    began = time.monotonic()
    encoded = encode(job, choice, count, _count_tokens(progress, draws * int(lengths.sum())))
    seconds = time_limit or _LEAST_SECONDS + _TIMES_ENCODING * (time.monotonic() - began)
    together = [np.array(batch) for batch in encoded.header.batches]
    claim = claim_again(job, np.array(encoded.header.windows), encoded.spans, choice.streams, together)
    scored = result.windows["bits"].to_numpy()[encoded.header.windows] * _NATS_OF_BIT
    by_predictions = METHODS[settings.method].goes_in_order and settings.order in SCORES
    costs = Costs(
        claim, scored, encoded.coded_nats, encoded.further_nats, encoded.spans.num_tokens, settings.dtype,
        SHARE_OF_ORDERS if by_predictions else 0.0,
    )  # fmt: skip
    write_bits(file, encoded.header.plain(), [encoded.given.astype("<u4").tobytes(), encoded.bits])
    header, given, bits = read_file(file)
    decoded = decode(header, given, bits, job.source, seconds=seconds)
    num_bytes = None
    if "num_bytes" in result.windows:
        num_bytes = int(result.windows["num_bytes"].to_numpy()[encoded.header.windows].sum())
    return Proof(result, encoded, costs, decoded, num_bytes, _size_of(checkpoint), file.stat().st_size, is_contained)


def _count_tokens(progress: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    """A counter of tokens that reports to ``progress``."""
    done = 0

    def advance(tokens: int) -> None:
        nonlocal done
        done += tokens
        if progress is not None:
            progress(done, total)

    return advance


def _require_known(settings: Settings) -> None:
    """Refuse what has no code here, before anything is scored."""
    if METHODS[settings.method].enumerates:
        raise UsageError(
            "bpb-prove does not know --method exact yet", hint="pass --method discrete or mc, whose bounds are the same"
        )
    if settings.scores_answers:
        raise UsageError("bpb-prove does not know --target-field yet", hint="pass --docs without it, or --data")
    if settings.compare:
        raise UsageError("bpb-prove does not know --compare yet", hint="pass one --method")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("bpb-prove does not know several processes yet", hint="pass it to one process, not torchrun")


def _count(job: Job, result: BpbResult, wanted: int | None) -> int:
    """How many windows."""
    total = len(job.spans)
    if wanted is not None:
        if not 1 <= wanted <= total:
            raise UsageError("--num-windows", seen=wanted, expected=f"1 to {total}, the windows that were scored")
        return wanted
    length = int(job.spans.input_lengths.max())
    calls = code_of(job.estimators[0], Choice("", "", "").streams).num_calls(int(job.spans.lengths.max()))
    times = 2 + (FURTHER_DRAWS if job.bounds else 0)
    seconds = times * calls * length * result.seconds / max(result.num_forward_tokens, 1)
    return min(total, max(_LEAST_WINDOWS, int(_SECONDS / max(seconds, 1e-9))))


def _size_of(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)
