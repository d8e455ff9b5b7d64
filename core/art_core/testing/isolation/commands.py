"""Rules for a sandbox that stays open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from art_core.contracts import Exit
from art_core.host import messages
from art_core.sandbox.process import Ended, Pipes, Process, Result
from art_core.sandbox.session import send
from art_core.sandbox.streams import DEVNULL, PIPE
from art_core.testing.driver import PATH, PATIENCE_S, STAND_IN, Driver, is_root
from art_core.testing.rules import Rule, requires


def _exit(reports: Sequence[Mapping[str, object]]) -> Exit:
    codes = [code for report in reports if isinstance(code := report.get("exit-code"), int)]
    return Exit(codes[0], "command") if codes else Exit(125, "isolation", "no end was reported")


def ran_in(rule: Rule, commands: messages.Socket, *argv: str) -> Result[bytes]:
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
        ours, theirs = messages.pair()
        with sandbox.start(commands_fd=theirs.fileno()) as running:
            theirs.close()
            first = ran_in(rule, ours, "sh", "-c", "echo kept >/tmp/kept; exit 7")
            rule.equals((first.status, first.stdout, first.stderr), (7, b"", b""), "the first command")
            second = ran_in(rule, ours, "sh", "-c", "cat /tmp/kept; id -u; sleep 1000 >/dev/null 2>&1 &")
            uid = sandbox.run_for(["true"]).uid
            shown = f"kept\n{uid}\n".encode()
            rule.equals((second.status, second.stdout), (0, shown), "the second command")
            ours.close()
            running.read_to_end("an end of the sandbox")

    @requires("commands")
    def test_commands_starter(self, sandbox: Driver, rule: Rule) -> None:
        """What starts the commands that come on `commands_fd` is process 1 inside: none can end it."""
        ours, theirs = messages.pair()
        with sandbox.start(commands_fd=theirs.fileno()):
            theirs.close()
            ended = ran_in(rule, ours, "sh", "-c", "kill -9 -1; sleep 10")
            rule.equals(ended.status, 125, "a command that kills all that it can, itself too,")
            after = ran_in(rule, ours, "echo", "alive")
            rule.equals((after.status, after.stdout), (0, b"alive\n"), "the next command")
            ours.close()
