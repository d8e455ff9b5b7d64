"""Rules of a tracer: which calls and which processes are in the record of one command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from art_core.testing.rules import Rule

if TYPE_CHECKING:
    from art_core.testing.tracer.case import Traced

TOUR = r"""
import os, signal, subprocess, sys, threading
told = {}
def child(work):
    pid = os.fork()
    if pid == 0:
        try: os._exit(work() or 0)
        finally: os._exit(99)
    return pid
def ended(pid): return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def many(name):
    for n in range(50): os.mkdir(f"/tmp/{name}-{n}")

os.mkdir("/tmp/itself")
try: os.rmdir("/tmp/missing")
except OSError as error: told["errno"] = error.errno
os.mkdir(b"/tmp/\x1b[2J\r\n4242 +++ exited with 0 +++\n\xff\"")

def forked():
    os.mkdir("/tmp/forked")
    return 3
told["forked"] = ended(child(forked))
alive, held = os.pipe()
def orphan():
    os.setsid()
    def left():
        os.mkdir("/tmp/orphan")
    child(left)
told["orphan"] = ended(child(orphan))
os.close(held)
os.read(alive, 1)

threads = [threading.Thread(target=many, args=(f"thread{n}",)) for n in range(4)]
for thread in threads: thread.start()
workers = [child(lambda: many(f"fork{n}")) for n in range(0, 2)]
for thread in threads: thread.join()
told["workers"] = [ended(pid) for pid in workers]

told["spawned"] = subprocess.run(["/bin/mkdir", "/tmp/spawned"]).returncode
def executes():
    command = "mkdir /tmp/executed-by-a-thread; exit 5"
    thread = threading.Thread(target=os.execv, args=("/bin/sh", ["sh", "-c", command]))
    thread.start()
    thread.join()
told["thread exec"] = ended(child(executes))

def handles():
    signal.signal(signal.SIGUSR1, lambda number, frame: os.mkdir("/tmp/handled"))
    os.kill(os.getpid(), signal.SIGUSR1)
told["handled"] = ended(child(handles))
def stops():
    os.kill(os.getpid(), signal.SIGSTOP)
    return 6
pid = child(stops)
told["stopped"] = os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
os.kill(pid, signal.SIGCONT)
told["continued"] = ended(pid)
told["killed"] = ended(child(lambda: os.kill(os.getpid(), signal.SIGTERM)))
print(ascii(told))
sys.exit(7)
"""
"""What the tour does, and prints, to the end with status 7."""

_TOLD = {
    "errno": 2,
    "forked": 3,
    "orphan": 0,
    "workers": [0, 0],
    "spawned": 0,
    "thread exec": 5,
    "handled": 0,
    "stopped": True,
    "continued": 6,
    "killed": -15,
}
_OF_ISOLATIONS = ("pivot_root", "mount", "umount2", "setns", "unshare", "sethostname")


class CallRules:
    def test_command_undisturbed(self, tour: Traced, rule: Rule) -> None:
        """A command does, prints and ends with the same as without a trace: signals are handled,
        processes stop and go on, children are waited for, and a thread may execute a program."""
        rule.equals(tour.ran.stdout, ascii(_TOLD).encode() + b"\n", f"{tour.ran}")
        rule.equals((tour.ran.exit.code, tour.ran.exit.by), (7, "command"), f"{tour.ran}")

    def test_begins_with_the_command(self, tour: Traced, rule: Rule) -> None:
        """The first call of a record is the exec of the command itself: nothing that the isolation did
        on the way to it, in whatever process, is in the record."""
        record = tour.record
        rule.holds(record.calls, "there is no call in it")
        first = record.calls[0]
        rule.holds(
            first.name == "execve" and first.result == "0" and "python" in first.arguments.split(",")[0],
            f"the first call is {first.name}({first.arguments}) = {first.result}",
        )
        rule.equals(first.thread, record.threads[0], "who appears first")
        others = [call for call in record.calls if call.name in _OF_ISOLATIONS]
        rule.holds(not others, f"calls of the isolation: {others[:3]}")

    def test_whole_lines(self, tour: Traced, rule: Rule) -> None:
        """Each line of a text is one whole event: `PID call(arguments) = result`, `PID --- SIGNAL ---` or
        `PID +++ end +++`, with the host's number of the thread first; a call stands on one line also
        when others were made before it ended."""
        record = tour.record
        torn = [call for call in record.calls if "unfinished ..." in call.arguments or " = " in call.name]
        rule.holds(not torn, f"torn calls: {torn[:3]}")
        joined = re.search(rb"\) += \S+.* \d+(?:/\d+)? +(?:\w+\(|\+\+\+ |--- )", tour.content)
        rule.holds(joined is None, f"two events on one line: {joined and joined[0]!r}")
        calls = len(re.findall(rb"(?m)^\d+(?:/\d+)? +\w+\(", tour.content))
        rule.equals(len(record.calls), calls, "the calls that were read")

    def test_every_call(self, tour: Traced, rule: Rule) -> None:
        """Every call is recorded once, with its result, also when threads and processes make calls at
        the same time."""
        record = tour.record
        for who in ("thread0", "thread1", "thread2", "thread3"):
            for number in range(50):
                found = record.making(f"/tmp/{who}-{number}")
                rule.equals([call.result for call in found], ["0"], f"mkdir of {who}-{number}")

    def test_errors(self, tour: Traced, rule: Rule) -> None:
        """A call that failed has the result -1 and the name of its errno."""
        found = tour.record.named("rmdir", "unlinkat")
        told = [call.failed for call in found if '"/tmp/missing"' in call.arguments]
        rule.equals(told, ["ENOENT"], "the rmdir of what is not there")

    def test_escaped(self, tour: Traced, rule: Rule) -> None:
        """What a program names is written so that it can neither end a line nor drive a terminal: every
        byte of a text is printable ASCII or ends a line."""
        strange = re.search(rb"[^\x20-\x7e\n]", tour.content)
        rule.holds(strange is None, f"there is {strange}")
        forged = [line for line in tour.content.splitlines() if line.startswith(b"4242 ")]
        rule.holds(not forged, f"a program wrote a line of its own: {forged}")
        found = [call for call in tour.record.named("mkdir", "mkdirat") if "[2J" in call.arguments]
        rule.equals(len(found), 1, "calls that name the directory with control characters")


class ProcessRules:
    def test_follows_forks(self, tour: Traced, rule: Rule) -> None:
        """Processes that the command forks are in the record under numbers of their own, also those that
        outlive their parent and leave its session."""
        record = tour.record
        command = record.threads[0]
        for path in ("/tmp/forked", "/tmp/orphan"):
            found = record.making(path)
            rule.equals([call.result for call in found], ["0"], f"mkdir of {path}")
            rule.holds(found[0].thread != command, f"{path} is told of the command itself")
        for number in range(50):
            for worker in ("fork0", "fork1"):
                found = record.making(f"/tmp/{worker}-{number}")
                rule.equals([call.result for call in found], ["0"], f"mkdir of {worker}-{number}")

    def test_follows_threads(self, tour: Traced, rule: Rule) -> None:
        """Threads are in the record under numbers of their own."""
        record = tour.record
        found = [record.making(f"/tmp/thread{number}-0") for number in range(4)]
        rule.holds(all(found), "a thread's calls are missing")
        threads = {calls[0].thread for calls in found} - {record.threads[0]}
        rule.equals(len(threads), 4, "threads that made the directories")

    def test_follows_exec(self, tour: Traced, rule: Rule) -> None:
        """What is executed is in the record, with what it does then: a program that was spawned
        (vfork(2)), and one that a thread executed in place of its whole process."""
        record = tour.record
        for program, path in (("mkdir", "/tmp/spawned"), ("sh", ""), ("mkdir", "/tmp/executed-by-a-thread")):
            execs = [call for call in record.running(program) if f'"{path}"' in call.arguments or not path]
            rule.equals(len(execs), 1, f"execs of {program} {path}")
            if path:
                found = record.making(path)
                rule.equals([call.thread for call in found], [execs[0].thread], f"who made {path}")

    def test_every_end(self, tour: Traced, rule: Rule) -> None:
        """The end of every thread is the last that is told of it: its exit status, or the signal that
        killed it; a thread that executes a program goes on as its process, which is superseded. The
        record is complete when the command has ended."""
        record = tour.record
        superseded = [end for end in record.ends if end.how.startswith("superseded")]
        rule.equals(len(superseded), 1, "processes that were superseded by a thread's exec")
        rule.holds(len(record.endless()) <= 1, f"the ends of {record.endless()} are not told")
        told = [end.how for end in record.ends if end.thread == record.threads[0]]
        rule.equals(told, ["exited with 7"], "the end of the command")
        killed = [end.how for end in record.ends if end.how.startswith("killed by SIGTERM")]
        rule.equals(len(killed), 1, "ends by SIGTERM")

    def test_signals(self, tour: Traced, rule: Rule) -> None:
        """Signals that reach a process are told, and so is that it stopped."""
        signals = tour.record.signals
        for name in ("SIGUSR1", "SIGTERM", "SIGCONT", "stopped by SIGSTOP"):
            rule.holds(any(f"--- {name}" in line for line in signals), f"no {name} among {signals}")
