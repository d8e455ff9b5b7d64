"""The head of a database's file, read without SQLite (https://sqlite.org/fileformat2.html, section 1.3)."""

from __future__ import annotations

APPLICATION_ID = 0x41525400
_MAGIC = b"SQLite format 3\0"
_AT = 68


def is_ours(head: bytes) -> bool:
    """Whether a file that begins so is a database of ART's."""
    return head.startswith(_MAGIC) and head[_AT : _AT + 4] == APPLICATION_ID.to_bytes(4, "big")
