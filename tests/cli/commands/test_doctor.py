"""`art doctor`: what a machine lacks, and whether a sandbox can run."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from art_cli.commands.doctor import report
from art_cli.run.requirements import Check, Host, all_checks
from tests.support.callers import Caller

SETTINGS = "/proc/sys/"
READY: Mapping[str, str] = {
    "/proc/self/uid_map": "0 0 4294967295",
    "/proc/self/status": "Seccomp_filters:\t0\n",
    f"{SETTINGS}user/max_user_namespaces": "100\n",
    f"{SETTINGS}kernel/yama/ptrace_scope": "1\n",
    "/etc/os-release": 'NAME="Debian GNU/Linux"\nID=debian\n',
}


def host(
    files: Mapping[str, str | None] | None = None,
    *,
    lacks: Collection[str] = (),
    release: str = "6.12.0-amd64",
    landlock: int = 6,
) -> Host:
    """A machine that has everything but what it lacks: programs and paths by name."""
    contents = {**READY, **(files or {})}
    return Host(
        read=contents.get,
        has_program=lambda name: None if name in lacks else f"/usr/bin/{name}",
        exists=lambda path: path not in lacks,
        release=release,
        landlock_abi=landlock,
    )


def failing(machine: Host) -> dict[str, Check]:
    return {check.name: check for check in all_checks(machine) if check.state != "ok"}


def test_a_machine_that_has_all_passes() -> None:
    assert failing(host()) == {}


@pytest.mark.parametrize(
    ("machine", "name", "state", "cure"),
    [
        (host(release="5.4.0-generic"), "kernel", "warning", "5.12"),
        (host({"/proc/self/uid_map": None}), "user namespaces", "missing", "CONFIG_USER_NS"),
        (
            host({f"{SETTINGS}kernel/apparmor_restrict_unprivileged_userns": "1\n"}),
            "user namespaces",
            "warning",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            host({f"{SETTINGS}kernel/unprivileged_userns_clone": "0\n"}),
            "user namespaces",
            "missing",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            host({f"{SETTINGS}user/max_user_namespaces": "0\n"}),
            "user namespaces",
            "missing",
            "sudo sysctl -w user.max_user_namespaces=10000",
        ),
        (host({"/proc/self/status": "Name:\tart\n"}), "seccomp", "missing", "CONFIG_SECCOMP_FILTER"),
        (host(landlock=0), "Landlock", "warning", "6.12"),
        (host(landlock=5), "Landlock", "warning", "6.12"),
        (host(lacks={"/dev/fuse"}), "/dev/fuse", "warning", "sudo modprobe fuse"),
        (host(lacks={"fusermount3"}), "fusermount3", "warning", "sudo apt install fuse3"),
        (
            host({"/etc/os-release": 'ID="rocky"\nID_LIKE="rhel centos fedora"\n'}, lacks={"fusermount3"}),
            "fusermount3",
            "warning",
            "sudo dnf install fuse3",
        ),
        (
            host({"/etc/os-release": "ID=arch\n"}, lacks={"fusermount3"}),
            "fusermount3",
            "warning",
            "sudo pacman -S fuse3",
        ),
        (
            host({"/etc/os-release": None}, lacks={"fusermount3"}),
            "fusermount3",
            "warning",
            "install the package fuse3",
        ),
        (
            host({f"{SETTINGS}kernel/yama/ptrace_scope": "2\n"}),
            "ptrace(2)",
            "warning",
            "sudo sysctl -w kernel.yama.ptrace_scope=1",
        ),
        (host({f"{SETTINGS}kernel/yama/ptrace_scope": "3\n"}), "ptrace(2)", "warning", "after a restart"),
    ],
)
def test_what_is_lacking_is_named_with_its_cost_and_its_cure(
    machine: Host, name: str, state: str, cure: str
) -> None:
    (check,) = failing(machine).values()
    assert (check.name, check.state) == (name, state)
    assert cure in check.cure
    assert check.found and check.without


def test_a_machine_without_yama_lets_processes_trace() -> None:
    assert failing(host({f"{SETTINGS}kernel/yama/ptrace_scope": None})) == {}


def test_the_report_has_the_cure_below_what_is_lacking() -> None:
    lines = report(False, [Check("a", "ok", "there"), Check("bb", "missing", "gone", "all", "get it")], [])
    assert lines == [
        "ok       a   there",
        "missing  bb  gone",
        "             without it: all",
        "             cure: get it",
        "",
        "Hidden in a sandbox here: nothing",
        "No sandbox can run here.",
    ]


# --- on this machine ---------------------------------------------------------------------------


def examined(caller: Caller, *words: str, status: int = 0, **env: str) -> dict[str, Any]:
    done = caller.art("doctor", "--json", *words, env=env)
    assert (done.returncode, done.stderr) == (status, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def states(found: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in found["checks"]}


def test_a_sandbox_can_run_here(caller: Caller) -> None:
    found = examined(caller)
    assert found["works"] is True
    assert states(found)["a run"] == "ok"
    assert states(found)["filtered network"] == "ok"
    (limits,) = [check for check in found["checks"] if check["name"] == "limits"]
    assert "--timeout, --disk" in limits["found"]
    assert (limits["state"] == "ok") is ("--cpus" in limits["found"])
    (isolation,) = [check for check in found["checks"] if check["name"] == "isolation bwrap"]
    assert "bwrap (bubblewrap 0." in isolation["found"]


def test_what_is_hidden_is_listed(caller: Caller) -> None:
    hidden = examined(caller)["hidden"]
    assert "/run" in hidden
    assert "/root" in hidden


def test_people_get_lines(plain: Caller) -> None:
    done = plain.art("doctor")
    lines = done.stdout.decode().splitlines()
    assert lines[-1] == "A sandbox can run here."
    assert lines[-2].startswith("Hidden in a sandbox here: ")
    assert all(line.split()[0] in ("ok", "warning", "missing", "without", "cure:") for line in lines[:-3])


def test_the_trial_leaves_nothing_behind(caller: Caller, workspace: Path) -> None:
    caller.run(["mkdir", "-p", workspace / "tmp"])
    examined(caller, TMPDIR=str(workspace / "tmp"))
    assert list((workspace / "tmp").iterdir()) == []


def test_a_machine_where_no_sandbox_runs_ends_with_one(plain: Caller) -> None:
    found = examined(plain, "-c", "plugins.bwrap.program=/no/such/bwrap", status=1)
    assert found["works"] is False
    assert states(found)["a run"] == "missing"
    assert states(found)["isolation bwrap"] == "missing"
    assert any("/no/such/bwrap" in check["found"] for check in found["checks"])
    shown = plain.art("doctor", "-c=plugins.bwrap.program=/no/such/bwrap")
    assert shown.returncode == 1
    assert shown.stdout.endswith(b"No sandbox can run here.\n")


def test_a_bwrap_that_does_nothing_is_found_out(plain: Caller) -> None:
    found = examined(plain, "-c", "plugins.bwrap.program=/bin/false", status=1)
    assert states(found)["a run"] == "missing"


def test_settings_that_are_wrong_are_a_finding(caller: Caller, workspace: Path) -> None:
    folder = workspace / "config/art"
    caller.run(["mkdir", "-p", folder])
    caller.run(["sh", "-c", f"echo 'nonsense = [' > {folder}/config.toml"])
    found = examined(caller, status=1, XDG_CONFIG_HOME=str(folder.parent))
    assert states(found)["settings"] == "missing"
    assert str(folder / "config.toml") in found["checks"][0]["found"]


def test_a_plugin_that_is_missing_is_a_finding(plain: Caller) -> None:
    found = examined(plain, "--no-plugin", "bwrap", status=1)
    assert "bwrap" in next(check["found"] for check in found["checks"] if check["name"] == "a run")


@pytest.mark.parametrize(
    ("plugin", "what", "cure"),
    [
        ("cowfs", "store sqlite", "overlay"),
        ("proxy", "gateway proxy", "network"),
        ("ptrace", "tracer ptrace", "trace"),
    ],
)
def test_a_part_that_is_not_there_is_a_finding_with_what_brings_it(
    plain: Caller, plugin: str, what: str, cure: str
) -> None:
    assert states(examined(plain))[what] == "ok"
    found = examined(plain, "--no-plugin", plugin)
    (check,) = [check for check in found["checks"] if check["name"] == what]
    assert (check["state"], check["cure"]) == ("warning", f"pip install 'art-runtime[{cure}]'")
    assert check["without"]
