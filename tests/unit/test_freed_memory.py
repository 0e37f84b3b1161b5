"""What was freed, and what was read, goes back to the system; what is read again is the same."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bpb_harness import freed_memory
from bpb_harness.freed_memory import give_back, let_go, share_one_arena
from bpb_harness.text.corpus import load_shards
from tests.shards import write_shard

COUNT = 1 << 21


@pytest.fixture
def shard(tmp_path):
    return write_shard(tmp_path / "long.bin", np.arange(COUNT) % 60_000)


def resident(path: Path) -> int:
    """Bytes of a mapped file in this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines())
    total = 0
    for line in lines:
        if line.endswith(str(path)):
            total += next(int(each.split()[1]) * 1024 for each in lines if each.startswith("Rss:"))
    return total


needs_linux = pytest.mark.skipif(
    not Path("/proc/self/smaps").exists() or not hasattr(mmap, "MADV_DONTNEED"), reason="asks Linux what is resident"
)


@needs_linux
def test_a_text_that_was_gone_through_is_not_kept(shard):
    corpus = load_shards([shard], vocab_size=60_000)
    size = shard.stat().st_size
    assert resident(shard) < size // 4  # it was checked and digested
    for start in range(0, COUNT, 1 << 16):
        assert corpus.read(start, start + (1 << 16))[5] == (start + 5) % 60_000
    assert resident(shard) < size // 4
    for start in range(0, COUNT, 1 << 10):  # windows are read now and again
        corpus.read(start, start + (1 << 10))
    assert resident(shard) > size // 2
    corpus.let_go()
    assert resident(shard) < size // 4
    for start in range(0, COUNT, 1 << 10):
        corpus.read(start, start + (1 << 10))
    assert resident(shard) > size // 2
    for _ in corpus.stored(0, COUNT):
        pass
    assert resident(shard) < size // 4
    np.testing.assert_array_equal(corpus.read(0, COUNT), np.arange(COUNT) % 60_000)


@pytest.mark.parametrize("begin", [0, 1, 3_000, COUNT - 100])
def test_what_lies_beside_it_is_left_alone(shard, begin):
    mapped = np.memmap(shard, dtype="<u2", mode="r", offset=1024, shape=(COUNT,))
    let_go(mapped[begin:])
    np.testing.assert_array_equal(mapped, np.arange(COUNT) % 60_000)


def test_what_was_written_and_is_in_no_file_stays(shard):
    """Pages of a private copy would come back as the file has them."""
    mapped = np.memmap(shard, dtype="<u2", mode="c", offset=1024, shape=(COUNT,))
    mapped[:] = 7
    let_go(mapped)
    assert (mapped == 7).all()


def test_other_arrays_and_systems_without_the_call_are_left_alone(shard, monkeypatch):
    let_go(np.arange(10))
    monkeypatch.setattr(freed_memory, "_DONT_NEED", None)
    mapped = np.memmap(shard, dtype="<u2", mode="r", offset=1024, shape=(COUNT,))
    let_go(mapped)
    assert mapped[7] == 7


def test_only_whole_pages_of_the_part_are_let_go_of(shard, monkeypatch):
    asked = []

    class Mapped(mmap.mmap):
        def madvise(self, *given):
            asked.append(given)

    with shard.open("rb") as file:
        mapped = Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)
    array = np.memmap(shard, dtype="<u2", mode="r", offset=1024, shape=(COUNT,))
    same = np.frombuffer(mapped, "<u2", offset=1024).view(np.memmap)
    same._mmap = mapped
    page = mmap.PAGESIZE
    let_go(same[: page // 2])  # 1024 .. page + 1024
    let_go(same[page : 3 * page])  # 2 page + 1024 .. 6 page + 1024
    let_go(same[:16])  # within one page
    assert [given[1:] for given in asked] == [(3 * page, 3 * page)]
    del array


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_freed_memory_goes_back_where_the_library_can(monkeypatch, system):
    called = []
    library = SimpleNamespace(**dict.fromkeys(("malloc_trim", "mallopt"), lambda *given: called.append(given)))
    for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(freed_memory.sys, "platform", system)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    give_back()
    share_one_arena()
    assert called == ([(0,), (-8, 1)] if system == "linux" else [])


def test_a_library_without_those_calls_keeps_it(monkeypatch):
    monkeypatch.setattr(freed_memory.sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    give_back()
    share_one_arena()


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_where_the_user_says_whence_memory_comes_it_stays_so(monkeypatch, name):
    monkeypatch.setenv(name, "4")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("nothing is to be called"))
    share_one_arena()


FREED_BY_THREADS = """
import ctypes, sys, tempfile, threading
from bpb_harness.freed_memory import give_back, share_one_arena
import numpy as np
if sys.argv[1] == "shared":
    share_one_arena()
np.zeros(2_000_000)[:] = 1  # 16 MB, mapped by itself, and freed: from here on less than that comes out of arenas
barrier = threading.Barrier(4)
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
def work():
    held = np.ones(1_000_000)
    if barrier.wait() == 0:
        most.append(resident())
    barrier.wait()  # nobody frees before all hold theirs
most = []
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
give_back()
library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as told:
    file = ctypes.c_void_p(library.fopen(told.name.encode(), b"w"))
    assert library.malloc_info(0, file) == 0
    library.fclose(file)
    print(told.read().count(b"<heap nr="), most[0] - resident())
"""


@needs_linux
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
def test_what_threads_freed_goes_back_too():
    """Four threads hold 8 MB each: arenas of their own would keep some of it, the one they share keeps none."""
    environment = {key: value for key, value in os.environ.items() if key not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
    arenas, freed = {}, {}
    for how in ("shared", "each"):
        command = [sys.executable, "-c", FREED_BY_THREADS, how]
        printed = subprocess.run(command, check=True, capture_output=True, env=environment).stdout
        arenas[how], freed[how] = map(int, printed.split())
    assert arenas["shared"] < arenas["each"]
    assert freed["shared"] > 24_000
