"""Documents and slices as a user asks for them at the command."""

from __future__ import annotations

import json
import math

import pandas as pd
import pyarrow.parquet
import pytest

from bpb_harness.cli.eval import main as eval_main
from bpb_harness.formats import read_result
from tests.commands import run_here

PLAIN = ("--device", "cpu", "--no-contract", "--limit", "6", "--method", "mc")


@pytest.fixture(scope="module")
def docs(repository, tmp_path_factory):
    lines = (repository / "fixtures" / "corpora" / "tiny_val_docs.jsonl").read_text("utf-8").splitlines()[:12]
    path = tmp_path_factory.mktemp("docs") / "d.jsonl"
    rows = [json.loads(line) | {"id": f"doc-{number}", "of": number % 2} for number, line in enumerate(lines)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_tables_on_disk_add_up_to_the_score(one_block, docs, tmp_path):
    checkpoint = one_block
    words = ("--docs", docs, "--slice", "of", "--format", "json", "--output", tmp_path / "r.json")
    named = run_here(eval_main, checkpoint, *PLAIN, *words, "--key-field", "id", "--document-table", tmp_path / "t.csv")
    assert named.returncode == 0, named.stderr
    plain = json.loads((tmp_path / "r.json").read_text())
    table, bits = pd.read_csv(tmp_path / "t.csv"), plain["nats"] / math.log(2)
    assert table["key"].tolist() == [f"doc-{number}" for number in table["document"]]
    assert math.fsum(table["bits"]) == pytest.approx(bits, rel=1e-9)
    assert [each["slice"] for each in plain["slices"]] in (["0", "1"], ["1", "0"])
    assert math.fsum(each["bits"] for each in plain["slices"]) == pytest.approx(bits, rel=1e-9)
    assert read_result(tmp_path / "r.json").to_dict() == plain
    done = run_here(
        eval_main, checkpoint, *PLAIN, "--document-table", tmp_path / "t.parquet", "--tokens", tmp_path / "k.parquet",
        "--surprisal", "--surprisal-draws", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert found.schema.metadata[b"format"] == b"bpb-documents/1"
    shards = found.to_pandas()
    # The shard that the checkpoint names holds the same documents: the same tokens, and their text from these.
    assert shards["num_tokens"].tolist() == table["num_tokens"].tolist()
    assert shards["bits"].tolist() == pytest.approx(table["bits"].tolist())
    texts = [json.loads(line)["text"] for line in docs.read_text().splitlines()]
    assert shards["key"].tolist() == [texts[number][:80] for number in shards["document"]]
    assert (pd.read_parquet(tmp_path / "k.parquet")["surprisal_bits"] > 0).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--document-table", "t.txt"),
            "--document-table: got 't.txt', expected a file name that ends in .parquet or .csv",
        ),
        (
            ("--document-table", "x.parquet", "--windows", "./x.parquet"),
            "--windows and --document-table: got the same file twice, expected files of their own",
        ),
        (("--slice", "of"), "--slice of: got no --docs"),
        (("--surprisal",), "--surprisal: got no --tokens"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_read(repository, words, said):
    done = run_here(eval_main, repository / "no such file", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
