"""Overlay mode: its start, a gigabyte written in sequence, push and pull, each against its like in turn.

python benchmarks/overlay.py [--art PROGRAM] [--rounds 3] [--size-mb 1024] [--files 20000]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory

import apsw
from installed import install

MIB = 1 << 20
START_LIMIT, SEQUENCE_LIMIT = 2.2, 0.7
COPY_LIMITS = {"push": 1.5, "pull": 2.0, "push again": 0.5, "pull again": 0.5}

SEQUENCE = """
import os, sys, time
block = os.urandom(1 << 20)
begin = time.perf_counter()
with open("../sequence", "wb", buffering=0) as file:
    for _ in range(int(sys.argv[1])):
        file.write(block)
    os.fsync(file.fileno())
print(time.perf_counter() - begin)
"""


def timed(argv: Sequence[str], cwd: str) -> float:
    begin = time.perf_counter()
    subprocess.run(argv, cwd=cwd, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def discard(database: str) -> None:
    for end in ("", "-wal", "-shm", "-lock"):
        if os.path.exists(database + end):
            os.unlink(database + end)


def start(art: str, place: str, rounds: int) -> bool:
    """`art -d x.db -- true` against direct mode and the import of trio."""
    python = f"{os.path.dirname(art)}/python"
    workspace, database = f"{place}/empty", f"{place}/start.db"
    os.mkdir(workspace)
    programs = {
        "direct": [art, "-i=false", "--", "true"],
        "trio": [python, "-c", "import trio"],
        "overlay": [art, "-d", database, "-i=false", "--", "true"],
    }
    timed(programs["overlay"], workspace)
    found = {name: [timed(argv, workspace) for _ in range(rounds * 5)] for name, argv in programs.items()}
    direct, trio, ours = (statistics.median(found[name]) for name in programs)
    ratio = ours / (direct + trio)
    print(
        f"start       direct {direct * 1000:.1f} ms, import trio {trio * 1000:.1f}, overlay {ours * 1000:.1f}"
    )
    print(f"            {ratio:.2f} times both together, bound {START_LIMIT}")
    return ratio <= START_LIMIT


def plain_loop(path: str, size_mb: int) -> float:
    """The same bytes into one table: what SQLite can do at most."""
    connection = apsw.Connection(path)
    connection.pragma("page_size", 16384)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", 1)
    connection.pragma("wal_autocheckpoint", 512)
    connection.execute("CREATE TABLE chunk(id INTEGER PRIMARY KEY, data BLOB)")
    block = os.urandom(MIB)
    begin = time.perf_counter()
    for _ in range(size_mb // 2):
        with connection:
            for part in range(2 * MIB // 65536):
                offset = part % 16 * 65536
                connection.execute("INSERT INTO chunk(data) VALUES(?)", (block[offset : offset + 65536],))
    with open(f"{path}-wal", "rb") as log:
        os.fdatasync(log.fileno())
    seconds = time.perf_counter() - begin
    connection.close()
    return seconds


def touch_memory(size_mb: int) -> None:
    """A virtual machine gives memory that is free back to its host, and is slow to get it again: the page
    cache of what is written must not pay for that."""
    memory = bytearray(size_mb * MIB)
    memory[::4096] = bytes(len(memory) // 4096)


def sequence(art: str, place: str, rounds: int, size_mb: int) -> bool:
    loops, ours = [], []
    for _ in range(rounds):
        database = f"{place}/sequence.db"
        touch_memory(4 * size_mb)
        os.sync()
        loops.append(plain_loop(database, size_mb))
        discard(database)
        touch_memory(4 * size_mb)
        os.sync()
        argv = [art, "-m", f"{place}/empty", "-d", database, "-i=false", "--"]
        argv += ["/usr/bin/python3", "-c", SEQUENCE, str(size_mb)]
        done = subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        ours.append(float(done.stdout))
        discard(database)
    loop, art_s = statistics.median(loops), statistics.median(ours)
    print(f"sequence    apsw alone {size_mb / loop:.0f} MiB/s, art {size_mb / art_s:.0f} MiB/s")
    print(f"            {loop / art_s:.2f} of its throughput, bound {SEQUENCE_LIMIT}")
    return loop / art_s >= SEQUENCE_LIMIT


def transfer(art: str, place: str, rounds: int, files: int) -> bool:
    source, database = f"{place}/ws", f"{place}/transfer.db"
    for number in range(files):
        directory = f"{source}/{number // 100}"
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/{number}", "wb") as file:
            file.write(b"%d " % number * (number % 200))
    sides = ["-m", source, "-d", database, "-q"]
    into = f"{place}/out/ws"
    steps: dict[str, Callable[[], float]] = {
        "copy": lambda: timed(["cp", "-a", source, f"{place}/copy"], place),
        "push": lambda: timed([art, "push", *sides], place),
        "push again": lambda: timed([art, "push", *sides], place),
        "pull": lambda: timed([art, "pull", "-m", into, "-d", database, "-q"], place),
    }
    found: dict[str, list[float]] = {name: [] for name in (*steps, "pull again")}
    for _ in range(rounds):
        for name, step in steps.items():
            os.sync()
            found[name].append(step())
        # What a pull has to compare is what a run changed: every file, by its time.
        found["pull again"].append(timed([art, "pull", *sides], place))
        shutil.rmtree(f"{place}/copy")
        shutil.rmtree(f"{place}/out")
        discard(database)
    copy = statistics.median(found["copy"])
    print(f"transfer    {files} files, cp -a {copy:.2f} s")
    good = True
    for name, bound in COPY_LIMITS.items():
        seconds = statistics.median(found[name])
        good &= seconds <= bound * copy
        print(f"            {name} {seconds:.2f} s, {seconds / copy:.2f} times, bound {bound}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--art", help="an installed art; without it the tree's wheel is installed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size-mb", type=int, default=1024)
    parser.add_argument("--files", type=int, default=20_000)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="art-bench-", dir="/var/tmp") as place:
        art = options.art or install(f"{place}/venv", "overlay")
        good = start(art, place, options.rounds)
        good &= sequence(art, place, options.rounds, options.size_mb)
        good &= transfer(art, place, options.rounds, options.files)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
