"""From a checkpoint to a proof: score, choose, code, decode, compare."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.byte_count import Tokenizer
from bpb_harness.errors import UsageError
from bpb_harness.estimators.orders import SCORES
from bpb_harness.evaluation.api import score_checkpoint
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.evaluation.settings import Settings
from bpb_harness.proof.agreement import line_of
from bpb_harness.proof.bit_file import write_bits
from bpb_harness.proof.cashed import cashed_of
from bpb_harness.proof.choice import Choice
from bpb_harness.proof.claim import claim_again
from bpb_harness.proof.codes import code_of
from bpb_harness.proof.encoding import encode, num_codings
from bpb_harness.proof.reading import Opened, open_proof
from bpb_harness.proof.taken_score import load_scored
from bpb_harness.proof.verdict import REFUTED, SHARE_OF_ORDERS, UNPROVED, Costs
from bpb_harness.result import BpbResult

Ints = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]

_SECONDS, _MIN_WINDOWS = 60.0, 4
# What the decoding process may take: it makes the calls of one coding, after it has imported and built everything.
_MIN_SECONDS, _TIMES_ENCODING = 120.0, 20.0


@final
@dataclass(frozen=True)
class Written:
    """A score, and what of it went into a file of bits.

    Attributes:
        score: the line that is printed.
        costs: what the chosen spans cost.
        starts: where their targets start in the text, (N,).
        targets: their tokens, one span after another.
        num_bytes: of their text; None where bytes are not counted.
        seconds: how long coding took.
        exceeds_whole: of a score that was taken from a file, which does not hold costs of single windows: whether these
            windows cost more than it says of the whole, by more than 4 errors. A stranger, who has no text before them,
            counts their bytes less exactly.
        tokenizer: of the text; None: what the windows cost is not held against the score, as a stranger would.
    """

    score: str
    costs: Costs
    starts: Ints
    targets: Ints
    num_bytes: int | None
    seconds: float
    exceeds_whole: bool = False
    tokenizer: Tokenizer | None = None


@final
@dataclass(frozen=True)
class Proof:
    """A proof that was tried.

    Attributes:
        written: what went into the file.
        opened: what came out of it again.
        checkpoint_bytes: of the checkpoint.
        file_bytes: of the whole file.
        is_contained: whether nothing that ran where the file was written can have reached the process that decoded it,
            but by the file.
    """

    written: Written
    opened: Opened
    checkpoint_bytes: int
    file_bytes: int
    is_contained: bool = False

    @property
    def num_wrong(self) -> int:
        """Tokens that came back as others, or not at all."""
        decoded = self.opened.decoded
        if decoded.lost is not None:
            return len(self.written.targets)
        return int((np.concatenate(decoded.spans) != self.written.targets).sum())

    @property
    def exit_code(self) -> int:
        """What a stranger's ``--decode`` ends with; 1 and 3 also for what can be known only here.

        That is: which tokens they were, what they cost in the score, and whether code ran beside the text.
        """
        if self._refuted() is not None:
            return REFUTED
        return self.opened.exit_code if self.is_alone else UNPROVED

    @property
    def is_alone(self) -> bool:
        """Whether what decoded could reach nothing else, or was no foreign code."""
        runs_code = self.opened.header.runs_code or self.opened.runs_code  # a header of code is that code's own word
        return not runs_code or (self.opened.decoded.is_isolated and self.is_contained)

    def sentence(self) -> str:
        """What follows, in one sentence: a stranger's, where nothing more is known here."""
        refuted = self._refuted()
        if refuted is not None:
            return refuted
        return self.opened.sentence() if self.is_alone else self.opened.not_isolated()

    def _refuted(self) -> str | None:
        """What does not hold, in one sentence; None where all does."""
        lost, costs, these = self.opened.decoded.lost, self.written.costs, self.opened.these
        if lost is not None:
            return f"not decoded: the text did not come back: {lost}"
        if self.num_wrong:
            return f"not decoded: {self.num_wrong:,} of {len(self.written.targets):,} tokens came back as others"
        if costs.exceeds_claim():
            return f"not proved: {these} cost more than the claim for them by more than 4 errors"
        if costs.exceeds_score():
            return f"not proved: {these} cost more than they did in the score by more than 4 errors"
        if self.opened.exit_code == REFUTED:
            return self.opened.sentence()
        if self.written.exceeds_whole:
            return f"not proved: {these} cost more than the score says by more than 4 errors"
        return None

    def __str__(self) -> str:
        written, costs, bits = self.written, self.written.costs, self.opened.num_bits
        how, drawn = "computed", ""
        if costs.claim.num_draws:
            how = "estimated"
            drawn = f" +- {costs.claim_stderr_bits:,.1f} (independent rates, K = {costs.claim.num_draws})"
        spread = f"; such a draw varies by {costs.draw_stderr_bits:,.1f}" if len(costs.further_nats) else ""
        unit = "byte" if written.num_bytes else "token"
        rate = bits / (written.num_bytes or len(written.targets))
        around = self.file_bytes - bits // 8
        overhead = 100.0 * (bits / costs.coded_bits - 1.0) if costs.coded_bits else 0.0
        size = "" if not written.num_bytes else f", {written.num_bytes:,} bytes"
        return "\n".join([
            written.score,
            f"  claim for these windows, {how} again: {costs.claimed_bits:,.1f} bits{drawn}",
            f"  coded: {costs.coded_bits:,.1f} bits by the network{spread}",
            f"  file: {bits // 8:,} bytes of bits, and {around:,} of header and given tokens",
            f"  cashed: {rate:.4f} bits per {unit} ({overhead:+.2f} % above the network's own)",
            *([] if self.opened.cashed is None else [f"  against the whole of the score: {self.opened.cashed}"]),
            f"  decoded in a process of its own, {self.opened.decoded.in_words}",
            f"  text of {len(written.targets):,} tokens{size}; checkpoint of {self.checkpoint_bytes:,} bytes, "
            "which may know the text by heart",
            self.sentence(),
        ])  # fmt: skip


def prove(
    checkpoint: Path, settings: Settings, file: Path, *, num_windows: int | None,
    progress: Progress | None = None, time_limit: float | None = None, score: Path | None = None,
) -> Proof:  # fmt: skip
    """Score a checkpoint, code some of its windows into a file, and get them back from it.

    Args:
        checkpoint: what is scored.
        settings: how.
        file: where the bits go.
        num_windows: how many windows; None: as many as take about a minute, at least 4.
        progress: called with (tokens coded, tokens in all).
        time_limit: seconds that decoding may take; None: some times what coding took.
        score: a result's file to be taken instead of scoring; its settings are among ``settings``.

    Raises:
        HarnessError: for anything that cannot be scored, coded or decoded.
    """
    written = write_proof(checkpoint, settings, file, num_windows=num_windows, progress=progress, score=score)
    return get_back(written, checkpoint, settings, file, time_limit=time_limit)


def get_back(
    written: Written, checkpoint: Path, settings: Settings, file: Path, *, time_limit: float | None = None,
    is_contained: bool = False,
) -> Proof:  # fmt: skip
    """Decode a file of bits that has just been written."""
    opened = open_proof(
        file, checkpoint, model=settings.model, allow_code=settings.allow_code,
        seconds=time_limit or _MIN_SECONDS + _TIMES_ENCODING * written.seconds, tokenizer=written.tokenizer,
    )  # fmt: skip
    return Proof(written, opened, _size_of(checkpoint), file.stat().st_size, is_contained)


def write_proof(
    checkpoint: Path, settings: Settings, file: Path, *, num_windows: int | None, progress: Progress | None = None,
    score: Path | None = None,
) -> Written:  # fmt: skip
    """Score a checkpoint, and code some of its windows into a file; the arguments are those of :func:`prove`."""
    _require_known(settings)
    if score is None:
        job, result = score_checkpoint(checkpoint, settings)
    else:
        job, result = load_scored(checkpoint, settings, score)
    count = _count(job, result, num_windows)
    choice = Choice(job.identity.digest, job.text.corpus.digest, result.line)
    draws = num_codings(code_of(job.estimators[0], choice.streams))
    lengths = job.spans.lengths[choice.spans(len(job.spans), count)]
    began = time.monotonic()
    encoded = encode(job, choice, count, _count_tokens(progress, draws * int(lengths.sum())))
    seconds = time.monotonic() - began
    together = [np.array(batch) for batch in encoded.header.batches]
    claim = claim_again(job, np.array(encoded.header.windows), encoded.spans, choice.streams, together)
    scored = None if result.span_nats is None else result.span_nats[encoded.header.windows]
    by_predictions = METHODS[settings.method].goes_in_order and settings.order in SCORES
    costs = Costs(
        claim, scored, encoded.coded_nats, encoded.further_nats, encoded.spans.num_tokens, settings.dtype,
        SHARE_OF_ORDERS if by_predictions else 0.0,
    )  # fmt: skip
    write_bits(file, encoded.header.plain(), [encoded.given.astype("<u4").tobytes(), encoded.bits])
    counts_bytes = settings.byte_rule != "none"
    num_bytes = int(job.num_units[encoded.header.windows].sum()) if counts_bytes else None
    written = Written(
        result.line, costs, encoded.spans.starts, encoded.targets, num_bytes, seconds, tokenizer=job.text.tokenizer
    )
    if scored is not None:
        return written
    units = np.asarray(job.num_units[encoded.header.windows])
    line = line_of(encoded.header, file.name)
    whole = cashed_of(encoded.header, line, encoded.coded_nats, 8 * len(encoded.bits), units, counts_bytes=counts_bytes)
    return replace(written, exceeds_whole=whole.exceeds_score())


def _count_tokens(progress: Progress | None, total: int) -> Callable[[int], None]:
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
    if settings.compare:
        raise UsageError("--compare", seen="two bounds", expected="the one that is proved", hint="pass one --method")
    if settings.ttt is not None:
        raise UsageError(
            f"--ttt {settings.ttt} with bpb-prove", seen="a network that learns on the way",
            expected="one that stays as it is", hint="leave it out: a score with --ttt has no proof",
        )  # fmt: skip
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise UsageError(
            "bpb-prove under torchrun", seen=f"{processes} processes", expected="one: its calls are what is repeated",
            hint="start it without torchrun",
        )  # fmt: skip


def _count(job: Job, result: BpbResult, wanted: int | None) -> int:
    """How many windows."""
    total = len(job.spans)
    if wanted is not None:
        if not 1 <= wanted <= total:
            raise UsageError("--num-windows", seen=wanted, expected=f"1 to {total}, the windows that were scored")
        return wanted
    length = int(job.spans.input_lengths.max())
    code = code_of(job.estimators[0], Choice("", "", "").streams)
    calls, times = code.num_calls(int(job.spans.lengths.max())), 1 + num_codings(code)
    seconds = times * calls * length * result.seconds / max(result.num_forward_tokens, 1)
    return min(total, max(_MIN_WINDOWS, int(_SECONDS / max(seconds, 1e-9))))


def _size_of(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)
