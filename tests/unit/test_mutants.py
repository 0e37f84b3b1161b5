"""The table of mutation testing names files and tests that are there, and configures mutmut in valid TOML."""

from __future__ import annotations

import json
import tomllib

import pytest

from tests.benchmarks.mutants import MODULES, Outcome, configuration, exit_codes


@pytest.mark.parametrize("name", MODULES)
def test_what_the_table_names_is_there(name, repository):
    module = MODULES[name]
    for pattern in module.files:
        assert list((repository / "bpb_harness").glob(pattern)), pattern
    for test in module.tests:
        assert (repository / "tests" / test).is_file()
    for deselected in module.deselected:
        file, _, test = deselected.partition("::")
        assert file in module.tests
        assert f"def {test.split('::')[-1]}(" in (repository / "tests" / file).read_text()


def test_the_configuration_is_toml_that_restricts_mutmut():
    settings = tomllib.loads(configuration(MODULES["masking"]))["tool"]["mutmut"]
    assert settings["source_paths"] == ["bpb_harness"]
    assert settings["only_mutate"] == [f"bpb_harness/sampling/{name}.py" for name in ("streams", "masks", "design")]
    assert "tests/unit/sampling/test_masking.py" in settings["pytest_add_cli_args_test_selection"]
    assert any(argument.startswith("--deselect=tests/unit/") for argument in settings["pytest_add_cli_args"])


def test_results_are_read_from_every_file(tmp_path):
    folder = tmp_path / "mutants" / "bpb_harness" / "estimators"
    folder.mkdir(parents=True)
    for file, codes in {"ar.py.meta": {"a__mutmut_1": 1}, "mc.py.meta": {"b__mutmut_1": None}}.items():
        (folder / file).write_text(json.dumps({"exit_code_by_key": codes}))
    assert exit_codes(tmp_path) == {"a__mutmut_1": 1, "b__mutmut_1": None}


def test_the_score_is_a_share_of_the_mutants_tried():
    assert Outcome(500, ("a", "b", "c"), ("d",), ("e",)).score == 0.75
    assert Outcome(0, (), (), ()).score == 0.0
