"""Words of a command and its streams, as callers of a sandbox give them."""

from __future__ import annotations

import os
from collections.abc import Sequence

Command = Sequence[str | bytes | os.PathLike[str]]
Path = str | bytes | os.PathLike[str]
PIPE, STDOUT, DEVNULL = -1, -2, -3
"""The same as subprocess's."""
