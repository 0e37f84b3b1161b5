"""`bpb-prove` as a user runs it: a proof, the text back from it, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.cli import eval as evaluate
from bpb_harness.cli import prove
from bpb_harness.proof.bit_file import read_bits, write_bits
from bpb_harness.text.corpus import load_shards
from tests.commands import run_here
from tests.own_json import own_json
from tests.printed import without_progress
from tests.tiny_checkpoints import make_golf_gpt

TINY = "fixtures/checkpoints/mdlm-tiny.pt"
MODEL = "fixtures/tokenizers/tiny_512_bpe.model"

pytestmark = pytest.mark.usefixtures("forked_decoding")  # but for `proved` and `opened`, as a user has it


@pytest.fixture(scope="module")
def proved(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("proof")
    done = run_here(
        prove.main, repository / TINY, "--steps", "8", "--limit", "12", "--num-windows", "4", "--device", "cpu",
        "--proof", folder / "a.bits",
    )  # fmt: skip
    return done, folder / "a.bits"


def decode(repository, file, *more, checkpoint=TINY):
    return run_here(
        prove.main, "--decode", file, repository / checkpoint, "--tokenizer", repository / MODEL, *more
    )  # fmt: skip


def test_a_score_is_proved(proved):
    done, file = proved
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert lines[0].startswith("bpb|method:discrete|T:8|")
    assert lines[-1].startswith("proved: 4 of 12 windows, chosen by a hash of the score, came back, token by token,")
    words = (
        "claim for these windows",
        "coded: ",
        "file: ",
        "cashed: ",
        "against the whole of the score: ",
        "decoded in a process of its own",
        "text of 512",
    )
    for line, word in zip(lines[1:-1], words, strict=True):
        assert word in line
    assert without_progress(done.stderr) == ""
    bits = 8 * len(read_bits(file)[1][1])
    assert f" {bits:,} bits" in lines[-1]
    coded = float(lines[2].split("coded: ")[1].split(" ")[0].replace(",", ""))
    assert coded - 1 <= bits <= 1.001 * coded + 64


def test_the_page_shows_what_is_printed(proved, repository):
    """But for numbers: rounding may choose other windows elsewhere."""
    page = (repository / "docs" / "proof.md").read_text(encoding="utf-8")
    assert (
        "bpb-prove fixtures/checkpoints/mdlm-tiny.pt --steps 8 --limit 12 --num-windows 4 --device cpu --proof" in page
    )
    shown = page.split("```")[1]
    if "without network and files" not in proved[0].stdout:
        pytest.skip("no user namespaces here")
    assert words(shown) == words(proved[0].stdout)


def words(text: str) -> str:
    return "".join(re.sub(r"[\d.,+@-]|model:\w+|tok:\w+|tiny_val@\w+", "", text).split())


@pytest.fixture(scope="module")
def opened(proved, repository, tmp_path_factory):
    text = tmp_path_factory.mktemp("opened") / "a.txt"
    return decode(repository, proved[1], "--text", text), text


def test_a_stranger_gets_the_text_back(proved, opened, repository):
    done, text = opened
    assert done.returncode == 0, done
    first = proved[0].stdout.splitlines()[0]
    assert first in done.stdout
    assert f"torch {torch.__version__}, on cpu" in done.stdout
    assert done.stdout.splitlines()[-1] == proved[0].stdout.splitlines()[-1]
    shown = [line.partition(": ")[2] for line in (proved[0].stdout + done.stdout).splitlines() if " bits for " in line]
    assert len(shown) == 2
    assert shown[0] == shown[1]
    corpus = load_shards([repository / "fixtures/corpora/tiny_val_000000.bin"])
    tokenizer, windows = load_tokenizer(repository / MODEL), read_bits(proved[1])[0]["windows"]
    texts = [tokenizer.decode(corpus.read(128 * window, 128 * window + 128)) for window in windows]
    assert text.read_bytes() == b"\n".join(texts)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--limit", "2", "--num-windows", "2", "--samples", "1"), "the score's own error, "),
        (("--limit", "12", "--num-windows", "1"), "one window alone shows no spread"),
    ],
)
def test_what_leaves_the_number_open_does_so_for_both(repository, tmp_path, words, reason):
    mine = run_here(
        prove.main, repository / TINY, "--steps", "4", *words, "--device", "cpu", "--proof", tmp_path / "a.bits"
    )
    theirs = decode(repository, tmp_path / "a.bits")
    assert (mine.returncode, theirs.returncode) == (3, 3)
    assert mine.stdout.splitlines()[-1] == theirs.stdout.splitlines()[-1]
    assert reason in mine.stdout.splitlines()[-1]


def test_the_tokenizer_inside_the_checkpoint_serves(proved, opened, repository, tmp_path):
    done = run_here(prove.main, "--decode", proved[1], repository / TINY, "--text", tmp_path / "a.txt")
    assert done.returncode == 0, done
    assert done.stdout == opened[0].stdout
    assert (tmp_path / "a.txt").read_bytes() == opened[1].read_bytes()


def test_a_checkpoint_that_carries_no_tokenizer_or_another(proved, repository, tmp_path, monkeypatch):
    from bpb_harness.proof import spelling

    inside = torch.load(repository / TINY, weights_only=True)
    for name, tokenizer, said in (
        ("bare.pt", None, "no --tokenizer: got none inside bare.pt; pass --tokenizer MODEL, that of the score"),
        ("other.pt", torch.tensor(list(b"{}"), dtype=torch.uint8), "the tokenizer inside other.pt"),
    ):
        torch.save({key: value for key, value in (inside | {"tokenizer": tokenizer}).items() if value is not None},
                   tmp_path / name)  # fmt: skip
        done = run_here(prove.main, "--decode", proved[1], tmp_path / name)
        assert done.returncode == 2
        assert f"{name} is not the checkpoint of the file of bits" in done.stderr  # whatever it carries
        monkeypatch.setattr(spelling, "require_same_checkpoint", lambda *_: None)
        done = run_here(prove.main, "--decode", proved[1], tmp_path / name)
        assert done.returncode == 2
        assert said in done.stderr
        monkeypatch.undo()


def test_what_came_of_it_as_json(proved, opened, repository, tmp_path):
    done = run_here(
        prove.main, repository / TINY, "--steps", "4", "--limit", "4", "--num-windows", "2", "--no-contract",
        "--device", "cpu", "--proof", tmp_path / "a.bits", "--format", "json", "--output", tmp_path / "a.json",
    )  # fmt: skip
    assert (done.returncode, done.stdout, without_progress(done.stderr)) == (3, "", "")
    plain = own_json((tmp_path / "a.json").read_text())
    assert (plain["verdict"], plain["made_by"], plain["num_wrong_tokens"], plain["came_back"]) == (
        "decoded", "--proof", 0, True,
    )  # fmt: skip
    assert plain["score"].startswith("bpb|method:discrete|T:4|")
    assert plain["bits"] == 8 * len(read_bits(tmp_path / "a.bits")[1][1])
    assert plain["bits_per_byte"] == plain["bits"] / plain["num_bytes"]
    assert plain["bits_per_token"] == plain["bits"] / 256 == plain["bits"] / plain["num_tokens"]
    assert plain["network_bits"] < plain["bits"]
    assert abs(plain["claimed_bits"] - plain["bits"]) < 6.0 * (plain["claim_stderr_bits"] + plain["draw_stderr_bits"])
    assert plain["file_bytes"] == (tmp_path / "a.bits").stat().st_size
    assert len(plain["windows"]) == 2 <= plain["num_spans"] == 4

    again = decode(repository, proved[1], "--format", "json")
    plain = own_json(again.stdout)
    assert (again.returncode, plain["verdict"], plain["made_by"]) == (0, "proved", "--decode")
    assert plain["claimed_bits"] is plain["num_wrong_tokens"] is plain["checkpoint_bytes"] is None
    assert plain["score"] == proved[0].stdout.splitlines()[0]
    assert plain["sentence"] in opened[0].stdout
    assert plain["windows"] == read_bits(proved[1])[0]["windows"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--proof", "a.bits", "--format", "xml"), "--format: got 'xml', expected text or json"),
        (("--proof", "a.bits", "--output", "a.bits"), "got the same file twice, expected files of their own"),
        (
            ("--decode", "a.bits", "--output", "a.bits"),
            "--output: got a.bits, which is read, expected a file of",
        ),
        (("--proof", "a.bits", "--output", "none/a.json"), "expected a file in a folder that exists"),
    ],
)
def test_outputs_that_cannot_be_are_refused_first(words, said, repository, tmp_path):
    done = run_here(prove.main, repository / TINY, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_network_that_learns_on_the_way_is_refused_before_it_is_scored(repository, tmp_path):
    done = run_here(prove.main, repository / TINY, "--ttt", "sgd", "--limit", "4", "--proof", tmp_path / "a.bits")
    assert done.returncode == 2, done
    assert done.stderr.startswith("bpb-prove: --ttt sgd with bpb-prove: got a network that learns on the way")
    assert list(tmp_path.iterdir()) == []


def test_other_bits_are_never_the_text(proved, repository, tmp_path):
    header, (given, bits) = read_bits(proved[1])
    wrong = bytes([bits[0] ^ 64]) + bits[1:]
    write_bits(tmp_path / "b.bits", header, [given, wrong])
    done = decode(repository, tmp_path / "b.bits", "--text", tmp_path / "b.txt")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("not decoded: ")
    assert not (tmp_path / "b.txt").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"windows": [0, 1, 2, 3]}, "expected those that the score's hash chooses"),
        ({"score": "bpb ~<= 0.1"}, "expected those that the score's hash chooses"),
        ({"lengths": [4096] * 4}, "expected at most 128, the windows of its score"),
        ({"method": "ar", "num_steps": None}, "header: method: got ar, expected discrete, as its score says"),
        ({"schedule": None}, "schedule"),
        ({"num_spans": 1 << 40}, "num_spans"),
        ({"order": "backwards"}, "--order"),
        ({"schedule": "cubic"}, "schedule"),
        ({"num_steps": 10**12}, "--steps"),
        ({"vocab_size": 7}, "is not of this network"),
        ({"adapter": "golf-gpt"}, "golf-gpt"),
        ({"runs_code": True}, "pass --model FILE.py:LOADER and --allow-code"),
        ({"tokenizer": "00"}, "header: tokenizer: got 00, expected f8f5752f, as its score says"),
        ({"seed": 7}, "header: seed: got 7, expected 0, as its score says"),
        ({"code": "00/load"}, "--model is not the code of the file of bits: got none, expected 00:load"),
        ({"torch": 5}, "header: torch"),
    ],
)
def test_files_that_nobody_wrote(proved, repository, tmp_path, change, said):
    header, streams = read_bits(proved[1])
    write_bits(tmp_path / "b.bits", header | change, streams)
    done = decode(repository, tmp_path / "b.bits")
    assert done.returncode == 2, done
    assert said in done.stderr
    assert len(without_progress(done.stderr).splitlines()) == 1
    assert done.stdout == ""


def test_another_checkpoint_is_refused(proved, repository, tmp_path):
    other = torch.load(repository / TINY, weights_only=True)
    next(value for value in other["tensors"].values() if value.dim() == 2)[0, 0] += 1.0
    torch.save(other, tmp_path / "other.pt")
    done = decode(repository, proved[1], checkpoint=tmp_path / "other.pt")
    assert done.returncode == 2
    assert len(without_progress(done.stderr).splitlines()) == 1


def test_cut_files(proved, repository, tmp_path):
    whole = proved[1].read_bytes()
    for size in (0, 100, len(whole) - 1):
        (tmp_path / "cut.bits").write_bytes(whole[:size])
        done = decode(repository, tmp_path / "cut.bits")
        assert done.returncode == 2, (size, done)
        assert len(without_progress(done.stderr).splitlines()) == 1
    assert decode(repository, repository / TINY).returncode == 2
    assert decode(repository, tmp_path / "none.bits").returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--proof and --decode: got neither"),
        (["--proof", "a", "--decode", "b"], "got both"),
        (["--proof", "a", "--text", "t"], "--text with --proof"),
        (["--proof", "a", "--num-windows", "0"], "--num-windows"),
        (["--proof", "a", "--compare"], "--compare: got two bounds, expected the one that is proved"),
        (["--proof", "a", "--limit", "3", "--num-windows", "4", "--no-contract", "--steps", "2"], "expected 1 to 3"),
        (["--proof", "a", "--time-limit", "0"], "--time-limit: got 0.0, expected seconds, above 0"),
        (["--decode", "a"], "a: cannot be read"),
        (["--decode", "a", "--tokenizer", "t", "--steps", "3"], "--steps with --decode"),
        (["--decode", "a", "--tokenizer", "t", "--num-windows", "3"], "--num-windows with --decode"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(repository, tmp_path, words, said):
    done = run_here(prove.main, repository / TINY, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(without_progress(done.stderr).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["--method", "mc", "--context", "32"],
        ["--method", "chain", "--order", "entropy", "--tokens-per-step", "8", "--stride", "64"],
        ["--block-size", "32", "--steps", "4", "--per-document", "--schedule", "cosine-md4[0.1]"],
    ],
)
def test_other_codes_and_layouts(one_block, tmp_path, words):
    done = run_here(
        prove.main, one_block, "--limit", "5", *words, "--num-windows", "4", "--device", "cpu", "--no-contract",
        "--proof", tmp_path / "a.bits",
    )  # fmt: skip
    assert done.returncode == 3, done  # nobody checked the contract
    assert done.stdout.splitlines()[-1].startswith("decoded, not checked: 4 of ")


@pytest.mark.parametrize("steps", [[], ["--steps", "3"]])
def test_an_enumerated_bound(one_block, tmp_path, steps):
    done = run_here(
        prove.main, one_block, "--method", "exact", "--context", "6", "--limit", "9", *steps, "--no-contract",
        "--num-windows", "5", "--device", "cpu", "--proof", tmp_path / "a.bits",
    )  # fmt: skip
    assert done.returncode == 3, done
    claimed, coded = (float(line.split(": ")[1].split(" ")[0]) for line in done.stdout.splitlines()[1:3])
    assert "+-" not in done.stdout.splitlines()[1]  # nothing is drawn of a network that is not told the rate
    assert 0.5 * claimed < coded < 1.5 * claimed


def test_answers(one_block, tmp_path):
    """Short ones, whose masks are gone through in the score, and one that is cut into several spans."""
    rows = [("the dog is here.", " a bird"), ("we know that", " the old house was near the water." * 3), ("it", " is")]
    lines = [json.dumps({"q": question, "a": answer}) + "\n" for question, answer in rows]
    (tmp_path / "qa.jsonl").write_text("".join(lines))
    words = (
        "--docs", tmp_path / "qa.jsonl", "--context-field", "q", "--target-field", "a", "--device", "cpu",
        "--context", "32", "--stride", "16", "--method", "mc", "--no-contract",
    )  # fmt: skip
    scored = json.loads(run_here(evaluate.main, one_block, *words, "--format", "json").stdout)
    count = scored["num_windows"]
    assert count > len(rows)
    every = run_here(prove.main, one_block, *words, "--num-windows", count, "--proof", tmp_path / "b.bits")
    assert every.returncode == 3, every
    assert f"decoded, not checked: {count} of {count} spans" in every.stdout
    assert f"text of {scored['num_tokens']:,} tokens, {scored['num_bytes']:,} bytes" in every.stdout


def test_an_autoregressive_network(repository, tmp_path):
    torch.save(make_golf_gpt(vocab_size=512), tmp_path / "gpt.pt")
    shutil.copy(repository / "fixtures/corpora/tiny_val_000000.bin", tmp_path / "val.bin")
    done = run_here(
        prove.main, tmp_path / "gpt.pt", "--adapter", "golf-gpt", "--method", "ar", "--context", "16", "--limit", "6",
        "--data", tmp_path / "val.bin", "--tokenizer", repository / MODEL, "--device", "cpu", "--num-windows", "4",
        "--no-contract", "--proof", tmp_path / "a.bits",
    )  # fmt: skip
    assert done.returncode == 3, done
    assert ", token by token" not in done.stdout


@pytest.fixture(scope="module")
def scored(repository, tmp_path_factory):
    """The score of ``proved``, by itself."""
    file = tmp_path_factory.mktemp("score") / "r.json"
    done = run_here(
        evaluate.main, repository / TINY, "--steps", "8", "--limit", "12", "--device", "cpu", "--format", "json",
        "--output", file,
    )  # fmt: skip
    assert done.returncode == 0, done
    return file


def test_a_score_that_is_taken_is_proved_by_the_same_bits(one_block, tmp_path, monkeypatch):
    import bpb_harness.proof.prove as module

    words = (one_block, "--steps", "2", "--limit", "6", "--device", "cpu")
    scored = run_here(evaluate.main, *words, "--format", "json", "--output", tmp_path / "r.json")
    proving = (*words, "--num-windows", "2", "--proof")
    theirs = run_here(prove.main, *proving, tmp_path / "b.bits")
    assert (scored.returncode, theirs.returncode) == (0, 0), (scored, theirs)
    monkeypatch.setattr(module, "score_checkpoint", None)  # nothing is scored again
    mine = run_here(prove.main, *proving, tmp_path / "a.bits", "--score", tmp_path / "r.json")
    assert mine.returncode == 0, mine
    assert (tmp_path / "a.bits").read_bytes() == (tmp_path / "b.bits").read_bytes()
    assert mine.stdout == theirs.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "9"], "--steps with --score: got 9, expected 8, as the score says"),
        (["--method", "mc"], "--method with --score: got mc, expected discrete"),
        (["--stride", "64"], "--stride with --score: got 64, expected None"),
        (["--limit", "5"], "--limit with --score: got 5, expected 12"),
        (["--seed", "1"], "--seed with --score"),
        (["--no-contract"], "--no-contract with --score"),
        (["--samples", "3"], "--samples with --score: got 3, expected 2"),
        (["--dtype", "bfloat16"], "--dtype with --score"),
        (["--tolerance", "0.1"], "--tolerance with --score"),
        (["--data", "fixtures/corpora/tiny_val_000000.bin", "--separator", "none"], "another score: "),
    ],
)
def test_what_a_score_contradicts(repository, scored, tmp_path, words, said):
    done = run_here(
        prove.main, repository / TINY, "--score", scored, *words, "--proof", tmp_path / "a.bits", cwd=repository
    )
    assert done.returncode == 2, done
    assert said in done.stderr
    assert len(without_progress(done.stderr).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_score_of_something_else(repository, scored, tmp_path):
    other = torch.load(repository / TINY, weights_only=True)
    next(value for value in other["tensors"].values() if value.dim() == 2)[0, 0] += 1.0
    torch.save(other, tmp_path / "other.pt")
    done = run_here(
        prove.main, tmp_path / "other.pt", "--score", scored, "--data",
        repository / "fixtures/corpora/tiny_val_000000.bin", "--proof", tmp_path / "a.bits",
    )  # fmt: skip
    assert done.returncode == 2
    assert "r.json is another score: model: got " in done.stderr
    plain = json.loads(scored.read_text())
    (tmp_path / "lower.json").write_text(json.dumps(plain | {"nats": 0.9 * plain["nats"]}))
    done = run_here(prove.main, repository / TINY, "--score", tmp_path / "lower.json", "--proof", tmp_path / "a.bits")
    assert done.returncode == 2  # it contradicts itself
    done = run_here(
        prove.main, "--decode", "x", repository / TINY, "--score", scored, "--tokenizer", repository / MODEL
    )
    assert (done.returncode, "--score with --decode" in done.stderr) == (2, True)


def test_a_taken_score_of_blocks_and_answers(one_block, tmp_path):
    rows = "".join(json.dumps({"q": "the dog is here.", "a": f" a bird{'s' * k}"}) + "\n" for k in range(4))
    (tmp_path / "qa.jsonl").write_text(rows)
    paths = ("--docs", tmp_path / "qa.jsonl", "--context-field", "q", "--target-field", "a")
    for name, words, beside in (
        ("blocks", ("--block-size", "32", "--steps", "2", "--limit", "3"), ("--limit", "3")),  # counts windows
        ("answers", ("--method", "chain", "--limit", "3", "--context", "64", *paths), paths),
    ):
        file = tmp_path / f"{name}.json"
        done = run_here(
            evaluate.main, one_block, *words, "--no-contract", "--device", "cpu", "--format", "json",
            "--output", file,
        )  # fmt: skip
        assert done.returncode == 0, done
        done = run_here(
            prove.main, one_block, "--score", file, *beside, "--num-windows", "3", "--device", "cpu",
            "--proof", tmp_path / "a.bits",
        )  # fmt: skip
        assert done.returncode == 3, done
        assert "decoded, not checked: 3 of " in done.stdout


def test_a_taken_score_that_its_windows_do_not_cash(one_block, tmp_path):
    """A chain's, all of it: the file is edited so that it agrees with itself, on a lower number."""
    from bpb_harness.formats import read_result
    from bpb_harness.proof.prove import prove as prove_here
    from bpb_harness.proof.taken_score import settings_beside

    file = tmp_path / "chain.json"
    done = run_here(
        evaluate.main, one_block, "--method", "chain", "--context", "8", "--limit", "3", "--no-contract",
        "--device", "cpu", "--format", "json", "--output", file,
    )  # fmt: skip
    assert done.returncode == 0, done
    plain = json.loads(file.read_text())
    lower = {
        key: 0.9 * plain[key] for key in ("nats", "bits_per_byte", "bits_per_token")
    } | {"ci95": [0.9 * each for each in plain["ci95"]]}  # fmt: skip
    file.write_text(json.dumps(plain | lower))
    settings = settings_beside(read_result(file), {"device": "cpu"}, ())
    outcome = prove_here(one_block, settings, tmp_path / "a.bits", num_windows=3, score=file)
    assert outcome.exit_code == 1
    assert "cost more than the score says by" in outcome.sentence()
