"""Rules of what one run may have: more of the host in its home, and only so much room."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from art_core.contracts import HOME, Mount, Origin
from art_core.testing.rules import Rule, requires
from art_core.testing.store.home import picture, read, write

if TYPE_CHECKING:
    from art_core.testing.store.case import KeptStore


def _lent(kept: KeptStore, name: str, opened: ExitStack) -> Mount:
    """A path of the kit's place, at the same path in the home, below a directory that nobody has."""
    path = f"{kept.place}/{name}"
    fd = os.open(path, os.O_PATH)
    opened.callback(os.close, fd)
    directory = os.path.isdir(path)
    return Mount(path, f"{HOME}/deep/{name}", Origin("the kit"), fd=fd, directory=directory)


class LentRules:
    @requires("seeds")
    def test_seeds(self, rule: Rule, kept: KeptStore) -> None:
        """Seeds, directories and single files, stand at their places in the home as the host has them. They
        can be changed, replaced by renaming and removed; the host's stay as they were. What was done
        lasts; what was not touched is what the host has, and is not there in a session without them."""
        os.makedirs(f"{kept.place}/lent/folder/below")
        names = ("folder/changed", "folder/removed", "folder/below/kept", "single")
        for name in names:
            write(f"{kept.place}/lent/{name}", name.encode())
        before = picture(f"{kept.place}/lent")

        def work(home: str) -> list[bytes]:
            top = f"{home}/deep/lent"
            found = [read(f"{top}/{name}") for name in names]
            write(f"{top}/folder/changed", b"inside")
            os.unlink(f"{top}/folder/removed")
            write(f"{top}/new", b"replaced")
            os.rename(f"{top}/new", f"{top}/single")
            return found

        def look(home: str) -> list[object]:
            top = f"{home}/deep/lent"
            below = f"{top}/folder/below/kept"
            return [
                sorted(os.listdir(top)),
                sorted(os.listdir(f"{top}/folder")),
                read(f"{top}/folder/changed"),
                read(f"{top}/single"),
                read(below) if os.path.exists(below) else b"",
            ]

        with ExitStack() as opened:
            seeds = [_lent(kept, name, opened) for name in ("lent/folder", "lent/single")]
            with kept.home(seeds=seeds) as home:
                rule.equals(home.do(work), [name.encode() for name in names], "what is shown")
            rule.equals(picture(f"{kept.place}/lent"), before, "the host's files")
            write(f"{kept.place}/lent/folder/below/kept", b"later")
            with kept.home(seeds=seeds) as home:
                done = [["folder", "single"], ["below", "changed"], b"inside", b"replaced", b"later"]
                rule.equals(home.do(look), done, "the next session")
        with kept.home() as home:
            rule.equals(home.do(look)[2:], [b"inside", b"replaced", b""], "a session without them")

    @requires("shares")
    def test_shares(self, rule: Rule, kept: KeptStore) -> None:
        """A share is the host's own file: what is written, and what is renamed onto it, is on the host at
        once, and what the host renames there is read next, with its size. Nothing beside it is seen or made,
        and it cannot be removed or moved away."""
        os.makedirs(f"{kept.place}/lent")
        write(f"{kept.place}/lent/beside", b"secret")
        write(f"{kept.place}/lent/file", b"first")
        path = f"{kept.place}/lent/file"

        def replace(home: str) -> tuple[bytes, list[str], list[str]]:
            top = f"{home}/deep/lent"
            found, names, refused = read(f"{top}/file"), os.listdir(top), []
            for action in (os.unlink, lambda file: os.rename(file, f"{top}/away")):
                try:
                    action(f"{top}/file")
                except OSError:
                    refused.append("refused")
            write(f"{top}/new", b"inside, and longer")
            os.rename(f"{top}/new", f"{top}/file")
            write(f"{top}/private", b"inside")
            return found, names, refused

        def look(home: str) -> tuple[int, bytes]:
            file = f"{home}/deep/lent/file"
            seen = os.stat(file).st_size, read(file)
            write(file, b"written")
            return seen

        with ExitStack() as opened, kept.home(shares=[_lent(kept, "lent/file", opened)]) as home:
            expected = (b"first", ["file"], ["refused", "refused"])
            rule.equals(home.do(replace), expected, "contents, names, and removing it")
            rule.equals(read(path), b"inside, and longer", "the host's file")
            rule.equals(sorted(os.listdir(f"{kept.place}/lent")), ["beside", "file"], "the host's directory")
            write(f"{path}.new", b"outside")
            os.rename(f"{path}.new", path)
            rule.equals(home.do(look), (7, b"outside"), "what the host put there")
            rule.equals(read(path), b"written", "the host's file")

    @requires("growth")
    def test_growth(self, rule: Rule, kept: KeptStore) -> None:
        """A home that may grow by so many bytes takes no more, about: what is beyond fails with ENOSPC, the
        worker tells that it was `full`, and what was written before is kept. Without a limit none is met."""
        limit = 4 << 20

        def fill(home: str) -> tuple[int, str]:
            with open(f"{home}/filled", "wb", buffering=0) as file:
                for count in range(1, 33):
                    try:
                        file.write(os.urandom(1 << 20))
                        os.fsync(file.fileno())
                    except OSError as error:
                        return count, errno.errorcode[error.errno or 0]
            return 32, ""

        with kept.home(growth=limit) as home:
            home.do(lambda path: write(f"{path}/before", b"kept"))
            count, failed = home.do(fill)
            rule.equals(failed, "ENOSPC", f"how MiB number {count} of at most 4 failed")
            rule.holds(count <= 10, f"only MiB number {count} failed")
            rule.holds(home.ask("full").get("full"), "the worker does not tell that it was full")
        with kept.home() as home:
            rule.equals(home.do(lambda path: read(f"{path}/before")), b"kept", "what was there before")
            rule.equals(home.do(fill), (32, ""), "MiB written without a limit, and how that failed")
