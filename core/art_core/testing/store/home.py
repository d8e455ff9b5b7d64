"""Rules of a store's mounted homes."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from art_core.errors import ArtError
from art_core.testing.rules import Rule, requires
from art_core.testing.store.trees import contents, file

if TYPE_CHECKING:
    from art_core.testing.store.case import KeptStore


def picture(top: str) -> dict[str, tuple[object, ...]]:
    """A tree byte for byte: kinds, modes, times, contents; access times aside."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(top):
        for name in (*names, *files):
            path = f"{directory}/{name}"
            status = os.lstat(path)
            content: bytes | str = b""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            times = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            found[os.path.relpath(path, top)] = (status.st_mode, *times, content)
    return found


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def shape(path: str) -> tuple[int, int, int]:
    status = os.stat(path)
    return status.st_mode, status.st_size, status.st_mtime_ns


def entered(context: AbstractContextManager[object]) -> None:
    with context:
        pass


def write(path: str, content: bytes, *, sync: bool = False) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(content)
        if sync:
            os.fsync(file.fileno())


class HomeRules:
    def test_host_shows_through(self, rule: Rule, kept: KeptStore) -> None:
        """The workspace stands in the home under its name, with the host's files as they are."""
        os.symlink("file", f"{kept.host}/link")
        path = kept.write("below/file", b"contents")
        os.chmod(path, 0o640)

        def look(home: str) -> list[object]:
            top = f"{home}/workspace"
            return [
                os.listdir(home),
                sorted(os.listdir(top)),
                read(f"{top}/below/file"),
                shape(f"{top}/below/file"),
                os.readlink(f"{top}/link"),
            ]

        with kept.home() as home:
            rule.equals(home.do(look), [["workspace"], ["below", "link"], b"contents", shape(path), "file"])

    def test_host_is_never_written(self, rule: Rule, kept: KeptStore) -> None:
        """Whatever is done inside, the host's files stay as they were, metadata included."""
        for name in ("write", "append", "truncate", "chmod", "remove", "rename", "d/one", "d/two", "utime"):
            kept.write(name, b"host" * 1000)
        before = picture(kept.host)

        def work(home: str) -> None:
            top = f"{home}/workspace"
            write(f"{top}/write", b"inside")
            with open(f"{top}/append", "ab") as file:
                file.write(b"more")
            os.truncate(f"{top}/truncate", 10)
            os.chmod(f"{top}/chmod", 0o700)
            os.utime(f"{top}/utime", ns=(1, 1))
            os.unlink(f"{top}/remove")
            os.rename(f"{top}/rename", f"{top}/renamed")
            os.link(f"{top}/d/one", f"{top}/linked")
            write(f"{top}/new", b"new")
            os.mkdir(f"{top}/directory")

        with kept.home() as home:
            home.do(work)
        rule.equals(picture(kept.host), before)

    def test_changes_last(self, rule: Rule, kept: KeptStore) -> None:
        """What was changed is there the next time, in the workspace and beside it: contents, removals,
        renames, modes, links, and times."""
        kept.write("changed", b"host" * 50_000)
        kept.write("removed")
        kept.write("d/renamed", b"renamed")

        def change(home: str) -> None:
            top = f"{home}/workspace"
            with open(f"{top}/changed", "r+b") as file:
                file.seek(100_000)
                file.write(b"inside")
            os.unlink(f"{top}/removed")
            os.rename(f"{top}/d/renamed", f"{top}/d/name")
            os.mkdir(f"{home}/beside", 0o700)
            write(f"{home}/beside/file", b"kept")
            os.chmod(f"{home}/beside/file", 0o611)
            os.utime(f"{home}/beside/file", ns=(5, 7))
            os.symlink("file", f"{home}/beside/link")
            os.link(f"{home}/beside/file", f"{home}/beside/other")

        def look(home: str) -> dict[str, object]:
            top, file = f"{home}/workspace", f"{home}/beside/file"
            return {
                "a file that was changed in part": read(f"{top}/changed"),
                "the workspace": sorted(os.listdir(top)),
                "a file that was renamed": (os.listdir(f"{top}/d"), read(f"{top}/d/name")),
                "a new file": (read(file), os.stat(file).st_nlink, *shape(file)),
                "a link": os.readlink(f"{home}/beside/link"),
            }

        with kept.home() as home:
            home.do(change)
        with kept.home() as home:
            found = home.do(look)
        changed = bytearray(b"host" * 50_000)
        changed[100_000:100_006] = b"inside"
        expected = {
            "a file that was changed in part": bytes(changed),
            "the workspace": ["changed", "d"],
            "a file that was renamed": (["name"], b"renamed"),
            "a new file": (b"kept", 2, stat.S_IFREG | 0o611, 4, 7),
            "a link": "file",
        }
        for what, value in expected.items():
            rule.holds(found[what] == value, f"{what}: {str(found[what])[:200]} instead of {value!s:.200}")

    @requires("renames")
    def test_directory_renames(self, rule: Rule, kept: KeptStore) -> None:
        """A directory of the host is renamed in one step (rename(2)), with all that shows in it; the host's
        stays where it was."""
        kept.write("d/moved", b"moved")

        def look(home: str) -> tuple[list[str], bytes]:
            return os.listdir(f"{home}/workspace"), read(f"{home}/workspace/e/moved")

        with kept.home() as home:
            home.do(lambda path: os.rename(f"{path}/workspace/d", f"{path}/workspace/e"))
            rule.equals(home.do(look), (["e"], b"moved"), "at once")
        with kept.home() as home:
            rule.equals(home.do(look), (["e"], b"moved"), "the next time")
        rule.equals((os.listdir(kept.host), os.listdir(f"{kept.host}/d")), (["d"], ["moved"]), "the host")

    @requires("numbers")
    def test_numbers_last(self, rule: Rule, kept: KeptStore) -> None:
        """A file has the same inode number the next time: one of the host that was changed, a new one, and
        one that a push put, which has the number that it was told."""
        kept.write("changed")
        entry, blocks = file(b"pushed")
        with kept.writer() as tree:
            made = tree.put(entry, iter(blocks))
            tree.commit()

        def numbers(home: str) -> list[int]:
            paths = ("workspace/pushed", "workspace/changed", "new")
            return [os.lstat(f"{home}/{path}").st_ino for path in paths]

        def change(home: str) -> list[int]:
            write(f"{home}/workspace/changed", b"inside")
            write(f"{home}/new", b"new")
            return numbers(home)

        with kept.home() as home:
            before = home.do(change)
        rule.equals(before[0], made.ino, "of what was pushed")
        with kept.home() as home:
            rule.equals(home.do(numbers), before)

    def test_pushed_stays_as_pushed(self, rule: Rule, kept: KeptStore) -> None:
        """What a push put is seen inside, also when the host changes afterwards."""
        kept.write("pushed", b"first")
        with kept.writer() as tree:
            entry, blocks = file(b"pushed", b"first")
            tree.put(entry, iter(blocks))
            tree.commit()
        kept.write("pushed", b"the host's second")
        with kept.home() as home:
            rule.equals(home.do(lambda path: read(f"{path}/workspace/pushed")), b"first")

    def test_pull_sees_what_was_done(self, rule: Rule, kept: KeptStore) -> None:
        """A reader gets what was changed inside and nothing that only shows through, with what the
        host's file was when it was changed; and what was removed."""
        status = os.stat(kept.write("changed", b"host"))
        kept.write("untouched")
        kept.write("removed")

        def work(home: str) -> None:
            with open(f"{home}/workspace/changed", "ab") as file:
                file.write(b" and inside")
            write(f"{home}/workspace/new", b"new")
            os.unlink(f"{home}/workspace/removed")
            write(f"{home}/beside", b"no part of the workspace")

        with kept.home() as home:
            home.do(work)
        with kept.reader() as tree:
            found = {entry.path: (contents(tree, entry), entry.origin) for entry in tree.walk()}
            origin = (status.st_size, status.st_mtime_ns)
            rule.equals(found, {b"changed": (b"host and inside", origin), b"new": (b"new", None)})
            rule.equals([gone.path for gone in tree.removed()], [b"removed"], "what is removed")

    @requires("live")
    def test_commit(self, rule: Rule, kept: KeptStore) -> None:
        """A mounted home's worker answers {"ask": "commit"}, after which a reader sees everything."""
        with kept.home() as home:
            home.do(lambda path: write(f"{path}/workspace/new", b"new"))
            rule.holds(home.mounted.worker is not None, "there is no worker")
            home.ask("commit")
            with kept.reader() as tree:
                rule.equals([entry.path for entry in tree.walk()], [b"new"])

    def test_one_writer(self, rule: Rule, kept: KeptStore) -> None:
        """A branch is held by one at a time: a second home and a writer are refused meanwhile."""
        with kept.home():
            kept.refused(lambda: entered(kept.home()))
            kept.refused(lambda: entered(kept.writer()))
        entered(kept.home())

    def test_unknown_branch(self, rule: Rule, kept: KeptStore) -> None:
        """A branch that does not exist is refused in one line that names it."""
        entered(kept.home())
        said = kept.refused(lambda: entered(kept.home("nowhere")))
        rule.holds("nowhere" in said, f"the refusal is {said!r}")

    def test_programs_work(self, rule: Rule, kept: KeptStore) -> None:
        """A program works in the home: it makes, reads, renames over, locks and removes files."""
        source = (
            "import fcntl, os\n"
            "os.mkdir('d')\n"
            "for n in range(200):\n"
            "    open(f'd/{n}', 'w').write(str(n) * n)\n"
            "    os.replace(f'd/{n}', f'd/{n + 1000}')\n"
            "assert open('d/1150').read() == '150' * 150\n"
            "with open('d/1150', 'r+') as f: fcntl.lockf(f, fcntl.LOCK_EX); f.truncate(100)\n"
            "assert open('d/1150').read() == '150' * 33 + '1' and len(os.listdir('d')) == 200\n"
            "for name in os.listdir('d'): os.unlink(f'd/{name}')\n"
            "os.rmdir('d')\n"
        )

        def work(home: str) -> tuple[int, bytes]:
            argv = [sys.executable, "-I", "-S", "-c", source]
            done = subprocess.run(argv, cwd=home, capture_output=True)
            return done.returncode, done.stderr

        with kept.home() as home:
            rule.equals(home.do(work), (0, b""))

    def test_errors(self, rule: Rule, kept: KeptStore) -> None:
        """What cannot be done in the home fails with the errno that says why (errno(3)), and changes nothing:
        for what the store has, and for what only shows through."""
        kept.write("d/file")
        kept.write("plain")

        def attempts(home: str) -> dict[str, str]:
            told = {}
            for top in (f"{home}/workspace", f"{home}/own"):
                for name, attempt in (
                    ("read ENOENT", lambda top=top: read(f"{top}/nothing")),
                    ("below a file ENOTDIR", lambda top=top: read(f"{top}/plain/below")),
                    ("mkdir EEXIST", lambda top=top: os.mkdir(f"{top}/d")),
                    ("make a file EEXIST", lambda top=top: os.open(f"{top}/plain", os.O_CREAT | os.O_EXCL)),
                    ("rmdir ENOTEMPTY", lambda top=top: os.rmdir(f"{top}/d")),
                    ("rename ENOTEMPTY", lambda top=top: os.rename(f"{top}/empty", f"{top}/d")),
                    ("unlink EISDIR", lambda top=top: os.unlink(f"{top}/d")),
                    ("write EISDIR", lambda top=top: os.open(f"{top}/d", os.O_WRONLY)),
                    ("rename ENOENT", lambda top=top: os.rename(f"{top}/nothing", f"{top}/new")),
                    ("readlink EINVAL", lambda top=top: os.readlink(f"{top}/plain")),
                    ("long ENAMETOOLONG", lambda top=top: os.mkdir(f"{top}/{'x' * 256}")),
                    ("no attribute ENODATA", lambda top=top: os.getxattr(f"{top}/plain", "user.none")),
                ):
                    try:
                        attempt()
                        told[f"{name}, {os.path.basename(top)}"] = "nothing"
                    except OSError as error:
                        told[f"{name}, {os.path.basename(top)}"] = errno.errorcode[error.errno or 0]
            return told

        def prepare(home: str) -> None:
            os.makedirs(f"{home}/own/d")
            for path in ("own/d/file", "own/plain"):
                write(f"{home}/{path}", b"own")
            for top in ("own", "workspace"):
                os.mkdir(f"{home}/{top}/empty")

        with kept.home() as home:
            home.do(prepare)
            for what, said in home.do(attempts).items():
                rule.equals(said, what.partition(",")[0].split()[-1], what)
            names = home.do(
                lambda path: [sorted(os.listdir(f"{path}/{top}")) for top in ("own", "workspace")]
            )
            rule.equals(names, [["d", "empty", "plain"]] * 2, "the names then")

    @requires("durable")
    def test_server_killed(self, rule: Rule, kept: KeptStore) -> None:
        """When the server is killed, what was synced is there the next time, and it is told."""
        try:
            with kept.home() as home:
                home.do(lambda path: write(f"{path}/synced", b"synced", sync=True))
                assert home.mounted.worker is not None
                home.mounted.worker.kill()
        except ArtError:
            pass
        else:
            rule.broken("leaving the home raised no ArtError")
        with kept.home() as home:
            rule.equals(home.do(lambda path: read(f"{path}/synced")), b"synced")
            rule.holds(home.mounted.notes, "nothing is said of the run that was killed")
