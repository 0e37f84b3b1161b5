"""BPB421 to 423: a claim in nats per token, as the rules of some contests have it, which needs no bytes.

It is no score in bits per byte. What a record can show is that each log ends with its loss, and how many tokens were
scored; the rules fix which text that is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.reading import LOWEST_SCORE
from bpb_harness.auditing.evidence import Evidence, LoggedLoss
from bpb_harness.findings import Finding, first_of
from bpb_harness.units import bits_to_nats

_MAX_PLACES = 4


def check_losses(evidence: Evidence) -> Iterator[Finding]:
    """What the logs end with, and whether they scored the tokens that the rules fix."""
    losses, rule = evidence.losses, evidence.rules.pack.claim
    places = [str(each.loss.source) for each in losses]
    message = f"{told_losses(losses)} ({first_of(places, _MAX_PLACES)}), by the line that the rules name"
    yield codes.LOSSES_IN_LOGS.finding(message, places=[*places], losses=[each.loss.value for each in losses])
    yield from _implausible(losses)
    yield from _scores_beside(evidence)
    if rule.num_tokens is None:
        message = "the rules fix no number of tokens, so losses of different records need not be of one text"
        yield codes.OTHER_TOKENS.finding(message, missing="the text that was scored")
        return
    yield _tokens(losses, rule.num_tokens, rule.text or "")


def _implausible(losses: Sequence[LoggedLoss]) -> Iterator[Finding]:
    # A token spells a byte at least, so that no model of text is below this; log V of the largest vocabularies is 13.
    lowest, highest = bits_to_nats(LOWEST_SCORE), 20.0
    for each in losses:
        if not lowest <= each.loss.value <= highest:
            message = (
                f"{each.loss.source} has a loss of {each.loss.value:.6g} nats per token; text models lie between "
                f"{lowest:.2f} and {highest:g}"
            )
            yield codes.IMPLAUSIBLE.finding(message, claimed=each.loss.value)


def _scores_beside(evidence: Evidence) -> Iterator[Finding]:
    """Bits per byte that the logs print too: the loss is the claim, and nothing is said of them."""
    finals = [log.final for log in evidence.claim.logs if log.final is not None]
    if finals:
        last = finals[-1].bpb
        message = (
            f"the claim is the loss; the logs print bits per byte too ({last} at {last.source}), which the rules do "
            "not claim: no number of bytes was held against them"
        )
        yield codes.CHOICE.finding(message, place=str(last.source), bits_per_byte=last.value)


def _tokens(losses: Sequence[LoggedLoss], num_tokens: int, text: str) -> Finding:
    missing = f"a log with the script that ran, which says that {num_tokens:,} tokens were scored"
    silent = [each.log.file for each in losses if not each.num_tokens]
    other = [each for each in losses if each.num_tokens and each.num_tokens != (num_tokens,)]
    if other:
        said = ", ".join(f"{each.log.file} says {_sizes(each)}" for each in other[:_MAX_PLACES])
        message = f"the rules are about {num_tokens:,} tokens, {text}; {said}: of another text, or another loss"
        return codes.OTHER_TOKENS.finding(message, files=[each.log.file for each in other], missing=missing)
    if silent:
        said = f"{silent[0]} does not say" if len(silent) == 1 else f"{len(silent)} of {len(losses)} logs do not say"
        message = f"the rules are about {num_tokens:,} tokens, {text}; {said} how many were scored"
        return codes.OTHER_TOKENS.finding(message, files=[*silent], missing=missing)
    message = f"{num_tokens:,} tokens were scored, by the settings in each log, as the rules ask: {text}"
    return codes.TOKENS_OF_RULES.finding(message, num_tokens=num_tokens)


def _sizes(each: LoggedLoss) -> str:
    return " and ".join(f"{size:,}" for size in each.num_tokens)


def told_losses(losses: Sequence[LoggedLoss]) -> str:
    """What logs end with, in words; a mean only of logs that hold the same script."""
    if len(losses) == 1:
        return f"{losses[0].log.file} ends with a loss of {losses[0].loss} nats per token"
    in_order = sorted((each.loss for each in losses), key=lambda loss: loss.value)
    told = f"losses of {in_order[0]} to {in_order[-1]} nats per token"
    if len({each.log.code_digest for each in losses} | {None}) != 2 or losses[0].log.code_digest is None:
        return f"{len(losses)} logs, not all of one script, end with {told}"
    mean = math.fsum(loss.value for loss in in_order) / len(losses)
    return f"{len(losses)} logs of one script end with {told}, {mean:.5f} on average"
