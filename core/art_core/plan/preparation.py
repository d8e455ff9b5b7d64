"""Prepares a run: from options, settings, plugins and the host to all that does not depend on the command.

Everything that can be wrong is found here, before anything is started. `build_run` makes the `Run` of a
command from it, `outcome` says what its end means.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from art_core.autorun import planted_links
from art_core.config import dirs
from art_core.config import settings as settings_module
from art_core.config.options import Options
from art_core.config.settings import READ_BY, Settings
from art_core.contracts import HOME, MAIN, Isolation, Mount
from art_core.errors import ApprovalNeeded, IsolationError
from art_core.host.tree import within
from art_core.host.user_namespace import inside
from art_core.loader.plugins import Plugins
from art_core.plan import choices
from art_core.view import environment, known_databases, masks, mounts, workspace_views
from art_core.view.identity import identify
from art_core.view.interpreter import interpreter_mount, refuse_over
from art_core.view.workspace import absolute, aliases, ask_consent, open_workspace, refuse_foreign

if TYPE_CHECKING:
    from art_core.autorun.watch import Watch
    from art_core.contracts import Stores
    from art_core.launch.client import Launcher
    from art_core.lending.loans import Lent
    from art_core.plan.approval import Approvals
    from art_core.plan.overlay import Overlay
    from art_core.plan.trace import Recording
    from art_core.view.mounts import Grant


class Preparation:
    """Everything of a sandbox that does not depend on the command.

    It holds descriptors of the workspace and of all sources until `close`.
    """

    def __init__(
        self,
        options: Options,
        settings: Settings | None = None,
        ask: Callable[[str], bool] | None = None,
        launcher: Launcher | None = None,
        *,
        only_look: bool = False,
    ) -> None:
        """`launcher` is told early how to trace. `only_look` opens no database, and is not for a run."""
        self.options = options
        self._ask = ask
        self._fds: list[int] = []
        self.overlay: Overlay | None = None
        self.watch: Watch | None = None
        self._caller_env: Mapping[str, str] = os.environ
        self.settings = settings if settings is not None else settings_module.load(self._caller_env)
        for override in options.overrides:
            self.settings = settings_module.with_override(self.settings, override)
        self.plugins = Plugins.load(self.settings, disabled=options.no_plugins, env=self._caller_env)
        directory = options.workspace or self.settings.mount or "."
        defaults = self.settings.for_workspace(absolute(directory))
        self.provision = choices.preset(options, self.settings, absolute(directory), self._caller_env)
        self.database = database = choices.database(options, self.settings, defaults)
        self.recording = self._recording(launcher) if options.trace else None
        self.isolation_name = options.isolation or self.settings.isolation
        self.network, self.egress = choices.network(options, self.settings, self.plugins, self.provision)
        self.held = choices.limits(options, self.settings, overlay=database is not None)
        self.require_capabilities()
        self.isolation: Isolation = self.plugins.create("isolation", self.isolation_name)
        self.mapped = self.settings.root_as == "mapped"
        self.identity = identify(os.getuid(), os.getgid(), mapped=self.mapped)
        planted_links.refuse_workspace(directory, self._caller_env, dirs.state_dir(self._caller_env))
        self.workspace = open_workspace(directory, options.name or defaults.name, moved=options.moved)
        self._fds.append(self.workspace.fd)
        self.lent: Lent | None = None
        try:
            self._refuse_links()
            self.lent = choices.lent(self, self.workspace, self._caller_env)
            if self.lent is not None:
                self.require_capabilities(self.lent.needs(kept=database is not None))
            if database is not None and not only_look:
                self.overlay = self._mounted_home(database)
            self._look_at_host()
        except BaseException:
            self.close()
            raise

    def _refuse_links(self) -> None:
        """A link in the workspace does not decide what an option opens. Raises UsageError."""
        options, tops = self.options, [self.workspace.real]
        if options.trace_log is not None:
            planted_links.refuse("--trace-log", options.trace_log, tops, last=True)
        if self.database is not None and "://" not in self.database:
            planted_links.refuse("--db", self.database, tops)
        for path in options.env_files:
            planted_links.refuse("--env-file", path, tops)
        for option, texts in (("--seed", options.seeds), ("--share", options.shares)):
            for text in texts:
                planted_links.refuse(option, text.partition(":")[0], tops)
        for path in options.expose:
            planted_links.refuse("--expose", path, tops)

    def _mounted_home(self, locator: str) -> Overlay:
        from art_core.loader.capabilities import keeps_history
        from art_core.plan.overlay import Overlay

        name = self.options.store or self.settings.store
        stores: Stores = self.plugins.create("store", name)
        with self.plugins.guard("store", name):
            owner = self.identity.host_ids or (inside(os.getuid()), inside(os.getgid()))
            provider = self.plugins.provider("store", name)
            branch = self.options.branch or MAIN
            growth = 0 if self.held is None else self.held.growth(provider)
            history = keeps_history(provider, asked="--snapshot" if self.options.snapshot else "")
            lent = None if self.lent is None else self.lent.into(provider)
            store = stores.open(locator, "create")
            return Overlay(store, branch, self.workspace, owner, growth=growth, history=history, lent=lent)

    def _look_at_host(self) -> None:
        homes = masks.home_directories(self._caller_env.get("HOME"))
        if not self.options.allow_home:
            ask_consent(self.workspace, homes, self._ask)
        refuse_foreign(self.workspace, os.getuid())
        if self.database is None:
            planted_links.refuse_own(self.workspace.real, self._caller_env, homes)
        self.homes = homes
        self.state_dir = dirs.state_dir(self._caller_env)
        hidden = self.overlay.store.hidden() if self.overlay is not None else ()
        extra = [*self.settings.masks, self.state_dir, *hidden]
        if self.recording is not None and self.recording.log is not None:
            extra.append(self.recording.log)
        near = [os.path.dirname(self.workspace.real)]
        self.masks = masks.host_masks(homes, extra, near) if self.options.masks else []
        self.hidden = [*self.masks, *masks.REPLACED]
        self.guest = f"{HOME}/{self.workspace.name}"
        self.aliases = aliases(self.workspace, self.guest, self.hidden) if self.options.alias else []
        self._hide_databases(hidden)
        self.workdir = choices.workdir(self.options, self.settings, self.guest, self.aliases)
        self._gather()
        # With a database nothing reaches the host but through a view of the workspace.
        if (self.database is None or self._views) and self.settings.protect:
            self.watch = self._watched()

    def _watched(self) -> Watch:
        from art_core.autorun.finder_cache import Remembered
        from art_core.autorun.watch import Watch

        seen = not self.options.masks or within(self.state_dir, self.workspace.real)
        remembered = None if seen else Remembered(f"{self.state_dir}/obeyed", self.workspace)
        beside: Sequence[str] = ()
        if os.path.isfile(f"{self.workspace.real}/.git"):
            from art_core.view import worktree

            beside = worktree.directories(self.workspace) or ()
        return Watch(
            self.workspace,
            self.settings.protect,
            self.options.unprotected,
            self._caller_env,
            remembered,
            beside,
            self.guest if self.database is None and self.workdir == self.guest else "",
        )

    def _hide_databases(self, own: Sequence[str]) -> None:
        """Leave out those that other sandboxes keep their homes in, wherever they lie."""
        self.notes = known_databases.remember(self.state_dir, own)
        outside = [*self.hidden, *self.aliases]
        self._databases = known_databases.others(self.state_dir, own) if self.options.masks else []
        left_out, covered = known_databases.masks(self._databases, outside)
        self.masks = [*self.masks, *left_out]
        self._covered = [known_databases.cover(path) for path in covered]

    # --- what may be asked for -----------------------------------------------------------------

    def _recording(self, launcher: Launcher | None) -> Recording:
        from art_core.plan import trace

        wanted = trace.wanted(self.options, self.settings.tracer)
        return trace.Recording(self.plugins, wanted, launcher)

    def require_capabilities(self, more: Mapping[str, str] = {}) -> None:
        """Refuse by name what the isolation cannot do."""
        provider = self.plugins.provider("isolation", self.isolation_name)
        needed = {"mounts": "mounts", "masks": "masks" if self.options.masks else ""}
        needed["network-none"] = "a network of its own" if self.network == "none" else ""
        needed["network-filtered"] = "a filtered network" if self.network == "filtered" else ""
        needed["rlimits"] = "limits without a control group" if self.held and self.held.rlimits else ""
        needed["nested"] = "--nested" if self.options.nested else ""
        needed["filters"] = "--trace" if self.recording and self.recording.filters else ""
        needed.update(more)
        for capability, what in needed.items():
            if what and capability not in provider.capabilities:
                raise IsolationError(
                    f"the isolation {provider.name!r} cannot do {what} (capability {capability}); "
                    "choose another with --isolation NAME"
                )

    # --- what is mounted -----------------------------------------------------------------------

    def _gather(self) -> None:
        home = self._caller_env.get("HOME", "/")
        try:
            cwd = os.getcwd()
        except FileNotFoundError:
            cwd = ""  # It was removed: a relative path leads nowhere, an absolute one where it says.
        asked = [mounts.parse_bind(text, cwd=cwd, home=home) for text in self.options.binds]
        asked += [mounts.parse_expose(text, cwd=cwd, home=home) for text in self.options.expose]
        providers = self.plugins.providers("mount_source")
        sources = [(p.name, self.plugins.create("mount_source", p.name)) for p in providers]
        read = {name for name, _ in sources}
        self.unread_files = {file: name for file, name in READ_BY.items() if name not in read}
        offers: list[Mount] = []
        if self.database is None and os.path.isfile(f"{self.workspace.real}/.git"):
            from art_core.view import worktree

            offers = worktree.offer(self.workspace)
        taken = [mount.guest for mount in (*offers, *asked)]
        chains, self.path_first, self.path_last = choices.tools(
            self, self.workspace, self._caller_env, self.hidden, taken
        )
        approved = {chain.origin for chain in chains}  # By who typed it.
        if self.lent is not None:
            asked += self.lent.asked()
            approved |= {mount.origin for mount in self.lent.mounts}
        self.gathered = mounts.gather(
            self.workspace, sources, [*offers, *chains, *asked], aliases=self.aliases
        )
        self._fds += [mount.fd for mount in self.gathered.mounts if mount.fd >= 0]
        self.evidence = self.gathered.evidence
        self._interpreter = interpreter_mount(self.hidden, self.homes, self.identity)
        refuse_over(self.gathered.mounts, self.hidden, moved=bool(self._interpreter))
        self._views = workspace_views.views(self.gathered.mounts, self.workspace)
        database = () if self.overlay is None else self.overlay.store.hidden()
        workspace_views.refuse_database(self.gathered.mounts, database, self.workspace)
        secret = [path for one in self._databases for path in one.paths]

        def granted(*, kept: bool) -> list[Grant]:
            found = mounts.grants(self.gathered.mounts, self.workspace, self.hidden, secret, kept=kept)
            return [grant for grant in found if grant.mount.origin not in approved]

        self.grants = granted(kept=self.database is not None)
        self.grants_when_kept = granted(kept=True)
        self._offered = {offer.origin for offer in offers}
        self.left_out: str | None = None

    def settle(self) -> None:
        """See that every mount which grants more than the sandbox has is approved, and pin the
        rest of what will be mounted. Raises ApprovalNeeded."""
        if self.grants:
            self._settle_grants()
        left_out = self._offered if self.left_out is not None else set()
        explicit = [mount for mount in self.gathered.mounts if mount.origin not in left_out]
        if self.lent is not None and self.overlay is not None:
            explicit = [mount for mount in explicit if not self.lent.is_in_store(mount)]
        needed, self.covers = masks.needed_links(self.masks)
        needed += self._interpreter
        tops = [self.guest, *self.aliases]
        if self.overlay is None:
            shown = [mounts.of_workspace(self.workspace, top) for top in tops]
        else:
            shown = self.overlay.shown(self.aliases)
        opened = [mounts.opened(mount) for mount in needed]
        self._fds += {mount.fd for mount in opened}
        own = tops if self.overlay is None else []
        protected = self._protections(own, explicit)
        together = [*opened, *shown, *protected, *explicit, *self._over_databases([*shown, *explicit])]
        if self.recording is not None:
            writable = [mount for mount in explicit if mount.writable]
            self.recording.check_log([self.workspace.real, self.workspace.path], writable)
        for mount in together:
            if mount.fd < 0 and not mount.device:  # A path may lead elsewhere by the time it is used.
                raise IsolationError(f"{mount.origin}: {mount.source} was not opened before it is mounted")
        self.mounts = sorted(together, key=lambda mount: mount.guest.rstrip("/").count("/"))

    def _protections(self, tops: Sequence[str], explicit: Sequence[Mount]) -> list[Mount]:
        """What protects the workspace at its own places and in every other view of it."""
        if self.watch is None:
            return []
        shown = [view for view in self._views if view.mount in explicit]
        protected = self.watch.protections([""])
        self._fds += {mount.fd for mount in protected}
        workspace_views.refuse_protected(self._views, protected)
        above = workspace_views.held_in_place(shown)
        self._fds += [mount.fd for mount in above]
        return [*above, *workspace_views.placed(protected, tops, shown, explicit)]

    def _over_databases(self, shown: Sequence[Mount]) -> list[Mount]:
        """What covers them where they stand, and in host directories that are shown. A store hides them in
        the workspace that it merges itself."""
        if "devices" not in self.plugins.provider("isolation", self.isolation_name).capabilities:
            return []
        if self.overlay is not None:
            shown = [mount for mount in shown if mount.fd != self.overlay.workspace_fd]
        return [
            *self._covered,
            *(cover for mount in shown for cover in known_databases.covers(mount, self._databases)),
        ]

    def _settle_grants(self) -> None:
        from art_core.plan import approval

        try:
            approval.settle(
                approvals_of(self),
                self.workspace,
                self.evidence,
                self.grants,
                self.grants_when_kept,
                mode=self.options.trust,
                ask=self._ask,
                agent=self.options.agent,
            )
        except ApprovalNeeded as error:
            # The user asked nothing for a worktree: the run goes on without the offer.
            if not all(grant.mount.origin in self._offered for grant in self.grants):
                raise
            self.left_out = str(error)

    # --- a command -----------------------------------------------------------------------------

    @property
    def stream_owner(self) -> tuple[int, int] | None:
        """Who must own the command's streams so that it can reopen them; None: the caller does."""
        return self.identity.host_ids

    def shell(self) -> str:
        """The interactive shell: the caller's if it is there inside, else bash, else sh."""
        for shell in (self._caller_env.get("SHELL", ""), self.identity.shell, "/bin/bash"):
            hidden = any(within(shell, top) for top in self.hidden)
            if shell.startswith("/") and not hidden and os.access(shell, os.X_OK):
                return shell
        return "/bin/sh"

    def default_command(self) -> list[bytes]:
        """What runs when no command is given: the agent that was asked for, else a shell."""
        provision = self.provision if self.options.agent is not None else None
        commands = () if provision is None else provision.preset.commands
        return [os.fsencode(commands[0] if commands else self.shell())]

    def variables(self, *, plain: bool = False) -> dict[bytes, bytes]:
        """The command's variables; `plain` leaves out those of the caller that were asked for."""
        provision, options = self.provision, self.options
        given = {} if provision is None else provision.variables
        given |= {} if self.egress is None else self.egress.variables()
        given |= {} if self.lent is None else self.lent.variables
        return environment.build(
            os.environb,
            home=HOME,
            cwd=self.workdir,
            user=self.identity.user,
            shell=self.shell(),
            keep=[*self.settings.env_pass, *(() if provision is None or plain else provision.passed)],
            given=given,
            requests=() if plain else options.env,
            files=() if plain else options.env_files,
            path_first=[*map(_expanded, options.path), *self.path_first],
            path_last=self.path_last,
        )

    @property
    def worker_fd(self) -> int | None:
        """The process that serves the home, when one does."""
        worker = None if self.overlay is None else self.overlay.mounted.worker
        return None if worker is None else worker.pidfd

    def stop_mapping(self) -> bool:
        """Give up the unprivileged uid of a root caller, where a file system cannot be id-mapped.
        False when there was none."""
        if self.identity.host_ids is None:
            return False
        self.identity = self.identity._replace(host_ids=None)
        return True

    def close(self) -> None:
        """Commit a mounted home and close all descriptors. Idempotent."""
        if self.watch is not None:
            self.watch.close()
        if self.recording is not None:
            self.recording.close()
        if self.lent is not None:
            self.lent.close()
        overlay, self.overlay = self.overlay, None
        try:
            if overlay is not None:
                overlay.close()
        finally:
            self._close_descriptors()

    def _close_descriptors(self) -> None:
        for fd in set(self._fds):
            os.close(fd)
        self._fds.clear()


def _expanded(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def approvals_of(run: Preparation) -> Approvals:
    """Where what a run asks for is looked up."""
    from art_core.plan.approval import Approvals

    return Approvals(run.state_dir, "" if run.provision is None else run.provision.preset.name)
