"""What a score says, in sentences: which kind of number it is, how sure, about what, and what would make it surer."""

from __future__ import annotations

import math
import re

from bpb_harness.result import (
    ESTIMATED_BOUND,
    EXACT,
    MAX_PASSES,
    MAX_SAMPLES,
    UNTRUSTED_ERROR,
    BpbResult,
    Expectation,
    ReferenceMarks,
)
from bpb_harness.units import counted

WANTED = 0.01  # half of an interval, in bits per byte, that papers print two digits by
_NORMAL_95 = 1.959963984540054
_LONGER = 1.5  # times


def headline(result: BpbResult) -> str:
    """The number, with its relation and its interval."""
    unit = f"bits per {result.unit}"
    text = f"{result.relation} {result.length.bits_per_unit:.4f} {unit}"
    if result.mc_stderr and result.ci95 is not None:
        text += f" (95 % interval {said_interval(result.ci95)}{', not to be trusted' if is_untrusted(result) else ''})"
    return text


def said_interval(interval: tuple[float, float], between: str = " .. ") -> str:
    """An interval of a bound, in words: none is below 0, so that what a wide error leaves there is cut off.

    The interval covers no less for it. A number's own ``ci95`` stays the error to either side.
    """
    low, high = interval
    return f"{max(low, 0.0):.4f}{between}{high:.4f}"


def is_untrusted(result: BpbResult) -> bool:
    """Whether the error is known to be wrong."""
    return any(remark.code == UNTRUSTED_ERROR for remark in result.remarks)


def kind_of_number(result: BpbResult) -> str:
    """What the relation means, of which quantity."""
    what = _quantity(result)
    given = ", each given its prompt and its length" if result.answers is not None else ""
    text = "these answers" if result.answers is not None else "this text"
    if result.relation == EXACT:
        return f"an exact code length: {what} needs this for {text}{given}"
    if result.relation == ESTIMATED_BOUND:
        return f"an estimate, from sampled masks, of an upper bound: {what} needs at most that for {text}{given}"
    return f"an upper bound, not estimated: {what} needs at most this for {text}{given}"


def _quantity(result: BpbResult) -> str:
    plain = _network(result)
    if result.signature.adaptation is None:
        return plain
    return f"{plain.rstrip(',')}, which learns from each chunk of the text once that is paid for,"


def _network(result: BpbResult) -> str:
    signature = result.signature
    match signature.method:
        case "ar":
            return "the autoregressive network"
        case "chain":
            order = f" in the order {signature.order}" if signature.order else ""
            return f"the network, asked for one group of tokens after the other{order},"
        case _ if signature.num_steps is not None:
            return f"the network, unmasking in {counted(int(signature.num_steps), 'step')} (discrete time),"
        case _:
            return "the network, unmasking in continuous time,"


def about_masks(result: BpbResult) -> str:
    """How far the number may be from what it stands for, because masks were sampled."""
    if result.relation != ESTIMATED_BOUND:
        return "none were sampled: on this very text the number has no error but rounding"
    if result.mc_stderr is None:
        if result.signature.num_samples == "1":
            return "the error is not known: one draw of each answer does not tell it; pass --samples 2 or more"
        return (
            "the error is not known: the draws of every answer agree, and may have met one mask alone; "
            f"{_more_draws(result)} may meet others"
        )
    if result.ci95 is None:
        return f"standard error {result.mc_stderr:.4f}"
    drawn = "which noise levels were drawn" if result.signature.method == "exact" else "which masks were sampled"
    said = (
        f"standard error {result.mc_stderr:.4f}. The interval covers this alone: {drawn}, with this network on this "
        "very text"
    )
    if result.ci95[0] < 0.0:
        said += "; it is cut off at 0, below which there is no code, and so wide that it says little"
    if is_untrusted(result):
        return (
            f"{said}. Do not trust it, for the reason given below; {_more_draws(result)} meets rare masks more often, "
            "and shows whether the score stays"
        )
    return said


def about_other_text(result: BpbResult) -> str:
    """How far the number would move on other text of the same kind."""
    what = _parts_of_text(result)
    if result.corpus_stderr is not None:
        return (
            f"standard error {result.corpus_stderr:.4f}, in no interval above: how far the score would move on other "
            f"text of the same kind, judged by how these {result.length.num_windows:,} {what} differ"
        )
    if result.length.num_windows < 2:
        return f"how far the score would move on it is not known from 1 {what[:-1]}; score more text"
    if result.mc_stderr is None:
        return f"how far the score would move on it is not known, for what masks do to these {what} is not"
    return (
        f"how far the score would move on it is not known: the {what} differ by no more than the sampled masks do; "
        f"{_more_draws(result)} would part the two"
    )


def _more_draws(result: BpbResult) -> str:
    drawn = result.signature.num_samples
    more = 4 * int(drawn) if drawn is not None and drawn.isdecimal() else math.inf
    return f"--samples {more}" if more <= MAX_SAMPLES else "more text"


def _parts_of_text(result: BpbResult) -> str:
    """What the score is a sum over: answers, windows, or parts of them."""
    if result.answers is not None:
        return "answers"
    return "windows" if result.signature.block_size is None and result.signature.stride is None else "spans"


def ways_to_less_error(result: BpbResult) -> list[str]:
    """How many draws, and how much text, would bring an error down to +- 0.01; none where it is there already.

    The error of a mean falls as one over the root of how much of it is drawn; draws that are spread evenly do somewhat
    better, so these are no fewer than it takes.
    """
    ways = []
    if result.mc_stderr and result.ci95 is not None and not is_untrusted(result):
        half = (result.ci95[1] - result.ci95[0]) / 2.0
        if half > WANTED:
            ways.append(f"of the masks (now +- {half:.4f}): {_draws_needed(result, (half / WANTED) ** 2)}")
    if result.corpus_stderr is not None and (half := _NORMAL_95 * result.corpus_stderr) > WANTED:
        scored = result.length.num_windows
        what = _parts_of_text(result)
        windows = math.ceil(scored * (half / WANTED) ** 2)
        now = f"of the choice of text (now +- {half:.4f})"
        ways.append(f"{now}: about {_rounded(windows):,} {what} of such text, in place of {scored:,}")
    return ways


def num_windows_in_all(result: BpbResult) -> int | None:
    """Windows, or answers, of the whole text, where a part of it was scored; None where all was."""
    part = re.search(r"\[0:\d+/(\d+)\]", result.signature.data or "")
    return None if part is None else int(part[1])


def expected(asked: Expectation, bits_per_byte: float) -> str:
    """What ``--expect`` asked, and whether the score is that near."""
    digits = max(4, 1 - math.floor(math.log10(asked.within))) if asked.within else 9  # two of what is allowed
    away = f"{bits_per_byte - asked.bits_per_byte:+.{min(digits, 12)}f}"
    met = "met" if asked.is_met(bits_per_byte) else "MISSED"
    return f"{asked.bits_per_byte} +- {asked.within}, {met}: the score is {away} away"


def _draws_needed(result: BpbResult, times: float) -> str:
    """What to pass for so many times as many draws."""
    drawn, passes = result.signature.num_samples or "all", int(result.signature.passes or 1)
    longer = f"about {_rounded(round(times))} times as long" if times >= _LONGER else "somewhat longer"
    by_samples = drawn.isdecimal() and passes == 1
    needed = _rounded(math.ceil((int(drawn) if by_samples else passes) * times))
    if needed > (MAX_SAMPLES if by_samples else MAX_PASSES):
        most = f"--samples {MAX_SAMPLES:,}" if by_samples else f"{MAX_PASSES:,} passes"
        return (
            f"more of such text, for it would take about {_rounded(round(times)):,} times as many draws (most: {most})"
        )
    more_text = "; so would more of the text" if num_windows_in_all(result) is not None else ""
    if by_samples:
        return f"--samples {needed} in place of {drawn} would do, and take {longer}{more_text}"
    more = f"about {needed} passes over the text in place of {passes}"
    return f"--tolerance {WANTED}, {more}, would do, and take {longer}{more_text}"


def _rounded(number: int) -> int:
    """Two digits of a number that is an estimate, rounded up."""
    step: int = 10 ** max(len(str(number)) - 2, 0)
    return -(-number // step) * step


def marks_beside(result: BpbResult, marks: ReferenceMarks) -> str:
    """What others need for the same tokens."""
    costs = {"uniform": marks.uniform, "unigram": marks.unigram, "bigram": marks.bigram, "xz": marks.xz}
    told = ", ".join(f"{name} {cost:.4f}" for name, cost in costs.items() if cost is not None)
    codes = "one price for every token; counts of tokens, or of pairs, learnt on the way and paid for"
    packed = "" if marks.xz is None else "; xz of its bytes"
    return f"{told} bits per {result.unit} for the same text: {codes}{packed}"
