"""What is known of one system call: its name, what to fetch of it when, and how to write it.

A call is written some thousand times a second, so what to do for its arguments is put together once,
as one expression each for fetching and for writing, and not looked up again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from art_ptrace.syscalls import library, numbers, prototypes, results
from art_ptrace.values import scalars
from art_ptrace.values.arguments import PATH, Argument, Read, Values, number

Found = dict[int, Any]
"""What was fetched, by the number of the argument."""

_T = TypeVar("_T")
Write = Callable[[Values, Found | None, int | None], _T]
_RAW = number(scalars.hexadecimal)
_NUMBER, _POINTER = number(scalars.signed), number(scalars.pointer)
_FETCH_BEFORE = "lambda read, values: {{{}}}"
_FETCH_AFTER = "lambda read, values, result: {{{}}}"
_WRITE = "lambda values, found, result: {}"


class Call:
    """One system call of one architecture.

    `before(read, values)` fetches what stands in memory when the call begins, and `after(read, values,
    result)` what it has filled; None where there is nothing. Both only while the program stands still.
    `text(values, found, result)` writes the arguments, and so does `arguments`, as a list; `result` is
    None for a call that did not end. `result(values, result, found)` is what stands after the equals sign.
    """

    __slots__ = ("after", "arguments", "before", "name", "never_returns", "plain", "result", "text")

    def __init__(self, name: str, arguments: Sequence[Argument], result: results.Result) -> None:
        self.name = name
        self.never_returns = name in prototypes.NEVER_RETURN
        self.plain = result is results.PLAIN
        self.result = result.show
        fetches = [
            (at, argument.at, argument.fetch) for at, argument in enumerate(arguments) if argument.fetch
        ]
        if result.fetch is not None:
            fetches.append((results.RESULT, "exit", result.fetch))
        before, after = (
            {at: fetch for at, when, fetch in fetches if when == wanted} for wanted in ("entry", "exit")
        )
        self.before: Callable[[Read, Values], Found] | None = _fetching(_FETCH_BEFORE, before, "0")
        self.after: Callable[[Read, Values, int], Found] | None = _fetching(_FETCH_AFTER, after, "result")
        self.text, self.arguments = _writing(arguments)


def _fetching(form: str, fetches: Mapping[int, Callable[..., Any]], result: str) -> Any:
    """The function that gets all of that; None when it is nothing."""
    if not fetches:
        return None
    parts = [f"{at}: f{_key(at)}(read, values[{at}], values, {result})" for at in fetches]
    return eval(form.format(", ".join(parts)), {f"f{_key(at)}": fetch for at, fetch in fetches.items()})


def _key(at: int) -> str:
    return str(at).replace("-", "_")


def _writing(arguments: Sequence[Argument]) -> tuple[Write[str], Write[list[str]]]:
    """The functions that write the arguments as one text, and as a list."""
    names: dict[str, Any] = {}
    parts = []
    for at, argument in enumerate(arguments):
        names[f"w{at}"] = argument.show or argument.render
        if argument.show is not None:
            part = f"w{at}(values[{at}])"
        else:
            raw = f"found[{at}]" if argument.fetch is not None else "None"
            part = f"w{at}({raw}, values[{at}], values, result)"
        parts.append(f"*{part}" if argument.spread else part)
    as_list = eval(_WRITE.format(f"[{', '.join(parts)}]"), names)
    if any(argument.spread for argument in arguments):
        return lambda values, found, result: ", ".join(as_list(values, found, result)), as_list
    text = ", ".join(f"{{{part}}}" for part in parts)
    return eval(_WRITE.format(f"f'{text}'"), names), as_list


def unfetched(found: Found | None) -> Found:
    """`found` of a call that did not end: what would have been fetched then cannot be read."""
    return {**dict.fromkeys(range(6)), **(found or {})}


def _by_library(name: str) -> tuple[Argument, ...] | None:
    """The arguments by python-ptrace's prototype of a call."""
    tables = library.module("syscall.prototypes")
    if name not in tables.SYSCALL_PROTOTYPES:
        return None
    found = []
    for kind, argument in tables.SYSCALL_PROTOTYPES[name][1]:
        if kind == "const char *" and argument in tables.FILENAME_ARGUMENTS:
            found.append(PATH)
        else:
            found.append(_POINTER if kind.endswith("*") else _NUMBER)
    return tuple(found)


@lru_cache(1024)  # A program may make up numbers.
def call(architecture: int, at: int) -> Call:
    """The call of that number. Pointers to what has another layout in a program with 32-bit words, or
    x32's, are written as addresses."""
    name = numbers.name_of(architecture, at)
    narrow = architecture in numbers.NARROW or (architecture == numbers.X86_64 and at >= 1 << 30)
    arguments = prototypes.ARGUMENTS.get(name)
    result = results.RESULTS.get(name, results.PLAIN)
    if narrow and arguments is not None:
        whole = any(argument.spread and not argument.narrow for argument in arguments)
        arguments = None if whole else tuple(each if each.narrow else _POINTER for each in arguments)
        result = result if result.narrow else results.PLAIN
    if arguments is None:
        arguments = _by_library(name)
    return Call(name, (_RAW,) * 6 if arguments is None else arguments, result)
