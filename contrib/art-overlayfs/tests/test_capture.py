"""What is captured is what a native directory would have, whatever programs do, in several sessions."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from art_core.store.files import Files
from art_core.store.maintenance import Maintenance
from art_core.testing import StoreExample
from art_core.testing.rules import Rule
from art_core.testing.store.case import KeptStore
from art_overlayfs.hooks import art_stores

NAMES = [
    "workspace/f",
    "workspace/d",
    "workspace/d/f",
    "workspace/d/e",
    "workspace/d/e/g",
    "workspace/n",
    "h",
    "h/i",
]
NAME = st.sampled_from(NAMES)
STEP = st.one_of(
    st.tuples(st.just("write"), NAME, st.sampled_from([0, 5, 70_000, 1_200_000])),
    st.tuples(
        st.sampled_from(["append", "hole", "patch"]), st.sampled_from(["workspace/large", "workspace/n"])
    ),
    st.tuples(
        st.sampled_from(["append", "cut", "hole", "replace", "mode", "mark", "mkdir", "fifo", "remove"]), NAME
    ),
    st.tuples(st.sampled_from(["rename", "symlink"]), NAME, NAME),
)
SESSIONS = st.lists(st.lists(STEP, min_size=1, max_size=8), min_size=1, max_size=3)
EXAMPLES = int(os.environ.get("CAPTURE_EXAMPLES", "8"))


def do(top: str, steps: Sequence[tuple[Any, ...]]) -> list[int]:
    """Do the steps; the errno of each, 0 for none."""
    done = []
    for number, (what, name, *more) in enumerate(steps):
        try:
            if what == "rename" and name.startswith("workspace") != more[0].startswith("workspace"):
                raise OSError(errno.EXDEV, "the workspace is a mount of its own")
            step(what, f"{top}/{name}", number, top, *more)
            done.append(0)
        except OSError as error:
            done.append(error.errno or 0)
    return done


def step(what: str, path: str, number: int, top: str, *more: Any) -> None:
    if what in ("cut", "patch", "mode", "mark") and os.path.islink(path):
        raise OSError(errno.EINVAL, "what it leads to has a name of its own")
    if what in ("write", "append", "replace", "hole"):
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise OSError(errno.EINVAL, "no file")
        target = f"{path}.new" if what == "replace" else path
        with open(target, "ab" if what == "append" else "r+b" if what == "hole" else "wb") as file:
            if what == "hole":
                file.seek(3_000_000)
            file.write(bytes([number + 1]) * (more[0] if more else 100))
        if what == "replace":
            os.rename(target, path)
    elif what == "patch":
        with open(path, "r+b") as file:
            file.seek(1_000_000)
            file.write(b"patch")
    elif what == "cut":
        os.truncate(path, 7)
    elif what == "mode":
        os.chmod(path, 0o741)
    elif what == "mark":
        os.setxattr(path, "user.overlay.opaque", b"y")
        os.setxattr(path, "user.mark", bytes([number]))
    elif what == "mkdir":
        os.mkdir(path)
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "symlink":
        os.symlink(more[0], path)
    elif what == "remove":
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    elif what == "rename":
        if os.path.isdir(path) and not os.path.islink(path):
            raise OSError(errno.EXDEV, "directories are copied")
        os.rename(path, f"{top}/{more[0]}")
    if os.path.isfile(path) and not os.path.islink(path):
        os.utime(path, ns=(10**18 + number, 10**18 + number))


def picture(top: str) -> dict[str, Any]:
    """What is in a directory, without what only the directory's own file system says."""
    found: dict[str, Any] = {}
    for directory, names, files in os.walk(top):
        for name in (*names, *files):
            path = f"{directory}/{name}"
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            about: list[Any] = [status.st_mode]
            if kind == stat.S_IFLNK:
                about = [os.readlink(path)]
            if kind == stat.S_IFREG:
                about += [status.st_mtime_ns, Path(path).read_bytes()]
            if kind in (stat.S_IFREG, stat.S_IFDIR):
                marks = os.listxattr(path)
                about.append({key: os.getxattr(path, key) for key in marks if key.startswith("user.")})
            found[os.path.relpath(path, top)] = about
    return found


def kept_picture(kept: KeptStore) -> dict[str, Any]:
    """The same, of what the database has: read without any mount."""
    found: dict[str, Any] = {}
    with kept.store("write") as store, kept.workspace() as workspace:
        assert list(cast(Maintenance, store).check()) == []
        with cast(Files, store).home("main", workspace) as home:
            for file in home.walk(b""):
                kind = stat.S_IFMT(file.mode)
                about: list[Any] = [file.mode]
                if kind == stat.S_IFLNK:
                    about = [os.fsdecode(file.target)]
                if kind == stat.S_IFREG:
                    content = bytearray(file.size)
                    for offset, data in home.blocks(file):
                        content[offset : offset + len(data)] = data
                    about += [file.mtime_ns, bytes(content)]
                if kind in (stat.S_IFREG, stat.S_IFDIR):
                    about.append({os.fsdecode(key): value for key, value in file.xattrs.items()})
                found[os.fsdecode(file.path)] = about
    return found


@contextlib.contextmanager
def new_store(state: str = "") -> Iterator[KeptStore]:
    (provider,) = art_stores()
    with TemporaryDirectory(prefix="art-kit-", dir="/var/tmp") as place:
        example = StoreExample(provider=provider, locator=lambda place: f"{place}/home.db")
        os.mkdir(f"{place}/kept")
        kept = KeptStore(
            example, Rule("capture", "What is captured is what was done."), f"{place}/kept", f"{place}/state"
        )
        kept.write("f", b"host" * 30_000)
        kept.write("large", b"large" * 240_000)
        kept.write("d/f", b"host")
        kept.write("d/e/g", b"deep")
        yield kept


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(SESSIONS)
def test_what_was_done_is_what_a_native_directory_has(sessions: list[list[tuple[Any, ...]]]) -> None:
    with new_store() as kept:
        native = f"{kept.place}/native"
        shutil.copytree(kept.host, f"{native}/workspace", symlinks=True)
        for steps in sessions:
            with kept.home() as home:
                inside = home.do(lambda path, steps=steps: do(path, steps))  # type: ignore[misc]
            assert inside == do(native, steps)
            wanted = picture(native)
            assert kept_picture(kept) == wanted
            with kept.home() as home:
                assert home.do(picture) == wanted


def test_a_part_of_a_large_file_costs_that_part() -> None:
    with new_store() as kept:
        with kept.home() as home:
            assert home.do(lambda path: do(path, [("patch", "workspace/large")])) == [0]
        assert os.stat(kept.locator).st_size < 1_200_000 // 2
        content = bytearray(b"large" * 240_000)
        content[1_000_000:1_000_005] = b"patch"
        assert kept_picture(kept)["workspace/large"][2] == content


def test_what_the_host_changed_during_a_run_is_no_base_for_a_pull() -> None:
    """A pull covers what the host had when the sandbox changed it, and nothing else."""
    with new_store() as kept:
        before = os.stat(f"{kept.host}/d/f")
        with kept.home() as home:
            home.do(lambda path: do(path, [("append", "workspace/f"), ("append", "workspace/d/f")]))
            kept.write("f", b"the host's, in the meantime")
        with kept.reader() as tree:
            bases = {entry.path: entry.origin for entry in tree.walk() if entry.kind == "file"}
        changed = os.stat(f"{kept.host}/f")
        assert bases[b"d/f"] == (before.st_size, before.st_mtime_ns)
        assert bases[b"f"] not in (None, (changed.st_size, changed.st_mtime_ns))
