"""The one thing that may run: the byte table, alone, in a limited process; and nothing without the flag."""

# ruff: noqa: E501 - lines of scripts, as they are
from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing.script import ScriptContext, check_scripts
from bpb_harness.auditing.script.running import run_byte_table, run_scoring
from bpb_harness.findings import Finding, Severity
from tests.official_table import FILLED

REPORT = "\nprint('val_bpb', nats / 0.6931 / float(bytes_of(table)))\n"


@pytest.fixture(scope="module")
def tokenizer() -> Path:
    return Path(__file__).resolve().parents[5] / "fixtures" / "tokenizers" / "tiny_512_bpe.model"


def _run(tmp_path: Path, tokenizer: Path, script: str, *, allow_code: bool = True) -> list[Finding]:
    file = tmp_path / "train.py"
    file.write_text(textwrap.dedent(script), "utf-8")
    findings = check_scripts([file], ScriptContext(), tokenizer=tokenizer, allow_code=allow_code)
    return [found for found in findings if found.code in ("BPB157", "BPB158", "BPB159")]


TABLE = """
import numpy as np
import sentencepiece as spm
MARK = "\\u2581"
def size_of(piece):
    return len(piece.encode("utf-8"))
def build(sp):
    base, lead, edge = np.zeros(sp.vocab_size(), int), np.zeros(sp.vocab_size(), bool), np.ones(sp.vocab_size(), bool)
"""
TABLE += FILLED.replace('"\\u2581"', "MARK").replace('len(piece.encode("utf-8"))', "size_of(piece)")
TABLE += """\
    return base, lead, edge
def main():
    base, lead, edge = build(spm.SentencePieceProcessor(model_file="t.model"))
    count = base[ids].sum() + (lead[ids] & ~edge[before]).sum()
    print("val_bpb", nats / 0.6931 / count)
main()
"""


def test_the_official_table_agrees(tmp_path: Path, tokenizer: Path) -> None:
    (found,) = _run(tmp_path, tokenizer, TABLE)
    assert found.code == "BPB158"
    assert found.severity is Severity.CONFIRMS
    assert found.evidence["entries"] == 512


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        ("size_of(piece)\n    return", "size_of(piece) + int(lead[i])\n    return", "official"),
        ('MARK = "\\u2581"', 'MARK = "?"', "official"),
        ("            base[i] = 1\n            continue\n", "            pass\n", "'<0x"),
    ],
    ids=["twice", "question mark", "spelling"],
)
def test_wrong_tables_differ_and_the_entries_are_named(
    tmp_path: Path, tokenizer: Path, old: str, new: str, first: str
) -> None:
    assert TABLE.count(old) == 1
    (found,) = _run(tmp_path, tokenizer, TABLE.replace(old, new))
    assert found.code == "BPB157"
    assert found.severity is Severity.REFUTES
    assert first in found.message
    assert int(str(found.evidence["differing"])) > 20


def test_a_table_that_no_score_comes_from_only_warns(tmp_path: Path, tokenizer: Path) -> None:
    (found,) = _run(
        tmp_path,
        tokenizer,
        TABLE.replace('MARK = "\\u2581"', 'MARK = "?"').replace("\nmain()\n", "\ndef go():\n    pass\ngo()\n"),
    )
    assert found.severity is Severity.WARNS


def test_nothing_runs_without_the_flag(tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A canary in the module, in the function and in a decorator: none is touched, and no process is started."""
    canary = tmp_path / "canary"
    script = f"open({str(canary)!r}, 'w')\n" + TABLE.replace(
        "    base, lead, edge = np", f"    open({str(canary)!r}, 'w')\n    base, lead, edge = np"
    )

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.Popen", refuse)
    assert _run(tmp_path, tokenizer, script, allow_code=False) == []
    assert not canary.exists()
    with pytest.raises(AssertionError, match="a process was started"):
        _run(tmp_path, tokenizer, script, allow_code=True)


def test_with_the_flag_only_the_function_runs(tmp_path: Path, tokenizer: Path) -> None:
    canary = tmp_path / "canary"
    (found,) = _run(tmp_path, tokenizer, f"open({str(canary)!r}, 'w').write('module')\n" + TABLE)
    assert found.code == "BPB158"
    assert not canary.exists()


ATTACKS = {
    "write": "open('{canary}', 'w').write('x')",
    "read": "open('/etc/hostname').read()",
    "os": "import os; os.system('touch {canary}')",
    "hidden import": "__import__('subprocess').run(['touch', '{canary}'])",
    "through numpy": "np.ones(3).tofile('{canary}')",
    "numpy reads": "np.fromfile('/etc/hostname', dtype=np.uint8)",
    "classes": "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen'][0](['touch', '{canary}'])",
    "builtins of a module": "np.__builtins__['open']('{canary}', 'w')",
    "os of a module": "np.os.system('touch {canary}') if hasattr(np, 'os') else np.ctypeslib.os.system('touch {canary}')",
    "socket": "np.__builtins__['__import__']('socket').socket().connect(('127.0.0.1', 9))",
    "environment": "1 / 0 if np.__builtins__['__import__']('os').environ.get('BPB_SECRET') is None else None",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_function_gets_nowhere(
    tmp_path: Path, tokenizer: Path, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BPB_SECRET", "hidden")
    canary = tmp_path / "canary"
    line = ATTACKS[attack].format(canary=canary)
    script = TABLE.replace("    base, lead, edge = np", f"    {line}\n    base, lead, edge = np")
    (found,) = _run(tmp_path, tokenizer, script)
    assert found.code == "BPB159", found.message
    assert not canary.exists()


def test_endless_loops_meet_the_clock(tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_byte_table, "WALL_SECONDS", 0.5)
    (found,) = _run(
        tmp_path,
        tokenizer,
        TABLE.replace("            continue\n        edge", "            while True: pass\n        edge"),
    )
    assert found.code == "BPB159"
    assert "limit of time or memory" in found.message


def test_greed_meets_the_memory_limit(tmp_path: Path, tokenizer: Path) -> None:
    (found,) = _run(
        tmp_path, tokenizer, TABLE.replace("    base, lead", "    hoard = bytearray(1 << 36)\n    base, lead", 1)
    )
    assert found.code == "BPB159"
    assert "MemoryError" in found.message


def test_functions_that_need_more_are_not_run(tmp_path: Path, tokenizer: Path) -> None:
    (found,) = _run(tmp_path, tokenizer, TABLE.replace("MARK = ", "MARK = input() or "))
    assert found.code == "BPB159"
    assert "needs MARK" in found.message


def test_a_function_of_one_token_and_the_one_before(tmp_path: Path, tokenizer: Path) -> None:
    script = """
    import sentencepiece as spm
    sp = spm.SentencePieceProcessor(model_file="t.model")
    def n_bytes(tok, prev):
        if sp.is_control(tok) or sp.is_unknown(tok) or sp.is_unused(tok):
            return 0
        if sp.is_byte(tok):
            return 1
        piece = sp.id_to_piece(tok)
        if piece[0] == "\\u2581":
            return len(piece[1:].encode()) + (0 if sp.is_control(prev) else 1)
        return len(piece.encode())
    print("val_bpb", nats / 0.6931 / sum(n_bytes(t, p) for t, p in zip(ids, before)))
    """
    (found,) = _run(tmp_path, tokenizer, script)
    assert found.code == "BPB158", found.message


def test_a_file_that_is_no_tokenizer(tmp_path: Path) -> None:
    bad = tmp_path / "bad.model"
    bad.write_bytes(b"not a model")
    (found,) = _run(tmp_path, bad, TABLE)
    assert found.code == "BPB159"


def test_torch_is_not_imported_by_the_checks(repository: Path) -> None:
    import subprocess

    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\nfrom bpb_harness.auditing.script import ScriptContext, check_scripts\n"
        "print(len(check_scripts([Path('fixtures/scripts/wrong_elbo_script.py')], ScriptContext())))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 2


@pytest.mark.parametrize(("cpu_seconds", "parent"), [("", run_byte_table), (", 120", run_scoring)])
def test_what_only_sleeps_ends_by_itself_where_its_parent_was_killed(cpu_seconds: str, parent: Any) -> None:
    """By an alarm that nothing handles, after longer than a parent that lives would wait."""
    tried = f"""
import runpy, signal
limit = runpy.run_path({str(Path(run_byte_table.__file__).with_name("limited_process.py"))!r})["limit"]
limit(1 << 40{cpu_seconds})
print(signal.getitimer(signal.ITIMER_REAL)[0], signal.getsignal(signal.SIGALRM) is signal.SIG_DFL)
"""
    said = subprocess.run([sys.executable, "-c", tried], capture_output=True, text=True, check=True).stdout.split()
    assert parent.WALL_SECONDS < float(said[0]) < 1000.0
    assert said[1] == "True"
