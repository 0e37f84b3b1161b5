"""The compiler is imported by one thread at a time, and by whoever compiles before it asks for a part of it."""

from __future__ import annotations

import threading

import pytest

from bpb_harness.evaluation import compiler, runner


def test_a_thread_waits_for_the_one_that_is_importing(monkeypatch):
    begun, may_end, seen = threading.Event(), threading.Event(), []

    def slow_import(name):
        seen.append((threading.current_thread().name, name, "begins"))
        begun.set()
        assert may_end.wait(60)
        seen.append((threading.current_thread().name, name, "ends"))

    monkeypatch.setattr(compiler.importlib, "import_module", slow_import)
    threads = [threading.Thread(target=compiler.import_compiler, name=name, daemon=True) for name in ("one", "two")]
    threads[0].start()
    assert begun.wait(60)
    threads[1].start()
    threads[1].join(0.05)  # time enough to begin, were it let
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert seen == [
        (who, name, what)
        for who in ("one", "two")
        for name in ("torch._dynamo", "torch._inductor.compile_fx")
        for what in ("begins", "ends")
    ]


def test_whoever_compiles_waits_before_it_asks_for_a_part_of_the_compiler(monkeypatch):
    def refuse():
        raise InterruptedError

    monkeypatch.setattr(runner, "import_compiler", refuse)
    with pytest.raises(InterruptedError):
        runner._same_programs_everywhere()
