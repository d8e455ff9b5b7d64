"""Rules of a tracer: which calls are chosen, and the forms of a record."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from art_core.testing.rules import Rule, requires

if TYPE_CHECKING:
    from art_core.testing.tracer.case import Tracery

_WORK = r"""
import os, socket, subprocess
os.mkdir("/tmp/first")
open("/tmp/first/file", "w").close()
open("/tmp/first/file").close()
with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s: s.connect_ex(("127.0.0.1", 9))
try: os.rmdir("/tmp/missing")
except OSError: pass
subprocess.run(["/bin/mkdir", "/tmp/second"])
os.rename("/tmp/first/file", "/tmp/first/moved")
os.unlink("/tmp/first/moved")
os.rmdir("/tmp/first")
os.kill(os.getpid(), 9)
"""

CALL_KEYS = {"syscall", "args", "ret", "errno", "duration"}
EVENT_KEYS = {"ts", "pid", "tid", "host_pid", "host_tid", "comm"}
OTHERS = ({"signal", "info"}, {"stopped"}, {"superseded_by"}, {"exited"}, {"killed"})
"""What docs/tracing.md lists: the keys of every object, those of a call, and those of all else."""


class ChoiceRules:
    def test_unknown_call(self, tracery: Tracery, rule: Rule) -> None:
        """A call that does not exist is refused by filters(), before anything is started: in one line,
        with the word and the nearest that exists."""
        for word, near in (("opennat", "openat"), ("conect", "connect")):
            said = tracery.refusal("mkdir", word)
            rule.holds("\n" not in said and word in said, f"the refusal of {word!r} is {said!r}")
            rule.holds(re.search(rf"\b{near}\b", said), f"{near} is not offered: {said!r}")

    def test_chosen_calls(self, tracery: Tracery, rule: Rule) -> None:
        """With calls chosen only those are in the record, of every process, and all ends."""
        traced = tracery.run(*tracery.script(_WORK), syscalls=("mkdir", "mkdirat", "rmdir"))
        record = traced.record
        names = {call.name for call in record.calls}
        rule.holds(names <= {"mkdir", "mkdirat", "rmdir"}, f"there are {sorted(names)}")
        for path in ("/tmp/first", "/tmp/second"):
            rule.equals([call.result for call in record.making(path)], ["0"], f"mkdir of {path}")
        rule.equals(len(record.named("rmdir")), 2, "calls of rmdir")
        rule.holds(not record.endless(), f"the ends of {record.endless()} are not told")

    @requires("classes")
    def test_classes(self, tracery: Tracery, rule: Rule) -> None:
        """`%network` chooses the calls of the network, and an unknown class is refused with those that
        exist."""
        said = tracery.refusal("%netwrk")
        rule.holds("%netwrk" in said or "netwrk" in said, f"the refusal is {said!r}")
        rule.holds("network" in said, f"network is not offered: {said!r}")
        record = tracery.run(*tracery.script(_WORK), syscalls=("%network",)).record
        names = {call.name for call in record.calls}
        rule.holds({"socket", "connect"} <= names, f"there are only {sorted(names)}")
        rule.holds(not names & {"openat", "mkdir", "execve", "read"}, f"there are {sorted(names)}")

    @requires("agent")
    def test_agent(self, tracery: Tracery, rule: Rule) -> None:
        """`agent` chooses what changes something, starts a program or reaches somebody, and leaves out
        what only reads."""
        record = tracery.run(*tracery.script(_WORK), syscalls=("agent",)).record
        opened = record.named("open", "openat")
        rule.equals(len(opened), 1, f"opens ({opened[:3]})")
        rule.holds("O_WRONLY" in opened[0].arguments, f"{opened[0].arguments} is told")
        for name in ("execve", "mkdir", "connect", "rename", "unlink", "rmdir"):
            wanted = (name, f"{name}at", "renameat2", "unlinkat")
            rule.holds(record.named(*wanted), f"there is no {name}")
        rule.holds(not record.named("read", "mmap", "close", "newfstatat"), "what only reads is told")


class FormatRules:
    @requires("jsonl")
    def test_jsonl(self, tracery: Tracery, rule: Rule) -> None:
        """With the format jsonl each line is an object: for a call `ts`, `pid`, `tid`, `host_pid`,
        `host_tid`, `comm`, `syscall`, `args`, `ret`, `errno` and `duration`, times in nanoseconds; signals,
        stops and ends have the keys of the documentation."""
        before = time.time_ns()
        traced = tracery.run(*tracery.script(_WORK), format="jsonl")
        objects = [self._object(rule, line) for line in traced.content.decode().splitlines()]
        rule.holds(objects and traced.content.endswith(b"\n"), f"the record is {traced.content[-200:]!r}")
        for event in objects:
            rule.holds(before <= event["ts"] <= time.time_ns(), f"ts of {event}")
        made = [event for event in objects if str(event.get("args", "")).find("/tmp/first") > 0]
        made = [event for event in made if event["syscall"].startswith("mkdir")]
        rule.equals([(event["ret"], event["errno"]) for event in made], [(0, None)], "ret and errno of mkdir")
        rule.holds(0 <= made[0]["duration"] < 60 * 10**9, f"the duration is {made[0]['duration']}")
        failed = [event for event in objects if "/tmp/missing" in str(event.get("args", ""))]
        rule.equals([(event["ret"], event["errno"]) for event in failed], [(-1, "ENOENT")], "of rmdir")
        rule.equals(objects[-1].get("killed"), "SIGKILL", "the end of the command")
        rule.equals(objects[0].get("syscall"), "execve", "the first call")

    def _object(self, rule: Rule, line: str) -> dict[str, Any]:
        try:
            event = json.loads(line)
        except ValueError:
            rule.broken(f"a line is no JSON: {line!r}")
        rule.holds(isinstance(event, dict), f"a line is no object: {line!r}")
        keys = set(event) - EVENT_KEYS
        rule.holds(set(event) >= EVENT_KEYS, f"{sorted(EVENT_KEYS - set(event))} missing: {line}")
        rule.holds(keys == CALL_KEYS or keys in OTHERS, f"the keys are {sorted(keys)}: {line}")
        return dict(event)

    @requires("summary")
    def test_summary(self, tracery: Tracery, rule: Rule) -> None:
        """A summary counts the calls of all processes, and those that failed, instead of listing them: a
        row for each, its name last, the number of calls fourth."""
        chosen = ("mkdir", "mkdirat", "rmdir")
        traced = tracery.run(*tracery.script(_WORK), syscalls=chosen, summary=True)
        rows = {row[-1]: row for line in traced.content.decode().splitlines() if (row := line.split())}
        mkdir = rows.get("mkdir", rows.get("mkdirat", []))
        rule.equals(mkdir[3:4], ["2"], f"calls of mkdir in {sorted(rows)}")
        rule.equals(rows.get("rmdir", [])[3:5], ["2", "1"], "calls and errors of rmdir")
        rule.holds("/tmp/first" not in traced.content.decode().partition("total")[0], "calls are listed")
