"""What a thread finds beside scoring, where a GPU does the work; or who asks for it, where the processor is busy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar, final

from bpb_harness.freed_memory import give_back

T = TypeVar("T")


@final
class Beside(Generic[T]):
    """A value that is found once.

    Args:
        work: finds it.
        name: of the thread.
    """

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self._work, self._name = work, name
        self._found: Future[T] | None = None

    def start(self) -> None:
        """Begin, on a thread; what fails there is raised where the value is asked for."""
        pool = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        self._found = pool.submit(self._find)
        pool.shutdown(wait=False)  # when it is done

    def result(self) -> T:
        """The value, waited for or found here."""
        if self._found is None:
            self._found = Future()
            try:
                self._found.set_result(self._find())
            except BaseException as error:
                self._found.set_exception(error)
        return self._found.result()

    def _find(self) -> T:
        value = self._work()
        give_back()  # what it took on the way
        return value
