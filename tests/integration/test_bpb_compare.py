"""`bpb-compare` as a user runs it: scores from files and from checkpoints, what follows, and what it refuses."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import bpb_harness
from bpb_harness.cli import compare
from bpb_harness.cli import eval as bpb_eval
from bpb_harness.comparison.text_error import TextError
from bpb_harness.costs import ScoreCosts
from bpb_harness.errors import HarnessError, InputError, UsageError
from tests.commands import run_here, run_line_here
from tests.own_json import own_json
from tests.printed import without_progress
from tests.tiny_checkpoints import make_golf_gpt
from tests.undrawn_charts import undrawn_charts

QUIET = {"device": "cpu", "check_contract": False}
NUM_DOCUMENTS = 20


@pytest.fixture(scope="module")
def folder(repository, tmp_path_factory):
    """Twenty documents, a network trained on their kind, the same with other weights, one that knows nothing."""
    folder = tmp_path_factory.mktemp("compare")
    lines = (repository / "fixtures/corpora/tiny_val_docs.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "docs.jsonl").write_text("\n".join(lines[:NUM_DOCUMENTS]) + "\n", encoding="utf-8")
    checkpoint = torch.load(repository / "fixtures/checkpoints/mdlm-tiny.pt", weights_only=True)
    torch.save(checkpoint, folder / "tiny.pt")
    torch.save(disturbed(checkpoint, torch.Generator().manual_seed(1)), folder / "worse.pt")
    torch.save(make_golf_gpt(vocab_size=512), folder / "gpt.pt")
    model = repository / "fixtures/tokenizers/tiny_512_bpe.model"
    (folder / "tiny.model").write_bytes(model.read_bytes())
    return folder


def disturbed(value, generator):
    if isinstance(value, dict):
        return {key: disturbed(inner, generator) for key, inner in value.items()}
    if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dim() == 2:
        noise = 1.0 + 0.1 * torch.randn(value.shape, generator=generator)
        return (value.float() * noise).to(value.dtype)
    return value


@pytest.fixture(scope="module")
def results(folder):
    """Scores of the three."""
    docs = folder / "docs.jsonl"
    more = {**QUIET, "docs": docs, "with_costs": True, "with_tokens": True}
    return SimpleNamespace(
        tiny=bpb_harness.evaluate(folder / "tiny.pt", **more),
        worse=bpb_harness.evaluate(folder / "worse.pt", **more),
        gpt=bpb_harness.evaluate(
            folder / "gpt.pt",
            adapter="golf-gpt",
            method="ar",
            context_length=64,
            tokenizer=folder / "tiny.model",
            **more,
        ),
    )


@pytest.fixture(scope="module")
def files(folder, results):
    for name, result in vars(results).items():
        result.costs.write(folder / f"{name}.score")
    return {name: folder / f"{name}.score" for name in vars(results)}


def run(*words):
    return run_here(compare.main, *words)


def test_files_say_to_the_last_bit_what_checkpoints_do(folder, files):
    words = (
        "--docs", folder / "docs.jsonl", "--tokenizer", folder / "tiny.model", "--device", "cpu", "--no-contract",
        "--adapter", "golf-gpt", "--adapter", "reference", "--method", "ar", "--method", "discrete",
        "--context", "64", "--context", "128", "--format", "json",
    )  # fmt: skip
    by_checkpoint = run(folder / "gpt.pt", folder / "tiny.pt", *words)
    by_file = run(files["gpt"], files["tiny"], "--format", "json")
    assert by_checkpoint.returncode == by_file.returncode == 0, by_checkpoint
    assert by_checkpoint.stdout == by_file.stdout
    assert by_file.stdout.startswith('{\n  "format": "bpb-comparison/1",')


def test_documents_are_what_their_tokens_cost(results):
    for result in vars(results).values():
        by_document = result.tokens.groupby("document")["share_bits"].sum().to_numpy()
        costs = result.costs.documents
        assert costs.nats / math.log(2.0) == pytest.approx(by_document, rel=1e-9)
        assert math.fsum(costs.nats) == pytest.approx(result.length.nats, rel=1e-12)
        assert costs.num_units.sum() == result.length.num_bytes
        assert result.costs.blocks.nats.sum() == pytest.approx(result.length.nats, rel=1e-12)


def test_the_numbers_against_plain_sums(results):
    """The error of the ratio, and a bootstrap over documents, written here once more."""
    found = bpb_harness.compare(results.gpt, results.tiny).pairs[0]
    one, other = results.gpt, results.tiny
    assert found.delta == pytest.approx(other.bits_per_byte - one.bits_per_byte, rel=1e-12)
    assert (found.units, found.num_units, found.p_by) == ("documents", NUM_DOCUMENTS, "bootstrap")
    assert (found.mask_stderr, found.masks) == (pytest.approx(other.mc_stderr), "independent")
    bits = [each.tokens.groupby("document")["share_bits"].sum().to_numpy() for each in (one, other)]
    sizes = one.tokens.assign(size=one.tokens["end_byte"] - one.tokens["first_byte"]).groupby("document")["size"].sum()
    free = other.costs.documents.level_free_nats / math.log(2.0)  # of the luck of mask rates
    assert np.corrcoef(free, bits[1])[0, 1] > 0.9
    difference, sizes = free - bits[0], sizes.to_numpy().astype(float)
    ratio = difference.sum() / sizes.sum()
    rng = np.random.default_rng(1)

    def error(x, b):
        return math.sqrt(len(x) / (len(x) - 1) * ((x - x.sum() / b.sum() * b) ** 2).sum()) / b.sum()

    ratios, studentised = [], []
    for _ in range(4000):
        some = rng.integers(NUM_DOCUMENTS, size=NUM_DOCUMENTS)
        ratios.append(difference[some].sum() / sizes[some].sum())
        studentised.append((ratios[-1] - ratio) / error(difference[some], sizes[some]))
    in_document, in_window = (other.tokens.groupby(by).size() for by in (["window", "document"], "window"))
    shared = (1.0 - (in_document**2).sum() / (in_window**2).sum()) * other.mc_stderr**2
    assert 0.0 < shared < other.mc_stderr**2
    whole = math.sqrt(error(difference, sizes) ** 2 + shared)
    assert found.text_stderr == pytest.approx(whole, rel=1e-9)
    assert found.text_stderr == pytest.approx(math.sqrt(np.var(ratios) + shared), rel=0.15)
    high, low = (ratio - q * whole for q in np.quantile(studentised, [0.025, 0.975]))
    assert found.text_ci95 == pytest.approx((low, high), abs=0.1 * (high - low))


def test_both_directions(results):
    one, other = (
        bpb_harness.compare(*order).pairs[0]
        for order in ((results.gpt, results.tiny), (results.tiny, results.gpt))
    )  # fmt: skip
    assert one.delta == -other.delta < 0.0
    assert one.p == pytest.approx(other.p, abs=1e-12)
    assert one.winner == other.winner
    assert one.conclusion == other.conclusion == "better-likelihood"
    assert one.sentence == other.sentence
    assert "has the higher likelihood on this text" in one.sentence
    assert one.notes == (f"{one.baseline} is given 1 token that spells nothing",)


def test_masks_are_the_same_for_equal_seeds(folder, results):
    found = bpb_harness.compare(results.tiny, results.worse)
    pair = found.pairs[0]
    assert (pair.masks, pair.masks_differ_in, pair.conclusion) == ("same", "", "lower-bound")
    assert pair.mask_stderr < min(results.tiny.mc_stderr, results.worse.mc_stderr)
    again = bpb_harness.evaluate(folder / "worse.pt", docs=folder / "docs.jsonl", seed=7, with_costs=True, **QUIET)
    apart = bpb_harness.compare(results.tiny, again).pairs[0]
    assert (apart.masks, apart.masks_differ_in) == ("independent", "seeds 0 and 7")
    assert apart.mask_stderr == pytest.approx(math.hypot(results.tiny.mc_stderr, again.mc_stderr))
    assert apart.mask_stderr > 2.0 * pair.mask_stderr
    assert "saw other masks (seeds 0 and 7): their errors add in squares" in apart.notes[0]


def test_a_system_against_itself(results):
    found = bpb_harness.compare(results.tiny, results.tiny, better_by=0.0)
    pair = found.pairs[0]
    assert (pair.delta, pair.mask_stderr, pair.p, pair.conclusion) == (0.0, 0.0, 1.0, "equal")
    assert not found.holds


def test_files_of_one_name_are_told_apart_by_their_folders(files, tmp_path):
    """By no more of their paths than that takes, in every format; the same file again has a number."""
    for name, source in (("one", "tiny"), ("two", "worse"), ("three", "gpt")):
        (tmp_path / name / "last").mkdir(parents=True)
        (tmp_path / name / "last" / "m.score").write_bytes(files[source].read_bytes())
    one, two, three = (tmp_path / name / "last" / "m.score" for name in ("one", "two", "three"))
    page = tmp_path / "page.html"
    for systems, names in (
        ([one, two], ["one/last/m.score", "two/last/m.score"]),
        ([one, two, files["gpt"]], ["one/last/m.score", "two/last/m.score", "gpt"]),
        (
            [one, two, three, one],
            ["one/last/m.score#1", "two/last/m.score", "three/last/m.score", "one/last/m.score#2"],
        ),
        ([one, one], ["m#1", "m#2"]),
    ):
        found = own_json(run(*systems, "--format", "json").stdout)
        assert [system["name"] for system in found["systems"]] == names
        for words_of_format in (["--format", "markdown"], ["--report", page] if systems[-1] is one else []):
            with undrawn_charts():
                said = run(*systems, *words_of_format).stdout
            assert all(name in said for name in names)
        assert not page.exists() or all(name in page.read_text() for name in names)


def test_expectations(files, tmp_path):
    better = run(files["worse"], files["tiny"], "--expect-better", "0.01", "--level", "0.01")
    assert better.returncode == 0, better
    assert "better than the baseline by more than 0.01 bits per byte at level 0.01: holds of the base" in words(better)
    assert "What is shown is fewer bits than that bound, not a better model" in words(better)
    exact = run(files["gpt"], files["tiny"], "--expect-better", "0")
    assert "not a better model" not in words(exact)  # missed, or better than an exact code length
    for missed in (
        run(files["tiny"], files["worse"], "--expect-better", "0"),
        run(files["worse"], files["tiny"], "--expect-better", "5"),
        run(files["gpt"], files["tiny"], files["gpt"], "--expect-better", "0.01"),
    ):
        assert missed.returncode == 1
        assert "does NOT hold" in missed.stdout
        assert without_progress(missed.stderr) == ""
    for quiet in (
        ("--output", tmp_path / "missed.txt"),
        ("--format", "json"),
    ):  # then the exit code does not stand alone
        missed = run(files["tiny"], files["worse"], "--expect-better", "0", *quiet)
        assert missed.returncode == 1
        assert missed.stderr.startswith("bpb-compare: expected better than the baseline by more than 0.0 bits per byte")
    done = run(files["worse"], files["tiny"], "--expect-better", "0.01", "--format", "json")
    assert own_json(done.stdout)["expectation"] == {
        "better_by": 0.01, "level": 0.05, "holds": True, "of_bounds": True,
    }  # fmt: skip


def words(done) -> str:
    return " ".join(done.stdout.split())


def test_several_systems_are_corrected_for(results):
    found = bpb_harness.compare(results.gpt, results.tiny, results.worse)
    alone = [bpb_harness.compare(results.gpt, each).pairs[0] for each in (results.tiny, results.worse)]
    assert [pair.p for pair in found.pairs] == [pair.p for pair in alone]
    assert max(pair.p_holm for pair in found.pairs) >= 2.0 * min(pair.p for pair in found.pairs)
    assert [pair.p_holm for pair in alone] == [pair.p for pair in alone]


def test_formats(files, tmp_path):
    several = (files["gpt"], files["tiny"], files["worse"])
    text = run(*several).stdout
    assert text.index("has the higher likelihood") < text.index("system ")
    assert max(map(len, text.split("bpb|")[0].splitlines())) <= 120
    table = run(*several, "--format", "markdown").stdout
    assert table.splitlines()[0].startswith("| system | bits per byte | mask se | difference |")
    assert r"\~\<= " in table
    latex = run(*several, "--format", "latex").stdout
    assert latex.startswith("\\begin{tabular}{lrrrrrrr}\n\\toprule\nsystem & bits per byte")
    assert r"$\lesssim$ 0." in latex
    assert r"95 \% on other text" in latex
    done = run(*several, "--format", "json", "--output", tmp_path / "a.json")
    assert (done.returncode, done.stdout) == (0, "")
    record = json.loads((tmp_path / "a.json").read_text())
    assert list(record)[:4] == ["format", "systems", "pairs", "unit"]
    assert [pair["system"] for pair in record["pairs"]] == ["tiny", "worse"]
    assert bpb_harness.compare(*several).to_frame()["delta"].tolist() == [pair["delta"] for pair in record["pairs"]]


def test_the_contests_rule(results):
    def run_of(result, shift):
        costs = result.costs
        return ScoreCosts(**{**vars(costs), "nats": costs.nats + shift * costs.num_tokens})

    runs = [run_of(results.worse, x) for x in (0.0, 0.001, 0.002)] + [run_of(results.tiny, x) for x in (0.0, 0.001)]
    found = bpb_harness.compare(*runs, runs_of_baseline=3)
    assert found.holds
    assert found.pairs == ()
    expected = [result.length.nats / result.length.num_tokens for result in (results.worse, results.tiny)]
    assert found.contest.baseline_nats_per_token == pytest.approx(expected[0] + 0.001)
    assert found.contest.candidate_nats_per_token == pytest.approx(expected[1] + 0.0005)
    assert "contest's rule holds" in str(found)
    assert not bpb_harness.compare(*runs[3:], *runs[:3], runs_of_baseline=2).holds
    with pytest.raises(UsageError, match="nats per token of the same tokens"):
        bpb_harness.compare(*runs[:4], results.gpt, runs_of_baseline=3)
    with pytest.raises(UsageError, match="--contest-rule: got 4 of 5 systems"):
        bpb_harness.compare(*runs, runs_of_baseline=4)


class Letters:
    """A causal network over a few letters."""

    def __init__(self, pieces, seed):
        self.vocab_size, self.context_length = len(pieces), 16
        self._table = torch.randn(len(pieces), len(pieces), generator=torch.Generator().manual_seed(seed))

    def logits(self, x):
        return self._table[x]


def test_other_tokenizers_meet_in_documents(tmp_path):
    """Two vocabularies of characters spell one text; the first token of either spells nothing."""
    texts = ["abba cab", "a", "dab dab dab", "bad cab", "dad", "ab", "cc d", "b a b a b"]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    results = []
    for name, pieces in (("one", ["<s>", *"abcd "]), ("other", ["<s>", *" dcbaxyz"])):
        (tmp_path / f"{name}.json").write_text(json.dumps(pieces))
        results.append(bpb_harness.evaluate(
            Letters(pieces, len(pieces)), method="ar", docs=tmp_path / "docs.jsonl", name=name,
            tokenizer=tmp_path / f"{name}.json", with_costs=True, **QUIET,
        ))  # fmt: skip
    found = bpb_harness.compare(*results).pairs[0]
    assert (found.units, found.num_units, found.conclusion) == ("documents", len(texts), "better")
    assert found.delta == pytest.approx(results[1].bits_per_byte - results[0].bits_per_byte)
    assert "cut the same text into other tokens" in found.notes[0]
    (tmp_path / "docs.jsonl").write_text(json.dumps({"text": "dad"}) + "\n")
    changed = bpb_harness.evaluate(
        Letters(pieces, 1), method="ar", docs=tmp_path / "docs.jsonl", name=name, tokenizer=tmp_path / "other.json",
        with_costs=True, **QUIET,
    )  # fmt: skip
    with pytest.raises(UsageError, match="are scores of different texts"):
        bpb_harness.compare(results[0], changed)


def test_a_kept_draw_is_no_reason_to_change_the_total(folder, tmp_path):
    """With --resume the costs of tokens are not kept: blocks of windows take the place of documents."""
    more = {**QUIET, "docs": folder / "docs.jsonl", "with_costs": True, "limit": 4}
    kept = bpb_harness.evaluate(folder / "tiny.pt", resume=tmp_path / "a.draws", **more)
    again = bpb_harness.evaluate(folder / "tiny.pt", resume=tmp_path / "a.draws", **more)
    assert kept.costs.documents is None
    assert np.array_equal(kept.costs.blocks.nats, again.costs.blocks.nats)
    assert kept.length.nats == again.length.nats == bpb_harness.evaluate(folder / "tiny.pt", **more).length.nats


def test_files_of_draws_say_what_checkpoints_do(folder, tmp_path):
    """To the last bit, but for the units of the text: tokens' costs are not kept with draws."""
    more = {**QUIET, "docs": folder / "docs.jsonl", "limit": 30}
    one, other = tmp_path / "a.draws", tmp_path / "b.draws"
    bpb_harness.evaluate(folder / "tiny.pt", resume=one, **more)
    bpb_harness.evaluate(folder / "worse.pt", resume=other, **more)
    (by_file,) = bpb_harness.compare(one, other).pairs
    (by_checkpoint,) = bpb_harness.compare(folder / "tiny.pt", folder / "worse.pt", **more).pairs
    for name in ("delta", "mask_stderr", "mask_ci95", "masks", "conclusion"):
        assert getattr(by_file, name) == getattr(by_checkpoint, name), name
    assert by_file.masks == "same"
    assert (by_file.units, by_checkpoint.units) == ("blocks", "documents")
    # Resumed, the file holds one score, at its end; without it, or with one that was changed, there is none.
    before = one.read_bytes()
    bpb_harness.evaluate(folder / "tiny.pt", resume=one, **more)
    assert one.read_bytes().splitlines()[-1] == before.splitlines()[-1]
    assert one.read_bytes().count(b'{"score"') == 1
    unfinished = tmp_path / "c.draws"
    unfinished.write_bytes(b"".join(before.splitlines(keepends=True)[:-1]))
    said = refusal(bpb_harness.compare, unfinished, other)
    assert "draws of a score that is not finished" in said
    assert "run that bpb-eval again: its draws are kept" in said
    unfinished.write_bytes(before.replace(b'"num_unpaid": 0', b'"num_unpaid": 1'))
    assert "damaged or was changed" in refusal(bpb_harness.compare, unfinished, other)


def refusal(call, *arguments, **more) -> str:
    with pytest.raises(HarnessError) as caught:
        call(*arguments, **more)
    return str(caught.value)


def test_what_is_no_system_is_refused_by_name(tmp_path, folder):
    (tmp_path / "empty.score").write_bytes(b"")
    (tmp_path / "words.score").write_bytes(b"words and words")
    for name, said in (
        ("gone.score", "no checkpoint and no score file at .*gone.score; pass a checkpoint that exists"),
        ("empty.score", "empty.score is neither a checkpoint nor a score file: got an empty file"),
        ("words.score", r"words.score is no checkpoint of .*torch.save \(.pt\).*, or a file of --score-file"),
    ):
        with pytest.raises(HarnessError, match=said):
            bpb_harness.compare(tmp_path / name, folder / "tiny.pt")


def test_refusals_in_python(results, files, folder):
    plain = bpb_harness.evaluate(folder / "tiny.pt", docs=folder / "docs.jsonl", limit=2, **QUIET)
    assert "without the costs of its documents" in refusal(bpb_harness.compare, results.tiny, plain)
    assert "systems to compare: got 1, expected two or more" in refusal(bpb_harness.compare, results.tiny)
    assert "settings of a score that is there already: got seed" in refusal(
        bpb_harness.compare, results.tiny, files["worse"], seed=1
    )
    assert "--level: got 1" in refusal(bpb_harness.compare, results.tiny, results.worse, level=1)
    assert "--expect-better: got -1" in refusal(bpb_harness.compare, results.tiny, results.worse, better_by=-1)
    part = bpb_harness.evaluate(folder / "tiny.pt", docs=folder / "docs.jsonl", limit=2, with_costs=True, **QUIET)
    assert "do not pay for the same part of the text" in refusal(bpb_harness.compare, results.tiny, part)
    given = bpb_harness.evaluate(
        folder / "tiny.pt", docs=folder / "docs.jsonl", per_document=True, with_costs=True, **QUIET
    )
    assert "one that is given lengths" in refusal(bpb_harness.compare, results.gpt, given)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seed", "1"], "--seed: got no checkpoint among the systems"),
        (["--format", "yaml"], "--format: got 'yaml', expected text, markdown, latex or json"),
        (["--level", "0"], "--level: got 0.0"),
        (["--contest-rule", "2"], "--contest-rule: got 2 of 2 systems"),
        (["--contest-rule", "2", "--expect-better", "1"], "--expect-better with --contest-rule"),
        (["--compare"], "No such option"),
        (["--tokens", "a.parquet"], "No such option"),
        (["--score-file", "a.score"], "No such option"),
        (["--document-table", "a.csv"], "No such option"),
        (["--slice", "source"], "No such option"),
    ],
)
def test_refusals_of_options(options, said, files):
    done = run(files["tiny"], files["worse"], *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--method", "ar"] * 3, "--method: got 3 values, expected one for all, or one for each of 2 checkpoints"),
        (["--data", "a", "--data", "b", "--data", "c"], "put a pattern between quotes, or name a folder"),
        (["--method", "ar", "--samples", "2"], "--samples: got --method ar"),
        (["--method", "ar", "--method", "mc", "--samples", "2", "--samples", "2"], "--samples: got --method ar"),
        (["--method", "no"], "--method: got 'no'"),
    ],
)
def test_numbers_of_values(options, said):
    done = run("a.pt", "b.pt", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_an_option_is_for_the_systems_that_have_it():
    given = {"method": ["ar", "mc"], "num_samples": ["4"], "seed": [3], "docs": ["a.jsonl"], "check_contract": True}
    found = compare.settings_of_each([True, False, True], given)
    common = {"seed": 3, "docs": [Path("a.jsonl")], "check_contract": False}
    assert found == [{"method": "ar", **common}, None, {"method": "mc", "num_samples": 4, **common}]


def test_a_file_of_a_score_is_written_by_bpb_eval(folder, files, tmp_path):
    done = run_here(
        bpb_eval.main, folder / "tiny.pt", "--docs", folder / "docs.jsonl", "--device", "cpu", "--no-contract",
        "--score-file", tmp_path / "again.score",
    )  # fmt: skip
    assert done.returncode == 0, done
    assert (tmp_path / "again.score").read_bytes() == files["tiny"].read_bytes()
    (tmp_path / "again.score").write_bytes(files["tiny"].read_bytes().replace(b"seed:0", b"seed:1"))
    with pytest.raises(InputError, match="damaged or was changed"):
        bpb_harness.compare(files["tiny"], tmp_path / "again.score")


def test_units_that_the_page_names():
    assert TextError.of(np.ones(15), np.ones(15)).way == "sign flips"
    assert TextError.of(np.ones(16), np.ones(16)).way == "bootstrap"


def test_the_page_shows_what_is_printed(repository):
    """But for last digits: rounding differs between processors."""
    page = (repository / "docs" / "comparison.md").read_text(encoding="utf-8")
    shown = next(part for part in page.split("```") if part.startswith("\n$ bpb-compare"))
    line, _, expected = shown.strip().replace(" \\\n    ", " ").partition("\n")
    done = run_line_here(line.removeprefix("$ "), cwd=repository)
    assert done.returncode == 0, done

    def plain(text: str) -> list[str]:
        return re.sub(r"bpb\|\S+", "bpb|...", re.sub(r"\d+\.?\d*", "0", text)).split()

    assert plain(done.stdout) == plain(expected)
    shown, seen = (re.findall(r"[-+]?\d+\.\d{4}", re.sub(r"bpb\|\S+", "", text)) for text in (expected, done.stdout))
    assert [float(each) for each in seen] == pytest.approx([float(each) for each in shown], abs=0.002)


@pytest.mark.lab
def test_the_lab(lab, tmp_path):
    """The baseline's exact code length against the bound of a masked network, on documents of real text."""
    lines = (lab / "text/lab_val_docs.jsonl").read_text(encoding="utf-8").splitlines()[:6]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    foreign = lab / "foreign"
    done = run(
        foreign / "base_gpt.pt", foreign / "pr1106_small.pt", "--docs", tmp_path / "docs.jsonl", "--device", "cpu",
        "--no-contract", "--adapter", "golf-gpt", "--adapter", "golf-mdlm", "--method", "ar", "--method", "discrete",
        "--context", "256", "--context", "128", "--tokenizer", lab / "tokenizers/fineweb_1024_bpe.model",
        "--format", "json",
    )  # fmt: skip
    assert done.returncode == 0, done
    pair = own_json(done.stdout)["pairs"][0]
    assert (pair["conclusion"], pair["winner"]) == ("shorter-than-bound", "base_gpt")
    assert pair["num_units"] == 6
