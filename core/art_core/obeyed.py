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
    """`paths` are obeyed `by` a program, which `does` something because of them."""

    by: str
    does: str
    paths: Sequence[str]


class Match(NamedTuple):
    """`place` is the whole of what is protected: `a/.vscode` for anything in it. `leads`: it is on the way
    there, as a link or a file that points there."""

    place: str
    pattern: str
    by: str
    does: str
    leads: bool = False


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
        (".git/commondir", ".git/modules", ".git/worktrees"),
    ),
    Rule("git", "runs its exec lines when the rebase goes on", (".git/rebase-merge/git-rebase-todo",)),
    Rule("git", "takes its submodules and how they are updated from it", (".gitmodules",)),
    Rule("git", "takes a user's settings from it, in a home", (".gitconfig", ".config/git")),
    Rule("Mercurial", "runs the hooks and extensions that it names", (".hg/hgrc", ".hg/hgrc-not-shared")),
    Rule("Mercurial", "takes settings from where it leads", (".hg/sharedpath",)),
    Rule("Sapling", "runs the hooks and programs that it names", (".sl/config",)),
    Rule("Jujutsu", "runs the programs that it names", (".jj/repo/config.toml",)),
    Rule(
        "hook runners",
        "run what it names at commits",
        (
            *(".husky", ".pre-commit-config.yaml", ".pre-commit-config.yml", ".overcommit.yml"),
            *(
                "lefthook.yml",
                ".lefthook.yml",
                "lefthook-local.yml",
                ".lefthook-local.yml",
                ".config/lefthook.yml",
            ),
        ),
    ),
    Rule("direnv", "runs it when a shell enters the directory", (".envrc",)),
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
            *(".mise", "mise/config.toml", ".config/mise.toml", ".config/mise"),
        ),
    ),
    Rule("autoenv", "runs it when a shell enters the directory", (".autoenv", ".autoenv.zsh")),
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
        ),
    ),
    Rule(
        "the desktop and logins",
        "run or obey it, in a home",
        (".xprofile", ".xsessionrc", ".xinitrc", ".config/autostart", ".config/systemd", ".ssh", ".gnupg"),
    ),
    Rule("VS Code", "runs tasks and takes programs' paths from it", (".vscode", "*.code-workspace")),
    Rule("JetBrains", "runs configurations and tools from it", (".idea",)),
    Rule("Zed", "runs tasks and language servers from it", (".zed",)),
    Rule("editors", "make and enter containers by it", (".devcontainer", ".devcontainer.json")),
    Rule("vim", "runs it in the directory", (".exrc", ".vimrc", ".nvimrc", ".nvim.lua", ".vim", ".nvim")),
    Rule("emacs", "evaluates it for files in the directory", (".dir-locals.el", ".dir-locals-2.el")),
    Rule("gdb", "runs it at its start", (".gdbinit", ".gdbearlyinit")),
    Rule("lldb", "runs it at its start", (".lldbinit",)),
    Rule(
        "Python", "imports it at its start, where it is on the path", ("sitecustomize.py", "usercustomize.py")
    ),
    Rule("pdb", "runs it at its start", (".pdbrc",)),
    Rule("R", "runs it at its start", (".Rprofile", ".Renviron")),
    Rule("Ruby", "runs it at the start of irb or pry", (".irbrc", ".pryrc")),
    Rule("ghci", "runs it at its start", (".ghci",)),
    Rule("iex", "runs it at its start", (".iex.exs",)),
    Rule("Octave", "runs it at its start", (".octaverc",)),
    Rule(
        "cargo",
        "runs the compilers and runners that it names, for an editor's analysis too",
        (".cargo/config.toml", ".cargo/config"),
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
            "bunfig.toml",
        ),
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

_GIT = ".git/"
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_SHORT = re.compile(r"git~\d+")


def folded(name: str) -> str:
    """The name as file systems take it that know fewer: letters of either case, code points that HFS+
    ignores, final dots and spaces, streams and short names of NTFS (git's `core.protectHFS` and
    `core.protectNTFS`, git-config(1))."""
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
        self._glob = re.compile("|".join(glob.pattern for glob, _, _ in self._globs) or "(?!)")

    def begins(self, name: str) -> bool:
        """Whether something of this (folded) name may be protected, or something in it."""
        return name in self._by_first or self._glob.match(name) is not None

    def of(self, name: str) -> Iterator[tuple[Sequence[str], str]]:
        """The patterns whose first component is this (folded) name: the rest of each, and the pattern."""
        yield from self._by_first.get(name, ())
        if self._glob.match(name):
            yield from ((rest, pattern) for glob, rest, pattern in self._globs if glob.match(name))

    def match(self, parts: Sequence[str], names: Sequence[str], kind: str) -> Match | None:
        """What protects a path: the first of its components that is protected. A link where a pattern has a
        directory, and a `.git` that is a file, lead there: they are protected, too. `names` are the parts,
        folded; `kind` is `dir`, `file` or `link`, of what the whole path is."""
        for index, name in enumerate(names):
            if not self.begins(name):
                continue
            leads = kind == "link" or (kind == "file" and name == ".git")
            for rest, pattern in self.of(name):
                length = matched(rest, names[index + 1 :], leads=leads)
                if length is not None:
                    place = "/".join(parts[: index + 1 + length])
                    return self.made(place, pattern, leads=length < len(rest))
        return None

    def made(self, place: str, pattern: str, *, leads: bool = False) -> Match:
        rule = self._rules[pattern]
        does = f"finds {pattern} where this leads" if leads else rule.does
        return Match(place, pattern, rule.by, does, leads)


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
