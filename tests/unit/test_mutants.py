"""The table of mutation testing names files and tests that are there, and configures mutmut in valid TOML."""

from __future__ import annotations

import json
import tomllib

import pytest

from tests.benchmarks import mutants
from tests.benchmarks.mutants import MODULES, Module, Outcome, configuration, exit_codes, prepare


@pytest.mark.parametrize("name", MODULES)
def test_what_the_table_names_is_there(name, repository):
    module = MODULES[name]
    for pattern in module.files:
        assert list((repository / module.package).glob(pattern)), pattern
    for pattern in module.tests:
        assert list((repository / "tests").glob(pattern)), pattern
    for deselected in module.deselected:
        file, _, test = deselected.partition("::")
        assert f"tests/{file}" in module.test_files()
        assert f"def {test.split('::')[-1]}(" in (repository / "tests" / file).read_text()


def test_the_configuration_is_toml_that_restricts_mutmut():
    settings = tomllib.loads(configuration(MODULES["masking"]))["tool"]["mutmut"]
    assert settings["source_paths"] == ["bpb_harness"]
    assert settings["only_mutate"] == [f"bpb_harness/sampling/{name}.py" for name in ("design", "streams")]
    assert "tests/unit/sampling/test_masking.py" in settings["pytest_add_cli_args_test_selection"]
    assert any(argument.startswith("--deselect=tests/unit/") for argument in settings["pytest_add_cli_args"])


def test_a_star_does_not_go_into_folders():
    """Not even mutmut's own, which would: scripts would be most of what is drawn for the checks of records."""
    named = tomllib.loads(configuration(MODULES["auditing"]))["tool"]["mutmut"]["only_mutate"]
    assert "bpb_harness/auditing/verdict.py" in named
    assert not any("/script/" in path or "*" in path for path in named)


def test_results_are_read_from_every_file(tmp_path):
    folder = tmp_path / "mutants" / "bpb_harness" / "estimators"
    folder.mkdir(parents=True)
    for file, codes in {"ar.py.meta": {"a__mutmut_1": 1}, "mc.py.meta": {"b__mutmut_1": None}}.items():
        (folder / file).write_text(json.dumps({"exit_code_by_key": codes}))
    assert exit_codes(tmp_path) == {"a__mutmut_1": 1, "b__mutmut_1": None}


def test_the_score_is_a_share_of_the_mutants_tried():
    assert Outcome(500, ("a", "b", "c"), ("d",), ("e",)).score == 0.75
    assert Outcome(0, (), (), ()).score == 0.0


def test_mutants_stay_as_long_as_the_files_they_are_made_of(tmp_path, monkeypatch):
    """And what is known of them; the tests are those of now."""
    root, folder = tmp_path / "project", tmp_path / "made"
    for name in ("package/one.py", "package/two.py", "tests/test_one.py", "pyproject.toml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    monkeypatch.setattr(mutants, "ROOT", root)
    monkeypatch.setattr(mutants, "COPIED", ("package", "tests", "pyproject.toml"))
    module = Module(("one.py",), ("test_*.py",), package="package")
    prepare(module, folder)
    known, learnt = folder / "mutants" / "package" / "one.py.meta", folder / "mutants" / "mutmut-stats.json"

    def learn():
        known.parent.mkdir(parents=True)
        known.write_text(json.dumps({"exit_code_by_key": {"a": 1}}))
        learnt.write_text("{}")

    learn()
    (root / "tests" / "test_two.py").write_text("now")
    (root / "package" / "two.py").write_text("no mutants of this")
    prepare(module, folder)
    assert exit_codes(folder, "package") == {"a": 1}
    assert not learnt.exists()
    assert (folder / "tests" / "test_two.py").read_text() == "now"
    settings = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["mutmut"]
    assert settings["pytest_add_cli_args_test_selection"] == ["tests/test_one.py", "tests/test_two.py"]
    (root / "package" / "one.py").write_text("changed")
    prepare(module, folder)
    assert exit_codes(folder, "package") == {}
