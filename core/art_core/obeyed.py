"""What programs of the host obey in a workspace: the list, as data with who obeys it and what that does.

A pattern is the end of a path: it holds in every directory. It protects what is there with all that is in it.
`*` stands for any letters within one name. What begins with `.git/` holds for every git directory, whatever
its name is (`art_core.holding`, `art_core.gitdirs`). A `.git` that is no directory is part of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import NamedTuple


class Rule(NamedTuple):
    """`paths` are obeyed `by` a program, which `does` something because of them. `daily`: people change them
    with their ordinary work, so that in direct mode they are named and can be written."""

    by: str
    does: str
    paths: Sequence[str]
    daily: bool = False


class Match(NamedTuple):
    """`place` is the whole of what is protected: `a/.vscode` for anything in it. `leads`: it is on the way
    there, as a link or a file that points there."""

    place: str
    pattern: str
    by: str
    does: str
    leads: bool = False


_LEFTHOOK = tuple(
    f"{stem}.{ending}"
    for stem in (
        *("lefthook", ".lefthook", "lefthook-local", ".lefthook-local"),
        *(".config/lefthook", ".config/lefthook-local"),
    )
    for ending in ("yml", "yaml", "toml", "json", "jsonc")
)

RULES = (
    Rule("git", "runs hooks at commits, checkouts and pushes", (".git/hooks",)),
    Rule(
        "git",
        "runs the programs that its settings name, already at git status",
        (".git/config", ".git/config.worktree"),
    ),
    Rule(
        "git",
        "takes settings and hooks from where it leads",
        (".git/commondir", ".git/worktrees"),
    ),
    Rule(
        "git",
        "fetches from and pushes to where it says, and runs hooks there",
        (".git/remotes", ".git/branches/*"),
    ),
    Rule(
        "git",
        "runs its exec lines and strategies when the rebase or cherry-pick goes on",
        (".git/rebase-merge", ".git/rebase-apply", ".git/sequencer"),
        daily=True,
    ),
    Rule("git", "takes its submodules and how they are updated from it", (".gitmodules",)),
    Rule("git", "takes a user's settings from it, in a home", (".gitconfig", ".config/git")),
    Rule("Mercurial", "runs the hooks and extensions that it names", (".hg/hgrc", ".hg/hgrc-not-shared")),
    Rule("Mercurial", "takes settings from where it leads", (".hg/sharedpath",)),
    Rule("Sapling", "runs the hooks and programs that it names", (".sl/config", ".sl/hgrc")),
    Rule("Sapling", "takes settings from where it leads", (".sl/sharedpath",)),
    Rule("darcs", "runs the commands that it names", ("_darcs/prefs",)),
    Rule("Pijul", "runs the hooks that it names", (".pijul/config",)),
    Rule(
        "Jujutsu",
        "runs the programs that it names",
        (".jj/repo/config.toml", ".jj/workspace-config.toml"),
    ),
    Rule(
        "hook runners",
        "run what it names at commits",
        (
            *(".husky", ".huskyrc", ".huskyrc.*", ".pre-commit-config.yaml", ".pre-commit-config.yml"),
            *("prek.toml", ".overcommit.yml", ".git-hooks", "captainhook.json"),
            *(".lefthook", ".lefthook-local", *_LEFTHOOK),
        ),
    ),
    Rule("direnv", "runs it when a shell enters the directory", (".envrc", ".envrc.local")),
    Rule(
        "direnv",
        "runs the shell that it describes, where an .envrc uses it",
        ("flake.nix", "shell.nix", "devenv.nix"),
        daily=True,
    ),
    Rule(
        "mise",
        "runs its hooks and tasks and sets variables when a shell enters the directory",
        (
            *(
                "mise.toml",
                ".mise.toml",
                "mise.local.toml",
                ".mise.local.toml",
                "mise.*.toml",
                ".mise.*.toml",
            ),
            *(".mise", "mise/config.toml", "mise/conf.d", ".config/mise.toml", ".config/mise"),
            *(".miserc.toml", ".rtx.toml", ".rtx.local.toml"),
        ),
    ),
    Rule("mise and asdf", "run programs from the paths that it names", (".tool-versions",), daily=True),
    Rule(
        "proto",
        "sets variables and loads the plugins that it names when a shell enters the directory",
        (".prototools",),
        daily=True,
    ),
    Rule(
        "uv and pyenv",
        "run the interpreter that it names, which may be a path",
        (".python-version", ".python-versions"),
        daily=True,
    ),
    Rule(
        "autoenv",
        "runs it when a shell enters or leaves the directory",
        (".autoenv", ".autoenv.zsh", ".autoenv_leave.zsh", ".env.leave", ".in", ".out"),
    ),
    Rule(
        "autoenv and shells' dotenv plugins",
        "run it when a shell enters the directory",
        (".env",),
        daily=True,
    ),
    Rule("shadowenv", "evaluates it when a shell enters the directory", (".shadowenv.d",)),
    Rule(
        "shells",
        "run it at their start, in a home",
        (
            *(
                ".bashrc",
                ".bash_profile",
                ".bash_login",
                ".bash_logout",
                ".bash_aliases",
                ".profile",
                ".kshrc",
            ),
            *(".zshrc", ".zshenv", ".zprofile", ".zlogin", ".zlogout", ".cshrc", ".tcshrc", ".config/fish"),
            *(".zsh*", ".bashrc.*", ".oh-my-zsh", ".config/zsh"),
            *(".bash_completion", ".inputrc", ".local/bin"),
        ),
    ),
    Rule(
        "the desktop and logins",
        "run or obey it, in a home",
        (
            *(".xprofile", ".xsession", ".xsessionrc", ".xinitrc", ".config/autostart", ".config/systemd"),
            *(".config/environment.d", ".pam_environment", ".local/share/applications", ".ssh", ".gnupg"),
        ),
    ),
    Rule(
        "tmux, screen, Mercurial, direnv, editors and databases' shells",
        "run the commands in it at their start, in a home",
        (
            *(".tmux.conf", ".config/tmux", ".screenrc", ".hgrc", ".config/hg", ".config/nvim"),
            *(".emacs", ".emacs.d", ".psqlrc", ".sqliterc", ".nanorc", ".config/nano"),
            *(".direnvrc", ".config/direnv"),
        ),
    ),
    Rule("VS Code", "runs tasks and takes programs' paths from it", (".vscode", "*.code-workspace")),
    Rule("JetBrains", "runs configurations and tools from it", (".idea", ".fleet")),
    Rule("Lapce", "runs configurations and takes programs' paths from it", (".lapce",)),
    Rule("the Lua language server", "runs the plugin that it names", (".luarc.json", ".luarc.jsonc")),
    Rule("Zed", "runs tasks and language servers from it", (".zed",)),
    Rule("Helix", "starts the language servers and formatters that it names", (".helix",)),
    Rule("Visual Studio", "runs tasks and takes programs' paths from it", (".vs",)),
    Rule("Lite XL", "runs it when the project is opened", (".lite_project.lua",)),
    Rule("Kate", "runs the tools and language servers that it names", (".kateproject",)),
    Rule("Sublime Text", "runs the builds and language servers that it names", ("*.sublime-project",)),
    Rule("editors", "make and enter containers by it", (".devcontainer", ".devcontainer.json")),
    Rule(
        "vim",
        "runs it in the directory",
        (
            *(".exrc", ".vimrc", ".nvimrc", ".nvim.lua", ".vim", ".nvim", ".lvimrc", ".local.vimrc"),
            *(".ycm_extra_conf.py", ".lazy.lua"),
        ),
    ),
    Rule("emacs", "evaluates it for files in the directory", (".dir-locals.el", ".dir-locals-2.el")),
    Rule("gdb", "runs it at its start", (".gdbinit", ".gdbearlyinit")),
    Rule("lldb", "runs it at its start", (".lldbinit",)),
    Rule(
        "Python", "imports it at its start, where it is on the path", ("sitecustomize.py", "usercustomize.py")
    ),
    Rule("pdb", "runs it at its start", (".pdbrc",)),
    Rule("R", "runs it at its start", (".Rprofile", ".Renviron")),
    Rule(
        "Ruby",
        "runs it at the start of irb, pry or a debugger",
        (".irbrc", ".pryrc", ".rdbgrc", ".byebugrc"),
    ),
    Rule("OCaml", "runs it at its start", (".ocamlinit",)),
    Rule("ghci", "runs it at its start", (".ghci",)),
    Rule("iex", "runs it at its start", (".iex.exs",)),
    Rule("Octave", "runs it at its start", (".octaverc",)),
    Rule(
        "cargo",
        "runs the compilers and runners that it names, for an editor's analysis too",
        (".cargo/config.toml", ".cargo/config"),
    ),
    Rule(
        "rustup",
        "runs the compiler from the path that it names, for a prompt or an editor's analysis too",
        ("rust-toolchain.toml", "rust-toolchain"),
        daily=True,
    ),
    Rule(
        "npm, yarn, pnpm, bun",
        "run the programs that it names, whatever they are asked for",
        (
            ".npmrc",
            ".yarnrc",
            ".yarnrc.yml",
            ".yarn/releases",
            ".yarn/plugins",
            ".pnpmfile.cjs",
            ".pnpmfile.mjs",
            "bunfig.toml",
        ),
    ),
    Rule(
        "pnpm",
        "takes settings from it, with the programs that they name",
        ("pnpm-workspace.yaml",),
        daily=True,
    ),
    Rule("Maven", "loads the extensions that it names", (".mvn",)),
    Rule("Bazel", "takes options and programs from it", (".bazelrc",)),
    Rule(
        "agents",
        "run the hooks, servers and commands that it names, or take permissions from it",
        (
            *(
                ".mcp.json",
                ".claude",
                ".codex",
                ".cursor",
                ".gemini",
                ".windsurf",
                ".opencode",
                ".qwen",
                ".roo",
            ),
            *(
                ".kilocode",
                ".continue",
                ".amazonq",
                ".kiro",
                ".junie",
                ".augment",
                ".crush",
                ".factory",
                ".agents",
            ),
            *("opencode.json", "opencode.jsonc", "crush.json", ".crush.json", ".aider.conf.yml", ".cline"),
            *(".clinerules/hooks", ".github/hooks", ".github/mcp.json"),
        ),
    ),
    Rule("ART", "asks for mounts by it", (".art",)),
)
"""What makes programs run something: protected in direct mode, and held back by a pull."""

INSTRUCTIONS = Rule(
    "agents",
    "read it as instructions",
    (
        *(
            "CLAUDE.md",
            "CLAUDE.local.md",
            "AGENTS.md",
            "AGENTS.override.md",
            "AGENT.md",
            "GEMINI.md",
            "QWEN.md",
        ),
        *("WARP.md", "CRUSH.md", ".cursorrules", ".windsurfrules", ".clinerules", ".roorules", ".goosehints"),
        *(".rules", ".github/copilot-instructions.md", ".github/instructions"),
    ),
)
"""What is work, and told: agents read it, and nothing runs because of it."""

PROTECT = tuple(path for rule in RULES for path in rule.paths)
"""The setting `protect`, unless it says otherwise."""

DAILY = frozenset(path for rule in RULES if rule.daily for path in rule.paths)
"""What of it is named in direct mode, and not read-only."""

LINK = "links in directories of version control"
"""Stands for a pattern in what `link_within` says."""

VERSIONED = {
    ".git": "git",
    ".hg": "Mercurial",
    ".sl": "Sapling",
    ".jj": "Jujutsu",
    ".svn": "Subversion",
    ".bzr": "Breezy",
    "_darcs": "darcs",
    ".pijul": "Pijul",
}
"""Directories in which a program of version control keeps and writes what is its own."""

POINTERS = (".git", ".jj")
"""Names of those that may be, or have in them, a file that says where the directory is."""

_GIT = ".git/"
_IGNORED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
"""Code points without a shape (Unicode, Default_Ignorable_Code_Point)."""
_SHORT = re.compile(r"git~\d+")


def folded(name: str) -> str:
    """The name as file systems take it that know fewer: letters of either case, code points that HFS+ and
    ext4's casefold ignore, final dots and spaces, streams and short names of NTFS (git's `core.protectHFS`
    and `core.protectNTFS`, git-config(1))."""
    if not name.isascii():
        name = _IGNORED.sub("", name)
    name = name.casefold()
    if name[-1:] in (".", " ") or ":" in name:
        name = name.partition(":")[0].rstrip(" .")
    return ".git" if "~" in name and _SHORT.fullmatch(name) else name


class Names:
    """Tells by its name whether something is protected. `patterns` are as in the setting `protect`."""

    def __init__(self, patterns: Sequence[str], rules: Sequence[Rule] = RULES) -> None:
        known = {path: rule for rule in rules for path in rule.paths}
        own = Rule("your programs", "obey it, by the setting protect", ())
        self._rules = {pattern: known.get(pattern, own) for pattern in (one.strip("/") for one in patterns)}
        self.git_parts = [p[len(_GIT) :].split("/") for p in self._rules if p.startswith(_GIT)]
        """What is protected in any git directory, as components of paths in it."""
        self._by_first: dict[str, list[tuple[list[str], str]]] = {}
        self._globs: list[tuple[re.Pattern[str], list[str], str]] = []
        for pattern in filter(None, self._rules):
            first, *rest = pattern.casefold().split("/")
            if "*" in first:
                self._globs.append((re.compile(translate(first)), rest, pattern))
            else:
                self._by_first.setdefault(first, []).append((rest, pattern))
        self.literal = tuple(self._by_first)
        """First components of patterns that are names."""
        self._glob = re.compile("|".join(glob.pattern for glob, _, _ in self._globs) or "(?!)")

    def begins(self, name: str) -> bool:
        """Whether something of this (folded) name may be protected, or something in it."""
        return name in self._by_first or self._glob.match(name) is not None

    def of(self, name: str) -> Iterator[tuple[Sequence[str], str]]:
        """The patterns whose first component is this (folded) name: the rest of each, and the pattern."""
        yield from self._by_first.get(name, ())
        if self._glob.match(name):
            yield from ((rest, pattern) for glob, rest, pattern in self._globs if glob.match(name))

    def placed(self, top: str) -> Iterator[tuple[Match, str]]:
        """All patterns that are names, where they would stand in a directory of the host."""
        for pattern in self._rules:
            if "*" not in pattern:
                yield self.made(pattern, pattern), f"{top.rstrip('/')}/{pattern}"

    def match(self, parts: Sequence[str], names: Sequence[str], kind: str) -> Match | None:
        """What protects a path: the first of its components that is protected. A link where a pattern has a
        directory, and a `.git` that is a file, lead there: they are protected, too. `names` are the parts,
        folded; `kind` is `dir`, `file` or `link`, of what the whole path is."""
        for index, name in enumerate(names):
            if not self.begins(name):
                continue
            leads = kind == "link" or (kind == "file" and name in POINTERS)
            for rest, pattern in self.of(name):
                length = matched(rest, names[index + 1 : index + 1 + len(rest)], leads=leads)
                if length is not None:
                    place = "/".join(parts[: index + 1 + length])
                    return self.made(place, pattern, leads=length < len(rest))
        return None

    def made(self, place: str, pattern: str, *, leads: bool = False) -> Match:
        rule = self._rules[pattern]
        does = f"finds {pattern} where this leads" if leads else rule.does
        return Match(place, pattern, rule.by, does, leads)


def link_within(path: str, by: str) -> Match:
    """A link in a directory in which a program of version control writes."""
    return Match(path, LINK, by, "writes to where a link in its own directory leads", leads=True)


def matched(rest: Sequence[str], names: Sequence[str], *, leads: bool = False) -> int | None:
    """How many of the names make the rest of a pattern, None when they do not; fewer than the pattern has
    where they end with something that leads elsewhere."""
    for index, want in enumerate(rest):
        if index == len(names):
            return index if leads else None
        if want != names[index] and not ("*" in want and re.fullmatch(translate(want), names[index])):
            return None
    return len(rest)


@lru_cache
def names_of(patterns: tuple[str, ...]) -> Names:
    return Names(patterns)


@lru_cache
def watched_names(patterns: tuple[str, ...]) -> Names:
    """These, and what agents read."""
    return Names((*patterns, *INSTRUCTIONS.paths), (*RULES, INSTRUCTIONS))


def is_read(match: Match) -> bool:
    """Whether agents read it, and nothing more."""
    return match.pattern in INSTRUCTIONS.paths


@lru_cache
def instructions() -> Names:
    """What agents read."""
    return Names(INSTRUCTIONS.paths, [INSTRUCTIONS])


def is_instruction(path: str) -> bool:
    parts = path.split("/")
    return instructions().match(parts, [folded(part) for part in parts], "file") is not None
