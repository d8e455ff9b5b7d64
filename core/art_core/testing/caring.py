"""Rules of the capabilities `files` and `maintenance`: a store without a sandbox."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from art_core.files import Files, HomeReader
from art_core.maintenance import Maintenance
from art_core.testing.keeping import ODD, directory, file
from art_core.testing.rules import Rule, requires
from art_core.trees import Entry

if TYPE_CHECKING:
    from art_core.testing.store import Kept


def _all_of(home: HomeReader) -> dict[bytes, tuple[object, ...]]:
    """Everything in a home."""
    found: dict[bytes, tuple[object, ...]] = {}
    for one in home.walk(b""):
        content = bytearray(one.size if one.kind == "file" else 0)
        for offset, data in home.blocks(one) if one.kind == "file" else ():
            content[offset : offset + len(data)] = data
        size = None if one.kind == "dir" else one.size
        found[one.path] = (
            one.kind,
            one.mode,
            size,
            one.mtime_ns,
            one.target,
            dict(one.xattrs),
            bytes(content),
        )
    return found


class CareRules:
    @requires("files")
    def test_new_home(self, rule: Rule, kept: Kept) -> None:
        """A new home becomes a branch when it is whole, with all that was put, and was never there when it
        fails."""
        large = os.urandom(300_000)
        link = Entry(path=b"d/link", kind="link", mode=0o777, size=3, mtime_ns=7, target=b"../x")
        with kept.store() as store:
            files = cast(Files, store)
            with files.new_home("main") as home:
                home.put(directory(b"d"), iter(()))
                for number, name in enumerate(ODD):
                    entry, blocks = file(b"d/" + name, large[: number * 50_000])
                    home.link(b"further%d" % number, home.put(entry, iter(blocks)))
                home.put(link, iter(()))
            with files.home("main", None) as read:
                paths = [one.path for one in read.walk(b"")]
                rule.equals(sorted(paths), sorted(_all_of(read)), "the paths of a walk")
                rule.equals(len(paths), 2 + 2 * len(ODD), "what is in the home")
                found = read.find(b"further4")
                rule.holds(found is not None and found.nlink == 2 and found.size == 200_000, f"{found}")
                rule.equals(read.names(b"d"), sorted([*ODD, b"link"]), "the names of a directory")
                rule.holds(read.find(b"d/link/x") is None, "a link was followed")
            try:
                with files.new_home("other") as home:
                    home.put(directory(b"half"), iter(()))
                    raise KeyError
            except KeyError:
                pass
            kept.refused(lambda: files.home("other", None).__enter__())
            kept.refused(lambda: files.new_home("main").__enter__())

    @requires("files")
    def test_home(self, rule: Rule, kept: Kept) -> None:
        """A home shows what was done in a sandbox, and what the host shows there where its directory is
        given; a writer is refused while a sandbox has the branch."""
        kept.write("shown", b"host")
        with kept.home() as mounted:
            mounted.do(lambda path: os.mkdir(f"{path}/made"))
        with kept.home(), kept.store("write") as store, kept.workspace() as workspace:
            files = cast(Files, store)
            with files.home("main", workspace) as home:
                shown = home.find(b"workspace/shown")
                rule.holds(shown is not None and shown.hosts and home.find(b"made"), f"it shows {shown}")
            with files.home("main", None) as home:
                rule.holds(home.find(b"workspace/shown") is None, "the host's directory was not given")
            kept.refused(lambda: files.home_writer("main", workspace).__enter__())

    @requires("maintenance")
    def test_care(self, rule: Rule, kept: Kept) -> None:
        """Nothing is wrong with a store that was worked in; collecting and squashing change nothing of what
        it shows."""
        with kept.writer() as tree:
            for number in range(50):
                entry, blocks = file(b"%d" % number, bytes([number]) * number * 2000)
                tree.put(entry, iter(blocks))
            tree.commit()
        with kept.writer() as tree:
            for number in range(0, 50, 2):
                tree.remove(b"%d" % number)
            tree.commit()
        with kept.reader() as reader:
            before = [(entry.path, entry.size, entry.version) for entry in reader.walk()]
        with kept.store("write") as store:
            care = cast(Maintenance, store)
            rule.equals(list(care.check()), [], "what is wrong")
            care.collect()
            care.squash("main")
            rule.equals(list(care.check()), [], "what is wrong after it was collected")
            rule.holds(care.info().size > 0, "it has no size")
        with kept.reader() as reader:
            after = [(entry.path, entry.size, entry.version) for entry in reader.walk()]
        rule.equals(after, before, "what it shows")
