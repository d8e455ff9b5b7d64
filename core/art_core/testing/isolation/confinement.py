"""Rules of an isolation: processes, privileges, the network and the terminal."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from art_core.testing.driver import PATIENCE_S, Driver
from art_core.testing.rules import Rule, requires

_UNSHARE_USER = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(ascii((libc.unshare(0x10000000), ctypes.get_errno())))
"""


class ProcessRules:
    @requires("pidns")
    def test_pid_namespace(self, sandbox: Driver, rule: Rule) -> None:
        """The command is in a pid namespace of its own, sees only its processes in /proc, and is
        not their first (whose signals have no default actions: pid_namespaces(7))."""
        found = sandbox.learn(
            "import os\n"
            "pids = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())\n"
            "print(ascii((os.readlink('/proc/self/ns/pid'), os.getpid(), pids)))"
        )
        namespace, pid, pids = found
        rule.holds(namespace != os.readlink("/proc/self/ns/pid"), "the namespace is the host's")
        rule.holds(len(pids) < 10, f"/proc shows the processes {pids}")
        rule.holds(pid != 1, "the command is process 1")

    @requires("pidns")
    def test_children_end(self, sandbox: Driver, rule: Rule) -> None:
        """When the command ends, all it started ends with it."""
        script = "for n in 1 2 3; do sleep 1000 & done; setsid sleep 1000 & exit 3"
        started = time.monotonic()
        ran = sandbox.run("sh", "-c", script)
        took = time.monotonic() - started
        rule.equals(ran.exit.code, 3, str(ran))
        rule.holds(took < PATIENCE_S / 2, f"its children held the output for {took:.0f} s")

    @requires("pidns")
    def test_orphans(self, sandbox: Driver, rule: Rule) -> None:
        """Orphans are reaped inside: none stays a zombie."""
        zombies = sandbox.learn(
            "import os, sys, time\n"
            "for _ in range(20):\n"
            "    if not (child := os.fork()):\n"
            "        if not os.fork(): time.sleep(0.05)\n"
            "        os._exit(0)\n"
            "    os.waitpid(child, 0)\n"
            "def zombies():\n"
            "    found = []\n"
            "    for name in filter(str.isdigit, os.listdir('/proc')):\n"
            "        try: state = open(f'/proc/{name}/stat').read().rpartition(')')[2].split()[0]\n"
            "        except OSError: continue\n"
            "        if state == 'Z': found.append(int(name))\n"
            "    return found\n"
            "time.sleep(0.2)\n"
            "until = time.monotonic() + 5\n"
            "while zombies() and time.monotonic() < until: time.sleep(0.05)\n"
            "print(ascii(zombies()))"
        )
        rule.holds(not zombies, f"the processes {zombies} stayed zombies")

    def test_session(self, sandbox: Driver, rule: Rule) -> None:
        """The command leads a session and a process group of its own, without a terminal where none
        was given."""
        found = sandbox.learn(
            "import os\n"
            "try: terminal = os.open('/dev/tty', os.O_RDWR)\n"
            "except OSError: terminal = None\n"
            "print(ascii((os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid(), terminal)))"
        )
        rule.equals(found, (True, True, None), "(leads its session, leads its group, its terminal)")

    def test_ends_with_the_supervisor(self, sandbox: Driver, rule: Rule) -> None:
        """Killing the `child-pid` that was reported ends the sandbox, which the launcher does when
        its supervisor dies: no process keeps the output open."""
        many = "sleep 1000 & setsid sleep 1000 & " if "pidns" in sandbox.capabilities else ""
        with sandbox.start("sh", "-c", f"echo ready; {many} exec sleep 1000") as running:
            rule.equals(running.line(), "ready")
            running.close_launcher()
            running.read_to_end("the end of every process inside")


class PrivilegeRules:
    def test_capabilities(self, sandbox: Driver, rule: Rule) -> None:
        """The command holds no capability: its effective, permitted, inheritable and ambient sets
        are empty (capabilities(7))."""
        found = _status(sandbox)
        for field in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            rule.equals(int(found[field], 16), 0, field)

    def test_no_new_privileges(self, sandbox: Driver, rule: Rule) -> None:
        """no_new_privs is set: no set-user-ID program gains anything (prctl(2))."""
        rule.equals(_status(sandbox)["NoNewPrivs"], "1", "NoNewPrivs")

    def test_user_namespaces(self, sandbox: Driver, rule: Rule) -> None:
        """Unless the run is nested, the command cannot make a user namespace."""
        result, _ = sandbox.learn(_UNSHARE_USER)
        rule.holds(result != 0, "unshare(CLONE_NEWUSER) worked")

    @requires("nested")
    def test_nested(self, sandbox: Driver, rule: Rule) -> None:
        """In a nested run the command can make user namespaces, and still holds no capability."""
        result, number = sandbox.learn(_UNSHARE_USER, nested=True)
        rule.equals(result, 0, f"unshare(CLONE_NEWUSER) ({os.strerror(number)})")
        rule.equals(int(_status(sandbox, nested=True)["CapEff"], 16), 0, "CapEff")


def _status(sandbox: Driver, **wishes: Any) -> dict[str, str]:
    text = sandbox.output("/bin/cat", "/proc/self/status", **wishes).decode()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


@contextmanager
def _listening() -> Iterator[str]:
    """A port of the host's loopback interface that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


_CONNECT = """
import socket, sys
try: socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5).close(); reached = True
except OSError: reached = False
print(ascii((reached, sorted(name for _, name in socket.if_nameindex()))))
"""


class NetworkRules:
    def test_network_of_the_host(self, sandbox: Driver, rule: Rule) -> None:
        """With network "host" the command reaches what the host reaches, its loopback too."""
        with _listening() as port:
            reached, _ = sandbox.learn(_CONNECT, port)
        rule.holds(reached, "a port of the host's loopback interface could not be reached")

    @requires("network-none")
    def test_network_none(self, sandbox: Driver, rule: Rule) -> None:
        """With network "none" there is only a loopback interface, and it is not the host's."""
        with _listening() as port:
            reached, interfaces = sandbox.learn(_CONNECT, port, network="none")
        rule.equals(interfaces, ["lo"], "the interfaces")
        rule.holds(not reached, "a port of the host's loopback interface could be reached")

    @requires("network-filtered")
    def test_network_filtered(self, sandbox: Driver, rule: Rule) -> None:
        """With network "filtered" there is only a loopback interface, not the host's; sockets that
        listen on the ports of the run come out before the command runs, in their order, and what
        connects inside is accepted outside."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(PATIENCE_S)
        ports = (61080, 61081)
        wishes = {"network": "filtered", "listen": ports, "listen_fd": theirs.fileno()}
        with ours, theirs, _listening() as port, ExitStack() as opened:
            source = f"{_CONNECT}\nsocket.create_connection(('127.0.0.1', 61081)).sendall(b'hello')"
            reached, interfaces = sandbox.learn(source, port, **wishes)
            _, fds, _, _ = socket.recv_fds(ours, 16, 8)
            listeners = [opened.enter_context(socket.socket(fileno=fd)) for fd in fds]
            rule.equals([one.getsockname()[1] for one in listeners], list(ports), "the ports that came out")
            accepted, _ = listeners[1].accept()
            with accepted:
                rule.equals(accepted.recv(16), b"hello", "what came out of the sandbox")
        rule.equals(interfaces, ["lo"], "the interfaces")
        rule.holds(not reached, "a port of the host's loopback interface could be reached")


class TerminalRules:
    @requires("terminal")
    def test_controlling_terminal(self, sandbox: Driver, rule: Rule) -> None:
        """The terminal that is descriptor 0 becomes the controlling terminal of the command's
        session, with the command in its foreground; standard error stays apart."""
        source = (
            "import os, sys\n"
            "# tcgetpgrp(3) fails on a terminal that is not the controlling one.\n"
            "print('terminal', os.isatty(0), os.isatty(1), os.tcgetpgrp(0) == os.getpgrp(),\n"
            "      os.isatty(os.open('/dev/tty', os.O_RDWR)), os.getsid(0) == os.getpid())\n"
            "sys.stderr.write('apart')"
        )
        with sandbox.start(*sandbox.script(source), terminal=True) as running:
            found = running.line()
            ran = running.finish()
        facts = "(0 and 1 are terminals, it is in the foreground, /dev/tty opens, it leads its session)"
        rule.equals(found, "terminal True True True True True", facts)
        rule.equals(ran.stderr, b"apart", "standard error")

    @requires("terminal")
    def test_interrupt_key(self, sandbox: Driver, rule: Rule) -> None:
        """Ctrl-C on the terminal goes to the command and to nothing else: a command that handles it
        ends as it likes."""
        source = (
            "import os, signal, sys, time\n"
            "signal.signal(signal.SIGINT, lambda *_: (os.write(1, b'interrupted'), sys.exit(5)))\n"
            "os.write(1, b'ready\\n')\n"
            "time.sleep(1000)"
        )
        with sandbox.start(*sandbox.script(source), terminal=True) as running:
            rule.equals(running.line(), "ready")
            running.send(b"\x03")
            ran = running.finish()
        rule.holds(b"interrupted" in ran.stdout, ran)
        rule.equals((ran.exit.code, ran.exit.by), (5, "command"), str(ran))

    @requires("terminal")
    def test_interrupted_command(self, sandbox: Driver, rule: Rule) -> None:
        """A command that Ctrl-C kills gives 130."""
        with sandbox.start("sh", "-c", "echo ready; exec sleep 1000", terminal=True) as running:
            rule.equals(running.line(), "ready")
            running.send(b"\x03")
            ran = running.finish()
        rule.equals(ran.exit.code, 130, str(ran))
