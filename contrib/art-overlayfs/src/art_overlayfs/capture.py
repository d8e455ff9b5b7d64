"""Bringing what a session changed into the database, and that all at once.

The kernel's upper directory has each file that was changed, whole; a character device 0/0 for a name that is
gone; an attribute on a directory that shows nothing of what is below; and directories above a change. It
was written by a sandbox: nothing in it is followed, and what is not a file of one's own is left out.

It goes into a new layer under a name of its own, in as many transactions as it takes; the last one makes
that layer the branch's, and remembers that the session is captured. Whoever is killed before has changed
nothing of the branch.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import apsw

from art_core.errors import StoreError
from art_core.store.blocks import of_file
from art_cowfs.library import (
    BLOCK,
    CHUNK,
    WHOLE,
    Bystander,
    CowNode,
    Lower,
    OpenBranch,
    Place,
    Placing,
    add_layer,
    add_point,
    chain_of,
    connect,
    inherit,
    is_empty,
    joined,
    within,
)
from art_fusefs.backend import ROOT
from art_overlayfs import deep, states
from art_overlayfs.attributes import Attributes
from art_overlayfs.uppers import HOME, WORKSPACE, Upper

_UNDERWAY = "capturing-"
_PLAIN = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK)
_UNKNOWN = (0, 1)
"""The size and time of a host file that changed while a session might have read it: no file has them, so
a pull takes it for changed on both sides."""


class _Directory(NamedTuple):
    path: bytes
    node: CowNode


class Capture:
    """Puts what is in the upper directories of a session into a tree that is held for writing."""

    def __init__(self, into: OpenBranch, upper: Upper, lower: Lower | None) -> None:
        self._tree = into.tree
        self._workspaces = into.workspaces
        """Names in the home that are directories, whatever the session left there."""
        self._placing = Placing(into, lambda: into.tree.node(ROOT), shows=False)
        self._upper = upper
        self._lower = lower
        # What the host put into a directory since then the session may not have seen.
        self._tree.covers.now = lambda: upper.about.started_ns
        self._attributes = Attributes(private=os.geteuid() != 0)
        self._linked: dict[int, CowNode] = {}
        self._closed: list[tuple[bytes, int]] = []
        """Directories that even their owner may not enter, and their modes."""
        self.left_out: dict[str, int] = {}
        """What could not be kept, and how often."""

    def run(self) -> None:
        """Raises OSError."""
        root = self._tree.node(ROOT)
        name = os.fsencode(self._upper.about.workspace)
        for part, top in ((HOME, root), (WORKSPACE, self._tree.lookup(root, name))):
            if top is not None:
                fd = os.open(
                    self._upper.of(part), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                )
                try:
                    self._linked.clear()
                    self._walk(fd, top, self._workspaces if part == HOME else ())
                finally:
                    while self._closed:  # It may be mounted over later, as it is.
                        self._set_mode(fd, *self._closed.pop())
                    os.close(fd)

    def _walk(self, top: int, node: CowNode, fixed: Collection[bytes]) -> None:
        found = within(os.fstat(top))
        if (found.st_mode, found.st_mtime_ns) != (node.mode, node.mtime):
            self._dress(node, found, f"/proc/self/fd/{top}")
        waiting = [_Directory(b"", node)]
        while waiting:
            directory = waiting.pop()
            fd = deep.directory(top, directory.path)
            try:
                for name in sorted(os.listdir(os.fsencode(f"/proc/self/fd/{fd}"))):
                    if not directory.path and name in fixed and not _is_directory(fd, name):
                        os.unlink(name, dir_fd=fd)  # The next run is mounted over what stays here.
                        self._leave_out("what was put in the place of a workspace")
                        continue
                    self._placing.make_room()
                    below = self._entry(fd, directory, name)
                    if below is not None:
                        waiting.append(below)
            finally:
                os.close(fd)

    def _let_in(self, fd: int, name: bytes, path: bytes, found: os.stat_result) -> None:
        """Open a directory, and its attributes, to its owner."""
        mode = stat.S_IMODE(found.st_mode)
        if os.geteuid() != 0 and mode & stat.S_IRWXU != stat.S_IRWXU:
            self._closed.append((path, mode))
            os.chmod(name, mode | stat.S_IRWXU, dir_fd=fd)  # It is no link: no one else works here.

    def _set_mode(self, top: int, path: bytes, mode: int) -> None:
        above, _, name = path.rpartition(b"/")
        fd = deep.directory(top, above)
        try:
            os.chmod(name, mode, dir_fd=fd)
        finally:
            os.close(fd)

    def _entry(self, fd: int, directory: _Directory, name: bytes) -> _Directory | None:
        """Take in one name; the directory that it is, if it is one."""
        found = within(os.lstat(name, dir_fd=fd))
        node = directory.node
        present = self._tree.lookup(node, name)
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFCHR and found.st_rdev == 0:
            if present is not None:
                self._drop(node, name, present)
            return None
        if kind not in _PLAIN:
            self._leave_out("devices")
            return None
        path = f"/proc/self/fd/{fd}/{os.fsdecode(name)}"
        if kind == stat.S_IFDIR:
            where = joined(directory.path, name)
            self._let_in(fd, name, where, found)
            return _Directory(where, self._directory(node, name, present, found, path))
        if found.st_nlink > 1 and found.st_ino in self._linked:
            self._link(node, name, present, self._linked[found.st_ino])
            return None
        if kind == stat.S_IFREG:
            made = self._file(node, name, present, found, path)
        else:
            target = os.readlink(name, dir_fd=fd) if kind == stat.S_IFLNK else b""
            made = self._special(node, name, present, found, target)
        if found.st_nlink > 1:
            self._linked[found.st_ino] = made
        return None

    # --- one entry each ------------------------------------------------------------------------

    def _directory(
        self, above: CowNode, name: bytes, present: CowNode | None, found: os.stat_result, path: str
    ) -> CowNode:
        names = os.listxattr(path)
        if present is None or not stat.S_ISDIR(present.mode) or self._attributes.is_opaque(path, names):
            if present is not None:
                self._drop(above, name, present)
            present = self._new(above, name, found)
            present.nlink = 2
            above.nlink += 1
        self._dress(present, found, path, names)
        return present

    def _file(
        self, above: CowNode, name: bytes, present: CowNode | None, found: os.stat_result, path: str
    ) -> CowNode:
        with _opened_file(path, found) as source:
            names = os.listxattr(source)
            # Of a file of several names one may have been changed alone: that is another file now.
            alone = present is not None and present.nlink == found.st_nlink == 1
            if present is not None and not (
                alone and stat.S_ISREG(present.mode) and self._attributes.is_copied_up(names)
            ):
                self._drop(above, name, present)
                present = None
            node = present or self._new(above, name, found)
            changing = self._is_changing(above, name)
            if present is None or changing or not self._updated(node, source, found):
                self._placing.fill(node, found.st_size, of_file(source))
            self._dress(node, found, f"/proc/self/fd/{source}", names)
            if changing and node.base_mtime:
                node.base_size, node.base_mtime = _UNKNOWN
            return node

    def _special(
        self, above: CowNode, name: bytes, present: CowNode | None, found: os.stat_result, target: bytes
    ) -> CowNode:
        if present is not None:
            self._drop(above, name, present)
        node = self._new(above, name, found)
        node.target, node.size = target, len(target)
        self._dress(node, found, "")
        if node.base_mtime and self._is_changing(above, name):
            node.base_size, node.base_mtime = _UNKNOWN
        return node

    def _link(self, above: CowNode, name: bytes, present: CowNode | None, to: CowNode) -> None:
        if present is to:
            return
        if present is not None:
            self._drop(above, name, present)
        self._tree.enter(above, name, to)
        to.nlink += 1
        self._tree.changed(to)

    def _new(self, above: CowNode, name: bytes, found: os.stat_result) -> CowNode:
        node = self._tree.new(found.st_mode, time.time_ns())
        node.nlink = 1
        self._tree.enter(above, name, node)
        self._tree.changed(above)
        return node

    def _drop(self, above: CowNode, name: bytes, node: CowNode) -> None:
        """Take a name away, with all that the database has below it."""
        self._tree.leave(above, name, node)
        if stat.S_ISDIR(node.mode):
            above.nlink = max(2, above.nlink - 1)
        waiting = [node]
        while waiting:
            gone = waiting.pop()
            if stat.S_ISDIR(gone.mode) and gone.held:
                below = [self._tree.held(gone, child) for child in self._tree.names(gone)]
                waiting += [child for child in below if child is not None]
            gone.nlink = 0 if stat.S_ISDIR(gone.mode) else gone.nlink - 1
            gone.ctime = time.time_ns()
            if gone.held:
                self._tree.changed(gone)
            if gone.nlink <= 0:
                self._tree.discard(gone)
        self._tree.changed(above)

    def _dress(
        self, node: CowNode, found: os.stat_result, path: str, names: Sequence[str] | None = None
    ) -> None:
        """Give a node the attributes of what is in the upper directory, at `path`."""
        if path:
            given = os.listxattr(path) if names is None else names
            wanted = self._attributes.of_programs(path, given)
            for key, value in self._tree.xattrs(node).items():
                if key in wanted and wanted[key] == value:
                    del wanted[key]
                elif key not in wanted:
                    self._tree.set_xattr(node, key, None)
            for key, value in wanted.items():
                self._tree.set_xattr(node, key, value)
            if any(key.startswith(("system.", "security.")) for key in given):
                self._leave_out("access lists and security attributes")
        node.mode = found.st_mode
        node.atime, node.mtime, node.ctime = found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns
        self._tree.changed(node)

    def _is_changing(self, above: CowNode, name: bytes) -> bool:
        """Whether the host's file of a name changed after the session began, which may have seen either."""
        if self._lower is None or above.origin is None:
            return False
        there = self._lower.stat(joined(above.origin, name))
        return there is not None and there.st_ctime_ns >= self._upper.about.started_ns

    def _updated(self, node: CowNode, source: int, found: os.stat_result) -> bool:
        """Write only what differs in a large file that the kernel copied up whole; False when it has to be
        taken whole: it is small, or mostly holes, or what it was cannot be read any more."""
        size = found.st_size
        if size <= WHOLE or found.st_blocks * 512 < size // 2:
            return False
        try:
            for offset in range(0, size, BLOCK):
                data = os.pread(source, BLOCK, offset)
                before = self._tree.read(node, offset, len(data))
                if data != before:
                    self._placing.make_room()
                    for start in range(0, len(data), CHUNK):
                        if data[start : start + CHUNK] != before[start : start + CHUNK]:
                            self._tree.write(node, offset + start, data[start : start + CHUNK])
        except OSError as error:
            if error.errno not in (errno.ESTALE, errno.ENXIO):
                raise
            return False
        if node.size != size:
            self._tree.resize(node, size)
        return True

    def _leave_out(self, what: str) -> None:
        self.left_out[what] = self.left_out.get(what, 0) + 1

    def notes(self) -> list[str]:
        return [f"not kept: {what} ({count})" for what, count in self.left_out.items()]


def _is_directory(fd: int, name: bytes) -> bool:
    return stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode)


@contextmanager
def _opened_file(path: str, found: os.stat_result) -> Iterator[int]:
    """A file and its attributes, also where its mode keeps even its owner out."""
    closed = os.geteuid() != 0 and not found.st_mode & stat.S_IRUSR
    if closed:
        os.chmod(path, 0o600)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        if closed:
            os.chmod(path, stat.S_IMODE(found.st_mode))


def capture(session: OpenBranch, upper: Upper, place: Place, *, branch: str, onto: str = "") -> list[str]:
    """Bring what is in an upper directory into the branch that `session` holds; or into a new branch `onto`,
    which goes on from that one. Returns what the user should know. Raises StoreError and OSError; the branch
    is as it was then."""
    frozen, pin = session.freeze()
    by = Bystander(session.path)
    connection = connect(session.path)
    underway = f"{_UNDERWAY}{upper.name}"
    try:
        with by.changing(connection):
            _drop_point(connection, underway)
            now = time.time_ns()
            add_point(
                connection,
                "branch",
                underway,
                add_layer(connection, frozen, now),
                underway,
                branch,
                now,
                "what a session changed is being brought in",
            )
        try:
            notes = _bring(session, underway, upper, place)
            with by.changing(connection):
                _take(connection, underway, branch, onto)
                states.captured(connection, upper.name)
            return notes
        except BaseException:
            with by.changing(connection):
                _drop_point(connection, underway)
            raise
    finally:
        connection.close()
        by.close()
        os.close(pin)


def _bring(session: OpenBranch, underway: str, upper: Upper, place: Place) -> list[str]:
    lower = Lower(os.dup(place.fd))
    uid, gid = upper.about.owner
    held = place._replace(fd=os.dup(place.fd))
    try:
        with OpenBranch(session.path, underway, workspace=held, uid=uid, gid=gid) as into:
            into.tree.pending.noticing.extend(session.tree.pending.noticing)
            capture = Capture(into, upper, lower)
            capture.run()
            into.tree.pending.wait()
            return capture.notes()
    finally:
        lower.close()


def _drop_point(connection: apsw.Connection, name: str) -> None:
    connection.execute("DELETE FROM point WHERE name = ?", (name,))


def _take(connection: apsw.Connection, underway: str, branch: str, onto: str) -> None:
    """The layer that was made is the branch's from now on."""
    (new, *_) = chain_of(connection, underway)
    _drop_point(connection, underway)
    if onto:
        add_point(connection, "branch", onto, new, onto, branch, time.time_ns())
        return
    (old, *_) = chain_of(connection, branch)
    if not is_empty(connection, old):
        # Somebody agreed on something meanwhile; files are changed by the one who holds the branch only.
        inherit(connection, [old], new, hides=True)
        connection.execute("DELETE FROM base WHERE layer = ?", (old,))
    if not is_empty(connection, old):
        raise StoreError(f"the branch {branch!r} was changed while a session was brought into it")
    connection.execute("UPDATE point SET layer = ? WHERE name = ?", (new, branch))
    connection.execute("DELETE FROM layer WHERE id = ?", (old,))
