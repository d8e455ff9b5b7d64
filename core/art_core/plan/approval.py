"""Approval of mounts that grant more than the sandbox has: remembered by content.

What is approved is the bytes of every file that asked, and where each mount leads once links are
resolved. A change of either asks again. The records lie outside any workspace, in the caller's
own state directory, which no sandbox sees.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from art_core.config import regular_file
from art_core.contracts import Workspace
from art_core.errors import ApprovalNeeded, ArtError
from art_core.view.mounts import Grant

_FORMAT = 1


class Approvals:
    """The records of one user, below a state directory (which may not exist yet); those of runs with a
    preset are kept by its name, so that two agents of one workspace do not ask in turn."""

    def __init__(self, state_dir: str, preset: str = "") -> None:
        self._directory = os.path.join(state_dir, "approvals")
        self._preset = preset

    def holds(self, workspace: Workspace, evidence: Mapping[str, bytes], grants: Sequence[Grant]) -> bool:
        """Whether exactly this content was approved for this workspace."""
        record = self._read(self._file(workspace.real))
        return record is not None and record.get("content") == content_hash(evidence, grants)

    def record(self, workspace: Workspace, evidence: Mapping[str, bytes], grants: Sequence[Grant]) -> None:
        """Remember an approval; it replaces an earlier one. Raises ArtError when it cannot be kept."""
        import json
        import time

        content = {
            "format": _FORMAT,
            "workspace": workspace.real,
            "content": content_hash(evidence, grants),
            "approved_s": int(time.time()),
            "grants": [str(grant) for grant in grants],
        }
        file = self._file(workspace.real)
        temporary = f"{file}.{os.getpid()}"
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w") as opened:
                json.dump(content, opened, indent=1)
                opened.flush()
                os.fsync(fd)
            os.replace(temporary, file)
        except OSError as error:
            raise ArtError(
                f"the approval cannot be kept in {self._directory}: {error.strerror}; "
                "make it writable, or approve for one run with --trust-binds"
            ) from None

    def forget(self, workspace: Workspace) -> bool:
        """Take the approvals of a workspace back, those for presets as well; False when there were none."""
        found = False
        for file in self._files():
            record = self._read(file)
            if record is not None and record["workspace"] == workspace.real:
                os.unlink(file)
                found = True
        return found

    def listing(self) -> list[dict[str, Any]]:
        """All records, by workspace."""
        found = [record for file in self._files() if (record := self._read(file)) is not None]
        return sorted(found, key=lambda record: str(record["workspace"]))

    def _files(self) -> list[str]:
        try:
            names = sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return []
        return [os.path.join(self._directory, name) for name in names if name.endswith(".json")]

    def _file(self, workspace: str) -> str:
        import hashlib

        key = f"{workspace}\0{self._preset}" if self._preset else workspace
        return os.path.join(self._directory, hashlib.sha256(os.fsencode(key)).hexdigest() + ".json")

    def _read(self, file: str) -> dict[str, Any] | None:
        """A record; None when there is none or it is spoilt."""
        import json

        try:
            with regular_file.reading(file) as opened:
                record = json.load(opened)
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(record, dict) or record.get("format") != _FORMAT:
            return None
        return record if isinstance(record.get("workspace"), str) else None


def content_hash(evidence: Mapping[str, bytes], grants: Sequence[Grant]) -> str:
    """SHA-256 over the files that asked and over where their mounts lead."""
    import hashlib

    digest = hashlib.sha256()

    def add(*fields: bytes) -> None:
        for field in fields:
            digest.update(len(field).to_bytes(8, "big"))
            digest.update(field)

    for path, content in sorted(evidence.items()):
        add(b"file", os.fsencode(path), content)
    for mount in sorted(
        (grant.mount for grant in grants), key=lambda mount: (mount.guest, mount.source, mount.writable)
    ):
        add(b"mount", os.fsencode(mount.source), os.fsencode(mount.guest), b"rw" if mount.writable else b"ro")
    return digest.hexdigest()


def settle(
    approvals: Approvals,
    workspace: Workspace,
    evidence: Mapping[str, bytes],
    grants: Sequence[Grant],
    more: Sequence[Grant] = (),
    *,
    mode: Literal["refuse", "ask", "trust"],
    ask: Callable[[str], bool] | None = None,
    agent: str | None = None,
) -> None:
    """Return when every grant is approved: "trust" approves for this run alone, "ask" asks and
    remembers a yes. An approval of `more`, which has all of them, holds as well. Raises ApprovalNeeded
    otherwise, with the command that approves; `agent` is the preset that was typed."""
    if not grants or mode == "trust" or approvals.holds(workspace, evidence, grants):
        return
    if more and approvals.holds(workspace, evidence, more):
        return
    if mode == "ask" and ask is not None and ask(question(workspace, grants, agent)):
        approvals.record(workspace, evidence, grants)
        return
    import shlex

    typed = any(str(grant.mount.origin).startswith("--") for grant in grants)
    preset = f"--agent {shlex.quote(agent)} " if agent else ""
    cure = "--trust-binds" if typed else f"art trust {preset}-m {shlex.quote(workspace.path)}"
    others = f" (and {len(grants) - 1} more)" if len(grants) > 1 else ""
    raise ApprovalNeeded(f"not approved: {grants[0]}{others}; to approve: {cure}")


def _one_line(text: str) -> str:
    """The text with all unprintable characters escaped: a workspace must not write lines of the question."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def question(workspace: Workspace, grants: Sequence[Grant], agent: str | None = None) -> str:
    """What is put to the user; `agent` is the preset that was typed."""
    who = f"{workspace.path} with --agent {agent}" if agent else workspace.path
    lines = [f"{_one_line(who)} asks for more than a sandbox has:"]
    lines += [f"  {_one_line(str(grant))}" for grant in grants]
    return "\n".join([*lines, "Approve, until this changes?"])
