"""ART's wheel, installed for a measurement: an editable install searches more directories."""

from __future__ import annotations

import os
import subprocess
import sys
from tempfile import TemporaryDirectory

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SYSTEM_PYTHON = "/usr/bin/python3"


def install(venv: str, extra: str = "", *more: str) -> str:
    """Build the tree's wheel, install it with an extra into a new virtual environment, and `more` that lie in
    directories; return its `art`."""
    python = SYSTEM_PYTHON if os.access(SYSTEM_PYTHON, os.X_OK) else sys.executable
    subprocess.run([python, "-m", "venv", "--without-pip", venv], check=True)
    with TemporaryDirectory() as dist:
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", dist]
        subprocess.run([*build, ROOT], check=True, stdout=subprocess.DEVNULL)
        (wheel,) = os.listdir(dist)
        for directory in more:
            subprocess.run([*build, directory], check=True, stdout=subprocess.DEVNULL)
        pip = [sys.executable, "-m", "pip", "--python", f"{venv}/bin/python", "install", "--quiet"]
        quiet = ["--disable-pip-version-check", "--root-user-action=ignore"]
        asked = f"{dist}/{wheel}[{extra}]" if extra else f"{dist}/{wheel}"
        others = [f"{dist}/{name}" for name in os.listdir(dist) if name != wheel]
        subprocess.run([*pip, *quiet, asked, *others], check=True)
    return f"{venv}/bin/art"
