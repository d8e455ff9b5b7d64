"""Where the namespace of a run has what is mounted for it, before the isolation shows it in its places."""

from __future__ import annotations

STAGE = "/dev/shm"
"""Where the sources of a root caller's mounts, and a home that is mounted, appear in the namespace
of the run: a directory that every host has, and no user keeps a workspace in."""

HOME = f"{STAGE}/home"
"""The home that a store mounts."""
