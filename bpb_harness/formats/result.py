"""``bpb-result/1``: the JSON of a score, key by key."""

from __future__ import annotations

from dataclasses import fields

from bpb_harness.formats.kinds import Either, Flag, Key, ListOf, Null, Number, Record, Text, Whole, maybe
from bpb_harness.result import ESTIMATED_BOUND, EXACT, FORMAT, UPPER_BOUND, Signature

_PER_UNIT = "bits per byte; bits per token where no bytes are counted"
_BPB, _BPT = "bits per byte", "bits per token"

_MEANINGS = {
    "method": "`--method` by which the score was computed.",
    "num_steps": "T of the discrete bound.",
    "schedule": "Noise schedule with its parameters.",
    "num_samples": "K, draws a window and pass; `all`: every step of the grid.",
    "passes": "Passes over the text that `--tolerance` made; null: one.",
    "order": "Order of the chain rule, and `per-document` where documents are scored by themselves.",
    "stride": "`--stride`.",
    "block_size": "`--block-size`.",
    "unpaid_prefix": "`--unpaid-prefix`: first tokens of each window that are given.",
    "given": "What is known beside the text: `lengths`, or `prompts+lengths` of answers.",
    "told": "What a network is told of a span's noise, where a context leaves a choice.",
    "enumeration": "`off` where short answers were sampled although all their masks could be gone through.",
    "byte_rule": "Rule by which bytes are counted.",
    "data": "Text: its name, the beginning of its digest, and which part of it was scored.",
    "tokenizer": "Beginning of the tokenizer's digest.",
    "separator": "Token that sets documents off, where it does not follow from the tokenizer's file.",
    "context_length": "Tokens a window, at most.",
    "tail": "What became of a last, shorter window.",
    "model": "Beginning of the digest of the checkpoint.",
    "adapter": "How the checkpoint was read.",
    "contract": "How the network's behaviour was checked.",
    "dtype": "Arithmetic of the network.",
    "seed": "Seed of all randomness; null where nothing is drawn.",
    "adaptation": "How the network learnt on the way, `--ttt`.",
}
_WORDS = {"num_samples": Either((Whole(1), Text(("all",)), Null()))}


def _settings() -> tuple[Key, ...]:
    """The entries of the signature as fields of their own."""
    keys = []
    for entry in fields(Signature):
        if entry.name in ("method", "version"):
            continue
        kind = Whole() if entry.metadata["number"] else Text()
        always = entry.default is not None and entry.metadata["alone"]
        typed = _WORDS.get(entry.name) or (kind if always else maybe(kind))
        meaning = f"{_MEANINGS[entry.name]} `{entry.metadata['key']}` in the signature."
        keys.append(
            Key(entry.name, kind if entry.metadata["later"] else typed, meaning, is_optional=entry.metadata["later"])
        )
    return tuple(keys)


VERSIONS = Record((
    Key("bpb_harness", maybe(Text()), "Version of bpb-harness; `version` in the signature."),
    Key("torch", maybe(Text()), "Version of torch."),
    Key("python", maybe(Text()), "Version of Python."),
))  # fmt: skip

EXPECTATION = Record((
    Key("bits_per_byte", Number(), "`--expect`.", _BPB),
    Key("within", Number(0.0), "`--within`.", _BPB),
    Key("met", Flag(), "Whether the score is that near."),
))  # fmt: skip

FINDING = Record((
    Key("code", Text(), "Stable name, such as `contract.mask-mass`."),
    Key("message", Text(), "One line."),
))  # fmt: skip

TERMS = Record((
    Key("prior", Number(), "What is not yet hidden at t = 1.", "nats", is_optional=True),
    Key("diffusion", Number(), "The steps.", "nats", is_optional=True),
    Key("reconstruction", Number(), "The last step, at t = 0.", "nats", is_optional=True),
))  # fmt: skip

ANSWERS = Record((
    Key("num_answers", Whole(1), "Answers that were scored."),
    Key("num_sampled", Whole(), "Answers of which masks, or noise levels, were drawn."),
    Key("num_prompts_cut", Whole(), "Prompts of which a part was not visible."),
    Key("num_borders_moved", Whole(), "Documents in which last tokens of the prompt are paid for with the answer."),
))  # fmt: skip

SOURCE = Record((
    Key("description", Text(), "Which source wrote the text."),
    Key("entropy_bits_per_byte", Number(), "Its entropy rate.", _BPB),
    Key("code_length_bits_per_byte", Number(), "Its own code length of the whole text.", _BPB),
    Key("code_length_bits", Number(), "The same, in all.", "bits"),
    Key("num_bytes", Whole(1), "Bytes of that text.", "bytes"),
))  # fmt: skip

PHASES = Record((
    Key("imports", Number(0.0), "Importing what scores.", "seconds", is_optional=True),
    Key("loading", Number(0.0), "Reading the checkpoint, the tokenizer and the text.", "seconds", is_optional=True),
    Key("bytes", Number(0.0), "Counting the bytes of the text, and reading what is remarked of it.", "seconds",
        is_optional=True),
    Key("checks", Number(0.0), "The contract, before and after, and the second look.", "seconds", is_optional=True),
    Key("compiling", Number(0.0), "Compiling the network.", "seconds", is_optional=True),
    Key("scoring", Number(0.0), "The network on the text, and what is made of its answers.", "seconds",
        is_optional=True),
    Key("adapting", Number(0.0), "Learning from chunks that were scored.", "seconds", is_optional=True),
    Key("marks", Number(0.0), "The reference marks.", "seconds", is_optional=True),
))  # fmt: skip

MARKS = Record((
    Key("uniform", Number(0.0), "Every token at the same price.", _PER_UNIT),
    Key("unigram", Number(0.0), "A code that learns how often each token occurs, as it goes.", _PER_UNIT),
    Key("bigram", Number(0.0), "One that learns what follows each token, as it goes.", _PER_UNIT),
    Key("xz", maybe(Number(0.0)), "The bytes of the text, packed by `xz -6`; null for a text that is long, or that "
        "tokens do not give back.", _PER_UNIT),
    Key("num_clean_tokens", Whole(1), "How many ids a token may have."),
))  # fmt: skip

SLICE = Record((
    Key("slice", Text(), "Value of the field; numbers, true, false and null as JSON writes them."),
    Key("num_documents", Whole(1), "Documents with that value of which anything was scored."),
    Key("num_tokens", Whole(), "Their tokens that were paid for.", "tokens"),
    Key("num_bytes", maybe(Whole()), "Their bytes; null where none are counted.", "bytes"),
    Key("bits", Number(), "What they cost.", "bits"),
    Key("mc_stderr", maybe(Number(0.0)), "Standard error from the sampling of masks; 0 where none is drawn, null where "
        "the draws do not show it.", _PER_UNIT),
    Key("documents_stderr", maybe(Number(0.0)), "Standard error over the choice of documents, with the noise of their "
        "masks; null of fewer than two.", _PER_UNIT),
    Key("bits_per_unit", maybe(Number()), "Bits over bytes, or tokens; null where there are none.", _PER_UNIT),
))  # fmt: skip

_T_CURVE = Record((
    Key("steps", maybe(Whole(1)), "T; null: infinity."),
    Key("bits_per_byte", Number(), "The T-step bound that f(u) implies.", _PER_UNIT),
))  # fmt: skip
_F_CURVE = Record((
    Key("move_chance", Number(0.0), "u, the mask rate."),
    Key("bits_per_token", Number(), "f(u), the mean masked cross-entropy.", _BPT),
    Key("stderr", Number(0.0), "Its standard error.", _BPT),
))  # fmt: skip

COMPARISON = Record((
    Key("discrete", Number(), "The T-step bound.", _PER_UNIT),
    Key("mc", Number(), "The continuous bound.", _PER_UNIT),
    Key("gap_bits_per_byte", Number(), "The first minus the second.", _PER_UNIT),
    Key("gap_stderr", Number(0.0), "Standard error of the gap, from coupled draws.", _PER_UNIT),
    Key("predicted_gap_bits_per_byte", Number(), "The gap that f(u) implies.", _PER_UNIT),
    Key("predicted_gap_stderr", Number(0.0), "Its standard error.", _PER_UNIT),
    Key("consistent", maybe(Flag()), "Whether the two gaps agree; null: too few masks differ to judge."),
    Key("threshold", Number(0.0), "Standard errors within which they must agree."),
    Key("t_curve", ListOf(_T_CURVE), "The T-step bound by T."),
    Key("f_curve", ListOf(_F_CURVE), "Masked cross-entropy by mask rate."),
))  # fmt: skip

RESULT = Record((
    Key("format", Text((FORMAT,)), "This format; the first key."),
    Key("bits_per_byte", maybe(Number()), "The score: total bits over total bytes; null where no bytes are counted.",
        _BPB),
    Key("relation", Text((EXACT, UPPER_BOUND, ESTIMATED_BOUND)),
        "`=` an exact code length, `<=` a bound, `~<=` an unbiased estimate of a bound."),
    Key("method", maybe(Text()), f"{_MEANINGS['method']} `method` in the signature."),
    Key("mc_stderr", maybe(Number(0.0)), "Standard error from the sampling of masks; 0 where none is drawn, null where "
        "nothing tells it.", _PER_UNIT),
    Key("corpus_stderr", maybe(Number(0.0)), "Standard error over the choice of windows; null where it cannot be "
        "estimated.", _PER_UNIT),
    Key("ci95", maybe(ListOf(Number(), 2)), "95 % interval of the bound on this text, of `mc_stderr` alone.",
        _PER_UNIT),
    Key("bits_per_token", Number(), "Total bits over total tokens.", _BPT),
    Key("bytes_per_token", maybe(Number(0.0)), "Total bytes over total tokens.", "bytes"),
    Key("num_tokens", Whole(1), "Tokens that were paid for.", "tokens"),
    Key("num_bytes", maybe(Whole(1)), "Bytes that they spell, by `byte_rule`; null where none are counted.", "bytes"),
    Key("num_windows", Whole(1), "Windows, or other spans, that were scored."),
    Key("nats", Number(), "Total code length, or bound on it.", "nats"),
    Key("terms_nats", TERMS, "Its terms; empty for methods that have none."),
    Key("signature", Text(pattern=r"bpb(?:\|[a-zA-Z]+:[^|\s]+)*", what="a line bpb|KEY:VALUE|..."),
        "Everything that the score depends on, in one line."),
    *_settings(),
    Key("versions", VERSIONS, "What computed it."),
    Key("expectation", maybe(EXPECTATION), "What `--expect` asked, and whether it is met; null where nothing was."),
    Key("num_forward_tokens", Whole(), "Tokens that went through the network in this run.", "tokens"),
    Key("seconds", Number(0.0), "Wall clock of the scoring, without loading.", "seconds"),
    Key("forward_tokens_per_second", maybe(Number(0.0)), "The one over the other; null where nothing was run.",
        "tokens per second"),
    Key("device", Text(), "Where it ran, in words."),
    Key("peak_memory_bytes", maybe(Whole()), "The most GPU memory held at once, on one device; null on a CPU.",
        "bytes"),
    Key("findings", ListOf(FINDING), "What a reader should know."),
    Key("separator_id", Whole(), "Token that stands before each document, or sets documents off in the shards.",
        is_optional=True),
    Key("answers", ANSWERS, "How answers were scored.", is_optional=True),
    Key("bits_per_document", maybe(Number()), "Total bits over documents, or answers.", "bits", is_optional=True),
    Key("num_documents", maybe(Whole(1)), "Documents of the text, or answers; null where that is not known.",
        is_optional=True),
    Key("source", SOURCE, "What the text costs under the very source that wrote it, where that is known.",
        is_optional=True),
    Key("seconds_by_phase", PHASES, "Wall clock of all that was done for the score.", is_optional=True),
    Key("reference_marks", MARKS, "What the same tokens cost those who have learnt nothing beforehand.",
        is_optional=True),
    Key("slices", ListOf(SLICE), "Of `--slice`: the score by the values of a field, the largest first.",
        is_optional=True),
    Key("comparison", COMPARISON, "Of `--compare`: both bounds.", is_optional=True),
))  # fmt: skip
