"""Whether compiling a network pays: an estimate from the size of the run and the network's shape, before either."""

from __future__ import annotations

from bpb_harness.network_modules import modules_of

# What compiling saves a token and unit of width, all matrices of the network together. On an H100 a network of 11
# layers x 512 (widths of 34,000) takes 1.0 us a token as it is and 0.23 compiled (docs/speed.md); what is saved is
# traffic of activations, which goes with the widths, not with the parameters.
_SECONDS_SAVED = 2.2e-11
# Compiling takes 13 s where torch has kept the programs of an earlier run, 25 s where it has not. Below this it costs
# more than it saves on any card; above, a slower card or a longer row may save more than is estimated here.
_LEAST_SECONDS_SAVED = 5.0


def total_width(network: object) -> int:
    """The smaller sides of all matrices that the network's modules hold, summed; 0 where it has none to be seen.

    A matrix makes an activation of its smaller side, or takes one: an embedding counts its width, not its vocabulary.
    """
    return sum(
        min(parameter.shape)
        for _, module in modules_of(network)
        for parameter in module.parameters()
        if parameter.ndim == 2
    )


def pays(network: object, num_tokens: int) -> bool:
    """Whether compiling can save what it takes.

    Args:
        network: a denoiser; one whose matrices are not to be seen is taken to be large.
        num_tokens: that go through it in this process.
    """
    width = total_width(network)
    return width == 0 or num_tokens * width * _SECONDS_SAVED >= _LEAST_SECONDS_SAVED
