"""What ran when. See `art_core.store.history.Session`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, NamedTuple

import apsw

from art_core.store.history import Ending, Opening, Session, State
from art_cowfs.access.frozen_read import reading_of
from art_cowfs.db.locks import holders
from art_cowfs.db.transactions import changing
from art_cowfs.opening import row_values
from art_cowfs.opening.database import telling
from art_cowfs.tree.changed_names import ChangedNames

_KINDS: row_values.Kinds = {
    "id": int,
    "branch": str,
    "argv": str,
    "started_ns": int,
    "workspace": bytes,
    "ended_ns": (int, NoneType),
    "status": (int, NoneType),
    "pid": int,
    "files": (int, NoneType),
    "more": int,
    "trace": str,
    "notes": str,
    "before": str,
}


class BegunSession(NamedTuple):
    """A session that runs, and what it changed so far."""

    id: int
    changed: ChangedNames


def begin(connection: apsw.Connection, branch: str, workspace: bytes, opening: Opening) -> BegunSession:
    """Record that a session begins; this process serves it."""
    row = (branch, workspace, os.getpid(), json.dumps(list(opening.argv)), time.time_ns(), opening.trace)
    with changing(connection):
        connection.execute(
            "INSERT INTO session(branch, workspace, pid, argv, started_ns, trace) VALUES(?, ?, ?, ?, ?, ?)",
            row,
        )
        return BegunSession(connection.last_insert_rowid(), ChangedNames())


def snapshotted(connection: apsw.Connection, session: int, name: str) -> None:
    """Record the snapshot that was taken before a session."""
    connection.execute("UPDATE session SET before = ? WHERE id = ?", (name, session))


def end(connection: apsw.Connection, begun: BegunSession, ending: Ending | None) -> None:
    """Record how a session ended; None for one that was killed."""
    notes = [] if ending is None else list(ending.notes)
    status = None if ending is None else ending.status
    changed = begun.changed
    with changing(connection):
        connection.execute(
            "UPDATE session SET ended_ns = ?, status = ?, files = ?, more = ?, notes = ? WHERE id = ?",
            (time.time_ns(), status, changed.count(), changed.more, json.dumps(notes), begun.id),
        )


def listed(path: str) -> list[Session]:
    """All of them, the oldest first."""
    with telling(path):
        with reading_of(path) as connection:
            found: list[Any] = connection.execute(
                f"SELECT {', '.join(_KINDS)} FROM session ORDER BY id"
            ).fetchall()
        rows = [row_values.checked(row, _KINDS) for row in found]
        open_ones = {row[1] for row in rows if row[5] is None}
        held = holders(path, sorted(open_ones)) if open_ones else {}
        return [_session(row, held) for row in rows]


def _session(row: Sequence[Any], held: Mapping[str, str]) -> Session:
    number, branch, argv, started, workspace, ended, status, pid, files, more, trace, notes, before = row
    state: State = "ended" if status is not None else "killed"
    if ended is None and held.get(branch, "").startswith(f"process {pid},"):
        state = "running"
    return Session(
        id=number,
        branch=branch,
        argv=row_values.texts(argv, "argv"),
        started_ns=started,
        workspace=os.fsdecode(workspace),
        ended_ns=ended,
        status=status,
        state=state,
        files=files,
        more=bool(more),
        trace=trace,
        notes=row_values.texts(notes, "notes"),
        before=before,
    )
