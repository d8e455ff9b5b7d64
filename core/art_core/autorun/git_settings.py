"""Files of a workspace that git's settings name: hooks, further settings, programs (git-config(1)).

Settings are parsed here and git is not asked: it would be run on files that a sandbox wrote.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Container, Iterable, Iterator, Mapping

_SIZE_LIMIT = 1 << 18
_ALL_LIMIT = 1 << 23
"""Bytes of all settings that are read at a look."""
_FILES_LIMIT = 256
"""Files of settings that are read for one repository, with those that they include."""
# Patterns are compiled where they are used: that takes longer than all else of a start needs of this module.
_INCLUDES = r"include\.path|includeif\..*\.path"
_DIRECTORIES = ("core.hookspath", "init.templatedir", "gitflow.path.hooks", "GIT_EXEC_PATH")
_PROGRAMS = (
    r"core\.(fsmonitor|sshcommand|editor|pager|askpass|gitproxy|alternaterefscommand|virtualfilesystem)"
    r"|sequence\.editor|interactive\.difffilter|diff\.external|diff\..*\.(command|textconv)"
    r"|merge\..*\.driver|filter\..*\.(clean|smudge|process)|(mergetool|difftool|browser|man)\..*\.(cmd|path)"
    r"|credential(\..*)?\.helper|gpg(\..*)?\.program|gpg\.ssh\.defaultkeycommand|alias\..*|pager\..*"
    r"|trailer\..*\.(cmd|command)|remote\..*\.(uploadpack|receivepack|annex-.*)|hook\..*\.command"
    r"|submodule\..*\.update|tar\..*\.command|gc\.recentobjectshook|uploadpack\.packobjectshook"
    r"|sendemail(\..*)?\.(tocmd|cccmd|headercmd|sendmailcmd|smtpserver)|imap(\..*)?\.tunnel|guitool\..*\.cmd"
    r"|(instaweb|help|web)\.(httpd|browser)|svn(-remote)?(\..*)?\.authorsprog|annex\..*-(command|hook)"
    r"|lfs\.(customtransfer\..*\.(path|args)|extension\..*\.(clean|smudge))|tig\.bind\..*|GIT_SSH|GIT_PROXY_COMMAND"
)
"""What git-config(1), git-lfs-config(5), git-svn(1), git-annex(1) and tigrc(5) document to be run. Of what
others name only that which can be executed is taken for a program."""
_VARIABLES = {
    "GIT_SSH_COMMAND": "core.sshcommand",
    "GIT_EDITOR": "core.editor",
    "VISUAL": "core.editor",
    "EDITOR": "core.editor",
    "GIT_PAGER": "core.pager",
    "PAGER": "core.pager",
    "GIT_ASKPASS": "core.askpass",
    "SSH_ASKPASS": "core.askpass",
    "GIT_SEQUENCE_EDITOR": "sequence.editor",
    "GIT_EXTERNAL_DIFF": "diff.external",
    "GIT_TEMPLATE_DIR": "init.templatedir",
    "GIT_SSH": "GIT_SSH",
    "GIT_PROXY_COMMAND": "GIT_PROXY_COMMAND",
    "GIT_EXEC_PATH": "GIT_EXEC_PATH",
}
"""Variables of the caller's that say what a setting says (git(1), git-var(1)), or what none does."""
_SECTION = r'\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]'
_SHELL = r"""[\s"'`;|&<>()=]+"""
"""What separates words for a shell."""
_ESCAPES = {"n": "\n", "t": "\t", "b": "\b"}


def named(
    repository: str, top: str, env: Mapping[str, str], read: SettingsReader
) -> Iterator[tuple[str, str]]:
    """Absolute paths that the settings of a git directory and the caller's own name, each with the key: for a
    work tree at `top`. They may lie anywhere, and need not exist."""
    home = env.get("HOME", "")
    todo = [f"{repository}/config", f"{repository}/config.worktree"]
    if common := read.text(f"{repository}/commondir").strip():
        todo.append(f"{_path(common, repository, home)}/config")
    todo += callers_own(env)
    for key, value in given(env):
        yield from _obeyed(key, value, "/", top, home, todo)
    seen: set[str] = set()
    while todo:
        if len(seen) >= _FILES_LIMIT:
            read.missed[repository] = f"its settings are in more than {_FILES_LIMIT} files"
            return
        file = todo.pop(0)
        if file in seen:
            continue
        seen.add(file)
        for key, value in read.settings(file):
            yield from _obeyed(key, value, os.path.dirname(file), top, home, todo)


def _obeyed(
    key: str, value: str, base: str, top: str, home: str, todo: list[str]
) -> Iterator[tuple[str, str]]:
    """What one setting names, each with the key; `todo` gets further files of settings. Paths are relative to
    `base` in the settings themselves, and to `top` for what they name."""
    if re.fullmatch(_INCLUDES, key, re.DOTALL):
        path = _path(value, base, home)
        todo.append(path)
        yield path, key
    elif key in _DIRECTORIES:
        yield _path(value, top, home), key
    elif re.fullmatch(_PROGRAMS, key, re.DOTALL):
        if value.startswith("!") or not key.startswith("alias."):
            yield from ((path, key) for path in _files(value, top, home))
    elif "/" in value:
        yield from ((path, key) for path in _files(value, top, home) if os.access(path, os.X_OK))


def given(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Settings from the caller's variables (git-config(1), GIT_CONFIG_COUNT; git(1), `-c` for programs that
    git starts)."""
    import shlex

    yield from ((key, env[name]) for name, key in _VARIABLES.items() if env.get(name))
    count = env.get("GIT_CONFIG_COUNT", "")
    for number in range(min(int(count), len(env)) if re.fullmatch("[0-9]{1,9}", count) else 0):
        key, value = (env.get(f"GIT_CONFIG_{part}_{number}", "") for part in ("KEY", "VALUE"))
        yield _normal(key), value
    try:
        words = shlex.split(env.get("GIT_CONFIG_PARAMETERS", ""))
    except ValueError:
        words = []
    for word in words:
        key, _, value = word.partition("=")
        yield _normal(key), value


def _normal(key: str) -> str:
    """A key as `settings` gives it: letters of either case are the same but in a subsection."""
    section, _, rest = key.partition(".")
    subsection, dot, name = rest.rpartition(".")
    return f"{section.lower()}.{subsection}{dot}{name.lower()}"


def callers_own(env: Mapping[str, str]) -> list[str]:
    """The files of settings that all repositories have (git-config(1))."""
    home = env.get("HOME", "")
    own = env.get("XDG_CONFIG_HOME") or f"{home}/.config"
    users = [f"{own}/git/config", f"{home}/.gitconfig"]
    if one := env.get("GIT_CONFIG_GLOBAL"):
        users = [one]
    return [env.get("GIT_CONFIG_SYSTEM") or "/etc/gitconfig", *users]


def _path(value: str, base: str, home: str) -> str:
    expanded = home + value[1:] if value.startswith("~/") else os.path.expanduser(value)
    return os.path.normpath(os.path.join(base, expanded))


def _files(command: str, top: str, home: str) -> Iterator[str]:
    """What of a command line is a file."""
    import shlex

    try:
        words = shlex.split(command.removeprefix("!"))
    except ValueError:
        words = command.removeprefix("!").split()
    parts = [part for part in re.split(_SHELL, command) if part]
    parts += [part.partition("/")[2] for part in parts if part[0] in "$/"]
    for word in dict.fromkeys((*words, *parts)):
        path = _path(word, top, home)
        if os.path.isfile(path):
            yield path


class SettingsReader:
    """Reads files of settings, each once where several repositories have it: the caller's own are all of
    them's."""

    def __init__(self, shared: Container[str] = ()) -> None:
        """`shared` are the files that are kept."""
        self._shared = shared
        self._kept: dict[str, list[tuple[str, str]]] = {}
        self._room = _ALL_LIMIT
        self.missed: dict[str, str] = {}
        """Files that were not read to their ends, and why."""

    def settings(self, file: str) -> Iterable[tuple[str, str]]:
        if file not in self._shared:
            return settings(self.text(file))
        if file not in self._kept:
            self._kept[file] = list(settings(self.text(file)))
        return self._kept[file]

    def text(self, file: str) -> str:
        """The contents of a regular file, empty where there is none."""
        try:
            if not stat.S_ISREG(os.stat(file).st_mode):
                return ""
            with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
                found = opened.read(_SIZE_LIMIT + 1)
        except (OSError, ValueError):
            return ""
        self._room -= len(found)
        if self._room < 0:
            self.missed[file] = f"all settings together have more than {_ALL_LIMIT} bytes"
            return ""
        if len(found) > _SIZE_LIMIT:
            self.missed[file] = f"it has settings beyond {_SIZE_LIMIT} bytes"
        return os.fsdecode(found)


def settings(text: str) -> Iterator[tuple[str, str]]:
    """Keys (`section.name` or `section.subsection.name`) and values of a file of git's."""
    section, header = "", re.compile(_SECTION)
    for line in _lines(text.removeprefix("\ufeff").replace("\r\n", "\n")):
        rest = line.strip()
        at = 0
        while found := header.match(rest, at):
            section = found[1].lower()
            if found[2] is not None:
                section += "." + re.sub(r"\\(.)", r"\1", found[2])
            at = found.end()
            while at < len(rest) and rest[at].isspace():
                at += 1
        rest = rest[at:]
        if not rest or rest[0] in "#;" or not section:
            continue
        key, _, value = rest.partition("=")
        yield f"{section}.{key.strip().lower()}", _value(value.strip())


def _lines(text: str) -> Iterator[str]:
    """Lines, each with those that continue it: a backslash at the end of one does that, but for one that is
    escaped itself or in a comment."""
    parts: list[str] = []
    quoted = False
    for line in text.split("\n"):
        escaped = comment = False
        for letter in line if line.endswith("\\") else "":
            if escaped:
                escaped = False
            elif letter == "\\":
                escaped = True
            elif letter == '"':
                quoted = not quoted
            elif letter in "#;" and not quoted:
                comment = True
                break
        continued = escaped and not comment
        parts.append(line[:-1] if continued else line)
        if not continued:
            yield "".join(parts)
            parts, quoted = [], False
    yield "".join(parts)


def _value(text: str) -> str:
    """A value without its quotes, escapes and comment."""
    made: list[str] = []
    quoted = escaped = False
    for letter in text:
        if escaped:
            made.append(_ESCAPES.get(letter, letter))
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter in "#;" and not quoted:
            break
        else:
            made.append(letter)
    return "".join(made).strip()
