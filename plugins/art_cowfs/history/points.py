"""Names of states: taking, making, putting back, taking away. See `art_core.store.history.History`.

Each is a few rows. A branch that is held is snapshotted and forked through its server; putting it back
and removing it need it free.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from typing import Any

import apsw

from art_core.contracts import MAIN, Workspace
from art_core.store.history import NameTaken, Point, checked_name, dated
from art_cowfs.access.frozen_read import frozen_now, reading_of, standing
from art_cowfs.db.locks import BRANCH_S, BranchLock, Bystander, Pin, alone, holders
from art_cowfs.db.lookup import chain_of, found, layers_from
from art_cowfs.db.paths import companions
from art_cowfs.db.portions import Portions
from art_cowfs.db.schema import DatabaseError
from art_cowfs.history.host_cover import hide
from art_cowfs.history.restore import Restoring
from art_cowfs.layers import entries, layers, sync_base
from art_cowfs.layers.chain import Chain
from art_cowfs.layers.layers import Named
from art_cowfs.lower.lower import Lower
from art_cowfs.opening import row_values
from art_cowfs.opening.database import telling, writing_to

_DEEPEST = 20_000
"""Frames: a path has at most 2048 names."""
_KINDS: row_values.Kinds = {
    "name": str,
    "kind": str,
    "branch": str,
    "created_ns": int,
    "parent": str,
    "note": str,
    "layer": int,
}
_LAYER_KINDS: row_values.Kinds = {"id": int, "parent": int}


def listed(path: str) -> list[Point]:
    """All of them, the oldest first."""
    with telling(path), reading_of(path) as connection:
        found: list[Any] = connection.execute(
            f"SELECT {', '.join(_KINDS)} FROM point ORDER BY created_ns, layer"
        ).fetchall()
        rows = [row_values.checked(row, _KINDS) for row in found]
        below = _below(connection)
    held = holders(path, [row[0] for row in rows if row[1] == "branch"])
    named = {layer: name for name, kind, *_, layer in rows if kind == "snapshot"}
    points = []
    for name, kind, branch, created_ns, parent, note, layer in rows:
        if kind == "snapshot":
            parent = next((named[one] for one in _upwards(below, layer) if one in named), "")
        points.append(Point(name, kind, branch, created_ns, parent, note, held.get(name, "")))
    return points


def _below(connection: apsw.Connection) -> dict[int, int]:
    rows: list[Any] = connection.execute("SELECT id, coalesce(parent, 0) FROM layer").fetchall()
    return {row_values.checked(row, _LAYER_KINDS)[0]: row[1] for row in rows}


def _upwards(below: dict[int, int], layer: int) -> Iterator[int]:
    """The layers under one; a hostile database may lead in a circle."""
    while 0 < below.get(layer, 0) < layer:
        layer = below[layer]
        yield layer


def _point(path: str, name: str) -> Point:
    """Raises DatabaseError when there is none."""
    with writing_to(path) as connection:
        found(connection, name)
    return next(point for point in listed(path) if point.name == name)


def snapshot(path: str, branch: str, name: str, note: str = "") -> Point:
    with frozen_now(path, branch, Named(checked_name(name), note)):
        return _point(path, name)


def make_branch(path: str, name: str, at: str) -> Point:
    checked_name(name)
    with (
        standing(path, at) as still,
        alone(path, name, BRANCH_S) as lock,
        writing_to(path) as connection,
        lock.changing(connection),
    ):
        now = time.time_ns()
        top = layers.add_layer(connection, still.layer, now)
        layers.add_point(connection, "branch", name, top, name, at, now)
    return _point(path, name)


def remove(path: str, name: str) -> Point:
    point = _point(path, name)
    if point.kind == "snapshot":
        with (
            closing(Bystander(path)) as by,
            writing_to(path) as connection,
            by.changing(connection),
        ):
            connection.execute("DELETE FROM point WHERE name = ? AND kind = 'snapshot'", (name,))
        return point
    if name == MAIN:
        raise DatabaseError(f"{MAIN!r} stays: it is the branch that runs take unless they name one")
    with (
        alone(path, name, BRANCH_S) as lock,
        writing_to(path) as connection,
        lock.changing(connection),
    ):
        connection.execute("DELETE FROM point WHERE name = ? AND kind = 'branch'", (name,))
    return point


def restore(path: str, branch: str, at: str, paths: Sequence[bytes], workspace: Workspace) -> Point:
    if at == branch:
        raise DatabaseError(f"{at!r} is the branch that is to be put back; name a snapshot or another branch")
    with (
        standing(path, at) as still,
        alone(path, branch, BRANCH_S) as lock,
        writing_to(path) as connection,
        ExitStack() as pinned,
    ):
        new = 0
        _refuse_replaced(connection, at, still.layer, paths)
        if paths:
            new, pin = _put_back_paths(path, connection, lock, branch, still.layer, paths, workspace)
            pinned.callback(pin.close)
        with lock.changing(connection):
            kept = _keep_all(connection, branch, f"before restore {at}")
            begun, *below = chain_of(connection, branch)
            if not paths:
                new = layers.add_layer(connection, still.layer, time.time_ns())
                # The host has what it had: what was agreed with it goes along.
                there = set(layers_from(connection, still.layer))
                sync_base.inherit(connection, [one for one in below if one not in there], new, hides=False)
                connection.execute("UPDATE point SET parent = ? WHERE name = ?", (at, branch))
            connection.execute("UPDATE point SET layer = ? WHERE name = ?", (new, branch))
            connection.execute("DELETE FROM layer WHERE id = ?", (begun,))  # It is empty.
    hide(path, branch, workspace, paths, new)
    return _point(path, kept)


def _refuse_replaced(connection: apsw.Connection, at: str, layer: int, paths: Sequence[bytes]) -> None:
    """What has something else in the place of a workspace is not put back as it is."""
    names = entries.known(connection)
    wanted = names.intersection(paths) if paths else names
    entries.refuse_replaced(Chain(connection, "", layer), wanted, at)


def _keep_all(connection: apsw.Connection, branch: str, note: str) -> str:
    """Keep what a branch has under a name that nobody has; return it."""
    for name in dated("before-restore"):
        with suppress(NameTaken):
            layers.frozen(connection, branch, Named(name, note))
            return name
    raise AssertionError


def _put_back_paths(
    path: str,
    connection: apsw.Connection,
    lock: BranchLock,
    branch: str,
    layer: int,
    paths: Sequence[bytes],
    workspace: Workspace,
) -> tuple[int, Pin]:
    """A layer over what the branch has, with the paths as another layer has them. No name leads to it yet:
    what it is pinned by keeps it from being collected."""
    before = sys.getrecursionlimit()
    with ExitStack() as ending, ExitStack() as pinned:
        lower = Lower(os.dup(workspace.fd), companions(path))
        ending.callback(lower.close)
        name = os.fsencode(workspace.name)
        wanted = Chain(ending.enter_context(writing_to(path)), "", layer, workspace=name)
        portions = ending.enter_context(Portions(connection, lock.changing))
        top, *below = chain_of(connection, branch)
        under = below[0] if below and layers.is_empty(connection, top) else top
        new = layers.add_layer(connection, under, time.time_ns())
        pin = Pin(path, new)
        pinned.callback(pin.close)
        there = Chain(connection, branch, new, workspace=name)
        restoring = Restoring(connection, there, wanted, lower, portions.wrote)
        sys.setrecursionlimit(_DEEPEST)
        ending.callback(sys.setrecursionlimit, before)
        try:
            for one in _outermost(paths):
                restoring.put_back(one)
        except RecursionError:
            raise DatabaseError(f"what is in {path!r} leads in a circle; `art db check` says more") from None
        except OSError as error:
            raise DatabaseError(f"what the host has there cannot be read: {error.strerror}") from None
        pinned.pop_all()
    return new, pin


def _outermost(paths: Sequence[bytes]) -> list[bytes]:
    """Without those that lie in another one."""
    kept: list[bytes] = []
    for path in sorted(paths, key=lambda one: one.split(b"/")):
        if not kept or (path != kept[-1] and not path.startswith(kept[-1] + b"/")):
            kept.append(path)
    return kept
