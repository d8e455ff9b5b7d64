"""A long read sees one moment, keeps nothing from being written, and leaves no layer behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from art_core.errors import StoreError
from art_cowfs.access.frozen_read import standing
from art_cowfs.access.workspace_tree import WorkspaceReader
from art_cowfs.db.control_socket import ServerConnection, Unreachable, listen
from art_cowfs.db.locks import BranchLock
from art_cowfs.db.lookup import chain_of
from art_cowfs.db.schema import DatabaseError
from art_cowfs.integrity.check import problems
from art_cowfs.layers import layers
from art_cowfs.opening.database import connect
from art_cowfs.store import Database
from tests.support.bench import Bench, Mount, reader

MIB = 1 << 20


def contents(tree: WorkspaceReader) -> dict[bytes, bytes]:
    return {
        entry.path: b"".join(data for _, data in tree.blocks(entry))
        for entry in tree.walk()
        if entry.kind == "file"
    }


ELSEWHERE = """
import os, sys
sys.path[:] = sys.argv[3:]
from art_core.view.workspace import open_workspace
from art_cowfs.access.workspace_tree import reading
from tests.cowfs.access.test_frozen_read import contents
with reading(sys.argv[1], "main", open_workspace(sys.argv[2])) as tree:
    print("reads", flush=True)
    sys.stdin.readline()
    print(contents(tree), flush=True)
"""


class Elsewhere:
    """A read by another process: a server must not be forked from one with connections of its own."""

    def __init__(self, bench: Bench) -> None:
        argv = [sys.executable, "-c", ELSEWHERE, str(bench.database), str(bench.host), *sys.path]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout and self.process.stdout.readline() == "reads\n"

    def ended(self) -> str:
        """What it read."""
        return self.process.communicate("\n", timeout=30)[0].strip()

    def killed(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def length(bench: Bench) -> int:
    """How many layers the branch has; the database has to be sound."""
    connection = connect(str(bench.database))
    try:
        assert list(problems(connection)) == []
        return len(chain_of(connection, "main"))
    finally:
        connection.close()


def settled(bench: Bench, mount: Mount) -> int:
    """The same, when the server has merged what it can."""
    mount.server.ask({"ask": "commit"}, 30.0)
    connection = connect(str(bench.database))
    lock = bench.top / "t.db-lock"
    at = lock.read_text().split('"at": "')[1].split('"')[0]
    # A connection that ends makes the server merge; the next one is answered when it has ended.
    for _ in range(2):
        asking = ServerConnection(at, 30.0)
        asking.ask({"ask": "commit"})
        asking.close()
    connection.close()
    return length(bench)


def test_a_reader_sees_what_a_running_server_answered(bench: Bench) -> None:
    (bench.host / "host").write_text("host")
    mount = bench.mount()
    (mount.workspace / "new").write_text("answered")
    (mount.workspace / "host").write_text("changed")
    with reader(bench) as tree:
        (mount.workspace / "new").write_text("later, and longer")
        (mount.workspace / "host").unlink()
        (mount.workspace / "more").write_text("more")
        assert contents(tree) == {b"new": b"answered", b"host": b"changed"}
    assert (mount.workspace / "new").read_text() == "later, and longer"
    with reader(bench) as tree:
        assert contents(tree) == {b"new": b"later, and longer", b"more": b"more"}
        assert [gone.path for gone in tree.removed()] == [b"host"]
    mount = bench.again(mount)
    assert sorted(os.listdir(mount.workspace)) == ["more", "new"]


def test_readers_do_not_make_a_chain_longer(bench: Bench) -> None:
    (bench.host / "large").write_bytes(b"host" * MIB)
    mount = bench.mount()
    before = length(bench)
    with open(mount.workspace / "large", "r+b") as file:
        for number in range(12):
            file.seek(number * 100_000)
            file.write(b"inside%d" % number)
            file.flush()
            (mount.path / f"{number}").write_bytes(b"%d" % number * 1000)
            if number % 3 == 2:
                (mount.path / f"{number - 2}").unlink()
                os.truncate(mount.path / f"{number - 1}", 7)
            with reader(bench) as tree:
                found = contents(tree)[b"large"]
            assert found[number * 100_000 :].startswith(b"inside%d" % number)
            assert length(bench) <= before + 4
    assert settled(bench, mount) <= before + 2
    expected = (mount.workspace / "large").read_bytes()
    bench.unmount(mount)
    assert length(bench) == before
    mount = bench.mount()
    assert (mount.workspace / "large").read_bytes() == expected
    for number in range(12):
        whole = b"%d" % number * 1000
        kept = {0: None, 1: whole[:7], 2: whole}[number % 3]
        path = mount.path / f"{number}"
        assert (path.read_bytes() if path.exists() else None) == kept


def test_a_read_of_a_branch_that_nobody_holds_leaves_nothing(bench: Bench) -> None:
    mount = bench.mount()
    (mount.workspace / "file").write_text("kept")
    bench.unmount(mount)
    before = length(bench)
    reads = Elsewhere(bench)
    with reader(bench) as second:
        assert contents(second) == {b"file": b"kept"}
    mount = bench.mount()
    (mount.workspace / "file").write_text("a run that begins meanwhile")
    bench.unmount(mount)
    assert reads.ended() == str({b"file": b"kept"})
    assert length(bench) == before
    assert not (bench.top / "t.db-lock").exists()
    mount = bench.mount()
    assert (mount.workspace / "file").read_text() == "a run that begins meanwhile"


@pytest.mark.parametrize("bench", ["one layer"], indirect=True)
def test_a_reader_does_not_make_the_log_grow(bench: Bench) -> None:
    mount = bench.mount()
    (mount.workspace / "file").write_bytes(b"kept")
    with reader(bench) as tree:
        walk = tree.walk()
        entry = next(walk)
        blocks = tree.blocks(entry)
        assert next(blocks) == (0, b"kept")
        with open(mount.path / "much", "wb", buffering=0) as file:
            for _ in range(96):
                file.write(os.urandom(MIB))
            os.fsync(file.fileno())
        assert os.stat(f"{bench.database}-wal").st_size < 48 * MIB


@pytest.mark.parametrize("bench", ["one layer"], indirect=True)
def test_a_reader_that_is_killed_lets_go_of_its_layer(bench: Bench) -> None:
    mount = bench.mount()
    (mount.workspace / "file").write_text("one")
    reads = Elsewhere(bench)
    (mount.workspace / "file").write_text("two")
    bench.unmount(mount)
    assert length(bench) == 2, "it is read"
    reads.killed()
    mount = bench.mount()
    assert (mount.workspace / "file").read_text() == "two"
    bench.unmount(mount)
    assert length(bench) == 1


@pytest.mark.parametrize("bench", ["one layer"], indirect=True)
def test_a_holder_that_cannot_be_asked_is_named(bench: Bench) -> None:
    bench.unmount(bench.mount())
    lock = BranchLock(str(bench.database), "main")
    with pytest.raises(DatabaseError, match=r"is held by process \d+, since"), reader(bench):
        pass
    lock.close()


@pytest.mark.parametrize("bench", ["one layer"], indirect=True)
def test_a_read_leaves_it_to_a_run_to_tell_of_one_that_was_killed(bench: Bench) -> None:
    mount = bench.mount()
    (mount.path / "file").write_text("answered")
    mount.kill()
    with pytest.raises(StoreError, match="killed"):
        bench.unmount(mount)
    assert len(os.listdir(bench.top / "state")) == 1
    with reader(bench):
        pass
    lock = BranchLock(str(bench.database), "main")
    assert lock.left_by.startswith("process ")
    lock.close()
    mount = bench.mount()
    assert len(os.listdir(bench.top / "state")) == 1, "the socket that was left is removed"
    bench.unmount(mount)
    assert os.listdir(bench.top / "state") == []


def test_a_socket_may_lie_deep(tmp_path: Path) -> None:
    directory = str(tmp_path / ("d" * 200) / ("e" * 200))
    listening, at = listen(directory)
    asking = ServerConnection(at, 5.0)
    asking.close()
    listening.close()
    with pytest.raises(Unreachable):
        ServerConnection(at, 5.0)
    second, again = listen(directory)
    assert os.listdir(directory) == [os.path.basename(again)]
    second.close()


@pytest.mark.parametrize("bench", ["one layer", "layers, crowded"], indirect=True)
def test_what_is_removed_after_a_read_takes_no_room(bench: Bench) -> None:
    mount = bench.mount()
    (mount.path / "large").write_bytes(os.urandom(4 * MIB))
    with reader(bench):
        (mount.path / "large").unlink()
        (mount.path / "another").write_bytes(b"another")
    bench.unmount(mount)
    bench.unmount(bench.mount())
    connection = connect(str(bench.database))
    assert connection.execute("SELECT count(*) FROM chunk").get == 1
    connection.close()


def test_two_large_layers_stay_as_they_are(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "AT_THE_END", layers.Most(1, 0))
    mount = bench.mount()
    (mount.path / "one").write_bytes(b"one")
    with reader(bench):
        (mount.path / "two").write_bytes(b"two")
        before = length(bench)
    bench.unmount(mount)
    assert length(bench) == before
    mount = bench.mount()
    assert (mount.path / "one").read_bytes() == b"one"


def test_a_branch_that_is_not_there_is_named(bench: Bench) -> None:
    bench.unmount(bench.mount())
    with (
        pytest.raises(DatabaseError, match="no branch or snapshot 'other'"),
        standing(str(bench.database), "other"),
    ):
        pass


@pytest.mark.parametrize("bench", ["layers"], indirect=True)
def test_what_was_cut_off_stays_cut_off_when_layers_are_merged(bench: Bench) -> None:
    mount = bench.mount()
    (mount.path / "file").write_bytes(b"x" * 300_000)
    mount = bench.again(mount)
    os.truncate(mount.path / "file", 10)
    os.truncate(mount.path / "file", 300_000)
    with reader(bench):
        (mount.path / "file").chmod(0o600)
    mount = bench.again(mount)
    assert (mount.path / "file").read_bytes() == b"x" * 10 + bytes(299_990)


@pytest.mark.parametrize("bench", ["one layer"], indirect=True)
def test_a_host_directory_with_the_number_of_one_that_is_gone_is_another_one(bench: Bench) -> None:
    """File systems give such numbers out again at once; whiteouts of the first one are not the second's."""
    mount = bench.mount()
    store = Database(str(bench.database), f"{bench.top}/state")
    for number in range(10):
        host = bench.host / f"d{number}"
        (host / "below").mkdir(parents=True)
        (mount.workspace / f"d{number}/own").write_bytes(b"own")
        hidden = number % 2 == 0
        if hidden:
            (mount.workspace / f"d{number}/below").rmdir()
        store.snapshot("main", f"snapshot-{number}")
        with reader(bench) as tree:
            shown = {entry.path for entry in tree.walk(shown=True)}
        ends = [b"", b"/own"] if hidden else [b"", b"/own", b"/below"]
        assert shown == {b"d%d%s" % (number, end) for end in ends}
        shutil.rmtree(mount.workspace / f"d{number}")
        shutil.rmtree(host)
