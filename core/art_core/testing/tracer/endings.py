"""Rules of a tracer: how a traced run ends, and that nothing goes on untraced."""

from __future__ import annotations

import ast
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from art_core.testing.driver import PATIENCE_S, Running
from art_core.testing.rules import Rule

if TYPE_CHECKING:
    from art_core.testing.tracer.case import Tracery

_SOON_S = 5.0
"""How long a sandbox may take to end; it takes a small part of a second."""
_BUSY = "import os\nprint('ready', flush=True)\nwhile True: os.stat('/tmp')"

_WAYS = r"""
import ctypes, mmap, os, platform, signal
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
X86 = platform.machine() == "x86_64"
CLONE, SECCOMP = (56, 317) if X86 else (220, 277)
UNTRACED = 0x00800000
told = {}
def reap(pid):
    if pid > 0: os.waitpid(pid, 0)
def clone():
    pid = libc.syscall(CLONE, ctypes.c_ulong(UNTRACED | signal.SIGCHLD), 0, 0, 0, 0)
    if pid == 0:
        os.mkdir("/tmp/clone")
        os._exit(0)
    reap(pid)
def clone3():
    arguments = (ctypes.c_uint64 * 11)(UNTRACED, 0, 0, 0, signal.SIGCHLD)
    pid = libc.syscall(435, arguments, ctypes.sizeof(arguments))
    if pid == 0:
        os.mkdir("/tmp/clone3")
        os._exit(0)
    reap(pid)
def foreign():
    if not X86: return
    # mkdir of i386: mov eax, 39; mov ebx, path; mov ecx, 0o777; int 0x80; ret
    memory = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, 7)
    at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    memory[256:273] = b"/tmp/foreign\0\0\0\0\0"
    code = b"\x53\xb8\x27\0\0\0\xbb" + (at + 256).to_bytes(4, "little") + b"\xb9\xff\x01\0\0\xcd\x80\x5b\xc3"
    memory[:len(code)] = code
    ctypes.CFUNCTYPE(ctypes.c_long)(at)()
def x32():
    if X86: libc.syscall(0x40000000 | 83, b"/tmp/x32", 0o777)
for way in (clone, clone3, foreign, x32):
    pid = os.fork()
    if pid == 0:
        way()
        os._exit(0)
    reap(pid)
    told[way.__name__] = os.path.isdir("/tmp/" + way.__name__)
program = (ctypes.c_uint64 * 1)(0x7fff000000000006)
header = (ctypes.c_uint64 * 2)(1, ctypes.addressof(program))
libc.prctl(38, 1, 0, 0, 0)
told["a listener"] = libc.syscall(SECCOMP, 1, 8, header) >= 0
told["io_uring"] = libc.syscall(425, 8, (ctypes.c_uint64 * 15)()) >= 0
print(ascii(told))
"""


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


class EndRules:
    @pytest.mark.parametrize("status", [0, 255])
    def test_exit_status(self, tracery: Tracery, rule: Rule, status: int) -> None:
        """The launched process's wait status is told as it is, the same as without a trace: the command's
        exit status is the run's."""
        command = ("sh", "-c", f"exit {status}")
        ran = tracery.run(*command, syscalls=("mkdir",)).ran
        rule.equals((ran.exit.code, ran.exit.by), (status, "command"), f"{ran}")
        rule.equals(ran.status, tracery.untraced(*command).status, "the wait status")

    @pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGSEGV"])
    def test_signal_status(self, tracery: Tracery, rule: Rule, name: str) -> None:
        """A command that signal N killed gives 128+N, and the record tells the signal."""
        traced = tracery.run("sh", "-c", f"kill -{name.removeprefix('SIG')} $$", syscalls=("mkdir",))
        rule.equals(traced.ran.exit.code, 128 + signal.Signals[name], f"{traced.ran}")
        ends = [end.how.partition(" (")[0] for end in traced.record.ends]
        rule.equals(ends, [f"killed by {name}"], "the ends in the record")

    def test_command_not_found(self, tracery: Tracery, rule: Rule) -> None:
        """A command that does not exist gives 127, decided by the exec, as it does without a trace."""
        ran = tracery.run("art-kit-no-such-command").ran
        rule.equals((ran.exit.code, ran.exit.by), (127, "exec"), f"{ran}")

    def test_out_of_reach(self, tracery: Tracery, rule: Rule) -> None:
        """The command has no descriptor of the record, nor any other of the tracer's."""
        source = "import os\nprint(ascii(sorted(os.listdir('/proc/self/fd'))))"
        traced = tracery.run(*tracery.script(source), syscalls=("mkdir",))
        # The fourth is the one that lists the directory.
        rule.equals(traced.ran.stdout, b"['0', '1', '2', '3']\n", f"the descriptors ({traced.ran})")

    def test_no_way_around(self, tracery: Tracery, rule: Rule) -> None:
        """A program can do nothing that is not recorded: a process that it starts with CLONE_UNTRACED, a
        call of a foreign architecture, io_uring or a listener of seccomp(2) is denied, or told."""
        traced = tracery.run(*tracery.script(_WAYS))
        rule.equals(traced.ran.exit.code, 0, f"the attempts: {traced.ran}")
        done = ast.literal_eval(traced.ran.stdout.decode())
        for way in ("a listener", "io_uring"):
            rule.holds(not done.pop(way), f"{way} could be made")
        record = traced.record
        unseen = [way for way, worked in done.items() if worked and not record.making(f"/tmp/{way}")]
        rule.holds(not unseen, f"directories were made, unseen, by way of {', '.join(unseen)}")

    def test_ends_with_the_tracer(self, tracery: Tracery, rule: Rule) -> None:
        """When the process that traces is killed, or another that it started to do so, the sandbox ends:
        nothing goes on untraced."""
        helpers, seen = 1, 0
        while seen < helpers:
            with tracery.start(*tracery.script(_BUSY), syscalls=("mkdir",)) as running:
                rule.equals(running.line(), "ready")
                (tracer,) = _children(running.launcher_pid)
                # The isolation has children; what helps to trace has none.
                found = [tracer, *(pid for pid in _children(tracer) if not _children(pid))]
                helpers = len(found)
                with open(f"/proc/{found[seen]}/comm") as file:
                    name = file.read().strip()
                os.kill(found[seen], signal.SIGKILL)
                self._ended(running, rule, name)
            seen += 1

    def _ended(self, running: Running, rule: Rule, name: str) -> None:
        """Wait for the end of all output, which a sandbox that goes on holds."""
        until = time.monotonic() + _SOON_S
        while not running.silent:
            rule.holds(time.monotonic() < until, f"{_SOON_S:.0f} s after {name} was killed it still ran")
            running.read_some()

    def test_ends_with_the_supervisor(self, tracery: Tracery, rule: Rule) -> None:
        """When the supervisor dies the sandbox ends, and the record is completed to the command's end."""
        with tracery.start(*tracery.script(_BUSY), syscalls=("mkdir",)) as running:
            rule.equals(running.line(), "ready")
            running.close_launcher()
            running.read_to_end("the end of every process inside")
            until = time.monotonic() + PATIENCE_S
            while b"killed by SIGKILL" not in tracery.written() and time.monotonic() < until:
                time.sleep(0.02)
        rule.holds(
            tracery.written().endswith(b"+++ killed by SIGKILL +++\n"),
            f"the record is {tracery.written()[-300:]!r}",
        )

    def test_unwritable(self, tracery: Tracery, rule: Rule) -> None:
        """When the record cannot be written any more the sandbox ends, and the reason is told."""
        with tracery.start(*tracery.script(_BUSY), log="/dev/full") as running:
            _, stderr = running.read_to_end("the end of the sandbox, whose record had no room")
            ran = running.finish()
        said = ran.untraced or ""
        rule.holds(os.strerror(28) in said, f"the reason is {said!r}: {ran}, {stderr!r}")
