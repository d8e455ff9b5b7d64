"""A git repository in a transfer: one unit, which goes as a whole or not at all.

The paths of a `.git` directory are decided on one by one like all others. Here these decisions become one: a
repository that only the sandbox changed goes forward on the host; one in which both committed stays as the
host has it, with its files, whatever is to win elsewhere, and what was committed inside stands beside it at
`refs/art/BRANCH/`. Objects never conflict, since their name is the digest of their contents
(gitformat-pack(5)).

`git status` writes an index anew wherever it is typed, so that two different ones are no sign of two people's
work. The host's gives way where nothing is lost by that: nothing is staged in it that its HEAD does not have,
and the branch and HEAD are those that the sandbox's goes with.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from art_core.git.host_git import ask
from art_core.git.index_file import listed
from art_core.store.blocks import Blocks
from art_core.transfer.decisions import Decision, in_repository
from art_core.transfer.host_files import HostTree
from art_core.trees import Entry, TreeReader

_INDEX = re.compile(rb"(?:.*/)?\.git/index\Z", re.DOTALL)
_REF = re.compile(rb"ref: (refs/heads/[^\0\n]+)\n\Z")
_REFS = (b"refs/heads/", b"refs/tags/", b"refs/stash")
_KEPT = (b"logs/", b"COMMIT_EDITMSG", b"FETCH_HEAD", b"ORIG_HEAD", b"gc.log", b"gitk.cache")
"""What git notes by the way: the host's stays, and that is no conflict."""
_BEGUN = (b"MERGE_HEAD", b"CHERRY_PICK_HEAD", b"REVERT_HEAD", b"rebase-merge", b"rebase-apply")
"""What git keeps of a merge or the like that is not finished."""
_NUMBER = re.compile(rb"[0-9a-f]{40}([0-9a-f]{24})?")
_SIZE_LIMIT = 1 << 26
"""Bytes of an index, or a file with references, that is looked into; a larger one stays a conflict."""
_HEAD_LIMIT = 4096
_CARRIED = ("carry", "accept", "alike")
_UNTOUCHED = ("agreed", "alike", "gone", "protected", "unseen")
"""Verdicts after which nothing is done to the host."""


class _Both:
    """A workspace's repositories on the host and in a store."""

    def __init__(self, tree: TreeReader, host: HostTree) -> None:
        self._tree = tree
        self._host = host

    def inside(self, path: bytes, limit: int = _SIZE_LIMIT) -> bytes | None:
        """What a file of the sandbox holds; None where there is none that can be read, up to a limit."""
        entry = self._tree.shows(path)
        if entry is None or entry.kind != "file" or entry.size > limit:
            return None
        with suppress(OSError):
            return _whole(entry, self._host.blocks(entry) if entry.shown else self._tree.blocks(entry))
        return None

    def outside(self, path: bytes) -> bytes | None:
        """What a file of the host holds; None where there is none that can be read, up to a limit."""
        entry = self._host.seen(path)
        if entry is None or entry.kind != "file" or entry.size > _SIZE_LIMIT:
            return None
        with suppress(OSError):
            return _whole(entry, self._host.blocks(entry))
        return None

    def read(self, entry: Entry) -> bytes:
        """What an entry of the sandbox's holds; nothing of one that is too large. Raises OSError."""
        return _whole(entry, self._tree.blocks(entry))

    def commit_inside(self, top: bytes, name: bytes) -> str:
        """What a reference of the sandbox leads to; empty where that is not known."""
        number = (self.inside(top + b"/" + name) or b"").strip()
        if not number:
            number = _packed(self.inside(top + b"/packed-refs") or b"").get(name, b"")
        return number.decode() if _NUMBER.fullmatch(number) else ""

    def host_has(self, top: bytes, name: bytes) -> bool:
        """Whether the host's branch of a name holds what that of the sandbox does."""
        commit = self.commit_inside(top, name) if name.startswith(b"refs/heads/") else ""
        ancestor = ("merge-base", "--is-ancestor", commit, os.fsdecode(name))
        return bool(commit) and self.git(top, *ancestor)[0] == 0

    def has_nothing_staged(self, top: bytes) -> bool:
        """Whether git says of the host's index that it is its HEAD."""
        return self.git(top, "diff-index", "--cached", "--quiet", "HEAD", "--")[0] == 0

    def git(self, top: bytes, *words: str, text: bytes = b"") -> tuple[int, str]:
        """See `host_git.ask`."""
        try:
            return ask(self._host.directory(_work_tree(top)), *words, text=text)
        except OSError as error:
            return -1, str(error)


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


class _Indexes:
    """Decides on them once the rest of their repositories was decided on."""

    def __init__(self, tree: TreeReader, host: HostTree, both: _Both) -> None:
        self._tree = tree
        self._host = host
        self._both = both
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
        elif decision.verdict == "conflict" and _INDEX.match(path) and _is_own(decision.entry):
            self._wait(decision)

    def _wait(self, decision: Decision) -> None:
        top = decision.path[: -len(b"index")]
        head = self._head if self._head is not None and self._head.path == top + b"HEAD" else None
        found = _REF.match(self._both.inside(top + b"HEAD", _HEAD_LIMIT) or b"")
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
        if entry is None or present is None or present.kind != "file" or present.nlink > 1:
            return decision
        try:
            inside = listed(self._both.read(entry))
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
        if self._goes_with(waiting) and self._both.has_nothing_staged(waiting.top):
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


class PulledRepositories:
    """Makes one decision of those on the paths of each repository: see all of them, then `judge`, and ask for
    each what has `become` of it."""

    def __init__(self, tree: TreeReader, host: HostTree, branch: str) -> None:
        """`branch` is that of the store, for the names of what the host gets beside its own."""
        self._both = _Both(tree, host)
        self._branch = branch
        self._conflicts: dict[bytes, dict[bytes, Decision]] = {}
        """What conflicts in each repository, by its path in it; objects do not."""
        self._refs: dict[bytes, dict[bytes, Entry]] = {}
        """What has references in each repository, and was changed inside."""
        self._divided: dict[bytes, bytes] = {}
        """Repositories that both sides changed, and the path in each at which that is told."""
        self._indexes = _Indexes(tree, host, self._both)

    def see(self, decision: Decision) -> None:
        """Take in a decision."""
        self._indexes.note(decision)
        found = in_repository(decision.path)
        if found is None or decision.verdict not in ("carry", "accept", "conflict"):
            return
        top, rest = found
        entry = decision.entry
        refers = rest.startswith(_REFS) or rest in (b"HEAD", b"packed-refs")
        if entry is not None and entry.kind == "file" and refers:
            self._refs.setdefault(top, {})[rest] = entry
        if decision.verdict == "conflict" and not (found.is_object or rest.startswith(_KEPT)):
            self._conflicts.setdefault(top, {})[rest] = decision

    def judge(self) -> None:
        """Decide, when all was seen."""
        self._indexes.decide()
        for top, conflicts in self._conflicts.items():
            ahead = [rest for rest in conflicts if self._both.host_has(top, rest)]
            left = [rest for rest in conflicts if rest not in ahead and rest != b"index"]
            if left:
                self._divided[top] = min(left, key=lambda rest: (not rest.startswith(_REFS), rest))
            elif not ahead and top in self._refs and self._is_conflict(conflicts.get(b"index")):
                self._divided[top] = b"index"

    def _is_conflict(self, index: Decision | None) -> bool:
        return index is not None and self._indexes.decided(index).verdict == "conflict"

    def holds(self, path: bytes) -> bool:
        """Whether a path is in a repository that stays as the host has it, or among its files."""
        return any((path + b"/").startswith(top.removesuffix(b".git")) for top in self._divided)

    def become(self, decision: Decision) -> Decision | None:
        """What is done instead; None when nothing is, and nothing is told."""
        if decision.verdict in _UNTOUCHED:
            return decision
        found = in_repository(decision.path)
        if found is None:
            return None if self.holds(decision.path) else decision
        top, rest = found
        told = self._divided.get(top)
        if found.is_object:
            stays = decision.entry is None and told is not None
            has = decision.present is not None and decision.present.kind == "file"
            return None if stays or (decision.verdict == "conflict" and has) else decision
        if told is not None:
            return decision._replace(verdict="conflict", why=self._why(told)) if rest == told else None
        decision = self._indexes.decided(decision)
        return None if decision.verdict == "conflict" else decision

    def keep_commits(self) -> list[tuple[bytes, str]]:
        """Give what was committed inside names on the host, where both sides changed a repository and the
        objects were carried. What that could not be done for, and why."""
        failed = []
        for top in self._divided:
            news = self._news(top)
            if news and (why := self._kept(top, news)):
                failed.append((top, f"what was committed inside got no name here: {why}"))
        return failed

    def _why(self, told: bytes) -> str:
        name = os.fsdecode(told.removeprefix(b"refs/")) if told.startswith(_REFS) else "heads/NAME"
        both = "something is staged on the host" if told == b"index" else "both sides changed this repository"
        return (
            f"{both}: it and its files stay as they are here, and what was committed inside is at refs/art/"
            f"{self._branch}/ after a pull (git merge refs/art/{self._branch}/{name}, then art push)"
        )

    def _news(self, top: bytes) -> dict[bytes, bytes]:
        """What was committed inside: references, and what each leads to."""
        changed = self._refs.get(top, {})
        numbers = _packed(self._both.read(changed[b"packed-refs"])) if b"packed-refs" in changed else {}
        for name, entry in changed.items():
            numbers[name] = self._both.read(entry).strip()
        return {
            name: number
            for name, number in numbers.items()
            if name.startswith(_REFS) and _NUMBER.fullmatch(number)
        }

    def _kept(self, top: bytes, news: dict[bytes, bytes]) -> str:
        """Why it could not be done, empty when it was."""
        numbers = b"".join(number + b"\n" for number in news.values())
        code, said = self._both.git(
            top, "rev-list", "--objects", "--quiet", "--stdin", "--not", "--all", text=numbers
        )
        if code:
            return f"not all of it is there: {said}"
        prefix = b"refs/art/" + self._branch.encode()
        lines = (
            b"update %s/%s %s\n" % (prefix, name.removeprefix(b"refs/"), number)
            for name, number in news.items()
        )
        code, said = self._both.git(top, "update-ref", "--stdin", text=b"".join(lines))
        return said if code else ""


class PushedRepositories:
    """Says which paths of a repository the host's wins at a push, because its branch holds all that was
    committed inside."""

    def __init__(self, tree: TreeReader, host: HostTree) -> None:
        self._both = _Both(tree, host)
        self._merged: dict[bytes, bool] = {}

    def host_wins(self, path: bytes) -> bool:
        found = in_repository(path)
        if found is None:
            return False
        top, rest = found
        if found.is_object:
            return True
        if rest.startswith(_REFS):
            return self._both.host_has(top, rest)
        if rest != b"index" and not rest.startswith(_KEPT):
            return False
        if top not in self._merged:
            self._merged[top] = self._is_merged(top)
        return self._merged[top]

    def _is_merged(self, top: bytes) -> bool:
        head = self._both.outside(top + b"/HEAD")
        if head is None or head != self._both.inside(top + b"/HEAD"):
            return False
        return self._both.host_has(top, head.removeprefix(b"ref:").strip())


def _packed(text: bytes) -> dict[bytes, bytes]:
    """The references of a file of them, and what each leads to (git-pack-refs(1))."""
    pairs = (line.split(b" ") for line in text.split(b"\n") if not line.startswith((b"#", b"^")))
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def _is_own(entry: Entry | None) -> bool:
    """Whether the store has all of a file, which it made at its path or in the place of the host's."""
    if entry is None or entry.kind != "file" or entry.partial:
        return False
    return entry.lower in (None, entry.path)


def _whole(entry: Entry, blocks: Blocks) -> bytes:
    """All that is in a file; nothing of one that is too large. Raises OSError."""
    if entry.size > _SIZE_LIMIT:
        return b""
    contents = bytearray(entry.size)
    for offset, block in blocks:
        contents[offset : offset + len(block)] = block
    return bytes(contents[: entry.size])


def _work_tree(top: bytes) -> bytes:
    """The directory that a `.git` is in."""
    return top.rstrip(b"/").removesuffix(b".git").rstrip(b"/")
