"""The whole command line of a run, on a made-up host."""

from __future__ import annotations

import marshal

import pytest

from art_core.contracts import GuestFile
from art_core.errors import IsolationError
from tests.bwrap.machine import arguments, isolation, mount, run, steps

GOLDEN = """\
--unshare-user
--uid 1000
--gid 1000
--unshare-ipc
--unshare-pid
--unshare-uts
--unshare-cgroup-try
--die-with-parent
--cap-drop ALL
--clearenv
--json-status-fd 3
--disable-userns
--add-seccomp-fd 8
--symlink usr/bin /bin
--ro-bind-try /etc /etc
--perms 0755
--dir /home
--ro-bind-try /opt /opt
--perms 0755
--dir /root
--perms 0755
--dir /run
--ro-bind-try /srv /srv
--ro-bind-try /usr /usr
--ro-bind-try /var /var
--ro-bind-try /vmlinuz /vmlinuz
--dev /dev
--perms 1777
--size 1048576
--tmpfs /dev/shm
--proc /proc
--ro-bind-try /proc/sys /proc/sys
--perms 1777
--size 2097152
--tmpfs /tmp
--perms 0755
--size 3145728
--tmpfs /home/agent
--perms 0755
--dir /home/ann
--bind-fd 11 /home/ann/ws
--bind-fd 12 /home/agent/ws
--perms 0644
--ro-bind-data 13 /etc/passwd
--perms 0755
--size 4096
--tmpfs /etc/ssh
--remount-ro /etc/ssh
--remount-ro /
--remount-ro /dev
--chdir /"""


def test_the_whole_command_line_of_a_direct_run() -> None:
    launch = isolation().plan(
        run(
            masks=["/home", "/root", "/run"],
            mounts=[
                mount("/home/ann/ws", "/home/ann/ws", writable=True, fd=0),
                mount("/home/ann/ws", "/home/agent/ws", writable=True, fd=0),
            ],
            files=[
                GuestFile(guest="/etc/passwd", contents=b"x"),
                GuestFile(guest="/etc/ssh", contents=None, mode=0o755),
            ],
        )
    )
    assert "\n".join(steps(arguments(launch.files))) == GOLDEN
    assert launch.argv[:4] == ["/usr/bin/bwrap", "--args", "5", "--"]
    assert launch.argv[4:9] == ["/usr/bin/python3.11", "-I", "-S", "-B", "-c"]
    assert launch.files[13] == b"x"


def test_bwrap_itself_gets_no_environment() -> None:
    assert isolation().plan(run()).env == {}


def test_the_command_and_its_environment_travel_by_descriptor() -> None:
    launch = isolation().plan(run("prog", "secret-argument", env={b"TOKEN": b"secret-value"}))
    assert "secret" not in " ".join(launch.argv) + " ".join(arguments(launch.files))
    payload = launch.files[6]
    assert isinstance(payload, bytes)
    _, (argv, env, cwd, *_) = marshal.loads(payload)
    assert (argv, env, cwd) == ([b"prog", b"secret-argument"], {b"TOKEN": b"secret-value"}, b"/home/agent/ws")


def test_two_plans_of_one_run_are_equal() -> None:
    assert isolation().plan(run()) == isolation().plan(run())


def test_without_a_network_there_is_a_network_namespace() -> None:
    assert "--unshare-net" in arguments(isolation().plan(run(network="none")).files)
    assert "--unshare-net" not in arguments(isolation().plan(run(network="host")).files)


def test_nested_leaves_user_namespaces_allowed() -> None:
    assert "--disable-userns" not in arguments(isolation().plan(run(nested=True)).files)


def test_where_bwrap_cannot_forbid_namespaces_the_filter_does() -> None:
    with_bwrap = isolation().plan(run())
    with_filter = isolation(forbid_userns=False).plan(run())
    assert "--disable-userns" not in arguments(with_filter.files)
    assert len(with_filter.files[8]) > len(with_bwrap.files[8])  # type: ignore[arg-type]


def test_where_proc_cannot_be_mounted_the_hosts_is_shown_read_only() -> None:
    lines = steps(arguments(isolation(own_proc=False).plan(run()).files))
    assert "--ro-bind /proc /proc" in lines
    assert "--proc /proc" not in lines


def test_nothing_is_mounted_by_its_path() -> None:
    with pytest.raises(IsolationError, match="--bind: /srv/ws was not opened"):
        isolation().plan(run(mounts=[mount("/srv/ws", "/home/agent/ws", writable=True, fd=-1)]))


def test_an_unknown_machine_gets_no_filter() -> None:
    assert "--add-seccomp-fd" not in arguments(isolation(machine="riscv64").plan(run()).files)


def test_a_moved_interpreter_is_used_where_it_is_mounted() -> None:
    launch = isolation().plan(run(mounts=[mount("/home/ann/py", "/run/art/python", fd=0)]))
    assert launch.argv[4] == "/run/art/python/bin/python3.11"
    assert "--setenv LD_LIBRARY_PATH /run/art/python/lib" in steps(arguments(launch.files))


def test_the_command_line_for_people_holds_options_environment_and_command() -> None:
    shown = isolation().plan(run("make", "a b")).shown
    assert shown[0] == "/usr/bin/bwrap"
    assert list(shown[-3:]) == ["--", "make", "a b"]
    assert shown[shown.index("--setenv") :][:3] == ["--setenv", "HOME", "/home/agent"]
    assert "--cap-drop" in shown
