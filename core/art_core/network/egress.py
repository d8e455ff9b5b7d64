"""The way out of a run whose network is filtered: its rules, its ports, what the command is told, and
what was refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from art_core.config.settings import Settings
from art_core.contracts import Origin
from art_core.errors import UsageError
from art_core.gateways import Destination, Gateway, Passage, Refusal
from art_core.loader.plugins import Plugins
from art_core.network.destinations import from_settings, is_loopback, option_for, parse, target

PORT = 61080
"""Where the gateway listens inside, on 127.0.0.1: above the ports that the system gives out by itself."""
MOST_FORWARDED = 64
_PROXY = b"http://127.0.0.1:%d" % PORT
_STAY_INSIDE = (
    *("localhost", ".localhost", "127.0.0.1", "127.0.0.2", "127.0.1.1", "127.0.0.0/8", "0.0.0.0"),
    *("::1", "::", "::ffff:127.0.0.1", "[::1]", "[::]", "[::ffff:127.0.0.1]"),
)
"""Names of the sandbox's own servers. Many clients know no ranges in NO_PROXY, and Python's urllib wants the
brackets of a URL; 127.0.1.1 is what Debian gives to the host's own name (hosts(5))."""


class Egress:
    """The way out of the runs of one sandbox."""

    def __init__(
        self,
        plugins: Plugins,
        gateway: str,
        typed: Sequence[str],
        settings: Settings,
        more: Sequence[Destination] = (),
    ) -> None:
        """The rules are those that were typed, those of the settings, and `more`. Raises UsageError or
        SettingsError for one that is wrong, PluginError where there is no such gateway."""
        option = Origin("--allow-domain")
        rules = from_settings(settings.network_allow, settings.sources.get("network_allow", "settings"))
        rules += [*more, *(parse(text, option) for text in typed)]
        self.rules = list({rule.text: rule for rule in rules}.values())
        loopback = [rule for rule in self.rules if is_loopback(target(rule.host))]
        self.forwarded = sorted({port for rule in loopback for port in rule.ports})
        if PORT in self.forwarded:
            raise UsageError(
                f"--allow-domain: {PORT} is the port of the gateway inside, not one of the host's"
            )
        if len(self.forwarded) > MOST_FORWARDED:
            raise UsageError(
                f"--allow-domain: at most {MOST_FORWARDED} services of this machine can be named"
            )
        self._plugins = plugins
        self._name = gateway
        self._gateway: Gateway = plugins.create("gateway", gateway)

    def open(self, ids: tuple[int, int] | None, tell: Callable[[str], None] | None) -> WatchedPassage:
        """Start what serves one run. `tell` is called with a line for each refusal while it runs; None
        keeps them for the end."""
        with self._plugins.guard("gateway", self._name):
            return WatchedPassage(self._gateway.open(self.rules, self.forwarded, ids), tell)

    @property
    def listen(self) -> tuple[int, ...]:
        """The ports to listen on inside."""
        return (PORT, *self.forwarded)

    def variables(self) -> Mapping[bytes, bytes]:
        """What programs read to find the way. ALL_PROXY is no SOCKS address: common clients (httpx) fail
        on one when a library is missing, even if they would not use it."""
        found = {b"NODE_USE_ENV_PROXY": b"1"}
        stay_inside = os.fsencode(",".join([*_STAY_INSIDE, os.uname().nodename]))
        for name, value in (
            (b"HTTP_PROXY", _PROXY),
            (b"HTTPS_PROXY", _PROXY),
            (b"ALL_PROXY", _PROXY),
            (b"NO_PROXY", stay_inside),
        ):
            found |= {name: value, name.lower(): value}
        return found


class WatchedPassage:
    """The passage of one run, and its refusals as they come."""

    def __init__(self, passage: Passage, tell: Callable[[str], None] | None) -> None:
        self.passage = passage
        self._tell = tell
        self.refused: list[Refusal] = []
        self.lines: list[str] = []
        """What is still to be told."""
        self.told: dict[str, None] = {}
        """All that was said, once each."""

    def fileno(self) -> int:
        return self.passage.events_fd

    @property
    def door_fd(self) -> int:
        return self.passage.door_fd

    def look(self) -> None:
        """Take what is new, and tell it where somebody listens."""
        for refusal in self.passage.refusals():
            self.refused.append(refusal)
            self._say(sentence(refusal))

    def _say(self, line: str) -> None:
        self.told[line] = None
        if self._tell is not None:
            self._tell(line)
        else:
            self.lines.append(line)

    def served(self) -> bool:
        return self.passage.served()

    def close(self) -> None:
        """Idempotent."""
        self.look()
        more = self.passage.close()
        self.look()
        if more:
            self._say(f"network: {more} more requests to other destinations were refused")


def sentence(refusal: Refusal) -> str:
    """What a user is told: what was asked for, and the option that would allow it."""
    host, port, address = refusal
    what = f"network: refused {host}:{port}"
    if address:
        what += f", which leads to {address}: not a public address"
    option = option_for(address or host, port)
    return f"{what}; to allow it: {option}" if option else what
