"""Settings that a README gives in words, as items of its list or in its title: ``EMA 0.9965``, ``QK-Gain 5.25``.

Such words are often of a network that is compared with, or of a paper: one alone tells nothing, several that are all
other than those of a log do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bpb_harness.claim.stated_settings import StatedSetting, lines_of_the_claim

_BETWEEN = r"[ =:(]{1,3}"
_SHARE = r"(0?\.[0-9]{1,6})"
# By the names that logs list them under.
_WORDED = {
    "ema_decay": rf"ema(?: decay)?{_BETWEEN}(0?\.9[0-9]{{1,6}})",
    "qk_gain_init": rf"qk[- ]?gain(?: init)?{_BETWEEN}([0-9](?:\.[0-9]{{1,4}})?)",
    "muon_momentum": rf"muon(?: momentum)?{_BETWEEN}{_SHARE}",
    "warmdown_frac": rf"warmdown(?: frac(?:tion)?)?{_BETWEEN}{_SHARE}",
    "warmdown_iters": rf"warmdown(?: (?:iters|iterations|steps))?{_BETWEEN}([1-9][0-9]?,?[0-9]{{3}})",
    "matrix_lr": rf"matrix lr{_BETWEEN}{_SHARE}",
    "scalar_lr": rf"scalar lr{_BETWEEN}{_SHARE}",
    "muon_wd": rf"(?:muon )?(?:wd|weight decay){_BETWEEN}{_SHARE}",
}
_WORDS = {
    name: re.compile(rf"(?<![\w.-]){words}(?![0-9]|[.,][0-9]|\s?[%x])", re.IGNORECASE)
    for name, words in _WORDED.items()
}
_ITEM = re.compile(r"\s{0,4}(?:#|[-*+] |[0-9]{1,2}[.)] )")
# Items that tell of other runs, and what stands in front of a setting that begins a part of an item.
_OF_OTHERS = re.compile(
    r"(?<![a-z])(?:vs|versus|previous\w*|prior|baselines?|tried|worse|better|ablat\w*|compar\w*|unlike|instead|than|was"
    r"|were|originally|sota|no|not|without|defaults?)(?![a-z])|\A\W*(?:[a-z]{1,12} ){0,2}(?:pr ?#?|#)[0-9]|->|\u2192",
    re.IGNORECASE,
)
_BEGINS = re.compile(r"(?:\A\s*(?:#+|[-*+]|[0-9]{1,2}[.)])?|[,;:+(/&|]|[-\u2013\u2014]|\b(?:and|with))\s*\Z")
_MARKS = str.maketrans("_", " ", "*`")


def worded_settings(text: str) -> Mapping[str, StatedSetting]:
    """The settings that items of a README's own lists, or its title, give in words, by the names that logs give them.

    Args:
        text: the README.
    """
    found: dict[str, StatedSetting] = {}
    for number, line in enumerate(lines_of_the_claim(text), 1):
        plain = line.translate(_MARKS)
        for name, words in _WORDS.items() if _ITEM.match(line) and not _OF_OTHERS.search(plain) else ():
            for given in words.finditer(plain):
                if not _BEGINS.search(plain[: given.start()]):
                    continue  # of something else: "embed EMA 0.99"
                held = found.get(name, StatedSetting(given[0].strip(), (), number))
                value = given[1].replace(",", "")
                found[name] = StatedSetting(held.words, tuple(dict.fromkeys((*held.values, value))), held.line)
    return found
