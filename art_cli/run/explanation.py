"""What a run would grant to its command, for people to read: each grant, where it comes from, and what could
leak through it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from art_core.agents.presets import BUILT_IN, PresetEntry
from art_core.agents.provision import LENT, Row
from art_core.contracts import Mount, Origin
from art_core.plan import preparation
from art_core.plan.preparation import Preparation
from art_core.view.environment import matching


class ShownGrant(NamedTuple):
    """One grant: what it is, where it was written, and what could leak (nothing of the user's: empty)."""

    what: str
    source: str
    leak: str = ""


class _Words(NamedTuple):
    """How the grants of one key of a preset are told; `{}` stands for what there is."""

    what: str
    leak: str


_WORDS: Mapping[str, _Words] = {
    "path": _Words("{}, read-only at its own place, and in PATH", "the programs in it"),
    "expose": _Words("{}, read-only at its own place", "the programs in it"),
    "seeds": _Words("{}, as a view in the home; changes stay inside", "what stands in it"),
    "shares": _Words(
        "{}, the host's own, read and written", "what stands in it; what is written is on the host at once"
    ),
    "pass": _Words("the variable {}", "its value"),
    "set": _Words("the variable {}={value}", ""),
    "domains": _Words(
        "{}, when the network is filtered", "everything that the command can read, to who serves it"
    ),
    "devices": _Words("the device {}", "what its driver lets through"),
    "git": _Words("your name and address, for commits", "your name and address"),
    "ssh_agent": _Words(
        "your ssh agent and known hosts",
        "no key; while the run lasts, whatever your keys open: other machines, repositories",
    ),
    "gpg_agent": _Words(
        "your gpg agent and public keys", "no key; while the run lasts, signatures and what it can decrypt"
    ),
}


def of_rows(rows: Iterable[Row]) -> list[str]:
    """What a preset grants here, and last what it names that is absent."""
    rows = list(rows)
    shown = [one for row in rows for one in _of_row(row)]
    return [*_written(shown), *_absent(rows)]


def _of_row(row: Row) -> Iterator[ShownGrant]:
    entry = row.entry
    words = _WORDS[entry.key]
    if row.found:
        what = words.what.format(", ".join(map(_short, row.found)), value=entry.value)
        yield ShownGrant(what, _place(entry.origin), entry.leaks or words.leak)


def _absent(rows: Sequence[Row]) -> list[str]:
    missing = [row.entry for row in rows if not row.found]
    return ["absent here, so left out:", *(f"  {_named(entry)}" for entry in missing)] if missing else []


def _named(entry: PresetEntry) -> str:
    return f"{entry.text}  ({_place(entry.origin)})"


def _place(origin: Origin) -> str:
    """Where something was written; files of ART's own as they are called in its source."""
    return str(origin).removeprefix(f"{os.path.dirname(os.path.dirname(BUILT_IN))}/")


def _written(shown: Iterable[ShownGrant]) -> Iterator[str]:
    for one in shown:
        yield f"  {one.what}"
        yield f"      {one.source}"
        if one.leak:
            yield f"      could leak: {one.leak}"


def _short(path: str) -> str:
    home = os.environ.get("HOME", "")
    return f"~{path[len(home) :]}" if home.startswith("/") and path.startswith(f"{home}/") else path


# --- a whole run -------------------------------------------------------------------------------


def explained(run: Preparation, command: str) -> list[str]:
    """Everything that a run would grant, as lines; `command` is what it would run."""
    lines = [f"nothing was run; {command} would be given, besides the host's system to read:"]
    sections = {
        "files": [*_workspace(run), *_mounts(run)],
        "lent": list(_lent(run)),
        "variables": list(_variables(run)),
        "network": list(_network(run)),
        "more": list(_more(run)),
    }
    for title, shown in sections.items():
        if shown:
            lines += ["", title, *_written(shown)]
    if absent := _absent(_rows(run)):
        lines += ["", *absent]
    return lines


def _rows(run: Preparation) -> list[Row]:
    """What the preset grants; what is lent as it was found when it was opened."""
    rows = [] if run.provision is None else list(run.provision.rows)
    lent = set() if run.lent is None else {one.origin for one in run.lent.granted}
    return [
        row if row.entry.key not in LENT or row.entry.origin in lent else row._replace(found=())
        for row in rows
    ]


def _approvals(run: Preparation) -> Mapping[str, str]:
    """What is to be said of mounts that need approval, by their guest paths."""
    if run.grants and preparation.approvals_of(run).holds(run.workspace, run.evidence, run.grants):
        return {grant.mount.guest: " (approved)" for grant in run.grants}
    return {grant.mount.guest: f" (asked for first: {grant.why})" for grant in run.grants}


def _workspace(run: Preparation) -> Iterator[ShownGrant]:
    workspace = run.workspace
    if run.database is None:
        yield ShownGrant(
            f"{workspace.path} at {run.guest}, read-write; changes are on the host at once",
            "the workspace" if run.options.workspace else "the current directory",
            "what stands in it",
        )
    else:
        yield ShownGrant(
            f"{workspace.path} at {run.guest}; changes are kept in {run.database}",
            "--db" if run.options.database else "the settings",
            "what stands in it, and in the home that is kept",
        )


def _mounts(run: Preparation) -> Iterator[ShownGrant]:
    approvals = _approvals(run)
    of_preset = {row.entry.origin: row.entry for row in _rows(run)}
    lent = set() if run.lent is None else {one.origin for one in run.lent.granted}
    for mount in run.gathered.mounts:
        if mount.origin in lent:
            continue
        entry = of_preset.get(mount.origin)
        if entry is None:
            yield _of_mount(mount, approvals.get(mount.guest, ""))
        else:
            words = _WORDS["expose"]
            yield ShownGrant(
                words.what.format(_short(mount.guest)), _place(mount.origin), entry.leaks or words.leak
            )


def _of_mount(mount: Mount, approval: str) -> ShownGrant:
    at = "its own place" if mount.guest == mount.source else mount.guest
    mode = "read-write" if mount.writable else "read-only"
    leak = "what stands in it" + ("; what is written is on the host at once" if mount.writable else "")
    return ShownGrant(f"{_short(mount.source)} at {at}, {mode}{approval}", _place(mount.origin), leak)


def _lent(run: Preparation) -> Iterator[ShownGrant]:
    approvals = _approvals(run)
    leaks = {row.entry.origin: row.entry.leaks for row in _rows(run)}
    for one in () if run.lent is None else run.lent.granted:
        approval = approvals.get(one.guest, "")
        yield ShownGrant(
            f"{one.what} at {one.guest}{approval}", _place(one.origin), leaks.get(one.origin) or one.risk
        )


def _variables(run: Preparation) -> Iterator[ShownGrant]:
    """The variables that the command would have of the caller's, or by a preset; of those that are asked for
    twice the last word counts, as in a run."""
    told: dict[bytes, ShownGrant] = {}

    def passed(pattern: str, source: str) -> None:
        for name in matching(os.environb, os.fsencode(pattern)):
            told[name] = ShownGrant(f"the variable {os.fsdecode(name)}", source, "its value")

    kept = run.settings.sources.get("env_pass", "ART's own list")
    for pattern in run.settings.env_pass:
        passed(pattern, f"{kept}: env.pass")
    for row in _rows(run):
        if row.entry.key in ("pass", "set"):
            for name in row.found:
                (told[os.fsencode(name)],) = _of_row(row._replace(found=[name]))
    front = [*run.options.path, *run.path_first]
    if front or run.path_last:
        first, last = (", ".join(map(_short, paths)) or "nothing" for paths in (front, run.path_last))
        sources = ["--path"] if run.options.path else []
        sources += ["the setting toolchains"] if run.settings.toolchains == "auto" else []
        sources += [] if run.provision is None else [f"the preset {run.provision.preset.name}: path"]
        told[b"PATH"] = ShownGrant(
            f"the variable PATH, in front: {first}; behind: {last}", ", ".join(sources)
        )
    plain, asked = run.variables(plain=True), run.variables()
    for variable in asked:
        if plain.get(variable) != asked[variable] and variable not in told:
            told[variable] = ShownGrant(f"the variable {os.fsdecode(variable)}", "--env-file", "its value")
    for text in run.options.env:
        name, given, _ = text.partition("=")
        if given:
            told[os.fsencode(name)] = ShownGrant(f"the variable {name}", f"-e {name}", "its value")
        else:
            passed(name, f"-e {name}")
    return (shown for name, shown in sorted(told.items()) if name in asked)


def _network(run: Preparation) -> Iterator[ShownGrant]:
    if run.options.network is not None:
        source = "--network"
    elif run.options.allow_domains:
        source = "--allow-domain"
    else:
        source = run.settings.sources.get("network", "the default")
    if run.egress is not None:
        for rule in run.egress.rules:
            leak = "everything that the command can read, to who serves it"
            yield ShownGrant(rule.text, _place(rule.origin), leak)
    elif run.network == "host":
        leak = "everything that the command can read, to anybody; services of this machine can be reached"
        domains = [] if run.provision is None else run.provision.preset.texts("domains")
        limit = f" to {', '.join(domains)}" if domains else ""
        yield ShownGrant(f"the host's network; --network filtered would limit it{limit}", source, leak)
    else:
        yield ShownGrant("none", source)


def _more(run: Preparation) -> Iterator[ShownGrant]:
    if not run.options.masks:
        yield ShownGrant("no masks", "--no-masks", "homes, keys, and the sockets of the host's services")
    if run.options.nested:
        yield ShownGrant("user namespaces", "--nested", "nothing; more of the kernel can be attacked")
