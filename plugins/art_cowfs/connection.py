"""A connection to SQLite, by the names of today's apsw.

apsw 3.40, which is Debian 12's, has other names for two calls, no `pragma`, and no
`get` of a cursor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw

if TYPE_CHECKING or hasattr(apsw.Connection, "pragma"):
    Connection = apsw.Connection
else:

    class _Cursor(apsw.Cursor):
        @property
        def get(self) -> Any:
            """What is left of the answer with the least structure: None, a value, a row, or a list."""
            rows = [row[0] if len(row) == 1 else row for row in self]
            return None if not rows else rows[0] if len(rows) == 1 else rows

    class Connection(apsw.Connection):
        set_busy_timeout = apsw.Connection.setbusytimeout
        blob_open = apsw.Connection.blobopen

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.cursor_factory = _Cursor

        def pragma(self, name: str, value: Any = None) -> Any:
            """What a pragma answers, with the least structure."""
            given = "" if value is None else f"({value!r})"
            return self.execute(f"PRAGMA {name}{given}").get
