"""``bpb-rules/1``: what may stand in a pack's file. One declaration is the check and the table of docs/rules.md."""

from __future__ import annotations

from bpb_harness.claim.line_template import PLACES
from bpb_harness.formats.kinds import Flag, Key, ListOf, Number, Record, Text, Whole
from bpb_harness.rules.denominators import SCOPES
from bpb_harness.rules.pack import BITS_PER_BYTE, NATS_PER_TOKEN

FORMAT = "bpb-rules/1"
_TEXT = Text(pattern=r"[\s\S]*\S[\s\S]*", what="non-blank text")  # blank words are in every text
_WORDS = ListOf(_TEXT)
_LINES = ListOf(Text(what="line, with places such as " + " and ".join(f"`{{{name}}}`" for name in PLACES[:2])))
_RATIO = Number(0.0)

MARKS = Record((
    Key("folders", _WORDS, "Names of folders in the path that is audited: of packs that a record fits alike otherwise, "
        "the one whose folder it lies in.", is_optional=True),
    Key("files", _WORDS, "Names of files of the record.", is_optional=True),
    Key("lines", _LINES, "Lines of its logs.", is_optional=True),
    Key("tokenizers", _WORDS, "Tokenizers that a record names, such as `sp1024`.", is_optional=True),
    Key("otherwise", Flag(), "Whether a record that names no text at all is taken for one of the contest; false if "
        "left out.", is_optional=True),
))  # fmt: skip

TEXT = Record((
    Key("name", _TEXT, "The text, as the denominators call it."),
    Key("also", _WORDS, "Words in a record's own name of its text by which this one is meant, in lower case.",
        is_optional=True),
    Key("but_not", _WORDS, "Words that say that it is another text after all.", is_optional=True),
    Key("documents", Whole(1), "Its documents, before each of which the denominators count a token that spells "
        "nothing; an evaluation may leave these out.", "documents", is_optional=True),
))  # fmt: skip

CLAIM = Record((
    Key("unit", Text((BITS_PER_BYTE, NATS_PER_TOKEN)), "What is claimed; `bits per byte` if left out.",
        is_optional=True),
    Key("logs", ListOf(Text(what="file name, with places `{number}` and `{text}`")), "Names of the logs that carry the "
        "claim, the best first: of several logs those that the first fitting name fits, or the next name where these "
        "print no score; if left out, or where none fits, all of them.", is_optional=True),
    Key("mean", Flag(), "Whether the claim is the mean of what several logs so called end with, where no record states "
        "another; false if left out: then none of them is chosen, unless `lines` say which of their lines count.",
        is_optional=True),
    Key("lines", _LINES, "In each log the last line of each of these together is the claim, where no record states "
        "another; if left out, the last score of a log.", is_optional=True),
    Key("tokens", Whole(1), "Of nats per token: the tokens of the text, the same for every claim.", "tokens",
        is_optional=True),
    Key("tokens_lines", _LINES, "Lines that say how many tokens were scored, by `{tokens}`; looked for in the script "
        "that a log begins with, too.", is_optional=True),
    Key("text", _TEXT, "Of nats per token: what the tokens are of, in words.", is_optional=True),
))  # fmt: skip

DENOMINATOR = Record((
    Key("dataset", _TEXT, "The text: a `name` of `texts`."),
    Key("tokenizer", _TEXT, "The tokenizer, such as `sp1024`."),
    Key("scope", Text(SCOPES), "How much of the text the row stands for; `full` if left out.", is_optional=True),
    Key("tokens", Whole(1), "Its tokens; zeros at the end of a large number say that it is rounded.", "tokens"),
    Key("bytes", Whole(1), "Its bytes.", "bytes", is_optional=True),
    Key("bytes_per_token", _RATIO, "Instead of `bytes`, where only this is known.", "bytes per token",
        is_optional=True),
))  # fmt: skip

BYTE_BUG = Record((
    Key("name", _TEXT, "The bug's name; those of `bpb-bytes` are explained with the finding."),
    Key("factor", _RATIO, "Counted bytes over right bytes.", is_optional=True),
    Key("lowest", _RATIO, "Instead of `factor`: the smallest, where it depends on the tokenizer.", is_optional=True),
    Key("highest", _RATIO, "With `lowest`: the largest.", is_optional=True),
    Key("story", _TEXT, "What the code does, in one clause."),
))  # fmt: skip

DOUBTED = Record((
    Key("dataset", _TEXT, "The text: a `name` of `texts`."),
    Key("bits_per_byte", _RATIO, "A record below this is not taken at its word.", "bits per byte"),
    Key("lowest_accepted", _RATIO, "The lowest score that stands after review; no less.", "bits per byte"),
    Key("as_of", _TEXT, "When that was so, such as `2026-05`."),
))  # fmt: skip

GAIN = Record((
    Key("more_than", _RATIO, "What is tested.", "nats per token"),
    Key("p_below", _RATIO, "Welch's one-sided p must lie below this."),
))  # fmt: skip

TARGET = Record((
    Key("at_most", _RATIO, "What the mean over runs must reach.", "the claim's"),
    Key("p_below", _RATIO, "Student's one-sided p must lie below this."),
    Key("waived", _TEXT, "For which entries no test is asked for, in words that follow \"waived\".",
        is_optional=True),
))  # fmt: skip

TIME = Record((
    Key("train_seconds", _RATIO, "For training.", "seconds", is_optional=True),
    Key("evaluate_seconds", _RATIO, "For the evaluation.", "seconds", is_optional=True),
    Key("slack", _RATIO, "Fraction of a limit by which runs end late and are accepted; 0 if left out.",
        is_optional=True),
    Key("lines", _LINES, "Lines that print a time, by `{train_ms}`, `{train_s}`, `{train_min}`, `{evaluate_ms}` and so "
        "on; the largest counts.", is_optional=True),
    Key("tracks", _WORDS, "Words, one of which the record's own track must hold for the limits to apply.",
        is_optional=True),
))  # fmt: skip

FIELDS = Record((
    Key("score", _WORDS, "The claim, the best first.", is_optional=True),
    Key("inside", _WORDS, "Objects that may hold the claim one level down.", is_optional=True),
    Key("seeds", _WORDS, "What holds the scores of single seeds.", is_optional=True),
    Key("spread", _WORDS, "The spread over seeds, or a standard error.", is_optional=True),
    Key("artifact_bytes", _WORDS, "The size of what was submitted.", is_optional=True),
    Key("num_steps", _WORDS, "Diffusion steps T.", is_optional=True),
    Key("scored_tokens", _WORDS, "Tokens scored.", is_optional=True),
    Key("num_windows", _WORDS, "Windows scored.", is_optional=True),
    Key("estimator", _WORDS, "Words that name the estimator.", is_optional=True),
    Key("track", _WORDS, "The part of the contest that it is entered for.", is_optional=True),
))  # fmt: skip

RULES = Record((
    Key("format", Text((FORMAT,)), "This format."),
    Key("name", _TEXT, "The pack's name: small letters, digits, `.`, `_`, `-`; not `none`."),
    Key("title", _TEXT, "One line about the contest."),
    Key("sources", _WORDS, "Where its facts were read.", is_optional=True),
    Key("remarks", _WORDS, "Sentences that every report under the pack says.", is_optional=True),
    Key("marks", MARKS, "By what a record is taken for one of the contest, where the pack is not asked for by name: "
        "files count before lines, those before texts, tokenizers, folders.", is_optional=True),
    Key("texts", ListOf(TEXT), "What is scored.", is_optional=True),
    Key("claim", CLAIM, "What is claimed, and which line of a log is the claim.", is_optional=True),
    Key("denominators", ListOf(DENOMINATOR), "Known bytes per token.", is_optional=True),
    Key("byte_bugs", ListOf(BYTE_BUG), "By what known bugs multiply the bytes of the text.", is_optional=True),
    Key("constants", ListOf(_RATIO), "Bytes per token that entrants are known to have assumed instead of counting.",
        "bytes per token", is_optional=True),
    Key("doubted", ListOf(DOUBTED), "Scores that no record is believed below.", is_optional=True),
    Key("largest_artifact", Whole(1), "What may be submitted.", "bytes", is_optional=True),
    Key("least_runs", Whole(1), "Runs that a claim must rest on.", is_optional=True),
    Key("gain", GAIN, "By what a claim must beat the `--baseline`.", is_optional=True),
    Key("target", TARGET, "What a claim must reach.", is_optional=True),
    Key("time", TIME, "How long a run may take.", is_optional=True),
    Key("fields", FIELDS, "Keys of its records in JSON, before those that any record may have.", is_optional=True),
))  # fmt: skip
