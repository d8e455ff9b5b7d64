"""Programs, files and the interpreter that the tests need, and the Debian packages that bring them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SYSTEM_PYTHON = "/usr/bin/python3"

PREREQUISITES = {
    "bwrap": "bubblewrap",
    "dh": "debhelper",
    "dh_python3": "dh-python",
    "dpkg-buildpackage": "dpkg-dev",
    "gcc": "gcc",
    "getent": "libc-bin",
    "git": "git",
    "ip": "iproute2",
    "less": "less",
    "make": "make",
    "man": "man-db",
    "mandoc": "mandoc",
    "patch": "patch",
    "ps": "procps",
    "rsync": "rsync",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "strace": "strace",
    "useradd": "passwd",
    "userdel": "passwd",
    "/usr/share/doc/build-essential": "build-essential",
    "/usr/share/doc/pybuild-plugin-pyproject": "pybuild-plugin-pyproject",
    "/usr/share/doc/python3-all": "python3-all",
    **{
        f"/usr/lib/python3/dist-packages/{library}": f"python3-{library}"
        for library in (
            "apsw",
            "click",
            "h11",
            "hatchling",
            "installer",
            "pathspec",
            "pluggy",
            "ptrace",
            "trio",
        )
    },
}
"""Programs the tests run, files they need, and the Debian packages that bring them."""


def missing() -> str | None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = {
        package
        for tool, package in PREREQUISITES.items()
        if not (Path(tool).exists() if tool.startswith("/") else shutil.which(tool, path=path))
    }
    probe = [SYSTEM_PYTHON, "-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"]
    try:
        if subprocess.run(probe, capture_output=True).returncode:
            packages.add("python3-venv")
    except FileNotFoundError:
        packages |= {"python3", "python3-venv"}
    if not packages:
        return None
    wanted = " ".join(sorted(packages))
    return f"the tests need programs that are missing here; install them: apt-get install {wanted}"
