"""One line on a terminal that says how far a transfer is; nothing where no terminal is."""

from __future__ import annotations

import os
import shutil
import time

from art_cli.output.console import printable

_EVERY_S = 0.1
_CLEAR = b"\r\x1b[K"
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def sized(size: float) -> str:
    """A number of bytes for people: `3 bytes`, `1.5 GiB`."""
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"


class Progress:
    """The line, on standard error. It is cleared before anything else is printed."""

    def __init__(self, verb: str, *, wanted: bool) -> None:
        self._verb = verb
        self._shown = False
        self._next = time.monotonic() + _EVERY_S if wanted and os.isatty(2) else float("inf")
        self._entries = self._bytes = 0
        self._path = b""

    def entry(self, path: bytes) -> None:
        self._entries += 1
        self._path = path
        self._show()

    def moved(self, size: int) -> None:
        self._bytes += size
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_S
        line = f"{self._verb}: {self._entries} entries, {sized(self._bytes)}: {os.fsdecode(self._path)}"
        width = shutil.get_terminal_size().columns - 1
        os.write(2, _CLEAR + printable(line)[:width].encode("utf-8", "backslashreplace"))
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            os.write(2, _CLEAR)
            self._shown = False
