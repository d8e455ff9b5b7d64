"""A workspace and its branch, changed on either side by the same steps, without a sandbox."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from art_core.transfer.changes import against_host
from art_core.transfer.pull import pull
from art_core.transfer.push import push
from art_core.transfer.transfer import Totals, Wishes
from art_core.view.workspace import open_workspace
from art_cowfs.integrity.check import problems
from art_cowfs.opening.database import connect
from art_cowfs.store import Database
from tests.support.bench import Bench

FIXED_NS = 1_500_000_000_000_000_000
Side = dict[str, tuple[object, ...]]
"""Kind, mode and contents of each path, and which paths are the same file."""


class Step(NamedTuple):
    """`act` with one path or two; `data` is written."""

    act: str
    path: str
    other: str = ""
    data: bytes = b""
    mode: int = 0o644


def carry_out(top: Path, step: Step) -> None:
    """As programs do it, with the system calls of the side that `top` is on. What cannot be is left."""
    path, other = top / step.path, top / step.other
    with contextlib.suppress(OSError):
        if step.act == "write":
            path.write_bytes(step.data)
        elif step.act == "replace":
            (top / "new~").write_bytes(step.data)
            os.rename(top / "new~", path)
        elif step.act == "stamp":
            os.utime(path, ns=(FIXED_NS, FIXED_NS), follow_symlinks=False)
        elif step.act == "mkdir":
            path.mkdir()
        elif step.act == "remove":
            _remove(path)
        elif step.act == "remake":
            if path.is_dir():
                _remove(path)
                path.mkdir()
        elif step.act == "rename":
            if not f"{step.other}/".startswith(f"{step.path}/") and os.path.lexists(path):
                _remove(other)
                os.rename(path, other)
        elif step.act == "swap":
            if path != other and os.path.lexists(path) and os.path.lexists(other):
                os.rename(path, top / "t~")
                os.rename(other, path)
                os.rename(top / "t~", other)
        elif step.act == "link":
            os.link(path, other, follow_symlinks=False)
        elif step.act == "symlink":
            os.symlink(step.other, path)
        elif step.act == "chmod" and not path.is_symlink():
            os.chmod(path, step.mode | (0o700 if path.is_dir() else 0))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def side(top: Path) -> Side:
    """What a directory holds."""
    found: Side = {}
    first: dict[int, str] = {}
    for directory, names, files in os.walk(top):
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            about = os.lstat(path)
            what: object = None
            group = ""
            if stat.S_ISLNK(about.st_mode):
                what = os.readlink(path)
            elif stat.S_ISREG(about.st_mode):
                try:
                    what = Path(path).read_bytes()
                except OSError as error:
                    what = error.errno
                group = first.setdefault(about.st_ino, os.path.relpath(path, top))
            mode = 0 if stat.S_ISLNK(about.st_mode) else stat.S_IMODE(about.st_mode)
            found[os.path.relpath(path, top)] = (stat.S_IFMT(about.st_mode), mode, what, group)
    return _grouped(found)


def _grouped(found: Side) -> Side:
    """Groups are called by their first path in order."""
    names: dict[object, str] = {}
    for path in sorted(found):
        names.setdefault(found[path][3], path)
    return {path: (*what[:3], names[what[3]] if what[3] else "") for path, what in sorted(found.items())}


class World:
    """Both sides, in memory."""

    def __init__(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="art-test-", dir="/dev/shm"))
        self.bench = Bench(self.top)
        self.host = self.bench.host
        self.store = Database(str(self.bench.database), f"{self.top}/state")
        self.workspace = open_workspace(str(self.host))

    def close(self) -> None:
        os.close(self.workspace.fd)
        self.bench.close()
        shutil.rmtree(self.top, ignore_errors=True)

    def on_host(self, steps: Sequence[Step]) -> None:
        for step in steps:
            carry_out(self.host, step)

    def inside(self, steps: Sequence[Step] = ()) -> Side:
        """What the sandbox has after some steps."""
        mount = self.bench.mount()
        try:
            for step in steps:
                carry_out(mount.workspace, step)
            return side(mount.workspace)
        finally:
            self.bench.unmount(mount)

    def pull(self, *, force: bool = False, dry_run: bool = False) -> tuple[Totals, set[tuple[str, str]]]:
        """What it came to, and what was printed."""
        printed: set[tuple[str, str]] = set()
        totals = pull(
            self.store,
            "main",
            self.workspace,
            Wishes(force=force, dry_run=dry_run),
            lambda action, path, entry, why: printed.add((action, os.fsdecode(path))),
        )
        return totals, {one for one in printed if one[0] != "SAME"}

    def push(self) -> Totals:
        return push(self.store, "main", self.workspace, Wishes())

    def status(self) -> set[tuple[str, str]]:
        """In the words of a pull."""
        told = set()
        with against_host(self.store, "main", self.workspace, Wishes()) as found:
            for change in found.changes:
                word = "CONFLICT" if change.verdict == "conflict" else ""
                before, after = change.before, change.after
                if after is not None:
                    kind = {"file": "FILE", "dir": "DIR", "link": "LINK"}[after.kind]
                    told.add((word or kind, os.fsdecode(after.path)))
                if before is not None and (after is None or before.path != after.path):
                    told.add((word if after is None and word else "DEL", os.fsdecode(before.path)))
        return told

    def sound(self) -> None:
        connection = connect(str(self.bench.database))
        assert list(problems(connection)) == []
        connection.close()
