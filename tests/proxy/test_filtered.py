"""What a filtered network lets through, and what it does not: asked for with curl, from inside."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.internet import ADDRESSES
from tests.support.network_machine import CURL, MACHINE, Internet, Machine

PROXY = "127.0.0.1:61080"


@pytest.mark.parametrize(
    "way",
    [[], ["--proxytunnel"], ["--proxy", f"socks5h://{PROXY}"]],
    ids=["plain request", "tunnel", "SOCKS5"],
)
def test_an_allowed_name_is_reached(machine: Machine, way: list[str]) -> None:
    told = machine.reached(["good.example"], *way, "http://good.example/path?query")
    assert (told["address"], told["port"]) == ("1.2.3.4", 80)
    assert told["request"] == "GET /path?query HTTP/1.1"
    assert told["headers"]["host"] == "good.example"


def test_it_works_over_a_home_that_is_kept(machine: Machine) -> None:
    database = machine.workspace.parent / "home.db"
    words: list[str | Path] = ["-d", database, "--allow-domain", "good.example", "--", *CURL]
    assert b'"1.2.3.4"' in machine.art(*words, "http://good.example/").stdout
    assert (
        machine.art(*words, "http://other.example/").stdout
        == b"art: other.example:80 is not allowed in this sandbox\n"
    )


def test_what_is_sent_arrives(machine: Machine) -> None:
    for way in ([], ["--proxytunnel"]):
        told = machine.reached(
            ["good.example"], *way, "--data-binary", "@/usr/bin/env", "http://good.example/"
        )
        assert told["body"] > 10_000
        assert "proxy-connection" not in told["headers"]


def test_a_name_that_no_rule_allows_is_refused_and_not_even_looked_up(machine: Machine) -> None:
    before = machine.internet.asked()
    for way in ([], ["--proxytunnel"], ["--proxy", f"socks5h://{PROXY}"]):
        done = machine.curl(["good.example"], *way, "http://secret-in-a-name.other.example/")
        note = (
            b"art: note: network: refused secret-in-a-name.other.example:80; "
            b"to allow it: --allow-domain secret-in-a-name.other.example\n"
        )
        assert note in done.stderr
        assert b"1.2.3.4" not in done.stdout
    assert machine.internet.asked() == before


def test_the_option_that_a_refusal_names_allows_it(plain_machine: Machine) -> None:
    url = "http://good.example:8443/"
    done = plain_machine.curl(["good.example"], url)
    (option,) = re.findall(rb"to allow it: --allow-domain (\S+)\n", done.stderr)
    assert plain_machine.reached([option.decode()], url)["port"] == 8443


@pytest.mark.parametrize(
    ("rule", "url", "allowed"),
    [
        ("GOOD.example.", "http://good.EXAMPLE./", True),
        ("good.example", "http://a.good.example/", False),
        ("good.example", "http://notgood.example/", False),
        ("*.good.example", "http://a.b.good.example/", True),
        ("*.good.example", "http://good.example/", False),
        ("*.good.example", "http://evilgood.example/", False),
        ("good.example:8443", "http://good.example:8443/", True),
        ("good.example:8443", "http://good.example/", False),
        ("good.example:*", "http://good.example:22/", True),
        ("*", "http://other.example/", True),
        ("*", "http://other.example:22/", False),
        ("*", "http://1.2.3.4/", True),
        ("*", "http://10.0.0.5/", False),
        ("1.2.3.4", "http://1.2.3.4/", True),
        ("1.2.3.4", "http://5.6.7.8/", False),
        ("[2600:1::5]", "http://[2600:1::5]/", True),
        ("six.example", "http://six.example/", True),
        ("mixed.example", "http://mixed.example/", True),
    ],
)
def test_rules(plain_machine: Machine, rule: str, url: str, allowed: bool) -> None:
    done = plain_machine.curl([rule], url)
    assert (b'"address"' in done.stdout) is allowed, done.stdout + done.stderr
    assert b'"10.0.0.5"' not in done.stdout


INWARD = sorted(set(ADDRESSES) - {"good.example", "other.example", "six.example"})


def test_an_allowed_name_that_leads_inward_leads_nowhere(machine: Machine) -> None:
    with listening_everywhere(machine.internet):
        rules = [word for name in INWARD for word in ("--allow-domain", f"{name}:*")]
        loop = 'for name do for port in 80 7777; do curl -sS --max-time 20 "http://$name:$port/"; done; done'
        done = machine.art(*rules, "--", "sh", "-c", loop, "sh", *INWARD)
    said = done.stdout.decode().splitlines()
    assert said == [
        f"art: {name}:{port} is not allowed in this sandbox" for name in INWARD for port in (80, 7777)
    ]
    for name in INWARD:
        if not name.startswith(("link6", "zero")):
            assert f"refused {name}:80, which leads to " in done.stderr.decode()


@contextmanager
def listening_everywhere(internet: Internet) -> Iterator[None]:
    """A service on every address of the machine itself, port 7777, that says so."""
    source = (
        "import socket\n"
        "server = socket.create_server(('::', 7777), family=socket.AF_INET6, dualstack_ipv6=True)\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    connection, _ = server.accept()\n"
        "    connection.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nINTERNAL\\n')\n"
        "    connection.close()\n"
    )
    argv = internet.on_machine("python3", "-c", source)
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.kill()


def test_an_inward_address_is_reached_when_it_is_named(machine: Machine) -> None:
    rules = ["private.example", "10.0.0.5"]
    assert machine.reached(rules, "http://private.example/")["address"] == "10.0.0.5"
    assert machine.reached(rules, "http://10.0.0.5/")["address"] == "10.0.0.5"


def test_a_name_that_changes_its_address_is_judged_each_time(plain_machine: Machine) -> None:
    before = len(plain_machine.internet.asked())
    with listening_everywhere(plain_machine.internet):
        script = 'for n in 1 2 3 4 5 6; do curl -sS --max-time 20 "http://rebind.example:$1/"; echo; done'
        done = plain_machine.art("--allow-domain", "rebind.example:*", "--", "sh", "-c", script, "sh", "80")
        internal = plain_machine.art(
            "--allow-domain", "rebind.example:*", "--", "sh", "-c", script, "sh", "7777"
        )
    assert b"not allowed" in done.stdout
    assert b"INTERNAL" not in done.stdout + internal.stdout
    reached = {line for line in plain_machine.internet.asked()[before:] if line.startswith("tcp")}
    assert reached <= {"tcp 1.2.3.4 80"}


SPELLINGS = (
    *(
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "0",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "127.0.0.2",
    ),
    *(
        "localhost",
        "a.localhost",
        MACHINE,
        "[2600:9::1]",
        "[64:ff9b::7f00:1]",
        "[fe80::1]",
        "169.254.169.254",
    ),
)


def test_no_spelling_of_an_address_leads_inward(plain_machine: Machine) -> None:
    source = (
        "import socket, sys\n"
        "for host in sys.argv[1:]:\n"
        "    for first in (f'GET http://{host}:7777/ HTTP/1.1', f'CONNECT {host}:7777 HTTP/1.1'):\n"
        "        proxy = socket.create_connection(('127.0.0.1', 61080))\n"
        "        proxy.sendall(f'{first}\\r\\nHost: {host}:7777\\r\\n\\r\\n'.encode())\n"
        "        print(proxy.recv(4096).split()[1].decode())\n"
    )
    with listening_everywhere(plain_machine.internet):
        done = plain_machine.art(
            "--allow-domain", "*:*", "--", "/usr/bin/python3", "-I", "-c", source, *SPELLINGS
        )
    assert done.stdout.decode().split() == ["403"] * 2 * len(SPELLINGS)


def test_a_service_of_this_machine_that_is_named_is_on_the_loopback_inside_too(machine: Machine) -> None:
    with listening_everywhere(machine.internet):
        for words in (["--noproxy", "*", "http://127.0.0.1:7777/"], ["http://localhost:7777/"]):
            assert machine.curl(["localhost:7777"], *words).stdout == b"INTERNAL\n"
        for words in (
            ["--noproxy", "", "http://localhost:7777/"],
            ["--noproxy", "", "http://127.0.0.1:7777/"],
        ):
            assert machine.curl(["127.0.0.1:7777"], *words).stdout == b"INTERNAL\n"
        assert machine.curl(["localhost:7778"], "http://localhost:7777/").returncode == 7


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET http://good.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n", "400"),
        ("GET http://good.example:80@other.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: good.example\r\n\r\n", "400"),
        ("GET https://good.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n", "400"),
        ("CONNECT good.example HTTP/1.1\r\nHost: good.example\r\n\r\n", "400"),
        ("CONNECT good.example:443/x HTTP/1.1\r\nHost: good.example\r\n\r\n", "400"),
        ("CONNECT good.example:99999 HTTP/1.1\r\nHost: good.example\r\n\r\n", "400"),
        ("CONNECT other.example:443 HTTP/1.1\r\nHost: good.example:443\r\n\r\n", "403"),
        ("CONNECT unknown.good.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", "403"),
        ("nonsense\r\n\r\n", "400"),
        ("GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\nx: LONG\r\n\r\n", "431"),
    ],
)
def test_a_request_that_is_not_clear_is_refused(plain_machine: Machine, request_: str, status: str) -> None:
    assert exchange(plain_machine, request_).split()[1] == status


def exchange(machine: Machine, sent: str) -> str:
    """What the proxy answers to these bytes, until it closes the connection."""
    source = (
        "import socket, sys\n"
        "proxy = socket.create_connection(('127.0.0.1', 61080))\n"
        "proxy.sendall(sys.argv[1].encode().replace(b'LONG', b'y' * 1_000_000))\n"
        "proxy.shutdown(socket.SHUT_WR)\n"
        "while data := proxy.recv(65536): print(data.decode(), end='')\n"
    )
    done = machine.art("--allow-domain", "good.example", "--", "/usr/bin/python3", "-I", "-c", source, sent)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_nothing_hides_behind_the_first_request_of_a_connection(plain_machine: Machine) -> None:
    before = len(plain_machine.internet.asked())
    good = "GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n"
    for hidden in (
        "GET http://good.example/second HTTP/1.1\r\nHost: good.example\r\n\r\n",
        "GET /second HTTP/1.1\r\nHost: good.example\r\n\r\n",
    ):
        answer = exchange(plain_machine, good + hidden)
        assert answer.count('"request"') == 1
        assert "second" not in answer
    assert len([line for line in plain_machine.internet.asked()[before:] if line.startswith("tcp")]) == 2


def test_headers_between_client_and_proxy_stay_there(plain_machine: Machine) -> None:
    words = [
        "--proxy-header",
        "Proxy-Authorization: Basic c2VjcmV0",
        "-H",
        "Connection: X-Mine",
        "-H",
        "X-Mine: 1",
    ]
    told = plain_machine.reached(["good.example"], *words, "-H", "X-Theirs: 2", "http://good.example/")
    assert told["headers"]["x-theirs"] == "2"
    assert told["headers"]["connection"] == "close"
    assert not {"proxy-authorization", "x-mine", "proxy-connection"} & set(told["headers"])


def test_datagrams_and_listening_are_not_offered_by_socks(plain_machine: Machine) -> None:
    source = (
        "import socket\n"
        "for command in (2, 3):\n"
        "    proxy = socket.create_connection(('127.0.0.1', 61080))\n"
        "    proxy.sendall(bytes((5, 1, 0)))\n"
        "    assert proxy.recv(2) == bytes((5, 0))\n"
        "    proxy.sendall(bytes((5, command, 0, 1, 1, 2, 3, 4, 0, 53)))\n"
        "    print(proxy.recv(10)[1])\n"
    )
    done = plain_machine.art("--allow-domain", "*:*", "--", "/usr/bin/python3", "-I", "-c", source)
    assert done.stdout.split() == [b"7", b"7"]
