"""Settings that a README states of its own run: in commands, in lists and tables of nothing else.

``TRAIN_SEQ_LEN=2048 python train.py``, ``- Layout: `NUM_LAYERS=10 MODEL_DIM=512` ``, ``| num_layers | 11 |``, and
``- 10 layers, 512 dim, 8 heads``. They count at the top and under the usual headings of a run alone, and where what is
said in front of them is usual too: what any other words are of (a draft, another machine, a baseline) is left open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bpb_harness.claim.settings import is_of_a_trial, settings_of_every_command
from bpb_harness.claim.settings_told import quantity

_LARGEST = 1 << 18  # characters
_NAME = r"[A-Z][A-Z0-9_]{2,59}"
_VALUE = r"[-+]?[0-9][0-9_,]{0,18}(?:\.[0-9]{1,18})?(?:[eE][-+]?[0-9]{1,3})?|[Tt]rue|[Ff]alse"
_SPAN = rf"`{_NAME}=(?:{_VALUE})(?: {{1,4}}{_NAME}=[^\s`]{{1,40}}){{0,30}}`"
_ITEM = re.compile(
    rf" ?[-*+] (?P<label>[A-Za-z][A-Za-z /()-]{{0,40}}: ?)?"
    rf"(?P<spans>{_SPAN}(?:[,;.]? {{1,4}}{_SPAN}){{0,20}})[.,;]?\s{{0,4}}"
)
_ASSIGNED = re.compile(rf"(?<![\w$.=-])(?P<name>{_NAME})=(?P<value>{_VALUE})(?=[\s`,;]|$)")
_ROW = re.compile(
    rf"\s{{0,4}}\|\s{{0,20}}[`*]{{0,3}}(?P<name>[A-Za-z][A-Za-z0-9_]{{2,59}})[`*]{{0,3}}\s{{0,40}}\|"
    rf"\s{{0,20}}[`*]{{0,3}}(?P<value>{_VALUE})[`*]{{0,3}}\s{{0,40}}\|\s{{0,4}}"
)
_OF_SETTINGS = (
    r"(?:hyper-?)?(?:param(?:eter)?|setting|config(?:uration)?|option|variable|key|name|hparam"
    r"|env(?:ironment)?(?: var(?:iable)?)?)s?"
)
_HEAD = re.compile(
    rf"\s{{0,4}}\|\s{{0,20}}\**{_OF_SETTINGS}\**\s{{0,40}}\|\s{{0,20}}\**(?:value|setting|this run|ours)s?\**"
    r"\s{0,40}\|\s{0,4}",
    re.IGNORECASE,
)
# The network in words: layers and their width in one item.
_OF_A_PART = (
    r"(?![ -](?i:heads?|kv|mlp|hidden|(?:\w{1,12} )?embed|bigram|input|output|vocab|rope|matrix|attention|expansion"
    r"|key|value|context|batch))"
)
_SHAPE = re.compile(
    r" ?[-*+] \**(?P<layers>[1-9][0-9]?)[ -](?:transformer )?layers?\**, {0,2}(?:(?P<dim>[1-9][0-9]{1,3})[ -]?"
    rf"(?:d|dim|dims|dimensions?|wide)\b{_OF_A_PART}"
    r"|(?:dim|width|d_model|model_dim) ?=? ?(?P<width>[1-9][0-9]{1,3})\b)"
)
_HEADS = re.compile(
    r"(?<![\w.-])(?P<number>[1-9][0-9]{0,2}) (?:(?:attention|query|q) )?heads\b(?! (?:kv|dim|output|input|of|per))",
    re.IGNORECASE,
)
# All words of a heading, a label or a line in front of what a README states of its own run.
_USUAL = frozenset(
    re.findall(
        r"[a-z]+",
        """
    a all an and are as at baked by for from has have in into is its of on our ours that the this to under used
    we with approach architecture artifact best claim claimed code component components core default defaults
    design details exact stack
    final full gpt gpus info information key log main metric metrics overall overview own py record result
    results run runs score script scores seed seeds setting settings setup sliding statistics submission
    submitted summary technique techniques torchrun train trained training val variable variables vars bpb env
    environment json value values loss mean std command commands config configs configuration configurations
    hyperparameter hyperparameters param parameter parameters params hyper hparams options reproduce reproducing
    reproducibility reproduction reproductions running adam adamw attention batch batches batching bias bigram
    bytes cap capped context decay depth dim dimension dimensions embed embeddings embedding expansion gqa grad
    head heads hidden input kv layer layers layout learning length lr matrix mlp model momentum muon network
    norm optimiser optimizer output path rate rates relu rope schedule seq sequence sequences shape size sizes
    skip tied tokens transformer unet vocab vocabulary volume warmdown warmup wd weight wide width
        """,
    )
)
_HEADING = re.compile(r"(?P<level>#{1,6}) +(?P<words>\S.{0,200})")
_FENCE = re.compile(r"(?P<indented> {0,8})(?:```|~~~)")
_LIST = re.compile(r"\s{0,40}(?:[-*+]|[0-9]{1,3}[.)]) ")
_UNDERLINE = re.compile(r"(?:=+|-+)\s{0,40}")
# Numbers that name no other run: of a heading, of seeds, scores.
_NUMBERED = re.compile(
    r"^\W{0,8}[0-9]{1,2}[.)] |(?<!\w)[0-9]{1,5}[- ]seeds?(?!\w)|(?<!\w)seed[ =]?[0-9]{1,5}(?!\w)|[0-9]\.[0-9]+"
)
_WORD = re.compile(r"[^\W_]+")
# What starts a run whose settings stand elsewhere.
_STARTER = re.compile(
    r"^[ \t$!]{0,8}(?:[A-Z][A-Z0-9_]{0,59}=\S{1,80} {1,4}){0,20}"
    r"(?:(?:bash|sh|zsh|source|sbatch|srun|qsub|make|just|docker|modal) "
    r"|\.{0,2}/?[\w./-]{1,80}\.(?:sh|slurm|sbatch)(?![\w.]))",
    re.MULTILINE,
)


@dataclass(frozen=True)
class StatedSetting:
    """A setting that a README states of its run.

    Attributes:
        words: its words for it.
        values: what it may be by them: several where commands differ.
        line: the line.
    """

    words: str
    values: tuple[str, ...]
    line: int


def stated_settings(text: str) -> Mapping[str, StatedSetting]:
    """The settings that a README states of its own run, by name in small letters.

    Args:
        text: the README.
    """
    own = lines_of_the_claim(text, with_words_before=True)
    found: dict[str, list[StatedSetting]] = {}
    for name, stated in (*_in_commands("\n".join(own), text), *_in_lists(own), *_in_tables(own)):
        found.setdefault(name, []).append(stated)
    return {name: _one_of(stated) for name, stated in found.items()}


def lines_of_the_claim(text: str, *, with_words_before: bool = False) -> list[str]:
    """The lines of a README at its top and under the usual headings of a run; all others are left empty.

    Args:
        text: the README.
        with_words_before: whether what is said in front of a list, a table or a fence is to be usual, too.
    """
    kept: list[str] = []
    above: list[tuple[int, bool]] = []  # headings but for the title: how deep, and whether they are usual
    said = before = comment = ""  # the last words, the last line that is not empty, the last comment in a fence
    inside = is_outside = False  # of a fence; of what is usual, for where it stands
    for line in text[:_LARGEST].split("\n"):
        heading, fence = None if inside else _HEADING.match(line), _FENCE.match(line)
        if heading is not None:
            level = len(heading["level"])
            is_title = not any(each.strip() for each in kept) and not before
            above = [each for each in above if each[0] < level]
            above += [] if is_title else [(level, _is_usual(heading["words"]))]
            said = ""
        elif fence is not None:
            inside, comment = not inside, ""
            is_outside = inside and (fence["indented"] != "" or (not before.startswith("#") and not _is_usual(before)))
        elif inside:
            comment = line if line.lstrip().startswith("#") else comment
        elif line.strip() and not line.lstrip().startswith("|") and not _LIST.match(line):
            said = line if not _UNDERLINE.fullmatch(line) else said
        if line.strip():
            before = line
        is_usual = all(usual for _, usual in above)
        if with_words_before and heading is None:
            is_usual = is_usual and not is_outside and _is_usual(said) and _is_usual(comment)
        kept.append(line if is_usual or fence is not None else "")
    return kept


_DEFAULTS = re.compile(r"\W*(?:(?:the|all|our|script) )?defaults?(?![a-z])", re.IGNORECASE)  # of which a run has others


def _is_usual(words: str) -> bool:
    """Whether all of some words are usual of a README's own run."""
    return not _DEFAULTS.match(words) and all(
        word.lower() in _USUAL for word in _WORD.findall(_NUMBERED.sub(" ", words))
    )


def _one_of(stated: list[StatedSetting]) -> StatedSetting:
    values = tuple(dict.fromkeys(value for each in stated for value in each.values))
    return StatedSetting(stated[0].words, values, stated[0].line)


def _in_commands(own: str, text: str) -> Iterator[tuple[str, StatedSetting]]:
    """What commands of the run state; where other commands of the README do without, it may be another run's."""
    if _STARTER.search(text):
        return
    always = settings_of_every_command(text)
    for name, given in settings_of_every_command(own).items():
        values = tuple(dict.fromkeys((*given, *always.get(name, ()))))
        if name not in always or any(quantity(each) is None for each in values) or is_of_a_trial(text, name):
            continue
        place = re.search(rf"(?<![\w$.=-]){name}=", own)
        line = own.count("\n", 0, place.start()) + 1 if place is not None else 1
        yield name.lower(), StatedSetting(f"{name}={' or '.join(values)}", values, line)


def _in_lists(lines: list[str]) -> Iterator[tuple[str, StatedSetting]]:
    for number, line in enumerate(lines, 1):
        item = _ITEM.fullmatch(line)
        if item is not None and _is_usual(item["label"] or ""):
            for found in _ASSIGNED.finditer(item["spans"]):
                yield found["name"].lower(), StatedSetting(found[0], (found["value"].replace(",", ""),), number)
        shape = _SHAPE.match(line)
        if shape is not None and _is_usual(re.sub(r"[0-9.]", "", line[shape.end() :])):
            words = shape[0].lstrip(" -*+\t").replace("*", "")
            yield "num_layers", StatedSetting(words, (shape["layers"],), number)
            yield "model_dim", StatedSetting(words, (shape["dim"] or shape["width"],), number)
            heads = _HEADS.search(line, shape.end())
            if heads is not None:
                yield "num_heads", StatedSetting(heads[0], (heads["number"],), number)


def _in_tables(lines: list[str]) -> Iterator[tuple[str, StatedSetting]]:
    is_of_settings = False
    for number, line in enumerate(lines, 1):
        is_of_settings = _HEAD.fullmatch(line) is not None or (is_of_settings and line.lstrip().startswith("|"))
        row = _ROW.fullmatch(line) if is_of_settings else None
        if row is not None:
            words = f"{row['name']} {row['value']}"
            yield row["name"].lower(), StatedSetting(words, (row["value"].replace(",", ""),), number)
