"""What a further command costs in a sandbox that is open: `box.run(["true"])` against a bare bwrap.

Both are run in turn by one program, so that a busy machine slows both; medians of the pairs are printed, and
their ratios. ART is installed from its wheel, as users have it.

    python benchmarks/sessions.py [--pairs 200] [--python PROGRAM] [--limit 2]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory

BARE = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all", "true"]


def bare() -> None:
    subprocess.run(BARE, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def milliseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1000


def row(name: str, ours: Sequence[float], theirs: Sequence[float], limit: float | None) -> bool:
    """Print a row; whether it is within its limit."""
    ratio = statistics.median(ours) / statistics.median(theirs)
    bound = f"(at most {limit:g})" if limit else ""
    print(
        f"  {name:34} {statistics.median(ours):6.2f} ms  p95 {sorted(ours)[len(ours) * 95 // 100]:6.2f}"
        f"  bwrap alone {statistics.median(theirs):5.2f} ms  ratio {ratio:5.2f} {bound}"
    )
    return limit is None or ratio <= limit


def pairs(count: int, work: Callable[[], object]) -> tuple[list[float], list[float]]:
    for _ in range(5):
        work()
        bare()
    found = [(milliseconds(work), milliseconds(bare)) for _ in range(count)]
    return [ours for ours, _ in found], [theirs for _, theirs in found]


def measure(count: int, limit: float, place: str) -> bool:
    from art_core import AsyncSandbox, Sandbox

    workspace = f"{place}/ws"
    os.mkdir(workspace)
    good = True
    for name, database in (("direct mode", None), ("with a database", f"{place}/ws.db")):
        firsts: list[float] = []
        for _ in range(max(3, count // 40)):
            begin = time.perf_counter()
            with Sandbox(workspace, database=database) as box:
                box.run(["true"], check=True)
                firsts.append((time.perf_counter() - begin) * 1000)
        row(f"{name}: open, first command", firsts, pairs(5, lambda: None)[1], None)
        with Sandbox(workspace, database=database) as box:
            times = pairs(count, lambda: box.run(["true"], check=True))
            good &= row(f"{name}: further command", *times, limit)
            box.write("file", b"x" * 1000)
            row(f"{name}: read of 1,000 bytes", *pairs(count // 4, lambda: box.read("file")), None)

    async def in_a_loop() -> tuple[list[float], list[float]]:
        ours, theirs = [], []
        async with AsyncSandbox(workspace) as box:
            await box.run(["true"])
            for _ in range(count // 4):
                begin = time.perf_counter()
                await box.run(["true"], check=True)
                ours.append((time.perf_counter() - begin) * 1000)
                theirs.append(milliseconds(bare))
        return ours, theirs

    good &= row("direct mode: under asyncio", *asyncio.run(in_a_loop()), limit)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--python", help="a Python with ART; without it the tree's wheel is installed")
    parser.add_argument("--limit", type=float, default=2.0, help="fail above this ratio")
    parser.add_argument("--measure", metavar="PLACE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return int(not measure(options.pairs, options.limit, options.measure))
    from installed import install

    with TemporaryDirectory(prefix="art-bench-", dir="/var/tmp") as place:
        python = options.python or f"{os.path.dirname(install(f'{place}/venv', 'overlay'))}/python"
        version = subprocess.run(["bwrap", "--version"], capture_output=True, text=True).stdout.strip()
        print(f"{version}, Python {platform.python_version()}, Linux {platform.release()}, uid {os.getuid()}")
        print(f"medians of {options.pairs} pairs, in turn", flush=True)
        again = [python, __file__, f"--pairs={options.pairs}", f"--limit={options.limit}", "--measure", place]
        return subprocess.run(again).returncode


if __name__ == "__main__":
    sys.exit(main())
