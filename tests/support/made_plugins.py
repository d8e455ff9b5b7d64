"""Makes a plugin of somebody else's on the path of a caller."""

from __future__ import annotations

from collections.abc import Callable

MakePlugin = Callable[[str, str, str], dict[str, str]]
