"""Write the vectors: ``python -m vectors.build``. The standard library alone; docs/vectors.md says what they are."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from vectors import byte_rules, exact
from vectors.exact import ZERO, Model, Schedule, Tokens
from vectors.models import STREAMS, models, source, tokenizers

FOLDER = Path(__file__).resolve().parent / "v1"
VERSION = 1
TOLERANCE = 1e-10
STEPS = (1, 2, 8, None)  # None: continuous time

MODELS = {model.name: model for model in models()}
SCHEDULES = {
    schedule.name: schedule
    for schedule in (
        Schedule("loglinear"), Schedule("loglinear", ("0.001",)), Schedule("loglinear", ("0.25",)),
        Schedule("cosine-mdlm"), Schedule("cosine-mdlm", ("0.1",)), Schedule("cosine-md4"),
        Schedule("cosine-md4", ("0.05",)), Schedule("polynomial", ("2",)), Schedule("polynomial", ("0.5",)),
        Schedule("polynomial", ("2", "0.02")), Schedule("geometric", ("0.01", "3")),
    )
}  # fmt: skip
Vector = dict[str, Any]


def number(value: Any) -> Any:
    """As JSON has it: the float64 nearest to it; "inf" where it is infinite."""
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else "inf"
    if isinstance(value, list | tuple):
        return [number(each) for each in value]
    return value


def vector(kind: str, equation: str, expect: dict[str, Any], tolerance: float = TOLERANCE, **given: Any) -> Vector:
    """One vector without its id."""
    wanted = {key: number(value) for key, value in expect.items()}
    return {"kind": kind, "equation": equation, "tolerance": tolerance, **given, "expect": wanted}


def schedule_vectors() -> Iterator[Vector]:
    for name, schedule in SCHEDULES.items():
        times = [Decimal(t) for t in ("0.001", "0.25", "0.5", "0.875", "1")]
        rates = [schedule.rate(t) for t in times]
        expect = {
            "mask_rate": rates,
            "loss_weight": [schedule.slope(t) / u for t, u in zip(times, rates, strict=True)],
            "u_0": schedule.low, "u_max": schedule.high, "grid_8": schedule.grid(8),
        }  # fmt: skip
        yield vector("schedule", "(3)", expect, schedule=name, times=number(times))


def logit_vectors() -> Iterator[Vector]:
    """Rows that are easily got wrong: large ones, a mask's own column that is likeliest, padding, no mass."""
    rows: list[tuple[str, int, int, list[float | str]]] = [
        ("plain", 3, 3, [0.5, -1.25, 2.0, 0.0]),
        ("mask-column-likeliest", 3, 3, [0.5, -1.25, 2.0, 30.0]),
        ("mask-inside-the-vocabulary", 4, 1, [0.5, 12.0, -1.25, 2.0]),
        ("mask-first", 3, 0, [9.0, 0.25, 0.75]),
        ("padding-columns", 2, 2, [1.0, -1.0, 5.0, 50.0, 50.0]),
        ("large", 3, 3, [1000.0, 999.0, -1000.0, 2000.0]),
        ("small", 3, 3, [-1000.5, -1000.0, -1002.0, 0.0]),
        ("impossible", 3, 3, [0.0, "-inf", 1.0, 0.0]),
    ]
    for name, vocab_size, mask_id, logits in rows:
        clean = [token for token in range(vocab_size) if token != mask_id]
        mass = {t: ZERO if logits[t] == "-inf" else Decimal(logits[t]).exp() for t in clean}
        nats = [(sum(mass.values()) / mass[t]).ln() if mass[t] else Decimal("Infinity") for t in clean]
        given = {"vocab_size": vocab_size, "mask_id": mask_id, "logits": logits, "clean_ids": clean}
        yield vector("logits", "(2)", {"nats": nats}, case=name, **given)


def mask_vectors() -> Iterator[Vector]:
    for length, masked, rate in (
        (3, [0, 2], "0.3"),
        (4, [1], "0.01"),
        (4, [0, 1, 2, 3], "0.75"),
        (5, [0, 1, 4], "0.5"),
    ):
        u, k = Decimal(rate), len(masked)
        bernoulli = u**k * (1 - u) ** (length - k)
        biased = Decimal(k) / length * exact.power(u, k - 1) * (1 - u) ** (length - k)
        expect = {"bernoulli": bernoulli, "size_biased": biased}
        yield vector("mask", "(1), (7)", expect, length=length, masked=masked, rate=float(u))


def weight_vectors() -> Iterator[Vector]:
    for name, length, num_steps in itertools.product(
        ("loglinear", "loglinear[0.25]", "cosine-md4[0.05]", "geometric[0.01,3]"), (1, 4), STEPS
    ):
        weights = exact.size_weights(length, SCHEDULES[name], num_steps)
        equation = "(23)" if num_steps is None else "(5), (6)"
        yield vector("weights", equation, {"weights": weights}, length=length, schedule=name, steps=num_steps)


BOUNDS = {
    "uniform": (((0, 3),), ("loglinear[0.25]", "cosine-md4[0.05]")),
    "repeat": (((0, 0), (0, 1)), ("loglinear", "loglinear[0.25]")),
    "markov": (((0, 1, 2), (2, 2, 0)), ("loglinear", "cosine-mdlm", "polynomial[0.5]")),
    "coin": (((0, 1, 1, 0), (1, 1, 0, 1)), ("loglinear", "loglinear[0.001]", "cosine-mdlm[0.1]", "cosine-md4[0.05]")),
    "three": (((2, 0, 1), (1, 1, 1)), ("loglinear", "polynomial[2,0.02]", "geometric[0.01,3]")),
    "told": (((0, 1, 1), (1, 0, 1)), ("loglinear", "loglinear[0.25]", "cosine-md4[0.05]")),
}


def bound_vectors() -> Iterator[Vector]:
    for name, (texts, schedules) in BOUNDS.items():
        model = MODELS[name]
        for text, schedule, num_steps in itertools.product(texts, schedules, STEPS):
            terms = exact.bound(model, text, SCHEDULES[schedule], num_steps)
            expect = {
                "prior": terms.prior, "reconstruction": terms.reconstruction, "diffusion": terms.diffusion,
                "nelbo": terms.nelbo,
            }  # fmt: skip
            if num_steps is not None:
                expect["neg_log_p"] = exact.sampler_nats(model, text, SCHEDULES[schedule], num_steps)
                assert terms.nelbo >= expect["neg_log_p"] - Decimal("1e-40")
            elif name == "markov":
                p = source(text)
                expect["neg_log_p"] = (Decimal(p.denominator) / p.numerator).ln()
                assert abs(expect["neg_log_p"] - terms.nelbo) < Decimal("1e-40")
            equation = "(5), (6)" if num_steps is not None else "(4), (6)"
            given = {"model": name, "text": text, "schedule": schedule, "steps": num_steps}
            yield vector("bound", equation, expect, 1e-9 if name == "told" else TOLERANCE, **given)
    for name, text in (("coin", (0, 1, 1, 0)), ("three", (2, 0, 1)), ("told", (0, 1, 1)), ("markov", (2, 2, 0))):
        rates = [Decimal(u) for u in ("0", "0.01", "0.3", "0.75", "1")]
        curve = [exact.curve(MODELS[name], text, u) for u in rates]
        yield vector("curve", "(11)", {"f": curve}, model=name, text=text, rates=number(rates))


def chain_vectors() -> Iterator[Vector]:
    for name, text in (("coin", (0, 1, 1, 0)), ("three", (2, 0, 1)), ("markov", (2, 2, 0)), ("told", (0, 1, 1))):
        model, length = MODELS[name], len(text)
        orders = list(itertools.permutations(range(length)))
        ends = [Schedule("loglinear"), *([SCHEDULES["loglinear[0.25]"]] if name == "told" else [])]
        chosen = orders[:: max(1, len(orders) // 5)]
        two = [list(range(length))[i : i + 2] for i in range(0, length, 2)]
        for end, steps in itertools.product(ends, [*([[i] for i in order] for order in chosen), two]):
            nats = exact.chain_nats(model, text, steps, end.high)
            yield vector("chain", "(16)", {"nats": nats}, model=name, text=text, schedule=end.name, reveal=steps)
        for end, order, per_step in itertools.product(ends, ("confidence", "entropy", "margin"), (1, 2)):
            steps = exact.chosen_steps(model, text, order, per_step, end.high)
            if steps is not None:
                expect = {"reveal": steps, "nats": exact.chain_nats(model, text, steps, end.high)}
                given = {"model": name, "text": text, "schedule": end.name, "order": order, "per_step": per_step}
                yield vector("ordered", "(16)", expect, **given)
        if name != "told":
            lengths = [exact.chain_nats(model, text, [[i] for i in order]) for order in orders]
            expect = {
                "mean_nats": sum(lengths, ZERO) / len(lengths),
                "neg_log_mean_p": -(exact.kraft_sum(lengths) / len(lengths)).ln(),
            }
            nelbo = exact.bound(model, text, Schedule("loglinear"), None).nelbo
            assert abs(expect["mean_nats"] - nelbo) < Decimal("1e-40")
            yield vector("orders", "(17)", expect, model=name, text=text)


def span_vectors() -> Iterator[Vector]:
    spans: list[tuple[str, Tokens, Tokens]] = [
        ("coin", (0,), (1, 1, 0)), ("coin", (0, 1, 1), (0,)), ("three", (2,), (0, 1)), ("told", (1, 0), (1,)),
    ]  # fmt: skip
    for (name, context, targets), schedule, num_steps in itertools.product(
        spans, ("loglinear", "cosine-md4[0.05]"), (2, None)
    ):
        terms = exact.bound(MODELS[name], targets, SCHEDULES[schedule], num_steps, context)
        chain = exact.chain_nats(MODELS[name], targets, [[i] for i in range(len(targets))],
                                 SCHEDULES[schedule].high, context)  # fmt: skip
        given = {"model": name, "context": context, "targets": targets, "schedule": schedule, "steps": num_steps}
        expect = {"prior": terms.prior, "nelbo": terms.nelbo, "chain": chain}
        yield vector("span", "(33), (16)", expect, 1e-9 if name == "told" else TOLERANCE, **given)
    for (name, text), size, num_steps in itertools.product(
        (("coin", (0, 1, 1, 0)), ("three", (2, 0, 1))), (1, 2, 3), (2, None)
    ):
        blocks = [
            exact.bound(MODELS[name], text[i : i + size], Schedule("loglinear"), num_steps, text[:i]).nelbo
            for i in range(0, len(text), size)
        ]
        given = {"model": name, "text": text, "block_size": size, "schedule": "loglinear", "steps": num_steps}
        yield vector("blocks", "(34)", {"nelbo_of_blocks": blocks, "nelbo": sum(blocks, ZERO)}, **given)


def lengths_of(model: Model, length: int, score: str, schedule: Schedule, steps: int | None) -> Iterable[Decimal]:
    """What a score gives every text, in nats."""
    for text in model.texts(length):
        if score == "bound":
            yield exact.bound(model, text, schedule, steps).nelbo
        elif score == "sampler":
            assert steps is not None
            yield exact.sampler_nats(model, text, schedule, steps)
        elif score == "one-given-all":
            yield exact.pseudo_nats(model, text)
        elif score == "left-to-right":
            yield exact.chain_nats(model, text, [[i] for i in range(length)], schedule.high)
        else:
            assert score == "true-order"
            reveal = exact.chosen_steps(model, text, "true", 1, schedule.high)
            assert reveal is not None
            yield exact.chain_nats(model, text, reveal, schedule.high)


def kraft_vectors() -> Iterator[Vector]:
    for name, length in (("repeat", 2), ("markov", 3), ("coin", 4), ("three", 3), ("told", 3)):
        schedules = ("loglinear", "loglinear[0.25]") if name in ("coin", "told") else ("loglinear",)
        scores: list[tuple[str, str, int | None]] = [
            *(("bound", schedule, steps) for schedule in schedules for steps in (2, None)),
            *(("sampler", schedule, 2) for schedule in schedules),
            ("left-to-right", schedules[-1], None), ("one-given-all", "loglinear", None),
        ]  # fmt: skip
        if name == "three":
            scores.append(("true-order", "loglinear", None))
        for score, schedule, steps in scores:
            total = exact.kraft_sum(lengths_of(MODELS[name], length, score, SCHEDULES[schedule], steps))
            given = {"model": name, "length": length, "score": score, "schedule": schedule, "steps": steps}
            tolerance = 1e-9 if name == "told" else TOLERANCE
            yield vector("kraft", "(15)", {"sum": total}, tolerance, **given)


def byte_vectors() -> Iterator[Vector]:
    of_name = {tokenizer.name: tokenizer for tokenizer in tokenizers()}
    for name, streams in STREAMS.items():
        tokenizer = of_name[name]
        for pieces in streams:
            tokens = [tokenizer.id(piece) for piece in pieces]
            text = bytes(byte for _, byte in byte_rules.spelled(tokenizer, tokens))
            expect = {
                "official": byte_rules.official(tokenizer, tokens), "exact": byte_rules.exact(tokenizer, tokens),
                "text": text.hex(),
            }  # fmt: skip
            given = {"tokenizer": name, "pieces": pieces, "tokens": tokens}
            yield vector("bytes", "docs/bytes.md", expect, 0.0, **given)
    two = Decimal(2).ln()
    for nats, num_bytes in (((20.0, 4.0), (4, 16)), ((7.5, 0.25, 3.0), (1, 0, 9))):
        ratio = sum((Decimal(value) for value in nats), ZERO) / two / sum(num_bytes)
        yield vector("score", "(20)", {"bits_per_byte": ratio}, nats=list(nats), bytes=list(num_bytes))


def tables() -> dict[str, Any]:
    """Models, schedules and tokenizers."""
    return {
        "models": [
            {key: value for key, value in vars(model).items() if value is not None} for model in MODELS.values()
        ],
        "schedules": [
            {"name": name, "family": schedule.family, "parameters": number([Decimal(p) for p in schedule.parameters])}
            for name, schedule in SCHEDULES.items()
        ],
        "tokenizers": [
            {
                "name": each.name, "about": each.about, "escapes_spaces": each.escapes, "dummy_prefix": each.prefix,
                "dummy_suffix": each.suffix,
                "pieces": [
                    {"kind": piece.kind, "piece": piece.piece, "spells": piece.spells.hex()} for piece in each.pieces
                ],
            }
            for each in tokenizers()
        ],
    }  # fmt: skip


FILES = {
    "schedules": schedule_vectors, "logits": logit_vectors, "masks": mask_vectors, "weights": weight_vectors,
    "bounds": bound_vectors, "chains": chain_vectors, "spans": span_vectors, "kraft": kraft_vectors,
    "bytes": byte_vectors,
}  # fmt: skip


def lines(key: str, values: list[Any]) -> str:
    """A list of JSON with a line for each value."""
    return f'  "{key}": [\n' + ",\n".join("    " + json.dumps(value, ensure_ascii=True) for value in values) + "\n  ]"


def build() -> dict[str, str]:
    """Every file's name and content."""
    head = f'{{\n  "version": {VERSION},\n'
    files = {"tables.json": head + ",\n".join(lines(key, values) for key, values in tables().items()) + "\n}\n"}
    for name, make in FILES.items():
        vectors = [{"id": f"{name}-{i:03}", **each} for i, each in enumerate(make())]
        files[f"{name}.json"] = head + lines("vectors", vectors) + "\n}\n"
    return files


def main() -> None:
    """Write the folder."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in build().items():
        (FOLDER / name).write_text(content, encoding="utf-8", newline="\n")
        print(f"{name}: {len(content):,} characters")


if __name__ == "__main__":
    main()
