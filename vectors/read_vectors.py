"""Holds an implementation in plain Python to the vectors: ``python read_vectors.py v1``; read_parts.py has the rest."""

import json
import sys
from functools import cache
from itertools import combinations, permutations, product
from math import exp, expm1, inf, log, pi, sin, sqrt
from pathlib import Path

RATE = {"loglinear": lambda t, e=0: (1 - e) * t, "polynomial": lambda t, n, e=0: e + (1 - 2 * e) * t**n,
        "cosine-mdlm": lambda t, e=0: (1 - e) * 2 * sin(pi * t / 4) ** 2,
        "cosine-md4": lambda t, e=0: e + (1 - 2 * e) * sin(pi * t / 2),
        "geometric": lambda t, low, high: -expm1(-low * (high / low) ** t)}  # u(t) of each family of schedules
SURE = {"confidence": max, "entropy": lambda p: sum(v * log(v) for v in p), "margin": lambda p: max(p) - sorted(p)[-2]}
GAUSS = [(0, 64 / 225)] + [  # nodes of Gauss and Legendre on (-1, 1), weights that sum to 1
    (i * sqrt(5 + j * sqrt(40 / 7)) / 3, (322 - j * 13 * sqrt(70)) / 1800) for i in (1, -1) for j in (1, -1)]

def chances(m, x, hidden, i, u, c=()):  # of the tokens at target i, behind context c, with some targets hidden
    window = "".join(map(str, c)) + "".join("_" if j in hidden else str(v) for j, v in enumerate(x))  # such as 0_1
    a, b = m["rows"][window][len(c) + i], m.get("rows_noisy", m["rows"])[window][len(c) + i]
    return [(1 - u) * v / sum(a) + u * w / sum(b) if a is not b else v / sum(a) for v, w in zip(a, b, strict=True)]

def nats(m, x, hidden, u, c=(), at=None):  # C(x, M; t), equation (2)
    return sum(-log(p) if (p := chances(m, x, hidden, i, u, c)[x[i]]) else inf for i in (hidden if at is None else at))

def subsets(items):
    return [frozenset(s) for k in range(len(items) + 1) for s in combinations(sorted(items), k)]

def mean(m, x, u, c=(), less=0):  # of C over masks of rate u, equation (1); over u to the power of less
    chance = [0] + [u ** (k - less) * (1 - u) ** (len(x) - k) for k in range(1, len(x) + 1)]
    return sum(chance[len(s)] * nats(m, x, s, u, c) for s in subsets(range(len(x))) if chance[len(s)])

def bound(m, x, rate, T, c=()):  # equations (4), (5), (6): prior, reconstruction, diffusion
    u, n = [rate(i / (T or 1)) for i in range((T or 1) + 1)], 40 if "rows_noisy" in m else 1  # 1: a polynomial
    nodes = [(u[i], u[i] - u[i - 1]) for i in range(1, T + 1)] if T else [  # no T: an integral, in n pieces
        (u[0] + (u[1] - u[0]) * (k + 0.5 + z / 2) / n, w * (u[1] - u[0]) / n) for k in range(n) for z, w in GAUSS]
    diffusion = sum(w * mean(m, x, r, c, 1) for r, w in nodes)
    return (1 - u[-1]) * len(x) * log(m["vocab_size"]), mean(m, x, u[0], c), diffusion

def sampler(m, x, rate, T):  # -log p of the T-step sampler, over all its paths through sets of hidden tokens
    u, drawn = [rate(i / T) for i in range(T + 1)], (1 - rate(1)) / m["vocab_size"]
    @cache
    def p(hidden, i):  # of ending at x
        r = (u[i] - u[i - 1]) / u[i] if i else 1
        return sum((1 - r) ** len(s) * r ** len(hidden - s) * exp(-nats(m, x, hidden, u[i], (), hidden - s))
                   * (p(s, i - 1) if i else 1) for s in (subsets(hidden) if i else [frozenset()]))
    total = sum(u[T] ** len(s) * drawn ** (len(x) - len(s)) * p(s, T) for s in subsets(range(len(x))))
    return -log(total) if total else inf

def chain(m, x, steps, high, c=()):  # equation (16)
    left = [{i for step in steps[k:] for i in step} for k in range(len(steps))]
    return sum(nats(m, x, s, high * len(s) / len(x), c, step) for s, step in zip(left, steps, strict=True))

def reveal(m, x, order, k, high, left):  # the k surest of those left, then of the rest; equals by position
    row = {i: chances(m, x, left, i, high * len(left) / len(x)) for i in left}
    sure = {i: row[i][x[i]] if order == "true" else SURE[order](row[i]) for i in left}
    step = sorted(sorted(left, key=lambda i: (-sure[i], i))[:k])
    return [step, *reveal(m, x, order, k, high, left - set(step))] if left else []

def answer(v, m, rate):  # what this implementation gives for a vector
    kind, x, c, T, high = v["kind"], v.get("text", v.get("targets", ())), v.get("context", ()), v.get("steps"), rate(1)
    ones = [[i] for i in range(v.get("length", len(x)))]
    if kind in ("bound", "span"):
        terms, code = bound(m, x, rate, T, c), chain(m, x, ones, high, c)
        found = dict(zip(("prior", "reconstruction", "diffusion"), terms, strict=True), nelbo=sum(terms), chain=code)
        return found | {"neg_log_p": sampler(m, x, rate, T) if T and kind == "bound" else code}
    if kind == "blocks":
        nelbo = [sum(bound(m, x[i : i + v["block_size"]], rate, T, x[:i])) for i in range(0, len(x), v["block_size"])]
        return {"nelbo_of_blocks": nelbo, "nelbo": sum(nelbo)}
    if kind == "curve":
        return {"f": [mean(m, x, u, (), 1) / len(x) for u in v["rates"]]}
    if kind in ("chain", "ordered"):
        steps = v.get("reveal") or reveal(m, x, v["order"], v["per_step"], high, set(range(len(x))))
        return {"reveal": steps, "nats": chain(m, x, steps, high)}
    if kind == "orders":
        each = [chain(m, x, order, 1) for order in permutations(ones)]
        return {"mean_nats": sum(each) / len(each), "neg_log_mean_p": -log(sum(exp(-n) for n in each) / len(each))}
    score = {  # kraft: of each text, in nats
        "bound": lambda x: sum(bound(m, x, rate, T)), "left-to-right": lambda x: chain(m, x, ones, high),
        "sampler": lambda x: sampler(m, x, rate, T), "one-given-all": lambda x: sum(nats(m, x, i, 0) for i in ones),
        "true-order": lambda x: chain(m, x, reveal(m, x, "true", 1, high, set(range(len(x)))), high)}[v["score"]]
    return {"sum": sum(exp(-score(x)) for x in product(range(m["vocab_size"]), repeat=len(ones)))}

def near(a, b, within):  # b may be a list of what is compared, or "inf"
    if isinstance(b, list):
        return len(a) == len(b) and all(map(near, a, b, [within] * len(b)))
    return a == float(b) or abs(a - float(b)) <= within * max(1, abs(float(b)))

def check(folder, at_least=0.0):  # of each number of each vector: its name, whether it is met
    names = ("tables", "bounds", "spans", "chains", "kraft")
    tables, *files = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in names)
    models = {m["name"]: m for m in tables["models"]}
    rates = {s["name"]: lambda t, s=s: RATE[s["family"]](t, *s["parameters"]) for s in tables["schedules"]}
    for v in (v for file in files for v in file["vectors"]):
        found = answer(v, models[v["model"]], rates[v.get("schedule", "loglinear")])
        for key, wanted in v["expect"].items():
            yield f"{v['id']} {key}", near(found[key], wanted, max(v["tolerance"], at_least))

if __name__ == "__main__":
    sys.exit("\n".join(f"missed: {name}" for name, is_met in check(Path(sys.argv[1])) if not is_met) or print("met"))
