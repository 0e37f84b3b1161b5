"""The contract of networks that are told where contexts end: what they are asked, and what of it is refused."""

from __future__ import annotations

import pytest
import torch

from bpb_harness import errors
from bpb_harness.contract import Witness, check_denoiser, examine, precision_finding
from bpb_harness.contract.probe import concatenated, denoiser_probe, revealed
from bpb_harness.schedule import LogLinear
from fixtures.adversarial.models import cheats

V, L = 12, 10
SCHEDULE = LogLinear(1e-3)
WINDOWS = torch.randint(V, (9, L), generator=torch.Generator().manual_seed(0))


class Kept(cheats.HonestContextDenoiser):
    """Keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(V, L)
        self.asked: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.untold = 0

    def logits(self, xt, level):
        self.untold += 1
        return super().logits(xt, level)

    def logits_given(self, xt, level, context_lengths):
        self.asked.append((xt.clone(), context_lengths.clone()))
        return super().logits_given(xt, level, context_lengths)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("rows", "length"), [(2, 2), (2, L), (4, L), (9, L), (9, 3), (4, 1)])
def test_questions_have_contexts_of_many_lengths_and_mask_nothing_in_them(rows, length, seed):
    probe = denoiser_probe(WINDOWS[:rows, :length], SCHEDULE, generator(seed), Kept())
    ends = probe.context_lengths
    assert ends.dtype == torch.int64
    assert ends[0] == 0
    assert (ends.diff() >= 0).all()
    assert ends[-1] < length
    if length > 1:
        assert ends[-1] > 0
        assert not probe.counted[:, 0].any()
    if length >= rows:
        assert len(set(ends.tolist())) > rows // 2
    for batch in (probe, revealed(probe, generator(seed))):
        assert not (batch.counted & (torch.arange(length) < batch.context_lengths[:, None])).any()
    assert probe.counted.any(dim=1).all()


def test_what_was_masked_is_shown_as_target_and_as_context():
    probe = denoiser_probe(WINDOWS[:4], SCHEDULE, generator(), Kept())
    shown = revealed(probe, generator())
    assert shown.context_lengths.tolist() == [0, L - 1, int(probe.context_lengths[2]), L - 1]
    assert not (shown.counted & probe.counted).any()


def test_an_untold_network_has_no_contexts():
    probe = denoiser_probe(WINDOWS[:4], SCHEDULE, generator(), cheats.HonestDenoiser(V, L))
    assert probe.context_lengths is None
    assert revealed(probe, generator()).context_lengths is None
    assert concatenated([probe, probe]).context_lengths is None


def test_contexts_follow_their_rows():
    probe = denoiser_probe(WINDOWS, SCHEDULE, generator(), Kept())
    turned = probe[torch.arange(8, -1, -1)]
    assert turned.context_lengths.tolist() == probe.context_lengths.tolist()[::-1]
    both = concatenated([probe[:2], turned[:1]])
    assert both.context_lengths.tolist() == [*probe.context_lengths[:2].tolist(), int(probe.context_lengths[-1])]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (9, L)])
def test_an_honest_network_passes(rows, length, seed):
    windows = torch.randint(V, (max(rows, 2), length), generator=generator(seed))
    done = examine(Kept(), windows, schedule=SCHEDULE, batch_rows=rows, seed=seed)
    assert {finding.code for finding in done.findings} <= {"contract.mask-mass"}
    done.witness.check()


def test_every_question_is_asked_with_contexts_of_several_lengths_in_one_batch():
    model = Kept()
    examination = examine(model, WINDOWS, schedule=SCHEDULE, batch_rows=9)
    assert model.untold == 1
    examination.witness.check()
    for xt, ends in model.asked:
        assert not ((xt == V) & (torch.arange(xt.shape[1]) < ends[:, None])).any()
    several = [len(set(ends.tolist())) > 1 for xt, ends in model.asked if len(xt) > 1 and xt.shape[1] > 1]
    # All but the one whose contexts are empty, beside ``logits``.
    assert several.count(False) == 1
    assert [len(ends) for _, ends in model.asked].count(9) == 2
    assert len(set(model.asked[-1][1].tolist())) > 3


@pytest.mark.parametrize("batch_rows", [2, 4, 9])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "kind", [cheats.EndsContextsTogether, cheats.EndsContextsAsTheFirstRow, cheats.CountsContextTokens]
)
def test_other_rows_contexts_have_an_error_of_their_own(kind, seed, batch_rows):
    with pytest.raises(
        errors.ContextDependenceError,
        match=r"^a row gets another answer when the context lengths of the other rows change: got a log-probability "
        r"that moved by \S+ at row \d, position \d; .*, expected an answer that depends on its own row alone$",
    ) as caught:
        check_denoiser(kind(V, L), WINDOWS, schedule=SCHEDULE, seed=seed, batch_rows=batch_rows)
    assert caught.value.exit_code == 4


def test_with_no_context_it_must_be_the_network_that_logits_is():
    with pytest.raises(
        errors.EmptyContextError,
        match=r"^logits\(xt\) and logits_given\(xt\) with contexts of 0 give different answers: got a log-prob.*, "
        "expected the same answer$",
    ):
        check_denoiser(cheats.IsAnotherNetworkWhenUntold(V, L), WINDOWS, schedule=SCHEDULE)

    class Fails(Kept):
        def logits(self, xt, level):
            raise ValueError("no context")

    with pytest.raises(errors.ContextLengthError, match=r"fails on 4 windows of 10 tokens: got ValueError: no context"):
        check_denoiser(Fails(), WINDOWS, schedule=SCHEDULE)


def test_other_rows_tokens_are_not_taken_for_their_contexts():
    class Looks(Kept):
        def logits_given(self, xt, level, context_lengths):
            logits = super().logits_given(xt, level, context_lengths)
            return logits + 0.1 * logits.mean(dim=0)

        def logits(self, xt, level):
            return self.logits_given(xt, level, torch.zeros(len(xt), dtype=torch.int64))

    with pytest.raises(errors.ContextDependenceError):  # it hears of their contexts by way of their logits
        check_denoiser(Looks(), WINDOWS, schedule=SCHEDULE)

    class LooksAtTokens(Kept):
        def logits_given(self, xt, level, context_lengths):
            return (
                super().logits_given(xt, level, context_lengths) + 0.1 * self.role[0][xt[:1]][..., None] * self.role[1]
            )

        def logits(self, xt, level):
            return self.logits_given(xt, level, torch.zeros(len(xt), dtype=torch.int64))

    with pytest.raises(errors.RowDependenceError):
        check_denoiser(LooksAtTokens(), WINDOWS, schedule=SCHEDULE)


def test_what_only_contexts_show_is_memory():
    with pytest.raises(errors.StatefulError, match="calls with other inputs in between"):
        check_denoiser(cheats.RemembersContexts(V, L), WINDOWS, schedule=SCHEDULE)


def test_a_witness_and_two_precisions_are_asked_with_contexts():
    model = Kept()
    Witness(model, WINDOWS, schedule=SCHEDULE).check()
    assert all(len(set(ends.tolist())) > 3 for xt, ends in model.asked if len(xt) == 9)
    model = Kept()
    assert precision_finding(model, model, WINDOWS, schedule=SCHEDULE, stderr_bits_per_token=0.0) is None
    (_, ends), (_, again) = model.asked
    assert len(set(ends.tolist())) > 3
    assert torch.equal(ends, again)
