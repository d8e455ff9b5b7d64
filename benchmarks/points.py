"""Points in time: what a snapshot, a branch and a restore cost with one file and with many.

python benchmarks/points.py [--files 100000]

Each is called as the command line calls it, without the start of an interpreter, in turn on two databases;
the ratio of the two is what must not grow with the workspace.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory

from art_core.transfer.push import push
from art_core.transfer.transfer import Wishes
from art_core.view.workspace import open_workspace
from art_cowfs.access.branch import OpenBranch
from art_cowfs.access.place import Place
from art_cowfs.store import Database

ROUNDS = 15
RATIO_LIMIT = 1.5
"""The ends of the two trees differ in the depth of their B-trees; more than that would be their size."""


class Bench:
    """A pushed workspace of so many files, and one changed file of each round."""

    def __init__(self, place: str, files: int) -> None:
        self.host = f"{place}/ws{files}"
        for number in range(files):
            if number % 1000 == 0:
                os.makedirs(f"{self.host}/{number // 1000}", exist_ok=True)
            with open(f"{self.host}/{number // 1000}/{number}", "w") as file:
                file.write(f"{number}\n" * 20)
        self.workspace = open_workspace(self.host, name="ws")
        self.path = f"{place}/{files}.db"
        self.store = Database(self.path, f"{place}/state")
        push(self.store, "main", self.workspace, Wishes())
        self.number = 0

    def work(self) -> None:
        """One file is changed in the branch."""
        place = Place(b"ws", os.fsencode(self.workspace.real), os.dup(self.workspace.fd))
        with OpenBranch(self.path, "main", workspace=place, uid=0, gid=0) as session:
            tree = session.tree
            node = tree.lookup(tree.node(1), b"ws")
            for name in (b"0", b"0"):
                assert node is not None
                node = tree.lookup(node, name)
            assert node is not None
            node.mtime = node.ctime = time.time_ns()
            tree.write(node, 0, b"%d" % time.time_ns())
            tree.changed(node)

    def timed(self, what: Callable[[str], object]) -> float:
        self.work()
        self.number += 1
        begin = time.perf_counter()
        what(f"point-{self.number}")
        return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    good = True
    with TemporaryDirectory(prefix="art-bench-", dir="/var/tmp") as place:
        few, many = Bench(place, 1), Bench(place, options.files)
        for bench in (few, many):
            bench.store.snapshot("main", "first")
        actions: dict[str, Callable[[Bench], Callable[[str], object]]] = {
            "snapshot": lambda bench: lambda name: bench.store.snapshot("main", name),
            "branch": lambda bench: lambda name: bench.store.make_branch(name, "main"),
            "restore": lambda bench: lambda _: bench.store.restore("main", "first", (), bench.workspace),
            "restore of a file": lambda bench: (
                lambda _: bench.store.restore("main", "first", [b"ws/0/0"], bench.workspace)
            ),
            "list": lambda bench: lambda _: bench.store.points(),
        }
        for name, action in actions.items():
            times: dict[int, list[float]] = {1: [], options.files: []}
            for _ in range(ROUNDS):
                for files, bench in ((1, few), (options.files, many)):
                    times[files].append(bench.timed(action(bench)))
            one, all_of_them = (statistics.median(found) * 1000 for found in times.values())
            ratio = all_of_them / one
            good &= ratio <= RATIO_LIMIT
            print(
                f"{name:20}{one:8.2f} ms with 1 file,{all_of_them:8.2f} ms with {options.files:,}: "
                f"{ratio:.2f} times, bound {RATIO_LIMIT}"
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
