"""``bpb-proof/1``: what came of windows that were coded, and of a file of bits that was decoded."""

from __future__ import annotations

from bpb_harness.formats.kinds import Flag, Key, ListOf, Number, Record, Text, Whole, maybe

PROOF_FORMAT = "bpb-proof/1"
_BITS, _BYTES = "bits", "bytes"

_WRITTEN_BY = Record((
    Key("bpb_harness", Text(), "Version of bpb-harness."),
    Key("torch", Text(), "Version of torch."),
    Key("device", Text(), "`cpu` or `cuda`."),
    Key("device_name", Text(), "Its name."),
    Key("dtype", Text(), "Arithmetic of the network."),
    Key("threads", Whole(1), "Threads of the processor."),
))  # fmt: skip

PROOF = Record((
    Key("format", Text((PROOF_FORMAT,)), "This format; the first key."),
    Key("made_by", Text(("--proof", "--decode")), "Whether the file of bits was written and read back, or only read."),
    Key("verdict", Text(("proved", "refuted", "decoded")), "Exit code 0, 1 or 3: `decoded` is not isolated, or its "
        "contract was not checked."),
    Key("sentence", Text(), "What follows, in words."),
    Key("score", Text(), "The line of the score that the windows are of."),
    Key("model", Text(), "Digest of the checkpoint."),
    Key("data", Text(), "Digest of the text."),
    Key("tokenizer", Text(), "Digest of the tokenizer."),
    Key("tokens", Text(), "Digest of the tokens that were coded."),
    Key("num_spans", Whole(1), "Windows of the score."),
    Key("windows", ListOf(Whole()), "Those that were coded, by their index."),
    Key("num_tokens", Whole(1), "Tokens of these.", "tokens"),
    Key("num_bytes", maybe(Whole()), "Bytes of their text; null where they are not counted.", _BYTES),
    Key("bits", Whole(), "Bits of these tokens in the file.", _BITS),
    Key("network_bits", maybe(Number()), "-log2 p of these tokens by the network, while they were decoded; where they "
        "did not come back, what the file says.", _BITS),
    Key("bits_per_byte", maybe(Number(0.0)), "Bits of the file over the bytes of the text.", "bits per byte"),
    Key("bits_per_token", Number(0.0), "Bits of the file over the tokens.", "bits per token"),
    Key("claimed_bits", maybe(Number()), "What these windows are claimed to cost, worked out again; null of "
        "`--decode`.", _BITS),
    Key("claim_stderr_bits", maybe(Number(0.0)), "Its standard error.", _BITS),
    Key("draw_stderr_bits", maybe(Number(0.0)), "How much such a file varies with the shared randomness.", _BITS),
    Key("num_wrong_tokens", maybe(Whole()), "Tokens that came back as others, or not at all; null of `--decode`, "
        "which knows a digest of them alone.", "tokens"),
    Key("came_back", Flag(), "Whether the tokens are those that were written."),
    Key("lost", maybe(Text()), "Why nothing came back, where nothing did."),
    Key("runs_code", Flag(), "Whether code that came with the checkpoint ran."),
    Key("out_of_reach", ListOf(Text()), "What the decoding process could not reach."),
    Key("is_isolated", Flag(), "Whether it could reach neither the network nor files."),
    Key("differences", ListOf(Text()), "How this machine differs from the one that wrote the file."),
    Key("written_by", _WRITTEN_BY, "What wrote the file."),
    Key("file_bytes", Whole(), "Of the whole file.", _BYTES),
    Key("checkpoint_bytes", maybe(Whole()), "Of the checkpoint; null of `--decode`.", _BYTES),
))  # fmt: skip
