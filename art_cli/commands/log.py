"""`art log`: what was done, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from art_cli.output.console import printable
from art_cli.output.pager import Page, paged
from art_cli.run.run import quoted
from art_cli.stores.points import as_json, opened, table, when
from art_cli.syntax.shared_options import CONTEXT, Command, shared
from art_core.errors import StoreError
from art_core.store.history import Point, Session

_HEADING = ("SESSION", "STARTED", "BRANCH", "TOOK", "ENDED", "FILES", "COMMAND")
_LONGEST = 72
_FAILED, _POINT = "31", "36"


@click.command(cls=Command, context_settings=CONTEXT)
@shared("log")
@click.option("--json", "in_json", is_flag=True, help="print one JSON object a line")
@click.argument("session", required=False, type=int)
def command(in_json: bool, session: int | None, **options: Any) -> None:
    """Show the runs with this database and its snapshots, the newest first: the command, its branch, how
    long it took, how it ended, how many files it changed. With -b those of one branch.

    With SESSION all that is known of one of them: also its trace, and what a filtered network
    refused. A run without --db leaves nothing here.

    \b
      art log -d workspace.db
      art log -d workspace.db 12
    """
    with opened(options) as history:
        sessions, points = history.sessions(), history.points()
    if session is not None:
        found = next((one for one in sessions if one.id == session), None)
        if found is None:
            raise StoreError(f"there is no session {session}; `art log` lists those there are")
        with paged(wanted=not in_json) as page:
            if in_json:
                page.line(as_json(found, kind="session"))
            else:
                _write_one(page, found)
        return
    branch = options["branch"]
    entries: list[Session | Point] = [one for one in sessions if branch in (None, one.branch)]
    entries += [one for one in points if one.kind == "snapshot" and branch in (None, one.branch)]
    begun = {one.before: one.started_ns for one in sessions if one.before}
    entries.sort(key=lambda one: _moment(one, begun), reverse=True)
    with paged(wanted=not in_json) as page:
        if in_json:
            for one in entries:
                page.line(as_json(one, kind="session" if isinstance(one, Session) else "snapshot"))
        else:
            _write_all(page, entries)


def _moment(one: Session | Point, begun: Mapping[str, int]) -> float:
    """When it was, to be sorted by; a snapshot that was taken for a session comes before it."""
    if isinstance(one, Session):
        return one.started_ns
    return begun.get(one.name, one.created_ns + 1) - 1


def _write_all(page: Page, entries: list[Session | Point]) -> None:
    rows = [_row(one) for one in entries]
    colours = [_colour(one) for one in entries]
    table(page, _HEADING, rows, colours)


def _row(one: Session | Point) -> tuple[str, ...]:
    if isinstance(one, Point):
        note = f" ({one.note})" if one.note else ""
        return ("", when(one.created_ns), one.branch, "", "", "", f"snapshot {one.name}{note}")
    words = " ".join(map(quoted, one.argv))
    shown = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."
    count = f"{len(one.notes)} note{'s' * (len(one.notes) != 1)}"
    notes = [f"trace {one.trace}"] * bool(one.trace) + [count] * bool(one.notes)
    shown += f" [{', '.join(notes)}]" if notes else ""
    return (str(one.id), when(one.started_ns), one.branch, _took(one), _ended(one), _files(one), shown)


def _colour(one: Session | Point) -> str:
    if isinstance(one, Point):
        return _POINT
    return _FAILED if one.status or one.state == "killed" else ""


def _took(session: Session) -> str:
    if session.ended_ns is None:
        return "" if session.state == "killed" else "..."
    seconds = (session.ended_ns - session.started_ns) / 1e9
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def _ended(session: Session) -> str:
    if session.status is None:
        return "runs" if session.state == "running" else "killed"
    return str(session.status)


def _files(session: Session) -> str:
    if session.files is None:
        return ""
    return f"{session.files}+" if session.more else str(session.files)


def _write_one(page: Page, session: Session) -> None:
    for name, value in _told(session):
        page.line(f"{name:<10} {printable(value)}".encode())


def _told(session: Session) -> Iterator[tuple[str, str]]:
    yield "session", str(session.id)
    yield "command", " ".join(map(quoted, session.argv))
    yield "branch", session.branch
    yield "workspace", session.workspace
    yield "started", when(session.started_ns)
    if session.ended_ns is not None:
        yield "ended", f"{when(session.ended_ns)}, after {_took(session)}"
    yield "status", _ended(session)
    if session.files is not None:
        yield "files", f"{_files(session)} made, changed or removed"
    if session.before:
        yield "before", f"snapshot {session.before}"
    if session.trace:
        yield "trace", session.trace
    for note in session.notes:
        yield "note", note
