"""What the store keeps in a database besides the home, and how it knows a state of a branch again."""

from __future__ import annotations

import secrets

import apsw

from art_cowfs.schema import changing

_ID = "overlayfs"
_CAPTURED = "overlayfs-captured-"
_SUMS = (1_000_000_007, 998_244_353)


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
    """What a layer shows, in short, to this owner of its files.

    Its number is not enough: when a layer is merged with the one above it shows what that one did. Whatever
    changes an inode changes its ctime, its links, or its size; counting them takes about a microsecond each.
    """
    sums = ", ".join(
        f"sum(((ctime % 4294967291 + nlink * 257 + size % 65521) * (1 + ino % 65521)) % {prime})"
        for prime in _SUMS
    )
    query = f"SELECT count(*), {sums} FROM inode WHERE layer = ?"
    numbers: tuple[int | None, ...] = connection.execute(query, (layer,)).get
    shown = (layer, *numbers, *owner)
    return "-".join(f"{number or 0:x}" for number in shown) + "-" + workspace.hex()[:64]


def captured(connection: apsw.Connection, session: str) -> None:
    """Remember that the database has what a session changed. Within a transaction of the caller's."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES(?, 1)", (_CAPTURED + session,))


def is_captured(connection: apsw.Connection, session: str) -> bool:
    return connection.execute("SELECT 1 FROM meta WHERE key = ?", (_CAPTURED + session,)).get is not None


def forget(connection: apsw.Connection, session: str) -> None:
    """Its directory is gone."""
    connection.execute("DELETE FROM meta WHERE key = ?", (_CAPTURED + session,))
