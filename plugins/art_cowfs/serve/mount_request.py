"""What a server is told to mount: one record, written by the supervisor and read by the process that serves.

Both are of one version and of one user, and the descriptors go along: /dev/fuse, the workspace where there
is one, the seeds, and the directories of the shares, in that order.
"""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from typing import NamedTuple


class ShownPath(NamedTuple):
    """A seed or a share: its place in the home, relative to that, and its path on the host."""

    guest: bytes
    source: bytes


class ShownWorkspace(NamedTuple):
    """The workspace: its name in the home, its path on the host, whether it was moved there."""

    name: bytes
    path: bytes
    moved: bool


class MountRequest(NamedTuple):
    """A mount of the branch or snapshot `at`. `state` is the directory for sockets on which others ask;
    `hidden` are files of the host that no home shows. The database may grow by `growth` bytes, 0 for any.
    `mounted_at` is a directory of the host, empty for a mount in a namespace of its own."""

    database: str
    at: str
    state: str
    uid: int
    gid: int
    workspace: ShownWorkspace | None
    hidden: Sequence[str] = ()
    seeds: Sequence[ShownPath] = ()
    shares: Sequence[ShownPath] = ()
    growth: int = 0
    read_only: bool = False
    mounted_at: str = ""

    def packed(self) -> bytes:
        """The record as one message."""
        workspace = None if self.workspace is None else tuple(self.workspace)
        seeds, shares = ([tuple(one) for one in some] for some in (self.seeds, self.shares))
        plain = self._replace(hidden=list(self.hidden))._asdict()
        return marshal.dumps({**plain, "workspace": workspace, "seeds": seeds, "shares": shares})


def unpacked(message: bytes) -> MountRequest:
    """The record in a message of `MountRequest.packed`."""
    fields = marshal.loads(message)
    workspace = fields["workspace"]
    fields["workspace"] = None if workspace is None else ShownWorkspace(*workspace)
    for name in ("seeds", "shares"):
        fields[name] = [ShownPath(*one) for one in fields[name]]
    return MountRequest(**fields)
