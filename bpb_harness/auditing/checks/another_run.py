"""BPB451: a README that gives the claimed score with settings of network or training other than its log's.

Runs are cut short by a clock, and settings of evaluations, of logging and of data differ between the commands of one
run: of these nothing follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.title_alone import texts_beside
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.of_the_run import lines_of_the_run, settings_of_the_run
from bpb_harness.auditing.said import texts_of_scripts
from bpb_harness.claim.readme_reader import read_readme
from bpb_harness.claim.settings import set_beside, settings_of_every_command
from bpb_harness.claim.settings_told import (
    SettingTold,
    is_same_setting,
    may_differ,
    quantity,
    settings_under_labels,
)
from bpb_harness.claim.stated_settings import StatedSetting, lines_of_the_claim, stated_settings
from bpb_harness.claim.worded_settings import worded_settings
from bpb_harness.findings import Finding, listed

# One of these is enough, with the word that other names of the same quantity hold.
_OF_THE_NETWORK = {"num_layers": "layer", "model_dim": "dim", "num_heads": "head", "train_seq_len": "seq"}
_OF_THE_TRAINING = frozenset(
    ("num_kv_heads", "mlp_mult", "mlp_hidden", "train_batch_tokens", "matrix_lr", "scalar_lr", "min_lr")
)
_SWITCH = "_enabled"
_FEWEST, _FEWEST_WORDED = 2, 3
_MAX_SHOWN = 4
_FOUR_DECIMALS = 5.1e-5  # half of the last digit


def check_another_run(evidence: Evidence) -> Iterator[Finding]:
    """Settings of the network or of its training that README and log give otherwise, where both give the score."""
    readme = evidence.claim.readme
    if readme is None or not _gives_the_score(evidence) or not _was_trained(evidence):
        return
    ways = (_as_named, _in_words, _under_labels)
    told, differing = next((found for way in ways if (found := way(evidence, readme.text))[1]), ({}, {}))
    if not differing:
        return
    shown = sorted(differing, key=lambda name: (name not in _OF_THE_NETWORK, differing[name].line))[:_MAX_SHOWN]
    by_readme = listed([f"`{differing[name].words}` (line {differing[name].line})" for name in shown])
    by_log = listed([f"`{told[name].words}` ({told[name].source})" for name in shown])
    message = (
        f"{readme.file} gives the claimed score with {by_readme}, and the log that prints it tells {by_log}: by the "
        "record's own words the score is of other settings than those that the README describes"
    )
    yield codes.ANOTHER_RUN.finding(
        message,
        facts={"settings": {name: [differing[name].words, told[name].words] for name in differing}},
        file=readme.file,
        missing="the log of a run with the settings that the README gives, or a README that gives those of the log",
    )


_Told: TypeAlias = Mapping[str, SettingTold]
_Stated: TypeAlias = Mapping[str, StatedSetting]


def _as_named(evidence: Evidence, text: str) -> tuple[_Told, _Stated]:
    """What differs of settings under names that both have: one of the network, or two."""
    stated = {name: each for name, each in stated_settings(text).items() if _counts(name)}
    told = settings_of_the_run(evidence, stated)
    differing = {name: each for name, each in stated.items() if _differs(evidence, name, each, told)}
    is_enough = len(differing) >= _FEWEST or any(name in _OF_THE_NETWORK for name in differing)
    return told, differing if is_enough else {}


def _in_words(evidence: Evidence, text: str) -> tuple[_Told, _Stated]:
    """What differs of settings that the README gives in words: three, or nothing."""
    stated = worded_settings(text)
    told = settings_of_the_run(evidence, stated)
    differing = {name: each for name, each in stated.items() if _differs_in_words(text, each, told.get(name))}
    return told, differing if len(differing) >= _FEWEST_WORDED else {}


def _under_labels(evidence: Evidence, text: str) -> tuple[_Told, _Stated]:
    """What differs of settings of every command that lines of the logs give under a label: two, or nothing."""
    given = {name.lower(): values for name, values in settings_of_every_command(text).items() if "_" in name}
    logged: dict[str, list[SettingTold]] = {}
    for log in evidence.claim_logs if given else ():
        for name, each in settings_under_labels(lines_of_the_run(evidence, log), log.file, given).items():
            logged.setdefault(name, []).extend(each)
    told = {
        name: each[0]
        for name, each in logged.items()
        if all(quantity(value) is not None for value in (*given[name], each[0].value))
        and not any(is_same_setting(value, one.value) for value in given[name] for one in each)
        and all(is_same_setting(one.value, each[0].value) for one in each)
    }
    stated = {name: _given(text, name, given[name]) for name in told}
    if all(_is_of_ranks(value, told[name].value) for name, each in stated.items() for value in each.values):
        return told, {}
    speaks = any(_speaks_of(text, name, told[name].value, each) for name, each in stated.items())
    return told, stated if len(told) >= _FEWEST and not speaks else {}


def _counts(name: str) -> bool:
    return name in _OF_THE_NETWORK or name in _OF_THE_TRAINING or name.endswith(_SWITCH)


def _gives_the_score(evidence: Evidence) -> bool:
    score, readme = evidence.claim.score, evidence.claim.readme
    if score is None or readme is None:
        return False
    numbers = read_readme("\n".join(lines_of_the_claim(readme.text)), readme.file).numbers
    return any(half_unit <= _FOUR_DECIMALS and score.agrees_with(value, half_unit) for value, half_unit in numbers)


def _was_trained(evidence: Evidence) -> bool:
    """Whether each run that prints the score trained its network, too: the settings of an evaluation may be idle."""
    lines = [*evidence.lines, *evidence.siblings]
    return bool(lines) and all(
        any(other.is_training_step for other in evidence.run_of(line))
        or ((log := evidence.log_of(line)) is not None and line.run in log.last_steps)
        for line in lines
    )


def _differs(evidence: Evidence, name: str, stated: StatedSetting, told: Mapping[str, SettingTold]) -> bool:
    """Whether the README gives a setting other values than the log, and neither speaks of the other's."""
    logged = told.get(name)
    if logged is None or any(
        not may_differ(value, logged.value) or is_same_setting(value, logged.value) for value in stated.values
    ):
        return False
    assert evidence.claim.readme is not None
    text = evidence.claim.readme.text
    if _speaks_of(text, name, logged.value, stated) or _is_set_beside(evidence, name, logged.value):
        return False
    if (
        name == "num_layers"
        and _USED_AGAIN.search(text)
        and all(_is_more(each, logged.value) for each in stated.values)
    ):
        return False  # so many of them in effect
    if name == "num_layers" and _are_of_parts(text, logged.value, stated):
        return False
    if name in _OF_THE_NETWORK and _stands_beside(text, logged.value, stated):
        return False
    if name == "train_batch_tokens" and all(_is_of_ranks(each, logged.value) for each in stated.values):
        return False
    word = _OF_THE_NETWORK.get(name)
    return word is None or not any(
        re.search(
            rf"{word}[a-z_]{{0,20}}[\"']?\s?[:=](?:[^\n]{{0,40}}(?:->|=>|,|\bto|\[))?\s?{re.escape(value)}(?![\w.])",
            line,
            re.IGNORECASE,
        )
        for log in evidence.claim_logs
        for _, line in lines_of_the_run(evidence, log)
        for value in stated.values
    )


_USED_AGAIN = re.compile(
    r"loop|recur|shar(?:ed|ing)|re-?us|repeat|unroll|univers|twice|virtual|effective", re.IGNORECASE
)
_RANKS = frozenset((2, 4, 8, 16, 32))


def _is_more(one: str, other: str) -> bool:
    numbers = quantity(one), quantity(other)
    return numbers[0] is not None and numbers[1] is not None and numbers[0] > numbers[1]


def _is_of_ranks(whole: str, part: str) -> bool:
    """Whether a number is as many times another as there may be processes, of which each has its part."""
    one, other = quantity(whole), quantity(part)
    return one is not None and other is not None and any(one == number * other != 0.0 for number in _RANKS)


def _are_of_parts(text: str, value: str, stated: StatedSetting) -> bool:
    """Whether a README's layers are those of parts of the network, or some that the log leaves out."""
    every = {int(found[1]) for found in _LAYERS.finditer(text)}
    own, logged = [int(each) for each in stated.values if each.isdecimal()], quantity(value)
    return sum(own) == logged or any(abs(each - (logged or 0.0)) in every for each in own)


_LAYERS = re.compile(r"(?<![\w.-])([1-9][0-9]?)[ -](?:\w{1,12} )?layers?\b", re.IGNORECASE)


def _stands_beside(text: str, value: str, stated: StatedSetting) -> bool:
    """Whether the item that gives a setting has the log's number of it too, of whatever."""
    line = text.split("\n")[stated.line - 1].lstrip()
    return line[:1] in "-*+" and re.search(rf"(?<![\w.]){re.escape(value)}(?![\w.])", line) is not None


def _is_set_beside(evidence: Evidence, name: str, value: str) -> bool:
    """Whether a shell script or a file of a job beside the scripts, or a launcher, gives a setting the log's value."""
    beside = set_beside(evidence.claim.scripts).get(name.upper(), ())
    given = re.compile(
        rf"(?<!\w){name}[\"']?\]?\s?[:=]\s?[\"']?{re.escape(value.removesuffix('.0'))}(?![\w.])", re.IGNORECASE
    )
    texts = (*texts_beside(evidence), *texts_of_scripts(evidence.claim.scripts))
    return any(is_same_setting(each, value) for each in beside) or any(given.search(text) for text in texts)


def _given(text: str, name: str, values: Sequence[str]) -> StatedSetting:
    place = re.search(rf"(?<![\w$]){name}=", text, re.IGNORECASE)
    line = text.count("\n", 0, place.start()) + 1 if place is not None else 1
    return StatedSetting(f"{name.upper()}={' or '.join(values)}", tuple(values), line)


def _differs_in_words(text: str, stated: StatedSetting, logged: SettingTold | None) -> bool:
    """Whether a README gives a setting in words, and the log's value of it nowhere."""
    if logged is None or quantity(logged.value) is None:
        return False
    is_there = re.search(rf"(?<![0-9.]){re.escape(logged.value.lstrip('0'))}(?![0-9])", text.replace("0.", "."))
    return is_there is None and not any(is_same_setting(value, logged.value) for value in stated.values)


def _speaks_of(text: str, name: str, value: str, stated: StatedSetting) -> bool:
    """Whether a README gives a setting the log's value anywhere, of whichever run, but beside its own in a table."""
    spelt = rf"{re.escape(value.removesuffix('.0'))}(?:\.0{{1,6}})?(?!\.?\w)"
    patterns = [rf"(?<![\w.]){name}[`*\"']{{0,3}}\s{{0,3}}[:=|]\s{{0,3}}[`*\"']{{0,3}}{spelt}"]
    patterns += [rf"(?<![\w.-]){re.escape(value)}[ -]?(?:l|layers?)(?![a-z])"] if name == "num_layers" else []
    patterns += [rf"(?<![\w.-]){re.escape(value)} (?:\w{{1,9}} )?heads?\b"] if name == "num_heads" else []
    speaking = [line for line in text.split("\n") if any(re.search(each, line, re.IGNORECASE) for each in patterns)]
    return any("|" not in line or not any(own in line for own in stated.values) for line in speaking)
