"""What a run costs before its command starts: `art -i=false -- true` against a bare bwrap.

Both are run in turn, so that a busy machine slows both; the medians and their ratio are printed,
with the slowest imports of a run. ART is installed from its wheel, as users have it.

    python benchmarks/startup.py [--pairs 20] [--art PROGRAM] [--limit 12]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from installed import install

BARE = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all", "true"]


def milliseconds(argv: Sequence[str], workspace: str) -> float:
    """How long the program takes, which must succeed."""
    begin = time.perf_counter()
    subprocess.run(argv, cwd=workspace, check=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1000


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):6.1f} ms   (from {min(values):.1f} to {max(values):.1f})"


def imports(art: str, workspace: str, count: int) -> list[str]:
    """The `count` modules of a run that took longest by themselves, and how many there were."""
    python = f"{os.path.dirname(art)}/python"
    argv = [python, "-X", "importtime", art, "-i=false", "--", "true"]
    done = subprocess.run(argv, cwd=workspace, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    rows = []
    for line in done.stderr.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if len(fields) == 3 and fields[0].strip().isdigit():
            rows.append((int(fields[0]), fields[2].strip()))
    rows.sort(reverse=True)
    total = sum(own for own, _ in rows) / 1000
    return [
        f"{len(rows)} modules, {total:.1f} ms when each is timed; the longest, without what they import:",
        *(f"{own / 1000:8.1f} ms  {name}" for own, name in rows[:count]),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--art", help="an installed art; without it the tree's wheel is installed")
    parser.add_argument("--limit", type=float, default=12.0, help="fail above this ratio")
    parser.add_argument("--imports", type=int, default=12, help="how many imports to list")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="art-bench-", dir="/var/tmp") as place:
        art = options.art or install(f"{place}/venv")
        workspace = f"{place}/ws"
        os.mkdir(workspace)
        run = [art, "-i=false", "--", "true"]
        for argv in (BARE, run, BARE, run):  # the first fill caches
            milliseconds(argv, workspace)
        bare, ours = [], []
        for _ in range(options.pairs):
            bare.append(milliseconds(BARE, workspace))
            ours.append(milliseconds(run, workspace))
        ratio = statistics.median(ours) / statistics.median(bare)
        version = subprocess.run(["bwrap", "--version"], capture_output=True, text=True).stdout.strip()
        print(f"{version}, Python {platform.python_version()}, Linux {platform.release()}, uid {os.getuid()}")
        print(f"medians of {options.pairs} pairs, in turn")
        print(f"  bwrap alone  {spread(bare)}")
        print(f"  art          {spread(ours)}")
        print(f"  ratio        {ratio:6.1f}      (at most {options.limit:g})")
        print("\n".join(imports(art, workspace, options.imports)))
    return int(ratio > options.limit)


if __name__ == "__main__":
    sys.exit(main())
