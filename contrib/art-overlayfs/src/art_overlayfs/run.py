"""A session of a branch, from the directories that it is mounted over to those that it leaves."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

import apsw

from art_core.errors import ArtError, StoreError
from art_core.store.history import Ending, Opening
from art_cowfs.library import (
    HOST_NUMBERS,
    Chain,
    CowNode,
    Lower,
    OpenBranch,
    Place,
    Tree,
    companions,
    connect,
)
from art_fusefs.backend import ROOT
from art_overlayfs import database_covers, leftovers, states, uppers
from art_overlayfs.cache import Cache
from art_overlayfs.capture import capture
from art_overlayfs.layer_trees import Filling
from art_overlayfs.mounts import Overlay
from art_overlayfs.uppers import HOME, WORKSPACE, About, Upper


class RunRequest(NamedTuple):
    """What is asked for. Paths are fit for JSON (`os.fsdecode`)."""

    database: str
    branch: str
    state: str
    sessions: str
    layers: str
    cache_bytes: int
    name: str
    path: str
    moved: bool
    owner: tuple[int, int]
    hidden: Sequence[str]
    """Files of other databases, which a workspace that holds them does not show."""


class OverlayRun:
    """One that goes on. Use as a context manager."""

    def __init__(
        self,
        wish: RunRequest,
        place: Place,
        session: OpenBranch,
        connection: apsw.Connection,
        cache: Cache,
        sessions: str,
    ) -> None:
        self._wish = wish
        self._place = place
        self._session = session
        self._connection = connection
        self._cache = cache
        self._sessions = sessions
        self._pins: list[int] = []
        self.endings: dict[int, Ending] = {}
        self.begun: list[int] = []
        self.upper: Upper
        self._made = False
        self.mounted = False
        """Whether anything can have been changed."""

    def prepare(self, notes: list[str]) -> list[Overlay]:
        """Have all directories that the home is mounted from."""
        frozen, pin = self._session.freeze()
        self._pins.append(pin)
        wish = self._wish
        state = states.key(self._connection, frozen, self._place.name, wish.owner)
        with self._tree(frozen) as tree, self._cache.locked():
            stack = self._cache.stack(state)
            if not stack:
                filling = Filling(tree, self._place.name, wish.owner, private=os.geteuid() != 0)
                self._cache.make(state, filling.into)
                stack = self._cache.stack(state)
                notes += [
                    f"{os.fsdecode(path)} does not show: {why}" for path, why in filling.left_out.items()
                ]
            about = About(wish.database, wish.branch, wish.name, wish.path, wish.owner, state, stack, 0)
            self.upper = uppers.make(self._sessions, about)
            self._made = True
            root = tree.node(ROOT)
            workspace = tree.lookup(root, self._place.name)
            assert workspace is not None  # The session has made it.
            for part, node in ((HOME, root), (WORKSPACE, workspace)):
                _dress(self.upper.of(part), node, wish.owner)
        below = f"{self.upper.path}/below"
        if os.geteuid() == 0:
            os.chown(f"{below}/{wish.name}", *wish.owner)
        covers = database_covers.cover(
            self.upper.path, self._place, [*companions(wish.database), *wish.hidden], wish.owner
        )
        shows_host = workspace.origin == b""
        inner = [*covers, *self._cache.paths(stack, WORKSPACE)]
        if not shows_host:
            inner.append(f"{below}/{wish.name}")
        return [
            Overlay("", [*self._cache.paths(stack, HOME), below], self.upper.of(HOME)),
            Overlay(wish.name, inner, self.upper.of(WORKSPACE), host=shows_host),
        ]

    @contextmanager
    def _tree(self, layer: int) -> Iterator[Tree]:
        """What a layer shows, to be read."""
        lower = Lower(os.dup(self._place.fd), [*companions(self._wish.database), *self._wish.hidden])
        with closing(connect(self._wish.database)) as connection, closing(lower):
            chain = Chain(connection, "", layer, workspace=self._place.name)
            numbers = (HOST_NUMBERS >> 1, HOST_NUMBERS)
            tree = Tree(chain, None, lower, uid=0, gid=0, numbers=lambda: numbers)
            tree.keep_little()
            yield tree

    def begin(self, opening: Opening) -> tuple[int, str]:
        """Raises StoreError and OSError."""
        if opening.snapshot and self.begun:
            raise StoreError(
                "what was done before this command is not in the database yet: this store brings it in when "
                "the session ends"
            )
        number, before = self._session.begin(opening)
        self.begun.append(number)
        return number, before

    def bring_in(self) -> None:
        """The run is over. Raises StoreError; what was changed stays where it is then."""
        if self.upper.is_used():
            raise StoreError(f"the sandbox still runs; what it changes is kept in {self.upper.path}")
        try:
            notes = capture(self._session, self.upper, self._place, branch=self._wish.branch)
        except (OSError, ArtError) as error:
            self._log([], 0)
            raise StoreError(leftovers.kept(self.upper, error)) from None
        self._log(notes, 1)

    def keep(self) -> None:
        """What was changed is in the database and on the disk: the next run is mounted over it."""
        self._unpin()
        self._session.merge_all()
        point = "SELECT layer FROM point WHERE name = ?"
        top: int = self._connection.execute(point, (self._wish.branch,)).get
        state = states.key(self._connection, top, self._place.name, self._wish.owner)
        with self._cache.locked():
            self._cache.adopt(state, self.upper.about.layers[0], self.upper.of)
            leftovers.discard(self._connection, self.upper)
            self._cache.trim()
        self._made = False

    def _log(self, notes: Sequence[str], counted: int) -> None:
        """Take down how the commands of the session ended, with what was noted while they were brought in.
        What they changed was seen together, so it is known of one at most."""
        alone = len(self.begun) == counted
        for number in self.begun:
            ending = self.endings.get(number)
            if ending is not None:
                ending = ending._replace(notes=[*ending.notes, *notes])
            with contextlib.suppress(apsw.Error):  # A log that cannot be written loses no file.
                self._session.ended(number, ending)
                if not alone:
                    self._connection.execute("UPDATE session SET files = NULL WHERE id = ?", (number,))

    def _unpin(self) -> None:
        while self._pins:
            os.close(self._pins.pop())

    def __enter__(self) -> OverlayRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._unpin()
        if self._made and self.mounted:
            self.upper.close()
        elif self._made:
            self.upper.remove()


def _dress(path: str, node: CowNode, owner: tuple[int, int]) -> None:
    """The topmost directory says what attributes a home and a workspace have."""
    if os.geteuid() == 0:
        os.chown(path, *owner)
    os.chmod(path, node.mode & 0o7777)
    os.utime(path, ns=(node.atime, node.mtime))
