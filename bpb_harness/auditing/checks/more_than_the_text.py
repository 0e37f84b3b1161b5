"""BPB105 whatever the tokenizer is: tokens times bytes per token are more bytes than the text has.

Names of tokenizers in prose are often another's. What the log loads and what the untrained network loses tell more:
so many tokens are the whole text under a vocabulary of that size, and none of that size has so many bytes a token.
"""

from __future__ import annotations

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import UNUSUAL, Evidence, Ratio, ratio_of
from bpb_harness.claim import LogRecord
from bpb_harness.findings import Finding
from bpb_harness.units import nats_to_bits

# Parts of the split of 1,048,576, 32,736 and 2,044 tokens have ratios 1 %, 2 % and 9 % off the whole's.
LARGEST_SLICE_SPREAD = 0.15
_FEWEST, _ONE = 3, 2e-3  # lines; relative, of their ratios
_LEAST_CHANGE, _WITH_THE_LOSS = 0.01, 0.02  # relative, of the loss; of its change, what the ratio may move by


def more_than_the_text(evidence: Evidence, ratio: Ratio) -> Finding | None:
    """What refutes a record that divides by more bytes than there are; None where another reading is left."""
    dataset = evidence.claim.dataset
    sizes = {size for log in evidence.claim_logs for size in log.split_tokens}
    losses = [loss for log in evidence.claim_logs if (loss := _untrained(log)) is not None]
    if dataset is None or len(sizes) != 1 or not losses or not has_one_ratio(evidence, ratio):
        return None
    size, table = sizes.pop(), evidence.rules.table
    bits = max(map(nats_to_bits, losses))
    text, usual = table.split_of_size(size, dataset, "any vocabulary"), table.usual_bytes_per_token(bits)
    if text is None or text.num_bytes is None or usual is None or abs(text.bytes_per_token / usual - 1.0) > UNUSUAL:
        return None  # more text than the split, it may be
    if ratio.value / max(text.bytes_per_token, usual) <= 1.0 + LARGEST_SLICE_SPREAD:
        return None
    off = ratio.value / text.bytes_per_token
    message = (
        f"every score line divides by {ratio.value:.5f} bytes per token (loss / ln 2 / score), and the log loads "
        f"{size:,} tokens: {size * ratio.value / 1e6:.1f} MB, where {dataset} has {text.num_bytes / 1e6:.2f} MB, "
        f"whatever the tokenizer is: {off:.4g} times the bytes that are there. The untrained network loses "
        f"{max(losses):.3g} nats a token, as with {2.0**bits:,.0f} pieces, which have about {usual:.2f} bytes each"
    )
    return codes.BYTES_WRONG.finding(
        message,
        factor=off,
        bytes_per_token=ratio.value,
        expected=text.bytes_per_token,
        tokenizer=f"{size:,} tokens",
        places=list(ratio.places),
    )


def _untrained(log: LogRecord) -> float | None:
    """Nats per token before anything was learnt, as the log's first line of a validation or of training has it."""
    validated = None if log.untrained is None else log.untrained.nats_per_token
    steps = [loss.value for loss in (log.first_loss, validated) if loss is not None]
    return max(steps, default=None)


def has_one_ratio(evidence: Evidence, ratio: Ratio) -> bool:
    """Whether all lines of the logs divide by one number, though the loss moves.

    Where the score is another quantity than the loss, such as a mixture's, their ratio moves with the loss: by as large
    a share of its change as the excess is of the score.
    """
    run = [line for log in evidence.claim_logs for line in log.lines]
    pairs = [(line.nats_per_token.value, found) for line in run if line.nats_per_token and (found := ratio_of(line))]
    if len(pairs) < _FEWEST or not all(found.same_estimator and found.is_near(ratio.value, _ONE) for _, found in pairs):
        return False
    (least, first), (most, last) = (pick(pairs, key=lambda pair: pair[0]) for pick in (min, max))
    moved = abs(first.value / last.value - 1.0) + first.uncertainty + last.uncertainty
    return most / least - 1.0 >= _LEAST_CHANGE and moved <= _WITH_THE_LOSS * (most / least - 1.0)
