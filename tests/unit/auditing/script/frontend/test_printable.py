"""What lines a script can print, by its literals."""

from __future__ import annotations

import pytest

from bpb_harness.auditing.script import Printable
from bpb_harness.claim.figure_lines import FigureLine, figure_line

FIGURES = 'a = "one_loss: ", "two_loss: ", "three_loss: ", "score_bpb: "; b = 0\n'


def _holds(source: str, line: str) -> bool:
    found = figure_line(line, 1)
    assert found is not None
    printable = Printable([FIGURES + source])
    assert printable.is_known
    return printable.holds(found)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('print(f"step {i} val_loss: {x:.4f} done")', "step 12 val_loss: 1.25 done"),
        ("print(f'step {i} val_loss: {x[0]:{width}.4f} done')", "step 12 val_loss:     1.25 done"),
        ('print("step %d val_loss: %-8.3f %s" % args)', "step 12 val_loss: 1.25 done"),
        ('print("step {} val_loss: {:.3f} done".format(i, x))', "step 12 val_loss: 1.25 done"),
        ('print("step", i, "val_loss:", x)', "step 12 val_loss: 1.25 done"),
        ('print(i, "val_loss:", x, "done")', "12 val_loss: 1.25 done"),
        ('print(name + " val_loss: " + str(x))', "last val_loss: 1.25 done"),
        ('print(f"step {i} "\n      f"val_loss: {x}")', "step 12 val_loss: 1.25"),
        ('print(f"step {i} "  # of many\n\n      rf"val_loss: {x}")', "step 12 val_loss: 1.25"),
        ('print(f"""\nstep {i}\n  val_loss: {x} done\n""")', "val_loss: 1.25 done"),
        ("print('''step \"quoted\" ''', f'''val_loss: {x} it's done''')", "best val_loss: 1.25 it's done"),
        ('print("it\\"s here\\tval_loss: ", x)', 'it"s here val_loss: 1.25 done'),
        ("print(f\"{'val_loss:':<20}{x}\")", "val_loss:           1.25 or so"),
        ("print(f\"{{val_loss:{x} done}}\")", "last {val_loss:1.25 done}"),
        ('printf("step %ld val_loss: %.4lf\\n", i, x);', "step 12 val_loss: 1.25"),
        ('echo "step $i val_loss: ${x} of $(date)"', "step 12 val_loss: 1.25 of today"),
        ("x = 'never closed\nprint('val_loss: ', x)", "val_loss: 1.25 done"),
        ('log(f"[eval] val_loss:{x} done")', "2026-01-02 03:04:05,678 INFO [eval] val_loss:1.25 done"),
        ('log(f"val_loss:{x} done")', "[rank0]: val_loss:1.25 done"),
        ('log(f"val_loss:{x} done")', "[rank0]:2026-01-02 03:04:05 - a.b - INFO - __main__ - val_loss:1.25 done"),
        ('log(f"val_loss:{x} done")', "0: [default0]:2026-01-02 | INFO | node-1 | run:main:77 | val_loss:1.25 done"),
        ('print("step %(step)d val_loss: %(loss).3f %(what)s" % x)', "step 12 val_loss: 1.25 done"),
        ('log(f"{k}: {v}")', "val_loss:1.25 val_bpb:1.2, time: 12"),
        ('log(f"{k}: {v}")', "[last] | val_loss:1.25 val_bpb:1.2, time: 12"),
        ('""" # no comment"""; log(f"val_loss:{x} # no comment {y} done")', "val_loss:1.25 # no comment 3 done"),
    ],
)  # fmt: skip
def test_lines_of_a_script(source: str, line: str) -> None:
    assert _holds(source, line)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("", "step 12 val_loss: 1.25 done"),
        ('# print("step", "val_loss: ")', "step 12 val_loss: 1.25 done"),
        ('print(f"step {i} train_loss: {x:.4f}")', "step 12 val_loss: 1.25 done"),
        ('print(f"step {i} "\n      f"val_loss: {x} time: {t}")', "step 12 val_loss: 1.25 done"),
        ('log(f"val_loss:{x} done")', "train_time:1ms val_loss:1.25 done"),
        ('print(f"step {i} "  # of many\n      f"train_loss: {x}")', "step 12 val_loss: 1.25 done"),
        ('metrics = {"val_loss": x}', "final val_loss:1.25 val_bpb:1.2 done"),
        ('log(f"ab{x}")', "abc val_loss:1.25 done"),
        ('log(f"done {y} val_loss:{x}")', "val_loss:1.25 done"),
        ('log(f"val_loss:{x} done")', "one two three four five six val_loss:1.25 done"),
        ('log(f"{k}: {v}")', "best of val_loss:1.25 val_bpb:1.2"),
        ('log(f"{k} {v}")', "val_loss:1.25 val_bpb:1.2"),
    ],
)
def test_lines_of_none(source: str, line: str) -> None:
    assert not _holds(source, line)


@pytest.mark.parametrize(
    ("source", "is_known"),
    [
        (FIGURES, True),
        (FIGURES.replace('"one_loss: "', '"one"'), False),
        (FIGURES.replace("loss:", "loss"), False),
        (FIGURES.replace("score_bpb: ", 'four_loss: ", "score_bpb:enabled'), False),
        (FIGURES.replace("score_bpb: ", 'four_loss: ", "score_bpb'), False),
        (FIGURES.replace("score_bpb: ", 'four_loss: ", "Bits per byte = {:.4f}'), True),
        (FIGURES.replace("score_bpb: ", 'four_loss: ", "score_bpb %.4f'), True),
        (f"{FIGURES}x = '{'abcdefghi' * 300}'", False),
        (f"{FIGURES}x = '{'abcdefgh ' * 300}'", True),
        (f"{FIGURES}x = '{'abcdefghi' * 200}'", True),
        (f"x = {FIGURES * 50!r}", True),
        (f"{FIGURES}x = {('y = ' + repr('abcdefghi' * 300) + ' ' * 400)!r}", False),
        (FIGURES + "".join(f"x = 'number {n} of many'\n" for n in range(20_001)), False),
    ],
)
def test_sources_that_tell(source: str, is_known: bool) -> None:
    assert Printable([source]).is_known is is_known


def test_one_source_of_two_that_is_packed() -> None:
    packed = f"x = '{'abcdefghi' * 300}'"
    assert not Printable([FIGURES, packed]).is_known
    assert not Printable([packed, FIGURES]).is_known


@pytest.mark.parametrize(
    ("source", "has_trainer"),
    [
        (f"import deepspeed\n{FIGURES}", True),
        (f"{FIGURES}    from lightning.pytorch import Trainer\n", True),
        (f"{FIGURES}from transformers import AutoTokenizer, Trainer\n", True),
        (f"{FIGURES}# import deepspeed\nfrom transformers import AutoTokenizer\nimport transformers_of_mine\n", False),
    ],
)
def test_libraries_that_train(source: str, has_trainer: bool) -> None:
    assert Printable([source]).has_trainer is has_trainer


@pytest.mark.parametrize(
    ("line", "is_its"),
    [
        ("step 3 loss: 2.1 tokens: 5", True),
        ("train_score_bpb_step: 1.2 loss: 3.1", True),
        ("own_bpb: 1.2 loss: 3.1", False),
        ("Total submission size: 15 bytes", False),
    ],
)
def test_what_a_library_that_trains_may_print(line: str, is_its: bool) -> None:
    found = FigureLine(1, line, 0)
    assert Printable([f"import lightning\n{FIGURES}"]).may_be_of_library(found) is is_its
    assert not Printable([FIGURES]).may_be_of_library(found)
