"""The backend contract, as a class of tests that a store's author subclasses.

A backend is asked directly here, as the file system asks it; `art_core.testing.StoreContract` then
looks at the whole through a mount.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import pytest

from art_core.testing.rules import Rule, rule_of
from art_fusefs.backend import ROOT, Backend, Node

_FILE, _DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
_MIB = 1 << 20


class BackendExample(NamedTuple):
    """`open` gives a backend over what `place`, a directory, kept so far: its top directory has one
    entry `ws`, which shows the directory `host`."""

    open: Callable[[str, str], AbstractContextManager[Backend[Any]]]


class Work:
    """A backend, and what the file system would do with it."""

    def __init__(self, backend: Backend[Any], rule: Rule) -> None:
        self.backend = backend
        self.rule = rule

    @property
    def root(self) -> Any:
        return self.backend.node(ROOT)

    def find(self, *names: bytes) -> Any:
        """What stands at a path; the rule is broken when nothing does."""
        node = self.root
        for name in names:
            node = self.backend.lookup(node, name)
            self.rule.holds(node is not None, f"nothing is found at {names!r}")
        return node

    def make(self, directory: Node, name: bytes, mode: int = _FILE) -> Any:
        node = self.backend.new(mode, time.time_ns())
        if stat.S_ISDIR(mode):
            node.nlink = 2
            directory.nlink += 1
        self.backend.enter(directory, name, node)
        self.backend.changed(node)
        self.backend.changed(directory)
        return node

    def remove(self, directory: Node, name: bytes, node: Node) -> None:
        self.backend.leave(directory, name, node)
        node.nlink -= 1
        self.backend.changed(node)
        self.backend.changed(directory)

    def move(self, source: Node, name: bytes, node: Node, target: Node, to: bytes) -> None:
        self.backend.leave(source, name, node)
        self.backend.enter(target, to, node)
        for one in (node, source, target):
            self.backend.changed(one)

    def content(self, node: Node) -> bytes:
        """All of a file, in reads of odd sizes."""
        parts, offset = [], 0
        self.backend.opened(node)
        while part := self.backend.read(node, offset, 100_001):
            parts.append(part)
            offset += len(part)
        self.backend.closed(node)
        return b"".join(parts)

    def flush(self) -> None:
        ended, failures = threading.Event(), []

        def done(failure: OSError | None) -> None:
            failures.append(failure)
            ended.set()

        self.backend.flush(done)
        self.rule.holds(ended.wait(30), "flush did not call back within 30 s")
        self.rule.equals(failures, [None], "what flush said")


class BackendContract:
    """What every backend has to keep. Override `backend_example`:

        class TestMine(BackendContract):
            @pytest.fixture
            def backend_example(self):
                return BackendExample(open=open_mine)

    Each test is one rule, named in its failure.
    """

    @pytest.fixture
    def backend_example(self) -> BackendExample:
        raise NotImplementedError("override backend_example: return the BackendExample to test")

    @pytest.fixture
    def rule(self, request: pytest.FixtureRequest) -> Rule:
        return rule_of(request.function)

    @pytest.fixture
    def host(self) -> Iterator[str]:
        directory = tempfile.mkdtemp(prefix="art-kit-", dir="/var/tmp")
        os.mkdir(f"{directory}/host")
        yield f"{directory}/host"
        shutil.rmtree(directory)

    @pytest.fixture
    def opened(
        self, backend_example: BackendExample, rule: Rule, host: str
    ) -> Callable[[], AbstractContextManager[Work]]:
        @contextmanager
        def opened() -> Iterator[Work]:
            with backend_example.open(host, os.path.dirname(host)) as backend:
                yield Work(backend, rule)

        return opened

    def test_top(self, rule: Rule, opened: Callable[[], AbstractContextManager[Work]]) -> None:
        """The top directory has the number ROOT, is above itself, and has the one entry."""
        with opened() as work:
            rule.holds(stat.S_ISDIR(work.root.mode), f"the top's mode is {work.root.mode:o}")
            rule.equals(work.root.ino, ROOT)
            rule.holds(work.backend.parent(work.root) is work.root, "something else is above the top")
            rule.equals(set(work.backend.names(work.root)), {b"ws"})
            rule.holds(
                work.backend.parent(work.find(b"ws")) is work.root, "the top is not above the workspace"
            )

    def test_names(self, rule: Rule, opened: Callable[[], AbstractContextManager[Work]]) -> None:
        """A name that was entered leads to its node and is listed; one that left, neither; an empty
        directory is told from a full one."""
        with opened() as work:
            directory = work.make(work.root, b"directory", _DIRECTORY)
            rule.holds(work.backend.is_empty(directory), "a new directory is not empty")
            node = work.make(directory, b"odd \xff\n name")
            rule.holds(work.backend.lookup(directory, b"odd \xff\n name") is node, "another node is found")
            rule.equals(list(work.backend.names(directory)), [b"odd \xff\n name"])
            rule.holds(not work.backend.is_empty(directory), "a directory with a name is empty")
            other = work.make(directory, b"other")
            work.remove(directory, b"odd \xff\n name", node)
            rule.equals(work.backend.lookup(directory, b"odd \xff\n name"), None, "after it left")
            rule.equals(list(work.backend.names(directory)), [b"other"])
            work.remove(directory, b"other", other)
            rule.holds(work.backend.is_empty(directory), "a directory that all names left is not empty")

    def test_numbers(self, rule: Rule, opened: Callable[[], AbstractContextManager[Work]]) -> None:
        """Each node has a number of its own, by which it is found; no other number is answered."""
        with opened() as work:
            made = [work.make(work.root, b"%d" % number) for number in range(100)]
            rule.equals(
                len({node.ino for node in made} | {ROOT}), 101, "numbers of 100 new nodes and the top"
            )
            for node in made:
                rule.holds(work.backend.node(node.ino) is node, f"{node.ino} leads to another node")
            try:
                work.backend.node(max(node.ino for node in made) + 12345)
            except OSError:
                pass
            else:
                rule.broken("a number that was never given out is answered")

    def test_contents(self, rule: Rule, opened: Callable[[], AbstractContextManager[Work]]) -> None:
        """Reads give what was written, zeros where nothing was, and nothing beyond the end; cutting and
        growing a file leave zeros behind what was cut."""
        chance = random.Random(7)
        with opened() as work:
            node, model = work.make(work.root, b"file"), bytearray()
            work.backend.opened(node)
            for _ in range(60):
                offset, size = chance.randrange(300_000), chance.choice((1, 100, 4096, 65536, 150_000))
                if chance.random() < 0.3:
                    work.backend.resize(node, offset)
                    del model[offset:]
                    model.extend(bytes(offset - len(model)))
                else:
                    data = chance.randbytes(size)
                    work.backend.write(node, offset, data)
                    model.extend(bytes(max(0, offset - len(model))))
                    model[offset : offset + size] = data
                work.backend.changed(node)
                rule.equals(node.size, len(model), "the size")
                start = chance.randrange(400_000)
                found = work.backend.read(node, start, 50_000)
                rule.holds(found == model[start : start + 50_000], f"another part is read at {start}")
            rule.holds(work.content(node) == model, "all of it is something else")

    def test_holes(self, rule: Rule, opened: Callable[[], AbstractContextManager[Work]]) -> None:
        """What was cleared is zeros and the rest stays, what may hold something else is found in order, and
        nothing of it is lost at the next opening."""
        chance = random.Random(11)
        with opened() as work:
            node = work.make(work.root, b"file")
            work.backend.opened(node)
            model = bytearray(chance.randbytes(400_000))
            work.backend.write(node, 0, bytes(model))
            work.backend.resize(node, 900_000)
            model.extend(bytes(500_000))
            for offset, size in (1000, 3000), (65_536, 65_536), (100_000, 200_000), (390_000, 510_000):
                work.backend.clear(node, offset, size)
                model[offset : offset + size] = bytes(size)
                work.backend.changed(node)
                rule.equals(node.size, len(model), "the size")
                rule.holds(work.content(node) == model, f"{size} bytes were cleared at {offset}")
            self._only_zeros_between(rule, work, node, model)
            work.backend.write(node, 70_000, b"again")
            model[70_000:70_005] = b"again"
            work.backend.changed(node)
            self._only_zeros_between(rule, work, node, model)
            work.flush()
        with opened() as work:
            node = work.find(b"file")
            rule.holds(work.content(node) == model, "the next time it is something else")
            self._only_zeros_between(rule, work, node, model)

    def _only_zeros_between(self, rule: Rule, work: Work, node: Node, model: bytearray) -> None:
        """Parts are told in order, each with at least a byte, and between them there are zeros."""
        at = 0
        while at < len(model):
            found = work.backend.data(node, at)
            start, end = (len(model), len(model)) if found is None else found
            rule.holds(not any(model[at:start]), f"{at} to {start} are told as zeros, and are not")
            rule.holds(found is None or at <= start < end <= len(model), (at, found))
            at = end

    def test_kept(self, rule: Rule, opened: Callable[[], AbstractContextManager[Work]]) -> None:
        """What was flushed is there when it is opened again: names, numbers, attributes, links, contents,
        extended attributes and removals."""
        with opened() as work:
            directory = work.make(work.root, b"directory", _DIRECTORY)
            node = work.make(directory, b"file")
            work.backend.write(node, 5 * _MIB, b"end")
            work.backend.set_xattr(node, b"user.one", b"1")
            node.mode, node.mtime, node.nlink = stat.S_IFREG | 0o751, 1_000_000_007, 2
            work.backend.enter(work.root, b"second", node)
            work.backend.changed(node)
            link = work.make(directory, b"link", stat.S_IFLNK | 0o777)
            link.target, link.size = b"target", 6
            work.backend.changed(link)
            work.remove(directory, b"gone", work.make(directory, b"gone"))
            numbers = (directory.ino, node.ino, link.ino)
            work.flush()
        with opened() as work:
            node = work.find(b"directory", b"file")
            link = work.find(b"directory", b"link")
            rule.equals((work.find(b"directory").ino, node.ino, link.ino), numbers, "numbers")
            rule.equals(work.find(b"second").ino, node.ino, "the number of the second name")
            rule.equals((node.mode, node.mtime, node.nlink), (stat.S_IFREG | 0o751, 1_000_000_007, 2))
            rule.holds(work.content(node) == bytes(5 * _MIB) + b"end", "the contents are others")
            rule.equals(work.backend.xattrs(node), {b"user.one": b"1"})
            rule.equals((link.target, stat.S_ISLNK(link.mode)), (b"target", True))
            rule.equals(set(work.backend.names(work.find(b"directory"))), {b"file", b"link"})

    def test_let_go(self, rule: Rule, opened: Callable[[], AbstractContextManager[Work]]) -> None:
        """Between requests a backend may let go of nodes that are not open: by number they are found
        again, with all they had. A node without names stays until it is discarded."""
        with opened() as work:
            made = {}
            for number in range(300):
                node = work.make(work.root, b"%d" % number)
                work.backend.write(node, 0, b"%d" % number)
                work.backend.changed(node)
                made[node.ino] = (b"%d" % number, node.mode, node.mtime)
            opened_one = work.make(work.root, b"open")
            opened_one.opens = 1
            work.backend.opened(opened_one)
            work.backend.write(opened_one, 0, b"open")
            work.remove(work.root, b"open", opened_one)
            work.flush()
            work.backend.settle()
            for ino, (content, mode, mtime) in made.items():
                node = work.backend.node(ino)
                rule.equals((node.ino, node.mode, node.mtime, node.size), (ino, mode, mtime, len(content)))
                rule.equals(work.content(node), content)
                work.backend.settle()
            rule.holds(
                work.backend.resident(opened_one.ino) is opened_one, "a node that is open was let go of"
            )
            rule.equals(work.backend.read(opened_one, 0, 10), b"open")
            work.backend.closed(opened_one)
            opened_one.opens = 0
            work.backend.discard(opened_one)
            rule.equals(work.backend.resident(opened_one.ino), None, "after it was discarded")

    def test_extended_attributes(
        self, rule: Rule, opened: Callable[[], AbstractContextManager[Work]]
    ) -> None:
        """Extended attributes are set, replaced and removed one by one, and what is handed out is the
        caller's."""
        with opened() as work:
            node = work.make(work.root, b"file")
            work.backend.set_xattr(node, b"user.a", b"1")
            work.backend.set_xattr(node, b"user.b", b"\x00" * 1000)
            work.backend.set_xattr(node, b"user.a", b"2")
            work.backend.xattrs(node).clear()
            rule.equals(work.backend.xattrs(node), {b"user.a": b"2", b"user.b": b"\x00" * 1000})
            work.backend.set_xattr(node, b"user.a", None)
            rule.equals(set(work.backend.xattrs(node)), {b"user.b"})

    def test_host_shows(
        self, rule: Rule, host: str, opened: Callable[[], AbstractContextManager[Work]]
    ) -> None:
        """What the store does not have comes from the host, with its attributes, and is not written there."""
        os.mkdir(f"{host}/below")
        with open(f"{host}/below/file", "wb") as file:
            file.write(b"host" * 100_000)
        os.chmod(f"{host}/below/file", 0o640)
        os.symlink("below/file", f"{host}/link")
        found = os.stat(f"{host}/below/file")
        with opened() as work:
            rule.equals(set(work.backend.names(work.find(b"ws"))), {b"below", b"link"})
            rule.equals(work.find(b"ws", b"link").target, b"below/file")
            node = work.find(b"ws", b"below", b"file")
            rule.equals((node.mode, node.size, node.mtime), (found.st_mode, 400_000, found.st_mtime_ns))
            rule.holds(work.content(node) == b"host" * 100_000, "the contents are others")
            work.backend.opened(node)
            work.backend.write(node, 4, b"ours")
            work.backend.changed(node)
            work.backend.closed(node)
            work.remove(work.find(b"ws"), b"link", work.find(b"ws", b"link"))
            rule.holds(
                work.content(node) == b"hostours" + b"host" * 99_998, "after a write it is something else"
            )
            rule.equals(set(work.backend.names(work.find(b"ws"))), {b"below"})
            number = node.ino
            work.flush()
        after = os.stat(f"{host}/below/file")
        rule.equals(
            (after.st_mtime_ns, after.st_ctime_ns), (found.st_mtime_ns, found.st_ctime_ns), "host times"
        )
        rule.equals(sorted(os.listdir(host)), ["below", "link"], "the host's directory")
        with opened() as work:
            node = work.find(b"ws", b"below", b"file")
            rule.equals(node.ino, number, "the number of a file of the host that was changed")
            rule.holds(
                work.content(node) == b"hostours" + b"host" * 99_998, "the next time it is something else"
            )
            rule.equals(set(work.backend.names(work.find(b"ws"))), {b"below"}, "the next time")

    def test_host_directory_moves(
        self, rule: Rule, host: str, opened: Callable[[], AbstractContextManager[Work]]
    ) -> None:
        """A directory of the host that is renamed inside takes along what it shows."""
        os.mkdir(f"{host}/old")
        with open(f"{host}/old/file", "wb") as file:
            file.write(b"host")
        with opened() as work:
            top = work.find(b"ws")
            work.move(top, b"old", work.find(b"ws", b"old"), top, b"new")
            rule.equals(set(work.backend.names(top)), {b"new"})
            rule.equals(work.content(work.find(b"ws", b"new", b"file")), b"host")
            rule.holds(work.backend.parent(work.find(b"ws", b"new")) is top, "another directory is above it")
            work.flush()
        with opened() as work:
            rule.equals(work.content(work.find(b"ws", b"new", b"file")), b"host", "the next time")

    def test_cached(self, rule: Rule, host: str, opened: Callable[[], AbstractContextManager[Work]]) -> None:
        """Opening a file says that what the kernel cached of it is right only when it is."""
        with open(f"{host}/file", "wb") as file:
            file.write(b"first")
        with opened() as work:
            ours = work.make(work.root, b"ours")
            rule.holds(work.backend.opened(ours), "nobody else changes a file of the store")
            work.backend.closed(ours)
            work.content(work.find(b"ws", b"file"))
            with open(f"{host}/file", "wb") as file:
                file.write(b"second")
            time.sleep(1.1)
            rule.holds(not work.backend.opened(work.find(b"ws", b"file")), "the host changed the file")
            rule.equals(work.backend.read(work.find(b"ws", b"file"), 0, 100), b"second")
            work.backend.closed(work.find(b"ws", b"file"))

    def test_space(self, rule: Rule, opened: Callable[[], AbstractContextManager[Work]]) -> None:
        """Space is told in bytes and inodes, no more of it free than there is."""
        with opened() as work:
            space = work.backend.space()
            rule.holds(0 <= space.free <= space.total and space.total > 0, space)
            rule.holds(0 <= space.free_inodes <= space.inodes, space)
