"""Every other way out of a filtered network, tried from inside: none of them leads anywhere."""

from __future__ import annotations

import ast
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.internet import SELF
from tests.support.network_machine import MACHINE, Machine

TRY = Path(__file__).with_name("attempts.py").read_text()

LISTEN = """
import os, socket, sys
machine, abstract, path = sys.argv[1:]
kept = [socket.create_server((address, 7777)) for address in ('127.0.0.1', machine)]
kept.append(socket.create_server(('::1', 7777), family=socket.AF_INET6))
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    kept.append(socket.socket(socket.AF_UNIX, kind))
    kept[-1].bind('\\0' + abstract + kind.name)
kept[-2].listen()
kept.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
kept[-1].bind(path)
os.chmod(path, 0o777)
kept[-1].listen()
print('ready', flush=True)
sys.stdin.read()
"""

NO_ROUTE = {"ENETUNREACH", "EADDRNOTAVAIL", "ENETDOWN"}
NOT_ALLOWED = {"EPERM", "EACCES", "EAFNOSUPPORT", "EPROTONOSUPPORT"}


@pytest.fixture
def services(anybody: Machine) -> Iterator[tuple[str, str]]:
    """What listens on the machine: an abstract name and a path of unix sockets, and ports 7777."""
    abstract, path = f"art-test-{id(anybody):x}", f"{anybody.workspace.parent}/service/socket"
    anybody.caller.run(["mkdir", "-m", "755", f"{anybody.workspace.parent}/service"])
    argv = anybody.internet.on_machine("python3", "-c", LISTEN, MACHINE, abstract, path)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield abstract, path
        process.kill()


@pytest.mark.parametrize("kind", ["direct", "overlay", "nested"])
def test_no_way_leads_out(anybody: Machine, services: tuple[str, str], kind: str) -> None:
    before = anybody.internet.asked()
    words: list[str] = ["--network", "filtered", "--allow-domain", "good.example"]
    kept = kind == "overlay" or (kind == "nested" and (anybody.variables or {}).get("ART_ROOT_AS") == "root")
    words += ["-d", f"{anybody.workspace.parent}/home.db"] if kept else []
    words += ["--nested"] if kind == "nested" else []
    done = anybody.art(*words, "--", "/usr/bin/python3", "-I", "-c", TRY, MACHINE, SELF, *services)
    assert done.returncode == 0, done.stderr.decode()
    found = ast.literal_eval(done.stdout.decode())
    assert found.pop("sockets that were handed in") == []
    assert found.pop("interfaces") == ["lo"]
    assert found.pop("routes") == []
    if kind == "nested":
        assert found.pop("user namespaces") == "'it worked'"
    for name, answer in found.items():
        assert answer in _expected(name), f"{name}: {answer}"
    assert anybody.internet.asked() == before, "something reached the world"


def _expected(name: str) -> set[str]:
    if name in ("TCP to the loopback of the machine", "TCP to the IPv6 loopback"):
        return {"ECONNREFUSED"}
    if name == "the resolver":
        return {f"gaierror({number}, '{text}')" for number, text in _RESOLVER_FAILURES}
    if name.startswith("an abstract socket"):
        return {"ECONNREFUSED", "EPERM"}
    if name == "a unix socket of the machine":
        return {"ENOENT", "ECONNREFUSED", "EACCES"}
    if name == "a tunnel device":
        return {"ENOENT"}
    if name == "user namespaces":
        return {"EPERM", "ENOSPC"}
    if name.startswith(("TCP", "a datagram", "a multicast", "a broadcast")):
        return NO_ROUTE | {"EACCES"}
    return NOT_ALLOWED


_RESOLVER_FAILURES = [
    (socket.EAI_AGAIN, "Temporary failure in name resolution"),
    (socket.EAI_NONAME, "Name or service not known"),
]


def test_the_same_ways_lead_out_of_a_sandbox_with_the_hosts_network(
    anybody: Machine, services: tuple[str, str]
) -> None:
    """So the attempts above would be seen if they worked."""
    before = len(anybody.internet.asked())
    words = ["--network", "host", "--", "/usr/bin/python3", "-I", "-c", TRY, MACHINE, SELF, *services]
    found = ast.literal_eval(anybody.art(*words).stdout.decode())
    works = [name for name, answer in found.items() if answer == "'it worked'"]
    for name in (
        "TCP to an address",
        "TCP to the machine",
        "TCP to the loopback of the machine",
        "TCP over IPv6",
    ):
        assert name in works
    assert found["a datagram to the DNS server"].startswith("b'")
    assert "dns secret.good.example" in anybody.internet.asked()[before:]
