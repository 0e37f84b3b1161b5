"""Holds plain Python to the vectors of schedules, logits, masks, weights and bytes: ``python read_parts.py v1``."""

import json
import sys
from itertools import pairwise
from math import comb, cos, exp, expm1, inf, log, pi, sin
from pathlib import Path

RATE = {  # of each family: u(t) and its derivative
    "loglinear": lambda t, e=0: ((1 - e) * t, 1 - e),
    "cosine-mdlm": lambda t, e=0: ((1 - e) * 2 * sin(pi * t / 4) ** 2, (1 - e) * pi / 2 * sin(pi * t / 2)),
    "cosine-md4": lambda t, e=0: (e + (1 - 2 * e) * sin(pi * t / 2), (1 - 2 * e) * pi / 2 * cos(pi * t / 2)),
    "polynomial": lambda t, n, e=0: (e + (1 - 2 * e) * t**n, (1 - 2 * e) * n * t ** (n - 1) if t else inf),
    "geometric": lambda t, a, b: (-expm1(-(s := a * (b / a) ** t)), exp(-s) * s * log(b / a)),
}
BOUNDARY, SPACE = ("control", "unknown", "unused"), b"\xe2\x96\x81"


def weight(k, length, u, steps):  # of a mask of k tokens in the bound: equation (23), or its sum over a grid
    at_zero, top = u[0] ** k * (1 - u[0]) ** (length - k), u[-1]
    if steps:
        return at_zero + sum((b - a) * b ** (k - 1) * (1 - b) ** (length - k) for a, b in pairwise(u))
    rest = length - k
    parts = ((-1) ** j * comb(rest, j) * (top ** (k + j) - u[0] ** (k + j)) / (k + j) for j in range(rest + 1))
    return at_zero + sum(parts)


def official(tokenizer, tokens):
    counted, after_text = [], False
    for piece in (tokenizer["pieces"][token] for token in tokens):
        spells, boundary = bytes.fromhex(piece["spells"]), piece["kind"] in BOUNDARY
        leads = tokenizer["escapes_spaces"] and spells.startswith(SPACE) and piece["kind"] == "text"
        counted.append(0 if boundary else len(spells) - 3 * leads + (leads and after_text))
        after_text = not boundary
    return counted


def exact(tokenizer, tokens):  # bytes of each token, and the text that they spell
    text, escapes = [[]], tokenizer["escapes_spaces"]  # a list a document: token, byte (-1 for what is unknown)
    for i, piece in enumerate(tokenizer["pieces"][token] for token in tokens):
        here, spells = text[-1], bytes.fromhex(piece["spells"])
        if piece["kind"] == "control":
            text.append([])
        elif piece["kind"] == "unknown":
            here.append((i, -1))
        else:
            here += [(i, byte) for byte in (spells.replace(SPACE, b" ") if escapes else spells)]
            if escapes and [byte for _, byte in here[-3:]] == list(SPACE):
                here[-3:] = [(i, 32)]  # the last of three byte pieces has the byte of the space
    for document in text:
        if tokenizer["dummy_prefix"] and document and document[0][1] == 32:
            document.pop(0)
        if tokenizer["dummy_suffix"] and document and document[-1][1] == 32:
            document.pop()
    known = [pair for document in text for pair in document if pair[1] >= 0]
    return [sum(i == j for i, _ in known) for j in range(len(tokens))], bytes(byte for _, byte in known).hex()


def answer(v, rate, tokenizer):  # what this implementation gives for a vector
    kind, length, steps = v["kind"], v.get("length"), v.get("steps")
    if kind == "schedule":
        both = [rate(t) for t in v["times"]]
        found = {"mask_rate": [u for u, _ in both], "loss_weight": [slope / u for u, slope in both]}
        return found | {"u_0": rate(0)[0], "u_max": rate(1)[0], "grid_8": [rate(i / 8)[0] for i in range(9)]}
    if kind == "logits":
        z = [float(v["logits"][token]) for token in v["clean_ids"]]
        return {"nats": [max(z) - value + log(sum(exp(each - max(z)) for each in z)) for value in z]}
    if kind == "mask":
        u, k = v["rate"], len(v["masked"])
        one = u ** (k - 1) * (1 - u) ** (length - k)
        return {"bernoulli": u * one, "size_biased": k / length * one}
    if kind == "weights":
        u = [rate(i / (steps or 1))[0] for i in range((steps or 1) + 1)]
        return {"weights": [weight(k, length, u, steps) for k in range(1, length + 1)]}
    if kind == "bytes":
        per_token, text = exact(tokenizer, v["tokens"])
        return {"official": official(tokenizer, v["tokens"]), "exact": per_token, "text": text}
    return {"bits_per_byte": sum(v["nats"]) / log(2) / sum(v["bytes"])}


def near(a, b, within):  # b may be a list of what is compared, text, or "inf"
    if isinstance(b, list):
        return len(a) == len(b) and all(map(near, a, b, [within] * len(b)))
    return a == b if isinstance(a, str) else a == float(b) or abs(a - float(b)) <= within * max(1, abs(float(b)))


def check(folder, at_least=0.0):  # of each number of each vector: its name, whether it is met
    names = ("tables", "schedules", "logits", "masks", "weights", "bytes")
    tables, *files = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in names)
    tokenizers = {t["name"]: t for t in tables["tokenizers"]}
    rates = {s["name"]: lambda t, s=s: RATE[s["family"]](t, *s["parameters"]) for s in tables["schedules"]}
    for v in (v for file in files for v in file["vectors"]):
        found = answer(v, rates.get(v.get("schedule")), tokenizers.get(v.get("tokenizer")))
        for key, wanted in v["expect"].items():
            yield f"{v['id']} {key}", near(found[key], wanted, max(v["tolerance"], at_least))


if __name__ == "__main__":
    sys.exit("\n".join(f"missed: {name}" for name, is_met in check(Path(sys.argv[1])) if not is_met) or print("met"))
