"""Behavioural checks of a network before it is scored: a few windows, a few seconds.

A score means something only if the network is a fixed function of its own row: deterministic, without memory, blind to
the rest of its batch, blind to later tokens where it says so. Every check compares two calls that an honest network
answers alike; a failure is an error of its own (:mod:`bpb_harness.errors`) with the position and the numbers.

:class:`Witness` remembers an answer and asks again after the whole corpus: what moved in between is caught then.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from bpb_harness.denoiser import (
    CausalLM,
    Denoiser,
    FactoredDenoiser,
    PickingDenoiser,
    clean_log_probs,
    masked_token_nll,
)
from bpb_harness.errors import (
    BatchSizeError,
    CausalityError,
    ContextLengthError,
    ContractError,
    DriftError,
    FactoringError,
    HarnessError,
    LogitsShapeError,
    LogitsWidthError,
    MaskMassError,
    MaskTokenError,
    NondeterministicError,
    NonFiniteLogitsError,
    RowDependenceError,
    StatefulError,
    TimeConditioningError,
)
from bpb_harness.schedule import NoiseLevel, NoiseSchedule

# Behaviour is compared on pieces of this size: long enough for thousands of tokens, short enough for a CPU.
_ROWS = 4
_LENGTH = 256
_LARGEST_BATCH = 32
_REPEATS = 8
_NUM_CUTS = 16

_BITS = 1.0 / math.log(2.0)


@final
@dataclass(frozen=True)
class ContractFinding:
    """Something worth printing that does not make the score meaningless.

    Attributes:
        code: stable name, such as "contract.mask-mass".
        message: one line.
        evidence: numbers and positions.
    """

    code: str
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class _Tolerance:
    """How far two answers of an honest network lie apart.

    Batch size and shape pick other kernels, which add in another order. In float32 the log-probabilities of the
    transformers tested here then differ by up to 2e-5 at logits of about 20; deep networks lose another digit, hence
    1e-4 per unit of spread (five to fifty times what was seen). In bfloat16 one step is 1/256 of a logit, and a few
    steps pile up over the layers. What such rounding cannot do is to favour the true token on average: hence the second
    test, a mean change of the code length beyond six standard errors of its own scatter.

    Attributes:
        per_spread: largest change of a log-probability per unit of spread of the logits.
        mean_nats: change of the mean code length per token that is never an alarm, in nats.
    """

    per_spread: float
    mean_nats: float


def _tolerance(dtype: torch.dtype, device: torch.device) -> _Tolerance:
    if dtype == torch.float64:
        return _Tolerance(1e-9, 1e-9)
    if dtype == torch.float32:
        # TensorFloat-32 products keep ten bits.
        coarse = device.type == "cuda" and torch.get_float32_matmul_precision() != "highest"
        return _Tolerance(1e-2, 1e-3) if coarse else _Tolerance(1e-4, 1e-5)
    return _Tolerance(1e-1, 1e-3)


@final
@dataclass(frozen=True)
class _Difference:
    """Between two answers to what should be one question."""

    largest: float
    row: int
    position: int
    mean_nats: float
    stderr_nats: float
    spread: float
    identical: bool

    def exceeds(self, tolerance: _Tolerance) -> bool:
        biased = abs(self.mean_nats) > tolerance.mean_nats + 6.0 * self.stderr_nats
        return biased or not self.largest <= tolerance.per_spread * max(1.0, self.spread)

    def __str__(self) -> str:
        return (
            f"a log-probability that moved by {self.largest:.3g} at row {self.row}, position {self.position}; "
            f"mean code length moved by {self.mean_nats * _BITS:+.3g} bits/token"
        )


@final
@dataclass(frozen=True)
class _Probe:
    """One question: what the network sees, and where its answer counts.

    Attributes:
        x0: clean tokens, (B, L); for a causal model also its input.
        counted: positions whose distribution is compared, (B, L) bool.
        targets: the token to be predicted at each position, (B, L).
        level: noise level of each row; None for a causal model.
    """

    x0: Tensor
    counted: Tensor
    targets: Tensor
    level: NoiseLevel | None

    def __getitem__(self, rows: slice | Tensor) -> _Probe:
        level = None if self.level is None else self.level[rows]
        return _Probe(self.x0[rows], self.counted[rows], self.targets[rows], level)

    def __len__(self) -> int:
        return len(self.x0)


class _Subject:
    """A network with the ways to ask it; what it raises becomes a contract error."""

    def __init__(self, model: Denoiser | CausalLM, dtype: torch.dtype, device: torch.device) -> None:
        self.model, self.device = model, device
        self.tolerance = _tolerance(dtype, device)
        self.mask_token_id = model.mask_token_id if isinstance(model, Denoiser) else -1

    @torch.no_grad()
    def ask(self, probe: _Probe) -> Tensor:
        """Logits, (B, L, W), checked for shape and width.

        A copy: some networks hand out a buffer that the next call overwrites.
        """
        try:
            if isinstance(self.model, Denoiser):
                assert probe.level is not None
                xt = torch.where(probe.counted, self.mask_token_id, probe.x0)
                logits = self._denoise(xt, probe.level)
            else:
                logits = self.model.logits(probe.x0)
        except (HarnessError, KeyboardInterrupt, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise ContextLengthError(
                f"the network fails on {len(probe)} windows of {probe.x0.shape[1]} tokens",
                seen=f"{type(error).__name__}: {error}",
                expected=f"logits, as for any length up to its context of {self.model.context_length}",
            ) from error
        _check_shape(logits, probe.x0, self.model.vocab_size)
        return logits.detach().clone()

    def _denoise(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """The way that scores go: through trunk and head where there are two."""
        if not isinstance(self.model, FactoredDenoiser):
            assert isinstance(self.model, Denoiser)
            return self.model.logits(xt, level)
        if isinstance(self.model, PickingDenoiser):
            hidden = self.model.hidden_at(xt, level, torch.arange(xt.numel(), device=xt.device))
            places: tuple[int, ...] = (xt.numel(),)
        else:
            hidden, places = self.model.hidden(xt, level), tuple(xt.shape)
        if hidden.shape[:-1] != places:
            raise LogitsShapeError(
                "hidden states of the wrong shape", seen=tuple(hidden.shape), expected=(*places, "D")
            )
        logits = self.model.head(hidden.reshape(xt.numel(), -1))
        return logits.view(*xt.shape, logits.shape[-1])

    def compare(self, first: Tensor, second: Tensor, probe: _Probe) -> _Difference:
        """How far two logits of (B, L, W) lie apart where the probe counts."""
        before, after = (self._log_probs(logits[probe.counted]) for logits in (first, second))
        moved = (after - before).abs()
        moved[before == after] = 0.0  # -inf on both sides
        moved = moved.nan_to_num(nan=torch.inf)
        per_position = moved.amax(dim=-1)
        worst = int(per_position.argmax())
        row, position = probe.counted.nonzero()[worst].tolist()
        targets = probe.targets[probe.counted].unsqueeze(-1)
        change = -(after.gather(-1, targets) - before.gather(-1, targets)).squeeze(-1).double()
        change = change[torch.isfinite(change)]
        mean, stderr = 0.0, 0.0
        if len(change) > 1:
            mean, stderr = float(change.mean()), float(change.std()) / math.sqrt(len(change))
        finite = before.masked_fill(~torch.isfinite(before), 0.0)
        return _Difference(
            largest=float(per_position[worst]),
            row=row,
            position=position,
            mean_nats=mean,
            stderr_nats=stderr,
            spread=float(finite.abs().amax()),
            identical=bool((moved == 0.0).all()),
        )

    def _log_probs(self, logits: Tensor) -> Tensor:
        return clean_log_probs(logits, vocab_size=self.model.vocab_size, mask_token_id=self.mask_token_id)

    def require_same(
        self, first: Tensor, second: Tensor, probe: _Probe, failure: type[ContractError], what: str, expected: str
    ) -> _Difference:
        difference = self.compare(first, second, probe)
        if difference.exceeds(self.tolerance):
            raise failure(what, seen=difference, expected=expected)
        return difference


def check_denoiser(
    model: Denoiser,
    windows: Tensor,
    *,
    schedule: NoiseSchedule,
    seed: int = 0,
    batch_rows: int = 8,
    dtype: torch.dtype = torch.float32,
) -> list[ContractFinding]:
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
    subject = _Subject(model, dtype, windows.device)
    generator = torch.Generator().manual_seed(seed)
    _check_mask_id(model, windows)
    _check_context(model.context_length, windows)
    probe = _denoiser_probe(windows[:_ROWS, :_LENGTH], schedule, generator)
    others = _denoiser_probe(_replaced(probe.x0, model, generator), schedule, generator)
    findings = _check_behaviour(subject, probe, others, batch_rows)
    findings += _check_time_conditioning(subject, probe, schedule)
    full = _denoiser_probe(windows[:2], schedule, generator)
    _check_full_windows(subject, full)
    _check_factoring(subject, full)
    findings += _check_mask_mass(subject, full)
    return findings


def check_causal_lm(
    model: CausalLM,
    windows: Tensor,
    *,
    seed: int = 0,
    batch_rows: int = 8,
    dtype: torch.dtype = torch.float32,
) -> list[ContractFinding]:
    """Check that a causal model behaves as one; arguments and errors as of :func:`check_denoiser`."""
    subject = _Subject(model, dtype, windows.device)
    generator = torch.Generator().manual_seed(seed)
    _check_context(model.context_length, windows)
    probe = _causal_probe(windows[:_ROWS, :_LENGTH])
    others = _causal_probe(_replaced(probe.x0, model, generator))
    findings = _check_behaviour(subject, probe, others, batch_rows)
    full = _causal_probe(windows[:2])
    _check_full_windows(subject, full)
    _check_causality(subject, full, generator)
    return findings


# Probes


def _denoiser_probe(x0: Tensor, schedule: NoiseSchedule, generator: torch.Generator) -> _Probe:
    """Masks at rates spread over the rows, one position masked at least and one visible where there are two."""
    B, L = x0.shape
    rates = (torch.arange(B, dtype=torch.float64) + torch.rand(B, generator=generator, dtype=torch.float64)) / B
    rates = 0.1 + 0.8 * rates
    masked = torch.rand(B, L, generator=generator, dtype=torch.float64) < rates.unsqueeze(1)
    forced = torch.randint(L, (B,), generator=generator)
    masked[torch.arange(B), (forced + 1) % L] = False
    masked[torch.arange(B), forced] = True
    u = schedule.min_move_chance + (schedule.max_move_chance - schedule.min_move_chance) * rates
    return _Probe(x0, masked.to(x0.device), x0, schedule.level_at(u).to(x0.device))


def _causal_probe(x: Tensor) -> _Probe:
    """All positions count; the last one's target lies outside the window and is taken to be its first token."""
    return _Probe(x, torch.ones_like(x, dtype=torch.bool), x.roll(-1, dims=1), None)


def _replaced(x0: Tensor, model: Denoiser | CausalLM, generator: torch.Generator) -> Tensor:
    """Other clean tokens at every position, where there are others."""
    if model.vocab_size < 2:
        return x0
    other = torch.randint(model.vocab_size - 1, x0.shape, generator=generator).to(x0.device)
    other = other + (other >= x0)
    if isinstance(model, Denoiser):
        other = torch.where(other == model.mask_token_id, x0, other)
    return other


# Checks


def _check_shape(logits: Any, x0: Tensor, vocab_size: int) -> None:
    right = isinstance(logits, Tensor) and logits.shape[:2] == x0.shape and logits.ndim == 3
    if not right or not logits.is_floating_point():
        seen = f"{tuple(logits.shape)} of {logits.dtype}" if isinstance(logits, Tensor) else type(logits).__name__
        raise LogitsShapeError(
            "logits of the wrong shape",
            seen=seen,
            expected=f"({', '.join(map(str, x0.shape))}, W) of a floating type, W >= {vocab_size}",
        )
    if logits.shape[-1] < vocab_size:
        raise LogitsWidthError(
            "logits are too narrow",
            seen=f"{logits.shape[-1]} columns",
            expected=f"{vocab_size}, the clean tokens, or more",
        )


def _check_finite(logits: Tensor, subject: _Subject) -> None:
    clean = logits[..., : subject.model.vocab_size]
    bad = torch.isnan(clean) | torch.isposinf(clean)
    if bool(bad.any()):
        row, position, column = bad.nonzero()[0].tolist()
        raise NonFiniteLogitsError(
            f"logits at row {row}, position {position}, column {column}",
            seen=f"{float(clean[row, position, column])} ({int(bad.sum())} of {bad.numel()} such)",
            expected="finite numbers",
            hint="look for NaN among the weights, and at the adapter",
        )


def _check_mask_id(model: Denoiser, windows: Tensor) -> None:
    if model.mask_token_id < 0:
        raise MaskTokenError("mask id", seen=model.mask_token_id, expected="0 or more")
    found = windows == model.mask_token_id
    if bool(found.any()):
        row, position = found.nonzero()[0].tolist()
        raise MaskTokenError(
            f"the mask id {model.mask_token_id} is a token of the data",
            seen=f"{int(found.sum())} times, first in window {row} at position {position}",
            expected="an id that no text uses",
            hint="check the adapter's mask id and that the tokenizer belongs to the shards",
        )


def _check_context(context_length: int, windows: Tensor) -> None:
    assert windows.ndim == 2
    assert len(windows) > 0
    if windows.shape[1] > context_length:
        raise ContextLengthError(
            "windows", seen=f"{windows.shape[1]} tokens", expected=f"at most {context_length}, the network's context"
        )


def _check_full_windows(subject: _Subject, probe: _Probe) -> None:
    """Shape, width and finiteness on whole windows, and on the shortest ones that a corpus may end with."""
    _check_finite(subject.ask(probe), subject)
    shortest = _Probe(probe.x0[:, :1], torch.ones_like(probe.counted[:, :1]), probe.targets[:, :1], probe.level)
    _check_finite(subject.ask(shortest), subject)


@torch.no_grad()
def _check_factoring(subject: _Subject, probe: _Probe) -> None:
    """Where a network splits into trunk and head, the two together must be the network."""
    model = subject.model
    if not isinstance(model, FactoredDenoiser):
        return
    assert probe.level is not None
    parts = subject.ask(probe)
    xt = torch.where(probe.counted, subject.mask_token_id, probe.x0)
    whole = model.logits(xt, probe.level)
    _check_shape(whole, probe.x0, model.vocab_size)
    subject.require_same(
        whole, parts, probe, FactoringError, "head(hidden(xt)) and logits(xt) give different answers", "the same answer"
    )
    if isinstance(model, PickingDenoiser):
        positions = probe.counted.flatten().nonzero().squeeze(-1)
        picked = whole.flatten(0, 1).clone()
        picked[positions] = model.head(model.hidden_at(xt, probe.level, positions))
        what = "hidden_at(xt) gives other answers at fewer positions"
        subject.require_same(whole, picked.view_as(whole), probe, FactoringError, what, "the same answer")


def _check_mask_mass(subject: _Subject, probe: _Probe) -> list[ContractFinding]:
    logits = subject.ask(probe)[probe.counted].float()
    if subject.mask_token_id >= logits.shape[-1]:
        return []  # no column for the mask at all
    mass = torch.softmax(logits, dim=-1)[:, subject.mask_token_id]
    mean, worst = float(mass.mean()), int(mass.argmax())
    row, position = probe.counted.nonzero()[worst].tolist()
    seen = f"{mean:.3g} of the mass on average, {float(mass[worst]):.3g} at row {row}, position {position}"
    if mean > 0.5:
        raise MaskMassError(
            f"the network predicts the mask, id {subject.mask_token_id}",
            seen=seen,
            expected="most mass on clean tokens",
            hint="the mask id or the order of the columns is probably wrong",
        )
    if mean > 1e-3:
        message = f"the network gives the mask {seen}; the harness removed it, which lowers the score"
        return [ContractFinding("contract.mask-mass", message, {"mean": mean, "largest": float(mass[worst])})]
    return []


def _check_behaviour(subject: _Subject, probe: _Probe, others: _Probe, batch_rows: int) -> list[ContractFinding]:
    # The order matters: a network that remembers must not have seen these windows in any other way before the check
    # for memory, and one that drifts would fail every later check under another name.
    first = subject.ask(probe)
    _check_finite(first, subject)
    findings = _check_repeats(subject, probe[:2])
    _check_memory(subject, probe, others, first)
    _check_rows(subject, probe, others, batch_rows)
    return findings


def _check_repeats(subject: _Subject, probe: _Probe) -> list[ContractFinding]:
    """The same question over and over: alike, or at least not farther away with every call."""
    answers = [subject.ask(probe) for _ in range(_REPEATS)]
    differences = [subject.compare(answers[0], answer, probe) for answer in answers[1:]]
    distances = [difference.largest for difference in differences]
    if all(difference.identical for difference in differences):
        return []
    # By chance a sequence of seven rises throughout once in 5,040 times, and only where calls differ at all.
    if distances[0] > 0 and all(later > earlier for earlier, later in itertools.pairwise(distances)):
        raise DriftError(
            f"the same input gives an answer that moves with every one of {_REPEATS} calls",
            seen=f"log-probabilities off by {distances[0]:.3g}, then {distances[1]:.3g}, ... {distances[-1]:.3g}",
            expected="the same answer",
        )
    worst = max(differences, key=lambda difference: difference.largest)
    if worst.exceeds(subject.tolerance):
        settled = all(subject.compare(answers[1], answer, probe).identical for answer in answers[2:])
        failure, what = (
            (StatefulError, "the second answer to the same input differs from the first, later ones do not")
            if settled
            else (NondeterministicError, f"the same input gives different answers in {_REPEATS} calls")
        )
        raise failure(what, seen=worst, expected="the same answer", hint="is the network in evaluation mode?")
    message = f"answers to the same input differ in the last digits: {worst}"
    return [ContractFinding("contract.not-bit-identical", message, {"largest": worst.largest})]


def _check_memory(subject: _Subject, probe: _Probe, others: _Probe, first: Tensor) -> None:
    """The same question after others: the rest of these windows, other text, the rows in another order."""
    level = probe.level
    complement = _Probe(probe.x0, ~probe.counted, probe.targets, level)
    shown = _Probe(probe.x0, torch.zeros_like(probe.counted), probe.targets, level)
    backwards = torch.arange(len(probe) - 1, -1, -1, device=probe.x0.device)
    for between in (complement, shown, others, probe[backwards]):
        subject.ask(between)
    subject.require_same(
        first,
        subject.ask(probe),
        probe,
        StatefulError,
        "calls with other inputs in between change the answer to the same input",
        "an answer that depends on its input alone",
    )
    # Other text last: what it leaves behind must not help or harm either.
    subject.ask(others)
    subject.require_same(
        first,
        subject.ask(probe),
        probe,
        StatefulError,
        "a call with other text in between changes the answer to the same input",
        "an answer that depends on its input alone",
    )


def _check_rows(subject: _Subject, probe: _Probe, others: _Probe, batch_rows: int) -> None:
    """A row alone, among copies of itself, and among strangers."""
    size = min(max(batch_rows, 3), _LARGEST_BATCH)
    for index in range(min(2, len(probe))):
        row = probe[slice(index, index + 1)]
        alone = subject.ask(row)
        copies = row[torch.zeros(size, dtype=torch.int64, device=row.x0.device)]
        among_copies = subject.ask(copies)
        subject.require_same(
            alone,
            among_copies[:1],
            row,
            BatchSizeError,
            f"row {index} alone and in a batch of {size} copies get different answers",
            "an answer that does not depend on the number of rows",
        )
        picked = torch.arange(size, device=row.x0.device) % len(others)
        strangers = others[picked]
        place = size // 2
        mixed = _with_row(strangers, row, place)
        subject.require_same(
            among_copies[place : place + 1],
            subject.ask(mixed)[place : place + 1],
            row,
            RowDependenceError,
            f"row {index} gets another answer when the other {size - 1} rows of its batch change",
            "an answer that depends on its own row alone",
        )


def _with_row(batch: _Probe, row: _Probe, place: int) -> _Probe:
    def put(target: Tensor, value: Tensor) -> Tensor:
        target = target.clone()
        target[place] = value[0]
        return target

    level = None
    if batch.level is not None and row.level is not None:
        level = NoiseLevel(
            put(batch.level.t, row.level.t),
            put(batch.level.alpha_t, row.level.alpha_t),
            put(batch.level.dalpha_t, row.level.dalpha_t),
        )
    return _Probe(put(batch.x0, row.x0), put(batch.counted, row.counted), put(batch.targets, row.targets), level)


def _check_time_conditioning(subject: _Subject, probe: _Probe, schedule: NoiseSchedule) -> list[ContractFinding]:
    assert isinstance(subject.model, Denoiser)
    low, high = schedule.min_move_chance, schedule.max_move_chance
    answers = []
    for fraction in (0.05, 0.95):
        u = torch.full((len(probe),), low + (high - low) * fraction, dtype=torch.float64)
        level = schedule.level_at(u).to(probe.x0.device)
        answers.append(subject.ask(_Probe(probe.x0, probe.counted, probe.targets, level)))
    if not subject.model.time_conditioned:
        subject.require_same(
            answers[0],
            answers[1],
            probe,
            TimeConditioningError,
            "the network says that it ignores the noise level, and its answer depends on it",
            "the same answer at every noise level",
        )
    elif subject.compare(answers[0], answers[1], probe).identical:
        message = "the network says that it depends on the noise level, and its answer is the same at u = 0.05 and 0.95"
        return [ContractFinding("contract.time-conditioning-unused", message)]
    return []


def _check_causality(subject: _Subject, probe: _Probe, generator: torch.Generator) -> None:
    """Replace all tokens behind a cut: nothing up to the cut may move."""
    before = subject.ask(probe)
    L = probe.x0.shape[1]
    if L < 2:
        return
    replaced = _replaced(probe.x0, subject.model, generator)
    cuts = [0, L - 2, *torch.randint(L - 1, (_NUM_CUTS - 2,), generator=generator).tolist()]
    for cut in cuts:
        behind = torch.arange(L, device=probe.x0.device) > cut
        changed = _Probe(torch.where(behind, replaced, probe.x0), probe.counted, probe.targets, None)
        counted = _Probe(probe.x0, probe.counted & ~behind, probe.targets, None)
        subject.require_same(
            before,
            subject.ask(changed),
            counted,
            CausalityError,
            f"the network says that it is causal; tokens behind position {cut} change its answer at or before it",
            "no change",
        )


# Around the evaluation


@final
class Witness:
    """An answer given before the corpus was scored, asked for again afterwards.

    A memory that fills up or a drift too small for a few calls shows over a whole corpus.
    """

    def __init__(
        self,
        model: Denoiser | CausalLM,
        windows: Tensor,
        *,
        schedule: NoiseSchedule | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Ask now.

        Args:
            model: the network.
            windows: clean tokens, (N, L); two are used.
            schedule: of a denoiser's noise levels; None for a causal model.
            seed: of the masks.
            dtype: what the network computes in.
        """
        self._subject = _Subject(model, dtype, windows.device)
        x0 = windows[:2, :_LENGTH]
        if isinstance(model, Denoiser):
            assert schedule is not None
            self._probe = _denoiser_probe(x0, schedule, torch.Generator().manual_seed(seed))
        else:
            self._probe = _causal_probe(x0)
        self._answer = self._subject.ask(self._probe)

    def check(self) -> None:
        """Ask again.

        Raises:
            StatefulError: if the answer moved since.
        """
        self._subject.require_same(
            self._answer,
            self._subject.ask(self._probe),
            self._probe,
            StatefulError,
            "scoring the corpus changed the network's answer to an input from before",
            "the same answer",
        )


def precision_finding(
    model: Denoiser,
    in_float32: Denoiser,
    windows: Tensor,
    *,
    schedule: NoiseSchedule,
    stderr_bits_per_token: float,
    seed: int = 0,
) -> ContractFinding | None:
    """Compare a network in low precision with the same one in float32, on the same masks.

    Args:
        model: as scored.
        in_float32: the same weights in float32.
        windows: clean tokens, (N, L) int64.
        schedule: of the noise levels.
        stderr_bits_per_token: the sampling error of the score.
        seed: of the masks.

    Returns:
        A finding if their mean masked cross-entropies differ by more than the sampling error, else None.
    """
    probe = _denoiser_probe(windows, schedule, torch.Generator().manual_seed(seed))
    assert probe.level is not None
    nll = [masked_token_nll(network, probe.x0, probe.counted, probe.level) for network in (model, in_float32)]
    per_token = [float(values.sum() / probe.counted.sum()) * _BITS for values in nll]
    difference = per_token[0] - per_token[1]
    if abs(difference) <= stderr_bits_per_token:
        return None
    message = (
        f"low precision moves the masked cross-entropy by {difference:+.4g} bits/token on a sample, more than the "
        f"sampling error of {stderr_bits_per_token:.2g}; pass --dtype float32"
    )
    return ContractFinding("contract.precision", message, {"bits_per_token": difference})
