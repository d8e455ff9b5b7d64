"""Rules of a store's trees: what a push puts, and what a pull gets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from art_core.testing.rules import Rule, requires
from art_core.trees import Agreed, Entry, TreeReader

if TYPE_CHECKING:
    from art_core.testing.store.case import KeptStore

ODD = [b"\xff\xfe", b"new\nline", b" ", b"-rf", b"n" * 255]


def file(path: bytes, content: bytes = b"content") -> tuple[Entry, list[tuple[int, bytes]]]:
    """An entry, and its blocks."""
    time_ns = 1_500_000_000_123_456_789
    entry = Entry(path=path, kind="file", mode=0o640, size=len(content), mtime_ns=time_ns)
    return entry, [(0, content)] if content else []


def directory(path: bytes) -> Entry:
    return Entry(path=path, kind="dir", mode=0o750, size=0, mtime_ns=1_400_000_000_000_000_001)


def contents(tree: TreeReader, entry: Entry) -> bytes:
    """What a file holds, with the zeros that were left out."""
    found = bytearray(entry.size)
    for offset, data in tree.blocks(entry):
        found[offset : offset + len(data)] = data
    return bytes(found)


def shape(entry: Entry) -> tuple[object, ...]:
    """What an entry is, apart from the store's own numbers; a directory's size and time say nothing."""
    if entry.kind == "dir":
        return entry.path, entry.kind, entry.mode
    mode = 0 if entry.kind == "link" else entry.mode
    return entry.path, entry.kind, mode, entry.size, entry.mtime_ns, entry.target


class TreeRules:
    def test_put_and_walk(self, rule: Rule, kept: KeptStore) -> None:
        """What was put is walked in another session, a directory before what is in it and names in
        byte order, with its mode, time, size, target and contents."""
        large = os.urandom(300_000)
        link = Entry(
            path=b"a/link",
            kind="link",
            mode=0o777,
            size=4,
            mtime_ns=1_600_000_000_000_000_007,
            target=b"../b",
        )
        put = [(directory(b"a"), []), file(b"a/empty", b""), file(b"a/large", large), (link, []), file(b"b")]
        with kept.writer() as tree:
            for entry, blocks in put:
                made = tree.put(entry, iter(blocks))
                rule.equals(shape(made), shape(entry), "what put() returned")
            tree.commit()
        with kept.reader() as reader:
            walked = list(reader.walk())
            rule.equals([shape(entry) for entry in walked], [shape(entry) for entry, _ in put], "the walk")
            held = {entry.path: contents(reader, entry) for entry in walked if entry.kind == "file"}
        rule.equals(held[b"a/large"] == large, True, "the contents of a large file")
        rule.equals((held[b"a/empty"], held[b"b"]), (b"", b"content"), "the contents of small ones")

    def test_names(self, rule: Rule, kept: KeptStore) -> None:
        """Names may have any byte but NUL and the slash, and 255 of them."""
        with kept.writer() as tree:
            for name in ODD:
                tree.put(*_iterated(file(name, name)))
            tree.commit()
        with kept.reader() as reader:
            found = {entry.path: contents(reader, entry) for entry in reader.walk()}
        rule.equals(found, {name: name for name in ODD})

    def test_numbers(self, rule: Rule, kept: KeptStore) -> None:
        """In a new store the entries that are put number from 2, in the order they are put."""
        with kept.writer() as tree:
            made = [tree.put(directory(b"d"), iter([])), tree.put(*_iterated(file(b"d/f")))]
        rule.equals([entry.ino for entry in made], [2, 3])

    def test_holes(self, rule: Rule, kept: KeptStore) -> None:
        """Blocks that are left out are zeros, and are left out again."""
        size = 64 << 20
        entry = file(b"sparse")[0]._replace(size=size)
        with kept.writer() as tree:
            tree.put(entry, iter([(40 << 20, b"island")]))
            tree.commit()
        with kept.reader() as reader:
            (found,) = reader.walk()
            blocks = [(offset, data) for offset, data in reader.blocks(found) if data.strip(b"\0")]
            rule.equals(found.size, size, "the size")
            rule.holds(sum(len(data) for _, data in blocks) < 4 << 20, "zeros are given as blocks")
            rule.holds(any(b"island" in data for _, data in blocks), "the block is not there")

    def test_put_again(self, rule: Rule, kept: KeptStore) -> None:
        """Putting an entry again replaces all of it, whatever its kind was, and changes its version."""
        with kept.writer() as tree:
            first = tree.put(*_iterated(file(b"name", b"long content" * 10_000)))
            second = tree.put(*_iterated(file(b"name", b"short")))
            rule.holds(first.version != second.version, f"both versions are {first.version}")
            rule.equals(contents(tree, second), b"short")
            tree.put(directory(b"name"), iter([]))
            tree.put(*_iterated(file(b"name/below")))
            tree.put(*_iterated(file(b"name", b"a file again")))
            tree.commit()
        with kept.reader() as reader:
            (found,) = reader.walk()
            rule.equals((found.path, contents(reader, found)), (b"name", b"a file again"))

    def test_find(self, rule: Rule, kept: KeptStore) -> None:
        """find() gives what the store holds at a path, and None where it holds nothing, even if the
        host has something there."""
        kept.write("of the host")
        with kept.writer() as tree:
            made = tree.put(*_iterated(file(b"there")))
            found = tree.find(b"there")
            rule.equals(
                found and (shape(found), found.ino, found.version), (shape(made), made.ino, made.version)
            )
            for path in (b"of the host", b"nowhere", b"there/below", b"nowhere/below"):
                rule.equals(tree.find(path), None, f"find({path!r})")

    def test_links(self, rule: Rule, kept: KeptStore) -> None:
        """A further name is the same file: one number, counted, and it stays when the other goes."""
        with kept.writer() as tree:
            made = tree.put(*_iterated(file(b"one")))
            rule.equals(tree.link(b"two", made).ino, made.ino, "the number of the second name")
            tree.commit()
        with kept.reader() as reader:
            rule.equals([(entry.ino, entry.nlink) for entry in reader.walk()], [(made.ino, 2)] * 2)
        with kept.writer() as tree:
            tree.remove(b"one")
            tree.commit()
        with kept.reader() as reader:
            (left,) = reader.walk()
            rule.equals((left.path, left.nlink, contents(reader, left)), (b"two", 1, b"content"))

    def test_remove(self, rule: Rule, kept: KeptStore) -> None:
        """What is removed is gone, a directory with all that is in it; a path that the host has is
        then told as removed."""
        kept.write("host")
        with kept.writer() as tree:
            tree.put(directory(b"d"), iter([]))
            tree.put(*_iterated(file(b"d/below")))
            tree.put(*_iterated(file(b"host")))
            tree.remove(b"d")
            tree.remove(b"host")
            tree.commit()
        with kept.reader() as reader:
            rule.equals(list(reader.walk()), [])
            removed = [gone.path for gone in reader.removed()]
            rule.holds(b"host" in removed, f"removed are {removed}")

    def test_shown(self, rule: Rule, kept: KeptStore) -> None:
        """When it is asked for, a reader also tells what shows through from the host, and says so; what was
        removed does not show."""
        for name in ("a-host", "covered", "removed"):
            kept.write(name)
        with kept.writer() as tree:
            tree.put(directory(b"d"), iter([]))
            tree.put(*_iterated(file(b"covered")))
            tree.put(*_iterated(file(b"removed")))
            tree.remove(b"removed")
            tree.commit()
        with kept.reader() as reader:
            expected = [(b"a-host", True), (b"covered", False), (b"d", False)]
            rule.equals(
                [(entry.path, entry.shown) for entry in reader.walk(shown=True)], expected, "the walk"
            )
            for path, shown in expected:
                found = reader.shows(path)
                rule.equals(None if found is None else (found.path, found.shown), (path, shown))
            gone = [reader.shows(path) for path in (b"removed", b"nowhere", b"a-host/below", b"d/below")]
            rule.equals(gone, [None] * 4, "what is not there")

    def test_attributes(self, rule: Rule, kept: KeptStore) -> None:
        """Extended attributes of the user are kept."""
        entry, blocks = file(b"marked")
        with kept.writer() as tree:
            tree.put(entry._replace(xattrs={b"user.mark": b"\0\xff"}), iter(blocks))
            tree.commit()
        with kept.reader() as reader:
            rule.equals([dict(entry.xattrs) for entry in reader.walk()], [{b"user.mark": b"\0\xff"}])

    def test_agreed(self, rule: Rule, kept: KeptStore) -> None:
        """What both sides agreed on is remembered, and forgotten with None."""
        one, two = Agreed("file", 1, 2, 3, 4, 5), Agreed("dir", 0, 0, 0o755, 6, 7)
        with kept.writer() as tree:
            rule.equals(dict(tree.agreed()), {}, "at first")
            tree.agree({b"a": one, b"a/b": two})
        with kept.reader() as reader:
            rule.equals(dict(reader.agreed()), {b"a": one, b"a/b": two}, "afterwards")
            reader.agree({b"a": None})
        with kept.reader() as reader:
            rule.equals(dict(reader.agreed()), {b"a/b": two}, "without one")

    def test_order(self, rule: Rule, kept: KeptStore) -> None:
        """What is walked, removed and agreed on comes in one order, a directory before what is in it and
        names in byte order; what was agreed on may change while it is read."""
        paths = [b"a", b"a/b", b"a/c", b"a-b", b"a.", b"b"]
        what = Agreed("file", 1, 2, 3, 4, 5)
        for path in paths:
            kept.write(f"{os.fsdecode(path)}{'/x' * (path == b'a')}")
        with kept.writer() as tree:
            tree.agree(dict.fromkeys(reversed(paths), what))
            for path in paths:
                tree.put(*((directory(path), iter([])) if path == b"a" else _iterated(file(path))))
            tree.commit()
        with kept.reader() as reader:
            rule.equals([entry.path for entry in reader.walk()], paths, "the walk")
            agreed = []
            for path, _ in reader.agreed():
                agreed.append(path)
                reader.agree({path: None})
            rule.equals(agreed, paths, "what was agreed on")
            rule.equals(list(reader.agreed()), [], "afterwards")
        with kept.writer() as tree:
            for path in reversed(paths[1:]):
                tree.remove(path)
            tree.commit()
        with kept.reader() as reader:
            rule.equals([gone.path for gone in reader.removed()], paths[1:], "what is removed")

    @requires("renames")
    def test_loose(self, rule: Rule, kept: KeptStore) -> None:
        """What shows in a directory of the host that was renamed is walked at its new place. The directory
        is opaque there, and its old path is told as removed."""
        _rename_a_directory(kept)
        with kept.reader() as reader:
            found = {entry.path: entry for entry in reader.walk()}
            rule.equals(list(found), [b"e", b"e/one", b"e/sub", b"e/sub/two"], "the walk")
            rule.equals((found[b"e"].opaque, found[b"e/sub"].opaque), (True, True), "opaque")
            rule.equals((found[b"e"].lower, found[b"e/sub/two"].lower), (b"d", b"d/sub/two"), "lower")
            rule.equals(contents(reader, found[b"e/sub/two"]), b"two", "the contents of a file")
            rule.equals([gone.path for gone in reader.removed()], [b"d"], "what is removed")

    @requires("renames")
    def test_secure(self, rule: Rule, kept: KeptStore) -> None:
        """What was secured with its contents stays as it was, whatever becomes of the host's place that it
        came from, with the numbers that were told."""
        _rename_a_directory(kept)
        with kept.reader() as reader:
            loose = [entry for entry in reader.walk() if entry.loose or entry.partial]
            secured = reader.secure(loose, contents=True)
            rule.equals(sorted(secured), [entry.path for entry in loose], "what was secured")
        shutil.rmtree(f"{kept.host}/d")
        kept.write("d/one", b"another")
        with kept.reader() as reader:
            found = {entry.path: entry for entry in reader.walk()}
            rule.equals(list(found), [b"e", b"e/one", b"e/sub", b"e/sub/two"], "the walk")
            rule.equals([path for path in found if found[path].loose], [], "what is loose")
            held = [contents(reader, found[path]) for path in (b"e/one", b"e/sub/two")]
            rule.equals(held, [b"one", b"two"], "the contents")
            rule.equals({path: found[path].ino for path in secured}, _numbers(secured), "the numbers")

    @requires("renames")
    def test_join(self, rule: Rule, kept: KeptStore) -> None:
        """A directory that was joined shows nothing of the host's any more, or what is at its own path."""
        _rename_a_directory(kept)
        with kept.reader() as reader:
            walked = list(reader.walk())
            secured = reader.secure([entry for entry in walked if entry.loose], contents=True)
            directories = [secured.get(entry.path, entry) for entry in walked if entry.kind == "dir"]
            reader.join(directories, shows=False)
        for name in ("d/later", "d/sub/later", "e/later"):
            kept.write(name)
        with kept.reader() as reader:
            later = [reader.shows(path) for path in (b"e/later", b"e/sub/later")]
            rule.equals(later, [None, None], "what the host has since")
            reader.join([entry for entry in reader.walk() if entry.path == b"e"], shows=True)
        with kept.reader() as reader:
            shown = [entry.path for entry in reader.walk(shown=True) if entry.path.startswith(b"e")]
        rule.equals(shown, [b"e", b"e/later", b"e/one", b"e/sub", b"e/sub/two"], "afterwards")


def _rename_a_directory(kept: KeptStore) -> None:
    kept.write("d/one", b"one")
    kept.write("d/sub/two", b"two")
    with kept.home() as home:
        home.do(lambda path: os.rename(f"{path}/workspace/d", f"{path}/workspace/e"))


def _numbers(entries: Mapping[bytes, Entry]) -> dict[bytes, int]:
    return {path: entry.ino for path, entry in entries.items()}


def _iterated(made: tuple[Entry, list[tuple[int, bytes]]]) -> tuple[Entry, Iterator[tuple[int, bytes]]]:
    return made[0], iter(made[1])
