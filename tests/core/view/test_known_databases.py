"""The list of a user's databases."""

from __future__ import annotations

import os
from pathlib import Path

from art_core.view import known_databases


def test_a_pipe_in_the_place_of_the_list_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "databases")
    assert known_databases.databases(str(tmp_path)) == []
    assert known_databases.remember(str(tmp_path), [str(tmp_path / "x.db")]) == []
