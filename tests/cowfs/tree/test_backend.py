"""The tree of a branch keeps the file system's contract."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from art_cowfs.access.branch import OpenBranch
from art_cowfs.access.place import Place
from art_cowfs.tree.tree import Tree
from art_fusefs.testing import BackendContract, BackendExample
from tests.support.bench import crowd


@contextmanager
def tree(host: str, place: str) -> Iterator[Tree]:
    workspace = Place(b"ws", os.fsencode(host), os.open(host, os.O_RDONLY))
    with OpenBranch(f"{place}/t.db", "main", workspace=workspace, uid=0, gid=0) as session:
        yield session.tree


class TestTree(BackendContract):
    @pytest.fixture
    def backend_example(self) -> BackendExample:
        return BackendExample(open=tree)


class TestCrowdedTree(TestTree):
    @pytest.fixture(autouse=True)
    def crowded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        crowd(monkeypatch)
