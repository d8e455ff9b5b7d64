"""After a restore: what the host has of a later state does not show in the restored one.

A pull gave the host a file, and the restored state has none at its place: the host's would show there. It is
as if the sandbox had removed it, and the next pull does so on the host.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence

from art_core.contracts import Workspace
from art_cowfs.access.branch import OpenBranch
from art_cowfs.access.place import Place
from art_cowfs.db.locks import BranchInUse
from art_cowfs.layers import sync_base
from art_cowfs.lower.lower import joined
from art_cowfs.tree.nodes import CowNode
from art_cowfs.tree.tree import Tree
from art_fusefs.backend import ROOT

_PATIENCE_S = 2.0


def hide(path: str, branch: str, workspace: Workspace, below: Sequence[bytes], layer: int) -> None:
    """`below` are paths of the home that were restored; without any it is all that was agreed on in a
    layer. Raises DatabaseError when somebody goes on holding the branch."""
    until = time.monotonic() + _PATIENCE_S
    name = os.fsencode(workspace.name)
    while True:
        place = Place(name, os.fsencode(workspace.real), os.dup(workspace.fd), workspace.moved)
        try:
            with OpenBranch(path, branch, workspace=place, uid=0, gid=0) as session:
                places = sync_base.places(session.chain, name, layer if not below else 0)
                for one in reversed(places):
                    shown = one.replace(b"\0", b"/")
                    if not below or _is_below(joined(name, shown), below):
                        _hide(session.tree, name, shown)
            return
        except BranchInUse:
            os.close(place.fd)
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _is_below(path: bytes, tops: Sequence[bytes]) -> bool:
    return any(path == top or path.startswith(top + b"/") for top in tops)


def _hide(tree: Tree, workspace: bytes, path: bytes) -> None:
    tree.settle()
    node: CowNode | None = tree.lookup(tree.node(ROOT), workspace)
    directory, name = node, b""
    for name in path.split(b"/"):
        if node is None or not stat.S_ISDIR(node.mode):
            return
        directory, node = node, tree.lookup(node, name)
    if directory is None or node is None or node.held or directory.origin != path.rpartition(b"/")[0]:
        return
    if not stat.S_ISDIR(node.mode) or tree.is_empty(node):
        tree.leave(directory, name, node)
        tree.changed(directory)
