"""Norms of the residual stream, costs of tokens: plain forms against what is spelled out, kernels against those."""

import pytest
import torch

from bpb_harness.denoiser import clean_log_probs
from bpb_harness.kernels import normalise, token_nll
from bpb_harness.kernels.loading import has_triton
from bpb_harness.kernels.normalise import add_and_normalise, plain_add_and_normalise
from bpb_harness.kernels.token_nll import nll_of_logits

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or not has_triton(), reason="needs a CUDA device and triton"
)
WIDTH, LENGTH, WINDOWS = 48, 128, 3


@pytest.fixture
def case(request):
    device = getattr(request, "param", "cpu")
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(shape, generator=generator).to(device)

    places = torch.randperm(WINDOWS * LENGTH, generator=generator)[:77].sort().values
    return {
        "stream": drawn(WINDOWS * LENGTH, WIDTH),
        "table": drawn(20, WIDTH),
        "tokens": torch.randint(20, (WINDOWS * LENGTH,), generator=generator).to(device),
        "added": drawn(WINDOWS * LENGTH, WIDTH).bfloat16(),
        "modulation": drawn(WINDOWS, 5 * WIDTH).bfloat16()[:, WIDTH : 3 * WIDTH],
        "places": torch.cat((places, torch.zeros(3, dtype=torch.int64))).to(device),
    }


def calls(case):
    """What a network asks for: of tokens, between layers, at some positions, at the end, and nothing but the norm."""
    modulation = {"modulation": case["modulation"], "length": LENGTH}
    places = case["places"]
    return {
        "tokens": (case["table"], {"rows": case["tokens"], **modulation}),
        "between": (case["stream"], {"added": case["added"], **modulation}),
        "picked": (
            case["stream"], {"rows": places, "added": case["added"][: len(places)], "windows": places, **modulation}
        ),
        "last": (case["stream"], {"added": case["added"]}),
        "alone": (case["stream"], {}),
    }  # fmt: skip


def spelled_out(stream, *, rows=None, added=None, modulation=None, windows=None, length=1):
    """Row by row, in float64 where nothing is rounded."""
    sums, normal = [], []
    for place in range(len(stream) if rows is None else len(rows)):
        row = stream[place if rows is None else rows[place]]
        row = row if added is None else row + added[place].float()
        unit = row.double() / (row.double().square().mean() + torch.finfo(torch.float32).eps).sqrt()
        if modulation is not None:
            said = modulation[(place if windows is None else int(windows[place])) // length]
            scale, shift = said[:WIDTH], said[WIDTH:]
            unit = unit * (1 + scale).double() + shift.double()
        sums.append(row)
        normal.append(unit)
    return torch.stack(sums), torch.stack(normal)


@pytest.mark.parametrize("name", ["tokens", "between", "picked", "last", "alone"])
def test_a_norm_is_what_it_is_row_by_row(case, name):
    stream, options = calls(case)[name]
    total, normal = add_and_normalise(stream, **options)
    expected_total, expected = spelled_out(stream, **options)
    assert torch.equal(total, expected_total)
    assert normal.dtype == torch.bfloat16
    torch.testing.assert_close(normal.double(), expected, rtol=2**-8, atol=1e-6)


def costs(logits, targets, vocab_size, mask):
    log_probs = clean_log_probs(logits, vocab_size=vocab_size, mask_token_id=mask)
    return -log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def logits_and_targets(device="cpu"):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(301, 120, generator=generator)
    targets = torch.randint(100, (301,), generator=generator)
    targets[targets == 7] = 8
    return logits.bfloat16().to(device), targets.to(device)


@pytest.mark.parametrize("mask", [100, 7, -1])
def test_the_cost_of_a_token_is_that_of_every_other_path(mask):
    logits, targets = logits_and_targets()
    assert torch.equal(nll_of_logits(logits, targets, 100, mask), costs(logits, targets, 100, mask))


def test_a_tile_holds_whole_rows():
    assert normalise.fits(512)
    assert not normalise.fits(500)
    assert not normalise.fits(2 * normalise.LARGEST_WIDTH)
    assert token_nll.fits(1024)
    assert not token_nll.fits(50_257)


@needs_gpu
@pytest.mark.parametrize("case", ["cuda"], indirect=True)
@pytest.mark.parametrize("name", ["tokens", "between", "picked", "last", "alone"])
def test_the_kernel_of_norms_gives_the_plain_ones(case, name):
    stream, options = calls(case)[name]
    order = ("rows", "added", "modulation", "windows")
    expected = plain_add_and_normalise(stream, *(options.get(key) for key in order), options.get("length", 1))
    total, normal = add_and_normalise(stream.clone(), **options, in_place=True)
    assert torch.equal(total, expected[0])
    error = (normal.double() - expected[1].double()).norm() / expected[1].double().norm()
    assert error < 5e-4  # some of them are rounded to the neighbour


@needs_gpu
@pytest.mark.parametrize("mask", [100, 7, -1])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_kernel_of_costs_gives_the_plain_ones(mask, dtype):
    logits, targets = logits_and_targets("cuda")
    logits = logits.to(dtype)
    torch.testing.assert_close(
        nll_of_logits(logits, targets, 100, mask), costs(logits, targets, 100, mask), rtol=1e-5, atol=1e-5
    )
    logits[3, 5] = torch.nan
    assert nll_of_logits(logits, targets, 100, mask).isnan().sum() == 1
    targets[:] = 7
    assert nll_of_logits(logits, targets, 100, 7)[0] == torch.inf  # no mass at all
