"""The launcher: what the launched process gets, and that nothing outlives the supervisor.

The programs launched here are plain shells, so that what is tested is the launcher alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from art_core.contracts import Launch
from art_core.errors import IsolationError
from art_core.launch.client import Launcher, LaunchFailed
from art_core.sandbox.attachment import Attachment
from tests.core.launch.capturing import Capture

STDERR, REPORT, FILE = 5, 6, 9


def shell(script: str, **changes: Any) -> Launch:
    fields: dict[str, Any] = {
        "argv": ["/bin/sh", "-c", script],
        "env": {b"PATH": b"/usr/bin:/bin"},
        "files": {},
        "stderr_fd": STDERR,
        "report_fds": (REPORT,),
        **changes,
    }
    return Launch(**fields)


EXECUTES = """sh -c 'echo "{\\"exec\\": true}" >&6; true'\n"""
"""A process reports that it becomes the command."""


class Ended:
    def __init__(self, outcome: Any, capture: Capture) -> None:
        self.code = os.waitstatus_to_exitcode(outcome.status)
        self.reports = outcome.reports
        self.diagnostics = outcome.diagnostics
        self.stdout = capture.contents(1)
        self.stderr = capture.contents(2)


@contextlib.contextmanager
def launched(launch: Launch, input: bytes = b"") -> Iterator[tuple[Launcher, Attachment, Capture]]:
    launcher, attachment = Launcher(), Attachment(None)
    capture = Capture(attachment, input)
    try:
        launcher.order(launch, capture.streams)
        attachment.launched()
        yield launcher, attachment, capture
    finally:
        launcher.close()
        attachment.close()
        capture.close()


def run(launch: Launch, input: bytes = b"") -> Ended:
    with launched(launch, input) as (launcher, attachment, capture):
        attachment.run(launcher.fileno())
        return Ended(launcher.result(), capture)


def test_streams_status_and_diagnostics_stay_apart() -> None:
    ended = run(shell(EXECUTES + "cat; echo error >&5; echo diagnosis >&2; exit 7"), b"some input")
    assert (ended.code, ended.stdout, ended.stderr) == (7, b"some input", b"error\n")
    assert ended.diagnostics == b"diagnosis\n"


def test_a_file_is_handed_in_by_number() -> None:
    assert run(shell("cat <&9", files={FILE: b"contents"})).stdout == b"contents"


def test_nothing_else_is_open() -> None:
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        listed = run(shell("ls /proc/self/fd", files={FILE: b""})).stdout.split()
    finally:
        os.close(leak)
    # ls itself has the directory open, at the lowest free number.
    assert sorted(map(int, listed)) == [0, 1, 2, 3, STDERR, REPORT, FILE]


def test_the_environment_is_what_was_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "1")
    assert b"CANARY" not in run(shell("env", env={b"PATH": b"/usr/bin:/bin"})).stdout


def test_the_launched_process_is_in_a_session_of_its_own() -> None:
    session = run(shell("ps -o sid= -p $$")).stdout
    assert int(session) != os.getsid(0)


def test_signals_that_python_ignores_are_not_ignored_inside() -> None:
    """Signals 32 and 33 are the C library's own: its posix_spawn (make uses it) leaves them ignored,
    and its sigaction refuses to change them."""
    ignored = run(shell("grep SigIgn /proc/self/status")).stdout.split()[1]
    assert int(ignored, 16) & ~(0b11 << 31) == 0


def test_no_core_is_dumped_and_memory_pressure_ends_the_sandbox_first() -> None:
    ended = run(shell("ulimit -c; cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status"))
    core, score, _, privileges = ended.stdout.split()
    assert (core, privileges) == (b"0", b"1")
    assert int(score) >= 500


def test_a_program_that_cannot_be_executed_is_an_error() -> None:
    launcher, attachment = Launcher(), Attachment(None)
    capture = Capture(attachment, b"")
    with pytest.raises(LaunchFailed, match="/no/such/program could not be executed: No such file"):
        launcher.order(shell("", argv=["/no/such/program"]), capture.streams)
    launcher.close()
    attachment.close()
    capture.close()


def test_a_launcher_that_was_killed_is_an_error_that_says_so() -> None:
    with launched(shell("sleep 60")) as (launcher, attachment, _):
        os.kill(launcher.pid, signal.SIGKILL)
        with pytest.raises(IsolationError, match="the launcher process was killed"):
            launcher.result()
        for channel in attachment.relay.outputs:
            channel.close()


def report(source: str) -> str:
    """A Python program that reports on descriptor 6, as a process of its own or not."""
    return f"exec {sys.executable} -I -c '{source}'"


IN_A_CHILD = """
import os
if os.fork() == 0:
    {}
else:
    os.wait()
"""


def test_the_launched_process_reports_and_another_cannot_in_its_name() -> None:
    mine = 'import os; os.write(6, b"{\\"exit-code\\": 3}")'
    assert run(shell(report(mine))).reports == [{"exit-code": 3}]
    forged = 'os.write(6, b"{\\"exit-code\\": 3, \\"child-pid\\": 1}")'
    assert run(shell(report(IN_A_CHILD.format(forged)))).reports == []


def test_a_process_reports_its_own_execution_and_its_errno() -> None:
    source = 'os.write(6, b"{\\"exec\\": true}"); os.write(6, b"{\\"exec-errno\\": 2}")'
    assert run(shell(report(IN_A_CHILD.format(source)))).reports == [{"exec": True}, {"exec-errno": 2}]


def test_what_is_reported_may_be_garbage() -> None:
    source = 'import os; os.write(6, b"\\xff{[nonsense"); os.write(6, b"[1]")'
    assert run(shell(report(source))).reports == []


@pytest.mark.parametrize(
    "said",
    [
        'b"[" * 4000',
        """b'{"a":' * 4000""",
        """b'{"exec-errno":' + b'1' * 5000""",
    ],
)
def test_what_is_reported_may_be_endlessly_deep_or_long(said: str) -> None:
    source = f'import os; os.write(6, {said}); os.write(6, b"[" * 4000)'
    assert run(shell("", argv=[sys.executable, "-I", "-c", source])).reports == []


def test_of_a_report_only_small_plain_values_are_kept() -> None:
    said = b'{"exit-code": 3, "a": 1e999999, "b": NaN, "c": 99999999999, "d": [1], "e": {}, "f": null}'
    source = f"import os; os.write(6, {said!r})"
    assert run(shell("", argv=[sys.executable, "-I", "-c", source])).reports == [{"exit-code": 3}]


def test_a_flood_of_reports_does_not_keep_a_signal_from_the_launched_process() -> None:
    source = "import os\nos.write(1, b'ready')\nwhile True: os.write(6, b'[')"
    with launched(shell("", argv=[sys.executable, "-I", "-c", source])) as (launcher, attachment, capture):
        while b"ready" not in capture.contents(1):
            attachment.relay.run(launcher.fileno(), deadline=time.monotonic() + 0.02)
        launcher.signal(signal.SIGKILL)
        attachment.run(launcher.fileno())
        assert os.waitstatus_to_exitcode(launcher.result().status) == -signal.SIGKILL


AS_COMMAND = textwrap.dedent("""
    import os, signal, sys, time
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"handled"), os._exit(9)))
        os.write(6, b'{"exec": true}')
        os.write(1, b"ready")
        time.sleep(60)
    os.write(6, b'{"exit-code": %d}' % os.waitstatus_to_exitcode(os.wait()[1]))
""")


def test_a_signal_goes_to_the_command_and_its_handler_finishes() -> None:
    with launched(shell("", argv=[sys.executable, "-I", "-c", AS_COMMAND])) as (
        launcher,
        attachment,
        capture,
    ):
        while b"ready" not in capture.contents(1):
            attachment.relay.run(launcher.fileno(), deadline=time.monotonic() + 0.02)
        launcher.signal(signal.SIGTERM)
        attachment.run(launcher.fileno())
        ended = Ended(launcher.result(), capture)
    assert ended.stdout == b"readyhandled"
    assert {"exit-code": 9} in ended.reports


SUPERVISOR = textwrap.dedent("""
    import os, sys
    from art_core.sandbox.attachment import Attachment
    from art_core.contracts import Launch
    from art_core.launch.client import Launcher
    from tests.core.launch.capturing import Capture
    launcher, attachment = Launcher(), Attachment(None)
    capture = Capture(attachment, b"")
    print("start", flush=True)
    launch = Launch(argv=["/bin/sleep", "3217"], env={}, files={}, stderr_fd=5, report_fds=(6,))
    launcher.order(launch, capture.streams)
    launcher.result()
""")


def sleepers() -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as file:
                if file.read() == b"/bin/sleep\x003217\x00":
                    found.append(int(entry))
    return found


def test_nothing_outlives_a_supervisor_that_is_killed_at_any_moment() -> None:
    for round in range(30):
        with subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE) as supervisor:
            assert supervisor.stdout is not None
            supervisor.stdout.readline()
            time.sleep(round * 0.001)
            supervisor.kill()
    until = time.monotonic() + 5
    while sleepers() and time.monotonic() < until:
        time.sleep(0.05)
    assert sleepers() == []


def test_a_process_with_threads_gets_a_launcher_that_was_not_forked_from_it() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        ended = run(shell("cat; exit 3"), b"through threads")
    finally:
        stop.set()
        thread.join()
    assert (ended.code, ended.stdout) == (3, b"through threads")


ONCE_BROKEN = """
    wc -c <&9 >>{log}
    [ $(wc -l <{log}) = {turns} ] || {{ echo the host changed >&2; exit 1; }}
    sh -c 'echo "{{\\\\"exec\\\\": true}}" >&6; exec cat'
"""


@pytest.mark.parametrize(("turns", "code"), [(1, 0), (2, 0), (3, 1)])
def test_an_isolation_that_fails_before_the_command_is_tried_once_more(
    turns: int, code: int, tmp_path: Path
) -> None:
    """The host may change while the sandbox is built. The command's input is there as it was."""
    log = tmp_path / "log"
    log.touch()
    ended = run(
        shell(ONCE_BROKEN.format(log=log, turns=turns, executes=EXECUTES), files={FILE: b"12345"}), b"input"
    )
    assert log.read_text().split() == ["5"] * min(turns, 2)
    assert (ended.code, ended.stdout) == (code, b"" if code else b"input")
    assert ended.diagnostics == (b"the host changed\n" if code else b"")


def test_an_isolation_that_was_killed_is_not_tried_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert run(shell(f"echo turn >>{log}; echo broken >&2; kill -9 $$")).code == -signal.SIGKILL
    assert log.read_text() == "turn\n"
