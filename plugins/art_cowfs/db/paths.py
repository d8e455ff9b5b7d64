"""The files of a database: what SQLite and ART keep beside it."""

from __future__ import annotations

ENDINGS = ("-wal", "-shm", "-journal", "-lock")
"""Of the files that SQLite and ART keep beside a database."""


def companions(path: str) -> list[str]:
    """A database's files: what SQLite and ART keep beside it."""
    return [path, *(path + ending for ending in ENDINGS)]
