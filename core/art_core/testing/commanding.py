"""Rules for a sandbox that stays open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from art_core import order
from art_core.contracts import Exit
from art_core.process import Ended, Pipes, Process, Result
from art_core.sandbox import DEVNULL, PIPE
from art_core.session import send
from art_core.testing.driver import PATH, PATIENCE_S, STAND_IN, Driver, is_root
from art_core.testing.rules import Rule, requires

if TYPE_CHECKING:
    from art_core.testing.tracer import Tracery


def _exit(reports: Sequence[Mapping[str, object]]) -> Exit:
    codes = [code for report in reports if isinstance(code := report.get("exit-code"), int)]
    return Exit(codes[0], "command") if codes else Exit(125, "isolation", "no end was reported")


def _ran(rule: Rule, commands: order.Socket, *argv: str) -> Result[bytes]:
    """What came of a command that was sent to an open sandbox."""
    pipes = Pipes.made(DEVNULL, PIPE, PIPE, (STAND_IN, STAND_IN) if is_root() else None)
    what = ("run", [word.encode() for word in argv], {b"PATH": PATH}, b"/", None, True)
    try:
        channel = send(commands, what, pipes.theirs)
    except OSError as error:
        pipes.close()
        rule.broken(f"no command can be sent: {error.strerror}")
    pipes.given()
    with Process[bytes](argv, channel, pipes, Ended(_exit, tuple), text=False) as process:
        return process.communicate(timeout=PATIENCE_S)


class CommandsRules:
    @requires("commands")
    def test_many_commands(self, sandbox: Driver, rule: Rule) -> None:
        """With `commands_fd` each command that comes there runs in one sandbox, and all of it ends when
        nobody can send any more."""
        ours, theirs = order.pair()
        with sandbox.start(commands_fd=theirs.fileno()) as running:
            theirs.close()
            first = _ran(rule, ours, "sh", "-c", "echo kept >/tmp/kept; exit 7")
            rule.equals((first.status, first.stdout, first.stderr), (7, b"", b""), "the first command")
            second = _ran(rule, ours, "sh", "-c", "cat /tmp/kept; id -u; sleep 1000 >/dev/null 2>&1 &")
            uid = sandbox.run_for(["true"]).uid
            shown = f"kept\n{uid}\n".encode()
            rule.equals((second.status, second.stdout), (0, shown), "the second command")
            ours.close()
            running.read_to_end("an end of the sandbox")

    @requires("commands")
    def test_commands_starter(self, sandbox: Driver, rule: Rule) -> None:
        """What starts the commands that come on `commands_fd` is process 1 inside: none can end it."""
        ours, theirs = order.pair()
        with sandbox.start(commands_fd=theirs.fileno()):
            theirs.close()
            ended = _ran(rule, ours, "sh", "-c", "kill -9 -1; sleep 10")
            rule.equals(ended.status, 125, "a command that kills all that it can, itself too,")
            after = _ran(rule, ours, "echo", "alive")
            rule.equals((after.status, after.stdout), (0, b"alive\n"), "the next command")
            ours.close()


class TracedCommandsRules:
    @requires("commands")
    def test_commands_alone(self, tracery: Tracery, rule: Rule) -> None:
        """In a sandbox that stays open the record has all that the commands do, from the execution that made
        each of them, and nothing of what starts them."""
        ours, theirs = order.pair()
        with tracery.start(commands_fd=theirs.fileno()) as running:
            theirs.close()
            for name in ("first", "second"):
                ended = _ran(rule, ours, "mkdir", f"/tmp/{name}")
                rule.equals(ended.status, 0, f"the {name} command ({ended.stderr!r})")
            ours.close()
            running.finish()
        lines = tracery.written().decode().splitlines()
        calls: dict[str, list[str]] = {}
        for process, _, text in (line.partition(" ") for line in lines):
            calls.setdefault(process, []).append(text)
        rule.equals([texts[0].split("(")[0] for texts in calls.values()], ["execve"] * 2, "first calls")
        for name, texts in zip(("first", "second"), calls.values(), strict=True):
            shown = [text.split("(")[0] for text in texts if f'"/tmp/{name}"' in text]
            rule.holds(len(shown) > 1 and shown[0] == "execve", f"the {name}: {texts}")
