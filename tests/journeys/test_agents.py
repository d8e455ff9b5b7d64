"""Day one with an agent: installed as people install them, given what its preset names and nothing else.

The agents are stand-ins of the same shape on the disk; `real_agents.py` runs the real ones on demand.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from art_core.agents.presets import find
from art_core.config.settings import Settings
from tests.journeys.agents.model_server import model_server
from tests.support.callers import Caller, own
from tests.support.prerequisites import SYSTEM_PYTHON

AGENT = Path(__file__).parent / "agents/agent.py"


@dataclass(frozen=True)
class User:
    """Somebody with a home of their own, a workspace, and an agent in the home."""

    caller: Caller
    home: Path
    workspace: Path

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def link(self, path: str, target: str) -> None:
        link = self.home / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)

    def art(
        self, *words: str | Path, env: Mapping[str, str] | None = None, path: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        """`art` in the workspace, without a terminal; `path` are directories of the home on PATH."""
        own(self.caller, self.home)
        there = [str(self.home / directory) for directory in path]
        variables = {"HOME": str(self.home), "PATH": ":".join([*there, "/usr/local/bin:/usr/bin:/bin"])}
        return self.caller.art(*words, cwd=self.workspace, env={**variables, **(env or {})})


@pytest.fixture
def user(caller: Caller, workspace: Path) -> Iterator[User]:
    home = caller.home / f"home-{time.monotonic_ns():x}"
    home.mkdir()
    yield User(caller, home, workspace)
    shutil.rmtree(home)


# --- installed by npm under nvm ----------------------------------------------------------------

NVM = ".nvm/versions/node/v20.19.0"
PACKAGE = "lib/node_modules/@anthropic-ai/claude-code"
SCRIPT_OF_NODE = """\
#!/usr/bin/env node
console.log(JSON.stringify({node: process.execPath, env: process.env}))
"""
SCRIPT_OF_SHELL = """\
#!/usr/bin/env node
printf '{"node": "%s", "env": {"IS_SANDBOX": "%s", "ANTHROPIC_API_KEY": "%s", "HOME": "%s"}}' \\
  "$NODE" "$IS_SANDBOX" "$ANTHROPIC_API_KEY" "$HOME"
"""


@pytest.fixture
def npm_user(user: User) -> User:
    """Claude Code as npm installs it: a link in nvm's bin to a script for nvm's own node. Where there is no
    Node.js, a shell stands for it."""
    node = user.write(f"{NVM}/bin/node", '#!/bin/sh\nNODE="$0" exec /bin/sh "$@"\n', 0o755)
    real = shutil.which("node", path="/usr/bin:/usr/local/bin")
    if real:
        shutil.copy(real, node)
    user.write(f"{NVM}/{PACKAGE}/cli.js", SCRIPT_OF_NODE if real else SCRIPT_OF_SHELL, 0o755)
    user.link(f"{NVM}/bin/claude", f"../{PACKAGE}/cli.js")
    user.write(".nvm/versions/node/v8.0.0/bin/node", "#!/bin/sh\nexit 3\n", 0o755)
    user.write(".claude.json", '{"hasCompletedOnboarding": true}', 0o600)
    user.write(".claude/settings.json", "{}")
    return user


def test_an_agent_that_npm_installed_under_nvm_just_runs(npm_user: User) -> None:
    env = {"ANTHROPIC_API_KEY": "key", "OTHER_API_KEY": "secret"}
    done = npm_user.art("--agent", "claude", env=env, path=[f"{NVM}/bin"])
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert told["node"] == str(npm_user.home / NVM / "bin/node")
    inside = told["env"]
    assert (inside["HOME"], inside["IS_SANDBOX"], inside["ANTHROPIC_API_KEY"]) == ("/home/agent", "1", "key")
    assert "OTHER_API_KEY" not in inside
    assert done.stderr == b""


def test_an_agent_keeps_what_it_writes_in_a_database_and_the_host_keeps_its_own(npm_user: User) -> None:
    kept = ["--agent", "claude", "-d", "../home.db", "--", "sh", "-c"]
    change = (
        "echo {} >~/.claude.json.new; mv ~/.claude.json.new ~/.claude.json; echo inside >~/.claude/history"
    )
    first = npm_user.art(
        *kept, f"cat ~/.claude.json; {change}; node --version >/dev/null", path=[f"{NVM}/bin"]
    )
    assert (first.returncode, first.stderr) == (0, b"")
    assert first.stdout == b'{"hasCompletedOnboarding": true}'
    again = npm_user.art(*kept, "cat ~/.claude.json ~/.claude/history; ls ~/.claude")
    assert again.stdout == b"{}\ninside\nhistory\nsettings.json\n", again.stderr
    assert (npm_user.home / ".claude.json").read_text() == '{"hasCompletedOnboarding": true}'
    assert sorted(os.listdir(npm_user.home / ".claude")) == ["settings.json"]


def test_without_a_preset_there_is_one_hint_and_only_when_the_command_fails(npm_user: User) -> None:
    missing = npm_user.art("--", "claude", path=[f"{NVM}/bin"])
    assert missing.returncode == 127
    assert missing.stderr.decode() == (
        "art: error: 'claude': not found in the sandbox; claude has a preset that gives it what it needs: "
        "art --agent claude -- claude\n"
    )
    (npm_user.workspace / "codex").write_text("#!/bin/sh\nexit $1\n")
    (npm_user.workspace / "codex").chmod(0o755)
    failed = npm_user.art("--", "./codex", "3")
    assert (failed.returncode, failed.stderr.count(b"art --agent codex -- codex")) == (3, 1)
    assert npm_user.art("--", "./codex", "0").stderr == b""
    assert npm_user.art("--agent", "none", "--", "./codex", "3").stderr == b""


def test_a_setting_lets_the_name_of_a_command_imply_its_preset(npm_user: User) -> None:
    npm_user.write(".config/art/config.toml", "[agents]\nimplied = true\n")
    done = npm_user.art("--", "claude")
    assert json.loads(done.stdout)["env"]["IS_SANDBOX"] == "1", done.stderr
    assert npm_user.art("--", "printenv", "IS_SANDBOX").returncode == 1
    assert npm_user.art("--agent", "none", "--", "claude").returncode == 127


def test_the_settings_of_a_workspace_name_its_agent(npm_user: User) -> None:
    table = f'[workspace."{npm_user.workspace}"]\nagent = "claude"\n'
    npm_user.write(".config/art/config.toml", f"[agents]\nimplied = true\n{table}")
    for command in (["printenv", "IS_SANDBOX"], ["sh", "-c", "claude >/dev/null; echo $IS_SANDBOX"]):
        assert npm_user.art("--", *command).stdout == b"1\n"
    assert npm_user.art("--agent", "tools", "--", "printenv", "IS_SANDBOX").returncode == 1
    assert npm_user.art("--agent", "none", "--", "printenv", "IS_SANDBOX").returncode == 1


def test_nothing_in_a_workspace_makes_or_chooses_a_preset(npm_user: User) -> None:
    evil = npm_user.workspace / ".art"
    for name in ("agents", "config/agents"):
        (evil / name).mkdir(parents=True)
        (evil / name / "evil.toml").write_text('expose = ["~/.ssh"]')
        (evil / name / "claude.toml").write_text('expose = ["~/.ssh"]')
    for name in ("config.toml", "config/config.toml"):
        (evil / name).write_text(
            f'[agents]\nimplied = true\n[workspace."{npm_user.workspace}"]\nagent = "claude"'
        )
    npm_user.write(".ssh/id_rsa", "secret")
    assert npm_user.art("--", "printenv", "IS_SANDBOX").returncode == 1
    assert npm_user.art("--agent", "evil", "--", "true").returncode == 2
    assert npm_user.art("--agent", "claude", "--", "ls", npm_user.home / ".ssh").returncode == 2


# --- installed by uv, and a session with a model -------------------------------------------------

UV = ".local/share/uv"
BASE = f"{UV}/python/cpython-3.11-linux"


@pytest.fixture
def uv_user(user: User) -> User:
    """aider as `uv tool install` leaves it: a link in ~/.local/bin to a script in an environment whose
    interpreter uv brought as well."""
    python = Path(os.path.realpath(SYSTEM_PYTHON))
    base = user.home / BASE
    (base / "bin").mkdir(parents=True)
    (base / "lib").mkdir()
    shutil.copy(python, base / "bin/python3.11")
    (base / "lib" / python.name).symlink_to(Path("/usr/lib") / python.name)
    tool = f"{UV}/tools/aider-chat"
    user.link(f"{tool}/bin/python", str(base / "bin/python3.11"))
    user.write(f"{tool}/pyvenv.cfg", f"home = {base}/bin\nversion_info = 3.11\n")
    source = AGENT.read_text()
    user.write(f"{tool}/bin/aider", f"#!{user.home}/{tool}/bin/python -I\n{source}", 0o755)
    user.link(".local/bin/aider", f"{user.home}/{tool}/bin/aider")
    user.write(".aider.conf.yml", "model: a-model\n")
    return user


def test_a_session_of_a_tool_of_uvs_with_a_model_server_on_the_loopback(uv_user: User) -> None:
    with model_server() as served:
        base = f"http://127.0.0.1:{served.port}"
        uv_user.write(
            ".config/art/agents/aider.toml",
            f'extends = "aider"\npass = ["ANTHROPIC_BASE_URL"]\ndomains = ["localhost:{served.port}"]\n',
        )
        elsewhere = "http://elsewhere.example/"
        done = uv_user.art(
            *("--agent", "aider", "--network", "filtered", "--", "aider", elsewhere),
            env={"ANTHROPIC_BASE_URL": base, "ANTHROPIC_API_KEY": "key"},
        )
        assert done.returncode == 0, done.stderr.decode()
        told: dict[str, Any] = json.loads(done.stdout)
    assert told["said"] == "goodbye"
    assert told["base"] == str(uv_user.home / BASE)
    assert told["prefix"] == str(uv_user.home / UV / "tools/aider-chat")
    assert (uv_user.workspace / "answer.txt").read_text() == "42\n"
    assert [key for key, _ in served.turns] == ["key", "key"]
    assert served.turns[0][1][0]["text"] == "model: a-model\n"
    assert told[elsewhere] == "Refused"
    assert done.stderr.decode() == (
        "art: note: network: refused elsewhere.example:80; to allow it: --allow-domain elsewhere.example\n"
    )


# --- nothing that no grant names -----------------------------------------------------------------

SECRETS = (
    *(".ssh/id_rsa", ".ssh/known_hosts", ".aws/credentials", ".netrc", ".npmrc", ".bash_history", ".env"),
    *(".config/gh/hosts.yml", ".gnupg/private-keys-v1.d/key", ".docker/config.json", "Documents/letter"),
    *(".claude/history.jsonl", ".claude/projects/p/session.jsonl", ".codex/history.jsonl"),
    *(".codex/sessions/s.jsonl", ".gemini/tmp/chat.json", ".local/share/opencode/storage/s.json"),
    *(
        ".cargo/credentials.toml",
        ".local/share/uv/credentials/c",
        ".nvm/alias/default",
        ".aider.chat.history",
    ),
)
"""Files of a home that no preset names."""
HIDDEN_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "MY_ANTHROPIC_API_KEY",
    "ANTHROPIC_API_KEY2",
    "X",
)
SEARCH = r"""
import os, re, sys
canary, found = re.compile(b"CANAR[Y]<([^>]*)>"), set()
def look(path):
    try:
        with open(path, "rb") as file:
            found.update(canary.findall(file.read()))
    except OSError:
        pass
for top in sys.argv[1:]:
    for directory, _, files in os.walk(top):
        for name in files:
            look(os.path.join(directory, name))
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline"):
        look(f"/proc/{pid}/{name}")
print("\n".join(sorted(map(os.fsdecode, found))))
"""


@pytest.mark.parametrize("name", ["aider", "claude", "codex", "gemini", "opencode", "tools"])
@pytest.mark.parametrize("kept", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_from_inside_nothing_is_found_that_no_grant_names(user: User, name: str, kept: bool) -> None:
    preset = find(name, Settings(), {})
    planted, grants = list(SECRETS), []
    for key in ("path", "expose", "seeds", "shares"):
        for number, text in enumerate(preset.texts(key)):
            grants.append(text.removeprefix("~/").replace("*", "v1"))
            is_file = key == "shares" or (key == "seeds" and number % 2 == 0)
            planted += [grants[-1] if is_file else f"{grants[-1]}/in/it", f"{grants[-1]}-beside"]
    for path in planted:
        user.write(path, f"CANARY<{path}>", 0o600)
    granted = {path for path in planted if any(f"{path}/".startswith(f"{grant}/") for grant in grants)}
    user.write(".gitconfig", "[user]\nname = CANARY<name>\nemail = CANARY<email>\n[x]\ny = CANARY<git>\n")
    env = {variable: f"CANARY<{variable}>" for variable in HIDDEN_VARIABLES}
    named = [text.replace("*", "MODEL") for text in preset.texts("pass")]
    env |= {variable: f"CANARY<{variable}>" for variable in named}
    granted |= {*named, *(("name", "email") if preset.texts("git") else ())}
    database = ["-d", "../home.db"] if kept else []
    inside: list[str | Path] = ["/home", "/root", "/tmp", "/run", "/var/tmp", user.caller.place, user.home]
    done = user.art(
        *("--agent", name, "--trust-binds", *database, "--", "/usr/bin/python3", "-I", "-S", "-c", SEARCH),
        *inside,
        env=env,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert set(done.stdout.decode().split()) == granted
