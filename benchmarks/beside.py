"""Many commands on one database at once: runs that start and end, readers, snapshots, squash and gc in loops.

python benchmarks/beside.py [--seconds 600] [--branches 8] [--art PROGRAM]

Every run adds a line to a log in its branch's home and syncs it, and makes files that go with the next one.
No run may be lost, no command may fail, nothing that was synced may be missing, and `art db check` must find
nothing. Ends with 1 otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from installed import install

_RUN = """
import os, sys
with open(os.path.expanduser("~/log"), "a+") as log:
    log.seek(0)
    print(len(log.readlines()), flush=True)
    log.write("line\\n"); log.flush(); os.fsync(log.fileno())
os.makedirs("made", exist_ok=True)
for name in os.listdir("made"):
    os.unlink(f"made/{name}")
for number in range(int(sys.argv[1])):
    with open(f"made/{number}", "wb") as file:
        file.write(os.urandom(5000))
"""
FILES = 40
WAL_MOST = 300 << 20
"""Bytes that the log may have at any time."""


class Work:
    """What goes on at once, and what went wrong with it."""

    def __init__(self, art: str, top: str, branches: int, seconds: float) -> None:
        self._art = art
        self._top = top
        self.database = f"{top}/x.db"
        self.names = [f"b{number}" for number in range(branches)]
        self.until = time.monotonic() + seconds
        self.runs = dict.fromkeys(self.names, 0)
        self.commands = 0
        self.wal = 0
        self.wrong: list[str] = []

    def art(self, *words: str) -> str:
        """Call the command; one that fails is noted."""
        argv = [self._art, *words]
        done = subprocess.run(argv, cwd=f"{self._top}/ws", stdin=subprocess.DEVNULL, capture_output=True)
        self.commands += 1
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            self.wrong.append(f"{' '.join(words[:4])}: status {done.returncode}: {said}")
        return done.stdout.decode(errors="replace")

    def prepare(self) -> None:
        os.mkdir(f"{self._top}/ws")
        Path(f"{self._top}/ws/shown").write_text("by the host")
        self.art("-d", self.database, "-i=false", "--", "true")
        for name in self.names:
            self.art("branch", name, "-d", self.database)

    def run(self, name: str) -> None:
        words = ["run", "-b", name, "-d", self.database, "-i=false", "--", "/usr/bin/python3", "-c", _RUN]
        out = self.art(*words, str(FILES)).strip()
        if out != str(self.runs[name]):
            self.wrong.append(f"branch {name} has {out or 'nothing'} of {self.runs[name]} lines")
        self.runs[name] += 1

    def read(self, name: str) -> None:
        self.art("fs", "ls", "-b", name, "-d", self.database)
        self.art("status", "-b", name, "-d", self.database)
        self.art("log", "-d", self.database)
        self.art("db", "info", "-d", self.database)

    def snapshot(self, name: str) -> None:
        point = f"s{time.monotonic_ns()}"
        self.art("snapshot", point, "-b", name, "-d", self.database)
        self.art("snapshot", "--delete", point, "-d", self.database)

    def squash(self, name: str) -> None:
        self.art("db", "squash", "-b", name, "-d", self.database)

    def collect(self, name: str) -> None:
        self.art("db", "gc", "-d", self.database)

    def look(self) -> None:
        with suppress(FileNotFoundError):
            self.wal = max(self.wal, os.stat(f"{self.database}-wal").st_size)

    def all_at_once(self) -> None:
        threads = [self._thread(self.run, [name]) for name in self.names]
        threads += [
            self._thread(do, self.names) for do in (self.read, self.snapshot, self.squash, self.collect)
        ]
        while any(thread.is_alive() for thread in threads):
            self.look()
            time.sleep(0.1)

    def _thread(self, do: Callable[[str], None], names: Sequence[str]) -> threading.Thread:
        def loop() -> None:
            for name in itertools.cycle(names):
                if time.monotonic() > self.until:
                    return
                do(name)

        thread = threading.Thread(target=loop)
        thread.start()
        return thread

    def settle(self) -> None:
        """See that everything is there, and sound."""
        for name in self.names:
            lines = self.art("fs", "cat", "log", "-b", name, "-d", self.database).count("\n")
            if lines != self.runs[name]:
                self.wrong.append(f"branch {name} has {lines} lines after {self.runs[name]} runs")
        said = self.art("db", "check", "-d", self.database)
        if "nothing is wrong" not in said:
            self.wrong.append(said)
        left = sorted(name for name in os.listdir(self._top) if name.startswith("x.db-"))
        if left:
            self.wrong.append(f"left behind: {', '.join(left)}")
        if self.wal > WAL_MOST:
            self.wrong.append(f"the log had {self.wal >> 20} MiB")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--branches", type=int, default=8)
    parser.add_argument("--directory", help="where the database lies, on a disk that sandboxes see")
    parser.add_argument("--art", help="an installed `art`")
    options = parser.parse_args()
    with TemporaryDirectory() as place, TemporaryDirectory(dir=options.directory or "/var/tmp") as top:
        art = options.art or install(f"{place}/venv", "overlay")
        work = Work(art, top, options.branches, options.seconds)
        work.prepare()
        work.all_at_once()
        work.settle()
    print(
        f"{sum(work.runs.values())} runs on {options.branches} branches, {work.commands} commands, "
        f"log at most {work.wal >> 20} MiB, {len(work.wrong)} wrong"
    )
    for line in work.wrong[:50]:
        print(f"  {line}")
    return 1 if work.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
