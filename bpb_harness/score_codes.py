"""The codes of a score's findings and what each means: docs/codes.md prints them, and so does ``--explain``.

A code never changes its meaning. A score with findings is still a score; what voids one is refused instead.
"""

from __future__ import annotations

SCORE_CODES: dict[str, str] = {
    "adaptation": "The network learnt on the way from text that was scored before: how many chunks of how many tokens.",
    "adaptation.kept": "Chunks of a network that learns were kept from an earlier run's `--resume`.",
    "adaptation.not-reached": "Weights of a network that learns have no gradient, and stay as they are.",
    "adapter": "What the adapter took for granted, since no tensor and no setting of the checkpoint says it.",
    "answers": "How many answers were scored, each given its prompt and its number of tokens.",
    "answers.border": "A prompt ends inside a token: that token is paid for whole, and the answer alone has bytes.",
    "answers.bytes": "The tokens of some answers spell fewer bytes than are written; `--bytes raw` counts those.",
    "answers.one-draw": "One draw an answer tells nothing of its error: pass `--samples 2` or more.",
    "answers.prompt-cut": "Prompts were cut from the left, to fit into the context with their answers.",
    "batch-halved": "A batch did not fit into memory and smaller ones were taken. The score is the same.",
    "bytes.foreign-tokenizer": "Text encoded again gives other tokens than the shards hold: the tokenizer may not be "
    "that of the shards, and then the bytes and the score are wrong. Pass the one that wrote them.",
    "bytes.literal-symbol": "Documents hold a literal U+2581, which the tokens give back as a space: it counts 1 byte "
    "instead of 3 (BPB176 of bpb-bytes).",
    "bytes.none": "The score is in bits per token alone, because `--bytes none` was asked for, and why that is needed.",
    "bytes.not-its-tokenizer": "Token ids spell something else than by the tokenizer inside the checkpoint, and the "
    "score was made all the same, by `--no-contract`.",
    "bytes.official-not-exact": "The official rule counts other bytes than the pieces spell: a warning, with the score "
    "by those, where that moves it by 0.25 % or more. `--bytes exact` divides by those, and bpb-bytes explains the "
    "difference.",
    "compiled": "The network was compiled: how long that took, and how far its answers are from the plain network's.",
    "context": "The context length was guessed as the longest that the network takes: pass `--context`.",
    "contract.mask-mass": "The network gives the mask a share of its mass, which the harness takes away: that lowers "
    "the score.",
    "contract.not-bit-identical": "Answers to the same input differ in their last digits, within rounding.",
    "contract.precision": "Low precision moves the score by more than its sampling error: pass `--dtype float32`.",
    "contract.shifted": "The network predicts the token beside the one that belongs to a place: its logits are shifted "
    "by a position, and the score is of that, far too high; or it is hardly trained.",
    "contract.time-conditioning-unused": "The network says that it depends on the noise level, and does not.",
    "data": "Which text was scored, and where its name was found.",
    "documents.no-error": "Too few passes for errors of single documents and slices; `--tolerance` makes more.",
    "draws.kept": "Draws were kept from an earlier run's `--resume`, and some of them scored again, to compare.",
    "error.not-to-be-trusted": "The draws are such that their scatter does not tell the error of the score: a few dear "
    "ones decide, or all are alike. Pass more `--samples`, or `--tolerance`.",
    "few-draws": "So few draws, or one of each window, tell little of their own error. Pass more `--samples`.",
    "fused": "The network ran in kernels of its own: when they were ready, and how far its answers are from the plain "
    "network's.",
    "given.lengths": "Lengths of documents are given to the code and not paid for; what sending them would add.",
    "given.prefix": "The first tokens of each window are visible, not paid for and not counted: `--unpaid-prefix`.",
    "mask.row-behind-pieces": "The mask is said to be a piece of the tokenizer, and the network has one row more than "
    "there are pieces, as for a mask: look which one it was trained with.",
    "method": "No method was named: the network is autoregressive, and is scored by `ar`.",
    "not-compiled": "Compiling the network failed, or changed its answers: it ran as it is, slower.",
    "not-fused": "The kernels of the network's own failed, or changed its answers: it was compiled instead.",
    "not-specialised": "The adapter's faster form could not be compiled: the network was compiled as it is written.",
    "pilot": "Draws of a pilot, which enter no total, fixed how many passes `--tolerance` takes.",
    "replicates": "Some windows were drawn twice, for the error alone.",
    "score.below-source": "The score of the whole text lies below what the text's own source needs, by more than four "
    "errors and 20 bits. No model can do that on average: look for text that was seen, tokens that are not paid for, "
    "and bytes counted twice. Exit code 4.",
    "score.worse-than-uniform": "The network costs more than guessing blindly: tokenizer, adapter, mask id or schedule "
    "are probably not its own, its logits are shifted by a position, its attention looks another way than in training, "
    "or it is not trained. The exit code stays 0.",
    "score.worse-than-unigram": "The network costs more than counting tokens as they come, by more than four standard "
    "errors of its masks and 20 bits; causes as of `score.worse-than-uniform`. The exit code stays 0.",
    "text.empty-documents": "Documents are empty: what stands before each is paid for, and has no byte.",
    "text.padding": "Tokens that spell nothing stand in a row and are paid for. Write the shards without padding.",
    "text.separator": "Which token sets documents off, and what says so.",
    "text.separator-is-no-text": "The token that sets documents off spells no byte, though its tokenizer's own file "
    "takes it for text.",
    "tokenizer": "What the reader of the tokenizer took for granted, or left out.",
    "tolerance.missed": "The interval came out wider than `--tolerance`: the passes differ more than the pilot's draws "
    "did. Going on from there would choose by the draws; run again with a smaller tolerance.",
}
