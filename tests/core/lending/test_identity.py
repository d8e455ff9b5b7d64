"""A name for commits, and agents that hold keys: what is lent, and that no key and no token comes with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.lending.ssh_agent_relay import is_allowed
from tests.support.lenders import SECRET, Lender

COMMIT = "git init -q . && git commit -q --allow-empty -m first"


def configured(lender: Lender) -> None:
    text = f'[user]\n\tname = Ann Ö. "A"\n\temail = ann@example.com\n[http]\n\textraHeader = {SECRET}\n'
    lender.write(".gitconfig", text)


def test_git_gets_a_name_and_nothing_else_of_its_configuration(lender: Lender, kept: bool) -> None:
    configured(lender)
    script = f"{COMMIT} && git log -1 --format='%an %ae %cn %ce'; git config --list --show-origin; ls -A ~"
    done = lender.shell(script, "--git", kept=kept)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().startswith("Ann Ö. A ann@example.com Ann Ö. A ann@example.com\n")
    assert SECRET not in done.stdout.decode() and done.stdout.endswith(b"ws\n")
    shown = lender.art("--git", "--print-command", "--", "true", kept=kept).stdout.decode()
    assert "# --git: your name and e-mail at GIT_AUTHOR_EMAIL GIT_AUTHOR_NAME GIT_COMMITTER" in shown


def test_the_callers_own_variables_win_over_gits_configuration(lender: Lender) -> None:
    configured(lender)
    env = {"GIT_AUTHOR_NAME": "Bob", "GIT_AUTHOR_EMAIL": "bob@example.com"}
    done = lender.shell(f"{COMMIT} && git log -1 --format='%an %ae %cn'", "--git", env=env)
    assert done.stdout.decode() == "Bob bob@example.com Ann Ö. A\n", done.stderr


def test_a_commit_without_a_name_ends_with_gits_words_and_one_hint(lender: Lender) -> None:
    configured(lender)
    assert lender.shell("git init -q .").returncode == 0
    done = lender.art("-i=false", "--", "git", "commit", "--allow-empty", "-m", "x")
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 128
    assert any(line.startswith("fatal: ") for line in lines)
    assert [line for line in lines if line.startswith("art: ")] == [
        "art: note: your name and e-mail are not in the sandbox; --git lends it both, for commits"
    ]
    with_it = lender.art("-i=false", "--git", "--", "git", "commit", "--allow-empty", "-m", "x")
    assert with_it.returncode == 0, with_it.stderr


def test_without_a_name_in_gits_configuration_it_is_said(lender: Lender) -> None:
    done = lender.shell("true", "--git")
    assert done.returncode == 2
    assert b"--git: git knows no user." in done.stderr and b"git config --global user." in done.stderr


# --- ssh ---------------------------------------------------------------------------------------


@pytest.fixture
def ssh_agent(lender: Lender) -> Iterator[dict[str, str]]:
    """An agent of the caller's that holds a key; the key lies in the caller's home, too."""
    directory = Path(tempfile.mkdtemp(prefix="art-test-agent-"))
    os.chown(directory, lender.caller.uid, lender.caller.gid)
    socket = directory / "socket"
    env = {"HOME": str(lender.home), "SSH_AUTH_SOCK": str(socket)}
    agent = lender.caller.popen(["ssh-agent", "-D", "-a", socket], env=env, stdout=subprocess.DEVNULL)
    try:
        lender.write(".ssh/known_hosts", "example.com ssh-ed25519 AAAA\n")
        key = lender.home / ".ssh/id_ed25519"
        made = lender.caller.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", SECRET, "-f", key])
        assert made.returncode == 0, made.stderr
        while not socket.exists():
            assert agent.poll() is None
        added = lender.caller.run(["ssh-add", "-q", key], env=env)
        assert added.returncode == 0, added.stderr
        yield env
    finally:
        agent.terminate()
        agent.wait()
        shutil.rmtree(directory)


def test_an_ssh_agent_signs_and_no_key_is_there(
    lender: Lender, ssh_agent: dict[str, str], kept: bool
) -> None:
    script = """
        ssh-add -l; ls -A ~/.ssh; cat ~/.ssh/known_hosts; echo more >>~/.ssh/known_hosts
        echo signed >text; ssh-add -L >key.pub; ssh-keygen -q -Y sign -f key.pub -n file text
        head -1 text.sig; ls -A /run/art
    """
    before = lender.state()
    done = lender.shell(script, "--ssh-agent", kept=kept, env=ssh_agent)
    lines = done.stdout.decode().splitlines()
    assert lines[0].endswith(f"{SECRET} (ED25519)"), done.stderr
    assert lines[1:] == [
        "known_hosts",
        "example.com ssh-ed25519 AAAA",
        "-----BEGIN SSH SIGNATURE-----",
        "ssh-agent",
    ]
    assert lender.state() == before


def test_keys_cannot_be_removed_added_or_locked(lender: Lender, ssh_agent: dict[str, str]) -> None:
    script = """
        ssh-add -D; ssh-keygen -q -t ed25519 -N '' -f ~/own; ssh-add ~/own
        printf 'p\\np\\n' | SSH_ASKPASS=/bin/true SSH_ASKPASS_REQUIRE=force ssh-add -x; ssh-add -l | wc -l
    """
    done = lender.shell(script, "--ssh-agent", env=ssh_agent)
    assert done.stdout == b"1\n", done.stderr
    listed = lender.caller.run(["ssh-add", "-l"], env=ssh_agent)
    assert listed.stdout.count(b"\n") == 1 and SECRET.encode() in listed.stdout


def carrying(text: str) -> list[Path]:
    """The processes that have a text in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and text.encode() in (process / "environ").read_bytes():
                found.append(process)
    return found


def test_what_stands_before_the_agent_ends_with_the_run(lender: Lender, ssh_agent: dict[str, str]) -> None:
    runtime = lender.home / "runtime"
    runtime.mkdir()
    lender.own()
    env = {**ssh_agent, "XDG_RUNTIME_DIR": str(runtime)}
    assert lender.shell("true", "--ssh-agent", env=env).returncode == 0
    assert os.listdir(runtime) == []
    with lender.popen("ssh-add -l; echo ready; read line", "--ssh-agent", env=env) as run:
        assert run.stdout is not None and SECRET.encode() in run.stdout.readline()
        assert run.stdout.readline() == b"ready\n"
        assert len(os.listdir(runtime)) == 1
        processes = carrying(str(runtime))
        assert len(processes) > 1
        run.kill()
    until = time.monotonic() + 20
    while any(process.exists() for process in processes) and time.monotonic() < until:
        time.sleep(0.01)
    assert [process for process in processes if process.exists()] == []
    assert os.listdir(runtime) == []


@pytest.mark.parametrize(
    ("request_", "allowed"),
    [
        *((bytes([kind]), kind in (11, 13)) for kind in range(1, 30)),
        (b"", False),
        (b"\x1b\0\0\0\x18session-bind@openssh.com rest", True),
        (b"\x1b\0\0\0\x18other-extension@example.com", False),
    ],
)
def test_what_an_agent_is_asked_for(request_: bytes, allowed: bool) -> None:
    assert is_allowed(request_) is allowed


def test_the_agents_neighbours_are_not_seen(lender: Lender, ssh_agent: dict[str, str]) -> None:
    socket = Path(ssh_agent["SSH_AUTH_SOCK"])
    (socket.parent / "secret").write_text(SECRET)
    done = lender.shell(f"ls -A {socket.parent} /run/art /run; env", "--ssh-agent", env=ssh_agent)
    assert SECRET not in done.stdout.decode() and "secret" not in done.stdout.decode()
    assert b"SSH_AUTH_SOCK=/run/art/ssh-agent\n" in done.stdout
    shown = lender.art("--ssh-agent", "--print-command", "--", "true", env=ssh_agent)
    assert b"# --ssh-agent: your ssh agent at /run/art/ssh-agent; everything can be signed" in shown.stdout


def test_without_it_there_is_no_agent_and_a_hint_says_so(lender: Lender, ssh_agent: dict[str, str]) -> None:
    assert lender.shell("ssh-add -l", env=ssh_agent).returncode == 2
    words = ("-i=false", "--", "ssh", "-o", "BatchMode=yes", "-p", "1", "127.0.0.1")
    done = lender.art(*words, env=ssh_agent)
    assert done.returncode == 255
    assert done.stderr.endswith(
        b"art: note: your ssh keys are not in the sandbox; --ssh-agent lends it your agent\n"
    )


def test_an_agent_that_cannot_be_asked_is_refused_with_the_cure(lender: Lender) -> None:
    cases = [({"SSH_AUTH_SOCK": ""}, b"no agent runs"), ({"SSH_AUTH_SOCK": "/etc/passwd"}, b"is no socket")]
    for env, said in cases:
        done = lender.shell("true", "--ssh-agent", env=env)
        assert done.returncode == 125 and said in done.stderr, done.stderr


# --- gpg ---------------------------------------------------------------------------------------


@pytest.fixture
def gpg_home(lender: Lender) -> Iterator[Lender]:
    """A caller with a key; the agent that is started for it is ended."""
    (lender.home / ".gnupg").mkdir(mode=0o700)
    lender.own()
    env = {"HOME": str(lender.home)}
    words = [
        "--batch",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
        "--quick-gen-key",
        "Ann <ann@example.com>",
    ]
    try:
        made = lender.caller.run(["gpg", *words, "ed25519", "sign"], env=env)
        assert made.returncode == 0, made.stderr
        yield lender
    finally:
        lender.caller.run(["gpgconf", "--kill", "gpg-agent"], env=env)


@pytest.mark.slow
def test_a_gpg_agent_signs_and_gives_no_key_away(gpg_home: Lender, kept: bool) -> None:
    script = """
        echo text | gpg --batch --clearsign 2>/dev/null | grep -c 'BEGIN PGP SIGNATURE'
        gpg --batch --yes --pinentry-mode loopback --passphrase '' --export-secret-keys 2>/dev/null | wc -c
        gpg --list-keys 2>/dev/null | grep -o 'ann@example.com'; ls -A ~/.gnupg; ls ~/.gnupg/private-keys-v1.d
        echo spoilt >~/.gnupg/pubring.kbx
    """
    ring = (gpg_home.home / ".gnupg/pubring.kbx").read_bytes()
    done = gpg_home.shell(script, "--gpg-agent", kept=kept)
    lines = done.stdout.decode().splitlines()
    assert lines[:3] == ["1", "0", "ann@example.com"], done.stderr
    assert {"S.gpg-agent", "pubring.kbx", "trustdb.gpg"} <= set(lines[3:])
    assert not {"private-keys-v1.d", "openpgp-revocs.d"} & set(lines)
    assert (gpg_home.home / ".gnupg/pubring.kbx").read_bytes() == ring
