"""`art agents`, and what `--explain` says of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory


@pytest.fixture
def workspace_of_plain(plain: Caller) -> Iterator[Path]:
    with fresh_directory(plain) as workspace:
        yield workspace


@pytest.fixture
def at_home(plain: Caller, workspace_of_plain: Path) -> dict[str, str]:
    """The variables of somebody with a login, a tool and a preset of their own."""
    home = workspace_of_plain.parent / "home"
    for name, text in {
        ".config/art/agents/mine.toml": (
            'summary = "my own"\ncommands = ["mine"]\nextends = "claude"\npass = ["MY_*"]\n'
            'seeds = ["~/.mine"]\nleaks = { "~/.mine" = "all I have" }\n'
        ),
        ".config/art/agents/wrong.toml": "seeds = 1\n",
        ".mine": "x",
        ".claude/.credentials.json": "{}",
        ".local/bin/tool": "#!/bin/sh\n",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    for path in (home, *home.rglob("*")):
        os.chown(path, plain.uid, plain.gid)
    return {"HOME": str(home), "MY_KEY": "a value", "PATH": f"{home}/.local/bin:/usr/bin:/bin"}


def test_the_list_names_what_ships_and_what_is_ones_own(plain: Caller, at_home: dict[str, str]) -> None:
    done = plain.art("agents", env=at_home)
    lines = done.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == [
        *("aider", "claude", "codex", "gemini", "mine", "opencode", "tools", "wrong")
    ]
    assert "mine      my own" in lines
    assert lines[-1].endswith("wrong.toml: seeds: must be a list of texts")
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_list_for_programs(plain: Caller, at_home: dict[str, str]) -> None:
    found = {
        one["name"]: one for one in json.loads(plain.art("agents", "--json", env=at_home).stdout)["agents"]
    }
    assert found["mine"]["commands"] == ["mine"]
    assert found["mine"]["extends"] == ["tools", "claude"]
    assert found["mine"]["file"] == f"{at_home['HOME']}/.config/art/agents/mine.toml"
    assert "error" in found["wrong"]


def test_one_shows_what_it_grants_here_and_what_is_absent(plain: Caller, at_home: dict[str, str]) -> None:
    done = plain.art("agents", "mine", env=at_home)
    page = done.stdout.decode()
    file = f"{at_home['HOME']}/.config/art/agents/mine.toml"
    assert page.startswith(f"mine: my own ({file})\ncommand: mine\n")
    assert f"  ~/.mine, as a view in the home; changes stay inside\n      {file}: seeds[0]\n" in page
    assert "      could leak: all I have\n" in page
    assert f"  the variable MY_KEY\n      {file}: pass[0]\n      could leak: its value\n" in page
    shown, absent = page.split("absent here, so left out:\n")
    assert "~/.local/bin, read-only" in shown and "~/.nvm" not in shown
    assert "  ~/.nvm/versions/node  (art_core/agents/tools.toml: expose[0])\n" in absent
    assert "a value" not in page


def test_one_for_programs(plain: Caller, at_home: dict[str, str]) -> None:
    found = json.loads(plain.art("agents", "mine", "--json", env=at_home).stdout)
    (grant,) = [grant for grant in found["grants"] if grant["text"] == "~/.mine"]
    assert grant == {
        "key": "seeds",
        "text": "~/.mine",
        "value": "",
        "here": [f"{at_home['HOME']}/.mine"],
        "from": f"{at_home['HOME']}/.config/art/agents/mine.toml: seeds[0]",
        "leaks": "all I have",
    }


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["agents", "claud"], 2, "did you mean claude"),
        (["agents", "wrong"], 125, "wrong.toml: seeds: must be a list of texts"),
        (["--agent", "claud", "--", "true"], 2, "see: art agents"),
        (["--agent", "wrong", "--", "true"], 125, "wrong.toml: seeds"),
        (["--agent", "mine", "-i=false", "--", "true"], 125, "art trust --agent mine -m"),
        (["-m", "no/such", "--explain", "--", "true"], 125, "No such file"),
    ],
)
def test_a_mistake_is_one_line(
    plain: Caller, at_home: dict[str, str], words: list[str], status: int, says: str
) -> None:
    done = plain.art(*words, env=at_home, cwd=Path(at_home["HOME"]).parent / "ws")
    assert (done.returncode, done.stdout) == (status, b"")
    assert done.stderr.startswith(b"art: error: ") and done.stderr.count(b"\n") == 1
    assert says in done.stderr.decode()


def explained(plain: Caller, env: dict[str, str], *words: str) -> str:
    workspace = Path(env["HOME"]).parent / "ws"
    done = plain.art("run", *words, "--explain", "--", "touch", "made", env=env, cwd=workspace)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    assert list(workspace.iterdir()) == []
    return done.stdout.decode()


def test_a_run_is_explained_and_not_run(plain: Caller, at_home: dict[str, str]) -> None:
    page = explained(plain, at_home, "--agent", "mine", "-d", "../ws.db", "--network", "filtered")
    assert page.startswith("nothing was run; touch would be given, besides the host's system to read:\n")
    workspace = Path(at_home["HOME"]).parent / "ws"
    assert f"  {workspace} at /home/agent/ws; changes are kept in ../ws.db\n      --db\n" in page
    assert f"  a private view of {at_home['HOME']}/.mine at /home/agent/.mine\n" in page
    credentials = ".claude/.credentials.json"
    assert (
        f"  the host's own {at_home['HOME']}/{credentials} at /home/agent/{credentials} "
        "(asked for first: writes to the host)\n"
        "      art_core/agents/claude.toml: shares[0]\n"
        "      could leak: the login of your account: whoever has it acts as you at Anthropic\n"
    ) in page
    assert "  api.anthropic.com\n      art_core/agents/claude.toml: domains[0]\n" in page
    assert "  the variable IS_SANDBOX=1\n      art_core/agents/claude.toml: set.IS_SANDBOX\n" in page
    assert "in front: ~/.local/bin; behind: nothing" in page
    absent = page.partition("absent here, so left out:\n")[2]
    assert "~/.claude.json  (art_core/agents/claude.toml: seeds[0])" in absent
    assert "git  (art_core/agents/claude.toml: git)" in absent  # No name is configured.
    assert "a value" not in page
    assert not (workspace.parent / "ws.db").exists()


def test_what_is_approved_is_explained_as_such(plain: Caller, at_home: dict[str, str]) -> None:
    workspace = Path(at_home["HOME"]).parent / "ws"
    trusted = plain.art("trust", "--agent", "mine", "--yes", cwd=workspace, env=at_home)
    assert b".credentials.json" in trusted.stdout
    page = explained(plain, at_home, "--agent", "mine")
    assert ".credentials.json (approved)\n" in page
    assert "the host's network; --network filtered would limit it to api.anthropic.com, claude.ai" in page
    # Each preset has an approval of its own, and --forget takes all of them back.
    assert plain.art("trust", "--agent", "claude", "--yes", cwd=workspace, env=at_home).returncode == 0
    run = ["--agent", "mine", "-i=false", "--", "true"]
    assert plain.art(*run, cwd=workspace, env=at_home).returncode == 0
    assert plain.art("trust", "--forget", cwd=workspace, env=at_home).returncode == 0
    assert plain.art("trust", "--list", env=at_home).stdout == b""
    assert plain.art(*run, cwd=workspace, env=at_home).returncode == 125


def test_a_run_without_a_preset_is_explained_too(plain: Caller, at_home: dict[str, str]) -> None:
    config = Path(at_home["HOME"], ".config/art/config.toml")
    config.write_text('[network]\nallow = ["set.example"]\n')
    asked = ["--bind", "/etc:/opt/etc", "-e", "MY_*", "-e", "SET=1", "--no-masks", "--nested"]
    page = explained(plain, at_home, *asked, "--seed", "~/.mine", "--allow-domain", "typed.example")
    for what, source in (
        ("/etc at /opt/etc, read-only", "--bind /etc:/opt/etc"),
        ("the variable MY_KEY", "-e MY_*"),
        ("the variable SET", "-e SET"),
        ("the variable LANG", "ART's own list: env.pass"),
        ("set.example", f"{config}: network.allow"),
        ("typed.example", "--allow-domain"),
        ("no masks", "--no-masks"),
        ("user namespaces", "--nested"),
        (f"a private view of {at_home['HOME']}/.mine at /home/agent/.mine", "--seed ~/.mine"),
    ):
        assert f"  {what}\n      {source}\n" in page
    assert "absent" not in page
    assert "the host's network; --network filtered would limit it" in explained(plain, at_home)


def test_values_of_a_presets_variables_are_in_no_command_line_that_is_printed(
    plain: Caller, at_home: dict[str, str], workspace_of_plain: Path
) -> None:
    words = ["--agent", "mine", "--trust-binds", "--print-command", "--", "true"]
    done = plain.art(*words, cwd=workspace_of_plain, env=at_home)
    assert b"MY_KEY" in done.stdout and b"a value" not in done.stdout
