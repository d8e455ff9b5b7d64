"""What `art` understands: the options of a run and the names of its commands, in one table each.

The splitting of a command line, the pages of help and the completion of all shells read these.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Option(NamedTuple):
    """One option: without a `metavar` it is a flag, which takes a boolean after `=` at most.

    `dest` is its name in a `Split`; the names in `off` switch a flag off. One that is `many` may
    be given several times; of the others the last one wins. `path` says what its value names.
    """

    dest: str
    names: tuple[str, ...]
    metavar: str
    help: str
    off: tuple[str, ...] = ()
    many: bool = False
    choices: tuple[str, ...] = ()
    path: Literal["", "file", "dir"] = ""

    @property
    def flag(self) -> bool:
        """It takes no value of its own."""
        return not self.metavar


class Subcommand(NamedTuple):
    """A command of ART's own. `shared` are the options of a run that it knows as well."""

    name: str
    help: str
    shared: frozenset[str] = frozenset()


_WORKSPACE = (
    Option(
        "mount",
        ("-m", "--mount"),
        "DIR",
        "the host directory to work in; default: the current one",
        path="dir",
    ),
    Option("name", ("--name",), "NAME", "its name inside, instead of DIR's own"),
    Option(
        "database",
        ("-d", "--db"),
        "FILE",
        "keep the home and all changes in this database, not on the host (needs a store)",
        path="file",
    ),
    Option("branch", ("-b", "--branch"), "NAME", "the branch of the workspace; default: main"),
    Option("snapshot", ("--snapshot",), "", "keep the branch as it is before the run (with --db)"),
    Option("moved", ("--moved",), "", "DIR is the workspace that the database knows at another path"),
    Option(
        "unprotected",
        ("--no-protect",),
        "PATH",
        "leave this path of the workspace writable, though programs of the host run it (.git/config)",
        many=True,
    ),
    Option("allow_home", ("--allow-home",), "", "accept a workspace that is a home or a system directory"),
)
_AGENT = (
    Option(
        "agent",
        ("--agent",),
        "NAME",
        "give the command what this agent needs of yours (claude, codex, ...; `art agents` lists them); "
        "without COMMAND it is started",
    ),
    Option(
        "explain", ("--explain",), "", "print what would be granted, why, and what could leak; run nothing"
    ),
)
_SIGHT = (
    Option(
        "env",
        ("-e", "--env"),
        "NAME[=VALUE]",
        "pass a variable, or set one; patterns such as 'ANTHROPIC_*' pass several",
        many=True,
    ),
    Option(
        "env_files",
        ("--env-file",),
        "FILE",
        "set the variables that stand in FILE, one NAME=VALUE a line",
        many=True,
        path="file",
    ),
    Option(
        "binds",
        ("--bind",),
        "HOST:GUEST[:ro|rw]",
        "show a host file or directory at GUEST; read-only unless :rw is added",
        many=True,
        path="file",
    ),
    Option(
        "trust_binds", ("--trust-binds",), "", "approve what the workspace asks to have mounted, this once"
    ),
    Option(
        "expose",
        ("--expose",),
        "PATH",
        "show a hidden path at its own place, read-only",
        many=True,
        path="file",
    ),
    Option("path", ("--path",), "DIR", "put DIR in front of PATH", many=True, path="dir"),
    Option(
        "masks", (), "", "hide nothing: homes, keys and sockets of the host are seen", off=("--no-masks",)
    ),
    Option("alias", (), "", "do not show the workspace at its own host path, too", off=("--no-alias",)),
    Option(
        "workdir",
        ("--workdir",),
        "home|host",
        "work in the workspace below the home, or at its own path on the host; default: home",
        choices=("home", "host"),
    ),
    Option("nested", ("--nested",), "", "allow user namespaces, for programs with a sandbox of their own"),
)
_NETWORK = (
    Option(
        "network",
        ("--network",),
        "host|none|filtered",
        "the host's network, none, or only what --allow-domain names; default: host",
        choices=("host", "none", "filtered"),
    ),
    Option(
        "allow_domains",
        ("--allow-domain",),
        "HOST[:PORT]",
        "a name ('*.example.com'), or address, that the command may reach; implies a filtered network",
        many=True,
    ),
)
_LENT = (
    Option(
        "seeds",
        ("--seed",),
        "PATH[:GUEST]",
        "a private view of a host file or directory in the home (~/.claude): changes stay inside",
        many=True,
        path="file",
    ),
    Option(
        "shares",
        ("--share",),
        "PATH[:GUEST]",
        "the host's own file or directory in the home, written as well; asked once",
        many=True,
        path="file",
    ),
    Option(
        "git", ("--git",), "", "your name and e-mail for commits, and nothing else of git's configuration"
    ),
    Option("ssh_agent", ("--ssh-agent",), "", "your ssh agent and known hosts, never a key"),
    Option(
        "gpg_agent", ("--gpg-agent",), "", "your gpg agent (restricted) and public keys, never a secret one"
    ),
    Option(
        "devices",
        ("--device",),
        "/dev/kvm|/dev/dri|nvidia",
        "a device, with access: virtual machines (kvm), graphics (dri), NVIDIA's",
        many=True,
    ),
)
_LIMITS = (
    Option("memory", ("--memory",), "SIZE", "what all of it together may take: 512M, 4G"),
    Option("pids", ("--pids",), "N", "how many processes and threads there may be at once"),
    Option("cpus", ("--cpus",), "N", "how many processors it may keep busy: 2, 0.5"),
    Option("timeout", ("--timeout",), "TIME", "end it after so long, with status 124: 90, 30s, 10m, 1h"),
    Option("disk", ("--disk",), "SIZE", "what the database may grow by (with --db)"),
)
_TERMINAL = (
    Option(
        "interactive",
        ("-i", "--interactive"),
        "",
        "give the command a terminal, or (-i=false) none; default: if input and output are terminals",
        off=("--no-interactive",),
    ),
)
_TRACE = (
    Option("trace", ("--trace",), "", "record the system calls (needs a tracer); the options below imply it"),
    Option(
        "trace_log", ("--trace-log",), "FILE", "where the record goes; default: standard error", path="file"
    ),
    Option("trace_syscalls", ("--trace-syscalls",), "A,B", "record only these; default: all"),
    Option(
        "trace_format",
        ("--trace-format",),
        "text|jsonl",
        "how it is written; default: text",
        choices=("text", "jsonl"),
    ),
    Option("trace_summary", ("--trace-summary",), "", "count the calls instead of listing them"),
)
_PLUGINS = (
    Option("isolation", ("--isolation",), "NAME", "the plugin that makes the sandbox"),
    Option("store", ("--store",), "NAME", "the plugin that opens the database"),
    Option("tracer", ("--tracer",), "NAME", "the plugin that records system calls"),
    Option("gateway", ("--gateway",), "NAME", "the plugin that filters the network"),
    Option("no_plugins", ("--no-plugin",), "NAME", "leave this plugin out", many=True),
    Option("overrides", ("-c",), "KEY=VALUE", "change a setting: plugins.bwrap.tmp_size=1G", many=True),
)
_OTHER = (
    Option(
        "print_command",
        ("--print-command",),
        "",
        "print the isolation's command line, without the values of -e, and run nothing",
    ),
    Option("version", ("--version",), "", "print ART's version"),
    Option("help", ("-h", "--help"), "", "print this"),
)

GROUPS = {
    "Workspace": _WORKSPACE,
    "Agents": _AGENT,
    "What the command sees": _SIGHT,
    "Credentials and devices": _LENT,
    "Network": _NETWORK,
    "Limits": _LIMITS,
    "Terminal": _TERMINAL,
    "Trace": _TRACE,
    "Plugins and settings": _PLUGINS,
    "Other": _OTHER,
}
"""The options of a run as the help shows them."""

OPTIONS = tuple(option for group in GROUPS.values() for option in group)
BY_NAME = {name: option for option in OPTIONS for name in (*option.names, *option.off)}
BY_DEST = {option.dest: option for option in OPTIONS}

_SETTINGS = frozenset({"overrides", "no_plugins"})
_OF_STORE = _SETTINGS | {"mount", "name", "database", "branch", "moved", "store"}
_OF_TRUST = _SETTINGS | {"mount", "name", "agent", "binds", "shares"}

RUN = "run"
"""`art run` is `art`, spelled out."""

SUBCOMMANDS: dict[str, Subcommand] = {
    command.name: command
    for command in (
        Subcommand(RUN, "run a command in the sandbox: the same as art itself"),
        Subcommand("agents", "list the presets of agents, and what one grants"),
        Subcommand("push", "carry the workspace into a database", _OF_STORE),
        Subcommand("pull", "carry it back", _OF_STORE),
        Subcommand("status", "show what changed in the workspace", _OF_STORE),
        Subcommand("diff", "show the changes line by line", _OF_STORE),
        Subcommand("log", "show what was done, and when", _OF_STORE),
        Subcommand("snapshot", "keep the state of now under a name", _OF_STORE),
        Subcommand("branch", "make a line of work of its own, or list them", _OF_STORE),
        Subcommand("restore", "go back to an earlier state, with all or a part", _OF_STORE),
        Subcommand("trust", "show what the workspace asks to have mounted, and approve it", _OF_TRUST),
        Subcommand("fs", "files in a database: list, print, copy, mount", _OF_STORE),
        Subcommand("db", "care for a database: check, collect, export", _OF_STORE),
        Subcommand("doctor", "tell what this machine lacks, and what cures it", _SETTINGS | {"isolation"}),
        Subcommand("plugins", "list the plugins: what each provides, and why one is not there", _SETTINGS),
        Subcommand("completion", "print the completion script of a shell"),
        Subcommand("x", "commands that plugins bring", _SETTINGS),
    )
}
"""Names that are commands of ART's as the first word."""
