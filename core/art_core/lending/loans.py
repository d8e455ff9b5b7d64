"""What of the caller's own is lent to a sandbox, opened: seeds, shares, mounts and variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from art_core.contracts import Mount, Origin, Provider
from art_core.errors import MountError, StoreError
from art_core.host.tree import within

if TYPE_CHECKING:
    from art_core.lending.seed_archive import Archive

SEEDS_LIMIT = 100
"""More seeds than this are a mistake; each costs a descriptor in two processes."""


class LoanRequest(NamedTuple):
    """Something that is to be lent: `text` is what would be typed after the option of that name. What is
    `optional` is left out without a word where the host does not have it."""

    kind: Literal["seed", "share", "device", "git", "ssh-agent", "gpg-agent"]
    text: str
    origin: Origin
    optional: bool = False


class Granted(NamedTuple):
    """One thing that is lent, for people to read: what it is, its path or variables inside, who asked for
    it, and what could be lost by it."""

    what: str
    guest: str
    origin: Origin
    risk: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.what} at {self.guest}; {self.risk}"


class Lent:
    """All of it, opened. The descriptors are its own, until `close`."""

    def __init__(self) -> None:
        self.seeds: list[Mount] = []
        self.shares: list[Mount] = []
        self.mounts: list[Mount] = []
        """What the isolation shows beside them: sockets of agents, devices."""
        self.variables: dict[bytes, bytes] = {}
        self.granted: list[Granted] = []
        self.held: list[Callable[[], None]] = []
        """What ends with it."""
        self._archive: Archive | None = None

    def close(self) -> None:
        """Close the descriptors. Idempotent."""
        if self._archive is not None:
            os.close(self._archive.fd)
            self._archive = None
        for mounts_held in (self.seeds, self.shares, self.mounts):
            while mounts_held:
                if (fd := mounts_held.pop().fd) >= 0:
                    os.close(fd)
        while self.held:
            self.held.pop()()

    def asked(self) -> list[Mount]:
        """What is checked together with all other mounts, with descriptors of its own."""
        found = [*self.shares, *self.mounts]
        return [one._replace(fd=os.dup(one.fd)) if one.fd >= 0 else one for one in found]

    def needs(self, *, kept: bool) -> dict[str, str]:
        """What the isolation has to be able to do, by capability; `kept` says that a store has the home."""
        devices = [mount for mount in self.mounts if mount.device]
        needed = {"devices": str(devices[0].origin)} if devices else {}
        if self.seeds and not kept:
            needed["seeds"] = str(self.seeds[0].origin)
        return needed

    def archive(self, mounts: Sequence[Mount], *, kept: bool) -> int:
        """A descriptor of the seeds for a home that is not kept, -1 without any. It holds until the next
        call. Raises MountError where they are too large."""
        if kept or not self.seeds:
            return -1
        from art_core.lending.seed_archive import Archive

        made = Archive(self.seeds, [mount.guest for mount in mounts])
        if self._archive is not None:
            os.close(self._archive.fd)
        self._archive = made
        return made.fd

    def greetings(self, *, kept: bool) -> list[str]:
        """What the user should know before a run."""
        files = [] if kept else self.in_store()
        return [
            f"{share.origin}: without a database this file can be written but not replaced: a program that "
            "renames another one onto it fails (EBUSY); add --db FILE for those"
            for share in files
        ]

    def notices(self, *, kept: bool) -> list[str]:
        """What the user should know after a run."""
        lines = []
        if self._archive is not None and self._archive.left_out:
            lines.append(f"{self._archive.left_out} entries of the seeds could not be read and were left out")
        files = [] if kept else self.in_store()
        return lines + [
            f"{share.source} was replaced on the host during the run, and the sandbox went on with the old "
            "file: what it wrote there is lost; with --db FILE both sides see each other's"
            for share in files
            if _replaced(share)
        ]

    def is_in_store(self, mount: Mount) -> bool:
        """Whether a mounted home has it already: a file that programs may replace by renaming."""
        return not mount.directory and any(mount.guest == share.guest for share in self.shares)

    def into(self, provider: Provider[Any]) -> Self:
        """What a store's home is to have of it. Raises StoreError when the store cannot."""
        for capability, wanted in (("seeds", self.seeds), ("shares", self.in_store())):
            if wanted and capability not in provider.capabilities:
                raise StoreError(
                    f"{wanted[0].origin}: the store {provider.name!r} cannot do this (capability "
                    f"{capability}); choose another with --store NAME, or leave it out"
                )
        return self

    def in_store(self) -> list[Mount]:
        return [share for share in self.shares if not share.directory]

    # --- seeds and shares ----------------------------------------------------------------------

    def seed(self, mount: Mount) -> None:
        """Add a seed that is opened already. Raises MountError; the descriptor is closed then."""
        known = next((one for one in self.seeds if one[:2] == mount[:2]), None)
        try:
            for other in self.seeds:
                if other is not known and overlap(other.guest, mount.guest):
                    raise MountError(
                        f"{mount.origin}: {mount.guest} is seeded by {other.origin} as well, "
                        "or a part of it; leave one of them out"
                    )
            if known is None and len(self.seeds) == SEEDS_LIMIT:
                raise MountError(f"{mount.origin}: there are {SEEDS_LIMIT} seeds already")
        except MountError:
            os.close(mount.fd)
            raise
        if known is not None:
            os.close(mount.fd)
            return
        self.seeds.append(mount)
        self.granted.append(
            Granted(
                f"a private view of {mount.source}",
                mount.guest,
                mount.origin,
                "its contents can be read and sent away, the host's is not written",
            )
        )

    def share(self, mount: Mount) -> None:
        """Add a share that is opened already. Raises MountError; the descriptor is closed then."""
        for other in self.shares:
            if other[:2] == mount[:2]:
                os.close(mount.fd)
                return
            if other.guest == mount.guest:
                os.close(mount.fd)
                raise MountError(f"{mount.origin}: {mount.guest} is shared by {other.origin} as well")
        self.shares.append(mount)
        self.granted.append(
            Granted(
                f"the host's own {mount.source}",
                mount.guest,
                mount.origin,
                "it can be read, sent away, changed and emptied",
            )
        )


def _replaced(share: Mount) -> bool:
    """Whether another file stands at the path of a file that is shared."""
    pinned = os.fstat(share.fd)
    try:
        found = os.lstat(share.source)
    except OSError:
        return True
    return (found.st_dev, found.st_ino) != (pinned.st_dev, pinned.st_ino)


def overlap(one: str, other: str) -> bool:
    return within(one, other) or within(other, one)
