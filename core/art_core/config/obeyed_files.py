"""What programs of the host obey in a workspace: the list, as data with who obeys it and what that does.

A pattern is the end of a path: it holds in every directory. It protects what is there with all that is in it.
`*` stands for any letters within one name. What begins with `.git/` holds for every git directory, whatever
its name is (`art_core.autorun.transfer_hold`, `art_core.autorun.git_settings`). A `.git` that is no directory
is part of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Rule(NamedTuple):
    """`paths` are obeyed `by` a program, which `does` something because of them. `daily`: people change them
    with their ordinary work, so that in direct mode they are named and can be written."""

    by: str
    does: str
    paths: Sequence[str]
    daily: bool = False


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
