"""A command never writes over a file that it reads: one line, and the file is as it was."""

from __future__ import annotations

import pytest

from tests.commands import run_line_here

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
