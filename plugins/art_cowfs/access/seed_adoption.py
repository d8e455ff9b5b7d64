"""Seeds that a branch meets: it remembers them, and its own directories are merged with theirs."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING

from art_core.errors import StoreError
from art_cowfs.db.schema import SEEDS
from art_cowfs.lower.seeds import KNOWN, Seed
from art_fusefs.backend import ROOT

if TYPE_CHECKING:
    from art_cowfs.layers.chain import Chain
    from art_cowfs.tree.nodes import CowNode
    from art_cowfs.tree.tree import Tree


def begin(tree: Tree, chain: Chain, seeds: Sequence[Seed], *, moved: bool) -> list[str]:
    """See that the home shows the seeds, whose paths the attributes of its top directory remember. Returns
    what the user should know; raises StoreError when what was copied up is of another host path."""
    known = chain.xattrs(ROOT)
    root = tree.node(ROOT)
    if root.origin is None:
        root.origin = SEEDS
        tree.changed(root)
    root.names_changing = True
    notes = []
    for seed in seeds:
        path = known.get(KNOWN + seed.guest)
        if path is None:
            notes += _adopt(tree, root, seed)
        elif path != seed.path and not moved and chain.comes_from(SEEDS + b"/" + seed.guest):
            raise StoreError(
                f"the seed at ~/{os.fsdecode(seed.guest)} of this database is {os.fsdecode(path)!r}, not "
                f"{os.fsdecode(seed.path)!r}, and what was changed in it belongs to that; add --moved if it "
                "was moved, or show this one elsewhere: --seed PATH:~/NAME"
            )
        if path != seed.path:
            tree.set_xattr(root, KNOWN + seed.guest, seed.path)
            tree.changed(root)
    return notes


def _adopt(tree: Tree, root: CowNode, seed: Seed) -> list[str]:
    """A seed that the branch has not met: directories that are there already are merged with it. One that
    is made anew later, in the place of a removed one, is not: it was emptied on purpose."""
    directory, origin = root, SEEDS
    for name in seed.guest.split(b"/"):
        node = tree.held(directory, name)
        if node is None:
            return []
        origin = origin + b"/" + name
        here = f"~/{os.fsdecode(origin[len(SEEDS) + 1 :])}"
        if not stat.S_ISDIR(node.mode):
            return [f"{here} is in the home already; the seed {os.fsdecode(seed.path)} does not show there"]
        if node.origin is None:
            node.origin = origin
            node.names_changing = True
            tree.changed(node)
        directory = node
    return []
