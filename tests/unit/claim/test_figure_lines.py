"""Lines of logs that print figures, one of each shape."""

from __future__ import annotations

import pytest

from bpb_harness.claim.figure_lines import figure_line, figure_lines, names_figure


@pytest.mark.parametrize(
    "line",
    [
        *("step:10/200 val_loss:2.0 val_bpb:1.2", "final val_bpb = 1.25 exact", "Serialized model: 74573987 bytes"),
        *("peak memory allocated: 11392 MiB reserved: 11684 MiB", "tokens:5 params: 7", "took: 12.5ms in all"),
        *("eval train_time: -3 of it", "[rank0]: step 3 loss:3.5", "Code size: 1,234 bytes"),
    ],
)
def test_figures(line: str) -> None:
    assert figure_line(line, 7) is not None


@pytest.mark.parametrize(
    "line",
    [
        *("", "step 10", "val_loss: nan", "embed_lr: 0.05", "train_tokens: 524288", "train_tokens=524288"),
        *("1776142360.539 train_tokens: 5", "2026-01-02 03:04:05 val_tokens: 5", "[default0]:val_tokens: 5"),
        *("[default0]: val_tokens: 5", '{"val_loss": 1.2, "x": 3}', '"val_loss": 1.2, ok', "'val_loss': 1.2, ok"),
        *("Hyperparameters:", "total: 3 files", "| 0 NVIDIA | 4MiB / 8MiB", "Setting OMP_NUM_THREADS: default"),
    ],
)  # fmt: skip
def test_none(line: str) -> None:
    assert figure_line(line, 7) is None


def test_one_of_each_shape() -> None:
    lines = [f"step:{n}/200 train_loss:{7.0 / n:.4f} train_time:{n * n}ms" for n in range(1, 200)]
    lines.insert(100, "step:100/200   val_loss:2.0\tval_bpb:1.25 best")
    lines.insert(3, "10%\r20% running loss:3.5 and on\r30% other")
    found = figure_lines("\n".join(lines))
    assert [(line.number, line.text) for line in found] == [
        (1, "step:1/200 train_loss:7.0000 train_time:1ms"),
        (4, "20% running loss:3.5 and on"),
        (102, "step:100/200 val_loss:2.0 val_bpb:1.25 best"),
    ]
    assert [line.text[line.figure_at :].split()[0] for line in found] == ["loss:7.0000", "loss:3.5", "loss:2.0"]


def test_hostile_logs_are_bounded() -> None:
    lines = "\n".join(f"loss:1.5 {'y' * n}" for n in range(1, 700))
    assert len(figure_lines(lines)) == 80 - len("loss:# ")
    many = "\n".join(f"{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)} loss:1.5 end" for n in range(900))
    assert len(figure_lines(many)) == 400
    (long,) = figure_lines("loss:1.5 " + "z" * 10_000)
    assert len(long.text) == 2000


@pytest.mark.parametrize(
    ("template", "is_one"),
    [
        *(("val_loss:\0", True), ("val_loss: ", True), ("val_loss", False), ("\0: \0", False), ("loss \0", False)),
        *(("size: \0 bytes", True), ("size: \0", False), ("\0_loss=\0 ok", True), ("lossy: x", False)),
    ],
)
def test_templates_of_figures(template: str, is_one: bool) -> None:
    assert names_figure(template) is is_one
