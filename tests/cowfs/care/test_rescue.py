"""What of a damaged database can be read comes through a repair."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from art_cowfs.access.branch import OpenBranch
from art_cowfs.care import maintenance
from art_cowfs.db.schema import PAGE
from art_cowfs.opening.database import connect

FILES = 2000


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "t.db"
    with OpenBranch(str(path), "main", uid=0, gid=0) as session:
        top = session.tree.node(1)
        for number in range(FILES):
            node = session.tree.new(stat.S_IFREG | 0o644, 0)
            node.nlink = 1
            session.tree.enter(top, b"n%d" % number, node)
            session.tree.changed(node)
            session.tree.write(node, 0, b"data")
    return path


def leaves(path: Path, table: str) -> list[tuple[int, int]]:
    """The pages with a table's rows: number, and rows."""
    connection = connect(str(path))
    query = "SELECT pageno, ncell FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path"
    found: list[Any] = connection.execute(query, (table,)).fetchall()
    connection.close()
    return found


def rows(path: Path, table: str) -> int:
    connection = connect(str(path))
    number: int = connection.execute(f"SELECT count(*) FROM {table} NOT INDEXED").get
    connection.close()
    return number


def damaged(path: Path, to: Path, pages: Sequence[int]) -> str:
    data = bytearray(path.read_bytes())
    for page in pages:
        data[(page - 1) * PAGE : page * PAGE] = b"\xff" * PAGE
    to.write_bytes(data)
    return str(to)


@pytest.mark.parametrize("table", ["inode", "dentry", "chunk"])
@pytest.mark.parametrize("which", [[0], [-1], [1], [0, 2]])
def test_every_row_beside_an_unreadable_page_comes_through(
    sound: Path, tmp_path: Path, table: str, which: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = leaves(sound, table)
    lost = [pages[place % len(pages)] for place in which]
    path = damaged(sound, tmp_path / "t.db", [page for page, _ in lost])
    monkeypatch.setattr("art_cowfs.care.repair._mend_rows", lambda connection: iter(()))
    kinds = {finding.kind for finding in maintenance.mend(path, f"{path}-backup")}
    assert kinds == {"sqlite", "unreadable"}
    whole = sum(number for _, number in pages) + len(pages) * (table != "chunk") - (table != "chunk")
    assert rows(tmp_path / "t.db", table) == whole - sum(number for _, number in dict(lost).items())


def test_a_file_that_is_short_is_read_as_far_as_it_goes(sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    data = sound.read_bytes()
    path.write_bytes(data[: -6 * PAGE])
    found = list(maintenance.mend(str(path), f"{path}-backup"))
    assert found[0].kind == "short"
    assert list(maintenance.check(str(path))) == []
    assert os.path.getsize(f"{path}-backup") == len(data)
    with OpenBranch(str(path), "main", uid=0, gid=0) as session:
        assert len(list(session.tree.names(session.tree.node(1)))) > FILES // 4
