"""Rules of an isolation: its plan, its verdicts, and what the command starts with."""

from __future__ import annotations

import os
import secrets
import signal
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from art_core.contracts import Context, Exit, GuestFile, Isolation, Launch, Provider, Run
from art_core.testing import leftovers, providers
from art_core.testing.driver import Driver, shown
from art_core.testing.rules import Rule

KNOWN_CAPABILITIES = frozenset(
    {
        "mounts",
        "masks",
        "pidns",
        "terminal",
        "network-none",
        "network-filtered",
        "seeds",
        "devices",
        "commands",
        "nested",
        "rlimits",
        "filters",
    }
)
"""What `art_core.contracts.Isolation` lists."""


class RecordRules:
    def test_record(self, isolation_provider: Provider[Isolation], rule: Rule) -> None:
        """The provider's record has a plain name, a summary of one line, this core's contract
        version, and claims only capabilities that core knows."""
        providers.check_record(rule, isolation_provider, "isolation", KNOWN_CAPABILITIES)

    def test_settings(self, isolation_provider: Provider[Isolation], rule: Rule) -> None:
        """Its settings are None, or a frozen record (NamedTuple or dataclass) of keys with defaults."""
        providers.check_settings(rule, isolation_provider)

    def test_probe(self, isolation_provider: Provider[Isolation], rule: Rule, place: str) -> None:
        """The probe never raises, and returns the reasons why the isolation cannot work on this
        host, each with its cure: none where the kit is run."""
        providers.check_probe(rule, isolation_provider, place)


class PlanRules:
    def test_plan_is_pure(
        self, isolation_provider: Provider[Isolation], rule: Rule, context: Context, sandbox: Driver
    ) -> None:
        """plan() starts nothing, opens nothing that stays open, changes nothing, and gives equal
        launches for equal runs, also from another instance."""
        with ExitStack() as opened:
            run, _ = sandbox.pin(_run_of_everything(sandbox), opened)
            other = isolation_provider.create(context)
            before = leftovers.state()
            with leftovers.actions() as actions:
                first = sandbox.plan(run)
            left = leftovers.differences(before, leftovers.state())
            rule.holds(not actions, f"plan() did this: {actions}")
            rule.holds(not left, f"after plan() {left}")
            rule.equals(sandbox.plan(run), first, "a second plan()")
            rule.equals(other.plan(run), first, "the plan() of another instance")

    def test_plan_form(self, rule: Rule, sandbox: Driver) -> None:
        """A launch names its program by an absolute path, and numbers its descriptors from 3
        upwards, each once."""
        with ExitStack() as opened:
            launch = sandbox.plan(sandbox.pin(_run_of_everything(sandbox), opened)[0])
        rule.holds(isinstance(launch, Launch), f"plan() returned {launch!r}")
        rule.holds(launch.argv and launch.argv[0].startswith("/"), f"argv is {launch.argv!r}")
        rule.holds(all(isinstance(word, str) and "\0" not in word for word in launch.argv), launch.argv)
        pairs = launch.env.items()
        rule.holds(all(isinstance(word, bytes) for pair in pairs for word in pair), f"env is {launch.env!r}")
        numbers = [*launch.files, launch.stderr_fd, *launch.report_fds]
        rule.holds(len(set(numbers)) == len(numbers) and min(numbers) > 2, f"the numbers are {numbers}")
        rule.holds(all(isinstance(content, bytes | int) for content in launch.files.values()), launch.files)

    def test_plan_keeps_secrets(self, rule: Rule, sandbox: Driver) -> None:
        """The command's environment is not in the launch's arguments, which every user of the
        host can read (proc_pid_cmdline(5)), nor in its environment, which stays readable inside."""
        canary = secrets.token_hex(16)
        launch = sandbox.plan(sandbox.run_for(["true"], env={b"SECRET": canary.encode()}))
        for what, words in (("argv", " ".join(launch.argv)), ("env", repr(dict(launch.env)))):
            rule.holds(canary not in words, f"Launch.{what} holds the value of a variable")


def _run_of_everything(sandbox: Driver) -> Run:
    """A run that uses what the isolation claims."""
    wishes: dict[str, object] = {}
    if "mounts" in sandbox.capabilities:
        source = sandbox.make_directory("source")
        wishes["mounts"] = (shown(source, "/home/agent/source", writable=True),)
        wishes["files"] = (GuestFile(guest="/opt/art-kit/file", contents=b"contents"),)
    if "masks" in sandbox.capabilities:
        wishes["masks"] = (sandbox.make_directory("hidden"), sandbox.make_file("hidden-file"))
    for capability, wish in (("terminal", ("terminal", True)), ("network-none", ("network", "none"))):
        if capability in sandbox.capabilities:
            wishes[wish[0]] = wish[1]
    return sandbox.run_for(["sh", b"-c", b"echo \xff"], env={b"A": b"\xff\n"}, **wishes)


class StatusRules:
    @pytest.mark.parametrize("status", [0, 7, 255])
    def test_exit_status(self, sandbox: Driver, rule: Rule, status: int) -> None:
        """The command's own exit status is the run's, decided by the command."""
        ended = sandbox.run("sh", "-c", f"exit {status}").exit
        rule.equals((ended.code, ended.by), (status, "command"), str(ended))

    @pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGSEGV"])
    def test_signal_status(self, sandbox: Driver, rule: Rule, name: str) -> None:
        """A command that signal N killed gives 128+N."""
        number = signal.Signals[name]
        ended = sandbox.run("sh", "-c", f"kill -{name.removeprefix('SIG')} $$").exit
        rule.equals(ended.code, 128 + number, str(ended))

    @pytest.mark.parametrize("command", ["art-kit-no-such-command", "/nonexistent/command"])
    def test_command_not_found(self, sandbox: Driver, rule: Rule, command: str) -> None:
        """A command that does not exist gives 127, decided by the exec."""
        ended = sandbox.run(command).exit
        rule.equals((ended.code, ended.by), (127, "exec"), str(ended))

    def test_command_not_executable(self, sandbox: Driver, rule: Rule) -> None:
        """A command that exists and cannot be executed gives 126, decided by the exec."""
        plain_file = sandbox.make_file("not-executable", b"#!/bin/sh\n", mode=0o644)
        for command in (plain_file, sandbox.make_directory("directory"), "/dev/null"):
            ended = sandbox.run(command).exit
            rule.equals((ended.code, ended.by), (126, "exec"), f"{command}: {ended}")

    def test_command_looked_up(self, sandbox: Driver, rule: Rule) -> None:
        """A command without a slash is looked up in the PATH of the run, as it is inside."""
        sandbox.make_file("bin/art-kit-tool", b"#!/bin/sh\necho found\n", mode=0o755)
        ran = sandbox.run("art-kit-tool", env={b"PATH": b"/nonexistent:" + os.fsencode(sandbox.path("bin"))})
        rule.holds(ran.exit.code == 0 and ran.stdout == b"found\n", ran)

    def test_failed_start(self, sandbox: Driver, rule: Rule) -> None:
        """Where the sandbox could not be made and the command never ran, the isolation decides:
        125, with the reason in one line."""
        ended = sandbox.run("true", cwd="/nonexistent/art-kit").exit
        _check_failure(rule, ended)

    @pytest.mark.parametrize("status", [1 << 8, 0, int(signal.SIGKILL)])
    def test_silence_is_failure(self, sandbox: Driver, rule: Rule, status: int) -> None:
        """Without a report that the command ran, exit() says 125 whatever the wait status is, and
        its reason holds what the isolation printed."""
        ended = sandbox.ask_exit(status, [], b"program: the moon is full\n")
        _check_failure(rule, ended)
        rule.holds("the moon is full" in ended.why, f"the reason is {ended.why!r}")

    def test_report(self, sandbox: Driver, rule: Rule) -> None:
        """The launched process reports `child-pid`, and the one that becomes the command reports
        `exec` right before."""
        reports = sandbox.run("true").reports
        rule.holds(any(isinstance(report.get("child-pid"), int) for report in reports), reports)
        rule.holds(any(report.get("exec") is True for report in reports), reports)


def _check_failure(rule: Rule, ended: Exit) -> None:
    rule.equals((ended.code, ended.by), (125, "isolation"), str(ended))
    rule.holds(ended.why.strip() and "\n" not in ended.why.strip(), f"the reason is {ended.why!r}")


@contextmanager
def _caller_variable(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


class CommandRules:
    def test_environment(self, sandbox: Driver, rule: Rule) -> None:
        """The command's environment is exactly the one given, byte for byte."""
        given = {
            b"PATH": b"/usr/bin:/bin",
            b"EMPTY": b"",
            b"LINES": b"one\ntwo\n",
            b"BYTES": bytes(range(1, 256)),
            b"EQUALS": b"a=b=c",
            b"LONG": b"x" * 100_000,
        }
        seen = sandbox.output("/bin/cat", "/proc/self/environ", env=given)
        found = dict(entry.split(b"=", 1) for entry in seen.split(b"\0")[:-1])
        for name in given.keys() | found.keys():
            rule.equals(found.get(name), given.get(name), f"the variable {os.fsdecode(name)}")

    def test_caller_environment(self, sandbox: Driver, rule: Rule) -> None:
        """The caller's environment is found in no /proc/PID/environ inside."""
        canary = secrets.token_hex(16)
        with _caller_variable("ART_KIT_SECRET", canary):
            leaks = sandbox.learn(
                "import glob, sys\n"
                "found = []\n"
                "pids = {'self', '1'} | {p.split('/')[2] for p in glob.glob('/proc/[0-9]*')}\n"
                "for pid in pids:\n"
                "    try:\n"
                "        with open(f'/proc/{pid}/environ') as file: there = sys.argv[1] in file.read()\n"
                "    except OSError: continue\n"
                "    if there: found.append(pid)\n"
                "print(ascii(found))",
                canary,
            )
        rule.holds(not leaks, f"it is in the environment of the processes {leaks}")

    def test_arguments(self, sandbox: Driver, rule: Rule) -> None:
        """Every byte of the command's arguments survives: empty ones, new lines, what is not
        UTF-8, what looks like an option, and long ones."""
        given = [b"", b"a b", b"one\ntwo", b"\xff\xfe", bytes(range(1, 256)), b"--", b"--bind", b"-c"]
        given += [b"", "é€😀".encode(), b"y" * 120_000, b"z" * 120_000]
        source = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
        found = sandbox.output(*sandbox.script(source, *given)).split(b"\0")
        rule.equals([word[:300] for word in found], [word[:300] for word in given], "the arguments")
        rule.equals([len(word) for word in found], [len(word) for word in given], "the lengths")

    def test_program_name(self, sandbox: Driver, rule: Rule) -> None:
        """The command's argv[0] is the word that was given."""
        found = sandbox.output("cat", "/proc/self/cmdline").split(b"\0")[0]
        rule.equals(found, b"cat")

    def test_descriptors(self, sandbox: Driver, rule: Rule) -> None:
        """The command has 0, 1 and 2 open, and nothing else."""
        leak = os.open(sandbox.place, os.O_RDONLY)
        try:
            os.set_inheritable(leak, True)
            # The descriptor that lists the directory is closed again before it can be read.
            found = sandbox.learn(
                "import os\n"
                "seen = {}\n"
                "for name in os.listdir('/proc/self/fd'):\n"
                "    try: seen[int(name)] = os.readlink('/proc/self/fd/' + name)\n"
                "    except OSError: pass\n"
                "print(ascii(seen))"
            )
        finally:
            os.close(leak)
        rule.equals(sorted(found), [0, 1, 2], f"open are {found}; the numbers")

    def test_streams(self, sandbox: Driver, rule: Rule) -> None:
        """Standard input, output and error are the three streams given, byte for byte, and what
        the isolation itself prints goes elsewhere."""
        given = bytes(range(256)) * 1024
        ran = sandbox.run("sh", "-c", "cat; echo error >&2", input=given)
        sandbox.succeeded(ran)
        rule.holds(ran.stdout == given, f"{len(ran.stdout)} of {len(given)} bytes came back, or changed ones")
        rule.equals(ran.stderr, b"error\n", "standard error")
        rule.holds(b"error" not in ran.diagnostics, f"the isolation's diagnostics are {ran.diagnostics!r}")

    def test_working_directory(self, sandbox: Driver, rule: Rule) -> None:
        """The command starts in the directory given, whatever bytes its path has."""
        for name in ("plain", "with space", "-dash", os.fsdecode(b"\xff"), "new\nline"):
            directory = sandbox.make_directory(name)
            found = sandbox.output("/bin/pwd", "-P", cwd=directory)
            rule.equals(found, os.fsencode(directory) + b"\n", "pwd")

    def test_identity(self, sandbox: Driver, rule: Rule) -> None:
        """The command sees the uid and gid of the run as its own: real, effective and saved."""
        run = sandbox.run_for(["true"])
        found = sandbox.learn("import os; print(ascii(os.getresuid() + os.getresgid()))")
        rule.equals(found, (run.uid,) * 3 + (run.gid,) * 3)

    def test_signals(self, sandbox: Driver, rule: Rule) -> None:
        """The command starts with no signal blocked or ignored (execve(2) keeps both), save those that
        the C library keeps for itself (nptl(7))."""
        status = sandbox.output("/bin/cat", "/proc/self/status").decode().splitlines()
        for field in ("SigBlk", "SigIgn"):
            (value,) = (int(line.split()[1], 16) for line in status if line.startswith(field))
            numbers = [number for number in range(1, 65) if value >> (number - 1) & 1]
            numbers = [number for number in numbers if number not in (32, 33)]
            rule.holds(not numbers, f"{field} holds the signals {numbers}")

    def test_umask(self, sandbox: Driver, rule: Rule) -> None:
        """The command has the caller's umask."""
        previous = os.umask(0o027)
        try:
            found = sandbox.output("sh", "-c", "umask").strip()
        finally:
            os.umask(previous)
        rule.equals(int(found, 8), 0o027)

    def test_devices(self, sandbox: Driver, rule: Rule) -> None:
        """/dev has null, zero, full, random, urandom and tty, and no device of the host's disks."""
        found = sandbox.learn(
            "import os, stat\n"
            "seen = {}\n"
            "for top, _, names in os.walk('/dev'):\n"
            "    for name in names:\n"
            "        path = os.path.join(top, name)\n"
            "        try: seen[path] = os.lstat(path).st_mode\n"
            "        except OSError: pass\n"
            "open('/dev/null', 'wb').write(b'x')\n"
            "assert open('/dev/zero', 'rb').read(3) == bytes(3) and open('/dev/urandom', 'rb').read(3)\n"
            "print(ascii(seen))"
        )
        for name in ("null", "zero", "full", "random", "urandom", "tty"):
            rule.holds(stat.S_ISCHR(found.get(f"/dev/{name}", 0)), f"/dev/{name} is no device")
        disks = [path for path, mode in found.items() if stat.S_ISBLK(mode)]
        rule.holds(not disks, f"there are {disks}")
