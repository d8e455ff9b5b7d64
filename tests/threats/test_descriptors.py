"""Nothing of the caller's own descriptors, terminal and processes is within reach of the command."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pexpect
import pytest

from tests.support.attackers import INTERPRETER, Attacker
from tests.support.callers import Caller

REOPEN = "cat; for n in 0 1 2; do echo overwritten >/proc/self/fd/$n; echo more >>/proc/$$/fd/$n; done; true"


def test_a_file_behind_standard_input_cannot_be_reopened_for_writing(anybody: Attacker) -> None:
    file = anybody.caller.place / "input.txt"
    file.write_bytes(b"the caller's\n")
    os.chown(file, anybody.caller.uid, anybody.caller.gid)
    with open(file, "r+b") as opened:
        done = anybody.shell(REOPEN, stdin=opened)
    assert done.stdout.startswith(b"the caller's\n")
    assert file.read_bytes() == b"the caller's\n"


def test_a_file_behind_standard_output_cannot_be_cut_or_read(anybody: Attacker) -> None:
    file = anybody.caller.place / "log.txt"
    file.write_bytes(b"earlier lines\n")
    os.chown(file, anybody.caller.uid, anybody.caller.gid)
    script = (
        ": >/proc/self/fd/1; truncate -s0 /proc/self/fd/1 /dev/stdout; timeout 1 head -c5 <&1 >&2; echo new"
    )
    with open(file, "a+b") as opened:
        done = anybody.shell(script, stdout=opened)
    assert file.read_bytes() == b"earlier lines\nnew\n"
    assert b"earli" not in done.stderr


KINDS = """
import os, stat, sys
print(ascii([stat.S_IFMT(os.fstat(n).st_mode) == stat.S_IFIFO for n in range(3)]), file=sys.stderr)
for n in range(3):
    try:
        print(ascii(os.listdir(f"/proc/self/fd/{n}")))
    except OSError:
        pass
"""


@pytest.mark.parametrize("kind", ["socket", "device", "terminal"])
def test_what_the_caller_has_open_is_never_passed_on(anybody: Attacker, kind: str) -> None:
    """The command's 0, 1 and 2 are pipes of ART's own, whatever the caller's are."""
    ends: list[int] = []
    if kind == "socket":
        ends += [end.detach() for end in socket.socketpair()]
    elif kind == "device":
        ends.append(os.open("/dev/zero", os.O_RDWR))
    else:
        ends += os.openpty()
    try:
        done = anybody.run(*INTERPRETER, KINDS, stdin=ends[0])
    finally:
        for fd in ends:
            os.close(fd)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"[True, True, True]\n")


def test_descriptors_that_art_inherited_stay_outside(anybody: Attacker) -> None:
    fds = [os.open(path, os.O_RDONLY) for path in ("/", "/etc/passwd", "/root")]
    try:
        listing = 'import os; print(ascii(sorted(map(int, os.listdir("/proc/self/fd")))))'
        done = anybody.run(*INTERPRETER, listing, pass_fds=fds)
    finally:
        for fd in fds:
            os.close(fd)
    # the fourth is the listing's own
    assert done.stdout == b"[0, 1, 2, 3]\n", done.stderr


def test_signals_to_the_own_group_and_to_everybody_stay_inside(anybody: Attacker) -> None:
    for target, statuses in (("0", (137,)), ("-1", (1, 137))):
        words = anybody.argv("sh", "-c", f"kill -9 {target}")
        done = anybody.caller.run(["sh", "-c", '"$@"; echo "status $?"', "sh", *words], env=anybody.variables)
        assert done.returncode == 0
        assert done.stdout in [b"status %d\n" % status for status in statuses]


TERMINAL = """
import fcntl, os, sys, termios
went = []
for path in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/pts/0", "/dev/pts/1"):
    try:
        os.close(os.open(path, os.O_RDWR))
        went.append(path)
    except OSError:
        pass
for fd in range(3):
    for character in b"touch pwned\\n":
        try:
            fcntl.ioctl(fd, termios.TIOCSTI, bytes([character]))
        except OSError:
            break
    else:
        went.append(f"TIOCSTI {fd}")
sys.stderr.write(ascii(went) + "\\n")
"""


def test_without_a_pty_there_is_no_terminal(anybody: Attacker) -> None:
    """Also when the caller's streams are terminals and the PTY was refused."""
    ours, theirs = os.openpty()
    try:
        argv = anybody.argv(*INTERPRETER, TERMINAL)
        process = anybody.caller.popen(
            argv, env=anybody.variables, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE
        )
        _, errors = process.communicate(timeout=30)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (process.returncode, errors) == (0, b"[]\n")


def test_no_input_can_be_put_into_the_callers_terminal(caller: Caller, workspace: Path) -> None:
    """What TIOCSTI pushes ends in the sandbox's own PTY; the caller's shell never reads it."""
    argv = caller.command(["sh", "-i"], {"PS1": "ready> "})
    with pexpect.spawn(argv[0], argv[1:], cwd=caller.place, timeout=30, echo=False) as terminal:
        terminal.expect_exact("ready> ")
        (workspace / "attack.py").write_text(TERMINAL)
        terminal.sendline(f"{caller.art_program} -m {workspace} -- python3 attack.py")
        terminal.expect_exact("ready> ")
        terminal.sendline("ls; echo end of list")
        terminal.expect_exact("end of list")
        terminal.sendline("exit")
        terminal.expect(pexpect.EOF)
    assert not (caller.place / "pwned").exists()
    assert not (workspace / "pwned").exists()
