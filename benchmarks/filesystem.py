"""The workload natively, in an in-memory Python file system (the floor), and in ART's overlay, in turn.

python benchmarks/filesystem.py [--rounds 3] [--art PROGRAM]
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
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from installed import install

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 1.25
LIMITS = {"git_clone": 1.6, "fsync_200": None, "seq_write": None}
"""Times the floor; None where the floor does nothing to compare with: `overlay.py` holds seq_write against
SQLite alone."""
SYNC_LIMIT, EDIT_LIMIT_S = 3.0, 0.02


def workload(prefix: Sequence[str], directory: str) -> dict[str, float]:
    argv = [*prefix, "/usr/bin/python3", f"{HERE}/workload.py", "run"]
    done = subprocess.run(argv, cwd=directory, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True)
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def in_floor(lower: str, mountpoint: str) -> dict[str, float]:
    os.mkdir(mountpoint)
    server = subprocess.Popen([sys.executable, f"{HERE}/floor.py", lower, mountpoint])
    try:
        while not os.path.ismount(mountpoint):
            if server.poll() is not None:
                sys.exit("the floor cannot be mounted")
            time.sleep(0.02)
        return workload((), mountpoint)
    finally:
        subprocess.run(["fusermount3", "-u", mountpoint])
        server.wait()
        os.rmdir(mountpoint)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--art", help="an installed art; without it the tree's wheel is installed")
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"native": [], "floor": [], "art": []}
    with TemporaryDirectory(prefix="art-bench-", dir="/var/tmp") as place:
        art = options.art or install(f"{place}/venv", "overlay")
        subprocess.run([sys.executable, f"{HERE}/workload.py", "prepare", f"{place}/original"], check=True)
        for _ in range(options.rounds):
            for name, results in found.items():
                directory = f"{place}/workspace"
                shutil.copytree(f"{place}/original", directory)
                os.sync()
                if name == "floor":
                    results.append(in_floor(directory, f"{place}/mounted"))
                else:
                    prefix = [art, "-m", directory, "-d", f"{place}/bench.db", "-i=false", "--"]
                    prefix += ["sh", "-c", 'cd "$0" && exec "$@"', "."]
                    results.append(workload(prefix if name == "art" else (), directory))
                shutil.rmtree(directory)
                if name == "art":
                    os.unlink(f"{place}/bench.db")
    return report(found)


def report(found: dict[str, list[dict[str, float]]]) -> int:
    rows = {
        name: {row: statistics.median(one[row] for one in results) for row in results[0]}
        for name, results in found.items()
    }
    print(f"{'seconds':18}{'native':>10}{'floor':>10}{'art':>10}{'art/floor':>11}{'bound':>7}")
    slow = []
    for row, native in rows["native"].items():
        floor, ours = rows["floor"][row], rows["art"][row]
        bound = LIMITS.get(row, LIMIT)
        said = "" if bound is None else f"{bound:7.2f}"
        print(f"{row:18}{native:10.4f}{floor:10.4f}{ours:10.4f}{ours / floor:11.2f}{said}")
        if row == "fsync_200":
            bound, floor = SYNC_LIMIT, native
        elif row == "edit_1_byte_50m":
            bound, floor = EDIT_LIMIT_S / ours, ours
        if bound is not None and ours > bound * floor:
            slow.append(row)
    print(f"fsync_200 is {rows['art']['fsync_200'] / rows['native']['fsync_200']:.1f} times native, bound 3")
    if slow:
        print("above the bound:", ", ".join(slow))
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
