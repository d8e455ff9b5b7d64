"""What `art diff` prints, applied to the one state, is the other: with the real git and patch."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from art_cli.commands.diff import in_order
from art_cli.diff.patches import Patches, text_of
from art_cli.output.pager import Page
from art_core.transfer.changes import Compared, between
from art_core.transfer.path_filters import Paths
from art_core.transfer.transfer import Wishes
from art_core.view.workspace import open_workspace
from art_cowfs.store import Database
from tests.support.bench import Bench, Mount

PLAIN_NAMES = [b"a", b"b", b"c", b"sp ace", b"-dash"]
ODD_NAMES = [
    b'quo"te',
    b"back\\slash",
    b"new\nline",
    b"tab\t",
    b"\x1b[31mred",
    b"\xff\xfe",
    "\u00e9\u202e".encode(),
    b" first",
    b"last ",
    b"a -> b",
]
LINES = [
    b"one\n",
    b"two\n",
    b"\n",
    b"  three\n",
    b"cr\r\n",
    b"--- a/x\n",
    b"+++ b/x\n",
    b"@@ -1 +1 @@\n",
    b"\\ No\n",
]
TEXTS = st.tuples(
    st.lists(st.sampled_from(LINES), max_size=12).map(b"".join),
    st.sampled_from([b"", b"", b"no end of line", b"\r", b"-- "]),
).map(b"".join)
LONG = st.tuples(TEXTS, st.integers(1, 30), TEXTS).map(
    lambda three: three[0] + b"".join(b"line %d\n" % n for n in range(three[1])) + three[2]
)
BINARY = st.binary(max_size=200).map(lambda data: b"\0" + data) | st.just(bytes(30))
TARGETS = st.sampled_from([b"a", b"../x", b"/etc/passwd", b"new\nline"])


class Step(NamedTuple):
    """Something done to a tree: `path` and `other` have up to two parts."""

    what: str
    path: bytes
    other: bytes
    contents: bytes
    target: bytes


def steps(
    names: list[bytes], contents: st.SearchStrategy[bytes], kinds: list[str]
) -> st.SearchStrategy[list[Step]]:
    path = st.lists(st.sampled_from(names), min_size=1, max_size=2).map(b"/".join)
    return st.lists(st.builds(Step, st.sampled_from(kinds), path, path, contents, TARGETS), max_size=8)


def take(top: bytes, step: Step) -> None:
    """Do it, if it can be done there."""
    path, other = os.path.join(top, step.path), os.path.join(top, step.other)
    with suppress(OSError):
        if step.what in ("write", "append", "rename", "link"):
            os.makedirs(os.path.dirname(other if step.what == "rename" else path), exist_ok=True)
        if step.what in ("write", "append"):
            with open(path, "ab" if step.what == "append" else "wb", opener=_no_links) as file:
                file.write(step.contents)
        elif step.what == "rename":
            os.rename(path, other)
        elif step.what == "link":
            os.symlink(step.target, path)
        elif step.what == "remove":
            os.unlink(path)
        elif step.what == "remove all":
            shutil.rmtree(path)
        elif step.what == "executable" and not os.path.islink(path):
            os.chmod(path, os.stat(path).st_mode ^ 0o111)


def _no_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def tree(top: Path) -> dict[bytes, tuple[str, bytes]]:
    """Files and links as git knows them; it does not know directories."""
    found = {}
    for directory, names, files in os.walk(os.fsencode(top)):
        for name in names + files:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found[os.path.relpath(path, os.fsencode(top))] = ("link", os.readlink(path))
            elif stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    kind = "executable" if mode & 0o100 else "file"
                    found[os.path.relpath(path, os.fsencode(top))] = (kind, file.read())
    return found


class Trying:
    """A mounted workspace; each example has a directory of its own in it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._bench = Bench(top)
        self.host = self._bench.host
        self.mount: Mount = self._bench.mount()
        self.store = Database(str(self._bench.database), f"{top}/state")
        self._numbers = itertools.count()

    def example(self) -> str:
        return f"e{next(self._numbers)}"

    def patch(self, name: str) -> bytes:
        """What changed in an example since its snapshot."""
        out = io.BytesIO()
        page = Page(out, colour=False)
        workspace = open_workspace(str(self.host))
        try:
            wishes = Wishes(chosen=Paths([name.encode()]))
            with between(self.store, name, "main", workspace, wishes) as found:
                write(found, page)
        finally:
            os.close(workspace.fd)
            shutil.rmtree(self.mount.workspace / name)
            shutil.rmtree(self.host / name)
        return out.getvalue()

    def close(self) -> None:
        self._bench.close()


def write(found: Compared, page: Page) -> None:
    patches = Patches(page, binary=True)
    for _, pair in in_order(found.changes, found.sides):
        patches.write(pair, text_of(pair) if pair.differ else None)


@pytest.fixture(scope="module")
def trying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trying]:
    made = Trying(tmp_path_factory.mktemp("patches"))
    yield made
    made.close()


def states(trying: Trying, first: list[Step], shown: list[Step], then: list[Step]) -> tuple[str, Path, Path]:
    """Two states of a new example: copies of what was there at its snapshot, and of what is there now. Some
    of the first is the host's."""
    name = trying.example()
    (trying.host / name).mkdir()
    for step in shown:
        take(os.fsencode(trying.host / name), step)
    inside = trying.mount.workspace / name
    for step in first:
        take(os.fsencode(inside), step)
    before, after = trying.top / f"{name}.before", trying.top / f"{name}.after"
    shutil.copytree(inside, before / name, symlinks=True)
    trying.store.snapshot("main", name)
    for step in then:
        take(os.fsencode(inside), step)
    shutil.copytree(inside, after / name, symlinks=True)
    return name, before, after


def applied(program: list[str], patch: bytes, top: Path) -> dict[bytes, tuple[str, bytes]]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "LC_ALL": "C",
    }
    done = subprocess.run(program, input=patch, cwd=top, capture_output=True, env=environment)
    assert done.returncode == 0, (done.stderr.decode(errors="replace"), patch.decode(errors="replace"))
    return tree(top)


ALL = ["write", "write", "append", "rename", "rename", "link", "remove", "remove all", "executable"]
ANY = steps(PLAIN_NAMES + ODD_NAMES, TEXTS | LONG | BINARY, ALL)
FOR_PATCH = [*PLAIN_NAMES, b'quo"te', b"back\\slash", b"\xff\xfe", b"a -> b"]
"""It strips names that begin or end with a space, and refuses one with the end of a line."""
TEXT = steps(FOR_PATCH, TEXTS | LONG, [kind for kind in ALL if kind != "link"])
TRIED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.slow
@TRIED
@given(first=ANY, shown=ANY, then=ANY)
def test_git_makes_the_second_state_of_the_first(
    trying: Trying, first: list[Step], shown: list[Step], then: list[Step]
) -> None:
    name, before, after = states(trying, first, shown, then)
    patch = trying.patch(name)
    expected = tree(after)
    if not patch:
        assert tree(before) == expected
        return
    assert applied(["git", "apply", "--whitespace=nowarn", "-"], patch, before) == expected


@pytest.mark.slow
@TRIED
@given(first=TEXT, shown=TEXT, then=TEXT)
def test_patch_makes_the_second_state_of_the_first(
    trying: Trying, first: list[Step], shown: list[Step], then: list[Step]
) -> None:
    """Where no file took the place of a directory, or the other way round: patch cannot do that."""
    name, before, after = states(trying, first, shown, then)
    patch = trying.patch(name)
    expected = tree(after)
    assume(patch and not any(_is_directory(path, before) for path in expected))
    assume(not any(_is_directory(path, after) for path in tree(before)))
    assert applied(["patch", "-p1", "-f", "-s", "--binary"], patch, before) == expected


def _is_directory(path: bytes, top: Path) -> bool:
    return os.path.isdir(os.path.join(os.fsencode(top), path))
