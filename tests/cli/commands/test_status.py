"""`art status` and `art diff` as they are typed, on a workspace in which each kind of change happened."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import Caller, fresh_directory, own
from tests.support.kept_homes import Kept
from tests.support.terminals import ended, terminal

CHANGES = r"""
    sed -i s/50/fifty/ numbers; echo new >out.txt; rm gone; mv src/deep.py src/deeper.py
    echo more >>src/deeper.py; ln -sf numbers link; chmod +x 'sp ace'; rm both; mkdir both; echo x >both/file
    touch main.py; printf '\0new' >binary; printf x >"$(printf 'odd\nname\033[31m')"; echo mine >conflict
    mkdir -p .git/hooks; echo true >.git/hooks/pre-commit; mkdir empty
"""


HELD = (
    "             left out by a pull: git runs hooks at commits, checkouts and pushes; "
    "--protected carries it, too"
)


@pytest.fixture(scope="module")
def changed(plain: Caller) -> Iterator[Kept]:
    """What was pushed, then changed inside and, in part, on the host."""
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        (workspace / "numbers").write_text("".join(f"{n}\n" for n in range(100)))
        (workspace / "binary").write_bytes(b"\0old")
        for name in ("gone", "both", "sp ace", "conflict", "of the host", "removed there"):
            (workspace / name).write_text("text\n")
            (workspace / name).chmod(0o644)
        own(plain, workspace)
        assert kept.push().returncode == 0
        done = kept.shell(CHANGES)
        assert (done.returncode, done.stderr) == (0, b"")
        (workspace / "conflict").write_text("theirs\n")
        (workspace / "of the host").write_text("changed\n")
        (workspace / "removed there").unlink()
        yield kept


def status(kept: Kept, *words: str) -> str:
    done = kept.art(*words, command="status")
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    return done.stdout.decode()


def objects(kept: Kept, *words: str, command: str = "status") -> list[dict[str, Any]]:
    done = kept.art("--json", *words, command=command)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_status_tells_each_change_in_a_line(changed: Kept) -> None:
    heading, *lines = status(changed).splitlines()
    assert heading == f"Changes in main, against the host's {changed.workspace}:"
    assert lines == [
        "  added      .git/",
        "  added      .git/hooks/",
        HELD,
        "  added      .git/hooks/pre-commit (5 bytes)",
        HELD,
        "  modified   binary (4 bytes)",
        "  type       both/ (file -> dir)",
        "  added      both/file (2 bytes)",
        "  modified   conflict (7 -> 5 bytes)",
        "             conflict: changed on the host and changed in the sandbox",
        "  added      empty/",
        "  deleted    gone (5 bytes)",
        "  modified   link (-> numbers)",
        "  times      main.py",
        "  modified   numbers (290 -> 293 bytes)",
        r'  added      "odd\nname\033[31m" (1 bytes)',
        "  added      out.txt (4 bytes)",
        '  mode       "sp ace" (0644 -> 0755)',
        "  renamed, modified src/deep.py -> src/deeper.py (5 -> 10 bytes)",
        "Changed on the host since both sides were the same, and not in the sandbox:",
        '  changed    "of the host"',
        '  removed    "removed there"',
        "  (it is seen in the sandbox after the next `art push`)",
        "7 added, 7 changed, 1 renamed, 1 deleted, 1 in conflict, 2 left out by a pull",
    ]


def test_status_as_json_is_one_object_a_line(changed: Kept) -> None:
    found = {said["path"]: said for said in objects(changed)}
    assert found["numbers"] == {
        "change": "modified",
        "path": "numbers",
        "kind": "file",
        "size": 293,
        "mode": "0644",
        "kind_before": "file",
        "size_before": 290,
        "mode_before": "0644",
    }
    assert found["src/deeper.py"]["from"] == "src/deep.py" and found["src/deeper.py"]["also"] == ["modified"]
    assert found["conflict"]["conflict"] == "changed on the host and changed in the sandbox"
    assert found["of the host"] == {"change": "host", "path": "of the host", "host": "changed"}
    assert found["odd\nname\033[31m"]["change"] == "added"


def test_status_says_what_a_pull_does(changed: Kept) -> None:
    """Path by path, for what a pull prints."""
    trial = changed.art("--dry-run", "--json", command="pull")
    pulled = {(said["action"], said["path"]) for said in map(json.loads, trial.stdout.splitlines())}
    assert trial.returncode == 1
    told = {
        ("skip" if "protected" in said else "conflict" if "conflict" in said else "carried", said["path"])
        for said in objects(changed)
        if said["change"] != "host"
    }
    told |= {("del", said["from"]) for said in objects(changed) if "from" in said} | {("del", "gone")}
    told -= {("carried", "gone")}
    carried = {("carried" if action in ("file", "dir", "link") else action, path) for action, path in pulled}
    assert carried == told


def test_paths_narrow_it_down(changed: Kept) -> None:
    assert [said["path"] for said in objects(changed, "src", "numbers")] == ["numbers", "src/deeper.py"]
    inside = changed.caller.art(
        "diff", "-m", "..", "-d", "../../workspace.db", "--name-only", ".", cwd=changed.workspace / "src"
    )
    assert inside.stdout == b"src/deeper.py\n"
    guest = changed.art("--name-only", "/home/agent/workspace/src", command="diff")
    assert guest.stdout == b"src/deeper.py\n"
    missing = changed.art("nothing", command="diff")
    assert (missing.returncode, missing.stdout) == (125, b"")
    assert missing.stderr.startswith(b"art: error: 'nothing' is neither on the host nor in the database")
    outside = changed.art("../elsewhere", command="diff")
    assert outside.returncode == 125 and b"lies outside of the workspace" in outside.stderr


def test_diff_is_what_git_applies(changed: Kept, tmp_path: Path) -> None:
    printed = changed.art("--binary", command="diff")
    assert printed.stderr.startswith(b"art: note: 3 changes in .git are left out")
    patch = printed.stdout
    copied = tmp_path / "copy"
    subprocess.run(["cp", "-a", changed.workspace, copied], check=True)
    subprocess.run(["git", "apply", "-"], cwd=copied, input=patch, check=True, capture_output=True)
    listing = "find . -type f ! -path './.git/*' -print0 | sort -z | xargs -0 sha256sum; readlink link"
    inside = changed.shell(listing).stdout.splitlines()
    made = subprocess.run(
        ["sh", "-c", listing], cwd=copied, capture_output=True, check=True
    ).stdout.splitlines()
    moved_on = [line for line in inside if line.endswith((b"of the host", b"removed there"))]
    assert set(inside) - set(moved_on) <= set(made) and len(moved_on) == 2


def test_diff_counts_lines_and_names_files(changed: Kept) -> None:
    stat = changed.art("--stat", "numbers", "binary", "src", command="diff").stdout.decode()
    assert stat == (
        " binary                       | Bin 4 -> 4 bytes\n"
        " numbers                      |   2 +-\n"
        " src/deep.py => src/deeper.py |   1 +\n"
        " 3 files changed, 2 insertions(+), 1 deletion(-)\n"
    )
    counted = objects(changed, "numbers", "binary", command="diff")
    assert counted == [
        {"change": "modified", "path": "binary", "binary": True},
        {"change": "modified", "path": "numbers", "added": 1, "deleted": 1},
    ]
    assert b"Binary files a/binary and b/binary differ\n" in changed.art("binary", command="diff").stdout


def test_on_a_terminal_there_are_colours_and_a_pager(changed: Kept) -> None:
    words: list[str | Path] = [
        changed.caller.art_program,
        "diff",
        "-m",
        changed.workspace,
        "-d",
        changed.database,
        "numbers",
    ]
    with terminal(changed.caller, *words) as child:  # less -FRX: what fits on the screen is printed.
        child.expect("\x1b\\[31m-50\x1b\\[m.*\x1b\\[32m\\+fifty\x1b\\[m")
        assert ended(child) == 0
    with terminal(changed.caller, *words, env={"PAGER": "sed s/^/paged:/", "NO_COLOR": "1"}) as child:
        child.expect_exact("paged:-50\r\npaged:+fifty")
        assert ended(child) == 0
    with terminal(changed.caller, *words, env={"GIT_PAGER": "head -1", "PAGER": "false"}) as child:
        child.expect_exact("diff --git a/numbers b/numbers")
        assert ended(child) == 0
        assert b"error" not in child.before
    with terminal(changed.caller, *words, env={"PAGER": "cat"}) as child:
        child.expect_exact("\x1b[36m@@ -48,7 +48,7 @@\x1b[m")
        assert ended(child) == 0


def test_a_pager_that_is_left_or_interrupted_is_no_failure(changed: Kept) -> None:
    words: list[str | Path] = [
        changed.caller.art_program,
        "status",
        "-m",
        changed.workspace,
        "-d",
        changed.database,
    ]
    with terminal(changed.caller, *words, env={"PAGER": "less", "LESS": "R"}) as child:
        child.expect_exact(":\x1b[K")
        child.sendintr()
        child.expect_exact(":\x1b[K")
        child.send("q")
        assert ended(child) == 0
    piped = ["sh", "-c", '"$@" | head -1', "sh", *map(str, words)]
    done = changed.caller.run(piped)
    assert done.stdout.count(b"\n") == 1 and done.stderr == b""


def test_a_name_cannot_drive_the_terminal(changed: Kept) -> None:
    for command in ("status", "diff"):
        for words in ((), ("--json",)):
            printed = changed.art(*words, command=command).stdout
            assert b"\x1b" not in printed and b"\nname" not in printed


def test_points_are_compared_without_the_host(caller: Caller) -> None:
    with fresh_directory(caller, "workspace") as workspace:
        kept = Kept(caller, workspace)
        kept.shell("echo one >file; mv main.py renamed.py")
        assert kept.art("first", command="snapshot").returncode == 0
        kept.shell("echo two >>file; mv renamed.py again.py; rm src/deep.py")
        assert kept.art("second", command="snapshot").returncode == 0
        (workspace / "of the host").write_text("is in both\n")
        assert status(kept, "first..second").splitlines() == [
            "Changes from first to second:",
            "  renamed    renamed.py -> again.py",
            "  modified   file (4 -> 8 bytes)",
            "  deleted    src/deep.py (5 bytes)",
            "1 changed, 1 renamed, 1 deleted",
        ]
        assert [said["path"] for said in objects(kept, "--since", "first", "file")] == ["file"]
        assert [said["change"] for said in objects(kept, "second..first", "src")] == ["added"]
        assert objects(kept, "second..") == []
        assert status(kept, "--since", "second").splitlines()[-1] == "nothing changed"
        unknown = kept.art("--since", "third", command="diff")
        assert unknown.returncode == 125 and b"no branch or snapshot 'third'" in unknown.stderr
        twice = kept.art("--since", "first", "first..second", command="diff")
        assert twice.returncode == 2


def test_a_running_sandbox_is_asked(plain: Caller) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        argv: list[str | Path] = [plain.art_program, "-m", workspace, "-d", kept.database, "-i=false", "--"]
        script = "echo first >made; echo ready; read line; echo second >>made; echo ready; read line"
        running = plain.popen([*argv, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert running.stdout and running.stdin and running.stdout.readline() == b"ready\n"
        assert [said["size"] for said in objects(kept)] == [6]
        running.stdin.write(b"\n")
        running.stdin.flush()
        assert running.stdout.readline() == b"ready\n"
        assert kept.art(command="diff").stdout.endswith(b"+first\n+second\n")
        running.communicate(b"\n", timeout=30)
        assert running.returncode == 0


def test_a_half_copied_file_that_the_host_changed_is_told(plain: Caller) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        (workspace / "large").write_bytes(os.urandom(3 << 20))
        os.utime(workspace / "large", (1_500_000_000, 1_500_000_000))
        own(plain, workspace)
        kept.shell("printf A | dd of=large bs=1 seek=100 conv=notrunc status=none")
        (workspace / "large").write_bytes(b"newer" * 600_000)
        (said,) = objects(kept)
        assert said["path"] == "large" and "--accept-host" in said["conflict"]
        shown = kept.art(command="diff")
        assert shown.returncode == 1
        assert b"art: error: large: its contents cannot be read: the host changed it" in shown.stderr
