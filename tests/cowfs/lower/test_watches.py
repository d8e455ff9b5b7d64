"""The kernel believes what it knows of watched host directories, and is told when they change."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from art_cowfs.lower import watches
from art_cowfs.tree import lower_view, resident
from art_fusefs import replies
from tests.support.bench import Bench, Mount, crowd, run

MOMENT_S = 0.1
"""What is not watched is believed for so long here, to see sooner that what is watched is believed longer."""
ALWAYS = {"open", "opendir", "readdir", "release", "releasedir", "forget"}
NAMES = (
    "file",
    "dir",
    "dir/deep",
    "dir/sub",
    "dir/sub/far",
    "link",
    "absent",
    "dir/absent",
    "moved",
    "moved/deep",
)


@pytest.fixture(params=["roomy", "crowded"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A workspace with a few files; servers have room in memory for all of it, or for hardly anything."""
    monkeypatch.setattr(replies, "CHANGING_S", MOMENT_S)
    monkeypatch.setattr(lower_view, "FRESH_S", MOMENT_S)
    if request.param == "crowded":
        crowd(monkeypatch)
    made = Bench(tmp_path)
    (made.host / "dir/sub").mkdir(parents=True)
    (made.host / "file").write_bytes(b"host")
    (made.host / "dir/deep").write_bytes(b"deep")
    (made.host / "dir/sub/far").write_bytes(b"far")
    (made.host / "link").symlink_to("file")
    yield made
    made.close()
    shutil.rmtree(tmp_path, ignore_errors=True)


def seen(top: Path) -> dict[str, Any]:
    """What programs see below a directory: by walking, and by asking for names that need not be there."""
    found: dict[str, Any] = {}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, top)] = _one(path)
    for name in NAMES:
        found[name] = _one(f"{top}/{name}")
    return found


def _one(path: str) -> Any:
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(path)
        if stat.S_ISDIR(status.st_mode):
            return (status.st_mode, status.st_mtime_ns)
        with open(path, "rb") as file:
            contents = file.read()
            return (status.st_mode, os.fstat(file.fileno()).st_size, status.st_mtime_ns, contents)
    except OSError as error:
        return error.errno


def asked(mount: Mount) -> Counter[str]:
    counted: Any = mount.server.ask({"ask": "commit"}, 60)["requests"]
    return Counter({kind: count for kind, count in counted.items() if kind != "durable"})


def asked_by_another_look(mount: Mount) -> set[str]:
    """The kinds of requests of a second look at all that is seen, when what holds for a moment is over.
    Nothing is listed in between: after that the kernel asks for access times, whatever it was told."""
    names = [name for name in seen(mount.workspace) if not (mount.workspace / name).is_symlink()]
    for again in (False, True):
        time.sleep(2 * MOMENT_S * again)
        before = asked(mount)
        for name in names:
            _one(f"{mount.workspace}/{name}")
        found = set(asked(mount) - before) - ALWAYS
    # What is not in the server's memory is read again.
    return found - {"read", "getattr"} if resident.NODES < 10 else found


def believed(mount: Mount) -> bool:
    """Whether the kernel comes to answer by itself: it is asked twice to ask again."""
    return eventually(lambda: asked_by_another_look(mount) == set())


def eventually(holds: Callable[[], object]) -> bool:
    """Whether it comes to hold; what is seen at last decides, not when."""
    deadline = time.monotonic() + 10
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(held)


def until_alike(mount: Mount, host: Path) -> None:
    """Fails when the mount does not come to show what the host has."""
    if not eventually(lambda: seen(mount.workspace) == seen(host)):
        assert seen(mount.workspace) == seen(host)


def test_a_second_look_asks_nothing(bench: Bench) -> None:
    mount = bench.mount()
    assert believed(mount)
    assert seen(mount.workspace) == seen(bench.host)


def _replace(host: Path) -> None:
    (host / "other").write_bytes(b"otherwise")
    (host / "other").rename(host / "file")


def _link(host: Path) -> None:
    (host / "link").unlink()
    (host / "link").symlink_to("dir")


def _exchange(host: Path) -> None:
    (host / "dir").rename(host / "moved")
    (host / "dir/sub").mkdir(parents=True)
    (host / "dir/sub/far").write_bytes(b"another")


def _anew(host: Path) -> None:
    shutil.rmtree(host / "dir")
    (host / "dir").mkdir()
    (host / "dir/deep").mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "contents": lambda host: (host / "file").write_bytes(b"longer than before"),
    "contents of the same size": lambda host: (host / "dir/sub/far").write_bytes(b"raf"),
    "mode": lambda host: (host / "dir/deep").chmod(0o755),
    "mode of a directory": lambda host: (host / "dir/sub").chmod(0o700),
    "time": lambda host: os.utime(host / "file", ns=(1, 1)),
    "new name": lambda host: (host / "absent").write_bytes(b"here"),
    "new name below": lambda host: (host / "dir/absent").mkdir(),
    "removed name": lambda host: (host / "dir/deep").unlink(),
    "removed directory": lambda host: shutil.rmtree(host / "dir"),
    "made anew": _anew,
    "replaced by a rename": _replace,
    "link": _link,
    "renamed file": lambda host: (host / "file").rename(host / "dir/absent"),
    "renamed directory": lambda host: (host / "dir").rename(host / "moved"),
    "renamed directory below": lambda host: (host / "dir/sub").rename(host / "absent"),
    "another directory in its place": _exchange,
    "moved out": lambda host: (host / "dir").rename(host.parent / "elsewhere"),
}


def test_each_change_of_the_host_is_seen(bench: Bench) -> None:
    """One after the other on one mount, each undone again: what was seen once is seen again."""
    mount = bench.mount()
    assert believed(mount)
    for change in CHANGES.values():
        kept = bench.top / "kept"
        shutil.copytree(bench.host, kept, symlinks=True)
        change(bench.host)
        until_alike(mount, bench.host)
        for name in os.listdir(bench.host):
            path = bench.host / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        until_alike(mount, bench.host)
        shutil.copytree(kept, bench.host, symlinks=True, dirs_exist_ok=True)
        until_alike(mount, bench.host)
        shutil.rmtree(kept)
        shutil.rmtree(bench.top / "elsewhere", ignore_errors=True)
    assert believed(mount)


def test_who_works_in_a_directory_that_the_host_renames_finds_its_files(bench: Bench) -> None:
    mount = bench.mount()
    seen(mount.workspace)
    with open(mount.workspace / "dir/sub/far", "rb") as file:
        (bench.host / "dir").rename(bench.host / "moved")
        until_alike(mount, bench.host)
        (bench.host / "moved/sub/far").write_bytes(b"further")
        until_alike(mount, bench.host)
        assert file.read() == b"further"


def test_an_open_file_grows_with_the_hosts(bench: Bench) -> None:
    mount = bench.mount()
    with (
        open(mount.workspace / "file", "rb", buffering=0) as inside,
        open(bench.host / "file", "ab", 0) as outside,
    ):
        for part in (b"", b"-more", b"-still more"):
            outside.write(part)
            expected = (bench.host / "file").read_bytes()
            assert eventually(lambda: os.fstat(inside.fileno()).st_size == len(expected))  # noqa: B023
            assert os.pread(inside.fileno(), 100, 0) == expected


def test_a_file_with_a_second_name_is_seen_to_change_by_that(bench: Bench) -> None:
    os.link(bench.host / "file", bench.top / "second")
    mount = bench.mount()
    assert asked_by_another_look(mount) & {"lookup", "getattr"}
    (bench.top / "second").write_bytes(b"by the other name")
    until_alike(mount, bench.host)


def test_an_open_file_that_no_watch_tells_of_is_read_anew(bench: Bench) -> None:
    os.link(bench.host / "file", bench.top / "second")
    size = (bench.host / "file").stat().st_size
    mount = bench.mount()
    with open(mount.workspace / "file", "rb", buffering=0) as inside:
        for content in (b"1" * size, b"2" * size):
            assert len(os.pread(inside.fileno(), 100, 0)) == size
            with open(bench.top / "second", "r+b") as outside:
                outside.write(content)
            assert eventually(lambda: os.pread(inside.fileno(), 100, 0) == content)  # noqa: B023


def test_what_was_changed_inside_stays_whatever_the_host_does(bench: Bench) -> None:
    mount = bench.mount()
    seen(mount.workspace)
    (mount.workspace / "file").write_bytes(b"inside")
    (mount.workspace / "dir/deep").unlink()
    (mount.workspace / "dir/sub").rename(mount.workspace / "taken")
    for name in ("file", "dir/deep", "dir/sub/far", "dir/sub/new"):
        (bench.host / name).write_bytes(b"outside")
    assert eventually((mount.workspace / "taken/new").exists)
    assert eventually(lambda: (mount.workspace / "taken/far").read_bytes() == b"outside")
    assert (mount.workspace / "file").read_bytes() == b"inside"
    assert sorted(os.listdir(mount.workspace / "dir")) == []


def test_a_pushed_directory_shows_what_comes_on_the_host(bench: Bench) -> None:
    mount = bench.mount()
    (mount.workspace / "dir").chmod(0o711)  # From now on it is the database's.
    mount = bench.again(mount)
    seen(mount.workspace)
    assert believed(mount)
    (bench.host / "dir/absent").write_bytes(b"here")
    assert eventually((mount.workspace / "dir/absent").exists)
    assert (mount.workspace / "dir/absent").read_bytes() == b"here"


@pytest.mark.parametrize("limit", [0, 2 * watches.SHARE])
def test_without_watches_it_is_believed_for_a_moment(
    limit: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = bench.top / "max_user_watches"
    setting.write_text(f"{limit}\n")
    monkeypatch.setattr(watches, "_LIMIT", str(setting))
    mount = bench.mount()
    assert asked_by_another_look(mount) & {"lookup", "getattr"}
    for change in ("contents", "mode of a directory", "new name below", "another directory in its place"):
        CHANGES[change](bench.host)
        until_alike(mount, bench.host)


def test_where_the_user_may_watch_no_more_the_rest_is_not_watched(bench: Bench) -> None:
    source = """
import os, sys
from art_cowfs.lower.lower import Lower
from art_cowfs.lower.watches import Watches
lost = []
watches = Watches(Lower(os.open(sys.argv[1], os.O_RDONLY)), lambda: None, lost.append)
names = [b"", b"dir", b"dir/sub", b"more", b"most"]
print([name.decode() for name in names if watches.add(name)], lost)
"""
    for name in ("more", "most"):
        (bench.host / name).mkdir()
    limited = 'echo 3 >/proc/sys/user/max_inotify_watches && exec "$@"'
    argv = ["unshare", "--user", "--map-root-user", "sh", "-c", limited, "sh", sys.executable, "-c", source]
    done = subprocess.run([*argv, bench.host], capture_output=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"['', 'dir', 'dir/sub'] []\n", b"")


def test_a_file_system_that_others_can_change_is_not_watched(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "LOCAL", set())
    mount = bench.mount()
    assert asked_by_another_look(mount) & {"lookup", "getattr"}
    CHANGES["contents"](bench.host)
    until_alike(mount, bench.host)


def test_a_session_leaves_watches_to_others(bench: Bench) -> None:
    mount = bench.mount()
    seen(mount.workspace)
    assert _watched(mount) == 3
    shutil.rmtree(mount.workspace / "dir")
    assert eventually(lambda: _watched(mount) == 1)


def _watched(mount: Mount) -> int:
    """How many directories the server watches: proc(5), fdinfo."""
    found = 0
    for path in Path(f"/proc/{mount.server.pid}/fdinfo").iterdir():
        found += path.read_text().count("inotify wd:")
    return found


@contextlib.contextmanager
def _overflow(mount: Mount, file: Path) -> Iterator[None]:
    """The server stands still while more happens to a file than is kept for it, and then the rest."""
    os.kill(mount.server.pid, signal.SIGSTOP)
    try:
        for _ in range(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) // 2 + 10):
            file.touch()
            file.unlink()
        yield
    finally:
        os.kill(mount.server.pid, signal.SIGCONT)


@pytest.mark.slow
def test_when_events_are_lost_everything_is_looked_at_again(bench: Bench) -> None:
    mount = bench.mount()
    (bench.host / "busy").mkdir()
    seen(mount.workspace)
    with _overflow(mount, bench.host / "busy/one"):
        for change in ("contents", "new name below", "link"):
            CHANGES[change](bench.host)
        (bench.host / "dir").rename(bench.host / "moved")
        (bench.host / "dir").mkdir()
    until_alike(mount, bench.host)
    assert believed(mount)
    CHANGES["new name"](bench.host)
    until_alike(mount, bench.host)


@pytest.mark.slow
def test_a_process_keeps_its_directory_when_events_are_lost(bench: Bench) -> None:
    mount = bench.mount()
    seen(mount.workspace)
    source = "import os, sys\nprint(flush=True)\nsys.stdin.read()\nprint(os.readlink('/proc/self/cwd'))"
    argv = ["/usr/bin/python3", "-I", "-S", "-c", source]
    with subprocess.Popen(argv, cwd=mount.workspace / "dir", stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with _overflow(mount, bench.host / "one"):
            pass
        until_alike(mount, bench.host)
        out, _ = process.communicate(b"")
    assert out.endswith(b"/ws/dir\n")  # not: "(deleted)"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_random_work_on_the_host_is_seen_while_the_sandbox_walks(bench: Bench, seed: int) -> None:
    mount = bench.mount()
    chance = random.Random(seed)
    walker = subprocess.Popen(
        ["sh", "-c", "while :; do find ws -type f -exec cat {} + ; stat ws/a/b ws/c ws/b/a/c; done"],
        cwd=mount.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(12):
            for _ in range(chance.choice((1, 10, 400))):
                _mutate(bench.host, chance)
            until_alike(mount, bench.host)
    finally:
        walker.kill()
        walker.wait()
    until_alike(mount, bench.host)


def _mutate(host: Path, chance: random.Random) -> None:
    one, other = (host / "/".join(chance.choices("abcd", k=chance.randint(1, 3))) for _ in "12")
    try:
        match chance.randrange(7):
            case 0:
                one.mkdir()
            case 1 | 2:
                one.write_bytes(chance.randbytes(chance.choice((0, 3, 3, 5000))))
            case 3:
                one.rename(other)
            case 4:
                one.chmod(chance.choice((0o700, 0o755)))
            case 5:
                shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()
            case 6:
                one.symlink_to("somewhere")
    except OSError:
        pass


@pytest.mark.slow
def test_a_checkout_on_the_host_is_seen(bench: Bench) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *identity, "-C", bench.host, *words], check=True, stdout=subprocess.DEVNULL)

    git("init", "-q", "-b", "main")
    for branch in ("one", "two"):
        git("checkout", "-q", "--orphan", branch)
        for number in range(600):
            path = bench.host / f"{number % 40 if branch == 'one' else number % 60}/{number}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{branch} {number}")
        git("add", "-A")
        git("commit", "-qm", branch)
    mount = bench.mount()
    until_alike(mount, bench.host)
    for branch in ("one", "two", "one"):
        git("checkout", "-q", branch)
        assert run(mount, "find", "ws", "-name", "599").returncode == 0
        until_alike(mount, bench.host)
