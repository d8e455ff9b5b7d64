"""Agents that hold the caller's keys: the sandbox gets a socket to ask them, and never a key.

Who may ask an agent can have anything signed while the sandbox runs. ssh-agent(1) has no restricted socket,
so `ssh_agent_relay` stands before it; gpg-agent's extra socket (gpg-agent(1), extra-socket) does not let
keys be exported or passphrases be read.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Mapping

from art_core.contracts import HOME, Mount, Origin
from art_core.errors import MountError
from art_core.lending.loans import Granted, Lent
from art_core.loader import channel

SSH_SOCKET = "/run/art/ssh-agent"
GPG_SOCKET = "/run/art/gpg-agent"
_GPG_PUBLIC = ("pubring.kbx", "pubring.gpg", "trustdb.gpg")
_TIMEOUT_S = 20


def lend_ssh(lent: Lent, env: Mapping[str, str], home: str, origin: Origin) -> None:
    """A way to the agent that SSH_AUTH_SOCK names, and the caller's known hosts. Raises MountError."""
    path = env.get("SSH_AUTH_SOCK", "")
    if not path:
        raise MountError(f"{origin}: no agent runs (SSH_AUTH_SOCK is not set); eval $(ssh-agent); ssh-add")
    os.close(_socket(path, SSH_SOCKET, origin).fd)
    from art_core.lending.ssh_agent_relay import AgentRelay

    relay = AgentRelay(os.path.abspath(path), env)
    lent.held.append(relay.close)
    lent.mounts.append(_socket(relay.path, SSH_SOCKET, origin))
    lent.variables[b"SSH_AUTH_SOCK"] = SSH_SOCKET.encode()
    risk = "everything can be signed with your keys for as long as it runs"
    lent.granted.append(Granted("your ssh agent", SSH_SOCKET, origin, risk))
    _seed_if_there(lent, f"{home}/.ssh/known_hosts", f"{HOME}/.ssh/known_hosts", origin)


def lend_gpg(lent: Lent, env: Mapping[str, str], home: str, origin: Origin) -> None:
    """The extra socket of gpg-agent, which is started when it does not run, and the public keys."""
    socket = _gpg("gpgconf", origin, "--list-dirs", "agent-extra-socket")
    _gpg("gpgconf", origin, "--launch", "gpg-agent")
    lent.mounts.append(_socket(socket, GPG_SOCKET, origin))
    risk = "everything can be signed and decrypted with your keys, as far as the agent does not ask you"
    lent.granted.append(Granted("your gpg agent (restricted)", GPG_SOCKET, origin, risk))
    directory = env.get("GNUPGHOME") or f"{home}/.gnupg"
    for name in _GPG_PUBLIC:
        _seed_if_there(lent, f"{directory}/{name}", f"{HOME}/.gnupg/{name}", origin)
    # Where gpg looks for its agent stands where it is (libassuan's socket redirection).
    address = os.memfd_create("S.gpg-agent", os.MFD_CLOEXEC)
    os.fchmod(address, 0o600)
    os.write(address, b"%%Assuan%%\nsocket=%s\n" % GPG_SOCKET.encode())
    guest = f"{HOME}/.gnupg/S.gpg-agent"
    lent.seed(Mount(source=GPG_SOCKET, guest=guest, origin=origin, fd=address, directory=False))
    lent.granted.pop()  # The agent itself was told of.


def _socket(path: str, guest: str, origin: Origin) -> Mount:
    """A socket of the host, pinned."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise MountError(f"{origin}: the agent's socket {path!r}: {error.strerror}") from None
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        os.close(fd)
        raise MountError(f"{origin}: {path!r} is no socket")
    source = os.readlink(f"/proc/self/fd/{fd}")
    return Mount(source=source, guest=guest, origin=origin, fd=fd, directory=False)


def _seed_if_there(lent: Lent, path: str, guest: str, origin: Origin) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return
    source = os.readlink(f"/proc/self/fd/{fd}")
    lent.seed(Mount(source=source, guest=guest, origin=origin, fd=fd, directory=False))


def _gpg(program: str, origin: Origin, *arguments: str) -> str:
    argv = [program, *arguments]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S)
    except FileNotFoundError:
        raise MountError(f"{origin}: GnuPG is not installed; {channel.cure('program', 'gpg')}") from None
    except subprocess.TimeoutExpired:
        raise MountError(f"{origin}: {program} did not answer within {_TIMEOUT_S} s") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise MountError(f"{origin}: {program}: {said[-1] if said else 'it failed'}")
    return os.fsdecode(done.stdout).strip()
