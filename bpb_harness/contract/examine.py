"""The order of the checks, and how much of each a run can afford."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor

from bpb_harness.contract.batch import check_alone, check_rows
from bpb_harness.contract.blocks import check_blocks
from bpb_harness.contract.causality import check_causality
from bpb_harness.contract.contexts import check_contexts
from bpb_harness.contract.difference import Answer
from bpb_harness.contract.memory import check_memory, check_repeats
from bpb_harness.contract.own_state import OwnState
from bpb_harness.contract.probe import Probe, block_probe, causal_probe, denoiser_probe, replaced, revealed
from bpb_harness.contract.promises import check_factoring, check_time_conditioning
from bpb_harness.contract.shift import check_shift
from bpb_harness.contract.subject import Subject
from bpb_harness.contract.tokens import check_context, check_mask_id, check_mask_mass, check_shortest
from bpb_harness.contract.witness import Witness
from bpb_harness.denoiser import BlockDenoiser, CausalLM, Denoiser
from bpb_harness.result import Remark
from bpb_harness.schedule import NoiseSchedule

# Rows of the small questions: a run that has few itself is asked fewer.
_FEW_ROWS, _MIN_ROWS, _SMALL_RUN = 4, 2, 64
# A causal model's cuts, or borders of blocks, may take this share of a run's rows, the question afterwards that one.
_CUTS_SHARE = {"cpu": 0.35, "cuda": 0.03}
_AGAIN_SHARE = 0.125
_OF_ALL = ("the same question again", "after other questions")
_OF_DENOISERS = ("trunk and head", "contexts", "other rows")
_OF_LEVELS = ("the noise level", "the mask's mass")
_OF_CAUSAL = ("a row alone", "later tokens")
_LAST = "the shortest window"


@final
@dataclass(frozen=True)
class Examination:
    """What the checks before a score found, and who checks after it.

    Attributes:
        findings: what does not stop the evaluation.
        witness: asks again once the corpus is scored.
    """

    findings: list[Remark]
    witness: Witness


def check_denoiser(
    model: Denoiser,
    windows: Tensor,
    *,
    schedule: NoiseSchedule,
    seed: int = 0,
    batch_rows: int = 8,
    dtype: torch.dtype = torch.float32,
) -> list[Remark]:
    """Check that a denoiser behaves as one.

    Args:
        model: the network, on the device of ``windows``.
        windows: clean tokens of the corpus, (N, L) int64, N of 2 or more; a handful is enough.
        schedule: what its noise levels come from.
        seed: of the masks and replaced tokens used here.
        batch_rows: how many windows the evaluation puts into a batch.
        dtype: what the network computes in; sets the tolerances.

    Returns:
        Findings that do not stop the evaluation.

    Raises:
        ContractError: the first failure, as the subclass that names it.
    """
    return examine(model, windows, schedule=schedule, seed=seed, batch_rows=batch_rows, dtype=dtype).findings


def check_causal_lm(
    model: CausalLM,
    windows: Tensor,
    *,
    seed: int = 0,
    batch_rows: int = 8,
    dtype: torch.dtype = torch.float32,
) -> list[Remark]:
    """Check that a causal model behaves as one; arguments and errors as of :func:`check_denoiser`."""
    return examine(model, windows, seed=seed, batch_rows=batch_rows, dtype=dtype).findings


def examine(
    model: Denoiser | CausalLM,
    windows: Tensor,
    *,
    schedule: NoiseSchedule | None = None,
    seed: int = 0,
    batch_rows: int = 8,
    num_rows: int | None = None,
    dtype: torch.dtype = torch.float32,
    by_blocks: bool = False,
    widest: tuple[int, int] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Examination:
    """Check a network before it is scored, and leave a witness for afterwards.

    Args:
        model: the network, on the device of ``windows``.
        windows: clean tokens of the corpus, as long as those that will be scored, (N, L) int64.
        schedule: of a denoiser's noise levels; None for a causal model.
        seed: of masks, cuts and replaced tokens.
        batch_rows: rows of the largest batch that the evaluation puts into the network.
        num_rows: rows of the whole evaluation, which the checks take their size from; None sets no bound.
        dtype: what the network computes in.
        by_blocks: the evaluation asks for all blocks of a window in one call, of a network that takes them so; rows
            are then whole windows. Otherwise a network of blocks is asked for the last block of each row.
        widest: tokens of a row, and rows, of a batch of shorter rows that has more of them than ``batch_rows``.
        tell: called with a word for each check as it begins.

    Raises:
        ContractError: the first failure, as the subclass that names it.
    """
    begin = _counted(_names(model, by_blocks=by_blocks, has_shorter=widest is not None), tell)
    checks = _Checks(model, windows, torch.Generator().manual_seed(seed), batch_rows, num_rows, dtype, begin)
    check_context(model.context_length, windows)
    if isinstance(model, Denoiser):
        assert schedule is not None
        findings, batch, answer = checks.of_denoiser(model, schedule, by_blocks=by_blocks, widest=widest)
    else:
        findings, batch, answer = checks.of_causal(widest=widest)
    begin()
    check_shortest(checks.subject, checks.few)
    checks.state.require_unchanged()
    again_rows = batch_rows if num_rows is None else max(int(_AGAIN_SHARE * num_rows), _MIN_ROWS)
    return Examination(findings, Witness.of(checks.subject, checks.state, batch, answer, min(again_rows, len(batch))))


@final
class _Checks:
    """The checks of one network.

    Attributes:
        subject: the network.
        state: its parameters and buffers, before the first question.
        few: a few rows, once they are drawn.
    """

    few: Probe

    def __init__(
        self, model: Denoiser | CausalLM, windows: Tensor, generator: torch.Generator, batch_rows: int,
        num_rows: int | None, dtype: torch.dtype, begin: Callable[[], None],
    ) -> None:  # fmt: skip
        self.subject, self.state = Subject(model, dtype, windows.device), OwnState(model)
        self._windows, self._generator, self._batch_rows, self._begin = windows, generator, batch_rows, begin
        is_small = num_rows is not None and num_rows < _SMALL_RUN
        self._few_rows = min(_MIN_ROWS if is_small else _FEW_ROWS, max(batch_rows, _MIN_ROWS))
        share = _CUTS_SHARE.get(windows.device.type, 0.03)
        self._most_rows = windows.shape[1] if num_rows is None else int(share * num_rows)

    def of_denoiser(
        self, model: Denoiser, schedule: NoiseSchedule, *, by_blocks: bool, widest: tuple[int, int] | None
    ) -> tuple[list[Remark], Probe, Answer]:
        """What was found, and a batch of the run's size with the answer to it."""
        subject, windows, generator, begin = self.subject, self._windows, self._generator, self._begin
        check_mask_id(model, windows)
        draw = partial(_draw, schedule=schedule, generator=generator, model=model, by_blocks=by_blocks)
        few = self.few = draw(windows[: self._few_rows])
        others = draw(replaced(few.x0, model, generator))
        findings, first = self._ask_first([others, revealed(few, generator, model)])
        begin()
        check_factoring(subject, few, first)
        begin()
        check_contexts(subject, few, first)
        begin()
        batch, answer = check_rows(subject, few, first, windows, self._batch_rows, schedule, generator)
        if by_blocks:
            at_once = min(self._batch_rows, len(batch))  # fewer where memory is short
            begin()
            check_blocks(subject, few, first, batch_rows=at_once, most_rows=self._most_rows, generator=generator)
        begin()
        findings += check_time_conditioning(subject, few, first, schedule)
        begin()
        findings += check_mask_mass(subject, first) + check_shift(few, first)
        if widest is not None:
            length, rows = widest
            begin()
            short = windows[:, :length]
            few_short = draw(short[: self._few_rows])
            check_rows(subject, few_short, subject.ask(few_short), short, rows, schedule, generator)
        return findings, batch, answer

    def of_causal(self, *, widest: tuple[int, int] | None) -> tuple[list[Remark], Probe, Answer]:
        """The same of a causal model."""
        windows, generator = self._windows, self._generator
        few = self.few = causal_probe(windows[: self._few_rows])
        findings, first = self._ask_first([causal_probe(replaced(few.x0, self.subject.model, generator))])
        self._begin()
        check_alone(self.subject, few, first)
        look = partial(check_causality, self.subject, most_rows=self._most_rows, generator=generator)
        self._begin()
        batch, answer = look(few, first, size=self._batch_rows)
        findings += check_shift(few, first)
        if widest is not None:
            length, rows = widest
            self._begin()
            few_short = causal_probe(windows[: self._few_rows, :length])
            look(few_short, self.subject.ask(few_short), size=rows)
        return findings, batch, answer

    def _ask_first(self, between: list[Probe]) -> tuple[list[Remark], Answer]:
        # The order matters: a network that remembers must not have seen these windows in any other way before the check
        # for memory, and one that drifts would fail every later check under another name.
        self._begin()
        first = self.subject.ask(self.few)
        self.state.require_unchanged()
        findings = check_repeats(self.subject, self.few, first)
        self._begin()
        check_memory(self.subject, self.few, between, first)
        return findings, first


def _names(model: Denoiser | CausalLM, *, by_blocks: bool, has_shorter: bool) -> list[str]:
    """The checks of a run, in their order."""
    names = [*_OF_ALL]
    if isinstance(model, Denoiser):
        names += [*_OF_DENOISERS, *(["blocks"] if by_blocks else []), *_OF_LEVELS]
    else:
        names += _OF_CAUSAL
    return [*names, *(["batches of shorter rows"] if has_shorter else []), _LAST]


def _counted(names: Sequence[str], tell: Callable[[str], None]) -> Callable[[], None]:
    """What is called when the next check begins, and tells so."""
    numbered = enumerate(names, 1)

    def begin() -> None:
        number, name = next(numbered)
        tell(f"checks {number} of {len(names)}: {name}")

    return begin


def _draw(
    x0: Tensor, *, schedule: NoiseSchedule, generator: torch.Generator, model: Denoiser, by_blocks: bool
) -> Probe:
    if by_blocks:
        assert isinstance(model, BlockDenoiser)
        return block_probe(x0, schedule, generator, model)
    return denoiser_probe(x0, schedule, generator, model)
