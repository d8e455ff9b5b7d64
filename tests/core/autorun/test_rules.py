"""What programs of the host obey: by name, by what a directory looks like, by what leads there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from art_core.autorun.finder import listed
from art_core.autorun.rules import Match, Names, folded, is_instruction, names_of
from art_core.autorun.transfer_hold import TransferHold
from art_core.config.obeyed_files import INSTRUCTIONS, PROTECT, RULES
from tests.support.places import ROOT

DOCUMENTATION = ROOT / "docs/sandbox.md"


class Two:
    """The paths of both sides."""

    def __init__(
        self, host: tuple[str, ...] = (), inside: tuple[str, ...] = (), links: tuple[str, ...] = ()
    ) -> None:
        self._host = host
        self._inside = inside
        self._links = links

    def on_host(self, path: str) -> bool:
        return path in self._host

    def inside(self, path: str) -> bool:
        return path in self._inside

    def has_links(self, path: str) -> bool:
        return any(link.startswith(f"{path}/") for link in self._links)


def held(path: str, kind: str = "file", tree: Two | None = None, protect: tuple[str, ...] = PROTECT) -> bool:
    return TransferHold(protect, tree or Two()).on(path, kind) is not None


@pytest.mark.parametrize(
    "path",
    [
        *(".git/hooks/pre-commit", ".git/hooks", "sub/.git/config", ".envrc", "deep/er/.envrc"),
        *("ws.code-workspace", "a/b/.vscode/tasks.json", ".cargo/config.toml", "mise.toml", "mise.ci.toml"),
        *(".GIT/config", ".Envrc", "git~1/config", ".git./hooks/x", ".git::$INDEX_ALLOCATION/config"),
        *(
            ".g\u200cit/config",
            ".envrc ",
            ".git/rebase-merge/git-rebase-todo",
            ".gdbinit",
            "sitecustomize.py",
        ),
    ],
)
def test_what_programs_of_the_host_run_is_held_back(path: str) -> None:
    assert held(path)


@pytest.mark.parametrize(
    "path",
    [
        *(".git/objects/x", ".envrc.sample", "src/main.py", "config", "hooks/useState.ts", "modules/a/b.tf"),
        *("CLAUDE.md", "AGENTS.md", "Makefile", "package.json", "model.pth", ".cargo/credentials", "git~x"),
        *(".gitignore", ".github/workflows/ci.yml", "HEAD", "objects/a", "mise/a", ".git/HEAD", ".config/x"),
    ],
)
def test_what_is_work_is_carried(path: str) -> None:
    assert not held(path)


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        *((".git", "file", True), (".git", "link", True), (".git", "dir", False), ("a/.GIT", "file", True)),
        *((".cargo", "link", True), (".cargo", "dir", False), (".cargo", "file", False)),
        *((".git/hooks", "link", True), (".git/rebase-merge", "link", True), (".config", "link", True)),
        ("config", "link", False),
    ],
)
def test_what_leads_to_something_obeyed_is_held_back(path: str, kind: str, expected: bool) -> None:
    assert held(path, kind) is expected


BARE = ("gd/HEAD", "gd/objects", "gd/refs")


@pytest.mark.parametrize("name", ["config", "hooks/x", "config.worktree", "commondir", "worktrees/a/gitdir"])
@pytest.mark.parametrize(
    "tree",
    [
        *(Two(inside=BARE), Two(host=BARE), Two(host=BARE[:1], inside=BARE[1:])),
        *(Two(inside=("gd/HEAD", "gd/commondir")), Two(host=("gd/commondir",), inside=("gd/HEAD",))),
    ],
)
def test_any_git_directory_has_its_settings_held_back(name: str, tree: Two) -> None:
    assert held(f"gd/{name}", tree=tree)
    assert not held(f"gd/sub/{name}", tree=tree) and not held(name, tree=tree)
    assert not held("gd/description", tree=tree)


def test_the_workspace_itself_may_be_a_git_directory() -> None:
    tree = Two(inside=("HEAD", "objects", "refs"))
    assert held("config", tree=tree) and not held("HEAD", tree=tree)


@pytest.mark.parametrize("piece", ["HEAD", "objects", "refs"])
def test_no_piece_makes_a_git_directory_of_settings_that_are_there(piece: str) -> None:
    """An earlier pull carried them, when they were nobody's settings."""
    there = tuple(path for path in BARE if path != f"gd/{piece}")
    assert held(f"gd/{piece}", tree=Two(host=(*there, "gd/config"), inside=BARE))
    assert held(f"gd/{piece}/x", tree=Two(host=("gd/hooks",), inside=BARE))
    assert not held(f"gd/{piece}", tree=Two(host=there, inside=BARE))
    assert not held(f"gd/{piece}", tree=Two(host=(*BARE, "gd/config"), inside=BARE))


def test_where_the_hosts_own_links_and_settings_lead_is_held_back() -> None:
    led = {"tools/hooks": Match("tools/hooks", "core.hookspath", "git", "finds it by core.hookspath")}
    holding = TransferHold(PROTECT, Two(), lambda: (led, {}))
    assert holding.on("tools/hooks/pre-commit", "file") and holding.on("tools/hooks", "dir")
    assert holding.on("tools", "link") and not holding.on("tools", "dir")
    assert not holding.on("tools/hooks2", "file")


def test_the_setting_is_what_holds() -> None:
    assert not held(".git", protect=(".envrc",)) and not held("gd/config", tree=Two(inside=BARE), protect=())
    assert held("sub/own.conf", protect=("own.conf",)) and held("a.x", protect=("*.x",))
    found = Names(("own.conf",)).match(["own.conf"], ["own.conf"], "file")
    assert found is not None and "setting protect" in found.does


def test_instructions_are_known() -> None:
    assert is_instruction("CLAUDE.md") and is_instruction("sub/AGENTS.md")
    assert is_instruction(".github/copilot-instructions.md") and not is_instruction("README.md")


def test_other_spellings_are_one() -> None:
    for name in (".git", ".GIT", "git~1", "GIT~12", ".git ", ".git..", ".gi\u200dt", ".git:x"):
        assert folded(name) == ".git"
    assert folded("git~x") == "git~x"


# --- looking at a workspace ---------------------------------------------------------------------


def repository(top: Path, config: str = "") -> None:
    (top / "objects").mkdir(parents=True)
    (top / "refs").mkdir()
    (top / "HEAD").write_text("ref: refs/heads/main\n")
    (top / "config").write_text(config)


def look(top: Path, **env: str) -> dict[str, Match]:
    return dict(listed(str(top), names_of(PROTECT), env).led)


def test_links_are_followed_to_what_they_lead_to(tmp_path: Path) -> None:
    repository(tmp_path / ".git")
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git/hooks").mkdir()
    (tmp_path / ".git/hooks/pre-commit").symlink_to("../../sub/check")
    (tmp_path / ".envrc").symlink_to("one")
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / ".vscode").symlink_to("conf/editor")
    (tmp_path / ".idea").symlink_to("/etc")
    (tmp_path / ".zed").symlink_to(".")
    (tmp_path / ".claude").symlink_to(".claude")
    assert set(look(tmp_path)) == {"sub/check", "one", "two", "conf/editor", ".claude"}


SETTINGS = r"""
[core] hooksPath = tools/hooks ; where ours are
[include]
    path = "../team.conf"
[includeIf "gitdir:~/x \"y\"/"]
    Path = ../other.conf
[filter "strip"]
    clean = python3 ./tools/strip.py --all # no comment in "it"
[remote "origin"]
    url = ./remote.git
[blame]
    ignoreRevsFile = revs
[alias]
    one = "!./run \
this"
    two = log revs
"""


def test_git_settings_are_followed_to_the_files_that_they_name(tmp_path: Path) -> None:
    top, home = tmp_path / "ws", tmp_path / "home"
    repository(top / ".git", SETTINGS)
    for name in ("tools/strip.py", "run", "this", "revs", "remote.git", "askpass"):
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text("")
    (top / "team.conf").write_text("[core]\n\taskPass = ./askpass\n")
    home.mkdir()
    (home / ".gitconfig").write_text(f"[init]\n\ttemplateDir = {top}/template\n")
    led = look(top, HOME=str(home))
    names = ("tools/hooks", "team.conf", "other.conf", "tools/strip.py", "run", "this", "askpass", "template")
    assert set(led) == set(names)
    assert led["tools/hooks"].does == "finds it by core.hookspath"


PROGRAMS = {
    "tar.zz.command": "./tool",
    "uploadpack.packObjectsHook": "./tool",
    "gc.recentObjectsHook": "./tool",
    "sendemail.toCmd": "./tool",
    "sendemail.work.sendmailCmd": "./tool",
    "sendemail.smtpServer": "/TOP/tool",
    "imap.tunnel": "./tool -q",
    "guitool.Try.cmd": "sh tool",
    "lfs.customtransfer.x.path": "./tool",
    "lfs.extension.x.clean": "tool",
    "svn.authorsProg": "tool",
    "remote.origin.annex-cost-command": "./tool",
    "annex.web-download-command": "sh tool %url",
}


@pytest.mark.parametrize("key", PROGRAMS)
def test_all_settings_that_are_documented_to_run_something_are_known(key: str, tmp_path: Path) -> None:
    section, _, rest = key.partition(".")
    subsection, _, name = rest.rpartition(".")
    head = f'[{section} "{subsection}"]' if subsection else f"[{section}]"
    repository(tmp_path / ".git", f"{head}\n{name} = {PROGRAMS[key].replace('/TOP', str(tmp_path))}\n")
    (tmp_path / "tool").write_text("")
    assert set(look(tmp_path)) == {"tool"}


def test_of_a_setting_that_nobody_knows_what_can_be_executed_counts(tmp_path: Path) -> None:
    settings = "[x]\nrun = ./tool\ndata = ./data\nname = tool\n[blame]\nignoreRevsFile = ./data\n"
    repository(tmp_path / ".git", settings)
    for name in ("tool", "data"):
        (tmp_path / name).write_text("")
    (tmp_path / "tool").chmod(0o755)
    assert set(look(tmp_path)) == {"tool"}


@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "Core.fsmonitor", "GIT_CONFIG_VALUE_0": "./tool"},
        {"GIT_CONFIG_PARAMETERS": "'core.fsmonitor'='./tool' 'a.b'='c'"},
        {"GIT_CONFIG_PARAMETERS": "'a.b=c' 'filter.X y.clean=sh tool'"},
        {"GIT_SSH_COMMAND": "./tool -v"},
        {"GIT_SSH": "./tool"},
        {"EDITOR": "./tool"},
        {"GIT_EXEC_PATH": "./tool"},
    ],
)
def test_settings_in_the_callers_variables_are_read(variables: dict[str, str], tmp_path: Path) -> None:
    repository(tmp_path / ".git", "")
    (tmp_path / "tool").write_text("")
    assert set(look(tmp_path, **variables)) == {"tool"}


def test_nonsense_in_the_callers_variables_is_no_obstacle(tmp_path: Path) -> None:
    repository(tmp_path / ".git", "")
    for count in ("9" * 5000, "9" * 9, "-1", "x"):
        assert look(tmp_path, GIT_CONFIG_COUNT=count, GIT_CONFIG_PARAMETERS="'a") == {}


def test_the_repository_of_the_callers_variables_is_read(tmp_path: Path) -> None:
    top = tmp_path / "ws"
    top.mkdir()
    repository(tmp_path / "dotfiles", "[core]\nhooksPath = hooks\n")
    found = look(top, GIT_DIR=str(tmp_path / "dotfiles"), GIT_WORK_TREE=str(top))
    assert set(found) == {"hooks"}


@pytest.mark.parametrize("before", ["# x \\\n", "a = x\\\\\n", "a = x ; y \\\n", 'a = "x#\\\ny"\n'])
def test_a_line_is_continued_as_git_does_it(before: str, tmp_path: Path) -> None:
    repository(tmp_path / ".git", f"[core]\n{before}hooksPath = hk\n")
    assert set(look(tmp_path)) == {"hk"}


def test_settings_that_are_a_pipe_or_include_themselves_end(tmp_path: Path) -> None:
    repository(tmp_path / "a.git", "[include]\n path = config\n path = ../pipe\n[core]\nhooksPath=/\n=x\n[")
    os.mkfifo(tmp_path / "pipe")
    assert set(look(tmp_path)) == {"a.git/config", "pipe"}


def test_every_rule_is_in_the_documentation() -> None:
    page = DOCUMENTATION.read_text()
    for rule in (*RULES, INSTRUCTIONS):
        assert [path for path in rule.paths if f"`{path}`" not in page] == [], rule.by
