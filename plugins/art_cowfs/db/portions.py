"""Much to write, in small transactions: whoever else commits to the database waits for one of them at most.

What is written is seen by nobody before a name leads to it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType

import apsw

MOST = 1 << 20
"""Bytes of a transaction, a row counting as `_ROW` more."""
_ROW = 256


class Portions:
    """Use as a context manager; what was not committed yet is taken back after an error."""

    def __init__(
        self,
        connection: apsw.Connection,
        changing: Callable[[apsw.Connection], AbstractContextManager[None]],
    ) -> None:
        self._connection = connection
        self._changing = changing
        self._open = ExitStack()
        self._size = 0

    def _begin(self) -> None:
        self._size = 0
        self._open.enter_context(self._changing(self._connection))

    def wrote(self, size: int = 0) -> None:
        """A row was written, of this size."""
        self._size += size + _ROW
        if self._size > MOST:
            self._open.close()
            self._begin()

    def __enter__(self) -> Portions:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
