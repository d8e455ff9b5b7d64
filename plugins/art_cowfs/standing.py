"""A long consistent read: of a layer that does not change any more, in any number of transactions."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from art_cowfs import asking, layers
from art_cowfs.accepting import Accepted, accept
from art_cowfs.locks import BranchLock, Held, Pin
from art_cowfs.schema import DatabaseError, connect

_PATIENCE_S = 2.0
"""How long to wait for a holder that cannot be asked: another reader needs a moment only."""
_ANSWER_S = 60.0


class Standing:
    """What is read, and how to change the branch meanwhile."""

    def __init__(self, path: str, branch: str, layer: int) -> None:
        self._path = path
        self._branch = branch
        self.layer = layer

    def change(self, request: Mapping[str, Any]) -> None:
        """Do it to the branch as it is now; whoever holds it is asked. Raises DatabaseError."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with _alone(self._path, self._branch) as lock:
                    connection = connect(self._path)
                    try:
                        with lock.committing():
                            accept(connection, self._branch, Accepted.of(request))
                    finally:
                        connection.close()
                return
            except Held as held:
                if held.at and _asked(held.at, request):
                    return
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)


def _asked(at: str, request: Mapping[str, Any]) -> bool:
    """Whether the server was there to be asked."""
    try:
        server = asking.Asking(at, _ANSWER_S)
    except asking.Unreachable:
        return False
    try:
        _told(server.ask(request)[0])
    except asking.Unreachable:
        return False
    finally:
        server.close()
    return True


@contextmanager
def standing(path: str, branch: str) -> Iterator[Standing]:
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
        yield Standing(path, branch, layer)
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
