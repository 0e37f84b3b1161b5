"""The standard errors of sampled bounds, in plain Python loops: one window, one draw, one product at a time."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field


@dataclass
class Sampled:
    """Draws by window: ``draws[w]`` is a list of (v, level, nats) in the order of the samples.

    Attributes:
        draws: of each window.
        difficulty: of each window, in nats.
        num_tokens: of each window.
        num_bytes: of each window.
        replicates: (window, v, level, nats) of second draws, where every window has one.
    """

    draws: list[list[tuple[float, float, float]]]
    difficulty: list[float]
    num_tokens: list[int]
    num_bytes: list[int]
    replicates: list[tuple[int, float, float, float]] = field(default_factory=list)

    def rows(self) -> list[tuple[int, float, float, float]]:
        """(window, v, level, nats) of every draw."""
        return [(w, *draw) for w, draws in enumerate(self.draws) for draw in draws]


def least_squares(rows: list[list[float]], values: list[float], weights: list[float]) -> tuple[list[float], int]:
    """Coefficients and rank, by Gram and Schmidt; a column that depends on those before it gets 0."""
    count = len(rows[0]) if rows else 0
    columns = [[math.sqrt(m) * row[c] for m, row in zip(weights, rows, strict=True)] for c in range(count)]
    target = [math.sqrt(m) * value for m, value in zip(weights, values, strict=True)]
    kept: list[int] = []
    directions: list[list[float]] = []
    for c, column in enumerate(columns):
        rest = list(column)
        for _ in range(2):  # twice is enough
            for direction in directions:
                share = dot(direction, rest)
                rest = [r - share * d for r, d in zip(rest, direction, strict=True)]
        length = math.sqrt(dot(rest, rest))
        if length > 1e-9 * math.sqrt(dot(column, column)) and length > 0.0:
            kept.append(c)
            directions.append([r / length for r in rest])
    solution = [0.0] * count
    for position in reversed(range(len(kept))):
        direction = directions[position]
        left = dot(direction, target)
        left -= math.fsum(dot(direction, columns[c]) * solution[c] for c in kept[position + 1 :])
        solution[kept[position]] = left / dot(direction, columns[kept[position]])
    return solution, len(kept)


def leverages(rows: list[list[float]], weights: list[float]) -> list[float]:
    """The diagonal of the projection on the columns, by Gram and Schmidt; at most 0.9."""
    directions: list[list[float]] = []
    for c in range(len(rows[0])):
        column = [math.sqrt(m) * row[c] for m, row in zip(weights, rows, strict=True)]
        rest = list(column)
        for _ in range(2):
            for direction in directions:
                share = dot(direction, rest)
                rest = [r - share * d for r, d in zip(rest, direction, strict=True)]
        length = math.sqrt(dot(rest, rest))
        if length > 1e-9 * math.sqrt(dot(column, column)) and length > 0.0:
            directions.append([r / length for r in rest])
    return [min(math.fsum(direction[r] ** 2 for direction in directions), 0.9) for r in range(len(rows))]


def dot(a: list[float], b: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def legendre(degree: int, x: float) -> float:
    """Bonnet's recurrence."""
    before, at = 0.0, 1.0
    for n in range(degree):
        before, at = at, ((2 * n + 1) * x * at - n * before) / (n + 1)
    return at


def regression(sampled: Sampled) -> tuple[list[float], list[float], list[float], list[float]]:
    """Residual of each draw, nats per token, degrees of freedom paid; each window's luck with its rates, in nats.

    Then how far each replicate is from the fit, nats per token, and the residual of each draw had it not been fitted:
    with several draws of every window, of its difference to their mean.
    """
    rows = sampled.rows()
    rates = [d / n for d, n in zip(sampled.difficulty, sampled.num_tokens, strict=True)]
    spread = math.sqrt(mean([(rate - mean(rates)) ** 2 for rate in rates]))
    hardness = [(rate - mean(rates)) / spread if spread > 0 else 0.0 for rate in rates]
    degrees = min(max(len(rows) // 12, 1), 6)
    # What multiplies a coefficient: a polynomial in the mask rate, and 1, the difficulty or its square.
    forms = [(k, lambda h: 1.0) for k in range(degrees)]
    forms += [(k, lambda h: h) for k in range(degrees) if len(rows) >= 12]
    forms += [(k, lambda h: h**2 - 1) for k in range(min(degrees, 3)) if len(rows) >= 18]

    def columns(w: int, level: float) -> list[float]:
        return [legendre(k, 2 * level - 1) * of(hardness[w]) for k, of in forms]

    basis = [columns(w, level) for w, _, level, _ in rows]
    value = [nats / sampled.num_tokens[w] for w, _, _, nats in rows]
    weights = [float(sampled.num_tokens[w]) for w, *_ in rows]
    window = [w for w, *_ in rows]
    solution = [0.0] * len(basis[0])
    remaining, rank = list(range(len(solution))), 0
    if min(map(len, sampled.draws)) > 1:
        several = max(map(len, sampled.draws)) > 2  # a mirrored pair shows odd degrees alone
        varying = [c for c in remaining if forms[c][0] > 0 and (several or forms[c][0] % 2 == 1)]
        centred_columns = {c: centred([row[c] for row in basis], window) for c in varying}
        whole = {c: [row[c] for row in basis] for c in varying}
        varying = [  # not what roundings leave of a constant
            c for c in varying if dot(centred_columns[c], centred_columns[c]) > 1e-20 * dot(whole[c], whole[c])
        ]
        inside = [[centred_columns[c][r] for c in varying] for r in range(len(rows))]
        fit, rank = least_squares(inside, centred(value, window), weights)
        for c, coefficient in zip(varying, fit, strict=True):
            solution[c] = coefficient
        remaining = [c for c in remaining if c not in varying]
        value_left = [v - math.fsum(row[c] * solution[c] for c in varying) for v, row in zip(value, basis, strict=True)]
    else:
        value_left = value
    fit, rank_between = least_squares([[row[c] for c in remaining] for row in basis], value_left, weights)
    for c, coefficient in zip(remaining, fit, strict=True):
        solution[c] = coefficient
    rank += rank_between
    fitted = [dot(row, solution) for row in basis]
    paid = math.sqrt(len(rows) / max(len(rows) - rank, 1))
    residual = [(v - f) * paid for v, f in zip(value, fitted, strict=True)]
    average = [mean([legendre(k, 2 * level - 1) for _, _, level, _ in rows]) for k in range(degrees)]
    luck = []
    for w, h in enumerate(hardness):
        own = mean([f for f, at in zip(fitted, window, strict=True) if at == w])
        all_rates = math.fsum(
            average[k] * of(h) * coefficient for (k, of), coefficient in zip(forms, solution, strict=True)
        )
        luck.append((own - all_rates) * sampled.num_tokens[w])
    away = [nats / sampled.num_tokens[w] - dot(columns(w, level), solution) for w, _, level, nats in sampled.replicates]
    left = [v - f for v, f in zip(value, fitted, strict=True)]
    if min(map(len, sampled.draws)) > 1:
        left = centred(left, window)
        share = [len(sampled.draws[w]) / (len(sampled.draws[w]) - 1) for w in window]
        pulls = [min(h * k, 0.9) for h, k in zip(leverages(inside, weights), share, strict=True)]
    else:
        pulls = leverages(basis, weights)
    unseen = [r / (1 - h) for r, h in zip(left, pulls, strict=True)]
    return residual, luck, away, unseen


def centred(values: list[float], window: list[int]) -> list[float]:
    means = {w: mean([v for v, at in zip(values, window, strict=True) if at == w]) for w in set(window)}
    return [v - means[w] for v, w in zip(values, window, strict=True)]


def mc_variance(sampled: Sampled) -> float:
    """Square of the standard error of the sum over windows of the mean over draws, nats squared."""
    residual, _, away, unseen = regression(sampled)
    counts = [len(draws) for draws in sampled.draws]
    by_window: list[list[float]] = []
    for w, count in enumerate(counts):
        first = sum(counts[:w])
        by_window.append([r * sampled.num_tokens[w] for r in residual[first : first + count]])
    if set(counts) == {1} and sampled.replicates:
        return replicated_variance([r * n for r, n in zip(unseen, sampled.num_tokens, strict=True)], away, sampled)
    if len(set(counts)) > 1 or counts[0] == 1:
        return single_draw_variance([mean(values) for values in by_window])
    within, first = [], 0
    for w, count in enumerate(counts):
        within.append([r * sampled.num_tokens[w] for r in unseen[first : first + count]])
        first += count
    return several_draws_variance(by_window, within, sampled)


def replicated_variance(values: list[float], away: list[float], sampled: Sampled) -> float:
    """Sum of squares, less what two draws of a window share, carried over from the windows that have two."""
    square = math.fsum(value**2 for value in values)
    products = [values[w] * d * sampled.num_tokens[w] for (w, *_), d in zip(sampled.replicates, away, strict=True)]
    known = math.fsum(sampled.num_tokens[w] ** 2 for w, *_ in sampled.replicates)
    whole = math.fsum(n**2 for n in sampled.num_tokens) / known
    spread = math.sqrt(mean([(product - mean(products)) ** 2 for product in products]) * len(products))
    most = max(square - 2 * whole * spread, 0.6 * square)  # two standard errors of what is subtracted stay
    return square - min(max(whole * math.fsum(products), 0.0), most)


def single_draw_variance(values: list[float]) -> float:
    """Sum of squares, less what adjacent windows share: at most 0.6 of it, nothing for fewer than 16 windows."""
    square = math.fsum(value**2 for value in values)
    if len(values) < 16:
        return square
    shared = len(values) * mean([a * b for a, b in itertools.pairwise(values)])
    return square - min(max(shared, 0.0), 0.6 * square)


def several_draws_variance(residual: list[list[float]], within: list[list[float]], sampled: Sampled) -> float:
    """Spread within windows, less what leans put into it, at most 0.9 of it; nothing for fewer than 12 draws."""
    count = len(residual[0])
    positions = [[2 * v - 1 for v, _, _ in draws] for draws in sampled.draws]
    naive = counted = 0.0
    for values, xs, tokens in zip(within, positions, sampled.num_tokens, strict=True):
        naive += math.fsum(value**2 for value in values) / (count * (count - 1))
        counted += math.fsum((tokens * (x - mean(xs))) ** 2 for x in xs) / (count * (count - 1))
    means = [mean(xs) for xs in positions]
    true = math.fsum((n * (m - mean(means))) ** 2 for n, m in zip(sampled.num_tokens, means, strict=True))
    rates = [[value / n for value in values] for values, n in zip(residual, sampled.num_tokens, strict=True)]
    few = sum(map(len, sampled.draws)) < 12
    excess = 0.0 if few else lean_variance(rates, positions) * max(counted - true, 0.0)
    return naive - min(excess, 0.9 * naive)


def lean_variance(residual: list[list[float]], positions: list[list[float]]) -> float:
    """Variance of slopes over x = 2 v - 1 from products of two draws of a window: a + b (x + x') + s x x'."""
    overall = mean([value**2 for values in residual for value in values])
    overall = overall if overall != 0.0 else 1.0
    bins: dict[int, list[float]] = {}
    for values, xs in zip(residual, positions, strict=True):
        for value, x in zip(values, xs, strict=True):
            bins.setdefault(sixteenth(x), []).append(value**2)

    def scale(x: float) -> float:
        squares = bins[sixteenth(x)]
        return (math.fsum(squares) + overall) / (len(squares) + 1)

    pairs = []  # (window, group that shares a, product, x + x', x x', weight)
    count = len(residual[0])
    for w, (values, xs) in enumerate(zip(residual, positions, strict=True)):
        for i in range(count):
            for j in range(i + 1, count):
                weight = 1.0 / (scale(xs[i]) * scale(xs[j]))
                group = w if count > 2 else 0
                pairs.append((w, group, values[i] * values[j], xs[i] + xs[j], xs[i] * xs[j], weight))
    centre: dict[int, tuple[float, ...]] = {}
    for group in {pair[1] for pair in pairs}:
        members = [pair for pair in pairs if pair[1] == group]
        total = math.fsum(pair[5] for pair in members)
        centre[group] = tuple(math.fsum(pair[5] * pair[k] for pair in members) / total for k in (2, 3, 4))
    free = [
        (w, *(value - away for value, away in zip(values, centre[group], strict=True)), weight)
        for w, group, *values, weight in pairs
    ]
    # Two normal equations, solved by their inverse; x + x' is 0 throughout where each window has a mirrored pair.
    pp, pq, qq = (math.fsum(r[4] * r[i] * r[j] for r in free) for i, j in ((2, 2), (2, 3), (3, 3)))
    py, qy = (math.fsum(r[4] * r[i] * r[1] for r in free) for i in (2, 3))
    if qq == 0.0:
        return 0.0
    inverse = ((0.0, 0.0), (0.0, 1.0 / qq))
    if pp > 1e-20 * qq:
        determinant = pp * qq - pq**2
        inverse = ((qq / determinant, -pq / determinant), (-pq / determinant, pp / determinant))
    both = inverse[0][0] * py + inverse[0][1] * qy
    slope = inverse[1][0] * py + inverse[1][1] * qy
    if slope <= 0.0:
        return 0.0
    variance = 0.0
    for w in range(len(residual)):
        scores = [
            math.fsum(r[4] * r[k] * (r[1] - both * r[2] - slope * r[3]) for r in free if r[0] == w) for k in (2, 3)
        ]
        variance += (inverse[1][0] * scores[0] + inverse[1][1] * scores[1]) ** 2
    return slope * max(1.0 - 2.5**2 * variance / slope**2, 0.0)


def sixteenth(x: float) -> int:
    return min(max(math.floor((x + 1) / 2 * 16), 0), 15)


def corpus_stderr(sampled: Sampled) -> float:
    """Standard error of bits per byte over texts of the same kind."""
    count, total_bytes = len(sampled.draws), sum(sampled.num_bytes)
    nats = [mean([value for _, _, value in draws]) for draws in sampled.draws]
    noise = 0.0
    if max(map(len, sampled.draws)) > 1 or len({v for _, v, _, _ in sampled.rows()}) > 1:
        _, luck, _, _ = regression(sampled)
        nats = [value - away for value, away in zip(nats, luck, strict=True)]
        noise = mc_variance(sampled)
    ratio = math.fsum(nats) / total_bytes
    deviation = [value - ratio * n for value, n in zip(nats, sampled.num_bytes, strict=True)]
    variance = dot(deviation, deviation)
    lags = min(math.floor(4 * (count / 100) ** (2 / 9)), count // 4)
    for lag in range(1, lags + 1):
        covariance = math.fsum(deviation[i] * deviation[i + lag] for i in range(count - lag))
        variance += 2 * (1 - lag / (lags + 1)) * covariance
    variance = variance * count / (count - 1) - noise
    if noise > 0 and variance <= 0:
        return math.nan
    return math.sqrt(variance) / math.log(2) / total_bytes


def grid_variance(values: list[list[float]], weights: list[list[float]]) -> float:
    """Square of the error of a bound that looks at every node, for fewer than 12 windows of equal length.

    Less the mean of each node and a polynomial in the node's number; a node's variance from all squares of its window.
    """
    count, nodes = len(values), len(values[0])
    degree = sum(nodes >= fewest for fewest in (5, 8, 16))
    rows = [[legendre(d, (2 * i + 1) / nodes - 1) for d in range(degree + 1)] for i in range(nodes)]
    ones = [1.0] * nodes

    def left(row: list[float]) -> list[float]:
        solution, _ = least_squares(rows, row, ones)
        return [value - dot(solution, columns) for value, columns in zip(row, rows, strict=True)]

    maker = [left([float(i == j) for i in range(nodes)]) for j in range(nodes)]
    squares = [[entry**2 for entry in row] for row in maker]
    means = [mean([row[i] for row in values]) if count > 1 else 0.0 for i in range(nodes)]
    total = least = 0.0
    for row, shares in zip(values, weights, strict=True):
        away = left([value - m for value, m in zip(row, means, strict=True)])
        factors, _ = least_squares(squares, [share**2 for share in shares], ones)
        seen = 1.0 - 1.0 / count if count > 1 else 1.0
        total += math.fsum(f * r**2 / seen for f, r in zip(factors, away, strict=True))
        least += math.fsum(share**2 * r**2 / seen for share, r in zip(shares, away, strict=True))
    return max(total, least)
