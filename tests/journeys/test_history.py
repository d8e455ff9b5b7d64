"""Points in time as a user types them: three agents at once, going back, and the log of it all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.kept_homes import Kept


@pytest.fixture
def kept(caller: Caller) -> Iterator[Kept]:
    with fresh_directory(caller, "workspace") as workspace:
        yield Kept(caller, workspace)


def said(kept: Kept, command: str, *words: str) -> list[str]:
    """What a command that has to succeed prints; the database is named."""
    done = kept.caller.art(command, "-d", "workspace.db", *words, cwd=kept.workspace.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()


def refused(kept: Kept, command: str, *words: str) -> str:
    done = kept.caller.art(command, "-d", "workspace.db", *words, cwd=kept.workspace.parent)
    assert done.returncode in (2, 125)
    return done.stderr.decode()


def objects(kept: Kept, command: str, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said(kept, command, "--json", *words)]


def start(kept: Kept, *words: str) -> subprocess.Popen[bytes]:
    argv: list[str | Path] = [
        kept.caller.art_program,
        "-m",
        kept.workspace,
        "-d",
        kept.database,
        "-i=false",
        *words,
    ]
    return kept.caller.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


AGENT = "echo {0} >>main.py; echo {0} >{0}; rm -r src; echo ready; read go; echo {0} again >>{0}"


def test_three_agents_work_at_once_and_the_best_is_kept(kept: Kept) -> None:
    kept.push()
    said(kept, "snapshot", "before")
    names = ["try-1", "try-2", "try-3"]
    for name in names:
        assert said(kept, "branch", name, "--from", "before") == [f"branch {name}: goes on from before"]
    agents = [start(kept, "-b", name, "--", "sh", "-c", AGENT.format(name)) for name in names]
    for agent in agents:
        assert agent.stdout is not None and agent.stdout.readline() == b"ready\n"
    listed = said(kept, "branch")
    assert [line.split()[0] for line in listed] == ["BRANCH", "main", *names]
    assert all("held by process" in line for line in listed[2:]) and "held" not in listed[1]
    assert "held by process" in refused(kept, "branch", "--delete", "try-1")
    for agent in agents:
        _, errors = agent.communicate(b"go\n", timeout=60)
        assert (agent.returncode, errors) == (0, b"")
    pulled = kept.pull("-b", "try-2")
    assert pulled.stdout.decode().splitlines()[2:] == [
        "FILE workspace/main.py (1240 bytes)",
        "FILE workspace/try-2 (18 bytes)",
        "DEL  workspace/src/deep.py",
        "DEL  workspace/src",
    ]
    host = {path.name for path in kept.workspace.iterdir()}
    assert host == {"main.py", "link", "try-2"}
    # The others know that the host is not what they began with, and cover nothing.
    other = kept.pull("-b", "try-1")
    assert other.returncode == 1
    assert b"CONFLICT main.py: changed on the host and changed in the sandbox" in other.stderr
    assert (kept.workspace / "main.py").read_bytes() == b"x" * 1234 + b"try-2\n"
    for name in ("try-1", "try-3"):
        (line,) = said(kept, "branch", "--delete", name)
        assert line.startswith(f"branch {name} is removed; what only it had stays in the database until")
    assert [line.split()[0] for line in said(kept, "branch")] == ["BRANCH", "main", "try-2"]
    assert kept.art("-i=false", "-b", "try-2", "--", "cat", "try-2").stdout == b"try-2\ntry-2 again\n"
    # What is new on the host is seen in every branch; what main has is as it was.
    assert kept.shell("ls; wc -c <main.py").stdout == b"link\nmain.py\nsrc\ntry-1\ntry-2\n1234\n"


def test_a_run_is_undone_and_what_it_did_is_still_there(kept: Kept) -> None:
    kept.push()
    ran = kept.art("--snapshot", "-i=false", "--", "sh", "-c", "echo bad >main.py; rm -r src; echo new >new")
    assert (ran.returncode, ran.stderr) == (
        0,
        b"art: note: snapshot before-1 has the state before this run\n",
    )
    sides = ["-m", "workspace"]
    (line,) = said(kept, "restore", *sides, "before-1", "workspace/src", "main.py")
    assert line.startswith("workspace/src, main.py of main: as in before-1 now; what main had before is the")
    assert (
        kept.shell("ls; wc -c <main.py; cat src/deep.py").stdout == b"link\nmain.py\nnew\nsrc\n1234\ndeep\n"
    )
    said(kept, "restore", *sides, "before-1")
    assert kept.shell("ls").stdout == b"link\nmain.py\nsrc\n"
    newest, first = (point["name"] for point in objects(kept, "snapshot", "--list")[:2])
    said(kept, "restore", *sides, newest)
    assert kept.shell("ls").stdout == b"link\nmain.py\nnew\nsrc\n"
    said(kept, "restore", *sides, first)
    assert kept.shell("ls; cat main.py").stdout == b"link\nmain.py\nnew\nbad\n"
    message = refused(kept, "restore", *sides, "before-1", "nothing")
    assert message == "art: error: workspace/nothing: neither of the two has that\n"
    assert "no branch or snapshot 'nope' in this database" in refused(kept, "restore", *sides, "nope")


def test_a_missing_branch_is_named_with_the_command_that_makes_it(kept: Kept) -> None:
    kept.push()
    ran = kept.art("-b", "try", "--", "true")
    made_by = f"`art branch try -d {kept.database}` makes it"
    expected = f"art: error: there is no branch 'try' in this database; {made_by}\n"
    assert (ran.returncode, ran.stderr.decode()) == (125, expected)
    assert (kept.push("-b", "try").returncode, kept.push("-b", "try").stderr.decode()) == (125, expected)
    assert kept.pull("-b", "try").returncode == 125
    said(kept, "branch", "try")
    assert kept.art("-b", "try", "--", "true").returncode == 0
    direct = kept.caller.art("-m", kept.workspace, "--snapshot", "--", "true")
    assert direct.stderr == b"art: error: --snapshot: snapshots need a database; add --db FILE\n"


def test_a_sandbox_that_runs_is_snapshotted(kept: Kept) -> None:
    running = start(kept, "--", "sh", "-c", "echo one >made; echo ready; read go; echo two >made; read go")
    assert running.stdout is not None and running.stdout.readline() == b"ready\n"
    said(kept, "snapshot", "middle")
    assert "held by process" in refused(kept, "restore", "-m", "workspace", "middle")
    running.communicate(b"go\ngo\n", timeout=60)
    assert kept.shell("cat made").stdout == b"two\n"
    said(kept, "restore", "-m", "workspace", "middle")
    assert kept.shell("cat made").stdout == b"one\n"


def test_the_log_tells_what_was_done(kept: Kept) -> None:
    kept.push()
    said(kept, "branch", "other")
    kept.shell("echo made >made; exit 3")
    trace = kept.workspace.parent / "trace.log"
    kept.art("-b", "other", "-i=false", "--trace-log", str(trace), "--", "true")
    said(kept, "snapshot", "middle")
    running = start(kept, "--snapshot", "--", "sh", "-c", "echo ready; read go")
    assert running.stdout is not None and running.stdout.readline() == b"ready\n"
    while_running = objects(kept, "log")
    assert [one.get("state", one.get("name")) for one in while_running] == [
        *("running", "before-3", "middle", "ended", "ended"),
    ]
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while objects(kept, "branch")[0]["held"] and time.monotonic() < deadline:
        time.sleep(0.05)
    killed, _, _, traced, failed = objects(kept, "log")
    assert (killed["state"], killed["status"], killed["before"]) == ("killed", None, "before-3")
    assert (traced["branch"], traced["status"], traced["trace"]) == ("other", 0, str(trace))
    assert (failed["argv"], failed["status"], failed["files"]) == (
        ["sh", "-c", "echo made >made; exit 3"],
        3,
        1,
    )
    lines = said(kept, "log")
    assert [line.split()[0] for line in lines] == [
        "SESSION",
        "3",
        *[lines[n].split()[0] for n in (2, 3)],
        "2",
        "1",
    ]
    assert "killed" in lines[1] and lines[2].endswith("snapshot before-3 (before session 3)")
    assert lines[5].endswith("sh -c 'echo made >made; exit 3'") and f"[trace {trace}]" in lines[4]
    assert [line.split()[0] for line in said(kept, "log", "-b", "other")] == ["SESSION", "2"]
    one = dict(line.split(maxsplit=1) for line in said(kept, "log", "1"))
    assert (one["status"], one["branch"], one["files"]) == ("3", "main", "1 made, changed or removed")
    assert refused(kept, "log", "9") == "art: error: there is no session 9; `art log` lists those there are\n"
    trace.unlink()


def test_a_name_is_removed_by_the_short_option_too(kept: Kept, tmp_path: Path) -> None:
    kept.push()
    for name in ("one", "two", "three"):
        said(kept, "branch", name)
    said(kept, "snapshot", "here")
    art, where = kept.caller.art, kept.workspace.parent
    assert art("branch", "-d", "workspace.db", "-d", "one", cwd=where).returncode == 0
    assert art("-d", "workspace.db", "branch", "-d", "two", cwd=where).returncode == 0
    named = {"ART_DB": str(kept.database)}
    assert art("branch", "-d", "three", env=named, cwd=where).returncode == 0
    assert art("snapshot", "-d", "here", env=named, cwd=where).returncode == 0
    assert [point["name"] for point in objects(kept, "branch")] == ["main"]
    assert objects(kept, "snapshot", "--list") == []
    listed = art("branch", "-d", "workspace.db", env={"ART_DB": str(tmp_path / "no.db")}, cwd=where)
    assert listed.stdout.startswith(b"BRANCH"), listed.stderr
    wrong = art("branch", "-d", "workspace.db", "--delete", "main", cwd=where)
    assert wrong.stderr.startswith(b"art: error: 'main' stays: ")
    assert os.path.exists(kept.database)


WORK = """
import os, random, shutil, sys
chance = random.Random(int(sys.argv[1]))
def paths(directories):
    found = []
    for top, names, files in os.walk("."):
        links = [name for name in names if os.path.islink(os.path.join(top, name))]
        found += [os.path.join(top, name) for name in (names if directories else files + links)]
    return sorted(path for path in found if os.path.islink(path) or os.path.isdir(path) == directories)
for step in range(60):
    place = os.path.join(chance.choice([".", *paths(True)]), chance.choice("abcdef"))
    files = paths(False)
    some, data = chance.choice(files or [place]), bytes([chance.randrange(256)]) * chance.choice([3, 70_000])
    act = chance.randrange(9)
    try:
        if act == 0: os.mkdir(place)
        elif act == 1: os.symlink("nowhere", place)
        elif act == 2: os.rename(some, place)
        elif act == 3: os.rename(chance.choice(paths(True) or [place]), place)
        elif act == 4: os.link(some, place)
        elif act == 5: os.truncate(some, chance.choice([0, 5, 70_000]))
        elif act == 6: os.remove(some)
        elif act == 7 and paths(True): shutil.rmtree(chance.choice(paths(True)))
        else:
            with open(place, "ab") as file: file.write(data)
    except OSError:
        pass
"""
LIST = """
import hashlib, json, os
found = {}
for top, names, files in os.walk("."):
    for name in sorted(names + files):
        path = os.path.join(top, name)
        if os.path.islink(path): found[path] = os.readlink(path)
        elif os.path.isdir(path): found[path] = "directory"
        else: found[path] = hashlib.sha256(open(path, "rb").read()).hexdigest()
print(json.dumps(found, sort_keys=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_each_point_has_what_a_plain_directory_has(kept: Kept, seed: int) -> None:
    """The same random work in a sandbox and in a copy of the workspace; points are copies there."""
    top = kept.workspace.parent
    models = {"main": top / "models/main"}
    kept.caller.run(["sh", "-c", "mkdir models && cp -a workspace models/main"], cwd=top)

    def work(branch: str, number: int) -> None:
        words = ("/usr/bin/python3", "-I", "-S", "-c", WORK, str(number))
        assert kept.art("-b", branch, "-i=false", "--", *words).returncode == 0
        assert kept.caller.run(words, cwd=models[branch]).returncode == 0

    def point(name: str, of: str) -> None:
        models[name] = top / f"models/{name}"
        kept.caller.run(["cp", "-a", models[of], models[name]], cwd=top)

    def same(name: str, branch: str) -> None:
        words = ("/usr/bin/python3", "-I", "-S", "-c", LIST)
        shown = kept.art("-b", branch, "-i=false", "--", *words)
        assert shown.stdout == kept.caller.run(words, cwd=models[name]).stdout, (name, shown.stderr)

    work("main", seed * 10)
    said(kept, "snapshot", "first")
    point("first", "main")
    work("main", seed * 10 + 1)
    said(kept, "branch", "other", "--from", "first")
    point("other", "first")
    work("other", seed * 10 + 2)
    said(kept, "snapshot", "second")
    point("second", "main")
    same("main", "main")
    same("other", "other")
    said(kept, "restore", "-m", "workspace", "first")
    same("first", "main")
    work("other", seed * 10 + 3)
    said(kept, "restore", "-m", "workspace", "-b", "other", "second")
    same("second", "other")
    # A path that both have, or one of them: it goes, or it comes from the other one.
    mine, theirs = ({path.name for path in models[name].iterdir()} for name in ("first", "second"))
    for name in sorted(mine | theirs):
        said(kept, "restore", "-m", "workspace", "second", name)
        kept.caller.run(["rm", "-rf", models["first"] / name], cwd=top)
        if name in theirs:
            kept.caller.run(["cp", "-a", models["second"] / name, models["first"] / name], cwd=top)
    same("first", "main")
    same("second", "main")
    checked = kept.caller.art("db", "check", "-d", "workspace.db", cwd=top)
    assert checked.stdout == b"nothing is wrong\n", checked.stdout
