"""ART as people have it: wheels that are built, and virtual environments that they are installed into."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import ROOT, locked
from tests.support.prerequisites import SYSTEM_PYTHON


@dataclass(frozen=True)
class Installed:
    """ART as a user has it: its wheel in a virtual environment that every account can reach."""

    bin_dir: Path
    python: Path
    art: Path
    wheel: Path

    @property
    def site_packages(self) -> Path:
        (found,) = self.bin_dir.parent.glob("lib/python3*/site-packages")
        return found


def build(kind: str, source: Path, out: Path) -> Path:
    """Build the `wheel` or the `sdist` of the tree at `source` into `out`; return its path."""
    out.mkdir(parents=True, exist_ok=True)
    checked([sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(out), str(source)])
    (made,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


def make_venv(directory: Path, *requirements: str, python: str = SYSTEM_PYTHON) -> Path:
    """Make a virtual environment with `requirements` in it; return its `bin` directory."""
    checked([python, "-m", "venv", "--without-pip", str(directory)])
    pip = [sys.executable, "-m", "pip", "--python", str(directory / "bin/python"), "install", "--quiet"]
    checked([*pip, "--disable-pip-version-check", "--root-user-action=ignore", *requirements])
    return directory / "bin"


def checked(argv: Sequence[str], **kwargs: Any) -> str:
    """Run a program that has to succeed; return what it printed. The umask lets others read what it makes."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, umask=0o022, **kwargs
    )
    if done.returncode:
        pytest.fail(
            f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}", pytrace=False
        )
    return done.stdout


def with_contrib(installed: Installed, name: str, *requirements: str) -> Path:
    """The `bin` of a virtual environment with ART's extra `overlay` and the plugin of `contrib/art-NAME`,
    each from its own wheel; made once for all workers."""
    place = installed.bin_dir.parent.parent / name
    with locked(f"{place}.lock"):
        if not place.exists():
            wheel = build("wheel", ROOT / f"contrib/art-{name}", place.parent / f"dist-{name}")
            make_venv(place, f"{installed.wheel}[overlay]", str(wheel), *requirements)
    return place / "bin"
