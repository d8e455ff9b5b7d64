"""The account of a plain user, made for one session of tests and removed with it."""

from __future__ import annotations

import pwd
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.places import of_the_dead, public_entries, remove

FILES_LOCKED, UID_IN_USE = 1, 4
"""What useradd(8) ends with when it cannot update the files of accounts, and when another one has the uid."""
UIDS = 30_000, 50_000
"""Where the uids of test users come from: the first that owns nothing."""


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int
    home: Path


def add_account(name: str) -> None:
    """As long as others who add one have the files locked, or take the number, it is tried again: a fixture
    of a session that fails once fails all its tests."""
    deadline = time.monotonic() + 30
    while True:
        argv = ["useradd", "--create-home", "--user-group", "--shell", "/bin/bash"]
        argv += [f"--uid={_unused_uid()}", name]
        if subprocess.run(argv, capture_output=True).returncode not in (FILES_LOCKED, UID_IN_USE):
            break
        assert time.monotonic() < deadline, f"{' '.join(argv)}: the files of accounts stay locked"
        time.sleep(0.2)
    assert pwd.getpwnam(name).pw_dir


def _unused_uid() -> int:
    """A number that is no account's, and that owns nothing in public places: files of an account that is gone
    are not the tests'."""
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {uid for _, uid in public_entries()}
    return next(number for number in range(*UIDS) if number not in taken)


def remove_account(name: str) -> None:
    home = Path(pwd.getpwnam(name).pw_dir)
    deadline = time.monotonic() + 10
    while subprocess.run(["userdel", name], capture_output=True).returncode and time.monotonic() < deadline:
        time.sleep(0.2)
    remove(home)


def remove_stale_accounts() -> None:
    """Accounts of test sessions that were killed."""
    for entry in pwd.getpwall():
        if of_the_dead(entry.pw_name):
            remove_account(entry.pw_name)
