"""Files that an attacker leaves beside a database."""

from __future__ import annotations

PAGE, SECTOR = 16384, 512


def hot_journal() -> bytes:
    """A rollback journal that puts a page of the attacker's over the first one of a database
    (https://sqlite.org/fileformat2.html, section 3)."""
    page = (b"a page of the attacker's\n" * PAGE)[:PAGE]
    nonce = 7
    total = nonce + sum(page[place] for place in range(PAGE - 200, 0, -200))
    fields = (1, nonce, 20, SECTOR, PAGE)
    head = bytes.fromhex("d9d505f920a163d7") + b"".join(field.to_bytes(4, "big") for field in fields)
    return head.ljust(SECTOR, b"\0") + (1).to_bytes(4, "big") + page + total.to_bytes(4, "big")
