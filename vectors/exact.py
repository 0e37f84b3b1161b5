"""What the vectors hold, computed with 50 digits from the definitions: the standard library alone.

Every distribution is a row of whole numbers over their sum. Nothing is sampled, and nothing is rounded to a float64
before it is written. A mask is a whole number: bit i is set where target i is masked. Equations are those of
bpb_harness/MATHS.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, getcontext
from functools import cache, cached_property

getcontext().prec = 50
PI = Decimal("3.14159265358979323846264338327950288419716939937510582")
ZERO, ONE = Decimal(0), Decimal(1)
Tokens = tuple[int, ...]


def power(base: Decimal, exponent: int) -> Decimal:
    """A power, 0 to the 0 being 1."""
    return base**exponent if exponent else ONE


def sine(x: Decimal) -> Decimal:
    """By its series; 0 <= x <= pi / 2."""
    term, total, n = x, x, 1
    while abs(term) > Decimal("1e-55"):
        term *= -x * x / ((n + 1) * (n + 2))
        total, n = total + term, n + 2
    return total.quantize(Decimal("1e-45"))


@cache
def nats(weight: int, total: int) -> Decimal:
    """-ln of a probability."""
    return (Decimal(total) / weight).ln() if weight else Decimal("Infinity")


@dataclass(frozen=True)
class Schedule:
    """Mask rate u(t) and its derivative; equation (3)."""

    family: str
    parameters: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.family + (f"[{','.join(self.parameters)}]" if self.parameters else "")

    @cached_property
    def _two(self) -> tuple[Callable[[Decimal], Decimal], Callable[[Decimal], Decimal]]:
        p = [Decimal(text) for text in self.parameters]
        if self.family == "geometric":
            low, high = p
            return (
                lambda t: 1 - (-(low ** (1 - t)) * high**t).exp(),
                lambda t: (-(low ** (1 - t)) * high**t).exp() * low ** (1 - t) * high**t * (high / low).ln(),
            )
        if self.family == "polynomial":
            n, eps = p[0], (p[1:] or [ZERO])[0]
            return (lambda t: eps + (1 - 2 * eps) * (t**n if t else ZERO), lambda t: (1 - 2 * eps) * n * t ** (n - 1))
        eps = (p or [ZERO])[0]
        if self.family == "loglinear":
            return (lambda t: (1 - eps) * t, lambda _: 1 - eps)
        if self.family == "cosine-mdlm":
            return (
                lambda t: (1 - eps) * 2 * sine(PI * t / 4) ** 2,
                lambda t: (1 - eps) * PI / 2 * sine(PI * t / 2),
            )
        assert self.family == "cosine-md4"
        return (
            lambda t: eps + (1 - 2 * eps) * sine(PI * t / 2),
            lambda t: (1 - 2 * eps) * PI / 2 * sine(PI * (1 - t) / 2),
        )

    def rate(self, t: Decimal) -> Decimal:
        return self._two[0](t).quantize(Decimal("1e-44")).normalize()

    def slope(self, t: Decimal) -> Decimal:
        return self._two[1](t)

    @property
    def low(self) -> Decimal:
        """u_0."""
        return self.rate(ZERO)

    @property
    def high(self) -> Decimal:
        """u_max."""
        return self.rate(ONE)

    def grid(self, num_steps: int) -> list[Decimal]:
        """u_0 < ... < u_T."""
        return [self.rate(Decimal(i) / num_steps) for i in range(num_steps + 1)]


def shown(text: Tokens, mask: int, context: Tokens = ()) -> str:
    """A partly masked window as the keys of the tables write it: a token is its digit, a mask is _."""
    return "".join(map(str, context)) + "".join("_" if mask >> i & 1 else str(token) for i, token in enumerate(text))


@dataclass(frozen=True)
class Model:
    """A table of conditionals; told the mask rate u, the mixture (1 - u) rows + u rows_noisy.

    Attributes:
        rows: partly masked window -> of each position, weights of the tokens; None where it is visible.
    """

    name: str
    about: str
    vocab_size: int
    rows: dict[str, list[list[int] | None]]
    rows_noisy: dict[str, list[list[int] | None]] | None = None

    def row(self, window: str, position: int, u: Decimal | None) -> list[Decimal] | list[int]:
        """Weights of one position."""
        clean = self.rows[window][position]
        assert clean is not None
        if self.rows_noisy is None:
            return clean
        noisy = self.rows_noisy[window][position]
        assert noisy is not None
        assert u is not None
        return [(1 - u) * a / sum(clean) + u * b / sum(noisy) for a, b in zip(clean, noisy, strict=True)]

    def token_nats(self, window: str, position: int, token: int, u: Decimal | None) -> Decimal:
        """-log p of one token."""
        row = self.row(window, position, u)
        if isinstance(row[0], int):
            return nats(int(row[token]), int(sum(row)))
        return -Decimal(row[token]).ln() if row[token] else Decimal("Infinity")

    def cost(self, text: Tokens, mask: int, u: Decimal | None = None, context: Tokens = ()) -> Decimal:
        """C(x, M; t), equation (2)."""
        window, behind = shown(text, mask, context), len(context)
        hidden = [i for i in range(len(text)) if mask >> i & 1]
        return sum((self.token_nats(window, behind + i, text[i], u) for i in hidden), ZERO)

    def texts(self, length: int) -> Iterator[Tokens]:
        return itertools.product(range(self.vocab_size), repeat=length)


def expected(model: Model, text: Tokens, u: Decimal, context: Tokens = (), *, less: int = 0) -> Decimal:
    """E over masks of rate u of C, over u to the power of ``less``; equation (1)."""
    total, length = ZERO, len(text)
    for mask in range(1, 1 << length):
        k = mask.bit_count()
        chance = power(u, k - less) * power(1 - u, length - k)
        if chance:
            total += chance * model.cost(text, mask, u, context)
    return total


def moment(k: int, length: int, low: Decimal, high: Decimal) -> Decimal:
    """W_k, the integral of u^(k-1) (1 - u)^(L-k) from u_0 to u_max; equation (23)."""
    return sum(
        (
            (-1) ** j * math.comb(length - k, j) * (power(high, k + j) - power(low, k + j)) / (k + j)
            for j in range(length - k + 1)
        ),
        ZERO,
    )


def size_weights(length: int, schedule: Schedule, num_steps: int | None) -> list[Decimal]:
    """What C of a mask of k = 1 .. L tokens is multiplied with in a bound; reconstruction is part of it."""
    low, weights = schedule.low, []
    for k in range(1, length + 1):
        weight = power(low, k) * power(1 - low, length - k)
        if num_steps is None:
            weight += moment(k, length, low, schedule.high)
        else:
            u = schedule.grid(num_steps)
            weight += sum(
                (u[i] - u[i - 1]) * power(u[i], k - 1) * power(1 - u[i], length - k) for i in range(1, num_steps + 1)
            )
        weights.append(weight)
    return weights


@dataclass(frozen=True)
class Terms:
    """A bound's three terms, in nats."""

    prior: Decimal
    reconstruction: Decimal
    diffusion: Decimal

    @property
    def nelbo(self) -> Decimal:
        return self.prior + self.reconstruction + self.diffusion


def bound(model: Model, text: Tokens, schedule: Schedule, num_steps: int | None, context: Tokens = ()) -> Terms:
    """Equations (4), (5), (6), and (33) behind a context."""
    length, low, high = len(text), schedule.low, schedule.high
    prior = (1 - high) * length * Decimal(model.vocab_size).ln()
    reconstruction = expected(model, text, low, context) if low else ZERO
    if num_steps is not None:
        u = schedule.grid(num_steps)
        steps = range(1, num_steps + 1)
        diffusion = sum(((u[i] - u[i - 1]) * expected(model, text, u[i], context, less=1) for i in steps), ZERO)
    elif model.rows_noisy is None:
        masks = range(1, 1 << length)
        weights = [moment(k, length, low, high) for k in range(1, length + 1)]
        diffusion = sum((weights[m.bit_count() - 1] * model.cost(text, m, None, context) for m in masks), ZERO)
    else:
        diffusion = integral(lambda u: expected(model, text, u, context, less=1), low, high)
    return Terms(prior, reconstruction, diffusion)


def integral(f: Callable[[Decimal], Decimal], low: Decimal, high: Decimal) -> Decimal:
    """By Gauss and Legendre with 44 nodes; what 30 give differs by less than 1e-16."""
    fine, coarse = (
        sum((w * f(low + (high - low) * x) for x, w in legendre_nodes(n)), ZERO) * (high - low) for n in (44, 30)
    )
    assert abs(fine - coarse) < Decimal("1e-16"), abs(fine - coarse)
    return fine


@cache
def legendre_nodes(count: int) -> list[tuple[Decimal, Decimal]]:
    """Nodes in (0, 1) and weights that sum to 1."""
    nodes = []
    for i in range(count):
        x = Decimal(math.cos(math.pi * (i + 0.75) / (count + 0.5)))
        for _ in range(7):  # Newton's steps double the digits
            before, value = ONE, x
            for n in range(2, count + 1):
                before, value = value, ((2 * n - 1) * x * value - (n - 1) * before) / n
            slope = count * (x * value - before) / (x * x - 1)
            x -= value / slope
        nodes.append(((1 - x) / 2, 1 / ((1 - x * x) * slope * slope)))
    return nodes


def sampler_nats(model: Model, text: Tokens, schedule: Schedule, num_steps: int, context: Tokens = ()) -> Decimal:
    """-log p_T(x) of the T-step sampler, over all its paths through sets of masked tokens."""
    length, u = len(text), schedule.grid(num_steps)
    sizes = [mask.bit_count() for mask in range(1 << length)]
    chance = [power(u[-1], k) * power((1 - u[-1]) / model.vocab_size, length - k) for k in sizes]

    def shows(mask: int, rest: int, rate: Decimal) -> Decimal:
        """The chance that masked tokens outside ``rest`` are drawn as they are in the text."""
        window, total = shown(text, mask, context), ONE
        for i in range(length):
            if (mask & ~rest) >> i & 1:
                row = model.row(window, len(context) + i, rate)
                total *= Decimal(row[text[i]]) / sum(row)
        return total

    for i in range(num_steps, 0, -1):
        reveal, after = (u[i] - u[i - 1]) / u[i], [ZERO] * len(chance)
        for mask, p in enumerate(chance):
            for rest in (m for m in range(mask + 1) if m & ~mask == 0):
                sent = power(reveal, sizes[mask] - sizes[rest]) * power(1 - reveal, sizes[rest])
                if p and sent:
                    after[rest] += p * sent * shows(mask, rest, u[i])
        chance = after
    total = sum((p * shows(mask, 0, u[0]) for mask, p in enumerate(chance) if p), ZERO)
    return -total.ln() if total else Decimal("Infinity")


def curve(model: Model, text: Tokens, u: Decimal) -> Decimal:
    """f(u), nats per token; equation (11)."""
    return expected(model, text, u, less=1) / len(text)


def chain_nats(
    model: Model, text: Tokens, steps: Iterable[Sequence[int]], high: Decimal = ONE, context: Tokens = ()
) -> Decimal:
    """The chain rule with the positions of each step revealed together; equation (16)."""
    mask, total = (1 << len(text)) - 1, ZERO
    for step in steps:
        u = high * mask.bit_count() / len(text)
        window = shown(text, mask, context)
        total += sum((model.token_nats(window, len(context) + i, text[i], u) for i in step), ZERO)
        mask &= ~sum(1 << i for i in step)
    assert mask == 0
    return total


def score_of_row(order: str, row: Sequence[int | Decimal]) -> Decimal:
    """How soon a position is revealed: the highest first."""
    p = sorted((Decimal(weight) / sum(row) for weight in row), reverse=True)
    if order == "entropy":
        return sum((value * value.ln() for value in p if value), ZERO)
    return p[0] if order == "confidence" else p[0] - p[1]


def chosen_steps(model: Model, text: Tokens, order: str, per_step: int, high: Decimal = ONE) -> list[list[int]] | None:
    """The positions of each step by a score of the predictions; None where two scores are nearly equal.

    ``true`` looks at the tokens to come, which no decoder can.
    """
    hidden, steps = list(range(len(text))), []
    while hidden:
        mask = sum(1 << i for i in hidden)
        window, u = shown(text, mask), high * len(hidden) / len(text)
        if order == "true":
            scores = {i: -model.token_nats(window, i, text[i], u) for i in hidden}
        else:
            scores = {i: score_of_row(order, model.row(window, i, u)) for i in hidden}
        ranked = sorted(hidden, key=lambda i: -scores[i])
        near = [a for a, b in itertools.pairwise(ranked) if scores[a] - scores[b] < Decimal("1e-3")]
        if near and order != "true":
            return None
        step = sorted(ranked[:per_step])
        steps.append(step)
        hidden = [i for i in hidden if i not in step]
    return steps


def pseudo_nats(model: Model, text: Tokens) -> Decimal:
    """Every token given all others: no code length."""
    return sum((model.cost(text, 1 << i, ZERO) for i in range(len(text))), ZERO)


def kraft_sum(lengths: Iterable[Decimal]) -> Decimal:
    """The sum of exp(-l) over all texts; equation (15)."""
    return sum(((-length).exp() if length.is_finite() else ZERO for length in lengths), ZERO)
