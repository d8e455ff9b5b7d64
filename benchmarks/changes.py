"""`art status` and `art diff` after three changes in a pushed workspace, against git's on the same files.

python benchmarks/changes.py [--art PROGRAM] [--rounds 3] [--files 20000]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from installed import install

CHANGE = "echo more >>d0/f0; echo new >d1/new; rm d2/f2"


def measured(argv: Sequence[str], cwd: str) -> tuple[float, float]:
    """Seconds, and the peak of memory in MiB."""
    begin = time.perf_counter()
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", 'cd "$1" && shift && exec "$@" >/dev/null', "sh", cwd, *argv],
        os.environ,
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(argv)} failed")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def prepare(art: str, place: str, files: int) -> None:
    workspace = f"{place}/ws"
    for number in range(files // 100):
        os.makedirs(f"{workspace}/d{number}")
        for name in range(100):
            with open(f"{workspace}/d{number}/f{name}", "w") as file:
                file.write(f"{number} {name}\n" * (name % 50 + 1))
    shutil.copytree(workspace, f"{place}/git")
    commands = [
        [art, "push", "-q", "-m", workspace, "-d", f"{place}/ws.db"],
        [art, "snapshot", "before", "-m", workspace, "-d", f"{place}/ws.db"],
        [art, "-m", workspace, "-d", f"{place}/ws.db", "-i=false", "--", "sh", "-c", CHANGE],
        ["git", "-C", f"{place}/git", "init", "-q"],
        ["git", "-C", f"{place}/git", "add", "."],
        ["sh", "-c", f"cd {place}/git && {CHANGE}"],
    ]
    for argv in commands:
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--art")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=20_000)
    chosen = parser.parse_args()
    with TemporaryDirectory() as place:
        art = chosen.art or install(f"{place}/venv", "overlay,bwrap")
        prepare(art, place, chosen.files)
        sides = ["-m", f"{place}/ws", "-d", f"{place}/ws.db"]
        programs = {
            "git status": ["git", "status", "--short"],
            "git diff": ["git", "diff"],
            "pull again": [art, "pull", "--dry-run", *sides],
            "status": [art, "status", *sides],
            "diff": [art, "diff", *sides],
            "status --since": [art, "status", "--since", "before", *sides],
            "diff --since": [art, "diff", "--since", "before", *sides],
        }
        for argv in programs.values():
            measured(argv, f"{place}/git")
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
        for _ in range(chosen.rounds):
            for name, argv in programs.items():
                found[name].append(measured(argv, f"{place}/git"))
        for name, runs in found.items():
            seconds, peak = (statistics.median(column) for column in zip(*runs, strict=True))
            print(f"{name:<15} {seconds:7.3f} s  {peak:6.0f} MiB")


if __name__ == "__main__":
    main()
