"""The places of one session of tests, and what is done with directories in them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "art-test-"
TOKEN = "TEST_SESSION"
"""A variable that every caller carries, so that processes which outlive the session are found."""


@dataclass(frozen=True)
class Places:
    """Directories of one session, shared by its workers: `install` lies in /tmp, which the sandbox
    hides; `work` in a public place that it shows."""

    token: str
    install: Path
    work: Path


PLACES = pytest.StashKey[Places]()
FUSE = Path("/dev/fuse")
FUSE_MODE = pytest.StashKey[int]()
"""The mode that `FUSE` had before the session."""


def of_the_dead(name: str) -> bool:
    """Whether `name` was given by a session that is no more."""
    owner = name.removeprefix(PREFIX)
    return name.startswith(PREFIX) and owner.isdigit() and not Path("/proc", owner).exists()


def remove_stale_places(parent: Path) -> None:
    for entry in parent.iterdir():
        if of_the_dead(entry.name):
            remove(entry)


def remove(top: Path) -> None:
    """Remove what is there, however deep it is: shutil.rmtree calls itself for each level. Other file
    systems that are mounted in it stay."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", top], capture_output=True)


DEEPEST = 200
"""Levels below a directory that whoever removes it may call himself for."""


def is_deep(top: Path) -> bool:
    """Whether directories go down there for too many levels, or for longer than a path may be."""
    directories = [(os.fspath(top), 0)]
    while directories:
        directory, depth = directories.pop()
        try:
            with os.scandir(directory) as entries:
                directories += [
                    (entry.path, depth + 1) for entry in entries if entry.is_dir(follow_symlinks=False)
                ]
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return True
        if depth > DEEPEST:
            return True
    return False


def public_entries() -> Iterator[tuple[Path, int]]:
    """What stands in public places, where others come and go meanwhile, and whose it is."""
    for place in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock"):
        with contextlib.suppress(OSError):
            for entry in Path(place).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    yield entry, entry.lstat().st_uid


@contextlib.contextmanager
def locked(path: Path | str) -> Iterator[None]:
    """Hold an exclusive lock that the other workers (and other sessions) also ask for."""
    with open(path, "a" if str(path).startswith(("/tmp/", "/srv/", "/var/tmp/")) else "r") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
