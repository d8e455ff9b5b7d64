"""No workspace in direct mode holds what ART itself obeys or believes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory

PLACES = {"XDG_CONFIG_HOME": "settings", "XDG_STATE_HOME": "state", "XDG_CACHE_HOME": "cache"}


@pytest.mark.parametrize("variable", PLACES)
def test_what_art_keeps_does_not_lie_in_a_workspace(caller: Caller, variable: str) -> None:
    with fresh_directory(caller) as workspace:
        outside = workspace.parent / "outside"
        (workspace / "inside").mkdir()
        outside.mkdir()
        (outside / "art").symlink_to(workspace / "inside")
        for place in (workspace / "later", outside):
            done = caller.art("--", "touch", "ran", cwd=workspace, env={variable: str(place)})
            assert done.returncode == 125 and done.stderr.count(b"\n") == 1, done.stderr
            assert f"ART's own {PLACES[variable]}, {place}/art".encode() in done.stderr
        assert not (workspace / "ran").exists()


def test_nor_do_a_link_on_the_way_and_a_file_of_settings(caller: Caller) -> None:
    with fresh_directory(caller) as workspace:
        outside = workspace.parent / "outside"
        (outside / "art/agents").mkdir(parents=True)
        (workspace / "link").symlink_to(outside)
        assert _refused(caller, workspace, workspace / "link")
        assert not _refused(caller, workspace, outside)
        for name in ("config.toml", "agents/mine.toml"):
            (workspace / "mine.toml").write_text("")
            (outside / "art" / name).symlink_to(workspace / "mine.toml")
            assert _refused(caller, workspace, outside)
            (outside / "art" / name).unlink()


def _refused(caller: Caller, workspace: Path, config: Path) -> bool:
    done = caller.art("--", "true", cwd=workspace, env={"XDG_CONFIG_HOME": str(config)})
    assert done.returncode == (125 if b"ART's own settings" in done.stderr else 0), done.stderr
    return done.returncode == 125
