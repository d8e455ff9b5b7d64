"""Many commands in one sandbox: what they share, and that each can be ended whatever it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.installed_copies import Installed
from tests.support.sandbox_programs import program

ESCAPES = {
    "sessions of their own": "setsid sh -c 'setsid sleep 1000 & sleep 1000' & sleep 1000",
    "children of nobody": "sh -c 'sh -c \"sleep 1000 & setsid sleep 1000 &\" &'; sleep 1000",
    "signals ignored": "trap '' INT TERM HUP; sh -c 'sleep 1000; sleep 1000' & sleep 1000; sleep 1000",
    "a first thread that ended": """python3 -c 'if True:
        import ctypes, threading, time
        threading.Thread(target=time.sleep, args=(1000,)).start()
        ctypes.CDLL(None).pthread_exit(None)' & sleep 1000""",
    "always another process": """python3 -c 'if True:
        import os
        while True:
            if os.fork(): os._exit(0)
            os.setsid()' & sleep 1000""",
}


def test_a_command_is_ended_with_all_that_it_started(
    caller: Caller, installed: Installed, workspace: Path
) -> None:
    program(
        caller,
        installed,
        workspace,
        f"ESCAPES = {ESCAPES!r}\n"
        """
with Sandbox(WORKSPACE) as box:
    for name, script in ESCAPES.items():
        other = box.start(["sleep", "1000"])
        with box.start(["sh", "-c", script], stdout=DEVNULL, stderr=DEVNULL) as process:
            while count(box) < 4: time.sleep(0.01)
            process.kill()
            assert process.wait()[:2] == (137, "signal"), name
        assert other.poll() is None, name
        other.close()
        alone(box)
    # So it is with what it left running, and when its time is over.
    with box.start(["sh", "-c", "setsid sleep 1000 & echo started"], stderr=DEVNULL) as process:
        assert process.wait().code == 0
        process.kill()
        alone(box)
    try:
        box.run(["sh", "-c", "setsid sleep 1000 & echo before; sleep 1000"], timeout=0.2)
    except TimeoutExpired as error:
        assert error.stdout == b"before\\n"
    alone(box)
""",
    )


def test_a_command_cannot_get_at_what_starts_and_ends_it(
    caller: Caller, installed: Installed, workspace: Path
) -> None:
    program(
        caller,
        installed,
        workspace,
        """
        LOOK = '''if True:
            import ctypes, os
            libc, found = ctypes.CDLL(None, use_errno=True), []
            for pid in (1, os.getppid()):
                for name in ("mem", "environ", "maps", "fd/3", "cwd", "exe"):
                    try: os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY)); found.append((pid, name))
                    except OSError: pass
                try: found += os.listdir(f"/proc/{pid}/fd")
                except OSError: pass
                found += [request for request in (16, 0x4206) if libc.ptrace(request, pid, 0, 0) == 0]
            print(found, sorted(os.listdir("/proc/self/fd"))[:-1])
        '''
        with Sandbox(WORKSPACE) as box:
            os.set_inheritable(os.open("/etc/passwd", os.O_RDONLY), True)
            assert box.run(["python3", "-c", LOOK]).stdout == b"[] ['0', '1', '2']\\n"
            for attack in (
                "kill -9 1; kill -STOP 1; kill -SEGV 1",
                "kill -9 -1",
                "setsid sleep 1000 & kill -9 $PPID",
                "setsid sleep 1000 & kill -STOP $PPID",
                "setsid sleep 1000 & kill -TERM $PPID",
                "setsid sleep 1000 & prlimit --pid $PPID --nofile=0 --nproc=0",
                "pkill -9 python; pkill -9 art; pkill -9 -f -- art_core",
            ):
                outcome = raised(box.run, ["sh", "-c", f"{attack}; sleep 1000"], timeout=0.3)
                assert isinstance(outcome, Result) or outcome.startswith("TimeoutExpired"), outcome
                alone(box)
            box.run(["prlimit", "--pid", "1", "--nofile=6:6"])
            outcome = raised(box.run, ["true"])  # It starts no more, and says so.
            assert isinstance(outcome, str) and "has ended" in outcome, outcome
        """,
    )


def test_what_cannot_be_ended_in_time_takes_the_other_commands_along_and_the_sandbox_goes_on(
    caller: Caller, installed: Installed, workspace: Path
) -> None:
    program(
        caller,
        installed,
        workspace,
        """
        from art_core.inside import commands, execution
        with open(commands.__file__) as file: source = file.read()
        impatient = source.replace("_PATIENCE_S = 1.0", "_PATIENCE_S = -1.0")
        assert impatient != source
        execution.code_inside = lambda: compile(impatient, "impatient", "exec")
        with Sandbox(WORKSPACE) as box:
            two = ["sh", "-c", "sleep 1000; true"]
            with box.start(["sleep", "1000"]) as other, box.start(two) as process:
                while count(box) < 5: time.sleep(0.01)
                process.kill()
                assert [one.wait().code for one in (process, other)] == [137, 137]
            alone(box)
            assert box.run(["echo", "goes on"]).stdout == b"goes on\\n"
        """,
    )


@pytest.mark.slow
def test_a_storm_of_processes_ends_too(plain: Caller, installed: Installed) -> None:
    """It may take the other commands along; the sandbox goes on."""
    with fresh_directory(plain) as workspace:
        program(
            plain,
            installed,
            workspace,
            """
            STORM = '''if True:
                import os
                for _ in range(150):
                    if os.fork() == 0: break
                while True:
                    if os.fork(): os._exit(0)
                    os.setsid()
            '''
            with Sandbox(WORKSPACE) as box:
                with box.start(["python3", "-c", STORM], stdout=DEVNULL, stderr=DEVNULL) as process:
                    time.sleep(0.2)
                    process.kill()
                alone(box)
                assert box.run(["echo", "goes on"]).stdout == b"goes on\\n"
            """,
        )


def test_what_a_command_leaves_is_there_for_the_next_one_and_nobody_waits_for_it(
    caller: Caller, installed: Installed, workspace: Path
) -> None:
    program(
        caller,
        installed,
        workspace,
        """
        with Sandbox(WORKSPACE, network="none") as box:
            begin = time.monotonic()
            done = box.run(["sh", "-c", "sleep 1000 & echo $! >/tmp/pid; echo out; echo err >&2"])
            assert (done.stdout, done.stderr, time.monotonic() - begin < 5) == (b"out\\n", b"err\\n", True)
            assert box.run(["sh", "-c", "kill -0 $(cat /tmp/pid) && pwd"], cwd="/usr").stdout == b"/usr\\n"
            assert box.run(["sh", "-c", "yes & sleep 0.1"]).status == 0, "what it left goes on to print"
            left = box.start(["sleep", "1000"])
        assert (left.wait()[:2], left.wait().why) == ((137, "signal"), "the sandbox was closed")
        left.close()
        assert raised(box.run, ["true"]) == "IsolationError: this sandbox was closed; open another"
        """,
    )


def test_files_are_read_and_written_as_by_a_command(
    caller: Caller, installed: Installed, workspace: Path
) -> None:
    secret = caller.home / "secret"
    caller.run(["sh", "-c", f"echo secret >{secret}"])
    program(
        caller,
        installed,
        workspace,
        f"""
        with Sandbox(WORKSPACE, database=DATABASE) as box:
            box.write("big", bytes(range(256)) * 20000)
            assert box.read("big") == bytes(range(256)) * 20000
            box.write("~/a", "one "), box.write("~/a", "two", append=True)
            assert box.run(["cat", "/home/agent/a"]).stdout == b"one two"
            box.run(["sh", "-c", "ln -s {secret} link; ln -s /proc/1/oom_score_adj proc; mkfifo pipe; "
                     "ln -s /usr/bin/env env; mkdir dir; touch dir/b dir/a"])
            assert box.listdir("dir") == ["a", "b"]
            for what, path, error in (
                (box.read, "link", FileNotFoundError), (box.read, "missing", FileNotFoundError),
                (box.read, "pipe", OSError), (box.read, "dir", IsADirectoryError),
                (box.read, "/dev/zero", OSError), (box.listdir, "big", NotADirectoryError),
                (box.read, "a\\0b", OSError),
            ):
                try: what(path)
                except error: continue
                raise AssertionError(path)
            for path in ("proc", "pipe", "env", "/etc/passwd", "/usr/new", "dir"):
                try: box.write(path, "x")
                except OSError: continue
                raise AssertionError(path)
        """,
    )
    secret.unlink()


def test_what_the_home_was_like_and_what_changed(
    caller: Caller, installed: Installed, workspace: Path
) -> None:
    printed = program(
        caller,
        installed,
        workspace,
        """
        with Sandbox(WORKSPACE, database=DATABASE) as box:
            box.write("file", "one"), box.write("~/other", "first")
            assert box.snapshot("before").name == "before"
            box.run(["sh", "-c", "echo two >file; echo second >~/other; mkdir made"])
            print([(change.path.decode(), *change.what) for change in box.diff("before")])
            print([(change.path.decode(), *change.what) for change in box.diff()])
            print(*(box.read(path, at="before") for path in ("file", "~/other")), box.read("file", at="main"))
            print(len(box.snapshots()), box.snapshot().name.startswith("snapshot-"))
            print(raised(box.snapshot, "before"))
            print(raised(box.read, "file", at="nowhere"))
        with Sandbox(WORKSPACE) as box:
            print(raised(box.snapshot))
        """,
    )
    assert printed.splitlines()[:4] == [
        "[('file', 'modified'), ('made', 'added')]",
        "[('file', 'added'), ('made', 'added')]",
        "b'one' b'first' b'two\\n'",
        "1 True",
    ]
    taken, nowhere, none = printed.splitlines()[4:]
    assert "'before'" in taken and "'nowhere'" in nowhere and "database" in none


def test_all_of_a_command_is_found_where_the_machines_own_proc_is_shown(
    caller: Caller, installed: Installed, workspace: Path
) -> None:
    """As in a container that forbids a new one: the numbers there are others than inside."""
    program(
        caller,
        installed,
        workspace,
        """
        with Sandbox(WORKSPACE) as box:
            bwrap = box._preparation.isolation
            abilities = bwrap.abilities._replace(own_proc=False)
            box._preparation.isolation = bwrap._replace(abilities=abilities)
            assert box.run(["readlink", "/proc/self"]).stdout != b"3\\n"
            for end in ("sleep 1000", "kill -9 $PPID; sleep 1000"):
                script = f"setsid sleep 1000 >/dev/null & echo $! >/tmp/pid; {end}"
                outcome = raised(box.run, ["sh", "-c", script], timeout=0.2)
                gone = "for i in $(seq 100); do kill -0 $(cat /tmp/pid) || exit 0; sleep 0.02; done; exit 1"
                assert box.run(["sh", "-c", gone]).status == 0, outcome
        """,
    )


def test_a_record_has_all_commands_and_nothing_of_what_starts_them(
    plain: Caller, installed: Installed
) -> None:
    with fresh_directory(plain) as workspace:
        printed = program(
            plain,
            installed,
            workspace,
            """
            LOG = WORKSPACE + "/../trace.log"
            with Sandbox(WORKSPACE, trace=True, trace_log=LOG, trace_syscalls=["execve"]) as box:
                for number in (1, 2):
                    assert box.run(["sh", "-c", f"/bin/echo {number}; /bin/echo; true"]).status == 0
                assert box.run(["no-such"]).status == 127
                box.write("file", "x")
                print(raised(box.run, ["sh", "-c", "setsid sleep 1000 & sleep 1000"], timeout=0.3))
            with open(LOG) as file: lines = file.read().splitlines()
            first = {line.split()[0]: line.split(" ", 1)[1] for line in reversed(lines)}
            print(sum(text.startswith("execve(") for text in first.values()), len(first))
            print(sum("no-such" in line for line in lines) > 1, any("art-session" in line for line in lines))
            with Sandbox(WORKSPACE, trace=True) as box: print(raised(box.run, ["true"]))
            """,
        )
    timed_out, processes, others, refused = printed.splitlines()
    assert timed_out.startswith("TimeoutExpired")
    executed, all_of_them = map(int, processes.split())
    assert executed >= 7 and all_of_them - executed <= 1, (
        "what setsid is started in may fork before it executes"
    )
    assert others == "True False", printed
    assert "trace_log" in refused
