"""A server holds in memory only a part of a large tree, and finds the rest again."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_cowfs.access.branch import OpenBranch
from art_cowfs.access.place import Place
from art_cowfs.layers.chain import Chain
from art_cowfs.tree import resident, tree
from art_cowfs.tree.nodes import CowNode
from art_fusefs.backend import ROOT


def nodes() -> int:
    gc.collect()
    return sum(isinstance(one, CowNode) for one in gc.get_objects())


def test_few_of_many_files_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "NODES", 100)
    monkeypatch.setattr(resident, "NAMES", 100)
    host = tmp_path / "ws"
    host.mkdir()
    for number in range(2000):
        (host / f"host{number}").touch()
    before = nodes()
    workspace = Place(b"ws", os.fsencode(host), os.open(host, os.O_RDONLY))
    with OpenBranch(str(tmp_path / "t.db"), "main", workspace=workspace, uid=0, gid=0) as session:
        branch = session.tree
        root = branch.node(ROOT)
        for number in range(2000):
            node = branch.new(0o100644, 0)
            branch.enter(root, b"file%d" % number, node)
            branch.changed(node)
            if number == 1900:
                branch.settle()
                assert nodes() - before > 1900, "what is not in the database yet has to stay"
        branch.pending.wait()
        branch.settle()
        assert nodes() - before < 200
        top = branch.lookup(root, b"ws")
        assert top is not None
        shown = {}
        for name in branch.names(top):
            found = branch.lookup(top, name)
            assert found is not None
            found.lookups = 1
            shown[found.ino] = name
            del found
            branch.settle()
        assert len(shown) == 2000
        assert nodes() - before < 300
        for ino, name in shown.items():
            assert branch.node(ino).name == name
            branch.settle()
        gone, name = next(iter(shown.items()))  # Not one of the last, which are still in memory.
        (host / os.fsdecode(name)).unlink()
        top.host_time = 0.0
        with pytest.raises(OSError, match="Stale"):
            branch.node(gone)
        assert sum(name.startswith(b"file") for name in branch.names(root)) == 2000


def test_a_name_of_a_large_directory_is_asked_for_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All names were read for each of them again, once there were too many to be kept."""
    monkeypatch.setattr(tree, "_LIST_AT_ONCE", 100)
    asked: list[int] = []
    names = Chain.names

    def counted(self: Chain, parent: int, limit: int = -1) -> Iterator[tuple[bytes, int | None]]:
        asked.append(limit)
        return names(self, parent, limit)

    with OpenBranch(str(tmp_path / "t.db"), "main", workspace=None, uid=0, gid=0) as session:
        root = session.tree.node(ROOT)
        for number in range(300):
            session.tree.enter(root, b"file%d" % number, session.tree.new(0o100644, 0))
        session.tree.pending.wait()
        root.names.clear()
        root.complete = False
        monkeypatch.setattr(Chain, "names", counted)
        found = [session.tree.lookup(root, b"file%d" % number) for number in range(300)]
        assert None not in found
        assert session.tree.lookup(root, b"file300") is None
        assert asked == [101]
