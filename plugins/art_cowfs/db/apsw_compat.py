"""A connection to SQLite, by the names of today's apsw, that waits for others.

apsw 3.40, which is Debian 12's, has other names for two calls, no `pragma`, and no
`get` of a cursor.

SQLite has a handler for a lock that somebody else has (SQLITE_BUSY), and it gives up by itself where the
log is being recovered or its index changes all the time (SQLITE_PROTOCOL; SQLITE_LOCKED of a schema):
all of it is a matter of time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import apsw

BUSY = (apsw.BusyError, apsw.LockedError, apsw.ProtocolError)
BUSY_MS = 5000
"""How long SQLite itself waits."""
PATIENCE_S = 30.0
"""How long a statement is tried that begins a transaction."""
_AGAIN_S = 0.05
_STEPS = 500_000
"""How many steps of SQLite's machine go by, in some tens of milliseconds, until Python has a turn."""

if TYPE_CHECKING or hasattr(apsw.Connection, "pragma"):
    _Connection = apsw.Connection
else:

    class _Cursor(apsw.Cursor):
        @property
        def get(self) -> Any:
            """What is left of the answer with the least structure: None, a value, a row, or a list."""
            rows = [row[0] if len(row) == 1 else row for row in self]
            return None if not rows else rows[0] if len(rows) == 1 else rows

    class _Connection(apsw.Connection):
        set_busy_timeout = apsw.Connection.setbusytimeout
        blob_open = apsw.Connection.blobopen
        set_progress_handler = apsw.Connection.setprogresshandler

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.cursor_factory = _Cursor

        def pragma(self, name: str, value: Any = None) -> Any:
            """What a pragma answers, with the least structure."""
            given = "" if value is None else f"({value!r})"
            return self.execute(f"PRAGMA {name}{given}").get


def _go_on() -> bool:
    """Python runs the handlers of signals meanwhile; what they raise ends the statement."""
    return False


class Connection(_Connection):
    """Tries a statement again that could not begin because of others. One within a transaction is not: what
    came before it would have to be done again, too. A long statement answers signals."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_busy_timeout(BUSY_MS)
        self.set_progress_handler(_go_on, _STEPS)
        self.keeps_log = False
        """Whether the log stays when it closes, also where it is the last one."""
        self.before_first: Callable[[], None] | None = None
        """Called before its first transaction that changes something."""
        self.before_close: Callable[[], None] | None = None
        self.after_close: Callable[[], None] | None = None

    def close(self, force: bool = False) -> None:
        before, self.before_close = self.before_close, None
        after, self.after_close = self.after_close, None
        try:
            if before is not None:
                before()
        finally:
            super().close(force)
            if after is not None:
                after()

    def execute(self, *args: Any, **kwargs: Any) -> apsw.Cursor:
        try:
            return super().execute(*args, **kwargs)
        except BUSY:
            if self.in_transaction:
                raise
            cursor: apsw.Cursor = self._later(partial(super().execute, *args, **kwargs))
            return cursor

    def pragma(self, *args: Any, **kwargs: Any) -> Any:
        """What a pragma answers, with the least structure."""
        try:
            return super().pragma(*args, **kwargs)
        except BUSY:
            if self.in_transaction:
                raise
            return self._later(partial(super().pragma, *args, **kwargs))

    def _later(self, call: Callable[[], Any]) -> Any:
        until = time.monotonic() + PATIENCE_S
        while True:
            time.sleep(_AGAIN_S)
            try:
                return call()
            except BUSY:
                if time.monotonic() > until:
                    raise
