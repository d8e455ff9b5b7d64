"""The file system by its parts: what each call does, now and after a new mount."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import Counter
from pathlib import Path

import pytest

from art_core.errors import StoreError
from art_cowfs.db import file_systems
from art_cowfs.opening.database import connect
from tests.support.bench import Bench, Mount, run


def contents(top: Path) -> dict[str, object]:
    """Everything below a directory: kind and mode, size, link or bytes."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        what: object = None
        if path.is_symlink():
            what = os.readlink(path)
        elif path.is_file():
            what = path.read_bytes()
        found[str(path.relative_to(top))] = (stat.filemode(status.st_mode), what)
    return found


def fingerprint(top: Path) -> dict[str, object]:
    """A host tree with all its metadata but atime."""
    found: dict[str, object] = {}
    for path in (top, *sorted(top.rglob("*"))):
        s = path.lstat()
        times = (s.st_mtime_ns, s.st_ctime_ns)
        found[str(path)] = (s.st_mode, s.st_ino, s.st_nlink, s.st_uid, s.st_size, *times)
    return found


def test_the_host_shows_through_and_is_never_written(bench: Bench) -> None:
    (bench.host / "sub").mkdir()
    (bench.host / "file").write_bytes(b"host")
    (bench.host / "sub/deep").write_bytes(b"deep")
    (bench.host / "link").symlink_to("file")
    before = fingerprint(bench.host)
    mount = bench.mount()
    assert contents(mount.workspace) == contents(bench.host)
    (mount.workspace / "file").write_bytes(b"changed")
    (mount.workspace / "sub/deep").rename(mount.workspace / "moved")
    (mount.workspace / "sub").rmdir()
    (mount.workspace / "link").unlink()
    (mount.workspace / "new").mkdir()
    expected = {
        "file": ("-rw-r--r--", b"changed"),
        "moved": ("-rw-r--r--", b"deep"),
        "new": ("drwxr-xr-x", None),
    }
    assert contents(mount.workspace) == expected
    mount = bench.again(mount)
    assert contents(mount.workspace) == expected
    assert fingerprint(bench.host) == before


def test_reading_stores_nothing(bench: Bench) -> None:
    (bench.host / "file").write_bytes(os.urandom(3_000_000))
    bench.unmount(bench.mount())
    size = bench.database.stat().st_size
    mount = bench.mount()
    assert (mount.workspace / "file").read_bytes() == (bench.host / "file").read_bytes()
    bench.unmount(mount)
    assert bench.database.stat().st_size == size


def test_one_byte_of_a_large_file_costs_one_chunk(bench: Bench) -> None:
    with open(bench.host / "large", "wb") as file:
        file.truncate(1 << 30)
        file.seek(500_000_000)
        file.write(b"host")
    bench.unmount(bench.mount())
    size = bench.database.stat().st_size
    mount = bench.mount()
    with open(mount.workspace / "large", "r+b") as file:
        file.seek(500_000_002)
        file.write(b"X")
    mount = bench.again(mount)
    with open(mount.workspace / "large", "rb") as file:
        file.seek(499_999_999)
        assert file.read(6) == b"\0hoXt\0"
    assert (mount.workspace / "large").stat().st_size == 1 << 30
    bench.unmount(mount)
    assert bench.database.stat().st_size - size < 1 << 20


def test_a_large_directory_of_the_host_is_renamed_without_a_copy(bench: Bench) -> None:
    (bench.host / "many").mkdir()
    for number in range(2000):
        (bench.host / f"many/{number}").write_bytes(b"x" * 100)
    mount = bench.mount()
    (mount.workspace / "many").rename(mount.path / "elsewhere")
    mount = bench.again(mount)
    assert len(os.listdir(mount.path / "elsewhere")) == 2000
    assert (mount.path / "elsewhere/7").read_bytes() == b"x" * 100
    assert not (mount.workspace / "many").exists()
    bench.unmount(mount)
    assert bench.database.stat().st_size < 1 << 20


@pytest.mark.parametrize("size", [0, 1, 511, 4096, 65535, 65536, 65537, 300_000])
def test_truncating_and_extending(bench: Bench, size: int) -> None:
    data = os.urandom(200_000)
    for name in ("host", "small"):
        (bench.host / name).write_bytes(data)
    (bench.host / "huge").write_bytes(data * 10)
    mount = bench.mount()
    (mount.workspace / "new").write_bytes(data)
    for name, whole in (("host", data), ("huge", data * 10), ("new", data)):
        path = mount.workspace / name
        os.truncate(path, size)
        expected = whole[:size] + bytes(max(0, size - len(whole)))
        assert path.read_bytes() == expected
        os.truncate(path, 250_000)
        expected = expected[:250_000] + bytes(max(0, 250_000 - len(expected)))
        assert path.read_bytes() == expected
    mount = bench.again(mount)
    for name, whole in (("host", data), ("huge", data * 10), ("new", data)):
        cut = whole[:size] + bytes(max(0, size - len(whole)))
        assert (mount.workspace / name).read_bytes() == cut[:250_000] + bytes(max(0, 250_000 - len(cut)))


def test_holes_take_no_room(bench: Bench) -> None:
    """What stat tells as blocks: never less than there is, and little for what was never written."""
    chunk = 64 << 10
    mount = bench.mount()
    with open(mount.path / "sparse", "wb") as file:
        file.truncate(100 * chunk)
        assert os.fstat(file.fileno()).st_blocks == 0
        os.pwrite(file.fileno(), b"data", 50 * chunk + 5)
        os.pwrite(file.fileno(), b"more", 50 * chunk)
        os.pwrite(file.fileno(), b"end", 120 * chunk)
        assert os.fstat(file.fileno()).st_blocks * 512 in range(chunk, 3 * chunk)
    with open(mount.path / "dense", "wb") as file:
        for idx in (3, 1, 0, 2):
            os.pwrite(file.fileno(), b"x" * chunk, idx * chunk)
        assert os.fstat(file.fileno()).st_blocks * 512 == 4 * chunk
        file.truncate(2 * chunk)
    with open(bench.host / "ofhost", "wb") as file:
        file.truncate(10 * chunk)
    blocks = {name: (mount.path / name).stat().st_blocks for name in ("sparse", "dense")}
    mount = bench.again(mount)
    for name, found in blocks.items():
        assert (mount.path / name).stat().st_blocks == found > 0
    assert (mount.workspace / "ofhost").stat().st_blocks == (bench.host / "ofhost").stat().st_blocks
    (mount.workspace / "ofhost").write_bytes(b"x" * chunk)
    assert (mount.workspace / "ofhost").stat().st_blocks * 512 == chunk
    with open(mount.path / "sparse", "r+b") as file:
        for idx in range(121):
            os.pwrite(file.fileno(), b"full", idx * chunk)
        assert os.fstat(file.fileno()).st_blocks * 512 >= 120 * chunk


def answered(mount: Mount) -> Counter[str]:
    """How many requests the server answered, by their kind."""
    requests = mount.server.ask({"ask": "commit"}, 30)["requests"]
    assert isinstance(requests, dict)
    return Counter(requests)


def test_what_was_written_is_read_from_the_kernel(roomy: Bench) -> None:
    mount = roomy.mount()
    content = os.urandom(8 << 20)
    with open(mount.path / "file", "wb", buffering=0) as file:
        for start in range(0, len(content), 1 << 20):
            file.write(content[start : start + (1 << 20)])
    before = answered(mount)
    assert (mount.path / "file").read_bytes() == content
    assert (answered(mount) - before)["read"] == 0


@pytest.mark.parametrize(
    "change",
    ["echo x >> file", ": > file", "truncate -s 3 file", "truncate -s 99 file", "chown $(id -u) file"],
)
def test_a_change_takes_the_set_user_id_bit_away(bench: Bench, change: str) -> None:
    mount = bench.mount()
    (mount.path / "file").write_text("content")
    os.chmod(mount.path / "file", 0o6755)
    unprivileged = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "sh", "-c")
    assert run(mount, "stat", "-c", "%a", "file").stdout == b"6755\n"
    assert run(mount, *unprivileged, change).returncode == 0
    assert run(mount, "stat", "-c", "%a", "file").stdout == b"755\n"


def test_a_second_look_is_answered_by_the_kernel(roomy: Bench) -> None:
    for number in range(40):
        (roomy.host / f"host{number}").write_bytes(b"x" * 10_000)
    mount = roomy.mount()
    (mount.path / "made").mkdir()
    for number in range(40):
        (mount.path / f"made/{number}").write_bytes(b"y" * 10_000)

    def look() -> Counter[str]:
        """The requests of a walk that reads each file."""
        before, files = answered(mount), 0
        for directory, _, names in os.walk(mount.path):
            for name in names:
                files += len(Path(directory, name).read_bytes()) == Path(directory, name).stat().st_size
        assert files == 80
        return answered(mount) - before

    assert look()["read"] >= 40
    # What the host can change is asked for again after a second: one look of a few is quick enough.
    asked = min((look() for _ in range(5)), key=Counter.total)
    for kind in ("open", "release", "opendir", "readdir", "releasedir", "forget"):
        del asked[kind]
    # Linux forgets the attributes of a directory when it was listed (its atime may have changed).
    assert asked.keys() <= {"getattr"} and asked["getattr"] <= 3


def test_a_file_lives_while_it_is_open(bench: Bench) -> None:
    (bench.host / "host").write_bytes(b"host")
    mount = bench.mount()
    (mount.path / "new").write_bytes(b"new")
    for path, data in ((mount.path / "new", b"new"), (mount.workspace / "host", b"host")):
        with open(path, "r+b") as file:
            path.unlink()
            assert not path.exists()
            assert file.read() == data
            file.write(b" and more")
            file.seek(0)
            assert file.read() == data + b" and more"
            assert os.fstat(file.fileno()).st_nlink == 0


def test_hard_links_are_one_file(bench: Bench) -> None:
    (bench.host / "a").write_bytes(b"host")
    os.link(bench.host / "a", bench.host / "b")
    mount = bench.mount()
    a, b, c = (mount.workspace / name for name in "abc")
    assert a.stat().st_ino == b.stat().st_ino
    a.write_bytes(b"changed")
    assert b.read_bytes() == b"changed"
    os.link(b, c)
    assert c.stat().st_nlink == 3
    mount = bench.again(mount)
    a, b, c = (mount.workspace / name for name in "abc")
    assert [path.read_bytes() for path in (a, b, c)] == [b"changed"] * 3
    assert len({path.stat().st_ino for path in (a, b, c)}) == 1


def test_renaming_with_flags(bench: Bench) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    (bench.host / "a").write_bytes(b"a")
    mount = bench.mount()
    a, b = mount.workspace / "a", mount.path / "b"
    b.mkdir()

    def rename(source: Path, target: Path, flags: int) -> int:
        done = libc.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags)
        return 0 if done == 0 else ctypes.get_errno()

    assert rename(a, b, 1) == errno.EEXIST
    assert rename(a, b, 2) == 0
    assert a.is_dir() and b.read_bytes() == b"a"
    assert rename(a, mount.path / "none", 2) == errno.ENOENT
    mount = bench.again(mount)
    assert (mount.workspace / "a").is_dir() and (mount.path / "b").read_bytes() == b"a"


def test_attributes_last(bench: Bench) -> None:
    (bench.host / "host").write_bytes(b"x")
    mount = bench.mount()
    for path in (mount.workspace / "host", mount.path / "new"):
        path.touch()
        path.chmod(0o640)
        os.utime(path, ns=(1_000_000_001, 2_000_000_002))
        os.setxattr(path, "user.key", b"value\0")
    numbers = [path.stat().st_ino for path in (mount.workspace / "host", mount.path / "new")]
    mount = bench.again(mount)
    for path, number in zip((mount.workspace / "host", mount.path / "new"), numbers, strict=True):
        status = path.stat()
        assert stat.S_IMODE(status.st_mode) == 0o640
        assert (status.st_atime_ns, status.st_mtime_ns) == (1_000_000_001, 2_000_000_002)
        assert os.getxattr(path, "user.key") == b"value\0"
        assert status.st_ino == number
        os.removexattr(path, "user.key")
        assert os.listxattr(path) == []
    assert (mount.workspace / "host").read_bytes() == b"x"


def test_special_files_and_odd_names(bench: Bench) -> None:
    mount = bench.mount()
    os.mkfifo(mount.path / "fifo")
    for name in (b"\xff\xfe", b"new\nline", b"a" * 255, b" "):
        path = os.path.join(os.fsencode(mount.path), name)
        with open(path, "wb") as file:
            file.write(name)
    with pytest.raises(OSError, match="too long"):
        (mount.path / ("a" * 256)).touch()
    with pytest.raises(PermissionError):
        os.mknod(mount.path / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    mount = bench.again(mount)
    assert stat.S_ISFIFO((mount.path / "fifo").stat().st_mode)
    listed = os.listdir(os.fsencode(mount.path))
    assert {b"\xff\xfe", b"new\nline", b"a" * 255, b" ", b"fifo", b"ws"} == set(listed)


def test_directories_stay_right_while_they_change(bench: Bench) -> None:
    mount = bench.mount()
    top = mount.path / "d"
    top.mkdir()
    for number in range(3000):
        (top / f"{number:05}").touch()
    seen = []
    with os.scandir(top) as listing:
        for place, entry in enumerate(listing):
            seen.append(entry.name)
            if place % 3 == 0:
                os.unlink(entry.path)
                (top / f"new{place}").touch()
    assert [name for name in seen if not name.startswith("new")] == sorted(f"{n:05}" for n in range(3000))
    assert len(set(seen)) == len(seen)
    assert len(os.listdir(top)) == 3000


def test_a_second_writer_is_told_who_holds_the_branch(bench: Bench) -> None:
    bench.mount()
    with pytest.raises(Exception, match=r"branch 'main' .* is held by process \d+, since"):
        bench.mount()


def test_a_database_on_a_network_file_system_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = os.open(bench.top, os.O_PATH)
    monkeypatch.setattr(file_systems, "NETWORK", {file_systems.kind(here)})
    os.close(here)
    with pytest.raises(StoreError, match=r"network file system.*name a file on a local disk"):
        bench.mount()
    assert sorted(path.name for path in bench.top.iterdir()) == ["ws"]


def test_the_host_is_seen_when_it_changes(bench: Bench) -> None:

    (bench.host / "file").write_bytes(b"one")
    mount = bench.mount()
    assert (mount.workspace / "file").read_bytes() == b"one"
    (bench.host / "file").write_bytes(b"two, longer")
    (bench.host / "added").write_bytes(b"added")
    time.sleep(1.1)
    assert (mount.workspace / "file").read_bytes() == b"two, longer"
    assert (mount.workspace / "added").read_bytes() == b"added"


def test_a_host_file_that_changes_after_a_part_was_copied_is_refused(bench: Bench) -> None:
    (bench.host / "large").write_bytes(b"a" * 5_000_000)
    os.utime(bench.host / "large", (1_500_000_000, 1_500_000_000))
    mount = bench.mount()
    with open(mount.workspace / "large", "r+b") as file:
        file.write(b"changed")
    (bench.host / "large").write_bytes(b"b" * 5_000_000)
    mount = bench.again(mount)
    with open(mount.workspace / "large", "rb") as file:
        assert file.read(7) == b"changed"
        file.seek(4_000_000)
        with pytest.raises(OSError) as caught:
            file.read(10)
    assert caught.value.errno == errno.ESTALE
    notes = mount.server.ask({"ask": "notes"}, 30.0)["notes"]
    assert "changed inside: large; reading the rest failed" in str(notes)


def test_a_host_file_that_is_very_new_is_copied_whole_soon(bench: Bench) -> None:
    """The host could change it within the same time stamp: this one does, and sets the stamp back."""
    host = bench.host / "large"
    mount = bench.mount()
    host.write_bytes(b"a" * 5_000_000)
    stamp = host.stat().st_mtime_ns
    with open(mount.workspace / "large", "r+b") as file:
        file.write(b"changed")
    until = time.monotonic() + 20
    while stored(bench, mount) < 77 and time.monotonic() < until:
        time.sleep(0.05)
    host.write_bytes(b"b" * 5_000_000)
    os.utime(host, ns=(stamp, stamp))
    mount = bench.again(mount)
    assert (mount.workspace / "large").read_bytes() == b"changed" + b"a" * 4_999_993


def stored(bench: Bench, mount: Mount) -> int:
    """How many chunks the database has."""
    mount.server.ask({"ask": "commit"}, 30.0)
    connection = connect(str(bench.database))
    found: int = connection.execute("SELECT count(*) FROM chunk").get
    connection.close()
    return found


def test_the_databases_own_files_are_not_seen(bench: Bench) -> None:
    bench.database = bench.host / "own.db"
    mount = bench.mount()
    assert os.listdir(mount.workspace) == []
    (mount.workspace / "own.db").write_bytes(b"not the database")
    mount = bench.again(mount)
    assert (mount.workspace / "own.db").read_bytes() == b"not the database"


def test_it_is_one_file_after_a_clean_end(bench: Bench) -> None:
    mount = bench.mount()
    (mount.path / "file").write_bytes(b"x" * 1_000_000)
    bench.unmount(mount)
    assert [path.name for path in bench.top.iterdir() if path.name.startswith("t.db")] == ["t.db"]


def test_directories_that_the_host_makes_can_all_be_removed(bench: Bench) -> None:
    """They were not there when the directory above was copied up, which counts its directories."""
    mount = bench.mount()
    (mount.workspace / "own").write_bytes(b"")
    for number in range(5):
        (bench.host / f"d{number}").mkdir()
        (mount.workspace / f"d{number}").rmdir()
    mount = bench.again(mount)
    (mount.workspace / "new").write_bytes(b"new")
    assert sorted(os.listdir(mount.workspace)) == ["new", "own"]
