"""Questions about a program whose answers are worked out once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar


class Remembers(Protocol):
    """A program, or what is asked in its place."""

    @property
    def memo(self) -> dict[object, Any]:
        """What was worked out about it."""


_Asked = TypeVar("_Asked", bound=Remembers)
_Rest = ParamSpec("_Rest")
_Answer = TypeVar("_Answer")


def once(function: Callable[Concatenate[_Asked, _Rest], _Answer]) -> Callable[Concatenate[_Asked, _Rest], _Answer]:
    """The function, whose answer to the same is worked out once; the rest that it is given has a hash, and no name."""

    @wraps(function)
    def asked(program: _Asked, /, *rest: _Rest.args, **named: _Rest.kwargs) -> _Answer:
        key = (asked, *rest)
        if key not in program.memo:
            program.memo[key] = function(program, *rest, **named)
        answer: _Answer = program.memo[key]
        return answer

    return asked
