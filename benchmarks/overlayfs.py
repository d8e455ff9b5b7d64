"""The store of contrib/art-overlayfs on the workload of agents, against an overlayfs mounted by hand; what
bringing the changes into the database costs, against `cp -a` of them.

python benchmarks/overlayfs.py [--rounds 3] [--art PROGRAM]
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

from installed import ROOT, install

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT, CAPTURE_LIMIT = 1.2, 2.0
SMALL = 5000
WARM_MB = 1024

BY_HAND = """
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work$3" "$2/merged" || exit
cd "$2/merged" && shift 3 && exec "$@"
"""
MAKE_SMALL = f"""
import os
for number in range({SMALL}):
    os.makedirs(f"new/{{number // 100}}", exist_ok=True)
    with open(f"new/{{number // 100}}/{{number}}", "wb") as file:
        file.write(b"%d " % number * (number % 800))
"""
NOW = 'status=$?; date +%s.%N >&2; exit "$status"'


def run(argv: Sequence[str], directory: str) -> tuple[str, float]:
    """What a program printed, and the time that it told at its end."""
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout, float(done.stderr.split()[-1])


def by_hand(place: str, workspace: str, command: Sequence[str]) -> str:
    """Run it in an overlay that is mounted by hand; its upper directory stays in `hand`."""
    for name in ("upper", "work", "merged"):
        os.makedirs(f"{place}/hand/{name}")
    alone, option = ["unshare", "--mount"], ""
    if os.geteuid() != 0:
        alone += ["--user", "--map-current-user", "--keep-caps"]
        option = ",userxattr"
    prefix = [*alone, "sh", "-c", BY_HAND, "sh", workspace, f"{place}/hand", option]
    printed, _ = run([*prefix, "sh", "-c", f'"$@"; {NOW}', "sh", *command], place)
    return printed


def in_art(art: str, place: str, workspace: str, command: Sequence[str]) -> tuple[str, float]:
    """Run it in ART; what it printed, and the seconds from its end to that of art."""
    prefix = [art, "--store", "overlayfs", "-c", f"plugins.overlayfs.directory={place}/kept"]
    prefix += ["-m", workspace, "-d", f"{place}/bench.db", "-i=false", "--"]
    printed, ended = run([*prefix, "sh", "-c", f'"$@"; {NOW}', "sh", *command], workspace)
    return printed, time.time() - ended


def copied(place: str) -> tuple[float, float]:
    """Seconds that `cp -a` of what changed takes, and with bringing the copy to the disk."""
    begin = time.perf_counter()
    subprocess.run(["cp", "-a", f"{place}/hand/upper", f"{place}/copy"], check=True)
    copied = time.perf_counter() - begin
    subprocess.run(["sync", "-f", f"{place}/copy"], check=True)
    return copied, time.perf_counter() - begin


def warm_up(place: str) -> None:
    """Have as many free pages of memory as the workload caches: a virtual machine gives free ones away and is
    slow to get them back, which whoever writes first would pay."""
    block = os.urandom(1 << 20)
    with open(f"{place}/warm", "wb") as file:
        for _ in range(WARM_MB):
            file.write(block)
    os.unlink(f"{place}/warm")


def tidy(place: str) -> None:
    for name in ("hand", "copy", "kept", "workspace"):
        if os.path.exists(f"{place}/{name}"):  # The kernel's own directory lets a plain user not in.
            subprocess.run(["chmod", "-R", "u+rwx", f"{place}/{name}"], check=True)
            subprocess.run(["rm", "-rf", f"{place}/{name}"], check=True)
    for end in ("", "-wal", "-shm", "-lock"):
        if os.path.exists(f"{place}/bench.db{end}"):
            os.unlink(f"{place}/bench.db{end}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--art", help="an installed art; without it the tree's wheels are installed")
    options = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {"by hand": [], "art": []}
    ends: dict[str, list[tuple[float, float, float]]] = {"the workload": [], f"{SMALL} files": []}
    python = "/usr/bin/python3"
    commands = {
        "the workload": [python, f"{HERE}/workload.py", "run"],
        f"{SMALL} files": [python, "-c", MAKE_SMALL],
    }
    with TemporaryDirectory(prefix="art-bench-", dir="/var/tmp") as place:
        art = options.art or install(f"{place}/venv", "overlay", f"{ROOT}/contrib/art-overlayfs")
        subprocess.run([sys.executable, f"{HERE}/workload.py", "prepare", f"{place}/original"], check=True)
        workspace = f"{place}/workspace"
        for number in range(options.rounds):
            for name, command in commands.items():
                shutil.copytree(f"{place}/original", workspace)
                told: dict[str, str] = {}
                for how in ("by hand", "art") if number % 2 else ("art", "by hand"):
                    os.sync()
                    warm_up(place)
                    if how == "art":
                        told[how], end = in_art(art, place, workspace, command)
                    else:
                        told[how] = by_hand(place, workspace, command)
                os.sync()
                warm_up(place)
                ends[name].append((end, *copied(place)))
                for how, printed in told.items():
                    if printed:
                        rows[how].append(json.loads(printed))
                tidy(place)
    good = report(rows)
    for name, measured in ends.items():
        end, copy, durable = (statistics.median(one[number] for one in measured) for number in range(3))
        print(
            f"bringing in what {name} changed: {end:.3f} s; cp -a {copy:.3f} s ({end / copy:.2f} times, "
            f"bound {CAPTURE_LIMIT:g}), with it on the disk {durable:.3f} s ({end / durable:.2f} times)"
        )
        good &= end <= CAPTURE_LIMIT * copy
    return 0 if good else 1


def report(found: dict[str, list[dict[str, float]]]) -> bool:
    """The best of each: both do the same in the kernel, and what else runs makes either slower at times."""
    best = {
        name: {row: min(one[row] for one in results) for row in results[0]} for name, results in found.items()
    }
    print(f"{'seconds':18}{'by hand':>10}{'art':>10}{'ratio':>8}{'bound':>7}")
    slow = []
    for row, hand in best["by hand"].items():
        ours = best["art"][row]
        print(f"{row:18}{hand:10.4f}{ours:10.4f}{ours / hand:8.2f}{LIMIT:7.2f}")
        if ours > LIMIT * hand:
            slow.append(row)
    if slow:
        print("above the bound:", ", ".join(slow))
    return not slow


if __name__ == "__main__":
    sys.exit(main())
