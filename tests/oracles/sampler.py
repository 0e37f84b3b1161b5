"""The exact likelihood of the T-step sampler: a sum over all its paths, by dynamic programming over mask sets."""

from __future__ import annotations

import itertools
import math

from tests.oracles.conditionals import Conditionals
from tests.oracles.schedules import Schedule


def t_step_nll(model: Conditionals, x: tuple[int, ...], schedule: Schedule, num_steps: int) -> float:
    """-log p(x) in nats of the generative model whose bound is NELBO_T.

    At t = 1 each position is masked with chance u_T and otherwise holds a uniformly drawn token. Step i reveals each
    masked position with chance (u_i - u_{i-1}) / u_i, drawing its token from the model's conditional, independently of
    the positions revealed in the same step. Where u_0 > 0, what is still masked at the end is drawn at once.
    """
    length = len(x)
    u = [schedule.mask_rate(i / num_steps) for i in range(num_steps + 1)]
    sets = [frozenset(c) for n in range(length + 1) for c in itertools.combinations(range(length), n)]
    chance = {m: u[-1] ** len(m) * ((1 - u[-1]) / model.vocab_size) ** (length - len(m)) for m in sets}
    for i in range(num_steps, 0, -1):
        reveal = (u[i] - u[i - 1]) / u[i]
        after = dict.fromkeys(sets, 0.0)
        for m, p in chance.items():
            if p == 0.0:
                continue
            token_chance = _token_chances(model, x, m, u[i])
            for n in range(len(m) + 1):
                for kept in itertools.combinations(sorted(m), n):
                    shown = math.prod(reveal * token_chance[j] for j in m if j not in kept)
                    after[frozenset(kept)] += p * shown * (1 - reveal) ** n
        chance = after
    total = math.fsum(p * math.prod(_token_chances(model, x, m, u[0]).values()) for m, p in chance.items() if p > 0)
    return -math.log(total)


def _token_chances(model: Conditionals, x: tuple[int, ...], masked: frozenset[int], u: float) -> dict[int, float]:
    rows = model.log_probs(tuple(None if i in masked else token for i, token in enumerate(x)), u)
    return {i: math.exp(rows[i][x[i]]) for i in masked}
