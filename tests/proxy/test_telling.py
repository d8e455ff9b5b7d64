"""What the user sees of a filtered network: notes, errors, variables, and the proxy's process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.installed_copies import Installed
from tests.support.network_machine import CURL, Machine

REFUSED = "http://other.example/"


def test_a_refusal_is_told_while_the_command_runs(machine: Machine) -> None:
    script = f"curl -s -o /dev/null {REFUSED}; read line"
    argv = machine.argv("--network", "filtered", "--", "sh", "-c", script)
    streams = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": machine.caller.place}
    with subprocess.Popen(argv, **streams) as process:  # type: ignore[call-overload]
        assert process.stderr.readline() == (
            b"art: note: network: refused other.example:80; to allow it: --allow-domain other.example\n"
        )
        process.stdin.close()
        assert process.stderr.read() == b""


def test_a_terminal_of_the_command_is_left_alone_until_its_end(plain_machine: Machine) -> None:
    argv = plain_machine.argv(
        "-i=true", "--network", "filtered", "--", "sh", "-c", f"curl -s {REFUSED}; sleep 0.3; echo END"
    )
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
    )
    lines = done.stdout.decode().splitlines()
    assert lines.index("END") < next(
        at for at, line in enumerate(lines) if "art: note: network: refused" in line
    )


def test_a_refusal_stands_in_the_log(machine: Machine) -> None:
    database = ["-d", f"{machine.workspace.parent}/log.db"]
    machine.art(*database, "--network", "filtered", "--", "curl", "-s", REFUSED)
    argv: list[str | bytes | Path] = [
        machine.caller.art_program,
        "log",
        "-m",
        machine.workspace,
        *database,
        "--json",
    ]
    logged = subprocess.run(machine.caller.command(argv), capture_output=True, cwd=machine.caller.place)
    (said,) = map(json.loads, logged.stdout.splitlines())
    assert said["notes"] == ["network: refused other.example:80; to allow it: --allow-domain other.example"]


def test_each_destination_is_told_once_and_a_flood_is_counted(plain_machine: Machine) -> None:
    source = (
        "import socket, sys\n"
        "for n in range(1500):\n"
        "    proxy = socket.create_connection(('127.0.0.1', 61080))\n"
        "    proxy.sendall(f'CONNECT host{n // 3}.example:443 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'.encode())\n"
        "    assert b' 403 ' in proxy.recv(4096)\n"
    )
    done = plain_machine.art("--network", "filtered", "--", "/usr/bin/python3", "-I", "-c", source)
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stderr.decode().splitlines()
    told = [line for line in lines if re.search(r"refused host\d+\.example:443; to allow it:", line)]
    assert len(told) == len(set(told)) == 100
    assert set(lines) - set(told) == {
        "art: note: network: 1200 more requests to other destinations were refused"
    }


def test_a_name_from_inside_cannot_drive_the_terminal(plain_machine: Machine) -> None:
    name = "\x1b[2J\r\nart: note: all is well\x07.example"
    source = (
        "import socket, sys\n"
        "name = sys.argv[1].encode()\n"
        "proxy = socket.create_connection(('127.0.0.1', 61080))\n"
        "proxy.sendall(bytes((5, 1, 0)) + bytes((5, 1, 0, 3, len(name))) + name + bytes((0, 80)))\n"
        "proxy.recv(2), proxy.recv(10)\n"
    )
    done = plain_machine.art("--network", "filtered", "--", "/usr/bin/python3", "-I", "-c", source, name)
    (line,) = done.stderr.splitlines()
    assert line == rb"art: note: network: refused \x1b[2J\r\nart: note: all is well\x07.example:80"


def test_the_command_finds_the_proxy_and_not_the_callers(machine: Machine) -> None:
    variables = {"HTTPS_PROXY": "http://corporate:3128", "no_proxy": "good.example"}
    caller = Machine(machine.internet, machine.caller, machine.workspace, variables=variables)
    done = caller.art("--network", "filtered", "--", "env")
    env = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        assert env[name] == env[name.lower()] == "http://127.0.0.1:61080"
    own = {"localhost", "127.0.0.1", "127.0.0.0/8", "0.0.0.0", "::1", "[::1]", socket.gethostname()}
    assert env["NO_PROXY"] == env["no_proxy"]
    assert own <= set(env["NO_PROXY"].split(","))
    chosen = caller.art("--network", "filtered", "-e", "HTTPS_PROXY=x", "--", "printenv", "HTTPS_PROXY")
    assert chosen.stdout == b"x\n"


def test_the_command_line_of_the_isolation_shows_it(machine: Machine) -> None:
    printed = machine.art("--allow-domain", "good.example", "--print-command", "--", "true").stdout.decode()
    assert " --unshare-net " in printed
    assert " --setenv HTTPS_PROXY http://127.0.0.1:61080 " in printed


def test_rules_come_from_the_settings_too(machine: Machine) -> None:
    config = machine.workspace.parent / "config/art/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[sandbox]\nnetwork = "filtered"\n[network]\nallow = ["good.example"]\n')
    variables = {"XDG_CONFIG_HOME": str(config.parent.parent)}
    caller = Machine(machine.internet, machine.caller, machine.workspace, variables=variables)
    assert b'"1.2.3.4"' in caller.art("--", *CURL, "http://good.example/").stdout
    assert b"not allowed" in caller.art("--", *CURL, REFUSED).stdout
    assert b'"5.6.7.8"' in caller.art("--allow-domain", "other.example", "--", *CURL, REFUSED).stdout
    assert b'"5.6.7.8"' in caller.art("--network", "host", "--", *CURL, "--noproxy", "*", REFUSED).stdout
    config.write_text('[sandbox]\nnetwork = "filtered"\n[network]\nallow = ["a b"]\n')
    done = caller.art("--", "true")
    assert done.returncode == 125
    assert f"{config}: network.allow a b: this is no name and no address" in done.stderr.decode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--network", "none", "--allow-domain", "a.example"], "--allow-domain needs --network filtered"),
        (["--allow-domain", "http://a.example"], "this is no name and no address; write example.com"),
        (["--allow-domain", "a.example:0"], "the port is no number from 1 to 65535"),
        (["--allow-domain", "a.example:x"], "the port is no number from 1 to 65535"),
        (["--allow-domain", "*.10.0.0.5"], "this is no name and no address"),
        (["--allow-domain", "10.0.0.0/8"], "this is no name and no address"),
        (["--allow-domain", "127.1"], "this is no name and no address"),
        (["--allow-domain", "localhost"], "a service of this machine is named with its port"),
        (["--allow-domain", "[::1]:80"], "a service of this machine is named with its port"),
        (["--allow-domain", "localhost:61080"], "61080 is the port of the gateway inside"),
    ],
)
def test_a_wrong_rule_is_a_usage_error(plain: Caller, words: list[str], said: str) -> None:
    done = plain.art(*words, "--", "true")
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert said in line


def test_a_gateway_that_is_missing_is_named(plain: Caller) -> None:
    done = plain.art("--network", "filtered", "--no-plugin", "proxy", "--", "true")
    assert done.returncode == 125
    assert b"there is no gateway 'proxy'" in done.stderr
    assert b"to get it: leave --no-plugin proxy out" in done.stderr


def test_200_connections_at_once(machine: Machine) -> None:
    source = (
        "import socket\n"
        "asked = []\n"
        "for n in range(200):\n"
        "    proxy = socket.create_connection(('127.0.0.1', 61080))\n"
        "    proxy.sendall(b'CONNECT good.example:80 HTTP/1.1\\r\\nHost: good.example:80\\r\\n\\r\\n')\n"
        "    asked.append(proxy)\n"
        "for proxy in asked:\n"
        "    assert proxy.recv(4096).startswith(b'HTTP/1.1 200 ')\n"
        "for n, proxy in enumerate(asked):\n"
        "    proxy.sendall(f'GET /{n} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'.encode())\n"
        "print(sum(f'/{n} '.encode() in proxy.makefile('rb').read() for n, proxy in enumerate(asked)))\n"
    )
    done = machine.art("--allow-domain", "good.example", "--", "/usr/bin/python3", "-I", "-c", source)
    assert done.stdout == b"200\n", done.stderr.decode()


def children(pid: int) -> list[Path]:
    """The processes below `pid`."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [Path("/proc", child), *children(int(child))]
    return found


def test_the_proxy_has_no_rights_of_roots_and_ends_with_a_supervisor_that_is_killed(machine: Machine) -> None:
    script = f"curl -s -o /dev/null {REFUSED}; echo ready; exec sleep 300"
    argv = machine.argv("--network", "filtered", "--", "sh", "-c", script)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        processes = children(process.pid)
        loaded = [one for one in processes if re.search(r"/h11/|trio|_ssl", (one / "maps").read_text())]
        assert loaded, "no proxy was found"
        for proxy in loaded:
            uids = re.search(r"^Uid:\t(.*)$", (proxy / "status").read_text(), re.MULTILINE)
            assert uids is not None
            assert "0" not in uids[1].split()
        os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while left := [one for one in processes if one.exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_python_programs_get_the_refusals(plain_machine: Machine, installed: Installed) -> None:
    source = (
        "import sys\n"
        "from art_core import Sandbox\n"
        "with Sandbox(sys.argv[1], network='filtered') as box:\n"
        "    first = box.run(['curl', '-s', 'http://other.example/'])\n"
        "    second = box.run(['true'])\n"
        "print([tuple(refusal) for refusal in first.refusals], list(second.refusals))\n"
    )
    argv = plain_machine.caller.command([installed.python, "-I", "-c", source, plain_machine.workspace])
    done = subprocess.run(plain_machine.internet.on_machine(*argv), capture_output=True, timeout=60)
    assert done.stdout == b"[('other.example', 80, '')] []\n", done.stderr.decode()


OWN_SERVER = """
import os, socket, threading, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

class Everywhere(HTTPServer):
    address_family = socket.AF_INET6

server = Everywhere(("::", 8123), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
names = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", socket.gethostname()]
for host in names:
    print(urllib.request.urlopen(f"http://{host}:8123/").status, os.popen(
        "curl -so /dev/null -w '%{http_code}' http://" + host + ":8123/").read())
"""


def test_the_commands_own_servers_are_reached_by_every_name_they_have(machine: Machine) -> None:
    """The host's own name too, where it is one of the loopback (hosts(5))."""
    names = OWN_SERVER
    if not socket.gethostbyname(socket.gethostname()).startswith("127."):
        names = names.replace(", socket.gethostname()", "")
    done = machine.art("--network", "filtered", "--", "/usr/bin/python3", "-I", "-W", "ignore", "-c", names)
    assert set(done.stdout.splitlines()) == {b"204 204"}, done
    assert b"refused" not in done.stderr
