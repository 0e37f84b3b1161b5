"""How every command ends: one line on stderr and an exit code, never a traceback by surprise.

Exit codes: 0 fine - 1 refuted, or an expectation missed - 2 bad input or usage - 3 unverifiable -
4 a denoiser broke its contract, or a score is too good - 70 a fault of this program - 130 interrupted.
"""

from __future__ import annotations

import atexit
import difflib
import gc
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any, NoReturn

import typer
import typer.main

from bpb_harness.cli._unread import let_go, stderr_may_be_unread
from bpb_harness.errors import HarnessError, UsageError
from bpb_harness.freed_memory import share_one_arena
from bpb_harness.torchrun import num_processes

EXIT_INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130
TRACEBACK_VARIABLE = "BPB_TRACEBACK"
_CLOSE = 0.75
_OPTION = re.compile(r"--[a-z][a-z-]*")


def run(app: typer.Typer, prog_name: str | None = None, *, spread: bool = True, runs_others: bool = False) -> NoReturn:
    """Run a command line to its end and leave the process.

    A command says its exit code by `typer.Exit(code)` or by returning an int. `HarnessError` and usage errors become
    one line on stderr; anything unexpected becomes one line that asks for a report, with the traceback before it if
    BPB_TRACEBACK is set.

    Args:
        app: the command.
        prog_name: the name in usage lines; None: the name that the process was started by.
        spread: whether a repeatable option takes several words, see :func:`repeat_flags`.
        runs_others: whether code that is not the harness's may have left something to do at the end.
    """
    command = typer.main.get_command(app)
    name = prog_name or command.name or "bpb"
    _hold_standard_streams()
    with stderr_may_be_unread():
        try:
            # standalone_mode=False: typer would print a panel of several lines and choose the exit code itself.
            if not runs_others:
                _require_no_empty_word(sys.argv[1:])
            words = repeat_flags(command, sys.argv[1:]) if spread else sys.argv[1:]
            outcome = command(words, prog_name=prog_name, standalone_mode=False)
            if sys.stdout is not None:  # as it is where somebody closed it
                sys.stdout.flush()
            code = outcome if isinstance(outcome, int) else 0
            if code == EXIT_INTERRUPTED:  # typer turns KeyboardInterrupt into this
                _say(name, "interrupted")
        except BaseException as error:
            code = _report(name, error, command)
    if "torch" in sys.modules and not runs_others and _is_own_process():
        _end_at_once(code)
    sys.exit(code)


def _is_own_process() -> bool:
    """Whether the interpreter was started for a command of ours, and has run nobody else's code."""
    if _users_module() in sys.modules:
        return False
    words = iter(sys.orig_argv[1:])
    for word in words:
        if word == "-c":
            return False
        if word == "-m":
            return next(words, None) == "bpb_harness"
        if not word.startswith("-"):
            return os.path.basename(word).startswith("bpb-")  # noqa: PTH119
    return False


def _end_at_once(code: int) -> None:
    """Do what is left to do at the end, and leave without taking apart objects and libraries one by one.

    With torch that takes some tenths of a second, and reads pages of its libraries that nothing else had read.
    Returns where what was printed cannot be written: the interpreter has a way to say so.
    """
    with suppress(KeyboardInterrupt):
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the interpreter does
    with suppress(KeyboardInterrupt):
        atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return
    os._exit(code)


def _hold_standard_streams() -> None:
    """Take the numbers of standard streams that are closed: a file of ours that got one would get what others print."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _require_no_empty_word(words: Sequence[str]) -> None:
    """Refuse an empty value: as a path it would be the folder that one is in, and what lies there would be read.

    Raises:
        UsageError: with what is empty.
    """
    for before, word in pairwise(("", *words)):
        option, equals, value = word.partition("=")
        is_option = option.startswith("--") and equals
        if value if is_option else word:
            continue
        what = option if is_option else before if before.startswith("-") else "an argument"
        raise UsageError(what, seen="an empty text", expected="a value", hint="is a variable of the shell unset?")


def repeat_flags(command: Any, arguments: Sequence[str]) -> list[str]:
    """Let a repeatable option take several values: ``--data a b`` becomes ``--data a --data b``.

    Shells expand ``--data shard_*.bin`` to several words, which click would take for arguments. Words behind such an
    option are its values, but for the last ones where the command's own arguments would otherwise be missing.

    Args:
        command: click's command.
        arguments: the words of the command line.
    """
    by_type = {kind: [p for p in command.params if p.param_type_name == kind] for kind in ("option", "argument")}
    options = {name: param for param in by_type["option"] for name in (*param.opts, *param.secondary_opts)}
    missing = sum(param.required for param in by_type["argument"])
    words: list[str] = []
    extra: list[tuple[int, str]] = []  # where in `words` a word stands that may be one more value, and of which option
    repeatable: str | None = None
    remaining = iter(arguments)
    for word in remaining:
        if word == "--":
            words += [word, *remaining]
            break
        name = word.split("=")[0]
        if name in options:
            option = options[name]
            words.append(word)
            takes_value = not option.is_flag and not option.count and "=" not in word
            if takes_value and (value := next(remaining, None)) is not None:
                words.append(value)
            repeatable = name if option.multiple else None
        elif word.startswith("-") and word != "-":
            words.append(word)
            repeatable = None
        else:
            if repeatable is None:
                missing -= 1
            else:
                extra.append((len(words), repeatable))
            words.append(word)
    values = extra[: len(extra) - max(0, missing)]
    for position, name in reversed(values):
        words.insert(position, name)
    return words


@contextmanager
def interrupted_afterwards() -> Iterator[None]:
    """Raise Ctrl-C behind the block instead of inside it: an import that is cut short leaves modules half made."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[bool] = []
    before = signal.signal(signal.SIGINT, lambda *_: noted.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if noted:
        raise KeyboardInterrupt


@contextmanager
def torch_imports() -> Iterator[None]:
    """Import what needs torch: not cut short, without searches for garbage; threads neither spin nor keep memory."""
    if "torch" not in sys.modules:
        _sleep_while_waiting()
        share_one_arena()
    if num_processes() > 1:  # of a process that has ended it tells in many lines of its own what is said in one here
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with interrupted_afterwards(), staying():
        yield


def _sleep_while_waiting() -> None:
    """Let torch's threads on a CPU sleep where they wait for each other, if nobody has said how they are to wait.

    One that spins keeps its processor from the very thread that it waits for, where anything else runs: on 2 processors
    with other work a small score took five times as long. 1,000 turns are what the library itself takes where threads
    outnumber processors. It reads this when it is loaded, with torch, and no number depends on it.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"


@contextmanager
def staying() -> Iterator[None]:
    """Search for no garbage while the block imports what stays to the end, nor ever among that.

    A tenth of the time that torch takes to be imported goes there. Once torch is there, it is too late to gain.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _report(name: str, error: BaseException, command: Any) -> int:
    if os.environ.get(TRACEBACK_VARIABLE):
        traceback.print_exception(error)
    if isinstance(error, HarnessError):
        _say(name, _with_options_that_it_has(error, command))
        return error.exit_code
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        _say(name, "interrupted")
        return EXIT_INTERRUPTED
    if isinstance(error, SystemExit) and not _is_of_a_closed_pipe(error):
        # Nothing of ours leaves so: 0 would say that there is a score.
        ended = f"code that is not of bpb-harness ended the program, with sys.exit({error.code!r})"
        _say(name, f"{ended}; let it return, or raise an error: {TRACEBACK_VARIABLE}=1 shows where it stands")
        return 2
    if isinstance(error, BrokenPipeError | SystemExit):
        let_go(sys.stdout)  # the reader of a long text went away: no error
        return 0
    if isinstance(error, ModuleNotFoundError) and not (missing := str(error.name)).startswith("bpb_harness"):
        library = missing.partition(".")[0]
        _say(name, f"{library} is not installed, and this needs it; install it, or bpb-harness with all that it needs")
        return 2
    # typer moved from click's exceptions to its own copy of them; both say these two things about a usage error.
    format_message = getattr(error, "format_message", None)
    if callable(format_message) and hasattr(error, "exit_code"):
        _keep_close_names(error)
        _say(
            name,
            f"{_naming_the_value(error, str(format_message())).rstrip('.')}; see {_command_path(error, name)} --help",
        )
        return 2
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        _say(name, f"{where}{error.strerror or error}")
        return 2
    if (place := _place_in_users_code(error)) is not None:
        _say(name, f"{place}: {type(error).__name__}: {error}")
        return 2
    _say(
        name,
        f"internal error, {type(error).__name__}: {error}; this is a fault of bpb-harness, please report it "
        f"with the traceback that {TRACEBACK_VARIABLE}=1 shows",
    )
    return EXIT_INTERNAL_ERROR


def _place_in_users_code(error: BaseException) -> str | None:
    """Where the file of ``--model`` failed, if it was the last to call what failed, and nothing of ours."""
    users = _users_module()
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] == "bpb_harness":
            place = None
        elif module == users:
            place = f"{os.path.basename(frame.f_code.co_filename)} failed at line {line}"  # noqa: PTH119
    return place


def _users_module() -> str | None:
    """The name of the module that a file of ``--model`` becomes; None where nobody could have run one."""
    runs = sys.modules.get("bpb_harness.adapters.user_code")
    return None if runs is None else str(runs.MODULE_NAME)


def _is_of_a_closed_pipe(error: SystemExit) -> bool:
    """Whether it is typer, or click below it, that leaves because the reader of what is printed went away."""
    if not isinstance(error.__context__, BrokenPipeError):
        return False
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).partition(".")[0] in ("typer", "click")


def _with_options_that_it_has(error: HarnessError, command: Any) -> str:
    """The line of an error; steps that name options which bpb-eval has, and this command has not, say whose they are.

    What scores is shared by commands, and says what bpb-eval's user may do.
    """
    if error.hint is None or not _OPTION.search(error.hint) or command.context_settings.get("ignore_unknown_options"):
        return str(error)
    others = _options_of_eval() - _options_of(command)
    steps = [
        f"with bpb-eval, {step}" if others.intersection(_OPTION.findall(step)) and "bpb-" not in step else step
        for step in error.hint.split("; ")
    ]
    if steps == error.hint.split("; "):
        return str(error)
    return str(HarnessError(error.what, seen=error.seen, expected=error.expected, hint="; ".join(steps)))


def _options_of(command: Any) -> set[str]:
    shown = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    return {name for each in shown for name in (*each.opts, *each.secondary_opts)}


def _options_of_eval() -> set[str]:
    from bpb_harness.cli import eval as scoring  # deferred: only where a message names options

    return _options_of(typer.main.get_command(scoring.app))


def _naming_the_value(error: BaseException, line: str) -> str:
    """What a usage error says, with the value that was seen where the parser of values leaves it out."""
    details = getattr(error.__cause__, "errors", None)  # pydantic's, by which typer reads values since 0.26
    found = details() if callable(details) else []
    if not found or not line.rstrip(".").endswith(said := str(found[0]["msg"]).rstrip(".")):
        return line
    expected = said.removeprefix("Input should be ").partition(", ")[0]
    return f"{line.rstrip('.').removesuffix(said)}got {found[0]['input']!r}, expected {expected}"


def _keep_close_names(error: Any) -> None:
    """Of the options that click suggests for an unknown one, those that it may be a slip for."""
    unknown, suggested = getattr(error, "option_name", None), getattr(error, "possibilities", None)
    if isinstance(unknown, str) and suggested:
        name = unknown.lstrip("-")
        error.possibilities = [each for each in suggested if _is_close(name, each.lstrip("-"))]


def _is_close(one: str, other: str) -> bool:
    return other.startswith(one) or difflib.SequenceMatcher(None, one, other).ratio() > _CLOSE


def _command_path(error: BaseException, name: str) -> str:
    return str(getattr(getattr(error, "ctx", None), "command_path", name))


def _say(name: str, line: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"{name}: {' '.join(line.split())}\n")
