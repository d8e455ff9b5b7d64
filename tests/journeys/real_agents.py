"""The real agents, from npm and PyPI, with their presets: on demand (`make agents`), for it needs npm and
what only registries have.

Each is installed as its makers say, shows its version and its help, and has a session with a model server on
the loopback, whose network is filtered; as root and as a plain user.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.journeys.agents.model_apis import SAYS, model_apis
from tests.support.callers import Caller, own
from tests.support.installed_copies import checked, make_venv
from tests.support.places import Places, locked

PACKAGES = ("@anthropic-ai/claude-code", "@openai/codex", "@google/gemini-cli", "opencode-ai")
CODEX = "model_providers.x={name='x',base_url='{url}/v1',wire_api='responses',env_key='CODEX_API_KEY'}"
OPENCODE = """{"model": "local/x", "provider": {"local": {"npm": "@ai-sdk/openai-compatible",
"options": {"baseURL": "SERVER/v1", "apiKey": "k"}, "models": {"x": {}}}}}"""


class Session(NamedTuple):
    """What a session is started with; `{url}` is the model server's."""

    words: Sequence[str]
    env: Mapping[str, str]
    files: Mapping[str, str] = {}
    """In the home, with SERVER for the model server's URL."""


SESSIONS = {
    "claude": Session(["-p", "What is it?"], {"ANTHROPIC_BASE_URL": "{url}", "ANTHROPIC_API_KEY": "k"}),
    "codex": Session(
        ["exec", "--skip-git-repo-check", "-c", "model_provider=x", "-c", CODEX, "What is it?"],
        {"CODEX_API_KEY": "k"},
    ),
    "gemini": Session(
        ["--skip-trust", "-m", "gemini-2.5-flash", "-p", "What is it?"],
        {"GOOGLE_GEMINI_BASE_URL": "{url}", "GEMINI_API_KEY": "k"},
        {".gemini/settings.json": '{"security": {"auth": {"selectedType": "gemini-api-key"}}}'},
    ),
    "opencode": Session(
        ["run", "What is it?"],
        {},
        {".config/opencode/opencode.json": OPENCODE},
    ),
    "aider": Session(
        ["--no-git", "--yes", "--no-show-model-warnings", "--model", "openai/x", "--message", "What is it?"],
        {"OPENAI_API_KEY": "k", "OPENAI_API_BASE": "{url}/v1"},
    ),
}


@pytest.fixture(scope="session")
def packages(places: Places) -> Path:
    """A prefix of npm's, and an environment of pip's as uv would make it."""
    prefix = places.work / "agents"
    with locked(places.install / "agents-lock"):
        if not prefix.exists():
            checked(["npm", "install", "--global", "--no-fund", f"--prefix={prefix}/npm", *PACKAGES])
            make_venv(prefix / "uv/tools/aider-chat", "aider-chat")
    return prefix


@pytest.fixture
def home(caller: Caller, packages: Path) -> Iterator[Path]:
    """A home in which the agents are installed."""
    home = caller.home / "with-agents"
    (home / ".local/share").mkdir(parents=True)
    (home / ".local/bin").mkdir()
    (home / ".npm-global").symlink_to(packages / "npm")
    (home / ".local/share/uv").symlink_to(packages / "uv")
    (home / ".local/bin/aider").symlink_to("../share/uv/tools/aider-chat/bin/aider")
    own(caller, home)
    yield home
    shutil.rmtree(home)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SESSIONS)
def test_the_real_agent(caller: Caller, home: Path, workspace: Path, name: str) -> None:
    def art(*words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        variables = {"HOME": str(home), **(env or {})}
        return caller.art("--agent", name, *words, cwd=workspace, env=variables, timeout=300)

    for word in ("--version", "--help"):
        done = art("--network", "none", "--", name, word)
        assert done.returncode == 0 and (done.stdout or done.stderr), done.stderr.decode()
    session = SESSIONS[name]
    with model_apis() as (port, asked):
        url = f"http://127.0.0.1:{port}"
        for path, text in session.files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text.replace("SERVER", url))
        own(caller, home)
        done = art(
            *(
                "--allow-domain",
                f"localhost:{port}",
                "--",
                name,
                *(w.replace("{url}", url) for w in session.words),
            ),
            env={key: value.format(url=url) for key, value in session.env.items()},
        )
    assert SAYS in done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0 and asked
