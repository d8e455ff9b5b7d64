"""A server holds in memory only a part of a large tree, and finds the rest again."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from art_cowfs import resident
from art_cowfs.nodes import CowNode
from art_cowfs.session import Place, Session
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
    with Session(str(tmp_path / "t.db"), "main", workspace=workspace, uid=0, gid=0) as session:
        tree = session.tree
        root = tree.node(ROOT)
        for number in range(2000):
            node = tree.new(0o100644, 0)
            tree.enter(root, b"file%d" % number, node)
            tree.changed(node)
            if number == 1900:
                tree.settle()
                assert nodes() - before > 1900, "what is not in the database yet has to stay"
        tree.pending.wait()
        tree.settle()
        assert nodes() - before < 200
        top = tree.lookup(root, b"ws")
        assert top is not None
        shown = {}
        for name in tree.names(top):
            found = tree.lookup(top, name)
            assert found is not None
            found.lookups = 1
            shown[found.ino] = name
            del found
            tree.settle()
        assert len(shown) == 2000
        assert nodes() - before < 300
        for ino, name in shown.items():
            assert tree.node(ino).name == name
            tree.settle()
        (host / "host7").unlink()
        gone = next(ino for ino, name in shown.items() if name == b"host7")
        top.host_time = 0.0
        with pytest.raises(OSError, match="Stale"):
            tree.node(gone)
        assert sum(name.startswith(b"file") for name in tree.names(root)) == 2000
