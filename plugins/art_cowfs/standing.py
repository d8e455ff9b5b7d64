"""A long consistent read: of a layer that does not change any more, in any number of transactions."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import apsw

from art_cowfs import asking, layers
from art_cowfs.accepting import Accepted, accept
from art_cowfs.layers import Named
from art_cowfs.locks import BranchLock, Held, Pin
from art_cowfs.schema import DatabaseError, Found, changing, connect, found

_PATIENCE_S = 2.0
"""How long to wait for a holder that cannot be asked: another reader needs a moment only."""
_ANSWER_S = 60.0


class Standing(NamedTuple):
    """What is read: a layer, and how to change what it was taken of."""

    layer: int
    change: Callable[[Mapping[str, Any]], None]
    """Does what is asked of a server to the branch as it is by then. Raises DatabaseError."""


def _change(path: str, branch: str, request: Mapping[str, Any]) -> None:
    """Do it to the branch as it is now; whoever holds it is asked. Raises DatabaseError."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with alone(path, branch) as lock, writing_to(path) as connection, lock.changing(connection):
                accept(connection, branch, Accepted.of(request))
            return
        except Held as held:
            if held.at and _asked(held.at, request):
                return
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _change_frozen(path: str, layer: int, request: Mapping[str, Any]) -> None:
    with writing_to(path) as connection, changing(connection):
        accept(connection, "", Accepted.of(request), layer)


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
def standing(path: str, at: str) -> Iterator[Standing]:
    """What a name leads to, as a layer: a snapshot's, or a branch as of now. A server that has the branch
    mounted is asked for it. Raises DatabaseError when somebody holds the branch who cannot be asked.

    When the read is over, a layer that was made for it is merged with what came above it.
    """
    with writing_to(path) as connection:
        point, pin = _pinned(connection, path, at)
    if pin is not None:
        try:
            yield Standing(point.layer, partial(_change_frozen, path, point.layer))
        finally:
            pin.close()
    else:
        with frozen_now(path, at) as layer:
            yield Standing(layer, partial(_change, path, at))


def _pinned(connection: apsw.Connection, path: str, at: str) -> tuple[Found, Pin | None]:
    """What a name leads to; the layer of a snapshot is not merged any more. Raises DatabaseError."""
    while (point := found(connection, at)).kind == "snapshot":
        pin = Pin(path, point.layer)
        try:
            # It is looked up once more when it is pinned: a merge may have been on its way.
            pin.wait_for_merges()
            if found(connection, at) == point:
                return point, pin
        except BaseException:
            pin.close()
            raise
        pin.close()
    return point, None


@contextmanager
def frozen_now(path: str, branch: str, named: Named | None = None) -> Iterator[int]:
    """What a branch has now, as a layer that is not merged meanwhile, under a name or none. See
    `standing`."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            layer, pin, server = _frozen(path, branch, named)
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
        with (
            contextlib.suppress(Held),
            alone(path, branch) as lock,
            writing_to(path) as connection,
        ):
            merge_all(connection, branch, lock)


def merge_all(connection: apsw.Connection, branch: str, lock: BranchLock) -> None:
    """Merge what can be of a branch's chain, when nobody has it open."""
    merged = True
    while merged:
        with lock.changing(connection):
            merged = layers.merge(connection, branch, lock.is_read, layers.AT_THE_END)


@contextmanager
def alone(path: str, branch: str, patience_s: float = 0.0) -> Iterator[BranchLock]:
    """The branch, held for a moment. Raises Held."""
    lock = BranchLock(path, branch, patience_s)
    try:
        yield lock
    finally:
        lock.close(as_it_was=True)


@contextmanager
def writing_to(path: str) -> Iterator[apsw.Connection]:
    """A connection for a moment."""
    connection = connect(path)
    try:
        yield connection
    finally:
        connection.close()


def _frozen(path: str, branch: str, named: Named | None) -> tuple[int, Pin, asking.Asking | None]:
    try:
        with alone(path, branch) as lock:
            with writing_to(path) as connection, lock.changing(connection):
                layer = layers.frozen(connection, branch, named)
            return layer, Pin(path, layer), None
    except Held as held:
        if not held.at:
            raise
        server = asking.Asking(held.at, _ANSWER_S)
    try:
        answer, fds = server.ask({"ask": "freeze", **({} if named is None else named._asdict())})
        layer = _told(answer)["layer"]
        return layer, Pin.handed(path, fds[0]), server
    except BaseException:
        server.close()
        raise


def _told(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if "error" in answer:
        raise DatabaseError(str(answer["error"]))
    return answer
