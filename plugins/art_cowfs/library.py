"""What stores may build on of this one: its databases, branches and layers, for another way to mount them.

Names are loaded when they are asked for: who only says which databases are his needs no SQLite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from art_cowfs.access.branch import OpenBranch
    from art_cowfs.access.copy_up import secure
    from art_cowfs.access.copy_up_request import answer, wanted_of
    from art_cowfs.access.place import Place
    from art_cowfs.access.placement import BLOCK, Placing
    from art_cowfs.access.workspace_tree import contents_of
    from art_cowfs.db.control_socket import listen, may_ask
    from art_cowfs.db.locks import BranchLost, Bystander, Occupied
    from art_cowfs.db.lookup import chain_of
    from art_cowfs.db.origins import OF_WORKSPACE
    from art_cowfs.db.paths import companions
    from art_cowfs.db.schema import CHUNK, HOST_NUMBERS, SEEDS
    from art_cowfs.db.transactions import changing
    from art_cowfs.layers.chain import Chain
    from art_cowfs.layers.layers import add_layer, add_point, is_empty
    from art_cowfs.layers.sync_base import inherit
    from art_cowfs.lower.lower import Lower, joined, within
    from art_cowfs.opening.database import connect, telling
    from art_cowfs.serve.client import Server
    from art_cowfs.store import Database, Databases
    from art_cowfs.tree.contents import WHOLE
    from art_cowfs.tree.nodes import CowNode
    from art_cowfs.tree.other_host import accepted_of
    from art_cowfs.tree.tree import Tree

_HOMES = {
    "art_cowfs.access.branch": ("OpenBranch",),
    "art_cowfs.access.copy_up": ("secure",),
    "art_cowfs.access.copy_up_request": ("answer", "wanted_of"),
    "art_cowfs.access.place": ("Place",),
    "art_cowfs.access.placement": ("BLOCK", "Placing"),
    "art_cowfs.access.workspace_tree": ("contents_of",),
    "art_cowfs.db.control_socket": ("listen", "may_ask"),
    "art_cowfs.db.locks": ("BranchLost", "Bystander", "Occupied"),
    "art_cowfs.db.lookup": ("chain_of",),
    "art_cowfs.db.origins": ("OF_WORKSPACE",),
    "art_cowfs.db.paths": ("companions",),
    "art_cowfs.db.schema": ("CHUNK", "HOST_NUMBERS", "SEEDS"),
    "art_cowfs.db.transactions": ("changing",),
    "art_cowfs.layers.chain": ("Chain",),
    "art_cowfs.layers.layers": ("add_layer", "add_point", "is_empty"),
    "art_cowfs.layers.sync_base": ("inherit",),
    "art_cowfs.lower.lower": ("Lower", "joined", "within"),
    "art_cowfs.opening.database": ("connect", "telling"),
    "art_cowfs.serve.client": ("Server",),
    "art_cowfs.store": ("Database", "Databases"),
    "art_cowfs.tree.contents": ("WHOLE",),
    "art_cowfs.tree.nodes": ("CowNode",),
    "art_cowfs.tree.other_host": ("accepted_of",),
    "art_cowfs.tree.tree": ("Tree",),
}
__all__ = [
    "BLOCK",
    "CHUNK",
    "HOST_NUMBERS",
    "OF_WORKSPACE",
    "SEEDS",
    "WHOLE",
    "BranchLost",
    "Bystander",
    "Chain",
    "CowNode",
    "Database",
    "Databases",
    "Lower",
    "Occupied",
    "OpenBranch",
    "Place",
    "Placing",
    "Server",
    "Tree",
    "accepted_of",
    "add_layer",
    "add_point",
    "answer",
    "chain_of",
    "changing",
    "companions",
    "connect",
    "contents_of",
    "inherit",
    "is_empty",
    "joined",
    "listen",
    "may_ask",
    "secure",
    "telling",
    "wanted_of",
    "within",
]


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
