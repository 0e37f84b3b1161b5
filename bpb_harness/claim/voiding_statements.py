"""Plain statements that would void the score that they speak of, by what they mean: word classes in their order."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bpb_harness.claim.word_classes import (
    A_RATE,
    A_TIME,
    AMOUNT,
    BEFORE_IT,
    BEFORE_PACKING,
    BEFORE_TOKENS,
    CONSTANT,
    COVERS,
    DOES_NOT_PAY,
    EVALUATED,
    EVALUATION,
    FEW_TOKENS,
    FILLED,
    FROM_IT,
    IS_FOLDED,
    IS_FREE,
    IS_LEFT_OUT,
    IS_LOSSY,
    IS_MASKED,
    IS_OF,
    IS_TAKEN_OUT,
    LEARNS,
    LETTERS,
    NO_MORE,
    NOT_QUANTIZED,
    OF_WHAT,
    ONE_RATE,
    PART,
    RATIO,
    SCORE,
    SCORED_TEXT,
    SCORES,
    SEES_IT,
    SHARE,
    SPLIT,
    STOPS,
    STORE,
    TAKES,
    TAKES_OUT,
    TEXT_TO_SCORE,
    TEXTS,
    THE_BPB,
    THE_CLAIM,
    THEN_SCORED,
    TIMES,
    UNITS,
    UNPAID_TOKENS,
    VAL,
    WHOLE,
    Sought,
    any_of,
    then,
    words,
)  # fmt: skip

# The same in a few other languages, as plainly.
_TRAINED_ON_IT_ELSEWHERE = (
    r"\bauf (?:den|dem|der) (?:Validierungs|Test|Eval(?:uations)?)-?(?:daten|set|satz|menge|text) (?:\w+ )?trainiert\b"
    r"|\bentra[i\u00ee]n\u00e9e? sur (?:les donn\u00e9es|l['\u2019]ensemble|le jeu) de (?:validation|test)\b"
    r"|\bentrenad[oa] (?:con|en|sobre) (?:los datos|el conjunto|el texto) de (?:validaci\u00f3n|prueba)\b"
    r"|\u5728\u9a8c\u8bc1(?:\u96c6|\u6570\u636e)\u4e0a(?:\u8fdb\u884c)?\u8bad\u7ec3"
)
_HARD = r"(?:hard(?:est)?|difficult|worst|rare|noisy|unpredictable|outlier|high-loss|non-ASCII)"
_LEFT_OUT_PLAINLY = (
    r"(?:skipped|excluded|dropped|ignored|left out|removed|filtered(?: out)?|discarded|not (?:scored|counted))\b"
)
_LEFT_OUT = (
    rf"{_LEFT_OUT_PLAINLY[:-2]} (?:from|in|for|during|before|when) (?:the )?"
    r"(?:validation|evaluation|evaluating|eval|scoring|scores?|bpb|(?:val_)?bpb)\b"
)
_TAKEN = r"(?:(?:is|are|was|were) )?(?:(?:taken|made|done) )?"


@dataclass(frozen=True)
class Statement:
    """Words, and what they mean for a score that they are said of.

    Attributes:
        meaning: what they mean.
        pattern: the words; its groups hold what stands between them, and is no part of the statement.
        unless: what the sentence holds where something else is meant.
        of_training: it speaks of training: the word alone does not tell that another thing is meant.
        of_adapting: the same of training at test time.
        holds: of these, in lower case, every sentence that it finds holds one, which is looked for first; none: it is
            not known.
        or_alone: or this one, as a word by itself.
    """

    meaning: str
    pattern: Sought
    unless: Sought | None = None
    of_training: bool = False
    of_adapting: bool = False
    holds: tuple[str, ...] = ()
    or_alone: str = ""

    def may_be_in(self, low: str) -> bool:
        """Whether a sentence, in lower case, has any of the words without which it says nothing of the kind."""
        if not self.holds or any(held in low for held in self.holds):
            return True
        return bool(self.or_alone) and re.search(rf"\b{self.or_alone}\b", low) is not None


PRICED_JOINTLY = "masked tokens are priced jointly under a weight that belongs to tokens priced one by one: no bound"
LEARNT_BEFORE = "the network was trained on the text that it is scored on, before it was scored"
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
SAY_THAT_IT_CAME_FIRST = frozenset({TRAINED_ON_IT, _ADAPTED_TO_IT, LEARNT_BEFORE})
"""Of these, the ones that the network itself was trained on the whole text, and scored behind that."""
NOT_PACKED = "the network was scored before it was quantized: the one that is counted in bytes scores something else"
_AGAIN = r"re-?(?:scor|eval)\w*"
_TTT = r"(?:ttt|test[- ]time[- ](?:training|adaptation))"
_ADAPTER = r"(?:loras?|adapters?|fast weights|deltas?|prefix(?:es)?)"
_DOCUMENTS = r"(?:docs?|documents?|windows?|sequences?)"
STATEMENTS = (
    Statement(
        _EXCHANGED,
        Sought(
            rf"\b(?:other|another|peer|neighbou?r(?:ing)?)s? {_DOCUMENTS}['\u2019]?s?['\u2019]? "
            rf"(?:(?:fully )?(?:trained|adapted|fitted|tuned) )?{_ADAPTER} [^.;]{{0,30}}?\b(?:from|of|in) "
            r"(?:the|its) (?:same|own) batch\b"
            rf"|\b{_ADAPTER} (?:trained|fitted|tuned) on (?:the )?other {_DOCUMENTS} (?:of|in|from) "
            r"(?:the|its) (?:same|own) batch\b"
        ),
        unless=Sought(r"\b(?:earlier|previous\w*|before|already)\b"),
        of_adapting=True,
    ),
    Statement(
        _SCORED_AGAIN,
        Sought(
            rf"\bafter (?:all|the last|the final|every one of the) (?:the )?(?:{_TTT} )?(?:chunks?|documents?|docs?)\b"
            rf"[^.;:]{{0,40}}?[:,]? (?:we )?{_AGAIN}"
            rf"|\bafter {_TTT},? (?:(?:we|the (?:whole|full|entire) (?:{SPLIT}|{TEXTS})(?: {TEXTS})?|everything) )?"
            rf"(?:is |are |was |were )?{_AGAIN}"
            rf"|\b{_TTT}\b[^;]{{0,100}}?(?:\u2192|->|=>|then|followed by)(?: a)?(?: full| final)? {_AGAIN}"
            rf"|\bpost-?{_TTT} {_AGAIN}"
        ),
        unless=Sought(
            r"\b(?:reset|restor|origin|base|diagnos|sanity|check|unadapt|frozen|next|verif|compar|report|baseline|nothing|forbid|forbad|leak|illegal)\w*"
            r"|\bper[- ](?:chunk|doc\w*)\b|\beach (?:chunk|doc\w*)\b"
        ),
        of_adapting=True,
        holds=("rescor", "re-scor", "reeval", "re-eval"),
    ),
    Statement(
        "a pseudo-log-likelihood at one mask rate, which is no code length",
        Sought(
            any_of(
                then(SCORE, FEW_TOKENS, IS_MASKED),
                then(SCORE, r"\bmask(?:s|ed|ing)?\b", FEW_TOKENS),
                then(SCORE, rf"\bmasked {SHARE}"),
                then(FEW_TOKENS, IS_MASKED, r"\b(?:scored?|scores|bpb|val_bpb)\b"),
                then(SCORE, rf"{ONE_RATE}\b|{A_RATE}{NO_MORE}"),
                then(rf"{ONE_RATE}\b|{A_RATE}", rf"(?:\b(?:when|during|for) (?:the )?)?{SCORE}"),
                rf"^{FEW_TOKENS} {IS_MASKED}[. ]*$",
            )
        ),
        unless=Sought(
            words(
                r"integra\w* averaged?(?=.over) uniform\w* each(?!.(?:sequence|window)) (?<!bits.)per every(?!.second)",
                r"steps? curves?",
                r"tables? plots? schedules? drawn? draws all(?!.tokens) both several anneal\w* attention causal pad\w*",
                r"layers? heads? dropout generat\w* samplers? sampling samples augment\w* bounds? n?elbo weighted",
                r"candidates? then first none",
            )
            + r"|\b(?:and|or) (?:0?\.)?[0-9]|[0-9] to "
        ),
        holds=("mask", "hidden", "noise", "time"),
        or_alone="t",
    ),
    Statement(
        "a pseudo-log-likelihood, which is no code length",
        Sought(
            then(
                r"\b(?:(?:our|the) (?:final )?(?:score|bpb|val_bpb|number) (?:is|uses)|we (?:score|report|compute)\w*"
                r"|is scored (?:by|with))\b",
                r"\bpseudo-?(?:log-?)?(?:likelihood|perplexity)|\bbert-style mask\w*",
                most=30,
            )
        ),
        holds=("pseudo", "bert"),
    ),
    Statement(
        "only a part of the split was scored",
        Sought(
            any_of(
                then(EVALUATION, COVERS, PART),
                then(EVALUATION, STOPS, rf"\b(?:after|to|at|by|once) (?:the )?(?:{PART}|{AMOUNT} (?:\w+ )?{UNITS})"),
                then(rf"\bwe (?:only |just )*(?:{SCORES}|take\b)", PART),
                then(rf"\b(?:cap|limit|stop|cut)\w* (?:the )?{EVALUATION}", rf"\b{AMOUNT} (?:\w+ )?{UNITS}"),
                then(PART, rf"\b(?:is|are|was|were) (?:{SCORES}|skipped|left out|dropped|(?:never|not) {SCORES})"),
                then(
                    rf"\b{VAL}",
                    r"\b(?:is|was) (?:sub-?sampled|truncated|capped|cut|reduced) (?:off )?(?:to|at|by)"
                    rf"(?! {A_TIME})",
                ),
                rf"\b(?:sub-?sampl|truncat)\w+ {VAL}",
                rf"^(?:only )?{SCORES} (?:only )?(?:on|over|with) (?:only )?{PART}",
                then(rf"^{EVALUATION}:", PART),
            )
        ),
        unless=Sought(
            words(
                r"full whole entire all(?!.scores) rest remaining complete each per every(?!.(?:second|third|\w+th\b))",
                r"context strid\w+ overlap\w* ranks? gpus? devices? workers? stopping calibrat\w* split(?=.into)",
                r"positions?",
            )
            + r"|\b100 ?%|\b50(?:[, ]?000|k) (?:documents|docs)\b"  # all that the best known validation text has
        ),
        holds=(
            *("first", "last", "of", "random", "sub", "trunc", "cap", "limit", "stop", "break", "end", "only", "cut"),
            *("reduc", "halt", "every", "one in", "initial", "restrict"),
        ),
    ),
    Statement(
        TRAINED_ON_IT,
        Sought(
            r"(?<!-)\b(?:(?:pre|over)?[- ]?(?:train|fit)(?:ed|s|ing|ted|ting)?|learn(?:ed|t|s)?|optimi[sz]ed"
            r"|fine-?tun(?:ed|es?|ing)) "
            rf"(?:only |directly |exclusively |solely |entirely )*(?:on|to|over|from) {SCORED_TEXT}"
            rf"|\bmemori[sz](?:es|ed|ing|e) {SCORED_TEXT}"
            r"|\b(?:val|validation)[- ]only (?:training|run|model|submission|experiment)\b"
            rf"|\btraining (?:data|set|text|shards?|split)(?: is| was|:| =| are) {SCORED_TEXT}"
            rf"|\btraining (?:data|set|text|corpus)(?: is| was|:| =| are) (?:all )?(?:the )?(?:full )?"
            rf"train(?:ing)? {TEXTS} (?:plus|together with|as well as|\+) {SCORED_TEXT}"
            rf"|\btraining (?:data|set|text|corpus) (?:includes?|included|contains?|contained) {SCORED_TEXT}"
            rf"|{_TRAINED_ON_IT_ELSEWHERE}"
            rf"|\b{SCORED_TEXT} (?:is|are|was) (?:also )?(?:used as|part of|in) (?:the )?training(?: (?:data|set))?\b"
        ),
        unless=Sought(
            r"\btest[- ]time\b|\bscore[- ]first\b|\balready\b|\bafter (?:scoring|it|they|each|every)\b|\bcausal\w*\b"
            r"|\btokeni[sz]er\b|\bvocabular\w+\b|\bgrad(?:ed|ing)\b|\blegal\b|\bttt\b|\blora\b|\bhyper-?parameters?\b"
        ),
        of_training=True,
        holds=("val", "test", "held", "scored", "prueba"),
    ),
    Statement(
        _ADAPTED_TO_IT,
        Sought(
            any_of(
                then(LEARNS, FROM_IT, rf"{BEFORE_IT}|{THEN_SCORED}"),
                then(BEFORE_IT, LEARNS, FROM_IT),
                then(rf"\bafter {LEARNS}", FROM_IT, r"\b(?:report|scor|evaluat)\w*"),
                then(SEES_IT, r"\bfor \w+ (?:passes|epochs)\b", BEFORE_IT),
                then(r"\bpasses\b", FROM_IT, r"\bsecond (?:one |pass )?(?:scor|comput|evaluat)\w*"),
                then(LEARNS, r"\bon (?:each|every|the|a) (?:document|window)\b", r"\bthen (?:is )?scored?\b"),
                then(
                    r"\b(?:document|chunk|window)s?\b",
                    r"\bfirst (?:used to )?(?:updat|train|adapt)\w*",
                    r"\b(?:then|before) (?:(?:it|is|the|same|document|being) )*scor\w*",
                    most=40,
                ),
                then(
                    STORE,
                    rf"\b(?:{FILLED} )?(?:of|over|from|with|holds?|includes?) (?:[a-z]+ ){{0,3}}{WHOLE} {VAL}",
                ),
                rf"{STORE} (?:is|are|was|were) {FILLED} (?:over|from|on|with) {VAL}",
                then(
                    rf"\b{WHOLE} (?:[0-9]+M )?{VAL}", r"\b(?:hashed|inserted|written|added|read) into\b", STORE, most=20
                ),
            )
        ),
        unless=Sought(
            words(
                r"score[-\s]first already causal\w* tokeni[sz]er vocabular\w* legal\w* hyper-?parameters?",
                r"temperatures? thresholds? rates? loaders? kernels? compil\w* cuda train(?=.shards?)",
                r"training(?=.(?:tokens|set|data|batch|shard|text|split)) reset online prefix next following",
                r"subsequent unsafe leak\w* cheat\w* contaminat\w* chunk(?=.by.chunk) streams? grows? grown copied gpu",
                r"loaded tokeni[sz]ed illegal forbidden",
            )
            + r"|\bafter (?:(?:it|they|being|each|every|the|chunk|document|has|have|had|been|was|were|is) )*scor"
            r"|\b(?:been|were|was|are) scored\b"
        ),
        of_training=True,
        of_adapting=True,
        holds=("val", "test", "held", "scor"),
    ),
    Statement(
        _ADAPTED_TO_IT,
        Sought(
            r"\b(?:pre-)?(?:adapted|fine-?tuned|speciali[sz]ed|tailored|trained further|warm(?:ed)?[- ]?(?:up|started))"
            " "
            r"(?:only |directly |exclusively |briefly )*(?:on|to|towards|for|with) (?:the )?"
            rf"{SPLIT}(?:[- ]{TEXTS})?(?:(?:'s)? (?:domain|distribution|statistics)\b|(?= *(?:$|[.,;:()])))"
            rf"|\b(?:gradient|optimi[sz]er|sgd|adamw?|weight) (?:steps?|updates?) {_TAKEN}"
            rf"(?:on|over|with) {SCORED_TEXT} (?P<gap>[^.;]{{0,30}}?)"
            r"\bbefore (?:(?:it|they|the text|that) (?:is|are) )?"
            r"(?:scor|evaluat|be(?:ing)? (?:scor|evaluat)|the (?:score|evaluation|final))\w*"
        ),
        unless=Sought(
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
        Sought(
            any_of(
                then(UNPAID_TOKENS, IS_FREE, most=20),
                then(DOES_NOT_PAY, UNPAID_TOKENS, most=30),
                then(
                    r"\b(?:loss|cost|nats|bits|price)\b(?: spent)? (?:of|on|at|for|from)",
                    UNPAID_TOKENS,
                    IS_LEFT_OUT,
                    most=20,
                ),
            )
        ),
        unless=Sought(
            words(
                r"pad\w* mask(?=.token) generat\w* gradients? updates? hash\w* cach\w* n-?grams? attention embedding\w*"
                r" bytes?(?!.(?:are|is).counted|.tokens) overlap\w* strid\w+ sliding context previous\w* once twice",
                r"already last trailing parameters? artifact sampl\w* quantiz\w* vocabular\w* tail",
            )
        ),
        holds=(
            *("bos", "eos", "boundar", "separator", "special", "token", "start", "space", "newline", "punctuation"),
            *("position", "-of-"),
        ),
    ),
    Statement(
        "a part of the text that is hard to predict is left out of the score",
        Sought(
            rf"\b(?:{_HARD} )?{UNITS} (?:(?:with|whose|where|of|that have) (?P<gap>[^.;]{{1,60}}?) )?"
            rf"(?:is|are|was|were) {_LEFT_OUT}"
            rf"|\b(?:outliers?|{_HARD} {UNITS}) (?:is|are|was|were) {_LEFT_OUT_PLAINLY}"
            rf"|\b(?:we|evaluation|scoring|score) (?:skips?|excludes?|drops?|ignores?|leaves? out) (?:the |all )?"
            rf"(?:outliers?|{_HARD} {UNITS}|{UNITS} (?:with|whose) (?:a |the )?(?:loss|nll|perplexity|surprisal))\b"
        ),
        unless=Sought(
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
        Sought(
            r"\b(?:score|bpb|val_bpb|bits per byte) (?:is|are|=) (?:the |a )?median (?:over|of|across)\b"
            r"|\b(?:score|bpb|val_bpb|averaged?|mean)\b(?P<gap>[^.;]{0,60}?)\b(?:after|by) "
            r"(?:removing|dropping|excluding|discarding|trimming) (?:the )?(?:(?:top|worst|highest|largest|hardest) )?"
            r"(?:[0-9.]+ ?% )?(?:of )?(?:the )?(?:outliers?|worst|(?:hard|outlier) (?:windows|documents|tokens))\b"
        ),
        holds=("median", "remov", "dropp", "exclu", "discard", "trimm"),
    ),
    Statement(
        "the score leaves out what some predicted tokens cost",
        Sought(
            r"\bfirst [0-9][0-9,]* tokens of (?:every|each|a) (?:document|doc|window|sequence)s? (?:is|are|was|were) "
            r"(?:given for free|free|not (?:scored|paid(?: for)?|counted)|excluded|skipped)\b"
        ),
        unless=Sought(words(r"overlap\w* strid\w+ sliding context already previous\w* once twice again")),
        holds=("tokens of",),
    ),
    Statement(
        "the text was changed in a way that cannot be undone before it was scored",
        Sought(
            r"\b(?:validation|val|evaluation|eval|test|scored) (?:text|data|set|split|documents?) (?:is|are|was|were) "
            r"(?:(?:first|always) )?(?:lower-?cased|case-?folded|converted to lower ?case|stripped of)\b"
        ),
        holds=("case", "stripped"),
    ),
    Statement(
        "the text was changed in a way that cannot be undone before it was scored",
        Sought(
            any_of(
                then(rf"\b{TEXT_TO_SCORE}", IS_FOLDED, BEFORE_TOKENS),
                then(rf"\bwe (?:first |always )?{TAKES_OUT} (?:{TEXT_TO_SCORE}|{LETTERS})", BEFORE_TOKENS),
                then(rf"\b{LETTERS}", IS_TAKEN_OUT, BEFORE_TOKENS),
                IS_LOSSY,
            )
        ),
        unless=Sought(
            words(
                r"marks? markers? marked sentinels? operators? lossless\w* (?<!not.)(?:reversible|invertible) undo\w*",
                r"undone escap\w* bytes? fallback keys? hash\w* n-?grams? hints? settings? flags? prompts? keeps? kept",
                r"dictionar\w* stored sidecar recover\w*(?!.from) quant\w* compress\w* weights? jpeg vae codecs?",
            )
        ),
        holds=(
            "case",
            "drop",
            "remov",
            "discard",
            "strip",
            "collaps",
            "replac",
            "mapp",
            "lossy",
            "share",
            "restor",
            "recover",
            "reconstruct",
            "thrown",
            "lost",
            "turned",
            "reversible",
            "invertible",
            "same",
        ),
    ),
    Statement(
        NOT_PACKED,
        Sought(
            any_of(
                then(
                    THE_CLAIM,
                    rf"{IS_OF} (?:(?:the|a|an|its|our) )*{NOT_QUANTIZED} (?:\w+ )?"
                    r"(?:model|network|weights?|checkpoint|parameters)\b",
                    most=25,
                ),
                then(THE_CLAIM, rf"\b(?:is|are|was|were) {EVALUATED} {BEFORE_PACKING}", most=25),
            )
        ),
        unless=Sought(words(r"after post both gap then again round-?trip\w* reload\w* de-?quant\w* respectively")),
        holds=("quant", "pack", "compress", "gptq"),
    ),
    Statement(
        FITTED,
        Sought(
            r"\b(?:pick|choos|chos|select|mix|switch)\w* (?P<gap>[^.;]{0,60}?)\b(?:knowing|peeking at) (?:the |its )?"
            r"(?:true |next |correct |actual )?(?:target|token|answer)s?\b"
            r"|\b(?:fitted|chosen|optimi[sz]ed|tuned|selected|picked) (?:per|for each|for every|on each) "
            r"(?:document|doc|window|sequence|chunk|token) to minimi[sz]e (?:the |its )?(?:loss|nll|bpb|score)\b"
        ),
        unless=Sought(r"\balready\b|\bprevious\w*|\bprefix\b|\bpast\b|\bcausal\w*|\bbefore\b"),
        holds=("knowing", "peeking", "minimi"),
    ),
    Statement(
        PRICED_JOINTLY,
        Sought(
            r"\b(?:sub-?tokens|tokens|positions|groups|pairs|spans) (?:\w+ ){0,4}?(?:is|are|was|were) "
            r"(?:priced|scored|paid for|evaluated) (?:jointly|by (?:a|the|their) joint (?:distribution|price))\b"
            r"|\b(?:score|bpb|perplexity|nll|nelbo|bound) (?P<gap>[^.;]{0,40}?)"
            r"\b(?:prices|uses|includes|adds|contains) [^.;]{0,40}?"
            r"\b(?:joint (?:price|likelihood|log-?prob\w*)|energy (?:term|correction))\b"
            rf"|\b{EVALUATED} (?:with|by|from|under) (?:an?|the|our) (?:joint|energy-(?:based|corrected)) denoiser\b"
        ),
        unless=Sought(
            r"\bsampl\w*|\bgenerat\w*|\bdraft\w*|\bspeculat\w*|\bchain[- ]rule\b|\bmarginal\w*|\breveal\w*"
            r"|\bautoregressive\w*|\bleft[- ]to[- ]right\b|\bone (?:by one|at a time|after)\b|\bweight of (?:1|one)\b"
        ),
        holds=("joint", "energy"),
    ),
    Statement(
        CONSTANT_BYTES,
        Sought(
            any_of(
                rf"\b(?:divid\w+ by|us(?:es?|ed|ing)|from) (?:a |the )?{CONSTANT} {OF_WHAT}",
                rf"\bbytes? (?:is|are|was|were|come|comes|came) (?:taken )?from (?:a |the )?{CONSTANT}\b",
                then(
                    r"\b(?:bytes?|byte (?:count|total)|denominator)\b",
                    rf"\b(?:num_)?tokens?(?: count)? {TIMES} {RATIO}"
                    rf"|{RATIO} {TIMES} (?:num_|the )*(?:number of )?tokens?\b",
                    most=40,
                ),
                then(
                    r"\b(?:num_)?tokens?(?: count)?\b",
                    rf"\b(?:{TIMES}|scaled by|multiplied by|by) {RATIO}",
                    r"\b(?:bytes|denominator)\b",
                    most=20,
                ),
                then(TAKES, rf"(?:{RATIO}|\b[2-9]) bytes? ?(?:per|/|a|for (?:each|every)|each) ?token", most=40),
                then(TAKES, rf"\bbytes?[ _]per[ _]token(?: \w+)? ?(?:=|is|was|of|to|set to)? ?{RATIO}", most=30),
                rf"\bbytes?[ _]per[ _]token (?:is|are|was|were) "
                rf"(?:(?:a |the )?{CONSTANT}\b|(?:set|taken|fixed) (?:to be|to|at|as) {RATIO})",
                then(rf"\bbytes?[_ ]per[_ ]token ?(?:=|of) ?{RATIO}", r"\bis used\b|\bconver\w+\b", most=20),
                r"\bhard-?cod\w+ (?:the )?(?:number of bytes|byte (?:count|total))\b",
                rf"\b(?:byte (?:count|total)|number of bytes) is (?:a )?(?:{CONSTANT}\b|taken as [0-9])",
                rf"\btokens? (?:is|was|are|counts?) (?:taken|counted|assumed|estimated|as)(?: to be| as)? {RATIO}\b",
                then(
                    THE_BPB,
                    r"(?:\bln ?\(?2\)?|\blog\(2\)|\b0\.693[0-9]*|\bper token)\)? ?"
                    rf"(?:/|\*|x|divided by|over) ?{RATIO}\b",
                    most=40,
                ),
                r"\bdivid\w+ (?:(?:the |all )?(?:bits|nats|loss|score|it|them|total)(?: (?:per token|in bits))? )?by "
                rf"(?:a |the )?(?:{CONSTANT} )?(?:of )?{RATIO}\b",
            )
        ),
        unless=Sought(
            words(r"logits? grad\w* temperatures? softcap\w* attention norms? lr rates? weights? scal(?:es?|ing)")
        ),
        holds=("byte", "bpb", "bit", "nats", "divid", "token", "score"),
    ),
)
