"""``--report``: a page beside the result, whole or not at all, refused before anything is scored."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest

from bpb_harness.cli import audit, compare, eval
from bpb_harness.cli._report import settings_for_report
from fixtures.claims.build import HERE
from tests.commands import run_here
from tests.html_page import read_page
from tests.undrawn_charts import undrawn_charts

SUBMISSION = HERE / "submissions" / "wrong_constant"


@pytest.fixture(scope="module")
def scored(one_block: Path, tmp_path_factory: pytest.TempPathFactory):
    """A run with a page, and its JSON."""
    folder = tmp_path_factory.mktemp("report")
    words = (one_block, "--limit", "6", "--no-contract", "--device", "cpu", "--compare", "--format", "json")
    done = run_here(eval.main, *words, "--report", "page one.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, words, done


def test_the_numbers_of_the_page_are_those_of_the_json(scored):
    folder, words, done = scored
    assert [path.name for path in folder.iterdir()] == ["page one.html"]
    html = (folder / "page one.html").read_text("utf-8")
    page, result = read_page(html), json.loads(done.stdout)
    page.require_self_contained()
    assert len(html) < 200_000
    both = result["comparison"]
    assert f"~<= {result['bits_per_byte']:.4f} bits per byte" in page.text
    for number in (
        result["mc_stderr"], result["corpus_stderr"], *result["ci95"], result["bits_per_token"], both["discrete"],
        both["mc"], *(row["bits_per_byte"] for row in both["t_curve"]), *(row["stderr"] for row in both["f_curve"]),
    ):  # fmt: skip
        assert number is None or f"{number:.4f}" in page.text
    for count in ("num_tokens", "num_bytes", "num_windows"):
        assert f"{result[count]:,}" in page.text
    assert f"{both['gap_bits_per_byte']:+.4f} (se {both['gap_stderr']:.4f})" in page.text
    assert result["signature"] in page.text
    assert all(each["message"] in page.text for each in result["findings"])
    assert "Bits by position in window" in page.text
    command = f"bpb-eval {' '.join(map(str, words))} --report 'page one.html'"
    assert command in page.text


def test_a_page_changes_no_number(scored):
    folder, words, done = scored
    plain = json.loads(run_here(eval.main, *words, cwd=folder).stdout)
    timed = ("seconds", "forward_tokens_per_second", "seconds_by_phase")
    assert {k: v for k, v in plain.items() if k not in timed} == {
        k: v for k, v in json.loads(done.stdout).items() if k not in timed
    }


@pytest.mark.parametrize("flags", [("--method", "exact", "--context", "2"), ("--resume", "kept.draws")])
def test_a_run_without_costs_of_tokens_has_a_page_without_them(scored, flags):
    folder, words, _ = scored
    with undrawn_charts():
        done = run_here(eval.main, words[0], "--limit", "3", *words[3:6], *flags, "--report", "less.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    text = read_page((folder / "less.html").read_text("utf-8")).text
    assert "bits by position: this run has no costs of single tokens" in text
    assert "Bits by position" not in text


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--report", "page.txt"), "--report: got 'page.txt', expected a file name that ends in .html"),
        (("--report", "no/page.html"), "output file: got no/page.html, expected a file in a folder that exists"),
        (("--report", "."), "--report: got '', expected a file name that ends in .html"),
        (("--report", "a.html", "--output", "a.html"), "the same file twice, expected files of their own"),
    ],
)
@pytest.mark.parametrize("command", [eval, audit, compare])
def test_a_page_that_cannot_be_written_is_refused_before_any_work(tmp_path, command, flags, said):
    done = run_here(command.main, tmp_path / "there is nothing here", *flags, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_report_asks_for_the_tables_that_a_method_has():
    settings = {"resume": None, "method": "mc", "with_tokens": False, "with_windows": False}
    assert settings_for_report(settings) == settings | {"with_tokens": True, "with_windows": True}
    for other in ({"resume": "kept.draws"}, {"method": "exact"}, {"method": "there is none"}):
        asked = settings_for_report(settings | other)
        assert (asked["with_windows"], asked["with_tokens"]) == (True, False)
        assert settings_for_report(settings | other | {"with_tokens": True})["with_tokens"]


def test_a_comparison_has_a_page(scored, tmp_path):
    words = (scored[1][0], scored[1][0], *scored[1][1:6], "--steps", "128", "--steps", "4", "--format", "json")
    done = run_here(compare.main, *words, "--report", "page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = read_page((tmp_path / "page.html").read_text("utf-8"))
    page.require_self_contained()
    of = json.loads(done.stdout)
    (pair,) = of["pairs"]
    assert pair["sentence"] in page.text
    assert f"{pair['delta']:+.4f} bits per byte" in page.text
    assert "{:+.4f} .. {:+.4f}".format(*pair["mask_ci95"]) in page.text
    for system in of["systems"]:
        assert f"{system['relation']} {system['bits_per_unit']:.4f}" in page.text
        assert system["signature"] in page.text
    assert "bpb-compare " in page.text


def test_an_audit_has_a_page(tmp_path):
    done = run_here(audit.main, SUBMISSION, "--report", "page.html", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith('Audit of "a made-up submission": REFUTED')
    page = read_page((tmp_path / "page.html").read_text("utf-8"))
    page.require_self_contained()
    assert "refuted The bits were divided by a constant, 4.3 bytes per token" in page.text
    assert "claimed 0.68149 bits per byte, in submission.json (val_bpb) corrected 1.2030 bits per byte" in page.text
    assert f"bpb-audit {SUBMISSION} --report page.html" in page.text


def test_audits_of_many_have_one_page(tmp_path):
    for name in ("honest_single_seed", "wrong_constant"):
        shutil.copytree(HERE / "submissions" / name, tmp_path / "submissions" / name)
    done = run_here(audit.main, "submissions", "--recursive", "--report", "page.html", cwd=tmp_path)
    page = read_page((tmp_path / "page.html").read_text("utf-8"))
    page.require_self_contained()
    (counts,) = (line.partition(" claims: ")[2] for line in done.stdout.splitlines() if " claims: " in line)
    assert " refuted, " in counts
    assert f"{counts}." in page.text


def test_nothing_imports_what_draws_before_a_chart_is_drawn(repository):
    """But for annotations: a run without a page pays nothing for it."""
    for path in (repository / "bpb_harness").rglob("*.py"):
        text = path.read_text("utf-8")
        if not ("matplotlib" in text or "jinja2" in text):
            continue
        module = ast.parse(text)
        at_once = [each for each in module.body if isinstance(each, ast.Import | ast.ImportFrom)]
        named = [name.name for each in at_once if isinstance(each, ast.Import) for name in each.names]
        named += [each.module or "" for each in at_once if isinstance(each, ast.ImportFrom)]
        assert not [name for name in named if name.split(".")[0] in {"matplotlib", "jinja2"}], path
