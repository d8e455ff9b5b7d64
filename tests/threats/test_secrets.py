"""What is secret on the host cannot be read from inside, by whatever name, and its services not reached."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.attackers import CONNECT, INTERPRETER, Attacker
from tests.support.callers import Caller, fresh_directory

READABLE = """
import os, sys
found = []
for path in sys.argv[1:]:
    try:
        if os.path.isdir(path):
            found += [path] if os.listdir(path) else []
        else:
            open(path, "rb").read(1)
            found.append(path)
    except OSError:
        pass
print(ascii(found))
"""


@pytest.fixture
def canary() -> str:
    return secrets.token_hex(16)


def test_the_callers_environment_is_nowhere(anybody: Attacker, canary: str) -> None:
    scan = """
import os, sys
found = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline"):
        try:
            if sys.argv[1][::-1].encode() in open(f"/proc/{pid}/{name}", "rb").read():
                found.append(f"{pid} {name}")
        except OSError:
            pass
print(ascii((found, sorted(os.environ))))
"""
    found, variables = anybody.learn(scan, canary[::-1], env={"API_KEY": canary, "PYTHONPATH": canary})
    assert found == []
    assert "API_KEY" not in variables


def test_values_of_variables_are_in_no_command_line_of_the_host(attacker: Attacker, canary: str) -> None:
    """Every user of the host can read command lines; the variable is named with -e, its value is not."""
    knows = replace(attacker, variables={"API_KEY": canary})
    process = knows.start("sh", "-c", "echo $API_KEY; sleep 60", options=["-e", "API_KEY"])
    try:
        lines = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    lines[entry.name] = (entry / "cmdline").read_bytes()
        assert len(lines) > 3
        assert [pid for pid, line in lines.items() if canary.encode() in line] == []
    finally:
        process.kill()
        process.communicate()


def test_private_files_of_the_system(anybody: Attacker) -> None:
    keys = [*map(str, Path("/etc/ssh").glob("ssh_host_*_key")), "/etc/shadow", "/etc/gshadow"]
    keys += ["/etc/shadow-", "/etc/gshadow-", "/var/cache/debconf/passwords.dat", "/var/lib/private", "/root"]
    assert anybody.learn(READABLE, *keys, "/etc/hostname") == ["/etc/hostname"]


@pytest.mark.parametrize("top", ["/etc", "/var/lib", "/var/log", "/var/cache", "/var/backups", "/var/spool"])
def test_what_only_root_reads_stays_roots(root: Caller, bwrap: Path, top: str) -> None:
    if not Path(top).exists():
        Path(top).mkdir()
    file = Path(top, f"art-test-{os.getpid()}.key")
    directory = Path(top, f"art-test-{os.getpid()}.d")
    file.write_text("secret")
    file.chmod(0o600)
    directory.mkdir(mode=0o700)
    (directory / "key").write_text("secret")
    try:
        for root_as in ("mapped", "root"):
            with fresh_directory(root) as workspace:
                attacker = Attacker(root, workspace, ["-i=false"], {"ART_ROOT_AS": root_as})
                assert attacker.learn(READABLE, file, directory / "key") == [], root_as
    finally:
        file.unlink()
        shutil.rmtree(directory)


@pytest.fixture
def secret_home(anybody: Attacker) -> Iterator[Path]:
    """A directory in the caller's home with a file that everybody may read."""
    directory = anybody.caller.home / f"secrets-{os.getpid()}"
    directory.mkdir()
    (directory / "key").write_text("secret")
    for path in (directory, directory / "key"):
        os.chown(path, anybody.caller.uid, anybody.caller.gid)
    yield directory
    shutil.rmtree(directory)


def test_homes_are_empty(anybody: Attacker, secret_home: Path) -> None:
    paths: list[str | Path] = [
        secret_home / "key",
        secret_home,
        anybody.caller.home,
        "/root",
        "/var/run/utmp",
    ]
    assert anybody.learn(READABLE, *paths) == []
    seen = anybody.learn('import os; print(ascii(sorted(os.listdir("/home"))))')
    assert seen == ["agent"]


def test_the_home_of_another_user_is_hidden_too(attacker: Attacker, plain: Caller, root: Caller) -> None:
    other = plain if attacker.caller.name == "root" else root
    key = other.home / f"key-{os.getpid()}"
    key.write_text("secret")
    key.chmod(0o644)
    try:
        assert attacker.learn(READABLE, key) == []
    finally:
        key.unlink()


def test_an_exposed_directory_is_readable_and_no_more(attacker: Attacker) -> None:
    shown, hidden = attacker.caller.home / "shown", attacker.caller.home / "hidden"
    for directory in (shown, hidden):
        directory.mkdir()
        (directory / "key").write_text("contents")
        for path in (directory, directory / "key"):
            os.chown(path, attacker.caller.uid, attacker.caller.gid)
    try:
        script = 'cat "$1/key"; true >"$1/new"; echo more >>"$1/key"; ls -A "$2"'
        done = attacker.shell(script, shown, attacker.caller.home, options=["--expose", shown])
        assert done.stdout == b"contentsshown\n"
        assert done.stderr.count(b"cannot create") == 2
        assert (shown / "key").read_text() == "contents"
    finally:
        shutil.rmtree(shown)
        shutil.rmtree(hidden)


def test_a_bind_mount_elsewhere_shows_no_home(anybody: Attacker, secret_home: Path) -> None:
    """The host (here: a mount namespace that stands for it) shows the home at a second place."""
    alias = anybody.caller.place / "alias"
    alias.mkdir(exist_ok=True)
    command = anybody.argv(*INTERPRETER, READABLE, alias / "key", secret_home / "key")
    caller = anybody.caller.command(command, dict(anybody.variables))
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(secret_home), str(alias), *caller]
    if os.geteuid() != 0:
        argv[1:1] = ["--user", "--map-current-user"]
    done = subprocess.run(argv, cwd=anybody.caller.place, capture_output=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (0, b"[]\n"), done.stderr


def test_the_state_of_art_is_hidden(attacker: Attacker) -> None:
    state = attacker.caller.place / "state"
    env = {"XDG_STATE_HOME": str(state), "XDG_CACHE_HOME": str(attacker.caller.place / "cache")}
    config = attacker.workspace / ".art/config"
    config.mkdir(parents=True)
    data = attacker.caller.place / "data"
    data.mkdir(exist_ok=True)
    os.chown(data, attacker.caller.uid, attacker.caller.gid)
    bind = {"host": str(data), "guest": "/opt/mydata", "readonly": False}
    (config / "binds.json").write_text(json.dumps({"binds": [bind]}))
    trusted = attacker.caller.art("trust", "--yes", "-m", attacker.workspace, env=env)
    assert trusted.returncode == 0, trusted.stderr
    approvals = [path for path in state.rglob("*") if path.is_file()]
    assert approvals
    assert attacker.learn(READABLE, *approvals, *state.iterdir(), env=env) == []


# --- services ----------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(address: str) -> Iterator[None]:
    """A service of the host, open to everybody."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        server.listen()
        if not address.startswith("@"):
            os.chmod(address, 0o777)
        try:
            yield
        finally:
            if not address.startswith("@"):
                os.unlink(address)


def test_sockets_of_the_host_cannot_be_reached(anybody: Attacker) -> None:
    with contextlib.ExitStack() as stack:
        addresses = []
        for top in ("/run", "/var/lib", "/srv", str(anybody.caller.place)):
            directory = Path(top, f"art-test-{os.getpid()}")
            directory.mkdir(exist_ok=True, mode=0o755)
            stack.callback(directory.rmdir)
            addresses.append(f"{directory}/socket")
            stack.enter_context(listening(addresses[-1]))
        single = f"/var/tmp/art-test-{os.getpid()}.socket"
        stack.enter_context(listening(single))
        assert set(anybody.learn(CONNECT, *addresses, single)) <= {"ENOENT", "EACCES"}
        with_all = anybody.learn(CONNECT, single, options=["--no-masks"])
        assert with_all == ["connected"], "the attack of this test would never work"


def test_a_socket_in_a_directory_of_roots_alone(root: Caller) -> None:
    """Root's stand-in may not enter it: the directory is masked, and the run goes on."""
    directory = Path("/srv", f"art-test-{os.getpid()}-closed")
    (directory / "in").mkdir(parents=True)
    directory.chmod(0o700)
    try:
        with listening(f"{directory}/in/socket"), fresh_directory(root) as workspace:
            attacker = Attacker(root, workspace, ["-i=false"])
            assert attacker.learn(CONNECT, f"{directory}/in/socket") in (["ENOENT"], ["EACCES"])
    finally:
        shutil.rmtree(directory)


def test_abstract_sockets_cannot_be_reached(anybody: Attacker) -> None:
    """Landlock scopes them on Linux 6.12 and newer; `art doctor` says when the kernel is older."""
    address = f"@art-test-{secrets.token_hex(8)}"
    doctor = anybody.caller.art("doctor", "--json").stdout
    (check,) = [check for check in json.loads(doctor)["checks"] if check["name"] == "Landlock"]
    with listening(address):
        (answer,) = anybody.learn(CONNECT, address)
    assert answer == ("EPERM" if check["state"] == "ok" else "connected")


KEYS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.syscall(250, 1, None) >= 0, "join a session keyring"
assert libc.syscall(248, b"user", sys.argv[1].encode(), b"secret", 6, -3) >= 0, "add a key"
assert libc.syscall(248, b"user", sys.argv[1].encode() + b"-u", b"secret", 6, -4) >= 0, "add a user key"
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
def test_the_callers_keyrings_are_out_of_reach(anybody: Attacker, canary: str) -> None:
    inside = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
name = sys.argv[1][::-1].encode()
try:
    listed = open("/proc/keys").read()
except OSError:
    listed = ""
serials = [libc.syscall(249, b"user", name + suffix, None, 0) for suffix in (b"", b"-u")]
print(ascii((max(serials), listed)))
"""
    command = anybody.argv(*INTERPRETER, inside, canary[::-1])
    argv: list[str | bytes | Path] = ["/usr/bin/python3", "-I", "-S", "-c", KEYS, canary, *command]
    done = anybody.caller.run(argv, env=anybody.variables)
    assert (done.returncode, done.stdout) == (0, b"(-1, '')\n"), done.stderr


def test_processes_of_the_host_are_not_seen(anybody: Attacker) -> None:
    links = """
import os
escapes, root = [], os.stat("/")
pids = [name for name in os.listdir("/proc") if name.isdigit()]
for pid in pids:
    for link in ("root", "cwd", *(f"fd/{n}" for n in (os.listdir(f"/proc/{pid}/fd")
                 if os.access(f"/proc/{pid}/fd", os.R_OK) else ()))):
        try:
            found = os.stat(f"/proc/{pid}/{link}/")
        except OSError:
            continue
        if link == "root" and (found.st_dev, found.st_ino) != (root.st_dev, root.st_ino):
            escapes.append((pid, link))
        if link.startswith("fd"):
            escapes.append((pid, link, os.readlink(f"/proc/{pid}/{link}")))
print(ascii((len(pids), escapes)))
"""
    pids, escapes = anybody.learn(links)
    assert pids <= 4
    assert escapes == []
