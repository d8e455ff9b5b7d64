"""Bringing rows out of a table of which pages cannot be read, by ranges of its key.

SQLite reads on until the first such page. What comes behind it can be reached by its key, without what lies
before: by bounds that go further and further, and then backwards from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import apsw

from art_cowfs.db.transactions import all_rows, changing

Key = tuple[Any, ...]
_AT_ONCE = 1000
_STEPS = 1 << 12
"""Numbers that are tried one by one, before it goes by powers of two."""


class Table:
    """One table of a damaged database, and the same of a new one."""

    def __init__(self, source: apsw.Connection, target: apsw.Connection, name: str) -> None:
        self._source = source
        self._target = target
        described = all_rows(target, f"PRAGMA table_info({name})")
        columns = [row[1] for row in described]
        self._numbers = {row[1] for row in described if row[2] == "INTEGER"}
        self._keys = [row[1] for row in sorted(described, key=lambda row: int(row[5])) if row[5]]
        self._places = [columns.index(key) for key in self._keys]
        self._select = f"SELECT {', '.join(columns)} FROM {name} NOT INDEXED"
        self._put = f"INSERT OR IGNORE INTO {name} VALUES({', '.join('?' * len(columns))})"

    def rescue(self) -> bool:
        """Copy every row that can be read; whether that is all of them."""
        last, whole = self._read("ASC")
        if whole:
            return True
        while last is None or self._go_on(last):
            first = self._next(last)
            if first is None:
                break
            self._read("DESC", first, last)
            last, whole = self._read("ASC", first)
            if whole:
                return False
        self._read("DESC", None, last)
        return False

    @staticmethod
    def _go_on(last: Key) -> bool:
        return all(value is not None for value in last)

    def _where(self, first: Key | None, last: Key | None, order: str) -> tuple[str, list[Any]]:
        conditions: list[str] = []
        bindings: list[Any] = []
        keys = ", ".join(self._keys)
        places = ", ".join("?" * len(self._keys))
        bounds = ((first, ">=" if order == "ASC" else "<"), (last, ">"))
        for bound, compared in bounds:
            if bound is not None:
                conditions.append(f"({keys}) {compared} ({places})")
                bindings += bound
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"{where} ORDER BY {', '.join(f'{key} {order}' for key in self._keys)}", bindings

    def _read(self, order: str, first: Key | None = None, last: Key | None = None) -> tuple[Key | None, bool]:
        """Copy rows from a bound on, to the other one or to what cannot be read; the key of the last row,
        and whether it was the end."""
        where, bindings = self._where(first, last, order)
        key = first if order == "ASC" else None
        try:
            rows: Any = self._source.execute(f"{self._select}{where}", bindings)
        except apsw.Error:
            return key, False
        while True:
            batch: list[Any] = []
            ended = whole = False
            try:
                for row in rows:
                    batch.append(row)
                    if len(batch) == _AT_ONCE:
                        break
                else:
                    ended = whole = True
            except (apsw.Error, UnicodeDecodeError):
                ended = True
            with changing(self._target):
                for row in batch:
                    with suppress(apsw.Error):  # What contradicts a row that is there already.
                        self._target.execute(self._put, row)
            if batch:
                key = tuple(batch[-1][place] for place in self._places)
            if ended:
                return key, whole

    def _next(self, last: Key | None) -> Key | None:
        """A bound behind a row from which on rows can be read; None where there is none."""
        for bound in self._bounds(last):
            where, bindings = self._where(bound, None, "ASC")
            try:
                row: Any = self._source.execute(f"{self._select}{where} LIMIT 1", bindings).fetchone()
            except (apsw.Error, UnicodeDecodeError):
                continue
            if row is None:
                return None
            return tuple(row[place] for place in self._places)
        return None

    def _bounds(self, last: Key | None) -> Iterator[Key]:
        """Keys behind one, each further away than the one before."""
        known: Sequence[Any] = last if last is not None else self._smallest()
        for place in reversed(range(len(known))):
            for value in _above(known[place]):
                yield (*known[:place], value, *self._smallest()[place + 1 :])

    def _smallest(self) -> Key:
        """Below every key: SQLite sorts numbers before text, and text before bytes."""
        return tuple(-(1 << 63) if key in self._numbers else "" for key in self._keys)


def _above(value: Any) -> Iterator[Any]:
    if isinstance(value, int):
        low = max(value, -1)
        steps = (*range(1, _STEPS), *(1 << power for power in range(12, 63)))
        yield from (low + step for step in steps if low + step < 1 << 63)
        yield ""  # Behind all numbers.
    elif isinstance(value, bytes):
        yield value + b"\0"
        for length in range(len(value), 0, -1):
            if value[length - 1] < 0xFF:
                yield value[: length - 1] + bytes([value[length - 1] + 1])
        yield from (bytes([first]) for first in range(value[0] + 1 if value else 1, 256))
    elif isinstance(value, str):
        for length in range(len(value), 0, -1):
            yield value[: length - 1] + chr(min(ord(value[length - 1]) + 1, 0x10FFFF))
        yield from (chr(first) for first in range(ord(value[0]) + 1 if value else 1, 128))
        yield b""  # Behind all text.
