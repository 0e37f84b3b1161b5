"""A mean over runs of several versions of a script: named, by the sizes of code that their logs state."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

LOSSES = (2.0312, 2.0372)


def _report(folder: Path, *stated: str, of_one: bool = False) -> AuditReport:
    for number, (nats, size) in enumerate(zip(LOSSES, stated, strict=True)):
        (folder / f"train_{number}.log").write_text(f"{log(nats, SP1024, seed=number)}\n{size}\n")
    mean = bpb(LOSSES[0], SP1024) if of_one else sum(bpb(nats, SP1024) for nats in LOSSES) / 2
    (folder / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    return audit(folder)


def test_the_sizes_are_named_and_nothing_follows(tmp_path: Path) -> None:
    report = _report(tmp_path, "Code size: 54,284 bytes", "Code size: 54,301 bytes")
    (found,) = report.with_code("BPB453")
    assert found.message == (
        "the runs of the mean are not of one script as it lies: their logs state other sizes of its code, 54,284 bytes "
        "by train_0.log, 54,301 bytes by train_1.log; several versions of it ran"
    )
    assert (found.severity, report.verdict) == ("info", "consistent")


def test_of_a_packed_script_the_size_before_it_counts(tmp_path: Path) -> None:
    packed = "Code size (uncompressed): 54284 bytes\nCode size (compressed): 1234{} bytes"
    assert not _report(tmp_path, packed.format(5), packed.format(6)).with_code("BPB453")
    assert not _report(tmp_path, packed.format(5), "Code size: 12345 bytes").with_code("BPB453")
    (found,) = _report(tmp_path, packed.format(5), "Code size: 12347 bytes").with_code("BPB453")
    assert found.message.endswith("several versions of it ran, or one that was packed for some of them")

    (found,) = _report(tmp_path, "Code size: 54284 bytes", "Code size: 40000 bytes").with_code("BPB453")
    assert "packed" in found.message
    (found,) = _report(tmp_path, "Code size: 54284 bytes", "Code size: 45000 bytes").with_code("BPB453")
    assert "packed" not in found.message


def test_one_score_that_two_logs_print_is_no_mean(tmp_path: Path) -> None:
    for number, size in enumerate((54_284, 54_301)):
        text = log(LOSSES[0], SP1024, seed=7)
        (tmp_path / f"train_{number}.log").write_text(f"{_listed(SETTINGS)}{text}\nCode size: {size} bytes\n")
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(LOSSES[0], SP1024), 8)))
    assert not audit(tmp_path).with_code("BPB453")


@pytest.mark.parametrize(
    ("first", "second", "of_one"),
    [
        ("Code size: 54,284 bytes", "code size: 54284 bytes", False),
        ("Code size: 54,284 bytes", "", False),
        ("Code size: 54,284 bytes", "Code size: 54,301 bytes", True),
    ],
    ids=["one size", "one states none", "the score is of one run"],
)
def test_one_version_or_none_known(tmp_path: Path, first: str, second: str, of_one: bool) -> None:
    assert not _report(tmp_path, first, second, of_one=of_one).with_code("BPB453")


SETTINGS = (
    "adam_eps:1e-08 beta1:0.9 data_dir:./data beta2:0.95 ema_decay:0.997 iterations:20000 logfile:logs/7.txt lr:0.02"
    " num_layers:11 run_id:ab12 seed:7 train_time_limit_file:x warmdown_frac:0.72"
)


def _listed(settings: str) -> str:
    return "Hyperparameters:\n" + "".join(f"  {each.replace(':', ': ', 1)}\n" for each in settings.split())


def _mean_of(folder: Path, first: str, second: str, size: str = "Code size: 54,284 bytes") -> AuditReport:
    for number, (nats, head) in enumerate(zip(LOSSES, (first, second), strict=True)):
        (folder / f"train_{number}.log").write_text(f"{head}{log(nats, SP1024, seed=number)}\n{size}\n")
    mean = sum(bpb(nats, SP1024) for nats in LOSSES) / 2
    (folder / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    return audit(folder)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (SETTINGS.replace("lr:0.02", "hash_embed:True lr:0.02"), "`hash_embed: True` in train_1.log alone"),
        (SETTINGS.replace("iterations:20000", "iterations:25000"),
         "`iterations: 20000` in train_0.log and `25000` in train_1.log"),
        (SETTINGS.replace("ema_decay:0.997 ", ""), "`ema_decay: 0.997` in train_0.log alone"),
    ],
)  # fmt: skip
def test_settings_that_one_log_lists_otherwise(tmp_path: Path, other: str, said: str) -> None:
    report = _mean_of(tmp_path, _listed(SETTINGS), _listed(other))
    (found,) = report.with_code("BPB453")
    assert found.message == f"the logs of the runs of the mean list other settings: {said}"
    assert (found.severity, report.verdict) == ("info", "consistent")
    (tmp_path / "train_1.log").write_text((tmp_path / "train_1.log").read_text().replace("54,284", "54,300"))
    (found,) = audit(tmp_path).with_code("BPB453")
    assert found.message.endswith(f"several versions of it ran; their logs list other settings: {said}")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SETTINGS, SETTINGS),
        (SETTINGS, SETTINGS.replace("seed:7", "seed:8").replace("ab12", "cd34").replace("logs/7", "logs/8")),
        (SETTINGS, SETTINGS.replace("./data", "/mnt/data").replace("file:x", "file:y")),
        tuple(
            SETTINGS.replace("lr:0.02", f"lr:0.02 master_addr:{n} session:{n} git_sha:{n} started:{n} node:{n} tag:{n}")
            for n in "ab"
        ),
        (SETTINGS, SETTINGS.replace("lr:0.02", "lr:2e-2")),
        (SETTINGS, SETTINGS.partition("ema_decay")[0].strip()),  # cut off, and few
        (SETTINGS, SETTINGS.replace("adam_eps:1e-08 ", "")),  # cut off in front
        (SETTINGS, ""),
        (SETTINGS, SETTINGS.replace("lr:0.02", "lr:0.02 lr:0.04")),  # no list of settings: a name stands twice
    ],
    ids=["same", "another seed", "other places", "of the run", "spelt otherwise", "cut off", "front", "none", "twice"],
)
def test_settings_that_are_not_shown_to_differ(tmp_path: Path, first: str, second: str) -> None:
    assert not _mean_of(tmp_path, _listed(first), _listed(second)).with_code("BPB453")


def test_lines_that_a_run_prints_as_it_goes_are_no_settings(tmp_path: Path) -> None:
    heads = ["".join(f"  progress_{step}: {step * seed}\n" for step in range(5)) for seed in (1, 2)]
    assert not _mean_of(tmp_path, *heads).with_code("BPB453")
    unindented = SETTINGS.replace(" ", "\n").replace(":", ": ") + "\n"
    assert not _mean_of(tmp_path, unindented, unindented.replace("0.02", "0.03")).with_code("BPB453")


def test_other_lists_of_a_log_are_none_of_its_settings(tmp_path: Path) -> None:
    machines = ["".join(f"  gpu_{gpu}: {gpu * kind} W\n" for gpu in range(1, 11)) for kind in (300, 350)]
    heads = [f"{_listed(SETTINGS)}machine:\n{machine}" for machine in machines]
    assert not _mean_of(tmp_path, *heads).with_code("BPB453")
    heads = [f"machine:\n{machine}{_listed(SETTINGS)}" for machine in machines]
    assert not _mean_of(tmp_path, *heads).with_code("BPB453")
    deeper = [
        f"{_listed(SETTINGS)}    block_0: {kind}\n" for kind in ("attention", "none")
    ]  # what the last has below it
    assert not _mean_of(tmp_path, *deeper).with_code("BPB453")
    assert not _mean_of(tmp_path, _listed(SETTINGS), deeper[0]).with_code("BPB453")


def test_a_setting_that_two_of_three_logs_list(tmp_path: Path) -> None:
    heads = [
        SETTINGS,
        SETTINGS.replace("lr:0.02", "hash_embed:1 lr:0.02"),
        SETTINGS.replace("lr:0.02", "hash_embed:1 lr:0.02"),
    ]
    losses = (2.0312, 2.0342, 2.0375)
    for number, (nats, head) in enumerate(zip(losses, heads, strict=True)):
        (tmp_path / f"train_{number}.log").write_text(f"{_listed(head)}{log(nats, SP1024, seed=number)}\n")
    mean = sum(bpb(nats, SP1024) for nats in losses) / 3
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    (found,) = audit(tmp_path).with_code("BPB453")
    assert found.message.endswith("list other settings: `hash_embed: 1` in train_1.log and 1 other")


def test_of_several_starts_the_one_before_the_score_is_meant(tmp_path: Path) -> None:
    other = SETTINGS.replace("iterations:20000", "iterations:100")
    twice = f"{_listed(other)}step:1/100 train_loss:7.0\n{_listed(SETTINGS)}"
    assert not _mean_of(tmp_path, _listed(SETTINGS), twice).with_code("BPB453")
    (found,) = _mean_of(tmp_path, _listed(other), twice).with_code("BPB453")
    assert "`iterations: 100` in train_0.log and `20000` in train_1.log" in found.message
    after = tmp_path / "train_1.log"
    after.write_text(f"{after.read_text()}{_listed(other)}step:1/100 train_loss:7.0\n")  # begun again, not ended
    (found,) = audit(tmp_path).with_code("BPB453")
    assert "`iterations: 100` in train_0.log and `20000` in train_1.log" in found.message


@pytest.mark.parametrize(("switches", "is_told"), [(("False", "False"), False), (("0", "0"), False),
                                                   (("True", "True"), True), (("False", "True"), True)])  # fmt: skip
def test_settings_of_what_is_off_in_all_of_them_do_nothing(
    tmp_path: Path, switches: tuple[str, str], is_told: bool
) -> None:
    heads = [
        _listed(SETTINGS.replace("warmdown", f"ttt_enabled:{on} ttt_epochs:{number + 1} warmdown"))
        for number, on in enumerate(switches)
    ]
    assert bool(_mean_of(tmp_path, *heads).with_code("BPB453")) is is_told


def test_a_setting_of_0_switches_nothing_off(tmp_path: Path) -> None:
    heads = [_listed(SETTINGS.replace("warmdown", f"ttt:0 ttt_epochs:{number} warmdown")) for number in (1, 2)]
    (found,) = _mean_of(tmp_path, *heads).with_code("BPB453")
    assert "`ttt_epochs: 1` in train_0.log and `2` in train_1.log" in found.message
