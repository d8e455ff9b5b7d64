"""What programs do to a sandbox they use: threads, forks, being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.support.callers import Caller, fresh_directory
from tests.support.installed_copies import Installed
from tests.support.sandbox_programs import BEGIN, program

LEFT = "4711.5"
"""How long the sleepers of these tests sleep, which tells them from all others."""


def sleepers() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if LEFT.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def wait_until(condition: object) -> None:
    assert callable(condition)
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_caller_that_is_killed_leaves_nothing_not_even_with_a_child_that_lives_on(
    caller: Caller, installed: Installed, workspace: Path
) -> None:
    source = (
        BEGIN
        + f"""
box = Sandbox(WORKSPACE, database=DATABASE)
box.run(["sh", "-c", "setsid sleep {LEFT} & echo kept >kept"], stderr=STDOUT)
commands = [box.start(["sleep", "{LEFT}"]) for _ in range(3)]
if os.fork() == 0:
    os.setsid(); time.sleep(15); os._exit(0)
print("ready", flush=True)
time.sleep(60)
"""
    )
    with caller.popen(
        [installed.python, "-c", source, workspace], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        wait_until(lambda: len(sleepers()) == 4)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        wait_until(lambda: sleepers() == [])
        check = """
            def opened():
                with Sandbox(WORKSPACE, database=DATABASE) as box:
                    return box.read("kept")
            until = time.monotonic() + 10
            while (found := raised(opened)) != b"kept\\n" and time.monotonic() < until: time.sleep(0.05)
            print(found)
        """
        assert program(caller, installed, workspace, check) == "b'kept\\n'\n"
        for pid in children:
            if Path(f"/proc/{pid}").exists():
                os.kill(int(pid), signal.SIGKILL)


def test_any_thread_may_call_and_the_callers_signals_stay_its_own(
    caller: Caller, installed: Installed, workspace: Path
) -> None:
    program(
        caller,
        installed,
        workspace,
        """
        told = []
        signal.signal(signal.SIGCHLD, lambda *_: told.append(1))
        handlers = [signal.getsignal(number) for number in range(1, 65)]

        def work():
            with Sandbox(WORKSPACE, database=DATABASE) as box:
                found = {}
                def one(number):
                    data = bytes([number]) * 3_000_000
                    found[number] = box.run(["sh", "-c", "tee /dev/stderr"], input=data)
                threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
                for thread in threads: thread.start()
                for thread in threads: thread.join()
                for number in range(6):
                    assert found[number].stdout == found[number].stderr == bytes([number]) * 3_000_000

        thread = threading.Thread(target=work)
        thread.start(), thread.join()
        assert handlers == [signal.getsignal(number) for number in range(1, 65)]
        """,
    )


def test_a_forked_process_has_none_of_it(caller: Caller, installed: Installed, workspace: Path) -> None:
    printed = program(
        caller,
        installed,
        workspace,
        """
        with Sandbox(WORKSPACE, database=DATABASE) as box:
            box.run(["true"])
            if (pid := os.fork()) == 0:
                for what in (lambda: box.run(["true"]), lambda: box.read("x"), box.snapshot):
                    print(raised(what), flush=True)
                box.close()
                os._exit(0)
            os.waitpid(pid, 0)
            print(box.run(["echo", "still open"], text=True).stdout, end="")
        """,
    )
    refused = printed.splitlines()
    assert refused.pop() == "still open"
    assert len(refused) == 3 and all("forked" in line for line in refused)


def test_the_end_of_what_serves_the_home_is_told_to_who_waits_and_to_who_comes_later(
    plain: Caller, installed: Installed
) -> None:
    with fresh_directory(plain) as workspace:
        printed = program(
            plain,
            installed,
            workspace,
            """
            box = Sandbox(WORKSPACE, database=DATABASE)
            with box.start(["sleep", "1000"]) as process:
                box._preparation.overlay.mounted.worker.kill()
                print(raised(process.wait))
            print(raised(box.run, ["true"]))
            print(raised(box.close))
            with Sandbox(WORKSPACE, database=DATABASE) as box:
                print(box.run(["echo", "again"], text=True).stdout)
            """,
        )
    waited, later, closed, again = printed.split("\n")[:4]
    why = "IsolationError: the sandbox was ended: the process that served its home was killed"
    assert (waited, later, again) == (why, why, "again")
    assert closed.startswith("StoreError: ")


def test_being_cancelled_ends_the_command_under_both_loops(plain: Caller, installed: Installed) -> None:
    with fresh_directory(plain) as workspace:
        program(
            plain,
            installed,
            workspace,
            """
            import asyncio, trio

            LONG = ["sh", "-c", "setsid sleep 1000 & echo started; sleep 1000"]

            async def with_asyncio():
                async with AsyncSandbox(WORKSPACE, database=DATABASE) as box:
                    task = asyncio.create_task(box.run(LONG))
                    await asyncio.sleep(0.3)
                    task.cancel()
                    (ended,) = await asyncio.gather(task, return_exceptions=True)
                    assert isinstance(ended, asyncio.CancelledError)
                    alone(box.sandbox)
                    for delay in range(6):  # Also while it is being started.
                        try: await asyncio.wait_for(box.run(LONG), delay / 1000)
                        except TimeoutError: pass
                    async with await box.start(LONG) as process:
                        assert await process.stdout.readline() == b"started\\n"
                        process.kill()
                        ends = await asyncio.gather(process.wait(), process.wait())
                        assert ends[0] == ends[1] and ends[0].code == 137
                    alone(box.sandbox)

            async def with_trio():
                async with AsyncSandbox(WORKSPACE, database=DATABASE) as box:
                    for delay in (0.3, 0, 0.002, 0.004):
                        with trio.move_on_after(delay) as scope: await box.run(LONG)
                        assert scope.cancelled_caught
                    alone(box.sandbox)
                    big = await box.run(["cat"], input=b"x" * 3_000_000, timeout=20)
                    assert len(big.stdout) == 3_000_000
                    try: await box.run(LONG, timeout=0.2)
                    except TimeoutExpired as error: assert error.stdout == b"started\\n"
                    alone(box.sandbox)

            asyncio.run(with_asyncio())
            trio.run(with_trio)
            """,
        )


def test_the_words_are_those_of_the_command_line(plain: Caller, installed: Installed) -> None:
    with fresh_directory(plain) as workspace:
        printed = program(
            plain,
            installed,
            workspace,
            """
            print(raised(Sandbox, "missing"))
            print(raised(Sandbox, WORKSPACE, memory="lots"))
            with Sandbox(WORKSPACE, trace=True) as box: print(raised(box.run, ["true"]))
            with Sandbox(WORKSPACE) as box:
                print(raised(box.run, ["true"], env={"HOME": "/"}))
                print(box.run(["no-such"]).exit.why)
            """,
        )
        printed = printed.replace("WorkspaceError: ", "").replace("UsageError: ", "")
        missing, memory, trace, home, not_found = printed.splitlines()
        for words, said in (
            (["-m", "missing", "true"], missing),
            (["-m", str(workspace), "--memory", "lots", "true"], memory),
            (["-m", str(workspace), "no-such"], not_found),
        ):
            assert plain.art(*words).stderr.decode() == f"art: error: {said}\n"
    assert "trace_log" in trace and "HOME" in home
