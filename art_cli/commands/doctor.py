"""`art doctor`: what this machine lacks for a sandbox, what that costs, and what cures it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from art_cli.output.console import printable
from art_cli.run.requirements import PURPOSES, Check, State, all_checks, this_host
from art_cli.syntax.shared_options import CONTEXT, Command, settings_with, shared
from art_core.config import dirs
from art_core.config.settings import Settings
from art_core.contracts import Exit, Launch
from art_core.errors import ArtError, SettingsError
from art_core.loader.plugins import KINDS, Plugins
from art_core.view import masks

if TYPE_CHECKING:
    from art_core.sandbox.sandbox import Sandbox

TRIAL_TIMEOUT = "30s"
_VERSION_TIMEOUT_S = 5


@click.command(cls=Command, context_settings=CONTEXT)
@shared("doctor")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def command(
    as_json: bool, overrides: tuple[str, ...], no_plugins: tuple[str, ...], isolation: str | None
) -> int:
    """Tell what this machine lacks, what does not work without it, and the cure.

    Ends with 1 when no sandbox can run here: that is tried, in a directory that is removed again.
    """
    settings, wrong = _settings(overrides)
    trial = list(try_run(settings, no_plugins, isolation))
    name = isolation or settings.isolation
    checks = [*wrong, *trial, *of_plugins(settings, no_plugins, name), *all_checks(this_host())]
    works = not wrong and all(check.state != "missing" for check in trial)
    hidden = masks.host_masks(
        masks.home_directories(os.environ.get("HOME")), [*settings.masks, dirs.state_dir(os.environ)]
    )
    if as_json:
        print(_json(works, checks, hidden, settings))
    else:
        for line in report(works, checks, hidden):
            print(printable(line))
    return 0 if works else 1


def _settings(overrides: Sequence[str]) -> tuple[Settings, list[Check]]:
    try:
        return settings_with(overrides), []
    except SettingsError as error:
        return Settings(), [Check("settings", "missing", str(error), "every run", "mend what is named")]


def try_run(settings: Settings, no_plugins: Sequence[str], isolation: str | None) -> Iterator[Check]:
    """Run a command in a sandbox; what makes it, how that went, and whose /proc it saw."""
    import shutil
    import tempfile

    from art_core.sandbox.sandbox import Sandbox

    directory = tempfile.mkdtemp(prefix="art-doctor-")
    try:
        options: dict[str, Any] = {"isolation": isolation, "no_plugins": no_plugins, "allow_home": True}
        options["timeout"] = TRIAL_TIMEOUT
        with Sandbox(directory, settings=settings, network="host", **options) as box:
            yield _program(isolation or settings.isolation, box.plan(["true"]))
            ended, printed = _tried(box, ["sh", "-c", _WHO_AM_I])
        if ended.code:
            said = ended.why or printed.decode("utf-8", "replace").strip() or "no reason given"
            yield _failed(f"`sh` ended with {ended.code}: {said}")
        else:
            yield Check("a run", "ok", "a command ran in a sandbox")
            yield _own_proc(printed.split())
            yield _filtered(directory, settings, options)
            yield _limited(directory, settings, options)
    except (ArtError, OSError) as error:
        yield _failed(str(error))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _tried(box: Sandbox, argv: Sequence[str]) -> tuple[Exit, bytes]:
    """How a command ended, run as `art` runs it, and what it printed."""
    import tempfile

    with tempfile.TemporaryFile() as file:
        ended = box.execute(argv, output=file.fileno())
        file.seek(0)
        return ended, file.read()


_WHO_AM_I = 'read -r pid rest </proc/self/stat; echo "$pid" "$$"'


def _own_proc(pids: Sequence[bytes]) -> Check:
    """A /proc of the machine's numbers the shell otherwise than its own pid namespace does."""
    if len(set(pids)) == 1:
        return Check("/proc", "ok", "the sandbox has its own")
    return Check(
        "/proc",
        "warning",
        "this machine's own is shown read-only, because it forbids a new one (containers do)",
        "hiding the command lines of other processes",
        "run ART outside the container, or let the container have all of /proc "
        "(docker run --security-opt systempaths=unconfined)",
    )


def _filtered(directory: str, settings: Settings, options: dict[str, Any]) -> Check:
    """Whether a sandbox with a filtered network starts, and its gateway serves it."""
    from art_core.sandbox.sandbox import Sandbox

    name, cure = "filtered network", "see the other lines that are not ok"
    try:
        with Sandbox(directory, settings=settings, network="filtered", **options) as box:
            ended, _ = _tried(box, ["true"])
        served = box.gateway_served()
    except (ArtError, OSError) as error:
        why, _, found = str(error).rpartition(": ")
        why = why.removesuffix("; to get it")
        return Check(name, "warning", why or found, "--network filtered", found if why else cure)
    if ended.code or not served:
        why = ended.why or "the gateway did not get what the sandbox listens on"
        return Check(name, "warning", why, "--network filtered", cure)
    return Check(name, "ok", f"the gateway {settings.gateway} serves a sandbox")


def _limited(directory: str, settings: Settings, options: dict[str, Any]) -> Check:
    """Which limits hold here, and by what; those of time and of a database always do."""
    from art_core.host import cgroups
    from art_core.sandbox.sandbox import Sandbox

    places = cgroups.find()
    held = [limit for limit in cgroups.CONTROLLERS if places.holds(limit)]
    how = "a scope of systemd's" if places.systemd else f"control groups, version {places.version}"
    cure = "a session of systemd's (loginctl enable-linger), or a control group that you may write to"
    try:
        with Sandbox(directory, settings=settings, memory="1G", pids="1000", **options) as box:
            ended, _ = _tried(box, ["true"])
        why = ended.why if ended.code else ""
    except (ArtError, OSError) as error:
        why = str(error)
    if why:
        return Check("limits", "warning", why, "--memory, --pids, --cpus", cure)
    if len(held) == len(cgroups.CONTROLLERS):
        return Check("limits", "ok", f"--memory, --pids, --cpus by {how}; --timeout, --disk")
    found = "--timeout, --disk" + "".join(f", --{limit}" for limit in held)
    lost = {"memory": "--memory for all processes together", "cpus": "--cpus", "pids": "the count of --pids"}
    without = ", ".join(text for limit, text in lost.items() if limit not in held)
    return Check("limits", "warning", found, without, cure)


def _failed(why: str) -> Check:
    return Check("a run", "missing", why, "no sandbox", "see the other lines that are not ok")


def _program(isolation: str, launch: Launch) -> Check:
    import subprocess

    program = launch.argv[0]
    try:
        done = subprocess.run(
            [program, "--version"],
            env=dict(launch.env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_TIMEOUT_S,
        )
        version = done.stdout.decode("utf-8", "replace").partition("\n")[0]
    except (OSError, subprocess.SubprocessError):
        version = ""
    return Check(f"isolation {isolation}", "ok", f"{program} ({version})" if version else program)


def of_plugins(settings: Settings, no_plugins: Sequence[str], isolation: str) -> Iterator[Check]:
    """Plugins that could not be loaded, and providers that cannot work on this machine."""
    plugins = Plugins.load(settings, disabled=no_plugins, env=os.environ)
    for row in plugins.rows():
        if row.state not in ("ok", "disabled"):
            found = f"{row.state}: {row.reason}" if row.reason else row.state
            yield Check(f"plugin {row.name}", "warning", found, "what it provides", row.cure)
    for kind in KINDS:
        try:
            yield from _of_kind(
                plugins, kind, isolation if kind == "isolation" else getattr(settings, kind, "")
            )
        except ArtError as error:
            yield Check(_spoken(kind), "warning", str(error))


def _of_kind(plugins: Plugins, kind: str, chosen: str) -> Iterator[Check]:
    """What the providers of a kind say of this machine; `chosen` is the one that a run takes."""
    from art_core.loader import channel

    purpose = PURPOSES.get(kind, "")
    names = []
    for provider in plugins.providers(kind):
        names.append(provider.name)
        needed = kind == "isolation" and provider.name == chosen
        state: State = "missing" if needed else "warning"
        what = f"{_spoken(kind)} {provider.name}"
        without = "no sandbox" if needed else purpose if provider.name == chosen else what
        reasons = list(provider.probe(plugins.context(provider)))
        for reason in reasons:
            yield Check(what, state, reason.what, without, reason.cure)
        if purpose and not reasons:
            yield Check(what, "ok", provider.summary)
    if purpose and chosen not in names:
        cure = channel.cure(kind, chosen)
        yield Check(f"{_spoken(kind)} {chosen}", "warning", "no plugin provides it", purpose, cure)


def _spoken(kind: str) -> str:
    return kind.replace("_", " ")


def report(works: bool, checks: Sequence[Check], hidden: Sequence[str]) -> list[str]:
    """What a person reads."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.state:<7}  {check.name:<{width}}  {check.found}")
        more = [f"without it: {check.without}"] if check.without else []
        more += [f"cure: {check.cure}"] if check.cure else []
        lines += [f"{'':{width + 9}}  {text}" for text in more]
    lines += ["", "Hidden in a sandbox here: " + (", ".join(hidden) or "nothing")]
    return [*lines, "A sandbox can run here." if works else "No sandbox can run here."]


def _json(works: bool, checks: Sequence[Check], hidden: Sequence[str], settings: Settings) -> str:
    import json

    sources: Mapping[str, str] = settings.sources
    found = {
        "works": works,
        "checks": [check._asdict() for check in checks],
        "hidden": list(hidden),
        "settings": dict(sources),
    }
    return json.dumps(found, indent=2)
