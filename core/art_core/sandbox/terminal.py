"""The caller's terminal while a command runs on a PTY of its own.

Sources: termios(3), tty_ioctl(4), pty(7); the private modes are xterm's control sequences.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import termios
import tty
from types import FrameType

_MODE_CHANGE = re.compile(rb"\x1b\[\?([0-9;]{1,40})([hl])")
_RESET_WHEN_SET = {
    1049: b"\x1b[?1049l",  # the alternate screen, in its three spellings
    1047: b"\x1b[?1047l",
    47: b"\x1b[?47l",
    1000: b"\x1b[?1000l",  # mouse reports
    1002: b"\x1b[?1002l",
    1003: b"\x1b[?1003l",
    1005: b"\x1b[?1005l",
    1006: b"\x1b[?1006l",
    1015: b"\x1b[?1015l",
    1004: b"\x1b[?1004l",  # focus reports
    2004: b"\x1b[?2004l",  # bracketed paste
    1: b"\x1b[?1l",  # application cursor keys
}
_RESET_WHEN_UNSET = {25: b"\x1b[?25h"}  # a hidden cursor
_LONGEST_CHANGE = 48


class ModeTracker:
    """Remembers which modes of the terminal a command switched, from what it printed."""

    def __init__(self) -> None:
        self._changed: dict[int, bytes] = {}
        self._tail = b""

    def see(self, output: bytes) -> None:
        data = self._tail + output
        if b"\x1b[?" in data:
            for numbers, letter in _MODE_CHANGE.findall(data):
                for number in map(int, filter(None, numbers.split(b";"))):
                    self._note(number, letter == b"h")
        start = data.rfind(b"\x1b", max(0, len(data) - _LONGEST_CHANGE))
        self._tail = data[start:] if start >= 0 and not _MODE_CHANGE.match(data[start:]) else b""

    def _note(self, number: int, on: bool) -> None:
        reset = _RESET_WHEN_SET.get(number) if on else _RESET_WHEN_UNSET.get(number)
        if reset is not None:
            self._changed[number] = reset
        else:
            self._changed.pop(number, None)

    def resets(self) -> bytes:
        """What puts back every mode that is still changed."""
        return b"".join(self._changed.values())


class CallerTerminal:
    """The terminal behind descriptor `fd`: restored on every way out. It is raw while the command
    runs, if the command reads it (`typed`); else its keys act on ART as on any program.

    Used as a context manager. While ART is a background job the terminal is left alone, as any
    background program must; a stop and a continue (SIGTSTP, SIGCONT) hand it over and take it back.
    """

    def __init__(self, fd: int, pty: int, *, typed: bool = True) -> None:
        self.fd = fd
        self._typed = typed
        self._pty = pty
        self.state = termios.tcgetattr(fd)
        self.modes = ModeTracker()
        self.raw = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> CallerTerminal:
        handlers = ((signal.SIGWINCH, self._resized), (signal.SIGCONT, self._continued))
        for number, handler in handlers:
            self._previous[number] = signal.signal(number, handler)
        self._previous[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._stopped)
        self.copy_size()
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back(flush=True)
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self.fd) == os.getpgrp()
        except OSError:
            return True

    def copy_size(self) -> None:
        """Give the PTY the size of the caller's terminal."""
        import fcntl

        with contextlib.suppress(OSError):
            size = fcntl.ioctl(self.fd, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(self._pty, termios.TIOCSWINSZ, size)

    def _take(self) -> None:
        if self._typed and self.in_foreground():
            with contextlib.suppress(termios.error):
                tty.setraw(self.fd, termios.TCSADRAIN)
                self.raw = True

    def _give_back(self, *, flush: bool) -> None:
        resets = self.modes.resets()
        with contextlib.suppress(OSError):
            if resets and self.in_foreground():
                os.write(self.fd, resets)
        if not self.raw:
            return
        self.raw = False
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self.fd, termios.TCSAFLUSH if flush else termios.TCSADRAIN, self.state)

    def _resized(self, number: int, frame: FrameType | None) -> None:
        self.copy_size()

    def _continued(self, number: int, frame: FrameType | None) -> None:
        self.copy_size()
        self._take()

    def _stopped(self, number: int, frame: FrameType | None) -> None:
        self._give_back(flush=False)
        os.kill(os.getpid(), signal.SIGSTOP)
