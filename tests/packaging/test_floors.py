"""ART works with the oldest versions of its dependencies that it claims to: Debian 12's."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.installed_copies import Installed, make_venv
from tests.support.places import ROOT

DEBIAN_12 = {
    "click": "8.1.3",
    "hatchling": "1.12.0",
    "pluggy": "1.0.0",
    # what hatchling and the tests need, of about the same age
    "hypothesis": "6.70.0",
    "pathspec": "0.10.3",
    "pexpect": "4.8.0",
    "pytest": "7.2.1",
    "pytest-timeout": "2.1.0",
    "pytest-xdist": "3.1.0",
}
FOLDERS = {
    "tests/binds": "",
    "tests/bwrap": "",
    "tests/cli": "output run syntax commands/test_agents_command.py commands/test_doctor.py "
    "commands/test_plugins_command.py commands/test_trust_command.py",
    "tests/core": "agents autorun config host launch loader network store view plan/test_approval.py "
    "sandbox/test_relay.py sandbox/test_terminal.py transfer/test_host_files.py",
}
SUBSET = [
    f"{folder}/{name}".rstrip("/") for folder, names in FOLDERS.items() for name in names.split() or [""]
]
"""What needs no library of an extra but bubblewrap's."""


def test_the_claims_are_debians_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        name, floor = re.fullmatch(r"([a-z-]+)>=([0-9.]+)", requirement).groups()  # type: ignore[union-attr]
        assert (DEBIAN_12[name] + ".0").startswith(floor)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_tests_pass_on_debians_versions(installed: Installed, tmp_path: Path) -> None:
    """The same tests, in an environment of the oldest versions, calling an `art` that has them too."""
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in DEBIAN_12.items()))
    wanted = ["pip", "build", f"{installed.wheel}[bwrap]", *DEBIAN_12]
    old = make_venv(tmp_path / "venv", "--constraint", str(constraints), *wanted)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"PIP_CONSTRAINT": str(constraints), "PYTHONDONTWRITEBYTECODE": "1"}
    argv: list[str | Path] = [
        old / "python",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-n",
        "2",
        "-m",
        "not slow",
        "-q",
    ]
    done = subprocess.run(
        [*argv, *SUBSET], cwd=ROOT, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert re.search(r"\d+ passed", done.stdout)
    assert "skipped" not in done.stdout.splitlines()[-1]
