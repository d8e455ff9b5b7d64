"""No file that runs with the rights of its owner or group comes out of a sandbox."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.support.attackers import Attacker
from tests.support.callers import Caller, fresh_directory

TRIED = """
import ctypes, errno, os, stat, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
def raw(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
def name():
    name.number += 1
    return os.path.join(sys.argv[1], f"f{name.number}")
name.number = 0
def made():
    path = name()
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))
    return path
def through(path, call):
    fd = os.open(path, os.O_RDONLY)
    call(fd)
def unnamed(mode):
    fd = os.open(sys.argv[1], os.O_TMPFILE | os.O_WRONLY, mode)
    os.link(f"/proc/self/fd/{fd}", name(), src_dir_fd=0, follow_symlinks=True)
def openat2(mode):
    how = struct.pack("QQQ", os.O_CREAT | os.O_WRONLY, mode, 0)
    raw(437, -100, name().encode(), how, len(how))
said = {}
for bits in (0o4755, 0o2755, 0o6711, 0o4000):
    for what, call in {
        "chmod": lambda: os.chmod(made(), bits),
        "fchmod": lambda: through(made(), lambda fd: os.fchmod(fd, bits)),
        "fchmodat": lambda: os.chmod(made(), bits, dir_fd=os.open(".", os.O_RDONLY)),
        "fchmodat2": lambda: raw(452, -100, made().encode(), bits, 0),
        "open": lambda: os.open(name(), os.O_CREAT | os.O_WRONLY, bits),
        "open with garbage above": lambda: raw({"x86_64": 257, "aarch64": 56}[os.uname().machine], -100,
            name().encode(), os.O_CREAT | os.O_WRONLY, ctypes.c_long((0xFF << 32) | bits)),
        "creat": lambda: libc.creat(name().encode(), bits) >= 0 or through("", None),
        "O_TMPFILE": lambda: unnamed(bits),
        "mknod": lambda: os.mknod(name(), stat.S_IFREG | bits),
        "openat2": lambda: openat2(bits),
    }.items():
        try:
            call()
            said[what] = "done"
        except OSError as error:
            said[what] = errno.errorcode[error.errno]
print(ascii(said))
"""


OLD_CHMOD = r"""
#include <string.h>
#include <sys/mman.h>
#include <stdio.h>
int main(void) {
  char *path = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  long answer;
  strcpy(path, "made");
  __asm__ volatile("int $0x80" : "=a"(answer) : "a"(15L), "b"(path), "c"(04755L) : "memory");
  printf("%ld\n", answer);
  return 0;
}
"""


def set_ids_in(directory: Path) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.lstat().st_mode & 0o6000 and not path.is_dir()]


def test_no_call_makes_one(anybody: Attacker) -> None:
    said = anybody.learn(TRIED, ".")
    assert set_ids_in(anybody.workspace) == []
    assert said.pop("openat2") == "ENOSYS"
    said.pop("creat")
    assert set(said.values()) == {"EPERM"}, said


def test_none_in_a_writable_bind(caller: Caller, workspace: Path) -> None:
    with fresh_directory(caller, "shown") as shown:
        database = f"{workspace}.db"
        options: list[str | Path] = [
            "-m",
            workspace,
            "-d",
            database,
            "--bind",
            f"{shown}:/opt/shown:rw",
            "--trust-binds",
        ]
        done = caller.art(*options, "-i=false", "--", "/usr/bin/python3", "-c", TRIED, "/opt/shown")
        assert done.returncode == 0, done.stderr
        assert set_ids_in(shown) == []
        assert list(shown.iterdir())


def test_none_by_a_program_of_32_bits(attacker: Attacker) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("int 0x80 is of x86-64")
    source = attacker.workspace / "old.c"
    # chmod(2) by the 32-bit entry; the path has to lie below 4 GiB.
    source.write_text(OLD_CHMOD)
    foreign = ["-c", "plugins.bwrap.foreign_architectures=true"]
    done = attacker.shell("touch made; gcc -o /tmp/old old.c && /tmp/old", options=foreign)
    assert done.returncode == 0, done.stderr
    assert set_ids_in(attacker.workspace) == []
    assert done.stdout == b"-1\n"


CAPABLE = """
import os
os.setxattr("tool", "security.capability", bytes.fromhex("0100000206000000000000000000000000000000"))
"""
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (capabilities(7), version 2)."""


def test_root_of_a_namespace_of_its_own_gives_files_no_capabilities(anybody: Attacker) -> None:
    """Where it is the host's root outside, what it gives is so as well."""
    (anybody.workspace / "give.py").write_text(CAPABLE)
    script = "cp /usr/bin/id tool; unshare -Ur /usr/bin/python3 give.py"
    done = anybody.shell(script, options=["--nested"])
    if anybody.caller.name == "root":
        given = (anybody.workspace / "tool").exists() and os.listxattr(anybody.workspace / "tool")
        assert not given
        assert b"Operation not supported" in done.stderr or done.returncode == 2
    else:  # Its own root's, which is nobody's but the caller's.
        assert done.returncode == 0, done.stderr


COPIED_UP = """
mkdir up work /tmp/over
mount -t overlay over -o lowerdir=/usr/bin,upperdir=$PWD/up,workdir=$PWD/work,userxattr /tmp/over || exit 9
touch -h /tmp/over/su
"""


def test_the_kernel_copies_no_set_id_file_for_a_nested_root(anybody: Attacker) -> None:
    """An overlay file system copies a file up with its mode, and no call says so; through a mapping the new
    file can be rewritten with its bits kept."""
    anybody.shell('exec unshare -Urm sh -c "$1"', COPIED_UP, options=["--nested"])
    assert set_ids_in(anybody.workspace) == []


WORK = """
set -e
umask 022
mkdir -p a/b && cp -a a c && cp -r /etc/alternatives d 2>/dev/null || true
tar cf /tmp/t.tar a c && tar xf /tmp/t.tar -C /tmp && tar xf /tmp/t.tar -C .
install -m 755 /usr/bin/id tool && chmod u+x tool && chmod 1777 a
git init -q repo && cd repo && git -c user.name=n -c user.email=e commit -q --allow-empty -m x
python3 -m venv --without-pip v
"""


def test_ordinary_work_goes_on(caller: Caller, workspace: Path) -> None:
    done = caller.art("-m", workspace, "-i=false", "--", "sh", "-c", WORK)
    assert done.returncode == 0, done.stderr
    assert (workspace / "a").stat().st_mode & stat.S_ISVTX


def test_a_kept_home_has_them_and_a_pull_strips_them(caller: Caller, workspace: Path) -> None:
    options: list[str | Path] = ["-m", workspace, "-d", f"{workspace}.db", "-i=false"]
    script = "cp /usr/bin/id b; chmod 6755 b; mkdir g; chmod 2775 g; stat -c %a b g"
    done = caller.art(*options, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, b"6755\n2775\n"), done.stderr
    assert caller.art("pull", *options[:4]).returncode == 0
    assert stat.S_IMODE((workspace / "b").stat().st_mode) == 0o755


def test_a_setting_allows_them(caller: Caller, workspace: Path) -> None:
    done = caller.art(
        *("-m", workspace, "-i=false", "-c", "plugins.bwrap.set_ids=true"),
        *("--", "sh", "-c", "mkdir g; chmod 2775 g; git init -q --shared=group repo"),
    )
    assert done.returncode == 0, done.stderr
    assert (workspace / "g").stat().st_mode & stat.S_ISGID
