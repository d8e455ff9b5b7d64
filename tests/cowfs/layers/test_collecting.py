"""What no name leads to goes, the file gets shorter, and what is shown stays the same."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from art_cowfs.db.locks import Bystander
from art_cowfs.db.lookup import chain_of
from art_cowfs.integrity.check import problems
from art_cowfs.layers import layers, squash
from art_cowfs.opening.database import connect
from tests.support.bench import Bench, branches, store, tree

SIZE = 3 << 20


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    (made.host / "shown").write_bytes(b"host")
    yield made
    made.close()


def wrong(bench: Bench) -> list[str]:
    connection = connect(str(bench.database))
    found = list(problems(connection))
    connection.close()
    return found


def shown(bench: Bench, at: str) -> dict[bytes, object]:
    with store(bench).home(at, None) as home:
        return tree(home)


def work(path: Path, seed: int) -> None:
    """Make, change, cut, link, rename and remove files, the same for the same seed."""
    rng = random.Random(seed)
    for number in range(40):
        files = sorted(entry for entry in path.rglob("*") if entry.is_file())
        some = rng.choice(files) if files else None
        what = rng.randrange(8)
        if what <= 1 or some is None:
            (path / f"{seed}-{number}").write_bytes(rng.randbytes(rng.randrange(200_000)))
        elif what == 2:
            os.truncate(some, rng.randrange(300_000))
        elif what == 3:
            with open(some, "r+b") as file:
                file.seek(rng.randrange(300_000))
                file.write(rng.randbytes(70_000))
        elif what == 4:
            some.unlink()
        elif what == 5:
            directory = path / f"d{rng.randrange(6)}"
            directory.mkdir(exist_ok=True)
            some.rename(directory / f"{seed}-{number}")
        elif what == 6:
            os.link(some, path / f"l{seed}-{number}")
        else:
            os.setxattr(some, "user.mark", rng.randbytes(20))


def test_branches_that_were_removed_are_collected_and_the_file_gets_shorter(bench: Bench) -> None:
    bench.unmount(bench.mount())
    branches(bench.database, ["one", "two"])
    for name in ("main", "one", "two"):
        mount = bench.mount(name)
        (mount.path / "large").write_bytes(os.urandom(SIZE))
        bench.unmount(mount)
    before, kept = os.stat(bench.database).st_size, shown(bench, "main")
    store(bench).remove("one")
    store(bench).remove("two")
    assert store(bench).info().unreached == 2
    done = store(bench).collect()
    assert (done.layers, done.kept, done.why) == (2, 0, "")
    assert done.freed >= 2 * SIZE and done.returned >= 2 * SIZE
    assert os.stat(bench.database).st_size <= before - 2 * SIZE
    assert shown(bench, "main") == kept and wrong(bench) == []
    assert store(bench).collect()[:4] == (0, 0, 0, 0)
    assert (
        sorted(path.name for path in bench.top.iterdir()) == ["t.db", "ws"] or (bench.top / "state").exists()
    )


def test_what_a_run_uses_is_left_and_the_space_is_given_back_at_its_end(bench: Bench) -> None:
    mount = bench.mount()
    (mount.path / "kept").write_bytes(b"kept")
    bench.unmount(mount)
    branches(bench.database, ["other"])
    other = bench.mount("other")
    (other.path / "large").write_bytes(os.urandom(SIZE))
    bench.unmount(other)
    mount = bench.mount()
    (mount.path / "new").write_bytes(b"new")
    opened = open(mount.path / "new", "rb")  # noqa: SIM115 - it outlives its name
    (mount.path / "new").unlink()
    store(bench).remove("other")
    done = store(bench).collect()
    assert done.layers == 1 and done.freed >= SIZE
    assert done.kept >= SIZE and "a run holds branch 'main'" in done.why
    assert store(bench).info().branches[0].held_by.startswith("process ")
    (mount.path / "more").write_bytes(b"more")
    assert opened.read() == b"new"
    opened.close()
    size = os.stat(bench.database).st_size
    bench.unmount(mount)
    assert os.stat(bench.database).st_size <= size - SIZE
    assert set(shown(bench, "main")) == {b"kept", b"more", b"ws"} and wrong(bench) == []


def test_a_squash_changes_nothing_of_what_is_shown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squash, "INODES_AT_ONCE", 3)
    for seed in range(6):
        mount = bench.mount()
        work(mount.path, seed)
        bench.unmount(mount)
        store(bench).snapshot("main", f"s{seed}")
    before = {at: shown(bench, at) for at in ("s0", "s2", "s5", "main")}
    for gone in ("s1", "s3", "s4"):
        store(bench).remove(gone)
    assert wrong(bench) == []
    done = store(bench).squash("main")
    assert (done.before, done.after, done.why) == (7, 4, "")
    assert {at: shown(bench, at) for at in before} == before and wrong(bench) == []
    for gone in ("s0", "s2", "s5"):
        store(bench).remove(gone)
    assert store(bench).squash("main").after == 1
    assert shown(bench, "main") == before["main"] and wrong(bench) == []
    assert store(bench).collect().freed == 0, "nothing that is gone was left in the one layer"


def test_a_chain_that_grew_long_is_merged_at_the_end_of_a_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squash, "LONG", 4)
    monkeypatch.setattr(layers, "AT_THE_END", layers.Most(0, 0))  # All are too large for a single step.
    lengths = []
    for seed in range(5):
        mount = bench.mount()
        work(mount.path, seed)
        before = {path.relative_to(mount.path) for path in mount.path.rglob("*")}
        bench.unmount(mount)
        connection = connect(str(bench.database))
        lengths.append(len(chain_of(connection, "main")))
        layers.freeze(connection, "main")
        connection.close()
    assert lengths == [1, 2, 3, 4, 1]
    assert {Path(os.fsdecode(path)) for path in shown(bench, "main")} | {Path("ws/shown")} >= before
    assert wrong(bench) == []


def test_a_squash_beside_a_run_leaves_its_top(bench: Bench) -> None:
    mount = bench.mount()
    for seed in range(3):
        work(mount.path, seed)
        store(bench).snapshot("main", f"s{seed}")
    work(mount.path, 9)
    before = shown(bench, "main")
    for seed in range(3):
        store(bench).remove(f"s{seed}")
    done = store(bench).squash("main")
    assert (done.after == 2 and "in use" in done.why) or done.after <= 3
    assert shown(bench, "main") == before
    work(mount.path, 10)
    seen = {path.relative_to(mount.path) for path in mount.path.rglob("*")}
    bench.unmount(mount)
    assert {Path(os.fsdecode(path)) for path in shown(bench, "main")} | {Path("ws/shown")} >= seen
    assert wrong(bench) == []


def test_a_squash_that_is_killed_between_two_steps_has_changed_nothing(bench: Bench) -> None:
    for seed in range(2):
        mount = bench.mount()
        work(mount.path, seed)
        bench.unmount(mount)
        store(bench).snapshot("main", f"s{seed}")
    before = shown(bench, "main")
    for seed in range(2):
        store(bench).remove(f"s{seed}")

    class Killed(Exception):
        pass

    real, left = layers.move, [0]

    def move(*words: Any, **more: Any) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return real(*words, **more)

    left[0] = 5
    connection, by = connect(str(bench.database)), Bystander(str(bench.database))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(squash, "INODES_AT_ONCE", 1)
        patch.setattr(layers, "move", move)
        with pytest.raises(Killed):
            squash.merge(connection, by, "main", lambda: nullcontext(by), held=True)
    by.close()
    assert len(chain_of(connection, "main")) == 2
    connection.close()
    assert wrong(bench) == []
    assert shown(bench, "main") == before and wrong(bench) == []
    assert store(bench).squash("main").after == 1 and shown(bench, "main") == before
