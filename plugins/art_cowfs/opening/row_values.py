"""What a row holds, before anybody works with it: a column of SQLite takes any kind of value
(https://sqlite.org/datatype3.html), and a hostile database has it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Kinds = Mapping[str, type | tuple[type, ...]]
"""Column -> the kinds of value that ART writes there."""


def checked(row: Sequence[Any], kinds: Kinds) -> Sequence[Any]:
    """The row, in the order of the columns. Raises ValueError that names what no ART wrote."""
    for value, (column, kind) in zip(row, kinds.items(), strict=True):
        if not isinstance(value, kind):
            raise ValueError(f"{column} is a {type(value).__name__}")
    return row


def texts(value: str, column: str) -> list[str]:
    """A list of texts that is kept as JSON. Raises ValueError."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{column} is no list of texts")
    return found
