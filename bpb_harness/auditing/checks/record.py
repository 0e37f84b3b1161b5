"""BPB4xx: does the record agree with itself? The score against logs, seeds, spread and tables."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.absent_logs import absent_logs
from bpb_harness.auditing.checks.found_in_log import label_of, left_out_of_logs, nearly_that, told_of_log
from bpb_harness.auditing.checks.lowest_known import lowest_of
from bpb_harness.auditing.checks.written_out import written_out
from bpb_harness.auditing.evidence import Evidence, is_rounded_mean, mean_of_seeds, rounds_to
from bpb_harness.claim import Claim, LogRecord, NoteKind, Printed, ScoreLine
from bpb_harness.claim.listing import DEEPEST_LOG, kind_by_name
from bpb_harness.claim.names import FULL_SPLIT
from bpb_harness.claim.plain_claims import SENTENCE
from bpb_harness.claim.readme_reader import headline, headlines
from bpb_harness.claim.wandb_summary import is_summary_name
from bpb_harness.findings import Finding, Json, Rule, Severity, first_of, listed
from bpb_harness.units import NATS_PER_BIT, nats_to_bits

HOW_CLAIMED = (
    f'a score that the record claims: "val_bpb" in submission.json, or one sentence of its README, "{SENTENCE}"'
)


def check_record(evidence: Evidence) -> Iterator[Finding]:
    """Hold the claimed score against everything else that the record prints."""
    claim = evidence.claim
    if claim.says_unofficial is not None:
        yield codes.UNOFFICIAL.finding(f"the record says of itself: {claim.says_unofficial[:300]!r}")
    if claim.score is None and claim.perplexity is not None:
        message = (
            f"the claim is a perplexity of {claim.perplexity} per token, and nothing gives the bytes per token that "
            "would make bits per byte of it"
        )
        yield codes.BYTES_UNKNOWN.finding(message, missing="the bytes per token of the text under its tokenizer")
        return
    if claim.score is None:
        null = next((note.message for note in claim.notes if note.kind is NoteKind.NOT_A_NUMBER), None)
        others = _other_scores(claim)
        unread, elsewhere = _unread(claim), _given_elsewhere(claim)
        # Of a record that does give numbers, its sentences may call one of them the score, in words that are not read.
        nothing = (
            "no number is recognised as the claimed score" if others or elsewhere else "the record claims no score"
        )
        message = f"no score is found, and {listed(unread)} cannot be read" if unread else nothing
        message += f" ({null})" if null else ""
        if claim.loss_alone is not None:
            place = claim.loss_alone.source
            message += f" ({place} is a loss of {claim.loss_alone}, and nothing beside it is in bits per byte)"
        message += f"; what it does give, it does not call the score: {others}" if others else ""
        others_given: list[Json] = [other.value for other in claim.other_scores[:20]]
        missing = None if unread else HOW_CLAIMED
        if claim.loss_alone is not None:
            missing = (
                f"how many bytes and tokens the text of {claim.loss_alone.name} has: loss / ln 2 x tokens / bytes are "
                "bits per byte, if the loss is a mean over tokens in nats"
            )
        if (open_at := _left_open(claim)) is not None:
            message += f"; {open_at}"
        if elsewhere is not None:
            message += f"; {elsewhere} gives scores, and nothing says which of them is claimed"
        is_one_of = any(note.kind is NoteKind.AMBIGUOUS for note in claim.notes) or claim.written_by is not None
        is_empty = not (others_given or elsewhere or evidence.losses or is_one_of or unread)
        facts: dict[str, Json] = {"gives_none": True} if is_empty else {}
        facts |= {"other_scores": others_given} | ({} if missing is None else {"missing": missing})
        yield codes.NO_CLAIM.finding(message, facts=facts)
        return
    yield from _against_logs(evidence, claim.score)
    yield from _against_seeds(evidence, claim.score)
    yield from _spread(evidence)
    yield from _tables(evidence)


def _other_scores(claim: Claim) -> str:
    """What a record gives beside a score, those of single seeds last; the first of them, and how many more."""
    others = sorted(claim.other_scores, key=lambda other: re.search(r"seed[^.]*\.", other.name) is not None)
    return first_of([f"{other.name} {other}" for other in others], _MAX_OTHERS)


def _left_open(claim: Claim) -> str | None:
    """That the README leaves its score open, in words: "**val_bpb: TBD**" by itself, or at the start of a line."""
    readme = claim.readme
    for number, line in enumerate(readme.text.split("\n")[:_FIRST_LINES], 1) if readme is not None else ():
        if readme is not None and (found := _OPEN.match(line[:200])) is not None:
            return f"{readme.file}:{number} leaves it open: {_MARKUP.sub('', found['said'])!r}"
    return None


_MAX_OTHERS, _FIRST_LINES = 5, 80
_MARKUP = re.compile(r"[*`]")
_OPEN = re.compile(
    r"[\s#>*_`-]{0,10}(?P<said>(?:score\W{1,4})?(?:val[_ ]?bpb|bpb|score)\b[\s:=*_`\[]{1,8}"
    r"(?:tbd|tba|pending|to be (?:determined|measured|filled|added|announced)|not yet \w{2,20}))(?![a-z])",
    re.IGNORECASE,
)


def _given_elsewhere(claim: Claim) -> str | None:
    """A file that prints scores, where the record claims none: a README's, or else a log or a table."""
    readme = claim.readme
    for score in (*readme.scores, *(row.score for row in readme.rows)) if readme is not None else ():
        return str(score.source)
    return next((str(line.bpb.source) for log in (*claim.logs, *claim.tables) for line in log.lines), None)


def _place(line: ScoreLine) -> str:
    return str(line.bpb.source)


_MAX_GIVEN = 3


def _against_logs(evidence: Evidence, score: Printed) -> Iterator[Finding]:
    claim = evidence.claim
    if (constant := _of_constants_alone(evidence, score)) is not None:
        yield constant
        return
    if evidence.lines:
        places = [_place(line) for line in evidence.lines]
        label = label_of(evidence.lines[0])
        is_table = evidence.lines[0].bpb.source.file in {table.file for table in claim.tables}
        nearly: dict[str, Json] = {"is_nearly": True, "printed": evidence.printed} if evidence.is_nearly else {}
        message = told_of_log(evidence, score)
        absent = absent_logs(evidence)
        message += f"; {absent}" if absent is not None else ""
        left_out = left_out_of_logs(evidence)
        message += f"; {left_out}" if left_out is not None else ""
        facts: dict[str, Json] = {**nearly, **({"in_table": True} if is_table else {})}
        if all(is_summary_name(line.bpb.source.file) for line in evidence.lines):
            facts = {**nearly, "in_summary": True}
        yield codes.IN_LOG.finding(message, facts=facts, places=[*places], label=label, how=evidence.how)
        yield from _not_final(evidence, score)
        yield from _beyond_plain(evidence)
        yield from _in_another_unit(evidence)
        return
    if evidence.siblings:
        seeds_agree = any(score.agrees_with(mean_of_seeds(scores)) for scores in claim.seed_scores.values())
        if seeds_agree:
            yield _sibling(evidence, score)
            return
    printed = [line for log in claim.logs for line in log.lines]
    if not claim.logs:
        yield _no_log(claim)
        return
    if not printed:
        yield _no_score_read(evidence, score)
        return
    yield _not_in_logs(evidence, score, printed)


def _of_constants_alone(evidence: Evidence, score: Printed) -> Finding | None:
    """Each line with the claimed score is one that a script prints with the number written out in it."""
    own = [line.bpb.source for line in evidence.lines]
    others = [
        line.bpb.source
        for log in evidence.claim.logs
        for line in log.lines
        if score.agrees_with(line.bpb.value, line.bpb.half_unit) and line.bpb.source not in own
    ]
    constant = written_out(evidence, own[0]) if own else None
    if constant is None or any(written_out(evidence, place) is None for place in (*own[1:], *others)):
        return None
    message = (
        f"{own[0]} has the claimed score, and {constant} {_WRITTEN_OUT}; no line of a log has one that was computed"
    )
    return codes.NO_LOG.finding(message, place=str(own[0]), missing=_COMPUTED)


_WRITTEN_OUT = "prints that line as it stands there, a text of the script with no value in it"
_COMPUTED = "a log of a run that computes the score"


def _unread(claim: Claim) -> list[str]:
    """Files of the record that are there, and broken."""
    return [note.source.file for note in claim.notes if note.kind is NoteKind.UNREADABLE]


_LOG_OF_IT = "a log of the run, in which the claimed score is printed"


def _no_log(claim: Claim) -> Finding:
    """There is none, or none that can be read."""
    broken = [file for file in _unread(claim) if (kind_by_name(Path(file)) or "log") in ("log", "summary")]
    if broken:
        message = f"no log of the run can be read to hold the number against: {listed(broken)} is there, and broken"
        return codes.NO_LOG.finding(message)  # BPB901 says what is missing
    message = (
        "there is no log of the run to hold the number against (a .log, .txt or .out file, packed by gzip or not, up "
        f"to {DEEPEST_LOG} folders below)"
    )
    return codes.NO_LOG.finding(message, missing=_LOG_OF_IT)


def _no_score_read(evidence: Evidence, score: Printed) -> Finding:
    """No line of a log is read as a score: whether there is none, or one that prints the number in its own way."""
    claim = evidence.claim
    holding = next((log.placeholder for log in claim.logs if log.placeholder is not None), None)
    if holding is not None:
        message = f"{holding} says that the file is a placeholder, and no other log prints a score"
        return codes.NO_LOG.finding(message, place=str(holding), missing=_LOG_OF_IT)
    numbers = [number for log in claim.logs for number in log.unread]
    unread = next((each for each in numbers if score.agrees_with(each.value, each.half_unit)), None)
    if unread is None:
        message = "no log prints a score that could be held against the claim"
        return codes.NO_LOG.finding(message, missing="a log with the final score")
    message = (
        f"{unread.source} has the number {unread} on a line that speaks of bits per byte, in no form that is read as a "
        "score; no other line of a log prints one that could be held against the claim"
    )
    missing = "a line such as 'final val_loss: 2.0712 val_bpb: 1.2267' in the log"
    constant = written_out(evidence, unread.source)
    if constant is not None:
        message, missing = f"{message}; {constant} {_WRITTEN_OUT}", _COMPUTED
    return codes.NO_LOG.finding(message, place=str(unread.source), missing=missing)


def _sibling(evidence: Evidence, score: Printed) -> Finding:
    """The claim itself is in no log; another score of the same runs is."""
    line, logs = evidence.siblings[0], {found.bpb.source.file for found in evidence.siblings}
    name, published, is_own = next(
        (name, printed, score.agrees_with(mean_of_seeds(scores)))
        for name, scores in evidence.claim.seed_scores.items()
        for printed in scores.values()
        if printed.agrees_with(line.bpb.value, line.bpb.half_unit)
    )
    shows = "prints its own" if is_own else "shows another score of the run"
    whose = "one seed" if len(logs) == 1 else f"{len(logs)} seeds"
    num_seeds = max(len(scores) for scores in evidence.claim.seed_scores.values())
    message = (
        f"the score is the mean of its own {num_seeds} seed results, as {score.source.file} lists them, and in no log; "
        f"the log of {whose} {shows}, {name} {published}: {line.bpb} at {_place(line)}, "
        f"{(line.bpb.value / score.value - 1.0) * 100:+.2f} % from the claim"
    )
    return codes.SIBLING_IN_LOG.finding(
        message,
        places=[_place(found) for found in evidence.siblings],
        num_seeds=num_seeds,
        seeds_in_logs=whose,
        logged=line.bpb.value,
        full_split=FULL_SPLIT.search(name) is not None,
    )


def _not_final(evidence: Evidence, score: Printed) -> Iterator[Finding]:
    """A validation during training, or one before quantisation, that is better than what the log ends with."""
    if evidence.how != "line":
        return
    (line,) = evidence.lines
    final = next((log.final for log in evidence.claim_logs if log.final is not None), None)
    early = line.is_training_step or _EARLY.search(line.label)
    if (artifact := _of_the_artifact(evidence, line)) is not None:
        early, final = True, artifact
    if early and final is not None and not final.is_training_step and final.bpb.value > score.value * 1.0005:
        ends = "the log ends with" if artifact is None else "what was saved of that network gives"
        message = (
            f"the score is {nearly_that(evidence)} of {label_of(line)!r} at {_place(line)}; {ends} {final.bpb} "
            f"({final.label!r} at {_place(final)})"
        )
        yield codes.NOT_FINAL.finding(message, place=_place(line), final=final.bpb.value, claimed=score.value)


def _of_the_artifact(evidence: Evidence, line: ScoreLine) -> ScoreLine | None:
    """The round trip behind a best validation, where nothing but that validation's own number comes after it."""
    log = evidence.log_of(line)
    if log is None or not _VALIDATION.fullmatch(line.label):
        return None
    behind = [other for other in log.lines if other.run == line.run and _line_number(other) > _line_number(line)]
    trips = [other for other in behind if _ROUND_TRIP.search(other.label)]
    rest = [other for other in behind if other not in trips and not _is_same(other.bpb, line.bpb)]
    return trips[-1] if trips and not rest else None


def _line_number(line: ScoreLine) -> int:
    return line.bpb.source.line or 0


_VALIDATION = re.compile(r"(?:best|val(?:id(?:ation)?)?)?[\s_:-]*(?:best|val(?:id(?:ation)?)?)?", re.IGNORECASE)
_ROUND_TRIP = re.compile(r"round[-_ ]?trip", re.IGNORECASE)


def _beyond_plain(evidence: Evidence) -> Iterator[Finding]:
    """A score far below what the network itself gets on the same text, in the same log, by the same measure.

    Longer contexts and adaptation to text already scored gain a few hundredths. More than that comes from a
    probability that is none: counts of hashed contexts looked up for the target alone, targets seen beforehand.
    """
    for line in evidence.lines:
        log = evidence.log_of(line)
        found = _plain_validation(log, line, lowest_of(evidence)) if log is not None else None
        if found is None or found[0].bpb.value - line.bpb.value <= found[1]:
            continue
        plain, most_gained, is_alone = found
        may_be = is_alone and plain.bpb.value - line.bpb.value <= _MAX_AVERAGED * plain.bpb.value
        message = (
            f"the score {line.bpb} ({line.label or line.bpb.name!r} at {_place(line)}) is "
            f"{plain.bpb.value - line.bpb.value:.3f} bits per byte below what the network itself scores in the same "
            f"run, {plain.bpb} ({plain.label or plain.bpb.name!r} at {_place(plain)}){_of_which(plain, line)}. Longer "
            "contexts, and training on text that was scored before, gain far less: in "
            f"{_RUNS_WITHIN[most_gained]:,} of {_RUNS:,} public runs that print both (docs/audit.md, Far below its own "
            f"validation), the gap is at most {most_gained:g}. A larger one usually comes of learning the text first, "
            "or of probabilities that do not add up to 1"
        )
        if may_be:
            message = f"{message}. What averaged weights and a sliding window gain over that step, no line shows"
        yield codes.BEYOND_PLAIN.finding(
            message,
            place=_place(line),
            plain=plain.bpb.value,
            plain_at=_place(plain),
            claimed=line.bpb.value,
            facts={"may_be_averaging": True} if may_be else None,
            missing=(
                f"{'a reading of ' if evidence.claim.scripts else ''}the script that made the score: "
                "whether a token is learnt before it is scored, and whether the probabilities of all tokens add up to 1"
            ),
        )
        return


def _in_another_unit(evidence: Evidence) -> Iterator[Finding]:
    """A score without a loss that is what the last validation of its run would be in another unit; a doubt.

    Where a loss stands beside it, that shows by what it was divided.
    """
    for line in evidence.lines:
        steps = [other for other in evidence.run_of(line) if other.is_training_step]
        plain = next((other for other in reversed(steps) if other.bpb.name == line.bpb.name), None)
        if plain is None or line.is_training_step or line.nats_per_token is not None:
            continue
        for in_unit, rule, what in _other_units(plain):
            if abs(line.bpb.value / in_unit - 1.0) <= _ABOUT:
                message = (
                    f"the score {line.bpb} ({line.label or line.bpb.name!r} at {_place(line)}) is about {in_unit:.4f}, "
                    f"{what} of the last validation of its run ({plain.bpb} at {_place(plain)}), and its line prints "
                    "no loss that would tell the unit"
                )
                missing = "the loss in nats per token, and the score, on one line"
                yield rule.finding(message, severity=Severity.WARNS, place=_place(line), missing=missing)
                return


def _other_units(plain: ScoreLine) -> Iterator[tuple[float, Rule, str]]:
    """What a validation's score is in other units, with the code and the words for it."""
    yield plain.bpb.value * NATS_PER_BIT, codes.NATS_AS_BITS, "the nats per byte"
    yield plain.bpb.value / NATS_PER_BIT, codes.NATS_AS_BITS, "the bits per byte, divided by ln 2 once more,"
    loss = plain.nats_per_token.value if plain.nats_per_token is not None else None
    if loss is not None and plain.same_estimator and loss < _LARGEST_LOSS:
        yield loss, codes.PER_TOKEN_AS_PER_BYTE, "the loss in nats per token"
        yield nats_to_bits(loss), codes.PER_TOKEN_AS_PER_BYTE, "the bits per token"
        yield math.exp(loss), codes.PER_TOKEN_AS_PER_BYTE, "the perplexity per token"


_ABOUT, _LARGEST_LOSS = 0.01, 20.0  # relative; what rounding a network's weights moves a score by; nats per token


def _of_which(plain: ScoreLine, line: ScoreLine) -> str:
    """What two lines of a log leave open of what they are scores of, in words."""
    if plain.scored_tokens is not None and plain.scored_tokens == line.scored_tokens:
        return f", of as many tokens ({line.scored_tokens:,})"
    return "; that both are of the same tokens, the two lines do not say"


def _plain_validation(log: LogRecord, line: ScoreLine, lowest: float | None) -> tuple[ScoreLine, float, bool] | None:
    """The network alone in the run of a line, what is gained over that, and whether a step of training alone tells.

    It is the last validation, or one that is called plain.

    A network that validates far worse than an ordinary score is another one than that which is scored: its weights are
    not yet averaged, or not yet the few that they are rounded to.
    """
    if line.is_training_step:
        return None
    is_ordinary = lowest is not None and line.bpb.value >= lowest
    worst = _OTHER_NETWORK * line.bpb.value if is_ordinary else math.inf
    run = [
        other
        for other in log.lines
        if other.run == line.run and other.bpb.name == line.bpb.name and other != line and other.bpb.value <= worst
    ]
    # A score that has another name too, such as ttt_exact, is no plain one, whatever line repeats it.
    twins = [other for other in run if not other.is_training_step and _is_same(other.bpb, line.bpb)]
    is_plain = all(_PLAIN.search(other.label) for other in (line, *twins))
    run = [other for other in run if other.is_training_step or not _is_same(other.bpb, line.bpb)]
    named = [other for other in run if not other.is_training_step and _is_plain(other.label)]
    steps = [other for other in run if other.is_training_step]
    if named and not is_plain:
        return min([*named, *steps[-1:]], key=lambda other: other.bpb.value), _MAX_GAINED, False
    if not steps:
        return None
    return steps[-1], _MAX_GAINED_AND_LEARNT if _went_on(log, steps[-1]) else _MAX_GAINED, not named


def _went_on(log: LogRecord, validated: ScoreLine) -> bool:
    """Whether training may have gone on after a validation: steps of the same run tell, where the log prints any.

    A run that the clock stops validates a last time where it stops, whatever number of steps it was to have. Steps of
    the beginning alone are no sign of that.
    """
    of = _OF_STEPS.search(validated.label)
    if of is None:
        return True
    step, last = int(of[1]), log.last_steps.get(validated.run, 0)
    return step < (last if 2 * last >= step else int(of[2]))


def _is_plain(label: str) -> bool:
    """Whether a line is called the network's own score; one with sliding windows is, where nothing is learnt by it."""
    return bool(_PLAIN.search(label) or ("sliding" in label.lower() and not _LEARNING.search(label)))


def _is_same(one: Printed, other: Printed) -> bool:
    return abs(one.value - other.value) <= max(one.half_unit, other.half_unit) * (1.0 + 1e-9)


# No sliding window, and no adaptation to what has been scored, gains more bits per byte; the second holds where the
# training may have gone on after the last validation, its rate still falling.
_MAX_GAINED, _MAX_GAINED_AND_LEARNT = 0.05, 0.15
# Public submissions of parameter-golf until 2026-11 whose log prints such a validation beside the score, and how
# many of them lie no further below it.
_RUNS, _RUNS_WITHIN = 1_118, {_MAX_GAINED: 971, _MAX_GAINED_AND_LEARNT: 1_010}
# Of a last step's score: what the same network gained by averaged weights and sliding windows was at most 0.068 of it.
_MAX_AVERAGED = 0.08
_OTHER_NETWORK = 2.0
_SAME_CLAIM = 0.01  # relative; what a README rounds, or what it says of another seed
_OF_STEPS = re.compile(r"([0-9]{1,9})\s?/\s?([0-9]{1,9})")
_PLAIN = re.compile(
    r"round[-_ ]?trip|pre[-_ ]?quant|pre[-_ ]?ttt|post[-_ ]?ema|diagnostic|\bplain\b|neural[-_ ]?only", re.IGNORECASE
)
_LEARNING = re.compile(r"ttt|slot|hedge|mix|n-?gram|cache|adapt|online|ppm|knn|bias", re.IGNORECASE)
_EARLY = re.compile(r"pre[-_ ]?quant|pre[-_ ]?ttt|diagnostic", re.IGNORECASE)


def _not_in_logs(evidence: Evidence, score: Printed, printed: list[ScoreLine]) -> Finding:
    claim = evidence.claim
    nearest = min(printed, key=lambda line: abs(line.bpb.value - score.value))
    twin = _line_with_same_loss(evidence, printed)
    full = evidence.full
    if twin is not None and twin.nats_per_token is not None and full is not None:
        right = nats_to_bits(twin.nats_per_token.value) / full.bytes_per_token
        from_right = abs(score.value - right)
        # A score that lies as far from what the loss gives as from the line's own is neither of them.
        is_told = (score.decimals or 0) < 4 or 2 * from_right < abs(score.value - twin.bpb.value)
        if from_right <= 2 * score.half_unit + 3e-3 * right and is_told:
            message = (
                f"the log's loss {twin.nats_per_token} at {_place(twin)}, divided by the {full.bytes_per_token:.5f} "
                f"bytes per token of {full}, is the claimed {score}; the score on that line, {twin.bpb}, is not"
            )
            return codes.LOSS_IN_LOG.finding(message, place=_place(twin), logged=twin.bpb.value)
    # Printed somewhere, if not where scores are looked for: then it is another evaluation's, not a contradiction.
    printed_after_all = any(
        abs(number - score.value) <= 2 * score.half_unit for log in claim.logs for number in log.numbers_beside_bpb
    )
    if (
        twin is not None
        and not score.agrees_with(twin.bpb.value, twin.bpb.half_unit)
        and not printed_after_all
        and len(claim.logs) == 1
        and len(claim.seeds) <= 1
        and not claim.protocol.slice_text
    ):
        message = (
            f"{score.source} claims {score}, but {_what_prints(twin)} with the very same loss, {twin.nats_per_token} "
            f"at {_place(twin)}, says {twin.bpb}"
        )
        facts: dict[str, Json] = {"in_summary": True} if is_summary_name(twin.bpb.source.file) else {}
        return codes.LOG_CONTRADICTS.finding(
            message,
            factor=twin.bpb.value / score.value,
            facts=facts,
            place=_place(twin),
            logged=twin.bpb.value,
            claimed=score.value,
        )
    lowest = min(line.bpb.value for line in printed)
    below = "; it is below every score in them" if score.value < lowest - 2 * score.half_unit else ""
    at = f"{nearest.bpb} ({nearest.label!r} at {_place(nearest)})"
    mean = _mean_of_last(claim.logs, score)
    message = f"{score} is in none of the logs; {mean or f'the nearest is {at}{below}'}"
    if all(is_summary_name(line.bpb.source.file) for line in printed):
        message = f"{score.source} claims {score}, and wandb's summary of the run gives another score: {at}"
    return codes.NOT_IN_LOG.finding(
        message, claimed=score.value, nearest=nearest.bpb.value, place=_place(nearest), lowest=lowest
    )


def _mean_of_last(logs: Sequence[LogRecord], score: Printed) -> str | None:
    """That a score is the mean of the last ones of several logs which call them by more than one name, in words."""
    last = [log.lines[-1] for log in logs if log.lines]
    labels = {line.label for line in last}
    if not 1 < len(last) <= _MOST_AVERAGED or len(labels) == 1:
        return None
    if not score.agrees_with(sum(line.bpb.value for line in last) / len(last)):
        return None
    each = ", ".join(f"{line.bpb} ({line.label!r} at {_place(line)})" for line in last)
    return f"it is the mean of the last scores of {len(last)} logs, which are not of one kind by their names: {each}"


_MOST_AVERAGED = 8


def _what_prints(line: ScoreLine) -> str:
    return "wandb's summary" if is_summary_name(line.bpb.source.file) else "the log line"


def _line_with_same_loss(evidence: Evidence, printed: list[ScoreLine]) -> ScoreLine | None:
    """The one final line whose loss is, digit for digit, the loss that the record publishes beside its score."""
    loss = evidence.claim.nats_per_token
    if loss is None or not evidence.claim.same_estimator or (loss.decimals or 0) < 4:
        return None
    matching = [
        line
        for line in printed
        if line.nats_per_token is not None
        and not line.is_training_step
        and line.same_estimator
        and (line.nats_per_token.decimals or 0) >= 4
        and abs(line.nats_per_token.value - loss.value) <= max(line.nats_per_token.half_unit, loss.half_unit) + 1e-12
    ]
    scores = {round(line.bpb.value, 3) for line in matching}
    return max(matching, key=lambda line: line.bpb.decimals or 0) if len(scores) == 1 else None


def _against_seeds(evidence: Evidence, score: Printed) -> Iterator[Finding]:
    tables = {name: scores for name, scores in evidence.claim.seed_scores.items() if len(scores) >= 2}
    if not tables:
        return
    for scores in tables.values():
        half = max(printed.half_unit for printed in scores.values())
        if score.agrees_with(mean_of_seeds(scores), half):
            return
        if any(score.agrees_with(printed.value, printed.half_unit) for printed in scores.values()):
            return
        if is_rounded_mean(score, [printed.value for printed in scores.values()]):
            return
    if evidence.lines:  # it is in a log, which outweighs a table of something else
        yield from _seeds_of_another_line(evidence, score, tables.get(score.name, {}))
        return
    named = tables.get(score.name) or next(iter(tables.values()))
    mean = mean_of_seeds(named)
    message = (
        f"the score {score} is neither the mean ({mean:.5f}) nor any one of the {len(named)} seeds that the record "
        "lists"
    )
    yield codes.SEEDS_CONTRADICT.finding(
        message, claimed=score.value, mean=mean, seeds={seed: printed.value for seed, printed in named.items()}
    )


def _seeds_of_another_line(evidence: Evidence, score: Printed, seeds: Mapping[str, Printed]) -> Iterator[Finding]:
    """A remark where the seeds listed beside a score are what its logs print of another evaluation."""
    own = {line.label for line in evidence.lines}
    ends = [line for log in evidence.claim_logs for line in log.lines if not line.is_training_step]
    labels: set[str] | None = None
    for seed in seeds.values():
        given = {line.label for line in ends if (seed.decimals or 0) >= _TELLING and rounds_to(seed, line.bpb.value)}
        labels = given if labels is None else labels & given
    if not labels or labels & own:
        return
    mean, shown = mean_of_seeds(seeds), ", ".join(map(repr, sorted(labels)[:2]))
    message = (
        f"the {len(seeds)} seeds that the record lists beside the score, whose mean is {mean:.5f}, are what its logs "
        f"print as {shown}; the score is of {', '.join(map(repr, sorted(own)))}"
    )
    yield codes.SEEDS_CONTRADICT.finding(message, severity=Severity.INFORMS, claimed=score.value, mean=mean)


_TELLING = 4  # decimals of a listed seed


def _spread(evidence: Evidence) -> Iterator[Finding]:
    """The published spread against that of the seeds; population, sample and standard error are all honest names."""
    std, score = evidence.claim.std, evidence.claim.score
    if std is None or score is None or std.value <= 0.0:
        return
    for scores in evidence.claim.seed_scores.values():
        values = [printed.value for printed in scores.values()]
        if len(values) < 2 or not score.agrees_with(mean_of_seeds(scores)):
            continue
        sample = statistics.stdev(values)
        smallest = sample / len(values) ** 0.5
        slack = 2.0 * max(std.half_unit, *(printed.half_unit for printed in scores.values()))
        if not 0.8 * smallest - slack <= std.value <= 1.2 * sample + slack:
            message = f"the published spread is {std}, that of the seeds {sample:.5f} (standard error {smallest:.5f})"
            yield codes.SPREAD_CONTRADICTS.finding(message, published=std.value, stdev=sample, stderr=smallest)
        return


def _tables(evidence: Evidence) -> Iterator[Finding]:
    """A table over T against log lines and settings that name their T."""
    table = evidence.claim.steps_table
    for log in evidence.claim.logs:
        for line in log.lines:
            steps = line.num_steps or (log.num_steps if not line.is_training_step else None)
            claimed = table.get(steps) if steps else None
            if claimed is None or claimed.agrees_with(line.bpb.value, line.bpb.half_unit):
                continue
            if any(claimed.agrees_with(other.bpb.value) for other in log.lines):
                continue
            message = f"{claimed.source} says {claimed} for T = {steps}, the log says {line.bpb} at {_place(line)}"
            yield codes.TABLE_CONTRADICTS.finding(
                message, num_steps=steps, table=claimed.value, logged=line.bpb.value, place=_place(line)
            )
            return
    readme = evidence.claim.readme
    score = evidence.claim.score
    if readme is None or score is None or evidence.claim.claimed_in == "readme" or not readme.scores:
        return
    everything = [*readme.scores, *(row.score for row in readme.rows)]
    printed_at_all = any(abs(number - score.value) <= max(score.half_unit, half) * 2 for number, half in readme.numbers)
    if not printed_at_all and not any(score.agrees_with(p.value, p.half_unit) for p in everything):
        own = headline(readme) or readme.scores[0]
        others = {each.value: each for each in headlines(readme) if each.value != own.value}
        given = [f"{each} ({each.source})" for each in (own, *others.values())]
        its = f"its own is {given[0]}" if not others else f"it gives {first_of(given, _MAX_GIVEN)}"
        message = f"{score.source} claims {score}, and no score of {readme.file} is that; {its}"
        # A log that prints the claim outweighs what is said of it, unless the README claims something better.
        is_settled = bool(evidence.lines) and own.value >= score.value * (1.0 - _SAME_CLAIM)
        yield codes.TABLE_CONTRADICTS.finding(
            message,
            severity=Severity.INFORMS if is_settled else None,
            claimed=score.value,
            readme=own.value,
            place=str(own.source),
        )
