"""Plain statements that would void the score that they speak of, by what they mean: word classes and their order.

What is said of a thing varies, and the things are few: who scores, how much of which text, at which mask rate, what is
learnt from what before which, what is not paid for, what the bits are divided by.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_EVALUATED = r"(?:evaluat|scor|measur|comput|estimat|report)\w*"
# The same in a few other languages, as plainly.
_TRAINED_ON_IT_ELSEWHERE = (
    r"\bauf (?:den|dem|der) (?:Validierungs|Test|Eval(?:uations)?)-?(?:daten|set|satz|menge|text) (?:\w+ )?trainiert\b"
    r"|\bentra[i\u00ee]n\u00e9e? sur (?:les donn\u00e9es|l['\u2019]ensemble|le jeu) de (?:validation|test)\b"
    r"|\bentrenad[oa] (?:con|en|sobre) (?:los datos|el conjunto|el texto) de (?:validaci\u00f3n|prueba)\b"
    r"|\u5728\u9a8c\u8bc1(?:\u96c6|\u6570\u636e)\u4e0a(?:\u8fdb\u884c)?\u8bad\u7ec3"
)
_UNITS = r"(?:windows|sequences|batches|chunks|documents|docs|tokens)"
_HARD = r"(?:hard(?:est)?|difficult|worst|rare|noisy|unpredictable|outlier|high-loss|non-ASCII)"
_LEFT_OUT_PLAINLY = (
    r"(?:skipped|excluded|dropped|ignored|left out|removed|filtered(?: out)?|discarded|not (?:scored|counted))\b"
)
_LEFT_OUT = (
    rf"{_LEFT_OUT_PLAINLY[:-2]} (?:from|in|for|during|before|when) (?:the )?"
    r"(?:validation|evaluation|evaluating|eval|scoring|scores?|bpb|(?:val_)?bpb)\b"
)
_FIRST = rf"(?:on |over )?(?:the )?first [0-9][0-9,]* (?:\w+ )?{_UNITS}"
_CONSTANT = r"(?:constant|fixed|hard-?coded)"
_UNPAID = r"(?: tokens?)? (?:is|are|was|were)(?: not| never|n['\u2019]t) (?:paid for|charged(?: for)?|priced)\b"
_SPLIT = r"(?:full |whole |entire |same |official )?(?:fineweb )?(?:validation|val|evaluation|eval|test|held-?out)"
_TAKEN = r"(?:(?:is|are|was|were) )?(?:(?:taken|made|done) )?"
_TEXTS = r"(?:shards?|splits?|sets?|data(?:set)?|texts?|tokens?|documents?|docs?|corpus)"
_SCORED_TEXT = (
    rf"(?:(?:the )?{_SPLIT}(?: {_TEXTS}\b|(?= *(?:$|[.,;:()]| (?:for|only|alone|itself|and|too|as well)\b)))"
    rf"|(?:the )?(?:very )?(?:same )?{_TEXTS} (?:that )?(?:it|the model) is (?:scored|evaluated) on\b)"
)
_OF_WHAT = (
    r"(?:(?:ratio|number|value|average) )?(?:of )?(?:[0-9]+\.[0-9]+ )?(?:UTF-8 )?bytes?(?:[- ]per[- ]| ?/ ?)token\b"
)


@dataclass(frozen=True)
class Statement:
    meaning: str
    pattern: re.Pattern[str]  # its group ``gap``, if it has one, holds words of the author's
    unless: re.Pattern[str] | None = None
    of_training: bool = False  # it speaks of training: the word alone does not tell that another thing is meant
    of_adapting: bool = False  # the same of training at test time
    # Of these, in lower case, every sentence that it finds holds one, which is looked for first; none: it is not known.
    holds: tuple[str, ...] = ()


def closed(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


PRICED_JOINTLY = "masked tokens are priced jointly under a weight that belongs to tokens priced one by one: no bound"
LEARNT_BEFORE = "the network learnt the text in several passes before it was scored on it"
_SCORED_AGAIN = "the whole text was scored again by the network that had been trained on it"
_EXCHANGED = "each of several documents is scored with what was learnt of the others, which were scored with its own"
TRAINED_ON_IT = "the network was trained on the text that it is scored on"
STORED = "tokens of the scored text are stored beside the network and cost nothing in the score"
FITTED = "parameters are fitted to the very tokens that are scored with them"
CONSTANT_BYTES = "the bits were divided by a constant, not by the bytes of the text"
_ADAPTED_TO_IT = "the network was adapted to the text that it is scored on, before it was scored"
SAY_THAT_IT_WAS_LEARNT = frozenset(
    {TRAINED_ON_IT, _ADAPTED_TO_IT, LEARNT_BEFORE, _SCORED_AGAIN, _EXCHANGED, STORED, FITTED}
)
"""Meanings that no second scoring of the same weights lifts: what was learnt of the text is in them."""
_AGAIN = r"re-?(?:scor|eval)\w*"
_TTT = r"(?:ttt|test[- ]time[- ](?:training|adaptation))"
_ADAPTER = r"(?:loras?|adapters?|fast weights|deltas?|prefix(?:es)?)"
_DOCUMENTS = r"(?:docs?|documents?|windows?|sequences?)"
STATEMENTS = (
    Statement(
        _EXCHANGED,
        closed(
            rf"\b(?:other|another|peer|neighbou?r(?:ing)?)s? {_DOCUMENTS}['\u2019]?s?['\u2019]? "
            rf"(?:(?:fully )?(?:trained|adapted|fitted|tuned) )?{_ADAPTER} [^.;]{{0,30}}?\b(?:from|of|in) "
            r"(?:the|its) (?:same|own) batch\b"
            rf"|\b{_ADAPTER} (?:trained|fitted|tuned) on (?:the )?other {_DOCUMENTS} (?:of|in|from) "
            r"(?:the|its) (?:same|own) batch\b"
        ),
        unless=closed(r"\b(?:earlier|previous\w*|before|already)\b"),
        of_adapting=True,
    ),
    Statement(
        _SCORED_AGAIN,
        closed(
            rf"\bafter (?:all|the last|the final|every one of the) (?:the )?(?:{_TTT} )?(?:chunks?|documents?|docs?)\b"
            rf"[^.;:]{{0,40}}?[:,]? (?:we )?{_AGAIN}"
            rf"|\bafter {_TTT},? (?:(?:we|the (?:whole|full|entire) (?:{_SPLIT}|{_TEXTS})(?: {_TEXTS})?|everything) )?"
            rf"(?:is |are |was |were )?{_AGAIN}"
            rf"|\b{_TTT}\b[^;]{{0,100}}?(?:\u2192|->|=>|then|followed by)(?: a)?(?: full| final)? {_AGAIN}"
            rf"|\bpost-?{_TTT} {_AGAIN}"
        ),
        unless=closed(
            r"\b(?:reset|restor|origin|base|diagnos|sanity|check|unadapt|frozen|next|verif|compar|report|baseline|nothing|forbid|forbad|leak|illegal)\w*"
            r"|\bper[- ](?:chunk|doc\w*)\b|\beach (?:chunk|doc\w*)\b"
        ),
        of_adapting=True,
        holds=("rescor", "re-scor", "reeval", "re-eval"),
    ),
    Statement(
        "a pseudo-log-likelihood at one mask rate, which is no code length",
        closed(
            rf"\b{_EVALUATED} (?P<gap>[^.;]{{0,60}}?)\b(?:at|with|using) (?:a |only )?(?:single|one|one single|fixed) "
            r"mask(?:ing)?[- ](?:rate|ratio)\b"
            r"|\b(?:evaluation|scoring|score|bpb) us(?:es|ed) (?:a |only )?(?:single|one|one single) "
            r"mask(?:ing)?[- ](?:rate|ratio)\b"
            r"|\bus(?:es?|ed|ing) (?:a |only )?(?:single|one|one single|fixed) mask(?:ing)?[- ](?:rate|ratio)\b"
            r"(?: \([^()]{0,40}\))? (?:for|in|during|at) (?:the )?(?:evaluation|scoring|scores?|bpb)\b"
            rf"|\b{_EVALUATED} (?:only )?(?:at|with|under) (?:a |the )?mask(?:ing)?[- ](?:rate|ratio)"
            r"(?: of)? [0-9.]*[0-9] (?:only|alone)\b"
            rf"|\b(?:score|bpb|val_bpb|model|network) (?:is|was) {_EVALUATED} at (?:a |the )?mask(?:ing)?[- ]"
            r"(?:rate|ratio)(?: of)? (?:[0-9]*\.)?[0-9]+(?= *(?:[.;)](?:\s|$)|$))"
        ),
        holds=("mask",),
    ),
    Statement(
        "only a part of the split was scored",
        closed(
            rf"\bonly {_FIRST}(?: of (?:the )?{_SPLIT}(?: {_TEXTS})?)? (?:is|are|was|were) {_EVALUATED}"
            rf"|\b(?:val_)?bpb (?:is|was) {_EVALUATED} {_FIRST}(?= *(?:[.;)](?:\s|$)|$))|\b{_EVALUATED} {_FIRST} only\b"
            rf"|\b{_EVALUATED} (?:(?:on |over |us(?:es|ed) )?only |(?:is|was) limited to ){_FIRST}\b"
            r"|\b(?:evaluation|scoring|score|bpb) (?:only )?(?:covers|uses|reads|sees|runs over|is over|is limited to) "
            rf"(?:only |just )?(?:the )?first [0-9][0-9.,]* ?(?:[kmg]i?b|(?:\w+ )?{_UNITS}|%|percent)(?:\b|(?<=%))"
            rf"|\b(?:we {_EVALUATED}|(?:val_)?bpb is|scores? (?:is|are)|(?:model|network) is {_EVALUATED}) "
            rf"(?:taken )?{_FIRST} of (?:the )?{_SPLIT}\b"
        ),
        unless=closed(r"\b(?:full|whole|entire|all|rest|remaining)\b"),
        holds=("first",),
    ),
    Statement(
        TRAINED_ON_IT,
        closed(
            r"(?<!-)\b(?:(?:pre|over)?[- ]?(?:train|fit)(?:ed|s|ing|ted|ting)?|learn(?:ed|t|s)?|optimi[sz]ed"
            r"|fine-?tun(?:ed|es?|ing)) "
            rf"(?:only |directly |exclusively |solely |entirely )*(?:on|to|over|from) {_SCORED_TEXT}"
            rf"|\bmemori[sz](?:es|ed|ing|e) {_SCORED_TEXT}"
            r"|\b(?:val|validation)[- ]only (?:training|run|model|submission|experiment)\b"
            rf"|\btraining (?:data|set|text|shards?|split)(?: is| was|:| =| are) {_SCORED_TEXT}"
            rf"|\btraining (?:data|set|text|corpus)(?: is| was|:| =| are) (?:all )?(?:the )?(?:full )?"
            rf"train(?:ing)? {_TEXTS} (?:plus|together with|as well as|\+) {_SCORED_TEXT}"
            rf"|\btraining (?:data|set|text|corpus) (?:includes?|included|contains?|contained) {_SCORED_TEXT}"
            rf"|{_TRAINED_ON_IT_ELSEWHERE}"
            rf"|\b{_SCORED_TEXT} (?:is|are|was) (?:also )?(?:used as|part of|in) (?:the )?training(?: (?:data|set))?\b"
        ),
        unless=closed(
            r"\btest[- ]time\b|\bscore[- ]first\b|\balready\b|\bafter (?:scoring|it|they|each|every)\b|\bcausal\w*\b"
            r"|\btokeni[sz]er\b|\bvocabular\w+\b|\bgrad(?:ed|ing)\b|\blegal\b|\bttt\b|\blora\b|\bhyper-?parameters?\b"
        ),
        of_training=True,
        holds=("val", "test", "held", "scored", "prueba"),
    ),
    Statement(
        _ADAPTED_TO_IT,
        closed(
            r"\b(?:pre-)?(?:adapted|fine-?tuned|speciali[sz]ed|tailored|trained further|warm(?:ed)?[- ]?(?:up|started))"
            " "
            r"(?:only |directly |exclusively |briefly )*(?:on|to|towards|for|with) (?:the )?"
            rf"{_SPLIT}(?:[- ]{_TEXTS})?(?:(?:'s)? (?:domain|distribution|statistics)\b|(?= *(?:$|[.,;:()])))"
            rf"|\b(?:gradient|optimi[sz]er|sgd|adamw?|weight) (?:steps?|updates?) {_TAKEN}"
            rf"(?:on|over|with) {_SCORED_TEXT} (?P<gap>[^.;]{{0,30}}?)"
            r"\bbefore (?:(?:it|they|the text|that) (?:is|are) )?"
            r"(?:scor|evaluat|be(?:ing)? (?:scor|evaluat)|the (?:score|evaluation|final))\w*"
        ),
        unless=closed(
            r"\b(?:test|eval)(?:uation)?[- ]time\b|\bscore[- ]first\b|\balready\b|\bafter (?:scoring|it|they|each)\b"
            r"|\bcausal\w*\b|\btokeni[sz]er\b|\bvocabular\w+\b|\blegal\w*\b|\bttt\b|\blora\b|\bhyper-?parameters?\b"
            r"|\bchunk\w*|\bstream\w*|\bonline\b|\bprogressive\w*|\bprefix\w*|\bincremental\w*|\bcontinual\w*"
            r"|\bas (?:it|they|the)\b|\beach\b|\bper[- ]|\btemperatures?\b|\bthresholds?\b|\brates?\b|\bschedules?\b"
            r"|\bsettings?\b|\bloader\w*|\bkernels?\b|\bcompil\w*|\bcaches?\b|\bscripts?\b|\bcode\b|\bharness\b"
            r"|\bprompts?\b"
        ),
        of_training=True,
    ),
    Statement(
        "the score leaves out what some predicted tokens cost",
        closed(rf"\b(?:BOS|(?:document )?boundar(?:y|ies)){_UNPAID}"),
        holds=("bos", "boundar"),
    ),
    Statement(
        "a part of the text that is hard to predict is left out of the score",
        closed(
            rf"\b(?:{_HARD} )?{_UNITS} (?:(?:with|whose|where|of|that have) (?P<gap>[^.;]{{1,60}}?) )?"
            rf"(?:is|are|was|were) {_LEFT_OUT}"
            rf"|\b(?:outliers?|{_HARD} {_UNITS}) (?:is|are|was|were) {_LEFT_OUT_PLAINLY}"
            rf"|\b(?:we|evaluation|scoring|score) (?:skips?|excludes?|drops?|ignores?|leaves? out) (?:the |all )?"
            rf"(?:outliers?|{_HARD} {_UNITS}|{_UNITS} (?:with|whose) (?:a |the )?(?:loss|nll|perplexity|surprisal))\b"
        ),
        unless=closed(
            r"\bpad\w*|\bBOS\b|\bEOS\b|\bspecial\b|\blast\b|\bincomplete\b|\bpartial\b|\btail\b|\bdeduplicat\w*"
            r"|\bshort\w*|\bempty\b|\bcontext\b|\boverlap\w*|\balready\b|\bonce\b|\btwice\b|\bgradients?\b"
        ),
        holds=(
            "skip",
            "exclu",
            "drop",
            "ignor",
            "left out",
            "leave",
            "remov",
            "filter",
            "discard",
            "not scored",
            "not counted",
        ),
    ),
    Statement(
        "a median, or a mean without its worst parts, is no code length of the text",
        closed(
            r"\b(?:score|bpb|val_bpb|bits per byte) (?:is|are|=) (?:the |a )?median (?:over|of|across)\b"
            r"|\b(?:score|bpb|val_bpb|averaged?|mean)\b(?P<gap>[^.;]{0,60}?)\b(?:after|by) "
            r"(?:removing|dropping|excluding|discarding|trimming) (?:the )?(?:(?:top|worst|highest|largest|hardest) )?"
            r"(?:[0-9.]+ ?% )?(?:of )?(?:the )?(?:outliers?|worst|(?:hard|outlier) (?:windows|documents|tokens))\b"
        ),
        holds=("median", "remov", "dropp", "exclu", "discard", "trimm"),
    ),
    Statement(
        "the score leaves out what some predicted tokens cost",
        closed(
            r"\bfirst [0-9][0-9,]* tokens of (?:every|each|a) (?:document|doc|window|sequence)s? (?:is|are|was|were) "
            r"(?:given for free|free|not (?:scored|paid(?: for)?|counted)|excluded|skipped)\b"
        ),
        unless=closed(r"\boverlap\w*|\bstrid\w+|\bsliding\b|\bcontext\b|\balready\b|\bprevious\w*|\bonce\b"),
        holds=("tokens of",),
    ),
    Statement(
        "the text was changed in a way that cannot be undone before it was scored",
        closed(
            r"\b(?:validation|val|evaluation|eval|test|scored) (?:text|data|set|split|documents?) (?:is|are|was|were) "
            r"(?:(?:first|always) )?(?:lower-?cased|case-?folded|converted to lower ?case|stripped of)\b"
        ),
        holds=("case", "stripped"),
    ),
    Statement(
        FITTED,
        closed(
            r"\b(?:pick|choos|chos|select|mix|switch)\w* (?P<gap>[^.;]{0,60}?)\b(?:knowing|peeking at) (?:the |its )?"
            r"(?:true |next |correct |actual )?(?:target|token|answer)s?\b"
            r"|\b(?:fitted|chosen|optimi[sz]ed|tuned|selected|picked) (?:per|for each|for every|on each) "
            r"(?:document|doc|window|sequence|chunk|token) to minimi[sz]e (?:the |its )?(?:loss|nll|bpb|score)\b"
        ),
        unless=closed(r"\balready\b|\bprevious\w*|\bprefix\b|\bpast\b|\bcausal\w*|\bbefore\b"),
        holds=("knowing", "peeking", "minimi"),
    ),
    Statement(
        PRICED_JOINTLY,
        closed(
            r"\b(?:sub-?tokens|tokens|positions|groups|pairs|spans) (?:\w+ ){0,4}?(?:is|are|was|were) "
            r"(?:priced|scored|paid for|evaluated) (?:jointly|by (?:a|the|their) joint (?:distribution|price))\b"
            r"|\b(?:score|bpb|perplexity|nll|nelbo|bound) (?P<gap>[^.;]{0,40}?)"
            r"\b(?:prices|uses|includes|adds|contains) [^.;]{0,40}?"
            r"\b(?:joint (?:price|likelihood|log-?prob\w*)|energy (?:term|correction))\b"
            rf"|\b{_EVALUATED} (?:with|by|from|under) (?:an?|the|our) (?:joint|energy-(?:based|corrected)) denoiser\b"
        ),
        unless=closed(
            r"\bsampl\w*|\bgenerat\w*|\bdraft\w*|\bspeculat\w*|\bchain[- ]rule\b|\bmarginal\w*|\breveal\w*"
            r"|\bautoregressive\w*|\bleft[- ]to[- ]right\b|\bone (?:by one|at a time|after)\b|\bweight of (?:1|one)\b"
        ),
        holds=("joint", "energy"),
    ),
    Statement(
        CONSTANT_BYTES,
        closed(
            rf"\b(?:divid\w+ by|us(?:es?|ed|ing)|from) (?:a |the )?{_CONSTANT} {_OF_WHAT}"
            rf"|\bbytes? (?:is|are|was|were|come|comes|came) (?:taken )?from (?:a |the )?{_CONSTANT}\b"
            rf"|\bbytes? per token (?:is|are|was|were) (?:taken (?:as|to be) )?(?:a |the )?{_CONSTANT}\b"
            r"|\b(?:we|score|evaluat\w+|bpb) assum(?:e|es|ed|ing) (?:a |the )?[0-9]+(?:\.[0-9]+)? bytes? per token\b"
            rf"|\bdivid\w+ (?:(?:the |all )?(?:bits|nats|loss|score|it|them|total)(?: per token)? )?by (?:a |the )?"
            rf"{_CONSTANT}(?: of)? [0-9]+(?:\.[0-9]+)?\b"
        ),
        unless=closed(r"\b(?:logits?|grad\w*|temperatures?|softcap\w*|attention|norms?|lr|rates?|weights?|scal\w+)\b"),
        holds=("constant", "fixed", "hard", "assum"),
    ),
)
