"""Pull: carrying a store's workspace to the host.

First all is decided, from what was agreed on, what the store has and what the host has. Then the store gets
names of its own for what it only shows, what changes no other part's source is carried, then what does, then
what the sandbox removed is removed; and what is the same on both sides is agreed on as it goes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple

from art_core.contracts import Store, Workspace
from art_core.store.blocks import Digest
from art_core.store.companions import databases_beside
from art_core.store.walk_order import Backwards
from art_core.transfer.decisions import MOVED_ON, Decision, holding
from art_core.transfer.host_files import SETUID, WRITABLE, Changed, HostTree, Staged
from art_core.transfer.pull_order import Tangle, above_all
from art_core.transfer.pull_plan import Confirm, Intent
from art_core.transfer.transfer import Moved, Report, Totals, Transfer, Wishes
from art_core.trees import Entry
from art_core.view.workspace import alone_with

_AT_ONCE = 1000


def pull(
    store: Store,
    branch: str,
    workspace: Workspace,
    wishes: Wishes,
    report: Report = lambda *_: None,
    moved: Moved = lambda _: None,
    confirm: Confirm | None = None,
) -> Totals:
    """Carry the store's workspace to the host. Raises ArtError; conflicts are counted."""
    with ExitStack() as opened:
        if not wishes.dry_run:
            opened.enter_context(alone_with(workspace))
        tree = opened.enter_context(store.reader(branch, workspace))
        host = opened.enter_context(HostTree(workspace.fd, databases_beside(store, tree)))
        transfer = opened.enter_context(Transfer(tree, wishes, report, moved, host.sync))

        def unchanged(decision: Decision) -> None:
            assert decision.entry is not None
            transfer.unchanged(decision.entry)

        held = holding(host, tree, workspace, wishes)
        intent = opened.enter_context(Intent(tree, host, wishes, held, confirm, unchanged, branch))
        intent.decide(transfer.agreed())
        transfer.totals.left = intent.not_taken
        pulling = opened.enter_context(_Pulling(transfer, host, intent))
        if wishes.dry_run:
            pulling.tell()
        else:
            pulling.run()
            for path, why in intent.keep_commits():
                transfer.failed(path, why)
        transfer.unseen(held.missed)
        return transfer.totals


class _Read(NamedTuple):
    """What was read before its turn, and the digest of it."""

    file: Staged
    digest: str


class _Pulling:
    """Does what was decided."""

    def __init__(self, transfer: Transfer, host: HostTree, intent: Intent) -> None:
        self._transfer = transfer
        self._wishes = transfer.wishes
        self._host = host
        self._intent = intent
        self._readers = intent.readers
        self._sources = frozenset(intent.readers)
        """What is not carried yet from a path of the host to elsewhere."""
        self._names = intent.names
        self._secured: dict[bytes, Entry] = {}
        """What was loose, as the store has it now."""
        self._unsecured: set[bytes] = set()
        """Directories in which something is loose."""
        self._staged: dict[bytes, _Read | OSError] = {}
        """What was read before its turn, or why it was not."""
        self._fresh: set[bytes] = set()
        """Paths of the host that the store may still read from, until what was done is remembered."""
        self._digests: dict[int, str] = {}
        """Of what files of several names hold, by number."""
        self._made = Backwards[tuple[Entry, bool]]()
        """Directories that were carried or are alike; whether their modes are still to be set."""

    def __enter__(self) -> _Pulling:
        return self

    def __exit__(self, *_: object) -> None:
        self._made.__exit__()

    def tell(self) -> None:
        """What would be done."""
        for decision in self._intent.puts():
            if not self._is_told(decision):
                assert decision.entry is not None
                self._transfer.carried(decision.entry)
        for decision in self._intent.removals():
            if not self._is_told(decision) and decision.verdict == "remove":
                self._transfer.removed(decision.path)

    def run(self) -> None:
        turned = frozenset(self._intent.turned)
        tangled = []
        self._secure()
        for decision in self._intent.puts():
            if self._is_tangled(decision, turned):
                tangled.append(decision)
            elif not self._is_told(decision):
                self._put(decision)
        if tangled:
            tangled += (one for one in self._intent.removals() if self._is_tangled(one, turned))
            self._untangle(tangled)
        for decision in self._intent.removals():
            if not self._is_tangled(decision, turned) and not self._is_told(decision):
                self._remove(decision)
        self._finish()

    def _is_tangled(self, decision: Decision, turned: frozenset[bytes]) -> bool:
        """Whether it has to wait, or others for it."""
        if decision.verdict not in ("carry", "accept", "remove"):
            return False
        path = decision.path
        if decision.entry is not None and (path in self._sources or path in turned):
            return True
        return bool(turned) and any(above in turned for above in above_all(path))

    def _is_told(self, decision: Decision) -> bool:
        """Tell what nothing is to be done for; whether it is that."""
        transfer, path = self._transfer, decision.path
        if decision.verdict == "alike":
            assert decision.entry is not None
            self._agree(decision, decision.present, self._digest_alike(decision))
            transfer.unchanged(decision.entry)
        elif decision.verdict == "protected":
            transfer.skipped(path, decision.why)
        elif decision.verdict == "conflict":
            transfer.conflict(path, decision.why)
        elif decision.verdict == "gone":
            transfer.agree(path, None, None)
        else:
            return False
        return True

    # --- what the store holds ------------------------------------------------------------------

    def _secure(self) -> None:
        """The store gets names for what it shows of the host elsewhere."""
        part: list[Entry] = []
        for entry in self._intent.loose:
            part.append(entry)
            if len(part) >= _AT_ONCE:
                self._secure_some(part)
                part = []
        self._secure_some(part)
        elsewhere = [one for one in self._intent.opaque if one.lower is not None]
        self._join((one for one in elsewhere if one.path not in self._unsecured), shows=False)

    def _join(self, directories: Iterable[Entry], *, shows: bool) -> None:
        known = [self._secured.get(one.path, one) for one in directories]
        if known:
            self._transfer.tree.join(known, shows=shows)

    def _secure_some(self, part: list[Entry]) -> None:
        found = self._transfer.tree.secure(part, contents=False) if part else {}
        self._secured |= found
        for entry in part:
            if entry.path not in found:
                self._unsecured.add(entry.path.rpartition(b"/")[0])

    def _put(self, decision: Decision) -> None:
        entry = decision.entry
        assert entry is not None
        try:
            self._make_free(decision.path)
            made, digest = self._made_of(decision, entry)
        except Changed:
            self._decide_again(decision)
            return
        except OSError as error:
            self._not_written(entry, error)
            return
        if entry.nlink > 1 and entry.kind == "file":
            self._names.setdefault(entry.ino, entry.path)
            self._digests.setdefault(entry.ino, digest)
        self._agree(decision, made, digest)
        self._was_read(entry)
        self._transfer.carried(entry)

    def _made_of(self, decision: Decision, entry: Entry) -> tuple[Entry, str]:
        """What the host has then, and the digest of its contents."""
        transfer, path = self._transfer, decision.path

        def ready() -> None:
            self._host.expect(path, decision.present)

        if decision.verdict == "accept" and decision.present is not None:
            transfer.tree.accept(entry, decision.present.size, decision.present.mtime_ns)
        if entry.nlink > 1 and entry.kind == "file" and entry.ino in self._names:
            linked = self._host.link(path, self._names[entry.ino], ready)
            return linked, self._digests.get(entry.ino) or self._digest_of(linked)
        if path in self._staged:
            staged = self._staged.pop(path)
            if isinstance(staged, OSError):
                raise staged
            return self._host.place(path, staged.file, ready), staged.digest
        contents = Digest()
        wanted = entry._replace(mode=entry.mode | WRITABLE) if entry.kind == "dir" else entry
        blocks = contents.of(self._blocks(entry))
        made = self._host.put(wanted, blocks, keep_setuid=self._wishes.keep_setuid, ready=ready)
        return made, contents.taken() if entry.kind == "file" else ""

    def _digest_of(self, present: Entry) -> str:
        """Of a file of the host; empty where that cannot be read, or is another one meanwhile."""
        try:
            digest = self._host.digest(present)
            self._host.expect(present.path, present)
        except OSError:
            return ""
        return digest

    def _blocks(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        return self._transfer.counted(self._transfer.tree.blocks(entry))

    def _digest_alike(self, decision: Decision) -> str:
        present = decision.present
        if present is None or present.kind != "file" or self._wishes.dry_run:
            return ""
        return self._digest_of(present)

    def _agree(self, decision: Decision, present: Entry | None, digest: str = "") -> None:
        entry = decision.entry
        assert entry is not None
        if entry.kind == "dir":
            self._made.put((entry, decision.verdict != "alike"))
        else:
            self._transfer.agree(entry.path, present, self._secured.get(entry.path, entry), digest)

    def _was_read(self, entry: Entry) -> None:
        """What it was carried from may change when that is remembered."""
        source = entry.lower
        waiting = self._readers.get(source) if source is not None else None
        if source is not None and waiting is not None:
            waiting.discard(entry.path)
            self._fresh.add(source)
            if not waiting:
                del self._readers[source]

    def _make_free(self, path: bytes) -> None:
        """See that nothing is still to be read from a path of the host. Raises OSError."""
        waiting = [one for one in self._readers.get(path, ()) if one not in self._staged and one != path]
        if len(self._kept(waiting, path)) < len(waiting):
            raise OSError(errno.EBUSY, "what the sandbox has of it elsewhere cannot be kept")
        if path in self._fresh:
            self._transfer.remember()
            self._fresh.clear()

    def _kept(self, paths: Iterable[bytes], source: bytes) -> Mapping[bytes, Entry]:
        """What the store could take in whole, of what it has from a path of the host."""
        some = [Entry(path, "file", 0, 0, 0, lower=source) for path in paths]
        return self._transfer.tree.secure(some, contents=True) if some else {}

    def _decide_again(self, decision: Decision) -> None:
        """The host has changed it meanwhile: perhaps to the same."""
        entry = decision.entry
        assert entry is not None
        again = self._intent.decide_again(entry, decision.agreed)
        if again.verdict == "alike":
            self._was_read(entry)
            self._is_told(again)
        else:
            self._transfer.conflict(decision.path, "the host changed it during the pull")

    def _not_written(self, entry: Entry, error: OSError) -> None:
        if error.errno in (errno.ESTALE, errno.ENOENT) and entry.partial:
            self._transfer.conflict(entry.path, MOVED_ON)
        elif error.errno in _IN_THE_WAY:
            self._transfer.conflict(entry.path, f"it cannot be written: {error.strerror}")
        else:
            self._transfer.failed(entry.path, f"it cannot be written: {error.strerror}")

    # --- what waits for each other -------------------------------------------------------------

    def _untangle(self, tangled: Iterable[Decision]) -> None:
        steps = {one.path: one for one in tangled}
        for ready, first in Tangle(steps.values(), self._readers).rounds():
            self._stage([steps[path] for path in first])
            for decision in ready:
                if decision.entry is None:
                    self._remove(decision)
                else:
                    self._put(decision)

    def _stage(self, decisions: Iterable[Decision]) -> None:
        """Read files before what they are read from changes: into the store, for them to be there when the
        pull is killed, and under temporary names."""
        entries = [decision.entry for decision in decisions if decision.entry is not None]
        if entries:
            self._transfer.tree.secure(entries, contents=True)
        for entry in entries:
            contents = Digest()
            try:
                staged = self._host.stage(
                    entry, contents.of(self._blocks(entry)), keep_setuid=self._wishes.keep_setuid
                )
                self._staged[entry.path] = _Read(staged, contents.taken() if entry.kind == "file" else "")
            except OSError as error:
                self._staged[entry.path] = error

    def _remove(self, decision: Decision) -> None:
        path = decision.path
        try:
            self._make_free(path)
            self._host.expect(path, decision.present)
            self._host.remove(path)
        except OSError as error:
            self._transfer.conflict(path, f"it cannot be removed: {error.strerror}")
            return
        self._transfer.agree(path, None, None)
        self._transfer.removed(path)

    # --- the end -------------------------------------------------------------------------------

    def _finish(self) -> None:
        """What directories are is set when all that is in them was done."""
        self._host.give_back()
        for entry, carried in self._made:
            mode = entry.mode if self._wishes.keep_setuid else entry.mode & ~SETUID
            try:
                if carried and mode & WRITABLE != WRITABLE:
                    self._host.set_mode(entry.path, mode)
            except OSError as error:
                self._transfer.failed(entry.path, f"its mode cannot be set: {error.strerror}")
                continue
            self._host.set_time(entry.path, entry.mtime_ns)
            present = self._host.seen(entry.path)
            if present is not None and present.kind == "dir":
                self._transfer.agree(entry.path, present, self._secured.get(entry.path, entry))
        self._transfer.remember()
        self._join(self._joinable(), shows=True)

    def _joinable(self) -> Iterator[Entry]:
        for entry in self._intent.opaque:
            if entry.path not in self._unsecured and self._intent.may_join(entry):
                present = self._host.seen(entry.path)
                if present is not None and present.kind == "dir":
                    yield entry


_IN_THE_WAY = (
    errno.ENOTEMPTY,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENOENT,
    errno.EBUSY,
)
"""Something else of the host's stands there, or nothing where a directory should."""
