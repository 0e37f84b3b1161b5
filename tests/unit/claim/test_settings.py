"""What the commands of a README set in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.claim.settings import Contested, flags_of, set_beside, settings_of, settings_of_every_command
from tests.bounded import require_an_end


def _in_fence(text: str) -> str:
    return f"# Title\n\n```bash\n{text}\n```\n\nand more\n"


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("STEPS=64 python evaluate.py", {"STEPS": "64"}),
        ("export STEPS=64 RATE=0.5", {"STEPS": "64", "RATE": "0.5"}),
        ("env STEPS=64 \\\n  MODE='two words' \\\n  torchrun train.py", {"STEPS": "64", "MODE": "two words"}),
        ('MODE="a" python a.py', {"MODE": "a"}),
        ("STEPS=64 python a.py\nSTEPS=64 python b.py", {"STEPS": "64"}),
        ("STEPS=64 python a.py\nSTEPS=32 python b.py", {"STEPS": "64 or 32"}),
        ("STEPS=64 python a.py  # STEPS=32 was worse", {"STEPS": "64"}),
        ("STEPS=$MANY python a.py\nPATH=$HOME/bin:x python b.py", {}),
        ('MODE="$MANY" python a.py', {}),
        ("STEPS = 64\nx.STEPS=64\n--STEPS=64", {}),  # no settings of a command
        ("for SEED in 1 2; do SEED=$SEED python a.py; done", {}),
    ],
)
def test_settings_of_commands_are_read_where_they_agree(command: str, found: dict[str, str]) -> None:
    assert settings_of(_in_fence(command)) == found


def test_prose_sets_nothing() -> None:
    assert settings_of("We ran it with STEPS=64.\n\n    STEPS=32\n") == {}
    assert settings_of("`STEPS=64`\n~~~\nRATE=0.5 python a.py\n") == {"RATE": "0.5"}  # a fence that is never closed


def test_a_setting_of_two_blocks_is_one_where_they_agree() -> None:
    assert settings_of(_in_fence("STEPS=64 a") + _in_fence("STEPS=64 RATE=1 b")) == {"STEPS": "64", "RATE": "1"}
    assert settings_of(_in_fence("STEPS=64 a") + _in_fence("STEPS=8 RATE=1 b")) == {
        "STEPS": "64 or 8",
        "RATE": "1",
    }


@pytest.mark.parametrize(
    ("text", "value", "is_contested"),
    [
        (_in_fence("STEPS=64 a") + "A quick test:\n\n\n\n" + _in_fence("STEPS=8 a"), "64 or 8", True),
        (_in_fence("STEPS=64 a") + "\nA smoke test:\n\n```\nSTEPS=8 a\n```\n", "64", False),
        ("```\n# quick check\nSTEPS=8 a\n```\nThe score:\n" * 2 + "\n\n\n\n\n```\nSTEPS=64 a\n```\n", "64", False),
        ("A smoke test:\n\n```\nSTEPS=8 a\n```\n", "8", False),
        (_in_fence("STEPS=64 a\nSTEPS=8 b\nSTEPS=64 c"), "64 or 8", True),
    ],
    ids=["the words are far", "a trial behind", "a trial in front", "nothing but a trial", "three times"],
)
def test_a_setting_that_commands_give_otherwise_is_known_of_the_score_alone(
    text: str, value: str, is_contested: bool
) -> None:
    found = settings_of(text)["STEPS"]
    assert (found, isinstance(found, Contested)) == (value, is_contested)


@pytest.mark.parametrize(
    "another",
    [
        "STEPS=64 python a.py\n\n# Ablations via environment variables:\nSTEPS=8 KIND=x  ...  # smaller",
        "STEPS=64 python a.py\n# Baseline\nSTEPS=8 KIND=x python a.py",
        "STEPS=64 python a.py\n```\n\n## Ablations\n\n### Smaller\n\n```bash\nSTEPS=8 KIND=x python a.py",
        "STEPS=64 python a.py\n```\n\n## Changes from the baseline\n\n```\nKIND=x",
        "STEPS=64 python a.py\n# Baseline\nKIND=x python a.py\n# Seed 2\nSTEPS=64 python a.py",
    ],
)
def test_commands_of_ablations_and_baselines_set_nothing_of_the_run(another: str) -> None:
    assert settings_of(_in_fence(another)) == {"STEPS": "64"}


def test_what_only_an_ablation_starts_is_its_own() -> None:
    assert settings_of(_in_fence("STEPS=64 python a.py\n# Baseline\nKIND=x python b.py")) == {
        "STEPS": "64",
        "KIND": "x",
    }
    assert settings_of("## Ablations\n" + _in_fence("# The experiment\nSTEPS=8 python a.py")) == {"STEPS": "8"}
    assert settings_of("# A Baseline\n" + _in_fence("STEPS=8 python a.py\nKIND=x")) == {"STEPS": "8", "KIND": "x"}


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("python a.py --steps 64 --rate=0.5 --masked", {"--steps": "64", "--rate": "0.5", "--masked": ""}),
        ("A=1 torchrun --nproc_per_node 8 x/a.py \\\n  --steps 64 \\\n  --masked", {"--steps": "64", "--masked": ""}),
        (
            "python a.py --low -0.5 --masked -x 3 --name 'two words'",
            {"--low": "-0.5", "--masked": "", "-x": "3", "--name": "two words"},
        ),
        ("python a.py --steps 64\npython a.py --steps 64", {"--steps": "64"}),
        ("python a.py --steps 64\npython a.py --steps 32", {"--steps": "64 or 32"}),
        ("python a.py --steps 64\npython a.py", {}),  # with it and without
        ("python a.py --steps 64 --steps 32", {}),
        ("python a.py --steps $N --rate <rate> --out ...", {}),
        ("python a.py --steps 64 | tee a.log --append", {"--steps": "64"}),
        ("python a.py  # --steps 64", {}),
        ("python a.py \\\r\n  --steps 64\r\n", {"--steps": "64"}),
        ("python a.py -s 64 -v", {"-s": "64", "-v": ""}),
        ("pip install --upgrade x; cp a.py --force b.py", {}),
        ("python a.py --name 'not closed", {}),
        ("python a.py --steps 64\npython x/a.py --name 'one; two' --steps 32", {}),
        ("python a.py --steps 64\necho \"that's it", {"--steps": "64"}),
        ("for s in 1 2; do python a.py --seed $s --steps 64; done", {"--steps": "64"}),
    ],
)
def test_flags_that_commands_give_a_script(command: str, found: dict[str, str]) -> None:
    assert flags_of(_in_fence(command)) == {("a.py", flag): value for flag, value in found.items()}


def test_flags_of_two_scripts_are_kept_apart() -> None:
    found = flags_of(_in_fence("python a.py --steps 64 && python b.py --steps 8"))
    assert found == {("a.py", "--steps"): "64", ("b.py", "--steps"): "8"}
    assert flags_of("python a.py --steps 64\n") == {}  # prose


@pytest.mark.parametrize("words", ["'./-' * 80_000", "'a.py' * 60_000"])
def test_a_command_that_cannot_be_read_is_looked_through_once(words: str) -> None:
    program = f"print(flags_of('```\\n' + {words} + chr(39) + '\\n```'))"
    printed = require_an_end(f"from bpb_harness.claim.settings import flags_of; {program}")
    assert printed.strip() == "{}"


def test_shell_scripts_beside_a_script_tell_what_it_may_have_been_started_with(tmp_path: Path) -> None:
    script = tmp_path / "record" / "train.py"
    script.parent.mkdir()
    (script.parent / "run.sh").write_text(
        'export STEPS=64\nMOST="${MOST:-0}" MODE=\'x y\' \\\nLIMIT=${LIMIT:-500} python a.py  # SEEN=3\nNEXT="$LIMIT"\n'
    )
    (script.parent / "smoke.sh").write_text("STEPS=2 python train.py\n")
    (script.parent / "other.txt").write_text("TEXT=1\n")
    (tmp_path / "above.sh").write_text("ABOVE=1\n")
    (script.parent / "link.sh").symlink_to(tmp_path / "above.sh")
    assert set_beside([script, script.parent / "eval.py"]) == {
        "STEPS": {"64", "2"},
        "MOST": {"0"},
        "MODE": {"x y"},
        "LIMIT": {"500"},
    }
    assert set_beside([]) == {}


MAIN = "```bash\nTTT=0 torchrun train.py\n```\n"


@pytest.mark.parametrize(
    ("said", "command", "expected"),
    [
        ("Optional: learn at the evaluation (experimental)", "TTT=1 torchrun train.py", {"TTT": "0"}),
        ("Train once, pack again without retraining:", "LOAD=x.pt python train.py", {"TTT": "0"}),
        ("", "# Override examples\nLAYERS=9 torchrun train.py", {"TTT": "0"}),
        ("A quick smoke test:", "ITERATIONS=5 python train.py", {"TTT": "0"}),
        # Of another script, and of none, nothing else tells; and what is said of a run that is meant.
        ("Optional:", "STRIDE=64 python evaluate.py", {"TTT": "0", "STRIDE": "64"}),
        ("A quick smoke test:", "export LAYERS=9", {"TTT": "0", "LAYERS": "9"}),
        ("With another seed:", "SEED=7 torchrun train.py", {"TTT": "0", "SEED": "7"}),
        ("Options are set as follows:", "LAYERS=9 torchrun train.py", {"TTT": "0", "LAYERS": "9"}),
    ],
)
def test_a_command_for_something_else_than_the_claim_sets_nothing_of_it(
    said: str, command: str, expected: dict[str, str]
) -> None:
    text = f"# Run\n\n{MAIN}\n\n\n\n{said}\n\n```bash\n{command}\n```\n"
    assert settings_of(text) == expected
    alone = settings_of(text.replace(MAIN, ""))  # where nothing else starts the script, it is all that is known
    assert alone == settings_of(f"```bash\n{command}\n```\n")


@pytest.mark.parametrize(
    ("commands", "found"),
    [
        ("A=1 BB=2 python a.py\nA=3 BB=2 python b.py", {"BB": ("2",)}),
        ("AA=1 BB=2 python a.py\nAA=3 python b.py", {"AA": ("1", "3")}),
        ("AA=1 python a.py\npython b.py", {"AA": ("1",)}),  # a command that sets nothing leaves nothing out
        ("export AA=1\nBB=2 python a.py\nBB=3 python b.py", {"BB": ("2", "3"), "AA": ("1",)}),
        ("python a.py\nAA=1 ...", {}),
        ("AA=1\nBB=2", {"AA": ("1",), "BB": ("2",)}),  # settings of no command
        ("python a.py AA=1", {}),
        ("AA=$X BB=2 python a.py", {"BB": ("2",)}),
    ],
)
def test_what_every_command_sets(commands: str, found: dict[str, tuple[str, ...]]) -> None:
    assert settings_of_every_command(_in_fence(commands)) == found
