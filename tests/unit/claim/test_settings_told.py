"""Settings that a log tells of its run."""

from __future__ import annotations

import pytest

from bpb_harness.claim.settings_told import is_same_setting, may_differ, settings_told
from tests.bounded import require_an_end

ASKED = {"train_seq_len", "num_heads", "num_layers", "model_dim", "full_gptq", "lzma", "embed_dim", "qat", "mode"}


def _told(*lines: str) -> dict[str, list[str]]:
    found = settings_told(enumerate(lines, 1), "train.log", ASKED)
    return {name: [each.value for each in told] for name, told in found.items()}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("train_batch_tokens:786432 train_seq_len:2048 max_wallclock_seconds:600.000", {"train_seq_len": ["2048"]}),
        ("attention_mode:gqa num_heads:8 num_kv_heads:4", {"num_heads": ["8"]}),
        ("  train_seq_len: 2048", {"train_seq_len": ["2048"]}),
        ("TRAIN_SEQ_LEN = 2048", {"train_seq_len": ["2048"]}),
        ("export NUM_LAYERS=9", {"num_layers": ["9"]}),
        ("[default0]:  num_layers: 11", {"num_layers": ["11"]}),
        (
            "architecture: embed_dim=768 num_heads=4, mode=causal",
            {"embed_dim": ["768"], "num_heads": ["4"], "mode": ["causal"]},
        ),
        ('"num_layers": 11,', {"num_layers": ["11"]}),
        ("config {'num_layers': 11, 'qat': False}", {"num_layers": ["11"], "qat": ["False"]}),
        ("qat:False", {"qat": ["False"]}),
        # One line of short names, with layers and width among them.
        ("model_params:170 layers:9 dim:512 heads:8", {"num_layers": ["9"], "model_dim": ["512"], "num_heads": ["8"]}),
        ("bigram:True vocab_size:10240 dim:128", {}),
        # Beside other words, and beside a score, it need be no setting.
        ("lzma: 15761428 bytes", {}),
        ("mixed precision full_gptq=66 of 68 tensors", {}),
        ("step:10/20 train_loss:2.1 num_layers:3", {}),
        ("num_layers", {}),
        ("17/20 num_layers:3", {}),
        ("quantize: gptq took num_layers=3", {}),
        ("", {}),
    ],
)
def test_settings_are_read_off_lines_of_nothing_else(line: str, found: dict[str, list[str]]) -> None:
    assert _told(line) == found


def test_all_values_of_a_setting_are_told_once_each() -> None:
    found = settings_told([(3, "qat:0"), (5, "qat:False"), (9, "train_seq_len:1024 qat:1")], "train.log", ASKED)
    assert [(each.words, each.value, str(each.source)) for each in found["qat"]] == [
        ("qat:0", "0", "train.log:3"),
        ("qat:1", "1", "train.log:9"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "is_same", "differs"),
    [
        ("600", "600.000", True, True),
        ("1_000", "1000", True, True),
        ("1", "True", True, True),
        ("0", "True", False, True),
        ("1e-3", ".001", True, True),
        ("fp8", "FP8", True, True),
        ("fp8", "int6", False, True),
        ("fp8", "True", False, False),  # a word and a switch are held against nothing
        ("./a/b.model", "a", False, False),
    ],
)
def test_values_are_held_against_each_other_by_kind(one: str, other: str, is_same: bool, differs: bool) -> None:
    assert is_same_setting(one, other) is is_same
    assert may_differ(one, other) is differs


def test_a_hostile_line_is_done_with() -> None:
    lines = ["'a:' * 2000", "'a : ' * 900", "'(' * 4000", "'a=b ' * 999", "'[' * 3999"]
    program = "from bpb_harness.claim.settings_told import settings_told as told; "
    program += f"print([told([(1, line)] * 50, 'a', ['x']) for line in ({', '.join(lines)})][0])"
    assert require_an_end(program) == "{}\n"
