"""What a branch agreed on with the host counts for that branch and for what goes on from it, and for no
other: pulls of several branches of one workspace."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.transfer.pull import pull
from art_core.transfer.push import push
from art_core.transfer.transfer import Totals, Wishes
from art_core.view.workspace import open_workspace
from art_cowfs.access.branch import OpenBranch
from art_cowfs.access.place import Place
from art_cowfs.integrity.check import problems
from art_cowfs.opening.database import connect
from art_cowfs.store import Database

FILES = {"a": "host a", "b": "host b", "src/c": "host c"}


class Desk:
    """A workspace that was pushed, and branches that are worked on."""

    def __init__(self, top: Path) -> None:
        self.host = top / "ws"
        for path, text in FILES.items():
            where = self.host / path
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_text(text)
        self.workspace = open_workspace(str(self.host))
        self.database = str(top / "t.db")
        self.store = Database(self.database, str(top / "state"))
        push(self.store, "main", self.workspace, Wishes())

    def work(self, branch: str, **texts: str | None) -> None:
        """Write the files, or remove those that get None; `src_c` is src/c."""
        place = Place(b"ws", os.fsencode(self.workspace.real), os.dup(self.workspace.fd))
        with OpenBranch(self.database, branch, workspace=place, uid=0, gid=0) as session:
            tree = session.tree
            for key, text in texts.items():
                directory = tree.lookup(tree.node(1), b"ws")
                *above, name = key.encode().split(b"_")
                for part in above:
                    assert directory is not None
                    directory = tree.lookup(directory, part)
                assert directory is not None
                node = tree.lookup(directory, name)
                if text is None:
                    assert node is not None
                    tree.leave(directory, name, node)
                    node.nlink = 0
                    tree.changed(node)
                    tree.discard(node)
                    continue
                if node is None:
                    node = tree.new(stat.S_IFREG | 0o644, time.time_ns())
                    node.nlink = 1
                    tree.enter(directory, name, node)
                tree.resize(node, 0)
                tree.write(node, 0, text.encode())
                node.mtime = node.ctime = time.time_ns()
                tree.changed(node)

    def pull(self, at: str, **wishes: bool) -> tuple[Totals, dict[str, str]]:
        """What it came to, and what was told."""
        told: dict[str, str] = {}
        totals = pull(
            self.store,
            at,
            self.workspace,
            Wishes(**wishes),  # type: ignore[arg-type]
            lambda action, path, entry, why: told.__setitem__(path.decode(), action),
        )
        return totals, {path: action for path, action in told.items() if action != "SAME"}

    def texts(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.host)): path.read_text()
            for path in sorted(self.host.rglob("*"))
            if path.is_file()
        }

    def restore(self, branch: str, at: str, *paths: bytes) -> str:
        return self.store.restore(branch, at, paths, self.workspace).name


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    os.close(made.workspace.fd)
    connection = connect(made.database)
    assert list(problems(connection)) == []
    connection.close()


def test_a_pull_of_one_branch_is_a_change_of_the_host_for_the_others(desk: Desk) -> None:
    for name in ("one", "two", "three"):
        desk.store.make_branch(name, "main")
    desk.work("one", a="one a", b=None, new="one new")
    desk.work("two", a="two a", src_c="two c")
    assert desk.pull("one")[1] == {"a": "FILE", "new": "FILE", "b": "DEL"}
    after_one = {"a": "one a", "new": "one new", "src/c": "host c"}
    assert desk.texts() == after_one
    # What two did not touch is left as one made it; what both touched is told and left alone.
    totals, told = desk.pull("two")
    assert told == {"a": "CONFLICT", "src/c": "FILE"}
    assert totals.conflicts == 1
    assert desk.texts() == {**after_one, "src/c": "two c"}
    # Nothing was done in three, so nothing is to be carried, nor to be undone.
    assert desk.pull("three")[1] == {}
    assert desk.texts() == {**after_one, "src/c": "two c"}
    # And one is still what the host has of it.
    assert desk.pull("one")[1] == {}


def test_a_branch_inherits_what_was_agreed_on_before_it_parted(desk: Desk) -> None:
    desk.work("main", a="main a")
    desk.pull("main")
    desk.store.make_branch("later", "main")
    desk.work("later", a="later a", b=None)
    assert desk.pull("later")[1] == {"a": "FILE", "b": "DEL"}
    assert desk.texts() == {"a": "later a", "src/c": "host c"}
    # Main has not changed since, and the host has: nothing of it comes back.
    assert desk.pull("main")[1] == {}
    desk.work("main", a="main again")
    assert desk.pull("main")[1] == {"a": "CONFLICT"}


def test_a_branch_that_parted_while_another_was_pulled_takes_both_for_agreed(desk: Desk) -> None:
    desk.work("main", a="main a")
    with desk.store.reader("main", desk.workspace):
        desk.store.make_branch("child", "main")
        desk.pull("main")
    desk.work("child", a="child a")
    assert desk.pull("child")[1] == {"a": "FILE"}


def test_a_restored_branch_knows_what_the_host_has(desk: Desk) -> None:
    desk.store.snapshot("main", "before")
    desk.work("main", a="agent a", b=None, new="agent new")
    desk.pull("main")
    kept = desk.restore("main", "before")
    assert desk.pull("main")[1] == {"a": "FILE", "b": "FILE", "new": "DEL"}
    assert desk.texts() == FILES
    assert desk.pull("main")[1] == {}
    # And back again.
    desk.restore("main", kept)
    assert desk.pull("main")[1] == {"a": "FILE", "new": "FILE", "b": "DEL"}
    assert desk.texts() == {"a": "agent a", "new": "agent new", "src/c": "host c"}


def test_a_host_that_changed_is_not_covered_after_a_restore(desk: Desk) -> None:
    desk.store.snapshot("main", "before")
    desk.work("main", a="agent a", b="agent b")
    desk.pull("main")
    (desk.host / "a").write_text("the user's")
    desk.restore("main", "before")
    assert desk.pull("main")[1] == {"a": "CONFLICT", "b": "FILE"}
    assert desk.texts()["a"] == "the user's"


def test_a_path_that_was_put_back_is_what_was_agreed_on(desk: Desk) -> None:
    desk.store.snapshot("main", "before")
    desk.work("main", a="agent a", b=None, src_c="agent c")
    desk.restore("main", "before", b"ws/a", b"ws/b")
    assert desk.pull("main")[1] == {"src/c": "FILE"}
    assert desk.texts() == {**FILES, "src/c": "agent c"}


def test_a_path_that_was_pulled_and_put_back_is_carried(desk: Desk) -> None:
    desk.store.snapshot("main", "before")
    desk.work("main", a="agent a", b=None, new="made")
    desk.pull("main")
    desk.restore("main", "before", b"ws/a", b"ws/b", b"ws/new")
    assert desk.pull("main")[1] == {"a": "FILE", "b": "FILE", "new": "DEL"}
    assert desk.texts() == FILES


def test_a_pull_of_a_snapshot_is_remembered_for_what_goes_on_from_it(desk: Desk) -> None:
    desk.work("main", a="kept a")
    desk.store.snapshot("main", "kept")
    desk.work("main", a="later a")
    assert desk.pull("kept")[1] == {"a": "FILE"}
    assert desk.texts()["a"] == "kept a"
    assert desk.pull("kept")[1] == {}
    assert desk.pull("main")[1] == {"a": "FILE"}
    assert desk.texts()["a"] == "later a"


def test_a_restore_from_another_branch_can_be_pulled(desk: Desk) -> None:
    desk.store.make_branch("other", "main")
    desk.work("other", a="other a", new="other new")
    desk.work("main", a="main a", b="main b")
    desk.pull("main")
    desk.restore("main", "other")
    assert desk.pull("main")[1] == {"a": "FILE", "b": "FILE", "new": "FILE"}
    assert desk.texts() == {"a": "other a", "b": "host b", "new": "other new", "src/c": "host c"}
    # The other one has the same, so there is nothing to tell.
    totals, told = desk.pull("other")
    assert (totals.conflicts, told) == (0, {})


def test_a_push_into_one_branch_is_not_one_into_another(desk: Desk) -> None:
    desk.store.make_branch("other", "main")
    (desk.host / "a").write_text("the user's")
    push(desk.store, "main", desk.workspace, Wishes())
    desk.work("other", a="other a")
    assert desk.pull("other")[1] == {"a": "CONFLICT"}
    assert push(desk.store, "other", desk.workspace, Wishes()).conflicts == 1
    assert desk.texts()["a"] == "the user's"


def test_what_neither_side_has_any_more_is_forgotten_by_one_branch_alone(desk: Desk) -> None:
    desk.store.make_branch("other", "main")
    desk.work("main", b=None)
    assert desk.pull("main")[1] == {"b": "DEL"}
    (desk.host / "b").write_text("made anew")
    # Main lost it and agreed; that it is there again is the host's doing.
    assert desk.pull("main")[1] == {}
    desk.work("other", b=None)
    assert desk.pull("other")[1] == {"b": "CONFLICT"}
    assert desk.texts()["b"] == "made anew"
