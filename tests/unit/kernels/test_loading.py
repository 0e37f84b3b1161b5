"""Triton is looked for without being imported, and imported by the files of kernels alone."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import torch

import bpb_harness
from bpb_harness.kernels import loading

PACKAGE = Path(bpb_harness.__file__).parent


def imports_of(file: Path) -> set[str]:
    """The packages that a file names in imports, wherever they stand in it."""
    named = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            named |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            named.add((node.module or "").partition(".")[0])
    return named


def test_files_of_kernels_alone_import_triton():
    files = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "reference").rglob("*.py")]
    naming = {file for file in files if "triton" in file.read_text("utf-8") and "triton" in imports_of(file)}
    assert naming == {file for file in (PACKAGE / "kernels" / "on_gpu").glob("*.py") if file.name != "__init__.py"}
    assert {file.stem for file in naming} == set(loading._KERNELS)


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("raise RuntimeError('imported')")


@pytest.mark.parametrize(
    ("files", "is_there"),
    [
        (["pretended/__init__.py", "pretended/tools/__init__.py", "pretended/tools/part.py"], True),
        (["pretended/__init__.py", "pretended/tools/__init__.py", "pretended/tools/other.py"], False),
        (["pretended/__init__.py", "pretended/language.py"], False),
        (["pretended.py"], False),
        (["pretended/notes.txt"], False),  # a folder of somebody's, which Python takes for a package without a file
        ([], False),
    ],
)
def test_a_module_is_looked_for_without_importing_its_packages(tmp_path, monkeypatch, files, is_there):
    write(tmp_path, *files)
    monkeypatch.syspath_prepend(tmp_path)
    assert (loading._spec("pretended.tools.part") is not None) is is_there
    assert "pretended" not in sys.modules


@pytest.mark.parametrize(
    ("there", "importable", "known", "loaded"),
    [
        ((True, True), {"triton.language", "triton.tools.tensor_descriptor"}, (True, True), 7),
        ((True, True), {"triton.language"}, (True, False), 4),
        ((True, True), set(), (False, False), 0),
        ((True, False), {"triton.language", "triton.tools.tensor_descriptor"}, (True, False), 4),
        ((False, False), {"triton.language", "triton.tools.tensor_descriptor"}, (False, False), 0),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_can_be_imported_is_loaded_and_the_rest_is_known(monkeypatch, device, there, importable, known, loaded):
    asked = []

    def pretended(name):
        asked.append(name)
        if name.startswith("triton") and name not in importable:
            raise ImportError(name)

    monkeypatch.setattr(loading, "_has_triton", there[0])
    monkeypatch.setattr(loading, "_has_descriptors", there[1])
    monkeypatch.setattr(loading.importlib, "import_module", pretended)
    loading.load_kernels(torch.device(device))
    kernels = [name for name in asked if not name.startswith("triton")]
    assert (loading.has_triton(), loading.has_descriptors()) == (known if device == "cuda" else there)
    assert len(kernels) == (loaded if device == "cuda" else 0)
    assert asked == [] or device == "cuda"
