"""From inside nobody gains a privilege, writes to the host, or reaches what the kernel offers to root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.attackers import Attacker
from tests.support.callers import Caller, fresh_directory

PRIVILEGED = """
import ctypes, os, stat
libc = ctypes.CDLL(None, use_errno=True)
null = None
def call(name, *arguments):
    return getattr(libc, name)(*arguments) == 0
def tried(function, *arguments):
    try:
        function(*arguments)
    except OSError:
        return False
    return True
REMOUNT, BIND, DETACH, NODEV = 32, 4096, 2, 4
done = {
    "umount a mask": call("umount2", b"/root", DETACH),
    "umount /proc/sys": call("umount2", b"/proc/sys", DETACH),
    "umount /": call("umount2", b"/", DETACH),
    "remount / writable": call("mount", null, b"/", null, REMOUNT | BIND, null),
    "remount /usr writable": call("mount", null, b"/usr", null, REMOUNT | BIND, null),
    "bind over /etc": call("mount", b"/tmp", b"/etc", null, BIND, null),
    "mount a tmpfs": call("mount", b"none", b"/tmp", b"tmpfs", 0, null),
    "mount proc": call("mount", b"proc", b"/proc", b"proc", 0, null),
    "chroot": tried(os.chroot, "/tmp"),
    "pivot_root": libc.syscall(155, b"/tmp", b"/tmp") == 0,
    "open_tree": libc.syscall(428, -100, b"/", 1) >= 0,
    "fsopen": libc.syscall(430, b"tmpfs", 0) >= 0,
    "mknod a disk": tried(os.mknod, "/tmp/disk", stat.S_IFBLK | 0o666, os.makedev(8, 0)),
    "mknod /dev/mem": tried(os.mknod, "/tmp/mem", stat.S_IFCHR | 0o666, os.makedev(1, 1)),
    "setuid 0": tried(os.setuid, 0),
    "setgid 0": tried(os.setgid, 0),
    "setgroups": tried(os.setgroups, [0]),
    "sethostname": call("sethostname", b"owned", 5),
    "chown to another": tried(os.chown, os.open("/tmp/own", os.O_CREAT), 0, 0),
    "set the clock": libc.syscall(227, 0, b"\\0" * 16) == 0,
    "swapon": call("swapon", b"/tmp/own", 0),
    "load a module": libc.syscall(175, b"", 0, b"") == 0,
    "signal the host's processes": tried(os.kill, 2, 0) and len(os.listdir("/proc")) > 500,
    "raise priority": tried(os.setpriority, os.PRIO_PROCESS, 0, -20),
    "lower the oom score": tried(os.write, os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"-1000"),
}
print(ascii([what for what, went in done.items() if went]))
"""


def test_nothing_privileged_goes_through(anybody: Attacker) -> None:
    assert anybody.learn(PRIVILEGED) == []


WRITING = """
import errno, os, sys
found = set()
tops = {"/" + name for name in os.listdir("/")} | {"/"} | set(sys.argv[1:])
tops |= {line.split()[4].encode().decode("unicode_escape") for line in open("/proc/self/mountinfo")}
for top in list(tops):
    try:
        tops |= {os.path.join(top, name) for name in os.listdir(top)[:200]}
    except OSError:
        pass
for path in sorted(tops):
    try:
        if os.path.isdir(path):
            probe = os.path.join(path, "art-probe")
            os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            os.unlink(probe)
        elif os.path.isfile(path):
            os.close(os.open(path, os.O_WRONLY))
            os.utime(path)
        else:
            continue
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT):
            found.add(f"{path}: {error}")
    else:
        found.add(path)
print(ascii(sorted(found)))
"""


def test_writing_works_nowhere_but_in_the_places_given(attacker: Attacker) -> None:
    open_to_all = attacker.caller.place / "open"
    open_to_all.mkdir(exist_ok=True)
    open_to_all.chmod(0o777)
    (open_to_all / "file").touch()
    (open_to_all / "file").chmod(0o666)
    os.chown(open_to_all, attacker.caller.uid, attacker.caller.gid)
    found = attacker.learn(WRITING, open_to_all, open_to_all / "file", "/dev/shm", "/home/agent")
    own = {"/tmp", "/home/agent", "/home/agent/ws", str(attacker.workspace), "/dev/shm"}
    assert set(found) == own


KERNEL = """
import errno, os
went, numbers = [], set()
paths = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches",
         "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger"]
for top in ("/proc/irq", "/proc/bus", "/proc/fs", "/sys"):
    for directory, names, files in os.walk(top):
        paths += [os.path.join(directory, name) for name in files[:5]]
        if len(paths) > 5000:
            break
for path in paths:
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        numbers.add(errno.errorcode[error.errno])
    else:
        went.append(path)
for path in paths[:4]:
    try:
        os.truncate(path, 0)
    except OSError as error:
        numbers.add(errno.errorcode[error.errno])
    else:
        went.append(path)
print(ascii((went, sorted(numbers))))
"""


def test_the_kernels_switches_cannot_be_opened_for_writing(anybody: Attacker) -> None:
    """Where uid 0 is kept, file modes stop nobody: there the mount has to, and does."""
    went, numbers = anybody.learn(KERNEL)
    assert went == []
    assert set(numbers) <= {"EROFS", "EACCES", "EPERM", "ENOENT", "ENXIO"}
    if anybody.variables.get("ART_ROOT_AS") == "root":
        assert "EROFS" in numbers


NAMESPACES = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
kinds = {"user": 0x10000000, "mnt": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x8000000,
         "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}
went = []
for name, flag in kinds.items():
    child = os.fork()
    if not child:
        os._exit(0 if libc.unshare(flag) == 0 else 1)
    if os.waitpid(child, 0)[1] == 0:
        went.append(name)
    if name == "time":
        continue  # its bit is part of clone's signal number
    child = libc.syscall(56, flag | 17, 0, 0, 0, 0)
    if child == 0:
        libc._exit(0)
    if child > 0:
        went.append(f"clone {name}")
for name in os.listdir("/proc/1/ns"):
    try:
        fd = os.open(f"/proc/1/ns/{name}", os.O_RDONLY)
    except OSError:
        continue
    if libc.setns(fd, 0) == 0:
        went.append(f"setns {name}")
print(ascii(went))
"""


def test_no_namespace_can_be_made_or_entered(anybody: Attacker) -> None:
    assert anybody.learn(NAMESPACES) == []


def test_nested_namespaces_give_no_power_over_the_host(anybody: Attacker) -> None:
    """With --nested a program may be root in a user namespace of its own; mounts of ours stay locked."""
    script = """
        unshare --user --map-root-user --mount sh -c '
            id -u
            umount -l /root 2>/dev/null && echo unmounted
            mount -o remount,bind,rw /usr 2>/dev/null && echo remounted
            mount -o remount,bind,rw / 2>/dev/null && echo remounted root
            : >/usr/art-probe && echo wrote
            cat /etc/shadow && echo read
            : >/proc/sys/kernel/core_pattern && echo core
            exit 0'
    """
    kept = anybody.variables.get("ART_ROOT_AS") == "root"  # It nests with a database alone.
    done = anybody.shell(script, options=["--nested", *(["-d", f"{anybody.workspace}.db"] if kept else [])])
    assert done.stdout == b"0\n", done


SYSTEM_CALLS = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
zeros = ctypes.create_string_buffer(4096)
calls = {"keyctl": (250, 0, -3, 1), "add_key": (248, b"user", b"x", b"y", 1, -3),
         "request_key": (249, b"user", b"x", 0, -3), "bpf": (321, 0, zeros, 128),
         "perf_event_open": (298, zeros, 0, -1, -1, 0), "userfaultfd": (323, 1),
         "kexec_load": (246, 0, 0, 0, 0), "kexec_file_load": (320, -1, -1, 0, b"", 0),
         "open_by_handle_at": (304, -100, zeros, 0), "io_uring_setup": (425, 1, zeros),
         "io_uring_enter": (426, 0, 0, 0, 0, 0, 0), "io_uring_register": (427, -1, 0, 0, 0)}
answers = {}
for name, arguments in calls.items():
    ctypes.set_errno(0)
    libc.syscall(*arguments)
    answers[name] = errno.errorcode.get(ctypes.get_errno(), "worked")
for name, family in (("vsock", socket.AF_VSOCK), ("alg", socket.AF_ALG), ("packet", socket.AF_PACKET)):
    try:
        socket.socket(family, socket.SOCK_DGRAM if family != socket.AF_ALG else socket.SOCK_SEQPACKET, 0)
        answers[name] = "worked"
    except OSError as error:
        answers[name] = errno.errorcode[error.errno]
print(ascii(answers))
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
def test_dangerous_system_calls_are_refused(anybody: Attacker) -> None:
    answers = anybody.learn(SYSTEM_CALLS)
    assert {name: answer for name, answer in answers.items() if answer == "worked"} == {}
    refused = {"keyctl", "add_key", "request_key", "bpf", "perf_event_open", "open_by_handle_at"}
    assert {answers[name] for name in refused} == {"EPERM"}
    for options in ([], ["--trace-syscalls", "%network", "--trace-log", "/dev/null"]):
        answers = anybody.learn(SYSTEM_CALLS, options=options)
        io_uring = {answer for name, answer in answers.items() if name.startswith("io_uring")}
        assert io_uring == {"ENOSYS"}


FOREIGN = """
#include <errno.h>
#include <stdio.h>
int main(void) {
    long answer;
    /* getpid of the 32-bit table, through the gate that 64-bit programs can use as well */
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(20) : "memory");
    printf("%ld\\n", answer);
    return answer != -ENOSYS;
}
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="int 0x80 is x86's")
def test_the_gate_of_another_architecture_is_closed(attacker: Attacker) -> None:
    source = attacker.workspace / "gate.c"
    source.write_text(FOREIGN)
    done = attacker.shell("gcc -o /tmp/gate gate.c && /tmp/gate")
    assert (done.returncode, done.stdout) == (0, b"-38\n"), done.stderr
    open_gate = attacker.shell(
        "gcc -o /tmp/gate gate.c && /tmp/gate", options=["-c", "plugins.bwrap.foreign_architectures=true"]
    )
    assert int(open_gate.stdout) != -38


def test_a_set_user_id_program_gains_nothing(root: Caller, plain: Caller, bwrap: Path) -> None:
    """A set-user-ID copy of `id` of root's, in a place that the sandbox shows, run by a plain user."""
    with fresh_directory(root, "tools") as tools, fresh_directory(plain) as workspace:
        program = tools / "id"
        program.write_bytes(Path("/usr/bin/id").read_bytes())
        program.chmod(0o4755)
        attacker = Attacker(plain, workspace, ["-i=false", "-c", f"plugins.bwrap.program={bwrap}"])
        assert int(attacker.run(program, "-u").stdout) == plain.uid
        assert int(plain.run([program, "-u"]).stdout) == 0, "the program of this test gains nothing anywhere"


LIMITS = """
import os, resource
unsized = []
for line in open("/proc/self/mountinfo"):
    ours, _, theirs = line.partition(" - ")
    if theirs.startswith("tmpfs ") and "size=" not in theirs and ours.split()[5].startswith("rw"):
        unsized.append(ours)
facts = (resource.getrlimit(resource.RLIMIT_CORE), os.stat("/tmp").st_mode & 0o7777, unsized,
         int(open("/proc/self/oom_score_adj").read()) >= 500)
print(ascii(facts))
"""


def test_what_can_be_filled_has_a_size_and_no_core_is_dumped(anybody: Attacker) -> None:
    core, mode, unsized, victim = anybody.learn(LIMITS)
    assert (core, mode, unsized, victim) == ((0, 0), 0o1777, [], True)


def test_a_full_tmp_is_enospc(attacker: Attacker) -> None:
    options = ["-c", "plugins.bwrap.tmp_size=1M", "-c", "plugins.bwrap.home_size=2M"]
    done = attacker.shell(
        "head -c 3M /dev/zero >/tmp/x; head -c 3M /dev/zero >~/x; wc -c </tmp/x", options=options
    )
    assert done.stderr.count(b"No space left on device") == 2
    assert int(done.stdout) == 1 << 20


def test_masks_and_what_is_rebuilt_cannot_be_written(attacker: Attacker) -> None:
    places = ["/", "/home", "/root", "/run", "/dev", "/etc", "/mnt"]
    script = 'for place; do cd "$place"; true >art-probe && pwd; mkdir art-directory && pwd; done'
    assert attacker.shell(script, *places).stdout == b""


NODES = """
import os, sys, time
nodes = [os.path.join("/dev", name) for name in sys.argv[1:]]
changes = {
    "chmod": lambda path: os.chmod(path, os.stat(path).st_mode & 0o7777),
    "chown": lambda path: os.chown(path, os.getuid(), -1),
    "utime": lambda path: os.utime(path, (0, 0)),
    "setxattr": lambda path: os.setxattr(path, "trusted.art", b""),
}
went = []
for path in nodes:
    for name, change in changes.items():
        try: change(path)
        except OSError: continue
        went.append((name, path))
    fd = os.open(path, os.O_RDWR)
    try: os.fchmod(fd, 0o666)
    except OSError: pass
    else: went.append(("fchmod", path))
    os.close(fd)
open("/dev/null", "w").write("x")
assert len(open("/dev/urandom", "rb").read(3)) == 3
open("/dev/shm/own", "w").write("x")
print(ascii(went))
"""


@pytest.mark.parametrize("kept", [False, True], ids=["direct", "kept"])
def test_the_hosts_device_nodes_keep_their_modes_owners_and_times(anybody: Attacker, kept: bool) -> None:
    names = ["null", "zero", "full", "random", "urandom"]
    before = [os.stat(f"/dev/{name}") for name in names]
    options = ["-d", anybody.caller.place / f"{os.urandom(4).hex()}.db"] if kept else []
    assert anybody.learn(NODES, *names, options=options) == []
    after = [os.stat(f"/dev/{name}") for name in names]
    assert [(found.st_mode, found.st_uid) for found in before] == [
        (found.st_mode, found.st_uid) for found in after
    ]
