"""What an index would get: archive and wheel, built without a network; and the wheel by itself, installed."""

from __future__ import annotations

import email
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.own_json import own_json
from tests.tiers import thorough

_ROOT = Path(__file__).parents[2]
_SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
_PAGES = re.compile(r"https://github\.com/bpb-harness/bpb-harness/(?:blob|tree)/([^/\s)]+)/([^#\s)]+)")
PROJECT: dict[str, Any] = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def run(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process that knows nothing of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BPB_", "PYTHON", "COV_CORE"))}
    return subprocess.run(
        [*map(str, words)], cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """Source archive, and the wheel that is built from it."""
    pytest.importorskip("build", reason="pip install build")
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    shutil.copytree(_ROOT / "bpb_harness", copy / "bpb_harness", ignore=shutil.ignore_patterns("__pycache__"))
    for name in _SOURCES:
        shutil.copy(_ROOT / name, copy)
    done = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    files = sorted(out.iterdir())
    assert [path.name.split("-", 2)[0] for path in files] == ["bpb_harness", "bpb_harness"]
    assert [path.suffix for path in files] == [".whl", ".gz"]
    return files


@pytest.fixture(scope="module")
def wheel(built: Sequence[Path]) -> Path:
    return built[0]


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, beside the libraries that are installed here and without this checkout."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # Lines of paths are taken as they are: the .pth files in these folders, of this very checkout, are not read.
    ours = [path for path in map(Path, sys.path) if path.name in ("site-packages", "dist-packages")]
    (site / "libraries.pth").write_text("".join(f"{path}\n" for path in ours))
    python = folder / "bin" / "python"
    words = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--ignore-installed", wheel)
    done = run(python, *words, cwd=folder, PIP_DISABLE_PIP_VERSION_CHECK="1")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bin"


@thorough(everyday="integration/test_package.py::test_no_page_tells_to_install_from_an_index_that_has_no_such_package")
def test_an_index_takes_both(built: Sequence[Path]) -> None:
    pytest.importorskip("twine", reason="pip install twine")
    done = run(sys.executable, "-m", "twine", "check", "--strict", *built, cwd=built[0].parent, NO_COLOR="1")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


@thorough(everyday="integration/test_package.py::test_no_page_tells_to_install_from_an_index_that_has_no_such_package")
def test_the_wheel_holds_what_the_package_reads_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not re.match(r"[^/]*\.dist-info/", name)}
    files = {path.relative_to(_ROOT).as_posix() for path in (_ROOT / "bpb_harness").rglob("*") if path.is_file()}
    assert names == {name for name in files if "__pycache__" not in name}
    assert wheel.stat().st_size < 2_000_000


@thorough(everyday="integration/test_package.py::test_no_page_tells_to_install_from_an_index_that_has_no_such_package")
def test_what_an_index_shows(wheel: Path) -> None:
    """Every link leads to a file of this version; licence and addresses are there."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    version = metadata["Version"]
    page = metadata.get_payload()
    assert isinstance(page, str)
    assert page.startswith("# bpb-harness")
    targets = re.findall(r"\]\(([^)\s]+)\)", page)
    assert len(targets) >= 20
    linked = [_PAGES.fullmatch(target.split("#")[0]) for target in targets]
    assert [target for target, found in zip(targets, linked, strict=True) if found is None] == []
    assert {found[1] for found in linked if found} == {f"v{version}"}
    assert all((_ROOT / found[2]).exists() for found in linked if found)
    relative = re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", (_ROOT / "README.md").read_text("utf-8"))
    assert len(targets) >= len(relative) >= 20
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    urls = dict(entry.split(", ", 1) for entry in metadata.get_all("Project-URL", []))
    assert set(urls) == {"Homepage", "Repository", "Documentation", "Issues", "Changelog"}
    assert all((_ROOT / found[2]).exists() for found in map(_PAGES.fullmatch, urls.values()) if found)
    classifiers = metadata.get_all("Classifier", [])
    assert not any(entry.startswith("License ::") for entry in classifiers), "the expression says it"
    workflow = (_ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    tested = re.findall(r'"(3\.\d+)"', re.findall(r"python: \[(.*)\]", workflow)[0])
    assert re.findall(r"Python :: (3\.\d+)", " ".join(classifiers)) == tested


@thorough(everyday="integration/test_demo.py::test_it_scores_what_comes_with_the_package")
def test_the_demo_runs_from_the_wheel_alone(empty: Path, tmp_path: Path) -> None:
    done = run(empty / "bpb-eval", "--demo", "--format", "json", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    score = own_json(done.stdout)
    assert "|contract:" not in score["signature"], "it was checked, by another process, too, which has the wheel alone"
    assert 0.66 < score["bits_per_byte"] < 1.1
    told = run(empty / "python", "-c", "import bpb_harness; print(bpb_harness.__file__)", cwd=tmp_path)
    assert Path(told.stdout).is_relative_to(empty.parent), "not this checkout"


def required(names: Sequence[str]) -> set[str]:
    """These distributions and all that they require here, extras aside."""
    packaging = pytest.importorskip("packaging.requirements")
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for line in importlib.metadata.requires(name) or ():
            needed = packaging.Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name.lower().replace("_", "-"))
    return found


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the path with the wheel's package, and what requirements-light.txt brings: nothing else."""
    folder = tmp_path_factory.mktemp("light")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    lines = (_ROOT / "requirements-light.txt").read_text("utf-8").splitlines()
    listed = [line for line in lines if not line.startswith("#")]
    assert set(listed) < set(PROJECT["dependencies"]), "the same ranges"
    for name in required([re.split(r"[<>=]", line)[0] for line in listed]):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            target = Path(str(distribution.locate_file(top)))
            if not (folder / top).exists():
                (folder / top).symlink_to(target)
    return folder


@thorough(everyday="integration/test_audit_command.py::test_help_and_version_import_no_torch")
@pytest.mark.parametrize(
    ("command", "words", "code", "said"),
    [
        ("audit", ["claims/submissions", "--recursive"], 1, " refuted, "),
        ("audit", ["claims/submissions/honest_three_seeds", "--format", "markdown"], 0, "**consistent**"),
        (
            "bytes",
            ["--tokenizer", "tokenizers/tiny_512_bpe.model", "--data", "corpora/tiny_val_000000.bin",
             "--docs", "corpora/tiny_val_docs.jsonl"],
            0,
            "130,160 bytes by the official rule",
        ),
        ("eval", ["checkpoints/mdlm-tiny.pt"], 2, "bpb-eval: torch is not installed, and this needs it; "),
    ],
)  # fmt: skip
def test_audits_and_counts_need_no_torch(light: Path, command: str, words: list[str], code: int, said: str) -> None:
    """-S: no folder of libraries but that one, and none of this checkout."""
    places = [light, sysconfig.get_path("stdlib"), sysconfig.get_config_var("DESTSHARED")]
    program = (
        f"import sys; sys.path[:] = {[str(place) for place in places]!r}; sys.argv[0] = 'bpb-{command}'\n"
        f"import bpb_harness.cli.{command} as command; command.main()"
    )
    done = run(sys.executable, "-S", "-I", "-c", program, *words, cwd=_ROOT / "fixtures")
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert not (light / "torch").exists()


def test_no_page_tells_to_install_from_an_index_that_has_no_such_package() -> None:
    places = [*_ROOT.glob("*.md"), *_ROOT.glob("docs/**/*"), *_ROOT.glob("bpb_harness/**/*.py")]
    texts = {path: path.read_text("utf-8") for path in places if path.is_file() and "__pycache__" not in path.parts}
    assert len(texts) > 300
    asked = re.compile(r"pip install(?:[ ]+[-\w.=<>\[\]'\"+]+)*?[ ]+['\"]?bpb[-_]harness(?![-_\w./]*\.whl)(?!/)")
    assert asked.search("pip install -U 'bpb-harness[x]'")
    assert not asked.search("pip install git+https://github.com/bpb-harness/bpb-harness")
    assert [str(path) for path, text in texts.items() if asked.search(text)] == []
