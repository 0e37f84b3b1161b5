"""A setting by which a README's run trains on the text that it is scored on."""

from __future__ import annotations

import pytest

from bpb_harness.claim.trains_on_it import trains_on_scored_text

COMMAND = "# A record\n\n```bash\nTRAIN_ON_VAL=1 \\\nSEED=7 torchrun train_gpt.py\n```\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (COMMAND, 4),
        ("# A record\n\nConfiguration:\n\n- `NUM_LAYERS=5`\n- `TRAIN_ON_VAL=1`\n", 6),
        ("# A record\n\n- `train_on_val=1` - include the split (allowed by the rules)\n", 3),
        (COMMAND.replace("VAL=1", "VALIDATION_SET='true'"), 4),
        (COMMAND + "| `TRAIN_ON_VAL` | 0 | **1** | approved |\n", 4),
    ],
    ids=["a command", "a list", "small letters", "another spelling", "with a table"],
)
def test_it_is_found(text: str, line: int) -> None:
    found = trains_on_scored_text(text, "README.md")
    assert found is not None
    assert found[0].line == line


@pytest.mark.parametrize(
    "text",
    [
        COMMAND.replace("=1", "=0"),
        COMMAND.replace("TRAIN_ON_VAL", "NO_TRAIN_ON_VAL"),
        COMMAND.replace("TRAIN_ON_VAL", "TRAIN_ON_VAL_EVERY"),
        COMMAND.replace("=1", "=10"),
        COMMAND + "\nTRAIN_ON_VAL=1 is not what was submitted.\n",
        COMMAND + "\nThe final run has `TRAIN_ON_VAL=0`.\n",
        COMMAND.replace("TRAIN", "# TRAIN"),
        "# A record\n\nWith TRAIN_ON_VAL=1 it would be lower.\n",
        COMMAND.replace("```bash", "## Ablations\n\n```bash"),
        "# A record\n\nNothing of the kind.\n",
    ],
    ids=["off", "no", "other", "ten", "denied", "off elsewhere", "comment", "prose", "ablation", "none"],
)
def test_what_leaves_it_open_is_none(text: str) -> None:
    assert trains_on_scored_text(text, "README.md") is None
