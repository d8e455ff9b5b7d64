"""What a pull does with a git index that both sides wrote: `git status` writes it anew wherever it is typed
(gitformat-index(5)), so that two different ones are no sign of two people's work.

The host's gives way where nothing is lost by that: nothing is staged in it that its HEAD does not have, and
the branch and HEAD are those that the sandbox's goes with. Two that list the same are left as they are.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
from typing import NamedTuple

from art_core.store.blocks import Blocks
from art_core.transfer.decisions import Decision
from art_core.transfer.host_files import HostTree
from art_core.trees import Entry, TreeReader

_NAME = re.compile(rb"(?:.*/)?\.git/index\Z", re.DOTALL)
_REF = re.compile(rb"ref: (refs/heads/[^\0\n]+)\n\Z")
_SIZE_LIMIT = 1 << 26
"""Bytes of an index that is looked into; a larger one stays a conflict."""
_HEAD_LIMIT = 4096
_HASH = 20
_ENTRY = struct.Struct(f">24xI12x{_HASH}sH")
_EXTENDED = 0x4000
_BEGUN = (b"MERGE_HEAD", b"CHERRY_PICK_HEAD", b"REVERT_HEAD", b"rebase-merge", b"rebase-apply")
"""What git keeps of a merge or the like that is not finished."""
_TIMEOUT_S = 60
_BRANCH_STAYS = "it goes with a branch that is left alone"
_CARRIED = ("carry", "accept", "alike")


class Listed(NamedTuple):
    """One entry of an index; `flags` are the two words of flags, without the length of the name."""

    path: bytes
    mode: int
    name: bytes
    flags: int


class _Waiting:
    """An index that both sides wrote, and what was decided on HEAD and on where its branch is kept."""

    def __init__(self, decision: Decision, head: Decision | None, branch: bytes, kept_in: bytes) -> None:
        """`branch` is the file that a branch has while it is not packed; empty where HEAD names none."""
        self.decision = decision
        self.top = decision.path[: -len(b"index")]
        self.head = head
        self.branch = branch
        self.kept_in = kept_in
        self.on: dict[bytes, Decision] = {}
        """What was decided on both files."""


class Indexes:
    """Decides on them once the rest of their repositories was decided on."""

    def __init__(self, tree: TreeReader, host: HostTree) -> None:
        self._tree = tree
        self._host = host
        self._head: Decision | None = None
        self._waiting: list[_Waiting] = []
        self._branches: dict[bytes, _Waiting] = {}
        """The same by the paths at which their branches are kept."""
        self._decided: dict[bytes, Decision] = {}

    def note(self, decision: Decision) -> None:
        """Look at each decision, in the order of a walk: HEAD is before the index, branches are after it."""
        path = decision.path
        if path.endswith(b".git/HEAD"):
            self._head = decision
        elif path in self._branches:
            self._branches[path].on[path] = decision
        elif _NAME.match(path) and (_is_forced(decision) or _is_own(decision)):
            self._wait(decision)

    def _wait(self, decision: Decision) -> None:
        top = decision.path[: -len(b"index")]
        head = self._head if self._head is not None and self._head.path == top + b"HEAD" else None
        found = _REF.match(self._inside(top + b"HEAD"))
        branch = kept_in = b""
        if found is not None:
            branch = kept_in = top + found[1]
            if self._tree.shows(branch) is None:
                kept_in = top + b"packed-refs"
        waiting = _Waiting(decision, head, branch, kept_in)
        self._waiting.append(waiting)
        self._branches |= {path: waiting for path in (branch, kept_in) if path}

    def decide(self) -> None:
        """Once all other paths are decided on, and before any is carried."""
        for waiting in self._waiting:
            self._decided[waiting.decision.path] = self._again(waiting.decision, waiting)

    def decided(self, decision: Decision) -> Decision:
        """The decision, or the one in its place."""
        return self._decided.get(decision.path, decision)

    def _again(self, decision: Decision, waiting: _Waiting) -> Decision:
        entry, present = decision.entry, decision.present
        if decision.verdict != "conflict":
            stays = any(one.verdict == "conflict" for one in waiting.on.values())
            return decision._replace(verdict="conflict", why=_BRANCH_STAYS) if stays else decision
        if entry is None or present is None or present.kind != "file" or present.nlink > 1:
            return decision
        try:
            inside = listed(_whole(entry, self._tree.blocks(entry)))
            host = listed(_whole(present, self._host.blocks(present)))
        except OSError:
            return decision
        if inside is None or host is None:
            return decision
        if inside == host:
            return decision._replace(verdict="alike", why="")
        if any(one.flags for one in host):
            return decision  # Conflicts of a merge, or what somebody set by hand.
        if any(self._host.seen(waiting.top + name) is not None for name in _BEGUN):
            return decision
        if self._goes_with(waiting) and self._has_nothing_staged(waiting.top):
            return decision._replace(verdict="carry", why="")
        return decision

    def _goes_with(self, waiting: _Waiting) -> bool:
        """Whether HEAD and its branch are on the host, after the pull, what they were to the sandbox when it
        wrote its index."""
        head, branch = waiting.head, waiting.on.get(waiting.kept_in)
        moved = head is not None and head.verdict in _CARRIED
        if not waiting.branch:
            return moved or self._stayed(head)
        if waiting.kept_in != waiting.branch and self._host.seen(waiting.branch) is not None:
            packed = waiting.on.get(waiting.branch)
            if packed is None or packed.verdict != "remove":
                return False
        if branch is not None and branch.verdict in _CARRIED:
            return moved or self._stayed(head) or self._is_older(waiting.top + b"HEAD", head, branch)
        if moved:
            return self._stayed(branch) or self._is_older(waiting.kept_in, branch, head)
        return self._stayed(head) and self._stayed(branch)

    def _stayed(self, decision: Decision | None) -> bool:
        """Whether neither side changed it since both were the same."""
        if decision is None or decision.verdict != "agreed" or decision.agreed is None:
            return False
        return self._host.same(self._host.seen(decision.path), decision.agreed)

    def _is_older(self, path: bytes, decision: Decision | None, other: Decision | None) -> bool:
        """Whether the host's file shows inside, and nobody wrote it since the sandbox wrote the other."""
        if decision is not None or other is None or other.entry is None:
            return False
        present = self._host.seen(path)
        return present is not None and present.kind == "file" and present.version < other.entry.mtime_ns

    def _has_nothing_staged(self, top: bytes) -> bool:
        """Whether git says of the host's index that it is its HEAD. The settings are the host's own, and
        nothing that they name is run."""
        git = shutil.which("git")
        if git is None:
            return False
        above = top[: -len(b".git/")]
        try:
            fd = self._host.directory(above.rstrip(b"/"))
            where = os.readlink(f"/proc/self/fd/{fd}")
            ended = subprocess.run(
                [git, *_SAFE, "diff-index", "--cached", "--quiet", "HEAD", "--"],
                cwd=f"/proc/self/fd/{fd}",
                env=_environment(os.path.dirname(where)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return ended.returncode == 0

    def _inside(self, path: bytes) -> bytes:
        """The contents of a small file, empty where there is none."""
        entry = self._tree.shows(path)
        if entry is None or entry.kind != "file" or entry.size > _HEAD_LIMIT:
            return b""
        try:
            return _whole(entry, self._host.blocks(entry) if entry.shown else self._tree.blocks(entry))
        except OSError:
            return b""


def _is_own(decision: Decision) -> bool:
    """Whether both sides wrote it, and the store has all of it, which it made at its path or in the place of
    the host's."""
    entry = decision.entry
    if decision.verdict != "conflict" or entry is None or entry.kind != "file" or entry.partial:
        return False
    return entry.lower in (None, entry.path)


def _is_forced(decision: Decision) -> bool:
    """Whether it may be carried over one that the host wrote."""
    return decision.verdict == "carry" and decision.present is not None


_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-pager")


def _environment(ceiling: str) -> dict[str, str]:
    """What git is told: no settings but the repository's own, none above it, nothing to fetch or to write."""
    kept = {name: os.environ[name] for name in ("PATH", "SUDO_UID") if name in os.environ}
    return kept | {
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CEILING_DIRECTORIES": ceiling,
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_TERMINAL_PROMPT": "0",
    }


def _whole(entry: Entry, blocks: Blocks) -> bytes:
    """All that is in a file; nothing of one that is too large. Raises OSError."""
    if entry.size > _SIZE_LIMIT:
        return b""
    contents = bytearray(entry.size)
    for offset, block in blocks:
        contents[offset : offset + len(block)] = block
    return bytes(contents[: entry.size])


def listed(index: bytes) -> list[Listed] | None:
    """What an index lists, without what it remembers of files; None for one that is not whole, has hashes of
    another kind, or parts that change what it means (gitformat-index(5))."""
    if len(index) < 12 + _HASH or index[:4] != b"DIRC":
        return None
    body, mark = index[:-_HASH], index[-_HASH:]
    if mark not in (hashlib.sha1(body, usedforsecurity=False).digest(), bytes(_HASH)):
        return None
    version, count = struct.unpack_from(">II", body, 4)
    if version not in (2, 3, 4):
        return None
    try:
        found, at = _entries(body, version, count)
        return found if _knows_parts(body, at) else None
    except (struct.error, ValueError):
        return None


def _entries(body: bytes, version: int, count: int) -> tuple[list[Listed], int]:
    """The entries, and where they end. Raises ValueError and struct.error for what is none."""
    found: list[Listed] = []
    at, path = 12, b""
    for _ in range(count):
        start = at
        mode, name, flags = _ENTRY.unpack_from(body, at)
        at += _ENTRY.size
        more = 0
        if flags & _EXTENDED:
            (more,) = struct.unpack_from(">H", body, at)
            at += 2
        kept = 0
        if version == 4:
            cut, at = _number(body, at)
            if cut > len(path):
                raise ValueError
            kept = len(path) - cut
        end = body.index(b"\0", at)
        path = path[:kept] + body[at:end]
        at = end + 1 if version == 4 else start + ((end - start) // 8 + 1) * 8
        found.append(Listed(path, mode, name, (flags & ~_EXTENDED & 0xF000) | more << 16))
    return found, at


def _number(body: bytes, at: int) -> tuple[int, int]:
    """A number of varying length, and where it ends. Raises ValueError."""
    value = 0
    for place in range(at, min(at + 5, len(body))):
        byte = body[place]
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, place + 1
        value += 1
    raise ValueError


def _knows_parts(body: bytes, at: int) -> bool:
    """Whether all that follows the entries may be left unread: its letters say so."""
    while at < len(body):
        name, size = struct.unpack_from(">4sI", body, at)
        if not name[:1].isupper():
            return False
        at += 8 + size
    return at == len(body)
