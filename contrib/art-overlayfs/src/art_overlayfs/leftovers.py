"""Sessions that ended without their changes in the database, killed or on a full disk: who comes next brings
them in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import apsw

from art_core.errors import ArtError, StoreError
from art_core.store.history import dated
from art_cowfs.library import OpenBranch, Place, connect, telling
from art_overlayfs import states, uppers
from art_overlayfs.capture import capture
from art_overlayfs.uppers import Upper


def settle(database: str, sessions: str) -> list[str]:
    """Bring in what is left; what the user should know. `sessions` are those of this database. Raises
    StoreError where it cannot be brought in: then it stays."""
    if not os.path.isdir(sessions):
        return []
    notes: list[str] = []
    for upper in uppers.left(sessions):
        if not _is_of_another(upper, database):
            notes += _settle(database, upper)
    return notes


def _is_of_another(upper: Upper, database: str) -> bool:
    """Whether it is of a copy of this database, which stands where the session had it."""
    return upper.about.database != database and os.path.exists(upper.about.database)


def _settle(database: str, upper: Upper) -> list[str]:
    about = upper.about
    with closing(connect(database)) as connection, telling(database):
        if states.is_captured(connection, upper.name):
            discard(connection, upper)
            return []
        if upper.is_used():
            raise StoreError(
                f"a sandbox whose session was killed still runs on branch {about.branch!r} of {database!r}; "
                "end it"
            )
        try:
            notes = _brought(database, connection, upper)
        except OSError as error:
            raise StoreError(kept(upper, error)) from None
        discard(connection, upper)
        return notes


def kept(upper: Upper, error: OSError | ArtError) -> str:
    """Why what a session changed is not in the database yet, and where it is."""
    why = error.strerror if isinstance(error, OSError) else str(error)
    return (
        f"what was changed on branch {upper.about.branch!r} could not be brought into the database: {why}; "
        f"it is kept in {upper.path}, and the next run brings it in"
    )


def _brought(database: str, connection: apsw.Connection, upper: Upper) -> list[str]:
    about = upper.about
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(about.started_ns / 1e9))
    with _placed(upper) as place:
        branches = connection.execute("SELECT name FROM point WHERE kind = 'branch'").fetchall()
        branch = about.branch if (about.branch,) in branches else "main"
        with OpenBranch(
            database, branch, workspace=place._replace(fd=os.dup(place.fd)), uid=0, gid=0
        ) as session:
            frozen, pin = session.freeze()
            try:
                now = states.key(connection, frozen, place.name, about.owner)
                onto = "" if branch == about.branch and now == about.state else next(dated("left"))
                notes = capture(session, upper, place, branch=branch, onto=onto)
            finally:
                os.close(pin)
    said = f"what the run of {when} changed was not in the database when it ended; "
    if onto:
        said += f"the branch {about.branch!r} was changed since, so it is in the branch {onto!r}"
    else:
        said += f"it was brought into the branch {branch!r}"
    return [said, *notes]


@contextmanager
def _placed(upper: Upper) -> Iterator[Place]:
    """The workspace of a session that is no more."""
    about = upper.about
    try:
        fd = os.open(about.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreError(
            f"what a killed run changed in {about.path!r} waits in {upper.path}: that directory is needed to "
            f"bring it in, and cannot be opened ({error.strerror})"
        ) from None
    try:
        yield Place(os.fsencode(about.workspace), os.fsencode(about.path), fd)
    finally:
        os.close(fd)


def discard(connection: apsw.Connection, upper: Upper) -> None:
    """The database has it."""
    upper.remove()
    states.forget(connection, upper.name)
