"""A made-up host, and an isolation on it: plans are tested without touching the real machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from art_bwrap.isolation import Bubblewrap, TmpfsSizes
from art_bwrap.probe import Abilities, Program
from art_core.contracts import Mount, Origin, Run
from art_core.host.tree import DirEntry, Kind

MIB = 1 << 20


@dataclass
class PaperHost:
    """A tree from a mapping: path -> "dir", "file", "other" or "-> target"."""

    tree: Mapping[str, str] = field(default_factory=dict)

    def entries(self, path: str) -> Sequence[DirEntry]:
        prefix = path.rstrip("/") + "/"
        names = (p.removeprefix(prefix) for p in self.tree if p.startswith(prefix) and p != path)
        return sorted(self._entry(prefix, name) for name in names if "/" not in name)

    def _entry(self, prefix: str, name: str) -> DirEntry:
        kind = self.kind(prefix + name)
        assert kind is not None
        return DirEntry(name, kind, self.readlink(prefix + name))

    def kind(self, path: str) -> Kind | None:
        what = "dir" if path == "/" else self.tree.get(path)
        if what is None:
            return None
        if what.startswith("-> "):
            return "link"
        assert what in ("dir", "file", "other")
        return what  # type: ignore[return-value]

    def readlink(self, path: str) -> str:
        return self.tree.get(path, "").removeprefix("-> ") if self.kind(path) == "link" else ""


DEBIAN = {
    "/bin": "-> usr/bin",
    "/etc": "dir",
    "/etc/passwd": "file",
    "/etc/shadow": "file",
    "/etc/ssh": "dir",
    "/etc/localtime": "-> /usr/share/zoneinfo/UTC",
    "/home": "dir",
    "/home/ann": "dir",
    "/home/ann/ws": "dir",
    "/opt": "dir",
    "/opt/tool": "dir",
    "/proc": "dir",
    "/proc/sys": "dir",
    "/dev": "dir",
    "/root": "dir",
    "/run": "dir",
    "/srv": "dir",
    "/srv/ws": "dir",
    "/tmp": "dir",
    "/usr": "dir",
    "/usr/bin": "dir",
    "/var": "dir",
    "/var/run": "-> /run",
    "/vmlinuz": "file",
}


def isolation(
    tree: Mapping[str, str] | None = None,
    *,
    options: Sequence[str] = ("--bind-fd", "--ro-bind-fd", "--disable-userns"),
    own_proc: bool = True,
    forbid_userns: bool = True,
    machine: str = "x86_64",
) -> Bubblewrap:
    return Bubblewrap(
        program=Program("/usr/bin/bwrap"),
        abilities=Abilities("0.11.0", frozenset(options), own_proc, forbid_userns),
        host=PaperHost(DEBIAN if tree is None else tree),
        limits=TmpfsSizes(tmp=2 * MIB, home=3 * MIB, shm=MIB),
        machine=machine,
        python="/usr/bin/python3.11",
        python_prefix="/usr",
    )


def run(*argv: str, **more: object) -> Run:
    fields: dict[str, object] = {
        "argv": [word.encode() for word in argv or ("true",)],
        "env": {b"PATH": b"/usr/bin", b"HOME": b"/home/agent"},
        "cwd": "/home/agent/ws",
        "uid": 1000,
        "gid": 1000,
        **more,
    }
    return Run(**fields)  # type: ignore[arg-type]


def mount(source: str, guest: str, *, writable: bool = False, directory: bool = True, fd: int = 0) -> Mount:
    return Mount(
        source=source, guest=guest, writable=writable, origin=Origin("--bind"), fd=fd, directory=directory
    )


def arguments(plan_files: Mapping[int, bytes | int]) -> list[str]:
    """The words that bwrap reads from its `--args` descriptor."""
    content = plan_files[5]
    assert isinstance(content, bytes)
    return content.decode().split("\0")[:-1]


def steps(words: Sequence[str]) -> list[str]:
    """The words as one line for each option, for reading."""
    lines: list[str] = []
    for word in words:
        if word.startswith("--"):
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return lines
