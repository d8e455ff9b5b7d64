"""Hosts of other shapes: /etc/resolv.conf that links into /run, containers that forbid a new /proc.

Each host is a private mount namespace in which root rearranged what ART finds; the real one is never touched.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.attackers import Attacker


def on_host(
    attacker: Attacker,
    rearrange: str,
    *command: str | Path,
    options: Sequence[str] = (),
    script: str = '"$@"',
) -> subprocess.CompletedProcess[bytes]:
    """Run ART after `rearrange`, a shell script that root runs in a mount namespace of its own; `script`
    then runs ART as "$@"."""
    if os.geteuid() != 0:
        pytest.fail("this test rearranges mounts; run the tests as root: sudo make test", pytrace=False)
    argv = attacker.caller.command(attacker.argv(*command, options=options), dict(attacker.variables))
    shell = f"set -e\n{rearrange}\nset +e\n{script}"
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", shell, "sh", *argv]
    return subprocess.run(
        words, cwd=attacker.caller.place, capture_output=True, stdin=subprocess.DEVNULL, timeout=60
    )


RESOLVER = """
    top=$(mktemp -d /tmp/art-test-XXXXXX) && mount -t tmpfs none $top
    cp -a /etc $top/etc 2>/dev/null || true
    ln -sfn ../run/resolver/resolv.conf $top/etc/resolv.conf
    ln -sfn ../run/zone $top/etc/localtime
    mount --bind $top/etc /etc
    umount -l $top && rmdir $top
    mount -t tmpfs -o mode=755 none /run
    mkdir /run/resolver /run/private
    echo "nameserver 192.0.2.1" >/run/resolver/resolv.conf
    echo secret >/run/private/key
    cp /usr/share/zoneinfo/UTC /run/zone 2>/dev/null || echo UTC >/run/zone
    python3 -c '
import socket
service = socket.socket(socket.AF_UNIX)
service.bind("/run/resolver/io.socket")
service.listen()'
    chmod 777 /run/resolver/io.socket
"""


def test_names_are_resolved_although_run_is_hidden(anybody: Attacker) -> None:
    script = """
        cat /etc/resolv.conf; test -s /etc/localtime && echo zone
        ls /run/private /run/private/key; ls -A /run
        python3 -c '
import socket
try:
    socket.socket(socket.AF_UNIX).connect("/run/resolver/io.socket")
    print("connected")
except OSError:
    print("refused")'
        true >/run/resolver/new
    """
    done = on_host(anybody, RESOLVER, "sh", "-c", script)
    lines = done.stdout.decode().splitlines()
    assert lines[:2] == ["nameserver 192.0.2.1", "zone"], done.stderr
    assert lines[-1] == "refused"
    assert b"secret" not in done.stdout
    assert "private" not in lines


def test_a_resolver_that_rewrites_its_file_is_followed(anybody: Attacker) -> None:
    """systemd-resolved and others rename a new file over the old one."""
    script = f"""
        "$@" &
        while [ ! -e {anybody.workspace}/started ]; do sleep 0.05; done
        echo "nameserver 192.0.2.2" >/run/resolver/new && mv /run/resolver/new /run/resolver/resolv.conf
        touch {anybody.workspace}/go
        wait
    """
    inside = "touch started; while [ ! -e go ]; do sleep 0.05; done; cat /etc/resolv.conf"
    done = on_host(anybody, RESOLVER, "sh", "-c", inside, script=script)
    assert done.stdout == b"nameserver 192.0.2.2\n", done.stderr


CONTAINER = """
    mount -t tmpfs none /proc/acpi 2>/dev/null || mount --bind /dev/null /proc/kcore
    mount -o bind,ro /proc/sys /proc/sys
"""
"""As container engines do: parts of /proc are covered, so the kernel refuses a new one inside."""


def test_in_a_container_the_sandbox_still_starts_and_says_what_shows(anybody: Attacker) -> None:
    cache = {"XDG_CACHE_HOME": str(anybody.workspace.parent / "cache")}
    attacker = Attacker(anybody.caller, anybody.workspace, anybody.options, {**anybody.variables, **cache})
    inside = """
        echo started
        unshare --user true && echo user namespace
        unshare --user --map-root-user --mount true && echo mounts
        true >/proc/sys/kernel/core_pattern && echo core
        true >/proc/sysrq-trigger && echo sysrq
        for p in /proc/[0-9]*; do
            cat $p/environ 2>/dev/null | tr '\\0' '\\n' | grep -q HOSTSECRET && echo environ
            ls $p/root/root $p/cwd/ $p/fd/ >/dev/null 2>&1 && [ "$(readlink $p/root)" != / ] && echo root
        done
        true
    """
    script = 'HOSTSECRET=1 sleep 30 & "$@"; status=$?; kill $!; exit $status'
    done = on_host(attacker, CONTAINER, "sh", "-c", inside, script=script)
    assert (done.returncode, done.stdout) == (0, b"started\n"), done.stderr
    doctor = f"shift $(($# - 1)); {attacker.caller.art_program} doctor"
    said = on_host(attacker, CONTAINER, "true", script=doctor).stdout.decode()
    (line,) = [line for line in said.splitlines() if line[9:].startswith("/proc ")]
    assert line.startswith("warning") and "read-only" in line


def test_a_host_that_covers_a_part_of_proc_later_keeps_nobody_from_starting(anybody: Attacker) -> None:
    """What was found out about the host is asked again: the number of its mount namespace did not change."""
    cache = {"XDG_CACHE_HOME": str(anybody.workspace.parent / "cache")}
    attacker = Attacker(anybody.caller, anybody.workspace, anybody.options, {**anybody.variables, **cache})
    done = on_host(attacker, "", "echo", "started", script=f'"$@"\n{CONTAINER}\n"$@"')
    assert (done.returncode, done.stdout) == (0, b"started\nstarted\n"), done.stderr


def test_a_file_system_of_another_user_keeps_nobody_from_starting(anybody: Attacker) -> None:
    """One that only its owner may look at (fuse(8)): even asking what is at its place fails."""
    parent = anybody.workspace.parent
    rearrange = f"""
        mkdir {parent}/foreign
        exec 3<>/dev/fuse
        mount -i -t fuse -o fd=3,rootmode=40000,user_id=12345,group_id=12345 none {parent}/foreign
    """
    script = f"cat {parent}/made; ls -A {parent}/foreign; mountpoint -q {parent}/foreign || echo hidden"
    options = ["--bind", f"/etc/hostname:{parent}/made"]
    done = on_host(anybody, rearrange, "sh", "-c", script, options=options)
    assert done.returncode == 0, done
    assert done.stdout.splitlines() == [Path("/etc/hostname").read_bytes().strip(), b"hidden"]
