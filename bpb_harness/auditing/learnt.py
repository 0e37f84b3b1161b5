"""What says that the scored text was learnt before it was scored, and what would settle that.

A score computed a second time is the number of those weights, and a proof is a code length to whoever has them already.
Neither tells what the weights have seen, so neither lifts a doubt about it.
"""

from __future__ import annotations

from collections.abc import Sequence

from bpb_harness.auditing import codes
from bpb_harness.findings import Finding, Severity

LEARNT = "learnt"
"""In the evidence of a finding: whether it says that the scored text was learnt."""

FITTED = "fitted_in_scoring"
"""In the evidence of a finding: whether it says that something was fitted to the text by the scoring of it."""

CAME_FIRST = "trained_on_it_first"
"""In the evidence of a finding: whether its words say that the network was trained on the text, and then scored."""

ON_IT_ALONE = "trained_on_it_alone"
"""In the evidence of a finding: whether its words say that the network was trained on the scored text, and no other."""

SHOWN_BY_ANOTHER_VERSION = "shown_by_another_version"
"""In the evidence of a script's finding: the line of a log that shows the learning, if it were of that very script."""

PACKED_AT = "packed_at"
"""In the evidence of a finding: behind which line of its log, where the network was packed, the text was learnt."""

SHOWN_BY_ITS_LOG = "shown_by_its_log"
"""In the evidence of a script's finding: the line of a log, of that very script, that shows that its run did so."""

OF_ANOTHER_VERSION = "of_another_version"
"""In the evidence of a finding: whether the logs show that a version of its script ran of which nothing is told."""

_OF_LEARNING = frozenset(
    {codes.LEARNT_BEFORE.code, codes.BEYOND_PLAIN.code, codes.BELOW_ALL_KNOWN.code, "BPB272", "BPB273"}  # of scripts
)
# The text was learnt at the end of the run: there is a network from before that.
_AT_THE_END = frozenset({codes.LEARNT_BEFORE.code, codes.BEYOND_PLAIN.code})
_OF_ANY_CAUSE = frozenset({codes.BEYOND_PLAIN.code, codes.BELOW_ALL_KNOWN.code})  # how low the score is

UNSEEN = "that the text was not trained on"
"""What no reading of a record and no scoring of its weights shows."""

TRAINED_AGAIN = (
    "the network trained again by somebody other than its author, with no token of the scored text learnt before it is "
    "scored, and its score; scoring or proving (`bpb-prove`) the weights that exist does not show what they have learnt"
)

WITHOUT_MIXING = (
    "the network's own score, with nothing mixed into it: where the log prints one, that stands, and somebody other "
    "than the author can score the file again"
)

WITHOUT_FIT = (
    "the packed network's own score, without what the evaluation fits to the text: where nothing of that goes into the "
    "file, the one that the log prints stands, if it prints one, and somebody other than the author can score the file "
    "again; "
    "what is fitted counts where each part is scored before it is learnt"
)


def is_of_any_cause(doubts: Sequence[Finding]) -> bool:
    """Whether all doubts of learning are that the score is low, which what is mixed into it may be the cause of."""
    return all(finding.code in _OF_ANY_CAUSE for finding in doubts)


def is_of_learning(finding: Finding) -> bool:
    """Whether a finding says that the scored text may have been learnt before it was scored."""
    return finding.code in _OF_LEARNING or finding.evidence.get(LEARNT) is True


def doubts_of_learning(findings: Sequence[Finding]) -> list[Finding]:
    """Those of the findings that stand against the score because the text may have been learnt."""
    stands = (Severity.WARNS, Severity.REFUTES)
    return [finding for finding in findings if finding.severity in stands and is_of_learning(finding)]


def shown_by_all(findings: Sequence[Finding]) -> list[Finding]:
    """What a script shows of the scored text, which a log shows of another version of it, and the record says itself.

    Each of the three may be without fault: the version that ran may have learnt another text, epochs in a log may be of
    training text, and words of something else. That all three are is not to be had: the words say of that run's
    epochs which text they are on, and when.

    Args:
        findings: of all checks.
    """
    say = [each for each in findings if each.evidence.get(CAME_FIRST) is True]
    epochs = [each for each in findings if each.code == codes.LEARNT_BEFORE.code and "epochs" in each.evidence]
    if not say or not epochs:
        return []
    return [each for each in findings if SHOWN_BY_ANOTHER_VERSION in each.evidence]


def instead_of(doubts: Sequence[Finding]) -> str:
    """Which network would settle doubts of learning: one that is trained again, or the packed one by itself.

    The latter where each of them is that the scoring itself fits something to the text, or that the score is low.

    Args:
        doubts: see `doubts_of_learning`.
    """
    others = [each for each in doubts if each.code not in _OF_ANY_CAUSE and not _is_said_already(each, doubts)]
    is_fitted = bool(others) and all(finding.evidence.get(FITTED) is True for finding in others)
    return WITHOUT_FIT if is_fitted else TRAINED_AGAIN


def _is_said_already(doubt: Finding, doubts: Sequence[Finding]) -> bool:
    """Whether passes that a log shows are those of which a script tells that they are behind the packing."""
    log, _, line = str(doubt.evidence.get("place", "")).rpartition(":")
    if doubt.code != codes.LEARNT_BEFORE.code or not line.isdigit():
        return False
    packed = [each.evidence.get(PACKED_AT) for each in doubts if each.evidence.get("log") == log]
    return any(isinstance(at, int) and at < int(line) for at in packed)


def settling_learning(doubts: Sequence[Finding]) -> list[str]:
    """What would settle doubts of learning, beside what each of them asks for; nothing where there are none.

    Args:
        doubts: see `doubts_of_learning`.
    """
    settles = []
    if any(finding.code in _AT_THE_END for finding in doubts):
        settles.append(f"{_BEFORE}{_plain_of(doubts)}")
    return [*settles, f"instead of all that: {instead_of(doubts)}"] if doubts else []


_BEFORE = "as the claim, the score of the network from before it learnt any of that text, with the log up to there"


def _plain_of(doubts: Sequence[Finding]) -> str:
    """The score that the network itself has in the same log, if it is one from before."""
    for finding in doubts:
        plain, place = finding.evidence.get("plain"), finding.evidence.get("plain_at")
        if isinstance(plain, float):
            return f": {plain:.4f}{f' ({place})' if place is not None else ''}, if that is one"
    return ""
