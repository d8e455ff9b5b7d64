"""One run of a branch: who holds it, its connections, its tree."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from types import TracebackType

import apsw

from art_core.store.history import Ending, NameTaken, Opening, dated
from art_cowfs.access import run_log
from art_cowfs.access.drift import drift
from art_cowfs.access.frozen_read import merge_all
from art_cowfs.access.place import Place, know
from art_cowfs.access.seed_adoption import begin
from art_cowfs.db.apsw_compat import BUSY
from art_cowfs.db.file_systems import refuse_network
from art_cowfs.db.locks import BRANCH_S, BranchLock, BranchLost, Occupied, Pin
from art_cowfs.db.lookup import chain_of
from art_cowfs.db.paths import companions
from art_cowfs.db.schema import FIRST_INO, HOST_NUMBERS, PAGE, CorruptError, DatabaseError
from art_cowfs.db.transactions import as_oserror, changing
from art_cowfs.layers import entries, garbage, layers, squash
from art_cowfs.layers.chain import Chain
from art_cowfs.lower.lower import Lower, within
from art_cowfs.lower.seeds import Seed, Seeds
from art_cowfs.opening import log_owner
from art_cowfs.opening.database import connect
from art_cowfs.opening.wal import emptied
from art_cowfs.tree.other_host import Accepted
from art_cowfs.tree.tree import Tree
from art_cowfs.tree.writer import BatchWriter
from art_fusefs.backend import Tell

NUMBERS_AT_ONCE = 4096
BALLAST = 24 << 20


class OpenBranch:
    """A branch that is open for writing. Use as a context manager."""

    def __init__(
        self,
        path: str,
        branch: str,
        *,
        workspace: Place | None = None,
        uid: int,
        gid: int,
        wake: Callable[[], None] = lambda: None,
        tell: Tell | None = None,
        watching: Callable[[], None] = lambda: None,
        growth: int = 0,
        seeds: Sequence[Seed] = (),
        hidden: Sequence[str] = (),
    ) -> None:
        """`growth` is how many bytes the database may take more than now, 0 for any. `seeds` show through
        beside the workspace; their descriptors become the session's. `hidden` are files of the host that do
        not show, besides the database's own. For the others see `Tree`."""
        self.path = os.path.realpath(path)
        self._branch = branch
        self._place = workspace
        self._lower: Lower | None = None
        self._closed = False
        self._is_told = False
        """Whether the user was told of a run that was killed."""
        self._begun: dict[int, run_log.BegunSession] = {}
        self._seed_notes: list[str] = []
        refuse_network(self.path)
        self._lock = BranchLock(self.path, branch, BRANCH_S)
        self.left_by = self._lock.left_by
        try:
            self._reading = connect(self.path, create=True)
            self._writing = connect(self.path)
            # A statement of many rows keeps what it would have to undo: no file for that.
            self._writing.pragma("temp_store", 2)
            # Before anything is read: see `locks`.
            self._sweep()
            self._mark()
            self.chain = Chain(self._reading, branch, workspace=self.workspace_name)
            if workspace is not None:
                self._lower = Lower(workspace.fd, [*companions(self.path), *hidden], Seeds(seeds))
            self.writer = BatchWriter(
                self._writing, self.chain.top, self.path, self._lock, self._marking.join
            )
        except BaseException:
            self._lock.close(as_it_was=True)
            raise
        self._most = self._used() + growth if growth else 0
        self.tree = Tree(
            self.chain,
            self.writer,
            self._lower,
            uid=uid,
            gid=gid,
            numbers=self._reserve,
            wake=wake,
            free=self._free,
            path=os.path.dirname(self.path) or "/",
            tell=tell,
            watching=watching,
        )
        if workspace is not None:
            try:
                know(self._reading, workspace)
                entries.refuse_replaced(self.chain, [workspace.name], branch)
                self.tree.place(workspace.name, within(os.fstat(workspace.fd)))
                if seeds:
                    self._seed_notes = begin(self.tree, self.chain, seeds, moved=workspace.moved)
                self.tree.pending.wait()
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> OpenBranch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def workspace_name(self) -> bytes:
        return b"" if self._place is None else self._place.name

    @property
    def workspaces(self) -> frozenset[bytes]:
        """The names of all that the home has a place for."""
        return entries.known(self._reading)

    def drift(self) -> str:
        """One line on how far the host has moved on since a push, or nothing."""
        place = self._place
        return "" if place is None else drift(self.chain, place.name, place.fd)

    def greetings(self) -> list[str]:
        """What the user should know at the start of a run."""
        lines = [self._lock.waited, self.drift(), *self._seed_notes]
        self._is_told = True
        if self.left_by:
            lines.append(
                f"the last run on this database ({self.left_by}) was killed; what it had answered was "
                "recovered"
            )
        return [line for line in lines if line]

    def notes(self) -> list[str]:
        """What the user should know at the end of a run."""
        return [line for line in (self.writer.log.note(), *self.tree.contents.notes()) if line]

    def _free(self) -> int:
        """How many bytes the database can still take: the disk's and its own free pages, less the
        ballast, which is kept for removing files, for checkpoints and for the last commit."""
        disk = os.statvfs(os.path.dirname(self.path) or "/")
        pages = 0
        with suppress(apsw.Error):  # The writer will tell.
            pages = self._reading.pragma("freelist_count")
        ballast = min(BALLAST, disk.f_blocks * disk.f_frsize // 4)
        free = disk.f_bavail * disk.f_frsize + pages * PAGE - ballast
        # What waits is counted twice against a disk, where it is in the log as well, and once here.
        return min(free, 2 * (self._most - self._used())) if self._most else free

    def _used(self) -> int:
        """Bytes of the database that are in use."""
        try:
            pages: int = self._reading.pragma("page_count") - self._reading.pragma("freelist_count")
        except apsw.Error:
            return 0
        return pages * PAGE

    @property
    def full(self) -> int:
        """How often something could not be kept because the database may not grow further."""
        return self.tree.pending.denied if self._most else 0

    def _sweep(self) -> None:
        """Remove what was unlinked but open when an earlier run was killed, and what was read until it was
        unlinked. What a layer below has stays gone."""
        of_layers_below = "EXISTS (SELECT 1 FROM inode b WHERE b.ino = inode.ino AND b.layer < inode.layer)"
        with self._lock.changing(self._writing):
            top = chain_of(self._writing, self._branch)[0]
            left = f"SELECT ino FROM inode WHERE layer = {top} AND nlink = 0"
            gone = self._writing.execute(f"{left} AND NOT {of_layers_below}").fetchall()
            self._writing.executemany(f"DELETE FROM inode WHERE ino = ? AND layer = {top}", gone)
            if self.left_by:
                gone += self._writing.execute(left).fetchall()
            for table, owner in (("dentry", "parent"), ("chunk", "ino"), ("xattr", "ino")):
                self._writing.executemany(f"DELETE FROM {table} WHERE {owner} = ? AND layer = {top}", gone)

    def _mark(self) -> None:
        """See that the file itself says that it is in use, and which log it has. The disk takes its time, so
        only who wants to know that something is on it waits for that."""
        with self._lock.changing(self._writing):
            log_owner.mark(self._writing, self.path, self._lock.by)
        self._marking = threading.Thread(target=self._carry_mark, name="marking")
        self._marking.start()

    def _carry_mark(self) -> None:
        with suppress(apsw.Error, OSError, DatabaseError), closing(connect(self.path)) as connection:
            emptied(connection, apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _reserve(self) -> tuple[int, int]:
        """A block of numbers that nobody else of this database gets."""
        with self._lock.changing(self._reading):
            start: int = self._reading.execute("SELECT value FROM meta WHERE key = 'next_ino'").get
            end = start + NUMBERS_AT_ONCE
            if not FIRST_INO <= start < end < HOST_NUMBERS:
                raise CorruptError(f"the next inode number cannot be {start}; `art db check` says more")
            self._reading.execute("UPDATE meta SET value = ? WHERE key = 'next_ino'", (end,))
        return start, end

    def freeze(self, named: layers.Named | None = None) -> tuple[int, int]:
        """Everything up to now becomes a layer that does not change any more, under a name or none; what
        comes goes into a new one. Returns the frozen one's number, and a descriptor that keeps it from being
        merged for as long as it is open. Raises OSError or StoreError; nothing is changed then.

        Nothing else may happen in the tree meanwhile."""
        self.tree.pending.wait()
        # The writer has nothing to do until something changes: its connection is free. Nobody merges
        # meanwhile.
        with self._lock.committing():
            try:
                with changing(self._writing):
                    self._lock.check(self._writing)
                    frozen = layers.frozen(self._writing, self._branch, named)
            except apsw.Error as error:
                raise as_oserror(error) from None
            self.chain.renew()
            if self.writer.layer != self.chain.top:
                self.writer.layer = self.chain.top
                self.tree.frozen()
            pin = Pin(self.path, frozen).fd
        self.writer.wait()
        return frozen, pin

    def begin(self, opening: Opening) -> tuple[int, str]:
        """A command starts; its number in the log, and the snapshot that was taken before it. Raises OSError
        or StoreError."""
        place = b"" if self._place is None else self._place.name
        with self._lock.committing():
            begun = run_log.begin(self._reading, self._branch, place, opening)
        before = self._snapshot_before(begun.id) if opening.snapshot else ""
        self._begun[begun.id] = begun
        self.tree.pending.hand_over()  # What changed before it is not its own.
        self.tree.pending.noticing.append(begun.changed)
        return begun.id, before

    def _snapshot_before(self, session: int) -> str:
        for name in (f"before-{session}", *dated(f"before-{session}")):
            with suppress(NameTaken):
                os.close(self.freeze(layers.Named(name, f"before session {session}"))[1])
                with self._lock.committing():
                    run_log.snapshotted(self._reading, session, name)
                return name
        raise AssertionError

    def ended(self, session: int, ending: Ending | None) -> None:
        """It ended; None for one that was killed."""
        begun = self._begun.pop(session)
        self.tree.pending.notice()
        self.tree.pending.noticing.remove(begun.changed)
        with self._lock.committing():
            run_log.end(self._reading, begun, ending)

    def accept(self, accepted: Accepted) -> None:
        """The rest of a partial file is what the host has now; a file that is gone is left as it is."""
        with suppress(OSError):
            self.tree.accept(accepted)

    @property
    def is_held(self) -> bool:
        """Whether others find the branch held; else `hold` it again."""
        return self._lock.is_found

    def hold(self) -> None:
        """See that others find the branch held. Raises BranchLost and Occupied."""
        self._lock.keep()

    def reachable(self, at: str) -> None:
        """Tell others the socket on which this session can be asked."""
        self._lock.reachable(at)

    def merge(self) -> None:
        """Merge layers that nobody reads any more, while the top is in use; in any thread."""
        connection = connect(self.path)
        try:
            while True:
                with self._lock.changing(connection):
                    if not layers.merge(connection, self._branch, self._lock.is_read, layers.WHILE_RUNNING):
                        return
        finally:
            connection.close()

    def merge_all(self) -> None:
        """The same for all of the chain, when nobody has the branch open any more."""
        merge_all(self._reading, self._branch, self._lock)
        squash.when_long(self.path, self._reading, self._branch)

    def _give_back(self) -> None:
        """Numbers that were reserved and not used, where nobody reserved more meanwhile."""
        first, end = self.tree.numbers_left()
        with self._lock.changing(self._reading):
            give_back = "UPDATE meta SET value = ? WHERE key = 'next_ino' AND value = ?"
            self._reading.execute(give_back, (first, end))

    def _tidy(self) -> None:
        """What another one may do as well, where others do not let us."""
        with suppress(*BUSY, Occupied, BranchLost):
            self._give_back()
            self.merge_all()
            garbage.give_back(self._reading, self._lock)

    def close(self) -> None:
        """Write everything, and leave one file. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._marking.join()
        self.tree.below.close()
        try:
            self.tree.pending.wait()
            for session in list(self._begun):
                with suppress(apsw.Error):  # Without an end it is one that was killed, too.
                    self.ended(session, None)
        finally:
            self.writer.close()
            failure = self.writer.failure
            if failure is not None:
                self._writing.keeps_log = True
            self._writing.close()
            if failure is None:
                self._tidy()
            else:
                self._reading.keeps_log = True
            self._reading.close()
            if self._lower is not None:
                self._lower.close()
            self._lock.close(as_it_was=not self._is_told)
