"""One run of a branch: who holds it, its connections, its tree."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from types import TracebackType

from art_cowfs.chain import Chain
from art_cowfs.lower import Lower
from art_cowfs.schema import PAGE, DatabaseError, connect
from art_cowfs.store import companions
from art_cowfs.tree import Tree
from art_cowfs.writer import Writer

NUMBERS_AT_ONCE = 4096
BALLAST = 24 << 20


class BranchLock:
    """At most one writer holds a branch; the lock file says who, and goes when it is let go of."""

    def __init__(self, path: str, branch: str) -> None:
        self._path = f"{path}-lock"
        self._fd = -1
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(fd, 4096, 0).decode("utf-8", "replace").strip() or "another run"
                os.close(fd)
                raise DatabaseError(f"branch {branch!r} of {path!r} is held by {holder}") from None
            try:
                same = os.stat(self._path).st_ino == os.fstat(fd).st_ino
            except FileNotFoundError:
                same = False
            if same:
                break
            os.close(fd)
        self._fd = fd
        self.left_by = os.pread(fd, 4096, 0).decode("utf-8", "replace").strip()
        """Who held it last and could not let go of it; empty after a clean end."""
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"process {os.getpid()}, since {since}\n".encode(), 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.unlink(self._path)
            os.close(self._fd)
            self._fd = -1


class Session:
    """A branch that is open for writing. Use as a context manager."""

    def __init__(
        self,
        path: str,
        branch: str,
        *,
        workspace: tuple[bytes, bytes, int] | None = None,
        uid: int,
        gid: int,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`workspace` is its name, its host path, and a descriptor of it that becomes ours."""
        self.path = os.path.abspath(path)
        self._lower: Lower | None = None
        self._closed = False
        self._lock = BranchLock(self.path, branch)
        self.left_by = self._lock.left_by
        try:
            self._reading = connect(self.path, create=True)
            self._writing = connect(self.path)
            self.chain = Chain(self._reading, branch)
            self._sweep()
            if workspace is not None:
                self._lower = Lower(workspace[2], companions(self.path))
            self.writer = Writer(self._writing, self.chain.top, self.path)
        except BaseException:
            self._lock.close()
            raise
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
        )
        if workspace is not None:
            try:
                self._place_workspace(*workspace)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _free(self) -> int:
        """How many bytes the database can still take: the disk's and its own free pages, less the
        ballast, which is kept for removing files, for checkpoints and for the last commit."""
        disk = os.statvfs(os.path.dirname(self.path) or "/")
        pages: int = self._reading.pragma("freelist_count")
        ballast = min(BALLAST, disk.f_blocks * disk.f_frsize // 4)
        return disk.f_bavail * disk.f_frsize + pages * PAGE - ballast

    def _sweep(self) -> None:
        """Remove what was unlinked but open when an earlier run ended at once."""
        with self._writing:
            gone = self._writing.execute(
                "SELECT ino FROM inode WHERE layer = ? AND nlink = 0", (self.chain.top,)
            ).fetchall()
            for table in ("chunk", "xattr", "inode"):
                self._writing.executemany(
                    f"DELETE FROM {table} WHERE ino = ? AND layer = {self.chain.top}", gone
                )

    def _reserve(self) -> tuple[int, int]:
        """A block of numbers that nobody else of this database gets."""
        connection = self._reading
        connection.execute("BEGIN IMMEDIATE")
        try:
            (start,) = next(iter(connection.execute("SELECT value FROM meta WHERE key = 'next_ino'")))
            end = start + NUMBERS_AT_ONCE
            connection.execute("UPDATE meta SET value = ? WHERE key = 'next_ino'", (end,))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        return start, end

    def _give_back(self) -> None:
        """Numbers that were reserved and not used, where nobody reserved more meanwhile."""
        first, end = self.tree.numbers_left()
        self._reading.execute("UPDATE meta SET value = ? WHERE key = 'next_ino' AND value = ?", (first, end))

    def _place_workspace(self, name: bytes, path: bytes, fd: int) -> None:
        known = self._reading.execute("SELECT path FROM workspace WHERE name = ?", (name,)).get
        if known is not None and known != path:
            raise DatabaseError(
                f"the workspace {os.fsdecode(name)!r} of this database is {os.fsdecode(known)!r}, not "
                f"{os.fsdecode(path)!r}; give this one another name with --name"
            )
        if known is None:
            self._reading.execute("INSERT INTO workspace VALUES(?, ?)", (name, path))
        found = os.fstat(fd)
        self.tree.place(name, found)
        self.tree.flush()()

    def close(self) -> None:
        """Write everything, and leave one file. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self.tree.flush()()
        finally:
            self.writer.close()
            failure = self.writer.failure
            self._give_back()
            self._writing.close()
            if failure is None:
                list(self._reading.execute("PRAGMA incremental_vacuum"))  # a page a step
                self._reading.pragma("wal_checkpoint(TRUNCATE)")
            self._reading.close()
            if self._lower is not None:
                self._lower.close()
            self._lock.close()
