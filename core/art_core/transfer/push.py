"""Push: carrying the host's workspace into a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import NamedTuple, TypeVar

from art_core.contracts import Store, Workspace
from art_core.errors import TransferError
from art_core.store.blocks import Digest, equal
from art_core.store.companions import Databases, told
from art_core.store.history import NameTaken, dated
from art_core.store.walk_order import Backwards, together
from art_core.transfer.host_files import HostTree, Unreadable
from art_core.transfer.repositories import PushedRepositories
from art_core.transfer.transfer import Moved, Report, Totals, Transfer, Wishes
from art_core.trees import Agreed, Entry, TreeWriter
from art_core.view.workspace import alone_with

_T = TypeVar("_T")


def push(
    store: Store,
    branch: str,
    workspace: Workspace,
    wishes: Wishes,
    report: Report = lambda *_: None,
    moved: Moved = lambda _: None,
) -> Totals:
    """Carry the host's workspace into the store. Raises ArtError; conflicts are counted.

    Before the host wins over what the sandbox did, a snapshot is taken.
    """
    if wishes.force and not wishes.dry_run:
        trial = wishes._replace(force=False, dry_run=True)
        if push(store, branch, workspace, trial).conflicts:
            _keep(store, branch)
    try:
        with (
            nullcontext() if wishes.dry_run else alone_with(workspace),
            store.writer(branch, workspace) as tree,
            HostTree(workspace.fd, Databases(store)) as host,
            Backwards[tuple[bytes, Agreed]]() as gone,
            Transfer(tree, wishes, report, moved, at_once=1) as transfer,
        ):
            _push_all(transfer, tree, host, gone)
            for path, agreed in gone:
                _push_removal(transfer, tree, path, agreed)
            transfer.remember()
            tree.commit()
            return transfer.totals
    except _HostFailure as failure:
        raise TransferError(f"the workspace cannot be read: {failure.args[0].strerror}") from None
    except OSError as error:
        why = f"the database does not take it: {error.strerror}"
        raise TransferError(f"{why}; what does not fit is not in it, and the next push goes on") from None


def _keep(store: Store, branch: str) -> None:
    for name in dated("before-push"):
        with suppress(NameTaken):
            store.snapshot(branch, name)
            return


def _push_all(
    transfer: Transfer, tree: TreeWriter, host: HostTree, gone: Backwards[tuple[bytes, Agreed]]
) -> None:
    """Carry what the host has; what it does not have any more is put into `gone`."""
    removed = ((gone.path, transfer.wishes.anew or not gone.agreed) for gone in tree.removed())
    first: dict[tuple[int, int], _Pushed] = {}
    repositories = PushedRepositories(tree, host)
    blocked = unreadable = again = b"\0"
    for path, entry, agreed, is_removed in together(_of_the_host(host.walk()), transfer.agreed(), removed):
        if entry is None:
            if agreed is not None and not path.startswith(unreadable):
                gone.put((path, agreed))
        elif path.startswith(blocked):
            continue
        elif isinstance(entry, Unreadable):
            transfer.skipped(path, "it is no file, directory or link, or may not be read")
            unreadable = path + b"/"
        else:
            if is_removed and not transfer.wishes.force:
                transfer.conflict(path, "on the host, and removed in the sandbox")
                done = False
            else:
                is_again = bool(is_removed) or path.startswith(again)
                done = _push_one(
                    transfer, tree, host, entry, None if is_again else agreed, first, repositories
                )
                if is_removed and done and entry.kind == "dir":
                    again = path + b"/"
            if not done and entry.kind == "dir":
                blocked = path + b"/"


class _Pushed(NamedTuple):
    """The first name of a file, as the store has it, and the digest of its contents."""

    entry: Entry
    digest: str


class _HostFailure(Exception):
    """The host's file could not be read, for the reason given as an OSError."""


def _of_the_host(found: Iterator[_T]) -> Iterator[_T]:
    try:
        yield from found
    except OSError as error:
        raise _HostFailure(error) from None


def _push_one(
    transfer: Transfer,
    tree: TreeWriter,
    host: HostTree,
    entry: Entry,
    agreed: Agreed | None,
    first: dict[tuple[int, int], _Pushed],
    repositories: PushedRepositories,
) -> bool:
    """Carry one entry; False when it is a conflict, or could not be read."""
    identity = host.links.get(entry.path)
    if agreed is not None and host.same(entry, agreed):
        transfer.still_agreed(entry.path, agreed, entry)
        transfer.unchanged(entry)
        if identity is not None and identity not in first and (kept := tree.find(entry.path)):
            first[identity] = _Pushed(kept, agreed.digest)
        return True
    owner = host.database_of(entry.path)
    if owner is not None:
        transfer.skipped(entry.path, told(owner))
        return False
    above = tree.find(entry.path.rpartition(b"/")[0]) if b"/" in entry.path else None
    if above is not None and above.kind != "dir":
        transfer.conflict(entry.path, "on the host, in a directory that is none in the sandbox any more")
        return False
    present = tree.find(entry.path)
    if not transfer.wishes.force and (why := _why_not_push(entry, present, agreed)):
        if present is not None and (digest := _alike(entry, present, host, tree)) is not None:
            transfer.agree(entry.path, entry, present, digest)
            why = _OURS
        if why == _OURS:
            transfer.unchanged(entry)
            return True
        if not repositories.host_wins(entry.path):
            transfer.conflict(entry.path, why)
            return False
    if transfer.wishes.dry_run:
        transfer.carried(entry)
        return True
    try:
        if identity is not None and identity in first:
            made = tree.link(entry.path, first[identity].entry)
            digest = first[identity].digest
        else:
            contents = Digest()
            blocks = transfer.counted(contents.of(_of_the_host(host.blocks(entry))))
            made = tree.put(entry._replace(xattrs=host.xattrs(entry.path)), blocks)
            digest = contents.taken() if entry.kind == "file" else ""
    except _HostFailure as failure:
        (error,) = failure.args
        if isinstance(error, PermissionError):
            transfer.skipped(entry.path, f"it may not be read: {error.strerror}")
        else:
            transfer.failed(entry.path, f"it cannot be read: {error.strerror}")
        return False
    if identity is not None:
        first.setdefault(identity, _Pushed(made, digest))
    transfer.agree(entry.path, entry, made, digest)
    transfer.carried(made)
    return True


_OURS = "the store's is newer"


def _why_not_push(entry: Entry, present: Entry | None, agreed: Agreed | None) -> str:
    """Why the host's entry must not cover the store's; empty when it may."""
    if present is None:
        return ""
    if agreed is not None:
        untouched = (present.ino, present.version) == (agreed.ino, agreed.version)
        both_directories = present.kind == entry.kind == "dir"
        return "" if untouched or both_directories else "changed on the host and in the sandbox"
    if present.kind == entry.kind == "dir":
        return ""
    if present.origin == (entry.size, entry.mtime_ns):
        return _OURS
    return "made on the host and in the sandbox"


def _alike(entry: Entry, present: Entry, host: HostTree, tree: TreeWriter) -> str | None:
    """The digest of a file that both sides have made the same, whatever its times are; None where they have
    not."""
    if (entry.kind, entry.mode) != (present.kind, present.mode) or entry.kind == "dir":
        return None
    if entry.kind == "link":
        return "" if entry.target == present.target else None
    if entry.size != present.size or host.xattrs(entry.path) != dict(present.xattrs):
        return None
    contents = Digest()
    try:
        is_same = equal(contents.of(host.blocks(entry)), tree.blocks(present))
    except OSError:
        return None
    return contents.taken() if is_same else None


def _push_removal(transfer: Transfer, tree: TreeWriter, path: bytes, agreed: Agreed) -> None:
    """What the host removed since the last time."""
    present = tree.find(path)
    if present is None:
        transfer.agree(path, None, None)
        return
    untouched = (present.ino, present.version) == (agreed.ino, agreed.version) or present.kind == "dir"
    if not untouched and not transfer.wishes.force:
        transfer.conflict(path, "removed on the host and changed in the sandbox")
        return
    if not transfer.wishes.dry_run:
        tree.remove(path)
    transfer.agree(path, None, None)
    transfer.removed(path)
