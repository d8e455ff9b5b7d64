"""A packager may leave parts out: without any one plugin `art` still works, and says what is missed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.installed_copies import Installed, make_venv

PLUGINS = ["binds", "bwrap"]


def drop_entry_point(site: Path, plugin: str) -> None:
    (listing,) = site.glob("art_runtime-*.dist-info/entry_points.txt")
    lines = [line for line in listing.read_text().splitlines() if not line.startswith(f"{plugin} =")]
    listing.write_text("\n".join(lines) + "\n")


def drop_folder(site: Path, plugin: str) -> None:
    shutil.rmtree(site / f"art_{plugin}")


def drop_all_but_bytecode(site: Path, plugin: str) -> None:
    """What an upgrade leaves when the interpreter's caches are not the package manager's."""
    folder = site / f"art_{plugin}"
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            path.unlink()
    assert list(folder.rglob("*.pyc"))


WAYS: dict[str, Callable[[Path, str], None]] = {
    "entry point": drop_entry_point,
    "folder": drop_folder,
    "folder, caches left": drop_all_but_bytecode,
}


@dataclass(frozen=True)
class Partial:
    """An `art` without one plugin, and the way it was taken out."""

    plain: Caller
    art: Path
    way: str

    def __call__(self, *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
        return self.plain.run([self.art, *args], cwd=cwd or self.plain.place)

    def row(self, plugin: str) -> dict[str, object] | None:
        rows = json.loads(self("plugins", "--json").stdout)["plugins"]
        found = [row for row in rows if row["name"] == plugin]
        return found[0] if found else None


@pytest.fixture(scope="module")
def whole(installed: Installed) -> Path:
    """A virtual environment like the installed one, to be copied and cut; each test worker has its own."""
    place = installed.bin_dir.parent.parent / f"whole-{os.getpid()}"
    make_venv(place, str(installed.wheel))
    return place


@pytest.fixture(params=[(plugin, way) for plugin in PLUGINS for way in WAYS], ids=" ".join)
def without(
    request: pytest.FixtureRequest, whole: Path, plain: Caller, tmp_path: Path
) -> Iterator[tuple[str, Partial]]:
    """The plugin's name, and an `art` that lacks it."""
    plugin, way = request.param
    venv = whole.parent / f"cut-{tmp_path.parent.name}-{tmp_path.name}"
    shutil.copytree(whole, venv, symlinks=True)
    script = venv / "bin/art"
    script.write_text(script.read_text().replace(str(whole), str(venv)))
    (site,) = venv.glob("lib/python3*/site-packages")
    WAYS[way](site, plugin)
    yield plugin, Partial(plain, script, way)
    shutil.rmtree(venv)


def test_it_still_tells_its_version_and_its_help(without: tuple[str, Partial]) -> None:
    _, art = without
    for option in ("--version", "--help"):
        done = art(option)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout


def test_it_lists_what_is_missing(without: tuple[str, Partial]) -> None:
    plugin, art = without
    listed = art("plugins")
    assert listed.returncode == 0
    assert b"Traceback" not in listed.stdout + listed.stderr
    row = art.row(plugin)
    if art.way == "entry point":
        assert row is None
    else:
        assert row is not None
        assert row["state"] == "not installed"
        assert row["cure"]


def test_a_run_works_or_says_in_one_line_what_it_misses(without: tuple[str, Partial]) -> None:
    plugin, art = without
    with fresh_directory(art.plain) as workspace:
        done = art("-i=false", "--", "echo", "still here", cwd=workspace)
    if plugin == "binds":
        assert (done.returncode, done.stdout) == (0, b"still here\n")
        return
    message = done.stderr.decode()
    assert done.returncode == 125
    assert message.startswith("art: error: ")
    assert message.count("\n") == 1
    assert "bwrap" in message


def test_without_the_plugin_of_binds_a_workspace_that_has_some_is_told(without: tuple[str, Partial]) -> None:
    """Who wrote a binds.json must not be left to wonder where the data is."""
    plugin, art = without
    if plugin != "binds":
        return
    with fresh_directory(art.plain) as workspace:
        config = workspace / ".art/config"
        config.mkdir(parents=True)
        (config / "binds.json").write_text('{"binds": []}')
        done = art("-i=false", "--", "true", cwd=workspace)
    assert b"binds.json" in done.stderr
