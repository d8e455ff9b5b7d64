"""Paths as they are printed: one line each, and nothing that drives a terminal."""

from __future__ import annotations

_NAMED = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}


def quoted(path: bytes, *, spaces: bool = False) -> str:
    """A path as git prints it: in quotes with escapes as in C when a byte of it is no printable ASCII, or is
    a quote or a backslash (git-config(1), core.quotePath). With `spaces` also when it has any."""
    is_plain = all(32 <= byte < 127 and byte not in _NAMED for byte in path)
    if is_plain and not (spaces and b" " in path):
        return path.decode()
    return f'"{"".join(_escaped(byte) for byte in path)}"'


def _escaped(byte: int) -> str:
    if byte in _NAMED:
        return "\\" + _NAMED[byte]
    return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"


def readable(path: bytes) -> str:
    """The same for people: characters that can be shown stay as they are, and a space is quoted, too, so that
    what stands around the path is told from it."""
    text = path.decode("utf-8", "surrogateescape")
    if text.isprintable() and text and not any(char in '" \\' for char in text):
        return text
    shown = (
        char
        if char.isprintable() and char not in '"\\'
        else "".join(_escaped(byte) for byte in char.encode("utf-8", "surrogateescape"))
        for char in text
    )
    return f'"{"".join(shown)}"'
