"""`art fs`: files in a database, without a sandbox."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from art_cli.output.console import complain, note, printable
from art_cli.stores.opener import OpenedStore, opened, workspace_of
from art_cli.syntax.command_group import Group, all_given
from art_cli.syntax.shared_options import CONTEXT, Command, shared
from art_core.autorun import planted_links
from art_core.contracts import MAIN, Workspace
from art_core.errors import UsageError
from art_core.host.tree import within
from art_core.store.files import File, Files, HomeReader, guest_path, resolve
from art_core.trees import Entry

_PREFIX = "guest:"
_ZEROS = bytes(1 << 16)


@click.group(cls=Group, context_settings=CONTEXT)
@shared("fs")
def command(**options: Any) -> None:
    """Files in a database: a branch or a snapshot (-b NAME) without a sandbox, also while one runs.

    A path is one of the home, as the sandbox sees it (/home/agent/ws/main.py) or relative to it
    (ws/main.py). With -m DIR the workspace shows what the host has there, as in a sandbox.

    \b
      art fs ls -l -d ws.db ws/src
      art fs cat -d ws.db -b before-tests ws/main.py
      art fs cp -d ws.db -r guest:ws/out .
      art fs mount -d ws.db --read-only /mnt
    """


as_json = click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")


def _guest(text: str) -> bytes:
    path = guest_path(text.removeprefix(_PREFIX))
    if path is None:
        raise UsageError(f"{text}: the database holds /home/agent, and this is not in there")
    return path


@contextmanager
def _home(options: dict[str, Any]) -> Iterator[tuple[HomeReader, OpenedStore, Workspace | None]]:
    with opened(options, "files") as found:
        files: Files = found.store  # type: ignore[assignment]
        with (
            workspace_of(found, files) as workspace,
            files.home(options.get("branch") or MAIN, workspace) as home,
        ):
            yield home, found, workspace


def _note_absence(found: OpenedStore, workspace: Workspace | None, path: bytes) -> None:
    """Say that a workspace shows only what the database has of it."""
    files: Files = found.store  # type: ignore[assignment]
    name = os.fsdecode(path.split(b"/")[0])
    if not name or (workspace is not None and workspace.name == name):
        return
    known = files.workspace_at(name)
    if known is not None:
        note(f"what the host has in {known} is not seen here; to see it: -m {known}")


@command.command("ls", cls=Command)
@shared("fs")
@as_json
@click.option("-l", "--long", is_flag=True, help="modes, links, sizes and times, too")
@click.argument("paths", metavar="[PATH...]", nargs=-1)
def ls(as_json: bool, long: bool, paths: tuple[str, ...], **options: Any) -> None:
    """List directories of the home, or the home itself."""
    with _home(all_given(options)) as (home, found, workspace):
        for text in paths or ("",):
            file = resolve(home, _guest(text))
            _note_absence(found, workspace, file.path)
            names = home.names(file.path) if file.kind == "dir" else None
            if names is not None and len(paths) > 1 and not as_json:
                print(printable(f"{text}:"))
            for name in [b""] if names is None else names:
                path = file.path if not name else file.path + b"/" + name if file.path else name
                one = home.find(path)
                if one is not None:
                    print(_json(one) if as_json else _line(one, name or file.path, long))


def _json(file: File) -> str:
    said: dict[str, object] = {
        "path": os.fsdecode(file.path),
        "kind": file.kind or "other",
        "mode": f"{stat.S_IMODE(file.mode):04o}",
        "size": file.size,
        "mtime_ns": file.mtime_ns,
        "ino": file.ino,
        "nlink": file.nlink,
        "from": "host" if file.hosts else "database",
    }
    if file.kind == "link":
        said["target"] = os.fsdecode(file.target)
    return json.dumps(said)


def _line(file: File, name: bytes, long: bool) -> str:
    shown = printable(os.fsdecode(name))
    if not long:
        return shown
    seconds = file.mtime_ns // 10**9
    try:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        when = f"@{seconds}"
    target = f" -> {printable(os.fsdecode(file.target))}" if file.kind == "link" else ""
    return f"{stat.filemode(file.mode)} {file.nlink:>3} {file.size:>12} {when} {shown}{target}"


@command.command("cat", cls=Command)
@shared("fs")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
def cat(paths: tuple[str, ...], **options: Any) -> int:
    """Write files of the home to standard output, byte for byte."""
    status = 0
    with _home(all_given(options)) as (home, found, workspace):
        for text in paths:
            file = resolve(home, _guest(text))
            if file.kind != "file":
                complain(f"{text}: this is no file")
                status = 1
                continue
            try:
                _print(home, file)
            except BrokenPipeError:
                raise
            except OSError as error:
                _note_absence(found, workspace, file.path)
                complain(f"{text}: {error.strerror}")
                status = 1
    return status


def _print(home: HomeReader, file: File) -> None:
    out, done = sys.stdout.buffer, 0
    for offset, data in home.blocks(file):
        _zeros(offset - done)
        out.write(data)
        done = offset + len(data)
    _zeros(file.size - done)
    out.flush()


def _zeros(size: int) -> None:
    while size > 0:
        size -= sys.stdout.buffer.write(_ZEROS[: min(size, len(_ZEROS))])


@command.command("cp", cls=Command)
@shared("fs")
@as_json
@click.option("-r", "-R", "--recursive", is_flag=True, help="directories, with all that is in them")
@click.option("--protected", is_flag=True, help="copy what programs of the host run by themselves, too")
@click.option("-q", "--quiet", is_flag=True, help="print only what could not be copied")
@click.argument("paths", metavar="SOURCE... TARGET", nargs=-1, required=True)
def cp(
    as_json: bool, recursive: bool, protected: bool, quiet: bool, paths: tuple[str, ...], **options: Any
) -> int:
    """Copy between the host and the home; paths of the home begin with `guest:`.

    On the host nothing is written through a symbolic link, and each file appears whole. Copying into
    the home needs the branch: while a sandbox has it, this is refused. What is copied with a directory is
    held back as by a pull: settings and hooks of git, .envrc, ...

    \b
      art fs cp -d ws.db guest:.bashrc /tmp/
      art fs cp -d ws.db -r data/ guest:/home/agent/ws/
    """
    from art_core.transfer.file_copies import copy_in, copy_out

    *sources, target = paths
    inwards = target.startswith(_PREFIX)
    if not sources or any(source.startswith(_PREFIX) is inwards for source in sources):
        raise UsageError("one side is the home's and begins with guest: (art fs cp guest:ws/a.txt .)")
    telling = _CopyPrinter(as_json, quiet)
    chosen = all_given(options)
    if not inwards:
        if len(sources) > 1 and not os.path.isdir(target):
            raise UsageError(f"{target}: several files go into a directory, and this is none")
        with _home(chosen) as (home, found, workspace):
            if workspace is not None:
                led_by = target if os.path.isdir(target) else os.path.dirname(target) or "."
                planted_links.refuse("TARGET", led_by, [workspace.real])
            protect = () if protected else found.settings.protect
            for source in sources:
                _refuse_itself(home, source, target, workspace)
                copy_out(
                    found.store,
                    home,
                    _guest(source),
                    target,
                    telling.report,
                    recursive=recursive,
                    protect=protect,
                )
        return telling.status
    with opened(chosen, "files", "create") as found:
        files: Files = found.store  # type: ignore[assignment]
        path = _guest(target) + (b"/" if target.endswith("/") else b"")
        with (
            workspace_of(found, files) as workspace,
            files.home_writer(chosen.get("branch") or MAIN, workspace) as writer,
        ):
            if len(sources) > 1 and resolve(writer, path).kind != "dir":
                raise UsageError(f"{target}: several files go into a directory, and this is none")
            if workspace is not None:
                for source in sources:
                    planted_links.refuse("SOURCE", source, [workspace.real])
            for source in sources:
                copy_in(found.store, writer, source, path, telling.report, recursive=recursive)
            writer.commit()
    return telling.status


def _refuse_itself(home: HomeReader, source: str, target: str, workspace: Workspace | None) -> None:
    """A directory that shows the target would be copied into itself without end. Raises UsageError."""
    directory = target if os.path.isdir(target) else os.path.dirname(target) or "."
    real = os.path.realpath(directory)
    top = resolve(home, _guest(source))
    if workspace is None or top.kind != "dir" or not within(real, workspace.real):
        return
    shown = os.path.join(workspace.name, os.path.relpath(real, workspace.real))
    if not top.path or within(os.path.normpath(shown), os.fsdecode(top.path)):
        raise UsageError(f"{target}: {source} shows this directory, and would be copied into itself")


@command.command("mount", cls=Command)
@shared("fs")
@click.option("--read-only", is_flag=True, help="change nothing; a branch as of now, or a snapshot")
@click.option("--allow-other", is_flag=True, help="let other users of the host in, as the modes of files say")
@click.argument("directory", metavar="DIR")
def mount(read_only: bool, allow_other: bool, directory: str, **options: Any) -> int:
    """Mount the home at a directory of the host, until Ctrl-C, SIGTERM or umount.

    Everything is committed at the end. Read-write it holds the branch, as a sandbox does; a snapshot is
    mounted with --read-only. The directory is yours alone without --allow-other, which root may give, and
    others where /etc/fuse.conf has user_allow_other. Who is not root needs fusermount3.

    \b
      art fs mount -d ws.db --read-only -b before-tests /mnt
    """
    from art_cli.stores.mount import serve

    chosen = all_given(options)
    with opened(chosen, "files", "write") as found:
        files: Files = found.store  # type: ignore[assignment]
        with workspace_of(found, files) as workspace:
            at = chosen.get("branch") or MAIN
            return serve(
                files, found.store, at, workspace, directory, read_only=read_only, others=allow_other
            )


class _CopyPrinter:
    """Prints what is copied; `status` is 1 when something could not be."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self._json = as_json
        self._quiet = quiet
        self.status = 0

    def report(self, action: str, path: str, entry: Entry | None, why: str) -> None:
        if action == "FAIL":
            self.status = 1
        if self._json:
            said: dict[str, object] = {"action": action.lower(), "path": path}
            said |= {"size": entry.size} if entry is not None else {"why": why}
            print(json.dumps(said))
        elif why:
            print(printable(f"{action} {path}: {why}"), file=sys.stderr)
        elif not self._quiet:
            size = f" ({entry.size} bytes)" if entry is not None and entry.kind == "file" else ""
            print(printable(f"{action:<4} {path}{size}"))
