"""How many small faults in the code its tests notice: mutation testing of one module after another, with mutmut.

    python -m tests.benchmarks.mutants [MODULE ...]

Each module is mutated in a folder of its own below build/mutants, where the mutated copy shadows the installed package,
and only the fast tests that belong to it run. Where a module has more mutants than ``--most``, a sample of them is
drawn; it depends on the seed and on the mutants' names alone. Functions with decorators (properties among them) and
module-level constants are not mutated: mutmut leaves them as they are.

A run that was interrupted goes on where it was, and one whose tests have changed since tries again what survived, as
long as the module's own files are the same; what was killed counts as killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("bpb_harness", "tests", "fixtures", "reference", "docs", "README.md", "pyproject.toml")
NO_MUTANT = "no_mutant_has_this_name"
SURVIVED = (0, 5, 33)  # mutmut's exit codes of a mutant that its tests let pass, or that has none
NOT_CHECKED = (None, 2, 34, 35)


@dataclass(frozen=True)
class Module:
    """Files that are mutated together, and the tests that must notice.

    Attributes:
        files: globs below the package.
        tests: globs of test files below tests.
        deselected: tests among them that are too slow to run for every mutant.
        package: the folder of the mutated package.
    """

    files: tuple[str, ...]
    tests: tuple[str, ...]
    deselected: tuple[str, ...] = ()
    package: str = "bpb_harness"

    def test_files(self) -> list[str]:
        """The test files, below the project's folder, each once."""
        found = [path.relative_to(ROOT) for name in self.tests for path in sorted((ROOT / "tests").glob(name))]
        return list(dict.fromkeys(map(str, found)))

    def mutated(self) -> list[Path]:
        """The files that are mutated."""
        return sorted({path for name in self.files for path in (ROOT / self.package).glob(name)})

    def digest(self) -> str:
        """sha256 of the files that are mutated, with their names; hex."""
        paths = self.mutated()
        parts = [f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


MODULES = {
    "units": Module(("units.py",), ("unit/test_units.py", "unit/test_messages.py")),
    "schedule": Module(
        ("schedule.py",), ("unit/test_schedule.py", "unit/test_schedule_edges.py", "unit/test_messages.py")
    ),
    "strata": Module(("sampling/design.py",), ("unit/sampling/test_strata.py", "unit/sampling/test_independent.py")),
    "masking": Module(
        ("sampling/streams.py", "sampling/design.py"),
        ("unit/sampling/test_masking.py", "unit/sampling/test_masking_edges.py", "unit/test_messages.py"),
        ("unit/sampling/test_masking.py::TestStratifiedDesign::test_position_is_uniform_for_each_window",),
    ),
    "denoiser": Module(
        ("denoiser.py",), ("unit/test_denoiser.py", "unit/test_messages.py", "unit/test_network_call.py")
    ),
    "network_call": Module(("network_call.py",), ("unit/test_network_call.py",)),
    "contract": Module(("contract/*.py",), ("unit/contract/*.py",)),
    "difficulty": Module(
        ("sampling/bigram.py",), ("unit/sampling/test_bigram.py", "unit/sampling/test_bigram_edges.py")
    ),
    "control_variate": Module(
        ("sampling/control_variate.py",),
        ("unit/sampling/test_control_variate.py", "unit/sampling/test_control_variate_edges.py"),
    ),
    "curve": Module(("estimators/curve.py",), ("unit/estimators/test_curve.py",)),
    "estimators": Module(
        ("estimators/*.py",),
        ("unit/estimators/*.py", "unit/evaluation/test_answers.py", "unit/test_messages.py"),
        (
            "unit/estimators/test_estimators.py::TestChainRule::test_its_mean_over_random_orders_is_the_nelbo",
            "unit/estimators/test_estimators.py::test_a_perfect_denoiser_costs_minus_log_p",
        ),
    ),
    "statistics": Module(
        ("statistics/standard_errors.py",), ("unit/statistics/test_edges.py", "unit/statistics/test_standard_errors.py")
    ),
    "coder": Module(
        ("proof/frequencies.py", "proof/range_coder.py", "proof/bit_file.py"),
        ("unit/proof/test_frequencies.py", "unit/proof/test_range_coder.py", "unit/proof/test_bit_file.py"),
    ),
    "proof": Module(
        ("proof/verdict.py", "proof/reading.py", "proof/prove.py", "proof/choice.py", "proof/header.py"),
        (
            "unit/proof/test_verdict.py",
            "unit/proof/test_prove.py",
            "unit/proof/test_header.py",
            "unit/proof/test_reading.py",
        ),
    ),
    "exported": Module(
        ("adapters/exported/*.py",),
        (
            "adversarial/test_exported_programs.py",
            "adversarial/test_exported_refusals.py",
            "integration/test_adapter_exported.py",
            "unit/adapters/exported/*.py",
            "unit/test_messages.py",
        ),
        (
            "adversarial/test_exported_programs.py::test_programs_changed_at_random_end_in_an_answer_or_one_line",
            "integration/test_adapter_exported.py::test_a_contest_checkpoint_scores_the_same_bits_exported",
        ),
    ),
    "draw_file": Module(
        ("evaluation/draw_file.py", "evaluation/kept_draws.py"),
        ("unit/evaluation/test_draw_file.py", "unit/test_messages.py"),
    ),
    "byte_count": Module(
        ("byte_count/*.py",),
        (
            "unit/byte_count/test_counter.py",
            "unit/byte_count/test_edges.py",
            "unit/test_messages.py",
            "property/test_byte_count_byte_view.py",
        ),
        ("unit/byte_count/test_counter.py::test_every_assigned_code_point_is_counted_exactly",),
    ),
    "torch_pickle": Module(
        ("checkpoints/torch_pickle.py", "pickle_machine.py"), ("unit/checkpoints/test_torch_pickle.py",)
    ),
    "checkpoints": Module(
        ("checkpoints/*.py",),
        (
            "unit/checkpoints/*.py",
            "unit/adapters/test_accounting.py",
            "unit/adapters/test_mdlm_settings.py",
        ),
        (
            "unit/checkpoints/test_read.py::test_a_flipped_byte_is_an_error_or_other_content",
            "unit/checkpoints/test_read.py::test_truncated_anywhere_is_an_error",
            "unit/adapters/test_accounting.py::TestTensors::test_none_can_be_left_out_of_the_network",
            "unit/adapters/test_accounting.py::TestTensors::test_one_missing_is_named",
        ),
    ),
    "adapters": Module(
        (
            "adapters/*.py",
            "adapters/accounting/*.py",
            "adapters/bd3lm/*.py",
            "adapters/huggingface/*.py",
            "adapters/mdlm/*.py",
        ),
        (
            "unit/adapters/*.py",
            "unit/checkpoints/test_weight_sets.py",
            "integration/test_adapter_huggingface.py",
            "integration/test_model_folders*.py",
        ),
        (
            "unit/adapters/test_accounting.py::TestTensors::test_none_can_be_left_out_of_the_network",
            "unit/adapters/test_accounting.py::TestTensors::test_one_missing_is_named",
            # A fresh process knows nothing of mutmut.
            "unit/adapters/test_bd3lm.py::TestAScore::test_the_chain_rule_within_blocks",
            "unit/adapters/test_bd3lm.py::TestAScore::test_one_call_of_all_blocks_is_a_call_a_block",
        ),
    ),
    "evaluation": Module(
        ("evaluation/*.py",),
        ("unit/evaluation/*.py", "unit/statistics/test_few.py", "unit/test_result.py"),
        ("unit/evaluation/test_draws.py::test_one_program_serves_all_batches",),  # mutmut's calls are traced too
    ),
    "answers": Module(
        (
            "text/answers.py",
            "text/fields.py",
            "text/answer_spans.py",
            "estimators/all_masks.py",
            "evaluation/short_spans.py",
            "evaluation/answers.py",
        ),
        ("unit/text/test_answers.py", "unit/evaluation/test_answers.py"),
    ),
    "text": Module(("text/**/*.py",), ("unit/text/**/*.py", "unit/test_messages.py")),
    "claim": Module(("claim/*.py",), ("unit/claim/*.py",)),
    "auditing": Module(
        ("auditing/*.py", "auditing/checks/*.py"),
        ("unit/auditing/*.py", "integration/test_audit_fixtures.py", "golden/test_audits.py"),
    ),
    "rules": Module(
        ("rules/*.py",), ("unit/rules/*.py", "unit/auditing/test_rules.py", "unit/auditing/test_findings.py")
    ),
    "networks": Module(
        ("networks/*.py",),
        ("unit/networks/*.py", "unit/reference/test_model.py"),
        # A fresh process knows nothing of mutmut.
        (
            "unit/networks/test_reference_blocks.py::test_a_checkpoint_says_its_blocks_and_is_scored_in_them",
            "unit/networks/test_reference_blocks.py::test_the_score_is_that_of_the_network_in_plain_loops",
        ),
    ),
    # The other kernels are compiled, or need a GPU: torch's compiler does not trace what mutmut wraps.
    "kernels": Module(("kernels/draws.py",), ("unit/kernels/test_draws.py", "unit/evaluation/test_device_source.py")),
    "verdict": Module(
        ("auditing/verdict.py", "auditing/correction.py", "auditing/settling.py"),
        (
            "unit/auditing/*.py",
            "integration/test_audit_fixtures.py",
            "integration/test_audit_results.py",
            "golden/test_audits.py",
        ),
    ),
    "reference": Module(
        ("*.py",),
        ("unit/reference/*.py", "integration/test_train_process.py"),
        (
            "unit/reference/test_export.py::test_damaged_and_hostile_artifacts_are_one_line",
            "integration/test_train_process.py::test_interrupt_saves_and_says_so",
        ),
        package="reference",
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What became of a module's mutants: how many there are, and the names of those tried."""

    num_mutants: int
    killed: tuple[str, ...]
    survived: tuple[str, ...]
    not_checked: tuple[str, ...]

    @property
    def score(self) -> float:
        """Share of the tried mutants that were killed."""
        return len(self.killed) / max(len(self.killed) + len(self.survived), 1)


def configuration(module: Module) -> str:
    """The section of pyproject.toml that restricts mutmut to a module and its tests."""
    arguments = ["-q", "-p", "no:xdist", "-p", "no:benchmark", "--hypothesis-seed=0"]
    arguments += [f"--deselect=tests/{name}" for name in module.deselected]
    settings = {
        "source_paths": [module.package],
        # Each file by its name: a star of mutmut's goes into folders as well.
        "only_mutate": [path.relative_to(ROOT).as_posix() for path in module.mutated()],
        "also_copy": [name for name in COPIED if name not in (module.package, "tests", "pyproject.toml")],
        "pytest_add_cli_args": arguments,
        "pytest_add_cli_args_test_selection": module.test_files(),
    }
    # A JSON list of plain strings is a TOML array.
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    return "\n".join(["", "[tool.mutmut]", *lines, "timeout_multiplier = 10.0", "use_git_change_detection = false", ""])


def prepare(module: Module, folder: Path) -> None:
    """Copy the project into ``folder`` and configure mutmut there; mutants of the same files stay, with what is known.

    Which test runs which function is learnt anew: tests may have changed.
    """
    made_of = folder / "made_of"
    if not (made_of.is_file() and made_of.read_text() == module.digest()):
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    with (folder / "pyproject.toml").open("a") as file:
        file.write(configuration(module))
    made_of.write_text(module.digest())


def run_mutmut(folder: Path, names: list[str], workers: int) -> int:
    """Run mutmut on the mutants named; what it prints goes to mutmut.log in the folder."""
    # One thread a worker: a process that forks may not hold a pool of threads.
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    program = Path(sys.executable).with_name("mutmut")
    with (folder / "mutmut.log").open("ab") as log:
        command = [str(program), "run", "--max-children", str(workers), *names]
        return subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=False).returncode


def exit_codes(folder: Path, package: str = "bpb_harness") -> dict[str, int | None]:
    """Exit code of the tests by name of the mutant; None where it was not tried."""
    codes: dict[str, int | None] = {}
    for path in sorted((folder / "mutants" / package).rglob("*.py.meta")):
        codes |= json.loads(path.read_text())["exit_code_by_key"]
    return codes


def mutate(name: str, folder: Path, most: int, seed: int, workers: int) -> Outcome:
    """Try a module's mutants, or a sample of them.

    Raises:
        SystemExit: if mutmut fails, naming its log.
    """
    module = MODULES[name]
    prepare(module, folder)
    if not exit_codes(folder, module.package):
        run_mutmut(folder, [NO_MUTANT], workers)  # makes the mutants
    codes = exit_codes(folder, module.package)
    names = sorted(codes)
    if not names:
        raise SystemExit(f"{name}: mutmut made no mutants; see {folder / 'mutmut.log'}")
    drawn = names if len(names) <= most else sorted(random.Random(f"{seed}/{name}").sample(names, most))
    left = [mutant for mutant in drawn if codes[mutant] in (*SURVIVED, *NOT_CHECKED)]
    if left and run_mutmut(folder, left, workers):
        raise SystemExit(f"{name}: mutmut failed; see {folder / 'mutmut.log'}")
    codes = exit_codes(folder, module.package)
    survived = tuple(mutant for mutant in drawn if codes[mutant] in SURVIVED)
    not_checked = tuple(mutant for mutant in drawn if codes[mutant] in NOT_CHECKED)
    killed = tuple(mutant for mutant in drawn if mutant not in survived and mutant not in not_checked)
    return Outcome(len(names), killed, survived, not_checked)


def difference(folder: Path, mutant: str) -> str:
    """The changed lines of a mutant."""
    command = [str(Path(sys.executable).with_name("mutmut")), "show", mutant]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout
    return "\n".join(line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def main(
    modules: Annotated[list[str] | None, typer.Argument(help="names out of the table; all of them by default")] = None,
    most: Annotated[int, typer.Option(min=1, help="mutants tried of each module, at most")] = 300,
    seed: Annotated[int, typer.Option(help="of the sample")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="mutants tried at a time")] = 1,
    folder: Annotated[Path, typer.Option(help="where the mutated copies go")] = ROOT / "build" / "mutants",
) -> None:
    """Print a table of mutants killed by module, and every survivor with its changed lines."""
    chosen = modules or list(MODULES)
    if unknown := [name for name in chosen if name not in MODULES]:
        raise typer.BadParameter(f"got {', '.join(unknown)}, expected some of {', '.join(MODULES)}")
    table = Table("module", "mutants", "tried", "killed", "survived", "not checked", "score")
    console = Console()
    for name in chosen:
        outcome = mutate(name, folder / name, most, seed, workers)
        for mutant in outcome.survived:
            console.print(
                f"{mutant}\n{difference(folder / name, mutant)}\n", markup=False, highlight=False, soft_wrap=True
            )
        tried = len(outcome.killed) + len(outcome.survived) + len(outcome.not_checked)
        counts = (outcome.num_mutants, tried, len(outcome.killed), len(outcome.survived), len(outcome.not_checked))
        table.add_row(name, *map(str, counts), f"{100 * outcome.score:.1f} %")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
