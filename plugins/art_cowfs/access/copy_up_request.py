"""What a branch is asked to keep of what it shows of the host, before the host changes there.

A directory that was renamed shows the host's at its old place, a file that was changed in part takes the rest
from there, and a file of several names is found by all of them. A pull is about to write to those places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_REQUEST_BYTES = 40_000
_ABOUT = 120
"""Bytes in a request or an answer, beside a path."""


class CopiedUp(NamedTuple):
    """What a path is by then: number, version, and the size and time of the host's file of which the rest
    still comes; `complete` when nothing does."""

    ino: int
    version: int
    base: tuple[int, int]
    complete: bool


class CopyUpRequest(NamedTuple):
    """A path of the workspace, and the host's that is shown there, None for whatever is."""

    path: bytes
    lower: bytes | None


def portions(paths: Sequence[bytes]) -> Iterator[slice]:
    """Parts of a list that fit into one request each."""
    start = size = 0
    for number, path in enumerate(paths):
        if size > _REQUEST_BYTES:
            yield slice(start, number)
            start, size = number, 0
        size += 4 * len(path) + _ABOUT
    if start < len(paths):
        yield slice(start, len(paths))


def request(wanted: Sequence[CopyUpRequest], *, contents: bool) -> dict[str, object]:
    """For a server."""
    paths = [[one.path.hex(), None if one.lower is None else one.lower.hex()] for one in wanted]
    return {"ask": "secure", "paths": paths, "contents": contents}


def wanted_of(request: Mapping[str, Any]) -> list[CopyUpRequest]:
    """Out of a request. Raises LookupError, TypeError or ValueError."""
    return [
        CopyUpRequest(bytes.fromhex(path), None if lower is None else bytes.fromhex(lower))
        for path, lower in request["paths"]
    ]


def answer(found: Sequence[CopiedUp | None]) -> dict[str, object]:
    return {"secured": found}


def found_of(answer: Mapping[str, Any]) -> list[CopiedUp | None]:
    """Out of an answer. Raises LookupError, TypeError or ValueError."""
    return [
        None if one is None else CopiedUp(int(one[0]), int(one[1]), (int(one[2][0]), int(one[2][1])), one[3])
        for one in answer["secured"]
    ]
