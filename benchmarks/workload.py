"""What agents do in a workspace, timed: run in a workspace that `prepare` made, it prints JSON of seconds.

python workload.py prepare DIR      make the workspace (the same bytes each time)
python workload.py run              run in the current directory
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

PACKAGES, MODULES = 60, 50
FILES, DIRECTORIES = 3000, 30
MIB = 1 << 20
SEQUENCE_MIB = 256
COMMITS = 300


def prepare(top: str) -> None:
    """A tree like node_modules, a large file, and a bare git repository."""
    chance = random.Random(4)
    for package in range(PACKAGES):
        directory = f"{top}/tree/package{package}/lib"
        os.makedirs(directory)
        for module in range(MODULES):
            with open(f"{directory}/{module}.js", "wb") as file:
                file.write(chance.randbytes(chance.choice((300, 1500, 5000, 12000))))
    with open(f"{top}/large", "wb") as file:
        file.write(chance.randbytes(50 * MIB))
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", f"{top}/bare.git"], check=True)
    history = b"".join(_commits(chance))
    subprocess.run(["git", "-C", f"{top}/bare.git", "fast-import", "--quiet"], input=history, check=True)


def _commits(chance: random.Random) -> Iterator[bytes]:
    for number in range(COMMITS):
        yield b"commit refs/heads/main\ncommitter A <a@b> %d +0000\ndata 1\nc\n" % (1_600_000_000 + number)
        for file in range(500) if number == 0 else chance.sample(range(500), 15):
            text = b"%d " % chance.randrange(1 << 60) * chance.choice((5, 50, 300))
            yield b"M 100644 inline src/%d/%d.txt\ndata %d\n%s\n" % (file % 30, file, len(text), text)


def _walk(top: str) -> None:
    for directory, names, files in os.walk(top):
        for name in (*names, *files):
            os.lstat(f"{directory}/{name}")


def _read(top: str) -> None:
    for directory, _, files in os.walk(top):
        for name in files:
            with open(f"{directory}/{name}", "rb", buffering=0) as file:
                while file.read(128 * 1024):
                    pass


def _run(*argv: str, status: int = 0) -> None:
    if subprocess.run(argv, stdout=subprocess.DEVNULL).returncode != status:
        sys.exit(f"{argv[0]} failed")


def _new(number: int, prefix: str = "f") -> str:
    return f"new/{number % DIRECTORIES}/{prefix}{number}"


def _create() -> None:
    for number in range(FILES):
        with open(_new(number), "xb", buffering=0) as file:
            file.write(b"c" * 4096)


def _stat() -> None:
    for number in range(FILES):
        os.stat(_new(number))


def _rewrite() -> None:
    for number in range(FILES):
        with open(_new(number), "r+b", buffering=0) as file:
            file.seek(10)
            file.write(b"r" * 100)


def _rename() -> None:
    for number in range(FILES):
        os.rename(_new(number), _new(number, "g"))


def _unlink() -> None:
    for number in range(FILES):
        os.unlink(_new(number, "g"))


def _sync() -> None:
    with open("new/synced", "wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"s" * 4096)
            os.fsync(file.fileno())


def _sequence() -> None:
    block = os.urandom(MIB)
    with open("new/sequence", "wb", buffering=0) as file:
        for _ in range(SEQUENCE_MIB):
            file.write(block)


def _edit() -> None:
    with open("large", "r+b", buffering=0) as file:
        file.seek(25 * MIB)
        file.write(b"!")


def _commit() -> None:
    with open("clone/new", "w") as file:
        file.write("new\n")
    _run("git", "-C", "clone", "add", "-A")
    _run("git", "-C", "clone", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "c")


ROWS: dict[str, Callable[[], None]] = {
    "stat_lower_cold": lambda: _walk("tree"),
    "stat_lower_warm": lambda: _walk("tree"),
    "read_lower_cold": lambda: _read("tree"),
    "read_lower_warm": lambda: _read("tree"),
    "grep_lower": lambda: _run("grep", "-rc", "is-not-there", "tree", status=1),
    "create_4k": _create,
    "stat_new": _stat,
    "read_new": lambda: _read("new"),
    "rewrite_4k": _rewrite,
    "rename": _rename,
    "unlink": _unlink,
    "fsync_200": _sync,
    "seq_write": _sequence,
    "seq_read": lambda: _read("new"),
    "edit_1_byte_50m": _edit,
    "git_clone": lambda: _run("git", "clone", "-q", "--no-hardlinks", "bare.git", "clone"),
    "git_status": lambda: _run("git", "-C", "clone", "status", "-s"),
    "git_commit": _commit,
    "rm_rf_lower": lambda: _run("rm", "-rf", "tree"),
    "rm_rf_new": lambda: _run("rm", "-rf", "clone"),
}


def run() -> None:
    for number in range(DIRECTORIES):
        os.makedirs(f"new/{number}")
    seconds = {}
    for name, row in ROWS.items():
        begin = time.perf_counter()
        row()
        seconds[name] = time.perf_counter() - begin
    print(json.dumps(seconds))


if __name__ == "__main__":
    if sys.argv[1:2] == ["prepare"]:
        prepare(sys.argv[2])
    else:
        run()
