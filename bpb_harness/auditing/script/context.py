"""What the record says, for a script to be held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bpb_harness.rules import Rules


@dataclass(frozen=True)
class LoggedScore:
    """A line of a log that carries the claim.

    Attributes:
        path: the log.
        file: what it is called.
        line: the number of the line.
        since: the last line of the run before, 0 where there is none.
        before: the scores that its run prints before it: lines, and bits per byte.
        value: its own bits per byte.
    """

    path: Path
    file: str
    line: int
    since: int = 0
    before: tuple[tuple[int, float], ...] = ()
    value: float | None = None


@dataclass(frozen=True)
class ScriptContext:
    """Facts of a submission that a script check may compare with; None where the record is silent.

    Attributes:
        num_windows: windows that the record says were scored.
        num_tokens: tokens that the record says were scored.
        text_tokens: tokens of the whole text.
        bytes_per_token: the right ratio of the tokenizer on the whole text.
        text: the text and tokenizer of that ratio, in words.
        named_in: where the tokenizer is named.
        vocab_size: entries of the tokenizer.
        tokenizer_is_certain: whether a path in a log, its split's size or a key of its own names the tokenizer.
        claimed: the claimed bits per byte.
        claimed_labels: what the lines of logs that carry the claim begin with, as they are printed.
        logged: the lines that carry the claim.
        score_lines: where logs print the claim; of several scripts that one holds, the last before that line counts.
        num_seeds: of how many scores the claim is the mean, where it is known, and the logs show some of them alone.
        titles: what the record calls itself.
        said: what its JSON says in words.
        readme: the text of its README.
        settings: what the README's commands set in the environment.
        uncontested: of these, the ones to which all commands give one value, and the claim's logs no other.
        flags: what they give to scripts on their command lines, by script and flag.
        set_beside: values that shell scripts of the folder set in the environment; any may have made the score.
        word_hints: hints that the claim's log counts as let through by where words begin; None where it counts none.
        printed_times: the bytes that the claim's logs print beside it, over those of the whole text that was scored.
        printed_at: where they do.
        rules: the contest's: denominators, and what byte bugs do to its text.
    """

    num_windows: int | None = None
    num_tokens: int | None = None
    text_tokens: int | None = None
    bytes_per_token: float | None = None
    text: str | None = None
    named_in: str | None = None
    vocab_size: int | None = None
    tokenizer_is_certain: bool = False
    claimed: float | None = None
    claimed_labels: tuple[str, ...] = ()
    logged: tuple[LoggedScore, ...] = ()
    score_lines: Mapping[Path, int] = field(default_factory=dict)
    num_seeds: int | None = None
    titles: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    readme: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    uncontested: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[tuple[str, str], str] = field(default_factory=dict)
    set_beside: Mapping[str, frozenset[str]] = field(default_factory=dict)
    word_hints: int | None = None
    printed_times: float | None = None
    printed_at: str | None = None
    rules: Rules = field(default_factory=Rules)

    @property
    def num_scores(self) -> int:
        """Of how many scores the claim is the mean; 1 where it is one."""
        return max(len(self.logged), self.num_seeds or 1)
