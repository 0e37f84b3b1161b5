"""Sentences of a README that would void the score if they mean what they say.

A closed list of plain statements. Prose denies, compares, quotes and speaks of training, so a sentence counts only
where nothing of the kind is near: it is better to overlook one than to hold an honest author's words against him. What
is found here can raise a doubt, never refute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bpb_harness.claim.printed import Source

_LARGEST_PROSE = 1 << 18  # characters
_LONGEST_SENTENCE = 500
_MAX_SENTENCES = 5


@dataclass(frozen=True)
class VoidingSentence:
    """A sentence that would void the score.

    Attributes:
        sentence: the author's words.
        meaning: what they say of the score.
        source: where they stand.
    """

    sentence: str
    meaning: str
    source: Source


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
class _Statement:
    meaning: str
    pattern: re.Pattern[str]  # its group ``gap``, if it has one, holds words of the author's
    unless: re.Pattern[str] | None = None
    of_training: bool = False  # it speaks of training: the word alone does not tell that another thing is meant
    of_adapting: bool = False  # the same of training at test time
    # Of these, in lower case, every sentence that it finds holds one, which is looked for first; none: it is not known.
    holds: tuple[str, ...] = ()


def _closed(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


PRICED_JOINTLY = "masked tokens are priced jointly under a weight that belongs to tokens priced one by one: no bound"
_LEARNT_BEFORE = "the network learnt the text in several passes before it was scored on it"
_SCORED_AGAIN = "the whole text was scored again by the network that had been trained on it"
_EXCHANGED = "each of several documents is scored with what was learnt of the others, which were scored with its own"
_TRAINED_ON_IT = "the network was trained on the text that it is scored on"
_STORED = "tokens of the scored text are stored beside the network and cost nothing in the score"
_FITTED = "parameters are fitted to the very tokens that are scored with them"
# What a submission is called after, in its title or over a section of its README.
_TECHNIQUES = (
    (
        _closed(
            r"\bpre-?quant(?:i[sz]ation)?[\s_-]{0,2}(?:[a-z]{3,8}[\s_-])?(?:ttt|test[- ]time[- ]training)\b"
            r"(?![\s_-]*(?:bpb|val|score|loss|delta|baseline|only))"
        ),
        _LEARNT_BEFORE,
    ),
    (_closed(r"\bpaid[\s_-]?prefix"), _STORED),
    (
        _closed(r"\b(?:pre-?)?(?:train|fine-?tun)(?:ed|ing)[\s_-]on[\s_-](?:the[\s_-])?val(?:idation)?\b"),
        _TRAINED_ON_IT,
    ),
    (re.compile(r"(?<![Cc]ausal[ _-])(?<![Cc]ontext[ _-])(?<![A-Za-z])SLOT(?![a-z])"), _FITTED),
)
CONSTANT_BYTES = "the bits were divided by a constant, not by the bytes of the text"
_ADAPTED_TO_IT = "the network was adapted to the text that it is scored on, before it was scored"
SAY_THAT_IT_WAS_LEARNT = frozenset(
    {_TRAINED_ON_IT, _ADAPTED_TO_IT, _LEARNT_BEFORE, _SCORED_AGAIN, _EXCHANGED, _STORED, _FITTED}
)
"""Meanings that no second scoring of the same weights lifts: what was learnt of the text is in them."""
_AGAIN = r"re-?(?:scor|eval)\w*"
_TTT = r"(?:ttt|test[- ]time[- ](?:training|adaptation))"
_VAL_ONLY = _closed(r"\bval(?:idation)?[- ]only\b(?! eval)")
_ADAPTER = r"(?:loras?|adapters?|fast weights|deltas?|prefix(?:es)?)"
_DOCUMENTS = r"(?:docs?|documents?|windows?|sequences?)"
_STATEMENTS = (
    _Statement(
        _EXCHANGED,
        _closed(
            rf"\b(?:other|another|peer|neighbou?r(?:ing)?)s? {_DOCUMENTS}['\u2019]?s?['\u2019]? "
            rf"(?:(?:fully )?(?:trained|adapted|fitted|tuned) )?{_ADAPTER} [^.;]{{0,30}}?\b(?:from|of|in) "
            r"(?:the|its) (?:same|own) batch\b"
            rf"|\b{_ADAPTER} (?:trained|fitted|tuned) on (?:the )?other {_DOCUMENTS} (?:of|in|from) "
            r"(?:the|its) (?:same|own) batch\b"
        ),
        unless=_closed(r"\b(?:earlier|previous\w*|before|already)\b"),
        of_adapting=True,
    ),
    _Statement(
        _SCORED_AGAIN,
        _closed(
            rf"\bafter (?:all|the last|the final|every one of the) (?:the )?(?:{_TTT} )?(?:chunks?|documents?|docs?)\b"
            rf"[^.;:]{{0,40}}?[:,]? (?:we )?{_AGAIN}"
            rf"|\bafter {_TTT},? (?:(?:we|the (?:whole|full|entire) (?:{_SPLIT}|{_TEXTS})(?: {_TEXTS})?|everything) )?"
            rf"(?:is |are |was |were )?{_AGAIN}"
            rf"|\b{_TTT}\b[^;]{{0,100}}?(?:\u2192|->|=>|then|followed by)(?: a)?(?: full| final)? {_AGAIN}"
            rf"|\bpost-?{_TTT} {_AGAIN}"
        ),
        unless=_closed(
            r"\b(?:reset|restor|origin|base|diagnos|sanity|check|unadapt|frozen|next|verif|compar|report|baseline|nothing|forbid|forbad|leak|illegal)\w*"
            r"|\bper[- ](?:chunk|doc\w*)\b|\beach (?:chunk|doc\w*)\b"
        ),
        of_adapting=True,
        holds=("rescor", "re-scor", "reeval", "re-eval"),
    ),
    _Statement(
        "a pseudo-log-likelihood at one mask rate, which is no code length",
        _closed(
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
    _Statement(
        "only a part of the split was scored",
        _closed(
            rf"\bonly {_FIRST}(?: of (?:the )?{_SPLIT}(?: {_TEXTS})?)? (?:is|are|was|were) {_EVALUATED}"
            rf"|\b(?:val_)?bpb (?:is|was) {_EVALUATED} {_FIRST}(?= *(?:[.;)](?:\s|$)|$))|\b{_EVALUATED} {_FIRST} only\b"
            rf"|\b{_EVALUATED} (?:(?:on |over |us(?:es|ed) )?only |(?:is|was) limited to ){_FIRST}\b"
            r"|\b(?:evaluation|scoring|score|bpb) (?:only )?(?:covers|uses|reads|sees|runs over|is over|is limited to) "
            rf"(?:only |just )?(?:the )?first [0-9][0-9.,]* ?(?:[kmg]i?b|(?:\w+ )?{_UNITS}|%|percent)(?:\b|(?<=%))"
            rf"|\b(?:we {_EVALUATED}|(?:val_)?bpb is|scores? (?:is|are)|(?:model|network) is {_EVALUATED}) "
            rf"(?:taken )?{_FIRST} of (?:the )?{_SPLIT}\b"
        ),
        unless=_closed(r"\b(?:full|whole|entire|all|rest|remaining)\b"),
        holds=("first",),
    ),
    _Statement(
        _TRAINED_ON_IT,
        _closed(
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
        unless=_closed(
            r"\btest[- ]time\b|\bscore[- ]first\b|\balready\b|\bafter (?:scoring|it|they|each|every)\b|\bcausal\w*\b"
            r"|\btokeni[sz]er\b|\bvocabular\w+\b|\bgrad(?:ed|ing)\b|\blegal\b|\bttt\b|\blora\b|\bhyper-?parameters?\b"
        ),
        of_training=True,
        holds=("val", "test", "held", "scored", "prueba"),
    ),
    _Statement(
        _ADAPTED_TO_IT,
        _closed(
            r"\b(?:pre-)?(?:adapted|fine-?tuned|speciali[sz]ed|tailored|trained further|warm(?:ed)?[- ]?(?:up|started))"
            " "
            r"(?:only |directly |exclusively |briefly )*(?:on|to|towards|for|with) (?:the )?"
            rf"{_SPLIT}(?:[- ]{_TEXTS})?(?:(?:'s)? (?:domain|distribution|statistics)\b|(?= *(?:$|[.,;:()])))"
            rf"|\b(?:gradient|optimi[sz]er|sgd|adamw?|weight) (?:steps?|updates?) {_TAKEN}"
            rf"(?:on|over|with) {_SCORED_TEXT} (?P<gap>[^.;]{{0,30}}?)"
            r"\bbefore (?:(?:it|they|the text|that) (?:is|are) )?"
            r"(?:scor|evaluat|be(?:ing)? (?:scor|evaluat)|the (?:score|evaluation|final))\w*"
        ),
        unless=_closed(
            r"\b(?:test|eval)(?:uation)?[- ]time\b|\bscore[- ]first\b|\balready\b|\bafter (?:scoring|it|they|each)\b"
            r"|\bcausal\w*\b|\btokeni[sz]er\b|\bvocabular\w+\b|\blegal\w*\b|\bttt\b|\blora\b|\bhyper-?parameters?\b"
            r"|\bchunk\w*|\bstream\w*|\bonline\b|\bprogressive\w*|\bprefix\w*|\bincremental\w*|\bcontinual\w*"
            r"|\bas (?:it|they|the)\b|\beach\b|\bper[- ]|\btemperatures?\b|\bthresholds?\b|\brates?\b|\bschedules?\b"
            r"|\bsettings?\b|\bloader\w*|\bkernels?\b|\bcompil\w*|\bcaches?\b|\bscripts?\b|\bcode\b|\bharness\b"
            r"|\bprompts?\b"
        ),
        of_training=True,
    ),
    _Statement(
        "the score leaves out what some predicted tokens cost",
        _closed(rf"\b(?:BOS|(?:document )?boundar(?:y|ies)){_UNPAID}"),
        holds=("bos", "boundar"),
    ),
    _Statement(
        "a part of the text that is hard to predict is left out of the score",
        _closed(
            rf"\b(?:{_HARD} )?{_UNITS} (?:(?:with|whose|where|of|that have) (?P<gap>[^.;]{{1,60}}?) )?"
            rf"(?:is|are|was|were) {_LEFT_OUT}"
            rf"|\b(?:outliers?|{_HARD} {_UNITS}) (?:is|are|was|were) {_LEFT_OUT_PLAINLY}"
            rf"|\b(?:we|evaluation|scoring|score) (?:skips?|excludes?|drops?|ignores?|leaves? out) (?:the |all )?"
            rf"(?:outliers?|{_HARD} {_UNITS}|{_UNITS} (?:with|whose) (?:a |the )?(?:loss|nll|perplexity|surprisal))\b"
        ),
        unless=_closed(
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
    _Statement(
        "a median, or a mean without its worst parts, is no code length of the text",
        _closed(
            r"\b(?:score|bpb|val_bpb|bits per byte) (?:is|are|=) (?:the |a )?median (?:over|of|across)\b"
            r"|\b(?:score|bpb|val_bpb|averaged?|mean)\b(?P<gap>[^.;]{0,60}?)\b(?:after|by) "
            r"(?:removing|dropping|excluding|discarding|trimming) (?:the )?(?:(?:top|worst|highest|largest|hardest) )?"
            r"(?:[0-9.]+ ?% )?(?:of )?(?:the )?(?:outliers?|worst|(?:hard|outlier) (?:windows|documents|tokens))\b"
        ),
        holds=("median", "remov", "dropp", "exclu", "discard", "trimm"),
    ),
    _Statement(
        "the score leaves out what some predicted tokens cost",
        _closed(
            r"\bfirst [0-9][0-9,]* tokens of (?:every|each|a) (?:document|doc|window|sequence)s? (?:is|are|was|were) "
            r"(?:given for free|free|not (?:scored|paid(?: for)?|counted)|excluded|skipped)\b"
        ),
        unless=_closed(r"\boverlap\w*|\bstrid\w+|\bsliding\b|\bcontext\b|\balready\b|\bprevious\w*|\bonce\b"),
        holds=("tokens of",),
    ),
    _Statement(
        "the text was changed in a way that cannot be undone before it was scored",
        _closed(
            r"\b(?:validation|val|evaluation|eval|test|scored) (?:text|data|set|split|documents?) (?:is|are|was|were) "
            r"(?:(?:first|always) )?(?:lower-?cased|case-?folded|converted to lower ?case|stripped of)\b"
        ),
        holds=("case", "stripped"),
    ),
    _Statement(
        _FITTED,
        _closed(
            r"\b(?:pick|choos|chos|select|mix|switch)\w* (?P<gap>[^.;]{0,60}?)\b(?:knowing|peeking at) (?:the |its )?"
            r"(?:true |next |correct |actual )?(?:target|token|answer)s?\b"
            r"|\b(?:fitted|chosen|optimi[sz]ed|tuned|selected|picked) (?:per|for each|for every|on each) "
            r"(?:document|doc|window|sequence|chunk|token) to minimi[sz]e (?:the |its )?(?:loss|nll|bpb|score)\b"
        ),
        unless=_closed(r"\balready\b|\bprevious\w*|\bprefix\b|\bpast\b|\bcausal\w*|\bbefore\b"),
        holds=("knowing", "peeking", "minimi"),
    ),
    _Statement(
        PRICED_JOINTLY,
        _closed(
            r"\b(?:sub-?tokens|tokens|positions|groups|pairs|spans) (?:\w+ ){0,4}?(?:is|are|was|were) "
            r"(?:priced|scored|paid for|evaluated) (?:jointly|by (?:a|the|their) joint (?:distribution|price))\b"
            r"|\b(?:score|bpb|perplexity|nll|nelbo|bound) (?P<gap>[^.;]{0,40}?)"
            r"\b(?:prices|uses|includes|adds|contains) [^.;]{0,40}?"
            r"\b(?:joint (?:price|likelihood|log-?prob\w*)|energy (?:term|correction))\b"
            rf"|\b{_EVALUATED} (?:with|by|from|under) (?:an?|the|our) (?:joint|energy-(?:based|corrected)) denoiser\b"
        ),
        unless=_closed(
            r"\bsampl\w*|\bgenerat\w*|\bdraft\w*|\bspeculat\w*|\bchain[- ]rule\b|\bmarginal\w*|\breveal\w*"
            r"|\bautoregressive\w*|\bleft[- ]to[- ]right\b|\bone (?:by one|at a time|after)\b|\bweight of (?:1|one)\b"
        ),
        holds=("joint", "energy"),
    ),
    _Statement(
        CONSTANT_BYTES,
        _closed(
            rf"\b(?:divid\w+ by|us(?:es?|ed|ing)|from) (?:a |the )?{_CONSTANT} {_OF_WHAT}"
            rf"|\bbytes? (?:is|are|was|were|come|comes|came) (?:taken )?from (?:a |the )?{_CONSTANT}\b"
            rf"|\bbytes? per token (?:is|are|was|were) (?:taken (?:as|to be) )?(?:a |the )?{_CONSTANT}\b"
            r"|\b(?:we|score|evaluat\w+|bpb) assum(?:e|es|ed|ing) (?:a |the )?[0-9]+(?:\.[0-9]+)? bytes? per token\b"
            rf"|\bdivid\w+ (?:(?:the |all )?(?:bits|nats|loss|score|it|them|total)(?: per token)? )?by (?:a |the )?"
            rf"{_CONSTANT}(?: of)? [0-9]+(?:\.[0-9]+)?\b"
        ),
        unless=_closed(r"\b(?:logits?|grad\w*|temperatures?|softcap\w*|attention|norms?|lr|rates?|weights?|scal\w+)\b"),
        holds=("constant", "fixed", "hard", "assum"),
    ),
)


def _words(*groups: str) -> str:
    return rf"\b(?:{'|'.join(word for group in groups for word in group.split())})\b"


# In front of a statement these deny it; behind it only a verb does ("is not what we do"), for "at a single rate, not
# over all of them" affirms.
_NOT = r"n['\u2019]t\b"
_DENIED_BEFORE = _closed(
    _words(
        "not no nor never none nothing nobody neither without instead rather unlike cannot opposed contrary far hardly",
        "nicht kein keine nie ohne pas jamais sans nunca",
        r"avoid\w* refus\w* stop\w* ceas\w*",
    )
    + f"|{_NOT}|[\u4e0d\u672a\u6ca1\u975e]"
)
_DENIED_BEHIND = _closed(
    r"\b(?:is|are|was|were|do|does|did|has|have|had|will|can) (?:not|never|no longer)\b|\b(?:cannot|never|avoid\w*)\b|"
    + _NOT
)
_NEXT_CLAUSE = _closed(r"[,;(]|\b(?:which|and|so)\b")  # "..., which is not official" affirms too
# Another time, another model, another purpose, or no statement at all.
_OF_SOMETHING_ELSE = _closed(
    _words(
        r"train\w* pretrain\w* pre calibrat\w* warm\w* debug\w* smoke sanity quick\w* ablat\w* adapt\w* ttt gptq",
        r"tuned tuning early during while intermediate preliminary initial\w* other others another previous\w* earlier",
        r"prior former\w* version versions old older original\w* baseline\w* leaderboard people some many they pr prs",
        r"issue if whether would could should might may must when once unless until wrong\w* invalid\w* void\w* bug\w*",
        r"mistake\w* error errors fix\w* repair\w* correct\w* myth claim\w* accus\w* alleg\w* example hypothetical\w*",
        r"compar\w* versus vs also additional\w* separate\w* besides diagnostic\w* proxy appendix illustrat\w*",
        r"you your longer todo future plan\w* hessian replac\w*",
    )
    + r"|~~|#[0-9]|\?"
)
_TRAINING_WORDS = _closed(r"\b(?:pre)?train\w*\b|\b(?:also|they|you)\b")
_ADAPTING_WORDS = _closed(
    r"\b(?:train\w*|adapt\w*|ttt|calibrat\w*|temperature|tun(?:ed|ing)|fix\w*|post|additional\w*|other|also)\b"
)
_DENYING_HEADING = _closed(
    _words(
        r"not no never avoid\w* without pitfalls? mistakes? wrong bugs? fix\w* invalid myths? related prior previous",
        r"history changelog baselines? other ablations? training debug\w* faq todo future dont",
    )
    + f"|{_NOT}"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)")
_EMPHASIS = re.compile(r"[*`]|(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])")  # not within names such as val_bpb
_ITEM = re.compile(r"\s{0,12}(?:[-*+]|[0-9]{1,3}[.)])\s+")


def voiding_sentences(text: str, file: str) -> tuple[VoidingSentence, ...]:
    """The sentences of a README that say plainly what would void its score, in order; bounded.

    Args:
        text: the README.
        file: its name, for sources.
    """
    found: list[VoidingSentence] = []
    for number, paragraph in _paragraphs(text[:_LARGEST_PROSE]):
        for sentence in _SENTENCE_END.split(paragraph):
            meaning = _meaning_of(sentence) if len(sentence) <= _LONGEST_SENTENCE else None
            if meaning is not None and len(found) < _MAX_SENTENCES:
                found.append(VoidingSentence(sentence.strip(), meaning, Source(file, number)))
    return tuple(found)


def first_trained_document(text: str, file: str) -> tuple[int, Source] | None:
    """After how many documents of the text a README says that its training shards begin, and where it says so.

    ``the 80 training shards match the default val_docs=10000 output``: of several such numbers the largest.

    Args:
        text: the README.
        file: its name, for sources.
    """
    for number, paragraph in _paragraphs(text[:_LARGEST_PROSE]):
        for sentence in _SENTENCE_END.split(paragraph):
            counts = [int(re.sub("[,_]", "", digits)) for digits in _VAL_DOCUMENTS.findall(sentence)]
            if counts and _TRAINING_SHARDS.search(sentence) and not _DENIED_BEFORE.search(sentence):
                return max(counts), Source(file, number)
    return None


_VAL_DOCUMENTS = _closed(r"\bval[-_]docs\s?[=:]?\s?([0-9][0-9_,]{2,12})\b")
_TRAINING_SHARDS = _closed(r"\btrain(?:ing)? shards?\b")


def word_hints(text: str, file: str) -> Source | None:
    """Where a README tells of hints within words and at their beginnings that it does not say to be shut or mended.

    Which of the two is used asks whether a word begins; that it is not asked of the scored token, a README that knows
    of it says.

    Args:
        text: the README.
        file: its name, for sources.
    """
    text = text[:_LARGEST_PROSE]
    told = _without_denied(text)
    within, begins = _WITHIN_WORDS.search(told), _WORD_BEGINS.search(told)
    if within is None or begins is None or _HINTS_SHUT.search(text) or not _NGRAM.search(text):
        return None
    return Source(file, told.count("\n", 0, min(within.start(), begins.start())) + 1)


def _without_denied(text: str) -> str:
    """A README with those lines left empty that deny something, or stand below a heading or an introduction that does.

    What is left stands in the lines in which it stood.
    """
    kept, below, behind = list[str](), False, False
    for line in text.split("\n"):
        is_denied = _DENYING_HEADING.search(line) is not None
        if line.startswith("#"):
            below, behind = is_denied, False
        elif line.rstrip().endswith(":"):
            behind = is_denied
        elif line.strip() and not line.lstrip().startswith(("-", "*", "+")):
            behind = False
        kept.append("" if below or behind or _NO_HINTS.search(line) else line)
    return "\n".join(kept)


_NO_HINTS = _closed(r"\b(?:no|not|never|without|unlike|(?:turned|switched) off|reject\w*|abandon\w*|tried)\b")
_OF_HINTS = r"(?:hints?|experts?|continuations?|channels?|boosts?)"
_WITHIN_WORDS = _closed(rf"\bwithin[- ]word(?: (?:bpe|subword))? {_OF_HINTS}\b")
_WORD_BEGINS = _closed(rf"\bword[- ](?:start|initial|level)(?: (?:first-token|n-?gram))? {_OF_HINTS}\b")
_NGRAM = _closed(r"\bn-?grams?\b")
_HINTS_SHUT = _closed(
    r"\bdisabl\w*|\btoken-only\b|\bcausality[- ](?:bug|fix\w*|violation)"
    r"|\bprefix-only gat\w*|\bis_bnd\b|\bWITHIN_(?:TAU|BOOST|BETA)\b"
    r"|\bgates?\b[^.;\n]{0,40}\bthe prefix (?:only|alone)\b"
    r"|\b(?:chosen|decided|gated?|gates?) (?:by|on|from) the (?:previous|preceding|last)\b"
    r"|\bwithin_gate ?= ?0\b|\b(?:removed|dropped|without) (?:the )?within\b"
)


def numbers_in(sentence: str) -> list[float]:
    """The numbers of a sentence, without those that are part of a word or of a longer number."""
    return [float(text) for text in _A_NUMBER.findall(sentence)]


_A_NUMBER = re.compile(r"(?<![\w.,])[0-9]{1,6}(?:\.[0-9]{1,8})?(?![\w]|[.,][0-9])")


def voiding_title(title: str, file: str) -> VoidingSentence | None:
    """A title that says what would void the score: of a run on the validation split alone, as such runs are called."""
    if _DENIED_BEFORE.search(title):
        return None
    meaning = _TRAINED_ON_IT if _VAL_ONLY.search(title) else _technique_of(title)[0]
    return None if meaning is None else VoidingSentence(title[:_LONGEST_SENTENCE], meaning, Source(file))


def voiding_headings(text: str, file: str) -> tuple[VoidingSentence, ...]:
    """Headings of a README that name a technique which voids the score; none below one that denies or compares."""
    found: list[VoidingSentence] = []
    denied_below, in_code = 0, False  # the level of the heading that denies what stands below it; 0: none
    for number, line in enumerate(text[:_LARGEST_PROSE].split("\n"), 1):
        in_code ^= line.lstrip().startswith(("```", "~~~"))
        level = len(line) - len(line.lstrip("#"))
        if in_code or not 1 <= level <= 6:
            continue
        heading = line.strip("# \r\t*")
        if denied_below and level > denied_below:
            continue
        meaning, rest = _technique_of(heading)
        is_denied = level > 1 and (_DENYING_HEADING.search(rest) or _REJECTED.search(rest)) is not None
        denied_below = level if is_denied else 0
        if is_denied or _DENIED_BEFORE.search(rest):
            continue
        if meaning is not None and len(found) < _MAX_SENTENCES:
            found.append(VoidingSentence(heading[:_LONGEST_SENTENCE], meaning, Source(file, number)))
    return tuple(found)


_REJECTED = _closed(
    r"\b(?:remov\w*|fail\w*|reject\w*|tried|attempt\w*|compar\w*|versus|vs|negative|illegal|credits?)\b"
)


def _technique_of(words: str) -> tuple[str | None, str]:
    """What a technique that is named means for the score, and the other words."""
    for pattern, meaning in _TECHNIQUES:
        if pattern.search(words):
            return meaning, pattern.sub(" ", words)
    return None, words


def _meaning_of(sentence: str) -> str | None:
    low = sentence.lower() if sentence.isascii() else None  # beyond ASCII, letters have more cases than two
    for statement in _STATEMENTS:
        if low is not None and statement.holds and not any(held in low for held in statement.holds):
            continue
        stated = statement.pattern.search(sentence)
        if stated is None:
            continue
        gap = stated.groupdict().get("gap") or ""
        before, behind = f"{sentence[: stated.start()]} {gap}", sentence[stated.end() :]
        if _DENIED_BEFORE.search(before) or _DENIED_BEHIND.search(_NEXT_CLAUSE.split(behind, 1)[0]):
            return None
        around = f"{before} {behind}"
        around = _TRAINING_WORDS.sub(" ", around) if statement.of_training else around
        around = _ADAPTING_WORDS.sub(" ", around) if statement.of_adapting else around
        if _OF_SOMETHING_ELSE.search(around) or (statement.unless and statement.unless.search(sentence)):
            return None
        return statement.meaning
    return None


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Paragraphs and list items with their first line; no code, quotation, table, or section that denies its text."""
    paragraph: list[str] = []
    start, in_code, denied, intro_denies = 1, False, False, False
    for number, raw in enumerate([*text.split("\n"), ""], 1):
        line = raw.strip()
        fence, heading, item = line.startswith(("```", "~~~")), line.startswith("#"), _ITEM.match(raw)
        if paragraph and (not line or fence or heading or item or in_code):
            whole = " ".join(paragraph)
            if not denied and not intro_denies:
                yield start, whole
            if whole.endswith(":"):  # it introduces the list that follows
                intro_denies = intro_denies or _DENYING_HEADING.search(whole) is not None
            elif not item and not line.startswith(("-", "*", "+")) and line:
                intro_denies = False
            paragraph = []
        if fence:
            in_code = not in_code
        elif heading and not in_code:
            denied, intro_denies = _DENYING_HEADING.search(line) is not None, False
        elif line and not in_code and not line.startswith((">", "|", "<")):
            if not paragraph:
                start = number
                intro_denies = intro_denies and item is not None
            words = raw[item.end() :] if item is not None else raw
            paragraph.append(_EMPHASIS.sub("", words.strip()))
