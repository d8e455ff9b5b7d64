"""What the store keeps in a database besides the home, and how it knows a state of a branch again."""

from __future__ import annotations

import hashlib
import marshal
import secrets
import stat
from itertools import islice

import apsw

from art_cowfs.library import changing

_ID = "overlayfs"
_CAPTURED = "overlayfs-captured-"
_AT_ONCE = 10_000
_INODES = "SELECT ino, mode, nlink, size, ctime FROM inode WHERE layer = ? AND nlink > 0 ORDER BY ino"
_NAMES = (
    "SELECT d.parent, d.name, d.ino FROM inode i JOIN dentry d ON d.parent = i.ino AND d.layer = i.layer "
    f"WHERE i.layer = ? AND i.nlink > 0 AND i.mode & {stat.S_IFDIR | stat.S_IFREG} = {stat.S_IFDIR} "
    "ORDER BY d.parent, d.name"
)


def identity(connection: apsw.Connection) -> str:
    """The name of this database among those of the user, also when it is moved."""
    query = "SELECT value FROM meta WHERE key = ?"
    known: str | None = connection.execute(query, (_ID,)).get
    if known is None:
        with changing(connection):
            connection.execute("INSERT OR IGNORE INTO meta VALUES(?, ?)", (_ID, secrets.token_hex(8)))
        known = str(connection.execute(query, (_ID,)).get)
    return known if known.isalnum() else "unknown"


def key(connection: apsw.Connection, layer: int, workspace: bytes, owner: tuple[int, int]) -> str:
    """A name for what a layer shows to this owner of its files.

    The layer's number is not enough: when it is merged with the one above it shows what that one did. What
    is changed in a file is told by its ctime, its links, or its size; that takes some microseconds a file.
    """
    digest = hashlib.blake2b(marshal.dumps((layer, workspace, *owner)), digest_size=20)
    with connection:  # One moment.
        for query in (_INODES, _NAMES):
            rows = connection.execute(query, (layer,))
            while some := list(islice(rows, _AT_ONCE)):
                digest.update(marshal.dumps(some))
    return digest.hexdigest()


def captured(connection: apsw.Connection, session: str) -> None:
    """Remember that the database has what a session changed. Within a transaction of the caller's."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES(?, 1)", (_CAPTURED + session,))


def is_captured(connection: apsw.Connection, session: str) -> bool:
    return connection.execute("SELECT 1 FROM meta WHERE key = ?", (_CAPTURED + session,)).get is not None


def forget(connection: apsw.Connection, session: str) -> None:
    """Its directory is gone."""
    connection.execute("DELETE FROM meta WHERE key = ?", (_CAPTURED + session,))
