"""A score in plain words: what it is, and how its interval comes about."""

from __future__ import annotations

from bpb_harness.result import ESTIMATED_BOUND, EXACT, BpbResult
from bpb_harness.terminal.meaning import is_untrusted, kind_of_number, said_interval


def number(result: BpbResult) -> str:
    """The score as the terminal prints it, with its unit."""
    if result.bits_per_byte is None:
        return f"{result.bits_per_token:.4f} bits per token"
    return f"{result.bits_per_byte:.4f} bits per byte"


def meaning(result: BpbResult) -> str:
    """What the number says of the model and the text."""
    said = f"{number(result)}: {kind_of_number(result)}."
    if result.relation == EXACT:
        return said
    return f"{said} Its own code length may be shorter than the bound; by how much, no error here says."


def how_the_interval_comes_about(result: BpbResult) -> str:
    """From the errors to the interval, with the numbers themselves."""
    unit = f"bits per {result.unit}"
    if result.relation != ESTIMATED_BOUND:
        said = "Nothing was drawn at random, so that the masks add no error to the number."
    elif result.mc_stderr is None or result.ci95 is None:
        said = (
            "The draws of each answer tell nothing of the error from the masks; more samples would give one."
            if result.answers is not None
            else "Too little was drawn to know the error from the masks; more samples would give one."
        )
    else:
        low, high = result.ci95
        half = (high - low) / 2
        times = f", {half / result.mc_stderr:.2f} standard errors of {result.mc_stderr:.4f}" if result.mc_stderr else ""
        cut = "" if low >= 0.0 else ", cut off at 0, below which there is no code"
        between = said_interval(result.ci95, " and ")
        said = (
            f"Had every mask been tried, the bound on this text would lie between {between} {unit} with 95 % "
            f"confidence: {half:.4f} to either side{times}{cut}. The interval covers the drawing of masks and nothing "
            "else."
        )
    if is_untrusted(result):
        said += " This error is not to be trusted; the findings below say why."
    if result.corpus_stderr is None:
        return f"{said} How far the number would move on other text cannot be estimated here."
    return (
        f"{said} On other text of the same kind the number itself would move, with a standard error of "
        f"{result.corpus_stderr:.4f}."
    )
