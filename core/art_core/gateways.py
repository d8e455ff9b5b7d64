"""The contract of a gateway: the one way out of a sandbox whose network is filtered.

The sandbox has a network of its own that leads nowhere. The isolation listens in it, on the ports
`Run.listen` of 127.0.0.1, and sends the listening sockets through `Run.listen_fd` before the command runs.
A gateway serves them from outside, in a process that ends with the supervisor. Its conventions
are those of `art_core.contracts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from art_core.contracts import Origin


class Destination(NamedTuple):
    """A rule: what may be reached.

    `host` is a name in lower case, an address, or empty for everything public; with `subdomains` what
    is below the name, at any depth, and not itself. `ports` is (0,) for all. `text` is the rule as
    it was written.
    """

    host: str
    subdomains: bool
    ports: tuple[int, ...]
    origin: Origin
    text: str


class Refusal(NamedTuple):
    """What was asked for and not allowed: a host (a name, an address, or whatever the sandbox sent) and
    a port. With `address` the name is allowed, and it leads only to addresses like this one, which are
    not."""

    host: str
    port: int
    address: str = ""


class Passage(Protocol):
    """A process that serves what one run listens on."""

    door_fd: int
    """A socket (SOCK_SEQPACKET) that takes listening sockets (unix(7), SCM_RIGHTS), all of a run in one
    message, in the order of its ports. The first speaks HTTP and SOCKS5; each other one is passed on, byte
    for byte, to the port of its number on the host's own loopback."""
    events_fd: int
    """Readable when there are new refusals, or the process ended."""

    def refusals(self) -> Sequence[Refusal]:
        """What was refused since this was last called, each host and port once. Does not wait."""

    def served(self) -> bool:
        """Whether a listening socket has come."""

    def close(self) -> int:
        """End it; return how many refusals there were beyond those that were told. Idempotent."""


class Gateway(Protocol):
    """Lets sandboxes reach what rules allow, and nothing else: see `art_core.network.destinations`."""

    def open(
        self, allowed: Sequence[Destination], forwarded: Sequence[int], ids: tuple[int, int] | None
    ) -> Passage:
        """Start the process for one run. `forwarded` are the ports that are passed on; with `ids` it
        becomes this uid and gid."""
