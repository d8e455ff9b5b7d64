"""The Python that runs ART, as the sandbox sees it.

An isolation starts a small program of its own inside, with the interpreter that runs ART. It may
live in a home (pyenv, uv), which is masked, or where root alone may go.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence

from art_core.contracts import INTERPRETER, Mount, Origin
from art_core.errors import IsolationError
from art_core.hosttree import within
from art_core.identity import Identity, closed_directory


def interpreter_mount(hidden: Sequence[str], homes: Sequence[str], identity: Identity) -> list[Mount]:
    """The mount that shows the interpreter's prefix at `INTERPRETER`; empty when it can be seen.

    Raises IsolationError when the prefix is a whole home.
    """
    program = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    unseen = any(within(program, top) for top in hidden)
    closed = closed_directory(program, identity) is not None
    unreadable = identity.host_ids is not None and not os.stat(program).st_mode & stat.S_IROTH
    if not unseen and not closed and not unreadable:
        return []
    prefix = os.path.realpath(sys.base_prefix)
    if prefix in homes or not within(program, prefix):
        raise IsolationError(
            f"ART runs with {program}, which the sandbox cannot see, and its prefix {prefix} cannot be "
            "shown alone; install ART with another Python, such as /usr/bin/python3"
        )
    return [Mount(source=prefix, guest=INTERPRETER, origin=Origin("the interpreter that runs ART"))]
