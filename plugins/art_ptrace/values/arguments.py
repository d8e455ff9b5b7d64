"""What an argument is: a number, or something in the program's memory that is fetched while the
program stands still and written later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from art_ptrace.values.scalars import Show, pointer
from art_ptrace.values.text_escapes import STRING_LIMIT, escaped, quoted

Read = Callable[[int, int], bytes]
"""Read up to so many bytes at an address of the program; fewer, or none, where that cannot be read."""
Values = Sequence[int]
PATH_MAX = 4096
_FIRST_READ = 256
_END = bytes(1)
_STRUCTURES_KEPT = 256


class Argument(NamedTuple):
    """One argument. `show` writes its value; or, when it points to something, `fetch` gets what is
    needed of that (None: it cannot be read) at the beginning or the end of the call, and `render`
    writes it. `render` gets the call's values and its result, and None as the result of a call
    that never ended. `narrow`: it has the same layout in a program with 32-bit words. `spread`: `render`
    gives all texts from here to the last argument, which may be none."""

    show: Show | None = None
    at: Literal["entry", "exit"] = "entry"
    fetch: Callable[[Read, int, Values, int], Any] | None = None
    render: Callable[[Any, int, Values, int | None], str | Sequence[str]] | None = None
    narrow: bool = False
    spread: bool = False


def number(show: Show) -> Argument:
    return Argument(show=show, narrow=True)


def fetch_string(read: Read, address: int, limit: int = PATH_MAX) -> bytes | None:
    """The bytes up to NUL, at most `limit` and one more; None when not even one can be read."""
    if not address:
        return None
    data = read(address, _FIRST_READ)
    end = data.find(0)
    if end >= 0:
        return data[:end]
    while len(data) <= limit and (more := read(address + len(data), min(4096, limit + 1 - len(data)))):
        end = more.find(0)
        if end >= 0:
            return data + more[:end]
        data += more
    return data or None


def _render_path(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    return pointer(value) if raw is None else quoted(raw, PATH_MAX)


def _fetch_path(read: Read, value: int, values: Values, result: int) -> bytes | None:
    text, end, _ = read(value, _FIRST_READ).partition(_END)
    return text if end else fetch_string(read, value)


PATH = Argument(fetch=_fetch_path, render=_render_path, narrow=True)
"""A path, or another short text, shown whole."""


def _render_text(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    return pointer(value) if raw is None else quoted(raw)


TEXT = Argument(
    fetch=lambda read, value, values, result: fetch_string(read, value, STRING_LIMIT),
    render=_render_text,
    narrow=True,
)
"""A text that is cut as data is."""


def data(size: int) -> Argument:
    """Bytes that the program hands in; argument number `size` says how many."""

    def fetch(read: Read, value: int, values: Values, result: int) -> bytes | None:
        wanted = values[size]
        found = read(value, min(wanted, STRING_LIMIT + 1)) if value and wanted else b""
        return None if wanted and not found else found

    def render(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
        if raw is None or (not value and not raw):
            return pointer(value)
        return quoted(raw)

    return Argument(fetch=fetch, render=render, narrow=True)


def _fetch_result(read: Read, value: int, values: Values, result: int) -> bytes | None:
    if result < 0 or not value:
        return None
    if not result:
        return b""
    return read(value, min(result, STRING_LIMIT + 1)) or None


def _render_result(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    return pointer(value) if raw is None else quoted(raw)


RESULT = Argument(at="exit", fetch=_fetch_result, render=_render_result, narrow=True)
"""A buffer that the call fills; its result says how far."""


def _fetch_filled_text(read: Read, value: int, values: Values, result: int) -> bytes | None:
    return fetch_string(read, value) if result >= 0 and value else None


FILLED_TEXT = Argument(at="exit", fetch=_fetch_filled_text, render=_render_path, narrow=True)
"""A text that the call writes, up to its NUL."""


def record(
    size: int,
    write: Callable[[bytes], str],
    *,
    at: Literal["entry", "exit"] = "entry",
    narrow: bool = False,
) -> Argument:
    """A structure of so many bytes. One that the call fills is read when it succeeded."""
    write = lru_cache(_STRUCTURES_KEPT)(write)  # Programs ask the same again and again.

    def fetch(read: Read, value: int, values: Values, result: int) -> bytes | None:
        if not value or (at == "exit" and result < 0):
            return None
        found = read(value, size)
        return found if len(found) == size else None

    def render(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
        return pointer(value) if raw is None else write(raw)

    return Argument(at=at, fetch=fetch, render=render, narrow=narrow)


def array(
    count: Callable[[Values, int], int],
    size: int,
    write: Callable[[bytes], str],
    *,
    at: Literal["entry", "exit"] = "entry",
    narrow: bool = False,
) -> Argument:
    """So many structures, of which the first 32 are shown."""

    def fetch(read: Read, value: int, values: Values, result: int) -> tuple[bytes, int] | None:
        wanted = count(values, result)
        if not value or wanted < 0 or (at == "exit" and result < 0):
            return None
        found = read(value, size * min(wanted, STRING_LIMIT)) if wanted else b""
        return None if wanted and not found else (found, wanted)

    def render(raw: tuple[bytes, int] | None, value: int, values: Values, result: int | None) -> str:
        if raw is None:
            return pointer(value)
        found, wanted = raw
        parts = [write(found[start : start + size]) for start in range(0, len(found) - size + 1, size)]
        if wanted > len(parts):
            parts.append("...")
        return f"[{', '.join(parts)}]"

    return Argument(at=at, fetch=fetch, render=render, narrow=narrow)


def shown_name(raw: bytes) -> str:
    """The text in a field of fixed size."""
    return f'"{escaped(raw.partition(bytes(1))[0])}"'
