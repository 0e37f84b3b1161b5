"""Settings that a README states of its own run."""

from __future__ import annotations

import pytest

from bpb_harness.claim.stated_settings import stated_settings
from tests.bounded import require_an_end


def _stated(text: str) -> dict[str, tuple[str, ...]]:
    return {name: each.values for name, each in stated_settings(text).items()}


COMMAND = "```bash\nNUM_LAYERS=10 TRAIN_SEQ_LEN=2048 torchrun train.py\n```\n"
BLOCK = "```\nNUM_LAYERS=10 TRAIN_SEQ_LEN=2048\nMODEL_DIM=512\n```\n"
ROWS = "| --- | --- |\n| `num_layers` | 11 |\n| matrix_lr | **0.06** |\n| iterations | 13137 (capped) |\n"
TABLE = f"| Parameter | Value |\n{ROWS}"
TEN = {"num_layers": ("10",), "train_seq_len": ("2048",)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (COMMAND, TEN),
        (BLOCK, {**TEN, "model_dim": ("512",)}),
        (BLOCK + "```\ntorchrun train.py\n```\n", {**TEN, "model_dim": ("512",)}),
        ("- Layout: `NUM_LAYERS=10 TRAIN_SEQ_LEN=2048`\n", TEN),
        ("* `NUM_LAYERS=10`, `TRAIN_SEQ_LEN=2048`.\n", TEN),
        (TABLE, {"num_layers": ("11",), "matrix_lr": ("0.06",)}),
        ("- 10 layers, 512 dim, 8 heads\n", {"num_layers": ("10",), "model_dim": ("512",), "num_heads": ("8",)}),
        ("- 10 layers, 512 dim, 4 KV heads\n", {"num_layers": ("10",), "model_dim": ("512",)}),
        ("- **11 transformer layers**, dim=512\n", {"num_layers": ("11",), "model_dim": ("512",)}),
        # Two commands: what both give, each value; what one leaves out is nothing that the run is known to have.
        (COMMAND + COMMAND.replace("NUM_LAYERS=10", "NUM_LAYERS=9"), {**TEN, "num_layers": ("10", "9")}),
        (COMMAND + "```\nTRAIN_SEQ_LEN=2048 torchrun train.py\n```\n", {"train_seq_len": ("2048",)}),
        ("```\nexport NUM_LAYERS=10\nTRAIN_SEQ_LEN=2048 python train.py\n```\n", TEN),
        (COMMAND + "```\ntorchrun train.py\n```\n", {}),  # the script's own defaults may be the run's
        (
            f"```\n# the baseline\nTRAIN_SEQ_LEN=2048 python a.py\n# ours\n{COMMAND.splitlines()[1]}\n```\n",
            {"train_seq_len": ("2048",)},
        ),
        ("```\npython train.py\nNUM_LAYERS=10 ...   # shallower\n```\n", {}),
        ("```\npython -c 'see train.py, NUM_LAYERS=10'\n```\n", {}),
        ("```\nNUM_LAYERS=$N torchrun train.py\n```\n", {}),
        (COMMAND.replace("10", "ten"), {"train_seq_len": ("2048",)}),
    ],
)
def test_what_is_stated(text: str, found: dict[str, tuple[str, ...]]) -> None:
    assert _stated(f"# A run\n\n{text}\n") == found


@pytest.mark.parametrize("stated", [COMMAND, BLOCK, TABLE, "- `NUM_LAYERS=10`\n", "- 10 layers, 512 dim\n"])
@pytest.mark.parametrize(
    "front",
    [
        "## Baseline\n\n",
        "## Ablations\n\n### Depth\n\n",
        "## Next steps\n\nWith more time:\n\n",
        "The previous record had:\n\n",
        "We also tried\n\n",
        "## What didn't work\n\n",
        "A smoke test:\n\n",
    ],
)
def test_sections_and_lists_of_something_else_state_nothing(front: str, stated: str) -> None:
    assert _stated(f"# A run\n\n{front}{stated}") == {}
    assert _stated(f"# A run\n\n{front}words\n\n## Configuration\n\n{stated}") != {}


@pytest.mark.parametrize("stated", [COMMAND, BLOCK, TABLE, "- `NUM_LAYERS=10`\n", "- 10 layers, 512 dim\n"])
@pytest.mark.parametrize(
    "front",
    [
        "## Colab\n\n",
        "## Running on a single GPU\n\n",
        "## Ausgangspunkt (PR 12, nicht unser Lauf)\n\n",
        "## Draft network (not submitted)\n\n",
        "## Unlimited compute\n\nWith four hours we reach 1.0702, by\n\n",
        "## Architecture\n\n### The teacher\n\n",
        "## Configuration\n\nPR #12 by @alice, from which this was built, used:\n\n",
        "## Configuration\n\n**Colab**\n\n",
        "## Configuration\n\nColab\n-----\n\n",
        "## Run 2\n\n",
    ],
)
def test_what_is_under_other_words_than_the_usual_ones_states_nothing(front: str, stated: str) -> None:
    assert _stated(f"# A run\n\n{front}{stated}") == {}
    assert _stated(f"Words.\n\n{front}{stated}") == {}
    assert _stated(f"# A run\n\n## 3. Training configuration (3 seeds)\n\n{stated}") != {}
    assert _stated(f"# A run\n\n{front}words\n\n## Architecture\n\nThe model:\n\n{stated}") != {}


def test_a_list_below_an_item_is_of_that() -> None:
    assert _stated("# A run\n\n- the teacher\n  - `NUM_LAYERS=10`\n") == {}
    assert _stated(f"# A run\n\n1. On a laptop\n\n{COMMAND}") == {}
    assert _stated("# A run\n\n- 3 layers, 96 dim, of the teacher\n") == {}
    assert _stated("# A run\n\n- Teacher: `NUM_LAYERS=3`\n- Layout: `MODEL_DIM=512`\n") == {"model_dim": ("512",)}


@pytest.mark.parametrize("starts", ["bash eval/eval.sh", "SEED=42 ./run.sh", "sbatch job.slurm", "make train"])
def test_commands_beside_a_script_that_starts_the_run_state_nothing(starts: str) -> None:
    assert _stated(f"# A run\n\n## Run\n\n```\n{starts}\n```\n\n{COMMAND}") == {}


@pytest.mark.parametrize(
    "text",
    [
        "NUM_LAYERS=10 in prose, and `NUM_LAYERS=10` in a sentence\n",
        "- `NUM_LAYERS=10` was worse by 0.01\n",
        "- `NUM_LAYERS`: `10 -> 9`\n",
        "- Baseline: `NUM_LAYERS=10`\n",
        f"| Parameter | Baseline |\n{ROWS}",
        f"| Change | Effect |\n{ROWS}",
        "| Parameter | Before | Now |\n| --- | --- | --- |\n| num_layers | 9 | 11 |\n",
        "- 3-layer recurrence, 2 loops\n- 11 layers\n",
    ],
)
def test_what_is_no_statement_of_the_run(text: str) -> None:
    assert _stated(f"# A run\n\n{text}\n") == {}


def test_comments_in_a_fence_say_whose_the_commands_are() -> None:
    command = COMMAND.splitlines()[1]
    assert _stated(f"```\n# the run\n{command}\n```\n") == TEN
    assert _stated(f"```\n# baseline, for comparison\n{command}\n```\n") == {}


def test_lines_and_words_are_told() -> None:
    found = stated_settings(f"# A run\n\n{COMMAND}")["train_seq_len"]
    assert (found.words, found.line) == ("TRAIN_SEQ_LEN=2048", 4)
    assert stated_settings(TABLE)["num_layers"].words == "num_layers 11"


def test_a_hostile_readme_is_done_with() -> None:
    texts = [
        "'- `AAA=1` ' * 20000",
        "'`AAA=1 ' * 20000",
        "'| a ' * 40000",
        "'```\\nA.py\\n' * 20000",
        "'AAA=1\\n' * 30000",
    ]
    texts += ["'AA=1 ' * 60000", "'- ' * 9 + 'A=' * 60000", "'1-seed' * 40000", "'./' * 100000"]
    texts += ["'- ' + '1 ' * 90000", "'#' * 200000", "'- A' + ' ' * 90000 + ': `AAA=1`'"]
    program = "from bpb_harness.claim.stated_settings import stated_settings as stated; "
    program += f"print(len([stated(text) for text in ({', '.join(texts)})]))"
    assert require_an_end(program) == f"{len(texts)}\n"
