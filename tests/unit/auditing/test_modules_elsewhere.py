"""Settings that nothing in the record reads, and modules that lie nowhere in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb

NATS = 2.0312
SCORE = f"final_exact val_loss:{NATS} val_bpb:{bpb(NATS, SP1024):.8f}\n"
ON = "ngram_tilt_enabled: True\n"
SCRIPT = """
import os
import torch

LIMIT_BITS = 6

class Args:
    seed = int(os.environ.get("SEED", 7))
    ngram_tilt_enabled = bool(int(os.environ.get("NGRAM_TILT_ENABLED", "0")))

def main(log, h, loss, score, ms):
    log(f"step:{1} train_loss:{loss} train_time:{ms}ms")
    log(f"step:{1} val_loss:{loss} val_bpb:{score} train_time:{ms}ms")
    log(f"peak memory allocated: {ms} MiB")
    log(f"Code size: {ms} bytes")
    if h.ngram_tilt_enabled:
        from word_tilt import Tilt
    log(f"final_exact val_loss:{loss} val_bpb:{score}")
"""
README = "# A record\n\n```bash\nSEED=7 torchrun train_gpt.py\n```\n"


def _report(folder: Path, script: str = SCRIPT, readme: str = README, log: str = SCORE, **more: str) -> AuditReport:
    (folder / "submission.json").write_text(json.dumps({"val_bpb": round(bpb(NATS, SP1024), 8)}))
    for name, text in {"train.log": log, "train_gpt.py": script, "README.md": readme, **more}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return audit(folder)


def test_a_module_that_the_log_tells_to_be_at_work_and_nobody_speaks_of_is_a_doubt(tmp_path: Path) -> None:
    report = _report(tmp_path, log=ON + SCORE)
    (found,) = report.with_code("BPB457")
    assert found.message == (
        "with `ngram_tilt_enabled:True` (train.log:1) the script imports `word_tilt` (train_gpt.py:17), a module that "
        "does not lie in the record; neither README nor submission.json speaks of it, so what it did for the score is "
        "not told"
    )
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    ("readme", "more"),
    [
        (README + "\nAn n-gram tilt.\n", {}),
        (README, {"notes.md": "With Tilt.\n"}),
        (README, {"a.json": '{"no_ngram": 1}'}),
        (README, {"requirements.txt": "torch\nword-tilt==1.0\n"}),
        (README, {"pyproject.toml": 'dependencies = ["word_tilt"]\n'}),
        (README, {"more.py": "# pip install torch word-tilt\n"}),
    ],
)
def test_one_that_is_spoken_of_is_a_remark(tmp_path: Path, readme: str, more: dict[str, str]) -> None:
    report = _report(tmp_path, readme=readme, log=ON + SCORE, **more)
    (found,) = report.with_code("BPB457")
    assert found.message.startswith("a script imports `word_tilt` (train_gpt.py:17), which does not lie in the record:")
    assert report.verdict == "consistent"


ALWAYS = SCRIPT.replace("import torch\n", "import torch\nfrom golf_lib.data import load\n")

TRIES = "try:\n    from golf_lib.data import load\nexcept ImportError:\n    pass\n"
SUPPRESSES = "with contextlib.suppress(ImportError):\n    from golf_lib.data import load\n"


def test_one_that_is_imported_whatever_happens_is_a_remark(tmp_path: Path) -> None:
    report = _report(tmp_path, script=ALWAYS)
    (found,) = report.with_code("BPB457")
    assert found.message == (
        "a script imports `golf_lib` (train_gpt.py:4), which does not lie in the record: what is done there is not read"
    )
    assert report.verdict == "consistent"


@pytest.mark.parametrize(
    "inside",
    [
        "class Net:\n    def __init__(self):\n        from golf_lib.data import load\n        self.load = load\n",
        "class Net:\n    from golf_lib.data import load\n",
        "async def fetch():\n    import golf_lib\n",
    ],
)
def test_one_that_a_class_imports_is_a_remark_too(tmp_path: Path, inside: str) -> None:
    (found,) = _report(tmp_path, script=f"{SCRIPT}\n\n{inside}").with_code("BPB457")
    assert found.evidence["modules"] == ["golf_lib"]
    assert not _report(tmp_path, script=f"{SCRIPT}\n\n{inside.replace('golf_lib', 'mamba_ssm')}").with_code("BPB457")


@pytest.mark.parametrize(
    ("script", "log", "more"),
    [
        (SCRIPT, SCORE, {}),  # the log does not tell
        (SCRIPT, ON.replace("True", "False") + SCORE, {}),
        (SCRIPT, ON + SCORE, {"word_tilt.py": "Tilt = 1\n"}),
        (SCRIPT, ON + SCORE, {"lib/word_tilt.cpp": "int main() {}\n"}),
        (SCRIPT.replace("word_tilt", "flash_attn"), ON + SCORE, {}),
        (SCRIPT.replace("word_tilt", "comet_ml"), ON + SCORE, {}),
        (SCRIPT.replace("word_tilt", "statistics"), ON + SCORE, {}),
        (SCRIPT.replace("if h.ngram", "if loss or h.ngram"), ON + SCORE, {}),
        (ALWAYS.replace("from golf_lib.data import load\n", TRIES), SCORE, {}),
        (ALWAYS.replace("from golf_lib.data import load\n", SUPPRESSES), SCORE, {}),
        (ALWAYS + "\nopen('golf_lib.py', 'w').write('load = 1')\n", SCORE, {}),  # it writes the module itself
        (ALWAYS, SCORE, {"golf_lib/data.py": "load = 1\n"}),
    ],
    ids=["silent log", "off", "there", "another tongue", "known", "a tracker", "Python's",
         "other test", "try", "suppressed", "written", "folder"],
)  # fmt: skip
def test_what_lies_there_or_is_not_shown_to_be_imported_is_none(
    tmp_path: Path, script: str, log: str, more: dict[str, str]
) -> None:
    assert not _report(tmp_path, script=script, log=log, **more).with_code("BPB457")


ALONE = SCRIPT.replace("        from word_tilt import Tilt\n", "        pass\n")
SETS = README.replace("SEED=7", "SEED=7 LIMIT_BITS=5 EMA_ENABLED=1")


def test_settings_that_nothing_reads_are_a_remark(tmp_path: Path) -> None:
    report = _report(tmp_path, script=ALONE, readme=SETS)
    (found,) = report.with_code("BPB456")
    assert found.message == (
        "a command of README.md starts train_gpt.py with `LIMIT_BITS=5`, `EMA_ENABLED=1`, which no program of the "
        "record reads"
    )
    assert report.verdict == "consistent"


def test_a_program_that_asks_for_nothing_reads_nothing(tmp_path: Path) -> None:
    asks = {"score_shards.py": "import argparse\nprint(argparse.ArgumentParser().parse_args())\n"}
    assert _report(tmp_path, script=ALONE, readme=SETS, **asks).with_code("BPB456")
    named = "import sys\nfor name in sys.argv: print(os.environ[name])\n"
    assert not _report(tmp_path, script=ALONE, readme=SETS, **asks, **{"other.py": named}).with_code("BPB456")


def test_where_no_program_asks_for_anything_it_may_be_asked_elsewhere(tmp_path: Path) -> None:
    silent = "\n".join(line for line in ALONE.split("\n") if "environ" not in line)
    assert "environ" not in silent
    assert not _report(tmp_path, script=silent, readme=SETS).with_code("BPB456")


@pytest.mark.parametrize(
    ("script", "readme", "more"),
    [
        (ALONE, README, {}),
        (ALONE, SETS, {"job.sh": "source settings.sh\n"}),
        (ALONE, SETS.replace("LIMIT_BITS=5 EMA_ENABLED=1", "COMET_API_KEY=5"), {}),
        (ALONE, SETS.replace("LIMIT_BITS=5 EMA_ENABLED=1", "NCCL_DEBUG=1 OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1"), {}),
        (ALONE, SETS.replace("train_gpt.py", "other.py"), {}),
        (ALONE, SETS.replace("torchrun train_gpt.py", "cat train_gpt.py"), {}),
        (ALONE, SETS.replace("train_gpt.py", "train_gpt.py --bits $LIMIT_BITS --ema ${EMA_ENABLED}"), {}),
        (ALONE + "\nfor name in NAMES: os.environ[name]\n", SETS, {}),
        (ALONE + "\nsettings = dict(os.environ)\n", SETS, {}),
        (ALONE + "\nfrom os import environ as env\nsettings = {name: env[name] for name in env}\n", SETS, {}),
        (ALONE + "\nx = os.environ.get('EMA' + '_ENABLED')\n", SETS, {}),
        (ALWAYS, SETS, {}),  # a module that lies elsewhere may
        (ALONE, SETS, {"run.sh": "echo $LIMIT_BITS ${EMA_ENABLED:-1}\n"}),
        (ALONE, SETS, {"more.py": "import os\nprint(os.getenv('LIMIT_BITS'), os.environ['EMA_ENABLED'])\n"}),
        (ALONE + "\nema_enabled = limit_bits = 1\n", SETS, {}),
    ],
    ids=["read", "a silent shell", "a tracker's",
         "others'", "another script", "no start", "of the command", "a name", "all",
         "another name for it", "joined", "elsewhere",
         "a shell", "another program", "small letters"],
)  # fmt: skip
def test_what_may_be_read_is_none(tmp_path: Path, script: str, readme: str, more: dict[str, str]) -> None:
    assert not _report(tmp_path, script=script, readme=readme, **more).with_code("BPB456")


GUARDED = """
class Args:
    seed = 7

def pack(data):
    from word_codec import code
    return code(data)

def save(h, data):
    if h.compressor == "words":
        data = pack(data)
    return data

def main(log, h, loss, score):
    if h.lora_enabled:
        pass
    elif h.ttt_enabled:
        from word_tilt import Tilt
    else:
        from word_rest import Rest
    log(f"final_exact val_loss:{loss} val_bpb:{score}")
"""
TOLD = "compressor: brotli\nlora_enabled: False\nttt_enabled: True\n"


@pytest.mark.parametrize(
    ("told", "modules"),
    [
        (TOLD, ["word_tilt"]),
        (TOLD.replace("brotli", "words"), ["word_codec", "word_tilt"]),
        (TOLD.replace("compressor: brotli\n", ""), ["word_codec", "word_tilt"]),  # nothing says that it is not called
        (TOLD.replace("lora_enabled: False", "lora_enabled: True"), []),
        (TOLD.replace("lora_enabled: False\n", ""), []),
        (TOLD.replace("ttt_enabled: True", "ttt_enabled: False"), ["word_rest"]),
        ("compressor: brotli\n", []),
    ],
)
def test_of_modules_that_hang_on_settings_those_that_the_log_tells(
    tmp_path: Path, told: str, modules: list[str]
) -> None:
    report = _report(tmp_path, script=GUARDED, readme=README + "Tilt, rest.\n", log=told + SCORE)
    assert [name for found in report.with_code("BPB457") for name in found.evidence["modules"]] == modules  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "call",
    ["    pack(1)\n", "    if score:\n        pack(1)\n", "    if h.compressor != 'zip':\n        pack(1)\n"],
    ids=["always", "another test", "not another"],
)
def test_a_function_that_is_called_elsewhere_too(tmp_path: Path, call: str) -> None:
    told = TOLD.replace("ttt_enabled: True", "ttt_enabled: -")
    (found,) = _report(tmp_path, script=GUARDED + call, log=told + SCORE).with_code("BPB457")
    assert found.evidence["modules"] == ["word_codec"]
