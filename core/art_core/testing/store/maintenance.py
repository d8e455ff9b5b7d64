"""Rules of the capabilities `files` and `maintenance`: a store without a sandbox."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, cast

from art_core.store.files import Files, HomeReader
from art_core.store.maintenance import Maintenance
from art_core.testing.rules import Rule, requires
from art_core.testing.store.trees import ODD, directory, file
from art_core.trees import Entry

if TYPE_CHECKING:
    from art_core.testing.store.case import KeptStore


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
    def test_new_home(self, rule: Rule, kept: KeptStore) -> None:
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
    def test_home(self, rule: Rule, kept: KeptStore) -> None:
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
    def test_care(self, rule: Rule, kept: KeptStore) -> None:
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

    @requires("files")
    def test_home_writer(self, rule: Rule, kept: KeptStore) -> None:
        """What is put, linked and removed in a home without a sandbox is what a sandbox finds then, beside
        the workspace and in it; the host's files stay as they were."""
        kept.write("shown", b"host")
        kept.write("removed", b"host")
        with kept.home() as mounted:
            mounted.do(lambda path: os.mkdir(f"{path}/made"))
        with kept.store("write") as store, kept.workspace() as workspace:
            with cast(Files, store).home_writer("main", workspace) as home:
                entry, blocks = file(b"made/one", b"put")
                home.link(b"made/two", home.put(entry, iter(blocks)))
                entry, blocks = file(b"workspace/new", b"put")
                home.put(entry, iter(blocks))
                home.remove(b"workspace/removed")
                home.commit()
            rule.equals(cast(Files, store).workspace_at("workspace"), kept.host, "where the workspace is")
            rule.equals(cast(Files, store).workspace_at("nowhere"), None, "where there is none")

        def look(path: str) -> list[object]:
            one, two = (os.stat(f"{path}/made/{name}") for name in ("one", "two"))
            names = sorted(os.listdir(f"{path}/workspace"))
            return [one.st_ino == two.st_ino, one.st_nlink, one.st_size, names]

        with kept.home() as mounted:
            rule.equals(
                mounted.do(look), [True, 2, 3, ["new", "shown"]], "(one file, names, size, workspace)"
            )
        rule.equals(sorted(os.listdir(kept.host)), ["removed", "shown"], "the host's directory")

    @requires("files")
    def test_view(self, rule: Rule, kept: KeptStore) -> None:
        """A home is mounted without a sandbox: read-only nothing can be changed and nobody is kept out; else
        changes last, and the branch is held."""
        with kept.home() as mounted:
            mounted.do(lambda path: os.mkdir(f"{path}/made"))

        def refused(path: str) -> str:
            try:
                os.mkdir(f"{path}/more")
            except OSError as error:
                return errno.errorcode[error.errno or 0]
            return "made"

        with kept.view(read_only=True) as viewed:
            rule.holds("made" in viewed.do(os.listdir), "it does not show what was made")
            rule.equals(viewed.do(refused), "EROFS", "a new directory")
            with kept.writer():
                pass
        with kept.view(read_only=False) as viewed:
            rule.equals(viewed.do(refused), "made", "a new directory")
            kept.refused(lambda: kept.writer().__enter__())
        with kept.view(read_only=True) as viewed:
            rule.holds("more" in viewed.do(os.listdir), "it does not show what was made in a view")

    @requires("maintenance")
    def test_repair(self, rule: Rule, kept: KeptStore) -> None:
        """A repair first makes a copy, which is a whole store, and changes nothing of what is right. One that
        would cover a file, or that somebody's work stands in the way of, is refused."""
        with kept.writer() as tree:
            entry, blocks = file(b"kept")
            tree.put(entry, iter(blocks))
            tree.commit()
        backup = f"{kept.locator}.backup"
        with kept.store("write") as store:
            care = cast(Maintenance, store)
            rule.equals(list(care.repair(backup)), [], "what was wrong")
            kept.refused(lambda: list(care.repair(backup)))
        with kept.home(), kept.store("write") as store:
            care = cast(Maintenance, store)
            kept.refused(lambda: list(care.repair(f"{backup}.2")))
        with kept.reader() as reader:
            rule.equals([entry.path for entry in reader.walk()], [b"kept"], "what it shows")
        copy = kept.stores.open(backup, "write")
        with kept.workspace() as workspace, copy.reader("main", workspace) as reader:
            rule.equals([entry.path for entry in reader.walk()], [b"kept"], "what the copy shows")
        copy.close()
