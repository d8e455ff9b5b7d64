"""A user namespace of our own in which the caller is one user (user_namespaces(7)).

Made where mounting needs one, and for a caller whose ids are too large for isolations, which keep ids in
a signed 32-bit number: in a namespace of ours such a caller has an ordinary id.
"""

from __future__ import annotations

import os

from art_core.host import kernel

MAPPED = 1000
"""The uid and gid inside of who cannot keep their own."""
_LARGEST = (1 << 31) - 1


def inside(number: int) -> int:
    """A uid or gid of the host as the sandbox has it."""
    return number if number <= _LARGEST else MAPPED


def keeps(uid: int, gid: int) -> bool:
    """Whether a caller has the same ids inside."""
    return (inside(uid), inside(gid)) == (uid, gid)


def enter_new(more: int = 0) -> None:
    """Move this process into a new one, with its ids as they are inside, and into the new namespaces that
    `more` asks for (unshare(2)). Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | more)
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside(uid)} {uid} 1"),
        ("gid_map", f"{inside(gid)} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)
