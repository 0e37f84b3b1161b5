"""A command never writes over a file that it reads: one line, and the file is as it was."""

from __future__ import annotations

import os

import pytest

from bpb_harness.cli import eval as bpb_eval
from tests.commands import run_here, run_line_here

LINES = [
    ("compare", "{it} other --output {it}", "--output"),
    ("compare", "other {it} --report {it}", "--report"),
    ("compare", "a.pt b.pt --data other --data {it} --output {it}", "--output"),
    ("compare", "a.pt b.pt --docs *.html --output {it}", "--output"),
    ("eval", "{it} --score-file {it}", "--score-file"),
    ("eval", "a.pt --docs {it} --output {it}", "--output"),
    ("eval", "a.pt --resume {it} --score-file {it}", "--score-file"),
    ("eval", "a.pt --tokenizer {it} --report {folder}/../{folder.name}/it.html", "--report"),
    ("audit", "{it} --output {it}", "--output"),
    ("audit", "other --checkpoint {it} --data x --report {it}", "--report"),
    ("bytes", "--tokenizer t --docs {it} --output {it}", "--output"),
    ("prove", "{it} --proof {it}", "--proof"),
    ("prove", "a.pt --score {it} --proof {it}", "--proof"),
    ("prove", "a.pt --decode b --tokenizer {it} --text {it}", "--text"),
]


@pytest.mark.parametrize(("command", "line", "flag"), LINES)
def test_no_command_writes_over_what_it_reads(tmp_path, command, line, flag):
    it = tmp_path / "it.html"
    it.write_text("precious")
    done = run_line_here(f"bpb-{command} {line.format(it=it, folder=tmp_path)}", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"bpb-{command}: {flag}: got it.html, which is read, expected a file of its own; name another file to write\n"
    )
    assert it.read_text() == "precious"


IN_FOLDERS = [
    ("eval", "a.pt --data {folder} --output {it}", "val.bin", "--output"),
    ("eval", "a.pt --data {folder} --score-file {it}", "val.npy", "--score-file"),
    ("eval", "a.pt --docs {folder} --windows {it}", "val.parquet", "--windows"),
    ("eval", "{folder} --data x --output {it}", "config.json", "--output"),
    ("eval", "{folder} --data x --output {it}", "model.safetensors", "--output"),
    ("eval", "a.pt --data x --tokenizer {folder} --output {it}", "tokenizer.json", "--output"),
    ("compare", "a.pt {folder} --data x --output {it}", "config.json", "--output"),
    ("prove", "a.pt --data {folder} --proof {it}", "val.bin", "--proof"),
    ("bytes", "--tokenizer {folder} --data x --output {it}", "tokenizer.model", "--output"),
    ("bytes", "--tokenizer t --docs {folder} --output {it}", "val.jsonl.gz", "--output"),
    ("audit", "{folder} --output {it}", "train.log", "--output"),
    ("audit", "{folder} --output {it}", "submission.json", "--output"),
    ("audit", "{folder}/.. --recursive --output {it}", "train.log", "--output"),
    ("audit", "x --baseline {folder} --output {it}", "README.md", "--output"),
]


@pytest.mark.parametrize(("command", "line", "name", "flag"), IN_FOLDERS)
def test_nor_over_what_it_reads_of_a_folder(tmp_path, command, line, name, flag):
    folder = tmp_path / "folder"
    folder.mkdir()
    it = folder / name
    it.write_text("precious")
    done = run_line_here(f"bpb-{command} {line.format(it=it, folder=folder)}", cwd=tmp_path)
    assert done.returncode == 2
    said = f"bpb-{command}: {flag}: got {name}, one of the files that are read of the folder "
    assert done.stderr.startswith(said), done.stderr
    assert done.stderr.endswith("expected a file of its own; name another file to write\n")
    assert it.read_text() == "precious"


FOUND = [
    ("eval", "{folder}/a.pt --output {it}", "val_000000.bin", "which lies beside the checkpoint, as the data that it"),
    ("eval", "{folder}/a.pt --output {it}", "inner/val.source.json", "which lies beside the checkpoint, as the data"),
    ("compare", "{folder}/a.pt b.pt --output {it}", "val.bin", "which lies beside the checkpoint, as the data that it"),
    ("eval", "a.pt --data {folder}/val.bin --output {it}", "val.source.json", "which is read"),
    ("eval", "{folder}/a.pt2 --data x --output {it}", "a.json", "which is read"),
]


@pytest.mark.parametrize(("command", "line", "name", "why"), FOUND)
def test_nor_over_what_lies_beside_what_it_reads(tmp_path, command, line, name, why):
    folder = tmp_path / "folder"
    it = folder / name
    it.parent.mkdir(parents=True)
    it.write_text("precious")
    done = run_line_here(f"bpb-{command} {line.format(it=it, folder=folder)}", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"bpb-{command}: --output: got {it.name}, {why}"), done.stderr
    assert it.read_text() == "precious"


@pytest.mark.parametrize("variable", ["{it}", "x{sep}{folder}", "{folder}/*.bin"])
def test_nor_over_the_text_that_the_environment_names(tmp_path, variable):
    it = tmp_path / "folder" / "val.bin"
    it.parent.mkdir()
    it.write_text("precious")
    value = variable.format(it=it, folder=it.parent, sep=os.pathsep)
    done = run_here(bpb_eval.main, "a.pt", "--output", it, environment={"BPB_DATA": value})
    assert done.returncode == 2
    assert "--output: got val.bin, " in done.stderr
    given = run_here(bpb_eval.main, "a.pt", "--data", "x", "--output", it, environment={"BPB_DATA": value})
    assert "--output" not in given.stderr  # which is not looked at then
    assert it.read_text() == "precious"


def test_a_report_of_ours_may_be_written_again_where_it_stands(tmp_path):
    """Beside folders of records; within a record a text would be read as one of its logs by the next audit."""
    record = tmp_path / "all" / "record"
    record.mkdir(parents=True)
    (record / "train.log").write_text("final val_loss:2.07269931 val_bpb:1.22436570\n")
    whole = ["all --recursive --output all/report.txt", "all --recursive --format json --output all/report.json"]
    single = ["all/record --format json --output all/record/audit.json", "all/record --output all/record/audit.md"]
    for line in (*whole, *single):
        for _ in range(2):
            done = run_line_here(f"bpb-audit {line}", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
    done = run_line_here("bpb-audit all/record --output all/record/audit.txt", cwd=tmp_path)
    assert "got audit.txt, one of the files that are read of the folder all/record" in done.stderr
    assert not (record / "audit.txt").exists()


def test_files_of_other_kinds_are_written_into_folders_that_are_read(tmp_path):
    """A page in a model's folder, a table beside shards, a result beside a checkpoint: nothing reads these."""
    (tmp_path / "folder").mkdir()
    for line in (
        "folder --data x --report folder/page.html",
        "a.pt --data folder --windows folder/windows.parquet",
        "folder/a.pt --output folder/result.json",
        "folder/a.pt --output folder/new.bin",
    ):
        done = run_line_here(f"bpb-eval {line}", cwd=tmp_path)
        assert done.returncode == 2
        assert "expected a file of its own" not in done.stderr


@pytest.mark.parametrize(
    ("pattern", "name", "is_refused"),
    [
        ("texts/*.txt", "texts/new.txt", True),
        ("texts/part_[0-9].txt", "texts/part_7.txt", True),
        ("*/part_?.txt", "texts/part_7.txt", True),
        ("texts/*.txt", "new.txt", False),
        ("texts/*.txt", "texts/new.json", False),
        ("texts/a[1].txt", "texts/a1.txt", False),  # a file that is called so
    ],
)
def test_nor_a_file_that_a_pattern_would_take_the_next_time(tmp_path, pattern, name, is_refused):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a[1].txt").write_text("precious")
    done = run_line_here(f"bpb-eval a.pt --docs {pattern} --output {name}", cwd=tmp_path)
    assert done.returncode == 2
    why = f"one of the files that {pattern} stands for" if is_refused else "no checkpoint at a.pt"
    assert why in done.stderr


def test_the_working_folder_is_a_folder_of_shards_like_any(tmp_path):
    done = run_line_here("bpb-eval a.pt --data . --output o.json", cwd=tmp_path)
    assert (done.returncode, done.stderr.partition(";")[0]) == (2, "bpb-eval: no checkpoint at a.pt")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("eval loop --output o.json", "no checkpoint at loop: got Too many levels of symbolic links"),
        ("eval a.pt --output loop", "output file: got loop, a link that leads back to itself, expected a file"),
        ("bytes --tokenizer loop --data x --output o.json", "Too many levels of symbolic links"),
    ],
)
def test_links_that_lead_to_each_other_are_said_to_be_such(tmp_path, line, said):
    (tmp_path / "loop").symlink_to("loop")
    done = run_line_here(f"bpb-{line}", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


def test_an_output_may_be_a_link_to_a_file_that_is_not_there_yet(tmp_path):
    (tmp_path / "o.json").symlink_to("new.json")
    assert "no checkpoint at a.pt" in run_line_here("bpb-eval a.pt --output o.json", cwd=tmp_path).stderr
