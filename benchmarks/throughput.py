"""What the pipes cost: one gigabyte through `art -- cat` and through a plain `cat`.

python benchmarks/throughput.py [--size-mb 1024] [--rounds 5] [--art PROGRAM]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from installed import install

BLOCK = 1 << 20


def seconds(argv: Sequence[str], workspace: str, size_mb: int) -> float:
    """How long it takes to send `size_mb` blocks through the program's standard streams."""
    begin = time.perf_counter()
    feeder = subprocess.Popen(
        ["head", "-c", str(size_mb * BLOCK), "/dev/zero"], stdout=subprocess.PIPE, cwd=workspace
    )
    program = subprocess.Popen(argv, stdin=feeder.stdout, stdout=subprocess.PIPE, cwd=workspace)
    assert feeder.stdout and program.stdout
    feeder.stdout.close()
    received = 0
    block = bytearray(BLOCK)
    with program.stdout as stream:
        while count := stream.readinto(block):  # type: ignore[attr-defined]
            received += count
    if program.wait() or feeder.wait() or received != size_mb * BLOCK:
        sys.exit(f"{' '.join(argv)}: {received} bytes came out of {size_mb * BLOCK}")
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size-mb", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--art", help="an installed art; without it the tree's wheel is installed")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="art-bench-", dir="/var/tmp") as place:
        art = options.art or install(f"{place}/venv")
        workspace = f"{place}/ws"
        os.mkdir(workspace)
        plain, ours = [], []
        for _ in range(options.rounds):
            plain.append(seconds(["cat"], workspace, options.size_mb))
            ours.append(seconds([art, "--", "cat"], workspace, options.size_mb))
    for name, values in (("cat", plain), ("art -- cat", ours)):
        median = statistics.median(values)
        print(f"{name:12s} {median:6.2f} s for {options.size_mb} MiB: {options.size_mb / median:7.0f} MiB/s")
    print(f"{'ratio':12s} {statistics.median(ours) / statistics.median(plain):6.2f}")


if __name__ == "__main__":
    main()
