"""The one thing of a submission that may run, if the user says so: its byte table, alone, in a limited process.

The table is compared entry by entry with the official rule of `bpb_harness.byte_count`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.running.limited import exchanged, read_reply, told
from bpb_harness.auditing.script.running.table_function import TableFunction, find_table_functions
from bpb_harness.byte_count import ByteCounter, PieceKind, Tokenizer, load_tokenizer
from bpb_harness.errors import HarnessError
from bpb_harness.findings import Finding, Json, Severity

WALL_SECONDS = 60.0
_SHOWN = 5
_CHILD = Path(__file__).with_name("limited_process.py")


class _FailedError(Exception):
    """The limited process gave no table; the message says why."""


def check_table_by_running(scripts: list[Script], tokenizer: Path, on_path: set[str]) -> list[Finding]:
    """Run every byte-table function of the scripts on a tokenizer and compare it with the official rule.

    Args:
        scripts: the parsed files.
        tokenizer: a SentencePiece model.
        on_path: names of the functions that the reported score comes from; others can only warn.
    """
    try:
        loaded = load_tokenizer(tokenizer)
    except HarnessError as error:
        return [codes.TABLE_NOT_RUN.finding(str(error))]
    functions, reasons = find_table_functions(scripts)
    findings = [codes.TABLE_NOT_RUN.finding(f"The byte table was not run: {reason}") for reason in reasons[:4]]
    for function in functions[:4]:
        evidence: dict[str, Json] = {"file": function.script, "line": function.line, "function": function.name}
        try:
            tables = run_limited(function, tokenizer, previous=_neighbours(loaded))
            findings.append(_compared(function, tables, loaded, evidence, decisive=function.name in on_path))
        except _FailedError as error:
            message = f"{function.name} could not be run alone: {error}"
            findings.append(codes.TABLE_NOT_RUN.finding(message, facts=evidence))
    return findings


def run_limited(function: TableFunction, tokenizer: Path, previous: list[int]) -> list[NDArray[np.int64]]:
    """Run a function in a process with limits on time, memory, files and network.

    Args:
        function: what to run.
        tokenizer: a SentencePiece model.
        previous: ids of the token before, for functions of a token and the one before it.

    Returns:
        Its tables, each (V,) int64; for a function of one token one table for each entry of `previous`.
    """
    task = {
        "code": function.code, "name": function.name, "roles": function.roles, "processors": function.processors,
        "tokenizer": str(tokenizer.resolve()), "previous": previous,
    }  # fmt: skip
    answer = exchanged(_CHILD, json.dumps(task).encode(), WALL_SECONDS)
    reply = read_reply(answer)
    if reply is None:
        raise _FailedError("the process ended without an answer, at a limit of time or memory")
    if "tables" not in reply:
        raise _FailedError(told(reply.get("error", "no tables")))
    try:
        return [np.asarray(table, dtype=np.int64) for table in reply["tables"]]
    except (TypeError, ValueError, OverflowError):
        raise _FailedError("what it returns is no table of numbers") from None


def _neighbours(tokenizer: Tokenizer) -> list[int]:
    """An ordinary token, and a boundary where the vocabulary has one."""
    kinds = np.asarray(tokenizer.piece_kinds)
    ordinary = np.flatnonzero(kinds == PieceKind.TEXT)
    boundary = np.flatnonzero(kinds == PieceKind.CONTROL)
    return [int(ordinary[len(ordinary) // 2]), *(int(token) for token in boundary[:1])]


def _compared(
    function: TableFunction,
    tables: list[NDArray[np.int64]],
    tokenizer: Tokenizer,
    evidence: dict[str, Json],
    *,
    decisive: bool,
) -> Finding:
    size = tokenizer.vocab_size
    if not tables or any(table.ndim != 1 or len(table) < size for table in tables):
        raise _FailedError(f"it returns no tables of {size} entries")
    tables = [table[:size] for table in tables]
    counter, kinds = ByteCounter(tokenizer), np.asarray(tokenizer.piece_kinds)
    neighbours = _neighbours(tokenizer)
    official = [_official(counter, size, previous) for previous in neighbours]
    theirs = tables if function.is_per_token else [_combined(tables, previous, kinds) for previous in neighbours]
    evidence = {**evidence, "entries": size}
    same = [bool(np.array_equal(ours, table)) for ours, table in zip(official, theirs, strict=False)]
    if all(same):
        message = f"{function.name}, run alone, gives the official bytes for all {size:,} entries of the tokenizer"
        return codes.TABLE_AGREES.finding(message, facts=evidence)
    if len(tables) == 1 and any(np.array_equal(ours, tables[0]) for ours in official):
        message = f"{function.name}, run alone, gives the official bytes but for the leading space, left to its loop"
        return codes.TABLE_NOT_RUN.finding(message, facts=evidence)
    differing: list[str] = []
    most = 0
    for ours, table, previous in zip(official, theirs, neighbours, strict=False):
        rows = np.flatnonzero(ours != table)
        most = max(most, len(rows))
        differing.extend(_rows(tokenizer, rows, ours, table, previous))
    message = f"{function.name}, run alone, differs from the official bytes in {most:,} of {size:,} entries: "
    shown: list[Json] = [*differing[:_SHOWN]]
    return codes.TABLE_DIFFERS.finding(
        message + "; ".join(differing[:_SHOWN]),
        severity=None if decisive else Severity.WARNS,
        facts={**evidence, "differing": most, "first": shown},
    )


def _official(counter: ByteCounter, size: int, previous: int) -> NDArray[np.int64]:
    """(V,) bytes of every token after one and the same token."""
    stream = np.empty(2 * size, np.int64)
    stream[0::2], stream[1::2] = previous, np.arange(size)
    return counter.per_token(stream, rule="official", previous=None)[1::2]


def _combined(tables: list[NDArray[np.int64]], previous: int, kinds: NDArray[np.uint8]) -> NDArray[np.int64]:
    """base[token] + (leading_space[token] and not boundary[previous]), as the loop of a public trainer adds them up.

    A table with entries above 1 is the base; the flag that holds for every control token is the boundary's.
    """
    bases = [table for table in tables if table.max(initial=0) > 1]
    flags = [table.astype(bool) for table in tables if table.max(initial=0) <= 1]
    if len(bases) != 1 or len(flags) > 2:
        raise _FailedError("which of its tables means what cannot be told")
    controls = kinds == PieceKind.CONTROL
    boundaries = [flag for flag in flags if controls.any() and flag[controls].all()]
    leading = [flag for flag in flags if not any(flag is boundary for boundary in boundaries)]
    if len(boundaries) > 1 or len(leading) > 1:
        raise _FailedError("which of its tables means what cannot be told")
    if not leading or (boundaries and boundaries[0][previous]):
        return bases[0]
    combined: NDArray[np.int64] = bases[0] + leading[0]
    return combined


def _rows(
    tokenizer: Tokenizer, rows: NDArray[np.int64], ours: NDArray[np.int64], theirs: NDArray[np.int64], previous: int
) -> Iterator[str]:
    for token in rows[:_SHOWN].tolist():
        piece = tokenizer.pieces[token]
        yield f"id {token} {piece!r} after id {previous}: {theirs[token]}, official {ours[token]}"
