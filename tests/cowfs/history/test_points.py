"""Random work on branches, snapshots and restores, compared with a model that copies whole trees."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from art_core.contracts import Workspace
from art_core.errors import StoreError
from art_core.view.workspace import open_workspace
from art_cowfs.access.branch import OpenBranch
from art_cowfs.access.place import Place
from art_cowfs.access.workspace_tree import reading
from art_cowfs.history import points
from art_cowfs.integrity.check import problems
from art_cowfs.layers.garbage import collect
from art_cowfs.layers.layers import Named
from art_cowfs.layers.squash import squash_branch
from art_cowfs.opening.database import connect
from art_cowfs.tree.nodes import CowNode
from art_cowfs.tree.tree import Tree

MIB = 1 << 20
BIG = os.urandom(1024) * (2 * 1024)
HOST = {"a": b"host a", "src/x": b"host x", "src/deep/y": b"host y" * 3000, "big": BIG}
LINKED = {"src/b": "a", "src/deep/b": "a"}
"""Further names that the host has for a file."""
NAMES = ["a", "b", "src", "deep", "x", "y", "big"]


class File(NamedTuple):
    """A file of the model, or with `data` None a symlink. What was not touched since has the same
    `version`."""

    number: int
    data: bytes | None
    version: int = 0


class State(NamedTuple):
    """A tree: None for a directory, a file's number otherwise, by path."""

    names: dict[str, int | None]
    files: dict[int, File]

    def copy(self) -> State:
        return State(dict(self.names), dict(self.files))

    def below(self, path: str) -> list[str]:
        return [name for name in self.names if name == path or name.startswith(path + "/")]

    def show(self) -> dict[str, object]:
        """What a walk finds: contents, and by which other names."""
        names: dict[int, list[str]] = {}
        for name, number in sorted(self.names.items()):
            if number is not None:
                names.setdefault(number, []).append(name)
        return {
            name: "directory" if number is None else (self.files[number].data, tuple(names[number]))
            for name, number in self.names.items()
        }


def walked(tree: Tree, top: CowNode) -> dict[str, object]:
    """The same of a tree of the store."""
    found: dict[str, object] = {}
    files: dict[int, list[tuple[str, CowNode, bytes | None]]] = {}

    def go(directory: CowNode, path: str) -> None:
        for name in sorted(tree.names(directory)):
            node, where = tree.lookup(directory, name), f"{path}{os.fsdecode(name)}"
            assert node is not None
            if stat.S_ISDIR(node.mode):
                found[where] = "directory"
                go(node, f"{where}/")
            else:
                data = None if stat.S_ISLNK(node.mode) else tree.read(node, 0, node.size)
                files.setdefault(node.ino, []).append((where, node, data))

    go(top, "")
    for several in files.values():
        names = tuple(sorted(where for where, _, _ in several))
        for where, node, data in several:
            found[where] = (data, names)
            assert node.nlink == len(names), (where, node.nlink, names)
    return found


class Work(RuleBasedStateMachine):
    """One workspace, one database, whatever a user and three agents may do with them."""

    def __init__(self) -> None:
        super().__init__()
        # In memory: what a disk takes to sync is not what is tried here.
        self.top = Path(tempfile.mkdtemp(prefix="art-test-points-", dir="/dev/shm"))
        self.database = str(self.top / "t.db")
        host = State({}, {})
        for path, data in HOST.items():
            where = self.top / "ws" / path
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(data)
            os.utime(where, (1_700_000_000, 1_700_000_000))  # Not so young that it is copied at once.
            self._add(host, path, data)
        for path, to in LINKED.items():
            os.link(self.top / "ws" / to, self.top / "ws" / path)
            host.names[path] = host.names[to]
        host.names.update({"src": None, "src/deep": None})
        self.host = host
        self.workspace: Workspace = open_workspace(str(self.top / "ws"))
        self.states: dict[str, State] = {"main": host.copy()}
        self.kinds = {"main": "branch"}
        self.branch = "main"
        self.session: OpenBranch | None = None
        self.number = 0
        self._open()

    numbers = 0

    def _add(self, state: State, path: str, data: bytes | None) -> None:
        Work.numbers += 1
        state.names[path] = Work.numbers
        state.files[Work.numbers] = File(Work.numbers, data)

    def _open(self) -> None:
        fd = os.dup(self.workspace.fd)
        place = Place(b"ws", os.fsencode(self.workspace.real), fd)
        self.session = OpenBranch(self.database, self.branch, workspace=place, uid=0, gid=0)

    def _close(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None

    @contextmanager
    def let_go(self) -> Iterator[None]:
        """Nobody has a branch open meanwhile."""
        self._close()
        try:
            yield
        finally:
            self._open()

    @property
    def state(self) -> State:
        return self.states[self.branch]

    def tree(self) -> Tree:
        assert self.session is not None
        return self.session.tree

    def at(self, path: str) -> CowNode:
        tree = self.tree()
        node: CowNode | None = tree.lookup(tree.node(1), b"ws")
        for name in path.split("/") if path else ():
            assert node is not None
            node = tree.lookup(node, os.fsencode(name))
        assert node is not None
        return node

    def teardown(self) -> None:
        try:
            self._close()
            self._compare()
        finally:
            os.close(self.workspace.fd)
            shutil.rmtree(self.top)

    def _compare(self) -> None:
        for name, state in self.states.items():
            with reading(self.database, name, self.workspace) as reader:
                top = reader._top()
                shown = {} if top is None else walked(reader._tree, top)
                assert shown == (state.show() if top is not None else {}), name
        connection = connect(self.database)
        found = list(problems(connection))
        connection.close()
        assert found == []

    # --- work in a branch ----------------------------------------------------------------------

    def _entry(self, name: str) -> tuple[CowNode, bytes, CowNode | None]:
        above, _, last = name.rpartition("/")
        directory = self.at(above)
        return directory, os.fsencode(last), self.tree().lookup(directory, os.fsencode(last))

    def _touched(self, number: int) -> None:
        file = self.state.files[number]
        self.state.files[number] = file._replace(version=time.monotonic_ns())

    def _place(self, data: st.DataObject) -> str:
        directories = ["", *(f"{name}/" for name, number in self.state.names.items() if number is None)]
        return data.draw(st.sampled_from(sorted(directories))) + data.draw(st.sampled_from(NAMES))

    def _some(self, data: st.DataObject, *, files: bool) -> str | None:
        names = [name for name, number in self.state.names.items() if (number is not None) is files]
        return data.draw(st.sampled_from(sorted(names))) if names else None

    @rule(data=st.data(), contents=st.binary(max_size=20), kind=st.sampled_from(["file", "dir", "link"]))
    def make(self, data: st.DataObject, contents: bytes, kind: str) -> None:
        path = self._place(data)
        if path not in self.state.names:
            self.made(path, contents, kind)

    def made(self, path: str, contents: bytes = b"", kind: str = "file") -> None:
        directory, name, _ = self._entry(path)
        mode = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "link": stat.S_IFLNK}[kind]
        node = self.tree().new(mode | 0o755, time.time_ns())
        if kind == "link":
            node.target, node.size = b"a", 1
        node.nlink = 2 if kind == "dir" else 1
        directory.nlink += kind == "dir"
        self.tree().enter(directory, name, node)
        self.tree().changed(node)
        if kind == "file":
            self.tree().write(node, 0, contents)
        if kind == "dir":
            self.state.names[path] = None
        else:
            self._add(self.state, path, None if kind == "link" else contents)

    @rule(
        data=st.data(),
        offset=st.sampled_from([0, 3, 70_000, 1_100_000]),
        contents=st.binary(min_size=1, max_size=20),
    )
    def write(self, data: st.DataObject, offset: int, contents: bytes) -> None:
        path = self._some(data, files=True)
        if path is not None and self._is_regular(path):
            self.written(path, offset, contents)

    def _is_regular(self, path: str) -> bool:
        number = self.state.names[path]
        return number is not None and self.state.files[number].data is not None

    def written(self, path: str, offset: int, contents: bytes) -> None:
        number = self.state.names[path]
        assert number is not None
        node = self.at(path)
        self.tree().write(node, offset, contents)
        node.ctime = time.time_ns()
        self.tree().changed(node)
        before = self.state.files[number].data or b""
        padded = before.ljust(offset, b"\0")
        new = padded[:offset] + contents + padded[offset + len(contents) :]
        self.state.files[number] = File(number, new, time.monotonic_ns())

    @rule(data=st.data(), size=st.sampled_from([0, 2, 66_000, 1_200_000]))
    def truncate(self, data: st.DataObject, size: int) -> None:
        path = self._some(data, files=True)
        if path is None or not self._is_regular(path):
            return
        number = self.state.names[path]
        assert number is not None
        node = self.at(path)
        self.tree().resize(node, size)
        node.ctime = time.time_ns()
        self.tree().changed(node)
        before = self.state.files[number].data or b""
        self.state.files[number] = File(number, before[:size].ljust(size, b"\0"), time.monotonic_ns())

    @rule(data=st.data())
    def link(self, data: st.DataObject) -> None:
        path, to = self._some(data, files=True), self._place(data)
        if path is not None and to not in self.state.names:
            self.linked(path, to)

    def linked(self, path: str, to: str) -> None:
        node = self.at(path)
        directory, name, _ = self._entry(to)
        self.tree().enter(directory, name, node)
        node.nlink += 1
        self.tree().changed(node)
        number = self.state.names[path]
        assert number is not None
        self.state.names[to] = number
        self._touched(number)

    @rule(data=st.data(), files=st.booleans(), opened=st.booleans())
    def remove(self, data: st.DataObject, files: bool, opened: bool) -> None:
        path = self._some(data, files=files)
        if path is not None:
            self.removed(path, opened=opened)

    def removed(self, path: str, *, opened: bool = False) -> None:
        """With all that is below. What is `opened` stays known until the end of the session."""
        for one in sorted(self.state.below(path), reverse=True):
            self._remove(one, opened=opened)

    def _remove(self, path: str, *, opened: bool) -> None:
        directory, name, node = self._entry(path)
        assert node is not None
        self.tree().leave(directory, name, node)
        is_directory = stat.S_ISDIR(node.mode)
        node.nlink = 0 if is_directory else node.nlink - 1
        directory.nlink -= is_directory
        self.tree().changed(node)
        self.tree().changed(directory)
        if node.nlink == 0 and not opened:
            self.tree().discard(node)
        number = self.state.names.pop(path)
        if number is not None:
            self._touched(number)

    @rule(data=st.data(), files=st.booleans())
    def rename(self, data: st.DataObject, files: bool) -> None:
        path, to = self._some(data, files=files), self._place(data)
        if path is not None and to not in self.state.names and not to.startswith(f"{path}/"):
            self.renamed(path, to)

    def renamed(self, path: str, to: str) -> None:
        source, old, node = self._entry(path)
        target, new, _ = self._entry(to)
        assert node is not None
        self.tree().leave(source, old, node)
        self.tree().enter(target, new, node)
        node.ctime = time.time_ns()
        self.tree().changed(node)
        source.nlink -= stat.S_ISDIR(node.mode)
        target.nlink += stat.S_ISDIR(node.mode)
        self.tree().changed(source)
        self.tree().changed(target)
        for one in sorted(self.state.below(path)):
            number = self.state.names.pop(one)
            self.state.names[to + one[len(path) :]] = number
            if one == path and number is not None:
                self._touched(number)

    # --- points --------------------------------------------------------------------------------

    def _name(self, kind: str) -> str:
        self.number += 1
        return f"{kind}-{self.number}"

    @rule()
    def snapshot(self) -> None:
        self.frozen()

    def frozen(self) -> str:
        name = self._name("s")
        assert self.session is not None
        os.close(self.session.freeze(Named(name))[1])
        self.states[name], self.kinds[name] = self.state.copy(), "snapshot"
        return name

    @rule(data=st.data())
    def branch_off(self, data: st.DataObject) -> None:
        self.branched(data.draw(st.sampled_from(list(self.states))))

    def branched(self, at: str) -> str:
        name = self._name("b")
        with self.let_go():
            points.make_branch(self.database, name, at)
        self.states[name], self.kinds[name] = self.states[at].copy(), "branch"
        return name

    @rule(data=st.data())
    def switch(self, data: st.DataObject) -> None:
        branches = [name for name, kind in self.kinds.items() if kind == "branch"]
        self.switched(data.draw(st.sampled_from(branches)))

    def switched(self, branch: str) -> None:
        with self.let_go():
            self.branch = branch

    @rule()
    def squash(self) -> None:
        with self.let_go():
            squash_branch(self.database, self.branch)

    @rule(let_go=st.booleans())
    def collect(self, let_go: bool) -> None:
        """Also while a branch is held."""
        with self.let_go() if let_go else nullcontext():
            collect(self.database)

    @precondition(lambda self: len(self.states) > 2)
    @rule(data=st.data())
    def remove_point(self, data: st.DataObject) -> None:
        others = [name for name in self.states if name not in ("main", self.branch)]
        if not others:
            return
        self.forgotten(data.draw(st.sampled_from(others)))

    def forgotten(self, name: str) -> None:
        points.remove(self.database, name)
        del self.states[name], self.kinds[name]

    @precondition(lambda self: len(self.states) > 1)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from([name for name in self.states if name != self.branch]))
        with self.let_go():
            kept = points.restore(self.database, self.branch, at, (), self.workspace)
        self.states[kept.name], self.kinds[kept.name] = self.state, "snapshot"
        self.states[self.branch] = self.states[at].copy()

    @precondition(lambda self: len(self.states) > 1)
    @rule(data=st.data())
    def restore_path(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from([name for name in self.states if name != self.branch]))
        known = sorted(self.states[at].names.keys() | self.state.names.keys())
        if known:
            self.put_back(at, data.draw(st.sampled_from(known)))

    @rule(data=st.data(), files=st.booleans())
    def restore_what_was_removed(self, data: st.DataObject, files: bool) -> None:
        path = self._some(data, files=files)
        if path is not None:
            name = self.frozen()
            self.removed(path)
            self.put_back(name, path)

    def put_back(self, at: str, path: str) -> str:
        """The name of what was there before, empty for one that is refused."""
        wanted = self.states[at]
        above = [path[:end] for end, char in enumerate(path) if char == "/"]
        if any(self.state.names.get(name, None) is not None for name in above):
            with self.let_go(), pytest.raises(StoreError, match="is no directory any more"):
                points.restore(self.database, self.branch, at, [f"ws/{path}".encode()], self.workspace)
            return ""
        with self.let_go():
            kept = points.restore(self.database, self.branch, at, [f"ws/{path}".encode()], self.workspace)
        self.states[kept.name], self.kinds[kept.name] = self.state.copy(), "snapshot"
        self._put_back(path, wanted, above)
        self._join_what_the_host_joins()
        return kept.name

    def _join_what_the_host_joins(self) -> None:
        """What is put back by several restores is one file again where the host's shows, and where it could
        not be shown it is not: either is right for what is as the host has it."""
        seen: dict[tuple[str, ...], int] = {}
        for name, found in walked(self.tree(), self.at("")).items():
            number = self.state.names.get(name)
            if isinstance(found, tuple) and found[0] == HOST["a"] and number is not None:
                first = seen.setdefault(found[1], number)
                if self.state.files[number].data == HOST["a"]:
                    self.state.names[name] = first

    def _put_back(self, path: str, wanted: State, above: list[str]) -> None:
        placed: dict[int, int] = {}
        for name in sorted({*self.state.below(path), *wanted.below(path)}):
            mine, theirs = self.state.names.get(name), wanted.names.get(name)
            if name not in wanted.names:
                self._lose(name)
            elif theirs is None:
                if mine is not None:
                    self._lose(name)
                self.state.names[name] = None
            elif mine == theirs and self.state.files[mine] == wanted.files[theirs] and mine not in placed:
                continue
            else:
                self._lose(name)
                if theirs not in placed:
                    self._add(self.state, name, wanted.files[theirs].data)
                    number = self.state.names[name]
                    assert number is not None
                    placed[theirs] = number
                self.state.names[name] = placed[theirs]
        if path in wanted.names:
            for name in above:
                self.state.names.setdefault(name, None)

    def _lose(self, name: str) -> None:
        number = self.state.names.pop(name, None)
        if number is not None:
            self._touched(number)

    @invariant()
    def the_branch_is_the_same(self) -> None:
        assert walked(self.tree(), self.at("")) == self.state.show()


Work.TestCase.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPoints = pytest.mark.timeout(300)(pytest.mark.slow(Work.TestCase))


@pytest.fixture
def work() -> Iterator[Work]:
    """What is done to it is compared with the model at the end."""
    made = Work()
    try:
        yield made
        made.the_branch_is_the_same()
    finally:
        made.teardown()


def test_a_restored_name_of_a_host_file_is_another_file_than_its_changed_ones(work: Work) -> None:
    name = work.frozen()
    work.written("src/b", 0, b"changed")
    work.put_back(name, "a")
    assert work.state.show()["a"] == (b"host a", ("a",))
    assert work.state.show()["src/deep/b"] == (b"changed", ("src/b", "src/deep/b"))


def test_two_names_of_a_host_file_come_back_as_one_where_one_of_them_cannot_be_shown(work: Work) -> None:
    name = work.frozen()
    work.removed("a")
    work.put_back(name, "a")
    work.put_back(name, "src")
    assert work.state.show()["src/b"] == (b"host a", ("src/b", "src/deep/b"))


def test_a_host_directory_comes_back_without_what_was_moved_out_of_it(work: Work) -> None:
    name = work.frozen()
    work.renamed("src/deep", "y")
    work.put_back(name, "src")
    work.written("src/deep/y", 0, b"one")
    work.written("y/y", 0, b"other")


def test_names_in_a_directory_that_is_gone_go_with_it_in_a_merge(work: Work) -> None:
    name = work.frozen()
    work.made("x", kind="dir")
    work.made("x/y", b"data")
    kept = work.put_back(name, "x")
    work.forgotten(kept)
    for _ in range(2):
        with work.let_go():
            pass


def test_a_changed_file_keeps_the_names_that_it_has_in_both(work: Work) -> None:
    work.written("a", 0, b"changed")
    name = work.frozen()
    work.removed("src/deep/y")
    work.put_back(name, "src/deep")
    assert work.state.show()["a"] == (b"changed", ("a", "src/b", "src/deep/b"))


def test_a_directory_that_was_made_anew_keeps_what_was_moved_back_into_it(work: Work) -> None:
    work.made("x", kind="dir")
    work.made("x/y", kind="dir")
    work.made("x/y/a")
    work.linked("x/y/a", "y")
    name = work.frozen()
    work.renamed("x/y", "b")
    work.removed("x")
    work.made("x", kind="dir")
    work.renamed("b", "x/y")
    work.put_back(name, "x")
    assert work.state.show()["y"] == (b"", ("x/y/a", "y"))


def test_names_of_one_host_file_are_one_where_another_branch_has_copied_it(work: Work) -> None:
    name = work.branched("main")
    work.written("a", 0, b"main's")
    work.switched(name)
    work.written("src/b", 0, b"its own")


def test_a_restored_directory_leaves_other_names_of_its_files_alone(work: Work) -> None:
    work.linked("big", "src/x2")
    name = work.frozen()
    work.removed("src")
    work.put_back(name, "src")
    assert work.state.show()["big"] == (BIG, ("big",))


def test_a_name_of_the_host_that_a_restore_hides_is_not_counted(work: Work) -> None:
    before = work.frozen()
    work.removed("src/b")
    without = work.frozen()
    with work.let_go():
        points.restore(work.database, "main", before, (), work.workspace)
    work.states["main"] = work.states[before].copy()
    work.put_back(without, "src/b")
    assert work.at("a").nlink == 2


def test_names_of_the_host_in_a_directory_that_a_restore_hides_are_not_counted(work: Work) -> None:
    before = work.frozen()
    work.removed("src")
    without = work.frozen()
    with work.let_go():
        points.restore(work.database, "main", before, (), work.workspace)
    work.states["main"] = work.states[before].copy()
    work.put_back(without, "src")
    assert work.at("a").nlink == 1


def test_a_name_of_the_host_that_comes_back_alone_is_counted_alone(work: Work) -> None:
    before = work.frozen()
    for name in ("a", "src/b", "src/deep/b"):
        work.removed(name)
    work.put_back(before, "src/b")
    assert work.at("src/b").nlink == 1


def test_names_of_the_host_that_a_restore_leaves_in_their_place_are_counted(work: Work) -> None:
    other = work.branched("main")
    work.put_back(other, "src/deep/b")
    work.put_back(other, "src")
    assert work.at("a").nlink == 3


def test_a_directory_of_the_host_that_comes_back_alone_counts_its_own_names(work: Work) -> None:
    before = work.frozen()
    for name in ("a", "src/b", "src/deep/b"):
        work.removed(name)
    work.removed("src/deep")
    work.put_back(before, "src/deep")
    assert work.at("src/deep/b").nlink == 1
