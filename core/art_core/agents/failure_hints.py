"""What a failed command may have lacked: git's and ssh's own words say what was wrong, this what to add."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from art_core.config.options import Options
    from art_core.contracts import Workspace

_GIT_FAILED, _SSH_FAILED = 128, 255
_COMMITTING = frozenset({"commit", "merge", "rebase", "cherry-pick", "revert", "tag", "am", "stash", "pull"})
_REMOTE = frozenset({"push", "fetch", "pull", "clone", "ls-remote", "submodule"})


def hint(
    argv: Sequence[bytes], code: int, options: Options, env: Mapping[str, str], workspace: Workspace
) -> str | None:
    """One line, or None when nothing is known to be missing."""
    words = [os.fsdecode(word) for word in argv]
    program = os.path.basename(words[0])
    if program == "git" and code == _GIT_FAILED:
        if (above := _repository_above(workspace)) is not None:
            import shlex

            place = shlex.quote(above)
            return (
                f"the repository of this workspace is above it, in {above}; to work in all of it: "
                f"art -m {place}; to read it: art --workdir host --expose {place}"
            )
        asked = set(words[1:])
        if asked & _REMOTE and not options.ssh_agent and env.get("SSH_AUTH_SOCK"):
            return "your ssh keys are not in the sandbox; --ssh-agent lends it your agent"
        if asked & _COMMITTING and not options.git:
            return "your name and e-mail are not in the sandbox; --git lends it both, for commits"
    if program in ("ssh", "scp", "sftp") and code == _SSH_FAILED and not options.ssh_agent:
        return "your ssh keys are not in the sandbox; --ssh-agent lends it your agent"
    return None


def _repository_above(workspace: Workspace) -> str | None:
    """The directory above a workspace whose repository git would find on the host (git(1), discovery)."""
    top = workspace.real
    if os.path.lexists(f"{top}/.git"):
        return None
    while top != "/":
        top = os.path.dirname(top)
        if os.path.lexists(f"{top}/.git"):
            return top
    return None
