"""A second implementation of the mathematics, in plain Python, that shares no code with the product.

::

    schedules.py     alpha(t) and its derivative, written out once more
    conditionals.py  what a denoiser believes: uniform, context-free, Markov posterior, arbitrary tables
    bounds.py        both bounds with their three terms, by enumeration of every mask
    sampler.py       -log p(x) of the T-step sampler, by a dynamic programme over mask sets
    chain.py         the chain rule in any order, and its mean over all orders
    interval_coder.py  the coder of a file of bits, as intervals of exact fractions
    given.py         some tokens given others: any of these behind a context
    denoisers.py     the same beliefs as torch objects that satisfy the product's protocols

Tests compare the product with these; nothing outside tests/ may import them.
"""

from tests.oracles.bounds import Terms, continuous_bound, masked_nats, mean_masked_nll, t_step_bound
from tests.oracles.chain import blockwise_nats, chain_nats, mean_over_orders, ordered_nats
from tests.oracles.conditionals import Conditionals, ContextFree, Markov, Table, Uniform
from tests.oracles.denoisers import MarkovCausalLM, OracleDenoiser
from tests.oracles.given import Given
from tests.oracles.sampler import t_step_nll
from tests.oracles.schedules import Schedule, schedule

__all__ = [
    "Conditionals",
    "ContextFree",
    "Given",
    "Markov",
    "MarkovCausalLM",
    "OracleDenoiser",
    "Schedule",
    "Table",
    "Terms",
    "Uniform",
    "blockwise_nats",
    "chain_nats",
    "continuous_bound",
    "masked_nats",
    "mean_masked_nll",
    "mean_over_orders",
    "ordered_nats",
    "schedule",
    "t_step_bound",
    "t_step_nll",
]
