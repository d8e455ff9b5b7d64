"""A machine on a small internet: two network namespaces and a cable between them.

ART runs in one, as root or a plain user, with a resolv.conf that names the other's DNS server. Nothing
of it is the real network.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import Caller
from tests.support.installed_copies import checked
from tests.support.internet import SELF
from tests.support.places import Places

MACHINE = "9.9.9.1"
"""The machine's own address, a public one."""
ROUTED = ("1.2.3.4", "5.6.7.8", "10.0.0.5", "192.168.1.1", "169.254.169.254", "168.63.129.16", "100.64.0.9")


ROUTED_6 = ("2600:1::5", "fd00::5")
CURL = ("curl", "--silent", "--show-error", "--max-time", "20")


@dataclass(frozen=True)
class Internet:
    """The two namespaces: `machine` and `world` are the pids of processes in them."""

    machine: int
    world: int
    log: Path

    def on_machine(self, *argv: str) -> list[str]:
        """A command that runs on the machine."""
        return ["nsenter", f"--target={self.machine}", "--net", "--mount", "--", *argv]

    def asked(self) -> list[str]:
        """What the world was asked so far."""
        return self.log.read_text().splitlines()


@contextmanager
def small_internet(places: Places) -> Iterator[Internet]:
    """The two namespaces, with what answers in the world, until the end."""
    if os.geteuid() != 0:
        pytest.fail(
            "this test makes network namespaces; run the tests as root: sudo make test", pytrace=False
        )
    place = places.install / f"internet-{os.getpid()}"
    place.mkdir()
    log, resolver = place / "log", place / "resolv.conf"
    log.touch()
    resolver.write_text(f"nameserver {SELF}\noptions attempts:1 timeout:2\n")
    unshare = ["unshare", "--net", "--mount", "--kill-child"]
    with ExitStack() as ending:
        processes = []
        script = str(Path(__file__).with_name("internet.py"))
        for command in (
            ["sh", "-c", "echo ready; exec sleep infinity"],
            ["sh", "-c", _UP, "sh", script, str(log)],
        ):
            process = subprocess.Popen([*unshare, "--fork", *command], stdout=subprocess.PIPE)
            ending.callback(process.wait)
            ending.callback(process.kill)
            ending.enter_context(process.stdout)  # type: ignore[arg-type]
            processes.append(process)
            if len(processes) == 1:
                _line(process)
        machine, world = (_child(process.pid) for process in processes)
        found = Internet(machine, world, log)
        _connect(found, resolver)
        _line(processes[1])
        yield found


_UP = 'until ip address show dev v1 2>/dev/null | grep -q 9.9.9.2; do sleep 0.05; done; exec python3 "$@"'


def _line(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


def _child(pid: int) -> int:
    """The process that `unshare --fork` started."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.01)
    pytest.fail("unshare started nothing")


def _connect(internet: Internet, resolver: Path) -> None:
    cable = f"v0 netns {internet.machine} type veth peer name v1 netns {internet.world}"
    checked(["ip", "link", "add", *cable.split()])
    steps = [
        "ip link set lo up",
        f"ip address add {MACHINE}/24 dev v0",
        "ip address add 2600:9::1/64 dev v0 nodad",
        "ip link set v0 up",
        f"ip route add default via {SELF}",
        "ip -6 route add default via 2600:9::2",
        f"mount --bind {resolver} {os.path.realpath('/etc/resolv.conf')}",
    ]
    checked(internet.on_machine("sh", "-ec", "\n".join(steps)))
    steps = ["ip link set lo up", "ip link set v1 up", "ip address add 2600:9::2/64 dev v1 nodad"]
    steps += [f"ip address add {address}/32 dev lo" for address in ROUTED]
    steps += [f"ip address add {address}/128 dev lo nodad" for address in ROUTED_6]
    steps += [f"ip address add {SELF}/24 dev v1"]
    checked(["nsenter", f"--target={internet.world}", "--net", "sh", "-ec", "\n".join(steps)])


@dataclass(frozen=True)
class Machine:
    """Somebody who runs commands in sandboxes on the machine."""

    internet: Internet
    caller: Caller
    workspace: Path
    options: Sequence[str] = ()
    variables: Mapping[str, str] | None = None

    def argv(self, *words: str | Path) -> list[str]:
        options: list[str | Path] = ["-m", self.workspace, "-i=false", *self.options]
        art = self.caller.command([self.caller.art_program, *options, *words], self.variables)
        return self.internet.on_machine(*art)

    def art(self, *words: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run `art` with these words after `-m` and `-i=false`."""
        return subprocess.run(
            self.argv(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            cwd=self.caller.place,
        )

    def curl(self, allowed: Sequence[str], *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run curl inside; `allowed` are the rules."""
        rules = [word for rule in allowed for word in ("--allow-domain", rule)]
        return self.art("--network", "filtered", *rules, "--", *CURL, *words)

    def reached(self, allowed: Sequence[str], *words: str) -> Any:
        """What the world answered to curl, which has to succeed."""
        done = self.curl(allowed, *words)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)
