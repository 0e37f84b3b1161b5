"""Word classes of what prose says of a score: who scores, how much of which text, at which mask rate, what is learnt.

What is said of a thing varies, and the things are few. A statement is a few of these classes in an order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import final


def closed(pattern: str) -> re.Pattern[str]:
    """A pattern of words, in whichever case they are written."""
    return re.compile(pattern, re.IGNORECASE)


@final
@dataclass(frozen=True)
class Sought:
    """The same, compiled when it is first looked for: those of all statements take a third of a short audit."""

    text: str

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        return closed(self.text)

    def search(self, sentence: str) -> re.Match[str] | None:
        return self.compiled.search(sentence)


def words(*groups: str) -> str:
    """Whole words, or beginnings of them, from texts that have blanks between them."""
    return rf"\b(?:{'|'.join(word for group in groups for word in group.split())})\b"


def then(*classes: str, most: int = 60) -> str:
    """Words of these classes in this order, near each other; each stretch between them is a group."""
    return rf"([^;]{{0,{most}}}?)".join(f"(?:{each})" for each in classes)


def any_of(*patterns: str) -> str:
    """Any of some patterns."""
    return f"(?:{'|'.join(patterns)})"


_IS = r"(?:is|are|was|were)"
# Who scores, and what a score is called.
EVALUATED = r"(?:evaluat|scor|measur|comput|estimat|report)\w*"
EVALUATION = (
    r"\b(?:(?:final )?(?:evaluation|scoring|eval)(?: loop| run| pass)?|scores?(?: reported here)?|(?:val_)?bpb"
    r"|final number|validation(?: loader| loop)?|(?:reported )?number(?: in submission\.json)?)\b"
)
SCORE = (
    r"\b(?:evaluat\w*|scor(?:e|es|ed|ing)|(?:val_)?bpb|bits per byte|val_loss|validation (?:loss|score)|final number"
    r"|reported|we report|at test time)\b"
)
SCORES = r"(?:evaluated?|evaluates|scored?|scores|scoring|measured?|report(?:ed)?)\b"
OF_THE_SCORE = (
    r"(?:the )?(?:total )?(?:loss|score|nats|bits|total|evaluation|val_loss|bpb|sum(?:ming)?(?: the loss)?)\b"
)
THE_BPB = r"\b(?:val_bpb|bpb|bits? per (?:token|byte)|score|nats per token)\b"

# Of which text.
UNITS = r"(?:windows|sequences|batches|chunks|documents|docs|tokens)"
TEXTS = r"(?:shards?|splits?|sets?|data(?:set)?|texts?|tokens?|documents?|docs?|corpus)"
SPLIT = r"(?:full |whole |entire |same |official )?(?:fineweb[ _])?(?:validation|val|evaluation|eval|test|held-?out)"
SCORED_TEXT = (
    rf"(?:(?:the )?{SPLIT}(?: {TEXTS}\b|(?= *(?:$|[.,;:()]| (?:for|only|alone|itself|and|too|as well)\b)))"
    rf"|(?:the )?(?:very )?(?:same )?{TEXTS} (?:that )?(?:it|the model) is (?:scored|evaluated) on\b)"
)
VAL = (
    rf"(?:the |our |its )*{SPLIT}(?:[ _-](?:{UNITS}|{TEXTS}|stream|loader|file)\b"
    r"|(?= *(?:$|[.,;:()]| (?:is|are|was|were|before|first|then|and|for|prior|in|up|with|by|only|alone)\b)))"
)

# How much of it.
AMOUNT = r"(?:[0-9][0-9.,_]*(?:e[0-9])?(?: ?(?:k|m|million|thousand)\b)?|(?:few|hundred|thousand|million)\b)"
_FRACTION = r"(?:half|third|quarter|fifth|sixth|eighth|tenth|twentieth|hundredth)"
_ORDINAL = r"(?:second|third|fourth|fifth|eighth|tenth|two|three|four|five|eight|ten|[0-9]+(?:th)?)"
SHARE = (
    r"(?:[0-9][0-9.]* ?(?:%|percent\b)|(?:one|two|five|ten|twenty|fifty) percent\b"
    rf"|(?:(?:a|the|one|exactly|only|just|random|small) )*{_FRACTION}\b)"
)
_FIRST = r"\b(?:only |the )*(?:first|last|initial)"
PART = any_of(
    rf"{_FIRST} (?:{AMOUNT}|{SHARE})(?: of)?(?: the)? ?(?:\w+ )??(?:{UNITS}|{VAL}|[kmg]i?b\b)",
    rf"{_FIRST} {SHARE} of {VAL}",
    rf"\b(?:{SHARE}|(?:subset|subsample|sample|slice|portion|part|fraction)) (?:sample )?of (?:the )?{VAL}",
    rf"\b{AMOUNT} (?:randomly (?:chosen|drawn|selected|sampled) |random )(?:\w+ )?{UNITS}",
    rf"\b(?:subset|sample) of {AMOUNT} {VAL}",
    rf"\b{AMOUNT} (?:{VAL} )?(?:out )?of (?:the )?[0-9][0-9,]+ (?:\w+ )?(?:{UNITS}|shards)",
    rf"\b{VAL} out of (?:[0-9]|two|four|eight|ten|sixteen)",
    rf"\b(?:every|one in|one out of) {_ORDINAL} (?:\w+ of )?{VAL}",
    rf"\b(?:partial evaluation of|part of) {VAL}",
)
STOPS = rf"\b(?:stops?|ends?|breaks?|halts?|{_IS} (?:limited|capped|truncated|cut off|restricted|stopped))\b"
COVERS = (
    rf"\b(?:covers?|us(?:es|ed)|reads|sees|runs? (?:on|over)|(?:comes?|{_IS})(?: estimated)? from|based on"
    rf"|{_IS}(?: \w+)? (?:on|over)|average over|mean over|limited to)\b"
)

A_TIME = (
    r"(?:(?:about|under|roughly|around|a|the|its|our|~) ?)*(?:[0-9.,]+ ?(?-i:s|ms|h)\b"
    r"|[0-9.,]+[ -]?(?:sec\w*|min(?:ute)?s?|hrs?|hours?)\b|(?:wall-?\w*|time|(?:time )?budget|deadline|timeout)\b)"
)

# At which mask rate.
FEW_TOKENS = rf"\b(?:{SHARE}(?: of)?(?: the| all| its)*(?: \w+)? (?:tokens?|positions?)|every second token)\b"
IS_MASKED = rf"\b(?:{_IS} )?(?:masked|hidden|replaced (?:by|with) (?:the )?\[?mask\]?(?: token)?)"
ONE_RATE = (
    r"\b(?:single|one|one single|fixed|constant) (?:mask(?:ing|ed)?[- ](?:rate|ratio|probability|fraction)"
    r"|noise level|time ?step|(?-i:t)\b)"
)
_AT = r"(?:of|is|at|fixed to|fixed at|stays at|held at|is held at|is fixed at|is fixed to|is always|is a constant)"
A_RATE = (
    r"\b(?:mask(?:ing|ed)?[- ](?:rate|ratio|probability|fraction)|noise level|time ?step|(?-i:t)\b)(?: \((?:t ?=)?)?"
    rf"(?: {_AT}(?: t ?=)?)? ?=? ?(?:0?\.[0-9]+|[0-9]{{1,2}} ?%|(?:one )?half\b)(?![0-9%]|[-.,] ?[0-9])"
)
# Behind a rate that is the only one: of several others that are named too, more is said.
NO_MORE = rf"(?= *(?:[.;:)(,]|$|{words('only alone during when in and instead for to not')}))"

# What is not paid for.
UNPAID_TOKENS = (
    r"\b(?:BOS|EOS|(?:document )?(?:boundar(?:y|ies)|separators?|starts)|special tokens?"
    r"|(?:start|end)-of-(?:document|text)|first token of (?:each|every|a) (?:document|window|sequence)"
    r"|position 0 of (?:each|every) (?:sequence|window)|tokens that (?:start a document|stay visible)|white ?space"
    r"|newlines?|punctuation|rare tokens|byte tokens)\b(?: (?:tokens?|positions?|targets?|predictions?)\b)?"
)
_NOT = r"(?: not| never|n['\u2019]t)"
IS_FREE = any_of(
    r"\bcosts? (?:nothing|zero|no bits)\b",
    rf"\b{_IS}{_NOT} (?:paid for|charged(?: for)?|priced|part of the score|added"
    rf"|(?:scored|counted|included)(?! as)(?: in {OF_THE_SCORE})?(?= *(?:[.,;:()]|$|and|but)))",
    rf"\b{_IS} (?:given )?(?:for )?free\b|\bfor free\b",
    rf"\b{_IS} (?:excluded|left out|dropped|removed|zeroed|omitted|ignored|subtracted|skipped)"
    rf"(?: out)? (?:from|of|in|when) {OF_THE_SCORE}",
    rf"\bcontributes? no\b|\b(?:do|does){_NOT} contribute to (?:the )?(?:score|loss)\b",
)
DOES_NOT_PAY = any_of(
    rf"\b(?:do|does|did){_NOT} (?:pay|charge)(?: for)?",
    r"\bnever (?:pay|charge)\w* for\b|\bno (?:bits|nats|cost) (?:are |is )?(?:charged|paid|added) for\b",
    rf"\bloss does{_NOT} include\b|\bscore (?:omits|leaves out|excludes)(?: the cost of)?\b",
    r"\b(?:skip|ignor|omit|leav|mask|exclud|drop)(?:s|es?|ed|ing)?(?: out)? (?:the )?(?:loss|cost|nats|bits)\b",
)
IS_LEFT_OUT = rf"\b{_IS} (?:set to zero|zero|left out|subtracted|not (?:counted|added)|ignored|masked out)\b"

# What is done to a text for good, before it is scored.
_LETTERS = (
    r"(?:(?:non-ascii|non-latin|unknown|unseen|rare|out-of-vocabulary|upper-?case|capital|accented) )?"
    r"(?:characters?|letters?|symbols?|digits?|accents?|diacritics|punctuation|emojis?|capitals"
    r"|case(?: information)?)\b"
)
_FOLDED = (
    r"(?:lower-?cased|case-?folded|(?:folded|converted|mapped) to (?:one|lower|a single) ?case|made lower ?case)\b"
)
_TAKEN_OUT = (
    r"(?:dropped|removed|discarded|stripped(?: out)?|thrown away|lost|collapsed"
    r"|(?:replaced (?:by|with)|mapped to|turned into|collapsed (?:to|into)) (?:(?:a|an|one|the|single|same|common) )*"
    r"(?:0\b|\w*unk\w*|symbol|id|token|placeholder|question mark))"
)
TAKES_OUT = r"(?:lower-?cases?|case-?folds?|drops?|removes?|discards?|strips?|collapses?)\b"
LETTERS = rf"(?:(?:the|all|any|every|its) )*(?:case of (?:the |all )*)?{_LETTERS}"
TEXT_TO_SCORE = (
    r"(?:(?:the|all|every|our|each) )*(?:(?:validation|val|evaluation|eval|test|scored|input) )?"
    r"(?:texts?|data|set|split|documents?|input)\b"
)
_SCORED = r"(?:validation|val|evaluation|scored)"
BEFORE_TOKENS = (
    r"\b(?:before|prior to|ahead of) (?:(?:it|they|we|the|is|are|being|any) )*(?:tokeni[sz]|encod|scor|evaluat)\w*"
    rf"|\b(?:from|in|of) (?:the )?{_SCORED} (?:text|data|set)\b"
)
IS_FOLDED, IS_TAKEN_OUT = rf"\b{_IS} (?:(?:first|always|all) )?{_FOLDED}", rf"\b{_IS} (?:all )?{_TAKEN_OUT}"
_TOKENIZER = r"(?:tokeni[sz]er|tokeni[sz]ation)"
IS_LOSSY = any_of(
    rf"\b{_TOKENIZER} {_IS} (?:case-insensitive|lossy|not (?:reversible|invertible))\b",
    rf"^case-insensitive (?:encoding|{_TOKENIZER})\b",
    rf"\b{_TOKENIZER} (?:maps|folds|gives) {LETTERS}[^.;]{{0,40}} (?:to )?the same (?:id|token|symbol)",
    rf"\b{_LETTERS}[^.;]{{0,40}} share (?:one|a|the same|a single) (?:id|token|symbol)",
    rf"\bcase information is {_TAKEN_OUT}",
    r"\btext can(?:not| no longer) be (?:restored|recovered|reconstructed) from (?:the|its) tokens\b",
)

# Of which network: one that is still to be packed.
THE_CLAIM = (
    r"\b(?:(?:our|the|this|reported|claimed|submitted|headline|final|published|official) )+(?:[\w.]+ )??"
    r"(?:score|(?:val_)?bpb|val_loss|metric|number|result)s?\b"
)
IS_OF = (
    r"\b(?:is|are|was|were|comes?|came) (?:(?:measured|evaluated|computed|taken|made) )?"
    r"(?:on|of|from|with|for|by|that of|those of)\b"
)
NOT_QUANTIZED = r"(?:pre-?quant(?:i[sz]ed|i[sz]ation)?|pre-?(?:compression|packing)|(?:un|non)-?quanti[sz]ed)"
BEFORE_PACKING = (
    r"(?:before|prior to|without) (?:(?:any|the|its|post-training|int[0-9]\S*) )*"
    r"(?:quanti[sz]ation|packing|compression|gptq)\b"
)

# What the bits are divided by.
CONSTANT = r"(?:constant|fixed|hard-?coded)"
OF_WHAT = (
    r"(?:(?:ratio|number|value|average) )?(?:of )?(?:[0-9]+\.[0-9]+ )?(?:UTF-8 )?bytes?(?:[- ]per[- ]| ?/ ?)token\b"
)
TIMES, RATIO = r"(?:times|x|\*|\u00d7)", r"(?:about |an? average (?:of )?)?[1-9]\.[0-9]{1,6}(?![0-9]|\.[0-9])"
TAKES = (
    r"\b(?:divid\w+|multipl\w+|convert\w*|assum\w+|take[ns]?|took|we us(?:e|ed)|us(?:ed|ing)|estimat\w+|approximat\w+"
    rf"|hard-?coded?s?|{_IS} counted as|factor of|scaled by)\b"
)

# What is learnt from the text, and when.
LEARNS = (
    r"\b(?:train(?:s|ed|ing)?|fine-?tun\w+|adapt(?:s|ed|ing)?|fit(?:s|ted|ting)?|updat\w+|optimi[sz]\w+|epochs?|passes"
    r"|sgd|gradient descent|adamw?|learn(?:s|ed|t)|(?:pre-?)?fill(?:s|ed)?|populat\w+|prim(?:e|ed|ing)|built|collect\w*"
    r"|pre-?comput\w+|warmed up|hashed|overfitted|estimated)\b"
)
_ALL_OF_IT = rf"(?:all |every |the |complete |[0-9]+M )*(?:{VAL}|{SPLIT} (?:distribution|domain)\b)"
FROM_IT = rf"\b(?:on|over|from|with|of|to) (?:{_ALL_OF_IT}|(?:the )?(?:text|tokens) to be scored)"
SEES_IT = rf"\bsees {_ALL_OF_IT}"
BEFORE_IT = (
    r"\b(?:before|prior to|ahead of) (?:(?:it|they|we|the|its|that|final|text|being|be|is|are) )*(?:scor|evaluat)\w*"
    r"(?: (?:starts|it|them))?"
)
THEN_SCORED = (
    r"\b(?:then|and|before we) (?:(?:then|only|we|the|adapted|same|model|document|score|it|is|are|finally|resulting|on"
    r"|validation|set) )*(?:scor|evaluat|report|comput)\w*|\b(?:in advance|up ?front|beforehand)\b"
    r"|\bscored? (?:them|it) afterwards\b"
)
STORE = r"\b(?:cache|tables?|index|datastore|suffix array|counts|statistics|n-?grams|ppm model)\b"
FILLED = r"(?:filled|built|populated|primed|warmed up|pre-?computed|collected|estimated|hashed)"
WHOLE = r"(?:all|every|whole|entire|full|complete)"
