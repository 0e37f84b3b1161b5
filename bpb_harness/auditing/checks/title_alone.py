"""BPB452: a title that names a technique which no program of the record has, or which its own commands leave off.

Of a few techniques only whose names in programs are known: what a program calls otherwise is not missed for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.programs import Programs
from bpb_harness.auditing.said import text_of_log
from bpb_harness.claim.listing import NOTEBOOK
from bpb_harness.claim.readme_reader import title_of
from bpb_harness.claim.settings import set_beside, settings_of_every_command
from bpb_harness.claim.text_file import read_text
from bpb_harness.errors import ClaimError
from bpb_harness.findings import Finding, Severity, first_of


@dataclass(frozen=True)
class Technique:
    """How a technique is called.

    Attributes:
        name: in settings of a program, in small letters.
        in_title: as titles have it.
        in_programs: anything in a program or a log that may be it.
    """

    name: str
    in_title: re.Pattern[str]
    in_programs: re.Pattern[str]


def _technique(name: str, in_title: str, in_programs: str) -> Technique:
    return Technique(name, re.compile(in_title), re.compile(in_programs, re.IGNORECASE))


_TECHNIQUES = (
    _technique(
        "qat", r"(?<![A-Za-z])QAT(?![A-Za-z])|[Qq]uanti[sz]ation[- ][Aa]ware [Tt]raining",
        r"qat|fake_?q|noisy_?q|-\s?[\w.]{1,40}\s?\)\.detach\(|rand_like"
        r"|quant\w{0,12}[ _-]?(?:noise|aware)|straight|(?<![a-z])ste(?![a-z])|(?<![a-z])fq_"
        r"|round[^\n]{0,120}detach|detach[^\n]{0,120}round|(?s:class \w{1,60}\([^)\n]{0,60}Function\):.{0,600}round)",
    ),
    _technique(
        "ttt", r"(?<![A-Za-z])TTT(?![A-Za-z])|[Tt]est[- ][Tt]ime [Tt]raining",
        r"ttt|test[ _-]?time|adapt|lora|online|fine_?tun|dyn(?:amic)?_?eval|score[ _-]?(?:first|then)|fast[ _]?weight"
        r"|(?s:(?:backward\(.*?){3})",
    ),
    _technique(
        "moe", r"(?<![A-Za-z])MoE(?![A-Za-z])|[Mm]ixture[- ]of[- ][Ee]xperts",
        r"moe|expert|class \w{0,30}mixture|rout(?:er|ing|ed)|(?<!_)switch_?[a-z]|gat(?:e|ing)\(|top_?k\(",
    ),
    _technique(
        "xsa", r"(?<![A-Za-z])XSA(?![A-Za-z])",
        r"xsa|exclusive|einsum\(|self_?val|normalize\(v|v_?n(?![a-z])|v_norm|project\w{0,3} out|onto"
        r"|\((?:y|out|o|attn_?\w{0,8}) ?\* ?\w{1,20}\)\.sum\(|- ?\([^\n]{1,60}\)\.sum\(",
    ),
)  # fmt: skip
# Of packing: what a README says of its score tells whether it is of weights that went through it.
_OF_PACKING = (
    _technique(
        "gptq", r"(?<![A-Za-z])GPTQ(?![A-Za-z])",
        r"gptq|hessian|cholesky|percdamp|act_?order|error[ _-]?feedback|obq|adaround|quip",
    ),
)  # fmt: skip
_SCORE_IN_PROSE = re.compile(r"(?<![\d.])\d\.(\d{3,})(?![\d.])")
# Titles and READMEs that speak of a technique as of one that is not there, or not for this score.
_WITHOUT = (
    r"(?:no|non|not|without|w/o|pre|before|skip\w{0,4}|disabl\w{1,4}|off|drop\w{0,4}|remov\w{1,4}|plan\w{0,4}|pending|future"
    r"|untested|todo|next|never|none|zero|free|ohne|keine?|nicht|sin|ni|sans|senza"
    r"|instead of|vs\.?|versus|than|fail\w{0,4}|un)"
)
# And any of these words of a title, in the languages that titles are in, leaves open what it says of a technique.
_OF_A_DENIAL = re.compile(
    r"(?<![^\W_])(?:no|non(?![- ]?record)|not|none|never|without|w/o|zero|free|less|sans|lacks?|lacking|minus|off|pre"
    r"|before|until|ready"
    r"|skip\w*|disabl\w*|drop\w*|remov\w*|plan\w*|pending|future|untested|todo|next|instead|than|fail\w*|beyond"
    r"|toward\w*|beats?|beating|out\w*|replac\w*|avoid\w*|needs?|why|how|is|does|can|cannot|only|pure|simple[rs]?|alternativ\w*"
    r"|ohne|kein\w*|nicht|statt|sin|ni|nunca|senza|sem|nao|pas|sans|aucun\w*|zonder|geen|niet|utan|inte|uden|ikke"
    r"|bez|brez|ilman|nelkul|olmadan|tanpa|tidak)(?![^\W_])|n't|[\u0370-\u1fff\u2c80-\ud7ff]",
    re.IGNORECASE,
)
# Around a technique in a title: it is an item of a list, alone or with a few words that tell of which kind it is.
_ITEM = (
    r"(?:^|[+,/|:;&(\[\u2013\u2014]|(?<=\s)-(?=\s)|(?<=\w)_)\s{{0,4}}(?:(?:[Ll]egal|[Ll]ate|[Ss]core-[Ff]irst|[Ii]nt[0-9]"
    r"|STE|[0-9]{{1,2}}L|[Nn]ative|[Ff]ull|[Ww]armdown|[Ee]arly|[Ss]parse|[Tt]op-[0-9]|[Pp]hased)[ _-]){{0,3}}"
    r"(?:{name})[0-9]{{0,2}}\s{{0,4}}(?:$|[+,/|:;&()\]\u2013\u2014]|(?<=\s)-(?=\s)|_(?=\w))"
)
_OF_A_TRACK = re.compile(r"(?<![a-z])non[- _]?record", re.IGNORECASE)
_DENIES = (
    r"(?<![a-z]){without}[ :(*`_-]{{1,4}}(?:\w{{1,12}}[ -]){{0,2}}{name}",
    r"{name}[^.\n|]{{0,40}}(?<![a-z]){without}(?![a-z])",
)
_OF_STUDIES = re.compile(
    r"ablat|negative|study|studies|compar|versus|\bvs\b|control|analysis|investigat|explor", re.IGNORECASE
)
_SWITCH = r"(?:USE_|ENABLE_)?(?:LATE_)?{name}(?:_ENABLED?|_ON)?"
_ASKED = re.compile(
    r"(?:environ\.get|getenv)\(\s{0,4}[\"']([A-Z][A-Z0-9_]{1,59})[\"']\s{0,4},\s{0,4}([^(),\n]{1,40})\)"
)
_OFF = frozenset({"0", "False", "false", "0.0", "off"})
# What a switch governs, and does not switch by itself.
_OF_A_SWITCH = re.compile(
    r"(?:THRESHOLD|NUM_EXPERTS|TOP_?K|COEFF?|WEIGHT|RANK|LR|EPOCHS|CHUNK|DECAY|EVERY|BITS|ALPHA)(?:_|$)"
)
_OF_JOBS = re.compile(
    r"(?:.*\.(?:sh|bash|slurm|sbatch|pbs|ya?ml|toml|env|json|cfg|ini|conf|mk)|\.env.*|make\w*|dockerfile.*|justfile|procfile)",
    re.IGNORECASE,
)
_MAX_FILES, _LARGEST_FILE = 60, 1 << 18
_PACKED = re.compile(r"[^\s]{1000}")
_MOST_CHARACTERS = 2**22
_MAX_NAMES = 3


def check_title_alone(evidence: Evidence, programs: Programs) -> Iterator[Finding]:
    """Hold what a title names against the programs, the logs of the score and the commands of a record."""
    yield from _of_weights_before(evidence, programs)
    named = [each for each in _TECHNIQUES if title_with(evidence, each) is not None]
    is_plain = all(file.suffix != NOTEBOOK for file in programs.files) if named and programs.folders else False
    if not is_plain or not evidence.claim.scripts:
        return
    texts, logs = programs.texts_of(programs.files, _MOST_CHARACTERS), _texts_of_logs(evidence)
    if not texts or not logs or any(map(_PACKED.search, texts)):
        return
    names = first_of([script.name for script in evidence.claim.scripts], _MAX_NAMES)
    for technique in named:
        title = title_with(evidence, technique) or ""
        words = f"the title names {technique.in_title.findall(title)[0]} ({title!r})"
        if not any(technique.in_programs.search(text) for text in (*texts, *logs)):
            message = (
                f"{words}, which no program of the record does, and neither does the log that prints the score: either "
                f"what ran is not {names}, or the title is of something else"
            )
        elif (switch := _left_off(evidence, technique, texts, logs)) is not None:
            message = (
                f"{words}, which {names} leaves off unless {switch} is set, and no command of the README sets that: "
                "either the score is of another command, or the title is of something else"
            )
        else:
            continue
        missing = "the script, the command and the log of the run that the title names"
        yield codes.TITLE_ALONE.finding(message, title=title, technique=technique.name, missing=missing)
        return


def _of_weights_before(evidence: Evidence, programs: Programs) -> Iterator[Finding]:
    """A score that the README calls one from before what the title names, and that no program of the record does."""
    readme, titles = evidence.claim.readme, titles_of(evidence)
    named = [(each, title) for each in _OF_PACKING for title in titles if each.in_title.search(title)]
    if readme is None or not named or any(_OF_STUDIES.search(each) or denies_anything(each) for each in titles):
        return
    if not evidence.claim.scripts or any(file.suffix == NOTEBOOK for file in programs.files):
        return
    texts, logs = programs.texts_of(programs.files, _MOST_CHARACTERS), _texts_of_logs(evidence)
    if not texts or not logs or any(map(_PACKED.search, texts)):
        return
    for technique, title in named:
        number = _line_that_denies(evidence, readme.text, technique)
        if number is None or any(technique.in_programs.search(text) for text in (*texts, *logs)):
            continue
        words = technique.in_title.findall(title)[0]
        message = (
            f"the title names {words} ({title!r}), and {readme.file}:{number} says of the score itself that it is from "
            f"before {words}; no program of the record does it, and neither does the log that prints the score"
        )
        is_told = Severity.INFORMS  # the README says which score it is
        yield codes.TITLE_ALONE.finding(message, severity=is_told, title=title, technique=technique.name)
        return


def _line_that_denies(evidence: Evidence, readme: str, technique: Technique) -> int | None:
    """The line of a README that says of the claimed score alone that it is without a technique; None where any differs.

    A line with two scores may speak of the other one.
    """
    name, found = technique.in_title.pattern, []
    for number, line in enumerate(readme.split("\n"), 1):
        scores = [(float(match[0]), len(match[1])) for match in _SCORE_IN_PROSE.finditer(line)]
        if not any(_is_claimed(evidence, *score) for score in scores):
            continue
        if len(scores) == 1 and re.search(rf"(?i:(?<![a-z])(?:pre|before|without|w/o))[ -]{{1,3}}{name}", line):
            found.append(number)
        elif technique.in_title.search(line):
            return None
    return found[0] if found else None


def _is_claimed(evidence: Evidence, value: float, decimals: int) -> bool:
    score = evidence.claim.score
    return score is not None and abs(score.value - value) <= 0.505 * 10.0**-decimals


def title_with(evidence: Evidence, technique: Technique) -> str | None:
    """The title that names a technique as its own; None where no title does, or the README denies it somewhere."""
    claim, titles = evidence.claim, titles_of(evidence)
    listed = listing_title(titles, technique)
    if listed is None:  # most titles name none, and what would deny it is looked for in all of the README
        return None
    texts = [*titles, *(words for _, words in claim.said), claim.readme.text if claim.readme is not None else ""]
    if any(_OF_STUDIES.search(title) or _OF_A_DENIAL.search(title) for title in titles):
        return None
    for denying in _DENIES:
        pattern = denying.format(without=_WITHOUT, name=f"(?:{technique.in_title.pattern}|{technique.name})")
        if any(re.search(pattern, _OF_A_TRACK.sub("", text), re.IGNORECASE) for text in texts):
            return None
    return listed


def titles_of(evidence: Evidence) -> list[str]:
    """What a record calls itself: in its JSON, and at the head of its README."""
    readme = evidence.claim.readme
    heading = title_of(readme) if readme is not None else None
    return [each for each in (evidence.claim.title, heading) if each]


def listing_title(titles: Sequence[str], technique: Technique) -> str | None:
    """The first title that has a technique as an item of a list."""
    item = _ITEM.format(name=technique.in_title.pattern)
    return next((title for title in titles if re.search(item, title)), None)


def denies_anything(title: str) -> bool:
    """Whether a title has a word that may deny what stands in it."""
    return _OF_A_DENIAL.search(title) is not None


def _texts_of_logs(evidence: Evidence) -> list[str]:
    """The logs of the score, whole, with the scripts in them; none where one of them cannot be read."""
    texts = [text_of_log(log) for log in evidence.claim_logs if log.path is not None]
    return texts if all(texts) else []


def texts_beside(evidence: Evidence) -> Iterator[str]:
    """Files of jobs, builds and settings in the folders of the scripts and right below; a switch may be set in any."""
    folders = dict.fromkeys(script.parent for script in evidence.claim.scripts)
    files = (file for folder in folders for pattern in ("*", "*/*") for file in sorted(folder.glob(pattern)))
    for file in islice((file for file in files if _OF_JOBS.fullmatch(file.name)), _MAX_FILES):
        try:
            yield read_text(file, file.name, _LARGEST_FILE).text
        except ClaimError:
            continue  # a link, say


def _may_be_set(technique: Technique, switches: Sequence[str], programs: Sequence[str], others: Sequence[str]) -> bool:
    """Whether programs, flags, files of settings or words may switch a technique on that no command does."""
    name, plain = technique.name, [_COMMENT.sub("", text) for text in programs]
    asked = [match[1] for text in plain for match in _ASKED.finditer(text)]
    for each in switches:
        if sum(len(re.findall(rf"(?<!\w){each}(?!\w)", text)) for text in plain) > asked.count(each):
            return True  # a launcher's, or the script's own: os.environ["QAT_ENABLED"] = "1"
    on = rf"(?<![a-z])(?:use_|enable_)?(?:late_)?{name}(?:_enabled?|_on)?[\"']?\s?[:=]\s?[\"']?(?:true|1|yes|on)\b"
    flag = rf"(?<![\w-])--(?:[a-z0-9]{{1,12}}[-_]){{0,3}}{name}(?![a-z])"
    called = rf"(?<![a-z]){name}(?![a-z])|{technique.in_title.pattern.lower()}"
    words = rf"(?:{called})[^.\n]{{0,60}}(?:switched on|turned on|enabled|(?:is|are) on\b)"
    return any(re.search(on, text.lower()) for text in (*plain, *others)) or any(
        re.search(f"{flag}|{words}", text.lower()) for text in others
    )


_COMMENT = re.compile(r"(?:^|\s)#[^\n]*")


def _left_off(evidence: Evidence, technique: Technique, programs: Sequence[str], logs: Sequence[str]) -> str | None:
    """The switch of a technique that no command of the README sets, and no shell script; None where others may be."""
    readme, name = evidence.claim.readme, technique.name.upper()
    asked: dict[str, set[str]] = {}
    for match in (match for text in programs for match in _ASKED.finditer(text)):
        if name in match[1].split("_"):
            asked.setdefault(match[1], set()).add(match[2].strip().strip("\"'"))
    switches = [each for each in asked if re.fullmatch(_SWITCH.format(name=name), each)]
    others = [each for each in asked if each not in switches and not _OF_A_SWITCH.search(each)]
    beside = (*set_beside(evidence.claim.scripts), *texts_beside(evidence))
    if readme is None or not switches or others or not all(asked[each] <= _OFF for each in switches):
        return None
    if _may_be_set(technique, switches, programs, (readme.text, *beside)):
        return None
    is_told = any(each in text for each in switches for text in (readme.text, *beside))
    is_told |= any(technique.in_title.search(text) or name.lower() in text.lower() for text in logs)
    return None if is_told or not settings_of_every_command(readme.text) else switches[0]
