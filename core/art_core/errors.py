"""Errors for the user, and the exit statuses of ART itself."""

from __future__ import annotations

FAILURE = 125
"""ART's own failure."""
CANNOT_EXECUTE = 126
"""The command exists but cannot be executed."""
NOT_FOUND = 127
"""The command does not exist."""
USAGE = 2
"""The command line is wrong."""


class ArtError(Exception):
    """Something the user can act on: one line that says what, where and what to do.

    `status` is the exit status that ends the program.
    """

    status = FAILURE


class UsageError(ArtError):
    """The command line or a call's arguments are wrong."""

    status = USAGE


class SettingsError(ArtError):
    """A settings file or variable is wrong; the message names the file and the key."""


class PluginError(ArtError):
    """A plugin is missing, ambiguous, broken, or failed while it worked."""


class WorkspaceError(ArtError):
    """The workspace cannot be used."""


class MountError(ArtError):
    """A mount that was asked for is wrong; the message names its origin."""


class ApprovalNeeded(ArtError):
    """A mount grants more than the sandbox has and nobody approved it."""


class IsolationError(ArtError):
    """The sandbox could not be started."""


class StoreError(ArtError):
    """A database cannot be used, or not everything reached it."""


class TransferError(ArtError):
    """A push or a pull cannot go on."""
