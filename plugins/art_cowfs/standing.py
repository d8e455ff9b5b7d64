"""A long consistent read: of a layer that does not change any more, in any number of transactions."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from art_cowfs import asking, layers
from art_cowfs.locks import BranchLock, Held, Pin
from art_cowfs.schema import DatabaseError, connect

_PATIENCE_S = 2.0
"""How long to wait for a holder that cannot be asked: another reader needs a moment only."""
_ANSWER_S = 60.0


@contextmanager
def standing(path: str, branch: str) -> Iterator[int]:
    """The branch as of now, as a layer. A server that has the branch mounted is asked for it. Raises
    DatabaseError when somebody holds the branch who cannot be asked.

    When the read is over, the layer is merged with what came above it.
    """
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            layer, pin, server = _frozen(path, branch)
            break
        except (Held, asking.Unreachable) as error:
            if time.monotonic() < until:
                time.sleep(0.02)
            elif isinstance(error, Held):
                raise
            else:
                raise DatabaseError(f"the server of {branch!r} of {path!r} does not answer") from None
    try:
        yield layer
    finally:
        pin.close()
        if server is not None:
            server.close()
        with contextlib.suppress(Held), _alone(path, branch) as lock:
            connection = connect(path)
            try:
                with lock.committing():
                    while layers.merge(connection, branch, lock.is_read, layers.AT_THE_END):
                        pass
            finally:
                connection.close()


@contextmanager
def _alone(path: str, branch: str) -> Iterator[BranchLock]:
    """The branch, held for a moment."""
    lock = BranchLock(path, branch)
    try:
        yield lock
    finally:
        lock.close(as_it_was=True)


def _frozen(path: str, branch: str) -> tuple[int, Pin, asking.Asking | None]:
    try:
        with _alone(path, branch) as lock:
            connection = connect(path)
            try:
                with lock.committing():
                    layer = layers.freeze(connection, branch, "")
            finally:
                connection.close()
            return layer, Pin(path, layer), None
    except Held as held:
        if not held.at:
            raise
        server = asking.Asking(held.at, _ANSWER_S)
    try:
        answer, fds = server.ask({"ask": "freeze"})
        layer = _told(answer)["layer"]
        return layer, Pin.handed(path, fds[0]), server
    except BaseException:
        server.close()
        raise


def _told(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if "error" in answer:
        raise DatabaseError(str(answer["error"]))
    return answer
