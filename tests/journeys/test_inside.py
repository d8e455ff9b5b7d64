"""What a command finds inside: its environment, its tools, its workspace under any name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory, own
from tests.support.installed_copies import checked
from tests.support.places import locked


def environment_inside(caller: Caller, workspace: Path, *options: str, **more: str) -> dict[str, str]:
    done = caller.art("-m", workspace, *options, "--", "env", "-0", env=more)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)


def test_the_environment_is_exactly_this(caller: Caller, workspace: Path) -> None:
    kept = {"TERM": "xterm", "TZ": "UTC", "HTTPS_PROXY": "http://proxy", "no_proxy": "local", "LC_TIME": "C"}
    dropped = {
        "SECRET": "1",
        "LD_PRELOAD": "",
        "PYTHONPATH": "/x",
        "SSH_AUTH_SOCK": "/run/x",
        "XDG_RUNTIME_DIR": "/r",
    }
    user = "agent" if caller.name == "root" else caller.user
    assert environment_inside(caller, workspace, **kept, **dropped) == {
        **kept,
        "LANG": "C.UTF-8",
        "HOME": "/home/agent",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PWD": "/home/agent/ws",
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "ART": "1",
    }


def test_variables_are_passed_when_they_are_named(caller: Caller, workspace: Path) -> None:
    file = workspace / "variables"
    file.write_text("FROM_FILE=a b\n# a comment\n")
    options = ["-e", "ONE", "-e", "TWO=2", "-e", "KEY_*", "--env-file", str(file), "-e", "PATH=/usr/bin"]
    found = environment_inside(caller, workspace, *options, ONE="1", KEY_A="a", KEY_B="b", OTHER="x")
    wanted = {"ONE": "1", "TWO": "2", "KEY_A": "a", "KEY_B": "b", "FROM_FILE": "a b", "PATH": "/usr/bin"}
    assert wanted.items() <= found.items()
    assert "OTHER" not in found


NAMES = [
    "with space",
    "-dash",
    "--bind",
    "é€",
    "quote'\"$x",
    "new\nline",
    "tab\t",
    "*",
    "a" * 255,
    "...",
    "%s",
]


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"\xff\xfe bytes")], ids=ascii)
def test_a_workspace_may_have_any_name(caller: Caller, name: str) -> None:
    with fresh_directory(caller, name) as workspace:
        done = caller.art(f"--mount={workspace}", "--", "sh", "-c", 'printf %s "$PWD"; echo made >file')
        assert done.returncode == 0, done.stderr
        assert done.stdout == os.fsencode(f"/home/agent/{name}")
        assert (workspace / "file").read_text() == "made\n"


def test_a_workspace_may_be_a_link_and_deep(caller: Caller, workspace: Path) -> None:
    deep = workspace.joinpath(*["d" * 100] * 12)
    checked(["mkdir", "-p", str(deep)])
    link = workspace.parent / "link"
    link.symlink_to(deep)
    own(caller, workspace, link)
    for path in (deep, link):
        done = caller.art("-m", path, "--", "sh", "-c", 'printf %s "$PWD"; touch made')
        assert (done.returncode, done.stdout) == (0, f"/home/agent/{path.name}".encode()), done.stderr
        (deep / "made").unlink()


@pytest.mark.parametrize("cwd", ["/", "/tmp", "/usr/bin", "home", "workspace", "parent", "gone"])
def test_the_current_directory_may_be_anywhere(caller: Caller, workspace: Path, cwd: str) -> None:
    places = {"home": caller.home, "workspace": workspace, "parent": workspace.parent}
    words = [str(caller.art_program), "-m", str(workspace), "--", "pwd"]
    if cwd == "gone":
        script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
        done = caller.run(["sh", "-c", script, "sh", *words], cwd=workspace.parent)
    else:
        done = caller.run(list(words), cwd=places.get(cwd, cwd))
    assert (done.returncode, done.stdout) == (0, b"/home/agent/ws\n"), done.stderr


def test_the_workspace_is_the_current_directory_without_options(caller: Caller, workspace: Path) -> None:
    assert caller.art("--", "pwd", cwd=workspace).stdout == b"/home/agent/ws\n"
    assert caller.art("-m", ".", "--name", "other", "pwd", cwd=workspace).stdout == b"/home/agent/other\n"


def test_zombies_are_reaped(caller: Caller, workspace: Path) -> None:
    script = """
        for n in 1 2 3 4 5; do (sh -c 'sleep 0.1 &') & done; wait; sleep 0.5
        grep -l '^State:.Z' /proc/[0-9]*/status; cat /proc/1/comm
    """
    done = caller.art("-m", workspace, "--", "sh", "-c", script)
    assert len(done.stdout.splitlines()) == 1, done.stdout


# --- tools -------------------------------------------------------------------------------------


def test_programs_are_built_with_make_and_gcc(caller: Caller, workspace: Path) -> None:
    (workspace / "Makefile").write_text("hello: hello.c\n\tgcc -O1 -o $@ $<\n")
    (workspace / "hello.c").write_text('#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n')
    own(caller, workspace)
    done = caller.art("-m", workspace, "--", "sh", "-c", "make -s && ./hello")
    assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr
    assert caller.run([workspace / "hello"]).stdout == b"hello\n"


def test_git_works_from_the_first_to_the_last_command(caller: Caller, workspace: Path) -> None:
    script = """
        git init -q . && git -c user.name=a -c user.email=a@b.c commit -q --allow-empty -m first &&
        echo x >file && git add . && git status --short && git clone -q . /tmp/clone && git -C /tmp/clone log
    """
    done = caller.art("-m", workspace, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"A  file\n")
    assert caller.run(["git", "-C", workspace, "status", "--short"]).stdout == b"A  file\n"


def test_git_over_ssh_gets_as_far_as_the_network(caller: Caller, workspace: Path) -> None:
    done = caller.art("-m", workspace, "--", "git", "ls-remote", "ssh://git@localhost:1/x.git")
    assert done.returncode == 128
    assert b"Bad owner" not in done.stderr
    assert b"Permission denied" not in done.stderr
    assert b"known_hosts" not in done.stderr
    assert b"Connection refused" in done.stderr or b"port 1" in done.stderr


def test_accounts_are_known_and_the_home_is_the_sandboxs(caller: Caller, workspace: Path) -> None:
    script = 'getent passwd root "$(id -u)"; id -un; getent group "$(id -g)" | wc -l'
    with locked("/etc/login.defs"):  # The other test workers add users, too.
        done = caller.art("-m", workspace, "--", "sh", "-c", script)
    lines = done.stdout.decode().splitlines()
    user = "agent" if caller.name == "root" else caller.user
    assert lines[0].startswith("root:x:0:0:")
    assert lines[1].split(":")[0] == user and lines[1].split(":")[5] == "/home/agent"
    assert lines[2:] == [user, "1"]


def test_names_are_resolved(caller: Caller, workspace: Path) -> None:
    assert b"127.0.0.1" in caller.art("-m", workspace, "--", "getent", "ahostsv4", "localhost").stdout


def test_an_environment_made_inside_works_inside(caller: Caller, workspace: Path) -> None:
    script = (
        "/usr/bin/python3 -m venv --without-pip .venv && .venv/bin/python -c 'import sys; print(sys.prefix)'"
    )
    done = caller.art("-m", workspace, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, b"/home/agent/ws/.venv\n"), done.stderr


def test_an_environment_made_on_the_host_works_inside(caller: Caller, workspace: Path) -> None:
    """Its scripts hold the workspace's host path, at which the workspace is visible as well."""
    caller.run(["/usr/bin/python3", "-m", "venv", "--without-pip", workspace / ".venv"])
    script = workspace / ".venv/bin/tool"
    script.write_text(f"#!{workspace}/.venv/bin/python\nimport sys; print(sys.prefix)\n")
    script.chmod(0o755)
    own(caller, workspace)
    done = caller.art("-m", workspace, "--", ".venv/bin/tool")
    assert (done.returncode, done.stdout.decode()) == (0, f"{workspace}/.venv\n"), done.stderr


@pytest.fixture
def at_home(caller: Caller) -> Iterator[Path]:
    """A workspace in the caller's home, beside something private."""
    project = caller.home / f"projects-{os.getpid()}"
    (project / "ws").mkdir(parents=True)
    (project / "private").write_text("secret")
    own(caller, project)
    yield project / "ws"
    shutil.rmtree(project)


def test_a_workspace_in_a_hidden_home_is_all_that_is_seen_of_it(caller: Caller, at_home: Path) -> None:
    script = 'echo made >file; cat "$1/file"; ls -A "$1/.." "$1/../.."'
    done = caller.art("-m", at_home, "--", "sh", "-c", script, "sh", at_home)
    assert b"secret" not in done.stdout
    assert done.stdout.startswith(b"made\n")
    assert b"private" not in done.stdout
    assert (at_home / "file").read_text() == "made\n"


def test_a_tool_of_the_home_is_hinted_at_and_works_as_hinted(caller: Caller, workspace: Path) -> None:
    tools = caller.home / ".local/bin"
    tools.mkdir(parents=True, exist_ok=True)
    tool = tools / "my-tool"
    tool.write_text("#!/bin/sh\necho worked\n")
    tool.chmod(0o755)
    own(caller, caller.home / ".local")
    path = {"PATH": f"{tools}:{caller.env['PATH']}"}
    try:
        done = caller.art("-m", workspace, "--", "my-tool", env=path)
        assert done.returncode == 127
        hint = done.stderr.decode().strip()
        options = hint[hint.index("--expose") :].split()
        again = caller.art("-m", workspace, *options[:4], "--", "my-tool", env=path)
        assert (again.returncode, again.stdout) == (0, b"worked\n"), (hint, again.stderr)
    finally:
        shutil.rmtree(caller.home / ".local")


def test_a_linked_worktree_can_commit_after_approval(caller: Caller, workspace: Path) -> None:
    tree = workspace.parent / "tree"
    name = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (
        ["init", "-q"],
        [*name, "commit", "-q", "--allow-empty", "-m", "1"],
        ["worktree", "add", "-q", str(tree)],
    ):
        assert caller.run(["git", "-C", workspace, *words]).returncode == 0
    state = {"XDG_STATE_HOME": str(workspace.parent / "state")}
    commit = ["git", *name, "commit", "-q", "--allow-empty", "-m", "2"]
    left_out = caller.art("-m", tree, "--", *commit, env=state)
    assert left_out.returncode != 0
    assert b"art trust" in left_out.stderr
    done = caller.art("-m", tree, "--trust-binds", "--", *commit, env=state)
    assert done.returncode == 0, done.stderr
    assert caller.run(["git", "-C", tree, "rev-list", "--count", "HEAD"]).stdout == b"2\n"
    hook = f"echo x >{workspace}/.git/hooks/pre-commit; echo x >>{workspace}/.git/config"
    caller.art("-m", tree, "--trust-binds", "--", "sh", "-c", hook, env=state)
    assert not (workspace / ".git/hooks/pre-commit").exists()


# --- binds and trust ---------------------------------------------------------------------------


def test_binds_of_the_workspace(caller: Caller, workspace: Path) -> None:
    (workspace / ".art/config").mkdir(parents=True)
    (workspace / "fixtures").mkdir()
    (workspace / "fixtures/file").write_text("fixture\n")
    asked = [
        {"host": "fixtures", "guest": "/opt/mydata"},
        {"host": "fixtures/file", "guest": "/etc/my.conf", "readonly": True},
        {"host": "fixtures", "guest": "/home/agent/.config/deep", "readonly": False},
    ]
    (workspace / ".art/config/binds.json").write_text(json.dumps({"binds": asked}))
    own(caller, workspace)
    script = "cat /opt/mydata/file /etc/my.conf; touch /opt/mydata/x || touch ~/.config/deep/made"
    done = caller.art("-m", workspace, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, b"fixture\nfixture\n"), done.stderr
    assert sorted(os.listdir(workspace / "fixtures")) == ["file", "made"]
    assert sorted(os.listdir(workspace)) == [".art", "fixtures"]


def test_trust_is_remembered_by_content(caller: Caller, workspace: Path) -> None:
    data = workspace.parent / "data"
    data.mkdir()
    (workspace / ".art/config").mkdir(parents=True)
    file = workspace / ".art/config/binds.json"
    file.write_text(json.dumps({"binds": [{"host": str(data), "guest": "/opt/mydata", "readonly": False}]}))
    own(caller, workspace, data)
    state = {"XDG_STATE_HOME": str(workspace.parent / "state")}
    command: list[str | Path] = ["-m", workspace, "--", "touch", "/opt/mydata/made"]
    refused = caller.art(*command, env=state)
    assert refused.returncode == 125
    assert b"art trust" in refused.stderr and str(data).encode() in refused.stderr
    assert caller.art("--trust-binds", *command, env=state).returncode == 0
    assert caller.art(*command, env=state).returncode == 125, "approval for one run is not remembered"
    assert caller.art("trust", "--yes", "-m", workspace, env=state).returncode == 0
    assert caller.art(*command, env=state).returncode == 0
    file.write_text(file.read_text() + "\n")
    assert caller.art(*command, env=state).returncode == 125


# --- from Python -------------------------------------------------------------------------------

PROGRAM = """
import sys
from art_core import PIPE, Sandbox, TimeoutExpired

with Sandbox(sys.argv[1]) as box:
    done = box.run(["sh", "-c", "cat; echo oops >&2; exit 3"], input=b"some text")
    assert (done.status, done.stdout, done.stderr) == (3, b"some text", b"oops\\n"), done
    assert box.run(["true"]).status == 0
    assert box.run(["no-such-command"]).status == 127
    try:
        box.run(["sh", "-c", "echo before; sleep 100"], timeout=0.5)
    except TimeoutExpired as error:
        assert error.stdout == b"before\\n"
    else:
        raise SystemExit("no timeout")
    with box.start(["cat"], stdin=PIPE) as process:
        assert process.poll() is None
        process.stdin.write(b"line\\n")
        process.stdin.close()
        assert process.stdout.read() == b"line\\n"
        assert process.wait().code == 0
    first, second = box.start(["sleep", "100"]), box.start(["sh", "-c", "echo two"])
    assert second.stdout.read() == b"two\\n"
    first.kill()
    assert first.wait().code == 137 and second.wait().code == 0
    first.close(), second.close()
    assert box.plan(["true"]).argv[0].endswith("bwrap")
print("done")
"""


LAUNCHED = """
import os, signal, sys
from art_core import Sandbox
from art_core.launch.client import Streams
from art_core.plan.outcome import exit_of

def launched(box, *words):
    read, write = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    prepared, launcher = box._launching.launch(Streams(null, write, null), -1, argv=words)
    os.close(write)
    return open(read, "rb"), launcher, lambda: exit_of(box._preparation, launcher.result(), prepared)
"""

KILLER = (
    LAUNCHED
    + """
with Sandbox(sys.argv[1]) as box:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT) * 5:
        _, launcher, ended = launched(box, b"sleep", b"100")
        launcher.signal(number)
        assert ended()[:2] == (128 + number, "signal"), number
        with box.start(["sleep", "100"]) as process:
            process.send_signal(number)
            assert process.wait()[:2] == (128 + number, "signal"), number
"""
)


def test_a_signal_before_the_command_runs_is_no_failure_of_the_sandbox(
    caller: Caller, workspace: Path
) -> None:
    done = caller.run([caller.art_program.parent / "python", "-c", KILLER, workspace])
    assert (done.returncode, done.stderr) == (0, b"")


STOPPED = (
    LAUNCHED
    + """
command = b"trap 'echo handled; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
with Sandbox(sys.argv[1]) as box:
    output, launcher, ended = launched(box, b"sh", b"-c", command)
    os.kill(launcher.pid, signal.SIGSTOP)
    assert output.readline() == b"ready\\n"
    launcher.signal(signal.SIGTERM)
    os.kill(launcher.pid, signal.SIGCONT)
    assert (output.read(), ended().code) == (b"handled\\n", 7)
"""
)


def test_a_signal_right_after_the_command_started_goes_to_it(caller: Caller, workspace: Path) -> None:
    """Also when the launcher has not been told yet that it runs."""
    done = caller.run([caller.art_program.parent / "python", "-c", STOPPED, workspace])
    assert (done.returncode, done.stderr) == (0, b"")


def test_programs_run_commands_too(caller: Caller, workspace: Path) -> None:
    python = caller.art_program.parent / "python"
    done = caller.run([python, "-W", "error", "-c", PROGRAM, workspace])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"done\n", b"")


THREADED = """
import sys, threading
from art_core import Sandbox

def work(number, box, found):
    found[number] = box.run(["sh", "-c", f"echo {number}"]).stdout

with Sandbox(sys.argv[1]) as box:
    found = {}
    threads = [threading.Thread(target=work, args=(number, box, found)) for number in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
assert found == {number: b"%d\\n" % number for number in range(8)}, found
"""


def test_threads_share_a_sandbox(caller: Caller, workspace: Path) -> None:
    done = caller.run([caller.art_program.parent / "python", "-W", "error", "-c", THREADED, workspace])
    assert (done.returncode, done.stderr) == (0, b"")
