"""action.yml and the hooks for pre-commit: their steps, run as the runner and pre-commit run them, in a repository."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.cli.audit import main as audit
from fixtures.claims.build import HERE
from tests.commands import run_here
from tests.forked_servers import FORKS, no_main_module
from tests.tiers import some_of
from tests.workflow_commands import WorkflowCommand, read_commands

yaml = pytest.importorskip("yaml", reason="pip install pyyaml")
SUBMISSIONS = HERE / "submissions"
_AUTHOR = {f"GIT_{who}_{what}": "x@y.z" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
_ZEROS = "0" * 40


@dataclass
class Repository:
    """A git repository with submissions below records/."""

    root: Path

    def git(self, *words: object) -> str:
        command = ["git", "-c", "protocol.file.allow=always", *map(str, words)]
        environment = os.environ | _AUTHOR | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def add(self, *names: str) -> str:
        """Commit fixtures, and give the commit."""
        for name in names:
            shutil.copytree(SUBMISSIONS / name, self.root / "records" / name)
        return self.commit()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")
        return self.git("rev-parse", "HEAD")


@dataclass
class Done:
    """What a run of steps left."""

    code: int
    output: str
    summary: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def annotations(self) -> list[WorkflowCommand]:
        return read_commands(self.output)

    @property
    def files(self) -> set[str]:
        return {each.properties["file"] for each in self.annotations}


# What a step starts in place of bpb-audit: it has the audit run where everything is imported already.
ASKING = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    asked.sendall((json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]) + "\\n").encode())
    code, out, err = json.loads(asked.makefile().read())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


def _serve(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{address}.new")
        listening.listen()
        Path(f"{address}.new").rename(address)  # whoever sees it is heard
        while True:
            asking, _ = listening.accept()
            with asking, asking.makefile("rw") as stream:
                words, where, variables = json.loads(stream.readline())
                done = run_here(audit, *words, cwd=Path(where), environment=variables)
                json.dump([done.returncode, done.stdout, done.stderr], stream)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a process listens that runs audits for those who ask."""
    address = str(tmp_path_factory.mktemp("served") / "audit")
    process = FORKS.Process(target=_serve, args=(address,))
    with no_main_module():
        process.start()
    while not Path(address).exists():
        assert process.is_alive()
        time.sleep(0.01)
    yield address
    process.kill()
    process.join()


@pytest.fixture
def commands(tmp_path: Path, served: str) -> Path:
    """A folder with bpb-audit."""
    folder = tmp_path / "bin"
    folder.mkdir()
    _write_command(folder, ASKING.format(python=sys.executable, address=served))
    return folder


def _write_command(folder: Path, text: str) -> None:
    (folder / "bpb-audit").write_text(text)
    (folder / "bpb-audit").chmod(0o755)


@pytest.fixture
def records(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "work")
    made.root.mkdir()
    made.git("init", "--quiet", "--initial-branch", "main")
    (made.root / "README.md").write_text("records\n")
    made.add("honest_single_seed", "open_no_log")
    return made


@pytest.fixture
def action(repository: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((repository / "action.yml").read_text("utf-8"))
    return read


def run_steps(
    action: dict[str, Any], where: Path, commands: Path, *, only: str | None = None, event: Mapping[str, str] = {},
    name: str = "push", **inputs: str,
) -> Done:  # fmt: skip
    """Run the shell steps of the action, as far as one fails.

    Args:
        action: what action.yml says.
        where: the checkout.
        commands: a folder for PATH.
        only: the name of a step, where one alone is to run.
        event: what is known of the event, by expression.
        name: of the event.
        inputs: those that are given; ``fail_on`` for ``fail-on``.
    """
    given = {name.replace("_", "-"): value for name, value in inputs.items()}
    assert set(given) <= set(action["inputs"])
    values = {f"inputs.{key}": given.get(key, entry["default"]) for key, entry in action["inputs"].items()}
    context = {
        **values,
        "inputs.base || github.event.pull_request.base.sha || github.event.before": values["inputs.base"]
        or event.get("github.event.pull_request.base.sha")
        or event.get("github.event.before", ""),
        "inputs.base != ''": str(values["inputs.base"] != "").lower(),
    }
    temp = where.parent / "temp"
    temp.mkdir(exist_ok=True)
    summary, outputs = temp / "summary", temp / "outputs"
    for path in (summary, outputs):
        path.write_text("")
    environment = {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[2]),
        "HOME": str(temp), "RUNNER_TEMP": str(temp), "GITHUB_WORKSPACE": str(where), "GITHUB_EVENT_NAME": name,
        "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(outputs), "GITHUB_ACTIONS": "true",
        "GITHUB_ACTION_PATH": str(Path(__file__).parents[2]), "LANG": "C.UTF-8",
    }  # fmt: skip
    said = ""
    for step in action["runs"]["steps"]:
        if "uses" in step or only not in (None, step["name"]):
            continue
        if only is None and "if" in step and step["if"] != f"inputs.install == '{values['inputs.install']}'":
            continue
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "what others write goes through variables"
        more = {
            key: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: context[found[1]], value)
            for key, value in step.get("env", {}).items()
        }
        script = temp / "step.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script], cwd=where, env=environment | more,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        said += done.stdout
        if done.returncode:
            break
    pairs = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    return Done(done.returncode, said, summary.read_text(), pairs)


def changed(where: Path) -> set[str]:
    return {name for name in (where.parent / "temp" / "bpb-audit-files").read_text().split("\0") if name}


@pytest.mark.parametrize(("rules", "code", "verdict"), [("none", 0, "unverifiable"), ("nonsuch", 2, None)])
def test_the_rules_are_those_that_the_workflow_names(
    action: dict[str, Any], records: Repository, commands: Path, rules: str, code: int, verdict: str | None
) -> None:
    base = records.git("rev-parse", "HEAD")
    records.add("wrong_space_twice")
    done = run_steps(action, records.root, commands, install="false", path="records", base=base, rules=rules)
    assert (done.code, done.outputs.get("verdict")) == (code, verdict), done.output
    assert ("--rules: got 'nonsuch'" in done.output) is (code == 2)


def test_a_pull_request_is_audited_where_it_changed_something(
    action: dict[str, Any], records: Repository, commands: Path
) -> None:
    """The base has gone on meanwhile: what came with that is not the pull request's."""
    base = records.git("rev-parse", "HEAD")
    records.git("checkout", "--quiet", "-b", "feature")
    (records.root / "records" / "honest_single_seed" / "notes, 100%: new.md").write_text("more\n")
    shutil.rmtree(records.root / "records" / "open_no_log")
    (records.root / "README.md").write_text("changed\n")
    records.add("wrong_space_twice")
    records.git("checkout", "--quiet", "main")
    records.add("wrong_constant")
    records.git("merge", "--quiet", "--no-edit", "feature")
    asked = {"install": "false", "path": "records", "name": "pull_request"}
    event = {"github.event.pull_request.base.sha": base}
    done = run_steps(action, records.root, commands, event=event, **asked)
    assert done.code == 1, done.output
    assert done.outputs == {"verdict": "refuted"}
    assert [(each.name, each.properties) for each in done.annotations] == [
        ("notice", {"file": "records/honest_single_seed/submission.json", "line": "6", "title": "consistent"}),
        ("error", {"file": "records/wrong_space_twice/submission.json", "line": "6", "title": "refuted"}),
        ("error", {"file": "records/wrong_space_twice/train.log", "line": "9", "title": "BPB102 known-byte-bug"}),
    ]
    assert done.summary.startswith("## bpb-audit\n\n| name | verdict |")
    assert "2 claims: 0 confirmed, 1 consistent, 1 refuted, 0 unverifiable" in done.summary
    assert "- record: records/wrong\\_space\\_twice" in done.summary
    assert "wrong\\_constant" not in done.summary
    allowed = run_steps(action, records.root, commands, event=event, fail_on="never", **asked)
    assert (allowed.code, allowed.outputs, allowed.files) == (0, done.outputs, done.files)


@pytest.mark.parametrize(("fail_on", "code"), some_of([("unverifiable", 3), ("refuted", 0)], everyday=1))
def test_a_push_that_leaves_a_score_open(
    action: dict[str, Any], records: Repository, commands: Path, fail_on: str, code: int
) -> None:
    before = records.git("rev-parse", "HEAD")
    records.add("open_null_score")
    event = {"github.event.before": before}
    # A process of its own, as an installation starts it.
    _write_command(commands, f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m bpb_harness audit "$@"\n')
    done = run_steps(action, records.root, commands, event=event, install="false", fail_on=fail_on)
    assert (done.code, done.outputs) == (code, {"verdict": "unverifiable"}), done.output
    assert done.files == {"records/open_null_score/submission.json"}


def test_where_no_submission_changed_nothing_is_said_against_it(
    action: dict[str, Any], records: Repository, commands: Path
) -> None:
    before = records.git("rev-parse", "HEAD")
    (records.root / "README.md").write_text("changed\n")
    records.commit()
    for path, files in ((".", {"README.md"}), ("records", set())):
        done = run_steps(
            action, records.root, commands, event={"github.event.before": before}, install="false", path=path,
            fail_on="unverifiable",
        )  # fmt: skip
        assert (done.code, done.outputs, done.annotations) == (0, {"verdict": "none"}, []), done.output
        assert done.summary == "## bpb-audit\n\nNo submission was changed.\n"
        assert changed(records.root) == files


def test_which_files_changed(action: dict[str, Any], records: Repository, commands: Path, tmp_path: Path) -> None:
    first = records.git("rev-parse", "HEAD")
    records.add("wrong_constant")
    (records.root / "records" / "two words").mkdir()
    (records.root / "records" / "two words" / "uml\u00e4ut\n.log").write_text("x")
    records.commit()
    every = set(records.git("ls-files", "-z", "records").split("\0")) - {""}
    new = {name for name in every if "wrong_constant" in name or "two words" in name}
    asked = {"only": "Changed files", "path": "records"}
    for event in ({}, {"github.event.before": _ZEROS}, {"github.event.before": "abcdef" * 6 + "abcd"}):
        assert (
            "every submission below records" in run_steps(action, records.root, commands, event=event, **asked).output
        )
        assert changed(records.root) == every
    assert run_steps(action, records.root, commands, base=first, **asked).code == 0
    assert changed(records.root) == new
    empty_tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    assert run_steps(action, records.root, commands, base=empty_tree, **asked).code == 0
    assert changed(records.root) == every
    wrong = run_steps(action, records.root, commands, base="nonsuch", **asked)
    assert (wrong.code, wrong.output.splitlines()[-1]) == (2, "bpb-audit: base: there is no commit nonsuch")
    # One commit alone was fetched, as actions/checkout does: the one before is fetched by the step.
    shallow = Repository(tmp_path / "runner" / "shallow")
    shallow.root.parent.mkdir()
    records.git("config", "uploadpack.allowAnySHA1InWant", "true")
    records.git("clone", "--quiet", "--depth", "1", records.root.as_uri(), shallow.root)
    done = run_steps(action, shallow.root, commands, event={"github.event.before": first}, **asked)
    assert (done.code, changed(shallow.root)) == (0, new), done.output


def test_an_input_that_means_nothing_is_refused(action: dict[str, Any], records: Repository, commands: Path) -> None:
    done = run_steps(action, records.root, commands, only="Audit", fail_on="always")
    line = "bpb-audit: fail-on: got 'always', expected refuted, unverifiable or never\n"
    assert (done.code, done.output) == (2, line)


def test_a_fault_of_the_audit_fails_the_step(action: dict[str, Any], records: Repository, commands: Path) -> None:
    (commands / "bpb-audit").write_text("#!/bin/sh\nexit 70\n")
    done = run_steps(action, records.root, commands, install="false", fail_on="never")
    assert (done.code, done.outputs) == (70, {})


def test_the_action_installs_without_torch(action: dict[str, Any], records: Repository, commands: Path) -> None:
    """What pip is asked for; that this is enough, another test shows."""
    (commands / "python").write_text('#!/bin/sh\necho "$@"\n')
    (commands / "python").chmod(0o755)
    root = Path(__file__).parents[2]
    assert [step.get("if") for step in action["runs"]["steps"]][:3] == ["inputs.install == 'true'"] * 2 + [None]
    done = run_steps(action, records.root, commands, only="Install")
    assert done.output.splitlines() == [
        f"-I -m pip install --quiet --requirement {root}/requirements-light.txt",
        f"-I -m pip install --quiet --no-deps {root}",
    ]


def test_installing_runs_nothing_of_the_checkout(action: dict[str, Any], records: Repository, commands: Path) -> None:
    """Steps run in the folder of a stranger's files, which may have the names of modules."""
    for name in ("pip.py", "json.py", "sitecustomize.py"):
        (records.root / name).write_text("import sys; sys.exit('taken over')\n")
    (commands / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$1" "$2" "$3" --version\n')
    (commands / "python").chmod(0o755)
    done = run_steps(action, records.root, commands, only="Install")
    assert done.code == 0, done.output
    assert done.output.startswith("pip ")


def test_the_hooks_run_on_what_is_staged(records: Repository, commands: Path, repository: Path) -> None:
    """As pre-commit does: entry and args as words, then the files that are staged, in the root of the repository."""
    hooks = {hook["id"]: hook for hook in yaml.safe_load((repository / ".pre-commit-hooks.yaml").read_text("utf-8"))}
    assert {name: hook["language"] for name, hook in hooks.items()} == {
        "bpb-audit": "python",
        "bpb-audit-installed": "system",
    }
    assert len({(hook["entry"], *hook["args"]) for hook in hooks.values()}) == 1
    assert all(hook["require_serial"] and hook["types"] == ["file"] for hook in hooks.values())
    environment = {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(repository)}

    def run(*files: str, args: list[str]) -> subprocess.CompletedProcess[str]:
        words = [*shlex.split(hooks["bpb-audit"]["entry"]), *args, *files]
        line = f"exec {shlex.join(words)}"
        return subprocess.run(
            ["bash", "-c", line], cwd=records.root, env=environment, capture_output=True, text=True, check=False
        )

    args = hooks["bpb-audit"]["args"]
    assert run("README.md", args=args).returncode == 0
    assert run("records/open_no_log/submission.json", args=args).returncode == 0
    assert run("records/open_no_log/submission.json", args=[]).returncode == 3
    records.add("wrong_constant")
    refuted = run("README.md", "records/wrong_constant/train.log", "records/open_no_log/submission.json", args=args)
    assert refuted.returncode == 1
    assert re.search(r"^records/wrong_constant +refuted ", refuted.stdout, flags=re.MULTILINE)


def test_the_page_and_the_workflow_say_what_the_action_takes(action: dict[str, Any], repository: Path) -> None:
    page = (repository / "docs" / "ci.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (?:`([^`]*)`)? ?\| ", page, flags=re.MULTILINE)
    assert dict(rows) == {name: entry["default"] for name, entry in action["inputs"].items()}
    jobs = yaml.safe_load((repository / ".github" / "workflows" / "tests.yml").read_text("utf-8"))["jobs"]
    (used,) = (step for step in jobs["action"]["steps"] if step.get("uses") == "./")
    assert set(used["with"]) <= set(action["inputs"])
    shown = yaml.safe_load(re.findall(r"```yaml\n(# .github/.*?)```", page, flags=re.DOTALL)[0])
    (step,) = (step for step in shown["jobs"]["audit"]["steps"] if "bpb-harness" in step["uses"])
    assert set(step["with"]) <= set(action["inputs"])
    hooks = yaml.safe_load(re.findall(r"```yaml\n(# .pre-commit.*?)```", page, flags=re.DOTALL)[0])
    known = {hook["id"] for hook in yaml.safe_load((repository / ".pre-commit-hooks.yaml").read_text("utf-8"))}
    assert {hook["id"] for repo in hooks["repos"] for hook in repo["hooks"]} <= known
    assert all(f"`{name}`" in page for name in known)
