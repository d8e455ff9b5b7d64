"""The record in a few lines: how often each call was made, and what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence

from art_ptrace.process.tracees import Tracee
from art_ptrace.record.output import Output
from art_ptrace.structures import sockets
from art_ptrace.syscalls.calls import Call, Found
from art_ptrace.values.arguments import PATH_MAX
from art_ptrace.values.text_escapes import quoted

_MOST = 1000
"""Paths, programs and addresses of one kind that are listed; of more only the number is told."""
_MOST_CALLS = 2000
_WRITING = 0o3 | 0o100 | 0o1000 | 0o20000000
_AT_FDCWD = -100

# call -> where its path is, and the descriptor that it is relative to (-1: the working directory)
_WRITTEN = {"creat": (0, -1), "truncate": (0, -1)}
_OPENED = {"open": (0, -1, 1), "openat": (1, 0, 2), "openat2": (1, 0, -1)}
_DELETED = {"unlink": (0, -1), "rmdir": (0, -1), "unlinkat": (1, 0)}
_RENAMED = {"rename": (0, -1, 1, -1), "renameat": (1, 0, 3, 2), "renameat2": (1, 0, 3, 2)}
_STARTED = {"execve": (0, -1), "execveat": (1, 0)}
_REACHED = {"connect": 1, "bind": 1, "sendto": 4}
TITLES = {
    "written": "files written",
    "deleted": "deleted",
    "renamed": "renamed",
    "started": "programs run",
    "reached": "addresses reached",
}


class Summary:
    """Counts; see `writers.RecordWriter`."""

    timed = looks = True

    def __init__(self, output: Output, *, as_json: bool) -> None:
        self._output = output
        self._as_json = as_json
        self._counts: dict[str, list[int]] = {}
        self._listed: dict[str, dict[str, None]] = {kind: {} for kind in TITLES}
        self._left_out = dict.fromkeys(TITLES, 0)

    def call(
        self, tracee: Tracee, call: Call, values: Sequence[int], found: Found | None, result: int
    ) -> None:
        spent = time.monotonic_ns() - tracee.began
        failed = -4096 < result < 0
        self._count(call.name, spent, failed=failed)
        if not failed or (call.name in _REACHED and result == -115):  # EINPROGRESS
            self._note(tracee, call.name, values, found)

    def _count(self, name: str, spent: int, *, failed: bool) -> None:
        if name not in self._counts and len(self._counts) >= _MOST_CALLS:
            name = "others"
        counts = self._counts.setdefault(name, [0, 0, 0])
        counts[0] += 1
        counts[1] += failed
        counts[2] += spent

    def _note(self, tracee: Tracee, name: str, values: Sequence[int], found: Found | None) -> None:
        if name in _OPENED:
            path, directory, flags = _OPENED[name]
            how = found.get(2) if found else None
            wanted = int.from_bytes(how[:8], "little") if isinstance(how, bytes) else values[flags]
            if wanted & _WRITING:
                self._list("written", _path(tracee, values, found, path, directory))
        elif name in _WRITTEN:
            self._list("written", _path(tracee, values, found, *_WRITTEN[name]))
        elif name in _DELETED:
            self._list("deleted", _path(tracee, values, found, *_DELETED[name]))
        elif name in _RENAMED:
            path, directory, other, other_directory = _RENAMED[name]
            before = _path(tracee, values, found, path, directory)
            after = _path(tracee, values, found, other, other_directory)
            self._list("renamed", f"{before} -> {after}")
        elif name in _STARTED:
            self._list("started", _path(tracee, values, found, *_STARTED[name]))
        elif name in _REACHED:
            address = found.get(_REACHED[name]) if found else None
            if isinstance(address, bytes) and len(address) > 2:
                self._list("reached", sockets.address(address))

    def _list(self, kind: str, text: str) -> None:
        listed = self._listed[kind]
        if text in listed:
            return
        if len(listed) < _MOST:
            listed[text] = None
        else:
            self._left_out[kind] += 1

    def unfinished(self, tracee: Tracee, call: Call, values: Sequence[int], found: Found | None) -> None:
        self._count(call.name, 0, failed=False)

    def signal(self, tracee: Tracee, number: int, info: bytes | None) -> None: ...

    def stopped(self, tracee: Tracee, number: int) -> None: ...

    def superseded(self, tracee: Tracee, by: int) -> None: ...

    def ended(self, tracee: Tracee, status: int) -> None: ...

    def finish(self) -> None:
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1][2], item[0]))
        if self._as_json:
            self._output.write(json.dumps(self._object(ordered)) + "\n")
            return
        total = sum(counts[2] for _, counts in ordered) or 1
        self._output.write("% time     seconds  usecs/call     calls    errors syscall\n")
        self._output.write(f"{'-' * 6} {'-' * 11} {'-' * 11} {'-' * 9} {'-' * 9} {'-' * 16}\n")
        for name, (calls, errors, spent) in ordered:
            self._output.write(
                f"{100 * spent / total:6.2f} {spent / 1e9:11.6f} {spent // calls // 1000:11} {calls:9} "
                f"{errors or '':9} {name}\n"
            )
        self._output.write(f"{'-' * 6} {'-' * 11} {'-' * 11} {'-' * 9} {'-' * 9} {'-' * 16}\n")
        calls = sum(counts[0] for _, counts in ordered)
        errors = sum(counts[1] for _, counts in ordered)
        spent = sum(counts[2] for _, counts in ordered)
        self._output.write(
            f"100.00 {spent / 1e9:11.6f} {spent // (calls or 1) // 1000:11} {calls:9} {errors or '':9} "
            "total\n"
        )
        for kind, title in TITLES.items():
            if self._listed[kind]:
                self._output.write(f"{title}:\n")
                for text in self._listed[kind]:
                    self._output.write(f"  {text}\n")
                if self._left_out[kind]:
                    self._output.write(f"  ... and {self._left_out[kind]} more\n")

    def _object(self, ordered: Sequence[tuple[str, list[int]]]) -> dict[str, object]:
        return {
            "calls": {
                name: {"calls": calls, "errors": errors, "duration": spent}
                for name, (calls, errors, spent) in ordered
            },
            **{kind: list(listed) for kind, listed in self._listed.items()},
            "left_out": self._left_out,
        }


def _path(tracee: Tracee, values: Sequence[int], found: Found | None, at: int, directory: int) -> str:
    """A path as it is inside, absolute where that can be known, written so that it ends no line."""
    raw = found.get(at) if found else None
    if not isinstance(raw, bytes):
        return "?"
    if not raw.startswith(b"/"):
        number = _AT_FDCWD if directory < 0 else values[directory] & 0xFFFFFFFF
        number = number - (1 << 32) if number >= 1 << 31 else number
        link = f"/proc/{tracee.tid}/{'cwd' if number == _AT_FDCWD else f'fd/{number}'}"
        with contextlib.suppress(OSError):  # It is gone already: then as it was given.
            raw = os.path.normpath(os.path.join(os.fsencode(os.readlink(link)), raw))
    return quoted(raw, PATH_MAX)
