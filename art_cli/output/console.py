"""What ART itself says to the user: one line each, on standard error, that cannot drive a terminal."""

from __future__ import annotations

import os
import sys


def printable(text: str) -> str:
    """`text` with everything escaped that a terminal would not show as it is."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return (
        char.encode("unicode_escape").decode() if not "\ud800" <= char <= "\udfff" else f"\\u{ord(char):04x}"
    )


def say(kind: str, message: str) -> None:
    """Print `art: KIND: MESSAGE`; where nobody can read it any more, it is dropped."""
    line = f"art: {kind}: {printable(message)}\n"
    data = line.encode(sys.stderr.encoding or "utf-8", "backslashreplace")
    try:
        sys.stderr.flush()
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        return


def complain(message: str) -> None:
    """Say what went wrong."""
    say("error", message)


def note(message: str) -> None:
    """Say what a user should know."""
    say("note", message)


def can_ask() -> bool:
    """Whether somebody sits there who can be asked."""
    return os.isatty(0) and os.isatty(2)


def ask(question: str) -> bool:
    """Ask on the terminal; only a plain yes is one."""
    lines = [printable(line) for line in question.splitlines()]
    os.write(2, "\n".join(lines).encode("utf-8", "backslashreplace") + b" [y/N] ")
    # A terminal gives one line at a time, so nothing is taken from what the command will read.
    answer = os.read(0, 1024)
    if not answer.endswith(b"\n"):
        os.write(2, b"\n")
    return answer.strip().lower() in (b"y", b"yes")
