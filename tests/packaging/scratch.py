"""A scratch root: this machine's system, with changes that are seen in there only and are gone at its end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_MOUNT = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
# Nothing is left out of packages, as images of containers do; and the index of manual pages is not made anew.
rm -f "$1"/root/etc/dpkg/dpkg.cfg.d/* "$1/root/var/lib/man-db/auto-update"
exec bwrap --cap-add ALL --die-with-parent --bind "$1/root" / --dev-bind /dev /dev --bind /proc /proc \
  --ro-bind /sys /sys --tmpfs /tmp --tmpfs /run --ro-bind "$2" /mnt --chdir / sh -c 'echo $$; exec cat'
"""


class Root:
    """The root of process `pid`, with a folder of the caller's at /mnt."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", "--mount", f"--target={pid}", "--"]

    def run(
        self, *argv: str, user: str = "root", cwd: str = "/", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in there, as root or as another user."""
        become = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        home = "/root" if user == "root" else f"/home/{user}"
        variables = {"PATH": _PATH, "HOME": home, "USER": user, "LANG": "C.UTF-8", **(env or {})}
        words = [
            *become,
            "env",
            "-i",
            f"--chdir={cwd}",
            *(f"{name}={value}" for name, value in variables.items()),
        ]
        return subprocess.run(
            [*self._enter, *words, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def checked(self, *argv: str) -> str:
        """Run a program that has to succeed; return what it printed."""
        done = self.run(*argv, env={"DEBIAN_FRONTEND": "noninteractive"})
        if done.returncode:
            pytest.fail(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def install(self, packages: Sequence[str]) -> None:
        """Install packages of the folder, as dpkg does it: nothing that they depend on may be missing."""
        patterns = " ".join(f"/mnt/{package}_*.deb" for package in packages)
        self.checked("sh", "-c", f"dpkg --force-unsafe-io --install {patterns}")

    def remove(self, *packages: str) -> None:
        self.checked("apt-get", "remove", "--quiet", "--quiet", "--yes", *packages)

    def installed(self, pattern: str) -> set[str]:
        """The packages that are installed."""
        listed = self.run(
            "dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Package}\n", pattern
        ).stdout
        return {name for state, name in (line.split() for line in listed.splitlines()) if state == "ii"}


@contextmanager
def scratch_root(place: Path, shown: Path) -> Iterator[Root]:
    """A root at `place`, with the folder `shown` at /mnt."""
    argv = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        _MOUNT,
        "sh",
        str(place),
        str(shown),
    ]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        pid = holder.stdout.readline()
        try:
            assert pid, "a scratch root needs overlayfs, and root"
            yield Root(int(pid))
        finally:
            holder.stdin.close()
