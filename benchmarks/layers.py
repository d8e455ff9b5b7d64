"""A database with many snapshots, and its care: a cold walk, check, gc, squash, export and import.

python benchmarks/layers.py [--art PROGRAM] [--files 20000] [--snapshots 100] [--many 100000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from installed import install
from overlay import timed

WALK_LIMIT = 1.3

WORK = """
import os, sys
files, rounds, many = map(int, sys.argv[1:])
os.chdir("..")
for number in range(files):
    if number % 100 == 0:
        os.mkdir(f"d{number // 100}")
    with open(f"d{number // 100}/{number}", "wb") as file:
        file.write(b"x" * 700)
for turn in range(rounds):
    for number in range(turn, files, 100):
        path = f"d{number // 100}/{number}"
        with open(path + ".new", "wb") as file:
            file.write(b"y" * 900)
        os.rename(path + ".new", path)
    for number in range(0, files, files // many):
        with open(f"d{number // 100}/{number}", "ab") as file:
            file.write(b"z")
    print(turn, flush=True)
    sys.stdin.readline()
"""
"""Each turn replaces one file in a hundred, another hundredth each time, and adds to the same few."""

WALK = """
import os, time
begin, seen = time.perf_counter(), 0
for top, _, names in os.walk(".."):
    for name in names:
        os.lstat(f"{top}/{name}")
        seen += 1
print(time.perf_counter() - begin, seen)
"""


def make(art: str, place: str, files: int, rounds: int, snapshots: int) -> str:
    """A database whose files were changed in so many turns, with a snapshot after the last of them."""
    database = f"{place}/{snapshots}.db"
    sides = ["-m", f"{place}/ws", "-d", database]
    argv = [art, *sides, "-i=false", "--", "python3", "-c", WORK, str(files), str(rounds), "50"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdin is not None and run.stdout is not None
        for turn in range(rounds):
            run.stdout.readline()
            if turn >= rounds - snapshots:
                subprocess.run([art, "snapshot", *sides, f"s{turn}"], check=True, stdout=subprocess.DEVNULL)
            run.stdin.write("\n")
            run.stdin.flush()
    return database


def walk(art: str, place: str, database: str) -> float:
    """Seconds of a first walk in a new sandbox."""
    argv = [art, "-m", f"{place}/ws", "-d", database, "-i=false", "--", "python3", "-c", WALK]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[0])


def chains(art: str, place: str, files: int, snapshots: int, rounds: int) -> bool:
    one = make(art, place, files, snapshots, 1)
    many = make(art, place, files, snapshots, snapshots)
    figures: dict[str, list[float]] = {one: [], many: []}
    for _ in range(rounds):
        for database, found in figures.items():
            found.append(walk(art, place, database))
    short, long = (statistics.median(found) for found in figures.values())
    ratio = long / short
    print(f"cold walk of {files} files, 1 snapshot {short:.3f} s, {snapshots} snapshots {long:.3f} s")
    print(f"{'ratio':52}{ratio:9.2f} times  bound {WALK_LIMIT:g}")
    said = ["-d", many]
    print(f"{'check of that chain':52}{timed([art, 'db', 'check', *said], place):9.2f} s")
    for turn in range(snapshots - 1):
        subprocess.run(
            [art, "snapshot", *said, "--delete", f"s{turn}"], check=True, stdout=subprocess.DEVNULL
        )
    print(f"{'squash of it, its snapshots deleted':52}{timed([art, 'db', 'squash', *said], place):9.2f} s")
    print(f"{'cold walk after it':52}{walk(art, place, many):9.3f} s")
    return ratio <= WALK_LIMIT


def care(art: str, place: str, files: int) -> None:
    database = f"{place}/many.db"
    sides = ["-m", f"{place}/ws", "-d", database]
    subprocess.run(
        [art, *sides, "-i=false", "--", "python3", "-c", WORK, str(files), "0", "1"],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    said = ["-d", database]
    print(f"{f'check of {files} files':52}{timed([art, 'db', 'check', *said], place):9.2f} s")
    command = f"{art} db export --tar -d {database} >{place}/home.tar"
    print(f"{'export':52}{timed(['sh', '-c', command], place):9.2f} s")
    command = f"{art} db import --tar -d {database} -b other <{place}/home.tar"
    print(f"{'import into a branch':52}{timed(['sh', '-c', command], place):9.2f} s")
    before = os.stat(database).st_size
    subprocess.run([art, "branch", *said, "--delete", "other"], check=True, stdout=subprocess.DEVNULL)
    begin = timed([art, "db", "gc", *said], place)
    print(f"{'gc of that branch':52}{begin:9.2f} s")
    print(f"{'the file, after to before':52}{os.stat(database).st_size / before:9.2f} times")
    info = json.loads(subprocess.run([art, "db", "info", "--json", *said], stdout=subprocess.PIPE).stdout)
    print(f"{'size':52}{info['size'] / 2**20:9.1f} MiB")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--art")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--snapshots", type=int, default=100)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["chains", "care"])
    options = parser.parse_args(argv)
    with TemporaryDirectory(prefix="art-bench-", dir="/var/tmp") as place:
        art = options.art or install(f"{place}/venv", "all")
        os.mkdir(f"{place}/ws")
        good = True
        if options.only != "care":
            good = chains(art, place, options.files, options.snapshots, options.rounds)
        if options.only != "chains":
            care(art, place, options.many)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
