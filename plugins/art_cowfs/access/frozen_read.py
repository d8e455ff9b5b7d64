"""A long consistent read: of a layer that does not change any more, in any number of transactions."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import apsw

from art_cowfs.access import copy_up_request
from art_cowfs.access.copy_up_request import CopiedUp, CopyUpRequest, found_of
from art_cowfs.db import control_socket, unwritable
from art_cowfs.db.locks import BranchInUse, BranchLock, Pin, alone
from art_cowfs.db.lookup import NamedLayer, found
from art_cowfs.db.schema import DatabaseError, UnwrittenError
from art_cowfs.db.transactions import changing
from art_cowfs.layers import layers
from art_cowfs.layers.layers import Named
from art_cowfs.opening import reader
from art_cowfs.opening.database import connect, writing_to
from art_cowfs.tree import other_host
from art_cowfs.tree.other_host import Accepted, accept

_PATIENCE_S = 2.0
"""How long to wait for a holder that cannot be asked: another reader needs a moment only."""
_ANSWER_S = 60.0
Here = Callable[[], Mapping[str, Any]]
"""Does what a server would answer to, where nobody holds the branch. Raises Held."""


class FrozenLayer(NamedTuple):
    """What is read: a layer, and how to change what it was taken of."""

    layer: int
    stays: bool
    """It is a snapshot, which shows what it shows."""
    accept: Callable[[Sequence[Accepted]], None]
    """Records where something of the branch comes from by then. Raises DatabaseError."""
    secure: Callable[[Sequence[CopyUpRequest], bool, Here], list[CopiedUp | None]]
    """Keeps what the branch shows of the host. Raises DatabaseError."""
    connect: Callable[[], apsw.Connection]
    """A connection to read it on; the one there is where nothing can be written."""
    writes: bool = True


def _change(path: str, branch: str, request: Mapping[str, Any], here: Here) -> Mapping[str, Any]:
    """Do it to the branch as it is now; whoever holds it is asked. Raises DatabaseError."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return here()
        except BranchInUse as held:
            if held.at and (answer := _asked(held.at, request)) is not None:
                return answer
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _asked(at: str, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the server answers; None when it was not there to be asked."""
    try:
        server = control_socket.ServerConnection(at, _ANSWER_S)
    except control_socket.Unreachable:
        return None
    try:
        return _told(server.ask(request)[0])
    except control_socket.Unreachable:
        return None
    finally:
        server.close()


def _accept(path: str, branch: str, accepted: Sequence[Accepted]) -> None:
    def here() -> Mapping[str, Any]:
        with alone(path, branch) as lock, writing_to(path) as connection, lock.changing(connection):
            accept(connection, branch, accepted)
        return {}

    _change(path, branch, other_host.request(accepted), here)


def _accept_frozen(path: str, layer: int, accepted: Sequence[Accepted]) -> None:
    with writing_to(path) as connection, changing(connection):
        accept(connection, "", accepted, layer)


def _secure(
    path: str, branch: str, wanted: Sequence[CopyUpRequest], contents: bool, here: Here
) -> list[CopiedUp | None]:
    return found_of(_change(path, branch, copy_up_request.request(wanted, contents=contents), here))


def _secure_frozen(wanted: Sequence[CopyUpRequest], contents: bool, here: Here) -> list[CopiedUp | None]:
    """A snapshot stays as it is."""
    return [None] * len(wanted)


@contextmanager
def standing(path: str, at: str) -> Iterator[FrozenLayer]:
    """What a name leads to, as a layer: a snapshot's, or a branch as of now. A server that has the branch
    mounted is asked for it. Raises DatabaseError when somebody holds the branch who cannot be asked.

    When the read is over, a layer that was made for it is merged with what came above it. Where nothing can
    be written it is read as it is.
    """
    with contextlib.ExitStack() as held:
        try:
            still = held.enter_context(_still(path, at))
        except (DatabaseError, OSError, apsw.Error) as error:
            if not (_is_unwritten(error) or unwritable.is_full(path)):
                raise
            still = held.enter_context(_as_it_is(path, at))
        yield still


def _is_unwritten(error: BaseException) -> bool:
    return isinstance(error, UnwrittenError) or unwritable.is_told_by(error)


@contextmanager
def _still(path: str, at: str) -> Iterator[FrozenLayer]:
    connected = partial(connect, path)
    with writing_to(path) as connection:
        point, pin = _pinned(connection, path, at)
    if pin is not None:
        recorded = partial(_accept_frozen, path, point.layer)
        try:
            yield FrozenLayer(point.layer, True, recorded, _secure_frozen, connected)
        finally:
            pin.close()
    else:
        with frozen_now(path, at) as layer:
            yield FrozenLayer(layer, False, partial(_accept, path, at), partial(_secure, path, at), connected)


@contextmanager
def _as_it_is(path: str, at: str) -> Iterator[FrozenLayer]:
    """On one connection, as of one moment: no lock can be had, and no layer frozen."""
    with reading_of(path) as connection, reader.of_one_moment(connection):
        layer = found(connection, at).layer
        yield FrozenLayer(layer, True, _not_accepted, _secure_frozen, lambda: connection, writes=False)


def _not_accepted(accepted: Sequence[Accepted]) -> None:
    """Nothing is recorded: by then both sides are the same, which the next pull sees."""


def _pinned(connection: apsw.Connection, path: str, at: str) -> tuple[NamedLayer, Pin | None]:
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
        except (BranchInUse, control_socket.Unreachable) as error:
            if time.monotonic() < until:
                time.sleep(0.02)
            elif isinstance(error, BranchInUse):
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
            contextlib.suppress(BranchInUse),
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
def reading_of(path: str) -> Iterator[apsw.Connection]:
    """A connection for a moment that only reads, also where nothing can be written."""
    connection = connect(path, write=False)
    try:
        yield connection
    finally:
        connection.close()


def _frozen(
    path: str, branch: str, named: Named | None
) -> tuple[int, Pin, control_socket.ServerConnection | None]:
    try:
        with alone(path, branch) as lock:
            with writing_to(path) as connection, lock.changing(connection):
                layer = layers.frozen(connection, branch, named)
            return layer, Pin(path, layer), None
    except BranchInUse as held:
        if not held.at:
            raise
        server = control_socket.ServerConnection(held.at, _ANSWER_S)
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
