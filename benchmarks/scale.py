"""Overlay mode with much in it: memory, an idle mount, many files, several branches at work, and how the time
and memory of each command grow.

python benchmarks/scale.py [--art PROGRAM] [--files 1000000] [--removed 20000] [--grow 10000,100000,1000000]
python benchmarks/scale.py --only-growth [--grow 10000,100000]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from tempfile import TemporaryDirectory
from typing import NamedTuple

from installed import install
from overlay import MIB, timed

IDLE_LIMIT_MIB, BUSY_LIMIT_MIB = 60, 200
REMOVE_LIMIT, MOUNT_LIMIT = 12.0, 1.2
SYNC_LIMIT_MS, LOG_LIMIT_MIB = 50.0, 64
BRANCHES = ("main", "one", "two", "three")
IDLE_S, BUSY_S = 5.0, 8.0
SHAPES = ("flat", "deep")
LINEAR = 1.2
"""Processor time may grow so many times faster than the number of files."""
COMMAND_LIMIT_MIB = 150

MANY = """
import os, sys
files = int(sys.argv[1])
for number in range(files):
    if number % 1000 == 0:
        os.mkdir(f"../many{number // 1000}")
    os.close(os.open(f"../many{number // 1000}/{number}", os.O_CREAT | os.O_WRONLY))
seen = 0
for top, _, names in os.walk(".."):
    for name in names:
        os.lstat(f"{top}/{name}")
        seen += 1
assert seen >= files, seen
"""

TREE = """
import os, sys
shape, files, top = sys.argv[1], int(sys.argv[2]), os.getcwd()
os.mkdir("all")
os.chdir("all")
for number in range(files):
    if shape == "deep" and number % 10 == 0:
        if number % 500 == 0:
            os.chdir(f"{top}/all")
            os.mkdir(f"chain{number // 500}")
            os.chdir(f"chain{number // 500}")
        os.mkdir("d")
        os.chdir("d")
    with open(f"f{number}", "wb", buffering=0) as file:
        file.write(b"content")
"""
"""So many files in one directory, or ten in each directory of chains that are fifty deep."""

BUSY = """
import json, os, sys, time
until, waits, number = time.monotonic() + float(sys.argv[1]), [], 0
os.makedirs("busy", exist_ok=True)
while time.monotonic() < until:
    for _ in range(20):
        number += 1
        with open(f"busy/{number % 500}", "wb", buffering=0) as file:
            file.write(b"x" * 20_000)
    begin = time.perf_counter()
    with open("busy/synced", "ab", buffering=0) as file:
        file.write(b"y" * 100)
        os.fsync(file.fileno())
    waits.append(time.perf_counter() - begin)
print(json.dumps(waits))
"""


class Told:
    """Prints figures with their bounds, and remembers whether all held."""

    def __init__(self) -> None:
        self.good = True

    def tell(self, what: str, figure: float, unit: str, bound: float) -> None:
        self.good &= figure <= bound
        print(f"{what:52}{figure:9.2f} {unit:6} bound {bound:g}")


def server_of(run: subprocess.Popen[str]) -> int:
    """The process of a run that serves its home: the one that holds /dev/fuse."""
    todo = [run.pid]
    while todo:
        pid = todo.pop()
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                todo += [int(child) for child in file.read().split()]
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/fuse":
                    return pid
            except FileNotFoundError:
                continue
    raise LookupError("no process of the run serves a home")


def memory_mib(pid: int, row: str) -> float:
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(row))


def processor_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@contextmanager
def running(argv: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A run whose command says a line when it begins, and ends with its input."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        run.stdout.readline()
        yield run


def idle(told: Told, art: str, place: str) -> None:
    argv = [art, "-m", f"{place}/empty", "-d", f"{place}/idle.db", "-i=false", "--", "sh", "-c", "echo; cat"]
    with running(argv) as run:
        server = server_of(run)
        told.tell("resident memory of an idle server", memory_mib(server, "VmRSS"), "MiB", IDLE_LIMIT_MIB)
        time.sleep(1.5)
        before = processor_ticks(server)
        time.sleep(IDLE_S)
        told.tell(f"processor time in {IDLE_S:g} idle seconds", processor_ticks(server) - before, "ticks", 0)


def many(told: Told, art: str, place: str, files: int) -> None:
    base = [art, "-m", f"{place}/empty", "-i=false"]
    script = f"echo; /usr/bin/python3 -c '{MANY}' {files}; echo; cat"
    begin = time.perf_counter()
    with running([*base, "-d", f"{place}/many.db", "--", "sh", "-c", script]) as run:
        server = server_of(run)
        assert run.stdout is not None
        run.stdout.readline()
        print(f"{files} files made and walked in {time.perf_counter() - begin:.0f} s")
        told.tell(
            "resident memory of its server, the highest", memory_mib(server, "VmHWM"), "MiB", BUSY_LIMIT_MIB
        )
    found: dict[str, list[float]] = {"many": [], "idle": []}
    for _ in range(15):
        for name, times in found.items():
            times.append(timed([*base, "-d", f"{place}/{name}.db", "--", "true"], place))
    ratio = statistics.median(found["many"]) / statistics.median(found["idle"])
    told.tell(f"start with {files} files, to one with none", ratio, "times", MOUNT_LIMIT)


def removal(told: Told, art: str, place: str, files: int) -> None:
    host, times = f"{place}/host", []
    for number in range(files):
        os.makedirs(f"{host}/tree/{number // 100}", exist_ok=True)
        with open(f"{host}/tree/{number // 100}/{number}", "wb") as file:
            file.write(b"content")
    clock = "import subprocess, time; b = time.perf_counter(); subprocess.run(['rm', '-rf', 'tree']); "
    clock += "print(time.perf_counter() - b)"
    for round_ in range(3):
        os.sync()
        argv = [art, "-m", host, "-d", f"{place}/removal{round_}.db", "-i=false", "--"]
        inside = subprocess.check_output([*argv, "/usr/bin/python3", "-c", clock], cwd=host)
        copy = f"{place}/copy"
        shutil.copytree(host, copy)
        os.sync()
        native = subprocess.check_output(["/usr/bin/python3", "-c", clock], cwd=copy)
        shutil.rmtree(copy)
        times.append(float(inside) / float(native))
    told.tell(f"rm -rf of {files} host files, to native", statistics.median(times), "times", REMOVE_LIMIT)


def branch_off(art: str, database: str) -> None:
    """Make branches of what the main one has."""
    for name in BRANCHES:
        subprocess.run([art, "branch", name, "-d", database, "--from", "main"], check=True)


def branches(told: Told, art: str, place: str) -> None:
    database = f"{place}/branches.db"
    base = [art, "-m", f"{place}/empty", "-d", database, "-i=false"]
    subprocess.run([*base, "--", "true"], check=True)
    branch_off(art, database)
    command = ["/usr/bin/python3", "-c", BUSY, str(BUSY_S)]
    runs = [
        subprocess.Popen([*base, "-b", name, "--", *command], stdout=subprocess.PIPE) for name in BRANCHES
    ]
    log = 0
    while any(run.poll() is None for run in runs):
        time.sleep(0.05)
        if os.path.exists(f"{database}-wal"):
            log = max(log, os.path.getsize(f"{database}-wal"))
    waits: list[float] = []
    for run in runs:
        assert run.stdout is not None
        waits += json.loads(run.stdout.read())
    worst = sorted(waits)[len(waits) * 99 // 100]
    told.tell(f"fsync of four busy branches, p99 of {len(waits)}", worst * 1000, "ms", SYNC_LIMIT_MS)
    told.tell("the log meanwhile, the largest", log / MIB, "MiB", LOG_LIMIT_MIB)


class Cost(NamedTuple):
    """What a command and all that it started took."""

    processor_s: float
    memory_mib: float


def cost(argv: Sequence[str], place: str) -> Cost:
    """Run it; the memory is that of its largest process, which is the server of a run."""
    run = subprocess.Popen(argv, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(run.pid, 0)
    run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, argv)
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def steps(art: str, place: str, shape: str, files: int) -> Iterator[tuple[str, list[str]]]:
    """What is measured, in this order: each step finds what those before it left."""
    database = f"{place}.db"
    run = [art, "-i=false", "-d", database, "--"]
    yield "run: make", [*run, "/usr/bin/python3", "-c", TREE, shape, str(files)]
    yield "run: start", [*run, "true"]
    yield "run: find", [*run, "find", ".", "-size", "+1k"]
    for name, words in {
        "status, all new": ["status"],
        "diff --stat, all new": ["diff", "--stat"],
        "pull, all new": ["pull"],
        "status, nothing new": ["status"],
        "push, nothing new": ["push"],
        "pull, nothing new": ["pull"],
        "snapshot": ["snapshot", "all"],
        "check": ["db", "check"],
        "export": ["db", "export", "--tar"],
    }.items():
        yield name, [art, *words, "-d", database]
    yield "run: rm -r", [*run, "rm", "-r", "all"]
    for name, words in {
        "status, all removed": ["status"],
        "restore of a path": ["restore", "all", "all"],
    }.items():
        yield name, [art, *words, "-d", database]
    yield "run: rm -r again", [*run, "rm", "-r", "all"]
    yield "pull, all removed", [art, "pull", "--force", "-d", database]
    points = subprocess.check_output(
        [art, "snapshot", "--list", "--json", "-d", database], cwd=place, text=True
    )
    for point in map(json.loads, points.splitlines()):
        subprocess.run([art, "snapshot", "--delete", point["name"], "-d", database], cwd=place, check=True)
    for name, words in {"squash": ["squash"], "gc": ["gc"], "check, after gc": ["check"]}.items():
        yield name, [art, "db", *words, "-d", database]


def growth(told: Told, art: str, place: str, sizes: Sequence[int]) -> None:
    """Every command at all sizes: time in proportion, memory within its bound."""
    for shape in SHAPES:
        before: dict[str, float] = {}
        for files, smaller in zip(sizes, (0, *sizes), strict=False):
            top = f"{place}/{shape}-{files}"
            os.makedirs(f"{top}/w")
            os.makedirs(f"{top}/pushed")
            subprocess.run([sys.executable, "-c", TREE, shape, str(files)], cwd=f"{top}/pushed", check=True)
            push = [art, "push", "-d", f"{top}/pushed.db"]
            for name, argv in chain([("push, all new", push)], steps(art, f"{top}/w", shape, files)):
                found = cost(argv, f"{top}/pushed" if argv is push else f"{top}/w")
                what, most = f"{shape}, {files}: {name}", COMMAND_LIMIT_MIB
                if name.startswith("run: "):
                    most = BUSY_LIMIT_MIB
                told.tell(what, found.memory_mib, "MiB", most)
                bound = LINEAR * files / smaller * before[name] if smaller else float("inf")
                told.tell(what, found.processor_s, "s", bound)
                before[name] = found.processor_s
            shutil.rmtree(top)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--art", help="an installed art; without it the tree's wheel is installed")
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--removed", type=int, default=20_000)
    parser.add_argument("--grow", default="10000,100000,1000000", help="numbers of files, the smallest first")
    parser.add_argument("--only-growth", action="store_true", help="nothing else")
    options = parser.parse_args()
    told = Told()
    with TemporaryDirectory(prefix="art-bench-", dir="/var/tmp") as place:
        art = options.art or install(f"{place}/venv", "overlay")
        os.mkdir(f"{place}/empty")
        growth(told, art, place, [int(size) for size in options.grow.split(",")])
        if options.only_growth:
            return 0 if told.good else 1
        idle(told, art, place)
        branches(told, art, place)
        removal(told, art, place, options.removed)
        many(told, art, place, options.files)
    return 0 if told.good else 1


if __name__ == "__main__":
    sys.exit(main())
