"""What is opened for a sandbox: it is what was checked, and it is asked only of plugins that can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from art_core.contracts import Mount, MountSet, Origin, Provider, Workspace
from art_core.errors import MountError, StoreError
from art_core.lending import lender
from art_core.lending.loans import Lent, LoanRequest
from art_core.lending.seed_archive import Archive
from art_core.view import mounts
from art_core.view.workspace import open_workspace
from art_cowfs.db.schema import SEEDS
from art_cowfs.lower.lower import Lower
from art_cowfs.lower.seeds import Seed, Seeds
from art_cowfs.serve.client import parent_of

SECRET = b"canary"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "ws").mkdir()
    opened = open_workspace(str(tmp_path / "ws"))
    yield opened
    os.close(opened.fd)


@pytest.fixture
def lent(tmp_path: Path, workspace: Workspace) -> Iterator[Lent]:
    """A seeded file, a seeded directory and a shared file of a home, whose paths were swapped for links to
    something else after they were opened."""
    home = tmp_path / "home"
    (home / "folder").mkdir(parents=True)
    for name in ("file", "folder/inside", "share"):
        (home / name).write_bytes(b"wanted")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("file", "inside"):
        (elsewhere / name).write_bytes(SECRET)
    wishes = [LoanRequest("seed", f"~/{name}", Origin("--seed")) for name in ("file", "folder")]
    wishes += [
        LoanRequest("share", "~/share", Origin("--share")),
        LoanRequest("seed", "~/absent", Origin("preset"), True),
    ]
    found = lender.lend(wishes, workspace, {"HOME": str(home)}, stand_in=False)
    (home / "folder").rename(home / "moved")
    (home / "folder").symlink_to(elsewhere)
    for name in ("file", "share"):
        (home / name).unlink()
        (home / name).symlink_to(elsewhere / "file")
    yield found
    found.close()


def test_a_swap_after_the_check_changes_nothing_of_a_seed(lent: Lent) -> None:
    archive = Archive(lent.seeds, [])
    contents = os.pread(archive.fd, 1 << 20, 0)
    os.close(archive.fd)
    assert contents.count(b"wanted") == 2 and SECRET not in contents
    pinned = [Seed(os.path.basename(seed.guest).encode(), b"", os.dup(seed.fd)) for seed in lent.seeds]
    lower = Lower(os.open("/", os.O_PATH), (), Seeds(pinned))
    for path in (b"/file", b"/folder/inside"):
        fd = lower.open(SEEDS + path)
        assert os.read(fd, 100) == b"wanted"
        os.close(fd)
    lower.close()


def test_a_swap_after_the_check_refuses_a_share(lent: Lent) -> None:
    with ExitStack() as held, pytest.raises(StoreError, match="was replaced at this moment"):
        parent_of(lent.shares[0], held)


def test_a_seed_is_not_left_by_dots_or_links(tmp_path: Path, lent: Lent) -> None:
    folder = next(seed for seed in lent.seeds if seed.directory)
    (tmp_path / "home/moved/link").symlink_to("../../elsewhere/file")
    lower = Lower(os.open("/", os.O_PATH), (), Seeds([Seed(b"x", b"", os.dup(folder.fd))]))
    assert lower.stat(SEEDS + b"/x/inside") is not None
    for path in (b"/x/../share", b"/x/link/file", b"/y", b"/x/inside/file"):
        assert lower.stat(SEEDS + path) is None
        with pytest.raises(OSError):
            lower.open(SEEDS + path)
    with pytest.raises(OSError):
        lower.open(SEEDS + b"/x/link")
    assert lower.readlink(SEEDS + b"/x/link") == b"../../elsewhere/file"
    lower.close()


def test_what_a_store_cannot_do_is_refused_by_name(lent: Lent) -> None:
    def provider(*capabilities: str) -> Provider[Any]:
        return Provider("plain", "a store", 1, lambda context: None, frozenset(capabilities))

    assert lent.into(provider("seeds", "shares")) is lent
    with pytest.raises(StoreError, match=r"--seed: the store 'plain' cannot .*capability seeds"):
        lent.into(provider("shares"))
    with pytest.raises(StoreError, match=r"--share: the store 'plain' cannot .*capability shares"):
        lent.into(provider("seeds"))


def test_what_an_isolation_has_to_do_is_named(lent: Lent) -> None:
    assert lent.needs(kept=False) == {"seeds": "--seed"}
    assert lent.needs(kept=True) == {}


def test_every_grant_says_who_asked_and_what_could_be_lost(lent: Lent) -> None:
    assert [(str(one.origin), one.guest) for one in lent.granted] == [
        ("--seed", "/home/agent/file"),
        ("--seed", "/home/agent/folder"),
        ("--share", "/home/agent/share"),
    ]
    assert all(one.risk and one.what for one in lent.granted)


def test_a_mount_source_cannot_ask_for_a_device(workspace: Workspace) -> None:
    class Greedy:
        def load(self, workspace: Workspace) -> MountSet:
            asked = Mount("/dev/null", "/opt/null", Origin("binds.json"), writable=True, device=True)
            return MountSet([asked])

    with pytest.raises(MountError, match="neither a file nor a directory"):
        mounts.gather(workspace, [("greedy", Greedy())], [])
