"""What the host shows under the directories of a branch, and for how long that is believed.

A directory is watched before it is looked at, and then what was seen holds until an event says
otherwise: then memory forgets it at once, and the kernel is told to. What cannot be watched is
believed for a second.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator

from art_cowfs.db.schema import SEEDS
from art_cowfs.lower import watches
from art_cowfs.lower.lower import Lower, joined, within
from art_cowfs.lower.watches import Event, Watches
from art_cowfs.tree.nodes import CowNode
from art_cowfs.tree.resident import Resident
from art_fusefs.backend import InodeChanged, NameChanged, Notice, Tell

FRESH_S = 0.2
"""How long a listing of a host directory that is not watched is believed. The kernel believes what it is
told of it for `art_fusefs.replies.CHANGING_S` more."""
AGAIN_S = 1.0
"""How long after a directory could not be watched it is tried again."""


class LowerView:
    """The host's side of a tree. `number` gives the inode number of what stands at a path."""

    def __init__(
        self,
        lower: Lower | None,
        resident: Resident,
        number: Callable[[bytes, os.stat_result], int],
        tell: Tell | None = None,
        started: Callable[[], None] = lambda: None,
    ) -> None:
        """Without `tell` nothing is watched. `started` is called when `take` has to be, from then on."""
        self._lower = lower
        self._resident = resident
        self._number = number
        self._tell = tell
        self._at: dict[bytes, CowNode] = {}
        """The directories that are watched."""
        self._notices: list[Notice] = []
        self.unwatched: dict[int, CowNode] = {}
        """Open files that may change without being told, by number."""
        self.look_after: Callable[[], None] = lambda: None
        """Called when `look_at_unwatched` has to be, now and then for as long as there are any."""
        self.watches: Watches | None = None
        if lower is not None and tell is not None:
            self.watches = Watches(lower, started, self._lost)

    # --- looking -------------------------------------------------------------------------------

    def entries(self, directory: CowNode) -> dict[bytes, os.stat_result | None]:
        """What the host has in a directory, by name; not all of what the database has a name for, too."""
        if directory.origin is None or self._lower is None:
            return {}
        watched = self.watch(directory)
        if not self._is_listed(directory, watched):
            directory.host_names = dict(self._lower.entries(directory.origin, but=directory.names))
            directory.host_time = time.monotonic()
            self._resident.named(directory, 0, len(directory.host_names))
        for name in [name for name, found in directory.host_names.items() if found is None]:
            try:
                self._look(directory, name)
            except OSError:
                del directory.host_names[name]
        return directory.host_names

    def entry(self, directory: CowNode, name: bytes) -> os.stat_result | None:
        if directory.origin is None or self._lower is None:
            return None
        watched = self.watch(directory)
        if self._is_listed(directory, watched):
            found = directory.host_names.get(name)
            if name not in directory.host_names or (found is not None and self._holds(directory, found)):
                return found
        elif not watched:
            return self._lower.stat(joined(directory.origin, name))
        elif (found := directory.host_names.get(name)) is not None and self._holds(directory, found):
            return found
        return self._look(directory, name)

    def _holds(self, directory: CowNode, found: os.stat_result) -> bool:
        """Whether what was seen is believed: a file that has another name is not told to change by that."""
        several = found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode)
        return not several or time.monotonic() - directory.host_time <= FRESH_S

    def _is_listed(self, directory: CowNode, watched: bool) -> bool:
        since = directory.host_time
        return bool(since) and (watched or time.monotonic() - since <= FRESH_S)

    def _look(self, directory: CowNode, name: bytes) -> os.stat_result | None:
        assert self._lower is not None and directory.origin is not None
        found = self._lower.stat(joined(directory.origin, name))
        if found is None:
            directory.host_names.pop(name, None)
        else:
            if name not in directory.host_names:
                self._resident.named(directory, 0, 1)
            directory.host_names[name] = found
        return found

    def now(self, node: CowNode) -> os.stat_result | None:
        """What the host has at the node's path, if it is still the same."""
        if self._lower is None or node.origin is None:
            return None
        found = self._lower.stat(node.origin)
        return found if found is not None and self._number(node.origin, found) == node.ino else None

    def refresh(self, node: CowNode) -> None:
        """Show the attributes of now; those of a file that is open also when it has no name any more."""
        try:
            found = self.now(node)
            if found is None and node.fd >= 0:
                found = within(os.fstat(node.fd))
        except OSError:
            return
        if found is not None:
            node.show(found)
            node.stale = False
            self.uncache(node)

    # --- what no watch tells of ----------------------------------------------------------------

    def uncache(self, node: CowNode) -> None:
        """The kernel keeps what it cached of a file until it is told, here where no watch does."""
        state = (node.size, node.mtime)
        if node.changing and node.seen not in (None, state) and self._tell is not None:
            node.seen = state
            self.changed(node)

    def opened(self, node: CowNode) -> None:
        if node.changing and not node.held:
            if not self.unwatched:
                self.look_after()
            self.unwatched[node.ino] = node

    def closed(self, node: CowNode) -> None:
        self.unwatched.pop(node.ino, None)

    def look_at_unwatched(self) -> None:
        for node in list(self.unwatched.values()):
            if not node.held:
                self.refresh(node)

    # --- watching ------------------------------------------------------------------------------

    def watch(self, directory: CowNode) -> bool:
        """Whether changes in the directory are told from now on. What was seen of it before the watch
        began is forgotten."""
        path = directory.origin
        if path is None or self.watches is None or path.startswith(SEEDS):
            return False
        if self._at.get(path) is directory:
            return True
        now = time.monotonic()
        if directory.tried and now - directory.tried < AGAIN_S:
            return False
        directory.tried = now
        try:
            found = self.watches.add(path)
        except OSError:
            found = None
        watched = found is not None and (directory.held or self._number(path, found) == directory.ino)
        if watched:
            if (other := self._at.pop(path, None)) is not None:
                self._unwatched(other)
            self._at[path] = directory
            self._ask_again(directory)
            directory.changing = directory.names_changing = False
            if found is not None and not directory.held:
                directory.show(found)
                directory.stale = False
        self._send()
        return watched

    def moved(self, directory: CowNode, above: CowNode, name: bytes) -> None:
        """A directory is found at another path: the same one, or a new one by its inode number, and what
        the kernel knows below is of the old one. It waits for the answer that tells the new path."""
        self._notices.append(NameChanged(above.ino, name))
        self._send()

    def show(self, directory: CowNode, origin: bytes | None) -> None:
        """A directory shows the host's at another path from now on, or none."""
        if directory.origin == origin:
            return
        self.forget(directory)
        self._unwatched(directory)
        directory.origin = origin
        directory.names_changing = origin is not None
        self._send()

    def forget(self, directory: CowNode) -> None:
        """The directory is gone from the branch. What is shown elsewhere of what is below it is not."""
        path = directory.origin
        if path is not None and self.watches is not None and self._at.get(path) is directory:
            del self._at[path]
            if not self.watches.has_below(path):
                self.watches.drop(path)

    def changed(self, node: CowNode) -> None:
        """A file was seen to be other than its watched directory told."""
        if node.parent is not None:
            self._notices.append(InodeChanged(node.ino, node.parent.ino))
            self._send()

    def _lost(self, path: bytes) -> None:
        directory = self._at.pop(path, None)
        if directory is not None and directory.origin == path:
            self._unwatched(directory)

    def _unwatched(self, directory: CowNode) -> None:
        """What the kernel knows below is not told any more, so it has to ask again: for what is in use
        one by one, for all else and for names that were absent by losing the directory."""
        self._ask_again(directory)
        if directory.parent is not None:
            self._notices.append(NameChanged(directory.parent.ino, directory.name))
            self._notices.append(InodeChanged(directory.ino, directory.parent.ino))
        directory.tried = 0.0
        directory.names_changing = True
        directory.changing = not directory.held

    def _ask_again(self, directory: CowNode) -> None:
        """Nothing that was seen of the directory holds."""
        for name in directory.host_names:
            self._notices.append(NameChanged(directory.ino, name, stays=True))
        directory.host_names, directory.host_time = {}, 0.0
        directory.stale = True

    def _send(self) -> None:
        if self._notices and self._tell is not None:
            notices, self._notices = self._notices, []
            self._tell(notices)

    def close(self) -> None:
        """Watch nothing any more. The kernel takes its time, so this does not wait for it."""
        if self.watches is not None and self.watches.fd >= 0:
            threading.Thread(target=self.watches.close).start()

    # --- events --------------------------------------------------------------------------------

    def take(self) -> None:
        """Take in what happened on the host."""
        assert self.watches is not None
        for event in self.watches.read():
            if event.mask & watches.OVERFLOW:
                self._begin_anew()
                break
            if event.name:
                self._entry_event(self._at.get(event.path), event)
            else:
                self._own_event(self._at.get(event.path), event)
        self._send()

    def _own_event(self, directory: CowNode | None, event: Event) -> None:
        assert self.watches is not None
        gone = watches.DELETE_SELF | watches.UNMOUNT | watches.IGNORED
        # The workspace is known by its descriptor, wherever it is moved.
        if event.mask & gone or (event.mask & watches.MOVE_SELF and event.path):
            self.watches.drop(event.path)
        elif directory is not None:
            self._attributes_changed(directory)

    def _attributes_changed(self, directory: CowNode) -> None:
        if directory.held:
            return
        directory.stale = True
        above = directory.parent
        if above is not None:
            if directory.name in above.host_names:
                above.host_names[directory.name] = None
            self._notices.append(InodeChanged(directory.ino, above.ino))

    def _entry_event(self, directory: CowNode | None, event: Event) -> None:
        assert self.watches is not None and self._lower is not None
        path = joined(event.path, event.name)
        names = event.mask & watches.NAMES
        if directory is None:
            if names and event.mask & watches.ISDIR:
                self.watches.drop(path)
            return
        known = directory.host_names.pop(event.name, None)
        if directory.host_time:
            directory.host_names[event.name] = None
        if names:
            self._notices.append(NameChanged(directory.ino, event.name))
            if event.mask & watches.ISDIR:
                self.watches.drop(path)
            self._attributes_changed(directory)
        elif known is None:
            known = self._seen(path)
        if known is not None:
            self._node_changed(self._number(path, known), path, directory, replaced=bool(names))

    def _seen(self, path: bytes) -> os.stat_result | None:
        assert self._lower is not None
        try:
            return self._lower.stat(path)
        except OSError:
            return None

    def _node_changed(self, ino: int, path: bytes, directory: CowNode, *, replaced: bool) -> None:
        node = self._resident.get(ino)
        if node is not None:
            if node.held:
                return
            if node.origin == path and not stat.S_ISDIR(node.mode):
                node.stale, node.seen = True, None
                node.changing = node.changing or replaced
                if node.opens:  # It may be written, and copied up, without being asked for before.
                    self.refresh(node)
        self._notices.append(InodeChanged(ino, directory.ino))

    # --- overflow ------------------------------------------------------------------------------

    def _begin_anew(self) -> None:
        """Events were lost: nothing that was seen holds, nor where the watched directories are."""
        assert self.watches is not None and self._tell is not None
        watched = {path: self._at.get(path) for path in self.watches.restart()}
        self._at = {}
        self._notices = []
        for directory in watched.values():
            if directory is not None:
                self._unwatched(directory)
        self._notices = []
        listed = []
        for path, directory in watched.items():
            if directory is None:
                continue
            if self.watch(directory):
                listed.append((path, directory.ino))
            elif directory.parent is not None:
                self._notices.append(NameChanged(directory.parent.ino, directory.name))
        for node in self._resident.shown():
            node.stale, node.seen = True, None
            node.changing = not (stat.S_ISDIR(node.mode) and self._at.get(node.origin or b"") is node)
        self._send()
        self._tell(self._all_names(listed))
        self._tell(_asked_again(self._resident.places()))

    def _all_names(self, listed: list[tuple[bytes, int]]) -> Iterator[Notice]:
        """Each name of the directories: it may have been absent when the kernel asked. Drawn in the
        thread that tells."""
        assert self._lower is not None
        for path, ino in listed:
            for name in self._lower.names(path):
                yield NameChanged(ino, name, stays=True)


def _asked_again(places: list[tuple[int, int, bytes]]) -> Iterator[Notice]:
    for ino, directory, name in places:
        yield NameChanged(directory, name, stays=True)
        yield InodeChanged(ino, directory)
