"""Names of states: snapshots of branches in use, what is refused, what stays, and databases of before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.errors import StoreError
from art_core.store.history import Point, checked_name
from art_core.view.workspace import open_workspace
from art_cowfs.access import run_log
from art_cowfs.access.workspace_tree import reading
from art_cowfs.db.locks import BranchLock
from art_cowfs.db.lookup import chain_of
from art_cowfs.db.schema import FORMAT, DatabaseError
from art_cowfs.history import points
from art_cowfs.integrity.check import problems
from art_cowfs.opening.database import connect
from art_cowfs.opening.migrations import TABLES_1, TABLES_2
from art_cowfs.tree.changed_names import ChangedNames
from tests.support.bench import Bench, Mount

STEPS = """
import os, sys
os.chdir(sys.argv[1])
print("starts", flush=True)
for number in range(100_000):
    with open(f"file{number}", "wb", buffering=0) as file:
        file.write(b"%d" % number)
    with open("last", "wb", buffering=0) as file:
        file.write(b"%d" % number)
    if os.path.exists("enough"):
        break
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    (made.host / "host").write_text("host")
    yield made
    made.close()


def names(bench: Bench) -> list[str]:
    return [point.name for point in points.listed(str(bench.database))]


def restore(bench: Bench, branch: str, at: str, *paths: bytes) -> Point:
    workspace = open_workspace(str(bench.host))
    try:
        return points.restore(str(bench.database), branch, at, paths, workspace)
    finally:
        os.close(workspace.fd)


def texts(bench: Bench, at: str) -> dict[str, str]:
    """What the store has of the workspace's files at a point."""
    workspace = open_workspace(str(bench.host))
    try:
        with reading(str(bench.database), at, workspace) as tree:
            return {
                os.fsdecode(entry.path): b"".join(data for _, data in tree.blocks(entry)).decode()
                for entry in tree.walk()
            }
    finally:
        os.close(workspace.fd)


def rows(bench: Bench) -> int:
    connection = connect(str(bench.database))
    tables = ("layer", "inode", "dentry", "chunk", "xattr", "base")
    found = sum(connection.execute(f"SELECT count(*) FROM {table}").get for table in tables)
    assert list(problems(connection)) == []
    connection.close()
    return int(found)


def written(mount: Mount, **contents: str) -> None:
    for name, text in contents.items():
        (mount.workspace / name).write_text(text)


def test_a_snapshot_of_a_branch_in_use_is_one_moment_of_it(bench: Bench) -> None:
    mount = bench.mount()
    argv = [sys.executable, "-I", "-S", "-c", STEPS, str(mount.workspace)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "starts\n"
        for number in range(4):
            points.snapshot(str(bench.database), "main", f"moment-{number}")
        (mount.workspace / "enough").touch()
        process.wait(60)
    bench.unmount(mount)
    sizes = []
    for number in range(4):
        found = texts(bench, f"moment-{number}")
        last = found.pop("last", "")
        done = sorted(int(name.removeprefix("file")) for name in found)
        assert done == list(range(len(done)))  # What was answered is there, and nothing that came later.
        assert last in ("", f"{len(done) - 1}", f"{len(done) - 2}")
        assert all(found[f"file{one}"] == f"{one}" for one in done[:-1])
        sizes.append(len(done))
    assert sizes == sorted(sizes)
    assert len(texts(bench, "main")) >= sizes[-1]


def test_a_branch_in_use_is_neither_put_back_nor_removed(bench: Bench) -> None:
    bench.unmount(bench.mount())
    points.snapshot(str(bench.database), "main", "before")
    points.make_branch(str(bench.database), "busy", "main")
    mount = bench.mount("busy")
    held = rf"branch 'busy' .* is held by process {mount.server.pid}, since"
    with pytest.raises(StoreError, match=held):
        restore(bench, "busy", "before")
    with pytest.raises(StoreError, match=held):
        restore(bench, "busy", "before", b"ws/host")
    with pytest.raises(StoreError, match=held):
        points.remove(str(bench.database), "busy")
    (busy,) = (point for point in points.listed(str(bench.database)) if point.name == "busy")
    assert busy.held.startswith(f"process {mount.server.pid}, since")
    # What it was made from may be put back and go, and it can be forked and snapshotted itself.
    written(mount, made="in busy")
    restore(bench, "main", "busy")
    points.remove(str(bench.database), "before")
    points.make_branch(str(bench.database), "child", "busy")
    points.snapshot(str(bench.database), "busy", "of-busy")
    written(mount, made="later")
    assert [texts(bench, at)["made"] for at in ("main", "child", "of-busy", "busy")] == [
        *(["in busy"] * 3),
        "later",
    ]
    bench.unmount(mount)


def test_names_are_of_one_set_and_can_be_typed(bench: Bench) -> None:
    bench.unmount(bench.mount())
    database = str(bench.database)
    points.snapshot(database, "main", "kept")
    points.make_branch(database, "agents/one", "kept")
    for kind, name in (("snapshot", "kept"), ("branch", "agents/one"), ("branch", "main")):
        message = f"there is a {kind} '{name}' already; `art {kind} --delete {name}` removes it"
        with pytest.raises(StoreError, match=message):
            points.snapshot(database, "main", name)
        with pytest.raises(StoreError, match=message):
            points.make_branch(database, name, "main")
    with pytest.raises(StoreError, match="'main' stays"):
        points.remove(database, "main")
    with pytest.raises(StoreError, match="'kept' is a snapshot, which stays as it is; `art branch NAME"):
        points.snapshot(database, "kept", "another")
    unknown = "no branch or snapshot 'no' in this database; `art branch`"
    with pytest.raises(StoreError, match=unknown):
        points.remove(database, "no")
    with pytest.raises(StoreError, match=unknown):
        points.make_branch(database, "b", "no")
    assert names(bench) == ["main", "kept", "agents/one"]


@pytest.mark.parametrize(
    "name",
    ["", "-x", "a..b", "..", ".", "/a", "a/", "a//b", "a/./b", "a b", "a\n", "\x1b[m", "\udc80", "x" * 201],
)
def test_a_name_that_would_mislead_is_refused(name: str) -> None:
    with pytest.raises(StoreError, match="cannot be the name of a branch or a snapshot: "):
        checked_name(name)


@pytest.mark.parametrize("name", ["a", "a.b", "agents/one", "before-2026-11-25T00:42:15", "ä", "v1.0"])
def test_other_names_are_taken(name: str) -> None:
    assert checked_name(name) == name


def test_a_point_costs_as_much_in_a_large_workspace_as_in_an_empty_one(bench: Bench) -> None:
    mount = bench.mount()
    for number in range(300):
        (mount.workspace / f"{number}").write_text("x" * number)
    bench.unmount(mount)
    before = rows(bench)
    database = str(bench.database)
    points.snapshot(database, "main", "first")
    assert rows(bench) == before + 1  # The new top.
    points.snapshot(database, "main", "same")
    assert rows(bench) == before + 1
    points.make_branch(database, "child", "first")
    assert rows(bench) == before + 2
    restore(bench, "child", "main")
    assert rows(bench) == before + 2
    restore(bench, "main", "first", b"ws/7")
    assert rows(bench) == before + 2


def test_what_a_removed_snapshot_kept_stays_where_it_is_needed(bench: Bench) -> None:
    mount = bench.mount()
    written(mount, file="first")
    bench.unmount(mount)
    database = str(bench.database)
    points.snapshot(database, "main", "first")
    points.make_branch(database, "child", "first")
    mount = bench.mount()
    written(mount, file="second")
    bench.unmount(mount)
    points.remove(database, "first")
    assert names(bench) == ["main", "child"]
    for branch in ("main", "child", "main"):  # Layers are merged at the end of each.
        bench.unmount(bench.mount(branch))
    assert [texts(bench, at)["file"] for at in ("main", "child")] == ["second", "first"]
    rows(bench)


def test_where_a_branch_and_a_snapshot_come_from_is_known(bench: Bench) -> None:
    database = str(bench.database)
    mount = bench.mount()
    for name in ("one", "two"):
        written(mount, **{name: name})
        points.snapshot(database, "main", name)
    bench.unmount(mount)
    points.make_branch(database, "child", "one")
    kept = restore(bench, "main", "one")
    found = {point.name: (point.kind, point.branch, point.parent) for point in points.listed(database)}
    assert found == {
        "main": ("branch", "main", "one"),
        "one": ("snapshot", "main", ""),
        "two": ("snapshot", "main", "one"),
        "child": ("branch", "child", "one"),
        kept.name: ("snapshot", "main", "one"),
    }
    assert kept.note == "before restore one"


def test_a_host_directory_is_shown_at_one_place_only(bench: Bench) -> None:
    (bench.host / "src").mkdir()
    for name in ("x", "y"):
        (bench.host / "src" / name).write_text(f"host {name}")
    mount = bench.mount()
    written(mount, **{"src/y": "changed"})
    points.snapshot(str(bench.database), "main", "before")
    os.rename(mount.workspace / "src", mount.workspace / "lib")
    bench.unmount(mount)
    restore(bench, "main", "before", b"ws/src")
    mount = bench.mount()
    written(mount, **{"src/x": "in src", "lib/y": "in lib"})
    shown = {
        f"{top}/{name}": (mount.workspace / top / name).read_text()
        for top in ("src", "lib")
        for name in ("x", "y")
    }
    assert shown == {"src/x": "in src", "src/y": "changed", "lib/x": "host x", "lib/y": "in lib"}
    bench.unmount(mount)
    rows(bench)


def test_what_is_shown_again_is_shown_by_later_restores_too(bench: Bench) -> None:
    mount = bench.mount()
    points.snapshot(str(bench.database), "main", "first")
    (mount.workspace / "host").unlink()
    bench.unmount(mount)
    restore(bench, "main", "first", b"ws/host")
    points.snapshot(str(bench.database), "main", "shown")
    mount = bench.mount()
    (mount.workspace / "host").unlink()
    bench.unmount(mount)
    restore(bench, "main", "shown", b"ws/host")
    mount = bench.mount()
    assert (mount.workspace / "host").read_text() == "host"
    bench.unmount(mount)
    rows(bench)


def test_a_directory_that_another_branch_numbers_otherwise_is_shown_once(bench: Bench) -> None:
    (bench.host / "src").mkdir()
    (bench.host / "src/x").write_text("host x")
    bench.unmount(bench.mount())
    points.make_branch(str(bench.database), "other", "main")
    mount = bench.mount("other")
    written(mount, **{"src/y": "of other"})
    bench.unmount(mount)
    mount = bench.mount()
    os.rename(mount.workspace / "src", mount.workspace / "lib")
    bench.unmount(mount)
    restore(bench, "main", "other", b"ws/src")
    mount = bench.mount()
    assert (mount.workspace / "lib/x").read_text() == (mount.workspace / "src/x").read_text() == "host x"
    written(mount, **{"src/x": "in src"})
    assert (mount.workspace / "lib/x").read_text() == "host x"
    written(mount, **{"lib/x": "in lib"})
    assert (mount.workspace / "src/x").read_text() == "in src"
    assert (mount.workspace / "src/y").read_text() == "of other"
    bench.unmount(mount)
    rows(bench)


def test_a_file_keeps_its_contents_when_a_restore_takes_a_further_name(bench: Bench) -> None:
    mount = bench.mount()
    written(mount, file="first")
    points.snapshot(str(bench.database), "main", "before")
    os.truncate(mount.workspace / "file", 0)  # What is below is cut off in the layer that has the contents.
    written(mount, file="second, and longer")
    os.link(mount.workspace / "file", mount.workspace / "further")
    bench.unmount(mount)
    restore(bench, "main", "before", b"ws/further")
    mount = bench.mount()
    assert (mount.workspace / "file").read_text() == "second, and longer"
    assert (mount.workspace / "file").stat().st_nlink == 1
    assert not (mount.workspace / "further").exists()
    bench.unmount(mount)
    rows(bench)


def test_what_was_removed_long_ago_is_shown_again_and_not_copied(bench: Bench) -> None:
    (bench.host / "src").mkdir()
    for name in ("x", "y"):
        (bench.host / "src" / name).write_text(f"host {name}")
    mount = bench.mount()
    written(mount, **{"src/y": "changed"})
    points.snapshot(str(bench.database), "main", "before")
    for name in ("x", "y"):
        (mount.workspace / "src" / name).unlink()
    (mount.workspace / "src").rmdir()
    (mount.workspace / "host").unlink()
    bench.unmount(mount)
    bench.unmount(bench.mount())
    restore(bench, "main", "before", b"ws/src", b"ws/host")
    assert texts(bench, "main") == texts(bench, "before") == {"src": "", "src/y": "changed"}
    mount = bench.mount()
    assert (mount.workspace / "src/x").read_text() == "host x"
    (bench.host / "src/x").write_text("new on the host")
    bench.unmount(mount)
    mount = bench.mount()
    assert (mount.workspace / "src/x").read_text() == "new on the host"
    assert (mount.workspace / "host").read_text() == "host"
    bench.unmount(mount)
    rows(bench)


def test_a_path_of_the_home_can_be_put_back(bench: Bench) -> None:
    mount = bench.mount()
    (mount.path / ".profile").write_text("first")
    points.snapshot(str(bench.database), "main", "before")
    (mount.path / ".profile").write_text("second")
    written(mount, file="stays")
    bench.unmount(mount)
    restore(bench, "main", "before", b".profile")
    mount = bench.mount()
    assert (mount.path / ".profile").read_text() == "first"
    assert (mount.workspace / "file").read_text() == "stays"
    with pytest.raises(StoreError, match="is held"):
        restore(bench, "main", "before", b".profile")


def test_a_restore_that_fails_changes_nothing(bench: Bench) -> None:
    mount = bench.mount()
    written(mount, file="first")
    points.snapshot(str(bench.database), "main", "before")
    written(mount, file="second")
    bench.unmount(mount)
    before = rows(bench), names(bench)
    for path, why in ((b"ws/nothing", "neither of the two has that"), (b"ws/host/x", "neither of the two")):
        with pytest.raises(StoreError, match=why):
            restore(bench, "main", "before", b"ws/file", path)
    with pytest.raises(StoreError, match="is the branch that is to be put back"):
        restore(bench, "main", "main")
    assert (rows(bench), names(bench)) == before
    assert texts(bench, "main") == {"file": "second"}


def test_a_branch_of_a_killed_server_can_be_put_back(bench: Bench) -> None:
    mount = bench.mount()
    points.snapshot(str(bench.database), "main", "before")
    written(mount, file="made")
    mount.kill()
    with pytest.raises(StoreError, match="was killed"):
        bench.unmount(mount)
    restore(bench, "main", "before")
    assert texts(bench, "main") == {}
    lock = BranchLock(str(bench.database), "main")
    assert lock.left_by  # The next run still tells of it.
    lock.close()


def test_a_session_counts_what_it_leaves_changed(bench: Bench) -> None:
    (bench.host / "old").write_text("old")
    mount = bench.mount()
    ask = mount.server.ask
    session = ask({"ask": "begin", "argv": ["sh", "-c", "x"], "trace": "", "snapshot": True}, 10)
    assert session == {"id": 1, "before": "before-1"}
    written(mount, made="made", temporary="gone", replacing="new text")
    (mount.workspace / "temporary").unlink()
    os.replace(mount.workspace / "replacing", mount.workspace / "old")
    (mount.workspace / "host").unlink()
    (mount.workspace / "directory").mkdir()
    assert ask({"ask": "ended", "id": 1, "status": 3, "notes": ["one"]}, 10) == {}
    ask({"ask": "begin", "argv": ["true"], "trace": "t.log", "snapshot": False}, 10)
    (running,) = (one for one in run_log.listed(str(bench.database)) if one.id == 2)
    assert (running.state, running.files, running.trace) == ("running", None, "t.log")
    bench.unmount(mount)
    first, second = run_log.listed(str(bench.database))
    assert (first.status, first.files, first.state, first.notes) == (3, 4, "ended", ["one"])
    assert (first.branch, first.workspace, first.argv) == ("main", "ws", ["sh", "-c", "x"])
    assert (second.status, second.files, second.state) == (None, 0, "killed")
    assert second.ended_ns is not None


def test_a_session_of_a_killed_server_is_one_that_was_killed(bench: Bench) -> None:
    mount = bench.mount()
    mount.server.ask({"ask": "begin", "argv": ["true"], "trace": "", "snapshot": False}, 10)
    mount.kill()
    with pytest.raises(StoreError, match="was killed"):
        bench.unmount(mount)
    again = bench.mount()
    (session,) = run_log.listed(str(bench.database))
    assert (session.state, session.ended_ns, session.files) == ("killed", None, None)
    bench.unmount(again)


def test_counting_ends_where_there_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("art_cowfs.tree.changed_names.MOST", 3)
    changed = ChangedNames()
    for number in range(5):
        changed.named(1, b"%d" % number, True)
    assert (changed.count(), changed.more) == (3, True)


FORMAT_1 = f"""
DROP TABLE session; DROP INDEX point_layer; DROP INDEX point_top; DROP INDEX base_layer;
ALTER TABLE layer RENAME TO l; ALTER TABLE base RENAME TO b; ALTER TABLE point RENAME TO p;
{TABLES_1}
INSERT INTO layer SELECT id, l.parent, coalesce(name, ''), coalesce(kind, '') != 'branch', l.created_ns, ''
  FROM l LEFT JOIN p ON p.layer = l.id;
INSERT INTO base VALUES(x'7773', x'61', 'file', 1, 2, 3, 4, 5);
DROP TABLE l; DROP TABLE b; DROP TABLE p;
PRAGMA user_version = 1;
"""
"""How the tables were that are other ones now."""


def test_a_database_of_format_1_is_brought_to_the_present_one(bench: Bench) -> None:
    mount = bench.mount()
    written(mount, file="first")
    bench.unmount(mount)
    points.snapshot(str(bench.database), "main", "kept")
    mount = bench.mount()
    written(mount, file="second")
    bench.unmount(mount)
    connection = connect(str(bench.database))
    for statement in FORMAT_1.split(";"):
        connection.execute(statement)
    connection.execute("UPDATE layer SET note = 'why' WHERE name = 'kept'")
    connection.close()
    found = {point.name: (point.kind, point.note) for point in points.listed(str(bench.database))}
    assert found == {"main": ("branch", ""), "kept": ("snapshot", "why")}
    assert [texts(bench, at)["file"] for at in ("kept", "main")] == ["first", "second"]
    connection = connect(str(bench.database))
    assert connection.pragma("user_version") == FORMAT
    top = chain_of(connection, "main")[0]
    assert connection.execute("SELECT layer, kind, ino FROM base").fetchall() == [(top, "file", 4)]
    assert connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'layer'").get >= top
    connection.close()
    assert run_log.listed(str(bench.database)) == []
    bench.unmount(bench.mount())
    rows(bench)


FORMAT_2 = f"""
DROP INDEX base_layer; ALTER TABLE base RENAME TO b;
{TABLES_2}
CREATE INDEX base_layer ON base(layer);
INSERT INTO base SELECT workspace, place, layer, kind, host_size, host_mtime, host_mode, ino, ctime FROM b;
DROP TABLE b;
PRAGMA user_version = 2;
"""


def test_a_database_of_format_2_is_brought_to_the_present_one(bench: Bench) -> None:
    """What was agreed on is known as it was, without what that format did not keep."""
    mount = bench.mount()
    written(mount, file="first")
    bench.unmount(mount)
    connection = connect(str(bench.database))
    connection.execute("INSERT INTO base VALUES(x'7773', x'61', 1, 'file', 1, 2, 3, 4, 5, 6, 'digest')")
    for statement in FORMAT_2.split(";"):
        connection.execute(statement)
    connection.close()
    assert texts(bench, "main")["file"] == "first"
    connection = connect(str(bench.database))
    assert connection.pragma("user_version") == FORMAT
    assert connection.execute("SELECT * FROM base").fetchall() == [
        (b"ws", b"a", 1, "file", 1, 2, 3, 4, 5, None, None)
    ]
    connection.close()
    bench.unmount(bench.mount())
    rows(bench)


def test_a_database_of_two_names_is_used_by_none(bench: Bench) -> None:
    """Each would have a log and locks of its own."""
    mount = bench.mount()
    written(mount, file="first")
    bench.unmount(mount)
    other = bench.database.with_name("other.db")
    os.link(bench.database, other)
    for path in (bench.database, other):
        for write in (True, False):
            with pytest.raises(DatabaseError, match="2 names"):
                connect(str(path), write=write)
    other.unlink()
    assert texts(bench, "main")["file"] == "first"
