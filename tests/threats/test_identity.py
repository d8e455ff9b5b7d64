"""Whose files they are: inside the caller is an ordinary user, on the host what it makes is the caller's."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.support.attackers import Attacker
from tests.support.callers import Caller, fresh_directory


def test_what_is_made_inside_belongs_to_the_caller(anybody: Attacker) -> None:
    script = (
        "mkdir d && echo x >d/file && ln -s file d/link && ln d/file d/hard && mkfifo d/fifo && chmod 770 d"
    )
    assert anybody.shell(script).returncode == 0
    owners = {
        (path.lstat().st_uid, path.lstat().st_gid)
        for path in (anybody.workspace / "d", *(anybody.workspace / "d").iterdir())
    }
    assert owners == {(anybody.caller.uid, anybody.caller.gid)}


def test_what_the_caller_made_is_its_own_inside(anybody: Attacker) -> None:
    file = anybody.workspace / "file"
    file.write_text("x")
    os.chown(file, anybody.caller.uid, anybody.caller.gid)
    script = (
        'test -O file && test "$(stat -c %u file)" = "$(id -u)" && chmod 600 file && echo y >>file && rm file'
    )
    assert anybody.shell(script).returncode == 0
    assert not file.exists()


def test_archives_with_other_owners_are_unpacked(anybody: Attacker) -> None:
    """As root, tar and cp try to give files to their owners, and fail where those are unknown."""
    archive = anybody.workspace / "a.tar"
    with tarfile.open(archive, "w") as tar:
        entry = tarfile.TarInfo("unpacked")
        entry.uid, entry.gid, entry.uname, entry.mode = 4242, 4242, "nobody-here", 0o644
        tar.addfile(entry)
    archive.chmod(0o644)
    done = anybody.shell("tar xf a.tar && cp -a /etc/hostname copied && cp -a unpacked again && ls")
    if anybody.variables.get("ART_ROOT_AS") == "root":
        assert "unpacked" in os.listdir(anybody.workspace)
    else:
        assert (done.returncode, done.stdout) == (0, b"a.tar\nagain\ncopied\nunpacked\n"), done.stderr


def test_root_is_an_ordinary_user_inside(root: Caller, bwrap: Path) -> None:
    with fresh_directory(root) as workspace:
        attacker = Attacker(root, workspace, ["-i=false", "-c", f"plugins.bwrap.program={bwrap}"])
        done = attacker.shell("id -u; id -g; id -G; id -un; git init -q . && git status --short | wc -l")
        assert done.stdout == b"1000\n1000\n1000\nagent\n0\n", done.stderr


def test_supplementary_groups_give_nothing(plain: Caller, root: Caller, bwrap: Path) -> None:
    """Files that only a group of root's can read (disk, docker) stay out of reach for root's command."""
    with fresh_directory(root) as workspace:
        secret = root.place / "group-secret"
        secret.write_text("secret")
        shutil.chown(secret, group="daemon")
        secret.chmod(0o640)
        attacker = Attacker(root, workspace, ["-i=false", "-c", f"plugins.bwrap.program={bwrap}"])
        words = ["setpriv", "--groups=0,1", *attacker.argv("cat", secret)]
        done = root.run(words)
        secret.unlink()
        assert done.returncode == 1
        assert b"Permission denied" in done.stderr


def test_a_workspace_of_somebody_else_is_refused(root: Caller, plain: Caller) -> None:
    with fresh_directory(plain) as workspace:
        done = root.art("-m", workspace, "--", "touch", "file")
        assert done.returncode == 125
        assert f"sudo -u {plain.user}".encode() in done.stderr
        assert list(workspace.iterdir()) == []


@pytest.mark.parametrize("mode", [0o555, 0o500])
def test_a_workspace_that_cannot_be_written_is_shown_all_the_same(anybody: Attacker, mode: int) -> None:
    (anybody.workspace / "file").write_text("contents")
    anybody.workspace.chmod(mode)
    done = anybody.shell("cat file; echo more >new")
    assert done.stdout == b"contents"


def test_a_private_workspace_in_a_private_place(anybody: Attacker) -> None:
    """mode 0700 all the way down, as in a home: root's stand-in may not enter, yet sees what it is given."""
    private = anybody.workspace.parent / "private"
    inner = private / "project"
    inner.mkdir(parents=True)
    (inner / "file").write_text("contents")
    (private / "beside").write_text("secret")
    for path in (private, inner, inner / "file", private / "beside"):
        path.chmod(0o700)
        os.chown(path, anybody.caller.uid, anybody.caller.gid)
    attacker = Attacker(anybody.caller, inner, anybody.options, anybody.variables)
    done = attacker.shell('cat file "$1/file"; echo new >>file; echo made >new', inner)
    assert (done.returncode, done.stdout) == (0, b"contentscontents"), done.stderr
    assert (inner / "file").read_text() == "contentsnew\n"
